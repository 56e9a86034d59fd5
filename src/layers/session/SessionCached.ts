/**
 * Keeps what was read of the session below in the memory of this process: a decorator. Over a backend with versions
 * every read still asks it, and is sent only what came since: an answer is never older than the moment it was asked for,
 * whoever wrote to the store meanwhile. Over one without, answers may be as old as `timeToLive`.
 *
 * Writes go through: they are answered by the session below, and what was written is read back from it, so that the
 * cache shows nothing that the store does not hold. Readers at once of one conversation share a call.
 *
 * What is kept is what the layer is given: outside encryption that is plaintext, in this process only.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as internal from "../../services/internal/session.ts"
import type { Item } from "../../services/Item.ts"
import type { Loaded } from "../../services/Session.ts"
import * as Session from "../../services/Session.ts"
import * as SessionError from "../../services/SessionError.ts"
import * as boundedCache from "./internal/boundedCache.ts"
import * as flights from "./internal/flights.ts"
import * as mapped from "./internal/mapped.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * How many items are kept in all; the conversations that were not read for longest are forgotten first.
   *
   * @default 100_000
   */
  readonly maxItems?: number | undefined
  /**
   * How many bytes the kept items take in all, counted as two for each character of their JSON text.
   *
   * @default 67_108_864
   */
  readonly maxBytes?: number | undefined
  /**
   * How old an answer may be. Needed over a backend without versions, and not looked at over one with them.
   */
  readonly timeToLive?: Duration.Input | undefined
}

const name = "cached"

/**
 * A backend keeps the version of a conversation that was cleared for a while only: after that, the same version may be
 * one of other content.
 */
const maxAgeMillis = 60 * 60 * 1_000

interface Kept {
  /** JSON texts: what was handed out may be changed by whoever has it. */
  readonly entries: ReadonlyArray<string>
  readonly characters: number
  /** How many of the latest items were asked for: with fewer, a backend may have left out some that it cannot read. */
  readonly limit: number
  readonly version: number
  /** When it was last known to be what the store holds. */
  readonly at: number
}

const weigh = (id: string, { characters, entries }: Kept): boundedCache.Weight => ({
  items: entries.length,
  bytes: 2 * (characters + id.length)
})

const encode = (items: ReadonlyArray<Item>): ReadonlyArray<string> => items.map((item) => JSON.stringify(item))

const kept = (entries: ReadonlyArray<string>, limit: number, version: number, at: number): Kept => ({
  entries,
  characters: entries.reduce((sum, entry) => sum + entry.length, 0),
  limit,
  version,
  at
})

/**
 * The session in the context, cached. Fails with `Unsupported` over a session without versions where there is no
 * `timeToLive`, with `InvalidInput` on a bound that is no number.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<Session.Session["Service"], SessionError.SessionError, Session.Session | Scope.Scope> {
  const inner = yield* Session.Session
  const { maxBytes = 64 * 1024 * 1024, maxItems = 100_000, timeToLive } = options
  for (const [option, value] of Object.entries({ maxItems, maxBytes })) {
    if (!(value >= 0)) return yield* mapped.refuseOption(name, `${option} is ${value}; pass a number, 0 or more`)
  }
  const { versions } = inner.capabilities
  if (!versions && timeToLive === undefined) {
    return yield* mapped.refuseStack(
      name,
      "The session below has no versions, so that nothing tells when what is cached is out of date. " +
        "Pass timeToLive to say how old an answer may be"
    )
  }
  const maxAge = versions ? maxAgeMillis : Duration.toMillis(Duration.fromInputUnsafe(timeToLive!))
  const cache = boundedCache.make({ items: maxItems, bytes: maxBytes }, weigh)
  const closed = new SessionError.SessionError({
    backend: name,
    operation: "loadItems",
    reason: new SessionError.Closed({})
  })
  const join = yield* flights.make<Kept, SessionError.SessionError>(closed)
  // Without versions, what a read that overlaps with a write has found must not be kept.
  const reading = new Map<string, { isStale: boolean }>()

  /** What is kept of a conversation, if it answers for the latest `limit` items. */
  const lookUp = (id: string, limit: number, now: number): Kept | undefined => {
    const found = cache.get(id)
    if (found === undefined) return undefined
    if (now - found.at > maxAge || found.at > now) {
      cache.remove(id)
      return undefined
    }
    return found.limit >= limit ? found : undefined
  }

  const refresh = (id: string, maxItems: number | undefined): Effect.Effect<Kept, SessionError.SessionError> =>
    Effect.flatMap(Clock.currentTimeMillis, (at) => {
      const limit = maxItems ?? Infinity
      const before = lookUp(id, limit, at)
      if (before !== undefined && !versions) return Effect.succeed(before)
      const read = { isStale: false }
      reading.set(id, read)
      const forget = Effect.sync(() => reading.delete(id))
      return Effect.map(
        Effect.ensuring(inner.loadItems(id, { maxItems, known: before?.version }), forget),
        (loaded) => {
          const isGrown = before !== undefined && loaded.isSuffix
          const next = isGrown && loaded.items.length === 0
            ? { ...before, version: loaded.version, at }
            : isGrown
            ? kept([...before.entries, ...encode(loaded.items)], before.limit, loaded.version, at)
            : kept(encode(loaded.items), limit, loaded.version, at)
          if (!read.isStale) cache.set(id, next)
          return next
        }
      )
    })

  const loadItems: Session.Session["Service"]["loadItems"] = (id, options = {}) => {
    const { known, maxItems } = options
    // Whoever holds a version wants no more than what came since.
    if (known !== undefined || (maxItems !== undefined && !(maxItems >= 1))) return inner.loadItems(id, options)
    const limit = maxItems === undefined || maxItems > Number.MAX_SAFE_INTEGER ? undefined : Math.floor(maxItems)
    return Effect.flatMap(join(id, `${limit}`, refresh(id, limit)), ({ entries, version }) =>
      Effect.map(
        // The texts were made here from items: they are items.
        Effect.orDie(internal.decodeAll(limit === undefined ? entries : entries.slice(-limit), "fail")),
        (items): Loaded => ({ items, version, isSuffix: false })
      ))
  }

  /** Runs a change of a conversation. */
  const changing = <A>(id: string, change: Effect.Effect<A, SessionError.SessionError>) =>
    versions ? change : Effect.ensuring(
      change,
      Effect.sync(() => {
        const read = reading.get(id)
        if (read !== undefined) read.isStale = true
        cache.remove(id)
      })
    )

  return {
    ...inner,
    loadItems,
    saveItems: (id, items, options) => changing(id, inner.saveItems(id, items, options)),
    rewrite: (id, options) => changing(id, inner.rewrite(id, options)),
    popItem: (id, options) => changing(id, inner.popItem(id, options)),
    clear: (id) => changing(id, inner.clear(id)),
    maintain: (id, options) => changing(id, inner.maintain(id, options))
  }
})

/**
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Session.Decorator<SessionError.SessionError> =>
  Layer.effect(Session.Session, make(options))

/**
 * As `layer`, with options from configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<Options>
): Session.Decorator<SessionError.SessionError | Config.ConfigError> =>
  Layer.effect(Session.Session, Effect.flatMap(Config.unwrap(config), make))
