import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import type { Session } from "../../services/Session.ts"
import { SessionError } from "../../services/SessionError.ts"
import type { Run } from "./state.ts"

const schemas = () => ({ success: Schema.Struct({ version: Schema.Int }), error: SessionError })

/**
 * Stores the turn that is complete, the input with the first one, under an id that makes a repetition harmless and
 * only onto the version that this run left. Does nothing without a conversation.
 */
export const commit = (run: Run): Effect.Effect<void, SessionError> => {
  const { conversationId, session } = run
  if (session === undefined || conversationId === undefined) return Effect.void
  const { operations, versions } = session.capabilities
  const save = session.saveItems(conversationId, run.items.slice(run.uncommitted), {
    operationId: operations ? `${run.id}/${run.turn}` : undefined,
    expectedVersion: versions ? run.version : undefined,
    meta: { runId: run.id, agent: run.agent.name, provider: run.model.provider }
  })
  return Effect.flatMap(
    run.journal.step({ runId: run.id, name: `commit/${run.turn}` }, schemas, save),
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
    : Effect.catch(run.session.maintain(run.conversationId), (error) =>
      Effect.logWarning("The conversation was stored, but its maintenance failed", error))

interface Lock {
  readonly semaphore: Semaphore.Semaphore
  users: number
}

const locks = new WeakMap<Session["Service"], Map<string, Lock>>()

/** What the runs hold that this fiber is inside of: one of their tools may run an agent. */
const Held: Context.Reference<ReadonlyArray<Lock>> = Context.Reference<ReadonlyArray<Lock>>(
  "agent-layers/run/internal/commit/Held",
  { defaultValue: () => [] }
)

/**
 * Without versions a second run cannot be noticed, so that runs on one conversation wait for each other. One inside
 * the other would wait forever, and is `refused`.
 */
export const serialised = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  session: Session["Service"],
  conversationId: string,
  refused: Effect.Effect<never, E>
): Effect.Effect<A, E, R> =>
  session.capabilities.versions ? effect : Effect.acquireUseRelease(
    Effect.sync(() => {
      let conversations = locks.get(session)
      if (conversations === undefined) locks.set(session, conversations = new Map())
      let lock = conversations.get(conversationId)
      if (lock === undefined) {
        conversations.set(conversationId, lock = { semaphore: Semaphore.makeUnsafe(1), users: 0 })
      }
      lock.users++
      return { conversations, lock }
    }),
    ({ lock }) =>
      Effect.flatMap(Held, (held) =>
        held.includes(lock)
          ? refused
          : lock.semaphore.withPermit(Effect.provideService(effect, Held, [...held, lock]))),
    ({ conversations, lock }) =>
      Effect.sync(() => {
        if (--lock.users === 0) conversations.delete(conversationId)
      })
  )
