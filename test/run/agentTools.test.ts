import { assert, describe, it } from "@effect/vitest"
import { Agent, Approval, Item, ModelError, ModelScripted, Runner } from "agent-layers"
import type { RunEvent } from "agent-layers/run/RunEvent"
import { Effect, Stream } from "effect"
import { kit, look, outputs, pay, ran, reasonOf, resumeAs, runAs, ways, world } from "./support.ts"

/** Each calls the next one, as `ask`; all have one name and one toolkit. */
const nested = (depth: number, maxTurns?: number): Agent.Agent<string, any, any> =>
  Agent.make({
    name: "clerk",
    toolkit: kit,
    agentTools: depth === 0
      ? []
      : [Agent.asTool(nested(depth - 1), { name: "ask", description: "Asks another clerk", maxTurns })]
  }) as Agent.Agent<string, any, any>

const ask = (callId: string, input = "go") => ({ name: "ask", arguments: { input }, callId })
const leaves = (event: RunEvent<unknown>): ReadonlyArray<readonly [string, string]> =>
  event._tag === "Nested" ? [[event.path.join("/"), event.event._tag]] : [["", event._tag]]

for (const way of ways) {
  describe(`agents as tools, ${way}`, () => {
    for (const depth of [1, 2, 3]) {
      it.effect(`${depth} deep: an approval is addressed by its path, and the run goes on inside`, () => {
        const ids = Array.from({ length: depth }, (_, index) => `a${index}`)
        return Effect.gen(function*() {
          const agent = nested(depth)
          const waiting = yield* reasonOf("ApprovalRequired", runAs(way, agent, "go"))
          assert.deepStrictEqual(waiting.approvals.map(({ agent, callId, id }) => [id, agent, callId]), [
            [[...ids, "p1"].join("/"), "clerk", "p1"]
          ])
          assert.deepStrictEqual(yield* ran, ["look once"])
          const result = yield* resumeAs(way, agent, waiting.state, [Approval.approve(waiting.approvals[0]!)])
          assert.deepStrictEqual(yield* ran, ["look once", "pay 7"])
          assert.strictEqual(result.finalOutput, `answer ${depth}`)
          assert.deepStrictEqual(outputs(result.items), { a0: `answer ${depth - 1}` })
          assert.strictEqual(result.turns, 2)
          assert.strictEqual(result.usage.requests, 2 * (depth + 1))
          assert.strictEqual(result.requests.length, 2 * (depth + 1))
          assert.strictEqual(
            result.usage.totalTokens,
            result.requests.reduce((sum, { usage }) => sum + usage.totalTokens, 0)
          )
        }).pipe(Effect.provide(world([
          ...ids.map((id) => ModelScripted.calls([ask(id)])),
          ModelScripted.calls([look("once", "l1"), pay(7, "p1")]),
          ...Array.from({ length: depth + 1 }, (_, index) => ModelScripted.text(`answer ${index}`))
        ])))
      })
    }

    it.effect("equal call ids inside and outside are different calls, decided one by one", () =>
      Effect.gen(function*() {
        const agent = nested(1)
        const first = yield* reasonOf("ApprovalRequired", runAs(way, agent, "go", { toolConcurrency: 1 }))
        assert.deepStrictEqual(first.approvals.map(({ id }) => id), ["p", "a/p", "b/p"])
        const [outer, inA, inB] = first.approvals as [Approval.Approval, Approval.Approval, Approval.Approval]
        assert.strictEqual(inA.argumentsHash, outer.argumentsHash)
        const second = yield* reasonOf(
          "ApprovalRequired",
          resumeAs(way, agent, first.state, [Approval.approve(inA), Approval.reject(outer, { reason: "No." })])
        )
        assert.deepStrictEqual(second.approvals, [inB])
        assert.deepStrictEqual(yield* ran, ["pay 1"])
        const result = yield* resumeAs(way, agent, second.state, [Approval.approve(inB)])
        assert.deepStrictEqual(yield* ran, ["pay 1", "pay 2"])
        assert.deepStrictEqual(outputs(result.items), {
          p: `Error: Tool "pay" was not executed: the call was rejected. No.`,
          a: "in a",
          b: "in b"
        })
      }).pipe(Effect.provide(world([
        ModelScripted.calls([pay(1, "p"), ask("a"), ask("b")]),
        ModelScripted.calls([pay(1, "p")]),
        ModelScripted.calls([pay(2, "p")]),
        ModelScripted.text("in a"),
        ModelScripted.text("in b"),
        ModelScripted.text("done")
      ]))))

    it.effect("always, said to the outer run, does not hold inside; said inside, it holds for that call alone", () =>
      Effect.gen(function*() {
        const agent = nested(1)
        const always = (reason: { readonly approvals: ReadonlyArray<Approval.Approval> }) =>
          reason.approvals.map((approval) => Approval.approve(approval, { always: true }))
        const first = yield* reasonOf("ApprovalRequired", runAs(way, agent, "go"))
        const second = yield* reasonOf("ApprovalRequired", resumeAs(way, agent, first.state, always(first)))
        assert.deepStrictEqual(second.approvals.map(({ id }) => id), ["a/p2"])
        const third = yield* reasonOf("ApprovalRequired", resumeAs(way, agent, second.state, always(second)))
        assert.deepStrictEqual(third.approvals.map(({ id }) => id), ["b/p5"])
        assert.deepStrictEqual(yield* ran, ["pay 1", "pay 2", "pay 3", "pay 4"])
        const result = yield* resumeAs(way, agent, third.state, [Approval.reject(third.approvals[0]!)])
        assert.strictEqual(result.finalOutput, "done")
        assert.deepStrictEqual(yield* ran, ["pay 1", "pay 2", "pay 3", "pay 4"])
      }).pipe(Effect.provide(world([
        ModelScripted.calls([pay(1, "p1")]),
        ModelScripted.calls([ask("a")]),
        ModelScripted.calls([pay(2, "p2")]),
        ModelScripted.calls([pay(3, "p3")]),
        ModelScripted.text("in a"),
        ModelScripted.calls([pay(4, "p4"), ask("b")]),
        ModelScripted.calls([pay(5, "p5")]),
        ModelScripted.text("in b"),
        ModelScripted.text("done")
      ]))))

    it.effect("a decision that does not fit what waits inside is refused before any handler", () =>
      Effect.gen(function*() {
        const agent = nested(1)
        const { approvals: [approval], state } = yield* reasonOf("ApprovalRequired", runAs(way, agent, "go"))
        const yes = Approval.approve(approval!)
        for (const wrong of [{ ...yes, id: "p1" }, { ...yes, argumentsHash: "00" }, { ...yes, id: "b/p1" }]) {
          yield* reasonOf("StateMismatch", resumeAs(way, agent, state, [wrong]))
        }
        assert.deepStrictEqual(yield* ran, [])
      }).pipe(Effect.provide(world([ModelScripted.calls([ask("a")]), ModelScripted.calls([pay(1, "p1")])]))))

    it.effect("the call itself may need approval, and what it calls then asks for itself", () => {
      const agent = Agent.make({
        name: "boss",
        agentTools: [Agent.asTool(nested(0), { name: "ask", description: "Asks", needsApproval: true })]
      }) as Agent.Agent<string, any, any>
      return Effect.gen(function*() {
        const first = yield* reasonOf("ApprovalRequired", runAs(way, agent, "go"))
        assert.deepStrictEqual(first.approvals.map(({ id, tool }) => [id, tool]), [["a", "ask"], ["b", "ask"]])
        assert.strictEqual((yield* ModelScripted.requests).length, 1)
        const second = yield* reasonOf(
          "ApprovalRequired",
          resumeAs(way, agent, first.state, [
            Approval.approve(first.approvals[0]!),
            Approval.reject(first.approvals[1]!)
          ])
        )
        assert.deepStrictEqual(second.approvals.map(({ id }) => id), ["a/p1"])
        const result = yield* resumeAs(way, agent, second.state, [Approval.approve(second.approvals[0]!)])
        assert.deepStrictEqual(yield* ran, ["pay 1"])
        assert.deepStrictEqual(outputs(result.items), {
          a: "inside",
          b: `Error: Tool "ask" was not executed: the call was rejected.`
        })
      }).pipe(Effect.provide(world([
        ModelScripted.calls([ask("a"), ask("b")]),
        ModelScripted.calls([pay(1, "p1")]),
        ModelScripted.text("inside"),
        ModelScripted.text("done")
      ])))
    })

    it.effect("usage is shared, and each request is its agent's", () => {
      const inner = Agent.make({ name: "inner" })
      const agent = Agent.make({
        name: "outer",
        agentTools: [Agent.asTool(inner, { name: "ask", description: "Asks" })]
      })
      const usage = (inputTokens: number) => ({ usage: { inputTokens, outputTokens: 1, totalTokens: inputTokens + 1 } })
      return Effect.gen(function*() {
        const result = yield* runAs(way, agent, "go")
        assert.deepStrictEqual(result.requests.map((request) => [request.agent, request.usage.inputTokens]), [
          ["outer", 10],
          ["inner", 100],
          ["outer", 1000]
        ])
        assert.strictEqual(result.usage.inputTokens, 1110)
        assert.strictEqual(result.usage.requests, 3)
        assert.strictEqual(result.responses.length, 2)
      }).pipe(Effect.provide(ModelScripted.layer([
        ModelScripted.toolCall("ask", { input: "x" }, { callId: "a", ...usage(10) }),
        ModelScripted.text("inside", usage(100)),
        ModelScripted.text("done", usage(1000))
      ])))
    })

    it.effect("it is asked what the call says, remembers nothing, and has turns of its own", () =>
      Effect.gen(function*() {
        const result = yield* runAs(way, nested(1, 1), "go", { maxTurns: 2 })
        assert.strictEqual(result.finalOutput, "done")
        assert.match(String(outputs(result.items)["a"]), /^Error: .*No final answer after 1 turns/)
        assert.strictEqual(outputs(result.items)["b"], "inside")
        const requests = yield* ModelScripted.requests
        assert.deepStrictEqual(requests[1]!.input, [Item.user("first")])
        assert.deepStrictEqual(requests[2]!.input, [Item.user("second")])
      }).pipe(Effect.provide(world([
        ModelScripted.calls([ask("a", "first"), ask("b", "second")]),
        ModelScripted.calls([look("x", "l1")]),
        ModelScripted.text("inside"),
        ModelScripted.text("done")
      ]))))

    it.effect("what it fails with goes to the calling model; a bug in a handler ends the run", () =>
      Effect.gen(function*() {
        const result = yield* runAs(way, nested(1), "go")
        assert.match(String(outputs(result.items)["a"]), /^Error: .*gone/)
        assert.strictEqual(result.finalOutput, "mended")
        const defect = yield* reasonOf("ToolDefect", runAs(way, nested(1), "go"))
        assert.strictEqual(defect.tool, "look")
      }).pipe(Effect.provide(world([
        ModelScripted.calls([ask("a")]),
        ModelScripted.fail(new ModelError.Transport({ description: "gone" })),
        ModelScripted.text("mended"),
        ModelScripted.calls([ask("a")]),
        ModelScripted.calls([look("bug", "l1")])
      ]))))
  })
}

describe("events of agents as tools", () => {
  it.effect("carry the path of calls, flat, and a pause is told of once by the outer run", () =>
    Effect.gen(function*() {
      const agent = nested(2)
      const events: Array<RunEvent<unknown>> = []
      const waiting = yield* reasonOf(
        "ApprovalRequired",
        Stream.runForEach(Runner.stream(agent, "go"), (event) => Effect.sync(() => events.push(event)))
      )
      const told = events.flatMap(leaves)
      assert.isTrue(events.every((event) => event._tag !== "Nested" || event.event._tag !== "Nested"))
      for (const path of ["", "a", "a/b"]) {
        assert.isTrue(told.some(([at, tag]) => at === path && tag === "TurnStarted"), path)
      }
      assert.deepStrictEqual(told.filter(([, tag]) => tag === "ApprovalRequested"), [["", "ApprovalRequested"]])
      const after = Array.from(
        yield* Stream.runCollect(
          Runner.resumeStream(agent, waiting.state, [Approval.approve(waiting.approvals[0]!)])
        )
      )
      const finished = after.flatMap((event) => {
        const [path, inner] = event._tag === "Nested" ? [event.path.join("/"), event.event] : ["", event]
        return inner._tag === "ToolFinished" ? [`${path}: ${inner.callId}`] : []
      })
      assert.deepStrictEqual(finished, ["a/b: p1", "a: b", ": a"])
      assert.deepStrictEqual(after.filter(({ _tag }) => _tag === "Completed").length, 1)
    }).pipe(Effect.provide(world([
      ModelScripted.calls([ask("a")]),
      ModelScripted.calls([ask("b")]),
      ModelScripted.calls([pay(1, "p1")]),
      ModelScripted.text("2"),
      ModelScripted.text("1"),
      ModelScripted.text("0")
    ]))))
})
