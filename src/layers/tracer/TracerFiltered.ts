/**
 * Lets a processor see only some spans, or only some traces. What is left out for one processor is seen by the others,
 * and spans are made all the same: this is about what is kept and paid for, not about the cost of a span.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { EndedSpan, Span, Trace, TraceProcessor } from "../../services/Tracer.ts"
import * as Tracer from "../../services/Tracer.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Whether a span is seen, asked when it begins. What is inside of a span that is left out moves up to its parent.
   */
  readonly keepSpan?: ((span: Span) => boolean) | undefined
  /** Whether a trace is seen at all, with everything inside. */
  readonly keepTrace?: ((trace: Trace) => boolean) | undefined
  /**
   * The share of traces that is seen, from 0 to 1. It depends on the id of a trace alone, so that programs that have a
   * trace in common keep or leave out the same ones.
   *
   * @default 1
   */
  readonly ratio?: number | undefined
}

/** The share in which an id lies, evenly spread: the last 8 hexadecimal digits of a trace id are random. */
const shareOf = (traceId: string): number => {
  const digits = Number.parseInt(traceId.slice(-8), 16)
  return Number.isNaN(digits) ? 0 : digits / 2 ** 32
}

/**
 * A processor that sees what is kept. A predicate that throws keeps what it was asked about.
 *
 * @category combinators
 * @since 0.1.0
 */
export const make = (processor: TraceProcessor, options: Options): TraceProcessor => {
  const { keepSpan, keepTrace, ratio = 1 } = options
  const ask = <A>(predicate: ((value: A) => boolean) | undefined, value: A): boolean => {
    if (predicate === undefined) return true
    try {
      return predicate(value)
    } catch {
      return true
    }
  }
  const traces = new Map<string, boolean>()
  const isTraceKept = (trace: Trace): boolean => {
    if (ratio < 1 && shareOf(trace.traceId) >= ratio) return false
    if (keepTrace === undefined) return true
    let kept = traces.get(trace.rootSpanId)
    if (kept === undefined) {
      kept = ask(keepTrace, trace)
      traces.set(trace.rootSpanId, kept)
    }
    return kept
  }
  /** The parents of spans that are open and left out. */
  const left = new Map<string, string | undefined>()
  const isInTrace = (span: Span): boolean =>
    span.trace === undefined ? ratio >= 1 || shareOf(span.traceId) < ratio : isTraceKept(span.trace)
  const moved = <S extends Span>(span: S): S => {
    if (span.parentId === undefined || !left.has(span.parentId)) return span
    let parentId: string | undefined = span.parentId
    while (parentId !== undefined && left.has(parentId)) parentId = left.get(parentId)
    const { parentId: _, ...rest } = span
    return (parentId === undefined ? rest : { ...rest, parentId }) as S
  }
  return {
    onTraceStart: (trace) => isTraceKept(trace) ? processor.onTraceStart?.(trace) ?? Effect.void : Effect.void,
    onSpanStart: (span) => {
      if (!isInTrace(span)) return Effect.void
      if (ask(keepSpan, span)) return processor.onSpanStart?.(moved(span)) ?? Effect.void
      left.set(span.spanId, span.parentId)
      return Effect.void
    },
    onSpanEnd: (span: EndedSpan) => {
      if (!isInTrace(span) || left.delete(span.spanId)) return Effect.void
      return processor.onSpanEnd?.(moved(span)) ?? Effect.void
    },
    onTraceEnd: (trace) => {
      const isKept = isTraceKept(trace)
      traces.delete(trace.rootSpanId)
      return isKept ? processor.onTraceEnd?.(trace) ?? Effect.void : Effect.void
    },
    flush: processor.flush ?? Effect.void,
    dropped: processor.dropped ?? Effect.succeed(0)
  }
}

/**
 * Registers a processor that sees what is kept.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E = never, R = never>(
  processor: TraceProcessor | Effect.Effect<TraceProcessor, E, R>,
  options: Options
): Layer.Layer<never, E, Exclude<R, Scope.Scope>> =>
  Tracer.addProcessor(
    Effect.map(
      Effect.isEffect(processor) ? processor : Effect.succeed(processor),
      (processor) => make(processor, options)
    )
  ) as Layer.Layer<never, E, Exclude<R, Scope.Scope>>
