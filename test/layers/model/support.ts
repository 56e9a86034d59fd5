/** Stacks of model layers over scripted providers, as subjects of the laws and for tests. */
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import type * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import * as ModelError from "agent-layers/services/ModelError"
import { type Model, type ModelEvent, ModelProvider, type ModelRequest } from "agent-layers/services/ModelProvider"
import { Cause, Context, Effect, Exit, Layer, References, type Scope, Stream } from "effect"
import * as ScriptedSubject from "./scriptedSubject.ts"

export const hello: ModelRequest = { input: "hello" }

export type Decorator = Layer.Layer<ModelProvider, unknown, ModelProvider>

/** The provider of a Layer, until the scope closes. */
export const open = <E>(
  layer: Layer.Layer<ModelProvider, E>
): Effect.Effect<ModelProvider["Service"], E, Scope.Scope> =>
  Effect.map(Layer.build(layer), (services) => Context.get(services, ModelProvider))

export const modelOf = <E>(layer: Layer.Layer<ModelProvider, E>, name?: string) =>
  Effect.flatMap(open(layer), (provider) => provider.getModel(name))

/** A subject of the laws: what `stack` makes of a scripted provider. */
export const subject = (
  stack: (scripted: Layer.Layer<ModelProvider>) => Layer.Layer<ModelProvider, unknown>
): ModelProviderLaws.Subject => {
  const scripted = ScriptedSubject.subject()
  return {
    ...scripted,
    open: Effect.gen(function*() {
      const opened = yield* scripted.open
      return { ...opened, provider: yield* open(stack(Layer.succeed(ModelProvider, opened.provider))) }
    })
  }
}

/** What stands on a provider, outermost first. */
export const stack =
  (...decorators: ReadonlyArray<Decorator>) =>
  (inner: Layer.Layer<ModelProvider>): Layer.Layer<ModelProvider, unknown> =>
    decorators.reduceRight<Layer.Layer<ModelProvider, unknown>>(
      (inner, decorator) => Layer.provide(decorator, inner),
      inner
    )

/** A scripted provider whose requests can be counted. */
export const scripted = (...steps: ReadonlyArray<ModelScripted.Step>) =>
  Effect.sync(() => {
    const model = ModelScripted.makeUnsafe({ known: [] })
    return { model, layer: Layer.succeed(ModelProvider, model.provider) }
  }).pipe(Effect.tap(({ model }) => model.add(...steps)))

export const failing = {
  overloaded: (description = "too busy") => ModelScripted.fail(new ModelError.Overloaded({ description, status: 503 })),
  late: (text: ReadonlyArray<string>) =>
    ModelScripted.fail(new ModelError.Overloaded({ description: "fell over" }), {
      of: ModelScripted.text(text),
      after: text.length
    })
}

export const failure = <A>(exit: Exit.Exit<A, ModelError.ModelError>): ModelError.ModelError => {
  if (Exit.isSuccess(exit)) throw new Error("succeeded, and should have failed")
  const found = exit.cause.reasons.find(Cause.isFailReason)
  if (found === undefined) throw new Error(Cause.pretty(exit.cause))
  return found.error
}

/** What a stream gave before it ended, and how it ended. */
export const run = Effect.fnUntraced(function*(model: Model, request: ModelRequest = hello) {
  const events: Array<ModelEvent> = []
  const exit = yield* Effect.exit(Stream.runForEach(model.stream(request), (event) =>
    Effect.sync(() => {
      events.push(event)
    })))
  return { events, exit }
})

export const textOf = (events: ReadonlyArray<ModelEvent>): string =>
  events.flatMap((event) => event._tag === "TextDelta" ? [event.delta] : []).join("")

/** Keeps what models say in the log out of the output of the tests. */
export const quiet: Decorator = Layer.effect(
  ModelProvider,
  Effect.map(ModelProvider, (inner) => ({
    getModel: (name?: string) =>
      Effect.map(inner.getModel(name), (model) => ({
        ...model,
        respond: (request: ModelRequest) =>
          Effect.provideService(model.respond(request), References.MinimumLogLevel, "None"),
        stream: (request: ModelRequest) =>
          Stream.provideService(model.stream(request), References.MinimumLogLevel, "None")
      }))
  }))
)
