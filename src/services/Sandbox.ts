/**
 * Where an agent's commands run and its files lie. A `Sandbox` makes workspaces; a `SandboxSession` is one of them,
 * alive for as long as its scope. Each backend publishes what it enforces (`guarantees`), and its tests prove each
 * claim; backend authors call `make` with a few primitive operations. A sandbox knows nothing of models:
 * `ToolsSandbox` gives an agent tools over the current session.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as internal from "./internal/sandbox.ts"
import type {
  CreateOptions,
  ExecOptions,
  ExecResult,
  FileEntry,
  Guarantees,
  Manifest,
  Primitives,
  ResumeOptions,
  SandboxState
} from "./internal/sandboxModel.ts"
import type { SandboxError } from "./SandboxError.ts"

export {
  type Command,
  type CopiedDirectory,
  type CreateOptions,
  type ExecOptions,
  ExecResult,
  FileEntry,
  type Guarantees,
  Manifest,
  type Primitives,
  type ResumeOptions,
  SandboxState,
  type Workspace
} from "./internal/sandboxModel.ts"

/**
 * One workspace. Paths are relative to it, or absolute below `root`; a path that leads out of it, by its text or
 * through a link, is `OutsideWorkspace`, whatever a command does to the links meanwhile. Links that stay inside are
 * followed.
 *
 * A name on Linux is bytes and need not be UTF-8. Each byte of a name that belongs to no UTF-8 character is written as
 * `\xHH` (two lower-case hexadecimal digits), in listings and in paths. A name that itself holds such a text has its
 * `\` written as `\x5c`. So every path of a listing leads back to its file. In a command line names are the shell's.
 *
 * Operations may run at the same time. Interrupting one stops it: a command's whole process tree is killed. When the
 * scope closes, running operations are stopped and fail with `Closed`, as does every call after.
 *
 * @category services
 * @since 0.1.0
 */
export class SandboxSession extends Context.Service<SandboxSession, {
  readonly state: SandboxState
  readonly guarantees: Guarantees
  /** The workspace's absolute path as commands see it. */
  readonly root: string

  /**
   * Runs a shell command line (`sh -c`), or a program with arguments. No process of it is left when this returns
   * (where `guarantees.processes` is false: none that does not hide). A program that is not there ends with exit code
   * 127.
   */
  readonly exec: (
    command: string | readonly [program: string, ...arguments_: ReadonlyArray<string>],
    options?: ExecOptions
  ) => Effect.Effect<ExecResult, SandboxError>

  /**
   * The bytes of a file. `LimitExceeded` if it has more than `maxBytes` (default: 16 MiB). `maxBytes` itself is at
   * most 1 GiB; anything else that is not a number from 0 is `NotPermitted`.
   */
  readonly readFile: (
    path: string,
    options?: { readonly maxBytes?: number | undefined }
  ) => Effect.Effect<Uint8Array, SandboxError>

  /**
   * Replaces or makes a file, and the directories above it. Readers see the old content or the new; an interrupted or
   * failed write changes nothing. A file that is replaced keeps its mode.
   */
  readonly writeFile: (path: string, content: string | Uint8Array) => Effect.Effect<void, SandboxError>

  /**
   * Entries below a directory in order of path (by UTF-16 code units), links not followed. `LimitExceeded` where there
   * are more than `maxEntries` (default: 100,000).
   */
  readonly list: (
    path?: string,
    options?: { readonly isRecursive?: boolean | undefined; readonly maxEntries?: number | undefined }
  ) => Effect.Effect<ReadonlyArray<FileEntry>, SandboxError>

  /**
   * Removes a file, a link (never what it leads to) or, with `isRecursive`, a directory. What is not there is no error.
   */
  readonly remove: (
    path: string,
    options?: { readonly isRecursive?: boolean | undefined }
  ) => Effect.Effect<void, SandboxError>
}>()("agent-layers/services/Sandbox/SandboxSession") {}

/**
 * What became of a workspace that somebody wants back. Never a dead handle.
 *
 * @category models
 * @since 0.1.0
 */
export type Resumption =
  | { readonly _tag: "Resumed"; readonly session: SandboxSession["Service"] }
  /** The workspace was gone and was made anew from the manifest; `lost` says in words what is missing. */
  | { readonly _tag: "Recreated"; readonly session: SandboxSession["Service"]; readonly lost: string }
  | { readonly _tag: "Gone" }

/**
 * Makes workspaces.
 *
 * @category services
 * @since 0.1.0
 */
export class Sandbox extends Context.Service<Sandbox, {
  readonly backend: string
  readonly guarantees: Guarantees

  /**
   * A new workspace, gone when the scope closes (see `isKept`). All or nothing: a failure or an interruption leaves
   * nothing behind.
   */
  readonly create: (
    manifest?: Manifest,
    options?: CreateOptions
  ) => Effect.Effect<SandboxSession["Service"], SandboxError, Scope.Scope>

  /**
   * The workspace of an earlier session. Where it is gone: made anew from `manifest` if one is given, else `Gone`. The
   * manifest's environment applies again; its files are not written into a workspace that is still there. A state of
   * another backend is `Unsupported`.
   */
  readonly resume: (
    state: SandboxState,
    manifest?: Manifest,
    options?: ResumeOptions
  ) => Effect.Effect<Resumption, SandboxError, Scope.Scope>
}>()("agent-layers/services/Sandbox") {}

/**
 * A sandbox from the primitive operations of a backend. Adds, once and for all backends alike: checking of paths and
 * variables, defaults, manifests and their all-or-nothing, timeouts, the cap on output, order of listings, `Closed`,
 * spans and error mapping.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (primitives: Primitives) => Sandbox["Service"] = internal.make

/**
 * One workspace for as long as the Layer lives, as the current `SandboxSession`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSession = (
  manifest?: Manifest,
  options?: CreateOptions
): Layer.Layer<SandboxSession, SandboxError, Sandbox> =>
  Layer.effect(SandboxSession, Sandbox.use((sandbox) => sandbox.create(manifest, options)))
