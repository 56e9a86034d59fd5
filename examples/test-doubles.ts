/**
 * What a test can look at when model, session, MCP server, traces and ids are doubles, and what it can let go wrong.
 *
 * The same Layers serve in a test framework; the README shows one with @effect/vitest.
 * To see a compile error, take `, Files` away: `Library` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, McpServer, Runner, Session } from "agent-layers"
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import { McpScripted, ModelScripted, SessionFaults, SessionMemory, TestAgents, Traces } from "agent-layers/testing"
import { Cause, Console, Effect, Layer, Redacted, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"

class Library extends McpServer.Service<Library>()("library") {}

const Clock = Toolkit.make(Tool.make("clock", { success: Schema.String }))
const Handlers = Clock.toLayer({ clock: () => Effect.succeed("12:00") })
const Butler = Agent.make({ name: "butler", toolkit: Clock, mcpServers: [Library] })
const ask = Runner.run(Butler, "What time is it?", { conversationId: "c" })

let checks = 0
const check = (what: string, holds: boolean) =>
  Effect.andThen(
    Effect.sync(() => checks++),
    holds ? Console.log(`ok: ${what}`) : Effect.die(new Error(what))
  )

const Files = McpScripted.layer(Library, {
  tools: [McpScripted.tool("read_file", () => McpScripted.failedTool("no such file"))]
})

const doubles = (options: TestAgents.Options) => Layer.mergeAll(Handlers, TestAgents.layer(options), Files)

const answered = Effect.gen(function*() {
  const { runId } = yield* ask
  const [, second] = yield* ModelScripted.requests
  yield* check("the second request ends with what the tool said", second?.items.at(-1)?.output === "12:00")
  yield* check("ids count from one", runId === "run_1")
  const [call] = yield* McpScripted.calls(Library)
  yield* check("the server was asked, and said no", call?.outcome === "failed tool")
  yield* Traces.expectSpan("execute_tool clock", { outcome: "succeeded", under: "invoke_agent butler" })
  yield* Console.log(yield* Traces.tree)
}).pipe(Effect.provide(doubles({
  model: [
    ModelScripted.toolCall("clock"),
    ModelScripted.toolCall("read_file", { path: "diary" }),
    ModelScripted.text("Noon.")
  ]
})))

const script = [ModelScripted.text("Noon.")]

/** The commit is stored, and its answer never comes: the program must not believe that nothing happened. */
const lost = Effect.gen(function*() {
  const store = yield* SessionMemory.makeStore
  const error = yield* Effect.flip(ask).pipe(
    Effect.provide(doubles({ model: script, session: { store }, faults: [SessionFaults.loseAnswer("saveItems")] }))
  )
  yield* check("the failure is typed", error._tag === "SessionError" && error.reason._tag === "Unavailable")
  const { items } = yield* Effect.flatMap(Session.Session, (session) => session.loadItems("c")).pipe(
    Effect.provide(SessionMemory.layerWith({ store }))
  )
  yield* check("and the turn is stored: question and answer", items.length === 2)
})

const overtaken = Effect.gen(function*() {
  const error = yield* Effect.flip(ask)
  yield* check(
    "who is overtaken is told so",
    error._tag === "SessionError" && error.reason._tag === "VersionConflict"
  )
}).pipe(Effect.provide(doubles({ model: script, faults: [SessionFaults.conflict()] })))

const left = Effect.gen(function*() {
  yield* Effect.timeoutOption(ask, "20 millis")
  yield* check("an interrupted run aborts its request", (yield* ModelScripted.aborted) === 1)
}).pipe(Effect.provide(doubles({ model: [ModelScripted.hang()] })))

/** A Layer of a real model that got into a test by mistake costs no money: it dies before it asks. */
const real = Effect.gen(function*() {
  const model = ModelOpenAIResponses.layer({ apiKey: Redacted.make("sk-real"), model: "gpt-5.4" })
  const mistake = ask.pipe(Effect.provide(Layer.provideMerge(model, doubles({}))))
  const cause = yield* Effect.flip(Effect.sandbox(mistake))
  yield* check("a real model is refused", Cause.pretty(cause).includes("which TestAgents forbids"))
})

const all = Effect.all([answered, lost, overtaken, left, real])
all.pipe(Effect.andThen(Effect.suspend(() => Console.log(`${checks} checks hold`))), NodeRuntime.runMain)
