/**
 * Checks that decide whether something may happen: only the one exact answer lets it happen. The law is checked over
 * every kind of call that may need an approval, and over doubles that break it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Agent, Approval, Guardrail, ModelScripted, RunError } from "agent-layers"
import * as Law from "agent-layers/services/laws/Law"
import * as McpServer from "agent-layers/services/McpServer"
import { Cause, Effect, Exit, Layer, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { reasonOf, resumeAs, runAs, type Way, ways } from "./support.ts"

type Became = "ran" | "asked" | "failed"

/** Makes one call under a check, and says what became of it. */
type Subject = (needsApproval: unknown) => Effect.Effect<Became>

const answers: ReadonlyArray<readonly [name: string, value: unknown]> = [
  ["null", null],
  ["0", 0],
  ["1", 1],
  ["-0", -0],
  ["NaN", NaN],
  ["0n", 0n],
  ["an empty text", ""],
  ["\"false\"", "false"],
  ["\"no\"", "no"],
  ["an empty list", []],
  ["an object", {}],
  ["a boxed false", Object(false)],
  ["a promise of false", Promise.resolve(false)],
  ["a symbol", Symbol("false")],
  ["true", true]
]

const law: Law.Law<Subject> = {
  name: "Only an exact false lets a call run unasked",
  check: (subject) =>
    Effect.gen(function*() {
      yield* Law.equal("false", yield* subject(false), "ran")
      yield* Law.equal("a function to false", yield* subject(() => false), "ran")
      yield* Law.equal("an Effect of false", yield* subject(() => Effect.succeed(false)), "ran")
      yield* Law.equal("a late false", yield* subject(() => Effect.as(Effect.yieldNow, false)), "ran")
      for (const [name, value] of answers) {
        yield* Law.equal(name, yield* subject(value), "asked")
        yield* Law.equal(`a function to ${name}`, yield* subject(() => value), "asked")
        yield* Law.equal(`an Effect of ${name}`, yield* subject(() => Effect.succeed(value)), "asked")
      }
      yield* Law.equal("a function to nothing", yield* subject(() => undefined), "asked")
      yield* Law.equal("an Effect of nothing", yield* subject(() => Effect.void), "asked")
      yield* Law.equal("an async function", yield* subject(async () => false), "asked")
      const fails: ReadonlyArray<readonly [string, () => unknown]> = [
        ["a function that throws", () => {
          throw new Error("no")
        }],
        ["an Effect that dies", () => Effect.die(new Error("no"))],
        ["an Effect that fails", () => Effect.fail("no")]
      ]
      for (const [name, check] of fails) yield* Law.equal(name, yield* subject(check), "failed")
    })
}

const becameOf = (ran: number, exit: Exit.Exit<unknown, any>): Became => {
  const error = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined
  const isAsked = RunError.isRunError(error) && error.reason._tag === "ApprovalRequired"
  // Untyped failures are no answer at all.
  assert.isTrue(Exit.isSuccess(exit) || error !== undefined, String(exit))
  return ran > 0 ? "ran" : isAsked ? "asked" : "failed"
}

const script = (tool: string) => [ModelScripted.toolCall(tool), ModelScripted.text("done")]

const byToolkit = (way: Way, place: "tool" | "options"): Subject => (needsApproval) =>
  Effect.suspend(() => {
    let ran = 0
    const Tools = Toolkit.make(
      Tool.make("pay", {
        success: Schema.String,
        ...(place === "tool" ? { needsApproval: needsApproval as never } : {})
      })
    )
    const agent = Agent.make({
      name: "a",
      toolkit: Tools,
      ...(place === "options" ? { toolOptions: { pay: { needsApproval: needsApproval as never } } } : {})
    })
    return Effect.exit(Effect.provide(runAs(way, agent as Agent.Agent<string>, "go"), [
      Tools.toLayer({ pay: () => Effect.sync(() => (ran++, "paid")) }),
      ModelScripted.layer(script("pay"))
    ])).pipe(Effect.map((exit) => becameOf(ran, exit))) as Effect.Effect<Became>
  })

class Bank extends McpServer.Service<Bank>()("bank") {}

const byMcp = (way: Way): Subject => (needsApproval) =>
  Effect.suspend(() => {
    let ran = 0
    const bank: McpServer.McpConnection = {
      name: "bank",
      listTools: Effect.succeed([{ name: "pay", inputSchema: { type: "object" } }]),
      callTool: () => Effect.sync(() => (ran++, { content: [{ type: "input_text", text: "paid" }], isError: false })),
      toolsChanged: Stream.empty
    }
    const agent = Agent.make({
      name: "a",
      mcpServers: [Agent.mcpTools(Bank, { needsApproval: needsApproval as never })]
    })
    return Effect.exit(Effect.provide(runAs(way, agent as Agent.Agent<string>, "go"), [
      Layer.succeed(Bank, bank),
      ModelScripted.layer(script("pay"))
    ])).pipe(Effect.map((exit) => becameOf(ran, exit))) as Effect.Effect<Became>
  })

for (const way of ways) {
  describe(`an approval check fails closed, ${way}`, () => {
    const subjects: Readonly<Record<string, Subject>> = {
      "of a tool": byToolkit(way, "tool"),
      "of an agent's tool options": byToolkit(way, "options"),
      "of an MCP server's tools": byMcp(way)
    }
    for (const [name, subject] of Object.entries(subjects)) {
      it.effect(
        name,
        () => Effect.map(Law.verify(law, subject), (outcome) => assert.deepStrictEqual(outcome, { _tag: "Held" }))
      )
    }

    it.effect("of an agent that is called", () =>
      Effect.forEach([...answers, ["a function", () => false] as const], ([name, needsApproval]) => {
        const inner = Agent.make({ name: "inner" })
        const tool = Agent.asTool(inner, { name: "ask", description: "Asks", needsApproval: needsApproval as never })
        const outer = Agent.make({ name: "outer", agentTools: [tool] })
        const script = [ModelScripted.toolCall("ask", `{"input":"x"}`)]
        return Effect.gen(function*() {
          const exit = yield* Effect.exit(runAs(way, outer, "go"))
          assert.strictEqual(becameOf((yield* ModelScripted.requests).length - 1, exit), "asked", name)
        }).pipe(Effect.provide(ModelScripted.layer(script)))
      }))

    it.effect("of a person's decision: anything but an exact true is a rejection", () =>
      Effect.forEach([1, "true", "yes", {}, null, undefined, Object(true)], (isApproved) => {
        let ran = 0
        const Tools = Toolkit.make(Tool.make("pay", { success: Schema.String, needsApproval: true }))
        const agent = Agent.make({ name: "a", toolkit: Tools })
        return Effect.gen(function*() {
          const { approvals, state } = yield* reasonOf("ApprovalRequired", runAs(way, agent, "go"))
          const decision = { ...Approval.approve(approvals[0]!), isApproved: isApproved as boolean }
          yield* Effect.exit(resumeAs(way, agent, state, [decision]))
          assert.strictEqual(ran, 0, String(isApproved))
        }).pipe(Effect.provide([
          Tools.toLayer({ pay: () => Effect.sync(() => (ran++, "paid")) }),
          ModelScripted.layer(script("pay"))
        ]))
      }))

    it.effect("of a guardrail's verdict: anything but a pass trips", () =>
      Effect.forEach(
        [undefined, null, true, {}, { _tag: "pass" }, { _tag: "Reject", message: "no" }, "Pass"],
        (verdict) => {
          const check = () => Effect.succeed(verdict as never)
          const before = Agent.make({
            name: "a",
            inputGuardrails: [Guardrail.input({ name: "g", mode: "blocking", check })]
          })
          const after = Agent.make({ name: "a", outputGuardrails: [Guardrail.output({ name: "g", check })] })
          const trips = (agent: Agent.Agent<string>) => reasonOf("GuardrailTripped", runAs(way, agent, "go"))
          return Effect.andThen(trips(before), trips(after)).pipe(
            Effect.provide(ModelScripted.layer([ModelScripted.text("done")]))
          )
        }
      ))
  })
}

describe("the law of approval checks", () => {
  /** Answers as a loop would that reads the check like this. */
  const reading = (mayRun: (answer: unknown) => boolean | Effect.Effect<boolean>): Subject => (needsApproval) =>
    Effect.suspend(() => {
      const answer = typeof needsApproval === "function" ? needsApproval() : needsApproval
      const unwrapped: Effect.Effect<unknown> = Effect.isEffect(answer)
        ? answer as Effect.Effect<unknown>
        : Effect.succeed(answer)
      return Effect.flatMap(unwrapped, (answer) => {
        const may = mayRun(answer)
        return Effect.map(Effect.isEffect(may) ? may : Effect.succeed(may), (may): Became => may ? "ran" : "asked")
      })
    }).pipe(Effect.catchCause(() => Effect.succeed<Became>("failed")))

  it.effect("holds for a loop that keeps it", () =>
    Effect.map(
      Law.verify(law, reading((answer) => answer === false)),
      (outcome) => assert.strictEqual(outcome._tag, "Held")
    ))

  const broken: Readonly<Record<string, readonly [Subject, string]>> = {
    "what is not true runs": [reading((answer) => answer !== true), "null"],
    "what is falsy runs": [reading((answer) => !answer), "null"],
    "an Effect is not looked into": [
      (needsApproval) =>
        Effect.sync(() => {
          const answer = typeof needsApproval === "function" ? needsApproval() : needsApproval
          return Effect.isEffect(answer) || answer === false ? "ran" : "asked"
        }),
      "an Effect of null"
    ],
    "a promise is waited for": [
      reading((answer) => Effect.map(Effect.promise(async () => await answer), (settled) => settled === false)),
      "a promise of false"
    ],
    "a check that fails lets the call run": [
      (needsApproval) =>
        Effect.map(
          reading((answer) => answer === false)(needsApproval),
          (became) => became === "failed" ? "ran" : became
        ),
      "a function that throws"
    ],
    "every call is asked for": [() => Effect.succeed("asked"), "false"]
  }
  for (const [name, [subject, operation]] of Object.entries(broken)) {
    it.effect(`is broken where ${name}`, () =>
      Effect.map(Law.verify(law, subject), (outcome) => {
        assert(outcome._tag === "Broken", name)
        assert.match(outcome.report, new RegExp(`${operation}\\n\\s+expected`))
      }))
  }
})
