import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

const prelude = `
import { Agent, ModelProvider, Runner, Session } from "./api.ts"
import { Effect, Layer, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
declare const Model: Layer.Layer<ModelProvider.ModelProvider>
declare const Memory: Layer.Layer<Session.Session>
const Ping = Toolkit.make(Tool.make("ping"))
const Both = Toolkit.make(Tool.make("ping"), Tool.make("pong", { parameters: Schema.Struct({ n: Schema.Number }) }))
`

const api = `
export * as Agent from "agent-layers/run/Agent"
export * as Runner from "agent-layers/run/Runner"
export * as ModelProvider from "agent-layers/services/ModelProvider"
export * as Session from "agent-layers/services/Session"
`

const mistakes = {
  "missing-handler": `${prelude}
const agent = Agent.make({ name: "a", toolkit: Ping })
Effect.runPromise(Runner.run(agent, "hi").pipe(Effect.provide(Model)))
`,
  "missing-several": `${prelude}
const agent = Agent.make({ name: "a", toolkit: Both })
Effect.runPromise(Runner.run(agent, "hi", { conversationId: "c" }).pipe(Effect.provide(Model)))
`,
  "missing-session": `${prelude}
const agent = Agent.make({ name: "a" })
Effect.runPromise(Runner.run(agent, "hi", { conversationId: "c" }).pipe(Effect.provide(Model)))
`,
  "wrong-output": `${prelude}
const agent = Agent.make({ name: "a", output: Schema.Struct({ total: Schema.Number }) })
const answer: Effect.Effect<string, unknown> = Runner.run(agent, "hi").pipe(
  Effect.provide(Model),
  Effect.map((result) => result.finalOutput.total)
)
`
}

const compile = async (): Promise<Record<string, string>> => {
  const folder = await mkdtemp(join(root, "test/types/.errors-"))
  try {
    await writeFile(join(folder, "api.ts"), api)
    for (const [name, source] of Object.entries(mistakes)) await writeFile(join(folder, `${name}.ts`), source)
    await writeFile(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        extends: "../../../tsconfig.json",
        compilerOptions: { noUnusedLocals: false },
        include: ["*.ts"]
      })
    )
    const output = await new Promise<string>((resolve) =>
      execFile(
        process.execPath,
        [join(root, "node_modules/typescript/bin/tsc"), "-p", folder, "--pretty", "false"],
        { cwd: folder },
        (_error, stdout) => resolve(stdout)
      )
    )
    const found: Record<string, string> = {}
    let current = ""
    for (const line of output.split("\n")) {
      const start = /^(.*?)([\w-]+)\.ts\(\d+,\d+\): (.*)$/.exec(line)
      if (start !== null) {
        current = start[2]!
        found[current] = found[current] === undefined ? start[3]! : `${found[current]}\n${start[3]!}`
      } else if (current !== "" && line.trim() !== "") found[current] += `\n${line}`
    }
    return found
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

describe("what the compiler says", () => {
  it("names what is missing in its first two lines", async () => {
    const found = await compile()
    const firstTwo = Object.fromEntries(
      Object.keys(mistakes).map((name) => [name, found[name]?.split("\n").slice(0, 2)])
    )
    const exact = " with 'exactOptionalPropertyTypes: true'. " +
      "Consider adding 'undefined' to the types of the target's properties."
    assert.deepStrictEqual(firstTwo, {
      "missing-handler": [
        "error TS2379: Argument of type 'Effect<RunResult<string>, ModelError | RunError, Handler<\"ping\">>' is not " +
        `assignable to parameter of type 'Effect<RunResult<string>, ModelError | RunError, never>'${exact}`,
        "  Type 'Handler<\"ping\">' is not assignable to type 'never'."
      ],
      "missing-several": [
        "error TS2379: Argument of type 'Effect<RunResult<string>, ModelError | RunError | SessionError, " +
        "Handler<\"ping\"> | Handler<\"pong\"> | Session>' is not assignable to parameter of type " +
        `'Effect<RunResult<string>, ModelError | RunError | SessionError, never>'${exact}`,
        "  Type 'Handler<\"ping\"> | Handler<\"pong\"> | Session' is not assignable to type 'never'."
      ],
      "missing-session": [
        "error TS2379: Argument of type 'Effect<RunResult<string>, ModelError | RunError | SessionError, Session>' is " +
        "not assignable to parameter of type " +
        `'Effect<RunResult<string>, ModelError | RunError | SessionError, never>'${exact}`,
        "  Type 'Session' is not assignable to type 'never'."
      ],
      "wrong-output": [
        "error TS2375: Type 'Effect<number, ModelError | RunError, never>' is not assignable to type " +
        `'Effect<string, unknown, never>'${exact}`,
        "  Type 'number' is not assignable to type 'string'."
      ]
    })
  }, 240_000)
})
