import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { checkId } from "../../../services/internal/session.ts"
import type { Item } from "../../../services/Item.ts"
import type { Session } from "../../../services/Session.ts"
import type { SessionError, SessionErrorReason } from "../../../services/SessionError.ts"
import type { Mapping } from "./mapped.ts"
import { failure } from "./mapped.ts"
import type { Ring } from "./sealing.ts"
import { isCurrent } from "./sealing.ts"

/** Of those who change a conversation otherwise than by appending, somebody always wins: few tries do. */
const tries = 10

/** Items that are under the current key stay the very same. */
const resealed = (
  items: ReadonlyArray<Item>,
  { close, open }: Mapping,
  ring: Ring
): Result.Result<{ readonly items: ReadonlyArray<Item>; readonly rotated: number }, SessionErrorReason> => {
  const all: Array<Item> = []
  let rotated = 0
  for (let position = 0; position < items.length; position++) {
    const item = items[position]!
    const opened = open(item, position)
    if (Result.isFailure(opened)) return Result.fail(opened.failure)
    if (isCurrent(item, ring)) {
      all.push(item)
      continue
    }
    const closed = close(JSON.stringify(opened.success), opened.success)
    if (Result.isFailure(closed)) return Result.fail(closed.failure)
    all.push(closed.success)
    rotated++
  }
  return Result.succeed({ items: all, rotated })
}

/** @internal */
export const rotateWith = (
  inner: Session["Service"],
  id: string,
  mapping: Mapping,
  ring: Ring
): Effect.Effect<{ readonly rotated: number; readonly version: number }, SessionError> =>
  Effect.gen(function*() {
    const refused = checkId("conversation id", id)
    if (refused !== undefined) return yield* failure("encrypted", "rotate", id, refused)
    const { items, version } = yield* inner.loadItems(id)
    const { items: all, rotated } = yield* Effect.mapError(
      Effect.fromResult(resealed(items, mapping, ring)),
      (reason) => failure("encrypted", "rotate", id, reason)
    )
    if (rotated === 0) return { rotated, version }
    const saved = yield* inner.rewrite(id, { through: version, items: all })
    return { rotated, version: saved.version }
  }).pipe(
    Effect.retry({
      while: (error) => error.reason._tag === "VersionConflict",
      schedule: Schedule.recurs(tries).pipe(Schedule.addDelay(() => Effect.succeed("5 millis")), Schedule.jittered)
    })
  )
