import { assert, describe, it } from "@effect/vitest"
import * as SqlSqlite from "agent-layers/layers/sql/SqlSqlite"
import { Config, ConfigProvider, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { Reactivity } from "effect/reactivity"
import { Migrator, SqlClient } from "effect/sql"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { isBlank, onlyStatement } from "../../../src/layers/sql/internal/lexical.ts"
import { stays } from "../../support/until.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-sqlite-"))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
)

const open = (options: SqlSqlite.Options) =>
  Effect.provideServiceEffect(SqlSqlite.make(options), Reactivity.Reactivity, Reactivity.make)

const inMemory = Effect.tap(open({ filename: ":memory:" }), (sql) => sql`CREATE TABLE t (id INTEGER PRIMARY KEY, a)`)

const reasonOf = <A, R>(effect: Effect.Effect<A, { readonly reason: { readonly _tag: string } }, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)

describe("SqlSqlite", () => {
  it.live("binds values, gives rows, arrays and a stream, and tells what a change did", () =>
    Effect.gen(function*() {
      const sql = yield* inMemory
      const rows = [{ id: 1, a: "it's" }, { id: 2, a: null }] as const
      yield* sql`INSERT INTO t ${sql.insert(rows)}`
      const bytes = Uint8Array.of(0, 255)
      const [time] = yield* sql<{ t: string; b: number; x: Uint8Array }>`SELECT ${new Date(0)} t, ${true} b, ${bytes} x`
      assert.deepStrictEqual({ ...time }, { t: "1970-01-01T00:00:00.000Z", b: 1, x: bytes })
      assert.deepStrictEqual((yield* sql`SELECT * FROM t`).map((row) => ({ ...row })), [...rows])
      assert.deepStrictEqual(yield* sql`SELECT * FROM t`.values, [[1, "it's"], [2, null]])
      assert.deepStrictEqual(
        (yield* Stream.runCollect(sql<{ id: number }>`SELECT id FROM t`.stream)).map(({ id }) => id),
        [1, 2]
      )
      assert.deepInclude(yield* sql`DELETE FROM t`.raw, { changes: 2 })
    }))

  it.live("gives whole numbers that JavaScript would round where they are asked for, and fails otherwise", () =>
    Effect.gen(function*() {
      const sql = yield* inMemory
      yield* sql`INSERT INTO t VALUES (${9_007_199_254_740_993n}, 1)`
      const read = sql<{ id: bigint }>`SELECT id FROM t`
      assert.isTrue(Exit.isFailure(yield* Effect.exit(read)))
      const [row] = yield* Effect.provideService(read, SqlClient.SafeIntegers, true)
      assert.strictEqual(row!.id, 9_007_199_254_740_993n)
    }))

  it.live("undoes a transaction that fails, and the inner one alone", () =>
    Effect.gen(function*() {
      const sql = yield* inMemory
      yield* Effect.exit(sql.withTransaction(Effect.andThen(sql`INSERT INTO t VALUES (1, 1)`, Effect.fail("no"))))
      assert.deepStrictEqual(yield* sql`SELECT * FROM t`.values, [])
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`INSERT INTO t VALUES (1, 'outer')`
        yield* Effect.exit(sql.withTransaction(Effect.andThen(sql`INSERT INTO t VALUES (2, 1)`, Effect.fail("no"))))
      }))
      assert.deepStrictEqual(yield* sql`SELECT * FROM t`.values, [[1, "outer"]])
    }))

  it.live("says why a statement failed", () =>
    Effect.gen(function*() {
      const sql = yield* inMemory
      yield* sql`CREATE TABLE u (a TEXT UNIQUE, b INTEGER NOT NULL)`
      yield* sql`INSERT INTO u VALUES ('x', 1)`
      yield* sql`INSERT INTO t VALUES (1, 1)`
      assert.strictEqual(yield* reasonOf(sql`INSERT INTO u VALUES ('x', 1)`), "UniqueViolation")
      assert.strictEqual(yield* reasonOf(sql`INSERT INTO t VALUES (1, 1)`), "UniqueViolation")
      assert.strictEqual(yield* reasonOf(sql`INSERT INTO u VALUES ('y', NULL)`), "ConstraintError")
      assert.strictEqual(yield* reasonOf(sql`SELEC 1`), "SqlSyntaxError")
      assert.strictEqual(yield* reasonOf(sql`SELECT 1; DELETE FROM t`), "SqlSyntaxError")
      assert.deepStrictEqual(yield* sql`SELECT 1; -- and /* no more`.values, [[1]])
      yield* sql`CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM u; DELETE FROM t; END;`
      yield* sql`INSERT INTO t VALUES (2, 2)`
      assert.deepStrictEqual(yield* sql`SELECT * FROM t`.values, [])
    }))

  it.live("waits for a lock of another process for as long as it may, and without blocking", () =>
    Effect.gen(function*() {
      const filename = path.join(yield* temporary, "a.db")
      const sql = yield* open({ filename, lockTimeout: "1 minute" })
      const hasty = yield* open({ filename, lockTimeout: "100 millis" })
      yield* sql`CREATE TABLE t (id INTEGER)`
      const other = new DatabaseSync(filename)
      other.exec("BEGIN IMMEDIATE")
      assert.strictEqual(yield* reasonOf(hasty`INSERT INTO t VALUES (1)`), "LockTimeoutError")
      const fiber = yield* Effect.forkChild(sql`INSERT INTO t VALUES (2)`)
      yield* stays(() => fiber.pollUnsafe(), (exit) => exit === undefined, 100)
      other.exec("COMMIT")
      other.close()
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* sql`SELECT id FROM t`.values, [[2]])
    }))

  it.live("refuses changes where it only reads, and files that cannot be opened", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const filename = path.join(directory, "a.db")
      assert.strictEqual(yield* reasonOf(open({ filename, isReadOnly: true })), "ConnectionError")
      yield* Effect.scoped(Effect.flatMap(open({ filename }), (sql) => sql`CREATE TABLE t (id INTEGER)`))
      const sql = yield* open({ filename, isReadOnly: true })
      const { message } = yield* Effect.flip(sql`INSERT INTO t VALUES (1)`)
      assert.match(message, /readonly/)
      const error = yield* Effect.flip(open({ filename: path.join(directory, "none/a.db") }))
      assert.match(error.message, /Cannot open ".*a\.db": its folder must exist/)
    }))

  it.live("closes the file with its scope", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const sql = yield* Scope.provide(open({ filename: ":memory:" }), scope)
      yield* sql`SELECT 1`
      yield* Scope.close(scope, Exit.void)
      assert.match((yield* Effect.flip(sql`SELECT 1`)).message, /not open/)
    }))

  it.live("is a Layer, with options or with settings, that migrations run on", () =>
    Effect.gen(function*() {
      const configured = SqlSqlite.layerConfig({ filename: Config.String("FILE") }).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ FILE: ":memory:" })))
      )
      const migrate = Migrator.make({})({
        loader: Migrator.fromRecord({
          "1_init": Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.asVoid(sql`CREATE TABLE m (a TEXT)`))
        })
      })
      for (const layer of [SqlSqlite.layer({ filename: ":memory:" }), configured]) {
        yield* Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* migrate
          yield* sql`INSERT INTO m VALUES ('x')`
          assert.deepStrictEqual(yield* sql`SELECT a FROM m`.values, [["x"]])
        }).pipe(Effect.provide(layer))
      }
    }))
})

describe("a text of SQL", () => {
  it("is one statement, or several", () => {
    for (
      const [text, only] of [
        ["SELECT 1", "SELECT 1"],
        ["SELECT 1; ; -- end", "SELECT 1"],
        ["SELECT ';', \"a;b\", [c;d], `e;f` -- g;h\n/* i;j */", undefined],
        ["SELECT 'it''s; ok'", undefined],
        ["SELECT 1 /* ; open", undefined]
      ] as const
    ) assert.strictEqual(onlyStatement(text), only ?? text)
    for (
      const text of [
        "SELECT 1; DELETE FROM t",
        "SELECT 1 /* a */; /* b */ DELETE FROM t",
        "SELECT 'x'; x",
        "SELECT 1;--\nDELETE FROM t",
        "SELECT 1 - 1; - 1"
      ]
    ) assert.isUndefined(onlyStatement(text), text)
    assert.isTrue(isBlank(`;; ${"/* */ -- \n".repeat(20_000)}`))
    assert.isFalse(isBlank(`${"/* */".repeat(20_000)}x`))
  })
})
