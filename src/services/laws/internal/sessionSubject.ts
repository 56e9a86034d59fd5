import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Item } from "../../Item.ts"
import { user } from "../../Item.ts"
import type { Capabilities, Session } from "../../Session.ts"
import type { SessionErrorReason } from "../../SessionError.ts"
import * as SessionError from "../../SessionError.ts"
import type { Law } from "../Law.ts"
import { equal, failure, LawBroken } from "../Law.ts"

/**
 * What can be made to go wrong in a store from outside, so that laws can show what a session does then.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionFaults {
  /** Damages the last item that is stored for a conversation, so that it is no item any more. */
  readonly corruptLast?: ((id: string) => Effect.Effect<void, unknown>) | undefined
  /** The store takes no writes until the scope closes. */
  readonly outage?: Effect.Effect<void, unknown, Scope.Scope> | undefined
}

/**
 * What session laws are run over: a store that can be opened.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionSubject {
  /** Opens a session. Where `canReopen`, all of them show one store. */
  readonly open: Effect.Effect<Session["Service"], unknown, Scope.Scope>
  /** What the session is said to be able to do. */
  readonly capabilities: Capabilities
  /** Whether the store outlives a session and several can be open on it. */
  readonly canReopen: boolean
  /** Members that this session does not have; each must fail with `Unsupported`. */
  readonly lacks?: ReadonlyArray<"popItem" | "clear" | "records"> | undefined
  readonly faults?: SessionFaults | undefined
  /**
   * Stands before every conversation id. A store that is not empty, or that laws are run over again, needs another
   * one each time.
   *
   * @default "laws/"
   */
  readonly prefix?: string | undefined
}

/** @internal */
export type Need = keyof Capabilities | "popItem" | "clear" | "records" | "canReopen" | keyof SessionFaults

const lacking = (subject: SessionSubject, need: Need): string | undefined => {
  switch (need) {
    case "popItem":
    case "clear":
    case "records":
      return subject.lacks?.includes(need) === true ? `it has no ${need}` : undefined
    case "canReopen":
      return subject.canReopen ? undefined : "it cannot be opened again"
    case "corruptLast":
    case "outage":
      return subject.faults?.[need] === undefined ? `it cannot produce the fault ${need}` : undefined
    default:
      return subject.capabilities[need] ? undefined : `it lacks the capability ${need}`
  }
}

/** @internal */
export interface Bench {
  readonly session: Session["Service"]
  /** A conversation id of this law alone. */
  readonly id: (name?: string) => string
  readonly subject: SessionSubject
  /** Another session on the same store where there can be one, else the same one. */
  readonly other: Effect.Effect<Session["Service"], unknown, Scope.Scope>
}

/** A failure that a law does not expect, told as the laws tell theirs. */
const unexpected = (error: unknown): LawBroken =>
  error instanceof LawBroken ? error : new LawBroken({
    operation: SessionError.isSessionError(error)
      ? `${error.operation}${error.conversationId === undefined ? "" : `("${error.conversationId}")`}`
      : "an operation",
    expected: "success",
    got: SessionError.isSessionError(error) ? `${error.reason._tag}: ${error.message}` : String(error)
  })

/**
 * @param key Part of the law's conversation ids.
 *
 * @internal
 */
export const law = (
  key: string,
  name: string,
  needs: ReadonlyArray<Need>,
  check: (bench: Bench) => Effect.Effect<void, unknown, Scope.Scope>
): Law<SessionSubject> => ({
  name,
  missing: (subject) => needs.map((need) => lacking(subject, need)).find((reason) => reason !== undefined),
  check: (subject) =>
    Effect.mapError(
      Effect.flatMap(subject.open, (session) =>
        check({
          session,
          id: (name = "a") => `${subject.prefix ?? "laws/"}${key}/${name}`,
          subject,
          other: subject.canReopen ? subject.open : Effect.succeed(session)
        })),
      unexpected
    )
})

/** @internal */
export const texts = (...all: ReadonlyArray<string>): ReadonlyArray<Item> => all.map((text) => user(text))

/** @internal */
export const many = (count: number, name = "item"): ReadonlyArray<Item> =>
  texts(...Array.from({ length: count }, (_, index) => `${name} ${index}`))

/** @internal */
export const json = (value: unknown): string => JSON.stringify(value)

const maxShown = 2_000

/** Items as JSON, so that a report shows them and key order counts. */
const show = (items: ReadonlyArray<Item>): string => {
  const all = json(items)
  return all.length <= maxShown ? all : `${all.slice(0, maxShown)}… (${all.length} characters)`
}

/** @internal */
export const sameItems = (
  operation: string,
  got: ReadonlyArray<Item>,
  expected: ReadonlyArray<Item>
): Effect.Effect<void, LawBroken> =>
  json(got) === json(expected)
    ? Effect.void
    : Effect.fail(new LawBroken({ operation, expected: show(expected), got: show(got) }))

/**
 * What a conversation holds must be these items, and where it is given this version.
 *
 * @internal
 */
export const contains = (
  { session, subject }: { readonly session: Session["Service"]; readonly subject: SessionSubject },
  id: string,
  expected: ReadonlyArray<Item>,
  version?: number
): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const loaded = yield* session.loadItems(id)
    yield* sameItems(`loadItems("${id}")`, loaded.items, expected)
    if (version !== undefined && subject.capabilities.versions) {
      yield* equal(`the version of loadItems("${id}")`, loaded.version, version)
    }
  })

/**
 * The effect must fail with a `SessionError` of this reason, which is given.
 *
 * @internal
 */
export const refused = <Tag extends SessionErrorReason["_tag"], A, E, R>(
  operation: string,
  tag: Tag,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Extract<SessionErrorReason, { readonly _tag: Tag }>, LawBroken, R> =>
  Effect.flatMap(
    failure(operation, `SessionError ${tag}`, effect),
    (error) =>
      SessionError.isSessionError(error) && error.reason._tag === tag
        ? Effect.succeed(error.reason as Extract<SessionErrorReason, { readonly _tag: Tag }>)
        : Effect.fail(new LawBroken({ operation, expected: `SessionError ${tag}`, got: String(error) }))
  )

/**
 * Runs an effect with a clock that stands still; sleeping is as ever.
 *
 * @internal
 */
export const at = <A, E, R>(millis: number, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Clock.Clock, (clock) =>
    Effect.provideService(effect, Clock.Clock, {
      currentTimeMillisUnsafe: () => millis,
      currentTimeMillis: Effect.succeed(millis),
      currentTimeNanosUnsafe: () => BigInt(millis) * 1_000_000n,
      currentTimeNanos: Effect.succeed(BigInt(millis) * 1_000_000n),
      monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
      monotonicTimeNanos: clock.monotonicTimeNanos,
      sleep: (duration) => clock.sleep(duration)
    }))

/** @internal */
export const records = (session: Session["Service"], id: string, after?: string) =>
  Stream.runCollect(session.records(id, { after }))

/** @internal */
export const conversations = (session: Session["Service"], prefix: string) =>
  Stream.runCollect(session.conversations({ prefix }))
