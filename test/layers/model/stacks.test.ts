/** Every pair of decorators, in both orders, keeps the laws; so does the stack that a program would have. */
import * as ModelConcurrency from "agent-layers/layers/model/ModelConcurrency"
import * as ModelFallback from "agent-layers/layers/model/ModelFallback"
import * as ModelOpenAIChat from "agent-layers/layers/model/ModelOpenAIChat"
import * as ModelRetry from "agent-layers/layers/model/ModelRetry"
import * as ModelRouter from "agent-layers/layers/model/ModelRouter"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as ModelTimeouts from "agent-layers/layers/model/ModelTimeouts"
import * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import { ModelProvider } from "agent-layers/services/ModelProvider"
import { Effect, Layer, Redacted } from "effect"
import { describeLaws } from "../../support/laws.ts"
import * as ChatSubject from "../../support/openai/chatLawSubject.ts"
import { open, stack, subject } from "./support.ts"

type Wrap = (inner: Layer.Layer<ModelProvider>) => Layer.Layer<ModelProvider>

const wraps: Readonly<Record<string, Wrap>> = {
  concurrency: (inner) => Layer.provide(ModelConcurrency.layer({ maxRequests: 3 }), inner),
  fallback: (inner) => ModelFallback.layer([inner, ModelScripted.layer([])], { when: () => false }),
  retry: (inner) => Layer.provide(ModelRetry.layer(), inner),
  router: (inner) => ModelRouter.layer({ law: inner }, { default: "law" }),
  timeouts: (inner) => Layer.provide(ModelTimeouts.layer(), inner)
}

/** What is retried does not fail. */
const retried = {
  cannot: ["RateLimited", "Overloaded"] as ReadonlyArray<ModelProviderLaws.Ability>,
  notShown: [
    "a rate limit says how long to wait, where the service said so",
    "a provider answers again after a failure"
  ]
}

for (const [outer, wrapOuter] of Object.entries(wraps)) {
  for (const [inner, wrapInner] of Object.entries(wraps)) {
    const isRetried = outer === "retry" || inner === "retry"
    describeLaws(
      `${outer} over ${inner} over ModelScripted`,
      ModelProviderLaws.all,
      {
        ...subject((scripted) => wrapOuter(wrapInner(scripted))),
        ...(isRetried ? { cannot: retried.cannot } : {})
      },
      isRetried ? { notShown: retried.notShown } : {}
    )
  }
}

const whole = ChatSubject.make((peer) =>
  Effect.orDie(open(
    ModelRouter.layer({
      chat: ModelFallback.layer([
        stack(
          ModelTimeouts.layer(),
          ModelRetry.layer(),
          ModelConcurrency.layer({ maxRequests: 8 }),
          ModelTimeouts.layer({ total: "5 minutes" })
        )(Layer.orDie(
          ModelOpenAIChat.layer({ apiKey: Redacted.make(peer.apiKey), baseURL: peer.url, model: "gpt-5-mini" })
        ))
      ], { when: () => false })
    }, { default: "chat" })
  ))
)

describeLaws(
  "router over fallback over timeouts over retry over concurrency over timeouts over ModelOpenAIChat",
  ModelProviderLaws.all,
  { ...whole, cannot: [...whole.cannot ?? [], ...retried.cannot] },
  { notShown: [...retried.notShown, "items of a type that nobody here knows go both ways untouched"] }
)
