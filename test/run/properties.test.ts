import { assert, describe, it } from "@effect/vitest"
import type { RunEvent } from "agent-layers"
import {
  Agent,
  Approval,
  Handoff,
  History,
  Item,
  ModelError,
  ModelScripted,
  RunError,
  Runner,
  RunState,
  Session,
  SessionMemory,
  ToolContext
} from "agent-layers"
import { Cause, Effect, Exit, Fiber, Random, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { forEachSeed, noteFigures, rounds, timeLimit } from "../support/rounds.ts"

const Act = Tool.make("act", {
  parameters: Schema.Struct({ how: Schema.Literals(["well", "badly", "slowly"]) }),
  success: Schema.String,
  failure: Schema.String
})
const Erase = Tool.make("erase", { success: Schema.String, needsApproval: true })
const kit = Toolkit.make(Act, Erase)
/** Two agents of one name that hand off to each other. */
const agent: Agent.Agent<string, never, Tool.HandlersFor<typeof kit.tools>> = Agent.make({
  name: "actor",
  toolkit: kit,
  handoffs: () => [Handoff.to(other, { toolName: "swap" })]
})
const other: typeof agent = Agent.make({
  name: "actor",
  toolkit: kit,
  handoffs: () => [Handoff.to(agent, { toolName: "swap" })]
})

/** What the random scripts came to, so that a campaign that reaches nothing fails. */
const reached = { finishedAfterApproval: 0, handedOff: 0 }

/** Decides at random, some of the calls or all, after the state went through text. */
const decideAtRandom = (reason: RunError.ApprovalRequired) =>
  Effect.gen(function*() {
    const state = yield* RunState.deserialise(yield* RunState.serialise(reason.state))
    const decisions: Array<Approval.Decision> = []
    for (const approval of reason.approvals) {
      const kind = yield* Random.nextIntBetween(0, 4)
      if (kind === 0 && decisions.length > 0) continue
      decisions.push(kind === 1 ? Approval.reject(approval, { reason: "no" }) : Approval.approve(approval))
    }
    return { state, decisions }
  })

const pick = <A>(values: ReadonlyArray<A>) =>
  Effect.map(Random.nextIntBetween(0, values.length - 1), (index) => values[index]!)

const randomCall = (turn: number, index: number) =>
  Effect.gen(function*() {
    const callId = `call-${turn}-${index}`
    const name = yield* pick(["act", "act", "act", "erase", "erase", "swap", "unknown"])
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
const conversation = () =>
  Effect.gen(function*() {
    const ran = new Map<string, number>()
    const count = Effect.gen(function*() {
      const { idempotencyKey } = yield* ToolContext.ToolContext
      ran.set(idempotencyKey, (ran.get(idempotencyKey) ?? 0) + 1)
    })
    const handlers = kit.toLayer({
      erase: () => Effect.as(count, "erased"),
      act: ({ how }) =>
        Effect.gen(function*() {
          yield* count
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
      const listen = <E, R>(stream: Stream.Stream<RunEvent.RunEvent<string>, E, R>) =>
        Stream.runForEach(stream, (event) =>
          Effect.sync(() => {
            assert.strictEqual(terminal, 0, "an event after the terminal one")
            if (event._tag === "Completed") terminal++
            if (event._tag === "Completed" && hasResumed) reached.finishedAfterApproval++
            if (event._tag === "HandedOff") reached.handedOff++
            if (event._tag === "Committed") committed = event.version
          }))
      let hasResumed = false
      const goOn = (error: unknown): Effect.Effect<void, unknown, any> =>
        RunError.isRunError(error) && error.reason._tag === "ApprovalRequired"
          ? Effect.flatMap(
            Effect.tap(decideAtRandom(error.reason), () => Effect.sync(() => hasResumed = true)),
            ({ decisions, state }) =>
              Effect.catch(
                listen(Runner.resumeStream(agent, state, decisions, { conversationId: "c" })) as Effect.Effect<
                  void,
                  unknown
                >,
                goOn
              )
          )
          : Effect.fail(error)
      const whole = listen(Runner.stream(agent, `question ${run}`, { conversationId: "c", maxTurns: 4 })).pipe(
        Effect.catch(goOn),
        Effect.provide(handlers),
        Effect.provide(ModelScripted.layer(script))
      )
      const fiber = yield* Effect.forkChild(Effect.exit(whole))
      if (yield* Random.nextBoolean) {
        const steps = yield* Random.nextIntBetween(0, 120)
        for (let step = 0; step < steps; step++) yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
      }
      const exit = yield* Effect.exit(Effect.flatten(Fiber.join(fiber)))
      if (Exit.isFailure(exit) && !Exit.hasInterrupts(exit)) {
        const error: any = exit.cause.reasons.find(Cause.isFailReason)?.error
        assert.include(["InvalidOutput", "Transport", "MaxTurnsExceeded"], error?.reason._tag)
        assert.strictEqual(terminal, 0)
      } else if (Exit.isSuccess(exit)) {
        assert.strictEqual(terminal, 1)
      }
      const { items, version } = yield* session.loadItems("c")
      assert.deepStrictEqual(History.check(items), [])
      assert.isAtLeast(version, committed ?? before)
      if (terminal === 1) assert.strictEqual(Item.text(items.at(-1)!), `answer ${run}`)
    }
    for (const [call, times] of ran) assert.strictEqual(times, 1, `${call} ran ${times} times`)
  }).pipe(Effect.provide(SessionMemory.layer))

describe("random conversations", () => {
  it.live("are stored valid, run no handler twice, and end once", (test) =>
    Effect.gen(function*() {
      yield* forEachSeed(test, "conversations", conversation)
      noteFigures(test, reached)
      // A few seeds, to repeat them, need not reach everything.
      if (rounds("conversations") < 150) return
      assert.isAbove(reached.finishedAfterApproval, 5)
      assert.isAbove(reached.handedOff, 5)
    }), timeLimit)
})
