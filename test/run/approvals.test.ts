import { assert, describe, it } from "@effect/vitest"
import { Agent, Approval, Guardrail, ModelError, ModelScripted, RunJournal, Runner, Session } from "agent-layers"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import { Context, Effect, Option, Stream } from "effect"
import { join } from "node:path"
import {
  checkStored,
  inFolder,
  kit,
  look,
  outputs,
  pay,
  ran,
  reasonOf,
  resumeAs,
  runAs,
  ways,
  world
} from "./support.ts"

const cashier = Agent.make({ name: "cashier", toolkit: kit })

for (const way of ways) {
  describe(`approvals, ${way}`, () => {
    it.effect("stop the run before the handler; what needs none runs once, and an approved call runs once", () =>
      Effect.gen(function*() {
        const first = yield* reasonOf(
          "ApprovalRequired",
          runAs(way, cashier, "pay", { conversationId: "c" })
        )
        assert.deepStrictEqual(yield* ran, ["look x"])
        assert.deepStrictEqual(
          first.approvals.map(({ agent, arguments: text, callId, id, tool }) => [
            id,
            agent,
            tool,
            callId,
            text
          ]),
          [["p1", "cashier", "pay", "p1", "{\"amount\":5}"]]
        )
        assert.match(first.approvals[0]!.argumentsHash, /^[0-9a-f]{64}$/)
        assert.deepStrictEqual((yield* Session.Session.use((session) => session.loadItems("c"))).items, [])
        const result = yield* resumeAs(way, cashier, first.state, [Approval.approve(first.approvals[0]!)], {
          conversationId: "c"
        })
        assert.strictEqual(result.finalOutput, "done")
        assert.strictEqual(result.turns, 2)
        assert.deepStrictEqual(yield* ran, ["look x", "pay 5"])
        const items = yield* checkStored("c")
        assert.deepStrictEqual(outputs(items), { p1: "paid 5", l1: "saw x" })
        assert.deepStrictEqual(items, result.items)
        const conversations = yield* Session.Session.use((session) => Stream.runCollect(session.conversations()))
        assert.deepStrictEqual(conversations.map(({ id }) => id), ["c"])
      }).pipe(Effect.provide(world([
        ModelScripted.calls([pay(5, "p1"), look("x", "l1")]),
        ModelScripted.text("done")
      ]))))

    it.effect("are asked for by toolOptions: switched on, switched off, by an Effect that needs a service", () => {
      class Limit extends Context.Service<Limit, number>()("test/Limit") {}
      const careful = Agent.make({
        name: "careful",
        toolkit: kit,
        toolOptions: {
          pay: { needsApproval: ({ amount }) => Limit.use((limit) => Effect.succeed(amount > limit)) },
          look: { needsApproval: true }
        }
      })
      const careless = Agent.make({ name: "careless", toolkit: kit, toolOptions: { pay: { needsApproval: false } } })
      return Effect.gen(function*() {
        const waiting = yield* reasonOf("ApprovalRequired", runAs(way, careful, "go"))
        assert.deepStrictEqual(waiting.approvals.map(({ callId }) => callId), ["p2", "l1"])
        assert.deepStrictEqual(yield* ran, ["pay 10"])
        yield* runAs(way, careless, "go")
        assert.deepStrictEqual(yield* ran, ["pay 10", "pay 1"])
      }).pipe(
        Effect.provideService(Limit, 10),
        Effect.provide(world([
          ModelScripted.calls([pay(10, "p1"), pay(11, "p2"), look("x", "l1")]),
          ModelScripted.calls([pay(1, "p1")]),
          ModelScripted.text("done")
        ]))
      )
    })

    it.effect("that were given hold, whatever the Effect would ask for at the resume", () => {
      let needs = true
      const agent = Agent.make({
        name: "changing",
        toolkit: kit,
        toolOptions: { pay: { needsApproval: () => Effect.sync(() => needs) } }
      })
      return Effect.gen(function*() {
        const waiting = yield* reasonOf("ApprovalRequired", runAs(way, agent, "go"))
        needs = false
        const result = yield* resumeAs(way, agent, waiting.state, [Approval.reject(waiting.approvals[0]!)])
        assert.match(String(outputs(result.items)["p1"]), /not executed/)
        assert.deepStrictEqual(yield* ran, [])
      }).pipe(Effect.provide(world([ModelScripted.calls([pay(1, "p1")]), ModelScripted.text("done")])))
    })

    for (const isApproved of [true, false]) {
      it.effect(`always ${isApproved ? "approve" : "reject"} stands for the rest of the run and no longer`, () =>
        Effect.gen(function*() {
          const waiting = yield* reasonOf("ApprovalRequired", runAs(way, cashier, "go"))
          const decide = isApproved ? Approval.approve : Approval.reject
          const result = yield* resumeAs(way, cashier, waiting.state, [decide(waiting.approvals[0]!, { always: true })])
          assert.deepStrictEqual(yield* ran, isApproved ? ["pay 1", "pay 2", "pay 3"] : [])
          assert.strictEqual(Object.keys(outputs(result.items)).length, 3)
          yield* reasonOf("ApprovalRequired", runAs(way, cashier, "another run"))
        }).pipe(Effect.provide(world([
          ModelScripted.calls([pay(1, "p1")]),
          ModelScripted.calls([pay(2, "p2"), pay(3, "p3")]),
          ModelScripted.text("done"),
          ModelScripted.calls([pay(4, "p4")])
        ]))))
    }

    it.effect("several pauses in one run, and decisions about some of the calls only", () =>
      Effect.gen(function*() {
        const options = { conversationId: "c" }
        const first = yield* reasonOf("ApprovalRequired", runAs(way, cashier, "go", options))
        assert.deepStrictEqual(first.approvals.map(({ id }) => id), ["p1", "p2"])
        const second = yield* reasonOf(
          "ApprovalRequired",
          resumeAs(way, cashier, first.state, [Approval.approve(first.approvals[1]!)], options)
        )
        assert.deepStrictEqual(second.approvals, [first.approvals[0]!])
        assert.deepStrictEqual(yield* ran, ["pay 2"])
        yield* reasonOf(
          "ConversationMoved",
          resumeAs(way, cashier, first.state, [Approval.approve(first.approvals[0]!)], options)
        )
        yield* reasonOf(
          "StateMismatch",
          resumeAs(
            way,
            cashier,
            second.state,
            first.approvals.map((one) => Approval.approve(one)),
            options
          )
        )
        assert.deepStrictEqual(yield* ran, ["pay 2"])
        const third = yield* reasonOf(
          "ApprovalRequired",
          resumeAs(way, cashier, second.state, [Approval.reject(second.approvals[0]!)], options)
        )
        assert.deepStrictEqual(third.approvals.map(({ id }) => id), ["p3"])
        assert.strictEqual(third.state.runId, first.state.runId)
        assert.strictEqual(third.state.turns, 1)
        yield* resumeAs(way, cashier, third.state, [Approval.approve(third.approvals[0]!)], options)
        assert.deepStrictEqual(yield* ran, ["pay 2", "pay 3"])
        const items = yield* checkStored("c")
        assert.deepStrictEqual(Object.keys(outputs(items)).sort(), ["p1", "p2", "p3"])
      }).pipe(Effect.provide(world([
        ModelScripted.calls([pay(1, "p1"), pay(2, "p2")]),
        ModelScripted.calls([pay(3, "p3")]),
        ModelScripted.text("done")
      ]))))

    it.effect("a state is resumed once, at the same time in one process too", () =>
      Effect.gen(function*() {
        const waiting = yield* reasonOf("ApprovalRequired", runAs(way, cashier, "go", { conversationId: "c" }))
        const resume = Effect.result(
          resumeAs(way, cashier, waiting.state, [Approval.approve(waiting.approvals[0]!)], {
            conversationId: "c",
            onConflict: "wait"
          })
        )
        const both = yield* Effect.all([resume, resume], { concurrency: 2 })
        assert.deepStrictEqual(both.map(({ _tag }) => _tag).sort(), ["Failure", "Success"])
        for (const one of both) {
          if (one._tag === "Failure") assert.strictEqual((one.failure as any).reason._tag, "ConversationMoved")
        }
        assert.deepStrictEqual(yield* ran, ["pay 1"])
        yield* checkStored("c")
      }).pipe(Effect.provide(world([ModelScripted.calls([pay(1, "p1")]), ModelScripted.text("done")]))))

    it.effect("a journal that answers makes the run go on without stopping", () => {
      const asked: Array<readonly [string, Approval.Approval]> = []
      const journal: RunJournal.RunJournal = {
        step: (_run, _schemas, effect) => effect,
        signal: ((run: { readonly name: string }, _schemas: unknown, approval: Approval.Approval) =>
          Effect.sync(() => {
            asked.push([run.name, approval])
            return Option.some(approval.callId === "p1" ? Approval.approve(approval) : Approval.reject(approval))
          })) as any
      }
      return Effect.gen(function*() {
        const result = yield* runAs(way, cashier, "go")
        assert.strictEqual(result.finalOutput, "done")
        assert.deepStrictEqual(yield* ran, ["pay 1"])
        assert.deepStrictEqual(asked.map(([name]) => name), ["approval/1/p1", "approval/1/p2"])
        assert.match(String(outputs(result.items)["p2"]), /not executed/)
      }).pipe(
        Effect.provideService(RunJournal.RunJournal, journal),
        Effect.provide(world([ModelScripted.calls([pay(1, "p1"), pay(2, "p2")]), ModelScripted.text("done")]))
      )
    })

    it.effect("a run that an input guardrail stopped is checked again", () => {
      const checked: Array<number> = []
      let trips = true
      const guarded = Agent.make({
        name: "guarded",
        inputGuardrails: [
          Guardrail.input({
            name: "polite",
            mode: "blocking",
            check: ({ input }) =>
              Effect.sync(() => {
                checked.push(input.length)
                return trips ? Guardrail.trip() : Guardrail.pass()
              })
          })
        ]
      })
      return Effect.gen(function*() {
        const options = { conversationId: "c" }
        const first = yield* reasonOf("GuardrailTripped", runAs(way, guarded, "go", options))
        yield* reasonOf("GuardrailTripped", resumeAs(way, guarded, first.state, [], options))
        trips = false
        const result = yield* resumeAs(way, guarded, first.state, [], options)
        assert.strictEqual(result.finalOutput, "done")
        assert.deepStrictEqual(checked, [1, 1, 1])
        assert.strictEqual((yield* ModelScripted.requests).length, 1)
      }).pipe(Effect.provide(world([ModelScripted.text("done")])))
    })

    it.effect("a model that fails after a resume has used nothing up: the same state goes on", () =>
      Effect.gen(function*() {
        const options = { conversationId: "c" }
        const stopped = yield* reasonOf(
          "Stopped",
          runAs(way, cashier, "go", { ...options, stopAfterTurn: Effect.succeed(true) })
        )
        const failure = yield* Effect.flip(resumeAs(way, cashier, stopped.state, [], options))
        assert.isTrue(ModelError.isModelError(failure))
        const result = yield* resumeAs(way, cashier, stopped.state, [], options)
        assert.strictEqual(result.finalOutput, "done")
        assert.deepStrictEqual(yield* ran, ["look x"])
        yield* checkStored("c")
      }).pipe(Effect.provide(world([
        ModelScripted.calls([look("x", "l1")]),
        ModelScripted.fail(new ModelError.Transport({ description: "gone" })),
        ModelScripted.text("done")
      ]))))
  })
}

describe("approvals over an SQLite file", () => {
  it("resumed by two runtimes at the same time runs the handler once", () =>
    inFolder(async (folder) => {
      const filename = join(folder, "chat.db")
      const done: Array<string> = []
      const counted = kit.toLayer({
        pay: ({ amount }) => Effect.as(Effect.sync(() => done.push(`pay ${amount}`)), "paid"),
        look: () => Effect.succeed("seen")
      })
      const runtime = <A>(effect: Effect.Effect<A, any, any>, script: ModelScripted.Script) =>
        Effect.runPromise(
          Effect.provide(effect, [
            counted,
            ModelScripted.layer(script),
            SessionSqlite.layer({ filename })
          ]) as Effect.Effect<A>
        )
      const waiting = await runtime(
        reasonOf("ApprovalRequired", Runner.run(cashier, "go", { conversationId: "c" })),
        [ModelScripted.calls([pay(1, "p1")])]
      )
      const resume = () =>
        runtime(
          Effect.match(
            Runner.resume(cashier, waiting.state, [Approval.approve(waiting.approvals[0]!)], { conversationId: "c" }),
            { onFailure: (error) => (error as any).reason._tag as string, onSuccess: (result) => result.finalOutput }
          ),
          () => ModelScripted.text("done")
        )
      assert.deepStrictEqual((await Promise.all([resume(), resume()])).sort(), ["ConversationMoved", "done"])
      assert.strictEqual(await resume(), "ConversationMoved")
      assert.deepStrictEqual(done, ["pay 1"])
    }))
})
