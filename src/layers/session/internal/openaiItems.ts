/**
 * Items on their way into a conversation that OpenAI keeps, and out of one. The service gives each an id and a status of
 * its own and makes parts of a text; what it added is taken off again.
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SessionError from "../../../services/SessionError.ts"

type Fields = Record<string, unknown>

interface Shape {
  readonly fields: ReadonlySet<string>
  /** What ids of the service begin with, where the item is nothing without its id. */
  readonly id: string | undefined
}

const shape = (fields: string, id?: string): Shape => ({ fields: new Set(["type", ...fields.split(" ")]), id })

/** The input fields that the API documents, by item type. */
const shapes: ReadonlyMap<string, Shape> = new Map([
  ["message", shape("role content status phase")],
  ["function_call", shape("call_id name arguments status caller async namespace")],
  ["function_call_output", shape("call_id output status caller name namespace")],
  ["custom_tool_call", shape("call_id name input caller async namespace")],
  ["custom_tool_call_output", shape("call_id output caller")],
  ["reasoning", shape("summary content encrypted_content status", "rs_")],
  ["compaction", shape("encrypted_content")],
  ["file_search_call", shape("queries status results", "fs")],
  ["web_search_call", shape("action status", "ws")],
  ["code_interpreter_call", shape("code container_id outputs status", "ci")],
  [
    "image_generation_call",
    shape("result status action background error output_format quality revised_prompt size svg_usage", "ig")
  ],
  ["computer_call", shape("call_id pending_safety_checks status action actions", "cu")],
  ["computer_call_output", shape("call_id output acknowledged_safety_checks status")],
  ["local_shell_call", shape("action call_id status", "lsh")],
  ["shell_call", shape("action call_id caller environment status")],
  ["shell_call_output", shape("call_id output caller max_output_length status")],
  ["apply_patch_call", shape("call_id operation status caller")],
  ["apply_patch_call_output", shape("call_id status caller output")],
  ["mcp_list_tools", shape("server_label tools error", "mcpl")],
  ["mcp_approval_request", shape("arguments name server_label", "mcpr")],
  ["mcp_approval_response", shape("approval_request_id approve reason")],
  ["mcp_call", shape("arguments name server_label approval_request_id error output status", "mcp")],
  ["tool_search_call", shape("arguments call_id execution status")],
  ["tool_search_output", shape("tools call_id execution status")]
])

const maxText = 10_485_760

const maxCallId = 64

const decodeItem = Schema.decodeUnknownResult(
  Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown))
)

const typeOf = (item: Fields): string => typeof item["type"] === "string" ? item["type"] : "message"

const invalid = (description: string) => Result.fail(new SessionError.InvalidInput({ description }))

const tooLong = (limit: string, maximum: number, actual: number) =>
  Result.fail(new SessionError.LimitExceeded({ limit, maximum, actual }))

/** The texts of an item that the service limits. */
const textsOf = (value: unknown): ReadonlyArray<string> =>
  typeof value === "string"
    ? [value]
    : Array.isArray(value)
    ? value.flatMap((part: unknown) => Predicate.isReadonlyObject(part) ? textsOf(part["text"]) : [])
    : []

/**
 * An entry as it is sent, or why the service would refuse it. Fields that the API does not document are left out, and
 * so are ids that the item can do without: the service gives its own.
 *
 * @internal
 */
export const toService = (
  entry: string,
  index: number
): Result.Result<Fields, SessionError.SessionErrorReason> => {
  const decoded = decodeItem(entry)
  if (Result.isFailure(decoded)) return invalid(`items[${index}] is no object`)
  const item = decoded.success
  const type = typeOf(item)
  const known = shapes.get(type)
  const here = `items[${index}] (${type})`
  if (known === undefined) {
    return invalid(
      `items[${index}] has type "${type}", which OpenAI Conversations does not keep. ` +
        `Use another session for it, and none of the layers that seal or pack items`
    )
  }
  const out: Fields = { type }
  for (const [name, value] of Object.entries(item)) {
    if (known.fields.has(name) && !(value === null && (name === "status" || name === "phase"))) out[name] = value
  }
  if (known.id !== undefined) {
    const { id } = item
    if (typeof id !== "string" || !id.startsWith(known.id)) {
      return invalid(`${here} has no id of OpenAI's: OpenAI Conversations keeps such items of its own models only`)
    }
    out["id"] = id
  }
  const { call_id: callId, name } = out
  if (typeof callId === "string" && callId.length > maxCallId) {
    return tooLong(`Characters in the call_id of ${here}`, maxCallId, callId.length)
  }
  if (type === "function_call" && typeof name === "string" && !/^[a-zA-Z0-9_-]{1,64}$/.test(name)) {
    return invalid(`${here} has a name that OpenAI does not take: letters, digits, _ and -, at most 64`)
  }
  for (const text of ["content", "output", "arguments", "input"].flatMap((field) => textsOf(out[field]))) {
    if (text.length > maxText) return tooLong(`Characters in a text of ${here}`, maxText, text.length)
  }
  return Result.succeed(out)
}

const withoutEmpty = (part: unknown): unknown => {
  if (!Predicate.isReadonlyObject(part) || part["type"] !== "output_text" || !Array.isArray(part["logprobs"])) {
    return part
  }
  const { logprobs, ...rest } = part
  const { annotations, text, type, ...more } = rest
  return { type, text, annotations, ...more, ...(logprobs.length === 0 ? {} : { logprobs }) }
}

/** The text of a message that has one part and nothing beside its text. */
const onlyText = (content: unknown): string | undefined => {
  if (!Array.isArray(content) || content.length !== 1) return undefined
  const part: unknown = content[0]
  return Predicate.isReadonlyObject(part) && part["type"] === "input_text" && typeof part["text"] === "string" &&
      Object.keys(part).length === 2
    ? part["text"]
    : undefined
}

/**
 * What the service answered, as an entry.
 *
 * @internal
 */
export const fromService = (item: unknown): string => {
  if (!Predicate.isReadonlyObject(item)) return JSON.stringify(item)
  const type = typeOf(item)
  const known = shapes.get(type)
  if (known === undefined) return JSON.stringify(item)
  const { id, status, ...rest } = item
  if (type !== "message") {
    return JSON.stringify({
      type,
      ...(known.id === undefined ? {} : { id }),
      ...rest,
      ...(status === undefined || (status === "completed" && known.id === undefined) ? {} : { status })
    })
  }
  const { content, role, type: _, ...more } = rest
  return JSON.stringify(
    role === "assistant"
      ? { type, role, status, content: Array.isArray(content) ? content.map(withoutEmpty) : content, ...more }
      : { type, role, content: onlyText(content) ?? content, ...more }
  )
}
