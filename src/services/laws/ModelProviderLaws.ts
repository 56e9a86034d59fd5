/**
 * What every `ModelProvider` keeps, as runnable checks. A subject opens a provider and says, for each next request,
 * what it should answer; over HTTP the answers go to a peer that plays the service. What a subject cannot show it lists
 * in `cannot`, and the laws about it then count as not shown.
 *
 * The laws use the real clock, and at most a few seconds each.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Formatter from "effect/Formatter"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Item } from "../Item.ts"
import * as Items from "../Item.ts"
import type { ModelErrorReason } from "../ModelError.ts"
import { ModelError } from "../ModelError.ts"
import type { Model, ModelEvent, ModelProvider, ModelRequest, ModelResponse } from "../ModelProvider.ts"
import * as Law from "./Law.ts"

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

const patience = "10 seconds"

const law = (
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
    }).pipe(
      Effect.timeoutOrElse({
        duration: patience,
        orElse: () => broken("the whole law", `an end within ${patience}`, "still running")
      })
    )
})

const broken = (operation: string, expected: string, got: unknown) =>
  Law.holds(operation, expected, false, got) as Effect.Effect<never, Law.LawBroken>

const seen = <A>(what: "received" | "aborted", value: Effect.Effect<A> | undefined): Effect.Effect<A, Law.LawBroken> =>
  value ?? broken(`subject.${what}`, `${what}, or its name in subject.cannot`, undefined)

const eventually = <A>(
  operation: string,
  expected: string,
  look: Effect.Effect<A, Law.LawBroken>,
  isThere: (value: A) => boolean
): Effect.Effect<void, Law.LawBroken> =>
  look.pipe(
    Effect.flatMap((value) => Law.holds(operation, expected, isThere(value), value)),
    Effect.retry(Schedule.spaced("10 millis").pipe(Schedule.upTo({ duration: "3 seconds" })))
  )

/** Reads so many events of a stream that brings no more. */
const first = (model: Model, count: number) =>
  Stream.runCollect(Stream.take(model.stream(hello), count)).pipe(
    Effect.map((events) => events.map((event) => isDelta(event) ? event.delta : event._tag)),
    Effect.timeoutOrElse({
      duration: "3 seconds",
      orElse: () => broken(`the first ${count} events of a stream that then hangs`, "there within 3 seconds", "nothing")
    })
  )

const hello: ModelRequest = { input: "Hello." }

const collect = (model: Model, request: ModelRequest = hello) => Stream.runCollect(model.stream(request))

const deltaTags = new Set(["TextDelta", "ReasoningDelta", "RefusalDelta", "ToolCallDelta"])

const isDelta = (event: ModelEvent): event is Extract<ModelEvent, { readonly delta: string }> =>
  deltaTags.has(event._tag)

const completions = (events: ReadonlyArray<ModelEvent>) => events.filter((event) => event._tag === "Completed")

const completedOf = (
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
const saidBy = (item: Item): Readonly<Record<string, string>> => {
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

const can = (subject: Subject, ability: Ability) => subject.cannot?.includes(ability) !== true

const scriptable = (subject: Subject): ReadonlyArray<Answer> => everyKind.filter(({ _tag }) => can(subject, _tag))

const idFields = new Set(["id", "call_id"])

const withoutIds = (item: Item): unknown =>
  Object.fromEntries(Object.entries(item).filter(([key]) => !idFields.has(key)))

const comparable = (response: ModelResponse) => ({
  model: response.model,
  output: response.output.map(withoutIds),
  usage: response.usage,
  status: response.status,
  incompleteReason: response.incompleteReason
})

const plainOf = (answer: Answer): ReadonlyArray<string> => {
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

const plainItem = (item: Item): string =>
  Items.isFunctionCall(item)
    ? `call ${item.name} ${item.arguments}`
    : Items.isReasoning(item)
    ? `reasoning ${reasoningText(item)}`
    : Items.refusal(item) !== undefined
    ? `refusal ${Items.refusal(item)}`
    : `text ${Items.text(item)}`

const failure = (operation: string, expected: string, effect: Effect.Effect<unknown, ModelError>) =>
  Effect.flatMap(Law.failure(operation, expected, effect), (error) =>
    Effect.as(
      Law.holds(operation, `${expected}, as a ModelError`, error instanceof ModelError, error),
      error
    ))

/** Reads a stream that must fail: what came before, and the failure. */
const failingStream = Effect.fnUntraced(function*(operation: string, expected: string, model: Model) {
  const events: Array<ModelEvent> = []
  const error = yield* failure(
    operation,
    expected,
    Stream.runForEach(model.stream(hello), (event) => Effect.sync(() => events.push(event)))
  )
  return { events, error }
})

const failings: ReadonlyArray<{ readonly reason: Failing; readonly isRetryable: boolean }> = [
  { reason: "RateLimited", isRetryable: true },
  { reason: "QuotaExceeded", isRetryable: false },
  { reason: "Overloaded", isRetryable: true },
  { reason: "Authentication", isRetryable: false },
  { reason: "InvalidRequest", isRetryable: false },
  { reason: "ContextLengthExceeded", isRetryable: false }
]

const parameters = { type: "object", properties: {}, required: [], additionalProperties: false } as const

const probes = (opened: Opened): ReadonlyArray<readonly [field: string, request: Omit<ModelRequest, "input">]> => [
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

const webSearch: Item = {
  type: "web_search_call",
  id: "ws_law",
  status: "completed",
  action: { type: "search", query: "laws" }
}

const each = <A>(values: ReadonlyArray<A>, f: (value: A) => Effect.Effect<void, unknown, Scope.Scope>) =>
  Effect.forEach(values, f, { discard: true })

const isFailedBy = (operation: string, reason: ModelErrorReason["_tag"], error: ModelError) =>
  Law.equal(`${operation}: reason`, error.reason._tag, reason)

/**
 * Every law of `ModelProvider`.
 *
 * @category laws
 * @since 0.1.0
 */
export const all: ReadonlyArray<Law.Law<Subject>> = [
  law(
    "respond gives the items that the model made, in order",
    [],
    ({ model, script }, subject) =>
      each(scriptable(subject), (answer) =>
        Effect.gen(function*() {
          yield* script(answer)
          const response = yield* model.respond(hello)
          yield* Law.equal(`respond to ${answer._tag}: output`, response.output.map(plainItem), plainOf(answer))
          yield* Law.equal(`respond to ${answer._tag}: status`, response.status, "completed")
        }))
  ),

  law(
    "a stream ends with exactly one Completed, as its last event",
    [],
    ({ model, script }, subject) =>
      each(scriptable(subject), (answer) =>
        Effect.gen(function*() {
          yield* script(answer)
          const events = yield* collect(model)
          yield* completedOf(`stream of ${answer._tag}`, events)
          yield* Law.equal(`stream of ${answer._tag}: number of Completed`, completions(events).length, 1)
        }))
  ),

  law(
    "respond and stream give the same response",
    [],
    ({ model, script }, subject) =>
      each(scriptable(subject), (answer) =>
        Effect.gen(function*() {
          yield* script(answer, answer)
          const whole = yield* model.respond(hello)
          const streamed = yield* completedOf(`stream of ${answer._tag}`, yield* collect(model))
          yield* Law.equal(
            `stream of ${answer._tag}, ids aside, against respond`,
            comparable(streamed),
            comparable(whole)
          )
        }))
  ),

  law(
    "the deltas of an item add up to its text, and come before it is done",
    [],
    ({ model, script }, subject) =>
      each(scriptable(subject), (answer) =>
        Effect.gen(function*() {
          yield* script(answer)
          const operation = `stream of ${answer._tag}`
          const events = yield* collect(model)
          const response = yield* completedOf(operation, events)
          const said = new Map<string, Record<string, string>>()
          let open = new Set<string>()
          for (const event of events) {
            if (isDelta(event)) {
              const item = said.get(event.itemId) ?? {}
              said.set(event.itemId, item)
              open.add(event.itemId)
              item[event._tag] = (item[event._tag] ?? "") + event.delta
            } else if (event._tag === "ItemDone") {
              const id = event.item["id"]
              open = new Set(Array.from(open).filter((one) => typeof id === "string" && one !== id))
            } else {
              yield* Law.equal(`${operation}: items whose deltas had no ItemDone`, Array.from(open), [])
            }
          }
          yield* Law.equal(
            `${operation}: deltas joined, item by item`,
            Array.from(said.values()),
            response.output.map(saidBy).filter((item) => Object.keys(item).length > 0)
          )
          for (const event of events) {
            if (event._tag !== "ToolCallDelta") continue
            yield* Law.holds(
              `${operation}: call id and name of a delta`,
              "those of a call in the response",
              response.output.some((item) =>
                Items.isFunctionCall(item) && item.call_id === event.callId && item.name === event.name
              ),
              event
            )
          }
        }))
  ),

  law(
    "every item of the response comes once as ItemDone, the same",
    [],
    ({ model, script }, subject) =>
      each(scriptable(subject), (answer) =>
        Effect.gen(function*() {
          yield* script(answer)
          const events = yield* collect(model)
          const response = yield* completedOf(`stream of ${answer._tag}`, events)
          const done = events.flatMap((event) => event._tag === "ItemDone" ? [event.item] : [])
          yield* Law.equal(
            `stream of ${answer._tag}: items of ItemDone`,
            done.map((item) => Formatter.formatJson(item)).sort(),
            response.output.map((item) => Formatter.formatJson(item)).sort()
          )
        }))
  ),

  law(
    "a stream that ends without a terminal event is a failure",
    ["Cut"],
    ({ model, script }) =>
      Effect.gen(function*() {
        yield* script({ _tag: "Cut", deltas: ["Half ", "an "] })
        const { error, events } = yield* failingStream("cut stream", "a failure", model)
        yield* isFailedBy("cut stream", "Transport", error)
        yield* Law.equal("cut stream: isRetryable", error.isRetryable, true)
        yield* Law.equal("cut stream: isPartial", error.reason.isPartial, true)
        yield* Law.equal("cut stream: number of Completed", completions(events).length, 0)
      })
  ),

  law("a failure after something was visible says so, and what was visible was delivered", ["FailLate"], ({
    model,
    script
  }) =>
    Effect.gen(function*() {
      yield* script({ _tag: "FailLate", deltas: ["Half ", "an "] })
      const { error, events } = yield* failingStream("stream that fails after two deltas", "a failure", model)
      yield* Law.equal("stream that fails after two deltas: isPartial", error.reason.isPartial, true)
      yield* Law.equal(
        "stream that fails after two deltas: events before the failure",
        events.filter(isDelta).map(({ delta }) => delta).join(""),
        "Half an "
      )
      yield* Law.equal("stream that fails after two deltas: number of Completed", completions(events).length, 0)
    })),

  law("a failure has the reason by which others decide, over respond and stream alike", ["Fail"], (
    { model, script },
    subject
  ) =>
    each(failings.filter(({ reason }) => can(subject, reason)), ({ isRetryable, reason }) =>
      Effect.gen(function*() {
        yield* script({ _tag: "Fail", reason }, { _tag: "Fail", reason })
        const respond = yield* failure(`respond, failing with ${reason}`, reason, model.respond(hello))
        const { error: stream, events } = yield* failingStream(`stream, failing with ${reason}`, reason, model)
        yield* Law.equal(`stream, failing with ${reason}: events before the failure`, events, [])
        for (const [operation, error] of [["respond", respond], ["stream", stream]] as const) {
          yield* isFailedBy(`${operation}, failing with ${reason}`, reason, error)
          yield* Law.equal(`${operation}, failing with ${reason}: isRetryable`, error.isRetryable, isRetryable)
          yield* Law.equal(`${operation}, failing with ${reason}: isPartial`, error.reason.isPartial, false)
          yield* Law.equal(`${operation}, failing with ${reason}: provider`, error.provider, model.provider)
        }
      }))),

  law(
    "a rate limit says how long to wait, where the service said so",
    ["Fail", "RateLimited"],
    ({ model, script }) =>
      Effect.gen(function*() {
        const limited: Answer = { _tag: "Fail", reason: "RateLimited", retryAfterSeconds: 2 }
        yield* script(limited, limited)
        const respond = yield* failure("respond, rate limited", "RateLimited", model.respond(hello))
        const { error: stream } = yield* failingStream("stream, rate limited", "RateLimited", model)
        for (const { reason } of [respond, stream]) {
          yield* Law.equal(
            "rate limited: retryAfter",
            reason._tag === "RateLimited" ? Formatter.format(reason.retryAfter) : reason._tag,
            Formatter.format(Duration.seconds(2))
          )
        }
      })
  ),

  law(
    "a provider answers again after a failure",
    ["Fail", "Overloaded", "Text"],
    ({ model, script }) =>
      Effect.gen(function*() {
        yield* script(
          { _tag: "Fail", reason: "Overloaded" },
          { _tag: "Text", deltas: ["first"] },
          { _tag: "Fail", reason: "Overloaded" },
          { _tag: "Text", deltas: ["second"] }
        )
        yield* failure("respond, overloaded", "Overloaded", model.respond(hello))
        const first = yield* model.respond(hello)
        yield* failingStream("stream, overloaded", "Overloaded", model)
        const second = yield* completedOf("stream after a failure", yield* collect(model))
        yield* Law.equal("answers after failures", [first, second].flatMap(({ output }) => output.map(plainItem)), [
          "text first",
          "text second"
        ])
      })
  ),

  law("interrupting respond aborts the request", ["Hang", "received", "aborted"], (opened) =>
    Effect.gen(function*() {
      yield* opened.script({ _tag: "Hang", deltas: [] })
      const fiber = yield* Effect.forkChild(opened.model.respond(hello))
      yield* eventually("respond", "a request that was received", seen("received", opened.received), ({ length }) =>
        length === 1)
      yield* Fiber.interrupt(fiber)
      const exit = yield* Fiber.await(fiber)
      yield* Law.holds("respond, interrupted", "an interruption", Exit.isFailure(exit), exit)
      yield* eventually("respond, interrupted", "1 aborted request", seen("aborted", opened.aborted), (n) =>
        n === 1)
    })),

  law(
    "interrupting who reads a stream aborts the request",
    ["Hang", "received", "aborted"],
    (opened) =>
      Effect.gen(function*() {
        yield* opened.script({ _tag: "Hang", deltas: [] })
        const fiber = yield* Effect.forkChild(collect(opened.model))
        yield* eventually(
          "stream",
          "a request that was received",
          seen("received", opened.received),
          ({ length }) => length === 1
        )
        yield* Fiber.interrupt(fiber)
        yield* eventually("stream, interrupted", "1 aborted request", seen("aborted", opened.aborted), (n) => n === 1)
      })
  ),

  law("leaving a stream early aborts the request", ["Hang", "aborted"], (opened) =>
    Effect.gen(function*() {
      yield* opened.script({ _tag: "Hang", deltas: ["one ", "two "] })
      yield* Law.equal("the first event of a stream that then hangs", yield* first(opened.model, 1), ["one "])
      yield* eventually("stream, left", "1 aborted request", seen("aborted", opened.aborted), (n) => n === 1)
    })),

  law(
    "what has arrived is delivered at once, not when the stream ends",
    ["Hang"],
    ({ model, script }) =>
      Effect.gen(function*() {
        yield* script({ _tag: "Hang", deltas: ["one ", "two "] })
        yield* Law.equal("two events of a stream that then hangs", yield* first(model, 2), ["one ", "two "])
      })
  ),

  law("a stream asks when it is run, each time anew", ["Text", "received"], (opened) =>
    Effect.gen(function*() {
      yield* opened.script({ _tag: "Text", deltas: ["first"] }, { _tag: "Text", deltas: ["second"] })
      const stream = opened.model.stream(hello)
      yield* Effect.sleep("20 millis")
      yield* Law.equal("requests before the stream is run", (yield* seen("received", opened.received)).length, 0)
      const texts: Array<string> = []
      for (const run of ["first", "second"]) {
        const response = yield* completedOf(`the ${run} run of one stream`, yield* Stream.runCollect(stream))
        texts.push(...response.output.map(plainItem))
      }
      yield* Law.equal("two runs of one stream", texts, ["text first", "text second"])
    })),

  law("concurrent requests do not mix", ["Text"], ({ model, script }) =>
    Effect.gen(function*() {
      const said = Array.from({ length: 8 }, (_, n) => Array.from({ length: 20 }, (_, k) => `${n}-${k} `))
      yield* script(...said.map((deltas): Answer => ({ _tag: "Text", deltas })))
      const texts = yield* Effect.forEach(
        said,
        (_, n) =>
          n % 2 === 0
            ? Effect.map(model.respond(hello), ({ output }) => output.map(Items.text).join(""))
            : Effect.flatMap(collect(model), (events) => {
              const deltas = events.filter(isDelta).map(({ delta }) => delta).join("")
              return Effect.flatMap(completedOf("one of 8 concurrent streams", events), ({ output }) =>
                Effect.as(
                  Law.equal("one of 8 concurrent streams: its deltas", deltas, output.map(Items.text).join("")),
                  deltas
                ))
            }),
        { concurrency: "unbounded" }
      )
      yield* Law.equal("texts of 8 concurrent requests", texts.sort(), said.map((deltas) => deltas.join("")).sort())
    })),

  law(
    "a name that the provider does not know is UnknownModel",
    [],
    ({ provider, script }, subject) =>
      Effect.gen(function*() {
        if (can(subject, "Text")) yield* script({ _tag: "Text", deltas: ["Should not be said."] })
        const name = subject.unknownModel!
        const asked = Effect.flatMap(provider.getModel(name), (model) => model.respond(hello))
        const error = yield* failure(`getModel("${name}"), then respond`, "UnknownModel", asked)
        yield* isFailedBy(`getModel("${name}"), then respond`, "UnknownModel", error)
      }),
    (subject) => subject.unknownModel === undefined ? "the subject takes every model name" : undefined
  ),

  law(
    "no field of a request is dropped silently: it arrives, or it is Unsupported",
    ["Text", "received"],
    (opened) =>
      each(probes(opened), ([field, request]) =>
        Effect.gen(function*() {
          yield* opened.script({ _tag: "Text", deltas: ["ok"] })
          const before = (yield* seen("received", opened.received)).length
          const exit = yield* Effect.exit(opened.model.respond({ ...hello, ...request }))
          if (Exit.isSuccess(exit)) {
            const received = (yield* seen("received", opened.received)).slice(before)
            return yield* Law.holds(
              `respond with ${field}`,
              `a request in which ${field} arrived, or Unsupported`,
              received.length === 1 && received[0]!.fields.includes(field),
              received.map((request) => request.fields)
            )
          }
          const error = yield* failure(`respond with ${field}`, "success or Unsupported", exit)
          const { reason } = error
          yield* Law.holds(
            `respond with ${field}`,
            `success, or Unsupported with feature ${field}`,
            reason._tag === "Unsupported" && field.startsWith(reason.feature),
            error.message
          )
          yield* opened.model.respond(hello)
        }))
  ),

  law(
    "a response can be gone on from by its id, or that is Unsupported",
    ["Text", "received"],
    (opened) =>
      Effect.gen(function*() {
        yield* opened.script({ _tag: "Text", deltas: ["first"] }, { _tag: "Text", deltas: ["second"] })
        const first = yield* opened.model.respond(hello)
        if (first.id === undefined) return
        const exit = yield* Effect.exit(opened.model.respond({ input: "And then?", previousResponseId: first.id }))
        if (Exit.isSuccess(exit)) {
          const received = yield* seen("received", opened.received)
          return yield* Law.holds(
            "respond with previousResponseId",
            "a request in which previousResponseId arrived",
            received.at(-1)?.fields.includes("previousResponseId") === true,
            received.at(-1)
          )
        }
        const error = yield* failure("respond with previousResponseId", "success or Unsupported", exit)
        yield* isFailedBy("respond with previousResponseId", "Unsupported", error)
      })
  ),

  law("text as input is the same as one user message", ["Text", "received"], (opened) =>
    Effect.gen(function*() {
      yield* opened.script({ _tag: "Text", deltas: ["one"] }, { _tag: "Text", deltas: ["two"] })
      yield* opened.model.respond({ input: "Hello." })
      yield* opened.model.respond({ input: [Items.user("Hello.")] })
      const received = yield* seen("received", opened.received)
      const texts = received.map(({ input }) => input.map((item) => Items.isItem(item) ? plainItem(item) : item))
      yield* Law.equal("input of both requests", texts, [["text Hello."], ["text Hello."]])
    })),

  law("usage is what the service counted, and adds up", ["Text"], ({ model, script }) =>
    Effect.gen(function*() {
      const tokens = { input: 120, output: 34, cached: 100, reasoning: 14 }
      const answer: Answer = { _tag: "Text", deltas: ["ok"], tokens }
      yield* script(answer, answer)
      const expected = {
        requests: 1,
        inputTokens: 120,
        outputTokens: 34,
        totalTokens: 154,
        cachedTokens: 100,
        reasoningTokens: 14
      }
      yield* Law.equal("respond: usage", (yield* model.respond(hello)).usage, expected)
      const streamed = yield* completedOf("stream", yield* collect(model))
      yield* Law.equal("stream: usage", streamed.usage, expected)
    })),

  law("every tool call has an id of its own", ["Calls"], ({ model, script }) =>
    Effect.gen(function*() {
      const answer: Answer = {
        _tag: "Calls",
        calls: [{ name: "f", arguments: "{}" }, { name: "f", arguments: "{}" }]
      }
      yield* script(answer, answer)
      const one = yield* model.respond(hello)
      const two = yield* completedOf("stream", yield* collect(model))
      const ids = [one, two].flatMap(({ output }) =>
        output.map((item) => Items.isFunctionCall(item) ? item.call_id : "")
      )
      yield* Law.holds(
        "call ids of two responses with two calls each",
        "4 ids, none empty, all different",
        ids.length === 4 && !ids.includes("") && new Set(ids).size === 4,
        ids
      )
    })),

  law("a conversation with tool calls can go on", ["Calls", "Text"], ({ model, script }) =>
    Effect.gen(function*() {
      yield* script(
        {
          _tag: "Calls",
          text: "I look.",
          calls: [{ name: "f", arguments: `{"a":1}` }, { name: "g", arguments: "{}" }]
        },
        { _tag: "Text", deltas: ["Done."] }
      )
      const history: Array<Item> = [Items.user("Hello.")]
      const first = yield* model.respond({ input: history })
      history.push(...first.output)
      for (const item of first.output) {
        if (Items.isFunctionCall(item)) history.push(Items.functionCallOutput(item.call_id, `result of ${item.name}`))
      }
      const second = yield* model.respond({ input: history })
      yield* Law.equal("the answer after two tool calls", second.output.map(plainItem), ["text Done."])
    })),

  law("items of a type that nobody here knows go both ways untouched", ["Items", "Text", "received"], (
    opened,
    subject
  ) =>
    Effect.gen(function*() {
      const foreign = subject.foreignItem ?? webSearch
      yield* opened.script({ _tag: "Items", items: [foreign, Items.assistant("Found.")] }, {
        _tag: "Text",
        deltas: ["ok"]
      })
      const response = yield* completedOf("stream of a foreign item", yield* collect(opened.model))
      const same = (item: unknown) => Items.isItem(item) && item.type === foreign.type
      yield* Law.equal("a foreign item in the response", response.output.filter(same), [foreign])
      yield* opened.model.respond({ input: [Items.user("Hello."), ...response.output, Items.user("And?")] })
      const received = yield* seen("received", opened.received)
      yield* Law.equal(
        "a foreign item in the next request, its id aside",
        received.at(-1)?.input.filter(same).map((item) => withoutIds(item as Item)),
        [withoutIds(foreign)]
      )
    })),

  law(
    "an answer that was cut off is incomplete, and no failure",
    ["Incomplete"],
    ({ model, script }) =>
      Effect.gen(function*() {
        const answer: Answer = { _tag: "Incomplete", deltas: ["Half ", "an "] }
        yield* script(answer, answer)
        const whole = yield* model.respond(hello)
        const streamed = yield* completedOf("stream", yield* collect(model))
        for (const [operation, response] of [["respond", whole], ["stream", streamed]] as const) {
          yield* Law.equal(
            `${operation}, cut off by the output limit`,
            [response.status, response.incompleteReason, response.output.map(plainItem)],
            ["incomplete", "max_output_tokens", ["text Half an "]]
          )
        }
      })
  )
]
