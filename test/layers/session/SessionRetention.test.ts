import { assert, describe, it } from "@effect/vitest"
import * as SessionCompressed from "agent-layers/layers/session/SessionCompressed"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as SessionRetention from "agent-layers/layers/session/SessionRetention"
import {
  assistant,
  developer,
  functionCall,
  functionCallOutput,
  type Item,
  text,
  user
} from "agent-layers/services/Item"
import { all } from "agent-layers/services/laws/SessionLaws"
import { Session, wrap } from "agent-layers/services/Session"
import type { SessionError } from "agent-layers/services/SessionError"
import { Config, ConfigProvider, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { describeLaws } from "../../support/laws.ts"
import { outageLaw, subjectsOf } from "../../support/session/lawsOver.ts"

const subjects = subjectsOf("retention")
describeLaws("SessionRetention over memory", all, subjects.memory, { notShown: [outageLaw] })
describeLaws("SessionRetention over SQLite", all, subjects.sqlite)

const open = (options: SessionRetention.Options) =>
  Effect.flatMap(
    SessionMemory.make(),
    (raw) => Effect.provideService(SessionRetention.make(options), Session, raw)
  )

const save = (session: Session["Service"], ...texts: ReadonlyArray<string>) =>
  session.saveItems("a", texts.map((text) => user(text)))

const call = (callId: string) => functionCall({ callId, name: "f", arguments: "{}" })
const output = (callId: string) => functionCallOutput(callId, "done")

const textsOf = (session: Session["Service"]) => Effect.map(session.loadItems("a"), ({ items }) => items.map(text))

describe("SessionRetention", () => {
  it.effect("keeps whole commits, and at most so many items", () =>
    Effect.gen(function*() {
      const session = yield* open({ maxItems: 4 })
      for (const n of [1, 2, 3]) yield* save(session, `${n}a`, `${n}b`, `${n}c`)
      yield* session.maintain("a")
      assert.deepStrictEqual(yield* textsOf(session), ["3a", "3b", "3c"])
      yield* save(session, "4a")
      yield* session.maintain("a")
      assert.deepStrictEqual(yield* textsOf(session), ["3a", "3b", "3c", "4a"])
    }))

  it.effect("keeps the last commit whatever it holds", () =>
    Effect.gen(function*() {
      const session = yield* open({ maxItems: 0 })
      yield* save(session, "1")
      yield* save(session, "2", "3")
      yield* session.maintain("a")
      assert.deepStrictEqual(yield* textsOf(session), ["2", "3"])
      const { version } = yield* session.loadItems("a")
      yield* session.maintain("a")
      assert.strictEqual((yield* session.loadItems("a")).version, version)
    }))

  it.effect("cuts only where a user message begins, instructions before it included", () =>
    Effect.gen(function*() {
      const session = yield* open({ maxItems: 0 })
      const commits: ReadonlyArray<ReadonlyArray<Item>> = [
        [user("1"), call("lost")],
        [assistant("answer 1")],
        [developer("be kind"), user("2"), call("a")],
        [output("a"), assistant("answer 2")],
        [developer("be short")],
        [call("b"), output("b")],
        [assistant("answer 3")]
      ]
      for (const items of commits) {
        yield* session.saveItems("a", items)
        yield* session.maintain("a")
        const { items: kept } = yield* session.loadItems("a")
        assert.strictEqual(kept.find((item) => item["role"] !== "developer")?.["role"], "user")
      }
      assert.deepStrictEqual((yield* session.loadItems("a")).items, commits.slice(2).flat())
    }))

  it.effect("does not cut at a user message between a call and its output", () =>
    Effect.gen(function*() {
      const session = yield* open({ maxItems: 1 })
      yield* session.saveItems("a", [user("1"), call("a")])
      yield* session.saveItems("a", [user("wait")])
      yield* session.saveItems("a", [output("a"), assistant("done")])
      yield* session.maintain("a")
      assert.strictEqual((yield* session.loadItems("a")).items.length, 5)
    }))

  it.effect("is refused inside of what hides items", () =>
    Effect.gen(function*() {
      const stack: ReadonlyArray<Layer.Layer<Session, SessionError, Session>> = [
        SessionCompressed.layer(),
        SessionRetention.layer({ maxItems: 1 })
      ]
      const error = yield* Effect.flip(Effect.scoped(Layer.build(wrap(SessionMemory.layer, stack))))
      assert.strictEqual(error.reason._tag, "Unsupported")
      assert.include(error.message, "put it outside")
    }))

  it.effect("forgets what is too old, and nothing before its time", () =>
    Effect.gen(function*() {
      const session = yield* open({ maxAge: "1 hour" })
      yield* save(session, "1")
      yield* TestClock.adjust("30 minutes")
      yield* save(session, "2")
      yield* TestClock.adjust("30 minutes")
      yield* session.maintain("a")
      assert.deepStrictEqual(yield* textsOf(session), ["1", "2"])
      yield* TestClock.adjust("1 millis")
      yield* session.maintain("a")
      assert.deepStrictEqual(yield* textsOf(session), ["2"])
    }))

  it.effect("forgets after a pop too", () =>
    Effect.gen(function*() {
      const session = yield* open({ maxItems: 2 })
      for (const n of [1, 2, 3, 4]) yield* save(session, `${n}`)
      yield* session.popItem("a")
      yield* session.maintain("a")
      assert.deepStrictEqual(yield* textsOf(session), ["2", "3"])
    }))

  it.effect("is refused where nothing can be cut off, and with a bound that is no number", () =>
    Effect.gen(function*() {
      const raw = yield* SessionMemory.make()
      const plain = { ...raw, capabilities: { ...raw.capabilities, rewrite: false } }
      const error = yield* Effect.flip(
        Effect.provideService(SessionRetention.make({ maxItems: 1 }), Session, plain)
      )
      assert.strictEqual(error.reason._tag, "Unsupported")
      const layer = SessionRetention.layerConfig({ maxItems: Config.Number("MAX") }).pipe(
        Layer.provide([SessionMemory.layer, ConfigProvider.layer(ConfigProvider.fromUnknown({ MAX: "-1" }))])
      )
      assert.include((yield* Effect.flip(Effect.provide(Session, layer))).message, "maxItems is -1")
    }))
})
