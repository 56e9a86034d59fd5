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
import { FetchHttpClient, HttpClient, HttpClientRequest as Request } from "effect/http"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"

const Piece = Schema.Union([
  Schema.Struct({ say: Schema.String }),
  Schema.Struct({ use: Schema.String, with: Schema.String, ref: Schema.String }),
  Schema.Struct({ problem: Schema.String }),
  Schema.Struct({ end: Schema.Literals(["done", "limit"]), spent: Schema.Array(Schema.Finite) })
])
const decode = <S extends Schema.Constraint>(schema: S) => {
  const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
  return (text: string) =>
    Effect.mapError(decode(text), ({ message }) => failed((_) => new ModelError.InvalidOutput(_), message))
}
const decodeSeat = decode(Schema.Struct({ seat: Schema.String }))
const decodePiece = decode(Piece)
const decodePieces = decode(Schema.Array(Piece))

const failed = (make: (_: { description: string }) => ModelError.ModelErrorReason, description: string) =>
  new ModelError.ModelError({ provider: "oracle", reason: make({ description }) })
const cut = ({ message }: Error) => failed((_) => new ModelError.Transport(_), message)
const unsupported = (feature: string) =>
  failed((_) => new ModelError.Unsupported({ ..._, feature }), `the oracle knows no ${feature}`)
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
  const { handoffs = [], input, instructions, outputSchema, tools = [] } = request
  const { maxOutputTokens, temperature, ...others } = request.settings ?? {}
  for (const key of ["previousResponseId", "conversationId", "prompt"] as const) {
    if (request[key] !== undefined) return yield* unsupported(key)
  }
  for (const [key, value] of Object.entries(others)) {
    if (value !== undefined) return yield* unsupported(`settings.${key}`)
  }
  if (tools.some(({ type }) => type === "hosted")) return yield* unsupported("tools")
  const turns = yield* Effect.forEach(typeof input === "string" ? [Item.user(input)] : input, turnOf)
  const wishes = { rules: instructions, shape: outputSchema?.schema, heat: temperature, limit: maxOutputTokens }
  return { model, live, turns, tools: [...tools, ...handoffs], ...wishes }
})

/** Whatever way pieces come, they are the same events; `live` ones have been seen when the rest fails. */
const eventsOf = (pieces: Stream.Stream<typeof Piece.Type, ModelError.ModelError>, model: string, live: boolean) =>
  Stream.suspend(() => {
    const output: Array<Item.Item> = []
    let text = ""
    const partial = () => ({ isPartial: live && (text !== "" || output.length > 0) })
    const done = (item: Item.Item) => ({ _tag: "ItemDone" as const, item: (output.push(item), item) })
    const said = () => text === "" ? [] : [done(Item.assistant(text, { id: "said" }))]
    const read = Effect.fnUntraced(function*(
      piece: typeof Piece.Type
    ): Effect.fn.Return<ReadonlyArray<ModelProvider.ModelEvent>, ModelError.ModelError> {
      if ("problem" in piece) return yield* failed((_) => new Overloaded({ ..._, ...partial() }), piece.problem)
      if ("say" in piece) {
        text += piece.say
        return [{ _tag: "TextDelta", itemId: "said", delta: piece.say }]
      }
      const before = said()
      text = ""
      if ("use" in piece) {
        const call = { callId: piece.ref, name: piece.use }
        const item = done(Item.functionCall({ ...call, arguments: piece.with, id: piece.ref }))
        return [...before, { _tag: "ToolCallDelta", itemId: piece.ref, ...call, delta: piece.with }, item]
      }
      const [inputTokens = 0, outputTokens = 0, cachedTokens = 0, reasoningTokens = 0] = piece.spent
      const usage = Usage.make({ inputTokens, outputTokens, cachedTokens, reasoningTokens })
      const status = piece.end === "done"
        ? { status: "completed" as const }
        : { status: "incomplete" as const, incompleteReason: "max_output_tokens" }
      return [...before, { _tag: "Completed", response: { model, output, usage, ...status } }]
    })
    const tooShort = Effect.suspend(() => failed((_) => new ModelError.Transport({ ..._, ...partial() }), "it was cut"))
    return pieces.pipe(
      Stream.mapEffect(read),
      Stream.flattenIterable,
      Stream.concat(Stream.fromEffect(tooShort)),
      Stream.takeUntil(({ _tag }) => _tag === "Completed")
    )
  })

export const makeOracle = Effect.fnUntraced(function*(oracle: { url: string; key: string; model: string }) {
  const client = HttpClient.withScope(yield* HttpClient.HttpClient)
  const call = Effect.fnUntraced(function*(request: Request.HttpClientRequest) {
    const response = yield* Effect.mapError(client.execute(Request.setHeader(request, "x-key", oracle.key)), cut)
    const { headers: { "retry-after": wait }, status } = response
    if (status < 300) return response
    const Reason = reasons[status as keyof typeof reasons] ?? (status < 500 ? InvalidRequest : Overloaded)
    const retryAfter = wait === undefined ? undefined : Duration.seconds(Number(wait))
    return yield* failed((_) => new Reason({ ..._, status, retryAfter }), yield* Effect.mapError(response.text, cut))
  })
  const whole = Effect.fnUntraced(function*(request: Request.HttpClientRequest) {
    return yield* Effect.mapError((yield* call(request)).text, cut)
  }, Effect.scoped)
  const seat = yield* Effect.acquireRelease(
    Effect.flatMap(whole(Request.post(`${oracle.url}/seats`)), decodeSeat),
    ({ seat }) => Effect.ignore(whole(Request.delete(`${oracle.url}/seats/${seat}`)))
  )
  const makeModel = (name: string): ModelProvider.Model => {
    const asking = (request: ModelProvider.ModelRequest, live: boolean) =>
      Effect.map(
        bodyOf(name, request, live),
        (body) => Request.bodyJsonUnsafe(Request.post(`${oracle.url}/seats/${seat.seat}/asked`), body)
      )
    return {
      name,
      provider: "oracle",
      respond: Effect.fnUntraced(function*(request) {
        const pieces = yield* Effect.flatMap(Effect.flatMap(asking(request, false), whole), decodePieces)
        const events = yield* Stream.runCollect(eventsOf(Stream.fromIterable(pieces), name, false))
        return (events.at(-1) as Extract<ModelProvider.ModelEvent, { _tag: "Completed" }>).response
      }),
      stream: (request) =>
        Stream.unwrap(Effect.map(Effect.flatMap(asking(request, true), call), (response) => {
          const lines = Stream.splitLines(Stream.decodeText(Stream.mapError(response.stream, cut)))
          return eventsOf(Stream.mapEffect(lines, decodePiece), name, true)
        }))
    }
  }
  return ModelProvider.ModelProvider.of({ getModel: (name) => Effect.sync(() => makeModel(name ?? oracle.model)) })
})

/** The service: wants to know the weather first, and says it once it has been told. */
const Service = HttpRouter.serve(
  Layer.mergeAll(
    HttpRouter.add("POST", "/seats", HttpServerResponse.jsonUnsafe({ seat: "7" })),
    HttpRouter.add("DELETE", "/seats/7", Effect.as(Console.log("seat 7 is free"), HttpServerResponse.empty())),
    HttpRouter.add(
      "POST",
      "/seats/7/asked",
      Effect.gen(function*() {
        const { live, turns } = yield* HttpServerRequest.schemaBodyJson(Schema.Struct({
          live: Schema.Boolean,
          turns: Schema.Array(Schema.Struct({ text: Schema.optional(Schema.String) }))
        }))
        const pieces = turns.length < 2
          ? [{ say: "I look. " }, { use: "weather", with: `{"city":"Oslo"}`, ref: "ref1" }]
          : [{ say: "In Oslo it is " }, { say: `${turns.at(-1)?.text}.` }]
        const all = [...pieces, { end: "done", spent: [20, 5] }]
        return live
          ? HttpServerResponse.text(all.map((piece) => JSON.stringify(piece)).join("\n"))
          : HttpServerResponse.jsonUnsafe(all)
      })
    )
  ),
  { disableLogger: true, disableListenLog: true }
).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })))

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
