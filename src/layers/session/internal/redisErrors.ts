import { identity } from "effect/Function"
import * as Logger from "effect/Logger"
import * as Predicate from "effect/Predicate"
import * as SessionError from "../../../services/SessionError.ts"

/**
 * Why a command did not succeed.
 *
 * - `busy`: the server takes no commands at the moment. Nothing happened.
 * - `lost`: nobody said how it ended.
 * - `final`: trying again does not help.
 *
 * @internal
 */
export class Failure {
  readonly kind: "busy" | "lost" | "final"
  readonly reason: SessionError.SessionErrorReason
  constructor(kind: Failure["kind"], reason: SessionError.SessionErrorReason) {
    this.kind = kind
    this.reason = reason
  }
}

/** @internal */
export const fail = (reason: SessionError.SessionErrorReason): Failure => new Failure("final", reason)

/** What the server says begins with one of these, in scripts of older servers it only holds it. */
const codes =
  /\b(NOAUTH|WRONGPASS|NOPERM|WRONGTYPE|OOM|READONLY|MISCONF|NOREPLICAS|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|MOVED|ASK|CROSSSLOT|NOSCRIPT|ERR|UNKILLABLE)\b/

/** Errors of the driver for commands that were never written to a connection. */
const unsent = new Set(["TimeoutError", "AbortError", "ClientClosedError", "ClientOfflineError"])

const nameOf = (error: unknown): string =>
  Predicate.hasProperty(error, "constructor") && typeof error.constructor === "function" ? error.constructor.name : ""

/** Unwraps `RedisError`, whose own message is empty. */
const said = (error: unknown, scrub: (text: string) => string): { readonly name: string; readonly cause: Error } => {
  const inner = Predicate.hasProperty(error, "_tag") && error._tag === "RedisError" &&
      Predicate.hasProperty(error, "cause")
    ? error.cause
    : error
  const code = Predicate.hasProperty(inner, "code") && typeof inner.code === "string" ? inner.code : ""
  const text = inner instanceof Error ? inner.message : String(inner)
  return { name: nameOf(inner), cause: new Error(scrub(text === "" ? code : text)) }
}

/**
 * The loggers of a fiber, for what the client's own layer logs: errors without secrets.
 *
 * @internal
 */
export const scrubLoggers = (
  loggers: ReadonlySet<Logger.Logger<unknown, unknown>>,
  scrub: (text: string) => string
): ReadonlySet<Logger.Logger<unknown, unknown>> => {
  const scrubbed = (one: unknown) => one instanceof Error ? said(one, scrub).cause : one
  return new Set(Array.from(loggers, (logger) =>
    Logger.make<unknown, unknown>((options) => {
      const { message } = options
      return logger.log({
        ...options,
        message: Array.isArray(message) ? message.map(scrubbed) : scrubbed(message)
      })
    })))
}

/** @internal */
export const isNoScript = (error: unknown): boolean =>
  codes.exec(said(error, identity).cause.message)?.[1] === "NOSCRIPT"

/** @internal */
export const corrupt = (description: string): SessionError.CorruptStore =>
  new SessionError.CorruptStore({
    description: `${description}. Use another prefix, or restore a backup`
  })

/** @internal */
export const toFailure = (
  error: unknown,
  options: {
    readonly server: string
    /** Takes secrets out of what the server says: of a command that it does not know, Redis quotes the arguments. */
    readonly scrub: (text: string) => string
    readonly during: "connect" | "read" | "write"
  }
): Failure => {
  const { during, scrub, server } = options
  const { cause, name } = said(error, scrub)
  const { message } = cause
  const unavailable = (kind: Failure["kind"], description: string, isOutcomeUnknown = false) =>
    new Failure(kind, new SessionError.Unavailable({ description, isOutcomeUnknown, cause }))
  const unsupported = (description: string) => fail(new SessionError.Unsupported({ description }))

  switch (codes.exec(message)?.[1]) {
    case "NOAUTH":
    case "WRONGPASS":
      return unavailable("final", `${server} refused the credentials (${message}): check user and password`)
    case "NOPERM":
      return unsupported(
        `The user of ${server} may not do this (${message}): allow SCRIPT LOAD, EVALSHA, EVAL and the keys`
      )
    case "WRONGTYPE":
      return fail(corrupt(`${server} has keys of another program where those of sessions should be (${message})`))
    case "OOM":
      return unavailable("final", `${server} has no memory left (${message}). Nothing was changed`)
    case "READONLY":
      return unavailable("final", `${server} is read-only (${message}): connect to the primary`)
    case "MISCONF":
    case "NOREPLICAS":
      return unavailable("final", `${server} takes no writes (${message}). Nothing was changed`)
    case "LOADING":
    case "MASTERDOWN":
    case "CLUSTERDOWN":
    case "TRYAGAIN":
    case "BUSY":
      return unavailable("busy", `${server} takes no commands now (${message}). Nothing was changed`)
    case "MOVED":
    case "ASK":
    case "CROSSSLOT":
      return unsupported(`${server} is a cluster (${message}): provide a Redis service that speaks to clusters`)
    case "ERR":
      return unavailable("final", `${server} failed: ${message}`, during === "write")
    default:
  }
  if (during === "connect") return unavailable("final", `Cannot connect to ${server} (${message})`)
  return unsent.has(name)
    ? unavailable("final", `There is no connection to ${server} (${message}). Nothing was changed`)
    : unavailable("lost", `The connection to ${server} broke (${message})`, during === "write")
}
