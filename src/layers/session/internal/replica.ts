import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Item } from "../../../services/Item.ts"
import type { Loaded, Record, SaveOptions, Session } from "../../../services/Session.ts"
import type { SessionError } from "../../../services/SessionError.ts"
import { rowsOf } from "./replaceHead.ts"

type Service = Session["Service"]

/**
 * Stands in a conversation while it is being copied. A copy is made in several steps, because a version only ever grows
 * by one, and what is between them is not to be read.
 */
const marker: Item = { type: "agent_layers.incomplete_copy" }

/** @internal */
export const isMarked = (items: ReadonlyArray<Item>): boolean => items.some(({ type }) => type === marker.type)

/** Each try loses against somebody who brings the same copy further. */
const tries = 20

/** More versions to go through than that are not worth it: the copy is made when the primary moves on. */
const maxSteps = 10_000

export interface Options {
  readonly name: string
  readonly primary: Service
  readonly backup: Service
  readonly timeout: Duration.Input
  /** How long a backup that failed is left alone. */
  readonly cooldown: Duration.Input
}

/**
 * A second store that follows a first one, commit by commit. Where both have a conversation at the same version, they
 * have the same items in it; the copy is never ahead.
 */
export interface Replica {
  readonly name: string
  readonly session: Service
  /** What the copy holds, unless it is being made. */
  readonly load: (id: string) => Effect.Effect<Loaded | undefined, SessionError>
  /** Repeats a commit that left `version`. Failures are logged: the commit has happened. */
  readonly save: (id: string, items: ReadonlyArray<Item>, options: SaveOptions, version: number) => Effect.Effect<void>
  /** Brings a conversation to where the primary is. */
  readonly catchUp: (id: string) => Effect.Effect<void>
}

/** @internal */
export const make = ({ backup, cooldown, name, primary, timeout }: Options): Replica => {
  const pause = Duration.toMillis(Duration.fromInputUnsafe(cooldown))
  let downUntil = -Infinity
  // Seen to be marked: a commit that is appended there would not mend them.
  const broken = new Set<string>()
  const locks = new Map<string, { readonly semaphore: Semaphore.Semaphore; users: number }>()

  /** One at a time for a conversation: commits are repeated in their order. */
  const locked = <A, E>(id: string, use: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      let lock = locks.get(id)
      if (lock === undefined) locks.set(id, lock = { semaphore: Semaphore.makeUnsafe(1), users: 0 })
      lock.users++
      return Effect.ensuring(
        lock.semaphore.withPermit(use),
        Effect.sync(() => {
          if (--lock.users === 0) locks.delete(id)
        })
      )
    })

  const guarded = (id: string, use: Effect.Effect<void, SessionError>): Effect.Effect<void> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      now < downUntil ? Effect.void : Effect.catchCause(
        // In a fiber of its own: a commit of the backup that cannot be interrupted holds nobody up.
        Effect.flatMap(
          Effect.forkDetach(Effect.interruptible(locked(id, use)), { startImmediately: true }),
          (fiber) =>
            Effect.ensuring(
              Effect.timeout(Fiber.join(fiber), timeout),
              Effect.sync(() => fiber.interruptUnsafe())
            )
        ),
        (cause) => {
          downUntil = now + pause
          return Effect.logWarning(`The backup "${name}" does not follow conversation "${id}"`, cause)
        }
      ))

  /** Commits that the copy lacks, where only such came since; `undefined` where their bounds are not to be had. */
  const commitsSince = (id: string, after: number, version: number) =>
    primary.records(id).pipe(
      Stream.filter(({ commit }) => commit > after && commit <= version),
      Stream.runCollect,
      Effect.map((records) => {
        const commits = new Map<number, [Record, ...Array<Record>]>()
        for (const record of records) {
          const same = commits.get(record.commit)
          if (same === undefined) commits.set(record.commit, [record])
          else same.push(record)
        }
        return commits.size === version - after ? [...commits.values()] : undefined
      }),
      Effect.catchReason("SessionError", "Unsupported", () => Effect.undefined)
    )

  const replay = Effect.fnUntraced(function*(id: string, from: number, version: number) {
    const commits = yield* commitsSince(id, from, version)
    if (commits === undefined) return false
    for (const records of commits) {
      const [{ commit, meta }] = records
      yield* backup.saveItems(id, records.map(({ item }) => item), { expectedVersion: commit - 1, meta })
    }
    return true
  })

  /** Puts `items` at exactly `version`, from a lower one. */
  const place = Effect.fnUntraced(function*(id: string, from: number, items: ReadonlyArray<Item>, version: number) {
    let at = from
    while (at < version - 1) at = (yield* backup.rewrite(id, { through: at, items: [marker] })).version
    if (at === version - 1) at = (yield* backup.rewrite(id, { through: at, items })).version
    // Somebody's late commit came between: this version is one of other content.
    if (at > version) yield* backup.rewrite(id, { through: at, items: [marker] })
  })

  /**
   * The last commit is appended where it can be, as another process may be about to do: of two equal commits onto one
   * version one is refused.
   */
  const copy = Effect.fnUntraced(function*(id: string, from: number, loaded: Loaded) {
    const { items, version } = loaded
    const rows = yield* rowsOf(primary, id, loaded).pipe(
      Effect.catchReason("SessionError", "Unsupported", () => Effect.undefined)
    )
    const start = rows?.findIndex(({ commit }) => commit === version) ?? -1
    const last = yield* primary.loadItems(id, { known: version - 1 })
    const isAppended = last.version === version && last.isSuffix && start >= 0
    if (!isAppended || from >= version - 1) return yield* place(id, from, items, version)
    yield* place(id, from, items.slice(0, start), version - 1)
    yield* backup.saveItems(id, items.slice(start), { expectedVersion: version - 1 })
  })

  const step = Effect.fnUntraced(function*(id: string): Effect.fn.Return<boolean, SessionError> {
    const there = yield* backup.loadItems(id)
    const isBroken = isMarked(there.items)
    if (isBroken) broken.add(id)
    else broken.delete(id)
    const here = yield* primary.loadItems(id, isBroken ? {} : { known: there.version })
    if (there.version >= here.version) {
      if (there.version > here.version && !isBroken) {
        yield* Effect.logWarning(
          `The backup "${name}" has conversation "${id}" at version ${there.version}, and the primary at ` +
            `${here.version}: it is not read there until the primary has passed it`
        )
        yield* backup.rewrite(id, { through: there.version, items: [marker] })
        broken.add(id)
      }
      return true
    }
    if (here.version - there.version > maxSteps) {
      yield* Effect.logWarning(`The backup "${name}" is too far behind to copy conversation "${id}"`)
      return true
    }
    if (here.isSuffix && (yield* replay(id, there.version, here.version))) return false
    yield* copy(id, there.version, here.isSuffix ? yield* primary.loadItems(id) : here)
    return false
  })

  const follow = Effect.fnUntraced(function*(id: string): Effect.fn.Return<void, SessionError> {
    for (let index = 0; index < tries; index++) {
      const isDone = yield* Effect.catchReason(
        step(id),
        "SessionError",
        "VersionConflict",
        () => Effect.succeed(false)
      )
      if (isDone) return
    }
  })

  const { operations } = backup.capabilities
  return {
    name,
    session: backup,
    load: (id) =>
      Effect.map(backup.loadItems(id), (loaded) => {
        if (!isMarked(loaded.items)) return loaded
        broken.add(id)
        return undefined
      }),
    save: (id, items, options, version) =>
      guarded(
        id,
        Effect.suspend(() =>
          broken.has(id) ? follow(id) : backup.saveItems(id, items, {
            ...options,
            operationId: operations ? options.operationId : undefined,
            expectedVersion: version - 1
          }).pipe(
            Effect.catchReason(
              "SessionError",
              "VersionConflict",
              ({ actual }) => actual >= version ? Effect.void : follow(id)
            ),
            Effect.asVoid
          )
        )
      ),
    catchUp: (id) => guarded(id, follow(id))
  }
}
