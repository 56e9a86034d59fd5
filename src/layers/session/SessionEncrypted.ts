/**
 * Encrypts the items of the session below: a decorator. Each item is sealed on its own with AES-256-GCM, under a key
 * derived by HKDF for its conversation. A stored item is `{ type: "sealed", v: 1, key, item, data }`: the id of the key,
 * a random id of the item, and the sealed text. Key id, conversation id and item id are authenticated with it, so that a
 * sealed item cannot be altered, nor moved into another conversation.
 *
 * **What it does not hide**: conversation ids, how many items there are, how long they are, when they were saved, and
 * `meta`. **What it does not notice**: that a store leaves items out, repeats or reorders those of a conversation, or
 * shows an older state.
 *
 * **Order.** Compression and caches that may hold plaintext stand outside, a shared cache inside; so does all that looks
 * into items. The conversation id that is authenticated is the one that this layer is given: a `Session.prefixed`
 * outside of it is part of it, and one inside is not.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Session from "../../services/Session.ts"
import * as SessionError from "../../services/SessionError.ts"
import * as mapped from "./internal/mapped.ts"
import { rotateWith } from "./internal/rotate.ts"
import * as sealing from "./internal/sealing.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Key {
  /** Is stored with each item, so that the key is found again. Not a secret; up to 64 characters. */
  readonly id: string
  /** At least 32 random bytes in base64, as `openssl rand -base64 32` makes them. Not a password. */
  readonly secret: Redacted.Redacted<string>
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * The key ring. The first key seals, all of them open: a new key is put in front, and an old one stays until nothing
   * is sealed under it any more (see `rotate`).
   */
  readonly keys: ReadonlyArray<Key>
  /**
   * At least 32 random bytes in base64, for the fingerprints that tell a repeated operation from another one. It must not
   * change while an operation may still be repeated. Absent: derived from the last of `keys`, which a new key in front
   * does not change.
   */
  readonly fingerprintKey?: Redacted.Redacted<string> | undefined
  /**
   * What reading does with an item that cannot be decrypted: fail with `DecryptionFailed`, or leave it out and log how
   * many. It stays stored either way, and neither `popItem` nor `rewrite` takes it away.
   *
   * @default "fail"
   */
  readonly onUndecryptable?: "fail" | "skip" | undefined
  /**
   * What reading does with an item that is not sealed. `"read"` is for conversations from before there was encryption,
   * until they are rotated, which seals them; whoever can write to the store can then put items into a conversation.
   *
   * @default "fail"
   */
  readonly onPlaintext?: "fail" | "read" | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Rotated {
  /** How many items were sealed anew; 0 where all of them are under the first key. */
  readonly rotated: number
  /** The version of the conversation after it. */
  readonly version: number
}

/**
 * Seals conversations anew under the first key of the ring; provided beside the session.
 *
 * @category services
 * @since 0.1.0
 */
export class Rotation extends Context.Service<Rotation, {
  readonly rotate: (id: string) => Effect.Effect<Rotated, SessionError.SessionError>
}>()("agent-layers/layers/session/SessionEncrypted/Rotation") {}

/**
 * Seals a conversation anew under the first key of the ring. What is saved meanwhile stays as it is. The conversation is
 * as it was or wholly rotated, and only its `records` lose `meta` and the time of saving. A run that is in progress finds
 * that the version moved on.
 *
 * Fails with `DecryptionFailed`, changing nothing, where an item cannot be opened, with `Unsupported` where the session
 * below cannot rewrite, and with `VersionConflict` where others change the conversation again and again.
 *
 * @category accessors
 * @since 0.1.0
 */
export const rotate = (id: string): Effect.Effect<Rotated, SessionError.SessionError, Rotation> =>
  Effect.flatMap(Rotation, (rotation) => rotation.rotate(id))

const name = "encrypted"

const readRing = (
  { fingerprintKey, keys }: Options
): Effect.Effect<sealing.Ring, SessionError.SessionError> => {
  const ring = new Map<string, sealing.Key>()
  const badSecret = (which: string) =>
    mapped.refuseOption(name, `${which} is not at least 32 bytes in base64; make one with: openssl rand -base64 32`)
  for (const { id, secret } of keys) {
    if (id === "" || id.length > 64) return mapped.refuseOption(name, "The id of a key has 1 to 64 characters")
    if (ring.has(id)) return mapped.refuseOption(name, `Two keys have the id "${id}"`)
    const read = sealing.readSecret(secret)
    if (read === undefined) return badSecret(`The secret of key "${id}"`)
    ring.set(id, { id, secret: read })
  }
  const [current] = ring.values()
  const last = [...ring.values()].at(-1)
  if (current === undefined || last === undefined) return mapped.refuseOption(name, "keys is empty; pass a key")
  const forFingerprints = fingerprintKey === undefined ? last.secret : sealing.readSecret(fingerprintKey)
  if (forFingerprints === undefined) return badSecret("fingerprintKey")
  return Effect.succeed({ current, keys: ring, fingerprintKey: sealing.fingerprintKeyOf(forFingerprints) })
}

/**
 * The session in the context, encrypted, and what rotates its keys. Fails with `InvalidInput` on a key that is none, with
 * `Unsupported` on a session that does not keep items of any type or that looks into them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<
  { readonly session: Session.Session["Service"]; readonly rotation: Rotation["Service"] },
  SessionError.SessionError,
  Session.Session
> {
  const inner = yield* Session.Session
  yield* mapped.requireHidable(name, inner)
  const ring = yield* readRing(options)
  const { onPlaintext = "fail", onUndecryptable = "fail" } = options
  const session = mapped.make({
    name,
    inner,
    capabilities: { ...inner.capabilities, sealed: true },
    mapping: (id) => sealing.make(ring, id, onPlaintext),
    onClosed: onUndecryptable
  })
  return {
    session,
    rotation: { rotate: (id) => rotateWith(inner, id, sealing.make(ring, id, onPlaintext), ring) }
  }
})

const contextOf = (options: Options) =>
  Effect.map(
    make(options),
    ({ rotation, session }) =>
      Context.make(Session.Session, session).pipe(
        Context.add(Session.Sealed, session),
        Context.add(Rotation, rotation)
      )
  )

/**
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Session.Decorator<
  SessionError.SessionError,
  never,
  Session.Session | Session.Sealed | Rotation,
  "hides"
> => Layer.effectContext(contextOf(options))

/**
 * As `layer`, with options from configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<Options>
): Session.Decorator<
  SessionError.SessionError | Config.ConfigError,
  never,
  Session.Session | Session.Sealed | Rotation,
  "hides"
> => Layer.effectContext(Effect.flatMap(Config.unwrap(config), contextOf))
