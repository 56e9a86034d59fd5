/**
 * Conversations that OpenAI keeps (`/v1/conversations`), through the `openai` package. It is an optional peer, loaded
 * when the Layer is built, not when this module is imported.
 *
 * **What it cannot do.** OpenAI has no versions of a conversation, no operation ids, no rewriting and no list of
 * conversations: `capabilities` says so, and layers that need one of them refuse this session. Runs commit without
 * looking whether somebody else did, one after the other within a process. A commit of which the answer was lost fails
 * with `Unavailable` and an unknown outcome; to repeat it may store it twice.
 *
 * **Commits.** Up to 20 items are added at once, all or none. More are added 20 by 20: a reader may see a part of them, and
 * where one part fails, those before it are removed again.
 *
 * **Items** are kept in OpenAI's own form. A message of one text comes back as that text; ids come back only for items
 * that are nothing without them; fields that the API does not document are left out. Items that OpenAI would refuse (of
 * unknown types, sealed or packed ones, reasoning of another provider) fail with `InvalidInput` before anything is sent.
 *
 * **Ids.** OpenAI makes the ids of conversations. One of them (`conv_…`) may be used as it is, for a conversation that is
 * there. Any other id is one of your own: a conversation is made for it with the first commit, and `conversationIds`
 * keeps which it is.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { MakeOptions, Primitives } from "../../services/Session.ts"
import * as Session from "../../services/Session.ts"
import * as SessionError from "../../services/SessionError.ts"
import * as internal from "./internal/openaiConversations.ts"
import type { ConversationIds } from "./internal/openaiConversations.ts"

export {
  /**
   * Keeps which of OpenAI's conversations belongs to which id.
   *
   * @category models
   * @since 0.1.0
   */
  type ConversationIds
} from "./internal/openaiConversations.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends MakeOptions {
  readonly apiKey: Redacted.Redacted
  /**
   * Up to and with the version, without `/conversations`.
   *
   * @default "https://api.openai.com/v1"
   */
  readonly baseURL?: string | undefined
  readonly organization?: string | undefined
  readonly project?: string | undefined
  /**
   * How long one request may take.
   *
   * @default "20 seconds"
   */
  readonly timeout?: Duration.Input | undefined
  /**
   * Where to keep OpenAI's ids of conversations. The default keeps them while the Layer lives: what is to be found
   * again later needs a store here, or OpenAI's own ids in place of one's own.
   *
   * @default memoryIds
   */
  readonly conversationIds?: ConversationIds | undefined
  /** Further headers of every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** @default globalThis.fetch */
  readonly fetch?: typeof globalThis.fetch | undefined
}

const backend = "openai-conversations"

/**
 * Keeps ids in this process.
 *
 * @category constructors
 * @since 0.1.0
 */
export const memoryIds: Effect.Effect<ConversationIds> = Effect.sync(() => {
  const all = new Map<string, string>()
  return {
    find: (id) => Effect.sync(() => all.get(id)),
    claim: (id, conversation) =>
      Effect.sync(() => {
        const kept = all.get(id) ?? conversation
        all.set(id, kept)
        return kept
      }),
    forget: (id, conversation) =>
      Effect.sync(() => {
        if (all.get(id) === conversation) all.delete(id)
      })
  }
})

/**
 * A session over OpenAI's conversations. Makes no request. Fails with `Unsupported` where `openai` is not installed, with
 * `InvalidInput` for options that cannot be used.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Session.Session["Service"], SessionError.SessionError, Scope.Scope> {
  const ids = options.conversationIds ?? (yield* memoryIds)
  const { clear, load, pop, save, ...capabilities } = yield* Effect.mapError(
    internal.make({ ...options, timeout: Duration.fromInputUnsafe(options.timeout ?? "20 seconds") }, ids),
    (reason) => new SessionError.SessionError({ backend, operation: "open", reason })
  )
  let isOpen = true
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isOpen = false
    })
  )
  const whileOpen =
    <Args extends ReadonlyArray<unknown>, A>(primitive: (...args: Args) => Effect.Effect<A, unknown>) =>
    (...args: Args): Effect.Effect<A, unknown> =>
      Effect.suspend((): Effect.Effect<A, unknown> =>
        isOpen ? primitive(...args) : Effect.fail(new SessionError.Closed())
      )
  const primitives: Primitives = {
    backend,
    ...capabilities,
    load: whileOpen(load),
    save: whileOpen(save),
    pop: whileOpen(pop!),
    clear: whileOpen(clear!)
  }
  return Session.make(primitives, { onCorruptItem: options.onCorruptItem, commitTimeout: options.commitTimeout })
})

/**
 * Conversations that OpenAI keeps.
 *
 * **Example**
 *
 * ```ts
 * SessionOpenAIConversations.layer({ apiKey: Redacted.make("sk-…") })
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
