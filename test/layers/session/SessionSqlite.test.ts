import { afterAll, assert, describe, it } from "@effect/vitest"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import { text, user } from "agent-layers/services/Item"
import { all } from "agent-layers/services/laws/SessionLaws"
import { Session } from "agent-layers/services/Session"
import type { SessionError, SessionErrorReason } from "agent-layers/services/SessionError"
import { Config, ConfigProvider, Duration, Effect, Exit, Fiber, Layer, Logger, Result, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import * as database from "../../../src/layers/session/internal/sqliteDatabase.ts"
import * as driver from "../../../src/layers/session/internal/sqliteDriver.ts"
import { describeLaws } from "../../support/laws.ts"
import { everything, openRaw, sqliteSubject, temporaryFolder } from "../../support/session/subjects.ts"
import { stays } from "../../support/until.ts"

const scope = Effect.runSync(Scope.make())
const folder = Effect.runSync(Scope.provide(temporaryFolder, scope))
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

describeLaws("SessionSqlite, a file", all, sqliteSubject(path.join(folder, "laws.db")))

describeLaws("SessionSqlite, :memory:", all, {
  open: SessionSqlite.make({ filename: ":memory:" }),
  capabilities: everything,
  canReopen: false
}, {
  notShown: [
    "An operation id is remembered when the session is opened again",
    "A last item that cannot be read is an error, and popItem leaves it where it is",
    "A session that is opened again has what was saved",
    "Two sessions on one store see each other's commits at once",
    "Closing one session leaves another on the same store open",
    "While the store takes no writes they fail with Unavailable, and a retry stores once"
  ]
})

let files = 0
const freshFile = () => path.join(folder, `${++files}.db`)

const reasonOf = <A>(effect: Effect.Effect<A, SessionError, Scope.Scope>) =>
  Effect.map(Effect.flip(Effect.scoped(effect)), ({ backend, operation, reason }) => ({ backend, operation, reason }))

const refusesToOpen = <Tag extends SessionErrorReason["_tag"]>(filename: string, tag: Tag, ...says: Array<string>) =>
  Effect.gen(function*() {
    const { backend, operation, reason } = yield* reasonOf(SessionSqlite.make({ filename, commitTimeout: "1 second" }))
    assert.deepStrictEqual([backend, operation, reason._tag], ["sqlite", "open", tag])
    for (const words of says) assert.include(reason.message, words)
    return reason as Extract<SessionErrorReason, { _tag: Tag }>
  })

const withSession = <A, E>(filename: string, use: (session: Session["Service"]) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.flatMap(SessionSqlite.make({ filename }), use))

/** Opens a file and gives the connection, which sessions on the same file then share. */
const connectionOf = (filename: string, synchronous: "normal" | "full" = "normal") =>
  Effect.gen(function*() {
    const opened: Array<DatabaseSync> = []
    class Captured extends DatabaseSync {
      constructor(filename: string) {
        super(filename)
        opened.push(this)
      }
    }
    yield* database.open(optionsOf(filename, Captured, synchronous))
    return opened[0]!
  })

const optionsOf = (
  filename: string,
  DatabaseSync: new(filename: string) => DatabaseSync,
  synchronous: "normal" | "full" = "normal",
  patience: Duration.Duration = Duration.seconds(1)
): database.Options => ({ driver: { DatabaseSync } as unknown as driver.Driver, filename, synchronous, patience })

const besides = (filename: string) =>
  fs.readdirSync(path.dirname(filename)).filter((name) => name.startsWith(`${path.basename(filename)}-`))

describe("SessionSqlite opens", () => {
  it.effect("a path relative to the working directory, and closes what it opened", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      yield* withSession(path.relative(process.cwd(), filename), (session) => session.saveItems("a", [user("hi")]))
      assert.isTrue(fs.existsSync(filename))
      // The write-ahead log is gone with the last connection.
      assert.deepStrictEqual(besides(filename), [])
    }))

  it.effect("one connection for a file, by whatever name, until the last session closes", () =>
    Effect.gen(function*() {
      let open = 0
      let opened = 0
      class Counted extends DatabaseSync {
        constructor(filename: string) {
          super(filename)
          open++
          opened++
        }
        override close() {
          open--
          super.close()
        }
      }
      const filename = freshFile()
      const link = freshFile()
      fs.symlinkSync(filename, link)
      const names = [filename, link, path.join(folder, ".", path.basename(filename))]
      const scopes = yield* Effect.forEach([...names, ...names], (name) =>
        Effect.gen(function*() {
          const scope = yield* Scope.make()
          const { transaction } = yield* Scope.provide(database.open(optionsOf(name, Counted)), scope)
          yield* transaction("write", (sql) => Result.succeed(sql.addConversation.first(`${Math.random()}`, 0)))
          return scope
        }))
      assert.strictEqual(open, 1)
      assert.isAbove(opened, 1)
      for (const one of scopes.slice(1)) yield* Scope.close(one, Exit.void)
      assert.strictEqual(open, 1)
      yield* Scope.close(scopes[0]!, Exit.void)
      assert.strictEqual(open, 0)
      assert.deepStrictEqual(besides(filename), [])
    }))

  it.effect("a database of its own for each :memory:", () =>
    Effect.gen(function*() {
      const first = yield* SessionSqlite.make({ filename: ":memory:" })
      const second = yield* SessionSqlite.make({ filename: ":memory:" })
      yield* first.saveItems("a", [user("hi")])
      assert.strictEqual((yield* second.loadItems("a")).version, 0)
    }))

  it.effect("two Layers on one file in one program", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      const save = Effect.flatMap(Session, (session) => session.saveItems("a", [user("hi")]))
      const two = Layer.merge(
        Layer.effectDiscard(save).pipe(Layer.provide(SessionSqlite.layer({ filename }))),
        Layer.effectDiscard(save).pipe(Layer.provide(SessionSqlite.layer({ filename })))
      )
      yield* Effect.provide(Effect.void, two)
      assert.strictEqual((yield* withSession(filename, (session) => session.loadItems("a"))).version, 2)
    }))

  it.effect("a file beside the tables of somebody else", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      const db = yield* openRaw(filename)
      db.exec("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)")
      yield* withSession(filename, (session) => session.saveItems("a", [user("hi")]))
      assert.deepStrictEqual({ ...db.prepare("SELECT a FROM mine").get() }, { a: 1 })
      const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'mine' ORDER BY name")
      assert.deepStrictEqual(tables.all().map((row) => row["name"]), [
        "agent_layers_conversations",
        "agent_layers_items",
        "agent_layers_migrations",
        "agent_layers_operations"
      ])
    }))

  it.effect("with options from configuration", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      const layer = SessionSqlite.layerConfig({
        filename: Config.String("DATABASE"),
        commitTimeout: Config.Duration("TIMEOUT").pipe(Config.withDefault(Duration.seconds(5)))
      }).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ DATABASE: filename }))))
      yield* Effect.provide(Effect.flatMap(Session, (session) => session.saveItems("a", [user("hi")])), layer)
      assert.isTrue(fs.existsSync(filename))
      const missing = SessionSqlite.layerConfig({ filename: Config.String("DATABASE") }).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({})))
      )
      const error = yield* Effect.flip(Effect.provide(Session, missing))
      assert.strictEqual(error._tag, "ConfigError")
    }))

  it.effect("for a power cut too where one of its Layers asks for it", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      const db = yield* connectionOf(filename)
      const mode = () => db.prepare("PRAGMA synchronous").get()!["synchronous"]
      assert.strictEqual(mode(), 1)
      yield* SessionSqlite.make({ filename, synchronous: "full" })
      assert.strictEqual(mode(), 2)
      yield* SessionSqlite.make({ filename })
      assert.strictEqual(mode(), 2)
    }))
})

describe("SessionSqlite refuses to open", () => {
  it.effect.each(["20.20.2", "22.18.0", "18.0.0", "22.4.1"])("Node.js %s", (version) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(driver.load(version))
      assert.strictEqual(error._tag, "Unsupported")
      assert.include(error.message, "22.19")
      assert.include(error.message, version)
    }))

  it.effect.each(["22.19.0", "24.0.0", "25.1.0"])(
    "but not Node.js %s",
    (version) => Effect.map(driver.load(version), (loaded) => assert.isFunction(loaded.DatabaseSync))
  )

  it("its module loads without node:sqlite", () => {
    const root = fileURLToPath(new URL("../../../src/layers/session/", import.meta.url))
    const sources = [
      "SessionSqlite.ts",
      ...fs.readdirSync(path.join(root, "internal")).filter((name) => name.startsWith("sqlite"))
        .map((name) => `internal/${name}`)
    ]
    for (const source of sources) {
      const imports = fs.readFileSync(path.join(root, source), "utf8").match(/^import .*"node:.*$/gm) ?? []
      for (const line of imports) assert.match(line, /^import type /, source)
    }
  })

  it.effect("a file that is no database, and leaves it as it is", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      const content = "These are notes, not a database. ".repeat(200)
      fs.writeFileSync(filename, content)
      yield* refusesToOpen(filename, "CorruptStore", filename, "move it away", "backup")
      assert.strictEqual(fs.readFileSync(filename, "utf8"), content)
      assert.deepStrictEqual(besides(filename), [])
    }))

  it.effect("a database that is damaged", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      yield* withSession(filename, (session) =>
        session.saveItems("a", Array.from({ length: 200 }, () => user("x".repeat(200)))))
      const content = fs.readFileSync(filename)
      // The header stays, all else is noise.
      fs.writeFileSync(filename, Buffer.concat([content.subarray(0, 100), Buffer.alloc(content.length - 100, 7)]))
      const damaged = fs.readFileSync(filename)
      yield* refusesToOpen(filename, "CorruptStore", filename)
      assert.isTrue(fs.readFileSync(filename).equals(damaged))
    }))

  it.effect("a database whose tables were changed", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      yield* withSession(filename, (session) => session.saveItems("a", [user("hi")]))
      yield* Effect.scoped(Effect.map(openRaw(filename), (db) => db.exec("DROP TABLE agent_layers_operations")))
      yield* refusesToOpen(filename, "CorruptStore", filename, "agent_layers_operations")
    }))

  it.effect.each(["DELETE", "WAL"])(
    "a database of a newer version in mode %s, and leaves it as it is",
    (mode) =>
      Effect.gen(function*() {
        const filename = freshFile()
        yield* withSession(filename, (session) => session.saveItems("a", [user("hi")]))
        yield* Effect.scoped(Effect.map(openRaw(filename), (db) =>
          db.exec(`
          INSERT INTO agent_layers_migrations VALUES ('session', 7, 0);
          PRAGMA journal_mode = ${mode}
        `)))
        const content = fs.readFileSync(filename)
        yield* refusesToOpen(filename, "Unsupported", filename, "version 7", "version 1", "newer agent-layers")
        assert.isTrue(fs.readFileSync(filename).equals(content))
        assert.deepStrictEqual(besides(filename), [])
      })
  )

  it.effect("an empty filename", () => refusesToOpen("", "InvalidInput", ":memory:"))

  it.effect("a folder that does not exist, and does not make it", () =>
    Effect.gen(function*() {
      const missing = path.join(folder, "missing")
      yield* refusesToOpen(path.join(missing, "a.db"), "Unavailable", missing, "must exist")
      assert.isFalse(fs.existsSync(missing))
    }))

  it.effect("a folder", () => refusesToOpen(folder, "Unavailable", folder, "must name a file"))

  it.effect("a folder that cannot be written", () =>
    Effect.gen(function*() {
      // Permissions do not bind root, but nobody makes files in /proc.
      const isRoot = process.getuid?.() === 0
      const readOnly = isRoot ? "/proc" : path.join(folder, "read-only")
      if (!isRoot) fs.mkdirSync(readOnly, { mode: 0o555 })
      yield* refusesToOpen(path.join(readOnly, "a.db"), "Unavailable", readOnly, "writable")
    }))

  it.effect("a file that cannot be written", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      fs.writeFileSync(filename, "")
      class ReadOnly extends DatabaseSync {
        constructor(filename: string) {
          super(filename, { readOnly: true })
        }
      }
      const reason = yield* Effect.flip(Effect.scoped(database.open(optionsOf(filename, ReadOnly))))
      assert.strictEqual(reason._tag, "Unavailable")
      assert.include(reason.message, "read-only")
    }))

  it.live("a database that stays locked, and can be interrupted while it waits", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      const db = yield* openRaw(filename)
      db.exec("BEGIN EXCLUSIVE")
      const { reason } = yield* reasonOf(SessionSqlite.make({ filename, commitTimeout: "100 millis" }))
      assert.strictEqual(reason._tag, "Unavailable")
      assert.include(reason.message, "locked")

      const waiting = yield* Effect.forkChild(withSession(filename, (session) => session.loadItems("a")), {
        startImmediately: true
      })
      yield* stays(() => waiting.pollUnsafe(), (exit) => exit === undefined, 50)
      yield* Fiber.interrupt(waiting)

      const patient = yield* Effect.forkChild(withSession(filename, (session) => session.loadItems("a")), {
        startImmediately: true
      })
      yield* stays(() => patient.pollUnsafe(), (exit) => exit === undefined, 50)
      db.exec("ROLLBACK")
      assert.strictEqual((yield* Fiber.join(patient)).version, 0)
    }))
})

describe("SessionSqlite over a store that fails", () => {
  /** What a driver throws. */
  const sqliteError = (errcode: number, errstr: string) =>
    Object.assign(new Error(errstr), { code: "ERR_SQLITE_ERROR", errcode, errstr })

  /** A database whose commits fail while there is an error. */
  const failing = Effect.gen(function*() {
    const filename = freshFile()
    const state: { error: Error | undefined } = { error: undefined }
    class Failing extends DatabaseSync {
      override prepare(sql: string) {
        const statement = super.prepare(sql)
        if (sql === "COMMIT") {
          const run = statement.run.bind(statement)
          statement.run = () => {
            if (state.error !== undefined) throw state.error
            return run()
          }
        }
        return statement
      }
    }
    const { transaction } = yield* database.open(optionsOf(filename, Failing, "normal", Duration.millis(50)))
    return { filename, state, transaction }
  })

  const codes: ReadonlyArray<readonly [name: string, code: number, says: string, isOutcomeUnknown: boolean]> = [
    ["an I/O error", 10, "disk I/O error", true],
    ["an I/O error of fsync", 10 | (4 << 8), "code 1034", true],
    ["a full disk", 13, "no room left", false],
    ["no memory", 7, "code 7", false],
    ["a lock", 5, "locked by another process for 50ms", false],
    ["a race for the write-ahead log", 15, "locked by another process", false]
  ]

  it.live.each(codes)(
    "%s in a commit is Unavailable, and nothing is kept",
    ([, code, says, isOutcomeUnknown]) =>
      Effect.gen(function*() {
        const { filename, state, transaction } = yield* failing
        state.error = sqliteError(code, "disk I/O error")
        const reason = yield* Effect.flip(
          transaction("write", (sql) => Result.succeed(sql.addConversation.first("a", 0)))
        )
        if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
        assert.include(reason.message, says)
        assert.strictEqual(reason.isOutcomeUnknown, isOutcomeUnknown)
        state.error = undefined
        const found = yield* transaction("read", (sql) => Result.succeed(sql.conversation("a")))
        assert.isUndefined(found)
        assert.strictEqual((yield* withSession(filename, (session) => session.saveItems("a", [user("hi")]))).version, 1)
      })
  )

  it.effect("a disk that is full takes nothing of a commit, and the next one when there is room", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      const db = yield* connectionOf(filename)
      const session = yield* SessionSqlite.make({ filename })
      yield* session.saveItems("a", [user("before")])
      const pages = db.prepare("PRAGMA page_count").get()!["page_count"]
      db.exec(`PRAGMA max_page_count = ${pages}`)
      const large = Array.from({ length: 50 }, () => user("x".repeat(10_000)))
      const { isRetryable, reason } = yield* Effect.flip(session.saveItems("a", large, { operationId: "op" }))
      if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
      assert.isTrue(isRetryable)
      assert.isFalse(reason.isOutcomeUnknown)
      assert.include(reason.message, "no room left")
      assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["before"])
      db.exec("PRAGMA max_page_count = 1000000")
      assert.deepStrictEqual(yield* session.saveItems("a", large, { operationId: "op" }), { version: 2 })
    }))

  it.effect("a table that is gone while it is open is CorruptStore", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      const session = yield* SessionSqlite.make({ filename })
      yield* session.saveItems("a", [user("hi")])
      const db = yield* openRaw(filename)
      db.exec("DROP TABLE agent_layers_items")
      const { operation, reason } = yield* Effect.flip(session.loadItems("a"))
      assert.strictEqual(operation, "loadItems")
      assert.strictEqual(reason._tag, "CorruptStore")
    }))

  it.effect("an entry that was damaged is CorruptItem, or is left out and logged", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      const session = yield* SessionSqlite.make({ filename })
      const skipping = yield* SessionSqlite.make({ filename, onCorruptItem: "skip" })
      yield* session.saveItems("a", [user("1"), user("2"), user("3")])
      const db = yield* openRaw(filename)
      db.exec("UPDATE agent_layers_items SET entry = 'nonsense' WHERE sequence = 2")
      const { reason } = yield* Effect.flip(session.loadItems("a"))
      assert.strictEqual(reason._tag, "CorruptItem")
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => {
        logged.push(String(message))
      })
      const { items } = yield* Effect.provide(skipping.loadItems("a"), Logger.layer([logger]))
      assert.deepStrictEqual(items.map(text), ["1", "3"])
      assert.strictEqual(logged.length, 1)
      assert.strictEqual(db.prepare("SELECT count(*) AS n FROM agent_layers_items").get()!["n"], 3)
    }))

  it.effect("meta that was damaged does not hide its item", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      const session = yield* SessionSqlite.make({ filename })
      yield* session.saveItems("a", [user("1")], { meta: { runId: "run" } })
      const db = yield* openRaw(filename)
      db.exec("UPDATE agent_layers_items SET meta = '{\"runId\":1}'")
      const [record] = yield* Stream.runCollect(session.records("a"))
      assert.deepStrictEqual(record!.item, user("1"))
      assert.isUndefined(record!.meta)
    }))
})

describe("SessionSqlite forgets operations", () => {
  const operationsOf = (filename: string) =>
    Effect.scoped(Effect.map(
      openRaw(filename),
      (db) => db.prepare("SELECT count(*) AS n FROM agent_layers_operations").get()!["n"] as number
    ))

  const save = (session: Session["Service"], count: number) =>
    Effect.forEach(
      Array.from({ length: count }, (_, index) => index),
      (index) => session.saveItems("a", [user("x")], { operationId: `op/${index}` }),
      { discard: true }
    )

  it.effect("beyond the latest 1,000, a few at a time", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      yield* withSession(filename, (session) => save(session, 1_300))
      const kept = yield* operationsOf(filename)
      assert.isAtLeast(kept, 1_000)
      assert.isAtMost(kept, 1_064)
      yield* withSession(filename, (session) => session.maintain("a"))
      assert.strictEqual(yield* operationsOf(filename), 1_000)
    }))

  it.effect("after 7 days, when the conversation is maintained", () =>
    Effect.gen(function*() {
      const filename = freshFile()
      const session = yield* SessionSqlite.make({ filename })
      yield* save(session, 3)
      yield* TestClock.adjust("7 days")
      yield* session.saveItems("a", [user("x")], { operationId: "late" })
      yield* session.maintain("a")
      assert.strictEqual(yield* operationsOf(filename), 4)
      yield* TestClock.adjust("1 millis")
      yield* session.maintain("a")
      assert.strictEqual(yield* operationsOf(filename), 1)
    }))
})
