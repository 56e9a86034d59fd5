/** Members that leave by themselves, all after the same time, so that the first to come is the first to go. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

export interface Expiring<A> {
  readonly add: (member: A, now: number) => void
  /** Takes a member out before its time. */
  readonly delete: (member: A) => void
  /** In the order in which they came. */
  readonly members: () => ReadonlyArray<A>
  readonly size: () => number
}

/** `onExpired` is called for a member whose time is up, when it has left. */
export const make = Effect.fnUntraced(function*<A>(
  after: Duration.Duration,
  onExpired: (member: A, now: number) => Effect.Effect<void>
) {
  const until = new Map<A, number>()
  const isInhabited = Latch.makeUnsafe(false)

  const next = Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    const { done, value } = until.entries().next()
    if (done === true) {
      isInhabited.closeUnsafe()
    } else if (value[1] > now) {
      // No other member can expire before this one.
      yield* Effect.sleep(value[1] - now)
    } else {
      until.delete(value[0])
      yield* onExpired(value[0], now)
    }
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(isInhabited.await, next)))

  const expiring: Expiring<A> = {
    add: (member, now) => {
      until.set(member, now + Duration.toMillis(after))
      isInhabited.openUnsafe()
    },
    delete: (member) => {
      until.delete(member)
    },
    members: () => Array.from(until.keys()),
    size: () => until.size
  }
  return expiring
})
