import * as Effect from "effect/Effect"
import * as SessionError from "../../../services/SessionError.ts"
import type { Failure } from "./postgresErrors.ts"
import { fail } from "./postgresErrors.ts"
import type { Names } from "./postgresStatements.ts"
import { tables } from "./postgresStatements.ts"

/** @internal */
export type Query = (
  text: string,
  parameters: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, Failure>

/**
 * Each makes the next version of the tables. What is released is never changed, only added to.
 *
 * Ids compare by their bytes, whatever the language of the database. Entries are text: jsonb would change them, and
 * refuses NUL characters.
 */
const migrations = (names: Names): ReadonlyArray<ReadonlyArray<string>> => {
  const { conversations, items, operations } = tables(names)
  return [[
    `CREATE TABLE ${conversations} (
      key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      id text COLLATE "C" NOT NULL UNIQUE,
      version integer NOT NULL,
      epoch integer NOT NULL,
      sequence bigint NOT NULL,
      items integer NOT NULL,
      changed_at double precision NOT NULL
    ) WITH (fillfactor = 70)`,
    `CREATE TABLE ${items} (
      conversation bigint NOT NULL,
      sequence bigint NOT NULL,
      version integer NOT NULL,
      saved_at double precision NOT NULL,
      meta text,
      entry text NOT NULL,
      PRIMARY KEY (conversation, sequence)
    )`,
    `CREATE TABLE ${operations} (
      conversation bigint NOT NULL,
      operation_id text COLLATE "C" NOT NULL,
      fingerprint text NOT NULL,
      version integer NOT NULL,
      saved_at double precision NOT NULL,
      PRIMARY KEY (conversation, operation_id)
    )`,
    `CREATE UNIQUE INDEX ON ${operations} (conversation, version)`
  ]]
}

/** @internal */
export const latestVersion = 1

/**
 * The version of the session tables; 0 where there are none. Only reads.
 *
 * @internal
 */
export const check = Effect.fnUntraced(function*(
  names: Names,
  query: Query,
  server: string
): Effect.fn.Return<number, Failure> {
  const { conversations, items, migrations, operations } = tables(names)
  const [row] = yield* query(
    `SELECT current_setting('server_encoding'), to_regclass($1::text) IS NOT NULL,
       to_regclass($2::text) IS NOT NULL AND to_regclass($3::text) IS NOT NULL AND to_regclass($4::text) IS NOT NULL`,
    [migrations, conversations, items, operations]
  )
  const [encoding, isThere, isWhole] = row as readonly [string, boolean, boolean]
  if (encoding !== "UTF8") {
    return yield* Effect.fail(fail(
      new SessionError.Unsupported({
        description: `${server} has the encoding ${encoding}, which cannot keep every text. Use a database with UTF8`
      })
    ))
  }
  if (!isThere) return 0
  const found = yield* query(
    `SELECT coalesce(max(version), 0)::int FROM ${migrations} WHERE component = 'session'`,
    []
  )
  const version = found[0]![0] as number
  if (version > latestVersion) {
    return yield* Effect.fail(fail(
      new SessionError.Unsupported({
        description: `${server} was written by a newer agent-layers: its session tables have version ${version}, ` +
          `this program knows version ${latestVersion}. Use the newer agent-layers, or another schema or prefix. ` +
          `The tables were left as they are`
      })
    ))
  }
  if (version === latestVersion && !isWhole) {
    return yield* Effect.fail(fail(
      new SessionError.CorruptStore({
        description: `Session tables with the prefix "${names.prefix}" are missing in schema "${names.schema}" of ` +
          `${server}. Use another schema or prefix, or restore a backup`
      })
    ))
  }
  return version
})

/**
 * Brings the tables up to date. To be run in a transaction: who comes at the same time waits until it is over.
 *
 * @internal
 */
export const migrate = Effect.fnUntraced(function*(
  names: Names,
  query: Query,
  server: string,
  now: number
): Effect.fn.Return<void, Failure> {
  const { migrations: table, schema } = tables(names)
  yield* query("SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))", [`agent-layers/${table}`])
  const [found] = yield* query("SELECT 1 FROM pg_namespace WHERE nspname = $1::text", [names.schema])
  if (found === undefined) yield* query(`CREATE SCHEMA IF NOT EXISTS ${schema}`, [])
  yield* query(
    `CREATE TABLE IF NOT EXISTS ${table} (
      component text NOT NULL,
      version integer NOT NULL,
      applied_at double precision NOT NULL,
      PRIMARY KEY (component, version)
    )`,
    []
  )
  const version = yield* check(names, query, server)
  for (const [index, statements] of migrations(names).slice(version).entries()) {
    for (const statement of statements) yield* query(statement, [])
    yield* query(
      `INSERT INTO ${table} (component, version, applied_at) VALUES ('session', $1::int, $2::float8)`,
      [String(version + index + 1), String(now)]
    )
  }
})
