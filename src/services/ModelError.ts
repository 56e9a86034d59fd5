/**
 * Why a model did not answer. Every provider maps its own failures to these reasons, so that retry, fallback and a
 * program's own handlers decide by reason and never by provider.
 *
 * Each reason says whether the same request may work later (`isRetryable`) and whether the caller had already seen
 * part of the answer (`isPartial`): a retry after that repeats what was visible.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { errorHiding } from "./internal/errorHiding.ts"

const TypeId = "~agent-layers/services/ModelError" as const

/** A refusal is part of the conversation: code reads it, logs do not show it. */
const HiddenWords = errorHiding({ description: () => undefined })

const details = {
  /** What happened, in the provider's words where it said something. Never holds a secret. */
  description: Schema.String,
  /** Whether part of the answer was delivered before the failure. Default: false. */
  isPartial: Schema.Boolean.pipe(Schema.withConstructorDefault(Effect.succeed(false))),
  /** HTTP status, where the provider answered. */
  status: Schema.optional(Schema.Int),
  /** The provider's id of the request, to quote in a support question. */
  requestId: Schema.optional(Schema.String),
  cause: Schema.optional(Schema.Defect())
}

/**
 * Too many requests or tokens in a time window (HTTP 429). Retryable, after `retryAfter` where the provider said so.
 *
 * @category reasons
 * @since 0.1.0
 */
export class RateLimited extends Schema.Error<RateLimited>("agent-layers/services/ModelError/RateLimited")({
  _tag: Schema.tag("RateLimited"),
  ...details,
  retryAfter: Schema.optional(Schema.Duration)
}) {
  readonly isRetryable = true
  override get message(): string {
    return this.retryAfter === undefined
      ? `Rate limited: ${this.description}`
      : `Rate limited, retry after ${Duration.format(this.retryAfter)}: ${this.description}`
  }
}

/**
 * The account has no credit left or has met its billing limit. Waiting does not help.
 *
 * @category reasons
 * @since 0.1.0
 */
export class QuotaExceeded extends Schema.Error<QuotaExceeded>("agent-layers/services/ModelError/QuotaExceeded")({
  _tag: Schema.tag("QuotaExceeded"),
  ...details
}) {
  readonly isRetryable = false
  override get message(): string {
    return `Quota exceeded, check plan and billing: ${this.description}`
  }
}

/**
 * The provider failed or has no capacity (HTTP 5xx). Retryable.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Overloaded extends Schema.Error<Overloaded>("agent-layers/services/ModelError/Overloaded")({
  _tag: Schema.tag("Overloaded"),
  ...details,
  retryAfter: Schema.optional(Schema.Duration)
}) {
  readonly isRetryable = true
  override get message(): string {
    return `The provider failed${this.status === undefined ? "" : ` (${this.status})`}: ${this.description}`
  }
}

/**
 * No answer, or no further event, within the time allowed. Retryable.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Timeout extends Schema.Error<Timeout>("agent-layers/services/ModelError/Timeout")({
  _tag: Schema.tag("Timeout"),
  ...details
}) {
  readonly isRetryable = true
  override get message(): string {
    return `Timed out: ${this.description}`
  }
}

/**
 * The connection could not be made, was cut, or ended before the answer was complete. Retryable.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Transport extends Schema.Error<Transport>("agent-layers/services/ModelError/Transport")({
  _tag: Schema.tag("Transport"),
  ...details
}) {
  readonly isRetryable = true
  override get message(): string {
    return `Connection failed: ${this.description}`
  }
}

/**
 * The key is missing, wrong, or not allowed to do this (HTTP 401, 403).
 *
 * @category reasons
 * @since 0.1.0
 */
export class Authentication extends Schema.Error<Authentication>("agent-layers/services/ModelError/Authentication")({
  _tag: Schema.tag("Authentication"),
  ...details
}) {
  readonly isRetryable = false
  override get message(): string {
    return `Not authorised, check the API key: ${this.description}`
  }
}

/**
 * The provider says that the request itself is wrong (HTTP 400, 422). `param` names the field where it said so.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidRequest extends Schema.Error<InvalidRequest>("agent-layers/services/ModelError/InvalidRequest")({
  _tag: Schema.tag("InvalidRequest"),
  ...details,
  param: Schema.optional(Schema.String)
}) {
  readonly isRetryable = false
  override get message(): string {
    return `Invalid request: ${this.description}`
  }
}

/**
 * Instructions, history and tools do not fit the model's context window.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ContextLengthExceeded extends Schema.Error<ContextLengthExceeded>(
  "agent-layers/services/ModelError/ContextLengthExceeded"
)({
  _tag: Schema.tag("ContextLengthExceeded"),
  ...details
}) {
  readonly isRetryable = false
  override get message(): string {
    return `The conversation does not fit the model's context window: ${this.description}`
  }
}

/**
 * A content filter of the provider stopped the request or the answer.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ContentFiltered extends Schema.Error<ContentFiltered>("agent-layers/services/ModelError/ContentFiltered")({
  _tag: Schema.tag("ContentFiltered"),
  ...details
}) {
  readonly isRetryable = false
  override get message(): string {
    return `Stopped by the provider's content filter: ${this.description}`
  }
}

/**
 * The model refused where structured output was asked for. Without an output schema a refusal is an item like any
 * other.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Refused extends HiddenWords<Refused>("agent-layers/services/ModelError/Refused")({
  _tag: Schema.tag("Refused"),
  ...details
}) {
  readonly isRetryable = false
  override get message(): string {
    return "The model refused to answer. Its words are in `description`"
  }
}

/**
 * What came back is not what the API promises, or was cut off by the output limit where it had to be complete.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidOutput extends Schema.Error<InvalidOutput>("agent-layers/services/ModelError/InvalidOutput")({
  _tag: Schema.tag("InvalidOutput"),
  ...details
}) {
  readonly isRetryable = false
  override get message(): string {
    return `The answer cannot be used: ${this.description}`
  }
}

/**
 * The provider has no model of that name.
 *
 * @category reasons
 * @since 0.1.0
 */
export class UnknownModel extends Schema.Error<UnknownModel>("agent-layers/services/ModelError/UnknownModel")({
  _tag: Schema.tag("UnknownModel"),
  ...details
}) {
  readonly isRetryable = false
  override get message(): string {
    return `Unknown model: ${this.description}`
  }
}

/**
 * The provider cannot honour a part of the request; `feature` names the field of `ModelRequest`.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unsupported extends Schema.Error<Unsupported>("agent-layers/services/ModelError/Unsupported")({
  _tag: Schema.tag("Unsupported"),
  ...details,
  feature: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `Not supported by this provider (${this.feature}): ${this.description}`
  }
}

/**
 * @category schemas
 * @since 0.1.0
 */
export const ModelErrorReason = Schema.Union([
  RateLimited,
  QuotaExceeded,
  Overloaded,
  Timeout,
  Transport,
  Authentication,
  InvalidRequest,
  ContextLengthExceeded,
  ContentFiltered,
  Refused,
  InvalidOutput,
  UnknownModel,
  Unsupported
])

/**
 * @category reasons
 * @since 0.1.0
 */
export type ModelErrorReason = typeof ModelErrorReason.Type

/**
 * A model did not answer. Recover from single reasons with `Effect.catchReason("ModelError", "RateLimited", …)`.
 *
 * @category errors
 * @since 0.1.0
 */
export class ModelError extends Schema.Error<ModelError>("agent-layers/services/ModelError")({
  _tag: Schema.tag("ModelError"),
  /** The provider that failed: `openai`, `scripted`, … */
  provider: Schema.String,
  /** The model that was asked, where one was chosen. */
  model: Schema.optional(Schema.String),
  reason: ModelErrorReason
}) {
  readonly [TypeId] = TypeId
  override readonly cause = this.reason

  get isRetryable(): boolean {
    return this.reason.isRetryable
  }

  override get message(): string {
    return `${this.provider}${this.model === undefined ? "" : ` (${this.model})`}: ${this.reason.message}`
  }
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isModelError = (u: unknown): u is ModelError => Predicate.hasProperty(u, TypeId)
