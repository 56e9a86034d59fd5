/** README's table of the ten packages that agent-layers was asked to stand on is true. */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { readManifest } from "../support/packageExports.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const manifest = readManifest(root)

interface Row {
  readonly name: string
  /** Module names in the second column. */
  readonly modules: ReadonlyArray<string>
  readonly file: string
  readonly kind: string
}

const code = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, text]) => text ?? "")

/** The body rows of the first table under a heading. */
const tableUnder = (markdown: string, heading: string): ReadonlyArray<ReadonlyArray<string>> => {
  const lines = markdown.split("\n")
  const start = lines.indexOf(heading)
  assert.isAtLeast(start, 0, `README has the heading ${heading}`)
  const section = lines.slice(start + 1)
  const end = section.findIndex((line) => line.startsWith("## "))
  return section.slice(0, end < 0 ? undefined : end)
    .filter((line) => line.startsWith("|"))
    .slice(2)
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()))
}

const readRows = (): ReadonlyArray<Row> =>
  tableUnder(fs.readFileSync(path.join(root, "README.md"), "utf8"), "## Packages").map((cells) => {
    assert.lengthOf(cells, 4, cells.join(" | "))
    const [name = "", now = "", file = "", kind = ""] = cells
    return { name: code(name)[0] ?? name, modules: code(now), file: code(file)[0] ?? file, kind: kind.toLowerCase() }
  })

const importsOf = (file: string) =>
  [
    ...fs.readFileSync(path.join(root, file), "utf8")
      .matchAll(/(?:^|\n)\s*(?:import|export)\b[^;"']*?from "([^"]+)"|import\("([^"]+)"\)/g)
  ].map(([, plain, dynamic]) => plain ?? dynamic ?? "")

const isOf = (specifier: string, module: string) => specifier === module || specifier.startsWith(`${module}/`)

const kindOf = (name: string): string => {
  if (manifest.peerDependencies[name] === undefined) return "dev"
  return manifest.peerDependenciesMeta[name]?.optional === true ? "optional peer" : "peer"
}

describe("the packages that were asked for", () => {
  it("are the ten rows of README's table", () => {
    assert.deepStrictEqual(readRows().map(({ name }) => name), [
      "effect",
      "@effect/platform",
      "@effect/platform-node",
      "@effect/schema",
      "@effect/sql",
      "@effect/sql-pg",
      "@effect/opentelemetry",
      "openai",
      "@modelcontextprotocol/sdk",
      "@effect/vitest"
    ])
  })

  it("are each imported by the file that the table names", () => {
    for (const { file, modules, name } of readRows()) {
      assert.match(file, /^(src|test|examples)\//, name)
      assert.isTrue(fs.existsSync(path.join(root, file)), `${name}: ${file} exists`)
      assert.isNotEmpty(modules, `${name}: the second column names a module`)
      const imports = importsOf(file)
      assert.isTrue(
        imports.some((specifier) => modules.some((module) => isOf(specifier, module))),
        `${file} imports one of ${modules.join(", ")}; it imports ${imports.join(", ")}`
      )
    }
  })

  it("are now what the second column says: modules that resolve, effect's own for those that it took in", () => {
    const tookIn = new Set(["@effect/platform", "@effect/schema", "@effect/sql"])
    for (const { modules, name } of readRows()) {
      for (const module of modules) {
        if (tookIn.has(name)) assert.match(module, /^effect\//, name)
        else assert.isTrue(isOf(module, name), `${name}: ${module}`)
        const installed = path.join(root, "node_modules", module)
        const resolves = fs.existsSync(path.join(installed, "package.json")) ||
          fs.existsSync(fileURLToPath(import.meta.resolve(module)))
        assert.isTrue(resolves, module)
      }
    }
  })

  it("are peer, optional peer or dev as package.json has it", () => {
    for (const { kind, modules, name } of readRows()) {
      const owner = modules[0]?.startsWith("effect/") ? "effect" : name
      assert.property(manifest.devDependencies, owner)
      assert.strictEqual(kind, kindOf(owner), name)
    }
  })
})
