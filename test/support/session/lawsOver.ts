/** The laws over one decorator: on memory, and on a file. */
import type { SessionSubject } from "agent-layers/services/laws/SessionLaws"
import { Effect, Exit, Scope } from "effect"
import * as path from "node:path"
import { afterAll } from "vitest"
import { decorated, decorators } from "./decorators.ts"
import { memorySubject, sqliteSubject, temporaryFolder } from "./subjects.ts"

export const outageLaw = "While the store takes no writes they fail with Unavailable, and a retry stores once"

/** The subjects of the decorator of that name, for `describeLaws`. */
export const subjectsOf = (name: string): { readonly memory: SessionSubject; readonly sqlite: SessionSubject } => {
  const decorator = decorators.find((one) => one.name === name)
  if (decorator === undefined) throw new Error(`no decorator ${name}`)
  const scope = Scope.makeUnsafe()
  const folder = Effect.runSync(Scope.provide(temporaryFolder, scope))
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  return {
    memory: Effect.runSync(decorated([decorator], Effect.runSync(memorySubject))),
    sqlite: Effect.runSync(decorated([decorator], sqliteSubject(path.join(folder, "laws.db"))))
  }
}
