/**
 * Runs an agent: asks the model, runs the tools that it asks for, gives it their outputs, and goes on until it gives
 * a final answer. `run` waits for the result; `stream` tells what happens on the way. Both are the same loop.
 *
 * With a `conversationId` the run loads the conversation first and commits each turn when it is complete, so that what
 * is stored is valid at every instant: a failed first model call leaves nothing behind, and a second run on the same
 * conversation gets `VersionConflict` instead of a mixed history. (A session without versions cannot tell: runs on one
 * of its conversations wait for each other within this process, and other processes are not noticed.)
 *
 * Interrupting a run aborts its model request and its tools; a commit that has begun is finished first.
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
import * as internal from "./internal/runner.ts"
import type { RunInput, RunOptions, StreamOptions } from "./RunConfig.ts"
import type { RunError } from "./RunError.ts"
import type { RunEvent } from "./RunEvent.ts"
import type { RunResult } from "./RunResult.ts"

/**
 * Runs an agent to its final answer.
 *
 * Fails with `RunError` where the run is stopped short (its reasons carry the state to go on from), with `ModelError`
 * where the model does not answer, with `SessionError` where the conversation cannot be loaded or committed, and with
 * what the agent's own instructions fail with. Nothing is retried here: wrap the run in
 * `Effect.retry({ while: (error) => … })`, or its model provider in a Layer that retries; an error's `isRetryable` says
 * whether that may help, a `ModelError`'s `reason.isPartial` whether something was already visible.
 *
 * @category running
 * @since 0.1.0
 */
export const run: {
  <Output, E, R>(
    agent: Agent<Output, E, R>,
    input: RunInput,
    options?: RunOptions & { readonly conversationId?: undefined }
  ): Effect.Effect<RunResult<Output>, RunError | ModelError | E, ModelProvider | R>
  <Output, E, R>(
    agent: Agent<Output, E, R>,
    input: RunInput,
    options: RunOptions
  ): Effect.Effect<RunResult<Output>, RunError | ModelError | SessionError | E, ModelProvider | Session | R>
} = internal.run

/**
 * Runs an agent and tells what happens: text as it is written, tools as they start and finish, commits, and at last
 * `Completed` with the result that `run` would give. Exactly one terminal event: `Completed` or the stream's failure.
 *
 * Events wait in a bounded buffer; when it is full the run waits for its consumer. Leaving the stream early interrupts
 * the run.
 *
 * @category running
 * @since 0.1.0
 */
export const stream: {
  <Output, E, R>(
    agent: Agent<Output, E, R>,
    input: RunInput,
    options?: StreamOptions & { readonly conversationId?: undefined }
  ): Stream.Stream<RunEvent<Output>, RunError | ModelError | E, ModelProvider | R>
  <Output, E, R>(
    agent: Agent<Output, E, R>,
    input: RunInput,
    options: StreamOptions
  ): Stream.Stream<RunEvent<Output>, RunError | ModelError | SessionError | E, ModelProvider | Session | R>
} = internal.stream
