/**
 * What the terminal shows: a pure function from the events of a run to text. What a model or a tool says cannot move
 * the cursor, recolour or retitle the terminal: its control characters become visible ones.
 */
import type { RunEvent } from "agent-layers/run/RunEvent"
import * as Item from "agent-layers/services/Item"
import * as Stream from "effect/Stream"

export interface Style {
  readonly dim: (text: string) => string
  readonly bold: (text: string) => string
}

export const styleOf = (colors: boolean): Style => ({
  dim: (text) => colors ? `\u001b[2m${text}\u001b[22m` : text,
  bold: (text) => colors ? `\u001b[1m${text}\u001b[22m` : text
})

// Control characters but tab and newline, and what turns the direction of writing or breaks lines otherwise.
const unprintable = /(?![\n\t])[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu

export const printable = (text: string): string =>
  text.replaceAll("\r\n", "\n").replaceAll(unprintable, (character) => {
    const code = character.charCodeAt(0)
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : "\ufffd"
  })

/** A text on one line, at most `width` characters of it. */
export const oneLine = (text: string, width = 100): string => {
  const line = printable(text.slice(0, 4 * width)).replaceAll(/\s+/g, " ").trim()
  return line.length > width || text.length > 4 * width ? `${line.slice(0, width - 1)}…` : line
}

export const amount = (n: number, what: string): string => `${n.toLocaleString("en-US")} ${what}${n === 1 ? "" : "s"}`

export const size = (bytes: number): string =>
  bytes < 1000
    ? amount(bytes, "byte")
    : bytes < 100_000
    ? `${(bytes / 1e3).toFixed(1)} kB`
    : `${(bytes / 1e6).toFixed(1)} MB`

const outputOf = (item: Item.Item): string =>
  !Item.isFunctionCallOutput(item)
    ? ""
    : typeof item.output === "string"
    ? item.output
    : item.output.map((part) => part.text ?? `[${part.type}]`).join(" ")

/** The text as it comes, and a line for each tool call and each result. */
export const render =
  (style: Style) => <E, R>(events: Stream.Stream<RunEvent<string>, E, R>): Stream.Stream<string, E, R> =>
    events.pipe(
      Stream.mapAccum(() => "", (last: string, event): readonly [string, ReadonlyArray<string>] => {
        const say = (text: string) => text === "" ? [last, []] as const : [text, [text]] as const
        const line = (text: string) => say(`${last === "" || last.endsWith("\n") ? "" : "\n"}${style.dim(text)}\n`)
        switch (event._tag) {
          case "TextDelta":
          case "RefusalDelta":
            return say(printable(event.delta))
          case "ToolStarted":
            return line(`→ ${oneLine(event.name)} ${oneLine(event.arguments)}`)
          case "ToolFinished":
            return line(`${event.isFailure ? "✗" : "←"} ${oneLine(event.name)}: ${oneLine(outputOf(event.output))}`)
          case "Completed":
            return last.endsWith("\n") ? [last, []] : say("\n")
          default:
            return [last, []]
        }
      })
    )
