import * as Effect from "effect/Effect"
import { toJson } from "../../services/internal/json.ts"
import * as Tracer from "../../services/Tracer.ts"
import type { GuardrailResult, InputGuardrail, ToolVerdict, Verdict } from "../Guardrail.ts"
import * as RunError from "../RunError.ts"
import type { Run } from "./state.ts"
import { fail, stateOf } from "./state.ts"

/** Fails closed: only `Pass` passes, and only a check of a tool can reject. */
const outcomeOf = (kind: GuardrailResult["kind"], verdict: Verdict | ToolVerdict): GuardrailResult["outcome"] =>
  verdict?._tag === "Pass"
    ? "passed"
    : verdict?._tag === "Reject" && (kind === "toolInput" || kind === "toolOutput")
    ? "rejected"
    : "tripped"

/** Runs a check in a span, keeps its result, and stops the run if it trips. Returns the text of a rejection. */
const runCheck = <V extends Verdict | ToolVerdict>(
  run: Run,
  kind: GuardrailResult["kind"],
  name: string,
  check: Effect.Effect<V, unknown>,
  callId?: string
): Effect.Effect<string | undefined, unknown> => {
  const settled = Effect.map(
    check,
    (verdict: Verdict | ToolVerdict): readonly [GuardrailResult, string | undefined] => {
      const result: GuardrailResult = {
        name,
        kind,
        agent: run.agent.name,
        outcome: outcomeOf(kind, verdict),
        ...(callId === undefined ? undefined : { callId }),
        ...(verdict?.info === undefined ? undefined : { info: toJson(verdict.info) })
      }
      run.guardrails.push(result)
      return [result, verdict?._tag === "Reject" ? verdict.message ?? "Rejected." : undefined]
    }
  )
  const traced = Tracer.withSpan(
    settled,
    () => ({ _tag: "Guardrail" as const, name }),
    (exit) => exit._tag === "Success" ? { isTripped: exit.value[0].outcome === "tripped" } : {}
  )
  return Effect.flatMap(traced, ([result, message]) =>
    result.outcome === "tripped"
      ? Effect.fail(fail(
        run,
        new RunError.GuardrailTripped({
          result,
          results: run.guardrails.slice(),
          state: stateOf(run, Math.max(0, run.turn - 1))
        })
      ))
      : Effect.succeed(message))
}

/** All of one mode at the same time; the first that trips interrupts the others. */
export const checkInput = (run: Run, mode: InputGuardrail["mode"]): Effect.Effect<void, unknown> => {
  const guardrails = run.agent.inputGuardrails.filter((guardrail) => guardrail.mode === mode)
  if (guardrails.length === 0) return Effect.void
  const input = { agent: run.agent.name, input: run.input, context: run.options.context }
  return Effect.forEach(
    guardrails,
    ({ check, name }) => runCheck(run, "input", name, check(input) as Effect.Effect<Verdict, unknown>),
    {
      concurrency: "unbounded",
      discard: true
    }
  )
}

export const checkOutput = (run: Run, finalOutput: unknown): Effect.Effect<void, unknown> => {
  const guardrails = run.agent.outputGuardrails
  if (guardrails.length === 0) return Effect.void
  const output = { agent: run.agent.name, finalOutput, context: run.options.context }
  return Effect.forEach(
    guardrails,
    ({ check, name }) => runCheck(run, "output", name, check(output) as Effect.Effect<Verdict, unknown>),
    {
      concurrency: "unbounded",
      discard: true
    }
  )
}

/** One after another; the first rejection stands, and answers with its text. */
export const checkTool = <Subject>(
  run: Run,
  kind: "toolInput" | "toolOutput",
  callId: string,
  guardrails: ReadonlyArray<{
    readonly name: string
    readonly check: (subject: Subject) => Effect.Effect<ToolVerdict, any, any>
  }> = [],
  subject: () => Subject
): Effect.Effect<string | undefined, unknown> => {
  if (guardrails.length === 0) return Effect.undefined
  return Effect.gen(function*() {
    for (const { check, name } of guardrails) {
      const message = yield* runCheck(run, kind, name, check(subject()) as Effect.Effect<ToolVerdict, unknown>, callId)
      if (message !== undefined) return message
    }
    return undefined
  })
}
