/** What of a run its client is shown: what agents say, and their tools' calls where that is wanted. */
import { type ContentPart, type FunctionCall, isFunctionCall, isMessage, type Item } from "../../../services/Item.ts"
import type { RunEvent } from "../../RunEvent.ts"

export interface Showing {
  /** `final`: nothing of a turn before it is known that the answer is in it. */
  readonly messages: "all" | "final"
  readonly toolCalls: boolean
}

export type Shown =
  /** The next piece of what is being said. `key`: of which message. */
  | { readonly _tag: "Text" | "Refusal"; readonly key: string; readonly delta: string }
  | { readonly _tag: "Message"; readonly key: string; readonly parts: ReadonlyArray<ContentPart> }
  | {
    readonly _tag: "ToolStarted"
    readonly callId: string
    readonly agent: string
    readonly name: string
    readonly arguments: string
  }
  | {
    readonly _tag: "ToolFinished"
    readonly callId: string
    readonly output: string
    readonly isFailure: boolean
  }

type Told<Tag> = Extract<RunEvent<unknown>, { readonly _tag: Tag }>

const partsOf = (item: Item): ReadonlyArray<ContentPart> =>
  !isMessage(item)
    ? []
    : typeof item.content === "string"
    ? [{ type: "output_text", text: item.content }]
    : item.content

const outputOf = (item: Item): string => {
  const output = (item as { readonly output?: unknown }).output
  if (typeof output === "string") return output
  return Array.isArray(output) ? output.map((part) => (part as ContentPart).text ?? "").join("") : ""
}

const idOf = (item: Item): string | undefined => {
  const id = (item as { readonly id?: unknown }).id
  return typeof id === "string" ? id : undefined
}

export interface Viewer {
  readonly see: (event: RunEvent<unknown>) => ReadonlyArray<Shown>
  /** What is shown at last: what was held back, or the answer where no model has said it. */
  readonly end: (finalOutput: unknown) => ReadonlyArray<Shown>
}

export const make = (showing: Showing): Viewer => {
  let agent = ""
  let held: Array<Shown> = []
  /** The answer is the last message of a turn without calls. */
  let hasCalls = false
  let hasMessage = false
  let open: string | undefined
  let count = 0
  const unstarted = new Map<string, FunctionCall>()

  const say = (shown: Shown): ReadonlyArray<Shown> => {
    if (showing.messages === "all") return [shown]
    held.push(shown)
    return []
  }

  const message = (item: Item): ReadonlyArray<Shown> => {
    const parts = partsOf(item)
    if (parts.length === 0) return []
    hasMessage = true
    // Some models leave ids out, or give the whole another one than its pieces.
    const key = open ?? idOf(item) ?? `message ${count}`
    count++
    open = undefined
    return say({ _tag: "Message", key, parts })
  }

  const delta = (_tag: "Text" | "Refusal", event: { readonly itemId: string; readonly delta: string }) => {
    open = event.itemId
    return say({ _tag, key: open, delta: event.delta })
  }

  const start = (call: Omit<Told<"ToolStarted">, "_tag">): Shown => ({
    _tag: "ToolStarted",
    callId: call.callId,
    agent,
    name: call.name,
    arguments: call.arguments
  })

  /** A call that was refused has not started. It is shown like one that failed. */
  const finish = ({ callId, isFailure, output }: Told<"ToolFinished">): ReadonlyArray<Shown> => {
    const refused = unstarted.get(callId)
    const finished: Shown = { _tag: "ToolFinished", callId, output: outputOf(output), isFailure }
    return refused === undefined ? [finished] : [start({ ...refused, callId }), finished]
  }

  return {
    see: (event) => {
      switch (event._tag) {
        case "TurnStarted":
          unstarted.clear()
          agent = event.agent
          held = []
          hasCalls = false
          hasMessage = false
          open = undefined
          return []
        case "TextDelta":
          return delta("Text", event)
        case "RefusalDelta":
          return delta("Refusal", event)
        case "ItemDone":
          if (isMessage(event.item)) return message(event.item)
          if (isFunctionCall(event.item)) {
            hasCalls = true
            unstarted.set(event.item.call_id, event.item)
          }
          return []
        case "ToolStarted":
          unstarted.delete(event.callId)
          return showing.toolCalls ? [start(event)] : []
        case "ToolFinished":
          return showing.toolCalls ? finish(event) : []
        default:
          return []
      }
    },
    end: (finalOutput) => {
      if (hasMessage && !hasCalls) return held
      // A tool's output that the agent is to stop at.
      const answer = typeof finalOutput === "string" ? finalOutput : JSON.stringify(finalOutput)
      return [{ _tag: "Message", key: `message ${count}`, parts: [{ type: "output_text", text: answer ?? "" }] }]
    }
  }
}
