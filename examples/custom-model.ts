/**
 * A model provider of one's own, over a service whose wire format nobody else speaks: turns in, pieces out, as one JSON
 * or a line for each piece. Its seat at the service is given back when its Scope closes.
 *
 * To see a compile error, take `, FetchHttpClient.layer` away: `HttpClient` is missing.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Agent, Item, ModelError, ModelProvider, Runner, Usage } from "agent-layers"
import { Console, Duration, Effect, Layer, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { Ndjson } from "effect/encoding"
import { FetchHttpClient, HttpClient, HttpClientRequest as Request, HttpClientResponse as Response } from "effect/http"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"

const Piece = Schema.Union([
  Schema.Struct({ say: Schema.String }),
  Schema.Struct({ use: Schema.String, with: Schema.String, ref: Schema.String }),
  Schema.Struct({ end: Schema.Literals(["done", "limit"]), spent: Schema.Array(Schema.Finite) })
])

const failed = (reason: ModelError.ModelErrorReason) => new ModelError.ModelError({ provider: "oracle", reason })
const unsupported = (feature: string) =>
  failed(new ModelError.Unsupported({ feature, description: `the oracle knows no ${feature}` }))
type Broken = { readonly _tag: string; readonly message: string }
/** A connection that fails may work later, an answer that cannot be read will not. */
const broken = ({ _tag, message: description }: Broken, isPartial = false) =>
  failed(new ModelError[_tag === "HttpClientError" ? "Transport" : "InvalidOutput"]({ description, isPartial }))
const { Authentication, ContextLengthExceeded, InvalidRequest, Overloaded, QuotaExceeded, RateLimited } = ModelError
const reasons = { 401: Authentication, 402: QuotaExceeded, 413: ContextLengthExceeded, 429: RateLimited }

const turnOf = (item: Item.Item): Effect.Effect<object, ModelError.ModelError> => {
  if (Item.isFunctionCall(item)) return Effect.succeed({ use: item.name, with: item.arguments, ref: item.call_id })
  const [content, who] = Item.isFunctionCallOutput(item) ? [item.output, item.call_id] : [item["content"], item["role"]]
  const parts = typeof content === "string" ? [{ text: content }] : content as ReadonlyArray<Item.ContentPart> ?? [{}]
  return parts.every(({ text }) => text !== undefined)
    ? Effect.succeed({ who, text: parts.map(({ text }) => text).join("") })
    : Effect.fail(unsupported("input"))
}

const bodyOf = Effect.fnUntraced(function*(model: string, request: ModelProvider.ModelRequest, live: boolean) {
  const { handoffs = [], input, instructions: rules, outputSchema, tools = [] } = request
  const { maxOutputTokens: limit, temperature: heat, ...others } = request.settings ?? {}
  const kept = ["previousResponseId", "conversationId", "prompt"] as const
  const asked = [
    ...kept.map((key) => [key, request[key]]),
    ...Object.entries(others).map(([k, v]) => [`settings.${k}`, v])
  ]
  for (const [feature, value] of asked) if (value !== undefined) return yield* unsupported(`${feature}`)
  if (tools.some(({ type }) => type === "hosted")) return yield* unsupported("tools")
  const turns = yield* Effect.forEach(typeof input === "string" ? [Item.user(input)] : input, turnOf)
  return { model, live, turns, tools: [...tools, ...handoffs], shape: outputSchema?.schema, rules, heat, limit }
})

/** Whatever way pieces come, they are the same events; `live` ones have been seen when the rest fails. */
const eventsOf = <E extends Broken>(pieces: Stream.Stream<typeof Piece.Type, E>, model: string, live: boolean) =>
  Stream.suspend(() => {
    const output: Array<Item.Item> = []
    let text = ""
    const done = (item: Item.Item) => ({ _tag: "ItemDone" as const, item: (output.push(item), item) })
    const read = (piece: typeof Piece.Type): ReadonlyArray<ModelProvider.ModelEvent> => {
      if ("say" in piece) {
        text += piece.say
        return [{ _tag: "TextDelta", itemId: "said", delta: piece.say }]
      }
      const said = text === "" ? [] : [done(Item.assistant(text, { id: "said" }))]
      text = ""
      if ("use" in piece) {
        const call = { callId: piece.ref, name: piece.use }
        const item = done(Item.functionCall({ ...call, arguments: piece.with, id: piece.ref }))
        return [...said, { _tag: "ToolCallDelta", itemId: piece.ref, ...call, delta: piece.with }, item]
      }
      const [inputTokens = 0, outputTokens = 0, cachedTokens = 0, reasoningTokens = 0] = piece.spent
      const usage = Usage.make({ inputTokens, outputTokens, cachedTokens, reasoningTokens })
      const response = { model, output, usage, status: "completed" as const }
      const limited = { ...response, status: "incomplete" as const, incompleteReason: "max_output_tokens" }
      return [...said, { _tag: "Completed", response: piece.end === "done" ? response : limited }]
    }
    const fail = (error: Broken) => broken(error, live && (text !== "" || output.length > 0))
    return pieces.pipe(
      Stream.mapError(fail),
      Stream.map(read),
      Stream.flattenIterable,
      Stream.concat(
        Stream.suspend(() => Stream.fail(fail({ _tag: "HttpClientError", message: "it ended too early" })))
      ),
      Stream.takeUntil(({ _tag }) => _tag === "Completed")
    )
  })

export const makeOracle = Effect.fnUntraced(function*(oracle: { url: string; key: string; model: string }) {
  const client = HttpClient.withScope(yield* HttpClient.HttpClient)
  const call = Effect.fnUntraced(function*(request: Request.HttpClientRequest) {
    const response = yield* Effect.mapError(
      client.execute(Request.setHeader(request, "x-key", oracle.key)),
      broken
    )
    const { headers: { "retry-after": wait }, status } = response
    if (status < 300) return response
    const Reason = reasons[status as keyof typeof reasons] ?? (status < 500 ? InvalidRequest : Overloaded)
    const retryAfter = wait === undefined ? undefined : Duration.seconds(Number(wait))
    return yield* failed(
      new Reason({ description: yield* Effect.mapError(response.text, broken), status, retryAfter })
    )
  })
  const whole = <A>(request: Request.HttpClientRequest, schema: Schema.Codec<A, any>) =>
    Effect.scoped(
      Effect.flatMap(call(request), (response) => Effect.mapError(Response.schemaBodyJson(schema)(response), broken))
    )

  const { seat } = yield* Effect.acquireRelease(
    whole(Request.post(`${oracle.url}/seats`), Schema.Struct({ seat: Schema.String })),
    ({ seat }) => Effect.ignore(Effect.scoped(call(Request.delete(`${oracle.url}/seats/${seat}`))))
  )
  const asking = (name: string, request: ModelProvider.ModelRequest, live: boolean) =>
    Effect.map(
      bodyOf(name, request, live),
      (body) => Request.bodyJsonUnsafe(Request.post(`${oracle.url}/seats/${seat}/asked`), body)
    )

  const makeModel = (name: string): ModelProvider.Model => ({
    name,
    provider: "oracle",
    respond: Effect.fnUntraced(function*(request) {
      const pieces = yield* whole(yield* asking(name, request, false), Schema.Array(Piece))
      const events = yield* Stream.runCollect(eventsOf(Stream.fromIterable(pieces), name, false))
      return (events.at(-1) as Extract<ModelProvider.ModelEvent, { _tag: "Completed" }>).response
    }),
    stream: (request) =>
      Stream.unwrap(
        Effect.map(Effect.flatMap(asking(name, request, true), call), ({ stream }) =>
          eventsOf(Stream.pipeThroughChannel(stream, Ndjson.decodeSchema(Piece)()), name, true))
      )
  })
  return ModelProvider.ModelProvider.of({ getModel: (name) => Effect.sync(() => makeModel(name ?? oracle.model)) })
})

/** The service: wants to know the weather first, and says it once it has been told. */
const answer = Effect.gen(function*() {
  const { json, method, url } = yield* HttpServerRequest.HttpServerRequest
  if (method === "DELETE") yield* Console.log("seat 7 is free")
  if (!url.endsWith("/asked")) return HttpServerResponse.jsonUnsafe({ seat: "7" })
  const { live, turns } = (yield* json) as { live: boolean; turns: ReadonlyArray<{ text: string }> }
  const pieces = turns.length < 2
    ? [{ say: "I look. " }, { use: "weather", with: `{"city":"Oslo"}`, ref: "ref1" }, { end: "done", spent: [20, 5] }]
    : [{ say: "In Oslo it is " }, { say: `${turns.at(-1)?.text}.` }, { end: "done", spent: [20, 5] }]
  const lines = pieces.map((piece) => JSON.stringify(piece))
  return HttpServerResponse.text(live ? lines.join("\n") : `[${lines.join(",")}]`)
})
const Service = HttpRouter.serve(HttpRouter.add("*", "/*", answer), { disableLogger: true, disableListenLog: true })
  .pipe(
    Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 }))
  )

const Tools = Toolkit.make(
  Tool.make("weather", { parameters: Schema.Struct({ city: Schema.String }), success: Schema.String })
)
const Forecaster = Agent.make({ name: "forecaster", toolkit: Tools })
const Handlers = Tools.toLayer({ weather: ({ city }) => Effect.succeed(city === "Oslo" ? "cold" : "warm") })

const program = Effect.gen(function*() {
  const { finalOutput, usage } = yield* Runner.run(Forecaster, "How is the weather?")
  yield* Console.log(`${finalOutput} (${usage.requests} requests, ${usage.totalTokens} tokens)`)
  yield* Stream.runForEach(
    Runner.stream(Forecaster, "How is it?"),
    (event) => event._tag === "TextDelta" ? Console.log(`| ${event.delta}`) : Effect.void
  )
})

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = Layer.unwrap(
  HttpServer.HttpServer.useSync(({ address }) =>
    Layer.effect(
      ModelProvider.ModelProvider,
      makeOracle({ url: HttpServer.formatAddress(address), key: "key of the oracle", model: "delphi" })
    )
  )
).pipe(Layer.provide([Service, FetchHttpClient.layer]))

if (import.meta.main) program.pipe(Effect.provide([Handlers, Model]), NodeRuntime.runMain)
