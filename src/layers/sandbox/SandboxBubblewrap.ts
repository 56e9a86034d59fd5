/**
 * Commands in namespaces of their own, by bubblewrap: they see their workspace, the programs of this machine
 * (read-only) and nothing else. When built, it tries bubblewrap out; where that does not work the Layer fails with
 * `Unavailable`, which says what to install or allow. It never runs a command without its walls.
 *
 * Commands run in `/workspace`, as a user without capabilities, and cannot make namespaces of their own. All of `/proc`
 * is read-only. A system-call filter refuses calls that change the machine or reach around namespaces, and sockets of
 * every family but UNIX, INET, INET6 and NETLINK. `/tmp` is theirs and gone after each command.
 *
 * If this process is root, the commands of each workspace run as a user of their own, to which the workspace belongs:
 * see `Options.user`.
 *
 * When this process is killed, so are its commands. Its workspaces (`agent-layers-…` below the root) are removed when the
 * next sandbox is built over the same root, except those that were to be kept.
 *
 * Each command leaves a dead process to the machine's init to clear away. A container needs one for that
 * (`docker run --init`).
 *
 * @see https://github.com/containers/bubblewrap
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Guarantees } from "../../services/Sandbox.ts"
import { make as makeSandbox, Sandbox } from "../../services/Sandbox.ts"
import type { SandboxErrorReason } from "../../services/SandboxError.ts"
import { SandboxError, Unavailable } from "../../services/SandboxError.ts"
import * as bubblewrap from "./internal/bubblewrap.ts"
import * as local from "./internal/local.ts"
import { makeFilter } from "./internal/seccomp.ts"
import { chooseUsers, isRoot } from "./internal/users.ts"

/**
 * A file or directory of this machine that commands see too.
 *
 * @category options
 * @since 0.1.0
 */
export interface Bind {
  /** Absolute. If this process is root, it has to be open to other users: see `Options.user`. */
  readonly source: string
  /**
   * Absolute, outside of `/workspace`.
   *
   * @default the same path as `source`
   */
  readonly target?: string | undefined
  /**
   * Whether commands may change it. A socket that is bound can be spoken to either way.
   *
   * @default false
   */
  readonly isWritable?: boolean | undefined
}

/**
 * Bounds on each process of a command, not on all of them together, which is why `guarantees` claims neither memory
 * nor processor time. A process that goes beyond gets an error or is killed.
 *
 * @category options
 * @since 0.1.0
 */
export interface Limits {
  /** Bytes of private memory (data segment) of a process. */
  readonly memoryBytes?: number | undefined
  /** Seconds of processor time of a process. */
  readonly cpuSeconds?: number | undefined
  /** Bytes of a file that a process writes. */
  readonly fileBytes?: number | undefined
  readonly openFiles?: number | undefined
}

/**
 * Ids of users, which are ids of groups too.
 *
 * @category options
 * @since 0.1.0
 */
export interface UserRange {
  readonly first: number
  readonly last: number
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * The directory below which workspaces are made, on a local disk; made if it is missing. If this process is root,
   * other users have to be able to pass through the directories above it (`o+x`).
   *
   * @default the system's directory for temporary files
   */
  readonly root?: string | undefined
  /**
   * Whether commands have the host's network, its own services included.
   *
   * @default false
   */
  readonly network?: boolean | undefined
  /**
   * What else commands see, such as programs that do not lie in `/usr`.
   *
   * @default []
   */
  readonly binds?: ReadonlyArray<Bind> | undefined
  /**
   * Absolute directories that stand before the usual ones (`/usr/bin`, …) in the `PATH` of commands.
   *
   * @default []
   */
  readonly path?: ReadonlyArray<string> | undefined
  /**
   * @default none, except that no process dumps core
   */
  readonly limits?: Limits | undefined
  /**
   * The size of `/tmp` in bytes. It lies in memory.
   *
   * @default 268_435_456
   */
  readonly tmpBytes?: number | undefined
  /**
   * The absolute path of bubblewrap.
   *
   * @default `bwrap` where `PATH` has it
   */
  readonly program?: string | undefined
  /**
   * Whose commands they are if this process is root. `"workspace"`: each workspace belongs to another user of `users`,
   * and its commands run as that one; the host program still reads and writes all of it. `"host"`: commands run as root
   * without capabilities; they may read what only root may read, so `identity` is not claimed. If this
   * process is not root, commands run as its own user either way.
   *
   * @default "workspace"
   */
  readonly user?: "workspace" | "host" | undefined
  /**
   * The users that workspaces belong to. They need no accounts; nothing else on this machine should use them.
   *
   * @default 1_900_000_000 to 1_900_065_535, or 30_000 to 59_999 in a container that has only 65,536 users
   */
  readonly users?: UserRange | undefined
  /**
   * Lets commands look into their own processes (`ptrace`), as gdb and LeakSanitizer do.
   *
   * @default false
   */
  readonly debugging?: boolean | undefined
}

const claim = (options: Options, hasFilter: boolean): Guarantees => ({
  fileSystem: true,
  network: options.network !== true && hasFilter,
  environment: true,
  processes: true,
  memory: false,
  cpu: false,
  kernel: hasFilter,
  identity: isRoot() && options.user !== "host"
})

/**
 * The guarantees of this layer for this process on this architecture. `sandbox.guarantees` says less if the kernel takes no
 * system-call filter: then neither `network` nor `kernel`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const guarantees = (options: Options = {}): Guarantees =>
  claim(options, makeFilter(process.arch, false) !== undefined)

const failed = (reason: SandboxErrorReason) =>
  new SandboxError({ backend: bubblewrap.backend, operation: "open", reason })

/**
 * Tries bubblewrap out, looks whether each claim holds for a command, and removes the workspaces that killed processes
 * left below the root. `Unavailable`: bubblewrap is missing, too old (0.8.0 is needed) or not allowed to make namespaces,
 * a bind's source is missing or would break a claim, the root cannot be written, or it cannot be reached by the users
 * that commands run as.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Sandbox["Service"], SandboxError> =>
  Effect.gen(function*() {
    if (process.platform !== "linux") {
      return yield* new Unavailable({ description: "bubblewrap needs Linux; choose another sandbox on this system" })
    }
    const users = yield* chooseUsers(options.user, options.users)
    const root = yield* local.openRoot(options.root, users)
    const setup = yield* bubblewrap.setup(root, users, options)
    const tryOut = Effect.fnUntraced(function*(filter: Uint8Array | undefined) {
      const claims = claim(options, filter !== undefined)
      const sandbox = makeSandbox(local.make(bubblewrap.backendOf(root, { ...setup, filter }, claims)))
      yield* bubblewrap.probe(sandbox)
      return sandbox
    })
    yield* local.sweep(root)
    return yield* Effect.catchIf(tryOut(setup.filter), bubblewrap.hasRefusedFilter, (reason) =>
      Effect.andThen(
        Effect.logWarning(`Neither network nor kernel is guaranteed without a system-call filter: ${reason.message}`),
        tryOut(undefined)
      ))
  }).pipe(Effect.mapError(failed))

/**
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Sandbox, SandboxError> => Layer.effect(Sandbox, make(options))

/**
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<Options>
): Layer.Layer<Sandbox, SandboxError | Config.ConfigError> =>
  Layer.effect(Sandbox, Effect.flatMap(Config.unwrap(config), make))
