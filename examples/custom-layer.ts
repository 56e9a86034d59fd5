/**
 * A decorator of one's own: a Layer that requires the service that it provides, and is checked by that service's laws.
 *
 * It stands on any session, and its laws are those of the session inside it. A backend of one's own: custom-session.ts.
 *
 * To see a compile error, take `.pipe(Layer.provide(SessionMemory.layer))` away: `Session` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, ModelScripted, Runner, Session, SessionMemory } from "agent-layers"
import { Law, SessionLaws } from "agent-layers/testing"
import { Console, Context, Effect, Layer } from "effect"

const SessionAudited = (tell: (line: string) => Effect.Effect<void>): Session.Decorator =>
  Layer.effect(
    Session.Session,
    Effect.map(Session.Session, (inner) => ({
      ...inner,
      saveItems: (id, items, options) =>
        Effect.tap(inner.saveItems(id, items, options), tell(`stored ${items.length} items in "${id}"`))
    }))
  )

const countLaws = Effect.fnUntraced(function*(name: string, session: Layer.Layer<Session.Session>) {
  const outcomes = yield* Effect.forEach(SessionLaws.all, (law) =>
    Law.verify(law, {
      open: Effect.map(Layer.build(Layer.fresh(session)), Context.get(Session.Session)),
      capabilities: { versions: true, operations: true, rewrite: true, list: true, anyItem: true },
      canReopen: false
    }), { concurrency: "unbounded" })
  for (const outcome of outcomes) if (outcome._tag === "Broken") yield* Console.log(outcome.report)
  const count = (tag: Law.Outcome["_tag"]) => outcomes.filter((outcome) => outcome._tag === tag).length
  yield* Console.log(`${name}: ${count("Held")} laws hold, ${count("NotShown")} not shown, ${count("Broken")} broken`)
})

const program = Effect.gen(function*() {
  yield* countLaws("memory", SessionMemory.layer)
  yield* countLaws("audited", Layer.provide(SessionAudited(() => Effect.void), SessionMemory.layer))
  yield* Runner.run(Agent.make({ name: "greeter" }), "Hello!", { conversationId: "ada" })
})

// Several decorators: Session.wrap(SessionMemory.layer, [SessionAudited(Console.log), …]), outermost first
const Stack = SessionAudited(Console.log).pipe(Layer.provide(SessionMemory.layer))

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([ModelScripted.text("Hello, Ada.")])

program.pipe(Effect.provide([Model, Stack]), NodeRuntime.runMain)
