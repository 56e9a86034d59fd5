import { assert, describe, it } from "@effect/vitest"
import {
  Agent,
  Approval,
  Guardrail,
  ModelScripted,
  RunError,
  Runner,
  RunState,
  Session,
  SessionMemory
} from "agent-layers"
import { isModelError, ModelError } from "agent-layers/services/ModelError"
import { Cause, Console, Effect, Exit, Formatter, Inspectable, Layer, Logger, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import * as util from "node:util"
import { runAs } from "./support.ts"

/** Stands in everything that is said: input, arguments, outputs, answers, what guardrails find. */
const canary = "canary-7f3a"

const Note = Tool.make("note", { parameters: Schema.Struct({ text: Schema.String }), success: Schema.String })
const Fail = Tool.make("fail", {
  parameters: Schema.Struct({ text: Schema.String }),
  success: Schema.String,
  failure: Schema.String
})
const Die = Tool.make("die", { parameters: Schema.Struct({ text: Schema.String }), success: Schema.String })
const kit = Toolkit.make(Note, Fail, Die)
const handlers = kit.toLayer({
  note: () => Effect.succeed(`noted ${canary}`),
  fail: () => Effect.fail(`failed ${canary}`),
  die: () => Effect.die(new Error("a bug"))
})

const call = (name: string) => ({ name, arguments: { text: canary } })
const note = ModelScripted.calls([call("note")])
const says = ModelScripted.text(`the answer ${canary}`)
const trip = { name: "no canaries", check: () => Effect.succeed(Guardrail.trip({ found: canary })) }
const agent = Agent.make({ name: "a", toolkit: kit })
const asking = Agent.make({ name: "asking", toolkit: kit, toolOptions: { note: { needsApproval: true } } })
const numbers = Agent.make({ name: "numbers", toolkit: kit, output: Schema.Struct({ n: Schema.Number }) })
const conversationId = "c"

type World = Layer.Success<typeof handlers> | Session.Session | Layer.Success<ReturnType<typeof ModelScripted.layer>>

interface Case {
  readonly reason: string
  readonly script: ReadonlyArray<ModelScripted.Step>
  readonly run: Effect.Effect<unknown, unknown, World>
  /** Whether code finds the canary in what the reason holds. */
  readonly isHeld?: boolean
}

const cases: ReadonlyArray<Case> = [
  { reason: "MaxTurnsExceeded", script: [note], run: runAs("run", agent, canary, { maxTurns: 1 }) },
  { reason: "ToolDefect", script: [note, ModelScripted.calls([call("die")])], run: runAs("run", agent, canary) },
  {
    reason: "ToolFailed",
    script: [note, ModelScripted.calls([call("fail")])],
    run: runAs("run", agent, canary, { onToolFailure: "fail" })
  },
  { reason: "InvalidFinalOutput", script: [says], run: runAs("run", numbers, canary) },
  {
    reason: "InvalidFinalOutput",
    script: [ModelScripted.text(JSON.stringify({ n: canary }))],
    run: runAs("stream", numbers, canary)
  },
  { reason: "ApprovalRequired", script: [note], run: runAs("run", asking, canary) },
  {
    reason: "ApprovalRequired",
    script: [ModelScripted.calls([{ name: "ask", arguments: { input: canary } }]), note],
    run: runAs(
      "stream",
      Agent.make({ name: "outer", agentTools: [Agent.asTool(asking, { name: "ask", description: "asks" })] }),
      canary
    )
  },
  {
    reason: "GuardrailTripped",
    script: [says],
    run: runAs("run", Agent.make({ name: "a", inputGuardrails: [{ ...trip, mode: "blocking" }] }), canary)
  },
  {
    reason: "GuardrailTripped",
    script: [says],
    run: runAs("run", Agent.make({ name: "a", outputGuardrails: [trip] }), canary)
  },
  ...(["inputGuardrails", "outputGuardrails"] as const).map((kind): Case => ({
    reason: "GuardrailTripped",
    script: [note],
    run: runAs("run", Agent.make({ name: "a", toolkit: kit, toolOptions: { note: { [kind]: [trip] } } }), canary)
  })),
  {
    reason: "Stopped",
    script: [note],
    run: runAs("run", agent, canary, { conversationId, stopAfterTurn: Effect.succeed(true) })
  },
  {
    reason: "ConversationMoved",
    script: [note],
    run: Effect.gen(function*() {
      const error = yield* Effect.flip(
        runAs("run", agent, canary, { conversationId, stopAfterTurn: Effect.succeed(true) })
      )
      const session = yield* Session.Session
      yield* session.popItem(conversationId)
      yield* Runner.resume(agent, error.reason.state, [], { conversationId })
    })
  },
  {
    reason: "StateMismatch",
    script: [note],
    run: Effect.gen(function*() {
      const error = yield* Effect.flip(runAs("run", asking, canary))
      const [approval] = error.reason.approvals
      const decision = Approval.approve({ ...approval, argumentsHash: "another" })
      yield* Runner.resume(asking, error.reason.state, [decision])
    }),
    isHeld: false
  },
  { reason: "InvalidOptions", script: [], run: runAs("run", agent, [{ type: 1, text: canary } as any]), isHeld: false },
  { reason: "Refused", script: [ModelScripted.refusal(`not ${canary}`)], run: runAs("run", numbers, canary) },
  {
    reason: "InvalidOutput",
    script: [note, ModelScripted.incomplete("max_output_tokens", ModelScripted.text(canary))],
    run: runAs("run", numbers, canary),
    isHeld: false
  }
]

const world = (script: ReadonlyArray<ModelScripted.Step>) =>
  Layer.mergeAll(handlers, SessionMemory.layer, ModelScripted.layer(script, { strict: false }))

const failure = ({ run, script }: Case) =>
  Effect.map(Effect.exit(Effect.provide(run, world(script))), (exit) => {
    assert.isTrue(Exit.isFailure(exit), "expected a failure")
    return {
      exit,
      cause: (exit as Exit.Failure<unknown, any>).cause,
      error: Exit.isFailure(exit) ? Cause.squash(exit.cause) as any : undefined
    }
  })

const inspect = (value: unknown) => util.inspect(value, { depth: Infinity, maxStringLength: null })

/** All that a logger writes about what is logged. */
const logged = (logger: Logger.Logger<unknown, unknown>, ...message: ReadonlyArray<unknown>) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const write = (...args: ReadonlyArray<unknown>) => void lines.push(util.format(...args), ...args.map(inspect))
    const console = new Proxy(globalThis.console, { get: () => write })
    yield* Effect.logError(...message).pipe(
      Effect.provide(Logger.layer([Logger.map(logger, (out) => write(out)), logger])),
      Effect.provideService(Console.Console, console)
    )
    assert.isAbove(lines.join("").length, 0)
    return lines.join("\n")
  })

const loggers = {
  simple: Logger.formatSimple,
  logfmt: Logger.formatLogFmt,
  structured: Logger.formatStructured,
  json: Logger.formatJson,
  default: Logger.defaultLogger,
  pretty: Logger.consolePretty({ colors: false, mode: "tty" }),
  prettyBrowser: Logger.consolePretty({ colors: false, mode: "browser" }),
  consoleJson: Logger.consoleJson,
  consoleStructured: Logger.consoleStructured
}

const ways: ReadonlyArray<
  readonly [
    string,
    (thrown: { readonly error: any; readonly cause: Cause.Cause<any>; readonly exit: unknown }) => string
  ]
> = [
  ["JSON.stringify", ({ error }) => JSON.stringify([error, error.reason, error.cause, { error }])],
  ["JSON.stringify of the cause", ({ cause, exit }) => JSON.stringify([cause, exit])],
  [
    "util.inspect",
    ({ error }) =>
      inspect(error) + inspect(error.reason) + inspect({ error }) + inspect(new Error("x", { cause: error }))
  ],
  ["util.inspect of the cause", ({ cause, exit }) => inspect(cause) + inspect(exit) + inspect(cause.reasons)],
  [
    "util.inspect without custom methods",
    ({ cause, error }) =>
      [error, error.reason, cause].flatMap((value) =>
        [true, false].map((showHidden) => util.inspect(value, { depth: Infinity, customInspect: false, showHidden }))
      ).join()
  ],
  [
    "util.format",
    ({ cause, error }) => util.format("%s %o %O %j", error, error, error, error) + util.format("%s", cause)
  ],
  [
    "String",
    ({ cause, error, exit }) =>
      [error, error.reason, cause, exit, error.message, error.stack, error.reason.stack].map(String).join()
  ],
  [
    "Formatter",
    ({ cause, error }) =>
      Formatter.format(error) + Formatter.formatJson(error) + Formatter.format(cause) + Formatter.formatJson(cause)
  ],
  [
    "Inspectable",
    ({ cause, error }) =>
      Inspectable.toStringUnknown(error) + Inspectable.toStringUnknown(cause) + inspect(Inspectable.toJson(error))
  ],
  ["Cause.pretty", ({ cause }) => Cause.pretty(cause)],
  [
    "Cause.prettyErrors",
    ({ cause }) => Cause.prettyErrors(cause).map((error) => inspect(error) + JSON.stringify(error)).join()
  ],
  [
    "a spread",
    ({ error }) => inspect({ ...error }) + inspect({ ...error.reason }) + JSON.stringify({ ...error.reason })
  ]
]

describe.each(cases)("an error with $reason", (one) => {
  it.effect("is printed without the conversation in every way, and code reads it", () =>
    Effect.gen(function*() {
      const thrown = yield* failure(one)
      const { error } = thrown
      assert.strictEqual(error.reason?._tag, one.reason, inspect(error))
      for (const [way, print] of ways) assert.notInclude(print(thrown), canary, way)
      for (const [name, logger] of Object.entries(loggers)) {
        for (const message of [[error], [thrown.cause], ["failed", error, thrown.cause], [{ error }]]) {
          assert.notInclude(
            yield* logged(logger, ...message),
            canary,
            `${name} of ${message.map((part) => typeof part)}`
          )
        }
      }
      // By the Schema, which writes all of it.
      const schema = isModelError(error) ? ModelError : RunError.RunError
      const encoded = yield* Schema.encodeUnknownEffect(Schema.toCodecJson(schema as typeof RunError.RunError))(error)
      assert.strictEqual(JSON.stringify(encoded).includes(canary), one.isHeld !== false)
      const decoded = yield* Schema.decodeUnknownEffect(Schema.toCodecJson(schema as typeof RunError.RunError))(encoded)
      assert.deepStrictEqual(
        yield* Schema.encodeUnknownEffect(Schema.toCodecJson(schema as typeof RunError.RunError))(decoded),
        encoded
      )
      assert.notInclude(inspect(decoded) + JSON.stringify(decoded), canary)
      assert.isTrue(Schema.is(schema)(error))
      if (RunError.isRunError(error) && "state" in error.reason) {
        assert.include(JSON.stringify(error.reason.state.items), canary)
        assert.include(yield* RunState.serialise(error.reason.state), canary)
        const { agent, runId, reason } = JSON.parse(JSON.stringify(error))
        assert.strictEqual(agent, error.agent)
        assert.strictEqual(runId, error.runId)
        assert.strictEqual(reason._tag, one.reason)
        assert.strictEqual(reason.state.items, error.reason.state.items.length)
        assert.strictEqual(reason.state.turns, error.reason.state.turns)
        assert.include(inspect(error), `items: ${error.reason.state.items.length}`)
      }
    }))

  it.live("and nothing is in what a program prints that ends with it", () =>
    Effect.gen(function*() {
      const rejected = yield* Effect.promise(() =>
        Effect.runPromise(Effect.provide(one.run, world(one.script)) as Effect.Effect<unknown>).then(
          () => assert.fail("expected a failure"),
          (error: unknown) => inspect(error)
        )
      )
      assert.notInclude(rejected, canary)
    }))
})

describe("code", () => {
  it.effect("reads what is not printed", () =>
    Effect.gen(function*() {
      const reasons = yield* Effect.forEach(cases, (one) => Effect.map(failure(one), ({ error }) => error.reason))
      const of = (tag: string) => reasons.find((reason) => reason._tag === tag)
      assert.include(of("InvalidFinalOutput").text, canary)
      assert.include(of("ToolFailed").description, canary)
      assert.include(of("Refused").description, canary)
      assert.include(of("ApprovalRequired").approvals[0].arguments, canary)
      assert.deepStrictEqual(of("GuardrailTripped").result.info, { found: canary })
      assert.deepStrictEqual(of("GuardrailTripped").results.at(-1), of("GuardrailTripped").result)
      assert.include(of("ApprovalRequired").message, "note")
      assert.include(of("ToolFailed").message, "fail")
    }))
})
