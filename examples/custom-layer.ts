/**
 * A session of one's own in two functions, checked by the laws of Session, under a decorator of one's own.
 *
 * `Session.make` adds what all sessions share: encoding, checks, typed errors, commits that finish when interrupted.
 * What two functions cannot do, such as versions, a law counts as not shown, and a run does without.
 *
 * To see a compile error, take `.pipe(Layer.provide(KeyValueStore.layerMemory))` away: `KeyValueStore` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, ModelScripted, Runner, Session, SessionError } from "agent-layers"
import * as Law from "agent-layers/services/laws/Law"
import * as SessionLaws from "agent-layers/services/laws/SessionLaws"
import { Console, Context, Effect, Layer, Ref, Semaphore } from "effect"
import { KeyValueStore } from "effect/persistence"

/** A backend: a line of JSON for each item, in effect's KeyValueStore. */
const SessionKeyValue = Layer.effect(
  Session.Session,
  Effect.gen(function*() {
    const store = yield* KeyValueStore.KeyValueStore
    const writing = yield* Semaphore.make(1)
    const isOpen = yield* Effect.acquireRelease(Ref.make(true), (isOpen) => Ref.set(isOpen, false))

    const load = Effect.fnUntraced(function*(id: string) {
      if (!(yield* Ref.get(isOpen))) return yield* new SessionError.Closed({})
      const text = yield* store.get(id)
      return { entries: text === undefined ? [] : text.split("\n") }
    })

    return Session.make({
      backend: "key-value",
      load,
      save: (id, commit) =>
        load(id).pipe(
          Effect.flatMap(({ entries }) => store.set(id, [...entries, ...commit.entries].join("\n"))),
          writing.withPermit
        )
    })
  })
).pipe(Layer.provide(KeyValueStore.layerMemory))

/** A decorator: requires the service that it provides, so that it stands on any session. */
const SessionAudited = (tell: (line: string) => Effect.Effect<void>) =>
  Layer.effect(
    Session.Session,
    Effect.map(Session.Session, (inner) => ({
      ...inner,
      saveItems: (id, items, options) =>
        Effect.tap(inner.saveItems(id, items, options), tell(`stored ${items.length} items in "${id}"`))
    }))
  )

const countLaws = (name: string, session: Layer.Layer<Session.Session>) =>
  Effect.gen(function*() {
    const outcomes = yield* Effect.forEach(SessionLaws.all, (law) =>
      Law.verify(law, {
        open: Effect.map(Layer.build(session), Context.get(Session.Session)),
        capabilities: { versions: false, operations: false, rewrite: false, list: false, anyItem: true },
        lacks: ["popItem", "clear", "records"],
        canReopen: false
      }), { concurrency: "unbounded" })
    for (const outcome of outcomes) if (outcome._tag === "Broken") yield* Console.log(outcome.report)
    const count = (tag: Law.Outcome["_tag"]) => outcomes.filter((outcome) => outcome._tag === tag).length
    yield* Console.log(`${name}: ${count("Held")} laws hold, ${count("NotShown")} not shown, ${count("Broken")} broken`)
  })

const program = Effect.gen(function*() {
  yield* countLaws("key-value", SessionKeyValue)
  yield* countLaws("audited over key-value", SessionAudited(() => Effect.void).pipe(Layer.provide(SessionKeyValue)))

  const Greeter = Agent.make({ name: "greeter" })
  yield* Runner.run(Greeter, "Hello!", { conversationId: "ada" }).pipe(
    Effect.provide([Model, SessionAudited(Console.log).pipe(Layer.provide(SessionKeyValue))])
  )
})

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([ModelScripted.text("Hello, Ada.")])

NodeRuntime.runMain(program)
