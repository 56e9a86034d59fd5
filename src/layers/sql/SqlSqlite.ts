/**
 * effect's `SqlClient` over `node:sqlite`, for a program's own tables and for layers that take any client, such as
 * `ToolsSql`. Needs Node.js 22.19 or newer, which is asked for when the Layer is built, not when this module is
 * imported. Conversations need none of it: `SessionSqlite` brings its own.
 *
 * `node:sqlite` is synchronous: a statement holds the whole process until it is done, and neither an interruption nor a
 * timeout stops it; a statement's `stream` has all rows before the first is seen. A client has one connection;
 * statements and transactions wait for each other. While another process holds the file's lock, a statement is tried
 * again after short pauses, without blocking the event loop.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { classifySqliteError, ConnectionError, SqlError, SqlSyntaxError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite"
import { isBlank } from "./internal/lexical.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Path of the database, relative to the working directory; it is created where it does not exist, its folder is not.
   * `:memory:` is a database of this client alone, which is gone when the scope closes.
   */
  readonly filename: string
  /**
   * Whether SQLite refuses every change. The file has to exist.
   *
   * @default false
   */
  readonly isReadOnly?: boolean | undefined
  /**
   * How long a statement is tried again while another process holds the lock; then it fails with `LockTimeoutError`.
   *
   * @default "5 seconds"
   */
  readonly lockTimeout?: Duration.Input | undefined
}

const messageOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

const toCode = (cause: unknown): number | undefined =>
  cause instanceof Error && "errcode" in cause && typeof cause.errcode === "number" ? cause.errcode : undefined

/** Primary keys and row ids are unique too; `classifySqliteError` knows one code for all three. */
const uniqueCodes = new Set([1555, 2067, 2579])

const toError = (cause: unknown, operation: string): SqlError => {
  const code = toCode(cause)
  const message = messageOf(cause)
  if (code !== undefined && (code & 0xff) === 1) {
    return new SqlError({ reason: new SqlSyntaxError({ cause, message, operation }) })
  }
  const known = code === undefined ? cause : { message, code: uniqueCodes.has(code) ? 2067 : code, errno: code }
  return new SqlError({ reason: classifySqliteError(known, { message, operation }) })
}

const toInput = (value: unknown): SQLInputValue =>
  value === undefined
    ? null
    : typeof value === "boolean"
    ? Number(value)
    : value instanceof Date
    ? value.toISOString()
    : value as SQLInputValue

type Use<A> = (statement: StatementSync, parameters: ReadonlyArray<SQLInputValue>) => A

const run = <A>(
  db: DatabaseSync,
  lockTimeout: Duration.Duration,
  sql: string,
  parameters: ReadonlyArray<unknown>,
  use: Use<A>
): Effect.Effect<A, SqlError> =>
  Effect.withFiber<A, SqlError>((fiber) =>
    Effect.try({
      try: () => {
        const statement = db.prepare(sql)
        // SQLite compiles one statement and leaves the others; nobody expects those to be dropped in silence.
        if (!isBlank(sql.slice(statement.sourceSQL.length))) {
          throw Object.assign(new Error("there is more than one statement: run them one by one"), { errcode: 1 })
        }
        statement.setReadBigInts(fiber.getRef(SqlClient.SafeIntegers))
        return use(statement, parameters.map(toInput))
      },
      catch: (cause) => toError(cause, "execute")
    })
  ).pipe(
    Effect.retry({
      while: ({ reason }) => reason._tag === "LockTimeoutError",
      schedule: Schedule.min([Schedule.exponential("1 millis", 1.5), Schedule.spaced("25 millis")]).pipe(
        Schedule.jittered,
        Schedule.upTo({ duration: lockTimeout })
      )
    })
  )

const all: Use<ReadonlyArray<any>> = (statement, parameters) => statement.all(...parameters)

const values: Use<ReadonlyArray<ReadonlyArray<unknown>>> = (statement, parameters) => {
  statement.setReturnArrays(true)
  return statement.all(...parameters) as unknown as ReadonlyArray<ReadonlyArray<unknown>>
}

const raw: Use<unknown> = (statement, parameters) =>
  statement.columns().length > 0 ? statement.all(...parameters) : statement.run(...parameters)

const notOpened = (message: string) => (cause: unknown) =>
  new SqlError({ reason: new ConnectionError({ cause, message, operation: "connect" }) })

const open = Effect.fnUntraced(function*({ filename, isReadOnly = false }: Options) {
  const { DatabaseSync } = yield* Effect.tryPromise({
    try: () => import("node:sqlite"),
    catch: (cause) => notOpened(`SqlSqlite needs Node.js 22.19 or newer: ${messageOf(cause)}`)(cause)
  })
  return yield* Effect.acquireRelease(
    Effect.try({
      try: () => new DatabaseSync(filename, { readOnly: isReadOnly, timeout: 0 }),
      catch: notOpened(
        `Cannot open "${filename}": its folder must exist, and the path must name a database that may be ` +
          (isReadOnly ? "read" : "written")
      )
    }),
    (db) => Effect.sync(() => db.close())
  )
})

/**
 * A client that is open until the scope closes. Fails with `ConnectionError` where the file cannot be opened.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<SqlClient.SqlClient, SqlError, Scope.Scope | Reactivity.Reactivity> {
  const db = yield* open(options)
  const lockTimeout = Duration.fromInputUnsafe(options.lockTimeout ?? "5 seconds")
  const execute: Connection["execute"] = (sql, parameters, transformRows) =>
    Effect.map(run(db, lockTimeout, sql, parameters, all), transformRows ?? identity)
  const connection = identity<Connection>({
    execute,
    executeUnprepared: execute,
    executeRaw: (sql, parameters) => run(db, lockTimeout, sql, parameters, raw),
    executeValues: (sql, parameters) => run(db, lockTimeout, sql, parameters, values),
    executeValuesUnprepared: (sql, parameters) => run(db, lockTimeout, sql, parameters, values),
    executeStream: (sql, parameters, transformRows) =>
      Stream.fromIterableEffect(execute(sql, parameters, transformRows))
  })
  const semaphore = yield* Semaphore.make(1)
  return yield* SqlClient.make({
    ...SqlClient.makeSqliteAcquirers({
      connection: Effect.succeed(connection),
      semaphore,
      isTransaction: () => db.isTransaction
    }),
    compiler: Statement.makeCompilerSqlite(),
    driver: "node-sqlite",
    // A transaction that first reads and then writes could never get the lock from one that did the same.
    beginTransaction: options.isReadOnly === true ? "BEGIN" : "BEGIN IMMEDIATE",
    releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
    spanAttributes: [["db.system.name", "sqlite"]]
  })
})

/**
 * The client for as long as the Layer lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<SqlClient.SqlClient, SqlError> =>
  Layer.effect(SqlClient.SqlClient, make(options)).pipe(Layer.provide(Reactivity.layer))

/**
 * As `layer`, with options from configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<Options>
): Layer.Layer<SqlClient.SqlClient, SqlError | Config.ConfigError> =>
  Layer.effect(SqlClient.SqlClient, Effect.flatMap(Config.unwrap(config), make)).pipe(Layer.provide(Reactivity.layer))
