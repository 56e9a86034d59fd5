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
}

/** `param` names the field of the body that is to blame. */
export const refuseParam = (param: string | undefined, code: string, detail: string, status = 400): Refusal =>
  new Refusal({ problem: { ...problem(status, code, detail), ...(param === undefined ? undefined : { param }) } })

const types: Readonly<Record<number, string>> = { 403: "permission_error", 429: "rate_limit_error" }

const codes: Readonly<Record<number, string>> = { 401: "invalid_api_key", 429: "rate_limit_exceeded" }

/** What the API has a word of its own for. */
const words: Readonly<Record<string, string>> = { "content-filtered": "content_filter" }

export const errorOf = (told: Problem): OpenAiError => ({
  message: told.detail,
  type: types[told.status] ?? (told.status < 500 ? "invalid_request_error" : "server_error"),
  code: codes[told.status] ?? words[told.code] ?? told.code.replaceAll("-", "_"),
  param: told.param ?? null
})

/** Nothing has happened yet, so that a client may ask again by itself. After all else tools may have run. */
const untouched: ReadonlySet<string> = new Set([
  "too-many-runs",
  "too-many-subscribers",
  "stopping",
  "tenant-unavailable",
  "conversation-busy"
])

export const respond = (
  told: Problem,
  headers?: Readonly<Record<string, string>>
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe({ error: errorOf(told) }, {
    status: told.status,
    headers: {
      ...noStore,
      "x-should-retry": String(untouched.has(told.code)),
      ...(told.retryAfter === undefined ? undefined : { "retry-after": String(told.retryAfter) }),
      ...headers
    }
  })
