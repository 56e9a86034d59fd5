import { assert, describe, it } from "@effect/vitest"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as Item from "agent-layers/services/Item"
import * as ModelError from "agent-layers/services/ModelError"
import { ModelProvider } from "agent-layers/services/ModelProvider"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"

const respond = (input: string | ReadonlyArray<Item.Item>, model?: string) =>
  Effect.flatMap(ModelProvider, (provider) => provider.getModel(model)).pipe(
    Effect.flatMap((model) => model.respond({ input }))
  )

const stream = (input: string | ReadonlyArray<Item.Item>, model?: string) =>
  Stream.unwrap(
    Effect.flatMap(ModelProvider, (provider) => provider.getModel(model)).pipe(
      Effect.map((model) => model.stream({ input }))
    )
  )

describe("ModelScripted", () => {
  it.effect("reads like a dialogue", () =>
    Effect.gen(function*() {
      const first = yield* respond("What is 1 + 2?")
      assert.deepStrictEqual(first, {
        id: "resp_1",
        model: "scripted",
        output: [{
          type: "function_call",
          id: "fc_1",
          call_id: "call_1",
          name: "add",
          arguments: `{"a":1,"b":2}`,
          status: "completed"
        }],
        usage: {
          requests: 1,
          inputTokens: 10,
          outputTokens: 5,
          totalTokens: 15,
          cachedTokens: 0,
          reasoningTokens: 0
        },
        status: "completed"
      })
      const events = yield* Stream.runCollect(
        stream([Item.user("What is 1 + 2?"), ...first.output, Item.functionCallOutput("call_1", "3")])
      )
      const message = Item.assistant("It is 3.", { id: "msg_1" })
      assert.deepStrictEqual(events, [
        { _tag: "TextDelta", itemId: "msg_1", delta: "It " },
        { _tag: "TextDelta", itemId: "msg_1", delta: "is " },
        { _tag: "TextDelta", itemId: "msg_1", delta: "3." },
        { _tag: "ItemDone", item: message },
        { _tag: "Completed", response: { ...first, id: "resp_2", output: [message] } }
      ])
      const requests = yield* ModelScripted.requests
      assert.deepStrictEqual(requests.map(({ mode }) => mode), ["respond", "stream"])
      assert.strictEqual(requests[0]!.input, "What is 1 + 2?")
      assert.deepStrictEqual(requests[0]!.items, [Item.user("What is 1 + 2?")])
      assert.strictEqual(requests[1]!.items, requests[1]!.input)
      assert.strictEqual(yield* ModelScripted.aborted, 0)
    }).pipe(
      Effect.provide(ModelScripted.layer([
        ModelScripted.toolCall("add", { a: 1, b: 2 }),
        ModelScripted.text("It is 3.")
      ]))
    ))
})
