import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { JsonSchema } from "effect/JsonSchema"
import * as PubSub from "effect/PubSub"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { McpConnection, McpErrorReason, McpTool, McpToolResult } from "../../../services/McpServer.ts"
import { McpError } from "../../../services/McpServer.ts"

/**
 * What the server does with a call.
 *
 * @category steps
 * @since 0.1.0
 */
export type Step =
  | { readonly _tag: "Result"; readonly result: McpToolResult }
  | { readonly _tag: "Failure"; readonly reason: typeof McpErrorReason.Type; readonly description: string }
  | { readonly _tag: "Hang" }
  | { readonly _tag: "Delayed"; readonly duration: Duration.Input; readonly step: Step }

/**
 * What is called for each call of a tool.
 *
 * @category steps
 * @since 0.1.0
 */
export type Answering = (arguments_: unknown, nth: number) => Step

/**
 * A tool of the server, and what it does: a step for each call, in order, or a function that is asked each time.
 *
 * @category models
 * @since 0.1.0
 */
export interface ScriptedTool extends McpTool {
  readonly answers: ReadonlyArray<Step> | Answering
}

/**
 * A call that was made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Call {
  readonly tool: string
  readonly arguments: unknown
  /** How it ended; `running` where it has not. */
  readonly outcome: "running" | "result" | "failed tool" | "failed" | "interrupted"
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  readonly tools: ReadonlyArray<ScriptedTool>
  /**
   * What the first listings do, in order: fail, wait, hang. The ones after answer at once.
   * @default []
   */
  readonly listings?: ReadonlyArray<Step> | undefined
}

export const anyInput: JsonSchema = { type: "object" }

interface Armed {
  readonly tool: ScriptedTool
  taken: number
}

const encode = Schema.encodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

const shown = (arguments_: unknown): string => {
  const json = encode(arguments_)
  const text = json._tag === "Some" ? json.value : "…"
  return text.length <= 80 ? text : `${text.slice(0, 79)}…`
}

const toTool = ({ annotations, description, inputSchema, name }: ScriptedTool): McpTool => ({
  name,
  inputSchema: { ...inputSchema },
  ...(description === undefined ? undefined : { description }),
  ...(annotations === undefined ? undefined : { annotations: { ...annotations } })
})

export const make = Effect.fnUntraced(function*(server: string, options: Options) {
  const calls: Array<Call> = []
  const listings = [...options.listings ?? []]
  const armed = (tools: ReadonlyArray<ScriptedTool>) => tools.map((tool): Armed => ({ tool, taken: 0 }))
  let tools = armed(options.tools)
  let listed = 0
  const changes = yield* PubSub.sliding<void>(16)

  const wrong = (description: string) => Effect.die(new Error(`McpScripted "${server}": ${description}`))

  const take = (step: Step, operation: string): Effect.Effect<McpToolResult | undefined, McpError> => {
    switch (step._tag) {
      case "Result":
        return Effect.succeed(step.result)
      case "Failure":
        return Effect.fail(new McpError({ server, operation, reason: step.reason, description: step.description }))
      case "Hang":
        return Effect.never
      case "Delayed":
        return Effect.delay(Effect.suspend(() => take(step.step, operation)), step.duration)
    }
  }

  const connection: McpConnection = {
    name: server,
    listTools: Effect.suspend(() => {
      listed++
      const step = listings.shift()
      const answer = Effect.sync(() => tools.map(({ tool }) => toTool(tool)))
      return step === undefined ? answer : Effect.andThen(take(step, "listTools"), answer)
    }),
    callTool: (name, arguments_) =>
      Effect.suspend(() => {
        const at = calls.push({ tool: name, arguments: arguments_, outcome: "running" }) - 1
        const ended = (outcome: Call["outcome"]) => Effect.sync(() => void (calls[at] = { ...calls[at]!, outcome }))
        const found = tools.find(({ tool }) => tool.name === name)
        if (found === undefined) {
          const names = tools.map(({ tool }) => `"${tool.name}"`).join(", ")
          const description = `it has no tool "${name}"; it has: ${names === "" ? "none" : names}`
          return Effect.andThen(
            ended("failed"),
            Effect.fail(new McpError({ server, operation: "callTool", reason: "UnknownTool", description }))
          )
        }
        const { answers } = found.tool
        const step = typeof answers === "function" ? answers(arguments_, ++found.taken) : answers[found.taken++]
        if (step === undefined) {
          return Effect.andThen(
            ended("failed"),
            wrong(
              `call ${found.taken} of "${name}" is one that no step is for: ${name}(${shown(arguments_)}). ` +
                `It has ${found.taken - 1} of them`
            )
          )
        }
        return take(step, "callTool").pipe(
          Effect.map((result): McpToolResult => result ?? { content: [], isError: false }),
          Effect.tap(({ isError }) => ended(isError ? "failed tool" : "result")),
          Effect.tapError(() => ended("failed")),
          Effect.onInterrupt(() => ended("interrupted"))
        )
      }),
    toolsChanged: Stream.fromPubSub(changes)
  }

  const left = () => [
    ...listings.map(() => "a listing"),
    ...tools.flatMap(({ taken, tool }) =>
      typeof tool.answers === "function" || tool.answers.length <= taken
        ? []
        : [`${tool.name}: ${tool.answers.length - taken} of ${tool.answers.length} answers`]
    )
  ]

  return {
    connection,
    calls: Effect.sync((): ReadonlyArray<Call> => [...calls]),
    listings: Effect.sync(() => listed),
    setTools: (next: ReadonlyArray<ScriptedTool>) =>
      Effect.suspend(() => {
        tools = armed(next)
        return Effect.asVoid(PubSub.publish(changes, undefined))
      }),
    assertDone: Effect.suspend(() => {
      const open = left()
      return open.length === 0 ? Effect.void : wrong(
        `the script is not over. Nobody asked for:\n${open.map((line) => `  ${line}`).join("\n")}`
      )
    })
  }
})
