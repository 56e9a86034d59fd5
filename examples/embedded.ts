/**
 * Agents mounted in a server: start a run, listen to it, come back where the connection broke, read the conversation,
 * approve what an agent wants to do.
 *
 * `/agents/runs` and `/agents/conversations` are served beside the program's own routes: once in an Effect server,
 * once in a plain `node:http` server, whose Layers a ManagedRuntime holds. A run goes on when its client leaves.
 * SIGTERM refuses new runs, lets those that go on finish and exits with 0. `npm run example embedded -- --listen` keeps
 * the Effect server running, `-- --listen-plain` the other; without that it makes its own requests and ends.
 *
 * To see a compile error, take `SessionMemory.layer, ` away: `Session` is missing.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Agent, Approval, ModelScripted, SessionMemory } from "agent-layers"
import * as RunHttp from "agent-layers/run/http/RunHttp"
import { Console, Context, Effect, Layer, ManagedRuntime, Runtime, Schema, Scope, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { Sse } from "effect/encoding"
import {
  FetchHttpClient,
  HttpClient,
  HttpClientRequest,
  HttpClientResponse,
  HttpRouter,
  HttpServer,
  HttpServerResponse
} from "effect/http"
import { createServer, type RequestListener, type Server } from "node:http"

const Assistant = Agent.make({ name: "assistant", instructions: "You answer in one sentence." })

const Tools = Toolkit.make(
  Tool.make("pay", { parameters: Schema.Struct({ euros: Schema.Number }), success: Schema.String, needsApproval: true })
)
const Handlers = Tools.toLayer({ pay: ({ euros }) => Effect.succeed(`paid ${euros} euros`) })
const Clerk = Agent.make({ name: "clerk", toolkit: Tools, toolUse: "stopOnFirst" })

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer(({ tools }) =>
  tools !== undefined
    ? ModelScripted.toolCall("pay", { euros: 5 })
    : ModelScripted.text(["One ", "word ", "at ", "a ", "time."], { pause: "100 millis" })
)

const agents = { assistant: Assistant, clerk: Clerk }

const Agents = RunHttp.layer({ agents, prefix: "/agents", drainTimeout: "10 seconds" }).pipe(
  Layer.provide([SessionMemory.layer, Model, Handlers])
)

// In an Effect server: the routes are a Layer among others.
const Health = HttpRouter.add("GET", "/health", HttpServerResponse.text("well"))

const Mounted = RunHttp.layerDrain.pipe(
  Layer.provideMerge(HttpRouter.serve(Layer.mergeAll(Agents, Health), { disableLogger: true, disableListenLog: true })),
  Layer.provideMerge(NodeHttpServer.layer(() => createServer({ keepAliveTimeout: 500 }), {
    host: "127.0.0.1",
    port: 0
  }))
)

// In a plain Node server: a request listener is made once, and dispose() drains it.
class AgentsListener extends Context.Service<AgentsListener, RequestListener>()("example/AgentsListener") {
  static readonly layer = Layer.effect(
    AgentsListener,
    Effect.gen(function*() {
      // Made before the routes and so closed after them: clients hear the end of the runs.
      const scope = yield* Scope.fork(yield* Effect.scope)
      const routes = yield* HttpRouter.toHttpEffect(Agents)
      return yield* NodeHttpServer.makeHandler(routes, { scope })
    })
  )
}

const Plain = Effect.acquireRelease(
  Effect.promise(() => {
    const runtime = ManagedRuntime.make(AgentsListener.layer)
    return runtime.runPromise(AgentsListener).then((agents) => {
      const server = createServer({ keepAliveTimeout: 500 }, (request, response) => {
        if (request.url?.startsWith("/agents/")) agents(request, response)
        else response.end("well")
      })
      return { runtime, server }
    })
  }),
  ({ runtime, server }) => Effect.promise(() => runtime.dispose().then(() => server.close()))
).pipe(
  Effect.flatMap(({ server }) =>
    Effect.callback<Server>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    })
  ),
  Effect.map((server) => server.address()),
  Effect.map((address) => `http://127.0.0.1:${typeof address === "string" ? address : address?.port}`)
)

const Run = Schema.Struct({
  id: Schema.String,
  status: Schema.String,
  result: Schema.optional(Schema.Struct({ finalOutput: Schema.String })),
  approvals: Schema.optional(Schema.Array(Approval.Approval)),
  links: Schema.Struct({
    self: Schema.String,
    events: Schema.String,
    decisions: Schema.String,
    conversation: Schema.String
  })
})

const demonstrate = Effect.fnUntraced(function*(url: string) {
  const client = HttpClient.mapRequest(yield* HttpClient.HttpClient, HttpClientRequest.prependUrl(url))
  const post = (path: string, body: unknown, prefer = "respond-async") =>
    HttpClientRequest.post(path, { headers: { prefer } }).pipe(
      HttpClientRequest.bodyJsonUnsafe(body),
      client.execute,
      Effect.flatMap(HttpClientResponse.schemaBodyJson(Run))
    )
  const run = yield* post("/agents/runs", { agent: "assistant", input: "Hello?" })
  yield* Console.log("POST /agents/runs:", run.status)

  const events = (after: string) =>
    client.get(run.links.events, { headers: { "last-event-id": after } }).pipe(
      Effect.map((response) => response.stream),
      Stream.unwrap,
      Stream.decodeText(),
      Stream.pipeThroughChannel(Sse.decode())
    )
  const first = yield* events("0").pipe(Stream.takeUntil(({ event }) => event === "TextDelta"), Stream.runCollect)
  yield* Console.log("heard, and left:", first.map(({ event }) => event).join(" "))
  const rest = yield* Stream.runCollect(events(first.at(-1)?.id ?? "0"))
  yield* Console.log("came back, and heard:", rest.map(({ event }) => event).join(" "))

  const done = yield* Effect.flatMap(client.get(run.links.self), HttpClientResponse.schemaBodyJson(Run))
  yield* Console.log(`${done.status}: ${done.result?.finalOutput}`)
  const Conversation = Schema.Struct({ records: Schema.Array(Schema.Unknown) })
  const { records } = yield* Effect.flatMap(
    client.get(run.links.conversation),
    HttpClientResponse.schemaBodyJson(Conversation)
  )
  yield* Console.log(`the conversation has ${records.length} items`)

  const asking = yield* post("/agents/runs", { agent: "clerk", input: "Pay Ada 5 euros." }, "wait=5")
  for (const { arguments: json, tool } of asking.approvals ?? []) {
    yield* Console.log(`${asking.status}: ${tool}(${json})?`)
  }
  const decisions = asking.approvals?.map((approval) => Approval.approve(approval))
  const approved = yield* post(asking.links.decisions, { decisions }, "wait=5")
  yield* Console.log(`approved, ${approved.status}: ${approved.result?.finalOutput}`)
})

const listening = (url: string) => Effect.andThen(Console.log(`Listening on ${url}`), Effect.never)

const inEffect = HttpServer.HttpServer.useSync(({ address }) => HttpServer.formatAddress(address))

const main = Effect.gen(function*() {
  if (process.argv.includes("--listen-plain")) return yield* listening(yield* Plain)
  if (process.argv.includes("--listen")) return yield* Effect.provide(Effect.flatMap(inEffect, listening), Mounted)
  yield* Console.log("In an Effect server:")
  yield* Effect.provide(Effect.flatMap(inEffect, demonstrate), Mounted)
  yield* Console.log("In a plain Node server:")
  yield* demonstrate(yield* Plain)
})

main.pipe(
  Effect.scoped,
  Effect.provide(FetchHttpClient.layer),
  // A server that was asked to stop has not failed.
  NodeRuntime.runMain({
    teardown: (exit, done) => Runtime.defaultTeardown(exit, (code) => done(code === 130 ? 0 : code))
  })
)
