// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as SandboxError from "../../../services/SandboxError.ts"

/** Both ends of a pipe, as descriptors of this process. */
export interface Pipe {
  readonly read: number
  readonly write: number
}

export interface Pipes {
  /** The caller closes both ends. */
  readonly take: Effect.Effect<Pipe, SandboxError.ExecFailed>
}

const atOnce = 16

/**
 * Pipes for the output of commands. What Node calls a pipe is a socket, and a socket cannot be opened by name: in a
 * command, `echo oops > /dev/stderr` would fail. So the pipes are fifos, made several at a time in a directory that only
 * this process uses, and without a name as soon as both ends are open. They belong to `owner`, who may open them again.
 */
export const make = (directory: string, owner: number | undefined): Pipes => {
  const free: Array<string> = []
  let made = 0

  const makeMore = Effect.callback<void, SandboxError.ExecFailed>((resume) => {
    const names = Array.from({ length: atOnce }, () => path.join(directory, `pipe-${made++}`))
    const child = childProcess.execFile(
      "mkfifo",
      ["-m", "600", "--", ...names],
      { env: { PATH: "/usr/local/bin:/usr/bin:/bin" } },
      (error, _stdout, stderr) => {
        if (error === null) {
          free.push(...names)
          resume(Effect.void)
        } else {
          resume(Effect.fail(
            new SandboxError.ExecFailed({
              description: `The pipes of a command could not be made with mkfifo: ${stderr.trim() || error.message}`,
              cause: error
            })
          ))
        }
      }
    )
    return Effect.sync(() => {
      child.kill("SIGKILL")
    })
  })

  const open = Effect.try({
    try: (): Pipe => {
      const name = free.pop()!
      const read = fs.openSync(name, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
      try {
        if (owner !== undefined) fs.fchownSync(read, owner, owner)
        return { read, write: fs.openSync(name, fs.constants.O_WRONLY) }
      } catch (error) {
        fs.closeSync(read)
        throw error
      } finally {
        fs.unlinkSync(name)
      }
    },
    catch: (cause) => new SandboxError.ExecFailed({ description: "The pipes of a command could not be opened", cause })
  })

  const take: Pipes["take"] = Effect.suspend(() => free.length > 0 ? open : Effect.andThen(makeMore, take))
  return { take }
}
