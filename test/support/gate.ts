/** A model that a test holds back, so that nothing of the test depends on how long an answer takes. */
import { type Model, ModelProvider } from "agent-layers/services/ModelProvider"
import { Deferred, Effect, Layer, Stream } from "effect"

export interface Gate {
  /** Answers go no further than their first delta until the gate is open. Over the Layer of a model. */
  readonly layer: Layer.Layer<ModelProvider, never, ModelProvider>
  readonly open: Effect.Effect<void>
}

export const makeGate: Effect.Effect<Gate> = Effect.map(Deferred.make<void>(), (deferred) => {
  const opened = Deferred.await(deferred)
  const hold = (model: Model): Model => ({
    ...model,
    respond: (request) => Effect.andThen(opened, model.respond(request)),
    stream: (request) =>
      model.stream(request).pipe(
        Stream.zipWithIndex,
        Stream.mapEffect(([event, index]) => index === 0 ? Effect.succeed(event) : Effect.as(opened, event))
      )
  })
  return {
    layer: Layer.effect(
      ModelProvider,
      Effect.map(ModelProvider, (inner) => ({
        ...inner,
        getModel: (name?: string) => Effect.map(inner.getModel(name), hold)
      }))
    ),
    open: Effect.asVoid(Deferred.succeed(deferred, undefined))
  }
})

/** The Layer of a model, held back where there is a gate. */
export const heldBy = <A, E, R>(gate: Gate | undefined, model: Layer.Layer<A | ModelProvider, E, R>) =>
  gate === undefined ? model : gate.layer.pipe(Layer.provideMerge(model))
