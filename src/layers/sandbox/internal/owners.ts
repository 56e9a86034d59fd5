// @effect-diagnostics nodeBuiltinImport:off
import * as fs from "node:fs"

/** Processes that use a workspace, on record, so that a later one can tell whether they are still there. */

export interface Owner {
  readonly pid: number
  /** When the process started, in ticks since the machine did. A pid is given again, and then with another time. */
  readonly startTime: string
  /** Names the run of the machine. */
  readonly boot: string
  /** In which a pid has its meaning. */
  readonly pidNamespace: string
}

const read = (file: string): string => {
  try {
    return fs.readFileSync(file, "latin1")
  } catch {
    return ""
  }
}

const readLink = (file: string): string => {
  try {
    return fs.readlinkSync(file)
  } catch {
    return ""
  }
}

/** State and start of a process, "" if the process does not exist. Its name may hold anything, parentheses too. */
const startOf = (pid: number): string => {
  const stat = read(`/proc/${pid}/stat`)
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return fields[0] === "Z" || fields[0] === "X" ? "" : fields[19] ?? ""
}

const bootNow = (): string => read("/proc/sys/kernel/random/boot_id").trim()
const pidNamespaceNow = (): string => readLink("/proc/self/ns/pid")

export const describeSelf = (): Owner => ({
  pid: process.pid,
  startTime: startOf(process.pid),
  boot: bootNow(),
  pidNamespace: pidNamespaceNow()
})

const isGone = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ESRCH"
  }
}

/** Whether the process is certainly over. One of another container on the same machine cannot be seen. */
export const isOver = (owner: Owner): boolean => {
  if (owner.boot !== bootNow()) return true
  if (owner.pidNamespace !== pidNamespaceNow()) return false
  return owner.startTime === "" ? isGone(owner.pid) : startOf(owner.pid) !== owner.startTime
}

const fileName = "owner"

export const writeOwner = (directory: string): void =>
  fs.writeFileSync(`${directory}/${fileName}`, Object.values(describeSelf()).join("\n"), { mode: 0o600, flag: "wx" })

/** `undefined` if the record is missing or incomplete. */
export const readOwner = (directory: string): Owner | undefined => {
  const [pid, startTime, boot, pidNamespace] = read(`${directory}/${fileName}`).split("\n")
  return startTime === undefined || boot === undefined || pidNamespace === undefined
    ? undefined
    : { pid: Number(pid), startTime, boot, pidNamespace }
}
