import { assert, describe, it } from "@effect/vitest"
import * as Ids from "agent-layers/services/Ids"
import { Effect } from "effect"

describe("Ids", () => {
  it.live("are UUIDs of version 7, all different, in the order in which they are made", () =>
    Effect.gen(function*() {
      const ids = yield* Ids.Ids
      const made: Array<string> = []
      for (let n = 0; n < 2_000; n++) made.push(yield* ids.next("run"))
      for (const id of made) {
        assert.match(id, /^run_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      }
      assert.strictEqual(new Set(made).size, made.length)
      assert.deepStrictEqual(made.toSorted(), made)
    }))

  it.effect("count for each prefix where a test asks for that", () =>
    Effect.gen(function*() {
      const ids = yield* Ids.Ids
      assert.deepStrictEqual([yield* ids.next("run"), yield* ids.next("conv"), yield* ids.next("run")], [
        "run_1",
        "conv_1",
        "run_2"
      ])
    }).pipe(Effect.provide(Ids.layerSequential)))
})
