/** Stacks of sessions: what `Session.wrap` builds, and what goes wrong without it. */
import { assert, describe, it } from "@effect/vitest"
import * as SessionCached from "agent-layers/layers/session/SessionCached"
import * as SessionCompressed from "agent-layers/layers/session/SessionCompressed"
import * as SessionEncrypted from "agent-layers/layers/session/SessionEncrypted"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import { user } from "agent-layers/services/Item"
import { all } from "agent-layers/services/laws/SessionLaws"
import * as Session from "agent-layers/services/Session"
import { Cause, Context, Effect, Exit, Layer, Stream } from "effect"
import { describeLaws } from "../support/laws.ts"
import { secret } from "../support/session/decorators.ts"
import { outageLaw, subjectsOf } from "../support/session/lawsOver.ts"

const subjects = subjectsOf("prefixed")
describeLaws("Session.prefixed over memory", all, subjects.memory, { notShown: [outageLaw] })
describeLaws("Session.prefixed over SQLite", all, subjects.sqlite)

const encrypted = () => SessionEncrypted.layer({ keys: [{ id: "k", secret: secret(1) }] })
const compressed = () => SessionCompressed.layer({ threshold: 0 })

const save = Effect.flatMap(Session.Session, (session) => session.saveItems("a", [user("x".repeat(99))]))

/** A backend that counts how often it is built, and shows what is stored. */
const backend = Effect.gen(function*() {
  const store = yield* SessionMemory.makeStore
  let built = 0
  const layer = Layer.effect(
    Session.Session,
    Effect.suspend(() => {
      built++
      return SessionMemory.make({ store })
    })
  )
  const stored = Effect.scoped(Effect.flatMap(SessionMemory.make({ store }), (session) => session.loadItems("a"))).pipe(
    Effect.map(({ items }) => items)
  )
  return { layer, stored, built: () => built }
})

describe("Session.wrap", () => {
  it.effect("reads outside in: the first decorator sees an item first when it is written", () =>
    Effect.gen(function*() {
      const { layer, stored } = yield* backend
      yield* Effect.provide(save, Session.wrap(layer, [compressed(), encrypted()]))
      const sealed = yield* stored
      assert.deepStrictEqual(sealed.map(({ type }) => type), ["sealed"])
      const { layer: other, stored: otherStored } = yield* backend
      yield* Effect.provide(save, Session.wrap(other, [encrypted(), compressed()]))
      // What is encrypted does not shrink.
      assert.isBelow(JSON.stringify(sealed).length, JSON.stringify(yield* otherStored).length)
    }))

  it.effect("builds a decorator anew for each stack, though one value stands in two", () =>
    Effect.gen(function*() {
      const one = yield* backend
      const two = yield* backend
      const shared = compressed()
      const Both = Layer.merge(
        Layer.effectDiscard(save).pipe(Layer.provide(Session.wrap(one.layer, [shared]))),
        Layer.effectDiscard(save).pipe(Layer.provide(Session.wrap(two.layer, [shared])))
      )
      yield* Effect.provide(Effect.void, Both)
      assert.deepStrictEqual([(yield* one.stored).length, (yield* two.stored).length], [1, 1])
    }))

  it.effect("builds a backend once, and a stack once, wherever they stand in a program", () =>
    Effect.gen(function*() {
      const { built, layer } = yield* backend
      let decorators = 0
      const counted = Layer.effect(
        Session.Session,
        Effect.tap(Session.Session, () => Effect.sync(() => void decorators++))
      )
      const Stack = Session.wrap(layer, [counted])
      const use = Layer.effectDiscard(save)
      yield* Effect.provide(
        save,
        Layer.mergeAll(
          use.pipe(Layer.provide(Stack)),
          Layer.fresh(use).pipe(Layer.provide(Stack)),
          Stack,
          use.pipe(Layer.provide(layer))
        )
      )
      assert.deepStrictEqual([built(), decorators], [1, 1])
    }))

  it.effect("is a stack of its own where it is made fresh, down to its backend", () =>
    Effect.gen(function*() {
      const { built, layer } = yield* backend
      const Stack = Session.wrap(layer, [compressed()])
      const use = Layer.effectDiscard(save)
      yield* Effect.provide(
        Effect.void,
        Layer.merge(use.pipe(Layer.provide(Stack)), Layer.fresh(use.pipe(Layer.provide(Layer.fresh(Stack)))))
      )
      assert.strictEqual(built(), 2)
    }))

  it.effect("without decorators is the backend", () =>
    Effect.gen(function*() {
      const { layer, stored } = yield* backend
      yield* Effect.provide(save, Session.wrap(layer, []))
      assert.strictEqual((yield* stored).length, 1)
    }))

  it.effect("closes its layers with its scope", () =>
    Effect.gen(function*() {
      const { layer } = yield* backend
      const session = yield* Effect.provide(Session.Session, Session.wrap(layer, [SessionCached.layer(), encrypted()]))
      assert.strictEqual((yield* Effect.flip(session.loadItems("a"))).reason._tag, "Closed")
    }))

  it.effect("keeps what layers provide beside the session, and shows the whole stack as the sealed one", () =>
    Effect.gen(function*() {
      const { layer, stored } = yield* backend
      const Stack = Session.wrap(layer, [SessionCached.layer(), compressed(), encrypted()])
      yield* Effect.provide(
        Effect.gen(function*() {
          const session = yield* Session.Session
          assert.strictEqual(yield* Session.Sealed, session)
          yield* Session.requireSealed(save)
          assert.deepStrictEqual(yield* SessionEncrypted.rotate("a"), { rotated: 0, version: 1 })
        }),
        Stack
      )
      assert.deepStrictEqual((yield* stored).map(({ type }) => type), ["sealed"])
    }))
})

describe("traps without Session.wrap", () => {
  it.effect("one decorator value over two backends: both write to the first", () =>
    Effect.gen(function*() {
      const one = yield* backend
      const two = yield* backend
      const shared = compressed()
      const Both = Layer.merge(
        Layer.effectDiscard(save).pipe(Layer.provide(shared), Layer.provide(one.layer)),
        Layer.effectDiscard(save).pipe(Layer.provide(shared), Layer.provide(two.layer))
      )
      yield* Effect.provide(Effect.void, Both)
      assert.deepStrictEqual(
        [(yield* one.stored).length, (yield* two.stored).length].toSorted(),
        [0, 2]
      )
    }))

  it.effect("a decorator merged instead of provided: its session is not found", () =>
    Effect.gen(function*() {
      const { layer } = yield* backend
      // The type says that Session is still required; a cast hides that.
      // @effect-diagnostics-next-line layerMergeAllWithDependencies:off
      const merged = Layer.mergeAll(compressed(), layer) as Layer.Layer<Session.Session>
      const exit = yield* Effect.exit(Effect.provide(Session.Session, merged))
      assert.isTrue(
        Exit.isFailure(exit) && Cause.pretty(exit.cause).includes("Service not found: agent-layers/services/Session")
      )
    }))
})

describe("Session.prefixed", () => {
  const tenants = ["a", "a/b", "a%2Fb", "a%", "%", "/", "A", "ü", "a/"]

  it.effect("keeps tenants apart, whatever characters their names and conversations have", () =>
    Effect.gen(function*() {
      const store = yield* SessionMemory.makeStore
      const raw = yield* SessionMemory.make({ store })
      const open = (tenant: string) =>
        Effect.map(
          Layer.build(Session.prefixed(tenant).pipe(Layer.provide(Layer.succeed(Session.Session, raw)))),
          Context.get(Session.Session)
        )
      const ids = ["c", "b/c", "/c", "%2Fc", "b%2Fc"]
      for (const tenant of tenants) {
        const session = yield* open(tenant)
        for (const id of ids) yield* session.saveItems(id, [user(`${tenant} ${id}`)])
      }
      for (const tenant of tenants) {
        const session = yield* open(tenant)
        for (const id of ids) assert.deepStrictEqual((yield* session.loadItems(id)).items, [user(`${tenant} ${id}`)])
        const found = yield* Stream.runCollect(session.conversations())
        assert.deepStrictEqual(found.map(({ id }) => id).toSorted(), ids.toSorted())
      }
      assert.strictEqual((yield* Stream.runCollect(raw.conversations())).length, tenants.length * ids.length)
    }))

  it.effect("leaves as much of an id as the tenant does not take", () =>
    Effect.gen(function*() {
      const session = yield* Effect.provide(
        Effect.map(Effect.context<Session.Session>(), Context.get(Session.Session)),
        Session.prefixed("tenant").pipe(Layer.provide(SessionMemory.layer))
      )
      const error = yield* Effect.flip(session.loadItems("x".repeat(506)))
      assert.deepInclude({ ...error.reason }, { _tag: "LimitExceeded", maximum: 505, actual: 506 })
      assert.strictEqual((yield* Effect.flip(session.loadItems("x".repeat(505)))).reason._tag, "Closed")
    }))

  it.effect.each(["", "a\0b", "\ud800", "x".repeat(128), "/".repeat(43)])(
    "refuses tenant %j",
    (tenant) =>
      Effect.gen(function*() {
        const layer = Session.prefixed(tenant).pipe(Layer.provide(SessionMemory.layer))
        const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
        assert.strictEqual(error.operation, "open")
        assert.include(["InvalidInput", "LimitExceeded"], error.reason._tag)
      })
  )
})
