/**
 * Prints each trace as a tree when it ends: who ran, when each step began and how long it took, tokens and errors.
 *
 * ```text
 * trace analyst
 * agent analyst              +0.0ms  1.25s  310 in, 41 out
 * ├─ turn 1                  +0.1ms  810ms  120 in, 20 out
 * │  ├─ model gpt-5          +0.2ms  610ms  120 in, 20 out
 * │  ├─ tool list_files       +611ms   80ms
 * │  └─ tool read_file        +611ms  198ms
 * └─ turn 2                   +810ms  440ms  190 in, 21 out
 *    └─ model gpt-5           +811ms  439ms  190 in, 21 out
 * ```
 *
 * It prints by effect's `Console`, and only what belongs to a trace.
 *
 * @since 0.1.0
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Span, Trace, TraceProcessor } from "../../services/Tracer.ts"
import * as Tracer from "../../services/Tracer.ts"
import { render } from "./internal/render.ts"
import type { Node } from "./internal/tree.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Whether to colour by escape sequences. The caller knows whether a terminal is there and whether `NO_COLOR` is set.
   *
   * @default false
   */
  readonly colors?: boolean | undefined
  /**
   * Whether to show what models and tools were given and answered, on one line each. `Tracer.IncludeContent` decides
   * whether spans have it at all.
   *
   * @default false
   */
  readonly includeContent?: boolean | undefined
  /**
   * No line is wider, in characters; what is longer is cut.
   *
   * @default 100
   */
  readonly width?: number | undefined
  /**
   * How many spans of a trace are shown; the rest is counted.
   *
   * @default 1000
   */
  readonly maxSpans?: number | undefined
  /**
   * `stderr` keeps standard output for the program's own.
   *
   * @default "stdout"
   */
  readonly output?: "stdout" | "stderr" | undefined
}

interface Open {
  readonly trace: Trace | undefined
  readonly node: Node
  readonly ids: Array<string>
  omitted: number
}

/**
 * The processor, and an effect that prints the traces that have not ended, as far as they have come.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeUnsafe = (
  options?: Options
): { readonly processor: TraceProcessor; readonly printOpen: Effect.Effect<void> } => {
  const maxSpans = Math.max(1, options?.maxSpans ?? 1000)
  const renderOptions = {
    colors: options?.colors ?? false,
    includeContent: options?.includeContent ?? false,
    width: Math.max(20, options?.width ?? 100)
  }
  const print = options?.output === "stderr" ? Console.error : Console.log

  // Two runs under one span of the caller have one trace id, so that a trace is told by its first span.
  const begun = new Map<string, number>()
  const roots = new Map<string, Open>()
  const known = new Map<string, { readonly open: Open; readonly node: Node | undefined }>()

  const onSpanStart = (span: Span): void => {
    const parent = span.parentId === undefined ? undefined : known.get(span.parentId)
    if (parent === undefined) {
      const awaited = begun.get(span.traceId) ?? 0
      if (span.trace === undefined || awaited === 0) return
      if (awaited === 1) begun.delete(span.traceId)
      else begun.set(span.traceId, awaited - 1)
      const node: Node = { span, ended: undefined, children: [] }
      const open: Open = { trace: span.trace, node, ids: [span.spanId], omitted: 0 }
      roots.set(span.spanId, open)
      known.set(span.spanId, { open, node })
      return
    }
    const { open } = parent
    if (parent.node === undefined || open.ids.length >= maxSpans) {
      open.omitted++
      known.set(span.spanId, { open, node: undefined })
      return
    }
    const node: Node = { span, ended: undefined, children: [] }
    parent.node.children.push(node)
    open.ids.push(span.spanId)
    known.set(span.spanId, { open, node })
  }

  const show = (open: Open): Effect.Effect<void> => {
    roots.delete(open.node.span.spanId)
    for (const id of open.ids) known.delete(id)
    return print(render(open.trace, open.node, open.omitted, renderOptions))
  }

  return {
    processor: {
      onTraceStart: (trace) => {
        begun.set(trace.traceId, (begun.get(trace.traceId) ?? 0) + 1)
        return Effect.void
      },
      onSpanStart: (span) => {
        onSpanStart(span)
        return Effect.void
      },
      onSpanEnd: (span) => {
        const entry = known.get(span.spanId)
        if (entry === undefined) return Effect.void
        if (entry.node === undefined) {
          known.delete(span.spanId)
          return Effect.void
        }
        entry.node.ended = span
        const open = roots.get(span.spanId)
        return open === undefined ? Effect.void : show(open)
      }
    },
    printOpen: Effect.suspend(() => Effect.forEach(Array.from(roots.values()), show, { discard: true }))
  }
}

/**
 * Prints each trace when it ends, and what is unfinished when the Layer closes.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<never> =>
  Tracer.addProcessor(
    Effect.acquireRelease(Effect.sync(() => makeUnsafe(options)), ({ printOpen }) => printOpen).pipe(
      Effect.map(({ processor }) => processor)
    )
  )
