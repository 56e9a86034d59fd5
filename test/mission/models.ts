/** The mission, rows on models: custom providers, composed providers, and one agent on several of them. */
import { assert, describe, it } from "@effect/vitest"
import {
  Agent,
  Item,
  ModelError,
  ModelProvider,
  ModelScripted,
  Runner,
  Session,
  SessionMemory,
  Usage
} from "agent-layers"
import * as ModelFallback from "agent-layers/layers/model/ModelFallback"
import * as ModelOpenAIChat from "agent-layers/layers/model/ModelOpenAIChat"
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import * as ModelRetry from "agent-layers/layers/model/ModelRetry"
import * as ModelRouter from "agent-layers/layers/model/ModelRouter"
import * as ModelTimeouts from "agent-layers/layers/model/ModelTimeouts"
import { Context, Effect, Layer, Logger, Redacted, Schedule, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { FetchHttpClient, HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { inspect } from "node:util"
import * as OpenAiPeer from "../support/openai/OpenAiPeer.ts"
import { Guide } from "./support.ts"

const Add = Toolkit.make(Tool.make("add", {
  parameters: Schema.Struct({ a: Schema.Number, b: Schema.Number }),
  success: Schema.Number
}))
const Adder = Agent.make({ name: "adder", toolkit: Add, settings: { temperature: 0.5 } })
const Handlers = Add.toLayer({ add: ({ a, b }) => Effect.succeed(a + b) })

const Quiet = Logger.layer([])

const failing = (error: ModelError.ModelErrorReason) => ModelScripted.layer([ModelScripted.fail(error)])
const Overloaded = failing(new ModelError.Overloaded({ description: "too busy" }))

describe("Custom model provider, custom model", () => {
  /** A service with a wire format of its own: asks for the tool first, and then says what the tool said. */
  const service = Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly asked: Array<any>; readonly server: http.Server }>((resume) => {
      const asked: Array<any> = []
      const server = http.createServer((request, response) => {
        let body = ""
        request.on("data", (text) => body += text)
        request.on("end", () => {
          const question = JSON.parse(body)
          asked.push(question)
          const last = question.lines.at(-1)
          const pieces = last.from === "tool"
            ? [{ say: "It is " }, { say: last.text }]
            : [{ use: "add", with: `{"a":1,"b":2}`, ref: "r1" }]
          response.end(pieces.map((piece) => JSON.stringify(piece)).join("\n"))
        })
      }).listen(
        0,
        "127.0.0.1",
        () =>
          resume(Effect.succeed({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, server }))
      )
    }),
    ({ server }) =>
      Effect.callback<void>((resume) => {
        server.closeAllConnections()
        server.close(() => resume(Effect.void))
      })
  )

  const Piece = Schema.fromJsonString(Schema.Union([
    Schema.Struct({ say: Schema.String }),
    Schema.Struct({ use: Schema.String, with: Schema.String, ref: Schema.String })
  ]))

  /** The least that a provider is: its wire format one way and the other, as a Layer over HttpClient. */
  const provider = (url: string, closed: { count: number }) =>
    Layer.effect(
      ModelProvider.ModelProvider,
      Effect.gen(function*() {
        yield* Effect.addFinalizer(() => Effect.sync(() => void closed.count++))
        const client = yield* HttpClient.HttpClient
        const line = (item: Item.Item) =>
          Item.isFunctionCallOutput(item)
            ? { from: "tool", text: item.output }
            : { from: Item.isFunctionCall(item) ? "call" : "user", text: Item.text(item) }
        const ask = (model: string, request: ModelProvider.ModelRequest) =>
          HttpClientRequest.post(url).pipe(
            HttpClientRequest.bodyJsonUnsafe({
              model,
              heat: request.settings?.temperature,
              can: request.tools?.map((tool) => tool.type === "function" ? tool.name : ""),
              lines: typeof request.input === "string"
                ? [{ from: "user", text: request.input }]
                : request.input.map(line)
            }),
            client.execute,
            Effect.flatMap(HttpClientResponse.filterStatusOk),
            Effect.flatMap(({ text }) => text),
            Effect.flatMap((text) => Schema.decodeUnknownEffect(Schema.Array(Piece))(text.split("\n"))),
            Effect.mapError((cause) =>
              new ModelError.ModelError({
                provider: "custom",
                model,
                reason: new ModelError.Transport({ description: "no answer", cause })
              })
            )
          )
        const answerOf = (pieces: ReadonlyArray<typeof Piece.Type>): ModelProvider.ModelResponse => {
          const said = pieces.flatMap((piece) => "say" in piece ? piece.say : []).join("")
          const output = pieces.flatMap((piece) =>
            "use" in piece ? [Item.functionCall({ callId: piece.ref, name: piece.use, arguments: piece.with })] : []
          )
          return {
            output: said === "" ? output : [...output, Item.assistant(said)],
            usage: Usage.make({ inputTokens: 1, outputTokens: 1 }),
            status: "completed"
          }
        }
        return {
          getModel: (name = "delphi") =>
            Effect.succeed({
              name,
              provider: "custom",
              respond: (request) => Effect.map(ask(name, request), answerOf),
              stream: (request) =>
                Stream.unwrap(Effect.map(ask(name, request), (pieces) => {
                  const response = answerOf(pieces)
                  return Stream.fromIterable<ModelProvider.ModelEvent>([
                    ...pieces.flatMap((piece) =>
                      "say" in piece ? [{ _tag: "TextDelta" as const, itemId: "m", delta: piece.say }] : []
                    ),
                    ...response.output.map((item) => ({ _tag: "ItemDone" as const, item })),
                    { _tag: "Completed", response }
                  ])
                }))
            })
        }
      })
    ).pipe(Layer.provide(FetchHttpClient.layer))

  it.live("ModelProvider: a wire format of one's own, both ways, with a default model, closed by its Scope", () =>
    Effect.gen(function*() {
      const { asked, url } = yield* service
      const closed = { count: 0 }
      const run = Runner.run(Adder, "1 + 2?").pipe(Effect.provide([provider(url, closed), Handlers]))
      assert.strictEqual((yield* run).finalOutput, "It is 3")
      assert.deepStrictEqual(asked[0], {
        model: "delphi",
        heat: 0.5,
        can: ["add"],
        lines: [{ from: "user", text: "1 + 2?" }]
      })
      assert.strictEqual(closed.count, 1)
    }))

  it.live("Model: its stream is the same run, piece by piece", () =>
    Effect.gen(function*() {
      const { url } = yield* service
      const events = yield* Stream.runCollect(Runner.stream(Adder, "1 + 2?")).pipe(
        Effect.provide([provider(url, { count: 0 }), Handlers])
      )
      assert.deepStrictEqual(events.flatMap((event) => event._tag === "TextDelta" ? [event.delta] : []), [
        "It is ",
        "3"
      ])
    }))

  it.live("Responses: OpenAI's own API", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(OpenAiPeer.calls([{ name: "add", arguments: { a: 1, b: 2 } }]), OpenAiPeer.text("3"))
      const options = { apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-5-mini" }
      const { finalOutput } = yield* Runner.run(Adder, "1 + 2?").pipe(
        Effect.provide([ModelOpenAIResponses.layer(options), Handlers])
      )
      assert.deepStrictEqual([finalOutput, peer.request(0).path], ["3", "/v1/responses"])
    }))

  it.live("Chat Completions: any compatible server", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(OpenAiPeer.calls([{ name: "add", arguments: { a: 1, b: 2 } }]), OpenAiPeer.text("3"))
      const options = { apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-5-mini" }
      const { finalOutput } = yield* Runner.run(Adder, "1 + 2?").pipe(
        Effect.provide([ModelOpenAIChat.layer(options), Handlers])
      )
      assert.deepStrictEqual([finalOutput, peer.request(0).path], ["3", "/v1/chat/completions"])
    }))

  it.effect("router: by prefix, and a name without a provider says which there are", () =>
    Effect.gen(function*() {
      const one = ModelScripted.layer([ModelScripted.text("one")])
      const two = ModelScripted.layer([ModelScripted.text("two")])
      yield* Effect.gen(function*() {
        assert.strictEqual((yield* Runner.run(Guide, "Who?", { model: "two/any" })).finalOutput, "two")
        assert.strictEqual((yield* Runner.run(Guide, "Who?")).finalOutput, "one")
        const error = yield* Effect.flip(Runner.run(Guide, "Who?", { model: "three/any" }))
        assert.match(error.message, /"three".*one\/…, two\/…/)
      }).pipe(Effect.provide(ModelRouter.layer({ one, two }, { default: "one" })))
    }))

  it.live("retry: a provider that is busy is asked again", () =>
    Effect.gen(function*() {
      const Busy = ModelScripted.layer([
        ModelScripted.fail(new ModelError.Overloaded({ description: "too busy" })),
        ModelScripted.text("Here I am.")
      ])
      const retrying = Layer.provide(ModelRetry.layer({ schedule: Schedule.recurs(1) }), Busy)
      const { finalOutput } = yield* Effect.provide(Runner.run(Guide, "Hello?"), retrying)
      assert.strictEqual(finalOutput, "Here I am.")
    }))

  it.effect("fallback: the next provider answers", () =>
    Effect.gen(function*() {
      const models = ModelFallback.layer([Overloaded, ModelScripted.layer([ModelScripted.text("I am the second.")])])
      const { finalOutput } = yield* Effect.provide(Runner.run(Guide, "Hello?"), [models, Quiet])
      assert.strictEqual(finalOutput, "I am the second.")
    }))

  it.live("timeouts: silence is a Timeout, and its request is aborted", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(OpenAiPeer.text("x", { hangBeforeHeaders: true }))
      const slow = ModelOpenAIChat.layer({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-5-mini" })
      const error = yield* Effect.flip(Runner.run(Guide, "Hello?")).pipe(
        Effect.provide(Layer.provide(ModelTimeouts.layer({ total: "2 seconds" }), slow))
      )
      assert.deepNestedInclude(error, { "reason._tag": "Timeout" })
      yield* peer.awaitAborted(1)
    }))
})

describe("Using them", () => {
  it.effect("one agent value: two Sessions and two ModelProviders in one program, and no leak between them", () =>
    Effect.gen(function*() {
      const stack = (answer: string) =>
        Layer.build(Layer.merge(ModelScripted.layer([ModelScripted.text(answer)]), Layer.fresh(SessionMemory.layer)))
      const [ours, theirs] = yield* Effect.all([stack("ours"), stack("theirs")])
      const ask = (text: string) => Runner.run(Guide, text, { conversationId: "ada" })
      const answers = yield* Effect.all([
        Effect.provideContext(ask("I am ours."), ours),
        Effect.provideContext(ask("I am theirs."), theirs)
      ], { concurrency: 2 })
      assert.deepStrictEqual(answers.map(({ finalOutput }) => finalOutput), ["ours", "theirs"])
      for (const [context, said] of [[ours, "I am ours."], [theirs, "I am theirs."]] as const) {
        const { items } = yield* Context.get(context, Session.Session).loadItems("ada")
        assert.strictEqual(Item.text(items[0]!), said)
        assert.lengthOf(items, 2)
      }
    }))

  it.effect("model by name: a run names another model", () =>
    Effect.gen(function*() {
      yield* Runner.run(Guide, "Hello?", { model: "large" })
      const [request] = yield* ModelScripted.requests
      assert.strictEqual(request?.model, "large")
    }).pipe(Effect.provide(ModelScripted.layer({ large: [ModelScripted.text("Hello.")] }))))
})

describe("Errors handled gracefully", () => {
  for (
    const [how, respond] of [
      ["throws", () => {
        throw new Error("the line is dead")
      }],
      ["rejects", () => Effect.promise(() => Promise.reject(new Error("the line is dead")))],
      ["dies", () => Effect.die(new Error("the line is dead"))]
    ] as const
  ) {
    it.effect(`provider: one that ${how} is a typed error with provider, model and cause`, () =>
      Effect.gen(function*() {
        const broken = Layer.succeed(ModelProvider.ModelProvider, {
          getModel: () =>
            Effect.succeed({ name: "m", provider: "broken", respond, stream: () => Stream.fromEffect(respond()) })
        })
        for (const run of [Runner.run(Guide, "Hello"), Stream.runDrain(Runner.stream(Guide, "Hello"))]) {
          const error = yield* Effect.flip(Effect.provide(Effect.asVoid(run), broken))
          assert.isTrue(ModelError.isModelError(error), inspect(error))
          assert.deepInclude(error, { provider: "broken", model: "m" })
          assert.include(inspect(error.cause), "the line is dead")
        }
      }))
  }

  it.effect("provider: its own failure reaches the caller as it is, and nothing is stored", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Runner.run(Guide, "Hello", { conversationId: "ada" }))
      assert.deepNestedInclude(error, { provider: "scripted", "reason._tag": "QuotaExceeded" })
      assert.lengthOf((yield* Session.Session.use((session) => session.loadItems("ada"))).items, 0)
    }).pipe(Effect.provide([
      SessionMemory.layer,
      failing(new ModelError.QuotaExceeded({ description: "no credit" }))
    ])))
})
