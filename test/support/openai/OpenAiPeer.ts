/**
 * A wire-level OpenAI for tests: an HTTP server on loopback that answers `POST /v1/responses` and
 * `POST /v1/chat/completions`, as JSON and as SSE, from a script. It judges each request as the real service does and remembers what was stored, so that a client that sends a
 * broken history, an unknown field or a wrong key is found out; and it can cut, hang, delay, split and fail.
 *
 * ```ts
 * const peer = yield* OpenAiPeer.make
 * yield* peer.enqueue(OpenAiPeer.call("add", { a: 1, b: 2 }), OpenAiPeer.text("3"))
 * // ... run something against peer.url with peer.apiKey
 * assert.strictEqual(peer.requests.length, 2)
 * ```
 */
import { Cause, Effect, Fiber, type Scope } from "effect"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { chatFrame, renderChat } from "./chat.ts"
import { validateChat } from "./chatValidate.ts"
import { answerSide, normalise, type Side } from "./conversations.ts"
import { complete, errorEvent, frame, render, withoutEncrypted } from "./events.ts"
import { type ErrorBody, errorJson, type Json, type JsonObject, type Reply, type Wire } from "./Reply.ts"
import { type Memory, type Refusal, validateBody, validateHistory } from "./validate.ts"

export type { Side } from "./conversations.ts"
export * from "./Reply.ts"

/** One request as it came in. The peer keeps the fields below `body` up to date while it answers. */
export interface PeerRequest {
  /** Its place among all requests, from 0. */
  readonly index: number
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  /** The parsed body; `null` where there was none or it was not JSON. */
  readonly body: JsonObject
  /** The input as items, a text input as one user message. */
  readonly input: ReadonlyArray<JsonObject>
  /** The connection that it came over: a number for each socket, from 0. */
  readonly connection: number
  /** The status that was answered; `undefined` until headers are sent. */
  readonly status: number | undefined
  /** Why the peer itself refused the request, where it did. */
  readonly error: ErrorBody | undefined
  /** The client went away before the answer was complete. */
  readonly aborted: boolean
  /** The connection is done with, one way or the other. */
  readonly closed: boolean
}

export interface PeerOptions {
  /** The only key that is let in. Default: `sk-peer`. */
  readonly apiKey?: string
  /** The models that exist. Default: every name that looks like one of OpenAI's (`gpt-…`, `o3`, …). */
  readonly models?: ReadonlyArray<string>
  /** `false`: take any body, for clients under test that are wrong on purpose. Default: true. */
  readonly strict?: boolean
}

export interface OpenAiPeer {
  /** `http://127.0.0.1:PORT/v1` */
  readonly url: string
  readonly apiKey: string
  /** Every request so far, oldest first. */
  readonly requests: ReadonlyArray<PeerRequest>
  /** The request of that place; throws when there is none yet. */
  readonly request: (index: number) => PeerRequest
  /** How many clients went away before their answer was complete. */
  readonly aborted: () => number
  /** Replies that nobody has asked for yet. */
  readonly remaining: () => number
  /** Adds replies to the script; each valid request takes the next one. */
  readonly enqueue: (...replies: ReadonlyArray<Reply>) => Effect.Effect<void>
  /** Answers valid requests by a function once the script is empty; `n` counts valid requests from 0. */
  readonly respond: (f: (request: PeerRequest, n: number) => Reply) => Effect.Effect<void>
  /** What becomes of requests for conversations and compaction: refused, or answered in another way than at once. */
  readonly intercept: (f: (request: PeerRequest) => Side | undefined) => Effect.Effect<void>
  /** Makes a server-side conversation and returns its id. */
  readonly createConversation: (items?: ReadonlyArray<JsonObject>) => Effect.Effect<string>
  /** The items of a server-side conversation, oldest first. */
  readonly conversationItems: (id: string) => ReadonlyArray<JsonObject>
  /** Waits until so many requests have come in. */
  readonly awaitRequests: (count: number) => Effect.Effect<void>
  /** Waits until so many clients have gone away early. */
  readonly awaitAborted: (count: number) => Effect.Effect<void>
  /** Waits until no request is being answered. */
  readonly awaitIdle: Effect.Effect<void>
}

interface Stored {
  /** Everything said up to and with this response. */
  readonly history: ReadonlyArray<JsonObject>
}

interface Kept {
  /** How often it is still `in_progress` when asked for. */
  polls: number
  readonly early: JsonObject
  final: JsonObject
}

interface Answer {
  readonly reply: Reply
  /** Events, or a whole body. Made when it is time to send it. */
  readonly body: () => ReadonlyArray<JsonObject> | string
  /** Stores what was said. Not run where the client cannot have got the whole answer. */
  readonly commit: () => void
  /** How an event is written. Default: as the Responses API does it. */
  readonly frame?: (event: JsonObject, wire: Wire) => string
}

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

const looksLikeOpenAi = /^(gpt-|chatgpt-|codex-|computer-use-|o\d|ft:)/

let instances = 0

class Peer {
  readonly requests: Array<Mutable<PeerRequest>> = []
  readonly apiKey: string
  readonly models: ReadonlyArray<string> | undefined
  readonly strict: boolean
  readonly script: Array<Reply> = []
  readonly listeners = new Set<() => void>()
  readonly fibers = new Set<Fiber.Fiber<void>>()
  readonly sockets = new Set<Socket>()
  readonly numbers = new WeakMap<Socket, number>()
  readonly responses = new Map<string, Stored>()
  readonly kept = new Map<string, Kept>()
  readonly conversations = new Map<string, Array<JsonObject>>()
  readonly stored = new Map<string, JsonObject>()
  readonly reasoningOf = new Map<string, string>()
  readonly followerOf = new Map<string, string>()
  readonly server: Server
  readonly metadata = new Map<string, JsonObject>()
  responder: ((request: PeerRequest, n: number) => Reply) | undefined
  interceptor: ((request: PeerRequest) => Side | undefined) | undefined
  answered = 0
  serial = 0
  connections = 0
  readonly instance = (instances++).toString(16).padStart(4, "0")

  constructor(options: PeerOptions) {
    this.apiKey = options.apiKey ?? "sk-peer"
    this.models = options.models
    this.strict = options.strict ?? true
    this.server = createServer((req, res) => this.accept(req, res))
    this.server.on("connection", (socket) => {
      this.numbers.set(socket, this.connections++)
      this.sockets.add(socket)
      socket.on("close", () => this.sockets.delete(socket))
    })
  }

  readonly mint = (prefix: string): string =>
    `${prefix}_${this.instance}${(this.serial++).toString(16).padStart(12, "0")}`

  numberOf(socket: Socket): number {
    return this.numbers.get(socket) ?? -1
  }

  changed(): void {
    for (const listener of this.listeners) listener()
  }

  until(condition: () => boolean): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const listener = () => {
        if (!condition()) return
        this.listeners.delete(listener)
        resume(Effect.void)
      }
      this.listeners.add(listener)
      listener()
      return Effect.sync(() => {
        this.listeners.delete(listener)
      })
    })
  }

  accept(req: IncomingMessage, res: ServerResponse): void {
    const chunks: Array<Buffer> = []
    req.on("data", (chunk: Buffer) => chunks.push(chunk))
    req.on("end", () => {
      const raw = Buffer.concat(chunks).toString("utf8")
      let body: Json = null
      let parsed = raw === ""
      try {
        body = raw === "" ? null : JSON.parse(raw) as Json
        parsed = true
      } catch {
        parsed = false
      }
      const request: Mutable<PeerRequest> = {
        index: this.requests.length,
        method: req.method ?? "",
        path: req.url ?? "",
        headers: req.headers,
        body: body as JsonObject,
        input: inputItems(body),
        connection: this.numberOf(req.socket),
        status: undefined,
        error: undefined,
        aborted: false,
        closed: false
      }
      this.requests.push(request)
      const sending = new Sending(res)
      res.on("close", () => {
        request.closed = true
        if (!res.writableFinished && !sending.cut) request.aborted = true
        if (fiber !== undefined) fiber.interruptUnsafe()
        this.changed()
      })
      let answer: Answer
      try {
        answer = this.answer(request, parsed)
      } catch (cause) {
        const error = {
          message: `The test's responder failed: ${String(cause)}`,
          type: "peer_error",
          code: "peer_error"
        }
        request.error = error
        answer = plain(500, errorJson(error))
      }
      const fiber = Effect.runFork(
        this.send(request, sending, answer).pipe(
          Effect.catchCause((cause) =>
            Effect.sync(() => {
              res.destroy(new Error(Cause.pretty(cause)))
            })
          )
        )
      )
      this.fibers.add(fiber)
      fiber.addObserver(() => {
        this.fibers.delete(fiber)
        this.changed()
      })
      this.changed()
    })
  }

  refuse(request: Mutable<PeerRequest>, refusal: Refusal): Answer {
    request.error = refusal.error
    return plain(refusal.status, errorJson(refusal.error))
  }

  answer(request: Mutable<PeerRequest>, parsed: boolean): Answer {
    const key = this.checkKey(request)
    if (key !== undefined) return this.refuse(request, key)
    const path = request.path.replace(/\?.*$/, "")
    if (request.method === "POST" && path === "/v1/responses") return this.createResponse(request, parsed)
    if (request.method === "POST" && path === "/v1/chat/completions") return this.createChat(request, parsed)
    if (path === "/v1/responses/compact" || path.startsWith("/v1/conversations")) {
      const found = answerSide(this, request, this.interceptor?.(request))
      if (found !== undefined && "error" in found) return this.refuse(request, found)
      if (found !== undefined) {
        const reply: Reply = { kind: "http", status: 200, body: found.body, wire: found.wire }
        return { reply, body: () => found.body, commit: () => {} }
      }
    }
    const response = /^\/v1\/responses\/([^/]+)(\/cancel)?$/.exec(path)
    if (response !== null && request.method === (response[2] === undefined ? "GET" : "POST")) {
      const kept = this.kept.get(response[1]!)
      if (kept === undefined) {
        const error = { message: `Response with id '${response[1]}' not found.`, param: null, code: null }
        return this.refuse(request, { status: 404, error })
      }
      if (response[2] !== undefined) {
        kept.polls = 0
        kept.final = { ...kept.early, status: "cancelled" }
      }
      return plain(200, JSON.stringify(kept.polls-- > 0 ? { ...kept.early, status: "in_progress" } : kept.final))
    }
    return this.refuse(request, {
      status: 404,
      error: { message: `Invalid URL (${request.method} ${path})`, param: null, code: null }
    })
  }

  checkKey(request: PeerRequest): Refusal | undefined {
    const header = request.headers.authorization
    const given = typeof header === "string" ? /^Bearer\s+(.*)$/.exec(header)?.[1] : undefined
    if (given === undefined || given === "") {
      return {
        status: 401,
        error: {
          message: "You didn't provide an API key. You need to provide your API key in an Authorization header using "
            + "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
          code: null
        }
      }
    }
    return given === this.apiKey ? undefined : {
      status: 401,
      error: {
        message: `Incorrect API key provided: ${given.slice(0, 3)}***${given.slice(-2)}. You can find your API key at `
          + "https://platform.openai.com/account/api-keys.",
        code: "invalid_api_key"
      }
    }
  }

  newConversation(items: ReadonlyArray<JsonObject>): string {
    const id = this.mint("conv")
    const kept = normalise(items, this.mint)
    this.conversations.set(id, kept)
    for (const item of kept) this.stored.set(String(item.id), item)
    return id
  }

  checkModel(model: string): Refusal | undefined {
    return (this.models === undefined ? looksLikeOpenAi.test(model) : this.models.includes(model)) ? undefined : {
      status: 404,
      error: {
        message: `The model \`${model}\` does not exist or you do not have access to it.`,
        param: null,
        code: "model_not_found"
      }
    }
  }

  nextReply(request: PeerRequest): Reply | undefined {
    const n = this.answered++
    return this.script.shift() ?? this.responder?.(request, n)
  }

  exhausted(request: Mutable<PeerRequest>): Answer {
    const error = {
      message: `The script has no reply left for request ${request.index}: enqueue one more, or send one request less.`,
      type: "peer_error",
      code: "script_exhausted"
    }
    request.error = error
    return plain(400, errorJson(error))
  }

  createChat(request: Mutable<PeerRequest>, parsed: boolean): Answer {
    const refusal = this.strict || !parsed
      ? validateChat(parsed ? request.body : null) ?? this.checkModel(String(request.body.model))
      : undefined
    if (refusal !== undefined) return this.refuse(request, refusal)
    const reply = this.nextReply(request)
    if (reply === undefined) return this.exhausted(request)
    if (reply.kind === "http") return { reply, body: () => reply.body, commit: () => {} }
    const id = reply.wire.id ?? this.mint("chatcmpl")
    const output = complete(reply, this.mint)
    return {
      reply,
      body: () => renderChat({ reply, output, body: request.body, id }),
      commit: () => {},
      frame: chatFrame
    }
  }

  createResponse(request: Mutable<PeerRequest>, parsed: boolean): Answer {
    const body = request.body
    if (!parsed) {
      return this.refuse(request, {
        status: 400,
        error: { message: "We could not parse the JSON body of your request.", code: null }
      })
    }
    const judged = this.strict ? validateBody(body) : undefined
    if (judged !== undefined) return this.refuse(request, judged)
    const unknown = this.checkModel(typeof body.model === "string" ? body.model : "gpt-prompt")
    if (unknown !== undefined) return this.refuse(request, unknown)
    const previous = typeof body.previous_response_id === "string" ? body.previous_response_id : undefined
    if (previous !== undefined && !this.responses.has(previous)) {
      return this.refuse(request, {
        status: 400,
        error: {
          message: `Previous response with id '${previous}' not found.`,
          param: "previous_response_id",
          code: "previous_response_not_found"
        }
      })
    }
    const conversation = conversationId(body)
    if (conversation !== undefined && !this.conversations.has(conversation)) {
      return this.refuse(request, noConversation(conversation))
    }
    const history = previous !== undefined
      ? this.responses.get(previous)!.history
      : conversation !== undefined
      ? this.conversations.get(conversation)!
      : []
    const memory: Memory = {
      history,
      stored: this.stored,
      reasoningOf: this.reasoningOf,
      followerOf: this.followerOf
    }
    const broken = this.strict ? validateHistory(request.input, memory) : undefined
    if (broken !== undefined) return this.refuse(request, broken)

    const reply = this.nextReply(request)
    if (reply === undefined) return this.exhausted(request)
    if (reply.kind === "http") return { reply, body: () => reply.body, commit: () => {} }
    const id = reply.wire.id ?? this.mint("resp")
    const full = complete(reply, this.mint)
    return {
      reply,
      body: () => this.renderReply(request, reply, id, full),
      commit: () => this.store(request, reply, id, [...history, ...request.input, ...full], full)
    }
  }

  renderReply(
    request: PeerRequest,
    reply: Extract<Reply, { kind: "response" }>,
    id: string,
    full: ReadonlyArray<JsonObject>
  ): ReadonlyArray<JsonObject> | string {
    const body = request.body
    const include = Array.isArray(body.include) ? body.include : []
    const output = include.includes("reasoning.encrypted_content") ? full : full.map(withoutEncrypted)
    this.remember(full)
    const rendered = render({ reply, output, body, id, input: body.input ?? "" })
    const polls = reply.wire.background
    if (body.stream !== true && polls !== undefined) {
      const early = { ...rendered.response, status: "queued", output: [], usage: null, completed_at: null }
      this.kept.set(id, { polls, early, final: rendered.response })
      return JSON.stringify(early)
    }
    if (body.stream !== true) return JSON.stringify(rendered.response)
    const wire = reply.wire
    const events = wire.errorEvent === undefined
      ? rendered.events
      : [
        ...rendered.events.slice(0, Math.min(wire.errorEvent.after, rendered.events.length - 1)),
        errorEvent(wire.errorEvent, wire.errorEvent.after)
      ]
    return wire.terminal === false ? events.slice(0, -1) : events
  }

  store(
    request: PeerRequest,
    reply: Extract<Reply, { kind: "response" }>,
    id: string,
    said: ReadonlyArray<JsonObject>,
    full: ReadonlyArray<JsonObject>
  ): void {
    const wire = reply.wire
    const broken = wire.cutAfterBytes !== undefined || wire.hangAfterEvents !== undefined
      || wire.errorEvent !== undefined || wire.terminal === false
    if (broken || request.body.store === false || reply.status === "failed") return
    this.responses.set(id, { history: said })
    const conversation = conversationId(request.body)
    if (conversation !== undefined) this.conversations.set(conversation, [...said])
    for (const item of full) {
      if (typeof item.id === "string") this.stored.set(item.id, item)
    }
  }

  remember(output: ReadonlyArray<JsonObject>): void {
    let thought: string | undefined
    const waiting: Array<string> = []
    for (const item of output) {
      if (typeof item.id !== "string") continue
      if (item.type === "reasoning") {
        thought = item.id
        waiting.push(item.id)
        continue
      }
      if (thought !== undefined) this.reasoningOf.set(item.id, thought)
      for (const id of waiting.splice(0)) this.followerOf.set(id, item.id)
      thought = undefined
    }
  }

  send(
    request: Mutable<PeerRequest>,
    sending: Sending,
    answer: Answer
  ): Effect.Effect<void> {
    const { reply } = answer
    const wire = reply.wire
    return Effect.gen(function*() {
      if (wire.cutBeforeHeaders === true) return sending.destroy()
      if (wire.hangBeforeHeaders === true) return yield* Effect.never
      if (wire.delayHeaders !== undefined) yield* Effect.sleep(wire.delayHeaders)
      const content = answer.body()
      const status = reply.kind === "http" ? reply.status : 200
      const streamed = typeof content !== "string"
      request.status = status
      sending.head(status, {
        "content-type": streamed ? "text/event-stream; charset=utf-8" : "application/json",
        "openai-version": "2020-10-01",
        "x-request-id": `req_${request.index}`,
        ...wire.headers
      })
      const hang = wire.hangAfterEvents
      const shown = streamed ? content.slice(0, hang) : []
      const limit = wire.cutAfterBytes ?? Infinity
      const pieces = streamed ? batches(shown, wire, answer.frame ?? frame) : hang === undefined ? [content] : []
      for (const [n, piece] of pieces.entries()) {
        if (n > 0 && wire.delayEvents !== undefined) yield* Effect.sleep(wire.delayEvents)
        // Before the last bytes leave, so that a client which answers at once finds it stored.
        if (n === pieces.length - 1) answer.commit()
        const bytes = Buffer.from(piece, "utf8")
        const step = wire.splitBytes ?? bytes.length
        for (let at = 0; at < bytes.length; at += step) {
          if (at > 0) yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
          const room = limit - sending.sent
          yield* sending.write(bytes.subarray(at, Math.min(at + step, bytes.length, at + room)))
          if (sending.sent >= limit) return sending.destroy()
        }
      }
      if (hang !== undefined) return yield* Effect.never
      yield* sending.end
    })
  }

  get open(): boolean {
    return this.requests.some((request) => !request.closed)
  }

  close(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      for (const fiber of this.fibers) fiber.interruptUnsafe()
      this.server.close(() => resume(Effect.void))
      for (const socket of this.sockets) socket.destroy()
    })
  }
}

/** The answer's side of one connection. */
class Sending {
  sent = 0
  /** The peer itself broke the connection off. */
  cut = false
  readonly res: ServerResponse
  constructor(res: ServerResponse) {
    this.res = res
  }

  head(status: number, headers: Record<string, string>): void {
    this.res.writeHead(status, headers)
    this.res.flushHeaders()
  }

  write(bytes: Uint8Array): Effect.Effect<void> {
    if (bytes.length === 0) return Effect.void
    this.sent += bytes.length
    return Effect.callback<void>((resume) => {
      this.res.write(bytes, () => resume(Effect.void))
    })
  }

  readonly end: Effect.Effect<void> = Effect.callback<void>((resume) => {
    this.res.end(() => resume(Effect.void))
  })

  destroy(): void {
    this.cut = true
    this.res.socket?.destroy()
  }
}

const batches = (
  events: ReadonlyArray<JsonObject>,
  wire: Wire,
  write: (event: JsonObject, wire: Wire) => string
): ReadonlyArray<string> => {
  const size = wire.eventsPerWrite ?? (wire.delayEvents === undefined ? events.length : 1)
  const out: Array<string> = []
  for (let i = 0; i < events.length; i += size) {
    out.push(events.slice(i, i + size).map((event) => write(event, wire)).join(""))
  }
  return out
}

const plain = (status: number, body: string): Answer => {
  const reply: Reply = { kind: "http", status, body, wire: {} }
  return { reply, body: () => body, commit: () => {} }
}

const noConversation = (id: string): Refusal => ({
  status: 404,
  error: { message: `Conversation with id '${id}' not found.`, param: null, code: null }
})

const conversationId = (body: JsonObject): string | undefined => {
  const given = body.conversation
  if (typeof given === "string") return given
  return given === undefined || given === null ? undefined : (given as JsonObject).id as string
}

const inputItems = (body: Json): ReadonlyArray<JsonObject> => {
  const input = body === null ? undefined : (body as JsonObject).input
  if (typeof input === "string") return [{ type: "message", role: "user", content: input }]
  return Array.isArray(input) ? input as ReadonlyArray<JsonObject> : []
}

/** A peer that listens until the scope closes. */
export const makeWith = (options: PeerOptions): Effect.Effect<OpenAiPeer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const peer = yield* Effect.acquireRelease(
      Effect.callback<Peer>((resume) => {
        const made = new Peer(options)
        made.server.listen(0, "127.0.0.1", () => resume(Effect.succeed(made)))
      }),
      (made) => made.close()
    )
    const port = (peer.server.address() as AddressInfo).port
    const aborted = () => peer.requests.filter((request) => request.aborted).length
    return {
      url: `http://127.0.0.1:${port}/v1`,
      apiKey: peer.apiKey,
      requests: peer.requests,
      request: (index) => {
        const found = peer.requests[index]
        if (found === undefined) {
          throw new Error(`The peer has seen ${peer.requests.length} requests, none at ${index}.`)
        }
        return found
      },
      aborted,
      remaining: () => peer.script.length,
      enqueue: (...replies) => Effect.sync(() => void peer.script.push(...replies)),
      intercept: (f) =>
        Effect.sync(() => {
          peer.interceptor = f
        }),
      respond: (f) =>
        Effect.sync(() => {
          peer.responder = f
        }),
      createConversation: (items = []) => Effect.sync(() => peer.newConversation(items)),
      conversationItems: (id) => peer.conversations.get(id) ?? [],
      awaitRequests: (count) => peer.until(() => peer.requests.length >= count),
      awaitAborted: (count) => peer.until(() => aborted() >= count),
      awaitIdle: peer.until(() => !peer.open)
    }
  })

/** A peer with the key `sk-peer` that listens until the scope closes. */
export const make: Effect.Effect<OpenAiPeer, never, Scope.Scope> = makeWith({})
