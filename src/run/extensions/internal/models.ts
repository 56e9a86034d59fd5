import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Extension from "../../../services/Extension.ts"
import { ModelProvider } from "../../../services/ModelProvider.ts"
import * as Setting from "../../../services/Setting.ts"
import { lazily, openAiSettings, peers, refuse, released } from "./builtIn.ts"

const server = {
  ...openAiSettings,
  model: Setting.text("The model where a run names none. Absent: the provider's own choice.", {
    optional: true,
    variable: "OPENAI_MODEL"
  }),
  timeout: Setting.duration("How long to wait for an answer, or for the next piece of one.", {
    default: "10 minutes"
  }),
  provider: Setting.text("The name in errors and traces.", { optional: true }),
  headers: Setting.record("Further headers of every request.", { optional: true })
} as const

const openai = Extension.make({
  ...released,
  kind: "model",
  name: "openai",
  description: "Models behind the OpenAI Responses API, or a server that speaks it.",
  packages: peers.openai,
  config: server,
  layer: (settings) =>
    lazily(() => import("../../../layers/model/ModelOpenAIResponses.ts"), (module) => module.layer(settings))
})

const openaiChat = Extension.make({
  ...released,
  kind: "model",
  name: "openai-chat",
  description: "Models behind Chat Completions: OpenAI, Ollama, vLLM, Groq, DeepSeek and others.",
  packages: peers.openai,
  config: {
    ...server,
    structuredOutput: Setting.choice(
      ["json_schema", "json_object", "instructions"],
      "How an answer is held to its schema.",
      { default: "json_schema" }
    ),
    strict: Setting.boolean("Whether `strict` may be asked for.", { default: true }),
    streamUsage: Setting.boolean("Whether a stream asks for its usage.", { default: true }),
    maxTokensField: Setting.choice(
      ["max_completion_tokens", "max_tokens"],
      "What the limit of tokens is called. Absent: as the server has it.",
      { optional: true }
    ),
    instructionsRole: Setting.choice(
      ["developer", "system"],
      "The role of instructions. Absent: as the server has it.",
      { optional: true }
    ),
    sendReasoning: Setting.boolean("Whether a server gets its own reasoning back.", { default: true }),
    foreignItems: Setting.choice(
      ["fail", "omit"],
      "What to do with items that Chat Completions has no form for.",
      { default: "fail" }
    )
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/model/ModelOpenAIChat.ts"), (module) => module.layer(settings))
})

const scripted = Extension.make({
  ...released,
  kind: "model",
  name: "scripted",
  description: "Answers with texts that are given beforehand, in their order: to try a program out without a key.",
  canBeFallback: false,
  config: {
    answers: Setting.list("The answers; a request beyond the last one fails.")
  },
  layer: ({ answers }) =>
    lazily(
      () => import("../../../layers/model/ModelScripted.ts"),
      (module) =>
        Layer.sync(ModelProvider, () => module.makeUnsafe(answers.map((answer) => module.text(answer))).provider)
    )
})

const splitModel = (candidate: string): readonly [instance: string, model: string | undefined] => {
  const slash = candidate.indexOf("/")
  return slash < 0 ? [candidate, undefined] : [candidate.slice(0, slash), candidate.slice(slash + 1)]
}

const router = Extension.make({
  ...released,
  kind: "model",
  name: "router",
  description: "Several providers in one: a model is named `provider/model`.",
  config: {
    providers: Setting.list("The names of configured instances, which are the prefixes."),
    default: Setting.text("Where a run names no provider: one of them, with or without one of its models.", {
      optional: true
    }),
    unknownToDefault: Setting.boolean("Whether a prefix that is no provider belongs to a model of the default one.", {
      default: false
    })
  },
  layer: ({ default: fallback, providers, unknownToDefault }, { instance, of }) => {
    if (fallback !== undefined && !providers.includes(splitModel(fallback)[0])) {
      return refuse(
        `model "router"`,
        instance === "default" ? "model.settings.default" : `model.${instance}.settings.default`,
        `"${fallback}" is none of the providers; there are: ${providers.join(", ")}`
      )
    }
    return lazily(
      () => import("../../../layers/model/ModelRouter.ts"),
      (module) =>
        module.layer(Object.fromEntries(providers.map((name) => [name, of(name)])), {
          default: fallback,
          unknownToDefault
        })
    )
  }
})

const fallback = Extension.make({
  ...released,
  kind: "model",
  name: "fallback",
  description: "Models in order of preference: where one fails, the next is asked the same.",
  config: {
    models: Setting.list("The names of configured instances, or `instance/model`, the best first.")
  },
  layer: ({ models }, { of }) =>
    lazily(() => import("../../../layers/model/ModelFallback.ts"), (module) => {
      const [first, ...others] = models.map((candidate) => {
        const [name, model] = splitModel(candidate)
        return { provider: of(name), model }
      })
      return first === undefined
        ? refuse(`model "fallback"`, "model.settings.models", "it is empty: name at least one instance")
        : module.layer([first, ...others])
    })
})

const retry = Extension.decorator({
  ...released,
  kind: "model",
  name: "retry",
  description: "Asks again after a failure that may pass, before anything was visible.",
  config: {
    times: Setting.integer("How often, after the first time.", { default: 4 }),
    delay: Setting.duration("How long to wait before the second time; then twice as long each time.", {
      default: "500 millis"
    }),
    maxRetryAfter: Setting.duration("The longest wait that a provider may ask for.", { default: "1 minute" })
  },
  layer: ({ delay, maxRetryAfter, times }) =>
    lazily(() => import("../../../layers/model/ModelRetry.ts"), (module) =>
      module.layer({
        schedule: Schedule.exponential(delay).pipe(Schedule.jittered, Schedule.upTo({ times })),
        maxRetryAfter
      }))
})

const timeouts = Extension.decorator({
  ...released,
  kind: "model",
  name: "timeouts",
  description: "Limits how long a model may take.",
  config: {
    firstEvent: Setting.duration("To the first event of a stream.", { default: "2 minutes" }),
    idle: Setting.duration("From one event of a stream to the next.", { default: "1 minute" }),
    total: Setting.duration("For a whole answer.", { default: "10 minutes" })
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/model/ModelTimeouts.ts"), (module) => module.layer(settings))
})

const concurrency = Extension.decorator({
  ...released,
  kind: "model",
  name: "concurrency",
  description: "Limits how many requests are answered at once; the others wait their turn.",
  config: { maxRequests: Setting.integer("How many at once.") },
  layer: (settings) =>
    lazily(() => import("../../../layers/model/ModelConcurrency.ts"), (module) => module.layer(settings))
})

export const models: ReadonlyArray<Extension.Any> = [
  openai,
  openaiChat,
  scripted,
  router,
  fallback,
  retry,
  timeouts,
  concurrency
]
