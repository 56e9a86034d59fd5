/** Each rule of the house fires on test/fixtures/lint, where every violation stands on a line that names its rule. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
const bin = (name: string) => path.join(root, "node_modules", ".bin", name)

// The rules look at paths relative to where the tool runs, so the fixture is laid out as a project of its own.
let project = ""

beforeAll(() => {
  project = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-lint-")))
  fs.cpSync(path.join(root, "test", "fixtures", "lint"), project, { recursive: true })
  fs.symlinkSync(path.join(root, "node_modules"), path.join(project, "node_modules"))
  for (const file of ["package.json", "tsconfig.json"]) fs.copyFileSync(path.join(root, file), path.join(project, file))
})

afterAll(() => fs.rmSync(project, { recursive: true, force: true }))

const expected = (tool: string) => {
  const lines: Array<string> = []
  for (const file of fs.readdirSync(project, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".ts") || file.startsWith("node_modules")) continue
    fs.readFileSync(path.join(project, file), "utf8").split("\n").forEach((line, index) => {
      for (const [, rule] of line.matchAll(/\/\/ violates (\S+)/g)) {
        if (rule?.startsWith("effect(") === (tool === "effect")) lines.push(`${file}:${index + 1} ${rule}`)
      }
    })
  }
  return lines.sort()
}

describe("oxlint", () => {
  it("refuses imports against the direction, second clients, barrels, bare sleeps, and cycles of values and of types", () => {
    const { stdout } = childProcess.spawnSync(
      bin("oxlint"),
      ["-c", path.join(root, ".ci", "oxlint.json"), "-f", "json", "src", "examples", "test"],
      { cwd: project, encoding: "utf8" }
    )
    const { diagnostics } = JSON.parse(stdout) as {
      readonly diagnostics: ReadonlyArray<{
        readonly code: string
        readonly filename: string
        readonly labels: ReadonlyArray<{ readonly span: { readonly line: number } }>
      }>
    }
    const found = diagnostics.map(({ code, filename, labels }) => `${filename}:${labels[0]?.span.line} ${code}`)
    assert.deepStrictEqual(found.sort(), expected("oxlint"))
    const rules = new Set(diagnostics.map(({ code }) => code))
    assert.sameMembers([...rules], [
      "house(direction)",
      "house(one-client)",
      "house(namespace-imports)",
      "house(bare-sleep)",
      "import(no-cycle)"
    ])
  })
})

describe("the Effect diagnostics", () => {
  it("refuse ambient time, randomness, timers, promises and wrong keys in src, and allow them in tests", () => {
    const { status, stdout } = childProcess.spawnSync(
      bin("effect-tsgo"),
      ["diagnostics", "--project=tsconfig.json", "--strict", "--severity=error,warning", "--format=text"],
      { cwd: project, encoding: "utf8" }
    )
    const found = stdout.split("\n").flatMap((line) => {
      const match = /^(.+)\((\d+),\d+\): \w+ (effect\(\w+\))/.exec(line)
      return match === null ? [] : [`${path.relative(project, match[1] ?? "")}:${match[2]} ${match[3]}`]
    })
    assert.deepStrictEqual(found.sort(), expected("effect"))
    assert.isNotEmpty(found)
    assert.notStrictEqual(status, 0)
  })
})
