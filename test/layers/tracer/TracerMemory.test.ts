import { assert, describe, it } from "@effect/vitest"
import * as TracerMemory from "agent-layers/layers/tracer/TracerMemory"
import * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import * as Tracer from "agent-layers/services/Tracer"
import { Context, Effect } from "effect"
import { describeLaws } from "../../support/laws.ts"
import { toSeen } from "./seen.ts"

const readMemory = (context: Context.Context<TracerMemory.TracerMemory>) => {
  const memory = Context.get(context, TracerMemory.TracerMemory)
  return { seen: Effect.map(memory.spans, toSeen), traces: memory.traces, dropped: memory.dropped }
}

describeLaws(
  "TracerMemory",
  TracerLaws.all,
  TracerLaws.fromLayer(TracerMemory.layer, readMemory, { capacity: 10_000 })
)

describeLaws(
  "TracerMemory with little room",
  TracerLaws.all,
  TracerLaws.fromLayer(TracerMemory.layerWith({ capacity: 20 }), readMemory, { capacity: 20 })
)

const tool = <A, E>(name: string, effect: Effect.Effect<A, E>) =>
  Tracer.withSpan(effect, () => ({ _tag: "Tool", name, callId: name }) as const)

const agent = <A, E>(name: string, effect: Effect.Effect<A, E>) =>
  Tracer.withSpan(effect, () => ({ _tag: "Agent", agent: name }) as const, undefined, {
    trace: { workflowName: name, groupId: "thread", metadata: { key: "value" } }
  })

describe("TracerMemory", () => {
  it.effect("draws what ran as an outline, in the order in which it began", () =>
    Effect.gen(function*() {
      const memory = yield* TracerMemory.TracerMemory
      yield* agent(
        "a",
        Effect.gen(function*() {
          yield* tool("one", tool("inner", Effect.void))
          yield* Effect.exit(tool("two", Effect.die(new TypeError("x"))))
          yield* Effect.exit(tool("three", Effect.interrupt))
          assert.strictEqual((yield* memory.outline).split("\n")[0], "invoke_agent a (not ended)")
        })
      )
      yield* agent("b", Effect.void)
      assert.deepStrictEqual((yield* memory.outline).split("\n"), [
        "invoke_agent a",
        "  execute_tool one",
        "    execute_tool inner",
        "  execute_tool two (failed: TypeError)",
        "  execute_tool three (interrupted)",
        "invoke_agent b"
      ])
    }).pipe(Effect.provide(TracerMemory.layer)))

  it.effect("keeps spans, those that began and traces apart, until it is cleared", () =>
    Effect.gen(function*() {
      const memory = yield* TracerMemory.TracerMemory
      yield* agent("a", tool("t", Effect.void))
      const [ended, root] = yield* memory.spans
      assert.deepInclude(ended, { name: "execute_tool t", parentId: root!.spanId, outcome: "succeeded" })
      assert.deepStrictEqual((yield* memory.started).map(({ name }) => name), ["invoke_agent a", "execute_tool t"])
      assert.deepStrictEqual(yield* memory.traces, [{
        traceId: root!.traceId,
        rootSpanId: root!.spanId,
        workflowName: "a",
        groupId: "thread",
        metadata: { key: "value" }
      }])
      assert.deepStrictEqual(ended!.trace, (yield* memory.traces)[0])
      yield* memory.clear
      assert.deepStrictEqual(yield* memory.spans, [])
      assert.deepStrictEqual(yield* memory.started, [])
      assert.deepStrictEqual(yield* memory.traces, [])
      assert.strictEqual(yield* memory.outline, "")
    }).pipe(Effect.provide(TracerMemory.layer)))

  it.effect("drops the oldest, counts them, and forgets the count when it is cleared", () =>
    Effect.gen(function*() {
      const memory = yield* TracerMemory.TracerMemory
      for (let index = 0; index < 10; index++) yield* tool(String(index), Effect.void)
      assert.deepStrictEqual((yield* memory.spans).map(({ name }) => name), [
        "execute_tool 7",
        "execute_tool 8",
        "execute_tool 9"
      ])
      assert.strictEqual(yield* memory.dropped, 7)
      yield* memory.clear
      assert.strictEqual(yield* memory.dropped, 0)
    }).pipe(Effect.provide(TracerMemory.layerWith({ capacity: 3 }))))

  it.effect("gives what was there at the moment", () =>
    Effect.gen(function*() {
      const memory = yield* TracerMemory.TracerMemory
      yield* tool("one", Effect.void)
      const before = yield* memory.spans
      yield* tool("two", Effect.void)
      assert.lengthOf(before, 1)
    }).pipe(Effect.provide(TracerMemory.layer)))
})
