import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"

/**
 * Builds a layer as part of the one that is being built: with the memo map of the whole program, so that what the
 * program builds elsewhere too, such as a pool, is built once. `Layer.build` would look into a copy of the map.
 *
 * @internal
 */
export const buildHere = <ROut, E, R>(
  layer: Layer.Layer<ROut, E, R>
): Effect.Effect<Context.Context<ROut>, E, R | Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<never>()
    const memoMap = Context.getOrUndefined(context, Layer.CurrentMemoMap) ?? (yield* Layer.makeMemoMap)
    return yield* Layer.buildWithMemoMap(layer, memoMap, yield* Effect.scope)
  })

/**
 * Each decorator over the next, the last over the backend. Decorators are built anew, whatever value was used for them
 * before; the backend is built once in a program.
 *
 * @internal
 */
export const stack = (
  backend: Layer.Layer<never, unknown, unknown>,
  decorators: ReadonlyArray<Layer.Layer<never, unknown, unknown>>
): Layer.Layer<never, unknown, unknown> =>
  decorators.reduceRight((inner, decorator) => Layer.provideMerge(Layer.fresh(decorator), inner), backend)
