import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import type { FunctionCall } from "../../services/Item.ts"
import { Approval, Decision } from "../Approval.ts"
import * as RunError from "../RunError.ts"
import type { RunState } from "../RunState.ts"
import type { Run } from "./state.ts"
import { encodeId, fail, stepName } from "./state.ts"

/** One digest at a time, so that calls that were asked for together start in their order. */
const hashing = Semaphore.makeUnsafe(1)

const hash = (call: FunctionCall): Effect.Effect<string> =>
  Effect.map(
    hashing.withPermit(Effect.promise(() =>
      globalThis.crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${call.name}\n${call.arguments}`))
    )),
    (digest) =>
      Hex.encode(new Uint8Array(digest))
  )

export const addressOf = (run: Pick<Run, "path">, callId: string): string =>
  [...run.path, callId].map(encodeId).join("/")

const approvalOf = (run: Run, call: FunctionCall): Effect.Effect<Approval> =>
  Effect.map(hash(call), (argumentsHash) => ({
    id: addressOf(run, call.call_id),
    agent: run.agent.name,
    tool: call.name,
    callId: call.call_id,
    arguments: call.arguments,
    argumentsHash
  }))

export type Ruling =
  | { readonly _tag: "Approved" }
  | { readonly _tag: "Rejected"; readonly reason: string | undefined }
  | { readonly _tag: "Pending"; readonly approval: Approval }

const schemas = () => ({ request: Approval, answer: Decision })

const rulingOf = (decision: { readonly isApproved: boolean; readonly reason?: string }): Ruling =>
  decision.isApproved === true ? { _tag: "Approved" } : { _tag: "Rejected", reason: decision.reason }

type Standing = RunState["standing"][number]

const standing = (tool: string, { isApproved, reason }: Decision): Standing => ({
  tool,
  isApproved,
  ...(reason === undefined ? undefined : { reason })
})

const asked = (run: Run, call: FunctionCall, approval: Approval): Effect.Effect<Decision | undefined> =>
  Effect.map(
    run.journal.signal({ runId: run.id, name: stepName(run, "approval", call.call_id) }, schemas, approval),
    (answer) => {
      const decision = Option.getOrUndefined(answer)
      if (decision?.always === true) run.ruled.push(standing(call.name, decision))
      return decision
    }
  )

/** Which of the decisions hold for all later calls of a tool, by the agent call that they were asked for. */
export const standingOf = (
  state: RunState,
  decisions: ReadonlyArray<Decision>,
  path: ReadonlyArray<string>
): ReadonlyArray<Standing> =>
  decisions.flatMap((decision) => {
    if (decision.always !== true) return []
    const asked = state.openTurn?.approvals.find(({ callId, id }) =>
      id === decision.id && id === addressOf({ path }, callId)
    )
    return asked === undefined ? [] : [standing(asked.tool, decision)]
  })

/**
 * What was decided about a call: for this one when the run was resumed, for all calls of the tool, or now by somebody
 * whom the journal waits for. What is decided now for all later calls holds from the next turn on, so that the calls of
 * one turn are asked for alike, whoever is answered first.
 */
export const ruling = Effect.fnUntraced(function*(run: Run, call: FunctionCall) {
  const approval = yield* approvalOf(run, call)
  const given = run.decisions.get(approval.id)
  const standing = given === undefined ? run.standing.find(({ tool }) => tool === call.name) : undefined
  if (standing !== undefined) return rulingOf(standing)
  const decision = given ?? (yield* asked(run, call, approval))
  if (decision === undefined) return { _tag: "Pending", approval } as Ruling
  if (decision.id !== approval.id || decision.argumentsHash !== approval.argumentsHash) {
    return yield* fail(
      run,
      new RunError.StateMismatch({
        description: `The decision about "${approval.id}" was made for another call or for other arguments`
      })
    )
  }
  return rulingOf(decision)
})

/** Why decisions do not fit what a state waits for. */
export const misfit = (state: RunState, decisions: ReadonlyArray<Decision>): string | undefined => {
  const pending = new Map(state.openTurn?.approvals.map((approval) => [approval.id, approval]))
  const seen = new Set<string>()
  for (const { argumentsHash, id } of decisions) {
    const approval = pending.get(id)
    if (approval === undefined) return `There is no call "${id}" that waits for a decision`
    if (approval.argumentsHash !== argumentsHash) return `The decision about "${id}" was made for other arguments`
    if (seen.has(id)) return `There are two decisions about "${id}"`
    seen.add(id)
  }
  return undefined
}
