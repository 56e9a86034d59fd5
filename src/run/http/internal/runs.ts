/** The runs of one Layer: each in a fiber that no request and no subscriber holds, and in none while it waits. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Decision } from "../../Approval.ts"
import { misfit } from "../../internal/approve.ts"
import type { RunEvent } from "../../RunEvent.ts"
import * as Runner from "../../Runner.ts"
import * as EventLog from "./eventLog.ts"
import * as Expiring from "./expiring.ts"
import { type Problem, Refusal, refuse } from "./problem.ts"
import { logFailure } from "./reason.ts"
import type { Ending, Order, Owner, Run, Stopper } from "./run.ts"
import { askedBy, endingOf, errorOf, expired, isUntouched, noteOutputs, noteTools, stopped } from "./run.ts"
import * as Shares from "./shares.ts"
import * as Slots from "./slots.ts"
import * as Told from "./told.ts"

export interface Limits extends Slots.Limits {
  readonly maxWaitingRuns: number
  readonly maxWaitingRunsPerTenant: number | undefined
  readonly waitFor: Duration.Duration
  readonly maxRetainedRuns: number
  readonly maxRetainedRunsPerTenant: number | undefined
  readonly retainFor: Duration.Duration
  readonly drainTimeout: Duration.Duration
  readonly events: EventLog.Limits
}

const tooManyWaiting = {
  all: refuse(
    503,
    "too-many-waiting",
    "The run needs a person's approval, and as many runs as this server keeps wait for one. Try again later."
  ),
  share: refuse(
    429,
    "too-many-waiting",
    "The run needs a person's approval, and as many of your runs as may wait for one. Decide about those first."
  )
}

export const make = Effect.fnUntraced(function*(limits: Limits) {
  const runs = new Map<string, Run>()
  const fibers = yield* FiberSet.make<void>()
  const fork = yield* FiberSet.runtime(fibers)<any>()
  const slots = Slots.make(limits)

  const logRefusal = ({ id, name }: Run, problem: Problem) =>
    logFailure(new Refusal({ problem }), problem, { agent: name, runId: id })

  const forget = (run: Run): void => {
    keeping.count(run.tenant, -1)
    runs.delete(run.id)
  }
  const keeping = Shares.make(limits.maxRetainedRuns, limits.maxRetainedRunsPerTenant)
  const retained = yield* Expiring.make<Run>(limits.retainFor, (run) => Effect.sync(() => forget(run)))
  const asking = Shares.make(limits.maxWaitingRuns, limits.maxWaitingRunsPerTenant)
  const waiting = yield* Expiring.make<Run>(limits.waitFor, (run, now) => {
    asking.count(run.tenant, -1)
    stop(run, expired, now)
    return logRefusal(run, expired.problem)
  })

  const wake = (run: Run): void => {
    waiting.delete(run)
    asking.count(run.tenant, -1)
  }

  /** The oldest run of the tenant that has too many, or else of those that have most. */
  const makeRoom = ({ tenant }: Run): void => {
    const { maxRetainedRunsPerTenant: perTenant } = limits
    const isAbove = tenant !== undefined && perTenant !== undefined && keeping.of(tenant) > perTenant
    if (!isAbove && keeping.size() <= limits.maxRetainedRuns) return
    const most = keeping.largest()
    const oldest = retained.members().find((run) => isAbove ? run.tenant === tenant : keeping.of(run.tenant) === most)
    if (oldest === undefined) return
    retained.delete(oldest)
    forget(oldest)
  }

  const retire = (run: Run, now: number): void => {
    run.finishedAt = now
    run.suspended = undefined
    retained.add(run, now)
    keeping.count(run.tenant, 1)
    makeRoom(run)
    Deferred.doneUnsafe(run.rested, Effect.void)
  }

  const stop = (run: Run, { problem, status }: Ending, now: number): void => {
    run.status = status
    run.problem = problem
    EventLog.append(run.log, { _tag: status === "failed" ? "Failed" : "Cancelled", problem }, true)
    retire(run, now)
  }

  const stopperOf = (run: Run): Stopper | undefined => run.stopper ?? (slots.isClosed() ? "shutdown" : undefined)

  const wait = (run: Run, now: number): void => {
    run.status = "waiting"
    waiting.add(run, now)
    asking.count(run.tenant, 1)
    Deferred.doneUnsafe(run.rested, Effect.void)
  }

  const noRoomToWait = (tenant: string | undefined): Refusal | undefined => {
    const lack = asking.lack(tenant)
    return lack === undefined ? undefined : tooManyWaiting[lack]
  }

  const accept = (run: Run, event: RunEvent<unknown>): Effect.Effect<void, Schema.SchemaError> => {
    if (event._tag === "HandedOff") run.handoffs.push(event.callId)
    noteTools(run.ranTools, event)
    if (event._tag !== "Completed") return Effect.sync(() => EventLog.append(run.log, Told.tell(event)))
    return Effect.map(Told.finalOutputOf(run.agent, run.handoffs, event.result), (output) => {
      run.result = Told.summaryOf(event.result, output)
      run.status = "completed"
      EventLog.append(run.log, { _tag: "Completed", result: run.result }, true)
    })
  }

  const endOf = Effect.fnUntraced(function*(cause: Cause.Cause<unknown>, agent: string, run: Run | undefined) {
    const ending = endingOf(cause, run?.stopper)
    if (run !== undefined) noteOutputs(run.ranTools, errorOf(cause))
    if (ending.status === "failed") yield* logFailure(Cause.squash(cause), ending.problem, { agent, runId: run?.id })
    return ending
  })

  /** What the end of its fiber means for a run: its end, unless it waits for decisions. */
  const settle = Effect.fnUntraced(function*(run: Run, cause: Cause.Cause<unknown>) {
    const now = yield* Clock.currentTimeMillis
    if (run.status === "completed") return retire(run, now)
    const asked = askedBy(run, errorOf(cause))
    if (asked === undefined) return stop(run, yield* endOf(cause, run.name, run), now)
    const stopper = stopperOf(run)
    if (stopper !== undefined) return stop(run, { status: "cancelled", problem: stopped[stopper] }, now)
    const refusal = noRoomToWait(run.tenant)
    if (refusal !== undefined) {
      yield* logRefusal(run, refusal.problem)
      return stop(run, { status: "failed", problem: refusal.problem }, now)
    }
    run.suspended = asked
    EventLog.append(run.log, { _tag: "Waiting", approvals: asked.approvals })
    wait(run, now)
  })

  /** A run, or what is left of it, in a fiber of its own that holds its tenant's services. */
  const drive = (
    { stack, tenant }: Owner,
    events: Stream.Stream<RunEvent<any>, unknown, any>,
    onEvent: (event: RunEvent<unknown>) => Effect.Effect<void, Schema.SchemaError>,
    onEnd: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
  ): Fiber.Fiber<void> => {
    slots.count(tenant, 1)
    return fork(
      Effect.flatMap(stack, (services) => Effect.provideContext(Stream.runForEach(events, onEvent), services)).pipe(
        Effect.scoped,
        Effect.onExit((exit) => {
          slots.count(tenant, -1)
          return onEnd(Exit.isFailure(exit) ? exit.cause : Cause.empty)
        }),
        Effect.exit,
        Effect.asVoid
      )
    )
  }

  const start = (order: Order): Effect.Effect<Run, Refusal> =>
    Effect.suspend(() => {
      const refusal = slots.refusal(order.tenant)
      if (refusal !== undefined) return refusal
      const { agent, conversationId, input, name, stack, tenant } = order
      const started = Deferred.makeUnsafe<Run, Refusal>()
      let run: Run | undefined

      const onEvent = Effect.fnUntraced(function*(event: RunEvent<unknown>) {
        if (event._tag === "RunStarted" && run === undefined) {
          run = {
            id: event.runId,
            name,
            agent,
            tenant,
            stack,
            conversationId: event.conversationId,
            startedAt: yield* Clock.currentTimeMillis,
            log: EventLog.make(limits.events),
            handoffs: [],
            status: "running",
            suspended: undefined,
            rested: Deferred.makeUnsafe(),
            fiber: () => fiber,
            finishedAt: undefined,
            result: undefined,
            problem: undefined,
            stopper: undefined,
            ranTools: new Set()
          }
          runs.set(run.id, run)
        }
        yield* accept(run!, event)
        if (event._tag === "RunStarted") yield* Deferred.succeed(started, run!)
      })

      const onEnd = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
        run === undefined
          ? Effect.flatMap(endOf(cause, name, run), ({ problem }) => Deferred.fail(started, new Refusal({ problem })))
          : settle(run, cause)

      const fiber = drive(order, Runner.stream(agent, input, { conversationId }), onEvent, onEnd)
      // Nobody would learn the id of a run whose client left before it was told.
      return Effect.onInterrupt(Deferred.await(started), () => Fiber.interrupt(fiber))
    })

  /** Answers when the run goes on. Decisions that were not taken leave it as it was, unless it cannot go on at all. */
  const decide = (run: Run, decisions: ReadonlyArray<Decision>): Effect.Effect<void, Refusal> =>
    Effect.suspend(() => {
      const { suspended } = run
      if (run.status !== "waiting" || suspended === undefined) {
        return refuse(409, "not-waiting", "The run does not wait for decisions.")
      }
      const { state } = suspended
      const wrong = misfit(state, decisions)
      if (wrong !== undefined) return refuse(409, "state-mismatch", `${wrong}.`)
      const refusal = slots.refusal(run.tenant)
      if (refusal !== undefined) return refusal
      wake(run)
      run.status = "running"
      run.rested = Deferred.makeUnsafe()
      const taken = Deferred.makeUnsafe<void, Refusal>()

      const onEvent = (event: RunEvent<unknown>): Effect.Effect<void, Schema.SchemaError> => {
        // It comes before the state is taken up, and was told when the run began.
        if (event._tag === "RunStarted") return Effect.void
        if (run.suspended !== undefined) {
          run.suspended = undefined
          EventLog.append(run.log, { _tag: "Decided", decisions })
          Deferred.doneUnsafe(taken, Effect.void)
        }
        return accept(run, event)
      }

      const onEnd = Effect.fnUntraced(function*(cause: Cause.Cause<unknown>) {
        if (run.suspended === undefined) return yield* settle(run, cause)
        if (stopperOf(run) !== undefined || !isUntouched(errorOf(cause))) yield* settle(run, cause)
        else wait(run, yield* Clock.currentTimeMillis)
        yield* Deferred.fail(taken, new Refusal({ problem: run.problem ?? endingOf(cause, run.stopper).problem }))
      })

      const events = Runner.resumeStream(run.agent, state, decisions, { conversationId: state.conversationId })
      const fiber = drive(run, events, onEvent, onEnd)
      run.fiber = () => fiber
      return Deferred.await(taken)
    })

  const cancel = (run: Run, stopper: Stopper): Effect.Effect<void> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (run.status === "waiting") {
        wake(run)
        stop(run, { status: "cancelled", problem: stopped[stopper] }, now)
      }
      if (run.status !== "running") return Deferred.await(run.rested)
      run.stopper ??= stopper
      return Fiber.interrupt(run.fiber())
    })

  const drain = Effect.gen(function*() {
    slots.close()
    // Their states are nowhere else, and decisions are not taken any more.
    for (const run of waiting.members()) yield* cancel(run, "shutdown")
    yield* Effect.timeoutOption(FiberSet.awaitEmpty(fibers), limits.drainTimeout)
    for (const run of runs.values()) {
      if (run.status === "running") run.stopper ??= "shutdown"
    }
    yield* FiberSet.clear(fibers)
    yield* FiberSet.awaitEmpty(fibers)
  })

  return {
    start,
    decide,
    cancel,
    drain,
    refuseIfDraining: Effect.suspend(() => slots.isClosed() ? Slots.stopping : Effect.void),
    find: (id: string, tenant: string | undefined): Run | undefined => {
      const run = runs.get(id)
      return run !== undefined && run.tenant === tenant ? run : undefined
    },
    counts: () => ({ running: slots.running(), waiting: waiting.size(), retained: retained.size() })
  }
})

export type Runs = Effect.Success<ReturnType<typeof make>>
