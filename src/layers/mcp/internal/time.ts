// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import * as timers from "node:timers/promises"

/** Real time, also where the program runs under a test clock: what is waited for is another process. */
export const pause = (millis: number): Effect.Effect<void> =>
  Effect.promise((signal) => timers.setTimeout(millis, undefined, { signal }).catch(() => {}))

/** Does something later, unless the process has ended by then. */
export const later = (millis: number, f: () => void): void => {
  void timers.setTimeout(millis, undefined, { ref: false }).then(f)
}
