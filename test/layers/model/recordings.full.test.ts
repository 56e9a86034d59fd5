/**
 * Real traffic, replayed. The recordings are not part of this repository: without the folder these tests are skipped.
 */
import { assert, describe, it } from "@effect/vitest"
import * as ModelOpenAIChat from "agent-layers/layers/model/ModelOpenAIChat"
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import * as Item from "agent-layers/services/Item"
import type { ModelErrorReason } from "agent-layers/services/ModelError"
import type { ModelEvent, ModelRequest, ModelResponse } from "agent-layers/services/ModelProvider"
import { Effect, Redacted, Stream } from "effect"
import { existsSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Replay from "../../support/openai/replay.ts"

const folder = fileURLToPath(new URL("../../../../shared/recordings/", import.meta.url))
const isThere = existsSync(`${folder}expected.json`)

interface Expected {
  readonly file: string
  readonly kind: string
  readonly exchange?: number
  readonly expect: {
    readonly status: string
    readonly text: string
    readonly refusal: string
    readonly itemTypes: ReadonlyArray<string>
    readonly incompleteReason: string | null
    readonly usage: {
      readonly input: number
      readonly output: number
      readonly total: number
      readonly cached: number
      readonly reasoning: number
    }
    readonly functionCalls: ReadonlyArray<
      { readonly callId: string; readonly name: string; readonly arguments: string }
    >
    readonly encryptedReasoning: number
    readonly model: string | null
    readonly id: string | null
    readonly notes?: ReadonlyArray<string>
  }
}

interface ExpectedUsage {
  readonly input: number
  readonly output: number
  readonly total: number
  readonly cached: number | null
  readonly reasoning: number | null
}

interface ExpectedCall {
  readonly id?: string
  readonly name: string
  readonly arguments: string
}

interface ExpectedChat {
  readonly file: string
  readonly kind: string
  readonly exchange?: number
  readonly expect: {
    readonly id: string | null
    readonly model: string | null
    readonly usage: ExpectedUsage | null
    readonly choices: ReadonlyArray<{
      readonly text: string
      readonly refusal: string | null
      readonly reasoning: string
      readonly finishReason: string | null
      readonly toolCalls: ReadonlyArray<ExpectedCall>
      readonly functionCall: ExpectedCall | null
    }>
  }
}

interface ExpectedError {
  readonly file: string
  readonly kind: string
  readonly exchange?: number
  readonly path: string
  readonly expect: { readonly status: number; readonly message: string | null }
}

const all: ReadonlyArray<{ readonly kind: string }> = isThere
  ? JSON.parse(readFileSync(`${folder}expected.json`, "utf8"))
  : []

const ofKind = <A>(kind: string) =>
  all.filter((entry) => entry.kind.startsWith(kind)) as ReadonlyArray<unknown> as ReadonlyArray<A>

const entries = ofKind<Expected>("responses-")
const chats = ofKind<ExpectedChat>("chat-")
const errors = ofKind<ExpectedError>("error")
  .filter(({ path }) => /\/(responses|chat\/completions)(\?|$)/.test(path))

const isPending = (entry: Expected) => entry.expect.status === "queued" || entry.expect.status === "in_progress"

/** What the caller asks for does not matter to a recording. */
const request: ModelRequest = { input: "replayed" }

const ask = Effect.fnUntraced(function*(
  exchanges: ReadonlyArray<Replay.Exchange>,
  how: "respond" | "stream",
  options: Replay.ReplayOptions,
  layer: typeof ModelOpenAIChat | typeof ModelOpenAIResponses = ModelOpenAIResponses
) {
  const replay = yield* Replay.serve(exchanges, options)
  const provider = yield* layer.make({ apiKey: Redacted.make("sk-replay"), baseURL: replay.url })
  const model = yield* provider.getModel("recorded")
  const events: ReadonlyArray<ModelEvent> = how === "stream" ? yield* Stream.runCollect(model.stream(request)) : []
  const last = events.at(-1)
  const response: ModelResponse = how === "respond"
    ? yield* model.respond(request)
    : last?._tag === "Completed"
    ? last.response
    : assert.fail("the last event is not Completed")
  return { events, response, served: replay.served }
}, Effect.scoped)

const check = (response: ModelResponse, entry: Expected) => {
  const { expect } = entry
  const messages = response.output.filter((item) => Item.isMessage(item))
  const calls = response.output.filter((item) => Item.isFunctionCall(item))
  assert.strictEqual(messages.map(Item.text).join(""), expect.text)
  assert.strictEqual(messages.map((item) => Item.refusal(item) ?? "").join(""), expect.refusal)
  assert.deepStrictEqual(response.output.map((item) => item.type), [...expect.itemTypes])
  assert.deepStrictEqual(
    calls.map((item) => ({ callId: item.call_id, name: item.name, arguments: item.arguments })),
    [...expect.functionCalls]
  )
  assert.deepStrictEqual(response.usage, {
    requests: 1,
    inputTokens: expect.usage.input,
    outputTokens: expect.usage.output,
    totalTokens: expect.usage.total,
    cachedTokens: expect.usage.cached,
    reasoningTokens: expect.usage.reasoning
  })
  assert.strictEqual(response.status, expect.status === "incomplete" ? "incomplete" : "completed")
  assert.strictEqual(response.incompleteReason, expect.incompleteReason ?? undefined)
  assert.strictEqual(response.id, expect.id ?? undefined)
  assert.strictEqual(response.model, expect.model ?? undefined)
  const encrypted = response.output.filter((item) =>
    Item.isReasoning(item) && typeof item.encrypted_content === "string" && item.encrypted_content !== ""
  )
  assert.strictEqual(encrypted.length, expect.encryptedReasoning)
}

const checkEvents = (events: ReadonlyArray<ModelEvent>, response: ModelResponse, entry: Expected) => {
  const done = events.flatMap((event) => event._tag === "ItemDone" ? [event.item] : [])
  assert.deepStrictEqual(done, [...response.output])
  assert.strictEqual(events.filter((event) => event._tag === "Completed").length, 1)
  if (entry.expect.notes?.includes("text deltas differ from the done text") !== true) {
    assert.strictEqual(
      events.flatMap((event) => event._tag === "TextDelta" ? [event.delta] : []).join(""),
      entry.expect.text
    )
  }
  const args = new Map<string, string>()
  for (const event of events) {
    if (event._tag === "ToolCallDelta") args.set(event.callId, (args.get(event.callId) ?? "") + event.delta)
  }
  for (const [callId, text] of args) {
    assert.strictEqual(text, entry.expect.functionCalls.find((call) => call.callId === callId)?.arguments)
  }
}

const ways: ReadonlyArray<readonly [name: string, options: Replay.ReplayOptions]> = [
  ["as recorded", {}],
  ["in pieces of 1000 bytes", { splitBytes: 1000 }],
  ["in pieces of 7 bytes", { splitBytes: 7 }],
  ["byte by byte", { splitBytes: 1 }],
  ["with CRLF and comments", { crlf: true, comments: true }],
  ["with CRLF and comments in pieces of 7 bytes", { crlf: true, comments: true, splitBytes: 7 }]
]

const title = isThere
  ? "recorded Responses traffic"
  : "recorded Responses traffic [needs the folder ../shared/recordings next to the repository]"

describe.skipIf(!isThere)(title, () => {
  it("is all there", () => {
    assert.isAtLeast(entries.length, 80)
  })

  for (const entry of entries) {
    const name = `${entry.file}${entry.exchange === undefined ? "" : ` #${entry.exchange}`}`
    const file = `${folder}${entry.file}`
    const exchanges = () => {
      const all = Replay.read(file)
      const one = all[entry.exchange ?? 0]!
      // A response that was fetched later answers here as if it were the answer to the request itself.
      return [{ ...one, method: undefined, path: undefined }]
    }
    if (isPending(entry)) {
      const rest = entries.filter((other) => other.file === entry.file && other.exchange! > entry.exchange!)
      const final = rest.find((other) => !isPending(other))!
      // What is fetched while it is pending belongs to the request before it.
      const first = Replay.read(file)[entry.exchange!]!
      it.live(`${name}, ${entry.expect.status}: waits for #${final.exchange}`, () =>
        Effect.gen(function*() {
          const through = Replay.read(file).slice(entry.exchange, final.exchange! + 1)
          const opening = { ...first, method: "POST", path: "/responses" }
          const { response, served } = yield* ask([opening, ...through.slice(1)], "respond", {})
          check(response, final)
          assert.strictEqual(served.length, through.length)
        }))
      continue
    }
    if (entry.kind === "responses-json") {
      it.live(name, () =>
        Effect.gen(function*() {
          const { response } = yield* ask(exchanges(), "respond", { splitBytes: 7 })
          check(response, entry)
          // A server that does not stream although it was asked to.
          const streamed = yield* ask(exchanges(), "stream", {})
          check(streamed.response, entry)
        }))
      continue
    }
    for (const [way, options] of ways) {
      it.live(`${name} ${way}`, () =>
        Effect.gen(function*() {
          const { events, response } = yield* ask(exchanges(), "stream", options)
          check(response, entry)
          checkEvents(events, response, entry)
        }))
    }
  }
})

const reasoningOf = (response: ModelResponse): string =>
  response.output.map((item) => Item.isReasoning(item) ? (item.content ?? []).map((part) => part.text).join("") : "")
    .join("")

const incompleteReasons: Readonly<Record<string, string>> = {
  length: "max_output_tokens",
  content_filter: "content_filter"
}

const checkChat = (response: ModelResponse, entry: ExpectedChat, body: string) => {
  const { expect } = entry
  const choice = expect.choices[0]!
  const messages = response.output.filter((item) => Item.isMessage(item))
  const calls = response.output.filter((item) => Item.isFunctionCall(item))
  assert.strictEqual(messages.map(Item.text).join(""), choice.text)
  assert.strictEqual(messages.map((item) => Item.refusal(item) ?? "").join(""), choice.refusal ?? "")
  // The facts leave out what is in `reasoning_details` alone.
  if (choice.reasoning !== "" || !body.includes("reasoning_details")) {
    assert.strictEqual(reasoningOf(response), choice.reasoning)
  } else {
    assert.notStrictEqual(reasoningOf(response), "")
  }
  const expected = choice.functionCall === null ? choice.toolCalls : [choice.functionCall]
  assert.deepStrictEqual(
    calls.map((item, index) => ({
      ...(expected[index]?.id === undefined ? {} : { id: item.call_id }),
      name: item.name,
      arguments: item.arguments
    })),
    [...expected]
  )
  assert.deepStrictEqual(response.usage, {
    requests: 1,
    inputTokens: expect.usage?.input ?? 0,
    outputTokens: expect.usage?.output ?? 0,
    totalTokens: expect.usage?.total ?? 0,
    cachedTokens: expect.usage?.cached ?? 0,
    reasoningTokens: expect.usage?.reasoning ?? 0
  })
  const incompleteReason = incompleteReasons[choice.finishReason ?? ""]
  assert.strictEqual(response.incompleteReason, incompleteReason)
  assert.strictEqual(response.status, incompleteReason === undefined ? "completed" : "incomplete")
  assert.strictEqual(response.id, expect.id === "" ? undefined : expect.id ?? undefined)
  assert.strictEqual(response.model, expect.model ?? undefined)
}

const checkChatEvents = (events: ReadonlyArray<ModelEvent>, response: ModelResponse) => {
  assert.deepStrictEqual(events.flatMap((event) => event._tag === "ItemDone" ? [event.item] : []), [...response.output])
  const told = (tag: ModelEvent["_tag"], itemId?: unknown) =>
    events.flatMap((event) =>
      event._tag === tag && "delta" in event && (itemId === undefined || event.itemId === itemId) ? [event.delta] : []
    ).join("")
  assert.strictEqual(told("TextDelta"), response.output.map(Item.text).join(""))
  assert.strictEqual(told("ReasoningDelta"), reasoningOf(response))
  for (const item of response.output) {
    if (Item.isFunctionCall(item)) assert.strictEqual(told("ToolCallDelta", item.id), item.arguments)
  }
}

describe.skipIf(!isThere)(title.replace("Responses", "Chat Completions"), () => {
  it("is all there", () => {
    assert.isAtLeast(chats.length, 50)
  })

  for (const entry of chats) {
    const name = `${entry.file}${entry.exchange === undefined ? "" : ` #${entry.exchange}`}`
    const exchange = () => ({
      ...Replay.read(`${folder}${entry.file}`)[entry.exchange ?? 0]!,
      method: undefined,
      path: undefined
    })
    if (entry.expect.choices.length === 0) {
      it.live(`${name}: is no answer`, () =>
        Effect.gen(function*() {
          for (const how of ["respond", "stream"] as const) {
            const error = yield* Effect.flip(ask([exchange()], how, {}, ModelOpenAIChat))
            assert.strictEqual(error.reason._tag, "InvalidOutput")
          }
        }))
      continue
    }
    if (entry.kind === "chat-json") {
      it.live(name, () =>
        Effect.gen(function*() {
          const { body } = exchange()
          const { response } = yield* ask([exchange()], "respond", { splitBytes: 7 }, ModelOpenAIChat)
          checkChat(response, entry, body)
          // A server that does not stream although it was asked to.
          const streamed = yield* ask([exchange()], "stream", {}, ModelOpenAIChat)
          checkChat(streamed.response, entry, body)
          checkChatEvents(streamed.events, streamed.response)
        }))
      continue
    }
    for (const [way, options] of ways) {
      it.live(`${name} ${way}`, () =>
        Effect.gen(function*() {
          const { events, response } = yield* ask([exchange()], "stream", options, ModelOpenAIChat)
          checkChat(response, entry, exchange().body)
          checkChatEvents(events, response)
        }))
    }
  }
})

const reasonOf = ({ expect: { message, status } }: ExpectedError): ModelErrorReason["_tag"] =>
  status === 401
    ? "Authentication"
    : status === 404
    ? "UnknownModel"
    : status === 429
    ? "RateLimited"
    : status >= 500
    ? "Overloaded"
    : message?.includes("context window") === true
    ? "ContextLengthExceeded"
    : "InvalidRequest"

describe.skipIf(!isThere)(title.replace("Responses traffic", "errors"), () => {
  it("is all there", () => {
    assert.isAtLeast(errors.length, 8)
  })

  for (const entry of errors) {
    it.live(`${entry.file} #${entry.exchange}`, () =>
      Effect.gen(function*() {
        const layer = entry.path.includes("chat/completions") ? ModelOpenAIChat : ModelOpenAIResponses
        const exchange = Replay.read(`${folder}${entry.file}`)[entry.exchange ?? 0]!
        for (const how of ["respond", "stream"] as const) {
          const error = yield* Effect.flip(ask([{ ...exchange, method: undefined, path: undefined }], how, {}, layer))
          assert.strictEqual(error.reason._tag, reasonOf(entry))
          assert.strictEqual(error.reason.status, entry.expect.status)
          if (entry.expect.message !== null) assert.include(error.reason.description, entry.expect.message)
        }
      }))
  }
})
