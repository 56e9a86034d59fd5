/**
 * One policy over everything that a span may say: texts wherever they stand, keys, and JSON inside of texts.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import type * as EffectTracer from "effect/Tracer"

/**
 * What is taken out of everything that a span says before anybody sees it: names, content, ids, metadata, messages of
 * errors, also in the spans that a tool's handler makes for itself where one of our Layers exports them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Redaction {
  /** Given every text and every key, however deep; a text that is a document of JSON is looked into first. */
  readonly text: (text: string) => string
  /** Whether what stands under this key is left out whole, whatever it is. */
  readonly isSecret?: ((key: string) => boolean) | undefined
}

interface Failure {
  readonly tag: string
  readonly message: string
}

interface Workflow {
  readonly workflowName: string
  readonly groupId?: string
  readonly metadata?: Readonly<Record<string, string>>
}

/** @internal */
export const leftOut = "(left out: IncludeContent is false)"

const failed = "(left out: the redaction failed)"

const secret = "(redacted)"

const maximumDepth = 100

const parse = (text: string): unknown => {
  const start = text.trimStart()[0]
  if (start !== "{" && start !== "[") return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** A policy of somebody else's that throws must neither stop a run nor let through what it could not judge. */
const plain = (redaction: Redaction, text: string): string => {
  try {
    return redaction.text(text)
  } catch {
    return failed
  }
}

const isSecretKey = (redaction: Redaction, key: string): boolean => {
  if (redaction.isSecret === undefined) return false
  try {
    return redaction.isSecret(key)
  } catch {
    return true
  }
}

/** @internal */
export const redactText = (redaction: Redaction, text: string): string => {
  if (redaction.isSecret !== undefined) {
    const parsed = parse(text)
    if (parsed !== undefined) {
      const before = JSON.stringify(parsed)
      const after = JSON.stringify(walk(redaction, parsed, [], false))
      if (before !== after) return plain(redaction, after)
    }
  }
  return plain(redaction, text)
}

const walk = (redaction: Redaction, value: unknown, path: Array<object>, readsJson = true): unknown => {
  switch (typeof value) {
    case "string":
      return readsJson ? redactText(redaction, value) : plain(redaction, value)
    case "function":
    case "symbol":
      return undefined
    case "object":
      break
    default:
      return value
  }
  if (value === null) return null
  if (Redacted.isRedacted(value)) return secret
  if (path.includes(value)) return "(circular)"
  if (path.length >= maximumDepth) return "(too deep)"
  if (ArrayBuffer.isView(value)) return `(${value.byteLength} bytes)`
  path.push(value)
  try {
    if (Array.isArray(value)) return value.map((one) => walk(redaction, one, path))
    if (value instanceof Map) return walk(redaction, Object.fromEntries(value), path)
    if (value instanceof Set) return Array.from(value, (one) => walk(redaction, one, path))
    if (value instanceof Error) {
      return { name: plain(redaction, value.name), message: redactText(redaction, value.message) }
    }
    if ("toJSON" in value && typeof value.toJSON === "function") return walk(redaction, value.toJSON(), path)
    const out: Record<string, unknown> = {}
    for (const [key, one] of Object.entries(value)) {
      // A key of content may be a secret too; "__proto__" would be no key.
      Object.defineProperty(out, plain(redaction, key), {
        value: one === undefined ? undefined : isSecretKey(redaction, key) ? secret : walk(redaction, one, path),
        enumerable: true,
        configurable: true,
        writable: true
      })
    }
    return out
  } catch {
    return failed
  } finally {
    path.pop()
  }
}

const known = new WeakMap<Redaction, WeakMap<object, unknown>>()

/** The items of a conversation are sent to the model again in each turn, and never change: one look at each is enough. */
const redactItems = (redaction: Redaction, items: ReadonlyArray<unknown>): ReadonlyArray<unknown> => {
  let seen = known.get(redaction)
  if (seen === undefined) known.set(redaction, seen = new WeakMap())
  return items.map((item) => {
    if (typeof item !== "object" || item === null) return walk(redaction, item, [])
    if (seen.has(item)) return seen.get(item)
    const left = walk(redaction, item, [])
    seen.set(item, left)
    return left
  })
}

/**
 * What every field says after the policy. `_tag` and numbers that a schema asks for stay.
 *
 * @internal
 */
export const redactData = <Data extends { readonly _tag: string }>(redaction: Redaction, data: Data): Data => {
  const out: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(data)) {
    out[key] = key === "_tag" || key === "usage" || typeof value === "number" || typeof value === "boolean"
      ? value
      : typeof value === "string"
      ? isSecretKey(redaction, key) ? secret : redactText(redaction, value)
      : data._tag === "Generation" && Array.isArray(value) && !isSecretKey(redaction, key)
      ? redactItems(redaction, value)
      : key === "tools" || key === "data" || !isSecretKey(redaction, key)
      ? walk(redaction, value, [])
      : secret
  }
  return out as Data
}

/** @internal */
export const redactTrace = <Trace extends Workflow>(redaction: Redaction, trace: Trace): Trace => ({
  ...trace,
  workflowName: redactText(redaction, trace.workflowName),
  ...(trace.groupId === undefined ? undefined : { groupId: redactText(redaction, trace.groupId) }),
  ...(trace.metadata === undefined
    ? undefined
    : { metadata: walk(redaction, trace.metadata, []) as Record<string, string> })
})

/** @internal */
export const redactError = (redaction: Redaction, error: Failure): Failure => ({
  tag: plain(redaction, error.tag),
  message: redactText(redaction, error.message)
})

/** @internal */
export interface Policy {
  readonly includeContent: boolean
  readonly redaction: Redaction | undefined
}

/** The Effect spans that a policy holds for. Spans inside of them are found by their parents. */
const policies = new WeakMap<EffectTracer.AnySpan, Policy>()

/** @internal */
export const govern = (span: EffectTracer.Span, policy: Policy): void => {
  policies.set(span, policy)
}

/**
 * The policy of the nearest span around that has one.
 *
 * @internal
 */
export const policyOf = (span: EffectTracer.AnySpan | undefined): Policy | undefined => {
  let one = span
  while (one !== undefined) {
    const policy = policies.get(one)
    if (policy !== undefined) return policy
    one = one._tag === "Span" && one.parent._tag === "Some" ? one.parent.value : undefined
  }
  return undefined
}

/**
 * An exit that says of a failure what the policy allows: of its errors the names, and what is left of their messages.
 *
 * @internal
 */
export const redactExit = (policy: Policy, exit: Exit.Exit<unknown, unknown>): Exit.Exit<unknown, unknown> => {
  if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return exit
  return Exit.failCause(
    Cause.fromReasons(
      Cause.prettyErrors(exit.cause).map(({ message, name }) => {
        const said = !policy.includeContent
          ? leftOut
          : policy.redaction === undefined
          ? message
          : redactText(policy.redaction, message)
        const error = Object.assign(new Error(said), {
          name: policy.redaction === undefined ? name : plain(policy.redaction, name)
        })
        // A stack begins with the message.
        error.stack = `${error.name}: ${said}`
        return Cause.makeDieReason(error)
      })
    )
  )
}

/** @internal */
export const redactAttribute = (policy: Policy, key: string, value: unknown): unknown =>
  policy.redaction === undefined
    ? value
    : isSecretKey(policy.redaction, key)
    ? secret
    : walk(policy.redaction, value, [])
