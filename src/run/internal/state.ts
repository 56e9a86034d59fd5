import type * as Effect from "effect/Effect"
import type { Item } from "../../services/Item.ts"
import type { Model, ModelResponse, ModelSettings } from "../../services/ModelProvider.ts"
import type { RunJournal } from "../../services/RunJournal.ts"
import type { Session } from "../../services/Session.ts"
import type { Usage } from "../../services/Usage.ts"
import type * as Agent from "../Agent.ts"
import type { RunOptions } from "../RunConfig.ts"
import type { RunErrorReason } from "../RunError.ts"
import { RunError } from "../RunError.ts"
import type { RunEvent } from "../RunEvent.ts"
import type { RunResult } from "../RunResult.ts"
import type { RunState } from "../RunState.ts"
import type { Plan } from "./plan.ts"

/** Tells the consumer of a stream; absent where nobody listens. Waits while the consumer's buffer is full. */
export type Emit = (events: ReadonlyArray<RunEvent<any>>) => Effect.Effect<void>

/**
 * A run on its way. `items` only grows, so that a turn costs nothing for what came before it: what is passed on is a
 * copy of the references, and stored history is looked at once, when it is loaded.
 */
export interface Run {
  readonly id: string
  readonly agent: Agent.Any
  readonly plan: Plan
  readonly model: Model
  readonly settings: ModelSettings | undefined
  readonly options: RunOptions
  readonly maxTurns: number
  readonly conversationId: string | undefined
  readonly session: Session["Service"] | undefined
  readonly journal: RunJournal
  readonly emit: Emit | undefined
  /** History, input, and what this run has added. */
  readonly items: Array<Item>
  /** Where in `items` this run's own items begin. */
  readonly firstNew: number
  /** Where in `items` begins what is not stored yet. */
  uncommitted: number
  version: number | undefined
  /** The turn under way, counted from 1; 0 before the first. */
  turn: number
  usage: Usage
  readonly responses: Array<ModelResponse>
}

export const fail = (run: Run, reason: RunErrorReason): RunError =>
  new RunError({ agent: run.agent.name, runId: run.id, reason })

/** How far the run had come when it had `length` items and `turns` finished turns. */
export const stateOf = (run: Run, turns: number, length: number): RunState => ({
  version: 1,
  runId: run.id,
  agent: run.agent.name,
  ...(run.conversationId === undefined ? undefined : { conversationId: run.conversationId }),
  items: run.items.slice(0, length),
  newItems: run.items.slice(run.firstNew, length),
  turns,
  usage: run.usage
})

export const resultOf = (run: Run, finalOutput: unknown): RunResult<any> => ({
  finalOutput,
  runId: run.id,
  lastAgent: run.agent.name,
  newItems: run.items.slice(run.firstNew),
  items: run.items,
  responses: run.responses,
  usage: run.usage,
  turns: run.turn,
  conversationId: run.conversationId,
  version: run.version
})
