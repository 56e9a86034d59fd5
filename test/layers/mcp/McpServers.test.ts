import { assert, describe, it } from "@effect/vitest"
import * as McpServers from "agent-layers/layers/mcp/McpServers"
import * as McpServerLaws from "agent-layers/services/laws/McpServerLaws"
import * as McpServer from "agent-layers/services/McpServer"
import { Effect, Exit, Layer, Schema, Scope } from "effect"
import { describeLaws } from "../../support/laws.ts"
import { lawServer, lawState } from "../../support/mcp/lawServer.ts"
import { mcpPeer } from "../../support/mcp/McpPeer.ts"
import { lawServerArgs, processesWith, sdkSubject } from "../../support/mcp/subjects.ts"

const subject = sdkSubject()

describeLaws("McpServers", McpServerLaws.all, {
  ...subject,
  open: Effect.flatMap(
    McpServers.make({
      law: { open: Effect.orDie(subject.open) },
      other: { command: "never-started" }
    }),
    (servers) => servers.get("law")
  )
})

const word = "mcp-servers-test"
const stdio = { command: process.execPath, args: [...lawServerArgs, word] }
const echo = (connection: McpServer.McpConnection, text: string) =>
  Effect.map(connection.callTool("law_echo", { text }), ({ content }) => content[0]?.text)

describe("McpServers", () => {
  it.live("reaches each server by its own transport, when it is first used, one connection a name", () =>
    Effect.gen(function*() {
      const state = lawState()
      const peer = yield* mcpPeer({ server: () => lawServer(state) })
      yield* Effect.scoped(Effect.gen(function*() {
        const servers = yield* McpServers.make({
          child: stdio,
          web: { url: peer.url },
          old: { type: "sse", url: peer.sseUrl }
        })
        assert.deepStrictEqual(yield* servers.names, ["child", "web", "old"])
        assert.strictEqual(processesWith(word).length + peer.connected(), 0)
        for (const name of ["child", "web", "old"]) {
          for (const text of ["one", "two"]) {
            assert.strictEqual(yield* Effect.flatMap(servers.get(name), (server) => echo(server, text)), text)
          }
        }
        assert.strictEqual(processesWith(word).length, 1)
        assert.strictEqual(peer.connected(), 2)
      }))
      assert.strictEqual(processesWith(word).length, 0)
    }))

  it.live("adds a server until a Scope closes", () =>
    Effect.gen(function*() {
      const servers = yield* McpServers.make()
      const scope = yield* Scope.make()
      yield* Scope.provide(servers.add("child", stdio), scope)
      const taken = yield* Effect.flip(Effect.scoped(servers.add("child", stdio)))
      assert.strictEqual(taken.reason, "Unavailable")
      const child = yield* servers.get("child")
      assert.strictEqual(yield* echo(child, "here"), "here")
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* servers.names, [])
      assert.strictEqual(processesWith(word).length, 0)
      const gone = yield* Effect.flip(servers.get("child"))
      assert.include(gone.message, "no server of that name was added; there are: none")
    }))

  it.live("takes the form that configuration files have, and gives a tag its server", () =>
    Effect.gen(function*() {
      class Child extends McpServer.Service<Child>()("child") {}
      const entries = yield* Schema.decodeUnknownEffect(Schema.Record(Schema.String, McpServers.EntryFromFile))({
        child: { type: "stdio", ...stdio, env: { A: "b" } },
        web: { url: "http://127.0.0.1:1/mcp", headers: { authorization: "Bearer x" } }
      })
      const layer = McpServers.layerOf(Child).pipe(Layer.provideMerge(McpServers.layer(entries)))
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* Effect.flatMap(Child, (child) => echo(child, "tagged")), "tagged")
        const web = yield* Effect.flatMap(McpServers.McpServers, (servers) => servers.get("web"))
        assert.strictEqual((yield* Effect.flip(web.listTools)).reason, "Unavailable")
      }).pipe(Effect.provide(layer))
    }))
})
