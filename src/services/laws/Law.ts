/**
 * A contract stated as named, runnable checks, independent of any test runner. The laws of each service stand in a
 * module of their own; an author of a layer runs them over it, in a test or from a command.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Formatter from "effect/Formatter"
import * as Random from "effect/Random"
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

/**
 * Runs one law. The report of a broken law names the law, the operation, what was expected, what was seen, and the
 * seed that repeats it.
 *
 * @category running
 * @since 0.1.0
 */
export const verify = <S>(
  law: Law<S>,
  subject: S,
  options?: { readonly seed?: string | number | undefined }
): Effect.Effect<Outcome> => {
  const missing = law.missing?.(subject)
  if (missing !== undefined) return Effect.succeed({ _tag: "NotShown", missing })
  const seed = options?.seed ?? "agent-layers"
  return Effect.scoped(law.check(subject)).pipe(
    Random.withSeed(seed),
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
