import { NodeRedis } from "@effect/platform-node"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as SessionRedis from "agent-layers/layers/session/SessionRedis"
import { text, user } from "agent-layers/services/Item"
import { all } from "agent-layers/services/laws/SessionLaws"
import { Session } from "agent-layers/services/Session"
import type { SessionError, SessionErrorReason } from "agent-layers/services/SessionError"
import {
  Config,
  ConfigProvider,
  Context,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Random,
  Redacted,
  Schedule,
  Scope,
  Stream,
  Tracer
} from "effect"
import { Redis } from "effect/persistence"
import * as net from "node:net"
import { inspect } from "node:util"
import { createClient } from "redis"
import { describeLaws } from "../../support/laws.ts"
import { startRedis } from "../../support/redis.ts"
import { requires } from "../../support/requires.ts"
import { noteFigures, rounds, timeLimit } from "../../support/rounds.ts"
import { commitsOf, writersInProcesses } from "../../support/session/servers.ts"
import { everything } from "../../support/session/subjects.ts"
import { allowTimeFor, until, untilSo } from "../../support/until.ts"

const redis = requires("redis-server")

const scope = Effect.runSync(Scope.make())
const server = redis.available ? await Effect.runPromise(Scope.provide(startRedis(), scope)) : undefined!
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

/** A client apart from those of sessions, to look and to meddle. */
const clientOf = (url: string) =>
  Effect.acquireRelease(
    Effect.promise(() => createClient({ url }).on("error", () => undefined).connect()),
    (client) => Effect.sync(() => client.destroy())
  )

const command = (...args: ReadonlyArray<string>) =>
  Effect.scoped(
    Effect.flatMap(clientOf(server.url), (client) =>
      Effect.promise(() => client.sendCommand([...args]) as unknown as Promise<unknown>))
  )

/** Characters that mean something in keys, patterns and URLs. */
const prefix = "laws:{a}*%/é"

const corruptLast = (id: string) => command("LSET", `{${encodeURIComponent(prefix)}}:items:${id}`, "-1", "{\"type\":")

const outage = Effect.acquireRelease(
  Effect.sync(() => server.process().kill("SIGSTOP")),
  () => Effect.sync(() => server.process().kill("SIGCONT"))
)

let prefixes = 0
const open = (options: Partial<SessionRedis.Options> = {}) =>
  Effect.suspend(() => SessionRedis.make({ url: Redacted.make(server.url), prefix: `test ${++prefixes}`, ...options }))

const refusesToOpen = <Tag extends SessionErrorReason["_tag"]>(
  options: Partial<SessionRedis.Options>,
  tag: Tag,
  ...says: Array<string>
) =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(Effect.scoped(open(options))).pipe(quiet)
    assert.deepStrictEqual([error.backend, error.operation, error.reason._tag], ["redis", "open", tag])
    for (const words of says) assert.include(error.reason.message, words)
    keepsSecret(error)
    return error.reason as Extract<SessionErrorReason, { _tag: Tag }>
  })

// The client logs each connection that it loses or does not get, and here it loses many.
const quiet = Effect.provide(Logger.layer([]))

const keepsSecret = (value: unknown) => {
  const shown = inspect(value, { depth: 20, showHidden: true }) + String(value)
  const at = shown.indexOf("opensesame")
  assert.strictEqual(at < 0 ? "" : shown.slice(Math.max(0, at - 200), at + 100), "")
}

const ranged = (count: number) => Array.from({ length: count }, (_, index) => index)

describe.skipIf(!redis.available)(redis.title("SessionRedis"), () => {
  describeLaws("SessionRedis", all, {
    open: open({ prefix, timeout: "2 seconds" }),
    capabilities: everything,
    canReopen: true,
    faults: { corruptLast, outage }
  })

  describeLaws("SessionRedis.layerRedis", all, {
    open: Effect.suspend(() =>
      Effect.map(
        Layer.build(
          SessionRedis.layerRedis({ prefix, timeout: "2 seconds" }).pipe(
            Layer.provide(NodeRedis.layer({ url: server.url }))
          )
        ),
        Context.get(Session)
      )
    ),
    prefix: "shared/",
    capabilities: everything,
    canReopen: true,
    faults: { corruptLast, outage }
  })

  describe("opens", () => {
    it.live("with options from configuration", () =>
      Effect.gen(function*() {
        const layer = SessionRedis.layerConfig({
          url: Config.Redacted("REDIS_URL"),
          prefix: Config.String("PREFIX").pipe(Config.withDefault("configured"))
        }).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ REDIS_URL: server.url }))))
        yield* Effect.provide(Effect.flatMap(Session, (session) => session.saveItems("a", [user("hi")])), layer)
        assert.strictEqual(yield* command("EXISTS", "{configured}:items:a"), 1)
        const missing = SessionRedis.layerConfig({ url: Config.Redacted("REDIS_URL") }).pipe(
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({})))
        )
        assert.strictEqual((yield* Effect.flip(Effect.provide(Session, missing)))._tag, "ConfigError")
      }))

    it.live("another database of the server, which sees nothing of the first", () =>
      Effect.gen(function*() {
        const first = yield* open({ prefix: "databases" })
        const second = yield* open({ prefix: "databases", url: Redacted.make(`${server.url}/3`) })
        yield* first.saveItems("a", [user("hi")])
        assert.strictEqual((yield* second.loadItems("a")).version, 0)
      }).pipe(Effect.scoped))

    it.live("and closes its connection", () =>
      Effect.gen(function*() {
        const connections = Effect.map(command("CLIENT", "LIST"), (list) => String(list).trim().split("\n").length)
        const before = yield* connections
        yield* Effect.scoped(Effect.gen(function*() {
          const session = yield* open()
          yield* Effect.forEach(ranged(50), () => session.saveItems("a", [user("hi")]), { concurrency: "unbounded" })
          assert.strictEqual(yield* connections, before + 1)
        }))
        yield* until(connections, (count) => count === before)
      }))
  })

  describe("refuses to open", () => {
    it.live.each(["nonsense opensesame", "http://root:opensesame@localhost", "redis://:opensesame@localhost/name", ""])(
      "what is no connection string: %s",
      (bad) => refusesToOpen({ url: Redacted.make(bad) }, "InvalidInput", "redis://user:password@")
    )

    it.live.each(["", "x".repeat(129), "\ud800"])(
      "a prefix that means nothing: %j",
      (prefix) => refusesToOpen({ prefix }, "InvalidInput", "prefix")
    )

    it.live("a server that is not there, at once", () =>
      Effect.gen(function*() {
        const reason = yield* refusesToOpen(
          { url: Redacted.make("redis://x:opensesame@127.0.0.1:1"), timeout: "1 hour", commitTimeout: "2 hours" },
          "Unavailable",
          "127.0.0.1:1"
        )
        assert.isFalse(reason.isOutcomeUnknown)
      }))

    it.live("a server that takes connections and does not answer", () =>
      Effect.gen(function*() {
        let taken = 0
        const silent = yield* Effect.acquireRelease(
          Effect.promise(() =>
            new Promise<net.Server>((resolve) => {
              const silent = net.createServer((socket) => {
                taken++
                socket.on("error", () => undefined)
              })
              silent.listen(0, "127.0.0.1", () => resolve(silent))
            })
          ),
          (silent) => Effect.sync(() => silent.close())
        )
        const url = Redacted.make(`redis://127.0.0.1:${(silent.address() as net.AddressInfo).port}`)
        yield* refusesToOpen({ url, timeout: "200 millis" }, "Unavailable")

        const before = taken
        const late = Effect.scoped(open({ url, timeout: "1 second" }))
        const opening = yield* Effect.forkChild(late, { startImmediately: true })
        yield* until(() => taken, (count) => count > before)
        // Connecting ends by its timeout first.
        yield* Fiber.interrupt(opening)
      }).pipe(Effect.scoped, quiet))

    it.live("wrong credentials, and a user who may not run scripts", () =>
      Effect.gen(function*() {
        yield* command("ACL", "SETUSER", "guest", "on", ">opensesame", "~*", "+@all", "-@scripting")
        const url = (password: string) => Redacted.make(`redis://guest:${password}@127.0.0.1:${server.port}`)
        yield* refusesToOpen({ url: url("opensesame-wrong") }, "Unavailable", "credentials")
        yield* refusesToOpen({ url: url("opensesame") }, "Unsupported", "EVALSHA")
      }))

    it.live("keys of a newer format, and leaves them as they are", () =>
      Effect.gen(function*() {
        yield* command("SET", "{newer}:format", "7")
        yield* refusesToOpen({ prefix: "newer" }, "Unsupported", "format 7", "format 1", "newer agent-layers")
        assert.strictEqual(yield* command("GET", "{newer}:format"), "7")
      }))

    it.live("keys of another program", () =>
      Effect.gen(function*() {
        yield* command("LPUSH", "{taken}:format", "x")
        yield* refusesToOpen({ prefix: "taken" }, "CorruptStore", "another program")
      }))
  })

  it.live("prefixes see nothing of each other, whatever is in them and in ids", () =>
    Effect.gen(function*() {
      const prefixes = ["a", "a:", "a}", "{a}", "a}:conversation:b", "a%7D", "a*", "*", "b", ":", "é", " "]
      const ids = ["b", ":b", "b:", "conversation:b", "*", "a*", "{a}", "}:items:b", "%", "_", "é".repeat(512)]
      const sessions = yield* Effect.forEach(prefixes, (prefix) => open({ prefix }))
      for (const [index, session] of sessions.entries()) {
        for (const id of ids) yield* session.saveItems(id, [user(`${prefixes[index]} ${id}`)])
      }
      yield* sessions[0]!.clear("b")
      const sorted = [...ids].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      for (const [index, session] of sessions.entries()) {
        const list = (prefix?: string) =>
          Effect.map(Stream.runCollect(session.conversations({ prefix })), (found) => found.map(({ id }) => id))
        assert.deepStrictEqual(yield* list(), sorted.filter((id) => index > 0 || id !== "b"))
        assert.deepStrictEqual(yield* list("*"), ["*"])
        assert.deepStrictEqual(yield* list("}:items:"), ["}:items:b"])
        assert.deepStrictEqual(yield* list("\0"), [])
        for (const id of ids) {
          const { items } = yield* session.loadItems(id)
          assert.deepStrictEqual(items.map(text), index === 0 && id === "b" ? [] : [`${prefixes[index]} ${id}`])
        }
      }
    }).pipe(Effect.scoped))

  it.live(
    "keeps 10,000 items, more than Lua has room for at once, and large ones up to its limit",
    () =>
      Effect.gen(function*() {
        const session = yield* open()
        const many = ranged(10_000).map((index) => user(`${index} \u0000 ${"x".repeat(300)}`))
        yield* session.saveItems("many", many, { meta: { runId: "1" } })
        assert.deepStrictEqual((yield* session.loadItems("many")).items, many)
        const { version } = yield* session.saveItems("many", many.slice(0, 9_000))
        assert.deepStrictEqual((yield* session.loadItems("many", { known: 1 })).items, many.slice(0, 9_000))
        const records = yield* Stream.runCollect(session.records("many"))
        assert.strictEqual(records.length, 19_000)
        assert.deepStrictEqual([records[9_999]!.commit, records[9_999]!.meta], [1, { runId: "1" }])
        assert.deepStrictEqual([records[10_000]!.commit, records[10_000]!.meta], [2, undefined])
        yield* session.saveItems("many", [user("last")])
        yield* session.rewrite("many", { through: version, items: many })
        assert.deepStrictEqual((yield* session.loadItems("many")).items, [...many, user("last")])

        const { reason } = yield* Effect.flip(session.saveItems("many", [user("é".repeat(8 * 1024 * 1024))]))
        assert.strictEqual(reason._tag, "LimitExceeded")
      }).pipe(Effect.scoped),
    240_000
  )

  it.live("rewrites and pops around commits that came later, again and again", () =>
    Effect.gen(function*() {
      const session = yield* open()
      yield* session.saveItems("a", [user("a"), user("b")])
      for (const round of ranged(20)) {
        yield* session.saveItems("a", [user(`${round} x`), user(`${round} y`)])
        const { version } = yield* session.saveItems("a", [user(`later ${round}`), user("popped")])
        const summary = ranged((round * 7) % 5).map((index) => user(`${round}.${index}`))
        yield* session.rewrite("a", { through: version - 1, items: summary })
        assert.deepStrictEqual(yield* session.popItem("a"), user("popped"))
        const { items } = yield* session.loadItems("a")
        assert.deepStrictEqual(items, [...summary, user(`later ${round}`)])
        const records = yield* Stream.runCollect(session.records("a"))
        assert.deepStrictEqual(records.map(({ item }) => item), items)
        if (round % 7 === 6) {
          for (const item of items.toReversed()) assert.deepStrictEqual(yield* session.popItem("a"), item)
          assert.isUndefined(yield* session.popItem("a"))
        }
      }
    }).pipe(Effect.scoped))

  it.live("forgets operations beyond the latest 1,000, and those of 7 days ago", () =>
    Effect.gen(function*() {
      const session = yield* open({ prefix: "forget" })
      const kept = Effect.map(
        Effect.all([command("HLEN", "{forget}:operations:a"), command("ZCARD", "{forget}:order:a")]),
        ([operations, order]) => {
          assert.strictEqual(operations, order)
          return Number(operations)
        }
      )
      for (const index of ranged(1_100)) yield* session.saveItems("a", [user("x")], { operationId: `op/${index}` })
      assert.isAtLeast(yield* kept, 1_000)
      assert.isAtMost(yield* kept, 1_064)
      yield* session.maintain("a")
      assert.strictEqual(yield* kept, 1_000)
      assert.strictEqual((yield* session.saveItems("a", [user("x")], { operationId: "op/1099" })).version, 1_100)
      for (const index of ranged(500)) {
        yield* command("HSET", "{forget}:operations:a", `op/${100 + index}`, `${101 + index} 0 f`)
      }
      yield* session.maintain("a")
      assert.strictEqual(yield* kept, 500)
    }).pipe(Effect.scoped), 240_000)

  it.live("a conversation that lost keys is CorruptStore, not a short one", () =>
    Effect.gen(function*() {
      const session = yield* open({ prefix: "evicted" })
      for (const lost of ["items", "conversation"]) {
        yield* session.saveItems(lost, [user("hi")])
        yield* command("DEL", `{evicted}:${lost}:${lost}`)
        for (const call of [session.loadItems(lost), session.saveItems(lost, [user("x")]), session.clear(lost)]) {
          const { reason } = yield* Effect.flip(call as Effect.Effect<unknown, SessionError>)
          assert.strictEqual(reason._tag, "CorruptStore")
          assert.include(reason.message, "noeviction")
        }
      }
      yield* session.saveItems("typed", [user("hi")])
      yield* command("DEL", "{evicted}:order:typed")
      yield* command("SET", "{evicted}:order:typed", "x")
      assert.strictEqual((yield* Effect.flip(session.saveItems("typed", [user("x")]))).reason._tag, "CorruptStore")
      // Nothing of the commit that failed is there.
      assert.deepStrictEqual((yield* session.loadItems("typed")).items.map(text), ["hi"])
    }).pipe(Effect.scoped))

  it.live("a server without memory takes nothing of a commit, and the next one when there is room", () =>
    Effect.gen(function*() {
      const session = yield* open()
      yield* session.saveItems("a", [user("1")])
      yield* Effect.acquireUseRelease(
        command("CONFIG", "SET", "maxmemory", "1"),
        () =>
          Effect.gen(function*() {
            const { reason } = yield* Effect.flip(session.saveItems("a", [user("2")], { operationId: "2" }))
            if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
            assert.isFalse(reason.isOutcomeUnknown)
            assert.include(reason.message, "no memory")
            assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["1"])
          }),
        () => command("CONFIG", "SET", "maxmemory", "0")
      )
      assert.deepStrictEqual(yield* session.saveItems("a", [user("2")], { operationId: "2" }), { version: 2 })
    }).pipe(Effect.scoped))

  it.live("goes on after the server forgot its scripts", () =>
    Effect.gen(function*() {
      const session = yield* open()
      yield* session.saveItems("a", [user("1")])
      yield* command("SCRIPT", "FLUSH")
      yield* session.saveItems("a", [user("2")])
      assert.strictEqual((yield* session.loadItems("a")).version, 2)
    }).pipe(Effect.scoped))

  it.live("what is interrupted while the server does not answer stops at once", () =>
    Effect.gen(function*() {
      const session = yield* open({ timeout: "1 hour", commitTimeout: "2 hours" })
      yield* session.saveItems("a", [user("1")])
      yield* Effect.scoped(Effect.gen(function*() {
        yield* outage
        const reading = yield* Effect.forkChild(session.loadItems("a"), { startImmediately: true })
        yield* allowTimeFor("the command to be sent", 50)
        yield* Fiber.interrupt(reading)
      }))
      assert.strictEqual((yield* session.loadItems("a")).version, 1)
    }).pipe(Effect.scoped))

  it.live("tells no secret and no content in logs, spans and errors", () =>
    Effect.gen(function*() {
      yield* command("ACL", "SETUSER", "secret", "on", ">opensesame", "~*", "&*", "+@all")
      const logged: Array<unknown> = []
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const error = yield* Effect.scoped(Effect.gen(function*() {
        const session = yield* open({ url: Redacted.make(`redis://secret:opensesame@127.0.0.1:${server.port}`) })
        yield* session.saveItems("a", [user("opensesame")])
        yield* command("CLIENT", "KILL", "USER", "secret")
        yield* session.loadItems("a")
        yield* command("ACL", "SETUSER", "secret", "-@scripting")
        return yield* Effect.flip(session.saveItems("a", [user("opensesame")]))
      })).pipe(
        Effect.provide(Logger.layer([Logger.make((options) => {
          logged.push(options)
        })])),
        Effect.withTracer(tracer)
      )
      assert.strictEqual(error.reason._tag, "Unsupported")
      assert.isAbove(spans.length, 2)
      keepsSecret(error)
      keepsSecret(logged)
      // What a call that succeeded gave is in its span only in this process.
      keepsSecret(spans.map(({ attributes, name, status }) => [
        name,
        attributes,
        status._tag === "Ended" && Exit.isFailure(status.exit) ? status.exit.cause : undefined
      ]))
    }))

  it.live(
    "several processes lose nothing",
    () =>
      Effect.gen(function*() {
        const session = yield* open({ prefix: "agent-layers" })
        yield* writersInProcesses({ backend: "redis", url: server.url, commits: rounds("redis-processes") }, session)
      }).pipe(Effect.scoped),
    timeLimit
  )
})

describe.skipIf(!redis.available)(redis.title("SessionRedis over a server that fails"), () => {
  const own = (flags: ReadonlyArray<string> = ["--appendfsync", "always"]) =>
    Effect.map(startRedis(flags), (server) => ({
      server,
      make: (options: Partial<SessionRedis.Options> = {}) =>
        SessionRedis.make({ url: Redacted.make(server.url), ...options })
    }))

  /** Takes connections and passes on what comes, but no answer while it is told so. */
  const proxy = (to: number) =>
    Effect.acquireRelease(
      Effect.promise(() =>
        new Promise<{ port: number; sockets: Set<net.Socket>; isMute: boolean; lost: number; server: net.Server }>(
          (resolve) => {
            const sockets = new Set<net.Socket>()
            const state = { port: 0, sockets, isMute: false, lost: 0, server: undefined! as net.Server }
            state.server = net.createServer((socket) => {
              const inner = net.connect(to, "127.0.0.1")
              for (const one of [socket, inner]) {
                sockets.add(one)
                one.on("error", () => undefined)
                one.on("close", () => {
                  sockets.delete(one)
                  socket.destroy()
                  inner.destroy()
                })
              }
              socket.on("data", (data) => inner.write(data))
              inner.on("data", (data) => {
                // The command was carried out, and its answer is lost.
                if (state.isMute) {
                  state.lost++
                  socket.destroy()
                } else socket.write(data)
              })
            })
            state.server.listen(0, "127.0.0.1", () => {
              state.port = (state.server.address() as net.AddressInfo).port
              resolve(state)
            })
          }
        )
      ),
      ({ server, sockets }) =>
        Effect.sync(() => {
          for (const socket of sockets) socket.destroy()
          server.close()
        })
    )

  it.live("a commit whose answer is lost is Unavailable with an unknown outcome, and a retry stores once", () =>
    Effect.gen(function*() {
      const { server } = yield* own()
      const between = yield* proxy(server.port)
      const session = yield* SessionRedis.make({ url: Redacted.make(`redis://127.0.0.1:${between.port}`) })
      yield* session.saveItems("a", [user("1")])
      between.isMute = true
      const { reason } = yield* Effect.flip(session.saveItems("a", [user("2")]))
      if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
      assert.isTrue(reason.isOutcomeUnknown)
      between.isMute = false
      // It had happened.
      assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["1", "2"])

      // Under an operation id it is sent again by itself.
      const { lost } = between
      between.isMute = true
      const saving = yield* Effect.forkChild(session.saveItems("a", [user("3")], { operationId: "op" }), {
        startImmediately: true
      })
      yield* until(() => between.lost, (count) => count > lost)
      between.isMute = false
      assert.deepStrictEqual(yield* Fiber.join(saving), { version: 3 })
      assert.deepStrictEqual(yield* session.saveItems("a", [user("3")], { operationId: "op" }), { version: 3 })
      assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["1", "2", "3"])
    }).pipe(Effect.scoped, quiet))

  it.live(
    "a server that is stopped is Unavailable in time, and is used again when it is back",
    () =>
      Effect.gen(function*() {
        const { make, server } = yield* own()
        const session = yield* make({ timeout: "2 seconds" })
        yield* session.saveItems("a", [user("1")])
        yield* server.stop
        for (const call of [session.loadItems("a"), session.saveItems("a", [user("2")], { operationId: "2" })]) {
          const { reason } = yield* Effect.flip(call)
          if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
          assert.isFalse(reason.isOutcomeUnknown)
          assert.include(reason.message, `127.0.0.1:${server.port}`)
        }
        yield* server.start
        const save = session.saveItems("a", [user("2")], { operationId: "2" }).pipe(
          Effect.retry({ while: (error) => error.isRetryable, schedule: Schedule.spaced("20 millis") })
        )
        assert.deepStrictEqual(yield* save, { version: 2 })
        assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["1", "2"])
      }).pipe(Effect.scoped, quiet),
    240_000
  )

  it.live("the scope closes while the server does not answer", () =>
    Effect.gen(function*() {
      const { make, server } = yield* own()
      const scope = yield* Scope.make()
      const session = yield* Scope.provide(make({ timeout: "2 seconds" }), scope)
      yield* Effect.acquireRelease(
        Effect.sync(() => server.process().kill("SIGSTOP")),
        () => Effect.sync(() => server.process().kill("SIGCONT"))
      )
      const { reason } = yield* Effect.flip(session.saveItems("a", [user("1")]))
      if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
      assert.isTrue(reason.isOutcomeUnknown)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Effect.flip(session.loadItems("a"))).reason._tag, "Closed")
    }).pipe(Effect.scoped, quiet))

  it.live(
    "a server that is killed again and again: each commit is stored once and whole",
    (test) =>
      Effect.gen(function*() {
        const { make, server } = yield* own()
        const session = yield* make({ timeout: "2 seconds" })
        const save = (name: string) =>
          session.saveItems("a", ranged(4).map((index) => user(`${name}.${index}`)), { operationId: name }).pipe(
            Effect.retry({
              while: (error) => error.isRetryable,
              schedule: Schedule.spaced("20 millis").pipe(Schedule.upTo({ duration: "60 seconds" }))
            })
          )
        const state = { isOver: false }
        const saving = yield* Effect.forkChild(
          Effect.forEach(["x", "y"], (writer) =>
            Effect.gen(function*() {
              const versions: Array<number> = []
              // However little a slow machine stored between the kills, there is enough to look at.
              while (!state.isOver || versions.length <= 10) {
                versions.push((yield* save(`${writer}/${versions.length}`)).version)
              }
              return versions
            }), { concurrency: 2 })
        )
        for (const round of ranged(rounds("redis-kills"))) {
          yield* allowTimeFor("some commits", yield* Random.nextIntBetween(20, 150))
          if (round % 2 === 0) {
            yield* server.kill
            yield* server.start
          } else {
            yield* Effect.scoped(Effect.flatMap(clientOf(server.url), (client) =>
              Effect.promise(() =>
                client.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
              )))
          }
        }
        state.isOver = true
        const answers = yield* Fiber.join(saving)
        const { items, version } = yield* session.loadItems("a")
        const stored = commitsOf(items, 4)
        assert.strictEqual(version, answers.flat().length)
        assert.isAbove(version, 20)
        noteFigures(test, { commits: version })
        for (const [index, writer] of ["x", "y"].entries()) {
          answers[index]!.forEach((version, turn) =>
            assert.strictEqual(stored[version - 1], `${writer}/${turn}`)
          )
        }
      }).pipe(Effect.scoped, quiet),
    timeLimit
  )

  it.live("a node of a cluster takes all keys of a prefix in one script", () =>
    Effect.gen(function*() {
      const { make, server } = yield* own(["--cluster-enabled", "yes"])
      yield* Effect.scoped(Effect.flatMap(clientOf(server.url), (client) =>
        Effect.promise(async () => {
          await client.sendCommand(["CLUSTER", "ADDSLOTS", ...ranged(16_384).map(String)])
          await untilSo(
            () => client.sendCommand(["CLUSTER", "INFO"]),
            (info) => String(info).includes("cluster_state:ok")
          )
        })))
      for (const prefix of ["agent-layers", "}{", "a}:{b"]) {
        const session = yield* make({ prefix })
        yield* session.saveItems("a{b}", [user("1"), user("2")], { operationId: "1" })
        yield* session.saveItems("c", [user("3")])
        yield* session.rewrite("a{b}", { through: 1, items: [user("4"), user("5")] })
        yield* session.popItem("a{b}")
        yield* session.maintain("a{b}")
        assert.deepStrictEqual((yield* session.loadItems("a{b}")).items.map(text), ["4"])
        assert.strictEqual((yield* Stream.runCollect(session.records("a{b}"))).length, 1)
        assert.strictEqual((yield* Stream.runCollect(session.conversations())).length, 2)
        yield* session.clear("c")
      }
    }).pipe(Effect.scoped, quiet))

  it.live("the application's Redis stays open when the session closes", () =>
    Effect.gen(function*() {
      const { server } = yield* own()
      const context = yield* Layer.build(NodeRedis.layer({ url: server.url }))
      const service = Context.get(context, Redis.Redis)
      const save = Effect.flatMap(Session, (session) => session.saveItems("a", [user("hi")]))
      yield* Effect.provide(save, SessionRedis.layerRedis()).pipe(Effect.provideService(Redis.Redis, service))
      assert.strictEqual(yield* service.send<number>("LLEN", "{agent-layers}:items:a"), 1)
    }).pipe(Effect.scoped, quiet))
})
