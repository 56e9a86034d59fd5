// The agent of examples/hello.ts, as plain JavaScript: nothing is compiled when it starts.
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
})

const Model = ModelScripted.layer([ModelScripted.text("A Layer is a recipe for a service.")])

program.pipe(Effect.provide(Model), NodeRuntime.runMain)
