/**
 * The tool calls of one answer, put together from its deltas. Servers number them, or do not; give an id, none, one for
 * each delta, or the same ids in every answer; and write arguments as text or as an object.
 */
import { functionCall, type Item } from "../../../services/Item.ts"
import type { ModelEvent } from "../../../services/ModelProvider.ts"
import { isRecord, parseJson } from "./json.ts"

interface Call {
  readonly itemId: string
  readonly callId: string
  readonly givenId: string | undefined
  readonly key: unknown
  name: string
  arguments: string
  /** Waits for the name, which a delta has to say. */
  untold: string
}

export interface ChatCalls {
  /** Reads the list of one delta, or of a whole message. */
  readonly feed: (list: ReadonlyArray<unknown>) => void
  /** Reads the form that came before tools. */
  readonly feedLegacy: (call: Readonly<Record<string, unknown>>) => void
  /** Tells what is left to tell, and gives the calls as items. */
  readonly end: (isCutOff: boolean) => ReadonlyArray<Item>
  readonly isEmpty: () => boolean
}

/** Counts from zero in each answer, so that it comes again in the next one: `call_0`, `functions.add:1`, `2`. */
const counter = /^(?:[\w.:-]*[_.:-])?\d{1,4}$/

const argumentsOf = (u: unknown): string =>
  typeof u === "string" ? u : u === undefined || u === null ? "" : JSON.stringify(u)

const text = (u: unknown): string => typeof u === "string" ? u : typeof u === "number" ? String(u) : ""

export const makeChatCalls = (options: {
  readonly nonce: string
  /** Whether the conversation has a call of that id. */
  readonly isKnown: (callId: string) => boolean
  readonly emit: (event: ModelEvent) => void
}): ChatCalls => {
  const { emit, nonce } = options
  const calls: Array<Call> = []

  const uniqueId = (given: string): string => {
    if (given === "") return `call_${nonce}_${calls.length}`
    const isTaken = counter.test(given) || options.isKnown(given) || calls.some((call) => call.callId === given)
    return isTaken ? `${given}_${nonce}${calls.length}` : given
  }

  const begin = (key: unknown, id: string): Call => {
    const call: Call = {
      // No prefix of OpenAI's own ids, which its service would look up.
      itemId: `function_call_${nonce}_${calls.length}`,
      callId: uniqueId(id),
      givenId: id === "" ? undefined : id,
      key,
      name: "",
      arguments: "",
      untold: ""
    }
    calls.push(call)
    return call
  }

  /** The same place with another name, or with another id and a name, is another call: some servers always say 0. */
  const isAnother = (call: Call, id: string, name: string, args: string): boolean => {
    if (name === "") return false
    if (id !== "" && call.givenId !== undefined) return id !== call.givenId
    return isRecord(parseJson(call.arguments)) && args.trimStart().startsWith("{")
  }

  const find = (key: unknown, id: string, name: string, args: string): Call => {
    const found = key === undefined
      ? calls.findLast((call) => id !== "" && call.givenId === id) ?? (name === "" ? calls.at(-1) : undefined)
      : calls.findLast((call) => call.key === key)
    return found === undefined || isAnother(found, id, name, args) ? begin(key, id) : found
  }

  const tell = (call: Call, delta: string): void => {
    if (call.name === "") {
      call.untold += delta
      return
    }
    const whole = call.untold + delta
    call.untold = ""
    if (whole === "") return
    emit({ _tag: "ToolCallDelta", itemId: call.itemId, callId: call.callId, name: call.name, delta: whole })
  }

  const add = (key: unknown, id: string, name: string, args: string): void => {
    const call = find(key, id, name, args)
    if (call.name === "") call.name = name
    call.arguments += args
    tell(call, args)
  }

  return {
    feed: (list) => {
      for (const delta of list) {
        if (!isRecord(delta)) continue
        const f = isRecord(delta.function) ? delta.function : isRecord(delta.custom) ? delta.custom : {}
        add(
          typeof delta.index === "number" ? delta.index : undefined,
          text(delta.id),
          text(f.name),
          argumentsOf(f.arguments)
        )
      }
    },
    feedLegacy: (call) => add("function_call", "", text(call.name), argumentsOf(call.arguments)),
    end: (isCutOff) =>
      calls.map((call, index) => {
        if (call.arguments.trim() === "" && !isCutOff) {
          call.arguments = "{}"
          call.untold = "{}"
        }
        tell(call, "")
        return {
          ...functionCall({ callId: call.callId, name: call.name, arguments: call.arguments, id: call.itemId }),
          status: isCutOff && index === calls.length - 1 ? "incomplete" : "completed"
        }
      }),
    isEmpty: () => calls.length === 0
  }
}
