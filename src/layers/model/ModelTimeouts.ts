/**
 * Limits on how long a model may take. A limit that is met aborts the request and fails with `Timeout`, which may be
 * retried as long as nothing was visible.
 *
 * Inside `ModelRetry` the limits hold for each attempt, around it for all of them together.
 *
 * @since 0.1.0
 */
import type * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { ModelError, Timeout } from "../../services/ModelError.ts"
import type { Model, ModelEvent, ModelProvider } from "../../services/ModelProvider.ts"
import { decorate } from "./internal/decorated.ts"

/**
 * `"Infinity"` turns a limit off.
 *
 * @category options
 * @since 0.1.0
 */
export interface ModelTimeoutsOptions {
  /**
   * From the start of a stream to its first event: connecting, sending, and what the model thinks unseen.
   * @default "2 minutes"
   */
  readonly firstEvent?: Duration.Input | undefined
  /**
   * From one event of a stream to the next. Time that the reader takes between asking for events does not count.
   * @default "1 minute"
   */
  readonly idle?: Duration.Input | undefined
  /**
   * A whole answer, of `respond` and of a stream; for a stream the reader's time counts.
   * @default "10 minutes"
   */
  readonly total?: Duration.Input | undefined
}

type Events = Arr.NonEmptyReadonlyArray<ModelEvent>

/**
 * Holds every request to the limits. `respond` is held to `total`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: ModelTimeoutsOptions = {}): Layer.Layer<ModelProvider, never, ModelProvider> => {
  const firstEvent = Duration.fromInputUnsafe(options.firstEvent ?? "2 minutes")
  const idle = Duration.fromInputUnsafe(options.idle ?? "1 minute")
  const total = Duration.fromInputUnsafe(options.total ?? "10 minutes")

  const limited = (model: Model): Model => {
    const timedOut = (what: string, limit: Duration.Duration, isPartial: boolean) =>
      new ModelError({
        provider: model.provider,
        model: model.name,
        reason: new Timeout({ description: `${what} within ${Duration.format(limit)}`, isPartial })
      })

    return {
      ...model,
      respond: (request) =>
        Effect.timeoutOrElse(model.respond(request), {
          duration: total,
          orElse: () => Effect.fail(timedOut("no whole answer", total, false))
        }),
      stream: (request) =>
        Stream.scoped(Stream.fromPull(Effect.gen(function*() {
          const scope = yield* Effect.scope
          const clock = yield* Clock.Clock
          const end = clock.currentTimeMillisUnsafe() + Duration.toMillis(total)
          let isVisible = false
          let source: Pull.Pull<Events, ModelError> | undefined
          const first: Pull.Pull<Events, ModelError> = Effect.flatMap(
            Scope.provide(Stream.toPull(model.stream(request)), scope),
            (pull) => source = pull
          )
          return Effect.suspend(() => {
            const limit = isVisible ? idle : firstEvent
            const left = Duration.millis(Math.max(0, end - clock.currentTimeMillisUnsafe()))
            const isLast = Duration.isLessThan(left, limit)
            return Effect.map(
              Effect.timeoutOrElse(source ?? first, {
                duration: isLast ? left : limit,
                orElse: () =>
                  Effect.fail(
                    isLast
                      ? timedOut("no whole answer", total, isVisible)
                      : timedOut(isVisible ? "no further event" : "no first event", limit, isVisible)
                  )
              }),
              (events) => {
                isVisible = true
                return events
              }
            )
          })
        })))
    }
  }
  return decorate(Effect.succeed(limited))
}
