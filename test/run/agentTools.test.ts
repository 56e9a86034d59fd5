import { assert, describe, it } from "@effect/vitest"
import { Agent, Approval, ModelScripted, Runner } from "agent-layers"
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
