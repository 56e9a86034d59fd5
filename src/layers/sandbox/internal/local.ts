// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Command, Primitives, SandboxState, Workspace } from "../../../services/Sandbox.ts"
import * as SandboxError from "../../../services/SandboxError.ts"
import { wrongLength } from "./commandLength.ts"
import type { Area } from "./confined.ts"
import * as confined from "./confined.ts"
import { codeOf } from "./confined.ts"
import * as fileSystem from "./fileSystem.ts"
import * as owners from "./owners.ts"
import * as Pipes from "./pipes.ts"
import type { Exited, Program, Running } from "./process.ts"
import { execute } from "./process.ts"
import type { UserRange } from "./users.ts"

/**
 * Workspaces in directories of this machine. Each has a directory of its own that no other user may change or list:
 *
 * - `workspace`: what commands see
 * - `private-…`, for each session: where pipes, unfinished writes and what is being removed lie; on the same file system,
 *   out of sight. It says which process the session belongs to.
 * - `kept`: there once the workspace has to outlive its process
 */

const prefix = "agent-layers-"
const removedPrefix = `${prefix}removed-`
const workspaceName = "workspace"
const privatePrefix = "private-"
const keptName = "kept"

/** Where a session's things lie. */
export interface Place {
  readonly workspace: string
  readonly private: string
  /** The user that commands run as. Absent: that of this process. */
  readonly owner: number | undefined
}

export interface Backend {
  readonly backend: string
  readonly guarantees: Primitives["guarantees"]
  /** An existing directory, without links in its path. */
  readonly root: string
  /** Where commands see the workspace, if not where it lies. */
  readonly visibleAt?: string | undefined
  readonly isAnchored?: boolean | undefined
  /** Whose users workspaces belong to, each to another one. Absent: they belong to that of this process. */
  readonly users?: UserRange | undefined
  /** How many arguments and variables a command may have. Absent: as many as the system takes. */
  readonly maxWords?: { readonly maximum: number; readonly perVariable: number } | undefined
  /** Turns a command into a program of this machine. */
  readonly program: (
    place: Place,
    command: Command,
    /** `path` is raw. */
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
const makeDirectories = (directory: string, mode: number): void => {
  if (fs.existsSync(directory)) return
  const parent = path.dirname(directory)
  if (parent !== directory) makeDirectories(parent, mode)
  try {
    fs.mkdirSync(directory)
    fs.chmodSync(directory, mode)
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error
  }
}

/** The mode of directories above a workspace that belongs to another user: others may pass through. */
const modeFor = (users: UserRange | undefined): number => users === undefined ? 0o700 : 0o711

/** The directory below which workspaces are made, made itself where it is missing. */
export const openRoot = (
  root: string | undefined,
  users?: UserRange
): Effect.Effect<string, SandboxError.SandboxErrorReason> =>
  Effect.try({
    try: () => {
      const where = path.resolve(root ?? os.tmpdir())
      makeDirectories(where, modeFor(users))
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

/** Whether this is a session's directory that only this user can have laid there. */
const isSession = (directory: string): boolean => {
  const stat = fs.lstatSync(directory, { throwIfNoEntry: false })
  return stat?.isDirectory() === true && isOwn(stat) && (stat.mode & 0o066) === 0
}

const hasWorkspace = (directory: string): boolean =>
  fs.lstatSync(path.join(directory, workspaceName), { throwIfNoEntry: false })?.isDirectory() === true

const isId = (text: string): boolean => /^[0-9a-f-]{36}$/.test(text)

/** The root may be a directory that other programs use too. */
const isSessionName = (name: string): boolean =>
  name.startsWith(removedPrefix) || (name.startsWith(prefix) && isId(name.slice(prefix.length)))

const namesIn = (directory: string): ReadonlyArray<string> => {
  try {
    return fs.readdirSync(directory)
  } catch {
    // It may have been removed just now, or be one that this user may write but not list.
    return []
  }
}

const sessionsBelow = (root: string): ReadonlyArray<string> =>
  namesIn(root).filter(isSessionName).map((name) => path.join(root, name)).filter(isSession)

const userOf = (directory: string): number | undefined =>
  fs.lstatSync(path.join(directory, workspaceName), { throwIfNoEntry: false })?.uid

/**
 * Gives a new workspace to a user that no other one below the root belongs to. Another process may do the same at the
 * same time: both look again after they have taken a user, and the one that comes later then takes another.
 */
const giveToUser = (root: string, directory: string, { first, last }: UserRange): number => {
  for (let round = 0; round < 100; round++) {
    const user = crypto.randomInt(first, last + 1)
    const isTaken = () => sessionsBelow(root).some((other) => other !== directory && userOf(other) === user)
    if (isTaken()) continue
    fs.chownSync(path.join(directory, workspaceName), user, user)
    if (!isTaken()) return user
  }
  throw new SandboxError.Unavailable({
    description:
      `No user from ${first} to ${last} is free for a new workspace; remove kept workspaces below ${root}, ` +
      "or pass a wider range as users"
  })
}

/** What is left by processes that are certainly over: a workspace, or what a session had beside one that is kept. */
const findLeft = (directory: string): ReadonlyArray<string> => {
  const name = path.basename(directory)
  if (name.startsWith(removedPrefix)) {
    const [pid, startTime = ""] = name.slice(removedPrefix.length).split("-")
    return owners.isOver({ ...owners.describeSelf(), pid: Number(pid), startTime }) ? [directory] : []
  }
  const names = namesIn(directory)
  const sessions = names.filter((one) => one.startsWith(privatePrefix)).map((one) => path.join(directory, one))
  const left = sessions.filter((session) => {
    const owner = owners.readOwner(session)
    return owner !== undefined && owners.isOver(owner)
  })
  if (names.includes(keptName)) return left
  return left.length > 0 && left.length === sessions.length ? [directory] : []
}

/**
 * Removes a directory below a root. It first gets another name, which only one process can give it. If that process is
 * killed, the next one finds the name.
 */
const takeAway = (isAnchored: boolean, root: string, directory: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { pid, startTime } = owners.describeSelf()
    const taken = path.join(root, `${removedPrefix}${pid}-${startTime}-${crypto.randomUUID()}`)
    try {
      fs.renameSync(directory, taken)
    } catch (error) {
      // Another process was faster.
      if (codeOf(error) === "ENOENT") return Effect.void
      return removeDirectory(isAnchored, directory)
    }
    return removeDirectory(isAnchored, taken)
  })

/** Removes what killed processes left below a root. */
export const sweep = (root: string, isAnchored = confined.canAnchor): Effect.Effect<void> =>
  Effect.suspend(() =>
    Effect.forEach(sessionsBelow(root).flatMap(findLeft), (directory) => takeAway(isAnchored, root, directory), {
      discard: true
    })
  )

const removeDirectory = (isAnchored: boolean, directory: string): Effect.Effect<void> =>
  Effect.catch(
    confined.run(undefined, directory, () => fileSystem.removeTree(isAnchored, directory)),
    (reason) =>
      reason._tag === "NotFound"
        ? Effect.void
        : Effect.logWarning(`A workspace could not be removed; ${directory} is left behind: ${reason.message}`)
  )

export const make = (backend: Backend): Primitives => {
  const isAnchored = backend.isAnchored ?? confined.canAnchor

  const failed = (where: string) => (error: unknown) => confined.toReason(undefined, where, error)

  /** A directory of its own for each session: two of them may have the same workspace open. */
  const openPrivate = (directory: string): Effect.Effect<string, SandboxError.SandboxErrorReason, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.try({
        try: () => {
          const made = path.join(directory, `making-${crypto.randomUUID()}`)
          const named = path.join(directory, `${privatePrefix}${crypto.randomUUID()}`)
          fs.mkdirSync(made, { mode: 0o700 })
          owners.writeOwner(made)
          fs.renameSync(made, named)
          return named
        },
        catch: failed(directory)
      }),
      (made) => removeDirectory(isAnchored, made)
    )

  const makeSessionDirectory = (directory: string): void => {
    fs.mkdirSync(directory, { mode: 0o700 })
    fs.chmodSync(directory, modeFor(backend.users))
  }

  const openWorkspace = (directory: string, owner: number | undefined) => {
    const workspace = path.join(directory, workspaceName)
    return Effect.acquireRelease(
      Effect.try({ try: () => confined.openRoot(workspace, isAnchored, owner), catch: failed(workspace) }),
      (root) => Effect.sync(() => confined.closeRoot(root))
    )
  }

  /** A workspace may have been made by a program that ran commands as another user. */
  const openAgain = Effect.fnUntraced(function*(directory: string) {
    const { users } = backend
    const user = userOf(directory)
    const isOurs = users === undefined
      ? user === process.geteuid?.()
      : user !== undefined && user >= users.first && user <= users.last
    if (isOurs) return yield* openWorkspace(directory, users === undefined ? undefined : user)
    const owner = yield* Effect.try({
      try: () => {
        fs.chmodSync(directory, modeFor(users))
        return users === undefined ? process.geteuid?.() : giveToUser(backend.root, directory, users)
      },
      catch: failed(directory)
    })
    const root = yield* openWorkspace(directory, owner)
    yield* confined.run(root, directory, () => fileSystem.giveTree(root))
    return root
  })

  const open = (
    id: string,
    directory: string,
    place: Place,
    root: confined.Root,
    isKept: () => boolean
  ): Workspace => {
    const visibleAt = backend.visibleAt ?? place.workspace
    const area: Area = { root, visibleAt }
    const pipes = Pipes.make(place.private, place.owner)
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
            if (place.owner !== undefined) fs.chownSync(file, place.owner, place.owner)
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

    const exec: Workspace["exec"] = (command, onOutput) => {
      const wrong = wrongLength(command, backend.maxWords)
      if (wrong !== undefined) return Effect.fail(new SandboxError.ExecFailed({ description: wrong }))
      return Effect.acquireUseRelease(
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
    }

    return {
      id,
      location: directory,
      root: visibleAt,
      onReady: Effect.try({
        try: () => {
          if (isKept()) fs.closeSync(fs.openSync(path.join(directory, keptName), "a", 0o600))
        },
        catch: failed(directory)
      }),
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
  }

  return {
    backend: backend.backend,
    guarantees: backend.guarantees,
    create: (isKept) =>
      Effect.gen(function*() {
        const id = crypto.randomUUID()
        const directory = path.join(backend.root, `${prefix}${id}`)
        const workspace = path.join(directory, workspaceName)
        yield* Effect.acquireRelease(
          Effect.try({ try: () => makeSessionDirectory(directory), catch: failed(directory) }),
          () => Effect.suspend(() => isKept() ? Effect.void : takeAway(isAnchored, backend.root, directory))
        )
        const privateDirectory = yield* openPrivate(directory)
        const owner = yield* Effect.try({
          try: () => {
            fs.mkdirSync(workspace, { mode: backend.users === undefined ? 0o755 : 0o700 })
            return backend.users === undefined ? undefined : giveToUser(backend.root, directory, backend.users)
          },
          catch: failed(directory)
        })
        const root = yield* openWorkspace(directory, owner)
        return open(id, directory, { workspace, private: privateDirectory, owner }, root, isKept)
      }),
    resume: (state: SandboxState, isKept) =>
      Effect.gen(function*() {
        const directory = path.join(backend.root, `${prefix}${state.id}`)
        // A state may come from a stranger: it names a workspace below this root, nothing else.
        if (!isId(state.id) || state.location !== directory) return undefined
        if (!isSession(directory) || !hasWorkspace(directory)) return undefined
        yield* Effect.addFinalizer(() =>
          Effect.suspend(() => isKept() ? Effect.void : takeAway(isAnchored, backend.root, directory))
        )
        const place = { workspace: path.join(directory, workspaceName), private: yield* openPrivate(directory) }
        const root = yield* openAgain(directory)
        return open(state.id, directory, { ...place, owner: root.owner }, root, isKept)
      })
  }
}
