import { assert, describe, it } from "@effect/vitest"
import * as TracerFiltered from "agent-layers/layers/tracer/TracerFiltered"
import * as TracerMemory from "agent-layers/layers/tracer/TracerMemory"
import * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import { Effect, Layer } from "effect"
import { describeLaws } from "../../support/laws.ts"
import { agent, tool } from "../../support/tracer/entries.ts"
import { toSeen } from "./seen.ts"

const over = (options: TracerFiltered.Options) => {
  const { memory, processor } = TracerMemory.makeUnsafe({ capacity: 5000 })
  return { memory, layer: TracerFiltered.layer(processor, options) }
}

describeLaws("TracerFiltered that keeps everything", TracerLaws.all, {
  capacity: 5000,
  open: (beside) =>
    Effect.gen(function*() {
      const { layer, memory } = over({ ratio: 1, keepSpan: () => true, keepTrace: () => true })
      const context = yield* Layer.build(Layer.merge(beside, layer))
      return {
        context,
        seen: Effect.map(memory.spans, toSeen),
        traces: memory.traces,
        dropped: memory.dropped
      }
    })
})

describe("TracerFiltered", () => {
  it.effect("moves what is inside of a span that is left out up to its parent", () =>
    Effect.gen(function*() {
      const { layer, memory } = over({
        keepSpan: (span) => span.data._tag !== "Tool" || !span.data.name.startsWith("x")
      })
      yield* agent("a", tool("x1", tool("x2", tool("kept", tool("x3", tool("inner", Effect.void)))))).pipe(
        Effect.andThen(tool("x-root", tool("alone", Effect.void))),
        Effect.provide(layer)
      )
      assert.strictEqual(
        yield* memory.outline,
        "invoke_agent a\n  execute_tool kept\n    execute_tool inner\nexecute_tool alone"
      )
      assert.isUndefined((yield* memory.spans).at(-1)!.parentId)
    }))

  it.effect("leaves out whole traces, and asks once for each", () =>
    Effect.gen(function*() {
      let asked = 0
      const { layer, memory } = over({
        keepTrace: ({ workflowName }) => {
          asked++
          return workflowName !== "noise"
        }
      })
      yield* Effect.forEach(["noise", "one", "noise"], (name) => agent(name, tool(`of-${name}`, Effect.void))).pipe(
        Effect.provide(layer)
      )
      assert.strictEqual(yield* memory.outline, "invoke_agent one\n  execute_tool of-one")
      assert.deepStrictEqual((yield* memory.traces).map(({ workflowName }) => workflowName), ["one"])
      assert.strictEqual(asked, 3)
    }))

  it.effect("keeps a share of traces, each of them whole, and two processors the same ones", () =>
    Effect.gen(function*() {
      const first = over({ ratio: 0.25 })
      const second = over({ ratio: 0.25 })
      yield* Effect.forEach(Array.from({ length: 1000 }), () => agent("a", tool("t", Effect.void))).pipe(
        Effect.provide([first.layer, second.layer])
      )
      const traces = yield* first.memory.traces
      assert.isAbove(traces.length, 180)
      assert.isBelow(traces.length, 320)
      assert.strictEqual((yield* first.memory.spans).length, traces.length * 2)
      assert.deepStrictEqual(yield* second.memory.traces, traces)
    }))

  it.effect("keeps nothing at 0, and what a predicate cannot judge", () =>
    Effect.gen(function*() {
      const none = over({ ratio: 0 })
      const throwing = over({
        keepSpan: () => {
          throw new Error("cannot say")
        }
      })
      yield* agent("a", tool("t", Effect.void)).pipe(
        Effect.andThen(tool("alone", Effect.void)),
        Effect.provide([none.layer, throwing.layer])
      )
      assert.strictEqual((yield* none.memory.spans).length, 0)
      assert.strictEqual((yield* throwing.memory.spans).length, 3)
    }))
})
