import * as Predicate from "effect/Predicate"
import type { SpanData } from "../../../services/Tracer.ts"
import { toJson } from "./encode.ts"

/** @see https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ */
interface Message {
  readonly role: string
  readonly parts: ReadonlyArray<Readonly<Record<string, unknown>>>
}

const isList = (u: unknown): u is ReadonlyArray<unknown> => Array.isArray(u)

const partOf = (part: unknown): Readonly<Record<string, unknown>> => {
  if (!Predicate.isObject(part)) return { type: "text", content: part }
  const { refusal, text, type, ...rest } = part as Record<string, unknown>
  if (text !== undefined) return { type: "text", content: text }
  return refusal === undefined ? { type: String(type), ...rest } : { type: "refusal", content: refusal }
}

const messageOf = (item: unknown): Message => {
  if (!Predicate.isObject(item)) return { role: "user", parts: [partOf(item)] }
  const { arguments: input, call_id: id, content, name, output, role, type, ...rest } = item as Record<string, unknown>
  switch (type) {
    case undefined:
    case "message":
      return { role: String(role), parts: isList(content) ? content.map(partOf) : [partOf(content)] }
    case "function_call":
      return { role: "assistant", parts: [{ type: "tool_call", id, name, arguments: input }] }
    case "function_call_output":
      return { role: "tool", parts: [{ type: "tool_call_response", id, response: output }] }
    default:
      return {
        role: "assistant",
        parts: [{ type: String(type), ...(name === undefined ? undefined : { name }), ...rest }]
      }
  }
}

const messages = (items: unknown): ReadonlyArray<Message> => (isList(items) ? items : [items]).map(messageOf)

const textOf = (value: unknown, maxText: number): string => typeof value === "string" ? value : toJson(value, maxText)

/** The content of a span by the conventions, each attribute a text: that is how all collectors take them. */
export const contentAttributes = (data: SpanData, maxText: number): ReadonlyArray<readonly [string, string]> => {
  const out: Array<readonly [string, string]> = []
  const add = (key: string, text: string) => out.push([key, text.slice(0, maxText)])
  if (data._tag === "Generation") {
    if (data.input !== undefined) add("gen_ai.input.messages", toJson(messages(data.input), maxText))
    if (data.output !== undefined) add("gen_ai.output.messages", toJson(messages(data.output), maxText))
  } else if (data._tag === "Tool") {
    if (data.input !== undefined) add("gen_ai.tool.call.arguments", data.input)
    if (data.output !== undefined) add("gen_ai.tool.call.result", textOf(data.output, maxText))
  } else if (data._tag === "Custom" && data.data !== undefined) {
    add("agent_layers.custom.data", toJson(data.data, maxText))
  }
  return out
}
