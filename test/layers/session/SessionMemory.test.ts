import { assert, describe, it } from "@effect/vitest"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import { user } from "agent-layers/services/Item"
import { all } from "agent-layers/services/laws/SessionLaws"
import { Session } from "agent-layers/services/Session"
import { Effect, Layer } from "effect"
import { describeLaws } from "../../support/laws.ts"
import { memorySubject } from "../../support/session/subjects.ts"

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
})
