import { assert, describe, it } from "@effect/vitest"
import * as TracerOpenAI from "agent-layers/layers/tracer/TracerOpenAI"
import * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import * as Tracer from "agent-layers/services/Tracer"
import * as Usage from "agent-layers/services/Usage"
import { Config, ConfigProvider, Context, Effect, Exit, Layer, Logger, Redacted, Scope } from "effect"
import { FetchHttpClient } from "effect/http"
import { describeLaws } from "../../support/laws.ts"
import { agent, tool } from "../../support/tracer/entries.ts"
import * as openAiTraces from "../../support/tracer/openAiTraces.ts"

const key = "sk-canary-openai"

const layer = (options: Omit<TracerOpenAI.Options, "apiKey">) =>
  Layer.provide(TracerOpenAI.layer({ apiKey: Redacted.make(key), ...options }), FetchHttpClient.layer)

type Endpoint = Effect.Success<ReturnType<typeof openAiTraces.start>>

const nameOf = ({ span_data }: openAiTraces.SpanItem): string =>
  span_data.type === "generation" ? span_data.model : span_data.type === "handoff" ? span_data.to_agent : span_data.name

const toSeen = ({ faults, spans }: Endpoint): ReadonlyArray<TracerLaws.Seen> => {
  assert.deepStrictEqual(faults, [])
  const names = new Map(spans.map((span) => [span.id, nameOf(span)]))
  return spans.map((span) => ({
    name: nameOf(span),
    parent: span.parent_id === null ? undefined : names.get(span.parent_id),
    outcome: span.error === null ? "succeeded" : span.error.message === "Interrupted" ? "interrupted" : "failed",
    text: JSON.stringify(span),
    millis: Date.parse(span.ended_at) - Date.parse(span.started_at)
  }))
}

/** Spans that belong to no trace have no place there: what is dropped is shown by TracerBatch, whose queue it is. */
const subject = (
  options: Omit<TracerOpenAI.Options, "apiKey">,
  cannot: ReadonlyArray<TracerLaws.Ability>
): TracerLaws.Subject => ({
  capacity: 2048,
  cannot: ["ids", "dropped", ...cannot],
  open: (beside) =>
    Effect.gen(function*() {
      const endpoint = yield* openAiTraces.start(key)
      const context = yield* Layer.build(
        Layer.merge(beside, layer({ url: endpoint.url, flushTimeout: "30 seconds", ...options }))
      )
      return {
        context,
        seen: Effect.sync(() => toSeen(endpoint)),
        traces: Effect.sync(() =>
          endpoint.traces.map(({ group_id, metadata, workflow_name }) => ({
            workflowName: workflow_name,
            ...(group_id === null ? {} : { groupId: group_id }),
            ...(metadata === null ? {} : { metadata })
          }))
        )
      }
    })
})

const notShown = (subject: TracerLaws.Subject) => ({
  notShown: TracerLaws.all.filter((law) => law.missing?.(subject) !== undefined).map(({ name }) => name)
})

const whole = subject({}, [])
const bare = subject({ includeContent: false, maxRequestSize: 10_000 }, ["content"])

describeLaws("TracerOpenAI", TracerLaws.all, whole, notShown(whole))
describeLaws("TracerOpenAI without content, in small requests", TracerLaws.all, bare, notShown(bare))

it("TracerOpenAI cannot show only what the endpoint does not keep", () => {
  assert.deepStrictEqual(notShown(whole).notShown, ["a trace joins the caller's span", "what is dropped is counted"])
})

const open = (layer: Layer.Layer<never, Tracer.TracerError>) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const context = yield* Scope.provide(Layer.build(layer), scope)
    const traced = <A, E>(effect: Effect.Effect<A, E>) => Effect.provideContext(effect, context)
    return { traced, flush: Context.get(context, Tracer.Tracer).flush, close: Scope.close(scope, Exit.void) }
  })

const kinds: ReadonlyArray<Tracer.SpanData> = [
  { _tag: "Agent", agent: "inner", tools: ["look"] },
  { _tag: "Turn", agent: "inner", turn: 1, usage: Usage.make({ inputTokens: 5, outputTokens: 6 }) },
  {
    _tag: "Generation",
    provider: "openai",
    model: "gpt-5",
    input: [{ role: "user", content: "hi" }],
    output: [{ type: "message", role: "assistant", content: [] }],
    usage: Usage.make({ inputTokens: 5, outputTokens: 6, cachedTokens: 2 })
  },
  { _tag: "Tool", name: "look", callId: "c", input: "{}", output: { seen: [1] } },
  { _tag: "Handoff", from: "a", to: "b" },
  { _tag: "Guardrail", name: "polite", isTripped: true },
  { _tag: "Mcp", server: "files", operation: "tools/list" },
  { _tag: "Sandbox", backend: "bubblewrap", operation: "exec" },
  { _tag: "Session", backend: "sqlite", operation: "saveItems", conversationId: "conv" },
  { _tag: "Custom", name: "mine", data: { a: 1n, b: undefined } }
]

describe("TracerOpenAI", () => {
  it.live("sends each kind of span in its form", () =>
    Effect.gen(function*() {
      const endpoint = yield* openAiTraces.start(key)
      yield* agent("outer", Effect.forEach(kinds, (data) => Tracer.withSpan(Effect.void, () => data)), {
        groupId: "ada",
        metadata: { tenant: "t" }
      }).pipe(Effect.provide(layer({ url: endpoint.url, organization: "org", project: "proj" })))
      assert.deepStrictEqual(endpoint.faults, [])
      const [trace] = endpoint.traces
      assert.deepInclude(trace, { workflow_name: "outer", group_id: "ada", metadata: { tenant: "t" } })
      assert.isTrue(endpoint.spans.every(({ trace_id }) => trace_id === trace!.id))
      assert.isNull(endpoint.spans.at(-1)!.parent_id)
      assert.deepStrictEqual(endpoint.spans.slice(0, -1).map(({ span_data }) => span_data as unknown), [
        { type: "agent", name: "inner", handoffs: [], tools: ["look"], output_type: null },
        {
          type: "custom",
          name: "turn",
          data: { sdk_span_type: "turn", turn: 1, agent_name: "inner", usage: { input_tokens: 5, output_tokens: 6 } }
        },
        {
          type: "generation",
          model: "gpt-5",
          model_config: {},
          input: [{ role: "user", content: "hi" }],
          output: [{ type: "message", role: "assistant", content: [] }],
          usage: { input_tokens: 5, output_tokens: 6 }
        },
        { type: "function", name: "look", input: "{}", output: `{"seen":[1]}` },
        { type: "handoff", from_agent: "a", to_agent: "b" },
        { type: "guardrail", name: "polite", triggered: true },
        { type: "custom", name: "mcp tools/list", data: { server: "files", operation: "tools/list" } },
        { type: "custom", name: "sandbox exec", data: { backend: "bubblewrap", operation: "exec" } },
        {
          type: "custom",
          name: "session saveItems",
          data: { backend: "sqlite", operation: "saveItems", conversation_id: "conv" }
        },
        { type: "custom", name: "mine", data: { a: "1" } }
      ])
      const { headers } = endpoint.received[0]!
      assert.deepStrictEqual([headers["openai-organization"], headers["openai-project"]], ["org", "proj"])
      assert.isUndefined(headers["traceparent"])
    }))

  it.live("sends no content, data or message where it must not, by either switch", () =>
    Effect.gen(function*() {
      const canary = "canary-3c1d"
      const program = Effect.exit(agent(
        "a",
        Effect.forEach(
          [
            { _tag: "Generation", provider: "p", model: "m", input: [{ canary }], output: [canary] },
            { _tag: "Tool", name: "t", callId: "c", input: canary, output: canary }
          ] as ReadonlyArray<Tracer.SpanData>,
          (data) => Effect.exit(Tracer.withSpan(Effect.die(new TypeError(canary)), () => data))
        )
      ))
      const endpoint = yield* openAiTraces.start(key)
      yield* program.pipe(Effect.provide(layer({ url: endpoint.url, includeContent: false })))
      yield* program.pipe(
        Effect.provideService(Tracer.IncludeContent, false),
        Effect.provide(layer({ url: endpoint.url }))
      )
      assert.deepStrictEqual([endpoint.faults, endpoint.spans.length], [[], 6])
      assert.notInclude(endpoint.received.map(({ body }) => body.toString("utf8")).join(), canary)
      assert.include(endpoint.spans[0]!.error!.message, "TypeError")
      yield* program.pipe(Effect.provide(layer({ url: endpoint.url })))
      assert.deepStrictEqual([endpoint.faults, endpoint.spans.length], [[], 9])
      assert.include(endpoint.received.at(-1)!.body.toString("utf8"), canary)
    }))

  it.live("cuts fields that are too large, between characters, and keeps lists lists", () =>
    Effect.gen(function*() {
      const endpoint = yield* openAiTraces.start(key)
      const large = "€😀".repeat(60_000)
      yield* agent(
        "a",
        Effect.forEach([
          { _tag: "Tool", name: "t", callId: "c", input: large, output: { large, more: [large] } },
          {
            _tag: "Generation",
            provider: "p",
            model: "m",
            input: Array.from({ length: 3000 }, () => ({ role: "user", content: "x".repeat(100) }))
          },
          { _tag: "Custom", name: "c", data: { large } }
        ] as ReadonlyArray<Tracer.SpanData>, (data) => Tracer.withSpan(Effect.void, () => data))
      ).pipe(Effect.provide(layer({ url: endpoint.url })))
      assert.deepStrictEqual([endpoint.faults, endpoint.spans.length], [[], 4])
      const [first, second] = endpoint.spans.map(({ span_data }) => span_data)
      if (first?.type !== "function" || second?.type !== "generation") return assert.fail("kinds")
      assert.match(first.input!, /^(?:€😀)+€?… \(cut: 180000 characters\)$/u)
      assert.isAbove(Buffer.byteLength(first.input!), 95_000)
      assert.lengthOf(second.input!, 1)
    }))

  it.live("splits what is too large for one request", () =>
    Effect.gen(function*() {
      const endpoint = yield* openAiTraces.start(key)
      yield* agent("a", Effect.forEach(Array.from({ length: 40 }), () => tool("x".repeat(500), Effect.void))).pipe(
        Effect.provide(layer({ url: endpoint.url, maxRequestSize: 10_000 }))
      )
      assert.deepStrictEqual([endpoint.faults, endpoint.spans.length], [[], 41])
      assert.isAbove(endpoint.received.length, 4)
      for (const { body } of endpoint.received) assert.isAtMost(body.length, 10_020)
    }))

  it.live("makes two traces of two runs in one span of the caller", () =>
    Effect.gen(function*() {
      const endpoint = yield* openAiTraces.start(key)
      yield* Effect.forEach(["one", "two"], (name) => agent(name, tool(`of-${name}`, Effect.void))).pipe(
        Effect.withSpan("request"),
        Effect.provide(layer({ url: endpoint.url }))
      )
      assert.deepStrictEqual(endpoint.faults, [])
      assert.strictEqual(new Set(endpoint.traces.map(({ id }) => id)).size, 2)
      for (const trace of endpoint.traces) {
        assert.deepStrictEqual(
          endpoint.spans.filter(({ trace_id }) => trace_id === trace.id).map(nameOf),
          [`of-${trace.workflow_name}`, trace.workflow_name]
        )
      }
    }))

  it.live("tries 5xx and 429 again and 4xx not, and drops and counts what stays refused", () =>
    Effect.gen(function*() {
      const endpoint = yield* openAiTraces.start(key)
      const told: Array<string> = []
      const onError = (error: Tracer.TracerError, spans: number) =>
        Effect.sync(() => void told.push(`${spans}: ${error.message}`))
      const { flush, traced } = yield* open(layer({ url: endpoint.url, onError, flushTimeout: "20 seconds" }))
      const requestsFor = (reply: typeof endpoint.reply) =>
        Effect.gen(function*() {
          const before = endpoint.received.length
          endpoint.reply = (request, received) => reply(request - before, received)
          yield* traced(agent("a", Effect.void))
          yield* flush
          return endpoint.received.length - before
        })
      assert.strictEqual(yield* requestsFor((n) => n < 3 ? { status: n === 1 ? 500 : 429 } : {}), 3)
      assert.strictEqual(yield* requestsFor((n) => n === 1 ? { reset: true } : {}), 2)
      assert.strictEqual(yield* requestsFor(() => ({ status: 503 })), 3)
      assert.strictEqual(yield* requestsFor(() => ({ status: 401, body: `Incorrect API key: ${key}` })), 1)
      assert.strictEqual(yield* requestsFor(() => ({ status: 429, headers: { "retry-after": "3600" } })), 1)
      assert.strictEqual(yield* requestsFor(() => ({})), 1)
      assert.strictEqual(endpoint.spans.length, 3)
      assert.strictEqual(yield* traced(Tracer.dropped), 3)
      assert.lengthOf(told, 3)
      assert.include(told[0], "1: openai: export failed: ")
      assert.include(told[0], "answered 503")
      assert.notInclude(told.join(), key)
      assert.include(told[1], "Check the key")
    }), 30_000)

  it.live("does not slow a run or hold up the end while the endpoint does not answer", () =>
    Effect.gen(function*() {
      const endpoint = yield* openAiTraces.start(key)
      endpoint.reply = () => ({ delay: Infinity })
      const { close, traced } = yield* open(
        Layer.provide(
          layer({ url: endpoint.url, maxQueueSize: 100, maxBatchSize: 10, flushTimeout: "300 millis" }),
          Logger.layer([])
        )
      )
      for (let round = 0; round < 50; round++) {
        yield* traced(agent("a", Effect.forEach(Array.from({ length: 20 }), () => tool("t", Effect.void))))
        yield* Effect.yieldNow
      }
      // A run that waited for the endpoint would wait for ever, and so would the end.
      assert.isAbove(yield* traced(Tracer.dropped), 800)
      yield* close
    }))

  it.live("refuses an empty key, and takes its options from configuration", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Layer.build(
        Layer.provide(TracerOpenAI.layer({ apiKey: Redacted.make(" ") }), FetchHttpClient.layer)
      ))
      assert.strictEqual(error._tag, "TracerError")
      assert.include(error.message, "apiKey is empty")
      const endpoint = yield* openAiTraces.start(key)
      yield* agent("a", Effect.void).pipe(
        Effect.provide(Layer.provide(
          TracerOpenAI.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY"), url: Config.String("URL") }),
          [
            FetchHttpClient.layer,
            ConfigProvider.layer(ConfigProvider.fromUnknown({ OPENAI_API_KEY: key, URL: endpoint.url }))
          ]
        ))
      )
      assert.lengthOf(endpoint.spans, 1)
    }))
})
