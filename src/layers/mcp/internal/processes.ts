// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import type * as childProcess from "node:child_process"
import * as fs from "node:fs"
import { pause } from "./time.ts"

const isWindows = process.platform === "win32"
const maxRounds = 50

const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name)
  } catch {
    // Gone already, or not ours: there is nothing more to be done about it.
  }
}

const read = (file: string): string => {
  try {
    return fs.readFileSync(file, "latin1")
  } catch {
    return ""
  }
}

const isDead = (pid: string): boolean => {
  const stat = read(`/proc/${pid}/stat`)
  return stat === "" || /^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2))
}

/** Asks a child to end, and nobody else: a server may want to end its own children in order. */
export const terminate = (child: childProcess.ChildProcess): void => {
  child.kill("SIGTERM")
}

/** Kills a child and its group, which outlives it while somebody is in it. */
export const killGroup = (child: childProcess.ChildProcess): void => {
  if (child.pid === undefined) return
  if (!isWindows) signal(-child.pid, "SIGKILL")
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL")
}

/**
 * Kills a child and its group and, on Linux, whoever was started with its mark in the environment, until nobody is left: a
 * process that forks may be faster than one look. One that has left the group and given up its environment is not found.
 */
export const killAll = (
  child: childProcess.ChildProcess,
  mark: string,
  hasGone: () => boolean
): Effect.Effect<void> =>
  Effect.gen(function*() {
    killGroup(child)
    for (let round = 0; round < maxRounds; round++) {
      const found = process.platform === "linux"
        ? fs.readdirSync("/proc").filter((name) =>
          /^\d+$/.test(name) && read(`/proc/${name}/environ`).split("\0").includes(mark) && !isDead(name)
        )
        : []
      for (const pid of found) signal(Number(pid), "SIGKILL")
      if (found.length === 0 && hasGone()) return
      yield* pause(2)
    }
  })
