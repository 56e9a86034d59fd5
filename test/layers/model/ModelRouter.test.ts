import { assert, describe, it } from "@effect/vitest"
import * as ModelRouter from "agent-layers/layers/model/ModelRouter"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import { ModelError, Transport } from "agent-layers/services/ModelError"
import { ModelProvider } from "agent-layers/services/ModelProvider"
import { Cause, Context, Effect, Exit, Layer } from "effect"
import { expectTypeOf } from "vitest"
import { describeLaws } from "../../support/laws.ts"
import { failure, hello, open, subject } from "./support.ts"

describeLaws(
  "ModelRouter over ModelScripted",
  ModelProviderLaws.all,
  subject((scripted) => ModelRouter.layer({ other: ModelScripted.layer([]), law: scripted }, { default: "law" }))
)

/** A provider whose models say what they were called. */
const echo = (provider: string) =>
  Layer.succeed(ModelProvider, {
    getModel: (name) =>
      Effect.map(
        ModelScripted.makeUnsafe(() => ModelScripted.text(`${provider} ${name}`)).provider.getModel(),
        (model) => ({ ...model, name: name ?? "its default", provider })
      )
  })

const asked = Effect.fnUntraced(function*(provider: ModelProvider["Service"], name?: string) {
  const model = yield* provider.getModel(name)
  yield* model.respond(hello)
  return `${model.provider} ${model.name}`
})

describe("ModelRouter", () => {
  it.effect("resolves a name by what stands before its first slash", () =>
    Effect.gen(function*() {
      const router = yield* open(ModelRouter.layer({ openai: echo("openai"), local: echo("local") }))
      assert.strictEqual(yield* asked(router, "local/llama3"), "local llama3")
      assert.strictEqual(yield* asked(router, "openai/ft:gpt/mine/2"), "openai ft:gpt/mine/2")
      assert.strictEqual(yield* asked(router, "openai/"), "openai its default")
    }))

  it.effect("without a prefix, and without a name, asks the default", () =>
    Effect.gen(function*() {
      const providers = { openai: echo("openai"), local: echo("local") }
      const router = yield* open(ModelRouter.layer(providers, { default: "local" }))
      assert.strictEqual(yield* asked(router), "local its default")
      assert.strictEqual(yield* asked(router, "llama3"), "local llama3")
      const named = yield* open(ModelRouter.layer(providers, { default: "openai/gpt-5" }))
      assert.strictEqual(yield* asked(named), "openai gpt-5")
      assert.strictEqual(yield* asked(named, "gpt-4"), "openai gpt-4")
    }))

  it.effect("an unknown prefix is UnknownModel and names those there are, or belongs to the default where that is said", () =>
    Effect.gen(function*() {
      const providers = { openai: echo("openai"), local: echo("local") }
      const router = yield* open(ModelRouter.layer(providers, { default: "local" }))
      const error = failure(yield* Effect.exit(router.getModel("meta-llama/llama-3")))
      assert.strictEqual(error.reason._tag, "UnknownModel")
      assert.strictEqual(
        error.message,
        "router: Unknown model: no provider is called \"meta-llama\" (in \"meta-llama/llama-3\"); there are: openai/…, local/…"
      )
      const without = yield* open(ModelRouter.layer(providers))
      for (const name of [undefined, "gpt-5", "constructor/x", "__proto__/x"]) {
        assert.strictEqual(failure(yield* Effect.exit(without.getModel(name))).reason._tag, "UnknownModel")
      }
      const open2 = yield* open(ModelRouter.layer(providers, { default: "local", unknownToDefault: true }))
      assert.strictEqual(yield* asked(open2, "meta-llama/llama-3"), "local meta-llama/llama-3")
    }))

  it.effect("a default that is no provider is a defect, and a mistake for the compiler", () =>
    Effect.gen(function*() {
      // @ts-expect-error
      const exit = yield* Effect.exit(open(ModelRouter.layer({ openai: echo("openai") }, { default: "local" })))
      assert(Exit.isFailure(exit))
      assert.include(Cause.pretty(exit.cause), `the default "local" is no provider of the router`)
    }))

  it.effect("needs and fails with what its providers need and fail with", () =>
    Effect.sync(() => {
      class Key extends Context.Service<Key, string>()("test/Key") {}
      const failing: Layer.Layer<ModelProvider, ModelError> = Layer.effect(
        ModelProvider,
        Effect.fail(new ModelError({ provider: "x", reason: new Transport({ description: "no" }) }))
      )
      const needing = Layer.effect(ModelProvider, Effect.as(Key, ModelScripted.makeUnsafe([]).provider))
      expectTypeOf(ModelRouter.layer({ a: failing, b: needing })).toEqualTypeOf<
        Layer.Layer<ModelProvider, ModelError, Key>
      >()
      expectTypeOf(ModelRouter.layer({ a: echo("a") })).toEqualTypeOf<Layer.Layer<ModelProvider>>()
    }))

  it.effect("builds a Layer that the program has elsewhere too once, and releases it with the program", () =>
    Effect.gen(function*() {
      class Pool extends Context.Service<Pool, { readonly id: number }>()("test/Pool") {}
      let built = 0
      let released = 0
      const pool = Layer.effect(
        Pool,
        Effect.acquireRelease(
          Effect.sync(() => ({ id: ++built })),
          () =>
            Effect.sync(() => {
              released++
            })
        )
      )
      const provider = () =>
        Layer.provide(
          Layer.effect(
            ModelProvider,
            Effect.map(Pool, ({ id }) => ModelScripted.makeUnsafe([], { defaultModel: `pool ${id}` }).provider)
          ),
          pool
        )
      const router = ModelRouter.layer({ a: provider(), b: provider() }, { default: "a" })
      const program = Effect.gen(function*() {
        const models = yield* ModelProvider
        const names = [yield* models.getModel("a/"), yield* models.getModel("b/")].map((model) => model.name)
        return [...names, `pool ${(yield* Pool).id}`]
      })
      assert.deepStrictEqual(yield* Effect.provide(program, Layer.merge(router, pool)), ["pool 1", "pool 1", "pool 1"])
      assert.strictEqual(built, 1)
      assert.strictEqual(released, 1)
    }))
})
