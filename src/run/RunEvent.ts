/**
 * What a streamed run tells while it runs. Deltas are provisional until the `Committed` event of their turn; the last
 * event is `Completed`, after the last commit. A run that fails ends the stream with its error instead.
 *
 * @since 0.1.0
 */
import type { Item } from "../services/Item.ts"
import type { ModelEvent } from "../services/ModelProvider.ts"
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
  | {
    readonly _tag: "ToolStarted"
    readonly callId: string
    readonly name: string
    /** JSON text. */
    readonly arguments: string
  }
  | {
    readonly _tag: "ToolFinished"
    readonly callId: string
    readonly name: string
    /** What the model is given. */
    readonly output: Item
    /** Whether it is a failure that the model may mend. */
    readonly isFailure: boolean
  }
  /** The turn is stored. Comes only where the run has a conversation. */
  | { readonly _tag: "Committed"; readonly turn: number; readonly version: number }
  | { readonly _tag: "Completed"; readonly result: RunResult<Output> }
