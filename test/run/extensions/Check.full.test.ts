/** `agent-layers extension check`: one line for each thing that is wrong with a package, and what to do. */
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import type { Check } from "agent-layers/extensions"
import { Effect, Result } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { afterAll, beforeAll } from "vitest"
import { scaffold, write } from "../../../src/run/cli/internal/scaffold.ts"
import { developing, expectRun, makeProject } from "../../support/packed.ts"

/** Runs in the project: a package is checked by the copy of agent-layers that it is installed with. */
const script = `
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Check } from "agent-layers/extensions"
import { Console, Effect } from "effect"
const [folder, topics, version] = process.argv.slice(2)
Check.check(folder, { topics: topics.split(","), ...(version === undefined ? {} : { version }) }).pipe(
  Effect.flatMap((report) => Console.log(JSON.stringify({ ...report, text: Check.render(report) }))),
  Effect.catch((error) => Console.log(JSON.stringify({ failure: error.message }))),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)
`

type Told = Check.Report & { readonly text: string; readonly failure?: string }

describe("Check", () => {
  let project: Awaited<ReturnType<typeof makeProject>>
  beforeAll(async () => {
    project = await makeProject(developing)
    fs.writeFileSync(path.join(project.folder, "check.mjs"), script)
  }, 240_000)
  afterAll(() => project?.remove())

  const check = async (folder: string, topics: string, version?: string): Promise<Told> => {
    const args = ["check.mjs", folder, topics, ...(version === undefined ? [] : [version])]
    const { stdout } = await expectRun(project.folder, process.execPath, args)
    return JSON.parse(stdout) as Told
  }

  const packages = (name: string) => path.join(project.folder, "packages", name)

  /** As it was scaffolded. */
  const scaffolded = async (kind: string): Promise<string> => {
    const folder = packages(kind)
    if (fs.existsSync(folder)) return folder
    const files = Result.getOrThrow(scaffold(kind, "moon"))
    await Effect.runPromise(write(files, folder).pipe(Effect.provide(NodeServices.layer)))
    return folder
  }

  let made = 0
  /** A copy of it with something changed. */
  const packageWith = async (
    kind: string,
    change: (folder: string, edit: (file: string, f: (text: string) => string) => void) => void
  ): Promise<string> => {
    const folder = packages(`package-${++made}`)
    fs.cpSync(await scaffolded(kind), folder, { recursive: true })
    change(folder, (file, f) => {
      const full = path.join(folder, file)
      fs.writeFileSync(full, f(fs.readFileSync(full, "utf8")))
    })
    return folder
  }

  const editManifest =
    (change: (manifest: any) => void) => (_: string, edit: (file: string, f: (text: string) => string) => void) =>
      edit("package.json", (text) => {
        const manifest = JSON.parse(text)
        change(manifest)
        return JSON.stringify(manifest, null, 2)
      })

  it("passes a package as it was scaffolded", async () => {
    const told = await check(await packageWith("tool", () => {}), "manifest,compatibility,laws,pack")
    assert.isTrue(told.isPassed, told.text)
    assert.strictEqual(told.package, "agent-layers-tool-moon")
    assert.deepStrictEqual(told.lines.map(({ outcome, topic }) => `${topic} ${outcome}`), [
      "manifest passed",
      "compatibility passed",
      "laws passed",
      "pack passed"
    ])
    assert.match(told.text, /^ok {6}manifest {6}tool "moon" is what package\.json says of it$/m)
    assert.match(told.text, /^ok {6}laws {10}npm test passes \(\d tests\)$/m)
    assert.match(told.text, /^ok {6}pack {10}npm packs \d+ files \([\d.]+ kB\)$/m)
  }, 120_000)

  it("tells what is wrong with a manifest, and what to do, in a line each", async () => {
    const cases: ReadonlyArray<readonly [change: (manifest: any) => void, ...said: ReadonlyArray<string>]> = [
      [(manifest) => delete manifest.agentLayers, "package.json tells of no extension", `Add: "agentLayers"`],
      [(manifest) => manifest.agentLayers.extensions[0].kind = "sesion", "agentLayers.extensions[0].kind", `"sesion"`],
      [(manifest) => manifest.agentLayers.extensions[0].name = "sun", "exports name \"moon\"", "says \"sun\""],
      [(manifest) => manifest.version = "0.2.0", "exports version \"0.1.0\"", "Write the same in both"],
      [(manifest) => manifest.version = "one", "`version` is no version"],
      [
        (manifest) => {
          delete manifest.peerDependencies.effect
          manifest.dependencies = { effect: "^4.1.0" }
        },
        "\"effect\" is in `dependencies`",
        "Move it to `peerDependencies`"
      ],
      [(manifest) => delete manifest.peerDependencies.effect, "\"effect\" is not in `peerDependencies`"],
      [(manifest) => manifest.agentLayers.extensions[0].entry = "./nothing", "cannot be loaded", "npm run build"]
    ]
    for (const [change, ...said] of cases) {
      const told = await check(await packageWith("tool", editManifest(change)), "manifest")
      assert.isFalse(told.isPassed, told.text)
      const failed = told.text.split("\n").filter((line) => line.startsWith("FAILED  manifest"))
      assert.isNotEmpty(failed, told.text)
      for (const text of said) assert.include(failed.join("\n"), text)
    }
    const unbuildable = await packageWith(
      "tool",
      (_, edit) => edit("src/index.ts", (text) => `${text}const x: number = ""\n`)
    )
    assert.match(
      (await check(unbuildable, "manifest")).text,
      /^FAILED {2}manifest {6}npm run build fails: .*error TS\d+/m
    )
    const thrown = await packageWith(
      "tool",
      (_, edit) => edit("src/extension.ts", (text) => `${text}\nthrow new Error("boom")\n`)
    )
    assert.match((await check(thrown, "manifest")).text, /^FAILED {2}manifest .*boom/m)
  }, 240_000)

  it("tells of versions that do not fit, and of peers that are not there", async () => {
    const folder = await packageWith(
      "tool",
      editManifest((manifest) => {
        manifest.peerDependencies.effect = "^5.0.0"
        manifest.peerDependencies["no-such-package"] = "^1.0.0"
      })
    )
    const { isPassed, text } = await check(folder, "compatibility")
    assert.isFalse(isPassed)
    assert.match(
      text,
      /^FAILED {2}compatibility it wants effect \^5\.0\.0, and is tested with 4\.1\.0\. Install a newer/m
    )
    assert.match(text, /^not run compatibility the peer "no-such-package" is not installed\. Install it/m)
    const other = await check(folder, "compatibility", "0.2.0")
    assert.match(
      other.text,
      /^FAILED {2}compatibility tool "moon" works with agent-layers \^0\.1\.0, and this is 0\.2\.0/m
    )
  }, 120_000)

  it("tells of laws that are not run, or do not hold", async () => {
    const without = await packageWith("session", (folder) => fs.rmSync(path.join(folder, "test/laws.test.ts")))
    assert.match(
      (await check(without, "laws")).text,
      /^FAILED {2}laws {10}no test runs the laws of a session\. Run them/m
    )
    const broken = await packageWith(
      "session",
      (_, edit) => edit("src/SessionMoon.ts", (text) => text.replace("[...before, ...entries]", "[...entries]"))
    )
    assert.match((await check(broken, "laws")).text, /^FAILED {2}laws {10}npm test fails: .*Mend what it tells/m)
    const untested = await packageWith("session", editManifest((manifest) => delete manifest.scripts.test))
    assert.match((await check(untested, "laws")).text, /^FAILED {2}laws {10}package\.json has no script `test`/m)
  }, 120_000)

  it("tells what would be published that must not be, and what is missing", async () => {
    const folder = await packageWith("tool", (folder) => {
      fs.writeFileSync(path.join(folder, "src/.env"), "KEY=1")
      fs.rmSync(path.join(folder, "LICENSE"))
    })
    const { text } = await check(folder, "pack")
    assert.match(text, /^FAILED {2}pack {10}src\/\.env would be published\. Leave it out/m)
    assert.match(text, /^FAILED {2}pack {10}there is no LICENSE in the tarball/m)
    const hidden = await packageWith("tool", editManifest((manifest) => manifest.files = ["src"]))
    assert.match(
      (await check(hidden, "pack")).text,
      /^FAILED {2}pack {10}dist\/extension\.js, .* is not in the tarball/m
    )
    const broken = await packageWith(
      "tool",
      (_, edit) => edit("src/index.ts", (text) => `${text}const x: number = ""\n`)
    )
    assert.match((await check(broken, "pack")).text, /^FAILED {2}pack {10}npm pack fails: .*error TS\d+/m)
  }, 120_000)

  it("fails typed where there is no project", async () => {
    const { failure } = await check(path.join(project.folder, "nowhere"), "manifest")
    assert.include(failure, "package.json cannot be read")
  })
})
