/**
 * What makes a list of items a history that a model provider accepts, stated once and purely: every tool call has
 * exactly one output after it and every output its call, reasoning stands before the item it belongs to, and no id
 * comes twice. The runner, compaction and trimming all ask this module; nothing here has an effect.
 *
 * @since 0.1.0
 */
import type { Item, Message } from "./Item.ts"
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

const withoutViolations = (history: ReadonlyArray<Item>, incoming: ReadonlyArray<Item>): ReadonlyArray<Item> => {
  let items = history
  while (true) {
    const violations = scan(items, incoming)
    if (violations.length === 0) return items
    const dropped = new Set(violations.map((violation) => violation.index))
    items = items.filter((_, index) => !dropped.has(index))
  }
}

/** Reasoning items in a row, by their ids, and the id of the item that follows them. */
interface Thought {
  readonly reasoning: ReadonlySet<string>
  readonly follower: string | undefined
  /** The index of the item that follows. */
  readonly end: number
}

const thoughtAt = (items: ReadonlyArray<Item>, start: number): Thought => {
  const reasoning = new Set<string>()
  let end = start
  for (; end < items.length && isReasoning(items[end]!); end++) {
    const id = idOf(items[end]!)
    if (id !== undefined) reasoning.add(id)
  }
  const follower = items[end]
  return { reasoning, follower: follower === undefined ? undefined : idOf(follower), end }
}

/** The thought of each reasoning item and of each item of its response, by id: a service asks for them by id. */
const thoughtsOf = (items: ReadonlyArray<Item>): ReadonlyMap<string, Thought> => {
  const thoughts = new Map<string, Thought>()
  const ids = new Set<string>()
  let thought: Thought | undefined
  for (let index = 0; index < items.length; index++) {
    const item = items[index]!
    if (!isFromModel(item)) thought = undefined
    else if (isReasoning(item) && (thought === undefined || index >= thought.end)) thought = thoughtAt(items, index)
    const id = idOf(item)
    // Of items with one id, only the first stays.
    if (id === undefined || ids.has(id)) continue
    ids.add(id)
    if (thought !== undefined && thought.reasoning.size > 0) thoughts.set(id, thought)
  }
  return thoughts
}

const isKept = (known: Thought | undefined, now: Thought): boolean =>
  known === undefined ||
  (Array.from(known.reasoning).every((id) => now.reasoning.has(id)) &&
    (known.follower === undefined || now.follower === undefined || now.follower === known.follower))

/** Types that mean the same without the id that the service gave them. */
const withOptionalId: ReadonlySet<unknown> = new Set([undefined, "message", "function_call", "custom_tool_call"])

/**
 * Leaves out reasoning that lost its item. Of items that lost their reasoning it leaves out the id, or the whole item
 * if its type needs an id. Returns the same array if nothing was lost.
 */
const withoutParted = (
  items: ReadonlyArray<Item>,
  thoughts: ReadonlyMap<string, Thought>
): ReadonlyArray<Item> => {
  const kept: Array<Item> = []
  let isSame = true
  let now: Thought | undefined
  let compared: { readonly known: Thought | undefined; readonly isKept: boolean } | undefined
  let present: Thought | undefined
  for (let index = 0; index < items.length; index++) {
    const item = items[index]!
    const id = idOf(item)
    const known = id === undefined ? undefined : thoughts.get(id)
    if (!isFromModel(item)) present = undefined
    if (isReasoning(item)) {
      if (now === undefined || index >= now.end) {
        now = thoughtAt(items, index)
        compared = undefined
      }
      // Once for items of one thought, of which there may be many.
      if (compared === undefined || compared.known !== known) compared = { known, isKept: isKept(known, now) }
      if (compared.isKept) {
        present = known ?? present
        kept.push(item)
      } else isSame = false
    } else if (known === undefined || known === present || !isFromModel(item)) kept.push(item)
    else {
      isSame = false
      if (withOptionalId.has(item.type)) {
        const { id: _, ...rest } = item as Message
        kept.push(rest as Message)
      }
    }
  }
  return isSame ? items : kept
}

/**
 * Makes a history valid by leaving out half pairs, repeated ids and reasoning whose item is gone. The other items keep
 * their order. Only `history` is touched: `incoming`, the caller's new input, may answer a call that the history leaves
 * open. A valid history is returned as it is, the same array.
 *
 * **Details**
 *
 * `from` is the history before a filter. It shows which items came with reasoning. OpenAI refuses such an item under its
 * own id without that reasoning. So messages and calls that lost their reasoning lose their `id` too; items of other
 * types need their id, and are left out.
 *
 * @category combinators
 * @since 0.1.0
 */
export const repair = (
  history: ReadonlyArray<Item>,
  incoming: ReadonlyArray<Item> = [],
  from: ReadonlyArray<Item> = history
): ReadonlyArray<Item> => {
  let items = withoutViolations(history, incoming)
  if (items === from) return items
  const thoughts = thoughtsOf(from)
  if (thoughts.size === 0) return items
  while (true) {
    const whole = withoutParted(items, thoughts)
    if (whole === items) return items
    items = withoutViolations(whole, incoming)
  }
}

/**
 * Whether a history can be cut before `index` so that both sides stay valid: no call on the left is answered on the
 * right, and no reasoning is parted from what it led to.
 *
 * @category cutting
 * @since 0.1.0
 */
export const isSafeCut = (items: ReadonlyArray<Item>, index: number): boolean => safeCuts(items).includes(index)

/** The calls of the last response, which the next input may still answer. */
const startOfOpenCalls = (items: ReadonlyArray<Item>): number => {
  let index = items.length
  while (index > 0 && !isFromModel(items[index - 1]!) && !isMessage(items[index - 1]!)) index--
  while (index > 0 && isFromModel(items[index - 1]!)) index--
  return index
}

/**
 * Every index before which a history can be cut, ascending, both ends included. Linear in the number of items.
 *
 * **Details**
 *
 * Both sides of a valid history stay valid. In any other history, items that `repair` leaves out do not count. Calls of the
 * last response without an output stay with their response: an output may still come.
 *
 * @category cutting
 * @since 0.1.0
 */
export const safeCuts = (items: ReadonlyArray<Item>): ReadonlyArray<number> => {
  const cuts: Array<number> = [0]
  const open = new Set<string>()
  const openCalls = startOfOpenCalls(items)
  const broken = new Set(
    check(items).flatMap(({ index, kind }) => kind === "CallWithoutOutput" && index >= openCalls ? [] : [index])
  )
  // Providers want reasoning back with every item of its response, not just with the next one.
  let isReasoned = false
  for (let index = 0; index < items.length; index++) {
    const item = items[index]!
    const pair = broken.has(index) ? undefined : pairing(item)
    if (pair?.isCall === true) open.add(pair.key)
    else if (pair !== undefined) open.delete(pair.key)
    isReasoned = (isReasoning(item) && !broken.has(index)) || (isReasoned && isFromModel(item))
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
