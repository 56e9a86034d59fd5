/**
 * Token accounting: what a model response cost, and the sum over a run.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const tokens = Schema.Finite

/**
 * Tokens and requests of one model response or of several. `inputTokens` contains `cachedTokens`, `outputTokens`
 * contains `reasoningTokens`; a provider that reports nothing gives zeros.
 *
 * @category models
 * @since 0.1.0
 */
export interface Usage extends Schema.Schema.Type<typeof Usage> {}

/**
 * @category schemas
 * @since 0.1.0
 */
export const Usage = Schema.Struct({
  /** Requests sent to a provider, failed attempts included. */
  requests: tokens,
  inputTokens: tokens,
  outputTokens: tokens,
  totalTokens: tokens,
  /** Input tokens that the provider read from its cache. */
  cachedTokens: tokens,
  /** Output tokens that the model thought with. */
  reasoningTokens: tokens
})

/**
 * @category constants
 * @since 0.1.0
 */
export const zero: Usage = {
  requests: 0,
  inputTokens: 0,
  outputTokens: 0,
  totalTokens: 0,
  cachedTokens: 0,
  reasoningTokens: 0
}

/**
 * A usage with the fields left out as zero, `requests` as one and `totalTokens` as input plus output.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (fields: Partial<Usage>): Usage => ({
  requests: fields.requests ?? 1,
  inputTokens: fields.inputTokens ?? 0,
  outputTokens: fields.outputTokens ?? 0,
  totalTokens: fields.totalTokens ?? (fields.inputTokens ?? 0) + (fields.outputTokens ?? 0),
  cachedTokens: fields.cachedTokens ?? 0,
  reasoningTokens: fields.reasoningTokens ?? 0
})

/**
 * @category combinators
 * @since 0.1.0
 */
export const add = (a: Usage, b: Usage): Usage => ({
  requests: a.requests + b.requests,
  inputTokens: a.inputTokens + b.inputTokens,
  outputTokens: a.outputTokens + b.outputTokens,
  totalTokens: a.totalTokens + b.totalTokens,
  cachedTokens: a.cachedTokens + b.cachedTokens,
  reasoningTokens: a.reasoningTokens + b.reasoningTokens
})

/**
 * The sum for each agent, by name.
 *
 * @category combinators
 * @since 0.1.0
 */
export const byAgent = (
  requests: ReadonlyArray<{ readonly agent: string; readonly usage: Usage }>
): ReadonlyMap<string, Usage> => {
  const sums = new Map<string, Usage>()
  for (const { agent, usage } of requests) sums.set(agent, add(sums.get(agent) ?? zero, usage))
  return sums
}
