import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { McpError } from "../../../services/McpServer.ts"
import type { Sdk } from "./sdk.ts"

/** A server answered an HTTP request with a status that is no success. */
export class HttpFailure extends Data.TaggedError("HttpFailure")<{
  readonly status: number
  readonly text: string
  /** Whether the request named a session. */
  readonly hadSession: boolean
}> {
  override get message(): string {
    return `HTTP ${this.status}${this.text === "" ? "" : `: ${this.text}`}`
  }
}

/** Marks the answer that a transport makes up for a request whose own answer was lost. */
export const lost = { isLost: true } as const

/** A request that was not answered, and what it means for the connection. */
export class Failure extends Data.TaggedError("Failure")<{
  readonly error: McpError
  /** The connection is of no more use. */
  readonly isStale: boolean
  /** The server cannot have seen the request. */
  readonly isUnsent: boolean
}> {}

/** The server's own answer to a request: a JSON-RPC error. */
export class Refused extends Data.TaggedError("Refused")<{
  readonly code: number
  readonly text: string
}> {}

export interface Down {
  readonly description: string
}

const unreachable = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
  "CERT_HAS_EXPIRED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_TLS_CERT_ALTNAME_INVALID"
])

/** Errors of `fetch` say nothing themselves; what happened is in their causes. */
const causesOf = (u: unknown): ReadonlyArray<Error> => {
  const found: Array<Error> = []
  let at = u
  while (at instanceof Error && found.length < 5) {
    found.push(at)
    at = at.cause ?? (at instanceof AggregateError ? at.errors[0] : undefined)
  }
  return found
}

const codeOf = (error: Error): string | undefined =>
  "code" in error && typeof error.code === "string" ? error.code : undefined

export const textOf = (u: unknown): string => {
  const causes = causesOf(u)
  if (causes.length === 0) return String(u)
  const texts = causes.map((error) => error.message === "" ? codeOf(error) ?? "" : error.message)
  return [...new Set(texts.filter((text) => text !== ""))].join(": ")
}

const statusOf = (u: unknown): HttpFailure | undefined => {
  if (u instanceof HttpFailure) return u
  // The transports of the package have a status in `code` where they looked at the response themselves.
  return u instanceof Error && "code" in u && typeof u.code === "number" && u.code >= 100 && u.code < 600
    ? new HttpFailure({ status: u.code, text: u.message, hadSession: false })
    : undefined
}

const isExpired = ({ hadSession, status, text }: HttpFailure): boolean =>
  hadSession && (status === 404 || (status === 400 && /session/i.test(text)))

/** What was wrong with a request, or the answer that the server refused it with. */
export const classify = (options: {
  readonly sdk: Sdk
  readonly server: string
  readonly operation: string
  readonly cause: unknown
  /** What became of the connection, where it has ended. */
  readonly down: Down | undefined
  readonly scrub: (text: string) => string
}): Failure | Refused => {
  const { cause, down, operation, scrub, sdk, server } = options
  const isConnecting = operation === "connect"
  const failed = (
    reason: McpError["reason"],
    description: string,
    means: { readonly isStale?: boolean; readonly isUnsent?: boolean } = {}
  ): Failure =>
    new Failure({
      error: new McpError({
        server,
        operation,
        reason,
        description: scrub(description)
      }),
      isStale: means.isStale ?? false,
      isUnsent: means.isUnsent ?? false
    })

  const status = statusOf(cause)
  if (status !== undefined) {
    if (status.status === 401 || status.status === 403) {
      return failed("Unauthorized", `${status.message}. Give the layer headers or a token that the server accepts`)
    }
    if (isExpired(status)) {
      return failed("Disconnected", `its session has expired (${status.message})`, { isStale: true, isUnsent: true })
    }
    const isForNow = status.status >= 500 || status.status === 408 || status.status === 429
    return failed(
      isForNow || (isConnecting && status.status === 404) ? "Unavailable" : "Protocol",
      status.message
    )
  }
  if (cause instanceof TypeError && /BigInt|circular/i.test(cause.message)) {
    return failed("Protocol", `the arguments are not JSON: ${cause.message}`)
  }
  const causes = causesOf(cause)
  if (causes.some(({ name }) => /^(\$?ZodError|SyntaxError)$/.test(name))) {
    return failed("Protocol", `its answer is not what the protocol says: ${scrub(textOf(cause)).slice(0, 500)}`)
  }
  if (isConnecting && /protocol version/i.test(textOf(cause))) return failed("Protocol", textOf(cause))
  const isAnswer = cause instanceof sdk.McpError && cause.code !== -32000
  const isEnd = (cause instanceof sdk.McpError && !isAnswer) ||
    (cause instanceof Error && cause.message === "Not connected")
  // The client itself closes a connection that it could not begin: that it has ended then says less than why.
  if (down !== undefined && (isEnd || !(isConnecting || isAnswer))) {
    const isUnsent = cause instanceof Error && cause.message === "Not connected"
    return failed(isConnecting ? "Unavailable" : "Disconnected", down.description, { isStale: true, isUnsent })
  }
  if (cause instanceof sdk.McpError) {
    if (cause.data === lost) return failed("Disconnected", "the connection ended before the answer")
    if (isConnecting) return failed("Protocol", `it refused to begin: ${cause.message}`)
    return new Refused({ code: cause.code, text: scrub(cause.message.replace(/^MCP error -?\d+: /, "")) })
  }
  const codes = causes.map(codeOf)
  if (codes.some((code) => code !== undefined && unreachable.has(code))) {
    return failed("Unavailable", `it could not be reached: ${textOf(cause)}`, { isStale: true, isUnsent: true })
  }
  if (cause instanceof Error && cause.message === "Not connected") {
    return failed("Disconnected", "the connection has ended", { isStale: true, isUnsent: true })
  }
  return failed(isConnecting ? "Unavailable" : "Disconnected", textOf(cause))
}

const asJson = Schema.encodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

export const json = (u: unknown): string => Result.getOrElse(asJson(u), () => String(u))
