import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { Session } from "../../services/Session.ts"
import type { RunOptions } from "../RunConfig.ts"

interface Lock {
  readonly semaphore: Semaphore.Semaphore
  users: number
}

const locks = new WeakMap<Session["Service"], Map<string, Lock>>()

/** What the runs hold that this fiber is inside of: one of their tools may run an agent. */
const Held: Context.Reference<ReadonlyArray<Lock>> = Context.Reference<ReadonlyArray<Lock>>(
  "agent-layers/run/internal/serialise/Held",
  { defaultValue: () => [] }
)

export interface Serialised<E> {
  readonly session: Session["Service"]
  readonly conversationId: string
  readonly onConflict: RunOptions["onConflict"]
  /** A run inside the one that is busy: it would wait for itself. */
  readonly nested: Effect.Effect<never, E>
  readonly busy: Effect.Effect<never, E>
}

/** How long to wait for a run that is busy with the conversation; `undefined` is for as long as it takes. */
const patience = (session: Session["Service"], onConflict: RunOptions["onConflict"]): Duration.Input | undefined =>
  typeof onConflict === "object"
    ? onConflict.wait
    : !session.capabilities.versions
    ? undefined
    : onConflict === "wait"
    ? "60 seconds"
    : 0

/**
 * Runs on one conversation, one at a time within this process. Where the session has versions this spares a second run
 * its model call; where it has none, nothing else keeps two histories apart.
 */
export const serialised = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  { busy, conversationId, nested, onConflict, session }: Serialised<E>
): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
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
      Effect.flatMap(Held, (held): Effect.Effect<A, E, R> => {
        if (held.includes(lock)) return nested
        const use = Effect.provideService(effect, Held, [...held, lock])
        const wait = patience(session, onConflict)
        if (wait === undefined) return lock.semaphore.withPermit(use)
        const take = lock.semaphore.take(1)
        return Effect.acquireUseRelease(
          wait === 0
            ? lock.users > 1 ? busy : take
            : Effect.interruptible(Effect.timeoutOrElse(take, { duration: wait, orElse: () => busy })),
          () => use,
          () => lock.semaphore.release(1)
        )
      }),
    ({ conversations, lock }) =>
      Effect.sync(() => {
        if (--lock.users === 0) conversations.delete(conversationId)
      })
  )
