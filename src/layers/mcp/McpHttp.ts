/**
 * MCP servers behind streamable HTTP, through `@modelcontextprotocol/sdk`. That package is an optional peer; it is loaded when
 * a connection is made, not when this module is imported.
 *
 * A session lasts as long as the Layer, and is ended at the server when the Scope closes. Where the server has forgotten it
 * (404), a new one is begun by one caller for all, and the request is sent again: the server has not looked at it. A stream
 * that breaks is resumed where the server gives its events ids; where it does not, what waits for it fails with
 * `Disconnected` at once. No request that a server may have seen is sent twice.
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
 * A session with a server, which ends when the Scope closes.
 *
 * Fails with `Unavailable` where the server cannot be reached or the url is none, `Unauthorized` (401, 403), `Timeout`, and
 * `Protocol` where the server speaks no version that we do, or no MCP. Redirects are followed within the server's origin only.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (server: string, options: Options): Effect.Effect<McpConnection, McpError, Scope.Scope> =>
  internal.makeHttp(server, options)

/**
 * Provides a server's tag.
 *
 * **Example**
 *
 * ```ts
 * class Search extends McpServer.Service<Search>()("search") {}
 *
 * McpHttp.layer(Search, { url: "https://example.com/mcp", headers: { "x-api-key": Redacted.make("…") } })
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
