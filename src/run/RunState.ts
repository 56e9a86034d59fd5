/**
 * How far a run had come when something stopped it. Errors that stop a run short carry it, so that the caller can go
 * on from there: `Runner.run(agent, state.items)`, or `Runner.run(agent, [], { conversationId })` where a session
 * keeps the finished turns.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Item } from "../services/Item.ts"
import { Usage } from "../services/Usage.ts"

/**
 * JSON by its Schema; holds no secret of the program.
 *
 * @category schemas
 * @since 0.1.0
 */
export const RunState = Schema.Struct({
  /** Of this format. */
  version: Schema.Literal(1),
  runId: Schema.String,
  agent: Schema.String,
  conversationId: Schema.optionalKey(Schema.String),
  /** The conversation as the next model call would see it: what was there, the input and every finished turn. */
  items: Schema.Array(Item),
  /** The items that this run made, the last of `items`. */
  newItems: Schema.Array(Item),
  /** Finished turns. */
  turns: Schema.Int,
  usage: Usage
})

/**
 * @category models
 * @since 0.1.0
 */
export interface RunState extends Schema.Schema.Type<typeof RunState> {}
