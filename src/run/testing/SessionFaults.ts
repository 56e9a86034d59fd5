/**
 * A session in which things go wrong as a script says: the double to show what a program does when its store is slow,
 * away, written to by somebody else, or stored a commit whose answer never arrived. What is stored is stored by a real
 * session inside, so that what a program reads afterwards is what it would find.
 *
 * ```ts
 * const session = SessionFaults.layerMemory([
 *   SessionFaults.loseAnswer("saveItems"),
 *   SessionFaults.delay("loadItems", "2 seconds", { nth: 3 })
 * ])
 * ```
 *
 * A fault that hit nothing when the Layer closes is a defect that names it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as SessionMemory from "../../layers/session/SessionMemory.ts"
import type { Item } from "../../services/Item.ts"
import * as Items from "../../services/Item.ts"
import { Session } from "../../services/Session.ts"
import type { SessionErrorReason } from "../../services/SessionError.ts"
import { Unavailable } from "../../services/SessionError.ts"
import type { Call, Fault, Operation, Where } from "./internal/faulty.ts"
import * as internal from "./internal/faulty.ts"

export type { Call, Fault, Operation, Where } from "./internal/faulty.ts"

/**
 * The script in progress. Every member looks at it as it stands at that moment.
 *
 * @category services
 * @since 0.1.0
 */
export class SessionFaults extends Context.Service<SessionFaults, {
  readonly session: Session["Service"]
  /** Every call so far, oldest first, those included that nothing hit. */
  readonly calls: Effect.Effect<ReadonlyArray<Call>>
  /** How many faults have hit nothing yet. */
  readonly remaining: Effect.Effect<number>
  /** Adds faults; their calls are counted from now. */
  readonly add: (...faults: ReadonlyArray<Fault>) => Effect.Effect<void>
  /** Dies where faults have hit nothing, and lists them. */
  readonly assertDone: Effect.Effect<void>
}>()("agent-layers/run/testing/SessionFaults") {}

/**
 * The call fails, and changes nothing. Default: `Unavailable`, its outcome known.
 *
 * @category faults
 * @since 0.1.0
 */
export const fail = (
  operation: Operation,
  options: Where & { readonly reason?: SessionErrorReason | undefined } = {}
): Fault => {
  const { reason = new Unavailable({ description: "the store is away", isOutcomeUnknown: false }), ...where } = options
  return { ...where, operation, does: { _tag: "Fail", reason } }
}

/**
 * The call begins later, by the clock of the program.
 *
 * @category faults
 * @since 0.1.0
 */
export const delay = (operation: Operation, duration: Duration.Input, where: Where = {}): Fault => ({
  ...where,
  operation,
  does: { _tag: "Delay", duration }
})

/**
 * The call never answers; it can be interrupted.
 *
 * @category faults
 * @since 0.1.0
 */
export const hang = (operation: Operation, where: Where = {}): Fault => ({
  ...where,
  operation,
  does: { _tag: "Hang" }
})

/**
 * Somebody else commits to the conversation just before the save, which then fails with `VersionConflict` by itself. A
 * save that expects no version meets no conflict: that is a defect.
 *
 * @category faults
 * @since 0.1.0
 */
export const conflict = (
  options: Where & {
    /** What the other one commits. Default: one message of a user. */
    readonly items?: ReadonlyArray<Item> | undefined
  } = {}
): Fault => {
  const { items = [Items.user("(somebody else)")], ...where } = options
  return { ...where, operation: "saveItems", does: { _tag: "Conflict", items } }
}

/**
 * The call is carried out, and its answer lost: `Unavailable`, with an unknown outcome where it writes. A stream is lost
 * after its last element.
 *
 * @category faults
 * @since 0.1.0
 */
export const loseAnswer = (operation: Operation, where: Where = {}): Fault => ({
  ...where,
  operation,
  does: { _tag: "LoseAnswer" }
})

/**
 * Faults over a session. When the scope closes after a success and faults have hit nothing, that is a defect that lists
 * them; after a failure it stays silent, so that the program's own error stays catchable.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  session: Session["Service"],
  script: ReadonlyArray<Fault> = []
): Effect.Effect<SessionFaults["Service"], never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => internal.makeUnsafe(session, script)),
    (faults, exit) => exit._tag === "Success" ? faults.assertDone : Effect.void
  )

/**
 * Faults over the session that is there, of whatever backend.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (script: ReadonlyArray<Fault> = []): Layer.Layer<Session | SessionFaults, never, Session> =>
  Layer.effectContext(Effect.gen(function*() {
    const faults = yield* make(yield* Session, script)
    return Context.make(SessionFaults, faults).pipe(Context.add(Session, faults.session))
  }))

/**
 * Faults over conversations in memory, which are this Layer's own or those of `options.store`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory = (
  script: ReadonlyArray<Fault> = [],
  options: SessionMemory.Options = {}
): Layer.Layer<Session | SessionFaults> => Layer.provide(layer(script), SessionMemory.layerWith(options))

/**
 * Every call so far, oldest first.
 *
 * @category accessors
 * @since 0.1.0
 */
export const calls: Effect.Effect<ReadonlyArray<Call>, never, SessionFaults> = SessionFaults.use((faults) =>
  faults.calls
)

/**
 * Adds faults to the script; their calls are counted from now.
 *
 * @category accessors
 * @since 0.1.0
 */
export const add = (...faults: ReadonlyArray<Fault>): Effect.Effect<void, never, SessionFaults> =>
  SessionFaults.use((script) => script.add(...faults))

/**
 * Dies where faults have hit nothing: for tests whose Layer outlives them.
 *
 * @category accessors
 * @since 0.1.0
 */
export const assertDone: Effect.Effect<void, never, SessionFaults> = SessionFaults.use((faults) => faults.assertDone)
