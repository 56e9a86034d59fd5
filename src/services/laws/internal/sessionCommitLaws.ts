import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type { Item } from "../../Item.ts"
import { text, user } from "../../Item.ts"
import { allowTimeFor, equal, holds, LawBroken } from "../Law.ts"
import { at, contains, json, law, many, refused, sameItems, texts } from "./sessionSubject.ts"

const day = 24 * 60 * 60 * 1_000

const range = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, index) => index)

/** Saved in commits of `size`, the items of a commit must stand together and be whole. */
const wholeCommits = (operation: string, items: ReadonlyArray<Item>, size: number): Effect.Effect<void, LawBroken> => {
  for (let index = 0; index < items.length; index++) {
    const first = text(items[index - index % size]!)
    if (text(items[index]!) !== first.replace(/\.\d+$/, `.${index % size}`)) {
      return Effect.fail(
        new LawBroken({
          operation,
          expected: `commits of ${size} items, each whole and in one piece`,
          got: `${items.length} items: ${items.map(text).join(", ")}`
        })
      )
    }
  }
  return holds(operation, `a multiple of ${size} items`, items.length % size === 0, items.length)
}

const commitOf = (name: string, size: number): ReadonlyArray<Item> =>
  texts(...range(size).map((index) => `${name}.${index}`))

/** @internal */
export const commitLaws = [
  law(
    "versions",
    "Each commit raises the version by one, and a load tells the latest",
    ["versions"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        for (let version = 1; version <= 5; version++) {
          const saved = yield* session.saveItems(id(), many(version))
          yield* equal(`the version that commit ${version} left`, saved.version, version)
          const { version: loaded } = yield* session.loadItems(id(), { maxItems: version % 3 })
          yield* equal(`the version of a load after commit ${version}`, loaded, version)
        }
      })
  ),

  law(
    "conflict",
    "A save onto a version that moved on is refused with VersionConflict, and nothing is stored",
    ["versions"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        yield* session.saveItems(id(), texts("1"), { expectedVersion: 0 })
        yield* session.saveItems(id(), texts("2"), { expectedVersion: 1 })
        for (const expected of [0, 1, 3, 1_000]) {
          const reason = yield* refused(
            `saveItems with expectedVersion ${expected} at version 2`,
            "VersionConflict",
            session.saveItems(id(), texts("refused"), { expectedVersion: expected })
          )
          yield* equal("VersionConflict.expected", reason.expected, expected)
          yield* equal("VersionConflict.actual", reason.actual, 2)
        }
        yield* refused(
          "saveItems with expectedVersion 1 into an unknown id",
          "VersionConflict",
          session.saveItems(id("unknown"), texts("refused"), { expectedVersion: 1 })
        )
        yield* refused(
          "an empty saveItems with expectedVersion 1 at version 2",
          "VersionConflict",
          session.saveItems(id(), [], { expectedVersion: 1 })
        )
        yield* contains(bench, id(), texts("1", "2"), 2)
        yield* contains(bench, id("unknown"), [], 0)
      })
  ),

  law(
    "one-wins",
    "Of several saves onto one version exactly one wins",
    ["versions"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const other = yield* bench.other
        yield* session.saveItems(id(), texts("first"))
        for (let round = 1; round <= 5; round++) {
          const exits = yield* Effect.forEach(
            range(6),
            (writer) =>
              (writer % 2 === 0 ? session : other).saveItems(id(), texts(`${round}`), { expectedVersion: round }).pipe(
                Effect.exit
              ),
            { concurrency: "unbounded" }
          )
          yield* equal(
            `how many of 6 saves onto version ${round} won`,
            exits.filter(Exit.isSuccess).length,
            1
          )
          for (const exit of exits) {
            if (Exit.isFailure(exit)) yield* refused("a save that lost", "VersionConflict", exit)
          }
        }
        yield* contains(bench, id(), texts("first", "1", "2", "3", "4", "5"), 6)
      })
  ),

  law("writers", "Writers at once lose nothing, and their commits do not mix", [], (bench) =>
    Effect.gen(function*() {
      const { id, session, subject } = bench
      const other = yield* bench.other
      yield* Effect.forEach(range(8), (writer) =>
        Effect.forEach(range(6), (turn) =>
          Effect.andThen(
            Effect.yieldNow,
            (writer % 2 === 0 ? session : other).saveItems(id(), commitOf(`${writer}/${turn}`, 4))
          )), { concurrency: "unbounded", discard: true })
      const { items, version } = yield* session.loadItems(id())
      yield* equal("the number of items after 48 commits of 4", items.length, 192)
      yield* wholeCommits("the items after 48 commits of 8 writers", items, 4)
      const seen = new Set(items.map(text))
      yield* equal("the number of different items after 48 commits of 4", seen.size, 192)
      for (const writer of range(8)) {
        const turns = items.map(text).filter((name) => name.startsWith(`${writer}/`) && name.endsWith(".0"))
        yield* equal(`the turns of writer ${writer}`, turns, range(6).map((turn) => `${writer}/${turn}.0`))
      }
      if (subject.capabilities.versions) yield* equal("the version after 48 commits", version, 48)
    })),

  law("whole", "A reader sees a commit whole or not at all", [], (bench) =>
    Effect.gen(function*() {
      const { id, session } = bench
      const other = yield* bench.other
      const writer = yield* Effect.forkChild(
        Effect.forEach(range(25), (turn) =>
          Effect.andThen(session.saveItems(id(), commitOf(`${turn}`, 20)), Effect.yieldNow), { discard: true })
      )
      while (writer.pollUnsafe() === undefined) {
        const { items } = yield* other.loadItems(id())
        yield* wholeCommits("loadItems while commits of 20 items are saved", items, 20)
        yield* Effect.yieldNow
      }
      yield* Fiber.join(writer)
      yield* equal("the number of items in the end", (yield* session.loadItems(id())).items.length, 500)
    })),

  law(
    "interruption",
    "A save that is interrupted is stored whole or not at all",
    [],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        for (const round of range(24)) {
          const fiber = yield* Effect.forkChild(session.saveItems(id(`${round}`), commitOf("x", 20)))
          const pause = yield* Random.nextIntBetween(0, 4)
          if (round % 2 === 0) yield* Effect.forEach(range(pause), () => Effect.yieldNow)
          else yield* allowTimeFor("the save to begin", pause)
          yield* Fiber.interrupt(fiber)
          const { items } = yield* session.loadItems(id(`${round}`))
          yield* holds(
            `the number of items after saveItems of 20 was interrupted (round ${round})`,
            "0 or 20",
            items.length === 0 || items.length === 20,
            items.length
          )
        }
      })
  ),

  law(
    "operation",
    "An operation id that comes again stores nothing and answers as before",
    ["operations"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        yield* session.saveItems(id(), texts("before"))
        const first = yield* session.saveItems(id(), texts("one"), { operationId: "op" })
        const again = yield* session.saveItems(id(), texts("one"), { operationId: "op" })
        yield* equal("the answer to the same operation id", again, first)
        yield* session.saveItems(id(), texts("two"), { operationId: "op/2" })
        const late = yield* session.saveItems(id(), texts("one"), { operationId: "op" })
        yield* equal("the answer to the same operation id after another commit", late, first)
        yield* contains(bench, id(), texts("before", "one", "two"), 3)
      })
  ),

  law(
    "operation-first",
    "An operation id is looked up before the version is compared",
    ["operations", "versions"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const options = { operationId: "op", expectedVersion: 0 }
        const first = yield* session.saveItems(id(), texts("one"), options)
        yield* session.saveItems(id(), texts("two"))
        const late = yield* session.saveItems(id(), texts("one"), options)
        yield* equal("the answer to the same operation id when the version moved on", late, first)
        yield* refused(
          "another operation id onto a version that moved on",
          "VersionConflict",
          session.saveItems(id(), texts("one"), { ...options, operationId: "other" })
        )
        yield* contains(bench, id(), texts("one", "two"), 2)
      })
  ),

  law(
    "operation-mismatch",
    "An operation id that comes again with other content is refused with OperationMismatch, and nothing is stored",
    ["operations"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        yield* session.saveItems(id(), texts("one"), { operationId: "op" })
        const others: ReadonlyArray<ReadonlyArray<Item>> = [
          texts("two"),
          texts("one", "one"),
          [{ type: "message", role: "user", content: "one", id: "msg_1" }],
          [{ type: "message", role: "developer", content: "one" }]
        ]
        for (const items of others) {
          const reason = yield* refused(
            `saveItems of ${json(items)} under the operation id of other content`,
            "OperationMismatch",
            session.saveItems(id(), items, { operationId: "op" })
          )
          yield* equal("OperationMismatch.operationId", reason.operationId, "op")
        }
        yield* contains(bench, id(), texts("one"), 1)
      })
  ),

  law(
    "key-order",
    "The order of an item's keys does not make it other content",
    ["operations"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const item: Item = { type: "message", role: "user", content: [{ type: "input_text", text: "one" }], id: "a" }
        const reordered: Item = {
          id: "a",
          content: [{ text: "one", type: "input_text" }],
          role: "user",
          type: "message"
        }
        const first = yield* session.saveItems(id(), [item], { operationId: "op" })
        const again = yield* session.saveItems(id(), [reordered], { operationId: "op" })
        yield* equal("the answer to the same content with other key order", again, first)
        yield* contains(bench, id(), [item], 1)
      })
  ),

  law(
    "fingerprint",
    "A fingerprint that is passed on stands for the content",
    ["operations"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const first = yield* session.saveItems(id(), texts("one"), { operationId: "op", fingerprint: "f" })
        const again = yield* session.saveItems(id(), texts("sealed anew"), { operationId: "op", fingerprint: "f" })
        yield* equal("the answer to the same fingerprint with other items", again, first)
        yield* refused(
          "saveItems of the same items with another fingerprint",
          "OperationMismatch",
          session.saveItems(id(), texts("one"), { operationId: "op", fingerprint: "g" })
        )
        yield* contains(bench, id(), texts("one"), 1)
      })
  ),

  law(
    "operation-scope",
    "An operation id belongs to its conversation",
    ["operations"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        for (const name of ["a", "b"]) yield* session.saveItems(id(name), texts(name), { operationId: "op" })
        for (const name of ["a", "b"]) yield* contains(bench, id(name), texts(name), 1)
      })
  ),

  law(
    "operation-refused",
    "A save that was refused does not use up its operation id",
    ["operations", "versions"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        yield* session.saveItems(id(), texts("one"))
        yield* refused(
          "saveItems onto a version that moved on",
          "VersionConflict",
          session.saveItems(id(), texts("refused"), { operationId: "op", expectedVersion: 0 })
        )
        const saved = yield* session.saveItems(id(), texts("two"), { operationId: "op", expectedVersion: 1 })
        yield* equal("the version that the same operation id leaves when it is not refused", saved.version, 2)
        yield* contains(bench, id(), texts("one", "two"), 2)
      })
  ),

  law(
    "operation-at-once",
    "Saves under one operation id at once store once",
    ["operations"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const other = yield* bench.other
        const answers = yield* Effect.forEach(
          range(10),
          (writer) => (writer % 2 === 0 ? session : other).saveItems(id(), texts("one"), { operationId: "op" }),
          {
            concurrency: "unbounded"
          }
        )
        for (const answer of answers) yield* equal("the answer to each of 10 saves at once", answer, answers[0])
        yield* contains(bench, id(), texts("one"), 1)
      })
  ),

  law(
    "operation-kept",
    "Operation ids are remembered for 7 days and for the latest 1,000 of a conversation",
    ["operations"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const began = 1_767_225_600_000
        const first = yield* at(began, session.saveItems(id(), texts("0"), { operationId: "op/0" }))
        yield* Effect.forEach(range(999), (index) =>
          at(
            began + (index + 1) * 1_000,
            session.saveItems(id(), [user(`${index + 1}`)], { operationId: `op/${index + 1}` })
          ), { discard: true })
        const late = yield* at(
          began + 7 * day - 1_000,
          session.saveItems(id(), texts("0"), { operationId: "op/0" })
        )
        yield* equal("the answer to the oldest of 1,000 operation ids, a second before 7 days are over", late, first)
        yield* equal("the number of items", (yield* session.loadItems(id())).items.length, 1_000)
      })
  ),

  law(
    "operation-reopened",
    "An operation id is remembered when the session is opened again",
    ["operations", "canReopen"],
    ({ id, subject }) =>
      Effect.gen(function*() {
        const save = Effect.scoped(
          Effect.flatMap(subject.open, (session) => session.saveItems(id(), texts("one"), { operationId: "op" }))
        )
        const first = yield* save
        yield* equal("the answer to the same operation id in another session", yield* save, first)
        const session = yield* subject.open
        yield* refused(
          "the same operation id with other content in another session",
          "OperationMismatch",
          session.saveItems(id(), texts("two"), { operationId: "op" })
        )
        yield* sameItems("loadItems", (yield* session.loadItems(id())).items, texts("one"))
      })
  )
]
