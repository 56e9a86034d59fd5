import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Commit, Conversation } from "../../../services/Session.ts"
import { Meta } from "../../../services/Session.ts"
import * as SessionError from "../../../services/SessionError.ts"
import { expiredBefore, maxOperations } from "./retention.ts"
import type { ConversationRow, Statements } from "./sqliteStatements.ts"

type Outcome<A> = Result.Result<A, SessionError.SessionErrorReason>

interface Version {
  readonly version: number
}

const decodeMeta = Schema.decodeUnknownOption(Schema.fromJsonString(Meta))

/** Deleting the oldest each time would cost more than the commit itself. */
const operationsSlack = 64

const open = (sql: Statements, id: string, savedAt: number): ConversationRow =>
  sql.conversation(id) ??
    { key: sql.addConversation.first(id, savedAt)![0], version: 0, epoch: 0, sequence: 0, items: 0 }

const change = (sql: Statements, row: ConversationRow, changedAt: number): void =>
  sql.changeConversation(row.version, row.epoch, row.sequence, row.items, changedAt, row.key)

const forgetOperations = (sql: Statements, key: number, now: number): void => {
  sql.removeExpiredOperations(key, expiredBefore(now))
  sql.removeOldestOperations(key, maxOperations)
}

const texts = (rows: ReadonlyArray<readonly [entry: string]>): Array<string> => rows.map(([entry]) => entry)

/** @internal */
export const load = (
  id: string,
  { known, maxItems }: { readonly maxItems: number | undefined; readonly known: number | undefined }
) =>
(sql: Statements): Outcome<{ entries: ReadonlyArray<string>; version: number; isSuffix: boolean }> => {
  const row = sql.conversation(id)
  if (row === undefined) return Result.succeed({ entries: [], version: 0, isSuffix: known === 0 })
  const { epoch, items, key, version } = row
  if (known !== undefined && known >= epoch && known <= version) {
    const entries = known === version
      ? []
      : texts(sql.entriesAfter.all(key, sql.lastSequenceThrough.first(key, known)?.[0] ?? 0))
    if (maxItems === undefined || entries.length <= maxItems) {
      return Result.succeed({ entries, version, isSuffix: true })
    }
  }
  const entries = maxItems === 0
    ? []
    : maxItems === undefined || maxItems >= items
    ? texts(sql.entries.all(key))
    : texts(sql.latestEntries.all(key, maxItems)).reverse()
  return Result.succeed({ entries, version, isSuffix: false })
}

/** @internal */
export const save = (id: string, commit: Commit) => (sql: Statements): Outcome<Version> => {
  const { entries, expectedVersion, fingerprint, operationId, savedAt } = commit
  const before = sql.conversation(id)
  if (before !== undefined && operationId !== undefined) {
    const done = sql.operation.first(before.key, operationId)
    if (done !== undefined) {
      return done[0] === fingerprint
        ? Result.succeed({ version: done[1] })
        : Result.fail(new SessionError.OperationMismatch({ operationId }))
    }
  }
  const actual = before?.version ?? 0
  if (expectedVersion !== undefined && expectedVersion !== actual) {
    return Result.fail(new SessionError.VersionConflict({ expected: expectedVersion, actual }))
  }
  const row = before ?? open(sql, id, savedAt)
  const version = actual + 1
  const meta = commit.meta === undefined ? null : JSON.stringify(commit.meta)
  let { sequence } = row
  for (const entry of entries) sql.addItem(row.key, ++sequence, version, savedAt, meta, entry)
  change(sql, { ...row, version, sequence, items: row.items + entries.length }, savedAt)
  if (operationId !== undefined) {
    sql.addOperation(row.key, operationId, fingerprint!, version, savedAt)
    if (version % operationsSlack === 0) forgetOperations(sql, row.key, savedAt)
  }
  return Result.succeed({ version })
}

/** @internal */
export const rewrite = (
  id: string,
  { entries, savedAt, through }: {
    readonly through: number
    readonly entries: ReadonlyArray<string>
    readonly savedAt: number
  }
) =>
(sql: Statements): Outcome<Version> => {
  const before = sql.conversation(id)
  const actual = before?.version ?? 0
  if (through > actual || through < (before?.epoch ?? 0)) {
    return Result.fail(new SessionError.VersionConflict({ expected: through, actual }))
  }
  const row = before ?? open(sql, id, savedAt)
  const version = actual + 1
  const replaced = sql.lastSequenceThrough.first(row.key, through)?.[0] ?? 0
  sql.removeItemsThrough(row.key, replaced)
  // What stays keeps its numbers, unless more comes before it than went.
  const shift = Math.max(0, entries.length - replaced)
  const isMoved = shift > 0 && row.sequence > replaced
  if (isMoved) {
    sql.negateSequences(shift, row.key)
    sql.restoreSequences(row.key)
  }
  let sequence = Math.max(0, replaced - entries.length)
  for (const entry of entries) sql.addItem(row.key, ++sequence, version, savedAt, null, entry)
  const last = isMoved ? row.sequence + shift : Math.max(row.sequence, sequence)
  const items = sql.count.first(row.key)![0]
  change(sql, { ...row, version, epoch: version, sequence: last, items }, savedAt)
  return Result.succeed({ version })
}

/** @internal */
export const pop = (
  id: string,
  check: (entry: string) => SessionError.SessionErrorReason | undefined,
  savedAt: number
) =>
(sql: Statements): Outcome<string | undefined> => {
  const row = sql.conversation(id)
  const last = row && sql.lastItem.first(row.key)
  if (row === undefined || last === undefined) return Result.succeed(undefined)
  const [sequence, entry] = last
  const refused = check(entry)
  if (refused !== undefined) return Result.fail(refused)
  sql.removeItem(row.key, sequence)
  const version = row.version + 1
  change(sql, { ...row, version, epoch: version, items: row.items - 1 }, savedAt)
  return Result.succeed(entry)
}

/** @internal */
export const clear = (id: string, savedAt: number) => (sql: Statements): Outcome<void> => {
  const row = sql.conversation(id)
  if (row === undefined || row.items === 0) return Result.void
  sql.removeItems(row.key)
  const version = row.version + 1
  change(sql, { ...row, version, epoch: version, items: 0 }, savedAt)
  return Result.void
}

/** @internal */
export const page =
  (id: string, { after, limit }: { readonly after: number; readonly limit: number }) => (sql: Statements) => {
    const row = sql.conversation(id)
    if (row === undefined) return Result.succeed({ epoch: 0, rows: [] })
    const rows = sql.page.all(row.key, after, limit).map(([sequence, entry, commit, savedAt, meta]) => ({
      sequence,
      entry,
      commit,
      savedAt,
      meta: meta === null ? undefined : Option.getOrUndefined(decodeMeta(meta))
    }))
    return Result.succeed({ epoch: row.epoch, rows })
  }

/** @internal */
export const list = (
  { after = "", limit, prefix }: {
    readonly prefix: string
    readonly after: string | undefined
    readonly limit: number
  }
) =>
(sql: Statements): Outcome<ReadonlyArray<Conversation>> => {
  const found: Array<Conversation> = []
  for (const [id, version, changedAt] of sql.conversations.all(after, prefix, limit)) {
    // Ids that begin with the prefix follow one another.
    if (!id.startsWith(prefix)) break
    found.push({ id, version, changedAt })
  }
  return Result.succeed(found)
}

/** @internal */
export const maintain = (id: string, now: number) => (sql: Statements): Outcome<void> => {
  const row = sql.conversation(id)
  if (row !== undefined) forgetOperations(sql, row.key, now)
  return Result.void
}
