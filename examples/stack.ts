/**
 * A session stacked from decorators: cached, compressed, then encrypted, over a file with a backup beside it. The program
 * requires a store that sees sealed items only, so that it cannot be wired to one that reads along.
 *
 * Then two traps of Layers, and what they look like: a decorator merged instead of provided, and one decorator value over
 * two backends. `Session.wrap` has neither.
 *
 * To see a compile error, replace `, encrypted()]` by `]`: `Sealed` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, Item, ModelScripted, Runner, Session, type SessionError, SessionMemory } from "agent-layers"
import * as SessionCached from "agent-layers/layers/session/SessionCached"
import * as SessionCompressed from "agent-layers/layers/session/SessionCompressed"
import * as SessionEncrypted from "agent-layers/layers/session/SessionEncrypted"
import * as SessionFallback from "agent-layers/layers/session/SessionFallback"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import { Cause, Config, Console, Effect, Exit, Layer, Redacted, Stream } from "effect"

/** Decorators are factories: each call is a Layer of its own. Resources, such as a pool or a file, are values. */
const encrypted = () =>
  SessionEncrypted.layerConfig({
    // openssl rand -base64 32
    keys: Config.Redacted("SESSION_KEY").pipe(
      Config.withDefault(Redacted.make("only for this example, not for yours".replaceAll(/\W/g, "").repeat(2))),
      Config.map((secret) => [{ id: "2026-11", secret }])
    )
  })
const compressed = () => SessionCompressed.layer({ threshold: 64 })

const Store = Session.wrap(SessionSqlite.layer({ filename: ":memory:" }), [
  SessionFallback.layer({ backups: [{ name: "backup", layer: SessionMemory.layer }] })
])

/** Outermost first: written items go from left to right. */
const Stack = Session.wrap(Store, [SessionCached.layer(), compressed(), encrypted()])

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([ModelScripted.text("You did not say. ".repeat(20)), ModelScripted.text("Ada.")])

const talk = Session.requireSealed(Effect.gen(function*() {
  const guide = Agent.make({ name: "guide" })
  yield* Runner.run(guide, "Who am I?", { conversationId: "ada" })
  const { finalOutput } = yield* Runner.run(guide, "I am Ada. Who am I?", { conversationId: "ada" })
  const session = yield* Session.Session
  const { items } = yield* session.loadItems("ada")
  yield* Console.log(`the program sees: ${items.length} items, the last is "${finalOutput}"`)
}))

const lookInside = Effect.gen(function*() {
  const session = yield* Session.Session
  const records = yield* Stream.runCollect(session.records("ada"))
  yield* Console.log(`the store sees: ${records.map(({ item }) => item.type).join(" ")}`)
})

const save = (text: string) =>
  Effect.flatMap(Session.Session, (session) => session.saveItems("trap", [Item.user(text)]))

/** Merged, a decorator and a backend stand side by side, and nobody gives the decorator its session. */
const merged = Effect.gen(function*() {
  // @effect-diagnostics-next-line layerMergeAllWithDependencies:off
  const Merged = Layer.mergeAll(compressed(), SessionMemory.layer)
  // The type says so: Merged still requires a Session. Only a cast lets the program start.
  const exit = yield* Effect.exit(Effect.provide(save("lost"), Merged as Layer.Layer<Session.Session>))
  if (Exit.isFailure(exit)) yield* Console.log(`merged: ${Cause.pretty(exit.cause).split("\n")[0]}`)
})

type Wire = (store: Layer.Layer<Session.Session>) => Layer.Layer<Session.Session, SessionError.SessionError>

/** Two writers, each with a store of its own, or so they think. Tells what the stores have in the end. */
const twoWriters = Effect.fnUntraced(function*(name: string, wire: Wire) {
  const stores = yield* Effect.all([SessionMemory.makeStore, SessionMemory.makeStore])
  const [ours, theirs] = stores.map((store) => SessionMemory.layerWith({ store }))
  const Writers = Layer.merge(
    Layer.effectDiscard(save("ours")).pipe(Layer.provide(wire(ours!))),
    Layer.effectDiscard(save("theirs")).pipe(Layer.provide(wire(theirs!)))
  )
  yield* Effect.provide(Effect.void, Writers)
  const counts = yield* Effect.forEach(
    stores,
    (store) =>
      Effect.flatMap(Session.Session, (session) => session.loadItems("trap")).pipe(
        Effect.map(({ items }) => items.length),
        Effect.provide(SessionMemory.layerWith({ store }))
      )
  )
  yield* Console.log(`${name}: ${counts.toSorted().join(" and ")} items`)
})

const program = Effect.gen(function*() {
  yield* talk.pipe(Effect.andThen(Effect.provide(lookInside, Store)), Effect.provide([Model, Stack]))
  yield* merged
  const shared = compressed()
  // A Layer is built once for each value, over whichever store it meets first.
  yield* twoWriters("one value over two stores", (store) => shared.pipe(Layer.provide(store)))
  yield* twoWriters("the same value in Session.wrap", (store) => Session.wrap(store, [shared]))
})

NodeRuntime.runMain(program)
