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

export interface Key<Owner> {
  readonly owner: Owner
  readonly secret: Redacted.Redacted
}

/**
 * Finds the owner of the key that a request comes with. Compares HMACs under a secret of this process, always of every key, so
 * that timing reveals nothing.
 */
export const make = Effect.fnUntraced(function*<Owner>(keys: ReadonlyArray<Key<Owner>>) {
  const { subtle } = globalThis.crypto
  const secret = yield* Effect.promise(() => subtle.generateKey({ name: "HMAC", hash: "SHA-256" }, false, ["sign"]))
  const digest = (text: string) =>
    Effect.map(Effect.promise(() => subtle.sign("HMAC", secret, encoder.encode(text))), (mac) => new Uint8Array(mac))
  const known = yield* Effect.forEach(
    keys,
    ({ owner, secret }) => Effect.map(digest(Redacted.value(secret)), (mac) => ({ owner, mac }))
  )
  return Effect.fnUntraced(function*({ headers }: Incoming): Effect.fn.Return<Owner, Refusal> {
    const given = /^Bearer +(\S+) *$/i.exec(headers["authorization"] ?? "")?.[1]
    if (given === undefined) return yield* refused
    const mine = yield* digest(given)
    let found: Key<Owner>["owner"] | undefined
    let isFound = false
    for (const { mac, owner } of known) {
      if (isSame(mac, mine)) {
        found = owner
        isFound = true
      }
    }
    return isFound ? found as Owner : yield* refused
  })
})
