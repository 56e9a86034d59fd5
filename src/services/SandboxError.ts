/**
 * Why a sandbox could not do what was asked. A command that ran and failed is no error: its exit code says so.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

const TypeId = "~agent-layers/services/SandboxError" as const
const ReasonTypeId = "~agent-layers/services/SandboxError/Reason" as const

/**
 * The backend does not work on this machine; the message says what to install or allow.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unavailable extends Schema.Error<Unavailable>("agent-layers/services/SandboxError/Unavailable")({
  _tag: Schema.tag("Unavailable"),
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
 * The manifest asks for something that cannot be made: a path outside the workspace, a source that is not there.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidManifest extends Schema.Error<InvalidManifest>(
  "agent-layers/services/SandboxError/InvalidManifest"
)({
  _tag: Schema.tag("InvalidManifest"),
  path: Schema.String,
  description: Schema.String
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return `Manifest entry "${this.path}": ${this.description}`
  }
}

/**
 * The path leads out of the workspace, by its text or through a link.
 *
 * @category reasons
 * @since 0.1.0
 */
export class OutsideWorkspace extends Schema.Error<OutsideWorkspace>(
  "agent-layers/services/SandboxError/OutsideWorkspace"
)({
  _tag: Schema.tag("OutsideWorkspace"),
  path: Schema.String
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return `"${this.path}" leads out of the workspace. Use a path relative to the workspace, without links out of it`
  }
}

/**
 * Nothing is there. A write needs no directories above it; a read, a listing and a `cwd` do.
 *
 * @category reasons
 * @since 0.1.0
 */
export class NotFound extends Schema.Error<NotFound>("agent-layers/services/SandboxError/NotFound")({
  _tag: Schema.tag("NotFound"),
  path: Schema.String
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return `There is no "${this.path}" in the workspace`
  }
}

/**
 * The path exists but is not of the kind that the operation needs, or the operation is not allowed on it.
 *
 * @category reasons
 * @since 0.1.0
 */
export class NotPermitted extends Schema.Error<NotPermitted>("agent-layers/services/SandboxError/NotPermitted")({
  _tag: Schema.tag("NotPermitted"),
  path: Schema.String,
  description: Schema.String
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return `"${this.path}": ${this.description}`
  }
}

/**
 * There is more than was allowed. `actual` is what was counted when the limit was passed; there may be more.
 *
 * @category reasons
 * @since 0.1.0
 */
export class LimitExceeded extends Schema.Error<LimitExceeded>("agent-layers/services/SandboxError/LimitExceeded")({
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
 * The command could not be started, or contact with it was lost. A program that is not there is no such failure: the
 * command ends with exit code 127, as in a shell.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ExecFailed extends Schema.Error<ExecFailed>("agent-layers/services/SandboxError/ExecFailed")({
  _tag: Schema.tag("ExecFailed"),
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
 * The file system failed: no space, an input/output error, a workspace that somebody else removed.
 *
 * @category reasons
 * @since 0.1.0
 */
export class FileSystemFailed extends Schema.Error<FileSystemFailed>(
  "agent-layers/services/SandboxError/FileSystemFailed"
)({
  _tag: Schema.tag("FileSystemFailed"),
  path: Schema.String,
  description: Schema.String,
  /** Whether the same call may succeed later without anything being changed, as with too many open files. */
  isTransient: Schema.Boolean,
  cause: Schema.optional(Schema.Defect())
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  get isRetryable(): boolean {
    return this.isTransient
  }
  override get message(): string {
    return `"${this.path}": ${this.description}`
  }
}

/**
 * The backend cannot do this.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unsupported extends Schema.Error<Unsupported>("agent-layers/services/SandboxError/Unsupported")({
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
 * The sandbox session was used after its scope closed.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Closed extends Schema.Error<Closed>("agent-layers/services/SandboxError/Closed")({
  _tag: Schema.tag("Closed")
}) {
  readonly [ReasonTypeId] = ReasonTypeId
  readonly isRetryable = false
  override get message(): string {
    return "The sandbox session is closed: it was used after its scope ended"
  }
}

/**
 * @category schemas
 * @since 0.1.0
 */
export const SandboxErrorReason = Schema.Union([
  Unavailable,
  InvalidManifest,
  OutsideWorkspace,
  NotFound,
  NotPermitted,
  LimitExceeded,
  ExecFailed,
  FileSystemFailed,
  Unsupported,
  Closed
])

/**
 * @category reasons
 * @since 0.1.0
 */
export type SandboxErrorReason = typeof SandboxErrorReason.Type

/**
 * A sandbox failed. Recover from single reasons with `Effect.catchReason("SandboxError", "NotFound", …)`.
 *
 * @category errors
 * @since 0.1.0
 */
export class SandboxError extends Schema.Error<SandboxError>("agent-layers/services/SandboxError")({
  _tag: Schema.tag("SandboxError"),
  /** Which layer failed: `bubblewrap`, `unconfined`, … */
  backend: Schema.String,
  /** The member that was called, or `open` while the Layer was built. */
  operation: Schema.String,
  reason: SandboxErrorReason
}) {
  readonly [TypeId] = TypeId
  override readonly cause = this.reason

  get isRetryable(): boolean {
    return this.reason.isRetryable
  }

  override get message(): string {
    return `${this.backend} ${this.operation}: ${this.reason.message}`
  }
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isSandboxError = (u: unknown): u is SandboxError => Predicate.hasProperty(u, TypeId)

/**
 * @category guards
 * @since 0.1.0
 */
export const isSandboxErrorReason = (u: unknown): u is SandboxErrorReason => Predicate.hasProperty(u, ReasonTypeId)
