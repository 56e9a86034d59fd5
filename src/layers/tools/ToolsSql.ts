/**
 * Tools over the `SqlClient` of a program, PostgreSQL or SQLite: look at the tables, ask queries, and, where a program
 * allows it, insert rows. What goes wrong is told to the model, which can mend it.
 *
 * ```ts
 * const agent = Agent.make({ name: "analyst", toolkit: ToolsSql.toolkit })
 * // needs: ToolsSql.layer(), which needs a SqlClient: PgClient.layer({ … }), SqlSqlite.layer({ filename })
 * ```
 *
 * **Queries only read, and the database sees to it.** On PostgreSQL a query is a cursor in a read-only transaction that
 * is always undone, so that functions that write fail too; it is stopped by the server when its time is up. On SQLite it
 * is a subquery on a connection under `PRAGMA query_only`, with one statement at a time; `node:sqlite` cannot stop a
 * statement, so a query that never ends holds the process. Values go to the database apart from the SQL.
 *
 * **What this does not do.** A query sees whatever the client's user may see, and may call every function that this user
 * may call, those included that reach beyond the database (`dblink`, `pg_read_file`, `pg_terminate_backend`): give
 * agents a user of their own, with few rights. On SQLite use `isReadOnly` where nothing is to be inserted.
 *
 * @since 0.1.0
 */
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import type { Column, Database, Refusal } from "./internal/sqlDatabase.ts"
import * as database from "./internal/sqlDatabase.ts"
import { fit } from "./internal/sqlJson.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Rows that a query answers with at most; the answer says where there are more.
   *
   * @default 100
   */
  readonly maxRows?: number | undefined
  /**
   * Bytes of rows, as JSON, that a query answers with, about; the answer says where there are more.
   *
   * @default 32_768
   */
  readonly maxBytes?: number | undefined
  /**
   * How long a call may take, waiting for a connection included.
   *
   * @default "10 seconds"
   */
  readonly timeout?: Duration.Input | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface InsertOptions extends Options {
  /** The tables that rows may be put into, by the names that `describe` gives, and the columns of each, or `"all"`. */
  readonly insertInto: Readonly<Record<string, "all" | ReadonlyArray<string>>>
  /**
   * Rows of one call.
   *
   * @default 100
   */
  readonly maxInsertedRows?: number | undefined
}

/**
 * The client speaks a dialect whose read-only mode is not known here.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnsupportedDatabase extends Schema.Error<UnsupportedDatabase>(
  "agent-layers/layers/tools/ToolsSql/UnsupportedDatabase"
)({ _tag: Schema.tag("UnsupportedDatabase") }) {
  override get message(): string {
    return "ToolsSql knows PostgreSQL and SQLite. Provide a SqlClient for one of them"
  }
}

/**
 * What the model is told when a tool could not do what it was asked for. `reason` is one of `InvalidSql`, `ReadOnly`,
 * `NotReadable`, `NoSuchTable`, `NoSuchColumn`, `NotAllowed`, `InvalidRows`, `TooManyRows`, `Constraint`, `Timeout`,
 * `Busy` and `Unavailable`.
 *
 * @category errors
 * @since 0.1.0
 */
export class SqlToolFailure extends Schema.Error<SqlToolFailure>("agent-layers/layers/tools/ToolsSql/SqlToolFailure")({
  _tag: Schema.tag("SqlToolFailure"),
  reason: Schema.String,
  message: Schema.String
}) {}

/**
 * Rows as JSON. Whole numbers that JSON would round, and decimals of PostgreSQL, are texts; times are ISO 8601 in UTC;
 * bytes are `base64:…`. On SQLite the names of no rows' columns are not known.
 *
 * @category schemas
 * @since 0.1.0
 */
export const QueryAnswer = Schema.Struct({
  columns: Schema.Array(Schema.String),
  rows: Schema.Array(Schema.Array(Schema.Json)),
  /** What is missing, in words; absent where nothing is. */
  truncated: Schema.optionalKey(Schema.String)
})

/**
 * @category schemas
 * @since 0.1.0
 */
export const DescribeAnswer = Schema.Struct({
  /** What SQL to write, and how parameters are written in it. */
  dialect: Schema.String,
  tables: Schema.Array(Schema.Struct({
    name: Schema.String,
    kind: Schema.Literals(["table", "view"]),
    /** As in `id integer primary key`. Absent where all columns are too many. */
    columns: Schema.optionalKey(Schema.Array(Schema.String))
  })),
  /** What is missing, in words; absent where nothing is. */
  truncated: Schema.optionalKey(Schema.String)
})

const Scalar = Schema.NullOr(Schema.Union([Schema.String, Schema.Finite, Schema.Boolean]))

/** Many models send `null` for what they leave out. */
const optional = <S extends Schema.Constraint>(schema: S, description: string) =>
  Schema.optionalKey(Schema.NullOr(schema).annotate({ description }))

const describe = Tool.make("describe", {
  description:
    "Tells which tables and views there are, with the names and types of their columns, and which dialect of " +
    "SQL to write. Ask this before the first query.",
  parameters: Schema.Struct({
    table: optional(Schema.String, "Only this table, by the name that was given for it. Default: all.")
  }),
  success: DescribeAnswer,
  failure: SqlToolFailure,
  failureMode: "return"
}).annotate(Tool.Title, "Describe tables").annotate(Tool.Readonly, true).annotate(Tool.Destructive, false)
  .annotate(Tool.Idempotent, true).annotate(Tool.OpenWorld, false)

const query = Tool.make("query", {
  description:
    "Runs one query (SELECT, WITH or VALUES) and returns its rows. Nothing can be changed. Put values into parameters, " +
    "not into the SQL. Long results are cut, and \"truncated\" then says so: count, sum, filter and LIMIT in SQL.",
  parameters: Schema.Struct({
    sql: Schema.String.annotate({ description: "One query, with $1, $2 (PostgreSQL) or ? (SQLite) for parameters." }),
    parameters: optional(Schema.Array(Scalar), "The values of the parameters, in order. Default: none.")
  }),
  success: QueryAnswer,
  failure: SqlToolFailure,
  failureMode: "return"
}).annotate(Tool.Title, "Query").annotate(Tool.Readonly, true).annotate(Tool.Destructive, false)
  .annotate(Tool.Idempotent, true).annotate(Tool.OpenWorld, false)

const insert = Tool.make("insert", {
  description: "Puts rows into a table: all of them, or none where one cannot be stored. Returns how many there were.",
  parameters: Schema.Struct({
    table: Schema.String.annotate({ description: "The table, by the name that describe gives." }),
    columns: Schema.Array(Schema.String).annotate({ description: "The columns that get values." }),
    rows: Schema.Array(Schema.Array(Scalar)).annotate({
      description: "The rows, each with a value for every one of the columns, in their order. Times are ISO 8601."
    })
  }),
  success: Schema.Struct({ inserted: Schema.Int }),
  failure: SqlToolFailure,
  failureMode: "return"
}).annotate(Tool.Title, "Insert rows").annotate(Tool.Readonly, false).annotate(Tool.Destructive, false)
  .annotate(Tool.Idempotent, false).annotate(Tool.OpenWorld, false)

/**
 * `describe` and `query`: nothing changes.
 *
 * @category toolkits
 * @since 0.1.0
 */
export const toolkit = Toolkit.make(describe, query)

/**
 * `describe`, `query` and `insert`. To ask a person before rows are stored:
 * `Agent.make({ toolkit: ToolsSql.toolkitWithInsert, toolOptions: { insert: { needsApproval: true } } })`.
 *
 * @category toolkits
 * @since 0.1.0
 */
export const toolkitWithInsert = Toolkit.make(describe, query, insert)

const failed = (reason: string, message: string) => new SqlToolFailure({ reason, message })

const told = <A>(effect: Effect.Effect<A, Refusal>): Effect.Effect<A, SqlToolFailure> =>
  Effect.mapError(effect, ({ message, reason }) => failed(reason, message))

const dialects = {
  pg: "PostgreSQL; parameters are $1, $2, …",
  sqlite: "SQLite; parameters are ?, ?, …"
}

const describeColumn = ({ isKey, isRequired, name, type }: Column): string =>
  [name, type, ...(isKey ? ["primary key"] : []), ...(isRequired ? ["required"] : [])].filter((part) => part !== "")
    .join(" ")

const list = (names: ReadonlyArray<string>): string => names.map((name) => `"${name}"`).join(", ")

const limitsOf = (options: Options): database.Limits => ({
  maxRows: options.maxRows ?? 100,
  maxBytes: options.maxBytes ?? 32_768,
  timeout: Duration.fromInputUnsafe(options.timeout ?? "10 seconds")
})

const open = (limits: database.Limits): Effect.Effect<Database, UnsupportedDatabase, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (client) => {
    const opened = database.make(client, limits)
    return opened === undefined ? Effect.fail(new UnsupportedDatabase()) : Effect.succeed(opened)
  })

const describeHandler = (db: Database, { maxBytes }: database.Limits) =>
  Effect.fnUntraced(function*({ table }: (typeof describe.parametersSchema)["Type"]) {
    const columns = yield* told(db.describe(table ?? undefined))
    const tables = new Map<string, { readonly kind: Column["kind"]; readonly columns: Array<string> }>()
    for (const column of columns) {
      const known = tables.get(column.table)
      if (known === undefined) tables.set(column.table, { kind: column.kind, columns: [describeColumn(column)] })
      else known.columns.push(describeColumn(column))
    }
    if (table != null && tables.size === 0) {
      return yield* failed("NoSuchTable", `There is no table "${table}". Call describe without a table to see all`)
    }
    const all = Array.from(tables, ([name, { columns, kind }]) => ({ name, kind, columns }))
    const dialect = dialects[db.dialect]
    const size = (parts: ReadonlyArray<string>) => parts.reduce((sum, part) => sum + part.length + 3, 0)
    if (
      all.reduce((sum, { columns, name }) => sum + 40 + size([name, ...columns]), 0) <= maxBytes || all.length === 1
    ) {
      return { dialect, tables: all }
    }
    const shown = all.slice(
      0,
      Math.max(1, Math.floor(maxBytes / (40 + size(all.map(({ name }) => name)) / all.length)))
    )
    const missing = all.length - shown.length
    return {
      dialect,
      tables: shown.map(({ kind, name }) => ({ name, kind })),
      truncated: `The columns are left out: call describe with a table.` +
        (missing === 0 ? "" : ` ${missing} tables are left out too: query the catalogue for their names`)
    }
  })

const queryHandler = (db: Database, { maxBytes, maxRows }: database.Limits) =>
  Effect.fnUntraced(function*({ parameters, sql }: (typeof query.parametersSchema)["Type"]) {
    const found = yield* told(db.query(sql, parameters ?? []))
    const { isCut, rows } = fit(found.rows.slice(0, maxRows), maxBytes)
    if (rows.length === found.rows.length && !isCut && !found.isStopped) return { columns: found.columns, rows }
    const notes = [
      ...(isCut ? ["Long values of the row are cut."] : []),
      ...(rows.length < found.rows.length || found.isStopped
        ? [
          `Only the first ${rows.length === 1 ? "row is" : `${rows.length} rows are`} here, there are more. ` +
          "Ask for fewer columns, filter, or go on with OFFSET"
        ]
        : [])
    ]
    return { columns: found.columns, rows, truncated: notes.join(" ") }
  })

const insertHandler = (db: Database, { insertInto, maxInsertedRows = 100 }: InsertOptions) =>
  Effect.fnUntraced(function*({ columns, rows, table }: (typeof insert.parametersSchema)["Type"]) {
    const allowed = Object.hasOwn(insertInto, table) ? insertInto[table] : undefined
    if (allowed === undefined) {
      const tables = Object.keys(insertInto)
      return yield* failed(
        "NotAllowed",
        `Rows may not be put into "${table}", ${tables.length === 0 ? "nor anywhere" : `only into ${list(tables)}`}`
      )
    }
    const there = (yield* told(db.describe(table))).filter(({ kind }) => kind === "table").map(({ name }) => name)
    if (there.length === 0) return yield* failed("NoSuchTable", `There is no table "${table}"`)
    const usable = allowed === "all" ? there : there.filter((name) => allowed.includes(name))
    const unknown = columns.filter((name) => !usable.includes(name))
    if (unknown.length > 0) {
      return yield* failed(
        unknown.every((name) => there.includes(name)) ? "NotAllowed" : "NoSuchColumn",
        `Rows of "${table}" may have values for ${list(usable)}, not for ${list(unknown)}`
      )
    }
    if (columns.length === 0 || new Set(columns).size < columns.length) {
      return yield* failed("InvalidRows", "Name at least one column, and each of them once")
    }
    if (rows.length > maxInsertedRows) {
      return yield* failed("TooManyRows", `At most ${maxInsertedRows} rows at a time; there were ${rows.length}`)
    }
    const wrong = rows.findIndex((row) => row.length !== columns.length)
    if (wrong >= 0) {
      return yield* failed(
        "InvalidRows",
        `Row ${wrong + 1} has ${rows[wrong]!.length} values for ${columns.length} columns. Nothing was inserted`
      )
    }
    if (rows.length > 0) {
      const records = rows.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index]!])))
      yield* told(db.insert(table, records))
    }
    return { inserted: rows.length }
  })

/**
 * The handlers of `toolkit`, over the client that is there when the Layer is built. Fails with `UnsupportedDatabase`
 * where that speaks neither to PostgreSQL nor to SQLite.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<Tool.HandlersFor<typeof toolkit.tools>, UnsupportedDatabase, SqlClient.SqlClient> => {
  const limits = limitsOf(options)
  return toolkit.toLayer(
    Effect.map(
      open(limits),
      (db) => toolkit.of({ describe: describeHandler(db, limits), query: queryHandler(db, limits) })
    )
  )
}

/**
 * The handlers of `toolkitWithInsert`. Rows are stored in a transaction, and inside one of the program's as part of it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWithInsert = (
  options: InsertOptions
): Layer.Layer<Tool.HandlersFor<typeof toolkitWithInsert.tools>, UnsupportedDatabase, SqlClient.SqlClient> => {
  const limits = limitsOf(options)
  return toolkitWithInsert.toLayer(
    Effect.map(open(limits), (db) =>
      toolkitWithInsert.of({
        describe: describeHandler(db, limits),
        query: queryHandler(db, limits),
        insert: insertHandler(db, options)
      }))
  )
}
