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
import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { everything } from "../../support/mcp/everything.ts"
import { processesWith } from "../../support/mcp/subjects.ts"

class Everything extends McpServer.Service<Everything>()("everything") {}

const file = fileURLToPath(import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js"))
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

const transports = {
  McpStdio: Effect.succeed(McpStdio.layer(Everything, { command: process.execPath, args: [file] })),
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
