import type * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import type { EndedSpan, Trace, TraceEntry, TraceExporter, TracerError } from "agent-layers/services/Tracer"
import * as Tracer from "agent-layers/services/Tracer"
import { Context, Effect } from "effect"
import { toSeen } from "../../layers/tracer/seen.ts"

export const spansOf = (entries: ReadonlyArray<TraceEntry>): ReadonlyArray<EndedSpan> =>
  entries.flatMap((entry) => entry._tag === "SpanEnd" ? [entry.span] : [])

export const tracesOf = (entries: ReadonlyArray<TraceEntry>): ReadonlyArray<Trace> =>
  entries.flatMap((entry) => entry._tag === "TraceEnd" ? [entry.trace] : [])

/** What the laws look at, of entries as they are read back. */
export const readEntries = (
  context: Context.Context<never>,
  entries: Effect.Effect<ReadonlyArray<TraceEntry>>
): Omit<TracerLaws.Opened, "context"> => ({
  seen: Effect.map(entries, (entries) => toSeen(spansOf(entries))),
  traces: Effect.map(entries, tracesOf),
  dropped: Effect.provideContext(Tracer.dropped, context)
})

/** Keeps what it is given; `during` happens before. */
export const collector = (during?: (count: number) => Effect.Effect<void, TracerError>) => {
  const entries: Array<TraceEntry> = []
  const batches: Array<number> = []
  let calls = 0
  const exporter: TraceExporter = {
    name: "collector",
    export: (batch) =>
      Effect.andThen(
        Effect.suspend(() => during?.(++calls) ?? Effect.void),
        Effect.sync(() => {
          entries.push(...batch)
          batches.push(batch.length)
        })
      )
  }
  return { entries, batches, exporter, calls: () => calls }
}

export const tool = <A, E>(name: string, effect: Effect.Effect<A, E>) =>
  Tracer.withSpan(
    effect,
    () => ({ _tag: "Tool", name, callId: `call_${name}`, input: `{"of":"${name}"}` }) as const,
    () => ({ output: `from ${name}` })
  )

export const agent = <A, E>(
  name: string,
  effect: Effect.Effect<A, E>,
  trace?: Partial<Omit<Trace, "traceId" | "rootSpanId">>
) =>
  Tracer.withSpan(effect, () => ({ _tag: "Agent", agent: name }) as const, undefined, {
    trace: { workflowName: name, ...trace }
  })
