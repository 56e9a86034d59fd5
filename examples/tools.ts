/**
 * A tool with typed arguments, a handler with a service, and a failure that the model mends.
 *
 * A toolkit says what the model may ask for, its handlers are a Layer, and a run requires that Layer.
 * To see a compile error, take `.pipe(Layer.provide(Orders.layer))` away: `Orders` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, Item, ModelScripted, Runner } from "agent-layers"
import { Console, Context, Effect, Layer, Option, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"

class Orders extends Context.Service<Orders, {
  readonly status: (order: string) => Effect.Effect<Option.Option<string>>
}>()("example/Orders") {
  static readonly layer = Layer.sync(Orders, () => {
    const orders = new Map([["A-71", "shipped"]])
    return Orders.of({ status: (order) => Effect.sync(() => Option.fromUndefinedOr(orders.get(order))) })
  })
}

const OrderStatus = Tool.make("order_status", {
  description: "Looks an order up by its number",
  parameters: Schema.Struct({ order: Schema.String }),
  success: Schema.Struct({ status: Schema.String }),
  failure: Schema.String
})

const Tools = Toolkit.make(OrderStatus)

const Handlers = Tools.toLayer(Effect.gen(function*() {
  const orders = yield* Orders
  return Tools.of({
    order_status: Effect.fn("order_status")(function*({ order }) {
      const status = yield* orders.status(order)
      return yield* Option.match(status, {
        onNone: () => Effect.fail(`There is no order ${order}`),
        onSome: (status) => Effect.succeed({ status })
      })
    })
  })
})).pipe(Layer.provide(Orders.layer))

const Clerk = Agent.make({ name: "clerk", instructions: "You know where orders are.", toolkit: Tools })

const program = Effect.gen(function*() {
  const result = yield* Runner.run(Clerk, "Where is A-17?")
  for (const item of result.newItems) {
    if (Item.isFunctionCall(item)) yield* Console.log(`${item.name}(${item.arguments})`)
    if (Item.isFunctionCallOutput(item)) yield* Console.log(`  -> ${item.output}`)
  }
  yield* Console.log(result.finalOutput)
})

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([
  ModelScripted.toolCall("order_status", { order: "A-17" }),
  ModelScripted.toolCall("order_status", { order: "A-71" }),
  ModelScripted.text("You mean A-71: it has shipped.")
])

program.pipe(Effect.provide([Handlers, Model]), NodeRuntime.runMain)
