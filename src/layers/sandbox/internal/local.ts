// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Command, Primitives, SandboxState, Workspace } from "../../../services/Sandbox.ts"
import * as SandboxError from "../../../services/SandboxError.ts"
import type { Area } from "./confined.ts"
import * as confined from "./confined.ts"
import { codeOf } from "./confined.ts"
import * as fileSystem from "./fileSystem.ts"
import * as Pipes from "./pipes.ts"
import type { Exited, Program, Running } from "./process.ts"
import { execute } from "./process.ts"

/**
 * Workspaces in directories of this machine. Each has a directory of its own that only this user may enter:
 *
 * - `workspace`: what commands see
 * - `private`: where pipes, unfinished writes and what is being removed lie; on the same file system, out of sight
 */

const prefix = "agent-layers-"
const workspaceName = "workspace"
const privateName = "private"

/** Where a session's things lie. */
export interface Place {
  readonly workspace: string
  readonly private: string
}

export interface Backend {
  readonly backend: string
  readonly guarantees: Primitives["guarantees"]
  /** An existing directory, without links in its path. */
  readonly root: string
  /** Where commands see the workspace, if not where it lies. */
  readonly visibleAt?: string | undefined
  readonly isAnchored?: boolean | undefined
  /** Lays what the backend needs into a session's private directory. */
  readonly prepare?: ((place: Place) => void) | undefined
  /** Turns a command into a program of this machine. */
  readonly program: (
    place: Place,
    command: Command,
    cwd: { readonly path: string; readonly address: string }
  ) => {
    readonly program: Omit<Program, "stdin">
    /** Sees that no process of the command is left. */
    readonly end: (running: Running) => Effect.Effect<void>
    readonly exitCode: (exited: Exited, stderr: string) => Effect.Effect<number, SandboxError.SandboxErrorReason>
  }
}

/** The arguments of `/bin/sh` for a command. A program that is not there is then told as a shell tells it. */
export const shellArguments = (command: Command["command"], before: string): ReadonlyArray<string> =>
  typeof command === "string" && before === ""
    ? ["-c", command]
    : typeof command === "string"
    ? ["-c", `${before}exec /bin/sh -c "$1"`, "sh", command]
    : ["-c", `${before}exec "$@"`, "sh", ...command]

/** What a command sees besides what it is given. */
export const baseEnvironment = (
  home: string,
  directories: ReadonlyArray<string>
): Readonly<Record<string, string>> => ({
  PATH: [...directories, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].join(":"),
  HOME: home,
  LANG: "C.UTF-8"
})

/** Node's own recursive `mkdir` never ends where a file system says that the parent is missing and it is not (`/proc`). */
const makeDirectories = (directory: string): void => {
  if (fs.existsSync(directory)) return
  const parent = path.dirname(directory)
  if (parent !== directory) makeDirectories(parent)
  try {
    fs.mkdirSync(directory, { mode: 0o700 })
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error
  }
}

/** The directory below which workspaces are made, made itself where it is missing. */
export const openRoot = (root: string | undefined): Effect.Effect<string, SandboxError.SandboxErrorReason> =>
  Effect.try({
    try: () => {
      const where = path.resolve(root ?? os.tmpdir())
      makeDirectories(where)
      fs.accessSync(where, fs.constants.W_OK | fs.constants.X_OK)
      return fs.realpathSync(where)
    },
    catch: (cause) =>
      new SandboxError.Unavailable({
        description: `Workspaces cannot be made in ${root ?? os.tmpdir()}: ${
          cause instanceof Error ? cause.message : String(cause)
        }. Pass as root a directory that this user may write`,
        cause
      })
  })

const isOwn = (stat: fs.Stats): boolean => process.geteuid === undefined || stat.uid === process.geteuid()

/** Whether this is a session's directory that nobody else can have laid there. */
const isSession = (directory: string): boolean => {
  try {
    const stat = fs.lstatSync(directory)
    return stat.isDirectory() && isOwn(stat) && (stat.mode & 0o077) === 0 &&
      fs.lstatSync(path.join(directory, workspaceName)).isDirectory()
  } catch {
    return false
  }
}

export const make = (backend: Backend): Primitives => {
  const isAnchored = backend.isAnchored ?? confined.canAnchor

  const removeSession = (directory: string): Effect.Effect<void> =>
    Effect.catch(
      confined.run(undefined, directory, () => fileSystem.removeTree(isAnchored, directory)),
      (reason) =>
        reason._tag === "NotFound"
          ? Effect.void
          : Effect.logWarning(`A workspace could not be removed; ${directory} is left behind: ${reason.message}`)
    )

  const failed = (where: string) => (error: unknown) => confined.toReason(undefined, where, error)

  const open = Effect.fnUntraced(function*(
    id: string,
    directory: string
  ): Effect.fn.Return<Workspace, SandboxError.SandboxErrorReason, Scope.Scope> {
    const place: Place = {
      workspace: path.join(directory, workspaceName),
      // One for each session: two of them may have the same workspace open.
      private: path.join(directory, `${privateName}-${crypto.randomUUID()}`)
    }
    yield* Effect.acquireRelease(
      Effect.try({ try: () => fs.mkdirSync(place.private, { mode: 0o700 }), catch: failed(directory) }),
      () => removeSession(place.private)
    )
    yield* Effect.try({ try: () => backend.prepare?.(place), catch: failed(directory) })
    const root = yield* Effect.acquireRelease(
      Effect.try({ try: () => confined.openRoot(place.workspace, isAnchored), catch: failed(place.workspace) }),
      (root) => Effect.sync(() => confined.closeRoot(root))
    )
    const visibleAt = backend.visibleAt ?? place.workspace
    const area: Area = { root, visibleAt }
    const pipes = Pipes.make(place.private)
    let unique = 0
    const privatePath = () => path.join(place.private, `${unique++}`)

    const withStdin = <A, E>(content: Uint8Array | undefined, use: (fd: number | undefined) => Effect.Effect<A, E>) => {
      if (content === undefined) return use(undefined)
      // A file and no pipe: nothing has to be fed to a command that may not read, and it can be opened by name.
      return Effect.acquireUseRelease(
        Effect.try({
          try: () => {
            const file = privatePath()
            fs.writeFileSync(file, content, { mode: 0o600, flag: "wx" })
            try {
              return fs.openSync(file, fs.constants.O_RDONLY)
            } finally {
              fs.unlinkSync(file)
            }
          },
          catch: failed("stdin")
        }),
        use,
        (fd) => Effect.sync(() => fs.closeSync(fd))
      )
    }

    const exec: Workspace["exec"] = (command, onOutput) =>
      Effect.acquireUseRelease(
        Effect.try({
          try: () => {
            const cwd = fileSystem.openDirectoryAt(area, command.cwd)
            if (!confined.isGone(root)) return cwd
            cwd.release()
            throw new SandboxError.NotFound({ path: command.cwd })
          },
          catch: (error) => confined.toReason(root, command.cwd === "" ? "." : command.cwd, error)
        }),
        (cwd) =>
          withStdin(command.stdin, (stdin) => {
            const { end, exitCode, program } = backend.program(place, command, cwd)
            let stderr = ""
            const execution = execute(
              { ...program, stdin },
              pipes,
              (from, chunk) => {
                if (from === "stderr" && stderr.length < 4096) stderr += Buffer.from(chunk).toString("latin1")
                onOutput(from, chunk)
              },
              end
            )
            return Effect.flatMap(execution, (exited) => exitCode(exited, stderr))
          }),
        (cwd) => Effect.sync(cwd.release)
      )

    return {
      id,
      location: directory,
      root: visibleAt,
      exec,
      readFile: (where, maxBytes) => confined.run(root, where, () => fileSystem.readFile(area, where, maxBytes)),
      writeFile: (where, content) =>
        confined.run(root, where, () => fileSystem.writeFile(area, where, content, privatePath())),
      list: (where, options) => confined.run(root, where, () => fileSystem.list(area, where, options)),
      remove: (where, options) =>
        confined.run(root, where, () => fileSystem.remove(area, where, options, privatePath())),
      copyDirectory: (directory) =>
        confined.run(root, directory.path, () => fileSystem.copyDirectory(area, directory, place.workspace))
    }
  })

  return {
    backend: backend.backend,
    guarantees: backend.guarantees,
    create: (isKept) =>
      Effect.gen(function*() {
        const id = crypto.randomUUID()
        const directory = path.join(backend.root, `${prefix}${id}`)
        yield* Effect.acquireRelease(
          Effect.try({ try: () => fs.mkdirSync(directory, { mode: 0o700 }), catch: failed(directory) }),
          () => Effect.suspend(() => isKept() ? Effect.void : removeSession(directory))
        )
        yield* Effect.try({
          try: () => fs.mkdirSync(path.join(directory, workspaceName), { mode: 0o755 }),
          catch: failed(directory)
        })
        return yield* open(id, directory)
      }),
    resume: (state: SandboxState, isKept) =>
      Effect.gen(function*() {
        const directory = path.join(backend.root, `${prefix}${state.id}`)
        // A state may come from a stranger: it names a workspace below this root, nothing else.
        if (!/^[0-9a-f-]{36}$/.test(state.id) || state.location !== directory || !isSession(directory)) return undefined
        yield* Effect.addFinalizer(() => Effect.suspend(() => isKept() ? Effect.void : removeSession(directory)))
        return yield* open(state.id, directory)
      })
  }
}
