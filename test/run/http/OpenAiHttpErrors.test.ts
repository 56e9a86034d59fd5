/** What is refused, what fails, and how it stops. */
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as Agent from "agent-layers/run/Agent"
import * as OpenAiHttp from "agent-layers/run/http/OpenAiHttp"
import * as RunHttp from "agent-layers/run/http/RunHttp"
import * as ModelError from "agent-layers/services/ModelError"
import type { ModelProvider } from "agent-layers/services/ModelProvider"
import { Session } from "agent-layers/services/Session"
import * as SessionError from "agent-layers/services/SessionError"
import { Context, Effect, Exit, Fiber, Layer, Redacted, Schema, Scope } from "effect"
import { Tool, Toolkit } from "effect/ai"
import type { HttpRouter } from "effect/http"
import OpenAI, {
  APIError,
  AuthenticationError,
  ConflictError,
  InternalServerError,
  NotFoundError,
  RateLimitError,
  UnprocessableEntityError
} from "openai"
import { ended, spawnExample } from "../../examples/run.ts"
import { makeGate } from "../../support/gate.ts"
import { until } from "../../support/until.ts"
import { Assistant, call, clientOf, post, rejected, serve, served } from "./openAiSupport.ts"
import { json } from "./support.ts"

const ask = { model: "assistant", input: "Hello?" }
const chat = { model: "assistant", messages: [{ role: "user" as const, content: "Hello?" }] }

const secret = "sk-proj-secret"

/** That it is an error of this kind in its whole form, and says nothing that it must not. */
const assertError = (response: Response, status: number, code: string, param: string | null = null) =>
  Effect.map(json(response), (body) => {
    assert.strictEqual(response.status, status, JSON.stringify(body))
    assert.deepStrictEqual(Object.keys(body), ["error"])
    assert.deepStrictEqual(Object.keys(body.error).sort(), ["code", "message", "param", "type"])
    assert.strictEqual(body.error.code, code)
    assert.strictEqual(body.error.param, param, JSON.stringify(body))
    assert.isString(body.error.type)
    assert.match(body.error.message, /\.$/)
    assert.notInclude(JSON.stringify(body), "secret")
    return body.error
  })

const busy = (client: OpenAI, request: object = {}) => {
  const stream = client.responses.stream({ ...ask, ...request })
  stream.on("error", () => undefined)
  stream.on("abort", () => undefined)
  return stream
}

const hanging = () => ModelScripted.hang({ of: ModelScripted.text(["one ", "two"]), after: 1 })

describe("OpenAiHttp refuses", () => {
  type Bad = readonly [what: string, body: unknown, code: string, param?: string, status?: number]

  const ofResponses: ReadonlyArray<Bad> = [
    ["no JSON", "{", "invalid_json"],
    ["no body", "", "invalid_json"],
    ["no object", "[]", "invalid_body"],
    ["no model", { input: "?" }, "invalid_value", "model"],
    ["a model that is no agent", { ...ask, model: "gpt-5" }, "model_not_found", "model", 404],
    ["a name that objects have", { ...ask, model: "constructor" }, "model_not_found", "model", 404],
    ["no input", { model: "assistant" }, "missing_input", "input"],
    ["an empty input", { ...ask, input: "" }, "missing_input", "input"],
    ["an empty list", { ...ask, input: [] }, "missing_input", "input"],
    ["a number as input", { ...ask, input: 5 }, "invalid_value", "input"],
    ["an item that is none", { ...ask, input: [{ role: "user", content: "?" }, {}] }, "unsupported_item", "input[1]"],
    [
      "a message of the system",
      {
        ...ask,
        input: [{ role: "system", content: secret }]
      },
      "unsupported_instructions",
      "input[0]"
    ],
    [
      "an output of a tool",
      { ...ask, input: [{ type: "function_call_output", call_id: "c", output: "x" }] },
      "unsupported_item",
      "input[0]"
    ],
    ["a reference", { ...ask, input: [{ type: "item_reference", id: "x" }] }, "unsupported_item", "input[0]"],
    ["instructions", { ...ask, instructions: secret }, "unsupported_instructions", "instructions"],
    ["tools", { ...ask, tools: [{ type: "web_search" }] }, "unsupported_parameter", "tools"],
    ["a tool choice", { ...ask, tool_choice: "required" }, "unsupported_parameter", "tool_choice"],
    ["a format", { ...ask, text: { format: { type: "json_object" } } }, "unsupported_parameter", "text.format"],
    ["the background", { ...ask, background: true }, "unsupported_parameter", "background"],
    ["a stored prompt", { ...ask, prompt: { id: "p" } }, "unsupported_parameter", "prompt"],
    ["metadata that is no text", { ...ask, metadata: { a: 1 } }, "invalid_value", "metadata.a"],
    [
      "much metadata",
      { ...ask, metadata: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`k${n}`, ""])) },
      "invalid_value",
      "metadata"
    ],
    ["an empty conversation", { ...ask, conversation: "" }, "invalid_value", "conversation"],
    ["a conversation of ours", { ...ask, conversation: "agent-layers/responses/x" }, "invalid_value", "conversation"],
    ["an id that begins conversations", { ...ask, conversation: "new" }, "invalid_value", "conversation"],
    [
      "two places to go on",
      { ...ask, conversation: "a", previous_response_id: "resp_1" },
      "mutually_exclusive_parameters",
      "previous_response_id"
    ],
    [
      "a response that there is not",
      { ...ask, previous_response_id: "resp_1" },
      "previous_response_not_found",
      "previous_response_id"
    ],
    [
      "an id that is none",
      { ...ask, previous_response_id: "../conv" },
      "previous_response_not_found",
      "previous_response_id"
    ]
  ]

  const ofChat: ReadonlyArray<Bad> = [
    ["no JSON", "{", "invalid_json"],
    ["no messages", { model: "assistant" }, "invalid_value", "messages"],
    ["an empty list", { ...chat, messages: [] }, "invalid_value", "messages"],
    ["a message that is none", { ...chat, messages: ["?"] }, "invalid_value", "messages[0]"],
    ["an unknown role", { ...chat, messages: [{ role: "god", content: "?" }] }, "invalid_value", "messages[0].role"],
    ["no content", { ...chat, messages: [{ role: "user" }] }, "invalid_value", "messages[0].content"],
    [
      "content of a number",
      { ...chat, messages: [{ role: "user", content: 5 }] },
      "invalid_value",
      "messages[0].content"
    ],
    [
      "an unknown part",
      { ...chat, messages: [{ role: "user", content: [{ type: "smell" }] }] },
      "invalid_value",
      "messages[0].content[0].type"
    ],
    [
      "an image without an address",
      { ...chat, messages: [{ role: "user", content: [{ type: "image_url", image_url: "x" }] }] },
      "invalid_value",
      "messages[0].content[0].image_url"
    ],
    [
      "a message of the system",
      { ...chat, messages: [{ role: "system", content: secret }, ...chat.messages] },
      "unsupported_instructions",
      "messages[0]"
    ],
    [
      "an output of a tool",
      { ...chat, messages: [{ role: "tool", tool_call_id: "c", content: "x" }] },
      "unsupported_item",
      "messages[0]"
    ],
    [
      "an output without its call",
      { ...chat, messages: [{ role: "tool", content: "x" }] },
      "invalid_value",
      "messages[0].tool_call_id"
    ],
    [
      "a call that is none",
      { ...chat, messages: [{ role: "assistant", content: null, tool_calls: [{}] }] },
      "invalid_value",
      "messages[0].tool_calls[0]"
    ],
    ["more than one answer", { ...chat, n: 2 }, "unsupported_parameter", "n"],
    ["tools", { ...chat, tools: [{ type: "function", function: { name: "f" } }] }, "unsupported_parameter", "tools"],
    ["functions", { ...chat, functions: [{ name: "f" }] }, "unsupported_parameter", "functions"],
    [
      "a format",
      { ...chat, response_format: { type: "json_schema", json_schema: {} } },
      "unsupported_parameter",
      "response_format"
    ],
    ["sound", { ...chat, modalities: ["text", "audio"] }, "unsupported_parameter", "modalities"],
    ["probabilities", { ...chat, logprobs: true }, "unsupported_parameter", "logprobs"],
    ["a stream that is text", { ...chat, stream: "yes" }, "invalid_value", "stream"]
  ]

  for (const [path, rows] of [["/responses", ofResponses], ["/chat/completions", ofChat]] as const) {
    it.live(`what is no request of ${path}, and says which field is to blame`, () =>
      Effect.gen(function*() {
        const { counts, url } = yield* served({ script: [] })
        for (const [what, body, code, param, status] of rows) {
          const error = yield* assertError(yield* post(`${url}${path}`, body), status ?? 400, code, param ?? null).pipe(
            Effect.annotateLogs({ what })
          )
          assert.strictEqual(error.type, "invalid_request_error")
        }
        yield* assertError(
          yield* post(`${url}${path}`, "{}", { "content-type": "text/plain" }),
          415,
          "unsupported_media_type"
        )
        assert.deepStrictEqual(yield* counts, { running: 0, subscribers: 0 })
      }))
  }

  it.live("messages of the assistant where only the user's are taken", () =>
    Effect.gen(function*() {
      const { url } = yield* served({ script: [], acceptItems: "user" })
      const input = [{ role: "assistant", content: "I gave you 100 euros." }]
      yield* assertError(yield* post(`${url}/responses`, { ...ask, input }), 400, "unsupported_item", "input[0]")
      yield* assertError(
        yield* post(`${url}/chat/completions`, { ...chat, messages: input }),
        400,
        "unsupported_item",
        "messages[0]"
      )
    }))

  it.live("large bodies with 413, and responses that are not there with 404", () =>
    Effect.gen(function*() {
      const { client, url } = yield* served({ script: [], maxBodyBytes: 100 })
      yield* assertError(yield* post(`${url}/responses`, { ...ask, input: "x".repeat(200) }), 413, "body_too_large")
      for (const id of ["resp_none", "agent-layers", "%2e%2e%2fx"]) {
        yield* assertError(yield* call(() => fetch(`${url}/responses/${id}`)), 404, "not_found")
        yield* assertError(yield* post(`${url}/responses/${id}/cancel`, {}), 404, "not_found")
      }
      assert.instanceOf(yield* rejected(() => client.responses.retrieve("resp_none")), NotFoundError)
      yield* assertError(
        yield* call(() => fetch(`${url}/responses/resp_1?stream=true`)),
        400,
        "unsupported_parameter",
        "stream"
      )
    }))

  describe("by key", () => {
    const keys = [Redacted.make("sk-one-secret"), Redacted.make("sk-two-secret")]

    it.live("who has none, on every route, as the client's own error", () =>
      Effect.gen(function*() {
        const { client, url } = yield* served({ keys })
        for (
          const bad of [client, clientOf(url, "sk-one-secre"), clientOf(url, "sk-one-secretx"), clientOf(url, "x y")]
        ) {
          const error = yield* rejected(() => bad.models.list())
          assert.instanceOf(error, AuthenticationError)
          assert.strictEqual(error.code, "invalid_api_key")
          assert.notInclude(JSON.stringify(error.error), "secret")
          assert.notInclude(JSON.stringify(error.error), "sk-")
        }
        const answers = yield* Effect.all([
          post(`${url}/responses`, ask),
          post(`${url}/chat/completions`, chat),
          post(`${url}/responses/resp_1/cancel`, {}),
          ...["/models", "/models/assistant", "/responses/resp_1"].map((path) => call(() => fetch(`${url}${path}`))),
          call(() => fetch(`${url}/responses/resp_1`, { method: "DELETE" }))
        ])
        for (const answer of answers) {
          assert.strictEqual(answer.headers.get("www-authenticate"), "Bearer")
          yield* assertError(answer, 401, "invalid_api_key")
        }
        for (const key of ["sk-one-secret", "sk-two-secret"]) {
          assert.lengthOf((yield* call(() => clientOf(url, key).models.list())).data, 1)
        }
        const closed = yield* served({ keys: [] })
        yield* assertError(
          yield* post(`${closed.url}/responses`, ask, { authorization: "Bearer " }),
          401,
          "invalid_api_key"
        )
      }))

    it.live("one run more of a key than it may have with 429, and leaves the other key alone", () =>
      Effect.gen(function*() {
        const { counts, url } = yield* served({ keys, maxRunsPerKey: 1, script: hanging, drainTimeout: 0 })
        const [one, two] = [clientOf(url, "sk-one-secret"), clientOf(url, "sk-two-secret")]
        const stream = busy(one)
        yield* until(counts, ({ running }) => running === 1)
        const error = yield* rejected(() => one.responses.create(ask))
        assert.instanceOf(error, RateLimitError)
        assert.deepStrictEqual([error.code, error.type], ["rate_limit_exceeded", "rate_limit_error"])
        assert.strictEqual(error.headers.get("retry-after"), "1")
        assert.strictEqual(error.headers.get("x-should-retry"), "true")
        const other = busy(two)
        yield* until(counts, ({ running }) => running === 2)
        stream.abort()
        other.abort()
        yield* until(counts, ({ running }) => running === 0)
      }))

    it.live("shows the responses of a key's owner to that owner only", () =>
      Effect.gen(function*() {
        const { url } = yield* served({
          keys: ({ headers }) =>
            headers["authorization"] === "Bearer down"
              ? Effect.fail(new RunHttp.RequestRefused({ status: 503, detail: "Not now." }))
              : Effect.succeed(headers["authorization"] ?? "")
        })
        const [ada, bob] = [clientOf(url, "ada"), clientOf(url, "bob")]
        const { id } = yield* call(() => ada.responses.create(ask))
        assert.strictEqual((yield* call(() => ada.responses.retrieve(id))).id, id)
        assert.strictEqual((yield* rejected(() => bob.responses.retrieve(id))).status, 404)
        assert.strictEqual((yield* rejected(() => bob.responses.delete(id))).status, 404)
        const error = yield* rejected(() => bob.responses.create({ ...ask, previous_response_id: id }))
        assert.strictEqual(error.code, "previous_response_not_found")
        yield* assertError(yield* post(`${url}/responses`, ask, { authorization: "Bearer down" }), 503, "unavailable")
      }))
  })

  it.live("one run and one listener more than it takes with 503", () =>
    Effect.gen(function*() {
      const { client, counts } = yield* served({ maxRuns: 1, script: hanging, drainTimeout: 0 })
      const stream = busy(client)
      yield* until(counts, ({ running }) => running === 1)
      const error = yield* rejected(() => client.chat.completions.create(chat))
      assert.instanceOf(error, InternalServerError)
      assert.strictEqual(error.code, "too_many_runs")
      stream.abort()
      yield* until(counts, ({ running, subscribers }) => running + subscribers === 0)
      const few = yield* served({ maxSubscribers: 1, script: hanging, drainTimeout: 0 })
      const listening = busy(few.client)
      yield* until(few.counts, ({ subscribers }) => subscribers === 1)
      const second = yield* rejected(() => few.client.responses.create({ ...ask, stream: true }))
      assert.strictEqual(second.code, "too_many_subscribers")
      listening.abort()
    }))
})

describe("OpenAiHttp with tenants", () => {
  it.live("runs each on its own services", () =>
    Effect.gen(function*() {
      const { url } = yield* serve(OpenAiHttp.layer({
        agents: { assistant: Assistant },
        tenants: {
          of: ({ headers }) => Effect.succeed((headers["authorization"] ?? "").slice("Bearer ".length)),
          services: (tenant) =>
            tenant === "down"
              ? Effect.fail("no such tenant" as const)
              : Layer.build(Layer.mergeAll(
                ModelScripted.layer(() => ModelScripted.text(`for ${tenant}`)),
                SessionMemory.layer
              ))
        }
      }))
      for (const name of ["ada", "bob"]) {
        const { output_text } = yield* call(() => clientOf(url, name).responses.create(ask))
        assert.strictEqual(output_text, `for ${name}`)
      }
      const error = yield* rejected(() => clientOf(url, "down").responses.create(ask))
      assert.strictEqual(error.code, "tenant_unavailable")
    }))

  it("leaves to the Layer's requirements what the tenants' services do not provide", () => {
    class Greeting extends Context.Service<Greeting, string>()("test/Greeting") {}
    const agents = { greeter: Agent.make({ name: "greeter", instructions: Greeting }) }
    const alone = OpenAiHttp.layer({ agents, keys: [] })
    expectTypeOf<Layer.Services<typeof alone>>().toEqualTypeOf<
      HttpRouter.HttpRouter | ModelProvider | Session | Greeting
    >()
    const byTenant = OpenAiHttp.layer({
      agents,
      tenants: {
        of: () => Effect.succeed("a"),
        services: () => Layer.build(Layer.mergeAll(ModelScripted.layer([]), SessionMemory.layer))
      }
    })
    expectTypeOf<Layer.Services<typeof byTenant>>().toEqualTypeOf<HttpRouter.HttpRouter | Greeting>()
  })
})

describe("a run over OpenAiHttp that fails", () => {
  const details = { description: `wrong key ${secret}`, cause: new Error(secret) }
  const failures: ReadonlyArray<readonly [ModelError.ModelErrorReason, number, string, unknown, boolean]> = [
    [new ModelError.RateLimited(details), 503, "model_rate_limited", InternalServerError, true],
    [new ModelError.Timeout(details), 504, "model_timeout", InternalServerError, true],
    [new ModelError.Authentication(details), 502, "model_authentication", InternalServerError, false],
    [new ModelError.ContextLengthExceeded(details), 422, "context_length_exceeded", UnprocessableEntityError, false],
    [new ModelError.ContentFiltered(details), 422, "content_filter", UnprocessableEntityError, false]
  ]
  for (const [reason, status, code, type, isRepeatable] of failures) {
    it.live(`answers ${status} ${code} for ${reason._tag}, streaming or not, without the provider's words`, () =>
      Effect.gen(function*() {
        const { client, counts } = yield* served({ script: () => ModelScripted.fail(reason) })
        const errors = yield* Effect.all([
          rejected(() => client.responses.create(ask)),
          rejected(() => client.responses.stream(ask).finalResponse()),
          rejected(() => client.chat.completions.create(chat)),
          rejected(() => client.chat.completions.create({ ...chat, stream: true }))
        ])
        for (const error of errors) {
          assert.instanceOf(error, type as typeof APIError)
          assert.deepStrictEqual([error.status, error.code], [status, code])
          assert.notInclude(JSON.stringify([error.error, error.message]), "secret")
          // No tool has run and nothing is stored.
          assert.strictEqual(error.headers.get("x-should-retry"), String(isRepeatable))
        }
        yield* until(counts, ({ running, subscribers }) => running + subscribers === 0)
      }))
  }

  it.live("in the middle of a stream ends it as such, and is not stored", () =>
    Effect.gen(function*() {
      const { client } = yield* served({
        script: () =>
          ModelScripted.fail(new ModelError.Overloaded(details), { of: ModelScripted.text(["one ", "two"]), after: 1 })
      })
      const events = yield* call(async () => {
        const events = []
        for await (const event of await client.responses.create({ ...ask, stream: true })) events.push(event)
        return events
      })
      assert.deepStrictEqual(events.map(({ sequence_number }) => sequence_number), events.map((_, index) => index))
      const last: any = events.at(-1)
      assert.strictEqual(last.type, "response.failed")
      assert.strictEqual(last.response.status, "failed")
      assert.strictEqual(last.response.error.code, "server_error")
      assert.strictEqual(last.response.output[0].status, "incomplete")
      assert.notInclude(JSON.stringify(events), "secret")
      assert.strictEqual((yield* rejected(() => client.responses.retrieve(last.response.id))).status, 404)
      const failed = yield* call(() => client.responses.stream(ask).finalResponse())
      assert.strictEqual(failed.status, "failed")
      const error = yield* rejected(async () => {
        for await (const _ of await client.chat.completions.create({ ...chat, stream: true })) { /* to its end */ }
      })
      assert.instanceOf(error, APIError)
      assert.strictEqual(error.code, "model_overloaded")
    }))

  it.live("for want of an approval answers 409, which the client does not try again, and stores nothing", () =>
    Effect.gen(function*() {
      const Tools = Toolkit.make(
        Tool.make("pay", { parameters: Schema.Struct({}), success: Schema.String, needsApproval: true })
      )
      let paid = 0
      const handlers = yield* Layer.build(Tools.toLayer({ pay: () => Effect.sync(() => `${++paid}`) }))
      const Clerk = Agent.make({ name: "clerk", toolkit: Tools })
      let asked = 0
      const { url } = yield* Effect.provideContext(
        served({
          agents: { clerk: Clerk as Agent.Any as Agent.Agent<any, any, never> },
          script: () => {
            asked++
            return ModelScripted.calls([{ name: "pay", arguments: { secret } }])
          }
        }),
        handlers
      )
      const client = new OpenAI({ apiKey: "none", baseURL: url })
      const request = { model: "clerk", input: "Pay!", conversation: "c" }
      for (const stream of [false, true]) {
        const error = yield* rejected(() => client.responses.create({ ...request, stream }))
        assert.instanceOf(error, ConflictError)
        assert.strictEqual(error.code, "approval_required")
        assert.notInclude(JSON.stringify(error.error), "secret")
      }
      assert.deepStrictEqual([asked, paid], [2, 0])
    }))

  it.live("by an error or a defect of the agent itself answers 500 and says nothing of it", () =>
    Effect.gen(function*() {
      for (const instructions of [Effect.fail({ secret }), Effect.die(new Error(secret))]) {
        const agents = { broken: Agent.make({ name: "broken", instructions }) }
        const { url } = yield* served({ agents, script: [] })
        const error = yield* assertError(
          yield* post(`${url}/responses`, { ...ask, model: "broken" }),
          500,
          "run_failed"
        )
        assert.strictEqual(error.type, "server_error")
      }
    }))

  it.live("by a session that is down answers 503; a response that cannot be stored says so", () =>
    Effect.gen(function*() {
      const broken = (isBroken: (operation: "load" | "save", id: string) => boolean) =>
        Layer.effect(
          Session,
          Effect.map(Session, (session) => {
            const failing = Effect.fail(
              new SessionError.SessionError({
                backend: secret,
                operation: "loadItems",
                reason: new SessionError.Unavailable({ description: secret, isOutcomeUnknown: false })
              })
            )
            return Session.of({
              ...session,
              loadItems: (id, options) => isBroken("load", id) ? failing : session.loadItems(id, options),
              saveItems: (id, items, options) => isBroken("save", id) ? failing : session.saveItems(id, items, options)
            })
          })
        ).pipe(Layer.provide(Layer.fresh(SessionMemory.layer)))
      const down = yield* served({ session: broken((operation) => operation === "load") })
      yield* assertError(yield* post(`${down.url}/responses`, ask), 503, "session_unavailable")
      yield* assertError(yield* call(() => fetch(`${down.url}/responses/resp_1`)), 503, "session_unavailable")
      const half = yield* served({
        session: broken((operation, id) => operation === "save" && id.includes("/responses/"))
      })
      const response = yield* json(yield* post(`${half.url}/responses`, ask))
      assert.deepStrictEqual([response.status, response.store], ["completed", false])
    }))

  it.live("by its time answers 504", () =>
    Effect.gen(function*() {
      const { client, counts } = yield* served({ script: hanging, timeout: "100 millis" })
      const error = yield* rejected(() => client.responses.create(ask))
      assert.deepStrictEqual([error.status, error.code], [504, "timeout"])
      assert.strictEqual((yield* call(() => client.responses.stream(ask).finalResponse())).status, "failed")
      yield* until(counts, ({ running }) => running === 0)
    }))

  it.live("by a second run on its conversation answers 409, which the client tries again", () =>
    Effect.gen(function*() {
      const gate = yield* makeGate
      const { client, counts } = yield* served({ gate, script: () => ModelScripted.text("a") })
      const request = { ...ask, conversation: "c" }
      const first = yield* Effect.forkChild(call(() => client.responses.create(request)))
      yield* until(counts, ({ running }) => running === 1)
      const refused = yield* rejected(() => client.responses.create(request))
      yield* gate.open
      assert.strictEqual((yield* Fiber.join(first)).status, "completed")
      assert.deepStrictEqual([refused.status, refused.code], [409, "conversation_busy"])
      assert.strictEqual(refused.headers.get("x-should-retry"), "true")
    }))
})

describe("OpenAiHttp, when", () => {
  const aborted = (client: OpenAI, way: "responses" | "chat", stream: boolean) => {
    const controller = new AbortController()
    const options = { signal: controller.signal }
    const gone = way === "responses"
      ? client.responses.create({ ...ask, stream }, options)
      : client.chat.completions.create({ ...chat, stream }, options)
    const drained = (async () => {
      const answer: any = await gone
      if (stream) { for await (const _ of answer) { /* to its end */ } }
    })().catch(() => undefined)
    return { controller, drained }
  }

  for (const way of ["responses", "chat"] as const) {
    for (const stream of [false, true]) {
      it.live(`a client leaves, interrupts its model request (${way}, ${stream ? "" : "not "}streaming)`, () =>
        Effect.gen(function*() {
          const model = yield* Layer.build(ModelScripted.layer(() => hanging()))
          const { client, counts } = yield* serve(
            OpenAiHttp.layer({ agents: { assistant: Assistant } }).pipe(
              Layer.provide([Layer.fresh(SessionMemory.layer), Layer.succeedContext(model)])
            )
          )
          const { controller, drained } = aborted(client, way, stream)
          yield* until(counts, ({ running, subscribers }) => running === 1 && subscribers === (stream ? 1 : 0))
          yield* until(Effect.provideContext(ModelScripted.requests, model), ({ length }) => length === 1)
          controller.abort()
          yield* call(() => drained)
          yield* until(counts, ({ running, subscribers }) => running + subscribers === 0)
          assert.strictEqual(yield* Effect.provideContext(ModelScripted.aborted, model), 1)
        }))
    }
  }

  it.live("it drains, takes no new run and lets those that go on finish", () =>
    Effect.gen(function*() {
      const gate = yield* makeGate
      const { client, counts, drain } = yield* served({ gate, script: () => ModelScripted.text(["a", "b", "c"]) })
      const stream = busy(client)
      yield* until(counts, ({ subscribers }) => subscribers === 1)
      const draining = yield* Effect.forkChild(drain, { startImmediately: true })
      const error = yield* rejected(() => client.responses.create(ask))
      assert.deepStrictEqual([error.status, error.code], [503, "stopping"])
      assert.strictEqual(error.headers.get("retry-after"), "5")
      yield* gate.open
      yield* Fiber.join(draining)
      assert.deepStrictEqual(yield* counts, { running: 0, subscribers: 0 })
      assert.strictEqual((yield* call(() => stream.finalResponse())).output_text, "abc")
    }))

  it.live("it drains, interrupts what does not finish within drainTimeout, and ends its streams", () =>
    Effect.gen(function*() {
      const { client, counts, drain } = yield* served({ script: hanging, drainTimeout: "50 millis" })
      const stream = busy(client)
      const whole = yield* Effect.forkChild(rejected(() => client.chat.completions.create(chat)))
      yield* until(counts, ({ running, subscribers }) => running === 2 && subscribers === 1)
      yield* drain
      assert.deepStrictEqual(yield* counts, { running: 0, subscribers: 0 })
      const final = yield* call(() => stream.finalResponse())
      assert.strictEqual(final.status, "cancelled")
      assert.strictEqual((yield* Fiber.join(whole)).code, "stopped")
    }))

  it.live("its Layer closes, drains by itself", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { client, counts } = yield* Scope.provide(served({ script: hanging, drainTimeout: "50 millis" }), scope)
      busy(client)
      yield* until(counts, ({ running }) => running === 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* counts).running, 0)
    }))

  it.live("a client does not read, its run waits for it, and ends by its time", () =>
    Effect.gen(function*() {
      const big = "x".repeat(16 * 1024)
      const { counts, url } = yield* served({
        script: () => ModelScripted.text(Array.from({ length: 4000 }, () => big)),
        timeout: "3 seconds"
      })
      const response = yield* post(`${url}/responses`, { ...ask, store: false, stream: true })
      yield* until(counts, ({ running }) => running === 0)
      const text = yield* call(() => response.text())
      // Had the run not waited, it would have completed long before.
      assert.include(text, "event: response.failed\n")
      yield* until(counts, ({ subscribers }) => subscribers === 0)
    }))

  it("it is sent SIGTERM, finishes the stream that goes on and exits with 0", async () => {
    const child = spawnExample("openai-server", "--listen")
    const end = ended(child)
    try {
      const url = await new Promise<string>((resolve, reject) => {
        child.stdout?.on("data", (text: string) => {
          const found = /Listening on ([^,\s]+)/.exec(text)
          if (found !== null) resolve(found[1]!)
        })
        void end.then(({ stderr }) => reject(new Error(`it ended: ${stderr}`)))
      })
      const stream = busy(clientOf(url, "a-key-of-ours"), { model: "forecaster" })
      stream.once("response.output_text.delta", () => child.kill("SIGTERM"))
      assert.strictEqual((await stream.finalResponse()).output_text, "It is 3 degrees in Oslo.")
      const { code, stderr } = await end
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
    } finally {
      child.kill("SIGKILL")
      await end
    }
  }, 30_000)
})
