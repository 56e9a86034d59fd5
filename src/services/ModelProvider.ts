/**
 * Where models come from. A provider resolves a name to a `Model`, and a `Model` answers a `ModelRequest`, at once or
 * as a stream of events. Layers implement it (OpenAI Responses, scripted, …); the runner consumes it. It knows nothing
 * of agents, tools' handlers or conversations.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { JsonSchema } from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { Item } from "./Item.ts"
import type { ModelError } from "./ModelError.ts"
import { Usage } from "./Usage.ts"

/**
 * How a model should answer. A field left out leaves the choice to the provider.
 *
 * @category options
 * @since 0.1.0
 */
export interface ModelSettings {
  readonly temperature?: number | undefined
  readonly topP?: number | undefined
  /** Upper bound of generated tokens, reasoning included. */
  readonly maxOutputTokens?: number | undefined
  readonly toolChoice?: "auto" | "none" | "required" | { readonly tool: string } | undefined
  /** Whether the model may ask for several tools in one response. */
  readonly parallelToolCalls?: boolean | undefined
  readonly reasoning?: {
    readonly effort?: "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max" | undefined
    readonly summary?: "auto" | "concise" | "detailed" | undefined
  } | undefined
  readonly verbosity?: "low" | "medium" | "high" | undefined
  readonly truncation?: "auto" | "disabled" | undefined
  /** Whether the provider keeps the response. */
  readonly store?: boolean | undefined
  readonly metadata?: Readonly<Record<string, string>> | undefined
  readonly promptCacheKey?: string | undefined
  /** Extra data to include in the response, in the provider's names. */
  readonly include?: ReadonlyArray<string> | undefined
  /** Further parameters in the provider's names, sent as they are; they win over the fields above. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined
}

/**
 * A tool as the model sees it: a function with a JSON Schema, or a tool that the provider runs itself (`hosted`, whose
 * `definition` is sent as it is).
 *
 * @category models
 * @since 0.1.0
 */
export type ToolDefinition =
  | {
    readonly type: "function"
    readonly name: string
    readonly description?: string | undefined
    readonly parameters: JsonSchema
    /** Whether the provider must hold the model to the schema. */
    readonly strict?: boolean | undefined
  }
  | { readonly type: "hosted"; readonly name: string; readonly definition: Readonly<Record<string, unknown>> }

/**
 * An agent that the model may hand the conversation to; the model sees it as a function.
 *
 * @category models
 * @since 0.1.0
 */
export interface HandoffDefinition {
  readonly name: string
  readonly description?: string | undefined
  readonly parameters: JsonSchema
}

/**
 * The shape that the final answer must have.
 *
 * @category models
 * @since 0.1.0
 */
export interface OutputSchema {
  readonly name: string
  readonly schema: JsonSchema
  /** Whether the provider must hold the model to the schema. The runner decodes the answer in any case. */
  readonly strict: boolean
}

/**
 * What the provider may record of a request in its own traces.
 *
 * @category models
 * @since 0.1.0
 */
export type ModelTracing = "enabled" | "enabledWithoutData" | "disabled"

/**
 * Everything that one model call may carry. A provider that cannot honour a field that is present fails with
 * `Unsupported` and names it; it never drops one silently. (`tracing` is advice: a provider without traces of its own
 * has nothing to do.)
 *
 * @category models
 * @since 0.1.0
 */
export interface ModelRequest {
  readonly instructions?: string | undefined
  /**
   * The conversation so far, or the text of a single user message. The array is the caller's and may grow after the call:
   * who keeps it copies it.
   */
  readonly input: string | ReadonlyArray<Item>
  readonly settings?: ModelSettings | undefined
  readonly tools?: ReadonlyArray<ToolDefinition> | undefined
  readonly outputSchema?: OutputSchema | undefined
  readonly handoffs?: ReadonlyArray<HandoffDefinition> | undefined
  readonly tracing?: ModelTracing | undefined
  /** Whether a stream passes the provider's own events on too. Advice: a provider without any has nothing to pass on. */
  readonly rawEvents?: boolean | undefined
  /** Continue after a response that the provider keeps; `input` then holds what is new. */
  readonly previousResponseId?: string | undefined
  /** A conversation that the provider keeps; `input` then holds what is new. */
  readonly conversationId?: string | undefined
  /** A prompt stored at the provider. */
  readonly prompt?: {
    readonly id: string
    readonly version?: string | undefined
    readonly variables?: Readonly<Record<string, unknown>> | undefined
  } | undefined
}

/**
 * A whole answer.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ModelResponse = Schema.Struct({
  /** The provider's id of the response, where it has one. */
  id: Schema.optional(Schema.String),
  /** The model that answered, which may be more exact than the one that was asked. */
  model: Schema.optional(Schema.String),
  /** In the order in which the model made them. Every tool call has an id that is unique in the conversation. */
  output: Schema.Array(Item),
  usage: Usage,
  /** `incomplete`: cut off by a limit or a filter; tool calls in it may be cut off too. */
  status: Schema.Literals(["completed", "incomplete"]),
  incompleteReason: Schema.optional(Schema.String)
})

/**
 * @category models
 * @since 0.1.0
 */
export interface ModelResponse extends Schema.Schema.Type<typeof ModelResponse> {}

/**
 * A piece of a streamed answer. Deltas of one item come in order; `ItemDone` carries the whole item.
 *
 * @category models
 * @since 0.1.0
 */
export type ModelEvent =
  | { readonly _tag: "TextDelta"; readonly itemId: string; readonly delta: string }
  | { readonly _tag: "ReasoningDelta"; readonly itemId: string; readonly delta: string }
  | { readonly _tag: "RefusalDelta"; readonly itemId: string; readonly delta: string }
  | {
    readonly _tag: "ToolCallDelta"
    readonly itemId: string
    readonly callId: string
    readonly name: string
    /** The next piece of the JSON text of the arguments. */
    readonly delta: string
  }
  | { readonly _tag: "ItemDone"; readonly item: Item }
  /** The provider's own event, before what it means here; only where the request asks for `rawEvents`. */
  | { readonly _tag: "Raw"; readonly event: Readonly<Record<string, unknown>> }
  | { readonly _tag: "Completed"; readonly response: ModelResponse }

/**
 * One model. Both members answer the same request with the same response.
 *
 * @category models
 * @since 0.1.0
 */
export interface Model {
  readonly name: string
  /** The provider: `openai`, `scripted`, … */
  readonly provider: string
  /** Interruption aborts the request. */
  readonly respond: (request: ModelRequest) => Effect.Effect<ModelResponse, ModelError>
  /**
   * Zero or more events and then exactly one `Completed`, as the last element; or a failure. A source that ends
   * without a terminal event is a failure. Events that arrive together are delivered in one chunk. Leaving the stream
   * early aborts the request.
   */
  readonly stream: (request: ModelRequest) => Stream.Stream<ModelEvent, ModelError>
}

/**
 * Resolves names to models. Without a name: the provider's default model.
 *
 * @category services
 * @since 0.1.0
 */
export class ModelProvider extends Context.Service<ModelProvider, {
  readonly getModel: (name?: string) => Effect.Effect<Model, ModelError>
}>()("agent-layers/services/ModelProvider") {}
