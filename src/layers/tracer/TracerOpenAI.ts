/**
 * Sends traces to OpenAI's traces dashboard: a trace when it begins, spans as they end, grouped by trace. Runs never
 * wait for it: a bounded queue stands in front, and is delivered when the Layer closes.
 *
 * Each kind of span has its place there (agent, generation, function, handoff, guardrail); turns, MCP, sandbox, session
 * and custom spans are shown as custom ones. Fields larger than 100,000 bytes are cut. Spans that belong to no trace
 * have no place there and are left out.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Secrets from "../../services/internal/secrets.ts"
import type { TraceExporter, TraceProcessor } from "../../services/Tracer.ts"
import * as Tracer from "../../services/Tracer.ts"
import * as batch from "./internal/batch.ts"
import * as deliver from "./internal/deliver.ts"
import * as payload from "./internal/openAiPayload.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends batch.BatchOptions {
  readonly apiKey: Redacted.Redacted
  readonly organization?: string | undefined
  readonly project?: string | undefined
  /**
   * @default "https://api.openai.com/v1/traces/ingest"
   */
  readonly url?: string | undefined
  /**
   * Whether to send what models and tools were given and answered, data of custom spans, and messages of errors. Where
   * `Tracer.IncludeContent` is false they are not sent anyway.
   *
   * @default true
   */
  readonly includeContent?: boolean | undefined
  /**
   * How large a request may be, in bytes; a batch that is larger goes out as several.
   *
   * @default 4000000
   */
  readonly maxRequestSize?: number | undefined
  /**
   * How long one attempt may take.
   *
   * @default "10 seconds"
   */
  readonly timeout?: Duration.Input | undefined
  /**
   * How often a request is tried: failures of the network and answers 408, 429 and 5xx may pass, others do not.
   *
   * @default 3
   */
  readonly attempts?: number | undefined
}

const toIso = (millis: number): string => DateTime.formatIso(DateTime.makeUnsafe(millis))

/**
 * The processor, which sends until the scope closes. An empty key is an error of construction.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<TraceProcessor, Tracer.TracerError, HttpClient.HttpClient | Scope.Scope> {
  const client = yield* HttpClient.HttpClient
  const key = Redacted.value(options.apiKey).trim()
  if (key === "") {
    return yield* new Tracer.TracerError({
      exporter: "openai",
      operation: "open",
      description: "apiKey is empty; pass a key, or leave this Layer out",
      isRetryable: false
    })
  }
  const url = options.url ?? "https://api.openai.com/v1/traces/ingest"
  const request = HttpClientRequest.post(url).pipe(
    HttpClientRequest.bearerToken(key),
    HttpClientRequest.setHeaders({
      "openai-beta": "traces=v1",
      ...(options.organization === undefined ? undefined : { "openai-organization": options.organization }),
      ...(options.project === undefined ? undefined : { "openai-project": options.project })
    })
  )
  const deliverOptions: deliver.DeliverOptions = {
    exporter: "openai",
    url: deliver.shownUrl(url),
    scrub: Secrets.make([key, ...Secrets.ofUrl(url)]).scrub,
    timeout: Duration.fromInputUnsafe(options.timeout ?? "10 seconds"),
    attempts: Math.max(1, options.attempts ?? 3)
  }
  const payloadOptions = { includeContent: options.includeContent ?? true }
  const maxRequestSize = options.maxRequestSize ?? 4_000_000

  const exporter: TraceExporter = {
    name: "openai",
    export: (entries) =>
      Effect.suspend(() =>
        Effect.forEach(
          payload.group(payload.encode(entries, toIso, payloadOptions), maxRequestSize),
          (body) =>
            deliver.deliver(client, HttpClientRequest.bodyText(request, body, "application/json"), deliverOptions),
          { discard: true }
        )
      )
  }
  return yield* batch.make(exporter, options)
})

/**
 * Sends every trace to OpenAI for as long as the Layer lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<never, Tracer.TracerError, HttpClient.HttpClient> =>
  Tracer.addProcessor(make(options))

/**
 * As `layer`, with options from configuration: `layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<Options>
): Layer.Layer<never, Tracer.TracerError | Config.ConfigError, HttpClient.HttpClient> =>
  Tracer.addProcessor(Effect.flatMap(Config.unwrap(config), make))
