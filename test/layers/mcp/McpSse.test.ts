import { assert, describe, it } from "@effect/vitest"
import * as McpSse from "agent-layers/layers/mcp/McpSse"
import * as McpServerLaws from "agent-layers/services/laws/McpServerLaws"
import * as McpServer from "agent-layers/services/McpServer"
import { Effect, Fiber, Redacted } from "effect"
import { describeLaws } from "../../support/laws.ts"
import { everything } from "../../support/mcp/everything.ts"
import { lawServer, lawState } from "../../support/mcp/lawServer.ts"
import { mcpPeer } from "../../support/mcp/McpPeer.ts"
import { sseSubject } from "../../support/mcp/subjects.ts"
import { stays, until } from "../../support/until.ts"

describeLaws("McpSse", McpServerLaws.all, sseSubject())

class Everything extends McpServer.Service<Everything>()("everything") {}

describe("McpSse", () => {
  it.live("reaches server-everything", () =>
    Effect.gen(function*() {
      const { port } = yield* everything("sse")
      yield* Effect.gen(function*() {
        const server = yield* Everything
        assert.isAbove((yield* server.listTools).length, 5)
        const { content } = yield* server.callTool("echo", { message: "over SSE" })
        assert.strictEqual(content[0]?.text, "Echo: over SSE")
      }).pipe(Effect.provide(McpSse.layer(Everything, { url: `http://127.0.0.1:${port}/sse` })))
    }))

  it.live("is Unavailable where nobody listens, Unauthorized where credentials are refused, Timeout where nothing comes", () =>
    Effect.gen(function*() {
      const none = yield* Effect.flip(McpSse.make("web", { url: "http://127.0.0.1:1/sse" }))
      assert.strictEqual(none.reason, "Unavailable")
      const peer = yield* mcpPeer({
        server: () => lawServer(),
        intercept: (_, response) => {
          response.writeHead(401).end()
          return true
        }
      })
      const refused = yield* Effect.flip(McpSse.make("web", { url: peer.sseUrl }))
      assert.strictEqual(refused.reason, "Unauthorized")
      const mute = yield* mcpPeer({ server: () => lawServer(), intercept: () => true })
      const timeouts = { connect: "200 millis" } as const
      const late = yield* Effect.flip(Effect.scoped(McpSse.make("web", { url: mute.sseUrl, timeouts })))
      assert.strictEqual(late.reason, "Timeout")
      yield* until(mute.sockets, (count) => count === 0)
    }))

  it.live("sends its headers with every request", () =>
    Effect.gen(function*() {
      const peer = yield* mcpPeer({ server: () => lawServer() })
      const connection = yield* McpSse.make("web", {
        url: peer.sseUrl,
        headers: { "x-api-key": Redacted.make("a-long-key") }
      })
      yield* connection.callTool("law_echo", { text: "hi" })
      assert.includeMembers(peer.requests.map(({ method }) => method), ["GET", "POST"])
      for (const { headers } of peer.requests) assert.strictEqual(headers["x-api-key"], "a-long-key")
    }))

  it.live("opens one other stream where the first was cut, and fails what waited on it", () =>
    Effect.gen(function*() {
      const state = lawState()
      const peer = yield* mcpPeer({ server: () => lawServer(state) })
      const connection = yield* McpSse.make("web", { url: peer.sseUrl })
      const call = yield* Effect.forkChild(Effect.flip(connection.callTool("law_wait", {})), { startImmediately: true })
      yield* until(() => state.begun, (count) => count === 1)
      peer.cut()
      assert.strictEqual((yield* Fiber.join(call)).reason, "Disconnected")
      // A transport that connected by itself would do so after three seconds.
      yield* stays(peer.connected, (count) => count === 1, 3500)
      yield* connection.listTools
      assert.strictEqual(peer.connected(), 2)
    }))
})
