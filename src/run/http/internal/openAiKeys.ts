/** Who may ask: keys, compared in a time that says nothing about them. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Incoming } from "./exchange.ts"
import { problem, Refusal } from "./problem.ts"

const encoder = new TextEncoder()

const refused = new Refusal({
  problem: problem(401, "unauthorized", "The API key is missing or wrong. Send it as Authorization: Bearer <key>."),
  headers: { "www-authenticate": "Bearer" }
})

const isSame = (a: Uint8Array, b: Uint8Array): boolean => {
  let difference = a.length ^ b.length
  for (let index = 0; index < a.length; index++) difference |= a[index]! ^ (b[index] ?? 0)
  return difference === 0
}

/**
 * The number of the key that a request comes with. Compared are digests under a key that nobody else knows, and always
 * with all keys, so that neither how much of a key is right nor which one can be measured.
 */
export const make = Effect.fnUntraced(function*(keys: ReadonlyArray<Redacted.Redacted>) {
  const { subtle } = globalThis.crypto
  const secret = yield* Effect.promise(() => subtle.generateKey({ name: "HMAC", hash: "SHA-256" }, false, ["sign"]))
  const digest = (text: string) =>
    Effect.map(Effect.promise(() => subtle.sign("HMAC", secret, encoder.encode(text))), (mac) => new Uint8Array(mac))
  const digests = yield* Effect.forEach(keys, (key) => digest(Redacted.value(key)))
  return Effect.fnUntraced(function*({ headers }: Incoming) {
    const given = /^Bearer +(\S+) *$/i.exec(headers["authorization"] ?? "")?.[1]
    if (given === undefined) return yield* refused
    const mine = yield* digest(given)
    let found = -1
    digests.forEach((one, index) => {
      if (isSame(one, mine)) found = index
    })
    return found < 0 ? yield* refused : `key ${found}`
  })
})
