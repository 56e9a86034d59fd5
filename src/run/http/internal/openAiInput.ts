/** What clients of OpenAI send, as what a run starts with. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { type ContentPart, isItem, isMessage, isReasoning, type Item, type Message } from "../../../services/Item.ts"
import type { ModelSettings } from "../../../services/ModelProvider.ts"
import type * as Agent from "../../Agent.ts"
import { agentsOf } from "../../internal/agents.ts"
import { isUserMessage, reserved } from "./exchange.ts"
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
  readonly user: string | undefined
}

export interface ResponseOrder extends Order {
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

const common = {
  model: Text.check(Schema.isMinLength(1)),
  stream: maybe(Schema.Boolean),
  metadata: maybe(
    Schema.Record(Text, Text).check(
      Schema.makeFilter((metadata) => Object.keys(metadata).length <= 16 || "at most 16 fields")
    )
  ),
  user: maybe(Text),
  tools: maybe(Schema.Array(Schema.Unknown)),
  tool_choice: maybe(Schema.Unknown),
  temperature: maybe(Schema.Finite),
  top_p: maybe(Schema.Finite),
  parallel_tool_calls: maybe(Schema.Boolean)
}

const Effort = Schema.Literals(["none", "minimal", "low", "medium", "high", "xhigh", "max"])

const Verbosity = Schema.Literals(["low", "medium", "high"])

const tokens = Schema.Int.check(Schema.isGreaterThan(0))

const Id = Text.check(Schema.isMinLength(1), Schema.isMaxLength(512))

const ResponseBody = Schema.Struct({
  ...common,
  input: maybe(Schema.Union([Text, Schema.Array(Schema.Unknown)])),
  instructions: maybe(Text),
  previous_response_id: maybe(Id),
  conversation: maybe(Schema.Union([Id, Schema.Struct({ id: Id })])),
  store: maybe(Schema.Boolean),
  background: maybe(Schema.Boolean),
  prompt: maybe(Schema.Unknown),
  text: maybe(Schema.Struct({
    format: maybe(Schema.Struct({ type: Text })),
    verbosity: maybe(Verbosity)
  })),
  reasoning: maybe(Schema.Struct({
    effort: maybe(Effort),
    summary: maybe(Schema.Literals(["auto", "concise", "detailed"]))
  })),
  max_output_tokens: maybe(tokens)
})

const CompletionBody = Schema.Struct({
  ...common,
  messages: Schema.Array(Schema.Record(Text, Schema.Unknown)).check(Schema.isMinLength(1)),
  n: maybe(Schema.Int),
  stream_options: maybe(Schema.Struct({ include_usage: maybe(Schema.Boolean) })),
  functions: maybe(Schema.Array(Schema.Unknown)),
  response_format: maybe(Schema.Struct({ type: Text })),
  modalities: maybe(Schema.Array(Text)),
  logprobs: maybe(Schema.Boolean),
  max_tokens: maybe(tokens),
  max_completion_tokens: maybe(tokens),
  reasoning_effort: maybe(Effort),
  verbosity: maybe(Verbosity)
})

const standard = SchemaIssue.makeFormatterStandardSchemaV1()

const pathOf = (path: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }>): string =>
  path.reduce<string>((text, segment) => {
    const key = typeof segment === "object" ? segment.key : segment
    return typeof key === "number" ? `${text}[${key}]` : text === "" ? String(key) : `${text}.${String(key)}`
  }, "")

const parse = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))

const bodyOf = <A>(schema: Schema.Codec<A, unknown>) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return (text: string): Effect.Effect<A, Refusal> =>
    parse(text).pipe(
      Effect.mapError(() => refuse(400, "invalid-json", "The body is not JSON.")),
      Effect.flatMap((json) =>
        Effect.mapError(decode(json), ({ issue }) => {
          const [first] = standard(issue).issues
          const param = pathOf(first?.path ?? [])
          return param === ""
            ? refuse(400, "invalid-body", "The body is not a JSON object.")
            : refuseParam(param, "invalid-value", `The field ${param} is missing or not of the right form.`)
        })
      )
    )
}

const readResponseBody = bodyOf(ResponseBody)

const readCompletionBody = bodyOf(CompletionBody)

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

/** What neither API can ask of an agent. */
const refuseForeign = (
  policy: Policy,
  agent: Agent.Any,
  asked: {
    readonly tools: ReadonlyArray<readonly [param: string, ReadonlyArray<unknown> | null | undefined]>
    readonly choice: unknown
    readonly format: readonly [param: string, type: string | undefined]
  }
): Refusal | undefined => {
  if (policy.tools === "refuse") {
    const param = asked.tools.find(([, tools]) => tools !== undefined && tools !== null && tools.length > 0)?.[0] ??
      (isToolChoice(asked.choice) ? undefined : "tool_choice")
    if (param !== undefined) {
      return refuseParam(param, "unsupported-parameter", "This agent has its own tools and takes none of a client.")
    }
  }
  const [param, type] = asked.format
  return type === undefined || type === "text" || isStructured(agent) ? undefined : refuseParam(
    param,
    "unsupported-parameter",
    "This agent answers in text, and its answer has no other form. Take the parameter away."
  )
}

interface Said {
  readonly items: Array<Item>
  readonly instructions: Array<string>
}

const textOf = (content: string | ReadonlyArray<ContentPart>): string =>
  typeof content === "string" ? content : content.map((part) => part.text ?? "").join("")

const takeInstructions = (policy: Policy, said: Said, text: string, param: string): Refusal | undefined => {
  if (policy.instructions === "refuse") {
    return refuseParam(
      param,
      "unsupported-instructions",
      "This agent has its own instructions and takes none of a client, in whatever role."
    )
  }
  if (policy.instructions === "add") said.instructions.push(text)
  return undefined
}

/** What a client was shown before and sends back has nothing to say to the model. */
const isShown = (item: Item): boolean => isReasoning(item) || item.type === "mcp_call"

const takeItem = (policy: Policy, said: Said, item: Item, param: string): Refusal | undefined => {
  if (policy.acceptItems === "any") {
    said.items.push(item)
    return undefined
  }
  if (isShown(item)) return undefined
  if (isMessage(item)) {
    const { content, role } = item
    if (role === "system" || role === "developer") return takeInstructions(policy, said, textOf(content), param)
    if (isUserMessage(item) || policy.acceptItems === "messages") {
      // Ids and the like are this server's own.
      said.items.push({ type: "message", role, content })
      return undefined
    }
  }
  return refuseParam(
    param,
    "unsupported-item",
    policy.acceptItems === "user"
      ? "The input may only hold messages with the role \"user\"."
      : "The input may only hold messages of the user and of the assistant."
  )
}

const noInput = (param: string): Refusal =>
  refuseParam(param, "missing-input", "There is nothing to answer: send a message of the user.")

const finish = (said: Said, param: string): Refusal | undefined => said.items.length === 0 ? noInput(param) : undefined

const instructionsOf = ({ instructions }: Said): string | undefined =>
  instructions.length === 0 ? undefined : instructions.join("\n\n")

export const readResponse = Effect.fnUntraced(function*(policy: Policy, text: string) {
  const body = yield* readResponseBody(text)
  const agent = yield* Effect.fromResult(agentOf(policy, body.model))
  const foreign = refuseForeign(policy, agent, {
    tools: [["tools", body.tools]],
    choice: body.tool_choice,
    format: ["text.format", body.text?.format?.type]
  })
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
  if (conversationId !== undefined && (conversationId.startsWith(reserved) || conversationId === "new")) {
    return yield* refuseParam("conversation", "invalid-value", "No conversation can have this id.")
  }
  const said: Said = { items: [], instructions: [] }
  if (typeof body.instructions === "string" && body.instructions !== "") {
    const refused = takeInstructions(policy, said, body.instructions, "instructions")
    if (refused !== undefined) return yield* refused
  }
  const input = typeof body.input === "string"
    ? body.input === "" ? [] : [{ type: "message", role: "user", content: body.input }]
    : body.input ?? []
  for (const [index, item] of input.entries()) {
    const param = `input[${index}]`
    if (!isItem(item)) return yield* refuseParam(param, "invalid-value", "This is not an item that can be input.")
    const refused = takeItem(policy, said, item, param)
    if (refused !== undefined) return yield* refused
  }
  const empty = finish(said, "input")
  if (empty !== undefined) return yield* empty
  const order: ResponseOrder = {
    name: body.model,
    agent,
    input: said.items,
    instructions: instructionsOf(said),
    settings: policy.settings === "ignore" ? undefined : settingsOf({
      temperature: body.temperature,
      topP: body.top_p,
      maxOutputTokens: body.max_output_tokens,
      parallelToolCalls: body.parallel_tool_calls,
      verbosity: body.text?.verbosity,
      reasoning: body.reasoning as ModelSettings["reasoning"] | null
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
        ? Result.succeed({ type: "input_file", ...part["file"] })
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
  const body = yield* readCompletionBody(text)
  const agent = yield* Effect.fromResult(agentOf(policy, body.model))
  const foreign = refuseForeign(policy, agent, {
    tools: [["tools", body.tools], ["functions", body.functions]],
    choice: body.tool_choice,
    format: ["response_format", body.response_format?.type]
  })
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
    for (const item of yield* Effect.fromResult(itemsOf(message, param))) {
      const refused = takeItem(policy, said, item, param)
      if (refused !== undefined) return yield* refused
    }
  }
  const empty = finish(said, "messages")
  if (empty !== undefined) return yield* empty
  const order: CompletionOrder = {
    name: body.model,
    agent,
    input: said.items,
    instructions: instructionsOf(said),
    settings: policy.settings === "ignore" ? undefined : settingsOf({
      temperature: body.temperature,
      topP: body.top_p,
      maxOutputTokens: body.max_completion_tokens ?? body.max_tokens,
      parallelToolCalls: body.parallel_tool_calls,
      verbosity: body.verbosity,
      reasoning: { effort: body.reasoning_effort ?? undefined }
    }),
    stream: body.stream ?? false,
    metadata: body.metadata ?? {},
    user: body.user ?? undefined,
    includeUsage: body.stream_options?.include_usage ?? false
  }
  return order
})
