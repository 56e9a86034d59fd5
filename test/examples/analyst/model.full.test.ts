/** `npm start` with a key: a real client over a real socket, to a server that judges each request. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import * as path from "node:path"
import * as OpenAiPeer from "../../support/openai/OpenAiPeer.ts"
import { answerOf, commandLine, errorOf, folders, headOf, itemsIn, project, run, start } from "./analyst.ts"

const { make, remove } = folders()
let dir = ""
let seed = ""

beforeAll(async () => {
  dir = make("project", project)
  seed = make("seed")
  assert.strictEqual((await run({ cwd: seed }, "--dir", dir, "explain main.ts")).code, 0)
})
afterAll(remove)

const settings = (peer: OpenAiPeer.OpenAiPeer, key = peer.apiKey) => ({
  OPENAI_API_KEY: key,
  OPENAI_BASE_URL: peer.url,
  AGENT_LAYERS_MODEL: "gpt-5-nano"
})

const promise = <A>(f: () => Promise<A>) => Effect.promise(f)

describe("a model", () => {
  it.live("is told of the tools, calls one, streams its answer; the conversation goes on from rules to it and back", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const cwd = begun("model")
      const env = settings(peer)
      yield* peer.enqueue(
        OpenAiPeer.calls([
          { name: "find_text", arguments: { text: "Greeter", kind: "definition" } },
          { name: "shell", arguments: { command: "wc -l README.md" } }
        ], { usage: { input: 200, output: 20 } }),
        OpenAiPeer.text(["The class \u001b[31mGreeter", " is in src/Greeter.ts.\u0007"], {
          usage: { input: 300, output: 30 }
        })
      )
      const asked = yield* promise(() => run({ cwd, env }, "--dir", dir, "--unconfined", "Where is the class?"))
      assert.strictEqual(asked.code, 0, asked.stderr)
      assert.strictEqual(headOf(asked.stdout, "model"), `gpt-5-nano at ${peer.url}`)
      assert.include(asked.stdout, `continuing conversation "${dir}": 6 items, last asked "explain main.ts"`)
      assert.match(asked.stdout, /^← find_text: \{"total":1,"filesSearched":4,"matches":\[\{"path":"src\/Greeter.ts"/m)
      assert.match(asked.stdout, /^← shell: exit code 0 .* 5 README.md$/m)
      assert.strictEqual(answerOf(asked.stdout), "The class ␛[31mGreeter is in src/Greeter.ts.␇")
      assert.match(asked.stdout, /^agent analyst +\+0.0ms +[\d.]+m?s +500 in, 50 out$/m)
      assert.match(asked.stdout, /^│ {2}├─ model gpt-5-nano +\S+ +\S+ +200 in, 20 out$/m)
      assert.notInclude(asked.stdout, peer.apiKey)

      assert.strictEqual(peer.requests.length, 2)
      assert.isTrue(peer.requests.every((request) => request.error === undefined && request.status === 200))
      const names = (peer.request(0).body["tools"] as ReadonlyArray<OpenAiPeer.JsonObject>).map((tool) => tool["name"])
      assert.sameMembers(names, ["shell", "read_file", "write_file", "list_files", "find_files", "find_text"])
      assert.deepStrictEqual(
        peer.request(0).input.map((item) => item["type"]),
        [
          "message",
          "function_call",
          "function_call_output",
          "function_call",
          "function_call_output",
          "message",
          "message"
        ]
      )

      const back = yield* promise(() => run({ cwd }, "--dir", dir, "What did I ask before?"))
      assert.strictEqual(answerOf(back.stdout), "Before this you asked:\n- Where is the class?\n- explain main.ts")
      for (const file of fs.readdirSync(path.join(cwd, ".agent-layers"))) {
        assert.isFalse(fs.readFileSync(path.join(cwd, ".agent-layers", file)).includes(peer.apiKey))
      }
    }))

  it.live("without a shell is told of none", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(OpenAiPeer.text("Yes."))
      const env = { ...settings(peer), PATH: make("no-programs") }
      const { code } = yield* promise(() => run({ cwd: make("no-shell"), env }, "--dir", dir, "Are you there?"))
      assert.strictEqual(code, 0)
      const names = (peer.request(0).body["tools"] as ReadonlyArray<OpenAiPeer.JsonObject>).map((tool) => tool["name"])
      assert.sameMembers(names, ["read_file", "list_files", "find_files", "find_text"])
    }))
})

/** A folder in which one question was asked already. */
const begun = (name: string) => {
  const cwd = make(name)
  fs.cpSync(path.join(seed, ".agent-layers"), path.join(cwd, ".agent-layers"), { recursive: true })
  return cwd
}

const assertAsItWas = (cwd: string) => assert.deepStrictEqual(itemsIn(cwd), itemsIn(seed))

describe("a model that does not answer", () => {
  it.live("a wrong key is named, not shown, and changes nothing", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const cwd = begun("wrong-key")
      const { code, stderr, stdout } = yield* promise(() =>
        run({ cwd, env: settings(peer, "sk-quite-wrong-0123456789") }, "--dir", dir)
      )
      assert.strictEqual(code, 1)
      assert.include(errorOf(stderr), "Set OPENAI_API_KEY")
      assert.include(errorOf(stderr), "The conversation is as it was.")
      assert.notInclude(stderr + stdout, "quite-wrong")
      assert.match(stdout, /^ +ModelError: openai \(gpt-5-nano\): Not authorised/m)
      assertAsItWas(cwd)
    }))

  it.live("a server that cannot be reached is named, and changes nothing", () =>
    Effect.gen(function*() {
      const port = yield* Effect.callback<number>((resume) => {
        const server = createServer()
        server.listen(0, "127.0.0.1", () => {
          const { port } = server.address() as AddressInfo
          server.close(() => resume(Effect.succeed(port)))
        })
      })
      const cwd = begun("unreachable")
      const env = { OPENAI_API_KEY: "sk-peer", OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1` }
      const { code, stderr } = yield* promise(() => run({ cwd, env }, "--dir", dir))
      assert.strictEqual(code, 1)
      assert.include(errorOf(stderr), "See that the server of OPENAI_BASE_URL runs")
      assertAsItWas(cwd)
    }))

  it.live("an address that is none is refused without showing the password in it", () =>
    Effect.gen(function*() {
      for (const url of ["http://me:hunter2@127.0.0.1:1/v1", "hunter2"]) {
        const env = { OPENAI_API_KEY: "sk-peer", OPENAI_BASE_URL: url }
        const { code, stderr, stdout } = yield* promise(() => run({ cwd: make("address"), env }, "--dir", dir))
        assert.strictEqual(code, 1)
        assert.include(errorOf(stderr), "OPENAI_BASE_URL is not the plain address of a server")
        assert.notInclude(stderr + stdout, "hunter2")
      }
    }))

  it.live("after a finished turn: that turn is kept, and it says so", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(OpenAiPeer.call("list_files", { recursive: true }), OpenAiPeer.serverError(500))
      const cwd = make("second-turn")
      const { code, stderr } = yield* promise(() => run({ cwd, env: settings(peer) }, "--dir", dir, "Well?"))
      assert.strictEqual(code, 1)
      assert.include(errorOf(stderr), "The conversation keeps what had run.")
      assert.deepStrictEqual(
        itemsIn(cwd).map((item) => item.type),
        ["message", "function_call", "function_call_output"]
      )
    }))

  it.live("Ctrl-C while it hangs: 130 within seconds, the request aborted, the conversation as it was", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(OpenAiPeer.text("never", { hangBeforeHeaders: true }))
      const cwd = begun("hanging")
      const running = start({ cwd, env: settings(peer) }, "--dir", dir, "Are you there?")
      yield* peer.awaitRequests(1)
      const began = performance.now()
      running.child.kill("SIGINT")
      const { code, stderr } = yield* promise(() => running.ended)
      // The request that was running never ends.
      assert.isBelow(performance.now() - began, 30_000)
      assert.strictEqual(code, 130)
      assert.strictEqual(stderr, "\ninterrupted; the conversation is as it was\n")
      yield* peer.awaitAborted(1)
      assertAsItWas(cwd)
    }))

  it.live("Ctrl-C in a later turn keeps the finished one, and says so", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(OpenAiPeer.call("list_files", {}), OpenAiPeer.text("never", { hangBeforeHeaders: true }))
      const cwd = make("hanging-later")
      const running = start({ cwd, env: settings(peer) }, "--dir", dir, "Well?")
      yield* peer.awaitRequests(2)
      running.child.kill("SIGINT")
      const { code, stderr } = yield* promise(() => running.ended)
      assert.strictEqual(code, 130)
      assert.strictEqual(stderr, "\ninterrupted; the conversation keeps what had run\n")
      assert.lengthOf(itemsIn(cwd), 3)
    }))

  it.live("a reader that has heard enough (head) ends the run quietly and aborts the request", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const words = Array.from({ length: 400 }, (_, index) => `word ${index}\n`)
      yield* peer.enqueue(OpenAiPeer.text(words, { delayEvents: 50 }))
      const cwd = begun("closed")
      const line = commandLine("--dir", dir, "Talk").map((word) => `'${word}'`).join(" ")
      for (const lines of [9, 1]) {
        const { stderr, stdout } = yield* promise(() =>
          new Promise<{ stdout: string; stderr: string }>((resolve) =>
            childProcess.execFile(
              "sh",
              ["-c", `(${line}; echo "code $?" >&2) | head -n ${lines}`],
              { cwd, env: { ...process.env, ...settings(peer) } },
              (_, stdout, stderr) => resolve({ stdout, stderr })
            )
          )
        )
        assert.strictEqual(stdout.split("\n").length, lines + 1)
        assert.strictEqual(stdout.split("\n")[0], `model:     gpt-5-nano at ${peer.url}`)
        assert.strictEqual(stderr, "code 0\n")
        if (lines > 1) yield* peer.awaitAborted(1)
      }
      assertAsItWas(cwd)
    }))
})
