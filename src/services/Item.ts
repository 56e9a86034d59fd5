/**
 * One entry of a conversation: an OpenAI Responses API item in its wire form (snake_case), the vocabulary that every
 * store and every model provider here shares. Known types are checked by Schema; unknown types and unknown fields
 * pass through untouched, so that nothing a provider sent is lost. What makes a list of items valid is in `History`.
 *
 * @see https://platform.openai.com/docs/api-reference/responses/object
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { toJsonUnsafe } from "./internal/json.ts"

/**
 * A part of a message or of a tool output: text, refusal, image, file, or any other type.
 *
 * @category models
 * @since 0.1.0
 */
export interface ContentPart {
  readonly type: string
  readonly text?: string
  readonly refusal?: string
  readonly [key: string]: unknown
}

/**
 * What a person, the developer, the system or the model said.
 *
 * @category models
 * @since 0.1.0
 */
export interface Message {
  readonly type?: "message"
  readonly role: "user" | "assistant" | "system" | "developer"
  readonly content: string | ReadonlyArray<ContentPart>
  readonly id?: string
  readonly status?: string
  readonly [key: string]: unknown
}

/**
 * The model asks for a tool. `arguments` is the JSON text exactly as the model wrote it.
 *
 * @category models
 * @since 0.1.0
 */
export interface FunctionCall {
  readonly type: "function_call"
  readonly call_id: string
  readonly name: string
  readonly arguments: string
  readonly id?: string
  readonly status?: string
  readonly [key: string]: unknown
}

/**
 * The answer to a `FunctionCall`, joined to it by `call_id`.
 *
 * @category models
 * @since 0.1.0
 */
export interface FunctionCallOutput {
  readonly type: "function_call_output"
  readonly call_id: string
  readonly output: string | ReadonlyArray<ContentPart>
  readonly id?: string
  readonly [key: string]: unknown
}

/**
 * What the model thought before the item that follows it. It means nothing to a provider without that item.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reasoning {
  readonly type: "reasoning"
  readonly summary: ReadonlyArray<ContentPart>
  readonly id?: string
  readonly encrypted_content?: string | null
  readonly content?: ReadonlyArray<ContentPart>
  readonly [key: string]: unknown
}

/**
 * An item of a type that this version does not look into: hosted tools, compaction, whatever comes next.
 *
 * @category models
 * @since 0.1.0
 */
export interface Other {
  readonly type: string
  readonly [key: string]: unknown
}

/**
 * @category models
 * @since 0.1.0
 */
export type Item = Message | FunctionCall | FunctionCallOutput | Reasoning | Other

interface Fields {
  readonly [key: string]: unknown
}

const isFields = (u: unknown): u is Fields => typeof u === "object" && u !== null && !Array.isArray(u)

const isOptionalString = (u: unknown): boolean => u === undefined || typeof u === "string"

const isId = (u: unknown): boolean => u === null || isOptionalString(u)

const isPart = (u: unknown): boolean =>
  isFields(u) && typeof u["type"] === "string" && isOptionalString(u["text"]) && isOptionalString(u["refusal"])

const isContent = (u: unknown): boolean => typeof u === "string" || (Array.isArray(u) && u.every(isPart))

const isCallId = (u: unknown): boolean => typeof u === "string" && u !== ""

const roles: ReadonlySet<unknown> = new Set(["user", "assistant", "system", "developer"])

/**
 * Whether a value is an item: one of the known types with its fields, or an object with any other `type`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isItem = (u: unknown): u is Item => {
  if (!isFields(u)) return false
  switch (u["type"]) {
    case undefined:
    case "message":
      return roles.has(u["role"]) && isContent(u["content"]) && isId(u["id"])
    case "function_call":
      return isCallId(u["call_id"]) && typeof u["name"] === "string" && typeof u["arguments"] === "string" &&
        isId(u["id"])
    case "function_call_output":
      return isCallId(u["call_id"]) && isContent(u["output"]) && isId(u["id"])
    case "reasoning":
      return Array.isArray(u["summary"]) && u["summary"].every(isPart) && isId(u["id"])
    default:
      return typeof u["type"] === "string" && u["type"] !== ""
  }
}

/**
 * Schema of an item. Decoding checks the known fields and returns the very object that was given, unknown fields and
 * all; encoding is the identity.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Item: Schema.Codec<Item> = Schema.declare<Item>(isItem, {
  expected: "a Responses API item (an object with a type, or a message with role and content)",
  toCodecJson: () =>
    Schema.link<Item>()(
      Schema.Json,
      SchemaTransformation.transform({
        decode: (json) => json as unknown as Item,
        encode: (item) => toJsonUnsafe(item)
      })
    )
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const user = (content: string | ReadonlyArray<ContentPart>): Message => ({
  type: "message",
  role: "user",
  content
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const system = (text: string): Message => ({ type: "message", role: "system", content: text })

/**
 * @category constructors
 * @since 0.1.0
 */
export const developer = (text: string): Message => ({ type: "message", role: "developer", content: text })

/**
 * A finished assistant message with one text part, as a model sends it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const assistant = (text: string, options?: { readonly id?: string | undefined }): Message => ({
  type: "message",
  role: "assistant",
  status: "completed",
  content: [{ type: "output_text", text, annotations: [] }],
  ...(options?.id === undefined ? undefined : { id: options.id })
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const functionCall = (options: {
  readonly callId: string
  readonly name: string
  /** JSON text. */
  readonly arguments: string
  readonly id?: string | undefined
}): FunctionCall => ({
  type: "function_call",
  call_id: options.callId,
  name: options.name,
  arguments: options.arguments,
  ...(options.id === undefined ? undefined : { id: options.id })
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const functionCallOutput = (
  callId: string,
  output: string | ReadonlyArray<ContentPart>
): FunctionCallOutput => ({ type: "function_call_output", call_id: callId, output })

/**
 * @category guards
 * @since 0.1.0
 */
export const isMessage = (item: Item): item is Message =>
  item.type === "message" || (item.type === undefined && "role" in item)

/**
 * @category guards
 * @since 0.1.0
 */
export const isFunctionCall = (item: Item): item is FunctionCall => item.type === "function_call"

/**
 * @category guards
 * @since 0.1.0
 */
export const isFunctionCallOutput = (item: Item): item is FunctionCallOutput => item.type === "function_call_output"

/**
 * @category guards
 * @since 0.1.0
 */
export const isReasoning = (item: Item): item is Reasoning => item.type === "reasoning"

/**
 * Whether the model made the item, as against people and tools. Every type that is not known counts as the model's,
 * except tool outputs (`*_output`) and answers to approval requests.
 *
 * @category guards
 * @since 0.1.0
 */
export const isFromModel = (item: Item): boolean =>
  isMessage(item)
    ? item.role === "assistant"
    : !(item.type as string).endsWith("_output") && item.type !== "mcp_approval_response"

/**
 * The text of a message: its text parts joined. Empty for every other item.
 *
 * @category accessors
 * @since 0.1.0
 */
export const text = (item: Item): string => {
  if (!isMessage(item)) return ""
  if (typeof item.content === "string") return item.content
  let out = ""
  for (const part of item.content) {
    if (typeof part.text === "string") out += part.text
  }
  return out
}

/**
 * The refusal in an assistant message, if there is one.
 *
 * @category accessors
 * @since 0.1.0
 */
export const refusal = (item: Item): string | undefined =>
  isMessage(item) && typeof item.content !== "string"
    ? item.content.find((part) => part.type === "refusal")?.refusal
    : undefined
