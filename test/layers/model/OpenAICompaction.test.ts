import { assert, describe, it } from "@effect/vitest"
import * as OpenAICompaction from "agent-layers/layers/model/OpenAICompaction"
import * as SessionCompacted from "agent-layers/layers/session/SessionCompacted"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as History from "agent-layers/services/History"
import { assistant, functionCall, functionCallOutput, type Item, text, user } from "agent-layers/services/Item"
import type { ModelError } from "agent-layers/services/ModelError"
import * as Session from "agent-layers/services/Session"
import type { Usage } from "agent-layers/services/Usage"
import { Effect, Fiber, Layer, Redacted } from "effect"
import { inspect } from "node:util"
import * as OpenAiPeer from "../../support/openai/OpenAiPeer.ts"

const make = (peer: OpenAiPeer.OpenAiPeer, options: Partial<OpenAICompaction.OpenAICompactionOptions> = {}) =>
  OpenAICompaction.make({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, ...options })

const items: ReadonlyArray<Item> = [
  user("My name is Ada."),
  functionCall({ callId: "call_1", name: "remember", arguments: "{}" }),
  functionCallOutput("call_1", "done"),
  assistant("Hello, Ada.", { id: "chatcmpl-of-another-provider" }),
  user("What is 1 + 1?"),
  assistant("2")
]

const reasonOf = <A>(effect: Effect.Effect<A, ModelError>) => Effect.map(Effect.flip(effect), (error) => error.reason)

describe("OpenAICompaction", () => {
  it.live("keeps what users said and makes one item of the rest, which a next request takes", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const seen: Array<Usage> = []
      const compact = yield* make(peer, {
        model: "gpt-5.4",
        instructions: "Keep names.",
        onUsage: (usage) =>
          Effect.sync(() => {
            seen.push(usage)
          })
      })
      const compacted = yield* compact(items)
      assert.deepStrictEqual(compacted.map((item) => item.type), ["message", "message", "compaction"])
      assert.deepStrictEqual(compacted.slice(0, 2).map(text), ["My name is Ada.", "What is 1 + 1?"])
      assert.deepStrictEqual(compacted.slice(0, 2).map((item) => item.id), [undefined, undefined])
      assert.isTrue(History.isValid([...compacted, user("And 2 + 2?")]))
      assert.deepInclude(peer.request(0).body, { model: "gpt-5.4", instructions: "Keep names." })
      assert.strictEqual(peer.requests.length, 1)
      assert.isAbove(seen[0]!.inputTokens, 0)
      const again = yield* compact([...compacted, user("And 2 + 2?"), assistant("4")])
      assert.strictEqual(again.length, 4)
    }))

  it.live("asks nothing about nothing", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const compact = yield* make(peer)
      assert.deepStrictEqual(yield* compact([]), [])
      assert.strictEqual(peer.requests.length, 0)
    }))

  it.live("fails as a model does, once, and tells no key", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const compact = yield* make(peer, { timeout: "2 seconds" })
      const broken = yield* reasonOf(compact(items.slice(0, 2)))
      assert.strictEqual(broken._tag, "InvalidRequest")
      const sides: ReadonlyArray<readonly [OpenAiPeer.Side, string]> = [
        [{ status: 429, error: { message: "slow down", code: "rate_limit_exceeded" } }, "RateLimited"],
        [{ status: 503, error: { message: "busy" } }, "Overloaded"],
        [{ cutBeforeHeaders: true }, "Transport"],
        [{ hangBeforeHeaders: true }, "Timeout"]
      ]
      for (const [side, tag] of sides) {
        yield* peer.intercept(() => side)
        const before = peer.requests.length
        assert.strictEqual((yield* reasonOf(compact(items)))._tag, tag)
        assert.strictEqual(peer.requests.length - before, 1)
      }
      const key = "sk-canary-0123456789"
      const wrong = yield* make(peer, { apiKey: Redacted.make(key) })
      const error = yield* Effect.flip(wrong(items))
      assert.strictEqual(error.reason._tag, "Authentication")
      assert.notInclude(inspect(error, { depth: 20 }) + JSON.stringify(error), key)
      assert.strictEqual((yield* reasonOf(make(peer, { baseURL: "nonsense" })))._tag, "InvalidRequest")
    }))

  it.live("refuses an answer without a compaction", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      for (const body of ["{\"output\":[]}", "{\"output\":[{\"role\":\"user\",\"content\":\"x\"}]}", "{}", "<html>"]) {
        const fetch = () => Promise.resolve(new Response(body))
        const compact = yield* make(peer, { fetch: fetch as typeof globalThis.fetch })
        assert.strictEqual((yield* reasonOf(compact(items)))._tag, "InvalidOutput")
      }
    }))

  it.live("aborts its request when interrupted", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.intercept(() => ({ hangBeforeHeaders: true }))
      const compact = yield* make(peer)
      const fiber = yield* Effect.forkChild(compact(items), { startImmediately: true })
      yield* peer.awaitRequests(1)
      yield* Fiber.interrupt(fiber)
      yield* peer.awaitAborted(1)
    }))
})

describe("OpenAICompaction in SessionCompacted", () => {
  it.live("shortens a conversation when it is maintained, and keeps it where the service fails", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const compact = yield* make(peer)
      const memory = yield* SessionMemory.make()
      const stack = SessionCompacted.layer({ compact, maxItems: 6, keepItems: 2 }).pipe(
        Layer.provide(Layer.succeed(Session.Session, memory))
      )
      yield* Effect.gen(function*() {
        const session = yield* Session.Session
        for (let turn = 0; turn < 6; turn++) {
          yield* session.saveItems("a", [user(`question ${turn}`), assistant(`answer ${turn} `.repeat(50))])
        }
        yield* peer.intercept(() => ({ status: 500, error: { message: "busy" } }))
        yield* session.maintain("a")
        assert.strictEqual((yield* session.loadItems("a")).items.length, 12)
        yield* peer.intercept(() => undefined)
        yield* session.maintain("a")
        const { items } = yield* session.loadItems("a")
        assert.isBelow(items.length, 12)
        assert.isTrue(items.some((item) => item.type === "compaction"))
        assert.isTrue(History.isValid(items))
        assert.strictEqual(text(items.at(-2)!), "question 5")
      }).pipe(Effect.provide(stack))
    }))
})
