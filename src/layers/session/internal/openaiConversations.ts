/**
 * Conversations that OpenAI keeps, through the `openai` client.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import type { OpenAI } from "openai"
import * as Secrets from "../../../services/internal/secrets.ts"
import type { Commit, Primitives } from "../../../services/Session.ts"
import * as SessionError from "../../../services/SessionError.ts"
import { fromService, toService } from "./openaiItems.ts"

type Reason = SessionError.SessionErrorReason

/** @internal */
export interface ClientOptions {
  readonly apiKey: Redacted.Redacted
  readonly baseURL?: string | undefined
  readonly organization?: string | undefined
  readonly project?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly fetch?: typeof globalThis.fetch | undefined
  readonly timeout: Duration.Duration
}

/**
 * @category models
 * @since 0.1.0
 */
export interface ConversationIds {
  /** OpenAI's id of a conversation; `undefined` for one that is not known. */
  readonly find: (id: string) => Effect.Effect<string | undefined, unknown>
  /** Keeps OpenAI's id, unless there is one already. Gives the one that is kept: of several at once all get the same. */
  readonly claim: (id: string, conversation: string) => Effect.Effect<string, unknown>
  /** Forgets OpenAI's id, unless it is another by now. */
  readonly forget: (id: string, conversation: string) => Effect.Effect<void, unknown>
}

/** The client's own timers stay out of the way. */
const never = 2 ** 31 - 1

const batchSize = 20

const pageSize = 100

/** How often a history is read anew that changed under the reading. */
const maxReads = 5

/** What a listing would leave out. */
const include = [
  "reasoning.encrypted_content",
  "message.input_image.image_url",
  "computer_call_output.output.image_url",
  "file_search_call.results",
  "code_interpreter_call.outputs",
  "web_search_call.action.sources"
] as const

/** A request that failed, with what is known of it. */
class Failure {
  readonly _tag = "Failure"
  readonly reason: Reason
  readonly status: number | undefined
  /** It may have been done all the same. */
  readonly isUncertain: boolean
  constructor(reason: Reason, status: number | undefined, isUncertain: boolean) {
    this.reason = reason
    this.status = status
    this.isUncertain = isUncertain
  }
}

const unavailable = (description: string, cause?: unknown): Reason =>
  new SessionError.Unavailable({
    description,
    isOutcomeUnknown: false,
    ...(cause === undefined ? {} : { cause })
  })

/** Of a write of which nobody knows whether it was done. */
const asUnknown = (reason: Reason): Reason =>
  reason._tag === "Unavailable"
    ? new SessionError.Unavailable({
      description: reason.description,
      isOutcomeUnknown: true,
      ...(reason.cause === undefined ? {} : { cause: reason.cause })
    })
    : new SessionError.Unavailable({ description: reason.message, isOutcomeUnknown: true, cause: reason })

interface Thrown {
  readonly status?: unknown
  readonly requestID?: unknown
  readonly message?: unknown
  readonly code?: unknown
  readonly cause?: unknown
}

/** Nothing was sent. */
const neverSent = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"])

/** What the innermost error says: the client's own only tells that the connection failed. */
const innermost = (thrown: unknown): { readonly message: string; readonly code: string | undefined } => {
  let message = "unknown cause"
  let code: string | undefined
  for (let depth = 0, error = thrown; depth < 5 && typeof error === "object" && error !== null; depth++) {
    const { cause, code: one, message: said } = error as Thrown
    if (typeof said === "string" && said !== "") message = said
    if (typeof one === "string" && one !== "") code = one
    error = cause
  }
  return { message, code }
}

const failureOf = (thrown: unknown, what: string, scrub: (text: string) => string): Failure => {
  const { status } = thrown as Thrown
  const requestId = (thrown as Thrown).requestID
  if (typeof status !== "number") {
    const { code, message } = innermost(thrown)
    const said = scrub(code === undefined || message.includes(code) ? message : `${code}: ${message}`)
    return new Failure(unavailable(`${what} failed: ${said}`), undefined, !neverSent.has(code ?? ""))
  }
  const said = scrub(String((thrown as Thrown).message)).slice(0, 1_000)
  const cause = {
    name: "APIError",
    message: said,
    status,
    ...(typeof requestId === "string" ? { requestId: scrub(requestId) } : {})
  }
  const description = `${what} failed: ${said}`
  const isRefused = status < 500 && status !== 401 && status !== 403 && status !== 408 && status !== 409 &&
    status !== 429
  return new Failure(
    isRefused
      ? new SessionError.InvalidInput({ description: `OpenAI refused it: ${description}` })
      : unavailable(status === 401 || status === 403 ? `${description}; check apiKey` : description, cause),
    status,
    status >= 500 || status === 408
  )
}

const refusedOption = (key: string, baseURL: string | undefined): string | undefined => {
  if (key === "") return "apiKey is empty"
  if (baseURL === undefined) return undefined
  const url = URL.canParse(baseURL) ? new URL(baseURL) : undefined
  return url === undefined || !/^https?:$/.test(url.protocol)
    ? "baseURL is no address of a server, such as https://api.openai.com/v1"
    : url.username !== "" || url.password !== ""
    ? "baseURL holds a user name or password, which fetch refuses; send them in `headers`"
    : undefined
}

const conversationId = /^conv_[A-Za-z0-9]+$/

/**
 * Makes no request.
 *
 * @internal
 */
export const make = Effect.fnUntraced(function*(
  options: ClientOptions,
  ids: ConversationIds
): Effect.fn.Return<Omit<Primitives, "backend">, Reason> {
  const key = Redacted.value(options.apiKey)
  const { scrub } = Secrets.make([
    key,
    ...Secrets.ofHeaders(options.headers),
    ...Secrets.ofUrl(options.baseURL ?? "")
  ])
  const refused = refusedOption(key, options.baseURL)
  if (refused !== undefined) return yield* new SessionError.InvalidInput({ description: refused })
  const openai = yield* Effect.tryPromise({
    try: () => import("openai"),
    catch: (cause) =>
      new SessionError.Unsupported({
        description: "the package `openai` cannot be loaded; install it next to agent-layers: npm install openai " +
          `(${cause instanceof Error ? cause.message : String(cause)})`
      })
  })
  const client: OpenAI = yield* Effect.try({
    // Everything that the client would otherwise take from the environment is said here.
    try: () =>
      new openai.OpenAI({
        apiKey: key,
        adminAPIKey: null,
        webhookSecret: null,
        baseURL: options.baseURL ?? "https://api.openai.com/v1",
        organization: options.organization ?? null,
        project: options.project ?? null,
        maxRetries: 0,
        timeout: never,
        logLevel: "off",
        ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
        ...(options.headers === undefined ? {} : { defaultHeaders: options.headers })
      }),
    catch: (cause) => new SessionError.InvalidInput({ description: scrub(innermost(cause).message) })
  })
  const { conversations } = client
  const { items } = conversations

  const locks = new Map<string, { readonly semaphore: Semaphore.Semaphore; users: number }>()

  const request = <A>(what: string, send: (signal: AbortSignal) => PromiseLike<A>): Effect.Effect<A, Failure> =>
    Effect.timeoutOrElse(
      Effect.tryPromise({ try: send, catch: (thrown) => failureOf(thrown, what, scrub) }),
      {
        duration: options.timeout,
        orElse: () =>
          Effect.fail(
            new Failure(
              unavailable(`${what} failed: no answer within ${Duration.format(options.timeout)}`),
              undefined,
              true
            )
          )
      }
    )

  const reading = <A>(effect: Effect.Effect<A, Failure>): Effect.Effect<A, Reason> =>
    Effect.mapError(effect, (failure) => failure.reason)

  const writing = <A>(effect: Effect.Effect<A, Failure>): Effect.Effect<A, Reason> =>
    Effect.mapError(effect, (failure) => failure.isUncertain ? asUnknown(failure.reason) : failure.reason)

  /** `undefined` where there is no such thing. */
  const orNothing = <A>(effect: Effect.Effect<A, Failure>): Effect.Effect<A | undefined, Failure> =>
    Effect.catchIf(effect, (failure) => failure.status === 404, () => Effect.undefined)

  const find = (id: string): Effect.Effect<string | undefined, unknown> =>
    conversationId.test(id) ? Effect.succeed(id) : ids.find(id)

  const page = (conversation: string, order: "asc" | "desc", limit: number, after: string | undefined) =>
    orNothing(request("Listing items", (signal) =>
      items.list(
        conversation,
        { order, limit, include: [...include], ...(after === undefined ? {} : { after }) },
        { signal }
      )))

  /** One writer of this process at a time: commits of several requests would mix. */
  const alone = <A, E>(id: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        let lock = locks.get(id)
        if (lock === undefined) locks.set(id, lock = { semaphore: Semaphore.makeUnsafe(1), users: 0 })
        lock.users++
        return lock
      }),
      (lock) => lock.semaphore.withPermit(effect),
      (lock) =>
        Effect.sync(() => {
          if (--lock.users === 0) locks.delete(id)
        })
    )

  /** The latest entries in order; `undefined` where the item that a page was to begin after is gone. */
  const read = Effect.fnUntraced(function*(
    conversation: string,
    maxItems: number
  ): Effect.fn.Return<ReadonlyArray<string> | undefined, Reason> {
    const found: Array<string> = []
    const order = maxItems === Infinity ? "asc" : "desc"
    let after: string | undefined
    do {
      const next = yield* reading(page(conversation, order, Math.min(pageSize, maxItems - found.length), after))
      if (next === undefined) return after === undefined ? found : undefined
      for (const item of next.data) found.push(fromService(item))
      after = next.has_more ? next.last_id : undefined
    } while (after !== undefined && found.length < maxItems)
    return order === "asc" ? found : found.reverse()
  })

  const load: Primitives["load"] = Effect.fnUntraced(function*(id, { maxItems = Infinity }) {
    const conversation = yield* find(id)
    if (conversation === undefined || maxItems === 0) return { entries: [] }
    for (let tries = 1; tries <= maxReads; tries++) {
      const entries = yield* read(conversation, maxItems)
      if (entries !== undefined) return { entries }
    }
    return yield* unavailable("Items were removed while they were read, again and again")
  })

  const remove = (conversation: string, item: string) =>
    request("Deleting an item", (signal) => items.delete(item, { conversation_id: conversation }, { signal }))

  const removeConversation = (conversation: string) =>
    request("Deleting a conversation", (signal) => conversations.delete(conversation, { signal }))

  /** A new conversation, or the one that somebody else has made meanwhile. */
  const create = Effect.fnUntraced(function*(id: string) {
    const { id: made } = yield* writing(
      request(
        "Creating a conversation",
        (signal) =>
          conversations.create({ metadata: { "agent-layers": Array.from(id).slice(0, 500).join("") } }, { signal })
      )
    )
    const kept = yield* ids.claim(id, made)
    if (kept !== made) yield* Effect.ignore(removeConversation(made))
    return kept
  })

  const append = (conversation: string, batch: ReadonlyArray<unknown>) =>
    request("Adding items", (signal) => items.create(conversation, { items: batch as never }, { signal }))

  /** Adds all batches, or takes back those that were added. */
  const appendAll = Effect.fnUntraced(function*(
    conversation: string,
    all: ReadonlyArray<unknown>
  ): Effect.fn.Return<"added" | "gone", Reason> {
    const added: Array<string> = []
    for (let start = 0; start < all.length; start += batchSize) {
      const result = yield* Effect.result(orNothing(append(conversation, all.slice(start, start + batchSize))))
      if (Result.isSuccess(result)) {
        if (result.success === undefined) return "gone"
        for (const item of result.success.data) if (typeof item.id === "string") added.push(item.id)
        continue
      }
      const { isUncertain, reason } = result.failure
      const undone = yield* Effect.result(
        Effect.forEach(added, (item) => orNothing(remove(conversation, item)), { concurrency: 4, discard: true })
      )
      return yield* (isUncertain || Result.isFailure(undone) ? asUnknown(reason) : reason)
    }
    return "added"
  })

  const save = (id: string, { entries }: Commit) =>
    alone(
      id,
      Effect.gen(function*() {
        const all: Array<unknown> = []
        for (const [index, entry] of entries.entries()) all.push(yield* Effect.fromResult(toService(entry, index)))
        const known = yield* find(id)
        if (known !== undefined) {
          if ((yield* appendAll(known, all)) === "added") return
          if (known === id) {
            return yield* new SessionError.InvalidInput({
              description: `OpenAI has no conversation ${id}. Use an id of your own, and one is made for it`
            })
          }
          yield* ids.forget(id, known)
        }
        const conversation = yield* create(id)
        if ((yield* appendAll(conversation, all)) === "gone") {
          return yield* unavailable(`OpenAI does not know the conversation ${conversation} that it made`)
        }
      })
    )

  const pop: NonNullable<Primitives["pop"]> = (id, check) =>
    alone(
      id,
      Effect.gen(function*() {
        const conversation = yield* find(id)
        if (conversation === undefined) return undefined
        while (true) {
          const last = (yield* reading(page(conversation, "desc", 1, undefined)))?.data[0]
          if (last === undefined) return undefined
          const entry = fromService(last)
          const refused = check(entry)
          if (refused !== undefined) return yield* refused
          // Where it is gone, somebody else has it.
          const removed = yield* writing(orNothing(remove(conversation, String(last.id))))
          if (removed !== undefined) return entry
        }
      })
    )

  const clear: NonNullable<Primitives["clear"]> = (id) =>
    alone(
      id,
      Effect.gen(function*() {
        const conversation = yield* find(id)
        if (conversation === undefined) return
        yield* writing(orNothing(removeConversation(conversation)))
        if (conversation !== id) yield* ids.forget(id, conversation)
      })
    )

  return { anyItem: false, load, save, pop, clear }
})
