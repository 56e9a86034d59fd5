/** Agents that use servers from npm, by each transport; and what importing the Layers costs. */
import { assert, describe, it } from "@effect/vitest"
import { Agent, Item, ModelScripted, Runner } from "agent-layers"
import * as McpHttp from "agent-layers/layers/mcp/McpHttp"
import * as McpInProcess from "agent-layers/layers/mcp/McpInProcess"
import * as McpSse from "agent-layers/layers/mcp/McpSse"
import * as McpStdio from "agent-layers/layers/mcp/McpStdio"
import * as McpServer from "agent-layers/services/McpServer"
import { Effect, Layer, Schema } from "effect"
import { spawnSync } from "node:child_process"
import { randomUUID } from "node:crypto"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { everything } from "../../support/mcp/everything.ts"
import { processesWith } from "../../support/mcp/subjects.ts"
import { temporaryFolder } from "../../support/session/subjects.ts"

class Everything extends McpServer.Service<Everything>()("everything") {}

const misbehaving = fileURLToPath(new URL("../../support/mcp/misbehaving.ts", import.meta.url))

const Parrot = Agent.make({ name: "parrot", mcpServers: [Everything] })

const outputs = (items: ReadonlyArray<Item.Item>) => items.filter(Item.isFunctionCallOutput).map(({ output }) => output)

const local = McpInProcess.layer(Everything, {
  tools: [McpInProcess.tool({
    name: "echo",
    parameters: Schema.Struct({ message: Schema.String }),
    handler: ({ message }) => Effect.succeed(`Echo: ${message}`)
  })]
})

class Files extends McpServer.Service<Files>()("files") {}
class Memory extends McpServer.Service<Memory>()("memory") {}

const program = (name: string) => fileURLToPath(import.meta.resolve(`@modelcontextprotocol/${name}/dist/index.js`))

const transports = {
  McpStdio: Effect.succeed(
    McpStdio.layer(Everything, { command: process.execPath, args: [program("server-everything")] })
  ),
  McpHttp: Effect.map(
    everything("streamableHttp"),
    ({ port }) => McpHttp.layer(Everything, { url: `http://127.0.0.1:${port}/mcp` })
  ),
  McpSse: Effect.map(
    everything("sse"),
    ({ port }) => McpSse.layer(Everything, { url: `http://127.0.0.1:${port}/sse` })
  ),
  McpInProcess: Effect.succeed(local)
}

describe("an agent", () => {
  for (const [name, transport] of Object.entries(transports)) {
    it.live(`calls tools by ${name}`, () =>
      Effect.gen(function*() {
        const layer = yield* transport
        const model = ModelScripted.layer([
          ModelScripted.toolCall("echo", { message: "hello" }),
          ModelScripted.text("It said hello.")
        ])
        const result = yield* Effect.provide(Runner.run(Parrot, "Say hello"), Layer.mergeAll(layer, model))
        assert.deepStrictEqual(outputs(result.newItems), ["Echo: hello"])
        assert.strictEqual(result.finalOutput, "It said hello.")
      }))
  }

  it.live("uses server-filesystem and server-memory beside each other", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      writeFileSync(join(folder, "note.txt"), "Ada likes Layers")
      const servers = Layer.mergeAll(
        McpStdio.layer(Files, { command: process.execPath, args: [program("server-filesystem"), folder] }),
        McpStdio.layer(Memory, {
          command: process.execPath,
          args: [program("server-memory")],
          env: { MEMORY_FILE_PATH: join(folder, "memory.jsonl") }
        })
      )
      const clerk = Agent.make({ name: "clerk", mcpServers: [Files, Agent.mcpTools(Memory, { prefix: "memory_" })] })
      const ada = { name: "Ada", entityType: "person", observations: ["likes Layers"] }
      const model = ModelScripted.layer([
        ModelScripted.toolCall("read_text_file", { path: join(folder, "note.txt") }),
        ModelScripted.toolCall("memory_create_entities", { entities: [ada] }),
        ModelScripted.toolCall("memory_search_nodes", { query: "Layers" }),
        ModelScripted.text("She likes Layers.")
      ])
      const result = yield* Effect.provide(Runner.run(clerk, "What does Ada like?"), Layer.merge(servers, model))
      const [read, , found] = outputs(result.newItems)
      assert.strictEqual(read, "Ada likes Layers")
      assert.include(String(found), "\"entityType\": \"person\"")
      assert.include(readFileSync(join(folder, "memory.jsonl"), "utf8"), "likes Layers")
      assert.deepStrictEqual(processesWith(folder), [])
    }))

  it.live("is told how a server died in a call, goes on with the next, and leaves no process", () =>
    Effect.gen(function*() {
      const word = `mcp-${randomUUID()}`
      const layer = McpStdio.layer(Everything, {
        command: process.execPath,
        args: ["--no-warnings", misbehaving, "die", word]
      })
      const model = ModelScripted.layer([
        ModelScripted.toolCall("go", {}),
        ModelScripted.toolCall("go", {}),
        ModelScripted.text("It is broken.")
      ])
      const result = yield* Effect.provide(Runner.run(Parrot, "Go"), Layer.mergeAll(layer, model))
      const said = outputs(result.newItems)
      assert.strictEqual(said.length, 2)
      for (const text of said) assert.match(String(text), /exited with code 7.*the disk is full/s)
      assert.deepStrictEqual(processesWith(word), [])
    }))

  it.live("does not begin where a server cannot be reached: the Layer fails, typed", () =>
    Effect.gen(function*() {
      const layer = McpStdio.layer(Everything, { command: "no-such-program-here" })
      const error = yield* Effect.flip(
        Effect.provide(Runner.run(Parrot, "Go"), Layer.mergeAll(layer, ModelScripted.layer([])))
      )
      assert.isTrue(McpServer.isMcpError(error))
    }))
})

describe("importing the Layers", () => {
  it("loads nothing of the SDK", () => {
    const modules = readdirSync(fileURLToPath(new URL("../../../src/layers/mcp", import.meta.url)))
      .filter((name) => name.endsWith(".ts"))
      .map((name) => `agent-layers/layers/mcp/${name.slice(0, -".ts".length)}`)
    assert.isAtLeast(modules.length, 6)
    const script = `import { registerHooks } from "node:module"
      const loaded = []
      registerHooks({ load: (url, context, next) => { loaded.push(url); return next(url, context) } })
      for (const name of process.argv.slice(1)) await import(name)
      console.log(JSON.stringify(loaded.filter((url) => url.includes("/@modelcontextprotocol/"))))`
    const { status, stderr, stdout } = spawnSync(
      process.execPath,
      ["--conditions=agent-layers:source", "--no-warnings", "--input-type=module", "-e", script, "--", ...modules],
      { cwd: fileURLToPath(new URL("../../..", import.meta.url)), encoding: "utf8" }
    )
    assert.strictEqual(status, 0, stderr)
    assert.deepStrictEqual(JSON.parse(stdout), [])
  })
})
