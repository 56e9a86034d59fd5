import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { isSqlError } from "effect/sql/SqlError"
import * as SessionError from "../../../services/SessionError.ts"
import { fail, Failure, isFailure, toFailure } from "./postgresErrors.ts"
import type { Query } from "./postgresSchema.ts"
import * as schema from "./postgresSchema.ts"
import type { Names } from "./postgresStatements.ts"

/** @internal */
export interface Options extends Names {
  readonly sql: SqlClient
  /** Names the server in errors; no secret is in it. */
  readonly server: string
  /** Takes secrets out of what the server says. */
  readonly scrub: (text: string) => string
  /** How long to wait for a connection, one that has to be opened included. */
  readonly acquireTimeout: Duration.Duration
  /** How long a statement may take. */
  readonly statementTimeout: Duration.Duration
  /** How long to go on where others are faster. */
  readonly patience: Duration.Duration
}

/**
 * - `read`: may be done again when its answer was lost.
 * - `operation`: a write that may be, because its operation id is remembered.
 * - `write`: one that may not.
 *
 * @internal
 */
export type Kind = "read" | "operation" | "write"

/** How often something is done again whose answer was lost. */
const maxLost = 2

const schedule = (patience: Duration.Duration) =>
  Schedule.min([Schedule.exponential("2 millis", 2), Schedule.spaced("100 millis")]).pipe(
    Schedule.jittered,
    Schedule.upTo({ duration: patience })
  )

/** @internal */
export interface Database {
  /** Runs an operation on one connection, and anew as often as that is safe and helps. */
  readonly run: <A>(
    kind: Kind,
    operation: (query: Query) => Effect.Effect<A, Failure>
  ) => Effect.Effect<A, SessionError.SessionErrorReason>
}

/**
 * Opens a database until the scope closes; then it fails with `Closed`. Inside a transaction of the client, each
 * operation is part of that transaction, behind a savepoint.
 *
 * @internal
 */
export const open = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Database, SessionError.SessionErrorReason, Scope.Scope> {
  const { acquireTimeout, patience, scrub, server, sql, statementTimeout } = options
  let isClosed = false

  const queryBy = (execute: Connection["executeValues"], kind: Kind): Query => (text, parameters) =>
    Effect.timeoutOrElse(
      Effect.mapError(
        execute(text, parameters),
        (error) => toFailure(error, { server, scrub, during: kind === "read" ? "read" : "write" })
      ),
      {
        duration: statementTimeout,
        orElse: () =>
          Effect.fail(
            new Failure(
              "lost",
              new SessionError.Unavailable({
                description: `${server} did not answer within ${Duration.format(statementTimeout)}`,
                isOutcomeUnknown: kind !== "read"
              })
            )
          )
      }
    )

  const queryOn = (connection: Connection, kind: Kind): Query =>
    queryBy((text, parameters) => connection.executeValues(text, parameters), kind)

  const reserve: Effect.Effect<Connection, Failure, Scope.Scope> = Effect.timeoutOrElse(
    sql.reserve.pipe(
      Effect.mapError((error) => toFailure(error, { server, scrub, during: "connect" })),
      Effect.retry({ while: (failure) => failure.kind === "full", schedule: schedule(acquireTimeout) })
    ),
    {
      duration: acquireTimeout,
      orElse: () =>
        Effect.fail(fail(
          new SessionError.Unavailable({
            description:
              `No connection to ${server} within ${Duration.format(acquireTimeout)}: all are in use, or it ` +
              `does not answer. Nothing was changed`,
            isOutcomeUnknown: false
          })
        ))
    }
  )

  const alone = <A>(kind: Kind, operation: (query: Query) => Effect.Effect<A, Failure>): Effect.Effect<A, Failure> =>
    Effect.scoped(Effect.flatMap(reserve, (connection) => operation(queryOn(connection, kind))))

  /** A failure that is no failure of the operation's own comes from the transaction around it, which is then undone. */
  const toOwn = <A>(cause: Cause.Cause<unknown>): Effect.Effect<A, Failure> => {
    const errors = cause.reasons.flatMap((reason) =>
      Cause.isFailReason(reason) ? [reason.error] : Cause.isDieReason(reason) ? [reason.defect] : []
    )
    const own = errors.find(isFailure)
    if (own !== undefined) return Effect.fail(own)
    const error = errors.find(isSqlError)
    return error === undefined
      ? Effect.failCause(cause as Cause.Cause<never>)
      : Effect.fail(toFailure(error, { server, scrub, during: "read" }))
  }

  /** Nothing is stored before the outer transaction is committed, which is not done here. */
  const inside = <A>(
    connection: Connection,
    kind: Kind,
    operation: (query: Query) => Effect.Effect<A, Failure>
  ): Effect.Effect<A, Failure> =>
    sql.withTransaction(operation(queryOn(connection, kind))).pipe(
      Effect.catchCause((cause) => toOwn<A>(cause)),
      Effect.mapError((failure) =>
        failure.kind === "moved" ? failure : new Failure("final", withOutcome(failure.reason, false))
      )
    )

  const run: Database["run"] = (kind, operation) =>
    Effect.suspend(() => {
      if (isClosed) return Effect.fail(new SessionError.Closed({}))
      let lost = 0
      return Effect.serviceOption(sql.transactionService).pipe(
        Effect.flatMap((outer) =>
          Effect.retry(
            Option.isSome(outer)
              ? inside(outer.value[0], kind, operation)
              : Effect.tapError(alone(kind, operation), (failure) =>
                Effect.sync(() => {
                  if (failure.kind === "lost") lost++
                })),
            {
              while: (failure) =>
                failure.kind === "moved" || failure.kind === "refused" ||
                (failure.kind === "lost" && kind !== "write" && lost <= maxLost),
              schedule: schedule(patience)
            }
          )
        ),
        Effect.mapError(({ reason }) =>
          // Whatever came of a later attempt, the first may have been stored.
          lost > 0 && kind !== "read" ? withOutcome(reason, true) : reason
        )
      )
    })

  // Before the tables are made, so that nothing is done after the scope closed.
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isClosed = true
    })
  )

  const dialect = sql.onDialectOrElse({ pg: () => "pg", orElse: () => "another" })
  if (dialect !== "pg") {
    return yield* new SessionError.Unsupported({
      description: "The SqlClient does not speak to PostgreSQL. Provide PgClient.layer of @effect/sql-pg, or use " +
        "SessionSqlite for a file"
    })
  }
  const now = yield* Clock.currentTimeMillis
  const version = yield* run("read", (query) => schema.check(options, query, server))
  if (version < schema.latestVersion) {
    const query = queryBy((text, parameters) => sql.unsafe(text, parameters).values, "read")
    yield* sql.withTransaction(schema.migrate(options, query, server, now)).pipe(
      Effect.catchCause((cause) => toOwn<void>(cause)),
      Effect.retry({
        while: ({ kind }) => kind === "moved" || kind === "refused" || kind === "full",
        schedule: schedule(patience)
      }),
      Effect.mapError(({ reason }) => reason),
      Effect.timeoutOrElse({
        duration: patience,
        orElse: () =>
          Effect.fail(
            new SessionError.Unavailable({
              description: `The session tables in ${server} could not be made within ${Duration.format(patience)}`,
              isOutcomeUnknown: false
            })
          )
      })
    )
  }
  return { run }
})

const withOutcome = (
  reason: SessionError.SessionErrorReason,
  isOutcomeUnknown: boolean
): SessionError.SessionErrorReason =>
  reason._tag === "Unavailable" && reason.isOutcomeUnknown !== isOutcomeUnknown
    ? new SessionError.Unavailable({
      // What was said of one attempt does not hold for all of them.
      description: reason.description.replace(/\. Nothing was changed$/, ""),
      isOutcomeUnknown,
      cause: reason.cause
    })
    : reason
