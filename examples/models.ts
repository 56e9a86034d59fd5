/**
 * Several providers as one: `cloud/…` and `local/…` by prefix, a fallback where the cloud is down, retries, limits of time
 * and of requests at once. The local one is any server that speaks Chat Completions; here it is a few lines long.
 *
 * To see a compile error, take `.pipe(Layer.provide(Cloud))` away: `ModelProvider` is missing.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Agent, ModelError, ModelScripted, Runner } from "agent-layers"
import * as ModelConcurrency from "agent-layers/layers/model/ModelConcurrency"
import * as ModelFallback from "agent-layers/layers/model/ModelFallback"
import * as ModelOpenAIChat from "agent-layers/layers/model/ModelOpenAIChat"
import * as ModelRetry from "agent-layers/layers/model/ModelRetry"
import * as ModelRouter from "agent-layers/layers/model/ModelRouter"
import * as ModelTimeouts from "agent-layers/layers/model/ModelTimeouts"
import { Console, Effect, Layer, Logger, Redacted, Schedule } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"

const Server = HttpRouter.serve(
  HttpRouter.add(
    "POST",
    "/v1/chat/completions",
    Effect.gen(function*() {
      const { model } = (yield* (yield* HttpServerRequest.HttpServerRequest).json) as { readonly model: string }
      const message = { role: "assistant", content: `I am ${model}, at home.` }
      return HttpServerResponse.jsonUnsafe({ model, choices: [{ index: 0, message, finish_reason: "stop" }] })
    })
  ),
  { disableLogger: true, disableListenLog: true }
).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })))

const Local = Layer.unwrap(
  HttpServer.HttpServer.useSync(({ address }) =>
    ModelOpenAIChat.layer({
      baseURL: `${HttpServer.formatAddress(address)}/v1`,
      apiKey: Redacted.make("none"),
      model: "llama3.3"
    })
  )
).pipe(Layer.provide(Server))

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Cloud = ModelScripted.layer([
  ModelScripted.fail(new ModelError.Overloaded({ description: "too busy" })),
  ModelScripted.text("I am up again."),
  ModelScripted.fail(new ModelError.QuotaExceeded({ description: "no credit" }))
])

// Read outside in: each attempt has its own limits of time, and a retry comes before the next provider.
const Patient = ModelRetry.layer({ schedule: Schedule.recurs(2) }).pipe(
  Layer.provide(ModelTimeouts.layer({ firstEvent: "10 seconds", total: "1 minute" })),
  Layer.provide(ModelConcurrency.layer({ maxRequests: 8 }))
).pipe(Layer.provide(Cloud))

// One Layer value is built once: the router and the fallback share the local provider.
const Models = ModelRouter.layer({ cloud: ModelFallback.layer([Patient, Local]), local: Local }, { default: "cloud" })

const ask = Effect.fnUntraced(function*(model?: string) {
  const { finalOutput, usage } = yield* Runner.run(Agent.make({ name: "poet", model }), "Who are you?")
  yield* Console.log(`${model ?? "default"}: ${finalOutput} (requests: ${usage.requests})`)
})

const program = Effect.gen(function*() {
  yield* ask()
  yield* ask("cloud/")
  yield* ask("local/qwen3")
  yield* Effect.catchTag(ask("mars/rover"), "ModelError", ({ message }) => Console.log(message))
})

const ToLog = Logger.layer([Logger.make(({ message }) => console.log(`log: ${message}`))])

program.pipe(Effect.provide([Models, ToLog]), NodeRuntime.runMain)
