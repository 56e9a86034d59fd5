/**
 * What the real service refuses, with the status, message, param and code that it answers.
 */
import { encryptedPrefix, type ErrorBody, type Json, type JsonObject } from "./Reply.ts"

export interface Refusal {
  readonly status: number
  readonly error: ErrorBody
}

/** What the service remembers and needs in order to judge an input. */
export interface Memory {
  /** Items of the stored response or conversation that the request goes on from, oldest first. */
  readonly history: ReadonlyArray<JsonObject>
  /** Items that the service keeps, by id. */
  readonly stored: ReadonlyMap<string, JsonObject>
  /** For each item that the service made after thinking: the id of the reasoning that it needs. */
  readonly reasoningOf: ReadonlyMap<string, string>
  /** For each reasoning item that the service made: the id of the item that must follow it. */
  readonly followerOf: ReadonlyMap<string, string>
}

export const refuse = (message: string, param: string | null, code: string | null, status = 400): Refusal => ({
  status,
  error: { message, param, code }
})

// ---- types of fields

export type Check = (value: Json, path: string) => Refusal | undefined

const named = (value: Json): string => {
  if (value === null) return "null"
  if (Array.isArray(value)) return "an array"
  if (typeof value === "object") return "an object"
  if (typeof value === "boolean") return "a boolean"
  if (typeof value === "string") return "a string"
  return Number.isInteger(value) ? "an integer" : "a decimal"
}

export const wrong = (path: string, expected: string, value: Json): Refusal =>
  refuse(`Invalid type for '${path}': expected ${expected}, but got ${named(value)} instead.`, path, "invalid_type")

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

export const any: Check = () => undefined
export const string: Check = (v, p) => typeof v === "string" ? undefined : wrong(p, "a string", v)
export const boolean: Check = (v, p) => typeof v === "boolean" ? undefined : wrong(p, "a boolean", v)
export const object: Check = (v, p) => isObject(v) ? undefined : wrong(p, "an object", v)
export const filled: Check = (v, p) =>
  string(v, p) ?? (v === ""
    ? refuse(
      `Invalid '${p}': empty string. Expected a string with minimum length 1, but got an empty string instead.`,
      p,
      "empty_string"
    )
    : undefined)

export const nullable = (check: Check): Check => (v, p) => v === null ? undefined : check(v, p)

const list = (values: ReadonlyArray<string>): string => {
  const quoted = values.map((value) => `'${value}'`)
  return quoted.length < 2 ? quoted.join("") : `${quoted.slice(0, -1).join(", ")}, and ${quoted.at(-1)}`
}

export const oneOf = (...values: ReadonlyArray<string>): Check => (v, p) =>
  string(v, p) ?? (values.includes(v as string)
    ? undefined
    : refuse(`Invalid value: '${String(v)}'. Supported values are: ${list(values)}.`, p, "invalid_value"))

export const number = (minimum: number, maximum: number): Check => (v, p) => {
  if (typeof v !== "number") return wrong(p, "a decimal", v)
  if (v < minimum) {
    return refuse(
      `Invalid '${p}': decimal below minimum value. Expected a value >= ${minimum}, but got ${v} instead.`,
      p,
      "decimal_below_min_value"
    )
  }
  return v > maximum
    ? refuse(
      `Invalid '${p}': decimal above maximum value. Expected a value <= ${maximum}, but got ${v} instead.`,
      p,
      "decimal_above_max_value"
    )
    : undefined
}

export const integer = (minimum: number): Check => (v, p) => {
  if (typeof v !== "number" || !Number.isInteger(v)) return wrong(p, "an integer", v)
  return v < minimum
    ? refuse(
      `Invalid '${p}': integer below minimum value. Expected a value >= ${minimum}, but got ${v} instead.`,
      p,
      "integer_below_min_value"
    )
    : undefined
}

export const array = (check: Check): Check => (v, p) => {
  if (!Array.isArray(v)) return wrong(p, "an array", v)
  for (let i = 0; i < v.length; i++) {
    const found = check(v[i], `${p}[${i}]`)
    if (found !== undefined) return found
  }
  return undefined
}

const id = (prefix: string): Check => (v, p) =>
  string(v, p) ?? ((v as string).startsWith(prefix)
    ? undefined
    : refuse(`Invalid '${p}': '${String(v)}'. Expected an ID that begins with '${prefix}'.`, p, "invalid_value"))

export const name: Check = (v, p) =>
  filled(v, p) ?? (/^[a-zA-Z0-9_-]+$/.test(v as string)
    ? (v as string).length <= 64
      ? undefined
      : refuse(
        `Invalid '${p}': string too long. Expected a string with maximum length 64, but got a string with length ${
          (v as string).length
        } instead.`,
        p,
        "string_above_max_length"
      )
    : refuse(
      `Invalid '${p}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.`,
      p,
      "invalid_value"
    ))

interface Fields {
  readonly required: Readonly<Record<string, Check>>
  readonly optional: Readonly<Record<string, Check>>
}

export const fields = (spec: Fields): Check => (v, p) => {
  if (!isObject(v)) return wrong(p, "an object", v)
  for (const key of Object.keys(v)) {
    if (!Object.hasOwn(spec.required, key) && !Object.hasOwn(spec.optional, key)) {
      return refuse(`Unknown parameter: '${p}.${key}'.`, `${p}.${key}`, "unknown_parameter")
    }
  }
  for (const key of Object.keys(spec.required)) {
    if (v[key] === undefined) {
      return refuse(`Missing required parameter: '${p}.${key}'.`, `${p}.${key}`, "missing_required_parameter")
    }
  }
  for (const [key, value] of Object.entries(v)) {
    const found = (spec.required[key] ?? spec.optional[key])!(value, `${p}.${key}`)
    if (found !== undefined) return found
  }
  return undefined
}

export const byType = (specs: Readonly<Record<string, Check>>): Check => (v, p) => {
  if (!isObject(v)) return wrong(p, "an object", v)
  if (v.type === undefined) {
    return refuse(`Missing required parameter: '${p}.type'.`, `${p}.type`, "missing_required_parameter")
  }
  return oneOf(...Object.keys(specs))(v.type, `${p}.type`) ?? specs[v.type as string]!(v, p)
}

// ---- content

const breakpoint: Readonly<Record<string, Check>> = { prompt_cache_breakpoint: nullable(object) }

const inputText = fields({ required: { type: any, text: string }, optional: breakpoint })
const inputImage = fields({
  required: { type: any },
  optional: {
    detail: nullable(oneOf("low", "high", "auto", "original")),
    file_id: nullable(string),
    image_url: nullable(string),
    ...breakpoint
  }
})
const inputFile = fields({
  required: { type: any },
  optional: {
    detail: oneOf("auto", "low", "high"),
    file_data: nullable(string),
    file_id: nullable(string),
    file_url: nullable(string),
    filename: nullable(string),
    ...breakpoint
  }
})

const inputContent = byType({ input_text: inputText, input_image: inputImage, input_file: inputFile })

const outputContent = byType({
  output_text: fields({
    required: { type: any, text: string },
    optional: { annotations: array(object), logprobs: array(object) }
  }),
  refusal: fields({ required: { type: any, refusal: string }, optional: {} })
})

const contentOf = (part: Check): Check => (v, p) => {
  if (typeof v === "string") return undefined
  return Array.isArray(v) ? array(part)(v, p) : wrong(p, "one of an array of objects or string", v)
}

// ---- items

const status = nullable(oneOf("in_progress", "completed", "incomplete"))

const message: Check = (v, p) => {
  const item = v as JsonObject
  const assistant = item.role === "assistant"
  return fields({
    required: {
      role: oneOf("user", "assistant", "system", "developer"),
      content: contentOf(assistant ? outputContent : inputContent)
    },
    optional: { type: oneOf("message"), id: id("msg"), status, phase: nullable(oneOf("commentary", "final_answer")) }
  })(v, p)
}

const caller = nullable(object)

const itemSpecs: Readonly<Record<string, Check>> = {
  message,
  function_call: fields({
    required: { type: any, call_id: filled, name, arguments: string },
    optional: { id: id("fc"), status, caller, async: boolean, namespace: string }
  }),
  function_call_output: fields({
    required: { type: any, call_id: filled, output: contentOf(inputContent) },
    optional: { id: nullable(string), status, caller, name: nullable(string), namespace: nullable(string) }
  }),
  custom_tool_call: fields({
    required: { type: any, call_id: filled, name, input: string },
    optional: { id: id("ctc"), caller, async: boolean, namespace: string }
  }),
  custom_tool_call_output: fields({
    required: { type: any, call_id: filled, output: contentOf(inputContent) },
    optional: { id: string, caller }
  }),
  reasoning: fields({
    required: {
      type: any,
      summary: array(fields({ required: { type: oneOf("summary_text"), text: string }, optional: {} }))
    },
    optional: {
      id: id("rs"),
      status,
      encrypted_content: nullable(string),
      content: nullable(array(fields({ required: { type: oneOf("reasoning_text"), text: string }, optional: {} })))
    }
  }),
  compaction: fields({
    required: { type: any, encrypted_content: string },
    optional: { id: nullable(string) }
  }),
  compaction_trigger: fields({ required: { type: any }, optional: { id: nullable(string) } }),
  file_search_call: fields({
    required: { type: any, id: id("fs"), queries: array(string), status: string },
    optional: { results: nullable(array(object)) }
  }),
  web_search_call: fields({ required: { type: any, id: id("ws"), status: string }, optional: { action: object } }),
  code_interpreter_call: fields({
    required: { type: any, id: id("ci"), code: nullable(string), container_id: string, status: string },
    optional: { outputs: nullable(array(object)) }
  }),
  image_generation_call: fields({
    required: { type: any, id: id("ig"), result: nullable(string), status: string },
    optional: {
      action: nullable(string),
      background: nullable(string),
      error: object,
      output_format: nullable(string),
      quality: nullable(string),
      revised_prompt: nullable(string),
      size: nullable(string),
      svg_usage: object
    }
  }),
  computer_call: fields({
    required: { type: any, id: id("cu"), call_id: filled, pending_safety_checks: array(object), status: string },
    optional: { action: object, actions: array(object) }
  }),
  computer_call_output: fields({
    required: { type: any, call_id: filled, output: object },
    optional: { id: nullable(string), acknowledged_safety_checks: nullable(array(object)), status }
  }),
  local_shell_call: fields({
    required: { type: any, id: id("lsh"), call_id: filled, action: object, status: string },
    optional: {}
  }),
  local_shell_call_output: fields({ required: { type: any, id: string, output: string }, optional: { status } }),
  shell_call: fields({
    required: { type: any, call_id: filled, action: object },
    optional: { id: id("sh"), caller, environment: nullable(object), status }
  }),
  shell_call_output: fields({
    required: { type: any, call_id: filled, output: array(object) },
    optional: { id: nullable(string), caller, max_output_length: nullable(integer(0)), status }
  }),
  apply_patch_call: fields({
    required: { type: any, call_id: filled, operation: object, status: string },
    optional: { id: nullable(id("apc")), caller }
  }),
  apply_patch_call_output: fields({
    required: { type: any, call_id: filled, status: string },
    optional: { id: nullable(string), caller, output: nullable(string) }
  }),
  mcp_list_tools: fields({
    required: { type: any, id: id("mcpl"), server_label: string, tools: array(object) },
    optional: { error: nullable(any) }
  }),
  mcp_approval_request: fields({
    required: { type: any, id: id("mcpr"), server_label: string, name: string, arguments: string },
    optional: {}
  }),
  mcp_approval_response: fields({
    required: { type: any, approval_request_id: string, approve: boolean },
    optional: { id: nullable(string), reason: nullable(string) }
  }),
  mcp_call: fields({
    required: { type: any, id: id("mcp"), server_label: string, name: string, arguments: string },
    optional: { approval_request_id: nullable(string), error: nullable(any), output: nullable(string), status: string }
  }),
  tool_search_call: fields({
    required: { type: any, arguments: any },
    optional: { id: nullable(string), call_id: nullable(string), execution: oneOf("server", "client"), status }
  }),
  tool_search_output: fields({
    required: { type: any, tools: array(object) },
    optional: { id: nullable(string), call_id: nullable(string), execution: oneOf("server", "client"), status }
  }),
  item_reference: fields({ required: { id: string }, optional: { type: any } })
}

const item: Check = (v, p) => {
  if (!isObject(v)) return wrong(p, "an object", v)
  if (v.type === undefined && v.role !== undefined) return message(v, p)
  return byType(itemSpecs)(v, p)
}

// ---- schemas under `strict`

const forbidden = [
  "oneOf",
  "allOf",
  "not",
  "if",
  "then",
  "else",
  "dependentRequired",
  "dependentSchemas",
  "patternProperties",
  "propertyNames",
  "uniqueItems"
]

/** What keeps a schema from strict mode, in the service's words, or `undefined`. */
export const strictProblem = (schema: Json, context: ReadonlyArray<string> = []): string | undefined => {
  const at = `In context=(${context.map((part) => `'${part}'`).join(", ")}${context.length === 1 ? "," : ""})`
  if (!isObject(schema)) return `${at}, schema must be a JSON object.`
  if (context.length === 0 && schema.type !== "object") {
    return `schema must be a JSON Schema of 'type: "object"', got 'type: "${String(schema.type ?? "None")}"'.`
  }
  if (context.length === 0 && schema.anyOf !== undefined) return `${at}, 'anyOf' is not permitted at the root.`
  for (const keyword of forbidden) {
    if (schema[keyword] !== undefined) return `${at}, '${keyword}' is not permitted.`
  }
  const types = Array.isArray(schema.type) ? schema.type : [schema.type]
  if (
    schema.type === undefined && schema.anyOf === undefined && schema.$ref === undefined &&
    schema.enum === undefined && schema.const === undefined
  ) {
    return `${at}, schema must have a 'type' key.`
  }
  if (types.includes("object")) {
    if (schema.additionalProperties !== false) {
      return `${at}, 'additionalProperties' is required to be supplied and to be false.`
    }
    const properties = isObject(schema.properties) ? schema.properties : {}
    const required = Array.isArray(schema.required) ? schema.required : []
    for (const key of Object.keys(properties)) {
      if (!required.includes(key)) {
        return `${at}, 'required' is required to be supplied and to be an array including every key in properties. Missing '${key}'.`
      }
    }
    for (const [key, value] of Object.entries(properties)) {
      const found = strictProblem(value, [...context, "properties", key])
      if (found !== undefined) return found
    }
  }
  if (types.includes("array")) {
    if (schema.items === undefined) return `${at}, array schema missing items.`
    const found = strictProblem(schema.items, [...context, "items"])
    if (found !== undefined) return found
  }
  if (Array.isArray(schema.anyOf)) {
    for (let i = 0; i < schema.anyOf.length; i++) {
      const found = strictProblem(schema.anyOf[i], [...context, "anyOf", String(i)])
      if (found !== undefined) return found
    }
  }
  for (const key of ["$defs", "definitions"]) {
    const defs = schema[key]
    if (!isObject(defs)) continue
    for (const [name, value] of Object.entries(defs)) {
      const found = strictProblem(value, [...context, key, name])
      if (found !== undefined) return found
    }
  }
  return undefined
}

// ---- tools and format

const hosted = [
  "file_search",
  "web_search",
  "web_search_2025_08_26",
  "web_search_preview",
  "web_search_preview_2025_03_11",
  "computer",
  "computer_use_preview",
  "mcp",
  "code_interpreter",
  "programmatic_tool_calling",
  "image_generation",
  "local_shell",
  "shell",
  "custom",
  "namespace",
  "tool_search",
  "apply_patch"
]

const functionTool: Check = (v, p) => {
  const found = fields({
    required: { type: any, name, parameters: nullable(object) },
    optional: {
      description: nullable(string),
      strict: nullable(boolean),
      defer_loading: boolean,
      async: boolean,
      allowed_callers: nullable(array(string)),
      output_schema: nullable(object)
    }
  })(v, p)
  const tool = v as JsonObject
  if (found !== undefined || tool.parameters === null) return found
  const parameters = tool.parameters as JsonObject
  const problem = tool.strict === true
    ? strictProblem(parameters)
    : parameters.type === "object"
    ? undefined
    : `schema must be a JSON Schema of 'type: "object"', got 'type: "${String(parameters.type ?? "None")}"'.`
  return problem === undefined ? undefined : refuse(
    `Invalid schema for function '${String(tool.name)}': ${problem}`,
    `${p}.parameters`,
    "invalid_function_parameters"
  )
}

const tool: Check = byType({ function: functionTool, ...Object.fromEntries(hosted.map((type) => [type, object])) })

const format: Check = byType({
  text: fields({ required: { type: any }, optional: {} }),
  json_object: fields({ required: { type: any }, optional: {} }),
  json_schema: (v, p) => {
    const found = fields({
      required: { type: any, name, schema: object },
      optional: { description: nullable(string), strict: nullable(boolean) }
    })(v, p)
    const spec = v as JsonObject
    if (found !== undefined || spec.strict !== true) return found
    const problem = strictProblem(spec.schema as Json)
    return problem === undefined ? undefined : refuse(
      `Invalid schema for response_format '${String(spec.name)}': ${problem}`,
      `${p}.schema`,
      "invalid_json_schema"
    )
  }
})

const text: Check = fields({
  required: {},
  optional: { format, verbosity: nullable(oneOf("low", "medium", "high")) }
})

const toolChoice: Check = (v, p) => {
  if (typeof v === "string") return oneOf("none", "auto", "required")(v, p)
  return isObject(v) ? filled(v.type ?? null, `${p}.type`) : wrong(p, "one of an object or string", v)
}

export const metadata: Check = (v, p) => {
  const found = object(v, p)
  if (found !== undefined) return found
  const entries = Object.entries(v as JsonObject)
  if (entries.length > 16) {
    return refuse(
      `Invalid '${p}': too many properties. Expected an object with at most 16 properties, but got an object with ${entries.length} properties instead.`,
      p,
      "object_above_max_properties"
    )
  }
  for (const [key, value] of entries) {
    const problem = string(value, `${p}.${key}`)
    if (problem !== undefined) return problem
  }
  return undefined
}

const include = oneOf(
  "file_search_call.results",
  "web_search_call.results",
  "web_search_call.action.sources",
  "message.input_image.image_url",
  "computer_call_output.output.image_url",
  "code_interpreter_call.outputs",
  "reasoning.encrypted_content",
  "message.output_text.logprobs"
)

const parameters: Readonly<Record<string, Check>> = {
  background: nullable(boolean),
  context_management: nullable(array(object)),
  conversation: nullable((v, p) =>
    typeof v === "string"
      ? undefined
      : isObject(v)
      ? string(v.id ?? null, `${p}.id`)
      : wrong(p, "one of an object or string", v)
  ),
  include: nullable(array(include)),
  input: any,
  instructions: nullable(string),
  max_output_tokens: nullable(integer(16)),
  max_tool_calls: nullable(integer(1)),
  metadata: nullable(metadata),
  model: string,
  moderation: nullable(object),
  parallel_tool_calls: nullable(boolean),
  previous_response_id: nullable(id("resp")),
  prompt: nullable(fields({
    required: { id: string },
    optional: { version: nullable(string), variables: nullable(object) }
  })),
  prompt_cache_key: nullable(string),
  prompt_cache_options: object,
  prompt_cache_retention: nullable(oneOf("in_memory", "24h")),
  reasoning: nullable(fields({
    required: {},
    optional: {
      effort: nullable(oneOf("none", "minimal", "low", "medium", "high", "xhigh", "max")),
      summary: nullable(oneOf("auto", "concise", "detailed")),
      generate_summary: nullable(oneOf("auto", "concise", "detailed")),
      context: nullable(oneOf("auto", "current_turn", "all_turns")),
      mode: string
    }
  })),
  safety_identifier: nullable(string),
  service_tier: nullable(oneOf("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")),
  store: nullable(boolean),
  stream: nullable(boolean),
  stream_options: nullable(fields({ required: {}, optional: { include_obfuscation: boolean } })),
  temperature: nullable(number(0, 2)),
  text,
  tool_choice: toolChoice,
  tools: nullable(array(tool)),
  top_logprobs: nullable(integer(0)),
  top_p: nullable(number(0, 1)),
  truncation: nullable(oneOf("auto", "disabled")),
  user: string
}

const moved: Readonly<Record<string, string>> = { response_format: "text.format", messages: "input" }

/** Everything that can be judged from the body alone. */
export const validateBody = (body: Json): Refusal | undefined => {
  if (!isObject(body)) return refuse("We could not parse the JSON body of your request.", null, null)
  for (const key of Object.keys(body)) {
    if (Object.hasOwn(parameters, key)) continue
    const now = moved[key]
    return now === undefined
      ? refuse(`Unknown parameter: '${key}'.`, key, "unknown_parameter")
      : refuse(
        `Unsupported parameter: '${key}'. In the Responses API, this parameter has moved to '${now}'. Try again with the new parameter.`,
        key,
        "unsupported_parameter"
      )
  }
  const hasPrompt = body.prompt !== undefined && body.prompt !== null
  if (body.model === undefined && !hasPrompt) {
    return refuse("Missing required parameter: 'model'.", "model", "missing_required_parameter")
  }
  for (const [key, value] of Object.entries(body)) {
    const found = parameters[key]!(value, key)
    if (found !== undefined) return found
  }
  const input = body.input
  if (input === undefined) {
    const continues = (body.previous_response_id ?? body.conversation ?? null) !== null || hasPrompt
    return continues ? undefined : refuse(
      "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided.",
      null,
      "missing_required_parameter"
    )
  }
  if (typeof input !== "string") {
    if (!Array.isArray(input)) return wrong("input", "one of an array of input items or string", input)
    const found = array(item)(input, "input")
    if (found !== undefined) return found
  }
  if ((body.previous_response_id ?? null) !== null && (body.conversation ?? null) !== null) {
    return refuse(
      "Mutually exclusive parameters: 'previous_response_id'. Ensure you are only providing one of: 'previous_response_id' or 'conversation'.",
      "previous_response_id",
      "mutually_exclusive_parameters"
    )
  }
  return validateToolChoice(body)
}

const validateToolChoice = (body: JsonObject): Refusal | undefined => {
  const choice = body.tool_choice
  const tools = (body.tools ?? []) as ReadonlyArray<JsonObject>
  if (choice === "required" && tools.length === 0) {
    return refuse("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice", null)
  }
  if (isObject(choice) && (choice.type === "function" || choice.type === "custom")) {
    const found = tools.some((tool) => tool.type === choice.type && tool.name === choice.name)
    if (!found) {
      return refuse(`Tool choice '${String(choice.type)}' not found in 'tools' parameter.`, "tool_choice", null)
    }
  }
  return undefined
}

// ---- the conversation as a whole

interface Pair {
  readonly call: string
  readonly words: string
}

const pairs: Readonly<Record<string, Pair>> = {
  function_call_output: { call: "function_call", words: "function call" },
  custom_tool_call_output: { call: "custom_tool_call", words: "custom tool call" },
  computer_call_output: { call: "computer_call", words: "computer call" },
  shell_call_output: { call: "shell_call", words: "shell call" },
  apply_patch_call_output: { call: "apply_patch_call", words: "apply patch call" }
}

const calls: Readonly<Record<string, string>> = Object.fromEntries(
  Object.values(pairs).map((pair) => [pair.call, pair.words])
)

/** Calls and outputs, over what is stored and what was sent. */
const validatePairs = (items: ReadonlyArray<JsonObject>): Refusal | undefined => {
  const open = new Map<string, string>()
  const seen = new Set<string>()
  const answered = new Set<string>()
  for (const entry of items) {
    const type = String(entry.type)
    const key = `${calls[type] ?? pairs[type]?.words ?? ""} ${String(entry.call_id)}`
    if (calls[type] !== undefined) {
      // Not documented; the service is known to fail later and less clearly, so the peer is stricter on purpose.
      if (seen.has(key)) {
        return refuse(`Duplicate ${calls[type]} found with call_id ${String(entry.call_id)}.`, "input", null)
      }
      seen.add(key)
      open.set(key, String(entry.call_id))
    } else if (pairs[type] !== undefined) {
      if (answered.has(key)) {
        return refuse(
          `Duplicate ${pairs[type].words} output found with call_id ${String(entry.call_id)}.`,
          "input",
          null
        )
      }
      if (!open.delete(key)) {
        return refuse(
          `No tool call found for ${pairs[type].words} output with call_id ${String(entry.call_id)}.`,
          "input",
          null
        )
      }
      answered.add(key)
    }
  }
  for (const [key, callId] of open) {
    return refuse(`No tool output found for ${key.slice(0, -callId.length - 1)} ${callId}.`, "input", null)
  }
  return undefined
}

const isThought = (entry: JsonObject): boolean => entry.type === "reasoning"

/** Whether an item can be what a reasoning item led to. */
const follows = (entry: JsonObject | undefined): boolean =>
  entry !== undefined && (entry.role === "assistant" ||
    (entry.role === undefined && !isThought(entry) && !String(entry.type).endsWith("_output") &&
      entry.type !== "mcp_approval_response" && entry.type !== "item_reference"))

const validateReasoning = (input: ReadonlyArray<JsonObject>, memory: Memory): Refusal | undefined => {
  const present = new Set(memory.history.filter(isThought).map((entry) => entry.id))
  for (let i = 0; i < input.length; i++) {
    const entry = input[i]!
    if (isThought(entry)) {
      present.add(entry.id)
      const encrypted = entry.encrypted_content
      if (typeof encrypted === "string" && encrypted !== "") {
        if (!encrypted.startsWith(encryptedPrefix)) {
          return refuse(
            `The encrypted content ${
              encrypted.slice(0, 4)
            }... could not be verified. Reason: Encrypted content could not be decrypted or parsed.`,
            null,
            "invalid_encrypted_content"
          )
        }
      } else if (!memory.stored.has(String(entry.id))) {
        return refuse(
          `Item with id '${
            String(entry.id)
          }' not found. Items are not persisted when \`store\` is set to false. Try again with \`store\` set to true, or remove this item from your input.`,
          "input",
          null,
          404
        )
      }
      let next = i + 1
      while (next < input.length && isThought(input[next]!)) next++
      const follower = input[next]
      const expected = memory.followerOf.get(String(entry.id))
      const fits = follows(follower) &&
        (expected === undefined || follower?.id === undefined || follower.id === expected)
      if (!fits) {
        return refuse(
          `Item '${String(entry.id)}' of type 'reasoning' was provided without its required following item.`,
          "input",
          null
        )
      }
    } else if (typeof entry.id === "string") {
      const needed = memory.reasoningOf.get(entry.id)
      if (needed !== undefined && !present.has(needed)) {
        return refuse(
          `Item '${entry.id}' of type '${
            String(entry.type ?? "message")
          }' was provided without its required 'reasoning' item: '${needed}'.`,
          "input",
          null
        )
      }
    }
  }
  return undefined
}

/** Everything that needs the conversation: repeated ids, pairs, reasoning and what follows it. */
export const validateHistory = (input: ReadonlyArray<JsonObject>, memory: Memory): Refusal | undefined => {
  const ids = new Set<string>()
  for (const entry of memory.history) {
    if (typeof entry.id === "string") ids.add(entry.id)
  }
  for (const entry of input) {
    if (entry.type === "item_reference" && !memory.stored.has(String(entry.id))) {
      return refuse(`Item with id '${String(entry.id)}' not found.`, "input", null, 404)
    }
    if (typeof entry.id !== "string") continue
    if (ids.has(entry.id)) {
      return refuse(
        `Duplicate item found with id ${entry.id}. Remove duplicate items from your input and try again.`,
        "input",
        null
      )
    }
    ids.add(entry.id)
  }
  const resolved = input.map((entry) => entry.type === "item_reference" ? memory.stored.get(String(entry.id))! : entry)
  return validatePairs([...memory.history, ...resolved]) ?? validateReasoning(resolved, memory)
}
