import { assert, describe, it } from "@effect/vitest"
import { Agent, Item, ModelError, ModelScripted, Runner, Session, SessionMemory } from "agent-layers"
import type { RunEvent } from "agent-layers"
import { Cause, Deferred, Effect, Exit, Fiber, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"

const Echo = Tool.make("echo", { parameters: Schema.Struct({ text: Schema.String }), success: Schema.String })
const kit = Toolkit.make(Echo)
const handlers = kit.toLayer({ echo: ({ text }) => Effect.succeed(text) })
const agent = Agent.make({ name: "echoer", toolkit: kit })

const tags = (events: ReadonlyArray<RunEvent.RunEvent<unknown>>) => events.map((event) => event._tag)

describe("the events of a run", () => {
  it.effect("tell in order what happens, and commit before they complete", () =>
    Effect.gen(function*() {
      const events = yield* Stream.runCollect(Runner.stream(agent, "go", { conversationId: "c" }))
      assert.deepStrictEqual(tags(events), [
        "RunStarted",
        "TurnStarted",
        "ToolCallDelta",
        "ItemDone",
        "ToolStarted",
        "ToolFinished",
        "Committed",
        "TurnStarted",
        "ReasoningDelta",
        "ItemDone",
        "TextDelta",
        "TextDelta",
        "ItemDone",
        "Committed",
        "Completed"
      ])
      const text = events.flatMap((event) => event._tag === "TextDelta" ? [event.delta] : []).join("")
      const completed = events.at(-1)!
      assert.strictEqual(completed._tag === "Completed" && completed.result.finalOutput, text)
      const finished = events.find((event) => event._tag === "ToolFinished")!
      assert.deepStrictEqual(finished, {
        _tag: "ToolFinished",
        callId: "c1",
        name: "echo",
        output: Item.functionCallOutput("c1", "a"),
        isFailure: false
      })
      const committed = events.flatMap((event) => event._tag === "Committed" ? [[event.turn, event.version]] : [])
      assert.deepStrictEqual(committed, [[1, 1], [2, 2]])
    }).pipe(
      Effect.provide([
        handlers,
        SessionMemory.layer,
        ModelScripted.layer([
          ModelScripted.toolCall("echo", `{"text":"a"}`, { callId: "c1" }),
          ModelScripted.reasoned("hm", ModelScripted.text(["It is ", "a"]))
        ])
      ])
    ))

  it.effect("arrive while the model is still writing", () =>
    Effect.gen(function*() {
      const early = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(Runner.stream(agent, "go"), (event) =>
          event._tag === "TextDelta" ? Deferred.succeed(early, undefined) : Effect.void)
      )
      yield* Deferred.await(early)
      yield* Fiber.interrupt(fiber)
    }).pipe(
      Effect.provide([
        handlers,
        ModelScripted.layer([ModelScripted.hang({ of: ModelScripted.text(["early ", "late"]), after: 1 })])
      ])
    ))

  it.effect("keep the chunks of the source", () =>
    Effect.gen(function*() {
      const sizes: Array<number> = []
      yield* Stream.runForEachArray(Runner.stream(agent, "go"), (chunk) =>
        Effect.sync(() => sizes.push(chunk.filter((event) => event._tag === "TextDelta").length)))
      assert.deepStrictEqual(
        sizes.filter((size) =>
          size > 0
        ),
        [500]
      )
    }).pipe(
      Effect.provide([handlers, ModelScripted.layer([ModelScripted.text([Array.from({ length: 500 }, () => "x")])])])
    ))

  it.effect("wait for a slow consumer: the buffer is bounded", () =>
    Effect.gen(function*() {
      const release = yield* Deferred.make<void>()
      const seen: Array<string> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEachArray(Runner.stream(agent, "go", { bufferSize: 2 }), (events) =>
          Effect.andThen(
            Effect.sync(() => seen.push(...tags(events))),
            seen.length === events.length ? Deferred.await(release) : Effect.void
          ))
      )
      for (let turn = 0; turn < 200; turn++) yield* Effect.yieldNow
      assert.isBelow(seen.length, 6)
      assert.strictEqual((yield* ModelScripted.requests).length, 1)
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(fiber)
      assert.strictEqual(seen.filter((tag) => tag === "ToolFinished").length, 1)
      assert.strictEqual(seen.at(-1), "Completed")
    }).pipe(
      Effect.provide([
        handlers,
        ModelScripted.layer([ModelScripted.toolCall("echo", { text: "a" }), ModelScripted.text("b")])
      ])
    ))

  it.effect("end with the failure, and no terminal event beside it", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const exit = yield* Effect.exit(
        Stream.runForEach(Runner.stream(agent, "go", { conversationId: "c" }), (event) =>
          Effect.sync(() => seen.push(event._tag)))
      )
      assert.isTrue(Exit.isFailure(exit))
      const error: any = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined
      assert.deepStrictEqual([error.reason._tag, error.reason.isPartial], ["Transport", true])
      assert.include(seen, "TextDelta")
      assert.notInclude(seen, "Completed")
      assert.notInclude(seen, "Committed")
      assert.deepStrictEqual(
        (yield* Session.Session.use((session) =>
          session.loadItems("c")
        )).items,
        []
      )
    }).pipe(
      Effect.provide([
        handlers,
        SessionMemory.layer,
        ModelScripted.layer([
          ModelScripted.fail(new ModelError.Transport({ description: "cut" }), {
            of: ModelScripted.text(["half ", "whole"]),
            after: 1
          })
        ])
      ])
    ))

  it.effect("stop the run when the consumer leaves", () =>
    Effect.gen(function*() {
      const some = yield* Runner.stream(agent, "go", { conversationId: "c" }).pipe(
        Stream.takeUntil((event) => event._tag === "TextDelta"),
        Stream.runCollect
      )
      assert.strictEqual(some.at(-1)!._tag, "TextDelta")
      assert.strictEqual(yield* ModelScripted.ModelScripted.use((model) => model.aborted), 1)
      assert.deepStrictEqual((yield* Session.Session.use((session) => session.loadItems("c"))).items, [])
    }).pipe(
      Effect.provide([
        handlers,
        SessionMemory.layer,
        ModelScripted.layer([ModelScripted.hang({ of: ModelScripted.text(["a ", "b ", "c"]), after: 2 })])
      ])
    ))

  it.effect("begin anew each time the stream is run", () =>
    Effect.gen(function*() {
      const stream = Runner.stream(agent, "go")
      const results = yield* Effect.forEach([1, 2], () => Stream.runLast(stream))
      const outputs = results.map((last: any) => last.value.result.finalOutput)
      assert.deepStrictEqual(outputs, ["one", "two"])
    }).pipe(
      Effect.provide([handlers, ModelScripted.layer([ModelScripted.text("one"), ModelScripted.text("two")])])
    ))
})
