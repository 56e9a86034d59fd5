import { assert, describe, it } from "@effect/vitest"
import { Agent, Item, Runner, Session, SessionError } from "agent-layers"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import * as SessionLaws from "agent-layers/services/laws/SessionLaws"
import { ModelScripted, SessionFaults, SessionMemory } from "agent-layers/testing"
import { Cause, Context, Duration, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { describeLaws } from "../../support/laws.ts"

const store = Effect.runSync(SessionMemory.makeStore)

describeLaws("SessionFaults without a fault", SessionLaws.all, {
  open: Effect.map(Layer.build(Layer.fresh(SessionFaults.layerMemory([], { store }))), Context.get(Session.Session)),
  capabilities: { versions: true, operations: true, rewrite: true, list: true, anyItem: true },
  canReopen: true
}, {
  notShown: [
    "A last item that cannot be read is an error, and popItem leaves it where it is",
    "While the store takes no writes they fail with Unavailable, and a retry stores once"
  ]
})

const defect = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? String(exit.cause.reasons.find(Cause.isDieReason)?.defect) : "no failure"

const reasonOf = <A, R>(effect: Effect.Effect<A, SessionError.SessionError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

const hello = [Item.user("hello")]

describe("SessionFaults", () => {
  it.effect("fails the nth call of an operation, and no other; nothing is stored by it", () =>
    Effect.gen(function*() {
      const session = yield* Session.Session
      yield* session.saveItems("a", hello)
      assert.strictEqual((yield* reasonOf(session.saveItems("a", hello)))._tag, "Unavailable")
      yield* session.saveItems("a", hello)
      assert.strictEqual((yield* reasonOf(session.saveItems("a", hello)))._tag, "LimitExceeded")
      assert.lengthOf((yield* session.loadItems("a")).items, 2)
      assert.deepStrictEqual(
        (yield* SessionFaults.calls).map(({ faults, operation }) => [operation, ...faults]),
        [
          ["saveItems"],
          ["saveItems", "fail with Unavailable"],
          ["saveItems"],
          ["saveItems", "fail with LimitExceeded"],
          ["loadItems"]
        ]
      )
    }).pipe(Effect.provide(SessionFaults.layerMemory([
      SessionFaults.fail("saveItems", { nth: 2 }),
      SessionFaults.fail("saveItems", {
        nth: 4,
        reason: new SessionError.LimitExceeded({ limit: "items", maximum: 1, actual: 2 })
      })
    ]))))

  it.effect("hits only the conversation that a fault names, each of its numbers once", () =>
    Effect.gen(function*() {
      const session = yield* Session.Session
      yield* session.loadItems("b")
      for (const expected of [true, false, true]) {
        assert.strictEqual(Exit.isFailure(yield* Effect.exit(session.loadItems("a"))), expected)
      }
      yield* session.loadItems("b")
    }).pipe(Effect.provide(SessionFaults.layerMemory([
      SessionFaults.fail("loadItems", { conversationId: "a", nth: [1, 3] })
    ]))))

  it.effect("delays by the clock of the program, and hangs until it is interrupted", () =>
    Effect.gen(function*() {
      const session = yield* Session.Session
      const slow = yield* Effect.forkChild(session.loadItems("a"), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.isUndefined(slow.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(slow)).version, 0)
      const stuck = yield* Effect.forkChild(session.popItem("a"), { startImmediately: true })
      yield* TestClock.adjust(Duration.hours(1))
      assert.isUndefined(stuck.pollUnsafe())
      yield* Fiber.interrupt(stuck)
    }).pipe(Effect.provide(SessionFaults.layerMemory([
      SessionFaults.delay("loadItems", "2 seconds"),
      SessionFaults.hang("popItem")
    ]))))

  it.effect("loses an answer after the commit was stored; the same operation again answers with its version", () =>
    Effect.gen(function*() {
      const session = yield* Session.Session
      const save = session.saveItems("a", hello, { operationId: "one" })
      const lost = yield* reasonOf(save)
      assert.deepInclude(lost, { _tag: "Unavailable", isOutcomeUnknown: true })
      assert.lengthOf((yield* session.loadItems("a")).items, 1)
      assert.deepStrictEqual(yield* save, { version: 1 })
      assert.lengthOf((yield* session.loadItems("a")).items, 1)
      assert.deepStrictEqual((yield* SessionFaults.calls).map(({ operationId }) => operationId), [
        "one",
        undefined,
        "one",
        undefined
      ])
    }).pipe(Effect.provide(SessionFaults.layerMemory([SessionFaults.loseAnswer("saveItems")]))))

  it.effect("lets somebody else commit first, so that a run meets a real conflict", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Runner.run(Agent.make({ name: "a" }), "Hi", { conversationId: "c" }))
      assert.strictEqual(error._tag, "SessionError")
      assert.strictEqual(error.reason._tag, "VersionConflict")
      const session = yield* Session.Session
      assert.deepStrictEqual((yield* session.loadItems("c")).items.map(({ content }) => content), ["other"])
    }).pipe(Effect.provide([
      SessionFaults.layerMemory([SessionFaults.conflict({ items: [Item.user("other")] })]),
      ModelScripted.layer([ModelScripted.text("Hello.")])
    ])))

  it.effect("refuses a conflict where a save expects no version", () =>
    Effect.gen(function*() {
      const session = yield* Session.Session
      assert.include(defect(yield* Effect.exit(session.saveItems("a", hello))), "pass expectedVersion")
    }).pipe(Effect.provide(SessionFaults.layerMemory([SessionFaults.conflict()]))))

  it.effect("breaks streams, before the first element or after the last", () =>
    Effect.gen(function*() {
      const session = yield* Session.Session
      yield* session.saveItems("a", hello)
      assert.strictEqual((yield* reasonOf(Stream.runCollect(session.records("a"))))._tag, "Unavailable")
      const seen: Array<string> = []
      const listing = Stream.runForEach(session.conversations(), ({ id }) => Effect.sync(() => void seen.push(id)))
      assert.deepInclude(yield* reasonOf(listing), { _tag: "Unavailable", isOutcomeUnknown: false })
      assert.deepStrictEqual(seen, ["a"])
      assert.lengthOf(yield* Stream.runCollect(session.records("a")), 1)
    }).pipe(Effect.provide(SessionFaults.layerMemory([
      SessionFaults.fail("records"),
      SessionFaults.loseAnswer("conversations")
    ]))))

  it.effect("dies at the end with the faults that hit nothing, and stays silent after a failure", () =>
    Effect.gen(function*() {
      const layer = SessionFaults.layerMemory([
        SessionFaults.fail("clear"),
        SessionFaults.conflict({ nth: [2, 3], conversationId: "c" })
      ])
      const message = defect(yield* Effect.exit(Effect.provide(Session.Session, layer)))
      assert.include(message, "3 of the script's faults hit nothing")
      assert.include(message, "fail with Unavailable at clear number 1 (of 0)")
      assert.include(message, `conflict at saveItems number 2 of "c" (of 0)`)
      const failed = yield* Effect.exit(Effect.provide(Effect.andThen(Session.Session, Effect.fail("own")), layer))
      assert.deepStrictEqual(failed, Exit.fail("own"))
      yield* Effect.provide(
        Effect.gen(function*() {
          const { remaining } = yield* SessionFaults.SessionFaults
          assert.strictEqual(yield* remaining, 0)
          yield* SessionFaults.add(SessionFaults.fail("clear"))
          assert.strictEqual(yield* remaining, 1)
          assert.include(defect(yield* Effect.exit(SessionFaults.assertDone)), "clear number 1")
          const session = yield* Session.Session
          yield* Effect.flip(session.clear("a"))
          yield* SessionFaults.assertDone
        }),
        SessionFaults.layerMemory()
      )
    }))

  it.effect("stands over any session", () =>
    Effect.gen(function*() {
      const session = yield* Session.Session
      yield* Effect.flip(session.saveItems("a", hello, { operationId: "one" }))
      assert.lengthOf((yield* session.loadItems("a")).items, 1)
    }).pipe(Effect.provide(
      SessionFaults.layer([SessionFaults.loseAnswer("saveItems")]).pipe(
        Layer.provide(SessionSqlite.layer({ filename: ":memory:" }))
      )
    )))
})
