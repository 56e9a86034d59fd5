/** What clients of OpenAI send, as what a run starts with. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type ContentPart, isItem, type Item, type Message, text as textOf } from "../../../services/Item.ts"
import type { ModelSettings } from "../../../services/ModelProvider.ts"
import type * as Agent from "../../Agent.ts"
import { agentsOf } from "../../internal/agents.ts"
import * as ClientItem from "./clientItem.ts"
import { isReserved } from "./exchange.ts"
import { refuseParam } from "./openAiError.ts"
import { type Refusal, refuse } from "./problem.ts"

export interface Policy {
  readonly agents: Readonly<Record<string, Agent.Any>>
  readonly acceptItems: "user" | "messages" | "any"
  readonly instructions: "refuse" | "add" | "ignore"
  readonly tools: "refuse" | "ignore"
  readonly settings: "ignore" | "apply"
}

/** What both APIs ask for. */
export interface Order {
  readonly name: string
  readonly agent: Agent.Any
  readonly input: ReadonlyArray<Item>
  readonly instructions: string | undefined
  readonly settings: ModelSettings | undefined
  readonly stream: boolean
  readonly metadata: Readonly<Record<string, string>>
}

export interface ResponseOrder extends Order {
  readonly user: string | undefined
  readonly previousResponseId: string | undefined
  readonly conversationId: string | undefined
  readonly store: boolean
}

export interface CompletionOrder extends Order {
  readonly includeUsage: boolean
}

type Fields = Readonly<Record<string, unknown>>

const maybe = <S extends Schema.Constraint>(schema: S) => Schema.optional(Schema.NullOr(schema))

const Text = Schema.String

const anything = Schema.optional(Schema.Unknown)

const common = {
  model: Text.check(Schema.isMinLength(1)),
  stream: maybe(Schema.Boolean),
  metadata: maybe(
    Schema.Record(Text, Text).check(
      Schema.makeFilter((metadata) => Object.keys(metadata).length <= 16 || "at most 16 fields")
    )
  ),
  tools: anything,
  tool_choice: anything
}

const Id = Text.check(Schema.isMinLength(1), Schema.isMaxLength(512))

const ResponseBody = Schema.Struct({
  ...common,
  input: maybe(Schema.Union([Text, Schema.Array(Schema.Unknown)])),
  instructions: anything,
  previous_response_id: maybe(Id),
  conversation: maybe(Schema.Union([Id, Schema.Struct({ id: Id })])),
  store: maybe(Schema.Boolean),
  background: maybe(Schema.Boolean),
  prompt: anything,
  user: maybe(Text)
})

const CompletionBody = Schema.Struct({
  ...common,
  messages: Schema.Array(Schema.Record(Text, Schema.Unknown)).check(Schema.isMinLength(1)),
  n: maybe(Schema.Int),
  functions: anything,
  modalities: maybe(Schema.Array(Text)),
  logprobs: maybe(Schema.Boolean)
})

// Read only where a setting applies: a parameter that is ignored is not validated.
const Effort = Schema.Literals(["none", "minimal", "low", "medium", "high", "xhigh", "max"])

const Verbosity = Schema.Literals(["low", "medium", "high"])

const tokens = Schema.Int.check(Schema.isGreaterThan(0))

const commonSettings = {
  temperature: maybe(Schema.Finite),
  top_p: maybe(Schema.Finite),
  parallel_tool_calls: maybe(Schema.Boolean)
}

const ResponseSettings = Schema.Struct({
  ...commonSettings,
  text: maybe(Schema.Struct({ verbosity: maybe(Verbosity) })),
  reasoning: maybe(Schema.Struct({
    effort: maybe(Effort),
    summary: maybe(Schema.Literals(["auto", "concise", "detailed"]))
  })),
  max_output_tokens: maybe(tokens)
})

const CompletionSettings = Schema.Struct({
  ...commonSettings,
  max_tokens: maybe(tokens),
  max_completion_tokens: maybe(tokens),
  reasoning_effort: maybe(Effort),
  verbosity: maybe(Verbosity)
})

const Format = maybe(Schema.Struct({ type: Text }))

const ResponseFormat = Schema.Struct({ text: maybe(Schema.Struct({ format: Format })) })

const CompletionFormat = Schema.Struct({ response_format: Format })

const StreamOptions = Schema.Struct({ stream_options: maybe(Schema.Struct({ include_usage: maybe(Schema.Boolean) })) })

const decodeJson = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))

const parse = (text: string): Effect.Effect<unknown, Refusal> =>
  Effect.mapError(decodeJson(text), () => refuse(400, "invalid-json", "The body is not JSON."))

const invalid = (param: string): Refusal =>
  refuseParam(param, "invalid-value", `The field ${param} is missing or not of the right form.`)

const readerOf = <A>(schema: Schema.Codec<A, unknown>) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return (json: unknown): Effect.Effect<A, Refusal> =>
    Effect.mapError(decode(json), (error) => {
      const param = ClientItem.fieldOf(error)
      return param === "" ? refuse(400, "invalid-body", "The body is not a JSON object.") : invalid(param)
    })
}

const readResponseBody = readerOf(ResponseBody)
const readResponseSettings = readerOf(ResponseSettings)
const readResponseFormat = readerOf(ResponseFormat)
const readCompletionBody = readerOf(CompletionBody)
const readCompletionSettings = readerOf(CompletionSettings)
const readCompletionFormat = readerOf(CompletionFormat)
const readStreamOptions = readerOf(StreamOptions)

const agentOf = (policy: Policy, name: string): Result.Result<Agent.Any, Refusal> => {
  const agent = Object.hasOwn(policy.agents, name) ? policy.agents[name] : undefined
  return agent === undefined
    ? Result.fail(refuseParam(
      "model",
      "model-not-found",
      `There is no such agent. There are: ${Object.keys(policy.agents).join(", ")}.`,
      404
    ))
    : Result.succeed(agent)
}

/** Whether an answer of the agent may have a form of its own. */
export const isStructured = (agent: Agent.Any): boolean =>
  Array.from(agentsOf(agent).values()).some(({ output }) => output !== undefined)

/** What is given, or nothing where nothing is. */
const given = (fields: Fields): Fields | undefined => {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)
  return entries.length === 0 ? undefined : Object.fromEntries(entries)
}

const settingsOf = (
  settings: {
    readonly [Name in keyof ModelSettings]: ModelSettings[Name] | null
  }
): ModelSettings | undefined => given({ ...settings, reasoning: given(settings.reasoning ?? {}) })

const isToolChoice = (choice: unknown): boolean =>
  choice === undefined || choice === null || choice === "auto" || choice === "none"

const isOffer = (tools: unknown): boolean =>
  tools !== undefined && tools !== null && !(Array.isArray(tools) && tools.length === 0)

/** Neither API can give an agent tools. */
const refuseTools = (
  policy: Policy,
  offered: ReadonlyArray<readonly [param: string, tools: unknown]>,
  choice: unknown
): Refusal | undefined => {
  if (policy.tools === "ignore") return undefined
  const param = offered.find(([, tools]) => isOffer(tools))?.[0] ?? (isToolChoice(choice) ? undefined : "tool_choice")
  return param === undefined
    ? undefined
    : refuseParam(param, "unsupported-parameter", "This agent has its own tools and takes none of a client.")
}

/** An agent that answers in text has no other format. */
const refuseFormat = (param: string, type: string | undefined): Refusal | undefined =>
  type === undefined || type === "text" ? undefined : refuseParam(
    param,
    "unsupported-parameter",
    "This agent answers in text, and its answer has no other form. Take the parameter away."
  )

interface Said {
  readonly items: Array<Item>
  readonly instructions: Array<string>
}

const takeInstructions = (policy: Policy, said: Said, text: string, param: string): Refusal | undefined => {
  if (policy.instructions === "refuse") {
    return refuseParam(
      param,
      "unsupported-instructions",
      "This agent has its own instructions and takes none of a client, in whatever role."
    )
  }
  said.instructions.push(text)
  return undefined
}

/** Clients send these back after a response has shown them. The model does not need them. */
const shown: ReadonlySet<unknown> = new Set(["reasoning", "mcp_call"])

const instructing: ReadonlySet<unknown> = new Set(["system", "developer"])

const rolesOf = (policy: Policy): ReadonlyArray<Message["role"]> => [
  "user",
  ...(policy.acceptItems === "messages" ? ["assistant"] as const : []),
  ...(policy.instructions === "refuse" ? [] : ["system", "developer"] as const)
]

const takeItem = (policy: Policy, said: Said, item: unknown, param: string): Refusal | undefined => {
  if (policy.acceptItems === "any") {
    if (!isItem(item)) return refuseParam(param, "invalid-value", "This is not an item that can be input.")
    said.items.push(item)
    return undefined
  }
  if (Predicate.isReadonlyObject(item)) {
    if (shown.has(item["type"])) return undefined
    const isMessage = item["type"] === undefined || item["type"] === "message"
    if (isMessage && instructing.has(item["role"])) {
      if (policy.instructions === "ignore") return undefined
      if (policy.instructions === "refuse") return takeInstructions(policy, said, "", param)
    }
  }
  const read = ClientItem.read(item, rolesOf(policy))
  if (Result.isFailure(read)) {
    const { at, why } = read.failure
    return at === "" ? refuseParam(param, "unsupported-item", why) : refuseParam(`${param}.${at}`, "invalid-value", why)
  }
  const message = read.success
  if (instructing.has(message.role)) return takeInstructions(policy, said, textOf(message), param)
  said.items.push(message)
  return undefined
}

const noInput = (param: string): Refusal =>
  refuseParam(param, "missing-input", "There is nothing to answer: send a message of the user.")

const finish = (said: Said, param: string): Refusal | undefined => said.items.length === 0 ? noInput(param) : undefined

const instructionsOf = ({ instructions }: Said): string | undefined =>
  instructions.length === 0 ? undefined : instructions.join("\n\n")

export const readResponse = Effect.fnUntraced(function*(policy: Policy, text: string) {
  const json = yield* parse(text)
  const body = yield* readResponseBody(json)
  const agent = yield* Effect.fromResult(agentOf(policy, body.model))
  const format = isStructured(agent) ? undefined : (yield* readResponseFormat(json)).text?.format
  const foreign = refuseTools(policy, [["tools", body.tools]], body.tool_choice) ??
    refuseFormat("text.format", format?.type)
  if (foreign !== undefined) return yield* foreign
  if (body.background === true) {
    return yield* refuseParam("background", "unsupported-parameter", "Responses are not made in the background.")
  }
  if (body.prompt !== undefined && body.prompt !== null) {
    return yield* refuseParam("prompt", "unsupported-parameter", "There are no stored prompts. Send input.")
  }
  const previousResponseId = body.previous_response_id ?? undefined
  const conversation = body.conversation ?? undefined
  const conversationId = typeof conversation === "string" ? conversation : conversation?.id
  if (previousResponseId !== undefined && conversationId !== undefined) {
    return yield* refuseParam(
      "previous_response_id",
      "mutually-exclusive-parameters",
      "Go on from a response or with a conversation, not both."
    )
  }
  if (conversationId !== undefined && (isReserved(conversationId) || conversationId === "new")) {
    return yield* refuseParam("conversation", "invalid-value", "No conversation can have this id. Choose another one.")
  }
  const said: Said = { items: [], instructions: [] }
  const { instructions } = body
  if (policy.instructions !== "ignore" && instructions !== undefined && instructions !== null && instructions !== "") {
    if (typeof instructions !== "string") return yield* invalid("instructions")
    const refused = takeInstructions(policy, said, instructions, "instructions")
    if (refused !== undefined) return yield* refused
  }
  const input = typeof body.input === "string"
    ? body.input === "" ? [] : [{ type: "message", role: "user", content: body.input }]
    : body.input ?? []
  for (const [index, item] of input.entries()) {
    const refused = takeItem(policy, said, item, `input[${index}]`)
    if (refused !== undefined) return yield* refused
  }
  const empty = finish(said, "input")
  if (empty !== undefined) return yield* empty
  const asked = policy.settings === "ignore" ? undefined : yield* readResponseSettings(json)
  const order: ResponseOrder = {
    name: body.model,
    agent,
    input: said.items,
    instructions: instructionsOf(said),
    settings: asked === undefined ? undefined : settingsOf({
      temperature: asked.temperature,
      topP: asked.top_p,
      maxOutputTokens: asked.max_output_tokens,
      parallelToolCalls: asked.parallel_tool_calls,
      verbosity: asked.text?.verbosity,
      reasoning: asked.reasoning as ModelSettings["reasoning"] | null
    }),
    stream: body.stream ?? false,
    metadata: body.metadata ?? {},
    user: body.user ?? undefined,
    previousResponseId,
    conversationId,
    store: body.store ?? true
  }
  return order
})

type Part = Result.Result<ContentPart, string>

const fileOf = ({ file_data, file_id, filename }: Fields): ContentPart => ({
  type: "input_file",
  ...(given({ file_data, file_id, filename }))
})

/** A content part of a chat message as one of an item. */
const partOf = (part: unknown, role: string): Part => {
  if (!Predicate.isReadonlyObject(part)) return Result.fail("")
  switch (part["type"]) {
    case "text":
      return typeof part["text"] === "string"
        ? Result.succeed({ type: role === "assistant" ? "output_text" : "input_text", text: part["text"] })
        : Result.fail(".text")
    case "refusal":
      return typeof part["refusal"] === "string"
        ? Result.succeed({ type: "refusal", refusal: part["refusal"] })
        : Result.fail(".refusal")
    case "image_url": {
      const image = part["image_url"]
      return Predicate.isReadonlyObject(image) && typeof image["url"] === "string"
        ? Result.succeed({ type: "input_image", image_url: image["url"], detail: image["detail"] ?? "auto" })
        : Result.fail(".image_url")
    }
    case "input_audio":
      return Predicate.isReadonlyObject(part["input_audio"])
        ? Result.succeed({ type: "input_audio", input_audio: part["input_audio"] })
        : Result.fail(".input_audio")
    case "file":
      return Predicate.isReadonlyObject(part["file"])
        ? Result.succeed(fileOf(part["file"]))
        : Result.fail(".file")
    default:
      return Result.fail(".type")
  }
}

const contentOf = (
  message: Fields,
  param: string
): Result.Result<string | ReadonlyArray<ContentPart>, Refusal> => {
  const { content, refusal, role } = message as { content: unknown; refusal: unknown; role: string }
  const parts: Array<ContentPart> = []
  if (typeof content === "string") {
    if (typeof refusal !== "string") return Result.succeed(content)
    if (content !== "") parts.push({ type: "output_text", text: content })
  } else if (Array.isArray(content)) {
    for (const [index, part] of content.entries()) {
      const read = partOf(part, role)
      if (Result.isFailure(read)) {
        const where = `${param}.content[${index}]${read.failure}`
        return Result.fail(
          refuseParam(where, "invalid-value", `The field ${where} is missing or not of the right form.`)
        )
      }
      parts.push(read.success)
    }
  } else if (content !== null && content !== undefined) {
    return Result.fail(
      refuseParam(`${param}.content`, "invalid-value", `The field ${param}.content is not of the right form.`)
    )
  }
  if (typeof refusal === "string" && role === "assistant") parts.push({ type: "refusal", refusal })
  return parts.length > 0 || role === "assistant" ? Result.succeed(parts) : Result.fail(
    refuseParam(`${param}.content`, "invalid-value", `The field ${param}.content is missing.`)
  )
}

const roles: ReadonlySet<unknown> = new Set(["system", "developer", "user", "assistant", "tool"])

const callOf = (call: unknown): Item | undefined => {
  if (!Predicate.isReadonlyObject(call) || !Predicate.isReadonlyObject(call["function"])) return undefined
  const { arguments: args, name } = call["function"]
  const item = { type: "function_call", call_id: call["id"], name, arguments: args }
  return isItem(item) ? item : undefined
}

/** A chat message as items: what was said, and the calls and outputs that the API keeps in messages. */
const itemsOf = (message: Fields, param: string): Result.Result<ReadonlyArray<Item>, Refusal> => {
  const role = message["role"]
  if (!roles.has(role)) {
    return Result.fail(refuseParam(`${param}.role`, "invalid-value", `The field ${param}.role is not a known role.`))
  }
  return Result.flatMap(contentOf(message, param), (content): Result.Result<ReadonlyArray<Item>, Refusal> => {
    if (role === "tool") {
      const output = { type: "function_call_output", call_id: message["tool_call_id"], output: content }
      return isItem(output)
        ? Result.succeed([output])
        : Result.fail(refuseParam(`${param}.tool_call_id`, "invalid-value", `${param}.tool_call_id is missing.`))
    }
    const calls: Array<Item> = []
    const given = message["tool_calls"]
    for (const [index, call] of (Array.isArray(given) ? given : []).entries()) {
      const item = callOf(call)
      if (item === undefined) {
        const where = `${param}.tool_calls[${index}]`
        return Result.fail(refuseParam(where, "invalid-value", `The field ${where} is not a call of a function.`))
      }
      calls.push(item)
    }
    const said: Message = { type: "message", role: role as Message["role"], content }
    return Result.succeed(content.length === 0 && role === "assistant" ? calls : [said, ...calls])
  })
}

export const readCompletion = Effect.fnUntraced(function*(policy: Policy, text: string) {
  const json = yield* parse(text)
  const body = yield* readCompletionBody(json)
  const agent = yield* Effect.fromResult(agentOf(policy, body.model))
  const format = isStructured(agent) ? undefined : (yield* readCompletionFormat(json)).response_format
  const foreign = refuseTools(policy, [["tools", body.tools], ["functions", body.functions]], body.tool_choice) ??
    refuseFormat("response_format", format?.type)
  if (foreign !== undefined) return yield* foreign
  if ((body.n ?? 1) !== 1) {
    return yield* refuseParam("n", "unsupported-parameter", "An agent gives one answer: n is 1.")
  }
  if (body.modalities?.some((modality) => modality !== "text") === true) {
    return yield* refuseParam("modalities", "unsupported-parameter", "An agent answers in text.")
  }
  if (body.logprobs === true) {
    return yield* refuseParam("logprobs", "unsupported-parameter", "There are no log probabilities of an agent.")
  }
  const said: Said = { items: [], instructions: [] }
  for (const [index, message] of body.messages.entries()) {
    const param = `messages[${index}]`
    // Ignored instructions are not validated either.
    if (policy.instructions === "ignore" && policy.acceptItems !== "any" && instructing.has(message["role"])) continue
    for (const item of yield* Effect.fromResult(itemsOf(message, param))) {
      const refused = takeItem(policy, said, item, param)
      if (refused !== undefined) return yield* refused
    }
  }
  const empty = finish(said, "messages")
  if (empty !== undefined) return yield* empty
  const asked = policy.settings === "ignore" ? undefined : yield* readCompletionSettings(json)
  const streamed = body.stream === true ? yield* readStreamOptions(json) : undefined
  const order: CompletionOrder = {
    name: body.model,
    agent,
    input: said.items,
    instructions: instructionsOf(said),
    settings: asked === undefined ? undefined : settingsOf({
      temperature: asked.temperature,
      topP: asked.top_p,
      maxOutputTokens: asked.max_completion_tokens ?? asked.max_tokens,
      parallelToolCalls: asked.parallel_tool_calls,
      verbosity: asked.verbosity,
      reasoning: { effort: asked.reasoning_effort ?? undefined }
    }),
    stream: body.stream ?? false,
    metadata: body.metadata ?? {},
    includeUsage: streamed?.stream_options?.include_usage ?? false
  }
  return order
})
