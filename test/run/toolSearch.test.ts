import { assert, describe, it } from "@effect/vitest"
import { Agent, Item, ModelScripted } from "agent-layers"
import { Effect, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { runAs, ways } from "./support.ts"

const parameters = Schema.Struct({ id: Schema.String })
const Refund = Tool.make("refund_order", { description: "Pays an order back", parameters, success: Schema.String })
const Track = Tool.make("track_parcel", { description: "Where a parcel is", parameters, success: Schema.String })
const Now = Tool.make("now", { success: Schema.String })
const kit = Toolkit.make(Refund, Track, Now)
const handlers = kit.toLayer({
  refund_order: ({ id }) => Effect.succeed(`refunded ${id}`),
  track_parcel: ({ id }) => Effect.succeed(`${id} is here`),
  now: () => Effect.succeed("noon")
})
const clerk = Agent.make({
  name: "clerk",
  toolkit: kit,
  toolOptions: { refund_order: { isDeferred: true }, track_parcel: { isDeferred: true } }
})

for (const way of ways) {
  describe(`deferred tools by ${way}`, () => {
    it.effect("are shown once the model has found them", () =>
      Effect.gen(function*() {
        const result = yield* runAs(way, clerk, "Money back!")
        const shown = (yield* ModelScripted.requests).map((request) => request.tools!.map((tool) => tool.name))
        assert.deepStrictEqual(shown, [
          ["now", "tool_search"],
          ["refund_order", "now", "tool_search"],
          ["refund_order", "now", "tool_search"]
        ])
        assert.deepStrictEqual(
          result.items.filter(Item.isFunctionCallOutput).map((item) => item.output),
          [`{"tools":[{"name":"refund_order","description":"Pays an order back"}]}`, "refunded 7"]
        )
      }).pipe(Effect.provide([
        handlers,
        ModelScripted.layer([
          ModelScripted.toolCall("tool_search", { query: "refund an order" }),
          ModelScripted.toolCall("refund_order", { id: "7" }),
          ModelScripted.text("Done.")
        ])
      ])))

    it.effect("can be called before they were found, and a search for nothing names them", () =>
      Effect.gen(function*() {
        const result = yield* runAs(way, clerk, "Where is it?")
        const outputs = result.items.filter(Item.isFunctionCallOutput).map((item) => String(item.output))
        assert.include(outputs[0], "There are: refund_order, track_parcel")
        assert.match(outputs[1]!, /^Error: The arguments of tool "tool_search" are not valid/)
        assert.strictEqual(outputs[2], "8 is here")
      }).pipe(Effect.provide([
        handlers,
        ModelScripted.layer([
          ModelScripted.calls([
            { name: "tool_search", arguments: { query: "weather" } },
            { name: "tool_search", arguments: {} },
            { name: "track_parcel", arguments: { id: "8" } }
          ]),
          ModelScripted.text("Done.")
        ])
      ])))
  })
}
