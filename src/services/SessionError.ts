/**
 * Why a session could not do what was asked. Every backend and decorator fails with these reasons, so that a program
 * handles a conflict or an outage the same way whatever stores its conversations.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

const TypeId = "~agent-layers/services/SessionError" as const
const ReasonTypeId = "~agent-layers/services/SessionError/Reason" as const

/**
 * The store cannot be reached, is busy or did not answer in time. Retryable; where `isOutcomeUnknown`, the write may
 * have happened, and only a retry under the same operation id is safe.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unavailable extends Schema.Error<Unavailable>("agent-layers/services/SessionError/Unavailable")({
  _tag: Schema.tag("Unavailable"),
  description: Schema.String,
  isOutcomeUnknown: Schema.Boolean,
  cause: Schema.optional(Schema.Defect())
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = true
  override get message(): string {
    return this.isOutcomeUnknown
      ? `${this.description}. Whether the write happened is unknown: repeat it under the same operation id`
      : this.description
  }
}

/**
 * Somebody else changed the conversation since it was read: load it again and decide anew.
 *
 * @category reasons
 * @since 0.1.0
 */
export class VersionConflict extends Schema.Error<VersionConflict>(
  "agent-layers/services/SessionError/VersionConflict"
)({
  _tag: Schema.tag("VersionConflict"),
  expected: Schema.Int,
  actual: Schema.Int
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return `The conversation moved on: expected version ${this.expected}, found ${this.actual}. Load it again`
  }
}

/**
 * The operation id was used before for other content.
 *
 * @category reasons
 * @since 0.1.0
 */
export class OperationMismatch extends Schema.Error<OperationMismatch>(
  "agent-layers/services/SessionError/OperationMismatch"
)({
  _tag: Schema.tag("OperationMismatch"),
  operationId: Schema.String
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return `Operation id "${this.operationId}" was used before for other content. Use a new id for a new operation`
  }
}

/**
 * A stored entry is not an item. Nothing was changed; `position` counts from 0 in what was read.
 *
 * @category reasons
 * @since 0.1.0
 */
export class CorruptItem extends Schema.Error<CorruptItem>("agent-layers/services/SessionError/CorruptItem")({
  _tag: Schema.tag("CorruptItem"),
  position: Schema.Int,
  description: Schema.String
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return `The stored item at position ${this.position} cannot be read (${this.description}). ` +
      `Nothing was changed; build the layer with onCorruptItem: "skip" to read past it`
  }
}

/**
 * An item cannot be decrypted: the key is not in the ring, or the item was altered or moved.
 *
 * @category reasons
 * @since 0.1.0
 */
export class DecryptionFailed extends Schema.Error<DecryptionFailed>(
  "agent-layers/services/SessionError/DecryptionFailed"
)({
  _tag: Schema.tag("DecryptionFailed"),
  keyId: Schema.optional(Schema.String),
  description: Schema.String
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return `Cannot decrypt${this.keyId === undefined ? "" : ` (key ${this.keyId})`}: ${this.description}`
  }
}

/**
 * More than the store takes: an item, a commit or a conversation too large.
 *
 * @category reasons
 * @since 0.1.0
 */
export class LimitExceeded extends Schema.Error<LimitExceeded>("agent-layers/services/SessionError/LimitExceeded")({
  _tag: Schema.tag("LimitExceeded"),
  limit: Schema.String,
  maximum: Schema.Finite,
  actual: Schema.Finite
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return `${this.limit}: at most ${this.maximum}, got ${this.actual}`
  }
}

/**
 * The cursor points into content that was rewritten, popped or cleared: read from the start.
 *
 * @category reasons
 * @since 0.1.0
 */
export class CursorExpired extends Schema.Error<CursorExpired>("agent-layers/services/SessionError/CursorExpired")({
  _tag: Schema.tag("CursorExpired"),
  cursor: Schema.String
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return `Cursor "${this.cursor}" points into content that is gone. Read from the start`
  }
}

/**
 * What was passed cannot be stored or means nothing here. Nothing was changed.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidInput extends Schema.Error<InvalidInput>("agent-layers/services/SessionError/InvalidInput")({
  _tag: Schema.tag("InvalidInput"),
  description: Schema.String
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return this.description
  }
}

/**
 * The store is not one that this version can use: damaged, or written by something else.
 *
 * @category reasons
 * @since 0.1.0
 */
export class CorruptStore extends Schema.Error<CorruptStore>("agent-layers/services/SessionError/CorruptStore")({
  _tag: Schema.tag("CorruptStore"),
  description: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return this.description
  }
}

/**
 * The backend, or the machine it runs on, cannot do this.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unsupported extends Schema.Error<Unsupported>("agent-layers/services/SessionError/Unsupported")({
  _tag: Schema.tag("Unsupported"),
  description: Schema.String
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return this.description
  }
}

/**
 * The session's scope is closed.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Closed extends Schema.Error<Closed>("agent-layers/services/SessionError/Closed")({
  _tag: Schema.tag("Closed")
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return "The session is closed: it was used after the scope of its Layer ended"
  }
}

/**
 * @category schemas
 * @since 0.1.0
 */
export const SessionErrorReason = Schema.Union([
  Unavailable,
  VersionConflict,
  OperationMismatch,
  CorruptItem,
  DecryptionFailed,
  LimitExceeded,
  CursorExpired,
  InvalidInput,
  CorruptStore,
  Unsupported,
  Closed
])

/**
 * @category reasons
 * @since 0.1.0
 */
export type SessionErrorReason = typeof SessionErrorReason.Type

/**
 * A session failed. Recover from single reasons with `Effect.catchReason("SessionError", "VersionConflict", …)`.
 *
 * @category errors
 * @since 0.1.0
 */
export class SessionError extends Schema.Error<SessionError>("agent-layers/services/SessionError")({
  _tag: Schema.tag("SessionError"),
  /** Which layer failed: `memory`, `sqlite`, … */
  backend: Schema.String,
  /** The member that was called, or `open` while the Layer was built. */
  operation: Schema.String,
  conversationId: Schema.optional(Schema.String),
  reason: SessionErrorReason
}) {
  readonly [TypeId] = TypeId
  override readonly cause = this.reason

  get isRetryable(): boolean {
    return this.reason.isRetryable
  }

  override get message(): string {
    const where = this.conversationId === undefined ? "" : ` of "${this.conversationId}"`
    return `${this.backend} ${this.operation}${where}: ${this.reason.message}`
  }
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isSessionError = (u: unknown): u is SessionError => Predicate.hasProperty(u, TypeId)

/**
 * @category guards
 * @since 0.1.0
 */
export const isSessionErrorReason = (u: unknown): u is SessionErrorReason => Predicate.hasProperty(u, ReasonTypeId)
