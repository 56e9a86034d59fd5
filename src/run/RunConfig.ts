/**
 * What the caller of a run may choose.
 *
 * @since 0.1.0
 */
import type { Item } from "../services/Item.ts"
import type { ModelSettings } from "../services/ModelProvider.ts"

/**
 * What to say to the agent: the text of a user message, or items. No items: go on from where the conversation stands.
 *
 * @category models
 * @since 0.1.0
 */
export type RunInput = string | ReadonlyArray<Item>

/**
 * @category options
 * @since 0.1.0
 */
export interface RunOptions {
  /**
   * The conversation to load and to commit to. `"new"` makes an id, which the result returns: return it too where the
   * id comes from a client. Absent: the run remembers nothing, and needs no `Session`.
   */
  readonly conversationId?: string | undefined
  /** At most so many of the latest stored items are loaded, from the first user message among them on. Default: all. */
  readonly maxItems?: number | undefined
  /** The model's name for this run; wins over the agent's. */
  readonly model?: string | undefined
  /** Wins, field by field, over the agent's. */
  readonly settings?: ModelSettings | undefined
  /**
   * Model calls before the run gives up with `MaxTurnsExceeded`. A turn is one model call with the tools it asks for.
   *
   * @default 10
   */
  readonly maxTurns?: number | undefined
  /**
   * Tools of one turn that run at the same time; their outputs come in the order of the calls either way.
   *
   * @default "unbounded"
   */
  readonly toolConcurrency?: number | "unbounded" | undefined
  /** Handed to tool handlers through `ToolContext`; never sent to a model. */
  readonly context?: unknown
  /** Describes the trace that the run begins, unless it is part of one. */
  readonly trace?: {
    /** Default: the agent's name. */
    readonly workflowName?: string | undefined
    readonly groupId?: string | undefined
    readonly metadata?: Readonly<Record<string, string>> | undefined
  } | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface StreamOptions extends RunOptions {
  /**
   * Events that wait for a slow consumer before the run itself waits.
   *
   * @default 1024
   */
  readonly bufferSize?: number | undefined
}
