import { afterAll, assert, describe, it } from "@effect/vitest"
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import * as SessionOpenAIConversations from "agent-layers/layers/session/SessionOpenAIConversations"
import * as Agent from "agent-layers/run/Agent"
import * as Runner from "agent-layers/run/Runner"
import { assistant, functionCall, functionCallOutput, type Item, text, user } from "agent-layers/services/Item"
import { all } from "agent-layers/services/laws/SessionLaws"
import { Session } from "agent-layers/services/Session"
import type { SessionError, SessionErrorReason } from "agent-layers/services/SessionError"
import { Config, ConfigProvider, Effect, Exit, Fiber, Layer, Redacted, Schema, Scope, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import * as fs from "node:fs"
import { inspect } from "node:util"
import { describeLaws } from "../../support/laws.ts"
import * as OpenAiPeer from "../../support/openai/OpenAiPeer.ts"

const scope = Scope.makeUnsafe()
const shared = await Effect.runPromise(Scope.provide(OpenAiPeer.make, scope))
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const open = (peer: OpenAiPeer.OpenAiPeer, options: Partial<SessionOpenAIConversations.Options> = {}) =>
  SessionOpenAIConversations.make({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, ...options })

const conversationIds = Effect.runSync(SessionOpenAIConversations.memoryIds)

const capabilities = { versions: false, operations: false, rewrite: false, list: false, anyItem: false }

describeLaws("SessionOpenAIConversations", all, {
  open: open(shared, { conversationIds }),
  capabilities,
  canReopen: true,
  lacks: ["records"]
}, {
  timeout: 240_000,
  notShown: [
    "What an item holds comes back byte for byte, null and unknown fields too",
    "Items of unknown types come back byte for byte",
    "Each commit raises the version by one, and a load tells the latest",
    "A save onto a version that moved on is refused with VersionConflict, and nothing is stored",
    "Of several saves onto one version exactly one wins",
    "An operation id that comes again stores nothing and answers as before",
    "An operation id is looked up before the version is compared",
    "An operation id that comes again with other content is refused with OperationMismatch, and nothing is stored",
    "The order of an item's keys does not make it other content",
    "A fingerprint that is passed on stands for the content",
    "An operation id belongs to its conversation",
    "A save that was refused does not use up its operation id",
    "Saves under one operation id at once store once",
    "Operation ids are remembered for 7 days and for the latest 1,000 of a conversation",
    "An operation id is remembered when the session is opened again",
    "Where only appends came since a known version, a load may send just those",
    "Where more than appends came since a known version, a load sends everything",
    "A rewrite replaces what was committed up to a version and keeps what was committed later",
    "A rewrite may make a conversation shorter, longer or empty",
    "Appends do not refuse a rewrite",
    "A rewrite is refused with VersionConflict after another rewrite, and of a version that is not there yet",
    "A rewrite is refused with VersionConflict after a pop",
    "A rewrite is refused with VersionConflict after a clear",
    "A last item that cannot be read is an error, and popItem leaves it where it is",
    "The version never goes back, and every change moves it on",
    "A late retry of an operation after a clear stores nothing",
    "A record tells the commit of its item, when it was saved and by whom",
    "Records are read in pages without gaps and without repeats",
    "Reading goes on after a cursor, with what was saved meanwhile",
    "A cursor expires with a rewrite",
    "A cursor expires with a pop",
    "A cursor expires with a clear",
    "conversations lists those that have content, by prefix, with version and last change",
    "Conversations are listed by id, in pages without gaps and without repeats",
    "While the store takes no writes they fail with Unavailable, and a retry stores once"
  ]
})

const texts = (session: Session["Service"], id: string) =>
  Effect.map(session.loadItems(id), ({ items }) => items.map(text))

const reasonOf = <A, R>(effect: Effect.Effect<A, SessionError, R>): Effect.Effect<SessionErrorReason, A, R> =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

const many = (count: number): ReadonlyArray<Item> => Array.from({ length: count }, (_, index) => user(`${index}`))

const isAdding = (request: OpenAiPeer.PeerRequest) => request.method === "POST" && request.path.endsWith("/items")

describe("SessionOpenAIConversations keeps", () => {
  it.live("the items of a turn, in OpenAI's form and back", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const session = yield* open(peer)
      const items: ReadonlyArray<Item> = [
        user("hi"),
        user([{ type: "input_text", text: "see" }, { type: "input_image", image_url: "data:,", detail: "low" }]),
        {
          type: "reasoning",
          id: "rs_1",
          summary: [{ type: "summary_text", text: "hm" }],
          encrypted_content: "gAAAAx"
        },
        functionCall({ callId: "call_1", name: "add", arguments: "{\"a\":1}" }),
        functionCallOutput("call_1", "2"),
        assistant("2"),
        { type: "compaction", encrypted_content: "gAAAAy" }
      ]
      yield* session.saveItems("a", items)
      assert.deepStrictEqual((yield* session.loadItems("a")).items, items)
      const id = peer.request(0).body["metadata"]
      assert.deepStrictEqual(id, { "agent-layers": "a" })
    }))

  it.live("items without their foreign ids and undocumented fields, which the service would refuse", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const session = yield* open(peer)
      yield* session.saveItems("a", [
        { type: "message", role: "assistant", id: "chatcmpl-1", content: "x", extra: 1 } as unknown as Item,
        functionCall({ callId: "call_1", name: "add", arguments: "{}", id: "toolu_1" })
      ])
      const { items } = yield* session.loadItems("a")
      assert.deepStrictEqual(items.map((item) => item.id), [undefined, undefined])
    }))

  it.live("a conversation that OpenAI made, under its own id", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const id = yield* peer.createConversation([{ role: "user", content: "before" }])
      const session = yield* open(peer)
      assert.deepStrictEqual(yield* texts(session, id), ["before"])
      yield* session.saveItems(id, [user("after")])
      assert.strictEqual(peer.conversationItems(id).length, 2)
      yield* session.clear(id)
      assert.deepStrictEqual(yield* texts(session, id), [])
      const reason = yield* reasonOf(session.saveItems(id, [user("anew")]))
      assert.strictEqual(reason._tag, "InvalidInput")
      assert.include(reason.message, id)
    }))

  it.live("a conversation anew where OpenAI has forgotten it", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const ids = yield* SessionOpenAIConversations.memoryIds
      const session = yield* open(peer, { conversationIds: ids })
      yield* ids.claim("a", "conv_gone")
      assert.deepStrictEqual(yield* texts(session, "a"), [])
      assert.strictEqual(yield* session.popItem("a"), undefined)
      yield* session.saveItems("a", [user("anew")])
      assert.deepStrictEqual(yield* texts(session, "a"), ["anew"])
    }))

  it.live("one conversation for an id that two make at once", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const ids = yield* SessionOpenAIConversations.memoryIds
      const sessions = yield* Effect.all([open(peer, { conversationIds: ids }), open(peer, { conversationIds: ids })])
      yield* Effect.forEach(sessions, (session, index) => session.saveItems("a", [user(`${index}`)]), {
        concurrency: 2,
        discard: true
      })
      assert.deepStrictEqual((yield* texts(sessions[0]!, "a")).sort(), ["0", "1"])
      const made = peer.requests.filter((one) => one.method === "POST" && one.path === "/v1/conversations").length
      const deleted = peer.requests.filter((one) => one.method === "DELETE").length
      assert.strictEqual(made - deleted, 1)
    }))

  it.live("long conversations: 20 items to a request, 100 to a page, no more than asked for", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const session = yield* open(peer)
      yield* session.saveItems("a", many(250))
      assert.strictEqual(peer.requests.filter(isAdding).length, 13)
      const before = peer.requests.length
      assert.deepStrictEqual(yield* texts(session, "a"), many(250).map(text))
      assert.strictEqual(peer.requests.length - before, 3)
      const latest = yield* session.loadItems("a", { maxItems: 130 })
      assert.deepStrictEqual(latest.items, many(250).slice(-130))
      assert.strictEqual(peer.requests.length - before, 5)
    }))
})

describe("SessionOpenAIConversations reads", () => {
  it.live("anew where the item that it had come to is removed meanwhile", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const ids = yield* SessionOpenAIConversations.memoryIds
      const session = yield* open(peer, { conversationIds: ids })
      const other = yield* open(peer, { conversationIds: ids })
      yield* session.saveItems("a", many(101))
      yield* session.popItem("a")
      yield* session.saveItems("a", [user("last")])
      const latest = (yield* ids.find("a")) as string
      let listed = 0
      yield* peer.intercept((request) => {
        if (request.path.includes("/items?") && ++listed === 2) return { status: 404, error: { message: "gone" } }
        return undefined
      })
      assert.strictEqual((yield* other.loadItems(latest)).items.length, 101)
      yield* peer.intercept((request) =>
        request.path.includes("after=") ? { status: 404, error: { message: "gone" } } : undefined
      )
      assert.strictEqual((yield* reasonOf(other.loadItems("a")))._tag, "Unavailable")
    }))
})

describe("SessionOpenAIConversations refuses", () => {
  it.live("what OpenAI would refuse, before anything is sent", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const session = yield* open(peer)
      const cases: ReadonlyArray<readonly [unknown, string, string]> = [
        [{ type: "sealed", payload: "x" }, "InvalidInput", "sealed"],
        [{ type: "reasoning", id: "thought_1", summary: [] }, "InvalidInput", "own models"],
        [{ type: "web_search_call", id: "srvtoolu_1", status: "completed" }, "InvalidInput", "own models"],
        [functionCall({ callId: "x".repeat(65), name: "add", arguments: "{}" }), "LimitExceeded", "call_id"],
        [functionCall({ callId: "c", name: "a b", arguments: "{}" }), "InvalidInput", "name"],
        [functionCallOutput("c", "x".repeat(10_485_761)), "LimitExceeded", "text"]
      ]
      for (const [item, tag, word] of cases) {
        const reason = yield* reasonOf(session.saveItems("a", [user("before"), item as Item]))
        assert.strictEqual(reason._tag, tag)
        assert.include(reason.message, word)
        assert.include(reason.message, "items[1]")
      }
      assert.strictEqual(peer.requests.length, 0)
    }))

  it.live("what OpenAI refuses all the same, with what it says", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const session = yield* open(peer)
      const item = { type: "message", role: "user", content: [{ type: "output_text", text: "x" }] } as unknown as Item
      const reason = yield* reasonOf(session.saveItems("a", [item]))
      assert.strictEqual(reason._tag, "InvalidInput")
      assert.include(reason.message, "output_text")
    }))

  it.live("a wrong key, and tells none", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const key = "sk-canary-0123456789"
      const session = yield* open(peer, { apiKey: Redacted.make(key) })
      yield* Effect.forEach(
        [session.saveItems("a", [user("x")]), session.clear("conv_x"), session.loadItems("conv_x")],
        (
          call
        ) =>
          Effect.gen(function*() {
            const error = yield* Effect.flip(call as Effect.Effect<unknown, SessionError>)
            assert.isTrue(error.reason._tag === "Unavailable" && !error.reason.isOutcomeUnknown)
            assert.include(error.message, "apiKey")
            assert.notInclude(inspect(error, { depth: 20, showHidden: true }) + JSON.stringify(error), key)
          })
      )
    }))

  it.live("options that cannot be used", () =>
    Effect.gen(function*() {
      for (
        const options of [{ apiKey: Redacted.make("") }, { baseURL: "nonsense" }, {
          baseURL: "http://a:b@localhost/v1"
        }]
      ) {
        const error = yield* Effect.flip(open(shared, options))
        assert.deepStrictEqual([error.operation, error.reason._tag], ["open", "InvalidInput"])
      }
    }))
})

describe("SessionOpenAIConversations where something fails", () => {
  const fails = (status: number): OpenAiPeer.Side => ({ status, error: { message: "no", code: null } })

  it.live("takes back what was added before one part of a commit failed", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const session = yield* open(peer)
      yield* session.saveItems("a", [user("before")])
      let added = 0
      yield* peer.intercept((request) => isAdding(request) && ++added === 3 ? fails(429) : undefined)
      const reason = yield* reasonOf(session.saveItems("a", many(50)))
      assert.isTrue(reason._tag === "Unavailable" && !reason.isOutcomeUnknown)
      assert.deepStrictEqual(yield* texts(session, "a"), ["before"])
      yield* session.saveItems("a", [user("after")])
      assert.deepStrictEqual(yield* texts(session, "a"), ["before", "after"])
    }))

  it.live("says that the outcome is unknown where the answer was lost, and does not repeat by itself", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const session = yield* open(peer, { timeout: "2 seconds" })
      yield* session.saveItems("a", [user("1")])
      for (const side of [{ cutBeforeHeaders: true }, { hangBeforeHeaders: true }, fails(500)]) {
        yield* peer.intercept((request) => isAdding(request) ? side : undefined)
        const before = peer.requests.length
        const reason = yield* reasonOf(session.saveItems("a", [user("2")]))
        assert.isTrue(reason._tag === "Unavailable" && reason.isOutcomeUnknown, reason.message)
        assert.strictEqual(peer.requests.length - before, 1)
      }
    }))

  it.live("knows what was not done", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const session = yield* open(peer)
      for (const status of [429, 409]) {
        yield* peer.intercept(() => fails(status))
        const reason = yield* reasonOf(session.saveItems("a", [user("1")]))
        assert.isTrue(reason._tag === "Unavailable" && !reason.isOutcomeUnknown)
      }
      const away = yield* open(peer, { baseURL: "http://127.0.0.1:9/v1" })
      const reason = yield* reasonOf(away.saveItems("a", [user("1")]))
      assert.isTrue(reason._tag === "Unavailable")
    }))

  it.live("stops reading when interrupted, and finishes a commit", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const session = yield* open(peer)
      yield* session.saveItems("a", [user("1")])
      yield* peer.intercept((request) => request.method === "GET" ? { hangBeforeHeaders: true } : undefined)
      const reader = yield* Effect.forkChild(session.loadItems("a"), { startImmediately: true })
      yield* peer.awaitRequests(3)
      yield* Fiber.interrupt(reader)
      yield* peer.awaitAborted(1)
      yield* peer.intercept((request) => request.method === "POST" ? { delayHeaders: 50 } : undefined)
      const writer = yield* Effect.forkChild(session.saveItems("a", many(45)), { startImmediately: true })
      yield* peer.awaitRequests(4)
      yield* Fiber.interrupt(writer)
      yield* peer.intercept(() => undefined)
      assert.strictEqual((yield* session.loadItems("a")).items.length, 46)
    }))
})

describe("SessionOpenAIConversations", () => {
  it("loads the client when it is built", () => {
    const root = new URL("../../../src/layers/session/", import.meta.url)
    for (
      const name of ["SessionOpenAIConversations.ts", "internal/openaiConversations.ts", "internal/openaiItems.ts"]
    ) {
      const source = fs.readFileSync(new URL(name, root), "utf8")
      for (const line of source.match(/^import .*"openai.*$/gm) ?? []) assert.match(line, /^import type /, name)
    }
  })

  it.live("takes its options from configuration", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const config = SessionOpenAIConversations.layerConfig({
        apiKey: Config.Redacted("OPENAI_API_KEY"),
        baseURL: Config.String("OPENAI_BASE_URL").pipe(Config.withDefault("https://api.openai.com/v1"))
      })
      const use = Effect.flatMap(Session, (session) =>
        Effect.andThen(
          session.saveItems("a", [user("1")]),
          Effect.all([texts(session, "a"), Effect.flip(Stream.runCollect(session.records("a")))])
        ))
      const settings = { OPENAI_API_KEY: peer.apiKey, OPENAI_BASE_URL: peer.url }
      const provide = (settings: Record<string, string>) =>
        Effect.provide(use, Layer.provide(config, ConfigProvider.layer(ConfigProvider.fromUnknown(settings))))
      const [found, refused] = yield* provide(settings)
      assert.deepStrictEqual(found, ["1"])
      assert.strictEqual(refused.reason._tag, "Unsupported")
      const error = yield* Effect.flip(provide({}))
      assert.isTrue("_tag" in error && error._tag === "ConfigError")
    }))
})

describe("SessionOpenAIConversations under a run", () => {
  it.live("gives a model back what it said: reasoning, calls, outputs", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(
        OpenAiPeer.reasoned({ summary: ["Add them."], encrypted: "x" }, [
          OpenAiPeer.callItem({ name: "add", arguments: { a: 1, b: 2 } })
        ]),
        OpenAiPeer.reasoned({ encrypted: "y" }, [OpenAiPeer.messageItem("3")]),
        OpenAiPeer.text("You asked for 1 + 2.")
      )
      const Add = Tool.make("add", {
        parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
        success: Schema.Finite
      })
      const Adder = Toolkit.make(Add)
      const agent = Agent.make({ name: "adder", instructions: "Add.", toolkit: Adder })
      const server = { apiKey: Redacted.make(peer.apiKey), baseURL: peer.url }
      const stack = Layer.mergeAll(
        ModelOpenAIResponses.layer({ ...server, model: "gpt-5.4" }),
        SessionOpenAIConversations.layer(server),
        Adder.toLayer({ add: ({ a, b }) => Effect.succeed(a + b) })
      )
      const answers = yield* Effect.gen(function*() {
        const first = yield* Runner.run(agent, "1 + 2?", { conversationId: "ada" })
        const second = yield* Runner.run(agent, "What did I ask?", { conversationId: "ada" })
        const session = yield* Session
        const { items } = yield* session.loadItems("ada")
        return [first.finalOutput, second.finalOutput, items.map((item) => item.type)]
      }).pipe(Effect.provide(stack))
      assert.deepStrictEqual(answers, [
        "3",
        "You asked for 1 + 2.",
        [
          "message",
          "reasoning",
          "function_call",
          "function_call_output",
          "reasoning",
          "message",
          "message",
          "message"
        ]
      ])
      const last = peer.requests.findLast((request) => request.path === "/v1/responses")!
      assert.strictEqual(last.input.length, 7)
      assert.strictEqual(last.error, undefined)
    }))
})
