/**
 * A sandbox whose files lie in memory and whose commands follow a script: the double to test programs with that use
 * sandboxes. Files behave as in the real backends: the same confinement, limits, manifests, errors, kept workspaces and
 * states. No command runs, so a test may say what each of them prints, changes and returns, and how long it takes by
 * the program's clock; what was run can be read back.
 *
 * ```ts
 * const sandbox = SandboxVirtual.layer({
 *   exec: {
 *     "npm test": [{ stdout: "1 failed\n" }, { after: "2 seconds", exitCode: 1 }],
 *     "npm run build": { writes: { "dist/index.js": "…" } }
 *   }
 * })
 * ```
 *
 * Workspaces are there for as long as the Layer is; nothing of this machine is read or written.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Command, Guarantees, Primitives, SandboxState, Workspace } from "../../services/Sandbox.ts"
import { make as makeSandbox, Sandbox } from "../../services/Sandbox.ts"
import type { SandboxErrorReason } from "../../services/SandboxError.ts"
import { FileSystemFailed } from "../../services/SandboxError.ts"
import { VirtualFiles } from "./internal/virtualFiles.ts"

/**
 * A command that was run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Executed {
  /** A shell command line, or a program with its arguments. */
  readonly command: Command["command"]
  /** The command line, or the program and its arguments with a space between them: what a table is looked up by. */
  readonly line: string
  /** The manifest's variables and the call's own, which win. */
  readonly environment: Readonly<Record<string, string>>
  /** Relative to the workspace, without links; the workspace itself is `""`. */
  readonly cwd: string
  /** The text that it could read; `undefined`: nothing. */
  readonly stdin: string | undefined
  /** The id of the workspace. */
  readonly workspace: string
  /** Whether the script had something for it. */
  readonly isScripted: boolean
}

/**
 * The files of a workspace, for scripts. Paths are relative to it. Throws the reasons that the session's operations
 * fail with; thrown out of a script, they are what `exec` fails with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Files {
  /** The text of a file. */
  readonly read: (path: string) => string
  readonly write: (path: string, content: string | Uint8Array) => void
  readonly remove: (path: string) => void
  /** Makes a link, which may lead out of the workspace as one of a command's may. */
  readonly link: (path: string, target: string) => void
}

/**
 * A command that a script is asked about.
 *
 * @category models
 * @since 0.1.0
 */
export interface Call extends Omit<Executed, "isScripted"> {
  readonly files: Files
}

/**
 * What a command does, in this order: it waits, prints, and writes files. Without an exit code it ends with 0, or with
 * that of the part before.
 *
 * @category steps
 * @since 0.1.0
 */
export interface Part {
  /** By the clock of the program; `"Infinity"` is a command that never ends. */
  readonly after?: Duration.Input | undefined
  readonly stdout?: string | Uint8Array | undefined
  readonly stderr?: string | Uint8Array | undefined
  readonly writes?: Readonly<Record<string, string | Uint8Array>> | undefined
  readonly exitCode?: number | undefined
}

/**
 * One part, or several, one after the other: what came before a timeout is in the result.
 *
 * @category steps
 * @since 0.1.0
 */
export type Step = Part | ReadonlyArray<Part>

/**
 * Says what a command does. `undefined`: there is no such program, and the command ends with exit code 127.
 *
 * @category steps
 * @since 0.1.0
 */
export type Script = (call: Call) => Step | undefined | Effect.Effect<Step | undefined, SandboxErrorReason>

/**
 * An operation that is about to begin.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operation {
  readonly name: "create" | "resume" | "exec" | "readFile" | "writeFile" | "list" | "remove" | "copyDirectory"
  /** Of a command: where it starts. Absent for `create` and `resume`. */
  readonly path: string | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * What commands do: by command line, or by a function of the command.
   *
   * @default no command is there
   */
  readonly exec?: Script | Readonly<Record<string, Step | Script>> | undefined
  /** Run before every operation, the writes of a manifest included: to let it fail, to slow it down, to count. */
  readonly before?: ((operation: Operation) => Effect.Effect<void, SandboxErrorReason>) | undefined
  /**
   * Files of a pretended machine, by absolute path, for manifests that copy directories.
   *
   * @default {}
   */
  readonly host?: Readonly<Record<string, string | Uint8Array>> | undefined
  /**
   * What it says of itself, for programs that ask before they run something. It enforces nothing: scripts are functions
   * of the test.
   *
   * @default all false
   */
  readonly guarantees?: Partial<Guarantees> | undefined
  /**
   * The workspace's absolute path, as commands would see it.
   *
   * @default "/workspace"
   */
  readonly root?: string | undefined
}

/**
 * The pretended machine. Every member looks at it as it stands at that moment.
 *
 * @category services
 * @since 0.1.0
 */
export class SandboxVirtual extends Context.Service<SandboxVirtual, {
  readonly sandbox: Sandbox["Service"]
  /** Every command so far, oldest first, those included that still run or were stopped. */
  readonly commands: Effect.Effect<ReadonlyArray<Executed>>
  /** The ids of the workspaces that are there, oldest first. */
  readonly workspaces: Effect.Effect<ReadonlyArray<string>>
  /** Makes a workspace disappear, as if somebody else had removed it: sessions of it fail, and resuming finds nothing. */
  readonly lose: (id: string) => Effect.Effect<void>
}>()("agent-layers/layers/sandbox/SandboxVirtual") {}

const backend = "virtual"

const nothing: Guarantees = {
  fileSystem: false,
  network: false,
  environment: false,
  processes: false,
  memory: false,
  cpu: false,
  kernel: false,
  identity: false
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const toBytes = (text: string | Uint8Array): Uint8Array => typeof text === "string" ? encoder.encode(text) : text

const isParts = (step: Step): step is ReadonlyArray<Part> => Array.isArray(step)

const scriptOf = (exec: Options["exec"]): Script => {
  if (typeof exec === "function") return exec
  const table = new Map(Object.entries(exec ?? {}))
  return (call) => {
    const found = table.get(call.line)
    return typeof found === "function" ? found(call) : found
  }
}

const act = Effect.fnUntraced(function*(
  step: Step,
  files: Files,
  onOutput: (from: "stdout" | "stderr", chunk: Uint8Array) => void
) {
  let exitCode = 0
  for (const part of isParts(step) ? step : [step]) {
    const after = Duration.fromInputUnsafe(part.after ?? 0)
    if (!Duration.isFinite(after)) return yield* Effect.never
    if (!Duration.isZero(after)) yield* Effect.sleep(after)
    if (part.stdout !== undefined) onOutput("stdout", toBytes(part.stdout))
    if (part.stderr !== undefined) onOutput("stderr", toBytes(part.stderr))
    for (const [path, content] of Object.entries(part.writes ?? {})) files.write(path, content)
    exitCode = part.exitCode ?? exitCode
  }
  return exitCode
})

/**
 * A virtual sandbox, with nothing to release: for tests that build no Layer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeUnsafe = (options: Options = {}): SandboxVirtual["Service"] => {
  const root = options.root ?? "/workspace"
  const script = scriptOf(options.exec)
  const workspaces = new Map<string, VirtualFiles>()
  const commands: Array<Executed> = []
  let made = 0

  const before = (name: Operation["name"], path?: string): Effect.Effect<void, SandboxErrorReason> =>
    options.before === undefined ? Effect.void : options.before({ name, path })

  const locationOf = (id: string) => `memory:/${id}`

  const workspaceOf = (id: string, files: VirtualFiles): Workspace => {
    // What a file operation refuses it throws, and `Sandbox.make` takes a reason from wherever it comes.
    const look = <A>(name: Operation["name"], path: string, use: () => A): Effect.Effect<A, SandboxErrorReason> =>
      Effect.andThen(
        before(name, path),
        Effect.suspend(() =>
          workspaces.get(id) === files
            ? Effect.sync(use)
            : Effect.fail(
              new FileSystemFailed({ path, description: "The workspace was removed", isTransient: false })
            )
        )
      )
    const ownFiles: Files = {
      read: (path) => decoder.decode(files.read(path, Number.MAX_SAFE_INTEGER)),
      write: (path, content) => files.write(path, content),
      remove: (path) => files.remove(path, { isRecursive: true }),
      link: (path, target) => files.link(path, target)
    }
    const exec: Workspace["exec"] = Effect.fnUntraced(function*({ command, cwd, environment, stdin }, onOutput) {
      const where = yield* look("exec", cwd, () => files.directory(cwd))
      const line = typeof command === "string" ? command : command.join(" ")
      const seen = {
        command,
        line,
        environment,
        cwd: where,
        stdin: stdin === undefined ? undefined : decoder.decode(stdin),
        workspace: id
      }
      const at = commands.push({ ...seen, isScripted: true }) - 1
      const answer = script({ ...seen, files: ownFiles })
      const step = Effect.isEffect(answer) ? yield* answer : answer
      if (step !== undefined) return yield* act(step, ownFiles, onOutput)
      commands[at] = { ...seen, isScripted: false }
      onOutput("stderr", encoder.encode(`sh: ${line}: not found in the script of SandboxVirtual\n`))
      return 127
    })
    return {
      id,
      location: locationOf(id),
      root,
      exec,
      readFile: (path, maxBytes) => look("readFile", path, () => files.read(path, maxBytes)),
      writeFile: (path, content) => look("writeFile", path, () => files.write(path, content)),
      list: (path, list) => look("list", path, () => files.list(path, list)),
      remove: (path, remove) => look("remove", path, () => files.remove(path, remove)),
      copyDirectory: (directory) =>
        look("copyDirectory", directory.path, () => files.copy(options.host ?? {}, directory))
    }
  }

  const removedAtEnd = (id: string, files: VirtualFiles, isKept: () => boolean) =>
    Effect.addFinalizer(() =>
      Effect.sync(() => {
        if (!isKept() && workspaces.get(id) === files) workspaces.delete(id)
      })
    )

  const primitives: Primitives = {
    backend,
    guarantees: { ...nothing, ...options.guarantees },
    create: (isKept) =>
      Effect.gen(function*() {
        yield* before("create")
        const id = `workspace-${++made}`
        const files = new VirtualFiles(root)
        yield* removedAtEnd(id, files, isKept)
        workspaces.set(id, files)
        return workspaceOf(id, files)
      }),
    resume: ({ id, location }: SandboxState, isKept) =>
      Effect.gen(function*() {
        yield* before("resume")
        const files = workspaces.get(id)
        if (files === undefined || location !== locationOf(id)) return undefined
        yield* removedAtEnd(id, files, isKept)
        return workspaceOf(id, files)
      })
  }

  return {
    sandbox: makeSandbox(primitives),
    commands: Effect.sync(() => [...commands]),
    workspaces: Effect.sync(() => [...workspaces.keys()]),
    lose: (id) =>
      Effect.sync(() => {
        workspaces.delete(id)
      })
  }
}

/**
 * A virtual sandbox. It is never closed; what it holds is gone when nobody refers to it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Options): Effect.Effect<SandboxVirtual["Service"]> =>
  Effect.sync(() => makeUnsafe(options))

/**
 * The sandbox of a test, and the pretended machine to look into.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Sandbox | SandboxVirtual> =>
  Layer.effectContext(
    Effect.map(make(options), (virtual) =>
      Context.make(SandboxVirtual, virtual).pipe(Context.add(Sandbox, virtual.sandbox)))
  )

/**
 * Every command so far, oldest first.
 *
 * @category accessors
 * @since 0.1.0
 */
export const commands: Effect.Effect<ReadonlyArray<Executed>, never, SandboxVirtual> = SandboxVirtual.use((
  virtual
) => virtual.commands)
