import { assert, describe, it } from "@effect/vitest"
import { decodeName, encodeName, toBytes, toRaw } from "../../../src/layers/sandbox/internal/fileNames.ts"

const raw = (...bytes: ReadonlyArray<number>) => String.fromCharCode(...bytes)

describe("names of files as text", () => {
  it("are what they are where they are UTF-8 and hold no such text as stands for a byte", () => {
    for (const name of ["a", "ünï-日本-😀", "\\", "\\x", "\\xf", "\\xFF", "\\xg0", "a\nb", "\uFEFFa", "\uFFFD"]) {
      assert.strictEqual(encodeName(toRaw(name)), name)
      assert.strictEqual(decodeName(name), toRaw(name))
    }
  })

  it("have a code for each byte that is not UTF-8", () => {
    assert.strictEqual(encodeName(raw(0x61, 0xff)), "a\\xff")
    assert.strictEqual(encodeName(raw(0xc3, 0xa9, 0xc3)), "é\\xc3")
    // Half a surrogate pair, more bytes than needed, beyond the last character, a character that is cut.
    assert.strictEqual(encodeName(raw(0xed, 0xa0, 0x80)), "\\xed\\xa0\\x80")
    assert.strictEqual(encodeName(raw(0xc0, 0xaf)), "\\xc0\\xaf")
    assert.strictEqual(encodeName(raw(0xf5, 0x80, 0x80, 0x80)), "\\xf5\\x80\\x80\\x80")
    assert.strictEqual(encodeName(raw(0xe2, 0x82)), "\\xe2\\x82")
    assert.strictEqual(encodeName(toRaw("\\xff")), "\\x5cxff")
  })

  it("lead back to the same bytes, and different bytes to different texts", () => {
    // All names of up to five of these bytes: those that a code is made of, and some that are not UTF-8.
    const bytes = [0x5c, 0x78, 0x35, 0x63, 0x66, 0xff, 0xc3, 0xa9]
    const texts = new Set<string>()
    let names = [""]
    let count = 0
    for (let length = 1; length <= 5; length++) {
      names = names.flatMap((name) => bytes.map((byte) => name + raw(byte)))
      for (const name of names) {
        const text = encodeName(name)
        if (decodeName(text) !== name) assert.fail(`${JSON.stringify(name)} became ${text}`)
        texts.add(text)
      }
      count += names.length
    }
    assert.strictEqual(texts.size, count)
  })

  it("never become NUL, a slash, a dot or another character that a name can have", () => {
    for (let byte = 0; byte < 0x80; byte++) {
      const text = `\\x${byte.toString(16).padStart(2, "0")}`
      assert.strictEqual(decodeName(text), byte === 0x5c ? "\\" : text)
    }
  })

  it("are bytes to the system", () => {
    assert.deepStrictEqual([...toBytes(decodeName("é\\xff"))], [0xc3, 0xa9, 0xff])
  })
})
