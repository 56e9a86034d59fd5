import { assert, describe, it } from "@effect/vitest"
import * as SessionEncrypted from "agent-layers/layers/session/SessionEncrypted"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import { text, user } from "agent-layers/services/Item"
import { all } from "agent-layers/services/laws/SessionLaws"
import * as Session from "agent-layers/services/Session"
import { isSessionError, type SessionError } from "agent-layers/services/SessionError"
import { Cause, Config, ConfigProvider, Effect, Exit, Formatter, Layer, Logger, Redacted, Stream } from "effect"
import * as path from "node:path"
import { inspect } from "node:util"
import { describeLaws } from "../../support/laws.ts"
import { secret } from "../../support/session/decorators.ts"
import { outageLaw, subjectsOf } from "../../support/session/lawsOver.ts"
import { contentOf, temporaryFolder } from "../../support/session/subjects.ts"

const subjects = subjectsOf("encrypted")
describeLaws("SessionEncrypted over memory", all, subjects.memory, { notShown: [outageLaw] })
describeLaws("SessionEncrypted over SQLite", all, subjects.sqlite)

const key = (id: string, byte: number): SessionEncrypted.Key => ({ id, secret: secret(byte) })
const k1 = key("k1", 1)
const k2 = key("k2", 2)

const over = (raw: Session.Session["Service"], options: Partial<SessionEncrypted.Options> = {}) =>
  Effect.provideService(SessionEncrypted.make({ keys: [k1], ...options }), Session.Session, raw)

const open = Effect.fnUntraced(function*(options?: Partial<SessionEncrypted.Options>) {
  const store = yield* SessionMemory.makeStore
  const raw = yield* SessionMemory.make({ store })
  return { raw, store, ...(yield* over(raw, options)) }
})

const rowsOf = (store: SessionMemory.Store, id: string) => contentOf(store).conversations.get(id)!.rows

const alter = (entry: string, change: (envelope: Record<string, string>) => unknown): string => {
  const envelope = JSON.parse(entry) as Record<string, string>
  change(envelope)
  return JSON.stringify(envelope)
}

const refuses = (effect: Effect.Effect<unknown, SessionError>, words = "") =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.strictEqual(error.backend, "encrypted")
    assert.strictEqual(error.reason._tag, "DecryptionFailed")
    assert.include(error.message, words)
  })

/** Neither read nor taken away. */
const isUntouchable = Effect.fnUntraced(function*(session: Session.Session["Service"], id: string, words = "") {
  yield* refuses(session.loadItems(id), words)
  yield* refuses(Stream.runCollect(session.records(id)), words)
  yield* refuses(session.rewrite(id, { through: 1, items: [] }), words)
})

describe("SessionEncrypted seals", () => {
  it.effect("so that the store shows nothing of an item, and equal items are not equal in it", () =>
    Effect.gen(function*() {
      const { session, store } = yield* open()
      yield* session.saveItems("a", [user("canary"), user("canary")], { operationId: "op", meta: { agent: "x" } })
      const [first, second] = rowsOf(store, "a")
      const stored = JSON.stringify(
        [...contentOf(store).conversations.values()].map((one) => [one.rows, [...one.operations]])
      )
      assert.notInclude(stored, "canary")
      assert.notInclude(stored, Buffer.from("canary").toString("base64").slice(0, 6))
      assert.deepStrictEqual(Object.keys(JSON.parse(first!.entry)), ["type", "v", "key", "item", "data"])
      assert.notStrictEqual(JSON.parse(first!.entry).data, JSON.parse(second!.entry).data)
    }))

  it.effect("says that it is sealed", () =>
    Effect.gen(function*() {
      const { raw, session } = yield* open()
      assert.isUndefined(raw.capabilities.sealed)
      assert.isTrue(session.capabilities.sealed)
    }))

  it.effect("over a session that keeps items of any type only", () =>
    Effect.gen(function*() {
      const raw = yield* SessionMemory.make()
      const error = yield* Effect.flip(over({ ...raw, capabilities: { ...raw.capabilities, anyItem: false } }))
      assert.strictEqual(error.reason._tag, "Unsupported")
    }))

  const badRings: ReadonlyArray<readonly [string, Partial<SessionEncrypted.Options>]> = [
    ["without a key", { keys: [] }],
    ["with two keys of one id", { keys: [k1, key("k1", 3)] }],
    ["with a short secret", { keys: [{ id: "k", secret: Redacted.make("c2hvcnQtY2FuYXJ5") }] }],
    ["with a secret that is no base64", { keys: [{ id: "k", secret: Redacted.make("canary secret! ".repeat(9)) }] }],
    ["with a key without id", { keys: [key("", 1)] }],
    ["with a bad fingerprint key", { fingerprintKey: Redacted.make("canary") }]
  ]
  it.effect.each(badRings)("not with a key ring %s, and tells no secret", ([, options]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(over(yield* SessionMemory.make(), options))
      assert.strictEqual(error.reason._tag, "InvalidInput")
      assert.notMatch(error.message, /canary|c2hvcnQ/)
    }))

  it.effect("with keys from configuration", () =>
    Effect.gen(function*() {
      const layer = SessionEncrypted.layerConfig({
        keys: Config.map(Config.Redacted("KEY"), (secret) => [{ id: "env", secret }])
      }).pipe(Layer.provide([
        SessionMemory.layer,
        ConfigProvider.layer(ConfigProvider.fromUnknown({ KEY: Redacted.value(secret(7)) }))
      ]))
      const session = yield* Effect.provide(Session.Session, layer)
      assert.isTrue(session.capabilities.sealed)
    }))
})

describe("SessionEncrypted under attack", () => {
  const alterations: ReadonlyArray<
    readonly [string, (envelope: Record<string, string>, other: Record<string, string>) => unknown]
  > = [
    [
      "a bit of the text",
      (one) =>
        one["data"] = `${one["data"]!.slice(0, 30)}${one["data"]![30] === "A" ? "B" : "A"}${one["data"]!.slice(31)}`
    ],
    ["the tag", (one) => one["data"] = `${one["data"]!.slice(0, -6)}AAAAA=`],
    ["the nonce", (one) => one["data"] = `${one["data"]![0] === "A" ? "B" : "A"}${one["data"]!.slice(1)}`],
    ["its length", (one) => one["data"] = one["data"]!.slice(0, 24)],
    ["all of the text", (one) => one["data"] = ""],
    ["the text for that of another item", (one, other) => one["data"] = other["data"]!],
    ["the item id", (one) => one["item"] = `${one["item"]}x`],
    ["the item id for that of another item", (one, other) => one["item"] = other["item"]!],
    ["the key id for that of another key", (one) => one["key"] = "k2"],
    ["the key id for one that nobody knows", (one) => one["key"] = "k9"],
    ["the form", (one) => one["v"] = "2"],
    ["the type", (one) => one["type"] = "message.sealed"],
    ["a field away", (one) => delete one["data"]]
  ]
  it.effect.each(alterations)("notices a change of %s", ([, change]) =>
    Effect.gen(function*() {
      const { session, store } = yield* open({ keys: [k1, k2] })
      yield* session.saveItems("a", [user("1"), user("2"), user("3")])
      const rows = rowsOf(store, "a")
      const before = rows[2]!.entry
      rows[2]!.entry = alter(before, (one) => change(one, JSON.parse(rows[0]!.entry)))
      yield* isUntouchable(session, "a")
      yield* refuses(session.popItem("a"))
      assert.strictEqual(rowsOf(store, "a").length, 3)
      rows[2]!.entry = before
      assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["1", "2", "3"])
    }))

  it.effect("notices an item moved from one conversation into another", () =>
    Effect.gen(function*() {
      const { session, store } = yield* open()
      yield* session.saveItems("a", [user("pay Ada")])
      yield* session.saveItems("b", [user("pay Eve")])
      rowsOf(store, "a")[0]!.entry = rowsOf(store, "b")[0]!.entry
      yield* isUntouchable(session, "a", "altered or moved")
    }))

  it.effect("notices an item that was put in as it is", () =>
    Effect.gen(function*() {
      const { raw, session } = yield* open()
      yield* session.saveItems("a", [user("mine")])
      yield* raw.saveItems("a", [user("not mine")])
      yield* isUntouchable(session, "a", "not sealed")
    }))

  it.effect("does not notice that the store reorders a conversation, as its documentation says", () =>
    Effect.gen(function*() {
      const { session, store } = yield* open()
      yield* session.saveItems("a", [user("1"), user("2")])
      const [first, second] = rowsOf(store, "a")
      const entry = first!.entry
      first!.entry = second!.entry
      second!.entry = entry
      assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["2", "1"])
    }))

  it.effect("is no worse for a wrong key: with the right one everything is still there", () =>
    Effect.gen(function*() {
      const { raw, session } = yield* open()
      yield* session.saveItems("a", [user("1"), user("2")], { operationId: "op" })
      const wrong = yield* over(raw, { keys: [key("k1", 9)] })
      yield* isUntouchable(wrong.session, "a", "k1")
      yield* refuses(wrong.session.popItem("a"))
      yield* refuses(wrong.rotation.rotate("a"))
      const skipping = yield* over(raw, { keys: [key("k1", 9)], onUndecryptable: "skip" })
      const logs: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => logs.push(String(message)))])
      yield* Effect.gen(function*() {
        assert.deepStrictEqual((yield* skipping.session.loadItems("a")).items, [])
        assert.deepStrictEqual(yield* Stream.runCollect(skipping.session.records("a")), [])
      }).pipe(Effect.provide(logger))
      assert.match(logs[0]!, /Left out 2 stored items of "a"/)
      yield* refuses(skipping.session.popItem("a"))
      yield* refuses(skipping.session.rewrite("a", { through: 1, items: [user("summary")] }))
      assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["1", "2"])
      assert.strictEqual((yield* session.loadItems("a")).version, 1)
    }))

  it.effect("leaves an item alone that comes under another key between a look and a pop", () =>
    Effect.gen(function*() {
      const { raw, session } = yield* open()
      yield* session.saveItems("a", [user("1")])
      const others = yield* over(raw, { keys: [k2] })
      const racing = yield* over({
        ...raw,
        popItem: (id, options) =>
          Effect.andThen(others.session.saveItems(id, [user("theirs")]), raw.popItem(id, options))
      })
      yield* refuses(racing.session.popItem("a"))
      assert.strictEqual((yield* raw.loadItems("a")).items.length, 2)
    }))

  it.effect("tells no secret and no content, whatever is printed", () =>
    Effect.gen(function*() {
      const canary = Redacted.make(Buffer.from("canary-canary-canary-canary-canary!").toString("base64"))
      const store = yield* SessionMemory.makeStore
      const raw = yield* SessionMemory.make({ store })
      const options = { keys: [{ id: "k", secret: canary }], fingerprintKey: canary }
      const { rotation, session } = yield* over(raw, options)
      yield* session.saveItems("a", [user("content-canary")], { operationId: "op" })
      rowsOf(store, "a")[0]!.entry = alter(rowsOf(store, "a")[0]!.entry, (one) => one["item"] = "x")
      const calls = [session.loadItems("a"), session.popItem("a"), rotation.rotate("a"), session.saveItems("", [])]
      const exits = yield* Effect.forEach(calls, (call) => Effect.exit(call as Effect.Effect<unknown, SessionError>))
      const printed = [
        ...exits.map((exit) => Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""),
        ...exits.map((exit) => inspect(exit, { depth: 20 })),
        inspect([session, rotation, options, SessionEncrypted.layer(options)], { depth: 20, showHidden: true }),
        JSON.stringify([exits, options]),
        Formatter.format(options)
      ].join("\n")
      assert.notMatch(printed, /canary-|Y2FuYXJ5/)
      assert.include(printed, "DecryptionFailed")
    }))
})

describe("SessionEncrypted rotates", () => {
  it.effect("a conversation under the first key, after which the old one can go", () =>
    Effect.gen(function*() {
      const { raw, session } = yield* open()
      yield* session.saveItems("a", [user("1"), user("2")])
      const both = yield* over(raw, { keys: [k2, k1] })
      yield* both.session.saveItems("a", [user("3")])
      assert.deepStrictEqual((yield* both.session.loadItems("a")).items.map(text), ["1", "2", "3"])
      assert.deepStrictEqual(yield* both.rotation.rotate("a"), { rotated: 2, version: 3 })
      assert.deepStrictEqual(yield* both.rotation.rotate("a"), { rotated: 0, version: 3 })
      const alone = yield* over(raw, { keys: [k2] })
      assert.deepStrictEqual((yield* alone.session.loadItems("a")).items.map(text), ["1", "2", "3"])
      yield* isUntouchable(session, "a", "the key is not in the ring")
    }))

  it.effect("nothing where the old key is gone already", () =>
    Effect.gen(function*() {
      const { raw, session } = yield* open()
      yield* session.saveItems("a", [user("1")])
      const alone = yield* over(raw, { keys: [k2] })
      yield* refuses(alone.rotation.rotate("a"), "key k1")
      assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["1"])
    }))

  it.effect("without making an operation another one", () =>
    Effect.gen(function*() {
      const { raw, session } = yield* open()
      const first = yield* session.saveItems("a", [user("1")], { operationId: "op" })
      const { rotation, session: rotated } = yield* over(raw, { keys: [k2, k1] })
      yield* rotation.rotate("a")
      assert.deepStrictEqual(yield* rotated.saveItems("a", [user("1")], { operationId: "op" }), first)
      const other = yield* Effect.flip(rotated.saveItems("a", [user("2")], { operationId: "op" }))
      assert.strictEqual(other.reason._tag, "OperationMismatch")
      const pinned = { fingerprintKey: secret(5) }
      const before = yield* over(raw, { keys: [k1], ...pinned })
      const second = yield* before.session.saveItems("b", [user("1")], { operationId: "op" })
      const after = yield* over(raw, { keys: [k2], ...pinned })
      assert.deepStrictEqual(yield* after.session.saveItems("b", [user("1")], { operationId: "op" }), second)
    }))

  it.effect("what was stored before there was encryption, when asked to read it", () =>
    Effect.gen(function*() {
      const { raw, session } = yield* open()
      yield* raw.saveItems("a", [user("old")])
      yield* refuses(session.loadItems("a"))
      const migrating = yield* over(raw, { onPlaintext: "read" })
      yield* migrating.session.saveItems("a", [user("new")])
      assert.deepStrictEqual(yield* migrating.rotation.rotate("a"), { rotated: 1, version: 3 })
      assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["old", "new"])
    }))

  it.live("while others write, pop and rotate too, and loses nothing", () =>
    Effect.gen(function*() {
      const filename = path.join(yield* temporaryFolder, "rotation.db")
      const openFile = (keys: ReadonlyArray<SessionEncrypted.Key>) =>
        Effect.flatMap(SessionSqlite.make({ filename }), (raw) => over(raw, { keys }))
      const old = yield* openFile([k1, k2])
      const fresh = yield* openFile([k2, k1])
      const again = yield* openFile([k2, k1])
      yield* old.session.saveItems("a", [user("first")])
      const write = (name: string, session: Session.Session["Service"]) =>
        Effect.forEach(
          Array.from({ length: 25 }, (_, n) => n),
          (n) => Effect.andThen(session.saveItems("a", [user(`${name} ${n}`), user("after")]), Effect.yieldNow),
          { discard: true }
        )
      const rotateOften = (rotation: SessionEncrypted.Rotation["Service"]) =>
        Effect.forEach(Array.from({ length: 10 }), () => Effect.andThen(rotation.rotate("a"), Effect.sleep(1)))
      yield* Effect.all([
        write("old", old.session),
        write("new", fresh.session),
        rotateOften(fresh.rotation),
        rotateOften(again.rotation)
      ], { concurrency: "unbounded" })
      yield* fresh.rotation.rotate("a")
      const alone = yield* openFile([k2])
      const { items } = yield* alone.session.loadItems("a")
      assert.strictEqual(items.length, 101)
      for (const name of ["old", "new"]) {
        assert.deepStrictEqual(
          items.map(text).filter((one) => one.startsWith(name)),
          Array.from({ length: 25 }, (_, n) => `${name} ${n}`)
        )
      }
      // Commits stay whole.
      for (let index = 2; index < items.length; index += 2) assert.strictEqual(text(items[index]!), "after")
    }), 240_000)

  it.effect("from a program, through the layer", () =>
    Effect.gen(function*() {
      const store = yield* SessionMemory.makeStore
      const backend = SessionMemory.layerWith({ store })
      const stack = (keys: ReadonlyArray<SessionEncrypted.Key>) =>
        Session.wrap(backend, [SessionEncrypted.layer({ keys })])
      const save = Effect.flatMap(Session.Session, (session) => session.saveItems("a", [user("1")]))
      yield* Effect.provide(Session.requireSealed(save), stack([k1]))
      const rotated = yield* Effect.provide(SessionEncrypted.rotate("a"), stack([k2, k1]))
      assert.strictEqual(rotated.rotated, 1)
      const bad = yield* Effect.flip(Effect.provide(SessionEncrypted.rotate(""), stack([k2])))
      assert.isTrue(isSessionError(bad) && bad.reason._tag === "InvalidInput")
    }))
})

describe("deliberately broken encryption fails its laws", () => {
  it.effect("one that forgets to pass a fingerprint on takes a retry for another operation", () =>
    Effect.gen(function*() {
      const raw = yield* SessionMemory.make()
      const { session } = yield* over({
        ...raw,
        saveItems: (id, items, options) => raw.saveItems(id, items, { ...options, fingerprint: undefined })
      })
      const save = session.saveItems("a", [user("1")], { operationId: "op" })
      yield* save
      assert.strictEqual((yield* Effect.flip(save)).reason._tag, "OperationMismatch")
    }))
})
