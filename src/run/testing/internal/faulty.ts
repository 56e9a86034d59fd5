import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Item } from "../../../services/Item.ts"
import type { Session } from "../../../services/Session.ts"
import type { SessionErrorReason } from "../../../services/SessionError.ts"
import { SessionError, Unavailable } from "../../../services/SessionError.ts"

/**
 * A member of the session that a fault can hit.
 *
 * @category models
 * @since 0.1.0
 */
export type Operation =
  | "loadItems"
  | "saveItems"
  | "rewrite"
  | "popItem"
  | "clear"
  | "records"
  | "conversations"
  | "maintain"

/**
 * One call that was made, whether or not a fault hit it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Call {
  readonly operation: Operation
  readonly conversationId: string | undefined
  /** Of a save. */
  readonly operationId: string | undefined
  /** The faults that hit it, in words. */
  readonly faults: ReadonlyArray<string>
}

/**
 * Which call a fault hits.
 *
 * @category options
 * @since 0.1.0
 */
export interface Where {
  /**
   * Counted from 1 over the calls that match, since the Layer was built. A list hits several.
   * @default 1
   */
  readonly nth?: number | ReadonlyArray<number> | undefined
  /** Only calls about this conversation match. Absent: all do. */
  readonly conversationId?: string | undefined
}

/**
 * Something that goes wrong, once for each `nth`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Fault extends Where {
  readonly operation: Operation
  readonly does:
    | { readonly _tag: "Fail"; readonly reason: SessionErrorReason }
    | { readonly _tag: "Delay"; readonly duration: Duration.Input }
    | { readonly _tag: "Hang" }
    | { readonly _tag: "Conflict"; readonly items: ReadonlyArray<Item> }
    | { readonly _tag: "LoseAnswer" }
}

interface Armed {
  readonly fault: Fault
  readonly left: Set<number>
  seen: number
}

const backend = "faulty"

const words = ({ does }: Fault): string => {
  switch (does._tag) {
    case "Fail":
      return `fail with ${does.reason._tag}`
    case "Delay":
      return `delay of ${Duration.format(Duration.fromInputUnsafe(does.duration))}`
    case "Hang":
      return "hang"
    case "Conflict":
      return "conflict"
    case "LoseAnswer":
      return "loseAnswer"
  }
}

const title = ({ fault }: Armed, nth: number): string =>
  `${words(fault)} at ${fault.operation} number ${nth}` +
  (fault.conversationId === undefined ? "" : ` of "${fault.conversationId}"`)

const wrong = (description: string) => Effect.die(new Error(`SessionFaults: ${description}`))

export const makeUnsafe = (inner: Session["Service"], script: ReadonlyArray<Fault>) => {
  const calls: Array<Call> = []
  const armed: Array<Armed> = []

  const arm = (faults: ReadonlyArray<Fault>) => {
    for (const fault of faults) {
      armed.push({ fault, left: new Set([fault.nth ?? 1].flat()), seen: 0 })
    }
  }
  arm(script)

  /** What hits this call, in the order of the script. Counts it. */
  const hitting = (
    operation: Operation,
    conversationId: string | undefined,
    operationId?: string
  ): ReadonlyArray<Fault> => {
    const hits = armed.filter((one) => {
      if (one.fault.operation !== operation) return false
      if (one.fault.conversationId !== undefined && one.fault.conversationId !== conversationId) return false
      one.seen++
      return one.left.delete(one.seen)
    }).map(({ fault }) => fault)
    calls.push({ operation, conversationId, operationId, faults: hits.map(words) })
    return hits
  }

  const failed = (operation: Operation, conversationId: string | undefined, reason: SessionErrorReason) =>
    new SessionError({
      backend,
      operation,
      reason,
      ...(conversationId === undefined ? undefined : { conversationId })
    })

  /** What goes wrong before the call reaches the session. */
  const before = (
    operation: Operation,
    conversationId: string | undefined,
    hits: ReadonlyArray<Fault>,
    expectsVersion: boolean
  ): Effect.Effect<void, SessionError> =>
    Effect.forEach(hits, ({ does }) => {
      switch (does._tag) {
        case "Fail":
          return Effect.fail(failed(operation, conversationId, does.reason))
        case "Delay":
          return Effect.sleep(does.duration)
        case "Hang":
          return Effect.never
        case "Conflict":
          if (!expectsVersion || conversationId === undefined) {
            return wrong(`a save that expects no version meets no conflict; pass expectedVersion`)
          }
          return inner.saveItems(conversationId, does.items)
        case "LoseAnswer":
          return Effect.void
      }
    }, { discard: true })

  const lost = (operation: Operation, conversationId: string | undefined) =>
    failed(
      operation,
      conversationId,
      new Unavailable({
        description: "the connection was lost before the answer came",
        isOutcomeUnknown: operation === "saveItems" || operation === "rewrite" || operation === "popItem" ||
          operation === "clear"
      })
    )

  const around = <A>(
    operation: Operation,
    conversationId: string | undefined,
    effect: Effect.Effect<A, SessionError>,
    save?: { readonly operationId: string | undefined; readonly expectedVersion: number | undefined }
  ): Effect.Effect<A, SessionError> =>
    Effect.suspend(() => {
      const hits = hitting(operation, conversationId, save?.operationId)
      if (hits.length === 0) return effect
      const answered = Effect.andThen(
        before(operation, conversationId, hits, save?.expectedVersion !== undefined),
        effect
      )
      return hits.some(({ does }) => does._tag === "LoseAnswer")
        ? Effect.andThen(answered, Effect.fail(lost(operation, conversationId)))
        : answered
    })

  const aroundStream = <A>(
    operation: Operation,
    conversationId: string | undefined,
    stream: Stream.Stream<A, SessionError>
  ): Stream.Stream<A, SessionError> =>
    Stream.suspend(() => {
      const hits = hitting(operation, conversationId)
      if (hits.length === 0) return stream
      const begun = Stream.unwrap(Effect.as(before(operation, conversationId, hits, false), stream))
      return hits.some(({ does }) => does._tag === "LoseAnswer")
        ? Stream.concat(begun, Stream.fail(lost(operation, conversationId)))
        : begun
    })

  const session: Session["Service"] = {
    capabilities: inner.capabilities,
    loadItems: (id, options) => around("loadItems", id, inner.loadItems(id, options)),
    saveItems: (id, items, options) =>
      around("saveItems", id, inner.saveItems(id, items, options), {
        operationId: options?.operationId,
        expectedVersion: options?.expectedVersion
      }),
    rewrite: (id, options) => around("rewrite", id, inner.rewrite(id, options)),
    popItem: (id, options) => around("popItem", id, inner.popItem(id, options)),
    clear: (id) => around("clear", id, inner.clear(id)),
    records: (id, options) => aroundStream("records", id, inner.records(id, options)),
    conversations: (options) => aroundStream("conversations", undefined, inner.conversations(options)),
    maintain: (id, options) => around("maintain", id, inner.maintain(id, options))
  }

  const left = () => armed.flatMap((one) => Array.from(one.left, (nth) => `${title(one, nth)} (of ${one.seen})`))

  return {
    session,
    calls: Effect.sync((): ReadonlyArray<Call> => [...calls]),
    remaining: Effect.sync(() => left().length),
    add: (...faults: ReadonlyArray<Fault>) => Effect.sync(() => arm(faults)),
    assertDone: Effect.suspend(() => {
      const open = left()
      return open.length === 0 ? Effect.void : wrong(
        `${open.length} of the script's faults hit nothing:\n${open.map((line) => `  ${line}`).join("\n")}`
      )
    })
  }
}
