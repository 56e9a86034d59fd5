import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { toJson } from "../../services/internal/json.ts"
import type { FunctionCall, FunctionCallOutput } from "../../services/Item.ts"
import { Item } from "../../services/Item.ts"
import { ToolContext } from "../../services/ToolContext.ts"
import * as Tracer from "../../services/Tracer.ts"
import type { Approval } from "../Approval.ts"
import * as RunError from "../RunError.ts"
import type { OpenTurn, RunState } from "../RunState.ts"
import type { AgentTool } from "./agentModel.ts"
import { addressOf, ruling } from "./approve.ts"
import { checkTool } from "./guardrails.ts"
import type { Ledger } from "./ledger.ts"
import { describeCalls } from "./ledger.ts"
import type { PlannedAgentTool, PlannedTool } from "./plan.ts"
import type { Origin, Run } from "./state.ts"
import { fail, hook, hookContext, stateOf, stepName } from "./state.ts"
import type { Answer, Report, ToolOutcome } from "./toolOutcome.ts"
import { answerCall, asText, failed } from "./toolOutcome.ts"
import * as ToolSearch from "./toolSearch.ts"

const badArguments = (name: string, description: string) =>
  failed(`The arguments of tool "${name}" are not valid: ${description}. Call it again with corrected arguments.`)

/** The handler with the tool's timeout and its retries. */
const attempts = (
  { definition, handle, options: { retry, timeout } }: PlannedTool,
  params: unknown,
  callId: string,
  report: Report | undefined
): Effect.Effect<ToolOutcome> => {
  const once = handle(params, callId, report)
  const timed = timeout === undefined ? once : Effect.timeoutOrElse(once, {
    duration: timeout,
    orElse: () =>
      Effect.succeed(
        failed(
          `Tool "${definition.name}" did not answer within ${Duration.format(Duration.fromInputUnsafe(timeout))}.`
        )
      )
  })
  if (retry === undefined) return timed
  return timed.pipe(
    Effect.flatMap((outcome) => outcome.isFailure ? Effect.fail(outcome) : Effect.succeed(outcome)),
    Effect.retry(retry),
    Effect.catch(Effect.succeed)
  )
}

const ToolStep = Schema.Struct({
  output: Item,
  tool: Schema.String,
  callId: Schema.String,
  value: Schema.Json,
  isFailure: Schema.Boolean
})

const schemas = () => ({ success: ToolStep, error: Schema.Never })

/** A call that waits for a person: by itself, or for what an agent called by it asks. */
export interface Waiting {
  readonly approvals: ReadonlyArray<Approval>
  readonly nested: { readonly callId: string; readonly state: RunState } | undefined
}

export type Settled = Answer | Waiting

export const isWaiting = (settled: Settled): settled is Waiting => "approvals" in settled

const unavailable = (run: Run, call: FunctionCall): ToolOutcome => {
  const names = [...run.offer.tools.keys(), ...run.plan.agentTools.keys()].filter(run.offer.isEnabled).join(", ")
  return failed(`There is no tool "${call.name}". ${names === "" ? "No tools are available." : `Available: ${names}.`}`)
}

const cutOff = (call: FunctionCall) =>
  failed(`Tool "${call.name}" was not run: the response was cut off before it was complete. Call it again.`)

const rejected = (call: FunctionCall, reason: string | undefined) =>
  failed(`Tool "${call.name}" was not executed: the call was rejected.${reason === undefined ? "" : ` ${reason}`}`)

const contextOf = (run: Run, call: FunctionCall): ToolContext => ({
  agent: run.agent.name,
  runId: run.id,
  conversationId: run.conversationId,
  turn: run.turn,
  callId: call.call_id,
  idempotencyKey: `${run.id}/${addressOf(run, call.call_id)}`,
  toolName: call.name,
  rawArguments: call.arguments,
  usage: run.usage,
  context: run.options.context
})

const toolFailed = (run: Run, call: FunctionCall, encoded: unknown) =>
  fail(
    run,
    new RunError.ToolFailed({
      tool: call.name,
      callId: call.call_id,
      description: asText(encoded),
      state: stateOf(run, run.turn - 1)
    })
  )

/** Turns a bug in the tool's own code into a typed error. Hooks and guardrails around the tool are not its code. */
const reportDefect = <A, E>(run: Run, call: FunctionCall, effect: Effect.Effect<A, E>) =>
  Effect.catchDefect(effect, (cause) =>
    Effect.fail(
      fail(
        run,
        new RunError.ToolDefect({
          tool: call.name,
          callId: call.call_id,
          cause,
          state: stateOf(run, run.turn - 1)
        })
      )
    ))

/** Reports that a tool starts: after all decisions, right before it does. */
const reportStart = (run: Run, call: FunctionCall): Effect.Effect<void, unknown> => {
  if (run.emit === undefined && run.options.hooks === undefined) return Effect.void
  const told = run.emit === undefined
    ? Effect.void
    : run.emit([{ _tag: "ToolStarted", callId: call.call_id, name: call.name, arguments: call.arguments }])
  return Effect.andThen(told, hook(run, ({ onToolStart }) => onToolStart?.(hookContext(run), call)))
}

const reportFinish = (run: Run, call: FunctionCall, answer: Answer): Effect.Effect<void, unknown> => {
  const { callId, isFailure, output, tool: name } = answer
  const told = run.emit === undefined ? Effect.void : run.emit([{
    _tag: "ToolFinished",
    callId,
    name,
    output,
    isFailure
  }])
  return Effect.andThen(told, hook(run, ({ onToolEnd }) => onToolEnd?.(hookContext(run), call, output)))
}

const reporter = (run: Run, call: FunctionCall): Report | undefined => {
  const { emit } = run
  return emit === undefined
    ? undefined
    : (value) => emit([{ _tag: "ToolProgress", callId: call.call_id, name: call.name, value: toJson(value) }])
}

/** The handler, as a step of the journal: what was recorded is not run again. */
const runHandler = (run: Run, call: FunctionCall, planned: PlannedTool, params: unknown) =>
  run.journal.step(
    { runId: run.id, name: stepName(run, "tool", call.call_id) },
    schemas,
    Effect.map(
      Effect.provideService(
        attempts(planned, params, call.call_id, reporter(run, call)),
        ToolContext,
        contextOf(run, call)
      ),
      (outcome) => answerCall(call, outcome)
    )
  )

const isFalse = (answer: unknown): boolean => answer === false

/** Whether a call may run unasked. Fails closed: only an exact `false` says so, plain or from an Effect. */
const mayRun = (
  run: Run,
  call: FunctionCall,
  needs: PlannedTool["needsApproval"],
  params: unknown
): Effect.Effect<boolean, unknown> | boolean => {
  if (typeof needs !== "function") return needs === undefined || isFalse(needs)
  const { call_id: callId, name } = call
  const asked = Effect.suspend(() => {
    // A tool's own function may answer at once; it is shown no messages, which are the model's affair.
    const answer = needs(params, { callId, name, toolCallId: callId, messages: [] })
    return Effect.isEffect(answer) ? answer as Effect.Effect<unknown, unknown> : Effect.succeed(answer)
  })
  return reportDefect(run, call, Effect.map(asked, isFalse))
}

/** The answer of a person, or the request for one; `undefined` lets the call run. */
const askPerson = (run: Run, call: FunctionCall): Effect.Effect<Settled | undefined, unknown> =>
  Effect.map(ruling(run, call), (ruling) =>
    ruling._tag === "Approved"
      ? undefined
      : ruling._tag === "Pending"
      ? { approvals: [ruling.approval], nested: undefined }
      : answerCall(call, rejected(call, ruling.reason)))

const executeTool = Effect.fnUntraced(function*(
  run: Run,
  call: FunctionCall,
  planned: PlannedTool,
  { answers, progress }: Ledger
) {
  const { call_id: callId } = call
  const decoded = yield* Effect.result(planned.decode(call.arguments))
  if (Result.isFailure(decoded)) return answerCall(call, badArguments(call.name, decoded.failure.message))
  const { options } = planned
  const params = decoded.success
  // What a person has decided holds, whatever would be asked now.
  const may = !run.decisions.has(addressOf(run, callId)) && mayRun(run, call, planned.needsApproval, params)
  const decision = (typeof may === "boolean" ? may : yield* may) ? undefined : yield* askPerson(run, call)
  if (decision !== undefined) return decision
  const guarded = {
    agent: run.agent.name,
    tool: call.name,
    callId,
    arguments: call.arguments,
    context: run.options.context
  }
  const refusal = yield* checkTool(run, "toolInput", callId, options.inputGuardrails, () => guarded)
  if (refusal !== undefined) return answerCall(call, { encoded: refusal, isFailure: false })
  yield* reportStart(run, call)
  progress.set(callId, { _tag: "Started" })
  const answer = yield* reportDefect(run, call, runHandler(run, call, planned, params)).pipe(
    Effect.tapError(() => Effect.sync(() => progress.set(callId, { _tag: "Died" })))
  )
  if (options.outputGuardrails === undefined || options.outputGuardrails.length === 0) answers.set(callId, answer)
  else progress.set(callId, { _tag: "Withheld" })
  if (answer.isFailure && (options.onFailure ?? run.options.onToolFailure) === "fail") {
    return yield* toolFailed(run, call, answer.value)
  }
  const replacement = yield* checkTool(run, "toolOutput", callId, options.outputGuardrails, () => ({
    ...guarded,
    output: asText((answer.output as FunctionCallOutput).output),
    isFailure: answer.isFailure
  }))
  return replacement === undefined ? answer : answerCall(call, { encoded: replacement, isFailure: answer.isFailure })
})

const finalText = (tool: AgentTool<any, any>, finalOutput: unknown): string =>
  asText(tool.toText === undefined ? finalOutput : tool.toText(finalOutput))

/**
 * What the failure of a called agent means for the caller. If the agent waits for a person, the caller waits with it. A
 * bug in a handler ends both runs, and so does a decision that does not match: the model can fix neither. Anything else
 * goes back to the model.
 */
const settleFailure = (
  run: Run,
  call: FunctionCall,
  cause: Cause.Cause<unknown>,
  made: ReadonlyArray<Item>
): Effect.Effect<Settled, unknown> => {
  const error = cause.reasons.find(Cause.isFailReason)?.error
  if (error === undefined) return Effect.failCause(cause)
  if (RunError.isRunError(error)) {
    const { reason } = error
    if (reason._tag === "ApprovalRequired") {
      return Effect.succeed({
        approvals: reason.approvals,
        nested: { callId: call.call_id, state: reason.state }
      })
    }
    if (reason._tag === "ToolDefect") {
      const { callId, cause, tool } = reason
      return Effect.fail(
        fail(run, new RunError.ToolDefect({ tool, callId, cause, state: stateOf(run, run.turn - 1) }))
      )
    }
    if (reason._tag === "StateMismatch") return Effect.failCause(cause)
  }
  const message = Predicate.hasProperty(error, "message") ? String(error.message) : asText(error)
  const answer = answerCall(call, failed(`${message}${describeCalls(made)}`))
  return run.options.onToolFailure === "fail" ? Effect.fail(toolFailed(run, call, message)) : Effect.succeed(answer)
}

/** A run inside this one. */
const executeAgent = Effect.fnUntraced(function*(
  run: Run,
  call: FunctionCall,
  { decode, tool }: PlannedAgentTool,
  suspended: RunState | undefined,
  { progress }: Ledger
) {
  const decoded = yield* Effect.result(decode(call.arguments))
  if (Result.isFailure(decoded)) return answerCall(call, badArguments(call.name, decoded.failure.message))
  const made = suspended?.newItems.slice() ?? []
  progress.set(call.call_id, { _tag: "Called", made })
  if (suspended === undefined) {
    const decision = isFalse(tool.needsApproval) ? undefined : yield* askPerson(run, call)
    if (decision !== undefined) {
      progress.set(call.call_id, { _tag: "Waiting" })
      return decision
    }
    yield* reportStart(run, call)
  }
  const origin: Origin = suspended === undefined
    ? {
      _tag: "Fresh",
      input: yield* reportDefect(run, call, Effect.sync(() => tool.input(decoded.success)))
    }
    : { _tag: "Resumed", state: suspended, decisions: Array.from(run.decisions.values()), onMoved: "fail" }
  return yield* Effect.matchCauseEffect(run.callAgent(tool, call, origin, made), {
    onSuccess: ({ finalOutput }): Effect.Effect<Settled, unknown> =>
      Effect.map(
        reportDefect(run, call, Effect.sync(() => finalText(tool, finalOutput))),
        (encoded) => answerCall(call, { encoded, isFailure: false })
      ),
    onFailure: (cause) => settleFailure(run, call, cause, made)
  })
})

/** Shows the model what it looks for, from the next turn on. */
const searchTools = (run: Run, call: FunctionCall): Effect.Effect<Settled, unknown> =>
  Effect.andThen(
    reportStart(run, call),
    Effect.match(ToolSearch.search(call.arguments, run.offer.deferred), {
      onFailure: (error) => answerCall(call, badArguments(call.name, error.message)),
      onSuccess: ({ answer, found }) => {
        for (const name of found) run.found.add(name)
        return answerCall(call, { encoded: answer, isFailure: false })
      }
    })
  )

const settle = (
  run: Run,
  call: FunctionCall,
  isCutOff: boolean,
  nested: OpenTurn["nested"],
  ledger: Ledger
): Effect.Effect<Settled, unknown> => {
  if (isCutOff) return Effect.succeed(answerCall(call, cutOff(call)))
  if (call.name === ToolSearch.toolSearch && run.offer.deferred.length > 0) return searchTools(run, call)
  const planned = run.offer.isEnabled(call.name) ? run.offer.tools.get(call.name) : undefined
  if (planned !== undefined) return executeTool(run, call, planned, ledger)
  const agentTool = run.offer.isEnabled(call.name) ? run.plan.agentTools.get(call.name) : undefined
  return agentTool === undefined
    ? Effect.succeed(answerCall(call, unavailable(run, call)))
    : executeAgent(run, call, agentTool, nested.find(({ callId }) => callId === call.call_id)?.state, ledger)
}

const executeCall = (
  run: Run,
  call: FunctionCall,
  isCutOff: boolean,
  nested: OpenTurn["nested"],
  ledger: Ledger
): Effect.Effect<Settled, unknown> => {
  const settled = Tracer.withSpan(
    settle(run, call, isCutOff, nested, ledger),
    () => ({ _tag: "Tool" as const, name: call.name, callId: call.call_id, input: call.arguments }),
    (exit) =>
      Exit.isFailure(exit) || isWaiting(exit.value) ? {} : {
        output: (exit.value.output as { readonly output?: unknown }).output,
        isFailure: exit.value.isFailure
      }
  )
  const isTold = run.emit !== undefined || run.options.hooks !== undefined
  return Effect.flatMap(settled, (settled): Effect.Effect<Settled, unknown> => {
    if (isWaiting(settled)) {
      if (settled.nested === undefined) ledger.progress.set(call.call_id, { _tag: "Waiting" })
      return Effect.succeed(settled)
    }
    ledger.answers.set(call.call_id, settled)
    return isTold ? Effect.as(reportFinish(run, call, settled), settled) : Effect.succeed(settled)
  })
}

/**
 * Settles the calls of a response, at the same time, and answers in the order of the calls. A response that was cut off
 * starts no tool: its calls may be cut off too. Each call has a fiber of its own, alone or not, so that what a handler
 * forks ends with it. The ledger gets the outcome of each call at once.
 */
export const executeTools = (
  run: Run,
  calls: ReadonlyArray<FunctionCall>,
  isCutOff: boolean,
  nested: OpenTurn["nested"],
  ledger: Ledger
): Effect.Effect<ReadonlyArray<Settled>, unknown> => {
  const { toolConcurrency = "unbounded" } = run.options
  const execute = (some: ReadonlyArray<FunctionCall>, concurrency: number | "unbounded") =>
    Effect.forEach(some, (call) => executeCall(run, call, isCutOff, nested, ledger), { concurrency })
  // With a concurrency of 1 `forEach` forks nothing.
  return toolConcurrency === 1
    ? Effect.map(Effect.forEach(calls, (call) => execute([call], "unbounded")), (settled) => settled.flat())
    : execute(calls, toolConcurrency)
}
