/**
 * Handing a conversation from one agent to another. The other agent goes on in the same run, with its own
 * instructions, tools, model and output; the run's type is the union of both.
 *
 * When a response asks for several handoffs the first one is made and the others get an output that says so; tools of
 * the same response run before it. What a filter takes away is not shown to the next agent; the session keeps all.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { Item } from "../services/Item.ts"
import type { Agent, Handoff, Own } from "./internal/agentModel.ts"

export type { Handoff } from "./internal/agentModel.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options<Input, EH, RH, EE, RE> {
  /** Default: `transfer_to_` and the agent's name in snake case. */
  readonly toolName?: string | undefined
  /** Tells the model when to hand off. Default: made from the agent's name and description. */
  readonly toolDescription?: string | undefined
  /** What the model says with the handoff. Arguments that do not decode go back to it, and no handoff is made. */
  readonly input?: Schema.Codec<Input, any> | undefined
  /** Run before the other agent takes over. */
  readonly onHandoff?: ((input: Input) => Effect.Effect<unknown, EH, RH>) | undefined
  /** What the other agent is shown of the conversation so far; see `InputFilter`. */
  readonly filter?: ((items: ReadonlyArray<Item>) => ReadonlyArray<Item>) | undefined
  /** Asked before every model call. A handoff that is not enabled is not shown. */
  readonly isEnabled?: Effect.Effect<boolean, EE, RE> | undefined
}

const snakeCase = (name: string) => name.trim().replace(/[^a-zA-Z0-9]+/g, "_").toLowerCase()

/**
 * A handoff to an agent. `Agent.make({ handoffs: [billing] })` makes one without options for a bare agent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const to = <Output, E, R, Input = {}, EH = never, RH = never, EE = never, RE = never>(
  agent: Agent<Output, E, R>,
  options: Options<Input, EH, RH, EE, RE> = {}
): Handoff<Output, E | Own<EH | EE>, R | Own<RH | RE>> => ({
  agent: agent as Agent<Output, any, any>,
  toolName: options.toolName ?? `transfer_to_${snakeCase(agent.name)}`,
  toolDescription: options.toolDescription ??
    `Hands the conversation to the agent "${agent.name}".${
      agent.description === undefined ? "" : ` ${agent.description}`
    }`,
  input: options.input,
  onHandoff: options.onHandoff,
  filter: options.filter,
  isEnabled: options.isEnabled
})
