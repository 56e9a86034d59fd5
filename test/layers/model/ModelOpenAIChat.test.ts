import { assert, describe, it } from "@effect/vitest"
import * as ModelOpenAIChat from "agent-layers/layers/model/ModelOpenAIChat"
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import * as Agent from "agent-layers/run/Agent"
import * as Runner from "agent-layers/run/Runner"
import * as Item from "agent-layers/services/Item"
import * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import type { Model, ModelRequest } from "agent-layers/services/ModelProvider"
import { ModelProvider } from "agent-layers/services/ModelProvider"
import { Config, ConfigProvider, Context, Effect, Layer, Redacted, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { describeLaws } from "../../support/laws.ts"
import * as Chat from "../../support/openai/chat.ts"
import * as LawSubject from "../../support/openai/chatLawSubject.ts"
import * as OpenAiPeer from "../../support/openai/OpenAiPeer.ts"
import { failure, hello, run, textOf } from "./support.ts"

describeLaws(
  "ModelOpenAIChat",
  ModelProviderLaws.all,
  LawSubject.make((peer) =>
    ModelOpenAIChat.make({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-5-mini" })
  ),
  { notShown: ["items of a type that nobody here knows go both ways untouched"] }
)

type Options = Partial<ModelOpenAIChat.ModelOpenAIChatOptions>

const setup = Effect.fnUntraced(function*(options: Options = {}, peerOptions: OpenAiPeer.PeerOptions = {}) {
  const peer = yield* OpenAiPeer.makeWith(peerOptions)
  const provider = yield* ModelOpenAIChat.make({
    apiKey: Redacted.make(peer.apiKey),
    baseURL: peer.url,
    model: "gpt-5-mini",
    ...options
  })
  return { peer, provider, model: yield* provider.getModel() }
})

/** A server that takes what the real one refuses. */
const lenient: OpenAiPeer.PeerOptions = { strict: false }

const structured: ModelRequest = {
  input: "hello",
  outputSchema: {
    name: "answer",
    strict: true,
    schema: { type: "object", properties: { n: { type: "number" } }, required: ["n"], additionalProperties: false }
  }
}

const answered = Effect.fnUntraced(function*(model: Model, request: ModelRequest = hello) {
  const { events, exit } = yield* run(model, request)
  const last = events.at(-1)
  if (last?._tag !== "Completed") throw failure(exit)
  return { events, response: last.response }
})

const callsOf = (response: { readonly output: ReadonlyArray<Item.Item> }) => response.output.filter(Item.isFunctionCall)

const messages = (peer: OpenAiPeer.OpenAiPeer, index: number) =>
  peer.request(index).body.messages as ReadonlyArray<Readonly<Record<string, unknown>>>

/** Sends a history and gives the messages that arrived. */
const sent = Effect.fnUntraced(function*(
  input: ReadonlyArray<Item.Item>,
  options: Options = {},
  peerOptions: OpenAiPeer.PeerOptions = {}
) {
  const { model, peer } = yield* setup(options, peerOptions)
  yield* peer.enqueue(OpenAiPeer.text("ok"))
  yield* model.respond({ input })
  return messages(peer, 0)
})

const delta = (calls: ReadonlyArray<OpenAiPeer.JsonObject>) => Chat.chunk({ tool_calls: calls })

const finish = [Chat.chunk({}, "tool_calls"), "[DONE]"] as const

describe("ModelOpenAIChat", () => {
  describe("sends", () => {
    it.effect("instructions, settings and tools under the names of this API", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(OpenAiPeer.text("ok"), OpenAiPeer.text("ok"))
        const request: ModelRequest = {
          instructions: "Be brief.",
          input: "hello",
          settings: {
            temperature: 0.1,
            topP: 0.2,
            maxOutputTokens: 9,
            toolChoice: "required",
            parallelToolCalls: false,
            reasoning: { effort: "low" },
            verbosity: "low",
            truncation: "disabled",
            store: false,
            promptCacheKey: "k",
            extra: { seed: 7 }
          },
          tools: [
            { type: "function", name: "open", parameters: { type: "object", properties: { a: { type: "string" } } } },
            { type: "function", name: "strict", parameters: { type: "object" }, strict: true }
          ],
          handoffs: [{ name: "to_b", description: "Asks b.", parameters: { type: "object", properties: {} } }]
        }
        yield* model.respond(request)
        yield* run(model, request)
        const { stream_options: _, ...streamed } = peer.request(1).body
        assert.deepStrictEqual({ ...streamed, stream: false }, peer.request(0).body)
        assert.deepStrictEqual(peer.request(1).body.stream_options, { include_usage: true })
        assert.deepStrictEqual(peer.request(0).body, {
          model: "gpt-5-mini",
          messages: [{ role: "system", content: "Be brief." }, { role: "user", content: "hello" }],
          tools: [
            {
              type: "function",
              function: { name: "open", parameters: { type: "object", properties: { a: { type: "string" } } } }
            },
            {
              type: "function",
              function: {
                name: "strict",
                parameters: { type: "object", additionalProperties: false, properties: {}, required: [] },
                strict: true
              }
            },
            {
              type: "function",
              function: { name: "to_b", description: "Asks b.", parameters: { type: "object", properties: {} } }
            }
          ],
          tool_choice: "required",
          parallel_tool_calls: false,
          temperature: 0.1,
          top_p: 0.2,
          max_tokens: 9,
          reasoning_effort: "low",
          verbosity: "low",
          store: false,
          prompt_cache_key: "k",
          stream: false,
          seed: 7
        })
      }))

    it.effect("images, files and audio of a user, and refusals of the model", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(
          yield* sent([
            Item.system("system"),
            Item.developer("developer"),
            Item.user([
              { type: "input_text", text: "look" },
              { type: "input_image", image_url: "data:image/png;base64,AA==", detail: "low" },
              { type: "input_file", file_id: "file_1" },
              { type: "input_file", filename: "a.pdf", file_data: "data:application/pdf;base64,AA==" },
              { type: "input_audio", input_audio: { data: "AA==", format: "wav" } }
            ]),
            { type: "message", role: "assistant", content: [{ type: "refusal", refusal: "No." }] },
            Item.user("why?")
          ]),
          [
            { role: "system", content: "system" },
            { role: "system", content: "developer" },
            {
              role: "user",
              content: [
                { type: "text", text: "look" },
                { type: "image_url", image_url: { url: "data:image/png;base64,AA==", detail: "low" } },
                { type: "file", file: { file_id: "file_1" } },
                { type: "file", file: { file_data: "data:application/pdf;base64,AA==", filename: "a.pdf" } },
                { type: "input_audio", input_audio: { data: "AA==", format: "wav" } }
              ]
            },
            { role: "assistant", content: null, refusal: "No." },
            { role: "user", content: "why?" }
          ]
        )
      }))

    it.effect("what the model said and called as one message, with the outputs right behind it", () =>
      Effect.gen(function*() {
        const call = (callId: string) => Item.functionCall({ callId, name: "f", arguments: "" })
        const shape = (id: string) => ({ id, type: "function", function: { name: "f", arguments: "{}" } })
        const long = "call_".padEnd(60, "x")
        const list = yield* sent([
          Item.user("go"),
          Item.assistant("I look."),
          call("a"),
          call("b"),
          Item.user("meanwhile"),
          Item.functionCallOutput("b", "of b"),
          Item.functionCallOutput("a", [
            { type: "input_text", text: "of a" },
            { type: "input_image", image_url: "https://example.com/a.png" }
          ]),
          call(long),
          Item.functionCallOutput(long, [{ type: "input_image", image_url: "https://example.com/b.png" }])
        ])
        const last = (list[6]!["tool_calls"] as ReadonlyArray<{ readonly id: string }>)[0]!.id
        assert.isAtMost(last.length, 40)
        assert.deepStrictEqual(list, [
          { role: "user", content: "go" },
          { role: "assistant", content: "I look.", tool_calls: [shape("a"), shape("b")] },
          { role: "tool", tool_call_id: "b", content: "of b" },
          { role: "tool", tool_call_id: "a", content: "of a" },
          {
            role: "user",
            content: [
              { type: "text", text: "Output of tool call a:" },
              { type: "image_url", image_url: { url: "https://example.com/a.png" } }
            ]
          },
          { role: "user", content: "meanwhile" },
          { role: "assistant", content: null, tool_calls: [shape(last)] },
          { role: "tool", tool_call_id: last, content: "The output is in the next message of the user." },
          {
            role: "user",
            content: [
              { type: "text", text: `Output of tool call ${last}:` },
              { type: "image_url", image_url: { url: "https://example.com/b.png" } }
            ]
          }
        ])
      }))

    it.effect("to OpenAI the names that OpenAI has", () =>
      Effect.gen(function*() {
        const bodies: Array<Record<string, unknown>> = []
        const provider = yield* ModelOpenAIChat.make({
          apiKey: Redacted.make("sk-test"),
          fetch: (_, init) => {
            bodies.push(JSON.parse(init?.body as string))
            return Promise.resolve(new Response("{\"choices\":[{\"message\":{\"content\":\"ok\"}}]}"))
          }
        })
        const model = yield* provider.getModel()
        yield* model.respond({ input: "hi", instructions: "Be brief.", settings: { maxOutputTokens: 5 } })
        assert.strictEqual(model.provider, "openai")
        assert.deepStrictEqual(bodies, [{
          model: "gpt-5.4-mini",
          messages: [{ role: "developer", content: "Be brief." }, { role: "user", content: "hi" }],
          max_completion_tokens: 5,
          stream: false
        }])
      }))

    it.effect("what a server lacks in another way, by option", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup({ structuredOutput: "json_object", strict: false, streamUsage: false })
        yield* peer.enqueue(OpenAiPeer.text("{\"n\":1}"), OpenAiPeer.text("{\"n\":1}", { usage: null }))
        yield* model.respond({ ...structured, instructions: "Count." })
        const [instructions] = messages(peer, 0)
        assert.match(instructions!["content"] as string, /^Count\.\n\nAnswer with one JSON value .*"required":\["n"\]/s)
        assert.deepStrictEqual(peer.request(0).body.response_format, { type: "json_object" })
        yield* run(model)
        assert.isUndefined(peer.request(1).body.stream_options)

        const plain = yield* setup({
          structuredOutput: "instructions",
          strict: false,
          instructionsRole: "developer",
          maxTokensField: "max_completion_tokens"
        })
        yield* plain.peer.enqueue(OpenAiPeer.text("{\"n\":1}"), OpenAiPeer.text("{\"n\":1}"))
        yield* plain.model.respond({
          ...structured,
          settings: { maxOutputTokens: 3 },
          tools: [{ type: "function", name: "f", parameters: { type: "object" }, strict: true }]
        })
        const { max_completion_tokens: limit, response_format: format, tools } = plain.peer.request(0).body
        assert.isUndefined(format)
        assert.strictEqual(limit, 3)
        assert.strictEqual(messages(plain.peer, 0)[0]!["role"], "developer")
        assert.deepStrictEqual(tools, [{
          type: "function",
          function: { name: "f", parameters: { type: "object" } }
        }])
      }))

    it.effect("no choice among no tools", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(OpenAiPeer.text("ok"))
        yield* model.respond({ ...hello, settings: { toolChoice: "auto", parallelToolCalls: true } })
        assert.notProperty(peer.request(0).body, "tool_choice")
        assert.notProperty(peer.request(0).body, "parallel_tool_calls")
      }))

    it.effect("nothing of what it cannot say: Unsupported names it", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const refused: ReadonlyArray<readonly [feature: string, request: Partial<ModelRequest>]> = [
          ["tools", { tools: [{ type: "hosted", name: "web_search", definition: { type: "web_search" } }] }],
          ["previousResponseId", { previousResponseId: "resp_1" }],
          ["conversationId", { conversationId: "conv_1" }],
          ["prompt", { prompt: { id: "pmpt_1" } }],
          ["settings.truncation", { settings: { truncation: "auto" } }],
          ["settings.include", { settings: { include: ["x"] } }],
          ["settings.reasoning.summary", { settings: { reasoning: { summary: "auto" } } }],
          ["settings.extra.n", { settings: { extra: { n: 2 } } }],
          ["input", { input: [{ type: "web_search_call", id: "ws_1" }] }],
          ["input", { input: [Item.user([{ type: "input_image", file_id: "file_1" }])] }],
          ["input", { input: [Item.user([{ type: "input_file", file_url: "https://example.com" }])] }],
          ["input", { input: [Item.user([{ type: "input_video" }])] }]
        ]
        for (const [feature, request] of refused) {
          for (
            const exit of [
              yield* Effect.exit(Effect.asVoid(model.respond({ ...hello, ...request }))),
              (yield* run(model, { ...hello, ...request })).exit
            ]
          ) {
            const { reason } = failure(exit)
            assert(reason._tag === "Unsupported", reason.message)
            assert.strictEqual(reason.feature, feature)
          }
        }
        assert.lengthOf(peer.requests, 0)
        const list = yield* sent([Item.user("a"), { type: "web_search_call", id: "ws_1" }], { foreignItems: "omit" })
        assert.deepStrictEqual(list, [{ role: "user", content: "a" }])
      }))

    it.effect("a server its own reasoning back, in the field that it came in, and no other server's", () =>
      Effect.gen(function*() {
        const details = [{ type: "reasoning.encrypted", data: "abc", index: 0, format: "x" }]
        const turns: ReadonlyArray<readonly [said: OpenAiPeer.JsonObject, back: Record<string, unknown>]> = [
          [{ reasoning_content: "hm", content: "a" }, { content: "a", reasoning_content: "hm" }],
          [{ reasoning: "hm", content: "a" }, { content: "a", reasoning: "hm" }],
          [
            { reasoning: "hm", reasoning_details: details, content: "a" },
            { content: "a", reasoning: "hm", reasoning_details: details }
          ],
          [{ reasoning_details: details, content: "a" }, { content: "a", reasoning_details: details }],
          [
            { content: [{ type: "thinking", thinking: [{ type: "text", text: "hm" }] }, { type: "text", text: "a" }] },
            { content: [{ type: "thinking", thinking: [{ type: "text", text: "hm" }] }, { type: "text", text: "a" }] }
          ]
        ]
        for (const [said, back] of turns) {
          const { model, peer } = yield* setup({ provider: "one" }, lenient)
          yield* peer.enqueue(Chat.whole(said))
          const { output } = yield* model.respond(hello)
          assert.deepStrictEqual(output.map((item) => item.type), ["reasoning", "message"])
          const own = yield* sent([Item.user("q"), ...output], { provider: "one" }, lenient)
          assert.deepStrictEqual(own[1], { role: "assistant", ...back })
          const others = yield* sent([Item.user("q"), ...output], { provider: "two" })
          const without = yield* sent([Item.user("q"), ...output], { provider: "one", sendReasoning: false })
          for (const list of [others, without]) assert.deepStrictEqual(list[1], { role: "assistant", content: "a" })
        }
      }))
  })

  describe("reads", () => {
    it.effect("an answer with everything in it the same way, whole and streamed", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const reply = OpenAiPeer.items([
          OpenAiPeer.reasoningItem({ text: "because" }),
          OpenAiPeer.messageItem("Hello there"),
          OpenAiPeer.callItem({ name: "add", arguments: { a: 1 }, callId: "call_abcdef" }),
          OpenAiPeer.callItem({ name: "sub", arguments: {}, callId: "call_bcdefg" })
        ], { id: "chatcmpl-x", usage: { input: 10, output: 4, cached: 3, reasoning: 2 } })
        yield* peer.enqueue(reply, reply)
        const withoutIds = (items: ReadonlyArray<Item.Item>) => items.map((item) => ({ ...item, id: undefined }))
        const whole = yield* model.respond(hello)
        const { events, response } = yield* answered(model)
        assert.deepStrictEqual(withoutIds(response.output), withoutIds(whole.output))
        assert.deepStrictEqual(callsOf(whole).map(({ arguments: a, call_id, name }) => [call_id, name, a]), [
          ["call_abcdef", "add", "{\"a\":1}"],
          ["call_bcdefg", "sub", "{}"]
        ])
        assert.deepStrictEqual(whole.usage, {
          requests: 1,
          inputTokens: 10,
          outputTokens: 4,
          totalTokens: 14,
          cachedTokens: 3,
          reasoningTokens: 2
        })
        assert.deepStrictEqual(response.usage, whole.usage)
        assert.strictEqual(whole.id, "chatcmpl-x")
        assert.isTrue(whole.output.every(Item.isItem))
        assert.strictEqual(textOf(events), "Hello there")
      }))

    const wholes: ReadonlyArray<readonly [name: string, calls: ReadonlyArray<OpenAiPeer.JsonObject>]> = [
      ["arguments as an object", [{ id: "idxyz", function: { name: "f", arguments: { a: [1] } } }]],
      ["no id", [{ function: { name: "f", arguments: "{\"a\":[1]}" } }]],
      ["a null id and no type", [{ id: null, function: { name: "f", arguments: "{\"a\":[1]}" } }]]
    ]
    for (const [name, calls] of wholes) {
      it.effect(`a call with ${name}`, () =>
        Effect.gen(function*() {
          const { model, peer } = yield* setup()
          yield* peer.enqueue(Chat.whole({ content: null, tool_calls: calls }, "tool_calls"))
          const [call] = callsOf(yield* model.respond(hello))
          assert.strictEqual(call!.name, "f")
          assert.strictEqual(call!.arguments, "{\"a\":[1]}")
          assert.isNotEmpty(call!.call_id)
        }))
    }

    const one = [{ name: "f", arguments: "{\"a\":1}" }]
    const two = [{ name: "f", arguments: "{\"a\":1}" }, { name: "f", arguments: "{\"b\":2}" }]
    const f = (args: string, name = "f") => ({ name, arguments: args })
    const streams: ReadonlyArray<
      readonly [name: string, deltas: ReadonlyArray<ReadonlyArray<OpenAiPeer.JsonObject>>, calls: typeof one]
    > = [
      ["ids in the first delta only", [
        [{ index: 0, id: "idabc", function: f("") }],
        [{ index: 0, function: { arguments: "{\"a\"" } }],
        [{ index: 0, function: { arguments: ":1}" } }]
      ], one],
      ["id and name in every delta", [
        [{ index: 0, id: "idabc", function: f("{\"a\"") }],
        [{ index: 0, id: "idabc", function: f(":1}") }]
      ], one],
      ["another id in every delta", [
        [{ index: 0, id: "idabc", function: f("{\"a\"") }],
        [{ index: 0, id: "iddef", function: { arguments: ":1}" } }]
      ], one],
      ["an empty id and name in later deltas", [
        [{ index: 0, id: "idabc", function: f("{\"a\"") }],
        [{ index: 0, id: "", function: f(":1}", "") }]
      ], one],
      ["a name that comes after arguments", [
        [{ index: 0, id: "idabc", function: { arguments: "{\"a\"" } }],
        [{ index: 0, function: f(":1}") }]
      ], one],
      ["interleaved deltas", [
        [{ index: 0, id: "idabc", function: f("") }, { index: 1, id: "iddef", function: f("") }],
        [{ index: 1, function: { arguments: "{\"b\":2}" } }],
        [{ index: 0, function: { arguments: "{\"a\":1}" } }]
      ], two],
      ["index 0 for each", [
        [{ index: 0, id: "idabc", function: f("{\"a\":1}") }],
        [{ index: 0, id: "iddef", function: f("{\"b\":2}") }]
      ], two],
      ["index 0 for each and no ids", [
        [{ index: 0, function: f("{\"a\":1}") }],
        [{ index: 0, function: f("{\"b\":2}") }]
      ], two],
      ["one id for both", [
        [{ index: 0, id: "idabc", function: f("{\"a\":1}") }],
        [{ index: 1, id: "idabc", function: f("{\"b\":2}") }]
      ], two],
      ["no index", [
        [{ id: "idabc", function: f("{\"a\":1}") }, { id: "iddef", function: f("{\"b\"") }],
        [{ function: { arguments: ":2}" } }]
      ], two],
      ["no index and no id", [[{ function: f("{\"a\":1}") }, { function: f("{\"b\":2}") }]], two],
      ["arguments as objects", [
        [{ index: 0, id: "idabc", function: { name: "f", arguments: { a: 1 } } }],
        [{ index: 1, id: "iddef", function: { name: "f", arguments: { b: 2 } } }]
      ], two],
      ["no arguments", [[{ index: 0, id: "idabc", function: { name: "f" } }]], [{ name: "f", arguments: "{}" }]]
    ]
    for (const [name, deltas, expected] of streams) {
      it.effect(`streamed calls with ${name}`, () =>
        Effect.gen(function*() {
          const { model, peer } = yield* setup()
          yield* peer.enqueue(Chat.chunks([...deltas.map(delta), ...finish]))
          const { events, response } = yield* answered(model)
          const calls = callsOf(response)
          assert.deepStrictEqual(calls.map(({ arguments: args, name }) => ({ name, arguments: args })), expected)
          assert.strictEqual(new Set(calls.map((call) => call.call_id)).size, expected.length)
          for (const call of calls) {
            const own = events.flatMap((event) =>
              event._tag === "ToolCallDelta" && event.itemId === call.id ? [event] : []
            )
            assert.strictEqual(own.map((event) => event.delta).join(""), call.arguments)
            assert.isTrue(own.every((event) => event.callId === call.call_id && event.name === "f"))
          }
        }))
    }

    it.effect("call ids that begin anew in each answer as ids of their own", () =>
      Effect.gen(function*() {
        for (const id of ["call_0", "0", "functions.f:1", "toolu_abc"]) {
          const { model, peer } = yield* setup()
          const reply = Chat.whole({ tool_calls: [{ id, function: f("{}") }] }, "tool_calls")
          yield* peer.enqueue(reply, reply, Chat.chunks([delta([{ index: 0, id, function: f("{}") }]), ...finish]))
          const history: Array<Item.Item> = [Item.user("go")]
          const ids = new Set<string>()
          for (const ask of [model.respond, model.respond]) {
            const response = yield* ask({ input: history })
            for (const call of callsOf(response)) {
              ids.add(call.call_id)
              history.push(call, Item.functionCallOutput(call.call_id, "ok"))
            }
          }
          // The strict peer refuses a history with one id for two calls.
          const { response } = yield* answered(model, { input: history })
          ids.add(callsOf(response)[0]!.call_id)
          assert.strictEqual(ids.size, 3, id)
        }
      }))

    it.effect("an answer of no choice, no words and no calls for what it is", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const usage = { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 }
        yield* peer.enqueue(
          Chat.chunks([
            { choices: [], id: "", prompt_filter_results: [] },
            Chat.chunk({ role: "assistant", content: null }),
            Chat.chunk({ content: "hi" }),
            Chat.chunk({}, "stop"),
            { choices: [], usage },
            "[DONE]"
          ]),
          Chat.whole({ content: null }),
          Chat.whole({}, "stop", { choices: [] }),
          Chat.chunks([{ choices: [] }, "[DONE]"]),
          OpenAiPeer.http(200, "{\"object\":\"list\"}")
        )
        const { response } = yield* answered(model)
        assert.strictEqual(Item.text(response.output[0]!), "hi")
        assert.strictEqual(response.usage.totalTokens, 4)
        assert.deepStrictEqual((yield* model.respond(hello)).output, [])
        assert.strictEqual(failure(yield* Effect.exit(model.respond(hello))).reason._tag, "InvalidOutput")
        assert.strictEqual(failure((yield* run(model)).exit).reason._tag, "InvalidOutput")
        assert.strictEqual(failure(yield* Effect.exit(model.respond(hello))).reason._tag, "InvalidOutput")
      }))

    it.effect("why an answer ended", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const reasons: ReadonlyArray<readonly [finish: string, incomplete: string | undefined]> = [
          ["stop", undefined],
          ["eos", undefined],
          ["length", "max_output_tokens"],
          ["model_length", "max_output_tokens"],
          ["content_filter", "content_filter"]
        ]
        for (const [reason, incomplete] of reasons) {
          yield* peer.enqueue(
            Chat.whole({ content: "half" }, reason),
            Chat.chunks([Chat.chunk({ content: "half" }, reason)])
          )
          for (const response of [yield* model.respond(hello), (yield* answered(model)).response]) {
            assert.strictEqual(response.incompleteReason, incomplete)
            assert.strictEqual(response.status, incomplete === undefined ? "completed" : "incomplete")
          }
        }
        yield* peer.enqueue(Chat.chunks([Chat.chunk({ content: "half" }), Chat.chunk({}, "error")]))
        const { reason } = failure((yield* run(model)).exit)
        assert.strictEqual(reason._tag, "Overloaded")
        assert.isTrue(reason.isPartial)
      }))

    it.effect("structured output, refused, cut off or filtered, as failures", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const cases = [
          [OpenAiPeer.refusal("No."), "Refused"],
          [OpenAiPeer.incomplete("max_output_tokens", [OpenAiPeer.messageItem("{\"n\"")]), "InvalidOutput"],
          [OpenAiPeer.incomplete("content_filter", [OpenAiPeer.messageItem("{\"n\"")]), "ContentFiltered"]
        ] as const
        for (const [reply, tag] of cases) {
          yield* peer.enqueue(reply, reply)
          const whole = failure(yield* Effect.exit(model.respond(structured)))
          assert.strictEqual(whole.reason._tag, tag)
          assert.isFalse(whole.reason.isPartial)
          const streamed = failure((yield* run(model, structured)).exit)
          assert.strictEqual(streamed.reason._tag, tag)
          assert.isTrue(streamed.reason.isPartial)
        }
      }))

    it.effect("citations of a message, and the provider's own events where they are asked for", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        const citation = { start_index: 0, end_index: 2, url: "https://example.com", title: "t" }
        yield* peer.enqueue(Chat.chunks([
          Chat.chunk({ content: "hi", annotations: [{ type: "url_citation", url_citation: citation }] }, "stop"),
          "[DONE]"
        ]))
        const { events, response } = yield* answered(model, { ...hello, rawEvents: true })
        const message = response.output[0] as Item.Message
        assert.deepStrictEqual(message.content, [
          { type: "output_text", text: "hi", annotations: [{ type: "url_citation", ...citation }] }
        ])
        assert.strictEqual(events.filter((event) => event._tag === "Raw").length, 1)
      }))
  })

  describe("fails with", () => {
    const fails = Effect.fnUntraced(function*(reply: OpenAiPeer.Reply, options: Options = {}) {
      const { model, peer } = yield* setup(options)
      yield* peer.enqueue(reply, reply)
      const whole = failure(yield* Effect.exit(model.respond(hello)))
      const { events, exit } = yield* run(model)
      return { whole: whole.reason, streamed: failure(exit).reason, text: textOf(events) }
    })

    it.effect("Overloaded on a page of HTML with a status, InvalidOutput without one", () =>
      Effect.gen(function*() {
        const html = { headers: { "content-type": "text/html" } }
        const gateway = yield* fails(OpenAiPeer.http(502, "<html>Bad Gateway</html>", html))
        assert.deepStrictEqual([gateway.whole._tag, gateway.streamed._tag], ["Overloaded", "Overloaded"])
        assert.strictEqual(gateway.whole.status, 502)
        const page = yield* fails(OpenAiPeer.http(200, "<html>Welcome</html>", html))
        assert.deepStrictEqual([page.whole._tag, page.streamed._tag], ["InvalidOutput", "InvalidOutput"])
        assert.include(page.whole.description, "text/html")
      }))

    it.effect("what an error inside an answer or a stream says", () =>
      Effect.gen(function*() {
        const cases: ReadonlyArray<readonly [body: OpenAiPeer.JsonObject, tag: string]> = [
          [{ error: { message: "slow down", code: 429 } }, "RateLimited"],
          [{ error: { message: "no credit", code: 402 } }, "QuotaExceeded"],
          [{ error: { message: "maximum context length is 10", code: 400 } }, "ContextLengthExceeded"],
          [{ error: { message: "who?", code: 401 } }, "Authentication"],
          [{ error: { message: "upstream", code: 502 } }, "Overloaded"],
          [{ object: "error", message: "bad", type: "BadRequestError", code: 400 }, "InvalidRequest"],
          [{ choices: [{ index: 0, error: { message: "upstream", code: 502 } }] }, "Overloaded"]
        ]
        for (const [body, tag] of cases) {
          const { model, peer } = yield* setup()
          yield* peer.enqueue(
            OpenAiPeer.http(200, JSON.stringify(body)),
            Chat.chunks([Chat.chunk({ content: "half" }), body])
          )
          assert.strictEqual(failure(yield* Effect.exit(model.respond(hello))).reason._tag, tag)
          const { events, exit } = yield* run(model)
          assert.strictEqual(textOf(events), "half")
          assert.strictEqual(failure(exit).reason._tag, tag)
          assert.isTrue(failure(exit).reason.isPartial)
        }
      }))

    it.effect("InvalidOutput on events that are no JSON, after what came before them", () =>
      Effect.gen(function*() {
        const { streamed, text } = yield* fails(Chat.chunks([Chat.chunk({ content: "half" }), "{\"choices\": [tru"]))
        assert.strictEqual(text, "half")
        assert.strictEqual(streamed._tag, "InvalidOutput")
        assert.isTrue(streamed.isPartial)
      }))

    it.effect("Transport where the stream is cut, in a byte or before its end", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup()
        yield* peer.enqueue(
          OpenAiPeer.text(["one ", "two "], { cutAfterBytes: 700 }),
          OpenAiPeer.text(["one ", "two "], { terminal: false }),
          OpenAiPeer.text("x", { cutBeforeHeaders: true })
        )
        for (const isPartial of [true, true, false]) {
          const { reason } = failure((yield* run(model)).exit)
          assert.strictEqual(reason._tag, "Transport")
          assert.strictEqual(reason.isPartial, isPartial)
        }
      }))

    it.live("Timeout where nothing comes, or nothing more", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup({ timeout: "1 second" })
        yield* peer.enqueue(
          OpenAiPeer.text("x", { hangBeforeHeaders: true }),
          OpenAiPeer.text("x", { hangBeforeHeaders: true }),
          OpenAiPeer.text(["one ", "two "], { hangAfterEvents: 2 })
        )
        assert.strictEqual(failure(yield* Effect.exit(model.respond(hello))).reason._tag, "Timeout")
        assert.strictEqual(failure((yield* run(model)).exit).reason._tag, "Timeout")
        const { events, exit } = yield* run(model)
        assert.strictEqual(textOf(events), "one ")
        assert.strictEqual(failure(exit).reason._tag, "Timeout")
        assert.isTrue(failure(exit).reason.isPartial)
        yield* peer.awaitAborted(3)
      }))

    it.effect("UnknownModel where none is named and the server has no default, InvalidRequest on wrong options", () =>
      Effect.gen(function*() {
        const provider = yield* ModelOpenAIChat.make({ apiKey: Redacted.make("k"), baseURL: "http://127.0.0.1:9/v1" })
        const { message, reason } = failure(yield* Effect.exit(provider.getModel()))
        assert.strictEqual(reason._tag, "UnknownModel")
        assert.match(message, /^127\.0\.0\.1:9: Unknown model: no model was named/)
        for (const wrong of [{ baseURL: "localhost" }, { apiKey: Redacted.make("") }]) {
          assert.strictEqual(failure(yield* Effect.exit(Effect.asVoid(setup(wrong)))).reason._tag, "InvalidRequest")
        }
      }))

    it.effect("no secret in what it says", () =>
      Effect.gen(function*() {
        const { model, peer } = yield* setup({ apiKey: Redacted.make("sk-very-secret") })
        yield* peer.enqueue()
        const error = failure(yield* Effect.exit(model.respond(hello)))
        assert.strictEqual(error.reason._tag, "Authentication")
        assert.notInclude(JSON.stringify(error), "sk-very-secret")
        const echo = yield* setup({ apiKey: Redacted.make("sk-peer-long-key") }, { apiKey: "sk-peer-long-key" })
        yield* echo.peer.enqueue(Chat.chunks([{ error: { message: "the key sk-peer-long-key is odd" } }]))
        assert.include(failure((yield* run(echo.model)).exit).message, "the key <redacted> is odd")
      }))
  })

  it.effect("takes its options from configuration", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(OpenAiPeer.text("ok"))
      const layer = ModelOpenAIChat.layerConfig({
        apiKey: Config.Redacted("KEY"),
        baseURL: Config.String("URL"),
        model: Config.succeed("gpt-5")
      }).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ KEY: peer.apiKey, URL: peer.url }))))
      const provider = Context.get(yield* Layer.build(layer), ModelProvider)
      const response = yield* Effect.flatMap(provider.getModel(), (model) => model.respond(hello))
      assert.strictEqual(Item.text(response.output[0]!), "ok")
    }))

  it.effect("a conversation goes on at a server of the other API, both ways", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const options = { apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-5" }
      const chat = yield* Effect.flatMap(ModelOpenAIChat.make(options), (provider) => provider.getModel())
      const responses = yield* Effect.flatMap(ModelOpenAIResponses.make(options), (provider) => provider.getModel())
      const thoughtful = OpenAiPeer.reasoned({ text: "hm", encrypted: "x" }, [
        OpenAiPeer.messageItem("I look."),
        OpenAiPeer.callItem({ name: "f" }),
        OpenAiPeer.callItem({ name: "g" })
      ])
      for (const [first, second] of [[chat, responses], [responses, chat]] as const) {
        yield* peer.enqueue(thoughtful, OpenAiPeer.text("ok"))
        const { output } = yield* first.respond({
          input: "go",
          ...(first === responses ? { settings: { include: ["reasoning.encrypted_content"] } } : {})
        })
        assert.deepStrictEqual(output.map((item) => item.type), [
          "reasoning",
          "message",
          "function_call",
          "function_call"
        ])
        const outputs = callsOf({ output }).map((call) => Item.functionCallOutput(call.call_id, "done"))
        const { output: last } = yield* second.respond({ input: [Item.user("go"), ...output, ...outputs] })
        assert.strictEqual(Item.text(last[0]!), "ok")
      }
    }))

  describe("under an agent", () => {
    const Tools = Toolkit.make(
      Tool.make("add", {
        parameters: Schema.Struct({ a: Schema.Number, b: Schema.Number }),
        success: Schema.Number
      })
    )
    const Adder = Agent.make({
      name: "adder",
      instructions: "You add.",
      toolkit: Tools,
      output: Schema.Struct({ sum: Schema.Number })
    })
    const Handlers = Tools.toLayer({ add: ({ a, b }) => Effect.succeed(a + b) })

    const ways = {
      run: Effect.map(Runner.run(Adder, "1 + 2 and 3 + 4?"), ({ finalOutput }) => finalOutput),
      stream: Effect.map(
        Stream.runCollect(Runner.stream(Adder, "1 + 2 and 3 + 4?")),
        (events) => {
          const last = events.at(-1)
          return last?._tag === "Completed" ? last.result.finalOutput : undefined
        }
      )
    }
    for (const [name, way] of Object.entries(ways)) {
      it.live(`tools in parallel, then structured output: ${name}`, () =>
        Effect.gen(function*() {
          const peer = yield* OpenAiPeer.make
          yield* peer.enqueue(
            OpenAiPeer.calls([
              { name: "add", arguments: { a: 1, b: 2 } },
              { name: "add", arguments: { a: 3, b: 4 } }
            ]),
            OpenAiPeer.text("{\"sum\":10}")
          )
          const layer = ModelOpenAIChat.layer({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-5" })
          assert.deepStrictEqual(yield* Effect.provide(way, [Handlers, layer]), { sum: 10 })
          assert.deepStrictEqual(messages(peer, 1).map(({ content, role }) => [role, content]), [
            ["system", "You add."],
            ["user", "1 + 2 and 3 + 4?"],
            ["assistant", null],
            ["tool", "3"],
            ["tool", "7"]
          ])
          assert.strictEqual(peer.requests.length, 2)
        }))
    }
  })
})
