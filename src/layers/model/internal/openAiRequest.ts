/**
 * A `ModelRequest` as the body of `POST /responses`.
 */
import type { JsonSchema } from "effect/JsonSchema"
import { isReasoning, type Item } from "../../../services/Item.ts"
import type { ModelRequest, ModelSettings, ToolDefinition } from "../../../services/ModelProvider.ts"
import { isRecord } from "./json.ts"

export type Params = Record<string, unknown>

// ---- items

interface Shape {
  readonly fields: ReadonlySet<string>
  /** How the service's own ids of this type begin. */
  readonly prefix: string
  /** An item of this type means nothing without its id. */
  readonly idRequired: boolean
}

const shape = (prefix: string, fields: string, options?: { readonly idRequired: boolean }): Shape => ({
  fields: new Set(["type", "id", ...fields.split(" ")]),
  prefix,
  idRequired: options?.idRequired ?? false
})

const required = { idRequired: true }

/** The input fields that the API documents, by item type. */
const shapes: ReadonlyMap<string, Shape> = new Map([
  ["message", shape("msg", "role content status phase")],
  ["function_call", shape("fc", "call_id name arguments status caller async namespace")],
  ["function_call_output", shape("fc", "call_id output status caller name namespace")],
  ["reasoning", shape("rs", "summary content encrypted_content status")],
  ["custom_tool_call", shape("ctc", "call_id name input caller async namespace")],
  ["custom_tool_call_output", shape("ctc", "call_id output caller")],
  ["compaction", shape("cmp", "encrypted_content")],
  ["file_search_call", shape("fs", "queries status results", required)],
  ["web_search_call", shape("ws", "action status", required)],
  ["code_interpreter_call", shape("ci", "code container_id outputs status", required)],
  [
    "image_generation_call",
    shape("ig", "result status action background error output_format quality revised_prompt size svg_usage", required)
  ],
  // These two are answered by an output, so that they cannot be left out; no prefix takes every id for the service's own.
  ["computer_call", shape("", "call_id pending_safety_checks status action actions", required)],
  ["local_shell_call", shape("", "action call_id status", required)],
  ["computer_call_output", shape("cu", "call_id output acknowledged_safety_checks status")],
  ["shell_call", shape("sh", "action call_id caller environment status")],
  ["shell_call_output", shape("sh", "call_id output caller max_output_length status")],
  ["apply_patch_call", shape("apc", "call_id operation status caller")],
  ["apply_patch_call_output", shape("apc", "call_id status caller output")],
  ["mcp_list_tools", shape("mcpl", "server_label tools error", required)],
  ["mcp_approval_request", shape("mcpr", "arguments name server_label", required)],
  ["mcp_approval_response", shape("mcp", "approval_request_id approve reason")],
  ["mcp_call", shape("mcp", "arguments name server_label approval_request_id error output status", required)],
  ["tool_search_call", shape("tsc", "arguments call_id execution status")],
  ["tool_search_output", shape("ts", "tools call_id execution status")]
])

const parts: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ["input_text", new Set(["type", "text", "prompt_cache_breakpoint"])],
  ["input_image", new Set(["type", "detail", "file_id", "image_url", "prompt_cache_breakpoint"])],
  [
    "input_file",
    new Set(["type", "detail", "file_data", "file_id", "file_url", "filename", "prompt_cache_breakpoint"])
  ],
  ["output_text", new Set(["type", "text", "annotations", "logprobs"])],
  ["refusal", new Set(["type", "refusal"])],
  ["reasoning_text", new Set(["type", "text"])],
  ["summary_text", new Set(["type", "text"])]
])

/** Fields for which the service gives `null` and takes no `null`. */
const notNull = new Set(["id", "status", "phase", "encrypted_content"])

/** Where content parts stand. */
const partFields = ["content", "summary", "output"]

const pick = (value: Readonly<Record<string, unknown>>, fields: ReadonlySet<string>): Params => {
  const out: Params = {}
  for (const key in value) {
    if (fields.has(key) && !(value[key] === null && notNull.has(key))) out[key] = value[key]
  }
  return out
}

const isClean = (value: Readonly<Record<string, unknown>>, fields: ReadonlySet<string>): boolean => {
  for (const key in value) {
    if (!fields.has(key) || (value[key] === null && notNull.has(key))) return false
  }
  return true
}

const cleanParts = (content: unknown): unknown => {
  if (!Array.isArray(content)) return content
  let out: Array<unknown> | undefined
  for (let i = 0; i < content.length; i++) {
    const part: unknown = content[i]
    const fields = isRecord(part) && typeof part.type === "string" ? parts.get(part.type) : undefined
    if (fields === undefined || isClean(part as Params, fields)) continue
    out ??= content.slice()
    out[i] = pick(part as Params, fields)
  }
  return out ?? content
}

/** Keeps documented fields. Types that are not known pass as they are; what needs no change is not copied. */
const cleanItem = (item: Item, known: Shape): Item => {
  let out: Params | undefined = isClean(item, known.fields) ? undefined : pick(item, known.fields)
  for (const field of partFields) {
    const before = (item as Params)[field]
    if (before === undefined || !known.fields.has(field)) continue
    const after = cleanParts(before)
    if (after !== before) (out ??= { ...item })[field] = after
  }
  return (out ?? item) as Item
}

const withoutId = (item: Item): Item => {
  const { id: _, ...rest } = item as Params
  return rest as Item
}

/** What the service's own encrypted texts begin with (a Fernet token of version 0x80). */
const encryptedPrefix = "gAAAA"

/**
 * Makes items fit to be sent: documented fields only; and, where the service is OpenAI's, no ids and no encrypted
 * reasoning that another provider made, and no hosted calls of another provider. Reasoning that the service can neither
 * look up nor read is left out, since it would refuse the whole request.
 */
const inputItems = (
  items: ReadonlyArray<Item>,
  options: {
    /** Ids and encrypted texts must be of the service's own kind. */
    readonly ownOnly: boolean
    /** The service keeps nothing, so that reasoning without its encrypted text cannot be looked up. */
    readonly stateless: boolean
  }
): ReadonlyArray<Item> => {
  const out: Array<Item> = []
  const leftOut = new Set<unknown>()
  let reasoningLeftOut = false
  for (let i = 0; i < items.length; i++) {
    const item = items[i]!
    const known = shapes.get(item.type ?? "message")
    if (known === undefined) {
      out.push(item)
      reasoningLeftOut = false
      continue
    }
    let clean = cleanItem(item, known)
    const { approval_request_id: request, encrypted_content: encrypted, id } = clean as Params
    const isForeign = options.ownOnly && typeof id === "string" && !id.startsWith(known.prefix)
    const isUnreadable = options.ownOnly && typeof encrypted === "string" && encrypted !== "" &&
      !encrypted.startsWith(encryptedPrefix)
    if (isReasoning(clean)) {
      const isReadable = typeof encrypted === "string" && encrypted !== ""
      const canBeLookedUp = typeof id === "string" && !isForeign && !options.stateless
      const isOpen = !options.ownOnly && (clean.content !== undefined || !options.stateless)
      if (isUnreadable || !(isReadable || canBeLookedUp || isOpen)) {
        reasoningLeftOut = true
        continue
      }
    } else if ((isForeign && known.idRequired) || isUnreadable) {
      leftOut.add(id)
      continue
    } else if (item.type === "mcp_approval_response" && leftOut.has(request)) {
      continue
    }
    // The service looks for the reasoning that an item with an id of its own came with.
    if (isForeign || (reasoningLeftOut && typeof id === "string" && !known.idRequired)) clean = withoutId(clean)
    reasoningLeftOut = false
    out.push(clean)
  }
  return out
}

// ---- schemas

const closed = new WeakMap<JsonSchema, JsonSchema>()

/** Strict mode asks for `additionalProperties: false` on every object; where a schema is silent, this says so. */
export const close = (schema: JsonSchema): JsonSchema => {
  const found = closed.get(schema)
  if (found !== undefined) return found
  const out = closeValue(schema) as JsonSchema
  closed.set(schema, out)
  return out
}

const closeValue = (u: unknown): unknown => {
  if (Array.isArray(u)) return u.map(closeValue)
  if (!isRecord(u)) return u
  const out: Params = {}
  for (const key in u) {
    out[key] = key === "properties" || key === "$defs" || key === "definitions"
      ? closeMap(u[key])
      : key === "items" || key === "anyOf" || key === "prefixItems" || key === "allOf"
      ? closeValue(u[key])
      : u[key]
  }
  if (out.type === "object") {
    out.additionalProperties ??= false
    out.properties ??= {}
    if (out.required === undefined && Object.keys(out.properties as Params).length === 0) out.required = []
  }
  return out
}

const closeMap = (u: unknown): unknown => {
  if (!isRecord(u)) return u
  const out: Params = {}
  for (const key in u) out[key] = closeValue(u[key])
  return out
}

// ---- tools

/** The API takes no function without an object schema. */
export const objectSchema = (schema: JsonSchema): JsonSchema =>
  schema.type === "object" ? schema : { ...schema, type: "object", properties: schema.properties ?? {} }

const functionTool = (
  tool: { readonly name: string; readonly description?: string | undefined; readonly parameters: JsonSchema },
  strict: boolean
): Params => ({
  type: "function",
  name: tool.name,
  ...(tool.description === undefined ? {} : { description: tool.description }),
  parameters: strict ? close(objectSchema(tool.parameters)) : objectSchema(tool.parameters),
  strict
})

const toolParam = (tool: ToolDefinition): unknown =>
  tool.type === "hosted" ? tool.definition : functionTool(tool, tool.strict ?? false)

const toolChoice = (choice: NonNullable<ModelSettings["toolChoice"]>, request: ModelRequest): unknown => {
  if (typeof choice === "string") return choice
  const hosted = request.tools?.find((tool) => tool.type === "hosted" && tool.name === choice.tool)
  if (hosted === undefined || hosted.type !== "hosted") return { type: "function", name: choice.tool }
  const definition = hosted.definition
  switch (definition.type) {
    case "function":
    case "custom":
      return { type: definition.type, name: definition.name }
    case "mcp":
      return { type: "mcp", server_label: definition.server_label }
    default:
      return { type: definition.type }
  }
}

// ---- settings

/** The defaults, each field replaced where the request says something; `extra` is merged by name. */
export const settingsOf = (defaults: ModelSettings | undefined, given: ModelSettings | undefined): ModelSettings => {
  if (defaults === undefined) return given ?? {}
  if (given === undefined) return defaults
  const out: Params = { ...defaults }
  for (const [key, value] of Object.entries(given)) {
    if (value !== undefined) out[key] = value
  }
  if (defaults.extra !== undefined && given.extra !== undefined) out.extra = { ...defaults.extra, ...given.extra }
  return out
}

export const setIf = (params: Params, key: string, value: unknown): void => {
  if (value !== undefined) params[key] = value
}

const encrypted = "reasoning.encrypted_content"

export const makeParams = (options: {
  readonly model: string
  readonly request: ModelRequest
  readonly defaults: ModelSettings | undefined
  readonly ownOnly: boolean
  readonly stream: boolean
}): Params => {
  const { request } = options
  const settings = settingsOf(options.defaults, request.settings)
  const stateless = settings.store === false
  const params: Params = {
    model: options.model,
    input: typeof request.input === "string"
      ? request.input
      : inputItems(request.input, { ownOnly: options.ownOnly, stateless })
  }
  setIf(params, "instructions", request.instructions)
  setIf(params, "previous_response_id", request.previousResponseId)
  setIf(params, "conversation", request.conversationId)
  if (request.prompt !== undefined) {
    params.prompt = {
      id: request.prompt.id,
      ...(request.prompt.version === undefined ? {} : { version: request.prompt.version }),
      ...(request.prompt.variables === undefined ? {} : { variables: request.prompt.variables })
    }
  }
  const tools = [
    ...(request.tools ?? []).map(toolParam),
    ...(request.handoffs ?? []).map((handoff) => functionTool(handoff, false))
  ]
  if (tools.length > 0) params.tools = tools
  if (settings.toolChoice !== undefined) params.tool_choice = toolChoice(settings.toolChoice, request)
  setIf(params, "parallel_tool_calls", settings.parallelToolCalls)
  setIf(params, "temperature", settings.temperature)
  setIf(params, "top_p", settings.topP)
  setIf(params, "max_output_tokens", settings.maxOutputTokens)
  setIf(params, "truncation", settings.truncation)
  setIf(params, "store", settings.store)
  setIf(params, "metadata", settings.metadata)
  setIf(params, "prompt_cache_key", settings.promptCacheKey)
  if (settings.reasoning !== undefined) {
    const { effort, summary } = settings.reasoning
    params.reasoning = {
      ...(effort === undefined ? {} : { effort }),
      ...(summary === undefined ? {} : { summary })
    }
  }
  // Reasoning that is not kept can only go into the next request in its encrypted form.
  const include = stateless && settings.reasoning !== undefined
    ? [...new Set([...(settings.include ?? []), encrypted])]
    : settings.include
  setIf(params, "include", include)
  const text: Params = {}
  setIf(text, "verbosity", settings.verbosity)
  if (request.outputSchema !== undefined) {
    const { name, schema, strict } = request.outputSchema
    text.format = { type: "json_schema", name, schema: strict ? close(schema) : schema, strict }
  }
  if (Object.keys(text).length > 0) params.text = text
  for (const [key, value] of Object.entries(settings.extra ?? {})) {
    const before = params[key]
    // `text` and `reasoning` hold what other fields of the request say too.
    params[key] = (key === "text" || key === "reasoning") && isRecord(before) && isRecord(value)
      ? { ...before, ...value }
      : value
  }
  params.stream = options.stream
  return params
}
