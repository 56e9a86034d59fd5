import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { stays } from "../until.ts"
import * as OpenAiPeer from "./OpenAiPeer.ts"
import type { Json, JsonObject } from "./Reply.ts"

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: () => any
  readonly events: () => ReadonlyArray<any>
}

const parseEvents = (text: string): ReadonlyArray<any> =>
  text.replaceAll("\r\n", "\n").split("\n\n").flatMap((block) => {
    const lines = block.split("\n").filter((line) => line !== "" && !line.startsWith(":"))
    if (lines.length === 0) return []
    const data = lines.find((line) => line.startsWith("data: "))!.slice(6)
    const name = lines.find((line) => line.startsWith("event: "))!.slice(7)
    const event = JSON.parse(data)
    assert.strictEqual(name, event.type)
    return [event]
  })

const post = (
  peer: OpenAiPeer.OpenAiPeer,
  body: Json,
  options: { readonly key?: string | null; readonly path?: string; readonly method?: string } = {}
): Effect.Effect<Answer, unknown> =>
  Effect.tryPromise(async (signal) => {
    const key = options.key === undefined ? peer.apiKey : options.key
    const response = await fetch(`${peer.url}${options.path ?? "/responses"}`, {
      method: options.method ?? "POST",
      signal,
      headers: { "content-type": "application/json", ...(key === null ? {} : { authorization: `Bearer ${key}` }) },
      ...(options.method === "GET" ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) })
    })
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: () => JSON.parse(text),
      events: () => parseEvents(text)
    }
  })

const hello: JsonObject = { model: "gpt-5-mini", input: "hello" }
const user = (content: Json): JsonObject => ({ type: "message", role: "user", content })
const functionCall = (callId: string, fields: JsonObject = {}): JsonObject => ({
  type: "function_call",
  call_id: callId,
  name: "add",
  arguments: "{}",
  ...fields
})
const functionOutput = (callId: string): JsonObject => ({ type: "function_call_output", call_id: callId, output: "1" })

describe("OpenAiPeer", () => {
  it.effect("answers JSON from its script, in order, and records each request", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(
        OpenAiPeer.text("Hi", { usage: { input: 7, output: 3, cached: 2, reasoning: 1 } }),
        OpenAiPeer.calls([{ name: "add", arguments: { a: 1 }, callId: "call_1" }, { name: "sub" }])
      )
      const first = yield* post(peer, { ...hello, temperature: 0.5 })
      assert.strictEqual(first.status, 200)
      const response = first.json()
      assert.strictEqual(response.object, "response")
      assert.strictEqual(response.status, "completed")
      assert.strictEqual(response.temperature, 0.5)
      assert.strictEqual(response.output[0].content[0].text, "Hi")
      assert.deepStrictEqual(response.usage, {
        input_tokens: 7,
        input_tokens_details: { cache_write_tokens: 0, cached_tokens: 2 },
        output_tokens: 3,
        output_tokens_details: { reasoning_tokens: 1 },
        total_tokens: 10
      })
      const second = (yield* post(peer, hello)).json()
      assert.deepStrictEqual(second.output.map((item: any) => [item.type, item.name, item.arguments]), [
        ["function_call", "add", "{\"a\":1}"],
        ["function_call", "sub", "{}"]
      ])
      assert.strictEqual(second.output[0].call_id, "call_1")
      assert.match(second.output[1].call_id, /^call_/)
      assert.strictEqual(peer.requests.length, 2)
      assert.strictEqual(peer.request(0).path, "/v1/responses")
      assert.strictEqual(peer.request(0).body.temperature, 0.5)
      assert.deepStrictEqual(peer.request(0).input, [user("hello")])
      assert.strictEqual(peer.request(0).status, 200)
      assert.isFalse(peer.request(0).aborted)
      assert.throws(() => peer.request(2), /2 requests/)
      assert.strictEqual(peer.remaining(), 0)
    }))

  it.effect("says so when the script is empty, and asks the responder first where there is one", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const none = yield* post(peer, hello)
      assert.strictEqual(none.status, 400)
      assert.strictEqual(none.json().error.code, "script_exhausted")
      yield* peer.respond((request, n) => OpenAiPeer.text(`${n}: ${String(request.body.input)}`))
      assert.strictEqual((yield* post(peer, hello)).json().output[0].content[0].text, "1: hello")
      yield* peer.enqueue(OpenAiPeer.text("scripted"))
      assert.strictEqual((yield* post(peer, hello)).json().output[0].content[0].text, "scripted")
      yield* peer.respond(() => {
        throw new Error("a bug in the test")
      })
      const broken = yield* post(peer, hello)
      assert.strictEqual(broken.status, 500)
      assert.match(broken.text, /a bug in the test/)
    }))

  it.effect("streams the whole event sequence with ascending sequence numbers", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(
        OpenAiPeer.items([
          OpenAiPeer.reasoningItem({ summary: ["I think"], encrypted: "abc" }),
          OpenAiPeer.messageItem("one two"),
          OpenAiPeer.callItem({ name: "add", arguments: { a: 1 }, callId: "call_1" }),
          OpenAiPeer.refusalItem("no")
        ])
      )
      const answer = yield* post(peer, { ...hello, stream: true, include: ["reasoning.encrypted_content"] })
      assert.strictEqual(answer.headers.get("content-type"), "text/event-stream; charset=utf-8")
      const events = answer.events()
      assert.deepStrictEqual(events.map((event) => event.type), [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.refusal.delta",
        "response.refusal.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed"
      ])
      assert.deepStrictEqual(events.map((event) => event.sequence_number), events.map((_, index) => index))
      const output = events.at(-1).response.output
      assert.deepStrictEqual(
        output,
        events.filter((event) => event.type === "response.output_item.done").map((event) => event.item)
      )
      assert.strictEqual(output[0].encrypted_content, "gAAAAabc")
      assert.strictEqual(events[2].item.encrypted_content, "gAAAAearly")
      assert.strictEqual(events[9].item.status, "in_progress")
      assert.strictEqual(output[1].status, "completed")
    }))

  it.effect("streams text in the deltas that were given, and by size", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(OpenAiPeer.text(["a", "", "b ", "c"]), OpenAiPeer.text("añ😀xy", { deltaSize: 2 }))
      const deltas = (answer: Answer) =>
        answer.events().filter((event) => event.type === "response.output_text.delta").map((event) => event.delta)
      assert.deepStrictEqual(deltas(yield* post(peer, { ...hello, stream: true })), ["a", "", "b ", "c"])
      assert.deepStrictEqual(deltas(yield* post(peer, { ...hello, stream: true })), ["añ", "😀x", "y"])
    }))

  it.effect("answers incomplete, failed, refused and raw items", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(
        OpenAiPeer.incomplete("max_output_tokens", [OpenAiPeer.messageItem("cut o")]),
        OpenAiPeer.failed("server_error", "it broke"),
        OpenAiPeer.refusal("I will not"),
        OpenAiPeer.items([{ type: "brand_new_item", payload: [1] }], { ids: false, usage: null })
      )
      const stream = { ...hello, stream: true }
      const incomplete = (yield* post(peer, stream)).events().at(-1)
      assert.strictEqual(incomplete.type, "response.incomplete")
      assert.deepStrictEqual(incomplete.response.incomplete_details, { reason: "max_output_tokens" })
      assert.strictEqual(incomplete.response.output[0].status, "incomplete")
      const failed = (yield* post(peer, stream)).events().at(-1)
      assert.strictEqual(failed.type, "response.failed")
      assert.deepStrictEqual(failed.response.error, { code: "server_error", message: "it broke" })
      assert.strictEqual((yield* post(peer, hello)).json().output[0].content[0].refusal, "I will not")
      const raw = (yield* post(peer, hello)).json()
      assert.deepStrictEqual(raw.output, [{ status: "completed", type: "brand_new_item", payload: [1] }])
      assert.isUndefined(raw.usage)
    }))

  it.effect("splits bytes, uses CRLF, adds comments, leaves out the end, puts in an error event", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const stream = { ...hello, stream: true }
      yield* peer.enqueue(
        OpenAiPeer.text("grüße 😀", { splitBytes: 3, crlf: true, comments: true }),
        OpenAiPeer.text("no end", { terminal: false }),
        OpenAiPeer.text("no end", { errorEvent: { after: 3, code: "server_error", message: "broken" } }),
        OpenAiPeer.text("no end", { errorEvent: { after: 3, nested: true } })
      )
      const split = yield* post(peer, stream)
      assert.include(split.text, ": keep-alive\r\n\r\nevent: response.created\r\ndata: ")
      assert.strictEqual(split.events().at(-1).response.output[0].content[0].text, "grüße 😀")
      assert.strictEqual((yield* post(peer, stream)).events().at(-1).type, "response.output_item.done")
      const errors = (yield* post(peer, stream)).events()
      assert.strictEqual(errors.length, 4)
      assert.deepStrictEqual(errors[3], {
        type: "error",
        sequence_number: 3,
        code: "server_error",
        message: "broken",
        param: null
      })
      assert.strictEqual((yield* post(peer, stream)).events()[3].error.code, "server_error")
    }))

  it.effect("cuts the socket before the headers and after so many bytes", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(
        OpenAiPeer.text("never", { cutBeforeHeaders: true }),
        OpenAiPeer.text("half", { cutAfterBytes: 200 }),
        OpenAiPeer.text("half", { cutAfterBytes: 20 })
      )
      assert.isTrue((yield* Effect.exit(post(peer, hello)))._tag === "Failure")
      assert.isTrue((yield* Effect.exit(post(peer, { ...hello, stream: true })))._tag === "Failure")
      assert.isTrue((yield* Effect.exit(post(peer, hello)))._tag === "Failure")
      yield* peer.awaitIdle
      assert.strictEqual(peer.aborted(), 0)
    }))

  it.effect("counts clients that go away while it hangs", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const hanging = [
        [OpenAiPeer.text("x", { hangBeforeHeaders: true }), true],
        [OpenAiPeer.text("x", { hangAfterEvents: 3 }), true],
        [OpenAiPeer.text("x", { hangAfterEvents: 0 }), false],
        [OpenAiPeer.text("x", { delayHeaders: 60_000 }), true],
        [OpenAiPeer.text("x y z", { delayEvents: 60_000 }), true]
      ] as const
      for (const [index, [reply, stream]] of hanging.entries()) {
        yield* peer.enqueue(reply)
        const fiber = yield* Effect.forkChild(post(peer, { ...hello, stream }))
        yield* peer.awaitRequests(index + 1)
        yield* stays(peer.aborted, (count) => count === index, 20)
        yield* Fiber.interrupt(fiber)
        yield* peer.awaitAborted(index + 1)
        assert.isTrue(peer.request(index).aborted)
      }
      yield* peer.awaitIdle
    }))

  it.effect("answers errors in the service's shape, with headers", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(
        OpenAiPeer.rateLimited({ retryAfter: 2, retryAfterMs: 1500 }),
        OpenAiPeer.quotaExceeded,
        OpenAiPeer.serverError(503),
        OpenAiPeer.contextLengthExceeded,
        OpenAiPeer.http(502, "<html>bad gateway</html>", { headers: { "content-type": "text/html" } })
      )
      const limited = yield* post(peer, hello)
      assert.strictEqual(limited.status, 429)
      assert.strictEqual(limited.headers.get("retry-after"), "2")
      assert.strictEqual(limited.headers.get("retry-after-ms"), "1500")
      assert.strictEqual(limited.headers.get("x-request-id"), "req_0")
      assert.deepStrictEqual(Object.keys(limited.json().error), ["message", "type", "param", "code"])
      assert.strictEqual((yield* post(peer, hello)).json().error.code, "insufficient_quota")
      assert.strictEqual((yield* post(peer, hello)).status, 503)
      assert.strictEqual((yield* post(peer, hello)).json().error.code, "context_length_exceeded")
      const html = yield* post(peer, hello)
      assert.strictEqual(html.headers.get("content-type"), "text/html")
    }))

  it.effect("is gone when its scope closes, with hanging clients", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.scoped(Effect.gen(function*() {
        const peer = yield* OpenAiPeer.make
        yield* peer.enqueue(OpenAiPeer.text("x", { hangBeforeHeaders: true }))
        const fiber = yield* Effect.forkChild(Effect.exit(post(peer, hello)))
        yield* peer.awaitRequests(1)
        return fiber
      }))
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Failure")
    }))

  describe("state", () => {
    it.effect("goes on from a stored response", () =>
      Effect.gen(function*() {
        const peer = yield* OpenAiPeer.make
        yield* peer.enqueue(OpenAiPeer.call("add"), OpenAiPeer.text("done"), OpenAiPeer.text("not kept"))
        const first = (yield* post(peer, hello)).json()
        const callId = first.output[0].call_id as string
        const alone = yield* post(peer, { ...hello, previous_response_id: first.id })
        assert.strictEqual(alone.json().error.message, `No tool output found for function call ${callId}.`)
        const answered = { model: "gpt-5-mini", previous_response_id: first.id, input: [functionOutput(callId)] }
        const second = yield* post(peer, answered)
        assert.strictEqual(second.status, 200)
        const again = { ...answered, input: [functionCall(callId, { id: first.output[0].id }), functionOutput(callId)] }
        assert.match((yield* post(peer, again)).json().error.message, /^Duplicate item found with id fc_/)
        const unkept = (yield* post(peer, { ...hello, store: false })).json()
        const missing = yield* post(peer, { ...hello, previous_response_id: unkept.id })
        assert.strictEqual(missing.json().error.code, "previous_response_not_found")
      }))

    it.effect("keeps a conversation, made by hand or over the wire", () =>
      Effect.gen(function*() {
        const peer = yield* OpenAiPeer.make
        const id = yield* peer.createConversation()
        yield* peer.enqueue(OpenAiPeer.call("add"), OpenAiPeer.text("done"))
        const body = { ...hello, conversation: id }
        const call = (yield* post(peer, body)).json()
        assert.deepStrictEqual(call.conversation, { id })
        yield* post(peer, { ...body, conversation: { id }, input: [functionOutput(call.output[0].call_id)] })
        assert.deepStrictEqual(peer.conversationItems(id).map((item) => item.type), [
          "message",
          "function_call",
          "function_call_output",
          "message"
        ])
        const list = yield* post(peer, {}, { method: "GET", path: `/conversations/${id}/items` })
        assert.strictEqual(list.json().data.length, 4)
        const made = (yield* post(peer, { items: [user("hi")] }, { path: "/conversations" })).json()
        assert.strictEqual(made.object, "conversation")
        assert.strictEqual(peer.conversationItems(made.id).length, 1)
        assert.strictEqual((yield* post(peer, { ...body, conversation: "conv_none" })).status, 404)
        const both = yield* post(peer, { ...body, previous_response_id: call.id })
        assert.strictEqual(both.json().error.code, "mutually_exclusive_parameters")
      }))

    it.effect("does not store what a client cannot have read", () =>
      Effect.gen(function*() {
        const peer = yield* OpenAiPeer.make
        const id = yield* peer.createConversation()
        const stream = { ...hello, stream: true, conversation: id }
        yield* peer.enqueue(
          OpenAiPeer.text("a", { cutAfterBytes: 100 }),
          OpenAiPeer.text("a", { terminal: false }),
          OpenAiPeer.text("a", { errorEvent: { after: 2 } })
        )
        yield* Effect.exit(post(peer, stream))
        yield* post(peer, stream)
        yield* post(peer, stream)
        assert.strictEqual(peer.conversationItems(id).length, 0)
      }))
  })

  describe("refuses what the real service refuses", () => {
    const input = (...items: ReadonlyArray<Json>): JsonObject => ({ model: "gpt-5-mini", input: items })
    const tool = (fields: JsonObject): JsonObject => ({ ...hello, tools: [{ type: "function", ...fields }] })
    const strictSchema: JsonObject = {
      type: "object",
      properties: { a: { type: "string" } },
      required: ["a"],
      additionalProperties: false
    }
    const formatted = (schema: JsonObject): JsonObject => ({
      ...hello,
      text: { format: { type: "json_schema", name: "out", schema, strict: true } }
    })
    const cases: ReadonlyArray<readonly [name: string, body: Json, message: string, code: string | null]> = [
      ["no model", { input: "x" }, "Missing required parameter: 'model'.", "missing_required_parameter"],
      ["a body that is not JSON", "{", "We could not parse the JSON body of your request.", null],
      ["an unknown parameter", { ...hello, foo: 1 }, "Unknown parameter: 'foo'.", "unknown_parameter"],
      [
        "a parameter of the other API",
        { ...hello, messages: [] },
        "Unsupported parameter: 'messages'. In the Responses API, this parameter has moved to 'input'. Try again with "
        + "the new parameter.",
        "unsupported_parameter"
      ],
      [
        "a wrong type",
        { ...hello, temperature: "hot" },
        "Invalid type for 'temperature': expected a decimal, but got a string instead.",
        "invalid_type"
      ],
      [
        "a number out of range",
        { ...hello, max_output_tokens: 5 },
        "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 5 instead.",
        "integer_below_min_value"
      ],
      [
        "a value that is not one of those",
        { ...hello, truncation: "maybe" },
        "Invalid value: 'maybe'. Supported values are: 'auto', and 'disabled'.",
        "invalid_value"
      ],
      [
        "input that is no list",
        { model: "gpt-5-mini", input: { role: "user" } },
        "Invalid type for 'input': expected one of an array of input items or string, but got an object instead.",
        "invalid_type"
      ],
      [
        "an unknown field in an item",
        input({ ...user("x"), meta: {} }),
        "Unknown parameter: 'input[0].meta'.",
        "unknown_parameter"
      ],
      [
        "an unknown field in a part",
        input(user([{ type: "input_text", text: "x", extra: 1 }])),
        "Unknown parameter: 'input[0].content[0].extra'.",
        "unknown_parameter"
      ],
      [
        "a part of the wrong side",
        input(user([{ type: "output_text", text: "x" }])),
        "Invalid value: 'output_text'. Supported values are: 'input_text', 'input_image', and 'input_file'.",
        "invalid_value"
      ],
      [
        "an item without a field that it needs",
        input({ type: "function_call_output", output: "1" }),
        "Missing required parameter: 'input[0].call_id'.",
        "missing_required_parameter"
      ],
      [
        "an empty call id",
        input(functionOutput("")),
        "Invalid 'input[0].call_id': empty string. Expected a string with minimum length 1, but got an empty string "
        + "instead.",
        "empty_string"
      ],
      [
        "an id of the wrong kind",
        input(functionCall("call_1", { id: "msg_1" }), functionOutput("call_1")),
        "Invalid 'input[0].id': 'msg_1'. Expected an ID that begins with 'fc'.",
        "invalid_value"
      ],
      [
        "an output without its call",
        input(user("x"), functionOutput("call_1")),
        "No tool call found for function call output with call_id call_1.",
        null
      ],
      [
        "a call without output",
        input(user("x"), functionCall("call_1")),
        "No tool output found for function call call_1.",
        null
      ],
      [
        "an output before its call",
        input(functionOutput("call_1"), functionCall("call_1")),
        "No tool call found for function call output with call_id call_1.",
        null
      ],
      [
        "two outputs for a call",
        input(functionCall("call_1"), functionOutput("call_1"), functionOutput("call_1")),
        "Duplicate function call output found with call_id call_1.",
        null
      ],
      [
        "a custom tool call without output",
        input({ type: "custom_tool_call", call_id: "call_2", name: "run", input: "ls" }),
        "No tool output found for custom tool call call_2.",
        null
      ],
      [
        "a repeated id",
        input({ ...user("x"), id: "msg_1" }, { ...user("y"), id: "msg_1" }),
        "Duplicate item found with id msg_1. Remove duplicate items from your input and try again.",
        null
      ],
      [
        "reasoning at the end",
        input({ type: "reasoning", id: "rs_1", summary: [], encrypted_content: "gAAAAx" }),
        "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
        null
      ],
      [
        "reasoning before a user message",
        input({ type: "reasoning", id: "rs_1", summary: [], encrypted_content: "gAAAAx" }, user("x")),
        "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
        null
      ],
      [
        "encrypted reasoning of somebody else",
        input({ type: "reasoning", id: "rs_1", summary: [], encrypted_content: "sig:" }, {
          role: "assistant",
          content: "x"
        }),
        "The encrypted content sig:... could not be verified. Reason: Encrypted content could not be decrypted or "
        + "parsed.",
        "invalid_encrypted_content"
      ],
      [
        "reasoning that nobody kept",
        input({ type: "reasoning", id: "rs_1", summary: [] }, { role: "assistant", content: "x" }),
        "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false. Try again with `store` "
        + "set to true, or remove this item from your input.",
        null
      ],
      [
        "a tool without a name",
        tool({ parameters: {} }),
        "Missing required parameter: 'tools[0].name'.",
        "missing_required_parameter"
      ],
      [
        "a tool without parameters",
        tool({ name: "add" }),
        "Missing required parameter: 'tools[0].parameters'.",
        "missing_required_parameter"
      ],
      [
        "a tool in the other API's shape",
        tool({ function: { name: "add" } }),
        "Unknown parameter: 'tools[0].function'.",
        "unknown_parameter"
      ],
      [
        "a tool name with a space",
        tool({ name: "a b", parameters: {} }),
        "Invalid 'tools[0].name': string does not match pattern. Expected a string that matches the pattern "
        + "'^[a-zA-Z0-9_-]+$'.",
        "invalid_value"
      ],
      [
        "a strict tool whose schema is open",
        tool({ name: "add", strict: true, parameters: { ...strictSchema, additionalProperties: true } }),
        "Invalid schema for function 'add': In context=(), 'additionalProperties' is required to be supplied and to "
        + "be false.",
        "invalid_function_parameters"
      ],
      [
        "a strict output whose schema is open further in",
        formatted({ ...strictSchema, properties: { a: { type: "object", properties: {} } } }),
        "Invalid schema for response_format 'out': In context=('properties', 'a'), 'additionalProperties' is required "
        + "to be supplied and to be false.",
        "invalid_json_schema"
      ],
      [
        "a strict output with an optional field",
        formatted({ ...strictSchema, required: [] }),
        "Invalid schema for response_format 'out': In context=(), 'required' is required to be supplied and to be an "
        + "array including every key in properties. Missing 'a'.",
        "invalid_json_schema"
      ],
      [
        "an output schema that is no object",
        formatted({ type: "array", items: { type: "string" } }),
        "Invalid schema for response_format 'out': schema must be a JSON Schema of 'type: \"object\"', got 'type: "
        + "\"array\"'.",
        "invalid_json_schema"
      ],
      [
        "a choice of a tool that is not there",
        { ...hello, tool_choice: { type: "function", name: "add" } },
        "Tool choice 'function' not found in 'tools' parameter.",
        null
      ],
      [
        "an unknown model",
        { ...hello, model: "no-such-model" },
        "The model `no-such-model` does not exist or you do not have access to it.",
        "model_not_found"
      ]
    ]
    for (const [name, body, message, code] of cases) {
      it.effect(name, () =>
        Effect.gen(function*() {
          const peer = yield* OpenAiPeer.make
          yield* peer.enqueue(OpenAiPeer.text("must not be sent"))
          const answer = yield* post(peer, body)
          assert.deepInclude(answer.json().error, { message, code, type: "invalid_request_error" })
          assert.include([400, 404], answer.status)
          assert.strictEqual(peer.request(0).error?.message, message)
          assert.strictEqual(peer.remaining(), 1)
        }))
    }

    it.effect("a key that is wrong or missing", () =>
      Effect.gen(function*() {
        const peer = yield* OpenAiPeer.makeWith({ apiKey: "sk-right" })
        const wrong = yield* post(peer, hello, { key: "sk-wrong-secret" })
        assert.strictEqual(wrong.status, 401)
        assert.strictEqual(wrong.json().error.code, "invalid_api_key")
        assert.notInclude(wrong.text, "wrong-secret")
        assert.strictEqual((yield* post(peer, hello, { key: null })).status, 401)
        yield* peer.enqueue(OpenAiPeer.text("in"))
        assert.strictEqual((yield* post(peer, hello)).status, 200)
      }))

    it.effect("a message without the reasoning that led to it, and reasoning with another follower", () =>
      Effect.gen(function*() {
        const peer = yield* OpenAiPeer.make
        yield* peer.enqueue(OpenAiPeer.reasoned({ encrypted: "x" }, [OpenAiPeer.messageItem("hi")]))
        const include = ["reasoning.encrypted_content"]
        const output = (yield* post(peer, { ...hello, include })).json().output
        const alone = yield* post(peer, input(output[1]))
        assert.strictEqual(
          alone.json().error.message,
          `Item '${output[1].id}' of type 'message' was provided without its required 'reasoning' item: '${
            output[0].id
          }'.`
        )
        const other = yield* post(peer, input(output[0], { ...output[1], id: "msg_other" }))
        assert.match(other.json().error.message, /without its required following item/)
        yield* peer.enqueue(OpenAiPeer.text("fine"))
        assert.strictEqual((yield* post(peer, input(...output))).status, 200)
      }))

    it.effect("nothing where strictness is off, nor a history that is right", () =>
      Effect.gen(function*() {
        const lax = yield* OpenAiPeer.makeWith({ strict: false, models: ["any"] })
        yield* lax.enqueue(OpenAiPeer.text("ok"))
        assert.strictEqual((yield* post(lax, { model: "any", input: [functionOutput("x")], foo: 1 })).status, 200)
        const peer = yield* OpenAiPeer.make
        yield* peer.enqueue(OpenAiPeer.text("ok"))
        const right = input(
          user("x"),
          { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "gAAAAx" },
          functionCall("call_1", { id: "fc_1" }),
          functionCall("call_2", { id: "fc_2" }),
          functionOutput("call_2"),
          functionOutput("call_1"),
          { type: "message", role: "assistant", content: [{ type: "output_text", text: "y", annotations: [] }] }
        )
        const answer = yield* post(peer, {
          ...right,
          tools: [{ type: "function", name: "add", strict: true, parameters: strictSchema }, { type: "web_search" }],
          text: { format: { type: "json_schema", name: "out", schema: strictSchema, strict: true } }
        })
        assert.strictEqual(answer.status, 200, answer.text)
      }))
  })
})
