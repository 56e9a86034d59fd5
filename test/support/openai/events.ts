/**
 * The event sequence of a streamed response, and the response object itself.
 */
import { encryptedPrefix, type Json, type JsonObject, type Reply, type Wire } from "./Reply.ts"

type Obj = Record<string, Json>

export interface Rendered {
  /** The whole response, as a JSON answer holds it. */
  readonly response: JsonObject
  /** Every event of the stream in order, the terminal one last. */
  readonly events: ReadonlyArray<JsonObject>
}

const prefixes: Readonly<Record<string, string>> = {
  message: "msg",
  function_call: "fc",
  reasoning: "rs",
  custom_tool_call: "ctc",
  web_search_call: "ws",
  file_search_call: "fs",
  code_interpreter_call: "ci",
  image_generation_call: "ig",
  computer_call: "cu",
  local_shell_call: "lsh",
  shell_call: "sh",
  apply_patch_call: "apc",
  mcp_call: "mcp",
  mcp_list_tools: "mcpl",
  mcp_approval_request: "mcpr",
  tool_search_call: "tsc",
  compaction: "cmp"
}

const withCallId = new Set([
  "function_call",
  "custom_tool_call",
  "computer_call",
  "local_shell_call",
  "shell_call",
  "apply_patch_call"
])

const withoutStatus = new Set(["reasoning", "custom_tool_call", "mcp_list_tools", "mcp_approval_request", "compaction"])

const estimate = (value: Json): number => Math.ceil(JSON.stringify(value).length / 4)

const pieces = (text: string, wire: Wire): ReadonlyArray<string> => {
  if (text === "") return []
  if (wire.deltas !== undefined && wire.deltas.join("") === text) return wire.deltas
  if (wire.deltaSize !== undefined) {
    const characters = Array.from(text)
    const out: Array<string> = []
    for (let i = 0; i < characters.length; i += wire.deltaSize) {
      out.push(characters.slice(i, i + wire.deltaSize).join(""))
    }
    return out
  }
  return text.match(/\s*\S+|\s+$/g) ?? [text]
}

/** Gives each item its id, call id and status. */
export const complete = (
  reply: Extract<Reply, { kind: "response" }>,
  mint: (prefix: string) => string
): ReadonlyArray<JsonObject> =>
  reply.output.map((item, index) => {
    const type = String(item.type)
    const cut = reply.status !== "completed" && index === reply.output.length - 1
    return {
      ...(reply.wire.ids === false ? {} : { id: mint(prefixes[type] ?? "item") }),
      ...(withoutStatus.has(type) ? {} : { status: cut ? "incomplete" : "completed" }),
      ...(withCallId.has(type) ? { call_id: mint("call") } : {}),
      ...item
    }
  })

const usageOf = (wire: Wire, input: Json, output: ReadonlyArray<JsonObject>): JsonObject | undefined => {
  if (wire.usage === null) return undefined
  const given = wire.usage
  const inputTokens = given?.input ?? (given === undefined ? estimate(input) : 0)
  const outputTokens = given?.output ?? (given === undefined ? estimate(output) : 0)
  return {
    input_tokens: inputTokens,
    input_tokens_details: { cache_write_tokens: given?.cacheWrite ?? 0, cached_tokens: given?.cached ?? 0 },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: given?.reasoning ?? 0 },
    total_tokens: inputTokens + outputTokens
  }
}

const echo = (body: JsonObject): Obj => ({
  background: body.background ?? false,
  instructions: body.instructions ?? null,
  max_output_tokens: body.max_output_tokens ?? null,
  max_tool_calls: body.max_tool_calls ?? null,
  parallel_tool_calls: body.parallel_tool_calls ?? true,
  previous_response_id: body.previous_response_id ?? null,
  prompt: body.prompt ?? null,
  prompt_cache_key: body.prompt_cache_key ?? null,
  reasoning: { effort: null, summary: null, ...(body.reasoning as JsonObject | undefined) },
  safety_identifier: body.safety_identifier ?? null,
  service_tier: body.service_tier ?? "default",
  store: body.store ?? true,
  temperature: body.temperature ?? 1,
  text: { format: { type: "text" }, verbosity: "medium", ...(body.text as JsonObject | undefined) },
  tool_choice: body.tool_choice ?? "auto",
  tools: body.tools ?? [],
  top_logprobs: body.top_logprobs ?? 0,
  top_p: body.top_p ?? 1,
  truncation: body.truncation ?? "disabled",
  user: body.user ?? null,
  metadata: body.metadata ?? {}
})

const omit = (item: JsonObject, key: string): Obj =>
  Object.fromEntries(Object.entries(item).filter(([name]) => name !== key))

/** The events of one item, without sequence numbers. */
const itemEvents = (item: JsonObject, index: number, wire: Wire, obfuscate: boolean): ReadonlyArray<Obj> => {
  const at: Obj = wire.ids === false ? { output_index: index } : { item_id: item.id as string, output_index: index }
  const noise: Obj = obfuscate ? { obfuscation: "x7Qd0a" } : {}
  const out: Array<Obj> = []
  const added = (fields: Obj) =>
    out.push({
      type: "response.output_item.added",
      output_index: index,
      // The real service sends a first, shorter encrypted text here; only the one of the done event is whole.
      item: {
        ...item,
        ...("encrypted_content" in item ? { encrypted_content: `${encryptedPrefix}early` } : {}),
        ...fields
      }
    })
  const started: Obj = "status" in item ? { status: "in_progress" } : {}
  switch (item.type) {
    case "message": {
      added({ ...started, content: [] })
      const content = Array.isArray(item.content) ? item.content as ReadonlyArray<JsonObject> : []
      content.forEach((part, contentIndex) => {
        const where: Obj = { ...at, content_index: contentIndex }
        const key = part.type === "refusal" ? "refusal" : "text"
        const empty: Obj = part.type === "refusal" ? { ...part, refusal: "" } : { ...part, text: "", annotations: [] }
        out.push({ type: "response.content_part.added", ...where, part: empty })
        const whole = part[key] as string
        const name = key === "refusal" ? "response.refusal" : "response.output_text"
        const logprobs: Obj = key === "refusal" ? {} : { logprobs: [] }
        for (const delta of pieces(whole, wire)) {
          out.push({ type: `${name}.delta`, ...where, delta, ...logprobs, ...noise })
        }
        const annotations = Array.isArray(part.annotations) ? part.annotations as ReadonlyArray<Json> : []
        annotations.forEach((annotation, annotationIndex) => {
          out.push({
            type: "response.output_text.annotation.added",
            ...where,
            annotation_index: annotationIndex,
            annotation
          })
        })
        out.push({ type: `${name}.done`, ...where, [key]: whole, ...logprobs })
        out.push({ type: "response.content_part.done", ...where, part })
      })
      break
    }
    case "function_call": {
      added({ ...started, arguments: "" })
      for (const delta of pieces(item.arguments as string, wire)) {
        out.push({ type: "response.function_call_arguments.delta", ...at, delta, ...noise })
      }
      out.push({ type: "response.function_call_arguments.done", ...at, arguments: item.arguments as string })
      break
    }
    case "custom_tool_call": {
      added({ input: "" })
      for (const delta of pieces(item.input as string, wire)) {
        out.push({ type: "response.custom_tool_call_input.delta", ...at, delta, ...noise })
      }
      out.push({ type: "response.custom_tool_call_input.done", ...at, input: item.input as string })
      break
    }
    case "reasoning": {
      added({ ...started, summary: [], ...("content" in item ? { content: [] } : {}) })
      const summary = item.summary as ReadonlyArray<JsonObject>
      summary.forEach((part, summaryIndex) => {
        const where: Obj = { ...at, summary_index: summaryIndex }
        out.push({ type: "response.reasoning_summary_part.added", ...where, part: { ...part, text: "" } })
        for (const delta of pieces(part.text as string, wire)) {
          out.push({ type: "response.reasoning_summary_text.delta", ...where, delta, ...noise })
        }
        out.push({ type: "response.reasoning_summary_text.done", ...where, text: part.text as string })
        out.push({ type: "response.reasoning_summary_part.done", ...where, part })
      })
      const content = Array.isArray(item.content) ? item.content as ReadonlyArray<JsonObject> : []
      content.forEach((part, contentIndex) => {
        const where: Obj = { ...at, content_index: contentIndex }
        out.push({ type: "response.content_part.added", ...where, part: { ...part, text: "" } })
        for (const delta of pieces(part.text as string, wire)) {
          out.push({ type: "response.reasoning_text.delta", ...where, delta, ...noise })
        }
        out.push({ type: "response.reasoning_text.done", ...where, text: part.text as string })
        out.push({ type: "response.content_part.done", ...where, part })
      })
      break
    }
    default:
      added(started)
  }
  out.push({ type: "response.output_item.done", output_index: index, item })
  return out
}

export const render = (options: {
  readonly reply: Extract<Reply, { kind: "response" }>
  readonly output: ReadonlyArray<JsonObject>
  readonly body: JsonObject
  readonly id: string
  readonly input: Json
}): Rendered => {
  const { body, output, reply } = options
  const wire = reply.wire
  const seconds = Math.floor(Date.now() / 1000)
  const usage = usageOf(wire, options.input, output)
  const conversation = body.conversation === undefined || body.conversation === null
    ? {}
    : { conversation: typeof body.conversation === "string" ? { id: body.conversation } : body.conversation }
  const base: Obj = {
    id: options.id,
    object: "response",
    created_at: seconds,
    ...echo(body),
    ...conversation,
    model: wire.model ?? (body.model as string)
  }
  const early: Obj = {
    ...base,
    status: "in_progress",
    error: null,
    incomplete_details: null,
    output: [],
    usage: null
  }
  const response: JsonObject = {
    ...base,
    status: reply.status,
    completed_at: reply.status === "completed" ? seconds : null,
    error: reply.error === undefined ? null : { ...reply.error },
    incomplete_details: reply.incompleteReason === undefined ? null : { reason: reply.incompleteReason },
    output,
    ...(usage === undefined ? {} : { usage })
  }
  const streamOptions = body.stream_options as JsonObject | null | undefined
  const obfuscate = streamOptions?.include_obfuscation !== false
  const events: Array<Obj> = [
    { type: "response.created", response: early },
    { type: "response.in_progress", response: early }
  ]
  output.forEach((item, index) => {
    events.push(...itemEvents(item, index, wire, obfuscate))
  })
  events.push(...(wire.extraEvents ?? []))
  events.push({ type: `response.${reply.status}`, response })
  return {
    response,
    events: events.map((event, index) => ({ sequence_number: index, ...event }))
  }
}

/** Encrypted reasoning appears in items only where the request included it, as in the real service. */
export const withoutEncrypted = (item: JsonObject): JsonObject =>
  item.type === "reasoning" ? omit(item, "encrypted_content") : item

export const errorEvent = (
  options: NonNullable<Wire["errorEvent"]>,
  sequence: number
): JsonObject => {
  const code = options.code === undefined ? "server_error" : options.code
  const message = options.message ?? "The server had an error processing your request."
  return options.nested === true
    ? { type: "error", sequence_number: sequence, error: { type: code, code, message, param: null } }
    : { type: "error", sequence_number: sequence, code, message, param: null }
}

export const frame = (event: JsonObject, wire: Wire): string => {
  const newline = wire.crlf === true ? "\r\n" : "\n"
  const comment = wire.comments === true ? `: keep-alive${newline}${newline}` : ""
  return `${comment}event: ${String(event.type)}${newline}data: ${JSON.stringify(event)}${newline}${newline}`
}
