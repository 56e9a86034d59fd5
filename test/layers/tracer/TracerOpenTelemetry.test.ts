import { assert, describe, it } from "@effect/vitest"
import { context, SpanStatusCode, trace } from "@opentelemetry/api"
import {
  BatchSpanProcessor,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanProcessor
} from "@opentelemetry/sdk-trace-base"
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node"
import * as TracerMemory from "agent-layers/layers/tracer/TracerMemory"
import * as TracerOpenTelemetry from "agent-layers/layers/tracer/TracerOpenTelemetry"
import * as TracerRedacted from "agent-layers/layers/tracer/TracerRedacted"
import * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import * as Tracer from "agent-layers/services/Tracer"
import { Effect, Layer, Logger } from "effect"
import { describeLaws } from "../../support/laws.ts"
import { agent, tool } from "../../support/tracer/entries.ts"

/** Keeps what it is given also when it has been shut down. */
class Kept extends InMemorySpanExporter {
  readonly kept: Array<ReadableSpan> = []
  override export(...[spans, done]: Parameters<InMemorySpanExporter["export"]>) {
    this.kept.push(...spans)
    super.export(spans, done)
  }
}

const toSeen = (spans: ReadonlyArray<ReadableSpan>): ReadonlyArray<TracerLaws.Seen> => {
  const names = new Map(spans.map((span) => [span.spanContext().spanId, span.name]))
  const nanos = ([seconds, nanos]: ReadableSpan["startTime"]) => BigInt(seconds) * 1_000_000_000n + BigInt(nanos)
  return spans.map((span) => ({
    name: span.name,
    parent: span.parentSpanContext === undefined ? undefined : names.get(span.parentSpanContext.spanId),
    outcome: span.status.code === SpanStatusCode.ERROR
      ? "failed"
      : span.attributes["effect.fiber.interrupted"] === true
      ? "interrupted"
      : "succeeded",
    text: JSON.stringify([span.attributes, span.events, span.status]),
    millis: Number(nanos(span.endTime) - nanos(span.startTime)) / 1e6,
    traceId: span.spanContext().traceId,
    parentId: span.parentSpanContext?.spanId
  }))
}

const subject = (
  includeContent: boolean,
  processor: (exporter: Kept) => SpanProcessor,
  cannot: ReadonlyArray<TracerLaws.Ability>
): TracerLaws.Subject => ({
  capacity: 2048,
  cannot: ["traces", "dropped", ...cannot],
  open: (beside) =>
    Effect.gen(function*() {
      const exporter = new Kept()
      const layer = TracerOpenTelemetry.layer(() => ({
        spanProcessor: processor(exporter),
        resource: { serviceName: "laws" },
        includeContent
      }))
      const context = yield* Layer.build(Layer.merge(beside, layer))
      return { context, seen: Effect.sync(() => toSeen(exporter.kept)) }
    })
})

const notShown = (subject: TracerLaws.Subject) => ({
  notShown: TracerLaws.all.filter((law) => law.missing?.(subject) !== undefined).map(({ name }) => name)
})

const batched = subject(true, (exporter) => new BatchSpanProcessor(exporter, { maxQueueSize: 4096 }), [])
const simple = subject(false, (exporter) => new SimpleSpanProcessor(exporter), ["content"])

describeLaws("TracerOpenTelemetry with content, in batches", TracerLaws.all, batched, notShown(batched))
describeLaws("TracerOpenTelemetry without content, one by one", TracerLaws.all, simple, notShown(simple))

it("TracerOpenTelemetry cannot show only what the SDK has not", () => {
  assert.deepStrictEqual(notShown(batched).notShown, [
    "a trace says its name, group and metadata, and a run inside a run belongs to it",
    "two runs in one span of the caller are two traces",
    "what is dropped is counted"
  ])
})

describe("TracerOpenTelemetry", () => {
  it.live("puts spans of OpenTelemetry inside of ours, and content where it is asked for", () =>
    Effect.gen(function*() {
      const exporter = new Kept()
      const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
      provider.register()
      yield* Effect.addFinalizer(() =>
        Effect.promise(async () => {
          await provider.shutdown()
          trace.disable()
          context.disable()
        })
      )
      const library = Effect.sync(() => trace.getTracer("library").startSpan("query").end())
      yield* agent("a", tool("t", library)).pipe(
        Effect.provide(Layer.merge(TracerMemory.layer, TracerOpenTelemetry.layerGlobal({ includeContent: true })))
      )
      assert.deepStrictEqual(toSeen(exporter.kept).map(({ name, parent }) => [name, parent]), [
        ["query", "execute_tool t"],
        ["execute_tool t", "invoke_agent a"],
        ["invoke_agent a", undefined]
      ])
      assert.strictEqual(exporter.kept[1]!.attributes["gen_ai.tool.call.result"], "from t")
    }))

  for (const way of ["IncludeContent is false", "a redaction"] as const) {
    it.live(`hands on nothing of a secret with ${way}, also in spans of a handler and in logs`, () =>
      Effect.gen(function*() {
        const exporter = new Kept()
        const canary = "canary-51aa"
        const program = agent(
          "a",
          tool(
            "t",
            Effect.andThen(Effect.log(canary), Effect.die(new Error(`no ${canary}`, { cause: canary }))).pipe(
              Effect.withSpan("handler")
            )
          )
        )
        yield* Effect.exit(program).pipe(
          way === "a redaction"
            ? Effect.provide(TracerRedacted.layer({ secrets: [canary] }))
            : Effect.provideService(Tracer.IncludeContent, false),
          Effect.provide(TracerOpenTelemetry.layer(() => ({
            spanProcessor: new SimpleSpanProcessor(exporter),
            resource: { serviceName: "s" },
            includeContent: true
          }))),
          Effect.provide(Logger.layer([Logger.tracerLogger]))
        )
        assert.lengthOf(exporter.kept, 3)
        const text = exporter.kept.map((span) => JSON.stringify([span.name, span.attributes, span.events, span.status]))
        assert.notInclude(text.join(), canary)
      }))
  }

  it.live("harms no run by a span processor that throws, cannot deliver or never answers", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const log = Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])
      const harmless: SpanProcessor = {
        onStart: () => {},
        onEnd: () => {},
        forceFlush: () => Promise.resolve(),
        shutdown: () => Promise.resolve()
      }
      const thrower = () => {
        throw new Error("thrown")
      }
      const bad: ReadonlyArray<Partial<SpanProcessor>> = [
        { onStart: thrower, onEnd: thrower, onEnding: thrower, forceFlush: thrower, shutdown: thrower },
        { forceFlush: () => Promise.reject(new Error("no")), shutdown: () => Promise.reject(new Error("no")) },
        { forceFlush: () => new Promise(() => {}), shutdown: () => new Promise(() => {}) }
      ]
      for (const part of bad) {
        const exit = yield* Effect.exit(
          Effect.andThen(agent("a", Effect.succeed(1)), Effect.flatMap(Tracer.Tracer, ({ flush }) => flush)).pipe(
            Effect.provide(TracerOpenTelemetry.layer(Effect.succeed({
              spanProcessor: [{ ...harmless, ...part }],
              resource: { serviceName: "s" },
              flushTimeout: "100 millis",
              shutdownTimeout: "100 millis"
            }))),
            Effect.provide(log)
          )
        )
        assert.strictEqual(exit._tag, "Success")
      }
      assert.include(lines.join(), "opentelemetry: flush failed")
    }))
})
