import { assert, describe, it } from "@effect/vitest"
import {
  Agent,
  Handoff,
  InputFilter,
  Item,
  ModelError,
  type ModelProvider,
  ModelScripted,
  type RunConfig,
  RunJournal,
  Runner,
  Session,
  SessionError,
  SessionMemory
} from "agent-layers"
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import * as SessionCompacted from "agent-layers/layers/session/SessionCompacted"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, Redacted, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import * as OpenAiPeer from "../support/openai/OpenAiPeer.ts"
import { reasonOf, resumeAs, runAs, ways } from "./support.ts"

const kit = Toolkit.make(Tool.make("read", { success: Schema.String }))
let reads = 0
const handlers = kit.toLayer({ read: () => Effect.sync(() => `read ${++reads} ${"x".repeat(900)}`) })
const agent = Agent.make({ name: "reader", toolkit: kit })

const tooLong = ModelScripted.fail(new ModelError.ContextLengthExceeded({ description: "too long" }))
const read = ModelScripted.calls([{ name: "read", callId: "new" }])
const other = ModelScripted.calls([{ name: "read", callId: "newer" }])

const summaryOf: SessionCompacted.Options["compact"] = (items) =>
  Effect.succeed([Item.user(`summary of ${items.length}`)])

/** Far below the thresholds of the compaction. */
const past = [1, 2, 3, 4].flatMap((n) => [
  Item.user(`question ${n} ${"y".repeat(100)}`),
  Item.functionCall({ callId: `old ${n}`, name: "read", arguments: "{}" }),
  Item.functionCallOutput(`old ${n}`, "z".repeat(100)),
  Item.assistant(`answer ${n}`)
])

const nameOf = (item: Item.Item) =>
  Item.isMessage(item) ? Item.text(item).replace(/ [xyz]+$/, "") : `${item.type} ${String(item["call_id"])}`

const names = (items: ReadonlyArray<Item.Item>) => items.map(nameOf)

const stored = Effect.map(
  Session.Session.use((session) => session.loadItems("c")),
  ({ items, version }) => ({ items: names(items), version })
)

const asked = Effect.map(
  ModelScripted.requests,
  (requests) => requests.map(({ input }) => names(input as ReadonlyArray<Item.Item>))
)

const kept = names(past.slice(8))

/** After a turn with a long output. */
const compacted = ["summary of 13", ...names(past.slice(13)), "next"]

/** A conversation of four turns, with a session that compacts and another way to reach its store. */
const world = (
  script: ModelScripted.Script,
  compact: SessionCompacted.Options["compact"] = summaryOf,
  change: (
    session: Session.Session["Service"],
    raw: Session.Session["Service"]
  ) => Partial<Session.Session["Service"]> = () => ({})
) =>
  Layer.unwrap(Effect.gen(function*() {
    reads = 0
    const raw = yield* SessionMemory.make()
    for (let n = 0; n < past.length; n += 4) yield* raw.saveItems("c", past.slice(n, n + 4))
    const session = yield* Effect.provideService(SessionCompacted.make({ compact }), Session.Session, raw)
    return Layer.succeed(Session.Session, { ...session, ...change(session, raw) })
  })).pipe(Layer.merge(Layer.merge(handlers, ModelScripted.layer(script))))

const quiet = Effect.provide(Logger.layer([]))

const errorOf = (effect: Effect.Effect<unknown, any, any>): Effect.Effect<any, never, any> =>
  Effect.orDie(Effect.flip(effect))

for (const way of ways) {
  describe(`a conversation that outgrew the context, by ${way}`, () => {
    it.effect("is compacted below its thresholds, and the model is asked again", () =>
      Effect.gen(function*() {
        const result = yield* runAs(way, agent, "next", { conversationId: "c" })
        assert.strictEqual(result.finalOutput, "done")
        assert.deepStrictEqual(yield* asked, [[...names(past), "next"], ["summary of 8", ...kept, "next"]])
        assert.deepStrictEqual(names(result.items), ["summary of 8", ...kept, "next", "done"])
        assert.deepStrictEqual(names(result.newItems), ["done"])
        assert.deepStrictEqual(yield* stored, { items: names(result.items), version: 6 })
        assert.strictEqual(result.version, 6)
        assert.strictEqual(result.responses.length, 1)
      }).pipe(Effect.provide(world([tooLong, ModelScripted.text("done")]))))

    it.effect("within a run: its own turns are history, and no tool runs again", () =>
      Effect.gen(function*() {
        const result = yield* runAs(way, agent, "next", { conversationId: "c" })
        assert.strictEqual(reads, 1)
        const own = ["function_call new", "function_call_output new"]
        const [first, , last] = yield* asked
        assert.deepStrictEqual(first, [...names(past), "next"])
        assert.deepStrictEqual(last, [...compacted, ...own])
        assert.deepStrictEqual(names(result.newItems), [...own, "done"])
        assert.deepStrictEqual(yield* stored, { items: [...compacted, ...own, "done"], version: 7 })
      }).pipe(Effect.provide(world([read, tooLong, ModelScripted.text("done")]))))

    it.effect("once a run", () =>
      Effect.gen(function*() {
        const error = yield* errorOf(runAs(way, agent, "next", { conversationId: "c" }))
        assert.strictEqual(error.reason._tag, "ContextLengthExceeded")
        assert.strictEqual((yield* asked).length, 3)
        assert.deepStrictEqual((yield* stored).items.at(-1), "function_call_output new")
      }).pipe(Effect.provide(world([tooLong, read, tooLong]))))

    it.effect("goes on after a run that was stopped", () =>
      Effect.gen(function*() {
        const { state } = yield* reasonOf(
          "Stopped",
          runAs(way, agent, "next", { conversationId: "c", stopAfterTurn: Effect.succeed(true) })
        )
        const result = yield* resumeAs(way, agent, state, [], { conversationId: "c" })
        assert.strictEqual(result.finalOutput, "done")
        assert.strictEqual(reads, 1)
        const { items, version } = yield* stored
        assert.deepStrictEqual(items, [...compacted, "function_call new", "function_call_output new", "done"])
        assert.strictEqual(result.version, version)
      }).pipe(Effect.provide(world([read, tooLong, ModelScripted.text("done")]))))

    it.effect("keeps to maxItems", () =>
      Effect.gen(function*() {
        yield* runAs(way, agent, "next", { conversationId: "c", maxItems: 14 })
        assert.deepStrictEqual(yield* asked, [[...names(past.slice(4)), "next"], ["summary of 8", ...kept, "next"]])
      }).pipe(Effect.provide(world([tooLong, ModelScripted.text("done")]))))

    it.effect("fails as it did if maxItems already left out what was compacted", () =>
      Effect.gen(function*() {
        const error = yield* errorOf(runAs(way, agent, "next", { conversationId: "c", maxItems: 5 }))
        assert.strictEqual(error.reason._tag, "ContextLengthExceeded")
        assert.deepStrictEqual(yield* asked, [[...names(past.slice(12)), "next"]])
        assert.deepStrictEqual((yield* stored).items, ["summary of 8", ...kept])
      }).pipe(Effect.provide(world([tooLong]))))

    const filters: ReadonlyArray<readonly [string, InputFilter.InputFilter]> = [
      ["removeTools", InputFilter.removeTools],
      ["slice", (items) => items.slice(3)]
    ]
    for (const [name, filter] of filters) {
      it.effect(`what ${name} at a handoff left of it is compacted too`, () => {
        const second = Agent.make({ name: "second" })
        const first = Agent.make({ name: "first", toolkit: kit, handoffs: [Handoff.to(second, { filter })] })
        return Effect.gen(function*() {
          const result = yield* runAs(way, first, "next", { conversationId: "c" })
          assert.strictEqual(result.finalOutput, "done")
          const [, before, after] = yield* asked
          assert.isAbove(before!.length, after!.length)
          assert.strictEqual(after![0], "summary of 9")
          assert.notInclude(after!.join(), "question 1")
          assert.include(after!, "next")
        }).pipe(Effect.provide(
          world([ModelScripted.calls([{ name: "transfer_to_second" }]), tooLong, ModelScripted.text("done")])
        ))
      })
    }

    it.effect("a conversation of the same words again and again is compacted", () =>
      Effect.gen(function*() {
        const session = yield* Session.Session
        yield* session.clear("c")
        for (let n = 0; n < 4; n++) yield* session.saveItems("c", [Item.user("ping"), Item.assistant("pong")])
        const result = yield* runAs(way, agent, "ping", { conversationId: "c" })
        assert.strictEqual(result.finalOutput, "done")
        const [before, after] = yield* asked
        assert.strictEqual(before!.length, 9)
        assert.deepStrictEqual(after, ["summary of 4", "ping", "pong", "ping", "pong", "ping"])
      }).pipe(Effect.provide(world([tooLong, ModelScripted.text("done")]))))

    it.effect("and what a filter left of the same words", () => {
      const second = Agent.make({ name: "second" })
      const first = Agent.make({ name: "first", handoffs: [Handoff.to(second, { filter: InputFilter.removeTools })] })
      return Effect.gen(function*() {
        const session = yield* Session.Session
        yield* session.clear("c")
        for (let n = 0; n < 4; n++) yield* session.saveItems("c", [Item.user("ping"), Item.assistant("pong")])
        yield* runAs(way, first, "ping", { conversationId: "c" })
        const [, , after] = yield* asked
        const messages = (yield* stored).items.filter((name) => !name.startsWith("function_call"))
        assert.deepStrictEqual([...after!, "done"], messages)
      }).pipe(Effect.provide(
        world([ModelScripted.calls([{ name: "transfer_to_second" }]), tooLong, ModelScripted.text("done")])
      ))
    })

    it.effect("what a resumed run sees after a handoff's filter is compacted too", () => {
      const second = Agent.make({ name: "second", toolkit: kit })
      const first = Agent.make({
        name: "first",
        handoffs: [Handoff.to(second, { filter: InputFilter.removeTools })]
      })
      return Effect.gen(function*() {
        const { state } = yield* reasonOf(
          "Stopped",
          runAs(way, first, "next", { conversationId: "c", stopAfterTurn: Effect.succeed(true) })
        )
        yield* resumeAs(way, first, state, [], { conversationId: "c" })
        const [, before, after] = yield* asked
        assert.include(before!, names(past)[0]!)
        assert.strictEqual(after![0], "summary of 9")
        assert.notInclude(after!, names(past)[0]!)
      }).pipe(Effect.provide(
        world([ModelScripted.calls([{ name: "transfer_to_second" }]), tooLong, ModelScripted.text("done")])
      ))
    })

    it.effect("fails if the model does not see what was compacted", () => {
      const second = Agent.make({ name: "second" })
      const filter = () => [Item.user("only this")]
      const first = Agent.make({ name: "first", toolkit: kit, handoffs: [Handoff.to(second, { filter })] })
      return Effect.gen(function*() {
        const error = yield* errorOf(runAs(way, first, "next", { conversationId: "c" }))
        assert.strictEqual(error.reason._tag, "ContextLengthExceeded")
        assert.strictEqual((yield* asked).length, 2)
      }).pipe(Effect.provide(world([ModelScripted.calls([{ name: "transfer_to_second" }]), tooLong])))
    })

    it.effect("an agent that is called like a tool has no conversation to compact, and that of its caller stays", () => {
      const inner = Agent.make({ name: "inner" })
      const outer = Agent.make({
        name: "outer",
        agentTools: [Agent.asTool(inner, { name: "ask", description: "asks" })]
      })
      return Effect.gen(function*() {
        const result = yield* runAs(way, outer, "next", { conversationId: "c" })
        assert.strictEqual(result.finalOutput, "done")
        const requests = yield* asked
        assert.deepStrictEqual(requests.slice(0, 2), [[...names(past), "next"], ["hi"]])
        assert.deepStrictEqual(requests[2]!.slice(0, past.length), names(past))
        const { version } = yield* stored
        assert.strictEqual(version, 6)
      }).pipe(Effect.provide(world([
        ModelScripted.calls([{ name: "ask", arguments: { input: "hi" } }]),
        tooLong,
        ModelScripted.text("done")
      ])))
    })

    it.effect("a run inside of a tool compacts its own conversation, and its caller still may", () => {
      const ask = Toolkit.make(Tool.make("ask", { success: Schema.String }))
      const outer = Agent.make({ name: "outer", toolkit: ask })
      return Effect.gen(function*() {
        const session = yield* Session.Session
        const model = yield* Effect.context<ModelProvider.ModelProvider>()
        const run = Effect.provideContext(
          Runner.run(Agent.make({ name: "inner" }), "hi", { conversationId: "i" }),
          model
        )
        const answering = ask.toLayer({
          ask: () =>
            run.pipe(
              Effect.provideService(Session.Session, session),
              Effect.map(({ finalOutput }) => finalOutput),
              Effect.orDie
            )
        })
        yield* session.saveItems("i", past.slice(0, 8))
        yield* session.saveItems("i", past.slice(8))
        const result = yield* Effect.provide(runAs(way, outer, "next", { conversationId: "c" }), answering)
        assert.strictEqual(result.finalOutput, "done")
        const requests = yield* asked
        assert.deepStrictEqual(requests.slice(1, 3), [[...names(past), "hi"], ["summary of 8", ...kept, "hi"]])
        assert.strictEqual(requests[3]!.length, past.length + 3)
        assert.strictEqual(requests[4]![0], "summary of 9")
      }).pipe(Effect.provide(world([
        ModelScripted.calls([{ name: "ask" }]),
        tooLong,
        ModelScripted.text("inner done"),
        tooLong,
        ModelScripted.text("done")
      ])))
    })

    const useless: ReadonlyArray<readonly [string, SessionCompacted.Options["compact"]]> = [
      ["is not shorter", (items) => Effect.succeed([...items, Item.user("more")])],
      ["fails", () => Effect.fail("no model")]
    ]
    for (const [what, compact] of useless) {
      it.effect(`fails as it did if the compaction ${what}`, () =>
        quiet(Effect.gen(function*() {
          const error = yield* errorOf(runAs(way, agent, "next", { conversationId: "c" }))
          assert.strictEqual(error.reason._tag, "ContextLengthExceeded")
          assert.strictEqual((yield* asked).length, 1)
          assert.deepStrictEqual(yield* stored, { items: names(past), version: 4 })
        })).pipe(Effect.provide(world([tooLong], compact))))
    }

    it.effect("fails as it did if maintain fails, if there is no session, and if the provider keeps it", () =>
      quiet(Effect.gen(function*() {
        for (const options of [{ conversationId: "c" }, {}, { previousResponseId: "resp_1" }]) {
          const error = yield* errorOf(runAs(way, agent, "next", options))
          assert.strictEqual(error.reason._tag, "ContextLengthExceeded")
        }
        assert.strictEqual((yield* asked).length, 3)
      })).pipe(Effect.provide(world([tooLong, tooLong, tooLong], summaryOf, () => ({
        maintain: (conversationId) =>
          Effect.fail(
            new SessionError.SessionError({
              backend: "test",
              operation: "maintain",
              conversationId,
              reason: new SessionError.Unavailable({ description: "away", isOutcomeUnknown: false })
            })
          )
      })))))

    type Change = (raw: Session.Session["Service"]) => Effect.Effect<unknown, SessionError.SessionError>
    const changes: ReadonlyArray<readonly [string, Change]> = [
      ["a turn", (raw) => raw.saveItems("c", [Item.user("other"), Item.assistant("other answer")])],
      ["a pop", (raw) => raw.popItem("c")],
      ["a clear", (raw) => raw.clear("c")]
    ]
    const moments = ["before", "after", "in place of"] as const
    for (const [what, writes] of changes) {
      for (const moment of moments) {
        it.effect(`${what} of another writer ${moment} the compaction is a conflict`, () =>
          Effect.gen(function*() {
            const error = yield* errorOf(runAs(way, agent, "next", { conversationId: "c" }))
            assert.strictEqual(error.reason._tag, "VersionConflict")
            assert.strictEqual((yield* asked).length, 1)
            assert.notInclude((yield* stored).items, "next")
          }).pipe(Effect.provide(world([tooLong], summaryOf, (session, raw) => ({
            maintain: (id, options) => {
              const steps = { before: [0, 1], after: [1, 0], "in place of": [0] }[moment]
              const all = [Effect.orDie(writes(raw)), session.maintain(id, options)]
              return Effect.forEach(steps, (step) => all[step]!, { discard: true })
            }
          })))))
      }
    }

    it.effect("a turn of another writer while the function compacts is a conflict", () => {
      let other: Effect.Effect<unknown, SessionError.SessionError> = Effect.void
      const compact: SessionCompacted.Options["compact"] = (items) =>
        Effect.andThen(Effect.suspend(() => other), summaryOf(items))
      return Effect.gen(function*() {
        const error = yield* errorOf(runAs(way, agent, "next", { conversationId: "c" }))
        assert.strictEqual(error.reason._tag, "VersionConflict")
        assert.deepStrictEqual((yield* stored).items, ["summary of 8", ...kept, "other"])
      }).pipe(Effect.provide(world([tooLong], compact, (_, raw) => {
        other = raw.saveItems("c", [Item.user("other")])
        return {}
      })))
    })

    it.effect("a turn of another writer during the second call is a conflict at the commit", () =>
      Effect.gen(function*() {
        const session = yield* Session.Session
        const fiber = yield* Effect.forkChild(errorOf(runAs(way, agent, "next", {
          conversationId: "c",
          hooks: {
            onModelEnd: () => Effect.orDie(Effect.asVoid(session.saveItems("c", [Item.user("other")])))
          }
        })))
        const error = yield* Fiber.join(fiber)
        assert.strictEqual(error.reason._tag, "VersionConflict")
        assert.strictEqual((yield* stored).items.at(-1), "other")
      }).pipe(Effect.provide(world([tooLong, ModelScripted.text("done")]))))

    const done = ModelScripted.text("done")
    const repeated: ReadonlyArray<
      readonly [string, Agent.Any, RunConfig.RunOptions, ReadonlyArray<ModelScripted.Step>]
    > = [
      ["in its first turn", agent, {}, [tooLong, done]],
      ["after a turn of its own", agent, {}, [read, tooLong, done]],
      ["after two turns of its own", agent, {}, [read, other, tooLong, done]],
      ["with maxItems", agent, { maxItems: 14 }, [read, tooLong, done]],
      [
        "with a history function",
        agent,
        { history: (items, input) => Effect.succeed([...items, ...input]) },
        [read, tooLong, done]
      ],
      [
        "after a handoff with a filter",
        Agent.make({ name: "first", handoffs: [Handoff.to(agent, { filter: InputFilter.removeTools })] }),
        {},
        [ModelScripted.calls([{ name: "transfer_to_reader" }]), tooLong, done]
      ]
    ]
    for (const [when, root, options, script] of repeated) {
      it.effect(`a run that is carried out again continues on the same compacted history: ${when}`, () => {
        const steps = new Map<string, Exit.Exit<any, any>>()
        const reached = Deferred.makeUnsafe<void>()
        let isKilled = false
        const journal: RunJournal.RunJournal = {
          step: ({ name }, _schemas, effect) =>
            Effect.suspend(() => {
              const known = steps.get(name)
              if (name.endsWith("/compacted") && !isKilled) {
                isKilled = true
                return Effect.andThen(Deferred.succeed(reached, undefined), Effect.never)
              }
              return known === undefined
                ? Effect.onExit(effect, (exit) =>
                  Effect.sync(() =>
                    Exit.isSuccess(exit) || !Exit.hasInterrupts(exit) ? void steps.set(name, exit) : undefined
                  ))
                : known
            }),
          signal: () => Effect.succeedNone
        }
        const all = { conversationId: "c", ...options }
        return Effect.gen(function*() {
          const whole = yield* runAs(way, root, "next", all).pipe(
            Effect.andThen(Effect.all([asked, stored])),
            Effect.provide(world(script), { local: true })
          )
          const killed = yield* Effect.forkChild(
            runAs(way, root, "next", all).pipe(
              Effect.provideService(RunJournal.RunJournal, journal)
            )
          )
          yield* Deferred.await(reached)
          yield* Fiber.interrupt(killed)
          const result = yield* runAs(way, root, "next", all).pipe(
            Effect.provideService(RunJournal.RunJournal, journal)
          )
          assert.strictEqual(result.finalOutput, "done")
          assert.deepStrictEqual([(yield* asked).at(-1), yield* stored], [whole[0].at(-1), whole[1]])
        }).pipe(Effect.provide(world(script)))
      })
    }
  })
}

describe("a model that showed part of its answer", () => {
  it.effect("is not asked again", () =>
    Effect.gen(function*() {
      const error = yield* errorOf(runAs("stream", agent, "next", { conversationId: "c" }))
      assert.strictEqual(error.reason._tag, "ContextLengthExceeded")
      assert.isTrue(error.reason.isPartial)
      assert.strictEqual((yield* asked).length, 1)
      assert.deepStrictEqual(yield* stored, { items: names(past), version: 4 })
    }).pipe(Effect.provide(
      world([
        ModelScripted.fail(new ModelError.ContextLengthExceeded({ description: "too long" }), {
          of: ModelScripted.text(["half", " an answer"]),
          after: 2
        })
      ])
    )))
})

describe("over the wire", () => {
  it.live("OpenAI's error leads to a summary by the same model, in SQLite", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(
        OpenAiPeer.contextLengthExceeded,
        OpenAiPeer.text("They asked twice."),
        OpenAiPeer.text("done")
      )
      const model = ModelOpenAIResponses.layer({
        apiKey: Redacted.make(peer.apiKey),
        baseURL: peer.url,
        model: "gpt-5"
      })
      const session = Session.wrap(SessionSqlite.layer({ filename: ":memory:" }), [
        SessionCompacted.layer({ compact: SessionCompacted.summary() })
      ])
      yield* Effect.gen(function*() {
        const raw = yield* Session.Session
        for (let n = 0; n < past.length; n += 4) yield* raw.saveItems("c", past.slice(n, n + 4))
        yield* Runner.run(agent, "next", { conversationId: "c" })
        assert.deepStrictEqual((yield* stored).items, [
          "Summary of the conversation so far:\n\nThey asked twice.",
          ...kept,
          "next",
          "done"
        ])
      }).pipe(Effect.provide(Layer.mergeAll(handlers, session.pipe(Layer.provideMerge(model)))))
    }))
})
