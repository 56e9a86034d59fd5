import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Item } from "../../Item.ts"
import * as Items from "../../Item.ts"
import type { ModelErrorReason } from "../../ModelError.ts"
import { ModelError } from "../../ModelError.ts"
import type { Model, ModelEvent, ModelProvider, ModelRequest, ModelResponse } from "../../ModelProvider.ts"
import * as Law from "../Law.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Tokens {
  readonly input: number
  readonly output: number
  readonly cached: number
  readonly reasoning: number
}

/**
 * What one request is answered with. `deltas` are the pieces in which a stream brings the text.
 *
 * @category models
 * @since 0.1.0
 */
export type Answer =
  | { readonly _tag: "Text"; readonly deltas: ReadonlyArray<string>; readonly tokens?: Tokens | undefined }
  | {
    readonly _tag: "Calls"
    readonly text?: string | undefined
    /** The provider makes the call ids. */
    readonly calls: ReadonlyArray<{
      readonly name: string
      /** JSON text. */
      readonly arguments: string
    }>
  }
  /** Thinks, then says. */
  | { readonly _tag: "Reasoning"; readonly summary: string; readonly text: string }
  | { readonly _tag: "Refusal"; readonly deltas: ReadonlyArray<string> }
  /** Cut off by the output limit. */
  | { readonly _tag: "Incomplete"; readonly deltas: ReadonlyArray<string> }
  /** These very items. */
  | { readonly _tag: "Items"; readonly items: ReadonlyArray<Item> }
  /** Fails before anything is visible. */
  | { readonly _tag: "Fail"; readonly reason: Failing; readonly retryAfterSeconds?: number | undefined }
  /** A stream fails after these deltas. */
  | { readonly _tag: "FailLate"; readonly deltas: ReadonlyArray<string> }
  /** A stream ends after these deltas, without a terminal event. */
  | { readonly _tag: "Cut"; readonly deltas: ReadonlyArray<string> }
  /** Nothing more comes: after the deltas of a stream, or at all. */
  | { readonly _tag: "Hang"; readonly deltas: ReadonlyArray<string> }

/**
 * The reasons that a subject can be made to fail with.
 *
 * @category models
 * @since 0.1.0
 */
export type Failing =
  | "RateLimited"
  | "QuotaExceeded"
  | "Overloaded"
  | "Authentication"
  | "InvalidRequest"
  | "ContextLengthExceeded"

/**
 * A request as the other side saw it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Received {
  /** The items, a text input as one user message. */
  readonly input: ReadonlyArray<unknown>
  /**
   * The fields that arrived, under the names of `ModelRequest`; those of `settings` as `settings.temperature` and so
   * on. Each must have been seen with the value that was sent, in whatever form the service has for it.
   */
  readonly fields: ReadonlyArray<string>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Opened {
  readonly provider: ModelProvider["Service"]
  /** Each request takes the next answer; answers are added to those that are left. */
  readonly script: (...answers: ReadonlyArray<Answer>) => Effect.Effect<void>
  /** Every request that the other side has seen, refused ones included, oldest first. */
  readonly received?: Effect.Effect<ReadonlyArray<Received>> | undefined
  /** How many requests were aborted before their answer was over. */
  readonly aborted?: Effect.Effect<number> | undefined
  /** The id of a conversation that the other side keeps. Default: `conv_law`. */
  readonly conversationId?: string | undefined
  /** The id of a prompt that the other side keeps. Default: `pmpt_law`. */
  readonly promptId?: string | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export type Ability = Answer["_tag"] | Failing | "received" | "aborted"

/**
 * @category models
 * @since 0.1.0
 */
export interface Subject {
  /** A provider with an empty script of its own. */
  readonly open: Effect.Effect<Opened, unknown, Scope.Scope>
  /** What cannot be scripted or seen. Default: nothing. */
  readonly cannot?: ReadonlyArray<Ability> | undefined
  /** A name that the provider does not know. Absent: it takes every name. */
  readonly unknownModel?: string | undefined
  /** An item of a type that `Item` does not look into. Default: a web search. */
  readonly foreignItem?: Item | undefined
}

interface Wrapped extends Opened {
  readonly model: Model
}

export const law = (
  name: string,
  needs: ReadonlyArray<Ability>,
  check: (opened: Wrapped, subject: Subject) => Effect.Effect<void, unknown, Scope.Scope>,
  missing?: (subject: Subject) => string | undefined
): Law.Law<Subject> => ({
  name,
  missing: (subject) => {
    const lacks = needs.find((need) => subject.cannot?.includes(need))
    return lacks === undefined ? missing?.(subject) : `the subject cannot show: ${lacks}`
  },
  check: (subject) =>
    Effect.gen(function*() {
      const opened = yield* subject.open
      const model = yield* opened.provider.getModel()
      yield* check({ ...opened, model }, subject)
    }).pipe((whole) => Law.inTime("the whole law", whole))
})

const broken = (operation: string, expected: string, got: unknown) =>
  Law.holds(operation, expected, false, got) as Effect.Effect<never, Law.LawBroken>

export const seen = <A>(
  what: "received" | "aborted",
  value: Effect.Effect<A> | undefined
): Effect.Effect<A, Law.LawBroken> =>
  value ?? broken(`subject.${what}`, `${what}, or its name in subject.cannot`, undefined)

/** Reads so many events of a stream that brings no more. */
export const first = (model: Model, count: number) =>
  Law.inTime(
    `the first ${count} events of a stream that then hangs`,
    Effect.map(
      Stream.runCollect(Stream.take(model.stream(hello), count)),
      (events) => events.map((event) => isDelta(event) ? event.delta : event._tag)
    )
  )

export const hello: ModelRequest = { input: "Hello." }

export const collect = (model: Model, request: ModelRequest = hello) => Stream.runCollect(model.stream(request))

const deltaTags = new Set(["TextDelta", "ReasoningDelta", "RefusalDelta", "ToolCallDelta"])

export const isDelta = (event: ModelEvent): event is Extract<ModelEvent, { readonly delta: string }> =>
  deltaTags.has(event._tag)

export const completions = (events: ReadonlyArray<ModelEvent>) => events.filter((event) => event._tag === "Completed")

export const completedOf = (
  operation: string,
  events: ReadonlyArray<ModelEvent>
): Effect.Effect<ModelResponse, Law.LawBroken> => {
  const last = events.at(-1)
  return last?._tag === "Completed"
    ? Effect.succeed(last.response)
    : broken(operation, "Completed as the last event", last)
}

const reasoningText = (item: Items.Reasoning): string =>
  item.summary.map((part) => part.text ?? "").join("") + (item.content ?? []).map((part) => part.text ?? "").join("")

/** What the deltas of an item add up to, by kind; kinds without text are absent. */
export const saidBy = (item: Item): Readonly<Record<string, string>> => {
  const said: Record<string, string> = {}
  if (Items.isFunctionCall(item)) said["ToolCallDelta"] = item.arguments
  else if (Items.isReasoning(item)) said["ReasoningDelta"] = reasoningText(item)
  else if (Items.isMessage(item)) {
    said["TextDelta"] = Items.text(item)
    said["RefusalDelta"] = Items.refusal(item) ?? ""
  }
  for (const kind of Object.keys(said)) if (said[kind] === "") delete said[kind]
  return said
}

const everyKind: ReadonlyArray<Answer> = [
  { _tag: "Text", deltas: ["Grüße", ", ", "Welt", " 👩‍💻"] },
  { _tag: "Calls", text: "I look it up.", calls: [{ name: "look up", arguments: `{"a": 1, "b": "two words"}` }] },
  { _tag: "Calls", calls: [{ name: "f", arguments: "{}" }, { name: "f", arguments: "{}" }] },
  { _tag: "Reasoning", summary: "Let me think of it.", text: "I know." },
  { _tag: "Refusal", deltas: ["I ", "will ", "not."] }
]

export const can = (subject: Subject, ability: Ability) => subject.cannot?.includes(ability) !== true

export const scriptable = (subject: Subject): ReadonlyArray<Answer> =>
  everyKind.filter(({ _tag }) => can(subject, _tag))

const idFields = new Set(["id", "call_id"])

export const withoutIds = (item: Item): unknown =>
  Object.fromEntries(Object.entries(item).filter(([key]) => !idFields.has(key)))

export const comparable = (response: ModelResponse) => ({
  model: response.model,
  output: response.output.map(withoutIds),
  usage: response.usage,
  status: response.status,
  incompleteReason: response.incompleteReason
})

export const plainOf = (answer: Answer): ReadonlyArray<string> => {
  switch (answer._tag) {
    case "Text":
      return [`text ${answer.deltas.join("")}`]
    case "Calls":
      return [
        ...(answer.text === undefined ? [] : [`text ${answer.text}`]),
        ...answer.calls.map((call) => `call ${call.name} ${call.arguments}`)
      ]
    case "Reasoning":
      return [`reasoning ${answer.summary}`, `text ${answer.text}`]
    case "Refusal":
      return [`refusal ${answer.deltas.join("")}`]
    default:
      return []
  }
}

export const plainItem = (item: Item): string =>
  Items.isFunctionCall(item)
    ? `call ${item.name} ${item.arguments}`
    : Items.isReasoning(item)
    ? `reasoning ${reasoningText(item)}`
    : Items.refusal(item) !== undefined
    ? `refusal ${Items.refusal(item)}`
    : `text ${Items.text(item)}`

export const failure = (operation: string, expected: string, effect: Effect.Effect<unknown, ModelError>) =>
  Effect.flatMap(Law.failure(operation, expected, effect), (error) =>
    Effect.as(
      Law.holds(operation, `${expected}, as a ModelError`, error instanceof ModelError, error),
      error
    ))

/** Reads a stream that must fail: what came before, and the failure. */
export const failingStream = Effect.fnUntraced(function*(operation: string, expected: string, model: Model) {
  const events: Array<ModelEvent> = []
  const error = yield* failure(
    operation,
    expected,
    Stream.runForEach(model.stream(hello), (event) => Effect.sync(() => events.push(event)))
  )
  return { events, error }
})

export const failings: ReadonlyArray<{ readonly reason: Failing; readonly isRetryable: boolean }> = [
  { reason: "RateLimited", isRetryable: true },
  { reason: "QuotaExceeded", isRetryable: false },
  { reason: "Overloaded", isRetryable: true },
  { reason: "Authentication", isRetryable: false },
  { reason: "InvalidRequest", isRetryable: false },
  { reason: "ContextLengthExceeded", isRetryable: false }
]

const parameters = { type: "object", properties: {}, required: [], additionalProperties: false } as const

export const probes = (
  opened: Opened
): ReadonlyArray<readonly [field: string, request: Omit<ModelRequest, "input">]> => [
  ["instructions", { instructions: "Be brief." }],
  ["tools", { tools: [{ type: "function", name: "f", description: "Does f.", parameters, strict: true }] }],
  ["outputSchema", { outputSchema: { name: "out", schema: parameters, strict: true } }],
  ["handoffs", { handoffs: [{ name: "to_b", description: "Asks b.", parameters }] }],
  ["conversationId", { conversationId: opened.conversationId ?? "conv_law" }],
  ["prompt", { prompt: { id: opened.promptId ?? "pmpt_law", version: "2", variables: { who: "law" } } }],
  ["settings.temperature", { settings: { temperature: 0.5 } }],
  ["settings.topP", { settings: { topP: 0.5 } }],
  ["settings.maxOutputTokens", { settings: { maxOutputTokens: 1000 } }],
  [
    "settings.toolChoice",
    { settings: { toolChoice: { tool: "f" } }, tools: [{ type: "function", name: "f", parameters, strict: true }] }
  ],
  [
    "settings.parallelToolCalls",
    { settings: { parallelToolCalls: false }, tools: [{ type: "function", name: "f", parameters, strict: true }] }
  ],
  ["settings.reasoning", { settings: { reasoning: { effort: "low" } } }],
  ["settings.verbosity", { settings: { verbosity: "low" } }],
  ["settings.truncation", { settings: { truncation: "auto" } }],
  ["settings.store", { settings: { store: false } }],
  ["settings.metadata", { settings: { metadata: { key: "value" } } }],
  ["settings.promptCacheKey", { settings: { promptCacheKey: "key" } }],
  ["settings.include", { settings: { include: ["reasoning.encrypted_content"] } }],
  ["settings.extra", { settings: { extra: { user: "law" } } }]
]

export const webSearch: Item = {
  type: "web_search_call",
  id: "ws_law",
  status: "completed",
  action: { type: "search", query: "laws" }
}

export const each = <A>(values: ReadonlyArray<A>, f: (value: A) => Effect.Effect<void, unknown, Scope.Scope>) =>
  Effect.forEach(values, f, { discard: true })

export const isFailedBy = (operation: string, reason: ModelErrorReason["_tag"], error: ModelError) =>
  Law.equal(`${operation}: reason`, error.reason._tag, reason)
