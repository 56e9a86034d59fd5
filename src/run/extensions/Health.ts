/**
 * How the services of a registry are doing: each is asked a harmless question, and answers are put together.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ExtensionRegistry, type Running } from "../../services/Extension.ts"

/**
 * `degraded`: a fallback serves. `down`: it does not answer.
 *
 * @category models
 * @since 0.1.0
 */
export type Status = "healthy" | "degraded" | "down"

/**
 * One service that was built. Times are milliseconds since 1970.
 *
 * @category models
 * @since 0.1.0
 */
export interface LayerHealth extends Pick<Running, "kind" | "instance" | "use" | "wrap" | "since"> {
  readonly status: Status
  /** How long the answer took; absent where it was not asked, or did not answer. */
  readonly latencyMillis: number | undefined
  /** Since when a fallback serves, or it has not answered. */
  readonly degradedSince: number | undefined
  /** Whom the fallback stands in for. */
  readonly insteadOf: string | undefined
  /** What is wrong. */
  readonly reason: string | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Report {
  /** The worst of them; `healthy` where there is none. */
  readonly status: Status
  readonly layers: ReadonlyArray<LayerHealth>
}

/**
 * Asks all services at once.
 *
 * @category services
 * @since 0.1.0
 */
export class Health extends Context.Service<Health, {
  /** Never fails: what does not answer within the registry's probe timeout is `down`. */
  readonly check: Effect.Effect<Report>
}>()("agent-layers/run/extensions/Health") {}

const worst = (layers: ReadonlyArray<LayerHealth>): Status =>
  (["down", "degraded"] as const).find((status) => layers.some((layer) => layer.status === status)) ?? "healthy"

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = (registry: ExtensionRegistry["Service"]): Health["Service"] => {
  // By service, so that what was built anew begins anew.
  const failingSince = new WeakMap<Running, number>()

  const ask = Effect.fnUntraced(function*(running: Running): Effect.fn.Return<LayerHealth> {
    const { degraded, instance, kind, ping, since, use, wrap } = running
    const begun = yield* Clock.currentTimeMillis
    const failure = ping === undefined
      ? undefined
      : yield* Effect.match(ping, { onSuccess: () => undefined, onFailure: (error) => error })
    const now = yield* Clock.currentTimeMillis
    if (failure === undefined) failingSince.delete(running)
    else if (!failingSince.has(running)) failingSince.set(running, begun)
    return {
      kind,
      instance,
      use,
      wrap,
      since,
      status: failure !== undefined ? "down" : degraded !== undefined ? "degraded" : "healthy",
      latencyMillis: ping === undefined || failure !== undefined ? undefined : now - begun,
      degradedSince: degraded?.since ?? failingSince.get(running),
      insteadOf: degraded?.insteadOf,
      reason: (failure ?? degraded?.reason)?.message
    }
  })

  return {
    check: Effect.gen(function*() {
      const layers = yield* Effect.forEach(yield* registry.running, ask, { concurrency: "unbounded" })
      return { status: worst(layers), layers }
    })
  }
}

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Health, never, ExtensionRegistry> = Layer.effect(
  Health,
  Effect.map(ExtensionRegistry, make)
)
