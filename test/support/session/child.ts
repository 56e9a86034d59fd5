/** Programs of the tests, run on the sources in a process of their own. */
import { Effect, type Scope } from "effect"
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import { once } from "node:events"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"

export interface Child {
  readonly process: ChildProcessWithoutNullStreams
  /** What it printed so far, by line. */
  readonly lines: ReadonlyArray<string>
  /** Waits for a number of lines in all, or for its end. */
  readonly read: (count: number) => Effect.Effect<ReadonlyArray<string>>
  /** Waits for its end: the exit code or the signal. */
  readonly ended: Effect.Effect<number | NodeJS.Signals | null>
}

/** Runs a program; it is killed when the scope closes. */
export const runProgram = (program: URL, args: ReadonlyArray<string>): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [
        "--conditions=agent-layers:source",
        "--no-warnings",
        fileURLToPath(program),
        ...args
      ], { stdio: ["pipe", "pipe", "pipe"] })
      let errors = ""
      child.stderr.on("data", (text) => errors += String(text))
      // A child that is gone no longer reads.
      child.stdin.on("error", () => undefined)
      const lines: Array<string> = []
      let waiting: Array<() => void> = []
      const wake = () => {
        const all = waiting
        waiting = []
        for (const one of all) one()
      }
      readline.createInterface({ input: child.stdout }).on("line", (line) => {
        lines.push(line)
        wake()
      })
      const state = { isOver: false }
      const over = once(child, "close").then(() => {
        state.isOver = true
        wake()
        if (errors !== "") process.stderr.write(errors)
        return child.signalCode ?? child.exitCode
      })
      return {
        process: child,
        lines,
        read: (count: number) =>
          Effect.promise(async () => {
            while (lines.length < count && !state.isOver) {
              await new Promise<void>((resolve) => waiting.push(resolve))
            }
            return lines
          }),
        ended: Effect.promise(() => over)
      }
    }),
    (child) =>
      Effect.sync(() => {
        if (child.process.exitCode === null && child.process.signalCode === null) child.process.kill("SIGKILL")
      })
  )
