/**
 * One agent on two stacks in one program: a session and models for each tenant, kept apart by wiring alone.
 *
 * An agent is a value that says nothing of where it runs. Which of a stack's models answers is an option of the run.
 *
 * To see a compile error, replace `Layer.fresh(SessionMemory.layer)` by `Layer.empty`: `Session` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, ModelProvider, ModelScripted, Runner, Session, SessionMemory } from "agent-layers"
import { Console, Context, Effect, Layer } from "effect"

const Clerk = Agent.make({ name: "clerk", model: "small" })

/** Runs the agent on the stack that its Layer was built with, whatever stack its caller has. */
const makeDesk = Effect.gen(function*() {
  const stack = yield* Effect.context<ModelProvider.ModelProvider | Session.Session>()
  return {
    ask: (question: string, model?: string) =>
      Runner.run(Clerk, question, { conversationId: "ada", model }).pipe(Effect.provideContext(stack))
  }
})

type Desk = Effect.Success<typeof makeDesk>

class North extends Context.Service<North, Desk>()("example/North") {
  static readonly layer = Layer.effect(North, makeDesk)
}

class South extends Context.Service<South, Desk>()("example/South") {
  static readonly layer = Layer.effect(South, makeDesk)
}

const program = Effect.gen(function*() {
  const north = yield* North
  const south = yield* South
  yield* north.ask("My kettle leaks.")
  for (const [name, desk] of [["north", north], ["south", south]] as const) {
    const { finalOutput, items } = yield* desk.ask("What did I say?", "large")
    yield* Console.log(`${name}: "${finalOutput}", ${items.length} items in conversation "ada"`)
  }
})

// Layers are built once for each value: with SessionMemory.layer in both places, the desks would share one session.
// With a key: ModelOpenAIResponses.layerConfig({ … }), one for each desk, and names that OpenAI knows
const NorthStack = Layer.merge(
  ModelScripted.layer({
    small: [ModelScripted.text("Oh no.")],
    large: [ModelScripted.text("large of north: that your kettle leaks.")]
  }),
  SessionMemory.layer
)
const SouthStack = Layer.mergeAll(
  ModelScripted.layer({ small: [], large: [ModelScripted.text("large of south: nothing yet.")] }),
  Layer.fresh(SessionMemory.layer)
)

const Desks = Layer.mergeAll(
  North.layer.pipe(Layer.provide(NorthStack)),
  South.layer.pipe(Layer.provide(SouthStack))
)

program.pipe(Effect.provide(Desks), NodeRuntime.runMain)
