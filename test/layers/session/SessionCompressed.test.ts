import { assert, describe, it } from "@effect/vitest"
import * as SessionCompressed from "agent-layers/layers/session/SessionCompressed"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import { type Item, user } from "agent-layers/services/Item"
import { all } from "agent-layers/services/laws/SessionLaws"
import { Session } from "agent-layers/services/Session"
import { Config, ConfigProvider, Effect, Layer, Logger, Stream } from "effect"
import * as zlib from "node:zlib"
import { describeLaws } from "../../support/laws.ts"
import { outageLaw, subjectsOf } from "../../support/session/lawsOver.ts"

const subjects = subjectsOf("compressed")
describeLaws("SessionCompressed over memory", all, subjects.memory, { notShown: [outageLaw] })
describeLaws("SessionCompressed over SQLite", all, subjects.sqlite)

const open = Effect.fnUntraced(function*(options?: SessionCompressed.Options) {
  const raw = yield* SessionMemory.make()
  const session = yield* Effect.provideService(SessionCompressed.make(options), Session, raw)
  return { raw, session, stored: Effect.map(raw.loadItems("a"), ({ items }) => items) }
})

const long = user("the same again and ".repeat(200))

const packed = (text: string, size = Buffer.byteLength(text)): Item => ({
  type: "packed",
  v: 1,
  encoding: "deflate-raw",
  size,
  data: zlib.deflateRawSync(text).toString("base64")
})

describe("SessionCompressed", () => {
  it.effect("stores what is long smaller, and what is short as it is", () =>
    Effect.gen(function*() {
      const { session, stored } = yield* open()
      yield* session.saveItems("a", [user("short"), long])
      const [short, other] = yield* stored
      assert.deepStrictEqual(short, user("short"))
      assert.strictEqual(other?.type, "packed")
      assert.isBelow(JSON.stringify(other).length, JSON.stringify(long).length / 5)
    }))

  it.effect("stores what does not shrink as it is", () =>
    Effect.gen(function*() {
      const { session, stored } = yield* open()
      const noise = user(Array.from({ length: 2_000 }, (_, n) => String.fromCharCode(48 + (n * 7919 % 74))).join(""))
      const random = user(
        Buffer.from(Array.from({ length: 900 }, (_, n) => (n * n * 31 + n * 17) % 251)).toString("hex")
      )
      yield* session.saveItems("a", [noise, random])
      assert.deepStrictEqual((yield* session.loadItems("a")).items, [noise, random])
      for (const item of yield* stored) {
        assert.isAtMost(JSON.stringify(item).length, 2 * 1_100)
      }
    }))

  it.effect("reads what was stored before it came", () =>
    Effect.gen(function*() {
      const { raw, session } = yield* open()
      yield* raw.saveItems("a", [long])
      yield* session.saveItems("a", [long])
      assert.deepStrictEqual((yield* session.loadItems("a")).items, [long, long])
    }))

  it.effect("keeps an item that looks packed apart from one that it packed", () =>
    Effect.gen(function*() {
      const { session, stored } = yield* open()
      const lookalikes: ReadonlyArray<Item> = [packed("{}"), { type: "packed" }, { type: "packed", data: 1 }]
      yield* session.saveItems("a", lookalikes)
      assert.deepStrictEqual((yield* session.loadItems("a")).items, lookalikes)
      assert.notDeepEqual(yield* stored, lookalikes)
    }))

  it.effect("unpacks a bomb no further than its limit", () =>
    Effect.gen(function*() {
      const maxItemBytes = 100_000
      const { raw, session } = yield* open({ maxItemBytes })
      const bomb = JSON.stringify(user("0".repeat(50_000_000)))
      const honest = packed(bomb)
      const lying = packed(bomb, 1_000)
      assert.isBelow(JSON.stringify(honest).length, maxItemBytes)
      yield* raw.saveItems("honest", [honest])
      yield* raw.saveItems("lying", [lying])
      const before = process.memoryUsage().arrayBuffers
      const reasonOf = (id: string) => Effect.map(Effect.flip(session.loadItems(id)), ({ reason }) => reason)
      const honestReason = yield* reasonOf("honest")
      assert.strictEqual(honestReason._tag, "LimitExceeded")
      const lyingReason = yield* reasonOf("lying")
      assert.strictEqual(lyingReason._tag, "CorruptItem")
      assert.isBelow(process.memoryUsage().arrayBuffers - before, 5_000_000)
      for (const id of ["honest", "lying"]) {
        yield* Effect.flip(session.popItem(id))
        yield* Effect.flip(Stream.runCollect(session.records(id)))
        yield* Effect.flip(session.rewrite(id, { through: 1, items: [] }))
        assert.strictEqual((yield* raw.loadItems(id)).items.length, 1)
      }
    }))

  it.effect("refuses to save what it would refuse to read", () =>
    Effect.gen(function*() {
      const { raw, session } = yield* open({ maxItemBytes: 1_000 })
      const { reason } = yield* Effect.flip(session.saveItems("a", [user("x"), long]))
      assert.deepInclude(reason, { _tag: "LimitExceeded", maximum: 1_000 })
      assert.strictEqual((yield* raw.loadItems("a")).version, 0)
    }))

  const damaged: ReadonlyArray<readonly [string, Item]> = [
    ["cut short", {
      ...packed(JSON.stringify(long)),
      data: (packed(JSON.stringify(long))["data"] as string).slice(0, 20)
    }],
    ["no base64", { ...packed(JSON.stringify(long)), data: "%%%" }],
    ["of another form", { ...packed(JSON.stringify(long)), v: 2 }],
    ["of another encoding", { ...packed(JSON.stringify(long)), encoding: "lzma" }],
    ["of a size that is none", { ...packed(JSON.stringify(long)), size: -1 }],
    ["of a size that is too large", { ...packed(JSON.stringify(long)), size: 1_000_000 }],
    ["no JSON inside", packed("hello")],
    ["no item inside", packed("[]")]
  ]
  it.effect.each(damaged)(
    "says where an item is that is %s, and skips it when asked to",
    ([, item]) =>
      Effect.gen(function*() {
        const { raw, session } = yield* open()
        yield* raw.saveItems("a", [user("first"), item])
        const { backend, reason } = yield* Effect.flip(session.loadItems("a"))
        assert.strictEqual(backend, "compressed")
        assert.deepInclude(reason, { _tag: "CorruptItem", position: 1 })
        const logs: Array<unknown> = []
        const logger = Logger.layer([Logger.make(({ message }) => logs.push(message))])
        const skipping = yield* Effect.provideService(SessionCompressed.make({ onCorruptItem: "skip" }), Session, raw)
        yield* Effect.gen(function*() {
          assert.deepStrictEqual((yield* skipping.loadItems("a")).items, [user("first")])
          const records = yield* Stream.runCollect(skipping.records("a"))
          assert.deepStrictEqual(records.map((record) => record.item), [user("first")])
        }).pipe(Effect.provide(logger))
        assert.strictEqual(logs.length, 2)
        assert.strictEqual((yield* Effect.flip(skipping.popItem("a"))).reason._tag, "CorruptItem")
        assert.strictEqual(
          (yield* Effect.flip(skipping.rewrite("a", { through: 1, items: [] }))).reason._tag,
          "CorruptItem"
        )
        assert.strictEqual((yield* raw.loadItems("a")).items.length, 2)
      })
  )

  it.effect("refuses limits that are no numbers, from configuration too", () =>
    Effect.gen(function*() {
      const layer = SessionCompressed.layerConfig({ threshold: Config.Number("THRESHOLD") }).pipe(
        Layer.provide([
          SessionMemory.layer,
          ConfigProvider.layer(ConfigProvider.fromUnknown({ THRESHOLD: "-1" }))
        ])
      )
      const error = yield* Effect.flip(Effect.provide(Session, layer))
      assert.strictEqual(error._tag, "SessionError")
      assert.include(error.message, "threshold is -1")
    }))
})
