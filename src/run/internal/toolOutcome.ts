import type * as Prompt from "effect/ai/Prompt"
import type * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Schema from "effect/Schema"
import { toJson } from "../../services/internal/json.ts"
import type { ContentPart, FunctionCall, Item } from "../../services/Item.ts"
import { functionCallOutput } from "../../services/Item.ts"

/** What a call came to. `encoded` is what the tool's success or failure schema makes of it. */
export interface ToolOutcome {
  readonly encoded: unknown
  readonly isFailure: boolean
  /** What the tool wants the model to see instead. */
  readonly content?: string | ReadonlyArray<ContentPart> | undefined
}

/** Tells what a handler has come to before it is done. */
export type Report = (encoded: unknown) => Effect.Effect<void>

/** One attempt at a call. A failure that the model may see is an outcome. */
export type Handle = (params: any, callId: string, report: Report | undefined) => Effect.Effect<ToolOutcome>

export const failed = (encoded: unknown): ToolOutcome => ({ encoded, isFailure: true })

const encodeJson = Schema.encodeSync(Schema.fromJsonString(Schema.Json))

/** A text as it is, nothing as the empty text, anything else as JSON text. */
export const asText = (value: unknown): string => {
  if (value === undefined) return ""
  const json = toJson(value)
  return typeof json === "string" ? json : encodeJson(json)
}

export const contentPart = (part: Prompt.ToolModelOutputPart): ContentPart => {
  if (part.type === "text") return { type: "input_text", text: part.text }
  const data = part.data instanceof URL
    ? part.data.href
    : typeof part.data === "string"
    ? part.data
    : `data:${part.mediaType};base64,${Base64.encode(part.data)}`
  return part.mediaType.startsWith("image/")
    ? { type: "input_image", image_url: data, detail: "auto" }
    : { type: "input_file", file_data: data, ...(part.fileName === undefined ? {} : { filename: part.fileName }) }
}

/** A failure is marked in words, since the wire form has no field for it. */
const visible = ({ content, encoded, isFailure }: ToolOutcome): string | ReadonlyArray<ContentPart> =>
  isFailure
    ? `Error: ${asText(encoded)}`
    : content === undefined
    ? asText(encoded)
    : toJson(content) as string | ReadonlyArray<ContentPart>

/** A call that has its output. */
export interface Answer {
  readonly output: Item
  readonly tool: string
  readonly callId: string
  /** The result as the tool's success or failure schema encodes it. */
  readonly value: Schema.Json
  readonly isFailure: boolean
}

/** The answer to a call. What a handler returns becomes JSON here, so that states and stores can hold it. */
export const answerCall = (call: FunctionCall, outcome: ToolOutcome): Answer => ({
  output: functionCallOutput(call.call_id, visible(outcome)) as Item,
  tool: call.name,
  callId: call.call_id,
  value: toJson(outcome.encoded),
  isFailure: outcome.isFailure
})
