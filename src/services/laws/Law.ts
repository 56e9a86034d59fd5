/**
 * A contract stated as named, runnable checks, independent of any test runner. The laws of each service stand in a
 * module of their own; an author of a layer runs them over it, in a test or from a command.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Formatter from "effect/Formatter"
import { identity } from "effect/Function"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/**
 * What a law saw that it should not have seen.
 *
 * @category errors
 * @since 0.1.0
 */
export class LawBroken extends Schema.Error<LawBroken>("agent-layers/services/laws/Law/LawBroken")({
  _tag: Schema.tag("LawBroken"),
  operation: Schema.String,
  expected: Schema.String,
  got: Schema.String
}) {
  override get message(): string {
    return `${this.operation}\n  expected: ${this.expected}\n  got:      ${this.got}`
  }
}

/**
 * One law over subjects of type `S`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Law<S> {
  /** The law, in one sentence. */
  readonly name: string
  /** What the subject lacks for this law to be shown, if it lacks something. */
  readonly missing?: ((subject: S) => string | undefined) | undefined
  /** Fails with `LawBroken`, or in any other way, where the law does not hold. */
  readonly check: (subject: S) => Effect.Effect<void, unknown, Scope.Scope>
}

/**
 * `NotShown` is not a pass: the subject could not produce what the law is about.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome =
  | { readonly _tag: "Held" }
  | { readonly _tag: "NotShown"; readonly missing: string }
  | { readonly _tag: "Broken"; readonly report: string }

/** How long `eventually` and `inTime` wait. */
const Patience = Context.Reference<Duration.Duration>("agent-layers/services/laws/Law/Patience", {
  defaultValue: () => Duration.seconds(30)
})

/**
 * @category options
 * @since 0.1.0
 */
export interface VerifyOptions {
  /** Repeats the random choices of a run. */
  readonly seed?: string | number | undefined
  /**
   * How long the law waits for something that must happen. A subject that keeps the law never uses it up, so leave it
   * long: only a broken subject makes the law wait to the end.
   *
   * @default "30 seconds"
   */
  readonly patience?: Duration.Input | undefined
}

/**
 * Runs one law. The report of a broken law names the law, the operation, what was expected, what was seen, and the
 * seed that repeats it.
 *
 * @category running
 * @since 0.1.0
 */
export const verify = <S>(law: Law<S>, subject: S, options?: VerifyOptions): Effect.Effect<Outcome> => {
  const missing = law.missing?.(subject)
  if (missing !== undefined) return Effect.succeed({ _tag: "NotShown", missing })
  const seed = options?.seed ?? "agent-layers"
  return Effect.scoped(law.check(subject)).pipe(
    Random.withSeed(seed),
    options?.patience === undefined
      ? identity
      : Effect.provideService(Patience, Duration.fromInputUnsafe(options.patience)),
    Effect.exit,
    Effect.map((exit): Outcome =>
      Exit.isSuccess(exit)
        ? { _tag: "Held" }
        : { _tag: "Broken", report: `${law.name}\n${Cause.pretty(exit.cause)}\n  seed:     ${seed}` }
    )
  )
}

/**
 * @category checking
 * @since 0.1.0
 */
export const equal = (operation: string, got: unknown, expected: unknown): Effect.Effect<void, LawBroken> =>
  Equal.equals(got, expected)
    ? Effect.void
    : Effect.fail(
      new LawBroken({ operation, expected: Formatter.format(expected), got: Formatter.format(got) })
    )

/**
 * @category checking
 * @since 0.1.0
 */
export const holds = (
  operation: string,
  expected: string,
  condition: boolean,
  got: unknown
): Effect.Effect<void, LawBroken> =>
  condition ? Effect.void : Effect.fail(new LawBroken({ operation, expected, got: Formatter.format(got) }))

/**
 * Runs an effect that must fail and gives its typed error.
 *
 * @category checking
 * @since 0.1.0
 */
export const failure = <A, E, R>(
  operation: string,
  expected: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<E, LawBroken, R> =>
  Effect.flatMap(Effect.exit(effect), (exit) => {
    const fail = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason) : undefined
    return fail === undefined
      ? Effect.fail(
        new LawBroken({
          operation,
          expected,
          got: Exit.isSuccess(exit) ? `success: ${Formatter.format(exit.value)}` : Cause.pretty(exit.cause)
        })
      )
      : Effect.succeed(fail.error as E)
  })

/**
 * Looks until what it sees satisfies the condition, for at most the patience of `verify`.
 *
 * @category checking
 * @since 0.1.0
 */
export const eventually = <A, E, R>(
  operation: string,
  expected: string,
  look: Effect.Effect<A, E, R>,
  isThere: (seen: A) => boolean
): Effect.Effect<A, E | LawBroken, R> =>
  Effect.flatMap(Patience, (patience) => {
    let seen: A | undefined
    const looking = Effect.gen(function*() {
      while (true) {
        const now = seen = yield* look
        if (isThere(now)) return now
        yield* Effect.sleep("20 millis")
      }
    })
    return Effect.timeoutOrElse(looking, {
      duration: patience,
      orElse: () =>
        Effect.fail(
          new LawBroken({
            operation,
            expected: `${expected}, within ${Duration.format(patience)}`,
            got: Formatter.format(seen)
          })
        )
    })
  })

/**
 * An effect that must not hang: it has to end within the patience of `verify`.
 *
 * @category checking
 * @since 0.1.0
 */
export const inTime = <A, E, R>(
  operation: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | LawBroken, R> =>
  Effect.flatMap(Patience, (patience) =>
    Effect.timeoutOrElse(effect, {
      duration: patience,
      orElse: () =>
        Effect.fail(
          new LawBroken({ operation, expected: `an end within ${Duration.format(patience)}`, got: "still running" })
        )
    }))

/**
 * Looks again and again for a while, and what it sees must satisfy the condition each time: for something that must not
 * happen and that no later event can rule out. A slow machine makes this see less; it never makes it fail.
 *
 * @category checking
 * @since 0.1.0
 */
export const stays = <A, E, R>(
  operation: string,
  expected: string,
  look: Effect.Effect<A, E, R>,
  isSo: (seen: A) => boolean,
  duration: Duration.Input
): Effect.Effect<void, E | LawBroken, R> =>
  Effect.flatMap(look, (seen) => holds(operation, expected, isSo(seen), seen)).pipe(
    Effect.repeat(Schedule.spaced("50 millis").pipe(Schedule.upTo({ duration }))),
    Effect.asVoid
  )

/**
 * Passes time, so that something that no check can see has probably happened: a listener that has subscribed, say. The
 * law must hold in the other order too.
 *
 * @category checking
 * @since 0.1.0
 */
export const allowTimeFor = (_what: string, duration: Duration.Input): Effect.Effect<void> => Effect.sleep(duration)
