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
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import * as internal from "./internal/session.ts"
import type {
  Capabilities,
  Conversation,
  Loaded,
  LoadOptions,
  MakeOptions,
  Primitives,
  Record,
  Saved,
  SaveOptions
} from "./internal/sessionModel.ts"
import type { Item } from "./Item.ts"
import type { SessionError } from "./SessionError.ts"

export {
  type Capabilities,
  type Commit,
  type Conversation,
  type Loaded,
  type LoadOptions,
  type MakeOptions,
  Meta,
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
  readonly popItem: (id: string) => Effect.Effect<Item | undefined, SessionError>

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

  /** The moment for compaction and retention; the runner calls it after its last commit. */
  readonly maintain: (id: string) => Effect.Effect<void, SessionError>

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
