import type * as Duration from "effect/Duration"
import type * as Schedule from "effect/Schedule"
import type { McpError } from "../../../services/McpServer.ts"

// Apart from what uses the client's package, so that no declaration of ours needs that package's.

/**
 * How long to wait for a server.
 *
 * @category options
 * @since 0.1.0
 */
export interface Timeouts {
  /**
   * From the start of a connection until both sides have agreed on a version of the protocol.
   * @default "30 seconds"
   */
  readonly connect?: Duration.Input | undefined
  /**
   * For a whole listing of the tools.
   * @default "15 seconds"
   */
  readonly list?: Duration.Input | undefined
  /**
   * For the result of one call. A call that takes longer is cancelled.
   * @default "1 minute"
   */
  readonly call?: Duration.Input | undefined
  /**
   * Whether a report of progress starts the time of a call anew.
   * @default false
   */
  readonly isCallExtendedByProgress?: boolean | undefined
}

/**
 * What all transports have in common.
 *
 * @category options
 * @since 0.1.0
 */
export interface ConnectionOptions {
  /**
   * `"build"`: when the Layer is built, which fails where the server cannot be reached. `"use"`: when it is first asked for
   * something, which then fails.
   * @default "build"
   */
  readonly connect?: "build" | "use" | undefined
  readonly timeouts?: Timeouts | undefined
  /**
   * When to try again where a connection that was lost cannot be made anew at once. The first connection is tried once.
   * @default three more times, after 200, 400 and 800 milliseconds
   */
  readonly reconnect?: Schedule.Schedule<unknown, McpError> | undefined
  /**
   * Whether a listing is kept until the server says that its tools changed, or the connection is lost.
   * @default true
   */
  readonly cacheTools?: boolean | undefined
  /**
   * A server that lists more pages of tools than this breaks the protocol.
   * @default 100
   */
  readonly maxPages?: number | undefined
}
