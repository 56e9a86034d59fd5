/**
 * A `ModelRequest` as the body of `POST /chat/completions`.
 */
import * as Hash from "effect/Hash"
import * as Result from "effect/Result"
import {
  type ContentPart,
  type FunctionCall,
  type FunctionCallOutput,
  isFunctionCall,
  isFunctionCallOutput,
  isMessage,
  isReasoning,
  type Item,
  type Message,
  type Reasoning
} from "../../../services/Item.ts"
import { type ModelErrorReason, Unsupported } from "../../../services/ModelError.ts"
import type { ModelRequest, ModelSettings } from "../../../services/ModelProvider.ts"
import { isRecord } from "./json.ts"
import { close, objectSchema, type Params, setIf, settingsOf } from "./openAiRequest.ts"

/** What a server of this API takes; the API itself has all of it. */
export interface Dialect {
  readonly provider: string
  readonly instructionsRole: "developer" | "system"
  readonly maxTokensField: "max_completion_tokens" | "max_tokens"
  readonly structuredOutput: "json_schema" | "json_object" | "instructions"
  readonly strict: boolean
  readonly streamUsage: boolean
  readonly sendReasoning: boolean
  readonly foreignItems: "fail" | "omit"
}

/** What the server said of a reasoning item, so that it gets its own words back and no other provider does. */
export interface ReasoningOrigin {
  readonly provider: string
  readonly field: "reasoning_content" | "reasoning" | "thinking"
  /** `reasoning_details` as they came, signatures and encrypted texts included. */
  readonly details?: ReadonlyArray<unknown>
}

export const originKey = "chat_reasoning"

/** The API takes no longer call id. */
const maxCallId = 40

const callId = (id: string): string =>
  id.length <= maxCallId ? id : `${id.slice(0, 28)}_${(Hash.string(id) >>> 0).toString(36)}`

type Refuse = (feature: string, description: string) => void

// ---- content

const withBreakpoint = (part: ContentPart, out: Params): Params =>
  part.prompt_cache_breakpoint === undefined || part.prompt_cache_breakpoint === null
    ? out
    : { ...out, prompt_cache_breakpoint: part.prompt_cache_breakpoint }

const textOf = (part: ContentPart): string | undefined =>
  part.type === "input_text" || part.type === "output_text" || part.type === "text" || part.type === "summary_text"
    ? part.text
    : undefined

const imagePart = (part: ContentPart, refuse: Refuse): Params => {
  const url = part.image_url
  if (typeof url !== "string") {
    refuse("input", "an image can be sent by `image_url` only (an address or data URL), not by `file_id`")
  }
  return withBreakpoint(part, {
    type: "image_url",
    image_url: { url, ...(typeof part.detail === "string" ? { detail: part.detail } : {}) }
  })
}

const filePart = (part: ContentPart, refuse: Refuse): Params => {
  const file: Params = {}
  if (typeof part.file_id === "string") file.file_id = part.file_id
  if (typeof part.file_data === "string") file.file_data = part.file_data
  if (typeof part.filename === "string") file.filename = part.filename
  if (file.file_id === undefined && file.file_data === undefined) {
    refuse("input", "a file can be sent by `file_id` or `file_data`, not by `file_url`")
  }
  return withBreakpoint(part, { type: "file", file })
}

const userPart = (part: ContentPart, refuse: Refuse): Params => {
  const text = textOf(part)
  if (text !== undefined) return withBreakpoint(part, { type: "text", text })
  switch (part.type) {
    case "input_image":
      return imagePart(part, refuse)
    case "input_file":
      return filePart(part, refuse)
    case "input_audio":
      return { type: "input_audio", input_audio: part.input_audio }
    default:
      refuse("input", `a content part of type "${part.type}" has no form in Chat Completions`)
      return {}
  }
}

const onlyText = (content: string | ReadonlyArray<ContentPart>, refuse: Refuse): unknown => {
  if (typeof content === "string") return content
  return content.map((part) => {
    const text = textOf(part)
    if (text === undefined) refuse("input", `a content part of type "${part.type}" can only be sent by a user`)
    return withBreakpoint(part, { type: "text", text: text ?? "" })
  })
}

// ---- messages

/** A message of the model, and the answers to its calls, which the API wants right behind it. */
interface Said {
  readonly calls: Array<Params>
  readonly answers: Array<Params>
  /** What answers hold besides text: the API has no place for it but a message of the user. */
  readonly shown: Array<Params>
  readonly reasoning: Array<Params>
  readonly thinking: Array<string>
  readonly refusals: Array<string>
  text: string | undefined
}

const originOf = (item: Reasoning): ReasoningOrigin | undefined => {
  const origin = item[originKey]
  return isRecord(origin) && typeof origin.provider === "string" ? origin as unknown as ReasoningOrigin : undefined
}

const reasoningText = (item: Reasoning): string => (item.content ?? []).map((part) => part.text ?? "").join("")

const messagesOf = (items: ReadonlyArray<Item>, dialect: Dialect, refuse: Refuse): ReadonlyArray<Params> => {
  const entries: Array<Params | Said> = []
  const owners = new Map<string, Said>()
  let open: Said | undefined

  const say = (canJoin: (said: Said) => boolean): Said => {
    if (open !== undefined && open.answers.length === 0 && canJoin(open)) return open
    open = { calls: [], answers: [], shown: [], reasoning: [], thinking: [], refusals: [], text: undefined }
    entries.push(open)
    return open
  }

  const onMessage = (item: Message): void => {
    if (item.role === "assistant") {
      const said = say((said) => said.text === undefined && said.refusals.length === 0)
      const parts = typeof item.content === "string" ? [{ type: "output_text", text: item.content }] : item.content
      for (const part of parts) {
        const text = textOf(part)
        if (part.type === "refusal") said.refusals.push(part.refusal ?? "")
        else if (text === undefined) refuse("input", `a content part of type "${part.type}" cannot be the model's`)
        else said.text = (said.text ?? "") + text
      }
      return
    }
    open = undefined
    if (item.role === "user") {
      const content = typeof item.content === "string" ? item.content : item.content.map((p) => userPart(p, refuse))
      entries.push({ role: "user", content })
    } else {
      const role = item.role === "developer" ? dialect.instructionsRole : item.role
      entries.push({ role, content: onlyText(item.content, refuse) })
    }
  }

  const onReasoning = (item: Reasoning): void => {
    const origin = originOf(item)
    if (!dialect.sendReasoning || origin?.provider !== dialect.provider) return
    const said = say((said) => said.text === undefined && said.calls.length === 0 && said.reasoning.length === 0)
    const text = reasoningText(item)
    if (origin.field === "thinking") said.thinking.push(text)
    else {
      const words = text === "" ? {} : { [origin.field]: text }
      said.reasoning.push(origin.details === undefined ? words : { ...words, reasoning_details: origin.details })
    }
  }

  const onCall = (item: FunctionCall): void => {
    const said = say(() => true)
    owners.set(item.call_id, said)
    said.calls.push({
      id: callId(item.call_id),
      type: "function",
      function: { name: item.name, arguments: item.arguments === "" ? "{}" : item.arguments }
    })
  }

  const onOutput = (item: FunctionCallOutput): void => {
    const owner = owners.get(item.call_id)
    const id = callId(item.call_id)
    const parts = typeof item.output === "string" ? undefined : item.output
    const texts = parts?.filter((part) => textOf(part) !== undefined)
    const rest = parts?.filter((part) => textOf(part) === undefined) ?? []
    const content = texts === undefined ? item.output : texts.map((part) => textOf(part)).join("\n")
    const answer = {
      role: "tool",
      tool_call_id: id,
      content: content === "" && rest.length > 0 ? "The output is in the next message of the user." : content
    }
    const shown = rest.length === 0
      ? []
      : [{ type: "text", text: `Output of tool call ${id}:` }, ...rest.map((part) => userPart(part, refuse))]
    if (owner === undefined) {
      open = undefined
      entries.push(answer)
      if (shown.length > 0) entries.push({ role: "user", content: shown })
    } else {
      owner.answers.push(answer)
      owner.shown.push(...shown)
    }
  }

  for (const item of items) {
    if (isMessage(item)) onMessage(item)
    else if (isReasoning(item)) onReasoning(item)
    else if (isFunctionCall(item)) onCall(item)
    else if (isFunctionCallOutput(item)) onOutput(item)
    else if (dialect.foreignItems === "fail") {
      refuse(
        "input",
        `an item of type "${item.type}" has no form in Chat Completions; \`foreignItems\` can leave it out`
      )
    }
  }
  return entries.flatMap((entry) => "calls" in entry ? saidOf(entry as Said) : [entry])
}

const saidOf = (said: Said): ReadonlyArray<Params> => {
  const { answers, calls, reasoning, refusals, shown, text, thinking } = said
  if (text === undefined && refusals.length === 0 && calls.length === 0) return []
  const message: Params = { role: "assistant" }
  const content = thinking.length === 0 ? text : [
    { type: "thinking", thinking: thinking.map((words) => ({ type: "text", text: words })) },
    ...(text === undefined ? [] : [{ type: "text", text }])
  ]
  message.content = content ?? null
  if (refusals.length > 0) message.refusal = refusals.join("\n")
  if (calls.length > 0) message.tool_calls = calls
  Object.assign(message, ...reasoning)
  return [message, ...answers, ...(shown.length === 0 ? [] : [{ role: "user", content: shown }])]
}

// ---- tools and settings

const functionTool = (
  tool: { readonly name: string; readonly description?: string | undefined; readonly parameters: unknown },
  strict: boolean
): Params => {
  const parameters = objectSchema(tool.parameters as never)
  return {
    type: "function",
    function: {
      name: tool.name,
      ...(tool.description === undefined ? {} : { description: tool.description }),
      parameters: strict ? close(parameters) : parameters,
      ...(strict ? { strict } : {})
    }
  }
}

const toolsOf = (request: ModelRequest, dialect: Dialect, refuse: Refuse): ReadonlyArray<Params> => [
  ...(request.tools ?? []).map((tool) => {
    if (tool.type === "function") return functionTool(tool, dialect.strict && tool.strict === true)
    refuse("tools", `the tool "${tool.name}" runs at the provider of another API; Chat Completions has functions only`)
    return {}
  }),
  ...(request.handoffs ?? []).map((handoff) => functionTool(handoff, false))
]

/** A choice among no tools is refused by the API, and says nothing. */
const setToolChoice = (params: Params, settings: ModelSettings): void => {
  const choice = settings.toolChoice
  const hasTools = params.tools !== undefined
  if (choice !== undefined && (hasTools || (choice !== "auto" && choice !== "none"))) {
    params.tool_choice = typeof choice === "string" ? choice : { type: "function", function: { name: choice.tool } }
  }
  if (hasTools) setIf(params, "parallel_tool_calls", settings.parallelToolCalls)
}

const outputInstructions = (request: ModelRequest): string =>
  `Answer with one JSON value and nothing else: no words around it, no code fence. It must match this JSON Schema:\n${
    JSON.stringify(request.outputSchema?.schema)
  }`

const setOutput = (params: Params, request: ModelRequest, dialect: Dialect): void => {
  if (request.outputSchema === undefined) return
  if (dialect.structuredOutput === "json_object") params.response_format = { type: "json_object" }
  if (dialect.structuredOutput !== "json_schema") return
  const { name, schema, strict } = request.outputSchema
  const isStrict = strict && dialect.strict
  params.response_format = {
    type: "json_schema",
    json_schema: { name, schema: isStrict ? close(schema) : schema, ...(dialect.strict ? { strict } : {}) }
  }
}

const merged = new Set(["response_format", "stream_options"])

const refuseSettings = (settings: ModelSettings, refuse: Refuse): void => {
  if (settings.truncation === "auto") {
    refuse("settings.truncation", "Chat Completions does not shorten a conversation; leave it out or cut the input")
  }
  if (settings.include !== undefined && settings.include.length > 0) {
    refuse("settings.include", "Chat Completions has no further data to include")
  }
  if (settings.reasoning?.summary !== undefined) {
    refuse("settings.reasoning.summary", "Chat Completions gives no summaries of reasoning")
  }
  if (typeof settings.extra?.n === "number" && settings.extra.n > 1) {
    refuse("settings.extra.n", "a response holds one answer")
  }
}

const kept = {
  previousResponseId: "Chat Completions keeps no responses to go on from; send the whole conversation",
  conversationId: "Chat Completions keeps no conversations; send the whole conversation",
  prompt: "Chat Completions has no stored prompts; send `instructions`"
} as const

/** The body, or the first part of the request that has no form in it. */
export const makeChatParams = (options: {
  readonly model: string
  readonly request: ModelRequest
  readonly defaults: ModelSettings | undefined
  readonly dialect: Dialect
  readonly stream: boolean
}): Result.Result<Params, ModelErrorReason> => {
  const { dialect, request } = options
  const settings = settingsOf(options.defaults, request.settings)
  let refused: ModelErrorReason | undefined
  const refuse: Refuse = (feature, description) => {
    refused ??= new Unsupported({ feature, description })
  }

  for (const [feature, description] of Object.entries(kept)) {
    if (request[feature as keyof typeof kept] !== undefined) refuse(feature, description)
  }
  refuseSettings(settings, refuse)

  const instructions = [
    ...(request.instructions === undefined ? [] : [request.instructions]),
    ...(request.outputSchema === undefined || dialect.structuredOutput === "json_schema"
      ? []
      : [outputInstructions(request)])
  ].join("\n\n")
  const params: Params = {
    model: options.model,
    messages: [
      ...(instructions === "" ? [] : [{ role: dialect.instructionsRole, content: instructions }]),
      ...(typeof request.input === "string"
        ? [{ role: "user", content: request.input }]
        : messagesOf(request.input, dialect, refuse))
    ]
  }
  const tools = toolsOf(request, dialect, refuse)
  if (tools.length > 0) params.tools = tools
  setToolChoice(params, settings)
  setIf(params, "temperature", settings.temperature)
  setIf(params, "top_p", settings.topP)
  setIf(params, dialect.maxTokensField, settings.maxOutputTokens)
  setIf(params, "reasoning_effort", settings.reasoning?.effort)
  setIf(params, "verbosity", settings.verbosity)
  setIf(params, "store", settings.store)
  setIf(params, "metadata", settings.metadata)
  setIf(params, "prompt_cache_key", settings.promptCacheKey)
  setOutput(params, request, dialect)
  params.stream = options.stream
  if (options.stream && dialect.streamUsage) params.stream_options = { include_usage: true }
  for (const [key, value] of Object.entries(settings.extra ?? {})) {
    const before = params[key]
    params[key] = merged.has(key) && isRecord(before) && isRecord(value) ? { ...before, ...value } : value
  }
  // Settings are shared by both ways of asking, and a stream is not asked for by one of them.
  params.stream = options.stream
  if (!options.stream) delete params.stream_options
  return refused === undefined ? Result.succeed(params) : Result.fail(refused)
}
