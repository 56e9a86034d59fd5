import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Digest from "effect/crypto/Digest"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Item } from "../Item.ts"
import { isItem } from "../Item.ts"
import type { Loaded, MakeOptions, Primitives, Record, Saved, Session } from "../Session.ts"
import type { SessionErrorReason } from "../SessionError.ts"
import * as SessionError from "../SessionError.ts"
import * as Tracer from "../Tracer.ts"

const fromJson = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))
const toJson = Schema.encodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

const pageSize = 256

const canonical = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(canonical)
  if (typeof value !== "object" || value === null) return value
  const sorted: { [key: string]: unknown } = Object.create(null)
  for (const key of Object.keys(value).sort()) sorted[key] = canonical((value as { [key: string]: unknown })[key])
  return sorted
}

const textEncoder = new TextEncoder()

/** A fingerprint tells an honest retry from a mistake, which needs no resistance to an attacker. */
const fingerprintOf = (items: ReadonlyArray<Item>): string =>
  Hex.encode(Digest.md5.implementation!(textEncoder.encode(Result.getOrThrow(toJson(canonical(items))))))

const invalid = (description: string) => Effect.fail(new SessionError.InvalidInput({ description }))

const encode = (items: ReadonlyArray<Item>): Result.Result<ReadonlyArray<string>, SessionErrorReason> => {
  const entries: Array<string> = []
  for (let index = 0; index < items.length; index++) {
    const item = items[index]
    if (!isItem(item)) {
      return Result.fail(
        new SessionError.InvalidInput({
          description: `items[${index}] is not an item: it needs a type and the fields of that type ` +
            `(use the constructors of agent-layers/services/Item)`
        })
      )
    }
    const entry = toJson(item)
    if (Result.isFailure(entry)) {
      return Result.fail(
        new SessionError.InvalidInput({ description: `items[${index}] cannot be written as JSON: ${entry.failure.message}` })
      )
    }
    entries.push(entry.success)
  }
  return Result.succeed(entries)
}

const decode = (entry: string): Result.Result<Item, string> => {
  const value = fromJson(entry)
  if (Result.isFailure(value)) return Result.fail("not JSON")
  return isItem(value.success) ? Result.succeed(value.success) : Result.fail("not an item")
}

const corrupt = (position: number, description: string) => new SessionError.CorruptItem({ position, description })

/** Parsing one array is several times faster than parsing each entry; damage is then looked for entry by entry. */
const decodeAll = (
  entries: ReadonlyArray<string>,
  onCorrupt: "fail" | "skip"
): Effect.Effect<ReadonlyArray<Item>, SessionErrorReason> => {
  const whole = fromJson(`[${entries.join(",")}]`)
  if (Result.isSuccess(whole)) {
    const items = whole.success as ReadonlyArray<unknown>
    if (items.length === entries.length && items.every(isItem)) return Effect.succeed(items)
  }
  return Effect.gen(function*() {
    const items: Array<Item> = []
    for (let position = 0; position < entries.length; position++) {
      const item = decode(entries[position]!)
      if (Result.isSuccess(item)) items.push(item.success)
      else if (onCorrupt === "fail") return yield* corrupt(position, item.failure)
      else yield* Effect.logWarning(`Left out a stored item that cannot be read: position ${position}, ${item.failure}`)
    }
    return items
  })
}

const unavailable = (cause: unknown, isWrite: boolean): SessionErrorReason =>
  new SessionError.Unavailable({
    description: `The store failed: ${cause instanceof Error ? cause.message : String(cause)}`,
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
export const make = (primitives: Primitives, options: MakeOptions = {}): Session["Service"] => {
  const { backend } = primitives
  const onCorrupt = options.onCorruptItem ?? "fail"
  const commitTimeout = options.commitTimeout ?? "30 seconds"

  const operation = <A>(
    name: string,
    id: string | undefined,
    effect: Effect.Effect<A, SessionErrorReason>
  ): Effect.Effect<A, SessionError.SessionError> => {
    const conversation = id === undefined ? undefined : { conversationId: id }
    return Tracer.withSpan(
      Effect.mapError(
        id === "" ? invalid("The conversation id is empty") : effect,
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

  /** Finishes when interrupted: only the timeout may cut it short. */
  const commit = <A>(primitive: () => Effect.Effect<A, unknown>): Effect.Effect<A, SessionErrorReason> =>
    Effect.uninterruptible(Effect.timeoutOrElse(Effect.interruptible(call(primitive, true)), {
      duration: commitTimeout,
      orElse: () =>
        Effect.fail(
          new SessionError.Unavailable({ description: "The commit did not finish in time", isOutcomeUnknown: true })
        )
    }))

  const loadItems: Session["Service"]["loadItems"] = (id, { known, maxItems } = {}) =>
    operation(
      "loadItems",
      id,
      maxItems !== undefined && Number.isNaN(maxItems)
        ? invalid("maxItems is NaN; pass a number of items")
        : Effect.flatMap(
          call(() =>
            primitives.load(id, {
              maxItems: maxItems === undefined || maxItems === Infinity ? undefined : Math.max(0, Math.floor(maxItems)),
              known: primitives.versions === true ? known : undefined
            }), false),
          ({ entries, isSuffix, version }) =>
            Effect.map(decodeAll(entries, onCorrupt), (items): Loaded => ({
              items,
              version: version ?? 0,
              isSuffix: isSuffix ?? false
            }))
        )
    )

  const saveItems: Session["Service"]["saveItems"] = (id, items, save = {}) =>
    operation(
      "saveItems",
      id,
      Effect.gen(function*() {
        if (save.operationId !== undefined && primitives.operations !== true) {
          return yield* new SessionError.Unsupported({
            description: `The ${backend} session remembers no operation ids; save without operationId`
          })
        }
        if (save.expectedVersion !== undefined && primitives.versions !== true) {
          return yield* new SessionError.Unsupported({
            description: `The ${backend} session has no versions; save without expectedVersion`
          })
        }
        const entries = yield* Effect.fromResult(encode(items))
        if (entries.length === 0) {
          const current = yield* call(() => primitives.load(id, { maxItems: 0, known: undefined }), false)
          return { version: current.version ?? 0 }
        }
        const savedAt = yield* Clock.currentTimeMillis
        const saved = yield* commit(() =>
          primitives.save(id, {
            entries,
            operationId: save.operationId,
            fingerprint: save.operationId === undefined ? undefined : save.fingerprint ?? fingerprintOf(items),
            expectedVersion: save.expectedVersion,
            meta: save.meta,
            savedAt
          })
        )
        return (saved ?? { version: 0 }) satisfies Saved
      })
    )

  const rewrite: Session["Service"]["rewrite"] = (id, { items, through }) =>
    primitives.rewrite === undefined
      ? unsupported("rewrite", id)
      : operation(
        "rewrite",
        id,
        Effect.gen(function*() {
          if (!Number.isInteger(through) || through < 0) {
            return yield* invalid(`through is ${through}; pass a version, a whole number from 0`)
          }
          const entries = yield* Effect.fromResult(encode(items))
          const savedAt = yield* Clock.currentTimeMillis
          return yield* commit(() => primitives.rewrite!(id, { through, entries, savedAt }))
        })
      )

  const popItem: Session["Service"]["popItem"] = (id) =>
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
            return undefined
          }
          const entry = yield* commit(() => primitives.pop!(id, check, savedAt))
          return entry === undefined ? undefined : popped
        })
      )

  const clear: Session["Service"]["clear"] = (id) =>
    primitives.clear === undefined
      ? unsupported("clear", id)
      : operation(
        "clear",
        id,
        Effect.flatMap(Clock.currentTimeMillis, (savedAt) => commit(() => primitives.clear!(id, savedAt)))
      )

  const records: Session["Service"]["records"] = (id, { after } = {}) =>
    Stream.unwrap(Effect.sync(() => {
      const { page } = primitives
      if (page === undefined) return Stream.fromEffect(unsupported("records", id))
      const start = after === undefined ? undefined : /^(\d+)\.(\d+)$/.exec(after)
      if (start === null) {
        return Stream.fromEffect(operation("records", id, invalid(`"${after}" is not a cursor of this session`)))
      }
      let epoch = start === undefined ? undefined : Number(start[1])
      return Stream.paginate(start === undefined ? 0 : Number(start[2]), (sequence) =>
        operation(
          "records",
          id,
          Effect.gen(function*() {
            const { epoch: current, rows } = yield* call(() => page(id, { after: sequence, limit: pageSize }), false)
            if (epoch !== undefined && current !== epoch) {
              return yield* new SessionError.CursorExpired({ cursor: after ?? `${epoch}.${sequence}` })
            }
            epoch = current
            const found: Array<Record> = []
            for (const row of rows) {
              const [item] = yield* decodeAll([row.entry], onCorrupt)
              if (item === undefined) continue
              found.push({
                item,
                commit: row.commit,
                savedAt: row.savedAt,
                cursor: `${current}.${row.sequence}`,
                ...(row.meta === undefined ? undefined : { meta: row.meta })
              })
            }
            const last = rows.at(-1)
            const next = last !== undefined && rows.length === pageSize ? Option.some(last.sequence) : Option.none()
            return [found, next] as const
          })
        ))
    }))

  const conversations: Session["Service"]["conversations"] = ({ prefix = "" } = {}) => {
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
  return {
    loadItems,
    saveItems,
    rewrite,
    popItem,
    clear,
    records,
    conversations,
    maintain: (id) =>
      maintain === undefined ? Effect.void : operation("maintain", id, commit(() => maintain(id))),
    capabilities: {
      versions: primitives.versions ?? false,
      operations: primitives.operations ?? false,
      rewrite: primitives.rewrite !== undefined,
      list: primitives.list !== undefined,
      anyItem: primitives.anyItem ?? true
    }
  }
}
