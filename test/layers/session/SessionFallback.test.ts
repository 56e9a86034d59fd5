import { assert, describe, it } from "@effect/vitest"
import * as SessionFallback from "agent-layers/layers/session/SessionFallback"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import { text, user } from "agent-layers/services/Item"
import { all } from "agent-layers/services/laws/SessionLaws"
import * as SessionService from "agent-layers/services/Session"
import { type SaveOptions, Session } from "agent-layers/services/Session"
import { SessionError, type SessionErrorReason, Unavailable } from "agent-layers/services/SessionError"
import { Context, Effect, Fiber, Layer, Logger, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import { describeLaws } from "../../support/laws.ts"
import { forEachSeed, timeLimit } from "../../support/rounds.ts"
import { outageLaw, subjectsOf } from "../../support/session/lawsOver.ts"

const subjects = subjectsOf("fallback")
describeLaws("SessionFallback over memory", all, subjects.memory, { notShown: [outageLaw] })
describeLaws("SessionFallback over SQLite", all, subjects.sqlite)

type Service = Session["Service"]

const away = (backend: string, operation: string, id: string, isOutcomeUnknown = false) =>
  new SessionError({
    backend,
    operation,
    conversationId: id,
    reason: new Unavailable({ description: `${backend} is away`, isOutcomeUnknown })
  })

type State = "up" | "down" | "slow" | "dies after the commit" | "loses its next writes"

/** A store that can be taken away. */
const fragile = (name: string) =>
  Effect.gen(function*() {
    const raw = yield* SessionMemory.make()
    const control: { state: State; calls: number } = { state: "up", calls: 0 }
    const on = <A>(operation: string, id: string, use: () => Effect.Effect<A, SessionError>) =>
      Effect.suspend(() => {
        control.calls++
        const isWrite = !["loadItems", "records"].includes(operation)
        switch (control.state) {
          case "up":
            return use()
          case "slow":
            return Effect.never
          case "down":
            return Effect.fail(away(name, operation, id))
          case "dies after the commit":
            return isWrite
              ? Effect.andThen(use(), Effect.fail(away(name, operation, id, true)))
              : Effect.fail(away(name, operation, id))
          case "loses its next writes":
            return isWrite ? Effect.fail(away(name, operation, id)) : use()
        }
      })
    const session: Service = {
      ...raw,
      loadItems: (id, options) => on("loadItems", id, () => raw.loadItems(id, options)),
      saveItems: (id, items, options) => on("saveItems", id, () => raw.saveItems(id, items, options)),
      rewrite: (id, options) => on("rewrite", id, () => raw.rewrite(id, options)),
      popItem: (id, options) => on("popItem", id, () => raw.popItem(id, options)),
      clear: (id) => on("clear", id, () => raw.clear(id)),
      records: (id, options) =>
        Stream.unwrap(Effect.as(on("records", id, () => Effect.void), raw.records(id, options))),
      conversations: (options) =>
        Stream.unwrap(Effect.as(on("records", "", () => Effect.void), raw.conversations(options)))
    }
    return { raw, session, control }
  })

const open = Effect.fnUntraced(function*(options: Partial<SessionFallback.Options<never, never>> = {}) {
  const primary = yield* fragile("primary")
  const first = yield* fragile("first")
  const second = yield* fragile("second")
  const session = yield* Effect.provideService(
    SessionFallback.make({
      backups: [
        { name: "first", layer: Layer.succeed(Session, first.session) },
        { name: "second", layer: Layer.succeed(Session, second.session) }
      ],
      cooldown: 0,
      ...options
    }),
    Session,
    primary.session
  )
  return { primary, first, second, session }
})

const save = (session: Service, name: string, options?: SaveOptions) =>
  session.saveItems("a", [user(`${name}.1`), user(`${name}.2`)], options)

const shown = (session: Service, id = "a") =>
  Effect.map(session.loadItems(id), ({ items, version }) => ({ version, texts: items.map(text).join(" ") }))

const logging = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const logs: Array<string> = []
  return Effect.map(
    Effect.provide(effect, Logger.layer([Logger.make(({ message }) => logs.push(String(message)))])),
    (a) => [a, logs] as const
  )
}

describe("SessionFallback writes", () => {
  it.effect("each commit to the backups too, under the same operation id and version", () =>
    Effect.gen(function*() {
      const { first, primary, second, session } = yield* open()
      const options = { operationId: "op", meta: { agent: "x" } }
      const saved = yield* save(session, "1", options)
      for (const { raw } of [primary, first, second]) {
        assert.deepStrictEqual(yield* shown(raw), { version: 1, texts: "1.1 1.2" })
        assert.deepStrictEqual(yield* save(raw, "1", options), saved)
        const [record] = yield* Stream.runCollect(raw.records("a"))
        assert.deepStrictEqual(record?.meta, { agent: "x" })
      }
      assert.deepStrictEqual(yield* save(session, "1", options), saved)
      assert.deepStrictEqual(yield* shown(first.raw), { version: 1, texts: "1.1 1.2" })
    }))

  it.effect("rewrites, pops and clears there too, leaving the same version", () =>
    Effect.gen(function*() {
      const { first, primary, session } = yield* open()
      for (const name of ["1", "2", "3"]) yield* save(session, name)
      yield* session.rewrite("a", { through: 2, items: [user("s")] })
      assert.deepStrictEqual(yield* shown(first.raw), { version: 4, texts: "s 3.1 3.2" })
      yield* session.popItem("a")
      assert.deepStrictEqual(yield* shown(first.raw), { version: 5, texts: "s 3.1" })
      yield* session.clear("a")
      assert.deepStrictEqual(yield* shown(first.raw), { version: 6, texts: "" })
      yield* save(session, "4")
      assert.deepStrictEqual(yield* shown(first.raw), yield* shown(primary.raw))
    }))

  it.effect("need the primary: while it is down they fail, and no backup has what it has not", () =>
    Effect.gen(function*() {
      const { first, primary, session } = yield* open()
      yield* save(session, "1")
      primary.control.state = "down"
      const writes = [
        save(session, "2"),
        session.popItem("a"),
        session.clear("a"),
        session.rewrite("a", { through: 1, items: [] })
      ]
      for (const write of writes) {
        const error = yield* Effect.flip(write as Effect.Effect<unknown, SessionError>)
        assert.deepInclude({ ...error }, { backend: "primary", conversationId: "a" })
        assert.strictEqual(error.reason._tag, "Unavailable")
      }
      assert.deepStrictEqual(yield* shown(first.raw), { version: 1, texts: "1.1 1.2" })
    }))

  it.effect("that the primary has, though it died before it said so, are repeated once", () =>
    Effect.gen(function*() {
      const { first, primary, session } = yield* open()
      yield* save(session, "1")
      primary.control.state = "dies after the commit"
      const { reason } = yield* Effect.flip(save(session, "2", { operationId: "op", expectedVersion: 1 }))
      assert.isTrue(reason._tag === "Unavailable" && reason.isOutcomeUnknown)
      assert.deepStrictEqual(yield* shown(session), { version: 1, texts: "1.1 1.2" })
      primary.control.state = "up"
      assert.deepStrictEqual(yield* save(session, "2", { operationId: "op", expectedVersion: 1 }), { version: 2 })
      assert.deepStrictEqual(yield* shown(primary.raw), { version: 2, texts: "1.1 1.2 2.1 2.2" })
      assert.deepStrictEqual(yield* shown(first.raw), yield* shown(primary.raw))
    }))

  it.effect("wait for a backup no longer than told, and then not at all for a while", () =>
    Effect.gen(function*() {
      const { first, second, session } = yield* open({ replicationTimeout: "2 seconds", cooldown: "1 minute" })
      first.control.state = "slow"
      const saving = yield* Effect.forkChild(save(session, "1"), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* Fiber.join(saving), { version: 1 })
      assert.deepStrictEqual(yield* shown(second.raw), { version: 1, texts: "1.1 1.2" })
      const { calls } = first.control
      yield* save(session, "2")
      assert.strictEqual(first.control.calls, calls)
      first.control.state = "up"
      yield* TestClock.adjust("1 minute")
      yield* save(session, "3")
      assert.deepStrictEqual(yield* shown(first.raw), yield* shown(second.raw))
    }))
})

describe("SessionFallback reads", () => {
  it.effect("from the primary where it can", () =>
    Effect.gen(function*() {
      const { first, session } = yield* open()
      yield* save(session, "1")
      const { calls } = first.control
      yield* shown(session)
      assert.strictEqual(first.control.calls, calls)
    }))

  it.effect("from the first backup that can, and says who it was", () =>
    Effect.gen(function*() {
      const { first, primary, session } = yield* open()
      yield* save(session, "1")
      primary.control.state = "down"
      const spanned = Effect.gen(function*() {
        const loaded = yield* shown(session)
        return { loaded, attributes: (yield* Effect.currentSpan).attributes }
      }).pipe(Effect.withSpan("load"))
      const [{ attributes, loaded }, logs] = yield* logging(spanned)
      assert.deepStrictEqual(loaded, { version: 1, texts: "1.1 1.2" })
      assert.strictEqual(attributes.get("agent_layers.session.served_by"), "first")
      assert.match(logs[0]!, /answered by the backup "first": primary loadItems of "a": primary is away/)
      first.control.state = "down"
      const [second, more] = yield* logging(Effect.all([
        shown(session),
        Stream.runCollect(session.records("a")),
        Stream.runCollect(session.conversations()),
        session.loadItems("a", { maxItems: 1 })
      ]))
      assert.deepStrictEqual(second[0], loaded)
      assert.deepStrictEqual(second[1].map(({ item }) => text(item)), ["1.1", "1.2"])
      assert.deepStrictEqual(second[2].map(({ id }) => id), ["a"])
      assert.deepStrictEqual(second[3].items.map(text), ["1.2"])
      assert.strictEqual(more.filter((line) => line.includes(`the backup "second"`)).length, 4)
    }))

  it.effect("from a backup when the primary is too slow", () =>
    Effect.gen(function*() {
      const { primary, session } = yield* open({ readTimeout: "3 seconds" })
      yield* save(session, "1")
      primary.control.state = "slow"
      const reading = yield* Effect.forkChild(shown(session), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      assert.isUndefined(reading.pollUnsafe())
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(yield* Fiber.join(reading), { version: 1, texts: "1.1 1.2" })
    }))

  it.effect("from nobody where all are down: the primary's error, with the backups' inside", () =>
    Effect.gen(function*() {
      const { first, primary, second, session } = yield* open()
      for (const one of [primary, first, second]) one.control.state = "down"
      const reads: ReadonlyArray<Effect.Effect<unknown, SessionError>> = [
        session.loadItems("a"),
        Stream.runCollect(session.records("a"))
      ]
      for (const read of reads) {
        const { backend, reason } = yield* Effect.flip(read)
        assert.strictEqual(backend, "primary")
        assert.strictEqual(reason._tag, "Unavailable")
        assert.include(
          reason.message,
          `primary is away; backup "first": first is away; backup "second": second is away`
        )
        const { cause } = reason as Extract<SessionErrorReason, { _tag: "Unavailable" }>
        assert.deepStrictEqual((cause as ReadonlyArray<SessionError>).map(({ backend }) => backend), [
          "primary",
          "first",
          "second"
        ])
      }
    }))

  it.effect("does not ask a backup about what the primary refuses", () =>
    Effect.gen(function*() {
      const { first, session } = yield* open()
      const error = yield* Effect.flip(session.loadItems("a", { maxItems: NaN }))
      assert.strictEqual(error.reason._tag, "InvalidInput")
      assert.strictEqual(first.control.calls, 0)
    }))

  it.effect("on after a cursor from the primary alone", () =>
    Effect.gen(function*() {
      const { primary, session } = yield* open()
      yield* save(session, "1")
      const [record] = yield* Stream.runCollect(session.records("a"))
      primary.control.state = "down"
      const error = yield* Effect.flip(Stream.runCollect(session.records("a", { after: record!.cursor })))
      assert.strictEqual(error.backend, "primary")
    }))

  it.effect("an older state from a backup that was down, onto which nothing can be committed", () =>
    Effect.gen(function*() {
      const { first, primary, second, session } = yield* open()
      yield* save(session, "1")
      first.control.state = "down"
      yield* save(session, "2")
      first.control.state = "up"
      second.control.state = "down"
      primary.control.state = "down"
      const old = yield* session.loadItems("a")
      assert.strictEqual(old.version, 1)
      primary.control.state = "up"
      const error = yield* Effect.flip(save(session, "3", { expectedVersion: old.version }))
      assert.strictEqual(error.reason._tag, "VersionConflict")
    }))
})

describe("SessionFallback catches up", () => {
  it.effect("with what a backup missed, commit by commit, at the next write", () =>
    Effect.gen(function*() {
      const { first, primary, session } = yield* open()
      yield* save(session, "1")
      first.control.state = "down"
      for (const name of ["2", "3"]) yield* save(session, name, { meta: { agent: name } })
      first.control.state = "up"
      assert.deepStrictEqual(yield* shown(first.raw), { version: 1, texts: "1.1 1.2" })
      yield* save(session, "4")
      assert.deepStrictEqual(yield* shown(first.raw), yield* shown(primary.raw))
      const records = yield* Stream.runCollect(first.raw.records("a"))
      assert.deepStrictEqual(records.map(({ commit }) => commit), [1, 1, 2, 2, 3, 3, 4, 4])
      assert.strictEqual(records[2]!.meta?.agent, "2")
    }))

  it.effect("with what a backup missed when the conversation is maintained", () =>
    Effect.gen(function*() {
      const { first, primary, session } = yield* open()
      first.control.state = "down"
      for (const name of ["1", "2", "3"]) yield* save(session, name)
      yield* session.rewrite("a", { through: 2, items: [user("s")] })
      yield* save(session, "4")
      yield* session.popItem("a")
      first.control.state = "up"
      yield* session.maintain("a")
      assert.deepStrictEqual(yield* shown(first.raw), { version: 6, texts: "s 3.1 3.2 4.1" })
      assert.deepStrictEqual(yield* shown(first.raw), yield* shown(primary.raw))
    }))

  it.effect("and does not let half a copy be read", () =>
    Effect.gen(function*() {
      const { first, primary, second, session } = yield* open()
      yield* save(session, "1")
      first.control.state = "down"
      for (const name of ["2", "3", "4"]) yield* save(session, name)
      yield* session.rewrite("a", { through: 4, items: [user("s")] })
      first.control.state = "up"
      // The copy stops after its first step.
      let steps = 0
      const rewrite = first.session.rewrite
      Object.assign(first.session, {
        rewrite: (id: string, options: Parameters<Service["rewrite"]>[1]) =>
          steps++ === 1 ? Effect.fail(away("first", "rewrite", id)) : rewrite(id, options)
      })
      yield* session.maintain("a")
      assert.strictEqual((yield* shown(first.raw)).version, 2)
      primary.control.state = "down"
      assert.deepStrictEqual(yield* shown(session), { version: 5, texts: "s" })
      second.control.state = "down"
      assert.include((yield* Effect.flip(shown(session))).message, "the copy of the conversation is not complete")
      assert.include(
        (yield* Effect.flip(Stream.runCollect(session.records("a")))).message,
        "the copy of the conversation is not complete"
      )
      primary.control.state = "up"
      second.control.state = "up"
      yield* save(session, "5")
      assert.deepStrictEqual(yield* shown(first.raw), { version: 6, texts: "s 5.1 5.2" })
    }))

  it.effect("not with a backup that somebody else wrote to, until the primary has passed it", () =>
    Effect.gen(function*() {
      const { first, primary, session } = yield* open()
      yield* save(session, "1")
      yield* save(first.raw, "theirs")
      yield* save(first.raw, "theirs too")
      const [, logs] = yield* logging(save(session, "2"))
      const [, more] = yield* logging(session.maintain("a"))
      assert.match([...logs, ...more].join("\n"), /not read there until the primary has passed it/)
      for (const name of ["3", "4", "5", "6"]) yield* save(session, name)
      assert.deepStrictEqual(yield* shown(first.raw), yield* shown(primary.raw))
    }))

  it.effect(
    "whatever happens, in whatever order: at the same version the same items, and never ahead",
    (test) =>
      forEachSeed(test, "fallback", () =>
        Effect.gen(function*() {
          const { first, primary, second, session } = yield* open()
          const other = yield* Effect.provideService(
            SessionFallback.make({
              backups: [{ name: "first", layer: Layer.succeed(Session, first.session) }],
              cooldown: 0
            }),
            Session,
            primary.session
          )
          const seen = new Map<number, string>()
          const states: ReadonlyArray<State> = ["up", "up", "down", "loses its next writes"]
          for (let step = 0; step < 40; step++) {
            const { version } = yield* primary.raw.loadItems("a")
            const through = yield* Random.nextIntBetween(0, version)
            const one = step % 3 === 0 ? other : session
            const changes: ReadonlyArray<Effect.Effect<unknown, SessionError>> = [
              save(one, `${step}`),
              save(one, `${step}`, { operationId: `${step}` }),
              Effect.all([save(session, `${step}a`), save(other, `${step}b`)], { concurrency: 2 }),
              one.popItem("a"),
              one.rewrite("a", { through, items: [user(`s${step}`)] }),
              one.maintain("a"),
              step % 7 === 0 ? one.clear("a") : Effect.void,
              Effect.sync(() => {
                first.control.state = states[step % 4]!
              })
            ]
            yield* Effect.ignore(changes[yield* Random.nextIntBetween(0, changes.length - 1)]!)
            const now = yield* shown(primary.raw)
            seen.set(now.version, now.texts)
            for (const { raw } of [first, second]) {
              const copy = yield* shown(raw)
              assert.isAtMost(copy.version, now.version)
              if (copy.version === now.version) assert.strictEqual(copy.texts, now.texts)
            }
          }
          first.control.state = "up"
          yield* save(session, "last")
          yield* session.maintain("a")
          for (const { raw } of [first, second]) assert.deepStrictEqual(yield* shown(raw), yield* shown(primary.raw))
        }).pipe(Effect.provide(Logger.layer([])))),
    timeLimit
  )
})

describe("SessionFallback is built", () => {
  it.effect("with the pools of the program: what a backup shares with another layer is built once", () =>
    Effect.gen(function*() {
      class Pool extends Context.Service<Pool, number>()("test/Pool") {}
      let pools = 0
      const PoolLayer = Layer.effect(Pool, Effect.sync(() => ++pools))
      const Shared = Layer.effect(Session, Effect.andThen(Pool, SessionMemory.make())).pipe(Layer.provide(PoolLayer))
      const Stack = SessionService.wrap(Shared, [
        SessionFallback.layer({ backups: [{ name: "other", layer: Layer.fresh(SessionMemory.layer) }] }),
        SessionFallback.layer({
          backups: [{
            name: "pooled",
            layer: Layer.effect(Session, Effect.andThen(Pool, SessionMemory.make())).pipe(Layer.provide(PoolLayer))
          }]
        })
      ])
      const program = Effect.andThen(Pool, Effect.flatMap(Session, (session) => save(session, "1")))
      yield* Effect.provide(program, Layer.merge(Stack, PoolLayer))
      assert.strictEqual(pools, 1)
    }))

  it.effect("not over what cannot be kept the same, nor with two backups of one name", () =>
    Effect.gen(function*() {
      const raw = yield* SessionMemory.make()
      const plain = { ...raw, capabilities: { ...raw.capabilities, versions: false } }
      const backup = { name: "b", layer: SessionMemory.layer }
      const build = (primary: Service, backups: ReadonlyArray<SessionFallback.Backup<never, never>>) =>
        Effect.flip(Effect.provideService(SessionFallback.make({ backups }), Session, primary))
      assert.strictEqual((yield* build(plain, [backup])).reason._tag, "Unsupported")
      const plainBackup = { name: "b", layer: Layer.succeed(Session, plain) }
      assert.strictEqual((yield* build(raw, [plainBackup])).reason._tag, "Unsupported")
      assert.strictEqual((yield* build(raw, [backup, backup])).reason._tag, "InvalidInput")
      const sealed = { ...raw, capabilities: { ...raw.capabilities, sealed: true } }
      assert.include((yield* build(sealed, [backup])).message, "encrypt")
    }))
})
