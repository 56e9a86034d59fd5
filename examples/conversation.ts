/**
 * A conversation that outlives the program: the second run goes on where the first one stopped.
 *
 * Each `ask` below opens the database, runs the agent and closes the database, as two starts of a program would.
 * To see a compile error, take `, SessionSqlite.layer({ filename })` away: `Session` is missing.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Agent, Item, ModelScripted, Runner } from "agent-layers"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import { Console, Effect, FileSystem, Path } from "effect"

const Friend = Agent.make({ name: "friend", instructions: "You remember who you talk to." })

const program = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const filename = path.join(yield* fs.makeTempDirectoryScoped(), "conversations.db")

  const ask = (question: string) =>
    Runner.run(Friend, question, { conversationId: "ada" }).pipe(
      Effect.provide([Model, SessionSqlite.layer({ filename })])
    )

  const first = yield* ask("I am Ada.")
  const second = yield* ask("Who am I?")
  for (const item of second.items) yield* Console.log(Item.text(item))
  yield* Console.log(`version ${first.version}, then ${second.version}`)
})

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer(({ input }) => ModelScripted.text(input.length === 1 ? "Hello!" : "You are Ada."))

program.pipe(Effect.scoped, Effect.provide(NodeServices.layer), NodeRuntime.runMain)
