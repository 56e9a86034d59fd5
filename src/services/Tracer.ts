/**
 * What an agent's trace holds beyond a plain span. Spans are Effect spans, so agents appear inside the traces of the
 * program they run in; this service adds typed `SpanData`, a trace's workflow name, group and metadata, a policy for
 * sensitive data, and processors that see every span and every trace.
 *
 * `Tracer` is a `Context.Reference`: absent from `R`, and free until a Layer gives it. Where neither a processor nor
 * an Effect tracer is in the context, no span is made. It exports nothing itself; processors do.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/gen-ai/
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as EffectTracer from "effect/Tracer"
import * as redact from "./internal/redaction.ts"
import { Usage } from "./Usage.ts"

export type { Redaction } from "./internal/redaction.ts"

const optional = <S extends Schema.Constraint>(schema: S) => Schema.optionalKey(schema)

/**
 * What a span is about. `input` and `output` hold content; they are left out where `IncludeContent` is false.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SpanData = Schema.Union([
  Schema.TaggedStruct("Agent", {
    agent: Schema.String,
    runId: optional(Schema.String),
    conversationId: optional(Schema.String),
    tools: optional(Schema.Array(Schema.String)),
    usage: optional(Usage)
  }),
  Schema.TaggedStruct("Turn", {
    agent: Schema.String,
    /** Counted from 1. */
    turn: Schema.Int,
    usage: optional(Usage)
  }),
  Schema.TaggedStruct("Generation", {
    provider: Schema.String,
    model: Schema.String,
    responseId: optional(Schema.String),
    input: optional(Schema.Unknown),
    output: optional(Schema.Unknown),
    usage: optional(Usage)
  }),
  Schema.TaggedStruct("Tool", {
    name: Schema.String,
    callId: Schema.String,
    input: optional(Schema.String),
    output: optional(Schema.Unknown),
    /** Whether the tool answered with a failure that the model can mend. */
    isFailure: optional(Schema.Boolean)
  }),
  Schema.TaggedStruct("Handoff", { from: Schema.String, to: Schema.String }),
  Schema.TaggedStruct("Guardrail", { name: Schema.String, isTripped: optional(Schema.Boolean) }),
  Schema.TaggedStruct("Mcp", { server: Schema.String, operation: Schema.String }),
  Schema.TaggedStruct("Sandbox", { backend: Schema.String, operation: Schema.String }),
  Schema.TaggedStruct("Session", {
    backend: Schema.String,
    operation: Schema.String,
    conversationId: optional(Schema.String)
  }),
  Schema.TaggedStruct("Custom", { name: Schema.String, data: optional(Schema.Record(Schema.String, Schema.Unknown)) })
])

/**
 * @category models
 * @since 0.1.0
 */
export type SpanData = typeof SpanData.Type

/**
 * One end-to-end workflow: a run and everything inside it.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Trace = Schema.Struct({
  traceId: Schema.String,
  /** The id of its first span: two runs inside one span of the caller share a `traceId`, but not this. */
  rootSpanId: Schema.String,
  workflowName: Schema.String,
  /** Joins the traces of one conversation or one user. */
  groupId: optional(Schema.String),
  metadata: optional(Schema.Record(Schema.String, Schema.String))
})

/**
 * @category models
 * @since 0.1.0
 */
export interface Trace extends Schema.Schema.Type<typeof Trace> {}

/**
 * A span that has begun. Ids are those of the Effect span, so that they join any other trace of the program.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Span = Schema.Struct({
  traceId: Schema.String,
  spanId: Schema.String,
  parentId: optional(Schema.String),
  name: Schema.String,
  data: SpanData,
  /** Milliseconds since 1970, with fractions. */
  startedAt: Schema.Finite,
  trace: optional(Trace)
})

/**
 * @category models
 * @since 0.1.0
 */
export interface Span extends Schema.Schema.Type<typeof Span> {}

/**
 * A span that is over, with what was learnt meanwhile in its `data`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const EndedSpan = Schema.Struct({
  ...Span.fields,
  endedAt: Schema.Finite,
  /** `interrupted` is not an error: somebody stopped the work. */
  outcome: Schema.Literals(["succeeded", "failed", "interrupted"]),
  /** Present where `outcome` is `failed`. */
  error: optional(Schema.Struct({ tag: Schema.String, message: Schema.String }))
})

/**
 * @category models
 * @since 0.1.0
 */
export interface EndedSpan extends Schema.Schema.Type<typeof EndedSpan> {}

/**
 * Sees spans and traces as they begin and end. A span's callbacks come in order, children end before their parent,
 * and each is called once. A processor that dies harms neither the run nor other processors: it is logged. The run waits
 * for a callback, so that what takes long belongs into a queue.
 *
 * @category models
 * @since 0.1.0
 */
export interface TraceProcessor {
  readonly onTraceStart?: (trace: Trace) => Effect.Effect<void>
  readonly onSpanStart?: (span: Span) => Effect.Effect<void>
  readonly onSpanEnd?: (span: EndedSpan) => Effect.Effect<void>
  readonly onTraceEnd?: (trace: Trace) => Effect.Effect<void>
  /** Delivers what is buffered; the processor stays usable. */
  readonly flush?: Effect.Effect<void>
  /** How many spans it could not deliver so far. */
  readonly dropped?: Effect.Effect<number>
}

/**
 * What an exporter is given, in the order in which it came about.
 *
 * @category schemas
 * @since 0.1.0
 */
export const TraceEntry = Schema.Union([
  Schema.TaggedStruct("TraceStart", { trace: Trace }),
  Schema.TaggedStruct("SpanEnd", { span: EndedSpan }),
  Schema.TaggedStruct("TraceEnd", { trace: Trace })
])

/**
 * @category models
 * @since 0.1.0
 */
export type TraceEntry = typeof TraceEntry.Type

/**
 * An exporter could not open, deliver or read. `description` says what to do about it, where something can be done.
 *
 * @category errors
 * @since 0.1.0
 */
export class TracerError extends Schema.Error<TracerError>("agent-layers/services/Tracer/TracerError")({
  _tag: Schema.tag("TracerError"),
  /** Which one, such as `sqlite`. */
  exporter: Schema.String,
  operation: Schema.String,
  description: Schema.String,
  /** Whether the same attempt may succeed later. */
  isRetryable: Schema.Boolean,
  retryAfter: Schema.optional(Schema.Duration),
  cause: Schema.optional(Schema.Defect())
}) {
  override get message(): string {
    return `${this.exporter}: ${this.operation} failed: ${this.description}`
  }
}

/**
 * Delivers what a queue has collected: `TracerBatch` makes a processor of it. It is called with one batch after another,
 * never twice at once. A batch that fails is not given to it again; an exporter retries by itself, within the time that
 * the queue gives it.
 *
 * @category models
 * @since 0.1.0
 */
export interface TraceExporter {
  readonly name: string
  readonly export: (entries: ReadonlyArray<TraceEntry>) => Effect.Effect<void, TracerError>
}

/**
 * The processors in force.
 *
 * @category services
 * @since 0.1.0
 */
export interface Tracer {
  readonly processors: ReadonlySet<TraceProcessor>
  /** Adds a processor until the scope closes; then it is flushed, for at most 10 seconds, and taken out. */
  readonly addProcessor: (processor: TraceProcessor) => Effect.Effect<void, never, Scope.Scope>
  /** Flushes every processor, all at once. */
  readonly flush: Effect.Effect<void>
}

/** What a processor that never ends may cost a program that wants to. */
const lastFlush = Duration.seconds(10)

const reported = new WeakSet<TraceProcessor>()

/** A processor that fails at every span is one warning, not thousands. */
const logFailure = (processor: TraceProcessor, cause: Cause.Cause<never>): Effect.Effect<void> => {
  if (Cause.hasInterruptsOnly(cause)) return Effect.void
  if (reported.has(processor)) return Effect.logDebug("A trace processor failed again", cause)
  reported.add(processor)
  return Effect.logWarning(
    "A trace processor failed; the run goes on without what it would have recorded. " +
      "Its further failures are logged at level Debug.",
    cause
  )
}

const isolated = (processor: TraceProcessor, effect: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.catchCause(effect, (cause) => logFailure(processor, cause))

const makeUnsafe = (): Tracer => {
  const processors = new Set<TraceProcessor>()
  const flush = (processor: TraceProcessor) =>
    processor.flush === undefined ? Effect.void : isolated(processor, processor.flush)
  return {
    processors,
    addProcessor: (processor) =>
      Effect.acquireRelease(
        Effect.sync(() => processors.add(processor)),
        () =>
          flush(processor).pipe(
            Effect.interruptible,
            Effect.timeoutOption(lastFlush),
            Effect.andThen(Effect.sync(() => processors.delete(processor)))
          )
      ),
    flush: Effect.suspend(() => Effect.forEach(processors, flush, { concurrency: "unbounded", discard: true }))
  }
}

const none: Tracer = {
  processors: new Set(),
  addProcessor: () =>
    Effect.die(new Error("No Tracer in the context: provide Tracer.layer, or add processors with Tracer.addProcessor")),
  flush: Effect.void
}

/**
 * @category services
 * @since 0.1.0
 */
export const Tracer: Context.Reference<Tracer> = Context.Reference<Tracer>("agent-layers/services/Tracer", {
  defaultValue: () => none
})

/**
 * Whether spans may hold content: what was said to and by the model, tool arguments and results, and the messages of
 * errors, which may quote these. Default: true.
 *
 * @category references
 * @since 0.1.0
 */
export const IncludeContent: Context.Reference<boolean> = Context.Reference<boolean>(
  "agent-layers/services/Tracer/IncludeContent",
  { defaultValue: () => true }
)

/**
 * The redaction in force; absent by default. `TracerRedacted.layer` gives one. Where it throws, what it was to judge is
 * left out.
 *
 * @category references
 * @since 0.1.0
 */
export const CurrentRedaction: Context.Reference<redact.Redaction | undefined> = Context.Reference<
  redact.Redaction | undefined
>(
  "agent-layers/services/Tracer/CurrentRedaction",
  { defaultValue: () => undefined }
)

/**
 * The trace that the current effect belongs to.
 *
 * @category references
 * @since 0.1.0
 */
export const CurrentTrace: Context.Reference<Trace | undefined> = Context.Reference<Trace | undefined>(
  "agent-layers/services/Tracer/CurrentTrace",
  { defaultValue: () => undefined }
)

/**
 * A tracer that processors can be added to. Layers memoise by identity, so that every `addProcessor` of one program
 * registers with the same tracer, in whatever order they are merged.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never> = Layer.effect(Tracer, Effect.sync(makeUnsafe))

/**
 * Registers a processor for as long as the Layer lives. Merging several such Layers gives every processor every span.
 *
 * @category layers
 * @since 0.1.0
 */
export const addProcessor = <E = never, R = never>(
  processor: TraceProcessor | Effect.Effect<TraceProcessor, E, R>
): Layer.Layer<never, E, Exclude<R, Scope.Scope>> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const tracer = yield* Tracer
    yield* tracer.addProcessor(Effect.isEffect(processor) ? yield* processor : processor)
  })).pipe(Layer.provideMerge(layer))

/**
 * How many spans the processors in force could not deliver so far, all together.
 *
 * @category accessors
 * @since 0.1.0
 */
export const dropped: Effect.Effect<number> = Effect.flatMap(
  Tracer,
  ({ processors }) => Effect.forEach(processors, (processor) => processor.dropped ?? Effect.succeed(0))
).pipe(Effect.map((counts) => counts.reduce((sum, count) => sum + count, 0)))

/**
 * Whether anybody would see a span made in this context: a processor, or an Effect tracer that was provided. False
 * where Effect's own tracing is switched off (`Effect.withTracerEnabled(false)`).
 *
 * @category accessors
 * @since 0.1.0
 */
export const isActive = (context: Context.Context<never>): boolean =>
  Context.get(context, References.TracerEnabled) && (
    Context.get(context, Tracer).processors.size > 0 ||
    Context.getOrUndefined(context, EffectTracer.Tracer) !== undefined
  )

const names: { readonly [Tag in SpanData["_tag"]]: (data: Extract<SpanData, { _tag: Tag }>) => string } = {
  Agent: (data) => `invoke_agent ${data.agent}`,
  Turn: (data) => `turn ${data.turn}`,
  Generation: (data) => `chat ${data.model}`,
  Tool: (data) => `execute_tool ${data.name}`,
  Handoff: (data) => `handoff ${data.to}`,
  Guardrail: (data) => `guardrail ${data.name}`,
  Mcp: (data) => `mcp ${data.operation}`,
  Sandbox: (data) => `sandbox ${data.operation}`,
  Session: (data) => `session ${data.operation}`,
  Custom: (data) => data.name
}

/** Names and numbers only; content stays in `SpanData`, where a policy can take it out. */
const attributes = (data: SpanData): Record<string, unknown> | undefined => {
  switch (data._tag) {
    case "Agent":
      return { "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": data.agent }
    case "Generation":
      return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": data.provider,
        "gen_ai.request.model": data.model
      }
    case "Tool":
      return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": data.name,
        "gen_ai.tool.call.id": data.callId
      }
    case "Turn":
      return { "gen_ai.agent.name": data.agent, "agent_layers.turn": data.turn }
    case "Session":
      return { "agent_layers.session.backend": data.backend }
    case "Sandbox":
      return { "agent_layers.sandbox.backend": data.backend }
    case "Mcp":
      return { "agent_layers.mcp.server": data.server }
    default:
      return undefined
  }
}

const addTraceAttributes = (span: EffectTracer.Span, trace: Trace): void => {
  span.attribute("agent_layers.workflow.name", trace.workflowName)
  if (trace.groupId !== undefined) span.attribute("agent_layers.workflow.group", trace.groupId)
}

/** What is seldom known before the end. */
const addLateAttributes = (span: EffectTracer.Span, data: SpanData): void => {
  if ("usage" in data && data.usage !== undefined) {
    span.attribute("gen_ai.usage.input_tokens", data.usage.inputTokens)
    span.attribute("gen_ai.usage.output_tokens", data.usage.outputTokens)
  }
  if (data._tag === "Guardrail" && data.isTripped !== undefined) {
    span.attribute("agent_layers.guardrail.is_tripped", data.isTripped)
  }
  if (data._tag === "Tool" && data.isFailure === true) span.attribute("agent_layers.tool.is_failure", true)
  if ("responseId" in data && data.responseId !== undefined) span.attribute("gen_ai.response.id", data.responseId)
  if ("conversationId" in data && data.conversationId !== undefined) {
    span.attribute("gen_ai.conversation.id", data.conversationId)
  }
}

const tagOf = (error: unknown): string =>
  typeof error !== "object" || error === null
    ? "Error"
    : String("_tag" in error ? error._tag : "name" in error ? error.name : "Error")

const messageOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "message" in error ? String(error.message) : String(error)

const withoutContent = (data: SpanData): SpanData => {
  if (!("input" in data) && !("output" in data)) return data
  const { input: _input, output: _output, ...rest } = data as SpanData & { input?: unknown; output?: unknown }
  return rest as SpanData
}

/** Whole microseconds since 1970 fit a double, nanoseconds do not. */
const millis = (nanos: bigint): number => Number(nanos / 1000n) / 1000

/** Absent where every processor was done when it returned, which costs no step of the fiber. */
const notify = <K extends "onTraceStart" | "onSpanStart" | "onSpanEnd" | "onTraceEnd">(
  processors: ReadonlySet<TraceProcessor>,
  callback: K,
  value: Parameters<NonNullable<TraceProcessor[K]>>[0]
): Effect.Effect<void> | undefined => {
  let all: Effect.Effect<void> | undefined
  for (const processor of processors) {
    let one: Effect.Effect<void> | undefined
    try {
      one = (processor as { readonly [_ in K]?: (value: unknown) => Effect.Effect<void> })[callback]?.(value)
    } catch (defect) {
      one = logFailure(processor, Cause.die(defect))
    }
    if (one === undefined || one === Effect.void) continue
    one = isolated(processor, one)
    all = all === undefined ? one : Effect.andThen(all, one)
  }
  return all
}

const both = (
  first: Effect.Effect<void> | undefined,
  second: () => Effect.Effect<void> | undefined
): Effect.Effect<void> | undefined =>
  first === undefined ? second() : Effect.andThen(first, Effect.suspend(() => second() ?? Effect.void))

/**
 * Runs an effect in a span. `data` is what is known at the start; `onEnd` adds what is known at the end. Costs next to
 * nothing where `isActive` is false: neither function is called then.
 *
 * With `trace`, the span begins a trace, unless it is already inside one. A failure ends the span as `failed` with the
 * error's tag and message, an interruption as `interrupted`. Where `IncludeContent` is false the message is left out
 * too, also of the Effect span: an error may quote what it could not read.
 *
 * @category tracing
 * @since 0.1.0
 */
export const withSpan = <A, E, R, Tag extends SpanData["_tag"]>(
  effect: Effect.Effect<A, E, R>,
  data: () => Extract<SpanData, { readonly _tag: Tag }>,
  onEnd?: (exit: Exit.Exit<A, E>) => Partial<Extract<SpanData, { readonly _tag: Tag }>>,
  options?: { readonly trace?: Omit<Trace, "traceId" | "rootSpanId"> | undefined }
): Effect.Effect<A, E, R> =>
  Effect.withFiber<A, E, R>((fiber) => {
    const context = fiber.context as Context.Context<never>
    const { processors } = Context.get(context, Tracer)
    if ((processors.size === 0 && fiber.cache.tracer === undefined) || !fiber.cache.tracerEnabled) return effect
    const redaction = Context.get(context, CurrentRedaction)
    const hasContent = Context.get(context, IncludeContent)
    const shown = (data: SpanData): SpanData => {
      const kept = hasContent ? data : withoutContent(data)
      return redaction === undefined ? kept : redact.redactData(redaction, kept)
    }
    const said = data()
    const begun = redaction === undefined ? said : shown(said)
    const name = (names[begun._tag] as (data: SpanData) => string)(begun)
    const spanOptions: EffectTracer.SpanOptionsNoTrace = {
      attributes: attributes(begun),
      kind: begun._tag === "Generation" || begun._tag === "Mcp" ? "client" : "internal"
    }
    return Effect.useSpan(name, spanOptions, (effectSpan) => {
      const outer = Context.get(context, CurrentTrace)
      const begins = outer === undefined && options?.trace !== undefined
      let trace = outer
      if (begins) {
        trace = { ...options.trace, traceId: effectSpan.traceId, rootSpanId: effectSpan.spanId }
        if (redaction !== undefined) trace = redact.redactTrace(redaction, trace)
      }
      if (!hasContent || redaction !== undefined) {
        redact.govern(effectSpan, { includeContent: hasContent, redaction })
      }
      const traced = Effect.provideService(effect, EffectTracer.ParentSpan, effectSpan)
      const inner = begins ? Effect.provideService(traced, CurrentTrace, trace) : traced
      const clock = Context.get(context, Clock.Clock)
      if (begins) addTraceAttributes(effectSpan, trace!)
      addLateAttributes(effectSpan, begun)

      let span: Span | undefined
      const begin = (): Effect.Effect<void> => {
        // Without timing Effect's spans begin at zero.
        const startTime = effectSpan.status.startTime || clock.currentTimeNanosUnsafe()
        const parentId = effectSpan.parent._tag === "Some" ? effectSpan.parent.value.spanId : undefined
        span = {
          traceId: effectSpan.traceId,
          spanId: effectSpan.spanId,
          name,
          data: redaction === undefined ? shown(begun) : begun,
          startedAt: millis(startTime),
          ...(parentId === undefined ? undefined : { parentId }),
          ...(trace === undefined ? undefined : { trace })
        }
        const spanStart = () => notify(processors, "onSpanStart", span!)
        return (begins ? both(notify(processors, "onTraceStart", trace!), spanStart) : spanStart()) ?? Effect.void
      }

      const end = (exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined => {
        let ended = begun
        if (onEnd !== undefined) {
          ended = shown({ ...said, ...onEnd(exit) })
          addLateAttributes(effectSpan, ended)
        } else if (!hasContent) {
          ended = shown(said)
        }
        const endTime = clock.currentTimeNanosUnsafe()
        let outcome: EndedSpan["outcome"] = "succeeded"
        let error: EndedSpan["error"]
        if (Exit.isFailure(exit)) {
          if (Cause.hasInterruptsOnly(exit.cause)) {
            outcome = "interrupted"
          } else {
            const squashed = Cause.squash(exit.cause)
            outcome = "failed"
            error = { tag: tagOf(squashed), message: hasContent ? messageOf(squashed) : redact.leftOut }
            if (redaction !== undefined) error = redact.redactError(redaction, error)
            effectSpan.attribute("error.type", error.tag)
            if (!hasContent || redaction !== undefined) {
              const told = Object.assign(new Error(error.message), { name: error.tag })
              // A stack begins with the message, and Effect quotes the causes in it.
              told.stack = `${error.tag}: ${error.message}`
              effectSpan.end(endTime, Exit.die(told))
            }
          }
        }
        // Interrupted before anybody had heard of it.
        if (span === undefined) return undefined
        const over: EndedSpan = {
          ...span,
          data: ended,
          endedAt: millis(endTime),
          outcome,
          ...(error === undefined ? undefined : { error })
        }
        const spanEnd = notify(processors, "onSpanEnd", over)
        return begins ? both(spanEnd, () => notify(processors, "onTraceEnd", trace!)) : spanEnd
      }

      return Effect.onExitPrimitive(
        processors.size === 0 ? inner : Effect.andThen(Effect.uninterruptible(Effect.suspend(begin)), inner),
        end
      )
    })
  })
