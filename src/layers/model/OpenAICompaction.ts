/**
 * A history made shorter by OpenAI itself (`/v1/responses/compact`): what users said stays, all else becomes one item
 * that only OpenAI's models can read. It is a function, for `SessionCompacted` or for a program of one's own.
 *
 * It sends the history to OpenAI. The result is for the models of one provider: a conversation that goes on with another
 * one loses what the item holds.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Item } from "../../services/Item.ts"
import { isItem } from "../../services/Item.ts"
import { InvalidOutput, type ModelError } from "../../services/ModelError.ts"
import type { Usage } from "../../services/Usage.ts"
import { isRecord, parseJson } from "./internal/json.ts"
import { connect, makeAbort, makeCalls } from "./internal/openAiClient.ts"
import { makeParams } from "./internal/openAiRequest.ts"
import { usageOf } from "./internal/openAiResponse.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface OpenAICompactionOptions<E = never, R = never> {
  readonly apiKey: Redacted.Redacted
  /**
   * Up to and with the version, without `/responses`.
   *
   * @default "https://api.openai.com/v1"
   */
  readonly baseURL?: string | undefined
  /**
   * The model that reads the history.
   *
   * @default "gpt-5.4-mini"
   */
  readonly model?: string | undefined
  /** What the model is told about its task, beside the history. */
  readonly instructions?: string | undefined
  readonly organization?: string | undefined
  readonly project?: string | undefined
  /** @default "2 minutes" */
  readonly timeout?: Duration.Input | undefined
  /** Told what a compaction cost, once it has succeeded. */
  readonly onUsage?: ((usage: Usage) => Effect.Effect<void, E, R>) | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** @default globalThis.fetch */
  readonly fetch?: typeof globalThis.fetch | undefined
}

/**
 * The compaction of a history. The items must be a valid history; they are sent once, and what comes back is to stand in
 * their place.
 *
 * @category models
 * @since 0.1.0
 */
export type Compact<E = never, R = never> = (
  items: ReadonlyArray<Item>
) => Effect.Effect<ReadonlyArray<Item>, ModelError | E, R>

const provider = "openai"

/** What the service gave to messages as their names is nothing that a later request may refer to. */
const withoutId = (item: Item): Item => {
  if (item.type !== "message") return item
  const { id: _id, status: _status, ...rest } = item as Record<string, unknown>
  return rest as unknown as Item
}

/**
 * A compaction by one model. Fails where the `openai` package is not installed or an option cannot be used; no request
 * is made before the compaction is.
 *
 * **Example**
 *
 * ```ts
 * const compact = yield* OpenAICompaction.make({ apiKey })
 * const Stack = Session.wrap(SessionSqlite.layer({ filename }), [SessionCompacted.layer({ compact })])
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<E = never, R = never>(
  options: OpenAICompactionOptions<E, R>
): Effect.fn.Return<Compact<E, R>, ModelError> {
  const model = options.model ?? "gpt-5.4-mini"
  const server = yield* connect({ ...options, provider, timeout: options.timeout ?? "2 minutes" })
  const { call, fail, inTime, notJson, readText } = makeCalls(server, model)

  const send = Effect.fnUntraced(function*(items: ReadonlyArray<Item>) {
    const { signal } = yield* makeAbort
    const request = { input: items, instructions: options.instructions }
    const { input, instructions } = makeParams({ model, request, defaults: undefined, ownOnly: true, stream: false })
    const params = { model, input, ...(instructions === undefined ? {} : { instructions }) }
    const response = yield* call(() => server.client.responses.compact(params as never, { signal }))
    const json = parseJson(yield* readText(response))
    return json === undefined ? yield* fail(notJson(response, "Responses")) : json
  }, Effect.scoped)

  return Effect.fnUntraced(function*(items: ReadonlyArray<Item>) {
    if (items.length === 0) return items
    const json = yield* inTime(send(items), "no compaction")
    const output = isRecord(json) ? json["output"] : undefined
    if (!Array.isArray(output) || !output.every(isItem) || !output.some((item) => item.type === "compaction")) {
      return yield* fail(
        new InvalidOutput({ description: "the answer to a compaction holds no compaction; check the base URL" })
      )
    }
    if (options.onUsage !== undefined && isRecord(json)) yield* options.onUsage(usageOf(json["usage"]))
    return output.map(withoutId)
  })
})
