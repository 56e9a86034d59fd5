import { assert, describe, it } from "@effect/vitest"
import { Agent, Item, ModelScripted, Runner, Session, SessionMemory } from "agent-layers"
import { Cause, Deferred, Effect, Exit, Fiber, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { TestClock } from "effect/testing"
import { runAs, ways } from "./support.ts"

const Work = Tool.make("work", { success: Schema.Number, failure: Schema.String })
const kit = Toolkit.make(Work)

const errorOf = (exit: Exit.Exit<unknown, any>): any =>
  Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined

const once = () => ModelScripted.layer([ModelScripted.toolCall("work"), ModelScripted.text("Done.")])

for (const way of ways) {
  describe(`options by ${way}`, () => {
    it.effect("refuse a run on a busy conversation before the model is asked, or let it wait", () =>
      Effect.gen(function*() {
        const agent = Agent.make({ name: "a" })
        const first = yield* Effect.forkChild(runAs(way, agent, "one", { conversationId: "c" }))
        yield* TestClock.adjust("1 millis")
        const { reason } = errorOf(yield* Effect.exit(runAs(way, agent, "two", { conversationId: "c" })))
        assert.strictEqual(reason._tag, "ConversationBusy")
        const waiting = yield* Effect.forkChild(runAs(way, agent, "three", { conversationId: "c", onConflict: "wait" }))
        const impatient = yield* Effect.forkChild(
          Effect.exit(runAs(way, agent, "four", { conversationId: "c", onConflict: { wait: "1 second" } }))
        )
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(errorOf(yield* Fiber.join(impatient)).reason._tag, "ConversationBusy")
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.join(first)
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.join(waiting)
        const { items } = yield* Session.Session.use((session) => session.loadItems("c"))
        assert.deepStrictEqual(items.map(Item.text), ["one", "ok", "three", "ok"])
      }).pipe(Effect.provide([
        SessionMemory.layer,
        ModelScripted.layer(() => ModelScripted.delayed("5 seconds", ModelScripted.text("ok")))
      ])))
  })
}

describe("a stream", () => {
  it.effect("that is left goes on where it was told to finish, and stores what it comes to", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const handlers = kit.toLayer({ work: () => Effect.as(Deferred.await(begun), 1) })
      const session = yield* Session.Session
      yield* Effect.gen(function*() {
        const agent = Agent.make({ name: "a", toolkit: kit })
        yield* Runner.stream(agent, "go", { conversationId: "c", onDisconnect: "finish" }).pipe(
          Stream.takeUntil((event) => event._tag === "ToolStarted"),
          Stream.runDrain
        )
        yield* Deferred.succeed(begun, undefined)
        for (let n = 0; n < 100; n++) yield* Effect.yieldNow
        const { items } = yield* session.loadItems("c")
        assert.strictEqual(Item.text(items.at(-1)!), "Done.")
      }).pipe(Effect.provide(handlers), Effect.provide(once()))
    }).pipe(Effect.provide(SessionMemory.layer)))
})
