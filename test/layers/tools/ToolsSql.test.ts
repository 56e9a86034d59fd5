/** ToolsSql over SQLite and over a real PostgreSQL: the same answers, and nothing that a query could change. */
import { assert, describe, it } from "@effect/vitest"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as SqlSqlite from "agent-layers/layers/sql/SqlSqlite"
import * as ToolsSql from "agent-layers/layers/tools/ToolsSql"
import * as Agent from "agent-layers/run/Agent"
import * as Approval from "agent-layers/run/Approval"
import * as Runner from "agent-layers/run/Runner"
import { Context, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { Tool } from "effect/ai"
import { Reactivity } from "effect/reactivity"
import { SqlClient, Statement } from "effect/sql"
import { afterAll, beforeAll } from "vitest"
import { connect, type Postgres, startPostgres } from "../../support/postgres.ts"
import { until } from "../../support/until.ts"

const scope = Scope.makeUnsafe()
let postgres: Postgres
beforeAll(async () => {
  postgres = await Effect.runPromise(Scope.provide(startPostgres, scope))
}, 240_000)
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const clients = {
  SQLite: Effect.provideServiceEffect(
    SqlSqlite.make({ filename: ":memory:" }),
    Reactivity.Reactivity,
    Reactivity.make
  ) as Effect.Effect<SqlClient.SqlClient, never, Scope.Scope>,
  PostgreSQL: Effect.suspend(() => Effect.flatMap(postgres.freshDatabase, connect))
}

/** How many queries of the server are in `pg_sleep`, seen by a connection of its own. */
const sleepers = Effect.map(clients.PostgreSQL, (sql) =>
  Effect.map(
    sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
    (rows) => rows[0]?.n
  ))

type Tools = typeof ToolsSql.toolkitWithInsert.tools

interface Failed {
  readonly reason: string
  readonly message: string
}

/** A database with one table of each kind, and the tools over it. */
const prepare = Effect.fnUntraced(function*(
  name: keyof typeof clients,
  options: Partial<ToolsSql.InsertOptions> = {}
) {
  const sql = yield* clients[name]
  const isSqlite = name === "SQLite"
  yield* sql.unsafe(
    isSqlite
      ? "CREATE TABLE notes (id INTEGER PRIMARY KEY, title TEXT NOT NULL, done BOOLEAN DEFAULT 0, secret TEXT)"
      : "CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL, " +
        "done boolean DEFAULT false, secret text)"
  )
  yield* sql.unsafe(`CREATE TABLE "odd ""table" (a integer)`)
  yield* sql.unsafe("CREATE VIEW titles AS SELECT title FROM notes")
  yield* sql`INSERT INTO notes ${sql.insert([{ title: "one" }, { title: "two" }])}`
  const handlers = yield* Layer.build(
    ToolsSql.layerWithInsert({ insertInto: { notes: ["title", "done"], "odd \"table": "all" }, ...options }).pipe(
      Layer.provide(Layer.succeed(SqlClient.SqlClient, sql))
    )
  )
  const toolkit = yield* Effect.provideContext(ToolsSql.toolkitWithInsert, handlers)
  const call = <Name extends keyof Tools>(tool: Name, parameters: Tool.ParametersEncoded<Tools[Name]>) =>
    Effect.gen(function*() {
      const results = yield* toolkit.handle(tool, parameters)
      const [last] = yield* Stream.runCollect(Stream.takeRight(results, 1))
      return last!
    })
  const answer = <Name extends keyof Tools>(tool: Name, parameters: Tool.ParametersEncoded<Tools[Name]>) =>
    Effect.map(call(tool, parameters), ({ encodedResult, isFailure }) => {
      assert.isFalse(isFailure, JSON.stringify(encodedResult))
      return encodedResult as Tool.SuccessEncoded<Tools[Name]>
    })
  const failure = <Name extends keyof Tools>(tool: Name, parameters: Tool.ParametersEncoded<Tools[Name]>) =>
    Effect.map(call(tool, parameters), ({ encodedResult, isFailure }) => {
      assert.isTrue(isFailure, JSON.stringify(encodedResult))
      return encodedResult as Failed
    })
  const titles = Effect.map(
    sql<{ title: string }>`SELECT title FROM notes ORDER BY id`,
    (rows) => rows.map(({ title }) => title)
  )
  const placeholder = (index: number) => isSqlite ? "?" : `$${index}`
  return { sql, call, answer, failure, titles, placeholder, handlers, isSqlite }
})

for (const name of ["SQLite", "PostgreSQL"] as const) {
  describe(`ToolsSql over ${name}`, () => {
    const live = (title: string, test: Effect.Effect<void, unknown, Scope.Scope>) => it.live(title, () => test, 30_000)

    live(
      "describes what there is, and which SQL to write",
      Effect.gen(function*() {
        const { answer, failure, isSqlite } = yield* prepare(name)
        const { dialect, tables } = yield* answer("describe", {})
        assert.match(dialect, isSqlite ? /^SQLite.*\?/ : /^PostgreSQL.*\$1/)
        assert.deepStrictEqual(tables, [
          {
            name: "notes",
            kind: "table",
            columns: isSqlite
              ? ["id integer primary key", "title text required", "done boolean", "secret text"]
              : ["id bigint primary key", "title text required", "done boolean", "secret text"]
          },
          { name: "odd \"table", kind: "table", columns: ["a integer"] },
          { name: "titles", kind: "view", columns: ["title text"] }
        ])
        assert.deepStrictEqual(yield* answer("describe", { table: "odd \"table" }), { dialect, tables: [tables[1]!] })
        for (const table of ["none", "notes; DROP TABLE notes", "'", "\"", "a.b.c"]) {
          assert.strictEqual((yield* failure("describe", { table })).reason, "NoSuchTable", table)
        }
      })
    )

    live(
      "leaves out columns, then tables, where they are too many",
      Effect.gen(function*() {
        const { answer, sql } = yield* prepare(name, { maxBytes: 2_000 })
        for (let index = 0; index < 60; index++) yield* sql.unsafe(`CREATE TABLE many_${index} (a integer, b integer)`)
        const { tables, truncated } = yield* answer("describe", {})
        assert.match(truncated ?? "", /columns are left out.*\d+ tables are left out too/)
        assert.isTrue(tables.every((table) => table.columns === undefined))
        assert.isBelow(JSON.stringify(tables).length, 2_500)
        assert.isUndefined((yield* answer("describe", { table: "many_7" })).truncated)
      })
    )

    live(
      "answers queries, with parameters apart from the SQL",
      Effect.gen(function*() {
        const { answer, placeholder } = yield* prepare(name)
        assert.deepStrictEqual(yield* answer("query", { sql: "SELECT id, title, done FROM notes ORDER BY id DESC" }), {
          columns: ["id", "title", "done"],
          rows: [[2, "two", name === "SQLite" ? 0 : false], [1, "one", name === "SQLite" ? 0 : false]]
        })
        const sql = `SELECT id FROM notes WHERE title = ${placeholder(1)} AND id > ${placeholder(2)}`
        assert.deepStrictEqual((yield* answer("query", { sql, parameters: ["two", 0] })).rows, [[2]])
        assert.deepStrictEqual((yield* answer("query", { sql, parameters: ["' OR 1=1 --", 0] })).rows, [])
        const one = (text: string) => Effect.map(answer("query", { sql: text, parameters: null }), ({ rows }) => rows)
        assert.deepStrictEqual(yield* one("VALUES (1, 'a')"), [[1, "a"]])
        assert.deepStrictEqual(yield* one("WITH x AS (SELECT 1 AS a) SELECT a FROM x; -- done"), [[1]])
        assert.deepStrictEqual(yield* one("SELECT ';' -- ; not the end"), [[";"]])
      })
    )

    live(
      "tells columns of one name apart",
      Effect.gen(function*() {
        const { answer } = yield* prepare(name)
        const sql = "SELECT a.id, b.id, b.title FROM notes a, notes b WHERE a.id = 1 AND b.id = 2"
        assert.deepStrictEqual(yield* answer("query", { sql }), {
          columns: name === "SQLite" ? ["id", "id:1", "title"] : ["id", "id", "title"],
          rows: [[1, 2, "two"]]
        })
        // What a client remembers of one query is not taken for another.
        assert.deepStrictEqual((yield* answer("query", { sql: "SELECT title FROM notes" })).columns, ["title"])
      })
    )

    live(
      "says where rows are left out, by number and by size, and cuts a value that is too long",
      Effect.gen(function*() {
        const { answer } = yield* prepare(name, { maxRows: 3, maxBytes: 200 })
        const numbers = (count: number) =>
          `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count}) SELECT i`
        assert.deepStrictEqual(yield* answer("query", { sql: `${numbers(3)} FROM n` }), {
          columns: ["i"],
          rows: [[1], [2], [3]]
        })
        const four = yield* answer("query", { sql: `${numbers(4)} FROM n` })
        assert.deepStrictEqual(four.rows, [[1], [2], [3]])
        assert.match(four.truncated ?? "", /^Only the first 3 rows are here, there are more/)
        const text = `substr('${"x".repeat(80)}', 1, 80)`
        const wide = yield* answer("query", { sql: `${numbers(3)}, ${text} AS x FROM n` })
        assert.strictEqual(wide.rows.length, 2)
        assert.match(wide.truncated ?? "", /^Only the first 2 rows are here/)
        const long = yield* answer("query", { sql: `SELECT '${"ü".repeat(50_000)}' AS x, 1 AS y` })
        assert.match(String(long.rows[0]![0]), /^ü{50}\[… 49950 characters left out …\]$/)
        assert.strictEqual(long.rows[0]![1], 1)
        assert.strictEqual(long.truncated, "Long values of the row are cut.")
      })
    )

    live(
      "gives up on rows that nobody can read before they fill the memory",
      Effect.gen(function*() {
        const { answer, isSqlite } = yield* prepare(name)
        const endless = "WITH RECURSIVE n (i) AS (SELECT 1::bigint UNION ALL SELECT i + 1 FROM n)"
        const sql = isSqlite
          ? `${endless.replace("::bigint", "")} SELECT i FROM n`
          : `${endless} SELECT repeat('x', 100000) FROM n`
        const before = process.memoryUsage().rss
        const { rows, truncated } = yield* answer("query", { sql })
        assert.isAtMost(rows.length, 100)
        assert.include(truncated ?? "", isSqlite ? "Only the first 100 rows" : "row is here")
        assert.isBelow(process.memoryUsage().rss - before, 200_000_000)
      })
    )

    live(
      "lets no query change anything, whatever it looks like",
      Effect.gen(function*() {
        const { answer, call, isSqlite, sql, titles } = yield* prepare(name)
        if (!isSqlite) {
          yield* sql.unsafe(
            "CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM notes; RETURN 1; END $$"
          )
          yield* sql.unsafe(
            "CREATE FUNCTION sly() RETURNS int LANGUAGE plpgsql AS " +
              "$$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM notes; RETURN 1; END $$"
          )
          yield* sql.unsafe("CREATE SEQUENCE counter")
        }
        const attacks = [
          "DELETE FROM notes",
          "WITH x AS (DELETE FROM notes RETURNING id) SELECT * FROM x",
          "WITH x AS (SELECT 1) DELETE FROM notes",
          "SELECT 1; DELETE FROM notes",
          "SELECT 1) LIMIT 1; DELETE FROM notes; SELECT * FROM (SELECT 1",
          "SELECT 1) AS x; DELETE FROM notes; --",
          "INSERT INTO notes (title) VALUES ('x') RETURNING id",
          "DROP TABLE notes",
          "CREATE TABLE more (a int)",
          "CREATE TEMP TABLE more (a int)",
          "SELECT * INTO more FROM notes",
          "COMMIT",
          "ROLLBACK",
          "",
          ...(isSqlite
            ? [
              "PRAGMA query_only = OFF",
              "PRAGMA query_only = OFF; DELETE FROM notes",
              "SELECT 1; PRAGMA query_only = OFF",
              "ATTACH DATABASE ':memory:' AS other",
              "PRAGMA user_version = 7",
              "VACUUM INTO '/tmp/agent-layers-never.db'",
              "REPLACE INTO notes (id, title) VALUES (1, 'x')"
            ]
            : [
              "SELECT wipe()",
              "SELECT sly()",
              "SELECT set_config('transaction_read_only', 'off', false), wipe()",
              "SELECT nextval('counter')",
              "SELECT * FROM notes FOR UPDATE",
              "SET TRANSACTION READ WRITE",
              "DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM notes; END $$",
              "COPY notes TO PROGRAM 'true'",
              "EXPLAIN ANALYZE DELETE FROM notes",
              "TRUNCATE notes",
              "DEALLOCATE ALL",
              "EXECUTE x"
            ])
        ]
        for (const attack of attacks) {
          const { encodedResult, isFailure } = yield* call("query", { sql: attack })
          assert.isTrue(isFailure, `${attack}: ${JSON.stringify(encodedResult)}`)
          assert.include(["InvalidSql", "ReadOnly"], (encodedResult as Failed).reason, attack)
        }
        assert.deepStrictEqual(yield* titles, ["one", "two"])
        // Whoever else uses the client is not held to reading.
        yield* sql`INSERT INTO notes ${sql.insert({ title: "three" })}`
        assert.deepStrictEqual(yield* titles, ["one", "two", "three"])
        if (isSqlite) {
          const held = "SELECT query_only FROM pragma_query_only"
          assert.deepStrictEqual((yield* answer("query", { sql: held })).rows, [[1]])
          assert.deepStrictEqual(yield* sql.unsafe(held).values, [[0]])
        } else {
          // What a query sets is gone with it.
          yield* answer("query", { sql: "SELECT set_config('work_mem', '64kB', false)" })
          const all = yield* Effect.forEach([1, 2, 3, 4], () => sql`SELECT current_setting('work_mem') AS w`, {
            concurrency: "unbounded"
          })
          for (const [row] of all) assert.notStrictEqual(row?.w, "64kB")
          assert.strictEqual((yield* sql`SELECT current_setting('statement_timeout') AS t`)[0]?.t, "0")
        }
      })
    )

    live(
      "reads inside a transaction of the program's, which may go on writing",
      Effect.gen(function*() {
        const { answer, failure, sql, titles } = yield* prepare(name)
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`INSERT INTO notes ${sql.insert({ title: "three" })}`
          assert.deepStrictEqual((yield* answer("query", { sql: "SELECT count(*) AS n FROM notes" })).rows, [[3]])
          assert.oneOf((yield* failure("query", { sql: "SELECT none FROM notes" })).reason, ["InvalidSql"])
          yield* answer("insert", { table: "notes", columns: ["title"], rows: [["four"]] })
          yield* sql`INSERT INTO notes ${sql.insert({ title: "five" })}`
        }))
        assert.deepStrictEqual(yield* titles, ["one", "two", "three", "four", "five"])
        yield* Effect.exit(sql.withTransaction(
          Effect.andThen(answer("insert", { table: "notes", columns: ["title"], rows: [["six"]] }), Effect.fail("no"))
        ))
        assert.strictEqual((yield* titles).length, 5)
      })
    )

    live(
      "answers many calls at once",
      Effect.gen(function*() {
        const { answer, titles } = yield* prepare(name)
        const results = yield* Effect.forEach(
          Array.from({ length: 24 }, (_, index) => index),
          (index) =>
            index % 3 === 0
              ? Effect.as(answer("insert", { table: "notes", columns: ["title"], rows: [[`n${index}`]] }), index)
              : Effect.map(answer("query", { sql: `SELECT ${index} AS a` }), ({ rows }) => rows[0]![0]),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(results, Array.from({ length: 24 }, (_, index) => index))
        assert.strictEqual((yield* titles).length, 10)
      })
    )

    live(
      "tells the model what it can mend",
      Effect.gen(function*() {
        const { failure, placeholder } = yield* prepare(name)
        const table = yield* failure("query", { sql: "SELECT * FROM nots" })
        assert.strictEqual(table.reason, "InvalidSql")
        assert.include(table.message, "nots")
        assert.match((yield* failure("query", { sql: "SELECT titel FROM notes" })).message, /titel/)
        const missing = yield* failure("query", { sql: `SELECT ${placeholder(1)}, 1 WHERE FROM`, parameters: [] })
        assert.strictEqual(missing.reason, "InvalidSql")
      })
    )

    live(
      "inserts into the tables and columns that it may, all rows or none",
      Effect.gen(function*() {
        const { answer, failure, sql, titles } = yield* prepare(name, { maxInsertedRows: 3 })
        const nasty = "'); DROP TABLE notes; --"
        assert.deepStrictEqual(
          yield* answer("insert", { table: "notes", columns: ["title", "done"], rows: [[nasty, true], ["x", null]] }),
          { inserted: 2 }
        )
        assert.deepStrictEqual(yield* titles, ["one", "two", nasty, "x"])
        assert.deepStrictEqual(
          yield* answer("insert", { table: "odd \"table", columns: ["a"], rows: [[7]] }),
          { inserted: 1 }
        )
        assert.deepStrictEqual(yield* sql.unsafe(`SELECT a FROM "odd ""table"`).values, [[7]])
        assert.deepStrictEqual(yield* answer("insert", { table: "notes", columns: ["title"], rows: [] }), {
          inserted: 0
        })

        const refused = (
          table: string,
          columns: ReadonlyArray<string>,
          rows: ReadonlyArray<ReadonlyArray<string | number | boolean | null>>
        ) => Effect.map(failure("insert", { table, columns, rows }), ({ reason }) => reason)
        assert.strictEqual(yield* refused("titles", ["title"], [["x"]]), "NotAllowed")
        assert.strictEqual(yield* refused("__proto__", ["title"], [["x"]]), "NotAllowed")
        assert.strictEqual(yield* refused("notes\" (title) VALUES ('x') --", ["title"], [["x"]]), "NotAllowed")
        assert.strictEqual(yield* refused("notes", ["secret"], [["x"]]), "NotAllowed")
        assert.strictEqual(yield* refused("notes", ["title) VALUES ('x') --"], [["x"]]), "NoSuchColumn")
        assert.strictEqual(yield* refused("notes", ["title", "title"], [["x", "y"]]), "InvalidRows")
        assert.strictEqual(yield* refused("notes", [], [[]]), "InvalidRows")
        assert.strictEqual(yield* refused("notes", ["title", "done"], [["x"]]), "InvalidRows")
        assert.strictEqual(yield* refused("notes", ["title"], [["a"], ["b"], ["c"], ["d"]]), "TooManyRows")
        assert.strictEqual(yield* refused("notes", ["title"], [["good"], [null]]), "Constraint")
        assert.deepStrictEqual(yield* titles, ["one", "two", nasty, "x"])
      })
    )

    live(
      "inserts only what a person has approved, once",
      Effect.gen(function*() {
        const { handlers, titles } = yield* prepare(name)
        const agent = Agent.make({
          name: "clerk",
          toolkit: ToolsSql.toolkitWithInsert,
          toolOptions: { insert: { needsApproval: true } }
        })
        const model = ModelScripted.layer([
          ModelScripted.calls([
            { name: "query", arguments: { sql: "SELECT count(*) AS n FROM notes" } },
            { name: "insert", arguments: { table: "notes", columns: ["title"], rows: [["approved"]] } }
          ]),
          ModelScripted.text("Stored.")
        ])
        const result = yield* Effect.gen(function*() {
          const error = yield* Effect.flip(Runner.run(agent, "Store it."))
          if (error._tag !== "RunError" || error.reason._tag !== "ApprovalRequired") return yield* Effect.die(error)
          const { approvals, state } = error.reason
          assert.deepStrictEqual(approvals.map(({ tool }) => tool), ["insert"])
          assert.deepStrictEqual(yield* titles, ["one", "two"])
          return yield* Runner.resume(agent, state, approvals.map((approval) => Approval.approve(approval)))
        }).pipe(Effect.provide(Layer.merge(Layer.succeedContext(handlers), model)))
        assert.strictEqual(result.finalOutput, "Stored.")
        assert.deepStrictEqual(yield* titles, ["one", "two", "approved"])
      })
    )
  })
}

describe("ToolsSql", () => {
  it.live(
    "writes what PostgreSQL has as JSON, and says of what it cannot read how to ask for it",
    () =>
      Effect.gen(function*() {
        const { answer, failure } = yield* prepare("PostgreSQL")
        const { rows } = yield* answer("query", {
          sql:
            "SELECT 9007199254740993::bigint, 7::bigint, 1.50::numeric, 'NaN'::float8, '2020-01-02 03:04:05Z'::timestamptz, " +
            "'infinity'::timestamptz, '\\x00ff'::bytea, '{\"a\": [1, null]}'::jsonb, '{1,2}'::int8[], NULL, 'é', true"
        })
        assert.deepStrictEqual(rows, [[
          "9007199254740993",
          7,
          "1.50",
          "NaN",
          "2020-01-02T03:04:05.000Z",
          "Invalid Date",
          "base64:AP8=",
          { a: [1, null] },
          [1, 2],
          null,
          "é",
          true
        ]])
        assert.strictEqual((yield* failure("query", { sql: "SELECT point(1, 2)" })).reason, "NotReadable")
        assert.deepStrictEqual((yield* answer("query", { sql: "SELECT point(1, 2)::text" })).rows, [["(1,2)"]])
        const empty = yield* answer("query", { sql: "SELECT id, title FROM notes WHERE false" })
        assert.deepStrictEqual(empty, { columns: ["id", "title"], rows: [] })
      }),
    30_000
  )

  it.live("writes what SQLite has as JSON", () =>
    Effect.gen(function*() {
      const { answer } = yield* prepare("SQLite")
      const { rows } = yield* answer("query", {
        sql: "SELECT 9007199254740993 a, 7 b, 1.5 c, x'00ff' d, NULL e, 'é' f, 9e999 g, -9e999 h"
      })
      assert.deepStrictEqual(rows, [["9007199254740993", 7, 1.5, "base64:AP8=", null, "é", "Infinity", "-Infinity"]])
    }))

  it.live("stops a query of PostgreSQL when its time is up, on the server too", () =>
    Effect.gen(function*() {
      const { answer, failure, sql } = yield* prepare("PostgreSQL", { timeout: "2 seconds" })
      assert.deepInclude(yield* failure("query", { sql: "SELECT pg_sleep(600)" }), {
        reason: "Timeout",
        message: "It took longer than 2s and was stopped. Ask for less"
      })
      const sleeping = yield* sleepers
      yield* until(sleeping, (count) => count === 0)
      assert.deepStrictEqual((yield* answer("query", { sql: "SELECT 1" })).rows, [[1]])
      // Connections that others hold count as well.
      const holders = yield* Effect.forEach([1, 2, 3, 4], () => Effect.forkChild(sql`SELECT pg_sleep(600)`))
      yield* until(sleeping, (count) => count === 4)
      assert.strictEqual((yield* failure("query", { sql: "SELECT 1" })).reason, "Timeout")
      yield* Fiber.interruptAll(holders)
    }), 30_000)

  it.live("cancels a query whose run was interrupted", () =>
    Effect.gen(function*() {
      const { call } = yield* prepare("PostgreSQL")
      const fiber = yield* Effect.forkChild(call("query", { sql: "SELECT pg_sleep(600)" }))
      const sleeping = yield* sleepers
      yield* until(sleeping, (count) => count === 1)
      yield* Fiber.interrupt(fiber)
      yield* until(sleeping, (count) => count === 0)
    }), 30_000)

  it.live(
    "tells the model of locks and of a database that does not answer, not where it is",
    () =>
      Effect.gen(function*() {
        const { answer, call, failure, sql } = yield* prepare("PostgreSQL", { timeout: "5 seconds" })
        yield* answer("query", { sql: "SELECT 1" })
        yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()`
        // The pool finds out one by one.
        const seen = yield* Effect.forEach([1, 2, 3, 4, 5], () => call("query", { sql: "SELECT 1" }))
        for (const { encodedResult, isFailure } of seen) {
          if (isFailure) {
            assert.strictEqual((encodedResult as Failed).reason, "Unavailable")
            assert.notMatch((encodedResult as Failed).message, /127\.0\.0\.1|postgres:/)
          }
        }
        const self = yield* failure("query", { sql: "SELECT pg_terminate_backend(pg_backend_pid())" })
        assert.strictEqual(self.reason, "Unavailable")
        assert.deepStrictEqual((yield* answer("query", { sql: "SELECT 1" })).rows, [[1]])
      }),
    30_000
  )

  it.live("takes tables of another schema by their whole name", () =>
    Effect.gen(function*() {
      const { answer, sql } = yield* prepare("PostgreSQL", { insertInto: { "shop.orders": "all" } })
      yield* sql.unsafe("CREATE SCHEMA shop; ").unprepared
      yield* sql`CREATE TABLE shop.orders (at timestamptz, amount numeric, tags jsonb)`
      const { tables } = yield* answer("describe", { table: "shop.orders" })
      assert.deepStrictEqual(tables[0]?.name, "shop.orders")
      yield* answer("insert", {
        table: "shop.orders",
        columns: ["at", "amount", "tags"],
        rows: [["2020-01-02T03:04:05Z", 12.5, "[\"a\"]"], [null, "99999999999999999999.5", null]]
      })
      assert.deepStrictEqual((yield* answer("query", { sql: "SELECT * FROM shop.orders" })).rows, [
        ["2020-01-02T03:04:05.000Z", "12.5", ["a"]],
        [null, "99999999999999999999.5", null]
      ])
    }), 30_000)

  it.live("ends building where the database is of a kind that it does not know", () =>
    Effect.gen(function*() {
      const sql = yield* clients.SQLite
      const compiler = Statement.makeCompiler({
        dialect: "mysql",
        placeholder: () => "?",
        onIdentifier: (name) => name,
        onRecordUpdate: () => ["", []],
        onCustom: () => ["", []]
      })
      const other = yield* Effect.provideServiceEffect(
        SqlClient.make({ acquirer: sql.reserve, compiler, driver: "other", spanAttributes: [] }),
        Reactivity.Reactivity,
        Reactivity.make
      )
      const error = yield* Layer.build(
        ToolsSql.layer().pipe(Layer.provide(Layer.succeed(SqlClient.SqlClient, other)))
      ).pipe(Effect.flip)
      assert.strictEqual(error._tag, "UnsupportedDatabase")
      assert.match(error.message, /PostgreSQL and SQLite/)
    }))

  it.live("reads nothing over connections that forget that they only read", () =>
    Effect.gen(function*() {
      const sql = yield* clients.SQLite
      const forgetful = yield* Effect.provideServiceEffect(
        SqlClient.make({
          acquirer: Effect.map(sql.reserve, (connection) => ({
            ...connection,
            executeUnprepared: (text, parameters, transform) =>
              /query_only =/.test(text) ? Effect.succeed([]) : connection.executeUnprepared(text, parameters, transform)
          })),
          compiler: Statement.makeCompilerSqlite(),
          driver: "forgetful",
          spanAttributes: []
        }),
        Reactivity.Reactivity,
        Reactivity.make
      )
      const toolkit = yield* Effect.provide(
        ToolsSql.toolkit,
        ToolsSql.layer().pipe(Layer.provide(Layer.succeed(SqlClient.SqlClient, forgetful)))
      )
      const [last] = yield* Effect.flatMap(toolkit.handle("query", { sql: "SELECT 1" }), Stream.runCollect)
      assert.isTrue(last!.isFailure)
      assert.strictEqual((last!.encodedResult as Failed).reason, "Unavailable")
    }))

  it("has a toolkit that only reads, and describes every tool and every parameter", () => {
    assert.deepStrictEqual(Object.keys(ToolsSql.toolkit.tools), ["describe", "query"])
    for (const tool of Object.values(ToolsSql.toolkitWithInsert.tools) as ReadonlyArray<Tool.Any>) {
      assert.strictEqual(Context.get(tool.annotations, Tool.Readonly), tool.name !== "insert", tool.name)
      assert.isString(tool.description)
      const { properties } = Tool.getJsonSchema(tool) as { readonly properties: Record<string, object> }
      for (const [parameter, schema] of Object.entries(properties)) {
        assert.include(JSON.stringify(schema), "\"description\"", `${tool.name}.${parameter}`)
      }
    }
  })
})
