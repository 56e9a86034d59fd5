import type * as Prompt from "effect/ai/Prompt"
import type * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { ContentPart } from "../../services/Item.ts"

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

const toJson = Schema.encodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

export const asText = (encoded: unknown): string =>
  typeof encoded === "string"
    ? encoded
    : encoded === undefined
    ? ""
    : Result.getOrThrowWith(toJson(encoded), () =>
      new Error("what it answered is not JSON: give the tool a schema that encodes to JSON"))

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
export const visible = (outcome: ToolOutcome): string | ReadonlyArray<ContentPart> =>
  outcome.isFailure ? `Error: ${asText(outcome.encoded)}` : outcome.content ?? asText(outcome.encoded)
