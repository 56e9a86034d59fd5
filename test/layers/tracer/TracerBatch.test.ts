import { assert, describe, it } from "@effect/vitest"
import * as TracerBatch from "agent-layers/layers/tracer/TracerBatch"
import * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import * as Tracer from "agent-layers/services/Tracer"
import { Context, Effect, Exit, Fiber, Layer, Logger, Scope } from "effect"
import { TestClock } from "effect/testing"
import { describeLaws } from "../../support/laws.ts"
import { agent, collector, readEntries, spansOf, tool } from "../../support/tracer/entries.ts"

const subject = (
  options: TracerBatch.Options & { readonly capacity: number },
  during?: Parameters<typeof collector>[0]
): TracerLaws.Subject => ({
  capacity: options.capacity,
  open: (beside) =>
    Effect.gen(function*() {
      const { entries, exporter } = collector(during)
      const context = yield* Layer.build(Layer.merge(beside, TracerBatch.layer(exporter, options)))
      return { context, ...readEntries(context, Effect.sync(() => entries.slice())) }
    })
})

describeLaws("TracerBatch", TracerLaws.all, subject({ capacity: 2048 }))

describeLaws("TracerBatch with little room", TracerLaws.all, subject({ capacity: 20, maxQueueSize: 20 }))

describeLaws(
  "TracerBatch of one span each, over an exporter that takes its time",
  TracerLaws.all,
  subject({ capacity: 100, maxQueueSize: 100, maxBatchSize: 1 }, () => Effect.yieldNow)
)

const error = new Tracer.TracerError({
  exporter: "collector",
  operation: "export",
  description: "no room",
  isRetryable: true
})

const logs = () => {
  const lines: Array<string> = []
  const layer = Logger.layer([Logger.make(({ logLevel, message }) => void lines.push(`${logLevel}: ${message}`))])
  return { lines, layer }
}

const open = (layer: Layer.Layer<never>) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const context = yield* Scope.provide(Layer.build(layer), scope)
    const traced = <A, E>(effect: Effect.Effect<A, E>) => Effect.provideContext(effect, context)
    return { traced, flush: Context.get(context, Tracer.Tracer).flush, close: Scope.close(scope, Exit.void) }
  })

const many = (count: number) =>
  agent("a", Effect.forEach(Array.from({ length: count }), (_, index) => tool(String(index), Effect.void)))

describe("TracerBatch", () => {
  it.effect("exports when a batch is full, and when its first span has waited long enough", () =>
    Effect.gen(function*() {
      const { batches, exporter } = collector()
      const { traced } = yield* open(TracerBatch.layer(exporter, { maxBatchSize: 10, interval: "5 seconds" }))
      yield* traced(many(3))
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(batches, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(batches, [6])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(batches, [6])
      // Begin, 22 spans and the root, end: the rest waits for its time.
      yield* traced(many(22))
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      assert.isAtLeast(batches.length, 3)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(batches.reduce((sum, size) => sum + size), 31)
      assert.isTrue(batches.every((size) => size <= 10))
    }))

  it.effect("drops and counts what finds the queue full, and a run does not notice", () =>
    Effect.gen(function*() {
      const { entries, exporter } = collector(() => Effect.never)
      const { traced } = yield* open(TracerBatch.layer(exporter, { maxQueueSize: 2, interval: 0 }))
      yield* traced(many(0))
      yield* TestClock.adjust(0)
      yield* traced(many(999))
      assert.deepStrictEqual(entries, [])
      assert.strictEqual(yield* traced(Tracer.dropped), 998)
    }))

  it.effect("goes on after a batch that failed, died or was interrupted, and tells of each", () =>
    Effect.gen(function*() {
      const told: Array<readonly [string, number]> = []
      const { entries, exporter } = collector((call) =>
        call === 1
          ? Effect.fail(error)
          : call === 2
          ? Effect.die(new Error("bad day"))
          : call === 3
          ? Effect.interrupt
          : Effect.void
      )
      const { flush, traced } = yield* open(TracerBatch.layer(exporter, {
        onError: (error, spans) => Effect.sync(() => void told.push([error.message, spans]))
      }))
      for (let round = 0; round < 4; round++) {
        yield* traced(many(1))
        yield* flush
      }
      assert.deepStrictEqual(told, [
        ["collector: export failed: no room", 2],
        ["collector: export failed: the exporter died", 2],
        ["collector: export failed: the export was interrupted", 2]
      ])
      assert.strictEqual(spansOf(entries).length, 2)
      assert.strictEqual(yield* traced(Tracer.dropped), 6)
    }))

  it.effect("survives an exporter that throws, and an onError that dies", () =>
    Effect.gen(function*() {
      const { flush, traced } = yield* open(TracerBatch.layer({
        name: "thrower",
        export: () => {
          throw new Error("thrown")
        }
      }, { onError: () => Effect.die("again") }))
      for (let round = 0; round < 3; round++) {
        yield* traced(many(1))
        yield* flush
      }
      assert.strictEqual(yield* traced(Tracer.dropped), 6)
    }))

  it.effect("warns once of an exporter that fails again and again, and anew after it has recovered", () =>
    Effect.gen(function*() {
      const { layer, lines } = logs()
      const { exporter } = collector((call) => call === 3 ? Effect.void : Effect.fail(error))
      const { flush, traced } = yield* open(Layer.provide(TracerBatch.layer(exporter), layer))
      for (let round = 0; round < 4; round++) {
        yield* traced(many(1))
        yield* flush
      }
      assert.strictEqual(lines.filter((line) => line.startsWith("Warn: 2 spans were not exported")).length, 2)
    }))

  it.effect("gives up an export that takes too long, and goes on", () =>
    Effect.gen(function*() {
      const { entries, exporter } = collector((call) => call === 1 ? Effect.never : Effect.void)
      const { traced } = yield* open(TracerBatch.layer(exporter, { exportTimeout: "10 seconds" }))
      yield* traced(many(1))
      yield* TestClock.adjust("5 seconds")
      yield* traced(many(2))
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(entries, [])
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual(spansOf(entries).length, 3)
      assert.strictEqual(yield* traced(Tracer.dropped), 2)
    }))

  it.effect("waits in a flush for what is being exported, no longer than it should, and loses nothing", () =>
    Effect.gen(function*() {
      const { entries, exporter } = collector(() => Effect.sleep("20 seconds"))
      const { flush, traced } = yield* open(TracerBatch.layer(exporter, { flushTimeout: "3 seconds" }))
      yield* traced(many(1))
      yield* TestClock.adjust("5 seconds")
      const flushing = yield* Effect.forkChild(flush, { startImmediately: true })
      yield* TestClock.adjust("2999 millis")
      assert.isUndefined(flushing.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.isDefined(flushing.pollUnsafe())
      assert.deepStrictEqual(entries, [])
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(spansOf(entries).length, 2)
      assert.strictEqual(yield* traced(Tracer.dropped), 0)
    }))

  it.effect("closes within its time whatever the exporter does, and says what was lost", () =>
    Effect.gen(function*() {
      for (const stuck of [Effect.never, Effect.uninterruptible(Effect.never)]) {
        const { layer, lines } = logs()
        const { exporter } = collector(() => stuck)
        const { close, traced } = yield* open(
          Layer.provide(TracerBatch.layer(exporter, { flushTimeout: "3 seconds" }), layer)
        )
        yield* traced(many(1))
        yield* TestClock.adjust("5 seconds")
        yield* traced(many(9))
        const closing = yield* Effect.forkChild(close, { startImmediately: true })
        yield* TestClock.adjust("4 seconds")
        assert.isDefined(closing.pollUnsafe())
        assert.include(lines.join("\n"), "collector: 12 spans were not exported within 3s of closing")
        assert.strictEqual(yield* traced(Effect.provide(Tracer.dropped, Layer.empty)), 0)
      }
    }))

  it.effect("exports what is left when it closes, and drops what comes later", () =>
    Effect.gen(function*() {
      const { entries, exporter } = collector()
      const { close, traced } = yield* open(TracerBatch.layer(exporter))
      yield* traced(many(3))
      yield* close
      assert.strictEqual(spansOf(entries).length, 4)
      yield* traced(many(3))
      assert.strictEqual(spansOf(entries).length, 4)
    }))

  it.effect("does not let one exporter wait for another", () =>
    Effect.gen(function*() {
      const slow = collector(() => Effect.never)
      const dying = collector(() => Effect.die("no"))
      const good = collector()
      const quiet = { onError: () => Effect.void }
      const { flush, traced } = yield* open(Layer.mergeAll(
        TracerBatch.layer(slow.exporter),
        TracerBatch.layer(dying.exporter, quiet),
        TracerBatch.layer(good.exporter)
      ))
      yield* traced(many(4))
      const flushing = yield* Effect.forkChild(flush, { startImmediately: true })
      yield* Effect.yieldNow
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(flushing)
      assert.strictEqual(spansOf(good.entries).length, 5)
    }))

  it.effect("lets a processor go that never ends its flush", () =>
    Effect.gen(function*() {
      const { close } = yield* open(Tracer.addProcessor({ flush: Effect.never }))
      const closing = yield* Effect.forkChild(close, { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      assert.isDefined(closing.pollUnsafe())
    }))

  it.effect("takes an exporter that is acquired, and gives it back after the last export", () =>
    Effect.gen(function*() {
      const order: Array<string> = []
      const exporter = Effect.acquireRelease(
        Effect.succeed<Tracer.TraceExporter>({
          name: "x",
          export: () => Effect.sync(() => void order.push("exported"))
        }),
        () => Effect.sync(() => void order.push("released"))
      )
      const { close, traced } = yield* open(TracerBatch.layer(exporter))
      yield* traced(many(1))
      yield* close
      assert.deepStrictEqual(order, ["exported", "released"])
    }))
})
