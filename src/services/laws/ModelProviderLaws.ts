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
import * as Stream from "effect/Stream"
import type { Item } from "../Item.ts"
import * as Items from "../Item.ts"
import type { Answer, Subject } from "./internal/modelProviderSubject.ts"
import {
  can,
  collect,
  comparable,
  completedOf,
  completions,
  each,
  failings,
  failingStream,
  failure,
  first,
  hello,
  isDelta,
  isFailedBy,
  law,
  plainItem,
  plainOf,
  probes,
  saidBy,
  scriptable,
  seen,
  webSearch,
  withoutIds
} from "./internal/modelProviderSubject.ts"
import * as Law from "./Law.ts"

export type { Ability, Answer, Failing, Opened, Received, Subject, Tokens } from "./internal/modelProviderSubject.ts"

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
      yield* Law.eventually("respond", "a request that was received", seen("received", opened.received), ({ length }) =>
        length === 1)
      yield* Fiber.interrupt(fiber)
      const exit = yield* Fiber.await(fiber)
      yield* Law.holds("respond, interrupted", "an interruption", Exit.isFailure(exit), exit)
      yield* Law.eventually("respond, interrupted", "1 aborted request", seen("aborted", opened.aborted), (n) =>
        n === 1)
    })),

  law(
    "interrupting who reads a stream aborts the request",
    ["Hang", "received", "aborted"],
    (opened) =>
      Effect.gen(function*() {
        yield* opened.script({ _tag: "Hang", deltas: [] })
        const fiber = yield* Effect.forkChild(collect(opened.model))
        yield* Law.eventually(
          "stream",
          "a request that was received",
          seen("received", opened.received),
          ({ length }) => length === 1
        )
        yield* Fiber.interrupt(fiber)
        yield* Law.eventually(
          "stream, interrupted",
          "1 aborted request",
          seen("aborted", opened.aborted),
          (n) => n === 1
        )
      })
  ),

  law("leaving a stream early aborts the request", ["Hang", "aborted"], (opened) =>
    Effect.gen(function*() {
      yield* opened.script({ _tag: "Hang", deltas: ["one ", "two "] })
      yield* Law.equal("the first event of a stream that then hangs", yield* first(opened.model, 1), ["one "])
      yield* Law.eventually("stream, left", "1 aborted request", seen("aborted", opened.aborted), (n) => n === 1)
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
      yield* Law.stays(
        "a stream that is not run yet",
        "no request",
        seen("received", opened.received),
        ({ length }) => length === 0,
        "50 millis"
      )
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
