/** The list of campaigns is whole, and a campaign that fails says with which seed. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import type { TestContext } from "vitest"
import { campaigns } from "../support/campaigns.ts"
import { firstSeed, forEachSeed, rounds } from "../support/rounds.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

const self = path.relative(root, fileURLToPath(import.meta.url))

const sources = ["test", ".ci"]
  .flatMap((folder) =>
    fs.readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" }).map((file) => `${folder}/${file}`)
  )
  .filter((file) => /\.[jt]s$/.test(file) && !file.includes("node_modules/"))
  .map((file) => ({ file, text: fs.readFileSync(path.join(root, file), "utf8") }))

describe("the campaigns", () => {
  it("are the tests that repeat, each in its own file", () => {
    const found = sources.filter(({ file }) => file !== self).flatMap(({ file, text }) =>
      Array.from(
        text.matchAll(/\b(?:rounds\(|forEachSeed\(test, )"([\w-]+)"/g),
        ([, name]) => `${name}: ${file}`
      )
    )
    assert.deepStrictEqual(
      [...new Set(found)].sort(),
      Object.entries(campaigns).map(([name, { file }]) => `${name}: ${file}`).sort()
    )
  })

  it("repeat more often in npm run test:full and most often in a campaign; npm test has those of its files", () => {
    for (const [name, { campaign, few, file, many }] of Object.entries(campaigns)) {
      assert.strictEqual(few === undefined, file.endsWith(".full.test.ts"), name)
      if (few !== undefined) assert.isAbove(many, few, name)
      assert.isAbove(campaign, many, name)
    }
  })

  it("have the only environment variables that enlarge a test", () => {
    const read = sources.flatMap(({ file, text }) =>
      Array.from(
        text.matchAll(/\bprocess\.env(?:\.(\w+)|\[["'](\w+)["']\])(?!\w| = )/g),
        ([, dotted, quoted]) => ({ file, name: dotted ?? quoted ?? "" })
      )
    )
    assert.deepStrictEqual(
      read.filter(({ name }) => /^AGENT_LAYERS_(ROUNDS|SEED)$/.test(name)).map(({ file }) => file),
      ["test/support/rounds.ts", "test/support/rounds.ts"]
    )
    // None of the others says how much a test does. One that does is a campaign of test/support/campaigns.ts.
    assert.sameMembers([...new Set(read.map(({ name }) => name))], [
      "AGENT_LAYERS_NO_APT",
      "AGENT_LAYERS_NO_SKIP",
      "AGENT_LAYERS_ROUNDS",
      "AGENT_LAYERS_SEED",
      "AGENT_LAYERS_TRANSCRIPTS",
      "PATH",
      "SETTING",
      "UPDATE_README",
      "npm_execpath",
      "npm_node_execpath"
    ])
  })
})

describe("forEachSeed", () => {
  const named = (name: string) => ({ task: { name, meta: {} } }) as unknown as TestContext

  const failing = (isBad: (seed: number) => boolean) =>
    Effect.gen(function*() {
      const test = named("counts")
      const logged: Array<string> = []
      const exit = yield* Effect.exit(
        forEachSeed(test, "requests", (seed) => isBad(seed) ? Effect.fail(`bad seed ${seed}`) : Effect.void)
      ).pipe(Effect.provide(Logger.layer([Logger.make(({ message }) => void logged.push(String(message)))])))
      return { exit, logged, figures: test.task.meta.figures }
    })

  it.effect("goes on after a seed that fails, counts it, names it and fails with its error", () =>
    Effect.gen(function*() {
      const { exit, figures, logged } = yield* failing((seed) => [firstSeed + 2, firstSeed + 7].includes(seed))
      assert.deepStrictEqual(figures, { ran: rounds("requests"), failed: 2 })
      assert.strictEqual(exit._tag, "Failure")
      assert.include(String(exit), `bad seed ${firstSeed + 2}`)
      assert.include(logged.join("\n"), `seeds ${firstSeed + 2}, ${firstSeed + 7}`)
      assert.include(logged.join("\n"), `npm run campaign -- requests --rounds 1 --seed ${firstSeed + 2}`)
    }))

  it.effect("stops where nothing works", () =>
    Effect.gen(function*() {
      const { exit, figures } = yield* failing(() => true)
      assert.strictEqual(exit._tag, "Failure")
      assert.deepStrictEqual(figures, { ran: 10, failed: 10 })
    }))
})
