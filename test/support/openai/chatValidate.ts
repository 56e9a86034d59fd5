/**
 * What the real service refuses of `POST /v1/chat/completions`, with the status, message, param and code that it answers.
 */
import type { Json, JsonObject } from "./Reply.ts"
import {
  any,
  array,
  boolean,
  byType,
  type Check,
  fields,
  filled,
  integer,
  isObject,
  metadata,
  name,
  nullable,
  number,
  object,
  oneOf,
  type Refusal,
  refuse,
  strictProblem,
  string,
  wrong
} from "./validate.ts"

// ---- messages

const breakpoint: Readonly<Record<string, Check>> = { prompt_cache_breakpoint: object }

const textPart = fields({ required: { type: any, text: string }, optional: breakpoint })

const userPart = byType({
  text: textPart,
  image_url: fields({
    required: {
      type: any,
      image_url: fields({
        required: { url: (v, p) => filled(v, p) ?? urlOf(v as string, p) },
        optional: { detail: oneOf("auto", "low", "high", "original") }
      })
    },
    optional: breakpoint
  }),
  input_audio: fields({
    required: {
      type: any,
      input_audio: fields({ required: { data: string, format: oneOf("wav", "mp3") }, optional: {} })
    },
    optional: breakpoint
  }),
  file: fields({
    required: {
      type: any,
      file: fields({ required: {}, optional: { file_data: string, file_id: string, filename: string } })
    },
    optional: breakpoint
  })
})

const urlOf = (url: string, path: string): Refusal | undefined =>
  /^(https?:\/\/|data:image\/)/.test(url)
    ? undefined
    : refuse(`Invalid '${path}'. Expected a valid URL, but got a value with an invalid format.`, path, "invalid_value")

const assistantPart = byType({
  text: textPart,
  refusal: fields({ required: { type: any, refusal: string }, optional: {} })
})

const contentOf = (part: Check): Check => (v, p) => {
  if (typeof v === "string") return undefined
  if (!Array.isArray(v)) return wrong(p, "one of a string or array of objects", v)
  return v.length === 0
    ? refuse(`Invalid '${p}': empty array. Expected an array with minimum length 1.`, p, "empty_array")
    : array(part)(v, p)
}

const callId: Check = (v, p) =>
  filled(v, p) ?? ((v as string).length <= 40 ? undefined : refuse(
    `Invalid '${p}': string too long. Expected a string with maximum length 40, but got a string with length ${
      (v as string).length
    } instead.`,
    p,
    "string_above_max_length"
  ))

const toolCall = byType({
  function: fields({
    required: { type: any, id: callId, function: fields({ required: { name, arguments: string }, optional: {} }) },
    optional: {}
  }),
  custom: fields({
    required: { type: any, id: callId, custom: fields({ required: { name, input: string }, optional: {} }) },
    optional: {}
  })
})

const toolCalls: Check = (v, p) =>
  Array.isArray(v) && v.length === 0
    ? refuse(
      `Invalid '${p}': empty array. Expected an array with minimum length 1, but got an empty array instead.`,
      p,
      "empty_array"
    )
    : array(toolCall)(v, p)

const optionalName: Readonly<Record<string, Check>> = { name: string }

const assistant: Check = (v, p) => {
  const found = fields({
    required: { role: any },
    optional: {
      ...optionalName,
      content: nullable(contentOf(assistantPart)),
      refusal: nullable(string),
      tool_calls: toolCalls,
      audio: nullable(object),
      function_call: nullable(object)
    }
  })(v, p)
  const message = v as JsonObject
  if (found !== undefined || message.tool_calls !== undefined || (message.refusal ?? null) !== null) return found
  return (message.content ?? null) === null
    ? refuse(`Invalid value for 'content': expected a string, got null.`, `${p}.content`, null)
    : undefined
}

const withContent = (part: Check): Check =>
  fields({ required: { role: any, content: contentOf(part) }, optional: optionalName })

const roles: Readonly<Record<string, Check>> = {
  system: withContent(textPart),
  developer: withContent(textPart),
  user: withContent(userPart),
  assistant,
  tool: fields({ required: { role: any, content: contentOf(textPart), tool_call_id: callId }, optional: {} })
}

const message: Check = (v, p) => {
  if (!isObject(v)) return wrong(p, "an object", v)
  if (v.role === undefined) {
    return refuse(`Missing required parameter: '${p}.role'.`, `${p}.role`, "missing_required_parameter")
  }
  return oneOf(...Object.keys(roles))(v.role, `${p}.role`) ?? roles[v.role as string]!(v, p)
}

const messages: Check = (v, p) =>
  Array.isArray(v) && v.length === 0
    ? refuse(
      `Invalid '${p}': empty array. Expected an array with minimum length 1, but got an empty array instead.`,
      p,
      "empty_array"
    )
    : array(message)(v, p)

// ---- tools and format

const functionTool: Check = (v, p) => {
  const found = fields({
    required: {
      type: any,
      function: fields({
        required: { name },
        optional: { description: string, parameters: object, strict: nullable(boolean) }
      })
    },
    optional: {}
  })(v, p)
  if (found !== undefined) return found
  const f = (v as JsonObject).function as JsonObject
  const parameters = (f.parameters ?? { type: "object" }) as JsonObject
  const problem = f.strict === true
    ? strictProblem(parameters)
    : parameters.type === "object"
    ? undefined
    : `schema must be a JSON Schema of 'type: "object"', got 'type: "${String(parameters.type ?? "None")}"'.`
  return problem === undefined ? undefined : refuse(
    `Invalid schema for function '${String(f.name)}': ${problem}`,
    `${p}.function.parameters`,
    "invalid_function_parameters"
  )
}

const tool = byType({ function: functionTool, custom: object })

const responseFormat = byType({
  text: fields({ required: { type: any }, optional: {} }),
  json_object: fields({ required: { type: any }, optional: {} }),
  json_schema: (v, p) => {
    const found = fields({
      required: {
        type: any,
        json_schema: fields({
          required: { name },
          optional: { description: string, schema: object, strict: nullable(boolean) }
        })
      },
      optional: {}
    })(v, p)
    const spec = (v as JsonObject).json_schema as JsonObject
    if (found !== undefined || spec.strict !== true) return found
    const problem = strictProblem(spec.schema ?? null)
    return problem === undefined ? undefined : refuse(
      `Invalid schema for response_format '${String(spec.name)}': ${problem}`,
      p,
      null
    )
  }
})

const parameters: Readonly<Record<string, Check>> = {
  messages,
  model: string,
  frequency_penalty: nullable(number(-2, 2)),
  logit_bias: nullable(object),
  logprobs: nullable(boolean),
  max_completion_tokens: nullable(integer(1)),
  max_tokens: nullable(integer(1)),
  metadata: nullable(metadata),
  modalities: nullable(array(oneOf("text", "audio"))),
  n: nullable(integer(1)),
  parallel_tool_calls: boolean,
  prediction: nullable(object),
  presence_penalty: nullable(number(-2, 2)),
  prompt_cache_key: nullable(string),
  prompt_cache_retention: nullable(oneOf("in_memory", "24h")),
  reasoning_effort: nullable(oneOf("none", "minimal", "low", "medium", "high", "xhigh", "max")),
  response_format: responseFormat,
  safety_identifier: nullable(string),
  seed: nullable(integer(Number.MIN_SAFE_INTEGER)),
  service_tier: nullable(oneOf("auto", "default", "flex", "scale", "priority", "fast")),
  stop: any,
  store: nullable(boolean),
  stream: nullable(boolean),
  stream_options: nullable(
    fields({ required: {}, optional: { include_usage: boolean, include_obfuscation: boolean } })
  ),
  temperature: nullable(number(0, 2)),
  tool_choice: (v, p) =>
    typeof v === "string"
      ? oneOf("none", "auto", "required")(v, p)
      : byType({
        function: fields({
          required: { type: any, function: fields({ required: { name }, optional: {} }) },
          optional: {}
        }),
        custom: object,
        allowed_tools: object
      })(v, p),
  tools: array(tool),
  top_logprobs: nullable(integer(0)),
  top_p: nullable(number(0, 1)),
  user: string,
  verbosity: nullable(oneOf("low", "medium", "high")),
  web_search_options: object
}

/** Everything that can be judged from the body alone. */
export const validateChat = (body: Json): Refusal | undefined => {
  if (!isObject(body)) return refuse("We could not parse the JSON body of your request.", null, null)
  for (const key of Object.keys(body)) {
    if (!Object.hasOwn(parameters, key)) {
      return refuse(`Unrecognized request argument supplied: ${key}`, null, null)
    }
  }
  for (const key of ["model", "messages"]) {
    if (body[key] === undefined) {
      return refuse(`Missing required parameter: '${key}'.`, key, "missing_required_parameter")
    }
  }
  for (const [key, value] of Object.entries(body)) {
    const found = parameters[key]!(value, key)
    if (found !== undefined) return found
  }
  const hasTools = Array.isArray(body.tools)
  if (hasTools && (body.tools as ReadonlyArray<Json>).length === 0) {
    return refuse("Invalid 'tools': empty array. Expected an array with minimum length 1.", "tools", "empty_array")
  }
  for (const key of ["tool_choice", "parallel_tool_calls"]) {
    if (body[key] !== undefined && !hasTools) {
      return refuse(`Invalid value for '${key}': '${key}' is only allowed when 'tools' are specified.`, key, null)
    }
  }
  if (isObject(body.tool_choice) && body.tool_choice.type === "function") {
    const wanted = (body.tool_choice.function as JsonObject).name
    const found = (body.tools as ReadonlyArray<JsonObject>).some((one) =>
      (one.function as JsonObject | undefined)?.name === wanted
    )
    if (!found) return refuse("Tool choice 'function' not found in 'tools' parameter.", "tool_choice", null)
  }
  if ((body.stream_options ?? null) !== null && body.stream !== true) {
    return refuse(
      "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
      "stream_options",
      null
    )
  }
  const format = body.response_format as JsonObject | undefined
  const list = body.messages as ReadonlyArray<JsonObject>
  if (format?.type === "json_object" && !/json/i.test(JSON.stringify(list))) {
    return refuse(
      "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
      "messages",
      null
    )
  }
  return validateTurns(list)
}

/** Calls and their answers, which stand right behind them. */
const validateTurns = (list: ReadonlyArray<JsonObject>): Refusal | undefined => {
  let open = new Set<string>()
  const unanswered = () =>
    refuse(
      "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        + `The following tool_call_ids did not have response messages: ${[...open].join(", ")}`,
      "messages",
      null
    )
  const seen = new Set<string>()
  for (const [index, entry] of list.entries()) {
    if (entry.role === "tool") {
      if (open.delete(String(entry.tool_call_id))) continue
      return refuse(
        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
        `messages.[${index}].role`,
        null
      )
    }
    if (open.size > 0) return unanswered()
    const calls = (entry.tool_calls ?? []) as ReadonlyArray<JsonObject>
    open = new Set(calls.map((call) => String(call.id)))
    // Not documented; the service is known to fail later and less clearly, so the peer is stricter on purpose.
    for (const id of calls.map((call) => String(call.id))) {
      if (seen.has(id)) return refuse(`Duplicate tool call id ${id}.`, `messages.[${index}].tool_calls`, null)
      seen.add(id)
    }
  }
  return open.size > 0 ? unanswered() : undefined
}
