/** How it stops. */
import { assert, describe, it } from "@effect/vitest"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as Agent from "agent-layers/run/Agent"
import * as RunHttp from "agent-layers/run/http/RunHttp"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { ended, spawnExample } from "../../examples/run.ts"
import { type Gate, heldBy, makeGate } from "../../support/gate.ts"
import { until } from "../../support/until.ts"
import { eventsOf, json, parse, serve } from "./support.ts"

const served = (script: ModelScripted.Script, drainTimeout: `${number} millis`, gate?: Gate) =>
  serve(
    RunHttp.layer({ agents: { assistant: Agent.make({ name: "assistant" }) }, drainTimeout }).pipe(
      Layer.provide([heldBy(gate, ModelScripted.layer(script)), Layer.fresh(SessionMemory.layer)])
    )
  )

const order = { agent: "assistant", input: "?" }

describe("RunHttp, when it stops,", () => {
  it.live("takes no new run and lets those that go on finish", () =>
    Effect.gen(function*() {
      const gate = yield* makeGate
      const client = yield* served(() => ModelScripted.text(["a", "b", "c"]), "60000 millis", gate)
      const run = yield* json(yield* client.post(order))
      const listening = yield* Effect.forkChild(Effect.flatMap(client.get(run.links.events), eventsOf))
      yield* until(client.counts, ({ subscribers }) => subscribers === 1)
      const draining = yield* Effect.forkChild(client.drain, { startImmediately: true })
      const refused = yield* client.post(order)
      assert.strictEqual(refused.status, 503)
      assert.strictEqual(refused.headers.get("retry-after"), "5")
      assert.strictEqual((yield* json(refused)).code, "stopping")
      yield* gate.open
      yield* Fiber.join(draining)
      assert.strictEqual((yield* client.counts).running, 0)
      assert.strictEqual((yield* Fiber.join(listening)).at(-1)!.event, "Completed")
      assert.strictEqual((yield* json(yield* client.get(run.links.self))).status, "completed")
    }))

  it.live("interrupts what does not finish within drainTimeout, and ends its streams", () =>
    Effect.gen(function*() {
      const client = yield* served(() => ModelScripted.hang(), "50 millis")
      const run = yield* json(yield* client.post(order))
      const listening = yield* Effect.forkChild(Effect.flatMap(client.get(run.links.events), eventsOf))
      yield* until(client.counts, ({ subscribers }) => subscribers === 1)
      yield* client.drain
      const last = (yield* Fiber.join(listening)).at(-1)!
      assert.strictEqual(last.event, "Cancelled")
      assert.strictEqual(last.data.problem.code, "stopped")
      const { problem, status } = yield* json(yield* client.get(run.links.self))
      assert.strictEqual(status, "cancelled")
      assert.strictEqual(problem.status, 503)
    }))

  it.live("drains by itself when the scope of its Layer closes", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const client = yield* Scope.provide(served(() => ModelScripted.hang(), "50 millis"), scope)
      yield* client.post(order)
      assert.strictEqual((yield* client.counts).running, 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* client.counts).running, 0)
    }))

  for (const way of ["--listen", "--listen-plain"]) {
    it(`by SIGTERM, drains, refuses new runs meanwhile and exits with 0 (${way})`, async () => {
      const child = spawnExample("embedded", way)
      const end = ended(child)
      try {
        const url = await new Promise<string>((resolve, reject) => {
          child.stdout?.on("data", (text: string) => {
            const found = /Listening on (\S+)/.exec(text)
            if (found !== null) resolve(found[1]!)
          })
          void end.then(({ stderr }) => reject(new Error(`it ended: ${stderr}`)))
        })
        const post = () =>
          fetch(`${url}/agents/runs`, {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify(order)
          })
        const { links } = await (await post()).json() as { links: { events: string } }
        const response = await fetch(`${url}${links.events}`)
        const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
        let text = (await reader.read()).value ?? ""
        child.kill("SIGTERM")
        let refused = 0
        for (let next = await reader.read(); !next.done; next = await reader.read()) {
          text += next.value
          if (refused === 202 || refused === 0) refused = (await post()).status
        }
        assert.strictEqual(refused, 503)
        assert.strictEqual(parse(text).at(-1)!.event, "Completed")
        const { code, stderr } = await end
        assert.strictEqual(stderr, "")
        assert.strictEqual(code, 0)
      } finally {
        child.kill("SIGKILL")
        await end
      }
    }, 30_000)
  }
})
