import { assert, describe, it } from "@effect/vitest"
import { Agent, Item, ModelError } from "agent-layers"
import { Dialogue, SessionMemory } from "agent-layers/testing"
import { Cause, Effect, Exit, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"

const Refund = Tool.make("refund", {
  parameters: Schema.Struct({ order: Schema.String }),
  success: Schema.String,
  needsApproval: true
})
const kit = Toolkit.make(Refund)
const handlers = kit.toLayer({ refund: ({ order }) => Effect.succeed(`refunded ${order}`) })
const clerk = Agent.make({ name: "clerk", toolkit: kit })

const outputs = (items: ReadonlyArray<Item.Item>) => items.filter(Item.isFunctionCallOutput).map((item) => item.output)

const defect = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? String(exit.cause.reasons.find(Cause.isDieReason)?.defect) : "no failure"

describe("a dialogue", () => {
  it.effect("is played, with what people approve and reject", () =>
    Effect.gen(function*() {
      const { last, requests, results } = yield* Dialogue.play(clerk, [
        Dialogue.user("I want my money back, for 7 and 8"),
        Dialogue.calls("refund", { order: "7" }),
        Dialogue.approves("refund"),
        Dialogue.calls("refund", { order: "8" }),
        Dialogue.rejects("refund", "It is too old."),
        Dialogue.says("Only for 7."),
        Dialogue.user("Thank you"),
        Dialogue.says("Bye.")
      ])
      assert.deepStrictEqual(results.map((result) => result.finalOutput), ["Only for 7.", "Bye."])
      assert.deepStrictEqual(outputs(last.items), [
        "refunded 7",
        `Error: Tool "refund" was not executed: the call was rejected. It is too old.`
      ])
      assert.lengthOf(requests, 4)
    }).pipe(Effect.provide([handlers, SessionMemory.layer])))

  it.effect("fails as its run does, where nobody decides or the model fails", () =>
    Effect.gen(function*() {
      const undecided = yield* Effect.flip(
        Dialogue.play(clerk, [Dialogue.user("Go"), Dialogue.calls("refund", { order: "7" })])
      )
      assert.strictEqual(undecided._tag === "RunError" && undecided.reason._tag, "ApprovalRequired")
      const failed = yield* Effect.flip(
        Dialogue.play(clerk, [Dialogue.user("Go"), Dialogue.fails(new ModelError.Overloaded({ description: "busy" }))])
      )
      assert.strictEqual(failed._tag === "ModelError" && failed.reason._tag, "Overloaded")
    }).pipe(Effect.provide([handlers, SessionMemory.layer])))

  it.effect("says which line nothing asks for", () =>
    Effect.gen(function*() {
      const played = (...lines: ReadonlyArray<Dialogue.Line>) =>
        Effect.map(Effect.exit(Dialogue.play(clerk, lines, { conversationId: "new" })), defect)
      assert.include(yield* played(Dialogue.says("Hi")), "the first line must be the user's")
      assert.include(
        yield* played(Dialogue.user("Go"), Dialogue.says("Done"), Dialogue.approves("refund")),
        `nobody was asked to approve "refund"`
      )
      assert.include(
        yield* played(Dialogue.user("Go"), Dialogue.calls("refund", { order: "7" }), Dialogue.approves("erase")),
        `no call of "erase" waits for a person; waiting: refund`
      )
      assert.include(yield* played(Dialogue.user("Go"), Dialogue.says("A"), Dialogue.says("B")), "B")
    }).pipe(Effect.provide([handlers, SessionMemory.layer])))
})
