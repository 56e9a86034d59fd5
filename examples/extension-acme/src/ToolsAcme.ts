/** Tools for Acme's orders. Cancelling one waits for a person's approval. */
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"

export interface Options {
  /** What has become of each order, by its number. */
  readonly orders: Readonly<Record<string, string>>
}

const parameters = Schema.Struct({ order: Schema.String.annotate({ description: "The number, such as A-17" }) })

export const toolkit = Toolkit.make(
  Tool.make("order_status", {
    description: "Tells what has become of an order.",
    parameters,
    success: Schema.String,
    failure: Schema.String
  }),
  Tool.make("cancel_order", {
    description: "Cancels an order that has not shipped.",
    parameters,
    success: Schema.String,
    failure: Schema.String,
    needsApproval: true
  })
)

export const layer = (options: Options): Layer.Layer<Tool.HandlersFor<Toolkit.Tools<typeof toolkit>>> =>
  Layer.unwrap(Effect.map(Ref.make(new Map(Object.entries(options.orders))), (orders) => {
    const find = (order: string) =>
      Effect.flatMap(Ref.get(orders), (all) => {
        const status = all.get(order)
        return status === undefined ? Effect.fail(`There is no order ${order}`) : Effect.succeed(status)
      })
    return toolkit.toLayer({
      order_status: ({ order }) => find(order),
      cancel_order: ({ order }) =>
        Effect.flatMap(find(order), (status) =>
          status === "shipped"
            ? Effect.fail(`${order} has shipped, and cannot be cancelled`)
            : Effect.as(Ref.update(orders, (all) => new Map(all).set(order, "cancelled")), `${order} is cancelled`))
    })
  }))
