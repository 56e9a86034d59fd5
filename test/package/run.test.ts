/** `.ci/run`: the tests, the long ones too, the mission and the checks, with no skip allowed; the first failure decides. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

let folder = ""

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-run-"))
  // Stands for npm: each script prints and ends as the test says.
  fs.writeFileSync(
    path.join(folder, "npm"),
    `#!/bin/sh
echo "$* AGENT_LAYERS_NO_SKIP=$AGENT_LAYERS_NO_SKIP" >> "${folder}/log"
case "$3" in
  test) echo "$TEST"; exit "$TEST_EXIT" ;;
  test:full) echo "$FULL"; exit "$FULL_EXIT" ;;
  mission) exit "$MISSION_EXIT" ;;
  check) exit "$CHECK_EXIT" ;;
esac
`
  )
  fs.chmodSync(path.join(folder, "npm"), 0o755)
})

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

const run = (exits: readonly [test: number, full: number, mission: number, check: number]) => {
  const { status, stdout } = childProcess.spawnSync(path.join(root, ".ci", "run"), {
    encoding: "utf8",
    env: {
      ...process.env,
      PATH: `${folder}${path.delimiter}${process.env["PATH"]}`,
      TEST: "10 passed, 1 failed, 0 skipped",
      TEST_EXIT: String(exits[0]),
      FULL: "20 passed, 2 failed, 0 skipped",
      FULL_EXIT: String(exits[1]),
      MISSION_EXIT: String(exits[2]),
      CHECK_EXIT: String(exits[3])
    }
  })
  return { status, last: stdout.trimEnd().split("\n").at(-1) }
}

describe(".ci/run", () => {
  it("runs test, test:full, mission and check, allows no skip, and counts the tests in its last line", () => {
    assert.deepStrictEqual(run([0, 0, 0, 0]), { status: 0, last: "30 passed, 3 failed" })
    assert.deepStrictEqual(fs.readFileSync(path.join(folder, "log"), "utf8").trim().split("\n"), [
      "run --silent test AGENT_LAYERS_NO_SKIP=1",
      "run --silent test:full AGENT_LAYERS_NO_SKIP=1",
      "run --silent mission AGENT_LAYERS_NO_SKIP=1",
      "run --silent check AGENT_LAYERS_NO_SKIP=1"
    ])
  })

  it("goes on after a failure, and ends with the first failure's exit code", () => {
    assert.strictEqual(run([3, 4, 5, 6]).status, 3)
    assert.strictEqual(run([0, 4, 5, 6]).status, 4)
    assert.strictEqual(run([0, 0, 5, 6]).status, 5)
    assert.strictEqual(run([0, 0, 0, 6]).status, 6)
  })
})
