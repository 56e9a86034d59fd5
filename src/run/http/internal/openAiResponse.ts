/**
 * A run as a response of the Responses API: the object, and the events from which a client builds the same.
 *
 * @see https://platform.openai.com/docs/api-reference/responses-streaming
 */
import type { ContentPart } from "../../../services/Item.ts"
import { errorOf } from "./openAiError.ts"
import { type Ended, frame, type Writer } from "./openAiWriter.ts"

type Fields = Readonly<Record<string, unknown>>

export interface Asked {
  readonly id: string
  /** Milliseconds since 1970. */
  readonly now: number
  readonly model: string
  readonly instructions: string | undefined
  readonly previousResponseId: string | undefined
  readonly conversationId: string | undefined
  readonly store: boolean
  readonly metadata: Readonly<Record<string, string>>
  readonly user: string | undefined
}

const usageOf = ({ usage }: Ended) => ({
  input_tokens: usage.inputTokens,
  input_tokens_details: { cached_tokens: usage.cachedTokens, cache_write_tokens: 0 },
  output_tokens: usage.outputTokens,
  output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
  total_tokens: usage.totalTokens
})

const seconds = (millis: number): number => Math.floor(millis / 1000)

/** A message while it is written: its parts in order, the last one of which is open. */
interface Message {
  readonly key: string
  readonly id: string
  readonly index: number
  readonly parts: Array<{ readonly type: "output_text" | "refusal"; text: string }>
}

interface Call {
  readonly index: number
  readonly item: Fields
}

const partOf = (type: "output_text" | "refusal", text: string, annotations: ReadonlyArray<unknown> = []) =>
  type === "refusal" ? { type, refusal: text } : { type, text, annotations, logprobs: [] }

const kindOf = (part: ContentPart): "output_text" | "refusal" | undefined =>
  typeof part.refusal === "string" ? "refusal" : typeof part.text === "string" ? "output_text" : undefined

export const make = (asked: Asked): Writer => {
  const nonce = asked.id.slice(asked.id.indexOf("_") + 1)
  const output: Array<Fields> = []
  const calls = new Map<string, Call>()
  let open: Message | undefined
  let sequence = 0
  let store = asked.store
  let state: Fields = { status: "in_progress", error: null, incomplete_details: null, usage: null }

  const body = () => ({
    id: asked.id,
    object: "response",
    created_at: seconds(asked.now),
    background: false,
    completed_at: null,
    ...state,
    instructions: asked.instructions ?? null,
    max_output_tokens: null,
    metadata: asked.metadata,
    model: asked.model,
    output: output.slice(),
    parallel_tool_calls: true,
    previous_response_id: asked.previousResponseId ?? null,
    conversation: asked.conversationId === undefined ? null : { id: asked.conversationId },
    reasoning: { effort: null, summary: null },
    store,
    temperature: null,
    text: { format: { type: "text" } },
    tool_choice: "auto",
    tools: [],
    top_p: null,
    truncation: "disabled",
    user: asked.user ?? null
  })

  const event = (type: string, fields: Fields): Uint8Array =>
    frame({ type, sequence_number: sequence++, ...fields }, type)

  const whole = (type: string) => event(type, { response: body() })

  const itemOf = ({ id, parts }: Message, status: string, content?: ReadonlyArray<Fields>): Fields => ({
    id,
    type: "message",
    role: "assistant",
    status,
    content: content ?? parts.map(({ text, type }) => partOf(type, text))
  })

  const add = (item: Fields): number => {
    output.push(item)
    return output.length - 1
  }

  const place = (message: Message) => ({
    item_id: message.id,
    output_index: message.index,
    content_index: message.parts.length - 1
  })

  const openMessage = (key: string, frames: Array<Uint8Array>): Message => {
    if (open !== undefined && open.key === key) return open
    if (open !== undefined) closeMessage(open, "completed", [], frames)
    const message: Message = { key, id: `msg_${nonce}_${output.length}`, index: output.length, parts: [] }
    const item = itemOf(message, "in_progress")
    add(item)
    frames.push(event("response.output_item.added", { output_index: message.index, item }))
    open = message
    return message
  }

  const closePart = (message: Message, annotations: ReadonlyArray<unknown>, frames: Array<Uint8Array>): void => {
    const part = message.parts.at(-1)
    if (part === undefined) return
    if (part.type === "refusal") {
      frames.push(event("response.refusal.done", { ...place(message), refusal: part.text }))
    } else {
      annotations.forEach((annotation, annotation_index) =>
        frames.push(
          event("response.output_text.annotation.added", { ...place(message), annotation_index, annotation })
        )
      )
      frames.push(event("response.output_text.done", { ...place(message), text: part.text, logprobs: [] }))
    }
    frames.push(
      event("response.content_part.done", { ...place(message), part: partOf(part.type, part.text, annotations) })
    )
  }

  const say = (message: Message, type: "output_text" | "refusal", delta: string, frames: Array<Uint8Array>): void => {
    let part = message.parts.at(-1)
    if (part === undefined || part.type !== type) {
      closePart(message, [], frames)
      part = { type, text: "" }
      message.parts.push(part)
      frames.push(event("response.content_part.added", { ...place(message), part: partOf(type, "") }))
    }
    part.text += delta
    if (delta === "") return
    const fields = { ...place(message), delta }
    frames.push(
      type === "refusal"
        ? event("response.refusal.delta", fields)
        : event("response.output_text.delta", { ...fields, logprobs: [] })
    )
    output[message.index] = itemOf(message, "in_progress")
  }

  const closeMessage = (
    message: Message,
    status: string,
    annotations: ReadonlyArray<unknown>,
    frames: Array<Uint8Array>
  ): void => {
    closePart(message, annotations, frames)
    const last = message.parts.length - 1
    const content = message.parts.map(({ text, type }, index) => partOf(type, text, index === last ? annotations : []))
    const item = itemOf(message, status, content)
    output[message.index] = item
    frames.push(event("response.output_item.done", { output_index: message.index, item }))
    open = undefined
  }

  /** What the whole message has beyond its pieces is said now; pieces that were told are not taken back. */
  const finish = (key: string, parts: ReadonlyArray<ContentPart>, frames: Array<Uint8Array>): void => {
    const message = openMessage(key, frames)
    if (message.parts.length === 0) {
      for (const part of parts) {
        const kind = kindOf(part)
        if (kind !== undefined) say(message, kind, part.text ?? part.refusal ?? "", frames)
      }
    }
    // Positions in one of several texts would point elsewhere in the text that they make together.
    const texts = parts.filter((part) => kindOf(part) === "output_text")
    const isOne = texts.length === 1 && message.parts.length === 1
    const annotations: unknown = isOne ? texts[0]!["annotations"] : undefined
    closeMessage(message, "completed", Array.isArray(annotations) ? annotations : [], frames)
  }

  const end = (status: string, fields: Fields): Array<Uint8Array> => {
    const frames: Array<Uint8Array> = []
    if (open !== undefined) closeMessage(open, "incomplete", [], frames)
    for (const { index, item } of calls.values()) {
      output[index] = { ...item, status: "incomplete" }
      frames.push(event("response.output_item.done", { output_index: index, item: output[index] }))
    }
    calls.clear()
    state = { ...state, status, ...fields }
    return frames
  }

  return {
    id: asked.id,
    body,
    begin: () => [whole("response.created"), whole("response.in_progress")],
    write: (shown) => {
      const frames: Array<Uint8Array> = []
      switch (shown._tag) {
        case "Text":
          say(openMessage(shown.key, frames), "output_text", shown.delta, frames)
          break
        case "Refusal":
          say(openMessage(shown.key, frames), "refusal", shown.delta, frames)
          break
        case "Message":
          finish(shown.key, shown.parts, frames)
          break
        case "ToolStarted": {
          const index = output.length
          const item: Fields = {
            id: `mcp_${nonce}_${index}`,
            type: "mcp_call",
            status: "in_progress",
            server_label: shown.agent,
            name: shown.name,
            arguments: shown.arguments,
            approval_request_id: null,
            output: null,
            error: null
          }
          add(item)
          calls.set(shown.callId, { index, item })
          const at = { output_index: index, item_id: item["id"] }
          frames.push(
            event("response.output_item.added", { output_index: index, item: { ...item, arguments: "" } }),
            event("response.mcp_call.in_progress", at),
            event("response.mcp_call_arguments.delta", { ...at, delta: shown.arguments }),
            event("response.mcp_call_arguments.done", { ...at, arguments: shown.arguments })
          )
          break
        }
        case "ToolFinished": {
          const call = calls.get(shown.callId)
          if (call === undefined) break
          calls.delete(shown.callId)
          const { index } = call
          const item: Fields = shown.isFailure
            ? { ...call.item, status: "failed", error: { type: "mcp_tool_execution_error", content: shown.output } }
            : { ...call.item, status: "completed", output: shown.output }
          output[index] = item
          frames.push(
            event(`response.mcp_call.${shown.isFailure ? "failed" : "completed"}`, {
              output_index: index,
              item_id: item["id"]
            }),
            event("response.output_item.done", { output_index: index, item })
          )
        }
      }
      return frames
    },
    forgo: () => {
      store = false
    },
    complete: (ended) => {
      const usage = usageOf(ended)
      const { incompleteReason: reason } = ended
      const frames = reason === undefined
        ? end("completed", { usage, completed_at: seconds(ended.now) })
        : end("incomplete", { usage, incomplete_details: { reason } })
      return () => [...frames, whole(`response.${reason === undefined ? "completed" : "incomplete"}`)]
    },
    fail: (problem, status) => {
      const { code, message, type } = errorOf(problem)
      const frames = end(status, { error: { code: type === "server_error" ? type : code, message } })
      return [...frames, whole("response.failed")]
    }
  }
}
