/**
 * What the objects hold. A segment is lines: one that tells of a commit, then its items, one to a line. A head is a line
 * of JSON, then the latest items in the form of a segment.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Meta } from "../../../services/Session.ts"
import * as SessionError from "../../../services/SessionError.ts"

/** @internal */
export interface Row {
  readonly entry: string
  readonly commit: number
  readonly savedAt: number
  readonly meta: Meta | undefined
}

const Segment = Schema.Struct({
  name: Schema.String,
  /** How many of its items count, from its beginning. */
  items: Schema.Int,
  /** The commit of the last of them. */
  last: Schema.Int,
  size: Schema.Int
})

/** @internal */
export interface Segment extends Schema.Schema.Type<typeof Segment> {}

const Head = Schema.Struct({
  format: Schema.Literal(1),
  id: Schema.String,
  version: Schema.Int,
  /** The version that the last rewrite, pop or clear left. */
  epoch: Schema.Int,
  changedAt: Schema.Finite,
  /** Of all items, those in segments and those below this line. */
  items: Schema.Int,
  /** Counts the writes of this object; a segment is named after the one that brings it in. */
  revision: Schema.Int,
  /** What each of the latest writes was signed with, this one last. */
  marks: Schema.Array(Schema.String),
  /** Whether there ever was a segment. */
  segmented: Schema.Boolean,
  segments: Schema.Array(Segment),
  /** Digest of the operation id, digest of the fingerprint, the version it left; oldest first. */
  operations: Schema.Array(Schema.Tuple([Schema.String, Schema.String, Schema.Int]))
})

/** @internal */
export interface Head extends Schema.Schema.Type<typeof Head> {}

const decodeHead = Schema.decodeUnknownResult(Schema.fromJsonString(Head))
const decodeFormat = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Struct({ format: Schema.Finite })))

const CommitLine = Schema.Struct({
  commit: Schema.Int,
  items: Schema.Int,
  savedAt: Schema.Finite,
  meta: Schema.optionalKey(Meta)
})
const decodeCommit = Schema.decodeUnknownResult(Schema.fromJsonString(CommitLine))

/** @internal */
export const empty = (id: string): Head => ({
  format: 1,
  id,
  version: 0,
  epoch: 0,
  changedAt: 0,
  items: 0,
  revision: 0,
  marks: [],
  segmented: false,
  segments: [],
  operations: []
})

/** @internal */
export const encodeRows = (rows: ReadonlyArray<Row>): string => {
  let text = ""
  for (let start = 0; start < rows.length;) {
    const { commit, meta, savedAt } = rows[start]!
    let end = start
    let items = ""
    while (end < rows.length) {
      const row = rows[end]!
      if (row.commit !== commit || row.savedAt !== savedAt || row.meta !== meta) break
      items += `${row.entry}\n`
      end++
    }
    text += `${JSON.stringify({ commit, items: end - start, savedAt, meta })}\n${items}`
    start = end
  }
  return text
}

const corrupt = (key: string, description: string) =>
  new SessionError.CorruptStore({
    description: `The object "${key}" is not as this program makes it (${description}). It was left as it is: ` +
      `restore a version of it from before, or use another prefix`
  })

/** @internal */
export const decodeRows = (
  key: string,
  lines: ReadonlyArray<string>,
  from: number
): Result.Result<ReadonlyArray<Row>, SessionError.CorruptStore> => {
  const rows: Array<Row> = []
  const end = lines.length - 1
  if (lines[end] !== "") return Result.fail(corrupt(key, "it is cut off"))
  for (let line = from; line < end;) {
    const found = decodeCommit(lines[line])
    if (Result.isFailure(found)) return Result.fail(corrupt(key, `line ${line + 1} tells of no commit`))
    const { commit, items, meta, savedAt } = found.success
    if (items < 1 || line + items >= end) return Result.fail(corrupt(key, "items are missing"))
    for (let index = 1; index <= items; index++) rows.push({ entry: lines[line + index]!, commit, savedAt, meta })
    line += 1 + items
  }
  return Result.succeed(rows)
}

/** @internal */
export const encodeHead = (head: Head, tail: ReadonlyArray<Row>): string =>
  `${JSON.stringify(head)}\n${encodeRows(tail)}`

/** @internal */
export const decode = (
  key: string,
  body: string
): Result.Result<{ readonly head: Head; readonly tail: ReadonlyArray<Row> }, SessionError.SessionErrorReason> => {
  const lines = body.split("\n")
  const head = decodeHead(lines[0])
  if (Result.isFailure(head)) {
    const format = decodeFormat(lines[0])
    return Result.fail(
      Result.isSuccess(format) && format.success.format > 1
        ? new SessionError.Unsupported({
          description: `The object "${key}" has format ${format.success.format}, this program knows format 1. ` +
            `Use a newer agent-layers, or another prefix`
        })
        : corrupt(key, "its first line is no head of a conversation")
    )
  }
  const tail = decodeRows(key, lines, 1)
  if (Result.isFailure(tail)) return Result.fail(tail.failure)
  const inSegments = head.success.segments.reduce((sum, segment) => sum + segment.items, 0)
  return inSegments + tail.success.length === head.success.items
    ? Result.succeed({ head: head.success, tail: tail.success })
    : Result.fail(corrupt(key, "its items are not as many as it says"))
}

/** @internal */
export const corruptObject = corrupt
