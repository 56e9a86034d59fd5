/**
 * Waiting for the world outside of the test's clock: sockets, processes, counts behind HTTP. All of it runs on real time,
 * under a `TestClock` too.
 */
import { Effect } from "effect"
import { inspect } from "node:util"

/** Only a fault takes so long. A slow machine takes seconds. */
const patienceMillis = 60_000

const pauseMillis = 10

type Look<A, E, R> = Effect.Effect<A, E, R> | (() => A | PromiseLike<A>)

// oxlint-disable-next-line house/bare-sleep -- the one place that sleeps, in loops around a condition
const sleep = (millis: number) => Effect.promise(() => new Promise((resolve) => setTimeout(resolve, millis)))

const toEffect = <A, E, R>(look: Look<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.isEffect(look) ? look : Effect.promise(async () => look())

/** Looks until what it sees satisfies the condition, and gives it. The failure shows the condition and the last look. */
export const until = <A, E = never, R = never>(
  look: Look<A, E, R>,
  isSo: (seen: A) => boolean
): Effect.Effect<A, E, R> =>
  Effect.gen(function*() {
    const deadline = performance.now() + patienceMillis
    while (true) {
      const seen = yield* toEffect(look)
      if (isSo(seen)) return seen
      if (performance.now() > deadline) {
        const reached = `not within ${patienceMillis / 1000} seconds: ${String(isSo)}\nseen last: ${inspect(seen)}`
        return yield* Effect.die(new Error(reached))
      }
      yield* sleep(pauseMillis)
    }
  })

/** As `until`, for tests of promises. */
export const untilSo = <A>(look: () => A | PromiseLike<A>, isSo: (seen: A) => boolean): Promise<A> =>
  Effect.runPromise(until(look, isSo))

/**
 * Looks again and again for a while; what it sees must satisfy the condition each time. For something that must not
 * happen, where no later event rules it out. A slow machine makes this see less, and never makes it fail.
 */
export const stays = <A, E = never, R = never>(
  look: Look<A, E, R>,
  isSo: (seen: A) => boolean,
  millis: number
): Effect.Effect<void, E, R> =>
  Effect.gen(function*() {
    const end = performance.now() + millis
    while (true) {
      const seen = yield* toEffect(look)
      if (!isSo(seen)) return yield* Effect.die(new Error(`no longer so: ${String(isSo)}\nseen: ${inspect(seen)}`))
      if (performance.now() > end) return
      yield* sleep(pauseMillis)
    }
  })

/**
 * Passes time to make one order of events likely, where the test must hold in every order: between kills of a campaign,
 * say. The first argument says which event. Anything that can be seen is waited for by `until`.
 */
export const allowTimeFor = (_event: string, millis: number): Effect.Effect<void> => Effect.asVoid(sleep(millis))
