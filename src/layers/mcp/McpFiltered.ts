/**
 * Shows some of a server's tools and hides the others, from whoever gets the server from this Layer: what is hidden is
 * neither listed nor can it be called. An agent can filter for itself too (`McpServer.use`), so that two agents share a
 * connection and see different tools.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { McpConnection, McpServer, McpTool, ToolFilter } from "../../services/McpServer.ts"
import { filterTools, McpError } from "../../services/McpServer.ts"

/**
 * A connection that shows what the filter leaves of another's tools.
 *
 * `where` is asked each time that the tools are listed or one is called, with the requirements that it had when this was made
 * and the `Context.Reference`s of the fiber that asks. Where it fails or dies, the tool is hidden and a warning is logged.
 * A call of a hidden tool fails with `UnknownTool`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<E, R>(
  connection: McpConnection,
  filter: ToolFilter<E, R>
): Effect.fn.Return<McpConnection, never, R> {
  const context = yield* Effect.context<R>()
  const { where } = filter
  const ask = (tool: McpTool): Effect.Effect<boolean> =>
    where === undefined
      ? Effect.succeed(true)
      : Effect.suspend(() => where(tool)).pipe(
        Effect.provideContext(context),
        Effect.catchCause((cause) =>
          Cause.hasInterruptsOnly(cause)
            ? Effect.failCause(cause as Cause.Cause<never>)
            : Effect.as(
              Effect.logWarning(
                `The filter of MCP server "${connection.name}" failed for tool "${tool.name}", which is hidden`,
                cause
              ),
              false
            )
        )
      )
  // One value for the life of the connection: a warning is given once for each.
  const named: ToolFilter = { include: filter.include, exclude: filter.exclude }
  const shown = Effect.flatMap(
    connection.listTools,
    (tools) =>
      Effect.flatMap(
        filterTools(connection.name, tools, named),
        (left) => where === undefined ? Effect.succeed(left) : Effect.filter(left, ask)
      )
  )
  const hidden = (name: string) =>
    new McpError({
      server: connection.name,
      operation: "callTool",
      reason: "UnknownTool",
      description: `it has no tool "${name}", or a filter hides it`
    })
  const isNamed = (name: string): boolean =>
    (filter.include === undefined || filter.include.includes(name)) && filter.exclude?.includes(name) !== true
  return {
    ...connection,
    listTools: shown,
    callTool: (name, arguments_) => {
      if (!isNamed(name)) return Effect.fail(hidden(name))
      if (where === undefined) return connection.callTool(name, arguments_)
      return Effect.flatMap(connection.listTools, (tools) => {
        const tool = tools.find((tool) => tool.name === name)
        return tool === undefined
          ? Effect.fail(hidden(name))
          : Effect.flatMap(
            ask(tool),
            (isShown) => isShown ? connection.callTool(name, arguments_) : Effect.fail(hidden(name))
          )
      })
    }
  }
})

/**
 * Provides a server's tag with what the filter leaves of the tools of the one below.
 *
 * **Example**
 *
 * ```ts
 * McpFiltered.layer(Files, { exclude: ["write_file"] }).pipe(
 *   Layer.provide(McpStdio.layer(Files, { command: "mcp-server-filesystem", args: ["/data"] }))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self, Name extends string, E = never, R = never>(
  server: McpServer<Self, Name>,
  filter: ToolFilter<E, R>
): Layer.Layer<Self, never, Self | R> =>
  Layer.effect(server, Effect.flatMap(server, (connection) => make(connection, filter)))
