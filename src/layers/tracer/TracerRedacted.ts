/**
 * Takes secrets out of traces: one policy over everything that a span says, however deep. `layer` puts it in force
 * where spans are made, so that no processor and no exporter sees what it takes out. `make` holds for one processor.
 *
 * It covers names, ids, content, metadata, messages of errors, texts that are documents of JSON, and keys; with
 * `TracerOtlp` and `TracerOpenTelemetry` also what other spans inside a run say, such as those of a tool's handler.
 * It does not cover logs. To send no content at all, use `Tracer.IncludeContent`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as redact from "../../services/internal/redaction.ts"
import * as Secrets from "../../services/internal/secrets.ts"
import type { EndedSpan, Redaction, Span, TraceProcessor } from "../../services/Tracer.ts"
import * as Tracer from "../../services/Tracer.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Texts that are never shown, such as the program's own keys. Of a whole header, its parts are not
   * shown either: the token after `Bearer`, the user and password in `Basic`, each cookie.
   */
  readonly secrets?: ReadonlyArray<Redacted.Redacted | string> | undefined
  /** What matches is not shown. Flag `g` is added. */
  readonly patterns?: ReadonlyArray<RegExp> | undefined
  /**
   * Keys whose values are not shown, whatever they are. Compared without case, `-` and `_`.
   *
   * @default `defaultKeys`
   */
  readonly keys?: ReadonlyArray<string> | undefined
  /**
   * What stands in place of what was taken out.
   *
   * @default "(redacted)"
   */
  readonly replacement?: string | undefined
}

/**
 * Keys that hold credentials.
 *
 * @category options
 * @since 0.1.0
 */
export const defaultKeys: ReadonlyArray<string> = [
  "authorization",
  "proxyauthorization",
  "apikey",
  "xapikey",
  "accesstoken",
  "refreshtoken",
  "idtoken",
  "clientsecret",
  "secret",
  "password",
  "passwd",
  "passphrase",
  "privatekey",
  "cookie",
  "setcookie"
]

/**
 * Texts that look like credentials: bearer tokens, keys of model providers, GitHub, Slack and AWS, JSON Web Tokens,
 * private keys in PEM, passwords in addresses.
 *
 * @category options
 * @since 0.1.0
 */
export const defaultPatterns: ReadonlyArray<RegExp> = [
  /\bBearer\s+[\w.~+/-]{8,}=*/gi,
  /\bsk-[\w-]{16,}/g,
  /\bgh[opsru]_\w{20,}|\bgithub_pat_\w{20,}/g,
  /\bxox[abposr]-[\w-]{10,}/g,
  /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/g,
  /\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  /(?<=\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@]*:)[^\s/@]+(?=@)/gi
]

const simple = (key: string): string => key.toLowerCase().replaceAll(/[-_\s]/g, "")

/**
 * A policy of secrets, patterns and keys. Secrets are looked for first and longest first, so that one inside another
 * leaves no rest. Empty secrets are passed over.
 *
 * @category constructors
 * @since 0.1.0
 */
export const policy = (options?: Options): Redaction => {
  const replacement = options?.replacement ?? "(redacted)"
  const { scrub } = Secrets.make(options?.secrets ?? [], { replacement, isAnyLength: true })
  const patterns = (options?.patterns ?? defaultPatterns).map((pattern) =>
    pattern.global ? new RegExp(pattern) : new RegExp(pattern.source, `${pattern.flags}g`)
  )
  const keys = new Set((options?.keys ?? defaultKeys).map(simple))
  return {
    text: (text) => {
      let out = scrub(text)
      for (const pattern of patterns) out = out.replace(pattern, () => replacement)
      return out
    },
    isSecret: (key) => keys.has(simple(key))
  }
}

const redactSpan = <S extends Span>(redaction: Redaction, span: S): S => ({
  ...span,
  name: redact.redactText(redaction, span.name),
  data: redact.redactData(redaction, span.data),
  ...(span.trace === undefined ? undefined : { trace: redact.redactTrace(redaction, span.trace) })
})

const redactEnded = (redaction: Redaction, span: EndedSpan): EndedSpan => ({
  ...redactSpan(redaction, span),
  ...(span.error === undefined ? undefined : { error: redact.redactError(redaction, span.error) })
})

/**
 * A processor that sees what a policy leaves, whatever other processors see.
 *
 * @category combinators
 * @since 0.1.0
 */
export const make = (processor: TraceProcessor, redaction: Redaction): TraceProcessor => ({
  onTraceStart: (trace) => processor.onTraceStart?.(redact.redactTrace(redaction, trace)) ?? Effect.void,
  onSpanStart: (span) => processor.onSpanStart?.(redactSpan(redaction, span)) ?? Effect.void,
  onSpanEnd: (span) => processor.onSpanEnd?.(redactEnded(redaction, span)) ?? Effect.void,
  onTraceEnd: (trace) => processor.onTraceEnd?.(redact.redactTrace(redaction, trace)) ?? Effect.void,
  flush: processor.flush ?? Effect.void,
  dropped: processor.dropped ?? Effect.succeed(0)
})

/**
 * Puts a policy in force for every span made in its context, before any processor and any exporter. A second Layer
 * replaces the first. Failures of what it judges are shown without their stack.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<never> =>
  Layer.sync(Tracer.CurrentRedaction, () => policy(options))
