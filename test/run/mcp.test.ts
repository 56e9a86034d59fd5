import { assert, describe, it } from "@effect/vitest"
import { Agent, AgentGraph, Approval, ModelProvider, ModelScripted, SessionMemory } from "agent-layers"
import * as McpServer from "agent-layers/services/McpServer"
import { Deferred, Effect, Exit, Fiber, Stream } from "effect"
import { outputs, reasonOf, resumeAs, runAs, ways } from "./support.ts"

class Files extends McpServer.Service<Files>()("files") {}
class Search extends McpServer.Service<Search>()("search") {}

const tool = (name: string): McpServer.McpTool => ({
  name,
  description: `Does ${name}`,
  inputSchema: { type: "object", properties: { path: { type: "string" } } }
})

const text = (text: string): McpServer.McpToolResult => ({ content: [{ type: "input_text", text }], isError: false })

const server = (name: string, fake: Partial<McpServer.McpConnection> = {}) => {
  const calls: Array<readonly [string, unknown]> = []
  let listed = 0
  const connection: McpServer.McpConnection = {
    name,
    listTools: Effect.succeed([tool("read"), tool("write")]),
    callTool: () => Effect.succeed(text("done")),
    toolsChanged: Stream.empty,
    ...fake
  }
  const counted: McpServer.McpConnection = {
    ...connection,
    listTools: Effect.suspend(() => {
      listed++
      return connection.listTools
    }),
    callTool: (tool, args) =>
      Effect.suspend(() => {
        calls.push([tool, args])
        return connection.callTool(tool, args)
      })
  }
  return { connection: counted, calls, listed: () => listed }
}

const down = (operation: string) =>
  new McpServer.McpError({
    server: "files",
    operation,
    reason: "Unavailable",
    description: "the child process exited with code 1"
  })

const shown = (request: ModelScripted.ScriptedRequest | undefined) => request?.tools?.map(({ name }) => name) ?? []

describe.each(ways)("MCP servers of an agent, %s", (way) => {
  it.effect("are listed before every model call, and called under the names that the server uses", () =>
    Effect.gen(function*() {
      let round = 0
      const files = server("files", {
        listTools: Effect.sync(() => round++ === 0 ? [tool("fs.read")] : [tool("fs.read"), tool("fs.stat")])
      })
      const agent = Agent.make({ name: "clerk", mcpServers: [Agent.mcpTools(Files, { prefix: "files_" })] })
      const model = yield* ModelScripted.make([
        ModelScripted.toolCall("files_fs_read", { path: "/a" }),
        ModelScripted.text("ok")
      ])
      const result = yield* runAs(way, agent, "go").pipe(
        Effect.provideService(Files, files.connection),
        Effect.provideService(ModelProvider.ModelProvider, model.provider)
      )
      const [first, second] = yield* model.requests
      assert.deepStrictEqual(first!.tools, [{
        type: "function",
        name: "files_fs_read",
        description: "Does fs.read",
        parameters: tool("").inputSchema,
        strict: false
      }])
      assert.deepStrictEqual(shown(second), ["files_fs_read", "files_fs_stat"])
      assert.deepStrictEqual(files.calls, [["fs.read", { path: "/a" }]])
      assert.deepStrictEqual(Object.values(outputs(result.items)), ["done"])
    }))

  it.effect("show what a filter leaves, to each agent its own", () =>
    Effect.gen(function*() {
      const files = server("files", { listTools: Effect.succeed(["read", "write", "stat"].map(tool)) })
      const narrow = (filter: McpServer.ToolFilter) =>
        Agent.make({ name: "clerk", mcpServers: [Agent.mcpTools(Files, { filter })] })
      const seenBy = (filter: McpServer.ToolFilter) =>
        Effect.gen(function*() {
          const model = yield* ModelScripted.make([ModelScripted.text("ok")])
          yield* runAs(way, narrow(filter), "go").pipe(
            Effect.provideService(Files, files.connection),
            Effect.provideService(ModelProvider.ModelProvider, model.provider)
          )
          return shown((yield* model.requests)[0])
        })
      assert.deepStrictEqual(yield* seenBy({}), ["read", "write", "stat"])
      assert.deepStrictEqual(yield* seenBy({ include: ["stat", "read"] }), ["read", "stat"])
      assert.deepStrictEqual(yield* seenBy({ exclude: ["write"] }), ["read", "stat"])
      assert.deepStrictEqual(yield* seenBy({ include: ["read", "write"], exclude: ["write"] }), ["read"])
      assert.deepStrictEqual(yield* seenBy({ include: ["raed"] }), [])
      assert.deepStrictEqual(
        yield* seenBy({ include: ["read", "stat"], where: ({ name }) => Effect.succeed(name !== "read") }),
        ["stat"]
      )
    }))

  it.effect("are not asked while they are disabled", () =>
    Effect.gen(function*() {
      const files = server("files")
      const agent = Agent.make({
        name: "clerk",
        mcpServers: [Agent.mcpTools(Files, { isEnabled: Effect.succeed(false) })]
      })
      const model = yield* ModelScripted.make([ModelScripted.toolCall("read"), ModelScripted.text("ok")])
      const result = yield* runAs(way, agent, "go").pipe(
        Effect.provideService(Files, files.connection),
        Effect.provideService(ModelProvider.ModelProvider, model.provider)
      )
      assert.deepStrictEqual([files.listed(), files.calls], [0, []])
      assert.include(String(Object.values(outputs(result.items))[0]), "There is no tool \"read\"")
    }))

  it.effect("are found by tool search where they are deferred", () =>
    Effect.gen(function*() {
      const files = server("files")
      const agent = Agent.make({ name: "clerk", mcpServers: [Agent.mcpTools(Files, { isDeferred: true })] })
      const model = yield* ModelScripted.make([
        ModelScripted.toolCall("tool_search", { query: "write" }),
        ModelScripted.toolCall("write", { path: "/a" }),
        ModelScripted.text("ok")
      ])
      yield* runAs(way, agent, "go").pipe(
        Effect.provideService(Files, files.connection),
        Effect.provideService(ModelProvider.ModelProvider, model.provider)
      )
      assert.deepStrictEqual((yield* model.requests).map(shown), [
        ["tool_search"],
        ["write", "tool_search"],
        ["write", "tool_search"]
      ])
      assert.deepStrictEqual(files.calls, [["write", { path: "/a" }]])
    }))

  it.effect("ask a person before a call, and run it once after a resume", () =>
    Effect.gen(function*() {
      const files = server("files")
      const agent = Agent.make({
        name: "clerk",
        mcpServers: [
          Agent.mcpTools(Files, { needsApproval: (_, { name }) => Effect.succeed(name === "write") })
        ]
      })
      const model = yield* ModelScripted.make([
        ModelScripted.calls([{ name: "read" }, { name: "write", arguments: { path: "/a" } }]),
        ModelScripted.text("ok")
      ])
      yield* Effect.gen(function*() {
        const { approvals, state } = yield* reasonOf(
          "ApprovalRequired",
          runAs(way, agent, "go", { conversationId: "c" })
        )
        assert.deepStrictEqual(approvals.map(({ tool }) => tool), ["write"])
        assert.deepStrictEqual(files.calls, [["read", {}]])
        yield* resumeAs(way, agent, state, approvals.map((approval) => Approval.approve(approval)), {
          conversationId: "c"
        })
        assert.deepStrictEqual(files.calls, [["read", {}], ["write", { path: "/a" }]])
      }).pipe(
        Effect.provideService(Files, files.connection),
        Effect.provideService(ModelProvider.ModelProvider, model.provider),
        Effect.provide(SessionMemory.layer)
      )
    }))

  it.effect("give the model what they answer: text, content, structure, failures", () =>
    Effect.gen(function*() {
      const image = { type: "input_image" as const, image_url: "data:image/png;base64,AA==", detail: "auto" as const }
      const answers: ReadonlyArray<McpServer.McpToolResult> = [
        { content: [{ type: "input_text", text: "a" }, image], isError: false },
        { content: [], structuredContent: { n: 1 }, isError: false },
        { content: [{ type: "input_text", text: "no such file" }], isError: true },
        { content: [], isError: false }
      ]
      let next = 0
      const files = server("files", {
        callTool: () => next < answers.length ? Effect.succeed(answers[next++]!) : Effect.fail(down("callTool"))
      })
      const agent = Agent.make({ name: "clerk", mcpServers: [Files] })
      const model = yield* ModelScripted.make([
        ...Array.from({ length: 5 }, () => ModelScripted.toolCall("read", {})),
        ModelScripted.text("ok")
      ])
      const result = yield* runAs(way, agent, "go").pipe(
        Effect.provideService(Files, files.connection),
        Effect.provideService(ModelProvider.ModelProvider, model.provider)
      )
      assert.deepStrictEqual(Object.values(outputs(result.items)), [
        answers[0]!.content,
        "{\"n\":1}",
        "Error: no such file",
        "",
        "Error: MCP server \"files\" did not answer: the child process exited with code 1"
      ])
    }))

  it.effect("end the run where their failures are to", () =>
    Effect.gen(function*() {
      const files = server("files", { callTool: () => Effect.fail(down("callTool")) })
      const agent = Agent.make({ name: "clerk", mcpServers: [Agent.mcpTools(Files, { onFailure: "fail" })] })
      const model = yield* ModelScripted.make([ModelScripted.toolCall("read", {})])
      const { description, tool } = yield* reasonOf("ToolFailed", runAs(way, agent, "go")).pipe(
        Effect.provideService(Files, files.connection),
        Effect.provideService(ModelProvider.ModelProvider, model.provider)
      )
      assert.strictEqual(tool, "read")
      assert.include(description, "exited with code 1")
    }))

  it.effect("that cannot be listed end the run with their own error, before the model is asked", () =>
    Effect.gen(function*() {
      const files = server("files", { listTools: Effect.fail(down("listTools")) })
      const agent = Agent.make({ name: "clerk", mcpServers: [Files] })
      const model = yield* ModelScripted.make([])
      const error = yield* Effect.flip(runAs(way, agent, "go")).pipe(
        Effect.provideService(Files, files.connection),
        Effect.provideService(ModelProvider.ModelProvider, model.provider)
      )
      assert.isTrue(McpServer.isMcpError(error))
      assert.isEmpty(yield* model.requests)
    }))

  it.effect("with tools of one name are told apart by a prefix, and refused without", () =>
    Effect.gen(function*() {
      const files = server("files")
      const search = server("search", { callTool: () => Effect.succeed(text("found")) })
      const model = yield* ModelScripted.make([
        ModelScripted.calls([{ name: "read" }, { name: "web_read" }]),
        ModelScripted.text("ok")
      ])
      yield* Effect.gen(function*() {
        const { description } = yield* reasonOf(
          "InvalidOptions",
          runAs(way, Agent.make({ name: "clerk", mcpServers: [Files, Search] }), "go")
        )
        assert.include(description, "\"read\"")
        assert.isEmpty(yield* model.requests)
        const agent = Agent.make({ name: "clerk", mcpServers: [Files, Agent.mcpTools(Search, { prefix: "web_" })] })
        const result = yield* runAs(way, agent, "go")
        assert.deepStrictEqual(
          Object.values(outputs(result.items)),
          ["done", "found"]
        )
      }).pipe(
        Effect.provideService(Files, files.connection),
        Effect.provideService(Search, search.connection),
        Effect.provideService(ModelProvider.ModelProvider, model.provider)
      )
    }))

  it.effect("stand behind agents that are called, and behind agents that take over", () =>
    Effect.gen(function*() {
      const files = server("files")
      const reader = Agent.make({ name: "reader", mcpServers: [Files] })
      const clerk = Agent.make({
        name: "clerk",
        agentTools: [Agent.asTool(reader, { name: "ask", description: "Asks" })],
        handoffs: [reader]
      })
      const model = yield* ModelScripted.make([
        ModelScripted.toolCall("ask", { input: "read it" }),
        ModelScripted.toolCall("read", { path: "/inner" }),
        ModelScripted.text("inner"),
        ModelScripted.toolCall("transfer_to_reader"),
        ModelScripted.toolCall("read", { path: "/outer" }),
        ModelScripted.text("outer")
      ])
      const result = yield* runAs(way, clerk, "go").pipe(
        Effect.provideService(Files, files.connection),
        Effect.provideService(ModelProvider.ModelProvider, model.provider)
      )
      assert.deepStrictEqual([result.finalOutput, result.lastAgent], ["outer", "reader"])
      assert.deepStrictEqual(files.calls.map(([, args]) => args), [{ path: "/inner" }, { path: "/outer" }])
    }))

  it.effect("are told when a call is interrupted", () =>
    Effect.gen(function*() {
      const calling = yield* Deferred.make<void>()
      let isCancelled = false
      const files = server("files", {
        callTool: () =>
          Effect.onInterrupt(Effect.andThen(Deferred.succeed(calling, undefined), Effect.never), () =>
            Effect.sync(() => {
              isCancelled = true
            }))
      })
      const agent = Agent.make({ name: "clerk", mcpServers: [Files] })
      const model = yield* ModelScripted.make([ModelScripted.toolCall("read", {})])
      const fiber = yield* Effect.forkChild(
        runAs(way, agent, "go").pipe(
          Effect.provideService(Files, files.connection),
          Effect.provideService(ModelProvider.ModelProvider, model.provider)
        )
      )
      yield* Deferred.await(calling)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      assert.isTrue(isCancelled)
    }))
})

describe("MCP servers", () => {
  it.effect("without a Layer are a defect that says so", () =>
    Effect.gen(function*() {
      const agent = Agent.make({ name: "clerk", mcpServers: [Files] })
      const exit = yield* Effect.exit(runAs("run", agent, "go")).pipe(
        Effect.provideService(ModelProvider.ModelProvider, (yield* ModelScripted.make([])).provider)
      )
      assert.include(String(exit), "No MCP server \"files\"")
    }))

  it("are drawn, each once", () => {
    const reader = Agent.make({ name: "reader", mcpServers: [Files] })
    const clerk = Agent.make({
      name: "clerk",
      mcpServers: [Files, Agent.mcpTools(Search, { prefix: "web_" })],
      handoffs: [reader]
    })
    assert.strictEqual(
      AgentGraph.mermaid(clerk),
      `flowchart TD
  agent1["clerk"]
  agent2["reader"]
  mcp1{{"files"}}
  mcp2{{"search"}}
  agent1 --- mcp1
  agent1 ---|"web_#42;"| mcp2
  agent1 -->|"transfer_to_reader"| agent2
  agent2 --- mcp1`
    )
    assert.include(AgentGraph.dot(clerk), `mcp1 [label="files", shape=hexagon]`)
    assert.include(AgentGraph.dot(clerk), `agent1 -> mcp2 [label="web_*", dir=none]`)
  })
})
