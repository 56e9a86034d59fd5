import { assert, describe, it } from "@effect/vitest"
import * as Item from "agent-layers/services/Item"
import * as Law from "agent-layers/services/laws/Law"
import * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import * as ModelError from "agent-layers/services/ModelError"
import type { Model, ModelEvent, ModelProvider, ModelRequest, ModelResponse } from "agent-layers/services/ModelProvider"
import { type Cause, Duration, Effect, Fiber, Queue, Stream } from "effect"
import { subject } from "../layers/model/scriptedSubject.ts"
import { describeLaws } from "../support/laws.ts"

type Provider = ModelProvider["Service"]

describeLaws("a subject that can do next to nothing", ModelProviderLaws.all, {
  ...subject(),
  unknownModel: undefined,
  cannot: ["received", "aborted", "Reasoning", "Cut", "RateLimited"]
}, {
  notShown: [
    "a stream that ends without a terminal event is a failure",
    "a rate limit says how long to wait, where the service said so",
    "interrupting respond aborts the request",
    "interrupting who reads a stream aborts the request",
    "leaving a stream early aborts the request",
    "a stream asks when it is run, each time anew",
    "a name that the provider does not know is UnknownModel",
    "no field of a request is dropped silently: it arrives, or it is Unsupported",
    "a response can be gone on from by its id, or that is Unsupported",
    "text as input is the same as one user message",
    "items of a type that nobody here knows go both ways untouched"
  ]
})

const changeModel = (f: (model: Model) => Partial<Model>) => (provider: Provider): Provider => ({
  getModel: (name) => Effect.map(provider.getModel(name), (model) => ({ ...model, ...f(model) }))
})

const changeEvents = (f: (events: Stream.Stream<ModelEvent, ModelError.ModelError>) => typeof events) =>
  changeModel((model) => ({ stream: (request) => f(model.stream(request)) }))

const mapEvents = (f: (event: ModelEvent) => ReadonlyArray<ModelEvent>) =>
  changeEvents((events) => Stream.flatMap(events, (event) => Stream.fromIterable(f(event))))

const mapResponse = (f: (response: ModelResponse) => ModelResponse) =>
  changeModel((model) => ({
    respond: (request) => Effect.map(model.respond(request), f),
    stream: (request) =>
      Stream.map(model.stream(request), (event) =>
        event._tag === "Completed" ? { _tag: "Completed", response: f(event.response) } : event)
  }))

const changeRequest = (f: (request: ModelRequest) => ModelRequest) =>
  changeModel((model) => ({
    respond: (request) => model.respond(f(request)),
    stream: (request) => model.stream(f(request))
  }))

const mapReason = (f: (error: ModelError.ModelError) => ModelError.ModelErrorReason) => {
  const change = (error: ModelError.ModelError) =>
    new ModelError.ModelError({ provider: error.provider, model: error.model, reason: f(error) })
  return changeModel((model) => ({
    respond: (request) => Effect.mapError(model.respond(request), change),
    stream: (request) => Stream.mapError(model.stream(request), change)
  }))
}

const withFields = (
  error: ModelError.ModelError,
  fields: { readonly isPartial?: boolean; readonly retryAfter?: Duration.Duration | undefined }
): ModelError.ModelErrorReason => {
  const Reason = error.reason.constructor as new(fields: object) => ModelError.ModelErrorReason
  return new Reason({ description: error.reason.description, isPartial: error.reason.isPartial, ...fields })
}

/** Keeps a request alive that its caller has given up. */
const detached = changeModel((model) => ({
  respond: (request) => Effect.flatMap(Effect.forkDetach(model.respond(request)), Fiber.join),
  stream: (request) =>
    Stream.unwrap(Effect.gen(function*() {
      const queue = yield* Queue.unbounded<ModelEvent, ModelError.ModelError | Cause.Done>()
      yield* Effect.forkDetach(Stream.runIntoQueue(model.stream(request), queue))
      return Stream.fromQueue(queue)
    }))
}))

interface Double {
  readonly change: (provider: Provider) => Provider
  readonly breaks: ReadonlyArray<string>
}

const doubles: { readonly [name: string]: Double } = {
  "drops the last item": {
    change: mapResponse((response) => ({ ...response, output: response.output.slice(0, -1) })),
    breaks: ["respond gives the items that the model made, in order"]
  },
  "says nothing at the end": {
    change: mapEvents((event) => event._tag === "Completed" ? [] : [event]),
    breaks: ["a stream ends with exactly one Completed, as its last event"]
  },
  "completes twice": {
    change: mapEvents((event) => event._tag === "Completed" ? [event, event] : [event]),
    breaks: ["a stream ends with exactly one Completed, as its last event"]
  },
  "says more after the end": {
    change: mapEvents((event) =>
      event._tag === "Completed" ? [event, { _tag: "TextDelta", itemId: "late", delta: "x" }] : [event]
    ),
    breaks: ["a stream ends with exactly one Completed, as its last event"]
  },
  "streams a different usage": {
    change: mapEvents((event) =>
      event._tag === "Completed"
        ? [{ ...event, response: { ...event.response, usage: { ...event.response.usage, outputTokens: 0 } } }]
        : [event]
    ),
    breaks: ["respond and stream give the same response", "usage is what the service counted, and adds up"]
  },
  "loses a delta": {
    change: (provider) => {
      let seen = 0
      return mapEvents((event) => event._tag.endsWith("Delta") && ++seen % 2 === 0 ? [] : [event])(provider)
    },
    breaks: ["the deltas of an item add up to its text, and come before it is done"]
  },
  "splits by bytes": {
    change: mapEvents((event) =>
      event._tag === "TextDelta"
        ? [{ ...event, delta: Buffer.from(Buffer.from(event.delta).toString("latin1"), "latin1").toString("ascii") }]
        : [event]
    ),
    breaks: ["the deltas of an item add up to its text, and come before it is done"]
  },
  "names no tool in the deltas of a call": {
    change: mapEvents((event) => event._tag === "ToolCallDelta" ? [{ ...event, name: "" }] : [event]),
    breaks: ["the deltas of an item add up to its text, and come before it is done"]
  },
  "sends deltas after their item was done": {
    change: (provider) => {
      let held: Array<ModelEvent> = []
      return mapEvents((event) => {
        if (event._tag.endsWith("Delta")) {
          held.push(event)
          return []
        }
        if (event._tag === "ItemDone") return [event]
        const late = held
        held = []
        return [...late, event]
      })(provider)
    },
    breaks: ["the deltas of an item add up to its text, and come before it is done"]
  },
  "leaves items out of ItemDone": {
    change: mapEvents((event) => event._tag === "ItemDone" ? [] : [event]),
    breaks: ["every item of the response comes once as ItemDone, the same"]
  },
  "takes an end for a success": {
    change: changeEvents((events) => Stream.catch(events, () => Stream.empty)),
    breaks: [
      "a stream that ends without a terminal event is a failure",
      "a failure after something was visible says so, and what was visible was delivered"
    ]
  },
  "never says isPartial": {
    change: mapReason((error) => withFields(error, { isPartial: false })),
    breaks: [
      "a stream that ends without a terminal event is a failure",
      "a failure after something was visible says so, and what was visible was delivered"
    ]
  },
  "always says isPartial": {
    change: mapReason((error) => withFields(error, { isPartial: true })),
    breaks: ["a failure has the reason by which others decide, over respond and stream alike"]
  },
  "keeps back what it has until the end": {
    change: changeEvents((events) =>
      Stream.unwrap(Effect.map(Stream.runCollect(events), (all) => Stream.fromIterable(all)))
    ),
    breaks: [
      "a failure after something was visible says so, and what was visible was delivered",
      "what has arrived is delivered at once, not when the stream ends",
      "leaving a stream early aborts the request"
    ]
  },
  "calls every failure a lost connection": {
    change: mapReason((error) => new ModelError.Transport({ description: "?", isPartial: error.reason.isPartial })),
    breaks: ["a failure has the reason by which others decide, over respond and stream alike"]
  },
  "dies instead of failing": {
    change: changeModel((model) => ({ respond: (request) => Effect.orDie(model.respond(request)) })),
    breaks: ["a failure has the reason by which others decide, over respond and stream alike"]
  },
  "forgets how long to wait": {
    change: mapReason((error) =>
      error.reason._tag === "RateLimited" ? withFields(error, { retryAfter: undefined }) : error.reason
    ),
    breaks: ["a rate limit says how long to wait, where the service said so"]
  },
  "fails for good after the first failure": {
    change: (provider) => {
      let failed: ModelError.ModelError | undefined
      return changeModel((model) => ({
        respond: (request) =>
          Effect.suspend(() =>
            failed === undefined
              ? Effect.tapError(model.respond(request), (error) =>
                Effect.sync(() => {
                  failed = error
                }))
              : Effect.fail(failed)
          )
      }))(provider)
    },
    breaks: ["a provider answers again after a failure"]
  },
  "does not abort": {
    change: detached,
    breaks: [
      "interrupting respond aborts the request",
      "interrupting who reads a stream aborts the request",
      "leaving a stream early aborts the request"
    ]
  },
  "asks before the stream is run": {
    change: changeModel((model) => ({
      stream: (request) => {
        const events = Effect.runSync(Stream.runCollect(model.stream(request)))
        return Stream.fromIterable(events)
      }
    })),
    breaks: ["a stream asks when it is run, each time anew"]
  },
  "mixes concurrent streams": {
    change: (provider) => {
      let last = ""
      return changeEvents((events) =>
        Stream.mapEffect(events, (event): Effect.Effect<ModelEvent> => {
          if (event._tag === "TextDelta") {
            last = event.delta
            return Effect.map(Effect.yieldNow, () => ({ ...event, delta: last }))
          }
          return Effect.succeed(event)
        })
      )(provider)
    },
    breaks: ["concurrent requests do not mix"]
  },
  "answers for any name": {
    change: (provider) => ({ getModel: () => provider.getModel() }),
    breaks: ["a name that the provider does not know is UnknownModel"]
  },
  "drops settings": {
    change: changeRequest((request) => ({ ...request, settings: undefined })),
    breaks: ["no field of a request is dropped silently: it arrives, or it is Unsupported"]
  },
  "drops the prompt": {
    change: changeRequest((request) => ({ ...request, prompt: undefined })),
    breaks: ["no field of a request is dropped silently: it arrives, or it is Unsupported"]
  },
  "blames the wrong field": {
    change: (provider) => ({
      getModel: (name) =>
        Effect.map(provider.getModel(name), (model) => ({
          ...model,
          respond: (request) =>
            request.prompt === undefined ? model.respond(request) : Effect.fail(
              new ModelError.ModelError({
                provider: model.provider,
                reason: new ModelError.Unsupported({ description: "no", feature: "settings" })
              })
            )
        }))
    }),
    breaks: ["no field of a request is dropped silently: it arrives, or it is Unsupported"]
  },
  "drops the previous response": {
    change: changeRequest((request) => ({ ...request, previousResponseId: undefined })),
    breaks: ["a response can be gone on from by its id, or that is Unsupported"]
  },
  "sends text as the developer's": {
    change: changeRequest((request) =>
      typeof request.input === "string" ? { ...request, input: [Item.developer(`${request.input}!`)] } : request
    ),
    breaks: ["text as input is the same as one user message"]
  },
  "counts reasoning twice": {
    change: mapResponse((response) => ({
      ...response,
      usage: { ...response.usage, totalTokens: response.usage.totalTokens + response.usage.reasoningTokens }
    })),
    breaks: ["usage is what the service counted, and adds up"]
  },
  "gives every call one id": {
    change: mapResponse((response) => ({
      ...response,
      output: response.output.map((item) => Item.isFunctionCall(item) ? { ...item, call_id: "call_0" } : item)
    })),
    breaks: ["every tool call has an id of its own"]
  },
  "loses the outputs of tools": {
    change: changeRequest((request) =>
      typeof request.input === "string"
        ? request
        : { ...request, input: request.input.filter((item) => !Item.isFunctionCallOutput(item)) }
    ),
    breaks: ["a conversation with tool calls can go on"]
  },
  "leaves out what it does not know, coming in": {
    change: mapResponse((response) => ({
      ...response,
      output: response.output.filter((item) => item.type !== "web_search_call")
    })),
    breaks: ["items of a type that nobody here knows go both ways untouched"]
  },
  "leaves out what it does not know, going out": {
    change: changeRequest((request) =>
      typeof request.input === "string"
        ? request
        : { ...request, input: request.input.filter((item) => item.type !== "web_search_call") }
    ),
    breaks: ["items of a type that nobody here knows go both ways untouched"]
  },
  "takes a half answer for a whole one": {
    change: mapResponse((response) => ({ ...response, status: "completed", incompleteReason: undefined })),
    breaks: ["an answer that was cut off is incomplete, and no failure"]
  }
}

describe.concurrent("ModelProviderLaws find out a provider that", () => {
  for (const [name, { breaks, change }] of Object.entries(doubles)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const laws = ModelProviderLaws.all.filter((law) => breaks.includes(law.name))
        assert.lengthOf(laws, breaks.length)
        const outcomes = yield* Effect.forEach(laws, (law) =>
          Law.verify(law, subject(change), { patience: "1 second" }), {
          concurrency: "unbounded"
        })
        for (const [index, outcome] of outcomes.entries()) {
          assert.strictEqual(outcome._tag, "Broken", laws[index]!.name)
          if (outcome._tag === "Broken") {
            assert.include(outcome.report, laws[index]!.name)
          }
        }
      }))
  }

  it("breaks every law at least once", () => {
    const broken = new Set(Object.values(doubles).flatMap(({ breaks }) => breaks))
    assert.deepStrictEqual(ModelProviderLaws.all.map(({ name }) => name).filter((name) => !broken.has(name)), [])
  })
})
