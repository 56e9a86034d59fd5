/**
 * Forgets the beginning of conversations: a decorator. `maintain`, which the runner calls after its last commit, cuts off
 * what is more than `maxItems` or older than `maxAge`.
 *
 * It cuts between commits, where a user message begins, or system or developer messages right before one. So the rest
 * starts with a question and holds whole turns. It keeps everything after the last such place, however long or old.
 *
 * **Order.** It looks into items, so it goes outside of layers that encrypt or compress. Inside of them it is a compile
 * error in `Session.wrap`, and `Unsupported` when the stack is built.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as History from "../../services/History.ts"
import type { Item } from "../../services/Item.ts"
import { isMessage } from "../../services/Item.ts"
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
  /**
   * How many items a conversation keeps, at most; more only if more follow the last place to cut. Absent: any number.
   */
  readonly maxItems?: number | undefined
  /** How long ago what is kept was saved, at most. Absent: any time. */
  readonly maxAge?: Duration.Input | undefined
}

const name = "retention"

/** Whether a user message begins here, with instructions before it or not. */
const isAsked = (items: ReadonlyArray<Item>, index: number): boolean => {
  for (let next = index; next < items.length; next++) {
    const item = items[next]!
    if (!isMessage(item) || item.role === "assistant") return false
    if (item.role === "user") return true
  }
  return false
}

/** How many items at the start are to go. */
const cutOf = (
  items: ReadonlyArray<Item>,
  rows: ReadonlyArray<Row>,
  maxItems: number,
  oldest: number
): number => {
  let cut = 0
  for (const index of History.safeCuts(items)) {
    if (index === 0 || rows[index]?.commit === rows[index - 1]!.commit || !isAsked(items, index)) continue
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

  const maintain = Effect.fnUntraced(function*(
    id: string,
    options?: Session.MaintainOptions
  ): Effect.fn.Return<void, SessionError.SessionError> {
    yield* inner.maintain(id, options)
    const now = yield* Clock.currentTimeMillis
    const loaded = yield* inner.loadItems(id)
    const rows = yield* rowsOf(inner, id, loaded)
    const cut = rows === undefined ? 0 : cutOf(loaded.items, rows, maxItems, now - age)
    if (cut > 0) yield* replaceHead(inner, id, loaded, rows, cut, [])
  })

  return { ...inner, capabilities: { ...inner.capabilities, readsItems: true }, maintain }
})

/**
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Session.Decorator<SessionError.SessionError, never, Session.Session, "reads"> =>
  Layer.effect(Session.Session, make(options))

/**
 * As `layer`, with options from configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<Options>
): Session.Decorator<SessionError.SessionError | Config.ConfigError, never, Session.Session, "reads"> =>
  Layer.effect(Session.Session, Effect.flatMap(Config.unwrap(config), make))
