/**
 * A run as a tree: turns, model calls, tools, with times, tokens and errors.
 *
 * Tracers are Layers that a run does not require: without one no span is made. Each of several sees every span.
 * To see a compile error, take `, TracerMemory.layer` away: `TracerMemory` is missing, because the program reads it.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, ModelScripted, Runner, TracerMemory } from "agent-layers"
import * as TracerConsole from "agent-layers/layers/tracer/TracerConsole"
import { Console, Effect, Layer, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"

const Weather = Toolkit.make(
  Tool.make("weather", {
    parameters: Schema.Struct({ city: Schema.String }),
    success: Schema.String,
    failure: Schema.String
  })
)

const Handlers = Weather.toLayer({
  weather: ({ city }) =>
    city === "Paris" ? Effect.delay(Effect.succeed("sunny"), "10 millis") : Effect.fail(`no station in ${city}`)
})

const Forecaster = Agent.make({ name: "forecaster", toolkit: Weather })

const program = Effect.gen(function*() {
  yield* Runner.run(Forecaster, "Paris and Atlantis?", { trace: { workflowName: "forecast", groupId: "ada" } })
  const { spans } = yield* TracerMemory.TracerMemory
  yield* Console.log(`${(yield* spans).length} spans, in memory too`)
})

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([
  ModelScripted.calls([
    { name: "weather", arguments: { city: "Paris" } },
    { name: "weather", arguments: { city: "Atlantis" } }
  ]),
  ModelScripted.text("Paris is sunny. Atlantis has no station.", { usage: { inputTokens: 60, outputTokens: 9 } })
])

const Tracers = Layer.merge(TracerConsole.layer(), TracerMemory.layer)

program.pipe(Effect.provide([Handlers, Model, Tracers]), NodeRuntime.runMain)
