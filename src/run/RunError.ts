/**
 * What stops a run short, apart from failures of the model (`ModelError`), of the session (`SessionError`) and of the
 * agent's own effects. A failure that the model can mend is no error: it goes back to the model as a tool's output.
 *
 * @since 0.1.0
 */
import * as Inspectable from "effect/Inspectable"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { RunState } from "./RunState.ts"

const TypeId = "~agent-layers/run/RunError" as const

/**
 * The model asked for tools, or went on without an answer, in every turn that it was given. `state` has all of them.
 *
 * @category reasons
 * @since 0.1.0
 */
export class MaxTurnsExceeded extends Schema.Error<MaxTurnsExceeded>("agent-layers/run/RunError/MaxTurnsExceeded")({
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
 * A tool's handler died: a bug in it, as against a failure that it declared. `state` is from before the turn.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ToolDefect extends Schema.Error<ToolDefect>("agent-layers/run/RunError/ToolDefect")({
  _tag: Schema.tag("ToolDefect"),
  tool: Schema.String,
  callId: Schema.String,
  cause: Schema.Defect(),
  state: RunState
}) {
  readonly isRetryable = false
  override get message(): string {
    const cause = this.cause instanceof Error ? this.cause.message : Inspectable.toStringUnknown(this.cause, 0)
    return `The handler of tool "${this.tool}" died: ${cause}. ` +
      `A failure that the model should see belongs in the tool's failure schema`
  }
}

/**
 * The final answer does not have the shape that the agent's output asks for. `state` holds the answer as its last item.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidFinalOutput
  extends Schema.Error<InvalidFinalOutput>("agent-layers/run/RunError/InvalidFinalOutput")({
    _tag: Schema.tag("InvalidFinalOutput"),
    text: Schema.String,
    description: Schema.String,
    state: RunState
  })
{
  readonly isRetryable = false
  override get message(): string {
    return `The model's answer does not decode by the agent's output schema: ${this.description}`
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
export const RunErrorReason = Schema.Union([MaxTurnsExceeded, ToolDefect, InvalidFinalOutput, InvalidOptions])

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
export class RunError extends Schema.Error<RunError>("agent-layers/run/RunError")({
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
