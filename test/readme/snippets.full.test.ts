/** README's code compiles, has the type that it says, and works: as files of a project that uses the package by name. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schedule } from "effect"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as OpenAiPeer from "../support/openai/OpenAiPeer.ts"
import { root, type Snippet, snippets } from "./readme.ts"

const bin = (...name: ReadonlyArray<string>) => path.join(root, "node_modules", ...name)

const find = (name: string): Snippet => {
  const found = snippets().find((snippet) => snippet.name === name)
  assert.isDefined(found, name)
  return found as Snippet
}

/** A folder inside of this project, so that its files find the packages; removed when the scope closes. */
const project = Effect.acquireRelease(
  Effect.sync(() => {
    const folder = fs.mkdtempSync(path.join(root, "test", "readme", ".project-"))
    for (const { name, source } of snippets()) fs.writeFileSync(path.join(folder, name), source)
    fs.writeFileSync(
      path.join(folder, "tsconfig.json"),
      JSON.stringify({ extends: "../../../tsconfig.json", include: ["*.ts"] })
    )
    return folder
  }),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
)

interface Ended {
  readonly code: number | null
  readonly output: string
}

/** A process of Node in the project; killed when the scope closes. */
const start = (folder: string, args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = childProcess.spawn(process.execPath, args, {
        cwd: folder,
        env: { PATH: process.env.PATH ?? "", NO_COLOR: "1", ...env },
        stdio: ["ignore", "pipe", "pipe"]
      })
      const said = { output: "" }
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (text: string) => said.output += text)
      }
      const ended = new Promise<Ended>((resolve) => child.once("close", (code) => resolve({ code, ...said })))
      return { child, said, ended }
    }),
    ({ child, ended }) => Effect.promise(() => (child.kill("SIGKILL"), ended))
  )

const run = (folder: string, args: ReadonlyArray<string>, env?: Record<string, string>) =>
  Effect.scoped(Effect.flatMap(start(folder, args, env), ({ ended }) => Effect.promise(() => ended)))

const sources = ["--conditions=agent-layers:source", "--no-warnings"]

const envOf = (peer: OpenAiPeer.OpenAiPeer) => ({ OPENAI_API_KEY: peer.apiKey, OPENAI_BASE_URL: peer.url })

const modules: Record<string, string> = {
  ModelError: "agent-layers/services/ModelError",
  RunError: "agent-layers/run/RunError",
  SessionError: "agent-layers/services/SessionError",
  ModelProvider: "agent-layers/services/ModelProvider",
  Session: "agent-layers/services/Session"
}

describe("README's snippets", () => {
  it.live("compile, and ask has the type in the comment above it", () =>
    Effect.gen(function*() {
      const folder = yield* project
      const type = /^\/\/ (Effect<.*>)\nexport const ask\b/m.exec(find("poet.ts").source)?.[1]
      assert.isString(type)
      const names = Object.keys(modules).filter((name) => new RegExp(`\\b${name}\\b`).test(type as string))
      assert.includeMembers(names, ["ModelError", "RunError", "SessionError"])
      fs.writeFileSync(
        path.join(folder, "types.ts"),
        `${names.map((name) => `import type { ${name} } from "${modules[name]}"`).join("\n")}
import type { Effect } from "effect/Effect"
import type { ask } from "./poet.ts"
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
export const same: Same<ReturnType<typeof ask>, ${type}> = true
`
      )
      const tsc = yield* run(folder, [bin("typescript", "bin", "tsc"), "-p", ".", "--pretty", "false"])
      assert.strictEqual(tsc.output, "")
      assert.strictEqual(tsc.code, 0)
    }), 120_000)

  it.live(
    "Compose: two programs in a row are one conversation, and the rate limit is handled",
    () =>
      Effect.gen(function*() {
        const folder = yield* project
        const peer = yield* OpenAiPeer.make
        fs.writeFileSync(
          path.join(folder, "main.ts"),
          `import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { ask, Stack } from "./poet.ts"
ask(process.argv[2] ?? "", "ada").pipe(Effect.provide(Stack), Effect.andThen(Console.log), NodeRuntime.runMain)
`
        )
        yield* peer.enqueue(OpenAiPeer.text("Hello."), OpenAiPeer.text("You are Ada."), OpenAiPeer.rateLimited())
        const answers = yield* Effect.forEach(
          ["I am Ada.", "Who am I?", "Again?"],
          (question) => run(folder, [...sources, "main.ts", question], envOf(peer))
        )
        assert.deepStrictEqual(answers, [
          { code: 0, output: "Hello.\n" },
          { code: 0, output: "You are Ada.\n" },
          { code: 0, output: "Too many rhymes. Ask again in a minute.\n" }
        ])
        assert.deepStrictEqual(peer.requests.map(({ input }) => input.length), [1, 3, 5])
        assert.strictEqual(peer.request(0).body?.instructions, "You answer in verse.")
      }),
    120_000
  )

  it.live("Test: the test passes, and fails when a step is left over", () =>
    Effect.gen(function*() {
      const folder = yield* project
      const { source } = find("poet.test.ts")
      const more = source.replace("ModelScripted.layer([", () => "ModelScripted.layer([ModelScripted.text(\"Hm.\"), ")
      assert.notStrictEqual(more, source)
      fs.writeFileSync(path.join(folder, "more.test.ts"), more)
      fs.writeFileSync(
        path.join(folder, "vitest.config.ts"),
        `import { defineConfig } from "vitest/config"
const conditions = ["agent-layers:source", "node"]
export default defineConfig({ resolve: { conditions }, ssr: { resolve: { conditions } }, test: { include: ["*.test.ts"] } })
`
      )
      const vitest = [bin("vitest", "vitest.mjs"), "run", "--config", "vitest.config.ts"]
      const passed = yield* run(folder, [...vitest, "poet.test.ts"])
      assert.strictEqual(passed.code, 0, passed.output)
      assert.include(passed.output, "1 passed")
      const failed = yield* run(folder, [...vitest, "more.test.ts"])
      assert.strictEqual(failed.code, 1, failed.output)
    }), 120_000)

  it.live(
    "Embed: answers requests from one set of Layers, and a client that leaves aborts the model's request",
    () =>
      Effect.gen(function*() {
        const folder = yield* project
        const peer = yield* OpenAiPeer.make
        const { source } = find("server.ts")
        // Any free port: others run on this machine.
        fs.writeFileSync(path.join(folder, "server.ts"), source.replace("port: 3000", "port: 0"))
        assert.include(source, "port: 3000")
        const { child, ended, said } = yield* start(folder, [...sources, "server.ts"], envOf(peer))
        const url = yield* Effect.suspend(() => {
          const found = /http:\/\/(?:127\.0\.0\.1|localhost):\d+/.exec(said.output)
          return found === null ? Effect.fail(said.output) : Effect.succeed(found[0])
        }).pipe(Effect.retry({ times: 2000, schedule: Schedule.spaced("20 millis") }))

        const post = (body: unknown, signal?: AbortSignal) =>
          Effect.promise(() =>
            fetch(`${url}/runs`, {
              method: "POST",
              headers: { "content-type": "application/json" },
              body: JSON.stringify(body),
              ...(signal === undefined ? {} : { signal })
            }).then(async (response) => [response.status, await response.text()] as const, () => [0, ""] as const)
          )
        yield* peer.enqueue(OpenAiPeer.text("Hello."), OpenAiPeer.text("Ada."))
        assert.deepStrictEqual(yield* post({ text: "I am Ada.", conversation: "ada" }), [200, "Hello."])
        assert.deepStrictEqual(yield* post({ text: "Who am I?", conversation: "ada" }), [200, "Ada."])
        assert.lengthOf(peer.request(1).input, 3)
        assert.strictEqual(peer.request(1).connection, peer.request(0).connection)
        assert.strictEqual((yield* post({ text: 1 }))[0], 400)

        yield* peer.enqueue(OpenAiPeer.text("Late.", { hangBeforeHeaders: true }))
        const leaves = new AbortController()
        const left = yield* Effect.forkChild(post({ text: "Well?", conversation: "ada" }, leaves.signal))
        yield* peer.awaitRequests(3)
        leaves.abort()
        yield* peer.awaitAborted(1)
        yield* Fiber.join(left)

        child.kill("SIGTERM")
        assert.strictEqual((yield* Effect.promise(() => ended)).code, 130)
      }),
    120_000
  )
})
