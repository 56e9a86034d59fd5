/** `npm run campaign`: its list, its errors, its figures. */
import { assert, describe, it } from "@effect/vitest"
import * as path from "node:path"
import { campaigns } from "../support/campaigns.ts"
import { root, run } from "../support/packed.ts"

const campaign = (args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  run(root, process.execPath, ["--no-warnings", path.join(".ci", "campaign.js"), ...args], { env })

describe("npm run campaign", () => {
  it("lists each campaign with its rounds and its time", async () => {
    const { code, stdout } = await campaign([])
    assert.strictEqual(code, 0)
    for (const [name, { minutes, says }] of Object.entries(campaigns)) {
      assert.match(stdout, new RegExp(`^  ${name} +[\\d,]+ rounds, about ${minutes} min  `, "m"))
      assert.include(stdout, says)
    }
  })

  it.each([
    [["nothing"], "There is no campaign \"nothing\"."],
    [["toString"], "There is no campaign \"toString\"."],
    [["s3", "crash"], "One campaign at a time: s3, crash."],
    [["s3", "--rounds", "few"], "--rounds few: a whole number from 1 on is wanted"],
    [["s3", "--rounds", "0"], "--rounds 0: a whole number from 1 on is wanted"],
    [["s3", "--seed", "1.5"], "--seed 1.5: a whole number from 0 on is wanted"],
    [["s3", "--many"], "Unknown option '--many'"]
  ])("refuses %j with the list", async (args, message) => {
    const { code, stderr, stdout } = await campaign(args)
    assert.strictEqual(code, 1)
    assert.strictEqual(stdout, "")
    assert.include(stderr, message)
    for (const name of Object.keys(campaigns)) assert.include(stderr, `\n  ${name} `)
  })

  it("knows a test for each campaign", async () => {
    const { code, output, stdout } = await run(root, process.execPath, [
      path.join("node_modules", "vitest", "vitest.mjs"),
      ...["list", "--config", path.join(".ci", "vitest.config.js"), "--mode", "all", "--no-static-parse"],
      ...new Set(Object.values(campaigns).map(({ file }) => file)),
      "--json"
    ])
    assert.strictEqual(code, 0, output)
    const tests = JSON.parse(stdout.slice(stdout.indexOf("["))) as ReadonlyArray<
      { readonly file: string; readonly name: string }
    >
    for (const [name, { file, tests: pattern }] of Object.entries(campaigns)) {
      const found = tests.filter((test) => test.file === path.join(root, file) && new RegExp(pattern).test(test.name))
      assert.isNotEmpty(found, name)
    }
  })

  it("runs as many rounds as it is told, from the seed that it is told, and prints the figures", async () => {
    const { code, output } = await campaign(["cache-writers", "--rounds", "7", "--seed", "40"])
    assert.strictEqual(code, 0, output)
    assert.include(output, "7 rounds, the first seed is 40")
    assert.match(output, /^passed: .*\n {2}\d+\.\d s, .* rounds a second, ran 7, failed 0$/m)
    assert.match(output, /^1 passed, 0 failed, 0 not shown$/m)
  })

  it("does not end with 0 where the machine lacks what it needs", async () => {
    const { code, output } = await campaign(["redis-kills", "--rounds", "1"], { PATH: "/nowhere" })
    assert.strictEqual(code, 1, output)
    assert.match(output, /^NOT SHOWN: .*needs redis-server: .*install: /m)
    assert.match(output, /^0 passed, 0 failed, 1 not shown$/m)
  })
})
