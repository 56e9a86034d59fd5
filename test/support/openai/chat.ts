/**
 * The peer's replies as Chat Completions has them: chunks of a stream, and whole answers.
 */
import { http, type Json, type JsonObject, type Reply, type Wire } from "./Reply.ts"

type Obj = Record<string, Json>

type Answered = Extract<Reply, { kind: "response" }>

/** The end of a stream; it is no JSON on the wire. */
export const done: JsonObject = { done: true }

export const chatFrame = (event: JsonObject, wire: Wire): string => {
  const newline = wire.crlf === true ? "\r\n" : "\n"
  const comment = wire.comments === true ? `: keep-alive${newline}${newline}` : ""
  return `${comment}data: ${event === done ? "[DONE]" : JSON.stringify(event)}${newline}${newline}`
}

const pieces = (text: string, wire: Wire): ReadonlyArray<string> => {
  if (text === "") return []
  if (wire.deltas !== undefined && wire.deltas.join("") === text) return wire.deltas
  return text.match(/\s*\S+|\s+$/g) ?? [text]
}

const finishReasons: Readonly<Record<string, string>> = {
  max_output_tokens: "length",
  content_filter: "content_filter"
}

interface Parts {
  readonly text: string
  readonly refusal: string
  readonly reasoning: string
  readonly calls: ReadonlyArray<JsonObject>
}

const partsOf = (output: ReadonlyArray<JsonObject>): Parts => {
  let text = ""
  let refusal = ""
  let reasoning = ""
  const calls: Array<JsonObject> = []
  for (const item of output) {
    if (item.type === "function_call") calls.push(item)
    const content = [
      ...(Array.isArray(item.content) ? item.content as ReadonlyArray<JsonObject> : []),
      ...(Array.isArray(item.summary) ? item.summary as ReadonlyArray<JsonObject> : [])
    ]
    for (const part of content) {
      if (item.type === "reasoning") reasoning += part.text as string
      else if (part.type === "refusal") refusal += part.refusal as string
      else text += part.text as string
    }
  }
  return { text, refusal, reasoning, calls }
}

const estimate = (value: Json): number => Math.ceil(JSON.stringify(value).length / 4)

const usageOf = (wire: Wire, body: JsonObject, output: ReadonlyArray<JsonObject>): JsonObject | undefined => {
  if (wire.usage === null) return undefined
  const given = wire.usage
  const prompt = given?.input ?? (given === undefined ? estimate(body.messages ?? []) : 0)
  const completion = given?.output ?? (given === undefined ? estimate(output) : 0)
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: given?.cached ?? 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: given?.reasoning ?? 0, audio_tokens: 0 }
  }
}

const errorChunk = (options: NonNullable<Wire["errorEvent"]>): JsonObject => ({
  error: {
    message: options.message ?? "The server had an error processing your request.",
    type: "server_error",
    param: null,
    code: options.code === undefined ? "server_error" : options.code
  }
})

/** Answers a request: a list of events, or a whole body. `output` has its ids. */
export const renderChat = (options: {
  readonly reply: Answered
  readonly output: ReadonlyArray<JsonObject>
  readonly body: JsonObject
  readonly id: string
}): ReadonlyArray<JsonObject> | string => {
  const { body, id, output, reply } = options
  const wire = reply.wire
  const { calls, reasoning, refusal, text } = partsOf(output)
  const finish = reply.status === "incomplete"
    ? finishReasons[reply.incompleteReason ?? ""] ?? reply.incompleteReason ?? "length"
    : calls.length > 0
    ? "tool_calls"
    : "stop"
  const usage = usageOf(wire, body, output)
  const head = (object: string): Obj => ({
    id,
    object,
    created: 1_780_000_000,
    model: wire.model ?? body.model ?? null,
    system_fingerprint: null,
    service_tier: "default"
  })
  const callOf = (call: JsonObject): Obj => ({
    ...(wire.ids === false ? {} : { id: call.call_id ?? null }),
    type: "function"
  })
  if (body.stream !== true) {
    const message: Obj = {
      role: "assistant",
      content: text === "" ? null : text,
      refusal: refusal === "" ? null : refusal,
      annotations: []
    }
    if (reasoning !== "") message.reasoning_content = reasoning
    if (calls.length > 0) {
      message.tool_calls = calls.map((call) => ({
        ...callOf(call),
        function: { name: call.name ?? null, arguments: call.arguments ?? null }
      }))
    }
    return JSON.stringify({
      ...head("chat.completion"),
      choices: [{ index: 0, message, logprobs: null, finish_reason: finish }],
      ...(usage === undefined ? {} : { usage })
    })
  }
  const counts = (body.stream_options as JsonObject | null | undefined)?.include_usage === true
  const chunk = (delta: Obj, finishReason: string | null = null): JsonObject => ({
    ...head("chat.completion.chunk"),
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
    ...(counts ? { usage: null } : {})
  })
  const events: Array<JsonObject> = [chunk({ role: "assistant", content: "", refusal: null })]
  for (const delta of pieces(reasoning, wire)) events.push(chunk({ reasoning_content: delta }))
  for (const delta of pieces(text, wire)) events.push(chunk({ content: delta }))
  for (const delta of pieces(refusal, wire)) events.push(chunk({ refusal: delta }))
  calls.forEach((call, index) => {
    events.push(chunk({
      tool_calls: [{ index, ...callOf(call), function: { name: call.name ?? null, arguments: "" } }]
    }))
    for (const delta of pieces(call.arguments as string, wire)) {
      events.push(chunk({ tool_calls: [{ index, function: { arguments: delta } }] }))
    }
  })
  if (wire.errorEvent !== undefined) {
    return [...events.slice(0, wire.errorEvent.after), errorChunk(wire.errorEvent)]
  }
  if (wire.terminal === false) return events
  events.push(...(wire.extraEvents ?? []), chunk({}, finish))
  if (counts && usage !== undefined) events.push({ ...head("chat.completion.chunk"), choices: [], usage })
  events.push(done)
  return events
}

/** A stream of these very chunks; strings are data that is sent as it is. */
export const chunks = (list: ReadonlyArray<JsonObject | string>, wire: Wire = {}): Reply =>
  http(
    200,
    list.map((one) => `data: ${typeof one === "string" ? one : JSON.stringify(one)}\n\n`).join(""),
    { ...wire, headers: { "content-type": "text/event-stream; charset=utf-8", ...wire.headers } }
  )

/** One chunk, or a whole answer, with this delta or message. */
export const chunk = (delta: JsonObject, finishReason: string | null = null): JsonObject => ({
  id: "chatcmpl-1",
  object: "chat.completion.chunk",
  model: "other",
  choices: [{ index: 0, delta, finish_reason: finishReason }]
})

/** A whole answer with this very message. */
export const whole = (message: JsonObject, finishReason = "stop", fields: JsonObject = {}): Reply =>
  http(
    200,
    JSON.stringify({
      id: "chatcmpl-1",
      object: "chat.completion",
      model: "other",
      choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: finishReason }],
      ...fields
    })
  )
