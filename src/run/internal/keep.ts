import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as History from "../../services/History.ts"
import type { FunctionCall, Item } from "../../services/Item.ts"
import { isFunctionCall, isFunctionCallOutput, isMessage } from "../../services/Item.ts"
import type { ModelResponse } from "../../services/ModelProvider.ts"
import { isTransient } from "../../services/RunJournal.ts"
import type { SessionError } from "../../services/SessionError.ts"
import * as RunError from "../RunError.ts"
import { commit, store } from "./commit.ts"
import type { Ledger } from "./ledger.ts"
import { hasRun, outputOf, ranCalls } from "./ledger.ts"
import type { Run } from "./state.ts"
import { append, stateOf } from "./state.ts"

/** A turn whose answer is there. */
interface Turn {
  readonly response: ModelResponse
  readonly calls: ReadonlyArray<FunctionCall>
  readonly ledger: Ledger
}

/** A tool that the provider ran: it is paid for, and may have had an effect. */
const isHostedCall = (item: Item): boolean => item.type?.endsWith("_call") === true && !isFunctionCall(item)

/**
 * What is kept of a turn that stops early: all calls with an output each, if one of them has run. Without calls the
 * message was to be the final answer, which was not accepted.
 */
const keptOf = ({ calls, ledger, response }: Turn): ReadonlyArray<Item> | undefined => {
  const said = calls.length > 0 ? response.output : response.output.filter((item) => !isMessage(item))
  const kept = History.repair(said.concat(calls.map((call) => outputOf(ledger, call))))
  return hasRun(ledger) || kept.some(isHostedCall) ? kept : undefined
}

const take = (run: Run, { calls, ledger, response }: Turn, kept: ReadonlyArray<Item>): void => {
  append(run, kept)
  run.ran = run.ran.concat(ranCalls(ledger, calls))
  run.usedTools.add(run.agentKey)
  if (run.unsent === undefined) return
  run.unsent = kept.filter(isFunctionCallOutput)
  run.previousResponseId = response.id ?? run.previousResponseId
}

const warn = (error: SessionError) =>
  Effect.logWarning("Tools ran in a turn that stopped early, and the session did not store it", error)

const name = (run: Run) => `${run.turn}/stopped`

/** The error's state is replaced by one that holds the turn. */
const stop = Effect.fnUntraced(function*(run: Run, turn: Turn, cause: Cause.Cause<unknown>) {
  const kept = turn.ledger.isWhole ? undefined : keptOf(turn)
  if (kept === undefined) return yield* Effect.failCause(cause)
  take(run, turn, kept)
  yield* Effect.catch(commit(run, name(run)), warn)
  const state = stateOf(run, run.turn)
  return yield* Effect.failCause(
    Cause.map(cause, (error) => RunError.isRunError(error) ? RunError.withState(error, state) : error)
  )
})

/**
 * A journal that records has what ran, and may interrupt a run only to carry it out again later: the conversation must
 * not move then.
 */
const stopInterrupted = (run: Run, turn: Turn): Effect.Effect<void> => {
  if (!isTransient(run.journal)) return Effect.void
  if (turn.ledger.isWhole) return Effect.catch(store(run), warn)
  const kept = keptOf(turn)
  if (kept === undefined) return Effect.void
  take(run, turn, kept)
  return Effect.catch(store(run, name(run)), warn)
}

const isSuspended = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.some((reason) =>
    Cause.isFailReason(reason) && RunError.isRunError(reason.error) && reason.error.reason._tag === "ApprovalRequired"
  )

/**
 * Carries out a turn. If it fails or is interrupted after a tool has started, the turn is stored as its calls with their
 * outputs, so that no later run makes the calls again. A turn that waits for a person is kept in its state instead.
 */
export const keepWhatRan = <A>(
  run: Run,
  turn: Turn,
  effect: Effect.Effect<A, unknown>
): Effect.Effect<A, unknown> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.catchCause(restore(effect), (cause) => {
      if (isSuspended(cause)) return Effect.failCause(cause)
      return Cause.hasInterruptsOnly(cause)
        ? Effect.andThen(stopInterrupted(run, turn), Effect.failCause(cause))
        : restore(stop(run, turn, cause))
    })
  )
