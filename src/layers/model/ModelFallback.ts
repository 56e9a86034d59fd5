/**
 * Models in order of preference: where one fails, the next is asked the same. That is free as long as nothing was
 * visible; once a stream has given its first event, its failure is the answer, since another model's would begin again.
 *
 * A response says by `model` who gave it. Models that share no conversation with the first one have to be able to answer
 * from the input alone.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { ModelError } from "../../services/ModelError.ts"
import type { Model, ModelEvent, ModelRequest, ModelResponse } from "../../services/ModelProvider.ts"
import { ModelProvider } from "../../services/ModelProvider.ts"
import { buildProvider, countRequests, describedAs, restarting } from "./internal/decorated.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface ModelFallbackOptions {
  /**
   * Which failures lead to the next model. A failure after something was visible never does.
   * @default all but `InvalidRequest`, `ContentFiltered` and `Refused`, which another model is likely to repeat
   */
  readonly when?: ((error: ModelError) => boolean) | undefined
}

/**
 * A provider, and the model of it to ask. Without a model the first provider is asked for what the run names, and the
 * others for their default.
 *
 * @category models
 * @since 0.1.0
 */
export type Candidate<E = never, R = never> = Layer.Layer<ModelProvider, E, R> | {
  readonly provider: Layer.Layer<ModelProvider, E, R>
  readonly model?: string | undefined
}

const final = new Set<string>(["InvalidRequest", "ContentFiltered", "Refused"])

const byDefault = ({ reason }: ModelError): boolean => !final.has(reason._tag)

/** What was never sent is no request. */
const wasSent = ({ reason }: ModelError): boolean => reason._tag !== "Unsupported"

type Next = Effect.Effect<Model, ModelError>

interface Provider {
  readonly get: ModelProvider["Service"]["getModel"]
  readonly model: string | undefined
}

/** The failures so far, the last one as the error and the others in its words. */
const summary = (errors: ReadonlyArray<ModelError>): ModelError => {
  const last = errors[errors.length - 1]!
  if (errors.length === 1) return last
  const before = errors.slice(0, -1).map((error) => error.message).join("; ")
  return new ModelError({
    provider: last.provider,
    model: last.model,
    reason: describedAs(
      last.reason,
      `${last.reason.description} (the last of ${errors.length} models; before it: ${before})`
    )
  })
}

const makeModel = (
  first: Model,
  others: ReadonlyArray<Next>,
  when: (error: ModelError) => boolean,
  /** Why those before the first one could not be had. */
  before: ReadonlyArray<ModelError>
): Model => {
  /** One request on its way through the models. */
  const makeWay = () => {
    const errors: Array<ModelError> = []
    let answering = first
    const next = (error: ModelError): Effect.Effect<Model, ModelError> => {
      errors.push(error)
      const other = others[errors.length - 1]
      if (error.reason.isPartial || other === undefined || !when(error)) {
        return Effect.fail(summary([...before, ...errors]))
      }
      return Effect.logWarning(`A model failed, the next one is asked: ${error.message}`).pipe(
        Effect.andThen(other),
        Effect.tap((model) =>
          Effect.sync(() => {
            answering = model
          })
        ),
        Effect.catchTag("ModelError", next)
      )
    }
    const complete = (response: ModelResponse): ModelResponse =>
      errors.length === 0
        ? response
        : countRequests({ ...response, model: response.model ?? answering.name }, errors.filter(wasSent).length)
    return { next, complete }
  }

  const respond = (request: ModelRequest) =>
    Effect.suspend(() => {
      const { complete, next } = makeWay()
      const ask = (model: Model): Effect.Effect<ModelResponse, ModelError> =>
        Effect.catchTag(model.respond(request), "ModelError", (error) => Effect.flatMap(next(error), ask))
      return Effect.map(ask(first), complete)
    })

  const stream = (request: ModelRequest): Stream.Stream<ModelEvent, ModelError> =>
    Stream.suspend(() => {
      const { complete, next } = makeWay()
      return restarting(
        first.stream(request),
        (error) => Effect.map(next(error), (model) => model.stream(request)),
        complete
      )
    })

  return { name: first.name, provider: first.provider, respond, stream }
}

/** The first model that can be had; those before it have failed. */
const firstOf = (
  candidates: ReadonlyArray<Next>,
  when: (error: ModelError) => boolean,
  errors: ReadonlyArray<ModelError> = []
): Effect.Effect<Model, ModelError> => {
  const [first, ...others] = candidates
  return Effect.matchEffect(first!, {
    onSuccess: (model) => Effect.succeed(makeModel(model, others, when, errors)),
    onFailure: (error) =>
      others.length === 0 || !when(error)
        ? Effect.fail(summary([...errors, error]))
        : firstOf(others, when, [...errors, error])
  })
}

/**
 * Provides the first provider's models, backed by those of the others. Each Layer is built at once, together with
 * whatever it shares with the rest of the program; all of them are released with this one.
 *
 * Where all fail, the error is the last one's, with the messages of those before it.
 *
 * **Example**
 *
 * ```ts
 * ModelFallback.layer([OpenAI, { provider: Ollama, model: "llama3.3" }])
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const Candidates extends readonly [Candidate<any, any>, ...ReadonlyArray<Candidate<any, any>>]>(
  candidates: Candidates,
  options: ModelFallbackOptions = {}
): Layer.Layer<ModelProvider, ErrorOf<Candidates[number]>, ServicesOf<Candidates[number]>> => {
  type E = ErrorOf<Candidates[number]>
  type R = ServicesOf<Candidates[number]>
  return Layer.effect(
    ModelProvider,
    Effect.gen(function*() {
      const providers: Array<Provider> = []
      for (const candidate of candidates) {
        const { model, provider } = "provider" in candidate ? candidate : { model: undefined, provider: candidate }
        providers.push({ get: (yield* buildProvider(provider as Layer.Layer<ModelProvider, E, R>)).getModel, model })
      }
      return ModelProvider.of({
        getModel: (name) =>
          firstOf(
            providers.map(({ get, model }, index) => get(index === 0 ? name ?? model : model)),
            options.when ?? byDefault
          )
      })
    })
  )
}

/**
 * @category models
 * @since 0.1.0
 */
export type ErrorOf<C> = C extends { readonly provider: infer L } ? Layer.Error<Extract<L, Layer.Any>>
  : Layer.Error<Extract<C, Layer.Any>>

/**
 * @category models
 * @since 0.1.0
 */
export type ServicesOf<C> = C extends { readonly provider: infer L } ? Layer.Services<Extract<L, Layer.Any>>
  : Layer.Services<Extract<C, Layer.Any>>

/**
 * The same over the models of one provider: what a run names, or the default, and then these.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerModels = (
  names: ReadonlyArray<string>,
  options: ModelFallbackOptions = {}
): Layer.Layer<ModelProvider, never, ModelProvider> =>
  Layer.effect(
    ModelProvider,
    Effect.map(ModelProvider, (inner) =>
      ModelProvider.of({
        getModel: (name) =>
          firstOf([inner.getModel(name), ...names.map((other) => inner.getModel(other))], options.when ?? byDefault)
      }))
  )
