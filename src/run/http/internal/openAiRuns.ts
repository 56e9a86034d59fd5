/** Runs for clients of OpenAI: each in a fiber of its own, which its client's leaving interrupts or not. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Session } from "../../../services/Session.ts"
import type { SessionError } from "../../../services/SessionError.ts"
import * as Runner from "../../Runner.ts"
import type { RunResult } from "../../RunResult.ts"
import type { Order } from "./openAiInput.ts"
import * as Shown from "./openAiShown.ts"
import type { Standing } from "./openAiStore.ts"
import type { Frames, Writer } from "./openAiWriter.ts"
import { afterTools, problem, Refusal, refuse } from "./problem.ts"
import { logFailure, reasonOf } from "./reason.ts"
import { type Ending, endingOf, errorOf, noteOutputs, noteTools, type Stopper } from "./run.ts"
import * as Slots from "./slots.ts"
import * as Told from "./told.ts"

export interface Limits extends Slots.Limits {
  readonly timeout: Duration.Duration
  readonly drainTimeout: Duration.Duration
  readonly onDisconnect: "interrupt" | "finish"
  /** How long a stream may wait for its first event, so that what fails at once is answered with its status. */
  readonly holdFor: Duration.Input
}

export interface Job {
  readonly order: Order
  /** Whom its place is counted for. */
  readonly slot: string | undefined
  /** Whose it is. */
  readonly owner: string | undefined
  readonly stack: Effect.Effect<Context.Context<any>, Refusal, Scope.Scope>
  readonly showing: Shown.Showing
  readonly begin: (session: Session["Service"]) => Effect.Effect<Standing, SessionError | Refusal>
  readonly write: (standing: Standing, now: number) => Writer
  /** Keeps what came of it; absent where nothing is kept. */
  readonly keep?:
    | ((
      session: Session["Service"],
      writer: Writer,
      result: RunResult<unknown>
    ) => Effect.Effect<void, SessionError>)
    | undefined
}

export interface Run {
  readonly id: string
  readonly owner: string | undefined
  readonly frames: Queue.Queue<Uint8Array, Cause.Done>
  /** The client has something to hear, or the run is over. */
  readonly begun: Deferred.Deferred<void>
  readonly done: Deferred.Deferred<Readonly<Record<string, unknown>>, Refusal>
  readonly fiber: () => Fiber.Fiber<void>
  writer: Writer | undefined
  /** What is sent after all that waits. */
  tail: Frames
  isHeard: boolean
  isOver: boolean
  refusal: Refusal | undefined
  stopper: Stopper | undefined
  runId: string | undefined
  readonly ranTools: Set<string>
  isStored: boolean
}

/** Frames that wait for a slow client before the run itself waits. */
const capacity = 256

const needsApproval = problem(
  409,
  "approval-required",
  "A person must approve what the agent wants to do, and nobody can be asked over this API. The turn was not made."
)

const late = refuse(504, "timeout", "The agent did not answer within the time that this server gives it.")

const heartbeat = new TextEncoder().encode(":\n\n")

type Filter = NonNullable<NonNullable<Parameters<typeof Runner.stream>[2]>["inputFilter"]>

/** Agents that are called like tools are none of the client's affair. */
const withInstructions = (added: string): Filter => (request, { path }) =>
  Effect.succeed(
    path.length > 0 ? request : {
      input: request.input,
      instructions: request.instructions === undefined ? added : `${request.instructions}\n\n${added}`
    }
  )

export const make = Effect.fnUntraced(function*(limits: Limits) {
  const slots = Slots.make(limits)
  const fibers = yield* FiberSet.make<void>()
  const fork = yield* FiberSet.runtime(fibers)<any>()
  const runs = new Map<string, Run>()

  const send = (run: Run, frames: Frames): Effect.Effect<void> =>
    run.isHeard && frames.length > 0 ? Effect.asVoid(Queue.offerAll(run.frames, frames)) : Effect.void

  const body = Effect.fnUntraced(function*(run: Run, job: Job) {
    const { agent, input: _, instructions, metadata, settings } = job.order
    const session = yield* Session
    const standing = yield* job.begin(session)
    const writer = job.write(standing, yield* Clock.currentTimeMillis)
    run.writer = writer
    yield* send(run, writer.begin())
    const viewer = Shown.make(job.showing)
    const handoffs: Array<string> = []

    const show = Effect.fnUntraced(function*(shown: ReadonlyArray<Shown.Shown>) {
      if (shown.length === 0) return
      const frames = shown.flatMap(writer.write)
      Deferred.doneUnsafe(run.begun, Effect.void)
      yield* send(run, frames)
    })

    const complete = Effect.fnUntraced(function*(result: RunResult<unknown>) {
      const output = yield* Told.finalOutputOf(agent, handoffs, result)
      yield* show(viewer.end(output))
      const { incompleteReason, usage } = result
      const last = writer.complete({ incompleteReason, usage, now: yield* Clock.currentTimeMillis })
      if (job.keep !== undefined && standing.isKept) {
        yield* Effect.catch(job.keep(session, writer, result), (error) => {
          writer.forgo()
          return Effect.logError(`The response of run ${run.runId} could not be stored: ${reasonOf(error)}`)
        })
      }
      run.tail = last()
    })

    const events = Runner.stream(agent, standing.input, {
      conversationId: standing.conversationId,
      settings,
      trace: { metadata },
      inputFilter: instructions === undefined ? undefined : withInstructions(instructions)
    })
    yield* Stream.runForEach(events, (event) => {
      if (event._tag === "RunStarted") run.runId = event.runId
      if (event._tag === "HandedOff") handoffs.push(event.callId)
      if (event._tag === "Committed") run.isStored = true
      noteTools(run.ranTools, event)
      return event._tag === "Completed" ? complete(event.result) : show(viewer.see(event))
    })
  })

  const endOf = Effect.fnUntraced(
    function*(run: Run, agent: string, cause: Cause.Cause<unknown>): Effect.fn.Return<Ending> {
      const { problem, status } = endingOf(cause, run.stopper ?? (slots.isClosed() ? "shutdown" : undefined))
      noteOutputs(run.ranTools, errorOf(cause))
      if (status === "failed") yield* logFailure(Cause.squash(cause), problem, { agent, runId: run.runId })
      const told = problem.code === "approval-required" ? needsApproval : problem
      return { status, problem: run.ranTools.size > 0 ? afterTools(told) : { ...told, isStored: run.isStored } }
    }
  )

  const settle = Effect.fnUntraced(function*(run: Run, agent: string, exit: Exit.Exit<void, unknown>) {
    runs.delete(run.id)
    if (Exit.isFailure(exit)) {
      const { problem, status } = yield* endOf(run, agent, exit.cause)
      run.refusal = new Refusal({ problem })
      run.tail = run.writer?.fail(problem, status) ?? []
      Deferred.doneUnsafe(run.done, run.refusal)
    } else {
      Deferred.doneUnsafe(run.done, Effect.succeed(run.writer!.body()))
    }
    run.isOver = true
    Deferred.doneUnsafe(run.begun, Effect.void)
    Queue.endUnsafe(run.frames)
  })

  const start = (id: string, job: Job): Effect.Effect<Run, Refusal> =>
    Effect.flatMap(Queue.bounded<Uint8Array, Cause.Done>(capacity), (frames) => {
      const refusal = slots.refusal(job.slot)
      if (refusal !== undefined) return refusal
      const run: Run = {
        id,
        owner: job.owner,
        frames,
        begun: Deferred.makeUnsafe(),
        done: Deferred.makeUnsafe(),
        fiber: () => fiber,
        writer: undefined,
        tail: [],
        isHeard: job.order.stream,
        isOver: false,
        refusal: undefined,
        stopper: undefined,
        runId: undefined,
        ranTools: new Set(),
        isStored: false
      }
      slots.count(job.slot, 1)
      runs.set(id, run)
      const fiber = fork(
        Effect.flatMap(job.stack, (services) => Effect.provideContext(body(run, job), services)).pipe(
          Effect.scoped,
          Effect.timeoutOrElse({ duration: limits.timeout, orElse: () => late }),
          Effect.onExit((exit) => {
            slots.count(job.slot, -1)
            return settle(run, job.order.name, exit)
          }),
          Effect.exit,
          Effect.asVoid
        )
      )
      return Effect.succeed(run)
    })

  /** A client that is gone hears nothing; whether the run goes on is the server's choice. */
  const leave = (run: Run): Effect.Effect<void> =>
    Effect.suspend(() => {
      run.isHeard = false
      const silent = Queue.shutdown(run.frames)
      if (run.isOver || limits.onDisconnect === "finish") return Effect.asVoid(silent)
      run.stopper ??= "client"
      return Effect.andThen(silent, Fiber.interrupt(run.fiber()))
    })

  /** Waits until there is something to stream. Fails where the run has failed before that. */
  const begun = (run: Run): Effect.Effect<void, Refusal> =>
    Effect.flatMap(
      Effect.timeoutOption(Deferred.await(run.begun), limits.holdFor),
      () => run.refusal ?? Effect.void
    )

  /** What is written, as it comes, and a comment where nothing comes for as long as `every`. */
  const follow = (run: Run, every: Duration.Duration): Stream.Stream<Uint8Array> =>
    Stream.paginate(undefined, () =>
      Queue.takeAll(run.frames).pipe(
        Effect.timeoutOption(every),
        Effect.map((taken): readonly [Frames, Option.Option<undefined>] => [
          Option.getOrElse(taken, (): Frames => [heartbeat]),
          Option.some(undefined)
        ]),
        Effect.catch(() => Effect.succeed([run.tail, Option.none()] as const))
      ))

  const cancel = (run: Run): Effect.Effect<void> =>
    Effect.suspend(() => {
      run.stopper ??= "client"
      return Fiber.interrupt(run.fiber())
    })

  const drain = Effect.gen(function*() {
    slots.close()
    yield* Effect.timeoutOption(FiberSet.awaitEmpty(fibers), limits.drainTimeout)
    for (const run of runs.values()) run.stopper ??= "shutdown"
    yield* FiberSet.clear(fibers)
    yield* FiberSet.awaitEmpty(fibers)
  })

  return {
    start,
    begun,
    follow,
    leave,
    cancel,
    drain,
    refuseIfDraining: Effect.suspend(() => slots.isClosed() ? Slots.stopping : Effect.void),
    find: (id: string, owner: string | undefined): Run | undefined => {
      const run = runs.get(id)
      return run !== undefined && run.owner === owner ? run : undefined
    },
    running: slots.running
  }
})

export type Runs = Effect.Success<ReturnType<typeof make>>
