/**
 * A failure in an operator's log: names, and where in the code. No message, because messages quote conversations,
 * arguments of tools and keys.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as ModelError from "../../../services/ModelError.ts"
import * as SessionError from "../../../services/SessionError.ts"
import * as RunError from "../../RunError.ts"
import { type Problem, Refusal } from "./problem.ts"

const nameOf = (u: unknown): string | undefined => typeof u === "string" && /^[\w$./@-]{1,100}$/.test(u) ? u : undefined

/** Where the first frame of a stack is, which begins after the message. */
const placeOf = ({ message, stack = "" }: Error): string => {
  const start = stack.indexOf(message)
  const frame = start < 0 ? undefined : /^[^\n]*\n\s+at ([^\n]+)/.exec(stack.slice(start + message.length))?.[1]
  const place = /(?:^|\()((?:file:\/\/|node:|\/|[A-Za-z]:\\)[^()]{1,300}:\d+:\d+)\)?$/.exec(frame ?? "")?.[1]
  return place === undefined ? "" : ` at ${place}`
}

const partsOf = (fields: Readonly<Record<string, unknown>>): string =>
  Object.entries(fields)
    .map(([name, value]) => [name, typeof value === "number" ? String(value) : nameOf(value)] as const)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `, ${name} ${value}`)
    .join("")

const ofRun = (reason: RunError.RunErrorReason): string => {
  switch (reason._tag) {
    case "ToolDefect":
      return `${partsOf({ tool: reason.tool })}: ${reasonOf(reason.cause)}`
    case "ToolFailed":
      return partsOf({ tool: reason.tool })
    case "GuardrailTripped":
      return partsOf({ guardrail: reason.result.name, kind: reason.result.kind })
    case "MaxTurnsExceeded":
      return partsOf({ maxTurns: reason.maxTurns })
    default:
      return ""
  }
}

export const reasonOf = (error: unknown): string => {
  if (error instanceof Refusal) return error.problem.code
  if (RunError.isRunError(error)) return `RunError ${error.reason._tag}${ofRun(error.reason)}`
  if (ModelError.isModelError(error)) {
    const { provider, reason } = error
    return `ModelError ${reason._tag}${partsOf({ provider, status: reason.status, request: reason.requestId })}`
  }
  if (SessionError.isSessionError(error)) {
    const { backend, operation, reason } = error
    return `SessionError ${reason._tag}${partsOf({ backend, operation })}`
  }
  const tag = Predicate.hasProperty(error, "_tag") ? nameOf(error._tag) : undefined
  return error instanceof Error
    ? `${tag ?? nameOf(error.name) ?? "Error"}${placeOf(error)}`
    : tag ?? `a failure that is not an Error, of type ${typeof error}`
}

/** Logs why a run failed: an error if the server is at fault, otherwise a warning. */
export const logFailure = (
  error: unknown,
  problem: Problem,
  { agent, runId }: { readonly agent: string; readonly runId: string | undefined }
): Effect.Effect<void> => {
  const reason = reasonOf(error)
  const which = runId === undefined ? "A run" : `Run ${runId}`
  const log = problem.status >= 500 ? Effect.logError : Effect.logWarning
  return Effect.annotateLogs(log(`${which} of agent ${agent} failed: ${reason}`), {
    agent,
    reason,
    ...(runId === undefined ? undefined : { runId })
  })
}
