/** What stands at the top of the project, and what package.json and package-lock.json promise. */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { readManifest } from "../support/packageExports.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const manifest = readManifest(root)
const lockText = fs.readFileSync(path.join(root, "package-lock.json"), "utf8")

interface LockEntry {
  readonly version: string
  readonly resolved?: string
  readonly link?: boolean
  readonly hasInstallScript?: boolean
  readonly optional?: boolean
  readonly optionalDependencies?: Record<string, string>
}
const lock = JSON.parse(lockText) as { readonly packages: Record<string, LockEntry> }
const locked = Object.entries(lock.packages).filter(([name]) => name !== "")

describe("the root", () => {
  it("holds these files and folders, and what .gitignore names", () => {
    const ignored = new Set(
      fs.readFileSync(path.join(root, ".gitignore"), "utf8").split("\n").map((line) => line.replace("/", ""))
    )
    const found = fs.readdirSync(root).filter((name) =>
      name !== ".git" && !ignored.has(name) && !ignored.has(`*${path.extname(name)}`)
    )
    assert.sameMembers(found, [
      ".ci",
      ".gitignore",
      "ARCHITECTURE.md",
      "CHANGELOG.md",
      "CONTRIBUTING.md",
      "LICENSE",
      "README.md",
      "examples",
      "package-lock.json",
      "package.json",
      "src",
      "test",
      "tsconfig.json"
    ])
  })

  it("src holds services, layers, run and index.ts", () => {
    assert.sameMembers(fs.readdirSync(path.join(root, "src")), ["services", "layers", "run", "index.ts"])
  })
})

describe("package.json", () => {
  it("pins each devDependency exactly, inside the range of the peer of that name", () => {
    for (const [name, version] of Object.entries(manifest.devDependencies)) {
      assert.match(version, /^\d+\.\d+\.\d+(-beta\.\d+)?$/, name)
      const range = manifest.peerDependencies[name]
      if (range === undefined) continue
      if (range.startsWith("^")) {
        assert.strictEqual(version.split(".")[0], range.slice(1).split(".")[0], name)
        assert.isTrue(version.localeCompare(range.slice(1), "en", { numeric: true }) >= 0, name)
      } else assert.match(range, /^>=\d/, name)
    }
  })

  it("asks a user for effect and @effect/platform-node, and for nothing else", () => {
    assert.isUndefined(manifest.dependencies)
    const required = Object.keys(manifest.peerDependencies)
      .filter((name) => manifest.peerDependenciesMeta[name]?.optional !== true)
    assert.deepStrictEqual(required, ["@effect/platform-node", "effect"])
  })

  it("has each peer as a devDependency, so that it is tested", () => {
    assert.includeMembers(Object.keys(manifest.devDependencies), Object.keys(manifest.peerDependencies))
  })

  it("says what became of the packages that effect took in, and names modules that exist", () => {
    const text = [manifest["//"]].flat().join("\n")
    for (const name of ["@effect/platform", "@effect/schema", "@effect/sql"]) {
      assert.include(text, `${name} became effect/`)
      for (const kind of [manifest.devDependencies, manifest.peerDependencies]) assert.notProperty(kind, name)
    }
    const modules = text.match(/(?<!@)\beffect\/[A-Za-z-]+/g) ?? []
    assert.isAtLeast(modules.length, 10)
    for (const name of modules) assert.isTrue(fs.existsSync(fileURLToPath(import.meta.resolve(name))), name)
    assert.match(text, /need Effect 3/)
  })

  it("aliases no package", () => {
    for (
      const version of [manifest.devDependencies, manifest.peerDependencies].flatMap((kind) => Object.values(kind))
    ) {
      assert.notMatch(version, /^npm:|^file:|^git|^http/)
    }
  })

  it("approves the install scripts of the lock file, and no others", () => {
    const withScript = locked.filter(([, entry]) => entry.hasInstallScript === true)
      .map(([name]) => name.slice(name.lastIndexOf("node_modules/") + "node_modules/".length))
    assert.sameMembers(Object.keys(manifest.allowScripts), withScript)
  })

  it("has the scripts, each preceded by the installation", () => {
    const scripts = ["start", "test", "test:full", "check", "build", "bench", "example", "agent-layers", "format"]
    for (const name of scripts) {
      assert.property(manifest.scripts, name)
      assert.match(manifest.scripts[`pre${name}`] ?? "", /^node \.ci\/prepare\.js/, name)
    }
    assert.notMatch(manifest.scripts["prestart"] ?? "", /--tests/)
  })
})

describe("package-lock.json", () => {
  it("holds no download address", () => {
    assert.notInclude(lockText, "\"resolved\"")
    assert.notMatch(lockText, /https?:\/\/[^"]*\.tgz/)
  })

  it("agrees with package.json", () => {
    for (const [name, version] of Object.entries(manifest.devDependencies)) {
      assert.strictEqual(lock.packages[`node_modules/${name}`]?.version, version, name)
    }
  })

  it("holds the packages for every platform, without which npm ci refuses it", () => {
    const names = new Set(
      locked.map(([name]) => name.slice(name.lastIndexOf("node_modules/") + "node_modules/".length))
    )
    const wanted = locked.flatMap(([, entry]) => Object.keys(entry.optionalDependencies ?? {}))
    assert.isNotEmpty(wanted)
    assert.deepStrictEqual(wanted.filter((name) => !names.has(name)), [])
  })

  it("holds one effect, and none of the packages that need Effect 3", () => {
    const names = locked.map(([name]) => name)
    assert.deepStrictEqual(names.filter((name) => name.endsWith("node_modules/effect")), ["node_modules/effect"])
    for (const name of ["@effect/platform", "@effect/schema", "@effect/sql"]) {
      assert.notInclude(names, `node_modules/${name}`)
    }
  })
})
