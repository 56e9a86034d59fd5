import type * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import type { EndedSpan } from "agent-layers/services/Tracer"

export const toSeen = (spans: ReadonlyArray<EndedSpan>): ReadonlyArray<TracerLaws.Seen> => {
  const names = new Map(spans.map(({ name, spanId }) => [spanId, name]))
  return spans.map((span) => ({
    name: span.name,
    parent: span.parentId === undefined ? undefined : names.get(span.parentId),
    outcome: span.outcome,
    text: JSON.stringify(span),
    millis: span.endedAt - span.startedAt,
    traceId: span.traceId,
    parentId: span.parentId
  }))
}
