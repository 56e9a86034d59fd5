import { assert, describe, it } from "@effect/vitest"
import { Agent, Runner } from "agent-layers"
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import { Effect, Redacted, Stream } from "effect"
import * as OpenAiPeer from "../support/openai/OpenAiPeer.ts"

const agent = Agent.make({ name: "a" })

describe("raw events", () => {
  it.live("come before what they mean, where they are asked for, and change nothing else", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(OpenAiPeer.text("Yes."), OpenAiPeer.text("Yes."))
      const model = ModelOpenAIResponses.layer({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url })
      const events = (rawEvents: boolean) =>
        Stream.runCollect(Runner.stream(agent, "Hello?", { rawEvents })).pipe(Effect.provide(model))
      const withRaw = yield* events(true)
      const without = yield* events(false)
      const raw = withRaw.flatMap((event) => event._tag === "Raw" ? [event.event["type"]] : [])
      assert.strictEqual(raw[0], "response.created")
      assert.strictEqual(raw.at(-1), "response.completed")
      const first = withRaw.findIndex((event) => event._tag === "TextDelta")
      const before = withRaw[first - 1]!
      assert.strictEqual(before._tag === "Raw" && before.event["type"], "response.output_text.delta")
      const rest = withRaw.filter((event) => event._tag !== "Raw").map((event) => event._tag)
      assert.deepStrictEqual(rest, without.map((event) => event._tag))
    }))
})
