import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as History from "../../services/History.ts"
import type { FunctionCall, FunctionCallOutput } from "../../services/Item.ts"
import { functionCallOutput } from "../../services/Item.ts"
import * as Tracer from "../../services/Tracer.ts"
import { keyOf } from "./agents.ts"
import type { PlannedHandoff } from "./plan.ts"
import { planOf } from "./plan.ts"
import type { Run } from "./state.ts"
import { hook, hookContext, mergeSettings } from "./state.ts"
import { asText } from "./toolOutcome.ts"

/** What a response's handoffs come to: an output for each, and the one that is made. */
export interface HandingOff {
  readonly outputs: ReadonlyArray<FunctionCallOutput>
  readonly chosen: { readonly planned: PlannedHandoff; readonly call: FunctionCall } | undefined
}

export const noHandoff: HandingOff = { outputs: [], chosen: undefined }

/** The first that can be made wins; each call gets an output, so that the history stays whole. */
export const chooseHandoff = Effect.fnUntraced(function*(
  run: Run,
  calls: ReadonlyArray<FunctionCall>,
  isCutOff: boolean
) {
  const outputs: Array<FunctionCallOutput> = []
  let chosen: HandingOff["chosen"]
  for (const call of calls) {
    const planned = run.plan.handoffs.get(call.name)!
    const answer = (text: string) => outputs.push(functionCallOutput(call.call_id, text))
    if (isCutOff) {
      answer(`Error: No handoff was made: the response was cut off before it was complete. Call it again.`)
    } else if (!run.offer.isEnabled(call.name)) {
      answer(`Error: The handoff "${call.name}" is not available.`)
    } else if (chosen !== undefined) {
      answer(`No handoff was made: another one of the same response comes first.`)
    } else {
      const { handoff } = planned
      const input = planned.decode === undefined
        ? Result.succeed(undefined)
        : yield* Effect.result(planned.decode(call.arguments))
      if (Result.isFailure(input)) {
        answer(`Error: The arguments of "${call.name}" are not valid: ${input.failure.message}. Call it again.`)
        continue
      }
      if (handoff.onHandoff !== undefined) {
        yield* handoff.onHandoff(input.success ?? {}) as Effect.Effect<unknown, unknown>
      }
      answer(asText({ assistant: handoff.agent.name }))
      chosen = { planned, call }
    }
  }
  return { outputs, chosen } as HandingOff
})

/** From the next turn on another agent answers, with its own tools, model and settings. */
export const handOff = (
  run: Run,
  { call, planned: { handoff } }: NonNullable<HandingOff["chosen"]>
): Effect.Effect<void, unknown> => {
  const from = run.agent.name
  const to = handoff.agent.name
  return Tracer.withSpan(
    Effect.gen(function*() {
      const { model, settings } = run.options
      const { agent } = handoff
      run.model = yield* run.findModel(model ?? agent.model)
      run.agent = agent
      run.agentKey = keyOf(run.root, agent)
      run.plan = planOf(agent)
      run.offer = run.plan.offer
      run.settings = mergeSettings(agent.settings, settings)
      run.repairs = 0
      if (handoff.filter !== undefined) run.view = History.repair(handoff.filter(run.view), [], run.view).slice()
      if (run.emit !== undefined) yield* run.emit([{ _tag: "HandedOff", callId: call.call_id, from, to }])
      yield* hook(run, ({ onHandoff }) => onHandoff?.(hookContext(run), { from, to }))
      yield* hook(run, ({ onAgentStart }) => onAgentStart?.(hookContext(run)))
    }),
    () => ({ _tag: "Handoff" as const, from, to })
  )
}
