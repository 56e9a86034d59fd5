/**
 * The routes of the wire-level peer beside the ones that answer as a model: `/v1/conversations`, its items, and
 * `/v1/responses/compact`. They judge as the real service does: at most 20 items at once, pages of at most 100, and what
 * is not asked for by `include` is left out.
 */
import { complete } from "./events.ts"
import { encryptedPrefix, type Json, type JsonObject, type Wire } from "./Reply.ts"
import {
  array,
  fields,
  filled,
  isObject,
  type Memory,
  nullable,
  object,
  type Refusal,
  refuse,
  string,
  validateBody,
  validateHistory
} from "./validate.ts"

/** What a test makes of such a request: a refusal instead of an answer, or how the answer travels. */
export type Side = Refusal | Wire

export interface SideHost {
  readonly mint: (prefix: string) => string
  readonly conversations: Map<string, Array<JsonObject>>
  readonly stored: Map<string, JsonObject>
  readonly reasoningOf: Map<string, string>
  readonly followerOf: Map<string, string>
  readonly metadata: Map<string, JsonObject>
}

export interface SideRequest {
  readonly method: string
  readonly path: string
  readonly body: JsonObject
}

const maxItems = 20

const without = (item: JsonObject, ...names: ReadonlyArray<string>): JsonObject =>
  Object.fromEntries(Object.entries(item).filter(([name]) => !names.includes(name)))

const notFound = (what: string, id: string): Refusal => refuse(`${what} with id '${id}' not found.`, null, null, 404)

const isRefusal = (u: unknown): u is Refusal => typeof u === "object" && u !== null && "error" in u

/** Items as the service keeps them: an id, a status, content in parts. */
export const normalise = (items: ReadonlyArray<JsonObject>, mint: (prefix: string) => string): Array<JsonObject> =>
  complete({
    kind: "response",
    status: "completed",
    output: items.map((item) => ({
      type: "message",
      ...without(item, ...["id", "status"].filter((n) => item[n] === null))
    })),
    wire: {}
  }, mint).map((item): JsonObject => {
    if (item.type !== "message") return item
    const isOutput = item.role === "assistant"
    const parts: ReadonlyArray<Json> = typeof item.content === "string"
      ? [{ type: isOutput ? "output_text" : "input_text", text: item.content }]
      : item.content as ReadonlyArray<Json>
    return {
      id: item.id!,
      ...without(item, "id"),
      content: isOutput
        ? parts.map((part) =>
          isObject(part) && part.type === "output_text" ? { annotations: [], logprobs: [], ...part } : part
        )
        : parts
    }
  })

const validateItems = (host: SideHost, items: Json | undefined): Refusal | undefined => {
  if (items === undefined) return refuse("Missing required parameter: 'items'.", "items", "missing_required_parameter")
  if (!Array.isArray(items)) {
    return refuse("Invalid type for 'items': expected an array, but got something else.", "items", "invalid_type")
  }
  if (items.length > maxItems) {
    return refuse(
      `Invalid 'items': array too long. Expected an array with maximum length ${maxItems}, but got an array with `
        + `length ${items.length} instead.`,
      "items",
      "array_above_max_length"
    )
  }
  const found = validateBody({ model: "gpt-5-mini", input: items })
  if (found !== undefined) {
    const { code = null, message, param = null } = found.error
    return refuse(
      message.replaceAll("'input[", "'items["),
      param?.replace("input[", "items[") ?? null,
      code,
      found.status
    )
  }
  for (const item of items as ReadonlyArray<JsonObject>) {
    if (
      typeof item.id === "string" && [...host.conversations.values()].some((all) => all.some((x) => x.id === item.id))
    ) {
      return refuse(`Duplicate item found with id ${item.id}.`, "items", null)
    }
  }
  return undefined
}

/** What a listing leaves out unless it is asked for. */
const shown = (item: JsonObject, include: ReadonlyArray<string>): JsonObject => {
  if (item.type === "reasoning" && !include.includes("reasoning.encrypted_content")) {
    return without(item, "encrypted_content")
  }
  if (item.type === "file_search_call" && !include.includes("file_search_call.results")) return without(item, "results")
  if (item.type === "code_interpreter_call" && !include.includes("code_interpreter_call.outputs")) {
    return without(item, "outputs")
  }
  if (item.type !== "message" || !Array.isArray(item.content)) return item
  return {
    ...item,
    content: item.content.map((part) =>
      !isObject(part)
        ? part
        : part.type === "input_image" && !include.includes("message.input_image.image_url")
        ? without(part, "image_url")
        : part.type === "output_text" && !include.includes("message.output_text.logprobs")
        ? without(part, "logprobs")
        : part
    )
  }
}

const conversationOf = (host: SideHost, id: string): JsonObject => ({
  id,
  object: "conversation",
  created_at: Math.floor(Date.now() / 1_000),
  metadata: host.metadata.get(id) ?? {}
})

const listOf = (data: ReadonlyArray<JsonObject>, hasMore: boolean): JsonObject => ({
  object: "list",
  data,
  first_id: data[0]?.id ?? null,
  last_id: data.at(-1)?.id ?? null,
  has_more: hasMore
})

const add = (host: SideHost, id: string, items: ReadonlyArray<JsonObject>): ReadonlyArray<JsonObject> => {
  const kept = normalise(items, host.mint)
  host.conversations.get(id)!.push(...kept)
  for (const item of kept) host.stored.set(String(item.id), item)
  return kept
}

const listParameters = new Set(["limit", "order", "after", "include", "include[]"])

const listItems = (items: ReadonlyArray<JsonObject>, query: URLSearchParams): JsonObject | Refusal => {
  for (const name of query.keys()) {
    if (!listParameters.has(name)) return refuse(`Unknown parameter: '${name}'.`, name, "unknown_parameter")
  }
  const limit = Number(query.get("limit") ?? 20)
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) {
    return refuse("Invalid 'limit': expected a value >= 1 and <= 100.", "limit", "integer_out_of_range")
  }
  const ordered = query.get("order") === "asc" ? items : [...items].reverse()
  const after = query.get("after")
  const start = after === null ? 0 : ordered.findIndex((item) => item.id === after) + 1
  if (after !== null && start === 0) return notFound("Item", after)
  const include = [...query.getAll("include"), ...query.getAll("include[]")]
  const page = ordered.slice(start, start + limit).map((item) => shown(item, include))
  return listOf(page, start + limit < ordered.length)
}

const compactBody = fields({
  required: { model: filled },
  optional: {
    input: nullable(() => undefined),
    instructions: nullable(string),
    previous_response_id: nullable(string),
    prompt_cache_key: nullable(string)
  }
})

const tokens = (value: Json): number => Math.ceil(JSON.stringify(value).length / 4)

const compact = (host: SideHost, body: JsonObject): JsonObject | Refusal => {
  const wrong = compactBody(body, "body")
  if (wrong !== undefined) {
    return refuse(wrong.error.message.replace("body.", ""), wrong.error.param ?? null, wrong.error.code ?? null)
  }
  const input: ReadonlyArray<JsonObject> = typeof body.input === "string"
    ? [{ type: "message", role: "user", content: body.input }]
    : (body.input ?? []) as ReadonlyArray<JsonObject>
  const memory: Memory = { history: [], ...host }
  const broken = validateBody({ model: body.model!, input }) ?? validateHistory(input, memory)
  if (broken !== undefined) return broken
  const users = input.filter((item) => (item.type ?? "message") === "message" && item.role === "user")
  const output = [
    ...normalise(users.map((item) => without(item, "id")), host.mint),
    { type: "compaction", id: host.mint("cmp"), encrypted_content: encryptedPrefix + String(input.length) }
  ]
  const inputTokens = tokens(input)
  return {
    id: host.mint("resp"),
    object: "response.compaction",
    created_at: Math.floor(Date.now() / 1_000),
    output,
    usage: {
      input_tokens: inputTokens,
      input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
      output_tokens: tokens(output),
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: inputTokens + tokens(output)
    }
  }
}

const createBody = fields({ required: {}, optional: { items: nullable(array(object)), metadata: nullable(object) } })

/** `undefined` where the request is for another route. */
const route = (host: SideHost, { body, method, path }: SideRequest): JsonObject | Refusal | undefined => {
  const [name = "", search = ""] = path.split("?", 2)
  if (method === "POST" && name === "/v1/responses/compact") return compact(host, body)
  if (method === "POST" && name === "/v1/conversations") {
    const wrong = createBody(body ?? {}, "body")
    if (wrong !== undefined) return wrong
    const refused = Array.isArray(body?.items) ? validateItems(host, body.items) : undefined
    if (refused !== undefined) return refused
    const id = host.mint("conv")
    host.conversations.set(id, [])
    if (isObject(body?.metadata)) host.metadata.set(id, body.metadata)
    add(host, id, (body?.items ?? []) as ReadonlyArray<JsonObject>)
    return conversationOf(host, id)
  }
  const match = /^\/v1\/conversations\/([^/]+)(?:\/items(?:\/([^/]+))?)?$/.exec(name)
  if (match === null) return undefined
  const [, id = "", itemId] = match
  const items = host.conversations.get(id)
  if (items === undefined) return notFound("Conversation", id)
  if (itemId !== undefined) {
    const index = items.findIndex((item) => item.id === itemId)
    if (index < 0) return notFound("Item", itemId)
    if (method === "GET") return shown(items[index]!, new URLSearchParams(search).getAll("include[]"))
    if (method !== "DELETE") return undefined
    items.splice(index, 1)
    return conversationOf(host, id)
  }
  if (name.endsWith("/items")) {
    if (method === "GET") return listItems(items, new URLSearchParams(search))
    if (method !== "POST") return undefined
    const refused = fields({ required: {}, optional: { items: () => undefined } })(body, "body") ??
      validateItems(host, body.items)
    return refused ?? listOf(add(host, id, body.items as ReadonlyArray<JsonObject>), false)
  }
  if (method === "GET") return conversationOf(host, id)
  if (method !== "DELETE") return undefined
  host.conversations.delete(id)
  return { id, object: "conversation.deleted", deleted: true }
}

/** The answer of such a route, as a status with a body or as a refusal; `undefined` where it is none of them. */
export const answerSide = (
  host: SideHost,
  request: SideRequest,
  side: Side | undefined
): Refusal | { readonly body: string; readonly wire: Wire } | undefined => {
  if (isRefusal(side)) return side
  const found = route(host, request)
  return found === undefined || isRefusal(found) ? found : { body: JSON.stringify(found), wire: side ?? {} }
}
