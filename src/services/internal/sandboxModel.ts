import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/**
 * What a backend enforces against a command that means harm. `false`: not enforced, whatever the intention.
 *
 * @category models
 * @since 0.1.0
 */
export interface Guarantees {
  /** Commands see and change no files of the host but the workspace and what is needed to run programs. */
  readonly fileSystem: boolean
  /** Commands reach no network, the host's own services included, except by what was deliberately bound. */
  readonly network: boolean
  /** Commands see no environment variable of the host process. */
  readonly environment: boolean
  /** Commands see no process of the host, and none of theirs outlives `exec`. */
  readonly processes: boolean
  /** Memory of a command's processes is bounded. */
  readonly memory: boolean
  /** Processor time of a command's processes is bounded. */
  readonly cpu: boolean
  /**
   * Commands change no setting of the kernel: all of `/proc` is read-only, and system calls that change the machine or
   * reach around namespaces are refused.
   */
  readonly kernel: boolean
  /** Commands run as another user than the host process: they cannot read or write what only the host's user may. */
  readonly identity: boolean
}

/**
 * What a workspace holds at the start: copies of directories, then files, which win over copies. Paths are relative to
 * the workspace, with `/` between their parts, and never lead out of it.
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
    /** Names that are left out wherever they stand, in upper or lower case, `*` for any characters: `.env*`, `*.pem`. */
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
export interface ResumeOptions {
  /**
   * Whether the workspace is left again when the scope closes.
   *
   * @default true
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
  /** A directory of the workspace. Default: its root. */
  readonly cwd?: string | undefined
  /** What the command reads. Default: nothing, an input at its end. */
  readonly stdin?: string | Uint8Array | undefined
  /**
   * Bytes kept of each of stdout and stderr: the first half and the last half. What goes beyond is read and dropped,
   * so that a command never waits for its reader. At most 256 MiB.
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
  /** Relative to the workspace. A byte that is not UTF-8 is written as `\xHH`, see `SandboxSession`. */
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
 * A command as a backend sees it: everything is checked and filled in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Command {
  /** A shell command line, or a program with its arguments. */
  readonly command: string | readonly [program: string, ...arguments_: ReadonlyArray<string>]
  /** The manifest's variables and the call's own, which win. */
  readonly environment: Readonly<Record<string, string>>
  /** As the paths of `Workspace`. */
  readonly cwd: string
  /** `undefined`: nothing to read. */
  readonly stdin: Uint8Array | undefined
}

/**
 * A directory of this machine that is to be copied into a workspace, with its defaults filled in.
 *
 * @category models
 * @since 0.1.0
 */
export interface CopiedDirectory {
  readonly source: string
  readonly path: string
  readonly exclude: ReadonlyArray<string>
  readonly maxFiles: number
  readonly maxBytes: number
}

/**
 * One workspace as a backend author writes it. Paths are relative, without `.`, `..` and empty parts; the root is `""`.
 * Links are the backend's concern.
 *
 * An operation fails with a reason of `SandboxError` where it knows one. Any other failure, a throw or a defect becomes
 * `ExecFailed` or `FileSystemFailed` with that as its cause.
 *
 * @category models
 * @since 0.1.0
 */
export interface Workspace {
  readonly id: string
  readonly location: string
  readonly root: string
  /**
   * Runs once the manifest is carried out, before the session is handed out: from here on `isKept()` decides, also
   * if the process is killed.
   */
  readonly onReady?: Effect.Effect<void, unknown>
  /**
   * Gives the exit code when no process of the command is left and all its output has been handed to `onOutput`.
   * Interruption, by which timeouts come too, kills the process tree and then does the same.
   */
  readonly exec: (
    command: Command,
    onOutput: (from: "stdout" | "stderr", chunk: Uint8Array) => void
  ) => Effect.Effect<number, unknown>
  readonly readFile: (path: string, maxBytes: number) => Effect.Effect<Uint8Array, unknown>
  readonly writeFile: (path: string, content: Uint8Array) => Effect.Effect<void, unknown>
  /** In any order. */
  readonly list: (
    path: string,
    options: { readonly isRecursive: boolean; readonly maxEntries: number }
  ) => Effect.Effect<ReadonlyArray<FileEntry>, unknown>
  readonly remove: (path: string, options: { readonly isRecursive: boolean }) => Effect.Effect<void, unknown>
  /** Absent: a manifest with directories is `Unsupported`. */
  readonly copyDirectory?: (directory: CopiedDirectory) => Effect.Effect<void, unknown>
}

/**
 * What a backend author writes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Primitives {
  /** Names the backend in errors, states and spans. */
  readonly backend: string
  readonly guarantees: Guarantees
  /**
   * A new, empty workspace. When the scope closes it is removed, unless `isKept()` says otherwise at that moment. A
   * workspace is removed before it is handed out where its manifest cannot be carried out.
   */
  readonly create: (isKept: () => boolean) => Effect.Effect<Workspace, unknown, Scope.Scope>
  /**
   * The workspace of a state of this backend, `undefined` where there is none. The state may have been in strange
   * hands. Absent: workspaces cannot be found again.
   */
  readonly resume?: (
    state: SandboxState,
    isKept: () => boolean
  ) => Effect.Effect<Workspace | undefined, unknown, Scope.Scope>
}
