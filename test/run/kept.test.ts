/** What is kept of a turn that stops after a tool ran, beyond what the scenarios show; and how results become JSON. */
import { assert, describe, it } from "@effect/vitest"
import {
  Agent,
  Approval,
  Guardrail,
  History,
  Item,
  ModelScripted,
  RunError,
  RunJournal,
  Runner,
  RunState,
  Session,
  SessionError,
  SessionMemory
} from "agent-layers"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import {
  handlers,
  kit,
  look,
  outputs,
  pay,
  Ran,
  ran,
  reasonOf,
  resumeAs,
  runAs,
  type Way,
  ways,
  world
} from "./support.ts"

const cashier = Agent.make({ name: "cashier", toolkit: kit })

const stored = Session.Session.use((session) => session.loadItems("c"))

const trips = Guardrail.output({ name: "never", check: () => Effect.succeed(Guardrail.trip()) })

const stopsAtFirst = Agent.make({ name: "cashier", toolkit: kit, toolUse: "stopOnFirst", outputGuardrails: [trips] })

/** A session that notes the operation ids of a run's commits, and may refuse some. */
const watched = (refuse: (operationId: string) => boolean = () => false) => {
  const operations: Array<string> = []
  const layer = Layer.effect(
    Session.Session,
    Effect.map(Session.Session, (inner) => ({
      ...inner,
      saveItems: (id: string, items: ReadonlyArray<Item.Item>, options?: Session.SaveOptions) => {
        if (options?.operationId !== undefined) operations.push(options.operationId)
        return refuse(options?.operationId ?? "")
          ? Effect.fail(
            new SessionError.SessionError({
              backend: "memory",
              operation: "saveItems",
              reason: new SessionError.Unavailable({ description: "down", isOutcomeUnknown: false })
            })
          )
          : inner.saveItems(id, items, options)
      }
    }))
  ).pipe(Layer.provideMerge(SessionMemory.layer))
  return { operations, layer }
}

describe.each(ways)("a turn that stops after a tool ran, %s", (way) => {
  it.effect("is committed under an operation id of its own, and the state that is left stands on that commit", () => {
    const { layer, operations } = watched()
    return Effect.gen(function*() {
      const { state } = yield* reasonOf(
        "GuardrailTripped",
        runAs(way, stopsAtFirst, "go", { conversationId: "c" })
      )
      assert.deepStrictEqual(operations, [`${state.runId}/1/stopped`])
      const { items, version } = yield* stored
      assert.strictEqual(state.conversationVersion, version)
      assert.deepStrictEqual(History.check(items), [])
      yield* resumeAs(way, cashier, state, [], { conversationId: "c" })
      assert.deepStrictEqual(yield* ran, ["look it"])
    }).pipe(
      Effect.provide(layer),
      Effect.provide(world([ModelScripted.calls([look("it", "l1")]), ModelScripted.text("done")]))
    )
  })

  it.effect("is in the state where there is no session, and a resumed run does not run the tool again", () =>
    Effect.gen(function*() {
      const { state } = yield* reasonOf("GuardrailTripped", runAs(way, stopsAtFirst, "go"))
      assert.deepStrictEqual(outputs(state.items), { l1: "saw it" })
      assert.deepStrictEqual(outputs(state.newItems), { l1: "saw it" })
      assert.strictEqual(state.turns, 1)
      const result = yield* resumeAs(way, cashier, state)
      assert.deepStrictEqual(outputs(result.items), { l1: "saw it", l2: "saw it" })
      assert.deepStrictEqual(yield* ran, ["look it"])
    }).pipe(Effect.provide(world([
      ModelScripted.calls([look("it", "l1")]),
      ModelScripted.calls([look("it", "l2")]),
      ModelScripted.text("done")
    ]))))

  it.effect("gives the recorded output once: another call, or the same one later, runs", () =>
    Effect.gen(function*() {
      const { state } = yield* reasonOf("GuardrailTripped", runAs(way, stopsAtFirst, "go"))
      yield* resumeAs(way, cashier, state)
      assert.deepStrictEqual(yield* ran, ["look it", "look other", "look it", "look it"])
    }).pipe(Effect.provide(world([
      ModelScripted.calls([look("it", "l1")]),
      ModelScripted.calls([look("it", "l2"), look("other", "l3"), look("it", "l4")]),
      ModelScripted.calls([look("it", "l5")]),
      ModelScripted.text("done")
    ]))))

  it.effect("whose commit fails keeps its own error, warns, and has the turn in its state", () => {
    const { layer, operations } = watched((id) => id.endsWith("/stopped"))
    return Effect.gen(function*() {
      const { state } = yield* reasonOf(
        "GuardrailTripped",
        runAs(way, stopsAtFirst, "go", { conversationId: "c" })
      )
      assert.strictEqual(operations.length, 1)
      assert.deepStrictEqual((yield* stored).items, [])
      assert.deepStrictEqual(outputs(state.items), { l1: "saw it" })
      yield* resumeAs(way, cashier, state, [], { conversationId: "c" })
      const { items } = yield* stored
      assert.deepStrictEqual(History.check(items), [])
      assert.deepStrictEqual(items.map(({ type }) => type), [
        "message",
        "function_call",
        "function_call_output",
        "message"
      ])
      assert.deepStrictEqual(yield* ran, ["look it"])
    }).pipe(
      Effect.provide(layer),
      Effect.provide(world([ModelScripted.calls([look("it", "l1")]), ModelScripted.text("done")]))
    )
  })

  it.effect("waits for a person as before: nothing is stored, and the open turn is in the state", () => {
    const { layer, operations } = watched()
    return Effect.gen(function*() {
      const { state } = yield* reasonOf(
        "ApprovalRequired",
        runAs(way, cashier, "go", { conversationId: "c" })
      )
      assert.deepStrictEqual(operations, [])
      assert.deepStrictEqual(state.openTurn?.answers.map(({ callId }) => callId), ["l1"])
      const decisions = state.openTurn!.approvals.map((one) => Approval.approve(one))
      yield* resumeAs(way, cashier, state, decisions, { conversationId: "c" })
      assert.deepStrictEqual(yield* ran, ["look it", "pay 1"])
      assert.deepStrictEqual(operations, [`${state.runId}/1`, `${state.runId}/2`])
    }).pipe(
      Effect.provide(layer),
      Effect.provide(world([ModelScripted.calls([look("it", "l1"), pay(1, "p1")]), ModelScripted.text("done")]))
    )
  })

  it.effect("on the way back from a person keeps the calls that ran before the question", () =>
    Effect.gen(function*() {
      const checked = Agent.make({
        name: "cashier",
        toolkit: kit,
        toolOptions: {
          pay: {
            outputGuardrails: [Guardrail.toolOutput({ name: "g", check: () => Effect.succeed(Guardrail.trip()) })]
          }
        }
      })
      const { state } = yield* reasonOf("ApprovalRequired", runAs(way, checked, "go", { conversationId: "c" }))
      const decisions = state.openTurn!.approvals.map((one) => Approval.approve(one))
      yield* reasonOf("GuardrailTripped", resumeAs(way, checked, state, decisions, { conversationId: "c" }))
      const { items } = yield* stored
      assert.deepStrictEqual(outputs(items), {
        l1: "saw it",
        p1: `Tool "pay" ran. Its output is withheld: it did not pass a guardrail.`
      })
      assert.deepStrictEqual(yield* ran, ["look it", "pay 1"])
    }).pipe(Effect.provide(world([ModelScripted.calls([look("it", "l1"), pay(1, "p1")])]))))

  it.effect("is not moved by a journal that records, where the run is interrupted to go on later", () => {
    const { layer, operations } = watched()
    let begun = Deferred.makeUnsafe<void>()
    const Hang = Toolkit.make(Tool.make("hang", { success: Schema.String }))
    const agent = Agent.make({ name: "a", toolkit: Hang })
    const journal: RunJournal.RunJournal = {
      step: (_run, _schemas, effect) => effect,
      signal: () => Effect.succeedNone
    }
    const cut = (journal: RunJournal.RunJournal | undefined) =>
      Effect.gen(function*() {
        begun = Deferred.makeUnsafe()
        const run = runAs(way, agent, "go", { conversationId: "c" })
        const fiber = yield* Effect.forkChild(
          journal === undefined ? run : Effect.provideService(run, RunJournal.RunJournal, journal)
        )
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(fiber)
        return operations.length
      })
    return Effect.gen(function*() {
      assert.strictEqual(yield* cut(journal), 0)
      assert.strictEqual(yield* cut(undefined), 1)
    }).pipe(
      Effect.provide(layer),
      Effect.provide(
        Hang.toLayer({
          hang: () => Effect.andThen(Effect.suspend(() => Deferred.succeed(begun, undefined)), Effect.never)
        })
      ),
      Effect.provide(ModelScripted.layer(() => ModelScripted.toolCall("hang")))
    )
  })

  it.effect("of an agent that was called is told to the agent that called it", () =>
    Effect.gen(function*() {
      const inner = Agent.make({ name: "inner", toolkit: kit, toolUse: "stopOnFirst", outputGuardrails: [trips] })
      const outer = Agent.make({
        name: "outer",
        agentTools: [Agent.asTool(inner, { name: "ask", description: "Asks" })]
      })
      const result = yield* runAs(way, outer, "go")
      const [told] = Object.values(outputs(result.newItems))
      assert.match(told as string, /^Error: .*\nThe calls that it made before:\nlook\(\{"at":"it"\}\): saw it$/)
    }).pipe(Effect.provide(world([
      ModelScripted.calls([{ name: "ask", arguments: { input: "x" }, callId: "a1" }]),
      ModelScripted.calls([look("it", "l1")]),
      ModelScripted.text("done")
    ]))))
})

it.live("what follows a stream that is left sees the turn stored", () => {
  const Hang = Toolkit.make(Tool.make("hang", { success: Schema.String }))
  const agent = Agent.make({ name: "a", toolkit: Hang })
  const begun = Deferred.makeUnsafe<void>()
  let seen = 0
  return Effect.gen(function*() {
    const count = Effect.map(stored, ({ items }) => void (seen = items.length))
    const fiber = yield* Effect.forkChild(
      Runner.stream(agent, "go", { conversationId: "c" }).pipe(
        Stream.onExit(() => Effect.orDie(count)),
        Stream.runDrain
      )
    )
    yield* Deferred.await(begun)
    yield* Fiber.interrupt(fiber)
    assert.strictEqual(seen, 3)
  }).pipe(Effect.provide([
    SessionMemory.layer,
    Hang.toLayer({ hang: () => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never) }),
    ModelScripted.layer([ModelScripted.toolCall("hang")])
  ]))
})

class Point {
  readonly x = 3
  toJSON() {
    return { at: this.x }
  }
}

class Unsaid {
  toJSON(): never {
    throw new Error("secret state")
  }
}

const cycle: Record<string, unknown> = { name: "cycle" }
cycle["self"] = cycle

/** Values that are no JSON, and the JSON that they become. */
const values: ReadonlyArray<readonly [name: string, value: unknown, json: unknown]> = [
  ["undefined in an object", { found: true, note: undefined }, { found: true }],
  ["undefined in a list", [1, undefined], [1, null]],
  ["a Date", { at: new Date(0) }, { at: "1970-01-01T00:00:00.000Z" }],
  ["a date that is none", { at: new Date(NaN) }, { at: null }],
  ["a Set", { tags: new Set(["a", "b"]) }, { tags: ["a", "b"] }],
  ["a Map", { by: new Map([["a", 1]]) }, { by: [["a", 1]] }],
  ["NaN and infinities", [NaN, Infinity, -Infinity], [null, null, null]],
  ["a BigInt", { n: 10n ** 20n }, { n: "100000000000000000000" }],
  ["a cycle", cycle, { name: "cycle", self: "[circular]" }],
  ["bytes", { data: new Uint8Array([1, 2, 3]) }, { data: "AQID" }],
  ["a function", { f: () => 1 }, {}],
  ["a symbol", [Symbol("s")], [null]],
  ["an error", { cause: new RangeError("far") }, { cause: { name: "RangeError", message: "far" } }],
  ["a class with toJSON", new Point(), { at: 3 }],
  ["a toJSON that throws", new Unsaid(), "[not JSON: secret state]"]
]

const Any = Toolkit.make(
  Tool.make("any", { success: Schema.Unknown }),
  Tool.make("ask", { success: Schema.String, needsApproval: true })
)

const anyHandlers = (value: unknown) =>
  Any.toLayer({ any: () => Effect.succeed(value), ask: () => Effect.succeed("asked") })

const both = ModelScripted.calls([{ name: "any", callId: "c1" }, { name: "ask", callId: "c2" }])

const toJson = Schema.encodeUnknownSync(Schema.toCodecJson(RunError.RunError))

const stopOf = (way: Way, agent: Agent.Agent<any, any, any>, options = {}) =>
  Effect.map(Effect.exit(runAs(way, agent, "go", options)), (exit) => {
    assert(Exit.isFailure(exit))
    const error = exit.cause.reasons.find(Cause.isFailReason)?.error
    assert(RunError.isRunError(error), Cause.pretty(exit.cause))
    return error
  })

/** The error and its state are JSON, and come back as they were. */
const assertJson = (error: RunError.RunError) =>
  Effect.gen(function*() {
    const json = toJson(error)
    assert.deepStrictEqual(JSON.parse(JSON.stringify(json)), json)
    const state = (error.reason as { readonly state: RunState.RunState }).state
    const text = yield* RunState.serialise(state)
    assert.strictEqual(yield* RunState.serialise(yield* RunState.deserialise(text)), text)
  })

for (const way of ways) {
  describe(`results become JSON where they enter, ${way}`, () => {
    for (const [name, value, json] of values) {
      it.effect(`a tool's answer beside a question: ${name}`, () =>
        Effect.gen(function*() {
          const agent = Agent.make({ name: "a", toolkit: Any })
          const error = yield* stopOf(way, agent, { context: { value } })
          assert(error.reason._tag === "ApprovalRequired")
          yield* assertJson(error)
          assert.deepStrictEqual(error.reason.state.openTurn?.answers[0]?.value, json)
          const decisions = error.reason.approvals.map((one) => Approval.approve(one))
          const result = yield* resumeAs(way, agent, error.reason.state, decisions)
          assert.strictEqual(result.finalOutput, "done")
        }).pipe(
          Effect.provide([anyHandlers(value), ModelScripted.layer([both, ModelScripted.text("done")])])
        ))

      it.effect(`a guardrail's info and a tool's answer before it: ${name}`, () =>
        Effect.gen(function*() {
          const agent = Agent.make({
            name: "a",
            toolkit: Any,
            toolUse: "stopOnFirst",
            outputGuardrails: [
              Guardrail.output({ name: "g", check: () => Effect.succeed(Guardrail.trip(value as Schema.Json)) })
            ]
          })
          const error = yield* stopOf(way, agent)
          assert(error.reason._tag === "GuardrailTripped")
          yield* assertJson(error)
          assert.deepStrictEqual(error.reason.result.info, json)
        }).pipe(
          Effect.provide([anyHandlers(value), ModelScripted.layer([ModelScripted.toolCall("any")])])
        ))
    }

    it.effect("what a called agent answers, what a tool tells on its way, and what hooks see", () =>
      Effect.gen(function*() {
        const inner = Agent.make({ name: "inner" })
        const outer = Agent.make({
          name: "outer",
          agentTools: [Agent.asTool(inner, {
            name: "ask",
            description: "Asks",
            toText: () => new Set(["a"]) as unknown as string
          })]
        })
        const result = yield* runAs(way, outer, "go")
        assert.deepStrictEqual(Object.values(outputs(result.newItems)), [`["a"]`])
      }).pipe(Effect.provide(ModelScripted.layer([
        ModelScripted.toolCall("ask", `{"input":"x"}`),
        ModelScripted.text("inner"),
        ModelScripted.text("done")
      ]))))

    const asking = [ModelScripted.toolCall("ask", `{"input":"x"}`)]
    for (
      const [name, how] of Object.entries({
        toText: {
          toText: () => {
            throw new Error("no text")
          }
        },
        input: {
          input: () => {
            throw new Error("no input")
          }
        }
      })
    ) {
      it.effect(`${name} of an agent's tool that throws is a ToolDefect that names the tool`, () => {
        const inner = Agent.make({ name: "inner" })
        const tool = Agent.asTool(inner, { name: "ask", description: "Asks", ...how as {} })
        const outer = Agent.make({ name: "outer", agentTools: [tool] })
        return Effect.gen(function*() {
          const error = yield* stopOf(way, outer)
          assert(error.reason._tag === "ToolDefect")
          assert.strictEqual(error.reason.tool, "ask")
          yield* assertJson(error)
        }).pipe(Effect.provide(
          ModelScripted.layer(name === "input" ? asking : [...asking, ModelScripted.text("inner")])
        ))
      })
    }

    it.effect("a call id with half a surrogate pair is the model's error", () =>
      Effect.gen(function*() {
        for (const callId of ["\ud800", "a\udc00b", "\udfff\ud800"]) {
          const exit = yield* Effect.exit(
            Effect.provide(
              runAs(way, cashier, "go"),
              ModelScripted.layer([ModelScripted.calls([{ ...pay(1, "p"), callId }])])
            )
          )
          const error = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error as any : undefined
          assert.deepStrictEqual([error?._tag, error?.reason?._tag], ["ModelError", "InvalidOutput"])
        }
      }).pipe(Effect.provide(Layer.provideMerge(handlers, Layer.sync(Ran, () => [])))))
  })
}

describe("a tool's start is told", () => {
  const told: Array<string> = []
  const hooks = {
    onToolStart: (_: unknown, call: Item.FunctionCall) => Effect.sync(() => void told.push(`hook ${call.call_id}`))
  }
  const started = (events: Stream.Stream<any, any, any>) =>
    Stream.runForEach(events, (event) =>
      Effect.sync(() => {
        let one = event
        while (one._tag === "Nested") one = one.event
        if (one._tag === "ToolStarted") told.push(`event ${one.callId}`)
      }))

  it.effect("once, after the decision, right before it runs; for a called agent when it is first called", () =>
    Effect.gen(function*() {
      const inner = Agent.make({ name: "inner", toolkit: kit })
      const outer = Agent.make({
        name: "outer",
        agentTools: [Agent.asTool(inner, { name: "ask", description: "Asks" })]
      })
      const first = yield* reasonOf("ApprovalRequired", started(Runner.stream(outer, "go", { hooks })))
      assert.sameMembers(told.splice(0), ["event a1", "hook a1"])
      const decisions = first.approvals.map((one) => Approval.approve(one))
      yield* started(Runner.resumeStream(outer, first.state, decisions, { hooks }))
      assert.sameMembers(told, ["event p1", "hook p1"])
      assert.deepStrictEqual(yield* ran, ["pay 1"])
    }).pipe(Effect.provide(world([
      ModelScripted.calls([{ name: "ask", arguments: { input: "x" }, callId: "a1" }]),
      ModelScripted.calls([pay(1, "p1")]),
      ModelScripted.text("inner"),
      ModelScripted.text("done")
    ]))))
})
