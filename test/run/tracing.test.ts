import { assert, describe, it } from "@effect/vitest"
import { Agent, Ids, ModelError, ModelScripted, SessionMemory, Tracer, TracerMemory } from "agent-layers"
import { Deferred, Effect, Exit, Fiber, Schema, Tracer as EffectTracer } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { runAs, ways } from "./support.ts"

const Echo = Tool.make("echo", { parameters: Schema.Struct({ text: Schema.String }), success: Schema.String })
const kit = Toolkit.make(Echo)
const handlers = kit.toLayer({
  echo: ({ text }) => Effect.withSpan(Effect.succeed(`handled ${text}`), "inside the handler")
})
const agent = Agent.make({ name: "echoer", toolkit: kit, instructions: "secret-instructions" })

const script = ModelScripted.layer([
  ModelScripted.calls(
    [{ name: "echo", arguments: { text: "a" }, callId: "c1" }, { name: "gone", arguments: {}, callId: "c2" }],
    { usage: { inputTokens: 10, outputTokens: 2 } }
  ),
  ModelScripted.text("done", { usage: { inputTokens: 20, outputTokens: 3 } })
])

for (const way of ways) {
  describe(`the trace of a run by ${way}`, () => {
    it.effect("has a span for the run, each turn, generation, tool and session operation", () =>
      Effect.gen(function*() {
        yield* runAs(way, agent, "go", {
          conversationId: "c",
          trace: { groupId: "g", metadata: { tenant: "t" } }
        })
        assert.strictEqual(
          yield* TracerMemory.TracerMemory.use((memory) => memory.outline),
          `invoke_agent echoer
  session loadItems
  turn 1
    chat scripted
    execute_tool echo
    execute_tool gone
    session saveItems
  turn 2
    chat scripted
    session saveItems
  session maintain`
        )
        const spans = yield* TracerMemory.TracerMemory.use((memory) => memory.spans)
        const data = (tag: string) => spans.filter((span) => span.data._tag === tag).map((span) => span.data as any)
        const [run] = data("Agent")
        assert.deepStrictEqual(
          [run.agent, run.runId, run.conversationId, run.tools, run.usage.inputTokens, run.usage.outputTokens],
          ["echoer", "run_1", "c", ["echo"], 30, 5]
        )
        assert.deepStrictEqual(data("Turn").map((turn) => turn.usage.outputTokens), [2, 3])
        const [first, second] = data("Generation")
        assert.deepStrictEqual([first.provider, first.model, first.usage.inputTokens], ["scripted", "scripted", 10])
        assert.deepStrictEqual([first.input.length, second.input.length], [1, 5])
        assert.deepStrictEqual(
          data("Tool").map((tool) => [tool.name, tool.callId, tool.isFailure, tool.output]).sort(),
          [
            ["echo", "c1", false, "handled a"],
            ["gone", "c2", true, `Error: There is no tool "gone". Available: echo.`]
          ]
        )
        const [trace] = yield* TracerMemory.TracerMemory.use((memory) => memory.traces)
        assert.deepStrictEqual({ ...trace, traceId: "", rootSpanId: "" }, {
          traceId: "",
          rootSpanId: "",
          workflowName: "echoer",
          groupId: "g",
          metadata: { tenant: "t" }
        })
        assert.isTrue(spans.every((span) => span.traceId === trace!.traceId && span.trace === spans[0]!.trace))
      }).pipe(Effect.provide([handlers, Ids.layerSequential, SessionMemory.layer, TracerMemory.layer, script])))

    it.effect("tells the provider what it may record, and keeps content out where it must not be", () =>
      Effect.gen(function*() {
        yield* runAs(way, agent, "canary-input").pipe(Effect.provideService(Tracer.IncludeContent, false))
        const requests = yield* ModelScripted.requests
        assert.strictEqual(requests[0]!.tracing, "enabledWithoutData")
        const all = JSON.stringify([
          yield* TracerMemory.TracerMemory.use((memory) => memory.spans),
          yield* TracerMemory.TracerMemory.use((memory) => memory.started)
        ])
        for (const canary of ["canary-input", "handled a", "secret-instructions", "\"done\""]) {
          assert.notInclude(all, canary)
        }
      }).pipe(Effect.provide([handlers, TracerMemory.layer, script])))

    it.effect("stands inside the caller's span, and the handler's spans inside the tool's", () => {
      const seen: Array<{ name: string; parent: string | undefined }> = []
      const tracer = EffectTracer.make({
        span: (options) => {
          const parent = options.parent._tag === "Some" ? options.parent.value : undefined
          seen.push({ name: options.name, parent: parent?._tag === "Span" ? parent.name : undefined })
          return new EffectTracer.NativeSpan(options)
        }
      })
      return Effect.gen(function*() {
        yield* Effect.withSpan(runAs(way, agent, "go"), "caller")
        const parentOf = (name: string) => seen.find((span) => span.name === name)!.parent
        assert.strictEqual(parentOf("invoke_agent echoer"), "caller")
        assert.strictEqual(parentOf("turn 1"), "invoke_agent echoer")
        assert.strictEqual(parentOf("execute_tool echo"), "turn 1")
        assert.strictEqual(parentOf("inside the handler"), "execute_tool echo")
      }).pipe(Effect.provide([handlers, script]), Effect.provideService(EffectTracer.Tracer, tracer))
    })

    it.effect("says how a run ended that failed or was interrupted", () =>
      Effect.gen(function*() {
        const { outline } = yield* TracerMemory.TracerMemory
        const failed = yield* Effect.exit(
          runAs(way, agent, "go").pipe(
            Effect.provide(ModelScripted.layer([ModelScripted.fail(new ModelError.Timeout({ description: "slow" }))]))
          )
        )
        assert.isTrue(Exit.isFailure(failed))
        assert.strictEqual(
          yield* outline,
          `invoke_agent echoer (failed: ModelError)
  turn 1 (failed: ModelError)
    chat scripted (failed: ModelError)`
        )
        yield* TracerMemory.TracerMemory.use((memory) => memory.clear)
        const started = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(
          runAs(way, agent, "go").pipe(
            Effect.provide(ModelScripted.layer(() => {
              Deferred.doneUnsafe(started, Exit.void)
              return ModelScripted.hang()
            }))
          )
        )
        yield* Deferred.await(started)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(
          yield* outline,
          `invoke_agent echoer (interrupted)
  turn 1 (interrupted)
    chat scripted (interrupted)`
        )
      }).pipe(Effect.provide([handlers, TracerMemory.layer])))
  })
}
