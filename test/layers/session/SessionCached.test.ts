import { assert, describe, it } from "@effect/vitest"
import * as SessionCached from "agent-layers/layers/session/SessionCached"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import { text, user } from "agent-layers/services/Item"
import * as Law from "agent-layers/services/laws/Law"
import { all, type SessionSubject } from "agent-layers/services/laws/SessionLaws"
import { type Capabilities, type Loaded, type LoadOptions, make, Session } from "agent-layers/services/Session"
import { Deferred, Effect, Exit, Fiber, Random, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as path from "node:path"
import * as boundedCache from "../../../src/layers/session/internal/boundedCache.ts"
import { describeLaws } from "../../support/laws.ts"
import { forEachSeed, rounds, timeLimit } from "../../support/rounds.ts"
import { outageLaw, subjectsOf } from "../../support/session/lawsOver.ts"
import { everything, temporaryFolder } from "../../support/session/subjects.ts"

type Service = Session["Service"]

const subjects = subjectsOf("cached")
describeLaws("SessionCached over memory", all, subjects.memory, { notShown: [outageLaw] })
describeLaws("SessionCached over SQLite", all, subjects.sqlite)

const cachedOver = (inner: Service, options?: SessionCached.Options) =>
  Effect.provideService(SessionCached.make(options), Session, inner)

interface Call {
  readonly options: LoadOptions
  readonly answered: Loaded
}

/** A session in memory that remembers what it was asked to load, and can be made to wait. */
const counted = Effect.gen(function*() {
  const raw = yield* SessionMemory.make()
  const calls: Array<Call> = []
  let gate: Effect.Effect<unknown> = Effect.void
  const inner: Service = {
    ...raw,
    loadItems: (id, options = {}) =>
      Effect.tap(raw.loadItems(id, options), (answered) => {
        calls.push({ options, answered })
        return gate
      })
  }
  return { raw, inner, calls, wait: (next: Effect.Effect<unknown>) => void (gate = next) }
})

const textsOf = (session: Service, id = "a", options?: LoadOptions) =>
  Effect.map(session.loadItems(id, options), ({ items }) => items.map(text))

describe("SessionCached over a backend with versions", () => {
  it.effect("is sent only what came since", () =>
    Effect.gen(function*() {
      const { calls, inner, raw } = yield* counted
      const session = yield* cachedOver(inner)
      yield* session.saveItems("a", [user("1"), user("2")])
      assert.deepStrictEqual(yield* textsOf(session), ["1", "2"])
      assert.deepStrictEqual(yield* textsOf(session), ["1", "2"])
      yield* session.saveItems("a", [user("3")])
      yield* raw.saveItems("a", [user("4")])
      assert.deepStrictEqual(yield* textsOf(session), ["1", "2", "3", "4"])
      assert.deepStrictEqual(yield* textsOf(session, "a", { maxItems: 2 }), ["3", "4"])
      assert.deepStrictEqual(calls.map(({ answered }) => answered.items.length), [2, 0, 2, 0])
      assert.deepStrictEqual(calls.map(({ options }) => options.known), [undefined, 1, 1, 3])
    }))

  it.effect("keeps the latest items alone where no more were asked for", () =>
    Effect.gen(function*() {
      const { calls, inner } = yield* counted
      const session = yield* cachedOver(inner)
      yield* session.saveItems("a", Array.from({ length: 50 }, (_, n) => user(`${n}`)))
      assert.deepStrictEqual(yield* textsOf(session, "a", { maxItems: 3 }), ["47", "48", "49"])
      yield* session.saveItems("a", [user("50")])
      assert.deepStrictEqual(yield* textsOf(session, "a", { maxItems: 2 }), ["49", "50"])
      assert.deepStrictEqual(calls.map(({ answered }) => answered.items.length), [3, 1])
      assert.strictEqual((yield* textsOf(session, "a", { maxItems: 4 })).length, 4)
      assert.strictEqual((yield* textsOf(session)).length, 51)
    }))

  it.effect("reads anew after a rewrite, a pop and a clear by others", () =>
    Effect.gen(function*() {
      const { inner, raw } = yield* counted
      const session = yield* cachedOver(inner)
      yield* raw.saveItems("a", [user("1"), user("2")])
      yield* textsOf(session)
      yield* raw.rewrite("a", { through: 1, items: [user("one"), user("two")] })
      assert.deepStrictEqual(yield* textsOf(session), ["one", "two"])
      yield* raw.popItem("a")
      assert.deepStrictEqual(yield* textsOf(session), ["one"])
      yield* raw.clear("a")
      assert.deepStrictEqual(yield* textsOf(session), [])
      yield* raw.saveItems("a", [user("anew")])
      assert.deepStrictEqual(yield* textsOf(session), ["anew"])
    }))

  it.live(
    "shows what two other sessions write behind its back, as soon as they have written",
    (test) =>
      Effect.gen(function*() {
        const filename = path.join(yield* temporaryFolder, "cached.db")
        const writers = yield* Effect.forEach([0, 1], () => SessionSqlite.make({ filename }))
        const session = yield* cachedOver(yield* SessionSqlite.make({ filename }))
        let written = 0
        yield* forEachSeed(test, "cache-writers", (n) =>
          Effect.gen(function*() {
            const writer = writers[n % 2]!
            const kind = yield* Random.nextIntBetween(0, 6)
            if (kind === 0) yield* writer.popItem("a")
            else if (kind === 1) {
              const { items, version } = yield* writer.loadItems("a")
              yield* writer.rewrite("a", { through: version, items: items.slice(-3) })
            } else yield* writer.saveItems("a", [user(`${++written}`)])
            const options = n % 3 === 0 ? { maxItems: 2 } : {}
            assert.deepStrictEqual(yield* session.loadItems("a", options), {
              ...(yield* writer.loadItems("a", options)),
              isSuffix: false
            })
          }))
      }),
    timeLimit
  )

  it.effect("asks once for readers at once, and gives nobody what was read before they asked", () =>
    Effect.gen(function*() {
      const { calls, inner, raw, wait } = yield* counted
      const session = yield* cachedOver(inner)
      yield* raw.saveItems("a", [user("1")])
      const gate = yield* Deferred.make<void>()
      wait(Deferred.await(gate))
      const early = yield* Effect.forkChild(textsOf(session), { startImmediately: true })
      yield* raw.saveItems("a", [user("2")])
      const late = yield* Effect.forEach(
        Array.from({ length: 20 }),
        () => Effect.forkChild(textsOf(session), { startImmediately: true })
      )
      assert.strictEqual(calls.length, 1)
      wait(Effect.void)
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(yield* Fiber.join(early), ["1"])
      for (const fiber of late) assert.deepStrictEqual(yield* Fiber.join(fiber), ["1", "2"])
      assert.strictEqual(calls.length, 2)
    }))

  it.effect("lets others have an answer when the first who asked is interrupted", () =>
    Effect.gen(function*() {
      const { calls, inner, raw, wait } = yield* counted
      const session = yield* cachedOver(inner)
      yield* raw.saveItems("a", [user("1")])
      const gate = yield* Deferred.make<void>()
      wait(Deferred.await(gate))
      const blocking = yield* Effect.forkChild(textsOf(session), { startImmediately: true })
      const first = yield* Effect.forkChild(textsOf(session), { startImmediately: true })
      const second = yield* Effect.forkChild(textsOf(session), { startImmediately: true })
      yield* Fiber.interrupt(blocking)
      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(yield* Fiber.join(second), ["1"])
      assert.strictEqual(calls.length, 2)
    }))

  it.effect("fails readers with Closed that wait when its scope closes", () =>
    Effect.gen(function*() {
      const { inner, wait } = yield* counted
      wait(Effect.never)
      const scope = yield* Scope.make()
      const session = yield* Scope.provide(cachedOver(inner), scope)
      const fiber = yield* Effect.forkChild(textsOf(session), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      const error = yield* Effect.flip(Fiber.join(fiber))
      assert.strictEqual(error.reason._tag, "Closed")
      assert.strictEqual((yield* Effect.flip(textsOf(session))).reason._tag, "Closed")
    }))

  it.effect("does not trust a version for ever: a backend may forget what was cleared", () =>
    Effect.gen(function*() {
      const { calls, inner } = yield* counted
      const session = yield* cachedOver(inner)
      yield* session.saveItems("a", [user("1")])
      yield* textsOf(session)
      yield* TestClock.adjust("61 minutes")
      yield* textsOf(session)
      assert.deepStrictEqual(calls.map(({ options }) => options.known), [undefined, undefined])
    }))

  it.effect("does not keep what failed", () =>
    Effect.gen(function*() {
      const { inner, raw, wait } = yield* counted
      const session = yield* cachedOver(inner)
      yield* raw.saveItems("a", [user("1")])
      wait(Effect.die(new Error("away")))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(textsOf(session))))
      wait(Effect.void)
      assert.deepStrictEqual(yield* textsOf(session), ["1"])
    }))
})

/** Two functions and no versions. */
const unversioned = Effect.sync(() => {
  const stored = new Map<string, ReadonlyArray<string>>()
  let loads = 0
  const inner = make({
    backend: "least",
    load: (id) =>
      Effect.sync(() => {
        loads++
        return { entries: stored.get(id) ?? [] }
      }),
    save: (id, { entries }) => Effect.sync(() => void stored.set(id, [...stored.get(id) ?? [], ...entries]))
  })
  return { inner, loads: () => loads }
})

describe("SessionCached over a backend without versions", () => {
  it.effect("wants to be told how old an answer may be", () =>
    Effect.gen(function*() {
      const { inner } = yield* unversioned
      const error = yield* Effect.flip(cachedOver(inner))
      assert.strictEqual(error.reason._tag, "Unsupported")
      assert.include(error.message, "timeToLive")
    }))

  it.effect("gives answers of that age, but its own writes at once", () =>
    Effect.gen(function*() {
      const { inner, loads } = yield* unversioned
      const session = yield* cachedOver(inner, { timeToLive: "1 minute" })
      yield* session.saveItems("a", [user("1")])
      assert.deepStrictEqual(yield* textsOf(session), ["1"])
      yield* inner.saveItems("a", [user("2")])
      assert.deepStrictEqual(yield* textsOf(session), ["1"])
      assert.strictEqual(loads(), 1)
      yield* session.saveItems("a", [user("3")])
      assert.deepStrictEqual(yield* textsOf(session), ["1", "2", "3"])
      yield* inner.saveItems("a", [user("4")])
      yield* TestClock.adjust("61 seconds")
      assert.deepStrictEqual(yield* textsOf(session), ["1", "2", "3", "4"])
    }))

  it.effect("does not keep what was read while it wrote", () =>
    Effect.gen(function*() {
      const { inner } = yield* unversioned
      const gate = yield* Deferred.make<void>()
      const slow: Service = {
        ...inner,
        loadItems: (id, options) => Effect.tap(inner.loadItems(id, options), () => Deferred.await(gate))
      }
      const session = yield* cachedOver(slow, { timeToLive: "1 minute" })
      const reading = yield* Effect.forkChild(textsOf(session), { startImmediately: true })
      yield* session.saveItems("a", [user("1")])
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(yield* Fiber.join(reading), [])
      assert.deepStrictEqual(yield* textsOf(session), ["1"])
    }))

  const capabilities: Capabilities = {
    versions: false,
    operations: false,
    rewrite: false,
    list: false,
    anyItem: true
  }
  it.live("keeps the laws that the backend keeps", () =>
    Effect.gen(function*() {
      const subject = (open: SessionSubject["open"]): SessionSubject => ({
        open,
        capabilities,
        canReopen: false,
        lacks: ["popItem", "clear", "records"]
      })
      const { inner: one } = yield* unversioned
      const { inner: other } = yield* unversioned
      for (const law of all) {
        const plain = yield* Law.verify(law, subject(Effect.succeed(one)))
        const cached = yield* Law.verify(law, subject(cachedOver(other, { timeToLive: "1 hour" })))
        // The least backend knows nothing of being closed.
        if (plain._tag === "Broken") continue
        assert.deepStrictEqual(cached, plain, law.name)
      }
    }))
})

describe("SessionCached is bounded", () => {
  it.effect("by items and bytes, forgetting what was not read for longest", () =>
    Effect.gen(function*() {
      const { calls, inner } = yield* counted
      const session = yield* cachedOver(inner, { maxItems: 4 })
      for (const id of ["a", "b", "c"]) yield* inner.saveItems(id, [user("1"), user("2")])
      const isKept = (id: string) => Effect.map(textsOf(session, id), () => calls.at(-1)!.options.known !== undefined)
      assert.deepStrictEqual(yield* Effect.forEach(["a", "b", "a", "b"], isKept), [false, false, true, true])
      yield* isKept("a")
      yield* isKept("c")
      assert.deepStrictEqual(yield* Effect.forEach(["a", "c", "b"], isKept), [true, true, false])
      yield* inner.saveItems("huge", Array.from({ length: 9 }, () => user("x")))
      assert.strictEqual((yield* textsOf(session, "huge")).length, 9)
      assert.isFalse(yield* isKept("huge"))
    }))

  it.effect("whatever is done with it", () =>
    Effect.gen(function*() {
      const maximum = { items: 50, bytes: 400 }
      const cache = boundedCache.make<boundedCache.Weight>(maximum, (_, weight) => weight)
      const model = new Map<string, boundedCache.Weight>()
      for (let step = 0; step < rounds("cache-bounds"); step++) {
        const key = `${yield* Random.nextIntBetween(0, 30)}`
        const kind = yield* Random.nextIntBetween(0, 10)
        if (kind < 5) {
          const weight = { items: yield* Random.nextIntBetween(0, 60), bytes: yield* Random.nextIntBetween(0, 500) }
          cache.set(key, weight)
          model.set(key, weight)
        } else if (kind < 6) {
          cache.remove(key)
          model.delete(key)
        } else {
          const found = cache.get(key)
          if (found !== undefined) assert.strictEqual(found, model.get(key))
        }
        const { bytes, entries, items } = cache.size()
        assert.isAtMost(items, maximum.items)
        assert.isAtMost(bytes, maximum.bytes)
        if (entries === 0) assert.deepStrictEqual({ items, bytes }, { items: 0, bytes: 0 })
      }
    }).pipe(Random.withSeed("bounded")), timeLimit)

  it.effect("by numbers", () =>
    Effect.gen(function*() {
      const { inner } = yield* counted
      const error = yield* Effect.flip(cachedOver(inner, { maxBytes: NaN }))
      assert.strictEqual(error.reason._tag, "InvalidInput")
    }))
})

describe("deliberately broken caches", () => {
  it.live("that ask nobody break the laws", () =>
    Effect.gen(function*() {
      const store = yield* SessionMemory.makeStore
      const broken: SessionSubject = {
        open: Effect.gen(function*() {
          const raw = yield* SessionMemory.make({ store })
          // The version is hidden, so that a time to live is all that is left.
          const session = yield* cachedOver({ ...raw, capabilities: { ...raw.capabilities, versions: false } }, {
            timeToLive: "1 hour"
          })
          return { ...session, capabilities: everything }
        }),
        capabilities: everything,
        canReopen: true
      }
      const law = all.find(({ name }) => name.startsWith("Two sessions on one store see"))!
      assert.strictEqual((yield* Law.verify(law, broken))._tag, "Broken")
    }))
})
