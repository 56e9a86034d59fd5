/**
 * What every `Session` promises, as runnable checks: over a backend, over a decorator on another session, over a live
 * store. An author of a layer runs them with `Law.verify`, in a test or from a program.
 *
 * @since 0.1.0
 */
import { changeLaws } from "./internal/sessionChangeLaws.ts"
import { commitLaws } from "./internal/sessionCommitLaws.ts"
import { contentLaws } from "./internal/sessionContentLaws.ts"
import type { DecoratorSubject } from "./internal/sessionDecoratorLaws.ts"
import { decoratorLaws } from "./internal/sessionDecoratorLaws.ts"
import { lifeLaws } from "./internal/sessionLifeLaws.ts"
import { readingLaws } from "./internal/sessionReadingLaws.ts"
import type { SessionSubject } from "./internal/sessionSubject.ts"
import type { Law } from "./Law.ts"

export type { DecoratorSubject } from "./internal/sessionDecoratorLaws.ts"
export type { SessionFaults, SessionSubject } from "./internal/sessionSubject.ts"

/**
 * Every law of sessions. Each uses conversation ids of its own, so that all of them can share a store. A law about
 * something that the subject lacks counts as not shown.
 *
 * @category laws
 * @since 0.1.0
 */
export const all: ReadonlyArray<Law<SessionSubject>> = [
  ...contentLaws,
  ...commitLaws,
  ...changeLaws,
  ...readingLaws,
  ...lifeLaws
]

/**
 * The laws about how a decorator calls the session below it. A decorator keeps the laws of `all` too.
 *
 * @category laws
 * @since 0.1.0
 */
export const decorating: ReadonlyArray<Law<DecoratorSubject>> = decoratorLaws
