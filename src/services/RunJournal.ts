/**
 * A recorded step of a run. The agent loop marks each model call, tool call and commit as a step; by default a step
 * just runs, at no cost. A Layer that records results makes the same loop durable: what was recorded is not run again.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"

/**
 * How a step's result is written down. Results are JSON by Schema, and grow only by optional fields, so that a run
 * can go on after a deploy.
 *
 * @category models
 * @since 0.1.0
 */
export interface StepSchemas<A, E> {
  readonly success: Schema.Codec<A, any>
  readonly error: Schema.Codec<E, any>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface SignalSchemas<Request, Answer> {
  readonly request: Schema.Codec<Request, any>
  readonly answer: Schema.Codec<Answer, any>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface RunJournal {
  /**
   * Runs the effect, or answers with its recorded result. The name is unique in the run and the same each time the run
   * is carried out; code between steps is deterministic. A step may run twice: killed in the middle, it was not
   * recorded. The second argument is asked for only by a journal that records.
   */
  readonly step: <A, E, R>(
    run: { readonly runId: string; readonly name: string },
    schemas: () => StepSchemas<A, E>,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  /**
   * Waits for an answer from outside, a person's decision for instance. `None`: nobody will answer here, and the run ends
   * with its state instead. The request is for whoever answers; both are JSON by Schema.
   */
  readonly signal: <Request, Answer>(
    run: { readonly runId: string; readonly name: string },
    schemas: () => SignalSchemas<Request, Answer>,
    request: Request
  ) => Effect.Effect<Option.Option<Answer>>
}

/**
 * @category references
 * @since 0.1.0
 */
export const RunJournal: Context.Reference<RunJournal> = Context.Reference<RunJournal>(
  "agent-layers/services/RunJournal",
  { defaultValue: () => transient }
)

const transient: RunJournal = {
  step: (_run, _schemas, effect) => identity(effect),
  signal: () => Effect.succeedNone
}

/**
 * Whether a journal records nothing: it is the default.
 *
 * @internal
 */
export const isTransient = (journal: RunJournal): boolean => journal === transient
