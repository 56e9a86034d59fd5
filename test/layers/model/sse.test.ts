import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { EventTooLarge, makeSseReader } from "../../../src/layers/model/internal/sse.ts"

const read = (pieces: ReadonlyArray<string>): ReadonlyArray<string> => {
  const reader = makeSseReader()
  const out: Array<string> = []
  for (const piece of pieces) reader.feed(piece, (data) => out.push(data))
  reader.end((data) => out.push(data))
  return out
}

const cut = (text: string, at: ReadonlyArray<number>): ReadonlyArray<string> => {
  const places = [...new Set(at.map((n) => n % (text.length + 1)))].sort((a, b) => a - b)
  return [0, ...places].map((from, n) => text.slice(from, places[n]))
}

const text = "\ufeffevent: a\ndata: one\n\n: a comment\n\nid: 7\nretry: 10\ndata:two\r\ndata: lines\r\n\r\n" +
  "event: nothing\n\ndatabase: no\ndata\n\ndata: {\"x\":\"data: \\n\"}\n\ndata: last"

describe("sse", () => {
  it("gives the data of each event", () => {
    assert.deepStrictEqual(read([text]), ["one", "two\nlines", "", "{\"x\":\"data: \\n\"}", "last"])
  })

  it.effect.prop(
    "gives the same however the text is cut",
    [Schema.Array(Schema.Natural).check(Schema.isMaxLength(40))],
    ([at]) =>
      Effect.sync(() => {
        assert.deepStrictEqual(read(cut(text, at)), read([text]))
      }),
    { arbitrary: { runs: 200 } }
  )

  it("gives the same character by character", () => {
    assert.deepStrictEqual(read(Array.from(text)), read([text]))
  })

  it("takes large events in small pieces without slowing down with their size", () => {
    const large = "x".repeat(8_000_000)
    const pieces = cut(`data: ${large}\n\n`, Array.from({ length: 8_000 }, (_, n) => n * 1_000))
    const start = performance.now()
    assert.deepStrictEqual(read(pieces), [large])
    // Milliseconds, where it is not quadratic; a minute and more where it is.
    assert.isBelow(performance.now() - start, 20_000)
  })

  it("refuses an event that never ends", () => {
    const reader = makeSseReader()
    const piece = "x".repeat(16 * 1024 * 1024)
    let refused: EventTooLarge | undefined
    for (let n = 0; n < 20 && refused === undefined; n++) refused = reader.feed(piece, () => assert.fail("no event"))
    assert.instanceOf(refused, EventTooLarge)
  })
})
