import type { SandboxState } from "agent-layers/services/Sandbox"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

const program = fileURLToPath(new URL("left.host.ts", import.meta.url))

/** A process with two workspaces. */
export interface Host {
  readonly left: SandboxState
  readonly kept: SandboxState
  /** Kills the process and waits for its end. */
  readonly kill: Effect.Effect<void>
}

/** Starts such a process; the caller kills it. */
export const start = (backend: string, root: string): Effect.Effect<Host, never, never> =>
  Effect.callback((resume) => {
    const child = spawn(
      process.execPath,
      ["--conditions=agent-layers:source", "--no-warnings", program, backend, root],
      { stdio: ["ignore", "pipe", "inherit"] }
    )
    child.stdout.once("data", (chunk: Buffer) => {
      const [left, kept] = JSON.parse(chunk.toString()) as [SandboxState, SandboxState]
      const kill = Effect.callback<void>((done) => {
        if (child.exitCode !== null || child.signalCode !== null) return done(Effect.void)
        child.once("close", () => done(Effect.void))
        child.kill("SIGKILL")
      })
      resume(Effect.succeed({ left, kept, kill }))
    })
    child.once("exit", (code) => resume(Effect.die(new Error(`The process ended with ${code}`))))
  })
