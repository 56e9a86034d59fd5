/** Acme's models. They speak Chat Completions, so that there is an address and a name to say, and no more. */
import * as ModelOpenAIChat from "agent-layers/layers/model/ModelOpenAIChat"
import type { ModelError } from "agent-layers/services/ModelError"
import type { ModelProvider } from "agent-layers/services/ModelProvider"
import type * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"

export interface Options {
  readonly url: string
  readonly key: Redacted.Redacted
  readonly model: string
}

export const layer = ({ key, model, url }: Options): Layer.Layer<ModelProvider, ModelError> =>
  ModelOpenAIChat.layer({ provider: "acme", apiKey: key, baseURL: url, model })
