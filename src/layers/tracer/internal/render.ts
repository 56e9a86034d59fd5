import * as Formatter from "effect/Formatter"
import type { EndedSpan, Span, SpanData, Trace } from "../../../services/Tracer.ts"
import type { Usage } from "../../../services/Usage.ts"
import { cut, sanitize } from "./sanitize.ts"
import type { Node } from "./tree.ts"

export interface RenderOptions {
  readonly colors: boolean
  readonly includeContent: boolean
  readonly width: number
}

const labels: { readonly [Tag in SpanData["_tag"]]: (data: Extract<SpanData, { _tag: Tag }>) => string } = {
  Agent: (data) => `agent ${data.agent}`,
  Turn: (data) => `turn ${data.turn}`,
  Generation: (data) => `model ${data.model}`,
  Tool: (data) => `tool ${data.name}`,
  Handoff: (data) => `handoff ${data.from} -> ${data.to}`,
  Guardrail: (data) => `guardrail ${data.name}`,
  Mcp: (data) => `mcp ${data.server} ${data.operation}`,
  Sandbox: (data) => `sandbox ${data.backend} ${data.operation}`,
  Session: (data) => `session ${data.backend} ${data.operation}`,
  Custom: (data) => data.name
}

const label = (data: SpanData): string => sanitize((labels[data._tag] as (data: SpanData) => string)(data))

export const formatMillis = (millis: number): string => {
  if (millis < 0.95) return `${(Math.max(0, millis)).toFixed(1)}ms`
  if (millis < 999.5) return `${Math.round(millis)}ms`
  if (millis < 59_995) return `${(millis / 1000).toFixed(2)}s`
  const seconds = Math.round(millis / 1000)
  return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, "0")}s`
}

const formatUsage = (usage: Usage): string => {
  const cached = usage.cachedTokens > 0 ? ` (${usage.cachedTokens} cached)` : ""
  const reasoning = usage.reasoningTokens > 0 ? ` (${usage.reasoningTokens} reasoning)` : ""
  return `${usage.inputTokens}${cached} in, ${usage.outputTokens}${reasoning} out`
}

const codes = { bold: 1, dim: 2, red: 31, yellow: 33 } as const

interface Line {
  readonly branch: string
  readonly label: string
  readonly start: string
  readonly took: string
  /** With its colour, where it has one. */
  readonly notes: ReadonlyArray<readonly [text: string, color: keyof typeof codes | undefined]>
}

interface Detail {
  readonly branch: string
  readonly text: string
  readonly color: "red" | "dim"
}

const notesOf = (span: Span, ended: EndedSpan | undefined): Line["notes"] => {
  const notes: Array<Line["notes"][number]> = []
  const data = ended?.data ?? span.data
  if ("usage" in data && data.usage !== undefined) notes.push([formatUsage(data.usage), undefined])
  if (ended === undefined) notes.push(["not finished", "yellow"])
  else if (ended.outcome === "interrupted") notes.push(["interrupted", "yellow"])
  else if (ended.outcome === "failed") notes.push(["failed", "red"])
  if (data._tag === "Tool" && data.isFailure === true) notes.push(["told the model of a failure", "yellow"])
  if (data._tag === "Guardrail" && data.isTripped === true) notes.push(["tripped", "yellow"])
  return notes
}

/** No more is looked at than could be shown, should a tool answer with megabytes. */
const contentOf = (value: unknown, width: number): string =>
  sanitize((typeof value === "string" ? value : Formatter.formatJson(value)).slice(0, width * 8))

/** A failure that comes up from a child is told there. */
const isTold = (node: Node): boolean =>
  node.children.some(({ ended }) =>
    ended?.error !== undefined && ended.error.tag === node.ended?.error?.tag &&
    ended.error.message === node.ended.error.message
  )

const detailsOf = (node: Node, branch: string, options: RenderOptions): ReadonlyArray<Detail> => {
  const details: Array<Detail> = []
  const { ended, span } = node
  const data = ended?.data ?? span.data
  if (options.includeContent) {
    if ("input" in data && data.input !== undefined) {
      details.push({ branch, text: `in:  ${contentOf(data.input, options.width)}`, color: "dim" })
    }
    if ("output" in data && data.output !== undefined) {
      details.push({ branch, text: `out: ${contentOf(data.output, options.width)}`, color: "dim" })
    }
  }
  if (ended?.error !== undefined && !isTold(node)) {
    const message = sanitize(ended.error.message.replaceAll(/\s+/g, " ").trim())
    details.push({ branch, text: `${sanitize(ended.error.tag)}${message === "" ? "" : `: ${message}`}`, color: "red" })
  }
  return details
}

const collect = (
  node: Node,
  origin: number,
  options: RenderOptions,
  lead: string,
  under: string,
  out: Array<Line | Detail>
): void => {
  const { children, ended, span } = node
  out.push({
    branch: lead,
    label: label(ended?.data ?? span.data),
    start: `+${formatMillis(span.startedAt - origin)}`,
    took: ended === undefined ? "" : formatMillis(ended.endedAt - span.startedAt),
    notes: notesOf(span, ended)
  })
  out.push(...detailsOf(node, `${under}${children.length > 0 ? "│ " : "  "}  `, options))
  for (const [index, child] of children.entries()) {
    const isLast = index === children.length - 1
    collect(child, origin, options, `${under}${isLast ? "└─ " : "├─ "}`, `${under}${isLast ? "   " : "│  "}`, out)
  }
}

const titleOf = (trace: Trace): string => {
  const metadata = Object.entries(trace.metadata ?? {}).map(([key, value]) => `${sanitize(key)}=${sanitize(value)}`)
  return [
    `trace ${sanitize(trace.workflowName)}`,
    ...(trace.groupId === undefined ? [] : [`group ${sanitize(trace.groupId)}`]),
    ...metadata
  ].join("  ")
}

/** A trace as lines, none wider than `width` (colours aside). */
export const render = (
  trace: Trace | undefined,
  root: Node,
  omitted: number,
  options: RenderOptions
): string => {
  const { width } = options
  const paint = (text: string, color: keyof typeof codes | undefined) =>
    options.colors && color !== undefined && text !== "" ? `\u001b[${codes[color]}m${text}\u001b[0m` : text
  const rows: Array<Line | Detail> = []
  collect(root, root.span.startedAt, options, "", "", rows)
  let widest = 0
  let start = 0
  let took = 0
  for (const row of rows) {
    if (!("label" in row)) continue
    widest = Math.max(widest, row.branch.length + row.label.length)
    start = Math.max(start, row.start.length)
    took = Math.max(took, row.took.length)
  }
  // Times stay in sight however long a name or however deep a tree is.
  const column = Math.max(1, Math.min(widest, width - start - took - 6))
  const lines: Array<string> = []
  if (trace !== undefined) lines.push(paint(cut(titleOf(trace), width), "bold"))
  for (const row of rows) {
    const branch = cut(row.branch, column)
    if (!("label" in row)) {
      const text = cut(row.text, width - branch.length)
      if (text !== "") lines.push(paint(branch, "dim") + paint(text, row.color))
      continue
    }
    const name = cut(row.label, column - branch.length).padEnd(column - branch.length)
    const times = `  ${row.start.padStart(start)}  ${row.took.padStart(took)}`
    let left = width - column - times.length
    let notes = ""
    for (const [text, color] of row.notes) {
      const shown = cut(text, left - 2)
      if (shown === "") break
      notes += `  ${paint(shown, color)}`
      left -= shown.length + 2
    }
    lines.push((paint(branch, "dim") + name + paint(times, "dim") + notes).trimEnd())
  }
  if (omitted > 0) lines.push(paint(cut(`and ${omitted} more ${omitted === 1 ? "span" : "spans"}`, width), "dim"))
  return lines.join("\n")
}
