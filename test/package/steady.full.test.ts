/** `npm run test:steady` finds tests that do not always give the same, and leaves no busy loop behind. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { untilSo } from "../support/until.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

let scratch = ""

beforeAll(() => {
  scratch = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-steady-test-")))
})

afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }))

/** A project of one test file, which can tell by `run` which run it is in. */
const makeProject = (name: string, text: string): string => {
  const project = path.join(scratch, name)
  fs.mkdirSync(path.join(project, "test"), { recursive: true })
  fs.symlinkSync(path.join(root, "node_modules"), path.join(project, "node_modules"))
  fs.writeFileSync(
    path.join(project, "package.json"),
    JSON.stringify({ type: "module", scripts: { test: "vitest run" } })
  )
  const counter = path.join(project, "runs")
  fs.writeFileSync(counter, "")
  fs.writeFileSync(
    path.join(project, "test", "some.test.ts"),
    `import * as fs from "node:fs"
import { assert, it } from "vitest"
fs.appendFileSync(${JSON.stringify(counter)}, "x")
const run = fs.readFileSync(${JSON.stringify(counter)}).length
${text}
`
  )
  return project
}

const start = (project: string) => {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_|VITEST)/i.test(name)))
  const child = childProcess.spawn(process.execPath, [path.join(root, ".ci", "steady.js")], {
    cwd: project,
    env,
    stdio: ["ignore", "pipe", "inherit"]
  })
  let output = ""
  const hasStarted = new Promise<void>((resolve) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text
      if (output.includes("\n")) resolve()
    })
  })
  const ended = new Promise<{ readonly status: number | string | null; readonly output: string }>((resolve) =>
    child.once("close", (code, signal) => resolve({ status: signal ?? code, output }))
  )
  const loops = () => (/processes ([\d, ]+)\)/.exec(output)?.[1] ?? "").split(", ").map(Number)
  return { child, ended, hasStarted, loops }
}

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0)
    // A process that ended and that nobody has waited for is not alive.
    return process.platform !== "linux" || !/^\d+ \(.*\) Z/.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}

/** The loops end within moments, but not at the same instant as the process that started them. */
const untilGone = (pids: ReadonlyArray<number>) => untilSo(() => pids.filter(isAlive), ({ length }) => length === 0)

const steady = async (name: string, text: string) => {
  const { ended, loops } = start(makeProject(name, text))
  const { output, status } = await ended
  assert.lengthOf(loops(), 4)
  await untilGone(loops())
  return { status, output }
}

describe("npm run test:steady", { timeout: 300_000 }, () => {
  it("ends with 0 where each run has the same tests and outcomes, and prints the times", async () => {
    const { output, status } = await steady(
      "same",
      `it("one", () => {})\nit("one", () => {})\nit.skip("two [needs a reason]", () => {})`
    )
    assert.strictEqual(status, 0, output)
    for (const run of [1, 2, 3]) {
      assert.match(output, new RegExp(`^run ${run}: 2 passed, 0 failed, 1 skipped, exit code 0, \\d+ s$`, "m"))
    }
    assert.match(output, /^steady: 2 passed, 0 failed, 1 skipped in each run; \d+ s, \d+ s, \d+ s$/m)
  })

  it("names what is not the same in all runs, with the error of a test that failed", async () => {
    const { output, status } = await steady(
      "different",
      `it("always", () => {})
it("mostly", () => assert.notStrictEqual(run, 2, "was the second"))
it(\`run \${Math.min(run, 2)}\`, () => {})`
    )
    assert.strictEqual(status, 1)
    assert.include(output, "was the second")
    assert.match(output, /^not the same in all runs \(3\):$/m)
    assert.match(output, /^ {2}passed, failed, passed: .*some\.test\.ts > mostly$/m)
    assert.match(output, /^ {2}passed, absent, absent: .*some\.test\.ts > run 1$/m)
    assert.match(output, /^ {2}absent, passed, passed: .*some\.test\.ts > run 2$/m)
    assert.notMatch(output, /: .*some\.test\.ts > always$/m)
    assert.match(output, /^NOT STEADY; /m)
  })

  it("is not deceived: no test asks to be repeated until it passes", () => {
    const sources = ["test", "examples", ".ci"].flatMap((folder) =>
      fs.readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" }).map((file) =>
        path.join(folder, file)
      )
    ).filter((file) => /\.test\.ts$|vitest\.config\.js$/.test(file) && !file.includes("node_modules"))
    assert.isAbove(sources.length, 100)
    const repeated = sources.filter((file) =>
      // A number is an option of vitest; the policies of this package are objects.
      /\bretry: *\d|\bflaky[T]est\b/.test(fs.readFileSync(path.join(root, file), "utf8"))
    )
    assert.deepStrictEqual(repeated, [])
  })

  it("does not end with 0 where each run fails alike", async () => {
    const { output, status } = await steady("broken", `throw new Error("not loaded")`)
    assert.strictEqual(status, 1)
    assert.include(output, "not loaded")
    assert.notInclude(output, "not the same in all runs")
    assert.match(output, /^NOT STEADY; /m)
  })

  it.each(["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"] as const)(
    "leaves no busy loop behind when it gets %s",
    async (signal) => {
      const { child, ended, hasStarted, loops } = start(makeProject(signal, `it("one", () => {})`))
      await hasStarted
      const pids = loops()
      assert.lengthOf(pids, 4)
      assert.isTrue(pids.every(isAlive))
      child.kill(signal)
      assert.strictEqual((await ended).status, signal)
      await untilGone(pids)
    }
  )
})
