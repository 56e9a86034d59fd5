/**
 * Forgets the beginning of conversations: a decorator. `maintain`, which the runner calls after its last commit, cuts off
 * what is more than `maxItems` or older than `maxAge`. It cuts between commits, so that a turn stays whole, and keeps the
 * last commit whatever it holds. It does not look into items, and may stand anywhere in a stack.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Session from "../../services/Session.ts"
import type * as SessionError from "../../services/SessionError.ts"
import * as mapped from "./internal/mapped.ts"
import type { Row } from "./internal/replaceHead.ts"
import { replaceHead, rowsOf } from "./internal/replaceHead.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** How many items a conversation keeps, at most, unless its last commit alone has more. Absent: any number. */
  readonly maxItems?: number | undefined
  /** How long ago what is kept was saved, at most. Absent: any time. */
  readonly maxAge?: Duration.Input | undefined
}

const name = "retention"

/** How many items at the start are to go. */
const cutOf = (
  rows: ReadonlyArray<Row>,
  maxItems: number,
  oldest: number
): number => {
  let cut = 0
  for (let index = 1; index < rows.length; index++) {
    if (rows[index]!.commit === rows[index - 1]!.commit) continue
    const isTooMany = rows.length - cut > maxItems
    const isTooOld = rows[index - 1]!.savedAt < oldest
    if (!isTooMany && !isTooOld) return cut
    cut = index
  }
  return cut
}

/**
 * The session in the context, which forgets when it is maintained. Fails with `Unsupported` on one that cannot rewrite,
 * with `InvalidInput` on a bound that is no number. A session without records keeps everything: `maintain` fails with
 * `Unsupported`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Session.Session["Service"], SessionError.SessionError, Session.Session> {
  const inner = yield* Session.Session
  const { maxAge, maxItems = Infinity } = options
  if (!(maxItems >= 0)) return yield* mapped.refuseOption(name, `maxItems is ${maxItems}; pass a number, 0 or more`)
  if (!inner.capabilities.rewrite || !inner.capabilities.versions) {
    return yield* mapped.refuseStack(
      name,
      "The session below cannot rewrite a conversation, so that nothing can be cut off"
    )
  }
  const age = maxAge === undefined ? Infinity : Duration.toMillis(Duration.fromInputUnsafe(maxAge))

  const maintain = Effect.fnUntraced(function*(id: string): Effect.fn.Return<void, SessionError.SessionError> {
    yield* inner.maintain(id)
    const now = yield* Clock.currentTimeMillis
    const loaded = yield* inner.loadItems(id)
    const rows = yield* rowsOf(inner, id, loaded)
    const cut = rows === undefined ? 0 : cutOf(rows, maxItems, now - age)
    if (cut > 0) yield* replaceHead(inner, id, loaded, rows, cut, [])
  })

  return { ...inner, maintain }
})

/**
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Session.Decorator<SessionError.SessionError> =>
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
