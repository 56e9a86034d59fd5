/**
 * What the rules see of a request, and what they may do about it.
 */
import * as Item from "agent-layers/services/Item"
import type * as ModelProvider from "agent-layers/services/ModelProvider"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

export interface Situation {
  readonly question: string
  /** What was asked before in this conversation, oldest first. */
  readonly earlier: ReadonlyArray<string>
  /** The names of the tools that there are. */
  readonly tools: ReadonlySet<string>
  /** What tools have answered since the question. */
  readonly answers: ReadonlyArray<{ readonly tool: string; readonly output: string }>
}

export type Step =
  | { readonly _tag: "Say"; readonly text: string }
  | { readonly _tag: "Call"; readonly calls: ReadonlyArray<Call> }

export interface Call {
  readonly tool: string
  readonly arguments: Readonly<Record<string, unknown>>
}

export const say = (...lines: ReadonlyArray<string>): Step => ({ _tag: "Say", text: lines.join("\n") })

export const call = (...calls: ReadonlyArray<Call>): Step => ({ _tag: "Call", calls })

const isQuestion = (item: Item.Item) => Item.isMessage(item) && item.role === "user"

const textOf = (output: Item.FunctionCallOutput["output"]) =>
  typeof output === "string" ? output : output.map((part) => part.text ?? "").join("")

/** The last thing that the user said stands between what was asked before and what tools have answered since. */
export const situationOf = (request: ModelProvider.ModelRequest): Situation => {
  const items = typeof request.input === "string" ? [Item.user(request.input)] : request.input
  const last = items.findLastIndex(isQuestion)
  const since = items.slice(last + 1)
  const outputs = new Map(since.filter(Item.isFunctionCallOutput).map((item) => [item.call_id, textOf(item.output)]))
  return {
    question: last < 0 ? "" : Item.text(items[last]!),
    earlier: items.slice(0, Math.max(last, 0)).filter(isQuestion).map(Item.text),
    tools: new Set(request.tools?.map((tool) => tool.name)),
    answers: since.filter(Item.isFunctionCall).map(({ call_id, name }) => ({
      tool: name,
      output: outputs.get(call_id) ?? ""
    }))
  }
}

export const outputs = ({ answers }: Situation, tool: string): ReadonlyArray<string> =>
  answers.filter((answer) => answer.tool === tool).map(({ output }) => output)

/** What a tool answered, by its schema; a failure is left out. */
export const results = <A>(situation: Situation, tool: string, schema: Schema.Codec<A, any>): ReadonlyArray<A> =>
  outputs(situation, tool).flatMap((output) =>
    Option.toArray(Schema.decodeOption(Schema.fromJsonString(schema))(output))
  )
