/** What README says about this project is so: files, commands, Layers, lengths. */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { readManifest } from "../support/packageExports.ts"
import { code, read, root, snippets, table } from "./readme.ts"

const { scripts } = readManifest(root)

/** Without blocks of code and output. */
const prose = read().replaceAll(/^```[^]*?^```$/gm, "")

describe("README", () => {
  it("has at most 250 lines", () => assert.isAtMost(read().trimEnd().split("\n").length, 250))

  it("names files that exist", () => {
    const linked = [...prose.matchAll(/\]\(([^)#]+)\)/g)].map(([, target = ""]) => target)
    const quoted = code(prose).filter((text) => /^(src|test|examples|\.ci)\/[\w./-]+$/.test(text))
    assert.isNotEmpty(linked)
    assert.isNotEmpty(quoted)
    for (const name of [...linked, ...quoted]) assert.isTrue(fs.existsSync(path.join(root, name)), name)
  })

  it("names folders that exist", () => {
    const last = table("## Commands").map(([command = "", what = ""]) => [command, what] as const)
      .find(([command]) => command === "`npm run format`")
    for (const name of code(last?.[1] ?? "")) assert.isTrue(fs.existsSync(path.join(root, name)), name)
  })

  it("names commands that are scripts, and each script", () => {
    const named = new Set<string>()
    for (const [, run, short] of read().matchAll(/\bnpm (?:run ([\w:-]+)|(start|test)\b)/g)) {
      named.add(run ?? short ?? "")
    }
    assert.deepStrictEqual(
      [...named].sort(),
      Object.keys(scripts).filter((name) => !name.startsWith("pre")).sort()
    )
    assert.deepStrictEqual(
      table("## Commands").map(([command = ""]) => /^`npm (?:run )?([\w:-]+)`$/.exec(command)?.[1]).sort(),
      [...named].sort()
    )
  })

  it("has at most 15 lines in a snippet, blank lines and comments apart", () => {
    assert.deepStrictEqual(snippets().map(({ name }) => name), ["poet.ts", "poet.test.ts", "server.ts", "stack.ts"])
    for (const { name, source } of snippets()) {
      const lines = source.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("//"))
      assert.isAtMost(lines.length, 15, name)
      for (const line of source.split("\n")) assert.isAtMost(line.length, 120, line)
    }
  })

  it("lists every Layer once, and examples that import one of the row", () => {
    const layers = fs.readdirSync(path.join(root, "src", "layers"), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap(({ name }) => fs.readdirSync(path.join(root, "src", "layers", name)))
      .filter((file) => file.endsWith(".ts"))
      .map((file) => file.slice(0, -".ts".length))
    const rows = table("## Layers")
    const names = (cell = "") => code(cell).filter((name) => layers.includes(name))
    assert.deepStrictEqual(rows.flatMap(([, cell]) => names(cell)).sort(), layers.sort())
    for (const [kind, cell, links = ""] of rows) {
      const examples = Array.from(links.matchAll(/\]\(([^)]+)\)/g), ([, example = ""]) => example)
      assert.isNotEmpty(examples, kind)
      for (const example of examples) {
        const folder = example.endsWith("/main.ts") ? path.dirname(example) : undefined
        const sources = folder === undefined
          ? [example]
          : fs.readdirSync(path.join(root, folder)).filter((file) => file.endsWith(".ts")).map((file) =>
            `${folder}/${file}`
          )
        const text = sources.map((source) => fs.readFileSync(path.join(root, source), "utf8")).join("\n")
        assert.isTrue(
          names(cell).some((layer) => new RegExp(`^import .*\\b${layer}\\b`, "m").test(text)),
          `${example} imports one of ${names(cell).join(", ")}`
        )
      }
    }
  })
})
