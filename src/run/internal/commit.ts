import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { SessionError } from "../../services/SessionError.ts"
import type { Run } from "./state.ts"

const schemas = () => ({ success: Schema.Struct({ version: Schema.Int }), error: SessionError })

/**
 * Stores the turn that is complete, the input with the first one, under an id that makes a repetition harmless and
 * only onto the version that this run left. Does nothing without a conversation.
 */
export const commit = (run: Run, name = `${run.turn}`): Effect.Effect<void, SessionError> => {
  const { conversationId, session } = run
  if (session === undefined || conversationId === undefined || run.uncommitted === run.items.length) return Effect.void
  const { operations, versions } = session.capabilities
  const save = session.saveItems(conversationId, run.items.slice(run.uncommitted), {
    operationId: operations ? `${run.id}/${name}` : undefined,
    expectedVersion: versions ? run.version : undefined,
    meta: { runId: run.id, agent: run.agent.name, provider: run.model.provider }
  })
  return Effect.flatMap(
    run.journal.step({ runId: run.id, name: `commit/${name}` }, schemas, save),
    ({ version }) => {
      run.uncommitted = run.items.length
      run.version = version
      return run.emit === undefined ? Effect.void : run.emit([{ _tag: "Committed", turn: run.turn, version }])
    }
  )
}

/** The moment for compaction. It loses nothing when it fails, so that a run that has finished stays finished. */
export const maintain = (run: Run): Effect.Effect<void> =>
  run.session === undefined || run.conversationId === undefined
    ? Effect.void
    : Effect.catchCause(run.session.maintain(run.conversationId), (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.logWarning("The conversation was stored, but its maintenance failed", cause))
