import { assert, describe, it } from "@effect/vitest"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import { user } from "agent-layers/services/Item"
import { all } from "agent-layers/services/laws/SessionLaws"
import { Session } from "agent-layers/services/Session"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { describeLaws } from "../../support/laws.ts"
import { contentOf, memorySubject } from "../../support/session/subjects.ts"

describeLaws("SessionMemory", all, Effect.runSync(memorySubject), {
  notShown: ["While the store takes no writes they fail with Unavailable, and a retry stores once"]
})

describe("SessionMemory", () => {
  const append = Effect.gen(function*() {
    const session = yield* Session
    return yield* session.saveItems("a", [user("hi")])
  })

  it.effect("layer starts empty each time it is built", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Effect.provide(append, SessionMemory.layer), { version: 1 })
      assert.deepStrictEqual(yield* Effect.provide(append, SessionMemory.layer), { version: 1 })
    }))

  it.effect("layer is built once in a program", () =>
    Effect.gen(function*() {
      const first = Layer.effectDiscard(append).pipe(Layer.provide(SessionMemory.layer))
      const { version } = yield* Effect.provide(append, Layer.provideMerge(first, SessionMemory.layer))
      assert.strictEqual(version, 2)
    }))

  it.effect("layerWith keeps what is in a store that was passed in", () =>
    Effect.gen(function*() {
      const store = yield* SessionMemory.makeStore
      yield* Effect.provide(append, SessionMemory.layerWith({ store }))
      assert.deepStrictEqual(yield* Effect.provide(append, SessionMemory.layerWith({ store })), { version: 2 })
    }))

  it.effect("forgets operations beyond the latest 1,000 and after 7 days", () =>
    Effect.gen(function*() {
      const store = yield* SessionMemory.makeStore
      const session = yield* SessionMemory.make({ store })
      const kept = () => contentOf(store).conversations.get("a")!.operations
      for (let turn = 0; turn < 1_100; turn++) {
        yield* session.saveItems("a", [user("x")], { operationId: `op/${turn}` })
      }
      assert.deepStrictEqual([...kept().keys()].slice(0, 2), ["op/100", "op/101"])
      assert.strictEqual(kept().size, 1_000)
      yield* TestClock.adjust("7 days")
      yield* session.maintain("a")
      assert.strictEqual(kept().size, 1_000)
      yield* TestClock.adjust("1 millis")
      yield* session.maintain("a")
      assert.strictEqual(kept().size, 0)
    }))
})
