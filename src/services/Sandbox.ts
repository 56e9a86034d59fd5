/**
 * Where an agent's commands run and its files lie. A `Sandbox` makes workspaces; a `SandboxSession` is one of them,
 * alive for as long as its scope. Each backend publishes what it enforces (`guarantees`), and its tests prove each
 * claim. A sandbox knows nothing of models: `ToolsSandbox` gives an agent tools over the current session.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { SandboxError } from "./SandboxError.ts"

/**
 * What a backend enforces against a command that means harm. `false`: not enforced, whatever the intention.
 *
 * @category models
 * @since 0.1.0
 */
export interface Guarantees {
  /** Commands see and change no files of the host but the workspace and what is needed to run programs. */
  readonly fileSystem: boolean
  /** Commands reach no network, the host's own services included. */
  readonly network: boolean
  /** Commands see no environment variable of the host process. */
  readonly environment: boolean
  /** Commands see no process of the host, and none of theirs outlives `exec`. */
  readonly processes: boolean
  /** Memory of a command's processes is bounded. */
  readonly memory: boolean
  /** Processor time of a command's processes is bounded. */
  readonly cpu: boolean
}

/**
 * What a workspace holds at the start. Paths are relative to the workspace, with `/` between their parts, and never
 * lead out of it.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Manifest = Schema.Struct({
  /** Files by path; directories are made as needed. */
  files: Schema.optionalKey(Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Uint8Array]))),
  /** Directories of this machine that are copied into the workspace. Links and special files are left out. */
  directories: Schema.optionalKey(Schema.Array(Schema.Struct({
    source: Schema.String,
    /** Where in the workspace. Default: its root. */
    path: Schema.optionalKey(Schema.String),
    /** Names that are left out wherever they stand, `*` for any characters: `.git`, `.env*`, `*.pem`. */
    exclude: Schema.optionalKey(Schema.Array(Schema.String)),
    /** At most so many files; more is `LimitExceeded`. Default: 100,000. */
    maxFiles: Schema.optionalKey(Schema.Int),
    /** At most so many bytes; more is `LimitExceeded`. Default: 1 GiB. */
    maxBytes: Schema.optionalKey(Schema.Finite)
  }))),
  /** Variables that commands see. */
  environment: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
})

/**
 * @category models
 * @since 0.1.0
 */
export interface Manifest extends Schema.Schema.Type<typeof Manifest> {}

/**
 * What it takes to find a workspace again. JSON by its Schema; holds no environment values.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SandboxState = Schema.Struct({
  backend: Schema.String,
  id: Schema.String,
  /** Where the workspace lies, in the backend's own terms. */
  location: Schema.String
})

/**
 * @category models
 * @since 0.1.0
 */
export interface SandboxState extends Schema.Schema.Type<typeof SandboxState> {}

/**
 * @category options
 * @since 0.1.0
 */
export interface CreateOptions {
  /**
   * Whether the workspace is left when the scope closes, so that `resume` finds it.
   *
   * @default false
   */
  readonly isKept?: boolean | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface ExecOptions {
  /**
   * After this the whole process tree is killed and the result says `isTimedOut`, with the output so far.
   *
   * @default "1 minute"
   */
  readonly timeout?: Duration.Input | undefined
  /** Added to the manifest's environment. */
  readonly environment?: Readonly<Record<string, string>> | undefined
  /** Relative to the workspace. Default: its root. */
  readonly cwd?: string | undefined
  /** What the command reads. Default: nothing, an input at its end. */
  readonly stdin?: string | Uint8Array | undefined
  /**
   * Bytes kept of each of stdout and stderr: the first half and the last half.
   *
   * @default 1_048_576
   */
  readonly maxOutputBytes?: number | undefined
}

/**
 * How a command ended.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ExecResult = Schema.Struct({
  /** 128 plus the signal's number where a signal ended the command; 124 after a timeout. */
  exitCode: Schema.Int,
  /** Bytes that are no UTF-8 are replaced by U+FFFD. */
  stdout: Schema.String,
  stderr: Schema.String,
  isTimedOut: Schema.Boolean,
  /** Whether the middle of stdout or stderr was left out; a line in its place says how many bytes. */
  isTruncated: Schema.Boolean,
  durationMillis: Schema.Finite
})

/**
 * @category models
 * @since 0.1.0
 */
export interface ExecResult extends Schema.Schema.Type<typeof ExecResult> {}

/**
 * @category schemas
 * @since 0.1.0
 */
export const FileEntry = Schema.Struct({
  /** Relative to the workspace. */
  path: Schema.String,
  kind: Schema.Literals(["file", "directory", "link", "other"]),
  /** Bytes; 0 for what is not a file. */
  size: Schema.Finite
})

/**
 * @category models
 * @since 0.1.0
 */
export interface FileEntry extends Schema.Schema.Type<typeof FileEntry> {}

/**
 * One workspace. Interrupting an operation stops it: a command's whole process tree is killed. After the scope has
 * closed every member fails with `Closed`.
 *
 * @category services
 * @since 0.1.0
 */
export class SandboxSession extends Context.Service<SandboxSession, {
  readonly state: SandboxState
  readonly guarantees: Guarantees

  /** Runs a shell command line (`sh -c`), or a program with arguments. No process of it is left when this returns. */
  readonly exec: (
    command: string | readonly [program: string, ...arguments_: ReadonlyArray<string>],
    options?: ExecOptions
  ) => Effect.Effect<ExecResult, SandboxError>

  /** The bytes of a file. `LimitExceeded` where it has more than `maxBytes` (default: 16 MiB). */
  readonly readFile: (
    path: string,
    options?: { readonly maxBytes?: number | undefined }
  ) => Effect.Effect<Uint8Array, SandboxError>

  /** Replaces or makes a file, and the directories above it. */
  readonly writeFile: (path: string, content: string | Uint8Array) => Effect.Effect<void, SandboxError>

  /**
   * Entries below a directory in order of path, links not followed. `LimitExceeded` where there are more than
   * `maxEntries` (default: 100,000).
   */
  readonly list: (
    path?: string,
    options?: { readonly isRecursive?: boolean | undefined; readonly maxEntries?: number | undefined }
  ) => Effect.Effect<ReadonlyArray<FileEntry>, SandboxError>

  /** Removes a file, a link or, with `isRecursive`, a directory. What is not there is no error. */
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

  /** A new workspace, gone when the scope closes (see `isKept`). All or nothing: a failure leaves nothing behind. */
  readonly create: (
    manifest?: Manifest,
    options?: CreateOptions
  ) => Effect.Effect<SandboxSession["Service"], SandboxError, Scope.Scope>

  /**
   * The workspace of an earlier session. Where it is gone: made anew from `manifest` if one is given, else `Gone`. The
   * manifest's environment applies again; its files are not written into a workspace that is still there.
   */
  readonly resume: (
    state: SandboxState,
    manifest?: Manifest
  ) => Effect.Effect<Resumption, SandboxError, Scope.Scope>
}>()("agent-layers/services/Sandbox") {}

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
