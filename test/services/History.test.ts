import { assert, describe, it } from "@effect/vitest"
import * as History from "agent-layers/services/History"
import {
  assistant,
  functionCall,
  functionCallOutput,
  isFromModel,
  isReasoning,
  type Item,
  user
} from "agent-layers/services/Item"
import { Arbitrary, Equal, Schema, Struct } from "effect"
import { firstSeed, rounds, timeLimit } from "../support/rounds.ts"

const call = (callId: string, id?: string) => functionCall({ callId, name: "tool", arguments: "{}", id })
const output = (callId: string) => functionCallOutput(callId, "done")
const reasoning = (id?: string): Item => ({
  type: "reasoning",
  summary: [],
  ...(id === undefined ? undefined : { id })
})

/** Few ids, so that pairs, half pairs and repeats all come up. */
const anyItem = Arbitrary.map(
  Arbitrary.schema(Schema.Tuple([
    Schema.Literals(["user", "assistant", "call", "output", "custom", "customOutput", "reasoning", "hosted"]),
    Schema.Literals(["1", "2", "3"]),
    Schema.Literals(["", "a", "b", "c", "d"])
  ])),
  ([kind, callId, id]): Item => {
    const identity = id === "" ? {} : { id }
    switch (kind) {
      case "user":
        return { ...user("hi"), ...identity }
      case "assistant":
        return { ...assistant("hi"), ...identity }
      case "call":
        return { ...call(callId), ...identity }
      case "output":
        return { ...output(callId), ...identity }
      case "custom":
        return { type: "custom_tool_call", call_id: callId, name: "tool", input: "", ...identity }
      case "customOutput":
        return { type: "custom_tool_call_output", call_id: callId, output: "", ...identity }
      case "reasoning":
        return { ...reasoning(), ...identity }
      case "hosted":
        return { type: "web_search_call", ...identity }
    }
  }
)

const anyHistory = Arbitrary.array(anyItem, { maxLength: 14 })

const options = { arbitrary: { runs: rounds("history"), seed: firstSeed }, timeout: timeLimit }

const withoutId = (item: Item): Item => Struct.omit(item as { readonly id?: string }, ["id"]) as Item

/** Whether it is the item, or a copy that lost its id. */
const isKept = (one: Item | undefined, item: Item): boolean =>
  one === item || (one !== undefined && one.id === undefined && Equal.equals(one, withoutId(item)))

const isSubsequence = (part: ReadonlyArray<Item>, whole: ReadonlyArray<Item>): boolean => {
  let next = 0
  for (const item of whole) {
    if (isKept(part[next], item)) next++
  }
  return next === part.length
}

describe("History", () => {
  const valid: ReadonlyArray<readonly [string, ReadonlyArray<Item>]> = [
    ["nothing", []],
    ["messages", [user("hi"), assistant("hello")]],
    ["a call and its output", [user("hi"), call("1"), output("1"), assistant("done")]],
    ["parallel calls answered in another order", [call("1"), call("2"), output("2"), output("1")]],
    ["a message between a call and its output", [call("1"), user("wait"), output("1")]],
    ["reasoning before a call", [reasoning("r"), call("1"), output("1")]],
    ["reasoning before reasoning before a message", [reasoning(), reasoning(), assistant("hi")]],
    ["one call id for two kinds of tools", [
      call("1"),
      { type: "custom_tool_call", call_id: "1", name: "t", input: "" },
      { type: "custom_tool_call_output", call_id: "1", output: "" },
      output("1")
    ]],
    ["a hosted call, which nobody answers", [{ type: "web_search_call", id: "ws" }, assistant("hi")]],
    ["ids that are null", [
      { ...user("a"), id: null } as unknown as Item,
      { ...user("b"), id: null } as unknown as Item
    ]]
  ]

  it.each(valid)("%s is valid", (_, items) => {
    assert.deepStrictEqual(History.check(items), [])
    assert.isTrue(History.isValid(items))
    assert.strictEqual(History.repair(items), items)
  })

  const invalid: ReadonlyArray<readonly [string, ReadonlyArray<Item>, ReadonlyArray<History.Violation>]> = [
    ["a call without an output", [user("hi"), call("1")], [{ index: 1, kind: "CallWithoutOutput" }]],
    ["an output without a call", [output("1"), user("hi")], [{ index: 0, kind: "OutputWithoutCall" }]],
    ["an output before its call", [output("1"), call("1")], [
      { index: 0, kind: "OutputWithoutCall" },
      { index: 1, kind: "CallWithoutOutput" }
    ]],
    ["two outputs of a call", [call("1"), output("1"), output("1")], [{ index: 2, kind: "OutputWithoutCall" }]],
    ["two calls of one id", [call("1"), call("1"), output("1")], [{ index: 1, kind: "DuplicateCall" }]],
    ["an id twice", [assistant("a", { id: "m" }), assistant("b", { id: "m" })], [{ index: 1, kind: "DuplicateId" }]],
    ["reasoning at the end", [user("hi"), reasoning()], [{ index: 1, kind: "ReasoningWithoutFollower" }]],
    ["reasoning before a person's message", [reasoning(), user("hi")], [
      { index: 0, kind: "ReasoningWithoutFollower" }
    ]],
    ["reasoning before half a pair", [reasoning(), call("1")], [
      { index: 0, kind: "ReasoningWithoutFollower" },
      { index: 1, kind: "CallWithoutOutput" }
    ]]
  ]

  it.each(invalid)("%s is not valid", (_, items, violations) => {
    assert.deepStrictEqual(History.check(items), violations)
    assert.isFalse(History.isValid(items))
    const dropped = new Set(violations.map(({ index }) => index))
    assert.deepStrictEqual(History.repair(items), items.filter((_, index) => !dropped.has(index)))
  })

  it("repair leaves a call that the new input answers", () => {
    const history = [user("hi"), reasoning(), call("1"), call("2")]
    assert.deepStrictEqual(History.repair(history, [output("1")]), history.slice(0, 3))
    assert.strictEqual(History.repair(history, [output("2"), output("1")]), history)
    assert.deepStrictEqual(History.repair(history, [user("never mind")]), [history[0]!])
  })

  it("repair leaves reasoning whose item is the first of the new input", () => {
    const history = [user("hi"), reasoning()]
    assert.strictEqual(History.repair(history, [assistant("hello")]), history)
    assert.deepStrictEqual(History.repair(history, [user("and?")]), [history[0]!])
  })

  it("repair takes the id from a message and a call that lost their reasoning, and leaves out what needs its id", () => {
    const from = [
      user("hi"),
      reasoning("r"),
      assistant("let me see", { id: "m" }),
      call("1", "c"),
      { type: "web_search_call", id: "ws" },
      output("1"),
      assistant("done", { id: "n" })
    ]
    const filtered = from.filter((item) => !isReasoning(item))
    assert.deepStrictEqual(History.repair(filtered, [], from), [
      from[0]!,
      assistant("let me see"),
      call("1"),
      output("1"),
      from[6]!
    ])
    assert.strictEqual(History.repair(filtered), filtered)
    assert.strictEqual(History.repair(from, [], from), from)
  })

  it("repair leaves reasoning out with the item that followed it", () => {
    const from = [user("hi"), reasoning("r"), call("1", "c"), assistant("one moment", { id: "m" }), output("1")]
    const filtered = from.filter((item) => item["call_id"] === undefined)
    assert.deepStrictEqual(History.repair(filtered, [], from), [user("hi"), assistant("one moment")])
    // A stored call that was never answered goes the same way.
    assert.deepStrictEqual(History.repair(from.slice(0, 4)), [user("hi"), assistant("one moment")])
  })

  it("repair compares a long row of reasoning once", () => {
    const row = Array.from({ length: 20_000 }, (_, index) => reasoning(`r${index}`))
    const from = [user("hi"), ...row, assistant("hello", { id: "m" })]
    assert.deepStrictEqual(History.repair(from.filter((item) => item !== row[5]), [], from), [
      user("hi"),
      assistant("hello")
    ])
  })

  it("repair takes the id of a message that was moved before its reasoning", () => {
    const [asked, thought, message] = [user("hi"), reasoning("r"), assistant("hello", { id: "m" })]
    assert.deepStrictEqual(History.repair([message, asked, thought], [], [asked, thought, message]), [
      assistant("hello"),
      asked
    ])
  })

  it("repair keeps reasoning and messages that a filter rewrote under their own ids", () => {
    const from = [user("hi"), reasoning("r"), assistant("secret", { id: "m" })]
    const filtered = [...from.slice(0, 2), assistant("[redacted]", { id: "m" })]
    assert.strictEqual(History.repair(filtered, [], from), filtered)
    // Without ids no service asks for the one or the other.
    const nameless = [user("hi"), reasoning(), assistant("secret")]
    const copies = nameless.map((item) => ({ ...item }))
    assert.strictEqual(History.repair(copies, [], nameless), copies)
  })

  it("safeCuts spares pairs and reasoning", () => {
    const items = [user("hi"), reasoning(), call("1"), call("2"), output("1"), output("2"), assistant("done")]
    assert.deepStrictEqual(History.safeCuts(items), [0, 1, 6, 7])
    assert.isTrue(History.isSafeCut(items, 6))
    assert.isFalse(History.isSafeCut(items, 4))
    assert.isFalse(History.isSafeCut(items, 8))
  })

  it("afterCut begins with the first message that is not the model's", () => {
    const items = [assistant("of what?"), output("0"), user("hi"), assistant("hello")]
    assert.deepStrictEqual(History.afterCut(items), items.slice(2))
    assert.deepStrictEqual(History.afterCut([assistant("only")]), [])
  })

  it("repair keeps an item whose id was on one that goes", () => {
    const orphan = { ...output("gone"), id: "same" }
    const kept = { ...assistant("hello"), id: "same" }
    assert.deepStrictEqual(History.check([orphan, kept]), [{ index: 0, kind: "OutputWithoutCall" }])
    assert.deepStrictEqual(History.repair([orphan, kept]), [kept])
  })

  it("latest is the longest valid end that fits", () => {
    const items = [user("hi"), call("1"), output("1"), assistant("done")]
    assert.strictEqual(History.latest(items, 4), items)
    assert.deepStrictEqual(History.latest(items, 3), items.slice(1))
    assert.deepStrictEqual(History.latest(items, 2), items.slice(3))
    assert.deepStrictEqual(History.latest(items, 0), [])
    assert.deepStrictEqual(History.latest(items, -1), [])
  })

  it.prop("repair gives a valid history", [anyHistory], ([items]) => {
    assert.deepStrictEqual(History.check(History.repair(items)), [])
  }, options)

  it.prop("repair gives part of the history, in its order, and again nothing less", [anyHistory], ([items]) => {
    const repaired = History.repair(items)
    assert.isTrue(isSubsequence(repaired, items))
    assert.strictEqual(History.repair(repaired), repaired)
    if (History.isValid(items)) assert.strictEqual(repaired, items)
  }, options)

  it.prop("repair keeps messages whose id does not come twice", [anyHistory], ([items]) => {
    const repaired = History.repair(items)
    for (const item of items) {
      if (item.type !== "message") continue
      if (item.id === undefined || items.filter((other) => other.id === item.id).length === 1) {
        assert.isTrue(repaired.some((one) => isKept(one, item)))
      }
    }
  }, options)

  it.prop(
    "with new input, what repair leaves is valid but for calls that the input answers and reasoning that it follows",
    [anyHistory, Arbitrary.array(anyItem, { maxLength: 3 })],
    ([items, incoming]) => {
      const repaired = History.repair(items, incoming)
      assert.isTrue(isSubsequence(repaired, items))
      for (const { index, kind } of History.check(repaired)) {
        const item = repaired[index]!
        if (kind === "ReasoningWithoutFollower") {
          // Followed by an open call, which the input answers, or by the input itself.
          assert.include(["reasoning", "function_call", "custom_tool_call", undefined], repaired[index + 1]?.type)
        } else {
          assert.strictEqual(kind, "CallWithoutOutput")
          assert.isTrue(
            incoming.some((other) => other["call_id"] === item["call_id"] && other.type === `${item.type}_output`)
          )
        }
      }
    },
    options
  )

  it.prop("a valid history can be cut at every safe cut, and both sides stay valid", [anyHistory], ([any]) => {
    const items = History.repair(any)
    const cuts = History.safeCuts(items)
    assert.strictEqual(cuts[0], 0)
    assert.strictEqual(cuts.at(-1), items.length)
    for (const cut of cuts) {
      assert.deepStrictEqual(History.check(items.slice(0, cut)), [])
      assert.deepStrictEqual(History.check(items.slice(cut)), [])
    }
  }, options)

  it("safeCuts keeps a response together that began with reasoning", () => {
    const items = [user("hi"), reasoning(), assistant("let me see"), call("1"), output("1"), assistant("done")]
    assert.deepStrictEqual(History.safeCuts(items), [0, 1, 5, 6])
    assert.deepStrictEqual(History.safeCuts([reasoning(), assistant("hello"), user("bye")]), [0, 2, 3])
  })

  it.prop("every other cut parts a pair, or reasoning from what it led to", [anyHistory], ([any]) => {
    const items = History.repair(any)
    for (let index = 0; index <= items.length; index++) {
      if (History.isSafeCut(items, index)) continue
      const left = items.slice(0, index)
      const response = left.slice(left.findLastIndex((item) => !isFromModel(item)) + 1)
      const isReasoned = response.some(isReasoning) && isFromModel(items[index]!)
      assert.isTrue(isReasoned || !History.isValid(left) || !History.isValid(items.slice(index)))
    }
  }, options)

  it.prop("latest is valid, no longer than asked, and no longer one would do", [anyHistory], ([any]) => {
    const items = History.repair(any)
    for (let maxItems = 0; maxItems <= items.length; maxItems++) {
      const end = History.latest(items, maxItems)
      assert.isTrue(end.length <= maxItems)
      assert.deepStrictEqual(end, items.slice(items.length - end.length))
      assert.deepStrictEqual(History.check(end), [])
      const longer = History.safeCuts(items).filter((cut) => items.length - cut > end.length)
      assert.isTrue(longer.every((cut) => items.length - cut > maxItems))
    }
  }, options)
})
