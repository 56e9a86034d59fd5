import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as HashSet from "effect/HashSet"
import * as MutableHashMap from "effect/MutableHashMap"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as History from "../../services/History.ts"
import { Item } from "../../services/Item.ts"
import { isModelError } from "../../services/ModelError.ts"
import type { Loaded, Session } from "../../services/Session.ts"
import { SessionError, VersionConflict } from "../../services/SessionError.ts"
import { loadAt } from "./loadHistory.ts"
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
 * Has the session compact the conversation. The version stays the same if the session changed nothing. Fails with
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

/**
 * The items that the model sees, with the result in the place of those that were compacted; `undefined` for none. Items
 * may be equal, and a compaction replaces the first ones: the last ones stay.
 */
const replaceIn = (
  view: ReadonlyArray<Item>,
  stored: ReadonlyArray<Item>,
  history: ReadonlyArray<Item>,
  late: ReadonlyArray<Item>
): ReadonlyArray<Item> | undefined => {
  const before = HashSet.fromIterable(stored)
  const left = MutableHashMap.empty<Item, number>()
  for (const item of [...history, ...late]) {
    MutableHashMap.set(left, item, Option.getOrElse(MutableHashMap.get(left, item), () => 0) + 1)
  }
  const kept: Array<Item> = []
  let first: number | undefined
  for (let index = view.length - 1; index >= 0; index--) {
    const item = view[index]!
    const count = Option.getOrElse(MutableHashMap.get(left, item), () => 0)
    if (count === 0 && HashSet.has(before, item)) first = index
    else {
      kept.push(item)
      if (count > 0) MutableHashMap.set(left, item, count - 1)
    }
  }
  if (first === undefined) return undefined
  const made = history.filter((item) => !HashSet.has(before, item))
  return History.repair([...view.slice(0, first), ...made, ...kept.reverse().slice(first)], [], [...made, ...view])
}

/** The history of the run, compacted; `maxItems` is for what was there before the run. */
const historyOf = (run: Run, compacted: ReadonlyArray<Item>, late: ReadonlyArray<Item>): ReadonlyArray<Item> => {
  const { maxItems } = run.options
  const limit = maxItems === undefined ? Infinity : maxItems + run.input.length + run.newItems.length - late.length
  return History.repair(
    compacted.length > limit ? History.afterCut(compacted.slice(compacted.length - limit)) : compacted,
    late
  )
}

/** `view` is absent if the model sees the conversation itself. */
const Compaction = Schema.Struct({
  version: Schema.Int,
  isSmaller: Schema.Boolean,
  view: Schema.optionalKey(Schema.Array(Item))
})

const schemas = () => ({ success: Compaction, error: SessionError })

/**
 * Compacts the conversation that the model refused as too long, and continues on the result. Returns whether the next
 * request is another one.
 *
 * The answer and the view are recorded: a run that is carried out again no longer finds the items that were compacted.
 */
export const makeRoom = Effect.fnUntraced(function*(run: Run): Effect.fn.Return<boolean, SessionError> {
  run.isCompacted = true
  const { conversationId, journal, session, version: expected } = run
  const late = run.items.slice(run.uncommitted)
  const isWhole = run.view === run.items
  let loaded: Loaded | undefined
  const { isSmaller, version, view } = yield* journal.step(
    { runId: run.id, name: stepName(run, "compact") },
    schemas,
    Effect.map(compact(session!, conversationId!, expected!), (compacted) => {
      loaded = compacted
      const { items, version } = compacted
      if (version === expected) return { version, isSmaller: false }
      const view = replaceIn(run.view, run.items.slice(0, run.uncommitted), historyOf(run, items, late), late)
      return { version, isSmaller: view !== undefined, ...(isWhole || view === undefined ? {} : { view }) }
    })
  )
  if (version === expected) return false
  const { items } = yield* loadAt(run, version, {}, loaded)
  const history = historyOf(run, items, late)
  run.items = history.concat(late)
  run.uncommitted = history.length
  run.version = version
  if (isWhole) run.view = run.items
  else if (view !== undefined) run.view = view.slice()
  return isSmaller
})
