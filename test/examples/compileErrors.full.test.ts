/** What the header of an example says about a compile error is true. */
import { assert, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { names, root } from "./run.ts"

const promise = /To see a compile error, (?:take `([^`]+)` away|replace `([^`]+)` by `([^`]+)`): (.+)$/

interface Mistake {
  readonly source: string
  /** What the compiler has to name. */
  readonly named: string
}

const mistakeOf = (name: string): Mistake => {
  const text = fs.readFileSync(path.join(root, "examples", `${name}.ts`), "utf8")
  const end = text.indexOf("*/")
  const [header, code] = [text.slice(0, end), text.slice(end)]
  const sentences = header.replaceAll(/\n \* ?/g, " ").replaceAll(/\s+/g, " ").trim()
  const found = promise.exec(sentences)
  assert.isNotNull(found, `the header of ${name} says how to see a compile error: ${sentences}`)
  const [, away, from = away ?? "", to = "", consequence = ""] = found
  assert.lengthOf(code.split(from), 2, `${name} has \`${from}\` once`)
  return { source: code.slice(2).replace(from, () => to), named: /`([^`]+)`/.exec(consequence)?.[1] ?? "" }
}

/** What else can be taken out of `everything` and what the compiler then names. */
const taken: ReadonlyArray<readonly [from: string, to: string, named: string]> = [
  ["mergeAll(Model, ", "mergeAll(", "ModelProvider"],
  [", Store, ", ", ", "Sealed"],
  [", SqlTools, ", ", ", "Handler<\"query\">"],
  [", SandboxTools, ", ", ", "Handler<\"shell\">"],
  [", SumServer, ", ", ", "Sums"],
  [".pipe(Layer.provide(Orders))", "", "SqlClient"],
  [".pipe(Layer.provide(SandboxUnconfined.layer()))", "", "Sandbox"],
  [".pipe(Layer.provide(Workspace))", "", "SandboxSession"],
  ["patient.pipe(Layer.provide(Cloud))", "patient", "ModelProvider"],
  ["Session.wrap(File, ", "Session.wrap(Layer.empty, ", "Session"],
  ["[Collector, FetchHttpClient.layer]", "[Collector]", "HttpClient"],
  ["[Collector, FetchHttpClient.layer]", "[FetchHttpClient.layer]", "HttpServer"]
]

const takenMistakes = (): ReadonlyArray<Mistake & { readonly name: string }> => {
  const source = fs.readFileSync(path.join(root, "examples", "everything.ts"), "utf8")
  return taken.map(([from, to, named], index) => {
    assert.lengthOf(source.split(from), 2, `everything has \`${from}\` once`)
    return { name: `everything-without-${index}`, source: source.replace(from, () => to), named }
  })
}

describe("the compile errors that the examples promise", () => {
  it("are what the compiler says", async () => {
    const folder = fs.mkdtempSync(path.join(root, "test", "examples", ".mistakes-"))
    try {
      const mistakes = [...names.map((name) => ({ name, ...mistakeOf(name) })), ...takenMistakes()]
      for (const { name, source } of mistakes) fs.writeFileSync(path.join(folder, `${name}.ts`), source)
      fs.writeFileSync(
        path.join(folder, "tsconfig.json"),
        JSON.stringify({
          extends: "../../../tsconfig.json",
          compilerOptions: { noUnusedLocals: false },
          include: ["*.ts"]
        })
      )
      const output = await new Promise<string>((resolve) =>
        childProcess.execFile(
          process.execPath,
          [path.join(root, "node_modules", "typescript", "bin", "tsc"), "-p", folder, "--pretty", "false"],
          { cwd: folder },
          (_error, stdout) => resolve(stdout)
        )
      )
      const errors = output.split(/\n(?=\S)/)
      for (const { name, named } of mistakes) {
        const own = errors.filter((error) => error.startsWith(`${name}.ts(`))
        assert.isTrue(
          named !== "" && own.some((error) => error.includes(named)),
          `${name}: ${named} in:\n${own.join("\n")}`
        )
        // The change breaks one thing, not the file.
        assert.isAtMost(own.length, 3, own.join("\n"))
      }
    } finally {
      fs.rmSync(folder, { recursive: true, force: true })
    }
  }, 120_000)
})
