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
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { InvalidRequest, ModelError, type ModelErrorReason, Unsupported } from "../../services/ModelError.ts"
import { ModelProvider, type ModelSettings } from "../../services/ModelProvider.ts"
import { errorBody, errorBodyOfText, fromConnection, fromStatus } from "./internal/openAiError.ts"
import { makeModel } from "./internal/openAiModel.ts"

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
  const key = Redacted.value(options.apiKey)
  // Some servers quote the key that they refuse, and so do the errors of a client that cannot put it into a header.
  // What is shorter is no secret but a word like "ollama" for a server that checks no key.
  const scrub = (text: string): string => key.length < 8 ? text : text.replaceAll(key, "<redacted>")

  const refused = refusedOption(key, options.baseURL)
  if (refused !== undefined) return yield* new ModelError({ provider, reason: new InvalidRequest(refused) })

  const openai = yield* Effect.tryPromise({
    try: () => import("openai"),
    catch: (cause) =>
      new ModelError({
        provider,
        reason: new Unsupported({
          feature: "openai",
          description: "the package `openai` cannot be loaded; install it next to agent-layers: npm install openai",
          cause
        })
      })
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
      new ModelError({
        provider,
        reason: new InvalidRequest({ description: scrub(errorBody(cause).message ?? "invalid options") })
      })
  })

  const reasonOf = (cause: unknown, now: number): ModelErrorReason => {
    if (cause instanceof openai.APIError && cause.status !== undefined && cause.headers !== undefined) {
      return fromStatus({ status: cause.status, headers: cause.headers, body: errorBody(cause.error), now })
    }
    if (cause instanceof openai.APIConnectionError) return fromConnection(cause, false, scrub)
    return new InvalidRequest({
      description: `the request could not be made: ${scrub(errorBody(cause).message ?? "unknown cause")}`
    })
  }

  const server = {
    provider,
    client,
    reasonOf,
    scrub,
    timeout: Duration.fromInputUnsafe(options.timeout ?? "10 minutes"),
    defaultSettings: options.defaultSettings
  }
  return ModelProvider.of({
    getModel: (name) => Effect.sync(() => makeModel(server, name ?? options.model ?? defaultModel))
  })
})

/** What the client would only stumble over when the first request is made. */
const refusedOption = (key: string, baseURL: string | undefined) => {
  if (key === "") {
    return { param: "apiKey", description: "apiKey is empty; a server that checks no key still needs one, any will do" }
  }
  if (baseURL === undefined) return undefined
  const url = URL.canParse(baseURL) ? new URL(baseURL) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    return { param: "baseURL", description: "baseURL is no address of a server, such as http://localhost:11434/v1" }
  }
  return url.username === "" && url.password === "" ? undefined : {
    param: "baseURL",
    description: "baseURL holds a user name or password, which fetch refuses; send them in `headers`"
  }
}

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
