import { assert, describe, it } from "@effect/vitest"
import { Agent, Handoff, ModelScripted, RunError, Runner, SessionMemory } from "agent-layers"
import { Effect, Layer, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { reasonOf, resumeAs, runAs, ways } from "./support.ts"

/** A toolkit with a `send` of its own each time. */
const makeKit = (how: string) => {
  const kit = Toolkit.make(Tool.make("send", { success: Schema.String }))
  return { kit, handlers: kit.toLayer({ send: () => Effect.succeed(how) }) }
}

const mail = makeKit("mail")
const post = makeKit("post")

const poster = Agent.make({ name: "poster", toolkit: post.kit })
const mailer = Agent.make({ name: "mailer", toolkit: mail.kit })

const asTool = <Output, E, R>(agent: Agent.Agent<Output, E, R>) =>
  Agent.asTool(agent, { name: `ask_${agent.name}`, description: "asks" })

const middle = (name: string, next: Agent.Any) => Agent.make({ name, handoffs: [next as typeof mailer] })

const clashes: ReadonlyArray<readonly [string, Agent.Any]> = [
  ["by a handoff", Agent.make({ name: "mailer", toolkit: mail.kit, handoffs: [poster] })],
  ["by agents called like tools", Agent.make({ name: "mailer", toolkit: mail.kit, agentTools: [asTool(poster)] })],
  [
    "between two that a third leads to",
    Agent.make({ name: "root", handoffs: [mailer], agentTools: [asTool(poster)] })
  ],
  [
    "at any depth",
    Agent.make({
      name: "root",
      agentTools: [asTool(mailer)],
      handoffs: [middle("one", Agent.make({ name: "two", agentTools: [asTool(middle("three", poster))] }))]
    })
  ]
]

const cyclic: Agent.Any = Agent.make({
  name: "mailer",
  toolkit: mail.kit,
  handoffs:
    () => [Handoff.to(Agent.make({ name: "poster", toolkit: post.kit, handoffs: () => [cyclic as typeof mailer] }))]
})

const layers = (...script: ReadonlyArray<ModelScripted.Step>) =>
  Layer.mergeAll(mail.handlers, SessionMemory.layer, ModelScripted.layer(script))

for (const way of ways) {
  describe(`different tools of one name, by ${way}`, () => {
    for (const [how, agent] of clashes) {
      it.effect(`are refused before the first request: ${how}`, () =>
        Effect.gen(function*() {
          const { description } = yield* reasonOf("InvalidOptions", runAs(way, agent, "go"))
          for (const name of ["mailer", "poster", "send"]) assert.include(description, `"${name}"`)
          assert.deepStrictEqual(yield* ModelScripted.requests, [])
        }).pipe(Effect.provide(layers())))
    }

    it.effect("are refused in a cycle too", () =>
      Effect.gen(function*() {
        const { description } = yield* reasonOf("InvalidOptions", runAs(way, cyclic, "go"))
        assert.include(description, `"send"`)
      }).pipe(Effect.provide(layers())))

    it.effect("are refused when a run is resumed", () =>
      Effect.gen(function*() {
        const before = Agent.make({ name: "mailer", toolkit: mail.kit })
        const { state } = yield* reasonOf(
          "Stopped",
          runAs(way, before, "go", { stopAfterTurn: Effect.succeed(true) })
        )
        const after = Agent.make({ name: "mailer", toolkit: mail.kit, handoffs: [poster] })
        yield* reasonOf("InvalidOptions", resumeAs(way, after, state))
        assert.strictEqual((yield* ModelScripted.requests).length, 1)
      }).pipe(Effect.provide(layers(ModelScripted.calls([{ name: "send" }])))))

    it.effect("are not one tool in several toolkits, nor a provider's tool", () => {
      const search = () => Tool.providerDefined({ id: "test.search", customName: "search", providerName: "search" })()
      const shared = Object.values(mail.kit.tools)[0]!
      const third = Agent.make({ name: "third", toolkit: Toolkit.make(shared, search()) })
      const second = Agent.make({ name: "second", toolkit: Toolkit.make(shared), agentTools: [asTool(third)] })
      const first = Agent.make({
        name: "first",
        toolkit: Toolkit.merge(mail.kit, Toolkit.make(search())),
        handoffs: [second]
      })
      return Effect.gen(function*() {
        const result = yield* runAs(way, first, "go")
        assert.strictEqual(result.finalOutput, "done")
      }).pipe(Effect.provide(layers(ModelScripted.calls([{ name: "send" }]), ModelScripted.text("done"))))
    })
  })
}

describe("the error", () => {
  it.effect("is the same in every run of the agent", () =>
    Effect.gen(function*() {
      const [, agent] = clashes[0]!
      const errors = yield* Effect.forEach([1, 2], () => Effect.flip(Runner.run(agent, "go") as Effect.Effect<unknown>))
      assert.isTrue(errors.every((error) => RunError.isRunError(error)))
      assert.strictEqual(String(errors[0]), String(errors[1]))
    }).pipe(Effect.provide(layers())))
})
