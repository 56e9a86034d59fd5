import { assert, describe, it } from "@effect/vitest"
import type { Item } from "agent-layers/services/Item"
import { user } from "agent-layers/services/Item"
import { all, type SessionSubject } from "agent-layers/services/laws/SessionLaws"
import * as Session from "agent-layers/services/Session"
import * as SessionError from "agent-layers/services/SessionError"
import * as Tracer from "agent-layers/services/Tracer"
import { Effect, Exit, Fiber, Layer, Logger, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { describeLaws } from "../support/laws.ts"
import { rounds, timeLimit } from "../support/rounds.ts"

/** The least backend: two functions. */
const least = Effect.fnUntraced(function*(conversations: Map<string, ReadonlyArray<string>>) {
  let isClosed = false
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isClosed = true
    })
  )
  const open = <A>(f: () => A) => Effect.suspend(() => isClosed ? new SessionError.Closed({}) : Effect.sync(f))
  return Session.make({
    backend: "least",
    load: (id) => open(() => ({ entries: conversations.get(id) ?? [] })),
    save: (id, { entries }) => open(() => void conversations.set(id, [...conversations.get(id) ?? [], ...entries]))
  })
})

const leastContent = new Map<string, ReadonlyArray<string>>()

const leastSubject: SessionSubject = {
  open: least(leastContent),
  capabilities: { versions: false, operations: false, rewrite: false, list: false, anyItem: true },
  canReopen: true,
  lacks: ["popItem", "clear", "records"],
  faults: {
    corruptLast: (id) => Effect.sync(() => leastContent.set(id, [...leastContent.get(id)!.slice(0, -1), "{"]))
  }
}

const shownByLeast = new Set([
  "A conversation that nobody wrote to has no items and version 0",
  "Items come back in the order they were saved in, commit after commit",
  "A commit of a thousand items keeps their order",
  "Items are in the order of their commits when the clock stands still or goes back",
  "maxItems gives at most so many of the latest items, in order",
  "An empty save changes nothing",
  "One item that is none refuses the whole commit",
  "What means nothing is refused with InvalidInput, and nothing is stored",
  "What an item holds comes back byte for byte, null and unknown fields too",
  "Items of unknown types come back byte for byte",
  "An item of one megabyte comes back whole, and its neighbours too",
  "Items that were handed in or out can be changed without changing what is stored",
  "Conversations do not see each other",
  "A conversation id may hold any character, and each id is a conversation of its own",
  "A conversation id that is too long is refused with LimitExceeded",
  "An error names the backend, the operation and the conversation",
  "Writers at once lose nothing, and their commits do not mix",
  "A reader sees a commit whole or not at all",
  "A save that is interrupted is stored whole or not at all",
  "maintain leaves a conversation readable and its version not behind",
  "A session can do what its capabilities say, and refuses the rest with Unsupported",
  "A session that is opened again has what was saved",
  "Two sessions on one store see each other's commits at once",
  "A session whose scope is closed fails with Closed, whatever is asked of it",
  "Closing one session leaves another on the same store open"
])

describeLaws("Session.make over load and save alone", all, leastSubject, {
  notShown: all.map((law) => law.name).filter((name) => !shownByLeast.has(name))
})

const entry = (item: Item) => JSON.stringify(item)

const primitives: Session.Primitives = {
  backend: "double",
  versions: true,
  operations: true,
  load: () => Effect.succeed({ entries: [], version: 1 }),
  save: () => Effect.succeed({ version: 1 }),
  rewrite: () => Effect.succeed({ version: 1 }),
  pop: () => Effect.succeed(undefined),
  clear: () => Effect.void,
  page: () => Effect.succeed({ epoch: 0, rows: [] }),
  list: () => Effect.succeed([]),
  maintain: () => Effect.void
}

const failure = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.flip(effect), (error) => {
    if (!SessionError.isSessionError(error)) return assert.fail(`no SessionError: ${String(error)}`)
    return error
  })

/** Each member of a session whose primitives all do the same. */
const members = (primitive: () => Effect.Effect<never, unknown>, options?: Session.MakeOptions) => {
  const session = Session.make(
    {
      backend: "double",
      versions: true,
      operations: true,
      load: primitive,
      save: primitive,
      rewrite: primitive,
      pop: primitive,
      clear: primitive,
      page: primitive,
      list: primitive,
      maintain: primitive
    },
    options
  )
  return {
    reads: [
      ["loadItems", session.loadItems("a")],
      ["records", Stream.runDrain(session.records("a"))],
      ["conversations", Stream.runDrain(session.conversations())]
    ],
    writes: [
      ["saveItems", session.saveItems("a", [user("hi")])],
      ["rewrite", session.rewrite("a", { through: 0, items: [] })],
      ["popItem", session.popItem("a")],
      ["clear", session.clear("a")],
      ["maintain", session.maintain("a")]
    ]
  } as const
}

const reasons: ReadonlyArray<SessionError.SessionErrorReason> = [
  new SessionError.Unavailable({ description: "away", isOutcomeUnknown: true }),
  new SessionError.VersionConflict({ expected: 1, actual: 2 }),
  new SessionError.OperationMismatch({ operationId: "op" }),
  new SessionError.CorruptItem({ position: 3, description: "not JSON" }),
  new SessionError.DecryptionFailed({ keyId: "k1", description: "no such key" }),
  new SessionError.LimitExceeded({ limit: "Bytes in an item", maximum: 10, actual: 11 }),
  new SessionError.CursorExpired({ cursor: "1.2" }),
  new SessionError.InvalidInput({ description: "nonsense" }),
  new SessionError.CorruptStore({ description: "damaged" }),
  new SessionError.Unsupported({ description: "cannot" }),
  new SessionError.Closed({})
]

describe("SessionError", () => {
  it("the list of reasons is complete", () => {
    assert.deepStrictEqual(
      reasons.map((reason) => reason._tag),
      SessionError.SessionErrorReason.members.map((member) => member.fields._tag.schema.literal)
    )
  })

  it.each(reasons.map((reason) => [reason._tag, reason] as const))(
    "%s survives JSON and says what to do",
    (_, reason) => {
      const error = new SessionError.SessionError({
        backend: "double",
        operation: "saveItems",
        conversationId: "a",
        reason
      })
      const codec = Schema.toCodecJson(SessionError.SessionError)
      const again = Schema.decodeUnknownSync(codec)(JSON.parse(JSON.stringify(Schema.encodeUnknownSync(codec)(error))))
      assert.deepStrictEqual(again.reason._tag, reason._tag)
      assert.strictEqual(again.message, error.message)
      assert.isTrue(error.message.startsWith("double saveItems of \"a\": "))
      assert.isAbove(reason.message.length, 3)
      assert.isTrue(SessionError.isSessionErrorReason(reason))
      assert.isFalse(SessionError.isSessionErrorReason(error))
      assert.strictEqual(error.isRetryable, reason._tag === "Unavailable")
      assert.strictEqual(error.cause, reason)
    }
  )

  it.effect("single reasons are caught by name", () =>
    Effect.gen(function*() {
      const session = Session.make({
        ...primitives,
        save: () => Effect.fail(new SessionError.VersionConflict({ expected: 1, actual: 2 }))
      })
      const actual = yield* session.saveItems("a", [user("hi")]).pipe(
        Effect.catchReason("SessionError", "VersionConflict", (reason) => Effect.succeed(reason.actual))
      )
      assert.strictEqual(actual, 2)
    }))
})

describe("Session.make", () => {
  it.effect.each(reasons)(
    "a reason that a primitive fails with is the reason of every member",
    (reason) =>
      Effect.gen(function*() {
        const { reads, writes } = members(() => Effect.fail(reason))
        for (const [operation, effect] of [...reads, ...writes]) {
          const error = yield* failure(effect as Effect.Effect<unknown, unknown>)
          assert.strictEqual(error.reason, reason)
          assert.strictEqual(error.operation, operation)
          assert.strictEqual(error.backend, "double")
          assert.strictEqual(error.conversationId, operation === "conversations" ? undefined : "a")
        }
      })
  )

  const broken: ReadonlyArray<readonly [string, () => Effect.Effect<never, unknown>]> = [
    ["throws", () => {
      throw new Error("out of order")
    }],
    ["rejects", () => Effect.promise(() => Promise.reject(new Error("out of order")))],
    ["dies", () => Effect.die(new Error("out of order"))],
    ["fails with a foreign error", () => Effect.fail({ toString: () => "out of order" })],
    ["fails after a while", () => Effect.andThen(Effect.sleep(1), Effect.fail("out of order"))]
  ]

  it.live.each(broken)("a primitive that %s becomes Unavailable", ([, primitive]) =>
    Effect.gen(function*() {
      const { reads, writes } = members(primitive)
      for (const [kind, list] of [["reads", reads], ["writes", writes]] as const) {
        for (const [, effect] of list) {
          const { reason } = yield* failure(effect as Effect.Effect<unknown, unknown>)
          if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
          assert.include(reason.message, "out of order")
          assert.strictEqual(reason.isOutcomeUnknown, kind === "writes")
        }
      }
    }))

  it.effect("a SessionError of a session inside gives its reason", () =>
    Effect.gen(function*() {
      const reason = new SessionError.Unavailable({ description: "away", isOutcomeUnknown: false })
      const inner = new SessionError.SessionError({ backend: "inner", operation: "loadItems", reason })
      const error = yield* failure(
        Session.make({ ...primitives, load: () => Effect.fail(inner) }).loadItems("a")
      )
      assert.strictEqual(error.reason, reason)
    }))

  it.effect("a commit that has started finishes when it is interrupted", () =>
    Effect.gen(function*() {
      let isDone = false
      const slow = Effect.andThen(
        Effect.sleep("2 seconds"),
        Effect.sync(() => {
          isDone = true
          return { version: 1 }
        })
      )
      const session = Session.make({ ...primitives, save: () => slow })
      const writer = yield* Effect.forkChild(session.saveItems("a", [user("hi")]), { startImmediately: true })
      const interruption = yield* Effect.forkChild(Fiber.interrupt(writer), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.isUndefined(interruption.pollUnsafe())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(interruption)
      assert.isTrue(isDone)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(writer)))
    }))

  it.effect("reading stops when it is interrupted", () =>
    Effect.gen(function*() {
      let wasStopped = false
      const session = Session.make({
        ...primitives,
        load: () =>
          Effect.onInterrupt(Effect.never, () =>
            Effect.sync(() => {
              wasStopped = true
            }))
      })
      const reader = yield* Effect.forkChild(session.loadItems("a"), { startImmediately: true })
      yield* Fiber.interrupt(reader)
      assert.isTrue(wasStopped)
    }))

  it.effect.each(
    [
      ["can be interrupted", Effect.never],
      ["cannot be interrupted", Effect.uninterruptible(Effect.never)]
    ] as const
  )(
    "a write that never ends and %s fails after commitTimeout, its outcome unknown",
    ([, never]) =>
      Effect.gen(function*() {
        for (const [options, seconds] of [[{}, 30], [{ commitTimeout: "3 seconds" }, 3]] as const) {
          for (const [, effect] of members(() => never, options).writes) {
            const fiber = yield* Effect.forkChild(Effect.flip(effect as Effect.Effect<unknown, unknown>))
            yield* TestClock.adjust(`${seconds * 1000 - 1} millis`)
            assert.isUndefined(fiber.pollUnsafe())
            yield* TestClock.adjust("1 millis")
            const error = yield* Fiber.join(fiber)
            if (!SessionError.isSessionError(error) || error.reason._tag !== "Unavailable") {
              return assert.fail(String(error))
            }
            assert.isTrue(error.reason.isOutcomeUnknown)
            assert.include(error.message, "repeat it under the same operation id")
          }
        }
      })
  )

  describe("an entry that is not an item", () => {
    const entries = [
      entry(user("1")),
      "{\"type\":",
      entry(user("2")),
      "{\"role\":\"nobody\"}",
      "1",
      entry(user("3"))
    ]
    const over = (stored: ReadonlyArray<string>, options?: Session.MakeOptions) =>
      Session.make({
        ...primitives,
        load: () => Effect.succeed({ entries: stored, version: 4 }),
        pop: (_, check) =>
          Effect.suspend((): Effect.Effect<string | undefined, SessionError.SessionErrorReason> => {
            const reason = check(stored.at(-1)!)
            return reason === undefined ? Effect.succeed(stored.at(-1)) : Effect.fail(reason)
          }),
        page: () =>
          Effect.succeed({
            epoch: 2,
            rows: stored.map((entry, index) => ({ sequence: index + 1, entry, commit: 1, savedAt: 0, meta: undefined }))
          })
      }, options)

    it.effect("fails with CorruptItem and its position", () =>
      Effect.gen(function*() {
        for (const [damaged, position] of [[entries, 1], [entries.toSpliced(1, 1), 2]] as const) {
          const session = over(damaged)
          for (const effect of [session.loadItems("a"), Stream.runDrain(session.records("a"))]) {
            const { reason } = yield* failure(effect as Effect.Effect<unknown, unknown>)
            if (reason._tag !== "CorruptItem") return assert.fail(reason._tag)
            assert.strictEqual(reason.position, position)
            assert.include(reason.message, "onCorruptItem")
          }
        }
      }))

    it.effect("is left out and logged with onCorruptItem skip", () =>
      Effect.gen(function*() {
        const logged: Array<string> = []
        const logger = Logger.make(({ message }) => {
          logged.push(String(message))
        })
        const session = over(entries, { onCorruptItem: "skip" })
        const expected = [user("1"), user("2"), user("3")]
        yield* Effect.gen(function*() {
          assert.deepStrictEqual((yield* session.loadItems("a")).items, expected)
          const records = yield* Stream.runCollect(session.records("a"))
          assert.deepStrictEqual(records.map(({ item }) => item), expected)
          assert.deepStrictEqual(records.map(({ cursor }) => cursor), ["2.1", "2.3", "2.6"])
        }).pipe(Effect.provide(Logger.layer([logger])))
        assert.deepStrictEqual(logged, [
          "Left out a stored item that cannot be read: position 1, not JSON",
          "Left out a stored item that cannot be read: position 3, not an item",
          "Left out a stored item that cannot be read: position 4, not an item",
          "Left out a stored item that cannot be read: position 1, not JSON",
          "Left out a stored item that cannot be read: position 3, not an item",
          "Left out a stored item that cannot be read: position 4, not an item"
        ])
      }))

    it.effect("is never popped", () =>
      Effect.gen(function*() {
        for (const onCorruptItem of ["fail", "skip"] as const) {
          const { reason } = yield* failure(over(entries.slice(0, 2), { onCorruptItem }).popItem("a"))
          assert.strictEqual(reason._tag, "CorruptItem")
        }
      }))

    it.effect("is found where its neighbours would complete it", () =>
      Effect.gen(function*() {
        const session = over(["{\"type\":\"x\",\"a\":[{}", "{}]}"])
        const { reason } = yield* failure(session.loadItems("a"))
        assert.strictEqual(reason._tag, "CorruptItem")
      }))
  })

  it.effect("cuts off what a backend sends beyond maxItems, and then it is no suffix", () =>
    Effect.gen(function*() {
      const session = Session.make({
        ...primitives,
        load: () => Effect.succeed({ entries: ["1", "2", "3"].map((text) => entry(user(text))), isSuffix: true })
      })
      const loaded = yield* session.loadItems("a", { maxItems: 2, known: 1 })
      assert.deepStrictEqual(loaded, { items: [user("2"), user("3")], version: 0, isSuffix: false })
      assert.isTrue((yield* session.loadItems("a", { maxItems: 3, known: 1 })).isSuffix)
    }))

  it.effect("hands a backend whole bounds", () =>
    Effect.gen(function*() {
      const seen: Array<number | undefined> = []
      const session = Session.make({
        ...primitives,
        load: (_, { maxItems }) =>
          Effect.sync(() => {
            seen.push(maxItems)
            return { entries: [] }
          })
      })
      for (const maxItems of [undefined, 2.7, -3, -Infinity, Infinity, Number.MAX_VALUE]) {
        yield* session.loadItems("a", { maxItems })
      }
      assert.deepStrictEqual(seen, [undefined, 2, 0, 0, undefined, undefined])
    }))

  describe("a commit", () => {
    const commits = (options?: Partial<Session.Primitives>) => {
      const seen: Array<Session.Commit> = []
      const session = Session.make({
        ...primitives,
        save: (_, commit) =>
          Effect.sync(() => {
            seen.push(commit)
            return { version: seen.length }
          }),
        ...options
      })
      return { seen, session }
    }

    it.effect("holds the time of the clock, and a fingerprint where there is an operation id", () =>
      Effect.gen(function*() {
        const { seen, session } = commits()
        yield* TestClock.setTime(1_000)
        yield* session.saveItems("a", [user("hi")])
        yield* session.saveItems("a", [user("hi")], { operationId: "op", meta: { runId: "run" }, expectedVersion: 1 })
        assert.deepStrictEqual(seen[0], {
          entries: [entry(user("hi"))],
          operationId: undefined,
          fingerprint: undefined,
          expectedVersion: undefined,
          meta: undefined,
          savedAt: 1_000
        })
        // Stores hold fingerprints of earlier versions, so that they stay as they are.
        assert.strictEqual(seen[1]!.fingerprint, "31-4a31f3fa4020a9fb")
        assert.deepStrictEqual(seen[1], {
          ...seen[0]!,
          operationId: "op",
          fingerprint: seen[1]!.fingerprint,
          expectedVersion: 1,
          meta: { runId: "run" }
        })
      }))

    it.effect("has one fingerprint for whatever becomes one JSON", () =>
      Effect.gen(function*() {
        const { seen, session } = commits()
        const same: ReadonlyArray<Item> = [
          { type: "x", at: "1970-01-01T00:00:00.000Z", n: 0, list: [null, 1], deep: { a: 1, b: 2 } },
          { n: -0, deep: { b: 2, a: 1 }, list: [undefined, 1], at: new Date(0), type: "x", nothing: undefined },
          { type: "x", at: new Date(0), n: 0, list: [NaN, 1], deep: { a: 1, no: () => 1, b: 2 } }
        ]
        for (const item of same) yield* session.saveItems("a", [item], { operationId: "op" })
        const [first, ...others] = seen.map(({ fingerprint }) => fingerprint)
        assert.deepStrictEqual(others, [first, first])
        yield* session.saveItems("a", [{ ...same[0]!, n: 1 } as Item], { operationId: "op" })
        assert.notStrictEqual(seen[3]!.fingerprint, first)
      }))

    it.effect("has another fingerprint for other content", () =>
      Effect.gen(function*() {
        const { seen, session } = commits()
        const contents: Array<ReadonlyArray<Item>> = [[user("a"), user("b")], [user("b"), user("a")], [user("ab")]]
        for (const letter of ["a", "b", "é", "\u0000", "\ud800", "\ud801", "😀"]) {
          for (let length = 1; length <= 40; length++) {
            for (const end of ["x", "y"]) {
              contents.push([user(letter.repeat(length) + end)], [user(end + letter.repeat(length))])
            }
          }
        }
        for (let number = 0; number < rounds("fingerprints"); number++) {
          contents.push([{ type: "x", number }], [user(`item ${number}`)])
        }
        for (const items of contents) yield* session.saveItems("a", items, { operationId: "op" })
        assert.strictEqual(new Set(seen.map(({ fingerprint }) => fingerprint)).size, contents.length)
      }), timeLimit)

    it.effect("has the fingerprint that was passed on", () =>
      Effect.gen(function*() {
        const { seen, session } = commits()
        yield* session.saveItems("a", [user("hi")], { operationId: "op", fingerprint: "mine" })
        assert.strictEqual(seen[0]!.fingerprint, "mine")
      }))

    class Thing extends Schema.Class<Thing>("Thing")({ type: Schema.String, n: Schema.Finite }) {}

    it.effect("takes items that are objects of a class, if their JSON is an item", () =>
      Effect.gen(function*() {
        const { seen, session } = commits()
        yield* session.saveItems("a", [new Thing({ type: "x", n: 1 }) as unknown as Item])
        assert.deepStrictEqual(seen[0]!.entries, ["{\"type\":\"x\",\"n\":1}"])
        const hidden = Object.create({ type: "x" }, { n: { value: 1, enumerable: true } }) as Item
        const other = { type: "x", toJSON: () => "not an item" } as Item
        const circle: Record<string, unknown> = { type: "x" }
        circle["self"] = circle
        for (const item of [hidden, other, circle as Item]) {
          const { reason } = yield* failure(session.saveItems("a", [user("hi"), item]))
          assert.strictEqual(reason._tag, "InvalidInput")
          assert.include(reason.message, "items[1]")
        }
        assert.strictEqual(seen.length, 1)
      }))

    it.effect("is refused where meta is not what it should be", () =>
      Effect.gen(function*() {
        const { seen, session } = commits()
        const { reason } = yield* failure(
          session.saveItems("a", [user("hi")], { meta: { runId: 1 } as unknown as Session.Meta })
        )
        assert.strictEqual(reason._tag, "InvalidInput")
        assert.strictEqual(seen.length, 0)
      }))

    it.effect("takes ids of 512 characters and no longer", () =>
      Effect.gen(function*() {
        const { seen, session } = commits()
        const longest = "x".repeat(512)
        yield* session.saveItems(longest, [user("hi")], { operationId: longest })
        for (const [id, operationId] of [[`${longest}x`, "op"], ["a", `${longest}x`]] as const) {
          const { reason } = yield* failure(session.saveItems(id, [user("hi")], { operationId }))
          if (reason._tag !== "LimitExceeded") return assert.fail(reason._tag)
          assert.strictEqual(reason.maximum, 512)
          assert.strictEqual(reason.actual, 513)
        }
        assert.strictEqual(seen.length, 1)
      }))
  })

  it.effect("a rewrite between two pages expires the reading", () =>
    Effect.gen(function*() {
      let epoch = 1
      const session = Session.make({
        ...primitives,
        page: (_, { after, limit }) =>
          Effect.sync(() => ({
            epoch,
            rows: Array.from({ length: limit }, (_, index) => ({
              sequence: after + index + 1,
              entry: entry(user("hi")),
              commit: 1,
              savedAt: 0,
              meta: undefined
            }))
          }))
      })
      let count = 0
      const { reason } = yield* failure(Stream.runForEach(session.records("a"), () =>
        Effect.sync(() => {
          if (++count === 300) epoch = 2
        })))
      if (reason._tag !== "CursorExpired") return assert.fail(reason._tag)
      assert.isAtLeast(count, 300)
      assert.match(reason.cursor, /^1\./)
    }))

  it.effect("each operation is a span that names backend, member and conversation", () =>
    Effect.gen(function*() {
      const ended: Array<Tracer.EndedSpan> = []
      const processor: Tracer.TraceProcessor = {
        onSpanEnd: (span) =>
          Effect.sync(() => {
            ended.push(span)
          })
      }
      const session = Session.make({
        ...primitives,
        pop: () => Effect.fail(new SessionError.CorruptItem({ position: 0, description: "not JSON" }))
      })
      yield* Effect.all([
        session.loadItems("a"),
        session.saveItems("a", [user("hi")]),
        Effect.ignore(session.popItem("b")),
        Stream.runDrain(session.conversations())
      ], { discard: true }).pipe(Effect.provide(Tracer.addProcessor(Effect.succeed(processor))))
      const data = (operation: string, conversationId?: string) => ({
        _tag: "Session",
        backend: "double",
        operation,
        ...(conversationId === undefined ? undefined : { conversationId })
      })
      assert.deepStrictEqual(ended.map((span): unknown => span.data), [
        data("loadItems", "a"),
        data("saveItems", "a"),
        data("popItem", "b"),
        data("conversations")
      ])
      assert.deepStrictEqual(ended.map(({ outcome }) => outcome), ["succeeded", "succeeded", "failed", "succeeded"])
    }))

  it.effect("capabilities follow from the primitives", () =>
    Effect.sync(() => {
      const { list: _list, rewrite: _rewrite, ...fewer } = primitives
      assert.deepStrictEqual(Session.make(fewer).capabilities, {
        versions: true,
        operations: true,
        rewrite: false,
        list: false,
        anyItem: true
      })
      assert.isFalse(Session.make({ ...primitives, anyItem: false }).capabilities.anyItem)
    }))

  it.effect("a Layer of one's own is a service like any other", () =>
    Effect.gen(function*() {
      const layer = Layer.effect(Session.Session, least(new Map()))
      const items = yield* Effect.gen(function*() {
        const session = yield* Session.Session
        yield* session.saveItems("a", [user("hi")])
        return (yield* session.loadItems("a")).items
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(items, [user("hi")])
    }))
})
