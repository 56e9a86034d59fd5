import * as Result from "effect/Result"
import type { Commit, Conversation, Meta } from "../../../services/Session.ts"
import * as SessionError from "../../../services/SessionError.ts"
import { expiredBefore, maxOperations } from "./retention.ts"

interface Row {
  readonly sequence: number
  entry: string
  readonly commit: number
  readonly savedAt: number
  readonly meta: Meta | undefined
}

interface Operation {
  readonly fingerprint: string
  readonly version: number
  readonly savedAt: number
}

interface State {
  version: number
  /** The version that the last rewrite, pop or clear left. */
  epoch: number
  /** Of the last row that was added. */
  sequence: number
  changedAt: number
  rows: Array<Row>
  /** Oldest first. */
  readonly operations: Map<string, Operation>
}

export interface MemoryStore {
  readonly conversations: Map<string, State>
}

/** @internal */
export const make = (): MemoryStore => ({ conversations: new Map() })

const open = (store: MemoryStore, id: string): State => {
  let state = store.conversations.get(id)
  if (state === undefined) {
    state = { version: 0, epoch: 0, sequence: 0, changedAt: 0, rows: [], operations: new Map() }
    store.conversations.set(id, state)
  }
  return state
}

const forgetOperations = ({ operations }: State, now: number): void => {
  for (const [operationId, { savedAt }] of operations) {
    if (operations.size <= maxOperations && savedAt >= expiredBefore(now)) return
    operations.delete(operationId)
  }
}

/** @internal */
export const load = (
  store: MemoryStore,
  id: string,
  { known, maxItems = Infinity }: { readonly maxItems: number | undefined; readonly known: number | undefined }
): { readonly entries: ReadonlyArray<string>; readonly version: number; readonly isSuffix: boolean } => {
  const state = store.conversations.get(id)
  if (state === undefined) return { entries: [], version: 0, isSuffix: known === 0 }
  const { epoch, rows, version } = state
  let since = 0
  let isSuffix = known !== undefined && known >= epoch && known <= version
  if (isSuffix) {
    since = rows.length
    while (since > 0 && rows[since - 1]!.commit > known!) since--
    isSuffix = rows.length - since <= maxItems
  }
  const from = isSuffix ? since : Math.max(0, rows.length - maxItems)
  const entries: Array<string> = []
  for (let index = from; index < rows.length; index++) entries.push(rows[index]!.entry)
  return { entries, version, isSuffix }
}

/** @internal */
export const save = (
  store: MemoryStore,
  id: string,
  commit: Commit
): Result.Result<{ readonly version: number }, SessionError.SessionErrorReason> => {
  const { entries, expectedVersion, fingerprint, meta, operationId, savedAt } = commit
  const state = store.conversations.get(id)
  const before = operationId === undefined ? undefined : state?.operations.get(operationId)
  if (before !== undefined) {
    return before.fingerprint === fingerprint
      ? Result.succeed({ version: before.version })
      : Result.fail(new SessionError.OperationMismatch({ operationId: operationId! }))
  }
  const actual = state?.version ?? 0
  if (expectedVersion !== undefined && expectedVersion !== actual) {
    return Result.fail(new SessionError.VersionConflict({ expected: expectedVersion, actual }))
  }
  const next = open(store, id)
  const version = ++next.version
  next.changedAt = savedAt
  for (const entry of entries) next.rows.push({ sequence: ++next.sequence, entry, commit: version, savedAt, meta })
  if (operationId !== undefined) {
    next.operations.set(operationId, { fingerprint: fingerprint!, version, savedAt })
    forgetOperations(next, savedAt)
  }
  return Result.succeed({ version })
}

/** @internal */
export const rewrite = (
  store: MemoryStore,
  id: string,
  { entries, savedAt, through }: {
    readonly through: number
    readonly entries: ReadonlyArray<string>
    readonly savedAt: number
  }
): Result.Result<{ readonly version: number }, SessionError.SessionErrorReason> => {
  const before = store.conversations.get(id)
  const actual = before?.version ?? 0
  if (through > actual || through < (before?.epoch ?? 0)) {
    return Result.fail(new SessionError.VersionConflict({ expected: through, actual }))
  }
  const state = open(store, id)
  const version = ++state.version
  const later = state.rows.filter((row) => row.commit > through)
  let sequence = 0
  state.rows = [
    ...entries.map((entry) => ({ sequence: ++sequence, entry, commit: version, savedAt, meta: undefined })),
    ...later.map((row) => ({ ...row, sequence: ++sequence }))
  ]
  state.sequence = sequence
  state.epoch = version
  state.changedAt = savedAt
  return Result.succeed({ version })
}

/** @internal */
export const pop = (
  store: MemoryStore,
  id: string,
  check: (entry: string) => SessionError.SessionErrorReason | undefined,
  savedAt: number
): Result.Result<string | undefined, SessionError.SessionErrorReason> => {
  const state = store.conversations.get(id)
  const last = state?.rows.at(-1)
  if (state === undefined || last === undefined) return Result.succeed(undefined)
  const refused = check(last.entry)
  if (refused !== undefined) return Result.fail(refused)
  state.rows.pop()
  state.epoch = ++state.version
  state.changedAt = savedAt
  return Result.succeed(last.entry)
}

/** @internal */
export const clear = (store: MemoryStore, id: string, savedAt: number): void => {
  const state = store.conversations.get(id)
  if (state === undefined || state.rows.length === 0) return
  state.rows = []
  state.epoch = ++state.version
  state.changedAt = savedAt
}

/** @internal */
export const page = (
  store: MemoryStore,
  id: string,
  { after, limit }: { readonly after: number; readonly limit: number }
): { readonly epoch: number; readonly rows: ReadonlyArray<Row> } => {
  const state = store.conversations.get(id)
  if (state === undefined) return { epoch: 0, rows: [] }
  const start = state.rows.findIndex((row) => row.sequence > after)
  return { epoch: state.epoch, rows: start < 0 ? [] : state.rows.slice(start, start + limit) }
}

/** Code points, as the bytes of UTF-8 compare, where JavaScript compares code units. */
const compare = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index++) {
    const left = a.charCodeAt(index)
    const right = b.charCodeAt(index)
    if (left === right) continue
    const isLeftSurrogate = left >= 0xd800 && left <= 0xdfff
    const isRightSurrogate = right >= 0xd800 && right <= 0xdfff
    return isLeftSurrogate === isRightSurrogate ? left - right : isLeftSurrogate ? 1 : -1
  }
  return a.length - b.length
}

/** @internal */
export const list = (
  store: MemoryStore,
  { after, limit, prefix }: {
    readonly prefix: string
    readonly after: string | undefined
    readonly limit: number
  }
): ReadonlyArray<Conversation> => {
  const found: Array<Conversation> = []
  for (const [id, { changedAt, rows, version }] of store.conversations) {
    if (rows.length > 0 && id.startsWith(prefix) && (after === undefined || compare(id, after) > 0)) {
      found.push({ id, version, changedAt })
    }
  }
  return found.sort((a, b) => compare(a.id, b.id)).slice(0, limit)
}

/** @internal */
export const maintain = (store: MemoryStore, id: string, now: number): void => {
  const state = store.conversations.get(id)
  if (state !== undefined) forgetOperations(state, now)
}
