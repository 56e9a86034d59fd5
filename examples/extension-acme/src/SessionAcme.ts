/**
 * Conversations as documents: one JSON file for each in a folder, replaced whole. It knows versions, operations that
 * come again, and what there is; what else a session can do, it declines.
 *
 * Within one program writes take turns; programs that share a folder need a lock that they share too.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Session from "agent-layers/services/Session"
import * as SessionError from "agent-layers/services/SessionError"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"

export interface Options {
  /** Where the documents are. It is made where it is missing. */
  readonly folder: string
}

/** What is remembered of an operation, so that it can come again. */
const Operation = Schema.Struct({
  id: Schema.String,
  fingerprint: Schema.String,
  version: Schema.Int,
  at: Schema.Finite
})

const Document = Schema.Struct({
  id: Schema.String,
  version: Schema.Int,
  changedAt: Schema.Finite,
  entries: Schema.Array(Schema.String),
  operations: Schema.Array(Operation)
})
const DocumentJson = Schema.fromJsonString(Document)

const week = 7 * 24 * 60 * 60 * 1000

const writing = Semaphore.makeUnsafe(1)

export const make = Effect.fnUntraced(function*(
  { folder }: Options
): Effect.fn.Return<Session.Session["Service"], never, FileSystem.FileSystem | Scope.Scope> {
  const fs = yield* FileSystem.FileSystem
  const isOpen = yield* Effect.acquireRelease(Ref.make(true), (isOpen) => Ref.set(isOpen, false))

  // Any id as names that are short enough, without dots: no file is where another id needs a folder.
  const nameOf = (id: string) =>
    encodeURIComponent(id).replaceAll(".", "%2E").replaceAll(/.{200}(?=.)/g, "$&/") + ".json"

  const read = Effect.fnUntraced(function*(id: string) {
    if (!(yield* Ref.get(isOpen))) return yield* new SessionError.Closed({})
    const file = `${folder}/${nameOf(id)}`
    return (yield* fs.exists(file))
      ? yield* Schema.decodeEffect(DocumentJson)(yield* fs.readFileString(file))
      : { id, version: 0, changedAt: 0, entries: [], operations: [] }
  })

  const replace = Effect.fnUntraced(function*(document: typeof Document.Type) {
    const file = `${folder}/${nameOf(document.id)}`
    yield* fs.makeDirectory(file.slice(0, file.lastIndexOf("/")), { recursive: true })
    yield* fs.writeFileString(`${file}.new`, yield* Schema.encodeEffect(DocumentJson)(document), { mode: 0o600 })
    yield* fs.rename(`${file}.new`, file)
  })

  const save = Effect.fnUntraced(function*(id: string, commit: Session.Commit) {
    const { entries, expectedVersion: expected, fingerprint = "", operationId, savedAt: at } = commit
    const before = yield* read(id)
    // An operation is looked up first, whatever version is expected.
    const known = before.operations.find((operation) => operation.id === operationId)
    if (known !== undefined && operationId !== undefined) {
      if (known.fingerprint === fingerprint) return { version: known.version }
      return yield* new SessionError.OperationMismatch({ operationId })
    }
    if (expected !== undefined && expected !== before.version) {
      return yield* new SessionError.VersionConflict({ expected, actual: before.version })
    }
    const version = before.version + 1
    const recent = before.operations.filter((operation) => at - operation.at < week).slice(-999)
    yield* replace({
      id,
      version,
      changedAt: at,
      entries: [...before.entries, ...entries],
      operations: operationId === undefined ? recent : [...recent, { id: operationId, fingerprint, version, at }]
    })
    return { version }
  }, writing.withPermit)

  // A tombstone stays: the version never goes back, and a late retry stores nothing.
  const clear = Effect.fnUntraced(function*(id: string, at: number) {
    const { operations, version } = yield* read(id)
    if (version > 0) yield* replace({ id, version: version + 1, changedAt: at, entries: [], operations })
  }, writing.withPermit)

  const list = Effect.fnUntraced(function*(
    { after, limit, prefix }: { readonly after: string | undefined; readonly limit: number; readonly prefix: string }
  ) {
    if (!(yield* Ref.get(isOpen))) return yield* new SessionError.Closed({})
    const names = (yield* fs.exists(folder)) ? yield* fs.readDirectory(folder, { recursive: true }) : []
    const documents = yield* Effect.forEach(
      names.filter((name) => name.endsWith(".json")),
      (name) => Effect.flatMap(fs.readFileString(`${folder}/${name}`), Schema.decodeEffect(DocumentJson))
    )
    return documents
      .filter(({ entries, id }) => entries.length > 0 && id.startsWith(prefix) && (after === undefined || id > after))
      .sort((a, b) => a.id < b.id ? -1 : 1)
      .slice(0, limit)
  })

  return Session.make({ backend: "acme", versions: true, operations: true, load: read, save, clear, list })
})

export const layer = (options: Options): Layer.Layer<Session.Session> =>
  Layer.effect(Session.Session, make(options)).pipe(Layer.provide(NodeServices.layer))
