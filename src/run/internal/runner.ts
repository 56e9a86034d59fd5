import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as History from "../../services/History.ts"
import { Ids } from "../../services/Ids.ts"
import type { FunctionCall, Item } from "../../services/Item.ts"
import { assistant, user } from "../../services/Item.ts"
import type { ModelError } from "../../services/ModelError.ts"
import { isModelError } from "../../services/ModelError.ts"
import type { ModelResponse } from "../../services/ModelProvider.ts"
import * as Tracer from "../../services/Tracer.ts"
import type * as Agent from "../Agent.ts"
import type { Decision } from "../Approval.ts"
import type { ResumeOptions, RunInput } from "../RunConfig.ts"
import * as RunError from "../RunError.ts"
import type { RunEvent } from "../RunEvent.ts"
import type { RunResult } from "../RunResult.ts"
import type { OpenTurn, RunState } from "../RunState.ts"
import { callModel } from "./callModel.ts"
import { commit, maintain } from "./commit.ts"
import type { NextStep } from "./decide.ts"
import { decide, decideAfterTools, newCalls } from "./decide.ts"
import { executeTools, isWaiting } from "./executeTools.ts"
import { checkInput, checkOutput } from "./guardrails.ts"
import { chooseHandoff, handOff, noHandoff } from "./handOff.ts"
import { keepWhatRan } from "./keep.ts"
import type { Ledger } from "./ledger.ts"
import { answerAgain, makeLedger } from "./ledger.ts"
import { offerOf } from "./offer.ts"
import type { Beginning } from "./prepare.ts"
import { conversationOf, prepare, releaseClaims, sessionOf } from "./prepare.ts"
import { serialised } from "./serialise.ts"
import type { AnyOptions, Emit, Origin, Outer, Run } from "./state.ts"
import { append, fail, hook, hookContext, resultOf, stateOf } from "./state.ts"

/** The model's answer, with the checks of the input before it and beside it: nothing goes on before all have passed. */
const ask = (run: Run): Effect.Effect<ModelResponse, unknown> =>
  run.isUnchecked && run.agent.inputGuardrails.length > 0
    ? askChecked(run)
    : callModel(run) as Effect.Effect<ModelResponse, unknown>

const askChecked = Effect.fnUntraced(function*(run: Run): Effect.fn.Return<ModelResponse, unknown> {
  yield* checkInput(run, "blocking")
  const call = callModel(run) as Effect.Effect<ModelResponse, unknown>
  const isAlone = run.agent.inputGuardrails.every(({ mode }) => mode === "blocking")
  if (isAlone) return yield* call
  const [response] = yield* Effect.all([call, checkInput(run, "parallel")], { concurrency: 2 })
  return response
})

const complaint = (description: string): Item =>
  user(`Your answer does not have the shape that was asked for: ${description}. Answer again with nothing but that.`)

/** Suspends the turn: what it has so far goes into the state, and nothing is stored. */
const suspend = Effect.fnUntraced(function*(run: Run, openTurn: OpenTurn) {
  const { approvals } = openTurn
  if (run.emit !== undefined && run.path.length === 0) {
    yield* run.emit(approvals.map((approval) => ({ _tag: "ApprovalRequested", approval })))
  }
  return yield* fail(
    run,
    new RunError.ApprovalRequired({ approvals, state: { ...stateOf(run, run.turn - 1), openTurn } })
  )
})

const finish = Effect.fnUntraced(function*(run: Run, finalOutput: unknown) {
  yield* checkOutput(run, finalOutput)
  yield* hook(run, ({ onAgentEnd }) => onAgentEnd?.(hookContext(run), finalOutput))
})

/** What follows the model's answer: the tools that it asks for, a handoff, a final answer, a commit. */
const answerCalls = Effect.fnUntraced(function*(
  run: Run,
  response: ModelResponse,
  calls: ReadonlyArray<FunctionCall>,
  ledger: Ledger,
  open: OpenTurn | undefined
) {
  const isCutOff = response.status === "incomplete"
  const isHandoff = (name: string) => run.plan.handoffs.has(name)
  const { answers } = ledger
  if (run.ran.length > 0) answerAgain(ledger, calls, run.ran)
  const unanswered = calls.filter(({ call_id: callId, name }) => !isHandoff(name) && !answers.has(callId))
  const settled = unanswered.length === 0
    ? []
    : yield* executeTools(run, unanswered, isCutOff, open?.nested ?? [], ledger)
  const waiting = settled.filter(isWaiting)
  if (waiting.length > 0) {
    return yield* suspend(run, {
      response,
      answers: Array.from(answers.values()),
      approvals: waiting.flatMap(({ approvals }) => approvals),
      nested: waiting.flatMap(({ nested }) => nested === undefined ? [] : [nested])
    })
  }
  if (answers.size > 0) run.usedTools.add(run.agentKey)
  const handoffs = calls.filter(({ name }) => isHandoff(name))
  const { chosen, outputs: handedOff } = handoffs.length === 0
    ? noHandoff
    : yield* chooseHandoff(run, handoffs, isCutOff)
  const inOrder = calls.flatMap(({ call_id: callId }) => answers.get(callId) ?? [])
  const outputs = calls.map(({ call_id: callId }) =>
    answers.get(callId)?.output ?? handedOff.find((output) => output.call_id === callId)!
  )
  if (run.unsent !== undefined) {
    run.unsent = outputs.slice()
    run.previousResponseId = response.id ?? run.previousResponseId
  }
  const next: NextStep = calls.length === 0
    ? yield* decide(run, response)
    : chosen === undefined && inOrder.length > 0
    ? yield* decideAfterTools(run, response, inOrder)
    : { _tag: "RunAgain" }
  if (next._tag === "Repair") {
    run.repairs++
    if (run.unsent !== undefined) run.unsent.push(complaint(next.description))
    else run.view = run.view.concat(History.repair(response.output), complaint(next.description))
    return undefined
  }
  if (next._tag === "Finish") yield* finish(run, next.finalOutput)
  append(run, History.repair(response.output.concat(outputs)))
  ledger.isWhole = true
  run.ran = []
  yield* commit(run)
  if (chosen !== undefined) yield* handOff(run, chosen)
  return next._tag === "Finish" ? next : undefined
})

/**
 * One turn: a model call, or one that waited for decisions, and what follows. Returns the final output, boxed, if there
 * is one.
 */
const takeTurn = Effect.fnUntraced(function*(run: Run) {
  if (run.ruled.length > 0) run.standing.push(...run.ruled.splice(0))
  const open = run.openTurn
  run.openTurn = undefined
  run.offer = run.plan.isFixed ? run.plan.offer : yield* offerOf(run)
  const response = open === undefined ? yield* ask(run) : open.response
  run.isUnchecked = false
  const calls = yield* newCalls(run, response)
  const ledger = makeLedger(open)
  return yield* keepWhatRan(run, { response, calls, ledger }, answerCalls(run, response, calls, ledger, open))
})

const isRecoverable = (error: unknown): error is RunError.RunError | ModelError =>
  RunError.isRunError(error)
    ? error.reason._tag === "MaxTurnsExceeded" || error.reason._tag === "InvalidFinalOutput"
    : isModelError(error) && error.reason._tag === "Refused"

/** A final answer in place of an error, if the caller has one: checked and stored as if the agent had given it. */
const recover = (run: Run, error: unknown): Effect.Effect<{ readonly finalOutput: unknown }, unknown> => {
  const { recover } = run.options
  if (recover === undefined || !isRecoverable(error)) return Effect.fail(error)
  return Effect.gen(function*() {
    const recovered = yield* recover(error, hookContext(run)) as Effect.Effect<Option.Option<unknown>, unknown>
    if (Option.isNone(recovered)) return yield* Effect.fail(error)
    const finalOutput = recovered.value
    const { output } = run.plan
    const text = output === undefined
      ? typeof finalOutput === "string" ? finalOutput : undefined
      : yield* Effect.orElseSucceed(output.encode(finalOutput), () => undefined)
    if (text === undefined) {
      return yield* fail(
        run,
        new RunError.InvalidFinalOutput({
          text: "",
          description: "what `recover` answered is not an output of the agent",
          state: stateOf(run, run.turn)
        })
      )
    }
    yield* finish(run, finalOutput)
    append(run, [assistant(text)])
    yield* commit(run, `${run.turn}/recovered`)
    return { finalOutput }
  })
}

const exceeded = (run: Run) =>
  fail(
    run,
    new RunError.MaxTurnsExceeded({
      maxTurns: run.maxTurns,
      state: stateOf(run, run.turn)
    })
  )

const turns = Effect.fnUntraced(function*(run: Run) {
  const { stopAfterTurn } = run.options
  while (run.turn < run.maxTurns) {
    run.turn++
    const spent = run.responses.length
    if (run.emit !== undefined) {
      yield* run.emit([{ _tag: "TurnStarted", turn: run.turn, agent: run.agent.name }])
    }
    yield* hook(run, ({ onTurnStart }) => onTurnStart?.(hookContext(run)))
    const finished = yield* Tracer.withSpan(
      takeTurn(run),
      () => ({ _tag: "Turn" as const, agent: run.agent.name, turn: run.turn }),
      () => run.responses.length === spent ? {} : { usage: run.responses[run.responses.length - 1]!.usage }
    )
    if (finished !== undefined) return finished
    if (stopAfterTurn !== undefined && (yield* stopAfterTurn as Effect.Effect<boolean, unknown>)) {
      return yield* fail(run, new RunError.Stopped({ turn: run.turn, state: stateOf(run, run.turn) }))
    }
  }
  return yield* exceeded(run)
})

/** Its state may be resumed once more, which counts the claims. */
const isSuspended = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) &&
  exit.cause.reasons.some((reason) =>
    Cause.isFailReason(reason) && RunError.isRunError(reason.error) && "state" in reason.error.reason
  )

const loop = Effect.fnUntraced(function*(run: Run) {
  yield* hook(run, ({ onAgentStart }) => onAgentStart?.(hookContext(run)))
  const answered = run.options.recover === undefined
    ? turns(run)
    : Effect.catch(turns(run), (error) => recover(run, error))
  const { finalOutput } = yield* run.resumes === 0
    ? answered
    : Effect.onExit(answered, (exit) => isSuspended(exit) ? Effect.void : releaseClaims(run))
  yield* maintain(run)
  yield* hook(run, ({ onRunEnd }) => onRunEnd?.(hookContext(run), finalOutput))
  return resultOf(run, finalOutput)
})

const nested = (conversationId: string) =>
  new RunError.InvalidOptions({
    description: `conversationId is "${conversationId}", which a run is busy with that this one is inside of: ` +
      "give the inner run a conversation of its own"
  })

const about = (conversationId: string | undefined) =>
  conversationId === undefined ? "no conversation" : `conversation "${conversationId}"`

const otherConversation = (state: RunState, options: AnyOptions) =>
  `The state is about ${about(state.conversationId)}, and the run was to go on with ${
    about(options.conversationId)
  }: ` +
  "give the conversationId that the run had"

/** An agent called like a tool: its run is part of this one. */
const callAgent = (run: Run): Run["callAgent"] => (tool, call, origin, made) => {
  const { emit } = run
  const path = [...run.path, call.call_id]
  const { context, hooks, inputFilter, model, onToolFailure, settings, toolConcurrency } = run.options
  return start(
    tool.agent,
    origin,
    { context, hooks, inputFilter, maxTurns: tool.maxTurns, model, onToolFailure, settings, toolConcurrency },
    emit === undefined ?
      undefined :
      (events) => emit(events.map((event) => event._tag === "Nested" ? event : { _tag: "Nested", path, event })),
    { id: run.id, path, spend: run.spend, made }
  ) as Effect.Effect<RunResult<any>, unknown>
}

const start = Effect.fnUntraced(function*(
  agent: Agent.Any,
  origin: Origin,
  options: AnyOptions,
  emit: Emit | undefined,
  outer: Outer | undefined
): Effect.fn.Return<RunResult<any>, unknown, any> {
  const state = origin._tag === "Resumed" ? origin.state : undefined
  const ids = yield* Ids
  const id = outer?.id ?? state?.runId ?? (yield* ids.next("run"))
  const stop = (reason: RunError.RunErrorReason) =>
    Effect.suspend(() => Effect.fail(new RunError.RunError({ agent: agent.name, runId: id, reason })))
  if (state !== undefined && state.conversationId !== options.conversationId) {
    return yield* stop(new RunError.StateMismatch({ description: otherConversation(state, options) }))
  }
  const conversationId = yield* conversationOf(options)
  const session = yield* sessionOf(conversationId)
  let run: Run | undefined
  const beginning: Beginning = { agent, options, id, conversationId, session, emit, outer, callAgent }
  const whole = Effect.gen(function*() {
    if (emit !== undefined) {
      yield* emit([{ _tag: "RunStarted", runId: id, agent: agent.name, conversationId }])
    }
    run = yield* prepare(beginning, origin)
    yield* hook(run, ({ onRunStart }) => onRunStart?.(hookContext(run!)))
    return yield* loop(run)
  })
  const inTurn = session === undefined || conversationId === undefined
    ? whole
    : serialised(whole, {
      session,
      conversationId,
      onConflict: options.onConflict,
      nested: stop(nested(conversationId)),
      busy: stop(new RunError.ConversationBusy({ conversationId }))
    })
  return yield* Tracer.withSpan(
    inTurn as Effect.Effect<RunResult<any>, unknown>,
    () => ({
      _tag: "Agent" as const,
      agent: agent.name,
      runId: id,
      tools: Object.keys(agent.tools),
      ...(conversationId === undefined ? {} : { conversationId })
    }),
    () => run === undefined ? {} : { usage: run.usage },
    {
      trace: {
        workflowName: options.trace?.workflowName ?? agent.name,
        ...(options.trace?.groupId === undefined ? {} : { groupId: options.trace.groupId }),
        ...(options.trace?.metadata === undefined ? {} : { metadata: options.trace.metadata })
      }
    }
  )
})

const streamOf = (agent: Agent.Any, origin: Origin, options: AnyOptions): Stream.Stream<RunEvent<any>, any, any> =>
  Stream.unwrap(Effect.gen(function*() {
    const { bufferSize = 1024, onDisconnect = "interrupt" } = options
    const queue = yield* Queue.bounded<RunEvent<any>, any | Cause.Done>(bufferSize >= 1 ? bufferSize : 1)
    let hasLeft = false
    const emit: Emit = (events) => hasLeft ? Effect.void : Effect.asVoid(Queue.offerAll(queue, events))
    const whole = start(agent, origin, options, emit, undefined).pipe(
      Effect.flatMap((result) => emit([{ _tag: "Completed", result }])),
      Effect.onExit((exit) =>
        Exit.isSuccess(exit)
          ? Queue.end(queue)
          : hasLeft && !Cause.hasInterruptsOnly(exit.cause)
          ? Effect.logWarning("A run failed after its consumer had left", exit.cause)
          : Queue.failCause(queue, exit.cause)
      ),
      Effect.exit
    )
    const told = Stream.fromQueue(queue)
    if (onDisconnect === "interrupt") {
      const fiber = yield* Effect.forkScoped(whole)
      // The run is over, and what had run is stored, before anything after this stream continues.
      return Stream.onExit(told, (exit) => Exit.isSuccess(exit) ? Effect.void : Fiber.interrupt(fiber))
    }
    yield* Effect.forkDetach(whole)
    yield* Effect.addFinalizer(() => {
      hasLeft = true
      return Queue.shutdown(queue)
    })
    return told
  }))

const resumed = (
  state: RunState,
  decisions: ReadonlyArray<Decision>,
  onMoved: "fail" | "append" = "fail"
): Origin => ({ _tag: "Resumed", state, decisions, onMoved })

/** @internal */
export const run = (
  agent: Agent.Any,
  input: RunInput,
  options: AnyOptions = {}
): Effect.Effect<RunResult<any>, any, any> => start(agent, { _tag: "Fresh", input }, options, undefined, undefined)

/** @internal */
export const stream = (
  agent: Agent.Any,
  input: RunInput,
  options: AnyOptions = {}
): Stream.Stream<RunEvent<any>, any, any> => streamOf(agent, { _tag: "Fresh", input }, options)

/** @internal */
export const resume = (
  agent: Agent.Any,
  state: RunState,
  decisions: ReadonlyArray<Decision> = [],
  { onMoved, ...options }: ResumeOptions<any, any> = {}
): Effect.Effect<RunResult<any>, any, any> =>
  start(agent, resumed(state, decisions, onMoved), options, undefined, undefined)

/** @internal */
export const resumeStream = (
  agent: Agent.Any,
  state: RunState,
  decisions: ReadonlyArray<Decision> = [],
  { onMoved, ...options }: ResumeOptions<any, any> = {}
): Stream.Stream<RunEvent<any>, any, any> => streamOf(agent, resumed(state, decisions, onMoved), options)
