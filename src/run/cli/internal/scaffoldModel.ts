import type { Template } from "./scaffoldTemplate.ts"

/** Written for the name `acme`, which becomes the one that is asked for. */
export const model: Template = {
  module: "ModelAcme",
  description: "Models behind a service that is asked by HTTP.",
  settings: `{ key: "a key" }`,
  source: `/**
 * Models behind a service that is asked by HTTP and answers with a line of JSON for each piece. Replace the form of
 * requests and of pieces by those of your service; a service that speaks OpenAI's Chat Completions needs none of this,
 * see \`ModelOpenAIChat\`.
 */
import * as Item from "agent-layers/services/Item"
import * as ModelError from "agent-layers/services/ModelError"
import * as ModelProvider from "agent-layers/services/ModelProvider"
import * as Network from "agent-layers/services/Network"
import * as Usage from "agent-layers/services/Usage"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Ndjson from "effect/encoding/Ndjson"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as Request from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

export interface Options {
  readonly url: string
  readonly key: Redacted.Redacted
  /** The model that is used where an agent names none. */
  readonly model: string
}

const provider = "acme"

/** What the service sends. */
export const Piece = Schema.Union([
  Schema.Struct({ say: Schema.String }),
  Schema.Struct({ call: Schema.String, arguments: Schema.String, id: Schema.String }),
  Schema.Struct({
    end: Schema.Literals(["done", "limit"]),
    tokens: Schema.Struct({ input: Schema.Int, output: Schema.Int, cached: Schema.Int, reasoning: Schema.Int })
  })
])
export type Piece = typeof Piece.Type

/** What the service is sent. */
export interface Body {
  readonly model: string
  readonly items: ReadonlyArray<unknown>
  readonly instructions: string | undefined
  readonly tools: ReadonlyArray<unknown>
  readonly schema: unknown
  readonly temperature: number | undefined
  readonly limit: number | undefined
}

const failed = (reason: ModelError.ModelErrorReason, model?: string) =>
  new ModelError.ModelError({ provider, reason, ...(model === undefined ? undefined : { model }) })

/** What the service does not know is refused, and not left out: an agent would not do what it says. */
const refuse = (feature: string, model: string) =>
  failed(new ModelError.Unsupported({ feature, description: provider + " has no " + feature }), model)

const bodyOf = (model: string, request: ModelProvider.ModelRequest): Effect.Effect<Body, ModelError.ModelError> => {
  const { handoffs = [], input, instructions, outputSchema, settings = {}, tools = [] } = request
  const { maxOutputTokens, temperature, ...others } = settings
  const { conversationId, previousResponseId, prompt } = request
  const asked = [
    ...Object.entries(others).map(([name, value]) => ["settings." + name, value] as const),
    ...Object.entries({ conversationId, previousResponseId, prompt })
  ]
  for (const [feature, value] of asked) {
    if (value !== undefined) return Effect.fail(refuse(feature, model))
  }
  if (tools.some(({ type }) => type === "hosted")) return Effect.fail(refuse("hosted tools", model))
  return Effect.succeed({
    model,
    items: typeof input === "string" ? [Item.user(input)] : input,
    instructions,
    tools: [...tools, ...handoffs],
    schema: outputSchema?.schema,
    temperature,
    limit: maxOutputTokens
  })
}

/** The events that pieces mean. An end without the last piece is a failure, and says whether anything was visible. */
const eventsOf = (
  pieces: Stream.Stream<Piece, ModelError.ModelError>,
  model: string
): Stream.Stream<ModelProvider.ModelEvent, ModelError.ModelError> =>
  Stream.suspend(() => {
    const output: Array<Item.Item> = []
    let text = ""
    let isVisible = false
    const done = (item: Item.Item): ModelProvider.ModelEvent => {
      output.push(item)
      return { _tag: "ItemDone", item }
    }
    const read = (piece: Piece): ReadonlyArray<ModelProvider.ModelEvent> => {
      isVisible = true
      if ("say" in piece) {
        text += piece.say
        return [{ _tag: "TextDelta", itemId: "said", delta: piece.say }]
      }
      const said = text === "" ? [] : [done(Item.assistant(text, { id: "said" }))]
      text = ""
      if ("call" in piece) {
        const { arguments: delta, call: name, id } = piece
        return [
          ...said,
          { _tag: "ToolCallDelta", itemId: id, callId: id, name, delta },
          done(Item.functionCall({ id, callId: id, name, arguments: delta }))
        ]
      }
      const response: ModelProvider.ModelResponse = {
        model,
        output,
        usage: Usage.make({
          inputTokens: piece.tokens.input,
          outputTokens: piece.tokens.output,
          cachedTokens: piece.tokens.cached,
          reasoningTokens: piece.tokens.reasoning
        }),
        ...(piece.end === "done"
          ? { status: "completed" }
          : { status: "incomplete", incompleteReason: "max_output_tokens" })
      }
      return [...said, { _tag: "Completed", response }]
    }
    const cut = Effect.sync(() =>
      failed(
        new ModelError.Transport({ description: "the answer ended before it was over", isPartial: isVisible }),
        model
      )
    )
    return pieces.pipe(
      Stream.map(read),
      Stream.flattenIterable,
      Stream.concat(Stream.fromEffect(Effect.flip(cut))),
      Stream.takeUntil(({ _tag }) => _tag === "Completed")
    )
  })

/** A provider over anything that answers with pieces. */
export const make = (
  defaultModel: string,
  send: (body: Body) => Stream.Stream<Piece, ModelError.ModelError>
): ModelProvider.ModelProvider["Service"] => {
  const makeModel = (name: string): ModelProvider.Model => {
    const stream = (request: ModelProvider.ModelRequest) =>
      Stream.unwrap(Effect.map(bodyOf(name, request), (body) => eventsOf(send(body), name)))
    return {
      name,
      provider,
      stream,
      respond: (request) =>
        Stream.runCollect(stream(request)).pipe(
          // Nobody has seen anything of an answer that is given whole.
          Effect.map((events) => events.at(-1) as Extract<ModelProvider.ModelEvent, { _tag: "Completed" }>),
          Effect.map(({ response }) => response)
        )
    }
  }
  return { getModel: (name) => Effect.succeed(makeModel(name ?? defaultModel)) }
}

const reasonOf = (status: number, description: string, retryAfter: string | undefined): ModelError.ModelErrorReason => {
  if (status === 401) return new ModelError.Authentication({ description, status })
  if (status === 402) return new ModelError.QuotaExceeded({ description, status })
  if (status === 413) return new ModelError.ContextLengthExceeded({ description, status })
  if (status === 429) {
    const seconds = Number(retryAfter ?? "")
    const wait = Number.isFinite(seconds) && seconds > 0 ? { retryAfter: Duration.seconds(seconds) } : undefined
    return new ModelError.RateLimited({ description, status, ...wait })
  }
  return status < 500
    ? new ModelError.InvalidRequest({ description, status })
    : new ModelError.Overloaded({ description, status })
}

const transport = (error: { readonly message: string }) =>
  failed(new ModelError.Transport({ description: error.message, isPartial: false }))

const sendTo = (client: HttpClient.HttpClient, { key, url }: Options) => (body: Body) =>
  Stream.unwrap(Effect.gen(function*() {
    yield* Network.check("The model provider " + provider, url)
    const request = Request.bodyJsonUnsafe(Request.post(url), body)
    const response = yield* client.execute(Request.bearerToken(request, Redacted.value(key))).pipe(
      Effect.mapError(transport)
    )
    if (response.status >= 300) {
      const text = yield* Effect.mapError(response.text, transport)
      return yield* failed(reasonOf(response.status, text.slice(0, 1000), response.headers["retry-after"]))
    }
    return response.stream.pipe(
      Stream.pipeThroughChannel(Ndjson.decodeSchema(Piece)()),
      Stream.mapError((error) =>
        error._tag === "HttpClientError"
          ? transport(error)
          : failed(new ModelError.InvalidOutput({ description: "the answer is not in the form of the service" }))
      )
    )
  }))

export const layer = (options: Options): Layer.Layer<ModelProvider.ModelProvider> =>
  Layer.effect(
    ModelProvider.ModelProvider,
    Effect.map(HttpClient.HttpClient, (client) => make(options.model, sendTo(client, options)))
  ).pipe(Layer.provide(FetchHttpClient.layer))
`,
  extension: `import * as Extension from "agent-layers/services/Extension"
import * as Setting from "agent-layers/services/Setting"
import * as ModelAcme from "./ModelAcme.ts"

export default Extension.make({
  kind: "model",
  name: "acme",
  version: "0.1.0",
  compatibleWith: "@COMPATIBLE@",
  description: "@DESCRIPTION@",
  config: {
    url: Setting.text("The address that requests are sent to.", { default: "http://127.0.0.1:8080/ask" }),
    key: Setting.secret("The key of the service.", { variable: "@CONSTANT@_KEY" }),
    model: Setting.text("The model that is used where an agent names none.", { default: "acme-1" })
  },
  layer: ModelAcme.layer
})
`,
  testName: "laws",
  test: `/** The laws of ModelProvider, over this one and a service that plays what each law asks for. */
import { assert, describe, it } from "@effect/vitest"
import * as ModelError from "agent-layers/services/ModelError"
import { ModelProvider } from "agent-layers/services/ModelProvider"
import { Law, ModelProviderLaws } from "agent-layers/testing"
import { Duration, Effect, Redacted, Stream } from "effect"
import { createServer, type RequestListener } from "node:http"
import type { AddressInfo } from "node:net"
import * as ModelAcme from "../src/ModelAcme.ts"

const open = Effect.sync((): ModelProviderLaws.Opened => {
  const script: Array<ModelProviderLaws.Answer> = []
  const received: Array<ModelProviderLaws.Received> = []
  let aborted = 0
  let calls = 0

  const end = (
    end: "done" | "limit",
    tokens: ModelProviderLaws.Tokens = { input: 20, output: 5, cached: 0, reasoning: 0 }
  ): ModelAcme.Piece => ({ end, tokens })
  const say = (deltas: ReadonlyArray<string>) => deltas.map((delta): ModelAcme.Piece => ({ say: delta }))
  const fail = (reason: ModelError.ModelErrorReason) =>
    Stream.fail(new ModelError.ModelError({ provider: "acme", reason }))

  const play = (answer: ModelProviderLaws.Answer): Stream.Stream<ModelAcme.Piece, ModelError.ModelError> => {
    switch (answer._tag) {
      case "Text":
        return Stream.fromIterable([...say(answer.deltas), end("done", answer.tokens)])
      case "Calls":
        return Stream.fromIterable([
          ...say(answer.text === undefined ? [] : [answer.text]),
          ...answer.calls.map(({ arguments: args, name }) => ({ call: name, arguments: args, id: "call" + calls++ })),
          end("done")
        ])
      case "Incomplete":
        return Stream.fromIterable([...say(answer.deltas), end("limit")])
      case "Cut":
        return Stream.fromIterable(say(answer.deltas))
      case "Hang":
        return Stream.concat(Stream.fromIterable(say(answer.deltas)), Stream.never).pipe(
          Stream.onExit((exit) => Effect.sync(() => void (exit._tag === "Failure" && aborted++)))
        )
      case "Fail": {
        const { reason, retryAfterSeconds: seconds } = answer
        const wait = seconds === undefined ? undefined : { retryAfter: Duration.seconds(seconds) }
        return fail(new ModelError[reason]({ description: "as the law says", ...wait }))
      }
      default:
        return Stream.die(new Error("not in the form of the service: " + answer._tag))
    }
  }

  const send = (body: ModelAcme.Body) =>
    Stream.suspend(() => {
      const has = {
        instructions: body.instructions,
        tools: body.tools.some((tool) => (tool as { readonly name: string }).name === "f") || undefined,
        handoffs: body.tools.some((tool) => (tool as { readonly name: string }).name === "to_b") || undefined,
        outputSchema: body.schema,
        "settings.temperature": body.temperature,
        "settings.maxOutputTokens": body.limit
      }
      const fields = Object.entries(has).filter(([, value]) => value !== undefined).map(([name]) => name)
      received.push({ input: body.items, fields })
      const next = script.shift()
      return next === undefined ? Stream.die(new Error("the script is over")) : play(next)
    })

  return {
    provider: ModelAcme.make("acme-1", send),
    script: (...answers) => Effect.sync(() => void script.push(...answers)),
    received: Effect.sync(() => received),
    aborted: Effect.sync(() => aborted)
  }
})

const subject: ModelProviderLaws.Subject = { open, cannot: ["Reasoning", "Refusal", "Items", "FailLate", "aborted"] }

describe("the laws of ModelProvider", () => {
  for (const law of ModelProviderLaws.all) {
    it.live(law.name, () =>
      Effect.gen(function*() {
        const outcome = yield* Law.verify(law, subject)
        if (outcome._tag === "Broken") assert.fail(outcome.report)
      }), 30_000)
  }
})

/** A service that answers as the listener does, while the effect runs. */
const service = (listener: RequestListener) =>
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const server = createServer(listener)
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  ).pipe(
    Effect.map((server) => "http://127.0.0.1:" + (server.address() as AddressInfo).port)
  )

const respond = (url: string) =>
  Effect.gen(function*() {
    const provider = yield* ModelProvider
    const model = yield* provider.getModel()
    return yield* model.respond({ input: "Hello." })
  }).pipe(Effect.provide(ModelAcme.layer({ url, key: Redacted.make("the key"), model: "acme-1" })))

describe("over HTTP", () => {
  it.live("the key is sent, and the pieces are read", () =>
    Effect.gen(function*() {
      let key: string | undefined
      const url = yield* service((request, response) => {
        key = request.headers.authorization
        const tokens = { input: 1, output: 1, cached: 0, reasoning: 0 }
        for (const piece of [{ say: "Hel" }, { say: "lo." }, { end: "done", tokens }]) {
          response.write(JSON.stringify(piece) + "\\n")
        }
        response.end()
      })
      const { output, status } = yield* respond(url)
      assert.strictEqual(key, "Bearer the key")
      assert.strictEqual(status, "completed")
      assert.lengthOf(output, 1)
    }).pipe(Effect.scoped))

  it.live("a status becomes a reason", () =>
    Effect.gen(function*() {
      const url = yield* service((_, response) => {
        response.writeHead(429, { "retry-after": "7" }).end("slow down")
      })
      const { reason } = yield* Effect.flip(respond(url))
      assert.strictEqual(reason._tag, "RateLimited")
      if (reason._tag === "RateLimited") assert.deepStrictEqual(reason.retryAfter, Duration.seconds(7))
    }).pipe(Effect.scoped))

  it.live("what is no answer is a typed failure", () =>
    Effect.gen(function*() {
      const url = yield* service((_, response) => {
        response.end("<html>\\n")
      })
      assert.strictEqual((yield* Effect.flip(respond(url))).reason._tag, "InvalidOutput")
    }).pipe(Effect.scoped))
})
`
}
