/**
 * Backups for the session below, which is the primary: a decorator. Reads are answered by the primary; while it cannot be
 * reached, by the first backup that can. Writes need the primary.
 *
 * **What is guaranteed.** A commit is answered when the primary has it, and each backup that was reachable has it too,
 * under the same operation id and version. Where a backup and the primary have a conversation at the same version, they
 * have the same items in it, and a backup is never ahead: what a backup answers is a state that the conversation was in,
 * maybe an older one, and a commit onto it is refused with `VersionConflict` by a primary that is further.
 *
 * **A backup that was down** is behind. It catches up with a conversation at the next write to it, and when it is
 * maintained: commits are repeated one by one; after a rewrite, pop or clear the conversation is copied, and cannot be
 * read there meanwhile. It then knows neither the operation ids of what it missed, nor, after a copy, `meta` and the times
 * of saving.
 *
 * Backups are plain stores for this purpose: nobody else writes to them, and they do not compact or forget by themselves.
 * All of them must open when the layer is built.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { buildHere } from "../../services/internal/sessionStack.ts"
import type { Loaded, LoadOptions } from "../../services/Session.ts"
import * as Session from "../../services/Session.ts"
import * as SessionError from "../../services/SessionError.ts"
import { failure, refuseOption, refuseStack } from "./internal/mapped.ts"
import * as replica from "./internal/replica.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Backup<E = unknown, R = unknown> {
  /** In logs, spans and errors. */
  readonly name: string
  /** Built with the memo map of the program: a pool that it shares with other layers stays one pool. */
  readonly layer: Layer.Layer<Session.Session, E, R>
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options<E = unknown, R = unknown> {
  /** In the order in which they are asked. */
  readonly backups: ReadonlyArray<Backup<E, R>>
  /**
   * How long the primary, and then each backup, may take to answer a read before the next is asked.
   *
   * @default "5 seconds"
   */
  readonly readTimeout?: Duration.Input | undefined
  /**
   * How long a commit, which the primary has by then, waits for a backup.
   *
   * @default "5 seconds"
   */
  readonly replicationTimeout?: Duration.Input | undefined
  /**
   * For how long writes do not wait for a backup again that failed or took too long.
   *
   * @default "10 seconds"
   */
  readonly cooldown?: Duration.Input | undefined
}

type Service = Session.Session["Service"]

const name = "fallback"

const requireCopies = (which: string, { capabilities }: Service) =>
  capabilities.versions && capabilities.rewrite
    ? Effect.void
    : refuseStack(name, `${which} has no versions or cannot rewrite, so that two stores cannot be kept the same`)

/** The primary's error, with what the backups said. */
const allFailed = (
  primary: SessionError.SessionError,
  backups: ReadonlyArray<readonly [name: string, error: SessionError.SessionError]>
): SessionError.SessionError =>
  new SessionError.SessionError({
    backend: primary.backend,
    operation: primary.operation,
    ...(primary.conversationId === undefined ? undefined : { conversationId: primary.conversationId }),
    reason: new SessionError.Unavailable({
      description: [
        primary.reason.message,
        ...backups.map(([name, { reason }]) => `backup "${name}": ${reason.message}`)
      ].join("; "),
      isOutcomeUnknown: false,
      cause: [primary, ...backups.map(([, error]) => error)]
    })
  })

const incomplete = (operation: string, id: string) =>
  failure(
    name,
    operation,
    id,
    new SessionError.Unavailable({
      description: "the copy of the conversation is not complete",
      isOutcomeUnknown: false
    })
  )

const isAway = ({ reason }: SessionError.SessionError): boolean => reason._tag === "Unavailable"

/** What a load with options would have answered, from all items. */
const cutTo = (loaded: Loaded, { maxItems }: LoadOptions = {}): Loaded => ({
  items: maxItems === undefined
    ? loaded.items
    : loaded.items.slice(Math.max(0, loaded.items.length - Math.max(0, maxItems))),
  version: loaded.version,
  isSuffix: false
})

/**
 * The session in the context, with backups. Fails with `Unsupported` where it, or a backup, has no versions or cannot
 * rewrite, or where it is encrypted and a backup is not, and with what a backup's layer fails with.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<E, R>(
  options: Options<E, R>
): Effect.fn.Return<Service, SessionError.SessionError | E, Session.Session | Scope.Scope | R> {
  const primary = yield* Session.Session
  const { cooldown = "10 seconds", readTimeout = "5 seconds", replicationTimeout: timeout = "5 seconds" } = options
  yield* requireCopies("The session below", primary)
  const replicas: Array<replica.Replica> = []
  for (const { layer, name: backupName } of options.backups) {
    if (replicas.some((one) => one.name === backupName)) {
      return yield* refuseOption(name, `Two backups have the name "${backupName}"`)
    }
    const backup = Context.get(yield* buildHere(layer), Session.Session)
    yield* requireCopies(`The backup "${backupName}"`, backup)
    if (primary.capabilities.sealed === true && backup.capabilities.sealed !== true) {
      return yield* refuseStack(
        name,
        `The session below is encrypted and the backup "${backupName}" is not: encrypt outside of the fallback, ` +
          "before it in a list, or encrypt the backup too"
      )
    }
    replicas.push(replica.make({ name: backupName, primary, backup, timeout, cooldown }))
  }

  const late = (operation: string, id: string, who: string) => ({
    duration: readTimeout,
    orElse: () =>
      Effect.fail(
        failure(
          name,
          operation,
          id,
          new SessionError.Unavailable({ description: `${who} did not answer in time`, isOutcomeUnknown: false })
        )
      )
  })

  const served = (operation: string, by: string, error: SessionError.SessionError) =>
    Effect.andThen(
      Effect.annotateCurrentSpan("agent_layers.session.served_by", by),
      Effect.logWarning(`${operation} was answered by the backup "${by}": ${error.message}`)
    )

  const fromBackups = Effect.fnUntraced(function*(
    id: string,
    load: LoadOptions | undefined,
    error: SessionError.SessionError
  ): Effect.fn.Return<Loaded, SessionError.SessionError> {
    const errors: Array<readonly [string, SessionError.SessionError]> = []
    for (const { load: loadCopy, name: backupName } of replicas) {
      const answer = yield* loadCopy(id).pipe(
        Effect.filterOrFail((loaded) => loaded !== undefined, () => incomplete("loadItems", id)),
        Effect.timeoutOrElse(late("loadItems", id, "it")),
        Effect.catch((error) => {
          errors.push([backupName, error])
          return Effect.undefined
        })
      )
      if (answer !== undefined) {
        yield* served("loadItems", backupName, error)
        return cutTo(answer, load)
      }
    }
    return yield* allFailed(error, errors)
  })

  const loadItems: Service["loadItems"] = (id, load) =>
    primary.loadItems(id, load).pipe(
      Effect.timeoutOrElse(late("loadItems", id, "The primary")),
      Effect.catchIf(isAway, (error) => fromBackups(id, load, error))
    )

  /** Another store has other cursors: only what begins at the start can be read elsewhere, and nothing is read twice. */
  const readOn = <A>(
    operation: string,
    read: (session: Service) => Stream.Stream<A, SessionError.SessionError>
  ): Stream.Stream<A, SessionError.SessionError> => {
    const from = (
      index: number,
      first: SessionError.SessionError,
      errors: ReadonlyArray<readonly [string, SessionError.SessionError]>
    ): Stream.Stream<A, SessionError.SessionError> => {
      const next = replicas[index]
      return next === undefined ? Stream.fail(allFailed(first, errors)) : attempt(
        next.session,
        (error) => from(index + 1, first, [...errors, [next.name, error]]),
        served(operation, next.name, first)
      )
    }
    const attempt = (
      session: Service,
      onAway: (error: SessionError.SessionError) => Stream.Stream<A, SessionError.SessionError>,
      onFirst: Effect.Effect<void>
    ) =>
      Stream.suspend(() => {
        let isBegun = false
        return read(session).pipe(
          Stream.mapEffect((a) => {
            if (isBegun) return Effect.succeed(a)
            isBegun = true
            return Effect.as(onFirst, a)
          }),
          Stream.catch((error) => isAway(error) && !isBegun ? onAway(error) : Stream.fail(error))
        )
      })
    return attempt(primary, (error) => from(0, error, []), Effect.void)
  }

  const catchUp = (id: string) => Effect.forEach(replicas, (one) => one.catchUp(id), { concurrency: "unbounded" })

  /** A change of the primary that has begun is followed by the backups, interruption or not. */
  const following = <A>(id: string, change: Effect.Effect<A, SessionError.SessionError>) =>
    Effect.uninterruptible(Effect.tap(change, () => catchUp(id)))

  return {
    capabilities: primary.capabilities,
    loadItems,
    saveItems: (id, items, save = {}) =>
      Effect.uninterruptible(
        Effect.tap(primary.saveItems(id, items, save), ({ version }) =>
          items.length === 0 ? Effect.void : Effect.forEach(
            replicas,
            (one) => one.save(id, items, save, version),
            { concurrency: "unbounded", discard: true }
          ))
      ),
    rewrite: (id, options) => following(id, primary.rewrite(id, options)),
    popItem: (id, options) => following(id, primary.popItem(id, options)),
    clear: (id) => following(id, primary.clear(id)),
    maintain: (id, options) => Effect.andThen(primary.maintain(id, options), catchUp(id)),
    records: (id, options) =>
      options?.after !== undefined
        ? primary.records(id, options)
        : readOn("records", (session) =>
          Stream.mapEffect(session.records(id), (record) =>
            replica.isMarked([record.item]) ? Effect.fail(incomplete("records", id)) : Effect.succeed(record))),
    conversations: (options) => readOn("conversations", (session) => session.conversations(options))
  }
})

/**
 * **Example** (PostgreSQL with a file beside it)
 *
 * ```ts
 * const Local = SessionSqlite.layer({ filename: "backup.db" })
 * const Stack = Session.wrap(Postgres, [SessionFallback.layer({ backups: [{ name: "local", layer: Local }] })])
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E, R>(
  options: Options<E, R>
): Session.Decorator<SessionError.SessionError | E, Exclude<R, Session.Session>> =>
  Layer.effect(Session.Session, make(options)) as Session.Decorator<
    SessionError.SessionError | E,
    Exclude<R, Session.Session>
  >
