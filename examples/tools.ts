/**
 * Tools of every make: typed arguments, a failure that the model mends, a raw JSON Schema, and a family over a database.
 *
 * A toolkit says what the model may ask for, its handlers are a Layer, and a run requires that Layer.
 * To see a compile error, take `.pipe(Layer.provide(Orders.layer))` away: `Orders` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, Item, ModelScripted, Runner, ToolContext } from "agent-layers"
import * as SqlSqlite from "agent-layers/layers/sql/SqlSqlite"
import * as ToolsSql from "agent-layers/layers/tools/ToolsSql"
import { Console, Context, Effect, Layer, Option, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { SqlClient } from "effect/sql"

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

/** A schema that came from elsewhere: the handler gets what the model wrote, and checks it for itself. */
const Remind = Tool.dynamic("remind", {
  description: "Reminds the customer of something",
  parameters: {
    type: "object",
    properties: { about: { type: "string" }, days: { type: "integer", minimum: 1 } },
    required: ["about"]
  },
  success: Schema.String
})

const Tools = Toolkit.make(OrderStatus, Remind)

const Handlers = Tools.toLayer(Effect.gen(function*() {
  const orders = yield* Orders
  return Tools.of({
    order_status: Effect.fn("order_status")(function*({ order }) {
      const status = yield* orders.status(order)
      return yield* Option.match(status, {
        onNone: () => Effect.fail(`There is no order ${order}`),
        onSome: (status) => Effect.succeed({ status })
      })
    }),
    remind: Effect.fn("remind")(function*() {
      const { agent, context, rawArguments, turn } = yield* ToolContext.ToolContext
      return `${agent} will remind ${context}, as asked in turn ${turn}: ${rawArguments}`
    })
  })
})).pipe(Layer.provide(Orders.layer))

/** A database with one table, that `ToolsSql` may read and put notes into. */
const Database = Layer.effectDiscard(Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)`
})).pipe(Layer.provideMerge(SqlSqlite.layer({ filename: ":memory:" })))

const SqlHandlers = ToolsSql.layerWithInsert({ insertInto: { notes: ["text"] } }).pipe(Layer.provide(Database))

const Clerk = Agent.make({
  name: "clerk",
  instructions: "You know where orders are, and keep notes.",
  toolkit: Toolkit.merge(Tools, ToolsSql.toolkitWithInsert)
})

const program = Effect.gen(function*() {
  const result = yield* Runner.run(Clerk, "Where is A-17? Note it, and remind me.", { context: "Ada" })
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
  ModelScripted.toolCall("insert", { table: "notes", columns: ["text"], rows: [["A-71 has shipped"]] }),
  ModelScripted.toolCall("query", { sql: "DELETE FROM notes" }),
  ModelScripted.toolCall("query", { sql: "SELECT text FROM notes WHERE id = ?", parameters: [1] }),
  ModelScripted.toolCall("remind", { about: "A-71", days: 2 }),
  ModelScripted.text("You mean A-71: it has shipped.")
])

program.pipe(Effect.provide([Handlers, SqlHandlers, Model]), NodeRuntime.runMain)
