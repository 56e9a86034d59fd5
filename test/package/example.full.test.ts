/** `npm run example` lists what is there, and runs one on the sources. */
import { assert, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
const names = fs.readdirSync(path.join(root, "examples"))
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
  .map((file) => file.slice(0, -".ts".length))

const example = (...args: ReadonlyArray<string>) =>
  childProcess.spawnSync(process.execPath, [path.join(root, ".ci", "example.js"), ...args], {
    encoding: "utf8",
    timeout: 30_000
  })

describe("npm run example", () => {
  it("lists each example with the first line of its header", () => {
    const { status, stdout } = example()
    assert.strictEqual(status, 0)
    assert.isNotEmpty(names)
    for (const name of names) assert.match(stdout, new RegExp(`^  ${name} +\\S.{10,}$`, "m"))
  })

  it("runs one on the sources", () => {
    const { status, stderr, stdout } = example("hello")
    assert.strictEqual(status, 0, stderr)
    assert.isNotEmpty(stdout.trim())
  })

  it("says which there are when the name is none of them", () => {
    const { status, stderr } = example("nosuch")
    assert.strictEqual(status, 1)
    assert.include(stderr, "There is no example \"nosuch\"")
    for (const name of names) assert.include(stderr, name)
  })
})
