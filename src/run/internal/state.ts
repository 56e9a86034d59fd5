import type * as Effect from "effect/Effect"
import type { FunctionCall, Item } from "../../services/Item.ts"
import type { InvalidOutput, Refused } from "../../services/ModelError.ts"
import { ModelError } from "../../services/ModelError.ts"
import type { Model, ModelResponse, ModelSettings, ModelTracing } from "../../services/ModelProvider.ts"
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
  readonly tracing: ModelTracing
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
  hasUsedTools: boolean
  readonly responses: Array<ModelResponse>
  /** Every tool call of the conversation by its id, so that none is run twice. */
  readonly calls: Map<string, FunctionCall>
}

export const fail = (run: Run, reason: RunErrorReason): RunError =>
  new RunError({ agent: run.agent.name, runId: run.id, reason })

/** The model answered, and the answer cannot be used. Whoever listens to a stream has seen some of it. */
export const unusable = (run: Run, Reason: typeof InvalidOutput | typeof Refused, description: string): ModelError =>
  new ModelError({
    provider: run.model.provider,
    model: run.model.name,
    reason: new Reason({ description, isPartial: run.emit !== undefined })
  })

/** Where the run stands after `turns` finished turns, with `made` beyond the items that it has taken in. */
export const stateOf = (run: Run, turns: number, made: ReadonlyArray<Item> = []): RunState => ({
  version: 1,
  runId: run.id,
  agent: run.agent.name,
  ...(run.conversationId === undefined ? undefined : { conversationId: run.conversationId }),
  items: run.items.concat(made),
  newItems: run.items.slice(run.firstNew).concat(made),
  turns,
  usage: run.usage
})

const incompleteReason = (last: ModelResponse | undefined): string | undefined =>
  last?.status === "incomplete" ? last.incompleteReason ?? "unknown" : undefined

export const resultOf = (run: Run, finalOutput: unknown): RunResult<any> => ({
  finalOutput,
  incompleteReason: incompleteReason(run.responses.at(-1)),
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
