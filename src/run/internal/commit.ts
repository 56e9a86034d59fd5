import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { isTransient } from "../../services/RunJournal.ts"
import { SessionError } from "../../services/SessionError.ts"
import type { Run } from "./state.ts"

const schemas = () => ({ success: Schema.Struct({ version: Schema.Int }), error: SessionError })

/**
 * Stores what is not stored yet, the input with the first turn, under an id that makes a repetition harmless and only
 * onto the version that this run left. Returns whether there was anything to store.
 */
export const store = (run: Run, name = `${run.turn}`): Effect.Effect<boolean, SessionError> => {
  const { conversationId, session } = run
  if (session === undefined || conversationId === undefined || run.uncommitted === run.items.length) {
    return Effect.succeed(false)
  }
  const { operations, versions } = session.capabilities
  const save = session.saveItems(conversationId, run.items.slice(run.uncommitted), {
    operationId: operations ? `${run.id}/${name}` : undefined,
    expectedVersion: versions ? run.version : undefined,
    meta: { runId: run.id, agent: run.agent.name, provider: run.model.provider }
  })
  const stored = Effect.map(
    run.journal.step({ runId: run.id, name: `commit/${name}` }, schemas, save),
    ({ version }) => {
      run.uncommitted = run.items.length
      run.version = version
      return true
    }
  )
  // A journal that records may have to interrupt a step.
  return isTransient(run.journal) ? Effect.uninterruptible(stored) : stored
}

/** Stores what is not stored yet, and reports it to the stream. */
export const commit = (run: Run, name?: string): Effect.Effect<void, SessionError> =>
  run.emit === undefined
    ? Effect.asVoid(store(run, name))
    : Effect.flatMap(store(run, name), (isStored) =>
      isStored ? run.emit!([{ _tag: "Committed", turn: run.turn, version: run.version! }]) : Effect.void)

/** The moment for compaction. It loses nothing when it fails, so that a run that has finished stays finished. */
export const maintain = (run: Run): Effect.Effect<void> =>
  run.session === undefined || run.conversationId === undefined
    ? Effect.void
    : Effect.catchCause(run.session.maintain(run.conversationId), (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.logWarning("The conversation was stored, but its maintenance failed", cause))
