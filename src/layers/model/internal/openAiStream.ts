/**
 * The events of a Responses stream as `ModelEvent`s. Pure: bytes in, events and at most one end out.
 */
import * as Result from "effect/Result"
import type { Item } from "../../../services/Item.ts"
import { InvalidOutput, type ModelErrorReason } from "../../../services/ModelError.ts"
import type { ModelEvent } from "../../../services/ModelProvider.ts"
import { isRecord, parseJson } from "./json.ts"
import { errorBody, fromBody } from "./openAiError.ts"
import { finish, isPending, notAnItem, outputItem, readResponse } from "./openAiResponse.ts"
import { makeSseReader } from "./sse.ts"

/** What is known of an item while it is being written. */
interface Open {
  readonly itemId: string
  readonly callId: string
  readonly name: string
}

export interface StreamReader {
  /** Reads the next text. Events are added to `events`. */
  readonly feed: (text: string) => void
  /** The source has ended: what is left is read. */
  readonly end: () => void
  /** Reads a whole response, of a server that did not stream. */
  readonly whole: (json: unknown) => void
  /** Events that wait to be taken, in order. `Completed` is the last one ever. */
  events: Array<ModelEvent>
  /** Why the stream failed, after the events that wait. */
  failure: ModelErrorReason | undefined
  /** `Completed` was read, or `failure`. */
  isOver: boolean
  /** Whether any event came before. */
  isVisible: boolean
}

export const makeStreamReader = (options: {
  readonly structured: boolean
  readonly raw: boolean
  readonly nonce: string
  /** Takes secrets out of what the server says. */
  readonly scrub: (text: string) => string
}): StreamReader => {
  const { nonce } = options
  const sse = makeSseReader()
  const open = new Map<number, Open>()
  const done = new Map<number, Item>()
  /** Outputs are counted here for servers that do not. */
  let lastIndex = -1

  const reader: StreamReader = {
    events: [],
    failure: undefined,
    isOver: false,
    isVisible: false,
    feed: (text) => {
      if (reader.isOver) return
      if (sse.feed(text, onData) !== undefined) {
        fail(
          new InvalidOutput({
            description: "one event of the stream is too large to be read",
            isPartial: reader.isVisible
          })
        )
      }
    },
    end: () => {
      if (!reader.isOver) sse.end(onLeftOver)
    },
    whole: (json) => onResponse(json)
  }

  const fail = (reason: ModelErrorReason): void => {
    reader.failure = reason
    reader.isOver = true
  }

  const emit = (event: ModelEvent): void => {
    reader.isVisible = true
    reader.events.push(event)
  }

  const onData = (data: string): void => {
    if (reader.isOver || data === "[DONE]" || data === "") return
    const event = parseJson(data)
    if (isRecord(event)) {
      take(event)
    } else {
      fail(
        new InvalidOutput({ description: "an event of the stream is not a JSON object", isPartial: reader.isVisible })
      )
    }
  }

  /** Some servers end without the last blank line; a half event is no event. */
  const onLeftOver = (data: string): void => {
    const event = parseJson(data)
    if (isRecord(event)) take(event)
  }

  const take = (event: Readonly<Record<string, unknown>>): void => {
    if (options.raw) emit({ _tag: "Raw", event })
    onEvent(event)
  }

  const indexOf = (event: Readonly<Record<string, unknown>>): number => {
    const index = event.output_index
    return typeof index === "number" ? index : lastIndex < 0 ? 0 : lastIndex
  }

  const itemAt = (event: Readonly<Record<string, unknown>>): Open => {
    const index = indexOf(event)
    const found = open.get(index)
    if (found !== undefined) return found
    const made: Open = {
      itemId: typeof event.item_id === "string" ? event.item_id : `item_${nonce}_${index}`,
      callId: `call_${nonce}_${index}`,
      name: ""
    }
    open.set(index, made)
    return made
  }

  const onItem = (index: number, u: unknown): void => {
    const item = outputItem(u, index, nonce)
    if (item === undefined) return fail(notAnItem(index, reader.isVisible))
    done.set(index, item)
    emit({ _tag: "ItemDone", item })
  }

  const onEvent = (event: Readonly<Record<string, unknown>>): void => {
    switch (event.type) {
      case "response.output_text.delta":
        return onDelta("TextDelta", event)
      case "response.reasoning_summary_text.delta":
      case "response.reasoning_text.delta":
        return onDelta("ReasoningDelta", event)
      case "response.refusal.delta":
        return onDelta("RefusalDelta", event)
      case "response.function_call_arguments.delta": {
        if (typeof event.delta !== "string" || event.delta === "") return
        const { callId, itemId, name } = itemAt(event)
        return emit({ _tag: "ToolCallDelta", itemId, callId, name, delta: event.delta })
      }
      case "response.output_item.added": {
        const index = typeof event.output_index === "number" ? event.output_index : lastIndex + 1
        lastIndex = index
        const item = isRecord(event.item) ? event.item : {}
        const id = typeof item.id === "string" && item.id !== "" ? item.id : undefined
        open.set(index, {
          itemId: id ?? `item_${nonce}_${index}`,
          callId: typeof item.call_id === "string" && item.call_id !== ""
            ? item.call_id
            : id ?? `call_${nonce}_${index}`,
          name: typeof item.name === "string" ? item.name : ""
        })
        return
      }
      case "response.output_item.done":
        return onItem(indexOf(event), event.item)
      case "response.completed":
      case "response.incomplete":
      case "response.failed":
      case "response.cancelled":
        return onResponse(withStatus(event))
      case "error":
        return fail(fromBody(errorBody(event, options.scrub), reader.isVisible))
      default:
        // Some gateways put an error into the stream without a type.
        if (event.type === undefined && isRecord(event.error)) {
          fail(fromBody(errorBody(event, options.scrub), reader.isVisible))
        }
    }
  }

  const onDelta = (
    _tag: "TextDelta" | "ReasoningDelta" | "RefusalDelta",
    event: Readonly<Record<string, unknown>>
  ): void => {
    const delta = event.delta
    if (typeof delta === "string" && delta !== "") emit({ _tag, itemId: itemAt(event).itemId, delta })
  }

  const onResponse = (json: unknown): void => {
    const read = readResponse(json, { isPartial: reader.isVisible, scrub: options.scrub })
    if (Result.isFailure(read)) return fail(read.failure)
    const answer = read.success
    if (isPending(answer.status)) {
      return fail(
        new InvalidOutput({
          description: `the answer to a stream is a response that is ${answer.status}`,
          isPartial: reader.isVisible
        })
      )
    }
    const output: Array<Item> = []
    // What was delivered as done stays as it was delivered, and what was not is delivered now.
    const delivered = match(answer.output, [...done.entries()].sort((a, b) => a[0] - b[0]).map((entry) => entry[1]))
    for (let index = 0; index < answer.output.length; index++) {
      const item = delivered.matched[index] ?? outputItem(answer.output[index], index, nonce)
      if (item === undefined) return fail(notAnItem(index, reader.isVisible))
      if (delivered.matched[index] === undefined) emit({ _tag: "ItemDone", item })
      output.push(item)
    }
    output.push(...delivered.rest)
    const finished = finish(answer, output, { structured: options.structured, isPartial: reader.isVisible })
    if (Result.isFailure(finished)) return fail(finished.failure)
    reader.events.push({ _tag: "Completed", response: finished.success })
    reader.isOver = true
  }

  return reader
}

const sameKey = (u: unknown, item: Item, key: "id" | "call_id"): boolean =>
  isRecord(u) && typeof u[key] === "string" && u[key] !== "" && u[key] === (item as Record<string, unknown>)[key]

/**
 * Which of the items that were delivered stand in the last event's output. Gateways give other ids there, count
 * differently, or leave the output empty, so that what has no equal id is paired by type and order.
 */
const match = (output: ReadonlyArray<unknown>, delivered: ReadonlyArray<Item>) => {
  const rest = [...delivered]
  const take = (fits: (item: Item) => boolean): Item | undefined => {
    const index = rest.findIndex(fits)
    return index < 0 ? undefined : rest.splice(index, 1)[0]
  }
  const exact = output.map((u) => take((item) => sameKey(u, item, "id") || sameKey(u, item, "call_id")))
  const matched = exact.map((item, index) => {
    const u = output[index]
    return item ?? take((other) => isRecord(u) && u.type === other.type)
  })
  return { matched, rest }
}

/** The name of the event says how it ended, also where the response inside forgot to. */
const withStatus = (event: Readonly<Record<string, unknown>>): unknown => {
  const response = isRecord(event.response) ? event.response : {}
  const status = (event.type as string).slice("response.".length)
  const output = response.output ?? []
  return response.status === status && response.output === output ? response : { ...response, status, output }
}
