/**
 * A scenario is a value: who is asked what, what the model says to it, what people decide, and what must come of it.
 * It is played eight ways, which must not differ in anything but what the way itself is.
 */
import { assert } from "@effect/vitest"
import type { Agent, RunConfig, RunEvent, RunResult } from "agent-layers"
import {
  Approval,
  History,
  Ids,
  Item,
  ModelProvider,
  ModelScripted,
  RunError,
  Runner,
  RunState,
  Session,
  SessionMemory,
  TracerMemory,
  Usage
} from "agent-layers"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import type { Duration } from "effect"
import { Cause, Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { validateBody, validateHistory } from "../../support/openai/validate.ts"
import { Ran } from "../support.ts"
import { toolHandlers } from "./tools.ts"

export interface Way {
  readonly how: "run" | "stream"
  readonly store: "memory" | "sqlite"
  readonly isTraced: boolean
}

export const eightWays: ReadonlyArray<Way> = [false, true].flatMap((isTraced) =>
  (["memory", "sqlite"] as const).flatMap((store) =>
    (["run", "stream"] as const).map((how) => ({ how, store, isTraced }))
  )
)

type Options = RunConfig.RunOptions<any, any>

export type Step =
  | { readonly _tag: "Say"; readonly input: RunConfig.RunInput; readonly options: Options }
  | {
    readonly _tag: "Resume"
    readonly decide: (approvals: ReadonlyArray<Approval.Approval>) => ReadonlyArray<Approval.Decision>
    readonly options: RunConfig.ResumeOptions<any, any>
    /** Of which step's state; by default the latest that left one. */
    readonly from?: number | undefined
    readonly alter?: ((text: string) => string) | undefined
    readonly agent?: Agent.Any | undefined
  }
  /** A run that is interrupted once so many requests were made and handlers did what is named. */
  | { readonly _tag: "Cut"; readonly input: RunConfig.RunInput; readonly requests: number; readonly ran: string }
  /** Nobody listens: a stream is left at once, and told to finish. */
  | { readonly _tag: "Leave"; readonly input: RunConfig.RunInput }

export const say = (input: RunConfig.RunInput, options: Options = {}): Step => ({ _tag: "Say", input, options })

export const resume = (
  decide: (approvals: ReadonlyArray<Approval.Approval>) => ReadonlyArray<Approval.Decision>,
  more: Omit<Extract<Step, { _tag: "Resume" }>, "_tag" | "decide" | "options"> & {
    readonly options?: RunConfig.ResumeOptions<any, any>
  } = {}
): Step => ({ _tag: "Resume", decide, options: {}, ...more })

const these = (
  decide: (approval: Approval.Approval) => Approval.Decision,
  ids: ReadonlyArray<string>
) =>
(approvals: ReadonlyArray<Approval.Approval>) =>
  ids.map((id) => {
    const found = approvals.find((approval) => approval.id === id)
    assert.isDefined(found, `${id} waits for a decision: ${approvals.map(({ id }) => id).join(", ")}`)
    return decide(found!)
  })

/** Approves by the address of the call. */
export const approve = (...ids: ReadonlyArray<string>): Step => resume(these((one) => Approval.approve(one), ids))

export const approveAlways = (...ids: ReadonlyArray<string>): Step =>
  resume(these((one) => Approval.approve(one, { always: true }), ids))

export const reject = (id: string, reason?: string): Step =>
  resume(these((one) => Approval.reject(one, { reason }), [id]))

export const goOn = (options: RunConfig.ResumeOptions<any, any> = {}): Step => resume(() => [], { options })

export const cut = (input: RunConfig.RunInput, until: { readonly requests?: number; readonly ran?: string }): Step => ({
  _tag: "Cut",
  input,
  requests: until.requests ?? 0,
  ran: until.ran ?? ""
})

export const leave = (input: RunConfig.RunInput): Step => ({ _tag: "Leave", input })

export type Outcome =
  | {
    readonly answer: unknown
    readonly by?: string
    readonly turns?: number
    readonly cutOff?: string
    readonly version?: number
  }
  | {
    readonly error: string
    readonly reason?: string
    readonly message?: string | RegExp
    readonly waiting?: ReadonlyArray<string>
    /** The items of the state. */
    readonly state?: ReadonlyArray<string>
  }
  | { readonly interrupted: true }

export const answers = (
  answer: unknown,
  more: Omit<Extract<Outcome, { answer: unknown }>, "answer"> = {}
): Outcome => ({
  answer,
  ...more
})

export const stops = (
  reason: RunError.RunErrorReason["_tag"],
  message?: string | RegExp,
  more: { readonly state?: ReadonlyArray<string> } = {}
): Outcome => ({ error: "RunError", reason, ...(message === undefined ? {} : { message }), ...more })

export const waits = (...waiting: ReadonlyArray<string>): Outcome => ({
  error: "RunError",
  reason: "ApprovalRequired",
  waiting
})

export const modelFails = (reason: string, message?: string | RegExp): Outcome => ({
  error: "ModelError",
  reason,
  ...(message === undefined ? {} : { message })
})

export interface Asked {
  readonly instructions: string | undefined
  readonly tools: ReadonlyArray<string>
  readonly handoffs: ReadonlyArray<string>
  readonly handoffsSay: ReadonlyArray<string | undefined>
  readonly toolChoice: unknown
  readonly model: string
  readonly settings: ModelProvider.ModelSettings | undefined
  readonly prompt: unknown
  readonly previousResponseId: string | undefined
  readonly providerConversationId: string | undefined
}

export interface Expect {
  /** Of the step, or of each of them. */
  readonly outcome: Outcome | ReadonlyArray<Outcome>
  /** What is stored, commit by commit. */
  readonly history?: ReadonlyArray<ReadonlyArray<string>>
  /** What the model was sent, request by request, or how many items. */
  readonly seen: ReadonlyArray<number | ReadonlyArray<string>>
  /** More about each request. */
  readonly asked?: ReadonlyArray<Partial<Asked>>
  /**
   * What the last run spent: so many requests of 10 and 5 tokens, or this; `null` leaves it open. By default one for each
   * request seen.
   */
  readonly usage?: number | Partial<Usage.Usage> | null
  /** The requests that each agent was counted for in the last run. */
  readonly spent?: Readonly<Record<string, number>>
  /** What handlers, hooks and guardrails did, in order. */
  readonly ran?: ReadonlyArray<string>
  readonly guardrails?: ReadonlyArray<string>
  /** What the last stream told; runs of equal events are one. */
  readonly events?: ReadonlyArray<string>
  /** Requests that were interrupted. */
  readonly aborted?: number
  /** Conversations in the store besides the one played. */
  readonly others?: ReadonlyArray<string>
}

export interface Row {
  readonly name: string
  /** A function makes the agent anew for each step, as another process would. */
  readonly agent: Agent.Any | (() => Agent.Any)
  readonly script: ModelScripted.Script | Readonly<Record<string, ModelScripted.Script>>
  /** By default "go". */
  readonly input?: RunConfig.RunInput
  /** Of every step. The conversation is "c" unless said otherwise. */
  readonly options?: Options & { readonly bufferSize?: number }
  readonly steps?: ReadonlyArray<Step>
  /** What the conversation holds before. */
  readonly stored?: ReadonlyArray<Item.Item>
  /** The store was left with half a pair, which stays in it. */
  readonly isStoredBroken?: true
  readonly handlers?: Layer.Layer<any, any, any>
  readonly session?: (inner: Session.Session["Service"]) => Session.Session["Service"]
  /** How far the clock moves on at a time while a step is under way; otherwise it stands still. */
  readonly clock?: Duration.Input
  readonly expect: Expect
}

const show = (item: Item.Item): string => {
  if (Item.isMessage(item)) return `${item.role}: ${Item.refusal(item) ?? Item.text(item)}`
  if (Item.isFunctionCall(item)) return `${item.call_id}: ${item.name}${item.arguments}`
  if (Item.isFunctionCallOutput(item)) {
    const { output } = item
    return `${item.call_id} = ${
      typeof output === "string" ? output : output.map((part) => part.text ?? `[${part.type}]`).join(" ")
    }`
  }
  if (Item.isReasoning(item)) return `thinks: ${item.summary.map((part) => part.text).join("")}`
  return item.type
}

const shown = (items: ReadonlyArray<Item.Item>): ReadonlyArray<string> => items.map(show)

const showEvent = (event: RunEvent.RunEvent<unknown>): string => {
  switch (event._tag) {
    case "Nested":
      return `${event.path.join("/")}: ${showEvent(event.event)}`
    case "TurnStarted":
      return `TurnStarted ${event.turn} ${event.agent}`
    case "ToolStarted":
    case "ToolFinished":
      return `${event._tag} ${event.callId}`
    case "ToolProgress":
      return `ToolProgress ${event.callId} ${JSON.stringify(event.value)}`
    case "HandedOff":
      return `HandedOff ${event.callId} ${event.from} ${event.to}`
    case "ApprovalRequested":
      return `ApprovalRequested ${event.approval.id}`
    case "Committed":
      return `Committed ${event.turn}`
    default:
      return event._tag
  }
}

/** What a step came to. */
interface Played {
  readonly exit: Exit.Exit<RunResult.RunResult<unknown> | undefined, any>
  readonly events: ReadonlyArray<RunEvent.RunEvent<unknown>>
  readonly version: number
}

const errorOf = (exit: Exit.Exit<unknown, any>): any =>
  Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined

const stateOf = (exit: Exit.Exit<unknown, any>): RunState.RunState | undefined => {
  const error = errorOf(exit)
  return RunError.isRunError(error) && "state" in error.reason ? error.reason.state : undefined
}

const resultOf = ({ exit }: Played): RunResult.RunResult<unknown> | undefined =>
  Exit.isSuccess(exit) ? exit.value : undefined

/** Whatever says how far the run came. */
const leftBy = (played: Played) => resultOf(played) ?? stateOf(played.exit)

const toJson = Schema.encodeUnknownSync(Schema.toCodecJson(RunError.RunError))

/** All that a step came to, as far as no way may change it. */
const comparable = (played: Played): unknown => {
  const { exit, version } = played
  if (Exit.isSuccess(exit)) {
    if (exit.value === undefined) return { left: true, version }
    const { traceId: _, ...result } = exit.value
    return { ...result, stands: version }
  }
  const error = errorOf(exit)
  if (error === undefined) return { interrupted: Exit.hasInterrupts(exit), cause: Cause.pretty(exit.cause), version }
  if (RunError.isRunError(error)) return { error: toJson(error), version }
  // A session's error begins with the name of its backend.
  const message = String(error.message ?? error).replace(/^(memory|sqlite) /, "")
  return { tag: error._tag, reason: error.reason?._tag, message, version }
}

const check = (actual: Played, expected: Outcome, where: string): void => {
  const { exit } = actual
  if ("interrupted" in expected) {
    assert.isTrue(Exit.isFailure(exit) && Exit.hasInterrupts(exit), `${where} was to be interrupted`)
    return
  }
  const error = errorOf(exit)
  if ("error" in expected) {
    assert.isTrue(
      Exit.isFailure(exit),
      `${where} was to fail, and answered ${JSON.stringify(resultOf(actual)?.finalOutput)}`
    )
    const tag = error?._tag ?? error ?? Cause.pretty((exit as Exit.Failure<unknown, unknown>).cause)
    assert.deepStrictEqual([tag, error?.reason?._tag], [expected.error, expected.reason], `${where}: ${String(error)}`)
    if (expected.message instanceof RegExp) assert.match(error.message, expected.message, where)
    else if (expected.message !== undefined) assert.strictEqual(error.message, expected.message, where)
    if (expected.waiting !== undefined) {
      assert.deepStrictEqual(error.reason.approvals.map(({ id }: Approval.Approval) => id), expected.waiting, where)
    }
    if (expected.state !== undefined) assert.deepStrictEqual(shown(error.reason.state.items), expected.state, where)
    return
  }
  assert.isTrue(Exit.isSuccess(exit), `${where}: ${Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""}`)
  const result = resultOf(actual)
  if (result === undefined) return
  const { answer, by = result.lastAgent, cutOff, turns = result.turns, version = result.version } = expected
  assert.deepStrictEqual(
    [result.finalOutput, result.lastAgent, result.turns, result.incompleteReason, result.version],
    [answer, by, turns, cutOff, version],
    where
  )
}

/** Exactly one terminal event, after the last commit, and events that say what the result says. */
const checkEvents = (played: Played, where: string): void => {
  const { events, exit } = played
  const tags = events.map((event) => event._tag)
  const result = resultOf(played)
  assert.strictEqual(tags.filter((tag) => tag === "Completed").length, result === undefined ? 0 : 1, where)
  const committed = events.flatMap((event) => event._tag === "Committed" ? [event.version] : [])
  if (result === undefined) {
    if (Exit.isFailure(exit) && !Exit.hasInterrupts(exit)) assert.isAtMost(committed.at(-1) ?? 0, played.version, where)
    return
  }
  assert.strictEqual(tags.at(-1), "Completed", where)
  assert.strictEqual(committed.at(-1), result.version, where)
  if (result.conversationId === "c") assert.strictEqual(result.version, played.version, where)
  // What a stream told of a call is what is kept of it.
  for (const event of events) {
    if (event._tag === "ToolFinished") assert.deepInclude(result.newItems, event.output, where)
    if (event._tag === "ToolStarted") {
      assert.isTrue(result.newItems.some((item) => Item.isFunctionCall(item) && item.call_id === event.callId), where)
    }
  }
}

/** As the strict peer judges a request that sends the whole of it. */
const checkValid = (items: ReadonlyArray<Item.Item>, steps: ReadonlyArray<Played>, where: string): void => {
  assert.deepStrictEqual(History.check(items), [], where)
  if (items.length === 0) return
  const input = JSON.parse(JSON.stringify(items))
  const reasoningOf = new Map<string, string>()
  const followerOf = new Map<string, string>()
  for (const response of steps.flatMap((played) => leftBy(played)?.responses ?? [])) {
    let thought: string | undefined
    for (const { id, type } of response.output as ReadonlyArray<{ readonly id?: string; readonly type?: string }>) {
      if (id === undefined) continue
      if (thought !== undefined && !followerOf.has(thought)) followerOf.set(thought, id)
      if (type === "reasoning") thought = id
      else if (thought !== undefined) reasoningOf.set(id, thought)
    }
  }
  const stored = new Map(input.flatMap((item: any) => typeof item.id === "string" ? [[item.id, item]] : []))
  const refusal = validateBody({ model: "m", input }) ??
    validateHistory(input, { history: [], stored: stored as Map<string, any>, reasoningOf, followerOf })
  assert.isUndefined(refusal, `${where}: ${JSON.stringify(refusal)}`)
}

const macrotask = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

const rounds = 500

/** Lets the effect run, with the clock moving on. */
const withClock = (clock: Duration.Input) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    for (let round = 0; round < rounds && fiber.pollUnsafe() === undefined; round++) {
      yield* macrotask
      yield* TestClock.adjust(clock)
    }
    return yield* Fiber.join(fiber)
  })

const untilEnded = (isEnded: () => boolean) =>
  Effect.gen(function*() {
    for (let round = 0; round < rounds && !isEnded(); round++) yield* macrotask
    assert.isTrue(isEnded(), "the run that nobody listens to did not end")
  })

const playWay = (row: Row, way: Way, where: string) =>
  Effect.gen(function*() {
    const ran = yield* Ran
    const model = ModelScripted.makeUnsafe(row.script)
    const base = yield* Session.Session
    const session = row.session?.(base) ?? base
    const agentOf = () => typeof row.agent === "function" ? row.agent() : row.agent
    if (row.stored !== undefined) yield* base.saveItems("c", row.stored)
    const steps = row.steps ?? [say(row.input ?? "go")]
    const common = { conversationId: "c", ...row.options }
    const played: Array<Played> = []

    const perform = (
      run: Effect.Effect<RunResult.RunResult<unknown>, any, any>,
      stream: Stream.Stream<RunEvent.RunEvent<unknown>, any, any>,
      events: Array<RunEvent.RunEvent<unknown>>
    ): Effect.Effect<RunResult.RunResult<unknown>, any, any> =>
      way.how === "run" ? run : Stream.runForEach(stream, (event) => Effect.sync(() => void events.push(event))).pipe(
        Effect.flatMap(() => {
          const last = events.at(-1)
          return last?._tag === "Completed" ? Effect.succeed(last.result) : Effect.die(`${where}: no terminal event`)
        })
      )

    const take = (
      step: Step,
      events: Array<RunEvent.RunEvent<unknown>>
    ): Effect.Effect<RunResult.RunResult<unknown> | undefined, any, any> => {
      if (step._tag === "Say") {
        const options = { ...common, ...step.options }
        const agent = agentOf()
        return perform(Runner.run(agent, step.input, options), Runner.stream(agent, step.input, options), events)
      }
      if (step._tag === "Resume") {
        const { history: _, maxItems: __, previousResponseId: ___, ...rest } = common
        const options = { ...rest, ...step.options }
        const agent = step.agent ?? agentOf()
        const from = step.from === undefined ? played.findLast(({ exit }) => stateOf(exit)) : played[step.from]
        return Effect.gen(function*() {
          const state = stateOf(from!.exit)!
          const text = yield* RunState.serialise(state)
          const read = yield* RunState.deserialise(step.alter?.(text) ?? text)
          const decisions = step.decide(state.openTurn?.approvals ?? [])
          return yield* perform(
            Runner.resume(agent, read, decisions, options),
            Runner.resumeStream(agent, read, decisions, options),
            events
          )
        })
      }
      const agent = agentOf()
      if (step._tag === "Cut") {
        return Effect.gen(function*() {
          const run = perform(Runner.run(agent, step.input, common), Runner.stream(agent, step.input, common), events)
          const fiber = yield* Effect.forkChild(run)
          for (let round = 0; round < rounds; round++) {
            const requests = (yield* model.requests).length
            if (requests >= step.requests && (step.ran === "" || ran.includes(step.ran))) break
            yield* macrotask
          }
          yield* macrotask
          yield* Fiber.interrupt(fiber)
          return yield* Effect.flatten(Fiber.await(fiber))
        })
      }
      let isEnded = false
      const hooks = { ...common.hooks, onRunEnd: () => Effect.sync(() => void (isEnded = true)) }
      const run = way.how === "run"
        ? Runner.run(agent, step.input, { ...common, hooks })
        : Runner.stream(agent, step.input, { ...common, hooks, onDisconnect: "finish" }).pipe(
          Stream.take(1),
          Stream.runDrain
        )
      return Effect.as(Effect.andThen(run, untilEnded(() => isEnded)), undefined)
    }

    const versionOf = Effect.map(base.loadItems("c"), ({ version }) => version)

    for (const step of steps) {
      const events: Array<RunEvent.RunEvent<unknown>> = []
      const whole = take(step, events)
      const exit = yield* Effect.exit(row.clock === undefined ? whole : withClock(row.clock)(whole)).pipe(
        Effect.provideService(ModelProvider.ModelProvider, model.provider),
        Effect.provideService(Session.Session, session)
      )
      played.push({ exit, events, version: yield* versionOf })
    }
    yield* model.assertDone
    const { items, version } = yield* base.loadItems("c")
    const records = yield* Stream.runCollect(base.records("c"))
    const conversations = yield* Stream.runCollect(base.conversations())
    const requests = yield* model.requests
    const { expect } = row

    const outcomes = (Array.isArray(expect.outcome) ? expect.outcome : [expect.outcome]) as ReadonlyArray<Outcome>
    assert.lengthOf(outcomes, steps.length, "an outcome is expected of each step")
    outcomes.forEach((outcome, index) => check(played[index]!, outcome, `${where}, step ${index + 1}`))

    const commits: Array<Array<string>> = []
    for (const { commit, item } of records) (commits[commit - 1] ??= []).push(show(item))
    assert.deepStrictEqual(commits, (expect.history ?? []).map((commit) => [...commit]), where)
    assert.deepStrictEqual(records.map(({ item }) => item), [...items], where)
    if (row.isStoredBroken === undefined) checkValid(items, played, where)
    for (const { exit } of played) {
      const state = stateOf(exit)
      if (state !== undefined) checkValid(state.items, played, where)
    }

    assert.deepStrictEqual(
      requests.map(({ items }, index) => typeof expect.seen[index] === "number" ? items.length : shown(items)),
      expect.seen.map((seen) => typeof seen === "number" ? seen : [...seen]),
      where
    )
    expect.asked?.forEach((asked, index) => {
      const request = requests[index]!
      const facts: Asked = {
        instructions: request.instructions,
        tools: request.tools?.map(({ name }) => name) ?? [],
        handoffs: request.handoffs?.map(({ name }) => name) ?? [],
        handoffsSay: request.handoffs?.map(({ description }) => description) ?? [],
        toolChoice: request.settings?.toolChoice,
        model: request.model,
        settings: request.settings,
        prompt: request.prompt,
        previousResponseId: request.previousResponseId,
        providerConversationId: request.conversationId
      }
      for (const key of Object.keys(asked) as Array<keyof Asked>) {
        assert.deepStrictEqual(facts[key], asked[key], `${where}: ${key} of request ${index + 1}`)
      }
    })
    for (const request of requests) {
      assert.strictEqual(request.mode, way.how === "run" ? "respond" : "stream", where)
      assert.strictEqual(request.tracing, way.isTraced ? "enabled" : "disabled", where)
    }

    assert.deepStrictEqual([...ran], [...expect.ran ?? []], where)
    assert.strictEqual(yield* model.aborted, expect.aborted ?? 0, where)
    const last = leftBy(played.at(-1)!)
    if (last !== undefined) {
      const { usage = expect.seen.length } = expect
      const spent = typeof usage === "number"
        ? Usage.make({ requests: usage, inputTokens: 10 * usage, outputTokens: 5 * usage })
        : Usage.make(usage ?? {})
      if (usage !== null) {
        assert.deepStrictEqual(last.usage, spent, where)
        assert.deepStrictEqual(last.requests.map(({ usage }) => usage).reduce(Usage.add, Usage.zero), spent, where)
      }
      assert.deepStrictEqual(
        last.guardrails.map(({ callId, info, kind, name, outcome }) =>
          [kind, name, outcome, ...callId === undefined ? [] : [callId], ...info === undefined ? [] : [info]].join(" ")
        ),
        [...expect.guardrails ?? []],
        where
      )
    }
    if (expect.spent !== undefined) {
      const sums = Array.from(Usage.byAgent(last!.requests), ([agent, { requests }]) => [agent, requests])
      assert.deepStrictEqual(Object.fromEntries(sums), expect.spent, where)
    }

    if (way.how === "stream") {
      for (const one of played) checkEvents(one, where)
      if (expect.events !== undefined) {
        const told = played.at(-1)!.events.map(showEvent)
        assert.deepStrictEqual(told.filter((event, index) => event !== told[index - 1]), [...expect.events], where)
      }
    }
    for (const one of played) {
      const result = resultOf(one)
      if (result === undefined) continue
      assert.strictEqual(result.traceId !== undefined, way.isTraced, where)
      if (result.conversationId !== "c" || one !== played.at(-1)) continue
      // What is stored of the run is its input and what it made.
      const stored = records.filter(({ meta }) => meta?.runId === result.runId).map(({ item }) => item)
      assert.deepStrictEqual(stored.slice(stored.length - result.newItems.length), [...result.newItems], where)
      assert.isTrue(
        stored.slice(0, stored.length - result.newItems.length).every((item) => !Item.isFromModel(item)),
        `${where}: what a run stores before what it made is what it was given`
      )
    }
    const names = conversations.map(({ id }) => id)
    assert.deepStrictEqual(names, [...items.length > 0 ? ["c"] : [], ...expect.others ?? []], where)

    return {
      trace: yield* traceOf(way, requests.length, where),
      told: played.map(({ events }) => events.map(showEvent)),
      rest: {
        steps: played.map(comparable),
        requests: requests.map((request) => ({ ...request, mode: "", tracing: "" })),
        records: records.map((record) => ({ ...record, cursor: "", savedAt: 0 })),
        version,
        ran: [...ran]
      }
    }
  })

/** Spans end, and there are as many as there were requests, however many pieces an answer came in. */
const traceOf = (way: Way, requests: number, where: string) =>
  Effect.gen(function*() {
    const memory = yield* TracerMemory.TracerMemory
    const spans = yield* memory.spans
    assert.strictEqual((yield* memory.started).length, spans.length, `${where}: every span ends`)
    assert.strictEqual(
      spans.filter(({ data }) => data._tag === "Generation").length,
      way.isTraced ? requests : 0,
      where
    )
    return yield* memory.outline
  })

const world = (row: Row, way: Way) => {
  const tracer = way.isTraced
    ? TracerMemory.layer
    : Layer.succeed(TracerMemory.TracerMemory, TracerMemory.makeUnsafe().memory)
  return (row.handlers === undefined ? toolHandlers : Layer.merge(toolHandlers, row.handlers)).pipe(
    Layer.provideMerge(Layer.mergeAll(
      Layer.sync(Ran, () => []),
      way.store === "memory" ? SessionMemory.layer : SessionSqlite.layer({ filename: ":memory:" }),
      Ids.layerSequential,
      tracer
    ))
  )
}

/** Plays a row in all eight ways. */
export const play = (row: Row): Effect.Effect<void, any> =>
  Effect.gen(function*() {
    let first: Effect.Success<ReturnType<typeof playWay>> | undefined
    let outline: string | undefined
    let told: ReadonlyArray<ReadonlyArray<string>> | undefined
    for (const way of eightWays) {
      const where = `${way.how}, ${way.store}, tracing ${way.isTraced ? "on" : "off"}`
      const played = yield* Effect.provide(playWay(row, way, where), world(row, way) as Layer.Layer<any>)
      first ??= played
      assert.deepStrictEqual(played.rest, first.rest, `${where} is not what the first way was`)
      if (way.isTraced) assert.strictEqual(played.trace, outline ??= played.trace, where)
      if (way.how === "stream") assert.deepStrictEqual(played.told, told ??= played.told, where)
    }
  }) as Effect.Effect<void, any>
