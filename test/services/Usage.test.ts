import { assert, describe, it } from "@effect/vitest"
import * as Usage from "agent-layers/services/Usage"
import { Schema } from "effect"

const counts = Schema.Struct({
  requests: Schema.Natural,
  inputTokens: Schema.Natural,
  outputTokens: Schema.Natural,
  totalTokens: Schema.Natural,
  cachedTokens: Schema.Natural,
  reasoningTokens: Schema.Natural
})

describe("Usage", () => {
  it("counts one request and sums the total where nothing else is said", () => {
    assert.deepStrictEqual(Usage.make({}), { ...Usage.zero, requests: 1 })
    assert.deepStrictEqual(Usage.make({ inputTokens: 120, outputTokens: 34, cachedTokens: 100, reasoningTokens: 14 }), {
      requests: 1,
      inputTokens: 120,
      outputTokens: 34,
      totalTokens: 154,
      cachedTokens: 100,
      reasoningTokens: 14
    })
    assert.deepInclude(Usage.make({ requests: 3, inputTokens: 1, totalTokens: 9 }), { requests: 3, totalTokens: 9 })
  })

  it("adds field by field", () => {
    const one = {
      requests: 1,
      inputTokens: 2,
      outputTokens: 4,
      totalTokens: 8,
      cachedTokens: 16,
      reasoningTokens: 32
    }
    assert.deepStrictEqual(Usage.add(one, one), {
      requests: 2,
      inputTokens: 4,
      outputTokens: 8,
      totalTokens: 16,
      cachedTokens: 32,
      reasoningTokens: 64
    })
  })

  it.prop("has zero, and adds in any order", { a: counts, b: counts }, ({ a, b }) => {
    assert.deepStrictEqual(Usage.add(a, Usage.zero), a)
    assert.deepStrictEqual(Usage.add(Usage.zero, a), a)
    assert.deepStrictEqual(Usage.add(a, b), Usage.add(b, a))
  })

  it("is read strictly: a number that is none is no count", () => {
    const decode = Schema.decodeUnknownExit(Usage.Usage)
    assert.strictEqual(decode(Usage.zero)._tag, "Success")
    for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, "1", null, undefined]) {
      assert.strictEqual(decode({ ...Usage.zero, inputTokens: wrong })._tag, "Failure", String(wrong))
    }
  })

  it("does not change what it adds", () => {
    const a = Object.freeze(Usage.make({ inputTokens: 1 }))
    assert.deepStrictEqual(Usage.add(a, a).inputTokens, 2)
    assert.deepStrictEqual(a.inputTokens, 1)
  })
})
