/**
 * Runs an agent: asks the model, runs the tools that it asks for, gives it their outputs, and goes on until it gives
 * a final answer. `run` waits for the result; `stream` tells what happens on the way. Both are the same loop.
 *
 * With a `conversationId` the run loads the conversation first and commits each turn when it is complete, so that what
 * is stored is valid at every instant: a failed first model call leaves nothing behind, and a second run on the same
 * conversation gets `VersionConflict` instead of a mixed history. (A session without versions cannot tell: runs on one
 * of its conversations wait for each other within this process, and other processes are not noticed.)
 *
 * A turn that stops after a tool has started is kept as its calls with an output each, so that no later run makes the calls
 * again: `RunError` says how.
 *
 * Interrupting a run aborts its model request and its tools; a commit that has begun is finished first. Calls that had
 * started are then stored with an output that says so, unless a recording `RunJournal` carries the run out again later.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { ModelError } from "../services/ModelError.ts"
import type { ModelProvider } from "../services/ModelProvider.ts"
import type { Session } from "../services/Session.ts"
import type { SessionError } from "../services/SessionError.ts"
import type { Agent } from "./Agent.ts"
import type { Decision } from "./Approval.ts"
import * as internal from "./internal/runner.ts"
import type { ResumeOptions, RunInput, RunOptions, StreamOptions } from "./RunConfig.ts"
import type { RunError } from "./RunError.ts"
import type { RunEvent } from "./RunEvent.ts"
import type { RunResult } from "./RunResult.ts"
import type { RunState } from "./RunState.ts"

/**
 * Runs an agent to its final answer.
 *
 * Fails with `RunError` where the run is stopped short (its reasons carry the state to go on from), with `ModelError`
 * where the model does not answer, with `SessionError` where the conversation cannot be loaded or committed, and with
 * what the agent's own effects and those of the options fail with. Nothing is retried here: wrap the run in
 * `Effect.retry({ while: (error) => … })`, or its model provider in a Layer that retries; an error's `isRetryable` says
 * whether that may help, a `ModelError`'s `reason.isPartial` whether something was already visible.
 *
 * @category running
 * @since 0.1.0
 */
export const run: {
  <Output, E, R, EO = never, RO = never>(
    agent: Agent<Output, E, R>,
    input: RunInput,
    options?: RunOptions<EO, RO> & { readonly conversationId?: undefined }
  ): Effect.Effect<RunResult<Output>, RunError | ModelError | E | EO, ModelProvider | R | RO>
  <Output, E, R, EO = never, RO = never>(
    agent: Agent<Output, E, R>,
    input: RunInput,
    options: RunOptions<EO, RO>
  ): Effect.Effect<RunResult<Output>, RunError | ModelError | SessionError | E | EO, ModelProvider | Session | R | RO>
} = internal.run

/**
 * Runs an agent and tells what happens: text as it is written, tools as they start and finish, commits, and at last
 * `Completed` with the result that `run` would give. Exactly one terminal event: `Completed` or the stream's failure.
 *
 * Events wait in a bounded buffer; when it is full the run waits for its consumer. Leaving the stream early interrupts
 * the run, unless `onDisconnect` is `"finish"`.
 *
 * @category running
 * @since 0.1.0
 */
export const stream: {
  <Output, E, R, EO = never, RO = never>(
    agent: Agent<Output, E, R>,
    input: RunInput,
    options?: StreamOptions<EO, RO> & { readonly conversationId?: undefined }
  ): Stream.Stream<RunEvent<Output>, RunError | ModelError | E | EO, ModelProvider | R | RO>
  <Output, E, R, EO = never, RO = never>(
    agent: Agent<Output, E, R>,
    input: RunInput,
    options: StreamOptions<EO, RO>
  ): Stream.Stream<RunEvent<Output>, RunError | ModelError | SessionError | E | EO, ModelProvider | Session | R | RO>
} = internal.stream

/**
 * Goes on with a run that was stopped short, from the state in its error: after decisions about calls that wait for
 * approval, after `Stopped`, or after another `RunError` with a state. (After a `ModelError` or a crash the session has
 * every finished turn: `Runner.run(agent, [], { conversationId })`.) Calls without a decision stop it again. The run keeps
 * its id and its turns; options are given anew. If the turn that stopped was kept and the model makes the same calls in its
 * next answer, they get the outputs that are there, and do not run again.
 *
 * Where a Session with versions keeps the conversation, a state with calls that wait is taken up once: a second resume
 * gets `ConversationMoved` before any tool runs, in this process or another (`ConversationBusy` while the first still
 * runs in this process). A process that is killed after it took a state up leaves it taken: whether the approved tools
 * have run is then not known, and they are not run again.
 *
 * @category running
 * @since 0.1.0
 */
export const resume: {
  <Output, E, R, EO = never, RO = never>(
    agent: Agent<Output, E, R>,
    state: RunState,
    decisions?: ReadonlyArray<Decision>,
    options?: ResumeOptions<EO, RO> & { readonly conversationId?: undefined }
  ): Effect.Effect<RunResult<Output>, RunError | ModelError | E | EO, ModelProvider | R | RO>
  <Output, E, R, EO = never, RO = never>(
    agent: Agent<Output, E, R>,
    state: RunState,
    decisions: ReadonlyArray<Decision>,
    options: ResumeOptions<EO, RO>
  ): Effect.Effect<RunResult<Output>, RunError | ModelError | SessionError | E | EO, ModelProvider | Session | R | RO>
} = internal.resume

/**
 * `resume` as a stream. See `stream`.
 *
 * @category running
 * @since 0.1.0
 */
export const resumeStream: {
  <Output, E, R, EO = never, RO = never>(
    agent: Agent<Output, E, R>,
    state: RunState,
    decisions?: ReadonlyArray<Decision>,
    options?: ResumeOptions<EO, RO> & { readonly conversationId?: undefined }
  ): Stream.Stream<RunEvent<Output>, RunError | ModelError | E | EO, ModelProvider | R | RO>
  <Output, E, R, EO = never, RO = never>(
    agent: Agent<Output, E, R>,
    state: RunState,
    decisions: ReadonlyArray<Decision>,
    options: ResumeOptions<EO, RO>
  ): Stream.Stream<RunEvent<Output>, RunError | ModelError | SessionError | E | EO, ModelProvider | Session | R | RO>
} = internal.resumeStream
