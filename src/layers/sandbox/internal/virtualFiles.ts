import type { CopiedDirectory, FileEntry } from "../../../services/Sandbox.ts"
import * as SandboxError from "../../../services/SandboxError.ts"
import { decodeName, encodeName } from "./fileNames.ts"
import { matcher } from "./matcher.ts"

/** Files in memory, confined as those of the real backends are. What is refused is thrown as a reason. */

const maxDepth = 256
const maxLinks = 40

interface Directory {
  readonly kind: "directory"
  readonly entries: Map<string, Node>
}

interface File {
  readonly kind: "file"
  content: Uint8Array
}

interface Link {
  readonly kind: "link"
  readonly target: string
}

type Node = Directory | File | Link

const makeDirectory = (): Directory => ({ kind: "directory", entries: new Map() })

const wrongKind = (path: string, kind: Node["kind"], wanted: string) =>
  new SandboxError.NotPermitted({ path, description: `It is a ${kind}, not a ${wanted}` })

/** Names as listings have them, so that one file has one name however its bytes are written. */
const partsOf = (path: string): ReadonlyArray<string> =>
  encodeName(decodeName(path)).split("/").filter((part) => part !== "" && part !== ".")

interface Resolved {
  /** The directories that are there, from the root. */
  readonly directories: ReadonlyArray<Directory>
  /** Their names, those that are missing, and the last part. */
  readonly names: ReadonlyArray<string>
  readonly node: Node | undefined
}

/** What a pretended machine has that a manifest may copy from. */
export type Host = Readonly<Record<string, string | Uint8Array>>

const encoder = new TextEncoder()

const toBytes = (content: string | Uint8Array): Uint8Array =>
  typeof content === "string" ? encoder.encode(content) : content.slice()

export class VirtualFiles {
  readonly #root = makeDirectory()
  readonly #visibleAt: string

  constructor(visibleAt: string) {
    this.#visibleAt = visibleAt
  }

  #resolve(path: string, options: { readonly followLast: boolean; readonly isMaking?: boolean }): Resolved {
    const outside = () => new SandboxError.OutsideWorkspace({ path })
    const pending = partsOf(path).toReversed()
    const directories = [this.#root]
    let names: Array<string> = []
    let links = 0
    while (pending.length > 0) {
      const name = pending.pop()!
      if (name === "..") {
        if (names.length === 0) throw outside()
        names.pop()
        if (directories.length > names.length + 1) directories.pop()
        continue
      }
      if (names.length > maxDepth) {
        throw new SandboxError.LimitExceeded({
          limit: "Directories within each other",
          maximum: maxDepth,
          actual: names.length
        })
      }
      const isMissing = directories.length <= names.length
      const node = isMissing ? undefined : directories.at(-1)!.entries.get(name)
      const isLast = pending.length === 0
      if (node?.kind === "link" && (!isLast || options.followLast)) {
        if (++links > maxLinks) throw new SandboxError.NotPermitted({ path, description: "Too many links" })
        const { target } = node
        if (target.startsWith("/")) {
          if (target !== this.#visibleAt && !target.startsWith(`${this.#visibleAt}/`)) throw outside()
          directories.length = 1
          names = []
          pending.push(...partsOf(target.slice(this.#visibleAt.length)).toReversed())
        } else pending.push(...partsOf(target).toReversed())
        continue
      }
      if (isLast) return { directories, names: [...names, name], node }
      if (node === undefined && options.isMaking !== true) throw new SandboxError.NotFound({ path })
      if (node !== undefined && node.kind !== "directory") throw wrongKind(path, node.kind, "directory")
      names.push(name)
      if (node !== undefined) directories.push(node)
    }
    return { directories, names, node: directories.length > names.length ? directories.at(-1) : undefined }
  }

  /** Puts a node where a path leads, with the directories above it. */
  #place({ directories, names }: Resolved, node: Node): void {
    let directory = directories.at(-1)!
    for (const name of names.slice(directories.length - 1, -1)) {
      const made = makeDirectory()
      directory.entries.set(name, made)
      directory = made
    }
    directory.entries.set(names.at(-1)!, node)
  }

  /** A directory's path without links. */
  directory(path: string): string {
    const { names, node } = this.#resolve(path, { followLast: true })
    if (node === undefined) throw new SandboxError.NotFound({ path })
    if (node.kind !== "directory") throw wrongKind(path, node.kind, "directory")
    return names.join("/")
  }

  read(path: string, maxBytes: number): Uint8Array {
    const { node } = this.#resolve(path, { followLast: true })
    if (node === undefined) throw new SandboxError.NotFound({ path })
    if (node.kind !== "file") throw wrongKind(path, node.kind, "file")
    if (node.content.length > maxBytes) {
      throw new SandboxError.LimitExceeded({
        limit: `Bytes of "${path}"`,
        maximum: maxBytes,
        actual: node.content.length
      })
    }
    return node.content.slice()
  }

  write(path: string, content: string | Uint8Array): void {
    const resolved = this.#resolve(path, { followLast: true, isMaking: true })
    const { node } = resolved
    if (node !== undefined && node.kind !== "file") throw wrongKind(path, node.kind, "file")
    if (node === undefined) this.#place(resolved, { kind: "file", content: toBytes(content) })
    else node.content = toBytes(content)
  }

  /** A link, as a command could make one: to wherever it likes. */
  link(path: string, target: string): void {
    const resolved = this.#resolve(path, { followLast: false, isMaking: true })
    if (resolved.node !== undefined) {
      throw new SandboxError.NotPermitted({ path, description: "Something is there already" })
    }
    this.#place(resolved, { kind: "link", target })
  }

  list(
    path: string,
    { isRecursive, maxEntries }: { readonly isRecursive: boolean; readonly maxEntries: number }
  ): ReadonlyArray<FileEntry> {
    const start = this.directory(path)
    const { node } = this.#resolve(path, { followLast: true })
    const found: Array<FileEntry> = []
    const visit = (directory: Directory, above: string): void => {
      for (const [name, { kind, ...entry }] of directory.entries) {
        if (found.length >= maxEntries) {
          throw new SandboxError.LimitExceeded({
            limit: `Entries of "${path}"`,
            maximum: maxEntries,
            actual: found.length + 1
          })
        }
        const where = above === "" ? name : `${above}/${name}`
        found.push({ path: where, kind, size: "content" in entry ? entry.content.length : 0 })
        if (isRecursive && "entries" in entry) visit({ kind: "directory", entries: entry.entries }, where)
      }
    }
    visit(node as Directory, start)
    return found
  }

  remove(path: string, { isRecursive }: { readonly isRecursive: boolean }): void {
    let resolved: Resolved
    try {
      resolved = this.#resolve(path, { followLast: false })
    } catch (error) {
      if (SandboxError.isSandboxErrorReason(error) && error._tag === "NotFound") return
      throw error
    }
    const { directories, names, node } = resolved
    if (node?.kind === "directory" && !isRecursive) {
      throw new SandboxError.NotPermitted({ path, description: "It is a directory; remove it with isRecursive" })
    }
    // What resolves to the root goes by `..`; it is removed by closing the scope alone.
    if (node === this.#root) throw new SandboxError.NotPermitted({ path, description: "It is the workspace itself" })
    if (node !== undefined) {
      const holder = node.kind === "directory" && directories.at(-1) === node ? directories.at(-2) : directories.at(-1)
      holder!.entries.delete(names.at(-1)!)
    }
  }

  /** Copies what a pretended machine has below a path. */
  copy(host: Host, { exclude, maxBytes, maxFiles, path: target, source }: CopiedDirectory): void {
    const isExcluded = matcher(exclude)
    const from = partsOf(source)
    const below = Object.entries(host).flatMap(([path, content]) => {
      const parts = partsOf(path)
      return parts.length > from.length && from.every((part, index) => parts[index] === part)
        ? [{ names: parts.slice(from.length), content }]
        : []
    })
    if (below.length === 0) {
      throw new SandboxError.InvalidManifest({
        path: source,
        description: Object.hasOwn(host, source)
          ? "it is not a directory"
          : "there is no such directory on this machine; SandboxVirtual has those of its option host"
      })
    }
    const limit = (name: string, maximum: number, actual: number): void => {
      if (actual > maximum) throw new SandboxError.LimitExceeded({ limit: `${name} of "${source}"`, maximum, actual })
    }
    let files = 0
    let bytes = 0
    for (const { content, names } of below) {
      if (names.some(isExcluded)) continue
      const copy = toBytes(content)
      limit("Files", maxFiles, ++files)
      limit("Bytes", maxBytes, bytes += copy.length)
      this.write([target, ...names].join("/"), copy)
    }
  }
}
