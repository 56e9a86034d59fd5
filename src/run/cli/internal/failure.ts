import * as CliError from "effect/cli/CliError"
import * as Data from "effect/Data"
import * as Formatter from "effect/Formatter"
import * as Predicate from "effect/Predicate"

/**
 * Why a command ends without having done what it was asked for. `usage`: it was asked for something that means nothing.
 */
export class Failure extends Data.TaggedError("Failure")<{
  readonly message: string
  readonly kind: "failed" | "usage"
  /** What to do about it. */
  readonly doNext?: string | undefined
  readonly cause?: unknown
  /** Whether the answer of the command has said so already. */
  readonly isTold?: boolean | undefined
}> {}

/** Nobody reads what is written any more (`| head`): an end, not a failure. */
export class OutputClosed extends Data.TaggedError("OutputClosed") {}

export const failed = (message: string, doNext?: string, cause?: unknown): Failure =>
  new Failure({ message, kind: "failed", doNext, cause })

/** What a command found, and has printed, is a failure. `message` is for those who read no JSON. */
export const found = (message: string, isTold: boolean): Failure => new Failure({ message, kind: "failed", isTold })

export const misused = (message: string, doNext?: string): Failure => new Failure({ message, kind: "usage", doNext })

/** A failure as it is told. */
export interface Told {
  readonly code: 1 | 2
  readonly error: string
  readonly reason: string | undefined
  readonly message: string
  readonly doNext: string | undefined
}

const modelAdvice: Readonly<Record<string, string>> = {
  Authentication: "Set OPENAI_API_KEY to a key of the server that is asked, or correct the key in the configuration",
  Transport: "See that the server runs and can be reached (OPENAI_BASE_URL), or unset OPENAI_API_KEY to work offline",
  Timeout: "See that the server runs and can be reached (OPENAI_BASE_URL), or unset OPENAI_API_KEY to work offline",
  UnknownModel: "Name a model that the server has: AGENT_LAYERS_MODEL, or --model",
  QuotaExceeded: "See to the account of this key, or use another key",
  RateLimited: "Ask again in a while",
  Overloaded: "Ask again in a while",
  ContextLengthExceeded: "Begin another conversation: --conversation NAME",
  Unsupported: "The model in use cannot do that; choose another one"
}

const sessionAdvice: Readonly<Record<string, string>> = {
  VersionConflict: "Somebody else goes on with this conversation: try again when they are done",
  DecryptionFailed: "See that the key ring has the key that it was sealed with",
  Unsupported: "Choose a backend that can do it: agent-layers extensions list"
}

const runAdvice: Readonly<Record<string, string>> = {
  ApprovalRequired: "Run it in a terminal, which asks, or decide beforehand: --approve all, or --approve none",
  MaxTurnsExceeded: "Ask for less at once",
  ConversationBusy: "Try again when the other run is done"
}

const advice: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  ModelError: modelAdvice,
  SessionError: sessionAdvice,
  RunError: runAdvice
}

const textOf = (error: unknown): string =>
  Predicate.hasProperty(error, "message") && typeof error.message === "string" && error.message !== ""
    ? error.message
    : typeof error === "string"
    ? error
    : Formatter.format(error)

/** The messages of these reasons leave out the words of a tool or the model. A terminal shows those words. */
const withWords: ReadonlySet<unknown> = new Set(["ToolFailed", "Refused"])

const wordsOf = (error: unknown): string =>
  Predicate.hasProperty(error, "reason") && Predicate.hasProperty(error.reason, "_tag") &&
    withWords.has(error.reason._tag) && Predicate.hasProperty(error.reason, "description")
    ? `: ${String(error.reason.description)}`
    : ""

/** Any failure of a command, in words. */
export const tell = (error: unknown): Told => {
  if (error instanceof Failure) {
    return {
      code: error.kind === "usage" ? 2 : 1,
      error: error.kind === "usage" ? "Usage" : "Failure",
      reason: undefined,
      message: error.message,
      doNext: error.doNext
    }
  }
  if (CliError.isCliError(error)) {
    return {
      code: error._tag === "UserError" ? 1 : 2,
      error: "Usage",
      reason: error._tag,
      message: error.message,
      doNext: undefined
    }
  }
  const tag = Predicate.hasProperty(error, "_tag") && typeof error._tag === "string" ? error._tag : "Error"
  const reason = Predicate.hasProperty(error, "reason") && Predicate.hasProperty(error.reason, "_tag") &&
      typeof error.reason._tag === "string"
    ? error.reason._tag
    : undefined
  return {
    code: 1,
    error: tag,
    reason,
    message: `${textOf(error)}${wordsOf(error)}`,
    doNext: reason === undefined ? undefined : advice[tag]?.[reason]
  }
}

const sentence = (text: string): string => /[.!?]$/.test(text) ? text : `${text}.`

export const line = ({ doNext, message }: Told): string =>
  doNext === undefined ? message.trimEnd() : `${sentence(message.trim())} ${sentence(doNext)}`
