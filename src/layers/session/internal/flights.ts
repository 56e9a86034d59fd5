import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"

interface Line<A, E> {
  readonly semaphore: Semaphore.Semaphore
  users: number
  /** Calls that have not begun. */
  readonly waiting: Map<string, Deferred.Deferred<A, E>>
}

/**
 * One call at a time for a key, and one for all who wait for it. Nobody is given the answer of a call that began before
 * they asked, which could be older than what they know to be stored. `lane` keeps calls on one key apart that have
 * other answers.
 */
export type Join<A, E> = (key: string, lane: string, call: Effect.Effect<A, E>) => Effect.Effect<A, E>

/**
 * Calls run in the scope, so that one goes on when whoever asked first is interrupted.
 *
 * @internal
 */
export const make = <A, E>(onClosed: E): Effect.Effect<Join<A, E>, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    const lines = new Map<string, Line<A, E>>()

    return (key, lane, call) =>
      Effect.suspend(() => {
        let line = lines.get(key)
        if (line === undefined) {
          lines.set(key, line = { semaphore: Semaphore.makeUnsafe(1), users: 0, waiting: new Map() })
        }
        const { semaphore, waiting } = line
        const joined = waiting.get(lane)
        if (joined !== undefined) return Deferred.await(joined)
        const deferred = Deferred.makeUnsafe<A, E>()
        const leave = () => {
          if (waiting.get(lane) === deferred) waiting.delete(lane)
        }
        waiting.set(lane, deferred)
        line.users++
        const flight = semaphore.withPermit(Effect.suspend(() => {
          leave()
          return call
        }))
        return Effect.flatMap(Effect.forkIn(flight, scope, { startImmediately: true }), (fiber) => {
          // Also called for a fiber that a closed scope did not let begin.
          fiber.addObserver((exit) => {
            leave()
            if (--line.users === 0) lines.delete(key)
            Deferred.doneUnsafe(deferred, Exit.hasInterrupts(exit) ? Exit.fail(onClosed) : exit)
          })
          return Deferred.await(deferred)
        })
      })
  })
