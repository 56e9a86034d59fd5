/**
 * The peer as the other side of `ModelProviderLaws`: answers become replies, and requests are read back into the fields
 * of `ModelRequest` that they carry.
 */
import type * as Laws from "agent-layers/services/laws/ModelProviderLaws"
import type { ModelError } from "agent-layers/services/ModelError"
import type { ModelProvider } from "agent-layers/services/ModelProvider"
import { Effect, Equal } from "effect"
import * as OpenAiPeer from "./OpenAiPeer.ts"
import type { JsonObject } from "./Reply.ts"

const failures: Record<Laws.Failing, (answer: Extract<Laws.Answer, { _tag: "Fail" }>) => OpenAiPeer.Reply> = {
  RateLimited: ({ retryAfterSeconds }) =>
    OpenAiPeer.rateLimited(retryAfterSeconds === undefined ? {} : { retryAfter: retryAfterSeconds }),
  QuotaExceeded: () => OpenAiPeer.quotaExceeded,
  Overloaded: () => OpenAiPeer.serverError(503),
  Authentication: () => OpenAiPeer.httpError(401, { message: "Incorrect API key provided.", code: "invalid_api_key" }),
  InvalidRequest: () => OpenAiPeer.httpError(400, { message: "Unknown parameter: 'foo'.", param: "foo" }),
  ContextLengthExceeded: () => OpenAiPeer.contextLengthExceeded
}

/** `response.created`, `in_progress`, `output_item.added` and `content_part.added` come before the first delta. */
const beforeDeltas = 4

/** `before`: how many events come before the first delta. */
export const replyOf = (answer: Laws.Answer, before: number): OpenAiPeer.Reply => {
  switch (answer._tag) {
    case "Text":
      return OpenAiPeer.text(answer.deltas, answer.tokens === undefined ? {} : { usage: answer.tokens })
    case "Calls": {
      const calls = answer.calls.map((call) => OpenAiPeer.callItem(call))
      return OpenAiPeer.items(answer.text === undefined ? calls : [OpenAiPeer.messageItem(answer.text), ...calls])
    }
    case "Reasoning":
      return OpenAiPeer.reasoned({ summary: [answer.summary] }, [OpenAiPeer.messageItem(answer.text)])
    case "Refusal":
      return OpenAiPeer.refusal(answer.deltas.join(""), { deltas: answer.deltas })
    case "Incomplete":
      return OpenAiPeer.incomplete("max_output_tokens", [OpenAiPeer.messageItem(answer.deltas.join(""))], {
        deltas: answer.deltas
      })
    case "Items":
      return OpenAiPeer.items(answer.items as unknown as ReadonlyArray<JsonObject>)
    case "Fail":
      return failures[answer.reason](answer)
    case "FailLate":
      return OpenAiPeer.text(answer.deltas, { errorEvent: { after: before + answer.deltas.length } })
    case "Cut":
      return OpenAiPeer.text(answer.deltas, { terminal: false })
    case "Hang":
      return answer.deltas.length === 0
        ? OpenAiPeer.text("", { hangBeforeHeaders: true })
        : OpenAiPeer.text(answer.deltas, { hangAfterEvents: before + answer.deltas.length })
  }
}

export const parameters = { type: "object", properties: {}, required: [], additionalProperties: false }

/** The wire form of each field that the laws send, with the value that they send. */
const wire: ReadonlyArray<readonly [field: string, arrived: (body: any) => unknown]> = [
  ["instructions", (body) => body.instructions === "Be brief."],
  [
    "tools",
    (body) =>
      body.tools?.some((tool: any) =>
        tool.type === "function" && tool.name === "f" && tool.strict === true &&
        Equal.equals(tool.parameters, parameters)
      )
  ],
  [
    "outputSchema",
    (body) => Equal.equals(body.text?.format, { type: "json_schema", name: "out", schema: parameters, strict: true })
  ],
  [
    "handoffs",
    (body) =>
      body.tools?.some((tool: any) =>
        tool.type === "function" && tool.name === "to_b" && tool.description === "Asks b."
      )
  ],
  ["previousResponseId", (body) => typeof body.previous_response_id === "string"],
  ["conversationId", (body) => typeof body.conversation === "string"],
  ["prompt", (body) => Equal.equals(body.prompt, { id: "pmpt_law", version: "2", variables: { who: "law" } })],
  ["settings.temperature", (body) => body.temperature === 0.5],
  ["settings.topP", (body) => body.top_p === 0.5],
  ["settings.maxOutputTokens", (body) => body.max_output_tokens === 1000],
  ["settings.toolChoice", (body) => Equal.equals(body.tool_choice, { type: "function", name: "f" })],
  ["settings.parallelToolCalls", (body) => body.parallel_tool_calls === false],
  ["settings.reasoning", (body) => Equal.equals(body.reasoning, { effort: "low" })],
  ["settings.verbosity", (body) => body.text?.verbosity === "low"],
  ["settings.truncation", (body) => body.truncation === "auto"],
  ["settings.store", (body) => body.store === false],
  ["settings.metadata", (body) => Equal.equals(body.metadata, { key: "value" })],
  ["settings.promptCacheKey", (body) => body.prompt_cache_key === "key"],
  ["settings.include", (body) => Equal.equals(body.include, ["reasoning.encrypted_content"])],
  ["settings.extra", (body) => body.user === "law"]
]

/** A subject whose provider talks to a peer of its own. */
export const make = (
  provider: (peer: OpenAiPeer.OpenAiPeer) => Effect.Effect<ModelProvider["Service"], ModelError>
): Laws.Subject => ({
  unknownModel: "no-such-model",
  open: Effect.gen(function*() {
    const peer = yield* OpenAiPeer.make
    return {
      provider: yield* provider(peer),
      script: (...answers) => peer.enqueue(...answers.map((answer) => replyOf(answer, beforeDeltas))),
      received: Effect.sync(() =>
        peer.requests.map((request) => ({
          input: request.input,
          fields: wire.filter(([, arrived]) => arrived(request.body) === true).map(([field]) => field)
        }))
      ),
      aborted: Effect.sync(() => peer.aborted()),
      conversationId: yield* peer.createConversation()
    }
  })
})
