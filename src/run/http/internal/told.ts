/** What a client is told of events and results: JSON, without what is the server's affair. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { isFunctionCall } from "../../../services/Item.ts"
import type * as Agent from "../../Agent.ts"
import type { Approval, Decision } from "../../Approval.ts"
import { planOf } from "../../internal/plan.ts"
import type { RunEvent } from "../../RunEvent.ts"
import type { RunResult } from "../../RunResult.ts"
import type { Problem } from "./problem.ts"

export type Summary = ReturnType<typeof summaryOf>

/** The conversation has an address of its own. */
export const summaryOf = (
  { conversationId, incompleteReason, lastAgent, newItems, runId, turns, usage, version }: RunResult<unknown>,
  finalOutput: unknown
) => ({ runId, lastAgent, finalOutput, incompleteReason, newItems, usage, turns, conversationId, version })

type Told = Exclude<RunEvent<unknown>, { readonly _tag: "Completed" | "Nested" }> | {
  readonly _tag: "Completed"
  readonly result: Summary
} | {
  readonly _tag: "Nested"
  readonly path: ReadonlyArray<string>
  readonly event: Told
}

/** What a run's log holds: its events, and what became of it. */
export type Entry =
  | Told
  | { readonly _tag: "Waiting"; readonly approvals: ReadonlyArray<Approval> }
  | { readonly _tag: "Decided"; readonly decisions: ReadonlyArray<Decision> }
  | { readonly _tag: "Failed" | "Cancelled"; readonly problem: Problem }

export const tell = (event: RunEvent<unknown>): Told => {
  switch (event._tag) {
    case "Completed":
      return { _tag: event._tag, result: summaryOf(event.result, event.result.finalOutput) }
    case "Nested":
      return { _tag: event._tag, path: event.path, event: tell(event.event) }
    default:
      return event
  }
}

/** The agent that answered. Agents may share a name, so that the calls that led to it are followed. */
const answering = (
  root: Agent.Any,
  handoffs: ReadonlyArray<string>,
  { newItems }: RunResult<unknown>
): Agent.Any =>
  handoffs.reduce((agent, callId) => {
    const call = newItems.find((item) => isFunctionCall(item) && item.call_id === callId)
    const planned = call !== undefined && isFunctionCall(call) ? planOf(agent).handoffs.get(call.name) : undefined
    return planned === undefined ? agent : planned.handoff.agent
  }, root)

/** In the form of the agent that answered. `handoffs`: the ids of the calls that led there, in order. */
export const finalOutputOf = (
  root: Agent.Any,
  handoffs: ReadonlyArray<string>,
  result: RunResult<unknown>
): Effect.Effect<unknown, Schema.SchemaError> => {
  const schema = answering(root, handoffs, result).output
  return schema === undefined
    ? Effect.succeed(result.finalOutput)
    : Schema.encodeUnknownEffect(Schema.toCodecJson(schema as Schema.Codec<unknown>))(result.finalOutput)
}
