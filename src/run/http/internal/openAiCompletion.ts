/**
 * A run as a chat completion: the object, and the chunks from which a client builds the same.
 *
 * @see https://platform.openai.com/docs/api-reference/chat-streaming
 */
import { errorOf } from "./openAiError.ts"
import { type Ended, frame, type Frames, type Writer } from "./openAiWriter.ts"

type Fields = Readonly<Record<string, unknown>>

export interface Asked {
  readonly id: string
  /** Milliseconds since 1970. */
  readonly now: number
  readonly model: string
  readonly includeUsage: boolean
}

const usageOf = ({ usage }: Ended) => ({
  prompt_tokens: usage.inputTokens,
  completion_tokens: usage.outputTokens,
  total_tokens: usage.totalTokens,
  prompt_tokens_details: { cached_tokens: usage.cachedTokens },
  completion_tokens_details: { reasoning_tokens: usage.reasoningTokens }
})

const finishes: Readonly<Record<string, string>> = { max_output_tokens: "length", content_filter: "content_filter" }

/** Between what an agent says in one turn and in another: the API has one message for all of it. */
const between = "\n\n"

export const make = (asked: Asked): Writer => {
  let content = ""
  let refusal = ""
  let open: string | undefined
  let finishReason: string | null = null
  let usage: Fields | undefined

  const common = { id: asked.id, created: Math.floor(asked.now / 1000), model: asked.model }

  const chunk = (delta: Fields, finish: string | null = null): Uint8Array =>
    frame({
      ...common,
      object: "chat.completion.chunk",
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
      ...(asked.includeUsage ? { usage: null } : undefined)
    })

  const say = (key: string, delta: string): Frames => {
    if (delta === "") return []
    const text = open !== key && content !== "" ? `${between}${delta}` : delta
    open = key
    content += text
    return [chunk({ content: text })]
  }

  const refuse = (key: string, delta: string): Frames => {
    if (delta === "") return []
    open = key
    refusal += delta
    return [chunk({ refusal: delta })]
  }

  return {
    id: asked.id,
    body: () => ({
      ...common,
      object: "chat.completion",
      choices: [{
        index: 0,
        message: {
          role: "assistant",
          content: content === "" && refusal !== "" ? null : content,
          refusal: refusal === "" ? null : refusal
        },
        logprobs: null,
        finish_reason: finishReason
      }],
      ...(usage === undefined ? undefined : { usage })
    }),
    begin: () => [chunk({ role: "assistant", content: "", refusal: null })],
    write: (shown) => {
      switch (shown._tag) {
        case "Text":
          return say(shown.key, shown.delta)
        case "Refusal":
          return refuse(shown.key, shown.delta)
        case "Message":
          // Its pieces were told as they came.
          return open === shown.key ?
            [] :
            shown.parts.flatMap((part) =>
              typeof part.refusal === "string" ? refuse(shown.key, part.refusal) : say(shown.key, part.text ?? "")
            )
        default:
          return []
      }
    },
    // Completions are not stored.
    forgo: () => {},
    complete: (ended) => {
      finishReason = ended.incompleteReason === undefined ? "stop" : finishes[ended.incompleteReason] ?? "length"
      usage = usageOf(ended)
      return () => [
        chunk({}, finishReason),
        ...(asked.includeUsage ? [frame({ ...common, object: "chat.completion.chunk", choices: [], usage })] : []),
        frame("[DONE]")
      ]
    },
    fail: (problem) => [frame({ error: errorOf(problem) })]
  }
}
