/** The last lines of `npm test`: what passed, failed and was skipped, and why. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

let project = ""

beforeAll(() => {
  project = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-summary-")))
  fs.symlinkSync(path.join(root, "node_modules"), path.join(project, "node_modules"))
  fs.writeFileSync(path.join(project, "package.json"), JSON.stringify({ type: "module" }))
  fs.mkdirSync(path.join(project, "test"))
  const file = (name: string, text: string) => fs.writeFileSync(path.join(project, "test", name), text)
  file("good.test.ts", `import { it } from "vitest"\nit("one", () => {})\nit("two", () => {})`)
  file(
    "skipped.test.ts",
    `import { describe, it } from "vitest"
    import { requires } from ${JSON.stringify(path.join(root, "test/support/requires.ts"))}
    it("runs", () => {})
    const redis = requires("redis-server")
    describe.skipIf(!redis.available)(redis.title("a store"), () => { it("a", () => {}); it("b", () => {}) })
    it("decides late", ({ skip }) => skip("no weather today"))`
  )
  file("silent.test.ts", `import { it } from "vitest"\nit.skip("mute", () => {})`)
  file("failing.test.ts", `import { it } from "vitest"\nit("ok", () => {})\nit("bad", () => { throw new Error("x") })`)
  file("broken.test.ts", `import "./absent.ts"\nimport { it } from "vitest"\nit("never", () => {})`)
  file(
    "hook.test.ts",
    `import { beforeAll, it } from "vitest"\nbeforeAll(() => { throw new Error("x") })\nit("n", () => {})`
  )
  file(
    "late.test.ts",
    `import { it } from "vitest"
    it("passes and rejects later", async () => {
      Promise.reject(new Error("unhandled"))
      await new Promise((resolve) => setTimeout(resolve, 50))
    })`
  )
})

afterAll(() => fs.rmSync(project, { recursive: true, force: true }))

const vitest = (files: ReadonlyArray<string>, env: Record<string, string> = {}) => {
  // No program is on this PATH but node, so that requires("redis-server") finds none on any machine.
  const { AGENT_LAYERS_NO_SKIP: _, ...inherited } = process.env
  const { status, stdout } = childProcess.spawnSync(
    process.execPath,
    [
      path.join(root, "node_modules", "vitest", "vitest.mjs"),
      ...["run", "--config", path.join(root, ".ci", "vitest.config.js"), "--root", project],
      ...["--reporter", path.join(root, ".ci", "summaryReporter.js")],
      ...files
    ],
    { cwd: project, encoding: "utf8", env: { ...inherited, PATH: path.join(project, "nothing"), ...env } }
  )
  return { status, lines: stdout.trimEnd().split("\n").slice(stdout.startsWith("\n") ? 1 : 0) }
}

describe("the summary of npm test", () => {
  it("counts what passed", () => {
    assert.deepStrictEqual(vitest(["good"]), { status: 0, lines: ["2 passed, 0 failed, 0 skipped"] })
  })

  it("says of skipped tests why, and what to install; they do not fail the run", () => {
    const { lines, status } = vitest(["skipped"])
    assert.strictEqual(status, 0)
    assert.strictEqual(lines.length, 3)
    assert.match(lines[0] ?? "", /^skipped 2: redis-server: redis-server is not on PATH; install: .*redis/)
    assert.strictEqual(lines[1], "skipped 1: no weather today")
    assert.strictEqual(lines[2], "1 passed, 0 failed, 3 skipped")
  })

  it("names a test that was skipped without a reason", () => {
    assert.deepStrictEqual(vitest(["silent"]).lines, [
      "skipped 1: no reason given (test/silent.test.ts: mute)",
      "0 passed, 0 failed, 1 skipped"
    ])
  })

  it("AGENT_LAYERS_NO_SKIP=1 fails a run with a skipped test, and no other", () => {
    const { lines, status } = vitest(["skipped"], { AGENT_LAYERS_NO_SKIP: "1" })
    assert.strictEqual(status, 1)
    assert.include(lines, "AGENT_LAYERS_NO_SKIP=1: a skipped test fails the run")
    assert.strictEqual(lines.at(-1), "1 passed, 0 failed, 3 skipped")
    assert.strictEqual(vitest(["good"], { AGENT_LAYERS_NO_SKIP: "1" }).status, 0)
  })

  it("counts failed tests, files that do not load, failed hooks and errors outside of tests", () => {
    const { lines, status } = vitest(["failing", "broken", "hook", "late"])
    assert.strictEqual(status, 1)
    assert.include(lines, "errors outside of tests, counted as failed: 1")
    assert.match(lines.at(-1) ?? "", /^2 passed, 4 failed, \d skipped$/)
  })

  it("a test that -t leaves out is not a skipped test", () => {
    assert.deepStrictEqual(vitest(["good", "-t", "one"], { AGENT_LAYERS_NO_SKIP: "1" }), {
      status: 0,
      lines: ["1 passed, 0 failed, 0 skipped"]
    })
  })

  it("a test that -t asks for by its suite is a skipped test where it cannot run", () => {
    const { lines, status } = vitest(["skipped", "-t", "^a store .*> b$"], { AGENT_LAYERS_NO_SKIP: "1" })
    assert.strictEqual(status, 1)
    assert.strictEqual(lines.at(-1), "0 passed, 0 failed, 1 skipped")
  })

  it("a filter that no file matches fails the run", () => {
    const { lines, status } = vitest(["nosuchfile"])
    assert.strictEqual(status, 1)
    assert.strictEqual(lines.at(-1), "0 passed, 0 failed, 0 skipped")
  })
})
