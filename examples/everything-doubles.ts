/**
 * The agents of examples/everything.ts with every service replaced by its double: no database, no process, no network.
 *
 * To see a compile error, take `, SumServer` away: `Sums` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Item, ModelScripted, SandboxVirtual, Session, TracerMemory } from "agent-layers"
import * as ToolsSandbox from "agent-layers/layers/tools/ToolsSandbox"
import * as ToolsSql from "agent-layers/layers/tools/ToolsSql"
import * as Sandbox from "agent-layers/services/Sandbox"
import { McpScripted, TestAgents } from "agent-layers/testing"
import { Console, Effect, Layer } from "effect"
import { ask, Sums } from "./everything.ts"

const Doubles = TestAgents.layer({
  model: [
    ModelScripted.toolCall("query", { sql: "SELECT euros FROM orders" }),
    ModelScripted.toolCall("get-sum", { a: 40, b: 2 }),
    ModelScripted.toolCall("transfer_to_coder"),
    ModelScripted.toolCall("shell", { command: "expr 42 \\* 2" }),
    ModelScripted.text("The double of your orders is 84.")
  ],
  sandbox: { exec: { "expr 42 \\* 2": { stdout: "84\n" } } }
})

/** In memory nobody reads along. */
const Store = Layer.effect(Session.Sealed, Session.Session)

const SumServer = McpScripted.layer(Sums, { tools: [McpScripted.tool("get-sum", [McpScripted.text("It is 42.")])] })

const SqlTools = ToolsSql.toolkit.toLayer({
  describe: () => Effect.succeed({ dialect: "SQLite", tables: [] }),
  query: () => Effect.succeed({ columns: ["euros"], rows: [[40], [2]] })
})

const SandboxTools = ToolsSandbox.layer.pipe(Layer.provide(Sandbox.layerSession()))

const program = Effect.gen(function*() {
  const { finalOutput, lastAgent, newItems } = yield* ask("What is the double of my orders?")
  for (const item of newItems) if (Item.isFunctionCallOutput(item)) yield* Console.log(`-> ${String(item.output)}`)
  yield* Console.log(`${lastAgent}: ${finalOutput}`)
  const commands = yield* SandboxVirtual.SandboxVirtual.use(({ commands }) => commands)
  yield* Console.log("the sandbox was asked for:", commands.map(({ line }) => line).join(", "))
  yield* Console.log(yield* TracerMemory.TracerMemory.use(({ outline }) => outline))
})

const Stack = Layer.mergeAll(Store, SandboxTools, SqlTools, SumServer).pipe(Layer.provideMerge(Doubles))

program.pipe(Effect.provide(Stack), NodeRuntime.runMain)
