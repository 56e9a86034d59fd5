import { assert, describe, it } from "@effect/vitest"
import {
  Agent,
  History,
  Item,
  ModelError,
  ModelScripted,
  Runner,
  Session,
  SessionMemory,
  ToolContext
} from "agent-layers"
import { Cause, Effect, Exit, Fiber, Random, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { campaign } from "../support/campaign.ts"

const Act = Tool.make("act", {
  parameters: Schema.Struct({ how: Schema.Literals(["well", "badly", "slowly"]) }),
  success: Schema.String,
  failure: Schema.String
})
const kit = Toolkit.make(Act)
const agent = Agent.make({ name: "actor", toolkit: kit })

const pick = <A>(values: ReadonlyArray<A>) =>
  Effect.map(Random.nextIntBetween(0, values.length - 1), (index) => values[index]!)

const randomCall = (turn: number, index: number) =>
  Effect.gen(function*() {
    const callId = `call-${turn}-${index}`
    const name = yield* pick(["act", "act", "act", "unknown"])
    const args = yield* pick([`{"how":"well"}`, `{"how":"badly"}`, `{"how":"slowly"}`, `{"how":"never"}`, `{"how`, ""])
    return { name, arguments: args, callId }
  })

const randomTurn = (turn: number) =>
  Effect.gen(function*() {
    const calls: Array<Effect.Success<ReturnType<typeof randomCall>>> = []
    const count = yield* Random.nextIntBetween(1, 4)
    for (let index = 0; index < count; index++) calls.push(yield* randomCall(turn, index))
    const answer = ModelScripted.calls(calls, (yield* Random.nextBoolean) ? { reasoning: "hm" } : {})
    const kind = yield* Random.nextIntBetween(0, 9)
    if (kind === 0) return ModelScripted.incomplete("max_output_tokens", answer)
    if (kind === 1) {
      return ModelScripted.fail(new ModelError.Transport({ description: "cut" }), { of: answer, after: 1 })
    }
    if (kind === 2) return ModelScripted.items([{ type: "reasoning", id: `rs-${turn}`, summary: [] }])
    return answer
  })

/** A conversation of several random runs, one after another, each interrupted at a random moment or left alone. */
const conversation = (seed: number) =>
  Effect.gen(function*() {
    const ran = new Map<string, number>()
    const handlers = kit.toLayer({
      act: ({ how }) =>
        Effect.gen(function*() {
          const { callId, runId } = yield* ToolContext.ToolContext
          const key = `${runId}/${callId}`
          ran.set(key, (ran.get(key) ?? 0) + 1)
          if (how === "badly") return yield* Effect.fail("went badly")
          if (how === "slowly") { for (let n = 0; n < 5; n++) yield* Effect.yieldNow }
          return "went well"
        })
    })
    const session = yield* Session.Session
    for (let run = 0; run < 3; run++) {
      const script = []
      const turns = yield* Random.nextIntBetween(0, 4)
      for (let turn = 1; turn <= turns; turn++) script.push(yield* randomTurn(turn + run * 10))
      script.push(ModelScripted.text(`answer ${run}`))
      let terminal = 0
      let committed: number | undefined
      const before = (yield* session.loadItems("c")).version
      const whole = Stream.runForEach(
        Runner.stream(agent, `question ${run}`, { conversationId: "c", maxTurns: 4 }),
        (event) =>
          Effect.sync(() => {
            assert.strictEqual(terminal, 0, "an event after the terminal one")
            if (event._tag === "Completed") terminal++
            if (event._tag === "Committed") committed = event.version
          })
      ).pipe(Effect.provide(handlers), Effect.provide(ModelScripted.layer(script)))
      const fiber = yield* Effect.forkChild(Effect.exit(whole))
      if (yield* Random.nextBoolean) {
        const steps = yield* Random.nextIntBetween(0, 120)
        for (let step = 0; step < steps; step++) yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
      }
      const exit = yield* Effect.exit(Effect.flatten(Fiber.join(fiber)))
      if (Exit.isFailure(exit) && !Exit.hasInterrupts(exit)) {
        const error: any = exit.cause.reasons.find(Cause.isFailReason)?.error
        assert.include(["InvalidOutput", "Transport", "MaxTurnsExceeded"], error?.reason._tag, `seed ${seed}`)
        assert.strictEqual(terminal, 0, `seed ${seed}`)
      } else if (Exit.isSuccess(exit)) {
        assert.strictEqual(terminal, 1, `seed ${seed}`)
      }
      const { items, version } = yield* session.loadItems("c")
      assert.deepStrictEqual(History.check(items), [], `seed ${seed}`)
      assert.isAtLeast(version, committed ?? before, `seed ${seed}`)
      if (terminal === 1) assert.strictEqual(Item.text(items.at(-1)!), `answer ${run}`, `seed ${seed}`)
    }
    for (const [call, times] of ran) assert.strictEqual(times, 1, `${call} ran ${times} times, seed ${seed}`)
  }).pipe(Effect.provide(SessionMemory.layer), Random.withSeed(seed))

describe("random conversations", () => {
  it.live("are stored valid, run no handler twice, and end once", () =>
    Effect.gen(function*() {
      for (let seed = 0; seed < campaign(150, 5_000); seed++) yield* conversation(seed)
    }), campaign(30_000, 240_000))
})
