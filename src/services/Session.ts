/**
 * The memory of conversations: items in order, committed turn by turn. Backends (memory, SQLite, …) and decorators
 * both provide this one service, so that where and how conversations are kept is a matter of Layer wiring. The runner
 * loads before a run and commits after each turn; backend authors call `make` with a few primitive operations.
 *
 * It does not know what a valid history is (see `History`) nor who may read a conversation.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Stream from "effect/Stream"
import * as internal from "./internal/session.ts"
import type {
  Capabilities,
  Conversation,
  Loaded,
  LoadOptions,
  MaintainOptions,
  MakeOptions,
  PopOptions,
  Primitives,
  Record,
  Saved,
  SaveOptions
} from "./internal/sessionModel.ts"
import { prefixed as prefixedSession, refuseTenant } from "./internal/sessionPrefixed.ts"
import { stack } from "./internal/sessionStack.ts"
import type { Item } from "./Item.ts"
import { SessionError } from "./SessionError.ts"

export {
  type Capabilities,
  type Commit,
  type Conversation,
  type Loaded,
  type LoadOptions,
  type MaintainOptions,
  type MakeOptions,
  Meta,
  type PopOptions,
  type Primitives,
  Record,
  type Saved,
  type SaveOptions
} from "./internal/sessionModel.ts"

/**
 * Conversations by id: any text of up to 512 characters but NUL and half surrogate pairs.
 *
 * A commit that has started finishes, interruption or not, within `commitTimeout`; everything else stops when
 * interrupted.
 *
 * @category services
 * @since 0.1.0
 */
export class Session extends Context.Service<Session, {
  /** Items in order. An unknown id has none, at version 0. */
  readonly loadItems: (id: string, options?: LoadOptions) => Effect.Effect<Loaded, SessionError>

  /** One commit: all items or none, in order; the version grows by one. An empty save changes nothing. */
  readonly saveItems: (
    id: string,
    items: ReadonlyArray<Item>,
    options?: SaveOptions
  ) => Effect.Effect<Saved, SessionError>

  /**
   * Replaces what was committed up to version `through` by `items`; later commits stay. `VersionConflict` only where
   * another rewrite, a pop or a clear came after that version.
   */
  readonly rewrite: (
    id: string,
    options: { readonly through: number; readonly items: ReadonlyArray<Item> }
  ) => Effect.Effect<Saved, SessionError>

  /**
   * Takes the last item away and returns it; `undefined` when there is none. It is decoded before it is removed, and
   * no two callers get the same. May leave half a pair, which the runner repairs when it loads.
   */
  readonly popItem: (id: string, options?: PopOptions) => Effect.Effect<Item | undefined, SessionError>

  /** Forgets the content. Version and operation ids stay, so that a late retry stores nothing. */
  readonly clear: (id: string) => Effect.Effect<void, SessionError>

  /** Items with what is known about them, in order, read in pages. `CursorExpired` after a rewrite, pop or clear. */
  readonly records: (
    id: string,
    options?: { readonly after?: string | undefined }
  ) => Stream.Stream<Record, SessionError>

  /** Conversations that have content, by id. */
  readonly conversations: (
    options?: { readonly prefix?: string | undefined }
  ) => Stream.Stream<Conversation, SessionError>

  /**
   * The moment for compaction and retention. The runner calls it after its last commit, and when a model refused the
   * conversation as too long.
   */
  readonly maintain: (id: string, options?: MaintainOptions) => Effect.Effect<void, SessionError>

  readonly capabilities: Capabilities
}>()("agent-layers/services/Session") {}

/**
 * A session from the primitive operations of a backend. Adds, once and for all backends alike: encoding and decoding,
 * validation, fingerprints, paging, spans, error mapping, and commits that finish when interrupted.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (primitives: Primitives, options?: MakeOptions) => Session["Service"] = internal.make

/**
 * A session whose store sees sealed items only. Provided beside `Session` by `SessionEncrypted`, and kept by `wrap`, so
 * that a program that requires it does not compile over a stack without encryption.
 *
 * @category services
 * @since 0.1.0
 */
export class Sealed extends Context.Service<Sealed, Session["Service"]>()("agent-layers/services/Session/Sealed") {}

/**
 * Runs an effect on a session that is sealed: in place of `Session`, `Sealed` stands in its requirements.
 *
 * **Example** (A program that is not to be wired to a store that can read along)
 *
 * ```ts
 * const program = Session.requireSealed(Runner.run(agent, "Hello!", { conversationId: "ada" }))
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const requireSealed = <A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Session> | Sealed> =>
  Effect.flatMap(Sealed, (session) => Effect.provideService(self, Session, session))

declare const DecoratorTypeId: unique symbol

/**
 * A Layer that requires the `Session` that it provides.
 *
 * `Role` is what the order of a stack depends on: `"reads"` looks into items, and `"hides"` lets nobody inside of it do
 * so. It exists in the type only; at run time `capabilities.readsItems` says the same.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decorator<
  out E = never,
  out R = never,
  in Provided = Session,
  out Role extends "reads" | "hides" = never
> extends Layer.Layer<Provided, E, R | Session> {
  readonly [DecoratorTypeId]?: Role
}

/** @since 0.1.0 */
export declare namespace Decorator {
  /**
   * @category models
   * @since 0.1.0
   */
  export type Role<D> = D extends { readonly [DecoratorTypeId]?: infer Role } ? unknown extends Role ? never : Role
    : never

  /**
   * The decorators, with a text in place of each that looks into items below one that hides them.
   *
   * @category models
   * @since 0.1.0
   */
  export type InOrder<Decorators extends ReadonlyArray<unknown>, Hidden = never> = Decorators extends
    readonly [infer Head, ...infer Tail] ? readonly [
      [Hidden] extends [never] ? Head
        : "reads" extends Role<Head> ?
          "This decorator looks into items: put it before those that encrypt or compress them"
        : Head,
      ...InOrder<Tail, Hidden | Extract<Role<Head>, "hides">>
    ]
    : Decorators
}

/**
 * A stack of decorators over a backend, outermost first: the first sees an item first when it is written.
 * `wrap(Postgres, [cached, compressed, encrypted])` compresses, then encrypts, and caches what is neither.
 *
 * Each decorator is built anew for this stack, even where one value stands in several; the backend, and what decorators
 * require, is built once in a program, and so is the stack itself. What the layers provide beside `Session` stays
 * available.
 *
 * A decorator that looks into items inside one that hides them is a compile error.
 *
 * @category combinators
 * @since 0.1.0
 */
export const wrap = <
  Backend extends Layer.Layer<Session, any, any>,
  const Decorators extends ReadonlyArray<Layer.Layer<Session, any, any>>
>(
  backend: Backend,
  decorators: Decorators & Decorator.InOrder<Decorators>
): Layer.Layer<
  Layer.Success<Backend> | Layer.Success<Decorators[number]>,
  Layer.Error<Backend> | Layer.Error<Decorators[number]>,
  Layer.Services<Backend> | Exclude<Layer.Services<Decorators[number]>, Session>
> =>
  // With the memo map that it is built with: `Layer.fresh` of a stack is a stack of its own, down to its backend.
  Layer.fromBuildMemo((memoMap, scope) =>
    Effect.map(Layer.buildWithMemoMap(stack(backend, decorators), memoMap, scope), (context) => {
      const session = Context.getUnsafe(context as Context.Context<Session>, Session)
      return session.capabilities.sealed === true ? Context.add(context, Sealed, session) : context
    })
  ) as Layer.Layer<any, any, any>

/**
 * Conversations of one tenant: a decorator that puts the tenant before every id. Tenants never see each other's
 * conversations, whatever characters their names and ids have; a session without it sees all of them.
 *
 * Takes as many characters of a conversation id as the tenant has, and one more. Fails with `InvalidInput` or
 * `LimitExceeded` on a tenant that is empty, holds NUL or half of a surrogate pair, or is longer than 127 characters.
 *
 * @category combinators
 * @since 0.1.0
 */
export const prefixed = (tenant: string): Decorator<SessionError> =>
  Layer.effect(
    Session,
    Effect.gen(function*() {
      const reason = refuseTenant(tenant)
      if (reason !== undefined) {
        return yield* new SessionError({ backend: "prefixed", operation: "open", reason })
      }
      return prefixedSession(yield* Session, tenant)
    })
  )
