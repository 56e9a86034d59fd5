/**
 * Keeps spans and traces in memory, to be read back: the double to test traces with. It is a registration, so that it
 * sees every span beside any other processor. Nothing leaves the process.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { EndedSpan, Span, Trace, TraceProcessor } from "../../services/Tracer.ts"
import * as Tracer from "../../services/Tracer.ts"
import * as Ring from "./internal/ring.ts"
import type { Node } from "./internal/tree.ts"
import * as Tree from "./internal/tree.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * How many spans and how many traces are kept; beyond that the oldest go.
   *
   * @default 10000
   */
  readonly capacity?: number | undefined
}

/**
 * What was seen so far.
 *
 * @category services
 * @since 0.1.0
 */
export class TracerMemory extends Context.Service<TracerMemory, {
  /** Spans that are over, in the order in which they ended: children before their parent. */
  readonly spans: Effect.Effect<ReadonlyArray<EndedSpan>>
  /** Every span that has begun, in the order in which they began. */
  readonly started: Effect.Effect<ReadonlyArray<Span>>
  /** Traces that are over, in the order in which they ended. */
  readonly traces: Effect.Effect<ReadonlyArray<Trace>>
  /**
   * The names of all spans as a tree, indented by two spaces, in the order in which they began. A span that did not
   * succeed says how it ended.
   */
  readonly outline: Effect.Effect<string>
  /** Spans that are over and were dropped for want of capacity. */
  readonly dropped: Effect.Effect<number>
  /** Forgets everything. */
  readonly clear: Effect.Effect<void>
}>()("agent-layers/layers/tracer/TracerMemory") {}

const outlineOf = (nodes: ReadonlyArray<Node>, indent: string): string => {
  let out = ""
  for (const { children, ended, span } of nodes) {
    const how = ended === undefined
      ? " (not ended)"
      : ended.outcome === "succeeded"
      ? ""
      : ended.error === undefined
      ? ` (${ended.outcome})`
      : ` (${ended.outcome}: ${ended.error.tag})`
    out += `${indent}${span.name}${how}\n${outlineOf(children, `${indent}  `)}`
  }
  return out
}

/**
 * The memory and the processor that fills it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeUnsafe = (
  options?: Options
): { readonly memory: TracerMemory["Service"]; readonly processor: TraceProcessor } => {
  const capacity = Math.max(1, options?.capacity ?? 10_000)
  const started = Ring.make<Span>(capacity)
  const ended = Ring.make<EndedSpan>(capacity)
  const traces = Ring.make<Trace>(capacity)
  return {
    processor: {
      onSpanStart: (span) => {
        started.add(span)
        return Effect.void
      },
      onSpanEnd: (span) => {
        ended.add(span)
        return Effect.void
      },
      onTraceEnd: (trace) => {
        traces.add(trace)
        return Effect.void
      }
    },
    memory: {
      spans: Effect.sync(ended.toArray),
      started: Effect.sync(started.toArray),
      traces: Effect.sync(traces.toArray),
      outline: Effect.sync(() => outlineOf(Tree.build(started.toArray(), ended.toArray()), "").trimEnd()),
      dropped: Effect.sync(ended.dropped),
      clear: Effect.sync(() => {
        started.clear()
        ended.clear()
        traces.clear()
      })
    }
  }
}

/**
 * A memory of the given capacity.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<TracerMemory> =>
  Layer.unwrap(Effect.sync(() => {
    const { memory, processor } = makeUnsafe(options)
    return Layer.merge(Layer.succeed(TracerMemory, memory), Tracer.addProcessor(processor))
  }))

/**
 * A memory of 10,000 spans.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<TracerMemory> = layerWith({})
