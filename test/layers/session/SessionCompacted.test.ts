import { assert, describe, it } from "@effect/vitest"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as SessionCompacted from "agent-layers/layers/session/SessionCompacted"
import * as SessionEncrypted from "agent-layers/layers/session/SessionEncrypted"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as Agent from "agent-layers/run/Agent"
import * as Runner from "agent-layers/run/Runner"
import * as History from "agent-layers/services/History"
import { assistant, functionCall, functionCallOutput, type Item, text, user } from "agent-layers/services/Item"
import { all } from "agent-layers/services/laws/SessionLaws"
import { ContextLengthExceeded, type ModelError } from "agent-layers/services/ModelError"
import { make, Session } from "agent-layers/services/Session"
import * as SessionService from "agent-layers/services/Session"
import type { SessionError } from "agent-layers/services/SessionError"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Logger, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import { describeLaws } from "../../support/laws.ts"
import { forEachSeed, timeLimit } from "../../support/rounds.ts"
import { secret } from "../../support/session/decorators.ts"
import { outageLaw, subjectsOf } from "../../support/session/lawsOver.ts"

const subjects = subjectsOf("compacted")
describeLaws("SessionCompacted over memory", all, subjects.memory, { notShown: [outageLaw] })
describeLaws("SessionCompacted over SQLite", all, subjects.sqlite)

type Service = Session["Service"]
type Options = SessionCompacted.Options

const summaryOf: Options["compact"] = (items) => Effect.succeed([user(`summary of ${items.length}`)])

const open = Effect.fnUntraced(
  function*(
    options: Partial<Options> = {},
    change: (raw: Service) => Partial<Service> = () => ({}),
    meanwhile: (raw: Service) => Effect.Effect<unknown, unknown> = () => Effect.void
  ) {
    const raw = yield* SessionMemory.make()
    const logs: Array<string> = []
    const given: Array<ReadonlyArray<Item>> = []
    const compact = options.compact ?? summaryOf
    const session = yield* Effect.provideService(
      SessionCompacted.make({
        maxItems: 8,
        keepItems: 4,
        ...options,
        compact: (items) => {
          given.push(items)
          return Effect.andThen(meanwhile(raw), Effect.suspend(() => compact(items)))
        }
      }),
      Session,
      { ...raw, ...change(raw) }
    )
    const logger = Logger.layer([Logger.make(({ message }) => logs.push(String(message)))])
    return { raw, session, logs, given, maintain: Effect.provide(session.maintain("a"), logger) }
  }
)

const turn = (n: number): ReadonlyArray<Item> => [user(`question ${n}, which is not short`), assistant(`answer ${n}`)]

const fill = (session: Service, turns: number) =>
  Effect.forEach(
    Array.from({ length: turns }, (_, n) => n),
    (n) => session.saveItems("a", turn(n), { meta: { runId: `${n}` } }),
    { discard: true }
  )

const itemsOf = (session: Service) => Effect.map(session.loadItems("a"), ({ items }) => items)

describe("SessionCompacted", () => {
  it.effect("leaves a conversation alone that is short enough", () =>
    Effect.gen(function*() {
      const { given, maintain, session } = yield* open()
      yield* fill(session, 4)
      yield* maintain
      assert.deepStrictEqual(given, [])
      assert.strictEqual((yield* session.loadItems("a")).version, 4)
    }))

  it.effect("replaces the beginning of a long one, and does not touch what is known about the rest", () =>
    Effect.gen(function*() {
      const { given, maintain, raw, session } = yield* open()
      yield* fill(session, 5)
      yield* maintain
      assert.deepStrictEqual(given, [[...turn(0), ...turn(1), ...turn(2)]])
      const records = yield* Stream.runCollect(raw.records("a"))
      assert.deepStrictEqual(records.map(({ item }) => text(item)), ["summary of 6", ...[3, 4].flatMap(turn).map(text)])
      assert.deepStrictEqual(records.map(({ meta }) => meta?.runId), [undefined, "3", "3", "4", "4"])
    }))

  it.effect("measures by estimated tokens where asked to", () =>
    Effect.gen(function*() {
      const { given, maintain, session } = yield* open({ maxItems: undefined, maxTokens: 250, keepItems: 1 })
      yield* session.saveItems("a", [...turn(0), ...turn(1)])
      yield* maintain
      assert.strictEqual(given.length, 0)
      yield* session.saveItems("a", [user("x".repeat(1_000)), ...turn(2)])
      yield* maintain
      assert.strictEqual(given.length, 1)
    }))

  it.effect("estimates without the bytes of images, files and what is encrypted", () =>
    Effect.gen(function*() {
      const { given, maintain, session } = yield* open({ maxItems: undefined, maxTokens: 1_000, keepItems: 1 })
      const bytes = "A".repeat(100_000)
      yield* session.saveItems("a", [
        user([{ type: "input_image", image_url: `data:image/png;base64,${bytes}` }]),
        user([{ type: "input_file", filename: "a.pdf", file_data: bytes }]),
        { type: "image_generation_call", id: "ig_1", status: "completed", result: bytes },
        { type: "reasoning", id: "rs_1", summary: [], encrypted_content: bytes },
        functionCall({ callId: "1", name: "draw", arguments: "{}" }),
        functionCallOutput("1", `{"image":"data:image/png;base64,${bytes}"}`)
      ])
      yield* maintain
      assert.deepStrictEqual(given, [])
    }))

  it.effect("compacts a history with orphans, of which it gives the function none", () =>
    Effect.gen(function*() {
      const { given, maintain, session } = yield* open()
      yield* session.saveItems("a", [
        functionCallOutput("gone", "x"),
        user("question"),
        { type: "reasoning", id: "rs_1", summary: [] },
        functionCall({ callId: "lost", name: "f", arguments: "{}" })
      ])
      yield* fill(session, 4)
      yield* maintain
      assert.deepStrictEqual(given, [[user("question"), ...[0, 1].flatMap(turn)]])
      assert.deepStrictEqual((yield* itemsOf(session)).map(text), ["summary of 5", ...[2, 3].flatMap(turn).map(text)])
    }))

  it.effect("for an overflow, compacts below its thresholds and keeps at most half", () =>
    Effect.gen(function*() {
      const { given, maintain, session } = yield* open({ maxItems: 100, keepItems: 50 })
      yield* fill(session, 6)
      yield* maintain
      assert.deepStrictEqual(given, [])
      yield* session.maintain("a", { reason: "overflow" })
      assert.strictEqual(given.length, 1)
      const after = yield* itemsOf(session)
      assert.deepStrictEqual(after.map(text), ["summary of 6", ...[3, 4, 5].flatMap(turn).map(text)])
      // The largest item is the last but one.
      yield* session.saveItems("a", [user("x".repeat(5_000)), assistant("answer")])
      yield* session.maintain("a", { reason: "overflow" })
      assert.deepStrictEqual((yield* itemsOf(session)).map(text), ["summary of 8", "answer"])
    }))

  it.effect("keeps what was appended while it worked", () =>
    Effect.gen(function*() {
      const { maintain, session } = yield* open({}, undefined, (raw) => raw.saveItems("a", turn(9)))
      yield* fill(session, 5)
      yield* maintain
      assert.deepStrictEqual((yield* itemsOf(session)).map(text), [
        "summary of 6",
        ...[3, 4, 9].flatMap(turn).map(text)
      ])
    }))

  it.effect("does nothing where another shortened the conversation meanwhile", () =>
    Effect.gen(function*() {
      const { logs, maintain, session } = yield* open(
        {},
        undefined,
        (raw) => raw.rewrite("a", { through: 5, items: turn(7) })
      )
      yield* fill(session, 5)
      yield* maintain
      assert.deepStrictEqual(yield* itemsOf(session), turn(7))
      assert.deepStrictEqual(logs, [])
    }))

  it.effect("works after a pop, which does not let the beginning alone be replaced", () =>
    Effect.gen(function*() {
      const { maintain, session } = yield* open()
      yield* fill(session, 6)
      yield* session.popItem("a")
      yield* session.popItem("a")
      yield* maintain
      assert.deepStrictEqual((yield* itemsOf(session)).map(text), ["summary of 6", ...[3, 4].flatMap(turn).map(text)])
    }))

  it.effect("works over a session without records", () =>
    Effect.gen(function*() {
      let content: ReadonlyArray<string> = []
      let version = 0
      const noRecords = make({
        backend: "no records",
        versions: true,
        load: () => Effect.sync(() => ({ entries: content, version })),
        save: (_, { entries }) =>
          Effect.sync(() => {
            content = [...content, ...entries]
            return { version: ++version }
          }),
        rewrite: (_, { entries }) =>
          Effect.sync(() => {
            content = entries
            return { version: ++version }
          })
      })
      const { maintain, session } = yield* open({}, () => noRecords)
      yield* fill(session, 5)
      yield* maintain
      assert.deepStrictEqual((yield* itemsOf(session)).map(text), ["summary of 6", ...[3, 4].flatMap(turn).map(text)])
    }))

  it.effect(
    "cuts only where both sides are valid, whatever the history",
    (test) =>
      forEachSeed(test, "compaction", () =>
        Effect.gen(function*() {
          const { given, maintain, session } = yield* open({
            maxItems: 4,
            keepItems: yield* Random.nextIntBetween(0, 5)
          })
          let calls = 0
          for (let commit = 0; commit < 6; commit++) {
            const items: Array<Item> = [user(`a question of some length ${commit}`)]
            for (let step = yield* Random.nextIntBetween(0, 3); step > 0; step--) {
              const ids = Array.from({ length: yield* Random.nextIntBetween(1, 4) }, () => `call ${++calls}`)
              if (yield* Random.nextBoolean) items.push({ type: "reasoning", id: `rs ${calls}`, summary: [] })
              items.push(...ids.map((callId) => functionCall({ callId, name: "f", arguments: "{}" })))
              items.push(...ids.toReversed().map((callId) => functionCallOutput(callId, "result")))
            }
            if (yield* Random.nextBoolean) items.push({ type: "reasoning", id: `last rs ${commit}`, summary: [] })
            items.push(assistant("answer"))
            yield* session.saveItems("a", items)
          }
          const before = yield* itemsOf(session)
          yield* maintain
          const after = yield* itemsOf(session)
          assert.isTrue(History.isValid(after))
          assert.strictEqual(given.length, 1)
          assert.isTrue(History.isValid(given[0]!))
          assert.deepStrictEqual([...given[0]!, ...after.slice(1)], before)
        })),
    timeLimit
  )

  it.effect("keeps a call whose output is not there yet, and what cannot be cut", () =>
    Effect.gen(function*() {
      const { given, logs, maintain, session } = yield* open({ keepItems: 1 })
      const calls = Array.from({ length: 6 }, (_, n) => functionCall({ callId: `${n}`, name: "f", arguments: "{}" }))
      yield* session.saveItems("a", [...calls, ...calls.map(({ call_id }) => functionCallOutput(call_id, "x"))])
      yield* maintain
      yield* session.popItem("a")
      yield* maintain
      assert.deepStrictEqual(given, [])
      assert.match(logs[0]!, /cannot be cut/)
      assert.match(logs[1]!, /cannot be cut/)
      assert.strictEqual((yield* itemsOf(session)).length, 11)
    }))

  const failing: ReadonlyArray<readonly [string, Options["compact"], RegExp]> = [
    ["fails", () => Effect.fail("no model"), /failed/],
    ["dies", () => Effect.die(new Error("bug")), /failed/],
    ["throws", () => {
      throw new Error("bug")
    }, /failed/],
    ["answers with nothing", () => Effect.succeed([]), /nothing/],
    ["answers with no items", () => Effect.succeed([{ role: "nobody" } as unknown as Item]), /no item/],
    ["answers with no list", () => Effect.succeed("summary" as unknown as ReadonlyArray<Item>), /nothing/],
    ["answers with more", (items) => Effect.succeed([...items, user("more")]), /not shorter/],
    [
      "answers with half a pair",
      () => Effect.succeed([functionCall({ callId: "1", name: "f", arguments: "" })]),
      /no valid history/
    ]
  ]
  it.effect.each(failing)("loses nothing where the function %s", ([, compact, says]) =>
    Effect.gen(function*() {
      const { logs, maintain, session } = yield* open({ compact })
      yield* fill(session, 5)
      const before = yield* session.loadItems("a")
      yield* maintain
      assert.deepStrictEqual(yield* session.loadItems("a"), before)
      assert.strictEqual(logs.length, 1)
      assert.match(logs[0]!, says)
    }))

  it.effect("loses nothing where the function takes too long, or is interrupted", () =>
    Effect.gen(function*() {
      const { logs, maintain, session } = yield* open({ compact: () => Effect.never, timeout: "10 seconds" })
      yield* fill(session, 5)
      const late = yield* Effect.forkChild(maintain, { startImmediately: true })
      yield* TestClock.adjust("11 seconds")
      yield* Fiber.join(late)
      assert.strictEqual(logs.length, 1)
      const interrupted = yield* Effect.forkChild(maintain, { startImmediately: true })
      yield* Effect.yieldNow
      yield* Fiber.interrupt(interrupted)
      const exit = yield* Fiber.await(interrupted)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      assert.strictEqual((yield* itemsOf(session)).length, 10)
    }))

  it.effect("loses nothing where the store is away when it would be rewritten", () =>
    Effect.gen(function*() {
      const { maintain, raw, session } = yield* open({}, () => ({ rewrite: () => Effect.die(new Error("away")) }))
      yield* fill(session, 5)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(maintain)))
      assert.strictEqual((yield* itemsOf(raw)).length, 10)
    }))

  it.effect("asks once for two runs at once", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const { given, maintain, session } = yield* open({
        compact: (items) => Effect.andThen(Deferred.await(gate), summaryOf(items))
      })
      yield* fill(session, 5)
      const first = yield* Effect.forkChild(maintain, { startImmediately: true })
      yield* maintain
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(first)
      assert.strictEqual(given.length, 1)
      assert.strictEqual((yield* itemsOf(session)).length, 5)
    }))

  it.effect("takes what a provider's own compaction answers with", () =>
    Effect.gen(function*() {
      const compaction: Item = { type: "compaction", id: "cmp_1", encrypted_content: "gAAA" }
      const { maintain, session } = yield* open({
        compact: (items) => Effect.succeed([...items.filter((item) => item.type === "message").slice(0, 1), compaction])
      })
      yield* fill(session, 5)
      yield* maintain
      assert.deepStrictEqual((yield* itemsOf(session)).slice(0, 2), [turn(0)[0]!, compaction])
    }))

  it.effect("has any model summarise, after the last commit of a run", () =>
    Effect.gen(function*() {
      const agent = Agent.make({ name: "guide" })
      const Model = ModelScripted.layer([
        ModelScripted.text("One."),
        ModelScripted.text("Two."),
        ModelScripted.text("Ada asked twice.")
      ])
      const Stack = SessionService.wrap(SessionMemory.layer, [
        SessionCompacted.layer({ maxItems: 3, keepItems: 2, compact: SessionCompacted.summary() }),
        SessionEncrypted.layer({ keys: [{ id: "k", secret: secret(1) }] })
      ]).pipe(Layer.provideMerge(Model))
      yield* Effect.gen(function*() {
        yield* Runner.run(agent, "A question that goes on for some time, first", { conversationId: "a" })
        yield* Runner.run(agent, "Second question", { conversationId: "a" })
        const { items } = yield* (yield* Session).loadItems("a")
        assert.deepStrictEqual(items.map(text), [
          "Summary of the conversation so far:\n\nAda asked twice.",
          "Second question",
          "Two."
        ])
        const requests = yield* ModelScripted.requests
        assert.include(text(requests[2]!.items[0]!), "user: A question that goes on for some time, first")
      }).pipe(Effect.provide(Stack))
    }))

  it.effect("names images and files to the model that summarises", () =>
    Effect.gen(function*() {
      const bytes = "A".repeat(100_000)
      const image = { type: "input_image", image_url: `data:image/png;base64,${bytes}` }
      const items = [
        user([{ type: "input_text", text: "look" }, image]),
        functionCall({ callId: "1", name: "draw", arguments: "{}" }),
        functionCallOutput("1", [{ type: "input_file", filename: "plan.pdf", file_data: bytes }]),
        functionCall({ callId: "2", name: "draw", arguments: "{}" }),
        functionCallOutput("2", `{"image":"data:image/png;base64,${bytes}"}`),
        user(`data:;base64,${bytes} and DATA:text/plain;charset=utf-8;base64,${bytes}`)
      ]
      yield* SessionCompacted.summary()(items)
      const [request] = yield* ModelScripted.requests
      assert.strictEqual(
        text(request!.items[0]!),
        [
          "user: look\n[input_image]",
          "call of draw: {}",
          "its result: [input_file plan.pdf]",
          "call of draw: {}",
          `its result: {"image":"[image/png]"}`,
          "user: [data] and [text/plain]"
        ].join("\n\n")
      )
    }).pipe(Effect.provide(ModelScripted.layer([ModelScripted.text("s")]))))

  it.effect("reads a text that looks like the beginning of many images in linear time", () =>
    Effect.gen(function*() {
      const { given, maintain, session } = yield* open({ maxItems: undefined, maxTokens: 200_000, keepItems: 1 })
      const texts = [`data:a/${"a".repeat(200_000)} ;base64,`, `data:a/a${";a=b".repeat(50_000)} ;base64,`]
      yield* session.saveItems("a", [...texts, "and?"].map((text) => user(text)))
      yield* maintain
      assert.deepStrictEqual(given, [])
    }))

  it.effect("summarises in halves what exceeds the context of the model", () =>
    Effect.gen(function*() {
      const items = [0, 1].flatMap(turn)
      const made = yield* SessionCompacted.summary()(items)
      assert.deepStrictEqual(made, [user("Summary of the conversation so far:\n\nOne.\n\nTwo.")])
      const one = yield* Effect.flip(SessionCompacted.summary()(items.slice(0, 1)))
      assert.strictEqual((one as ModelError).reason._tag, "ContextLengthExceeded")
      assert.strictEqual((yield* ModelScripted.requests).length, 4)
    }).pipe(Effect.provide(ModelScripted.layer([
      ModelScripted.fail(new ContextLengthExceeded({ description: "too long" })),
      ModelScripted.text("One."),
      ModelScripted.text("Two."),
      ModelScripted.fail(new ContextLengthExceeded({ description: "too long" }))
    ]))))

  it.effect("refuses to stand inside of what hides items, to be without rewrite, and numbers that are none", () =>
    Effect.gen(function*() {
      const reasonOf = <E, R>(layer: Layer.Layer<Session, E, R>) => Effect.flip(Effect.scoped(Layer.build(layer)))
      const compacted = SessionCompacted.layer({ compact: summaryOf })
      const dynamic: ReadonlyArray<Layer.Layer<Session, SessionError, Session>> = [
        SessionEncrypted.layer({ keys: [{ id: "k", secret: secret(1) }] }),
        compacted
      ]
      const hidden = yield* reasonOf(SessionService.wrap(SessionMemory.layer, dynamic))
      assert.strictEqual(hidden.reason._tag, "Unsupported")
      assert.include(hidden.message, "put it outside")
      const raw = yield* SessionMemory.make()
      const plain = Layer.succeed(Session, { ...raw, capabilities: { ...raw.capabilities, rewrite: false } })
      assert.strictEqual((yield* reasonOf(compacted.pipe(Layer.provide(plain)))).reason._tag, "Unsupported")
      const nan = SessionCompacted.layer({ compact: summaryOf, maxItems: NaN })
      assert.strictEqual((yield* reasonOf(nan.pipe(Layer.provide(SessionMemory.layer)))).reason._tag, "InvalidInput")
    }))
})
