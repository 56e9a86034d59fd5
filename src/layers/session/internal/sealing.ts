// @effect-diagnostics nodeBuiltinImport:off
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as crypto from "node:crypto"
import { decode } from "../../../services/internal/session.ts"
import type { Item } from "../../../services/Item.ts"
import { DecryptionFailed } from "../../../services/SessionError.ts"
import type { Mapping } from "./mapped.ts"

const algorithm = "aes-256-gcm"
const nonceLength = 12
const tagLength = 16
const secretLength = 32
const salt = "agent-layers/session"

export interface Key {
  readonly id: string
  readonly secret: crypto.KeyObject
}

export interface Ring {
  /** Seals. */
  readonly current: Key
  /** Opens. */
  readonly keys: ReadonlyMap<string, Key>
  readonly fingerprintKey: crypto.KeyObject
}

interface Envelope {
  readonly v: unknown
  readonly key: unknown
  readonly item: unknown
  readonly data: unknown
}

/**
 * Key material from base64 or base64url; `undefined` where it is not that, or too short.
 *
 * @internal
 */
export const readSecret = (secret: Redacted.Redacted<string>): crypto.KeyObject | undefined => {
  const text = Redacted.value(secret)
  if (!/^[\w+/-]+={0,2}$/.test(text)) return undefined
  const bytes = Buffer.from(text, "base64")
  return bytes.length < secretLength ? undefined : crypto.createSecretKey(bytes)
}

const derive = (secret: crypto.KeyObject, ...purpose: ReadonlyArray<string>): crypto.KeyObject =>
  crypto.createSecretKey(
    Buffer.from(crypto.hkdfSync("sha256", secret, salt, sha256(JSON.stringify(purpose)), secretLength))
  )

/** HKDF takes no more than 1,024 bytes of info, and an id may be longer. */
const sha256 = (text: string): Buffer => crypto.createHash("sha256").update(text).digest()

/**
 * What is authenticated beside the item: it opens under this key, in this conversation and in this envelope only.
 */
const additionalData = (keyId: string, conversationId: string, itemId: string): Buffer =>
  Buffer.from(JSON.stringify([1, keyId, conversationId, itemId]))

const failed = (description: string, keyId?: string) =>
  Result.fail(new DecryptionFailed(keyId === undefined ? { description } : { keyId, description }))

/** @internal */
export const isSealed = (item: Item): boolean => item.type === "sealed"

/**
 * Whether an item was sealed under the key that seals now.
 *
 * @internal
 */
export const isCurrent = (item: Item, { current }: Ring): boolean =>
  isSealed(item) && (item as unknown as Envelope).key === current.id

/**
 * Sealing for one conversation. `node:crypto` and not Web Crypto: several times faster on items, and `popItem` has to
 * know at once whether it can open what it is about to remove.
 *
 * @internal
 */
export const make = (ring: Ring, conversationId: string, onPlaintext: "fail" | "read"): Mapping => {
  const derived = new Map<string, crypto.KeyObject>()
  const keyOf = (key: Key): crypto.KeyObject => {
    let found = derived.get(key.id)
    if (found === undefined) derived.set(key.id, found = derive(key.secret, "item", conversationId))
    return found
  }

  const close: Mapping["close"] = (entry) => {
    const { current } = ring
    const itemId = crypto.randomBytes(16).toString("base64url")
    const nonce = crypto.randomBytes(nonceLength)
    const cipher = crypto.createCipheriv(algorithm, keyOf(current), nonce, { authTagLength: tagLength })
    cipher.setAAD(additionalData(current.id, conversationId, itemId))
    const data = Buffer.concat([nonce, cipher.update(entry, "utf8"), cipher.final(), cipher.getAuthTag()])
    return Result.succeed({ type: "sealed", v: 1, key: current.id, item: itemId, data: data.toString("base64") })
  }

  const open: Mapping["open"] = (item) => {
    if (!isSealed(item)) {
      return onPlaintext === "read"
        ? Result.succeed(item)
        : failed(`the stored item is not sealed; build the layer with onPlaintext: "read" if it was stored before`)
    }
    const { data, item: itemId, key: keyId, v } = item as unknown as Envelope
    if (v !== 1 || typeof keyId !== "string" || typeof itemId !== "string" || typeof data !== "string") {
      return failed("the envelope is of a form that this version does not know")
    }
    const key = ring.keys.get(keyId)
    if (key === undefined) return failed("the key is not in the ring", keyId.slice(0, 64))
    const bytes = Buffer.from(data, "base64")
    if (bytes.length < nonceLength + tagLength) return failed("the envelope is cut short", keyId)
    return Result.flatMap(
      Result.try({
        try: () => {
          const nonce = bytes.subarray(0, nonceLength)
          const decipher = crypto.createDecipheriv(algorithm, keyOf(key), nonce, { authTagLength: tagLength })
          decipher.setAAD(additionalData(keyId, conversationId, itemId))
          decipher.setAuthTag(bytes.subarray(-tagLength))
          return decipher.update(bytes.subarray(nonceLength, -tagLength), undefined, "utf8") + decipher.final("utf8")
        },
        catch: () =>
          new DecryptionFailed({ keyId, description: "the key is another one, or the item was altered or moved" })
      }),
      (entry) => {
        const opened = decode(entry)
        return Result.isFailure(opened)
          ? failed(`what was sealed is ${opened.failure}`, keyId)
          : Result.succeed<Item>(opened.success)
      }
    )
  }

  return {
    close,
    open,
    fingerprint: (fingerprint) =>
      crypto.createHmac("sha256", ring.fingerprintKey)
        .update(JSON.stringify([conversationId, fingerprint]))
        .digest("base64url")
  }
}

/**
 * The key of fingerprints, from a secret that may encrypt too.
 *
 * @internal
 */
export const fingerprintKeyOf = (secret: crypto.KeyObject): crypto.KeyObject => derive(secret, "fingerprint")
