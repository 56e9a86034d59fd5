/** Decorators over each other: what `Session.wrap` builds keeps the laws of sessions, or cannot be built. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import type * as Law from "agent-layers/services/laws/Law"
import { all, type SessionSubject } from "agent-layers/services/laws/SessionLaws"
import { SessionError } from "agent-layers/services/SessionError"
import { Effect, Exit, Scope } from "effect"
import * as path from "node:path"
import type { TestContext } from "vitest"
import { campaign } from "../../support/campaign.ts"
import { verify } from "../../support/laws.ts"
import { decorated, deepStacks, isAllowed, nameOf, pairs, type Stack } from "../../support/session/decorators.ts"
import { memorySubject, sqliteSubject, temporaryFolder } from "../../support/session/subjects.ts"

const scope = Scope.makeUnsafe()
const folder = Effect.runSync(Scope.provide(temporaryFolder, scope))
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const outage = "While the store takes no writes they fail with Unavailable, and a retry stores once"

/** Hundreds of writes each, which a decorator alone has to do in its own test. */
const large = new Set([
  "A commit of a thousand items keeps their order",
  "Operation ids are remembered for 7 days and for the latest 1,000 of a conversation",
  "Records are read in pages without gaps and without repeats",
  "Conversations are listed by id, in pages without gaps and without repeats",
  "Writers at once lose nothing, and their commits do not mix"
])

const keepsTheLaws = (
  test: TestContext,
  stack: Stack,
  backend: SessionSubject,
  laws: ReadonlyArray<Law.Law<SessionSubject>>,
  notShown: ReadonlyArray<string>
) =>
  Effect.gen(function*() {
    const subject = yield* decorated(stack, backend)
    for (const law of laws) {
      const outcome = yield* verify(test, law, subject)
      if (outcome._tag === "Broken") assert.fail(outcome.report)
      assert.strictEqual(outcome._tag, notShown.includes(law.name) ? "NotShown" : "Held", law.name)
    }
  })

const chosen = campaign(all.filter((law) => !large.has(law.name)), all)

describe("every pair of decorators over memory", () => {
  for (const pair of pairs.filter(isAllowed)) {
    it.live(
      `${nameOf(pair, "memory")} keeps the laws`,
      (test) => Effect.flatMap(memorySubject, (backend) => keepsTheLaws(test, pair, backend, chosen, [outage])),
      60_000
    )
  }

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

describe("deep stacks", () => {
  for (const [index, stack] of deepStacks.entries()) {
    it.live(
      `${nameOf(stack, "memory")} keeps the laws`,
      (test) => Effect.flatMap(memorySubject, (backend) => keepsTheLaws(test, stack, backend, all, [outage])),
      60_000
    )
    it.live(
      `${nameOf(stack, "sqlite")} keeps the laws`,
      (test) => keepsTheLaws(test, stack, sqliteSubject(path.join(folder, `${index}.db`)), all, []),
      120_000
    )
  }
})
