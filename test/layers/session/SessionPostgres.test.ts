import { PgClient } from "@effect/sql-pg"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as SessionPostgres from "agent-layers/layers/session/SessionPostgres"
import * as TracerMemory from "agent-layers/layers/tracer/TracerMemory"
import { text, user } from "agent-layers/services/Item"
import { all } from "agent-layers/services/laws/SessionLaws"
import { Session } from "agent-layers/services/Session"
import type { SessionError, SessionErrorReason } from "agent-layers/services/SessionError"
import { Config, ConfigProvider, Effect, Exit, Fiber, Layer, Logger, Redacted, Scope, Stream, Tracer } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient, Statement } from "effect/sql"
import { inspect } from "node:util"
import { describeLaws } from "../../support/laws.ts"
import { connect, startPostgres } from "../../support/postgres.ts"
import { everything } from "../../support/session/subjects.ts"
import { allowTimeFor, until } from "../../support/until.ts"

const scope = Effect.runSync(Scope.make())
const server = await Effect.runPromise(Scope.provide(startPostgres, scope))
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const lawsUrl = await Effect.runPromise(server.freshDatabase)

const corruptLast = (id: string) =>
  Effect.scoped(
    Effect.flatMap(connect(lawsUrl), (sql) =>
      sql`UPDATE agent_layers_items SET entry = '{"type":' WHERE (conversation, sequence) = (
      SELECT i.conversation, i.sequence FROM agent_layers_items AS i
      JOIN agent_layers_conversations AS c ON c.key = i.conversation
      WHERE c.id = ${id} ORDER BY i.sequence DESC LIMIT 1
    )`)
  )

/** Holds a lock on a table until the scope closes. */
const locked = (url: Redacted.Redacted<string>, lock = "agent_layers_conversations IN SHARE MODE") =>
  Effect.gen(function*() {
    const sql = yield* connect(url)
    const connection = yield* sql.reserve
    const execute = (statement: string) => connection.executeUnprepared(statement, [], undefined)
    yield* execute("BEGIN")
    yield* execute(`LOCK TABLE ${lock}`)
    yield* Effect.addFinalizer(() => Effect.ignore(execute("ROLLBACK")))
  })

describeLaws("SessionPostgres", all, {
  open: SessionPostgres.make({ url: lawsUrl, statementTimeout: "2 seconds" }),
  capabilities: everything,
  canReopen: true,
  faults: { corruptLast, outage: locked(lawsUrl) }
})

/** The session of `layerSql` over a client, until the scope closes. */
const overClient = (sql: SqlClient.SqlClient, options?: SessionPostgres.TableOptions) =>
  Effect.map(
    Layer.build(SessionPostgres.layerSql(options).pipe(Layer.provide(Layer.succeed(SqlClient.SqlClient, sql)))),
    (context) => context.mapUnsafe.get(Session.key) as Session["Service"]
  )

const sharedClient = await Effect.runPromise(Scope.provide(connect(lawsUrl), scope))

describeLaws("SessionPostgres.layerSql", all, {
  open: overClient(sharedClient, { statementTimeout: "2 seconds" }),
  prefix: "sql/",
  capabilities: everything,
  canReopen: true,
  faults: { corruptLast, outage: locked(lawsUrl) }
})

const opensOnce = (url: Redacted.Redacted<string>, options: Partial<SessionPostgres.Options> = {}) =>
  Effect.scoped(SessionPostgres.make({ url, ...options }))

const refusesToOpen = <Tag extends SessionErrorReason["_tag"]>(
  options: SessionPostgres.Options,
  tag: Tag,
  ...says: Array<string>
) =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(Effect.scoped(SessionPostgres.make(options)))
    assert.deepStrictEqual([error.backend, error.operation, error.reason._tag], ["postgres", "open", tag])
    for (const words of says) assert.include(error.reason.message, words)
    return { error, reason: error.reason as Extract<SessionErrorReason, { _tag: Tag }> }
  })

const keepsSecret = (value: unknown) => {
  const shown = inspect(value, { depth: 20, showHidden: true }) + String(value)
  for (const secret of [server.password, encodeURIComponent(server.password), "opensesame"]) {
    const at = shown.indexOf(secret)
    assert.strictEqual(at < 0 ? "" : shown.slice(Math.max(0, at - 200), at + 100), "")
  }
}

const query = (url: Redacted.Redacted<string>, statement: string) =>
  Effect.scoped(Effect.flatMap(connect(url), (sql) => sql.unsafe(statement).values))

describe("SessionPostgres opens", () => {
  it.live("a fresh database from ten pools at once", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const versions = yield* Effect.forEach(
        Array.from({ length: 10 }, (_, index) => index),
        (index) =>
          Effect.scoped(
            Effect.flatMap(
              SessionPostgres.make({ url, maxConnections: 2 }),
              (session) => session.saveItems("a", [user(`${index}`)])
            )
          ),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(versions.map(({ version }) => version).sort((a, b) => a - b), [
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        10
      ])
      assert.deepStrictEqual(yield* query(url, "SELECT component, version FROM agent_layers_migrations"), [[
        "session",
        1
      ]])
    }))

  it.live("beside other tables, in a schema and under a prefix of its own", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      yield* query(url, "CREATE TABLE agent_layers_mine (a int)")
      const open = (options: SessionPostgres.TableOptions) => SessionPostgres.make({ url, ...options })
      const sessions = yield* Effect.forEach([
        {},
        { prefix: "other_" },
        { schema: "Tenant_1" },
        { schema: "tenant_1" }
      ], open)
      for (const [index, session] of sessions.entries()) yield* session.saveItems("a", [user(`${index}`)])
      for (const [index, session] of sessions.entries()) {
        assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), [`${index}`])
      }
      const tables = yield* query(
        url,
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
      )
      assert.strictEqual(tables.length, 17)
    }).pipe(Effect.scoped))

  it.live("with options from configuration", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const layer = SessionPostgres.layerConfig({
        url: Config.Redacted("DATABASE_URL"),
        maxConnections: Config.Int("POOL").pipe(Config.withDefault(3))
      }).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ DATABASE_URL: Redacted.value(url) }))))
      yield* Effect.provide(Effect.flatMap(Session, (session) => session.saveItems("a", [user("hi")])), layer)
      assert.deepStrictEqual(yield* query(url, "SELECT id, version FROM agent_layers_conversations"), [["a", 1]])
      const missing = SessionPostgres.layerConfig({ url: Config.Redacted("DATABASE_URL") }).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({})))
      )
      assert.strictEqual((yield* Effect.flip(Effect.provide(Session, missing)))._tag, "ConfigError")
    }))

  it.live("with statements that are not kept prepared", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const session = yield* SessionPostgres.make({ url, prepare: false, maxConnections: 1 })
      for (const turn of [1, 2, 3]) yield* session.saveItems("a", [user(`${turn}`)], { operationId: `${turn}` })
      assert.strictEqual((yield* session.loadItems("a")).items.length, 3)
    }).pipe(Effect.scoped))

  it.live("and closes its connections", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const name = new URL(Redacted.value(url)).pathname.slice(1)
      const connections = Effect.map(
        query(server.url(), `SELECT count(*)::int FROM pg_stat_activity WHERE datname = '${name}'`),
        (rows) => rows[0]![0] as number
      )
      yield* Effect.scoped(Effect.gen(function*() {
        const session = yield* SessionPostgres.make({ url, maxConnections: 4 })
        yield* Effect.forEach(Array.from({ length: 40 }), () => session.saveItems("a", [user("hi")]), {
          concurrency: "unbounded",
          discard: true
        })
        assert.isAtMost(yield* connections, 4)
        // What fails holds no connection.
        yield* Effect.forEach(
          Array.from({ length: 200 }),
          () => Effect.flip(session.saveItems("a", [user("hi")], { expectedVersion: 1 })),
          { concurrency: 20, discard: true }
        )
        assert.isAtMost(yield* connections, 4)
      }))
      yield* until(connections, (count) => count === 0)
    }))
})

describe("SessionPostgres refuses to open", () => {
  const url = server.url()

  it.live.each([
    "nonsense opensesame",
    "mysql://root:opensesame@localhost/db",
    "postgres://user:opensesame@[bad/db",
    ""
  ])("what is no connection string: %s", (bad) =>
    Effect.gen(function*() {
      const { error } = yield* refusesToOpen({ url: Redacted.make(bad) }, "InvalidInput", "postgres://user:password@")
      keepsSecret(error)
    }))

  it.live("a port in the URL that the driver refuses", () =>
    Effect.gen(function*() {
      const bad = Redacted.make("postgres://user:opensesame@localhost/db?port=opensesame1")
      const error = yield* Effect.flip(Effect.scoped(SessionPostgres.make({ url: bad })))
      assert.strictEqual(error.reason._tag, "Unavailable")
    }))

  it.live("options that mean nothing", () =>
    Effect.gen(function*() {
      for (const schema of ["", "a b", "a\"; DROP TABLE x; --", "é", "1a", "x".repeat(64)]) {
        yield* refusesToOpen({ url, schema }, "InvalidInput", "schema is")
      }
      for (const prefix of ["", "a-b", "a\"b", "x".repeat(41)]) {
        yield* refusesToOpen({ url, prefix }, "InvalidInput", "prefix is")
      }
      for (const maxConnections of [0, -1, 0.5, NaN]) {
        yield* refusesToOpen({ url, maxConnections }, "InvalidInput", "maxConnections is")
      }
    }))

  it.live("a wrong password, and does not tell it", () =>
    Effect.gen(function*() {
      const wrong = Redacted.make(`postgres://postgres:opensesame@127.0.0.1:${server.port}/postgres`)
      const { error, reason } = yield* refusesToOpen({ url: wrong }, "Unavailable", "credentials", `${server.port}`)
      assert.isFalse(reason.isOutcomeUnknown)
      keepsSecret(error)
    }))

  it.live("a server that is not there, at once", () =>
    Effect.gen(function*() {
      const nobody = Redacted.make("postgres://postgres:opensesame@127.0.0.1:1/postgres")
      // Not at once would be after the hours of these timeouts.
      const patient = { acquireTimeout: "1 hour", commitTimeout: "2 hours" } as const
      assert.isTrue(Exit.isFailure(yield* Effect.exit(opensOnce(nobody, patient))))
      const { error } = yield* refusesToOpen({ url: nobody }, "Unavailable", "127.0.0.1:1", "ECONNREFUSED")
      keepsSecret(error)
    }))

  it.live("a database that is not there", () => refusesToOpen({ url: server.url("nowhere") }, "Unavailable", "nowhere"))

  it.live("tables of a newer version, and leaves them as they are", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      yield* opensOnce(url)
      yield* query(url, "INSERT INTO agent_layers_migrations VALUES ('session', 7, 0)")
      yield* refusesToOpen({ url }, "Unsupported", "version 7", "version 1", "newer agent-layers")
      assert.strictEqual((yield* query(url, "SELECT 1 FROM agent_layers_migrations")).length, 2)
      yield* opensOnce(url, { prefix: "other_" })
    }))

  it.live("tables of which some are missing", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      yield* opensOnce(url)
      yield* query(url, "DROP TABLE agent_layers_operations")
      yield* refusesToOpen({ url }, "CorruptStore", "agent_layers_", "backup")
    }))

  it.live("a database that cannot keep every text", () =>
    Effect.gen(function*() {
      yield* query(server.url(), "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
      yield* refusesToOpen({ url: server.url("ascii") }, "Unsupported", "SQL_ASCII", "UTF8")
    }))

  it.live("a user who may not make tables; one who finds them there needs no such right", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const name = new URL(Redacted.value(url)).pathname
      yield* query(url, "CREATE ROLE guest LOGIN PASSWORD 'opensesame'")
      const guest = Redacted.make(`postgres://guest:opensesame@127.0.0.1:${server.port}${name}`)
      const { error } = yield* refusesToOpen({ url: guest }, "Unsupported", "permission denied", "grant it")
      keepsSecret(error)
      yield* opensOnce(url)
      yield* query(url, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO guest")
      const { version } = yield* Effect.scoped(
        Effect.flatMap(SessionPostgres.make({ url: guest }), (session) => session.saveItems("a", [user("hi")]))
      )
      assert.strictEqual(version, 1)
    }))

  it.live("a SqlClient of another database", () =>
    Effect.gen(function*() {
      const sqlite = yield* SqlClient.make({
        acquirer: Effect.die("not to be used"),
        compiler: Statement.makeCompilerSqlite(),
        driver: "test",
        spanAttributes: []
      }).pipe(Effect.provideServiceEffect(Reactivity.Reactivity, Reactivity.make))
      const { reason } = yield* Effect.flip(Effect.scoped(overClient(sqlite)))
      assert.strictEqual(reason._tag, "Unsupported")
      assert.include(reason.message, "PgClient")
    }))
})

describe("SessionPostgres.layerSql", () => {
  const fresh = Effect.gen(function*() {
    const url = yield* server.freshDatabase
    const sql = yield* connect(url)
    return { url, sql, session: yield* overClient(sql) }
  })

  it.live("is wired like any Layer, and leaves the client open", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const program = Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const save = Effect.flatMap(Session, (session) => session.saveItems("a", [user("hi")]))
        yield* Effect.provide(save, SessionPostgres.layerSql())
        return yield* sql`SELECT version FROM agent_layers_conversations`.values
      })
      assert.deepStrictEqual(yield* Effect.provide(program, PgClient.layer({ url })), [[1]])
    }))

  it.live("is part of the transaction around it", () =>
    Effect.gen(function*() {
      const { session, sql } = yield* fresh
      yield* sql`CREATE TABLE orders (a int)`
      const both = Effect.gen(function*() {
        yield* sql`INSERT INTO orders VALUES (1)`
        yield* session.saveItems("a", [user("one")], { operationId: "1" })
        yield* session.saveItems("a", [user("two")])
        // Seen inside, not outside.
        assert.strictEqual((yield* session.loadItems("a")).version, 2)
        const outside = yield* Effect.provideService(session.loadItems("a"), sql.transactionService, undefined!).pipe(
          Effect.exit
        )
        assert.isTrue(Exit.isFailure(outside))
      })
      yield* Effect.flip(sql.withTransaction(Effect.andThen(both, Effect.fail("no"))))
      assert.deepStrictEqual(yield* session.loadItems("a"), { items: [], version: 0, isSuffix: false })
      assert.deepStrictEqual(yield* sql`SELECT a FROM orders`, [])
      yield* sql.withTransaction(both)
      assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["one", "two"])
      assert.strictEqual((yield* sql`SELECT a FROM orders`).length, 1)
    }).pipe(Effect.scoped))

  it.live("leaves the transaction usable when a call fails", () =>
    Effect.gen(function*() {
      const { session, sql } = yield* fresh
      yield* session.saveItems("a", [user("one")])
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* Effect.flip(session.saveItems("a", [user("no")], { expectedVersion: 7 }))
        yield* sql`ALTER TABLE agent_layers_items RENAME TO hidden`
        assert.strictEqual((yield* Effect.flip(session.loadItems("a"))).reason._tag, "CorruptStore")
        yield* sql`ALTER TABLE hidden RENAME TO agent_layers_items`
        yield* session.popItem("a")
        yield* session.saveItems("a", [user("two")])
      }))
      assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["two"])
    }).pipe(Effect.scoped))

  it.live("takes turns with others inside one transaction", () =>
    Effect.gen(function*() {
      const { session, sql } = yield* fresh
      yield* sql.withTransaction(
        Effect.forEach(Array.from({ length: 8 }, (_, index) => index), (index) =>
          session.saveItems("a", [user(`${index}`)]), { concurrency: "unbounded" })
      )
      assert.strictEqual((yield* session.loadItems("a")).version, 8)
    }).pipe(Effect.scoped))

  it.live("a connection that breaks inside a transaction has stored nothing", () =>
    Effect.gen(function*() {
      const { session, sql, url } = yield* fresh
      const error = yield* Effect.flip(
        sql.withTransaction(Effect.gen(function*() {
          yield* session.saveItems("a", [user("one")])
          const [row] = yield* sql`SELECT pg_backend_pid() AS pid`.values
          yield* query(url, `SELECT pg_terminate_backend(${String(row![0])})`)
          return yield* session.saveItems("a", [user("two")], { operationId: "2" })
        })).pipe(Effect.catchDefect((defect) => Effect.fail(defect)))
      )
      assert.isDefined(error)
      assert.strictEqual((yield* session.loadItems("a")).version, 0)
    }).pipe(Effect.scoped))

  it.live("waits for a connection for as long as it is told, and can be interrupted", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const sql = yield* PgClient.make({ url, maxConnections: 1 }).pipe(
        Effect.provideServiceEffect(Reactivity.Reactivity, Reactivity.make)
      )
      const session = yield* overClient(sql)
      yield* session.saveItems("a", [user("one")])
      const hasty = yield* overClient(sql, { acquireTimeout: "100 millis" })
      yield* Effect.scoped(Effect.gen(function*() {
        yield* sql.reserve
        const calls: ReadonlyArray<Effect.Effect<unknown, SessionError>> = [
          hasty.loadItems("a"),
          hasty.saveItems("a", [user("two")]),
          hasty.saveItems("a", [user("two")], { operationId: "2" }),
          hasty.clear("a"),
          Stream.runCollect(hasty.records("a"))
        ]
        for (const call of calls) {
          const { reason } = yield* Effect.flip(call)
          if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
          assert.isFalse(reason.isOutcomeUnknown)
          assert.include(reason.message, "100ms")
        }
        const waiting = yield* Effect.forkChild(session.loadItems("a"), { startImmediately: true })
        yield* allowTimeFor("the call to wait", 50)
        yield* Fiber.interrupt(waiting)
      }))
      assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["one"])
    }).pipe(Effect.scoped))
})

describe("SessionPostgres", () => {
  const url = lawsUrl

  it.live("cancels on the server what is interrupted or takes too long", () =>
    Effect.gen(function*() {
      const session = yield* SessionPostgres.make({ url, statementTimeout: "2 seconds" })
      yield* session.saveItems("cancel", [user("one")])
      const active = Effect.map(
        query(url, "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event_type = 'Lock'"),
        (rows) => rows[0]![0] as number
      )
      yield* Effect.scoped(Effect.gen(function*() {
        yield* locked(url, "agent_layers_items IN ACCESS EXCLUSIVE MODE")
        const reading = yield* Effect.forkChild(session.loadItems("cancel"), { startImmediately: true })
        yield* until(active, (count) => count > 0)
        yield* Fiber.interrupt(reading)
        assert.strictEqual(yield* active, 0)

        const { reason } = yield* Effect.flip(session.saveItems("cancel", [user("two")]))
        if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
        assert.isTrue(reason.isOutcomeUnknown)
        assert.include(reason.message, "2s")
        assert.strictEqual(yield* active, 0)
      }))
      assert.deepStrictEqual((yield* session.loadItems("cancel")).items.map(text), ["one"])
    }).pipe(Effect.scoped))

  it.live("keeps 10,000 items, and large ones up to its limit", () =>
    Effect.gen(function*() {
      const session = yield* SessionPostgres.make({ url })
      const many = Array.from({ length: 10_000 }, (_, index) => user(`${index} \u0000 ${"x".repeat(300)}`))
      yield* session.saveItems("many", many)
      assert.deepStrictEqual((yield* session.loadItems("many")).items, many)
      assert.deepStrictEqual((yield* session.loadItems("many", { maxItems: 2 })).items, many.slice(-2))
      assert.strictEqual((yield* Stream.runCollect(session.records("many"))).length, 10_000)

      const large = user("é".repeat(7 * 1024 * 1024))
      yield* session.saveItems("large", [large])
      assert.deepStrictEqual((yield* session.loadItems("large")).items, [large])
      const { reason } = yield* Effect.flip(
        session.saveItems("large", [user("small"), user("é".repeat(8 * 1024 * 1024))])
      )
      if (reason._tag !== "LimitExceeded") return assert.fail(reason._tag)
      assert.strictEqual(reason.maximum, 15 * 1024 * 1024)
      assert.isAbove(reason.actual, reason.maximum)
      assert.strictEqual((yield* session.loadItems("large")).version, 1)
    }).pipe(Effect.scoped))

  it.live("keeps ids of 512 characters and lists them by their bytes", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const session = yield* SessionPostgres.make({ url })
      const ids = [
        "%",
        "%%",
        "_",
        "a%",
        "a_",
        "ab",
        "B",
        "é",
        "e\u0301",
        "😀",
        "\uffee",
        "x:*",
        "'",
        "\\",
        "é".repeat(512)
      ]
      yield* Effect.forEach(ids, (id) => session.saveItems(id, [user(id)]), { discard: true })
      const list = (prefix?: string) =>
        Effect.map(Stream.runCollect(session.conversations({ prefix })), (found) => found.map(({ id }) => id))
      const sorted = [...ids].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      assert.deepStrictEqual(yield* list(), sorted)
      assert.deepStrictEqual(yield* list("%"), ["%", "%%"])
      assert.deepStrictEqual(yield* list("_"), ["_"])
      assert.deepStrictEqual(yield* list("a_"), ["a_"])
      assert.deepStrictEqual(yield* list("é"), ["é", "é".repeat(512)])
      for (const nothing of ["\0", "zz"]) assert.deepStrictEqual(yield* list(nothing), [])
      const { reason } = yield* Effect.flip(
        session.saveItems("a", [user("x")], { operationId: "1", fingerprint: "\0" })
      )
      assert.strictEqual(reason._tag, "InvalidInput")
    }).pipe(Effect.scoped))

  it.live("rewrites before commits that came later, again and again", () =>
    Effect.gen(function*() {
      const session = yield* SessionPostgres.make({ url })
      yield* session.saveItems("rewrite", [user("a"), user("b")])
      let through = 1
      for (let round = 0; round < 20; round++) {
        const { version } = yield* session.saveItems("rewrite", [user(`later ${round}`)])
        const summary = Array.from({ length: (round * 7) % 5 }, (_, index) => user(`${round}.${index}`))
        assert.strictEqual(
          (yield* session.rewrite("rewrite", { through: version - 1, items: summary })).version,
          version + 1
        )
        const { items } = yield* session.loadItems("rewrite")
        assert.deepStrictEqual(items, [...summary, user(`later ${round}`)])
        const records = yield* Stream.runCollect(session.records("rewrite"))
        assert.deepStrictEqual(records.map(({ item }) => item), items)
        const listed = yield* query(url, "SELECT items FROM agent_layers_conversations WHERE id = 'rewrite'")
        assert.deepStrictEqual(listed, [[items.length]])
        through = version + 1
      }
      yield* Effect.flip(session.rewrite("rewrite", { through: through - 1, items: [] }))
    }).pipe(Effect.scoped))

  it.live("loses nothing where transactions are serializable by default", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const name = new URL(Redacted.value(url)).pathname.slice(1)
      yield* query(url, `ALTER DATABASE ${name} SET default_transaction_isolation = 'serializable'`)
      const [first, second] = yield* Effect.all([SessionPostgres.make({ url }), SessionPostgres.make({ url })])
      yield* Effect.forEach(Array.from({ length: 40 }, (_, index) => index), (index) =>
        Effect.all([
          (index % 2 === 0 ? first : second).saveItems("a", [user(`${index}`)], { operationId: `${index}` }),
          index % 8 === 7 ? first.popItem("a") : Effect.void
        ]), { concurrency: 10, discard: true })
      const { items, version } = yield* first.loadItems("a")
      assert.strictEqual(version, 45)
      assert.strictEqual(items.length, 35)
    }).pipe(Effect.scoped))

  it.live("changes of all kinds at once leave it sound", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const [first, second] = yield* Effect.all([SessionPostgres.make({ url }), SessionPostgres.make({ url })])
      const change = (index: number): Effect.Effect<unknown, SessionError> => {
        const session = index % 2 === 0 ? first : second
        switch (index % 7) {
          case 3:
            return session.popItem("a")
          case 4:
            return Effect.flatMap(session.loadItems("a"), ({ items, version }) =>
              session.rewrite("a", { through: version, items: items.slice(-3) }).pipe(
                Effect.catchReason("SessionError", "VersionConflict", () =>
                  Effect.void)
              ))
          case 5:
            return index % 5 === 0 ? session.clear("a") : session.maintain("a")
          default:
            return session.saveItems("a", [user(`${index}.0`), user(`${index}.1`)], { operationId: `${index}` })
        }
      }
      yield* Effect.forEach(
        Array.from({ length: 300 }, (_, index) =>
          index),
        change,
        { concurrency: 12, discard: true }
      )
      const { items } = yield* first.loadItems("a")
      const records = yield* Stream.runCollect(second.records("a"))
      assert.deepStrictEqual(records.map(({ item }) => item), items)
      const [row] = yield* query(
        url,
        `SELECT c.items, (SELECT count(*)::int FROM agent_layers_items), (SELECT count(DISTINCT sequence)::int
         FROM agent_layers_items) FROM agent_layers_conversations AS c`
      )
      assert.deepStrictEqual(row, [items.length, items.length, items.length])
    }).pipe(Effect.scoped))

  it.live("forgets operations beyond the latest 1,000, and those of 7 days ago", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const session = yield* SessionPostgres.make({ url, maxConnections: 2 })
      const kept = Effect.map(query(url, "SELECT count(*)::int FROM agent_layers_operations"), (rows) => rows[0]![0])
      for (let index = 0; index < 1_100; index++) {
        yield* session.saveItems("a", [user("x")], { operationId: `op/${index}` })
      }
      assert.isAtLeast(Number(yield* kept), 1_000)
      assert.isAtMost(Number(yield* kept), 1_064)
      yield* session.maintain("a")
      assert.strictEqual(yield* kept, 1_000)
      assert.strictEqual((yield* session.saveItems("a", [user("x")], { operationId: "op/1099" })).version, 1_100)
      yield* query(url, "UPDATE agent_layers_operations SET saved_at = 0 WHERE version <= 600")
      yield* session.maintain("a")
      assert.strictEqual(yield* kept, 500)
    }).pipe(Effect.scoped))

  it.live("a table that is gone while it is open is CorruptStore", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const session = yield* SessionPostgres.make({ url })
      yield* session.saveItems("a", [user("hi")])
      yield* query(url, "DROP TABLE agent_layers_items")
      for (const call of [session.loadItems("a"), session.saveItems("a", [user("x")])]) {
        assert.strictEqual((yield* Effect.flip(call)).reason._tag, "CorruptStore")
      }
    }).pipe(Effect.scoped))

  it.live("a database that takes no writes is Unavailable", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      yield* opensOnce(url)
      const name = new URL(Redacted.value(url)).pathname.slice(1)
      yield* query(url, `ALTER DATABASE ${name} SET default_transaction_read_only = on`)
      const session = yield* SessionPostgres.make({ url })
      const { reason } = yield* Effect.flip(session.saveItems("a", [user("x")]))
      if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
      assert.include(reason.message, "read-only")
      assert.isFalse(reason.isOutcomeUnknown)
      assert.strictEqual((yield* session.loadItems("a")).version, 0)
    }).pipe(Effect.scoped))

  it.live("tells no secret and no content in logs, spans and errors", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const logged: Array<unknown> = []
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const error = yield* Effect.scoped(Effect.gen(function*() {
        const session = yield* SessionPostgres.make({ url })
        yield* session.saveItems("a", [user("opensesame")], { operationId: "1" })
        yield* session.loadItems("a")
        yield* query(url, "ALTER TABLE agent_layers_items ADD CONSTRAINT small CHECK (length(entry) < 5) NOT VALID")
        return yield* Effect.flip(session.saveItems("a", [user("opensesame")]))
      })).pipe(
        Effect.provide(TracerMemory.layer),
        Effect.provide(Logger.layer([Logger.make((options) => {
          logged.push(options)
        })])),
        Effect.withTracer(tracer)
      )
      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.isAbove(spans.length, 2)
      keepsSecret(error)
      keepsSecret(logged)
      // What a call that succeeded gave is in its span only in this process.
      keepsSecret(spans.map(({ attributes, name, status }) => [
        name,
        attributes,
        status._tag === "Ended" && Exit.isFailure(status.exit) ? status.exit.cause : undefined
      ]))
    }))
})
