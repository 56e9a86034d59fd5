import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Agent, ModelProvider, Runner, Sandbox, Session } from "agent-layers"
import * as ModelOpenAIChat from "agent-layers/layers/model/ModelOpenAIChat"
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import * as OpenAICompaction from "agent-layers/layers/model/OpenAICompaction"
import { ModelScripted, SandboxVirtual, SessionFaults, SessionMemory, TestAgents, Traces } from "agent-layers/testing"
import { Cause, Effect, Exit, Layer, Redacted } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const agent = Agent.make({ name: "greeter" })

const defect = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? String(exit.cause.reasons.find(Cause.isDieReason)?.defect) : "no failure"

const server = Effect.acquireRelease(
  Effect.callback<{ readonly url: string; readonly hits: () => number; readonly close: Effect.Effect<void> }>(
    (resume) => {
      let hits = 0
      const http = createServer((_, response) => {
        hits++
        response.writeHead(200, { "content-type": "application/json" }).end(`{"ok":true}`)
      })
      const close = Effect.callback<void>((done) => {
        http.close(() => done(Effect.void))
        http.closeAllConnections()
      })
      http.listen(0, "127.0.0.1", () => {
        const { port } = http.address() as AddressInfo
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}/v1`, hits: () => hits, close }))
      })
    }
  ),
  ({ close }) => close
)

describe("TestAgents.layer", () => {
  it("provides each service of a run, and asks for nothing", () => {
    const layer = TestAgents.layer({ model: [ModelScripted.text("a")] })
    expectTypeOf<Layer.Error<typeof layer>>().toEqualTypeOf<never>()
    expectTypeOf<Layer.Services<typeof layer>>().toEqualTypeOf<never>()
    expectTypeOf<ModelProvider.ModelProvider | Session.Session | Sandbox.Sandbox>().toExtend<
      Layer.Success<typeof layer>
    >()
  })

  it.effect("runs an agent on doubles that can be looked into", () =>
    Effect.gen(function*() {
      const { finalOutput, runId } = yield* Runner.run(agent, "Hi", { conversationId: "c" })
      assert.deepStrictEqual([finalOutput, runId], ["Hello.", "run_1"])
      assert.lengthOf(yield* ModelScripted.requests, 1)
      assert.deepStrictEqual((yield* SessionFaults.calls).map(({ operation }) => operation), [
        "loadItems",
        "saveItems",
        "maintain"
      ])
      yield* Traces.expectSpan("invoke_agent greeter", { outcome: "succeeded" })
      yield* Effect.scoped(Effect.gen(function*() {
        const sandbox = yield* (yield* Sandbox.Sandbox).create({ files: { "a.txt": "hello" } })
        assert.strictEqual((yield* sandbox.exec("npm test")).exitCode, 1)
      }))
      assert.deepStrictEqual((yield* SandboxVirtual.commands).map(({ line }) => line), ["npm test"])
    }).pipe(Effect.provide(TestAgents.layer({
      model: { "scripted-1": [ModelScripted.text("Hello.")] },
      modelOptions: { defaultModel: "scripted-1" },
      sandbox: { exec: { "npm test": { exitCode: 1 } } }
    }))))

  it.effect("takes a store, and faults", () =>
    Effect.gen(function*() {
      const store = yield* SessionMemory.makeStore
      const doubles = (faults: ReadonlyArray<SessionFaults.Fault>) =>
        TestAgents.layer({ model: [ModelScripted.text("Hello.")], session: { store }, faults })
      const run = Runner.run(agent, "Hi", { conversationId: "c" })
      const error = yield* Effect.flip(Effect.provide(run, doubles([SessionFaults.loseAnswer("saveItems")])))
      assert.strictEqual(error._tag, "SessionError")
      const { items } = yield* Effect.provide(run, doubles([]))
      assert.isAbove(items.length, 0)
      yield* Effect.gen(function*() {
        assert.lengthOf((yield* (yield* Session.Session).loadItems("c")).items, 4)
      }).pipe(Effect.provide(SessionMemory.layerWith({ store })))
    }))

  it.effect("holds the program to its script", () =>
    Effect.gen(function*() {
      const left = TestAgents.layer({ model: [ModelScripted.text("a")] })
      assert.include(defect(yield* Effect.exit(Effect.provide(Effect.void, left))), "a")
      const unused = TestAgents.layer({ faults: [SessionFaults.fail("clear")] })
      assert.include(defect(yield* Effect.exit(Effect.provide(Effect.void, unused))), "hit nothing")
    }))
})

const apiKey = Redacted.make("sk-of-the-test")

describe("a forbidden network", () => {
  const models = {
    ModelOpenAIResponses: ModelOpenAIResponses.layer({ apiKey, model: "m" }),
    ModelOpenAIChat: ModelOpenAIChat.layer({ apiKey, model: "m" })
  }
  for (const [name, model] of Object.entries(models)) {
    it.live(`refuses ${name} when it is built`, () =>
      Effect.gen(function*() {
        const built = yield* Effect.exit(
          ModelProvider.ModelProvider.pipe(Effect.provide(model), Effect.provide(TestAgents.forbidNetwork()))
        )
        assert.include(defect(built), `is about to talk to api.openai.com, which TestAgents forbids`)
        assert.notInclude(defect(built), "sk-of-the-test")
      }))
  }

  it.live("refuses a function that asks OpenAI to compact", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(
        Effect.scoped(OpenAICompaction.make({ apiKey, model: "m" })).pipe(Effect.provide(TestAgents.forbidNetwork()))
      )
      assert.include(defect(exit), "forbids")
    }))

  it.live("refuses the request of a model that was built elsewhere, before it is sent", () =>
    Effect.scoped(Effect.gen(function*() {
      const { hits, url } = yield* server
      const Model = ModelOpenAIChat.layer({ apiKey, baseURL: url, model: "m" })
      const asking = Effect.flatMap(ModelProvider.ModelProvider, (provider) => provider.getModel()).pipe(
        Effect.flatMap((model) => model.respond({ input: "Hi" }))
      )
      const exit = yield* Effect.exit(
        asking.pipe(Effect.provide(TestAgents.forbidNetwork()), Effect.provide(Model))
      )
      assert.include(defect(exit), `The model "m" of`)
      const failed = yield* Effect.flip(
        Runner.run(agent, "Hi").pipe(Effect.provide(TestAgents.forbidNetwork()), Effect.provide(Model))
      )
      assert.include(failed.message, "which TestAgents forbids")
      const swallowed = yield* Effect.exit(
        Effect.ignore(Runner.run(agent, "Hi")).pipe(Effect.provide(TestAgents.forbidNetwork()), Effect.provide(Model))
      )
      assert.include(defect(swallowed), "which TestAgents forbids")
      assert.strictEqual(hits(), 0)
      yield* Effect.exit(
        Runner.run(agent, "Hi").pipe(
          Effect.provide(TestAgents.forbidNetwork({ except: ["127.0.0.1"] })),
          Effect.provide(Model)
        )
      )
      assert.strictEqual(hits(), 1)
    })))

  it.live("makes a request of HttpClient a defect", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(
        HttpClient.get("http://example.invalid/x").pipe(Effect.provide(TestAgents.forbidNetwork()))
      )
      assert.include(defect(exit), "HttpClient is about to talk to example.invalid")
    }))

  it.live("sees a client over fetch that a program brings itself, at the latest when the test ends", () =>
    Effect.gen(function*() {
      const swallowed = Effect.ignore(HttpClient.get("http://example.invalid/x"))
      for (
        const program of [
          swallowed.pipe(Effect.provide(FetchHttpClient.layer), Effect.provide(TestAgents.layer())),
          swallowed.pipe(Effect.provide([TestAgents.layer(), FetchHttpClient.layer]))
        ]
      ) assert.include(defect(yield* Effect.exit(program)), "A client over fetch is about to talk to example.invalid")
    }))

  it.live("lets through what is excepted, and everything where it is allowed", () =>
    Effect.scoped(Effect.gen(function*() {
      const { hits, url } = yield* server
      const get = Effect.flatMap(HttpClient.get(url), (response) => response.json)
      const answer = yield* get.pipe(Effect.provide(TestAgents.forbidNetwork({ except: ["127.0.0.1"] })))
      assert.deepStrictEqual(answer, { ok: true })
      for (const network of ["allowed", { except: ["127.0.0.1"] }] as const) {
        yield* get.pipe(Effect.provide(FetchHttpClient.layer), Effect.provide(TestAgents.layer({ network })))
      }
      assert.strictEqual(hits(), 3)
      assert.include(
        defect(yield* Effect.exit(get.pipe(Effect.provide(TestAgents.forbidNetwork({ except: ["localhost"] }))))),
        "127.0.0.1"
      )
    })))
})
