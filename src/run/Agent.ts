/**
 * An agent: a plain value that says who answers, with which tools, in which shape. It holds no handlers, keys or
 * connections: its type carries what a run of it requires, and Layers provide that.
 *
 * @since 0.1.0
 */
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import type * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import type { ModelRequest, ModelSettings } from "../services/ModelProvider.ts"

const TypeId = "~agent-layers/run/Agent" as const

/**
 * An agent whose final answer is an `Output`. A run of it may fail with `E` and requires `R`: the handlers of its
 * tools, and what its instructions need.
 *
 * @category models
 * @since 0.1.0
 */
export interface Agent<out Output, out E = never, out R = never> {
  readonly [TypeId]: {
    readonly _Output: (_: never) => Output
    readonly _E: (_: never) => E
    readonly _R: (_: never) => R
  }
  readonly name: string
  readonly instructions: string | Effect.Effect<string, E, R> | undefined
  readonly tools: Readonly<Record<string, Tool.Any>>
  readonly output: Schema.Constraint | undefined
  readonly model: string | undefined
  readonly settings: ModelSettings | undefined
  readonly resetToolChoice: boolean
  readonly prompt: ModelRequest["prompt"]
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Any extends Agent<any, any, any> {}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options<
  Output,
  Tools extends Record<string, Tool.Any>,
  EI,
  RI
> {
  /** Names the agent in traces, errors and stored turns. */
  readonly name: string
  /** What the model is told first. An Effect is run before every model call. */
  readonly instructions?: string | Effect.Effect<string, EI, RI> | undefined
  /** The tools that the model may ask for. Their handlers are a Layer: `toolkit.toLayer({ … })`. */
  readonly toolkit?: Toolkit.Toolkit<Tools> | undefined
  /** The shape of the final answer, which is decoded by it. Absent: the answer is text. */
  readonly output?: Schema.Codec<Output, any> | undefined
  /** The name that `ModelProvider` resolves. Absent: the provider's default; a run may name another. */
  readonly model?: string | undefined
  readonly settings?: ModelSettings | undefined
  /**
   * Whether a `toolChoice` that forces a tool holds only until a tool was called. A model that is forced in every turn
   * never answers, and the run ends with `MaxTurnsExceeded`.
   *
   * @default true
   */
  readonly resetToolChoice?: boolean | undefined
  /** A prompt stored at the provider. */
  readonly prompt?: ModelRequest["prompt"]
}

/**
 * Makes an agent. Output, errors and requirements are inferred.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  Output = string,
  Tools extends Record<string, Tool.Any> = {},
  EI = never,
  RI = never
>(options: Options<Output, Tools, EI, RI>): Agent<
  Output,
  EI,
  | RI
  // Tool by tool and without a name, so that the compiler prints `Handler<"add">` and not the whole toolkit.
  | { [Name in keyof Tools]: Tool.HandlersFor<{ readonly tool: Tools[Name] }> }[keyof Tools]
  | Tool.HandlerServices<Tools[keyof Tools]>
> => ({
  [TypeId]: variance,
  name: options.name,
  instructions: options.instructions as string | Effect.Effect<string, EI, never> | undefined,
  tools: options.toolkit?.tools ?? {},
  output: options.output,
  model: options.model,
  settings: options.settings,
  resetToolChoice: options.resetToolChoice ?? true,
  prompt: options.prompt
})

const variance = {
  _Output: (_: never) => _,
  _E: (_: never) => _,
  _R: (_: never) => _
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isAgent = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)
