/** Acme's models and tools, under agents. */
import { assert, describe, it } from "@effect/vitest"
import { Agent, Approval, ModelProvider, Runner } from "agent-layers"
import { Law, ModelProviderLaws, ModelScripted, TestAgents, Traces } from "agent-layers/testing"
import { Context, Effect, Exit, Layer, Redacted } from "effect"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as ModelAcme from "../src/ModelAcme.ts"
import * as ToolsAcme from "../src/ToolsAcme.ts"

const Clerk = Agent.make({ name: "clerk", toolkit: ToolsAcme.toolkit })

const doubles = (...model: ReadonlyArray<ModelScripted.Step>) =>
  Layer.merge(ToolsAcme.layer({ orders: { "A-17": "packed", "A-18": "shipped" } }), TestAgents.layer({ model }))

describe("the tools", () => {
  it.effect("tell of orders, and of those that there are not", () =>
    Effect.gen(function*() {
      const { items } = yield* Runner.run(Clerk, "Where are they?")
      const outputs = items.flatMap(({ output }) => typeof output === "string" ? [output] : [])
      assert.strictEqual(outputs[0], "packed")
      assert.include(outputs[1], "There is no order A-99")
      yield* Traces.expectSpan("execute_tool order_status", { times: 2 })
    }).pipe(Effect.provide(doubles(
      ModelScripted.toolCall("order_status", { order: "A-17" }),
      ModelScripted.toolCall("order_status", { order: "A-99" }),
      ModelScripted.text("One is packed.")
    ))))

  it.effect("cancel what a person approves, and has not shipped", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Runner.run(Clerk, "Cancel both."))
      if (error._tag !== "RunError" || error.reason._tag !== "ApprovalRequired") return assert.fail(error.message)
      const { approvals, state } = error.reason
      assert.lengthOf(approvals, 2)
      const { items } = yield* Runner.resume(Clerk, state, approvals.map((one) => Approval.approve(one)))
      const outputs = items.flatMap(({ output }) => typeof output === "string" ? [output] : [])
      assert.strictEqual(outputs[0], "A-17 is cancelled")
      assert.include(outputs[1], "A-18 has shipped")
    }).pipe(Effect.provide(doubles(
      ModelScripted.calls([
        { name: "cancel_order", arguments: { order: "A-17" } },
        { name: "cancel_order", arguments: { order: "A-18" } }
      ]),
      ModelScripted.text("One of them.")
    ))))
})

/** A server that answers each request with the next text, or keeps it waiting. */
const opened = Effect.gen(function*() {
  const script: Array<ModelProviderLaws.Answer> = []
  const received: Array<ModelProviderLaws.Received> = []
  let aborted = 0
  const server = createServer((request, response) => {
    let body = ""
    request.setEncoding("utf8").on("data", (text) => body += text)
    request.on("end", () => {
      received.push({ input: JSON.parse(body).messages, fields: [] })
      const next = script.shift()
      response.on("close", () => {
        if (!response.writableFinished) aborted++
      })
      if (next?._tag === "Hang") return
      if (next?._tag === "Fail" || next === undefined) return response.writeHead(401).end("{}")
      const content = "deltas" in next ? next.deltas.join("") : ""
      const finish_reason = next._tag === "Incomplete" ? "length" : "stop"
      const choices = [{ index: 0, finish_reason, message: { role: "assistant", content } }]
      const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
      return response.writeHead(200, { "content-type": "application/json" })
        .end(JSON.stringify({ id: "c", object: "chat.completion", created: 1, model: "acme-1", choices, usage }))
    })
  })
  const url = yield* Effect.acquireRelease(
    Effect.callback<string>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        resume(Effect.succeed(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`))
      })
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const context = yield* Layer.build(ModelAcme.layer({ url, key: Redacted.make("the key"), model: "acme-1" }))
  return {
    provider: Context.get(context, ModelProvider.ModelProvider),
    script: (...answers: ReadonlyArray<ModelProviderLaws.Answer>) => Effect.sync(() => void script.push(...answers)),
    received: Effect.sync(() => received),
    aborted: Effect.sync(() => aborted)
  }
})

describe("the models", () => {
  // What they speak is tested where it is written; here, that it is spoken to the right address.
  const laws = ModelProviderLaws.all.filter(({ name }) => /interrupt/.test(name) && !/stream/.test(name))

  for (const law of laws) {
    it.live(law.name, () =>
      Effect.gen(function*() {
        const outcome = yield* Law.verify(law, { open: opened })
        assert.strictEqual(outcome._tag, "Held", outcome._tag === "Broken" ? outcome.report : "")
      }))
  }

  it.live("answer, and refuse a wrong key with a typed error", () =>
    Effect.gen(function*() {
      assert.isNotEmpty(laws)
      const { provider, script } = yield* opened
      const model = yield* provider.getModel()
      assert.deepStrictEqual([model.name, model.provider], ["acme-1", "acme"])
      yield* script({ _tag: "Text", deltas: ["Hel", "lo."] })
      const { output, usage } = yield* model.respond({ input: "Hello." })
      assert.lengthOf(output, 1)
      assert.strictEqual(usage.totalTokens, 5)
      const exit = yield* Effect.exit(model.respond({ input: "Hello." }))
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual((yield* Effect.flip(model.respond({ input: "Hello." }))).reason._tag, "Authentication")
    }).pipe(Effect.scoped))
})
