/**
 * Two agents with a model and a session each, in one program, kept apart by wiring alone.
 *
 * To see a compile error, replace `Layer.fresh(SessionMemory.layer)` by `Layer.empty`: `Session` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, ModelProvider, ModelScripted, Runner, Session, SessionMemory } from "agent-layers"
import { Console, Context, Effect, Layer } from "effect"

/** Runs an agent on the stack that its Layer was built with, whatever stack its caller has. */
const makeDesk = Effect.fnUntraced(function*(agent: Agent.Agent<string>) {
  const stack = yield* Effect.context<ModelProvider.ModelProvider | Session.Session>()
  return {
    ask: (question: string) => Runner.run(agent, question, { conversationId: "ada" }).pipe(Effect.provideContext(stack))
  }
})

type Desk = Effect.Success<ReturnType<typeof makeDesk>>

class Support extends Context.Service<Support, Desk>()("example/Support") {
  static readonly layer = Layer.effect(Support, makeDesk(Agent.make({ name: "support" })))
}

class Sales extends Context.Service<Sales, Desk>()("example/Sales") {
  static readonly layer = Layer.effect(Sales, makeDesk(Agent.make({ name: "sales" })))
}

const program = Effect.gen(function*() {
  const support = yield* Support
  const sales = yield* Sales
  yield* support.ask("My kettle leaks.")
  for (const [name, desk] of [["support", support], ["sales", sales]] as const) {
    const { finalOutput, items } = yield* desk.ask("What did I say?")
    yield* Console.log(`${name}: "${finalOutput}", ${items.length} items in conversation "ada"`)
  }
})

// Layers are built once for each value: with SessionMemory.layer in both places, the desks would share one session.
// With a key: ModelOpenAIResponses.layerConfig({ …, model: Config.succeed("gpt-5.4") }), one for each desk
const SupportStack = Layer.merge(
  ModelScripted.layer([ModelScripted.text("Oh no."), ModelScripted.text("That your kettle leaks.")]),
  SessionMemory.layer
)
const SalesStack = Layer.mergeAll(
  ModelScripted.layer([ModelScripted.text("Nothing yet.")]),
  Layer.fresh(SessionMemory.layer)
)

const Desks = Layer.mergeAll(
  Support.layer.pipe(Layer.provide(SupportStack)),
  Sales.layer.pipe(Layer.provide(SalesStack))
)

program.pipe(Effect.provide(Desks), NodeRuntime.runMain)
