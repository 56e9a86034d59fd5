/**
 * A session of one's own: a JSON file for each conversation, in effect's FileSystem. Its test is custom-session.test.ts.
 *
 * To see a compile error, take `Effect.provide(NodeServices.layer), ` away: `FileSystem` is missing.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Agent, ModelScripted, Runner, Session, SessionError } from "agent-layers"
import { Console, Effect, FileSystem, Layer, Ref, Schema, Semaphore } from "effect"

const Conversation = Schema.fromJsonString(Schema.Struct({ version: Schema.Int, entries: Schema.Array(Schema.String) }))

/** One write at a time in this program; programs that share a folder need a lock that they share too. */
const writing = Semaphore.makeUnsafe(1)

export const SessionFiles = (folder: string) =>
  Layer.effect(
    Session.Session,
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const isOpen = yield* Effect.acquireRelease(Ref.make(true), (isOpen) => Ref.set(isOpen, false))
      // Any id as names that are short enough, without dots: no file is where another id needs a folder.
      const fileOf = (id: string) =>
        `${folder}/${encodeURIComponent(id).replaceAll(".", "%2E").replaceAll(/.{200}(?=.)/g, "$&/")}.json`

      const load = Effect.fnUntraced(function*(id: string) {
        if (!(yield* Ref.get(isOpen))) return yield* new SessionError.Closed({})
        if (!(yield* fs.exists(fileOf(id)))) return { version: 0, entries: [] }
        return yield* Schema.decodeEffect(Conversation)(yield* fs.readFileString(fileOf(id)))
      })
      const save = Effect.fnUntraced(function*(id: string, { entries, expectedVersion: expected }: Session.Commit) {
        const { entries: before, version: actual } = yield* load(id)
        if (expected !== undefined && expected !== actual) {
          return yield* new SessionError.VersionConflict({ expected, actual })
        }
        const after = { version: actual + 1, entries: [...before, ...entries] }
        yield* fs.makeDirectory(fileOf(id).replace(/[^/]*$/, ""), { recursive: true })
        yield* fs.writeFileString(`${fileOf(id)}.new`, yield* Schema.encodeEffect(Conversation)(after))
        yield* fs.rename(`${fileOf(id)}.new`, fileOf(id))
        return after
      }, writing.withPermit)
      return Session.make({ backend: "files", versions: true, load, save })
    })
  )

const program = Effect.gen(function*() {
  const folder = yield* FileSystem.FileSystem.use((fs) => fs.makeTempDirectoryScoped())
  const ask = (text: string) => Runner.run(Agent.make({ name: "friend" }), text, { conversationId: "ada" })
  for (const question of ["I am Ada.", "Who am I?"]) {
    const { finalOutput, version } = yield* Effect.provide(ask(question), [Model, SessionFiles(folder)])
    yield* Console.log(`${question} ${finalOutput} (version ${version})`)
  }
})

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer(({ input }) => ModelScripted.text(input.length === 1 ? "Hello!" : "You are Ada."))

if (import.meta.main) program.pipe(Effect.scoped, Effect.provide(NodeServices.layer), NodeRuntime.runMain)
