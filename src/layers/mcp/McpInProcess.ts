/**
 * MCP servers in this process, without a socket: tools written in Effect, or any server made with
 * `@modelcontextprotocol/sdk`, which is spoken to as if it were far away. Only the latter loads that package.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { JsonSchema } from "effect/JsonSchema"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { McpConnection, McpServer, McpTool, McpToolResult } from "../../services/McpServer.ts"
import { McpError } from "../../services/McpServer.ts"
import * as decode from "./internal/decode.ts"
import { json, textOf } from "./internal/failure.ts"
import type { SdkServer } from "./internal/inProcess.ts"
import { makeOfServer } from "./internal/inProcess.ts"
import type { ConnectionOptions } from "./internal/options.ts"

/**
 * A tool and what it does.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tool<out E = never, out R = never> {
  readonly name: string
  readonly description?: string | undefined
  readonly inputSchema: JsonSchema
  readonly annotations?: Readonly<Record<string, unknown>> | undefined
  /** The arguments are an object, and not yet checked against `inputSchema`. */
  readonly handler: (arguments_: Readonly<Record<string, unknown>>) => Effect.Effect<McpToolResult, E, R>
}

/**
 * @category options
 * @since 0.1.0
 */
export interface ToolsOptions<E, R> {
  /** An effect is asked at each listing and call. */
  readonly tools: ReadonlyArray<Tool<E, R>> | Effect.Effect<ReadonlyArray<Tool<E, R>>, E, R>
  /** An element each time that the tools have changed. */
  readonly toolsChanged?: Stream.Stream<void> | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface ServerOptions extends ConnectionOptions {
  /**
   * Makes a server of `@modelcontextprotocol/sdk` (`McpServer` or `Server`) that is not connected. It is asked again when the
   * connection was lost. The server is closed with the connection.
   */
  readonly server: () => SdkServer
}

/**
 * @category options
 * @since 0.1.0
 */
export type Options<E = never, R = never> = ToolsOptions<E, R> | ServerOptions

/**
 * A tool whose arguments are checked by a Schema. What the handler gives becomes text as it is, or its JSON and the
 * structured content too. Arguments that the Schema refuses are a result that says so, for the model to mend.
 *
 * **Example**
 *
 * ```ts
 * McpInProcess.tool({
 *   name: "add",
 *   parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
 *   handler: ({ a, b }) => Effect.succeed({ sum: a + b })
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const tool = <S extends Schema.Constraint, E = never, R = never>(options: {
  readonly name: string
  readonly description?: string | undefined
  readonly parameters: S
  readonly annotations?: Readonly<Record<string, unknown>> | undefined
  readonly handler: (parameters: S["Type"]) => Effect.Effect<unknown, E, R>
}): Tool<E, R | S["DecodingServices"]> => {
  const parse = Schema.decodeUnknownEffect(options.parameters)
  const { definitions, schema } = Schema.toJsonSchemaDocument(options.parameters)
  return {
    name: options.name,
    description: options.description,
    annotations: options.annotations,
    inputSchema: Object.keys(definitions).length === 0 ? schema : { ...schema, $defs: definitions },
    handler: (arguments_) =>
      Effect.matchEffect(parse(arguments_), {
        onFailure: (error) => Effect.succeed(decode.failedResult(`The arguments are not right: ${error.message}`)),
        onSuccess: (parameters) => Effect.map(options.handler(parameters), resultOf)
      })
  }
}

const resultOf = (value: unknown): McpToolResult => ({
  content: value === undefined
    ? []
    : [{ type: "input_text", text: typeof value === "string" ? value : json(value) }],
  ...(typeof value === "object" && value !== null ? { structuredContent: value } : {}),
  isError: false
})

const ofTools = Effect.fnUntraced(function*<E, R>(
  server: string,
  options: ToolsOptions<E, R>
): Effect.fn.Return<McpConnection, never, R | Scope.Scope> {
  const context = yield* Effect.context<R>()
  // Calls end with it, as they would if it were far away.
  const scope = yield* Scope.fork(yield* Effect.scope)
  let isClosed = false
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isClosed = true
      return Scope.close(scope, Exit.void)
    })
  )
  const failed = (operation: string, reason: McpError["reason"], description: string, cause?: unknown) =>
    new McpError({ server, operation, reason, description, ...(cause === undefined ? {} : { cause }) })

  /** Whatever goes wrong in code that is not ours, a defect too, as an error of the server. */
  const guarded = <A>(operation: string, effect: Effect.Effect<A, E, R>): Effect.Effect<Exit.Exit<A, E>, McpError> =>
    Effect.suspend(() => {
      if (isClosed) {
        return Effect.fail(
          failed(operation, "Unavailable", "the connection is closed: the Scope that it was made in has ended")
        )
      }
      return Effect.uninterruptibleMask((restore) =>
        Effect.gen(function*() {
          const fiber = yield* Effect.forkIn(restore(Effect.provideContext(effect, context)), scope)
          const exit = yield* Effect.onInterrupt(restore(Fiber.await(fiber)), () => Fiber.interrupt(fiber))
          if (Exit.isSuccess(exit) || Cause.hasFails(exit.cause)) return exit
          if (Cause.hasInterruptsOnly(exit.cause)) {
            return yield* failed(operation, "Disconnected", "the connection was closed before the answer")
          }
          const cause = Cause.squash(exit.cause)
          return yield* failed(operation, "Protocol", `it died: ${textOf(cause)}`, cause)
        })
      )
    })

  const tools = (operation: string): Effect.Effect<ReadonlyArray<Tool<E, R>>, McpError> =>
    Effect.isEffect(options.tools)
      ? Effect.flatMap(guarded(operation, options.tools), (exit) => {
        if (Exit.isSuccess(exit)) return Effect.succeed(exit.value)
        const cause = Cause.squash(exit.cause)
        return Effect.fail(failed(operation, "Protocol", `its tools could not be had: ${textOf(cause)}`, cause))
      })
      : isClosed
      ? Effect.andThen(guarded(operation, Effect.never), Effect.succeed([]))
      : Effect.succeed(options.tools)

  return {
    name: server,
    listTools: Effect.suspend(() => tools("listTools")).pipe(
      Effect.map((tools) => tools.map(decode.tool).filter((tool): tool is McpTool => typeof tool !== "string"))
    ),
    callTool: (name, arguments_) =>
      Effect.gen(function*() {
        const offered = yield* tools("callTool")
        const tool = offered.find((tool) => tool.name === name)
        if (tool === undefined) {
          const names = offered.map((tool) => `"${tool.name}"`).join(", ")
          return yield* failed("callTool", "UnknownTool", `it has no tool "${name}"; it has: ${names || "none"}`)
        }
        const given = decode.fields(arguments_ ?? {})
        if (Option.isNone(given)) return decode.failedResult(`The arguments of "${name}" must be an object`)
        const exit = yield* guarded("callTool", Effect.suspend(() => tool.handler(given.value)))
        return Exit.isSuccess(exit) ? exit.value : decode.failedResult(textOf(Cause.squash(exit.cause)))
      }),
    toolsChanged: options.toolsChanged ?? Stream.never
  }
})

/**
 * A connection to tools in this process, or to a server in it.
 *
 * With `tools`: a handler that fails is a result that says so; one that dies, or tools that cannot be had, fail with
 * `Protocol`, the defect as its cause. Interrupting a call interrupts its handler, and so does the end of the Scope.
 * Handlers run with the requirements that they had when this was made.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <E = never, R = never>(
  server: string,
  options: Options<E, R>
): Effect.Effect<McpConnection, McpError, R | Scope.Scope> =>
  "server" in options ? makeOfServer(server, options.server, options) : ofTools(server, options)

/**
 * Provides a server's tag.
 *
 * **Example**
 *
 * ```ts
 * class Sums extends McpServer.Service<Sums>()("sums") {}
 *
 * McpInProcess.layer(Sums, { tools: [add] })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self, Name extends string, E = never, R = never>(
  server: McpServer<Self, Name>,
  options: Options<E, R>
): Layer.Layer<Self, McpError, Exclude<R, Scope.Scope>> => Layer.effect(server, make(server.serverName, options))
