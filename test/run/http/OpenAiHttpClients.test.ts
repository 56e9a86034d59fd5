/** Other clients: curl, this library's own models, and many at once. */
import { assert, describe, it } from "@effect/vitest"
import * as ModelOpenAIChat from "agent-layers/layers/model/ModelOpenAIChat"
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as Agent from "agent-layers/run/Agent"
import * as OpenAiHttp from "agent-layers/run/http/OpenAiHttp"
import * as Runner from "agent-layers/run/Runner"
import * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import type { ModelError } from "agent-layers/services/ModelError"
import { ModelProvider } from "agent-layers/services/ModelProvider"
import { Effect, Fiber, Layer, Metric, Redacted, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { spawn } from "node:child_process"
import * as ScriptedSubject from "../../layers/model/scriptedSubject.ts"
import { makeGate } from "../../support/gate.ts"
import { describeLaws } from "../../support/laws.ts"
import { until } from "../../support/until.ts"
import { call, serve, served } from "./openAiSupport.ts"
import { parse } from "./support.ts"

const ask = { model: "assistant", input: "Hello?" }
const chat = { model: "assistant", messages: [{ role: "user", content: "Hello?" }] }

const key = Redacted.make("sk-test")

const layers = {
  ModelOpenAIResponses: (baseURL: string, model = "assistant") =>
    ModelOpenAIResponses.make({ apiKey: key, baseURL, model, provider: "agent-layers" }),
  ModelOpenAIChat: (baseURL: string, model = "assistant") =>
    ModelOpenAIChat.make({ apiKey: key, baseURL, model, provider: "agent-layers" })
}

/** An agent as a model: what its own model says is what it says. */
const subject = (
  provider: (url: string) => Effect.Effect<ModelProvider["Service"], ModelError>
): ModelProviderLaws.Subject => {
  const scripted = ScriptedSubject.subject()
  return {
    unknownModel: "no-such-agent",
    // Tools are the agent's own, its thoughts are not shown, and how its provider fails is its server's affair.
    cannot: [
      "Calls",
      "Reasoning",
      "Items",
      "Cut",
      "RateLimited",
      "QuotaExceeded",
      "Authentication",
      "InvalidRequest"
    ],
    open: Effect.gen(function*() {
      const inner = yield* scripted.open
      const { url } = yield* serve(
        OpenAiHttp.layer({ agents: { assistant: Agent.make({ name: "assistant" }) }, drainTimeout: 0 }).pipe(
          Layer.provide([Layer.succeed(ModelProvider, inner.provider), Layer.fresh(SessionMemory.layer)])
        )
      )
      return {
        provider: yield* provider(url),
        script: inner.script,
        ...(inner.aborted === undefined ? {} : { aborted: inner.aborted }),
        ...(inner.received === undefined ? {} : { received: inner.received })
      }
    })
  }
}

/** What the server refuses or does itself does not arrive at the model behind the agent. */
const laws = ModelProviderLaws.all.filter(({ name }) =>
  name !== "no field of a request is dropped silently: it arrives, or it is Unsupported" &&
  name !== "a response can be gone on from by its id, or that is Unsupported"
)

const notShown = [
  "a stream that ends without a terminal event is a failure",
  "a rate limit says how long to wait, where the service said so",
  "every tool call has an id of its own",
  "a conversation with tool calls can go on",
  "items of a type that nobody here knows go both ways untouched"
]

for (const [name, make] of Object.entries(layers)) {
  describeLaws(`${name} of an agent`, laws, subject(make), { notShown })

  it(`${name}: the laws that are left out exist`, () => {
    assert.strictEqual(laws.length, ModelProviderLaws.all.length - 2)
  })

  describe(`${name} of an agent`, () => {
    it.live("is a model for another agent, with tools of its own on either side", () =>
      Effect.gen(function*() {
        const Tools = Toolkit.make(Tool.make("look", { parameters: Schema.Struct({}), success: Schema.String }))
        const handlers = yield* Layer.build(Tools.toLayer({ look: () => Effect.succeed("cold") }))
        const Forecaster = Agent.make({ name: "forecaster", toolkit: Tools })
        const { url } = yield* Effect.provideContext(
          served({
            agents: { forecaster: Forecaster as Agent.Any as Agent.Agent<any, any, never> },
            instructions: "add",
            script: [
              ModelScripted.toolCall("look"),
              ({ instructions }) => ModelScripted.text(["In Oslo ", "it is cold. ", `(${instructions})`])
            ]
          }),
          handlers
        )
        const provider = yield* make(url, "forecaster")
        const Front = Agent.make({ name: "front", instructions: "Be brief." })
        const events = yield* Stream.runCollect(Runner.stream(Front, "Oslo?")).pipe(
          Effect.provideService(ModelProvider, provider)
        )
        const last = events.at(-1)!
        assert(last._tag === "Completed")
        assert.strictEqual(last.result.finalOutput, "In Oslo it is cold. (Be brief.)")
        assert.isAbove(events.filter(({ _tag }) => _tag === "TextDelta").length, 1)
        assert.isAbove(last.result.usage.totalTokens, 0)
      }))
  })
}

const curl = (...args: ReadonlyArray<string>): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = spawn("curl", ["--silent", "--show-error", "--no-buffer", "--max-time", "20", ...args])
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => stdout += text)
    child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text)
    child.once("error", reject)
    child.once("close", (code) => code === 0 ? resolve(stdout) : reject(new Error(`curl: ${code} ${stderr}`)))
  })

const withBody = (body: unknown) => ["--header", "content-type: application/json", "--data", JSON.stringify(body)]

describe("curl", () => {
  it.live("is answered at once, in a stream, and refused", () =>
    Effect.gen(function*() {
      const { url } = yield* served({ keys: [key] })
      const bearer = ["--header", "authorization: Bearer sk-test"]
      const models = JSON.parse(yield* call(() => curl(...bearer, `${url}/models`)))
      assert.deepStrictEqual(models.data.map(({ id }: any) => id), ["assistant"])
      const response = JSON.parse(yield* call(() => curl(...bearer, ...withBody(ask), `${url}/responses`)))
      assert.strictEqual(response.output[0].content[0].text, "one two three")
      const streamed = parse(
        yield* call(() => curl(...bearer, ...withBody({ ...ask, stream: true }), `${url}/responses`))
      )
      assert.strictEqual(streamed.at(-1)!.event, "response.completed")
      assert.isTrue(streamed.every(({ data, event }) => data.type === event))
      const chunks = yield* call(() =>
        curl(...bearer, ...withBody({ ...chat, stream: true }), `${url}/chat/completions`)
      )
      assert.isTrue(chunks.endsWith("\n\ndata: [DONE]\n\n"), chunks)
      assert.isFalse(chunks.includes("event:"))
      const refused = yield* call(() => curl("--write-out", "%{http_code}", ...withBody(ask), `${url}/responses`))
      assert.match(refused, /^\{"error":\{"message":.*\}\}401$/)
    }))
})

describe("200 clients at once", () => {
  it.live("a third of whom leave at random, leave no fiber and no socket behind", () => {
    let fibers = 0
    return Effect.gen(function*() {
      const gate = yield* makeGate
      const { counts, server, url } = yield* served({
        gate,
        maxRuns: 200,
        script: () => ModelScripted.text(Array.from({ length: 30 }, (_, n) => `w${n} `))
      })
      const sockets = Effect.callback<number>((resume) => {
        server.getConnections((_, count) => resume(Effect.succeed(count)))
      })
      const before = fibers
      let most = 0
      let gone = 0
      const stayers = 133
      const reading = yield* Effect.forkChild(Effect.forEach(
        Array.from({ length: 200 }, (_, index) => index),
        (index) =>
          call(async () => {
            const controller = new AbortController()
            const isChat = index % 2 === 0
            const leaves = index % 3 === 0 ? Math.random() * 1000 : undefined
            const timer = leaves === undefined ? undefined : setTimeout(() => controller.abort(), leaves)
            try {
              const response = await fetch(`${url}${isChat ? "/chat/completions" : "/responses"}`, {
                method: "POST",
                headers: { "content-type": "application/json" },
                body: JSON.stringify({ ...isChat ? chat : ask, stream: true }),
                signal: controller.signal
              })
              most = Math.max(most, fibers)
              return await response.text()
            } catch (error) {
              if (leaves === undefined) throw error
              gone++
              return undefined
            } finally {
              clearTimeout(timer)
            }
          }),
        { concurrency: "unbounded" }
      ))
      yield* until(counts, ({ subscribers }) => subscribers === stayers && gone === 200 - stayers)
      yield* gate.open
      const texts = yield* Fiber.join(reading)
      texts.forEach((text, index) => {
        if (index % 3 !== 0) assert.include(text ?? "", index % 2 === 0 ? "data: [DONE]" : "response.completed")
      })
      yield* until(counts, ({ running, subscribers }) => running + subscribers === 0)
      // Of the clients, whose connections stay for the server's keepAliveTimeout.
      yield* until(sockets, (count) => count === 0)
      assert.isAbove(most, before + 200)
      assert.strictEqual(yield* until(Effect.sync(() => fibers), (now) => now === before), before)
    }).pipe(Effect.provideService(Metric.FiberRuntimeMetrics, {
      recordFiberStart: () => {
        fibers++
      },
      recordFiberEnd: () => {
        fibers--
      }
    }))
  })

  it.live("through the official client, each hear their own", () =>
    Effect.gen(function*() {
      const { client, counts } = yield* served({
        script: ({ input }) => ModelScripted.text(["I heard ", JSON.stringify(input).replace(/\D/g, "")])
      })
      const heard = yield* Effect.forEach(
        Array.from({ length: 60 }, (_, index) => index),
        (index) =>
          call(async () =>
            index % 2 === 0
              ? (await client.responses.stream({ model: "assistant", input: `I am ${index}` }).finalResponse())
                .output_text
              : client.chat.completions.stream({
                model: "assistant",
                messages: [{ role: "user", content: `I am ${index}` }]
              }).finalContent()
          ),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(heard, heard.map((_, index) => `I heard ${index}`))
      yield* until(counts, ({ running, subscribers }) => running + subscribers === 0)
    }))
})
