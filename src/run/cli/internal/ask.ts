/** Lines that a person types, or that a pipe brings. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import { failed } from "./failure.ts"
import { Output } from "./output.ts"

/** Asks the person at the terminal; absent where there is none. An end of the input ends the command. */
export const terminalAsk = Effect.gen(function*() {
  const { canPrompt, write } = yield* Output
  const terminal = yield* Terminal.Terminal
  if (!canPrompt) return undefined
  return (question: string) =>
    Effect.andThen(
      write(question),
      Effect.catchTag(terminal.readLine, "QuitError", () => Effect.fail(failed("The input ended before an answer")))
    )
})

/** Reads line by line; `undefined` at the end of the input. */
export const lines = Effect.gen(function*() {
  const stdio = yield* Stdio.Stdio
  const terminal = yield* Terminal.Terminal
  if (yield* stdio.stdinIsTerminal) {
    return Effect.catchTag(terminal.readLine, "QuitError", () => Effect.succeed(undefined))
  }
  const queue = yield* Stream.toQueue(stdio.stdin.pipe(Stream.decodeText(), Stream.splitLines), { capacity: 64 })
  return Queue.take(queue).pipe(
    Effect.catchCause((cause) => Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.succeed(undefined))
  )
})
