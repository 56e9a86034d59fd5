import type { Template } from "./scaffoldTemplate.ts"

/** Written for the name `acme`, which becomes the one that is asked for. */
export const session: Template = {
  module: "SessionAcme",
  description: "Conversations in a store of its own: JSON files in a folder.",
  settings: `{}`,
  source: `/**
 * Conversations as files: a JSON document for each, in one folder.
 *
 * Programs that share the folder need a lock that they share too; within one program writes take turns.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Session from "agent-layers/services/Session"
import * as SessionError from "agent-layers/services/SessionError"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"

export interface Options {
  /** Where the files are. It is made where it is missing. */
  readonly folder: string
}

const Conversation = Schema.fromJsonString(Schema.Struct({
  version: Schema.Int,
  entries: Schema.Array(Schema.String)
}))

const writing = Semaphore.makeUnsafe(1)

/** \`Session.make\` adds what all sessions share: encoding, checks, typed errors, commits that finish when interrupted. */
export const make = Effect.fnUntraced(function*(
  { folder }: Options
): Effect.fn.Return<Session.Session["Service"], never, FileSystem.FileSystem | Path.Path | Scope.Scope> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const isOpen = yield* Effect.acquireRelease(Ref.make(true), (isOpen) => Ref.set(isOpen, false))

  // Any id as names that are short enough, without dots: no file is where another id needs a folder.
  const fileOf = (id: string) =>
    path.join(folder, encodeURIComponent(id).replaceAll(".", "%2E").replaceAll(/.{200}(?=.)/g, "$&/") + ".json")

  const load = Effect.fnUntraced(function*(id: string) {
    if (!(yield* Ref.get(isOpen))) return yield* new SessionError.Closed({})
    const file = fileOf(id)
    if (!(yield* fs.exists(file))) return { version: 0, entries: [] }
    return yield* Schema.decodeEffect(Conversation)(yield* fs.readFileString(file))
  })

  const save = Effect.fnUntraced(function*(id: string, { entries, expectedVersion: expected }: Session.Commit) {
    const { entries: before, version: actual } = yield* load(id)
    if (expected !== undefined && expected !== actual) {
      return yield* new SessionError.VersionConflict({ expected, actual })
    }
    const after = { version: actual + 1, entries: [...before, ...entries] }
    const file = fileOf(id)
    yield* fs.makeDirectory(path.dirname(file), { recursive: true })
    yield* fs.writeFileString(file + ".new", yield* Schema.encodeEffect(Conversation)(after))
    yield* fs.rename(file + ".new", file)
    return { version: after.version }
  }, writing.withPermit)

  // Each primitive that you add, such as \`pop\`, \`clear\` or \`list\`, adds its capability.
  return Session.make({ backend: "acme", versions: true, load, save })
})

export const layer = (options: Options): Layer.Layer<Session.Session> =>
  Layer.effect(Session.Session, make(options)).pipe(Layer.provide(NodeServices.layer))
`,
  extension: `import * as Extension from "agent-layers/services/Extension"
import * as Setting from "agent-layers/services/Setting"
import * as SessionAcme from "./SessionAcme.ts"

export default Extension.make({
  kind: "session",
  name: "acme",
  version: "0.1.0",
  compatibleWith: "@COMPATIBLE@",
  description: "@DESCRIPTION@",
  config: {
    folder: Setting.text("The folder that the conversations are in.", { default: ".acme" })
  },
  layer: SessionAcme.layer
})
`,
  testName: "laws",
  test: `/** The laws of Session, over this one. */
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Session from "agent-layers/services/Session"
import { Law, SessionLaws } from "agent-layers/testing"
import { Context, Effect, FileSystem, Layer } from "effect"
import * as SessionAcme from "../src/SessionAcme.ts"

const temporary = FileSystem.FileSystem.use((fs) => fs.makeTempDirectoryScoped())

const subject = (folder: string): SessionLaws.SessionSubject => ({
  open: Effect.map(Layer.build(Layer.fresh(SessionAcme.layer({ folder }))), Context.get(Session.Session)),
  capabilities: { versions: true, operations: false, rewrite: false, list: false, anyItem: true },
  // What is added to the session is taken out here, and its laws are shown.
  lacks: ["popItem", "clear", "records"],
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

  it.live("most of them are shown", () =>
    Effect.sync(() => {
      const shown = SessionLaws.all.filter((law) => law.missing?.(subject("unused")) === undefined)
      assert.isAtLeast(shown.length, 20)
    }))
})
`
}
