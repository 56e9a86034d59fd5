import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { Session } from "../../services/Session.ts"

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
