/**
 * What a model sees of a conversation, where that is less than what is stored: pure functions from items to items, for
 * a handoff or right before a model call. They never change the items that they are given, and nothing of what they
 * leave out is lost to the store. Of a valid history each makes a valid one (`History.check`), so that they compose by
 * `flow`: `flow(trimToolOutputs(), keepLast(40))`.
 *
 * @since 0.1.0
 */
import * as History from "../services/History.ts"
import { contentText, isTextPart, nameOf } from "../services/internal/itemText.ts"
import type { ContentPart, FunctionCallOutput, Item, Message } from "../services/Item.ts"
import {
  assistant,
  isFromModel,
  isFunctionCall,
  isFunctionCallOutput,
  isMessage,
  isReasoning
} from "../services/Item.ts"

/**
 * From what a model would see to what it sees.
 *
 * @category models
 * @since 0.1.0
 */
export type InputFilter = (items: ReadonlyArray<Item>) => ReadonlyArray<Item>

const isUserMessage = (item: Item): item is Message => isMessage(item) && item.role === "user"

/** A whole number of at least `min`; what is not a number at all counts as not given. */
const clamp = (value: number | undefined, min: number, fallback: number): number =>
  value === undefined || Number.isNaN(value) ? fallback : Math.max(min, Math.floor(value))

/** The first characters of a text, never half of a surrogate pair. */
const beginningOf = (text: string, chars: number): string => {
  if (text.length <= chars) return text
  const last = chars > 0 ? text.charCodeAt(chars - 1) : 0
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? chars - 1 : chars)
}

const sizeOf = (value: unknown): number => {
  if (typeof value === "string") return value.length
  if (typeof value !== "object" || value === null) return 0
  let size = 0
  for (const field of Object.values(value)) size += sizeOf(field)
  return size
}

/**
 * @category options
 * @since 0.1.0
 */
export interface TrimToolOutputsOptions {
  /**
   * So many of the last user messages, and all that comes after the first of them, stay whole. Rounded down, at least 1.
   *
   * @default 2
   */
  readonly recentTurns?: number | undefined
  /**
   * The longest output, in UTF-16 code units, that always stays whole. Rounded down, at least 1.
   *
   * @default 500
   */
  readonly maxOutputChars?: number | undefined
  /**
   * How much of the beginning of a longer one is still shown. Rounded down, at least 0.
   *
   * @default 200
   */
  readonly previewChars?: number | undefined
  /**
   * Only outputs of these tools are trimmed, by name or by `namespace.name`.
   *
   * @default all tools
   */
  readonly tools?: Iterable<string> | undefined
}

/**
 * Shortens the outputs of function tools in older turns: a long one becomes a text that says what it was, how long, and
 * how it began. Of an output made of parts the text stays as far as it is short enough, and all other parts are named
 * and dropped.
 *
 * **Details**
 *
 * Nothing is trimmed until there are more than `recentTurns` user messages, and no output for which the text would not
 * be shorter. Numbers out of range are taken as the nearest in range, `NaN` as the default. The result depends on
 * the items alone, so that a prompt cache stays good until the next user message. With nothing to trim it is the same
 * array.
 *
 * @category filters
 * @since 0.1.0
 */
export const trimToolOutputs = (options?: TrimToolOutputsOptions): InputFilter => {
  const recentTurns = clamp(options?.recentTurns, 1, 2)
  const maxOutputChars = clamp(options?.maxOutputChars, 1, 500)
  const previewChars = clamp(options?.previewChars, 0, 200)
  const tools = options?.tools === undefined ? undefined : new Set(options.tools)

  const shorten = (output: FunctionCallOutput["output"], name: string): string | undefined => {
    const size = typeof output === "string" ? output.length : sizeOfParts(output)
    if (size <= maxOutputChars) return undefined
    const texts = typeof output === "string" ? output : output.filter(isTextPart).map((part) => part.text).join("\n")
    const dropped = typeof output === "string" ? [] : output.filter((part) => !isTextPart(part)).map(nameOf)
    const kept = texts.length <= maxOutputChars ? texts : beginningOf(texts, previewChars)
    const facts = [`output of ${name}`, `${size} characters`]
    if (kept.length < texts.length) facts.push(`the first ${kept.length} of its text shown`)
    if (dropped.length > 0) facts.push(`without ${dropped.join(", ")}`)
    const text = `[Shortened: ${facts.join("; ")}]${kept === "" ? "" : `\n${kept}`}`
    return text.length < size ? text : undefined
  }

  return (items) => {
    const end = startOfTurns(items, recentTurns)
    const names = new Map<string, string>()
    let trimmed: Array<Item> | undefined
    for (let index = 0; index < end; index++) {
      const item = items[index]!
      if (isFunctionCall(item)) {
        const name = typeof item["namespace"] === "string" ? `${item["namespace"]}.${item.name}` : item.name
        if (tools === undefined || tools.has(item.name) || tools.has(name)) names.set(item.call_id, name)
      } else if (isFunctionCallOutput(item)) {
        const name = names.get(item.call_id)
        const output = name === undefined ? undefined : shorten(item.output, name)
        if (output === undefined) continue
        trimmed ??= [...items]
        trimmed[index] = { ...item, output }
      }
    }
    return trimmed ?? items
  }
}

const sizeOfParts = (parts: ReadonlyArray<ContentPart>): number =>
  parts.reduce((size, part) => size + (isTextPart(part) ? part.text.length : sizeOf(part)), 0)

/** Where the last `turns` user messages begin; 0 where there are not more. */
const startOfTurns = (items: ReadonlyArray<Item>, turns: number): number => {
  let seen = 0
  for (let index = items.length - 1; index >= 0; index--) {
    if (isUserMessage(items[index]!) && ++seen === turns) return index
  }
  return 0
}

/**
 * Leaves messages and what a provider compacted of them: no calls and outputs of any kind of tool, hosted ones, MCP and
 * approvals among them, no reasoning, and no item of a type that is not known.
 *
 * **Gotchas**
 *
 * A message that the model said after reasoning, in the same response, is given without its `id`: a provider that knows
 * the id would ask for the reasoning.
 *
 * @category filters
 * @since 0.1.0
 */
export const removeTools: InputFilter = (items) => {
  const kept = items.filter((item) => isMessage(item) || item.type === "compaction")
  return kept.length === items.length ? items : History.repair(kept, [], items)
}

/**
 * The longest end of at most `maxItems` items that begins with a message that is not the model's and parts no call from
 * its output. A history that is short enough is returned as it is, the same array.
 *
 * **Details**
 *
 * Where no such end fits, because the model has done more than that since, the result is the last message that is not
 * the model's, followed by the longest valid end that fits behind it: the model still knows what it was asked.
 * `maxItems` is rounded down; below 1, and for `NaN`, nothing is left.
 *
 * @category filters
 * @since 0.1.0
 */
export const keepLast = (maxItems: number): InputFilter => {
  const max = clamp(maxItems, 0, 0)
  return (items) => {
    if (items.length <= max) return items
    if (max === 0) return []
    const isStart = (item: Item | undefined) => item !== undefined && isMessage(item) && !isFromModel(item)
    const cuts = History.safeCuts(items)
    const start = cuts.find((cut) => items.length - cut <= max && isStart(items[cut]))
    if (start !== undefined) return items.slice(start)
    const asked = items.findLastIndex(isStart)
    if (asked === -1) return []
    const rest = cuts.find((cut) => cut > asked && items.length - cut < max) ?? items.length
    return [items[asked]!, ...items.slice(rest)]
  }
}

/**
 * @category options
 * @since 0.1.0
 */
export interface NestHistoryOptions {
  /**
   * The line before the transcript. A blank one counts as not given.
   *
   * @default "<CONVERSATION HISTORY>"
   */
  readonly startMarker?: string | undefined
  /**
   * The line after the transcript. A blank one counts as not given.
   *
   * @default "</CONVERSATION HISTORY>"
   */
  readonly endMarker?: string | undefined
  /**
   * Builds the items that the model sees instead. They are taken as they are, but for what would make the history
   * invalid (`History.repair`).
   */
  readonly map?: InputFilter | undefined
}

const introduction = "What was said and done before, oldest first:"

/** Stands where the latest user message was said. No entry looks like it, because each begins with who said it. */
const placeholder = "(here came the message that follows this history)"

const maxOtherChars = 500

/** Only the first line of an entry begins at the margin, so that nothing said can pass for an entry or a marker. */
const entry = (who: string, text: string): string => `${who}: ${text.replaceAll(/\r\n|[\n\r\u2028\u2029]/g, "\n  ")}`

const entryOf = (item: Item): string | undefined => {
  if (isMessage(item)) return entry(item.role, contentText(item.content))
  if (isFunctionCall(item)) return entry(`call ${item.call_id}`, `${item.name} ${item.arguments}`)
  if (isFunctionCallOutput(item)) return entry(`output ${item.call_id}`, contentText(item.output))
  if (isReasoning(item)) return undefined
  const { encrypted_content: _, id: __, type, ...fields } = item
  const text = JSON.stringify(fields)
  const shown = beginningOf(text, maxOtherChars)
  return entry(String(type), shown.length < text.length ? `${shown}...` : text)
}

const markerOr = (marker: string | undefined, fallback: string): string =>
  marker === undefined || marker.trim() === "" ? fallback : marker

/**
 * For handoffs: all that was said and done becomes one assistant message, a transcript between two markers, followed by
 * the latest user message, which stays as it is. The next agent then reads the work of the one before as a report, not
 * as its own.
 *
 * **Details**
 *
 * The transcript names who said what in order; text is whole, other parts of a message are only named, calls and
 * outputs stand as text, reasoning is left out, and of items of other types the first 500 characters stand. Where
 * something came after the latest user message, a line says where that stood. A transcript of an earlier handoff,
 * made with the same markers, is unfolded into the new one: over any number of handoffs each message comes once.
 * Nothing but the latest user message: the same items, no transcript.
 *
 * **Gotchas**
 *
 * Long outputs stand whole in the transcript: `flow(trimToolOutputs({ recentTurns: 1 }), nestHistory())` shortens those
 * of earlier turns.
 *
 * @category filters
 * @since 0.1.0
 */
export const nestHistory = (options?: NestHistoryOptions): InputFilter => {
  const map = options?.map
  if (map !== undefined) return (items) => History.repair(map(items), [], items)
  const before = `${introduction}\n${markerOr(options?.startMarker, "<CONVERSATION HISTORY>")}\n`
  const after = `\n${markerOr(options?.endMarker, "</CONVERSATION HISTORY>")}`

  const unfold = (item: Item): ReadonlyArray<string> | undefined => {
    if (!isMessage(item) || item.role !== "assistant") return undefined
    const text = contentText(item.content)
    return text.startsWith(before) && text.endsWith(after) && text.length >= before.length + after.length
      ? text.slice(before.length, -after.length).split(/\n(?! {2})/)
      : undefined
  }

  return (items) => {
    const latest = items.findLastIndex(isUserMessage)
    const placed = new Set<number>()
    const entries: Array<string> = []
    const place = (index: number) => {
      if (placed.has(index)) return
      placed.add(index)
      const text = index === latest ? placeholder : entryOf(items[index]!)
      if (text !== undefined) entries.push(text)
    }
    for (let index = 0; index < items.length; index++) {
      const earlier = unfold(items[index]!)
      if (earlier === undefined) {
        place(index)
        continue
      }
      for (const text of earlier) {
        if (text !== placeholder) {
          entries.push(text)
          continue
        }
        const meant = items.findIndex((item, other) => other > index && isUserMessage(item))
        if (meant !== -1) place(meant)
      }
    }
    if (entries.at(-1) === placeholder) entries.pop()
    const asked = latest === -1 ? [] : [items[latest]!]
    return entries.length === 0 ? asked : [assistant(`${before}${entries.join("\n")}${after}`), ...asked]
  }
}
