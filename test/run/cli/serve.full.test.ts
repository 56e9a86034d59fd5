/** `agent-layers serve` as a process: its routes, keys, limits, many clients, and how it stops. */
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as http from "node:http"
import * as path from "node:path"
import { promisify } from "node:util"
import OpenAI from "openai"
import { untilSo } from "../../support/until.ts"
import { normalise, project, run, spawn, watch } from "./support.ts"

interface Server {
  readonly url: string
  readonly folder: string
  readonly kill: (signal: NodeJS.Signals) => void
  readonly ended: ReturnType<typeof watch>["ended"]
  readonly output: ReturnType<typeof watch>["output"]
  readonly pid: number
}

const serving = async (
  args: ReadonlyArray<string>,
  body: (server: Server) => Promise<void>,
  env: Record<string, string> = {}
): Promise<void> => {
  const { folder, remove } = project()
  const child = spawn(["serve", "--port", "0", "--agents", "agents.ts", ...args], { cwd: folder, env })
  child.stdin.end()
  const { ended, output, until } = watch(child)
  try {
    const [, url = ""] = /listening on (\S+)/.exec(await until(/listening on \S+\n[^]*routes:/)) ?? []
    await body({ url, folder, ended, output, pid: child.pid!, kill: (signal) => void child.kill(signal) })
  } finally {
    child.kill("SIGKILL")
    await ended
    remove()
  }
}

const post = (url: string, body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal) =>
  fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
    ...(signal === undefined ? undefined : { signal })
  })

const chat = (content: string, model = "clerk", more: object = {}) => ({
  model,
  messages: [{ role: "user", content }],
  ...more
})

/** What a process holds open, as Linux tells it. */
const sockets = (pid: number): number => {
  const folder = `/proc/${pid}/fd`
  return fs.readdirSync(folder).filter((name) => {
    try {
      return fs.readlinkSync(path.join(folder, name)).startsWith("socket:")
    } catch {
      return false
    }
  }).length
}

const isUp = (url: string) => fetch(`${url}/health`).then(({ status }) => status === 200, () => false)

describe("agent-layers serve", { timeout: 240_000 }, () => {
  it("tells where it listens, and serves runs, both APIs of OpenAI and its health", () =>
    serving([], async ({ ended, folder, kill, output, url }) => {
      assert.deepStrictEqual(await (await fetch(`${url}/health`)).json(), { status: "healthy" })
      const models = await (await fetch(`${url}/v1/models`)).json() as any
      assert.deepStrictEqual(models.data.map(({ id }: any) => id), ["clerk", "writer"])

      const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 })
      const response = await client.responses.create({ model: "writer", input: "Hello." })
      assert.include(response.output_text, "You said: Hello.")
      const completion = await client.chat.completions.create({
        model: "clerk",
        messages: [{ role: "user", content: "call add {\"a\":2,\"b\":3}" }]
      })
      assert.strictEqual(completion.choices[0]?.message.content, "5")
      let streamed = ""
      const stream = await client.chat.completions.create({
        model: "writer",
        stream: true,
        messages: [{ role: "user", content: "Hello." }]
      })
      for await (const chunk of stream) streamed += chunk.choices[0]?.delta.content ?? ""
      assert.include(streamed, "You said: Hello.")

      const curl = (path: string, body: object) =>
        promisify(execFile)("curl", ["-sN", `${url}${path}`, "--json", JSON.stringify(body)], { encoding: "utf8" })
      const answered = await curl("/v1/responses", { model: "writer", input: "By curl." })
      assert.include(answered.stdout, "You said: By curl.")
      const events = await curl("/v1/responses", { model: "writer", input: "By curl.", stream: true })
      assert.match(events.stdout, /^event: response\.created$[^]*^event: response\.completed$/m)
      const message = { role: "user", content: "By curl." }
      const chunks = await curl("/v1/chat/completions", { model: "writer", messages: [message], stream: true })
      assert.match(chunks.stdout, /^data: \[DONE\]$/m)

      const created = await post(`${url}/runs`, { agent: "writer", input: "Hi." }, { prefer: "wait=10" })
      assert.strictEqual(created.status, 200)
      const done = await created.json() as any
      assert.strictEqual(done.status, "completed")
      const waiting = await (await post(
        `${url}/runs`,
        { agent: "clerk", input: "call pay {\"to\":\"Ada\",\"euros\":5}" },
        { prefer: "wait=10" }
      )).json() as any
      assert.strictEqual(waiting.status, "waiting")
      const [{ argumentsHash, id }] = waiting.approvals
      const paid = await (await post(
        `${url}${waiting.links.decisions}`,
        { decisions: [{ id, argumentsHash, isApproved: true }] },
        { prefer: "wait=10" }
      )).json() as any
      assert.strictEqual(paid.result.finalOutput, "paid 5 euros to Ada")

      kill("SIGTERM")
      assert.strictEqual((await ended).code, 0)
      assert.strictEqual(
        normalise(output().stdout, folder),
        [
          "listening on http://127.0.0.1:PORT",
          "agents:  clerk, writer of /project/agents.ts",
          "model:  offline: rules, no language model (OPENAI_API_KEY is not set)",
          "session: sqlite: /project/.agent-layers/conversations.db",
          "keys:  none, everybody who reaches it may use it",
          "routes:  /runs, /conversations, /v1/responses, /v1/chat/completions, /v1/models, /health",
          ""
        ].join("\n")
      )
      // What was served is kept where the other commands find it.
      const { stdout } = await run(["sessions", "list", "--json"], { cwd: folder })
      assert.isTrue(JSON.parse(stdout).conversations.some(({ id }: any) => id === done.conversationId))
    }))

  it("asks for keys, keeps those with names apart, and never prints them", () => {
    const keys = { ada: "key-of-ada-0123456789", bob: "key-of-bob-0123456789", own: "key-of-nobody-0123456789" }
    const authorization = (key: string) => ({ authorization: `Bearer ${key}` })
    return serving(
      [],
      async ({ ended, kill, output, url }) => {
        for (const route of ["/runs/run_1", "/conversations", "/v1/models"]) {
          assert.strictEqual((await fetch(url + route)).status, 401, route)
          assert.strictEqual((await fetch(url + route, { headers: authorization("wrong") })).status, 401, route)
        }
        assert.strictEqual((await fetch(`${url}/health`)).status, 200)
        const body = { agent: "writer", input: "I am Ada.", conversationId: "mine" }
        const asked = await post(`${url}/runs`, body, { ...authorization(keys.ada), prefer: "wait=10" })
        assert.strictEqual(asked.status, 200)
        const listed = async (key: string) =>
          (await (await fetch(`${url}/conversations`, { headers: authorization(key) })).json() as any)
            .conversations.map(({ id }: any) => id)
        assert.deepStrictEqual(await listed(keys.ada), ["mine"])
        assert.deepStrictEqual(await listed(keys.bob), [])
        const answered = await post(`${url}/v1/chat/completions`, chat("Hi.", "writer"), authorization(keys.own))
        assert.strictEqual(answered.status, 200)
        kill("SIGTERM")
        const { code, stderr, stdout } = await ended
        assert.strictEqual(code, 0)
        for (const key of Object.values(keys)) assert.notInclude(stdout + stderr, key)
        assert.include(output().stdout, "keys:    3 keys")
      },
      { AGENT_LAYERS_SERVE_KEYS: `ada=${keys.ada},bob=${keys.bob},${keys.own}` }
    )
  })

  it("keeps an unnamed key beside named ones in conversations of its own", () => {
    const keys = { ada: "key-of-ada-0123456789", own: "key-of-nobody-0123456789" }
    return serving([], async ({ url }) => {
      const ask = async (key: string, conversationId: string) => {
        const headers = { authorization: `Bearer ${key}`, prefer: "wait=10" }
        const { status } = await post(`${url}/runs`, { agent: "writer", input: "Hi.", conversationId }, headers)
        const listed = await (await fetch(`${url}/conversations`, { headers })).json() as any
        return [status, ...listed.conversations.map(({ id }: any) => id)]
      }
      const status = async (key: string, id: string) =>
        (await fetch(`${url}/conversations/${encodeURIComponent(id)}`, { headers: { authorization: `Bearer ${key}` } }))
          .status
      assert.deepStrictEqual(await ask(keys.ada, "hers"), [200, "hers"])
      assert.deepStrictEqual(await ask(keys.own, "its own"), [200, "its own"])
      assert.strictEqual(await status(keys.own, "ada/hers"), 404)
      assert.strictEqual(await status(keys.ada, "_/its own"), 404)
      assert.strictEqual(await status(keys.own, "its own"), 200)
    }, { AGENT_LAYERS_SERVE_KEYS: `ada=${keys.ada},${keys.own}` })
  })

  it("answers pages of --cors, refuses other pages and hosts, and says so of what is no origin", () =>
    serving(["--cors", "https://app.example.com", "--allow-host", "agents.example.com"], async ({ folder, url }) => {
      const status = (headers: Record<string, string>, path = "/v1/models") =>
        new Promise<number>((resolve, reject) =>
          http.get(`${url}${path}`, { headers }, (response) => {
            response.resume()
            resolve(response.statusCode!)
          }).on("error", reject)
        )
      for (const path of ["/v1/models", "/conversations", "/health"]) {
        assert.strictEqual(await status({}, path), 200, path)
        assert.strictEqual(await status({ host: "evil.example" }, path), 403, path)
        assert.strictEqual(await status({ origin: "https://evil.example" }, path), 403, path)
        assert.strictEqual(await status({ "sec-fetch-site": "cross-site" }, path), 403, path)
        assert.strictEqual(await status({ host: "Agents.Example.com:80" }, path), 200, path)
        assert.strictEqual(await status({ origin: "https://app.example.com" }, path), 200, path)
      }
      const unknown = await fetch(`${url}/v1/embeddings`, { method: "POST", body: "{}" })
      assert.deepStrictEqual([unknown.status, (await unknown.json() as any).error.code], [404, "not_found"])
      for (const args of [["--cors", "*"], ["--cors", "app.example.com"], ["--allow-host", "https://a.b/c"]]) {
        const { code, stderr } = await run(["serve", ...args], { cwd: folder })
        assert.strictEqual(code, 2, stderr)
        assert.include(stderr, `"${args[1]}" is not a`)
      }
    }))

  it("logs why a run failed: reason, run and agent, and nothing of the conversation", () =>
    serving([], async ({ ended, kill, url }) => {
      const words = "call crash {\"words\":\"canary-9b2e\"}"
      const failed = await post(`${url}/v1/chat/completions`, chat(words))
      assert.deepStrictEqual([failed.status, (await failed.json() as any).error.code], [400, "failed_after_tools"])
      const created = await post(`${url}/runs`, { agent: "clerk", input: words }, { prefer: "wait=10" })
      assert.strictEqual(created.status, 400)
      kill("SIGTERM")
      const { stderr } = await ended
      assert.lengthOf(
        stderr.match(/error: Run run_\S+ of agent clerk failed: RunError ToolDefect, tool crash: Error at /g) ?? [],
        2,
        stderr
      )
      assert.notInclude(stderr, "canary")
    }))

  it("refuses what is beyond its limits", () =>
    serving(["--max-runs", "1", "--max-body", "500"], async ({ url }) => {
      const first = await post(`${url}/runs`, { agent: "clerk", input: "call sleep {\"millis\":5000}" })
      assert.strictEqual(first.status, 202)
      const second = await post(`${url}/runs`, { agent: "clerk", input: "call sleep {\"millis\":5000}" })
      assert.strictEqual(second.status, 503)
      const large = await post(`${url}/v1/chat/completions`, chat("x".repeat(1000)))
      assert.strictEqual(large.status, 413)
    }))

  it("SIGTERM lets a run finish that goes on, and ends with 0", () =>
    serving(["--drain", "60"], async ({ ended, folder, kill, url }) => {
      const answer = await post(
        `${url}/v1/chat/completions`,
        chat("call sleep {\"millis\":1500}", "clerk", { stream: true })
      )
      const created = await post(`${url}/runs`, {
        agent: "clerk",
        input: "call sleep {\"millis\":1500}",
        conversationId: "drained"
      })
      assert.strictEqual(created.status, 202)
      kill("SIGTERM")
      assert.include(await answer.text(), "awake")
      assert.strictEqual((await ended).code, 0)
      const { stdout } = await run(["sessions", "show", "drained"], { cwd: folder })
      assert.include(stdout, "assistant: awake")
    }))

  it("SIGTERM interrupts within its deadline what does not finish", () =>
    serving(["--drain", "1"], async ({ ended, folder, kill, url }) => {
      const created = await post(`${url}/runs`, {
        agent: "clerk",
        input: "call sleep {\"millis\":60000}",
        conversationId: "late"
      })
      assert.strictEqual(created.status, 202)
      const answer = post(`${url}/v1/chat/completions`, chat("call sleep {\"millis\":60000}")).then(
        ({ status }) => status,
        () => 0
      )
      const { id } = await created.json() as { readonly id: string }
      const told = (await fetch(`${url}/runs/${id}/events`)).body!.pipeThrough(new TextDecoderStream())
      for await (const text of told) if (text.includes("ToolStarted")) break
      kill("SIGTERM")
      assert.strictEqual((await ended).code, 0)
      assert.notStrictEqual(await answer, 200)
      const { stdout } = await run(["sessions", "show", "late"], { cwd: folder })
      assert.include(stdout, `Tool "sleep" was interrupted before it finished`)
    }))

  it("Ctrl-C ends it with 130", () =>
    serving([], async ({ ended, kill }) => {
      kill("SIGINT")
      assert.strictEqual((await ended).code, 130)
    }))

  it("says so where the port is taken", () =>
    serving([], async ({ folder, url }) => {
      const { port } = new URL(url)
      const { code, stderr } = await run(["serve", "--port", port], { cwd: folder })
      assert.strictEqual(code, 1)
      assert.strictEqual(
        stderr,
        `agent-layers: Port ${port} of 127.0.0.1 cannot be listened on. ` +
          "Name another one: --port N, or --port 0 for any that is free.\n"
      )
    }))

  // 200 clients and their server are more than a test that runs beside others should take at once.
  it("serves 200 clients that listen, a third of which leaves at random, and keeps nothing of them", {
    timeout: 120_000
  }, () =>
    serving(["--max-runs", "300"], async ({ ended, kill, pid, url }) => {
      assert.isTrue(await isUp(url))
      const before = fs.existsSync("/proc") ? sockets(pid) : 0
      let seed = 20_260_101
      const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647
      const outcomes = await Promise.all(Array.from({ length: 200 }, async (_, index) => {
        const leaves = index % 3 === 0
        const abort = new AbortController()
        const isChat = index % 2 === 0
        const timer = leaves ? setTimeout(() => abort.abort(), 100 + random() * 1500) : undefined
        try {
          const response = isChat
            ? await post(
              `${url}/v1/chat/completions`,
              chat("call sleep {\"millis\":2000}", "clerk", { stream: true }),
              {},
              abort.signal
            )
            : await post(
              `${url}/v1/responses`,
              { model: "clerk", input: "call sleep {\"millis\":2000}", stream: true, store: false },
              {},
              abort.signal
            )
          const text = await response.text()
          return text.includes("awake") ? "answered" : `${response.status}: ${text.slice(0, 200)}`
        } catch (error) {
          return abort.signal.aborted ? "left" : String(error)
        } finally {
          clearTimeout(timer)
        }
      }))
      const stayed = outcomes.filter((_, index) => index % 3 !== 0)
      assert.deepStrictEqual([...new Set(stayed)], ["answered"])
      assert.isAbove(outcomes.filter((outcome) => outcome === "left").length, 30)

      assert.isTrue(await isUp(url))
      if (before > 0) {
        // Connections that were kept alive go after five seconds.
        await untilSo(() => sockets(pid), (count) => count <= before + 2)
      }
      kill("SIGTERM")
      assert.strictEqual((await ended).code, 0)
    }))
})
