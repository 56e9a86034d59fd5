import { assert, describe, it } from "@effect/vitest"
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import * as Item from "agent-layers/services/Item"
import * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import type { ModelError, ModelErrorReason } from "agent-layers/services/ModelError"
import { isModelError } from "agent-layers/services/ModelError"
import { type Model, type ModelEvent, ModelProvider, type ModelRequest } from "agent-layers/services/ModelProvider"
import { Cause, Config, ConfigProvider, Duration, Effect, Exit, Fiber, Redacted, Stream } from "effect"
import { TestClock } from "effect/testing"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { vi } from "vitest"
import { describeLaws } from "../../support/laws.ts"
import * as LawSubject from "../../support/openai/lawSubject.ts"
import * as OpenAiPeer from "../../support/openai/OpenAiPeer.ts"
import { allowTimeFor, until } from "../../support/until.ts"

type Options = Partial<ModelOpenAIResponses.ModelOpenAIResponsesOptions>

const setup = Effect.fnUntraced(function*(options: Options = {}, peerOptions: OpenAiPeer.PeerOptions = {}) {
  const peer = yield* OpenAiPeer.makeWith(peerOptions)
  const provider = yield* ModelOpenAIResponses.make({
    apiKey: Redacted.make(peer.apiKey),
    baseURL: peer.url,
    model: "gpt-5-mini",
    ...options
  })
  return { peer, provider, model: yield* provider.getModel() }
})

const hello: ModelRequest = { input: "hello" }

const structured: ModelRequest = {
  input: "hello",
  outputSchema: {
    name: "answer",
    strict: true,
    schema: { type: "object", properties: { n: { type: "number" } }, required: ["n"], additionalProperties: false }
  }
}

const collect = (model: Model, request: ModelRequest) => Stream.runCollect(model.stream(request))

const failure = <A>(exit: Exit.Exit<A, ModelError>): ModelError => {
  if (Exit.isSuccess(exit)) return assert.fail("succeeded, and should have failed")
  const found = exit.cause.reasons.find(Cause.isFailReason)
  if (found === undefined) return assert.fail(Cause.pretty(exit.cause))
  assert.isTrue(isModelError(found.error))
  return found.error
}

const respondFailure = (model: Model, request: ModelRequest = hello) =>
  Effect.map(Effect.exit(model.respond(request)), failure)

/** What a stream gave before it failed, and why it failed. */
const streamFailure = Effect.fnUntraced(function*(model: Model, request: ModelRequest = hello) {
  const events: Array<ModelEvent> = []
  const exit = yield* Effect.exit(Stream.runForEach(model.stream(request), (event) =>
    Effect.sync(() => {
      events.push(event)
    })))
  return { events, error: failure(exit) }
})

describeLaws(
  "ModelOpenAIResponses",
  ModelProviderLaws.all,
  LawSubject.make((peer) =>
    ModelOpenAIResponses.make({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-5-mini" })
  )
)

describe("ModelOpenAIResponses", () => {
  describe("answers", () => {
    it.effect("at once and as a stream with the same response", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const reply = OpenAiPeer.items([
          OpenAiPeer.reasoningItem({ summary: ["because"], encrypted: "x" }),
          OpenAiPeer.messageItem("Hello there"),
          OpenAiPeer.callItem({ name: "add", arguments: { a: 1 }, callId: "call_1" })
        ], { id: "resp_same", ids: false, usage: { input: 10, output: 4, cached: 3, reasoning: 2 } })
        yield* peer.enqueue(reply, reply)
        const request = { ...hello, settings: { include: ["reasoning.encrypted_content"] } }
        const response = yield* model.respond(request)
        const events = yield* collect(model, request)
        const last = events.at(-1)!
        assert.strictEqual(last._tag, "Completed")
        assert.deepStrictEqual(last, { _tag: "Completed", response })
        assert.strictEqual(response.id, "resp_same")
        assert.strictEqual(response.model, "gpt-5-mini")
        assert.strictEqual(response.status, "completed")
        assert.isUndefined(response.incompleteReason)
        assert.deepStrictEqual(response.output.map((item) => item.type), ["reasoning", "message", "function_call"])
        assert.deepStrictEqual(response.usage, {
          requests: 1,
          inputTokens: 10,
          outputTokens: 4,
          totalTokens: 14,
          cachedTokens: 3,
          reasoningTokens: 2
        })
        assert.isTrue(response.output.every(Item.isItem))
        assert.isTrue(peer.request(1).body.stream)
        assert.isFalse(peer.request(0).body.stream)
      }))

    it.effect("with the deltas of each item in order, then the item, and one Completed at the end", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(
          OpenAiPeer.items([
            OpenAiPeer.reasoningItem({ summary: ["I think"] }),
            OpenAiPeer.messageItem("one two"),
            OpenAiPeer.callItem({ name: "add", arguments: "{\"a\": 1}", callId: "call_1" }),
            OpenAiPeer.refusalItem("no thanks")
          ])
        )
        const events = yield* collect(model, hello)
        const last = events.at(-1)!
        assert(last._tag === "Completed")
        const ids = last.response.output.map((item) => (item as Item.Other).id as string)
        const deltas = (tag: ModelEvent["_tag"], index: number, pieces: ReadonlyArray<string>) =>
          pieces.map((delta) => ({ _tag: tag, itemId: ids[index], delta }))
        const done = (index: number) => ({ _tag: "ItemDone", item: last.response.output[index] })
        assert.deepStrictEqual(events as ReadonlyArray<unknown>, [
          ...deltas("ReasoningDelta", 0, ["I", " think"]),
          done(0),
          ...deltas("TextDelta", 1, ["one", " two"]),
          done(1),
          ...["{\"a\":", " 1}"].map((delta) => ({
            _tag: "ToolCallDelta",
            itemId: ids[2],
            callId: "call_1",
            name: "add",
            delta
          })),
          done(2),
          ...deltas("RefusalDelta", 3, ["no", " thanks"]),
          done(3),
          last
        ])
        assert.strictEqual(Item.refusal(last.response.output[3]!), "no thanks")
      }))

    it.effect("with events that arrive together in one chunk", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const words = Array.from({ length: 500 }, (_, n) => `w${n} `)
        yield* peer.enqueue(OpenAiPeer.text(words))
        const sizes: Array<number> = []
        const text = yield* model.stream(hello).pipe(
          Stream.chunks,
          Stream.runFold(() => "", (text, chunk) => {
            sizes.push(chunk.length)
            return text + chunk.map((event) => event._tag === "TextDelta" ? event.delta : "").join("")
          })
        )
        assert.strictEqual(text, words.join(""))
        assert.isBelow(sizes.length, 100)
      }))

    it.effect("whatever the pieces, line ends and comments of the stream", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const text = "grüße, 世界 😀\r\n\n: no comment\ndata: no data"
        for (const splitBytes of [1, 3, 64]) {
          for (const crlf of [true, false]) {
            yield* peer.enqueue(OpenAiPeer.text(text, { splitBytes, crlf, comments: true }))
            const events = yield* collect(model, hello)
            const deltas = events.flatMap((event) => event._tag === "TextDelta" ? [event.delta] : [])
            assert.strictEqual(deltas.join(""), text)
            assert.strictEqual(events.at(-1)?._tag, "Completed")
          }
        }
      }))

    it.effect("with item types and events that this version does not know", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const strange = { type: "hologram_call", payload: { deep: [1, null] } }
        yield* peer.enqueue(
          OpenAiPeer.items([strange, OpenAiPeer.messageItem("ok")], {
            extraEvents: [{ type: "response.hologram.rendered", output_index: 0 }, { type: "keepalive" }]
          })
        )
        const events = yield* collect(model, hello)
        const last = events.at(-1)!
        assert(last._tag === "Completed")
        assert.deepInclude(last.response.output[0] as object, strange)
        assert.deepStrictEqual([...new Set(events.map((event) => event._tag))], ["ItemDone", "TextDelta", "Completed"])
      }))

    it.effect("that were cut off, as incomplete", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const reply = OpenAiPeer.incomplete("max_output_tokens", [OpenAiPeer.messageItem("cut o")])
        yield* peer.enqueue(reply, reply)
        const response = yield* model.respond(hello)
        assert.strictEqual(response.status, "incomplete")
        assert.strictEqual(response.incompleteReason, "max_output_tokens")
        const last = (yield* collect(model, hello)).at(-1)!
        assert(last._tag === "Completed")
        assert.strictEqual(last.response.incompleteReason, "max_output_tokens")
      }))

    it.effect("a refusal as an item where no output schema was given", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(OpenAiPeer.refusal("I will not"))
        const response = yield* model.respond(hello)
        assert.strictEqual(Item.refusal(response.output[0]!), "I will not")
      }))

    it.live("from the background, and cancels there when it is interrupted", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const request: ModelRequest = { ...hello, settings: { extra: { background: true } } }
        yield* peer.enqueue(OpenAiPeer.text("late", { background: 1 }), OpenAiPeer.text("never", { background: 1_000 }))
        assert.strictEqual(Item.text((yield* model.respond(request)).output[0]!), "late")
        assert.deepStrictEqual(peer.requests.map((request) => request.method), ["POST", "GET", "GET"])
        const fiber = yield* Effect.forkChild(model.respond(request))
        yield* peer.awaitRequests(5)
        yield* Fiber.interrupt(fiber)
        yield* peer.awaitRequests(6)
        assert.match(peer.request(5).path, /\/responses\/resp_\w+\/cancel$/)
      }))
  })

  describe("sends", () => {
    it.effect("every field of the request", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(OpenAiPeer.text("{\"n\":1}"))
        const parameters = {
          type: "object",
          properties: { a: { type: "number" } },
          required: ["a"],
          additionalProperties: false
        }
        yield* model.respond({
          instructions: "Be brief.",
          input: [Item.user("hi"), Item.assistant("hello"), Item.user("again")],
          settings: {
            temperature: 0.5,
            topP: 0.9,
            maxOutputTokens: 100,
            toolChoice: { tool: "add" },
            parallelToolCalls: false,
            reasoning: { effort: "low", summary: "auto" },
            verbosity: "low",
            truncation: "auto",
            store: true,
            metadata: { team: "a" },
            promptCacheKey: "key",
            include: ["message.output_text.logprobs"],
            extra: { service_tier: "flex", temperature: 0.7 }
          },
          tools: [
            { type: "function", name: "add", description: "Adds.", parameters, strict: true },
            { type: "function", name: "sub", parameters: { type: "object", properties: {} } },
            { type: "hosted", name: "search", definition: { type: "web_search", search_context_size: "low" } }
          ],
          outputSchema: structured.outputSchema,
          handoffs: [{ name: "transfer_to_helper", description: "Hands over.", parameters }],
          tracing: "disabled",
          prompt: { id: "pmpt_1", version: "2", variables: { who: "me" } }
        })
        assert.deepStrictEqual(peer.request(0).body, {
          model: "gpt-5-mini",
          input: [
            { type: "message", role: "user", content: "hi" },
            {
              type: "message",
              role: "assistant",
              status: "completed",
              content: [{ type: "output_text", text: "hello", annotations: [] }]
            },
            { type: "message", role: "user", content: "again" }
          ],
          instructions: "Be brief.",
          prompt: { id: "pmpt_1", version: "2", variables: { who: "me" } },
          tools: [
            { type: "function", name: "add", description: "Adds.", parameters, strict: true },
            { type: "function", name: "sub", parameters: { type: "object", properties: {} }, strict: false },
            { type: "web_search", search_context_size: "low" },
            { type: "function", name: "transfer_to_helper", description: "Hands over.", parameters, strict: false }
          ],
          tool_choice: { type: "function", name: "add" },
          parallel_tool_calls: false,
          temperature: 0.7,
          top_p: 0.9,
          max_output_tokens: 100,
          truncation: "auto",
          store: true,
          metadata: { team: "a" },
          prompt_cache_key: "key",
          reasoning: { effort: "low", summary: "auto" },
          include: ["message.output_text.logprobs"],
          text: {
            verbosity: "low",
            format: {
              type: "json_schema",
              name: "answer",
              schema: structured.outputSchema!.schema as OpenAiPeer.JsonObject,
              strict: true
            }
          },
          service_tier: "flex",
          stream: false
        })
      }))

    it.effect("what goes on from a response or a conversation at the provider", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(OpenAiPeer.text("one"), OpenAiPeer.text("two"), OpenAiPeer.text("three"))
        const first = yield* model.respond(hello)
        yield* model.respond({ input: "more", previousResponseId: first.id })
        assert.strictEqual(peer.request(1).body.previous_response_id, first.id)
        assert.strictEqual(peer.request(1).body.input, "more")
        const id = yield* peer.createConversation()
        yield* model.respond({ input: [Item.user("kept")], conversationId: id })
        assert.strictEqual(peer.conversationItems(id).length, 2)
      }))

    it.effect("an answer's own items back, with reasoning and calls, as the service wants them", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(
          OpenAiPeer.reasoned({ encrypted: "x", summary: ["hm"] }, [
            OpenAiPeer.messageItem("Let me see", { phase: "commentary" }),
            OpenAiPeer.callItem({ name: "add", arguments: {}, callId: "call_1" })
          ]),
          OpenAiPeer.text("3")
        )
        const settings = { store: false, reasoning: { effort: "low" as const } }
        const first = yield* model.respond({ input: [Item.user("1 + 2?")], settings })
        // Where nothing is kept, reasoning is asked for in its encrypted form, or it could not be sent back.
        assert.deepStrictEqual(peer.request(0).body.include, ["reasoning.encrypted_content"])
        const second = yield* model.respond({
          input: [Item.user("1 + 2?"), ...first.output, Item.functionCallOutput("call_1", "3")],
          settings
        })
        assert.strictEqual(Item.text(second.output[0]!), "3")
        assert.deepStrictEqual(peer.request(1).input.slice(1, 4), first.output as ReadonlyArray<any>)
      }))

    it.effect("only documented fields of the types that it knows, and other types as they are", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup({}, { strict: false })
        yield* peer.enqueue(OpenAiPeer.text("ok"))
        const strange = { type: "brand_new", id: "x", anything: { goes: true } }
        const clean = { type: "function_call_output", call_id: "call_1", output: "1" }
        yield* model.respond({
          input: [
            { role: "user", content: "x", runId: "r1", createdAt: 1 },
            {
              type: "message",
              role: "assistant",
              id: "msg_1",
              phase: null,
              status: "completed",
              content: [{ type: "output_text", text: "y", annotations: [], parsed: { n: 1 } }, { type: "odd", x: 1 }],
              output_text: "y"
            },
            {
              type: "function_call",
              id: "fc_1",
              call_id: "call_1",
              name: "add",
              arguments: "{}",
              parsed_arguments: {}
            },
            clean,
            strange
          ]
        })
        assert.deepStrictEqual(peer.request(0).input as ReadonlyArray<unknown>, [
          { role: "user", content: "x" },
          {
            type: "message",
            role: "assistant",
            id: "msg_1",
            status: "completed",
            content: [{ type: "output_text", text: "y", annotations: [] }, { type: "odd", x: 1 }]
          },
          { type: "function_call", id: "fc_1", call_id: "call_1", name: "add", arguments: "{}" },
          clean,
          strange
        ])
      }))

    it.effect("nothing that another provider made and the service cannot read", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(OpenAiPeer.text("ok"))
        const input: ReadonlyArray<Item.Item> = [
          Item.user("x"),
          { type: "reasoning", id: "think_1", summary: [], encrypted_content: "signature" },
          { type: "function_call", id: "toolu_1", call_id: "toolu_1", name: "add", arguments: "{}" },
          Item.functionCallOutput("toolu_1", "1"),
          { type: "reasoning", summary: [{ type: "summary_text", text: "only words" }] },
          { type: "message", role: "assistant", id: "gen-1", content: [{ type: "output_text", text: "y" }] },
          { type: "web_search_call", id: "srv_1", status: "completed", action: {} },
          { type: "compaction", id: "cmp_1", encrypted_content: "other" },
          { type: "mcp_approval_request", id: "ask_1", name: "n", arguments: "{}", server_label: "s" },
          { type: "mcp_approval_response", approval_request_id: "ask_1", approve: true },
          Item.user("z")
        ]
        yield* model.respond({ input })
        assert.deepStrictEqual(peer.request(0).input as ReadonlyArray<unknown>, [
          Item.user("x"),
          { type: "function_call", call_id: "toolu_1", name: "add", arguments: "{}" },
          Item.functionCallOutput("toolu_1", "1"),
          { type: "message", role: "assistant", content: [{ type: "output_text", text: "y" }] },
          Item.user("z")
        ])
        const other = yield* setup({ provider: "elsewhere" }, { strict: false })
        yield* other.peer.enqueue(OpenAiPeer.text("ok"))
        yield* other.model.respond({ input })
        assert.deepStrictEqual(other.peer.request(0).input as ReadonlyArray<unknown>, input)
        assert.strictEqual(other.model.provider, "elsewhere")
      }))

    it.effect("no reasoning that a service which keeps nothing could not look up", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(OpenAiPeer.text("ok"))
        yield* model.respond({
          input: [
            Item.user("x"),
            { type: "reasoning", id: "rs_1", summary: [] },
            { type: "message", role: "assistant", id: "msg_1", content: [{ type: "output_text", text: "y" }] },
            Item.user("z")
          ],
          settings: { store: false }
        })
        assert.deepStrictEqual(peer.request(0).input.map((item) => [item.type, item.id]), [
          ["message", undefined],
          ["message", undefined],
          ["message", undefined]
        ])
      }))

    it.effect("strict schemas closed where they say nothing, also further in", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(OpenAiPeer.text("{}"))
        const inner = { type: "object", properties: { b: { type: "string" } }, required: ["b"] }
        const schema = {
          type: "object",
          properties: { list: { type: "array", items: inner }, either: { anyOf: [inner, { type: "null" }] } },
          required: ["list", "either"],
          $defs: { Inner: inner, Empty: { type: "object" } }
        }
        yield* model.respond({
          input: "x",
          outputSchema: { name: "out", schema, strict: true },
          tools: [{ type: "function", name: "none", parameters: {}, strict: true }]
        })
        assert.strictEqual(peer.request(0).status, 200)
        // The caller's own object is left alone.
        assert.notProperty(inner, "additionalProperties")
      }))

    it.effect("the choice of a hosted tool by its type", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup({}, { strict: false })
        const tools: ModelRequest["tools"] = [
          { type: "hosted", name: "web", definition: { type: "web_search" } },
          { type: "hosted", name: "docs", definition: { type: "mcp", server_label: "docs", server_url: "https://x" } },
          { type: "hosted", name: "run", definition: { type: "custom", name: "run_sql" } }
        ]
        for (
          const [tool, choice] of [
            ["web", { type: "web_search" }],
            ["docs", { type: "mcp", server_label: "docs" }],
            ["run", { type: "custom", name: "run_sql" }],
            ["transfer", { type: "function", name: "transfer" }]
          ] as const
        ) {
          yield* peer.enqueue(OpenAiPeer.text("ok"))
          yield* model.respond({ ...hello, tools, settings: { toolChoice: { tool } } })
          assert.deepStrictEqual(peer.requests.at(-1)!.body.tool_choice, choice)
        }
      }))

    it.effect("default settings, under those of the request", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup({
          defaultSettings: { temperature: 0.1, topP: 0.5, extra: { user: "a", service_tier: "flex" } }
        })
        yield* peer.enqueue(OpenAiPeer.text("ok"))
        yield* model.respond({
          ...hello,
          settings: {
            temperature: 0.9,
            topP: undefined,
            verbosity: "high",
            extra: { user: "b", text: { format: { type: "text" } } }
          }
        })
        assert.deepInclude(peer.request(0).body, {
          temperature: 0.9,
          top_p: 0.5,
          user: "b",
          service_tier: "flex",
          text: { verbosity: "high", format: { type: "text" } }
        })
      }))

    it.effect("key, organization, project and headers, and nothing from the environment", () =>
      Effect.gen(function*() {
        const names = ["OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_API_KEY"]
        const before = names.map((name) => process.env[name])
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            for (const name of names) process.env[name] = "http://127.0.0.1:1/from-the-environment"
          }),
          () =>
            Effect.sync(() => {
              for (const [n, name] of names.entries()) {
                if (before[n] === undefined) delete process.env[name]
                else process.env[name] = before[n]
              }
            })
        )
        const plain = yield* setup()
        yield* plain.peer.enqueue(OpenAiPeer.text("ok"))
        yield* plain.model.respond(hello)
        assert.notInclude(JSON.stringify(plain.peer.request(0).headers), "from-the-environment")
        const { model, peer } = yield* setup({
          organization: "org-1",
          project: "proj-1",
          headers: { "x-team": "blue" }
        })
        yield* peer.enqueue(OpenAiPeer.text("ok"))
        yield* model.respond(hello)
        assert.deepInclude(peer.request(0).headers, {
          authorization: "Bearer sk-peer",
          "openai-organization": "org-1",
          "openai-project": "proj-1",
          "x-team": "blue"
        })
      }))
  })

  describe("fails with", () => {
    const cases: ReadonlyArray<
      readonly [name: string, reply: OpenAiPeer.Reply, tag: ModelErrorReason["_tag"], request?: ModelRequest]
    > = [
      ["429", OpenAiPeer.rateLimited(), "RateLimited"],
      ["429 without credit", OpenAiPeer.quotaExceeded, "QuotaExceeded"],
      ["402", OpenAiPeer.httpError(402, { message: "pay" }), "QuotaExceeded"],
      ["500", OpenAiPeer.serverError(500), "Overloaded"],
      ["503", OpenAiPeer.serverError(503), "Overloaded"],
      ["409", OpenAiPeer.httpError(409, { message: "busy" }), "Overloaded"],
      ["a busy conversation", OpenAiPeer.httpError(400, { message: "x", code: "conversation_locked" }), "Overloaded"],
      ["408", OpenAiPeer.httpError(408, { message: "slow" }), "Timeout"],
      ["a cut before the headers", OpenAiPeer.text("x", { cutBeforeHeaders: true }), "Transport"],
      ["a cut in the body", OpenAiPeer.text("x", { cutAfterBytes: 40 }), "Transport"],
      ["401", OpenAiPeer.httpError(401, { message: "no", code: "invalid_api_key" }), "Authentication"],
      ["403", OpenAiPeer.httpError(403, { message: "not here" }), "Authentication"],
      ["400", OpenAiPeer.httpError(400, { message: "wrong", param: "input[0].foo" }), "InvalidRequest"],
      ["422", OpenAiPeer.httpError(422, { message: "wrong" }), "InvalidRequest"],
      ["too long a context", OpenAiPeer.contextLengthExceeded, "ContextLengthExceeded"],
      [
        "too long a context in other words",
        OpenAiPeer.http(400, "{\"message\":\"This model's maximum context length is 8192 tokens\"}"),
        "ContextLengthExceeded"
      ],
      ["a content filter", OpenAiPeer.httpError(400, { message: "x", code: "content_filter" }), "ContentFiltered"],
      ["a flagged prompt", OpenAiPeer.failed("invalid_prompt", "flagged"), "ContentFiltered"],
      ["a cut-off structured answer", OpenAiPeer.incomplete("max_output_tokens", []), "InvalidOutput", structured],
      ["a filtered structured answer", OpenAiPeer.incomplete("content_filter", []), "ContentFiltered", structured],
      ["a refusal of a structured answer", OpenAiPeer.refusal("I will not"), "Refused", structured],
      ["404 for a model", OpenAiPeer.httpError(404, { message: "no", code: "model_not_found" }), "UnknownModel"],
      ["400 for a model", OpenAiPeer.httpError(400, { message: "no", code: "model_not_found" }), "UnknownModel"],
      ["404 for a model in other words", OpenAiPeer.http(404, "{\"error\":\"model 'x' not found\"}"), "UnknownModel"],
      ["404 for something else", OpenAiPeer.httpError(404, { message: "no such prompt" }), "InvalidRequest"],
      ["a page", OpenAiPeer.http(200, "<html>", { headers: { "content-type": "text/html" } }), "InvalidOutput"],
      ["JSON that is cut off", OpenAiPeer.http(200, "{\"id\":"), "InvalidOutput"],
      ["JSON of something else", OpenAiPeer.http(200, "{\"choices\":[]}"), "InvalidOutput"],
      ["an output that holds no item", OpenAiPeer.http(200, "{\"output\":[\"text\"]}"), "InvalidOutput"],
      ["an error with status 200", OpenAiPeer.http(200, "{\"error\":{\"message\":\"x\"}}"), "Overloaded"],
      ["a failed response", OpenAiPeer.failed("server_error", "it broke"), "Overloaded"],
      ["a rate limit inside the answer", OpenAiPeer.failed("rate_limit_exceeded", "slow down"), "RateLimited"],
      ["a bad image", OpenAiPeer.failed("image_too_large", "too large"), "InvalidRequest"],
      ["a slow vector store", OpenAiPeer.failed("vector_store_timeout", "slow"), "Timeout"],
      ["a cancelled response", OpenAiPeer.http(200, "{\"status\":\"cancelled\",\"output\":[]}"), "Overloaded"],
      ["a pending response without id", OpenAiPeer.http(200, "{\"status\":\"queued\",\"output\":[]}"), "InvalidOutput"]
    ]
    for (const [name, reply, tag, request] of cases) {
      it.effect(`${tag} for ${name}`, () =>
        Effect.gen(function*() {
          const { model, peer } = yield* setup()
          yield* peer.enqueue(reply, reply)
          const error = yield* respondFailure(model, request)
          assert.strictEqual(error.reason._tag, tag, error.message)
          assert.isFalse(error.reason.isPartial)
          assert.strictEqual(error.provider, "openai")
          assert.strictEqual(error.model, "gpt-5-mini")
          // A refused structured answer was shown before it was known to be one.
          const streamed = yield* streamFailure(model, request)
          assert.strictEqual(streamed.error.reason._tag, tag, streamed.error.message)
          assert.strictEqual(streamed.error.reason.isPartial, streamed.events.length > 0)
          assert.strictEqual(peer.requests.length, 2)
        }))
    }

    it.effect("the description, parameter, status and request id that the provider gave", () =>
      Effect.gen(function*() {
        const { model } = yield* setup()
        const error = yield* respondFailure(model, { input: [Item.functionCallOutput("call_9", "x")] })
        assert(error.reason._tag === "InvalidRequest")
        assert.strictEqual(error.reason.param, "input")
        assert.strictEqual(error.reason.status, 400)
        assert.strictEqual(error.reason.requestId, "req_0")
        assert.strictEqual(
          error.message,
          "openai (gpt-5-mini): Invalid request: No tool call found for function call output with call_id call_9."
        )
      }))

    it.effect("the texts of servers that have their own shape of errors", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const bodies: ReadonlyArray<readonly [body: string, text: string]> = [
          ["{\"message\":\"flat\",\"code\":7}", "flat"],
          ["{\"detail\":\"unprocessable\"}", "unprocessable"],
          ["{\"detail\":[{\"loc\":[\"body\"],\"msg\":\"field required\"}]}", "field required"],
          ["{\"error\":\"in a string\"}", "in a string"],
          ["[{\"error\":{\"message\":\"in a list\",\"code\":400,\"status\":\"INVALID_ARGUMENT\"}}]", "in a list"],
          ["plain text", "plain text"],
          ["", "status 400"]
        ]
        for (const [body, text] of bodies) {
          yield* peer.enqueue(OpenAiPeer.http(400, body, { headers: { "content-type": "text/plain" } }))
          assert.include((yield* respondFailure(model)).message, text)
        }
      }))

    it.effect("but not what a server says again of the conversation", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const said = "what a user said"
        const issue = {
          type: "missing",
          loc: ["body", "model"],
          msg: "Field required",
          input: { input: said },
          ctx: { said }
        }
        for (
          const body of [{ detail: [issue] }, { detail: { ...issue, body: said } }, { error: { message: [issue] } }]
        ) {
          yield* peer.enqueue(OpenAiPeer.http(422, JSON.stringify(body)))
          const { message } = yield* respondFailure(model)
          assert.include(message, "Field required")
          assert.notInclude(message, said)
        }
      }))

    it.effect("the time to wait, from milliseconds, seconds and a date", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(Date.parse("2026-01-01T00:00:00Z"))
        const { model, peer } = yield* setup()
        const after = Effect.fnUntraced(function*(headers: Record<string, string>, status = 429) {
          yield* peer.enqueue(OpenAiPeer.httpError(status, { message: "wait" }, { headers }))
          const { reason } = yield* respondFailure(model)
          assert(reason._tag === "RateLimited" || reason._tag === "Overloaded")
          return reason.retryAfter === undefined ? undefined : Duration.toMillis(reason.retryAfter)
        })
        assert.strictEqual(yield* after({ "retry-after": "2" }), 2_000)
        assert.strictEqual(yield* after({ "retry-after": "0.5" }), 500)
        assert.strictEqual(yield* after({ "retry-after": "2", "retry-after-ms": "1500" }), 1_500)
        assert.strictEqual(yield* after({ "retry-after": "1", "retry-after-ms": "0" }), 1_000)
        assert.strictEqual(yield* after({ "retry-after": "Thu, 01 Jan 2026 00:00:30 GMT" }), 30_000)
        assert.strictEqual(yield* after({ "retry-after": "Wed, 31 Dec 2025 00:00:00 GMT" }), 0)
        assert.strictEqual(yield* after({ "retry-after": "3" }, 503), 3_000)
        assert.isUndefined(yield* after({ "retry-after": "soon" }))
        assert.isUndefined(yield* after({}))
      }))

    it.effect("Authentication for a wrong key, which no message repeats", () =>
      Effect.gen(function*() {
        const key = "sk-canary-4711"
        const { model, peer } = yield* setup({ apiKey: Redacted.make(key) })
        const error = yield* respondFailure(model)
        assert.strictEqual(error.reason._tag, "Authentication")
        assert.strictEqual(peer.request(0).status, 401)
        const echo = yield* setup({ apiKey: Redacted.make(key) }, { apiKey: key })
        yield* echo.peer.enqueue(
          OpenAiPeer.http(401, `{"message":"bad key ${key}"}`),
          OpenAiPeer.failed("server_error", `bad key ${key}`),
          OpenAiPeer.text("x", { errorEvent: { after: 2, message: `bad key ${key}` } })
        )
        const errors = [
          yield* respondFailure(echo.model),
          yield* respondFailure(echo.model),
          (yield* streamFailure(echo.model)).error,
          yield* respondFailure((yield* setup({ apiKey: Redacted.make(`${key}\n`) })).model)
        ]
        for (const error of errors) {
          assert.notInclude(JSON.stringify(error) + error.message + Cause.pretty(Cause.fail(error)), "canary")
        }
        assert.include(errors[0]!.message, "bad key <redacted>")
      }))

    it.effect("Transport where nobody listens, InvalidRequest where nobody can", () =>
      Effect.gen(function*() {
        const port = yield* Effect.promise(() =>
          new Promise<number>((resolve) => {
            const server = createServer().listen(0, "127.0.0.1", () => {
              const { port } = server.address() as AddressInfo
              server.close(() => resolve(port))
            })
          })
        )
        const reasonAt = (baseURL: string) =>
          Effect.gen(function*() {
            const provider = yield* ModelOpenAIResponses.make({ apiKey: Redacted.make("sk"), baseURL })
            return (yield* respondFailure(yield* provider.getModel())).reason
          })
        const nobody = yield* reasonAt(`http://127.0.0.1:${port}/v1`)
        assert.deepStrictEqual([nobody._tag, nobody.isRetryable], ["Transport", true])
        const refused = yield* reasonAt("http://127.0.0.1:9/v1")
        assert.deepStrictEqual([refused._tag, refused.isRetryable], ["InvalidRequest", false])
      }))

    it.effect("InvalidRequest for what cannot be written as JSON", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const error = yield* respondFailure(model, { ...hello, settings: { extra: { n: 1n } } })
        assert.strictEqual(error.reason._tag, "InvalidRequest")
        assert.strictEqual(peer.requests.length, 0)
      }))

    it.live("Timeout for an answer, a first event and a next event that do not come", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup({ timeout: "1 second" })
        yield* peer.enqueue(
          OpenAiPeer.text("x", { hangBeforeHeaders: true }),
          OpenAiPeer.text("x", { hangBeforeHeaders: true }),
          OpenAiPeer.text("a b c", { hangAfterEvents: 5 })
        )
        const error = yield* respondFailure(model)
        assert.strictEqual(error.reason._tag, "Timeout")
        assert.strictEqual((yield* streamFailure(model)).error.reason._tag, "Timeout")
        const { error: late, events } = yield* streamFailure(model)
        assert.strictEqual(late.reason._tag, "Timeout")
        assert.deepStrictEqual(events.map((event) => event._tag), ["TextDelta"])
        assert.isTrue(late.reason.isPartial)
        yield* peer.awaitAborted(3)
      }))

    it.effect("InvalidRequest for options that the client does not take, when the provider is built", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(ModelOpenAIResponses.make({ apiKey: Redacted.make("") }))
        assert.strictEqual(failure(exit).reason._tag, "InvalidRequest")
      }))

    it.effect("InvalidRequest for an option that cannot be, when the provider is built, without showing it", () =>
      Effect.gen(function*() {
        const messageOf = (options: { readonly apiKey?: string; readonly baseURL?: string }) =>
          Effect.map(
            Effect.exit(ModelOpenAIResponses.make({ ...options, apiKey: Redacted.make(options.apiKey ?? "any") })),
            (exit) => {
              const error = failure(exit)
              assert.strictEqual(error.reason._tag, "InvalidRequest")
              assert.notInclude(error.message, "canary")
              return error.message
            }
          )
        assert.include(yield* messageOf({ apiKey: "" }), "apiKey is empty")
        assert.include(yield* messageOf({ baseURL: "https://ada:canary@localhost/v1" }), "user name or password")
        for (const baseURL of ["localhost:4010/v1", "canary", "", "ftp://localhost/v1"]) {
          assert.include(yield* messageOf({ baseURL }), "no address of a server")
        }
      }))

    it.effect("InvalidRequest that doubts the base URL, where a path is not found", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(OpenAiPeer.http(404, JSON.stringify({ detail: "Not Found" })))
        const error = yield* respondFailure(model)
        assert.strictEqual(error.reason._tag, "InvalidRequest")
        assert.include(error.message, "check the base URL")
      }))

    it.effect("Unsupported where the openai package is not installed, when the provider is built", () =>
      Effect.gen(function*() {
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            vi.resetModules()
            vi.doMock("openai", () => {
              throw new Error("Cannot find package 'openai'")
            })
          }),
          () =>
            Effect.sync(() => {
              vi.doUnmock("openai")
              vi.resetModules()
            })
        )
        const fresh = yield* Effect.promise(() => import("agent-layers/layers/model/ModelOpenAIResponses"))
        const exit = yield* Effect.exit(fresh.make({ apiKey: Redacted.make("sk") }))
        const error = failure(exit)
        assert.strictEqual(error.reason._tag, "Unsupported")
        assert.include(error.message, "npm install openai")
      }))
  })

  describe("a stream", () => {
    it.effect("that ends without its last event fails, before and after something was visible", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(
          OpenAiPeer.text("almost", { terminal: false }),
          OpenAiPeer.items([], { terminal: false }),
          OpenAiPeer.http(200, "", { headers: { "content-type": "text/event-stream" } })
        )
        const first = yield* streamFailure(model)
        assert.strictEqual(first.error.reason._tag, "Transport")
        assert.isTrue(first.error.reason.isPartial)
        assert.deepStrictEqual(first.events.map((event) => event._tag), ["TextDelta", "ItemDone"])
        for (let n = 0; n < 2; n++) {
          const { error } = yield* streamFailure(model)
          assert.strictEqual(error.reason._tag, "Transport")
          assert.isFalse(error.reason.isPartial)
        }
      }))

    it.effect("that is cut says whether anything was visible, wherever the cut is", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(OpenAiPeer.text("some words to cut"))
        yield* collect(model, hello)
        let partial = 0
        for (let cutAfterBytes = 1; cutAfterBytes < 6_000; cutAfterBytes += 331) {
          yield* peer.enqueue(OpenAiPeer.text("some words to cut", { cutAfterBytes, splitBytes: 500 }))
          const exit = yield* Effect.exit(streamFailure(model))
          if (Exit.isFailure(exit)) break
          const { error, events } = exit.value
          assert.strictEqual(error.reason._tag, "Transport")
          assert.strictEqual(error.reason.isPartial, events.length > 0)
          if (events.length > 0) partial++
        }
        assert.isAbove(partial, 0)
      }))

    it.effect("fails with an in-band error after the events before it, in either shape", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        for (const nested of [false, true]) {
          yield* peer.enqueue(
            OpenAiPeer.text("a b c", {
              errorEvent: { after: 5, code: "rate_limit_exceeded", message: "slow", nested }
            }),
            OpenAiPeer.text("a b c", { errorEvent: { after: 2, code: "server_error", message: "down", nested } })
          )
          const late = yield* streamFailure(model)
          assert.deepStrictEqual(late.events.map((event) => event._tag), ["TextDelta"])
          assert.strictEqual(late.error.reason._tag, "RateLimited")
          assert.isTrue(late.error.reason.isPartial)
          assert.include(late.error.message, "slow")
          const early = yield* streamFailure(model)
          assert.strictEqual(early.error.reason._tag, "Overloaded")
          assert.isFalse(early.error.reason.isPartial)
        }
      }))

    it.effect("of a server that answers at once is the answer at once", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(OpenAiPeer.http(200, JSON.stringify({ output: [{ role: "assistant", content: "hi" }] })))
        const events = yield* collect(model, hello)
        assert.deepStrictEqual(events.map((event) => event._tag), ["ItemDone", "Completed"])
      }))

    it.effect("is read to its end, so that the connection serves the next request", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        for (let n = 0; n < 5; n++) {
          yield* peer.enqueue(OpenAiPeer.text("a b c d"))
          yield* collect(model, hello)
        }
        yield* peer.awaitIdle
        assert.strictEqual(peer.aborted(), 0)
        // The client may not have the connection back yet when the next request comes at once; then there are two.
        assert.isAtMost(new Set(peer.requests.map((request) => request.connection)).size, 2)
      }))

    it.effect("gives what it has while the rest is on its way", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(OpenAiPeer.text(["first", " second"], { hangAfterEvents: 5 }))
        const first = yield* Stream.runHead(model.stream(hello))
        assert.deepInclude(first, { _tag: "Some" })
        yield* peer.awaitAborted(1)
      }))
  })

  describe("interruption", () => {
    it.effect("aborts a request that has no answer yet", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const waiting = [
          model.respond(hello),
          Stream.runDrain(model.stream(hello)),
          Effect.timeoutOption(model.respond(hello), "1 second")
        ]
        for (const [n, effect] of waiting.entries()) {
          yield* peer.enqueue(OpenAiPeer.text("x", { hangBeforeHeaders: true }))
          const fiber = yield* Effect.forkChild(effect)
          yield* peer.awaitRequests(n + 1)
          if (n === 2) yield* TestClock.adjust("1 second")
          else yield* Fiber.interrupt(fiber)
          yield* peer.awaitAborted(n + 1)
        }
      }))

    it.effect("aborts an answer that has begun", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(
          OpenAiPeer.text("x", { hangAfterEvents: 0 }),
          OpenAiPeer.text("x y", { hangAfterEvents: 5 })
        )
        for (const [n, effect] of [model.respond(hello), Stream.runDrain(model.stream(hello))].entries()) {
          const fiber = yield* Effect.forkChild(effect)
          yield* peer.awaitRequests(n + 1)
          yield* until(() => peer.request(n).status, (status) => status === 200)
          yield* allowTimeFor("the first events to arrive", 20)
          yield* Fiber.interrupt(fiber)
          yield* peer.awaitAborted(n + 1)
        }
      }))

    it.effect("by leaving a stream early aborts it too", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(OpenAiPeer.text("a b c d e f", { delayEvents: 5 }))
        const events = yield* Stream.runCollect(Stream.take(model.stream(hello), 2))
        assert.strictEqual(events.length, 2)
        yield* peer.awaitAborted(1)
        assert.isTrue(peer.request(0).aborted)
      }))

    it.live("at any moment leaves no request behind", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.respond(() => OpenAiPeer.text("a b c d e f g h", { delayHeaders: 2, delayEvents: 1 }))
        yield* model.respond(hello)
        // Moments are spread over as long as eight requests at once take on this machine, now.
        const [whole] = yield* Effect.timed(
          Effect.forEach(Array.from({ length: 8 }), () => Stream.runDrain(model.stream(hello)), {
            concurrency: 8,
            discard: true
          })
        )
        yield* Effect.forEach(
          Array.from({ length: 40 }, (_, n) => n),
          (n) =>
            Effect.timeoutOption(
              n % 2 === 0 ? Stream.runDrain(model.stream(hello)) : Effect.asVoid(model.respond(hello)),
              Duration.times(whole, n / 40)
            ),
          { concurrency: 8, discard: true }
        )
        yield* peer.awaitIdle
        assert.isAbove(peer.aborted(), 0)
        const after = yield* model.respond(hello)
        assert.strictEqual(Item.text(after.output[0]!), "a b c d e f g h")
      }))

    it.effect("is not seen by other requests of the same provider", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.respond((request) =>
          OpenAiPeer.text(String(request.body.input), request.body.input === "stuck" ? { hangBeforeHeaders: true } : {})
        )
        const stuck = yield* Effect.forkChild(model.respond({ input: "stuck" }))
        yield* peer.awaitRequests(1)
        const others = yield* Effect.forEach(["a", "b", "c"], (input) => model.respond({ input }), { concurrency: 3 })
        yield* Fiber.interrupt(stuck)
        assert.deepStrictEqual(others.map((response) => Item.text(response.output[0]!)), ["a", "b", "c"])
        yield* peer.awaitAborted(1)
      }))
  })

  describe("compatible servers", () => {
    const sse = (...events: ReadonlyArray<object>) =>
      OpenAiPeer.http(200, events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(""), {
        headers: { "content-type": "text/event-stream" }
      })

    it.effect("may leave out ids, usage, indexes and status", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const call = { type: "function_call", name: "add", arguments: { a: 1 } }
        const body = {
          output: [
            { type: "reasoning" },
            { role: "assistant", content: null },
            call,
            call
          ]
        }
        yield* peer.enqueue(
          OpenAiPeer.http(200, JSON.stringify(body)),
          sse(
            { type: "response.output_item.added", item: { type: "message" } },
            { type: "response.output_text.delta", delta: "hi" },
            { type: "response.output_item.added", item: { type: "function_call", name: "add" } },
            { type: "response.function_call_arguments.delta", delta: "{}" },
            { type: "response.completed", response: { output: [{ role: "assistant", content: "hi" }, call] } }
          )
        )
        const response = yield* model.respond(hello)
        assert.isTrue(response.output.every(Item.isItem))
        assert.deepStrictEqual(response.usage, {
          requests: 1,
          inputTokens: 0,
          outputTokens: 0,
          totalTokens: 0,
          cachedTokens: 0,
          reasoningTokens: 0
        })
        const calls = response.output.filter((item) => Item.isFunctionCall(item))
        assert.strictEqual(new Set(calls.map((item) => item.call_id)).size, 2)
        assert.strictEqual(calls[0]!.arguments, "{\"a\":1}")
        const events = yield* collect(model, hello)
        assert.deepStrictEqual(events.map((event) => event._tag), [
          "TextDelta",
          "ToolCallDelta",
          "ItemDone",
          "ItemDone",
          "Completed"
        ])
        const [text, delta, , done] = events
        assert(text?._tag === "TextDelta" && delta?._tag === "ToolCallDelta" && done?._tag === "ItemDone")
        assert.notStrictEqual(text.itemId, delta.itemId)
        assert.strictEqual(delta.name, "add")
        assert.strictEqual((done.item as Item.FunctionCall).call_id, delta.callId)
      }))

    it.effect("may end with [DONE], without a blank line, or with an output that is empty", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const item = { type: "message", role: "assistant", content: [{ type: "output_text", text: "hi" }] }
        const done = { type: "response.output_item.done", output_index: 0, item }
        const completed = { type: "response.completed", response: { output: [] } }
        const text = [done, completed].map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")
        const headers = { "content-type": "text/event-stream" }
        yield* peer.enqueue(
          OpenAiPeer.http(200, `${text}data: [DONE]\n\n`, { headers }),
          OpenAiPeer.http(200, text.trimEnd(), { headers })
        )
        for (let n = 0; n < 2; n++) {
          const last = (yield* collect(model, hello)).at(-1)!
          assert(last._tag === "Completed")
          assert.deepStrictEqual(last.response.output as ReadonlyArray<unknown>, [item])
        }
      }))

    it.effect("that send what is no JSON are found out", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(
          OpenAiPeer.http(200, "data: {oops\n\n", { headers: { "content-type": "text/event-stream" } }),
          OpenAiPeer.http(200, "data: {\"error\":{\"message\":\"no type\"}}\n\n", {
            headers: { "content-type": "text/event-stream" }
          })
        )
        assert.strictEqual((yield* streamFailure(model)).error.reason._tag, "InvalidOutput")
        assert.include((yield* streamFailure(model)).error.message, "no type")
      }))
  })

  describe("layers", () => {
    it.effect("layer gives the default model and any other by name", () =>
      Effect.gen(function*() {
        const peer = yield* OpenAiPeer.make
        yield* peer.enqueue(OpenAiPeer.text("a"), OpenAiPeer.text("b"))
        yield* Effect.gen(function*() {
          const provider = yield* ModelProvider
          const model = yield* provider.getModel()
          assert.strictEqual(model.name, "gpt-4.1")
          yield* model.respond(hello)
          yield* (yield* provider.getModel("gpt-4o")).respond(hello)
        }).pipe(Effect.provide(
          ModelOpenAIResponses.layer({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-4.1" })
        ))
        assert.deepStrictEqual(peer.requests.map((request) => request.body.model), ["gpt-4.1", "gpt-4o"])
      }))

    it.effect("layerConfig takes its options from configuration and names what is missing", () =>
      Effect.gen(function*() {
        const peer = yield* OpenAiPeer.make
        yield* peer.enqueue(OpenAiPeer.text("configured"))
        const live = ModelOpenAIResponses.layerConfig({
          apiKey: Config.Redacted("OPENAI_API_KEY"),
          baseURL: Config.String("OPENAI_BASE_URL"),
          model: Config.String("MODEL").pipe(Config.withDefault("gpt-4.1"))
        })
        const ask = Effect.gen(function*() {
          const model = yield* (yield* ModelProvider).getModel()
          return yield* model.respond(hello)
        }).pipe(Effect.provide(live))
        const provide = (env: Record<string, string>) =>
          Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnvRecord(env))
        const response = yield* ask.pipe(provide({ OPENAI_API_KEY: peer.apiKey, OPENAI_BASE_URL: peer.url }))
        assert.strictEqual(Item.text(response.output[0]!), "configured")
        const missing = yield* Effect.exit(ask.pipe(provide({ OPENAI_BASE_URL: peer.url })))
        assert(Exit.isFailure(missing))
        assert.include(Cause.pretty(missing.cause), "OPENAI_API_KEY")
      }))
  })
})
