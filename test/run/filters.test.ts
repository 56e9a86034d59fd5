import { assert, describe, it } from "@effect/vitest"
import { Agent, Handoff, Item, ModelScripted, Runner, Session, SessionMemory } from "agent-layers"
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import { Arbitrary, Effect, Layer, Redacted, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import * as OpenAiPeer from "../support/openai/OpenAiPeer.ts"
import { firstSeed, rounds, timeLimit } from "../support/rounds.ts"

const kit = Toolkit.make(Tool.make("ping", { success: Schema.String }))
const handlers = kit.toLayer({ ping: () => Effect.succeed("pong") })
const { callItem, messageItem, reasoned } = OpenAiPeer

/** A subset in any order, the same for the same ranks: an item with rank 0 goes, the others are sorted by rank. */
const filterBy = (ranks: ReadonlyArray<number>) => (items: ReadonlyArray<Item.Item>): ReadonlyArray<Item.Item> => {
  const rankAt = (index: number) => ranks[index % ranks.length]! * (index + 7) % 5
  const kept = items.map((item, index) => ({ item, rank: rankAt(index) })).filter(({ rank }) => rank !== 0)
  const sorted = ranks[0]! % 2 === 0 ? kept : kept.toSorted((one, other) => one.rank - other.rank)
  return [...sorted.map(({ item }) => item), Item.user("continue")]
}

const ways = ["handoff filter", "inputFilter", "history", "both filters"] as const

/** Two conversations of responses with reasoning; what the strict peer refuses fails the run. */
const converse = (way: typeof ways[number], filter: ReturnType<typeof filterBy>) =>
  Effect.gen(function*() {
    const peer = yield* OpenAiPeer.make
    const turn = (text: string) =>
      reasoned({}, [messageItem(text), callItem({ name: "ping" }), callItem({ name: "ping" })])
    const isHandedOff = way === "handoff filter" || way === "both filters"
    const target = Agent.make({ name: "b", toolkit: kit })
    const agent = Agent.make({
      name: "a",
      toolkit: kit,
      handoffs: [Handoff.to(target, { ...(isHandedOff ? { filter } : {}) })]
    })
    const history = (before: ReadonlyArray<Item.Item>, input: ReadonlyArray<Item.Item>) =>
      Effect.succeed([...filter(before), ...input])
    const options = {
      conversationId: "c",
      ...(way === "inputFilter" || way === "both filters"
        ? {
          inputFilter: (
            seen: { readonly instructions: string | undefined; readonly input: ReadonlyArray<Item.Item> }
          ) => Effect.succeed({ ...seen, input: filter(seen.input) })
        }
        : {}),
      ...(way === "history" ? { history } : {})
    }
    const handOff = reasoned({}, [messageItem("over to b"), callItem({ name: "transfer_to_b" })])
    yield* peer.enqueue(
      turn("one"),
      handOff,
      turn("two"),
      reasoned({}, [messageItem("done")]),
      turn("three"),
      handOff,
      OpenAiPeer.text("done")
    )
    const model = ModelOpenAIResponses.layer({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-5" })
    const results = yield* Effect.forEach(["hi", "and then?"], (input) => Runner.run(agent, input, options)).pipe(
      Effect.provide([handlers, model, SessionMemory.layer])
    )
    assert.deepStrictEqual(results.map(({ finalOutput }) => finalOutput), ["done", "done"])
  })

describe("after a filter", () => {
  const anyFilter = Arbitrary.map(
    Arbitrary.schema(Schema.Tuple([
      Schema.Literals(ways),
      Schema.NonEmptyArray(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })))
    ])),
    ([way, ranks]) => ({ way, filter: filterBy(ranks) })
  )

  it.effect.prop(
    "OpenAI takes the request, whatever the filter takes away and moves",
    [anyFilter],
    ([{ filter, way }]) => converse(way, filter),
    { arbitrary: { runs: rounds("requests"), seed: firstSeed }, timeout: timeLimit }
  )

  for (const way of ways) {
    it.effect(`messages alone are taken as history by ${way}`, () =>
      converse(way, (items) => items.filter((item) => item.type === "message")))
  }
})

describe("run([]) with maxItems", () => {
  const agent = Agent.make({ name: "a", toolkit: kit })
  const stored = [
    Item.user("old"),
    Item.assistant("answered"),
    Item.user("ping"),
    Item.functionCall({ callId: "1", name: "ping", arguments: "{}" }),
    Item.functionCallOutput("1", "pong")
  ]

  for (const maxItems of [1, 2, 3, 4]) {
    it.effect(`of ${maxItems} continues the last question`, () =>
      Effect.gen(function*() {
        const session = yield* Session.Session
        yield* session.saveItems("c", stored)
        const { finalOutput, version } = yield* Runner.run(agent, [], { conversationId: "c", maxItems })
        assert.strictEqual(finalOutput, "done")
        assert.strictEqual(version, 2)
        const [request] = yield* ModelScripted.requests
        assert.deepStrictEqual(request?.input, stored.slice(2))
        assert.strictEqual((yield* session.loadItems("c")).items.length, stored.length + 1)
      }).pipe(
        Effect.provide(Layer.mergeAll(handlers, SessionMemory.layer, ModelScripted.layer([ModelScripted.text("done")])))
      ))
  }

  it.effect("and so does the output of a call", () =>
    Effect.gen(function*() {
      yield* (yield* Session.Session).saveItems("c", stored.slice(0, 4))
      const { finalOutput } = yield* Runner.run(agent, stored.slice(4), { conversationId: "c", maxItems: 1 })
      assert.strictEqual(finalOutput, "done")
      const [request] = yield* ModelScripted.requests
      assert.deepStrictEqual(request?.input, stored.slice(2))
    }).pipe(
      Effect.provide(Layer.mergeAll(handlers, SessionMemory.layer, ModelScripted.layer([ModelScripted.text("done")])))
    ))

  it.effect("of 0 has nothing to answer", () =>
    Effect.gen(function*() {
      yield* (yield* Session.Session).saveItems("c", stored)
      const error = yield* Effect.flip(Runner.run(agent, [], { conversationId: "c", maxItems: 0 }))
      assert.include(String(error), "nothing to answer")
    }).pipe(Effect.provide(Layer.mergeAll(handlers, SessionMemory.layer, ModelScripted.layer([])))))
})
