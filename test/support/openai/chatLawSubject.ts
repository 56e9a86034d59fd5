/**
 * The peer's Chat Completions as the other side of `ModelProviderLaws`.
 */
import type * as Laws from "agent-layers/services/laws/ModelProviderLaws"
import type { ModelError } from "agent-layers/services/ModelError"
import type { ModelProvider } from "agent-layers/services/ModelProvider"
import { Effect, Equal, type Scope } from "effect"
import { parameters, replyOf } from "./lawSubject.ts"
import * as OpenAiPeer from "./OpenAiPeer.ts"

/** The chunk with the role comes before the first delta. */
const beforeDeltas = 1

const functionNamed = (body: any, name: string): any =>
  body.tools?.find((tool: any) => tool.type === "function" && tool.function.name === name)?.function

/** The wire form of each field that the laws send, with the value that they send. */
const wire: ReadonlyArray<readonly [field: string, arrived: (body: any) => unknown]> = [
  [
    "instructions",
    (body) => /^(system|developer)$/.test(body.messages[0].role) && body.messages[0].content === "Be brief."
  ],
  [
    "tools",
    (body) => functionNamed(body, "f")?.strict === true && Equal.equals(functionNamed(body, "f").parameters, parameters)
  ],
  [
    "outputSchema",
    (body) =>
      Equal.equals(body.response_format, {
        type: "json_schema",
        json_schema: { name: "out", schema: parameters, strict: true }
      })
  ],
  ["handoffs", (body) => functionNamed(body, "to_b")?.description === "Asks b."],
  ["settings.temperature", (body) => body.temperature === 0.5],
  ["settings.topP", (body) => body.top_p === 0.5],
  ["settings.maxOutputTokens", (body) => (body.max_completion_tokens ?? body.max_tokens) === 1000],
  ["settings.toolChoice", (body) => Equal.equals(body.tool_choice, { type: "function", function: { name: "f" } })],
  ["settings.parallelToolCalls", (body) => body.parallel_tool_calls === false],
  ["settings.reasoning", (body) => body.reasoning_effort === "low"],
  ["settings.verbosity", (body) => body.verbosity === "low"],
  ["settings.store", (body) => body.store === false],
  ["settings.metadata", (body) => Equal.equals(body.metadata, { key: "value" })],
  ["settings.promptCacheKey", (body) => body.prompt_cache_key === "key"],
  ["settings.extra", (body) => body.user === "law"]
]

/** A subject whose provider talks to a peer of its own. */
export const make = (
  provider: (peer: OpenAiPeer.OpenAiPeer) => Effect.Effect<ModelProvider["Service"], ModelError, Scope.Scope>
): Laws.Subject => ({
  unknownModel: "no-such-model",
  // A message, its reasoning and its calls are all that there is on the wire.
  cannot: ["Items"],
  open: Effect.gen(function*() {
    const peer = yield* OpenAiPeer.make
    return {
      provider: yield* provider(peer),
      script: (...answers) => peer.enqueue(...answers.map((answer) => replyOf(answer, beforeDeltas))),
      received: Effect.sync(() =>
        peer.requests.map(({ body }) => ({
          input: (body.messages as ReadonlyArray<OpenAiPeer.JsonObject>).filter(({ role }) =>
            role !== "system" && role !== "developer"
          ),
          fields: wire.filter(([, arrived]) => arrived(body) === true).map(([field]) => field)
        }))
      ),
      aborted: Effect.sync(() => peer.aborted())
    }
  })
})
