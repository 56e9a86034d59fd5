/**
 * All kinds of extension in one program: a clerk with tools over a database and an MCP server hands off to a coder in a
 * sandbox; the conversation is cached, compressed and encrypted, the model a router over a fallback over retries, and
 * traces go to the console, a batch and an OTLP collector. In examples/everything-doubles.ts they are all doubles.
 *
 * Take any Layer out, and the compiler says what is missing. The program requires a store that cannot read along.
 * To see a compile error, take `, encrypted` away: `Sealed` is missing.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Agent, McpServer, ModelError, ModelScripted, Runner, Sandbox, Session } from "agent-layers"
import * as McpStdio from "agent-layers/layers/mcp/McpStdio"
import * as ModelFallback from "agent-layers/layers/model/ModelFallback"
import * as ModelRetry from "agent-layers/layers/model/ModelRetry"
import * as ModelRouter from "agent-layers/layers/model/ModelRouter"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import * as SessionCached from "agent-layers/layers/session/SessionCached"
import * as SessionCompressed from "agent-layers/layers/session/SessionCompressed"
import * as SessionEncrypted from "agent-layers/layers/session/SessionEncrypted"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import * as SqlSqlite from "agent-layers/layers/sql/SqlSqlite"
import * as ToolsSandbox from "agent-layers/layers/tools/ToolsSandbox"
import * as ToolsSql from "agent-layers/layers/tools/ToolsSql"
import * as TracerBatch from "agent-layers/layers/tracer/TracerBatch"
import * as TracerConsole from "agent-layers/layers/tracer/TracerConsole"
import * as TracerOtlp from "agent-layers/layers/tracer/TracerOtlp"
import { Config, Console, Effect, Layer, Logger, Redacted, Schedule } from "effect"
import { FetchHttpClient, HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { SqlClient } from "effect/sql"
import { createServer } from "node:http"

export class Sums extends McpServer.Service<Sums>()("sums") {}

export const Coder = Agent.make({ name: "coder", description: "Runs programs.", toolkit: ToolsSandbox.toolkit })

export const Clerk = Agent.make({
  name: "clerk",
  instructions: "You know the orders. Leave programs to the coder.",
  toolkit: ToolsSql.toolkit,
  mcpServers: [Agent.mcpTools(Sums, { filter: { include: ["get-sum"] } })],
  handoffs: [Coder]
})

export const ask = (question: string) =>
  Session.requireSealed(Runner.run(Clerk, question, { conversationId: "ada", trace: { groupId: "ada" } }))

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Cloud = ModelScripted.layer([
  ModelScripted.fail(new ModelError.Overloaded({ description: "too busy" })),
  ModelScripted.toolCall("query", { sql: "SELECT euros FROM orders WHERE name = ?", parameters: ["Ada"] }),
  ModelScripted.toolCall("get-sum", { a: 40, b: 2 }),
  ModelScripted.toolCall("transfer_to_coder"),
  ModelScripted.toolCall("shell", { command: "expr 42 \\* 2 > double.txt; cat double.txt" }),
  ModelScripted.fail(new ModelError.QuotaExceeded({ description: "no credit" }))
])
const Local = ModelScripted.layer([ModelScripted.text("The double of your orders is 84.")])

const patient = ModelRetry.layer({ schedule: Schedule.recurs(2) })
const Model = ModelRouter.layer({
  main: ModelFallback.layer([patient.pipe(Layer.provide(Cloud)), Local])
}, { default: "main" })

const encrypted = SessionEncrypted.layerConfig({
  // openssl rand -base64 32
  keys: Config.Redacted("SESSION_KEY").pipe(
    Config.withDefault(Redacted.make("only for this example, not for yours".replaceAll(/\W/g, "").repeat(2))),
    Config.map((secret) => [{ id: "2026-11", secret }])
  )
})
const File = SessionSqlite.layer({ filename: ":memory:" })
const Store = Session.wrap(File, [SessionCached.layer(), SessionCompressed.layer(), encrypted])

const Orders = Layer.effectDiscard(SqlClient.SqlClient.use((sql) =>
  Effect.andThen(
    sql`CREATE TABLE orders (name TEXT, euros INTEGER)`,
    sql`INSERT INTO orders ${sql.insert([{ name: "Ada", euros: 40 }, { name: "Ada", euros: 2 }])}`
  )
)).pipe(Layer.provideMerge(SqlSqlite.layer({ filename: ":memory:" })))
const SqlTools = ToolsSql.layer().pipe(Layer.provide(Orders))

// Confined, on Linux: SandboxBubblewrap.layer(), from agent-layers/layers/sandbox/SandboxBubblewrap
const Workspace = Sandbox.layerSession().pipe(Layer.provide(SandboxUnconfined.layer()))
const SandboxTools = ToolsSandbox.layer.pipe(Layer.provide(Workspace))

const server = import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js")
const SumServer = McpStdio.layer(Sums, { command: process.execPath, args: [new URL(server).pathname] })

/** What stands in for a collector: counts the spans that it is sent. */
const Collector = HttpRouter.serve(
  HttpRouter.add(
    "POST",
    "/v1/traces",
    Effect.gen(function*() {
      const body = yield* (yield* HttpServerRequest.HttpServerRequest).text
      yield* Console.log(`the collector was sent ${body.split(`"spanId"`).length - 1} spans`)
      return HttpServerResponse.jsonUnsafe({})
    })
  ),
  { disableLogger: true, disableListenLog: true }
).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })))
const Otlp = Layer.unwrap(
  HttpServer.HttpServer.useSync((http) =>
    TracerOtlp.layer({ url: `${HttpServer.formatAddress(http.address)}/v1/traces`, encoding: "json" })
  )
).pipe(Layer.provide([Collector, FetchHttpClient.layer]))
const Batch = TracerBatch.layer({ name: "count", export: (entries) => Console.log(`a batch of ${entries.length}`) })

const program = Effect.gen(function*() {
  const { finalOutput, lastAgent } = yield* ask("What is the double of my orders?")
  yield* Console.log(`${lastAgent}: ${finalOutput}`)
})

const ToLog = Logger.layer([Logger.make(({ message }) => console.log(`log: ${message}`))])
const Tracing = Layer.mergeAll(TracerConsole.layer(), Batch, Otlp)
const Stack = Layer.mergeAll(Model, Store, SqlTools, SandboxTools, SumServer, Tracing, ToLog)

if (import.meta.main) program.pipe(Effect.provide(Stack), NodeRuntime.runMain)
