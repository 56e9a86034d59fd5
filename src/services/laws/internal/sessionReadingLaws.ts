import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Session } from "../../Session.ts"
import { equal, holds } from "../Law.ts"
import { at, conversations, law, many, records, refused, sameItems, texts } from "./sessionSubject.ts"

const noon = 1_767_225_600_000

const expires = (
  session: Session["Service"],
  id: string,
  change: string,
  run: Effect.Effect<unknown, unknown>
): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const [first] = yield* records(session, id)
    if (first === undefined) return yield* equal("the number of records", 0, "more than none")
    const { cursor } = first
    yield* run
    const reason = yield* refused(
      `records from a cursor of before a ${change}`,
      "CursorExpired",
      records(session, id, cursor)
    )
    yield* equal("CursorExpired.cursor", reason.cursor, cursor)
  })

/** @internal */
export const readingLaws = [
  law(
    "records",
    "A record tells the commit of its item, when it was saved and by whom",
    ["records"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session, subject } = bench
        yield* equal("records of an unknown id", (yield* records(session, id("unknown"))).length, 0)
        const meta = { runId: "run", agent: "agent", provider: "provider" }
        yield* at(noon, session.saveItems(id(), texts("1", "2"), { meta }))
        yield* at(noon + 5, session.saveItems(id(), texts("3")))
        const found = yield* records(session, id())
        yield* sameItems("the items of records", found.map((record) => record.item), texts("1", "2", "3"))
        yield* equal("savedAt of records", found.map((record) => record.savedAt), [noon, noon, noon + 5])
        yield* equal("meta of records", found.map((record) => record.meta), [meta, meta, undefined])
        if (subject.capabilities.versions) {
          yield* equal("commit of records", found.map((record) => record.commit), [1, 1, 2])
        }
        yield* equal("the number of different cursors of 3 records", new Set(found.map(({ cursor }) => cursor)).size, 3)
      })
  ),

  law(
    "records-pages",
    "Records are read in pages without gaps and without repeats",
    ["records"],
    ({ id, session }) =>
      Effect.gen(function*() {
        for (const turn of [0, 1, 2, 3]) yield* session.saveItems(id(), many(256, `turn ${turn},`))
        yield* session.saveItems(id(), many(3, "last,"))
        const all = [0, 1, 2, 3].flatMap((turn) => many(256, `turn ${turn},`)).concat(many(3, "last,"))
        const found = yield* records(session, id())
        yield* sameItems("the items of 1,027 records", found.map((record) => record.item), all)
        const few = yield* Stream.runCollect(Stream.take(session.records(id()), 2))
        yield* sameItems("the first 2 of 1,027 records", few.map((record) => record.item), all.slice(0, 2))
      })
  ),

  law(
    "cursor",
    "Reading goes on after a cursor, with what was saved meanwhile",
    ["records"],
    ({ id, session }) =>
      Effect.gen(function*() {
        yield* session.saveItems(id(), texts("1", "2"))
        yield* session.saveItems(id(), texts("3"))
        const found = yield* records(session, id())
        yield* session.saveItems(id(), texts("4"))
        for (const [index, { cursor }] of found.entries()) {
          const rest = yield* records(session, id(), cursor)
          yield* sameItems(
            `the items of records after record ${index + 1}`,
            rest.map((record) => record.item),
            texts("1", "2", "3", "4").slice(index + 1)
          )
        }
        yield* refused("records after something that is no cursor", "InvalidInput", records(session, id(), "nonsense"))
      })
  ),

  law(
    "cursor-rewrite",
    "A cursor expires with a rewrite",
    ["records", "rewrite"],
    ({ id, session }) =>
      Effect.gen(function*() {
        const { version } = yield* session.saveItems(id(), texts("1", "2"))
        yield* expires(session, id(), "rewrite", session.rewrite(id(), { through: version, items: texts("both") }))
        const found = yield* records(session, id())
        yield* sameItems("the items of records after a rewrite", found.map((record) => record.item), texts("both"))
      })
  ),

  law("cursor-pop", "A cursor expires with a pop", ["records", "popItem"], ({ id, session }) =>
    Effect.gen(function*() {
      yield* session.saveItems(id(), texts("1", "2"))
      yield* expires(session, id(), "pop", session.popItem(id()))
    })),

  law(
    "cursor-clear",
    "A cursor expires with a clear",
    ["records", "clear"],
    ({ id, session }) =>
      Effect.gen(function*() {
        yield* session.saveItems(id(), texts("1", "2"))
        yield* expires(
          session,
          id(),
          "clear",
          Effect.andThen(session.clear(id()), session.saveItems(id(), texts("anew", "and more")))
        )
      })
  ),

  law(
    "list",
    "conversations lists those that have content, by prefix, with version and last change",
    ["list"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session, subject } = bench
        const names = ["100%", "100_", "100%/a", "1000", "100", "10", "Ü", "ü", "'", "😀", "\uffee"]
        for (const name of names) yield* at(noon, session.saveItems(id(name), texts(name)))
        yield* at(noon + 7, session.saveItems(id("100%"), texts("more")))
        yield* session.saveItems(id("nothing"), [])
        if (subject.lacks?.includes("clear") !== true) {
          yield* session.saveItems(id("cleared"), texts("x"))
          yield* session.clear(id("cleared"))
        }
        if (subject.lacks?.includes("popItem") !== true) {
          yield* session.saveItems(id("popped"), texts("x"))
          yield* session.popItem(id("popped"))
        }
        const list = (prefix: string) =>
          Effect.map(
            conversations(session, id(prefix)),
            (found) => found.map((one) => one.id.slice(id("").length)).sort()
          )
        yield* equal("conversations of all", yield* list(""), [...names].sort())
        yield* equal("conversations that begin with 100%", yield* list("100%"), ["100%", "100%/a"])
        yield* equal("conversations that begin with 100_", yield* list("100_"), ["100_"])
        yield* equal("conversations that begin with ü", yield* list("ü"), ["ü"])
        yield* equal("conversations that begin with nothing known", yield* list("x"), [])
        const [first] = yield* conversations(session, id("100%"))
        yield* equal("changedAt of a conversation", first?.changedAt, noon + 7)
        if (subject.capabilities.versions) yield* equal("the version of a conversation", first?.version, 2)
      })
  ),

  law(
    "list-pages",
    "Conversations are listed by id, in pages without gaps and without repeats",
    ["list"],
    (bench) =>
      Effect.gen(function*() {
        const { id, session } = bench
        const names = Array.from({ length: 600 }, (_, index) => `${(index * 7919) % 600}`.padStart(4, "0"))
        yield* Effect.forEach(names, (name) => session.saveItems(id(name), texts(name)), {
          concurrency: 8,
          discard: true
        })
        const found = yield* conversations(session, id(""))
        yield* equal(
          "the ids of 600 conversations, in the order of the list",
          found.map((one) => one.id.slice(id("").length)),
          [...names].sort()
        )
        const few = yield* Stream.runCollect(Stream.take(session.conversations({ prefix: id("") }), 1))
        yield* equal("the first of 600 conversations", few.map((one) => one.id), [id("0000")])
      })
  ),

  law(
    "maintain",
    "maintain leaves a conversation readable and its version not behind",
    [],
    ({ id, session }) =>
      Effect.gen(function*() {
        yield* session.maintain(id("unknown"))
        const saved = yield* session.saveItems(id(), many(3))
        yield* session.maintain(id())
        const { items, version } = yield* session.loadItems(id())
        yield* holds("the version after maintain", `at least ${saved.version}`, version >= saved.version, version)
        yield* sameItems("the last item after maintain", items.slice(-1), texts("item 2"))
      })
  )
]
