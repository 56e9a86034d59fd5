/**
 * What a finished run leaves. All members are there: what stops a run short is an error.
 *
 * @since 0.1.0
 */
import type { Item } from "../services/Item.ts"
import type { ModelResponse } from "../services/ModelProvider.ts"
import type { Usage } from "../services/Usage.ts"
import type { GuardrailResult } from "./Guardrail.ts"
import type { RequestUsage } from "./RunState.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface RunResult<out Output> {
  readonly finalOutput: Output
  /** Why the final text was cut off, where it was: `max_output_tokens`, … Structured output that was is an error. */
  readonly incompleteReason: string | undefined
  readonly runId: string
  /** The agent that gave the final answer. */
  readonly lastAgent: string
  /** The items that this run made: what the model said and what tools answered, without the input. */
  readonly newItems: ReadonlyArray<Item>
  /** The whole conversation, ready to be the input of a next run that uses no session. */
  readonly items: ReadonlyArray<Item>
  /** One for each turn, in order. */
  readonly responses: ReadonlyArray<ModelResponse>
  /** The sum over all turns, those of agents called like tools among them. */
  readonly usage: Usage
  /** What each request cost and who made it, in order of their answers. */
  readonly requests: ReadonlyArray<RequestUsage>
  /** In the order in which they came to their verdict. */
  readonly guardrails: ReadonlyArray<GuardrailResult>
  /** The trace that the run was part of, where there was one. */
  readonly traceId: string | undefined
  /** The provider's id of the last response, where it has one: `previousResponseId` of a next run. */
  readonly lastResponseId: string | undefined
  readonly turns: number
  readonly conversationId: string | undefined
  /** The version of the conversation that the last commit left. */
  readonly version: number | undefined
}
