import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as History from "../../services/History.ts"
import { Ids } from "../../services/Ids.ts"
import * as Tracer from "../../services/Tracer.ts"
import type * as Agent from "../Agent.ts"
import type { RunInput, RunOptions, StreamOptions } from "../RunConfig.ts"
import * as RunError from "../RunError.ts"
import type { RunEvent } from "../RunEvent.ts"
import type { RunResult } from "../RunResult.ts"
import { callModel } from "./callModel.ts"
import { commit, maintain } from "./commit.ts"
import { decide } from "./decide.ts"
import { executeTools } from "./executeTools.ts"
import { conversationOf, prepare, sessionOf } from "./prepare.ts"
import { serialised } from "./serialise.ts"
import type { Emit, Run } from "./state.ts"
import { fail, resultOf, stateOf } from "./state.ts"

/**
 * One turn: a model call, the tools it asks for, a commit. Answers with the final output, boxed, when there is one.
 */
const takeTurn = Effect.fnUntraced(function*(run: Run) {
  const response = yield* callModel(run)
  const before = run.items.length
  const next = yield* decide(run, response)
  const outputs = next._tag === "RunTools"
    ? yield* executeTools(run, next.calls, response.status === "incomplete")
    : []
  if (outputs.length > 0) run.hasUsedTools = true
  const made = History.repair(response.output.concat(outputs))
  for (const item of made) run.items.push(item)
  if (run.items.length > before) yield* commit(run)
  return next._tag === "Finish" ? next : undefined
})

const loop = Effect.fnUntraced(function*(run: Run) {
  while (run.turn < run.maxTurns) {
    run.turn++
    const spent = run.usage
    if (run.emit !== undefined) {
      yield* run.emit([{ _tag: "TurnStarted", turn: run.turn, agent: run.agent.name }])
    }
    const finish = yield* Tracer.withSpan(
      takeTurn(run),
      () => ({ _tag: "Turn" as const, agent: run.agent.name, turn: run.turn }),
      () => run.usage === spent ? {} : { usage: run.responses[run.responses.length - 1]!.usage }
    )
    if (finish !== undefined) {
      yield* maintain(run)
      return resultOf(run, finish.finalOutput)
    }
  }
  return yield* fail(
    run,
    new RunError.MaxTurnsExceeded({
      maxTurns: run.maxTurns,
      state: stateOf(run, run.turn)
    })
  )
})

const nested = (conversationId: string) =>
  new RunError.InvalidOptions({
    description: `conversationId is "${conversationId}", which a run is busy with that this one is inside of: ` +
      "give the inner run a conversation of its own"
  })

const start = Effect.fnUntraced(function*(
  agent: Agent.Any,
  input: RunInput,
  options: RunOptions,
  emit: Emit | undefined
) {
  const ids = yield* Ids
  const id = yield* ids.next("run")
  const conversationId = yield* conversationOf(options)
  const session = yield* sessionOf(conversationId)
  let run: Run | undefined
  const whole = Effect.gen(function*() {
    if (emit !== undefined) {
      yield* emit([{ _tag: "RunStarted", runId: id, agent: agent.name, conversationId }])
    }
    run = yield* prepare(agent, input, options, id, conversationId, session, emit)
    return yield* loop(run)
  })
  const inTurn = session === undefined || conversationId === undefined
    ? whole
    : serialised(
      whole,
      session,
      conversationId,
      Effect.suspend(() =>
        Effect.fail(new RunError.RunError({ agent: agent.name, runId: id, reason: nested(conversationId) }))
      )
    )
  return yield* Tracer.withSpan(
    inTurn,
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

/** @internal */
export const run = (
  agent: Agent.Any,
  input: RunInput,
  options: RunOptions = {}
): Effect.Effect<RunResult<any>, any, any> => start(agent, input, options, undefined)

/** @internal */
export const stream = (
  agent: Agent.Any,
  input: RunInput,
  options: StreamOptions = {}
): Stream.Stream<RunEvent<any>, any, any> =>
  Stream.unwrap(Effect.gen(function*() {
    const { bufferSize = 1024 } = options
    const queue = yield* Queue.bounded<RunEvent<any>, any | Cause.Done>(bufferSize >= 1 ? bufferSize : 1)
    const emit: Emit = (events) => Effect.asVoid(Queue.offerAll(queue, events))
    yield* start(agent, input, options, emit).pipe(
      Effect.flatMap((result) => emit([{ _tag: "Completed", result }])),
      Effect.onExit((exit) => Exit.isSuccess(exit) ? Queue.end(queue) : Queue.failCause(queue, exit.cause)),
      Effect.exit,
      Effect.forkScoped
    )
    return Stream.fromQueue(queue)
  }))
