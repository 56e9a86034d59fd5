/** What `agent-layers extensions new` writes builds, passes its tests and packs, as it is. */
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, beforeAll } from "vitest"
import { type Scaffold, scaffold, write } from "../../../src/run/cli/internal/scaffold.ts"
import { developing, expectRun, makeProject, run } from "../../support/packed.ts"

const kinds = ["session", "model", "sandbox", "tracer", "mcp", "tool"] as const

const made = (kind: string, name: string): Scaffold => Result.getOrThrow(scaffold(kind, name))

const refused = (kind: string, name: string): string => {
  const result = scaffold(kind, name)
  return Result.isFailure(result) ? `${result.failure.message}. ${result.failure.doNext}` : "no failure"
}

const writeTo = (files: Scaffold, folder: string) =>
  Effect.runPromise(write(files, folder).pipe(Effect.provide(NodeServices.layer)))

describe("the files of a scaffold", () => {
  for (const kind of kinds) {
    it(`of a ${kind} have a manifest, code, tests, CI, README and license, and the name everywhere`, () => {
      const { files, packageName } = made(kind, "blue-moon")
      assert.strictEqual(packageName, `agent-layers-${kind}-blue-moon`)
      const paths = files.map(({ path }) => path)
      assert.includeMembers(paths, [
        "package.json",
        "tsconfig.json",
        "tsconfig.build.json",
        ".gitignore",
        ".github/workflows/ci.yml",
        "LICENSE",
        "README.md",
        "src/index.ts",
        "src/extension.ts",
        "test/extension.test.ts"
      ])
      for (const { content, path } of files) {
        assert.notMatch(content, /acme|@[A-Z]+@/i, path)
        assert.isTrue(content.endsWith("\n"), path)
      }
    })
  }

  it("take other words for kinds", () => {
    assert.strictEqual(made("memory", "x").packageName, "agent-layers-session-x")
    assert.strictEqual(made("model_provider", "x").packageName, "agent-layers-model-x")
  })

  it("are refused for what is no kind or no name, with what to do", () => {
    assert.include(refused("sesion", "x"), `There is no kind of extension "sesion"; did you mean "session"?`)
    assert.include(refused("toString", "x"), "Name one of: session, model, sandbox, tracer, mcp, tool")
    for (const name of ["", "Acme", "a b", "../x", "-a", "1a", "a".repeat(61)]) {
      assert.include(refused("tool", name), `small letters, digits and "-"`, name)
    }
    assert.include(refused("model", "error"), "agent-layers has a module ModelError")
    assert.include(refused("session", "laws"), "SessionLaws")
    // The templates' own name, and a name with it in it.
    assert.strictEqual(made("session", "acme").packageName, "agent-layers-session-acme")
    assert.strictEqual(made("sandbox", "my-acme").packageName, "agent-layers-sandbox-my-acme")
    assert.notInclude(JSON.stringify(made("sandbox", "my-acme").files), "my-my-acme")
  })
})

describe("writing", () => {
  it("refuses a folder that holds anything, and leaves it as it is", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-"))
    try {
      fs.writeFileSync(path.join(folder, "mine.txt"), "mine")
      const error = await Effect.runPromise(
        Effect.flip(write(made("tool", "x"), folder)).pipe(Effect.provide(NodeServices.layer))
      )
      assert.include(error.message, "is not empty")
      assert.include(error.doNext, "nothing was written")
      assert.deepStrictEqual(fs.readdirSync(folder), ["mine.txt"])
      const error2 = await Effect.runPromise(
        Effect.flip(write(made("tool", "x"), path.join(folder, "mine.txt"))).pipe(Effect.provide(NodeServices.layer))
      )
      assert.include(error2.message, "cannot be written")
      await writeTo(made("tool", "x"), path.join(folder, "new", "deep"))
      assert.isTrue(fs.existsSync(path.join(folder, "new", "deep", ".github", "workflows", "ci.yml")))
    } finally {
      fs.rmSync(folder, { recursive: true })
    }
  })
})

describe("a package of each kind", () => {
  let project: Awaited<ReturnType<typeof makeProject>>
  beforeAll(async () => {
    project = await makeProject(developing)
  }, 240_000)
  afterAll(() => project?.remove())

  for (const kind of kinds) {
    it(`${kind}: compiles, passes its tests, builds and packs at once`, async () => {
      const folder = path.join(project.folder, "packages", kind)
      await writeTo(made(kind, "blue-moon"), folder)
      await expectRun(folder, "npm", ["run", "typecheck"])
      const tested = await expectRun(folder, "npm", ["test"])
      assert.match(tested.output, /Tests +\d+ passed \(\d+\)/)
      const files = JSON.parse((await expectRun(folder, "npm", ["pack", "--json"])).stdout.replace(/^[^[]*/, "")) as [
        { readonly filename: string; readonly files: ReadonlyArray<{ readonly path: string }> }
      ]
      const paths = files[0].files.map(({ path }) => path)
      assert.includeMembers(paths, ["package.json", "README.md", "LICENSE", "dist/extension.js", "dist/extension.d.ts"])
      assert.isEmpty(paths.filter((path) => /^(test|node_modules|\.github)\//.test(path)))
      assert.isTrue(fs.existsSync(path.join(folder, files[0].filename)))
    }, 240_000)
  }

  it("its tests fail where its laws are broken", async () => {
    const folder = path.join(project.folder, "packages", "broken")
    const { files } = made("session", "broken")
    await writeTo({
      ...made("session", "broken"),
      files: files.map((file) => ({
        ...file,
        content: file.content.replace("entries: [...before, ...entries]", "entries: [...entries]")
      }))
    }, folder)
    const { code, output } = await run(folder, "npm", ["test"])
    assert.strictEqual(code, 1)
    assert.match(output, /Tests +\d+ failed/)
  }, 120_000)
})
