/** `npm run mission`, `npm run laws` and `npm run campaign`: what they print, and that they end with 0 only where nothing is wrong. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

let project = ""

const write = (name: string, text: string) => {
  fs.mkdirSync(path.dirname(path.join(project, name)), { recursive: true })
  fs.writeFileSync(path.join(project, name), text)
}

beforeAll(() => {
  project = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-tables-")))
  fs.symlinkSync(path.join(root, "node_modules"), path.join(project, "node_modules"))
  fs.cpSync(path.join(root, ".ci"), path.join(project, ".ci"), { recursive: true })
  const one = { file: "test/one.test.ts", tests: "^one > ", says: "many", few: 1, many: 2, campaign: 5, minutes: 1 }
  write(
    "test/support/campaigns.ts",
    `export const campaigns = ${JSON.stringify({ one, gone: { ...one, tests: "^gone" } })}`
  )
  write("package.json", JSON.stringify({ type: "module", version: "1.2.3" }))
})

afterAll(() => fs.rmSync(project, { recursive: true, force: true }))

const run = (name: string, args: ReadonlyArray<string> = []) => {
  const { status, stderr, stdout } = childProcess.spawnSync(
    process.execPath,
    [path.join(project, ".ci", `${name}.js`), ...args],
    { cwd: project, encoding: "utf8", timeout: 240_000 }
  )
  return { status, stderr, stdout, last: stdout.trimEnd().split("\n").at(-1) }
}

describe("npm run mission", () => {
  it("shows machine and versions, and each row with pass, fail, skip or that no test shows it", () => {
    write(
      "test/mission/some.test.ts",
      `import { describe, it } from "vitest"
      describe("Memory: SQLite, PostgreSQL, Redis", () => {
        it("SessionSqlite: goes on", () => {})
        it("SessionPostgres: breaks", () => { throw new Error("no server") })
        it.skip("SessionRedis: is not here", () => {})
      })
      describe("Nobody's", () => { it("stray: belongs nowhere", () => {}) })`
    )
    const { last, status, stderr, stdout } = run("mission")
    assert.strictEqual(status, 1, stderr)
    assert.match(stdout, /^agent-layers 1\.2\.3, .*\n.*Node v2.*\neffect 4\./)
    assert.match(stdout, /^ {2}pass +SessionSqlite +goes on$/m)
    assert.match(stdout, /^ {2}FAIL +SessionPostgres +breaks\n +no server$/m)
    assert.match(stdout, /^ {2}skip +SessionRedis +is not here$/m)
    assert.match(stdout, /^ {2}MISSING +SessionS3 /m)
    assert.match(stdout, /^ {2}FAIL +Nobody's > stray/m)
    assert.match(last!, /^1 pass, 2 FAIL, 1 skip, \d\d MISSING$/)
  }, 240_000)
})

describe("npm run laws", () => {
  const layer = (kind: string, name: string) => write(`src/layers/${kind}/${name}.ts`, "")
  /** Stands for `describeLaws`: a test for each law, which notes what came of it. */
  const laws = (kind: string, name: string, ...outcomes: ReadonlyArray<readonly [law: string, outcome: object]>) =>
    write(
      `test/layers/${kind}/${name}.test.ts`,
      `import { describe, it } from "vitest"
      const describeLaws = (name, outcomes) =>
        describe(\`laws: \${name}\`, () => {
          for (const [law, outcome] of outcomes) {
            it(law, ({ task }) => {
              task.meta.laws = [{ law, ...outcome }]
              if (outcome.outcome === "Broken") throw new Error("expected: 1")
            })
          }
        })
      describeLaws(${JSON.stringify(name)}, ${JSON.stringify(outcomes)})
      it("something else", () => { throw new Error("was run") })`
    )

  beforeAll(() => {
    fs.mkdirSync(path.join(project, "test/services"), { recursive: true })
    write("test/services/SessionStack.test.ts", "")
    for (const kind of ["session", "model", "sandbox", "tracer", "mcp"]) {
      layer(kind, `${kind}A`)
      laws(kind, `${kind}A`, ["one", { outcome: "Held" }], ["two", { outcome: "NotShown", missing: "it lacks x" }])
    }
    write(
      "test/layers/session/stacks.test.ts",
      `import { describe, it } from "vitest"
      // keepsTheLaws(
      describe("every pair of decorators over memory", () => {
        for (let index = 0; index < 45; index++) {
          it(\`a\${index}(b(memory)) keeps the laws\`, ({ task }) => {
            task.meta.laws = [{ law: "one", outcome: "Held" }, { law: "two", outcome: "Held" }]
          })
        }
        it("b(a(memory)) is refused", () => {})
      })`
    )
  })

  it("ends with 0 where all laws hold, or are not supported for want of something that is said", () => {
    const { last, status, stderr, stdout } = run("laws")
    assert.strictEqual(status, 0, stdout + stderr)
    assert.match(stdout, /^ {2}sessionA +\+-$/m)
    assert.match(stdout, /^ {2}a7\(b\(memory\)\) +\+\+$/m)
    assert.match(stdout, /^ {2}sessionA: not supported \(it lacks x\): 2$/m)
    assert.match(stdout, /^refused when it is built: b\(a\(memory\)\)$/m)
    assert.strictEqual(last, "95 hold, 5 not supported, 0 problems")
  }, 240_000)

  it("does not where a law is broken, a reason is missing, or a layer is against no law", () => {
    layer("tracer", "TracerAlone")
    laws("session", "SessionB", ["one", { outcome: "Broken" }])
    laws("model", "ModelB", ["one", { outcome: "NotShown" }])
    const { last, status, stdout } = run("laws")
    assert.strictEqual(status, 1)
    assert.match(stdout, /^ {2}SessionB +X$/m)
    assert.match(stdout, /^failed: laws: SessionB > one\n {4}expected: 1$/m)
    assert.match(stdout, /^ModelB: does not say why it cannot show: one$/m)
    assert.match(stdout, /^TracerAlone is against no law$/m)
    assert.match(last!, /, 3 problems$/)
  }, 240_000)
})

describe("npm run campaign", () => {
  it("runs the tests of the campaign alone, shows what failed, and ends with 1 for it", () => {
    write(
      "test/one.test.ts",
      `import { env } from "node:process"
      import { describe, it } from "vitest"
      describe("one", () => {
        it("holds", ({ task }) => { task.meta.figures = { ran: Number(env.AGENT_LAYERS_ROUNDS), lost: 1234 } })
        it("breaks", () => { throw new Error("the seed was " + env.AGENT_LAYERS_SEED) })
      })
      it("is no test of a campaign", () => { throw new Error("ran") })`
    )
    const { last, status, stderr, stdout } = run("campaign", ["one", "--seed", "3"])
    assert.strictEqual(status, 1, stderr)
    assert.match(stdout, /^passed: one > holds\n.* ran 5, lost 1,234$/m)
    assert.match(stdout, /^FAILED: one > breaks\n.*\n +the seed was 3$/m)
    assert.notInclude(stdout, "is no test")
    assert.strictEqual(last, "1 passed, 1 failed, 0 not shown")
  }, 240_000)

  it("ends with 1 where no test is called so", () => {
    const { status, stdout } = run("campaign", ["gone"])
    assert.strictEqual(status, 1)
    assert.match(stdout, /^FAILED: no test of test\/one\.test\.ts is called \^gone$/m)
  }, 240_000)
})
