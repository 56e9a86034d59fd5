/**
 * How what an OpenAI-compatible server answers, and what its connection does, becomes a `ModelErrorReason`.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import {
  Authentication,
  ContentFiltered,
  ContextLengthExceeded,
  InvalidRequest,
  type ModelErrorReason,
  Overloaded,
  QuotaExceeded,
  RateLimited,
  Timeout,
  Transport,
  UnknownModel
} from "../../../services/ModelError.ts"
import { isRecord, parseJson } from "./json.ts"

/** What a server said about a failure, whatever shape it chose. */
export interface ErrorBody {
  readonly message: string | undefined
  readonly code: string | undefined
  readonly type: string | undefined
  readonly param: string | undefined
}

const maxText = 1_000

const asText = (u: unknown): string | undefined =>
  typeof u === "string" && u !== "" ? u : typeof u === "number" ? String(u) : undefined

type Scrub = (text: string) => string

/** FastAPI puts what it refuses, which is part of the conversation, beside its words about it. */
const withoutEcho = (detail: object): string =>
  JSON.stringify(
    detail,
    (key, value: unknown) => key === "input" || key === "ctx" || key === "body" ? undefined : value
  )

/**
 * Reads `{ error: { … } }` and the shapes of compatible servers: `{ error: "…" }`, `{ message }`, `{ detail }`, any of
 * these in an array, an error in a string. A server may quote the key anywhere in it.
 */
export const errorBody = (u: unknown, scrub: Scrub): ErrorBody => {
  if (Array.isArray(u)) return errorBody(u[0], scrub)
  const read = (value: unknown): string | undefined => {
    const text = typeof value === "object" && value !== null ? withoutEcho(value) : asText(value)
    return text === undefined ? undefined : scrub(text).slice(0, maxText)
  }
  if (!isRecord(u)) return { message: read(u), code: undefined, type: undefined, param: undefined }
  if (isRecord(u.error) || Array.isArray(u.error)) return errorBody(u.error, scrub)
  const name = (value: unknown) => typeof value === "object" ? undefined : read(value)
  return {
    message: read(u.message ?? u.detail ?? u.error),
    code: name(u.code),
    type: name(u.type) ?? name(u.status),
    param: name(u.param)
  }
}

export const errorBodyOfText = (text: string, scrub: Scrub): ErrorBody => {
  const json = parseJson(text)
  return errorBody(json === undefined ? text.trim() : json, scrub)
}

const quota = new Set([
  "insufficient_quota",
  "billing_hard_limit_reached",
  "billing_not_active",
  "access_terminated",
  "insufficient_balance"
])

const tooLong = new Set(["context_length_exceeded", "tokens_exceeded_error"])

const filtered = new Set([
  "content_filter",
  "content_policy_violation",
  "moderation_blocked",
  "invalid_prompt",
  "bio_policy",
  "cyber_policy",
  "cyber_policy_violation",
  "misalignment_policy_violation",
  "image_content_policy_violation",
  "responsibleaipolicyviolation"
])

const tooLongText = /maximum context length|context window|context length|prompt is too long|too many (input )?tokens/i

interface Details {
  readonly description: string
  readonly isPartial: boolean
  readonly status?: number
  readonly requestId?: string
}

/** A reason from what was said alone: in-band errors, failed responses, and statuses that say too little. */
const fromCode = (body: ErrorBody, details: Details): ModelErrorReason | undefined => {
  const code = body.code?.toLowerCase()
  const has = (codes: ReadonlySet<string>) =>
    (code !== undefined && codes.has(code)) || (body.type !== undefined && codes.has(body.type.toLowerCase()))
  if (has(quota)) return new QuotaExceeded(details)
  if (has(tooLong)) return new ContextLengthExceeded(details)
  if (has(filtered)) return new ContentFiltered(details)
  if (code === "model_not_found" || code === "unknown_model" || code === "deploymentnotfound") {
    return new UnknownModel(details)
  }
  if (code === "invalid_api_key" || body.type === "authentication_error") return new Authentication(details)
  return undefined
}

/** How an answer is read: whether events were visible, and how secrets are taken out of texts. */
export interface Reading {
  readonly isPartial: boolean
  readonly scrub: Scrub
}

/** A reason for an error inside an answer that began with status 200. */
export const fromBody = (body: ErrorBody, isPartial: boolean): ModelErrorReason => {
  const full = {
    isPartial,
    description: body.message ?? body.code ?? "the provider reported an error without a text"
  }
  const known = fromCode(body, full)
  if (known !== undefined) return known
  const code = body.code?.toLowerCase() ?? ""
  if (code === "rate_limit_exceeded" || body.type === "rate_limit_error") return new RateLimited(full)
  if (code.startsWith("invalid_") || code.includes("image") || body.type === "invalid_request_error") {
    return tooLongText.test(full.description)
      ? new ContextLengthExceeded(full)
      : new InvalidRequest({ ...full, ...param(body) })
  }
  if (code === "vector_store_timeout" || code === "timeout") return new Timeout(full)
  return new Overloaded(full)
}

const param = (body: ErrorBody) => body.param === undefined ? {} : { param: body.param }

/** The time to wait that the server asked for: `retry-after-ms`, else `retry-after` in seconds or as a date. */
const retryAfter = (headers: Headers, now: number): Duration.Duration | undefined => {
  const ms = Number(headers.get("retry-after-ms") ?? Number.NaN)
  if (Number.isFinite(ms) && ms > 0) return Duration.millis(ms)
  const value = headers.get("retry-after")
  if (value === null || value === "") return undefined
  const seconds = Number(value)
  if (Number.isFinite(seconds)) return seconds < 0 ? undefined : Duration.seconds(seconds)
  const at = DateTime.make(value)
  return Option.isNone(at) ? undefined : Duration.millis(Math.max(0, DateTime.toEpochMillis(at.value) - now))
}

/** A reason for a status that is not 2xx. */
export const fromStatus = (options: {
  readonly status: number
  readonly headers: Headers
  readonly body: ErrorBody
  readonly now: number
}): ModelErrorReason => {
  const { body, headers, status } = options
  const requestId = headers.get("x-request-id") ?? headers.get("request-id")
  const details = {
    description: body.message ?? `status ${status} without a text`,
    isPartial: false,
    status,
    ...(requestId === null ? {} : { requestId })
  }
  const wait = retryAfter(headers, options.now)
  const waiting = wait === undefined ? details : { ...details, retryAfter: wait }
  if (status === 401 || status === 403) return fromCode(body, details) ?? new Authentication(details)
  if (status === 402) return new QuotaExceeded(details)
  if (status === 408) return new Timeout(details)
  if (status === 429) {
    const known = fromCode(body, details)
    return known !== undefined && known._tag === "QuotaExceeded" ? known : new RateLimited(waiting)
  }
  if (status >= 500 || status === 409 || body.code === "conversation_locked") return new Overloaded(waiting)
  const known = fromCode(body, details)
  if (known !== undefined) return known
  if (tooLongText.test(details.description)) return new ContextLengthExceeded(details)
  if (status === 404 && /\bmodel\b/i.test(details.description)) return new UnknownModel(details)
  return status === 404 && body.code === undefined
    ? new InvalidRequest({ ...details, description: `${details.description} (404); check the base URL` })
    : new InvalidRequest({ ...details, ...param(body) })
}

const timeouts = new Set(["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT", "UND_ERR_CONNECT_TIMEOUT", "ETIMEDOUT"])

/** A reason for a connection that failed: the innermost error that says anything tells what happened. */
export const fromConnection = (
  cause: unknown,
  isPartial: boolean,
  scrub: Scrub
): ModelErrorReason => {
  let innermost: unknown = cause
  let code: string | undefined
  let message: string | undefined
  for (let depth = 0; depth < 5 && innermost !== undefined && innermost !== null; depth++) {
    const error = innermost as { readonly code?: unknown; readonly message?: unknown; readonly cause?: unknown }
    code = asText(error.code) ?? code
    message = asText(error.message) ?? message
    innermost = error.cause
  }
  const said = scrub(message ?? "the connection failed")
  const description = code === undefined || said.includes(code) ? said : `${code}: ${said}`
  return code !== undefined && timeouts.has(code)
    ? new Timeout({ description, isPartial })
    : description === "bad port"
    ? new InvalidRequest({ description: "fetch refuses the port of the base URL: bad port", param: "baseURL" })
    : new Transport({ description, isPartial })
}
