/**
 * Conversations in a bucket of S3, or of a store that speaks its protocol, through `@aws-sdk/client-s3`. The package is
 * an optional peer; it is loaded when the Layer is built, not when this module is imported.
 *
 * **Atomic.** The latest items of a conversation and all that is known about it are one object, its head, and a commit
 * is one conditional write of it (`If-None-Match`, `If-Match`): of two writers one is first and the other begins again on
 * what the first left. Older items move into objects of their own, before the head that names them is written. A
 * store that takes no notice of conditions is found out before the first write, which fails with `Unsupported`.
 *
 * **Lost answers.** When it is unknown whether a write happened, the head is read: it tells. A commit is tried again
 * where that is safe, for up to `commitTimeout`.
 *
 * **Cost.** A commit is one PUT where this process has the latest head, else one GET more; a short conversation is
 * loaded by one GET. Past 64 KB of items they become objects of 64 KB or more, which `maintain` joins into ever larger ones
 * of up to 8 MB, so that a long conversation is loaded by few GETs. Listing reads the head of each conversation.
 *
 * **Keys.** Letters and digits of an id stand for themselves, all else is escaped, and what is too long for a key is cut
 * and ends in a SHA-256. `conversations` lists all of them in order, the long ones too.
 *
 * **Clocks** of writers may differ: they only tell when an item was saved. Operation ids are kept by number alone, the
 * latest 1,000, and a cleared conversation keeps its head. In a bucket with versioning, what was cleared stays in
 * versions from before until a lifecycle rule removes them.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { MakeOptions, Primitives } from "../../services/Session.ts"
import * as Session from "../../services/Session.ts"
import * as SessionError from "../../services/SessionError.ts"
import * as client from "./internal/s3Client.ts"
import * as keys from "./internal/s3Keys.ts"
import * as store from "./internal/s3Store.ts"

export {
  /**
   * @category options
   * @since 0.1.0
   */
  type S3Credentials
} from "./internal/s3Client.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends MakeOptions {
  readonly bucket: string
  /**
   * Stands before every key, with a slash at its end. Two prefixes never see each other's conversations.
   *
   * @default "agent-layers/"
   */
  readonly prefix?: string | undefined
  /** The address of the server. Absent: AWS, in that region. */
  readonly endpoint?: string | undefined
  /** Absent: what the client finds in environment and configuration; with an `endpoint` `"us-east-1"`. */
  readonly region?: string | undefined
  /** Absent: the client's default chain: environment, shared configuration, the role of the machine. */
  readonly credentials?: client.S3Credentials | undefined
  /**
   * Whether the bucket stands in the path and not in the name of the host.
   *
   * @default false, true with an `endpoint`
   */
  readonly forcePathStyle?: boolean | undefined
  /**
   * How long one request may take; a second more for each million characters that are sent.
   *
   * @default "10 seconds"
   */
  readonly requestTimeout?: Duration.Input | undefined
}

const backend = "s3"

const maxPrefix = 512

const prefixOf = (given: string | undefined): Effect.Effect<string, SessionError.SessionErrorReason> => {
  const prefix = given === undefined ? "agent-layers/" : given === "" || given.endsWith("/") ? given : `${given}/`
  const bytes = new TextEncoder().encode(prefix).length
  if (bytes > maxPrefix) {
    return Effect.fail(
      new SessionError.LimitExceeded({ limit: "Bytes in the prefix", maximum: maxPrefix, actual: bytes })
    )
  }
  const parts = prefix === "" ? [] : prefix.slice(0, -1).split("/")
  return parts.some((part) => part === "" || part === "." || part === ".." || /[\p{Cc}\p{Surrogate}]/u.test(part))
    ? Effect.fail(
      new SessionError.InvalidInput({
        description: `prefix "${prefix}" has an empty part, a part that is "." or "..", or a control character in it`
      })
    )
    : Effect.succeed(prefix)
}

/** Whatever is asked of a session whose scope is closed fails. */
const whileOpen = (primitives: Omit<Primitives, "backend">, isOpen: () => boolean): Omit<Primitives, "backend"> => {
  const guard =
    <Args extends ReadonlyArray<unknown>, A>(primitive: (...args: Args) => Effect.Effect<A, unknown>) =>
    (...args: Args): Effect.Effect<A, unknown> =>
      Effect.suspend((): Effect.Effect<A, unknown> =>
        isOpen() ? primitive(...args) : Effect.fail(new SessionError.Closed())
      )
  const { clear, list, load, maintain, page, pop, rewrite, save, ...capabilities } = primitives
  return {
    ...capabilities,
    load: guard(load),
    save: guard(save),
    rewrite: guard(rewrite!),
    pop: guard(pop!),
    clear: guard(clear!),
    page: guard(page!),
    list: guard(list!),
    maintain: guard(maintain!)
  }
}

/**
 * A session in a bucket. Makes no request: that the bucket is not there or may not be used shows with the first one, as
 * `Unavailable`. Fails with `Unsupported` where `@aws-sdk/client-s3` is not installed, with `InvalidInput` for options
 * that cannot be used.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Session.Session["Service"], SessionError.SessionError, Scope.Scope> {
  const primitives = yield* Effect.gen(function*() {
    const prefix = yield* prefixOf(options.prefix)
    const bucket = yield* client.make({
      bucket: options.bucket,
      endpoint: options.endpoint,
      region: options.region,
      credentials: options.credentials,
      forcePathStyle: options.forcePathStyle ?? (options.endpoint === undefined ? undefined : true),
      requestTimeout: Duration.fromInputUnsafe(options.requestTimeout ?? "10 seconds")
    })
    return store.make(bucket, keys.make(prefix, bucket.sha256))
  }).pipe(Effect.mapError((reason) => new SessionError.SessionError({ backend, operation: "open", reason })))
  let isOpen = true
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isOpen = false
    })
  )
  return Session.make({ backend, ...whileOpen(primitives, () => isOpen) }, {
    onCorruptItem: options.onCorruptItem,
    commitTimeout: options.commitTimeout
  })
})

/**
 * Conversations in a bucket. The client's connections are closed when the Layer is; calls fail with `Closed` then.
 *
 * **Example**
 *
 * ```ts
 * SessionS3.layer({ bucket: "conversations", prefix: "support", region: "eu-central-1" })
 * ```
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
