import * as Effect from "effect/Effect"
import type * as NodeSqlite from "node:sqlite"
import * as SessionError from "../../../services/SessionError.ts"

/** @internal */
export type Driver = typeof NodeSqlite

/** Where `node:sqlite` has all that is used here. */
const minimum = [22, 19] as const

/**
 * Imported when a Layer is built, not when its module is: Node below 22.5 does not know `node:sqlite`.
 *
 * @internal
 */
export const load = (nodeVersion: string): Effect.Effect<Driver, SessionError.Unsupported> => {
  const [major = 0, minor = 0] = nodeVersion.split(".").map(Number)
  const unsupported = (found: string) =>
    new SessionError.Unsupported({
      description: `SessionSqlite needs Node.js ${minimum.join(".")} or newer, ${found}. ` +
        `Use a newer Node.js, or another session layer (SessionMemory keeps conversations in this process)`
    })
  return major < minimum[0] || (major === minimum[0] && minor < minimum[1])
    ? Effect.fail(unsupported(`this is ${nodeVersion}`))
    : Effect.tryPromise({
      try: () => import("node:sqlite"),
      catch: () => unsupported("and this runtime has no node:sqlite")
    })
}

/**
 * Somebody else holds the lock. Nothing was changed.
 *
 * @internal
 */
export class Busy {
  readonly _tag = "Busy"
  readonly cause: unknown
  constructor(cause: unknown) {
    this.cause = cause
  }
}

interface SqliteError extends Error {
  /** SQLite's extended result code. */
  readonly errcode: number
  readonly errstr: string
}

const isSqliteError = (error: unknown): error is SqliteError =>
  error instanceof Error && "errcode" in error && typeof error.errcode === "number"

/**
 * What a failed statement means, by SQLite's primary result code; undefined for what is no error of SQLite.
 *
 * @see https://www.sqlite.org/rescode.html
 * @internal
 */
export const toReason = (
  error: unknown,
  options: {
    readonly filename: string
    /** Whether the transaction was being committed, so that it may have reached the disk. */
    readonly isCommitting?: boolean
  }
): SessionError.SessionErrorReason | Busy | undefined => {
  if (!isSqliteError(error)) return undefined
  const file = `"${options.filename}"`
  const unavailable = (description: string, isOutcomeUnknown = false) =>
    new SessionError.Unavailable({ description, isOutcomeUnknown, cause: error })
  const corrupt = (description: string) => new SessionError.CorruptStore({ description, cause: error })
  switch (error.errcode & 0xff) {
    case 1: // ERROR: here always a table or column that is not as this program made it
      return corrupt(
        `The agent_layers_ tables in ${file} are not as this program makes them (${error.message}). ` +
          `Use another file, or restore a backup`
      )
    case 5: // BUSY
    case 6: // LOCKED
    case 15: // PROTOCOL: a race between processes that open the write-ahead log
      return new Busy(error)
    case 8: // READONLY
      return unavailable(`${file} cannot be written: the file or its folder is read-only`)
    case 10: // IOERR
      return unavailable(
        `Reading or writing ${file} failed (${error.errstr}, code ${error.errcode})`,
        options.isCommitting === true
      )
    case 11: // CORRUPT
    case 26: // NOTADB
      return corrupt(
        `${file} is damaged or not a SQLite database (${error.errstr}). It was left as it is: ` +
          `move it away to start anew, or restore a backup`
      )
    case 13: // FULL
      return unavailable(`There is no room left for ${file}: free some space and try again. Nothing was changed`)
    case 14: // CANTOPEN
      return unavailable(
        `Cannot open ${file}: its folder must exist and be writable, and the path must name a file`
      )
    default:
      return unavailable(`SQLite failed on ${file}: ${error.message} (code ${error.errcode})`)
  }
}
