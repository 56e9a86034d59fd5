/**
 * Several providers as one: a model's name begins with the name of its provider. `"local/llama3"` is `"llama3"` of the
 * provider `local`; what follows the first slash is the provider's own business, further slashes included.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ModelError, UnknownModel } from "../../services/ModelError.ts"
import { ModelProvider } from "../../services/ModelProvider.ts"
import { buildProvider } from "./internal/decorated.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface ModelRouterOptions<Name extends string> {
  /**
   * Where a run names no model, and where a name has no prefix: a provider, with or without one of its models.
   * @default none: both are `UnknownModel`
   */
  readonly default?: Name | `${Name}/${string}` | undefined
  /**
   * Whether a prefix that is no provider's name is a part of the model's name, at the default provider.
   * @default false: `UnknownModel`, with the names there are
   */
  readonly unknownToDefault?: boolean | undefined
}

const split = (name: string): readonly [prefix: string | undefined, rest: string] => {
  const slash = name.indexOf("/")
  return slash < 0 ? [undefined, name] : [name.slice(0, slash), name.slice(slash + 1)]
}

const defaultOf = (name: string): readonly [provider: string, model?: string] => {
  const [prefix, rest] = split(name)
  return prefix === undefined ? [rest] : [prefix, rest]
}

/**
 * Provides the models of all these providers. Each Layer is built once, at once, together with whatever it shares with
 * the rest of the program; all of them are released with this one.
 *
 * **Example**
 *
 * ```ts
 * ModelRouter.layer({ openai: OpenAI, local: Ollama }, { default: "openai" })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const Providers extends Readonly<Record<string, Layer.Layer<ModelProvider, any, any>>>>(
  providers: Providers,
  options: ModelRouterOptions<Extract<keyof Providers, string>> = {}
): Layer.Layer<
  ModelProvider,
  Layer.Error<Providers[keyof Providers]>,
  Layer.Services<Providers[keyof Providers]>
> => {
  type E = Layer.Error<Providers[keyof Providers]>
  type R = Layer.Services<Providers[keyof Providers]>
  const named: ReadonlyArray<readonly [string, Layer.Layer<ModelProvider, E, R>]> = Object.entries(providers)
  const [defaultName, defaultModel] = options.default === undefined ? [] : defaultOf(options.default)

  return Layer.effect(
    ModelProvider,
    Effect.gen(function*() {
      if (defaultName !== undefined && !Object.hasOwn(providers, defaultName)) {
        return yield* Effect.die(
          new Error(`ModelRouter: the default "${options.default}" is no provider of the router`)
        )
      }
      const built = new Map<string, ModelProvider["Service"]>()
      for (const [name, provider] of named) built.set(name, yield* buildProvider(provider))
      const fallback = defaultName === undefined ? undefined : built.get(defaultName)
      const known = [...built.keys()].map((name) => `${name}/…`).join(", ")

      const unknown = (description: string) =>
        Effect.fail(
          new ModelError({
            provider: "router",
            reason: new UnknownModel({ description: `${description}; there are: ${known}` })
          })
        )

      return ModelProvider.of({
        getModel: (name) => {
          if (name === undefined) {
            return fallback === undefined
              ? unknown("no model was named, and the router has no default")
              : fallback.getModel(defaultModel)
          }
          const [prefix, rest] = split(name)
          const found = prefix === undefined ? undefined : built.get(prefix)
          if (found !== undefined) return found.getModel(rest === "" ? undefined : rest)
          if (fallback !== undefined && (prefix === undefined || options.unknownToDefault === true)) {
            return fallback.getModel(name)
          }
          return unknown(
            prefix === undefined
              ? `"${name}" names no provider, and the router has no default`
              : `no provider is called "${prefix}" (in "${name}")`
          )
        }
      })
    })
  )
}
