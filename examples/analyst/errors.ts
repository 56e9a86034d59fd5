/**
 * What went wrong, as one paragraph that says what to do.
 */
import type * as RunError from "agent-layers/run/RunError"
import type * as ModelError from "agent-layers/services/ModelError"
import type * as SandboxError from "agent-layers/services/SandboxError"
import type * as SessionError from "agent-layers/services/SessionError"
import * as CliError from "effect/cli/CliError"
import type * as Config from "effect/Config"
import * as Data from "effect/Data"
import type { PlatformError } from "effect/PlatformError"
import { oneLine } from "./render.ts"

/** A failure of the machine around the agent. */
export class AnalystError extends Data.TaggedError("AnalystError")<{
  readonly message: string
  readonly advice: string
  readonly cause?: PlatformError
}> {}

export type Failure =
  | AnalystError
  | Config.ConfigError
  | ModelError.ModelError
  | RunError.RunError
  | SandboxError.SandboxError
  | SessionError.SessionError

const modelAdvice = (reason: ModelError.ModelErrorReason): string => {
  switch (reason._tag) {
    case "Authentication":
      return "Set OPENAI_API_KEY to a key of the server that OPENAI_BASE_URL names (OpenAI's own where it is not set)"
    case "Transport":
    case "Timeout":
      return "See that the server of OPENAI_BASE_URL runs and can be reached, or ask without a model: unset OPENAI_API_KEY"
    case "UnknownModel":
      return "Set AGENT_LAYERS_MODEL to a model that the server has"
    case "QuotaExceeded":
      return "See to the account of this key, or use another key"
    case "RateLimited":
    case "Overloaded":
      return "Ask again in a while"
    case "ContextLengthExceeded":
      return "Begin another conversation: --conversation NAME"
    default:
      return "See that OPENAI_BASE_URL names a server with the Responses API, and AGENT_LAYERS_MODEL one of its models"
  }
}

const sessionAdvice = (reason: SessionError.SessionErrorReason): string => {
  switch (reason._tag) {
    case "CorruptStore":
    case "CorruptItem":
    case "Unavailable":
    case "Unsupported":
      return "Keep conversations in another file: --database FILE"
    case "VersionConflict":
      return "Another start goes on with this conversation: ask again when it is done, or use --conversation NAME"
    default:
      return "Use another conversation: --conversation NAME"
  }
}

const adviceOf = (error: Failure): string => {
  switch (error._tag) {
    case "AnalystError":
      return error.advice
    case "ModelError":
      return modelAdvice(error.reason)
    case "SessionError":
      return sessionAdvice(error.reason)
    case "SandboxError":
      return "Start it where the folder for temporary files can be written and has room"
    case "RunError":
      return error.reason._tag === "MaxTurnsExceeded" ? "Ask for less at once" : "Ask in other words"
    case "ConfigError":
      return "Correct the environment variable, or unset it"
  }
}

const sentence = (text: string) => `${text.replaceAll(/\s+/g, " ").replace(/[.\s]+$/, "")}.`

/** `turns`: how many turns of the run are stored; absent where none was to be. */
export const explain = (error: Failure, turns?: number): CliError.UserError => {
  const kept = turns === undefined
    ? ""
    : turns === 0
    ? " The conversation is as it was."
    : " The conversation keeps what had run."
  const userMessage = oneLine(`${sentence(error.message)} ${sentence(adviceOf(error))}${kept}`, 1000)
  return new CliError.UserError({ cause: error, userMessage })
}
