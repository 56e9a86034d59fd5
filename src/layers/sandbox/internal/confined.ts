// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import type { FileEntry } from "../../../services/Sandbox.ts"
import type { SandboxErrorReason } from "../../../services/SandboxError.ts"
import * as SandboxError from "../../../services/SandboxError.ts"
import { decodeName, encodeName, toBytes, toRaw } from "./fileNames.ts"

/**
 * File operations below a directory that hold while somebody else changes it. Nothing is opened by a path of more than
 * one part: each part is opened relative to the descriptor of the directory above it, a link is read and walked part by
 * part from there, and what is acted on is the descriptor that was looked at.
 *
 * Node has no `openat`, but on Linux `/proc/self/fd/N/name` is the same. Elsewhere (macOS) entries are addressed by
 * path, and a program that swaps links during an operation can lead it astray.
 *
 * The calls are synchronous: a round trip through Node's thread pool costs several times what the call itself does on
 * a local disk. Work of unknown size is a generator that yields what it has done, so that `run` can let others go on.
 *
 * Names are raw (see `fileNames.ts`), because a name need not be UTF-8.
 */

/** Linux's O_PATH, the same number on every architecture that Node runs on; Node does not name it. */
const O_PATH = 0x200000
const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = fs.constants

export const maxDepth = 256
const maxLinks = 40

/** Units of work between two moments at which other fibers may run: a few milliseconds. */
const batch = 256

/** Something in the file system that was looked at. */
export interface Entry {
  readonly stat: fs.Stats
  /** How to address it, or what is below it. */
  readonly at: string
  /** Holds it on Linux. */
  readonly fd: number | undefined
}

/** A directory under which operations stay, until it is closed. */
export interface Root extends Entry {
  readonly isAnchored: boolean
  /** The path that it was opened by. */
  readonly path: string
  /** The user and group that what is made below belongs to. Absent: those of this process. */
  readonly owner: number | undefined
}

export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error ? String(error.code) : undefined

const refusals: Readonly<Record<string, string>> = {
  EACCES: "Permission denied",
  EPERM: "Operation not permitted",
  ENOTDIR: "A part of the path is not a directory",
  EISDIR: "It is a directory",
  ENOTEMPTY: "The directory is not empty",
  EEXIST: "Something else is there already",
  ENAMETOOLONG: "The name is too long",
  ELOOP: "Too many links",
  EROFS: "The file system is read-only",
  EBUSY: "It is in use",
  ETXTBSY: "It is a program that is running",
  EINVAL: "The name is not possible here"
}

const passing = new Set(["EMFILE", "ENFILE", "EAGAIN", "ENOMEM", "EINTR", "EIO"])

/** Whether the directory itself was removed by somebody else. */
export const isGone = (root: Root): boolean => {
  try {
    return root.fd === undefined ? !fs.existsSync(toBytes(root.at)) : fs.fstatSync(root.fd).nlink === 0
  } catch {
    return true
  }
}

/** What an error of a file operation means to the caller. */
export const toReason = (root: Root | undefined, where: string, error: unknown): SandboxErrorReason => {
  if (root !== undefined && isGone(root)) {
    return new SandboxError.FileSystemFailed({
      path: where,
      description: "The workspace was removed by somebody else; create a new one",
      isTransient: false
    })
  }
  if (SandboxError.isSandboxErrorReason(error)) return error
  const code = codeOf(error)
  if (code === "ENOENT") return new SandboxError.NotFound({ path: where })
  const refusal = code === undefined ? undefined : refusals[code]
  if (refusal !== undefined) return new SandboxError.NotPermitted({ path: where, description: refusal })
  return new SandboxError.FileSystemFailed({
    path: where,
    description: error instanceof Error ? error.message : String(error),
    isTransient: code !== undefined && passing.has(code),
    cause: error
  })
}

/** Carries out work that yields its cost, letting others run in between. Interruption ends it at the next yield. */
export const run = <A>(
  root: Root | undefined,
  where: string,
  work: () => Generator<number, A>
): Effect.Effect<A, SandboxErrorReason> =>
  Effect.suspend(() => {
    if (root !== undefined && isGone(root)) return Effect.fail(toReason(root, where, undefined))
    const steps = work()
    const advance = Effect.try({
      try: () => {
        for (let cost = 0; cost < batch;) {
          const step = steps.next()
          if (step.done === true) return step
          cost += step.value
        }
        return undefined
      },
      catch: (error) => toReason(root, where === "" ? "." : where, error)
    })
    const go: Effect.Effect<A, SandboxErrorReason> = Effect.flatMap(
      advance,
      (step) => step === undefined ? Effect.andThen(Effect.yieldNow, go) : Effect.succeed(step.value)
    )
    return Effect.onExit(go, () => Effect.sync(() => steps.return(undefined as A)))
  })

export const close = (entry: Entry | undefined): void => {
  if (entry?.fd !== undefined) fs.closeSync(entry.fd)
}

/** Whether this system can address what is below a descriptor. */
export const canAnchor: boolean = (() => {
  if (process.platform !== "linux") return false
  try {
    const fd = fs.openSync("/proc", O_PATH | O_DIRECTORY)
    try {
      return fs.existsSync(`/proc/self/fd/${fd}/self`)
    } finally {
      fs.closeSync(fd)
    }
  } catch {
    return false
  }
})()

export const openEntry = (isAnchored: boolean, address: string, followLink = false): Entry => {
  if (!isAnchored) {
    const stat = followLink ? fs.statSync(toBytes(address)) : fs.lstatSync(toBytes(address))
    return { stat, at: address, fd: undefined }
  }
  const fd = fs.openSync(toBytes(address), O_PATH | (followLink ? 0 : O_NOFOLLOW))
  try {
    return { stat: fs.fstatSync(fd), at: `/proc/self/fd/${fd}`, fd }
  } catch (error) {
    fs.closeSync(fd)
    throw error
  }
}

/** What is there, without following a link; `undefined` where nothing is. */
export const look = (isAnchored: boolean, directory: Entry, name: string): Entry | undefined => {
  try {
    return openEntry(isAnchored, `${directory.at}/${name}`)
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined
    throw error
  }
}

/** Opens what was looked at, and nothing else. Never waits for the other end of a pipe. */
export const reopen = (entry: Entry, flags: number): number => {
  if (entry.fd !== undefined) return fs.openSync(entry.at, flags | O_NONBLOCK)
  const fd = fs.openSync(toBytes(entry.at), flags | O_NONBLOCK | O_NOFOLLOW)
  const now = fs.fstatSync(fd)
  if (now.ino === entry.stat.ino && now.dev === entry.stat.dev) return fd
  fs.closeSync(fd)
  throw new SandboxError.NotPermitted({ path: encodeName(entry.at), description: "It was replaced meanwhile" })
}

/** Opens a directory, not through a link. */
export const openRoot = (where: string, isAnchored = canAnchor, owner?: number): Root => {
  const entry = openEntry(isAnchored, toRaw(where))
  if (entry.stat.isDirectory()) return { ...entry, isAnchored, path: where, owner }
  close(entry)
  throw new SandboxError.NotPermitted({ path: where, description: "It is not a directory" })
}

export const closeRoot = (root: Root): void => close(root)

export const kindOf = (stat: fs.Stats): FileEntry["kind"] =>
  stat.isFile() ? "file" : stat.isDirectory() ? "directory" : stat.isSymbolicLink() ? "link" : "other"

export const wrongKind = (where: string, kind: FileEntry["kind"], wanted: string) =>
  new SandboxError.NotPermitted({
    path: where,
    description: `It is ${kind === "other" ? "a device, pipe or socket" : `a ${kind}`}, not a ${wanted}`
  })

export interface Resolved {
  /** From the root to the directory that holds the last part; `[root]` for the root itself. */
  readonly directories: ReadonlyArray<Entry>
  /** The names of those directories and the last part: a path without links. */
  readonly names: ReadonlyArray<string>
  /** `undefined` where nothing is there. */
  readonly entry: Entry | undefined
  readonly release: () => void
}

/**
 * Walks a path. Links that stay inside are followed (the last one where `followLast` is set), all others are refused.
 * `visibleAt`: the absolute path that links inside may use for the root.
 */
export const resolve = (root: Root, where: string, visibleAt: string, options: {
  readonly followLast: boolean
  readonly makeDirectories?: boolean
}): Resolved => {
  const directories: Array<Entry> = [root]
  const names: Array<string> = []
  let last: Entry | undefined
  const release = () => {
    close(last)
    last = undefined
    while (directories.length > 1) close(directories.pop())
  }
  const outside = () => new SandboxError.OutsideWorkspace({ path: where })
  let links = 0
  let makes = 0
  try {
    const pending = decodeName(where).split("/").reverse()
    const visible = toRaw(visibleAt)
    while (pending.length > 0) {
      const name = pending.pop()!
      if (name === "" || name === ".") continue
      if (name === "..") {
        if (directories.length === 1) throw outside()
        close(directories.pop())
        names.pop()
        continue
      }
      if (directories.length > maxDepth) {
        throw new SandboxError.LimitExceeded({
          limit: "Directories within each other",
          maximum: maxDepth,
          actual: directories.length
        })
      }
      const directory = directories.at(-1)!
      const isLast = pending.every((part) => part === "" || part === ".")
      const entry = look(root.isAnchored, directory, name)
      if (entry === undefined) {
        if (isLast) return { directories, names: [...names, name], entry: undefined, release }
        if (options.makeDirectories !== true || ++makes > 2 * maxDepth) {
          throw new SandboxError.NotFound({ path: where })
        }
        makeDirectory(root, `${directory.at}/${name}`, 0o777)
        pending.push(name)
        continue
      }
      if (entry.stat.isSymbolicLink() && !(isLast && !options.followLast)) {
        close(entry)
        if (++links > maxLinks) throw new SandboxError.NotPermitted({ path: where, description: "Too many links" })
        const target = readLink(`${directory.at}/${name}`)
        if (target === undefined) {
          pending.push(name)
          continue
        }
        if (target.startsWith("/")) {
          if (target !== visible && !target.startsWith(`${visible}/`)) throw outside()
          while (directories.length > 1) close(directories.pop())
          names.length = 0
          pending.push(...target.slice(visible.length).split("/").reverse())
        } else {
          pending.push(...target.split("/").reverse())
        }
        continue
      }
      if (isLast) {
        last = entry
        names.push(name)
        return { directories, names, entry, release }
      }
      if (!entry.stat.isDirectory()) {
        close(entry)
        throw wrongKind(where, kindOf(entry.stat), "directory")
      }
      directories.push(entry)
      names.push(name)
    }
    return { directories, names, entry: directories.at(-1), release }
  } catch (error) {
    release()
    throw error
  }
}

export const makeDirectory = ({ owner }: Root, address: string, mode: number): void => {
  try {
    fs.mkdirSync(toBytes(address), mode)
    if (owner !== undefined) fs.lchownSync(toBytes(address), owner, owner)
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error
  }
}

/** `undefined` where it is no link (any more). */
const readLink = (address: string): string | undefined => {
  try {
    return fs.readlinkSync(toBytes(address), { encoding: "latin1" })
  } catch (error) {
    const code = codeOf(error)
    if (code === "EINVAL" || code === "ENOENT") return undefined
    throw error
  }
}

export const openDirectory = (entry: Entry): fs.Dir =>
  fs.opendirSync(toBytes(entry.at), { encoding: "latin1" as BufferEncoding })

/** A part of the host's file system that is confined, and where commands see it. */
export interface Area {
  readonly root: Root
  readonly visibleAt: string
}
