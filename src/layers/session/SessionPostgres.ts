/**
 * Conversations in PostgreSQL, over `@effect/sql-pg` or the `SqlClient` that a program has already. Made for PostgreSQL
 * 14 and newer; any number of processes may use the same tables.
 *
 * **Durability.** A commit that was answered is as durable as the server's `synchronous_commit` makes it. Each
 * operation is one statement, or statements that are compared with what was read before, so that it happens whole or
 * not at all and no transaction stays open between two round trips. Where a connection breaks before the answer came,
 * a commit under an operation id is sent again, twice at most; without one it fails with `Unavailable`, whose
 * `isOutcomeUnknown` says that it may have happened.
 *
 * **Locks.** A write locks the row of its conversation for one statement; readers wait for nobody. Who loses a race
 * tries again, for up to `commitTimeout`. Every wait has a timeout: for a connection (`acquireTimeout`), for the
 * server's greeting (`connectTimeout`), for a statement (`statementTimeout`, which also cancels it on the server; that
 * may take 5 seconds more where the server is not there).
 *
 * **Tables.** `agent_layers_conversations`, `agent_layers_items`, `agent_layers_operations` and
 * `agent_layers_migrations`, in the schema `public`; both names are options. They are made and migrated when the Layer
 * is built, by one process while the others wait; that needs the right to create tables, all else does not. Tables of
 * a newer version are refused and left as they are. Items are kept as texts, not as `jsonb`, so that they come back
 * byte for byte. An item has at most 15 MiB, a commit 256 MiB: more is `LimitExceeded`.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import * as Secrets from "../../services/internal/secrets.ts"
import type { MakeOptions } from "../../services/Session.ts"
import * as Session from "../../services/Session.ts"
import * as SessionError from "../../services/SessionError.ts"
import * as database from "./internal/postgresDatabase.ts"
import { toFailure } from "./internal/postgresErrors.ts"
import * as store from "./internal/postgresStore.ts"

/**
 * What holds for a connection string and for the application's own client alike.
 *
 * @category options
 * @since 0.1.0
 */
export interface TableOptions extends MakeOptions {
  /**
   * Where the tables are; it is created where it does not exist. Letters, digits and `_`, at most 63.
   *
   * @default "public"
   */
  readonly schema?: string | undefined
  /**
   * Stands before the name of each table. Letters, digits and `_`, at most 40.
   *
   * @default "agent_layers_"
   */
  readonly prefix?: string | undefined
  /**
   * How long to wait for a connection; then `Unavailable`, and nothing was sent.
   *
   * @default "10 seconds"
   */
  readonly acquireTimeout?: Duration.Input | undefined
  /**
   * How long a statement may take; then it is cancelled. Never more than `commitTimeout`.
   *
   * @default "15 seconds"
   */
  readonly statementTimeout?: Duration.Input | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends TableOptions {
  /** `postgres://user:password@host:port/database?sslmode=require`. It is in no error and no span. */
  readonly url: Redacted.Redacted<string>
  /**
   * Of the pool of this Layer. They are opened when they are needed, and closed after a minute without use.
   *
   * @default 10
   */
  readonly maxConnections?: number | undefined
  /**
   * How long the server may take to let a connection in.
   *
   * @default "5 seconds"
   */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * Whether statements stay prepared on their connection. Turn it off behind a pooler that gives each statement to
   * another connection.
   *
   * @default true
   */
  readonly prepare?: boolean | undefined
}

const backend = "postgres"

const invalid = (description: string) => Effect.fail(new SessionError.InvalidInput({ description }))

const over = Effect.fnUntraced(function*(
  sql: SqlClient.SqlClient,
  server: string,
  scrub: (text: string) => string,
  options: TableOptions
): Effect.fn.Return<Session.Session["Service"], SessionError.SessionErrorReason, Scope.Scope> {
  const { prefix = "agent_layers_", schema = "public" } = options
  if (!/^[A-Za-z_]\w{0,62}$/.test(schema)) {
    return yield* invalid(`schema is "${schema}"; pass a name of letters, digits and _, at most 63`)
  }
  if (!/^[A-Za-z_]\w{0,39}$/.test(prefix)) {
    return yield* invalid(`prefix is "${prefix}"; pass letters, digits and _, at most 40`)
  }
  const commitTimeout = Duration.fromInputUnsafe(options.commitTimeout ?? "30 seconds")
  // Who gives up before the commit's own timeout can say whether it happened.
  const patience = Duration.times(commitTimeout, 0.75)
  const opened = yield* database.open({
    sql,
    server,
    scrub,
    schema,
    prefix,
    patience,
    acquireTimeout: Duration.fromInputUnsafe(options.acquireTimeout ?? "10 seconds"),
    statementTimeout: Duration.min(Duration.fromInputUnsafe(options.statementTimeout ?? "15 seconds"), patience)
  })
  return Session.make({ backend, versions: true, operations: true, ...store.make(opened, { schema, prefix }) }, {
    onCorruptItem: options.onCorruptItem,
    commitTimeout
  })
})

const atOpen = Effect.mapError((reason: SessionError.SessionErrorReason) =>
  new SessionError.SessionError({ backend, operation: "open", reason })
)

/** An error of `URL` would quote the whole text, with the password in it. */
const checkUrl = (text: string): Effect.Effect<string, SessionError.InvalidInput> => {
  const url = URL.parse(text)
  // With "@" in its path, the password holds a "/" that is not written as %2F.
  return url === null || !/^postgres(ql)?:$/.test(url.protocol) || url.pathname.includes("@")
    ? invalid(
      "url is no connection string of PostgreSQL; pass postgres://user:password@host:port/database, with / in the " +
        "password as %2F"
    )
    : Effect.succeed(
      `PostgreSQL at ${url.hostname === "" ? "localhost" : url.hostname}:${url.port === "" ? 5432 : url.port}` +
        url.pathname
    )
}

/**
 * A session in PostgreSQL with a pool of its own, until the scope closes. Fails with `InvalidInput` where an option
 * means nothing, with `Unavailable` where the server cannot be reached or refuses the credentials, with `Unsupported`
 * where the user may not create the tables or they have a newer version, with `CorruptStore` where some are missing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options
): Effect.Effect<Session.Session["Service"], SessionError.SessionError, Scope.Scope> =>
  Effect.gen(function*() {
    const server = yield* checkUrl(Redacted.value(options.url))
    const { scrub } = Secrets.make([options.url])
    const maxConnections = options.maxConnections ?? 10
    if (!Number.isSafeInteger(maxConnections) || maxConnections < 1) {
      return yield* invalid(`maxConnections is ${maxConnections}; pass a whole number from 1`)
    }
    const sql = yield* PgClient.make({
      url: options.url,
      maxConnections,
      connectTimeout: options.connectTimeout ?? "5 seconds",
      // Finds out about a peer that went away without a word.
      keepAlive: "30 seconds",
      applicationName: "agent-layers",
      prepare: options.prepare
    }).pipe(
      Effect.provideServiceEffect(Reactivity.Reactivity, Reactivity.make),
      Effect.mapError((error) => toFailure(error, { server, scrub, during: "connect" }).reason)
    )
    return yield* over(sql, server, scrub, options)
  }).pipe(atOpen)

/**
 * Conversations in PostgreSQL. The pool is closed when the Layer is, after statements that are under way; calls fail
 * with `Closed` then.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Session.Session, SessionError.SessionError> =>
  Layer.effect(Session.Session, make(options))

/**
 * As `layer`, with options from configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<Options>
): Layer.Layer<Session.Session, SessionError.SessionError | Config.ConfigError> =>
  Layer.effect(Session.Session, Effect.flatMap(Config.unwrap(config), make))

/**
 * Conversations in PostgreSQL over the application's own `SqlClient`, so that one pool serves both. A client of another
 * database is refused with `Unsupported`.
 *
 * Inside `sql.withTransaction` every call is part of that transaction: what was saved is there once the transaction
 * is committed, and gone when it is not. Each call stands behind a savepoint, so that one which fails leaves the
 * transaction usable.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSql = (
  options: TableOptions = {}
): Layer.Layer<Session.Session, SessionError.SessionError, SqlClient.SqlClient> =>
  Layer.effect(
    Session.Session,
    Effect.flatMap(
      SqlClient.SqlClient,
      (sql) => atOpen(over(sql, "the application's PostgreSQL", identity, options))
    )
  )
