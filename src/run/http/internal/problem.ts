/**
 * What a client is told of a failure: a fixed text for each reason, so that no cause, key or stack leaves the process.
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as ModelError from "../../../services/ModelError.ts"
import * as SessionError from "../../../services/SessionError.ts"
import * as RunError from "../../RunError.ts"

/** @see https://www.rfc-editor.org/rfc/rfc9457 */
export interface Problem {
  readonly type: "about:blank"
  readonly title: string
  readonly status: number
  readonly detail: string
  /** What programs decide by. */
  readonly code: string
  /** Seconds. */
  readonly retryAfter?: number
  /** The field of the body that is to blame, where clients are told. */
  readonly param?: string
  /** With the code `failed-after-tools`: the code of what failed. */
  readonly reason?: string
  /** Turns of the run are stored: the same request would store its input once more. Not told to clients. */
  readonly isStored?: boolean
}

export class Refusal extends Data.TaggedError("Refusal")<{
  readonly problem: Problem
  readonly headers?: Readonly<Record<string, string>>
}> {}

const titles: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  410: "Gone",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout"
}

export const problem = (status: number, code: string, detail: string, retryAfter?: number): Problem => ({
  type: "about:blank",
  title: titles[status] ?? "Error",
  status,
  detail,
  code,
  ...(retryAfter === undefined ? undefined : { retryAfter })
})

export const refuse = (
  ...args: Parameters<typeof problem>
): Refusal => new Refusal({ problem: problem(...args) })

/**
 * A failure after tools have run. Clients send a request again by themselves after 408, 409, 422, 429 and 5xx, which would
 * run the tools again; none does after 400.
 */
export const afterTools = ({ code, detail }: Problem): Problem => ({
  ...problem(
    400,
    "failed-after-tools",
    `The run failed after tools had run, and sending the request again would run them again. ${detail}`
  ),
  reason: code
})

const refusals = {
  401: "unauthorized",
  403: "forbidden",
  404: "not-found",
  429: "too-many-requests",
  503: "unavailable"
} as const

/** Of who has to say whose a request is. */
export const refusalOf = ({ challenge, detail, status }: {
  readonly status: keyof typeof refusals
  readonly detail: string
  readonly challenge?: string | undefined
}): Refusal =>
  new Refusal({
    problem: problem(status, refusals[status], detail),
    ...(challenge === undefined ? undefined : { headers: { "www-authenticate": challenge } })
  })

/** Status, code and text of a reason. */
type Row = readonly [status: number, code: string, detail: string]

const model: Readonly<Record<ModelError.ModelErrorReason["_tag"], Row>> = {
  RateLimited: [503, "model-rate-limited", "The model provider takes no more requests for now. Try again later."],
  QuotaExceeded: [503, "model-quota-exceeded", "The model provider's quota is used up."],
  Overloaded: [503, "model-overloaded", "The model provider failed or has no capacity. Try again later."],
  Timeout: [504, "model-timeout", "The model provider did not answer in time. Try again later."],
  Transport: [502, "model-unreachable", "The connection to the model provider failed. Try again later."],
  Authentication: [502, "model-authentication", "The model provider does not accept this server's credentials."],
  InvalidRequest: [502, "model-invalid-request", "The model provider did not accept the request of this server."],
  ContextLengthExceeded: [422, "context-length-exceeded", "The conversation is too long for the model. Start another."],
  ContentFiltered: [422, "content-filtered", "The model provider's content filter stopped the answer."],
  Refused: [422, "model-refused", "The model refused to answer in the form that was asked for."],
  InvalidOutput: [502, "model-invalid-output", "The model's answer cannot be used."],
  UnknownModel: [502, "model-unknown", "The model provider does not know the model of this agent."],
  Unsupported: [502, "model-unsupported", "The model provider cannot do what this agent asks for."]
}

const session: Readonly<Record<SessionError.SessionErrorReason["_tag"], Row>> = {
  Unavailable: [503, "session-unavailable", "Conversations cannot be read or stored for now. Try again later."],
  VersionConflict: [
    409,
    "version-conflict",
    "Another run changed the conversation meanwhile. Read the conversation and ask again."
  ],
  OperationMismatch: [500, "session-failed", "The conversation could not be stored."],
  CorruptItem: [500, "session-failed", "The conversation cannot be read."],
  DecryptionFailed: [500, "session-failed", "The conversation cannot be read."],
  LimitExceeded: [413, "session-limit-exceeded", "The conversation is larger than what can be stored. Start another."],
  CursorExpired: [410, "cursor-expired", "The cursor points into content that is gone. Read from the start."],
  InvalidInput: [400, "invalid-input", "The conversation id or cursor is not one that can be used here."],
  CorruptStore: [500, "session-failed", "Conversations cannot be read."],
  Unsupported: [501, "session-unsupported", "Where this server keeps conversations, this cannot be done."],
  Closed: [503, "session-unavailable", "The server is stopping. Try again later."]
}

const run: Readonly<Record<RunError.RunErrorReason["_tag"], Row>> = {
  MaxTurnsExceeded: [500, "max-turns-exceeded", "The agent came to no answer within the turns that it is given."],
  ToolDefect: [500, "tool-failed", "A tool of the agent failed."],
  ToolFailed: [500, "tool-failed", "A tool of the agent failed."],
  InvalidFinalOutput: [502, "invalid-final-output", "The agent's answer does not have the form that it has to have."],
  ApprovalRequired: [409, "approval-required", "A person must approve what the agent wants to do before it goes on."],
  GuardrailTripped: [422, "guardrail-tripped", "A guardrail of the agent stopped the run."],
  Stopped: [503, "stopped", "The run was stopped before it was finished."],
  ConversationMoved: [409, "conversation-moved", "The conversation changed after the run was suspended."],
  ConversationBusy: [
    409,
    "conversation-busy",
    "Another run is busy with the conversation. Wait for it to end and ask again."
  ],
  StateMismatch: [409, "state-mismatch", "The run cannot be resumed as was asked."],
  InvalidOptions: [400, "invalid-options", "The input or the conversation id is not one that a run can start with."]
}

const ofRow = ([status, code, detail]: Row, retryAfter?: Duration.Duration): Problem =>
  problem(status, code, detail, retryAfter === undefined ? undefined : Math.ceil(Duration.toSeconds(retryAfter)))

const failed: Row = [500, "run-failed", "The run failed."]

/** Of whatever a run or a session fails with; an agent's own errors are the server's affair. */
export const problemOf = (error: unknown): Problem => {
  if (error instanceof Refusal) return error.problem
  if (ModelError.isModelError(error)) {
    return ofRow(model[error.reason._tag], "retryAfter" in error.reason ? error.reason.retryAfter : undefined)
  }
  if (SessionError.isSessionError(error)) return ofRow(session[error.reason._tag])
  if (RunError.isRunError(error)) return ofRow(run[error.reason._tag])
  return ofRow(failed)
}

export const respond = (
  { retryAfter, ...problem }: Problem,
  headers?: Readonly<Record<string, string>>
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe(problem, {
    status: problem.status,
    contentType: "application/problem+json",
    headers: {
      "cache-control": "no-store",
      ...(retryAfter === undefined ? undefined : { "retry-after": String(retryAfter) }),
      ...headers
    }
  })
