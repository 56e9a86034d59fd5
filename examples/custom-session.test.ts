/** A Layer as the fixture of a test, then the laws of Session over it. */
import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Item, Session } from "agent-layers"
import { Law, SessionLaws } from "agent-layers/testing"
import { Context, Effect, FileSystem, Layer } from "effect"
import { SessionFiles } from "./custom-session.ts"

const folder = FileSystem.FileSystem.use((fs) => fs.makeTempDirectoryScoped())
const Fixture = Layer.unwrap(Effect.map(folder, SessionFiles)).pipe(Layer.provideMerge(NodeServices.layer))

const subject: SessionLaws.SessionSubject = {
  open: Effect.never,
  capabilities: { versions: true, operations: false, rewrite: false, list: false, anyItem: true },
  lacks: ["popItem", "clear", "records"],
  canReopen: true
}

layer(Fixture, { excludeTestServices: true })("SessionFiles", (it) => {
  it.effect("gives back what was saved", () =>
    Effect.gen(function*() {
      const session = yield* Session.Session
      yield* session.saveItems("ada", [Item.user("Hello!")])
      assert.deepStrictEqual((yield* session.loadItems("ada")).items, [Item.user("Hello!")])
    }))

  // The others are about what two functions cannot do.
  for (const law of SessionLaws.all.filter((law) => law.missing?.(subject) === undefined)) {
    it.effect(law.name, () =>
      Effect.gen(function*() {
        const files = Layer.fresh(SessionFiles(yield* folder).pipe(Layer.provide(NodeServices.layer)))
        const open = Effect.map(Layer.build(files), Context.get(Session.Session))
        const outcome = yield* Law.verify(law, { ...subject, open })
        assert.strictEqual(outcome._tag, "Held", outcome._tag === "Broken" ? outcome.report : "")
      }))
  }
})
