import { assert, describe, it } from "@effect/vitest"
import * as RunError from "agent-layers/run/RunError"
import { McpErrorReason } from "agent-layers/services/McpServer"
import * as ModelError from "agent-layers/services/ModelError"
import * as SandboxError from "agent-layers/services/SandboxError"
import * as SessionError from "agent-layers/services/SessionError"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** The laws that a layer of each kind must pass; toolkits and SQL clients implement no service of ours. */
const lawsOf: Record<string, string | undefined> = {
  session: "SessionLaws",
  model: "ModelProviderLaws",
  sandbox: "SandboxLaws",
  tracer: "TracerLaws",
  mcp: "McpServerLaws",
  tools: undefined,
  sql: undefined
}

/** What a layer of somebody else calls: a function, which implements no service. */
const functions = new Set(["model/OpenAICompaction.ts"])

const filesBelow = (folder: string): ReadonlyArray<string> =>
  readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) =>
    entry.name === "node_modules" || entry.name.startsWith(".")
      ? []
      : entry.isDirectory()
      ? filesBelow(join(folder, entry.name))
      : [join(folder, entry.name)]
  )

describe("every layer", () => {
  for (const kind of readdirSync(join(root, "src/layers"))) {
    it(`of kind ${kind} has a kind that is known here`, () => assert.isTrue(kind in lawsOf))
    for (const file of readdirSync(join(root, "src/layers", kind))) {
      if (!file.endsWith(".ts")) continue
      const laws = functions.has(`${kind}/${file}`) ? undefined : lawsOf[kind]
      it(`${kind}/${file} has a test${laws === undefined ? "" : ` that runs ${laws}`}`, () => {
        const test = join(root, "test/layers", kind, file.replace(/\.ts$/, ".test.ts"))
        assert.isTrue(existsSync(test), `${test} is missing`)
        if (laws !== undefined) {
          const source = readFileSync(test, "utf8")
          const layer = file.replace(/\.ts$/, "")
          assert.include(source, `agent-layers/services/laws/${laws}"`, `${test} does not import the laws`)
          assert.match(source, new RegExp(`describeLaws\\(\\s*["'\`]${layer}\\b`), `${test} does not run the laws`)
        }
      })
    }
  }
})

describe("every reason of an error", () => {
  const sources = filesBelow("test")
    .filter((file) => file.endsWith(".test.ts") && !file.endsWith("registry.test.ts"))
    .map((file) => readFileSync(join(root, file), "utf8"))

  const unions = {
    SessionError: SessionError.SessionErrorReason,
    ModelError: ModelError.ModelErrorReason,
    SandboxError: SandboxError.SandboxErrorReason,
    RunError: RunError.RunErrorReason
  }
  for (const [error, union] of Object.entries(unions)) {
    for (const member of union.members as ReadonlyArray<{ readonly identifier: string }>) {
      const reason = member.identifier.split("/").at(-1)!
      it(`${error} ${reason} is produced by a test`, () => {
        const asserted = new RegExp(`["'\`]${reason}["'\`]|${error}\\.${reason}\\b`)
        assert.isTrue(sources.some((source) => source.includes(error) && asserted.test(source)))
      })
    }
  }

  for (const reason of McpErrorReason.literals) {
    it(`McpError ${reason} is produced by a test`, () => {
      assert.isTrue(sources.some((source) => source.includes("McpServer") && source.includes(`"${reason}"`)))
    })
  }
})
