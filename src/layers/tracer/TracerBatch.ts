/**
 * Puts a bounded queue in front of an exporter, so that no run waits for it: what a run does is to add to an array. A
 * batch goes out when it is full, when its first span has waited long enough, at a flush and when the Layer closes.
 *
 * Entries are delivered in order, each at most once. What finds the queue full, what an exporter could not deliver and
 * what was left when closing gave up is dropped and counted (`Tracer.dropped`). Whatever an exporter does, the run,
 * other processors and the exit code of the program stay as they are.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { TraceExporter, TraceProcessor } from "../../services/Tracer.ts"
import * as Tracer from "../../services/Tracer.ts"
import * as batch from "./internal/batch.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends batch.BatchOptions {}

/**
 * A processor that queues for an exporter, until the scope closes: then what is queued is exported, within
 * `flushTimeout`. Acquire what the exporter needs in the same scope before this.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (exporter: TraceExporter, options?: Options) => Effect.Effect<TraceProcessor, never, Scope.Scope> =
  batch.make

/**
 * Registers an exporter behind a queue.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E = never, R = never>(
  exporter: TraceExporter | Effect.Effect<TraceExporter, E, R>,
  options?: Options
): Layer.Layer<never, E, Exclude<R, Scope.Scope>> =>
  Tracer.addProcessor(
    Effect.flatMap(
      Effect.isEffect(exporter) ? exporter : Effect.succeed(exporter),
      (exporter) => batch.make(exporter, options)
    )
  ) as Layer.Layer<never, E, Exclude<R, Scope.Scope>>
