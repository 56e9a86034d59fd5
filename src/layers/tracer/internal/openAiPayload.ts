import type { EndedSpan, SpanData, Trace, TraceEntry } from "../../../services/Tracer.ts"
import { cutText, toJson, toPlain } from "./encode.ts"

/** What the endpoint takes of one field, in bytes of UTF-8. */
export const maximumField = 100_000

export interface PayloadOptions {
  readonly includeContent: boolean
}

/** Its ids have a prefix and so many hexadecimal digits. */
const digits = (id: string, length: number): string => id.padStart(length, "0").slice(-length)

/**
 * Two runs in one span of the caller share a trace id, but are two traces here. The first span's id makes the
 * difference, at the front, where a trace id of its own has random digits too.
 */
export const traceIdOf = (trace: Trace): string => `trace_${digits(trace.rootSpanId, 16)}${digits(trace.traceId, 16)}`

const spanIdOf = (spanId: string): string => `span_${digits(spanId, 24)}`

/** As JSON a character takes at most 6 bytes. */
const sizeOf = (text: string): number => Buffer.byteLength(JSON.stringify(text))

const cutBytes = (text: string, room = maximumField): string => {
  if (text.length * 6 + 2 <= room || sizeOf(text) <= room) return text
  let max = room
  while (true) {
    const cut = cutText(text, max)
    const bytes = sizeOf(cut)
    if (bytes <= room) return cut
    max = Math.min(max - 1, Math.floor(max * (room / bytes)))
  }
}

const text = (value: unknown): string => cutBytes(typeof value === "string" ? value : toJson(value, maximumField))

/** What is too large is sent as the beginning of its JSON, in the form that the field must have. */
const field = (value: unknown, wrap: (text: string) => unknown): unknown => {
  const json = toJson(value, maximumField)
  return json.length * 3 <= maximumField || Buffer.byteLength(json) <= maximumField
    ? toPlain(value, maximumField)
    : wrap(cutBytes(json, maximumField - 100))
}

/** A list of messages, whatever it was. */
const list = (value: unknown): unknown =>
  field(
    (Array.isArray(value) ? value : [value]).map((one) =>
      typeof one === "object" && one !== null ? one : { type: "message", role: "user", content: one }
    ),
    (content) => [{ type: "message", role: "user", content }]
  )

const usageOf = (data: SpanData): { readonly input_tokens: number; readonly output_tokens: number } | undefined =>
  "usage" in data && data.usage !== undefined
    ? { input_tokens: data.usage.inputTokens, output_tokens: data.usage.outputTokens }
    : undefined

const custom = (name: string, data: Record<string, unknown>) => ({
  type: "custom",
  name,
  data: field(data, (cut) => ({ cut }))
})

const spanData = (data: SpanData, { includeContent }: PayloadOptions): Record<string, unknown> => {
  switch (data._tag) {
    case "Agent":
      return { type: "agent", name: data.agent, handoffs: [], tools: data.tools ?? [], output_type: null }
    case "Turn":
      return custom("turn", {
        sdk_span_type: "turn",
        turn: data.turn,
        agent_name: data.agent,
        ...(data.usage === undefined ? undefined : { usage: usageOf(data) })
      })
    case "Generation":
      return {
        type: "generation",
        model: data.model,
        model_config: {},
        input: includeContent && data.input !== undefined ? list(data.input) : null,
        output: includeContent && data.output !== undefined ? list(data.output) : null,
        usage: usageOf(data) ?? null
      }
    case "Tool":
      return {
        type: "function",
        name: data.name,
        input: includeContent && data.input !== undefined ? text(data.input) : null,
        output: includeContent && data.output !== undefined ? text(data.output) : null
      }
    case "Handoff":
      return { type: "handoff", from_agent: data.from, to_agent: data.to }
    case "Guardrail":
      return { type: "guardrail", name: data.name, triggered: data.isTripped ?? false }
    case "Mcp":
      return custom(`mcp ${data.operation}`, { server: data.server, operation: data.operation })
    case "Sandbox":
      return custom(`sandbox ${data.operation}`, { backend: data.backend, operation: data.operation })
    case "Session":
      return custom(`session ${data.operation}`, {
        backend: data.backend,
        operation: data.operation,
        ...(data.conversationId === undefined ? undefined : { conversation_id: data.conversationId })
      })
    case "Custom":
      return custom(data.name, includeContent ? data.data ?? {} : {})
  }
}

const errorOf = (span: EndedSpan, includeContent: boolean): unknown => {
  if (span.outcome === "interrupted") return { message: "Interrupted", data: null }
  if (span.error === undefined) return null
  const { message, tag } = span.error
  return { message: includeContent ? cutBytes(`${tag}: ${message}`, 10_000) : tag, data: { type: tag } }
}

export interface PayloadItem {
  /** Of the trace that it belongs to. */
  readonly trace: string
  readonly body: string
}

/**
 * The traces that began and the spans that ended, each as the text that is sent. Spans that belong to no trace are left
 * out: the endpoint has no place for them.
 */
export const encode = (
  entries: ReadonlyArray<TraceEntry>,
  toIso: (millis: number) => string,
  options: PayloadOptions
): ReadonlyArray<PayloadItem> => {
  const items: Array<PayloadItem> = []
  for (const entry of entries) {
    if (entry._tag === "TraceStart") {
      const { trace } = entry
      items.push({
        trace: traceIdOf(trace),
        body: toJson({
          object: "trace",
          id: traceIdOf(trace),
          workflow_name: trace.workflowName,
          group_id: trace.groupId ?? null,
          metadata: trace.metadata ?? null
        }, maximumField)
      })
    } else if (entry._tag === "SpanEnd" && entry.span.trace !== undefined) {
      const { span } = entry
      const trace = traceIdOf(entry.span.trace)
      const isRoot = span.spanId === entry.span.trace.rootSpanId
      items.push({
        trace,
        body: toJson({
          object: "trace.span",
          id: spanIdOf(span.spanId),
          trace_id: trace,
          parent_id: isRoot || span.parentId === undefined ? null : spanIdOf(span.parentId),
          started_at: toIso(span.startedAt),
          ended_at: toIso(span.endedAt),
          span_data: spanData(span.data, options),
          error: errorOf(span, options.includeContent)
        }, maximumField)
      })
    }
  }
  return items
}

/** Requests of at most so many bytes, what belongs to one trace together; a trace comes before its spans. */
export const group = (items: ReadonlyArray<PayloadItem>, maxBytes: number): ReadonlyArray<string> => {
  const traces = new Map<string, Array<string>>()
  for (const { body, trace } of items) {
    const known = traces.get(trace)
    if (known === undefined) traces.set(trace, [body])
    else known.push(body)
  }
  const requests: Array<string> = []
  let data: Array<string> = []
  let bytes = 0
  const close = () => {
    if (data.length > 0) requests.push(`{"data":[${data.join(",")}]}`)
    data = []
    bytes = 0
  }
  for (const bodies of traces.values()) {
    for (const body of bodies) {
      const size = Buffer.byteLength(body) + 1
      if (bytes + size > maxBytes) close()
      data.push(body)
      bytes += size
    }
  }
  close()
  return requests
}
