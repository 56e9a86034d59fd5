import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { McpConnection } from "../../../services/McpServer.ts"
import { McpError } from "../../../services/McpServer.ts"
import type { Wire } from "./connection.ts"
import { make } from "./connection.ts"
import { textOf } from "./failure.ts"
import type { ConnectionOptions } from "./options.ts"
import { load } from "./sdk.ts"

/** What both kinds of server of the package can do. */
export interface SdkServer {
  readonly connect: (transport: never) => Promise<void>
  readonly close: () => Promise<void>
}

/** A server of the package, joined to a client in memory. */
export const makeOfServer = (
  server: string,
  factory: () => SdkServer,
  options: ConnectionOptions
): Effect.Effect<McpConnection, McpError, Scope.Scope> => {
  const open: Effect.Effect<Wire, McpError, Scope.Scope> = Effect.gen(function*() {
    const { InMemoryTransport } = yield* load(server, () => import("@modelcontextprotocol/sdk/inMemory.js"))
    const [near, far] = InMemoryTransport.createLinkedPair()
    yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: () => {
          const made = factory()
          return made.connect(far as never).then(() => made)
        },
        catch: (cause) =>
          new McpError({
            server,
            operation: "connect",
            reason: "Unavailable",
            description: `the server could not be made: ${textOf(cause)}`,
            cause
          })
      }),
      (made) => Effect.promise(() => made.close().catch(() => {}))
    )
    return { transport: near }
  })
  return make(server, { open }, options)
}
