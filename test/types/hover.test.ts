import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

const prelude = `
import { Agent, Guardrail, Handoff, Runner } from "./api.ts"
import { Context, Effect, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"

class Profile extends Context.Service<Profile, { readonly name: string }>()("test/Profile") {}
class Policy extends Context.Service<Policy, { readonly limit: number }>()("test/Policy") {}
class NoProfile extends Schema.TaggedError<NoProfile>()("NoProfile", {}) {}
class NoPolicy extends Schema.TaggedError<NoPolicy>()("NoPolicy", {}) {}

const Add = Tool.make("add", {
  parameters: Schema.Struct({ a: Schema.Number, b: Schema.Number }),
  success: Schema.Number
})
const Refund = Tool.make("refund", {
  description: "Pays back",
  parameters: Schema.Struct({ order: Schema.String, cents: Schema.Number }),
  success: Schema.Struct({ refunded: Schema.Number }),
  failure: Schema.Struct({ reason: Schema.String })
})
const Kit = Toolkit.make(Add, Refund)
const Invoice = Schema.Struct({ total: Schema.Number })

const hello = Agent.make({ name: "hello", instructions: "You greet." })
const tools = Agent.make({ name: "tools", toolkit: Kit })
const billing = Agent.make({
  name: "billing",
  output: Invoice,
  instructions: Effect.gen(function*() {
    const profile = yield* Profile
    return profile.name === "" ? yield* new NoProfile() : profile.name
  })
})
const expert = Agent.make({
  name: "expert",
  instructions: Effect.flatMap(Policy, ({ limit }) =>
    limit > 0 ? Effect.succeed("You know all.") : Effect.fail(new NoPolicy()))
})
const front = Agent.make({
  name: "front",
  toolkit: Toolkit.make(Add),
  handoffs: [Handoff.to(billing, { isEnabled: Effect.map(Policy, ({ limit }) => limit > 0) })],
  agentTools: [Agent.asTool(expert, { name: "ask_expert", description: "Knows all" })]
})
const guarded = Agent.make({
  name: "guarded",
  toolkit: Kit,
  toolOptions: {
    refund: { needsApproval: ({ cents }) => Effect.map(Policy, ({ limit }) => cents > limit) },
    add: { inputGuardrails: [Guardrail.toolInput({ name: "x", check: () => Effect.fail(new NoPolicy()) })] }
  },
  inputGuardrails: [Guardrail.input({ name: "y", check: () => Effect.as(Profile, Guardrail.pass()) })]
})
const ten = Agent.make({
  name: "ten",
  toolkit: Toolkit.make(${Array.from({ length: 10 }, (_, n) => `Tool.make("tool_${n}")`).join(", ")})
})
`

const api = `
export * as Agent from "agent-layers/run/Agent"
export * as Guardrail from "agent-layers/run/Guardrail"
export * as Handoff from "agent-layers/run/Handoff"
export * as Runner from "agent-layers/run/Runner"
`

const conversation = `{ conversationId: "c" }`

const shown = {
  helloAlone: `Runner.run(hello, "hi")`,
  hello: `Runner.run(hello, "hi", ${conversation})`,
  tools: `Runner.run(tools, "hi", ${conversation})`,
  front: `Runner.run(front, "hi", ${conversation})`,
  frontStream: `Runner.stream(front, "hi", ${conversation})`,
  guarded: `Runner.run(guarded, "hi", ${conversation})`,
  ten: `Runner.run(ten, "hi", ${conversation})`,
  hooks: `Runner.run(hello, "hi", { hooks: { onTurnStart: () => Effect.as(Policy, undefined) } })`,
  agent: `front`
}

/** The language server that editors use, as far as opening a file and hovering goes. */
const languageServer = () => {
  const child = spawn(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "--lsp", "--stdio"], {
    cwd: root,
    stdio: ["pipe", "pipe", "ignore"]
  })
  const closed = new Promise<void>((resolve) => child.on("close", () => resolve()))
  const waiting = new Map<number, (answer: any) => void>()
  const write = (message: object) => {
    const body = JSON.stringify({ jsonrpc: "2.0", ...message })
    child.stdin.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
  }
  const take = (message: { readonly id?: number; readonly method?: string; readonly params?: any }) => {
    if (message.method === undefined) waiting.get(message.id!)?.(message)
    // What the server asks of its client: each setting is left as it is.
    else if (message.id !== undefined) {
      write({
        id: message.id,
        result: message.method === "workspace/configuration" ? message.params.items.map(() => null) : null
      })
    }
  }
  let buffer = Buffer.alloc(0)
  child.stdout.on("data", (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk])
    while (true) {
      const end = buffer.indexOf("\r\n\r\n")
      const length = /Content-Length: (\d+)/i.exec(buffer.subarray(0, Math.max(end, 0)).toString())?.[1]
      if (length === undefined || buffer.length < end + 4 + Number(length)) return
      const body = buffer.subarray(end + 4, end + 4 + Number(length)).toString()
      buffer = buffer.subarray(end + 4 + Number(length))
      take(JSON.parse(body))
    }
  })
  let last = 0
  return {
    request: (method: string, params: unknown) =>
      new Promise<any>((resolve, reject) => {
        const id = ++last
        waiting.set(id, ({ error, result }) => error === undefined ? resolve(result) : reject(new Error(error.message)))
        void closed.then(() => reject(new Error(`The language server ended before it answered ${method}`)))
        write({ id, method, params })
      }),
    notify: (method: string, params: unknown) => write({ method, params }),
    stop: () => {
      child.kill("SIGKILL")
      return closed
    }
  }
}

const declared = (name: string) => `export const $${name}`

const hovers = async (): Promise<Record<string, string>> => {
  const folder = await mkdtemp(join(root, "test/types/.hover-"))
  const server = languageServer()
  try {
    const source = prelude +
      Object.entries(shown).map(([name, expression]) => `${declared(name)} = ${expression}\n`).join("")
    await writeFile(join(folder, "api.ts"), api)
    await writeFile(join(folder, "shown.ts"), source)
    await writeFile(
      join(folder, "tsconfig.json"),
      JSON.stringify({ extends: "../../../tsconfig.json", include: ["*.ts"] })
    )
    const uri = pathToFileURL(join(folder, "shown.ts")).href
    await server.request("initialize", {
      processId: process.pid,
      rootUri: pathToFileURL(folder).href,
      capabilities: { textDocument: { hover: { contentFormat: ["plaintext"] } } }
    })
    server.notify("initialized", {})
    server.notify("textDocument/didOpen", { textDocument: { uri, languageId: "typescript", version: 1, text: source } })
    const lines = source.split("\n")
    const found: Record<string, string> = {}
    for (const name of Object.keys(shown)) {
      const line = lines.findIndex((text) => text.startsWith(`${declared(name)} = `))
      const hover = await server.request("textDocument/hover", {
        textDocument: { uri },
        position: { line, character: declared("").length }
      })
      const [start, type] = hover.contents.value.split(/: (.*)/s)
      assert.strictEqual(`export ${start}`, declared(name))
      found[name] = type.replaceAll(/\s+/g, " ")
    }
    return found
  } finally {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

describe("what an editor shows", () => {
  it("of a run is its result, its errors and its requirements, by name", async () => {
    const errors = "ModelError | RunError | SessionError"
    const total = "string | { readonly total: number; }"
    const add = "Tool.Handler<\"add\">"
    const both = `${add} | Tool.Handler<"refund">`
    const frontErrors = "ModelError | NoProfile | RunError | SessionError"
    const frontServices = `${add} | ModelProvider | Policy | Profile | Session`
    const tenHandlers = Array.from({ length: 10 }, (_, n) => `Tool.Handler<"tool_${n}">`).join(" | ")
    assert.deepStrictEqual(await hovers(), {
      helloAlone: "Effect.Effect<RunResult<string>, ModelError | RunError, ModelProvider>",
      hello: `Effect.Effect<RunResult<string>, ${errors}, ModelProvider | Session>`,
      tools: `Effect.Effect<RunResult<string>, ${errors}, ${both} | ModelProvider | Session>`,
      front: `Effect.Effect<RunResult<${total}>, ${frontErrors}, ${frontServices}>`,
      frontStream: `Stream<RunEvent<${total}>, ${frontErrors}, ${frontServices}>`,
      guarded: `Effect.Effect<RunResult<string>, ModelError | NoPolicy | RunError | SessionError, ` +
        `${both} | ModelProvider | Policy | Profile | Session>`,
      ten: `Effect.Effect<RunResult<string>, ${errors}, ${tenHandlers} | ModelProvider | Session>`,
      hooks: "Effect.Effect<RunResult<string>, ModelError | RunError, ModelProvider | Policy>",
      agent: `Agent.Agent<${total}, NoProfile, ${add} | Policy | Profile>`
    })
  }, 240_000)
})
