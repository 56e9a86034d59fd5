// @effect-diagnostics nodeBuiltinImport:off
import * as fs from "node:fs"
import * as path from "node:path"
import type { CopiedDirectory, FileEntry } from "../../../services/Sandbox.ts"
import * as SandboxError from "../../../services/SandboxError.ts"
import type { Area, Entry, Resolved, Root } from "./confined.ts"
import {
  close,
  codeOf,
  kindOf,
  look,
  makeDirectory,
  maxDepth,
  openDirectory,
  openEntry,
  reopen,
  resolve,
  wrongKind
} from "./confined.ts"
import { encodeName, toBytes, toRaw } from "./fileNames.ts"
import { matcher } from "./matcher.ts"

/** The operations of a session on the files of an `Area`, in steps that yield their cost (see `run`). */

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_TRUNC, O_WRONLY } = fs.constants

const chunkSize = 1024 * 1024
const chunkCost = 64

/** The directory's raw path without links, and how to address it until it is released. */
export const openDirectoryAt = (
  { root, visibleAt }: Area,
  where: string
): { readonly path: string; readonly address: string; readonly release: () => void } => {
  const resolved = resolve(root, where, visibleAt, { followLast: true })
  const { entry, names, release } = resolved
  if (entry?.stat.isDirectory() === true) {
    return { path: names.join("/"), address: toBytes(entry.at).toString("utf8"), release }
  }
  release()
  throw entry === undefined
    ? new SandboxError.NotFound({ path: where })
    : wrongKind(where, kindOf(entry.stat), "directory")
}

export function* readFile({ root, visibleAt }: Area, where: string, maxBytes: number): Generator<number, Uint8Array> {
  const { entry, release } = resolve(root, where, visibleAt, { followLast: true })
  try {
    if (entry === undefined) throw new SandboxError.NotFound({ path: where })
    if (!entry.stat.isFile()) throw wrongKind(where, kindOf(entry.stat), "file")
    const tooLong = (actual: number) =>
      new SandboxError.LimitExceeded({ limit: `Bytes of "${where}"`, maximum: maxBytes, actual })
    if (entry.stat.size > maxBytes) throw tooLong(entry.stat.size)
    const fd = reopen(entry, O_RDONLY)
    try {
      // A file may grow while it is read, so its size only says how much to reserve.
      let bytes = Buffer.allocUnsafe(entry.stat.size + 1)
      let length = 0
      for (;;) {
        const read = fs.readSync(fd, bytes, length, Math.min(bytes.length - length, chunkSize), null)
        if (read === 0) return new Uint8Array(bytes.buffer, bytes.byteOffset, length)
        length += read
        if (length > maxBytes) throw tooLong(length)
        if (length === bytes.length) bytes = Buffer.concat([bytes], 2 * length)
        yield chunkCost
      }
    } finally {
      fs.closeSync(fd)
    }
  } finally {
    release()
  }
}

function* writeAll(fd: number, content: Uint8Array): Generator<number, void> {
  for (let at = 0; at < content.length;) {
    at += fs.writeSync(fd, content, at, Math.min(content.length - at, chunkSize))
    yield chunkCost
  }
}

/** `staged`: a path that nobody else uses, on the same file system, where commands cannot see it. */
export function* writeFile(
  { root, visibleAt }: Area,
  where: string,
  content: Uint8Array,
  staged: string
): Generator<number, void> {
  if (where === "") throw wrongKind(where, "directory", "file")
  const { directories, entry, names, release } = resolve(root, where, visibleAt, {
    followLast: true,
    makeDirectories: true
  })
  try {
    if (entry !== undefined && !entry.stat.isFile()) throw wrongKind(where, kindOf(entry.stat), "file")
    const fd = fs.openSync(staged, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o666)
    let isPlaced = false
    try {
      try {
        yield* writeAll(fd, content)
        if (root.owner !== undefined) fs.fchownSync(fd, root.owner, root.owner)
        if (entry !== undefined) fs.fchmodSync(fd, entry.stat.mode & 0o777)
      } finally {
        fs.closeSync(fd)
      }
      fs.renameSync(staged, toBytes(`${directories.at(-1)!.at}/${names.at(-1)!}`))
      isPlaced = true
    } finally {
      if (!isPlaced) fs.unlinkSync(staged)
    }
  } finally {
    release()
  }
}

export function* list(
  { root, visibleAt }: Area,
  where: string,
  options: { readonly isRecursive: boolean; readonly maxEntries: number }
): Generator<number, ReadonlyArray<FileEntry>> {
  const { entry: start, names, release } = resolve(root, where, visibleAt, { followLast: true })
  const found: Array<FileEntry> = []
  const open: Array<{ readonly entry: Entry; readonly reader: fs.Dir; readonly path: string }> = []
  try {
    if (start === undefined) throw new SandboxError.NotFound({ path: where })
    if (!start.stat.isDirectory()) throw wrongKind(where, kindOf(start.stat), "directory")
    open.push({ entry: start, reader: openDirectory(start), path: names.join("/") })
    while (open.length > 0) {
      const { entry, path: above, reader } = open.at(-1)!
      const read = reader.readSync()
      yield 1
      if (read === null) {
        reader.closeSync()
        open.pop()
        if (entry !== start) close(entry)
        continue
      }
      const child = look(root.isAnchored, entry, read.name)
      if (child === undefined) continue
      let isOpen = false
      try {
        if (found.length >= options.maxEntries) {
          throw new SandboxError.LimitExceeded({
            limit: `Entries of "${where}"`,
            maximum: options.maxEntries,
            actual: found.length + 1
          })
        }
        const name = above === "" ? read.name : `${above}/${read.name}`
        const kind = kindOf(child.stat)
        found.push({ path: encodeName(name), kind, size: kind === "file" ? child.stat.size : 0 })
        if (kind !== "directory" || !options.isRecursive) continue
        if (open.length > maxDepth) {
          throw new SandboxError.LimitExceeded({
            limit: "Directories within each other",
            maximum: maxDepth,
            actual: open.length
          })
        }
        open.push({ entry: child, reader: openDirectory(child), path: name })
        isOpen = true
      } finally {
        if (!isOpen) close(child)
      }
    }
    return found
  } finally {
    for (const { entry, reader } of open) {
      reader.closeSync()
      if (entry !== start) close(entry)
    }
    release()
  }
}

/** `trash`: a path that nobody else uses, on the same file system, where commands cannot see it. */
export function* remove(
  { root, visibleAt }: Area,
  where: string,
  options: { readonly isRecursive: boolean },
  trash: string
): Generator<number, void> {
  let resolved: Resolved
  try {
    resolved = resolve(root, where, visibleAt, { followLast: false })
  } catch (error) {
    if (SandboxError.isSandboxErrorReason(error) && error._tag === "NotFound") return
    throw error
  }
  const { directories, entry, names, release } = resolved
  try {
    if (entry === undefined) return
    const address = toBytes(`${directories.at(-1)!.at}/${names.at(-1)!}`)
    if (!entry.stat.isDirectory()) return fs.unlinkSync(address)
    if (!options.isRecursive) {
      throw new SandboxError.NotPermitted({ path: where, description: "It is a directory; remove it with isRecursive" })
    }
    fs.mkdirSync(trash, 0o700)
    try {
      // One step for whoever looks: the directory is there, or it is not.
      allowAll(entry)
      fs.renameSync(address, toBytes(`${toRaw(trash)}/0`))
    } catch (error) {
      fs.rmdirSync(trash)
      if (codeOf(error) === "ENOENT") return
      throw error
    }
    yield* removeTree(root.isAnchored, trash)
  } finally {
    release()
  }
}

const allowAll = (entry: Entry): void => {
  if ((entry.stat.mode & 0o700) !== 0o700) fs.chmodSync(toBytes(entry.at), (entry.stat.mode & 0o777) | 0o700)
}

/**
 * Removes a directory that commands cannot reach any more, whatever is in it. Directories inside are first moved up to
 * the top, so that no depth exhausts descriptors.
 */
export function* removeTree(isAnchored: boolean, where: string): Generator<number, void> {
  const top = openEntry(isAnchored, toRaw(where))
  try {
    let moved = 0
    const empty = function*(directory: Entry): Generator<number, boolean> {
      let isEmpty = true
      const reader = openDirectory(directory)
      try {
        for (let read = reader.readSync(); read !== null; read = reader.readSync()) {
          isEmpty = false
          yield 1
          const child = look(isAnchored, directory, read.name)
          if (child === undefined) continue
          try {
            if (!child.stat.isDirectory()) fs.unlinkSync(toBytes(`${directory.at}/${read.name}`))
            else {
              allowAll(child)
              if (directory !== top) {
                fs.renameSync(toBytes(`${directory.at}/${read.name}`), toBytes(freeName()))
              } else {
                while (yield* remains(child)) yield 1
                fs.rmdirSync(toBytes(`${top.at}/${read.name}`))
              }
            }
          } finally {
            close(child)
          }
        }
      } finally {
        reader.closeSync()
      }
      return isEmpty
    }
    const remains = function*(directory: Entry): Generator<number, boolean> {
      return !(yield* empty(directory))
    }
    const freeName = (): string => {
      for (;;) {
        const address = `${top.at}/.removed-${moved++}`
        if (!fs.existsSync(toBytes(address))) return address
      }
    }
    while (yield* remains(top)) yield 1
  } finally {
    close(top)
  }
  fs.rmdirSync(where)
}

/** Copies a directory of the host into the area. Links and special files are left out, and `itself`. */
export function* copyDirectory(
  { root, visibleAt }: Area,
  { exclude, maxBytes, maxFiles, path: target, source }: CopiedDirectory,
  itself: string
): Generator<number, void> {
  const invalid = (where: string, description: string) => new SandboxError.InvalidManifest({ path: where, description })
  const isExcluded = matcher(exclude)
  const own = fs.statSync(itself)
  const buffer = Buffer.allocUnsafe(chunkSize)
  let files = 0
  let bytes = 0
  const open: Array<{ readonly from: Entry; readonly reader: fs.Dir; readonly to: Entry; readonly path: string }> = []

  const hostError = (where: string, error: unknown): unknown => {
    const code = codeOf(error)
    return code === "EACCES" || code === "EPERM"
      ? invalid(where, "it cannot be read; exclude it, or allow this user to read it")
      : code === "ENOENT"
      ? invalid(where, "there is no such directory on this machine")
      : code === "ENOTDIR"
      ? invalid(where, "it is not a directory")
      : error
  }
  const onHost = <A>(where: string, use: () => A): A => {
    try {
      return use()
    } catch (error) {
      throw hostError(where, error)
    }
  }
  const limit = (name: string, maximum: number, actual: number): void => {
    if (actual > maximum) throw new SandboxError.LimitExceeded({ limit: `${name} of "${source}"`, maximum, actual })
  }

  const copyFile = function*(from: Entry, to: string, where: string): Generator<number, void> {
    limit("Files", maxFiles, ++files)
    const input = onHost(where, () => reopen(from, O_RDONLY))
    try {
      const output = fs.openSync(
        toBytes(to),
        O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK,
        (from.stat.mode & 0o777) | 0o600
      )
      try {
        if (root.owner !== undefined) fs.fchownSync(output, root.owner, root.owner)
        for (;;) {
          const read = fs.readSync(input, buffer, 0, chunkSize, null)
          if (read === 0) return
          limit("Bytes", maxBytes, bytes += read)
          yield* writeAll(output, buffer.subarray(0, read))
        }
      } finally {
        fs.closeSync(output)
      }
    } finally {
      fs.closeSync(input)
    }
  }

  const start = onHost(source, () => openEntry(root.isAnchored, toRaw(path.resolve(source)), true))
  const resolved = resolveTarget({ root, visibleAt }, target)
  try {
    if (!start.stat.isDirectory()) throw invalid(source, "it is not a directory")
    open.push({ from: start, reader: onHost(source, () => openDirectory(start)), to: resolved.entry!, path: source })
    while (open.length > 0) {
      const { from, path: above, reader, to } = open.at(-1)!
      const read = reader.readSync()
      yield 3
      if (read === null) {
        reader.closeSync()
        open.pop()
        if (from !== start) close(from)
        if (to !== resolved.entry) close(to)
        continue
      }
      if (isExcluded(encodeName(read.name))) continue
      const where = `${above}/${encodeName(read.name)}`
      const child = onHost(where, () => look(root.isAnchored, from, read.name))
      if (child === undefined) continue
      let isOpen = false
      try {
        const address = `${to.at}/${read.name}`
        if (child.stat.isFile()) yield* copyFile(child, address, where)
        else if (child.stat.isDirectory() && !(child.stat.ino === own.ino && child.stat.dev === own.dev)) {
          limit("Directories within each other", maxDepth, open.length)
          makeDirectory(root, address, (child.stat.mode & 0o777) | 0o700)
          const made = openEntry(root.isAnchored, address)
          try {
            if (!made.stat.isDirectory()) throw wrongKind(where, kindOf(made.stat), "directory")
            open.push({ from: child, reader: onHost(where, () => openDirectory(child)), to: made, path: where })
            isOpen = true
          } finally {
            if (!isOpen) close(made)
          }
        }
      } finally {
        if (!isOpen) close(child)
      }
    }
  } finally {
    for (const { from, reader, to } of open) {
      reader.closeSync()
      if (from !== start) close(from)
      if (to !== resolved.entry) close(to)
    }
    close(start)
    resolved.release()
  }
}

/** Gives a workspace, and all that is in it, to the owner of its root. */
export function* giveTree(root: Root): Generator<number, void> {
  const { owner } = root
  if (owner === undefined) return
  const open: Array<{ readonly entry: Entry; readonly reader: fs.Dir }> = [{ entry: root, reader: openDirectory(root) }]
  try {
    fs.chownSync(toBytes(root.at), owner, owner)
    while (open.length > 0) {
      const { entry, reader } = open.at(-1)!
      const read = reader.readSync()
      yield 2
      if (read === null) {
        reader.closeSync()
        open.pop()
        if (entry !== root) close(entry)
        continue
      }
      const child = look(root.isAnchored, entry, read.name)
      if (child === undefined) continue
      let isOpen = false
      try {
        fs.lchownSync(toBytes(`${entry.at}/${read.name}`), owner, owner)
        if (!child.stat.isDirectory()) continue
        if (open.length > maxDepth) {
          throw new SandboxError.LimitExceeded({
            limit: "Directories within each other",
            maximum: maxDepth,
            actual: open.length
          })
        }
        open.push({ entry: child, reader: openDirectory(child) })
        isOpen = true
      } finally {
        if (!isOpen) close(child)
      }
    }
  } finally {
    for (const { entry, reader } of open) {
      reader.closeSync()
      if (entry !== root) close(entry)
    }
  }
}

/** A directory, made where it is missing. */
const resolveTarget = ({ root, visibleAt }: Area, where: string): Resolved => {
  const first = resolve(root, where, visibleAt, { followLast: true, makeDirectories: true })
  const { directories, entry, names } = first
  if (entry?.stat.isDirectory() === true) return first
  try {
    if (entry !== undefined) throw wrongKind(where, kindOf(entry.stat), "directory")
    makeDirectory(root, `${directories.at(-1)!.at}/${names.at(-1)!}`, 0o777)
  } finally {
    first.release()
  }
  return resolve(root, where, visibleAt, { followLast: true })
}
