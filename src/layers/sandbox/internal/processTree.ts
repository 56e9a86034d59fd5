// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import { pause, type Running } from "./process.ts"

const isLinux = process.platform === "linux"
const maxRounds = 50

const kill = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL")
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

/** State and session of a process; the name before them may hold anything, parentheses too. */
const look = (pid: string): { readonly isZombie: boolean; readonly session: number } | undefined => {
  const stat = read(`/proc/${pid}/stat`)
  if (stat === "") return undefined
  const [state, , , session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return { isZombie: state === "Z" || state === "X", session: Number(session) }
}

/** Whether a process is neither gone nor dead. */
export const isAlive = (pid: number): boolean => {
  const found = look(String(pid))
  return found !== undefined && !found.isZombie
}

/** Processes of a session, and those with the mark in the environment that they were started with. */
const find = (session: number, mark: string): ReadonlyArray<number> =>
  fs.readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false
    const found = look(name)
    if (found === undefined || found.isZombie) return false
    return found.session === session || read(`/proc/${name}/environ`).split("\0").includes(mark)
  }).map(Number)

/** Kills a leader that has not ended yet, and its group. */
export const killGroup = (running: Running): void => {
  kill(-running.pid)
  running.kill()
}

/**
 * Kills a leader, its session and, on Linux, whoever carries the mark, until nobody is left: a process that forks may
 * be faster than one look. One that has left the session and given up its environment is not found.
 */
export const killTree = (running: Running, mark: string): Effect.Effect<void> =>
  Effect.gen(function*() {
    if (!isLinux) return kill(-running.pid)
    if (!running.hasExited()) killGroup(running)
    for (let round = 0; round < maxRounds; round++) {
      const found = find(running.pid, mark)
      if (found.length === 0) return
      for (const pid of found) kill(pid)
      yield* pause(1)
    }
  })
