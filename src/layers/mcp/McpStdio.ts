/**
 * MCP servers that run as a child process of this one and speak over its input and output, through
 * `@modelcontextprotocol/sdk`. That package is an optional peer; it is loaded when a connection is made, not when this module
 * is imported.
 *
 * The process lives as long as the Layer: it is started when the Layer is built (or at first use), started anew when it is
 * needed after it has ended, and ended with everything that it started when the Scope closes. What was asked of it when it
 * ended fails with `Disconnected`, with its exit code and the last lines of its stderr.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { McpConnection, McpError, McpServer } from "../../services/McpServer.ts"
import type { ConnectionOptions, Timeouts } from "./internal/options.ts"
import * as internal from "./internal/stdio.ts"

export type {
  /**
   * What all transports have in common.
   *
   * @category options
   * @since 0.1.0
   */
  ConnectionOptions,
  /**
   * How long to wait for a server.
   *
   * @category options
   * @since 0.1.0
   */
  Timeouts
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends internal.StdioOptions {}

/**
 * A connection to a server in a child process, which is ended when the Scope closes: its input ends; if it is still there
 * after `killAfter` it gets SIGTERM, and after as long again it is killed, with every process that it left. (On Linux all of
 * them are found, unless one has left the group and given up its environment; elsewhere those of the process group.)
 *
 * Fails with `Unavailable` where the program cannot be started or ends before the connection is made, `Timeout`, and
 * `Protocol` where both sides have no version of the protocol in common.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (server: string, options: Options): Effect.Effect<McpConnection, McpError, Scope.Scope> =>
  internal.make(server, options)

/**
 * Provides a server's tag.
 *
 * **Example**
 *
 * ```ts
 * class Files extends McpServer.Service<Files>()("files") {}
 *
 * McpStdio.layer(Files, { command: "npx", args: ["-y", "@modelcontextprotocol/server-filesystem", "/data"] })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self, Name extends string>(
  server: McpServer<Self, Name>,
  options: Options
): Layer.Layer<Self, McpError> => Layer.effect(server, make(server.serverName, options))

/**
 * The same from configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = <Self, Name extends string>(
  server: McpServer<Self, Name>,
  config: Config.Wrap<Options>
): Layer.Layer<Self, McpError | Config.ConfigError> =>
  Layer.effect(server, Effect.flatMap(Config.unwrap(config), (options) => make(server.serverName, options)))
