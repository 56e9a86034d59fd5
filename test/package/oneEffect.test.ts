/** The packages around effect share this project's one copy of it: services, spans and errors pass between them. */
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js"
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js"
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Effect } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import * as net from "node:net"

const closedPort = Effect.callback<number>((resume) => {
  const server = net.createServer()
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

describe("@effect/sql-pg", () => {
  it.live("provides the SqlClient of effect/sql, and fails with its SqlError", () =>
    Effect.gen(function*() {
      const port = yield* closedPort
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        assert.deepStrictEqual(sql`select ${1} as ${sql("one")}`.compile(), ["select $1 as \"one\"", [1]])
        const error = yield* Effect.flip(sql`select 1`)
        assert.isTrue(SqlError.isSqlError(error))
        assert.strictEqual(error.reason._tag, "ConnectionError")
      }).pipe(Effect.provide(PgClient.layer({ host: "127.0.0.1", port, username: "nobody", database: "none" })))
    }))
})

describe("@effect/opentelemetry", () => {
  it.live("carries an Effect span, its parent and its attributes, to an OpenTelemetry exporter", () => {
    const exporter = new InMemorySpanExporter()
    const layer = NodeSdk.layer(() => ({
      resource: { serviceName: "agent-layers-test" },
      spanProcessor: new SimpleSpanProcessor(exporter)
    }))
    return Effect.gen(function*() {
      yield* Effect.void.pipe(
        Effect.withSpan("inner", { attributes: { "gen_ai.operation.name": "chat" } }),
        Effect.withSpan("outer")
      )
      const [inner, outer] = exporter.getFinishedSpans()
      assert.strictEqual(inner?.name, "inner")
      assert.strictEqual(outer?.name, "outer")
      assert.strictEqual(inner?.attributes["gen_ai.operation.name"], "chat")
      assert.strictEqual(inner?.parentSpanContext?.spanId, outer?.spanContext().spanId)
      assert.strictEqual(inner?.resource.attributes["service.name"], "agent-layers-test")
    }).pipe(Effect.provide(layer))
  })
})

describe("@modelcontextprotocol/sdk", () => {
  const connected = Effect.acquireRelease(
    Effect.promise(async () => {
      const [left, right] = InMemoryTransport.createLinkedPair()
      const server = new Server({ name: "clock", version: "1.0.0" }, { capabilities: { tools: {} } })
      server.setRequestHandler(ListToolsRequestSchema, () => ({
        tools: [{ name: "now", description: "The time", inputSchema: { type: "object" as const } }]
      }))
      const client = new Client({ name: "agent-layers-test", version: "0.1.0" })
      await Promise.all([server.connect(right), client.connect(left)])
      return { client, server }
    }),
    ({ client }) => Effect.promise(() => client.close())
  )

  it.live("a client lists the tools of a server over a transport in this process", () =>
    Effect.gen(function*() {
      const { client } = yield* connected
      const { tools } = yield* Effect.tryPromise(() => client.listTools())
      assert.deepStrictEqual(tools.map(({ name, description }) => [name, description]), [["now", "The time"]])
    }))
})
