import { assert, describe, it } from "@effect/vitest"
import {
  Agent,
  Item,
  ModelProvider,
  ModelScripted,
  RunError,
  Runner,
  SessionMemory,
  ToolContext,
  Usage
} from "agent-layers"
import { Cause, Effect, Exit, Layer, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { runAs, ways } from "./support.ts"

const Add = Tool.make("add", {
  description: "Adds two numbers",
  parameters: Schema.Struct({ a: Schema.Number, b: Schema.Number }),
  success: Schema.Number
})
const Lookup = Tool.make("lookup", {
  parameters: Schema.Struct({ key: Schema.String }),
  success: Schema.String,
  failure: Schema.Struct({ missing: Schema.String })
})
const kit = Toolkit.make(Add, Lookup)
const handlers = kit.toLayer({
  add: ({ a, b }) => Effect.succeed(a + b),
  lookup: ({ key }) => key === "absent" ? Effect.fail({ missing: key }) : Effect.succeed(`value of ${key}`)
})
const calculator = Agent.make({ name: "calculator", instructions: "You add.", toolkit: kit })
const plain = Agent.make({ name: "plain" })

const types = (items: ReadonlyArray<Item.Item>) => items.map((item) => Item.isMessage(item) ? item.role : item.type)

const outputs = (items: ReadonlyArray<Item.Item>) =>
  items.filter(Item.isFunctionCallOutput).map((item) => [item.call_id, item.output])

const failureOf = (exit: Exit.Exit<unknown, any>): any => {
  assert.isTrue(Exit.isFailure(exit), "expected a failure")
  return Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined
}

for (const way of ways) {
  describe(`Runner.${way}`, () => {
    it.effect("gives up after maxTurns with the state to go on from", () =>
      Effect.gen(function*() {
        const looping = ModelScripted.layer((_request, n) => ModelScripted.toolCall("add", { a: n, b: 0 }))
        const exit = yield* Effect.exit(
          runAs(way, calculator, "loop", { maxTurns: 2 }).pipe(Effect.provide([handlers, looping]))
        )
        const error = failureOf(exit)
        assert.strictEqual(error.reason._tag, "MaxTurnsExceeded")
        assert.strictEqual(error.reason.maxTurns, 2)
        const { state } = error.reason
        assert.strictEqual(state.turns, 2)
        assert.strictEqual(state.usage.requests, 2)
        assert.deepStrictEqual(
          types(state.items),
          ["user", "function_call", "function_call_output", "function_call", "function_call_output"]
        )
        const json = yield* Schema.encodeEffect(Schema.toCodecJson(RunError.RunError))(error)
        const again = yield* Schema.decodeUnknownEffect(Schema.toCodecJson(RunError.RunError))(
          JSON.parse(JSON.stringify(json))
        )
        const result = yield* runAs(way, calculator, (again.reason as RunError.MaxTurnsExceeded).state.items).pipe(
          Effect.provide([handlers, ModelScripted.layer([ModelScripted.text("at last")])])
        )
        assert.strictEqual(result.finalOutput, "at last")
        assert.deepStrictEqual(types(result.newItems), ["assistant"])
      }))

    it.effect("decodes structured output by its schema, objects and others", () =>
      Effect.gen(function*() {
        const object = Agent.make({
          name: "object output!",
          output: Schema.Struct({
            n: Schema.Number,
            at: Schema.DateFromString,
            note: Schema.optionalKey(Schema.String)
          })
        })
        const list = Agent.make({ name: "list", output: Schema.Array(Schema.Number) })
        const first = yield* runAs(way, object, "go")
        assert.deepStrictEqual(first.finalOutput, { n: 1, at: new Date("2026-01-01T00:00:00.000Z") })
        const second = yield* runAs(way, list, "go")
        assert.deepStrictEqual(second.finalOutput, [1, 2])
        const [one, two] = yield* ModelScripted.requests
        assert.strictEqual(one!.outputSchema!.name, "object_output__output")
        assert.isTrue(one!.outputSchema!.strict)
        assert.strictEqual(one!.outputSchema!.schema.type, "object")
        assert.deepStrictEqual(one!.outputSchema!.schema.required, ["n", "at", "note"])
        assert.strictEqual(two!.outputSchema!.schema.type, "object")
      }).pipe(
        Effect.provide(ModelScripted.layer([
          ModelScripted.text(`{"n":1,"at":"2026-01-01T00:00:00.000Z","note":null}`),
          ModelScripted.text(`{"response":[1,2]}`)
        ]))
      ))

    it.effect("asks for no strictness where anything may stand, which the service would refuse", () =>
      Effect.gen(function*() {
        const open = [
          Schema.Unknown,
          Schema.Struct({ a: Schema.Array(Schema.Json) }),
          Schema.Struct({ a: Schema.NullOr(Schema.Struct({})) }),
          Schema.Struct({ a: Schema.Record(Schema.String, Schema.Any) })
        ]
        const closed = [
          Schema.String,
          Schema.Struct({ a: Schema.Array(Schema.NullOr(Schema.Literals(["x", "y"]))) }),
          Schema.Union([Schema.Struct({ a: Schema.Number }), Schema.Boolean])
        ]
        for (const output of [...open, ...closed]) {
          yield* Effect.exit(runAs(way, Agent.make({ name: "a", output: output as Schema.Codec<unknown> }), "go"))
        }
        const requests = yield* ModelScripted.requests
        assert.deepStrictEqual(requests.map((request) => request.outputSchema!.strict), [
          ...open.map(() => false),
          ...closed.map(() => true)
        ])
        const loose = yield* runAs(way, Agent.make({ name: "a", output: Schema.Unknown }), "go").pipe(
          Effect.provide(ModelScripted.layer([ModelScripted.text(`{"response":{"any":[1]}}`)]))
        )
        assert.deepStrictEqual(loose.finalOutput, { any: [1] })
      }).pipe(Effect.provide(ModelScripted.layer(() => ModelScripted.text("no JSON")))))

    it.effect("fails where the answer was cut off before it began, or is nothing", () =>
      Effect.gen(function*() {
        const reasonOf = Effect.map(Effect.exit(runAs(way, plain, "go")), (exit) => failureOf(exit).reason)
        for (const said of ["max_output_tokens", "answered with nothing", "answered with nothing"]) {
          const reason = yield* reasonOf
          assert.strictEqual(reason._tag, "InvalidOutput")
          assert.include(reason.message, said)
          assert.strictEqual(reason.isPartial, way === "stream")
        }
        assert.strictEqual((yield* ModelScripted.requests).length, 3)
      }).pipe(
        Effect.provide(
          ModelScripted.layer([
            ModelScripted.incomplete("max_output_tokens", ModelScripted.items([])),
            ModelScripted.items([]),
            ModelScripted.items([{ type: "reasoning", id: "rs_1", summary: [] }])
          ])
        )
      ))

    it.effect("tells handlers about the call they serve", () => {
      const Probe = Tool.make("probe", { parameters: Schema.Struct({ x: Schema.Number }), success: Schema.String })
      const probes = Toolkit.make(Probe)
      let seen: ToolContext.ToolContext | undefined
      return Effect.gen(function*() {
        const result = yield* runAs(way, Agent.make({ name: "prober", toolkit: probes }), "go", {
          conversationId: "c",
          context: { tenant: 7 }
        })
        assert.deepStrictEqual(seen, {
          agent: "prober",
          runId: result.runId,
          conversationId: "c",
          turn: 1,
          callId: "call-1",
          idempotencyKey: `${result.runId}/call-1`,
          toolName: "probe",
          rawArguments: `{"x": 1}`,
          usage: result.responses[0]!.usage,
          context: { tenant: 7 }
        })
      }).pipe(Effect.provide([
        SessionMemory.layer,
        probes.toLayer({
          probe: () =>
            Effect.map(ToolContext.ToolContext, (context) => {
              seen = context
              return "ok"
            })
        }),
        ModelScripted.layer([
          ModelScripted.toolCall("probe", `{"x": 1}`, { callId: "call-1" }),
          ModelScripted.text("done")
        ])
      ]))
    })

    it.effect("refuses options and input that mean nothing", () =>
      Effect.gen(function*() {
        const description = (options: object, input: any = "hi") =>
          Effect.map(Effect.exit(runAs(way, plain, input, options)), (exit) => {
            const error = failureOf(exit)
            assert.strictEqual(error.reason._tag, "InvalidOptions")
            return error.message as string
          })
        assert.include(yield* description({ maxTurns: 0 }), "maxTurns is 0")
        assert.include(yield* description({ maxTurns: 1.5 }), "maxTurns is 1.5")
        assert.include(yield* description({ toolConcurrency: -1 }), "toolConcurrency is -1")
        assert.include(yield* description({ maxItems: -1 }), "maxItems is -1")
        assert.include(yield* description({ maxItems: 1.5 }), "maxItems is 1.5")
        assert.include(yield* description({ maxItems: NaN }), "maxItems is NaN")
        assert.include(yield* description({ bufferSize: 0 }), "bufferSize is 0")
        assert.include(yield* description({ bufferSize: NaN }), "bufferSize is NaN")
        assert.include(yield* description({ conversationId: "" }), "conversationId is empty")
        assert.include(yield* description({}, [Item.user("a"), { role: "robot" }]), "input[1] is not an item")
        assert.include(yield* description({}, []), "there is nothing to answer")
        assert.include(yield* description({ conversationId: "empty" }, []), "there is nothing to answer")
      }).pipe(Effect.provide([SessionMemory.layer, ModelScripted.layer([])])))

    it.effect("stops before a tool that needs an approval", () =>
      Effect.gen(function*() {
        for (const needsApproval of [true, () => true]) {
          let erased = 0
          const guarded = Toolkit.make(Tool.make("erase", { success: Schema.String, needsApproval }))
          const erase = guarded.toLayer({ erase: () => Effect.sync(() => `erased ${++erased}`) })
          const agent = Agent.make({ name: "a", toolkit: guarded })
          const error = failureOf(yield* Effect.exit(Effect.provide(runAs(way, agent, "go"), erase)))
          assert.strictEqual(error.reason._tag, "ApprovalRequired")
          assert.deepStrictEqual(error.reason.approvals.map((approval: any) => approval.tool), ["erase"])
          assert.strictEqual(erased, 0)
        }
      }).pipe(Effect.provide(ModelScripted.layer([ModelScripted.toolCall("erase"), ModelScripted.toolCall("erase")]))))

    it.effect("refuses an agent with a provider's tool that a handler would have to run", () =>
      Effect.gen(function*() {
        const Shell = Tool.providerDefined({
          id: "openai.local_shell",
          customName: "Shell",
          providerName: "local_shell",
          args: Schema.Struct({}),
          parameters: Schema.Struct({ command: Schema.String }),
          success: Schema.String,
          requiresHandler: true
        })
        const shells = Toolkit.make(Shell({}))
        const agent = Agent.make({ name: "a", toolkit: shells })
        const shell = shells.toLayer({ Shell: () => Effect.succeed("done") })
        const error = failureOf(yield* Effect.exit(Effect.provide(runAs(way, agent, "go"), shell)))
        assert.strictEqual(error.reason._tag, "InvalidOptions")
        assert.include(error.message, `Tool "Shell" is defined by a provider`)
      }).pipe(Effect.provide(ModelScripted.layer([]))))

    it.effect("tells the model that a hosted tool is none of its functions", () =>
      Effect.gen(function*() {
        const Search = Tool.providerDefined({
          id: "openai.web_search",
          customName: "Search",
          providerName: "web_search",
          args: Schema.Struct({}),
          success: Schema.String
        })
        const agent = Agent.make({ name: "a", toolkit: Toolkit.merge(kit, Toolkit.make(Search({}))) })
        const result = yield* runAs(way, agent, "go")
        assert.deepStrictEqual(outputs(result.items), [
          ["c", `Error: There is no tool "Search". Available: add, lookup.`]
        ])
        const [request] = yield* ModelScripted.requests
        assert.deepStrictEqual(request!.tools!.map((tool) => tool.type), ["function", "function", "hosted"])
      }).pipe(
        Effect.provide([
          handlers,
          ModelScripted.layer([ModelScripted.toolCall("Search", {}, { callId: "c" }), ModelScripted.text("ok")])
        ])
      ))

    it.effect("makes JSON of whatever a tool answers, and ends with ToolDefect if nothing can be said of a defect", () => {
      const Any = Tool.make("any", { success: Schema.Unknown })
      const anys = Toolkit.make(Any)
      const agent = Agent.make({ name: "a", toolkit: anys })
      const running = (answer: Effect.Effect<unknown>) =>
        runAs(way, agent, "go").pipe(
          Effect.provide(anys.toLayer({ any: () => answer })),
          Effect.provide(ModelScripted.layer([ModelScripted.toolCall("any"), ModelScripted.text("ok")]))
        )
      return Effect.gen(function*() {
        const circular: Record<string, unknown> = {}
        circular["self"] = circular
        for (const [answer, shown] of [[circular, `{"self":"[circular]"}`], [1n, "1"], [() => 1, "null"]] as const) {
          const { newItems } = yield* running(Effect.succeed(answer))
          assert.deepStrictEqual(newItems.filter(Item.isFunctionCallOutput).map(({ output }) => output), [shown])
        }
        const error = failureOf(yield* Effect.exit(running(Effect.die(Object.create(null)))))
        assert.strictEqual(error.reason._tag, "ToolDefect")
        assert.include(error.message, "died: {}")
      })
    })

    it.effect("ends what a handler forked with its call, whether it was the only one or not", () => {
      const Fork = Tool.make("fork", { success: Schema.String })
      const forks = Toolkit.make(Fork)
      let ended = 0
      const endedAtRequest: Array<number> = []
      const fork = forks.toLayer({
        fork: () =>
          Effect.as(
            Effect.forkChild(Effect.onInterrupt(Effect.never, () => Effect.sync(() => ++ended)), {
              startImmediately: true
            }),
            "forked"
          )
      })
      const one = { name: "fork" }
      const script = [[one], [], [one, one], [], [one, one, one], []]
      return Effect.gen(function*() {
        const agent = Agent.make({ name: "a", toolkit: forks })
        yield* runAs(way, agent, "one call")
        yield* runAs(way, agent, "two calls, one after the other", { toolConcurrency: 1 })
        yield* runAs(way, agent, "three calls at once")
        assert.deepStrictEqual(endedAtRequest, [0, 1, 1, 3, 3, 6])
      }).pipe(Effect.provide([
        fork,
        ModelScripted.layer((_request, n) => {
          endedAtRequest.push(ended)
          const calls = script[n - 1]!
          return calls.length === 0 ? ModelScripted.text("done") : ModelScripted.calls(calls)
        })
      ]))
    })
  })
}

describe("what has no Layer", () => {
  it.effect("a missing handler dies with the name of the tool", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(
        runAs("run", calculator, "go").pipe(
          Effect.provide(ModelScripted.layer([ModelScripted.toolCall("add", { a: 1, b: 2 })]))
        )
      )
      const error = failureOf(exit)
      assert.strictEqual(error.reason._tag, "ToolDefect")
      assert.include(error.message, `No handler for tool "add" in the context`)
    }))

  it.effect("a missing Session dies and says what to provide", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(
        runAs("run", plain, "go", { conversationId: "c" }).pipe(Effect.provide(ModelScripted.layer([])))
      )
      assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "provide a Session Layer")
    }))

  it.effect("ToolContext outside a run dies and says how to test a handler", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.asVoid(ToolContext.ToolContext))
      assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "outside a tool call of a run")
    }))
})

describe("a provider that breaks its promise", () => {
  for (const way of ways) {
    it.effect(`answers ${way} with InvalidOutput, whatever it made up`, () =>
      Effect.gen(function*() {
        const call = Item.functionCall({ callId: "c", name: "add", arguments: "{}" })
        const right = { output: [call], usage: Usage.zero, status: "completed" }
        const wrong: ReadonlyArray<unknown> = [
          undefined,
          { ...right, output: undefined },
          { ...right, output: [null] },
          { ...right, output: [{ ...call, call_id: "" }] },
          { ...right, output: [{ ...call, arguments: undefined }] },
          { ...right, usage: undefined },
          { ...right, usage: { ...Usage.zero, inputTokens: NaN } }
        ]
        for (const response of wrong) {
          const model: ModelProvider.Model = {
            name: "m",
            provider: "broken",
            respond: () => Effect.succeed(response as ModelProvider.ModelResponse),
            stream: () => Stream.make({ _tag: "Completed", response: response as ModelProvider.ModelResponse })
          }
          const exit = yield* Effect.exit(
            runAs(way, calculator, "hi", { maxTurns: 1 }).pipe(
              Effect.provide([
                handlers,
                Layer.succeed(ModelProvider.ModelProvider, { getModel: () => Effect.succeed(model) })
              ])
            )
          )
          assert.strictEqual(failureOf(exit)?.reason._tag, "InvalidOutput", JSON.stringify(response))
        }
      }))
  }

  it.effect("a stream without its terminal event is InvalidOutput", () =>
    Effect.gen(function*() {
      const model: ModelProvider.Model = {
        name: "m",
        provider: "broken",
        respond: () => Effect.never,
        stream: () => Stream.make({ _tag: "TextDelta", itemId: "i", delta: "half" })
      }
      const error = failureOf(
        yield* Effect.exit(
          Stream.runDrain(Runner.stream(plain, "hi")).pipe(
            Effect.provide(Layer.succeed(ModelProvider.ModelProvider, { getModel: () => Effect.succeed(model) }))
          )
        )
      )
      assert.strictEqual(error.reason._tag, "InvalidOutput")
    }))
})
