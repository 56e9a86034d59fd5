import { assert, describe, it } from "@effect/vitest"
import { Agent, Runner } from "agent-layers"
import { ModelScripted, TestAgents, Traces } from "agent-layers/testing"
import { Cause, Effect, Exit, Layer, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"

const Kit = Toolkit.make(
  Tool.make("clock", { success: Schema.String }),
  Tool.make("lamp", { success: Schema.String, failure: Schema.String })
)
const Handlers = Kit.toLayer({ clock: () => Effect.succeed("12:00"), lamp: () => Effect.fail("no current") })
const butler = Agent.make({ name: "butler", toolkit: Kit })

const ran = Effect.andThen(
  Runner.run(butler, "Light!", { conversationId: "c" }),
  Effect.void
)

const Doubles = Layer.merge(
  Handlers,
  TestAgents.layer({
    model: [
      ModelScripted.calls([{ name: "clock" }]),
      ModelScripted.toolCall("lamp"),
      ModelScripted.toolCall("clock"),
      ModelScripted.text("No.")
    ]
  })
)

const defect = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? String(exit.cause.reasons.find(Cause.isDieReason)?.defect) : "no failure"

const refused = <A, R>(effect: Effect.Effect<A, never, R>) => Effect.map(Effect.exit(effect), defect)

describe("Traces", () => {
  it.effect("finds spans by name, kind, outcome, data, number, and what is around them", () =>
    Effect.gen(function*() {
      yield* ran
      const span = yield* Traces.expectSpan("execute_tool clock", {
        kind: "Tool",
        outcome: "succeeded",
        under: "invoke_agent butler",
        times: 2,
        where: (data) => data._tag === "Tool" && data.output === "12:00"
      })
      assert.strictEqual(span.name, "execute_tool clock")
      yield* Traces.expectSpan(/^execute_tool/, { times: 3 })
      yield* Traces.expectNoSpan("execute_tool bell")
      yield* Traces.expectNoSpan("execute_tool clock", { under: "execute_tool lamp" })
      yield* Traces.expectNoSpan("execute_tool clock", { error: "Error" })
    }).pipe(Effect.provide(Doubles)))

  it.effect("says what was expected, and shows the tree", () =>
    Effect.gen(function*() {
      yield* ran
      const missing = yield* refused(Traces.expectSpan("execute_tool bell", { under: "invoke_agent butler" }))
      assert.include(missing, "there is no span execute_tool bell under invoke_agent butler. The trace is:\n")
      assert.include(missing, "\n  invoke_agent butler\n")
      assert.include(
        yield* refused(Traces.expectSpan("execute_tool clock", { times: 1, outcome: "succeeded" })),
        "there are 2 spans execute_tool clock that succeeded, not 1"
      )
      assert.include(
        yield* refused(Traces.expectSpan("execute_tool clock", { outcome: "failed", error: "Error", kind: "Tool" })),
        "there is no span execute_tool clock of kind Tool that was failed with Error"
      )
      assert.include(yield* refused(Traces.expectNoSpan(/clock/)), "there is a span /clock/")
    }).pipe(Effect.provide(Doubles)))

  it.effect("compares the tree", () =>
    Effect.gen(function*() {
      yield* ran
      const text = yield* Traces.tree
      yield* Traces.expectTree(`\n${text.replaceAll(/^/gm, "        ")}\n      `)
      assert.match(text, /^invoke_agent butler\n {2}/)
      const message = yield* refused(Traces.expectTree(text.replace("clock", "bell")))
      assert.include(message, "the tree is another than expected")
      assert.include(message, "execute_tool bell")
    }).pipe(Effect.provide(Doubles)))

  it.effect("says that there is none, where there is none", () =>
    Effect.gen(function*() {
      assert.include(yield* refused(Traces.expectSpan("a")), "(no span)")
    }).pipe(Effect.provide(TestAgents.layer())))
})
