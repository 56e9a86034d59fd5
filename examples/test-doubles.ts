/**
 * What a test can look at when model, session, traces and ids are doubles.
 *
 * The same Layers serve in a test framework; test/readme and the README show one with @effect/vitest.
 * To see a compile error, take `TracerMemory.layer, ` away: `TracerMemory` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, Ids, ModelError, ModelScripted, Runner, Session, SessionMemory, TracerMemory } from "agent-layers"
import { Console, Effect, Layer, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"

const Clock = Toolkit.make(Tool.make("clock", { success: Schema.String }))
const Handlers = Clock.toLayer({ clock: () => Effect.succeed("12:00") })
const Butler = Agent.make({ name: "butler", toolkit: Clock })
const ask = Runner.run(Butler, "What time is it?", { conversationId: "c" })

const check = (what: string, holds: boolean) => holds ? Console.log(`ok: ${what}`) : Effect.die(new Error(what))

const doubles = (...script: ReadonlyArray<ModelScripted.Step>) =>
  Layer.mergeAll(Handlers, ModelScripted.layer(script), SessionMemory.layer, TracerMemory.layer, Ids.layerSequential)

const answered = Effect.gen(function*() {
  const { runId } = yield* ask
  const [, second] = yield* ModelScripted.requests
  const traces = yield* TracerMemory.TracerMemory
  yield* check("the second request ends with what the tool said", second?.items.at(-1)?.output === "12:00")
  yield* check("ids count from one", runId === "run_1")
  yield* check("the trace has the tool's span", (yield* traces.outline).includes("execute_tool clock"))
}).pipe(Effect.provide(doubles(
  ModelScripted.toolCall("clock"),
  ModelScripted.text("Noon.")
)))

const failed = Effect.gen(function*() {
  const error = yield* Effect.flip(ask)
  const session = yield* Session.Session
  const { items } = yield* session.loadItems("c")
  yield* check("the failure is typed", error._tag === "ModelError" && error.reason._tag === "RateLimited")
  yield* check("the turn before it is stored: question, call, output", items.length === 3)
}).pipe(Effect.provide(doubles(
  ModelScripted.toolCall("clock"),
  ModelScripted.fail(new ModelError.RateLimited({ description: "slow down" }))
)))

const left = Effect.gen(function*() {
  yield* Effect.timeoutOption(ask, "20 millis")
  yield* check("an interrupted run aborts its request", (yield* ModelScripted.aborted) === 1)
}).pipe(Effect.provide(doubles(
  ModelScripted.hang()
)))

Effect.all([answered, failed, left]).pipe(Effect.andThen(Console.log("6 checks hold")), NodeRuntime.runMain)
