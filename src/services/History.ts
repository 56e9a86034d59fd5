/**
 * What makes a list of items a history that a model provider accepts, stated once and purely: every tool call has
 * exactly one output after it and every output its call, reasoning stands before the item it belongs to, and no id
 * comes twice. The runner, compaction and trimming all ask this module; nothing here has an effect.
 *
 * @since 0.1.0
 */
import type { Item } from "./Item.ts"
import { isFromModel, isMessage, isReasoning } from "./Item.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Violation {
  /** The item that should not stand where it stands. */
  readonly index: number
  readonly kind:
    | "CallWithoutOutput"
    | "OutputWithoutCall"
    | "DuplicateCall"
    | "DuplicateId"
    | "ReasoningWithoutFollower"
}

const outputOf: ReadonlyMap<string, string> = new Map([
  ["function_call", "function_call_output"],
  ["custom_tool_call", "custom_tool_call_output"],
  ["computer_call", "computer_call_output"],
  ["local_shell_call", "local_shell_call_output"],
  ["shell_call", "shell_call_output"],
  ["apply_patch_call", "apply_patch_call_output"],
  ["tool_search_call", "tool_search_output"]
])

const outputs = new Set(outputOf.values())

/** The output of a local shell call names the call in its `id`, all others in `call_id`. */
const isNamedById = (item: Item): boolean => item.type === "local_shell_call_output"

const idOf = (item: Item): string | undefined => {
  const { id } = item as { readonly id?: unknown }
  return typeof id === "string" && id !== "" && !isNamedById(item) ? id : undefined
}

const callKey = (item: Item): string | undefined => {
  const { call_id: callId, id } = item as { readonly call_id?: unknown; readonly id?: unknown }
  const key = callId ?? (isNamedById(item) ? id : undefined)
  return typeof key === "string" ? key : undefined
}

/** Calls that the provider runs itself carry no `call_id`, and nobody has to answer them. */
const pairing = (item: Item): { readonly key: string; readonly isCall: boolean } | undefined => {
  const type = item.type
  if (type === undefined) return undefined
  const isCall = outputOf.has(type)
  if (!isCall && !outputs.has(type)) return undefined
  const callId = callKey(item)
  if (callId === undefined) return undefined
  return { key: `${isCall ? outputOf.get(type) : type}/${callId}`, isCall }
}

const nothing: ReadonlyArray<Violation> = []

const scan = (
  items: ReadonlyArray<Item>,
  incoming: ReadonlyArray<Item>
): ReadonlyArray<Violation> => {
  let found: Map<number, Violation["kind"]> | undefined
  const report = (index: number, kind: Violation["kind"]) => {
    found ??= new Map()
    if (!found.has(index)) found.set(index, kind)
  }
  const ids = new Set<string>()
  const open = new Map<string, number>()
  const answered = new Set<string>()
  for (let index = 0; index < items.length; index++) {
    const item = items[index]!
    const id = idOf(item)
    if (id !== undefined && ids.has(id)) {
      report(index, "DuplicateId")
      continue
    }
    const pair = pairing(item)
    if (pair?.isCall === true) {
      if (open.has(pair.key) || answered.has(pair.key)) {
        report(index, "DuplicateCall")
        continue
      }
      open.set(pair.key, index)
    } else if (pair !== undefined) {
      if (!open.delete(pair.key)) {
        report(index, "OutputWithoutCall")
        continue
      }
      answered.add(pair.key)
    }
    // Only what stays has its id for itself.
    if (id !== undefined) ids.add(id)
  }
  if (open.size > 0) {
    for (const item of incoming) {
      const pair = pairing(item)
      if (pair !== undefined && !pair.isCall) open.delete(pair.key)
    }
    for (const index of open.values()) report(index, "CallWithoutOutput")
  }
  let follower = incoming.length > 0 && !isReasoning(incoming[0]!) && isFromModel(incoming[0]!)
  for (let index = items.length - 1; index >= 0; index--) {
    const item = items[index]!
    if (!isReasoning(item)) follower = isFromModel(item) && !found?.has(index)
    else if (!follower) report(index, "ReasoningWithoutFollower")
  }
  if (found === undefined) return nothing
  return Array.from(found, ([index, kind]) => ({ index, kind })).sort((a, b) => a.index - b.index)
}

/**
 * Every place where a history breaks the laws, in order of position; empty for a valid history. Linear in the number
 * of items.
 *
 * @category validation
 * @since 0.1.0
 */
export const check = (items: ReadonlyArray<Item>): ReadonlyArray<Violation> => scan(items, [])

/**
 * @category validation
 * @since 0.1.0
 */
export const isValid = (items: ReadonlyArray<Item>): boolean => check(items).length === 0

/**
 * Makes a stored history valid by leaving out half pairs, repeated ids and reasoning whose item is gone; what is kept
 * keeps its order. Only `history` is touched: `incoming`, the caller's new input, may answer a call that the history
 * leaves open. A valid history is returned as it is, the same array.
 *
 * @category combinators
 * @since 0.1.0
 */
export const repair = (
  history: ReadonlyArray<Item>,
  incoming: ReadonlyArray<Item> = []
): ReadonlyArray<Item> => {
  let items = history
  while (true) {
    const violations = scan(items, incoming)
    if (violations.length === 0) return items
    const dropped = new Set(violations.map((violation) => violation.index))
    items = items.filter((_, index) => !dropped.has(index))
  }
}

/**
 * Whether a valid history can be cut before `index` so that both sides stay valid: no call on the left is answered on
 * the right, and no reasoning is parted from what it led to.
 *
 * @category cutting
 * @since 0.1.0
 */
export const isSafeCut = (items: ReadonlyArray<Item>, index: number): boolean => safeCuts(items).includes(index)

/**
 * Every index before which a valid history can be cut, ascending, both ends included. Linear in the number of items.
 *
 * @category cutting
 * @since 0.1.0
 */
export const safeCuts = (items: ReadonlyArray<Item>): ReadonlyArray<number> => {
  const cuts: Array<number> = [0]
  const open = new Set<string>()
  // Providers want reasoning back with every item of its response, not just with the next one.
  let isReasoned = false
  for (let index = 0; index < items.length; index++) {
    const item = items[index]!
    const pair = pairing(item)
    if (pair?.isCall === true) open.add(pair.key)
    else if (pair !== undefined) open.delete(pair.key)
    isReasoned = isReasoning(item) || (isReasoned && isFromModel(item))
    const next = items[index + 1]
    if (open.size === 0 && !(isReasoned && next !== undefined && isFromModel(next))) cuts.push(index + 1)
  }
  return cuts
}

/**
 * The longest valid end of a valid history that has at most `maxItems` items.
 *
 * @category cutting
 * @since 0.1.0
 */
export const latest = (items: ReadonlyArray<Item>, maxItems: number): ReadonlyArray<Item> => {
  if (items.length <= maxItems) return items
  const start = safeCuts(items).find((cut) => items.length - cut <= maxItems)
  return items.slice(start ?? items.length)
}

/**
 * What is left of a history whose beginning was cut off at any place: it starts with the first message that is not the
 * model's. What the model said before that may have lost the reasoning that a provider wants with it.
 *
 * @category cutting
 * @since 0.1.0
 */
export const afterCut = (items: ReadonlyArray<Item>): ReadonlyArray<Item> => {
  const start = items.findIndex((item) => isMessage(item) && !isFromModel(item))
  return start === -1 ? [] : items.slice(start)
}
