import { assert, describe, it } from "@effect/vitest"
import * as Agent from "agent-layers/run/Agent"
import * as Runner from "agent-layers/run/Runner"
import * as Item from "agent-layers/services/Item"
import * as ModelProvider from "agent-layers/services/ModelProvider"
import * as Usage from "agent-layers/services/Usage"
import { Cause, Context, Effect, Exit, Layer, Schema, Stream } from "effect"
import { AiError, Prompt, Tool, Toolkit } from "effect/ai"

/**
 * The loop runs tools directly. This table runs each case through `toolkit.handle` as well: what the model is given
 * must be what `handle` gives, in the loop's wording.
 */
class Unit extends Context.Service<Unit, { readonly suffix: string }>()("test/Unit") {}
class TooFar extends Schema.TaggedError<TooFar>()("TooFar", { limit: Schema.Number }) {}

const parameters = Schema.Struct({
  n: Schema.Int.check(Schema.isGreaterThan(0)),
  at: Schema.optionalKey(Schema.DateFromString)
})
const success = Schema.Struct({ doubled: Schema.Number, on: Schema.optionalKey(Schema.DateFromString) })

const make = (name: string, options: object) =>
  Tool.make(name, { parameters, success, failure: TooFar, dependencies: [Unit], ...options }) as any

const tools = {
  double: make("double", {}),
  doubleReturn: make("doubleReturn", { failureMode: "return" }),
  text: Tool.make("text", { parameters: Schema.Struct({}), success: Schema.String }),
  none: Tool.make("none"),
  // Its success schema is an object; what it returns is one too, but the values do not encode.
  illEncoded: make("illEncoded", {}),
  dies: Tool.make("dies", { success: Schema.String }),
  aiError: Tool.make("aiError", { success: Schema.String }),
  service: Tool.make("service", { success: Schema.String, dependencies: [Unit] }),
  mapped: Tool.make("mapped", {
    success: Schema.String,
    toModelOutput: (text: string) => [Prompt.textPart({ text: `model sees ${text}` })]
  }),
  dynamic: Tool.dynamic("dynamic", {
    parameters: { type: "object", properties: { q: { type: "string" } } },
    success: Schema.Unknown
  })
}

const toolkit = Toolkit.make(...Object.values(tools)) as Toolkit.Toolkit<any>

const doubled = ({ at, n }: { n: number; at?: Date }) =>
  n > 100
    ? Effect.fail(new TooFar({ limit: 100 }))
    : Effect.succeed({ doubled: n * 2, ...(at === undefined ? {} : { on: at }) })

const handlers = toolkit.toLayer({
  double: doubled,
  doubleReturn: doubled,
  text: () => Effect.succeed("plain \"text\""),
  none: () => Effect.void,
  illEncoded: () => Effect.succeed({ doubled: "many" }),
  dies: () => Effect.die(new Error("bug")),
  aiError: () => Effect.fail(new AiError.RateLimitError({})),
  service: () => Effect.map(Unit, ({ suffix }) => `with ${suffix}`),
  mapped: () => Effect.succeed("it"),
  dynamic: (params: unknown) => Effect.succeed({ got: params })
} as any)

const cases: ReadonlyArray<readonly [tool: string, args: string]> = [
  ["double", `{"n":2}`],
  ["double", `{"n":2,"at":"2026-01-02T03:04:05.000Z"}`],
  ["double", `{"n":2,"extra":true}`],
  ["double", `{"n":0}`],
  ["double", `{"n":"2"}`],
  ["double", `{}`],
  ["double", `[]`],
  ["double", `{"n":101}`],
  ["doubleReturn", `{"n":3}`],
  ["doubleReturn", `{"n":-1}`],
  ["doubleReturn", `{"n":101}`],
  ["text", `{}`],
  ["none", `{}`],
  ["illEncoded", `{"n":1}`],
  ["dies", `{}`],
  ["aiError", `{}`],
  ["service", `{}`],
  ["mapped", `{}`],
  ["dynamic", `{"q":"x","more":[1]}`]
]

type Seen =
  | { readonly kind: "success" | "failure"; readonly visible: unknown }
  | { readonly kind: "badArguments" | "defect" }

const asText = (encoded: unknown) => typeof encoded === "string" ? encoded : JSON.stringify(encoded) ?? ""

const encodeFailure = (tool: Tool.Any, error: unknown) =>
  Effect.runPromise(Schema.encodeUnknownEffect(Tool.failureResultSchema(tool) as any)(error) as Effect.Effect<unknown>)

const viaToolkit = async (name: string, args: string): Promise<Seen> => {
  const exit = await Effect.runPromiseExit(
    Effect.flatMap(toolkit, (kit: any) =>
      Effect.flatMap(
        kit.handle(name, JSON.parse(args), "call") as Effect.Effect<Stream.Stream<any, any>, any>,
        (stream) => Stream.runCollect(stream)
      )).pipe(
        Effect.provide(handlers),
        Effect.provideService(Unit, { suffix: "unit" })
      ) as Effect.Effect<ReadonlyArray<any>, any>
  )
  const error: any = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined
  if (Exit.isFailure(exit) && error === undefined) return { kind: "defect" }
  const reason = (value: any) => AiError.isAiError(value) ? value.reason._tag : undefined
  if (error !== undefined) {
    if (reason(error) === "ToolParameterValidationError") return { kind: "badArguments" }
    if (reason(error) === "ToolResultEncodingError") return { kind: "defect" }
    return { kind: "failure", visible: `Error: ${asText(await encodeFailure((tools as any)[name], error))}` }
  }
  const last: any = (exit as Exit.Success<ReadonlyArray<any>>).value.at(-1)
  if (reason(last.result) === "ToolParameterValidationError") return { kind: "badArguments" }
  if (last.isFailure) return { kind: "failure", visible: `Error: ${asText(last.encodedResult)}` }
  return {
    kind: "success",
    visible: last.modelOutput?.map((part: any) => ({ type: "input_text", text: part.text })) ??
      asText(last.encodedResult)
  }
}

const calling = (name: string, args: string): ModelProvider.Model => ({
  name: "table",
  provider: "test",
  respond: ({ input }) =>
    Effect.succeed({
      output: (input as ReadonlyArray<Item.Item>).some(Item.isFunctionCallOutput)
        ? [Item.assistant("done")]
        : [Item.functionCall({ callId: "call", name, arguments: args })],
      usage: Usage.zero,
      status: "completed"
    }),
  stream: () => Stream.die("not streamed here")
})

const viaLoop = async (name: string, args: string): Promise<Seen> => {
  const exit = await Effect.runPromiseExit(
    Runner.run(Agent.make({ name: "a", toolkit }), "go").pipe(
      Effect.provide(handlers),
      Effect.provideService(Unit, { suffix: "unit" }),
      Effect.provide(Layer.succeed(ModelProvider.ModelProvider, {
        getModel: () => Effect.succeed(calling(name, args))
      }))
    ) as Effect.Effect<any, any>
  )
  if (Exit.isFailure(exit)) {
    const error: any = Cause.squash(exit.cause)
    assert.strictEqual(error.reason?._tag, "ToolDefect", Cause.pretty(exit.cause))
    return { kind: "defect" }
  }
  const output = exit.value.items.find(Item.isFunctionCallOutput)!.output
  if (typeof output === "string" && output.startsWith(`Error: The arguments of tool "${name}" are not valid`)) {
    return { kind: "badArguments" }
  }
  return { kind: typeof output === "string" && output.startsWith("Error: ") ? "failure" : "success", visible: output }
}

describe("tools run by the loop and by Toolkit.handle", () => {
  for (const [name, args] of cases) {
    it(`${name} ${args}`, async () => {
      assert.deepStrictEqual(await viaLoop(name, args), await viaToolkit(name, args))
    })
  }

  it("the table has every kind of outcome", async () => {
    const kinds = new Set(await Promise.all(cases.map(async ([name, args]) => (await viaLoop(name, args)).kind)))
    assert.deepStrictEqual([...kinds].sort(), ["badArguments", "defect", "failure", "success"])
  })
})
