import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Option from "effect/Option"
import type { FunctionCall } from "../../services/Item.ts"
import { Approval, Decision } from "../Approval.ts"
import * as RunError from "../RunError.ts"
import type { RunState } from "../RunState.ts"
import type { Run } from "./state.ts"
import { fail, stepName } from "./state.ts"

const hash = (call: FunctionCall): Effect.Effect<string> =>
  Effect.map(
    Effect.promise(() =>
      globalThis.crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${call.name}\n${call.arguments}`))
    ),
    (digest) => Hex.encode(new Uint8Array(digest))
  )

export const addressOf = (run: Pick<Run, "path">, callId: string): string =>
  [...run.path, callId].map(encodeURIComponent).join("/")

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
  decision.isApproved ? { _tag: "Approved" } : { _tag: "Rejected", reason: decision.reason }

/**
 * What was decided about a call: for all calls of the tool, for this one when the run was resumed, or now by somebody
 * whom the journal waits for.
 */
export const ruling = Effect.fnUntraced(function*(run: Run, call: FunctionCall) {
  const standing = run.standing.find(({ tool }) => tool === call.name)
  if (standing !== undefined) return rulingOf(standing)
  const approval = yield* approvalOf(run, call)
  const decision = run.decisions.get(approval.id) ?? Option.getOrUndefined(
    yield* run.journal.signal(
      { runId: run.id, name: stepName(run, `approval/${run.turn}/${call.call_id}`) },
      schemas,
      approval
    )
  )
  if (decision === undefined) return { _tag: "Pending", approval } as Ruling
  if (decision.argumentsHash !== approval.argumentsHash) {
    return yield* fail(
      run,
      new RunError.StateMismatch({
        description: `The decision about "${approval.id}" was made for other arguments than those of the call`
      })
    )
  }
  if (decision.always === true) {
    run.standing.push({
      tool: call.name,
      isApproved: decision.isApproved,
      ...(decision.reason === undefined ? undefined : { reason: decision.reason })
    })
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
