/** Decorators over each other: what `Session.wrap` builds keeps the laws of sessions, or cannot be built. */
import { assert, describe, it } from "@effect/vitest"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import { decorating } from "agent-layers/services/laws/SessionLaws"
import { SessionError } from "agent-layers/services/SessionError"
import { Effect, Layer } from "effect"
import { describeLaws } from "../../support/laws.ts"
import { decorated, decorators, deepStacks, isAllowed, nameOf, pairs } from "../../support/session/decorators.ts"
import { outageLaw } from "../../support/session/lawsOver.ts"
import { keepsTheLaws } from "../../support/session/stackLaws.ts"
import { memorySubject } from "../../support/session/subjects.ts"

for (const { make, name } of decorators) {
  const decorator = Layer.suspend(Effect.runSync(make))
  describeLaws(`what ${name} owes the session below`, decorating, { decorator, below: SessionMemory.make() })
}

describe("deep stacks over memory", () => {
  for (const stack of deepStacks) {
    it.live(
      `${nameOf(stack, "memory")} keeps the laws`,
      (test) => Effect.flatMap(memorySubject, (backend) => keepsTheLaws(test, stack, backend, [outageLaw])),
      120_000
    )
  }
})

describe("every pair of decorators over memory", () => {
  for (const pair of pairs.filter((pair) => !isAllowed(pair))) {
    it.effect(`${nameOf(pair, "memory")} is refused`, () =>
      Effect.gen(function*() {
        const subject = yield* decorated(pair, yield* memorySubject)
        const error = yield* Effect.flip(Effect.scoped(subject.open))
        assert.instanceOf(error, SessionError)
        assert.strictEqual(error.reason._tag, "Unsupported")
        assert.strictEqual(error.operation, "open")
      }))
  }

  it("are more than can be refused", () => assert.isAbove(pairs.filter(isAllowed).length, 40))
})
