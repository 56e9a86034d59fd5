import { afterAll, assert, describe, it } from "@effect/vitest"
import * as SessionS3 from "agent-layers/layers/session/SessionS3"
import { user } from "agent-layers/services/Item"
import { all } from "agent-layers/services/laws/SessionLaws"
import { Session } from "agent-layers/services/Session"
import type { SessionError, SessionErrorReason } from "agent-layers/services/SessionError"
import { Config, ConfigProvider, Duration, Effect, Exit, Fiber, Layer, Random, Redacted, Scope, Stream } from "effect"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { inspect } from "node:util"
import * as s3Keys from "../../../src/layers/session/internal/s3Keys.ts"
import { describeLaws } from "../../support/laws.ts"
import * as S3Peer from "../../support/s3/S3Peer.ts"
import { label, labels, large, objectsOf, open, optionsOf, texts } from "../../support/s3/sessions.ts"
import { everything } from "../../support/session/subjects.ts"
import { until } from "../../support/until.ts"

const scope = Scope.makeUnsafe()
const shared = await Effect.runPromise(Scope.provide(S3Peer.make, scope))
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const isHead = (request: S3Peer.S3Request) => request.key.includes("/head/")
const isSegment = (request: S3Peer.S3Request) => request.key.includes("/items/")
const isHeadPut = (request: S3Peer.S3Request) => request.method === "PUT" && isHead(request)

const headKeyOf = (peer: S3Peer.S3Peer, id: string) =>
  [...peer.objects.keys()].find((key) =>
    key.includes("/head/") && JSON.parse(peer.text(key).split("\n")[0]!).id === id
  )!

describeLaws("SessionS3, a bucket", all, {
  open: open(shared, { prefix: "laws" }),
  capabilities: everything,
  canReopen: true,
  faults: {
    corruptLast: (id) =>
      Effect.sync(() => {
        const key = headKeyOf(shared, id)
        const lines = shared.text(key).split("\n")
        lines[lines.length - 2] = "{\"type\":"
        shared.put(key, lines.join("\n"))
      }),
    outage: Effect.acquireRelease(
      Effect.sync(() =>
        shared.fault({ when: (request) => request.method === "PUT", times: Infinity, kind: S3Peer.slowDown })
      ),
      (end) => Effect.sync(end)
    )
  }
}, { timeout: 240_000 })

const sizes = (request: S3Peer.S3Request) => `${request.method} ${request.key.split("/")[1] ?? "list"}`

/** What was asked of the peer while an effect ran. */
const requestsOf = <A, E, R>(peer: S3Peer.S3Peer, effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const before = peer.requests.length
    return Effect.map(effect, () => peer.requests.slice(before).map(sizes))
  })

const reasonOf = <A, R>(effect: Effect.Effect<A, SessionError, R>): Effect.Effect<SessionErrorReason, A, R> =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

describe("SessionS3 costs", () => {
  it.live("one PUT for a commit onto what this process has seen, one GET to load", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const session = yield* open(peer)
      yield* session.saveItems("a", [user("1")])
      assert.deepStrictEqual(yield* requestsOf(peer, session.loadItems("a")), ["GET head"])
      assert.deepStrictEqual(yield* requestsOf(peer, session.saveItems("a", [user("2")])), ["PUT head"])
      const other = yield* open(peer)
      yield* other.saveItems("b", [user("x")])
      assert.deepStrictEqual(yield* requestsOf(peer, other.saveItems("a", [user("3")])), ["GET head", "PUT head"])
      assert.deepStrictEqual(yield* requestsOf(peer, session.saveItems("a", [user("4")])), [
        "PUT head",
        "GET head",
        "PUT head"
      ])
      assert.deepStrictEqual(yield* texts(session, "a"), ["1", "2", "3", "4"])
    }))

  it.live("few GETs for a long conversation, fewer after maintain", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const session = yield* open(peer)
      const names = Array.from({ length: 60 }, (_, index) => `${index}`)
      for (const name of names) yield* session.saveItems("a", [large(name)])
      const load = Effect.flatMap(open(peer), (fresh) => labels(fresh, "a"))
      const before = yield* requestsOf(peer, load)
      assert.isAtMost(before.length, 21)
      yield* session.maintain("a")
      const after = yield* requestsOf(peer, load)
      assert.isAtMost(after.length, 3)
      assert.deepStrictEqual(yield* load, names)
      assert.strictEqual(objectsOf(peer, "items").length, 1)
      const { version } = yield* session.loadItems("a")
      assert.strictEqual(version, 60)
      assert.deepStrictEqual(yield* requestsOf(peer, Effect.flatMap(open(peer), (fresh) => labels(fresh, "a", 0))), [
        "GET head"
      ])
    }))

  it.live("the latest items without the segments before them", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const session = yield* open(peer)
      for (let turn = 0; turn < 12; turn++) yield* session.saveItems("a", [large(`${turn}`)])
      const fresh = yield* open(peer)
      const few = yield* requestsOf(peer, labels(fresh, "a", 2))
      assert.isAtMost(few.length, 3)
      const since = yield* fresh.loadItems("a", { known: 10 })
      assert.isTrue(since.isSuffix)
      assert.deepStrictEqual(since.items.map(label), ["10", "11"])
    }))
})

describe("SessionS3 keeps", () => {
  it.effect("keys in the order of the ids, none too long, no two alike", () =>
    Effect.gen(function*() {
      const keys = s3Keys.make("p/", (text) => createHash("sha256").update(text).digest("hex"))
      const bytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
      const alphabet = ["a", "Z", "0", "/", ".", "-", "+", "~", "_", "=", "\u0001", "\u007f", "é", "語", "😀", "\uffee"]
      const ids = new Set<string>(alphabet)
      for (let count = 0; count < 2_000; count++) {
        const length = count % 4 === 0 ? 256 : 1 + (count % 7)
        let id = ""
        while (id.length < length) id += alphabet[yield* Random.nextIntBetween(0, alphabet.length - 1)]
        ids.add(id.slice(0, 512))
      }
      const all = [...ids]
      const heads = all.map(keys.head)
      assert.strictEqual(new Set(heads).size, all.length)
      for (const key of heads) {
        assert.isAtMost(Buffer.byteLength(key), 1_024)
        assert.isTrue(keys.isHead(key))
        for (const part of key.split("/")) assert.isTrue(part.length > 0 && part.length <= 255, part)
      }
      const short = all.filter((id) => keys.groupOf(keys.head(id)) === undefined)
      assert.isAbove(short.length, 1_000)
      assert.isBelow(short.length, all.length)
      assert.deepStrictEqual(
        short.map((id) => [keys.head(id), id] as const).sort(([a], [b]) => bytes(a, b)).map(([, id]) => id),
        [...short].sort(bytes)
      )
      for (const id of all) {
        assert.isTrue(keys.head(id).startsWith(keys.heads(id.slice(0, id.codePointAt(0)! > 65_535 ? 2 : 1))))
      }
    }))

  it.live("ids of all kinds inside its prefix, each for itself", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.makeWith({ pageSize: 3 })
      const session = yield* open(peer, { prefix: "tenants/one" })
      const long = "語".repeat(511)
      const names = [
        "..",
        "../..",
        "../two",
        "/",
        "//",
        "a/../b",
        ".",
        "a",
        "a/",
        "a-2F",
        "%2e%2e",
        "😀",
        `${long}a`,
        `${long}b`,
        `${long}語`,
        long,
        "x".repeat(512),
        "conditions",
        ".conditions"
      ]
      for (const name of names) yield* session.saveItems(name, [user(name)])
      for (const name of names) assert.deepStrictEqual(yield* texts(session, name), [name])
      for (const key of peer.objects.keys()) {
        assert.isTrue(key.startsWith("tenants/one/"))
        assert.isAtMost(Buffer.byteLength(key), 1_024)
        assert.notMatch(key, /\.\./)
      }
      const listed = yield* Stream.runCollect(session.conversations())
      const bytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
      assert.deepStrictEqual(listed.map((one) => one.id), [...names].sort(bytes))
      const some = yield* Stream.runCollect(session.conversations({ prefix: long }))
      assert.deepStrictEqual(some.map((one) => one.id), [long, `${long}a`, `${long}b`, `${long}語`])
      assert.deepStrictEqual(yield* Stream.runCollect(session.conversations({ prefix: `${long}語語` })), [])
    }), { timeout: 30_000 })

  it.live("prefixes apart, one below the other too", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const prefixes = ["a", "a/head", "a/items", "ab", ""]
      for (const prefix of prefixes) {
        const session = yield* open(peer, { prefix })
        yield* session.saveItems("one", [large(prefix), large("x"), large("y")])
        yield* session.saveItems("head", [user("z")])
      }
      for (const prefix of prefixes) {
        const session = yield* open(peer, { prefix })
        assert.strictEqual((yield* labels(session, "one"))[0], prefix)
        const found = yield* Stream.runCollect(session.conversations())
        assert.deepStrictEqual(found.map((one) => one.id), ["head", "one"])
        yield* session.clear("one")
        yield* session.maintain("one")
      }
      for (const prefix of prefixes) {
        const session = yield* open(peer, { prefix })
        assert.strictEqual((yield* session.loadItems("one")).version, 2)
      }
    }))

  it.live("nothing of what was cleared, whatever was in the way", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const session = yield* open(peer)
      for (const name of ["secret-1", "secret-2", "secret-3", "secret-4"]) yield* session.saveItems("a", [large(name)])
      const end = peer.fault({ when: (request) => request.method === "DELETE", times: Infinity, kind: "cut" })
      yield* session.clear("a")
      assert.isAbove(objectsOf(peer, "items").length, 0)
      end()
      assert.deepStrictEqual(yield* labels(session, "a"), [])
      yield* session.maintain("a")
      for (const key of peer.objects.keys()) assert.notInclude(peer.text(key), "secret")
      yield* session.saveItems("a", [user("anew")])
      assert.deepStrictEqual(yield* texts(session, "a"), ["anew"])
    }))
})

describe("SessionS3 where an answer is lost", () => {
  const faults: ReadonlyArray<readonly [string, S3Peer.Fault["kind"], number]> = [
    ["a connection that breaks after the write", "lose", 1],
    ["a connection that breaks before the write", "cut", 1],
    ["a write that is never answered", "hang", 1],
    ["an internal error, three times", S3Peer.internalError, 3],
    ["a server that is busy, three times", S3Peer.slowDown, 3],
    ["another write under way, twice", S3Peer.conflict, 2],
    ["two answers lost, one after the other", "lose", 2]
  ]
  for (const [name, kind, times] of faults) {
    it.live(`commits once: ${name}`, () =>
      Effect.gen(function*() {
        const peer = yield* S3Peer.make
        const session = yield* open(peer, { requestTimeout: "2 seconds" })
        const save = (id: string, name: string) =>
          Effect.gen(function*() {
            const end = peer.fault({ when: isHeadPut, times, kind })
            const saved = yield* session.saveItems(id, [user(name)])
            end()
            return saved.version
          })
        assert.strictEqual(yield* save("a", "1"), 1)
        assert.strictEqual(yield* save("a", "2"), 2)
        const fresh = yield* open(peer)
        assert.deepStrictEqual(yield* texts(fresh, "a"), ["1", "2"])
        assert.strictEqual(yield* Effect.map(session.loadItems("a"), (loaded) => loaded.version), 2)
      }))
  }

  it.live("commits once where others commit before it can look", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const session = yield* open(peer)
      const other = yield* open(peer)
      yield* session.saveItems("a", [user("1")])
      yield* other.loadItems("a")
      for (const kind of ["lose", "cut"] as const) {
        const end = peer.fault({ when: isHeadPut, kind })
        const gets = () => peer.requests.filter(({ method }) => method === "GET").length
        const before = gets()
        const slow = peer.fault({ when: (request) => request.method === "GET", kind: "cut", delay: 2_000 })
        const fiber = yield* Effect.forkChild(session.saveItems("a", [user(kind)]), { startImmediately: true })
        yield* until(gets, (count) => count > before)
        const { version } = yield* other.saveItems("a", [user(`after ${kind}`)])
        yield* other.saveItems("a", [user("more")])
        const saved = yield* Fiber.join(fiber)
        assert.strictEqual(saved.version, kind === "lose" ? version - 1 : version + 2)
        end()
        slow()
      }
      assert.deepStrictEqual(yield* texts(session, "a"), [
        "1",
        "lose",
        "after lose",
        "more",
        "after cut",
        "more",
        "cut"
      ])
    }))

  it.live("commits once where the write comes late", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const session = yield* open(peer, { requestTimeout: "2 seconds" })
      yield* session.saveItems("a", [user("1")])
      peer.fault({ when: isHeadPut, kind: "lose", delay: 4_000 })
      const { version } = yield* session.saveItems("a", [user("2")])
      assert.strictEqual(version, 2)
      yield* session.saveItems("a", [user("3")])
      yield* until(() => peer.requests.some((request) => request.status === 412), (hasCome) => hasCome)
      assert.deepStrictEqual(yield* texts(session, "a"), ["1", "2", "3"])
    }))

  it.live("says that the outcome is unknown where it cannot find out, and a retry stores once", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const session = yield* open(peer)
      yield* session.saveItems("a", [user("1")])
      const save = session.saveItems("a", [user("2")], { operationId: "op" })
      const end = peer.fault({ when: isHeadPut, kind: "lose" })
      const away = peer.fault({ when: (request) => request.method === "GET", times: Infinity, kind: "cut" })
      const reason = yield* reasonOf(save)
      assert.isTrue(reason._tag === "Unavailable" && reason.isOutcomeUnknown)
      end()
      away()
      assert.strictEqual((yield* save).version, 2)
      assert.deepStrictEqual(yield* texts(session, "a"), ["1", "2"])
    }))

  it.live("says that nothing happened where it knows", () =>
    Effect.gen(function*() {
      const session = yield* Effect.scoped(Effect.map(S3Peer.make, optionsOf)).pipe(
        Effect.flatMap(SessionS3.make)
      )
      const reason = yield* reasonOf(session.saveItems("a", [user("1")]))
      assert.isTrue(reason._tag === "Unavailable" && !reason.isOutcomeUnknown)
      assert.include(reason.message, "ECONNREFUSED")
    }))

  it.live("writes a segment once", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const session = yield* open(peer)
      peer.fault({ when: (request) => request.method === "PUT" && isSegment(request), kind: "lose" })
      yield* session.saveItems("a", [large("1"), large("2"), large("3")])
      assert.deepStrictEqual(yield* labels(session, "a"), ["1", "2", "3"])
      assert.strictEqual(objectsOf(peer, "items").length, 1)
    }))
})

describe("SessionS3 with two writers", () => {
  it.live("removes what a writer left that came too late, and nothing that may still be named", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const session = yield* open(peer)
      const refused: S3Peer.Refusal = { status: 403, code: "AccessDenied", message: "Access Denied" }
      const end = peer.fault({ when: isHeadPut, kind: refused })
      yield* reasonOf(session.saveItems("a", [large("1"), large("2"), large("3")]))
      end()
      const [orphan] = objectsOf(peer, "items")
      yield* session.saveItems("a", [large("4"), large("5"), large("6")])
      const future = `${orphan!.slice(0, orphan!.lastIndexOf("/"))}/99-x`
      peer.put(future, "")
      yield* session.maintain("a")
      assert.isFalse(peer.objects.has(orphan!))
      assert.isTrue(peer.objects.has(future))
      assert.deepStrictEqual(yield* labels(session, "a"), ["4", "5", "6"])
    }))
})

describe("SessionS3 refuses", () => {
  const tags = (peer: S3Peer.S3Peer, options: Partial<SessionS3.Options>) =>
    Effect.flatMap(open(peer, options), (session) => reasonOf(session.saveItems("a", [user("1")])))

  it.live("a store that takes no notice of conditions, before anything is stored", () =>
    Effect.gen(function*() {
      for (const header of ["if-match", "if-none-match"]) {
        const peer = yield* S3Peer.make
        peer.fault({ when: (request) => header in request.headers, times: Infinity, kind: "ignore" })
        const session = yield* open(peer)
        for (const _ of [1, 2]) {
          const reason = yield* reasonOf(session.saveItems("a", [user("1")]))
          assert.strictEqual(reason._tag, "Unsupported")
          assert.include(reason.message, "conditional writes")
        }
        assert.deepStrictEqual(objectsOf(peer, "head"), [])
      }
      const peer = yield* S3Peer.make
      const kind = { status: 501, code: "NotImplemented", message: "No such header" }
      peer.fault({ when: (request) => "if-match" in request.headers, times: Infinity, kind })
      assert.strictEqual((yield* tags(peer, {}))._tag, "Unsupported")
    }))

  it.live("what cannot be a key, a bucket or an endpoint, when it is built", () =>
    Effect.gen(function*() {
      const credentials = { accessKeyId: "", secretAccessKey: Redacted.make("x") }
      const cases: ReadonlyArray<readonly [Partial<SessionS3.Options>, string, string]> = [
        [{ bucket: "" }, "InvalidInput", "bucket"],
        [{ endpoint: "localhost:9000" }, "InvalidInput", "endpoint"],
        [{ endpoint: "nonsense" }, "InvalidInput", "endpoint"],
        [{ prefix: "a/../b" }, "InvalidInput", "prefix"],
        [{ prefix: "/" }, "InvalidInput", "prefix"],
        [{ prefix: "a//b" }, "InvalidInput", "prefix"],
        [{ prefix: "a\nb" }, "InvalidInput", "prefix"],
        [{ prefix: "ü".repeat(300) }, "LimitExceeded", "prefix"],
        [{ credentials }, "InvalidInput", "accessKeyId"]
      ]
      for (const [options, tag, word] of cases) {
        const error = yield* Effect.flip(Effect.scoped(open(shared, options)))
        assert.deepStrictEqual([error.backend, error.operation, error.reason._tag], ["s3", "open", tag])
        assert.include(error.message, word)
      }
    }))

  it.live("says what to do about a wrong key, region, token or bucket, and tells no secret", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.makeWith({ sessionToken: "token-of-the-peer" })
      const secret = "canary/secret+key"
      const token = Redacted.make("token-of-the-peer")
      const right = {
        accessKeyId: peer.accessKeyId,
        secretAccessKey: Redacted.make(peer.secretAccessKey),
        sessionToken: token
      }
      const cases: ReadonlyArray<readonly [Partial<SessionS3.Options>, string]> = [
        [{ credentials: { ...right, secretAccessKey: Redacted.make(secret) } }, "SignatureDoesNotMatch"],
        [{ credentials: { ...right, accessKeyId: "AKIANOBODY" } }, "InvalidAccessKeyId"],
        [{ credentials: { ...right, sessionToken: Redacted.make("canary-token") } }, "InvalidToken"],
        [{ credentials: right, region: "us-west-9" }, "AuthorizationHeaderMalformed"],
        [{ credentials: right, bucket: "nobodys" }, "NoSuchBucket"]
      ]
      for (const [options, code] of cases) {
        for (
          const call of [
            (session: Session["Service"]) => session.saveItems("a", [user("1")]),
            (session: Session["Service"]) => session.loadItems("a"),
            (session: Session["Service"]) => Stream.runCollect(session.conversations())
          ]
        ) {
          const error = yield* Effect.flip(
            Effect.flatMap(open(peer, options), (session) => call(session) as Effect.Effect<unknown, SessionError>)
          )
          assert.strictEqual(error.reason._tag, "Unavailable")
          assert.isFalse(error.reason._tag === "Unavailable" && error.reason.isOutcomeUnknown)
          assert.include(error.message, code)
          assert.include(error.message, ";")
          const told = inspect(error, { depth: 20, showHidden: true }) + JSON.stringify(error)
          for (const canary of [secret, "canary-token", peer.secretAccessKey, "token-of-the-peer", "AWS4-HMAC"]) {
            assert.notInclude(told, canary)
          }
        }
      }
      const session = yield* open(peer, { credentials: right })
      assert.strictEqual((yield* session.saveItems("a", [user("1")])).version, 1)
    }))

  it.live("objects that it did not make, and leaves them as they are", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const session = yield* open(peer)
      yield* session.saveItems("a", [large("1"), large("2"), large("3")])
      yield* session.saveItems("a", [user("4")])
      const key = headKeyOf(peer, "a")
      const head = peer.text(key)
      const cases: ReadonlyArray<readonly [string, string, string]> = [
        ["notes", "CorruptStore", key],
        ["", "CorruptStore", key],
        [head.slice(0, -10), "CorruptStore", "cut off"],
        [head.replace("\"id\":\"a\"", "\"id\":\"b\""), "CorruptStore", "another conversation"],
        [head.replace("\"format\":1", "\"format\":2"), "Unsupported", "format 2"],
        [head.replace("\"items\":4", "\"items\":5"), "CorruptStore", "as many"]
      ]
      for (const [body, tag, word] of cases) {
        peer.put(key, body)
        const fresh = yield* open(peer)
        for (const call of [fresh.loadItems("a"), fresh.saveItems("a", [user("5")]), fresh.popItem("a")]) {
          const reason = yield* reasonOf(call as Effect.Effect<unknown, SessionError>)
          assert.strictEqual(reason._tag, tag)
          assert.include(reason.message, word)
        }
        assert.strictEqual(peer.text(key), body)
      }
      peer.put(key, head)
      const [segment] = objectsOf(peer, "items")
      const body = peer.text(segment!)
      peer.put(segment!, body.split("\n").slice(2).join("\n"))
      assert.strictEqual(
        (yield* reasonOf(Effect.flatMap(open(peer), (one) => one.loadItems("a"))))._tag,
        "CorruptStore"
      )
      peer.objects.delete(segment!)
      for (
        const call of [
          (one: Session["Service"]) => one.loadItems("a"),
          (one: Session["Service"]) => Stream.runCollect(one.records("a")),
          (one: Session["Service"]) => one.rewrite("a", { through: 0, items: [] })
        ]
      ) {
        const reason = yield* reasonOf(
          Effect.flatMap(open(peer), (one) => call(one) as Effect.Effect<unknown, SessionError>)
        )
        assert.strictEqual(reason._tag, "CorruptStore")
        assert.include(reason.message, "missing")
      }
    }))
})

describe("SessionS3", () => {
  it("loads the client when it is built", () => {
    const root = new URL("../../../src/layers/session/", import.meta.url)
    const names = ["SessionS3.ts", ...fs.readdirSync(new URL("internal", root)).map((name) => `internal/${name}`)]
    for (const name of names) {
      const source = fs.readFileSync(new URL(name, root), "utf8")
      for (const line of source.match(/^import .*"@aws-sdk.*$/gm) ?? []) assert.match(line, /^import type /, name)
    }
  })

  it.live("works where the server's clock is an hour ahead or behind", () =>
    Effect.gen(function*() {
      for (const clockOffset of [3_600_000, -3_600_000]) {
        const peer = yield* S3Peer.makeWith({ clockOffset })
        const session = yield* open(peer)
        yield* session.saveItems("a", [user("1")])
        assert.deepStrictEqual(yield* texts(session, "a"), ["1"])
      }
    }))

  it.live("takes its options from configuration, and credentials from the environment", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const config = SessionS3.layerConfig({
        bucket: Config.String("BUCKET"),
        endpoint: Config.String("ENDPOINT"),
        region: Config.String("REGION"),
        credentials: {
          accessKeyId: Config.String("KEY"),
          secretAccessKey: Config.Redacted("SECRET")
        },
        requestTimeout: Config.Duration("TIMEOUT").pipe(Config.withDefault(Duration.seconds(5)))
      })
      const settings = { BUCKET: peer.bucket, ENDPOINT: peer.url, REGION: peer.region, KEY: peer.accessKeyId }
      const save = Effect.flatMap(Session, (session) => session.saveItems("a", [user("1")]))
      const provider = (secrets: Record<string, string>) =>
        ConfigProvider.layer(ConfigProvider.fromUnknown({ ...settings, ...secrets }))
      yield* Effect.provide(save, Layer.provide(config, provider({ SECRET: peer.secretAccessKey })))
      const error = yield* Effect.flip(Effect.provide(save, Layer.provide(config, provider({}))))
      assert.strictEqual(error._tag, "ConfigError")

      const before = { ...process.env }
      process.env["AWS_ACCESS_KEY_ID"] = peer.accessKeyId
      process.env["AWS_SECRET_ACCESS_KEY"] = peer.secretAccessKey
      yield* Effect.addFinalizer(() => Effect.sync(() => Object.assign(process.env, before)))
      const { bucket, endpoint, region } = optionsOf(peer) as Required<SessionS3.Options>
      const { version } = yield* Effect.provide(save, SessionS3.layer({ bucket, endpoint, region }))
      assert.strictEqual(version, 2)
    }))

  it.live("stops reading when interrupted, finishes a commit, and closes its connections", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      const scope = yield* Scope.make()
      const session = yield* Scope.provide(open(peer), scope)
      yield* session.saveItems("a", [user("1")])
      peer.fault({ when: (request) => request.method === "GET", kind: "hang" })
      const reader = yield* Effect.forkChild(session.loadItems("a"), { startImmediately: true })
      const isUnderWay = (method: string) => peer.requests.at(-1)?.method === method
      yield* until(() => isUnderWay("GET"), (isSo) => isSo)
      yield* Fiber.interrupt(reader)
      peer.fault({ when: isHeadPut, kind: "lose", delay: 100 })
      const writer = yield* Effect.forkChild(session.saveItems("a", [user("2")]), { startImmediately: true })
      yield* until(() => isUnderWay("PUT"), (isSo) => isSo)
      yield* Fiber.interrupt(writer)
      assert.deepStrictEqual(yield* texts(session, "a"), ["1", "2"])
      yield* Scope.close(scope, Exit.void)
      yield* until(peer.connections, (count) => count === 0)
    }))

  it.live("fails in time where the store never answers", () =>
    Effect.gen(function*() {
      const peer = yield* S3Peer.make
      peer.fault({ times: Infinity, kind: "hang" })
      const session = yield* open(peer, { requestTimeout: "5 seconds", commitTimeout: "300 millis" })
      const reason = yield* reasonOf(session.saveItems("a", [user("1")]))
      assert.isTrue(reason._tag === "Unavailable" && reason.isOutcomeUnknown)
      const hasty = yield* open(peer, { requestTimeout: "50 millis" })
      assert.strictEqual((yield* reasonOf(hasty.loadItems("a")))._tag, "Unavailable")
    }))
})
