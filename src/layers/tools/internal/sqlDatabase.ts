import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import { isSqlError } from "effect/sql/SqlError"
import { onlyStatement } from "../../sql/internal/lexical.ts"
import type { Row } from "./sqlJson.ts"
import { sizeOf, toJson } from "./sqlJson.ts"

/** What a model may send in the place of a parameter or a value. */
export type Scalar = string | number | boolean | null

/** Why something was not done, for the model to read. */
export class Refusal {
  readonly reason: string
  readonly message: string
  constructor(reason: string, message: string) {
    this.reason = reason
    this.message = message
  }
}

export interface Column {
  readonly table: string
  readonly kind: "table" | "view"
  readonly name: string
  readonly type: string
  readonly isRequired: boolean
  readonly isKey: boolean
}

export interface Found {
  readonly columns: ReadonlyArray<string>
  /** Up to one more than were asked for. */
  readonly rows: ReadonlyArray<Row>
  /** Whether it was stopped before the end because the rows would not fit into an answer. */
  readonly isStopped: boolean
}

export interface Limits {
  readonly maxRows: number
  readonly maxBytes: number
  readonly timeout: Duration.Duration
}

/** A database, held to reading wherever a statement of the model's runs. */
export interface Database {
  readonly dialect: "sqlite" | "pg"
  readonly query: (text: string, parameters: ReadonlyArray<Scalar>) => Effect.Effect<Found, Refusal>
  /** All columns, or those of one table; in order of table and place. */
  readonly describe: (table: string | undefined) => Effect.Effect<ReadonlyArray<Column>, Refusal>
  /** All rows in one statement, or none of them. */
  readonly insert: (
    table: string,
    rows: ReadonlyArray<Readonly<Record<string, Scalar>>>
  ) => Effect.Effect<void, Refusal>
}

const textOf = (value: unknown, key: string): string | undefined => {
  const text = Predicate.hasProperty(value, key) ? value[key] : undefined
  return typeof text === "string" && text !== "" ? text : undefined
}

/** What the server said, without its detail: that quotes the content of rows. */
const said = ({ reason }: SqlError): string => {
  const hint = textOf(reason.cause, "hint")
  const text = textOf(reason.cause, "message") ?? reason.message ?? reason._tag
  return hint === undefined ? text : `${text} (${hint})`
}

const timedOut = (timeout: Duration.Duration): Refusal =>
  new Refusal("Timeout", `It took longer than ${Duration.format(timeout)} and was stopped. Ask for less`)

const toRefusal = (timeout: Duration.Duration) => (error: SqlError): Refusal => {
  const text = said(error)
  // Read-only: SQLSTATE 25006, SQLITE_READONLY.
  if (textOf(error.reason.cause, "code") === "25006" || /readonly database|read-only transaction/.test(text)) {
    return new Refusal("ReadOnly", `Nothing can be changed by a query: ${text}`)
  }
  switch (error.reason._tag) {
    case "StatementTimeoutError":
      return timedOut(timeout)
    case "ConnectionError":
    case "AuthenticationError":
      return new Refusal("Unavailable", "The database does not answer. Say so, and do not try at once again")
    case "LockTimeoutError":
    case "DeadlockError":
    case "SerializationError":
      return new Refusal("Busy", "Others hold what this needs. Nothing was changed; it may be tried again")
    case "UniqueViolation":
    case "ConstraintError":
      return new Refusal("Constraint", `Nothing was changed: ${text}`)
    case "AuthorizationError":
      return new Refusal("NotAllowed", text)
    default:
      return /decode row/.test(error.message)
        ? new Refusal("NotReadable", "A column has a type that cannot be read here: cast it, as in column::text")
        : new Refusal("InvalidSql", text)
  }
}

/** A rollback on a broken connection is a defect of the client; what broke is what the model has to hear. */
const guarded = <A>(
  effect: Effect.Effect<A, SqlError | Refusal>,
  timeout: Duration.Duration
): Effect.Effect<A, Refusal> =>
  Effect.timeoutOrElse(
    Effect.catchCause(effect, (cause) => {
      const seen = cause.reasons.flatMap((reason) =>
        Cause.isFailReason(reason) ? [reason.error] : Cause.isDieReason(reason) ? [reason.defect] : []
      )
      const refusal = seen.find((error) => error instanceof Refusal)
      if (refusal !== undefined) return Effect.fail(refusal)
      const error = seen.find(isSqlError)
      return error === undefined
        ? Effect.failCause(cause as Cause.Cause<never>)
        : Effect.fail(toRefusal(timeout)(error))
    }),
    { duration: timeout, orElse: () => Effect.fail(timedOut(timeout)) }
  )

/** An answer that is carried out of a transaction as a failure, so that the transaction is undone. */
class Undone<A> {
  readonly answer: A
  constructor(answer: A) {
    this.answer = answer
  }
}

const undone = <A>(
  sql: SqlClient.SqlClient,
  begin: string,
  use: (connection: Connection) => Effect.Effect<A, SqlError | Refusal>
): Effect.Effect<A, SqlError | Refusal> =>
  Effect.flatMap(
    sql.transactionService,
    ([connection]) => Effect.flatMap(use(connection), (answer) => Effect.fail(new Undone(answer)))
  ).pipe(
    sql.withTransaction,
    Effect.catchIf((error): error is Undone<A> => error instanceof Undone, ({ answer }) => Effect.succeed(answer)),
    Effect.provideService(SqlClient.BeginTransaction, begin)
  ) as Effect.Effect<A, SqlError | Refusal>

const columnOf = (row: any): Column => ({
  table: row.table_name,
  kind: row.kind === "view" ? "view" : "table",
  name: row.column_name,
  type: row.type,
  isRequired: Boolean(Number(row.is_required)),
  isKey: Boolean(Number(row.is_key))
})

/** A client prepares and remembers a statement by its text, and with it the columns that its cursor had: no two alike. */
let cursors = 0

const fieldsOf = (raw: unknown): ReadonlyArray<string> | undefined => {
  const fields = Predicate.hasProperty(raw, "fields") ? raw.fields : undefined
  const names = Array.isArray(fields) ? fields.map((field) => textOf(field, "name") ?? "?") : undefined
  return names === undefined || names.length === 0 ? undefined : names
}

const makePostgres = (sql: SqlClient.SqlClient, { maxBytes, maxRows, timeout }: Limits): Database => {
  /**
   * A read-only transaction, and inside one of the program's a read-only savepoint. The first query fixes its mode: from
   * then on the server refuses to go back. A time limit of the server's own holds where nobody is left to cancel.
   */
  const reading = <A>(use: (connection: Connection) => Effect.Effect<A, SqlError | Refusal>) =>
    guarded(
      undone(sql, "BEGIN TRANSACTION READ ONLY", (connection) =>
        Effect.gen(function*() {
          yield* connection.executeUnprepared("SET TRANSACTION READ ONLY", [], undefined)
          yield* limited(connection)
          return yield* use(connection)
        })),
      timeout
    )

  const limited = (connection: Connection) =>
    connection.executeUnprepared(
      "SELECT set_config('statement_timeout', $1, true)",
      [String(Math.max(1, Math.ceil(Duration.toMillis(timeout))))],
      undefined
    )

  const describe: Database["describe"] = (table) =>
    reading((connection) =>
      Effect.map(
        connection.executeUnprepared(
          `SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname::text ELSE n.nspname || '.' || c.relname END
               AS table_name,
             CASE WHEN c.relkind IN ('v', 'm') THEN 'view' ELSE 'table' END AS kind,
             a.attname::text AS column_name,
             format_type(a.atttypid, a.atttypmod) AS type,
             (a.attnotnull AND NOT a.atthasdef AND a.attidentity = '')::int AS is_required,
             EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey))
               ::int AS is_key
           FROM pg_class c
             JOIN pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
             AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
             AND has_schema_privilege(n.oid, 'USAGE')
             AND ($1::text IS NULL OR n.nspname || '.' || c.relname = $1::text
               OR pg_table_is_visible(c.oid) AND c.relname = $1::text)
           ORDER BY 1, a.attnum`,
          [table ?? null],
          undefined
        ),
        (rows) => rows.map(columnOf)
      )
    )

  const query: Database["query"] = (text, parameters) =>
    reading((connection) =>
      Effect.gen(function*() {
        const cursor = `agent_layers_query_${++cursors}`
        // A cursor is for a query and for nothing else, and the server makes no more rows than are fetched.
        yield* connection.executeUnprepared(`DECLARE ${cursor} NO SCROLL CURSOR FOR ${text}`, parameters, undefined)
        const columns = fieldsOf(yield* connection.executeRaw(`FETCH FORWARD 0 FROM ${cursor}`, []))
        const rows: Array<Row> = []
        let bytes = 0
        for (let size = 10; rows.length <= maxRows; size = Math.min(2 * size, 1_000)) {
          const count = Math.min(size, maxRows + 1 - rows.length)
          const fetched = yield* connection.executeValuesUnprepared(`FETCH FORWARD ${count} FROM ${cursor}`, [])
          for (const values of fetched) {
            const row = values.map(toJson)
            bytes += sizeOf(row)
            rows.push(row)
          }
          if (fetched.length < count) break
          if (bytes > maxBytes) return { columns: columns ?? [], rows, isStopped: true }
        }
        return { columns: columns ?? [], rows, isStopped: false }
      })
    )

  const insert: Database["insert"] = (table, rows) =>
    guarded(
      sql.withTransaction(
        Effect.flatMap(sql.transactionService, ([connection, depth]) =>
          Effect.andThen(
            // Inside a transaction of the program's, the limit would hold for what comes after.
            depth === 0 ? limited(connection) : Effect.void,
            sql`INSERT INTO ${sql(table)} ${sql.insert(rows as never)}`.unprepared
          ))
      ) as Effect.Effect<unknown, SqlError>,
      timeout
    )

  return { dialect: "pg", query, describe, insert: (table, rows) => Effect.asVoid(insert(table, rows)) }
}

const makeSqlite = (sql: SqlClient.SqlClient, { maxRows, timeout }: Limits): Database => {
  const lent = <A, E>(use: (connection: Connection) => Effect.Effect<A, E>): Effect.Effect<A, E | SqlError> =>
    Effect.flatMap(
      Effect.serviceOption(sql.transactionService),
      Option.match({
        onNone: () => Effect.scoped(Effect.flatMap(sql.reserve, use)),
        onSome: ([connection]) => use(connection)
      })
    )

  const isHeld = (connection: Connection) =>
    Effect.map(connection.executeValuesUnprepared("PRAGMA query_only", []), ([row]) => Number(row?.[0]) === 1)

  const hold = (connection: Connection, isOn: boolean) =>
    connection.executeUnprepared(`PRAGMA query_only = ${isOn ? "ON" : "OFF"}`, [], undefined)

  const reading = <A>(use: (connection: Connection) => Effect.Effect<A, SqlError | Refusal>) =>
    guarded(
      lent((connection) =>
        Effect.acquireUseRelease(
          Effect.tap(isHeld(connection), (isOn) => isOn ? Effect.void : hold(connection, true)),
          () =>
            Effect.flatMap(isHeld(connection), (isOn) =>
              // Connections that remember nothing from one statement to the next cannot be held to anything.
              isOn
                ? use(connection)
                : Effect.fail(
                  new Refusal("Unavailable", "The database cannot be held to reading, so that nothing is read from it")
                )),
          (wasOn) => wasOn ? Effect.void : hold(connection, false)
        )
      ).pipe(Effect.provideService(SqlClient.SafeIntegers, true)),
      timeout
    )

  const describe: Database["describe"] = (table) =>
    reading((connection) =>
      Effect.map(
        connection.executeUnprepared(
          `SELECT m.name AS table_name, m.type AS kind, p.name AS column_name, lower(p.type) AS type,
             p."notnull" AND p.dflt_value IS NULL AND p.pk = 0 AS is_required, p.pk > 0 AS is_key
           FROM sqlite_schema m JOIN pragma_table_info(m.name) p
           WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
             AND (?1 IS NULL OR m.name = ?1 COLLATE NOCASE)
           ORDER BY m.name, p.cid`,
          [table ?? null],
          undefined
        ),
        (rows) => rows.map(columnOf)
      )
    )

  const query: Database["query"] = Effect.fnUntraced(function*(text, parameters) {
    const statement = onlyStatement(text)
    if (statement === undefined) {
      return yield* Effect.fail(new Refusal("InvalidSql", "There is more than one statement: ask one query at a time"))
    }
    const bound = parameters.map((value) => typeof value === "boolean" ? Number(value) : value)
    // In parentheses stands a query and nothing else; names that come twice are told apart.
    const rows = yield* reading((connection) =>
      connection.executeUnprepared(`SELECT * FROM (\n${statement}\n) LIMIT ${maxRows + 1}`, bound, undefined)
    )
    return {
      columns: Object.keys(rows[0] ?? {}),
      rows: rows.map((row) => Object.values(row).map(toJson)),
      isStopped: false
    }
  })

  const insert: Database["insert"] = (table, rows) => {
    const bound = rows.map((row) =>
      Object.fromEntries(
        Object.entries(row).map(([name, value]) => [name, typeof value === "boolean" ? Number(value) : value])
      )
    )
    return guarded(
      Effect.asVoid(
        sql.withTransaction(sql`INSERT INTO ${sql(table)} ${sql.insert(bound as never)}`.unprepared)
      ),
      timeout
    )
  }

  return { dialect: "sqlite", query, describe, insert }
}

/** undefined where the database speaks a dialect that nothing is known of. */
export const make = (client: SqlClient.SqlClient, limits: Limits): Database | undefined => {
  const sql = client.withoutTransforms()
  return sql.onDialectOrElse<Database | undefined, Database, Database>({
    orElse: () => undefined,
    pg: () => makePostgres(sql, limits),
    sqlite: () => makeSqlite(sql, limits)
  })
}
