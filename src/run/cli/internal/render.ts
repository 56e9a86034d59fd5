import * as Stream from "effect/Stream"
import * as Item from "../../../services/Item.ts"
import type { Approval } from "../../Approval.ts"
import type { RunEvent } from "../../RunEvent.ts"
import { oneLine, printable, type Style } from "./output.ts"

const outputOf = (item: Item.Item): string =>
  !Item.isFunctionCallOutput(item)
    ? ""
    : typeof item.output === "string"
    ? item.output
    : item.output.map((part) => part.text ?? `[${part.type}]`).join(" ")

/** What a line tells of an event that is no text. */
const lineOf = (event: RunEvent<unknown>): string | undefined => {
  switch (event._tag) {
    case "ToolStarted":
      return `→ ${oneLine(event.name)} ${oneLine(event.arguments)}`
    case "ToolFinished":
      return `${event.isFailure ? "✗" : "←"} ${oneLine(event.name)}: ${oneLine(outputOf(event.output))}`
    case "HandedOff":
      return `⇒ ${oneLine(event.from)} hands off to ${oneLine(event.to)}`
    case "Nested": {
      const inner = lineOf(event.event)
      return inner === undefined ? undefined : `  ${inner}`
    }
    default:
      return undefined
  }
}

/** A call that a person is to decide about, with all of its arguments. */
export const renderApproval = (style: Style, { agent, arguments: written, tool }: Approval): string =>
  `${style.yellow("?")} ${oneLine(agent)} wants to call ${style.bold(oneLine(tool))}\n  ${printable(written)}\n`

/** The text as it comes, and a line for each tool call, each result, each handoff and each question to a person. */
export const render =
  (style: Style) => <E, R>(events: Stream.Stream<RunEvent<unknown>, E, R>): Stream.Stream<string, E, R> =>
    events.pipe(
      Stream.mapAccum(() => "", (last: string, event): readonly [string, ReadonlyArray<string>] => {
        const say = (text: string) => text === "" ? [last, []] as const : [text, [text]] as const
        const start = last === "" || last.endsWith("\n") ? "" : "\n"
        switch (event._tag) {
          case "TextDelta":
          case "RefusalDelta":
            return say(printable(event.delta))
          case "ApprovalRequested":
            return say(`${start}${renderApproval(style, event.approval)}`)
          case "Completed":
            return say(start)
          default: {
            const line = lineOf(event)
            return line === undefined ? [last, []] : say(`${start}${style.dim(line)}\n`)
          }
        }
      })
    )
