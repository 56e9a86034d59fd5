/**
 * What decorators of `ModelProvider` share.
 */
import type * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ModelError, ModelErrorReason } from "../../../services/ModelError.ts"
import type { Model, ModelEvent, ModelResponse } from "../../../services/ModelProvider.ts"
import { ModelProvider } from "../../../services/ModelProvider.ts"

/** A decorator that changes each model, and nothing about how it is found. */
export const decorate = <E, R>(
  makeChange: Effect.Effect<(model: Model) => Model, E, R>
): Layer.Layer<ModelProvider, E, Exclude<R, Scope.Scope> | ModelProvider> =>
  Layer.effect(
    ModelProvider,
    Effect.gen(function*() {
      const inner = yield* ModelProvider
      const change = yield* makeChange
      return ModelProvider.of({ getModel: (name) => Effect.map(inner.getModel(name), change) })
    })
  )

/**
 * Builds a Layer that was given as an option. It is built with the memo map of the Layer that it is an option of, so that
 * a value that stands in both is built once: `Layer.build` would copy its pools.
 */
export const buildProvider = <E, R>(
  layer: Layer.Layer<ModelProvider, E, R>
): Effect.Effect<ModelProvider["Service"], E, R | Scope.Scope> =>
  Effect.contextWith((context: Context.Context<R | Scope.Scope>) => {
    const memoMap = Context.getOrUndefined(context as Context.Context<never>, Layer.CurrentMemoMap)
    const built = memoMap === undefined
      ? Layer.build(layer)
      : Layer.buildWithMemoMap(layer, memoMap, Context.get(context as Context.Context<Scope.Scope>, Scope.Scope))
    return Effect.map(built, (services) => Context.get(services, ModelProvider))
  })

/** Requests that failed before the one that was answered are requests too. */
export const countRequests = (response: ModelResponse, failed: number): ModelResponse =>
  failed === 0 ? response : { ...response, usage: { ...response.usage, requests: response.usage.requests + failed } }

/** The same reason in other words. */
export const describedAs = <R extends ModelErrorReason>(reason: R, description: string): R => {
  const { isRetryable: _, ...fields } = reason
  return new (reason.constructor as new(fields: unknown) => R)({ ...fields, description })
}

type Events = Arr.NonEmptyReadonlyArray<ModelEvent>

/**
 * A stream that begins anew as long as nothing of it was seen. `next` gives what to begin with after a failure, or fails.
 * What failed is released before `next` is asked. `complete` has the last word on the response.
 */
export const restarting = (
  begin: Stream.Stream<ModelEvent, ModelError>,
  next: (error: ModelError) => Effect.Effect<Stream.Stream<ModelEvent, ModelError>, ModelError>,
  complete: (response: ModelResponse) => ModelResponse
): Stream.Stream<ModelEvent, ModelError> =>
  Stream.scoped(Stream.fromPull(Effect.map(Effect.scope, (outer) => {
    let isVisible = false
    let scope: Scope.Closeable | undefined
    let source: Pull.Pull<Events, ModelError> | undefined

    const start = (stream: Stream.Stream<ModelEvent, ModelError>): Pull.Pull<Events, ModelError> =>
      Effect.gen(function*() {
        scope = yield* Scope.fork(outer)
        source = yield* Scope.provide(Stream.toPull(stream), scope)
        return yield* source
      })

    const seen = (events: Events): Events => {
      isVisible = true
      const last = events[events.length - 1]!
      if (last._tag !== "Completed") return events
      const response = complete(last.response)
      return response === last.response ? events : [...events.slice(0, -1), { ...last, response }] as never
    }

    const recover = (error: ModelError): Pull.Pull<Events, ModelError> =>
      isVisible || error.reason.isPartial
        ? Effect.fail(error)
        : Effect.andThen(
          scope === undefined ? Effect.void : Scope.close(scope, Exit.void),
          Effect.flatMap(next(error), attempt)
        )

    const attempt = (stream: Stream.Stream<ModelEvent, ModelError>): Pull.Pull<Events, ModelError> =>
      Effect.catchTag(Effect.map(start(stream), seen), "ModelError", recover)

    return Effect.suspend((): Pull.Pull<Events, ModelError> => {
      if (source === undefined) return attempt(begin)
      const pulled = Effect.map(source, seen)
      return isVisible ? pulled : Effect.catchTag(pulled, "ModelError", recover)
    })
  })))
