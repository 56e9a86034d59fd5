/** The mission, rows on MCP servers and tools: agents that call them, against servers from npm and a real database. */
import { assert, describe, it } from "@effect/vitest"
import { Agent, McpServer, ModelScripted, Runner, ToolContext } from "agent-layers"
import * as McpFiltered from "agent-layers/layers/mcp/McpFiltered"
import * as McpHttp from "agent-layers/layers/mcp/McpHttp"
import * as McpInProcess from "agent-layers/layers/mcp/McpInProcess"
import * as McpServers from "agent-layers/layers/mcp/McpServers"
import * as McpSse from "agent-layers/layers/mcp/McpSse"
import * as McpStdio from "agent-layers/layers/mcp/McpStdio"
import * as SqlSqlite from "agent-layers/layers/sql/SqlSqlite"
import * as ToolsSql from "agent-layers/layers/tools/ToolsSql"
import { Effect, Layer, Logger, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { SqlClient } from "effect/sql"
import { fileURLToPath } from "node:url"
import { everything } from "../support/mcp/everything.ts"
import { temporaryFolder } from "../support/session/subjects.ts"
import { outputs } from "./support.ts"

class Everything extends McpServer.Service<Everything>()("everything") {}
class Files extends McpServer.Service<Files>()("files") {}
class Letters extends McpServer.Service<Letters>()("letters") {}

const program = (name: string) => fileURLToPath(import.meta.resolve(`@modelcontextprotocol/${name}/dist/index.js`))

const stdio = { command: process.execPath, args: [program("server-everything")] }

const asks = (name: string, parameters: unknown) =>
  ModelScripted.layer([ModelScripted.toolCall(name, parameters), ModelScripted.text("Done.")])

describe("MCP servers", () => {
  const Parrot = Agent.make({ name: "parrot", mcpServers: [Everything] })
  const echoes = <E>(server: Layer.Layer<Everything, E>) =>
    Effect.gen(function*() {
      const { newItems } = yield* Runner.run(Parrot, "Say hello.").pipe(
        Effect.provide([server, asks("echo", { message: "hello" })])
      )
      assert.deepStrictEqual(outputs(newItems), ["Echo: hello"])
    })

  it.live("McpStdio: an agent calls a tool of a child process", () => echoes(McpStdio.layer(Everything, stdio)))

  it.live("McpStdio: a file server from npm, within its folder", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const args = [program("server-filesystem"), folder]
      const Librarian = Agent.make({ name: "librarian", mcpServers: [Files] })
      const { newItems } = yield* Runner.run(Librarian, "Look.").pipe(
        Effect.provide([
          McpStdio.layer(Files, { command: process.execPath, args }),
          ModelScripted.layer([
            ModelScripted.toolCall("write_file", { path: `${folder}/a.txt`, content: "A Layer waits." }),
            ModelScripted.toolCall("read_text_file", { path: `${folder}/a.txt` }),
            ModelScripted.toolCall("read_text_file", { path: "/etc/hostname" }),
            ModelScripted.text("Done.")
          ])
        ])
      )
      const [, read, refused] = outputs(newItems)
      assert.strictEqual(read, "A Layer waits.")
      assert.include(String(refused), "Access denied")
    }))

  it.live("McpHttp: an agent calls a tool over streamable HTTP", () =>
    Effect.flatMap(
      everything("streamableHttp"),
      ({ port }) => echoes(McpHttp.layer(Everything, { url: `http://127.0.0.1:${port}/mcp` }))
    ))

  it.live("McpSse: an agent calls a tool over server-sent events", () =>
    Effect.flatMap(
      everything("sse"),
      ({ port }) => echoes(McpSse.layer(Everything, { url: `http://127.0.0.1:${port}/sse` }))
    ))

  it.live("McpInProcess: a custom server is functions of the program", () =>
    echoes(McpInProcess.layer(Everything, {
      tools: [McpInProcess.tool({
        name: "echo",
        parameters: Schema.Struct({ message: Schema.String }),
        handler: ({ message }) => Effect.succeed(`Echo: ${message}`)
      })]
    })))

  it.live("McpServers: servers by name, for programs that learn theirs as they run", () =>
    Effect.gen(function*() {
      const servers = yield* McpServers.McpServers
      assert.deepStrictEqual(yield* servers.names, ["one"])
      const one = yield* servers.get("one")
      const { content } = yield* one.callTool("echo", { message: "by name" })
      assert.strictEqual(content[0]?.text, "Echo: by name")
      assert.strictEqual((yield* Effect.flip(servers.get("two"))).server, "two")
    }).pipe(Effect.provide(McpServers.layer({ one: stdio }))))
})

describe("MCP tool filtering", () => {
  const tools = ["a", "b", "c"].map((name): McpInProcess.Tool => ({
    name,
    inputSchema: { type: "object" },
    annotations: { readOnlyHint: name !== "c" },
    handler: () => Effect.succeed({ content: [{ type: "input_text", text: name }], isError: false })
  }))
  const server = McpInProcess.layer(Letters, { tools })
  const isReadOnly = (tool: McpServer.McpTool) => Effect.succeed(tool.annotations?.["readOnlyHint"] === true)

  /** What the model is shown by an agent with a filter, over a server's Layer with another. */
  const shown = (ofAgent: McpServer.ToolFilter, ofServer: McpServer.ToolFilter = {}) =>
    Effect.gen(function*() {
      const Reader = Agent.make({ name: "reader", mcpServers: [Agent.mcpTools(Letters, { filter: ofAgent })] })
      yield* Runner.run(Reader, "Which?")
      const [request] = yield* ModelScripted.requests
      return request?.tools?.map((tool) => tool.type === "function" ? tool.name : "")
    }).pipe(Effect.provide([
      Layer.provide(McpFiltered.layer(Letters, ofServer), server),
      ModelScripted.layer([ModelScripted.text("These.")])
    ]))

  it.effect("static: include minus exclude, on the agent and on the server's Layer", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* shown({ include: ["a", "b"], exclude: ["b"] }), ["a"])
      assert.deepStrictEqual(yield* shown({}, { exclude: ["a"] }), ["b", "c"])
      assert.deepStrictEqual(yield* shown({ include: ["b", "a"] }, { exclude: ["a"] }), ["b"])
    }))

  it.effect("static: an unknown name is a warning", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel} ${String(message)}`))
    return Effect.gen(function*() {
      assert.deepStrictEqual(yield* shown({ include: ["a", "aa"] }), ["a"])
      assert.match(lines.join("\n"), /^Warn.*"letters".*"aa"/)
    }).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.effect("dynamic: an Effect decides, on the agent and on the server's Layer", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* shown({ where: isReadOnly }), ["a", "b"])
      assert.deepStrictEqual(yield* shown({}, { where: isReadOnly }), ["a", "b"])
    }))
})

describe("Custom tool, schema, families", () => {
  it.effect("schema: a tool gets decoded parameters, and wrong ones go back to the model", () => {
    const Add = Toolkit.make(Tool.make("add", {
      parameters: Schema.Struct({ a: Schema.NumberFromString, b: Schema.NumberFromString }),
      success: Schema.Number
    }))
    return Effect.gen(function*() {
      const { newItems } = yield* Runner.run(Agent.make({ name: "adder", toolkit: Add }), "1 + 2?")
      const [wrong, right] = outputs(newItems)
      assert.match(String(wrong), /"b"|b:/)
      assert.strictEqual(right, "3")
    }).pipe(Effect.provide([
      Add.toLayer({ add: ({ a, b }) => Effect.succeed(a + b) }),
      ModelScripted.layer([
        ModelScripted.toolCall("add", { a: "1" }),
        ModelScripted.toolCall("add", { a: "1", b: "2" }),
        ModelScripted.text("3")
      ])
    ]))
  })

  it.effect("raw JSON Schema: a tool without a Schema", () => {
    const parameters = { type: "object", properties: { q: { type: "string" } }, required: ["q"] } as const
    const Raw = Toolkit.make(Tool.dynamic("raw", { parameters, success: Schema.Unknown }))
    return Effect.gen(function*() {
      const { newItems } = yield* Runner.run(Agent.make({ name: "raw", toolkit: Raw }), "Go.")
      const [request] = yield* ModelScripted.requests
      assert.deepNestedInclude(request?.tools?.[0], { "parameters.required": ["q"] })
      assert.deepStrictEqual(outputs(newItems), [`{"got":{"q":"x"}}`])
    }).pipe(Effect.provide([
      Raw.toLayer({ raw: (got) => Effect.succeed({ got }) }),
      asks("raw", { q: "x" })
    ]))
  })

  it.effect("ToolContext: a handler knows the call that it serves, and the caller's own value", () => {
    const Who = Toolkit.make(Tool.make("who", { success: Schema.String }))
    return Effect.gen(function*() {
      const Teller = Agent.make({ name: "teller", toolkit: Who })
      const { newItems } = yield* Runner.run(Teller, "Who?", { context: { tenant: "acme" } })
      assert.deepStrictEqual(outputs(newItems), ["teller, turn 1, who, acme"])
    }).pipe(Effect.provide([
      Who.toLayer({
        who: () =>
          Effect.map(
            ToolContext.ToolContext,
            ({ agent, context, toolName, turn }) =>
              `${agent}, turn ${turn}, ${toolName}, ${(context as { readonly tenant: string }).tenant}`
          )
      }),
      asks("who", {})
    ]))
  })

  const Database = Layer.provideMerge(
    Layer.effectDiscard(SqlClient.SqlClient.use((sql) => sql.unsafe("CREATE TABLE notes (title TEXT)"))),
    SqlSqlite.layer({ filename: ":memory:" })
  )

  it.effect("ToolsSql: query and insert, with parameters bound", () =>
    Effect.gen(function*() {
      const Clerk = Agent.make({ name: "clerk", toolkit: ToolsSql.toolkitWithInsert })
      const { newItems } = yield* Runner.run(Clerk, "Note this.")
      const [inserted, found] = outputs(newItems).map((output) => JSON.parse(String(output)))
      assert.deepStrictEqual([inserted.inserted, found.rows], [1, [["x'; DROP TABLE notes; --"]]])
    }).pipe(Effect.provide([
      Layer.provide(ToolsSql.layerWithInsert({ insertInto: { notes: "all" } }), Database),
      ModelScripted.layer([
        ModelScripted.toolCall("insert", { table: "notes", columns: ["title"], rows: [["x'; DROP TABLE notes; --"]] }),
        ModelScripted.toolCall("query", {
          sql: "SELECT title FROM notes WHERE title = ?",
          parameters: ["x'; DROP TABLE notes; --"]
        }),
        ModelScripted.text("Done.")
      ])
    ])))

  it.effect("ToolsSql: read-only by default", () =>
    Effect.gen(function*() {
      const Reader = Agent.make({ name: "reader", toolkit: ToolsSql.toolkit })
      const { newItems } = yield* Runner.run(Reader, "Delete all.")
      assert.match(String(outputs(newItems)[0]), /ReadOnly|InvalidSql|only/i)
      const sql = yield* SqlClient.SqlClient
      assert.deepStrictEqual(yield* sql`SELECT name FROM sqlite_master`, [{ name: "notes" }])
    }).pipe(Effect.provide([
      Layer.provideMerge(ToolsSql.layer(), Database),
      asks("query", { sql: "DROP TABLE notes" })
    ])))
})

describe("Errors handled gracefully", () => {
  const Bomb = Toolkit.make(Tool.make("bomb", { success: Schema.String }))
  const Careless = Agent.make({ name: "careless", toolkit: Bomb })

  it.effect("tool: one that throws, rejects or dies is a RunError with agent, tool and cause", () =>
    Effect.gen(function*() {
      const ways: ReadonlyArray<() => Effect.Effect<string>> = [
        () => {
          throw new Error("boom")
        },
        () => Effect.promise(() => Promise.reject(new Error("boom"))),
        () => Effect.die(new Error("boom"))
      ]
      for (const bomb of ways) {
        const error = yield* Effect.flip(Runner.run(Careless, "Go.")).pipe(
          Effect.provide([Bomb.toLayer({ bomb }), ModelScripted.layer([ModelScripted.toolCall("bomb", {})])])
        )
        assert.strictEqual(error._tag, "RunError")
        assert.deepNestedInclude(error, { "reason._tag": "ToolDefect", "reason.tool": "bomb" })
        assert.include(error.message, "boom")
      }
    }))

  it.live("MCP server: one that dies is told to the model with its exit code and last lines of stderr", () =>
    Effect.gen(function*() {
      const script = fileURLToPath(new URL("../support/mcp/misbehaving.ts", import.meta.url))
      const Parrot = Agent.make({ name: "parrot", mcpServers: [Everything] })
      const { newItems } = yield* Runner.run(Parrot, "Go.").pipe(Effect.provide([
        McpStdio.layer(Everything, { command: process.execPath, args: ["--no-warnings", script, "die", "mission"] }),
        asks("go", {})
      ]))
      assert.match(String(outputs(newItems)[0]), /exited with code 7.*the disk is full/s)
    }))

  it.live("MCP server: one that cannot be started is an McpError with server, operation and cause", () =>
    Effect.gen(function*() {
      const absent = McpStdio.layer(Everything, { command: "no-such-program-here" })
      const error = yield* Effect.flip(Effect.provide(Everything, absent))
      assert.isTrue(McpServer.isMcpError(error))
      assert.deepInclude(error, { server: "everything", reason: "Unavailable" })
    }))
})
