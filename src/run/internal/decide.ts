import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as History from "../../services/History.ts"
import type { FunctionCall } from "../../services/Item.ts"
import { isFunctionCall, isMessage, refusal, text } from "../../services/Item.ts"
import type { ModelError } from "../../services/ModelError.ts"
import { InvalidOutput, Refused } from "../../services/ModelError.ts"
import type { ModelResponse } from "../../services/ModelProvider.ts"
import * as RunError from "../RunError.ts"
import type { Run } from "./state.ts"
import { fail, stateOf, unusable } from "./state.ts"
import type { Answer } from "./toolOutcome.ts"
import { asText } from "./toolOutcome.ts"

export type NextStep =
  | { readonly _tag: "RunAgain" }
  /** The answer does not decode: the model is told why, and the turn leaves nothing behind. */
  | { readonly _tag: "Repair"; readonly description: string }
  | { readonly _tag: "Finish"; readonly finalOutput: unknown }

const again: NextStep = { _tag: "RunAgain" }

const invalid = (run: Run, description: string) => Effect.fail(unusable(run, InvalidOutput, description))

/**
 * The calls to run: each once. A call that comes again word for word is left out; an id that comes again for something
 * else would answer the wrong call.
 */
export const newCalls = (
  run: Run,
  response: ModelResponse
): Effect.Effect<ReadonlyArray<FunctionCall>, ModelError> => {
  const calls: Array<FunctionCall> = []
  for (const item of response.output) {
    if (!isFunctionCall(item)) continue
    if (!item.call_id.isWellFormed()) return invalid(run, "A call id holds half of a surrogate pair")
    const known = run.calls.get(item.call_id)
    if (known === undefined) {
      run.calls.set(item.call_id, item)
      calls.push(item)
    } else if (known.name !== item.name || known.arguments !== item.arguments) {
      return invalid(run, `Call id "${item.call_id}" came again for another call`)
    }
  }
  return Effect.succeed(calls)
}

const cutOff = (run: Run, response: ModelResponse) =>
  invalid(run, `it was cut off before it was complete (${response.incompleteReason ?? "no reason given"})`)

/** A model that did something, hosted tools for instance, goes on; of one that did nothing the same would come again. */
const unanswered = (run: Run, response: ModelResponse) =>
  response.status === "incomplete"
    ? cutOff(run, response)
    : !response.output.some(isFunctionCall) && History.repair(response.output).length === 0
    ? invalid(run, "the model answered with nothing")
    : Effect.succeed(again)

const invalidOutput = (run: Run, response: ModelResponse, answer: string, description: string) =>
  fail(
    run,
    new RunError.InvalidFinalOutput({
      text: answer,
      description,
      state: stateOf(run, run.turn, History.repair(response.output))
    })
  )

/**
 * What a response without calls comes to. The answer is the last message; without one the model has not answered yet,
 * and the same goes for an empty text where a shape was asked for.
 */
export const decide = (
  run: Run,
  response: ModelResponse
): Effect.Effect<NextStep, RunError.RunError | ModelError> => {
  const message = response.output.findLast(isMessage)
  if (message === undefined) return unanswered(run, response)
  const refused = refusal(message)
  const answer = text(message)
  const { output } = run.plan
  if (output === undefined) {
    return Effect.succeed({ _tag: "Finish", finalOutput: answer === "" ? refused ?? "" : answer })
  }
  if (refused !== undefined) return Effect.fail(unusable(run, Refused, refused))
  if (response.status === "incomplete") return cutOff(run, response)
  if (answer === "") return Effect.succeed(again)
  return Effect.flatMap(Effect.result(output.decode(answer)), (decoded): Effect.Effect<NextStep, RunError.RunError> => {
    if (Result.isSuccess(decoded)) return Effect.succeed({ _tag: "Finish", finalOutput: decoded.success })
    const description = decoded.failure.message
    return run.repairs < run.agent.outputRepairs && run.turn < run.maxTurns
      ? Effect.succeed({ _tag: "Repair", description })
      : Effect.fail(invalidOutput(run, response, answer, description))
  })
}

const chosen = (run: Run, answers: ReadonlyArray<Answer>): Option.Option<unknown> => {
  const { toolUse } = run.agent
  if (toolUse === "runAgain") return Option.none()
  if (typeof toolUse === "function") return toolUse(answers)
  const names = toolUse === "stopOnFirst" ? undefined : toolUse.stopAt
  const isRejected = (callId: string) =>
    run.guardrails.some((result) =>
      result.callId === callId && result.kind === "toolInput" && result.outcome === "rejected"
    )
  const answer = answers.find(({ callId, isFailure, tool }) =>
    !isFailure && (names === undefined || names.includes(tool)) && !isRejected(callId)
  )
  return answer === undefined ? Option.none() : Option.some(answer)
}

/** What a response whose tools have run comes to. */
export const decideAfterTools = (
  run: Run,
  response: ModelResponse,
  answers: ReadonlyArray<Answer>
): Effect.Effect<NextStep, RunError.RunError> => {
  const choice = chosen(run, answers)
  if (Option.isNone(choice)) return Effect.succeed(again)
  if (typeof run.agent.toolUse === "function") return Effect.succeed({ _tag: "Finish", finalOutput: choice.value })
  const { output, value } = choice.value as Answer
  const shown = (output as { readonly output: unknown }).output
  if (run.plan.output === undefined) {
    return Effect.succeed({ _tag: "Finish", finalOutput: asText(typeof shown === "string" ? shown : value) })
  }
  return Effect.matchEffect(run.plan.output.check(value), {
    onSuccess: (finalOutput) => Effect.succeed<NextStep>({ _tag: "Finish", finalOutput }),
    onFailure: (error) => Effect.fail(invalidOutput(run, response, String(shown), error.message))
  })
}
