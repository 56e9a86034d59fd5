import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { TracerError } from "../../../services/Tracer.ts"

const name = "sqlite"

/** Where `node:sqlite` has all that is used here. */
const minimum = [22, 19] as const

/** Each makes the next version of the tables. What is released is never changed, only added to. */
const migrations: ReadonlyArray<string> = [
  `
  CREATE TABLE agent_layers_traces (
    key INTEGER PRIMARY KEY,
    trace_id TEXT NOT NULL,
    root_span_id TEXT NOT NULL,
    workflow_name TEXT,
    group_id TEXT,
    metadata TEXT,
    started_at REAL,
    ended_at REAL,
    is_over INTEGER NOT NULL DEFAULT 0,
    outcome TEXT,
    spans INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    UNIQUE (trace_id, root_span_id)
  ) STRICT;
  CREATE INDEX agent_layers_traces_group ON agent_layers_traces (group_id, key) WHERE group_id IS NOT NULL;
  CREATE TABLE agent_layers_spans (
    trace INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    span TEXT NOT NULL,
    PRIMARY KEY (trace, sequence)
  ) STRICT, WITHOUT ROWID;
  `
]

export const latestVersion: number = migrations.length

const failure = (operation: string, description: string, isRetryable: boolean, cause?: unknown): TracerError =>
  new TracerError({
    exporter: name,
    operation,
    description,
    isRetryable,
    ...(cause === undefined ? undefined : { cause })
  })

/** @see https://www.sqlite.org/rescode.html */
const toError = (operation: string, filename: string, error: unknown): TracerError => {
  const code = error instanceof Error && "errcode" in error ? Number(error.errcode) & 0xff : undefined
  const message = error instanceof Error ? error.message : String(error)
  const file = `"${filename}"`
  switch (code) {
    case 5: // BUSY
    case 6: // LOCKED
    case 15: // PROTOCOL: a race between processes that open the write-ahead log
      return failure(operation, `${file} is locked by another process`, true, error)
    case 8: // READONLY
      return failure(operation, `${file} cannot be written: the file or its folder is read-only`, false, error)
    case 11: // CORRUPT
    case 26: // NOTADB
      return failure(
        operation,
        `${file} is damaged or not a SQLite database (${message}). It was left as it is: move it away to start anew`,
        false,
        error
      )
    case 13: // FULL
      return failure(operation, `there is no room left for ${file}`, true, error)
    case 14: // CANTOPEN
      return failure(operation, `cannot open ${file}: its folder must exist and be writable`, false, error)
    default:
      return failure(operation, `${file}: ${message}`, false, error)
  }
}

const load = (operation: string) => {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
  const unsupported = () =>
    failure(
      operation,
      `TracerSqlite needs Node.js ${minimum.join(".")} or newer, this is ${process.versions.node}. ` +
        "Use a newer Node.js, or TracerJsonLines",
      false
    )
  return major < minimum[0] || (major === minimum[0] && minor < minimum[1])
    ? Effect.fail(unsupported())
    : Effect.tryPromise({ try: () => import("node:sqlite"), catch: unsupported })
}

const versionOf = (db: DatabaseSync): number => {
  const table = db.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'agent_layers_migrations'")
    .get()
  if (table === undefined) return 0
  return (db.prepare(
    "SELECT coalesce(max(version), 0) AS version FROM agent_layers_migrations WHERE component = 'tracer'"
  ).get() as { readonly version: number }).version
}

const migrate = (db: DatabaseSync, now: number): void => {
  db.exec("BEGIN IMMEDIATE")
  try {
    // The table is shared with others that keep theirs in the same file.
    db.exec(`
      CREATE TABLE IF NOT EXISTS agent_layers_migrations (
        component TEXT NOT NULL,
        version INTEGER NOT NULL,
        applied_at REAL NOT NULL,
        PRIMARY KEY (component, version)
      ) STRICT, WITHOUT ROWID
    `)
    const record = db.prepare(
      "INSERT INTO agent_layers_migrations (component, version, applied_at) VALUES ('tracer', ?, ?)"
    )
    for (let next = versionOf(db); next < latestVersion; next++) {
      db.exec(migrations[next]!)
      record.run(next + 1, now)
    }
    db.exec("COMMIT")
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK")
    throw error
  }
}

export interface Statements {
  readonly begin: StatementSync
  readonly find: StatementSync
  readonly addSpans: StatementSync
  readonly span: StatementSync
  readonly end: StatementSync
  readonly spans: StatementSync
  readonly byId: StatementSync
  readonly list: StatementSync
  readonly excess: StatementSync
  readonly expired: StatementSync
  readonly dropSpans: StatementSync
  readonly dropTrace: StatementSync
}

const prepare = (db: DatabaseSync): Statements => ({
  begin: db.prepare(`
    INSERT INTO agent_layers_traces (trace_id, root_span_id, workflow_name, group_id, metadata) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING
  `),
  find: db.prepare("SELECT key, spans FROM agent_layers_traces WHERE trace_id = ? AND root_span_id = ?"),
  addSpans: db.prepare(`
    UPDATE agent_layers_traces SET
      spans = spans + $spans, failed = failed + $failed,
      input_tokens = input_tokens + $input, output_tokens = output_tokens + $output,
      started_at = min(coalesce(started_at, $started), $started),
      ended_at = max(coalesce(ended_at, $ended), $ended),
      outcome = coalesce($outcome, outcome)
    WHERE key = $key
  `),
  span: db.prepare("INSERT INTO agent_layers_spans (trace, sequence, span) VALUES (?, ?, ?)"),
  end: db.prepare("UPDATE agent_layers_traces SET is_over = 1 WHERE trace_id = ? AND root_span_id = ?"),
  spans: db.prepare("SELECT span FROM agent_layers_spans WHERE trace = ? ORDER BY sequence"),
  byId: db.prepare("SELECT * FROM agent_layers_traces WHERE trace_id = $id OR root_span_id = $id ORDER BY key"),
  list: db.prepare(`
    SELECT * FROM agent_layers_traces
    WHERE key < $before AND ($group IS NULL OR group_id = $group)
    ORDER BY key DESC LIMIT $limit
  `),
  excess: db.prepare("SELECT key FROM agent_layers_traces ORDER BY key DESC LIMIT -1 OFFSET ?"),
  expired: db.prepare("SELECT key FROM agent_layers_traces WHERE ended_at < ?"),
  dropSpans: db.prepare("DELETE FROM agent_layers_spans WHERE trace = ?"),
  dropTrace: db.prepare("DELETE FROM agent_layers_traces WHERE key = ?")
})

export interface Database {
  /** One transaction, whole or not at all; tried again while another process holds the lock. */
  readonly transaction: <A>(
    operation: string,
    mode: "read" | "write",
    f: (statements: Statements) => A
  ) => Effect.Effect<A, TracerError>
}

const patience = Duration.seconds(10)

const retried = <A>(effect: Effect.Effect<A, TracerError>): Effect.Effect<A, TracerError> =>
  Effect.retry(effect, {
    while: (error) => error.isRetryable,
    schedule: Schedule.spaced("20 millis").pipe(Schedule.jittered, Schedule.upTo({ duration: patience }))
  })

/**
 * Opens a database until the scope closes. Transactions are synchronous, so that another connection of this process
 * never meets one that is open.
 */
export const open = Effect.fnUntraced(function*(
  filename: string,
  now: number
): Effect.fn.Return<Database, TracerError, Scope.Scope> {
  if (filename === "") {
    return yield* failure("open", `filename is empty; pass the path of a file, or ":memory:"`, false)
  }
  const { DatabaseSync } = yield* load("open")
  const connect = Effect.try({
    try: () => {
      const db = new DatabaseSync(filename)
      try {
        const found = versionOf(db)
        if (found > latestVersion) {
          throw failure(
            "open",
            `"${filename}" was written by a newer agent-layers: its tables of traces have version ${found}, this ` +
              `program knows version ${latestVersion}. Use the newer agent-layers, or another file`,
            false
          )
        }
        db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        if (found < latestVersion) migrate(db, now)
        return { db, statements: prepare(db) }
      } catch (error) {
        db.close()
        throw error
      }
    },
    catch: (error) => error instanceof TracerError ? error : toError("open", filename, error)
  })
  const { db, statements } = yield* Effect.acquireRelease(retried(connect), ({ db }) => Effect.sync(() => db.close()))
  return {
    transaction: (operation, mode, f) =>
      retried(Effect.try({
        try: () => {
          db.exec(mode === "write" ? "BEGIN IMMEDIATE" : "BEGIN")
          try {
            const result = f(statements)
            db.exec("COMMIT")
            return result
          } catch (error) {
            if (db.isTransaction) db.exec("ROLLBACK")
            throw error
          }
        },
        catch: (error) =>
          db.isOpen
            ? toError(operation, filename, error)
            : failure(operation, `"${filename}" is closed: its Layer is`, false)
      }))
  }
})
