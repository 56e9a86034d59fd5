/**
 * An MCP server that follows a script: the double to test agents with that use a server's tools. Each tool has a step
 * for each call, in order, or a function; what was called can be read back.
 *
 * ```ts
 * class Files extends McpServer.Service<Files>()("files") {}
 *
 * const files = McpScripted.layer(Files, {
 *   tools: [McpScripted.tool("read_file", [McpScripted.fail("Timeout"), McpScripted.text("hello")])]
 * })
 * ```
 *
 * A call that no step is for is a defect that names it, and so are steps that are left over when the Layer closes.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { JsonSchema } from "effect/JsonSchema"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { McpConnection, McpErrorReason, McpServer } from "../../services/McpServer.ts"
import type { Answering, Call, Options, ScriptedTool, Step } from "./internal/scriptedServer.ts"
import * as internal from "./internal/scriptedServer.ts"

export type { Answering, Call, Options, ScriptedTool, Step } from "./internal/scriptedServer.ts"

/**
 * What a test looks at. Every member looks at the script as it stands at that moment.
 *
 * @category models
 * @since 0.1.0
 */
export interface Script {
  readonly connection: McpConnection
  /** Every call so far, oldest first, those of unknown tools included. */
  readonly calls: Effect.Effect<ReadonlyArray<Call>>
  /** How often the tools were listed. */
  readonly listings: Effect.Effect<number>
  /** Gives the server other tools, and says so to who listens. */
  readonly setTools: (tools: ReadonlyArray<ScriptedTool>) => Effect.Effect<void>
  /** Dies where steps are left, and lists them. */
  readonly assertDone: Effect.Effect<void>
}

/**
 * The script of one server, by its tag.
 *
 * @category models
 * @since 0.1.0
 */
export interface Scripted<out Self> {
  readonly _: Self
}

/**
 * The tag of the script of a server: `yield* McpScripted.of(Files)`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const of = <Self, Name extends string>(server: McpServer<Self, Name>): Context.Service<Scripted<Self>, Script> =>
  Context.Service<Scripted<Self>, Script>(`agent-layers/run/testing/McpScripted/${server.serverName}`)

/**
 * The tool answers with text.
 *
 * @category steps
 * @since 0.1.0
 */
export const text = (text: string): Step => ({
  _tag: "Result",
  result: { content: [{ type: "input_text", text }], isError: false }
})

const toJson = Schema.encodeUnknownSync(Schema.fromJsonString(Schema.Unknown))

/**
 * The tool answers with structured content, and with its JSON as text.
 *
 * @category steps
 * @since 0.1.0
 */
export const json = (value: unknown): Step => ({
  _tag: "Result",
  result: { content: [{ type: "input_text", text: toJson(value) }], structuredContent: value, isError: false }
})

/**
 * The tool failed: a result that says so, for the model to read.
 *
 * @category steps
 * @since 0.1.0
 */
export const failedTool = (why: string): Step => ({
  _tag: "Result",
  result: { content: [{ type: "input_text", text: why }], isError: true }
})

/**
 * The server fails: `McpError`.
 *
 * @category steps
 * @since 0.1.0
 */
export const fail = (reason: typeof McpErrorReason.Type, description = "as the script says"): Step => ({
  _tag: "Failure",
  reason,
  description
})

/**
 * No answer comes until the call is interrupted.
 *
 * @category steps
 * @since 0.1.0
 */
export const hang: Step = { _tag: "Hang" }

/**
 * The same, later, by the clock of the program.
 *
 * @category steps
 * @since 0.1.0
 */
export const delayed = (duration: Duration.Input, step: Step): Step => ({ _tag: "Delayed", duration, step })

/**
 * A tool, and what it does with each call. Its input schema takes any object where none is given.
 *
 * @category constructors
 * @since 0.1.0
 */
export const tool = (
  name: string,
  answers: ReadonlyArray<Step> | Answering,
  options: {
    readonly description?: string | undefined
    readonly inputSchema?: JsonSchema | undefined
    readonly annotations?: Readonly<Record<string, unknown>> | undefined
  } = {}
): ScriptedTool => ({ ...options, name, answers, inputSchema: options.inputSchema ?? internal.anyInput })

/**
 * A scripted server. When the scope closes after a success and steps are left, that is a defect that lists them; after
 * a failure it stays silent, so that the program's own error stays catchable.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (server: string, options: Options): Effect.Effect<Script, never, Scope.Scope> =>
  Effect.acquireRelease(
    internal.make(server, options),
    (script, exit) => exit._tag === "Success" ? script.assertDone : Effect.void
  )

/**
 * Provides a server's tag, and its script.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self, Name extends string>(
  server: McpServer<Self, Name>,
  options: Options
): Layer.Layer<Self | Scripted<Self>> =>
  Layer.effectContext(
    Effect.map(make(server.serverName, options), (script) =>
      Context.make(server, script.connection).pipe(Context.add(of(server), script)))
  )

/**
 * Every call that a server got so far, oldest first.
 *
 * @category accessors
 * @since 0.1.0
 */
export const calls = <Self, Name extends string>(
  server: McpServer<Self, Name>
): Effect.Effect<ReadonlyArray<Call>, never, Scripted<Self>> => Effect.flatMap(of(server), (script) => script.calls)
