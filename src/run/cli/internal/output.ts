import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Ref from "effect/Ref"
import * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import { OutputClosed } from "./failure.ts"

// Control characters but tab and newline, and what turns the direction of writing or breaks lines otherwise.
const unprintable = /(?![\n\t])[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu

/** Text that cannot move the cursor, recolour or retitle the terminal: control characters become visible ones. */
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

/** Milliseconds since 1970, as `2026-01-31 12:00:00Z`. */
export const time = (millis: number): string =>
  DateTime.formatIso(DateTime.makeUnsafe(millis)).replace("T", " ").replace(/\.\d+Z$/, "Z")

export const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`

/** Rows under their headings, columns as wide as they need. */
export const table = (
  headings: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  indent = ""
): string => {
  const all = [headings, ...rows.map((row) => row.map((cell) => oneLine(cell, 400)))]
  const widths = headings.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)))
  return all
    .map((row) => `${indent}${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd())
    .join("\n")
}

export interface Style {
  readonly dim: (text: string) => string
  readonly bold: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
}

const paint = (isOn: boolean, on: number, off: number) => (text: string) =>
  isOn && text !== "" ? `\u001b[${on}m${text}\u001b[${off}m` : text

const styleOf = (isOn: boolean): Style => ({
  dim: paint(isOn, 2, 22),
  bold: paint(isOn, 1, 22),
  red: paint(isOn, 31, 39),
  green: paint(isOn, 32, 39),
  yellow: paint(isOn, 33, 39)
})

/** How far long work has come. */
export interface Progress {
  readonly step: (label: string) => Effect.Effect<void>
}

/** Where a command writes. */
export class Output extends Context.Service<Output, {
  /** To standard output, as it is. */
  readonly write: (text: string) => Effect.Effect<void, OutputClosed>
  /** A line, or several, to standard output. */
  readonly print: (text: string) => Effect.Effect<void, OutputClosed>
  /** To standard error: what is not the answer. */
  readonly note: (text: string) => Effect.Effect<void>
  /** A value as JSON text, in one line. */
  readonly json: (value: unknown) => Effect.Effect<void, OutputClosed>
  readonly style: Style
  /** Whether standard output is a terminal. */
  readonly isTerminal: boolean
  /** Whether a person can be asked. */
  readonly canPrompt: boolean
  /**
   * Runs long work. On a terminal a bar on standard error shows how far it has come, and is gone when it ends; elsewhere
   * nothing is shown. Without a total, what was done is counted.
   */
  readonly progress: <A, E, R>(
    total: number | undefined,
    work: (progress: Progress) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
}>()("agent-layers/run/cli/internal/output") {}

const send = (stream: NodeJS.WriteStream, text: string): Effect.Effect<void, OutputClosed> =>
  Effect.callback((resume) => {
    stream.write(text, (error) => resume(error == null ? Effect.void : Effect.fail(new OutputClosed())))
  })

const bar = (done: number, total: number | undefined, label: string): string => {
  if (total === undefined) return `${done} ${label}`
  const width = 24
  const filled = total === 0 ? width : Math.min(width, Math.round(done / total * width))
  return `[${"#".repeat(filled)}${"-".repeat(width - filled)}] ${done}/${total} ${label}`
}

const make = Effect.gen(function*() {
  const stdio = yield* Stdio.Stdio
  const isTerminal = yield* stdio.stdoutIsTerminal
  const { canAnimate, canColor, canPrompt } = yield* TerminalCapabilities.TerminalCapabilities
  // A terminal that cannot redraw a line says so where it is standard output too.
  const showsProgress = (yield* stdio.stderrIsTerminal) && (canAnimate || !isTerminal)
  // Without a listener a closed pipe would end the process; who writes learns of it by the callback.
  process.stdout.on("error", () => {})
  process.stderr.on("error", () => {})

  const write = (text: string) => text === "" ? Effect.void : send(process.stdout, text)
  const note = (text: string) => Effect.ignore(send(process.stderr, `${text}\n`))

  const progress: Output["Service"]["progress"] = (total, work) => {
    if (!showsProgress) return work({ step: () => Effect.void })
    return Effect.flatMap(Ref.make(0), (done) => {
      const show = (text: string) => Effect.ignore(send(process.stderr, `\r\u001b[2K${text}`))
      const step = (label: string) =>
        Effect.flatMap(Ref.updateAndGet(done, (n) => n + 1), (n) => show(bar(n, total, oneLine(label, 40))))
      return Effect.ensuring(Effect.andThen(show(bar(0, total, "")), work({ step })), show(""))
    })
  }

  return Output.of({
    write,
    print: (text) => write(`${text}\n`),
    note,
    json: (value) => write(`${Formatter.formatJson(value)}\n`),
    style: styleOf(canColor),
    isTerminal,
    canPrompt,
    progress
  })
})

const wordsOf = (u: unknown): string =>
  Array.isArray(u)
    ? u.map(wordsOf).filter((text) => text !== "").join(" ")
    : typeof u === "string"
    ? u
    : u instanceof Error
    ? u.message
    : Formatter.format(u)

/** What is logged, in one line each on standard error: it is not the answer of a command. */
export const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
  process.stderr.write(`agent-layers: ${logLevel.toLowerCase()}: ${oneLine(wordsOf(message), 1000)}\n`)
})

export const layer: Layer.Layer<Output, never, Stdio.Stdio | Terminal.Terminal> = Layer.effect(Output, make)
