/**
 * What the peer answers: items and how they travel. A reply is a plain value, so that one can be sent several times;
 * ids are given when it is sent.
 */

export type Json = null | boolean | number | string | ReadonlyArray<Json> | JsonObject

export interface JsonObject {
  readonly [key: string]: Json
}

/** Token counts of a reply; what is left out is zero. */
export interface ReplyUsage {
  readonly input?: number
  readonly output?: number
  readonly cached?: number
  readonly cacheWrite?: number
  readonly reasoning?: number
}

/** How a reply travels. Byte counts are of the body, times are milliseconds of the real clock. */
export interface Wire {
  /** The pieces in which text, arguments and summaries are streamed, where they join to the whole. */
  readonly deltas?: ReadonlyArray<string>
  /** Characters per piece where `deltas` does not apply. Default: a word. */
  readonly deltaSize?: number
  readonly delayHeaders?: number
  readonly delayEvents?: number
  /** Events that go out together in one write. Default: all of them, or one with `delayEvents`. */
  readonly eventsPerWrite?: number
  /** Write the body in pieces of this many bytes, each in its own turn of the event loop. */
  readonly splitBytes?: number
  readonly crlf?: boolean
  /** A comment line before each event. */
  readonly comments?: boolean
  readonly cutBeforeHeaders?: boolean
  readonly cutAfterBytes?: number
  readonly hangBeforeHeaders?: boolean
  /** Send this many events, then nothing, and keep the connection open. A JSON answer hangs after its headers. */
  readonly hangAfterEvents?: number
  /** `false`: the stream ends cleanly, but without its last event. */
  readonly terminal?: boolean
  /** Send an `error` event after this many events, then end. `nested` is the shape that some gateways use. */
  readonly errorEvent?: {
    readonly after: number
    readonly code?: string | null
    readonly message?: string
    readonly nested?: boolean
  }
  /** Answer `queued` at first, then `in_progress` so many times, then the response (JSON only). */
  readonly background?: number
  /** Events put in before the terminal one, as they are. */
  readonly extraEvents?: ReadonlyArray<JsonObject>
  /** `false`: no ids in items and events, as some compatible servers do. */
  readonly ids?: boolean
  /** `null`: no usage at all. */
  readonly usage?: ReplyUsage | null
  readonly id?: string
  readonly model?: string
  readonly headers?: Readonly<Record<string, string>>
}

export type Reply =
  | {
    readonly kind: "response"
    readonly status: "completed" | "incomplete" | "failed"
    readonly output: ReadonlyArray<JsonObject>
    readonly incompleteReason?: string
    readonly error?: { readonly code: string; readonly message: string }
    readonly wire: Wire
  }
  | {
    readonly kind: "http"
    readonly status: number
    readonly body: string
    readonly wire: Wire
  }

export interface CallSpec {
  readonly name: string
  /** An object is written as JSON; a string goes out as it is, also where it is not JSON. */
  readonly arguments?: Json
  readonly callId?: string
}

export interface ReasoningSpec {
  readonly summary?: ReadonlyArray<string>
  readonly text?: string
  readonly encrypted?: string
}

// ---- items

export const messageItem = (text: string, fields: JsonObject = {}): JsonObject => ({
  type: "message",
  role: "assistant",
  content: [{ type: "output_text", annotations: [], logprobs: [], text }],
  ...fields
})

export const refusalItem = (refusal: string): JsonObject => ({
  type: "message",
  role: "assistant",
  content: [{ type: "refusal", refusal }]
})

export const callItem = (spec: CallSpec): JsonObject => ({
  type: "function_call",
  name: spec.name,
  arguments: typeof spec.arguments === "string" ? spec.arguments : JSON.stringify(spec.arguments ?? {}),
  ...(spec.callId === undefined ? {} : { call_id: spec.callId })
})

/** Encrypted content has the prefix of the real service; the peer refuses any other when it comes back. */
export const encryptedPrefix = "gAAAA"

export const reasoningItem = (spec: ReasoningSpec = {}): JsonObject => ({
  type: "reasoning",
  summary: (spec.summary ?? []).map((text) => ({ type: "summary_text", text })),
  ...(spec.text === undefined ? {} : { content: [{ type: "reasoning_text", text: spec.text }] }),
  ...(spec.encrypted === undefined ? {} : { encrypted_content: encryptedPrefix + spec.encrypted })
})

// ---- replies

export const items = (output: ReadonlyArray<JsonObject>, wire: Wire = {}): Reply => ({
  kind: "response",
  status: "completed",
  output,
  wire
})

/** A message; several strings are the deltas in which it is streamed. */
export const text = (content: string | ReadonlyArray<string>, wire: Wire = {}): Reply =>
  typeof content === "string"
    ? items([messageItem(content)], wire)
    : items([messageItem(content.join(""))], { deltas: content, ...wire })

export const call = (name: string, args: Json = {}, wire: Wire = {}): Reply =>
  items([callItem({ name, arguments: args })], wire)

export const calls = (specs: ReadonlyArray<CallSpec>, wire: Wire = {}): Reply => items(specs.map(callItem), wire)

/** Reasoning, then what it led to. */
export const reasoned = (spec: ReasoningSpec, then: ReadonlyArray<JsonObject>, wire: Wire = {}): Reply =>
  items([reasoningItem(spec), ...then], wire)

export const refusal = (reason: string, wire: Wire = {}): Reply => items([refusalItem(reason)], wire)

/** Cut off: the last item is incomplete too. */
export const incomplete = (
  reason: "max_output_tokens" | "content_filter" | (string & {}),
  output: ReadonlyArray<JsonObject>,
  wire: Wire = {}
): Reply => ({ kind: "response", status: "incomplete", incompleteReason: reason, output, wire })

export const failed = (
  code: string,
  message: string,
  output: ReadonlyArray<JsonObject> = [],
  wire: Wire = {}
): Reply => ({ kind: "response", status: "failed", error: { code, message }, output, wire })

export interface ErrorBody {
  readonly message: string
  readonly type?: string
  readonly param?: string | null
  readonly code?: string | null
}

export const errorJson = (error: ErrorBody): string =>
  JSON.stringify(
    {
      error: {
        message: error.message,
        type: error.type ?? "invalid_request_error",
        param: error.param ?? null,
        code: error.code ?? null
      }
    },
    null,
    2
  )

export const httpError = (status: number, error: ErrorBody, wire: Wire = {}): Reply => ({
  kind: "http",
  status,
  body: errorJson(error),
  wire
})

/** Any status and body, for answers that no API should give. */
export const http = (status: number, body: string, wire: Wire = {}): Reply => ({ kind: "http", status, body, wire })

/** 429. `retryAfter` in seconds, as the header has it. */
export const rateLimited = (
  options: { readonly retryAfter?: number; readonly retryAfterMs?: number; readonly message?: string } = {}
): Reply =>
  httpError(429, {
    message: options.message ?? "Rate limit reached for requests. Please slow down.",
    type: "requests",
    code: "rate_limit_exceeded"
  }, {
    headers: {
      ...(options.retryAfter === undefined ? {} : { "retry-after": String(options.retryAfter) }),
      ...(options.retryAfterMs === undefined ? {} : { "retry-after-ms": String(options.retryAfterMs) })
    }
  })

export const quotaExceeded: Reply = httpError(429, {
  message: "You exceeded your current quota, please check your plan and billing details.",
  type: "insufficient_quota",
  code: "insufficient_quota"
})

export const serverError = (status = 500, wire: Wire = {}): Reply =>
  httpError(status, {
    message: "The server had an error while processing your request. Sorry about that!",
    type: "server_error",
    code: status === 503 ? "service_unavailable" : null
  }, wire)

export const contextLengthExceeded: Reply = httpError(400, {
  message: "Your input exceeds the context window of this model. Please adjust your input and try again.",
  param: "input",
  code: "context_length_exceeded"
})
