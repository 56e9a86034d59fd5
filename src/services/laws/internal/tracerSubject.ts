import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { SpanData, Trace, TraceProcessor } from "../../Tracer.ts"
import * as Tracer from "../../Tracer.ts"
import * as Usage from "../../Usage.ts"
import * as Law from "../Law.ts"

/**
 * A span as it arrived. Members that the subject listed in `cannot` are not looked at.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seen {
  /** Contains the name that the law gave, and no other's. */
  readonly name: string
  /** The `name` of the span it is in, where that one arrived too. */
  readonly parent: string | undefined
  readonly outcome: "succeeded" | "failed" | "interrupted"
  /** Everything that was recorded of it, as text: content, tokens, error. */
  readonly text: string
  /** How long it took. */
  readonly millis?: number | undefined
  readonly traceId?: string | undefined
  /** The id of the span it is in, whosever that is. */
  readonly parentId?: string | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Opened {
  /** What the Layer built: the law's programs run in it. */
  readonly context: Context.Context<never>
  /** The spans that arrived, in the order in which they were recorded. Called after a flush. */
  readonly seen: Effect.Effect<ReadonlyArray<Seen>>
  /** The traces that are over. */
  readonly traces?: Effect.Effect<ReadonlyArray<Omit<Trace, "traceId" | "rootSpanId">>> | undefined
  /** How many spans were dropped for want of room. */
  readonly dropped?: Effect.Effect<number> | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export type Ability =
  /** Spans arrive in the order in which they ended. */
  | "order"
  | "content"
  /** `Seen.millis`. */
  | "times"
  /** `Seen.traceId` and `Seen.parentId`. */
  | "ids"
  /** `Opened.traces`. */
  | "traces"
  /** `Opened.dropped`. */
  | "dropped"
  /** What it recorded can be read after its scope has closed. */
  | "afterClose"

/**
 * @category models
 * @since 0.1.0
 */
export interface Subject {
  /** Builds the Layer merged with another, as a program would that has both. */
  readonly open: (beside: Layer.Layer<never>) => Effect.Effect<Opened, unknown, Scope.Scope>
  /** How many spans it surely holds. */
  readonly capacity: number
  /** Default: nothing. */
  readonly cannot?: ReadonlyArray<Ability> | undefined
}

/**
 * A subject of a Layer and of how to read what it recorded.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromLayer = <S, E>(
  layer: Layer.Layer<S, E>,
  read: (context: Context.Context<S>) => Omit<Opened, "context">,
  options: Omit<Subject, "open">
): Subject => ({
  ...options,
  open: (beside) =>
    Effect.map(Layer.build(Layer.merge(beside, layer)), (context) => ({
      ...read(context),
      context: context as Context.Context<never>
    }))
})

export class LawFailure extends Schema.Error<LawFailure>("agent-layers/services/laws/TracerLaws/LawFailure")({
  _tag: Schema.tag("LawFailure"),
  description: Schema.String
}) {
  override get message(): string {
    return this.description
  }
}

export const span = <A, E>(
  name: string,
  effect: Effect.Effect<A, E>,
  options?: { readonly input?: string; readonly output?: string; readonly usage?: Usage.Usage }
): Effect.Effect<A, E> =>
  options?.usage === undefined
    ? Tracer.withSpan(
      effect,
      () => ({ _tag: "Tool", name, callId: `call_${name}`, ...(options?.input === undefined ? {} : options) }) as const,
      () => options?.output === undefined ? {} : { output: options.output }
    )
    : Tracer.withSpan(effect, (): Extract<SpanData, { readonly _tag: "Generation" }> => ({
      _tag: "Generation",
      provider: "law",
      model: name
    }), () => ({ usage: options.usage! }))

export const trace = <A, E>(
  name: string,
  effect: Effect.Effect<A, E>,
  fields?: Partial<Omit<Trace, "traceId" | "rootSpanId">>
): Effect.Effect<A, E> =>
  Tracer.withSpan(effect, () => ({ _tag: "Agent", agent: name }) as const, undefined, {
    trace: { workflowName: name, ...fields }
  })

export const nothing: Layer.Layer<never> = Layer.empty

export const run = <A, E>(opened: Opened, effect: Effect.Effect<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.exit(Effect.provideContext(effect, opened.context))

export const flush = (opened: Opened): Effect.Effect<void> => Context.get(opened.context, Tracer.Tracer).flush

export const flushed = (opened: Opened) => Effect.andThen(flush(opened), opened.seen)

export const law = (
  name: string,
  needs: ReadonlyArray<Ability>,
  check: (subject: Subject) => Effect.Effect<void, unknown, Scope.Scope>
): Law.Law<Subject> => ({
  name,
  missing: (subject) => {
    const lacks = needs.find((need) => subject.cannot?.includes(need))
    return lacks === undefined ? undefined : `the subject cannot show: ${lacks}`
  },
  check
})

export const opening = (
  f: (opened: Opened, subject: Subject) => Effect.Effect<void, unknown, Scope.Scope>
) =>
(subject: Subject) => Effect.flatMap(subject.open(nothing), (opened) => f(opened, subject))

export const named = (seen: ReadonlyArray<Seen>, name: string) => seen.filter((one) => one.name.includes(name))

export const only = (
  operation: string,
  seen: ReadonlyArray<Seen>,
  name: string
): Effect.Effect<Seen, Law.LawBroken> => {
  const found = named(seen, name)
  return Effect.as(
    Law.holds(
      operation,
      `one span with ${name} in its name`,
      found.length === 1,
      found.length === 0 ? seen.map((one) => one.name) : found
    ),
    found[0]!
  )
}

export const times = (names: ReadonlyArray<string>, seen: ReadonlyArray<Seen>) =>
  names.map((name) => `${name}: ${named(seen, name).length}`)

export const once = (operation: string, seen: ReadonlyArray<Seen>, names: ReadonlyArray<string>) =>
  Law.equal(`${operation}: how often each span arrived`, times(names, seen), names.map((name) => `${name}: 1`))

export const letters = ["alpha", "beta", "gamma", "delta"]

/** Two parents at once, each with children at once. */
export const parallel = trace(
  "root-law",
  Effect.forEach(["left", "right"], (side) =>
    span(
      `parent-${side}`,
      Effect.forEach(letters, (letter) => span(`${letter}-of-${side}`, Effect.yieldNow), { concurrency: "unbounded" })
    ), { concurrency: "unbounded" })
)

export const tree = [
  "root-law",
  ...["left", "right"].flatMap((side) => [`parent-${side}`, ...letters.map((letter) => `${letter}-of-${side}`)])
]

export const dying: ReadonlyArray<TraceProcessor> = [
  {
    onTraceStart: () => Effect.die(new Error("onTraceStart died")),
    onSpanStart: () => Effect.die(new Error("onSpanStart died")),
    onSpanEnd: () => Effect.die(new Error("onSpanEnd died")),
    onTraceEnd: () => Effect.die(new Error("onTraceEnd died")),
    flush: Effect.die(new Error("flush died"))
  },
  {
    onSpanStart: () => {
      throw new Error("onSpanStart threw")
    },
    onSpanEnd: () => {
      throw new Error("onSpanEnd threw")
    }
  },
  {
    onSpanStart: () => Effect.interrupt,
    onSpanEnd: () => Effect.interrupt
  }
]

/** A clock that stands still until it is told otherwise, in a year in which nanoseconds no longer fit a double. */
export const stoppedClock = () => {
  let now = 1_700_000_000_000_000_000n
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => Number(now / 1_000_000n),
    currentTimeMillis: Effect.sync(() => Number(now / 1_000_000n)),
    currentTimeNanosUnsafe: () => now,
    currentTimeNanos: Effect.sync(() => now),
    monotonicTimeNanosUnsafe: () => now,
    monotonicTimeNanos: Effect.sync(() => now),
    sleep: () => Effect.void
  }
  const advance = (millis: number) =>
    Effect.sync(() => {
      now += BigInt(Math.round(millis * 1000)) * 1000n
    })
  return { clock, advance }
}

export const canary = "canary-1f9e"
