/** The runs of one Layer: each in a fiber of its own, which no request and no subscriber holds. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Agent from "../../Agent.ts"
import type { RunInput } from "../../RunConfig.ts"
import type { RunEvent } from "../../RunEvent.ts"
import * as Runner from "../../Runner.ts"
import type { RunResult } from "../../RunResult.ts"
import * as EventLog from "./eventLog.ts"
import { type Problem, problem, problemOf, Refusal, refuse } from "./problem.ts"

export interface Limits {
  readonly maxRuns: number
  readonly maxRunsPerTenant: number
  readonly maxRetainedRuns: number
  readonly retainFor: Duration.Duration
  readonly drainTimeout: Duration.Duration
  readonly events: EventLog.Limits
}

export type Stopper = "client" | "shutdown"

export interface Run {
  readonly id: string
  readonly agent: string
  readonly tenant: string | undefined
  readonly conversationId: string | undefined
  readonly startedAt: number
  readonly log: EventLog.EventLog
  readonly done: Deferred.Deferred<void>
  readonly fiber: () => Fiber.Fiber<void>
  status: "running" | "completed" | "failed" | "cancelled"
  finishedAt: number | undefined
  result: ReturnType<typeof summaryOf> | undefined
  problem: Problem | undefined
  stopper: Stopper | undefined
}

export interface Order {
  readonly tenant: string | undefined
  readonly name: string
  readonly agent: Agent.Any
  readonly input: RunInput
  readonly conversationId: string | undefined
  readonly stack: Effect.Effect<Context.Context<any>, Refusal, Scope.Scope>
}

/** What of a result is a client's: the conversation has an address of its own, and the rest is the server's affair. */
const summaryOf = (
  { conversationId, incompleteReason, lastAgent, newItems, runId, turns, usage, version }: RunResult<unknown>,
  finalOutput: unknown
) => ({ runId, lastAgent, finalOutput, incompleteReason, newItems, usage, turns, conversationId, version })

type Told = Exclude<RunEvent<unknown>, { readonly _tag: "Completed" | "Nested" }> | {
  readonly _tag: "Completed"
  readonly result: ReturnType<typeof summaryOf>
} | {
  readonly _tag: "Nested"
  readonly path: ReadonlyArray<string>
  readonly event: Told
}

const tell = (event: RunEvent<unknown>): Told => {
  switch (event._tag) {
    case "Completed":
      return { _tag: event._tag, result: summaryOf(event.result, event.result.finalOutput) }
    case "Nested":
      return { _tag: event._tag, path: event.path, event: tell(event.event) }
    default:
      return event
  }
}

/** The agent that answered, which a handoff may have led to. */
const answering = (first: Agent.Any, name: string): Agent.Any | undefined => {
  const seen = new Set([first])
  for (const agent of seen) {
    if (agent.name === name) return agent
    for (const handoff of agent.handoffs()) seen.add(handoff.agent)
  }
  return undefined
}

const finalOutputOf = (first: Agent.Any, result: RunResult<unknown>): Effect.Effect<unknown, Schema.SchemaError> => {
  const schema = answering(first, result.lastAgent)?.output
  return schema === undefined
    ? Effect.succeed(result.finalOutput)
    : Schema.encodeUnknownEffect(Schema.toCodecJson(schema as Schema.Codec<unknown>))(result.finalOutput)
}

const stopping = refuse(503, "stopping", "The server is stopping and takes no new runs. Try again later.", 5)

const stopped: Readonly<Record<Stopper, Problem>> = {
  client: problem(409, "cancelled", "The run was cancelled."),
  shutdown: problem(503, "stopped", "The server stopped before the run was finished.")
}

export const make = Effect.fnUntraced(function*(limits: Limits) {
  const runs = new Map<string, Run>()
  const fibers = yield* FiberSet.make<void>()
  const fork = yield* FiberSet.runtime(fibers)<any>()
  const active = new Map<string | undefined, number>()
  const finished = yield* Queue.unbounded<{ readonly id: string; readonly until: number }>()
  const retained = new Set<string>()
  let running = 0
  let isDraining = false

  const forget = (id: string) => {
    retained.delete(id)
    runs.delete(id)
  }

  // All are kept equally long, so that the first to finish is the first to go.
  yield* Queue.take(finished).pipe(
    Effect.flatMap(({ id, until }) =>
      Effect.gen(function*() {
        const left = until - (yield* Clock.currentTimeMillis)
        if (left > 0) yield* Effect.sleep(left)
        forget(id)
      })
    ),
    Effect.forever,
    Effect.forkScoped
  )

  const finish = Effect.fnUntraced(function*(run: Run) {
    run.finishedAt = yield* Clock.currentTimeMillis
    retained.add(run.id)
    if (retained.size > limits.maxRetainedRuns) forget(retained.values().next().value!)
    yield* Queue.offer(finished, { id: run.id, until: run.finishedAt + Duration.toMillis(limits.retainFor) })
    yield* Deferred.succeed(run.done, undefined)
  })

  const end = (run: Run, status: "completed" | "failed" | "cancelled", event: string, fields: object) => {
    run.status = status
    EventLog.append(run.log, { _tag: event, ...fields }, true)
  }

  const accept = (run: Run, order: Order, event: RunEvent<unknown>): Effect.Effect<void, Schema.SchemaError> => {
    if (event._tag !== "Completed") {
      return Effect.sync(() => EventLog.append(run.log, tell(event)))
    }
    return Effect.map(finalOutputOf(order.agent, event.result), (output) => {
      run.result = summaryOf(event.result, output)
      end(run, "completed", "Completed", { result: run.result })
    })
  }

  const start = (order: Order): Effect.Effect<Run, Refusal> =>
    Effect.suspend(() => {
      const ofTenant = active.get(order.tenant) ?? 0
      if (isDraining) return stopping
      if (running >= limits.maxRuns) {
        return refuse(503, "too-many-runs", "As many runs are going on as this server takes. Try again later.", 1)
      }
      if (order.tenant !== undefined && ofTenant >= limits.maxRunsPerTenant) {
        return refuse(429, "too-many-runs", "As many of your runs are going on as you may have. Try again later.", 1)
      }
      running++
      active.set(order.tenant, ofTenant + 1)
      const started = Deferred.makeUnsafe<Run, Refusal>()
      let run: Run | undefined

      const onEvent = Effect.fnUntraced(function*(event: RunEvent<unknown>) {
        if (event._tag === "RunStarted" && run === undefined) {
          run = {
            id: event.runId,
            agent: order.name,
            tenant: order.tenant,
            conversationId: event.conversationId,
            startedAt: yield* Clock.currentTimeMillis,
            log: EventLog.make(limits.events),
            done: Deferred.makeUnsafe(),
            fiber: () => fiber,
            status: "running",
            finishedAt: undefined,
            result: undefined,
            problem: undefined,
            stopper: undefined
          }
          runs.set(run.id, run)
        }
        yield* accept(run!, order, event)
        if (event._tag === "RunStarted") yield* Deferred.succeed(started, run!)
      })

      const onExit = Effect.fnUntraced(function*(exit: Exit.Exit<void, unknown>) {
        running--
        const left = active.get(order.tenant)! - 1
        if (left === 0) active.delete(order.tenant)
        else active.set(order.tenant, left)

        let told: Problem | undefined
        let isCancelled = false
        if (Exit.isFailure(exit)) {
          isCancelled = Cause.hasInterruptsOnly(exit.cause)
          const error = Cause.findErrorOption(exit.cause)
          told = isCancelled ? stopped[run?.stopper ?? "shutdown"] : problemOf(Option.getOrUndefined(error))
          if (!isCancelled && told.status >= 500) {
            yield* Effect.logError("A run failed", exit.cause).pipe(
              Effect.annotateLogs({ agent: order.name, ...(run === undefined ? {} : { runId: run.id }) })
            )
          }
        }
        if (run === undefined) {
          yield* Deferred.fail(started, new Refusal({ problem: told ?? problemOf(undefined) }))
          return
        }
        if (run.status === "running") {
          run.problem = told ?? problemOf(undefined)
          if (isCancelled) end(run, "cancelled", "Cancelled", { problem: run.problem })
          else end(run, "failed", "Failed", { problem: run.problem })
        }
        yield* finish(run)
      })

      const fiber: Fiber.Fiber<void> = fork(
        order.stack.pipe(
          Effect.flatMap((stack) =>
            Runner.stream(order.agent, order.input, { conversationId: order.conversationId }).pipe(
              Stream.runForEach(onEvent),
              Effect.provideContext(stack)
            )
          ),
          Effect.scoped,
          Effect.onExit(onExit),
          Effect.exit,
          Effect.asVoid
        )
      )
      // Nobody would learn the id of a run whose client left before it was told.
      return Effect.onInterrupt(Deferred.await(started), () => Fiber.interrupt(fiber))
    })

  const cancel = (run: Run, stopper: Stopper): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (run.status !== "running") return Effect.void
      run.stopper ??= stopper
      return Fiber.interrupt(run.fiber())
    })

  const drain = Effect.gen(function*() {
    isDraining = true
    yield* Effect.timeoutOption(FiberSet.awaitEmpty(fibers), limits.drainTimeout)
    for (const run of runs.values()) {
      if (run.status === "running") run.stopper ??= "shutdown"
    }
    yield* FiberSet.clear(fibers)
    yield* FiberSet.awaitEmpty(fibers)
  })

  return {
    start,
    cancel,
    drain,
    refuseIfDraining: Effect.suspend(() => isDraining ? stopping : Effect.void),
    find: (id: string, tenant: string | undefined): Run | undefined => {
      const run = runs.get(id)
      return run !== undefined && run.tenant === tenant ? run : undefined
    },
    counts: () => ({ running, retained: retained.size })
  }
})

export type Runs = Effect.Success<ReturnType<typeof make>>
