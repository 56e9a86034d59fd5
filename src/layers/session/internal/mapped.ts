import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as internal from "../../../services/internal/session.ts"
import type { Item } from "../../../services/Item.ts"
import type { Capabilities, Record, SaveOptions, Session } from "../../../services/Session.ts"
import * as SessionError from "../../../services/SessionError.ts"

type Service = Session["Service"]
type Reason = SessionError.SessionErrorReason

/** What a conversation's items become on the way to the store, and back. One item stays one item. */
export interface Mapping {
  /** The item, and the JSON text that is to come back byte for byte. */
  readonly close: (entry: string, item: Item) => Result.Result<Item, Reason>
  /** `position` counts from 0 in what is read. */
  readonly open: (item: Item, position: number) => Result.Result<Item, Reason>
  /** Of the content, whatever `close` makes of it. */
  readonly fingerprint: (fingerprint: string) => string
}

export interface Options {
  /** Names the decorator in errors. */
  readonly name: string
  readonly capabilities: Capabilities
  readonly inner: Service
  readonly mapping: (id: string) => Mapping
  /** What reading does with what cannot be opened. */
  readonly onClosed: "fail" | "skip"
}

/** @internal */
export const failure = (
  backend: string,
  operation: string,
  conversationId: string,
  reason: Reason
): SessionError.SessionError => new SessionError.SessionError({ backend, operation, conversationId, reason })

/**
 * A session whose items are others in the store. What cannot be opened is never popped and never rewritten.
 *
 * @internal
 */
export const make = ({ capabilities, inner, mapping, name, onClosed }: Options): Service => {
  const on = <A>(
    operation: string,
    id: string,
    use: (mapping: Mapping) => Effect.Effect<A, Reason | SessionError.SessionError>
  ): Effect.Effect<A, SessionError.SessionError> =>
    Effect.suspend(() => {
      const refused = internal.checkId("conversation id", id)
      return Effect.mapError(
        refused === undefined ? use(mapping(id)) : Effect.fail(refused),
        (error) => SessionError.isSessionError(error) ? error : failure(name, operation, id, error)
      )
    })

  const close = (items: ReadonlyArray<Item>, { close }: Mapping): Result.Result<ReadonlyArray<Item>, Reason> =>
    Result.flatMap(internal.encode(items), (entries) => {
      const closed: Array<Item> = []
      for (let index = 0; index < entries.length; index++) {
        const item = close(entries[index]!, items[index]!)
        if (Result.isFailure(item)) return Result.fail(item.failure)
        closed.push(item.success)
      }
      return Result.succeed(closed)
    })

  const warn = (id: string, reasons: ReadonlyArray<Reason>) =>
    reasons.length === 0
      ? Effect.void
      : Effect.logWarning(
        `Left out ${reasons.length} stored items of "${id}" that cannot be opened (${name}): ${reasons[0]!.message}`
      )

  /** Leaves `undefined` where an item was skipped. */
  const open = (id: string, items: ReadonlyArray<Item>, { open }: Mapping, base = 0) =>
    Effect.suspend(() => {
      const opened: Array<Item | undefined> = []
      const reasons: Array<Reason> = []
      for (let index = 0; index < items.length; index++) {
        const item = open(items[index]!, base + index)
        if (Result.isSuccess(item)) opened.push(item.success)
        else if (onClosed === "fail") return Effect.fail(item.failure)
        else {
          reasons.push(item.failure)
          opened.push(undefined)
        }
      }
      return Effect.as(warn(id, reasons), opened)
    })

  const isThere = <A>(a: A | undefined): a is A => a !== undefined

  const loadItems: Service["loadItems"] = (id, options) =>
    on(
      "loadItems",
      id,
      (mapping) =>
        Effect.flatMap(inner.loadItems(id, options), (loaded) =>
          Effect.map(open(id, loaded.items, mapping), (items) => ({ ...loaded, items: items.filter(isThere) })))
    )

  const fingerprinted = (
    items: ReadonlyArray<Item>,
    { fingerprint }: Mapping,
    options: SaveOptions = {}
  ): SaveOptions =>
    options.operationId === undefined || items.length === 0
      ? options
      : { ...options, fingerprint: fingerprint(options.fingerprint ?? internal.fingerprintOf(items)) }

  const saveItems: Service["saveItems"] = (id, items, options) =>
    on("saveItems", id, (mapping) =>
      Effect.flatMap(
        Effect.fromResult(close(items, mapping)),
        (closed) => inner.saveItems(id, closed, fingerprinted(items, mapping, options))
      ))

  /** Whoever rewrites has not seen what was left out: it would be lost. */
  const refuseLoss = (id: string, { open }: Mapping) =>
    Effect.flatMap(inner.loadItems(id), ({ items }) => {
      for (let index = 0; index < items.length; index++) {
        const item = open(items[index]!, index)
        if (Result.isFailure(item)) return Effect.fail(item.failure)
      }
      return Effect.void
    })

  const rewrite: Service["rewrite"] = (id, { items, through }) =>
    on("rewrite", id, (mapping) =>
      Effect.flatMap(
        Effect.fromResult(close(items, mapping)),
        (closed) => Effect.andThen(refuseLoss(id, mapping), inner.rewrite(id, { through, items: closed }))
      ))

  const popItem: Service["popItem"] = (id, options) =>
    on("popItem", id, (mapping) => {
      let opened: Item | undefined
      let unopened: Reason | undefined
      const check = (item: Item): Reason | undefined => {
        const result = mapping.open(item, 0)
        if (Result.isFailure(result)) return unopened = result.failure
        opened = result.success
        return options?.check?.(opened)
      }
      return Effect.mapBoth(inner.popItem(id, { check }), {
        onSuccess: (popped) => popped && opened,
        onFailure: (error) => unopened ?? error
      })
    })

  const records: Service["records"] = (id, options) =>
    Stream.suspend(() => {
      const refused = internal.checkId("conversation id", id)
      if (refused !== undefined) return Stream.fail(failure(name, "records", id, refused))
      const one = mapping(id)
      let position = 0
      return inner.records(id, options).pipe(
        Stream.mapArrayEffect((records) =>
          Effect.mapBoth(open(id, records.map(({ item }) => item), one, position), {
            onSuccess: (items) => {
              position += records.length
              return Arr.map(records, (record, index): Record | undefined => {
                const item = items[index]
                return item === undefined ? undefined : { ...record, item }
              })
            },
            onFailure: (reason) => failure(name, "records", id, reason)
          })
        ),
        Stream.filter(isThere)
      )
    })

  return {
    capabilities,
    loadItems,
    saveItems,
    rewrite,
    popItem,
    records,
    clear: inner.clear,
    conversations: inner.conversations,
    maintain: inner.maintain
  }
}

/** @internal */
export const refuseOption = (backend: string, description: string) =>
  Effect.fail(
    new SessionError.SessionError({
      backend,
      operation: "open",
      reason: new SessionError.InvalidInput({ description })
    })
  )

/** @internal */
export const refuseStack = (backend: string, description: string) =>
  Effect.fail(
    new SessionError.SessionError({
      backend,
      operation: "open",
      reason: new SessionError.Unsupported({ description })
    })
  )

/**
 * Whether the items of a session may be hidden from it.
 *
 * @internal
 */
export const requireHidable = (name: string, { capabilities }: Service) =>
  !capabilities.anyItem
    ? refuseStack(name, `The session below does not keep items of any type, so that nothing can be ${name} in it`)
    : capabilities.readsItems === true
    ? refuseStack(
      name,
      `A layer below looks into items (as SessionCompacted does), and could not when they are ${name}: put it outside, ` +
        "before this one in a list"
    )
    : Effect.void
