/**
 * A model without a language model: one more `ModelProvider` Layer. It decides by rules, asks for the same tools as any
 * other model would, and writes its answer from what they gave. The runner cannot tell the difference.
 */
import * as Ids from "agent-layers/services/Ids"
import * as Item from "agent-layers/services/Item"
import * as ModelError from "agent-layers/services/ModelError"
import * as ModelProvider from "agent-layers/services/ModelProvider"
import * as Usage from "agent-layers/services/Usage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { decide } from "./rules.ts"
import { situationOf } from "./situation.ts"

const provider = "offline"
const name = "rules"

const beyondRules = ["outputSchema", "handoffs", "settings", "previousResponseId", "conversationId", "prompt"] as const

/** What rules cannot honour is refused by its name, never dropped. */
const refuse = (request: ModelProvider.ModelRequest) => {
  const feature = beyondRules.find((feature) => request[feature] !== undefined)
  if (feature === undefined) return Effect.void
  const reason = new ModelError.Unsupported({ feature, description: "rules know nothing of it" })
  return Effect.fail(new ModelError.ModelError({ provider, model: name, reason }))
}

const respond: ModelProvider.Model["respond"] = Effect.fnUntraced(function*(request) {
  yield* refuse(request)
  const ids = yield* Ids.Ids
  const step = decide(situationOf(request))
  const output = step._tag === "Say"
    ? [Item.assistant(step.text)]
    : yield* Effect.forEach(
      step.calls,
      (call) =>
        Effect.map(
          ids.next("call"),
          (callId) => Item.functionCall({ callId, name: call.tool, arguments: JSON.stringify(call.arguments) })
        )
    )
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
