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
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type { ModelError } from "../../services/ModelError.ts"
import { ModelProvider, type ModelSettings } from "../../services/ModelProvider.ts"
import { connect } from "./internal/openAiClient.ts"
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
  const server = yield* connect({
    ...options,
    provider: options.provider ?? "openai",
    timeout: options.timeout ?? "10 minutes"
  })
  return ModelProvider.of({
    getModel: (name) => Effect.sync(() => makeModel(server, name ?? options.model ?? defaultModel))
  })
})

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
