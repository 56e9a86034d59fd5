/** npm stands between a terminal and the program: arguments, exit code and signals pass through `npm start`. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { readManifest } from "../support/packageExports.ts"

const manifest = readManifest(fileURLToPath(new URL("../..", import.meta.url)))

let project = ""

beforeAll(() => {
  project = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-signals-")))
  fs.mkdirSync(path.join(project, "examples", "analyst"), { recursive: true })
  fs.writeFileSync(
    path.join(project, "package.json"),
    JSON.stringify({ private: true, type: "module", scripts: { start: manifest.scripts["start"] } })
  )
  // Stands where the analyst stands; the command that starts it is the real one.
  fs.writeFileSync(
    path.join(project, "examples", "analyst", "main.ts"),
    `const [how, ...rest]: Array<string> = process.argv.slice(2)
    for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
      process.on(signal, () => { console.log("got " + signal); process.exit(code) })
    }
    console.log(JSON.stringify({ pid: process.pid, rest }))
    if (how === "wait") setTimeout(() => process.exit(99), 20_000)
    else process.exit(Number(how))`
  )
})

afterAll(() => fs.rmSync(project, { recursive: true, force: true }))

const start = (...args: ReadonlyArray<string>) => {
  const child = childProcess.spawn("npm", ["start", "--silent", "--", ...args], {
    cwd: project,
    detached: true,
    stdio: ["ignore", "pipe", "ignore"]
  })
  let output = ""
  child.stdout.setEncoding("utf8")
  const ready = new Promise<void>((resolve) => {
    child.stdout.on("data", (text: string) => {
      output += text
      if (output.includes("\n")) resolve()
    })
  })
  const ended = new Promise<number | null>((resolve) => child.on("close", (code) => resolve(code)))
  return { child, ready, ended, lines: () => output.trim().split("\n") }
}

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe("npm start", () => {
  it("hands on arguments and the exit code", async () => {
    const { ended, lines } = start("7", "--dir", "a b", "")
    assert.strictEqual(await ended, 7)
    assert.deepStrictEqual((JSON.parse(lines()[0] ?? "") as { rest: unknown }).rest, ["--dir", "a b", ""])
  })

  it("Ctrl-C, which a terminal sends to the whole group, ends with 130", async () => {
    const { child, ended, lines, ready } = start("wait")
    await ready
    process.kill(-(child.pid as number), "SIGINT")
    assert.strictEqual(await ended, 130)
    assert.strictEqual(lines()[1], "got SIGINT")
  })

  it("a signal to npm alone reaches the program, and none of it stays", async () => {
    for (const [signal, code] of [["SIGTERM", 143], ["SIGINT", 130]] as const) {
      const { child, ended, lines, ready } = start("wait")
      await ready
      const { pid } = JSON.parse(lines()[0] ?? "") as { pid: number }
      child.kill(signal)
      assert.strictEqual(await ended, code)
      assert.strictEqual(lines()[1], `got ${signal}`)
      assert.isFalse(isAlive(pid))
    }
  })
})
