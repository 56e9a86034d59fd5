import { assert, describe, it } from "@effect/vitest"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import { isFunctionCall, isItem, isMessage, isReasoning, text } from "agent-layers/services/Item"
import type { Item } from "agent-layers/services/Item"
import * as Law from "agent-layers/services/laws/Law"
import { all, decorating, type SessionSubject } from "agent-layers/services/laws/SessionLaws"
import { Session } from "agent-layers/services/Session"
import {
  CorruptItem,
  InvalidInput,
  OperationMismatch,
  SessionError,
  type SessionErrorReason,
  Unavailable,
  VersionConflict
} from "agent-layers/services/SessionError"
import { Effect, Layer, Scope, Stream } from "effect"
import { contentOf, everything, memorySubject } from "../support/session/subjects.ts"

type Service = Session["Service"]
type Content = ReturnType<typeof contentOf>

const fail = (operation: string, id: string, reason: SessionErrorReason) =>
  Effect.fail(new SessionError({ backend: "broken", operation, conversationId: id, reason }))

/** Sessions on one store in memory, each with some members changed for the worse. */
const broken = (
  change: (session: Service, content: Content) => Partial<Service>,
  subject?: Partial<SessionSubject>
): Effect.Effect<SessionSubject> =>
  Effect.map(SessionMemory.makeStore, (store) => ({
    open: Effect.map(SessionMemory.make({ store }), (session) => ({
      ...session,
      ...change(session, contentOf(store))
    })),
    capabilities: everything,
    canReopen: true,
    ...subject
  }))

const rowsOf = (content: Content, id: string) => content.conversations.get(id)?.rows ?? []

const versionOf = (content: Content, id: string) => content.conversations.get(id)?.version ?? 0

const forgetChange = (content: Content, id: string) =>
  Effect.sync(() => {
    const state = content.conversations.get(id)
    if (state !== undefined) state.epoch = 0
  })

const outageSubject = (whileOut: (session: Service) => Partial<Service>): Effect.Effect<SessionSubject> =>
  Effect.map(SessionMemory.makeStore, (store) => {
    let isOut = false
    return {
      open: Effect.map(SessionMemory.make({ store }), (session): Service => ({
        ...session,
        saveItems: (id, items, options) =>
          Effect.suspend(() => (isOut ? { ...session, ...whileOut(session) } : session).saveItems(id, items, options))
      })),
      capabilities: everything,
      canReopen: true,
      faults: {
        outage: Effect.acquireRelease(
          Effect.sync(() => {
            isOut = true
          }),
          () =>
            Effect.sync(() => {
              isOut = false
            })
        )
      }
    }
  })

const soundOutage = outageSubject(() => ({
  saveItems: (id) =>
    fail("saveItems", id, new Unavailable({ description: "The store is away", isOutcomeUnknown: false }))
}))

interface Double {
  readonly does: string
  readonly subject: Effect.Effect<SessionSubject>
  /** How the names of the laws begin that must not hold. */
  readonly breaks: ReadonlyArray<string>
}

const doubles: ReadonlyArray<Double> = [
  {
    does: "begins at version 1",
    subject: broken((session) => ({
      loadItems: (id, options) =>
        Effect.map(session.loadItems(id, options), (loaded) => ({ ...loaded, version: Math.max(1, loaded.version) }))
    })),
    breaks: ["A conversation that nobody wrote to"]
  },
  {
    does: "stores a commit backwards",
    subject: broken((session) => ({
      saveItems: (id, items, options) => session.saveItems(id, [...items].reverse(), options)
    })),
    breaks: ["Items come back in the order", "A commit of a thousand items"]
  },
  {
    does: "puts the latest commit first",
    subject: broken((session, content) => ({
      saveItems: (id, items, options) =>
        Effect.tap(session.saveItems(id, items, options), () =>
          Effect.sync(() => {
            const rows = rowsOf(content, id)
            rows.unshift(...rows.splice(rows.length - items.length))
          }))
    })),
    breaks: ["Items come back in the order", "A record tells the commit"]
  },
  {
    does: "keeps 500 items of a commit",
    subject: broken((session) => ({
      saveItems: (id, items, options) => session.saveItems(id, items.slice(0, 500), options)
    })),
    breaks: ["A commit of a thousand items"]
  },
  {
    does: "orders items by time",
    subject: broken((session, content) => ({
      loadItems: (id, options) =>
        Effect.suspend(() => {
          rowsOf(content, id).sort((a, b) => a.savedAt - b.savedAt)
          return session.loadItems(id, options)
        })
    })),
    breaks: ["Items are in the order of their commits when the clock"]
  },
  {
    does: "takes a negative maxItems for no bound",
    subject: broken((session) => ({
      loadItems: (id, options) =>
        session.loadItems(id, (options?.maxItems ?? 0) < 0 ? { ...options, maxItems: undefined } : options)
    })),
    breaks: ["maxItems gives at most"]
  },
  {
    does: "gives the first items for maxItems",
    subject: broken((session) => ({
      loadItems: (id, options) =>
        Effect.map(session.loadItems(id, { ...options, maxItems: undefined }), (loaded) => ({
          ...loaded,
          items: options?.maxItems === undefined ? loaded.items : loaded.items.slice(0, Math.max(0, options.maxItems))
        }))
    })),
    breaks: ["maxItems gives at most", "Items are in the order of their commits when the clock"]
  },
  {
    does: "counts an empty save as a commit",
    subject: broken((session, content) => ({
      saveItems: (id, items, options) =>
        Effect.tap(session.saveItems(id, items, options), () =>
          Effect.sync(() => {
            const state = content.conversations.get(id)
            if (items.length === 0 && state !== undefined) state.version++
          }))
    })),
    breaks: ["An empty save changes nothing"]
  },
  {
    does: "stores the items before one that is none",
    subject: broken((session) => ({
      saveItems: (id, items, options) => {
        const end = items.findIndex((item) => !isItem(item))
        return end < 0 ? session.saveItems(id, items, options) : Effect.andThen(
          session.saveItems(id, items.slice(0, end), options),
          fail("saveItems", id, new InvalidInput({ description: "no item" }))
        )
      }
    })),
    breaks: ["One item that is none refuses"]
  },
  {
    does: "takes what means nothing",
    subject: broken((session) => ({
      saveItems: (id, items, options) =>
        Effect.catchReason(
          session.saveItems(id, items, options),
          "SessionError",
          "InvalidInput",
          () => Effect.succeed({ version: 0 })
        )
    })),
    breaks: ["One item that is none refuses", "What means nothing is refused"]
  },
  {
    does: "drops null fields",
    subject: broken((session) => ({
      saveItems: (id, items, options) =>
        session.saveItems(
          id,
          items.map((item) => JSON.parse(JSON.stringify(item, (_, value) => value ?? undefined)) as Item),
          options
        )
    })),
    breaks: ["What an item holds comes back"]
  },
  {
    does: "repairs half surrogate pairs",
    subject: broken((session) => ({
      saveItems: (id, items, options) =>
        session.saveItems(
          id,
          items.map((item) => JSON.parse(JSON.stringify(item).replaceAll(/\\ud[0-9a-f]{3}/g, "\ufffd")) as Item),
          options
        )
    })),
    breaks: ["What an item holds comes back"]
  },
  {
    does: "drops items of types it does not know",
    subject: broken((session) => ({
      saveItems: (id, items, options) =>
        session.saveItems(
          id,
          items.filter((item) => isMessage(item) || isFunctionCall(item) || isReasoning(item)),
          options
        )
    })),
    breaks: ["Items of unknown types", "What an item holds comes back"]
  },
  {
    does: "leaves out large items",
    subject: broken((session) => ({
      loadItems: (id, options) =>
        Effect.map(session.loadItems(id, options), (loaded) => ({
          ...loaded,
          items: loaded.items.filter((item) => text(item).length < 65_536)
        }))
    })),
    breaks: ["An item of one megabyte"]
  },
  {
    does: "keeps the objects that it was given",
    subject: Effect.map(memorySubject, (subject) => ({
      ...subject,
      open: Effect.map(subject.open, (session): Service => {
        const kept = new Map<string, Array<Item>>()
        return {
          ...session,
          saveItems: (id, items, options) =>
            Effect.tap(
              session.saveItems(id, items, options),
              () => Effect.sync(() => kept.set(id, [...kept.get(id) ?? [], ...items]))
            ),
          loadItems: (id, options) =>
            Effect.map(session.loadItems(id, options), (loaded) => ({ ...loaded, items: kept.get(id) ?? [] }))
        }
      })
    })),
    breaks: ["Items that were handed in or out"]
  },
  {
    does: "gives the same objects to every reader",
    subject: broken((session) => {
      const cache = new Map<string, ReadonlyArray<Item>>()
      return {
        loadItems: (id, options) =>
          Effect.map(session.loadItems(id, options), (loaded) => {
            if (!cache.has(id)) cache.set(id, loaded.items)
            return { ...loaded, items: cache.get(id)! }
          })
      }
    }),
    breaks: ["Items that were handed in or out"]
  },
  {
    does: "asks nobody before it pops",
    subject: broken((session) => ({ popItem: (id) => session.popItem(id) })),
    breaks: ["popItem leaves the last item where it is"]
  },
  {
    does: "clears by prefix",
    subject: broken((session, content) => ({
      clear: (id) =>
        Effect.forEach([...content.conversations.keys()].filter((one) => one.startsWith(id)), session.clear, {
          discard: true
        })
    })),
    breaks: ["Conversations do not see each other"]
  },
  {
    does: "compares ids without case and accents",
    subject: broken((session) => ({
      saveItems: (id, items, options) => session.saveItems(id.normalize("NFC").toLowerCase(), items, options),
      loadItems: (id, options) => session.loadItems(id.normalize("NFC").toLowerCase(), options)
    })),
    breaks: ["A conversation id may hold any character", "Conversations do not see each other"]
  },
  {
    does: "cuts ids that are too long",
    subject: broken((session) => ({
      loadItems: (id, options) => session.loadItems(id.slice(0, 512), options)
    })),
    breaks: ["A conversation id that is too long"]
  },
  {
    does: "does not say which conversation an error is about",
    subject: broken((session) => ({
      loadItems: (id, options) =>
        Effect.mapError(
          session.loadItems(id, options),
          ({ backend, operation, reason }) => new SessionError({ backend, operation, reason })
        )
    })),
    breaks: ["An error names the backend"]
  },
  {
    does: "counts items as versions",
    subject: broken((session, content) => ({
      saveItems: (id, items, options) =>
        Effect.map(session.saveItems(id, items, options), () => ({ version: rowsOf(content, id).length }))
    })),
    breaks: ["Each commit raises the version by one"]
  },
  {
    does: "ignores expectedVersion",
    subject: broken((session) => ({
      saveItems: (id, items, options) => session.saveItems(id, items, { ...options, expectedVersion: undefined })
    })),
    breaks: [
      "A save onto a version that moved on",
      "Of several saves onto one version",
      "An operation id is looked up before",
      "A save that was refused does not use up",
      "The version never goes back"
    ]
  },
  {
    does: "compares the version in one step and saves in another",
    subject: broken((session) => ({
      saveItems: (id, items, options) =>
        Effect.gen(function*() {
          const { version } = yield* session.loadItems(id)
          const expected = options?.expectedVersion ?? version
          if (expected !== version) {
            return yield* fail("saveItems", id, new VersionConflict({ expected, actual: version }))
          }
          yield* Effect.yieldNow
          return yield* session.saveItems(id, items, { ...options, expectedVersion: undefined })
        })
    })),
    breaks: ["Of several saves onto one version"]
  },
  {
    does: "reads a conversation, adds to it and writes it back",
    subject: broken((session, content) => ({
      saveItems: (id, items, options) =>
        Effect.gen(function*() {
          const before = [...rowsOf(content, id)]
          yield* Effect.yieldNow
          const saved = yield* session.saveItems(id, items, options)
          const state = content.conversations.get(id)
          if (state !== undefined) state.rows = [...before, ...state.rows.slice(state.rows.length - items.length)]
          return saved
        })
    })),
    breaks: ["Writers at once lose nothing"]
  },
  {
    does: "saves the items of a commit one by one",
    subject: broken((session) => ({
      saveItems: (id, items, options) =>
        Effect.gen(function*() {
          let saved = yield* session.saveItems(id, items.slice(0, 1), options)
          for (const item of items.slice(1)) {
            yield* Effect.yieldNow
            saved = yield* session.saveItems(id, [item])
          }
          return saved
        })
    })),
    breaks: [
      "A reader sees a commit whole",
      "A save that is interrupted",
      "Writers at once lose nothing",
      "Each commit raises the version by one"
    ]
  },
  {
    does: "ignores operation ids",
    subject: broken((session) => ({
      saveItems: (id, items, options) => session.saveItems(id, items, { ...options, operationId: undefined })
    })),
    breaks: [
      "An operation id that comes again stores nothing",
      "An operation id that comes again with other content",
      "An operation id is looked up before",
      "The order of an item's keys",
      "A fingerprint that is passed on",
      "Saves under one operation id at once",
      "Operation ids are remembered",
      "An operation id is remembered when",
      "A late retry of an operation"
    ]
  },
  {
    does: "compares the version before the operation id",
    subject: broken((session) => ({
      saveItems: (id, items, options) =>
        Effect.gen(function*() {
          const { version } = yield* session.loadItems(id)
          const expected = options?.expectedVersion ?? version
          return expected === version
            ? yield* session.saveItems(id, items, options)
            : yield* fail("saveItems", id, new VersionConflict({ expected, actual: version }))
        })
    })),
    breaks: ["An operation id is looked up before"]
  },
  {
    does: "does not compare the content of an operation",
    subject: broken((session) => ({
      saveItems: (id, items, options) => session.saveItems(id, items, { ...options, fingerprint: "any" })
    })),
    breaks: [
      "An operation id that comes again with other content",
      "A fingerprint that is passed on",
      "An operation id is remembered when"
    ]
  },
  {
    does: "compares the JSON of an operation letter by letter",
    subject: broken((session) => ({
      saveItems: (id, items, options) =>
        session.saveItems(id, items, { fingerprint: JSON.stringify(items), ...options })
    })),
    breaks: ["The order of an item's keys"]
  },
  {
    does: "makes its own fingerprint",
    subject: broken((session) => ({
      saveItems: (id, items, options) => session.saveItems(id, items, { ...options, fingerprint: undefined })
    })),
    breaks: ["A fingerprint that is passed on"]
  },
  {
    does: "keeps operation ids for all conversations together",
    subject: broken((session) => {
      const done = new Map<string, { readonly version: number }>()
      return {
        saveItems: (id, items, options) =>
          Effect.suspend(() => {
            const known = done.get(options?.operationId ?? "")
            return known === undefined
              ? Effect.tap(session.saveItems(id, items, options), (saved) =>
                Effect.sync(() => options?.operationId && done.set(options.operationId, saved)))
              : Effect.succeed(known)
          })
      }
    }),
    breaks: ["An operation id belongs to its conversation"]
  },
  {
    does: "notes an operation id before it saves",
    subject: broken((session, content) => {
      const begun = new Set<string>()
      return {
        saveItems: (id, items, options) =>
          Effect.suspend(() => {
            const key = `${id} ${options?.operationId}`
            if (options?.operationId !== undefined && begun.has(key)) {
              return Effect.succeed({ version: versionOf(content, id) })
            }
            begun.add(key)
            return session.saveItems(id, items, options)
          })
      }
    }),
    breaks: ["A save that was refused does not use up"]
  },
  {
    does: "looks an operation id up in one step and saves in another",
    subject: broken((session) => {
      const done = new Map<string, { readonly version: number }>()
      return {
        saveItems: (id, items, options) =>
          Effect.gen(function*() {
            const key = `${id} ${options?.operationId}`
            const known = options?.operationId === undefined ? undefined : done.get(key)
            if (known !== undefined) return known
            yield* Effect.yieldNow
            const saved = yield* session.saveItems(id, items, { ...options, operationId: undefined })
            done.set(key, saved)
            return saved
          })
      }
    }),
    breaks: ["Saves under one operation id at once"]
  },
  {
    does: "remembers 100 operation ids",
    subject: broken((session, content) => ({
      saveItems: (id, items, options) =>
        Effect.tap(session.saveItems(id, items, options), () =>
          Effect.sync(() => {
            const operations = content.conversations.get(id)?.operations
            for (const key of operations?.keys() ?? []) {
              if (operations!.size > 100) operations!.delete(key)
            }
          }))
    })),
    breaks: ["Operation ids are remembered"]
  },
  {
    does: "forgets operation ids when it is closed",
    subject: Effect.map(SessionMemory.makeStore, (store) => ({
      open: Effect.tap(SessionMemory.make({ store }), () =>
        Effect.sync(() => {
          for (const state of contentOf(store).conversations.values()) state.operations.clear()
        })),
      capabilities: everything,
      canReopen: true
    })),
    breaks: ["An operation id is remembered when"]
  },
  {
    does: "sends nothing to whoever knows something",
    subject: broken((session) => ({
      loadItems: (id, options) =>
        Effect.map(
          session.loadItems(id, options),
          (loaded) => options?.known === undefined ? loaded : { ...loaded, items: [], isSuffix: true }
        )
    })),
    breaks: ["Where only appends came", "Where more than appends came"]
  },
  {
    does: "does not note that content was rewritten, popped or cleared",
    subject: broken((session, content) => ({
      rewrite: (id, options) => Effect.tap(session.rewrite(id, options), () => forgetChange(content, id)),
      popItem: (id) => Effect.tap(session.popItem(id), () => forgetChange(content, id)),
      clear: (id) => Effect.tap(session.clear(id), () => forgetChange(content, id))
    })),
    breaks: [
      "Where more than appends came",
      "A rewrite is refused with VersionConflict after another",
      "A rewrite is refused with VersionConflict after a pop",
      "A rewrite is refused with VersionConflict after a clear",
      "A cursor expires with a rewrite",
      "A cursor expires with a pop",
      "A cursor expires with a clear"
    ]
  },
  {
    does: "drops later commits in a rewrite",
    subject: broken((session, content) => ({
      rewrite: (id, { items }) => session.rewrite(id, { items, through: versionOf(content, id) })
    })),
    breaks: ["A rewrite replaces what was committed", "Appends do not refuse a rewrite"]
  },
  {
    does: "cannot rewrite to more items than there were",
    subject: broken((session, content) => ({
      rewrite: (id, { items, through }) =>
        Effect.suspend(() => session.rewrite(id, { through, items: items.slice(0, rowsOf(content, id).length) }))
    })),
    breaks: ["A rewrite may make a conversation"]
  },
  {
    does: "refuses a rewrite after appends",
    subject: broken((session, content) => ({
      rewrite: (id, options) =>
        Effect.suspend(() =>
          options.through === versionOf(content, id)
            ? session.rewrite(id, options)
            : fail(
              "rewrite",
              id,
              new VersionConflict({ expected: options.through, actual: versionOf(content, id) })
            )
        )
    })),
    breaks: ["Appends do not refuse a rewrite", "A rewrite replaces what was committed"]
  },
  {
    does: "pops the first item",
    subject: broken((session, content) => ({
      popItem: (id) =>
        Effect.suspend(() => {
          rowsOf(content, id).reverse()
          return Effect.tap(session.popItem(id), () => Effect.sync(() => rowsOf(content, id).reverse()))
        })
    })),
    breaks: ["popItem takes the last item"]
  },
  {
    does: "reads the last item in one step and removes it in another",
    subject: broken((session) => ({
      popItem: (id) =>
        Effect.gen(function*() {
          const { items } = yield* session.loadItems(id, { maxItems: 1 })
          yield* Effect.yieldNow
          yield* session.popItem(id)
          return items[0]
        })
    })),
    breaks: ["No two callers of popItem"]
  },
  {
    does: "drops what it cannot read when it pops",
    subject: Effect.map(memorySubject, (subject) => ({
      ...subject,
      open: Effect.map(SessionMemory.make(), (session): Service => {
        let isDamaged = false
        return {
          ...session,
          loadItems: session.loadItems,
          popItem: (id) =>
            Effect.suspend(() => {
              if (isDamaged) return Effect.succeed(undefined)
              isDamaged = true
              return fail("popItem", id, new CorruptItem({ position: 0, description: "not JSON" }))
            })
        }
      }),
      faults: { corruptLast: () => Effect.void }
    })),
    breaks: ["A last item that cannot be read"]
  },
  {
    does: "clears the last item only",
    subject: broken((session) => ({ clear: (id) => Effect.asVoid(session.popItem(id)) })),
    breaks: ["clear forgets the items"]
  },
  {
    does: "forgets a conversation that is cleared altogether",
    subject: broken((session, content) => ({
      clear: (id) => Effect.sync(() => void content.conversations.delete(id))
    })),
    breaks: ["The version never goes back", "A late retry of an operation"]
  },
  {
    does: "takes the time from the machine and keeps no meta",
    subject: broken((session) => ({
      records: (id, options) =>
        Stream.map(session.records(id, options), ({ meta: _meta, ...record }) => ({ ...record, savedAt: 0 }))
    })),
    breaks: ["A record tells the commit"]
  },
  {
    does: "reads one page",
    subject: broken((session) => ({
      records: (id, options) => Stream.take(session.records(id, options), 256),
      conversations: (options) => Stream.take(session.conversations(options), 256)
    })),
    breaks: ["Records are read in pages", "Conversations are listed by id, in pages"]
  },
  {
    does: "begins anew whatever the cursor",
    subject: broken((session) => ({ records: (id) => session.records(id) })),
    breaks: ["Reading goes on after a cursor", "A cursor expires with a rewrite"]
  },
  {
    does: "takes a prefix for a pattern",
    subject: broken((session) => ({
      conversations: ({ prefix = "" } = {}) => {
        const pattern = new RegExp(`^${prefix.replaceAll("%", ".*").replaceAll("_", ".")}`, "su")
        return Stream.filter(session.conversations(), ({ id }) => pattern.test(id))
      }
    })),
    breaks: ["conversations lists those that have content"]
  },
  {
    does: "clears in maintain",
    subject: broken((session) => ({ maintain: session.clear })),
    breaks: ["maintain leaves a conversation readable"]
  },
  {
    does: "says that it cannot list",
    subject: broken((session) => ({ capabilities: { ...session.capabilities, list: false } })),
    breaks: ["A session can do what its capabilities say"]
  },
  {
    does: "lists though it is said not to",
    subject: broken((session) => ({ capabilities: { ...session.capabilities, list: false } }), {
      capabilities: { ...everything, list: false }
    }),
    breaks: ["A session can do what its capabilities say"]
  },
  {
    does: "keeps each session's content to itself",
    subject: Effect.succeed({ open: SessionMemory.make(), capabilities: everything, canReopen: true }),
    breaks: [
      "A session that is opened again",
      "Two sessions on one store",
      "Closing one session",
      "An operation id is remembered when",
      "No two callers of popItem"
    ]
  },
  {
    does: "keeps what it loaded until it saves itself",
    subject: broken((session) => {
      const cache = new Map<string, ReadonlyArray<Item>>()
      return {
        loadItems: (id, options) =>
          Effect.map(session.loadItems(id, options), (loaded) => {
            if (!cache.has(id)) cache.set(id, loaded.items)
            return { ...loaded, items: structuredClone(cache.get(id)!) as ReadonlyArray<Item> }
          }),
        saveItems: (id, items, options) =>
          Effect.suspend(() => {
            cache.delete(id)
            return session.saveItems(id, items, options)
          })
      }
    }),
    breaks: ["Two sessions on one store"]
  },
  {
    does: "stays open",
    subject: Effect.map(memorySubject, (subject) => ({
      ...subject,
      open: Effect.flatMap(Scope.make(), (scope) => Scope.provide(subject.open, scope))
    })),
    breaks: ["A session whose scope is closed"]
  },
  {
    does: "closes every session when one is closed",
    subject: Effect.gen(function*() {
      const store = yield* SessionMemory.makeStore
      const scope = yield* Scope.make()
      return {
        open: Effect.acquireRelease(
          Scope.provide(SessionMemory.make({ store }), scope),
          (_, exit) => Scope.close(scope, exit)
        ),
        capabilities: everything,
        canReopen: true
      }
    }),
    breaks: ["Closing one session"]
  },
  {
    does: "answers as if it had stored while the store is away",
    subject: outageSubject(() => ({ saveItems: () => Effect.succeed({ version: 2 }) })),
    breaks: ["While the store takes no writes"]
  },
  {
    does: "says that operation ids are used up by an outage",
    subject: outageSubject((session) => ({
      saveItems: (id, items, options) =>
        Effect.andThen(
          session.saveItems(id, items, { ...options, operationId: undefined }),
          fail("saveItems", id, new Unavailable({ description: "away", isOutcomeUnknown: true }))
        )
    })),
    breaks: ["While the store takes no writes"]
  },
  {
    does: "mistakes any retry for other content",
    subject: broken((session) => {
      const seen = new Set<string>()
      return {
        saveItems: (id, items, options) =>
          Effect.suspend(() => {
            const operationId = options?.operationId
            if (operationId !== undefined && seen.has(`${id} ${operationId}`)) {
              return fail("saveItems", id, new OperationMismatch({ operationId }))
            }
            seen.add(`${id} ${operationId}`)
            return session.saveItems(id, items, options)
          })
      }
    }),
    breaks: ["An operation id that comes again stores nothing"]
  }
]

const lawOf = (beginning: string): Law.Law<SessionSubject> => {
  const found = all.filter((law) => law.name.startsWith(beginning))
  assert.strictEqual(found.length, 1, `laws that begin with "${beginning}"`)
  return found[0]!
}

describe("SessionLaws", () => {
  describe.each(doubles)("a session that $does breaks", ({ breaks, subject }) => {
    for (const beginning of breaks) {
      it.live(`${beginning} …`, () =>
        Effect.gen(function*() {
          const outcome = yield* Law.verify(lawOf(beginning), yield* subject)
          if (outcome._tag !== "Broken") return assert.fail(`${outcome._tag}: ${beginning}`)
          assert.include(outcome.report, lawOf(beginning).name)
          assert.match(outcome.report, /expected: .+\n\s*got: /s)
        }))
    }
  })

  it("every law is broken by a double", () => {
    const broken = new Set(doubles.flatMap(({ breaks }) => breaks.map((beginning) => lawOf(beginning).name)))
    assert.deepStrictEqual(all.map((law) => law.name).filter((name) => !broken.has(name)), [])
  })

  it("no two laws have one name", () => {
    assert.strictEqual(new Set(all.map((law) => law.name)).size, all.length)
  })

  it.live("the law of outages holds where they are told", () =>
    Effect.gen(function*() {
      const outcome = yield* Law.verify(lawOf("While the store takes no writes"), yield* soundOutage)
      assert.strictEqual(outcome._tag, "Held")
    }))

  it.live("a prefix lets laws run over one store again", () =>
    Effect.gen(function*() {
      const subject = yield* memorySubject
      for (const prefix of ["first/", "second/"]) {
        for (const law of all.slice(0, 20)) {
          const outcome = yield* Law.verify(law, { ...subject, prefix })
          if (outcome._tag === "Broken") assert.fail(outcome.report)
        }
      }
      const outcome = yield* Law.verify(lawOf("Items come back in the order"), { ...subject, prefix: "first/" })
      assert.strictEqual(outcome._tag, "Broken")
    }))
})

describe("SessionLaws.decorating", () => {
  const doubles: ReadonlyArray<readonly [string, (inner: Service) => Partial<Service>]> = [
    ["drops the reason", (inner) => ({ maintain: (id) => inner.maintain(id) })],
    ["does not pass maintain on", () => ({ maintain: () => Effect.void })]
  ]
  for (const [does, change] of doubles) {
    it.live(`a decorator that ${does} breaks the law of maintain`, () =>
      Effect.gen(function*() {
        const decorator = Layer.effect(Session, Session.use((inner) => Effect.succeed({ ...inner, ...change(inner) })))
        const outcome = yield* Law.verify(decorating[0]!, { decorator, below: SessionMemory.make() })
        assert.strictEqual(outcome._tag, "Broken")
      }))
  }
})
