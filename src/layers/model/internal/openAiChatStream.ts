/**
 * What Chat Completions answers, in chunks or whole, as `ModelEvent`s. Pure: bytes in, events and at most one end out. A
 * whole answer is read as a stream of one chunk, so that both ways give the same response.
 */
import * as Result from "effect/Result"
import type { Item, Message, Reasoning } from "../../../services/Item.ts"
import { InvalidOutput, type ModelErrorReason, Overloaded } from "../../../services/ModelError.ts"
import type { ModelEvent } from "../../../services/ModelProvider.ts"
import * as Usage from "../../../services/Usage.ts"
import { isRecord, parseJson } from "./json.ts"
import { makeChatCalls } from "./openAiChatCalls.ts"
import { originKey, type ReasoningOrigin } from "./openAiChatRequest.ts"
import { type ErrorBody, errorBody, fromBody } from "./openAiError.ts"
import { finish } from "./openAiResponse.ts"
import type { StreamReader } from "./openAiStream.ts"
import { makeSseReader } from "./sse.ts"

type Fields = Readonly<Record<string, unknown>>

const tokens = (u: unknown): number => typeof u === "number" && Number.isFinite(u) && u >= 0 ? u : 0

const detail = (u: unknown, key: string): number | undefined =>
  isRecord(u) && typeof u[key] === "number" ? tokens(u[key]) : undefined

const usageOf = (u: Fields): Usage.Usage => {
  const inputTokens = tokens(u.prompt_tokens)
  const outputTokens = tokens(u.completion_tokens)
  return Usage.make({
    inputTokens,
    outputTokens,
    ...(typeof u.total_tokens === "number" ? { totalTokens: tokens(u.total_tokens) } : {}),
    cachedTokens: detail(u.prompt_tokens_details, "cached_tokens") ?? tokens(u.prompt_cache_hit_tokens),
    reasoningTokens: detail(u.completion_tokens_details, "reasoning_tokens") ?? tokens(u.reasoning_tokens)
  })
}

/** Gateways give the status of the server behind them as the code of an error that comes with status 200. */
const codes: Readonly<Record<string, Partial<ErrorBody>>> = {
  400: { type: "invalid_request_error" },
  401: { code: "invalid_api_key" },
  402: { code: "insufficient_quota" },
  403: { code: "invalid_api_key" },
  404: { type: "invalid_request_error" },
  408: { code: "timeout" },
  413: { type: "invalid_request_error" },
  422: { type: "invalid_request_error" },
  429: { code: "rate_limit_exceeded" }
}

const named = (body: ErrorBody): ErrorBody => ({ ...body, ...codes[body.code ?? ""] })

/** Why an answer is incomplete, by what the server calls it; any other word is an end like any other. */
const incomplete: Readonly<Record<string, string>> = {
  length: "max_output_tokens",
  max_tokens: "max_output_tokens",
  model_length: "max_output_tokens",
  content_filter: "content_filter"
}

const failed = new Set(["error", "insufficient_system_resource"])

const annotationOf = (u: unknown): unknown =>
  isRecord(u) && typeof u.type === "string" && isRecord(u[u.type])
    ? { type: u.type, ...u[u.type] as Fields }
    : u

const texts = (u: unknown): string =>
  typeof u === "string"
    ? u
    : Array.isArray(u)
    ? u.map((part) => isRecord(part) && typeof part.text === "string" ? part.text : "").join("")
    : ""

/** Pieces of `reasoning_details` with one index and type are one detail. */
const addDetails = (details: Array<Record<string, unknown>>, pieces: ReadonlyArray<unknown>): void => {
  for (const piece of pieces) {
    if (!isRecord(piece)) continue
    const same = details.find((one) =>
      piece.index !== undefined && one.index === piece.index && one.type === piece.type && one.id === piece.id
    )
    if (same === undefined) {
      details.push({ ...piece })
      continue
    }
    for (const [key, value] of Object.entries(piece)) {
      const isText = key === "text" || key === "summary" || key === "data"
      if (isText && typeof value === "string" && typeof same[key] === "string") same[key] += value
      else if (value !== null && value !== undefined) same[key] = value
    }
  }
}

export const makeChatReader = (options: {
  readonly provider: string
  readonly structured: boolean
  readonly raw: boolean
  /** Whether events are seen as they come; of a whole answer nothing is seen before its end. */
  readonly isStream: boolean
  readonly nonce: string
  /** Whether the conversation has a call of that id. */
  readonly isKnown: (callId: string) => boolean
  /** Takes secrets out of what the server says. */
  readonly scrub: (text: string) => string
}): StreamReader => {
  const { nonce } = options
  const sse = makeSseReader()
  const messageId = `message_${nonce}`
  const reasoningId = `reasoning_${nonce}`

  let id: string | undefined
  let model: string | undefined
  let usage: Usage.Usage | undefined
  let finishReason: string | undefined
  let hasChoice = false
  let said = ""
  let refused = ""
  const annotations: Array<unknown> = []
  let thought = ""
  let thoughtIn: ReasoningOrigin["field"] = "reasoning"
  const details: Array<Record<string, unknown>> = []

  const reader: StreamReader = {
    events: [],
    failure: undefined,
    isOver: false,
    isVisible: false,
    feed: (text) => {
      if (reader.isOver) return
      if (sse.feed(text, onData) !== undefined) fail(invalid("one event of the stream is too large to be read"))
    },
    end: () => {
      if (reader.isOver) return
      sse.end(onLeftOver)
      // Some servers send no `[DONE]`.
      if (!reader.isOver && finishReason !== undefined) complete()
    },
    whole: (json) => {
      if (!isRecord(json)) return fail(invalid("the response is not a JSON object"))
      onChunk(json)
      if (!reader.isOver) complete()
    }
  }

  const fail = (reason: ModelErrorReason): void => {
    reader.failure = reason
    reader.isOver = true
  }

  const invalid = (description: string) => new InvalidOutput({ description, isPartial: reader.isVisible })

  const emit = (event: ModelEvent): void => {
    reader.isVisible = options.isStream
    reader.events.push(event)
  }

  const calls = makeChatCalls({ nonce, isKnown: options.isKnown, emit })

  const onData = (data: string): void => {
    if (reader.isOver || data === "") return
    if (data === "[DONE]") return complete()
    const chunk = parseJson(data)
    if (isRecord(chunk)) onChunk(chunk)
    else fail(invalid("an event of the stream is not a JSON object"))
  }

  /** A half event is no event. */
  const onLeftOver = (data: string): void => {
    if (data === "[DONE]") return complete()
    const chunk = parseJson(data)
    if (isRecord(chunk)) onChunk(chunk)
  }

  const onError = (body: unknown): void => fail(fromBody(named(errorBody(body, options.scrub)), reader.isVisible))

  const onChunk = (chunk: Fields): void => {
    if (options.raw) emit({ _tag: "Raw", event: chunk })
    if (isRecord(chunk.error) || (typeof chunk.error === "string" && chunk.error !== "") || chunk.object === "error") {
      return onError(chunk)
    }
    if (typeof chunk.id === "string" && chunk.id !== "") id = chunk.id
    if (typeof chunk.model === "string" && chunk.model !== "") model = chunk.model
    const counted = isRecord(chunk.usage) ? chunk.usage : isRecord(chunk.x_groq) ? chunk.x_groq.usage : undefined
    if (isRecord(counted)) usage = usageOf(counted)
    const choices: ReadonlyArray<unknown> = Array.isArray(chunk.choices) ? chunk.choices : []
    const choice = choices.find((one) => isRecord(one) && (one.index ?? 0) === 0)
    if (isRecord(choice)) onChoice(choice)
  }

  const onChoice = (choice: Fields): void => {
    if (isRecord(choice.error)) return onError(choice)
    hasChoice = true
    const delta = isRecord(choice.delta) ? choice.delta : choice.message
    if (isRecord(delta)) onDelta(delta)
    if (typeof choice.finish_reason !== "string" || choice.finish_reason === "") return
    finishReason = choice.finish_reason
    if (failed.has(finishReason)) {
      fail(
        new Overloaded({ description: `the provider stopped with "${finishReason}"`, isPartial: reader.isVisible })
      )
    }
  }

  const onDelta = (delta: Fields): void => {
    onReasoning(delta)
    if (Array.isArray(delta.content)) {
      for (const part of delta.content) {
        if (!isRecord(part)) continue
        if (part.type === "thinking") think(texts(part.thinking), "thinking")
        else if (typeof part.text === "string") say(part.text)
      }
    } else if (typeof delta.content === "string") {
      say(delta.content)
    }
    if (typeof delta.refusal === "string" && delta.refusal !== "") {
      refused += delta.refusal
      emit({ _tag: "RefusalDelta", itemId: messageId, delta: delta.refusal })
    }
    if (Array.isArray(delta.annotations)) annotations.push(...delta.annotations.map(annotationOf))
    if (Array.isArray(delta.tool_calls)) calls.feed(delta.tool_calls)
    if (isRecord(delta.function_call)) calls.feedLegacy(delta.function_call)
  }

  const onReasoning = (delta: Fields): void => {
    if (Array.isArray(delta.reasoning_details)) addDetails(details, delta.reasoning_details)
    if (typeof delta.reasoning_content === "string") think(delta.reasoning_content, "reasoning_content")
    else if (typeof delta.reasoning === "string") think(delta.reasoning, "reasoning")
    else if (Array.isArray(delta.reasoning_details)) think(texts(delta.reasoning_details), "reasoning")
  }

  const think = (text: string, field: ReasoningOrigin["field"]): void => {
    if (text === "") return
    thought += text
    thoughtIn = field
    emit({ _tag: "ReasoningDelta", itemId: reasoningId, delta: text })
  }

  const say = (text: string): void => {
    if (text === "") return
    said += text
    emit({ _tag: "TextDelta", itemId: messageId, delta: text })
  }

  const reasoning = (): Reasoning => {
    const origin: ReasoningOrigin = {
      provider: options.provider,
      field: thoughtIn,
      ...(details.length === 0 ? {} : { details })
    }
    return {
      type: "reasoning",
      id: reasoningId,
      summary: [],
      ...(thought === "" ? {} : { content: [{ type: "reasoning_text", text: thought }] }),
      [originKey]: origin
    }
  }

  const message = (status: string): Message => ({
    type: "message",
    id: messageId,
    role: "assistant",
    status,
    content: [
      ...(said === "" ? [] : [{ type: "output_text", text: said, annotations }]),
      ...(refused === "" ? [] : [{ type: "refusal", refusal: refused }])
    ]
  })

  const complete = (): void => {
    if (!hasChoice) return fail(invalid("the answer has no choice in `choices`"))
    const incompleteReason = incomplete[finishReason ?? ""]
    const isCutOff = incompleteReason !== undefined
    const output: Array<Item> = []
    if (thought !== "" || details.length > 0) output.push(reasoning())
    if (said !== "" || refused !== "") output.push(message(isCutOff && calls.isEmpty() ? "incomplete" : "completed"))
    output.push(...calls.end(isCutOff))
    for (const item of output) emit({ _tag: "ItemDone", item })
    const finished = finish(
      {
        id,
        model,
        status: isCutOff ? "incomplete" : "completed",
        incompleteReason,
        output,
        usage: usage ?? Usage.make({})
      },
      output,
      { structured: options.structured, isPartial: reader.isVisible }
    )
    if (Result.isFailure(finished)) return fail(finished.failure)
    reader.events.push({ _tag: "Completed", response: finished.success })
    reader.isOver = true
  }

  return reader
}
