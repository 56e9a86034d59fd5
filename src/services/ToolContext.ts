/**
 * What a tool handler may ask about the call it serves. The run sets it around every handler, so that it adds no
 * requirement to the handler's type; read outside a run it is a defect that says so.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { Usage } from "./Usage.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface ToolContext {
  readonly agent: string
  readonly runId: string
  readonly conversationId: string | undefined
  /** The turn, counted from 1. */
  readonly turn: number
  /** The provider's id of the call: stable over a retry of the step, so that it can serve as an idempotency key. */
  readonly callId: string
  /** Names the call for good, over retries, resumed runs and processes: what an outside system can tell repeats by. */
  readonly idempotencyKey: string
  readonly toolName: string
  /** The JSON text of the arguments exactly as the model wrote it. */
  readonly rawArguments: string
  /** Tokens that the run has spent so far. */
  readonly usage: Usage
  /** The caller's own value, `context` of the run's options. Never sent to a model. */
  readonly context: unknown
}

/**
 * @category references
 * @since 0.1.0
 */
export const ToolContext: Context.Reference<ToolContext> = Context.Reference<ToolContext>(
  "agent-layers/services/ToolContext",
  {
    defaultValue: () => {
      throw new Error(
        "ToolContext was read outside a tool call of a run. In a test of a handler, provide it: " +
          "Effect.provideService(ToolContext.ToolContext, { … })"
      )
    }
  }
)
