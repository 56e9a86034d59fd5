/**
 * Whether a model may be talked to over the network: asked by each Layer of a model, when it is built and before each
 * request. Everything is allowed by default; a test forbids it (`TestAgents.forbidNetwork`).
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/**
 * @category models
 * @since 0.1.0
 */
export interface NetworkPolicy {
  /** Dies where the program must not talk to that address. `who` is the Layer that wants to. */
  readonly check: (who: string, url: string) => Effect.Effect<void>
}

/**
 * By default everything is allowed.
 *
 * @category references
 * @since 0.1.0
 */
export const NetworkPolicy: Context.Reference<NetworkPolicy> = Context.Reference<NetworkPolicy>(
  "agent-layers/services/Network/NetworkPolicy",
  { defaultValue: () => ({ check: () => Effect.void }) }
)

/**
 * To be called before a request.
 *
 * @category checking
 * @since 0.1.0
 */
export const check = (who: string, url: string): Effect.Effect<void> =>
  Effect.flatMap(NetworkPolicy, (policy) => policy.check(who, url))
