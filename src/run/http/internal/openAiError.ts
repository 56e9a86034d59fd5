/** Problems in the form in which clients of OpenAI expect them. */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { noStore } from "./exchange.ts"
import { type Problem, problem, Refusal } from "./problem.ts"

/** @see https://platform.openai.com/docs/guides/error-codes */
export interface OpenAiError {
  readonly message: string
  readonly type: string
  readonly code: string
  /** The field of the request that is to blame. */
  readonly param: string | null
  /** With the code `failed_after_tools`: the code of what failed. */
  readonly reason?: string
}

/** `param` names the field of the body that is to blame. */
export const refuseParam = (param: string | undefined, code: string, detail: string, status = 400): Refusal =>
  new Refusal({ problem: { ...problem(status, code, detail), ...(param === undefined ? undefined : { param }) } })

const types: Readonly<Record<number, string>> = { 403: "permission_error", 429: "rate_limit_error" }

const codes: Readonly<Record<number, string>> = { 401: "invalid_api_key", 429: "rate_limit_exceeded" }

/** What the API has a word of its own for. */
const words: Readonly<Record<string, string>> = { "content-filtered": "content_filter" }

const codeOf = (code: string): string => words[code] ?? code.replaceAll("-", "_")

export const errorOf = (told: Problem): OpenAiError => ({
  message: told.detail,
  type: types[told.status] ?? (told.status < 500 ? "invalid_request_error" : "server_error"),
  code: codes[told.status] ?? codeOf(told.code),
  param: told.param ?? null,
  ...(told.reason === undefined ? undefined : { reason: codeOf(told.reason) })
})

/** Failures after which a client may send the request again by itself: it repeats nothing. */
const repeatable: ReadonlySet<string> = new Set([
  "too-many-runs",
  "too-many-subscribers",
  "stopping",
  "stopped",
  "tenant-unavailable",
  "conversation-busy",
  "version-conflict",
  "session-unavailable",
  "model-rate-limited",
  "model-overloaded",
  "model-timeout",
  "model-unreachable"
])

export const respond = (
  told: Problem,
  headers?: Readonly<Record<string, string>>
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe({ error: errorOf(told) }, {
    status: told.status,
    headers: {
      ...noStore,
      "x-should-retry": String(repeatable.has(told.code) && told.isStored !== true),
      ...(told.retryAfter === undefined ? undefined : { "retry-after": String(told.retryAfter) }),
      ...headers
    }
  })
