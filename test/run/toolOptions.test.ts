import { assert, describe, it } from "@effect/vitest"
import { Agent, Item, ModelError, ModelScripted, Runner, Session, SessionMemory } from "agent-layers"
import { Cause, Deferred, Effect, Exit, Fiber, Option, Ref, Schedule, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { TestClock } from "effect/testing"
import { runAs, ways } from "./support.ts"

const Work = Tool.make("work", { success: Schema.Number, failure: Schema.String })
const kit = Toolkit.make(Work)

const errorOf = (exit: Exit.Exit<unknown, any>): any =>
  Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined

const outputs = (items: ReadonlyArray<Item.Item>) => items.filter(Item.isFunctionCallOutput).map((item) => item.output)

const once = () => ModelScripted.layer([ModelScripted.toolCall("work"), ModelScripted.text("Done.")])

const Numbers = Schema.Struct({ n: Schema.Number })

for (const way of ways) {
  describe(`options by ${way}`, () => {
    it.effect("give up on a tool after its timeout, and retry it as its schedule says", () =>
      Effect.gen(function*() {
        let times = 0
        const handlers = kit.toLayer({
          work: () => Effect.suspend(() => ++times < 3 ? Effect.never : Effect.succeed(times))
        })
        const run = (agent: Agent.Agent<string, never, Tool.HandlersFor<typeof kit.tools>>) =>
          Effect.gen(function*() {
            const fiber = yield* Effect.forkChild(
              runAs(way, agent, "go").pipe(Effect.provide(handlers), Effect.provide(once()))
            )
            yield* TestClock.adjust("1 minute")
            return outputs((yield* Fiber.join(fiber)).items)
          })
        const limited = Agent.make({ name: "a", toolkit: kit, toolOptions: { work: { timeout: "5 seconds" } } })
        assert.deepStrictEqual(yield* run(limited), [`Error: Tool "work" did not answer within 5s.`])
        const stubborn = Agent.make({
          name: "a",
          toolkit: kit,
          toolOptions: { work: { timeout: "5 seconds", retry: Schedule.recurs(2) } }
        })
        assert.deepStrictEqual(yield* run(stubborn), ["3"])
        assert.strictEqual(times, 3)
      }))

    it.effect("end the run at a failure that is not for the model", () =>
      Effect.gen(function*() {
        const handlers = kit.toLayer({ work: () => Effect.fail("no power") })
        const strict = Agent.make({ name: "a", toolkit: kit, toolOptions: { work: { onFailure: "fail" } } })
        const lenient = Agent.make({ name: "a", toolkit: kit, toolOptions: { work: { onFailure: "return" } } })
        const bare = Agent.make({ name: "a", toolkit: kit })
        const run = (agent: typeof bare, options = {}) =>
          Effect.exit(runAs(way, agent, "go", options).pipe(Effect.provide(handlers), Effect.provide(once())))
        for (const exit of [yield* run(strict), yield* run(bare, { onToolFailure: "fail" })]) {
          const { reason } = errorOf(exit)
          assert.deepStrictEqual([reason._tag, reason.tool, reason.description], ["ToolFailed", "work", "no power"])
        }
        assert.isTrue(Exit.isSuccess(yield* run(lenient, { onToolFailure: "fail" })))
      }))

    it.effect("hide a tool that is not enabled, and refuse its calls", () =>
      Effect.gen(function*() {
        const agent = Agent.make({
          name: "a",
          toolkit: kit,
          toolOptions: { work: { isEnabled: Effect.succeed(false) } }
        })
        const result = yield* runAs(way, agent, "go")
        assert.deepStrictEqual(outputs(result.items), [`Error: There is no tool "work". No tools are available.`])
        assert.isUndefined((yield* ModelScripted.requests)[0]!.tools)
      }).pipe(Effect.provide([kit.toLayer({ work: () => Effect.die("not shown") }), once()])))

    it.effect("take a tool's answer for the final one", () =>
      Effect.gen(function*() {
        const handlers = kit.toLayer({ work: () => Effect.succeed(7) })
        const finish = (toolUse: Agent.ToolUse<string>) =>
          runAs(way, Agent.make({ name: "a", toolkit: kit, toolUse }), "go").pipe(
            Effect.provide(handlers),
            Effect.provide(ModelScripted.layer([ModelScripted.toolCall("work")])),
            Effect.map(({ finalOutput }) => finalOutput)
          )
        assert.strictEqual(yield* finish("stopOnFirst"), "7")
        assert.strictEqual(yield* finish({ stopAt: ["work"] }), "7")
        assert.strictEqual(yield* finish(([first]) => Option.some(`it is ${String(first!.value)}`)), "it is 7")
        const onward = yield* runAs(way, Agent.make({ name: "a", toolkit: kit, toolUse: { stopAt: ["other"] } }), "go")
          .pipe(Effect.provide(handlers), Effect.provide(once()))
        assert.strictEqual(onward.finalOutput, "Done.")
      }))

    it.effect("have an answer mended, within the budget, and store nothing of it", () =>
      Effect.gen(function*() {
        const agent = Agent.make({ name: "a", output: Numbers, outputRepairs: 1 })
        const result = yield* runAs(way, agent, "go", { conversationId: "c" })
        assert.deepStrictEqual(result.finalOutput, { n: 1 })
        const [, second] = yield* ModelScripted.requests
        assert.match(Item.text((second!.input as ReadonlyArray<Item.Item>).at(-1)!), /does not have the shape/)
        const { items } = yield* Session.Session.use((session) => session.loadItems("c"))
        assert.deepStrictEqual(items.map(Item.text), ["go", `{"n":1}`])
        const error = errorOf(yield* Effect.exit(runAs(way, agent, "go")))
        assert.strictEqual(error.reason._tag, "InvalidFinalOutput")
      }).pipe(Effect.provide([
        SessionMemory.layer,
        ModelScripted.layer(
          [`{"n":"one"}`, `{"n":1}`, `{"n":"two"}`, `{"n":"three"}`].map((text) => ModelScripted.text(text))
        )
      ])))

    it.effect("put another answer in place of an error, checked like the agent's own", () =>
      Effect.gen(function*() {
        const agent = Agent.make({ name: "a", output: Numbers })
        const recover = (value: unknown) => (error: { readonly reason: { readonly _tag: string } }) =>
          Effect.succeed(error.reason._tag === "InvalidFinalOutput" ? Option.some(value) : Option.none())
        const run = (value: unknown, text: string, conversationId: string) =>
          runAs(way, agent, "go", { conversationId, recover: recover(value) as any }).pipe(
            Effect.provide(ModelScripted.layer([ModelScripted.text(text)]))
          )
        const result = yield* run({ n: 0 }, "nothing", "c")
        assert.deepStrictEqual(result.finalOutput, { n: 0 })
        const { items } = yield* Session.Session.use((session) => session.loadItems("c"))
        assert.deepStrictEqual(items.map(Item.text), ["go", `{"n":0}`])
        const wrong = errorOf(yield* Effect.exit(run({ n: "x" }, "nothing", "d")))
        assert.include(wrong.message, "is not an output of the agent")
      }).pipe(Effect.provide(SessionMemory.layer)))

    it.effect("stop after a turn, with everything stored, to be resumed", () =>
      Effect.gen(function*() {
        const handlers = kit.toLayer({ work: () => Effect.succeed(1) })
        const agent = Agent.make({ name: "a", toolkit: kit })
        yield* Effect.gen(function*() {
          const options = { conversationId: "c", stopAfterTurn: Effect.succeed(true) }
          const { reason } = errorOf(yield* Effect.exit(runAs(way, agent, "go", options)))
          assert.deepStrictEqual([reason._tag, reason.turn], ["Stopped", 1])
          const { items } = yield* Session.Session.use((session) => session.loadItems("c"))
          assert.lengthOf(items, 3)
          const result = yield* Runner.resume(agent, reason.state, [], { conversationId: "c" })
          assert.deepStrictEqual([result.finalOutput, result.turns], ["Done.", 2])
        }).pipe(Effect.provide(handlers), Effect.provide(once()))
      }).pipe(Effect.provide(SessionMemory.layer)))

    it.effect("call hooks in their order, and show the model what filters say, which is not stored", () =>
      Effect.gen(function*() {
        const seen = yield* Ref.make<ReadonlyArray<string>>([])
        const note = (name: string) => () => Ref.update(seen, (all) => [...all, name])
        const agent = Agent.make({ name: "a", toolkit: kit })
        const result = yield* runAs(way, agent, "go", {
          conversationId: "c",
          hooks: {
            onRunStart: note("run"),
            onAgentStart: note("agent"),
            onTurnStart: note("turn"),
            onModelStart: note("model"),
            onModelEnd: note("answer"),
            onToolStart: note("tool"),
            onToolEnd: note("output"),
            onAgentEnd: note("final"),
            onRunEnd: note("end")
          },
          history: (history, input) => Effect.succeed([...history, Item.system("Be brief."), ...input]),
          inputFilter: ({ input }) => Effect.succeed({ instructions: "filtered", input: input.slice(-2) })
        })
        assert.deepStrictEqual(yield* Ref.get(seen), [
          ...["run", "agent", "turn", "model", "answer", "tool", "output"],
          ...["turn", "model", "answer", "final", "end"]
        ])
        const [first, second] = yield* ModelScripted.requests
        assert.deepStrictEqual((first!.input as ReadonlyArray<Item.Item>).map(Item.text), ["Be brief.", "go"])
        assert.strictEqual(first!.instructions, "filtered")
        assert.lengthOf(second!.input, 2)
        const { items } = yield* Session.Session.use((session) => session.loadItems("c"))
        assert.deepStrictEqual(items, result.items)
        assert.notInclude(items.map(Item.text), "Be brief.")
      }).pipe(Effect.provide([kit.toLayer({ work: () => Effect.succeed(1) }), SessionMemory.layer, once()])))

    it.effect("send a provider that keeps the conversation what is new, and nothing twice", () =>
      Effect.gen(function*() {
        const agent = Agent.make({ name: "a", toolkit: kit })
        const result = yield* runAs(way, agent, "go", { previousResponseId: "resp_0" })
        const [first, second] = yield* ModelScripted.requests
        assert.deepStrictEqual([first!.input, first!.previousResponseId], [[Item.user("go")], "resp_0"])
        assert.deepStrictEqual((second!.input as ReadonlyArray<Item.Item>).map(({ type }) => type), [
          "function_call_output"
        ])
        assert.strictEqual(second!.previousResponseId, result.responses[0]!.id)
        assert.strictEqual(result.lastResponseId, result.responses[1]!.id)
        const both = errorOf(
          yield* Effect.exit(runAs(way, agent, "go", { conversationId: "c", previousResponseId: "resp_0" }))
        )
        assert.strictEqual(both.reason._tag, "InvalidOptions")
      }).pipe(Effect.provide([
        SessionMemory.layer,
        kit.toLayer({ work: () => Effect.succeed(1) }),
        ModelScripted.layer([ModelScripted.toolCall("work"), ModelScripted.text("Done.")])
      ])))

    it.effect("refuse a run on a busy conversation before the model is asked, or let it wait", () =>
      Effect.gen(function*() {
        const agent = Agent.make({ name: "a" })
        const first = yield* Effect.forkChild(runAs(way, agent, "one", { conversationId: "c" }))
        yield* TestClock.adjust("1 millis")
        const { reason } = errorOf(yield* Effect.exit(runAs(way, agent, "two", { conversationId: "c" })))
        assert.strictEqual(reason._tag, "ConversationBusy")
        const waiting = yield* Effect.forkChild(runAs(way, agent, "three", { conversationId: "c", onConflict: "wait" }))
        const impatient = yield* Effect.forkChild(
          Effect.exit(runAs(way, agent, "four", { conversationId: "c", onConflict: { wait: "1 second" } }))
        )
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(errorOf(yield* Fiber.join(impatient)).reason._tag, "ConversationBusy")
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.join(first)
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.join(waiting)
        const { items } = yield* Session.Session.use((session) => session.loadItems("c"))
        assert.deepStrictEqual(items.map(Item.text), ["one", "ok", "three", "ok"])
      }).pipe(Effect.provide([
        SessionMemory.layer,
        ModelScripted.layer(() => ModelScripted.delayed("5 seconds", ModelScripted.text("ok")))
      ])))
  })
}

describe("a stream", () => {
  it.effect("tells what a handler has come to before it is done", () =>
    Effect.gen(function*() {
      const events = yield* Stream.runCollect(Runner.stream(Agent.make({ name: "a", toolkit: kit }), "go"))
      const told = events.flatMap((event) => event._tag === "ToolProgress" ? [event.value] : [])
      assert.deepStrictEqual(told, [1, 2])
    }).pipe(Effect.provide([
      kit.toLayer({
        work: (_, { preliminary }) => Effect.as(Effect.andThen(preliminary(1), preliminary(2)), 3)
      }),
      once()
    ])))

  it.effect("that is left goes on where it was told to finish, and stores what it comes to", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const handlers = kit.toLayer({ work: () => Effect.as(Deferred.await(begun), 1) })
      const session = yield* Session.Session
      yield* Effect.gen(function*() {
        const agent = Agent.make({ name: "a", toolkit: kit })
        yield* Runner.stream(agent, "go", { conversationId: "c", onDisconnect: "finish" }).pipe(
          Stream.takeUntil((event) => event._tag === "ToolStarted"),
          Stream.runDrain
        )
        yield* Deferred.succeed(begun, undefined)
        for (let n = 0; n < 100; n++) yield* Effect.yieldNow
        const { items } = yield* session.loadItems("c")
        assert.strictEqual(Item.text(items.at(-1)!), "Done.")
      }).pipe(Effect.provide(handlers), Effect.provide(once()))
    }).pipe(Effect.provide(SessionMemory.layer)))

  it.effect("makes an answer of a refusal, where the caller has one", () =>
    Effect.gen(function*() {
      const agent = Agent.make({ name: "a", output: Numbers })
      const result = yield* Runner.run(agent, "go", {
        recover: (error) => Effect.succeed(ModelError.isModelError(error) ? Option.some({ n: -1 }) : Option.none())
      })
      assert.deepStrictEqual(result.finalOutput, { n: -1 })
    }).pipe(Effect.provide(ModelScripted.layer([ModelScripted.refusal("I will not.")]))))
})
