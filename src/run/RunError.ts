/**
 * What stops a run short, apart from failures of the model (`ModelError`), of the session (`SessionError`) and of the
 * agent's own effects. A failure that the model can mend is no error: it goes back to the model as a tool's output.
 *
 * **Logs do not hold conversations.** Messages, `JSON.stringify`, `console.error` and effect's loggers print ids, turns and
 * counts of a state, never its items, tool arguments, what a tool answered or what a guardrail found. Code reads all of it,
 * and the Schemas encode it.
 *
 * **A tool that ran is never lost.** If a run stops in the middle of a turn and a tool has started, the turn is kept as its
 * calls with an output each; only a rejected message is left out. `state` has it, and a session has stored it under the
 * operation id `<run id>/<turn>/stopped` (if that commit fails, the run logs a warning, and a resumed run stores it).
 *
 * @since 0.1.0
 */
import * as Inspectable from "effect/Inspectable"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import { errorHiding } from "../services/internal/errorHiding.ts"
import { Approval } from "./Approval.ts"
import { GuardrailResult } from "./Guardrail.ts"
import { RunState } from "./RunState.ts"

const TypeId = "~agent-layers/run/RunError" as const

const summaryOf = (state: RunState) => ({
  rootAgent: state.rootAgent,
  agent: state.agent,
  runId: state.runId,
  conversationId: state.conversationId,
  conversationVersion: state.conversationVersion,
  turns: state.turns,
  resumes: state.resumes,
  items: state.items.length,
  newItems: state.newItems.length,
  uncommitted: state.uncommitted,
  approvals: state.openTurn?.approvals.length
})

const withoutInfo = (result: GuardrailResult) => Struct.omit(result, ["info"])

const withoutArguments = (approval: Approval) => Struct.omit(approval, ["arguments"])

const hidden = {
  state: summaryOf,
  approvals: (approvals: ReadonlyArray<Approval>) => approvals.map(withoutArguments),
  result: withoutInfo,
  results: (results: ReadonlyArray<GuardrailResult>) => results.map(withoutInfo),
  text: () => undefined
}

const Reason = errorHiding(hidden)
const FailureReason = errorHiding({ ...hidden, description: () => undefined })
const Wrapper = errorHiding({ cause: () => undefined })

/**
 * The model asked for tools, or went on without an answer, in every turn that it was given. `state` has all of them.
 *
 * @category reasons
 * @since 0.1.0
 */
export class MaxTurnsExceeded extends Reason<MaxTurnsExceeded>("agent-layers/run/RunError/MaxTurnsExceeded")({
  _tag: Schema.tag("MaxTurnsExceeded"),
  maxTurns: Schema.Int,
  state: RunState
}) {
  readonly isRetryable = false
  override get message(): string {
    return `No final answer after ${this.maxTurns} turns. Raise maxTurns, or go on from the state in this error`
  }
}

/**
 * A tool's own code died (handler, `needsApproval`, `toText`, `input`): a bug in it, as against a failure that it declared.
 * `state` has the turn if a tool has started in it.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ToolDefect extends Reason<ToolDefect>("agent-layers/run/RunError/ToolDefect")({
  _tag: Schema.tag("ToolDefect"),
  tool: Schema.String,
  callId: Schema.String,
  cause: Schema.Defect(),
  state: RunState
}) {
  readonly isRetryable = false
  override get message(): string {
    const cause = this.cause instanceof Error ? this.cause.message : Inspectable.toStringUnknown(this.cause, 0)
    return `Tool "${this.tool}" died: ${cause}. ` +
      `A failure that the model should see belongs in the tool's failure schema`
  }
}

/**
 * The final answer does not have the shape that the agent's output asks for. `state` holds the answer as its last item.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidFinalOutput extends Reason<InvalidFinalOutput>("agent-layers/run/RunError/InvalidFinalOutput")({
  _tag: Schema.tag("InvalidFinalOutput"),
  text: Schema.String,
  description: Schema.String,
  state: RunState
}) {
  readonly isRetryable = false
  override get message(): string {
    return `The model's answer does not decode by the agent's output schema: ${this.description}`
  }
}

/**
 * A tool failed and its failures are not to go back to the model (`onFailure: "fail"`). `state` has the turn.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ToolFailed extends FailureReason<ToolFailed>("agent-layers/run/RunError/ToolFailed")({
  _tag: Schema.tag("ToolFailed"),
  tool: Schema.String,
  callId: Schema.String,
  description: Schema.String,
  state: RunState
}) {
  readonly isRetryable = false
  override get message(): string {
    return `Tool "${this.tool}" failed. Its answer is in \`description\``
  }
}

/**
 * A person must approve calls before the run can go on: `Runner.resume(agent, state, decisions)`. Nothing of the turn is
 * stored yet; tools of it that need no approval have run, and do not run again.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ApprovalRequired extends Reason<ApprovalRequired>("agent-layers/run/RunError/ApprovalRequired")({
  _tag: Schema.tag("ApprovalRequired"),
  approvals: Schema.Array(Approval),
  state: RunState
}) {
  readonly isRetryable = false
  override get message(): string {
    const tools = this.approvals.map(({ tool }) => tool).join(", ")
    return `A person must approve: ${tools}. Decide, and resume the run with its state`
  }
}

/**
 * A guardrail stopped the run. The message that it rejected is not stored, nor is anything else of the turn unless a tool
 * has started. An output that a tool's guardrail rejected is stored as a note that it was withheld. `results` are those of
 * all guardrails so far, the one that tripped among them.
 *
 * @category reasons
 * @since 0.1.0
 */
export class GuardrailTripped extends Reason<GuardrailTripped>("agent-layers/run/RunError/GuardrailTripped")({
  _tag: Schema.tag("GuardrailTripped"),
  result: GuardrailResult,
  results: Schema.Array(GuardrailResult),
  state: RunState
}) {
  readonly isRetryable = false
  override get message(): string {
    return `Guardrail "${this.result.name}" tripped on the ${this.result.kind} of agent "${this.result.agent}"`
  }
}

/**
 * The run was told to stop after a turn (`stopAfterTurn`). Everything up to there is stored; `Runner.resume` goes on.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Stopped extends Reason<Stopped>("agent-layers/run/RunError/Stopped")({
  _tag: Schema.tag("Stopped"),
  turn: Schema.Int,
  state: RunState
}) {
  readonly isRetryable = false
  override get message(): string {
    return `The run was stopped after turn ${this.turn}. Resume it with its state`
  }
}

/**
 * The conversation was added to or changed after the run was suspended, or the same state was resumed before. No tool
 * has run.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConversationMoved extends Reason<ConversationMoved>("agent-layers/run/RunError/ConversationMoved")({
  _tag: Schema.tag("ConversationMoved"),
  conversationId: Schema.String,
  description: Schema.String,
  state: RunState
}) {
  readonly isRetryable = false
  override get message(): string {
    return this.description
  }
}

/**
 * Another run of this process is busy with the conversation, and did not end within the time that this one was to wait
 * (`onConflict`). The model was not asked.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConversationBusy extends Schema.Error<ConversationBusy>("agent-layers/run/RunError/ConversationBusy")({
  _tag: Schema.tag("ConversationBusy"),
  conversationId: Schema.String
}) {
  readonly isRetryable = true
  override get message(): string {
    return `Another run is busy with conversation "${this.conversationId}": wait for it with onConflict: "wait"`
  }
}

/**
 * A state cannot be resumed as was asked: it is another agent's, or a decision does not fit what was asked for.
 *
 * @category reasons
 * @since 0.1.0
 */
export class StateMismatch extends Schema.Error<StateMismatch>("agent-layers/run/RunError/StateMismatch")({
  _tag: Schema.tag("StateMismatch"),
  description: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return this.description
  }
}

/**
 * The run was asked for something that means nothing.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidOptions extends Schema.Error<InvalidOptions>("agent-layers/run/RunError/InvalidOptions")({
  _tag: Schema.tag("InvalidOptions"),
  description: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return this.description
  }
}

/**
 * @category schemas
 * @since 0.1.0
 */
export const RunErrorReason = Schema.Union([
  MaxTurnsExceeded,
  ToolDefect,
  ToolFailed,
  InvalidFinalOutput,
  ApprovalRequired,
  GuardrailTripped,
  Stopped,
  ConversationMoved,
  ConversationBusy,
  StateMismatch,
  InvalidOptions
])

/**
 * @category reasons
 * @since 0.1.0
 */
export type RunErrorReason = typeof RunErrorReason.Type

/**
 * A run did not finish. Recover from single reasons with `Effect.catchReason("RunError", "MaxTurnsExceeded", …)`.
 *
 * @category errors
 * @since 0.1.0
 */
export class RunError extends Wrapper<RunError>("agent-layers/run/RunError")({
  _tag: Schema.tag("RunError"),
  agent: Schema.String,
  runId: Schema.optional(Schema.String),
  reason: RunErrorReason
}) {
  readonly [TypeId] = TypeId
  override readonly cause = this.reason

  get isRetryable(): boolean {
    return this.reason.isRetryable
  }

  override get message(): string {
    return `${this.agent}: ${this.reason.message}`
  }
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isRunError = (u: unknown): u is RunError => Predicate.hasProperty(u, TypeId)

/**
 * The same error with another state; itself, if its reason has none.
 *
 * @internal
 */
export const withState = (error: RunError, state: RunState): RunError => {
  const { agent, reason, runId } = error
  if (!("state" in reason)) return error
  const Reason = reason.constructor as unknown as {
    readonly fields: object
    new(fields: object): RunErrorReason
  }
  const fields = Object.keys(Reason.fields).map((key) => [key, reason[key as keyof typeof reason]])
  return new RunError({ agent, runId, reason: new Reason({ ...Object.fromEntries(fields), state }) })
}
