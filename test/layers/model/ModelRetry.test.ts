import { assert, describe, it } from "@effect/vitest"
import * as ModelOpenAIChat from "agent-layers/layers/model/ModelOpenAIChat"
import * as ModelRetry from "agent-layers/layers/model/ModelRetry"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import * as ModelError from "agent-layers/services/ModelError"
import { Duration, Effect, Fiber, Layer, Redacted, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import { describeLaws } from "../../support/laws.ts"
import * as OpenAiPeer from "../../support/openai/OpenAiPeer.ts"
import { failing, failure, hello, modelOf, run, scripted, stack, subject, textOf } from "./support.ts"

describeLaws(
  "ModelRetry over ModelScripted, retrying",
  ModelProviderLaws.all,
  { ...subject(stack(ModelRetry.layer())), cannot: ["RateLimited", "Overloaded"] },
  {
    notShown: [
      "a rate limit says how long to wait, where the service said so",
      "a provider answers again after a failure"
    ]
  }
)

describeLaws(
  "ModelRetry over ModelScripted, retrying nothing",
  ModelProviderLaws.all,
  subject(stack(ModelRetry.layer({ while: () => false })))
)

const every = Schedule.spaced("1 second")

const retrying = Effect.fnUntraced(function*(
  options: ModelRetry.ModelRetryOptions,
  ...steps: ReadonlyArray<ModelScripted.Step>
) {
  const inner = yield* scripted(...steps)
  const model = yield* modelOf(Layer.provide(ModelRetry.layer(options), inner.layer))
  return { inner: inner.model, model }
})

describe("ModelRetry", () => {
  it.effect("asks again, waits as the schedule says, and counts the requests that failed", () =>
    Effect.gen(function*() {
      const { inner, model } = yield* retrying(
        { schedule: every },
        failing.overloaded(),
        failing.overloaded(),
        ModelScripted.text("third"),
        failing.overloaded(),
        ModelScripted.text("second")
      )
      const fiber = yield* Effect.forkChild(model.respond(hello))
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual((yield* inner.requests).length, 2)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).usage.requests, 3)

      const streaming = yield* Effect.forkChild(run(model))
      yield* TestClock.adjust("1 second")
      const { events } = yield* Fiber.join(streaming)
      const last = events.at(-1)!
      assert(last._tag === "Completed")
      assert.strictEqual(last.response.usage.requests, 2)
      assert.strictEqual(textOf(events), "second")
    }))

  it.effect("by default 4 times after about 0.5, 1, 2 and 4 seconds, and fails with the last failure", () =>
    Effect.gen(function*() {
      const { inner, model } = yield* retrying(
        {},
        ...Array.from({ length: 6 }, (_, n) => failing.overloaded(`no. ${n}`))
      )
      const fiber = yield* Effect.forkChild(Effect.exit(model.respond(hello)))
      yield* TestClock.adjust("5900 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("3200 millis")
      const error = failure(yield* Fiber.join(fiber))
      assert.strictEqual(error.reason.description, "no. 4")
      assert.strictEqual((yield* inner.requests).length, 5)
    }))

  it.effect("waits for retryAfter where the schedule says less, up to a limit", () =>
    Effect.gen(function*() {
      const limited = (retryAfter: Duration.Input) =>
        ModelScripted.fail(
          new ModelError.RateLimited({ description: "slow down", retryAfter: Duration.fromInputUnsafe(retryAfter) })
        )
      const { inner, model } = yield* retrying(
        { schedule: every, maxRetryAfter: "30 seconds" },
        limited("20 seconds"),
        limited("100 millis"),
        ModelScripted.text("ok"),
        limited("31 seconds")
      )
      const fiber = yield* Effect.forkChild(model.respond(hello))
      yield* TestClock.adjust("19999 millis")
      assert.strictEqual((yield* inner.requests).length, 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* inner.requests).length, 2)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      const error = failure(yield* Effect.exit(model.respond(hello)))
      assert.strictEqual(error.reason._tag, "RateLimited")
    }))

  it.effect("never after something was visible", () =>
    Effect.gen(function*() {
      const { inner, model } = yield* retrying({ schedule: every }, failing.late(["half ", "an "]))
      const { events, exit } = yield* run(model)
      assert.strictEqual(textOf(events), "half an ")
      assert.isTrue(failure(exit).reason.isPartial)
      assert.strictEqual((yield* inner.requests).length, 1)
    }))

  it.effect("only what may pass, and what `while` lets pass", () =>
    Effect.gen(function*() {
      const { inner, model } = yield* retrying(
        { schedule: every, while: ({ reason }) => reason._tag !== "Overloaded" },
        ModelScripted.fail(new ModelError.Authentication({ description: "wrong key" })),
        ModelScripted.fail(new ModelError.QuotaExceeded({ description: "no credit" })),
        failing.overloaded()
      )
      for (const tag of ["Authentication", "QuotaExceeded", "Overloaded"]) {
        assert.strictEqual(failure(yield* Effect.exit(model.respond(hello))).reason._tag, tag)
      }
      assert.strictEqual((yield* inner.requests).length, 3)
    }))

  it.effect("a conversation that the provider keeps gets a request again only where it was not begun", () =>
    Effect.gen(function*() {
      const cut = ModelScripted.fail(new ModelError.Transport({ description: "cut" }))
      const { inner, model } = yield* retrying({ schedule: every }, cut, failing.overloaded(), ModelScripted.text("ok"))
      const request = { ...hello, conversationId: "conv_1" }
      assert.strictEqual(failure(yield* Effect.exit(model.respond(request))).reason._tag, "Transport")
      const fiber = yield* Effect.forkChild(model.respond(request))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.strictEqual((yield* inner.requests).length, 3)
    }))

  it.effect("interruption ends the wait", () =>
    Effect.gen(function*() {
      const { inner, model } = yield* retrying({ schedule: every }, failing.overloaded(), ModelScripted.text("never"))
      const fiber = yield* Effect.forkChild(Stream.runDrain(model.stream(hello)))
      yield* TestClock.adjust("500 millis")
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* inner.requests).length, 1)
    }))

  it.live("500, then 429 with retry-after as seconds and as a date, then an answer, over a server", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const provider = ModelOpenAIChat.layer({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-5" })
      const model = yield* modelOf(
        Layer.provide(ModelRetry.layer({ schedule: Schedule.spaced("5 millis") }), provider)
      )
      yield* peer.enqueue(
        OpenAiPeer.serverError(500),
        OpenAiPeer.rateLimited({ retryAfter: 1 }),
        OpenAiPeer.text("ok")
      )
      const began = performance.now()
      const response = yield* model.respond(hello)
      assert.isAtLeast(performance.now() - began, 990)
      assert.strictEqual(response.usage.requests, 3)

      // A date has no milliseconds: the second after the next is at least a second away.
      const date = new Date(Date.now() + 2000).toUTCString()
      yield* peer.enqueue(
        OpenAiPeer.httpError(429, { message: "slow down" }, { headers: { "retry-after": date } }),
        OpenAiPeer.text("ok")
      )
      const then = performance.now()
      const { events } = yield* run(model)
      assert.strictEqual(textOf(events), "ok")
      assert.isAtLeast(performance.now() - then, 900)
      assert.strictEqual(peer.requests.length, 5)
    }))
})
