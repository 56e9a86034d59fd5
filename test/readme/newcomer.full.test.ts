/**
 * A newcomer's path with what README says: install, chat, list extensions, write one, publish it, use it by name. In fresh
 * folders, from the packed tarball, without a network.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as fs from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, beforeAll } from "vitest"
import { developing, expectRun, link, packed, type Ran, run } from "../support/packed.ts"
import { connect, startPostgres } from "../support/postgres.ts"
import { code, read } from "./readme.ts"

const section = (heading: string): string => {
  const text = read()
  const start = text.indexOf(`${heading}\n`)
  assert.isAtLeast(start, 0, heading)
  return text.slice(start + heading.length, text.indexOf("\n## ", start))
}

const publishing = section("## Publish an extension")

/** The commands of the section, in its order, each in one line. */
const commands = code(publishing.replaceAll("\n", " ")).filter((text) => /^(npm|npx) /.test(text))

describe("README's section on publishing", () => {
  it("has at most 6 lines, and packs and publishes", () => {
    assert.isAtMost(`## \n${publishing}`.trimEnd().split("\n").length, 6)
    assert.deepStrictEqual(commands, [
      "npx agent-layers extension new session acme",
      "npm test",
      "npx agent-layers extension check",
      "npm pack",
      "npm publish --dry-run"
    ])
  })
})

describe("a newcomer", () => {
  let folder: string
  let registry: { readonly url: string; readonly asked: Array<string>; readonly close: () => void }
  const author = () => path.join(folder, "agent-layers-session-acme")

  beforeAll(async () => {
    folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-newcomer-")))
    // What npm asks a registry is answered with: there is nothing.
    registry = await new Promise((resolve) => {
      const asked: Array<string> = []
      const server = createServer((request, response) => {
        asked.push(`${request.method} ${request.url}`)
        request.resume()
        response.writeHead(404, { "content-type": "application/json" }).end("{}")
      })
      server.listen(0, "127.0.0.1", () =>
        resolve({
          url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
          asked,
          close: () => {
            server.close()
            server.closeAllConnections()
          }
        }))
    })
    const words = /npm install (agent-layers effect @effect\/platform-node)/.exec(read())?.[1]?.split(" ") ?? []
    assert.lengthOf(words, 3)
    fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ name: "newcomer", private: true }))
    const tarball = await packed()
    await expectRun(folder, "npm", ["install", "--offline", "--legacy-peer-deps", "--ignore-scripts", tarball])
    link(folder, [...words.slice(1), ...developing.filter((name) => !words.includes(name))])
  }, 240_000)

  afterAll(() => {
    registry?.close()
    if (folder !== undefined) fs.rmSync(folder, { recursive: true, force: true })
  })

  const told = (command: string, where: string, options: Parameters<typeof run>[3] = {}): Promise<Ran> => {
    const [program = "", ...args] = command.split(" ")
    return run(where, program, args, {
      ...options,
      env: { npm_config_registry: registry.url, npm_config_offline: undefined, ...options.env }
    })
  }

  const expectTold = async (...args: Parameters<typeof told>): Promise<Ran> => {
    const ran = await told(...args)
    assert.strictEqual(ran.code, 0, `${args[0]}:\n${ran.output}`)
    return ran
  }

  it("chats offline, and is remembered in SQLite from one program to the next", async () => {
    const { output } = await expectTold("npx agent-layers chat", folder, { stdin: "Hello, I am Ada.\n" })
    assert.match(output, /^model: +offline: rules, no language model \(OPENAI_API_KEY is not set\)$/m)
    assert.match(output, /^session: sqlite: .*conversations\.db$/m)
    assert.include(output, "new conversation \"default\"")
    assert.include(output, "You said: Hello, I am Ada.")
    const second = await expectTold("npx agent-layers chat", folder, { stdin: "Who am I?\n" })
    assert.include(second.output, "You said: Who am I?")
    assert.notInclude(second.output, "new conversation")
    assert.match(
      (await expectTold("npx agent-layers sessions list", folder)).stdout,
      /^conversation +version +changed\ndefault +2 +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ\n$/
    )
    const { stdout } = await expectTold("npx agent-layers sessions show default", folder)
    assert.match(stdout, /^user: Hello, I am Ada\.$[^]*^user: Who am I\?$/m)
    assert.isTrue(fs.existsSync(path.join(folder, ".agent-layers", "conversations.db")))
  }, 240_000)

  it("goes on in PostgreSQL, encrypted and cached, by a file", () =>
    Effect.gen(function*() {
      const url = (yield* startPostgres).url()
      const server = path.join(folder, "server")
      fs.mkdirSync(server)
      fs.writeFileSync(path.join(server, "package.json"), JSON.stringify({ name: "server", private: true }))
      fs.writeFileSync(
        path.join(server, "agent-layers.config.yaml"),
        "session:\n  use: postgres\n  wrap: [cached, encrypted]\n"
      )
      link(folder, ["@effect/sql-pg"])
      const env = {
        DATABASE_URL: Redacted.value(url),
        AGENT_LAYERS_SESSION_ENCRYPTED_KEYS: `2026:${Buffer.from("k".repeat(32)).toString("base64")}`
      }
      const chat = (stdin: string) => Effect.promise(() => expectTold("npx agent-layers chat", server, { stdin, env }))
      const { output } = yield* chat("Hello, I am Ada.\n")
      assert.match(output, /^session: .*postgres.*$/m, output)
      assert.match(output, /^session: .*encrypted/m, output)
      assert.notInclude((yield* chat("Who am I?\n")).output, "new conversation")
      const shown = yield* Effect.promise(() => expectTold("npx agent-layers sessions show default", server, { env }))
      assert.match(shown.stdout, /^user: Hello, I am Ada\.$[^]*^user: Who am I\?$/m)
      const sql = yield* connect(url)
      const rows = yield* sql<
        { readonly text: string }
      >`select agent_layers_items::text as text from agent_layers_items`
      assert.isNotEmpty(rows)
      assert.notInclude(JSON.stringify(rows), "Ada")
    }).pipe(Effect.scoped, Effect.runPromise), 120_000)

  it("lists extensions", async () => {
    const { stdout } = await expectTold("npx agent-layers extensions list", folder)
    for (const name of ["sqlite", "postgres", "encrypted", "openai"]) {
      assert.match(stdout, new RegExp(`^\\w+ +${name}\\b`, "m"))
    }
  }, 240_000)

  it("writes an extension, which is ready to be published", async () => {
    const [create = "", ...rest] = commands
    const { output } = await expectTold(create, folder)
    assert.include(output, "agent-layers-session-acme")
    const again = await told(create, folder)
    assert.strictEqual(again.code, 1)
    assert.include(again.output, "is not empty")
    const outputs = []
    for (const command of rest) outputs.push((await expectTold(command, author())).output)
    const [tested = "", checked = "", packed = "", published = ""] = outputs
    assert.match(tested, /Tests +\d+ passed/)
    assert.lengthOf(checked.split("\n").filter((line) => line.startsWith("ok ")), 4, checked)
    assert.include(packed, "agent-layers-session-acme-0.1.0.tgz")
    assert.include(published, "+ agent-layers-session-acme@0.1.0")
    // It was a dry run.
    assert.deepStrictEqual(registry.asked.filter((line) => line.startsWith("PUT")), [])
  }, 240_000)

  it("uses it by name", async () => {
    const user = path.join(folder, "user")
    fs.mkdirSync(user)
    fs.writeFileSync(
      path.join(user, "package.json"),
      JSON.stringify({ name: "user", private: true })
    )
    const tarball = path.join(author(), "agent-layers-session-acme-0.1.0.tgz")
    await expectRun(user, "npm", ["install", "--offline", "--legacy-peer-deps", "--ignore-scripts", tarball])
    const [config = "", file = ""] = code(publishing).filter((text) => /config\.yaml|^session:/.test(text))
    fs.writeFileSync(path.join(user, file), `${config}\n`)
    const { output } = await expectTold("npx agent-layers chat", user, { stdin: "Hello, I am Ada.\n" })
    assert.match(output, /^session: acme/m)
    const stored = fs.readdirSync(path.join(user, ".acme"))
    assert.lengthOf(stored, 1)
    const { stdout } = await expectTold("npx agent-layers extensions list --kind session", user)
    assert.match(stdout, /^session +acme +0\.1\.0 +agent-layers-session-acme/m)
    const mistaken = await told("npx agent-layers chat", user, {
      stdin: "Hello\n",
      env: { AGENT_LAYERS_SESSION: "acmee" }
    })
    assert.strictEqual(mistaken.code, 1)
    assert.include(mistaken.output, "did you mean \"acme\"?")
  }, 120_000)
})
