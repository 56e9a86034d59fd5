/**
 * Models behind the OpenAI Responses API, or behind a server that speaks it (Azure, LM Studio, vLLM, OpenRouter, …),
 * through the `openai` package. The package is an optional peer; it is loaded when the layer is built, not when this
 * module is imported.
 *
 * A request is sent once: the client's own retries are off, so that a retrying decorator around the provider is the only
 * place where one happens. Chat Completions is another layer.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Pull from "effect/Pull"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import {
  InvalidOutput,
  InvalidRequest,
  ModelError,
  type ModelErrorReason,
  Timeout,
  Transport,
  Unsupported
} from "../../services/ModelError.ts"
import {
  type Model,
  type ModelEvent,
  ModelProvider,
  type ModelRequest,
  type ModelResponse,
  type ModelSettings
} from "../../services/ModelProvider.ts"
import { parseJson } from "./internal/json.ts"
import { errorBody, errorBodyOfText, fromConnection, fromStatus } from "./internal/openAiError.ts"
import { makeParams } from "./internal/openAiRequest.ts"
import { type Answer, finish, isPending, readOutput, readResponse } from "./internal/openAiResponse.ts"
import { makeStreamReader, type StreamReader } from "./internal/openAiStream.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface ModelOpenAIResponsesOptions {
  /** Sent as a bearer token. Servers that check no key still need one that is not empty. */
  readonly apiKey: Redacted.Redacted
  /**
   * Up to and with the version, without `/responses`.
   * @default "https://api.openai.com/v1"
   */
  readonly baseURL?: string | undefined
  /**
   * The model where a run names none.
   * @default "gpt-5.4-mini"
   */
  readonly model?: string | undefined
  readonly organization?: string | undefined
  readonly project?: string | undefined
  /**
   * How long to wait: for a whole answer of `respond`; for the first piece and then for each next piece of a stream.
   * Node's own `fetch` gives up after 5 minutes without a byte; pass another `fetch` to wait longer.
   * @default "10 minutes"
   */
  readonly timeout?: Duration.Input | undefined
  /** Settings of every request. A field that the request sets itself wins; `extra` is merged name by name. */
  readonly defaultSettings?: ModelSettings | undefined
  /**
   * The name in errors and traces. For `"openai"`, what another provider left in a history is not sent: ids that are not
   * of OpenAI's form, and encrypted reasoning that OpenAI cannot read. Name another provider to send all of it.
   * @default "openai"
   */
  readonly provider?: string | undefined
  /** Further headers of every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** @default globalThis.fetch */
  readonly fetch?: typeof globalThis.fetch | undefined
}

const defaultModel = "gpt-5.4-mini"

/** The client's own timers stay out of the way. */
const never = 2 ** 31 - 1

/**
 * A provider for every model name of one server. Fails where the `openai` package is not installed or an option cannot
 * be used; no request is made.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: ModelOpenAIResponsesOptions
): Effect.fn.Return<ModelProvider["Service"], ModelError> {
  const provider = options.provider ?? "openai"
  const timeout = Duration.fromInputUnsafe(options.timeout ?? "10 minutes")
  const key = Redacted.value(options.apiKey)
  // Some servers quote the key that they refuse, and so do the errors of a client that cannot put it into a header.
  // What is shorter is no secret but a word like "ollama" for a server that checks no key.
  const scrub = (text: string): string => key.length < 8 ? text : text.replaceAll(key, "<redacted>")

  const failWith = (reason: ModelErrorReason, model?: string): ModelError =>
    new ModelError({ provider, reason, ...(model === undefined ? {} : { model }) })

  const openai = yield* Effect.tryPromise({
    try: () => import("openai"),
    catch: (cause) =>
      failWith(
        new Unsupported({
          feature: "openai",
          description: "the package `openai` cannot be loaded; install it next to agent-layers: npm install openai",
          cause
        })
      )
  })

  const client = yield* Effect.try({
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
        fetch: flatErrors(options.fetch ?? globalThis.fetch, scrub),
        ...(options.headers === undefined ? {} : { defaultHeaders: options.headers })
      }),
    catch: (cause) =>
      failWith(new InvalidRequest({ description: scrub(errorBody(cause).message ?? "invalid options") }))
  })

  /** A reason for what the client rejects with. */
  const reasonOf = (cause: unknown, now: number): ModelErrorReason => {
    if (cause instanceof openai.APIError && cause.status !== undefined && cause.headers !== undefined) {
      return fromStatus({ status: cause.status, headers: cause.headers, body: errorBody(cause.error), now })
    }
    if (cause instanceof openai.APIConnectionError) return fromConnection(cause, false, scrub)
    return new InvalidRequest({
      description: `the request could not be made: ${scrub(errorBody(cause).message ?? "unknown cause")}`
    })
  }

  const modelOf = (name: string): Model => {
    const fail = (reason: ModelErrorReason) => failWith(reason, name)

    const timedOut = (what: string, isPartial: boolean) => () =>
      Effect.fail(fail(new Timeout({ description: `${what} within ${Duration.format(timeout)}`, isPartial })))

    /** Makes a request and gives the response once its headers are there. */
    const call = (send: () => { readonly asResponse: () => Promise<Response> }): Effect.Effect<Response, ModelError> =>
      Clock.clockWith((clock) =>
        Effect.tryPromise({
          try: () => send().asResponse(),
          catch: (cause) => fail(reasonOf(cause, clock.currentTimeMillisUnsafe()))
        })
      )

    const create = (params: Record<string, unknown>, signal: AbortSignal) =>
      call(() => client.responses.create(params as never, { signal }))

    const readText = (response: Response): Effect.Effect<string, ModelError> =>
      Effect.tryPromise({
        try: () => response.text(),
        catch: (cause) => fail(fromConnection(cause, false, scrub))
      })

    const readAnswer = Effect.fnUntraced(function*(
      response: Response
    ): Effect.fn.Return<Answer, ModelError> {
      const json = parseJson(yield* readText(response))
      const answer = json === undefined
        ? Result.fail(notJson(response))
        : readResponse(json, { isPartial: false, scrub })
      return yield* Effect.fromResult(Result.mapError(answer, fail))
    })

    const params = (request: ModelRequest, stream: boolean) =>
      makeParams({
        model: name,
        request,
        defaults: options.defaultSettings,
        ownOnly: provider === "openai",
        stream
      })

    /** A response in the background is asked for until it is there; interruption cancels it. */
    const awaitBackground = (id: string): Effect.Effect<Answer, ModelError, Scope.Scope> =>
      Effect.gen(function*() {
        const { signal } = yield* makeAbort
        let wait = 500
        while (true) {
          yield* Effect.sleep(wait)
          wait = Math.min(wait * 1.5, 5_000)
          const answer = yield* readAnswer(yield* call(() => client.responses.retrieve(id, {}, { signal })))
          if (!isPending(answer.status)) return answer
        }
      }).pipe(
        Effect.onInterrupt(() =>
          Effect.tryPromise(() => client.responses.cancel(id).asResponse()).pipe(
            Effect.timeout("2 seconds"),
            Effect.ignore
          )
        )
      )

    const respond = (request: ModelRequest): Effect.Effect<ModelResponse, ModelError> =>
      Effect.gen(function*() {
        const { signal } = yield* makeAbort
        const nonce = yield* makeNonce
        let answer = yield* readAnswer(yield* create(params(request, false), signal))
        if (isPending(answer.status)) {
          answer = answer.id === undefined
            ? yield* fail(new InvalidOutput({ description: `the response is ${answer.status} and has no id` }))
            : yield* awaitBackground(answer.id)
        }
        const output = yield* Effect.fromResult(
          Result.mapError(readOutput(answer.output, { nonce, isPartial: false }), fail)
        )
        const structured = request.outputSchema !== undefined
        return yield* Effect.fromResult(Result.mapError(finish(answer, output, { structured, isPartial: false }), fail))
      }).pipe(
        Effect.scoped,
        Effect.timeoutOrElse({ duration: timeout, orElse: timedOut("no whole answer", false) })
      )

    const stream = (request: ModelRequest): Stream.Stream<ModelEvent, ModelError> =>
      Effect.gen(function*() {
        const controller = yield* makeAbort
        const reader = makeStreamReader({
          structured: request.outputSchema !== undefined,
          nonce: yield* makeNonce,
          scrub
        })
        const response = yield* create(params(request, true), controller.signal).pipe(
          Effect.timeoutOrElse({ duration: timeout, orElse: timedOut("no answer", false) })
        )
        const type = response.headers.get("content-type") ?? ""
        if (response.body === null || type.includes("text/html")) return Stream.fail(fail(notJson(response)))
        if (type.includes("application/json")) {
          // A server that does not stream answers at once.
          const json = parseJson(
            yield* readText(response).pipe(
              Effect.timeoutOrElse({ duration: timeout, orElse: timedOut("no whole answer", false) })
            )
          )
          if (json === undefined) return Stream.fail(fail(notJson(response)))
          reader.whole(json)
          return Stream.fromPull(Effect.succeed(pullOf(reader, Effect.succeed({ done: true, value: undefined }))))
        }
        const body = response.body.getReader()
        const idle = yield* watchIdle(timeout, () => controller.abort())
        const read = Effect.callback<ReadableStreamReadResult<Uint8Array>, ModelError>((resume) => {
          idle.begin()
          body.read().then(
            (piece) => {
              idle.end()
              resume(Effect.succeed(piece))
            },
            (cause) =>
              resume(
                idle.isOver()
                  ? timedOut("no further event", reader.isVisible)()
                  : Effect.fail(fail(fromConnection(cause, reader.isVisible, scrub)))
              )
          )
        })
        return Stream.fromPull(Effect.succeed(pullOf(reader, read)))
      }).pipe(Stream.unwrap)

    const pullOf = (
      reader: StreamReader,
      read: Effect.Effect<ReadableStreamReadResult<Uint8Array>, ModelError>
    ): Pull.Pull<Arr.NonEmptyReadonlyArray<ModelEvent>, ModelError> => {
      const text = new TextDecoder()
      const loop = (): Pull.Pull<Arr.NonEmptyReadonlyArray<ModelEvent>, ModelError> => {
        const events = reader.events
        if (Arr.isArrayNonEmpty(events)) {
          reader.events = []
          return Effect.succeed(events)
        }
        if (reader.failure !== undefined) return Effect.fail(fail(reader.failure))
        if (reader.isOver) return Effect.flatMap(drain(read), () => Cause.done())
        return Effect.flatMap(read, (piece) => {
          if (piece.done) {
            reader.feed(text.decode())
            reader.end()
            if (!reader.isOver) {
              reader.failure = new Transport({
                description: "the stream ended before its last event",
                isPartial: reader.isVisible || reader.events.length > 0
              })
            }
          } else {
            reader.feed(text.decode(piece.value, { stream: true }))
          }
          return loop()
        })
      }
      return Effect.suspend(loop)
    }

    return { name, provider, respond, stream }
  }

  return ModelProvider.of({
    getModel: (name) => Effect.succeed(modelOf(name ?? options.model ?? defaultModel))
  })
})

/** Aborts the request when the scope closes, however it closes; after the last byte that does nothing. */
const makeAbort: Effect.Effect<AbortController, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => new AbortController()),
  (controller) => Effect.sync(() => controller.abort())
)

/**
 * Calls `onIdle` once a wait has lasted as long as `timeout`. One fiber watches a whole stream: a timer for each read
 * would cost several times what the read costs.
 */
const watchIdle = Effect.fnUntraced(function*(timeout: Duration.Duration, onIdle: () => void) {
  const clock = yield* Clock.Clock
  const limit = Duration.toMillis(timeout)
  let since: number | undefined
  let isOver = false
  const watch = Effect.gen(function*() {
    let left = limit
    while (left > 0) {
      yield* Effect.sleep(left)
      left = since === undefined ? limit : limit - (clock.currentTimeMillisUnsafe() - since)
    }
    isOver = true
    onIdle()
  })
  if (Number.isFinite(limit)) yield* Effect.forkScoped(watch)
  return {
    begin: () => {
      since = clock.currentTimeMillisUnsafe()
    },
    end: () => {
      since = undefined
    },
    isOver: () => isOver
  }
})

const makeNonce: Effect.Effect<string> = Effect.map(Random.next, (n) => n.toString(36).slice(2))

/** Reads what the server sends after the last event, so that the connection can be used again. */
const drain = (read: Effect.Effect<ReadableStreamReadResult<Uint8Array>, ModelError>): Effect.Effect<void> =>
  read.pipe(
    Effect.repeat({ until: (piece) => piece.done }),
    Effect.timeout("1 second"),
    Effect.ignore
  )

const notJson = (response: Response): ModelErrorReason =>
  new InvalidOutput({
    description: `the server answered with ${
      response.headers.get("content-type") ?? "no content type"
    }, which is no answer of the Responses API; check the base URL`,
    status: response.status
  })

/** Compatible servers have their own shapes of errors; the client looks at one only and would drop the others. */
const flatErrors =
  (fetch: typeof globalThis.fetch, scrub: (text: string) => string): typeof globalThis.fetch => (input, init) =>
    fetch(input, init).then((response) =>
      response.status < 400
        ? response
        : response.text().then((text) =>
          new Response(JSON.stringify({ error: errorBodyOfText(scrub(text)) }), {
            status: response.status,
            headers: new Headers([...response.headers, ["content-type", "application/json"]])
          })
        )
    )

/**
 * Provides `ModelProvider` with the models of one server.
 *
 * **Example**
 *
 * ```ts
 * ModelOpenAIResponses.layer({ apiKey: Redacted.make("sk-…"), model: "gpt-5.4" })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: ModelOpenAIResponsesOptions): Layer.Layer<ModelProvider, ModelError> =>
  Layer.effect(ModelProvider, make(options))

/**
 * The same from configuration.
 *
 * **Example**
 *
 * ```ts
 * ModelOpenAIResponses.layerConfig({
 *   apiKey: Config.Redacted("OPENAI_API_KEY"),
 *   baseURL: Config.String("OPENAI_BASE_URL").pipe(Config.withDefault("https://api.openai.com/v1"))
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<ModelOpenAIResponsesOptions>
): Layer.Layer<ModelProvider, ModelError | Config.ConfigError> =>
  Layer.effect(ModelProvider, Effect.flatMap(Config.unwrap(config), make))
