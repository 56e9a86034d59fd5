import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Item } from "../Item.ts"
import { isItem } from "../Item.ts"
import type { SessionErrorReason } from "../SessionError.ts"
import * as SessionError from "../SessionError.ts"
import * as Tracer from "../Tracer.ts"
import type {
  Capabilities,
  Commit,
  Conversation,
  Loaded,
  LoadOptions,
  MaintainOptions,
  MakeOptions,
  PopOptions,
  Primitives,
  Record,
  Saved,
  SaveOptions
} from "./sessionModel.ts"
import { Meta } from "./sessionModel.ts"

const fromJson = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))
const isMeta = Schema.is(Meta)

const pageSize = 256

/**
 * Short enough for a key of every store.
 *
 * @internal
 */
export const maxIdLength = 512

/** The value as JSON has it, with the keys of every object in one order. */
const canonical = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value
  if ("toJSON" in value && typeof value.toJSON === "function") return canonical(value.toJSON())
  if (Array.isArray(value)) return value.map(canonical)
  const sorted: { [key: string]: unknown } = Object.create(null)
  for (const key of Object.keys(value).sort()) sorted[key] = canonical((value as { [key: string]: unknown })[key])
  return sorted
}

const hex = (lane: number): string => (lane >>> 0).toString(16).padStart(8, "0")

/**
 * 64 bits and the length. A fingerprint tells an honest retry from a mistake, which needs no resistance to an attacker,
 * but it is taken of every commit: a cryptographic digest would cost more than storing it. Stores keep fingerprints, so
 * that this must not change.
 */
const digest = (text: string): string => {
  let a = 0x2545f491
  let b = 0x6c8e9cf5
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    a = Math.imul(((a << 5) | (a >>> 27)) ^ code, 0x9e3779b1)
    b = Math.imul((b ^ (b >>> 15)) + code, 0x85ebca77)
  }
  a = Math.imul(a ^ (b >>> 13), 0xc2b2ae3d)
  b = Math.imul(b ^ (a >>> 16), 0x27d4eb2f)
  return `${text.length.toString(16)}-${hex(a ^ (a >>> 15))}${hex(b ^ (b >>> 13))}`
}

/** @internal */
export const fingerprintOf = (items: ReadonlyArray<Item>): string => digest(JSON.stringify(canonical(items)))

const invalidInput = (description: string) => new SessionError.InvalidInput({ description })

const invalid = (description: string) => Effect.fail(invalidInput(description))

/**
 * What is wrong with an id that a store would have to keep as a key.
 *
 * @internal
 */
export const checkId = (what: string, id: string): SessionErrorReason | undefined =>
  id === ""
    ? invalidInput(`The ${what} is empty`)
    : id.length > maxIdLength
    ? new SessionError.LimitExceeded({
      limit: `Characters in the ${what}`,
      maximum: maxIdLength,
      actual: id.length
    })
    : id.includes("\0") || /\p{Surrogate}/u.test(id)
    ? invalidInput(`The ${what} holds a NUL character or half of a surrogate pair, which not every store can keep`)
    : undefined

const isVersion = (version: number): boolean => Number.isSafeInteger(version) && version >= 0

/** An object that is not plain may turn into other JSON than its fields show. */
const isPlain = (item: Item): boolean => {
  const prototype: unknown = Object.getPrototypeOf(item)
  return (prototype === Object.prototype || prototype === null) && !("toJSON" in item)
}

/**
 * Each item as a text, after a check that it is one.
 *
 * @internal
 */
export const encode = (items: ReadonlyArray<Item>): Result.Result<ReadonlyArray<string>, SessionErrorReason> => {
  const entries: Array<string> = []
  for (let index = 0; index < items.length; index++) {
    const item = items[index]
    if (!isItem(item)) {
      return Result.fail(invalidInput(
        `items[${index}] is not an item: it needs a type and the fields of that type ` +
          `(use the constructors of agent-layers/services/Item)`
      ))
    }
    try {
      const entry = JSON.stringify(item)
      if (!isPlain(item) && Result.isFailure(decode(entry))) {
        return Result.fail(invalidInput(`items[${index}] is no longer an item when it is written as JSON`))
      }
      entries.push(entry)
    } catch (error) {
      return Result.fail(invalidInput(`items[${index}] cannot be written as JSON: ${messageOf(error)}`))
    }
  }
  return Result.succeed(entries)
}

/** @internal */
export const decode = (entry: string): Result.Result<Item, string> => {
  const value = fromJson(entry)
  if (Result.isFailure(value)) return Result.fail("not JSON")
  return isItem(value.success) ? Result.succeed(value.success) : Result.fail("not an item")
}

const corrupt = (position: number, description: string) => new SessionError.CorruptItem({ position, description })

/** Leaves `undefined` where an entry was skipped. `base` is the position of the first entry in what is read. */
const decodeEach = (
  entries: ReadonlyArray<string>,
  onCorrupt: "fail" | "skip",
  base: number
): Effect.Effect<ReadonlyArray<Item | undefined>, SessionErrorReason> =>
  Effect.forEach(entries, (entry, index) => {
    const item = decode(entry)
    if (Result.isSuccess(item)) return Effect.succeed(item.success)
    const position = base + index
    return onCorrupt === "fail"
      ? Effect.fail(corrupt(position, item.failure))
      : Effect.as(
        Effect.logWarning(`Left out a stored item that cannot be read: position ${position}, ${item.failure}`),
        undefined
      )
  })

/**
 * Parsing one array is several times faster than parsing each entry; damage is then looked for entry by entry.
 *
 * @internal
 */
export const decodeAll = (
  entries: ReadonlyArray<string>,
  onCorrupt: "fail" | "skip"
): Effect.Effect<ReadonlyArray<Item>, SessionErrorReason> => {
  const whole = fromJson(`[${entries.join(",")}]`)
  if (Result.isSuccess(whole)) {
    const items = whole.success as ReadonlyArray<unknown>
    if (items.length === entries.length && items.every(isItem)) return Effect.succeed(items)
  }
  return Effect.map(decodeEach(entries, onCorrupt, 0), (items) => items.filter((item) => item !== undefined))
}

const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error)

const unavailable = (cause: unknown, isWrite: boolean): SessionErrorReason =>
  new SessionError.Unavailable({
    description: `The store failed: ${messageOf(cause)}`,
    isOutcomeUnknown: isWrite,
    cause
  })

const toReason = (error: unknown, isWrite: boolean): SessionErrorReason =>
  SessionError.isSessionErrorReason(error)
    ? error
    : SessionError.isSessionError(error)
    ? error.reason
    : unavailable(error, isWrite)

/** Runs a primitive so that whatever goes wrong in it is a reason. */
const call = <A>(
  primitive: () => Effect.Effect<A, unknown>,
  isWrite: boolean
): Effect.Effect<A, SessionErrorReason> =>
  Effect.catchCause(Effect.suspend(primitive), (cause) => {
    const failure = cause.reasons.find(Cause.isFailReason)
    if (failure !== undefined) return Effect.fail(toReason(failure.error, isWrite))
    const defect = cause.reasons.find(Cause.isDieReason)
    return defect === undefined
      ? Effect.failCause(cause as Cause.Cause<never>)
      : Effect.fail(toReason(defect.defect, isWrite))
  })

/** @internal */
export const make = (primitives: Primitives, options: MakeOptions = {}) => {
  const { backend } = primitives
  const onCorrupt = options.onCorruptItem ?? "fail"
  const commitTimeout = options.commitTimeout ?? "30 seconds"
  const hasVersions = primitives.versions === true

  const operation = <A>(
    name: string,
    id: string | undefined,
    effect: Effect.Effect<A, SessionErrorReason>
  ): Effect.Effect<A, SessionError.SessionError> => {
    const conversation = id === undefined ? undefined : { conversationId: id }
    const refused = id === undefined ? undefined : checkId("conversation id", id)
    return Tracer.withSpan(
      Effect.mapError(
        refused === undefined ? effect : Effect.fail(refused),
        (reason) => new SessionError.SessionError({ backend, operation: name, ...conversation, reason })
      ),
      () => ({ _tag: "Session" as const, backend, operation: name, ...conversation })
    )
  }

  const unsupported = (name: string, id?: string) =>
    operation(
      name,
      id,
      Effect.fail(new SessionError.Unsupported({ description: `The ${backend} session has no ${name}` }))
    )

  /**
   * Finishes when interrupted: only the timeout cuts it short. The primitive has a fiber of its own, so that one that
   * cannot be interrupted does not hold its caller beyond the timeout.
   */
  const commit = <A>(primitive: () => Effect.Effect<A, unknown>): Effect.Effect<A, SessionErrorReason> =>
    Effect.uninterruptible(
      Effect.flatMap(
        Effect.forkDetach(call(primitive, true), { startImmediately: true }),
        (fiber) =>
          fiber.pollUnsafe() ?? Effect.timeoutOrElse(Fiber.join(fiber), {
            duration: commitTimeout,
            orElse: () => {
              fiber.interruptUnsafe()
              return Effect.fail(
                new SessionError.Unavailable({
                  description: "The commit did not finish in time",
                  isOutcomeUnknown: true
                })
              )
            }
          })
      )
    )

  const loadItems = (id: string, { known, maxItems }: LoadOptions = {}) => {
    if (maxItems !== undefined && Number.isNaN(maxItems)) {
      return operation("loadItems", id, invalid("maxItems is NaN; pass a number of items"))
    }
    if (known !== undefined && !isVersion(known)) {
      return operation("loadItems", id, invalid(`known is ${known}; pass a version, a whole number from 0`))
    }
    const limit = maxItems === undefined || maxItems > Number.MAX_SAFE_INTEGER
      ? undefined
      : Math.max(0, Math.floor(maxItems))
    return operation(
      "loadItems",
      id,
      Effect.flatMap(
        call(() => primitives.load(id, { maxItems: limit, known: hasVersions ? known : undefined }), false),
        ({ entries, isSuffix = false, version = 0 }) => {
          const isCut = limit !== undefined && entries.length > limit
          const latest = isCut ? entries.slice(entries.length - limit) : entries
          return Effect.map(decodeAll(latest, onCorrupt), (items): Loaded => ({
            items,
            version,
            isSuffix: isSuffix && !isCut
          }))
        }
      )
    )
  }

  const checkSave = (save: SaveOptions): SessionErrorReason | undefined => {
    const { expectedVersion, meta, operationId } = save
    if (operationId !== undefined) {
      if (primitives.operations !== true) {
        return new SessionError.Unsupported({
          description: `The ${backend} session remembers no operation ids; save without operationId`
        })
      }
      const refused = checkId("operation id", operationId)
      if (refused !== undefined) return refused
    }
    if (expectedVersion !== undefined) {
      if (!hasVersions) {
        return new SessionError.Unsupported({
          description: `The ${backend} session has no versions; save without expectedVersion`
        })
      }
      if (!isVersion(expectedVersion)) {
        return invalidInput(`expectedVersion is ${expectedVersion}; pass a version, a whole number from 0`)
      }
    }
    return meta === undefined || isMeta(meta)
      ? undefined
      : invalidInput("meta takes runId, agent and provider, each a string")
  }

  const saveNothing = (id: string, expected: number | undefined): Effect.Effect<Saved, SessionErrorReason> =>
    Effect.flatMap(
      call(() => primitives.load(id, { maxItems: 0, known: undefined }), false),
      ({ version = 0 }) =>
        expected === undefined || expected === version
          ? Effect.succeed({ version })
          : Effect.fail(new SessionError.VersionConflict({ expected, actual: version }))
    )

  const saveItems = (id: string, items: ReadonlyArray<Item>, save: SaveOptions = {}) =>
    operation(
      "saveItems",
      id,
      Clock.clockWith((clock) => {
        const refused = checkSave(save)
        if (refused !== undefined) return Effect.fail(refused)
        const encoded = encode(items)
        if (Result.isFailure(encoded)) return Effect.fail(encoded.failure)
        if (encoded.success.length === 0) return saveNothing(id, save.expectedVersion)
        const content: Commit = {
          entries: encoded.success,
          operationId: save.operationId,
          fingerprint: save.operationId === undefined ? undefined : save.fingerprint ?? fingerprintOf(items),
          expectedVersion: save.expectedVersion,
          meta: save.meta,
          savedAt: clock.currentTimeMillisUnsafe()
        }
        // A primitive without versions may answer with anything: its type says void.
        return Effect.map(
          commit(() => primitives.save(id, content)),
          (saved): Saved => hasVersions && saved ? { version: saved.version } : { version: 0 }
        )
      })
    )

  const rewrite = (
    id: string,
    { items, through }: { readonly through: number; readonly items: ReadonlyArray<Item> }
  ): Effect.Effect<Saved, SessionError.SessionError> =>
    primitives.rewrite === undefined
      ? unsupported("rewrite", id)
      : operation(
        "rewrite",
        id,
        Effect.gen(function*() {
          if (!isVersion(through)) {
            return yield* invalid(`through is ${through}; pass a version, a whole number from 0`)
          }
          const entries = yield* Effect.fromResult(encode(items))
          const savedAt = yield* Clock.currentTimeMillis
          return yield* commit(() => primitives.rewrite!(id, { through, entries, savedAt }))
        })
      )

  const popItem = (
    id: string,
    { check: refuse }: PopOptions = {}
  ): Effect.Effect<Item | undefined, SessionError.SessionError> =>
    primitives.pop === undefined
      ? unsupported("popItem", id)
      : operation(
        "popItem",
        id,
        Effect.gen(function*() {
          const savedAt = yield* Clock.currentTimeMillis
          let popped: Item | undefined
          const check = (entry: string): SessionErrorReason | undefined => {
            const item = decode(entry)
            if (Result.isFailure(item)) return corrupt(0, item.failure)
            popped = item.success
            return refuse?.(popped)
          }
          const entry = yield* commit(() => primitives.pop!(id, check, savedAt))
          return entry === undefined ? undefined : popped
        })
      )

  const clear = (id: string): Effect.Effect<void, SessionError.SessionError> =>
    primitives.clear === undefined
      ? unsupported("clear", id)
      : operation(
        "clear",
        id,
        Effect.flatMap(Clock.currentTimeMillis, (savedAt) => commit(() => primitives.clear!(id, savedAt)))
      )

  const records = (
    id: string,
    { after }: { readonly after?: string | undefined } = {}
  ): Stream.Stream<Record, SessionError.SessionError> =>
    Stream.unwrap(Effect.sync(() => {
      const { page } = primitives
      if (page === undefined) return Stream.fromEffect(unsupported("records", id))
      const start = after === undefined ? undefined : /^(\d{1,15})\.(\d{1,15})$/.exec(after)
      if (start === null) {
        return Stream.fromEffect(operation("records", id, invalid(`"${after}" is not a cursor of this session`)))
      }
      let epoch = start === undefined ? undefined : Number(start[1])
      let position = 0
      return Stream.paginate(start === undefined ? 0 : Number(start[2]), (sequence) =>
        operation(
          "records",
          id,
          Effect.gen(function*() {
            const { epoch: current, rows } = yield* call(() => page(id, { after: sequence, limit: pageSize }), false)
            if (epoch !== undefined && current !== epoch) {
              return yield* new SessionError.CursorExpired({ cursor: `${epoch}.${sequence}` })
            }
            epoch = current
            const items = yield* decodeEach(rows.map((row) => row.entry), onCorrupt, position)
            position += rows.length
            const found: Array<Record> = []
            rows.forEach(({ commit, meta, savedAt, sequence }, index) => {
              const item = items[index]
              if (item === undefined) return
              const cursor = `${current}.${sequence}`
              found.push({ item, commit, savedAt, cursor, ...(meta === undefined ? undefined : { meta }) })
            })
            const last = rows.at(-1)
            const next = last !== undefined && rows.length === pageSize ? Option.some(last.sequence) : Option.none()
            return [found, next] as const
          })
        ))
    }))

  const conversations = (
    { prefix = "" }: { readonly prefix?: string | undefined } = {}
  ): Stream.Stream<Conversation, SessionError.SessionError> => {
    const { list } = primitives
    if (list === undefined) return Stream.fromEffect(unsupported("conversations"))
    return Stream.paginate(undefined as string | undefined, (after) =>
      operation(
        "conversations",
        undefined,
        Effect.map(call(() => list({ prefix, after, limit: pageSize }), false), (found) => {
          const next = found.length === pageSize ? Option.some(found.at(-1)!.id) : Option.none()
          return [found, next] as const
        })
      ))
  }

  const { maintain } = primitives
  const capabilities: Capabilities = {
    versions: hasVersions,
    operations: primitives.operations ?? false,
    rewrite: primitives.rewrite !== undefined,
    list: primitives.list !== undefined,
    anyItem: primitives.anyItem ?? true
  }
  return {
    loadItems,
    saveItems,
    rewrite,
    popItem,
    clear,
    records,
    conversations,
    maintain: (id: string, options: MaintainOptions = {}) =>
      maintain === undefined ? Effect.void : operation("maintain", id, commit(() => maintain(id, options))),
    capabilities
  }
}
