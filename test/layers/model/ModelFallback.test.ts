import { assert, describe, it } from "@effect/vitest"
import * as ModelFallback from "agent-layers/layers/model/ModelFallback"
import * as ModelOpenAIChat from "agent-layers/layers/model/ModelOpenAIChat"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as Item from "agent-layers/services/Item"
import * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import * as ModelError from "agent-layers/services/ModelError"
import { ModelProvider } from "agent-layers/services/ModelProvider"
import { Context, Effect, Layer, Logger, Redacted } from "effect"
import { expectTypeOf } from "vitest"
import { describeLaws } from "../../support/laws.ts"
import * as OpenAiPeer from "../../support/openai/OpenAiPeer.ts"
import { failing, failure, hello, modelOf, open, quiet, run, scripted, subject, textOf } from "./support.ts"

const isDown = ModelScripted.layer(() =>
  ModelScripted.fail(new ModelError.Unsupported({ feature: "input", description: "not here" }))
)

describeLaws(
  "ModelFallback over ModelScripted",
  ModelProviderLaws.all,
  subject((scripted) => ModelFallback.layer([scripted, isDown], { when: () => false }))
)

describeLaws(
  "ModelFallback, its first provider down, over ModelScripted",
  ModelProviderLaws.all,
  {
    ...subject((scripted) => Layer.provide(quiet, ModelFallback.layer([isDown, scripted]))),
    // What the first provider does not know, the second one is not asked for.
    unknownModel: undefined
  },
  { notShown: ["a name that the provider does not know is UnknownModel"] }
)

/** Two scripted providers, and a third. */
const three = Effect.fnUntraced(function*(
  scripts: readonly [
    ReadonlyArray<ModelScripted.Step>,
    ReadonlyArray<ModelScripted.Step>,
    ReadonlyArray<ModelScripted.Step>
  ],
  options?: ModelFallback.ModelFallbackOptions
) {
  const [a, b, c] = [yield* scripted(...scripts[0]), yield* scripted(...scripts[1]), yield* scripted(...scripts[2])]
  const model = yield* modelOf(Layer.provide(quiet, ModelFallback.layer([a.layer, b.layer, c.layer], options)))
  const counts = Effect.forEach([a, b, c], ({ model }) => Effect.map(model.requests, ({ length }) => length))
  return { model, counts }
})

const authentication = ModelScripted.fail(new ModelError.Authentication({ description: "wrong key" }))

describe("ModelFallback", () => {
  it.effect("asks the next one as long as nothing was visible, and says who answered", () =>
    Effect.gen(function*() {
      const ok = ModelScripted.text("from c")
      const { counts, model } = yield* three([
        [failing.overloaded(), failing.overloaded()],
        [authentication, authentication],
        [ok, ok]
      ])
      const response = yield* model.respond(hello)
      assert.strictEqual(Item.text(response.output[0]!), "from c")
      assert.strictEqual(response.usage.requests, 3)
      const { events } = yield* run(model)
      const last = events.at(-1)!
      assert(last._tag === "Completed")
      assert.strictEqual(textOf(events), "from c")
      assert.strictEqual(last.response.usage.requests, 3)
      assert.deepStrictEqual(yield* counts, [2, 2, 2])
    }))

  it.effect("after the first visible event the failure stands, typed", () =>
    Effect.gen(function*() {
      const { counts, model } = yield* three([[failing.late(["half ", "an "])], [], []])
      const { events, exit } = yield* run(model)
      const error = failure(exit)
      assert.strictEqual(textOf(events), "half an ")
      assert.strictEqual(error.reason._tag, "Overloaded")
      assert.isTrue(error.reason.isPartial)
      assert.deepStrictEqual(yield* counts, [1, 0, 0])
    }))

  it.effect("where all fail, the last failure carries the words of the others", () =>
    Effect.gen(function*() {
      const limited = ModelScripted.fail(new ModelError.RateLimited({ description: "slow down", status: 429 }))
      const script = [
        [failing.overloaded("no room"), failing.overloaded("no room")],
        [authentication, authentication],
        [limited, limited]
      ] as const
      const { model } = yield* three(script)
      for (const exit of [yield* Effect.exit(Effect.asVoid(model.respond(hello))), (yield* run(model)).exit]) {
        const { isRetryable, message, reason } = failure(exit)
        assert.strictEqual(reason._tag, "RateLimited")
        assert.strictEqual(reason.status, 429)
        assert.isTrue(isRetryable)
        assert.include(message, "slow down (the last of 3 models; before it: ")
        assert.include(message, "no room")
        assert.include(message, "wrong key")
      }
    }))

  it.effect("what falls over: by default not what another model would repeat; by option", () =>
    Effect.gen(function*() {
      const invalid = ModelScripted.fail(new ModelError.InvalidRequest({ description: "wrong field" }))
      const byDefault = yield* three([[invalid], [], []])
      assert.strictEqual(failure(yield* Effect.exit(byDefault.model.respond(hello))).reason._tag, "InvalidRequest")
      const chosen = yield* three([[invalid, failing.overloaded()], [ModelScripted.text("b")], []], {
        when: ({ reason }) => reason._tag === "InvalidRequest"
      })
      assert.strictEqual(Item.text((yield* chosen.model.respond(hello)).output[0]!), "b")
      assert.strictEqual(failure(yield* Effect.exit(chosen.model.respond(hello))).reason._tag, "Overloaded")
      assert.deepStrictEqual(yield* chosen.counts, [2, 1, 0])
    }))

  it.effect("gives the first provider the name of the run, and each other its own model", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const named = (provider: string) =>
        Layer.succeed(ModelProvider, {
          getModel: (name) =>
            Effect.suspend(() => {
              seen.push(`${provider} ${name}`)
              return Effect.fail(
                new ModelError.ModelError({
                  provider,
                  reason: new ModelError.UnknownModel({ description: `${name}?` })
                })
              )
            })
        })
      const last = yield* scripted(ModelScripted.text("ok"), ModelScripted.text("ok"))
      const provider = yield* open(
        ModelFallback.layer([
          { provider: named("a"), model: "first" },
          { provider: named("b"), model: "second" },
          last.layer
        ])
      )
      yield* Effect.flatMap(provider.getModel("given"), (model) => model.respond(hello))
      yield* Effect.flatMap(provider.getModel(), (model) => model.respond(hello))
      assert.deepStrictEqual(seen, ["a given", "b second", "a first", "b second"])
      const all = yield* open(ModelFallback.layer([named("a"), { provider: named("b"), model: "second" }]))
      const error = failure(yield* Effect.exit(all.getModel()))
      assert.include(error.message, "second?")
      assert.include(error.message, "undefined?")
    }))

  it.effect("over the models of one provider", () =>
    Effect.gen(function*() {
      const one = ModelScripted.makeUnsafe({
        big: [failing.overloaded()],
        small: [ModelScripted.text("small")]
      })
      const model = yield* modelOf(
        Layer.provide(ModelFallback.layerModels(["small"]), Layer.succeed(ModelProvider, one.provider)),
        "big"
      )
      assert.strictEqual(textOf((yield* run(model)).events), "small")
    }))

  it.effect("says in the log that it fell over, and why", () =>
    Effect.gen(function*() {
      const said: Array<unknown> = []
      const down = yield* scripted(failing.overloaded("no room"))
      const up = yield* scripted(ModelScripted.text("b"))
      const model = yield* modelOf(ModelFallback.layer([down.layer, up.layer]))
      yield* Effect.provide(
        model.respond(hello),
        Logger.layer([Logger.make(({ logLevel, message }) => said.push([logLevel, message]))])
      )
      assert.include(JSON.stringify(said), "no room")
      assert.include(JSON.stringify(said), "Warn")
    }))

  it("needs and fails with what its providers need and fail with", () => {
    class Key extends Context.Service<Key, string>()("test/Key") {}
    const needing = Layer.effect(ModelProvider, Effect.as(Key, ModelScripted.makeUnsafe([]).provider))
    const failing = ModelOpenAIChat.layer({ apiKey: Redacted.make("k") })
    expectTypeOf(ModelFallback.layer([failing, { provider: needing, model: "m" }])).toEqualTypeOf<
      Layer.Layer<ModelProvider, ModelError.ModelError, Key>
    >()
  })

  it.live("releases the connection of the one that failed before it asks the next", () =>
    Effect.gen(function*() {
      const [a, b] = [yield* OpenAiPeer.make, yield* OpenAiPeer.make]
      const at = (peer: OpenAiPeer.OpenAiPeer) =>
        ModelOpenAIChat.layer({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-5" })
      const model = yield* modelOf(Layer.provide(quiet, ModelFallback.layer([at(a), at(b)])))
      yield* a.enqueue(OpenAiPeer.text("x", { cutBeforeHeaders: true }), OpenAiPeer.http(200, "<html>", {}))
      let openAtA: boolean | undefined
      yield* b.respond(() => {
        openAtA = a.requests.some(({ closed }) => !closed)
        return OpenAiPeer.text("from b")
      })
      assert.strictEqual(textOf((yield* run(model)).events), "from b")
      assert.isFalse(openAtA)
      assert.strictEqual(Item.text((yield* model.respond(hello)).output[0]!), "from b")
    }))
})
