/**
 * Limits how many requests a provider answers at once; the others wait their turn, first come, first served. Inside
 * `ModelRetry` a request gives its place back while it waits for its next attempt, around it it keeps it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Model, ModelProvider } from "../../services/ModelProvider.ts"
import { decorate } from "./internal/decorated.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface ModelConcurrencyOptions {
  /** Requests at once, over all models of the provider. A stream counts from its first pull until it ends or is left. */
  readonly maxRequests: number
}

/**
 * Interruption of a request that waits takes it out of the line.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: ModelConcurrencyOptions): Layer.Layer<ModelProvider, never, ModelProvider> =>
  decorate(Effect.map(Semaphore.make(options.maxRequests), (places) => {
    const place = Effect.acquireRelease(places.take(1), () => places.release(1), { interruptible: true })
    return (model: Model): Model => ({
      ...model,
      respond: (request) => places.withPermit(model.respond(request)),
      stream: (request) => Stream.unwrap(Effect.as(place, model.stream(request)))
    })
  }))
