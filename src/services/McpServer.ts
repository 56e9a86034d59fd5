/**
 * One MCP server as a service of its own. A program declares a class for each server it talks to, an agent lists the
 * classes, and a Layer for a transport provides each: what is missing is then a compile error.
 *
 * ```ts
 * class Files extends McpServer.Service<Files>()("files") {}
 * ```
 *
 * @see https://modelcontextprotocol.io/specification
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { JsonSchema } from "effect/JsonSchema"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { ContentPart } from "./Item.ts"

const TypeId = "~agent-layers/services/McpServer/McpError" as const

/**
 * Why a server did not do what was asked.
 *
 * @category reasons
 * @since 0.1.0
 */
export const McpErrorReason = Schema.Literals([
  /** The server could not be started or reached. */
  "Unavailable",
  /** The connection ended while a request was under way. */
  "Disconnected",
  "Timeout",
  /** The server asks for credentials. */
  "Unauthorized",
  /** The server broke the protocol, or knows no version that we speak. */
  "Protocol",
  /** The server has no such tool. */
  "UnknownTool"
])

/**
 * A server failed. That a tool of it failed is no error: the result says so.
 *
 * @category errors
 * @since 0.1.0
 */
export class McpError extends Schema.Error<McpError>("agent-layers/services/McpServer/McpError")({
  _tag: Schema.tag("McpError"),
  server: Schema.String,
  operation: Schema.String,
  reason: McpErrorReason,
  /** What happened: for a child process its exit code and its last lines of stderr. */
  description: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  readonly [TypeId] = TypeId
  get isRetryable(): boolean {
    return this.reason === "Unavailable" || this.reason === "Disconnected" || this.reason === "Timeout"
  }
  override get message(): string {
    return `${this.server} ${this.operation}: ${this.description}`
  }
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isMcpError = (u: unknown): u is McpError => Predicate.hasProperty(u, TypeId)

/**
 * A tool that a server offers, under the server's own name for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface McpTool {
  readonly name: string
  readonly description?: string | undefined
  readonly inputSchema: JsonSchema
  readonly annotations?: Readonly<Record<string, unknown>> | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface McpToolResult {
  readonly content: ReadonlyArray<ContentPart>
  readonly structuredContent?: unknown
  /** Whether the tool failed; the content then says why, for the model to read. */
  readonly isError: boolean
}

/**
 * A live connection to a server.
 *
 * @category models
 * @since 0.1.0
 */
export interface McpConnection {
  readonly name: string
  /** All pages. */
  readonly listTools: Effect.Effect<ReadonlyArray<McpTool>, McpError>
  /** Interruption tells the server that the request is cancelled. */
  readonly callTool: (name: string, arguments_: unknown) => Effect.Effect<McpToolResult, McpError>
  /** An element each time the server says that its tools changed. */
  readonly toolsChanged: Stream.Stream<void>
}

/**
 * The tag of one server.
 *
 * @category models
 * @since 0.1.0
 */
export interface McpServer<Self, Name extends string>
  extends Context.ServiceClass<Self, `agent-layers/mcp/${Name}`, McpConnection>
{
  readonly serverName: Name
}

/**
 * The tag of some server.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any extends Context.Service<any, McpConnection> {
  readonly serverName: string
}

/**
 * Makes the tag of a server, to be extended by a class. Names are unique in a program.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service = <Self>() => <const Name extends string>(name: Name): McpServer<Self, Name> =>
  Object.assign(Context.Service<Self, McpConnection>()(`agent-layers/mcp/${name}`), { serverName: name })

/**
 * Which of a server's tools are shown, by the server's own names. `include` and `exclude` together mean what is included
 * minus what is excluded; `where` is asked about what they leave. An empty filter shows everything.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolFilter<out E = never, out R = never> {
  readonly include?: ReadonlyArray<string> | undefined
  readonly exclude?: ReadonlyArray<string> | undefined
  /** Asked each time that the tools are listed. */
  readonly where?: ((tool: McpTool) => Effect.Effect<boolean, E, R>) | undefined
}

const warned = new WeakSet<ToolFilter<any, any>>()

const warnOfUnknown = (
  server: string,
  tools: ReadonlyArray<McpTool>,
  filter: ToolFilter<any, any>
): Effect.Effect<void> => {
  const { exclude = [], include = [] } = filter
  const unknown = [...include, ...exclude].filter((name) => tools.every((tool) => tool.name !== name))
  if (unknown.length === 0 || warned.has(filter)) return Effect.void
  warned.add(filter)
  const names = (list: ReadonlyArray<string>) => list.map((name) => `"${name}"`).join(", ")
  return Effect.logWarning(
    `A filter names tools that MCP server "${server}" does not have: ${names(unknown)}. ` +
      `It has: ${names(tools.map(({ name }) => name))}`
  )
}

/**
 * The tools that a filter leaves, in their order. A name that the server does not have is logged as a warning, once for
 * each filter.
 *
 * @category filtering
 * @since 0.1.0
 */
export const filterTools = <E, R>(
  server: string,
  tools: ReadonlyArray<McpTool>,
  filter: ToolFilter<E, R>
): Effect.Effect<ReadonlyArray<McpTool>, E, R> => {
  const { exclude, include, where } = filter
  const named = tools.filter(({ name }) =>
    (include === undefined || include.includes(name)) && exclude?.includes(name) !== true
  )
  return Effect.andThen(
    warnOfUnknown(server, tools, filter),
    where === undefined ? Effect.succeed(named) : Effect.filter(named, where)
  )
}
