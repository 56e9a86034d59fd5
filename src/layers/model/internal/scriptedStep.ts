import type * as Duration from "effect/Duration"
import type { Item } from "../../../services/Item.ts"
import type { ModelError, ModelErrorReason } from "../../../services/ModelError.ts"
import type { ModelRequest } from "../../../services/ModelProvider.ts"
import type { Usage } from "../../../services/Usage.ts"

/**
 * Text as it is streamed. A string: all its words at once. An array: one delta for each element, delivered one by one;
 * deltas that are in an array of their own are delivered together.
 *
 * @category models
 * @since 0.1.0
 */
export type Content = string | ReadonlyArray<string | ReadonlyArray<string>>

/**
 * One item of an answer. Ids that are left out are made when the step is taken; an `Item` is passed on as it is.
 *
 * @category models
 * @since 0.1.0
 */
export type Part =
  | { readonly _tag: "Text"; readonly content: Content }
  | { readonly _tag: "Reasoning"; readonly content: Content; readonly encrypted: string | undefined }
  | { readonly _tag: "Refusal"; readonly content: Content }
  | {
    readonly _tag: "Call"
    readonly name: string
    /** JSON text, or what the model wrote in its place. */
    readonly arguments: string
    readonly callId: string | undefined
  }
  | { readonly _tag: "Item"; readonly item: Item }

/**
 * @category models
 * @since 0.1.0
 */
export interface Answer extends AnswerOptions {
  readonly _tag: "Answer"
  readonly parts: ReadonlyArray<Part>
  /** Why the answer was cut off, where it was. */
  readonly incomplete?: string | undefined
}

/**
 * What can happen to a request. A function decides when the request has come in; `n` counts the requests to that model
 * from 1.
 *
 * @category models
 * @since 0.1.0
 */
export type Step =
  | Answer
  | {
    readonly _tag: "Failure"
    readonly error: ModelErrorReason | ModelError
    readonly during: During | undefined
  }
  | { readonly _tag: "Hang"; readonly during: During | undefined }
  | { readonly _tag: "Delayed"; readonly duration: Duration.Input; readonly step: Step }
  | ((request: ModelRequest, n: number) => Step)

/**
 * Steps to take in order; or one function that answers every request, and leaves nothing over.
 *
 * @category models
 * @since 0.1.0
 */
export type Script = ReadonlyArray<Step> | ((request: ModelRequest, n: number) => Step)

/**
 * A request as it came in.
 *
 * @category models
 * @since 0.1.0
 */
export interface ScriptedRequest extends ModelRequest {
  /** `input`, a text as the user message that it stands for. */
  readonly items: ReadonlyArray<Item>
  readonly model: string
  readonly mode: "respond" | "stream"
}

/**
 * @category options
 * @since 0.1.0
 */
export interface AnswerOptions {
  /** What the answer cost. Fields left out: one request, 10 input and 5 output tokens. */
  readonly usage?: Partial<Usage> | undefined
  /** Waits so long before each further piece of a stream; `respond` waits as long in all. */
  readonly pause?: Duration.Input | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface CallOptions extends AnswerOptions {
  /** What the model says before it calls. */
  readonly text?: Content | undefined
  /** What the model thinks before that. */
  readonly reasoning?: Content | undefined
}

/**
 * An answer that does not come to its end.
 *
 * @category options
 * @since 0.1.0
 */
export interface During {
  readonly of: Answer
  /** How many events of a stream come first, at most all but the last. `respond` shows none of them. */
  readonly after: number
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** What the provider answers to `getModel()`. Default: the first model listed, or `scripted`. */
  readonly defaultModel?: string | undefined
  /**
   * Whether a request whose input is not a valid history fails with `InvalidRequest`, as the real service does it.
   *
   * @default true
   */
  readonly strict?: boolean | undefined
  /**
   * Whether requests are kept for `requests`.
   *
   * @default true
   */
  readonly record?: boolean | undefined
}
