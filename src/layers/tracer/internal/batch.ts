import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { TraceEntry, TraceExporter, TraceProcessor } from "../../../services/Tracer.ts"
import { TracerError } from "../../../services/Tracer.ts"

export interface BatchOptions {
  /**
   * How many spans wait at most; what ends beyond that is dropped and counted.
   *
   * @default 2048
   */
  readonly maxQueueSize?: number | undefined
  /**
   * How many spans and traces are exported together. So many waiting ones are exported at once.
   *
   * @default 256
   */
  readonly maxBatchSize?: number | undefined
  /**
   * How long a span waits for others.
   *
   * @default "5 seconds"
   */
  readonly interval?: Duration.Input | undefined
  /**
   * How long one export may take, its retries included; then its batch is dropped and counted.
   *
   * @default "30 seconds"
   */
  readonly exportTimeout?: Duration.Input | undefined
  /**
   * How long a flush waits, and how long closing waits for the last one. A flush that gives up loses nothing; closing
   * drops what is left, counts it and warns.
   *
   * @default "3 seconds"
   */
  readonly flushTimeout?: Duration.Input | undefined
  /**
   * Told of each batch that could not be delivered, and how many spans it had. By default the first is logged as a
   * warning, until a delivery succeeds again, and the others at level Debug.
   */
  readonly onError?: ((error: TracerError, spans: number) => Effect.Effect<void>) | undefined
}

export interface Batch extends TraceProcessor {
  readonly flush: Effect.Effect<void>
  readonly dropped: Effect.Effect<number>
}

const countSpans = (entries: ReadonlyArray<TraceEntry>): number => {
  let count = 0
  for (const entry of entries) if (entry._tag === "SpanEnd") count++
  return count
}

const toError = (exporter: TraceExporter, cause: Cause.Cause<TracerError>): TracerError =>
  Option.getOrElse(Cause.findErrorOption(cause), () =>
    new TracerError({
      exporter: exporter.name,
      operation: "export",
      description: Cause.hasInterruptsOnly(cause) ? "the export was interrupted" : "the exporter died",
      isRetryable: false,
      cause: Cause.squash(cause)
    }))

/**
 * A queue in front of an exporter. A run only ever adds to an array: it waits neither for the exporter nor for room.
 * Entries go out in order, one batch after another.
 */
export const make = Effect.fnUntraced(function*(
  exporter: TraceExporter,
  options?: BatchOptions
): Effect.fn.Return<Batch, never, Scope.Scope> {
  const maxQueueSize = Math.max(1, options?.maxQueueSize ?? 2048)
  const maxBatchSize = Math.max(1, Math.min(maxQueueSize, options?.maxBatchSize ?? 256))
  const interval = Duration.fromInputUnsafe(options?.interval ?? "5 seconds")
  const exportTimeout = Duration.fromInputUnsafe(options?.exportTimeout ?? "30 seconds")
  const flushTimeout = Duration.fromInputUnsafe(options?.flushTimeout ?? "3 seconds")

  let queue: Array<TraceEntry> = []
  let spans = 0
  let inFlight = 0
  let offered = 0
  let settled = 0
  let dropped = 0
  let isFailing = false
  let isStuck = false
  let isClosed = false
  const waiting = new Set<{ readonly target: number; readonly done: Deferred.Deferred<void> }>()
  const some = Latch.makeUnsafe(false)
  const due = Latch.makeUnsafe(false)

  const offer = (entry: TraceEntry): Effect.Effect<void> => {
    const isSpan = entry._tag === "SpanEnd"
    // Beginnings and ends of traces are few; without them spans could not be told apart.
    if (isClosed || (isSpan ? spans >= maxQueueSize : queue.length >= maxQueueSize * 2)) {
      if (isSpan) dropped++
      return Effect.void
    }
    queue.push(entry)
    offered++
    if (isSpan) spans++
    if (offered - settled === 1) some.openUnsafe()
    if (queue.length === maxBatchSize) due.openUnsafe()
    return Effect.void
  }

  const report = (error: TracerError, count: number): Effect.Effect<void> => {
    if (options?.onError !== undefined) return Effect.ignoreCause(options.onError(error, count))
    if (isFailing) return Effect.logDebug(`${count} spans more were not exported`, error)
    isFailing = true
    return Effect.logWarning(
      `${count} spans were not exported; runs are not affected. Until exports succeed again, further failures are ` +
        "logged at level Debug",
      error
    )
  }

  const settle = (batch: ReadonlyArray<TraceEntry>): void => {
    settled += batch.length
    inFlight = 0
    for (const waiter of waiting) {
      if (waiter.target <= settled) Deferred.doneUnsafe(waiter.done, Exit.void)
    }
  }

  const exportNext = Effect.suspend(() => {
    const batch = queue.length <= maxBatchSize ? queue : queue.slice(0, maxBatchSize)
    queue = queue.length <= maxBatchSize ? [] : queue.slice(maxBatchSize)
    const count = countSpans(batch)
    spans -= count
    inFlight = count
    return Effect.suspend(() => exporter.export(batch)).pipe(
      Effect.timeoutOrElse({
        duration: exportTimeout,
        orElse: () =>
          Effect.fail(
            new TracerError({
              exporter: exporter.name,
              operation: "export",
              description: `it took longer than ${Duration.format(exportTimeout)}`,
              isRetryable: true
            })
          )
      }),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (Exit.isSuccess(exit)) {
            isFailing = false
            isStuck = false
          } else {
            dropped += count
          }
        })
      ),
      Effect.catchCause((cause) => report(toError(exporter, cause), count)),
      Effect.ensuring(Effect.sync(() => settle(batch)))
    )
  })

  const work = Effect.gen(function*() {
    yield* some.await
    if (waiting.size === 0 && queue.length < maxBatchSize) yield* Effect.timeoutOption(due.await, interval)
    due.closeUnsafe()
    for (let left = Math.ceil(queue.length / maxBatchSize); left > 0; left--) yield* exportNext
    if (settled === offered) some.closeUnsafe()
  }).pipe(Effect.forever, Effect.withTracerEnabled(false))

  const worker = yield* Effect.forkDetach(work)

  const flush = Effect.suspend(() => {
    if (settled >= offered) return Effect.void
    const waiter = { target: offered, done: Deferred.makeUnsafe<void>() }
    waiting.add(waiter)
    due.openUnsafe()
    return Deferred.await(waiter.done).pipe(
      Effect.timeoutOption(flushTimeout),
      Effect.map((done) => {
        if (Option.isNone(done)) isStuck = true
      }),
      Effect.ensuring(Effect.sync(() => waiting.delete(waiter)))
    )
  })

  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      isClosed = true
      // A flush has waited in vain just now: the processor is flushed when it leaves its Tracer.
      if (!isStuck) yield* Effect.interruptible(flush)
      const lost = spans + inFlight
      dropped += spans
      queue = []
      spans = 0
      // An exporter that cannot be interrupted must not hold up the end of a program.
      yield* Fiber.interrupt(worker).pipe(Effect.interruptible, Effect.timeoutOption("1 second"))
      if (lost > 0) {
        yield* Effect.logWarning(
          `${exporter.name}: ${lost} spans were not exported within ${Duration.format(flushTimeout)} of closing`
        )
      }
    })
  )

  return {
    onTraceStart: (trace) => offer({ _tag: "TraceStart", trace }),
    onSpanEnd: (span) => offer({ _tag: "SpanEnd", span }),
    onTraceEnd: (trace) => offer({ _tag: "TraceEnd", trace }),
    flush,
    dropped: Effect.sync(() => dropped)
  }
})
