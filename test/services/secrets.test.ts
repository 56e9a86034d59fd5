import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import * as Secrets from "../../src/services/internal/secrets.ts"

const base64 = (text: string) => Buffer.from(text).toString("base64")

describe("scrub", () => {
  const rows: ReadonlyArray<readonly [secret: string, text: string, scrubbed: string]> = [
    ["Bearer s3cr3t", "no s3cr3t, no Bearer", "no <redacted>, no Bearer"],
    ["Bearer s3cr3t", "you sent Bearer s3cr3t", "you sent <redacted>"],
    ["Bearer abc", "the letters abc", "the letters abc"],
    [
      `Basic ${base64("ada:hunter2")}`,
      `${base64("ada:hunter2")} of ada with hunter2`,
      "<redacted> of ada with <redacted>"
    ],
    [`Basic ${base64("ada.lovelace:pw")}`, "ada.lovelace has pw", "<redacted> has pw"],
    [`Basic ${Buffer.from("r\u00e9ne.e:p\u00e4ssw0rd", "latin1").toString("base64")}`, "p\u00e4ssw0rd", "<redacted>"],
    [`Basic ${base64("user:pass")}`, "user:pass, no pass for user", "<redacted>, no pass for user"],
    ["a=long-value-a; b=long-value-b", "long-value-b, long-value-a", "<redacted>, <redacted>"],
    ["Bearer t0ken-a, Basic YWRhOnBhc3N3MHJk", "t0ken-a YWRhOnBhc3N3MHJk passw0rd", "<redacted> <redacted> <redacted>"],
    ["https://tok3n-x@example.com/x", "tok3n-x", "<redacted>"],
    ["redis://ada:p%40ssw0rd@localhost", "p@ssw0rd p%40ssw0rd ada localhost", "<redacted> <redacted> ada localhost"],
    ["https://example.com/?q=something&api_key=k3y-0001", "something k3y-0001", "something <redacted>"],
    // What is short, or a plain word, would tear holes into every message.
    ["ollama", "ollama is not running", "ollama is not running"],
    ["Bearer", "Bearer", "Bearer"],
    ["debug", "debug", "debug"],
    ["8080", "127.0.0.1:8080", "127.0.0.1:8080"],
    ["v1.0", "v1.0", "v1.0"],
    ["", "nothing", "nothing"],
    // Eight characters are a secret, whatever they are.
    ["opensesame", "opensesame", "<redacted>"],
    ["12345678", "12345678", "<redacted>"],
    // Signs of patterns and replacements are signs.
    ["$&.*(a)[b]|^$", "x $&.*(a)[b]|^$ $&", "x <redacted> $&"]
  ]
  it.each(rows)("%s in: %s", (secret, text, scrubbed) => {
    assert.strictEqual(Secrets.make([secret]).scrub(text), scrubbed)
    assert.strictEqual(Secrets.make([Redacted.make(secret)]).scrub(text), scrubbed)
  })

  it("takes out the longest first, so that no rest of it is left", () => {
    const { scrub } = Secrets.make(["secret-1", "secret-1-and-more"])
    assert.strictEqual(scrub("secret-1-and-more secret-1"), "<redacted> <redacted>")
  })

  it("takes out short values too where that is asked for, but no short parts", () => {
    const { scrub } = Secrets.make(["ab", "Bearer cd"], { isAnyLength: true, replacement: "-" })
    assert.strictEqual(scrub("ab cd Bearer cd"), "- cd -")
  })

  it("remembers the latest 16 of those that are added", () => {
    const { add, scrub } = Secrets.make(["first-of-all"])
    for (let n = 10; n < 30; n++) add(Redacted.make(`token-${n}`))
    assert.strictEqual(scrub("first-of-all token-13 token-14 token-29"), "<redacted> token-13 <redacted> <redacted>")
  })

  it("takes a long value apart in no time", () => {
    const value = "a=b c=d ".repeat(4_000) + "e, ".repeat(4_000) + "-----BEGIN\n".repeat(500)
    assert.strictEqual(Secrets.make([value]).scrub(`x ${value} y`), "x <redacted> y")
  })
})

describe("scrubCut", () => {
  const { scrubCut } = Secrets.make(["Bearer c4n4ry-0123456789"])
  it.each([
    ["ends in c4n4ry-0", "ends in <redacted>"],
    ["ends in Bearer c4n4ry-0123", "ends in <redacted>"],
    ["ry-0123456789 began", "<redacted> began"],
    ["ends in Bearer", "ends in Bearer"],
    ["whole c4n4ry-0123456789.", "whole <redacted>."],
    ["", ""]
  ])("%s", (text, scrubbed) => assert.strictEqual(scrubCut(text), scrubbed))
})

describe("ofHeaders", () => {
  it("are the redacted values, and those whose names say so; never those of ordinary headers", () => {
    const values = Secrets.ofHeaders({
      "x-tenant": Redacted.make("redacted-tenant"),
      "x-plain": "plain-value",
      "X-Api-Key": "plain-key",
      "content-type": Redacted.make("application/json"),
      "User-Agent": Redacted.make("agent-layers")
    })
    assert.deepStrictEqual(values, ["redacted-tenant", "plain-key"])
  })
})
