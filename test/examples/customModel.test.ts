/** The provider of examples/custom-model.ts keeps the laws, against a service that plays what each law asks for. */
import { assert, describe, it } from "@effect/vitest"
import * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import { Effect, Equal, Layer, type Scope } from "effect"
import { FetchHttpClient } from "effect/http"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { makeOracle } from "../../examples/custom-model.ts"
import { describeLaws } from "../support/laws.ts"

type Answer = ModelProviderLaws.Answer

const key = "key of the test"

const statuses: Record<ModelProviderLaws.Failing, number> = {
  RateLimited: 429,
  QuotaExceeded: 402,
  Overloaded: 503,
  Authentication: 401,
  InvalidRequest: 400,
  ContextLengthExceeded: 413
}

const parameters = { type: "object", properties: {}, required: [], additionalProperties: false }

/** The wire form of each field that the laws send and the oracle takes. */
const wire: ReadonlyArray<readonly [field: string, arrived: (body: any) => unknown]> = [
  ["instructions", (body) => body.rules === "Be brief."],
  ["tools", (body) => body.tools.some((tool: any) => tool.name === "f" && tool.description === "Does f.")],
  ["handoffs", (body) => body.tools.some((tool: any) => tool.name === "to_b" && tool.description === "Asks b.")],
  ["outputSchema", (body) => Equal.equals(body.shape, parameters)],
  ["settings.temperature", (body) => body.heat === 0.5],
  ["settings.maxOutputTokens", (body) => body.limit === 1000]
]

const make = Effect.gen(function*() {
  const script: Array<Answer> = []
  const received: Array<ModelProviderLaws.Received> = []
  let aborted = 0
  let refs = 0
  const seats = { taken: 0, free: 0 }

  const end = (tokens: readonly [number, number, number, number] = [20, 5, 0, 0], how = "done") => ({
    end: how,
    spent: tokens
  })
  const say = (deltas: ReadonlyArray<string>) => deltas.map((delta) => ({ say: delta }))

  const piecesOf = (answer: Answer): ReadonlyArray<object> => {
    switch (answer._tag) {
      case "Text": {
        const { tokens } = answer
        return [
          ...say(answer.deltas),
          end(tokens === undefined ? undefined : [tokens.input, tokens.output, tokens.cached, tokens.reasoning])
        ]
      }
      case "Calls":
        return [
          ...say(answer.text === undefined ? [] : [answer.text]),
          ...answer.calls.map((call) => ({ use: call.name, with: call.arguments, ref: `ref${refs++}` })),
          end()
        ]
      case "Incomplete":
        return [...say(answer.deltas), end(undefined, "limit")]
      case "Cut":
      case "Hang":
        return say(answer.deltas)
      default:
        throw new Error(`the oracle cannot answer with ${answer._tag}`)
    }
  }

  const answer = (body: any, res: ServerResponse) => {
    received.push({
      input: body.turns.map((turn: any) => ({ type: "message", role: turn.who, content: turn.text })),
      fields: wire.filter(([, arrived]) => arrived(body) === true).map(([field]) => field)
    })
    res.on("close", () => {
      if (!res.writableFinished) aborted++
    })
    const next = script.shift()
    if (next === undefined) {
      res.writeHead(400).end("the script is over")
    } else if (next._tag === "Fail") {
      const wait = next.retryAfterSeconds
      res.writeHead(statuses[next.reason], wait === undefined ? {} : { "retry-after": String(wait) }).end("no")
    } else if (next._tag === "Hang" && next.deltas.length === 0) {
      return
    } else if (body.live) {
      const lines = piecesOf(next).map((piece) => `${JSON.stringify(piece)}\n`).join("")
      if (next._tag === "Hang") res.write(lines)
      else res.end(lines)
    } else {
      res.end(JSON.stringify(piecesOf(next)))
    }
  }

  const serve = (req: IncomingMessage, res: ServerResponse) => {
    let text = ""
    req.setEncoding("utf8").on("data", (chunk) => text += chunk).on("end", () => {
      if (req.headers["x-key"] !== key) return res.writeHead(401).end("who are you?")
      if (req.method === "DELETE") seats.free++
      if (req.url === "/seats") seats.taken++
      return req.url === "/seats/1/asked"
        ? answer(JSON.parse(text), res)
        : res.end(JSON.stringify({ seat: "1" }))
    })
  }

  const url = yield* Effect.acquireRelease(
    Effect.callback<{ readonly server: ReturnType<typeof createServer>; readonly url: string }>((resume) => {
      const server = createServer(serve)
      server.listen(
        0,
        "127.0.0.1",
        () => resume(Effect.succeed({ server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }))
      )
    }),
    ({ server }) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  return {
    url: url.url,
    seats,
    script: (...answers: ReadonlyArray<Answer>) => Effect.sync(() => void script.push(...answers)),
    received: Effect.sync(() => received),
    aborted: Effect.sync(() => aborted)
  }
})

const withClient = <A, E>(effect: Effect.Effect<A, E, Layer.Success<typeof FetchHttpClient.layer> | Scope.Scope>) =>
  Effect.flatMap(Layer.build(FetchHttpClient.layer), (client) => Effect.provide(effect, client))

describeLaws(
  "the oracle of examples/custom-model.ts",
  ModelProviderLaws.all,
  {
    // Its service has no words for these.
    cannot: ["Reasoning", "Refusal", "Items", "FailLate"],
    open: Effect.gen(function*() {
      const service = yield* make
      const provider = yield* withClient(makeOracle({ url: service.url, key, model: "delphi" }))
      return { ...service, provider }
    })
  },
  {
    notShown: [
      "a name that the provider does not know is UnknownModel",
      "items of a type that nobody here knows go both ways untouched",
      "a failure after something was visible says so, and what was visible was delivered"
    ]
  }
)

describe("the oracle of examples/custom-model.ts", () => {
  it.live("gives its seat back when its Scope closes", () =>
    Effect.gen(function*() {
      const service = yield* make
      yield* Effect.scoped(withClient(makeOracle({ url: service.url, key, model: "delphi" })))
      assert.deepStrictEqual(service.seats, { taken: 1, free: 1 })
    }))

  it.live("has a model where none is named, and fails typed where the service refuses it", () =>
    Effect.gen(function*() {
      const service = yield* make
      const provider = yield* withClient(makeOracle({ url: service.url, key, model: "delphi" }))
      assert.strictEqual((yield* provider.getModel()).name, "delphi")
      assert.strictEqual((yield* provider.getModel("dodona")).name, "dodona")
      const error = yield* Effect.flip(withClient(makeOracle({ url: service.url, key: "wrong", model: "delphi" })))
      assert.strictEqual(error.reason._tag, "Authentication")
    }))
})
