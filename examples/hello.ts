/**
 * An agent answers a question.
 *
 * An agent is a value, a model is a Layer, and what is missing is in the type. Modules of effect are imported one by one,
 * which starts faster than `from "effect"`.
 * To see a compile error, take `Effect.provide(Model), ` away: `ModelProvider` is missing.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Agent, ModelScripted, Runner } from "agent-layers"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"

const Guide = Agent.make({
  name: "guide",
  instructions: "You explain Effect to newcomers, in one sentence."
})

const program = Effect.gen(function*() {
  const result = yield* Runner.run(Guide, "What is a Layer?")
  yield* Console.log(result.finalOutput)
  yield* Console.log(`(${result.turns} turn, ${result.usage.totalTokens} tokens)`)
})

// With a key, this line instead; the rest stays as it is:
// const Model = ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([ModelScripted.text("A Layer is a recipe for a service.")])

program.pipe(Effect.provide(Model), NodeRuntime.runMain)
