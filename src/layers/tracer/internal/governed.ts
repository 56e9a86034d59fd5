import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as EffectTracer from "effect/Tracer"
import * as redact from "../../../services/internal/redaction.ts"
import type { TraceProcessor } from "../../../services/Tracer.ts"
import { contentAttributes } from "./genAi.ts"

/** How long a text of content may be, in characters. Collectors refuse requests of a few megabytes. */
const maximumText = 60_000

/**
 * An Effect tracer under the policies of our spans: inside of a run that tells no content, spans that a tool's handler
 * makes for itself tell no messages of errors and no log lines; redactions hold for all that these spans say.
 */
const govern = (span: EffectTracer.Span): void => {
  const { attribute, end, event } = span
  // Looked up when something is said: a policy comes with the span that begins a run, after it was made.
  span.end = (endTime, exit) => {
    if (exit._tag === "Success") return end.call(span, endTime, exit)
    const policy = redact.policyOf(span)
    end.call(span, endTime, policy === undefined ? exit : redact.redactExit(policy, exit))
  }
  span.event = (name, startTime, attributes) => {
    const policy = redact.policyOf(span)
    if (policy === undefined) return event.call(span, name, startTime, attributes)
    if (!policy.includeContent) return
    const redaction = policy.redaction
    event.call(
      span,
      redaction === undefined ? name : redact.redactText(redaction, name),
      startTime,
      attributes === undefined ? undefined : redact.redactAttribute(policy, "", attributes) as Record<string, unknown>
    )
  }
  span.attribute = (key, value) => {
    const policy = redact.policyOf(span)
    attribute.call(span, key, policy === undefined ? value : redact.redactAttribute(policy, key, value))
  }
}

/** The tracer, and what a processor adds to its spans when they end. */
export const make = (
  tracer: EffectTracer.Tracer,
  options: { readonly includeContent: boolean }
): { readonly tracer: EffectTracer.Tracer; readonly onSpanEnd: TraceProcessor["onSpanEnd"] } => {
  const open = new Map<string, EffectTracer.Span>()
  return {
    tracer: EffectTracer.make({
      span: (options_) => {
        const policy = redact.policyOf(Option.getOrUndefined(options_.parent))
        const span = tracer.span(
          policy?.redaction === undefined
            ? options_
            : { ...options_, name: redact.redactText(policy.redaction, options_.name) }
        )
        govern(span)
        if (options.includeContent) {
          open.set(span.spanId, span)
          const end = span.end
          span.end = (endTime, exit) => {
            open.delete(span.spanId)
            end.call(span, endTime, exit)
          }
        }
        return span
      },
      context: tracer.context
    }),
    ...(options.includeContent
      ? {
        onSpanEnd: (ended) => {
          const span = open.get(ended.spanId)
          if (span !== undefined) {
            for (const [key, text] of contentAttributes(ended.data, maximumText)) span.attribute(key, text)
          }
          return Effect.void
        }
      }
      : { onSpanEnd: undefined })
  }
}
