/**
 * Commands as plain processes of this machine. Nothing is enforced: a command can do whatever this user can. It has
 * this name so that nobody gets it by accident; no other layer falls back to it.
 *
 * What it does give: a workspace that goes with its scope, file operations that stay inside the workspace, an
 * environment without the host's variables, and commands whose processes are killed when they end, time out or are
 * interrupted. When this process is killed, its commands continue. Its workspaces (`agent-layers-…` below the root) are
 * removed when the next sandbox is built over the same root, except those that were to be kept.
 *
 * On systems without `/proc` (macOS) a command that swaps links during a file operation can lead that out of the
 * workspace.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Guarantees } from "../../services/Sandbox.ts"
import { make as makeSandbox, Sandbox } from "../../services/Sandbox.ts"
import type { SandboxErrorReason } from "../../services/SandboxError.ts"
import { SandboxError, Unavailable } from "../../services/SandboxError.ts"
import * as local from "./internal/local.ts"
import * as unconfined from "./internal/unconfined.ts"

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
   * Absolute directories that stand before the usual ones (`/usr/bin`, …) in the `PATH` of commands.
   *
   * @default []
   */
  readonly path?: ReadonlyArray<string> | undefined
}

/**
 * All false. A command that gives up its environment and leaves its session is not found when the others are killed,
 * and `/proc` shows it the environment of this process.
 *
 * @category constants
 * @since 0.1.0
 */
export const guarantees: Guarantees = {
  fileSystem: false,
  network: false,
  environment: false,
  processes: false,
  memory: false,
  cpu: false,
  kernel: false,
  identity: false
}

const failed = (reason: SandboxErrorReason) => new SandboxError({ backend: "unconfined", operation: "open", reason })

/**
 * Fails with `Unavailable` where the root cannot be written, and on systems without a POSIX shell.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Sandbox["Service"], SandboxError> =>
  Effect.gen(function*() {
    if (process.platform === "win32") {
      return yield* new Unavailable({ description: "Commands need a POSIX system (Linux, macOS)" })
    }
    const root = yield* local.openRoot(options.root)
    yield* local.sweep(root)
    return makeSandbox(local.make(unconfined.backendOf(root, options.path ?? [], guarantees)))
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
