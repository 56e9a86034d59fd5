/** A run in a terminal: shown as it goes on, with a person who is asked for approvals. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { ModelError } from "../../../services/ModelError.ts"
import type { ModelProvider } from "../../../services/ModelProvider.ts"
import type { Session } from "../../../services/Session.ts"
import type { SessionError } from "../../../services/SessionError.ts"
import type * as Agent from "../../Agent.ts"
import * as Approval from "../../Approval.ts"
import type { RunError } from "../../RunError.ts"
import type { RunEvent } from "../../RunEvent.ts"
import * as Runner from "../../Runner.ts"
import type { RunResult } from "../../RunResult.ts"
import type { Failure, OutputClosed } from "./failure.ts"
import { Output } from "./output.ts"
import { render, renderApproval } from "./render.ts"

/** What a run may fail with, apart from what an agent's own effects do. */
export type ConverseError = ModelError | RunError | SessionError

/** What is done about calls that need a person's approval. */
export type Approve = "ask" | "all" | "none"

export interface Options {
  readonly conversationId: string | undefined
  readonly model: string | undefined
  readonly maxTurns: number | undefined
  readonly approve: Approve
  /** Reads a line from a person; absent where there is none. */
  readonly ask: ((question: string) => Effect.Effect<string, Failure | OutputClosed>) | undefined
  readonly isShown: boolean
}

/** What an agent requires and fails with is known when it is built from a module, and not to the compiler. */
type Erased = Agent.Agent<unknown>

const noOne = "--approve none refuses every call that needs an approval"

const decide = Effect.fnUntraced(function*(approval: Approval.Approval, { approve, ask, isShown }: Options) {
  if (approve === "all") return Approval.approve(approval)
  if (approve === "none" || ask === undefined) return Approval.reject(approval, { reason: noOne })
  const { style, write } = yield* Output
  if (!isShown) yield* write(renderApproval(style, approval))
  for (;;) {
    const answer = (yield* ask("  Approve it? [y]es, [n]o, [a]lways in this run: ")).trim().toLowerCase()
    if (answer === "y" || answer === "yes") return Approval.approve(approval)
    if (answer === "a" || answer === "always") return Approval.approve(approval, { always: true })
    if (answer === "n" || answer === "no" || answer === "") {
      return Approval.reject(approval, { reason: "the person at the terminal said no" })
    }
  }
})

type Events = Stream.Stream<RunEvent<unknown>, ConverseError, ModelProvider | Session>

/** Runs an agent to its result, with approvals in between. */
export const converse = Effect.fnUntraced(function*(
  agent: Agent.Any,
  input: string,
  options: Options
): Effect.fn.Return<RunResult<unknown>, ConverseError | Failure | OutputClosed, ModelProvider | Session | Output> {
  const { style, write } = yield* Output
  const erased = agent as Erased
  const how = {
    model: options.model,
    maxTurns: options.maxTurns,
    ...(options.conversationId === undefined ? undefined : { conversationId: options.conversationId })
  }

  let result: RunResult<unknown> | undefined
  const show = (events: Events) =>
    events.pipe(
      Stream.tap((event) =>
        Effect.sync(() => {
          if (event._tag === "Completed") result = event.result
        })
      ),
      render(style),
      Stream.runForEach((text) => options.isShown ? write(text) : Effect.void)
    )

  /** The calls that wait, where somebody or something can decide about them; or nothing, when the run is over. */
  const until = (events: Events) =>
    show(events).pipe(
      Effect.as(undefined),
      Effect.catchReason("RunError", "ApprovalRequired", (reason, error) =>
        options.approve === "ask" && options.ask === undefined ? Effect.fail(error) : Effect.succeed(reason))
    )

  let waiting = yield* until(Runner.stream(erased, input, how) as Events)
  while (waiting !== undefined) {
    const decisions: Array<Approval.Decision> = []
    for (const approval of waiting.approvals) decisions.push(yield* decide(approval, options))
    waiting = yield* until(Runner.resumeStream(erased, waiting.state, decisions, how) as Events)
  }
  return yield* Effect.orDie(Effect.fromOption(Option.fromUndefinedOr(result)))
})
