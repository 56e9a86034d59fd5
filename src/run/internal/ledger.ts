import type { FunctionCall, Item } from "../../services/Item.ts"
import { functionCallOutput, isFunctionCall, isFunctionCallOutput } from "../../services/Item.ts"
import type { OpenTurn, RunState } from "../RunState.ts"
import type { Answer } from "./toolOutcome.ts"
import { answerCall, asText } from "./toolOutcome.ts"

/** How far a call without an output has come. */
export type Progress =
  | { readonly _tag: "Started" | "Died" | "Withheld" | "Waiting" }
  /** An agent was called. `made` are the items of its run so far. */
  | { readonly _tag: "Called"; readonly made: ReadonlyArray<Item> }

/** What has happened to the calls of one turn, so that the turn can be kept if it stops early. */
export interface Ledger {
  readonly answers: Map<string, Answer>
  /** By call id; absent if the call was not run. */
  readonly progress: Map<string, Progress>
  /** Whether the run has taken in the whole turn. */
  isWhole: boolean
}

export const makeLedger = (open: OpenTurn | undefined): Ledger => ({
  answers: new Map(open?.answers.map((answer) => [answer.callId, answer])),
  progress: new Map(open?.answers.map(({ callId }) => [callId, { _tag: "Started" }])),
  isWhole: false
})

type RanCalls = NonNullable<RunState["ran"]>

/** Gives calls that are made again, right after the turn in which they ran, the outputs that are there. */
export const answerAgain = ({ answers }: Ledger, calls: ReadonlyArray<FunctionCall>, ran: RanCalls): void => {
  const left = ran.slice()
  for (const { arguments: written, call_id: callId, name } of calls) {
    const at = left.findIndex(({ answer, arguments: ran }) => answer.tool === name && ran === written)
    if (at === -1 || answers.has(callId)) continue
    const [{ answer }] = left.splice(at, 1) as [RanCalls[number]]
    answers.set(callId, { ...answer, callId, output: { ...answer.output, call_id: callId } as Item })
  }
}

/** The calls that ran to their end. One that failed may be tried again. */
export const ranCalls = (ledger: Ledger, calls: ReadonlyArray<FunctionCall>): RanCalls =>
  calls.flatMap((call) => {
    const progress = ledger.progress.get(call.call_id)
    const answer = progress?._tag === "Withheld"
      ? answerCall(call, { encoded: describe(call.name, progress), isFailure: false })
      : ledger.answers.get(call.call_id)
    return progress === undefined || answer === undefined || answer.isFailure
      ? []
      : [{ arguments: call.arguments, answer }]
  })

/** Whether a tool has started: its effects may be there, whatever became of the call. */
export const hasRun = ({ progress }: Ledger): boolean =>
  Array.from(progress.values()).some((one) =>
    one._tag === "Called" ? one.made.some(isFunctionCallOutput) : one._tag !== "Waiting"
  )

const maxCalls = 20
const maxLength = 200

const shorten = (text: string): string => text.length <= maxLength ? text : `${text.slice(0, maxLength)}…`

/** The calls that an agent made before it stopped, in words for the model that called it. */
export const describeCalls = (made: ReadonlyArray<Item>): string => {
  const outputs = new Map(made.filter(isFunctionCallOutput).map((item) => [item.call_id, item.output]))
  const lines = made.filter(isFunctionCall).filter((call) => outputs.has(call.call_id)).map((call) =>
    `${call.name}(${shorten(call.arguments)}): ${shorten(asText(outputs.get(call.call_id)))}`
  )
  if (lines.length === 0) return ""
  const left = lines.length - maxCalls
  const shown = lines.slice(0, maxCalls).join("\n")
  return `\nThe calls that it made before:\n${shown}${left > 0 ? `\n… and ${left} more` : ""}`
}

const unfinished = "It may have had an effect: check before you call it again."

const describe = (name: string, progress: Progress | undefined): string => {
  switch (progress?._tag) {
    case "Started":
      return `Error: Tool "${name}" was interrupted before it finished. ${unfinished}`
    case "Died":
      return `Error: Tool "${name}" broke off before it finished. ${unfinished}`
    case "Withheld":
      return `Tool "${name}" ran. Its output is withheld: it did not pass a guardrail.`
    case "Waiting":
      return `Error: Tool "${name}" was not run: the run stopped before a person decided about the call.`
    case "Called":
      return `Error: "${name}" was stopped before it answered.${describeCalls(progress.made)}`
    case undefined:
      return `Error: "${name}" was not run: the run stopped first.`
  }
}

/** The output of a call in a turn that stops early: its own, or a text that says how far it came. */
export const outputOf = ({ answers, progress }: Ledger, call: FunctionCall): Item =>
  answers.get(call.call_id)?.output ??
    functionCallOutput(call.call_id, describe(call.name, progress.get(call.call_id))) as Item
