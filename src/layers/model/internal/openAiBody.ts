/**
 * The body of a streamed response, read into events: what arrives together is one chunk.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import { type ModelErrorReason, Transport } from "../../../services/ModelError.ts"
import type { ModelEvent } from "../../../services/ModelProvider.ts"
import type { StreamReader } from "./openAiStream.ts"

/** Tells whether a wait for the next piece has lasted too long. */
export interface Idle {
  readonly begin: () => void
  readonly end: () => void
  readonly isOver: () => boolean
}

/**
 * Calls `onIdle` once a wait has lasted as long as `timeout`. One fiber watches a whole stream: a timer for each read
 * would cost several times what the read costs.
 */
export const watchIdle = Effect.fnUntraced(function*(timeout: Duration.Duration, onIdle: () => void) {
  const clock = yield* Clock.Clock
  const limit = Duration.toMillis(timeout)
  let since: number | undefined
  let isOver = false
  const watch = Effect.gen(function*() {
    let left = limit
    while (left > 0) {
      yield* Effect.sleep(left)
      left = since === undefined ? limit : limit - (clock.currentTimeMillisUnsafe() - since)
    }
    isOver = true
    onIdle()
  })
  if (Number.isFinite(limit)) yield* Effect.forkScoped(watch)
  return {
    begin: () => {
      since = clock.currentTimeMillisUnsafe()
    },
    end: () => {
      since = undefined
    },
    isOver: () => isOver
  }
})

type Piece = ReadableStreamReadResult<Uint8Array>

/** Reads what the server sends after the last event, so that the connection can be used again. */
const drain = (read: Effect.Effect<Piece, ModelErrorReason>): Effect.Effect<void> =>
  read.pipe(
    Effect.repeat({ until: (piece) => piece.done }),
    Effect.timeout("1 second"),
    Effect.ignore
  )

export const readBody = (
  body: ReadableStream<Uint8Array>,
  reader: StreamReader,
  options: {
    readonly idle: Idle
    /** Why the body was cut. */
    readonly interrupted: (cause: unknown) => ModelErrorReason
  }
): Stream.Stream<ModelEvent, ModelErrorReason> =>
  Stream.fromPull(Effect.sync(() => {
    const { idle, interrupted } = options
    // A body that was read as a whole before has nothing left.
    const source = body.locked || reader.isOver ? undefined : body.getReader()
    const text = new TextDecoder()

    const read: Effect.Effect<Piece, ModelErrorReason> = source === undefined
      ? Effect.succeed({ done: true, value: undefined })
      : Effect.callback((resume) => {
        idle.begin()
        source.read().then(
          (piece) => {
            idle.end()
            resume(Effect.succeed(piece))
          },
          (cause) => resume(Effect.suspend(() => Effect.fail(interrupted(cause))))
        )
      })

    const onPiece = (piece: Piece): void => {
      if (!piece.done) return reader.feed(text.decode(piece.value, { stream: true }))
      reader.feed(text.decode())
      reader.end()
      if (reader.isOver) return
      reader.failure = new Transport({
        description: "the stream ended before its last event",
        isPartial: reader.isVisible || reader.events.length > 0
      })
    }

    const pull: Pull.Pull<Arr.NonEmptyReadonlyArray<ModelEvent>, ModelErrorReason> = Effect.suspend(() => {
      const { events } = reader
      if (Arr.isArrayNonEmpty(events)) {
        reader.events = []
        return Effect.succeed(events)
      }
      if (reader.failure !== undefined) return Effect.fail(reader.failure)
      if (reader.isOver) return Effect.andThen(drain(read), Cause.done())
      return Effect.flatMap(read, (piece) => {
        onPiece(piece)
        return pull
      })
    })
    return pull
  }))
