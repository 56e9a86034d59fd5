import { assert } from "@effect/vitest"
import type { Agent, RunConfig, RunEvent, RunResult } from "agent-layers"
import {
  Approval,
  History,
  Item,
  ModelScripted,
  RunError,
  Runner,
  RunState,
  Session,
  SessionMemory
} from "agent-layers"
import { Context, Effect, Layer, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export type Way = "run" | "stream"

export const ways: ReadonlyArray<Way> = ["run", "stream"]

const drained = <Output, E, R>(
  events: Stream.Stream<RunEvent.RunEvent<Output>, E, R>
): Effect.Effect<RunResult.RunResult<Output>, E, R> =>
  Effect.map(Stream.runCollect(events), (events) => {
    const last = events.at(-1)
    if (last?._tag !== "Completed" || events.filter((event) => event._tag === "Completed").length !== 1) {
      throw new Error(`expected one terminal event at the end, got ${events.map((event) => event._tag).join(", ")}`)
    }
    return last.result
  })

/** The same run either way; a stream is drained and answers with the result of its terminal event. */
export const runAs = <Output, E, R>(
  way: Way,
  agent: Agent.Agent<Output, E, R>,
  input: RunConfig.RunInput,
  options: RunConfig.RunOptions = {}
): Effect.Effect<RunResult.RunResult<Output>, any, any> =>
  way === "run"
    ? Runner.run(agent, input, options as {})
    : drained(Runner.stream(agent, input, options as {}))

/** A state is good for another process too: it goes through text. */
export const resumeAs = <Output, E, R>(
  way: Way,
  agent: Agent.Agent<Output, E, R>,
  state: RunState.RunState,
  decisions: ReadonlyArray<Approval.Decision> = [],
  options: RunConfig.ResumeOptions = {}
): Effect.Effect<RunResult.RunResult<Output>, any, any> =>
  Effect.flatMap(Effect.flatMap(RunState.serialise(state), RunState.deserialise), (read) =>
    way === "run"
      ? Runner.resume(agent, read, decisions, options as {})
      : drained(Runner.resumeStream(agent, read, decisions, options as {})))

/** The reason for which a run stops short. */
export const reasonOf = <Tag extends RunError.RunErrorReason["_tag"]>(
  tag: Tag,
  effect: Effect.Effect<unknown, any, any>
): Effect.Effect<Extract<RunError.RunErrorReason, { readonly _tag: Tag }>, never, any> =>
  Effect.map(Effect.orDie(Effect.flip(effect)), (error: any) => {
    assert.strictEqual(error?.reason?._tag, tag, String(error))
    return error.reason
  })

/** Outputs by the id of their call. */
export const outputs = (items: ReadonlyArray<Item.Item>) =>
  Object.fromEntries(items.filter(Item.isFunctionCallOutput).map((item) => [item.call_id, item.output]))

const Pay = Tool.make("pay", {
  parameters: Schema.Struct({ amount: Schema.Number }),
  success: Schema.String,
  needsApproval: true
})
const Look = Tool.make("look", { parameters: Schema.Struct({ at: Schema.String }), success: Schema.String })

/** `pay` needs an approval, `look` does not. */
export const kit = Toolkit.make(Pay, Look)

/** What the handlers did, in order. */
export class Ran extends Context.Service<Ran, Array<string>>()("test/Ran") {}

export const ran = Ran.use((list) => Effect.succeed(list.slice()))

export const note = (what: string): Effect.Effect<void, never, Ran> =>
  Ran.use((list) => Effect.sync(() => void list.push(what)))

export const handlers = kit.toLayer(Ran.use((list) =>
  Effect.succeed({
    pay: ({ amount }: { readonly amount: number }) =>
      Effect.as(Effect.sync(() => list.push(`pay ${amount}`)), `paid ${amount}`),
    look: ({ at }: { readonly at: string }) =>
      at === "bug" ? Effect.die("a bug") : Effect.as(Effect.sync(() => list.push(`look ${at}`)), `saw ${at}`)
  })
))

/** Handlers that count, a session, and a model that follows the script. */
export const world = (script: ModelScripted.Script) =>
  handlers.pipe(
    Layer.provideMerge(Layer.sync(Ran, () => [])),
    Layer.merge(ModelScripted.layer(script)),
    Layer.merge(SessionMemory.layer)
  )

export const pay = (amount: number, callId: string) => ({ name: "pay", arguments: { amount }, callId })

export const look = (at: string, callId: string) => ({ name: "look", arguments: { at }, callId })

/** The stored conversation: valid, no call twice, each call answered. */
export const checkStored = (conversationId: string) =>
  Effect.gen(function*() {
    const { items } = yield* Session.Session.use((session) => session.loadItems(conversationId))
    assert.deepStrictEqual(History.check(items), [])
    const ids = items.filter(Item.isFunctionCall).map((call) => call.call_id)
    assert.strictEqual(new Set(ids).size, ids.length)
    const answered = items.filter(Item.isFunctionCallOutput).map((output) => output.call_id)
    assert.deepStrictEqual(answered.slice().sort(), ids.slice().sort())
    return items
  })

/** A folder for one test. */
export const inFolder = async (body: (folder: string) => Promise<void>): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), "agent-layers-run-"))
  try {
    await body(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
