/**
 * MCP servers behind HTTP with Server-Sent Events, the transport that streamable HTTP replaced in 2025, through
 * `@modelcontextprotocol/sdk`. That package is an optional peer; it is loaded when a connection is made, not when this module
 * is imported.
 *
 * The stream of events is the connection: when it breaks, what waits for an answer fails with `Disconnected`, and the next
 * request opens another, by one caller for all.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { McpConnection, McpError, McpServer } from "../../services/McpServer.ts"
import * as internal from "./internal/http.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends internal.HttpOptions {}

/**
 * A stream of a server's events, which is closed when the Scope closes.
 *
 * Fails with `Unavailable` where the server cannot be reached or the url is none, `Unauthorized` (401, 403), `Timeout`, and
 * `Protocol` where the server speaks no version that we do, or no MCP. Redirects are followed within the server's origin only.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (server: string, options: Options): Effect.Effect<McpConnection, McpError, Scope.Scope> =>
  internal.makeSse(server, options)

/**
 * Provides a server's tag.
 *
 * **Example**
 *
 * ```ts
 * class Search extends McpServer.Service<Search>()("search") {}
 *
 * McpSse.layer(Search, { url: "https://example.com/sse" })
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
