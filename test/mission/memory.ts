/** The mission, rows on memory: every store and every decorator, under an agent, against the real thing. */
import { assert, describe, it } from "@effect/vitest"
import { Item, ModelScripted, Runner, Session, SessionError, SessionMemory } from "agent-layers"
import * as OpenAICompaction from "agent-layers/layers/model/OpenAICompaction"
import * as SessionCached from "agent-layers/layers/session/SessionCached"
import * as SessionCompacted from "agent-layers/layers/session/SessionCompacted"
import * as SessionCompressed from "agent-layers/layers/session/SessionCompressed"
import * as SessionEncrypted from "agent-layers/layers/session/SessionEncrypted"
import * as SessionFallback from "agent-layers/layers/session/SessionFallback"
import * as SessionOpenAIConversations from "agent-layers/layers/session/SessionOpenAIConversations"
import * as SessionPostgres from "agent-layers/layers/session/SessionPostgres"
import * as SessionRedis from "agent-layers/layers/session/SessionRedis"
import * as SessionS3 from "agent-layers/layers/session/SessionS3"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import * as Law from "agent-layers/services/laws/Law"
import * as SessionLaws from "agent-layers/services/laws/SessionLaws"
import { Effect, Exit, Layer, Redacted, Scope, Stream } from "effect"
import { SqlClient } from "effect/sql"
import * as path from "node:path"
import { inspect } from "node:util"
import { afterAll, beforeAll } from "vitest"
import * as OpenAiPeer from "../support/openai/OpenAiPeer.ts"
import { connect, type Postgres, startPostgres } from "../support/postgres.ts"
import { type RedisServer, startRedis } from "../support/redis.ts"
import { requires } from "../support/requires.ts"
import * as S3Peer from "../support/s3/S3Peer.ts"
import { temporaryFolder } from "../support/session/subjects.ts"
import { Guide, remembered, remembers, say } from "./support.ts"

const redis = requires("redis-server")

const scope = Scope.makeUnsafe()
let postgres: Postgres
let redisServer: RedisServer
beforeAll(async () => {
  const servers = Effect.all([startPostgres, redis.available ? startRedis() : Effect.undefined], { concurrency: 2 })
  const [first, second] = await Effect.runPromise(Scope.provide(servers, scope))
  postgres = first
  if (second !== undefined) redisServer = second
}, 240_000)
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const secret = (byte: number) => Redacted.make(Buffer.alloc(32, byte).toString("base64"))
const key = (id: string, byte: number) => ({ id, secret: secret(byte) })

/** A store in memory that outlives its Layers, and what it holds. */
const memory = Effect.map(SessionMemory.makeStore, (store) => {
  const layer = SessionMemory.layerWith({ store })
  const stored = Session.Session.use((session) => Stream.runCollect(session.records("ada"))).pipe(
    Effect.map((records) => records.map(({ item }) => item)),
    Effect.provide(layer)
  )
  return { layer, stored }
})

describe("Memory: SQLite, PostgreSQL, Redis", () => {
  it.live("SessionSqlite: a conversation goes on from a file", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const session = Layer.fresh(SessionSqlite.layer({ filename: path.join(folder, "conversations.db") }))
      assert.deepStrictEqual(yield* remembers(session), remembered)
    }))

  it.live("SessionPostgres: by a connection string, over tables that are migrated once", () =>
    Effect.gen(function*() {
      const url = yield* postgres.freshDatabase
      assert.deepStrictEqual(yield* remembers(Layer.fresh(SessionPostgres.layer({ url }))), remembered)
      const sql = yield* connect(url)
      const versions = yield* sql`SELECT version FROM agent_layers_migrations WHERE component = 'session'`
      assert.deepStrictEqual(versions.map(({ version }) => version), versions.map((_, index) => index + 1))
    }))

  it.live("SessionPostgres: over the application's own SqlClient, and in its transactions", () =>
    Effect.gen(function*() {
      const sql = yield* Effect.flatMap(postgres.freshDatabase, connect)
      const session = Layer.provide(SessionPostgres.layerSql(), Layer.succeed(SqlClient.SqlClient, sql))
      yield* Effect.gen(function*() {
        const run = say("I am Ada.", "Hello.", "ada")
        yield* Effect.exit(sql.withTransaction(Effect.andThen(run, Effect.fail("rolled back"))))
        assert.deepStrictEqual(yield* say("Who am I?", "I do not know.", "ada"), ["Who am I?"])
      }).pipe(Effect.provide(session))
    }))

  it.live.skipIf(!redis.available)(
    redis.title("SessionRedis: a conversation goes on, and another prefix sees nothing of it"),
    () =>
      Effect.gen(function*() {
        const session = (prefix: string) =>
          Layer.fresh(SessionRedis.layer({ url: Redacted.make(redisServer.url), prefix }))
        assert.deepStrictEqual(yield* remembers(session("ours")), remembered)
        const theirs = say("Who am I?", "I do not know.", "ada").pipe(Effect.provide(session("theirs")))
        assert.deepStrictEqual(yield* theirs, ["Who am I?"])
      })
  )
})

describe("Memory: OpenAI conversations, compaction", () => {
  it.live("SessionOpenAIConversations: OpenAI keeps the conversation, and the session says what it cannot do", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const session = SessionOpenAIConversations.layer({
        apiKey: Redacted.make(peer.apiKey),
        baseURL: peer.url,
        conversationIds: yield* SessionOpenAIConversations.memoryIds
      })
      assert.deepStrictEqual(yield* remembers(Layer.fresh(session)), remembered)
      const { capabilities } = yield* Effect.provide(Session.Session, session)
      assert.deepInclude(capabilities, { versions: false, operations: false, rewrite: false, list: false })
    }))

  it.live("compacted: by responses.compact, when a run ends", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const compact = yield* OpenAICompaction.make({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url })
      const { layer, stored } = yield* memory
      const session = Session.wrap(layer, [SessionCompacted.layer({ compact, maxItems: 3, keepItems: 2 })])
      yield* remembers(session)
      assert.deepStrictEqual(peer.requests.map((request) => request.path), ["/v1/responses/compact"])
      assert.include((yield* stored).map(({ type }) => type), "compaction")
    }))

  it.live("compacted: by any model", () =>
    Effect.gen(function*() {
      const { layer, stored } = yield* memory
      const Summariser = ModelScripted.layer([ModelScripted.text("Her name is Ada.")])
      const compacted = SessionCompacted.layer({ compact: SessionCompacted.summary(), maxItems: 3, keepItems: 2 })
      const talk = Effect.andThen(say("I am Ada.", "Hello.", "ada"), say("Who am I?", "You are Ada.", "ada"))
      yield* Effect.provide(talk, Layer.provide(compacted, [layer, Summariser]))
      assert.deepStrictEqual((yield* stored).map(Item.text), [
        "Summary of the conversation so far:\n\nHer name is Ada.",
        "Who am I?",
        "You are Ada."
      ])
    }))
})

describe("Custom memory backend", () => {
  const make = Effect.sync(() => {
    const conversations = new Map<string, ReadonlyArray<string>>()
    return Session.make({
      backend: "map",
      load: (id) => Effect.sync(() => ({ entries: conversations.get(id) ?? [] })),
      save: (id, { entries }) =>
        Effect.sync(() => void conversations.set(id, [...conversations.get(id) ?? [], ...entries]))
    })
  })

  it.live("Session.make: two functions are a backend for an agent", () =>
    Effect.gen(function*() {
      const session = Layer.succeed(Session.Session, yield* make)
      assert.deepStrictEqual(yield* remembers(session), remembered)
    }))

  it.live("laws: an author runs them over the backend", () =>
    Effect.gen(function*() {
      const subject: SessionLaws.SessionSubject = {
        open: make,
        capabilities: { versions: false, operations: false, rewrite: false, list: false, anyItem: true },
        lacks: ["popItem", "clear", "records"],
        canReopen: false
      }
      const law = (name: string) => SessionLaws.all.find((one) => one.name.startsWith(name))!
      const held = yield* Law.verify(law("What an item holds comes back byte for byte"), subject)
      const notShown = yield* Law.verify(law("Each commit raises the version by one"), subject)
      assert.deepStrictEqual([held._tag, notShown._tag], ["Held", "NotShown"])
    }))
})

describe("Patterns: cloud storage", () => {
  it.live("SessionS3: a conversation goes on from a bucket, whatever its id is, below its prefix", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const session = SessionS3.layer({
        bucket: peer.bucket,
        prefix: "conversations",
        endpoint: peer.url,
        region: peer.region,
        credentials: { accessKeyId: peer.accessKeyId, secretAccessKey: Redacted.make(peer.secretAccessKey) }
      })
      for (const id of ["ada", "../../etc/passwd", "会話/ä", "x".repeat(500)]) {
        assert.deepStrictEqual(yield* remembers(Layer.fresh(session), id), remembered)
      }
      for (const name of peer.objects.keys()) assert.match(name, /^conversations\/(?!.*\.\.)/)
    }))
})

describe("Patterns: cache, encryption, compression, multi-backend", () => {
  it.live("SessionCached: what another process added is seen", () =>
    Effect.gen(function*() {
      const { layer } = yield* memory
      yield* Effect.gen(function*() {
        yield* say("I am Ada.", "Hello.", "ada")
        yield* Effect.provide(say("I write verse.", "Fine.", "ada"), layer)
        assert.deepStrictEqual(yield* say("Who am I?", "Ada.", "ada"), [
          ...remembered.slice(0, 2),
          "I write verse.",
          "Fine.",
          "Who am I?"
        ])
      }).pipe(Effect.provide(Session.wrap(layer, [SessionCached.layer()])))
    }))

  it.live("SessionEncrypted: the store sees nothing, and a key is rotated", () =>
    Effect.gen(function*() {
      const { layer, stored } = yield* memory
      const under = (...keys: ReadonlyArray<SessionEncrypted.Key>) =>
        Session.wrap(layer, [SessionEncrypted.layer({ keys })])
      assert.deepStrictEqual(yield* remembers(under(key("old", 1))), remembered)
      assert.deepStrictEqual((yield* stored).map(({ type }) => type), ["sealed", "sealed", "sealed", "sealed"])
      assert.notInclude(JSON.stringify(yield* stored), "Ada")
      const rotating = SessionEncrypted.layer({ keys: [key("new", 2), key("old", 1)] }).pipe(Layer.provide(layer))
      yield* Effect.provide(SessionEncrypted.rotate("ada"), rotating)
      assert.notInclude(JSON.stringify(yield* stored), "\"old\"")
      const error = yield* Effect.flip(Effect.provide(remembers(under(key("wrong", 3))), layer))
      assert.isTrue(SessionError.isSessionError(error) && error.reason._tag === "DecryptionFailed")
    }))

  it.live("SessionCompressed: the store holds less, the agent reads the same", () =>
    Effect.gen(function*() {
      const { layer, stored } = yield* memory
      const session = Session.wrap(layer, [SessionCompressed.layer({ threshold: 64 })])
      const long = "A long tale. ".repeat(1_000)
      yield* Effect.provide(say(long, "I see.", "ada"), session)
      assert.isBelow(JSON.stringify(yield* stored).length, 1_000)
      assert.deepStrictEqual(yield* Effect.provide(say("Again?", "No.", "ada"), session), [long, "I see.", "Again?"])
    }))

  it.live("SessionFallback: reads are answered by a backup while the primary is down", () =>
    Effect.gen(function*() {
      const { layer: backup, stored } = yield* memory
      const state = { isDown: false }
      const primary = Layer.effect(
        Session.Session,
        Effect.map(Session.Session, (inner) => ({
          ...inner,
          loadItems: (...args: Parameters<typeof inner.loadItems>) =>
            Effect.suspend(() =>
              state.isDown
                ? Effect.fail(
                  new SessionError.SessionError({
                    backend: "primary",
                    operation: "loadItems",
                    reason: new SessionError.Unavailable({ description: "down", isOutcomeUnknown: false })
                  })
                )
                : inner.loadItems(...args)
            )
        }))
      ).pipe(Layer.provide(SessionMemory.layer))
      yield* Effect.gen(function*() {
        yield* say("I am Ada.", "Hello.", "ada")
        state.isDown = true
        const { items } = yield* Session.Session.use((session) => session.loadItems("ada"))
        assert.deepStrictEqual(items.map(Item.text), ["I am Ada.", "Hello."])
      }).pipe(
        Effect.provide(Session.wrap(primary, [SessionFallback.layer({ backups: [{ name: "backup", layer: backup }] })]))
      )
      assert.strictEqual((yield* stored).length, 2)
    }))
})

describe("Errors handled gracefully", () => {
  for (
    const [how, load] of [
      ["throws", () => {
        throw new Error("the disk burns")
      }],
      ["rejects", () => Effect.promise(() => Promise.reject(new Error("the disk burns")))],
      ["dies", () => Effect.die(new Error("the disk burns"))]
    ] as const
  ) {
    it.effect(`backend: one that ${how} is a SessionError with backend, operation, id and cause`, () =>
      Effect.gen(function*() {
        const session = Session.make({ backend: "broken", load, save: () => Effect.void })
        const error = yield* Effect.flip(Runner.run(Guide, "Hello", { conversationId: "ada" })).pipe(
          Effect.provide([Layer.succeed(Session.Session, session), ModelScripted.layer([])])
        )
        assert.deepInclude(error, { backend: "broken", operation: "loadItems", conversationId: "ada" })
        assert.include(inspect(error.cause), "the disk burns")
      }))
  }
})
