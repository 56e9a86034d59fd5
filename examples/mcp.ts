/**
 * The tools of an MCP server: a child process that is started with the Layer and ended with it.
 *
 * The server's Layer lets nobody write; the agent itself sees two of the tools that are left. What the server refuses goes
 * to the model, which mends it.
 *
 * To see a compile error, take `Library, ` away: `Files` is missing.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Agent, Item, McpServer, ModelScripted, Runner } from "agent-layers"
import * as McpFiltered from "agent-layers/layers/mcp/McpFiltered"
import * as McpStdio from "agent-layers/layers/mcp/McpStdio"
import { Console, Effect, FileSystem, Layer } from "effect"

class Files extends McpServer.Service<Files>()("files") {}

const Librarian = Agent.make({
  name: "librarian",
  instructions: "You know what is in the files.",
  mcpServers: [Agent.mcpTools(Files, { filter: { include: ["list_directory", "read_text_file"] } })]
})

const program = Effect.gen(function*() {
  const files = yield* Files
  const tools = yield* files.listTools
  yield* Console.log("the server lets through:", tools.length, "tools")
  const result = yield* Runner.run(Librarian, "What does the poem say?")
  const [request] = yield* ModelScripted.requests
  yield* Console.log(
    "the model sees:",
    request?.tools?.map((tool) => tool.type === "function" ? tool.name : "").join(", ")
  )
  for (const item of result.newItems) {
    if (Item.isFunctionCall(item)) yield* Console.log(`${item.name}(${item.arguments})`)
    if (Item.isFunctionCallOutput(item)) yield* Console.log(`  -> ${String(item.output).trim().slice(0, 70)}`)
  }
  yield* Console.log(result.finalOutput)
  const error = yield* Effect.flip(files.callTool("write_file", { path: "poem.txt", content: "" }))
  yield* Console.log("write_file:", error.reason)
})

/** A folder that is there as long as the server is. */
const Library = Layer.unwrap(Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* Effect.flatMap(fs.makeTempDirectoryScoped(), fs.realPath)
  yield* fs.writeFileString(`${folder}/poem.txt`, "A Layer waits, a recipe;\n")
  // Without an installation: { command: "npx", args: ["-y", "@modelcontextprotocol/server-filesystem", folder] }
  const server = import.meta.resolve("@modelcontextprotocol/server-filesystem/dist/index.js")
  return McpFiltered.layer(Files, { exclude: ["write_file", "edit_file", "move_file", "create_directory"] }).pipe(
    Layer.provide(McpStdio.layer(Files, { command: process.execPath, args: [new URL(server).pathname, folder] }))
  )
})).pipe(Layer.provide(NodeServices.layer))

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([
  ModelScripted.toolCall("read_text_file", { path: "/etc/hostname" }),
  ModelScripted.toolCall("list_directory", { path: "." }),
  ModelScripted.toolCall("read_text_file", { path: "poem.txt" }),
  ModelScripted.text("A Layer waits.")
])

program.pipe(Effect.provide([Library, Model]), NodeRuntime.runMain)
