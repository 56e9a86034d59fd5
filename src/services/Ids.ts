/**
 * Where new ids come from: of runs and of new conversations. A `Context.Reference`, so that a test can make them
 * predictable.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/**
 * @category models
 * @since 0.1.0
 */
export interface Ids {
  /** A new id that starts with `prefix` and an underscore. */
  readonly next: (prefix: string) => Effect.Effect<string>
}

/** A call for random bytes costs more than all the rest of an id, so that they are drawn many at a time. */
const makePool = (capacity: number) => {
  const pool = new Uint8Array(capacity)
  let used = capacity
  return (size: number): Uint8Array => {
    if (used + size > capacity) {
      globalThis.crypto.getRandomValues(pool)
      used = 0
    }
    const bytes = pool.slice(used, used + size)
    pool.fill(0, used, used + size)
    used += size
    return bytes
  }
}

const random = SecureRandom.make(makePool(4096))

const uuid = random.uuidV7()

/**
 * By default a UUID version 7: ordered by time, and not to be guessed.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-7
 * @category references
 * @since 0.1.0
 */
export const Ids: Context.Reference<Ids> = Context.Reference<Ids>("agent-layers/services/Ids", {
  defaultValue: () => ({ next: (prefix) => Effect.map(uuid, (id) => `${prefix}_${id}`) })
})

/**
 * Ids that count from 1 for each prefix: `run_1`, `run_2`, … For tests.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSequential: Layer.Layer<never> = Layer.effect(
  Ids,
  Effect.sync(() => {
    const counts = new Map<string, number>()
    return {
      next: (prefix: string) =>
        Effect.sync(() => {
          const count = (counts.get(prefix) ?? 0) + 1
          counts.set(prefix, count)
          return `${prefix}_${count}`
        })
    }
  })
)
