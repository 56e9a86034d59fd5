/**
 * An agent behind HTTP: POST /runs answers with JSON, POST /runs/stream with server-sent events.
 *
 * A client that goes away interrupts its run. SIGTERM takes no new requests, lets the runs in flight finish and exits
 * with 0. Layers are built once, for all requests. `npm run example server -- --listen` keeps it running; without that
 * it makes its own requests and ends.
 *
 * To see a compile error, take `SessionMemory.layer, ` away: `Session` is missing.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Agent, ModelScripted, type RunEvent, Runner, SessionMemory } from "agent-layers"
import { Console, Effect, Layer, Runtime, Schema, Stream } from "effect"
import { Sse } from "effect/encoding"
import {
  FetchHttpClient,
  HttpClient,
  HttpClientRequest,
  HttpClientResponse,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "effect/http"
import { createServer } from "node:http"

const Assistant = Agent.make({ name: "assistant", instructions: "You answer in one sentence." })

const Question = HttpServerRequest.schemaBodyJson(Schema.Struct({
  question: Schema.String,
  conversation: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("new")))
}))

const PostRun = HttpRouter.add(
  "POST",
  "/runs",
  Effect.gen(function*() {
    const { conversation, question } = yield* Question
    const result = yield* Runner.run(Assistant, question, { conversationId: conversation })
    return yield* HttpServerResponse.json({ answer: result.finalOutput, conversation: result.conversationId })
  }).pipe(
    Effect.catchReason(
      "SessionError",
      "VersionConflict",
      (conflict) => HttpServerResponse.json({ error: conflict.message }, { status: 409 })
    ),
    Effect.catchReason(
      "RunError",
      "ConversationBusy",
      (busy) => HttpServerResponse.json({ error: busy.message }, { status: 409 })
    ),
    Effect.catchReason(
      "RunError",
      "InvalidOptions",
      (invalid) => HttpServerResponse.json({ error: invalid.message }, { status: 400 })
    ),
    Effect.catchTag("ModelError", (error) => HttpServerResponse.json({ error: error.message }, { status: 502 }))
  )
)

/** What a client is told: not the history that the result holds. */
const tell = (event: RunEvent.RunEvent<string>) =>
  event._tag === "Completed"
    ? { _tag: event._tag, answer: event.result.finalOutput, conversation: event.result.conversationId }
    : event

const PostRunStream = HttpRouter.add(
  "POST",
  "/runs/stream",
  Effect.gen(function*() {
    const { conversation, question } = yield* Question
    const run = Runner.stream(Assistant, question, { conversationId: conversation })
    const events = run.pipe(
      Stream.map(tell),
      Stream.catch((error) => Stream.succeed({ _tag: "Failed", error: error.message })),
      Stream.map((event) => ({
        _tag: "Event" as const,
        event: event._tag,
        id: undefined,
        data: JSON.stringify(event)
      })),
      Stream.pipeThroughChannel(Sse.encode()),
      Stream.encodeText,
      Stream.provideContext(yield* Effect.context<Stream.Services<typeof run>>())
    )
    return HttpServerResponse.stream(events, { contentType: "text/event-stream" })
  })
)

const Stats = Schema.Struct({ aborted: Schema.Int, requests: Schema.Int })

const GetStats = HttpRouter.add(
  "GET",
  "/stats",
  Effect.gen(function*() {
    const requests = yield* ModelScripted.requests
    return yield* HttpServerResponse.json({ requests: requests.length, aborted: yield* ModelScripted.aborted })
  })
)

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") }), and no /stats
const Model = ModelScripted.layer(() =>
  ModelScripted.text(["One ", "word ", "at ", "a ", "time."], { pause: "100 millis" })
)

const Services = Layer.mergeAll(SessionMemory.layer, Model, Layer.effectDiscard(Console.log("Layers built")))

const Server = HttpRouter.serve(Layer.mergeAll(PostRun, PostRunStream, GetStats), {
  disableLogger: true,
  disableListenLog: true
}).pipe(
  // Connections that clients keep open and do not use hold the stop up for as long as `keepAliveTimeout`.
  Layer.provideMerge(NodeHttpServer.layer(() => createServer({ keepAliveTimeout: 500 }), {
    host: "127.0.0.1",
    port: 0,
    gracefulShutdownTimeout: "20 seconds"
  })),
  Layer.provide(Services)
)

const url = HttpServer.HttpServer.useSync(({ address }) => HttpServer.formatAddress(address))

const listen = Effect.gen(function*() {
  yield* Console.log(`Listening on ${yield* url}`)
  return yield* Effect.never
})

const demonstrate = Effect.gen(function*() {
  const client = HttpClient.mapRequest(yield* HttpClient.HttpClient, HttpClientRequest.prependUrl(yield* url))
  const post = (path: string) =>
    HttpClientRequest.post(path).pipe(HttpClientRequest.bodyJsonUnsafe({ question: "Hello?" }), client.execute)
  const events = Stream.unwrap(Effect.map(post("/runs/stream"), (response) => response.stream)).pipe(
    Stream.decodeText(),
    Stream.pipeThroughChannel(Sse.decode()),
    Stream.map(({ event }) => event)
  )
  const stats = Effect.flatMap(client.get("/stats"), HttpClientResponse.schemaBodyJson(Stats))

  yield* Console.log("POST /runs:", yield* (yield* post("/runs")).text)
  yield* Console.log("POST /runs/stream:", (yield* Stream.runCollect(events)).join(" "))
  yield* events.pipe(Stream.takeUntil((event) => event === "TextDelta"), Stream.runDrain)
  yield* Effect.repeat(stats, { until: ({ aborted }) => aborted === 1 })
  yield* Console.log("a client left after the first TextDelta: its model request was aborted")
})

const main = process.argv.includes("--listen") ? listen : demonstrate

main.pipe(
  Effect.provide([Server, FetchHttpClient.layer]),
  // A server that was asked to stop has not failed.
  NodeRuntime.runMain({
    teardown: (exit, done) => Runtime.defaultTeardown(exit, (code) => done(code === 130 ? 0 : code))
  })
)
