/**
 * A desk that hands the conversation to whoever can answer it: the output's type says who that may have been.
 *
 * The graph that is printed first is Mermaid, which GitHub draws.
 * To see a compile error, replace `[Handlers, Model]` by `[Model]`: `Handler<"price">` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, Handoff, ModelScripted, Runner } from "agent-layers"
import * as AgentGraph from "agent-layers/run/AgentGraph"
import { Console, Effect, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"

const Refund = Schema.TaggedStruct("Refund", { order: Schema.String, euros: Schema.Number })
const Meeting = Schema.TaggedStruct("Meeting", { at: Schema.DateFromString })

const Tools = Toolkit.make(
  Tool.make("price", { parameters: Schema.Struct({ order: Schema.String }), success: Schema.Number })
)

const Handlers = Tools.toLayer({ price: () => Effect.succeed(42) })

const Refunds = Agent.make({ name: "refunds", output: Refund, toolkit: Tools })
const Calendar = Agent.make({ name: "calendar", description: "Makes appointments.", output: Meeting })

const Desk = Agent.make({
  name: "desk",
  instructions: "Hand off to whoever can help.",
  handoffs: [
    Handoff.to(Refunds, {
      input: Schema.Struct({ reason: Schema.String }),
      onHandoff: ({ reason }) => Console.log(`refund asked for: ${reason}`)
    }),
    Calendar
  ]
})

const ask = Effect.fnUntraced(function*(question: string) {
  const { finalOutput, lastAgent } = yield* Runner.run(Desk, question)
  if (typeof finalOutput === "string") return yield* Console.log(`${lastAgent}: ${finalOutput}`)
  yield* Console.log(
    finalOutput._tag === "Refund"
      ? `${lastAgent}: ${finalOutput.euros} euros back for ${finalOutput.order}`
      : `${lastAgent}: see you on ${finalOutput.at.toISOString()}`
  )
})

const program = Effect.gen(function*() {
  yield* Console.log(AgentGraph.mermaid(Desk))
  yield* ask("My kettle A-71 leaks.")
  yield* ask("Can I come by on Friday?")
  yield* ask("Thanks!")
})

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([
  ModelScripted.toolCall("transfer_to_refunds", { reason: "it leaks" }),
  ModelScripted.toolCall("price", { order: "A-71" }),
  ModelScripted.text(`{"_tag":"Refund","order":"A-71","euros":42}`),
  ModelScripted.toolCall("transfer_to_calendar"),
  ModelScripted.text(`{"_tag":"Meeting","at":"2026-11-27T15:00:00.000Z"}`),
  ModelScripted.text("You are welcome.")
])

program.pipe(Effect.provide([Handlers, Model]), NodeRuntime.runMain)
