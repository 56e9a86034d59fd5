import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import type * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import * as ModelError from "agent-layers/services/ModelError"
import type { ModelProvider } from "agent-layers/services/ModelProvider"
import { Duration, Effect } from "effect"

const reasons: { readonly [Name in ModelProviderLaws.Failing]: (retryAfter?: number) => ModelError.ModelErrorReason } =
  {
    RateLimited: (seconds) =>
      new ModelError.RateLimited({
        description: "slow down",
        retryAfter: seconds === undefined ? undefined : Duration.seconds(seconds)
      }),
    QuotaExceeded: () => new ModelError.QuotaExceeded({ description: "no credit" }),
    Overloaded: () => new ModelError.Overloaded({ description: "too busy" }),
    Authentication: () => new ModelError.Authentication({ description: "wrong key" }),
    InvalidRequest: () => new ModelError.InvalidRequest({ description: "wrong field" }),
    ContextLengthExceeded: () => new ModelError.ContextLengthExceeded({ description: "too long" })
  }

const cutOff = new ModelError.Transport({ description: "the stream ended without a terminal event" })

const step = (answer: ModelProviderLaws.Answer): ModelScripted.Step => {
  switch (answer._tag) {
    case "Text": {
      const { tokens } = answer
      return ModelScripted.text(answer.deltas, {
        usage: tokens === undefined ? undefined : {
          inputTokens: tokens.input,
          outputTokens: tokens.output,
          cachedTokens: tokens.cached,
          reasoningTokens: tokens.reasoning
        }
      })
    }
    case "Calls":
      return ModelScripted.calls(answer.calls, { text: answer.text })
    case "Reasoning":
      return ModelScripted.reasoned(answer.summary, ModelScripted.text(answer.text))
    case "Refusal":
      return ModelScripted.refusal(answer.deltas)
    case "Incomplete":
      return ModelScripted.incomplete("max_output_tokens", ModelScripted.text(answer.deltas))
    case "Items":
      return ModelScripted.items(answer.items)
    case "Fail":
      return ModelScripted.fail(reasons[answer.reason](answer.retryAfterSeconds))
    case "FailLate":
      return ModelScripted.fail(reasons.Overloaded(), {
        of: ModelScripted.text(answer.deltas),
        after: answer.deltas.length
      })
    case "Cut":
      return ModelScripted.fail(cutOff, { of: ModelScripted.text(answer.deltas), after: answer.deltas.length })
    case "Hang":
      return ModelScripted.hang({ of: ModelScripted.text(answer.deltas), after: answer.deltas.length })
  }
}

const fieldsOf = (request: ModelScripted.ScriptedRequest): ReadonlyArray<string> =>
  Object.entries(request).flatMap(([key, value]) =>
    value === undefined ? [] : key === "settings" ? Object.keys(value).map((name) => `settings.${name}`) : [key]
  )

type Provider = ModelProvider["Service"]

/** The scripted model, or what `change` makes of it. */
export const subject = (
  change: (provider: Provider) => Provider = (provider) => provider
): ModelProviderLaws.Subject => ({
  unknownModel: "no-such-model",
  open: Effect.sync(() => {
    // Laws that break leave steps behind, and say why in a better way than the list of them.
    const model = ModelScripted.makeUnsafe({ known: [] })
    return {
      provider: change(model.provider),
      script: (...answers) => model.add(...answers.map(step)),
      aborted: model.aborted,
      received: Effect.map(
        model.requests,
        (requests) => requests.map((request) => ({ input: request.items, fields: fieldsOf(request) }))
      )
    }
  })
})
