/**
 * What a streamed run tells while it runs. Deltas are provisional until the `Committed` event of their turn; the last
 * event is `Completed`, after the last commit. A run that fails ends the stream with its error instead.
 *
 * @since 0.1.0
 */
import type { Item } from "../services/Item.ts"
import type { ModelEvent } from "../services/ModelProvider.ts"
import type { Approval } from "./Approval.ts"
import type { RunResult } from "./RunResult.ts"

/**
 * What the model's own stream tells before it is complete.
 *
 * @category models
 * @since 0.1.0
 */
export type ModelProgress = Exclude<ModelEvent, { readonly _tag: "Completed" }>

/**
 * @category models
 * @since 0.1.0
 */
export type RunEvent<Output> =
  | {
    readonly _tag: "RunStarted"
    readonly runId: string
    readonly agent: string
    readonly conversationId: string | undefined
  }
  | { readonly _tag: "TurnStarted"; readonly turn: number; readonly agent: string }
  /** Pieces of text, reasoning, refusals and tool calls as the model writes them, and whole items. */
  | ModelProgress
  /** After the decision about the call and the guardrails of its input, right before the tool runs. Once a call. */
  | {
    readonly _tag: "ToolStarted"
    readonly callId: string
    readonly name: string
    /** JSON text. */
    readonly arguments: string
  }
  /** What a handler told before it was done, encoded by the tool's success schema. */
  | { readonly _tag: "ToolProgress"; readonly callId: string; readonly name: string; readonly value: unknown }
  /** The call has its output. A call that was refused (arguments, decision, guardrail) has one without a start. */
  | {
    readonly _tag: "ToolFinished"
    readonly callId: string
    readonly name: string
    /** What the model is given. */
    readonly output: Item
    /** Whether it is a failure that the model may mend. */
    readonly isFailure: boolean
  }
  /** From the next turn on another agent answers. */
  | { readonly _tag: "HandedOff"; readonly callId: string; readonly from: string; readonly to: string }
  /** The run is about to end with `ApprovalRequired`. */
  | { readonly _tag: "ApprovalRequested"; readonly approval: Approval }
  /** What an agent tells that was called like a tool. `path` holds the ids of the calls that lead to it. */
  | { readonly _tag: "Nested"; readonly path: ReadonlyArray<string>; readonly event: RunEvent<unknown> }
  /** The turn is stored, whole or as what ran before it stopped. Comes only where the run has a conversation. */
  | { readonly _tag: "Committed"; readonly turn: number; readonly version: number }
  | { readonly _tag: "Completed"; readonly result: RunResult<Output> }
