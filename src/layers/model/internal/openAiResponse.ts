/**
 * What the Responses API answers, as a `ModelResponse`. Compatible servers leave out ids, usage, empty lists and types;
 * what is missing is filled in here, and what cannot be used is an error.
 */
import * as Result from "effect/Result"
import { isItem, isMessage, type Item, refusal } from "../../../services/Item.ts"
import {
  ContentFiltered,
  InvalidOutput,
  type ModelErrorReason,
  Overloaded,
  Refused
} from "../../../services/ModelError.ts"
import type { ModelResponse } from "../../../services/ModelProvider.ts"
import * as Usage from "../../../services/Usage.ts"
import { isRecord } from "./json.ts"
import { errorBody, fromBody, type Reading } from "./openAiError.ts"

const tokens = (u: unknown): number => typeof u === "number" && Number.isFinite(u) && u >= 0 ? u : 0

const detail = (u: unknown, key: string): number => isRecord(u) ? tokens(u[key]) : 0

/** Nothing reported: one request and zeros. */
export const usageOf = (u: unknown): Usage.Usage => {
  if (!isRecord(u)) return Usage.make({})
  const inputTokens = tokens(u.input_tokens)
  const outputTokens = tokens(u.output_tokens)
  return Usage.make({
    inputTokens,
    outputTokens,
    ...(typeof u.total_tokens === "number" ? { totalTokens: tokens(u.total_tokens) } : {}),
    cachedTokens: detail(u.input_tokens_details, "cached_tokens"),
    reasoningTokens: detail(u.output_tokens_details, "reasoning_tokens")
  })
}

/** Calls that somebody has to answer, and are found by their `call_id`. */
const answerable = new Set([
  "function_call",
  "custom_tool_call",
  "computer_call",
  "local_shell_call",
  "shell_call",
  "apply_patch_call"
])

/**
 * An output item in the form that `Item` promises. `index` is its place in the output, which names a call that came
 * without an id: `nonce` makes that name unique in the conversation.
 */
export const outputItem = (u: unknown, index: number, nonce: string): Item | undefined => {
  if (!isRecord(u)) return undefined
  let item: Record<string, unknown> | undefined
  const set = (key: string, value: unknown) => {
    item ??= { ...u }
    item[key] = value
  }
  const type = u.type
  if (type === "message" || (type === undefined && u.role !== undefined)) {
    if (type === undefined) set("type", "message")
    if (u.role === undefined) set("role", "assistant")
    if (u.content === null || u.content === undefined) set("content", [])
  } else if (type === "reasoning") {
    if (u.summary === null || u.summary === undefined) set("summary", [])
  } else if (typeof type === "string" && answerable.has(type)) {
    if (typeof u.call_id !== "string" || u.call_id === "") {
      set("call_id", typeof u.id === "string" && u.id !== "" ? u.id : `call_${nonce}_${index}`)
    }
    if (type === "function_call" && typeof u.arguments !== "string") {
      set("arguments", u.arguments === undefined || u.arguments === null ? "{}" : JSON.stringify(u.arguments))
    }
  }
  const out = item ?? u
  return isItem(out) ? out : undefined
}

export interface Answer {
  readonly id: string | undefined
  readonly model: string | undefined
  readonly status: string
  readonly incompleteReason: string | undefined
  readonly output: ReadonlyArray<unknown>
  readonly usage: Usage.Usage
}

/** The response object, or why it is none. */
export const readResponse = (u: unknown, reading: Reading): Result.Result<Answer, ModelErrorReason> => {
  const { isPartial, scrub } = reading
  if (!isRecord(u)) {
    return Result.fail(new InvalidOutput({ description: "the response is not a JSON object", isPartial }))
  }
  const status = typeof u.status === "string" ? u.status : "completed"
  const hasError = u.error !== undefined && u.error !== null
  if (status === "failed" || (hasError && !Array.isArray(u.output))) {
    return Result.fail(fromBody(errorBody(u.error ?? {}, scrub), isPartial))
  }
  if (status === "cancelled") {
    return Result.fail(new Overloaded({ description: "the response was cancelled at the provider", isPartial }))
  }
  if (!Array.isArray(u.output)) {
    return Result.fail(new InvalidOutput({ description: "the response has no list `output`", isPartial }))
  }
  const details = u.incomplete_details
  return Result.succeed({
    id: typeof u.id === "string" ? u.id : undefined,
    model: typeof u.model === "string" ? u.model : undefined,
    status,
    incompleteReason: isRecord(details) && typeof details.reason === "string" ? scrub(details.reason) : undefined,
    output: u.output,
    usage: usageOf(u.usage)
  })
}

export const isPending = (status: string): boolean => status === "queued" || status === "in_progress"

/** The last step: items are checked, and structured output is held to what it needs. */
export const finish = (
  answer: Answer,
  output: ReadonlyArray<Item>,
  options: { readonly structured: boolean; readonly isPartial: boolean }
): Result.Result<ModelResponse, ModelErrorReason> => {
  const { isPartial } = options
  const isIncomplete = answer.status === "incomplete"
  if (options.structured) {
    for (const item of output) {
      const reason = isMessage(item) ? refusal(item) : undefined
      if (reason !== undefined) return Result.fail(new Refused({ description: reason, isPartial }))
    }
    if (isIncomplete) {
      const reason = answer.incompleteReason ?? "no reason given"
      return Result.fail(
        reason === "content_filter"
          ? new ContentFiltered({ description: "the answer was cut off", isPartial })
          : new InvalidOutput({ description: `the structured answer was cut off (${reason})`, isPartial })
      )
    }
  }
  return Result.succeed({
    ...(answer.id === undefined ? {} : { id: answer.id }),
    ...(answer.model === undefined ? {} : { model: answer.model }),
    output,
    usage: answer.usage,
    status: isIncomplete ? "incomplete" : "completed",
    ...(isIncomplete && answer.incompleteReason !== undefined ? { incompleteReason: answer.incompleteReason } : {})
  })
}

/** Every output item as an `Item`; the first that is none is the failure. */
export const readOutput = (
  output: ReadonlyArray<unknown>,
  options: { readonly nonce: string; readonly isPartial: boolean }
): Result.Result<ReadonlyArray<Item>, ModelErrorReason> => {
  const out: Array<Item> = []
  for (let index = 0; index < output.length; index++) {
    const item = outputItem(output[index], index, options.nonce)
    if (item === undefined) return Result.fail(notAnItem(index, options.isPartial))
    out.push(item)
  }
  return Result.succeed(out)
}

export const notAnItem = (index: number, isPartial: boolean): ModelErrorReason =>
  new InvalidOutput({ description: `output[${index}] is not an item of the Responses API`, isPartial })
