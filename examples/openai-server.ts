/**
 * Agents behind the API of OpenAI: existing clients talk to them as they talk to models.
 *
 * `/v1/models`, `/v1/responses` and `/v1/chat/completions` are served to whoever has the key; `model` names the agent.
 * The agent's tools run here, and a client sees what the agent says. `npm run example openai-server -- --listen` keeps
 * the server running; without that the official client asks it, and it ends.
 *
 * To see a compile error, take `SessionMemory.layer, ` away: `Session` is missing.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Agent, ModelScripted, SessionMemory } from "agent-layers"
import * as OpenAiHttp from "agent-layers/run/http/OpenAiHttp"
import { Console, Effect, Layer, Redacted, Runtime, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { HttpRouter, HttpServer } from "effect/http"
import { createServer } from "node:http"
import OpenAI, { APIError } from "openai"

const Tools = Toolkit.make(
  Tool.make("weather", { parameters: Schema.Struct({ city: Schema.String }), success: Schema.String })
)
const Handlers = Tools.toLayer({ weather: ({ city }) => Effect.succeed(`${city}: 3 degrees`) })

const Forecaster = Agent.make({ name: "forecaster", instructions: "You answer in one sentence.", toolkit: Tools })

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer(({ input }) =>
  Array.isArray(input) && input.some(({ type }) => type === "function_call_output")
    ? ModelScripted.text(["It is ", "3 degrees ", "in Oslo."], { pause: "20 millis" })
    : ModelScripted.toolCall("weather", { city: "Oslo" })
)

const key = "a-key-of-ours"

// Where more than one may ask: a function that says whose the request is, or `tenants`, which gives each a stack.
const Agents = OpenAiHttp.layer({ agents: { forecaster: Forecaster }, keys: [Redacted.make(key)] }).pipe(
  Layer.provide([SessionMemory.layer, Model, Handlers])
)

// SIGTERM refuses new runs and lets those that go on finish.
const Server = OpenAiHttp.layerDrain.pipe(
  Layer.provideMerge(HttpRouter.serve(Agents, { disableLogger: true, disableListenLog: true })),
  Layer.provideMerge(NodeHttpServer.layer(() => createServer({ keepAliveTimeout: 500 }), {
    host: "127.0.0.1",
    port: 0
  }))
)

const demonstrate = Effect.fnUntraced(function*(baseURL: string) {
  const client = new OpenAI({ apiKey: key, baseURL, maxRetries: 0 })
  const model = "forecaster"
  const { data } = yield* Effect.promise(() => client.models.list())
  yield* Console.log(`models: ${data.map(({ id }) => id).join(", ")}`)

  const response = yield* Effect.promise(() => client.responses.create({ model, input: "Is it cold in Oslo?" }))
  yield* Console.log(`responses.create: ${response.output_text}`)

  const stream = client.responses.stream({ model, input: "Sure?", previous_response_id: response.id })
  const deltas: Array<string> = []
  stream.on("response.output_text.delta", ({ delta }) => deltas.push(delta))
  const { previous_response_id } = yield* Effect.promise(() => stream.finalResponse())
  yield* Console.log(`responses.stream: ${deltas.join("|")}, after ${previous_response_id === response.id}`)

  const completion = yield* Effect.promise(() =>
    client.chat.completions.create({ model, messages: [{ role: "user", content: "Is it cold in Oslo?" }] })
  )
  yield* Console.log(`chat.completions.create: ${completion.choices[0]?.message.content}`)

  const stranger = new OpenAI({ apiKey: "another key", baseURL, maxRetries: 0 })
  yield* Effect.promise(() => stranger.models.list()).pipe(
    Effect.catchDefect((error) => Console.log(`a stranger: ${error instanceof APIError ? error.message : error}`))
  )
})

const main = Effect.gen(function*() {
  const url = yield* HttpServer.HttpServer.useSync(({ address }) => `${HttpServer.formatAddress(address)}/v1`)
  if (!process.argv.includes("--listen")) return yield* demonstrate(url)
  yield* Console.log(`Listening on ${url}, for the key ${key}`)
  return yield* Effect.never
})

main.pipe(
  Effect.provide(Server),
  // A server that was asked to stop has not failed.
  NodeRuntime.runMain({
    teardown: (exit, done) => Runtime.defaultTeardown(exit, (code) => done(code === 130 ? 0 : code))
  })
)
