import { assert, describe, it } from "@effect/vitest"
import { Agent, Handoff, InputFilter, Item, ModelScripted } from "agent-layers"
import { Effect, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { outputs, reasonOf, resumeAs, runAs, ways } from "./support.ts"

const Work = Tool.make("work", { success: Schema.Number, failure: Schema.String })
const kit = Toolkit.make(Work)
const agent = Agent.make({ name: "clerk", toolkit: kit })

describe.each(ways)("a conversation that the provider keeps, %s", (way) => {
  it.effect("goes on from a tool that ended the run with what was to be sent, and after the same response", () => {
    let isBroken = true
    return Effect.gen(function*() {
      const { state } = yield* reasonOf(
        "ToolFailed",
        runAs(way, agent, "go", { previousResponseId: "resp_0", onToolFailure: "fail" })
      )
      isBroken = false
      const result = yield* resumeAs(way, agent, state)
      const [first, again, last] = yield* ModelScripted.requests
      assert.deepStrictEqual([first!.input, first!.previousResponseId], [[Item.user("go")], "resp_0"])
      assert.deepStrictEqual(Object.values(outputs(again!.input as ReadonlyArray<Item.Item>)), ["Error: broken"])
      assert.strictEqual(again!.previousResponseId, state.responses.at(-1)!.id)
      assert.strictEqual(last!.previousResponseId, result.responses.at(-2)!.id)
      assert.deepStrictEqual(Object.values(outputs(last!.input as ReadonlyArray<Item.Item>)), ["1"])
    }).pipe(Effect.provide([
      kit.toLayer({ work: () => isBroken ? Effect.fail("broken") : Effect.succeed(1) }),
      ModelScripted.layer([ModelScripted.toolCall("work"), ModelScripted.toolCall("work"), ModelScripted.text("Done.")])
    ]))
  })

  it.effect("goes on after approvals with the outputs alone", () => {
    const asking = Agent.make({ name: "clerk", toolkit: kit, toolOptions: { work: { needsApproval: true } } })
    return Effect.gen(function*() {
      const { approvals, state } = yield* reasonOf(
        "ApprovalRequired",
        runAs(way, asking, "go", { providerConversationId: "conv_0" })
      )
      const decisions = approvals.map(({ argumentsHash, id }) => ({ id, argumentsHash, isApproved: true }))
      yield* resumeAs(way, asking, state, decisions, { providerConversationId: "conv_0" })
      const [first, second] = yield* ModelScripted.requests
      assert.deepStrictEqual([first!.input, first!.conversationId], [[Item.user("go")], "conv_0"])
      assert.deepStrictEqual(Object.values(outputs(second!.input as ReadonlyArray<Item.Item>)), ["1"])
      assert.lengthOf(second!.input, 1)
    }).pipe(Effect.provide([
      kit.toLayer({ work: () => Effect.succeed(1) }),
      ModelScripted.layer([ModelScripted.toolCall("work"), ModelScripted.text("Done.")])
    ]))
  })

  it.effect("refuses handoffs with a filter, which would take nothing away", () =>
    Effect.gen(function*() {
      const other = Agent.make({ name: "other" })
      const filtering = Agent.make({
        name: "first",
        handoffs: [Agent.make({ name: "between", handoffs: [Handoff.to(other, { filter: InputFilter.removeTools })] })]
      })
      for (const options of [{ previousResponseId: "resp_0" }, { providerConversationId: "conv_0" }]) {
        const { description } = yield* reasonOf("InvalidOptions", runAs(way, filtering, "go", options))
        assert.include(description, "transfer_to_other")
      }
      assert.isEmpty(yield* ModelScripted.requests)
    }).pipe(Effect.provide(ModelScripted.layer([]))))
})

describe.each(ways)("an agent, %s", (way) => {
  it.effect("makes its prompt before every model call", () => {
    let made = 0
    const prompting = Agent.make({
      name: "clerk",
      toolkit: kit,
      prompt: Effect.sync(() => ({ id: "prompt_1", variables: { turn: String(++made) } }))
    })
    return Effect.gen(function*() {
      yield* runAs(way, prompting, [])
      assert.deepStrictEqual((yield* ModelScripted.requests).map(({ prompt }) => prompt?.variables), [
        { turn: "1" },
        { turn: "2" }
      ])
    }).pipe(Effect.provide([
      kit.toLayer({ work: () => Effect.succeed(1) }),
      ModelScripted.layer([ModelScripted.toolCall("work"), ModelScripted.text("Done.")])
    ]))
  })

  it.effect("is refused where its handoffs make new agents without end", () => {
    const endless = (count: number): Agent.Any =>
      Agent.make({ name: `agent ${count}`, handoffs: () => [endless(count + 1)] })
    return Effect.gen(function*() {
      const { description } = yield* reasonOf("InvalidOptions", runAs(way, endless(1), "go"))
      assert.include(description, "the same agents each time")
    }).pipe(Effect.provide(ModelScripted.layer([])))
  })
})
