import { assert, describe, it } from "@effect/vitest"
import { Agent, Approval, Handoff, ModelScripted, RunError, Runner, RunState, SessionMemory } from "agent-layers"
import { Effect, Redacted, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const Pay = Tool.make("pay", {
  parameters: Schema.Struct({ amount: Schema.Number }),
  success: Schema.String,
  needsApproval: true
})
const kit = Toolkit.make(Pay)
const done: Array<number> = []
const handlers = kit.toLayer({
  pay: ({ amount }) => Effect.as(Effect.sync(() => done.push(amount)), `paid ${amount}`)
})
const cashier = Agent.make({ name: "cashier", toolkit: kit })
/** Pays without a question. */
const trusting = Agent.make({ name: "cashier", toolkit: kit, toolOptions: { pay: { needsApproval: false } } })
const manager = Agent.make({
  name: "manager",
  agentTools: [Agent.asTool(cashier, { name: "ask_cashier", description: "Asks the cashier" })]
})
const front = Agent.make({ name: "front", handoffs: [Handoff.to(cashier)] })

const call = (callId: string, amount = 5) => ModelScripted.toolCall("pay", { amount }, { callId })

/** The state that a run of this stops with. */
const stateOf = (effect: Effect.Effect<unknown, any, any>): Effect.Effect<RunState.RunState, never, any> =>
  Effect.map(Effect.orDie(Effect.flip(effect)), (error) => {
    assert.isTrue(RunError.isRunError(error), String(error))
    return error.reason.state
  })

const waiting = stateOf(Runner.run(cashier, "pay", { conversationId: "c" })).pipe(
  Effect.provide([handlers, ModelScripted.layer([call("p1")]), SessionMemory.layer])
) as Effect.Effect<RunState.RunState>

const key = Redacted.make("0123456789abcdef0123456789abcdef")

const reasonOf = (effect: Effect.Effect<unknown, RunState.RunStateError>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.strictEqual(error._tag, "RunStateError")
    assert.isFalse(error.isRetryable)
    assert.strictEqual(error.message, error.reason.message)
    return error.reason
  })

describe("RunState", () => {
  it.effect("is the same after it was written and read, signed or not", () =>
    Effect.gen(function*() {
      const state = yield* waiting
      const text = yield* RunState.serialise(state)
      assert.deepStrictEqual(yield* RunState.deserialise(text), state)
      assert.strictEqual(yield* RunState.serialise(yield* RunState.deserialise(text)), text)
      const signed = yield* RunState.serialise(state, { key })
      assert.match(signed, /^[\w-]+\.[\w-]+$/)
      assert.deepStrictEqual(yield* RunState.deserialise(signed, { key }), state)
      const audience = "tenant ü"
      const forOne = yield* RunState.serialise(state, { key, audience })
      assert.deepStrictEqual(yield* RunState.deserialise(forOne, { key, audience }), state)
    }))

  it.effect("that was altered, or signed with another key or for somebody else, or not signed, is not authentic", () =>
    Effect.gen(function*() {
      const state = yield* waiting
      const text = yield* RunState.serialise(state)
      const signed = yield* RunState.serialise(state, { key, audience: "a" })
      const [payload, mac] = signed.split(".") as [string, string]
      const altered = Buffer.from(
        text.replace("\"amount\":5", "\"amount\":6").replace("\\\"amount\\\":5", "\\\"amount\\\":6")
      )
        .toString("base64url")
      assert.notStrictEqual(altered, payload)
      const bad: ReadonlyArray<readonly [string, RunState.SigningOptions]> = [
        [`${altered}.${mac}`, { key, audience: "a" }],
        [`${payload}.${mac.startsWith("A") ? "B" : "A"}${mac.slice(1)}`, { key, audience: "a" }],
        [`${payload}.`, { key, audience: "a" }],
        [`${payload}`, { key, audience: "a" }],
        [`${signed}.x`, { key, audience: "a" }],
        [signed, { key: Redacted.make("x".repeat(32)), audience: "a" }],
        [signed, { key, audience: "b" }],
        [signed, { key }],
        [text, { key, audience: "a" }],
        ["", { key }]
      ]
      for (const [one, options] of bad) {
        const reason = yield* reasonOf(RunState.deserialise(one, options))
        assert.strictEqual(reason._tag, "NotAuthentic", one)
        assert.notInclude(reason.message, Redacted.value(key))
      }
      // A signed one is no JSON for whoever has no key.
      assert.strictEqual((yield* reasonOf(RunState.deserialise(signed)))._tag, "MalformedState")
    }))

  it.effect("needs a key of 32 bytes", () =>
    Effect.gen(function*() {
      const state = yield* waiting
      const short = { key: Redacted.make("short") }
      for (const effect of [RunState.serialise(state, short), RunState.deserialise("a.b", short)]) {
        const exit = yield* Effect.exit(effect as Effect.Effect<unknown, unknown>)
        assert.include(String(exit), "at least 32 bytes")
        assert.notInclude(String(exit), "short")
      }
    }))

  it.effect("of a later version is refused, with both versions named", () =>
    Effect.gen(function*() {
      const reason = yield* reasonOf(RunState.deserialise(`{"version":2,"what":"ever"}`))
      assert.strictEqual(reason._tag, "UnsupportedVersion")
      assert.match(reason.message, /version 2\b.* reads 1\b/)
    }))

  it.effect("that is junk is malformed", () =>
    Effect.gen(function*() {
      const text = yield* RunState.serialise(yield* waiting)
      const value = JSON.parse(text) as Record<string, unknown>
      const junk = [
        "",
        "hello",
        "null",
        "[]",
        "7",
        "{}",
        `{"version":1}`,
        text.slice(0, -1),
        `${text}x`,
        JSON.stringify({ ...value, items: "none" }),
        JSON.stringify({ ...value, turns: "1" }),
        JSON.stringify({ ...value, openTurn: { response: null } })
      ]
      for (const one of junk) {
        assert.strictEqual((yield* reasonOf(RunState.deserialise(one)))._tag, "MalformedState", one)
      }
    }))

  it.effect("holds no context and no settings of the program", () =>
    Effect.gen(function*() {
      const secret = "hunter2"
      const agent = Agent.make({
        name: "cashier",
        toolkit: kit,
        instructions: `instructions ${secret}`,
        settings: { providerOptions: { other: { key: secret } } } as any
      })
      const state = yield* stateOf(Runner.run(agent, "pay", {
        context: { token: secret },
        settings: { providerOptions: { openai: { key: secret } } } as any,
        trace: { metadata: { secret } }
      }))
      assert.strictEqual(state.openTurn!.approvals.length, 1)
      assert.notInclude(yield* RunState.serialise(state), secret)
    }).pipe(Effect.provide([handlers, ModelScripted.layer([call("p1")])]) as any))

  describe("the corpus of version 1", () => {
    const folder = fileURLToPath(new URL("./fixtures/run-state/", import.meta.url))
    const files = readdirSync(folder).filter((file) => file.endsWith(".json")).sort()
    const read = (file: string) => readFileSync(`${folder}${file}`, "utf8").trim()

    it("has every kind of state", () =>
      assert.deepStrictEqual(files, [
        "v1-approval.json",
        "v1-handed-off.json",
        "v1-kept.json",
        "v1-max-turns.json",
        "v1-nested.json",
        "v1-stopped.json"
      ]))

    for (const file of files) {
      it.effect(`${file} loads, and is written as it was`, () =>
        Effect.gen(function*() {
          const state = yield* RunState.deserialise(read(file))
          assert.strictEqual(state.version, 1)
          assert.deepStrictEqual(JSON.parse(yield* RunState.serialise(state)), JSON.parse(read(file)))
        }))
    }

    const resumed = (
      file: string,
      agent: Agent.Agent<string, any, any>,
      script: ModelScripted.Script,
      paid: ReadonlyArray<number>
    ) =>
      it.effect(`${file} is resumed`, () =>
        Effect.gen(function*() {
          done.length = 0
          const { conversationId: _, conversationVersion: __, ...state } = yield* RunState.deserialise(read(file))
          const decisions = state.openTurn?.approvals.map((approval) => Approval.approve(approval))
          const result = yield* Runner.resume(agent, state, decisions, { maxTurns: 5 })
          assert.strictEqual(result.finalOutput, "done")
          assert.deepStrictEqual(done, paid)
        }).pipe(Effect.provide([handlers, ModelScripted.layer(script)]) as any))

    const answer = ModelScripted.text("done")
    resumed("v1-approval.json", cashier, [answer], [5])
    resumed("v1-handed-off.json", front, [answer], [5])
    resumed("v1-nested.json", manager, [ModelScripted.text("paid"), answer], [5])
    resumed("v1-kept.json", trusting, [call("p2"), answer], [])
    resumed("v1-stopped.json", cashier, [answer], [])
    resumed("v1-max-turns.json", cashier, [answer], [])
  })
})
