import * as Predicate from "effect/Predicate"
import type { SqlError } from "effect/sql/SqlError"
import * as SessionError from "../../../services/SessionError.ts"

/**
 * Why a statement, or a whole operation, did not succeed.
 *
 * - `moved`: somebody else was faster. Nothing happened, and it can be done anew.
 * - `refused`: the server undid it (deadlock, serialization). Nothing happened, and it can be done anew.
 * - `full`: no connection was to be had. Nothing was sent.
 * - `lost`: nobody said how it ended.
 * - `final`: trying again does not help.
 *
 * @internal
 */
export class Failure {
  readonly kind: "moved" | "refused" | "full" | "lost" | "final"
  readonly reason: SessionError.SessionErrorReason
  constructor(kind: Failure["kind"], reason: SessionError.SessionErrorReason) {
    this.kind = kind
    this.reason = reason
  }
}

/** @internal */
export const isFailure = (u: unknown): u is Failure => u instanceof Failure

/** @internal */
export const fail = (reason: SessionError.SessionErrorReason): Failure => new Failure("final", reason)

/** @internal */
export const moved: Failure = new Failure(
  "moved",
  new SessionError.Unavailable({
    description: "Others kept changing the conversation while it was being changed. Nothing was changed",
    isOutcomeUnknown: false
  })
)

/** What the server said, without its detail: that quotes the content of rows. */
const said = (
  error: SqlError,
  scrub: (text: string) => string
): { readonly code: string | undefined; readonly cause: Error } => {
  const { cause } = error.reason
  const hasCode = Predicate.hasProperty(cause, "code") && typeof cause.code === "string"
  const code = hasCode ? cause.code as string : undefined
  const text = cause instanceof Error && cause.message !== "" ? cause.message : code ?? error.message
  return { code, cause: Object.assign(new Error(scrub(text)), code === undefined ? {} : { code }) }
}

const isSqlState = (code: string): boolean => /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code)

/**
 * What an error of the driver means.
 *
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 * @internal
 */
export const toFailure = (
  error: SqlError,
  options: {
    readonly server: string
    /** Takes secrets out of what the server says. */
    readonly scrub: (text: string) => string
    /** What was being done when it failed. */
    readonly during: "connect" | "read" | "write"
  }
): Failure => {
  const { during, scrub, server } = options
  const { cause, code } = said(error, scrub)
  const state = code !== undefined && isSqlState(code) ? code : undefined
  const unavailable = (kind: Failure["kind"], description: string, isOutcomeUnknown = false) =>
    new Failure(kind, new SessionError.Unavailable({ description, isOutcomeUnknown, cause }))
  const unsupported = (description: string) => fail(new SessionError.Unsupported({ description }))
  const corrupt = (description: string) => fail(new SessionError.CorruptStore({ description, cause }))

  if (state === "53300" || state === "57P03") {
    return unavailable("full", `${server} takes no more connections now (${cause.message})`)
  }
  if (state?.startsWith("28")) {
    return unavailable("final", `${server} refused the credentials (${cause.message}): check user and password`)
  }
  if (state === "3D000") return unavailable("final", `${server} has no such database (${cause.message}): create it`)
  if (during === "connect") return unavailable("final", `Cannot connect to ${server} (${cause.message})`)

  if (state === undefined || state.startsWith("08") || state === "57P01" || state === "57P02" || state === "57P05") {
    return unavailable("lost", `The connection to ${server} broke (${cause.message})`, during === "write")
  }
  switch (state) {
    case "40001":
    case "40P01":
    case "55P03":
      return unavailable("refused", `${server} undid the statement because of others (${cause.message})`)
    case "23505":
      return moved
    case "57014":
      return unavailable("final", `${server} cancelled the statement (${cause.message}). Nothing was changed`)
    case "42501":
      return unsupported(
        `The user of ${server} may not do this (${cause.message}): grant it, or pass a schema that it owns`
      )
    case "25006":
      return unavailable("final", `${server} is read-only: connect to the primary`)
    case "53100":
      return unavailable("final", `${server} has no room left on its disk. Nothing was changed`)
    case "22021":
      return fail(
        new SessionError.InvalidInput({ description: "A text holds a character that PostgreSQL cannot keep (NUL)" })
      )
    default:
  }
  if (state.startsWith("42")) {
    return corrupt(
      `The session tables in ${server} are not as this program makes them (${cause.message}, code ${state}). ` +
        `Use another schema or prefix, or restore a backup`
    )
  }
  if (state.startsWith("XX")) return corrupt(`${server} reports damage (${cause.message}, code ${state})`)
  return state.startsWith("54")
    ? unsupported(`${server} cannot store this: ${cause.message}`)
    : unavailable("final", `${server} failed: ${cause.message} (code ${state}). Nothing was changed`)
}
