/** The command as a process among others: signals, pipes, terminals, an old Node, secrets. */
import { assert, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { bin, nodeArguments, project, root, run, spawn, watch } from "./support.ts"

const within = async <A>(body: (folder: string) => Promise<A>): Promise<A> => {
  const { folder, remove } = project()
  try {
    return await body(folder)
  } finally {
    remove()
  }
}

/** Another Node of this machine that is too old, if it has one. */
const oldNode = (process.env["PATH"] ?? "").split(path.delimiter)
  .map((folder) => path.join(folder, "node"))
  .find((file) => {
    if (!fs.existsSync(file)) return false
    const { stdout } = childProcess.spawnSync(file, ["--version"], { encoding: "utf8" })
    const [major = 99, minor = 0] = stdout.slice(1).split(".").map(Number)
    return major < 22 || (major === 22 && minor < 19)
  })

const hasScript = childProcess.spawnSync("script", ["--version"]).status === 0

/** In a pseudo terminal, by `script`; what is typed is written when a prompt is there. */
const inTerminal = (folder: string, args: ReadonlyArray<string>, env: Record<string, string> = {}) => {
  const quoted = [process.execPath, ...nodeArguments, ...args].map((word) => `'${word}'`).join(" ")
  const child = childProcess.spawn("script", ["-qefc", `stty -echo; ${quoted}`, "/dev/null"], {
    cwd: folder,
    env: { PATH: process.env["PATH"] ?? "", TERM: "xterm", HOME: folder, ...env },
    stdio: ["pipe", "pipe", "pipe"]
  })
  return { child, ...watch(child) }
}

const sleeping = ["run", "--agents", "agents.ts", "--agent", "clerk", "-c", "ada", "call sleep {\"millis\":60000}"]

describe("signals", { timeout: 240_000 }, () => {
  it("Ctrl-C ends a run with 130, and the conversation keeps the call that had started", () =>
    within(async (folder) => {
      const child = spawn(sleeping, { cwd: folder })
      child.stdin.end()
      const { ended, until } = watch(child)
      await until("→ sleep")
      child.kill("SIGINT")
      assert.strictEqual((await ended).code, 130)
      const { stdout } = await run(["sessions", "show", "ada", "--json"], { cwd: folder })
      const items = JSON.parse(stdout).records.map(({ item }: any) => item)
      assert.deepStrictEqual(items.map(({ type }: any) => type), ["message", "function_call", "function_call_output"])
      assert.include(items[2].output, `Tool "sleep" was interrupted before it finished`)
    }))

  it("Ctrl-C ends a chat that waits for a line with 130", () =>
    within(async (folder) => {
      const child = spawn(["chat"], { cwd: folder })
      const { ended, until } = watch(child)
      await until("> ")
      child.kill("SIGINT")
      assert.strictEqual((await ended).code, 130)
    }))
})

describe("pipes", { timeout: 240_000 }, () => {
  it("a reader that has heard enough is no failure", () =>
    within(async (folder) => {
      await run(["run", "--agents", "one.js", "-c", "ada", "Hello."], { cwd: folder })
      const child = spawn(["sessions", "export"], { cwd: folder })
      child.stdin.end()
      child.stdout.destroy()
      const code = await new Promise((resolve) => child.on("close", resolve))
      assert.strictEqual(code, 0)
    }))

  it("nothing is coloured and no bar is shown outside of a terminal", () =>
    within(async (folder) => {
      const { code, stderr, stdout } = await run(["check", "model"], { cwd: folder })
      assert.strictEqual(code, 0)
      assert.notInclude(stdout + stderr, "\u001b")
    }))

  it("completions are a script for each shell, with the commands", () =>
    within(async (folder) => {
      for (const shell of ["bash", "zsh", "fish", "powershell"]) {
        const { code, stdout } = await run(["--completions", shell], { cwd: folder })
        assert.strictEqual(code, 0, shell)
        for (const name of ["sessions", "rotate-keys", "serve"]) assert.include(stdout, name, shell)
      }
    }))

  it("a completion script is one that bash reads", () =>
    within(async (folder) => {
      const { stdout } = await run(["--completions", "bash"], { cwd: folder })
      const checked = childProcess.spawnSync("bash", ["-n"], { input: stdout, encoding: "utf8" })
      assert.strictEqual(checked.status, 0, checked.stderr)
    }))
})

describe.skipIf(!hasScript)("a terminal (by `script`)", { timeout: 240_000 }, () => {
  it("asks for an approval, runs the tool after yes, and colours", () =>
    within(async (folder) => {
      const { child, ended, until } = inTerminal(folder, ["chat", "--agents", "agents.ts", "-c", "ada"])
      await until("> ")
      child.stdin.write("call pay {\"to\":\"Ada\",\"euros\":5}\n")
      await until("Approve it?")
      child.stdin.write("y\n")
      await until("← pay")
      child.stdin.write("/exit\n")
      const { code, stdout } = await ended
      assert.strictEqual(code, 0, stdout)
      assert.include(stdout, "paid 5 euros to Ada")
      assert.include(stdout, "\u001b[")
    }))

  it("tells the model of a no", () =>
    within(async (folder) => {
      const { child, ended, until } = inTerminal(folder, [
        "run",
        "--agents",
        "agents.ts",
        "--agent",
        "clerk",
        "call pay {\"to\":\"Ada\",\"euros\":5}"
      ])
      await until("Approve it?")
      child.stdin.write("n\n")
      const { code, stdout } = await ended
      assert.strictEqual(code, 0, stdout)
      assert.include(stdout, "the person at the terminal said no")
      assert.notInclude(stdout, "paid 5 euros")
    }))

  it("honours NO_COLOR, and shows a bar on long work", () =>
    within(async (folder) => {
      const { child, ended } = inTerminal(folder, ["check", "model"], { NO_COLOR: "1" })
      child.stdin.end()
      const { code, stdout } = await ended
      assert.strictEqual(code, 0, stdout)
      // oxlint-disable-next-line no-control-regex
      assert.notMatch(stdout, /\u001b\[\d+m/)
      assert.include(stdout, "[######------------------] 1/4")
      assert.include(stdout, "held      a provider has a default model")
    }))

  it("asks which conversation to go on with", () =>
    within(async (folder) => {
      await run(["run", "--agents", "one.js", "-c", "yesterday", "I am Ada."], { cwd: folder })
      const { child, ended, until } = inTerminal(folder, ["chat", "--agents", "one.js"])
      await until("Which conversation?")
      child.stdin.write("\r")
      await until("last asked \"I am Ada.\"")
      await until("> ")
      child.stdin.write("/exit\n")
      assert.strictEqual((await ended).code, 0)
    }))

  it("asks before it deletes, and a no deletes nothing", () =>
    within(async (folder) => {
      await run(["run", "--agents", "one.js", "-c", "ada", "Hello."], { cwd: folder })
      const { child, ended, until } = inTerminal(folder, ["sessions", "delete", "ada"])
      await until("for good?")
      child.stdin.write("n")
      const { code, stdout } = await ended
      assert.strictEqual(code, 1, stdout)
      const { stdout: list } = await run(["sessions", "list"], { cwd: folder })
      assert.include(list, "ada")
    }))

  it("Ctrl-C at a prompt ends with 130", () =>
    within(async (folder) => {
      const { child, ended, until } = inTerminal(folder, ["chat", "-c", "ada"])
      await until("> ")
      child.stdin.write("\u0003")
      assert.strictEqual((await ended).code, 130)
    }))
})

describe("Node", () => {
  it.skipIf(oldNode === undefined)("an old one says in one line what is needed", () => {
    const { status, stderr, stdout } = childProcess.spawnSync(oldNode!, [bin, "chat"], { encoding: "utf8" })
    assert.strictEqual(status, 1)
    assert.strictEqual(stdout, "")
    assert.match(stderr, /^agent-layers: needs Node 22\.19 or newer, and this is Node \d+\.\d+\.\d+\. .*\n$/)
  })

  it("says what is missing where effect is not installed", () =>
    within(async (folder) => {
      const installed = path.join(folder, "copy", "node_modules", "agent-layers")
      fs.mkdirSync(path.join(installed, "src", "run", "cli"), { recursive: true })
      fs.mkdirSync(path.join(installed, "dist", "run", "cli"), { recursive: true })
      fs.cpSync(path.join(root, "package.json"), path.join(installed, "package.json"))
      fs.cpSync(bin, path.join(installed, "src", "run", "cli", "bin.js"))
      const start = () =>
        childProcess.spawnSync(process.execPath, [path.join(installed, "src", "run", "cli", "bin.js")], {
          encoding: "utf8"
        })
      fs.rmSync(path.join(folder, "node_modules", "effect"))
      const unbuilt = start()
      assert.strictEqual(unbuilt.status, 1)
      assert.match(unbuilt.stderr, /^agent-layers: it is not built here\. .*npm run build\n$/)
      fs.writeFileSync(path.join(installed, "dist", "run", "cli", "Main.js"), `import "effect/Effect"`)
      const alone = start()
      assert.strictEqual(alone.status, 1)
      assert.strictEqual(
        alone.stderr,
        "agent-layers: it needs the package \"effect\". Install it: npm install effect @effect/platform-node\n"
      )
    }))
})

describe("--json", { timeout: 240_000 }, () => {
  it("is one document, of what was done or of what went wrong", () =>
    within(async (folder) => {
      const json = async (...args: ReadonlyArray<string>) => {
        const { code, stdout } = await run([...args, "--json"], { cwd: folder })
        return { code, value: JSON.parse(stdout) as any }
      }
      const answered = await json(
        "run",
        "--agents",
        "agents.ts",
        "--agent",
        "clerk",
        "-c",
        "ada",
        "call add {\"a\":2,\"b\":3}"
      )
      assert.deepInclude(answered.value, { finalOutput: "5", agent: "clerk", conversationId: "ada", turns: 2 })
      const shown = await json("sessions", "show", "ada")
      assert.deepStrictEqual(shown.value.records.map(({ item }: any) => item.type), [
        "message",
        "function_call",
        "function_call_output",
        "message"
      ])
      const { traces } = (await json("traces", "list")).value
      assert.strictEqual(traces[0].traceId, answered.value.traceId)
      const trace = (await json("traces", "show", answered.value.traceId.slice(0, 12))).value.traces[0]
      assert.isTrue(trace.spans.some(({ data }: any) => data._tag === "Tool" && data.name === "add"))
      assert.include((await json("graph", "--agents", "one.js")).value.graph, "flowchart")
      assert.strictEqual((await json("health")).value.status, "healthy")
      assert.strictEqual((await json("config", "validate")).value.valid, true)
      assert.include((await json("config", "schema")).value.$schema, "json-schema.org")
      assert.isTrue((await json("extensions", "list")).value.extensions.length > 20)
      const failures: ReadonlyArray<readonly [number, ...ReadonlyArray<string>]> = [
        [1, "sessions", "show", "nobody"],
        [2, "run", "--agents", "agents.ts", "hello"],
        [2, "sessions", "delete", "ada"],
        [2, "run", "--nosuch"],
        [1, "health", "--config", "down.yaml"],
        [1, "run", "--agents", "agents.ts", "--agent", "clerk", "call pay {\"to\":\"Ada\",\"euros\":5}"]
      ]
      for (const [expected, ...args] of failures) {
        const { code, value } = await json(...args)
        assert.strictEqual(code, expected, args.join(" "))
        assert.isTrue(typeof value.error?.message === "string" || value.status === "down", args.join(" "))
      }
    }))

  it("shows a trace as a tree without it", () =>
    within(async (folder) => {
      await run(["run", "--agents", "agents.ts", "--agent", "clerk", "call add {\"a\":2,\"b\":3}"], { cwd: folder })
      const list = await run(["traces", "list"], { cwd: folder })
      const id = /^[0-9a-f]{32}/m.exec(list.stdout)?.[0] ?? ""
      const { code, stdout } = await run(["traces", "show", id.slice(0, 10)], { cwd: folder })
      assert.strictEqual(code, 0)
      assert.match(stdout, /^trace clerk\nagent clerk .*\n├─ turn 1 .*\n(│ .*\n)*└─ turn 2 /)
      assert.match(stdout, /└─ tool add/)
    }))
})

describe("secrets", { timeout: 240_000 }, () => {
  const secrets = {
    OPENAI_API_KEY: "sk-proj-0123456789abcdef",
    SESSION_KEYS: "k1:c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ="
  }

  it("are in nothing that is printed, whatever is asked", () =>
    within(async (folder) => {
      const env = { ...secrets, OPENAI_BASE_URL: "http://127.0.0.1:41999/v1" }
      for (
        const args of [
          ["config", "show", "--config", "encrypted.yaml"],
          ["config", "show", "--config", "encrypted.yaml", "--json"],
          ["config", "validate", "--config", "encrypted.yaml", "--json"],
          ["health", "--config", "encrypted.yaml", "--json"],
          ["run", "--config", "encrypted.yaml", "--agent", "writer", "Hello.", "--log-level", "all"],
          ["run", "--config", "encrypted.yaml", "--agent", "writer", "Hello.", "--json"]
        ]
      ) {
        const { stderr, stdout } = await run(args, { cwd: folder, env })
        for (const secret of [secrets.OPENAI_API_KEY, secrets.SESSION_KEYS.slice(3)]) {
          assert.notInclude(stdout + stderr, secret, args.join(" "))
        }
      }
    }))

  it("of an address are not shown where it cannot be reached", () =>
    within(async (folder) => {
      const { code, stderr, stdout } = await run(["health", "--config", "down.yaml"], { cwd: folder })
      assert.strictEqual(code, 1)
      assert.notInclude(stdout + stderr, "very-secret-password")
    }))
})
