/**
 * A run that tells what it does while it does it; who leaves early interrupts it.
 *
 * To see a compile error, replace `event.delta` by `event.result`: a `"TextDelta"` has no result.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, ModelScripted, Runner } from "agent-layers"
import { Console, Effect, Stream } from "effect"

const Poet = Agent.make({ name: "poet", instructions: "You answer in verse." })

const program = Effect.gen(function*() {
  yield* Runner.stream(Poet, "Write two lines").pipe(
    Stream.runForEach((event) => {
      switch (event._tag) {
        case "TextDelta":
          return Console.log(`| ${event.delta}`)
        case "Completed":
          return Console.log(`completed after ${event.result.usage.outputTokens} tokens`)
        default:
          return Effect.void
      }
    })
  )

  const heard = yield* Runner.stream(Poet, "Write two more").pipe(
    Stream.filter((event) => event._tag === "TextDelta"),
    Stream.take(1),
    Stream.runCollect
  )
  const aborted = yield* ModelScripted.aborted
  yield* Console.log(`left after ${heard.length} delta: ${aborted} model request aborted`)
})

const verse = ModelScripted.text(["A Layer waits, ", "the program starts, ", "a run is made ", "of many parts."], {
  pause: "20 millis"
})

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([verse, verse])

program.pipe(Effect.provide(Model), NodeRuntime.runMain)
