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
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as EffectTracer from "effect/Tracer"
import { Usage } from "./Usage.ts"

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
 * and each is called once. A processor that dies harms neither the run nor other processors: it is logged.
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
}

/**
 * The processors in force.
 *
 * @category services
 * @since 0.1.0
 */
export interface Tracer {
  readonly processors: ReadonlySet<TraceProcessor>
  /** Adds a processor until the scope closes; then it is flushed and taken out. */
  readonly addProcessor: (processor: TraceProcessor) => Effect.Effect<void, never, Scope.Scope>
  /** Flushes every processor. */
  readonly flush: Effect.Effect<void>
}

const isolated = (effect: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.catchCause(effect, (cause) =>
    Cause.hasInterruptsOnly(cause)
      ? Effect.void
      : Effect.logWarning("A trace processor failed; the run goes on without what it would have recorded", cause))

const makeUnsafe = (): Tracer => {
  const processors = new Set<TraceProcessor>()
  const flush = (processor: TraceProcessor) => processor.flush === undefined ? Effect.void : isolated(processor.flush)
  return {
    processors,
    addProcessor: (processor) =>
      Effect.acquireRelease(
        Effect.sync(() => processors.add(processor)),
        () => Effect.andThen(flush(processor), Effect.sync(() => processors.delete(processor)))
      ),
    flush: Effect.suspend(() => Effect.forEach(processors, flush, { discard: true }))
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
 * Whether spans may hold content: what was said to and by the model, tool arguments and results. Default: true.
 *
 * @category references
 * @since 0.1.0
 */
export const IncludeContent: Context.Reference<boolean> = Context.Reference<boolean>(
  "agent-layers/services/Tracer/IncludeContent",
  { defaultValue: () => true }
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
export const addProcessor = <E, R>(
  processor: TraceProcessor | Effect.Effect<TraceProcessor, E, R>
): Layer.Layer<never, E, Exclude<R, Scope.Scope>> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const tracer = yield* Tracer
    yield* tracer.addProcessor(Effect.isEffect(processor) ? yield* processor : processor)
  })).pipe(Layer.provideMerge(layer))

/**
 * Whether anybody would see a span made in this context: a processor, or an Effect tracer that was provided.
 *
 * @category accessors
 * @since 0.1.0
 */
export const isActive = (context: Context.Context<never>): boolean =>
  Context.get(context, Tracer).processors.size > 0 ||
  context.mapUnsafe.has(EffectTracer.TracerKey)

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

const usageAttributes = (usage: Usage | undefined): Record<string, unknown> =>
  usage === undefined
    ? {}
    : { "gen_ai.usage.input_tokens": usage.inputTokens, "gen_ai.usage.output_tokens": usage.outputTokens }

/** Names and numbers only; content stays in `SpanData`, where a policy can take it out. */
const attributes = (data: SpanData): Record<string, unknown> => {
  switch (data._tag) {
    case "Agent":
      return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": data.agent,
        ...(data.conversationId === undefined ? {} : { "gen_ai.conversation.id": data.conversationId }),
        ...usageAttributes(data.usage)
      }
    case "Generation":
      return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": data.provider,
        "gen_ai.request.model": data.model,
        ...(data.responseId === undefined ? {} : { "gen_ai.response.id": data.responseId }),
        ...usageAttributes(data.usage)
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
      return {
        "agent_layers.session.backend": data.backend,
        ...(data.conversationId === undefined ? {} : { "gen_ai.conversation.id": data.conversationId })
      }
    case "Sandbox":
      return { "agent_layers.sandbox.backend": data.backend }
    default:
      return {}
  }
}

const addUsage = (span: EffectTracer.Span, data: SpanData): void => {
  if (!("usage" in data)) return
  for (const [key, value] of Object.entries(usageAttributes(data.usage))) span.attribute(key, value)
}

const failureOf = (cause: Cause.Cause<unknown>): { readonly tag: string; readonly message: string } => {
  const error = Cause.squash(cause)
  return typeof error === "object" && error !== null
    ? {
      tag: "_tag" in error ? String(error._tag) : "name" in error ? String(error.name) : "Error",
      message: "message" in error ? String(error.message) : String(error)
    }
    : { tag: "Error", message: String(error) }
}

const outcomeOf = (exit: Exit.Exit<unknown, unknown>): Pick<EndedSpan, "outcome" | "error"> =>
  Exit.isSuccess(exit)
    ? { outcome: "succeeded" }
    : Cause.hasInterruptsOnly(exit.cause)
    ? { outcome: "interrupted" }
    : { outcome: "failed", error: failureOf(exit.cause) }

const millis = (nanos: bigint): number => Number(nanos / 1000n) / 1000

const notify = <K extends "onTraceStart" | "onSpanStart" | "onSpanEnd" | "onTraceEnd">(
  processors: ReadonlySet<TraceProcessor>,
  callback: K,
  value: Parameters<NonNullable<TraceProcessor[K]>>[0]
): Effect.Effect<void> => {
  let all: Effect.Effect<void> = Effect.void
  for (const processor of processors) {
    const call = processor[callback] as ((value: unknown) => Effect.Effect<void>) | undefined
    if (call === undefined) continue
    const one = isolated(Effect.suspend(() => call(value)))
    all = all === Effect.void ? one : Effect.andThen(all, one)
  }
  return all
}

const withoutContent = (data: SpanData): SpanData => {
  if (!("input" in data) && !("output" in data)) return data
  const { input: _input, output: _output, ...rest } = data as SpanData & { input?: unknown; output?: unknown }
  return rest as SpanData
}

/**
 * Runs an effect in a span. `data` is what is known at the start; `onEnd` adds what is known at the end. Costs next to
 * nothing where `isActive` is false: neither function is called then.
 *
 * With `trace`, the span begins a trace, unless it is already inside one. A failure ends the span as `failed` with the
 * error's tag and message, an interruption as `interrupted`.
 *
 * @category tracing
 * @since 0.1.0
 */
export const withSpan = <A, E, R, Tag extends SpanData["_tag"]>(
  effect: Effect.Effect<A, E, R>,
  data: () => Extract<SpanData, { readonly _tag: Tag }>,
  onEnd?: (exit: Exit.Exit<A, E>) => Partial<Extract<SpanData, { readonly _tag: Tag }>>,
  options?: { readonly trace?: Omit<Trace, "traceId"> | undefined }
): Effect.Effect<A, E, R> =>
  Effect.withFiber<A, E, R>((fiber) => {
    const context = fiber.context as Context.Context<never>
    if (!isActive(context)) return effect
    const { processors } = Context.get(context, Tracer)
    const policy = Context.get(context, IncludeContent) ? identity<SpanData> : withoutContent
    const outer = Context.get(context, CurrentTrace)
    const begun: SpanData = data()
    const name = (names[begun._tag] as (data: SpanData) => string)(begun)
    const kind = begun._tag === "Generation" || begun._tag === "Mcp" ? "client" : "internal"
    return Effect.useSpan(name, { attributes: attributes(begun), kind }, (effectSpan) => {
      const begins = outer === undefined && options?.trace !== undefined
      const trace = begins ? { ...options.trace, traceId: effectSpan.traceId } : outer
      const traced = Effect.provideService(effect, EffectTracer.ParentSpan, effectSpan)
      const inner = begins ? Effect.provideService(traced, CurrentTrace, trace) : traced
      if (processors.size === 0) {
        return onEnd === undefined ? inner : Effect.onExit(inner, (exit) =>
          Effect.sync(() => addUsage(effectSpan, { ...begun, ...onEnd(exit) })))
      }
      const span: Span = {
        traceId: effectSpan.traceId,
        spanId: effectSpan.spanId,
        name,
        data: policy(begun),
        startedAt: millis(effectSpan.status.startTime),
        ...(effectSpan.parent._tag === "Some" ? { parentId: effectSpan.parent.value.spanId } : undefined),
        ...(trace === undefined ? undefined : { trace })
      }
      const running = Effect.onExit(inner, (exit) =>
        Effect.clockWith((clock) => {
          const ended = onEnd === undefined ? begun : { ...begun, ...onEnd(exit) }
          addUsage(effectSpan, ended)
          const over = notify(processors, "onSpanEnd", {
            ...span,
            data: policy(ended),
            endedAt: millis(clock.currentTimeNanosUnsafe()),
            ...outcomeOf(exit)
          })
          return begins ? Effect.andThen(over, notify(processors, "onTraceEnd", trace!)) : over
        }))
      const started = notify(processors, "onSpanStart", span)
      return begins
        ? Effect.andThen(Effect.andThen(notify(processors, "onTraceStart", trace!), started), running)
        : Effect.andThen(started, running)
    })
  })
