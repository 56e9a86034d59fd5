/** The mission, rows on traces: processors and exporters of one's own, and every one that comes with the package. */
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Item, ModelScripted, Runner, Tracer, TracerMemory } from "agent-layers"
import * as TracerBatch from "agent-layers/layers/tracer/TracerBatch"
import * as TracerConsole from "agent-layers/layers/tracer/TracerConsole"
import * as TracerJsonLines from "agent-layers/layers/tracer/TracerJsonLines"
import * as TracerOpenAI from "agent-layers/layers/tracer/TracerOpenAI"
import * as TracerOpenTelemetry from "agent-layers/layers/tracer/TracerOpenTelemetry"
import * as TracerOtlp from "agent-layers/layers/tracer/TracerOtlp"
import * as TracerRedacted from "agent-layers/layers/tracer/TracerRedacted"
import * as TracerSqlite from "agent-layers/layers/tracer/TracerSqlite"
import { Effect, Layer, Logger, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { TestConsole } from "effect/testing"
import * as fs from "node:fs"
import * as path from "node:path"
import { temporaryFolder } from "../support/session/subjects.ts"
import * as openAiTraces from "../support/tracer/openAiTraces.ts"
import * as otlp from "../support/tracer/otlp.ts"
import { Guide } from "./support.ts"

const question = "What is in drawer 7?"

const run = Runner.run(Guide, question, { trace: { groupId: "ada" } }).pipe(
  Effect.provide(ModelScripted.layer([ModelScripted.text("A key.")]))
)

/** The Layer is closed after the run: what it keeps or sends is there then. */
const traced = <A, E>(tracer: Layer.Layer<A, E>) => Effect.provide(run, tracer)

const spanNames = ["chat scripted", "turn 1", "invoke_agent guide"]

/** A processor that writes down what it is told. */
const recording = () => {
  const told: Array<string> = []
  const tell = (what: string) => Effect.sync(() => void told.push(what))
  const processor: Tracer.TraceProcessor = {
    onSpanEnd: (span) => tell(span.name),
    onTraceEnd: ({ groupId }) => tell(`trace of ${groupId}`)
  }
  return { told, processor }
}

describe("Custom trace processor, exporter", () => {
  it.effect("onSpanEnd, onTraceEnd: a processor of one's own is told of each span, and of the trace", () =>
    Effect.gen(function*() {
      const { processor, told } = recording()
      yield* traced(Tracer.addProcessor(processor))
      assert.deepStrictEqual(told, [...spanNames, "trace of ada"])
    }))

  it.effect("Tracer.addProcessor: adds one, a second keeps the first, and each leaves with its Scope", () =>
    Effect.gen(function*() {
      const [first, second] = [recording(), recording()]
      yield* Effect.gen(function*() {
        yield* Effect.provide(run, Tracer.addProcessor(second.processor))
        yield* run
      }).pipe(Effect.provide(Tracer.addProcessor(first.processor)))
      assert.lengthOf(first.told, 8)
      assert.lengthOf(second.told, 4)
    }))

  it.effect("console: the trace as a tree", () =>
    Effect.gen(function*() {
      yield* traced(TracerConsole.layer())
      const lines = (yield* TestConsole.logLines).join("\n")
      assert.match(lines, /group ada[^]*agent guide[^]*turn 1[^]*model scripted/)
    }))

  it.live("JSON lines: an entry for each line of a file", () =>
    Effect.gen(function*() {
      const file = path.join(yield* temporaryFolder, "traces.jsonl")
      yield* traced(Layer.provide(TracerJsonLines.layer({ path: file }), NodeServices.layer))
      const entries = fs.readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line))
      assert.includeMembers(entries.map(({ _tag }) => _tag), ["SpanEnd"])
    }))

  it.live("SQLite: traces can be listed and shown later", () =>
    Effect.gen(function*() {
      const filename = path.join(yield* temporaryFolder, "traces.db")
      yield* traced(TracerSqlite.layer({ filename }))
      const [trace] = yield* TracerSqlite.TracerSqlite.use((store) => store.list({ groupId: "ada" })).pipe(
        Effect.provide(TracerSqlite.layerReader({ filename }))
      )
      assert.deepInclude(trace, { spans: 3, isOver: true })
    }))

  it.effect("memory: a double to assert on", () =>
    Effect.gen(function*() {
      yield* run
      const { outline } = yield* TracerMemory.TracerMemory
      assert.strictEqual(yield* outline, "invoke_agent guide\n  turn 1\n    chat scripted")
    }).pipe(Effect.provide(TracerMemory.layer)))

  it.live("OTLP: a collector gets the spans by effect's exporter", () =>
    Effect.gen(function*() {
      const collector = yield* otlp.start
      yield* traced(Layer.provide(TracerOtlp.layer({ url: collector.url }), FetchHttpClient.layer))
      assert.deepStrictEqual(collector.faults, [])
      assert.sameMembers(collector.spans.map(({ name }) => name), spanNames)
    }))

  it.live("OpenTelemetry SDK: its span processors get the spans", () =>
    Effect.gen(function*() {
      const exporter = new InMemorySpanExporter()
      yield* Effect.gen(function*() {
        yield* run
        assert.sameMembers(exporter.getFinishedSpans().map(({ name }) => name), spanNames)
      }).pipe(
        Effect.provide(TracerOpenTelemetry.layer(() => ({
          resource: { serviceName: "mission" },
          spanProcessor: new SimpleSpanProcessor(exporter)
        })))
      )
    }))

  it.live("OpenAI traces endpoint: traces in its form", () =>
    Effect.gen(function*() {
      const endpoint = yield* openAiTraces.start("sk-mission")
      const options = { apiKey: Redacted.make("sk-mission"), url: endpoint.url }
      yield* traced(Layer.provide(TracerOpenAI.layer(options), FetchHttpClient.layer))
      assert.deepStrictEqual(endpoint.faults, [])
      assert.deepStrictEqual(endpoint.traces.map(({ group_id }) => group_id), ["ada"])
      assert.includeMembers(endpoint.spans.map(({ span_data }) => span_data.type), ["agent", "generation"])
    }))

  it.live("batch: an exporter of one's own gets spans together, and the last when it closes", () =>
    Effect.gen(function*() {
      const batches: Array<number> = []
      const exporter: Tracer.TraceExporter = {
        name: "counting",
        export: (entries) => Effect.sync(() => void batches.push(entries.length))
      }
      yield* traced(TracerBatch.layer(exporter))
      assert.lengthOf(batches, 1)
      assert.isAtLeast(batches[0]!, spanNames.length)
    }))

  it.effect("fan-out: one that dies harms no other, nor the run", () =>
    Effect.gen(function*() {
      const { processor, told } = recording()
      const broken = Tracer.addProcessor({
        onSpanEnd: () => {
          throw new Error("broken")
        }
      })
      const { finalOutput } = yield* traced(
        Layer.mergeAll(broken, Tracer.addProcessor(processor), Logger.layer([]))
      )
      assert.strictEqual(finalOutput, "A key.")
      assert.lengthOf(told, 4)
    }))

  it.effect("redact: a policy over every field, and a switch for all content", () =>
    Effect.gen(function*() {
      const seen = (layer: Layer.Layer<never>) =>
        Effect.gen(function*() {
          yield* run
          const { spans } = yield* TracerMemory.TracerMemory
          return JSON.stringify(yield* spans)
        }).pipe(Effect.provide(Layer.merge(Layer.fresh(TracerMemory.layer), layer)))
      assert.include(yield* seen(Layer.empty), question)
      const redacted = yield* seen(TracerRedacted.layer({ patterns: [/drawer \d/] }))
      assert.include(redacted, "What is in (redacted)?")
      const without = yield* seen(Layer.succeed(Tracer.IncludeContent, false))
      assert.notInclude(without, question)
      assert.notInclude(without, Item.text(Item.assistant("A key.")))
    }))
})

describe("Errors handled gracefully", () => {
  it.live("exporter: one that throws, rejects or dies is a TracerError with exporter, operation and cause", () =>
    Effect.gen(function*() {
      const errors: Array<Tracer.TracerError> = []
      for (
        const fails of [
          () => {
            throw new Error("unplugged")
          },
          () => Effect.promise(() => Promise.reject(new Error("unplugged"))),
          () => Effect.die(new Error("unplugged"))
        ]
      ) {
        const layer = TracerBatch.layer({ name: "broken", export: fails }, {
          onError: (error) => Effect.sync(() => void errors.push(error))
        })
        assert.strictEqual((yield* traced(layer)).finalOutput, "A key.")
      }
      assert.deepStrictEqual(
        errors.map(({ cause, exporter, operation }) => [exporter, operation, String(cause)]),
        Array.from({ length: 3 }, () => ["broken", "export", "Error: unplugged"])
      )
    }))
})
