import * as Effect from "effect/Effect"
import type { Item } from "../../Item.ts"
import { assistant, functionCall, functionCallOutput, user } from "../../Item.ts"
import { equal, failure, holds } from "../Law.ts"
import { at, contains, json, law, many, refused, sameItems, texts } from "./sessionSubject.ts"

const known: ReadonlyArray<Item> = [
  { role: "user", content: "a message without a type", id: null } as unknown as Item,
  user("NUL \u0000, lone surrogates \ud800 \udfff, é and e\u0301, 😀, \u2028, \\, \", </script>"),
  assistant("an answer", { id: "msg_1" }),
  {
    type: "reasoning",
    id: "rs_1",
    summary: [{ type: "summary_text", text: "" }],
    encrypted_content: "gAAAAB==",
    status: null
  } as unknown as Item,
  functionCall({ callId: "call_1", name: "tool", arguments: "{\"a\": 1 ,,}", id: "fc_1" }),
  functionCallOutput("call_1", [
    { type: "input_text", text: "text" },
    { type: "input_image", image_url: "data:,", detail: "low" }
  ])
]

const unknown: ReadonlyArray<Item> = [
  { type: "vendor.thing", z: 1, a: { y: [null, true, 1e21, -0.5, 0.1, ""], "": "an empty key" }, b: null },
  { type: "sealed", ["__proto__"]: { p: 1 }, constructor: "x", toString: [[[]], {}] },
  { type: "compaction", encrypted_content: "x", "10": "a key that is a number", "9": 2 }
]

const oddNames: ReadonlyArray<string> = [
  "%",
  "_",
  "a%b",
  "a_b",
  "aXb",
  "A",
  "a",
  "a ",
  "'",
  "''",
  "\"",
  "`",
  "\\",
  "a/b",
  "../a",
  "a%2Fb",
  "a:b",
  "*",
  "?",
  "[a]",
  "{a}",
  "\n",
  "\t",
  "é",
  "e\u0301",
  "ß",
  "ss",
  "\u2028",
  "😀",
  "中文",
  "null",
  "0",
  "00",
  "--",
  ";",
  "x".repeat(300)
]

/** @internal */
export const contentLaws = [
  law(
    "unknown",
    "A conversation that nobody wrote to has no items and version 0",
    [],
    ({ id, session }) =>
      Effect.gen(function*() {
        const loaded = yield* session.loadItems(id())
        yield* sameItems("loadItems of an unknown id", loaded.items, [])
        yield* equal("the version of an unknown id", loaded.version, 0)
      })
  ),

  law(
    "order",
    "Items come back in the order they were saved in, commit after commit",
    [],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        yield* session.saveItems(id(), texts("b", "a"))
        yield* session.saveItems(id(), texts("a"))
        yield* session.saveItems(id(), texts("c", "b", "a"))
        yield* contains(bench, id(), texts("b", "a", "a", "c", "b", "a"))
      })
  ),

  law("large-commit", "A commit of a thousand items keeps their order", [], (bench) =>
    Effect.gen(function*() {
      const { id, session } = bench
      yield* session.saveItems(id(), many(1_000))
      yield* session.saveItems(id(), texts("last"))
      yield* contains(bench, id(), [...many(1_000), ...texts("last")])
    })),

  law(
    "clock",
    "Items are in the order of their commits when the clock stands still or goes back",
    [],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const noon = 1_767_225_600_000
        yield* at(noon, session.saveItems(id(), texts("1", "2")))
        yield* at(noon, session.saveItems(id(), texts("3")))
        yield* at(noon - 3_600_000, session.saveItems(id(), texts("4", "5")))
        yield* at(0, session.saveItems(id(), texts("6")))
        yield* contains(bench, id(), texts("1", "2", "3", "4", "5", "6"))
        const { items } = yield* session.loadItems(id(), { maxItems: 3 })
        yield* sameItems("loadItems with maxItems 3", items, texts("4", "5", "6"))
      })
  ),

  law(
    "max-items",
    "maxItems gives at most so many of the latest items, in order",
    [],
    ({ id, session }) =>
      Effect.gen(function*() {
        yield* session.saveItems(id(), many(3))
        yield* session.saveItems(id(), many(4, "later"))
        const all = [...many(3), ...many(4, "later")]
        for (const maxItems of [1, 2, 4, 5, 7, 8, 1_000_000, Number.MAX_SAFE_INTEGER, Number.MAX_VALUE, Infinity]) {
          const { items } = yield* session.loadItems(id(), { maxItems })
          yield* sameItems(`loadItems with maxItems ${maxItems} of 7`, items, all.slice(-Math.min(maxItems, 7)))
        }
        for (const maxItems of [0, -1, -1_000, -Infinity]) {
          const { items } = yield* session.loadItems(id(), { maxItems })
          yield* sameItems(`loadItems with maxItems ${maxItems} of 7`, items, [])
        }
      })
  ),

  law("empty-save", "An empty save changes nothing", [], (bench) =>
    Effect.gen(function*() {
      const { id, session } = bench
      yield* equal("saveItems of nothing into an unknown id", (yield* session.saveItems(id(), [])).version, 0)
      const { version } = yield* session.saveItems(id(), texts("one"))
      yield* equal("saveItems of nothing", (yield* session.saveItems(id(), [])).version, version)
      yield* contains(bench, id(), texts("one"), version)
    })),

  law("all-or-nothing", "One item that is none refuses the whole commit", [], (bench) =>
    Effect.gen(function*() {
      const { id, session } = bench
      const broken: ReadonlyArray<readonly [string, unknown]> = [
        ["a message of an unknown role", { role: "nobody", content: "x" }],
        ["a call without an id", { type: "function_call", name: "tool", arguments: "{}" }],
        ["a text", "hello"],
        ["null", null],
        ["an item with a bigint", { type: "vendor.thing", n: 1n }]
      ]
      for (const [name, item] of broken) {
        yield* refused(
          `saveItems with ${name} between two items`,
          "InvalidInput",
          session.saveItems(id(), [...texts("before"), item as Item, ...texts("after")])
        )
      }
      yield* contains(bench, id(), [], 0)
    })),

  law(
    "invalid",
    "What means nothing is refused with InvalidInput, and nothing is stored",
    [],
    (bench) =>
      Effect.gen(function*() {
        const { id, session, subject } = bench
        const one = texts("one")
        for (const bad of ["", id("a\0b"), id("a\ud800b"), id("\udc00")]) {
          const name = json(bad)
          yield* refused(`loadItems(${name})`, "InvalidInput", session.loadItems(bad))
          yield* refused(`saveItems(${name})`, "InvalidInput", session.saveItems(bad, one))
        }
        yield* refused("loadItems with maxItems NaN", "InvalidInput", session.loadItems(id(), { maxItems: NaN }))
        if (subject.capabilities.versions) {
          for (const expectedVersion of [-1, 0.5, NaN, Infinity]) {
            yield* refused(
              `saveItems with expectedVersion ${expectedVersion}`,
              "InvalidInput",
              session.saveItems(id(), one, { expectedVersion })
            )
          }
        }
        if (subject.capabilities.operations) {
          yield* refused(
            "saveItems with an empty operationId",
            "InvalidInput",
            session.saveItems(id(), one, { operationId: "" })
          )
        }
        yield* contains(bench, id(), [], 0)
      })
  ),

  law(
    "bytes",
    "What an item holds comes back byte for byte, null and unknown fields too",
    ["anyItem"],
    (bench) =>
      Effect.gen(function*() {
        yield* bench.session.saveItems(bench.id(), known)
        yield* contains(bench, bench.id(), known)
      })
  ),

  law("any-item", "Items of unknown types come back byte for byte", ["anyItem"], (bench) =>
    Effect.gen(function*() {
      yield* bench.session.saveItems(bench.id(), unknown)
      yield* contains(bench, bench.id(), unknown)
    })),

  law(
    "megabyte",
    "An item of one megabyte comes back whole, and its neighbours too",
    [],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const large = user("aé😀".repeat(150_000))
        const items = [...texts("before"), large, ...texts("after")]
        yield* session.saveItems(id(), items)
        yield* contains(bench, id(), items)
      })
  ),

  law(
    "aliasing",
    "Items that were handed in or out can be changed without changing what is stored",
    [],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const content = [{ type: "input_text", text: "one" }, { type: "input_text", text: "two" }]
        const mine: { type: "message"; role: "user"; content: Array<{ type: string; text: string }> } = {
          type: "message",
          role: "user",
          content
        }
        const stored: ReadonlyArray<Item> = structuredClone([mine])
        const handedIn: Array<Item> = [mine]
        yield* session.saveItems(id(), handedIn)
        content[0]!.text = "changed by the writer"
        handedIn.push(user("added by the writer"))
        const { items } = yield* session.loadItems(id())
        yield* sameItems("loadItems after the writer changed its items", items, stored)
        Object.assign((items[0] as typeof mine).content[0]!, { text: "changed by a reader" })
        yield* contains(bench, id(), stored)
      })
  ),

  law("isolation", "Conversations do not see each other", [], (bench) =>
    Effect.gen(function*() {
      const { id, session, subject } = bench
      const names = ["a", "aa", "a/", "a/a", "A", "á", "a%", "a_"]
      for (const name of names) yield* session.saveItems(id(name), texts(`${name} 1`, `${name} 2`))
      if (subject.lacks?.includes("clear") !== true) yield* session.clear(id("a"))
      else yield* session.saveItems(id("a"), texts("a 3"))
      for (const name of names.slice(1)) yield* contains(bench, id(name), texts(`${name} 1`, `${name} 2`), 1)
    })),

  law(
    "ids",
    "A conversation id may hold any character, and each id is a conversation of its own",
    [],
    (bench) =>
      Effect.gen(function*() {
        for (const name of oddNames) yield* bench.session.saveItems(bench.id(name), texts(name))
        for (const name of oddNames) yield* contains(bench, bench.id(name), texts(name))
      })
  ),

  law(
    "long-id",
    "A conversation id that is too long is refused with LimitExceeded",
    [],
    ({ id, session }) =>
      Effect.gen(function*() {
        const reason = yield* refused(
          "loadItems with an id of 10,000 characters",
          "LimitExceeded",
          session.loadItems(id("x".repeat(10_000)))
        )
        yield* holds("LimitExceeded.actual", "more than its maximum", reason.actual > reason.maximum, reason.actual)
      })
  ),

  law(
    "errors",
    "An error names the backend, the operation and the conversation",
    [],
    ({ id, session }) =>
      Effect.gen(function*() {
        const error = yield* failure(
          "loadItems with maxItems NaN",
          "a SessionError",
          session.loadItems(id(), { maxItems: NaN })
        )
        yield* holds("SessionError.backend", "a name", error.backend !== "", error.backend)
        yield* equal("SessionError.operation", error.operation, "loadItems")
        yield* equal("SessionError.conversationId", error.conversationId, id())
        yield* holds("SessionError.message", "the id in it", error.message.includes(id()), error.message)
      })
  )
]
