import * as Effect from "effect/Effect"
import type { Item } from "../../Item.ts"
import { text } from "../../Item.ts"
import { DecryptionFailed } from "../../SessionError.ts"
import { equal, holds } from "../Law.ts"
import { contains, law, many, refused, sameItems, texts } from "./sessionSubject.ts"

/** @internal */
export const changeLaws = [
  law(
    "known",
    "Where only appends came since a known version, a load may send just those",
    ["versions"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const all = texts("1", "2", "3", "4", "5")
        yield* session.saveItems(id(), all.slice(0, 2))
        yield* session.saveItems(id(), all.slice(2, 3))
        yield* session.saveItems(id(), all.slice(3))
        const from = [0, 2, 3, 5]
        for (const known of [0, 1, 2, 3]) {
          const { isSuffix, items, version } = yield* session.loadItems(id(), { known })
          const expected = isSuffix ? all.slice(from[known]) : all
          yield* sameItems(`loadItems with known ${known} (isSuffix: ${isSuffix})`, items, expected)
          yield* equal(`the version of loadItems with known ${known}`, version, 3)
          const latest = yield* session.loadItems(id(), { known, maxItems: 2 })
          const since = all.slice(from[known])
          yield* sameItems(
            `loadItems with known ${known} and maxItems 2 (isSuffix: ${latest.isSuffix})`,
            latest.items,
            latest.isSuffix && since.length <= 2 ? since : all.slice(-2)
          )
        }
        const ahead = yield* session.loadItems(id(), { known: 4 })
        yield* equal("isSuffix of loadItems with a known version that is not there yet", ahead.isSuffix, false)
        yield* sameItems("loadItems with a known version that is not there yet", ahead.items, all)
        yield* equal("isSuffix of loadItems without known", (yield* session.loadItems(id())).isSuffix, false)
      })
  ),

  law(
    "known-rewritten",
    "Where more than appends came since a known version, a load sends everything",
    ["versions", "rewrite"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        yield* session.saveItems(id(), texts("1", "2"))
        yield* session.saveItems(id(), texts("3"))
        const { version } = yield* session.rewrite(id(), { through: 1, items: texts("1 and 2") })
        yield* session.saveItems(id(), texts("4"))
        for (const known of [0, 1, 2]) {
          const { isSuffix, items } = yield* session.loadItems(id(), { known })
          yield* equal(`isSuffix of loadItems with known ${known} after a rewrite`, isSuffix, false)
          yield* sameItems(`loadItems with known ${known} after a rewrite`, items, texts("1 and 2", "3", "4"))
        }
        const since = yield* session.loadItems(id(), { known: version })
        yield* sameItems(
          `loadItems with the version of the rewrite known (isSuffix: ${since.isSuffix})`,
          since.items,
          since.isSuffix ? texts("4") : texts("1 and 2", "3", "4")
        )
      })
  ),

  law(
    "rewrite",
    "A rewrite replaces what was committed up to a version and keeps what was committed later",
    ["rewrite"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        yield* session.saveItems(id(), texts("1", "2"))
        yield* session.saveItems(id(), texts("3"))
        yield* session.saveItems(id(), texts("4", "5"))
        const saved = yield* session.rewrite(id(), { through: 2, items: texts("summary") })
        yield* equal("the version that a rewrite at version 3 left", saved.version, 4)
        yield* contains(bench, id(), texts("summary", "4", "5"), 4)
        yield* session.saveItems(id(), texts("6"), { expectedVersion: 4 })
        yield* contains(bench, id(), texts("summary", "4", "5", "6"), 5)
        const { items } = yield* session.loadItems(id(), { maxItems: 3 })
        yield* sameItems("loadItems with maxItems 3 after a rewrite", items, texts("4", "5", "6"))
      })
  ),

  law(
    "rewrite-size",
    "A rewrite may make a conversation shorter, longer or empty",
    ["rewrite"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        yield* session.saveItems(id(), many(5))
        yield* session.saveItems(id(), texts("kept 1", "kept 2"))
        const grown = yield* session.rewrite(id(), { through: 1, items: many(40, "more") })
        yield* contains(bench, id(), [...many(40, "more"), ...texts("kept 1", "kept 2")], 3)
        yield* session.saveItems(id(), texts("kept 3"))
        const shrunk = yield* session.rewrite(id(), { through: grown.version, items: texts("less") })
        yield* contains(bench, id(), texts("less", "kept 3"), shrunk.version)
        yield* session.rewrite(id(), { through: shrunk.version, items: [] })
        yield* contains(bench, id(), [], 6)
        yield* session.saveItems(id(), texts("anew"))
        yield* contains(bench, id(), texts("anew"), 7)
      })
  ),

  law("rewrite-appends", "Appends do not refuse a rewrite", ["rewrite"], (bench) =>
    Effect.gen(function*() {
      const { id, session } = bench
      yield* session.saveItems(id(), texts("1"))
      const { version } = yield* session.loadItems(id())
      yield* session.saveItems(id(), texts("2"))
      yield* session.saveItems(id(), texts("3"))
      yield* session.rewrite(id(), { through: version, items: texts("one") })
      yield* contains(bench, id(), texts("one", "2", "3"), 4)
    })),

  law(
    "rewrite-conflict",
    "A rewrite is refused with VersionConflict after another rewrite, and of a version that is not there yet",
    ["rewrite"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        yield* session.saveItems(id(), texts("1"))
        yield* session.saveItems(id(), texts("2"))
        yield* session.rewrite(id(), { through: 1, items: texts("one") })
        for (const through of [0, 1, 2, 4]) {
          yield* refused(
            `rewrite through ${through} at version 3, after a rewrite that left version 3`,
            "VersionConflict",
            session.rewrite(id(), { through, items: texts("refused") })
          )
        }
        yield* refused(
          "rewrite through -1",
          "InvalidInput",
          session.rewrite(id(), { through: -1, items: texts("refused") })
        )
        yield* contains(bench, id(), texts("one", "2"), 3)
        yield* session.rewrite(id(), { through: 3, items: texts("both") })
        yield* contains(bench, id(), texts("both"), 4)
      })
  ),

  law(
    "rewrite-pop",
    "A rewrite is refused with VersionConflict after a pop",
    ["rewrite", "popItem"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const { version } = yield* session.saveItems(id(), texts("1", "2"))
        yield* session.popItem(id())
        yield* refused(
          "rewrite through the version before a pop",
          "VersionConflict",
          session.rewrite(id(), { through: version, items: texts("1 and 2") })
        )
        yield* contains(bench, id(), texts("1"))
      })
  ),

  law(
    "rewrite-clear",
    "A rewrite is refused with VersionConflict after a clear",
    ["rewrite", "clear"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const { version } = yield* session.saveItems(id(), texts("1", "2"))
        yield* session.clear(id())
        yield* refused(
          "rewrite through the version before a clear",
          "VersionConflict",
          session.rewrite(id(), { through: version, items: texts("1 and 2") })
        )
        yield* contains(bench, id(), [])
      })
  ),

  law(
    "pop",
    "popItem takes the last item away and gives it; there may be none",
    ["popItem"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        yield* equal("popItem of an unknown id", yield* session.popItem(id("unknown")), undefined)
        yield* contains(bench, id("unknown"), [], 0)
        yield* session.saveItems(id(), texts("1", "2"))
        yield* session.saveItems(id(), texts("3"))
        for (const name of ["3", "2", "1"]) {
          const popped = yield* session.popItem(id())
          yield* sameItems("popItem", popped === undefined ? [] : [popped], texts(name))
        }
        yield* equal("popItem of an emptied conversation", yield* session.popItem(id()), undefined)
        yield* session.saveItems(id(), texts("4"))
        yield* contains(bench, id(), texts("4"))
      })
  ),

  law("pop-at-once", "No two callers of popItem get the same item", ["popItem"], (bench) =>
    Effect.gen(function*() {
      const { id, session } = bench
      const other = yield* bench.other
      yield* session.saveItems(id(), many(12))
      yield* session.saveItems(id(), many(8, "later"))
      const popped = yield* Effect.forEach(
        Array.from({ length: 24 }, (_, caller) => caller),
        (caller) => (caller % 2 === 0 ? session : other).popItem(id()),
        { concurrency: "unbounded" }
      )
      const items = popped.filter((item) => item !== undefined).map(text)
      yield* equal(
        "what 24 callers of popItem got of 20 items",
        [...items].sort(),
        [...many(12), ...many(8, "later")].map(text).sort()
      )
      yield* contains(bench, id(), [])
    })),

  law(
    "pop-corrupt",
    "A last item that cannot be read is an error, and popItem leaves it where it is",
    ["popItem", "corruptLast"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session, subject } = bench
        yield* session.saveItems(id(), texts("1", "2"))
        yield* subject.faults!.corruptLast!(id())
        for (const time of ["first", "second"]) {
          yield* refused(`popItem of a damaged item, the ${time} time`, "CorruptItem", session.popItem(id()))
        }
        const reason = yield* refused("loadItems with a damaged item", "CorruptItem", session.loadItems(id()))
        yield* equal("CorruptItem.position", reason.position, 1)
      })
  ),

  law(
    "pop-check",
    "popItem leaves the last item where it is when the caller's check refuses it",
    ["popItem"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        yield* session.saveItems(id(), texts("1", "2"))
        const seen: Array<string> = []
        const refuse = (item: Item) => {
          seen.push(text(item))
          return new DecryptionFailed({ description: "not by me" })
        }
        yield* refused("popItem with a check", "DecryptionFailed", session.popItem(id(), { check: refuse }))
        yield* equal("what the check was asked about", seen, ["2"])
        yield* contains(bench, id(), texts("1", "2"), 1)
        yield* refused(
          "popItem of an unknown id with a check",
          "DecryptionFailed",
          Effect.andThen(session.popItem(id("unknown"), { check: refuse }), session.popItem(id(), { check: refuse }))
        )
        yield* equal("how often the check was asked", seen.length, 2)
        const popped = yield* session.popItem(id(), { check: () => undefined })
        yield* sameItems("popItem with a check that agrees", popped === undefined ? [] : [popped], texts("2"))
      })
  ),

  law("clear", "clear forgets the items and nothing else", ["clear"], (bench) =>
    Effect.gen(function*() {
      const { id, session } = bench
      yield* session.clear(id("unknown"))
      yield* contains(bench, id("unknown"), [], 0)
      yield* session.saveItems(id(), texts("1", "2"))
      yield* session.saveItems(id(), texts("3"))
      yield* session.clear(id())
      yield* contains(bench, id(), [])
      yield* session.saveItems(id(), texts("4"))
      yield* contains(bench, id(), texts("4"))
    })),

  law(
    "never-back",
    "The version never goes back, and every change moves it on",
    ["versions"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session, subject } = bench
        const changes = [
          ["saveItems", session.saveItems(id(), many(4))],
          ["saveItems", session.saveItems(id(), many(2))],
          ...(subject.lacks?.includes("popItem") === true ? [] : [["popItem", session.popItem(id())] as const]),
          ...(subject.capabilities.rewrite
            ? [
              [
                "rewrite",
                Effect.flatMap(
                  session.loadItems(id()),
                  ({ version }) => session.rewrite(id(), { through: version, items: texts("all") })
                )
              ] as const
            ]
            : []),
          ...(subject.lacks?.includes("clear") === true ? [] : [["clear", session.clear(id())] as const]),
          ["saveItems", session.saveItems(id(), texts("anew"))]
        ] as const
        let before = 0
        for (const [name, change] of changes) {
          yield* change
          const { version } = yield* session.loadItems(id())
          yield* holds(`the version after ${name}`, `more than ${before}`, version > before, version)
          yield* refused(
            `saveItems onto the version before ${name}`,
            "VersionConflict",
            session.saveItems(id(), texts("refused"), { expectedVersion: before })
          )
          before = version
        }
      })
  ),

  law(
    "late-retry",
    "A late retry of an operation after a clear stores nothing",
    ["operations", "clear"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const first = yield* session.saveItems(id(), texts("one"), { operationId: "op" })
        yield* session.clear(id())
        const late = yield* session.saveItems(id(), texts("one"), { operationId: "op" })
        yield* equal("the answer to an operation id from before a clear", late, first)
        yield* contains(bench, id(), [])
      })
  )
]
