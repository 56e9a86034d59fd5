import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Item } from "../../../services/Item.ts"
import type { Loaded, Session } from "../../../services/Session.ts"
import type { SessionError } from "../../../services/SessionError.ts"

type Service = Session["Service"]

export interface Row {
  readonly commit: number
  readonly savedAt: number
}

/**
 * What is known about each item that was loaded before; `undefined` where the conversation was changed since then
 * otherwise than by appending.
 *
 * @internal
 */
export const rowsOf = (
  inner: Service,
  id: string,
  { items, version }: Loaded
): Effect.Effect<ReadonlyArray<Row> | undefined, SessionError> =>
  inner.records(id).pipe(
    Stream.take(items.length),
    Stream.map(({ commit, savedAt }): Row => ({ commit, savedAt })),
    Stream.runCollect,
    Effect.map((rows) =>
      rows.length === items.length && rows.every(({ commit }) => commit <= version) ? rows : undefined
    )
  )

/**
 * Puts `replacement` in the place of the first `cut` items. Where the cut is between two commits the later ones are not
 * touched, and keep what is known about them; after a pop that is refused, and all that was loaded is written anew.
 *
 * @internal
 */
export const replaceHead = (
  inner: Service,
  id: string,
  loaded: Loaded,
  rows: ReadonlyArray<Row> | undefined,
  cut: number,
  replacement: ReadonlyArray<Item>
): Effect.Effect<unknown, SessionError> => {
  const whole = inner.rewrite(id, {
    through: loaded.version,
    items: [...replacement, ...loaded.items.slice(cut)]
  })
  const through = rows?.[cut - 1]?.commit
  return through === undefined || through === rows?.[cut]?.commit
    ? whole
    : Effect.catchReason(
      inner.rewrite(id, { through, items: replacement }),
      "SessionError",
      "VersionConflict",
      () => whole
    )
}
