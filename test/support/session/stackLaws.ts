/** The laws over stacks of decorators. */
import { assert } from "@effect/vitest"
import { all, type SessionSubject } from "agent-layers/services/laws/SessionLaws"
import { Effect } from "effect"
import type { TestContext } from "vitest"
import { verify } from "../laws.ts"
import { decorated, type Stack } from "./decorators.ts"

/** Checks every law of sessions over a stack on a backend. `notShown` lists the laws that the backend cannot show. */
export const keepsTheLaws = (
  test: TestContext,
  stack: Stack,
  backend: SessionSubject,
  notShown: ReadonlyArray<string> = []
) =>
  Effect.gen(function*() {
    const subject = yield* decorated(stack, backend)
    for (const law of all) {
      const outcome = yield* verify(test, law, subject)
      if (outcome._tag === "Broken") assert.fail(outcome.report)
      assert.strictEqual(outcome._tag, notShown.includes(law.name) ? "NotShown" : "Held", law.name)
    }
  })
