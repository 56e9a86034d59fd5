import { assert, describe, it } from "@effect/vitest"
import * as TracerMemory from "agent-layers/layers/tracer/TracerMemory"
import * as TracerOtlp from "agent-layers/layers/tracer/TracerOtlp"
import * as TracerRedacted from "agent-layers/layers/tracer/TracerRedacted"
import * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import * as Tracer from "agent-layers/services/Tracer"
import * as Usage from "agent-layers/services/Usage"
import { Config, ConfigProvider, Context, Effect, Exit, Layer, Logger, Redacted, Scope } from "effect"
import { FetchHttpClient } from "effect/http"
import { describeLaws } from "../../support/laws.ts"
import { agent, tool } from "../../support/tracer/entries.ts"
import * as otlp from "../../support/tracer/otlp.ts"

const layer = (options: TracerOtlp.Options) => Layer.provide(TracerOtlp.layer(options), FetchHttpClient.layer)

const subject = (
  options: TracerOtlp.Options,
  cannot: ReadonlyArray<TracerLaws.Ability>,
  capacity = 4096
): TracerLaws.Subject => ({
  capacity,
  cannot,
  open: (beside) =>
    Effect.gen(function*() {
      const collector = yield* otlp.start
      const context = yield* Layer.build(
        Layer.merge(beside, layer({ url: collector.url, flushTimeout: "30 seconds", ...options }))
      )
      return {
        context,
        seen: Effect.sync(() => {
          assert.deepStrictEqual(collector.faults, [])
          return otlp.toSeen(collector.spans)
        }),
        dropped: Effect.provideContext(Tracer.dropped, context)
      }
    })
})

const notShown = (subject: TracerLaws.Subject) => ({
  notShown: TracerLaws.all.filter((law) => law.missing?.(subject) !== undefined).map(({ name }) => name)
})

const whole = subject({ includeContent: true }, ["traces"])
const bare = subject({ encoding: "json", compression: "gzip" }, ["traces", "content"])
const small = subject({ maxBatchSize: 3, includeContent: true }, ["traces"], 1000)

describeLaws("TracerOtlp with content, in protobuf", TracerLaws.all, whole, notShown(whole))
describeLaws("TracerOtlp without content, in JSON, packed", TracerLaws.all, bare, notShown(bare))
describeLaws("TracerOtlp of small batches", TracerLaws.all, small, notShown(small))

it("TracerOtlp cannot show only what OTLP has not", () => {
  assert.deepStrictEqual(notShown(whole).notShown, [
    "a trace says its name, group and metadata, and a run inside a run belongs to it",
    "two runs in one span of the caller are two traces"
  ])
})

const logs = () => {
  const lines: Array<string> = []
  const layer = Logger.layer([
    Logger.make(({ logLevel, message }) => void lines.push(`${logLevel}: ${String(message)}`))
  ])
  return { lines, layer }
}

const open = <E>(layer: Layer.Layer<never, E>) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const context = yield* Scope.provide(Layer.build(layer), scope)
    const traced = <A, E>(effect: Effect.Effect<A, E>) => Effect.provideContext(effect, context)
    return { traced, flush: Context.get(context, Tracer.Tracer).flush, close: Scope.close(scope, Exit.void) }
  })

const seconds = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const before = performance.now()
    yield* effect
    return (performance.now() - before) / 1000
  })

const generation = Tracer.withSpan(
  Effect.void,
  () =>
    ({
      _tag: "Generation",
      provider: "openai",
      model: "gpt-5",
      input: [
        { role: "user", content: "hi" },
        { type: "function_call", call_id: "c1", name: "look", arguments: "{}" },
        { type: "function_call_output", call_id: "c1", output: "seen" },
        { type: "reasoning", summary: [] }
      ]
    }) as const,
  () => ({
    output: [{ type: "message", role: "assistant", content: [{ type: "output_text", text: "hello" }] }],
    responseId: "resp_1",
    usage: Usage.make({ inputTokens: 4, outputTokens: 2 })
  })
)

describe("TracerOtlp", () => {
  it.live("sends one trace of the caller's, the agent's and the handler's spans, with gen_ai attributes", () =>
    Effect.gen(function*() {
      const collector = yield* otlp.start
      yield* agent("helper", Effect.andThen(generation, tool("look", Effect.withSpan(Effect.void, "handler"))), {
        groupId: "ada"
      }).pipe(
        Effect.withSpan("request"),
        Effect.provide(layer({
          url: collector.url,
          serviceName: "shop",
          serviceVersion: "1.2",
          resourceAttributes: { "deployment.environment.name": "test" },
          headers: { "x-tenant": "t", authorization: Redacted.make("Bearer canary-key") },
          includeContent: true
        }))
      )
      assert.deepStrictEqual(collector.faults, [])
      const byName = Object.fromEntries(collector.spans.map((span) => [span.name, span]))
      const parent = (name: string) => collector.spans.find(({ spanId }) => spanId === byName[name]!.parentSpanId)?.name
      assert.deepStrictEqual(collector.spans.map(({ name }) => [name, parent(name)]), [
        ["chat gpt-5", "invoke_agent helper"],
        ["handler", "execute_tool look"],
        ["execute_tool look", "invoke_agent helper"],
        ["invoke_agent helper", "request"],
        ["request", undefined]
      ])
      assert.strictEqual(new Set(collector.spans.map(({ traceId }) => traceId)).size, 1)
      assert.deepInclude(byName["invoke_agent helper"]!.attributes, {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "helper",
        "agent_layers.workflow.name": "helper",
        "agent_layers.workflow.group": "ada"
      })
      const chat = byName["chat gpt-5"]!
      assert.strictEqual(chat.kind, 3)
      assert.deepInclude(chat.attributes, {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.response.id": "resp_1",
        "gen_ai.usage.input_tokens": 4,
        "gen_ai.usage.output_tokens": 2
      })
      assert.deepStrictEqual(JSON.parse(String(chat.attributes["gen_ai.input.messages"])), [
        { role: "user", parts: [{ type: "text", content: "hi" }] },
        { role: "assistant", parts: [{ type: "tool_call", id: "c1", name: "look", arguments: "{}" }] },
        { role: "tool", parts: [{ type: "tool_call_response", id: "c1", response: "seen" }] },
        { role: "assistant", parts: [{ type: "reasoning", summary: [] }] }
      ])
      assert.deepStrictEqual(JSON.parse(String(chat.attributes["gen_ai.output.messages"])), [
        { role: "assistant", parts: [{ type: "text", content: "hello" }] }
      ])
      assert.deepInclude(byName["execute_tool look"]!.attributes, {
        "gen_ai.tool.name": "look",
        "gen_ai.tool.call.id": "call_look",
        "gen_ai.tool.call.arguments": `{"of":"look"}`,
        "gen_ai.tool.call.result": "from look"
      })
      assert.deepInclude(chat.resource, {
        "service.name": "shop",
        "service.version": "1.2",
        "deployment.environment.name": "test"
      })
      const { headers } = collector.received[0]!
      assert.deepStrictEqual([headers["x-tenant"], headers["authorization"]], ["t", "Bearer canary-key"])
      // It does not trace its own requests.
      assert.isUndefined(headers["traceparent"])
    }))

  for (const way of ["IncludeContent is false", "a redaction"] as const) {
    it.live(`sends nothing of a secret with ${way}, wherever it stood, also in spans of a handler and in logs`, () =>
      Effect.gen(function*() {
        const collector = yield* otlp.start
        const canary = "canary-77f1"
        const handler = Effect.gen(function*() {
          yield* Effect.log(`handling ${canary}`)
          return yield* Effect.die(
            Object.assign(new Error(`cannot ${canary}`, { cause: new Error(`because ${canary}`) }))
          )
        }).pipe(Effect.withSpan("handler"))
        const program = agent(
          "helper",
          Effect.gen(function*() {
            yield* Effect.log(`deciding ${canary}`)
            yield* Effect.exit(
              Tracer.withSpan(
                Effect.andThen(Effect.log(`calling ${canary}`), handler),
                () => ({ _tag: "Tool", name: "t", callId: "c", input: JSON.stringify({ canary }) }) as const,
                () => ({ output: canary })
              )
            )
            return yield* Effect.die(new Error(canary))
          })
        )
        yield* Effect.exit(program).pipe(
          way === "a redaction"
            ? Effect.provide(TracerRedacted.layer({ secrets: [canary] }))
            : Effect.provideService(Tracer.IncludeContent, false),
          Effect.provide(layer({ url: collector.url, includeContent: true, encoding: "json" })),
          Effect.provide(Logger.layer([Logger.tracerLogger]))
        )
        assert.lengthOf(collector.spans, 3)
        const sent = collector.received.map(({ body, headers }) => body.toString("utf8") + JSON.stringify(headers))
        assert.notInclude(sent.join("\n"), "canary-77f1")
        assert.deepStrictEqual(collector.spans.map(({ status }) => status.code), [2, 2, 2])
        const events = collector.spans.flatMap(({ events }) => events)
        assert.strictEqual(events.some(({ name }) => name.includes("deciding (redacted)")), way === "a redaction")
      }))
  }

  it.live("stands beside processors", () =>
    Effect.gen(function*() {
      const collector = yield* otlp.start
      const outline = yield* Effect.gen(function*() {
        yield* agent("a", tool("t", Effect.void))
        return yield* (yield* TracerMemory.TracerMemory).outline
      }).pipe(Effect.provide(Layer.merge(TracerMemory.layer, layer({ url: collector.url }))))
      assert.strictEqual(outline, "invoke_agent a\n  execute_tool t")
      assert.lengthOf(collector.spans, 2)
    }))

  it.live("tries again where it may help, and as the server says", () =>
    Effect.gen(function*() {
      const collector = yield* otlp.start
      collector.reply = (request) =>
        request === 1 ? { status: 503 } : request === 2 ? { status: 429, headers: { "retry-after": "2" } } : {}
      const { close, traced } = yield* open(layer({ url: collector.url, flushTimeout: "10 seconds" }))
      yield* traced(agent("a", Effect.void))
      yield* close
      assert.lengthOf(collector.spans, 1)
      assert.lengthOf(collector.received, 3)
      const [first, second, third] = collector.received.map(({ at }) => at)
      assert.isAbove(second! - first!, 300)
      assert.isAbove(third! - second!, 1900)
    }), 20_000)

  it.live("does not try again what was refused, says why once without secrets, and goes on", () =>
    Effect.gen(function*() {
      const collector = yield* otlp.start
      const { layer: logging, lines } = logs()
      collector.reply = (request) => request <= 2 ? { status: 401, body: "no such key: canary-key" } : {}
      const { flush, traced } = yield* open(
        Layer.provide(
          layer({ url: `${collector.url}?key=canary-key`, headers: { key: Redacted.make("canary-key") } }),
          logging
        )
      )
      collector.reply = (request) => request <= 2 ? { status: 401, body: "no such key: canary-key" } : { status: 204 }
      for (let round = 0; round < 3; round++) {
        yield* traced(agent("a", Effect.void))
        yield* flush
      }
      assert.lengthOf(collector.received, 3)
      assert.strictEqual(yield* traced(Tracer.dropped), 2)
      assert.strictEqual(lines.filter((line) => line.startsWith("Warn")).length, 1)
      assert.notInclude(lines.join(), "canary-key")
      assert.include(lines.join(), "answered 401: no such key: <redacted>. Check the key or headers")
    }))

  it.live(
    "loses no time to a collector that is down, slow or broken, and holds no more than it may",
    () =>
      Effect.gen(function*() {
        const collector = yield* otlp.start
        const turns = Effect.forEach(
          Array.from({ length: 3000 }),
          () => agent("a", tool("t", Effect.void)),
          { discard: true }
        )
        const quiet = Logger.layer([])
        const down = "http://127.0.0.1:1/v1/traces"
        const took: Array<number> = []
        for (
          const [url, reply] of [
            [collector.url, () => ({})],
            [down, () => ({})],
            [collector.url, () => ({ delay: Infinity })],
            [collector.url, () => ({ status: 500 })],
            [collector.url, () => ({ reset: true })]
          ] as const
        ) {
          collector.reply = reply
          const { close, traced } = yield* open(
            Layer.provide(layer({ url, maxQueueSize: 1000, maxBatchSize: 100, flushTimeout: "500 millis" }), quiet)
          )
          took.push(yield* seconds(traced(turns)))
          yield* close
          if (took.length > 1) assert.isAbove(yield* traced(Effect.succeed(1)), 0)
        }
        const best = took[0]!
        // Each would be at least one timeout of 10 seconds longer, had it waited for the collector once.
        for (const one of took) assert.isBelow(one, best * 5 + 9)
      }),
    240_000
  )

  it.live("drops what finds no room while the collector does not answer, and counts it", () =>
    Effect.gen(function*() {
      const collector = yield* otlp.start
      collector.reply = () => ({ delay: Infinity })
      const { close, flush, traced } = yield* open(Layer.provide(
        layer({ url: collector.url, maxQueueSize: 100, maxBatchSize: 50, flushTimeout: "100 millis" }),
        Logger.layer([])
      ))
      for (let round = 0; round < 40; round++) {
        yield* traced(Effect.forEach(Array.from({ length: 50 }), () => agent("a", Effect.void), { discard: true }))
        yield* Effect.yieldNow
      }
      yield* flush
      const dropped = yield* traced(Tracer.dropped)
      assert.isAtLeast(dropped, 1850)
      assert.isAtMost(dropped, 1950)
      // The collector never answers.
      yield* close
    }))

  it.live("gives up at the end within its time", () =>
    Effect.gen(function*() {
      const collector = yield* otlp.start
      collector.reply = () => ({ delay: Infinity })
      const { layer: logging, lines } = logs()
      const { close, traced } = yield* open(
        Layer.provide(layer({ url: collector.url, flushTimeout: "300 millis" }), logging)
      )
      yield* traced(agent("a", Effect.void))
      yield* close
      assert.include(lines.join(), "otlp: 1 spans were not exported within 300ms of closing")
    }))

  it.live("takes its options from configuration, and its name from the environment", () =>
    Effect.gen(function*() {
      const collector = yield* otlp.start
      const configured = TracerOtlp.layerConfig({ url: Config.String("COLLECTOR") }).pipe(
        Layer.provide(FetchHttpClient.layer)
      )
      for (const environment of [{ OTEL_SERVICE_NAME: "named" }, {}]) {
        yield* agent("a", Effect.void).pipe(
          Effect.provide(Layer.fresh(configured)),
          Effect.provide(ConfigProvider.layer(
            ConfigProvider.fromUnknown({ COLLECTOR: collector.url, ...environment })
          ))
        )
      }
      assert.deepStrictEqual(collector.spans.map(({ resource }) => resource["service.name"]), [
        "named",
        "unknown_service:node"
      ])
    }))
})
