/**
 * The trace at the end. TracerConsole prints by Effect's `Console`, which here is the end of the very stream that the
 * text goes through, so that the two never mix and a closed output ends both.
 */
import * as TracerConsole from "agent-layers/layers/tracer/TracerConsole"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

export const withTrace = (colors: boolean) => <E, R>(run: Stream.Stream<string, E, R>): Stream.Stream<string, E, R> =>
  Stream.unwrap(Effect.gen(function*() {
    const console = yield* Console.Console
    const printed: Array<string> = []
    const tree = Stream.suspend(() => Stream.fromIterable(printed.splice(0).map((text) => `\n${text}\n`)))
    return run.pipe(
      Stream.provide(TracerConsole.layer({ colors, maxSpans: 100 })),
      Stream.provideService(Console.Console, { ...console, log: (...texts) => printed.push(texts.join(" ")) }),
      Stream.catchCause((cause) => Stream.concat(tree, Stream.failCause(cause))),
      Stream.concat(tree)
    )
  }))
