import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { SandboxErrorReason } from "../SandboxError.ts"
import * as SandboxError from "../SandboxError.ts"
import * as Tracer from "../Tracer.ts"
import * as Capture from "./capture.ts"
import type {
  Command,
  CreateOptions,
  ExecOptions,
  ExecResult,
  FileEntry,
  Guarantees,
  Manifest,
  Primitives,
  ResumeOptions,
  SandboxState,
  Workspace
} from "./sandboxModel.ts"

const maxReadBytes = 16 * 1024 * 1024
/** More than this is not read into memory at once, whatever is asked for. */
const mostReadBytes = 1024 * 1024 * 1024
const maxEntries = 100_000
const maxOutputBytes = 1024 * 1024
/** Half of what a string can hold. */
const mostOutputBytes = 256 * 1024 * 1024
const execTimeout = Duration.minutes(1)
const copyFiles = 100_000
const copyBytes = 1024 * 1024 * 1024

const textEncoder = new TextEncoder()

const toBytes = (content: string | Uint8Array): Uint8Array =>
  typeof content === "string" ? textEncoder.encode(content) : content

const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error)

const execFailed = (cause: unknown): SandboxErrorReason =>
  new SandboxError.ExecFailed({ description: `The backend failed: ${messageOf(cause)}`, cause })

const fileFailed = (path: string) => (cause: unknown): SandboxErrorReason =>
  new SandboxError.FileSystemFailed({
    path,
    description: `The backend failed: ${messageOf(cause)}`,
    isTransient: false,
    cause
  })

const unavailable = (cause: unknown): SandboxErrorReason =>
  new SandboxError.Unavailable({ description: `The backend failed: ${messageOf(cause)}`, cause })

const toReason = (error: unknown, otherwise: (cause: unknown) => SandboxErrorReason): SandboxErrorReason =>
  SandboxError.isSandboxErrorReason(error)
    ? error
    : SandboxError.isSandboxError(error)
    ? error.reason
    : otherwise(error)

/** Runs a primitive so that whatever goes wrong in it is a reason. */
const call = <A, R>(
  primitive: () => Effect.Effect<A, unknown, R>,
  otherwise: (cause: unknown) => SandboxErrorReason
): Effect.Effect<A, SandboxErrorReason, R> =>
  Effect.catchCause(Effect.suspend(primitive), (cause) => {
    const failure = cause.reasons.find(Cause.isFailReason)
    if (failure !== undefined) return Effect.fail(toReason(failure.error, otherwise))
    const defect = cause.reasons.find(Cause.isDieReason)
    return defect === undefined
      ? Effect.failCause(cause as Cause.Cause<never>)
      : Effect.fail(toReason(defect.defect, otherwise))
  })

/** The path relative to the workspace, without `.`, `..` and empty parts. `root`: what absolute paths may start with. */
const normalise = (path: string, root: string | undefined): Result.Result<string, SandboxErrorReason> => {
  if (path.includes("\0")) {
    return Result.fail(new SandboxError.NotPermitted({ path, description: "A path has no NUL character" }))
  }
  const below = root !== undefined && (path === root || path.startsWith(`${root}/`))
    ? path.slice(root.length + 1)
    : path
  const parts: Array<string> = []
  if (below.startsWith("/")) return Result.fail(new SandboxError.OutsideWorkspace({ path }))
  for (const part of below.split("/")) {
    if (part === "" || part === ".") continue
    if (part !== "..") parts.push(part)
    else if (parts.pop() === undefined) return Result.fail(new SandboxError.OutsideWorkspace({ path }))
  }
  return Result.succeed(parts.join("/"))
}

/** What is wrong with the variables, if something is: its name and why. */
const wrongVariable = (
  variables: Readonly<Record<string, string>>
): readonly [name: string, description: string] | undefined => {
  for (const [name, value] of Object.entries(variables)) {
    if (name === "" || name.includes("=") || name.includes("\0")) {
      return [name, "the name of a variable is not empty and has no = and no NUL character"]
    }
    if (value.includes("\0")) return [name, "the value of a variable has no NUL character"]
  }
  return undefined
}

const isCount = (value: number): boolean => value >= 0 && !Number.isNaN(value)

const wrongLimit = (path: string, description: string) =>
  Effect.fail(new SandboxError.NotPermitted({ path, description }))

const notAsked = (description: string) => Effect.fail(new SandboxError.ExecFailed({ description }))

const toManifestReason = (path: string) => (reason: SandboxErrorReason): SandboxErrorReason => {
  switch (reason._tag) {
    case "NotPermitted":
    case "OutsideWorkspace":
    case "NotFound":
      return new SandboxError.InvalidManifest({ path, description: reason.message })
    default:
      return reason
  }
}

const checkManifest = (manifest: Manifest): Effect.Effect<void, SandboxErrorReason> => {
  const wrong = wrongVariable(manifest.environment ?? {})
  if (wrong !== undefined) {
    return Effect.fail(new SandboxError.InvalidManifest({ path: wrong[0], description: wrong[1] }))
  }
  for (const path of Object.keys(manifest.files ?? {})) {
    const checked = normalise(path, undefined)
    if (Result.isFailure(checked)) return Effect.fail(toManifestReason(path)(checked.failure))
    if (checked.success === "") {
      return Effect.fail(new SandboxError.InvalidManifest({ path, description: "this is the workspace, not a file" }))
    }
  }
  for (const { maxBytes = 0, maxFiles = 0, path = "" } of manifest.directories ?? []) {
    const checked = normalise(path, undefined)
    if (Result.isFailure(checked)) return Effect.fail(toManifestReason(path)(checked.failure))
    if (!isCount(maxBytes) || !isCount(maxFiles)) {
      return Effect.fail(new SandboxError.InvalidManifest({ path, description: "a limit is a number from 0" }))
    }
  }
  return Effect.void
}

const fill = Effect.fnUntraced(function*(
  backend: string,
  workspace: Workspace,
  manifest: Manifest
): Effect.fn.Return<void, SandboxErrorReason> {
  for (const directory of manifest.directories ?? []) {
    const { copyDirectory } = workspace
    if (copyDirectory === undefined) {
      return yield* new SandboxError.Unsupported({
        description: `The ${backend} sandbox copies no directories; put the files into the manifest`
      })
    }
    const path = yield* Effect.fromResult(normalise(directory.path ?? "", undefined))
    yield* Effect.mapError(
      call(() =>
        copyDirectory({
          source: directory.source,
          path,
          exclude: directory.exclude ?? [],
          maxFiles: directory.maxFiles ?? copyFiles,
          maxBytes: directory.maxBytes ?? copyBytes
        }), fileFailed(directory.source)),
      toManifestReason(directory.source)
    )
  }
  for (const [name, content] of Object.entries(manifest.files ?? {})) {
    const path = yield* Effect.fromResult(normalise(name, undefined))
    yield* Effect.mapError(
      call(() => workspace.writeFile(path, toBytes(content)), fileFailed(name)),
      toManifestReason(name)
    )
  }
})

/** Runs effects until it is closed; closing stops those that run, waits for them and refuses all that come later. */
const makeGate = () => {
  const closing = Deferred.makeUnsafe<never, SandboxErrorReason>()
  const idle = Deferred.makeUnsafe<void>()
  const closed = Effect.fail<SandboxErrorReason>(new SandboxError.Closed())
  let isClosed = false
  let running = 0
  const leave = Effect.sync(() => {
    running--
    if (isClosed && running === 0) Deferred.doneUnsafe(idle, Effect.void)
  })
  return {
    enter: <A>(effect: Effect.Effect<A, SandboxErrorReason>): Effect.Effect<A, SandboxErrorReason> =>
      Effect.uninterruptibleMask((restore) => {
        if (isClosed) return closed
        running++
        return Effect.ensuring(restore(Effect.raceFirst(effect, Deferred.await(closing))), leave)
      }),
    close: Effect.suspend(() => {
      isClosed = true
      Deferred.doneUnsafe(closing, closed)
      return running === 0 ? Effect.void : Deferred.await(idle)
    })
  }
}

const checkCommand = (
  command: string | ReadonlyArray<string>,
  options: ExecOptions
): string | undefined => {
  const parts = typeof command === "string" ? [command] : command
  if (parts.length === 0 || parts[0] === "") return "The command is empty"
  if (parts.some((part) => part.includes("\0"))) return "A command has no NUL character"
  const { maxOutputBytes: most = 0 } = options
  if (!isCount(most) || most > mostOutputBytes) {
    return `maxOutputBytes is ${most}; pass a number from 0 to ${mostOutputBytes} (256 MiB). Send more output to a file`
  }
  const wrong = wrongVariable(options.environment ?? {})
  return wrong === undefined ? undefined : `Variable "${wrong[0]}": ${wrong[1]}`
}

const makeSession = (
  backend: string,
  guarantees: Guarantees,
  workspace: Workspace,
  environment: Readonly<Record<string, string>>
) => {
  const gate = makeGate()
  const { id, location, root } = workspace

  const operation = <A>(
    name: string,
    effect: Effect.Effect<A, SandboxErrorReason>
  ): Effect.Effect<A, SandboxError.SandboxError> => traced(backend, name, gate.enter(effect))

  const at = <A>(
    path: string,
    use: (path: string) => Effect.Effect<A, unknown>
  ): Effect.Effect<A, SandboxErrorReason> =>
    Effect.flatMap(Effect.fromResult(normalise(path, root)), (inside) => call(() => use(inside), fileFailed(path)))

  const runCommand = Effect.fnUntraced(function*(
    command: Command["command"],
    options: ExecOptions
  ): Effect.fn.Return<ExecResult, SandboxErrorReason> {
    const wrong = checkCommand(command, options)
    if (wrong !== undefined) return yield* notAsked(wrong)
    const timeout = Duration.fromInput(options.timeout ?? execTimeout)
    if (Option.isNone(timeout) || Duration.isNegative(timeout.value)) {
      return yield* notAsked("The timeout is not a duration from 0")
    }
    const cwd = yield* Effect.fromResult(normalise(options.cwd ?? "", root))
    const limit = Math.floor(options.maxOutputBytes ?? maxOutputBytes)
    const stdout = Capture.make(limit)
    const stderr = Capture.make(limit)
    const started = yield* Clock.monotonicTimeNanos
    const ended = yield* Effect.timeoutOption(
      call(() =>
        workspace.exec(
          {
            command,
            environment: { ...environment, ...options.environment },
            cwd,
            stdin: options.stdin === undefined ? undefined : toBytes(options.stdin)
          },
          (from, chunk) => (from === "stdout" ? stdout : stderr).push(chunk)
        ), execFailed),
      timeout.value
    )
    const over = yield* Clock.monotonicTimeNanos
    const out = stdout.text()
    const err = stderr.text()
    return {
      exitCode: Option.getOrElse(ended, () => 124),
      stdout: out.text,
      stderr: err.text,
      isTimedOut: Option.isNone(ended),
      isTruncated: out.isTruncated || err.isTruncated,
      durationMillis: Number((over - started) / 1000n) / 1000
    }
  })

  const session = {
    state: { backend, id, location } satisfies SandboxState,
    guarantees,
    root,

    exec: (command: Command["command"], options: ExecOptions = {}) => operation("exec", runCommand(command, options)),

    readFile: (path: string, options: { readonly maxBytes?: number | undefined } = {}) => {
      const maximum = options.maxBytes ?? maxReadBytes
      return operation(
        "readFile",
        isCount(maximum) && maximum <= mostReadBytes
          ? at(path, (inside) => workspace.readFile(inside, Math.floor(maximum)))
          : wrongLimit(
            path,
            `maxBytes is ${maximum}; pass a number from 0 to ${mostReadBytes} (1 GiB). Read a larger file in parts, with ` +
              "a command"
          )
      )
    },

    writeFile: (path: string, content: string | Uint8Array) =>
      operation("writeFile", at(path, (inside) => workspace.writeFile(inside, toBytes(content)))),

    list: (
      path = "",
      options: { readonly isRecursive?: boolean | undefined; readonly maxEntries?: number | undefined } = {}
    ): Effect.Effect<ReadonlyArray<FileEntry>, SandboxError.SandboxError> => {
      const maximum = options.maxEntries ?? maxEntries
      if (!isCount(maximum)) {
        return operation("list", wrongLimit(path, `maxEntries is ${maximum}; pass a number from 0`))
      }
      const found = at(
        path,
        (inside) => workspace.list(inside, { isRecursive: options.isRecursive ?? false, maxEntries: maximum })
      )
      return operation(
        "list",
        Effect.flatMap(found, (entries) =>
          entries.length > maximum
            ? Effect.fail(
              new SandboxError.LimitExceeded({
                limit: `Entries of "${path}"`,
                maximum,
                actual: entries.length
              })
            )
            : Effect.succeed(entries.toSorted((a, b) => a.path < b.path ? -1 : a.path > b.path ? 1 : 0)))
      )
    },

    remove: (path: string, options: { readonly isRecursive?: boolean | undefined } = {}) =>
      operation(
        "remove",
        at(path, (inside) =>
          inside === ""
            ? Effect.fail(
              new SandboxError.NotPermitted({
                path,
                description: "The workspace itself is removed by closing its scope"
              })
            )
            : workspace.remove(inside, { isRecursive: options.isRecursive ?? false }))
      )
  }
  return { session, close: gate.close }
}

type Session = ReturnType<typeof makeSession>["session"]

const traced = <A, R>(
  backend: string,
  name: string,
  effect: Effect.Effect<A, SandboxErrorReason, R>
): Effect.Effect<A, SandboxError.SandboxError, R> =>
  Tracer.withSpan(
    Effect.mapError(effect, (reason) => new SandboxError.SandboxError({ backend, operation: name, reason })),
    () => ({ _tag: "Sandbox" as const, backend, operation: name })
  )

/** @internal */
export const make = (primitives: Primitives) => {
  const { backend, guarantees } = primitives

  /** A session in a scope of its own, which is closed at once where something fails. */
  const open = (
    acquire: Effect.Effect<Workspace | undefined, SandboxErrorReason, Scope.Scope>,
    environment: Readonly<Record<string, string>>,
    setReady: (isReady: boolean) => void
  ): Effect.Effect<Session | undefined, SandboxErrorReason, Scope.Scope> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function*() {
        const scope = yield* Scope.fork(yield* Effect.scope)
        const exit = yield* Effect.exit(restore(Scope.provide(acquire, scope)))
        if (Exit.isFailure(exit) || exit.value === undefined) {
          yield* Scope.close(scope, exit)
          return yield* exit as Exit.Exit<undefined, SandboxErrorReason>
        }
        setReady(true)
        const { onReady } = exit.value
        const ready = onReady === undefined ? Exit.void : yield* Effect.exit(call(() => onReady, unavailable))
        if (Exit.isFailure(ready)) {
          setReady(false)
          yield* Scope.close(scope, ready)
          return yield* ready as Exit.Exit<undefined, SandboxErrorReason>
        }
        const { close, session } = makeSession(backend, guarantees, exit.value, environment)
        yield* Scope.addFinalizer(scope, close)
        return session
      })
    )

  const createWorkspace = (manifest: Manifest, isKept: boolean) =>
    Effect.suspend(() => {
      let isReady = false
      return Effect.andThen(
        checkManifest(manifest),
        open(
          Effect.tap(
            call(() => primitives.create(() => isReady && isKept), unavailable),
            (workspace) => fill(backend, workspace, manifest)
          ),
          manifest.environment ?? {},
          (ready) => {
            isReady = ready
          }
        )
      ) as Effect.Effect<Session, SandboxErrorReason, Scope.Scope>
    })

  const resumeWorkspace = Effect.fnUntraced(function*(
    state: SandboxState,
    manifest: Manifest | undefined,
    isKept: boolean
  ) {
    if (state.backend !== backend) {
      return yield* new SandboxError.Unsupported({
        description: `This workspace was made by the ${state.backend} sandbox; resume it with that one`
      })
    }
    if (manifest !== undefined) yield* checkManifest(manifest)
    let isReady = false
    const session = primitives.resume === undefined ? undefined : yield* open(
      // What cannot be opened is not thereby lost.
      call(() => primitives.resume!(state, () => !isReady || isKept), unavailable),
      manifest?.environment ?? {},
      (ready) => {
        isReady = ready
      }
    )
    if (session !== undefined) return { _tag: "Resumed" as const, session }
    if (manifest === undefined) return { _tag: "Gone" as const }
    return {
      _tag: "Recreated" as const,
      session: yield* createWorkspace(manifest, isKept),
      lost: "Every change made since the workspace was created: the files that are there now are the manifest's"
    }
  })

  return {
    backend,
    guarantees,
    create: (manifest: Manifest = {}, options: CreateOptions = {}) =>
      traced(backend, "create", createWorkspace(manifest, options.isKept ?? false)),
    resume: (state: SandboxState, manifest?: Manifest, options: ResumeOptions = {}) =>
      traced(backend, "resume", resumeWorkspace(state, manifest, options.isKept ?? true))
  }
}
