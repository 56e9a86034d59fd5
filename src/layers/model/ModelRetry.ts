/**
 * Asks a model again after a failure that may pass: the only retry loop there is, since clients are built with theirs
 * off. It stands right on the provider, inside a fallback, so that a fallback comes to the next model once this one has
 * been tried often enough.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { ModelError } from "../../services/ModelError.ts"
import type { Model, ModelProvider, ModelRequest } from "../../services/ModelProvider.ts"
import { countRequests, decorate, restarting } from "./internal/decorated.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface ModelRetryOptions {
  /**
   * How often, and how long to wait between: each request goes through it from its start, with the failure as input.
   * @default 4 times after 0.5, 1, 2 and 4 seconds, each 20 % more or less
   */
  readonly schedule?: Schedule.Schedule<unknown, ModelError> | undefined
  /**
   * Which of the failures that may pass (`isRetryable`) are worth it. A failure after something was visible never is.
   * @default all of them
   */
  readonly while?: ((error: ModelError) => boolean) | undefined
  /**
   * The longest `retryAfter` that is waited for. What asks for more fails at once; a shorter one is waited for where the
   * schedule says less.
   * @default "1 minute"
   */
  readonly maxRetryAfter?: Duration.Input | undefined
}

const defaultSchedule: Schedule.Schedule<unknown> = Schedule.exponential("500 millis").pipe(
  Schedule.jittered,
  Schedule.upTo({ times: 4 })
)

/** Statuses with which a server says that it did not begin. */
const notBegun = new Set([409, 429, 503])

/** What a provider-side conversation may have taken in already would be in it twice. */
const isSafe = (request: ModelRequest, { reason }: ModelError): boolean =>
  request.conversationId === undefined || (reason.status !== undefined && notBegun.has(reason.status))

/**
 * Retries what may pass, within `respond` and before the first event of `stream`. Requests that failed are counted in the
 * usage of the response. Interruption ends the wait.
 *
 * A request to a `conversationId` is sent again only where the provider said that it did not begin (409, 429, 503).
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: ModelRetryOptions = {}): Layer.Layer<ModelProvider, never, ModelProvider> => {
  const schedule = options.schedule ?? defaultSchedule
  const isWorthIt = options.while ?? (() => true)
  const longest = Duration.fromInputUnsafe(options.maxRetryAfter ?? "1 minute")

  /** Waits for the next attempt, or fails where there is none. */
  const makeWait = (request: ModelRequest) =>
    Effect.map(
      Schedule.toStep(schedule),
      (step) =>
        Effect.fnUntraced(function*(error: ModelError): Effect.fn.Return<void, ModelError> {
          const { reason } = error
          if (
            !reason.isRetryable || reason.isPartial || !isSafe(request, error) || !isWorthIt(error)
          ) return yield* error
          const asked = "retryAfter" in reason ? reason.retryAfter ?? Duration.zero : Duration.zero
          if (Duration.isGreaterThan(asked, longest)) return yield* error
          const now = yield* Clock.currentTimeMillis
          const wait = yield* Pull.matchEffect(step(now, error), {
            onSuccess: ([, duration]) => Effect.succeed(duration),
            onFailure: Effect.failCause,
            onDone: () => Effect.fail(error)
          })
          yield* Effect.sleep(Duration.max(wait, asked))
        })
    )

  const retrying = (model: Model): Model => ({
    ...model,
    respond: Effect.fnUntraced(function*(request) {
      const wait = yield* makeWait(request)
      let failed = 0
      const attempt: ReturnType<Model["respond"]> = Effect.catchTag(model.respond(request), "ModelError", (error) => {
        failed++
        return Effect.andThen(wait(error), attempt)
      })
      return countRequests(yield* attempt, failed)
    }),
    stream: (request) =>
      Stream.unwrap(Effect.map(makeWait(request), (wait) => {
        let failed = 0
        return restarting(
          model.stream(request),
          (error) => {
            failed++
            return Effect.as(wait(error), model.stream(request))
          },
          (response) => countRequests(response, failed)
        )
      }))
  })
  return decorate(Effect.succeed(retrying))
}
