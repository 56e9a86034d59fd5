import { assert, describe, it } from "@effect/vitest"
import * as Item from "agent-layers/services/Item"
import { Effect, Exit, Schema } from "effect"

const items: ReadonlyArray<readonly [string, unknown]> = [
  ["a message", Item.user("hi")],
  ["a message without a type", { role: "user", content: "hi" }],
  ["a message of parts", Item.user([{ type: "input_text", text: "hi" }, { type: "input_image", image_url: "data:," }])],
  ["a message of no parts", { type: "message", role: "assistant", content: [] }],
  ["a message with an id that is null", { type: "message", role: "user", content: "", id: null }],
  ["a system message", Item.system("be brief")],
  ["a developer message", Item.developer("be brief")],
  ["an assistant message", Item.assistant("hello", { id: "msg_1" })],
  ["a refusal", { role: "assistant", content: [{ type: "refusal", refusal: "no" }] }],
  ["a call", Item.functionCall({ callId: "call_1", name: "tool", arguments: "not even JSON", id: "fc_1" })],
  ["an output", Item.functionCallOutput("call_1", "done")],
  ["an output of parts", Item.functionCallOutput("call_1", [{ type: "input_text", text: "done" }])],
  ["reasoning", { type: "reasoning", summary: [], encrypted_content: null }],
  ["reasoning with a summary", { type: "reasoning", summary: [{ type: "summary_text", text: "…" }] }],
  ["a hosted call", { type: "web_search_call", id: "ws_1", status: "completed" }],
  ["a type nobody knows", { type: "vendor.thing", role: 1, content: 2, call_id: 3 }],
  ["an object without a prototype", Object.assign(Object.create(null), { role: "user", content: "hi" })]
]

const others: ReadonlyArray<readonly [string, unknown]> = [
  ["nothing", undefined],
  ["null", null],
  ["text", "hi"],
  ["an array", [Item.user("hi")]],
  ["an array with a type", Object.assign([], { type: "x" })],
  ["an object without a type", { text: "hi" }],
  ["an empty type", { type: "" }],
  ["a type that is no text", { type: 1 }],
  ["a message of an unknown role", { type: "message", role: "nobody", content: "hi" }],
  ["a message without content", { type: "message", role: "user" }],
  ["a message whose content is an object", { role: "user", content: {} }],
  ["a message with a part without a type", { role: "user", content: [{ text: "hi" }] }],
  ["a message with a part whose text is a number", { role: "user", content: [{ type: "input_text", text: 1 }] }],
  ["a message with an id that is a number", { role: "user", content: "hi", id: 1 }],
  ["a call without a call id", { type: "function_call", name: "tool", arguments: "{}" }],
  ["a call with an empty call id", { type: "function_call", call_id: "", name: "tool", arguments: "{}" }],
  ["a call with arguments that are not text", { type: "function_call", call_id: "c", name: "tool", arguments: {} }],
  ["a call without a name", { type: "function_call", call_id: "c", arguments: "{}" }],
  ["an output without a call id", { type: "function_call_output", output: "" }],
  ["an output that is an object", { type: "function_call_output", call_id: "c", output: {} }],
  ["reasoning without a summary", { type: "reasoning" }],
  ["reasoning whose summary is text", { type: "reasoning", summary: "…" }]
]

describe("Item", () => {
  it.each(items)("%s is an item", (_, value) => {
    assert.isTrue(Item.isItem(value))
    // The very object, so that nothing that a provider sent is lost.
    assert.strictEqual(Schema.decodeUnknownSync(Item.Item)(value), value)
    assert.strictEqual(Schema.encodeUnknownSync(Item.Item)(value), value)
  })

  it.each(others)("%s is no item", (_, value) => {
    assert.isFalse(Item.isItem(value))
    assert.isTrue(Exit.isFailure(Schema.decodeUnknownExit(Item.Item)(value)))
  })

  it.effect("says what it expected", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Schema.decodeUnknownEffect(Item.Item)({ role: "nobody" }))
      assert.include(error.message, "a Responses API item")
    }))

  it("guards tell the types apart", () => {
    const guards = [Item.isMessage, Item.isFunctionCall, Item.isFunctionCallOutput, Item.isReasoning]
    const kinds: ReadonlyArray<readonly [Item.Item, number]> = [
      [Item.user("hi"), 0],
      [{ role: "user", content: "hi" }, 0],
      [Item.functionCall({ callId: "c", name: "tool", arguments: "{}" }), 1],
      [Item.functionCallOutput("c", ""), 2],
      [{ type: "reasoning", summary: [] }, 3],
      [{ type: "custom_tool_call", call_id: "c" }, -1]
    ]
    for (const [item, kind] of kinds) {
      assert.deepStrictEqual(guards.map((guard) => guard(item)), guards.map((_, index) => index === kind))
    }
  })

  it("isFromModel tells what the model made from what people and tools did", () => {
    const fromModel: ReadonlyArray<Item.Item> = [
      Item.assistant("hi"),
      Item.functionCall({ callId: "c", name: "tool", arguments: "{}" }),
      { type: "reasoning", summary: [] },
      { type: "web_search_call" },
      { type: "mcp_approval_request" },
      { type: "compaction" }
    ]
    const fromOthers: ReadonlyArray<Item.Item> = [
      Item.user("hi"),
      { role: "user", content: "hi" },
      Item.system("hi"),
      Item.developer("hi"),
      Item.functionCallOutput("c", ""),
      { type: "computer_call_output", call_id: "c" },
      { type: "mcp_approval_response" }
    ]
    assert.deepStrictEqual(fromModel.filter((item) => !Item.isFromModel(item)), [])
    assert.deepStrictEqual(fromOthers.filter(Item.isFromModel), [])
  })

  it("text joins the text parts of a message", () => {
    assert.strictEqual(Item.text(Item.user("hi")), "hi")
    assert.strictEqual(
      Item.text(Item.user([{ type: "input_text", text: "a" }, { type: "input_image" }, { type: "x", text: "b" }])),
      "ab"
    )
    assert.strictEqual(Item.text(Item.functionCallOutput("c", "done")), "")
  })

  it("refusal finds the refusal of an assistant", () => {
    const refused: Item.Item = { role: "assistant", content: [{ type: "refusal", refusal: "no" }] }
    assert.strictEqual(Item.refusal(refused), "no")
    assert.strictEqual(Item.refusal(Item.assistant("yes")), undefined)
    assert.strictEqual(Item.refusal(Item.user("yes")), undefined)
  })

  it("constructors leave out what was not given", () => {
    assert.deepStrictEqual(Object.keys(Item.assistant("hi")), ["type", "role", "status", "content"])
    assert.deepStrictEqual(Object.keys(Item.functionCall({ callId: "c", name: "n", arguments: "{}" })), [
      "type",
      "call_id",
      "name",
      "arguments"
    ])
  })

  it("is JSON by its codec: what is undefined is left out, all else stays, and what is no item is refused", () => {
    const codec = Schema.toCodecJson(Item.Item)
    const item: Item.Item = { type: "other", id: undefined, deep: [{ a: undefined, b: null }], text: "ü\ud83d" }
    const json = Schema.encodeSync(codec)(item)
    assert.deepStrictEqual(json, { type: "other", deep: [{ b: null }], text: "ü\ud83d" })
    assert.deepStrictEqual<unknown>(Schema.decodeUnknownSync(codec)(json), json)
    assert.isTrue(Exit.isFailure(Schema.decodeUnknownExit(codec)({ type: "function_call" })))
    assert.isTrue(Exit.isFailure(Schema.decodeUnknownExit(codec)("text")))
  })
})
