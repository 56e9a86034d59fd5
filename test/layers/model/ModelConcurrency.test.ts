import { assert, describe, it } from "@effect/vitest"
import * as ModelConcurrency from "agent-layers/layers/model/ModelConcurrency"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import { Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { describeLaws } from "../../support/laws.ts"
import { failing, hello, modelOf, run, scripted, stack, subject, textOf } from "./support.ts"

describeLaws(
  "ModelConcurrency over ModelScripted",
  ModelProviderLaws.all,
  subject(stack(ModelConcurrency.layer({ maxRequests: 2 })))
)

const limited = Effect.fnUntraced(function*(maxRequests: number, ...steps: ReadonlyArray<ModelScripted.Step>) {
  const inner = yield* scripted(...steps)
  const model = yield* modelOf(Layer.provide(ModelConcurrency.layer({ maxRequests }), inner.layer))
  const asked = Effect.map(inner.model.requests, ({ length }) => length)
  return { asked, inner: inner.model, model }
})

describe("ModelConcurrency", () => {
  it.effect("so many at once, over both ways of asking; the others wait", () =>
    Effect.gen(function*() {
      const slow = ModelScripted.delayed("10 seconds", ModelScripted.text("ok"))
      const { asked, model } = yield* limited(2, slow, slow, slow, slow)
      const fibers = [
        yield* Effect.forkChild(model.respond(hello)),
        yield* Effect.forkChild(run(model)),
        yield* Effect.forkChild(run(model)),
        yield* Effect.forkChild(model.respond(hello))
      ]
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual(yield* asked, 2)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* asked, 4)
      yield* TestClock.adjust("10 seconds")
      yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber as Fiber.Fiber<unknown, unknown>))
    }))

  it.effect("a place is given back however a request ends: failed, left, interrupted while it waits or is answered", () =>
    Effect.gen(function*() {
      const { inner, model } = yield* limited(
        1,
        failing.overloaded(),
        failing.late(["half "]),
        ModelScripted.hang({ of: ModelScripted.text(["one ", "two "]), after: 2 }),
        ModelScripted.hang(),
        ModelScripted.text("ok")
      )
      yield* Effect.exit(model.respond(hello))
      yield* run(model)
      assert.strictEqual(textOf(yield* Stream.runCollect(Stream.take(model.stream(hello), 1))), "one ")
      const hanging = yield* Effect.forkChild(model.respond(hello))
      yield* TestClock.adjust("1 second")
      const waiting = yield* Effect.forkChild(run(model))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(hanging)
      assert.strictEqual(textOf((yield* run(model)).events), "ok")
      assert.strictEqual(yield* inner.remaining, 0)
    }))
})
