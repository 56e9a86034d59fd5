/**
 * What the session contract is made of; public as members of `agent-layers/services/Session`.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Item } from "../Item.ts"
import type { SessionErrorReason } from "../SessionError.ts"

/**
 * What is known about how an item came to be; stands beside the item, not in it.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Meta = Schema.Struct({
  runId: Schema.optionalKey(Schema.String),
  agent: Schema.optionalKey(Schema.String),
  /** The provider whose model made the turn. */
  provider: Schema.optionalKey(Schema.String)
})

/**
 * @category models
 * @since 0.1.0
 */
export interface Meta extends Schema.Schema.Type<typeof Meta> {}

/**
 * An item as it is kept.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Record = Schema.Struct({
  item: Item,
  /** The version that the commit left which saved the item. */
  commit: Schema.Int,
  /** Milliseconds since 1970. Items are ordered by sequence, never by time. */
  savedAt: Schema.Finite,
  meta: Schema.optionalKey(Meta),
  /** Where to go on reading after this record. */
  cursor: Schema.String
})

/**
 * @category models
 * @since 0.1.0
 */
export interface Record extends Schema.Schema.Type<typeof Record> {}

/**
 * @category models
 * @since 0.1.0
 */
export interface Conversation {
  readonly id: string
  readonly version: number
  /** Milliseconds since 1970. */
  readonly changedAt: number
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Loaded {
  readonly items: ReadonlyArray<Item>
  /**
   * The number of commits so far, rewrites, pops and clears among them; 0 for a conversation that nobody has written
   * to, and always 0 without the capability `versions`. Never goes back.
   */
  readonly version: number
  /** Whether `items` holds only what was appended after the `known` version. */
  readonly isSuffix: boolean
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Saved {
  /** The version that the commit left. */
  readonly version: number
}

/**
 * @category options
 * @since 0.1.0
 */
export interface LoadOptions {
  /** Upper bound; the latest items, in order. Absent: all. 0 or less: none. */
  readonly maxItems?: number | undefined
  /** A version that the caller holds: where only appends came since, just those are sent. */
  readonly known?: number | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface SaveOptions {
  /**
   * Makes the commit safe to repeat. A known id is looked up first and answers with the version that it left, whatever
   * else is said. Remembered for 7 days and for the latest 1,000 operations of a conversation.
   */
  readonly operationId?: string | undefined
  /** Commit only onto this version; otherwise `VersionConflict`, for an empty save too. */
  readonly expectedVersion?: number | undefined
  readonly meta?: Meta | undefined
  /**
   * Stands for the content when an operation id comes again. Absent: a hash of the items' canonical JSON. Decorators
   * that rewrite items pass one on.
   */
  readonly fingerprint?: string | undefined
}

/**
 * What a stack of layers can do. Members that it cannot do fail with `Unsupported`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Capabilities {
  /** Whether `version` and `expectedVersion` mean something. */
  readonly versions: boolean
  /** Whether `operationId` makes a commit repeatable. */
  readonly operations: boolean
  readonly rewrite: boolean
  /** Whether `conversations` lists. */
  readonly list: boolean
  /** Whether items of any type are kept as they are, byte for byte. */
  readonly anyItem: boolean
  /** Whether what reaches the store is encrypted. Default: false. */
  readonly sealed?: boolean | undefined
  /** Whether a layer of the stack looks into items, so that nothing outside of it may hide what they hold. Default: false. */
  readonly readsItems?: boolean | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface PopOptions {
  /**
   * Asked about the item before it is removed, in the same step: a reason refuses the pop, which fails with it, and
   * nothing is removed. Must answer at once.
   */
  readonly check?: ((item: Item) => SessionErrorReason | undefined) | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface MaintainOptions {
  /**
   * Why the caller asks now. `"overflow"`: a model refused the conversation as too long for its context. A layer that
   * compacts conversations then does so below its thresholds too. Decorators pass the options on.
   *
   * @default a run has ended
   */
  readonly reason?: "overflow" | undefined
}

/**
 * A commit as a backend sees it: items are JSON texts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Commit {
  readonly entries: ReadonlyArray<string>
  readonly operationId: string | undefined
  /** Present when `operationId` is. */
  readonly fingerprint: string | undefined
  readonly expectedVersion: number | undefined
  readonly meta: Meta | undefined
  /** Milliseconds since 1970. */
  readonly savedAt: number
}

/**
 * What a backend author writes. The least backend is `load` and `save`; each further primitive adds its capability.
 *
 * A primitive fails with a reason of `SessionError` (`new VersionConflict(…)`, `new OperationMismatch(…)`) where it
 * knows one. Any other failure, a throw or a defect becomes `Unavailable` with that as its cause. Every write is
 * atomic: it happens whole or not at all.
 *
 * @category models
 * @since 0.1.0
 */
export interface Primitives {
  /** Names the backend in errors and spans. */
  readonly backend: string
  /** Whether `load` reports versions and `save` honours `expectedVersion`. Default: false. */
  readonly versions?: boolean | undefined
  /** Whether `save` honours `operationId`, before it looks at `expectedVersion`. Default: false. */
  readonly operations?: boolean | undefined
  /** Whether items of any type are kept as they are. Default: true. */
  readonly anyItem?: boolean | undefined
  /**
   * The latest `maxItems` entries (all when undefined), in order; what is more than that is cut off. A backend may
   * ignore `known`; one that honours it answers with `isSuffix` and everything since, or without it.
   */
  readonly load: (
    id: string,
    options: { readonly maxItems: number | undefined; readonly known: number | undefined }
  ) => Effect.Effect<
    { readonly entries: ReadonlyArray<string>; readonly version?: number; readonly isSuffix?: boolean },
    unknown
  >
  readonly save: (id: string, commit: Commit) => Effect.Effect<{ readonly version: number } | void, unknown>
  readonly rewrite?: (
    id: string,
    options: { readonly through: number; readonly entries: ReadonlyArray<string>; readonly savedAt: number }
  ) => Effect.Effect<{ readonly version: number }, unknown>
  /** Removes the last entry and returns it, unless `check` answers with a reason: then nothing is removed. */
  readonly pop?: (
    id: string,
    check: (entry: string) => SessionErrorReason | undefined,
    savedAt: number
  ) => Effect.Effect<string | undefined, unknown>
  readonly clear?: (id: string, savedAt: number) => Effect.Effect<void, unknown>
  /**
   * At most `limit` entries after sequence number `after`, ascending. `epoch` changes with every rewrite, pop and
   * clear.
   */
  readonly page?: (id: string, options: { readonly after: number; readonly limit: number }) => Effect.Effect<
    {
      readonly epoch: number
      readonly rows: ReadonlyArray<{
        readonly sequence: number
        readonly entry: string
        readonly commit: number
        readonly savedAt: number
        readonly meta: Meta | undefined
      }>
    },
    unknown
  >
  /** At most `limit` conversations with content whose id starts with `prefix` and is greater than `after`, ascending. */
  readonly list?: (
    options: { readonly prefix: string; readonly after: string | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<Conversation>, unknown>
  readonly maintain?: (id: string, options: MaintainOptions) => Effect.Effect<void, unknown>
}

/**
 * @category options
 * @since 0.1.0
 */
export interface MakeOptions {
  /**
   * What reading does with a stored entry that is not an item: fail with `CorruptItem`, or leave it out and log it. It
   * stays stored either way, and `popItem` fails on it either way.
   *
   * @default "fail"
   */
  readonly onCorruptItem?: "fail" | "skip" | undefined
  /**
   * How long a commit may take before it fails with `Unavailable` and an unknown outcome.
   *
   * @default "30 seconds"
   */
  readonly commitTimeout?: Duration.Input | undefined
}
