/**
 * A trace processor and an exporter of one's own, beside each other: each sees every span of every run.
 *
 * A processor is an object with the callbacks it wants. An exporter is one function that is given batches: `TracerBatch`
 * puts a bounded queue in front of it, so that no run waits for it, and delivers what is left when the Layer closes.
 *
 * To see a compile error, take `Model, ` away: `ModelProvider` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, ModelScripted, Runner, Tracer } from "agent-layers"
import * as TracerBatch from "agent-layers/layers/tracer/TracerBatch"
import * as TracerRedacted from "agent-layers/layers/tracer/TracerRedacted"
import { Console, Effect } from "effect"

/** Adds up the tokens of each trace, and tells when it ends. */
const tokens = Tracer.addProcessor(Effect.sync((): Tracer.TraceProcessor => {
  const spent = new Map<string, number>()
  return {
    onSpanEnd: ({ data, trace }) =>
      Effect.sync(() => {
        if (trace === undefined || data._tag !== "Generation" || data.usage === undefined) return
        spent.set(
          trace.rootSpanId,
          (spent.get(trace.rootSpanId) ?? 0) + data.usage.inputTokens + data.usage.outputTokens
        )
      }),
    onTraceEnd: (trace) =>
      Effect.suspend(() => {
        const sum = spent.get(trace.rootSpanId) ?? 0
        spent.delete(trace.rootSpanId)
        return Console.log(`${trace.workflowName}: ${sum} tokens`)
      })
  }
}))

/** Sends batches somewhere: here to the console. */
const exporter = TracerBatch.layer({
  name: "console",
  export: (entries) => Effect.forEach(entries, (entry) => Console.log(`  ${JSON.stringify(entry)}`), { discard: true })
}, { maxQueueSize: 1000, interval: "1 second" })

const Greeter = Agent.make({ name: "greeter" })

const program = Effect.gen(function*() {
  yield* Runner.run(Greeter, "Hello, my password is hunter2")
  yield* Effect.flatMap(Tracer.Tracer, (tracer) => tracer.flush)
  yield* Runner.run(Greeter, "A secret", { trace: { workflowName: "no-content" } }).pipe(
    Effect.provideService(Tracer.IncludeContent, false)
  )
  yield* Console.log(`${yield* Tracer.dropped} spans dropped`)
})

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([ModelScripted.text("Hello!"), ModelScripted.text("Hello again!")])

const Redact = TracerRedacted.layer({ secrets: ["hunter2"] })

program.pipe(Effect.provide([Model, tokens, exporter, Redact]), NodeRuntime.runMain)
