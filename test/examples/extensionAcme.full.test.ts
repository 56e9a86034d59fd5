/**
 * examples/extension-acme as its author and its users have it: built, tested, checked and packed; installed from its
 * tarball into a project of its own, and each part used by name.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, beforeAll } from "vitest"
import { developing, expectRun, link, makeProject, packed, root, run } from "../support/packed.ts"

const project = (orders: string) => `
import { Agent, Runner, Session } from "agent-layers"
import { Extensions } from "agent-layers/extensions"
import { NodeRuntime } from "@effect/platform-node"
import { ModelProvider } from "agent-layers/services/ModelProvider"
import { Console, Effect } from "effect"

const program = Effect.gen(function*() {
  const toolkit = yield* Extensions.toolkit
  const Clerk = Agent.make({ name: "clerk", toolkit })
  const run = Runner.run(Clerk, "Where is ${orders}?", { conversationId: "ada" })
  const { finalOutput } = yield* run
  const session = yield* Session.Session
  const { items, version } = yield* session.loadItems("ada")
  yield* Console.log(JSON.stringify({ finalOutput, version, types: items.map(({ type }) => type ?? "message") }))
})

program.pipe(
  Effect.provide(Extensions.layerProject({ needs: [Session.Session, ModelProvider] })),
  NodeRuntime.runMain
)
`

/** A server of Chat Completions, which calls a tool and then says what the tool said. */
const acme = () => {
  const keys: Array<string | undefined> = []
  const server = createServer((request, response) => {
    let body = ""
    request.setEncoding("utf8").on("data", (text) => body += text).on("end", () => {
      keys.push(request.headers.authorization)
      const { messages, tools } = JSON.parse(body) as {
        readonly messages: ReadonlyArray<{ readonly role: string; readonly content: string }>
        readonly tools: ReadonlyArray<{ readonly function: { readonly name: string } }>
      }
      const said = messages.findLast(({ role }) => role === "tool")?.content
      const message = said === undefined
        ? {
          role: "assistant",
          content: null,
          tool_calls: [{
            id: "call_1",
            type: "function",
            function: { name: tools[0]?.function.name, arguments: JSON.stringify({ order: "A-17" }) }
          }]
        }
        : { role: "assistant", content: `It is ${said}.` }
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({
        id: "c",
        object: "chat.completion",
        created: 1,
        model: "acme-1",
        choices: [{ index: 0, finish_reason: said === undefined ? "tool_calls" : "stop", message }],
        usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
      }))
    })
  })
  return new Promise<{ readonly url: string; readonly keys: typeof keys; readonly close: () => void }>((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      resolve({
        url: `http://127.0.0.1:${port}/v1`,
        keys,
        close: () => {
          server.close()
          server.closeAllConnections()
        }
      })
    })
  })
}

describe("examples/extension-acme", () => {
  let author: Awaited<ReturnType<typeof makeProject>>
  let user: string
  let tarball: string

  beforeAll(async () => {
    author = await makeProject([...developing, "openai"])
    user = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-user-")))
    const source = path.join(author.folder, "extension-acme")
    fs.cpSync(path.join(root, "examples", "extension-acme"), source, {
      recursive: true,
      filter: (file) => !/\/(?:dist|node_modules)$/.test(file)
    })
    await expectRun(source, "npm", ["pack", "--pack-destination", author.folder])
    tarball = path.join(author.folder, "agent-layers-acme-1.2.0.tgz")
    fs.writeFileSync(path.join(user, "package.json"), JSON.stringify({ name: "user", private: true, type: "module" }))
    // Without a network npm can install what lies here; the peers are links to this checkout's.
    await expectRun(user, "npm", [
      "install",
      "--offline",
      "--legacy-peer-deps",
      "--ignore-scripts",
      await packed(),
      tarball
    ])
    link(user, ["effect", "@effect/platform-node", "openai"])
  }, 240_000)

  afterAll(() => {
    author?.remove()
    if (user !== undefined) fs.rmSync(user, { recursive: true, force: true })
  })

  it("compiles, keeps the laws, and passes the checks of an extension", async () => {
    const folder = path.join(author.folder, "extension-acme")
    await expectRun(folder, "npm", ["run", "typecheck"])
    fs.writeFileSync(
      path.join(author.folder, "check.mjs"),
      `import { NodeRuntime, NodeServices } from "@effect/platform-node"
      import { Check } from "agent-layers/extensions"
      import { Console, Effect } from "effect"
      Check.check(process.argv[2]).pipe(
        Effect.flatMap((report) => Console.log(Check.render(report))),
        Effect.provide(NodeServices.layer),
        NodeRuntime.runMain
      )`
    )
    const { stdout } = await expectRun(author.folder, process.execPath, ["check.mjs", folder])
    const lines = stdout.trim().split("\n")
    assert.deepStrictEqual(lines.filter((line) => !line.startsWith("ok ")), [], stdout)
    for (const kind of ["session", "model", "tool"]) {
      assert.include(stdout, `${kind} "acme" is what package.json says of it`)
    }
    assert.match(stdout, /^ok {6}laws {10}npm test passes \(\d\d tests\)$/m)
  }, 120_000)

  it("is listed without being loaded, with what each part is", async () => {
    fs.writeFileSync(
      path.join(user, "list.mjs"),
      `import { NodeRuntime } from "@effect/platform-node"
      import { Extension, Extensions } from "agent-layers/extensions"
      import { Console, Effect } from "effect"
      Effect.gen(function*() {
        const registry = yield* Extension.ExtensionRegistry
        const listed = (yield* registry.list).filter(({ origin }) => origin === "agent-layers-acme")
        yield* Console.log(JSON.stringify(listed))
      }).pipe(
        Effect.provide(Extensions.layerRegistry({ root: process.cwd() })),
        NodeRuntime.runMain
      )`
    )
    const { stdout } = await expectRun(user, process.execPath, ["list.mjs"])
    const listed = JSON.parse(stdout) as ReadonlyArray<Record<string, unknown>>
    assert.deepStrictEqual(listed.map(({ kind, name, version }) => [kind, name, version]).sort(), [
      ["model", "acme", "1.2.0"],
      ["session", "acme", "1.2.0"],
      ["tool", "acme", "1.2.0"]
    ])
    for (const one of listed) {
      assert.isUndefined(one["extension"])
      assert.deepInclude(one["compatibility"] as object, { _tag: "Compatible" })
      assert.isNotEmpty(one["description"] as string)
    }
  }, 240_000)

  it("is used by name: an agent on its model, its tools and its store", async () => {
    const { close, keys, url } = await acme()
    try {
      fs.writeFileSync(
        path.join(user, "agent-layers.config.json"),
        JSON.stringify({
          session: { use: "acme", settings: { folder: "conversations" } },
          model: { use: "acme", settings: { url, key: { env: "ACME_KEY" } } },
          tool: [{ use: "acme", settings: { orders: { "A-17": "packed" } } }]
        })
      )
      fs.writeFileSync(path.join(user, "main.mjs"), project("A-17"))
      const told = []
      for (let times = 0; times < 2; times++) {
        const { stdout } = await expectRun(user, process.execPath, ["main.mjs"], { env: { ACME_KEY: "key-of-ada" } })
        told.push(JSON.parse(stdout))
      }
      assert.deepStrictEqual(told[0], {
        finalOutput: "It is packed.",
        version: 2,
        types: ["message", "function_call", "function_call_output", "message"]
      })
      // The second program finds what the first one stored.
      assert.strictEqual(told[1]?.version, 3)
      assert.isTrue(keys.every((key) => key === "Bearer key-of-ada"))
      assert.deepStrictEqual(fs.readdirSync(path.join(user, "conversations")), ["ada.json"])
    } finally {
      close()
    }
  }, 240_000)

  it("says what to do where a setting is missing, or a peer", async () => {
    const missing = await run(user, process.execPath, ["main.mjs"])
    assert.strictEqual(missing.code, 1)
    assert.match(missing.output, /model\.settings\.key.*ACME_KEY/s)
    fs.renameSync(path.join(user, "node_modules", "openai"), path.join(user, "openai"))
    try {
      const absent = await run(user, process.execPath, ["main.mjs"], { env: { ACME_KEY: "key-of-ada" } })
      assert.strictEqual(absent.code, 1)
      assert.include(absent.output, "npm install openai")
    } finally {
      fs.renameSync(path.join(user, "openai"), path.join(user, "node_modules", "openai"))
    }
  }, 240_000)
})
