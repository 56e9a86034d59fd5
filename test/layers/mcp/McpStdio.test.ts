import { assert, describe, it } from "@effect/vitest"
import * as McpStdio from "agent-layers/layers/mcp/McpStdio"
import * as McpServerLaws from "agent-layers/services/laws/McpServerLaws"
import * as McpServer from "agent-layers/services/McpServer"
import { Config, ConfigProvider, Duration, Effect, Exit, Fiber, Layer, Logger, Redacted, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { describeLaws } from "../../support/laws.ts"
import { lawServerArgs, processesWith, stdioSubject } from "../../support/mcp/subjects.ts"
import { allowTimeFor, until } from "../../support/until.ts"

describeLaws("McpStdio", McpServerLaws.all, stdioSubject("mcp-stdio-laws"))

const misbehaving = fileURLToPath(new URL("../../support/mcp/misbehaving.ts", import.meta.url))
const bin = (name: string) => fileURLToPath(import.meta.resolve(`@modelcontextprotocol/${name}/dist/index.js`))

/** A server that does what `mode` says, and a word that only its processes have. */
const misbehave = (mode: string, options: Partial<McpStdio.Options> = {}) => {
  const word = `mcp-${randomUUID()}`
  const connect = McpStdio.make("odd", {
    command: process.execPath,
    args: ["--no-warnings", misbehaving, mode, word],
    ...options
  })
  return { word, connect }
}

const text = ({ content }: McpServer.McpToolResult) => content.map((part) => part.text).join("|")

const fails = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.flip(Effect.scoped(effect))

/** Runs a connection, and sees that nothing of it is left. */
const using = <A, E>(
  subject: ReturnType<typeof misbehave>,
  use: (connection: McpServer.McpConnection) => Effect.Effect<A, E, Scope.Scope>
) =>
  Effect.scoped(Effect.flatMap(subject.connect, use)).pipe(
    Effect.ensuring(Effect.sync(() => assert.deepStrictEqual(processesWith(subject.word), [])))
  )

class Everything extends McpServer.Service<Everything>()("everything") {}
class Files extends McpServer.Service<Files>()("files") {}

describe("servers from npm", () => {
  it.live("server-everything: text, images, links, structure, progress", () =>
    Effect.gen(function*() {
      const server = yield* Everything
      const names = (yield* server.listTools).map(({ name }) => name)
      assert.includeMembers(names, ["echo", "get-sum", "get-tiny-image"])
      assert.strictEqual(text(yield* server.callTool("echo", { message: "hi" })), "Echo: hi")
      const image = yield* server.callTool("get-tiny-image", {})
      assert.match(String(image.content[1]?.["image_url"]), /^data:image\/png;base64,iVBOR/)
      const weather = yield* server.callTool("get-structured-content", { location: "New York" })
      assert.hasAllKeys(weather.structuredContent as object, ["temperature", "conditions", "humidity"])
      const links = yield* server.callTool("get-resource-links", { count: 2 })
      assert.match(text(links), /demo:\/\/resource/)
      const wrong = yield* server.callTool("get-sum", { a: "x" })
      assert.isTrue(wrong.isError)
      assert.match(text(wrong), /Invalid/)
      const slow = yield* server.callTool("trigger-long-running-operation", { duration: 1, steps: 2 })
      assert.match(text(slow), /completed/)
    }).pipe(
      Effect.provide(McpStdio.layer(Everything, { command: process.execPath, args: [bin("server-everything")] }))
    ))

  it.live("server-filesystem: reads and writes in its directory only", () =>
    Effect.gen(function*() {
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "mcp-files-")))),
        (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
      )
      const layer = McpStdio.layerConfig(Files, {
        command: Config.succeed(process.execPath),
        args: Config.map(Config.String("DIRECTORY"), (directory) => [bin("server-filesystem"), directory])
      }).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ DIRECTORY: directory }))))
      yield* Effect.gen(function*() {
        const files = yield* Files
        const file = path.join(directory, "a.txt")
        yield* files.callTool("write_file", { path: file, content: "hello" })
        assert.strictEqual(fs.readFileSync(file, "utf8"), "hello")
        assert.match(text(yield* files.callTool("read_text_file", { path: file })), /hello/)
        const outside = yield* files.callTool("read_text_file", { path: "/etc/hostname" })
        assert.isTrue(outside.isError)
        assert.match(text(outside), /Access denied/)
      }).pipe(Effect.provide(layer))
    }))

  it.live("gives a server no variable of this process that it does not need, and those that it is given", () =>
    Effect.gen(function*() {
      process.env["MCP_TEST_SECRET"] = "host-secret"
      const server = yield* McpStdio.make("everything", {
        command: process.execPath,
        args: [bin("server-everything")],
        env: { PLAIN: "plain", HIDDEN: Redacted.make("given-secret") }
      })
      const seen = JSON.parse(text(yield* server.callTool("get-env", {}))) as Record<string, string>
      assert.deepInclude(seen, { PLAIN: "plain", HIDDEN: "given-secret", PATH: process.env["PATH"] })
      const known = new Set(["AGENT_LAYERS_MCP", "HIDDEN", "PLAIN", "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"])
      assert.deepStrictEqual(Object.keys(seen).filter((name) => !known.has(name)), [])
    }))
})

describe("a child that ends", () => {
  it.live("before the connection is made: Unavailable, with its exit code and stderr, without secrets", () =>
    Effect.gen(function*() {
      const error = yield* fails(misbehave("exit", { env: { KEY: Redacted.make("hunter2-secret") } }).connect)
      assert.strictEqual(error._tag, "McpError")
      if (error._tag !== "McpError") return
      assert.deepStrictEqual([error.reason, error.operation, error.server], ["Unavailable", "connect", "odd"])
      assert.match(error.message, /exited with code 3.*stderr ended with:\ncannot open the database with <redacted>/s)
      assert.isTrue(error.isRetryable)
    }))

  it.live("is not there: Unavailable, and says what could not be started", () =>
    Effect.gen(function*() {
      const error = yield* fails(McpStdio.make("odd", { command: "no-such-program-here" }))
      assert.match(String(error), /Unavailable|no-such-program-here could not be started: spawn .*ENOENT/)
      const directory = yield* fails(McpStdio.make("odd", { command: process.execPath, cwd: "/no/such/place" }))
      assert.match(String(directory), /could not be started/)
    }))

  it.live("in a call: Disconnected, with its exit code and stderr", () =>
    using(misbehave("die"), (connection) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(connection.callTool("go", {}))
        assert.deepStrictEqual([error.reason, error.operation], ["Disconnected", "callTool"])
        assert.match(error.message, /exited with code 7.*the disk is full/s)
      })))

  it.live("by kill -9 in the middle of calls: each is Disconnected, and the next call has a new child", () => {
    const subject = misbehave("")
    return using(subject, (connection) =>
      Effect.gen(function*() {
        const calls = yield* Effect.forEach(
          Array.from({ length: 10 }),
          () => Effect.forkChild(connection.callTool("wait", {}), { startImmediately: true })
        )
        yield* connection.callTool("go", {})
        const [pid] = processesWith(subject.word)
        process.kill(pid!, "SIGKILL")
        for (const call of calls) {
          const error = yield* Effect.flip(Fiber.join(call))
          assert.strictEqual(error.reason, "Disconnected")
          assert.include(error.message, "was ended by SIGKILL")
        }
        assert.strictEqual(text(yield* connection.callTool("go", {})), "gone")
        const after = processesWith(subject.word)
        assert.strictEqual(after.length, 1)
        assert.notStrictEqual(after[0], pid)
      }))
  })

  it.live("and cannot come back fails after its schedule, and works again when it can", () =>
    Effect.gen(function*() {
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "mcp-gone-"))),
        (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
      )
      const program = path.join(directory, "server.ts")
      fs.copyFileSync(misbehaving, program)
      const word = `mcp-${randomUUID()}`
      const connection = yield* McpStdio.make("odd", {
        command: process.execPath,
        args: ["--no-warnings", program, "", word],
        reconnect: Schedule.upTo(Schedule.spaced("10 millis"), { times: 2 })
      })
      yield* connection.callTool("go", {})
      fs.rmSync(program)
      process.kill(processesWith(word)[0]!, "SIGKILL")
      yield* until(() => processesWith(word), ({ length }) => length === 0)
      yield* allowTimeFor("the connection to see that its process ended", 300)
      const errors = yield* Effect.forEach(
        Array.from({ length: 5 }),
        () => Effect.flip(connection.callTool("go", {})),
        { concurrency: "unbounded" }
      )
      for (const error of errors) assert.deepStrictEqual([error.reason, error.operation], ["Unavailable", "connect"])
      assert.include(errors[0]!.message, "Cannot find module")
      fs.copyFileSync(misbehaving, program)
      assert.strictEqual(text(yield* connection.callTool("go", {})), "gone")
    }))

  it.live("that stops reading its input is ended", () =>
    using(misbehave("close-input", { timeouts: { call: "5 seconds" } }), (connection) =>
      Effect.gen(function*() {
        yield* Effect.exit(connection.callTool("go", {}).pipe(Effect.timeout("1 second")))
        const error = yield* Effect.flip(connection.callTool("go", { text: "x".repeat(1_000_000) }))
        assert.include(["Disconnected", "Timeout"], error.reason)
      })))
})

describe("a server that says too little", () => {
  it.live("never answers: Timeout of connect, and no process is left", () =>
    Effect.gen(function*() {
      const subject = misbehave("mute", { timeouts: { connect: "500 millis" } })
      const error = yield* fails(subject.connect)
      assert.match(String(error), /no connection was made.* within 500ms/)
      assert.deepStrictEqual(processesWith(subject.word), [])
    }))

  it.live("says on stdout only what is no MCP: Timeout that shows it", () =>
    Effect.gen(function*() {
      const error = yield* fails(misbehave("junk-only", { timeouts: { connect: "3 seconds" } }).connect)
      assert.include(String(error), "no message of MCP: Listening on port 3000")
    }))

  it.live("never lists: Timeout of listTools, and calls go on", () =>
    using(misbehave("mute-list", { timeouts: { list: "200 millis" } }), (connection) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(connection.listTools)
        assert.deepStrictEqual([error.reason, error.operation], ["Timeout", "listTools"])
        assert.strictEqual(text(yield* connection.callTool("go", {})), "gone")
      })))

  it.live("never answers a call: Timeout of callTool, cancelled at the server, and other calls go on", () =>
    using(misbehave("", { timeouts: { call: "2 seconds" } }), (connection) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(connection.callTool("wait", {}))
        assert.deepStrictEqual([error.reason, error.operation], ["Timeout", "callTool"])
        assert.strictEqual(text(yield* connection.callTool("count", {})), "1")
      })))

  it.live("progress extends a call only where that was asked for", () =>
    Effect.gen(function*() {
      yield* using(misbehave("progress", { timeouts: { call: "1500 millis" } }), (connection) =>
        Effect.gen(function*() {
          assert.strictEqual((yield* Effect.flip(connection.callTool("go", {}))).reason, "Timeout")
        }))
      yield* using(
        misbehave("progress", { timeouts: { call: "1500 millis", isCallExtendedByProgress: true } }),
        (connection) =>
          Effect.gen(function*() {
            assert.strictEqual(text(yield* connection.callTool("go", {})), "at last")
          })
      )
    }))

  it.effect("timeouts are those of the program's clock", () =>
    Effect.gen(function*() {
      const connection = yield* misbehave("", { timeouts: { call: "1 hour" } }).connect
      const call = yield* Effect.forkChild(Effect.flip(connection.callTool("wait", {})), { startImmediately: true })
      yield* until(Effect.map(TestClock.adjust("1 hour"), () => call.pollUnsafe()), (exit) => exit !== undefined)
      assert.strictEqual((yield* Fiber.join(call)).reason, "Timeout")
    }))
})

describe("a server that says too much", () => {
  it.live("garbage on stdout is passed over", () =>
    using(misbehave("garbage"), (connection) =>
      Effect.gen(function*() {
        assert.strictEqual(text(yield* connection.callTool("go", {})), "gone")
      })))

  it.live("a message beyond the limit ends it", () =>
    Effect.gen(function*() {
      const error = yield* fails(misbehave("huge", { maxMessageBytes: 1_000_000 }).connect)
      assert.match(String(error), /more than 1000000 bytes/)
    }))

  it.live("twenty megabytes on stderr block nothing, and are not kept", () =>
    using(misbehave("stderr"), (connection) =>
      Effect.gen(function*() {
        assert.strictEqual(text(yield* connection.callTool("go", {})), "gone")
      })))

  it.live("of stderr the last lines are told", () =>
    Effect.gen(function*() {
      const loop = "i=0; while [ $i -lt 20000 ]; do echo line $i >&2; i=$((i+1)); done; exit 9"
      const error = yield* fails(McpStdio.make("odd", { command: "/bin/sh", args: ["-c", loop] }))
      assert.match(String(error), /code 9.*line 19980\n.*line 19999$/s)
      assert.notInclude(String(error), "line 19979")
    }))
})

describe("a server that breaks the protocol", () => {
  it.live("speaks no version that we do: Protocol", () =>
    Effect.gen(function*() {
      const error = yield* fails(misbehave("version").connect)
      assert.match(String(error), /protocol version is not supported: 1999-01-01/)
      if (error._tag === "McpError") assert.deepStrictEqual([error.reason, error.isRetryable], ["Protocol", false])
    }))

  for (const [mode, words] of [["loop", "twice"], ["endless", "more than 100 pages"], ["not-a-list", "no list"]]) {
    it.live(`lists like ${mode}: Protocol`, () =>
      using(misbehave(mode!), (connection) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(connection.listTools)
          assert.strictEqual(error.reason, "Protocol")
          assert.include(error.message, words!)
        })))
  }

  it.live("has tools that are none: they are left out, with one warning that names them", () =>
    using(misbehave("bad-tools", { cacheTools: false }), (connection) =>
      Effect.gen(function*() {
        const lines: Array<string> = []
        const logger = Logger.make(({ message }) => {
          lines.push(String(message))
        })
        for (const _ of [1, 2]) {
          const tools = yield* Effect.provide(connection.listTools, Logger.layer([logger]))
          assert.deepStrictEqual(tools.map(({ name }) => name), ["good", "fine"])
        }
        assert.strictEqual(lines.length, 1)
        assert.match(lines[0]!, /"odd".*"bad".*"worse"/)
      })))

  it.live("answers a call with no result: Protocol", () =>
    using(misbehave("not-a-result"), (connection) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* Effect.flip(connection.callTool("go", {}))).reason, "Protocol")
      })))

  it.live("refuses arguments by a JSON-RPC error: a result that says so", () =>
    using(misbehave("refuse"), (connection) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* connection.callTool("go", {}), {
          content: [{ type: "input_text", text: "go takes a number" }],
          isError: true
        })
        assert.strictEqual((yield* Effect.flip(connection.callTool("nothing", {}))).reason, "UnknownTool")
      })))

  it.live("has no tools: none are listed, and any is unknown", () =>
    using(misbehave("no-tools"), (connection) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* connection.listTools, [])
      })))
})

describe("the Scope", () => {
  it.live("kills a server that does not go, with all that it started, also what left its group", () =>
    Effect.gen(function*() {
      const subject = misbehave("stubborn", { killAfter: "200 millis" })
      const scope = yield* Scope.make()
      const connection = yield* Scope.provide(subject.connect, scope)
      yield* connection.callTool("go", {})
      yield* until(() => processesWith(subject.word), ({ length }) => length === 3)
      const [took] = yield* Effect.timed(Scope.close(scope, Exit.void))
      assert.deepStrictEqual(processesWith(subject.word), [])
      assert.isBelow(Duration.toSeconds(took), 30)
    }))

  it.live("leaves nothing of a connection whose making is interrupted", () =>
    Effect.gen(function*() {
      const subject = misbehave("mute", { killAfter: "100 millis" })
      const fiber = yield* Effect.forkChild(Effect.scoped(subject.connect), { startImmediately: true })
      yield* until(() => processesWith(subject.word), ({ length }) => length === 1)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(processesWith(subject.word), [])
    }))

  it.live("with connect: \"use\" starts nothing before the first use, and fails there", () =>
    Effect.gen(function*() {
      const word = `mcp-${randomUUID()}`
      const connection = yield* McpStdio.make("law", {
        command: process.execPath,
        args: [...lawServerArgs, word],
        connect: "use"
      })
      assert.deepStrictEqual(processesWith(word), [])
      yield* connection.listTools
      assert.strictEqual(processesWith(word).length, 1)
      const missing = yield* McpStdio.make("odd", { command: "no-such-program-here", connect: "use" })
      assert.strictEqual((yield* Effect.flip(missing.listTools)).reason, "Unavailable")
    }))
})
