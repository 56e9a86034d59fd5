import { assert, describe, it } from "@effect/vitest"
import {
  Agent,
  Item,
  ModelError,
  ModelProvider,
  ModelScripted,
  RunError,
  Runner,
  Session,
  SessionMemory,
  ToolContext,
  Usage
} from "agent-layers"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { TestClock } from "effect/testing"
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
    it.effect("answers with text", () =>
      Effect.gen(function*() {
        const result = yield* runAs(way, plain, "hi")
        assert.strictEqual(result.finalOutput, "Hello.")
        assert.deepStrictEqual(types(result.items), ["user", "assistant"])
        assert.deepStrictEqual(types(result.newItems), ["assistant"])
        assert.strictEqual(result.turns, 1)
        assert.strictEqual(result.lastAgent, "plain")
        assert.strictEqual(result.usage.requests, 1)
        assert.isUndefined(result.conversationId)
        const [request] = yield* ModelScripted.requests
        assert.deepStrictEqual(request!.input, [Item.user("hi")])
        assert.isUndefined(request!.tools)
        assert.strictEqual(request!.tracing, "disabled")
      }).pipe(Effect.provide(ModelScripted.layer([ModelScripted.text("Hello.")]))))

    it.effect("runs tools until there is an answer, and sends the whole history each time", () =>
      Effect.gen(function*() {
        const result = yield* runAs(way, calculator, "1+2, then +3")
        assert.strictEqual(result.finalOutput, "6")
        assert.deepStrictEqual(outputs(result.items), [["c1", "3"], ["c2", "6"]])
        assert.strictEqual(result.turns, 3)
        assert.strictEqual(result.responses.length, 3)
        assert.strictEqual(result.usage.requests, 3)
        const requests = yield* ModelScripted.requests
        assert.deepStrictEqual(requests.map((request) => request.input.length), [1, 3, 5])
        assert.strictEqual(requests[0]!.instructions, "You add.")
        assert.deepStrictEqual(requests[0]!.tools!.map((tool) => tool.name), ["add", "lookup"])
      }).pipe(
        Effect.provide([
          handlers,
          ModelScripted.layer([
            ModelScripted.toolCall("add", { a: 1, b: 2 }, { callId: "c1" }),
            ModelScripted.toolCall("add", { a: 3, b: 3 }, { callId: "c2" }),
            ModelScripted.text("6")
          ])
        ])
      ))

    it.effect("runs the calls of one response at the same time, outputs in the order of the calls", () => {
      const Wait = Tool.make("wait", { parameters: Schema.Struct({ ms: Schema.Number }), success: Schema.String })
      const waiting = Toolkit.make(Wait)
      let running = 0
      let most = 0
      const finished: Array<number> = []
      const waits = waiting.toLayer({
        wait: ({ ms }) =>
          Effect.gen(function*() {
            most = Math.max(most, ++running)
            yield* Effect.sleep(ms)
            running--
            finished.push(ms)
            return `waited ${ms}`
          })
      })
      const script = () =>
        ModelScripted.layer([
          ModelScripted.calls([30, 10, 20].map((ms) => ({ name: "wait", arguments: { ms }, callId: `c${ms}` }))),
          ModelScripted.text("done")
        ])
      return Effect.gen(function*() {
        const agent = Agent.make({ name: "a", toolkit: waiting })
        const fiber = yield* Effect.forkChild(Effect.provide(runAs(way, agent, "go"), script()))
        yield* TestClock.adjust("30 millis")
        const result = yield* Fiber.join(fiber)
        assert.strictEqual(most, 3)
        assert.deepStrictEqual(finished, [10, 20, 30])
        assert.deepStrictEqual(outputs(result.items).map(([id]) => id), ["c30", "c10", "c20"])

        most = 0
        const capped = yield* Effect.forkChild(
          Effect.provide(runAs(way, agent, "go", { toolConcurrency: 2 }), script())
        )
        yield* TestClock.adjust("60 millis")
        yield* Fiber.join(capped)
        assert.strictEqual(most, 2)
      }).pipe(Effect.provide(waits))
    })

    it.effect("gives back to the model what it can mend", () =>
      Effect.gen(function*() {
        const result = yield* runAs(way, calculator, "go")
        const [bad, notJson, unknown, failed, fine] = outputs(result.items).map(([, output]) => String(output))
        assert.match(bad!, /^Error: The arguments of tool "add" are not valid: .*\["a"\]/s)
        assert.match(notJson!, /^Error: The arguments of tool "add" are not valid/)
        assert.strictEqual(unknown, `Error: There is no tool "subtract". Available: add, lookup.`)
        assert.strictEqual(failed, `Error: {"missing":"absent"}`)
        assert.strictEqual(fine, "value of x")
        assert.strictEqual(result.finalOutput, "sorted")
      }).pipe(
        Effect.provide([
          handlers,
          ModelScripted.layer([
            ModelScripted.calls([
              { name: "add", arguments: { a: "1" } },
              { name: "add", arguments: "{\"a\": 1," },
              { name: "subtract", arguments: {} },
              { name: "lookup", arguments: { key: "absent" } },
              { name: "lookup", arguments: { key: "x" } }
            ]),
            ModelScripted.text("sorted")
          ])
        ])
      ))

    it.effect("ends with ToolDefect when a handler dies, with the state before the turn", () =>
      Effect.gen(function*() {
        const Bomb = Tool.make("bomb", { success: Schema.String })
        const bombs = Toolkit.make(Bomb, Add)
        const exit = yield* Effect.exit(
          runAs(way, Agent.make({ name: "a", toolkit: bombs }), "go").pipe(
            Effect.provide(bombs.toLayer({
              bomb: () => Effect.die(new Error("boom")),
              add: ({ a, b }) => Effect.succeed(a + b)
            })),
            Effect.provide(ModelScripted.layer([
              ModelScripted.toolCall("add", { a: 1, b: 1 }),
              ModelScripted.toolCall("bomb", {}, { callId: "c" })
            ]))
          )
        )
        const error = failureOf(exit)
        assert.isTrue(RunError.isRunError(error))
        assert.strictEqual(error.reason._tag, "ToolDefect")
        assert.strictEqual(error.reason.tool, "bomb")
        assert.strictEqual(error.reason.callId, "c")
        assert.include(error.message, "boom")
        assert.deepStrictEqual(types(error.reason.state.items), ["user", "function_call", "function_call_output"])
        assert.strictEqual(error.reason.state.turns, 1)
      }))

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

    it.effect("has ten turns by default", () =>
      Effect.gen(function*() {
        const looping = ModelScripted.layer((_request, n) => ModelScripted.toolCall("add", { a: n, b: 0 }))
        const error = failureOf(
          yield* Effect.exit(runAs(way, calculator, "loop").pipe(Effect.provide([handlers, looping])))
        )
        assert.strictEqual(error.reason.maxTurns, 10)
        assert.strictEqual(error.reason.state.usage.requests, 10)
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

    it.effect("fails with InvalidFinalOutput, the answer in its state, and stores nothing of it", () =>
      Effect.gen(function*() {
        const agent = Agent.make({ name: "a", output: Schema.Struct({ n: Schema.Number }) })
        const error = failureOf(yield* Effect.exit(runAs(way, agent, "go", { conversationId: "c" })))
        assert.strictEqual(error.reason._tag, "InvalidFinalOutput")
        assert.strictEqual(error.reason.text, `{"n":"one"}`)
        assert.include(error.message, "n")
        assert.deepStrictEqual(types(error.reason.state.items), ["user", "assistant"])
        const stored = yield* Session.Session.use((session) => session.loadItems("c"))
        assert.deepStrictEqual(stored.items, [])
      }).pipe(Effect.provide([SessionMemory.layer, ModelScripted.layer([ModelScripted.text(`{"n":"one"}`)])])))

    it.effect("asks again where a shape was asked for and the text is empty; empty plain text is an answer", () =>
      Effect.gen(function*() {
        const agent = Agent.make({ name: "a", output: Schema.Struct({ n: Schema.Number }) })
        assert.deepStrictEqual((yield* runAs(way, agent, "go")).finalOutput, { n: 1 })
        assert.strictEqual((yield* runAs(way, plain, "go")).finalOutput, "")
      }).pipe(
        Effect.provide(
          ModelScripted.layer([ModelScripted.text(""), ModelScripted.text(`{"n":1}`), ModelScripted.text("")])
        )
      ))

    it.effect("takes a refusal as an answer in text, and as an error where a shape was asked for", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* runAs(way, plain, "go")).finalOutput, "I will not.")
        const agent = Agent.make({ name: "a", output: Schema.Struct({ n: Schema.Number }) })
        const error = failureOf(yield* Effect.exit(runAs(way, agent, "go")))
        assert.strictEqual(error._tag, "ModelError")
        assert.strictEqual(error.reason._tag, "Refused")
      }).pipe(
        Effect.provide(ModelScripted.layer([ModelScripted.refusal("I will not."), ModelScripted.refusal("No.")]))
      ))

    it.effect("starts no tool of a response that was cut off", () => {
      let ran = 0
      return Effect.gen(function*() {
        const result = yield* runAs(way, calculator, "go")
        assert.strictEqual(ran, 0)
        assert.match(String(outputs(result.items)[0]![1]), /^Error: Tool "add" was not run: the response was cut off/)
        assert.strictEqual(result.finalOutput, "ok")
      }).pipe(Effect.provide([
        kit.toLayer({ add: () => Effect.sync(() => ++ran), lookup: () => Effect.succeed("") }),
        ModelScripted.layer([
          ModelScripted.incomplete("max_output_tokens", ModelScripted.toolCall("add", { a: 1, b: 2 })),
          ModelScripted.text("ok")
        ])
      ]))
    })

    it.effect("runs a call once that the model repeats word for word, and refuses its id for another call", () => {
      let ran = 0
      const counting = kit.toLayer({ add: () => Effect.sync(() => ++ran), lookup: () => Effect.succeed("") })
      return Effect.gen(function*() {
        const call = ModelScripted.toolCall("add", { a: 1, b: 2 }, { callId: "same" })
        const result = yield* runAs(way, calculator, "go").pipe(
          Effect.provide(ModelScripted.layer([call, call, ModelScripted.text("ok")]))
        )
        assert.strictEqual(ran, 1)
        assert.deepStrictEqual(types(result.items), ["user", "function_call", "function_call_output", "assistant"])
        const error = failureOf(
          yield* Effect.exit(
            runAs(way, calculator, "go").pipe(
              Effect.provide(
                ModelScripted.layer([call, ModelScripted.toolCall("add", { a: 2, b: 2 }, { callId: "same" })])
              )
            )
          )
        )
        assert.strictEqual(error.reason._tag, "InvalidOutput")
        assert.strictEqual(ran, 2)
      }).pipe(Effect.provide(counting))
    })

    it.effect("lets the run's model and settings win over the agent's", () =>
      Effect.gen(function*() {
        const agent = Agent.make({
          name: "a",
          model: "small",
          settings: { temperature: 0.1, maxOutputTokens: 10 },
          prompt: { id: "prompt_1" }
        })
        yield* runAs(way, agent, "one")
        yield* runAs(way, agent, "two", { model: "large", settings: { temperature: 0.9, maxOutputTokens: undefined } })
        const [one, two] = yield* ModelScripted.requests
        assert.deepStrictEqual([one!.model, two!.model], ["small", "large"])
        assert.deepStrictEqual(one!.settings, { temperature: 0.1, maxOutputTokens: 10 })
        assert.deepStrictEqual(two!.settings, { temperature: 0.9, maxOutputTokens: 10 })
        assert.deepStrictEqual(two!.prompt, { id: "prompt_1" })
        const error = failureOf(yield* Effect.exit(runAs(way, agent, "three", { model: "huge" })))
        assert.strictEqual(error.reason._tag, "UnknownModel")
      }).pipe(
        Effect.provide(
          ModelScripted.layer({ small: [ModelScripted.text("1")], large: [ModelScripted.text("2")] })
        )
      ))

    it.effect("forces a tool until one was called, or in every turn where that is asked for", () =>
      Effect.gen(function*() {
        const settings = { toolChoice: "required", temperature: 0.5 } as const
        yield* runAs(way, Agent.make({ name: "a", toolkit: kit, settings }), "go")
        const requests = yield* ModelScripted.requests
        assert.deepStrictEqual(requests.map((request) => request.settings?.toolChoice), ["required", undefined])
        assert.strictEqual(requests[1]!.settings?.temperature, 0.5)
        yield* runAs(way, Agent.make({ name: "a", toolkit: kit, settings, resetToolChoice: false }), "go")
        const later = (yield* ModelScripted.requests).slice(2)
        assert.deepStrictEqual(later.map((request) => request.settings?.toolChoice), ["required", "required"])
      }).pipe(Effect.provide([
        handlers,
        ModelScripted.layer([
          ModelScripted.toolCall("add", { a: 1, b: 2 }),
          ModelScripted.text("3"),
          ModelScripted.toolCall("add", { a: 1, b: 2 }),
          ModelScripted.text("3")
        ])
      ])))

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

    it.effect("says that a text was cut off, and does not decode a shape that was", () =>
      Effect.gen(function*() {
        const cut = yield* runAs(way, plain, "go")
        assert.deepStrictEqual([cut.finalOutput, cut.incompleteReason], ["half an", "max_output_tokens"])
        const whole = yield* runAs(way, plain, "go")
        assert.deepStrictEqual([whole.finalOutput, whole.incompleteReason], ["whole", undefined])
        const agent = Agent.make({ name: "a", output: Schema.Struct({ n: Schema.Number }) })
        const error = failureOf(yield* Effect.exit(runAs(way, agent, "go")))
        assert.strictEqual(error.reason._tag, "InvalidOutput")
        assert.include(error.message, "max_output_tokens")
      }).pipe(
        Effect.provide(
          ModelScripted.layer([
            ModelScripted.incomplete("max_output_tokens", ModelScripted.text("half an")),
            ModelScripted.text("whole"),
            ModelScripted.incomplete("max_output_tokens", ModelScripted.text("{\"n\":"))
          ])
        )
      ))

    it.effect("runs instructions before every model call, with their requirements and errors", () => {
      class Profile extends Context.Service<Profile, { readonly name: string }>()("test/Profile") {}
      let asked = 0
      const agent = Agent.make({
        name: "a",
        toolkit: kit,
        instructions: Effect.gen(function*() {
          const { name } = yield* Profile
          if (name === "") return yield* Effect.fail("nobody" as const)
          return `Help ${name}, question ${++asked}.`
        })
      })
      return Effect.gen(function*() {
        yield* runAs(way, agent, "go").pipe(Effect.provideService(Profile, { name: "Ada" }))
        const requests = yield* ModelScripted.requests
        assert.deepStrictEqual(requests.map((request) => request.instructions), [
          "Help Ada, question 1.",
          "Help Ada, question 2."
        ])
        const error = failureOf(
          yield* Effect.exit(runAs(way, agent, "go").pipe(Effect.provideService(Profile, { name: "" })))
        )
        assert.strictEqual(error, "nobody")
      }).pipe(Effect.provide([
        handlers,
        ModelScripted.layer([ModelScripted.toolCall("add", { a: 1, b: 2 }), ModelScripted.text("ok")])
      ]))
    })

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

    it.effect("interrupts the model request and the tools of a run that is interrupted", () =>
      Effect.gen(function*() {
        const Slow = Tool.make("slow", { success: Schema.String })
        const slows = Toolkit.make(Slow)
        const started = yield* Deferred.make<void>()
        const stopped = yield* Deferred.make<void>()
        const slow = slows.toLayer({
          slow: () =>
            Effect.andThen(Deferred.succeed(started, undefined), Effect.never).pipe(
              Effect.onInterrupt(() => Deferred.succeed(stopped, undefined))
            )
        })
        const agent = Agent.make({ name: "a", toolkit: slows })
        const fiber = yield* Effect.forkChild(
          runAs(way, agent, "go").pipe(
            Effect.provide(slow),
            Effect.provide(ModelScripted.layer([ModelScripted.toolCall("slow")]))
          )
        )
        yield* Deferred.await(started)
        yield* Fiber.interrupt(fiber)
        yield* Deferred.await(stopped)

        yield* Effect.gen(function*() {
          const hanging = yield* Effect.forkChild(runAs(way, plain, "go"), { startImmediately: true })
          while ((yield* ModelScripted.requests).length === 0) yield* Effect.yieldNow
          yield* Fiber.interrupt(hanging)
          assert.strictEqual(yield* ModelScripted.ModelScripted.use((model) => model.aborted), 1)
        }).pipe(Effect.provide(ModelScripted.layer([ModelScripted.hang()])))
      }))

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

    it.effect("ends with ToolDefect where a tool's answer is not JSON, and where nothing can be said of a defect", () => {
      const Any = Tool.make("any", { success: Schema.Unknown })
      const anys = Toolkit.make(Any)
      const agent = Agent.make({ name: "a", toolkit: anys })
      const messageOf = (answer: Effect.Effect<unknown>) =>
        Effect.map(
          Effect.exit(
            runAs(way, agent, "go").pipe(
              Effect.provide(anys.toLayer({ any: () => answer })),
              Effect.provide(ModelScripted.layer([ModelScripted.toolCall("any")]))
            )
          ),
          (exit) => {
            const error = failureOf(exit)
            assert.strictEqual(error.reason._tag, "ToolDefect")
            return error.message as string
          }
        )
      return Effect.gen(function*() {
        const circular: Record<string, unknown> = {}
        circular["self"] = circular
        for (const answer of [circular, 1n, () => 1]) {
          assert.include(yield* messageOf(Effect.succeed(answer)), "is not JSON")
        }
        assert.include(yield* messageOf(Effect.die(Object.create(null))), "died: {}")
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

    it.effect("passes a model's failure on as it is", () =>
      Effect.gen(function*() {
        const error = failureOf(yield* Effect.exit(runAs(way, plain, "hi", { conversationId: "c" })))
        assert.isTrue(ModelError.isModelError(error))
        assert.strictEqual(error.reason._tag, "Overloaded")
        const { items, version } = yield* Session.Session.use((session) => session.loadItems("c"))
        assert.deepStrictEqual([items, version], [[], 0])
      }).pipe(
        Effect.provide([
          SessionMemory.layer,
          ModelScripted.layer([ModelScripted.fail(new ModelError.Overloaded({ description: "try later" }))])
        ])
      ))
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
