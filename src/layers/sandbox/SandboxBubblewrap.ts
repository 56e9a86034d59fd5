/**
 * Commands in namespaces of their own, by bubblewrap: they see their workspace, the programs of this machine
 * (read-only) and nothing else. When built, it tries bubblewrap out; where that does not work the Layer fails with
 * `Unavailable`, which says what to install or allow. It never runs a command without its walls.
 *
 * Commands run in `/workspace`, as a user without capabilities, and cannot make namespaces of their own. `/tmp` is
 * theirs and gone after each command. When this process is killed, so are they; its workspaces (`agent-layers-…` below
 * the root) are then left behind.
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
import { SandboxError } from "../../services/SandboxError.ts"
import * as bubblewrap from "./internal/bubblewrap.ts"
import * as local from "./internal/local.ts"

/**
 * A file or directory of this machine that commands see too.
 *
 * @category options
 * @since 0.1.0
 */
export interface Bind {
  /** Absolute. */
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
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * The directory below which workspaces are made, on a local disk; made where it is missing.
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
}

/**
 * What this layer enforces.
 *
 * @category accessors
 * @since 0.1.0
 */
export const guarantees = (options: Options = {}): Guarantees => ({
  fileSystem: true,
  network: options.network !== true,
  environment: true,
  processes: true,
  memory: false,
  cpu: false
})

const failed = (reason: SandboxErrorReason) =>
  new SandboxError({ backend: bubblewrap.backend, operation: "open", reason })

/**
 * Tries bubblewrap out. `Unavailable`: it is missing, too old (0.8.0 is needed) or not allowed to make namespaces, a
 * bind's source is missing, or the root cannot be written.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Sandbox["Service"], SandboxError> =>
  Effect.gen(function*() {
    const root = yield* local.openRoot(options.root)
    const setup = yield* bubblewrap.setup(options)
    const sandbox = makeSandbox(local.make(bubblewrap.backendOf(root, setup, guarantees(options))))
    yield* bubblewrap.probe(sandbox)
    return sandbox
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
