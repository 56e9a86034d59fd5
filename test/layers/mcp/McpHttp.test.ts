import { assert, describe, it } from "@effect/vitest"
import { InMemoryEventStore } from "@modelcontextprotocol/sdk/examples/shared/inMemoryEventStore.js"
import * as McpHttp from "agent-layers/layers/mcp/McpHttp"
import * as McpServerLaws from "agent-layers/services/laws/McpServerLaws"
import * as McpServer from "agent-layers/services/McpServer"
import { Config, ConfigProvider, Duration, Effect, Exit, Fiber, Layer, Redacted, Schedule, Scope } from "effect"
import type { IncomingMessage, ServerResponse } from "node:http"
import { freePort } from "../../support/freePort.ts"
import { describeLaws } from "../../support/laws.ts"
import { everything } from "../../support/mcp/everything.ts"
import { lawServer, lawState } from "../../support/mcp/lawServer.ts"
import { mcpPeer, type PeerOptions } from "../../support/mcp/McpPeer.ts"
import { httpSubject } from "../../support/mcp/subjects.ts"
import { allowTimeFor, stays, until } from "../../support/until.ts"

describeLaws("McpHttp", McpServerLaws.all, httpSubject())
describeLaws("McpHttp that is answered with JSON", McpServerLaws.all, httpSubject({ isJson: true }))

const store = { eventStore: () => new InMemoryEventStore() }
describeLaws("McpHttp with streams that can be resumed", McpServerLaws.all, httpSubject(store))

const law = (options: Partial<PeerOptions> = {}) =>
  Effect.sync(() => lawState()).pipe(
    Effect.flatMap((state) => mcpPeer({ server: () => lawServer(state), ...options }))
  )

const echo = (connection: McpServer.McpConnection, text: string) =>
  Effect.map(connection.callTool("law_echo", { text }), ({ content }) => content[0]?.text)

/** Answers with a status whatever matches. */
const answering = (
  status: number,
  body: string,
  matches: (request: IncomingMessage) => boolean = () => true
) =>
(request: IncomingMessage, response: ServerResponse): boolean => {
  if (!matches(request)) return false
  response.writeHead(status).end(body)
  return true
}

class Everything extends McpServer.Service<Everything>()("everything") {}

describe("servers from npm", () => {
  it.live("server-everything", () =>
    Effect.gen(function*() {
      const { port } = yield* everything("streamableHttp")
      yield* Effect.gen(function*() {
        const server = yield* Everything
        assert.isAbove((yield* server.listTools).length, 5)
        const { content } = yield* server.callTool("echo", { message: "over HTTP" })
        assert.strictEqual(content[0]?.text, "Echo: over HTTP")
      }).pipe(Effect.provide(McpHttp.layer(Everything, { url: `http://127.0.0.1:${port}/mcp` })))
    }))
})

describe("a server that cannot be reached", () => {
  it.live("is Unavailable", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const error = yield* Effect.flip(McpHttp.make("web", { url: `http://127.0.0.1:${port}/mcp` }))
      assert.strictEqual(error.reason, "Unavailable")
      assert.match(error.message, /could not be reached.*ECONNREFUSED/)
    }))

  it.live("is Unavailable where the url is none, and says why", () =>
    Effect.gen(function*() {
      for (
        const [url, words] of [["nowhere", "no address"], ["ftp://a/b", "http://"], ["http://u:p@a/", "headers"]]
      ) {
        const error = yield* Effect.flip(McpHttp.make("web", { url: url! }))
        assert.strictEqual(error.reason, "Unavailable")
        assert.include(error.message, words!)
        assert.notInclude(error.message, "u:p")
      }
    }))

  it.live("is Unavailable with 5xx and where there is nothing, Protocol where something else is", () =>
    Effect.gen(function*() {
      for (
        const [status, reason] of [[503, "Unavailable"], [404, "Unavailable"], [400, "Protocol"]] as const
      ) {
        const peer = yield* law({ intercept: answering(status, "said the server") })
        const error = yield* Effect.flip(McpHttp.make("web", { url: peer.url }))
        assert.strictEqual(error.reason, reason, String(status))
        assert.include(error.message, `HTTP ${status}: said the server`)
      }
      const page = yield* law({
        intercept: (_, response) => {
          response.writeHead(200, { "content-type": "text/html" }).end("<html>Hello")
          return true
        }
      })
      const error = yield* Effect.flip(McpHttp.make("web", { url: page.url }))
      assert.include(error.message, "content type")
    }))

  it.live("is Timeout where it never answers, and leaves no request open", () =>
    Effect.gen(function*() {
      const peer = yield* law({ intercept: () => true })
      const error = yield* Effect.flip(
        Effect.scoped(McpHttp.make("web", { url: peer.url, timeouts: { connect: "200 millis" } }))
      )
      assert.strictEqual(error.reason, "Timeout")
      yield* until(peer.sockets, (count) => count === 0)
    }))

  it.live("then and again can be: a call waits for it by the schedule", () =>
    Effect.gen(function*() {
      let isDown = false
      const peer = yield* law({
        intercept: (request) => {
          if (isDown) request.socket.destroy()
          return isDown
        }
      })
      const connection = yield* McpHttp.make("web", {
        url: peer.url,
        reconnect: Schedule.upTo(Schedule.spaced("100 millis"), { times: 20 })
      })
      isDown = true
      peer.drop()
      assert.strictEqual((yield* Effect.flip(echo(connection, "down"))).reason, "Disconnected")
      isDown = false
      assert.strictEqual(yield* echo(connection, "up"), "up")
    }))
})

describe("a server that is started anew", () => {
  it.live("is waited for by one caller for all, and no call is lost", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const scope = yield* Scope.make()
      const first = yield* Scope.provide(law({ port }), scope)
      const connection = yield* McpHttp.make("web", { url: first.url })
      yield* connection.listTools
      yield* Scope.close(scope, Exit.void)
      // A request on a socket that is just being closed may have been seen, and is not sent again.
      yield* allowTimeFor("the client to see that its sockets are closed", 300)
      const calls = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, index) => `caller ${index}`),
        (text) => Effect.forkChild(echo(connection, text), { startImmediately: true })
      )
      yield* allowTimeFor("attempts to connect that are refused", 300)
      const second = yield* law({ port })
      assert.strictEqual(new Set(yield* Effect.forEach(calls, (call) => Fiber.join(call))).size, 20)
      assert.strictEqual(second.connected(), 1)
    }))
})

describe("credentials", () => {
  it.live("that are refused are Unauthorized, and no secret is in the error", () =>
    Effect.gen(function*() {
      for (const status of [401, 403]) {
        const peer = yield* law({
          intercept: (request, response) =>
            answering(status, `you sent ${request.headers["x-api-key"]}`)(request, response)
        })
        const error = yield* Effect.flip(
          McpHttp.make("web", { url: peer.url, headers: { "x-api-key": Redacted.make("secret-key-1234") } })
        )
        assert.strictEqual(error.reason, "Unauthorized")
        assert.isFalse(error.isRetryable)
        assert.include(error.message, `HTTP ${status}: you sent <redacted>`)
        assert.notInclude(JSON.stringify(error), "secret-key-1234")
      }
    }))

  it.live("go with every request, the token anew each time", () =>
    Effect.gen(function*() {
      const peer = yield* law()
      let count = 0
      yield* Effect.scoped(Effect.gen(function*() {
        const connection = yield* McpHttp.make("web", {
          url: peer.url,
          headers: { "x-tenant": "t1" },
          token: Effect.sync(() => Redacted.make(`token-${++count}`))
        })
        yield* echo(connection, "hello")
      }))
      assert.includeMembers(peer.requests.map(({ method }) => method), ["POST", "GET", "DELETE"])
      for (const { headers } of peer.requests) {
        assert.strictEqual(headers["x-tenant"], "t1")
        assert.match(String(headers.authorization), /^Bearer token-\d+$/)
      }
      assert.strictEqual(new Set(peer.requests.map(({ headers }) => headers.authorization)).size, count)
    }))

  it.live("that cannot be had are Unauthorized, and so are those that expire", () =>
    Effect.gen(function*() {
      const peer = yield* law()
      const error = yield* Effect.flip(
        McpHttp.make("web", { url: peer.url, token: Effect.die(new Error("vault is sealed")) })
      )
      assert.strictEqual(error.reason, "Unauthorized")
      assert.include(error.message, "vault is sealed")
      let isExpired = false
      const other = yield* law({
        intercept: (request, response) => isExpired && answering(401, "expired")(request, response)
      })
      const connection = yield* McpHttp.make("web", { url: other.url })
      isExpired = true
      assert.strictEqual((yield* Effect.flip(echo(connection, "late"))).reason, "Unauthorized")
      isExpired = false
      assert.strictEqual(yield* echo(connection, "again"), "again")
      assert.strictEqual(other.connected(), 1)
    }))

  it.live("go to no other origin", () =>
    Effect.gen(function*() {
      const thief = yield* law()
      const peer = yield* law({
        intercept: (_, response) => {
          response.writeHead(307, { location: thief.url }).end()
          return true
        }
      })
      const error = yield* Effect.flip(
        McpHttp.make("web", { url: peer.url, headers: { authorization: Redacted.make("Bearer secret") } })
      )
      assert.include(error.message, "not followed")
      assert.deepStrictEqual(thief.requests, [])
    }))

  it.live("that a server repeats are kept out of errors, the token too", () =>
    Effect.gen(function*() {
      const peer = yield* law({
        intercept: (request, response) => answering(400, `no: ${request.headers.authorization}`)(request, response)
      })
      const token = Effect.succeed(Redacted.make("rotating-token"))
      const error = yield* Effect.flip(McpHttp.make("web", { url: peer.url, token }))
      assert.include(error.message, "no: Bearer <redacted>")
    }))

  it.live("come from configuration", () =>
    Effect.gen(function*() {
      const peer = yield* law()
      const layer = McpHttp.layerConfig(Everything, {
        url: Config.String("URL"),
        headers: { "x-api-key": Config.Redacted("KEY") }
      }).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ URL: peer.url, KEY: "from-config" }))))
      assert.strictEqual(
        yield* Effect.flatMap(Everything, (server) => echo(server, "hi")).pipe(Effect.provide(layer)),
        "hi"
      )
      assert.strictEqual(peer.requests[0]?.headers["x-api-key"], "from-config")
    }))
})

describe("sessions and streams", () => {
  it.live("a session that the server forgot is begun anew once, for all callers, and no call is lost", () =>
    Effect.gen(function*() {
      let forgotten: unknown = "none"
      const peer = yield* law({
        intercept: (request, response) =>
          request.headers["mcp-session-id"] === forgotten && answering(404, "no session")(request, response)
      })
      const connection = yield* McpHttp.make("web", { url: peer.url })
      yield* connection.listTools
      forgotten = peer.requests.findLast(({ headers }) => headers["mcp-session-id"])?.headers["mcp-session-id"]
      const answers = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, index) => `caller ${index}`),
        (text) => echo(connection, text),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(answers).size, 20)
      assert.strictEqual(peer.connected(), 2)
    }))

  for (const status of [404, 405]) {
    it.live(`a server without a stream of its own (${status} to GET) is used without one`, () =>
      Effect.gen(function*() {
        const peer = yield* law({ intercept: answering(status, "", ({ method }) => method === "GET") })
        const connection = yield* McpHttp.make("web", { url: peer.url })
        for (const text of ["one", "two"]) assert.strictEqual(yield* echo(connection, text), text)
        const streams = () => peer.requests.filter(({ method }) => method === "GET").length
        yield* until(streams, (count) => count === 1)
        // A client that asked again would do so after a second.
        yield* stays(streams, (count) => count === 1, 1200)
        assert.strictEqual(yield* echo(connection, "three"), "three")
        assert.strictEqual(peer.connected(), 1)
      }))
  }

  it.live("a stream that is cut in a call fails it at once, and the session goes on", () =>
    Effect.gen(function*() {
      const state = lawState()
      const peer = yield* mcpPeer({ server: () => lawServer(state) })
      const connection = yield* McpHttp.make("web", { url: peer.url })
      const call = yield* Effect.forkChild(Effect.flip(connection.callTool("law_wait", {})), { startImmediately: true })
      yield* until(() => state.begun, (count) => count === 1)
      peer.cut()
      assert.strictEqual((yield* Fiber.join(call)).reason, "Disconnected")
      assert.strictEqual(yield* echo(connection, "again"), "again")
      assert.strictEqual(peer.connected(), 1)
    }))

  it.live("a stream that is cut in a call is resumed where the server can, and gives the answer", () =>
    Effect.gen(function*() {
      const state = lawState()
      const peer = yield* mcpPeer({ server: () => lawServer(state), ...store })
      const connection = yield* McpHttp.make("web", { url: peer.url })
      const call = yield* Effect.forkChild(connection.callTool("law_slow", { millis: 2000 }), {
        startImmediately: true
      })
      yield* until(() => state.slow, (count) => count === 1)
      // Only a stream of which the client has seen an event can be resumed.
      yield* allowTimeFor("the first event of the stream to arrive", 500)
      peer.cut()
      const { content } = yield* Fiber.join(call)
      assert.strictEqual(content[0]?.text, "slow")
      assert.isTrue(peer.requests.some(({ headers }) => headers["last-event-id"] !== undefined))
      assert.strictEqual(state.slow, 1)
    }))

  for (
    const [how, options] of [["events", {}], ["events that can be resumed", store], ["JSON", { isJson: true }]] as const
  ) {
    it.live(`a cancelled call keeps no socket and is not resumed (${how})`, () =>
      Effect.gen(function*() {
        const state = lawState()
        const peer = yield* mcpPeer({ server: () => lawServer(state), ...options })
        const connection = yield* McpHttp.make("web", { url: peer.url })
        yield* echo(connection, "hello")
        for (let round = 1; round <= 3; round++) {
          const calls = yield* Effect.forEach(
            Array.from({ length: 10 }),
            () => Effect.forkChild(connection.callTool("law_wait", {}), { startImmediately: true })
          )
          yield* until(() => state.begun, (count) => count === 10 * round)
          yield* Fiber.interruptAll(calls)
        }
        const streams = () => peer.requests.filter(({ method }) => method === "GET").length
        yield* until(() => streams() === 1 && peer.active() <= 1, (isSo) => isSo)
        // A client that resumed one would do so after a second.
        yield* stays(streams, (count) => count === 1, 1500)
        assert.isAtMost(peer.active(), 1)
        assert.strictEqual(yield* echo(connection, "still here"), "still here")
        assert.strictEqual(peer.connected(), 1)
      }))
  }

  it.live("arguments that are not JSON are Protocol, and the connection goes on", () =>
    Effect.gen(function*() {
      const peer = yield* law()
      const connection = yield* McpHttp.make("web", { url: peer.url })
      assert.strictEqual((yield* Effect.flip(connection.callTool("law_same", { big: 1n }))).reason, "Protocol")
      assert.strictEqual(yield* echo(connection, "still here"), "still here")
    }))

  it.live("an end of the Scope ends the session at the server, and its sockets", () =>
    Effect.gen(function*() {
      const peer = yield* law()
      yield* Effect.scoped(Effect.gen(function*() {
        const connection = yield* McpHttp.make("web", { url: peer.url })
        yield* Effect.forkChild(connection.callTool("law_wait", {}), { startImmediately: true })
        yield* echo(connection, "hello")
        assert.isAbove(peer.sockets(), 0)
      }))
      assert.strictEqual(peer.connections(), 0)
      assert.strictEqual(peer.requests.at(-1)?.method, "DELETE")
      // Node keeps a socket that is at rest for some seconds, for the next request to the same server.
      yield* until(peer.sockets, (count) => count === 0)
    }))

  it.live("a server that does not answer the goodbye delays the end by two seconds at most", () =>
    Effect.gen(function*() {
      const peer = yield* law({ intercept: ({ method }) => method === "DELETE" })
      const [took] = yield* Effect.timed(Effect.scoped(McpHttp.make("web", { url: peer.url })))
      assert.isBelow(Duration.toSeconds(took), 30)
    }))
})
