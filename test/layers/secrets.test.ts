/**
 * Secrets that a server quotes. Each row is a place that shows what a server says; each credential is sent to a real
 * server on loopback, which answers with it in every form. Nothing that a program can print may hold one of them.
 */
import { assert, describe, it } from "@effect/vitest"
import * as McpHttp from "agent-layers/layers/mcp/McpHttp"
import * as McpSse from "agent-layers/layers/mcp/McpSse"
import * as McpStdio from "agent-layers/layers/mcp/McpStdio"
import * as ModelOpenAIChat from "agent-layers/layers/model/ModelOpenAIChat"
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import * as OpenAICompaction from "agent-layers/layers/model/OpenAICompaction"
import * as SessionOpenAIConversations from "agent-layers/layers/session/SessionOpenAIConversations"
import * as SessionPostgres from "agent-layers/layers/session/SessionPostgres"
import * as SessionRedis from "agent-layers/layers/session/SessionRedis"
import * as SessionS3 from "agent-layers/layers/session/SessionS3"
import * as TracerOpenAI from "agent-layers/layers/tracer/TracerOpenAI"
import * as TracerOtlp from "agent-layers/layers/tracer/TracerOtlp"
import { user } from "agent-layers/services/Item"
import type { McpConnection } from "agent-layers/services/McpServer"
import type { ModelProvider } from "agent-layers/services/ModelProvider"
import type { Session } from "agent-layers/services/Session"
import * as Tracer from "agent-layers/services/Tracer"
import {
  Cause,
  Context,
  Effect,
  Exit,
  Formatter,
  Layer,
  Logger,
  Redacted,
  type Scope,
  Stream,
  Tracer as EffectTracer
} from "effect"
import { FetchHttpClient } from "effect/http"
import * as http from "node:http"
import * as net from "node:net"
import { inspect } from "node:util"
import { startRedis } from "../support/redis.ts"
import { requires } from "../support/requires.ts"
import { agent } from "../support/tracer/entries.ts"

const base64 = (text: string) => Buffer.from(text).toString("base64")
const json = (text: string) => JSON.stringify(text).slice(1, -1)

interface Credential {
  readonly name: string
  readonly header: readonly [name: string, value: string]
  /** None of them may be printed. */
  readonly secrets: ReadonlyArray<string>
  readonly isPlain?: boolean
}

const credentials: ReadonlyArray<Credential> = [
  { name: "a short token after Bearer", header: ["authorization", "Bearer s3cr3t"], secrets: ["s3cr3t"] },
  { name: "a scheme in other letters", header: ["Authorization", "bearer  c4n4ry-t0k3n"], secrets: ["c4n4ry-t0k3n"] },
  {
    name: "a scheme of one's own, and signs that are written in other ways",
    header: ["x-auth", "ApiKey k/y+&<c4n4ry>\"\\x"],
    secrets: ["k/y+&<c4n4ry>\"\\x"]
  },
  {
    name: "user and password of Basic",
    header: ["authorization", `Basic ${base64("ada.l0velace:p4ss:w0rd~>?é")}`],
    secrets: ["ada.l0velace", "p4ss:w0rd~>?é", base64("ada.l0velace:p4ss:w0rd~>?é").replaceAll("=", "")]
  },
  {
    name: "Basic in base64url without padding",
    header: ["proxy-authorization", `Basic ${Buffer.from("ab:h0rse~>?>?>?").toString("base64url")}`],
    secrets: ["h0rse~>?>?>?", Buffer.from("ab:h0rse~>?>?>?").toString("base64url"), base64("ab:h0rse~>?>?>?")]
  },
  {
    name: "parameters after a scheme",
    header: ["authorization", "Digest username=\"Mufasa\", response=\"6629fae49393a05397450978507c4ef1\""],
    secrets: ["6629fae49393a05397450978507c4ef1"]
  },
  {
    name: "each of several cookies",
    header: ["cookie", "theme=dark; sid=s%3Ac4n4ry.1; csrf=\"t0ken-of-csrf\""],
    secrets: ["s%3Ac4n4ry.1", "s:c4n4ry.1", "t0ken-of-csrf"]
  },
  { name: "a key", header: ["x-api-key", "c4n4ry-of-a-key"], secrets: ["c4n4ry-of-a-key"] },
  { name: "a key that is not Redacted", header: ["api-key", "c4n4ry-plain"], secrets: ["c4n4ry-plain"], isPlain: true },
  {
    name: "a token that is not Redacted",
    header: ["Authorization", "Bearer pl4in-t0k3n"],
    secrets: ["pl4in-t0k3n"],
    isPlain: true
  }
]

/** How servers write what they quote. */
const formsOf = (secret: string): ReadonlyArray<string> => [
  secret,
  json(secret),
  json(secret).replaceAll("/", "\\/"),
  encodeURIComponent(secret),
  encodeURIComponent(secret).replaceAll(/%../g, (one) => one.toLowerCase()),
  secret.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\"", "&quot;")
]

const quoteOf = ({ header, secrets }: Pick<Credential, "header" | "secrets">): string =>
  ["refused:", header[1], ...secrets.flatMap(formsOf)].join(" | ")

/** Everything that a program can print of a failure. */
const printsOf = (error: unknown): ReadonlyArray<string> => [
  String(error),
  (error as Error).message,
  JSON.stringify(error),
  Formatter.format(error),
  Cause.pretty(Cause.fail(error)),
  inspect(error, { depth: 20, showHidden: true })
]

/** Runs something that fails, and gives what it prints: its error, its logs and its spans. */
const printed = <E>(effect: Effect.Effect<unknown, E, Scope.Scope>) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const spans: Array<EffectTracer.Span> = []
    const tracer = EffectTracer.make({
      span: (options) => {
        const span = new EffectTracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    const logger = Logger.make(({ cause, message }) => {
      lines.push(inspect(message, { depth: 20, showHidden: true }), String(message), Cause.pretty(cause))
    })
    const said = yield* effect.pipe(
      Effect.scoped,
      Effect.tapCause((cause) => Effect.logError("it failed", cause)),
      Effect.matchCause({
        onFailure: (cause) => cause.reasons.flatMap((reason) => printsOf(Cause.squash(Cause.fromReasons([reason])))),
        onSuccess: (answer) => [inspect(answer, { depth: 20 })]
      }),
      Effect.withSpan("the call", { attributes: { place: "here" } }),
      Effect.provide(Logger.layer([logger])),
      Effect.withTracer(tracer)
    )
    return [
      ...said,
      ...lines,
      ...spans.map(({ attributes, name, status }) => inspect([name, [...attributes], status], { depth: 20 }))
    ].join("\n")
  })

const assertClean = (text: string, secrets: ReadonlyArray<string>, isQuoted = true) => {
  for (const form of secrets.flatMap(formsOf).flatMap((form) => [form, json(form)])) {
    const at = text.indexOf(form)
    assert.isTrue(at < 0, `${form} in: ${text.slice(Math.max(0, at - 200), at + 100)}`)
  }
  if (isQuoted) assert.include(text, "<redacted>")
}

type Answer = (response: http.ServerResponse, quote: string, body: string, request: http.IncomingMessage) => void

/** A server that answers with what it is told to quote. */
const quoting = (answer: Answer, quote: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() =>
        new Promise<http.Server>((resolve) => {
          const server = http.createServer((request, response) => {
            let body = ""
            request.setEncoding("utf8")
            request.on("data", (text) => body += text)
            request.on("end", () => answer(response, quote, body, request))
          })
          server.listen(0, "127.0.0.1", () => resolve(server))
        })
      ),
      (server) =>
        Effect.promise(() =>
          new Promise((resolve) => {
            server.close(resolve)
            server.closeAllConnections()
          })
        )
    ),
    (server) => `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`
  )

/** A server of a store: it is told what a client sends. */
const listening = (answer: (data: Buffer, socket: net.Socket) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() =>
        new Promise<net.Server>((resolve) => {
          const server = net.createServer((socket) => {
            socket.on("data", (data: Buffer) => answer(data, socket))
            socket.on("error", () => undefined)
          })
          server.listen(0, "127.0.0.1", () => resolve(server))
        })
      ),
      (server) => Effect.sync(() => server.close())
    ),
    (server) => (server.address() as net.AddressInfo).port
  )

const escapeXml = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

/** Only latin1 goes into a header. */
const inHeader = (text: string) => text.replaceAll(/[^ -~\u00a0-\u00ff]/g, "?")

const send = (status: number, type: string, bodyOf: (quote: string) => string): Answer => (response, quote) => {
  response.writeHead(status, inHeader(quote), {
    "content-type": type,
    "www-authenticate": inHeader(`Bearer error="${quote.replaceAll("\"", "'")}"`),
    "x-request-id": inHeader(quote)
  }).end(bodyOf(quote))
}

const text = (status: number) => send(status, "text/plain", (quote) => quote)
const wrongType: Answer = (response, quote) =>
  void response.writeHead(200, { "content-type": inHeader(`text/plain; ${quote}`) }).end(quote)
const error = (status: number) =>
  send(
    status,
    "application/json",
    (quote) => JSON.stringify({ error: { message: quote, code: quote, type: quote, param: quote, data: { quote } } })
  )
const sse = (...events: ReadonlyArray<(quote: string) => unknown>): Answer => (response, quote) => {
  response.writeHead(200, { "content-type": "text/event-stream" })
    .end(events.map((event) => `data: ${JSON.stringify(event(quote))}\n\n`).join(""))
}

/** Speaks MCP as far as `until`, and quotes in its answer to that. */
const mcp = (until: string, answerOf: (quote: string) => object): Answer => (response, quote, body) => {
  const message = body === "" ? {} : JSON.parse(body) as { id?: unknown; method?: string }
  if (message.id === undefined) return void response.writeHead(body === "" ? 405 : 202).end()
  const answer = message.method === until || (until === "tools/*" && message.method?.startsWith("tools/") === true)
    ? answerOf(quote)
    : message.method === "initialize"
    ? {
      result: {
        protocolVersion: "2025-06-18",
        capabilities: { tools: {} },
        serverInfo: { name: "quoting", version: "1" }
      }
    }
    : { result: { tools: [{ name: "go", inputSchema: { type: "object" } }] } }
  response.writeHead(200, { "content-type": "application/json" })
    .end(JSON.stringify({ jsonrpc: "2.0", id: message.id, ...answer }))
}

const rpcError = (quote: string) => ({ error: { code: -32603, message: quote, data: { quote } } })

type Headers = Readonly<Record<string, string | Redacted.Redacted>>

const asTexts = (headers: Headers): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))

/** Of these answers, a caller shows nothing that was quoted. */
const unseen = new Set([
  ...["McpHttp", "McpHttp with a key in its address", "McpHttp with a token"].flatMap((name) =>
    ["a redirect", "no JSON", "no list of tools", "no result"].map((how) => `${name}: ${how}`)
  ),
  ...["401 with text", "500 with JSON", "a wrong content type"].map((how) => `McpSse: ${how}`),
  "ModelOpenAIChat: a failed stream",
  ...["secretAccessKey", "sessionToken"].map((which) => `SessionS3, its ${which}: 400 that is not XML`)
])

const mcpAnswers: Readonly<Record<string, Answer>> = {
  "401 with text": text(401),
  "500 with JSON": error(500),
  "a redirect": (response, quote) => void response.writeHead(302, inHeader(quote), { location: "/else" }).end(quote),
  "a wrong content type": wrongType,
  "no JSON": send(200, "application/json", (quote) => `{"jsonrpc": ${quote}`),
  "another protocol": mcp("initialize", (quote) => ({
    result: { protocolVersion: quote, capabilities: {}, serverInfo: { name: quote, version: "1" } }
  })),
  "an error to initialize": mcp("initialize", rpcError),
  "an error to tools/list": mcp("tools/list", rpcError),
  "no list of tools": mcp("tools/list", (quote) => ({ result: { tools: quote } })),
  "the same cursor twice": mcp("tools/list", (quote) => ({ result: { tools: [], nextCursor: quote } })),
  "broken tools": mcp("tools/list", (quote) => ({
    result: { tools: [{ name: quote }, { name: "x", inputSchema: quote }] }
  })),
  "an unknown tool": mcp("tools/*", (quote) => ({
    result: { tools: [{ name: quote, inputSchema: { type: "object" } }], isError: true, content: [] }
  })),
  "an error to tools/call": mcp("tools/call", rpcError),
  "a refusal to tools/call": mcp("tools/call", (quote) => ({ error: { code: -32600, message: quote, data: quote } })),
  "a failed tool": mcp("tools/call", (quote) => ({
    result: { isError: true, content: [{ type: "text", text: quote }], structuredContent: { [quote]: quote } }
  })),
  "no result": mcp("tools/call", (quote) => ({ result: { content: quote } }))
}

const reasonsOf = (exit: Exit.Exit<unknown, unknown>) => Exit.isFailure(exit) ? exit.cause.reasons : []

const useMcp = (connect: Effect.Effect<McpConnection, unknown, Scope.Scope>) =>
  Effect.gen(function*() {
    const connection = yield* connect
    const tools = yield* Effect.exit(connection.listTools)
    const answer = yield* Effect.exit(connection.callTool("go", {}))
    const reasons = [tools, answer].flatMap(reasonsOf)
    return reasons.length === 0 ? yield* answer : yield* Effect.failCause(Cause.fromReasons(reasons))
  })

const useModel = (provider: Effect.Effect<ModelProvider["Service"], unknown, Scope.Scope>) =>
  Effect.gen(function*() {
    const model = yield* Effect.flatMap(provider, ({ getModel }) => getModel())
    const answer = yield* Effect.exit(Effect.scoped(model.respond({ input: "hi" })))
    const stream = yield* Effect.exit(Effect.scoped(Stream.runCollect(model.stream({ input: "hi" }))))
    return yield* Effect.failCause(Cause.fromReasons([answer, stream].flatMap(reasonsOf)))
  })

const modelAnswers: Readonly<Record<string, Answer>> = {
  "401 with text": text(401),
  "401 with JSON": error(401),
  "429 with JSON": error(429),
  "404 with HTML": send(404, "text/html", (quote) => `<p>${quote}</p>`),
  "400 with letters escaped": send(
    400,
    "application/json",
    (quote) => JSON.stringify({ message: quote }).replaceAll("c", "\\u0063")
  ),
  "200 that is not JSON": wrongType,
  "200 with an error": send(
    200,
    "application/json",
    (quote) => JSON.stringify({ error: { message: quote, code: quote, param: quote, type: "invalid_request_error" } })
  ),
  "200 that failed": send(
    200,
    "application/json",
    (quote) =>
      JSON.stringify({
        id: "r",
        status: "failed",
        error: { message: quote, code: "invalid_x", param: quote },
        output: []
      })
  ),
  "an error in a stream": sse((quote) => ({ type: "error", error: { message: quote, code: quote, param: quote } })),
  "a failed stream": sse((quote) => ({ type: "response.failed", response: { error: { message: quote, code: quote } } }))
}

const useSession = (session: Effect.Effect<Session["Service"], unknown, Scope.Scope>) =>
  Effect.gen(function*() {
    const { loadItems, saveItems } = yield* session
    const exits = [yield* Effect.exit(saveItems("a", [user("x")])), yield* Effect.exit(loadItems("conv_a"))]
    return yield* Effect.failCause(Cause.fromReasons(exits.flatMap(reasonsOf)))
  })

const useTracer = (layer: Layer.Layer<never, unknown>) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(layer)
    const { flush } = Context.get(context, Tracer.Tracer)
    yield* Effect.andThen(agent("a", Effect.void), flush).pipe(Effect.provideContext(context))
    return "its failures are in the log"
  })

/** A place that shows what a server says, and what a server may say to it. */
interface Place {
  readonly name: string
  readonly answers: Readonly<Record<string, Answer>>
  readonly call: (url: string, headers: Headers) => Effect.Effect<unknown, unknown, Scope.Scope>
  /** Its headers are texts. */
  readonly takesTexts?: boolean
}

const apiKey = Redacted.make("an0ther-k3y")

const refusals = { "401 with text": text(401), "401 with JSON": error(401) }

const places: ReadonlyArray<Place> = [
  {
    name: "McpHttp",
    answers: mcpAnswers,
    call: (url, headers) => useMcp(McpHttp.make("web", { url: `${url}/mcp`, headers }))
  },
  {
    name: "McpSse",
    answers: {
      "401 with text": text(401),
      "500 with JSON": error(500),
      "a wrong content type": wrongType,
      "401 to a message": (response, quote, body, request) => {
        if (request.method === "POST") return text(401)(response, quote, body, request)
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write("event: endpoint\ndata: /messages\n\n")
      }
    },
    call: (url, headers) => useMcp(McpSse.make("web", { url: `${url}/sse`, headers }))
  },
  {
    name: "TracerOtlp",
    answers: refusals,
    call: (url, headers) =>
      useTracer(TracerOtlp.layer({ url: `${url}/v1/traces`, headers }).pipe(Layer.provide(FetchHttpClient.layer)))
  },
  {
    name: "ModelOpenAIResponses",
    answers: modelAnswers,
    takesTexts: true,
    call: (baseURL, headers) => useModel(ModelOpenAIResponses.make({ apiKey, baseURL, headers: asTexts(headers) }))
  },
  {
    name: "ModelOpenAIChat",
    answers: modelAnswers,
    takesTexts: true,
    call: (baseURL, headers) =>
      useModel(ModelOpenAIChat.make({ apiKey, baseURL, headers: asTexts(headers), model: "m" }))
  },
  {
    name: "OpenAICompaction",
    answers: refusals,
    takesTexts: true,
    call: (baseURL, headers) =>
      Effect.flatMap(
        OpenAICompaction.make({ apiKey, baseURL, headers: asTexts(headers) }),
        (compact) => compact([user("x")])
      )
  },
  {
    name: "SessionOpenAIConversations",
    answers: refusals,
    takesTexts: true,
    call: (baseURL, headers) =>
      useSession(SessionOpenAIConversations.make({ apiKey, baseURL, headers: asTexts(headers) }))
  }
]

describe("a server that quotes a header", () => {
  for (const { answers, call, name, takesTexts = false } of places) {
    for (const [how, answer] of Object.entries(answers)) {
      it.live(
        `to ${name} with ${how}: nothing printed holds it`,
        () =>
          Effect.forEach(credentials, ({ header, isPlain = false, secrets }) =>
            Effect.gen(function*() {
              const [key, value] = header
              const url = yield* quoting(answer, quoteOf({ header, secrets }))
              const headers = { [key]: isPlain || takesTexts ? value : Redacted.make(value) }
              assertClean(yield* printed(call(url, headers)), secrets, !unseen.has(`${name}: ${how}`))
            }), { discard: true }),
        240_000
      )
    }
  }
})

/** Each of these has a secret of its own to send. */
const strange = "k/y+&<c4n4ry>'%41é"
const key = "sk-c4n4ry/0123456789+&"

const keyed: ReadonlyArray<Place> = [
  {
    name: "ModelOpenAIResponses",
    answers: modelAnswers,
    call: (baseURL) => useModel(ModelOpenAIResponses.make({ apiKey: Redacted.make(key), baseURL }))
  },
  {
    name: "ModelOpenAIChat",
    answers: modelAnswers,
    call: (baseURL) => useModel(ModelOpenAIChat.make({ apiKey: Redacted.make(key), baseURL, model: "m" }))
  },
  {
    name: "SessionOpenAIConversations",
    answers: refusals,
    call: (baseURL) => useSession(SessionOpenAIConversations.make({ apiKey: Redacted.make(key), baseURL }))
  },
  {
    name: "TracerOpenAI",
    answers: refusals,
    call: (url) =>
      useTracer(TracerOpenAI.layer({ apiKey: Redacted.make(key), url }).pipe(Layer.provide(FetchHttpClient.layer)))
  },
  {
    name: "TracerOtlp with a key in its address",
    answers: refusals,
    call: (url) =>
      useTracer(
        TracerOtlp.layer({ url: `${url}/v1?api_key=${encodeURIComponent(key)}` }).pipe(
          Layer.provide(FetchHttpClient.layer)
        )
      )
  },
  {
    name: "McpHttp with a key in its address",
    answers: mcpAnswers,
    call: (url) => useMcp(McpHttp.make("web", { url: `${url}/mcp?apiKey=${encodeURIComponent(key)}` }))
  },
  {
    name: "McpHttp with a token",
    answers: mcpAnswers,
    call: (url) => useMcp(McpHttp.make("web", { url: `${url}/mcp`, token: Effect.succeed(Redacted.make(key)) }))
  },
  ...(["secretAccessKey", "sessionToken"] as const).map((which): Place => ({
    name: `SessionS3, its ${which}`,
    answers: {
      "403 with XML": send(
        403,
        "application/xml",
        (quote) => `<Error><Code>${escapeXml(quote)}</Code><Message>${escapeXml(quote)}</Message></Error>`
      ),
      "400 with XML": send(
        400,
        "application/xml",
        (quote) => `<Error><Code>BadRequest</Code><Message>${escapeXml(quote)}</Message></Error>`
      ),
      "400 that is not XML": text(400)
    },
    call: (endpoint) =>
      useSession(SessionS3.make({
        bucket: "b",
        endpoint,
        forcePathStyle: true,
        credentials: {
          accessKeyId: "AKIA",
          secretAccessKey: Redacted.make("an0ther-s3cret"),
          sessionToken: Redacted.make("an0ther-t0ken"),
          [which]: Redacted.make(key)
        }
      }))
  }))
]

describe("a server that quotes a key", () => {
  for (const { answers, call, name } of keyed) {
    for (const [how, answer] of Object.entries(answers)) {
      it.live(`to ${name} with ${how}: nothing printed holds it`, () =>
        Effect.gen(function*() {
          const url = yield* quoting(answer, quoteOf({ header: ["authorization", `Bearer ${key}`], secrets: [key] }))
          assertClean(yield* printed(call(url, {})), [key], !unseen.has(`${name}: ${how}`))
        }), 240_000)
    }
  }
})

describe("a quote that is cut where a text gets too long", () => {
  const secret = "c4n4ry-0123456789-abcdefghi"
  const places: ReadonlyArray<readonly [name: string, limit: number, call: Place["call"]]> = [
    ["McpHttp", 500, (url, headers) => useMcp(McpHttp.make("web", { url: `${url}/mcp`, headers }))],
    [
      "TracerOtlp",
      300,
      (url, headers) => useTracer(TracerOtlp.layer({ url, headers }).pipe(Layer.provide(FetchHttpClient.layer)))
    ],
    [
      "ModelOpenAIResponses",
      1_000,
      (baseURL, headers) => useModel(ModelOpenAIResponses.make({ apiKey, baseURL, headers: asTexts(headers) }))
    ],
    [
      "SessionOpenAIConversations",
      1_000,
      (baseURL, headers) => useSession(SessionOpenAIConversations.make({ apiKey, baseURL, headers: asTexts(headers) }))
    ]
  ]
  it.live.each(places)("by %s: not a part of it is left", ([, limit, call]) =>
    Effect.gen(function*() {
      for (const shown of [4, 12, 20, 26]) {
        const quote = "x".repeat(limit - shown) + secret
        for (const answer of [text(400), sse((quote) => ({ type: "error", error: { message: quote } }))]) {
          const url = yield* quoting(answer, quote)
          assert.notInclude(yield* printed(call(url, { "x-key": secret })), "xc4n4ry-0")
        }
      }
    }), 240_000)
})

describe("a store that quotes the password of its address", () => {
  const address = (scheme: string, port: number) =>
    Redacted.make(`${scheme}://ada:${encodeURIComponent(strange)}@127.0.0.1:${port}`)

  it.live("PostgreSQL", () =>
    Effect.gen(function*() {
      const message = (type: string, body: string) => {
        const head = Buffer.alloc(5)
        head.write(type, "latin1")
        head.writeInt32BE(Buffer.byteLength(body) + 4, 1)
        return Buffer.concat([head, Buffer.from(body)])
      }
      const port = yield* listening((data, socket) => {
        if (data[0] !== 0x70) return void socket.write(message("R", "\0\0\0\u0003"))
        const password = data.subarray(5, -1).toString()
        const said = `no: ${formsOf(password).join(" ")}`
        socket.end(message("E", `SFATAL\0VFATAL\0C28P01\0M${said}\0\0`))
      })
      const url = address("postgres", port)
      assertClean(yield* printed(useSession(SessionPostgres.make({ url }))), [strange])
    }))

  it.live("Redis", () =>
    Effect.gen(function*() {
      const port = yield* listening((data, socket) => {
        const password = /\r\n(k\/y.*)\r\n/.exec(data.toString())?.[1]
        socket.write(password === undefined ? "+OK\r\n" : `-ERR no: ${formsOf(password).join(" ")}\r\n`)
      })
      assertClean(yield* printed(useSession(SessionRedis.make({ url: address("redis", port) }))), [strange])
    }))

  const redis = requires("redis-server")
  it.live.skipIf(!redis.available)(
    redis.title("Redis that does not know AUTH, and quotes its arguments"),
    () =>
      Effect.gen(function*() {
        const { port } = yield* startRedis([
          "--rename-command",
          "AUTH",
          "X-AUTH",
          "--rename-command",
          "HELLO",
          "X-HELLO"
        ])
        const url = Redacted.make(`redis://ada:c4n4ry-of-redis@127.0.0.1:${port}`)
        const text = yield* printed(useSession(SessionRedis.make({ url })))
        assert.include(text, "unknown command")
        assertClean(text, ["c4n4ry-of-redis"])
      })
  )

  it.live("a password with a slash that nobody escaped is not shown as a part of the address", () =>
    Effect.gen(function*() {
      const url = Redacted.make("postgres://ada:1234/c4n4ry@127.0.0.1/db")
      const text = yield* printed(useSession(SessionPostgres.make({ url })))
      assert.include(text, "%2F")
      assert.notInclude(text, "c4n4ry")
    }))
})

describe("McpStdio, a child that quotes its environment", () => {
  const program = `
    const { KEY, AUTH, DB } = process.env
    const quote = [KEY, AUTH, AUTH.split(" ")[1], atob(AUTH.split(" ")[1]), DB, new URL(DB).password].join(" ")
    const mode = process.argv[1]
    if (mode === "exit") { process.stderr.write("x".repeat(4_200) + quote); process.exitCode = 3 }
    else if (mode === "tail") { process.stderr.write(quote + "x".repeat(4_096 - quote.length + 20)); process.exitCode = 3 }
    else if (mode === "junk") { console.log("x".repeat(190) + quote); process.exitCode = 3 }
    else process.stdin.on("data", (line) => {
      const { id } = JSON.parse(line)
      console.log(JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32603, message: quote, data: quote } }))
    })`
  const env = {
    KEY: Redacted.make("c4n4ry-of-a-child"),
    AUTH: Redacted.make(`Basic ${base64("ada:p4ssw0rd-of-a-child")}`),
    DB: Redacted.make("postgres://ada:p4ss-of-a-db@127.0.0.1/db")
  }
  it.live.each(["exit", "tail", "junk", "error"])(
    "in the way %s: nothing printed holds it",
    (mode) =>
      Effect.gen(function*() {
        const options = { command: process.execPath, args: ["-e", program, mode], env }
        assertClean(
          yield* printed(McpStdio.make("child", options)),
          ["c4n4ry-of-a-child", base64("ada:p4ssw0rd-of-a-child"), "p4ssw0rd-of-a-child", "p4ss-of-a-db"]
        )
      })
  )
})
