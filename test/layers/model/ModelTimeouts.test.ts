import { assert, describe, it } from "@effect/vitest"
import * as ModelOpenAIChat from "agent-layers/layers/model/ModelOpenAIChat"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as ModelTimeouts from "agent-layers/layers/model/ModelTimeouts"
import * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import { Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { TestClock } from "effect/testing"
import { describeLaws } from "../../support/laws.ts"
import * as OpenAiPeer from "../../support/openai/OpenAiPeer.ts"
import { failure, hello, modelOf, run, scripted, stack, subject, textOf } from "./support.ts"

describeLaws("ModelTimeouts over ModelScripted", ModelProviderLaws.all, subject(stack(ModelTimeouts.layer())))

const limits = { firstEvent: "30 seconds", idle: "10 seconds", total: "1 minute" } as const

const limited = Effect.fnUntraced(function*(
  options: ModelTimeouts.ModelTimeoutsOptions,
  ...steps: ReadonlyArray<ModelScripted.Step>
) {
  const inner = yield* scripted(...steps)
  const model = yield* modelOf(Layer.provide(ModelTimeouts.layer(options), inner.layer))
  return { inner: inner.model, model }
})

describe("ModelTimeouts", () => {
  it.effect("a first event that does not come: nothing was visible, and the request is aborted", () =>
    Effect.gen(function*() {
      const { inner, model } = yield* limited(limits, ModelScripted.hang())
      const fiber = yield* Effect.forkChild(run(model))
      yield* TestClock.adjust("29999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const { reason } = failure((yield* Fiber.join(fiber)).exit)
      assert.strictEqual(reason._tag, "Timeout")
      assert.strictEqual(reason.description, "no first event within 30s")
      assert.isFalse(reason.isPartial)
      assert.isTrue(reason.isRetryable)
      assert.strictEqual(yield* inner.aborted, 1)
    }))

  it.effect("a next event that does not come: something was visible", () =>
    Effect.gen(function*() {
      const { inner, model } = yield* limited(
        limits,
        ModelScripted.hang({ of: ModelScripted.text(["one ", "two "]), after: 2 })
      )
      const fiber = yield* Effect.forkChild(run(model))
      yield* TestClock.adjust("10 seconds")
      const { events, exit } = yield* Fiber.join(fiber)
      const { reason } = failure(exit)
      assert.strictEqual(textOf(events), "one two ")
      assert.strictEqual(reason.description, "no further event within 10s")
      assert.isTrue(reason.isPartial)
      assert.strictEqual(yield* inner.aborted, 1)
    }))

  it.effect("a stream that goes on for ever, and one whose reader takes its time", () =>
    Effect.gen(function*() {
      const words = Array.from({ length: 20 }, (_, n) => `${n} `)
      const slow = ModelScripted.text(words, { pause: "9 seconds" })
      const { model } = yield* limited(limits, slow, slow)
      const fiber = yield* Effect.forkChild(run(model))
      yield* TestClock.adjust("1 minute")
      const { reason } = failure((yield* Fiber.join(fiber)).exit)
      assert.strictEqual(reason.description, "no whole answer within 1m")
      assert.isTrue(reason.isPartial)

      const unhurried = yield* limited({ ...limits, total: "Infinity" }, ModelScripted.text(["a", "b", "c"]))
      const reading = yield* Effect.forkChild(
        Stream.runForEach(unhurried.model.stream(hello), () => Effect.sleep("1 hour"))
      )
      yield* TestClock.adjust("1 day")
      yield* Fiber.join(reading)
    }))

  it.effect("respond is held to the whole", () =>
    Effect.gen(function*() {
      const { inner, model } = yield* limited(limits, ModelScripted.hang())
      const fiber = yield* Effect.forkChild(Effect.exit(model.respond(hello)))
      yield* TestClock.adjust("59999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const { reason } = failure(yield* Fiber.join(fiber))
      assert.strictEqual(reason._tag, "Timeout")
      assert.isFalse(reason.isPartial)
      assert.strictEqual(yield* inner.aborted, 1)
    }))

  it.live("a slow first byte and a stall, over a server that sees its request aborted", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const provider = ModelOpenAIChat.layer({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-5" })
      const model = yield* modelOf(
        Layer.provide(ModelTimeouts.layer({ firstEvent: "2 seconds", idle: "1 second" }), provider)
      )
      yield* peer.enqueue(
        OpenAiPeer.text("late", { delayHeaders: 60_000 }),
        OpenAiPeer.text(["one ", "two "], { hangAfterEvents: 3 })
      )
      const slow = yield* run(model)
      assert.strictEqual(failure(slow.exit).reason.description, "no first event within 2s")
      const stalled = yield* run(model)
      assert.strictEqual(textOf(stalled.events), "one two ")
      assert.isTrue(failure(stalled.exit).reason.isPartial)
      yield* peer.awaitAborted(2)
    }))
})
