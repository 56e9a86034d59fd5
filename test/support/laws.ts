import { assert, describe, it } from "@effect/vitest"
import type * as Law from "agent-layers/services/laws/Law"
import * as Laws from "agent-layers/services/laws/Law"
import { Effect } from "effect"
import type { TestContext } from "vitest"

/** What a test saw of a law, for the table of `npm run laws`. */
export interface Verified {
  readonly law: string
  readonly outcome: Law.Outcome["_tag"]
  /** What the subject lacks for a law that is not shown. */
  readonly missing?: string
}

declare module "vitest" {
  interface TaskMeta {
    laws?: Array<Verified>
  }
}

/** Checks a law and notes what came of it with the test. */
export const verify = <S>(test: TestContext, law: Law.Law<S>, subject: S): Effect.Effect<Law.Outcome> =>
  Effect.tap(Laws.verify(law, subject), (outcome) =>
    Effect.sync(() => {
      const missing = outcome._tag === "NotShown" ? { missing: outcome.missing } : {}
      const laws = test.task.meta.laws ??= []
      laws.push({ law: law.name, outcome: outcome._tag, ...missing })
    }))

/**
 * A test for each law. `notShown` lists the laws (by name) that this subject cannot show; a law that is not in the
 * list must hold, and one that is in it must indeed be out of the subject's reach.
 */
export const describeLaws = <S>(
  name: string,
  laws: ReadonlyArray<Law.Law<S>>,
  subject: S,
  options: { readonly notShown?: ReadonlyArray<string>; readonly timeout?: number } = {}
) =>
  describe(`laws: ${name}`, () => {
    for (const law of laws) {
      const isShown = !(options.notShown ?? []).includes(law.name)
      it.live(isShown ? law.name : `${law.name} (not shown)`, (test) =>
        Effect.gen(function*() {
          const outcome = yield* verify(test, law, subject)
          if (outcome._tag === "Broken") assert.fail(outcome.report)
          assert.strictEqual(outcome._tag, isShown ? "Held" : "NotShown", law.name)
        }), { timeout: options.timeout ?? 30_000 })
    }
    it("names only laws that exist", () => {
      for (const law of options.notShown ?? []) assert.include(laws.map((one) => one.name), law)
    })
  })
