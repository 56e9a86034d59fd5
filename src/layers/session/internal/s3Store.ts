/**
 * Conversations in a bucket. The head of a conversation is one object; every change is one conditional write of it, so
 * that it happens whole or not at all. Older items stand in segments: objects that are written before the head that
 * names them, and never changed.
 *
 * A segment is named after the revision of the head that is to bring it in. Once the head has that revision and does not
 * name the segment, nobody ever will: that, and no clock, tells what may be removed.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import type { Commit, Primitives } from "../../../services/Session.ts"
import * as SessionError from "../../../services/SessionError.ts"
import { maxOperations } from "./retention.ts"
import { type Client, type Condition, maxTries, pause, trying } from "./s3Client.ts"
import * as format from "./s3Format.ts"
import type { Head, Row, Segment } from "./s3Format.ts"
import type { Keys } from "./s3Keys.ts"
import * as s3List from "./s3List.ts"

type Reason = SessionError.SessionErrorReason

/** A conversation as it was read. */
interface State {
  /** `undefined` where there is no head yet. */
  readonly etag: string | undefined
  readonly head: Head
  readonly tail: ReadonlyArray<Row>
}

/** What a head is to become. */
interface Draft {
  readonly version: number
  readonly epoch: number
  readonly changedAt: number
  readonly operations: Head["operations"]
  /** Segments that are there, and rows for new ones. */
  readonly parts: ReadonlyArray<Segment | ReadonlyArray<Row>>
  readonly tail: ReadonlyArray<Row>
}

interface Step<A> {
  readonly answer: A
  /** Absent: nothing is to be changed. */
  readonly draft?: Draft
}

/** Where another state would have to be looked at. */
class Moved {
  readonly _tag = "Moved"
}

/** Characters of items that a head may hold before they become a segment. */
const maxTail = 64 * 1_024

/** Characters of a segment that is not joined with others any more. */
const fullSegment = 8 * 1_024 * 1_024

/** How many segments at the end are worth joining. */
const minJoined = 4

/** Of heads in memory, to spare a commit the reading. */
const maxRemembered = 64

/** Characters of segments in memory. They never change, so that a copy is never out of date. */
const maxSegmentCache = 16 * 1_024 * 1_024

const maxMarks = 64

const concurrency = 16

const isRows = (part: Segment | ReadonlyArray<Row>): part is ReadonlyArray<Row> => Array.isArray(part)

const sizeOf = (rows: ReadonlyArray<Row>): number => rows.reduce((sum, row) => sum + row.entry.length + 1, 0)

const unavailable = (description: string, isOutcomeUnknown: boolean, cause?: unknown): Reason =>
  new SessionError.Unavailable({ description, isOutcomeUnknown, ...(cause === undefined ? {} : { cause }) })

/** The reason of a write that failed, with what is known of its outcome. */
const asUnknown = (reason: Reason): Reason =>
  reason._tag === "Unavailable" ? unavailable(reason.description, true, reason.cause) : reason

/** The oldest go first when there are too many. */
const remember = <K, V>(
  map: Map<K, V>,
  key: K,
  value: V,
  isTooMuch: () => boolean,
  onDrop: (value: V) => void
): void => {
  const before = map.get(key)
  if (before !== undefined) onDrop(before)
  map.delete(key)
  map.set(key, value)
  for (const [oldest, dropped] of map) {
    if (!isTooMuch() || oldest === key) return
    map.delete(oldest)
    onDrop(dropped)
  }
}

/** @internal */
export const make = (client: Client, keys: Keys): Omit<Primitives, "backend"> => {
  const heads = new Map<string, State>()
  const segments = new Map<string, { readonly rows: ReadonlyArray<Row>; readonly size: number }>()
  const locks = new Map<string, { readonly semaphore: Semaphore.Semaphore; users: number }>()
  let segmentCharacters = 0
  let hasConditions = false

  const digest = (text: string): string => client.sha256(text).slice(0, 24)

  const recall = (id: string, state: State): State => {
    remember(heads, id, state, () => heads.size > maxRemembered, () => {})
    return state
  }

  const read = Effect.fnUntraced(function*(id: string): Effect.fn.Return<State, Reason> {
    const key = keys.head(id)
    const found = yield* trying(client.get(key))
    if (found === undefined) return { etag: undefined, head: format.empty(id), tail: [] }
    const { head, tail } = yield* Effect.fromResult(format.decode(key, found.body))
    if (head.id !== id) {
      return yield* format.corruptObject(key, "it is the head of another conversation")
    }
    return recall(id, { etag: found.etag, head, tail })
  })

  /** The rows of a segment that count; `Moved` where it is gone. */
  const rowsOf = Effect.fnUntraced(function*(
    id: string,
    segment: Segment
  ): Effect.fn.Return<ReadonlyArray<Row>, Reason | Moved> {
    const key = keys.segment(id, segment.name)
    let rows = segments.get(key)?.rows
    if (rows === undefined) {
      const found = yield* trying(client.get(key))
      if (found === undefined) return yield* Effect.fail(new Moved())
      const size = found.body.length
      rows = yield* Effect.fromResult(format.decodeRows(key, found.body.split("\n"), 0))
      if (size < maxSegmentCache / 2) {
        segmentCharacters += size
        remember(segments, key, { rows, size }, () => segmentCharacters > maxSegmentCache, (dropped) => {
          segmentCharacters -= dropped.size
        })
      }
    }
    return rows.length === segment.items
      ? rows
      : rows.length > segment.items
      ? rows.slice(0, segment.items)
      : yield* format.corruptObject(key, "items are missing")
  })

  const rowsOfAll = (id: string, wanted: ReadonlyArray<Segment>): Effect.Effect<Array<Row>, Reason | Moved> =>
    Effect.map(Effect.forEach(wanted, (segment) => rowsOf(id, segment), { concurrency }), (found) => found.flat())

  /**
   * Reads what a head and its segments say. Segments may go while they are read, with a new head; where one is missing
   * under an unchanged head, it is lost.
   */
  const reading = <A>(
    id: string,
    use: (state: State) => Effect.Effect<A, Reason | Moved>
  ): Effect.Effect<A, Reason> => {
    const attempt = (before: number | undefined): Effect.Effect<A, Reason> =>
      Effect.flatMap(read(id), (state) =>
        Effect.catchIf(
          use(state),
          (error): error is Moved => error instanceof Moved,
          () => before === state.head.revision ? Effect.fail(lost(id)) : attempt(state.head.revision)
        ))
    return attempt(undefined)
  }

  const lost = (id: string): Reason =>
    format.corruptObject(keys.segments(id), "an object that the head of the conversation names is missing")

  /** Best effort: what stays is found by `maintain`. */
  const removeAll = (all: ReadonlyArray<string>): Effect.Effect<void> =>
    all.length === 0 ? Effect.void : Effect.forEach(all, (key) => client.remove(key), { concurrency, discard: true })
      .pipe(Effect.timeout("2 seconds"), Effect.ignore)

  /** A store that takes no notice of conditions would lose commits without a word. */
  const checkConditions = Effect.gen(function*() {
    if (hasConditions) return
    const put = (condition: Condition) => trying(client.put(keys.conditions, "conditions hold\n", condition))
    const there = yield* put({ ifNoneMatch: "*" })
    const isIgnored = (there !== undefined && (yield* put({ ifNoneMatch: "*" })) !== undefined) ||
      (yield* put({ ifMatch: `"${"0".repeat(32)}"` })) !== undefined
    if (isIgnored) {
      return yield* new SessionError.Unsupported({
        description: "The store takes no notice of If-Match or If-None-Match on PUT, so that two writers would lose " +
          "each other's commits. SessionS3 needs a store with conditional writes"
      })
    }
    hasConditions = true
  })

  const writeSegments = Effect.fnUntraced(function*(
    id: string,
    revision: number,
    parts: Draft["parts"]
  ): Effect.fn.Return<ReadonlyArray<Segment>, Reason> {
    return yield* Effect.forEach(parts, (part) => {
      if (!isRows(part)) return Effect.succeed(part)
      const name = `${revision}-${client.nonce()}`
      const body = format.encodeRows(part)
      const segment: Segment = { name, items: part.length, last: part.at(-1)!.commit, size: body.length }
      // Where it is there already, an earlier try brought it there.
      return Effect.as(trying(client.put(keys.segment(id, name), body, { ifNoneMatch: "*" })), segment)
    }, { concurrency: 4 })
  })

  /**
   * Writes the head, or fails with `Moved` where somebody else was first. After a try of which the outcome is unknown
   * it looks whether the mark of this write is there; while the head is the one that the write was made for, the same
   * write is tried again, which does no harm where the first one comes late.
   */
  const writeHead = Effect.fnUntraced(function*(
    id: string,
    before: State,
    head: Head,
    tail: ReadonlyArray<Row>
  ): Effect.fn.Return<void, Reason | Moved> {
    const key = keys.head(id)
    const body = format.encodeHead(head, tail)
    const mark = head.marks.at(-1)!
    const condition: Condition = before.etag === undefined ? { ifNoneMatch: "*" } : { ifMatch: before.etag }
    let isUncertain = false

    const isOurs = (now: State): boolean | undefined => {
      const index = now.head.marks.length - 1 - (now.head.revision - head.revision)
      return index < 0 ? undefined : now.head.marks[index] === mark
    }
    /** `true`: it happened. `false`: it did not and may be tried again. */
    const look = Effect.gen(function*() {
      const now = yield* Effect.mapError(read(id), asUnknown)
      if (now.head.revision < head.revision) return false
      const ours = isOurs(now)
      if (ours === true) return true
      return yield* Effect.fail(
        ours === false ? new Moved() : unavailable("The answer to the commit was lost, and others followed", true)
      )
    })

    for (let tries = 1;; tries++) {
      const result = yield* Effect.result(client.put(key, body, condition))
      if (Result.isSuccess(result)) {
        if (result.success !== undefined) {
          recall(id, { etag: result.success, head, tail })
          return
        }
        if (!isUncertain) return yield* Effect.fail(new Moved())
      } else isUncertain ||= result.failure.isUncertain
      if (isUncertain && (yield* look)) return
      if (Result.isSuccess(result)) {
        if (tries >= maxTries) return yield* unavailable("Another write is under way", true)
      } else if (!result.failure.isTransient || tries >= maxTries) {
        return yield* (isUncertain ? asUnknown(result.failure.reason) : result.failure.reason)
      }
      yield* pause(tries)
    }
  })

  const commit = Effect.fnUntraced(function*(
    id: string,
    before: State,
    draft: Draft
  ): Effect.fn.Return<void, Reason | Moved> {
    yield* checkConditions
    const revision = before.head.revision + 1
    const written = yield* writeSegments(id, revision, draft.parts)
    const head: Head = {
      format: 1,
      id,
      version: draft.version,
      epoch: draft.epoch,
      changedAt: draft.changedAt,
      items: written.reduce((sum, segment) => sum + segment.items, draft.tail.length),
      revision,
      marks: [...before.head.marks.slice(1 - maxMarks), client.nonce()],
      segmented: before.head.segmented || written.length > 0,
      segments: written,
      operations: draft.operations
    }
    const added = written.filter((segment) => draft.parts.every((part) => part !== segment))
    const keyOf = (segment: Segment) => keys.segment(id, segment.name)
    yield* Effect.tapError(
      writeHead(id, before, head, draft.tail),
      (error) => error instanceof Moved ? removeAll(added.map(keyOf)) : Effect.void
    )
    const names = new Set(written.map((segment) => segment.name))
    yield* removeAll(before.head.segments.filter((segment) => !names.has(segment.name)).map(keyOf))
  })

  /** One writer of this process at a time: they would only get in each other's way. */
  const alone = <A, E>(id: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        let lock = locks.get(id)
        if (lock === undefined) locks.set(id, lock = { semaphore: Semaphore.makeUnsafe(1), users: 0 })
        lock.users++
        return lock
      }),
      (lock) => lock.semaphore.withPermit(effect),
      (lock) =>
        Effect.sync(() => {
          if (--lock.users === 0) locks.delete(id)
        })
    )

  /** Changes a conversation, from the state that is remembered at first: what it leads to only counts when written. */
  const update = <A>(
    id: string,
    change: (state: State) => Effect.Effect<Step<A>, Reason | Moved>,
    { isFresh = false }: { readonly isFresh?: boolean } = {}
  ): Effect.Effect<A, Reason> =>
    alone(
      id,
      Effect.gen(function*() {
        const remembered = isFresh ? undefined : heads.get(id)
        if (remembered !== undefined) {
          const step = yield* Effect.result(change(remembered))
          if (Result.isSuccess(step) && step.success.draft !== undefined) {
            const done = yield* settle(commit(id, remembered, step.success.draft))
            if (done) return step.success.answer
          }
        }
        let missing: number | undefined
        for (let tries = 1;; tries++) {
          const state = yield* read(id)
          const step = yield* Effect.result(change(state))
          if (Result.isFailure(step)) {
            if (!(step.failure instanceof Moved)) return yield* step.failure
            if (missing === state.head.revision) return yield* lost(id)
            missing = state.head.revision
            continue
          }
          const { answer, draft } = step.success
          if (draft === undefined || (yield* settle(commit(id, state, draft)))) return answer
          yield* pause(Math.min(tries, 4))
        }
      })
    )

  const settle = (written: Effect.Effect<void, Reason | Moved>): Effect.Effect<boolean, Reason> =>
    Effect.catchIf(
      Effect.as(written, true),
      (error): error is Moved => error instanceof Moved,
      () => Effect.succeed(false)
    )

  /** Rows at the end of a conversation: in the head while they are few. */
  const ending = (rows: ReadonlyArray<Row>): Pick<Draft, "parts" | "tail"> =>
    sizeOf(rows) > maxTail ? { parts: [rows], tail: [] } : { parts: [], tail: rows }

  const save = (id: string, { entries, expectedVersion, fingerprint, meta, operationId, savedAt }: Commit) => {
    const operation = operationId === undefined ? undefined : digest(operationId)
    const content = fingerprint === undefined ? "" : digest(fingerprint)
    return update(id, ({ head, tail }): Effect.Effect<Step<{ readonly version: number }>, Reason> => {
      const known = operation === undefined ? undefined : head.operations.find(([one]) => one === operation)
      if (known !== undefined) {
        return known[1] === content
          ? Effect.succeed({ answer: { version: known[2] } })
          : Effect.fail(new SessionError.OperationMismatch({ operationId: operationId! }))
      }
      if (expectedVersion !== undefined && expectedVersion !== head.version) {
        return Effect.fail(new SessionError.VersionConflict({ expected: expectedVersion, actual: head.version }))
      }
      const version = head.version + 1
      const end = ending([...tail, ...entries.map((entry): Row => ({ entry, commit: version, savedAt, meta }))])
      return Effect.succeed({
        answer: { version },
        draft: {
          version,
          epoch: head.epoch,
          changedAt: savedAt,
          operations: operation === undefined
            ? head.operations
            : [...head.operations.slice(1 - maxOperations), [operation, content, version]],
          parts: [...head.segments, ...end.parts],
          tail: end.tail
        }
      })
    })
  }

  const load = (id: string, { known, maxItems }: Parameters<Primitives["load"]>[1]) =>
    reading(id, ({ head, tail }) =>
      Effect.gen(function*() {
        const { epoch, items, version } = head
        const entriesOf = (rows: ReadonlyArray<Row>) => rows.map((row) => row.entry)
        if (known !== undefined && known >= epoch && known <= version) {
          const since = head.segments.filter((segment) => segment.last > known)
          const rows = (yield* rowsOfAll(id, since)).concat(tail)
          const first = rows.findLastIndex((row) => row.commit <= known) + 1
          if (maxItems === undefined || rows.length - first <= maxItems) {
            return { entries: entriesOf(rows.slice(first)), version, isSuffix: true }
          }
        }
        const wanted = Math.min(maxItems ?? items, items)
        let first = head.segments.length
        let found = tail.length
        while (found < wanted) found += head.segments[--first]!.items
        const rows = (yield* rowsOfAll(id, head.segments.slice(first))).concat(tail)
        return { entries: entriesOf(rows.slice(rows.length - wanted)), version, isSuffix: known === 0 && version === 0 }
      }))

  const rewrite: NonNullable<Primitives["rewrite"]> = (id, { entries, savedAt, through }) =>
    update(
      id,
      ({ head, tail }) =>
        Effect.gen(function*(): Effect.fn.Return<Step<{ readonly version: number }>, Reason | Moved> {
          if (through > head.version || through < head.epoch) {
            return yield* new SessionError.VersionConflict({ expected: through, actual: head.version })
          }
          const version = head.version + 1
          // The segment that holds the last row that goes may hold rows that stay.
          const kept = head.segments.findLastIndex((segment) => segment.last <= through) + 1
          const isInSegment = kept < head.segments.length
          const mixed = isInSegment ? yield* rowsOf(id, head.segments[kept]!) : tail
          const rows = entries.map((entry): Row => ({ entry, commit: version, savedAt, meta: undefined }))
            .concat(mixed.slice(mixed.findLastIndex((row) => row.commit <= through) + 1))
          return {
            answer: { version },
            draft: {
              version,
              epoch: version,
              changedAt: savedAt,
              operations: head.operations,
              ...(isInSegment
                ? { parts: [...(rows.length === 0 ? [] : [rows]), ...head.segments.slice(kept + 1)], tail }
                : ending(rows))
            }
          }
        })
    )

  const pop: NonNullable<Primitives["pop"]> = (id, check, savedAt) =>
    update(id, ({ head, tail }) =>
      Effect.gen(function*(): Effect.fn.Return<Step<string | undefined>, Reason | Moved> {
        if (head.items === 0) return { answer: undefined }
        const segment = head.segments.at(-1)
        const isInTail = tail.length > 0
        const rows = isInTail ? tail : yield* rowsOf(id, segment!)
        const { entry } = rows.at(-1)!
        const refused = check(entry)
        if (refused !== undefined) return yield* refused
        const version = head.version + 1
        const before = head.segments.slice(0, -1)
        return {
          answer: entry,
          draft: {
            version,
            epoch: version,
            changedAt: savedAt,
            operations: head.operations,
            parts: isInTail
              ? head.segments
              : rows.length === 1
              ? before
              : [...before, { ...segment!, items: segment!.items - 1, last: rows.at(-2)!.commit }],
            tail: tail.slice(0, -1)
          }
        }
      }), { isFresh: true }) // Nothing is checked that is no longer the last item.

  const clear: NonNullable<Primitives["clear"]> = (id, savedAt) =>
    update(id, ({ head }) => {
      const version = head.version + 1
      const { operations } = head
      return Effect.succeed(
        head.items === 0
          ? { answer: undefined }
          : {
            answer: undefined,
            draft: { version, epoch: version, changedAt: savedAt, operations, parts: [], tail: [] }
          }
      )
    })

  const page: NonNullable<Primitives["page"]> = (id, { after, limit }) =>
    reading(id, ({ head, tail }) =>
      Effect.gen(function*() {
        // Sequences are places: all that moves an item ends the epoch.
        let sequence = 0
        let start: number | undefined
        const rows: Array<Row> = []
        for (const part of [...head.segments, tail]) {
          const count = isRows(part) ? part.length : part.items
          if (sequence + count > after && (start === undefined || start + rows.length < after + limit)) {
            start ??= sequence
            const found = isRows(part) ? part : yield* rowsOf(id, part)
            for (const row of found) rows.push(row)
          }
          sequence += count
        }
        const skipped = Math.max(0, after - (start ?? 0))
        return {
          epoch: head.epoch,
          rows: rows.slice(skipped, skipped + limit).map((row, index) => ({
            sequence: (start ?? 0) + skipped + index + 1,
            ...row
          }))
        }
      }))

  /** Joins segments at the end that are not larger than all that follows them, so that only few are ever there. */
  const join = (id: string) =>
    update(id, ({ head, tail }) =>
      Effect.gen(function*(): Effect.fn.Return<Step<void>, Reason | Moved> {
        const { changedAt, epoch, operations, version } = head
        let first = head.segments.length
        let size = 0
        while (first > 0) {
          const before = head.segments[first - 1]!.size
          if (before + size > fullSegment || (first < head.segments.length && before > 2 * size)) break
          size += before
          first--
        }
        if (head.segments.length - first < minJoined) return { answer: undefined }
        const rows = yield* rowsOfAll(id, head.segments.slice(first))
        const parts = [...head.segments.slice(0, first), rows]
        return { answer: undefined, draft: { version, epoch, changedAt, operations, parts, tail } }
      }))

  const maintain = Effect.fnUntraced(function*(id: string): Effect.fn.Return<void, Reason> {
    if (!(heads.get(id) ?? (yield* read(id))).head.segmented) return
    yield* join(id)
    const there: Array<string> = []
    let token: string | undefined
    do {
      const next: { readonly keys: ReadonlyArray<string>; readonly token: string | undefined } = yield* trying(
        client.list({ prefix: keys.segments(id), token })
      )
      there.push(...next.keys)
      token = next.token
    } while (token !== undefined)
    if (there.length === 0) return
    const { head } = yield* read(id)
    const named = new Set(head.segments.map((segment) => keys.segment(id, segment.name)))
    const from = keys.segments(id).length
    yield* removeAll(there.filter((key) => !named.has(key) && Number.parseInt(key.slice(from), 10) <= head.revision))
  })

  return {
    versions: true,
    operations: true,
    load,
    save,
    rewrite,
    pop,
    clear,
    page,
    list: s3List.make(client, keys),
    maintain
  }
}
