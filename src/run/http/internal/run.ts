/** One run, and what its errors mean for it. */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import type * as Deferred from "effect/Deferred"
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { isFunctionCall, isFunctionCallOutput } from "../../../services/Item.ts"
import { isSessionError } from "../../../services/SessionError.ts"
import type * as Agent from "../../Agent.ts"
import type { RunInput } from "../../RunConfig.ts"
import { type ApprovalRequired, isRunError } from "../../RunError.ts"
import type { RunEvent } from "../../RunEvent.ts"
import type * as EventLog from "./eventLog.ts"
import { type Problem, problem, problemOf, Refusal } from "./problem.ts"
import type * as Told from "./told.ts"

export type Stopper = "client" | "shutdown"

/** Whose a run is, and what it runs on. */
export interface Owner {
  readonly tenant: string | undefined
  readonly stack: Effect.Effect<Context.Context<any>, Refusal, Scope.Scope>
}

export interface Order extends Owner {
  readonly name: string
  readonly agent: Agent.Any
  readonly input: RunInput
  readonly conversationId: string | undefined
}

export interface Run extends Owner {
  readonly id: string
  /** The name that clients use. */
  readonly name: string
  /** The agent that the run began with, whoever answers now. */
  readonly agent: Agent.Any
  readonly conversationId: string | undefined
  readonly startedAt: number
  readonly log: EventLog.EventLog
  /** The calls by which it was handed on, in order. */
  readonly handoffs: Array<string>
  status: "running" | "waiting" | "completed" | "failed" | "cancelled"
  /** What it waits for and goes on from, until decisions are taken. The state stays in this process. */
  suspended: ApprovalRequired | undefined
  /** Done when the run ends or comes to wait; another one when it goes on. */
  rested: Deferred.Deferred<void>
  fiber: () => Fiber.Fiber<void>
  finishedAt: number | undefined
  result: Told.Summary | undefined
  problem: Problem | undefined
  stopper: Stopper | undefined
  /** Tools that ran: another run would run them again. */
  readonly ranTools: Set<string>
}

export interface Ending {
  readonly status: "failed" | "cancelled"
  readonly problem: Problem
}

export const stopped: Readonly<Record<Stopper, Problem>> = {
  client: problem(409, "cancelled", "The run was cancelled."),
  shutdown: problem(503, "stopped", "The server stopped before the run was finished.")
}

export const expired: Ending = {
  status: "failed",
  problem: problem(
    409,
    "approval-expired",
    "The run waited for a person's approval, and nobody decided in time. Start another."
  )
}

/** Notes which tools ran: those of the agent, of agents that it called, and of the provider. */
export const noteTools = (ran: Set<string>, event: RunEvent<unknown>): void => {
  switch (event._tag) {
    case "ToolStarted":
      ran.add(event.callId)
      break
    case "Nested":
      noteTools(ran, event.event)
      break
    case "ItemDone":
      if (event.item.type?.endsWith("_call") === true && !isFunctionCall(event.item)) ran.add(event.item.type)
  }
}

/** Notes the outputs of calls in the state that an error carries: those of turns whose events are not known here, too. */
export const noteOutputs = (ran: Set<string>, error: unknown): void => {
  if (!isRunError(error) || !("state" in error.reason)) return
  for (const item of error.reason.state.newItems) if (isFunctionCallOutput(item)) ran.add(item.call_id)
}

export const errorOf = (cause: Cause.Cause<unknown>): unknown => Option.getOrUndefined(Cause.findErrorOption(cause))

export const endingOf = (cause: Cause.Cause<unknown>, stopper: Stopper | undefined): Ending =>
  Cause.hasInterruptsOnly(cause)
    ? { status: "cancelled", problem: stopped[stopper ?? "shutdown"] }
    : { status: "failed", problem: problemOf(errorOf(cause)) }

/** What this very run waits for. What an agent's own effects ran is not to be resumed in its place. */
export const askedBy = (run: Run, error: unknown): ApprovalRequired | undefined =>
  isRunError(error) && error.reason._tag === "ApprovalRequired" && error.reason.state.runId === run.id
    ? error.reason
    : undefined

/** Before a resumed run had its first event: whether the same decisions may be sent again. */
export const isUntouched = (error: unknown): boolean =>
  error instanceof Refusal || isSessionError(error) ||
  (isRunError(error) && (error.reason._tag === "ConversationBusy" || error.reason._tag === "StateMismatch"))
