/**
 * Sends spans to an OpenTelemetry collector over OTLP/HTTP by effect's own exporter: those of agents and all others of
 * the program, in one trace. Names and attributes follow the GenAI conventions. Content is sent only if asked for.
 *
 * It gives the program its Effect tracer, of which there is one: `TracerOpenTelemetry` is another. Processors, such as
 * `TracerConsole`, stand beside it.
 *
 * A run never waits for the collector. Requests go out one after another, are tried again where that may help, and hold
 * no more spans than `maxQueueSize`; what is beyond that or could not be delivered is dropped and counted
 * (`Tracer.dropped`). What is left goes out when the Layer closes.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/gen-ai/
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as OtlpExporter from "effect/observability/OtlpExporter"
import * as OtlpSerialization from "effect/observability/OtlpSerialization"
import * as OtlpTracer from "effect/observability/OtlpTracer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as EffectTracer from "effect/Tracer"
import * as Secrets from "../../services/internal/secrets.ts"
import type { TraceProcessor } from "../../services/Tracer.ts"
import * as Tracer from "../../services/Tracer.ts"
import * as deliver from "./internal/deliver.ts"
import * as governed from "./internal/governed.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Where traces are sent to.
   *
   * @default "http://localhost:4318/v1/traces"
   */
  readonly url?: string | undefined
  /**
   * Sent with each request, such as an API key. A logged refusal shows no redacted value, no value of a header
   * whose name says that it is secret, and no part of these.
   */
  readonly headers?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
  /**
   * By default `OTEL_SERVICE_NAME`, or `unknown_service:node`.
   */
  readonly serviceName?: string | undefined
  readonly serviceVersion?: string | undefined
  /** Attributes of the program, such as `deployment.environment.name`. Those of `OTEL_RESOURCE_ATTRIBUTES` are added. */
  readonly resourceAttributes?: Readonly<Record<string, unknown>> | undefined
  /**
   * Whether to send what models and tools were given and answered, as `gen_ai.input.messages` and so on. Where
   * `Tracer.IncludeContent` is false it is not sent anyway, and neither are messages of errors and log lines of spans
   * inside the run.
   *
   * @default false
   */
  readonly includeContent?: boolean | undefined
  /**
   * @default "protobuf"
   */
  readonly encoding?: "protobuf" | "json" | undefined
  /**
   * @default "none"
   */
  readonly compression?: "gzip" | "none" | undefined
  /**
   * How many spans wait for the collector at most; what comes beyond that is dropped and counted.
   *
   * @default 4096
   */
  readonly maxQueueSize?: number | undefined
  /**
   * @default 512
   */
  readonly maxBatchSize?: number | undefined
  /**
   * How long a span waits for others.
   *
   * @default "5 seconds"
   */
  readonly interval?: Duration.Input | undefined
  /**
   * How long one attempt may take.
   *
   * @default "10 seconds"
   */
  readonly timeout?: Duration.Input | undefined
  /**
   * How often a request is tried.
   *
   * @default 3
   */
  readonly attempts?: number | undefined
  /**
   * How long a flush waits, and how long closing waits for the last one.
   *
   * @default "3 seconds"
   */
  readonly flushTimeout?: Duration.Input | undefined
}

/**
 * The tracer, and the processor that flushes it and adds content to its spans. Both work until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options?: Options
): Effect.fn.Return<
  { readonly tracer: EffectTracer.Tracer; readonly processor: TraceProcessor },
  never,
  HttpClient.HttpClient | Scope.Scope
> {
  const client = yield* HttpClient.HttpClient
  const context = yield* Effect.context<never>()
  const url = options?.url ?? "http://localhost:4318/v1/traces"
  const maxQueueSize = Math.max(1, options?.maxQueueSize ?? 4096)
  const maxBatchSize = Math.max(1, Math.min(maxQueueSize, options?.maxBatchSize ?? 512))
  const flushTimeout = Duration.fromInputUnsafe(options?.flushTimeout ?? "3 seconds")
  const serviceName = options?.serviceName ??
    (yield* Effect.orElseSucceed(Config.String("OTEL_SERVICE_NAME"), () => "unknown_service:node"))
  const headers = deliver.toHeaders(options?.headers)
  const deliverOptions: deliver.DeliverOptions = {
    exporter: "otlp",
    url: deliver.shownUrl(url),
    scrub: Secrets.make([...Secrets.ofHeaders(options?.headers), ...Secrets.ofUrl(url)]).scrub,
    timeout: Duration.fromInputUnsafe(options?.timeout ?? "10 seconds"),
    attempts: Math.max(1, options?.attempts ?? 3)
  }

  // Effect's exporter knows neither a bound nor a count of what waits, and stops for a minute after a failure. So it
  // hands its requests to this client, which always answers well, and queues, retries, drops and counts by itself.
  let queued = 0
  let started = 0
  let finished = 0
  let dropped = 0
  let isFailing = false
  let isStuck = false
  const waiting = new Set<{ readonly target: number; readonly done: Deferred.Deferred<void> }>()
  const abandoned = Deferred.makeUnsafe<void>()
  const turn = Semaphore.makeUnsafe(1)
  const counts = new WeakMap<object, number>()

  const report = (error: Tracer.TracerError, spans: number): Effect.Effect<void> => {
    if (isFailing) return Effect.logDebug(`${spans} spans more were not exported`, error)
    isFailing = true
    return Effect.logWarning(
      `${spans} spans were not exported; runs are not affected. Until exports succeed again, further failures are ` +
        "logged at level Debug",
      error
    )
  }

  const send = (request: HttpClientRequest.HttpClientRequest, spans: number): Effect.Effect<void> => {
    if (queued > 0 && queued + spans > maxQueueSize) {
      dropped += spans
      return Effect.void
    }
    queued += spans
    started++
    const compressed = options?.compression === "gzip"
      ? Effect.orElseSucceed(HttpClientRequest.compressBody(request, "gzip"), () => request)
      : Effect.succeed(request)
    return Effect.flatMap(compressed, (request) => deliver.deliver(client, request, deliverOptions)).pipe(
      turn.withPermit,
      Effect.raceFirst(Deferred.await(abandoned).pipe(Effect.andThen(Effect.interrupt))),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          queued -= spans
          if (Exit.isFailure(exit)) {
            dropped += spans
          } else {
            isFailing = false
            isStuck = false
          }
        })
      ),
      Effect.catch((error) => report(error, spans)),
      Effect.ensuring(Effect.sync(() => {
        finished++
        for (const waiter of waiting) if (waiter.target <= finished) Deferred.doneUnsafe(waiter.done, Exit.void)
      })),
      Effect.withTracerEnabled(false)
    )
  }

  const queue = HttpClient.make((request) =>
    Effect.as(
      send(request, counts.get(request.body) ?? 0),
      HttpClientResponse.fromWeb(request, new Response(null, { status: 200 }))
    )
  )

  const serialization = Context.get(
    yield* Layer.build(
      options?.encoding === "json" ? OtlpSerialization.layerJson : OtlpSerialization.layerProtobuf
    ),
    OtlpSerialization.OtlpSerialization
  )
  let exportNow: Effect.Effect<void> = Effect.void
  const base = yield* OtlpTracer.make({
    url,
    headers,
    resource: {
      serviceName,
      serviceVersion: options?.serviceVersion,
      attributes: { ...options?.resourceAttributes }
    },
    maxBatchSize,
    exportInterval: options?.interval ?? "5 seconds",
    shutdownTimeout: flushTimeout
  }).pipe(
    Effect.provideService(HttpClient.HttpClient, queue),
    Effect.provideService(OtlpExporter.Flusher, {
      flush: Effect.suspend(() => exportNow),
      register: (run) =>
        Effect.sync(() => {
          exportNow = run
        })
    }),
    Effect.provideService(OtlpSerialization.OtlpSerialization, {
      ...serialization,
      traces: (data) => {
        const body = serialization.traces(data)
        counts.set(
          body,
          data.resourceSpans.reduce(
            (sum, { scopeSpans }) => sum + scopeSpans.reduce((sum, { spans }) => sum + spans.length, 0),
            0
          )
        )
        return body
      }
    })
  )

  const flush = Effect.gen(function*() {
    // Not in this fiber: what a flush has no time to wait for is delivered all the same.
    yield* Effect.forkDetach(Effect.provideContext(exportNow, context), { startImmediately: true })
    if (finished >= started) return
    const waiter = { target: started, done: Deferred.makeUnsafe<void>() }
    waiting.add(waiter)
    const done = yield* Deferred.await(waiter.done).pipe(
      Effect.timeoutOption(flushTimeout),
      Effect.ensuring(Effect.sync(() => waiting.delete(waiter)))
    )
    if (done._tag === "None") isStuck = true
  })

  // Before the exporter closes. The flush of the processor that leaves has waited in vain just now: once is enough.
  yield* Effect.addFinalizer(() =>
    isStuck
      ? Effect.andThen(
        Effect.logWarning(`otlp: ${queued} spans were not exported within ${Duration.format(flushTimeout)} of closing`),
        Deferred.done(abandoned, Exit.void)
      )
      : Effect.void
  )

  const { onSpanEnd, tracer } = governed.make(base, { includeContent: options?.includeContent ?? false })
  return {
    tracer,
    processor: { flush, dropped: Effect.sync(() => dropped), ...(onSpanEnd === undefined ? undefined : { onSpanEnd }) }
  }
})

/**
 * Gives the program an Effect tracer that sends to a collector.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<never, never, HttpClient.HttpClient> =>
  Layer.unwrap(
    Effect.map(make(options), ({ processor, tracer }) =>
      Layer.merge(Layer.succeed(EffectTracer.Tracer, tracer), Tracer.addProcessor(processor)))
  )

/**
 * As `layer`, with options from configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<Options>
): Layer.Layer<never, Config.ConfigError, HttpClient.HttpClient> =>
  Layer.unwrap(Effect.map(Config.unwrap(config), layer))
