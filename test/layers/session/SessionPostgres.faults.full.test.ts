import { afterAll, assert, describe, it } from "@effect/vitest"
import * as SessionPostgres from "agent-layers/layers/session/SessionPostgres"
import { text, user } from "agent-layers/services/Item"
import { Effect, Exit, Fiber, Random, Redacted, Schedule, Scope } from "effect"
import { connect, startPostgres, untilUp } from "../../support/postgres.ts"
import { noteFigures, rounds, timeLimit } from "../../support/rounds.ts"
import { commitsOf, writersInProcesses } from "../../support/session/servers.ts"
import { allowTimeFor, until } from "../../support/until.ts"

const scope = Effect.runSync(Scope.make())
const server = await Effect.runPromise(Scope.provide(startPostgres, scope))
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

/** The processes of the server that serve sessions. */
const backends = Effect.scoped(
  Effect.flatMap(
    connect(server.url()),
    (sql) =>
      sql`SELECT pid FROM pg_stat_activity WHERE application_name = 'agent-layers' AND wait_event_type IS DISTINCT FROM 'Activity'`
        .values
  )
).pipe(
  Effect.map((rows) => rows.map(([pid]) => Number(pid)))
)

/** As the operating system does to a process that takes too much memory: the server then starts all of them anew. */
const kill = (pid: number) =>
  Effect.sync(() => {
    try {
      process.kill(pid, "SIGKILL")
    } catch {
      // Gone already.
    }
  })

const terminate = (pid: number) =>
  Effect.scoped(Effect.flatMap(connect(server.url()), (sql) => sql`SELECT pg_terminate_backend(${pid})`))

const ranged = (count: number) => Array.from({ length: count }, (_, index) => index)

describe("SessionPostgres over a server that fails", () => {
  it.live(
    "several processes lose nothing",
    () =>
      Effect.gen(function*() {
        const url = yield* server.freshDatabase
        yield* writersInProcesses(
          { backend: "postgres", url: Redacted.value(url), commits: rounds("postgres-processes") },
          yield* SessionPostgres.make({ url })
        )
      }).pipe(Effect.scoped),
    timeLimit
  )

  it.live(
    "a commit that is cut in flight is Unavailable with an unknown outcome, and a retry stores once",
    () =>
      Effect.gen(function*() {
        const url = yield* server.freshDatabase
        const session = yield* SessionPostgres.make({ url, maxConnections: 1 })
        yield* session.saveItems("a", [user("1")])
        // It waits for this lock when it is cut.
        const holder = yield* Scope.make()
        const sql = yield* Scope.provide(connect(url), holder)
        const connection = yield* Scope.provide(sql.reserve, holder)
        yield* connection.executeUnprepared("BEGIN", [], undefined)
        yield* connection.executeUnprepared("LOCK TABLE agent_layers_items IN SHARE MODE", [], undefined)
        const cut = (options: { readonly operationId?: string }) =>
          Effect.gen(function*() {
            const saving = yield* Effect.forkChild(Effect.exit(session.saveItems("a", [user("2")], options)), {
              startImmediately: true
            })
            yield* until(backends, ({ length }) => length > 0)
            yield* allowTimeFor("the commit to reach the lock", 100)
            for (const pid of yield* backends) yield* terminate(pid)
            return saving
          })
        const exit = yield* Fiber.join(yield* cut({}))
        const error = yield* Effect.flip(exit)
        if (error.reason._tag !== "Unavailable") return assert.fail(error.message)
        assert.isTrue(error.reason.isOutcomeUnknown)
        assert.include(error.message, "same operation id")

        // Under an operation id it is sent again by itself.
        const saving = yield* cut({ operationId: "op" })
        yield* Scope.close(holder, Exit.void)
        const saved = yield* Effect.flatten(Fiber.join(saving))
        assert.deepStrictEqual(saved, { version: 2 })
        assert.deepStrictEqual(yield* session.saveItems("a", [user("2")], { operationId: "op" }), saved)
        assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["1", "2"])
      }).pipe(Effect.scoped),
    240_000
  )

  it.live(
    "backends that are killed again and again: each commit is stored once and whole",
    (test) =>
      Effect.gen(function*() {
        const url = yield* server.freshDatabase
        const session = yield* SessionPostgres.make({ url, maxConnections: 3 })
        const save = (name: string) =>
          session.saveItems("a", ranged(4).map((index) => user(`${name}.${index}`)), { operationId: name }).pipe(
            Effect.retry({
              while: (error) => error.isRetryable,
              schedule: Schedule.spaced("50 millis").pipe(Schedule.upTo({ duration: "60 seconds" }))
            })
          )
        const state = { isOver: false }
        const saving = yield* Effect.forkChild(
          Effect.forEach(["x", "y"], (writer) =>
            Effect.gen(function*() {
              const versions: Array<number> = []
              // However little a slow machine stored between the kills, there is enough to look at.
              while (!state.isOver || versions.length <= 5) {
                versions.push((yield* save(`${writer}/${versions.length}`)).version)
              }
              return versions
            }), { concurrency: 2 })
        )
        // A kill stops the whole server for a moment, termination one connection.
        for (let round = 1; round <= rounds("postgres-kills"); round++) {
          yield* allowTimeFor("some commits", yield* Random.nextIntBetween(5, 80))
          let pids: ReadonlyArray<number> = []
          while (pids.length === 0) pids = yield* Effect.orElseSucceed(backends, () => [])
          if (round % 6 === 0) {
            yield* kill(pids[0]!)
            yield* allowTimeFor("the server to stop", 20)
            yield* untilUp(url)
          } else yield* Effect.ignore(terminate(pids[round % pids.length]!))
        }
        state.isOver = true
        const answers = yield* Fiber.join(saving)
        const { items, version } = yield* session.loadItems("a")
        const stored = commitsOf(items, 4)
        assert.strictEqual(version, answers.flat().length)
        assert.isAbove(version, 9)
        noteFigures(test, { commits: version })
        for (const [index, writer] of ["x", "y"].entries()) {
          answers[index]!.forEach((version, turn) => assert.strictEqual(stored[version - 1], `${writer}/${turn}`))
        }
      }).pipe(Effect.scoped),
    timeLimit
  )

  it.live(
    "a server that is stopped is Unavailable at once, and is used again when it is back",
    () =>
      Effect.gen(function*() {
        const url = yield* server.freshDatabase
        const session = yield* SessionPostgres.make({ url })
        yield* session.saveItems("a", [user("1")], { operationId: "1" })
        yield* server.stop
        for (const call of [session.loadItems("a"), session.saveItems("a", [user("2")], { operationId: "2" })]) {
          const { reason } = yield* Effect.flip(call)
          if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
          assert.isFalse(reason.isOutcomeUnknown)
          assert.include(reason.message, `127.0.0.1:${server.port}`)
        }
        yield* server.start
        yield* untilUp(url)
        assert.deepStrictEqual(yield* session.saveItems("a", [user("2")], { operationId: "2" }), { version: 2 })
        assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["1", "2"])
      }).pipe(Effect.scoped),
    240_000
  )

  it.live("a server without a free connection is waited for, and then Unavailable", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const session = yield* SessionPostgres.make({ url, maxConnections: 1 })
      const name = new URL(Redacted.value(url)).pathname.slice(1)
      const admin = yield* connect(url)
      yield* admin.unsafe("CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 1")
      yield* admin.unsafe("GRANT ALL ON ALL TABLES IN SCHEMA public TO few")
      const few = Redacted.make(`postgres://few:few@127.0.0.1:${server.port}/${name}`)
      yield* session.saveItems("a", [user("1")])
      const first = yield* Scope.make()
      yield* Effect.flatMap(Scope.provide(SessionPostgres.make({ url: few }), first), (one) => one.loadItems("a"))
      const { reason } = yield* Effect.flip(
        Effect.scoped(SessionPostgres.make({ url: few, acquireTimeout: "500 millis" }))
      )
      if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
      assert.isFalse(reason.isOutcomeUnknown)
      const waiting = yield* Effect.forkChild(
        Effect.scoped(Effect.flatMap(SessionPostgres.make({ url: few }), (one) => one.loadItems("a"))),
        { startImmediately: true }
      )
      yield* allowTimeFor("the server to refuse a connection", 100)
      yield* Scope.close(first, Exit.void)
      assert.deepStrictEqual((yield* Fiber.join(waiting)).items.map(text), ["1"])
    }).pipe(Effect.scoped), 240_000)

  it.live("a server that does not answer is Unavailable in time, and the scope closes", () =>
    Effect.gen(function*() {
      const url = yield* server.freshDatabase
      const session = yield* Effect.acquireUseRelease(
        Scope.make(),
        (scope) =>
          Effect.gen(function*() {
            const session = yield* Scope.provide(
              SessionPostgres.make({ url, maxConnections: 1, statementTimeout: "2 seconds" }),
              scope
            )
            yield* session.saveItems("a", [user("1")])
            const [pid] = yield* backends
            process.kill(pid!, "SIGSTOP")
            const { reason } = yield* Effect.flip(session.saveItems("a", [user("2")])).pipe(
              Effect.ensuring(Effect.sync(() => process.kill(pid!, "SIGCONT")))
            )
            if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
            assert.isTrue(reason.isOutcomeUnknown)
            return session
          }),
        (scope) => Scope.close(scope, Exit.void)
      )
      assert.strictEqual((yield* Effect.flip(session!.loadItems("a"))).reason._tag, "Closed")
    }), 240_000)
})
