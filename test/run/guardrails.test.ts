import { assert, describe, it } from "@effect/vitest"
import { Agent, Guardrail, Item, ModelError, ModelScripted, Session, SessionMemory } from "agent-layers"
import { Cause, Effect, Exit, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { runAs, ways } from "./support.ts"

const Erase = Tool.make("erase", {
  parameters: Schema.Struct({ a: Schema.optionalKey(Schema.Union([Schema.String, Schema.Number])) }),
  success: Schema.String
})
const kit = Toolkit.make(Erase)

const counted = () => {
  const ran = { times: 0 }
  return { ran, handlers: kit.toLayer({ erase: () => Effect.sync(() => `erased ${++ran.times}`) }) }
}

const errorOf = (exit: Exit.Exit<unknown, any>): any =>
  Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined

const stored = Effect.map(Session.Session.use((session) => session.loadItems("c")), ({ items }) => items)

const outputs = (items: ReadonlyArray<Item.Item>) => items.filter(Item.isFunctionCallOutput).map((item) => item.output)

for (const way of ways) {
  describe(`guardrails by ${way}`, () => {
    it.effect("of the input that block, keep the model from being asked", () =>
      Effect.gen(function*() {
        const agent = Agent.make({
          name: "a",
          inputGuardrails: [
            Guardrail.input({ name: "fine", mode: "blocking", check: () => Effect.succeed(Guardrail.pass(1)) }),
            Guardrail.input({
              name: "secrets",
              mode: "blocking",
              check: ({ input }) => Effect.as(Effect.yieldNow, Guardrail.trip(Item.text(input[0]!)))
            })
          ]
        })
        const { reason } = errorOf(yield* Effect.exit(runAs(way, agent, "my key", { conversationId: "c" })))
        assert.strictEqual(reason._tag, "GuardrailTripped")
        assert.deepStrictEqual([reason.result.name, reason.result.kind, reason.result.info], [
          "secrets",
          "input",
          "my key"
        ])
        assert.deepStrictEqual(reason.results.map((result: any) => [result.name, result.outcome]), [
          ["fine", "passed"],
          ["secrets", "tripped"]
        ])
        assert.deepStrictEqual(yield* ModelScripted.requests, [])
        assert.deepStrictEqual(yield* stored, [])
      }).pipe(Effect.provide([SessionMemory.layer, ModelScripted.layer([])])))

    it.effect("of the input that run beside the model, interrupt it; no tool runs before they have passed", () => {
      const { handlers, ran } = counted()
      return Effect.gen(function*() {
        const slow = Guardrail.input({
          name: "slow",
          check: () => Effect.as(Effect.forEach([1, 2, 3, 4, 5], () => Effect.yieldNow), Guardrail.trip())
        })
        const agent = Agent.make({ name: "a", toolkit: kit, inputGuardrails: [slow] })
        const error = errorOf(yield* Effect.exit(runAs(way, agent, "go", { conversationId: "c" })))
        assert.strictEqual(error.reason._tag, "GuardrailTripped")
        assert.strictEqual(ran.times, 0)
        assert.deepStrictEqual(yield* stored, [])
        const hanging = errorOf(yield* Effect.exit(runAs(way, agent, "go")))
        assert.strictEqual(hanging.reason._tag, "GuardrailTripped")
        assert.strictEqual(yield* ModelScripted.aborted, 1)
      }).pipe(Effect.provide([
        handlers,
        SessionMemory.layer,
        ModelScripted.layer([ModelScripted.toolCall("erase"), ModelScripted.hang()])
      ]))
    })

    it.live("are interrupted where the model fails, and fail the run with errors of their own", () =>
      Effect.gen(function*() {
        let interrupted = 0
        const pending = Guardrail.input({
          name: "pending",
          check: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
        })
        const failing = Agent.make({ name: "a", inputGuardrails: [pending] })
        const modelError = errorOf(yield* Effect.exit(runAs(way, failing, "go")))
        assert.deepStrictEqual([modelError._tag, interrupted], ["ModelError", 1])
        const broken = Agent.make({
          name: "b",
          inputGuardrails: [Guardrail.input({ name: "b", mode: "blocking", check: () => Effect.fail("no service") })]
        })
        assert.strictEqual(errorOf(yield* Effect.exit(runAs(way, broken, "go"))), "no service")
      }).pipe(
        Effect.provide(ModelScripted.layer([
          ModelScripted.delayed("5 millis", ModelScripted.fail(new ModelError.Overloaded({ description: "busy" })))
        ]))
      ))

    it.effect("of the output stop the last turn before it is stored, and keep the turns before it", () => {
      const { handlers } = counted()
      return Effect.gen(function*() {
        const agent = Agent.make({
          name: "a",
          toolkit: kit,
          outputGuardrails: [
            Guardrail.output<string, never, never>({
              name: "polite",
              check: ({ finalOutput }) => Effect.succeed(finalOutput === "No." ? Guardrail.trip() : Guardrail.pass())
            })
          ]
        })
        const { reason } = errorOf(yield* Effect.exit(runAs(way, agent, "go", { conversationId: "c" })))
        assert.strictEqual(reason.result.kind, "output")
        assert.deepStrictEqual((yield* stored).map((item) => item.type), [
          "message",
          "function_call",
          "function_call_output"
        ])
        const result = yield* runAs(way, agent, "again", { conversationId: "c" })
        assert.deepStrictEqual(result.guardrails.map(({ name, outcome }) => [name, outcome]), [["polite", "passed"]])
      }).pipe(Effect.provide([
        handlers,
        SessionMemory.layer,
        ModelScripted.layer([ModelScripted.toolCall("erase"), ModelScripted.text("No."), ModelScripted.text("Yes.")])
      ]))
    })

    it.effect("of tools allow, reject with a text, or stop", () => {
      const { handlers, ran } = counted()
      const before = Guardrail.toolInput({
        name: "before",
        check: ({ arguments: args }) =>
          Effect.succeed(
            args.includes("stop")
              ? Guardrail.trip()
              : args.includes("no")
              ? Guardrail.reject("Not that.")
              : Guardrail.pass()
          )
      })
      const after = Guardrail.toolOutput({
        name: "after",
        check: ({ output }) => Effect.succeed(output === "erased 2" ? Guardrail.reject("(hidden)") : Guardrail.pass())
      })
      const agent = Agent.make({
        name: "a",
        toolkit: kit,
        toolOptions: { erase: { inputGuardrails: [before], outputGuardrails: [after] } }
      })
      return Effect.gen(function*() {
        const result = yield* runAs(way, agent, "go", { toolConcurrency: 1 })
        assert.deepStrictEqual(outputs(result.items), ["erased 1", "Not that.", "(hidden)"])
        assert.strictEqual(ran.times, 2)
        assert.deepStrictEqual(result.guardrails.map(({ outcome }) => outcome), [
          "passed",
          "passed",
          "rejected",
          "passed",
          "rejected"
        ])
        const { reason } = errorOf(yield* Effect.exit(runAs(way, agent, "go")))
        assert.deepStrictEqual([reason._tag, reason.result.kind, reason.result.callId], [
          "GuardrailTripped",
          "toolInput",
          "s"
        ])
        assert.strictEqual(ran.times, 2)
      }).pipe(Effect.provide([
        handlers,
        ModelScripted.layer([
          ModelScripted.calls([
            { name: "erase", arguments: { a: 1 } },
            { name: "erase", arguments: { a: "no" } },
            { name: "erase", arguments: { a: 2 } }
          ]),
          ModelScripted.text("Done."),
          ModelScripted.toolCall("erase", { a: "stop" }, { callId: "s" })
        ])
      ]))
    })

    it.effect("of tools that reject a call give no final answer", () => {
      const { handlers } = counted()
      const no = Guardrail.toolInput({ name: "no", check: () => Effect.succeed(Guardrail.reject("Not that.")) })
      const agent = Agent.make({
        name: "a",
        toolkit: kit,
        toolUse: "stopOnFirst",
        toolOptions: { erase: { inputGuardrails: [no] } }
      })
      return Effect.gen(function*() {
        assert.strictEqual((yield* runAs(way, agent, "go")).finalOutput, "I may not.")
      }).pipe(
        Effect.provide([
          handlers,
          ModelScripted.layer([ModelScripted.toolCall("erase"), ModelScripted.text("I may not.")])
        ])
      )
    })

    it.effect("of the input are not run after a handoff", () =>
      Effect.gen(function*() {
        const second = Agent.make({
          name: "second",
          inputGuardrails: [Guardrail.input({ name: "never", check: () => Effect.succeed(Guardrail.trip()) })]
        })
        const result = yield* runAs(way, Agent.make({ name: "first", handoffs: [second] }), "go")
        assert.strictEqual(result.lastAgent, "second")
      }).pipe(
        Effect.provide(ModelScripted.layer([ModelScripted.toolCall("transfer_to_second"), ModelScripted.text("Done.")]))
      ))
  })
}
