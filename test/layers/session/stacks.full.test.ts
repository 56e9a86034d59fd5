/** Every pair of decorators over each other, and deep stacks over a file, keep the laws of sessions. */
import { afterAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import * as path from "node:path"
import { deepStacks, isAllowed, nameOf, pairs } from "../../support/session/decorators.ts"
import { outageLaw } from "../../support/session/lawsOver.ts"
import { keepsTheLaws } from "../../support/session/stackLaws.ts"
import { memorySubject, sqliteSubject, temporaryFolder } from "../../support/session/subjects.ts"

const scope = Scope.makeUnsafe()
const folder = Effect.runSync(Scope.provide(temporaryFolder, scope))
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

describe("every pair of decorators over memory", () => {
  for (const pair of pairs.filter(isAllowed)) {
    it.live(
      `${nameOf(pair, "memory")} keeps the laws`,
      (test) => Effect.flatMap(memorySubject, (backend) => keepsTheLaws(test, pair, backend, [outageLaw])),
      120_000
    )
  }
})

describe("deep stacks over a file", () => {
  for (const [index, stack] of deepStacks.entries()) {
    it.live(
      `${nameOf(stack, "sqlite")} keeps the laws`,
      (test) => keepsTheLaws(test, stack, sqliteSubject(path.join(folder, `${index}.db`))),
      120_000
    )
  }
})
