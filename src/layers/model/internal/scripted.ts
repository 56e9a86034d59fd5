import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as History from "../../../services/History.ts"
import type { Item } from "../../../services/Item.ts"
import * as Items from "../../../services/Item.ts"
import type { ModelErrorReason } from "../../../services/ModelError.ts"
import * as ModelError from "../../../services/ModelError.ts"
import type { Model, ModelEvent, ModelRequest, ModelResponse } from "../../../services/ModelProvider.ts"
import * as Usage from "../../../services/Usage.ts"
import type { Answer, Content, During, Options, Part, Script, ScriptedRequest, Step } from "./scriptedStep.ts"

/** A step with its functions called and its delays added up. */
interface Resolved {
  readonly delay: number
  readonly step: Exclude<Step, Function | { readonly _tag: "Delayed" }>
}

interface Queue {
  readonly name: string | undefined
  readonly steps: Array<Step>
  readonly every: ((request: ModelRequest, n: number) => Step) | undefined
  next: number
  calls: number
}

const makeQueue = (name: string | undefined, script: Script): Queue => ({
  name,
  steps: typeof script === "function" ? [] : [...script],
  every: typeof script === "function" ? script : undefined,
  next: 0,
  calls: 0
})

const isScript = (script: Script | Readonly<Record<string, Script>>): script is Script =>
  typeof script === "function" || Array.isArray(script)

const provider = "scripted"

const fail = (model: string, reason: ModelErrorReason) => new ModelError.ModelError({ provider, model, reason })

// ---- what a step says

const shorten = (text: string): string => text.length <= 60 ? text : `${text.slice(0, 57)}...`

const plain = (content: Content): string => typeof content === "string" ? content : content.flat().join("")

const describePart = (part: Part): string => {
  switch (part._tag) {
    case "Text":
      return `text "${shorten(plain(part.content))}"`
    case "Reasoning":
      return `reasoning "${shorten(plain(part.content))}"`
    case "Refusal":
      return `refusal "${shorten(plain(part.content))}"`
    case "Call":
      return `call ${part.name}(${shorten(part.arguments)})`
    case "Item":
      return `item ${part.item.type ?? "message"}`
  }
}

const describeDuring = (during: During | undefined): string =>
  during === undefined ? "" : ` after ${during.after} events of ${describe(during.of)}`

const describe = (step: Step): string => {
  if (typeof step === "function") return step.name === "" ? "a function" : `function ${step.name}`
  switch (step._tag) {
    case "Answer": {
      const parts = step.parts.map(describePart).join(", ")
      return `${parts === "" ? "no item" : parts}${
        step.incomplete === undefined ? "" : ` (incomplete: ${step.incomplete})`
      }`
    }
    case "Failure":
      return `fail ${ModelError.isModelError(step.error) ? step.error.reason._tag : step.error._tag}` +
        describeDuring(step.during)
    case "Hang":
      return `hang${describeDuring(step.during)}`
    case "Delayed":
      return `after ${Duration.format(Duration.fromInputUnsafe(step.duration))}: ${describe(step.step)}`
  }
}

// ---- from a step to items and events

/** Ids count up within a script. A conversation may hold those of an earlier script, so these are passed over. */
class Ids {
  readonly taken = new Set<unknown>()
  readonly seen = new WeakSet<object>()
  readonly counts: Record<string, number> = { msg: 0, rs: 0, fc: 0, call: 0, resp: 0 }

  next(prefix: string): string {
    while (true) {
      const id = `${prefix}_${this.counts[prefix] = (this.counts[prefix] ?? 0) + 1}`
      if (!this.taken.has(id)) return id
    }
  }

  /** Ids that a script gives itself are not given a second time, whichever comes first. */
  reserve(step: Step): void {
    if (typeof step === "function") return
    switch (step._tag) {
      case "Answer":
        for (const part of step.parts) {
          if (part._tag === "Item") this.add(part.item)
          else if (part._tag === "Call" && part.callId !== undefined) this.taken.add(part.callId)
        }
        return
      case "Delayed":
        return this.reserve(step.step)
      default:
        if (step.during !== undefined) this.reserve(step.during.of)
    }
  }

  add(item: Item): void {
    if (item["id"] !== undefined) this.taken.add(item["id"])
    if (item["call_id"] !== undefined) this.taken.add(item["call_id"])
  }

  /** A conversation's first item tells whether it has been looked at: what comes later was made here, or by the caller. */
  look(input: string | ReadonlyArray<Item>): void {
    if (typeof input === "string" || input.length === 0 || this.seen.has(input[0]!)) return
    this.seen.add(input[0]!)
    for (const item of input) this.add(item)
  }
}

const toItem = (part: Part, ids: Ids): Item => {
  switch (part._tag) {
    case "Text":
      return Items.assistant(plain(part.content), { id: ids.next("msg") })
    case "Reasoning":
      return {
        type: "reasoning",
        id: ids.next("rs"),
        summary: [{ type: "summary_text", text: plain(part.content) }],
        ...(part.encrypted === undefined ? undefined : { encrypted_content: part.encrypted })
      }
    case "Refusal":
      return {
        type: "message",
        role: "assistant",
        status: "completed",
        id: ids.next("msg"),
        content: [{ type: "refusal", refusal: plain(part.content) }]
      }
    case "Call":
      return {
        type: "function_call",
        id: ids.next("fc"),
        call_id: part.callId ?? ids.next("call"),
        name: part.name,
        arguments: part.arguments,
        status: "completed"
      }
    case "Item":
      return part.item
  }
}

const defaultUsage = Usage.make({ inputTokens: 10, outputTokens: 5 })

const usageOf = (usage: Partial<Usage.Usage> | undefined): Usage.Usage =>
  usage === undefined ? defaultUsage : Usage.make({ inputTokens: 10, outputTokens: 5, ...usage })

const toResponse = (answer: Answer, model: string, ids: Ids): ModelResponse => {
  const output: Array<Item> = []
  for (const part of answer.parts) output.push(toItem(part, ids))
  const usage = usageOf(answer.usage)
  const id = ids.next("resp")
  return answer.incomplete === undefined
    ? { id, model, output, usage, status: "completed" }
    : { id, model, output, usage, status: "incomplete", incompleteReason: answer.incomplete }
}

type Events = NonEmptyReadonlyArray<ModelEvent>

const words = (text: string): ReadonlyArray<string> => text.match(/\S+\s*|\s+/g) ?? []

/** The pieces of a stream: what is in one piece arrives together, what is in `last` goes with the next item. */
class Pieces {
  readonly pieces: Array<ReadonlyArray<ModelEvent>> = []
  open: Array<ModelEvent> = []

  close(): void {
    if (this.open.length === 0) return
    this.pieces.push(this.open)
    this.open = []
  }

  deltas(content: Content, delta: (text: string) => ModelEvent): void {
    if (typeof content === "string") {
      for (const word of words(content)) this.open.push(delta(word))
      return
    }
    for (const piece of content) {
      this.close()
      if (typeof piece === "string") this.open.push(delta(piece))
      else for (const text of piece) this.open.push(delta(text))
    }
  }
}

const textDelta = (itemId: string) => (delta: string): ModelEvent => ({ _tag: "TextDelta", itemId, delta })
const reasoningDelta = (itemId: string) => (delta: string): ModelEvent => ({ _tag: "ReasoningDelta", itemId, delta })
const refusalDelta = (itemId: string) => (delta: string): ModelEvent => ({ _tag: "RefusalDelta", itemId, delta })
const callDelta = (itemId: string, callId: string, name: string) => (delta: string): ModelEvent => ({
  _tag: "ToolCallDelta",
  itemId,
  callId,
  name,
  delta
})

const rawDeltas = (pieces: Pieces, item: Item, itemId: string): void => {
  if (Items.isFunctionCall(item)) {
    pieces.deltas(item.arguments, callDelta(itemId, item.call_id, item.name))
  } else if (Items.isReasoning(item)) {
    for (const part of item.summary) pieces.deltas(part.text ?? "", reasoningDelta(itemId))
  } else if (Items.isMessage(item) && item.role === "assistant") {
    pieces.deltas(Items.text(item), textDelta(itemId))
    pieces.deltas(Items.refusal(item) ?? "", refusalDelta(itemId))
  }
}

const toPieces = (answer: Answer, response: ModelResponse): ReadonlyArray<ReadonlyArray<ModelEvent>> => {
  const pieces = new Pieces()
  for (let index = 0; index < answer.parts.length; index++) {
    const part = answer.parts[index]!
    const item = response.output[index]!
    const itemId = typeof item["id"] === "string" ? item["id"] : `item_${index}`
    switch (part._tag) {
      case "Text":
        pieces.deltas(part.content, textDelta(itemId))
        break
      case "Reasoning":
        pieces.deltas(part.content, reasoningDelta(itemId))
        break
      case "Refusal":
        pieces.deltas(part.content, refusalDelta(itemId))
        break
      case "Call":
        pieces.deltas(part.arguments, callDelta(itemId, item["call_id"] as string, part.name))
        break
      case "Item":
        rawDeltas(pieces, part.item, itemId)
        break
    }
    pieces.open.push({ _tag: "ItemDone", item })
  }
  pieces.open.push({ _tag: "Completed", response })
  pieces.close()
  return pieces.pieces
}

/** As many events as asked for, and never the last one, in the pieces in which they would have come. */
const cut = (pieces: ReadonlyArray<ReadonlyArray<ModelEvent>>, after: number) => {
  const shown: Array<ReadonlyArray<ModelEvent>> = []
  let left = after
  for (const [index, piece] of pieces.entries()) {
    const whole = index === pieces.length - 1 ? piece.length - 1 : piece.length
    const size = Math.min(left, whole)
    if (size > 0) shown.push(piece.slice(0, size))
    left -= size
  }
  return shown
}

/** What a caller had seen before the failure is the script's business, not of the error that it was given. */
const partial = (error: ModelError.ModelError, isPartial: boolean): ModelError.ModelError => {
  if (error.reason.isPartial === isPartial) return error
  const { cause, description, requestId, status, ...rest } = error.reason as ModelErrorReason & Record<string, unknown>
  const Reason = error.reason.constructor as new(fields: unknown) => ModelErrorReason
  return new ModelError.ModelError({
    provider: error.provider,
    model: error.model,
    reason: new Reason({ ...rest, cause, description, requestId, status, isPartial })
  })
}

// ---- the script in progress

interface Plan {
  readonly delay: number
  readonly pause: number
  readonly pieces: ReadonlyArray<ReadonlyArray<ModelEvent>>
  readonly end: "done" | "hang" | ModelError.ModelError
}

const millis = (duration: Duration.Input | undefined): number =>
  duration === undefined ? 0 : Duration.toMillis(Duration.fromInputUnsafe(duration))

export const makeUnsafe = (script: Script | Readonly<Record<string, Script>>, options: Options) => {
  const isStrict = options.strict ?? true
  const isRecording = options.record ?? true
  const ids = new Ids()
  const requests: Array<ScriptedRequest> = []
  let aborted = 0
  const queues = new Map<string, Queue>()
  const anyName = isScript(script) ? makeQueue(undefined, script) : undefined
  if (!isScript(script)) { for (const name of Object.keys(script)) queues.set(name, makeQueue(name, script[name]!)) }
  for (const queue of [...queues.values(), ...(anyName === undefined ? [] : [anyName])]) {
    for (const step of queue.steps) ids.reserve(step)
  }
  const defaultModel = options.defaultModel ?? queues.keys().next().value ?? "scripted"

  const countAbort = Effect.sync(() => {
    aborted++
  })

  const take = (
    queue: Queue,
    model: string,
    mode: "respond" | "stream",
    request: ModelRequest
  ): Resolved | ModelError.ModelError => {
    const n = ++queue.calls
    const input = typeof request.input === "string" ? request.input : request.input.slice()
    if (isRecording) {
      requests.push({ ...request, input, items: typeof input === "string" ? [Items.user(input)] : input, model, mode })
    }
    if (isStrict && typeof input !== "string") {
      const refused = judge(request, input)
      if (refused !== undefined) {
        return fail(model, new ModelError.InvalidRequest({ description: refused, status: 400, param: "input" }))
      }
    }
    let step = queue.every
    if (step === undefined) {
      if (queue.next >= queue.steps.length) {
        return fail(
          model,
          new ModelError.InvalidRequest({
            description:
              `request ${n} is one too many: the script${
                queue.name === undefined ? "" : ` of ${queue.name}`
              } has ${queue.steps.length} ${queue.steps.length === 1 ? "step" : "steps"}. ` +
              "Add a step, or find out why the program asks again."
          })
        )
      }
      step = queue.steps[queue.next++] as typeof queue.every
    }
    ids.look(input)
    const resolved = resolve(step!, request, n)
    if (typeof step === "function") ids.reserve(resolved.step)
    return resolved
  }

  const plan = (resolved: Resolved, model: string): Plan => {
    const { delay, step } = resolved
    if (step._tag === "Answer") {
      return { delay, pause: millis(step.pause), pieces: toPieces(step, toResponse(step, model, ids)), end: "done" }
    }
    const pieces = step.during === undefined
      ? []
      : cut(toPieces(step.during.of, toResponse(step.during.of, model, ids)), step.during.after)
    return {
      delay,
      pause: millis(step.during?.of.pause),
      pieces,
      end: step._tag === "Hang" ? "hang" : partial(toError(step.error, model), pieces.length > 0)
    }
  }

  const makeModel = (name: string, queue: Queue): Model => ({
    name,
    provider,
    respond: (request) =>
      Effect.suspend(() => {
        const taken = take(queue, name, "respond", request)
        if (ModelError.isModelError(taken)) return Effect.fail(taken)
        const { delay, step } = taken
        if (step._tag === "Answer") {
          const response = toResponse(step, name, ids)
          const wait = delay +
            (step.pause === undefined ? 0 : millis(step.pause) * (toPieces(step, response).length - 1))
          return wait === 0
            ? Effect.succeed(response)
            : Effect.as(Effect.onInterrupt(Effect.sleep(wait), () => countAbort), response)
        }
        const end = step._tag === "Hang" ? Effect.never : Effect.fail(partial(toError(step.error, name), false))
        return Effect.onInterrupt(
          delay === 0 ? end : Effect.andThen(Effect.sleep(delay), end),
          () => countAbort
        )
      }),
    stream: (request) =>
      Stream.fromChannel(Channel.fromTransform((_upstream, scope) =>
        Effect.suspend(() => {
          const taken = take(queue, name, "stream", request)
          if (ModelError.isModelError(taken)) return Effect.fail(taken)
          const { delay, end, pause, pieces } = plan(taken, name)
          let isOver = false
          const over = Effect.suspend((): Pull.Pull<never, ModelError.ModelError> => {
            if (end === "hang") return Effect.never
            isOver = true
            return end === "done" ? Cause.done() : Effect.fail(end)
          })
          let index = 0
          const next = Effect.suspend((): Pull.Pull<Events, ModelError.ModelError> => {
            const piece = pieces[index]
            if (piece === undefined) return over
            index++
            if (end === "done" && index === pieces.length) isOver = true
            return Effect.succeed(piece as Events)
          })
          const pull = delay === 0 && pause === 0 ? next : Effect.suspend(() => {
            const wait = index === 0 ? delay : index < pieces.length ? pause : 0
            return wait === 0 ? next : Effect.andThen(Effect.sleep(wait), next)
          })
          return Effect.as(
            Scope.addFinalizer(scope, Effect.suspend(() => isOver ? Effect.void : countAbort)),
            pull
          )
        })
      ))
  })

  const models = new Map<string, Effect.Effect<Model>>()
  const unknown = (name: string) =>
    Effect.fail(
      fail(
        name,
        new ModelError.UnknownModel({
          description: `the script has no model ${name}, only ${Array.from(queues.keys()).join(", ")}`,
          status: 404
        })
      )
    )

  const getModel = (asked?: string): Effect.Effect<Model, ModelError.ModelError> => {
    const name = asked ?? defaultModel
    const known = models.get(name)
    if (known !== undefined) return known
    const queue = anyName ?? queues.get(name)
    if (queue === undefined) return unknown(name)
    const model = Effect.succeed(makeModel(name, queue))
    models.set(name, model)
    return model
  }

  const open = () => [...queues.values(), ...(anyName === undefined ? [] : [anyName])]

  return {
    provider: { getModel },
    requests: Effect.sync((): ReadonlyArray<ScriptedRequest> => requests.slice()),
    remaining: Effect.sync(() => open().reduce((sum, queue) => sum + queue.steps.length - queue.next, 0)),
    aborted: Effect.sync(() => aborted),
    add: (...steps: ReadonlyArray<Step>): Effect.Effect<void> =>
      Effect.suspend(() => {
        const queue = anyName ?? queues.get(defaultModel)
        if (queue === undefined) return Effect.die(new Error(`ModelScripted: no script of ${defaultModel} to add to`))
        if (queue.every !== undefined) {
          return Effect.die(
            new Error("ModelScripted: a function answers every request, so that added steps would never be taken")
          )
        }
        for (const step of steps) ids.reserve(step)
        queue.steps.push(...steps)
        return Effect.void
      }),
    assertDone: Effect.suspend(() => {
      const left = open().flatMap((queue) =>
        queue.steps.slice(queue.next).map((step, index) =>
          `  ${queue.name === undefined ? "" : `${queue.name} `}${queue.next + index + 1}. ${describe(step)}`
        )
      )
      return left.length === 0 ? Effect.void : Effect.die(
        new Error(
          `ModelScripted: ${left.length} ${left.length === 1 ? "step was" : "steps were"} not asked for:\n${
            left.join("\n")
          }`
        )
      )
    })
  }
}

const toError = (error: ModelErrorReason | ModelError.ModelError, model: string): ModelError.ModelError =>
  ModelError.isModelError(error) ? error : fail(model, error)

const resolve = (step: Step, request: ModelRequest, n: number): Resolved => {
  let delay = 0
  let current = step
  while (true) {
    if (typeof current === "function") {
      current = current(request, n)
    } else if (current._tag === "Delayed") {
      delay += millis(current.duration)
      current = current.step
    } else {
      return { delay, step: current }
    }
  }
}

/** Where the provider keeps what came before, an output may answer a call that is kept there. */
const judge = (request: ModelRequest, input: ReadonlyArray<Item>): string | undefined => {
  const isContinued = request.previousResponseId !== undefined || request.conversationId !== undefined
  for (const { index, kind } of History.check(input)) {
    if (isContinued && kind === "OutputWithoutCall") continue
    const item = input[index]!
    const what = item["call_id"] ?? item["id"]
    return `input[${index}] (${item.type ?? "message"}${
      what === undefined ? "" : ` ${String(what)}`
    }) breaks the rules ` +
      `of a history: ${kind}. A real provider refuses it; strict: false lets it pass.`
  }
  return undefined
}
