import { assert, describe, it } from "@effect/vitest"
import { Agent, Handoff, InputFilter, Item, ModelScripted, Runner, Session, SessionMemory, Usage } from "agent-layers"
import { Cause, Effect, Exit, Ref, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { runAs, ways } from "./support.ts"

const Look = Tool.make("look", { success: Schema.String })
const kit = Toolkit.make(Look)
const handlers = kit.toLayer({ look: () => Effect.succeed("seen") })

const billing = Agent.make({
  name: "Billing",
  description: "Knows invoices.",
  instructions: "You bill.",
  toolkit: kit,
  model: "m2"
})
const refunds = Agent.make({ name: "Refunds", output: Schema.Struct({ amount: Schema.Number }) })
const triage = Agent.make({ name: "Triage", instructions: "You sort.", handoffs: [billing, refunds] })

const outputs = (items: ReadonlyArray<Item.Item>) =>
  items.filter(Item.isFunctionCallOutput).map((item) => [item.call_id, item.output])

const reasonOf = (exit: Exit.Exit<unknown, any>): any =>
  Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error.reason : undefined

for (const way of ways) {
  describe(`handoffs by ${way}`, () => {
    it.effect("let the other agent go on with its own instructions, tools and model", () =>
      Effect.gen(function*() {
        const result = yield* runAs(way, triage, "My invoice?", { conversationId: "c" })
        assert.strictEqual(result.finalOutput, "Paid.")
        assert.strictEqual(result.lastAgent, "Billing")
        const [first, second] = yield* ModelScripted.requests
        assert.deepStrictEqual(first!.handoffs!.map(({ name }) => name), ["transfer_to_billing", "transfer_to_refunds"])
        assert.include(first!.handoffs![0]!.description, "Knows invoices.")
        assert.strictEqual(second!.instructions, "You bill.")
        assert.deepStrictEqual(second!.tools!.map(({ name }) => name), ["look"])
        assert.isUndefined(second!.handoffs)
        assert.deepStrictEqual(outputs(result.items), [["h", `{"assistant":"Billing"}`], ["l", "seen"]])
        const sums = Usage.byAgent(result.requests)
        assert.deepStrictEqual([sums.get("Triage")!.requests, sums.get("Billing")!.requests], [1, 2])
        const { items } = yield* Session.Session.use((session) => session.loadItems("c"))
        assert.deepStrictEqual(items, result.items)
      }).pipe(Effect.provide([
        handlers,
        SessionMemory.layer,
        ModelScripted.layer([
          ModelScripted.toolCall("transfer_to_billing", {}, { callId: "h" }),
          ModelScripted.toolCall("look", {}, { callId: "l" }),
          ModelScripted.text("Paid.")
        ])
      ])))

    it.effect("are made once: the first of several, after the tools of the response, before its text", () =>
      Effect.gen(function*() {
        const both = Agent.make({ name: "Both", toolkit: kit, handoffs: [billing, refunds] })
        const result = yield* runAs(way, both, "Go")
        assert.deepStrictEqual(result.finalOutput, { amount: 3 })
        assert.deepStrictEqual(outputs(result.items), [
          ["a", `{"assistant":"Refunds"}`],
          ["b", "No handoff was made: another one of the same response comes first."],
          ["c", "seen"]
        ])
      }).pipe(Effect.provide([
        handlers,
        ModelScripted.layer([
          ModelScripted.calls([
            { name: "transfer_to_refunds", callId: "a" },
            { name: "transfer_to_billing", callId: "b" },
            { name: "look", callId: "c" }
          ], { text: "I think this is the answer." }),
          ModelScripted.text(`{"amount":3}`)
        ])
      ])))

    it.effect("take an input, run an Effect with it, and go back to the model where it does not decode", () =>
      Effect.gen(function*() {
        const reasons = yield* Ref.make<ReadonlyArray<string>>([])
        const agent = Agent.make({
          name: "Front",
          handoffs: [
            Handoff.to(refunds, {
              toolName: "escalate",
              input: Schema.Struct({ why: Schema.String }),
              onHandoff: ({ why }) => Ref.update(reasons, (all) => [...all, why])
            })
          ]
        })
        const result = yield* runAs(way, agent, "Go")
        assert.deepStrictEqual(yield* Ref.get(reasons), ["angry"])
        assert.match(String(outputs(result.items)[0]![1]), /^Error: The arguments of "escalate" are not valid/)
        assert.deepStrictEqual(result.finalOutput, { amount: 1 })
      }).pipe(Effect.provide(ModelScripted.layer([
        ModelScripted.toolCall("escalate", { why: 7 }),
        ModelScripted.toolCall("escalate", { why: "angry" }),
        ModelScripted.text(`{"amount":1}`)
      ]))))

    it.effect("show the other agent what a filter leaves, and store everything", () =>
      Effect.gen(function*() {
        const agent = Agent.make({
          name: "Front",
          toolkit: kit,
          handoffs: [Handoff.to(billing, { filter: InputFilter.removeTools })]
        })
        const result = yield* runAs(way, agent, "Go", { conversationId: "c" })
        const [, , third] = yield* ModelScripted.requests
        assert.deepStrictEqual((third!.input as ReadonlyArray<Item.Item>).map(Item.text), ["Go"])
        assert.lengthOf(outputs(result.items), 2)
        const { items } = yield* Session.Session.use((session) => session.loadItems("c"))
        assert.deepStrictEqual(items, result.items)
      }).pipe(Effect.provide([
        handlers,
        SessionMemory.layer,
        ModelScripted.layer([
          ModelScripted.toolCall("look"),
          ModelScripted.toolCall("transfer_to_billing"),
          ModelScripted.text("Done.")
        ])
      ])))

    it.effect("can be switched off by an Effect, and go round in circles", () =>
      Effect.gen(function*() {
        const isOpen = yield* Ref.make(false)
        const night = Agent.make({
          name: "Night",
          handoffs: [Handoff.to(billing, { isEnabled: Ref.get(isOpen) })]
        })
        const closed = yield* runAs(way, night, "Go")
        assert.strictEqual(closed.lastAgent, "Night")
        assert.include(String(outputs(closed.items)[0]![1]), "is not available")
        const ping: Agent.Agent<string> = Agent.make({ name: "Ping", handoffs: () => [pong] })
        const pong: Agent.Agent<string> = Agent.make({ name: "Pong", handoffs: () => [ping] })
        const result = yield* runAs(way, ping, "Go")
        assert.deepStrictEqual([result.lastAgent, result.turns], ["Ping", 3])
      }).pipe(Effect.provide([
        handlers,
        ModelScripted.layer([
          ModelScripted.toolCall("transfer_to_billing"),
          ModelScripted.text("Closed."),
          ModelScripted.toolCall("transfer_to_pong"),
          ModelScripted.toolCall("transfer_to_ping"),
          ModelScripted.text("Done.")
        ])
      ])))

    it.effect("are refused where two have one name", () =>
      Effect.gen(function*() {
        const twice = Agent.make({ name: "Twice", handoffs: [refunds, Handoff.to(refunds)] })
        const reason = reasonOf(yield* Effect.exit(runAs(way, twice, "Go")))
        assert.strictEqual(reason._tag, "InvalidOptions")
        assert.include(reason.message, `called "transfer_to_refunds"`)
        const before = Agent.make({ name: "Before", handoffs: [twice] })
        assert.strictEqual(reasonOf(yield* Effect.exit(runAs(way, before, "Go")))._tag, "InvalidOptions")
      }).pipe(Effect.provide(ModelScripted.layer([]))))
  })
}

describe("the events of a handoff", () => {
  it.effect("come after the commit of its turn", () =>
    Effect.gen(function*() {
      const events = yield* Stream.runCollect(Runner.stream(triage, "Go", { conversationId: "c" }))
      const tags = events.map((event) => event._tag).filter((tag) => tag === "Committed" || tag === "HandedOff")
      assert.deepStrictEqual(tags, ["Committed", "HandedOff", "Committed"])
      const handedOff = events.find((event) => event._tag === "HandedOff")
      assert.deepStrictEqual(handedOff, { _tag: "HandedOff", callId: "h", from: "Triage", to: "Refunds" })
    }).pipe(Effect.provide([
      handlers,
      SessionMemory.layer,
      ModelScripted.layer([
        ModelScripted.toolCall("transfer_to_refunds", {}, { callId: "h" }),
        ModelScripted.text(`{"amount":2}`)
      ])
    ])))
})
