/** The laws of Session, over Acme's store. */
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Session from "agent-layers/services/Session"
import { Law, SessionLaws } from "agent-layers/testing"
import { Context, Effect, FileSystem, Layer } from "effect"
import * as SessionAcme from "../src/SessionAcme.ts"

const temporary = FileSystem.FileSystem.use((fs) => fs.makeTempDirectoryScoped())

const subject = (folder: string): SessionLaws.SessionSubject => ({
  open: Effect.map(Layer.build(Layer.fresh(SessionAcme.layer({ folder }))), Context.get(Session.Session)),
  capabilities: { versions: true, operations: true, rewrite: false, list: true, anyItem: true },
  lacks: ["popItem", "records"],
  canReopen: true
})

describe("the laws of Session", () => {
  for (const law of SessionLaws.all) {
    it.live(law.name, () =>
      Effect.gen(function*() {
        const outcome = yield* Law.verify(law, subject(yield* temporary))
        if (outcome._tag === "Broken") assert.fail(outcome.report)
      }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)), 30_000)
  }

  it("are shown but for those of what it declines", () => {
    const shown = SessionLaws.all.filter((law) => law.missing?.(subject("unused")) === undefined)
    assert.isAtLeast(shown.length, 35)
  })
})
