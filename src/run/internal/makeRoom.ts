import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as HashSet from "effect/HashSet"
import * as History from "../../services/History.ts"
import type { Item } from "../../services/Item.ts"
import { isModelError } from "../../services/ModelError.ts"
import type { Loaded, Session } from "../../services/Session.ts"
import { SessionError, VersionConflict } from "../../services/SessionError.ts"
import { loadHistory } from "./loadHistory.ts"
import type { Run } from "./state.ts"
import { stepName } from "./state.ts"

/** Whether a compaction of the conversation may help: once a run, and only if the stream showed no part of an answer. */
export const isTooLong = (run: Run, error: unknown): boolean =>
  !run.isCompacted && run.session?.capabilities.versions === true && run.version !== 0 && run.options.maxItems !== 0 &&
  isModelError(error) && error.reason._tag === "ContextLengthExceeded" && !error.reason.isPartial

/** Whether one is the beginning of the other: a commit, a pop or a clear of another writer. */
const isForeign = (before: ReadonlyArray<Item>, after: ReadonlyArray<Item>): boolean =>
  before.slice(0, after.length).every((item, index) => Equal.equals(item, after[index]))

/**
 * Has the session compact the conversation. Answers with the same version if the session changed nothing. Fails with
 * `VersionConflict` if anything else changed the conversation since this run last saw it.
 */
const compact = Effect.fnUntraced(function*(
  session: Session["Service"],
  id: string,
  expected: number
): Effect.fn.Return<Loaded, SessionError> {
  const conflict = (actual: number) =>
    Effect.fail(
      new SessionError({
        backend: "run",
        operation: "maintain",
        conversationId: id,
        reason: new VersionConflict({ expected, actual })
      })
    )
  const before = yield* session.loadItems(id)
  if (before.version !== expected) return yield* conflict(before.version)
  yield* Effect.catchCause(session.maintain(id, { reason: "overflow" }), (cause) =>
    Cause.hasInterruptsOnly(cause)
      ? Effect.interrupt
      : Effect.logWarning("The conversation exceeds the model's context, and its compaction failed", cause))
  const after = yield* session.loadItems(id)
  if (after.version === expected) return after
  return after.version > expected + 1 || isForeign(before.items, after.items)
    ? yield* conflict(after.version)
    : after
})

/** The items that the model sees, with the result in the place of those that were compacted; `undefined` for none. */
const replaceIn = (
  view: ReadonlyArray<Item>,
  stored: ReadonlyArray<Item>,
  history: ReadonlyArray<Item>
): ReadonlyArray<Item> | undefined => {
  const [before, after] = [HashSet.fromIterable(stored), HashSet.fromIterable(history)]
  const isGone = (item: Item) => HashSet.has(before, item) && !HashSet.has(after, item)
  const first = view.findIndex(isGone)
  if (first === -1) return undefined
  const made = history.filter((item) => !HashSet.has(before, item))
  const kept = view.slice(first).filter((item) => !isGone(item))
  return History.repair([...view.slice(0, first), ...made, ...kept], [], [...made, ...view])
}

/**
 * Compacts the conversation that the model refused as too long, and continues on the result. Answers whether the next
 * request is another one.
 */
export const makeRoom = Effect.fnUntraced(function*(run: Run): Effect.fn.Return<boolean, SessionError> {
  run.isCompacted = true
  const { conversationId, session } = run
  const { version, items: compacted } = yield* loadHistory(
    run,
    stepName(run, "compact"),
    {},
    compact(session!, conversationId!, run.version!)
  )
  if (version === run.version) return false
  const stored = run.items.slice(0, run.uncommitted)
  const late = run.items.slice(run.uncommitted)
  const { maxItems } = run.options
  // The limit is for the history before this run.
  const limit = maxItems === undefined ? Infinity : maxItems + run.input.length + run.newItems.length - late.length
  const history = History.repair(
    compacted.length > limit ? History.afterCut(compacted.slice(compacted.length - limit)) : compacted,
    late
  )
  const isWhole = run.view === run.items
  const view = replaceIn(run.view, stored, history)
  run.items = history.concat(late)
  run.uncommitted = history.length
  run.version = version
  if (isWhole) run.view = run.items
  else if (view !== undefined) run.view = view.slice()
  // A run that is carried out again finds only what its own compaction left.
  return view !== undefined || (isWhole && stored.length === 0)
})
