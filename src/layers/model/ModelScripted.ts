/**
 * A model that follows a script: the double to test agents with. Each request takes the next step, over `respond` and
 * `stream` alike, and what was asked can be read back. A script that does not fit the program fails loudly: steps
 * that nobody asked for, a request beyond the last step, a history that a real provider would refuse.
 *
 * ```ts
 * const model = ModelScripted.layer([
 *   ModelScripted.toolCall("add", { a: 1, b: 2 }),
 *   ModelScripted.text("The sum is 3.")
 * ])
 * ```
 *
 * It plans nothing and calls no tool by itself.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Item } from "../../services/Item.ts"
import type { ModelError, ModelErrorReason } from "../../services/ModelError.ts"
import { ModelProvider } from "../../services/ModelProvider.ts"
import * as internal from "./internal/scripted.ts"
import type {
  Answer,
  AnswerOptions,
  CallOptions,
  Content,
  During,
  Options,
  Part,
  Script,
  ScriptedRequest,
  Step
} from "./internal/scriptedStep.ts"

export type {
  Answer,
  AnswerOptions,
  CallOptions,
  Content,
  During,
  Options,
  Part,
  Script,
  ScriptedRequest,
  Step
} from "./internal/scriptedStep.ts"

/**
 * The script in progress. Every member looks at it as it stands at that moment.
 *
 * @category services
 * @since 0.1.0
 */
export class ModelScripted extends Context.Service<ModelScripted, {
  readonly provider: ModelProvider["Service"]
  /** Every request so far, oldest first; later changes of the caller's arrays and of its request do not show. */
  readonly requests: Effect.Effect<ReadonlyArray<ScriptedRequest>>
  /** How many steps nobody has asked for yet. */
  readonly remaining: Effect.Effect<number>
  /** How many requests were interrupted or left before their answer had come to its end. */
  readonly aborted: Effect.Effect<number>
  /** Puts steps at the end of the script of the default model. */
  readonly add: (...steps: ReadonlyArray<Step>) => Effect.Effect<void>
  /** Dies where steps are left, and lists them. */
  readonly assertDone: Effect.Effect<void>
}>()("agent-layers/layers/model/ModelScripted") {}

/**
 * An answer with one message.
 *
 * @category steps
 * @since 0.1.0
 */
export const text = (content: Content, options?: AnswerOptions): Answer => answer([{ _tag: "Text", content }], options)

/**
 * An answer that calls one tool. A string as `args` is what the model wrote, JSON or not; anything else is written as
 * JSON.
 *
 * @category steps
 * @since 0.1.0
 */
export const toolCall = (
  name: string,
  args: unknown = {},
  options?: CallOptions & { readonly callId?: string | undefined }
): Answer => calls([{ name, arguments: args, callId: options?.callId }], options)

/**
 * An answer that calls several tools.
 *
 * @category steps
 * @since 0.1.0
 */
export const calls = (
  tools: ReadonlyArray<{
    readonly name: string
    /** A string is what the model wrote, JSON or not; anything else is written as JSON. Default: `{}`. */
    readonly arguments?: unknown
    /** Default: made when the step is taken. */
    readonly callId?: string | undefined
  }>,
  options?: CallOptions
): Answer => {
  const parts: Array<Part> = []
  if (options?.reasoning !== undefined) {
    parts.push({ _tag: "Reasoning", content: options.reasoning, encrypted: undefined })
  }
  if (options?.text !== undefined) parts.push({ _tag: "Text", content: options.text })
  for (const tool of tools) {
    const args = tool.arguments ?? {}
    parts.push({
      _tag: "Call",
      name: tool.name,
      arguments: typeof args === "string" ? args : toJson(args),
      callId: tool.callId
    })
  }
  return answer(parts, options)
}

const toJson = Schema.encodeUnknownSync(Schema.fromJsonString(Schema.Unknown))

/**
 * Thinks, then answers.
 *
 * @category steps
 * @since 0.1.0
 */
export const reasoned = (
  reasoning: Content,
  then: Answer,
  options?: { readonly encrypted?: string | undefined }
): Answer => ({
  ...then,
  parts: [{ _tag: "Reasoning", content: reasoning, encrypted: options?.encrypted }, ...then.parts]
})

/**
 * An answer of these very items, of whatever type, ids and all.
 *
 * @category steps
 * @since 0.1.0
 */
export const items = (output: ReadonlyArray<Item>, options?: AnswerOptions): Answer =>
  answer(output.map((item) => ({ _tag: "Item", item })), options)

/**
 * The model refuses. That is an answer; only where structured output was asked for does a run make an error of it.
 *
 * @category steps
 * @since 0.1.0
 */
export const refusal = (content: Content, options?: AnswerOptions): Answer =>
  answer([{ _tag: "Refusal", content }], options)

/**
 * The answer as far as it came when a limit or a filter cut it off.
 *
 * @category steps
 * @since 0.1.0
 */
export const incomplete = (
  reason: "max_output_tokens" | "content_filter" | (string & {}),
  partial: Answer
): Answer => ({
  ...partial,
  incomplete: reason
})

/**
 * The request fails: at once, or `during` an answer. After the first event of a stream the error says `isPartial`.
 *
 * @category steps
 * @since 0.1.0
 */
export const fail = (error: ModelErrorReason | ModelError, during?: During): Step => ({
  _tag: "Failure",
  error,
  during
})

/**
 * Nothing comes until the request is interrupted: from the start, or from some event of an answer on.
 *
 * @category steps
 * @since 0.1.0
 */
export const hang = (during?: During): Step => ({ _tag: "Hang", during })

/**
 * The same, later.
 *
 * @category steps
 * @since 0.1.0
 */
export const delayed = (duration: Duration.Input, step: Step): Step => ({ _tag: "Delayed", duration, step })

const answer = (parts: ReadonlyArray<Part>, options: AnswerOptions | undefined): Answer => ({
  _tag: "Answer",
  parts,
  usage: options?.usage,
  pause: options?.pause
})

/**
 * A scripted model that nobody holds to its script: steps that are left over go unnoticed without `assertDone`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeUnsafe = (
  script: Script | Readonly<Record<string, Script>>,
  options?: Options
): ModelScripted["Service"] => internal.makeUnsafe(script, options ?? {})

/**
 * A scripted model, or several by name. With one script every name is answered; with several, a name that is not
 * listed is `UnknownModel`.
 *
 * When the scope closes after a success and steps are left, that is a defect that lists them. After a failure it stays
 * silent: a defect in a finalizer would make the program's own error uncatchable.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  script: Script | Readonly<Record<string, Script>>,
  options?: Options
): Effect.Effect<ModelScripted["Service"], never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => makeUnsafe(script, options)),
    (model, exit) => exit._tag === "Success" ? model.assertDone : Effect.void
  )

/**
 * The model provider of a test, and the script to look into. See `make`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  script: Script | Readonly<Record<string, Script>>,
  options?: Options
): Layer.Layer<ModelProvider | ModelScripted> =>
  Layer.effectContext(
    Effect.map(make(script, options), (model) =>
      Context.make(ModelScripted, model).pipe(Context.add(ModelProvider, model.provider)))
  )

/**
 * Every request so far, oldest first.
 *
 * @category accessors
 * @since 0.1.0
 */
export const requests: Effect.Effect<ReadonlyArray<ScriptedRequest>, never, ModelScripted> = ModelScripted.use((
  model
) => model.requests)

/**
 * How many requests were interrupted or left before their answer had come to its end.
 *
 * @category accessors
 * @since 0.1.0
 */
export const aborted: Effect.Effect<number, never, ModelScripted> = ModelScripted.use((model) => model.aborted)

/**
 * Dies where steps are left, and lists them: for tests whose Layer outlives them.
 *
 * @category accessors
 * @since 0.1.0
 */
export const assertDone: Effect.Effect<void, never, ModelScripted> = ModelScripted.use((model) => model.assertDone)
