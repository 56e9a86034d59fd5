/**
 * An answer that is decoded by a Schema, and the error for one that does not fit.
 *
 * The provider gets the Schema as JSON Schema; the result has its decoded type.
 * To see a compile error, replace `task.due.toISOString()` by `task.due.trim()`: a `Date` has no such method.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, ModelScripted, Runner } from "agent-layers"
import { Console, Effect, Schema } from "effect"

const Task = Schema.Struct({
  title: Schema.String,
  due: Schema.DateFromString,
  priority: Schema.Literals(["low", "high"])
})

const Planner = Agent.make({ name: "planner", instructions: "You turn sentences into tasks.", output: Task })

const plan = Effect.fn("plan")(
  function*(sentence: string) {
    const { finalOutput: task } = yield* Runner.run(Planner, sentence)
    return `${task.title}, due ${task.due.toISOString()}, ${task.priority} priority`
  },
  Effect.catchReason("RunError", "InvalidFinalOutput", (reason) => Effect.succeed(`no task in "${reason.text}"`))
)

const program = Effect.gen(function*() {
  yield* Console.log(yield* plan("Ship it by Friday!"))
  yield* Console.log(yield* plan("Hello."))
})

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([
  ModelScripted.text(`{"title":"Ship it","due":"2026-11-27T17:00:00.000Z","priority":"high"}`),
  ModelScripted.text(`{"title":"Hello"}`)
])

program.pipe(Effect.provide(Model), NodeRuntime.runMain)
