/**
 * An agent with a shell and files in a workspace of its own, which is gone when the Layer closes.
 *
 * The toolkit needs a session, the session a sandbox, and each is a Layer. The one below enforces nothing, and says so.
 *
 * To see a compile error, take `, Layer.provide(SandboxUnconfined.layer())` away: `Sandbox` is missing.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Agent, Item, ModelScripted, Runner, Sandbox } from "agent-layers"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import * as ToolsSandbox from "agent-layers/layers/tools/ToolsSandbox"
import { Console, Effect, FileSystem, Layer } from "effect"

const Coder = Agent.make({ name: "coder", instructions: "You work with files.", toolkit: ToolsSandbox.toolkit })

const work = Effect.gen(function*() {
  const { guarantees, root } = yield* Sandbox.SandboxSession
  yield* Console.log("the sandbox keeps commands from the network:", guarantees.network)
  const result = yield* Runner.run(Coder, "Which number is the largest? Keep it in a file.")
  for (const item of result.newItems) {
    if (Item.isFunctionCall(item)) yield* Console.log(`${item.name}(${item.arguments})`)
    if (Item.isFunctionCallOutput(item)) yield* Console.log(item.output)
  }
  yield* Console.log(result.finalOutput)
  return root
})

const Workspace = Sandbox.layerSession({ files: { "numbers.txt": "7\n42\n11\n" } })

// Confined, on Linux: SandboxBubblewrap.layer(), from agent-layers/layers/sandbox/SandboxBubblewrap
const Tools = ToolsSandbox.layer.pipe(Layer.provideMerge(Workspace), Layer.provide(SandboxUnconfined.layer()))

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([
  ModelScripted.toolCall("shell", { command: "sort -n numbers.txt | tail -n 1 > largest.txt" }),
  ModelScripted.toolCall("read_file", { path: "largest.txt" }),
  ModelScripted.text("42, kept in largest.txt.")
])

const program = Effect.gen(function*() {
  const root = yield* Effect.provide(work, [Tools, Model])
  const fs = yield* FileSystem.FileSystem
  yield* Console.log("the workspace is still there:", yield* fs.exists(root))
})

program.pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
