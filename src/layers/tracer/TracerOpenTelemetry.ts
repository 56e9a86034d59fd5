/**
 * Hands spans to the OpenTelemetry SDK, over `@effect/opentelemetry`: those of agents and all others of the program.
 * What libraries report to OpenTelemetry inside of a run, such as the spans of a database client, stands inside the
 * run's spans. Names and attributes follow the GenAI conventions. Content is sent only if asked for.
 *
 * It gives the program its Effect tracer, of which there is one: `TracerOtlp` is another, which needs no SDK. Batching,
 * sampling and limits are those of the SDK's span processor: take `BatchSpanProcessor`, so that runs do not wait.
 *
 * @since 0.1.0
 */
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import * as OtelTracer from "@effect/opentelemetry/OtelTracer"
import type { SpanProcessor } from "@opentelemetry/sdk-trace-base"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as EffectTracer from "effect/Tracer"
import * as Tracer from "../../services/Tracer.ts"
import * as governed from "./internal/governed.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface ContentOptions {
  /**
   * Whether to send what models and tools were given and answered, as `gen_ai.input.messages` and so on. Where
   * `Tracer.IncludeContent` is false it is not sent anyway, and neither are messages of errors and log lines of spans
   * inside the run.
   *
   * @default false
   */
  readonly includeContent?: boolean | undefined
}

/**
 * What the SDK is set up with, by the names of `@effect/opentelemetry`.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options extends Omit<NodeSdk.Configuration, "spanProcessor">, ContentOptions {
  readonly spanProcessor: SpanProcessor | ReadonlyArray<SpanProcessor>
  /**
   * How long a flush waits.
   *
   * @default "3 seconds"
   */
  readonly flushTimeout?: Duration.Input | undefined
}

const governing = (
  tracer: EffectTracer.Tracer,
  options: ContentOptions | undefined,
  flush: Effect.Effect<void>
): Layer.Layer<never> => {
  const made = governed.make(tracer, { includeContent: options?.includeContent ?? false })
  return Layer.merge(
    Layer.succeed(EffectTracer.Tracer, made.tracer),
    Tracer.addProcessor({ flush, ...(made.onSpanEnd === undefined ? undefined : { onSpanEnd: made.onSpanEnd }) })
  )
}

/** What a span processor throws or rejects would end the run, or the program when it closes. */
const harmless = (processor: SpanProcessor): SpanProcessor => {
  const guarded = (f: () => void): void => {
    try {
      f()
    } catch {
      // The span is lost; the run goes on.
    }
  }
  const settled = (f: () => Promise<void>): Promise<void> => Promise.resolve().then(f).catch(() => undefined)
  return {
    onStart: (span, context) => guarded(() => processor.onStart(span, context)),
    onEnd: (span) => guarded(() => processor.onEnd(span)),
    ...(processor.onEnding === undefined
      ? undefined
      : { onEnding: (span) => guarded(() => processor.onEnding!(span)) }),
    forceFlush: () => settled(() => processor.forceFlush()),
    shutdown: () => settled(() => processor.shutdown())
  }
}

const flushing = (processor: SpanProcessor): Effect.Effect<void> =>
  Effect.tryPromise({
    try: () => processor.forceFlush(),
    catch: (cause) =>
      new Tracer.TracerError({
        exporter: "opentelemetry",
        operation: "flush",
        description: "the span processor could not deliver; runs are not affected",
        isRetryable: true,
        cause
      })
  }).pipe(
    Effect.catch((error) => Effect.logWarning(error.message, error))
  )

/**
 * Sets the SDK up and gives the program an Effect tracer over it. Closing flushes it and shuts it down, within
 * `shutdownTimeout` (3 seconds). Its options are made when the Layer is built: a span processor works once.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E = never, R = never>(
  options: (() => Options) | Effect.Effect<Options, E, R>
): Layer.Layer<never, E, R> =>
  Layer.unwrap(Effect.gen(function*() {
    const given = Effect.isEffect(options) ? yield* options : options()
    const processors = "onStart" in given.spanProcessor ? [given.spanProcessor] : given.spanProcessor
    const context = yield* Layer.build(NodeSdk.layer(() => ({ ...given, spanProcessor: processors.map(harmless) })))
    const flush = Effect.forEach(processors, flushing, { concurrency: "unbounded", discard: true }).pipe(
      Effect.timeoutOption(given.flushTimeout ?? "3 seconds"),
      Effect.asVoid
    )
    return governing(Context.get(context as Context.Context<never>, EffectTracer.Tracer), given, flush)
  })) as Layer.Layer<never, E, R>

/**
 * Over an OpenTelemetry SDK that the program has set up already: its global tracer provider, which the program also
 * flushes and shuts down.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerGlobal = (options?: ContentOptions): Layer.Layer<never> =>
  Layer.unwrap(
    Effect.map(
      Layer.build(OtelTracer.layerGlobal),
      (context) => governing(Context.get(context as Context.Context<never>, EffectTracer.Tracer), options, Effect.void)
    )
  )
