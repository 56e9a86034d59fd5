/** OpenAI's traces endpoint, strict: a schema for each kind of item, ids, sizes, order, keys. */
import { Effect, Schema } from "effect"
import * as assert from "node:assert"
import * as peer from "./peer.ts"

const OrNull = <S extends Schema.Constraint>(schema: S) => Schema.Union([schema, Schema.Null])
const pattern = (regex: RegExp) => Schema.String.check(Schema.isPattern(regex))
const TraceId = pattern(/^trace_[0-9a-f]{32}$/)
const SpanId = pattern(/^span_[0-9a-f]{24}$/)
const Iso = pattern(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
const Objects = Schema.Array(Schema.Record(Schema.String, Schema.Unknown))
const Usage = Schema.Struct({ input_tokens: Schema.Int, output_tokens: Schema.Int })

const SpanData = Schema.Union([
  Schema.Struct({
    type: Schema.Literal("agent"),
    name: Schema.String,
    handoffs: Schema.Array(Schema.String),
    tools: Schema.Array(Schema.String),
    output_type: Schema.Null
  }),
  Schema.Struct({
    type: Schema.Literal("generation"),
    model: Schema.String,
    model_config: Schema.Record(Schema.String, Schema.Unknown),
    input: OrNull(Objects),
    output: OrNull(Objects),
    usage: OrNull(Usage)
  }),
  Schema.Struct({
    type: Schema.Literal("function"),
    name: Schema.String,
    input: OrNull(Schema.String),
    output: OrNull(Schema.String)
  }),
  Schema.Struct({ type: Schema.Literal("handoff"), from_agent: Schema.String, to_agent: Schema.String }),
  Schema.Struct({ type: Schema.Literal("guardrail"), name: Schema.String, triggered: Schema.Boolean }),
  Schema.Struct({ type: Schema.Literal("custom"), name: Schema.String, data: Schema.Unknown })
])

const Item = Schema.Union([
  Schema.Struct({
    object: Schema.Literal("trace"),
    id: TraceId,
    workflow_name: Schema.String,
    group_id: OrNull(Schema.String),
    metadata: OrNull(Schema.Record(Schema.String, Schema.String))
  }),
  Schema.Struct({
    object: Schema.Literal("trace.span"),
    id: SpanId,
    trace_id: TraceId,
    parent_id: OrNull(SpanId),
    started_at: Iso,
    ended_at: Iso,
    span_data: SpanData,
    error: OrNull(Schema.Struct({ message: Schema.String, data: Schema.Unknown }))
  })
])

type Item = typeof Item.Type
export type TraceItem = Extract<Item, { readonly object: "trace" }>
export type SpanItem = Extract<Item, { readonly object: "trace.span" }>

const decode = Schema.decodeUnknownSync(Schema.Struct({ data: Schema.Array(Item) }), { onExcessProperty: "error" })

const maximumField = 100_000

/** Until the scope closes. Knows one key. */
export const start = (key: string) =>
  Effect.gen(function*() {
    const traces: Array<TraceItem> = []
    const spans: Array<SpanItem> = []
    const ids = new Set<string>()
    const endpoint = yield* peer.start(({ body, headers, method, path }) => {
      assert.strictEqual(method, "POST")
      assert.strictEqual(path, "/v1/traces/ingest")
      assert.strictEqual(headers["authorization"], `Bearer ${key}`)
      assert.strictEqual(headers["openai-beta"], "traces=v1")
      assert.strictEqual(headers["content-type"], "application/json")
      const { data } = decode(JSON.parse(body.toString("utf8")))
      const order: Array<string> = []
      for (const item of data) {
        const trace = item.object === "trace" ? item.id : item.trace_id
        if (order.at(-1) !== trace) {
          assert.ok(!order.includes(trace), "what belongs to a trace stands together")
          order.push(trace)
        }
        if (item.object === "trace") {
          assert.ok(!ids.has(item.id), "a trace begins once")
          ids.add(item.id)
          traces.push(item)
          continue
        }
        assert.ok(ids.has(item.trace_id), "a trace comes before its spans")
        assert.ok(!ids.has(item.id), "a span ends once")
        ids.add(item.id)
        for (const field of Object.values(item.span_data)) {
          const text = typeof field === "string" ? field : JSON.stringify(field)
          assert.ok(Buffer.byteLength(text) <= maximumField, "a field within its size")
        }
        spans.push(item)
      }
    })
    return Object.assign(endpoint, { traces, spans, url: `${endpoint.origin}/v1/traces/ingest` })
  })
