import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { DatabaseSync } from "node:sqlite"
import * as SessionError from "../../../services/SessionError.ts"
import type { Driver } from "./sqliteDriver.ts"
import { Busy, toReason } from "./sqliteDriver.ts"
import * as schema from "./sqliteSchema.ts"
import * as statements from "./sqliteStatements.ts"

/** @internal */
export interface Options {
  readonly driver: Driver
  readonly filename: string
  readonly synchronous: "normal" | "full"
  /** How long to try while another process holds the lock. */
  readonly patience: Duration.Duration
}

interface Connection {
  readonly db: DatabaseSync
  readonly statements: statements.Statements
  readonly begin: { readonly [Mode in "read" | "write"]: () => void }
  readonly commit: () => void
  /** Where the database is; null in memory. */
  readonly location: string | null
  isFull: boolean
  holders: number
}

/**
 * One connection for each file in this process, whoever opens it: two would lock each other out. A transaction is one
 * synchronous call, so that transactions of one connection never overlap.
 */
const connections = new Map<string, Connection>()

type Attempt<A> = Result.Result<A, SessionError.SessionErrorReason | Busy>

const attempt = <A>(filename: string, f: () => Result.Result<A, SessionError.SessionErrorReason>): Attempt<A> => {
  try {
    return f()
  } catch (error) {
    const reason = toReason(error, { filename })
    if (reason === undefined) throw error
    return Result.fail(reason)
  }
}

const isBusy = (reason: unknown): reason is Busy => reason instanceof Busy

/** Tries at once, and while the lock is held elsewhere again after pauses in which this process does other work. */
const patiently = <A>(
  filename: string,
  patience: Duration.Duration,
  one: () => Attempt<A>
): Effect.Effect<A, SessionError.SessionErrorReason> =>
  Effect.suspend(() => {
    const first = one()
    if (Result.isSuccess(first)) return Effect.succeed(first.success)
    if (!isBusy(first.failure)) return Effect.fail(first.failure)
    return Effect.suspend(() => Effect.fromResult(one())).pipe(
      Effect.retry({
        while: isBusy,
        schedule: Schedule.min([Schedule.exponential("1 millis", 1.5), Schedule.spaced("25 millis")]).pipe(
          Schedule.jittered,
          Schedule.upTo({ duration: patience })
        )
      }),
      Effect.mapError((reason) =>
        isBusy(reason)
          ? new SessionError.Unavailable({
            description: `"${filename}" was locked by another process for ${Duration.format(patience)}. ` +
              `Nothing was changed`,
            isOutcomeUnknown: false,
            cause: reason.cause
          })
          : reason
      )
    )
  })

const refuseNewer = (filename: string, found: number) =>
  new SessionError.Unsupported({
    description: `"${filename}" was written by a newer agent-layers: its session tables have version ${found}, ` +
      `this program knows version ${schema.latestVersion}. Use the newer agent-layers, or another file. ` +
      `The file was left as it is`
  })

const setSynchronous = (connection: Connection, isFull: boolean): void => {
  connection.db.exec(isFull ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL")
  connection.isFull = isFull
}

const connect = (
  { driver, filename, synchronous }: Options,
  now: number
): Result.Result<Connection, SessionError.SessionErrorReason> => {
  const db = new driver.DatabaseSync(filename)
  let isKept = false
  try {
    const location = db.location()
    const shared = location === null ? undefined : connections.get(location)
    if (shared !== undefined) {
      shared.holders++
      if (synchronous === "full" && !shared.isFull) setSynchronous(shared, true)
      return Result.succeed(shared)
    }
    // A database of a newer version is only read, so that it stays as it is.
    const found = schema.version(db)
    if (found > schema.latestVersion) return Result.fail(refuseNewer(filename, found))
    const mode = db.prepare("PRAGMA journal_mode = WAL").get() as { readonly journal_mode: string }
    if (found < schema.latestVersion) schema.migrate(db, now)
    const begin = db.prepare("BEGIN")
    const beginImmediate = db.prepare("BEGIN IMMEDIATE")
    const commit = db.prepare("COMMIT")
    const connection: Connection = {
      db,
      statements: statements.prepare(db),
      begin: { read: () => begin.run(), write: () => beginImmediate.run() },
      commit: () => commit.run(),
      location,
      isFull: false,
      holders: 1
    }
    // Where the file system has no shared memory there is no write-ahead log, and only FULL survives a power cut.
    setSynchronous(connection, synchronous === "full" || (location !== null && mode.journal_mode !== "wal"))
    if (location !== null) connections.set(location, connection)
    isKept = true
    return Result.succeed(connection)
  } finally {
    if (!isKept) db.close()
  }
}

const disconnect = (connection: Connection): void => {
  if (--connection.holders > 0) return
  if (connection.location !== null) connections.delete(connection.location)
  connection.db.close()
}

/** A rollback that fails has nothing to undo: SQLite did it already. */
const rollback = (db: DatabaseSync): void => {
  try {
    if (db.isTransaction) db.exec("ROLLBACK")
  } catch {
    return
  }
}

/** @internal */
export interface Database {
  /**
   * Runs a transaction: whole if `f` succeeds, not at all otherwise. It is synchronous, and is repeated from the start
   * while another process holds the lock.
   */
  readonly transaction: <A>(
    mode: "read" | "write",
    f: (statements: statements.Statements) => Result.Result<A, SessionError.SessionErrorReason>
  ) => Effect.Effect<A, SessionError.SessionErrorReason>
}

/**
 * Opens a database until the scope closes; then it fails with `Closed`.
 *
 * @internal
 */
export const open = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Database, SessionError.SessionErrorReason, Scope.Scope> {
  const { filename, patience } = options
  const now = yield* Clock.currentTimeMillis
  let isClosed = false
  let opened: Connection | undefined
  // Before the connection, so that an interruption while it is opened cannot leave it open.
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isClosed = true
      if (opened !== undefined) disconnect(opened)
    })
  )
  const connection = yield* patiently(
    filename,
    patience,
    () => attempt(filename, () => Result.map(connect(options, now), (connection) => opened = connection))
  )

  const once = <A>(
    mode: "read" | "write",
    f: (statements: statements.Statements) => Result.Result<A, SessionError.SessionErrorReason>
  ): Attempt<A> => {
    if (isClosed) return Result.fail(new SessionError.Closed({}))
    let isCommitting = false
    try {
      connection.begin[mode]()
      const result = f(connection.statements)
      if (Result.isSuccess(result)) {
        isCommitting = mode === "write"
        connection.commit()
      }
      return result
    } catch (error) {
      const reason = toReason(error, { filename, isCommitting })
      if (reason === undefined) throw error
      return Result.fail(reason)
    } finally {
      rollback(connection.db)
    }
  }

  return {
    transaction: (mode, f) => patiently(filename, patience, () => once(mode, f))
  }
})
