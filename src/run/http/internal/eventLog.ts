/**
 * The events of one run as server-sent events, numbered from 1. The log forgets its oldest events beyond its limits
 * and waits for nobody: each reader keeps a position of its own and takes what is there when its client can.
 */
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { problem } from "./problem.ts"
import type { Entry } from "./told.ts"

export interface Limits {
  readonly maxEvents: number
  readonly maxBytes: number
}

export interface EventLog {
  readonly limits: Limits
  readonly entries: Map<number, Uint8Array>
  /** The id of the oldest event that is kept. */
  first: number
  /** The id of the newest event; 0 before it. */
  last: number
  bytes: number
  isEnded: boolean
  changed: Deferred.Deferred<void> | undefined
}

export const make = (limits: Limits): EventLog => ({
  limits,
  entries: new Map(),
  first: 1,
  last: 0,
  bytes: 0,
  isEnded: false,
  changed: undefined
})

const encoder = new TextEncoder()

const encode = (id: number | undefined, told: { readonly _tag: string }): Uint8Array =>
  encoder.encode(Sse.encoder.write({
    _tag: "Event",
    id: id === undefined ? undefined : String(id),
    event: told._tag,
    data: JSON.stringify(told)
  }))

/** `isLast`: the run is over, and readers end after this event. */
export const append = (log: EventLog, told: Entry, isLast = false): void => {
  const id = log.last + 1
  const bytes = encode(id, told)
  log.last = id
  log.entries.set(id, bytes)
  log.bytes += bytes.length
  while (log.first < id && (log.entries.size > log.limits.maxEvents || log.bytes > log.limits.maxBytes)) {
    log.bytes -= log.entries.get(log.first)!.length
    log.entries.delete(log.first++)
  }
  log.isEnded = isLast
  const waiting = log.changed
  log.changed = undefined
  if (waiting !== undefined) Deferred.doneUnsafe(waiting, Effect.void)
}

/** Whether a reader that has seen `id` can go on without a gap. */
export const follows = (log: EventLog, id: number): boolean => id >= log.first - 1

const batchSize = 64

const heartbeat = encoder.encode(":\n\n")

const lost = (log: EventLog): Uint8Array => {
  const detail = `Events before ${log.first} are no longer kept, and were not read in time.`
  const told = { _tag: "Lost", problem: problem(410, "events-gone", detail) }
  return encode(undefined, told)
}

/**
 * A comment at once, so that the client's request is answered. Then the events after `after` as they come, and a
 * comment where none comes for as long as `every`. Ends after the last event, or with `Lost` where the log has
 * forgotten what this reader would have to be given next.
 */
export const follow = (log: EventLog, after: number, every: Duration.Duration): Stream.Stream<Uint8Array> => {
  const next = (
    seen: number
  ): Effect.Effect<readonly [ReadonlyArray<Uint8Array>, Option.Option<number>]> =>
    Effect.suspend(() => {
      if (!follows(log, seen)) return Effect.succeed([[lost(log)], Option.none()])
      const batch: Array<Uint8Array> = []
      for (let id = seen + 1; id <= log.last && batch.length < batchSize; id++) batch.push(log.entries.get(id)!)
      const now = seen + batch.length
      if (log.isEnded && now === log.last) return Effect.succeed([batch, Option.none()])
      if (batch.length > 0) return Effect.succeed([batch, Option.some(now)])
      log.changed ??= Deferred.makeUnsafe()
      return Deferred.await(log.changed).pipe(
        Effect.timeoutOption(every),
        Effect.flatMap(Option.match({
          onNone: () => Effect.succeed([[heartbeat], Option.some(seen)] as const),
          onSome: () => next(seen)
        }))
      )
    })
  return Stream.concat(Stream.succeed(heartbeat), Stream.paginate(after, next))
}
