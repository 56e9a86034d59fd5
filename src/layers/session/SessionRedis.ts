/**
 * Conversations in Redis 6.2 and newer (tried with 7), over `redis` by way of `NodeRedis`, or the `Redis` service that a
 * program has already.
 *
 * **Durability.** A commit that was answered is as durable as the server's configuration makes it: with its default
 * snapshots a server that crashes loses the last minutes, with `appendonly yes` and `appendfsync always` nothing. Each
 * operation is one Lua script, which Redis runs alone: it happens whole or not at all (two for `popItem`, which looks
 * before it removes). The server must not evict keys (`maxmemory-policy noeviction`); a conversation that lost keys is
 * `CorruptStore`, not a short one.
 *
 * **Connections.** One connection, shared and pipelined, reconnects by itself, also from a peer that went away without
 * a word; commands wait for it for up to `timeout`. Every command has that timeout. Where a connection breaks before the
 * answer came, a commit under an operation id is sent again, twice at most; without one it fails with `Unavailable`,
 * whose `isOutcomeUnknown` says that it may have happened.
 *
 * **Locks.** None: scripts run one after the other.
 *
 * **Keys.** `{prefix}:index`, `{prefix}:format` and five for each conversation: `{prefix}:conversation:<id>`, `items`,
 * `commits`, `operations` and `order`. The prefix is percent-encoded, so that no two prefixes share a key, whatever is in
 * them or in ids. The braces keep the keys of a prefix on one node of a cluster: with `layerRedis` over a client that
 * speaks to clusters, several prefixes spread over nodes and one does not. `layer` connects to one node. Nothing
 * expires. An item has at most 15 MiB, a commit 256 MiB: more is `LimitExceeded`.
 *
 * @since 0.1.0
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redis from "effect/persistence/Redis"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Secrets from "../../services/internal/secrets.ts"
import type { MakeOptions } from "../../services/Session.ts"
import * as Session from "../../services/Session.ts"
import * as SessionError from "../../services/SessionError.ts"
import * as database from "./internal/redisDatabase.ts"
import { scrubLoggers, toFailure } from "./internal/redisErrors.ts"
import * as store from "./internal/redisStore.ts"

/**
 * What holds for a connection string and for the application's own client alike.
 *
 * @category options
 * @since 0.1.0
 */
export interface KeyOptions extends MakeOptions {
  /**
   * Stands before every key; sessions with another prefix see nothing of it. Any text of up to 128 characters.
   *
   * @default "agent-layers"
   */
  readonly prefix?: string | undefined
  /**
   * How long a command may take, the time included that it waits for a connection. Never more than `commitTimeout`.
   *
   * @default "5 seconds"
   */
  readonly timeout?: Duration.Input | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends KeyOptions {
  /** `redis://user:password@host:port/database`, or `rediss://` for TLS. It is in no error and no span. */
  readonly url: Redacted.Redacted<string>
}

const backend = "redis"

const invalid = (description: string) => Effect.fail(new SessionError.InvalidInput({ description }))

const limitsOf = (options: KeyOptions) => {
  const commitTimeout = Duration.fromInputUnsafe(options.commitTimeout ?? "30 seconds")
  // Who gives up before the commit's own timeout can say whether it happened.
  const patience = Duration.times(commitTimeout, 0.75)
  const timeout = Duration.min(Duration.fromInputUnsafe(options.timeout ?? "5 seconds"), patience)
  return { commitTimeout, patience, timeout }
}

const over = Effect.fnUntraced(function*(
  send: database.Options["send"],
  server: string,
  scrub: (text: string) => string,
  options: KeyOptions
): Effect.fn.Return<Session.Session["Service"], SessionError.SessionErrorReason, Scope.Scope> {
  const { prefix = "agent-layers" } = options
  if (prefix === "" || prefix.length > 128 || /\p{Surrogate}/u.test(prefix)) {
    return yield* invalid("prefix takes 1 to 128 characters, without half of a surrogate pair")
  }
  const { commitTimeout, patience, timeout } = limitsOf(options)
  const opened = yield* database.open({ send, server, scrub, prefix, timeout })
  return Session.make({ backend, versions: true, operations: true, ...store.make(opened, patience) }, {
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
  return url === null || !/^rediss?:$/.test(url.protocol) || !/^(\/\d*)?$/.test(url.pathname)
    ? invalid("url is no connection string of Redis; pass redis://user:password@host:port/database")
    : Effect.succeed(
      `Redis at ${url.hostname === "" ? "localhost" : url.hostname}:${url.port === "" ? 6379 : url.port}`
    )
}

const connect = Effect.fnUntraced(function*(
  url: Redacted.Redacted<string>,
  server: string,
  scrub: (text: string) => string,
  timeout: Duration.Duration
): Effect.fn.Return<database.Options["send"], SessionError.SessionErrorReason, Scope.Scope> {
  const millis = Math.max(1, Duration.toMillis(timeout))
  let isReady = false
  // The client's own release waits forever where the greeting has no answer, so that connecting, which has timeouts, is
  // over before it is released.
  const loggers = scrubLoggers(yield* Logger.CurrentLoggers, scrub)
  const context = yield* Effect.uninterruptible(Layer.build(NodeRedis.layer({
    url: Redacted.value(url),
    // A peer that went away without a word answers no ping, and the socket is given up.
    pingInterval: millis,
    socket: {
      connectTimeout: millis,
      socketTimeout: millis * 2,
      reconnectStrategy: (retries, cause) => isReady ? Math.min(25 * 2 ** Math.min(retries, 10), 1_000) : cause
    }
  }))).pipe(
    Effect.provideService(Logger.CurrentLoggers, loggers),
    Effect.mapError((error) => toFailure(error, { server, scrub, during: "connect" }).reason)
  )
  isReady = true
  const { client } = Context.get(context, NodeRedis.NodeRedis)
  // Closing waits for answers. Where none comes, what is under way is given up.
  yield* Effect.addFinalizer(() =>
    Effect.promise(() => client.close().catch(() => undefined)).pipe(
      Effect.timeoutOption(timeout),
      Effect.andThen(Effect.sync(() => client.destroy()))
    )
  )
  return (command, ...args) =>
    Effect.callback<unknown, unknown>((resume) => {
      const controller = client.isReady ? undefined : new AbortController()
      // Without a connection the command waits, and is taken back when it was not written in time: then it has certainly
      // not happened. With one it is written at once; signals cost as much as the command.
      const waiting = controller && { abortSignal: controller.signal, timeout: Math.ceil(millis * 0.9) }
      client.sendCommand([command, ...args], waiting).then(
        (answer) => resume(Effect.succeed(answer)),
        (error: unknown) => resume(Effect.fail(error))
      )
      return Effect.sync(() => controller?.abort())
    })
})

/**
 * A session in Redis with a connection of its own, until the scope closes. Fails with `InvalidInput` where an option
 * means nothing, with `Unavailable` where the server cannot be reached or refuses the credentials, with `Unsupported`
 * where the keys have a newer format or the user may not run scripts.
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
    const send = yield* connect(options.url, server, scrub, limitsOf(options).timeout)
    return yield* over(send, server, scrub, options)
  }).pipe(atOpen)

/**
 * Conversations in Redis. The connection is closed when the Layer is, after commands that are under way; calls fail with
 * `Closed` then.
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
 * Conversations in Redis over the application's own `Redis` service (`NodeRedis.layer` provides one), which stays open
 * when this Layer closes. A command that waits for a connection when its `timeout` is over may still be sent later, so
 * that the outcome of such a write is unknown.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerRedis = (
  options: KeyOptions = {}
): Layer.Layer<Session.Session, SessionError.SessionError, Redis.Redis> =>
  Layer.effect(
    Session.Session,
    Effect.flatMap(Redis.Redis, (redis) => atOpen(over(redis.send, "the application's Redis", identity, options)))
  )
