/**
 * A model without a language model, for when there is no key: it says what it is, and runs the tools that it is told to
 * run. The loop, the tools, the approvals and the store around it are the real ones.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Ids from "../../../services/Ids.ts"
import * as Item from "../../../services/Item.ts"
import * as ModelError from "../../../services/ModelError.ts"
import * as ModelProvider from "../../../services/ModelProvider.ts"
import * as Usage from "../../../services/Usage.ts"
import { oneLine } from "./output.ts"

const provider = "offline"
const name = "rules"

const refuse = (request: ModelProvider.ModelRequest) => {
  const feature = (["outputSchema", "previousResponseId", "conversationId", "prompt"] as const)
    .find((feature) => request[feature] !== undefined)
  if (feature === undefined) return Effect.void
  const reason = new ModelError.Unsupported({
    feature,
    description: "rules know nothing of it. Set OPENAI_API_KEY, or name a model in the configuration"
  })
  return Effect.fail(new ModelError.ModelError({ provider, model: name, reason }))
}

const namesOf = (request: ModelProvider.ModelRequest): ReadonlyArray<string> => [
  ...(request.tools ?? []).filter(({ type }) => type === "function").map(({ name }) => name),
  ...(request.handoffs ?? []).map(({ name }) => name)
]

const outputOf = (item: Item.FunctionCallOutput): string =>
  typeof item.output === "string" ? item.output : item.output.map((part) => part.text ?? `[${part.type}]`).join(" ")

type Step =
  | { readonly _tag: "Say"; readonly text: string }
  | { readonly _tag: "Call"; readonly tool: string; readonly arguments: string }

const decide = (request: ModelProvider.ModelRequest): Step => {
  const items = typeof request.input === "string" ? [Item.user(request.input)] : request.input
  const last = items.findLastIndex((item) => Item.isMessage(item) && item.role === "user")
  const outputs = items.slice(last + 1).filter(Item.isFunctionCallOutput)
  if (outputs.length > 0) return { _tag: "Say", text: outputs.map(outputOf).join("\n") }
  const said = last < 0 ? "" : Item.text(items[last]!).trim()
  const tools = namesOf(request)
  const call = /^call\s+([\w.-]+)\s*([^]*)$/i.exec(said)
  if (call !== null && tools.includes(call[1]!)) {
    return { _tag: "Call", tool: call[1]!, arguments: call[2] === "" ? "{}" : call[2]! }
  }
  const why = call === null ? "" : `\nThere is no tool "${call[1]}".`
  const how = tools.length === 0
    ? "There is no tool to call."
    : `Say "call TOOL {...}" to run one of the tools: ${tools.join(", ")}.`
  const text = `(offline: rules, no language model) You said: ${oneLine(said, 200)}${why}\n${how}`
  return { _tag: "Say", text }
}

const respond: ModelProvider.Model["respond"] = Effect.fnUntraced(function*(request) {
  yield* refuse(request)
  const ids = yield* Ids.Ids
  const step = decide(request)
  const output = step._tag === "Say"
    ? [Item.assistant(step.text)]
    : [Item.functionCall({ callId: yield* ids.next("call"), name: step.tool, arguments: step.arguments })]
  return ModelProvider.ModelResponse.make({
    model: name,
    output,
    usage: Usage.make({ requests: 0 }),
    status: "completed"
  })
})

/** The same answer, a line at a time. */
const eventsOf = (response: ModelProvider.ModelResponse): ReadonlyArray<ModelProvider.ModelEvent> => [
  ...response.output.flatMap((item, index): ReadonlyArray<ModelProvider.ModelEvent> => [
    ...(Item.text(item).match(/.*\n|.+$/g) ?? []).map((delta) => ({
      _tag: "TextDelta" as const,
      itemId: String(index),
      delta
    })),
    { _tag: "ItemDone", item }
  ]),
  { _tag: "Completed", response }
]

export const layer: Layer.Layer<ModelProvider.ModelProvider> = Layer.succeed(ModelProvider.ModelProvider, {
  getModel: () =>
    Effect.succeed({
      name,
      provider,
      respond,
      stream: (request) => Stream.fromIterableEffect(Effect.map(respond(request), eventsOf))
    })
})
