import { assert, describe, it } from "@effect/vitest"
import { Extension, Extensions, Health } from "agent-layers/extensions"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import { ConfigProvider, Effect, Fiber, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"

const common = { version: "1.0.0", compatibleWith: "*", description: "For a test." } as const

const answering = (state: { isUp: boolean; delay?: string }) =>
  Extension.make({
    ...common,
    kind: "session",
    name: "answering",
    config: {},
    layer: () => SessionMemory.layerWith({}),
    probe: () => Effect.suspend(() => state.isUp ? Effect.sleep("20 millis") : Effect.fail("it went away"))
  })

const quiet = Layer.merge(ConfigProvider.layer(ConfigProvider.fromEnv({ env: {} })), Logger.layer([]))

describe("Health", () => {
  it.effect("tells latency, since when a service is down, and that it is up again", () =>
    Effect.gen(function*() {
      const state = { isUp: true }
      const layer = Extensions.layer(
        { session: { use: "answering", probe: false }, sandbox: "virtual" },
        { extensions: [answering(state)] }
      )
      yield* Effect.gen(function*() {
        const { check } = yield* Health.Health
        const ask = Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(check, { startImmediately: true })
          yield* TestClock.adjust("20 millis")
          return yield* Fiber.join(fiber)
        })
        const first = yield* ask
        assert.strictEqual(first.status, "healthy")
        assert.deepStrictEqual(first.layers.map(({ kind, latencyMillis, status }) => [kind, status, latencyMillis]), [
          ["sandbox", "healthy", undefined],
          ["session", "healthy", 20]
        ])
        state.isUp = false
        const since = (yield* ask).layers[1]?.degradedSince
        yield* TestClock.adjust("1 minute")
        const down = yield* ask
        assert.strictEqual(down.status, "down")
        assert.strictEqual(down.layers[1]?.degradedSince, since)
        assert.include(down.layers[1]?.reason, "it went away")
        assert.isUndefined(down.layers[1]?.latencyMillis)
        state.isUp = true
        const again = yield* ask
        assert.strictEqual(again.status, "healthy")
        assert.isUndefined(again.layers[1]?.degradedSince)
      }).pipe(Effect.provide(layer))
    }).pipe(Effect.provide(quiet)))

  it.effect("tells that a fallback serves, since when, in whose place and why", () =>
    Effect.gen(function*() {
      const layer = Extensions.layer(
        { session: { use: "answering", fallback: "memory", wrap: ["cached"] } },
        { extensions: [answering({ isUp: false })] }
      )
      yield* TestClock.adjust("1 hour")
      yield* Effect.gen(function*() {
        yield* TestClock.adjust("1 minute")
        const { layers, status } = yield* (yield* Health.Health).check
        assert.strictEqual(status, "degraded")
        const [session] = layers
        assert.deepStrictEqual([session?.use, session?.insteadOf, session?.wrap], ["memory", "answering", ["cached"]])
        assert.strictEqual(session?.degradedSince, 3_600_000)
        assert.include(session?.reason, "it went away")
      }).pipe(Effect.provide(layer))
    }).pipe(Effect.provide(quiet)))

  it.effect("of nothing is healthy, and comes as a Layer too", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* (yield* Health.Health).check, { status: "healthy", layers: [] })
    }).pipe(Effect.provide(Layer.provide(Health.layer, Extensions.layerRegistry()))))
})
