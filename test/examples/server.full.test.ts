/** The server example as an operator meets it: clients that go away, SIGTERM, many requests on one set of Layers. */
import { assert, describe, it } from "@effect/vitest"
import type { ChildProcess } from "node:child_process"
import { untilSo } from "../support/until.ts"
import { type Ended, ended, spawnExample } from "./run.ts"

interface Server {
  readonly url: string
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
}

const start = async (): Promise<Server> => {
  const child = spawnExample("server", "--listen")
  const end = ended(child)
  const url = await new Promise<string>((resolve, reject) => {
    let said = ""
    child.stdout?.on("data", (text: string) => {
      said += text
      const found = /Listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(said)
      if (found !== null) resolve(found[1]!)
    })
    void end.then(({ stderr }) => reject(new Error(`it ended: ${stderr}`)))
  })
  return { url, child, ended: end }
}

const withServer = (body: (server: Server) => Promise<void>) => async () => {
  const server = await start()
  try {
    await body(server)
  } finally {
    server.child.kill("SIGKILL")
    await server.ended
  }
}

const post = (url: string, body: unknown, signal?: AbortSignal) =>
  fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    ...(signal === undefined ? {} : { signal })
  })

interface Stats {
  readonly requests: number
  readonly aborted: number
}

const until = (url: string, condition: (stats: Stats) => boolean): Promise<Stats> =>
  untilSo(async () => await (await fetch(`${url}/stats`)).json() as Stats, condition)

const eventsOf = (text: string) =>
  text.trim().split("\n\n").map((block) => {
    const lines = block.split("\n")
    const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? ""
    return { event: field("event"), data: JSON.parse(field("data")) as Record<string, unknown> }
  })

describe("the server example", { timeout: 240_000 }, () => {
  it(
    "answers with JSON, goes on with a conversation, and streams what a run does",
    withServer(async ({ url }) => {
      const first = await post(`${url}/runs`, { question: "One?" })
      assert.strictEqual(first.status, 200)
      const { answer, conversation } = await first.json() as { answer: string; conversation: string }
      assert.strictEqual(answer, "One word at a time.")
      const second = await post(`${url}/runs/stream`, { question: "Two?", conversation })
      assert.match(second.headers.get("content-type") ?? "", /^text\/event-stream/)
      const events = eventsOf(await second.text())
      assert.deepStrictEqual(events[0]?.event, "RunStarted")
      assert.strictEqual(events[0]?.data.conversationId, conversation)
      assert.deepStrictEqual(events.at(-1)!.data, { _tag: "Completed", answer: "One word at a time.", conversation })
      const committed = events.find(({ event }) => event === "Committed")
      assert.strictEqual(committed?.data.version, 2)
    })
  )

  it(
    "refuses a body that is not a question",
    withServer(async ({ url }) => {
      assert.strictEqual((await post(`${url}/runs`, { query: "?" })).status, 400)
      assert.strictEqual((await post(`${url}/runs/stream`, [])).status, 400)
      assert.strictEqual((await post(`${url}/runs`, { question: "?", conversation: "" })).status, 400)
    })
  )

  it(
    "gives the second of two runs at once on a conversation 409",
    withServer(async ({ url }) => {
      const answers = await Promise.all([1, 2].map(() => post(`${url}/runs`, { question: "?", conversation: "c" })))
      assert.deepStrictEqual(answers.map(({ status }) => status).sort(), [200, 409])
    })
  )

  it(
    "interrupts the run of a client that goes away, streamed or not",
    withServer(async ({ url }) => {
      const plain = new AbortController()
      const run = post(`${url}/runs`, { question: "?" }, plain.signal)
      await until(url, ({ requests }) => requests === 1)
      plain.abort()
      await run.then(() => assert.fail("it was not aborted"), () => undefined)
      await until(url, ({ aborted }) => aborted === 1)

      const streamed = new AbortController()
      const response = await post(`${url}/runs/stream`, { question: "?" }, streamed.signal)
      await response.body!.getReader().read()
      streamed.abort()
      await until(url, ({ aborted }) => aborted === 2)
    })
  )

  it(
    "finishes the runs in flight when it is told to stop, takes no more, and exits with 0",
    withServer(async ({ child, ended, url }) => {
      const run = post(`${url}/runs`, { question: "?" })
      const stream = post(`${url}/runs/stream`, { question: "?" }).then((response) => response.text())
      await until(url, ({ requests }) => requests === 2)
      child.kill("SIGTERM")
      await untilSo(() => fetch(`${url}/stats`).then(() => "taken", () => "refused"), (how) => how === "refused")
      const answered = await run
      assert.strictEqual(answered.status, 200)
      assert.strictEqual((await answered.json() as { answer: string }).answer, "One word at a time.")
      assert.strictEqual(eventsOf(await stream).at(-1)?.event, "Completed")
      const { code, stderr } = await ended
      assert.strictEqual(code, 0)
      assert.strictEqual(stderr, "")
    })
  )

  it(
    "builds its Layers once",
    withServer(async ({ child, ended, url }) => {
      await Promise.all([1, 2, 3, 4].map(async (n) => (await post(`${url}/runs`, { question: `${n}?` })).text()))
      await until(url, ({ requests }) => requests === 4)
      child.kill("SIGTERM")
      const { stdout } = await ended
      assert.lengthOf(stdout.match(/Layers built/g) ?? [], 1)
    })
  )
})
