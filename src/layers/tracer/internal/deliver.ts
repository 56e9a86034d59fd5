import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { TracerError } from "../../../services/Tracer.ts"

export interface DeliverOptions {
  /** Which exporter says so when it fails. */
  readonly exporter: string
  /** Without what may be secret: for messages. */
  readonly url: string
  /** Takes secrets out of what a server says, which may quote them. */
  readonly scrub: (text: string) => string
  /** How long one attempt may take. */
  readonly timeout: Duration.Duration
  /** How often it is tried in all. */
  readonly attempts: number
}

/** A server that asks for more patience than this is not waited for. */
const maximumDelay = Duration.seconds(20)

/** What a server says of a refusal is of use, in short; it may quote what it was sent, so that it stays in one line. */
const maximumAnswer = 300

const isTransient = (status: number): boolean => status === 408 || status === 429 || status >= 500

/** The address without user, password and query: these may be secret. */
export const shownUrl = (url: string): string => {
  const found = URL.parse(url)
  return found === null ? "(no valid URL)" : `${found.origin}${found.pathname}`
}

export const toHeaders = (
  headers: Readonly<Record<string, string | Redacted.Redacted>> | undefined
): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers ?? {}).map((
      [name, value]
    ) => [name, typeof value === "string" ? value : Redacted.value(value)])
  )

/**
 * Sends a request and reads the answer away. Failures of the network and answers that may pass are tried again with
 * growing pauses, or when the server says; others are not.
 */
export const deliver = (
  client: HttpClient.HttpClient,
  request: HttpClientRequest.HttpClientRequest,
  options: DeliverOptions
): Effect.Effect<void, TracerError> => {
  const failure = (description: string, isRetryable: boolean, retryAfter?: Duration.Duration): TracerError =>
    new TracerError({
      exporter: options.exporter,
      operation: "export",
      description,
      isRetryable,
      ...(retryAfter === undefined ? undefined : { retryAfter })
    })
  const attempt = Effect.gen(function*() {
    const response = yield* Effect.mapError(
      client.execute(request),
      // The cause would hold the request, and with it its headers.
      (error) => failure(`${options.url} could not be reached (${error.reason._tag})`, true)
    )
    const text = yield* Effect.orElseSucceed(response.text, () => "")
    if (response.status >= 200 && response.status < 300) return
    const said = options.scrub(text).replaceAll(/\s+/g, " ").trim().slice(0, maximumAnswer)
    const after = response.headers["retry-after"]
    const parsed = after === undefined ? undefined : Headers.parseRetryAfter(after)
    return yield* failure(
      `${options.url} answered ${response.status}${said === "" ? "" : `: ${said}`}` +
        (response.status === 401 || response.status === 403 ? ". Check the key or headers" : ""),
      isTransient(response.status),
      parsed === undefined || Result.isFailure(parsed)
        ? undefined
        : Headers.retryAfterDelay(parsed.success, yield* Clock.currentTimeMillis)
    )
  }).pipe(
    Effect.timeoutOrElse({
      duration: options.timeout,
      orElse: () => Effect.fail(failure(`${options.url} did not answer in ${Duration.format(options.timeout)}`, true))
    })
  )
  return attempt.pipe(
    Effect.retry({
      while: (error) =>
        error.isRetryable &&
        (error.retryAfter === undefined || Duration.isLessThanOrEqualTo(error.retryAfter, maximumDelay)),
      schedule: Schedule.exponential("500 millis").pipe(
        Schedule.jittered,
        Schedule.upTo({ times: options.attempts - 1 }),
        Schedule.passthrough,
        Schedule.modifyDelay(({ duration, output: error }) =>
          Effect.succeed(Duration.max(duration, (error as TracerError).retryAfter ?? Duration.zero))
        )
      )
    }),
    Effect.provideService(HttpClient.TracerPropagationEnabled, false),
    Effect.withTracerEnabled(false)
  )
}
