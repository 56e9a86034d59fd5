import * as Effect from "effect/Effect"
import * as History from "../../services/History.ts"
import type { FunctionCall } from "../../services/Item.ts"
import { isFunctionCall, isMessage, refusal, text } from "../../services/Item.ts"
import type { ModelError } from "../../services/ModelError.ts"
import { InvalidOutput, Refused } from "../../services/ModelError.ts"
import type { ModelResponse } from "../../services/ModelProvider.ts"
import * as RunError from "../RunError.ts"
import type { Run } from "./state.ts"
import { fail, stateOf, unusable } from "./state.ts"

export type NextStep =
  | { readonly _tag: "RunTools"; readonly calls: ReadonlyArray<FunctionCall> }
  | { readonly _tag: "RunAgain" }
  | { readonly _tag: "Finish"; readonly finalOutput: unknown }

const invalid = (run: Run, description: string) => Effect.fail(unusable(run, InvalidOutput, description))

/**
 * The calls to run: each once. A call that comes again word for word is left out; an id that comes again for something
 * else would answer the wrong call.
 */
const newCalls = (run: Run, response: ModelResponse): ReadonlyArray<FunctionCall> | string => {
  const calls: Array<FunctionCall> = []
  for (const item of response.output) {
    if (!isFunctionCall(item)) continue
    const known = run.calls.get(item.call_id)
    if (known === undefined) {
      run.calls.set(item.call_id, item)
      calls.push(item)
    } else if (known.name !== item.name || known.arguments !== item.arguments) {
      return item.call_id
    }
  }
  return calls
}

const cutOff = (run: Run, response: ModelResponse) =>
  invalid(run, `it was cut off before it was complete (${response.incompleteReason ?? "no reason given"})`)

/** A model that did something, hosted tools for instance, goes on; of one that did nothing the same would come again. */
const unanswered = (run: Run, response: ModelResponse) =>
  response.status === "incomplete"
    ? cutOff(run, response)
    : !response.output.some(isFunctionCall) && History.repair(response.output).length === 0
    ? invalid(run, "the model answered with nothing")
    : Effect.succeed<NextStep>({ _tag: "RunAgain" })

/**
 * Tools come before a final answer. The answer is the last message; without one the model has not answered yet, and
 * the same goes for an empty text where a shape was asked for.
 */
export const decide = (
  run: Run,
  response: ModelResponse
): Effect.Effect<NextStep, RunError.RunError | ModelError> => {
  const calls = newCalls(run, response)
  if (typeof calls === "string") return invalid(run, `Call id "${calls}" came again for another call`)
  if (calls.length > 0) return Effect.succeed({ _tag: "RunTools", calls })
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
  if (answer === "") return Effect.succeed({ _tag: "RunAgain" })
  return Effect.matchEffect(output.decode(answer), {
    onSuccess: (finalOutput) => Effect.succeed<NextStep>({ _tag: "Finish", finalOutput }),
    onFailure: (error) =>
      Effect.fail(fail(
        run,
        new RunError.InvalidFinalOutput({
          text: answer,
          description: error.message,
          state: stateOf(run, run.turn, History.repair(response.output))
        })
      ))
  })
}
