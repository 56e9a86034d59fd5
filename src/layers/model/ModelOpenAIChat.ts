/**
 * Models behind the OpenAI Chat Completions API, or behind any server that speaks it (Ollama, vLLM, LM Studio, Groq,
 * DeepSeek, Mistral, OpenRouter, …), through the `openai` package. The package is an optional peer; it is loaded when
 * the layer is built, not when this module is imported.
 *
 * Chat Completions says less than the Responses API. What a request asks for and this API cannot say is `Unsupported`,
 * before anything is sent: hosted tools, conversations and prompts that the provider keeps, `truncation: "auto"`,
 * `include`, reasoning summaries. Images and files in a tool's output go out as a message of the user right behind it.
 *
 * A request is sent once: the client's own retries are off, so that a retrying decorator around the provider is the only
 * place where one happens.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import { ModelError, UnknownModel } from "../../services/ModelError.ts"
import { ModelProvider, type ModelSettings } from "../../services/ModelProvider.ts"
import { makeChatModel } from "./internal/openAiChatModel.ts"
import type { Dialect } from "./internal/openAiChatRequest.ts"
import { connect } from "./internal/openAiClient.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface ModelOpenAIChatOptions {
  /** Sent as a bearer token. Servers that check no key still need one that is not empty. */
  readonly apiKey: Redacted.Redacted
  /**
   * Up to and with the version, without `/chat/completions`.
   * @default "https://api.openai.com/v1"
   */
  readonly baseURL?: string | undefined
  /**
   * The model where a run names none. With a `baseURL` of another server there is no default, and a run that names no
   * model fails with `UnknownModel`.
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
   * The name in errors and traces, and the mark on reasoning: only the provider that made it gets it back.
   * @default "openai", or the host of `baseURL`
   */
  readonly provider?: string | undefined
  /** Further headers of every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** @default globalThis.fetch */
  readonly fetch?: typeof globalThis.fetch | undefined
  /**
   * How an answer is held to its schema: by `response_format` with the schema; with JSON of any shape, and the schema in
   * the instructions; or by instructions alone, for servers that know no `response_format`.
   * @default "json_schema"
   */
  readonly structuredOutput?: "json_schema" | "json_object" | "instructions" | undefined
  /**
   * Whether `strict` may be asked for, of tools and of structured output. `false` for servers that refuse the field.
   * @default true
   */
  readonly strict?: boolean | undefined
  /**
   * Whether a stream asks for its usage (`stream_options`). `false` for servers that refuse that; usage is then zero
   * unless the server gives it anyway.
   * @default true
   */
  readonly streamUsage?: boolean | undefined
  /**
   * What `settings.maxOutputTokens` is called.
   * @default "max_completion_tokens" for OpenAI, "max_tokens" for other servers
   */
  readonly maxTokensField?: "max_completion_tokens" | "max_tokens" | undefined
  /**
   * The role of instructions and of developer messages.
   * @default "developer" for OpenAI, "system" for other servers
   */
  readonly instructionsRole?: "developer" | "system" | undefined
  /**
   * Whether a server gets its own reasoning back, in the field that it came in (`reasoning_content`, `reasoning`,
   * `reasoning_details`, thinking parts). `false` for servers that refuse it.
   * @default true
   */
  readonly sendReasoning?: boolean | undefined
  /**
   * What to do with items of a conversation that Chat Completions has no form for, such as web searches that another
   * API made: fail with `Unsupported`, or leave them out.
   * @default "fail"
   */
  readonly foreignItems?: "fail" | "omit" | undefined
}

const defaultModel = "gpt-5.4-mini"

const openAiHost = "api.openai.com"

/**
 * A provider for every model name of one server. Fails where the `openai` package is not installed or an option cannot
 * be used; no request is made.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: ModelOpenAIChatOptions
): Effect.fn.Return<ModelProvider["Service"], ModelError> {
  const { baseURL } = options
  const host = baseURL !== undefined && URL.canParse(baseURL) ? new URL(baseURL).host : openAiHost
  const isOpenAi = host === openAiHost
  const provider = options.provider ?? (isOpenAi ? "openai" : host)
  const server = yield* connect({ ...options, provider, timeout: options.timeout ?? "10 minutes" })
  const dialect: Dialect = {
    provider,
    instructionsRole: options.instructionsRole ?? (isOpenAi ? "developer" : "system"),
    maxTokensField: options.maxTokensField ?? (isOpenAi ? "max_completion_tokens" : "max_tokens"),
    structuredOutput: options.structuredOutput ?? "json_schema",
    strict: options.strict ?? true,
    streamUsage: options.streamUsage ?? true,
    sendReasoning: options.sendReasoning ?? true,
    foreignItems: options.foreignItems ?? "fail"
  }
  const fallback = options.model ?? (isOpenAi ? defaultModel : undefined)
  return ModelProvider.of({
    getModel: (given) => {
      const name = given ?? fallback
      return name === undefined
        ? Effect.fail(
          new ModelError({
            provider,
            reason: new UnknownModel({
              description: `no model was named, and there is no default one for ${host}; name one, or set \`model\``
            })
          })
        )
        : Effect.sync(() => makeChatModel(server, dialect, name))
    }
  })
})

/**
 * Provides `ModelProvider` with the models of one server.
 *
 * **Example**
 *
 * ```ts
 * ModelOpenAIChat.layer({
 *   baseURL: "http://localhost:11434/v1",
 *   apiKey: Redacted.make("ollama"),
 *   model: "llama3.3"
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: ModelOpenAIChatOptions): Layer.Layer<ModelProvider, ModelError> =>
  Layer.effect(ModelProvider, make(options))

/**
 * The same from configuration.
 *
 * **Example**
 *
 * ```ts
 * ModelOpenAIChat.layerConfig({
 *   apiKey: Config.Redacted("GROQ_API_KEY"),
 *   baseURL: Config.succeed("https://api.groq.com/openai/v1"),
 *   model: Config.String("GROQ_MODEL")
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<ModelOpenAIChatOptions>
): Layer.Layer<ModelProvider, ModelError | Config.ConfigError> =>
  Layer.effect(ModelProvider, Effect.flatMap(Config.unwrap(config), make))
