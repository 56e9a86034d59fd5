/**
 * Tools over the current `SandboxSession`: run a command, read, write and list files. What they answer is text, cut to
 * what a model can take in, with a line that says so where something is missing. What goes wrong is told to the model,
 * which can mend it.
 *
 * ```ts
 * const agent = Agent.make({ name: "coder", toolkit: ToolsSandbox.toolkit })
 * // needs: ToolsSandbox.layer, which needs: Sandbox.layerSession(), which needs: SandboxBubblewrap.layer()
 * ```
 *
 * @since 0.1.0
 */
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { ExecResult, FileEntry } from "../../services/Sandbox.ts"
import { SandboxSession } from "../../services/Sandbox.ts"
import type { SandboxError } from "../../services/SandboxError.ts"

/**
 * How many bytes of text a tool answers with, about; `shell` gives as many of each of stdout and stderr. Read at each
 * call. Default: 32,768.
 *
 * @category references
 * @since 0.1.0
 */
export const MaxOutputBytes: Context.Reference<number> = Context.Reference<number>(
  "agent-layers/layers/tools/ToolsSandbox/MaxOutputBytes",
  { defaultValue: () => 32_768 }
)

/**
 * What the model is told when a tool could not do what it was asked for. `reason` is the tag of a `SandboxError`'s
 * reason, or `NotText` or `NoSuchLine`.
 *
 * @category errors
 * @since 0.1.0
 */
export class SandboxToolFailure extends Schema.Error<SandboxToolFailure>(
  "agent-layers/layers/tools/ToolsSandbox/SandboxToolFailure"
)({
  _tag: Schema.tag("SandboxToolFailure"),
  reason: Schema.String,
  message: Schema.String
}) {}

/** Many models send `null` for what they leave out. */
const optional = <S extends Schema.Constraint>(schema: S, description: string) =>
  Schema.optionalKey(Schema.NullOr(schema).annotate({ description }))

const shell = Tool.make("shell", {
  description:
    "Run a command line with sh. It starts in the workspace, reads nothing from a terminal, and is killed with all that " +
    "it started when it ends or its time is up, so run nothing in the background. Returns the exit code, stdout and " +
    "stderr; of long output the middle is left out, so narrow it with grep, head or tail.",
  parameters: Schema.Struct({
    command: Schema.String.annotate({ description: "The command line, as for sh -c." }),
    directory: optional(Schema.String, "Where to run it, relative to the workspace. Default: the workspace."),
    timeout_seconds: optional(
      Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 600 })),
      "When to kill it. Default: 60."
    )
  }),
  success: Schema.String,
  failure: SandboxToolFailure,
  failureMode: "return"
}).annotate(Tool.Title, "Run a command")

const readFile = Tool.make("read_file", {
  description:
    "Read a text file. Long files come in parts: the last line of the answer says where to read on. For a file that is " +
    "not text, this fails.",
  parameters: Schema.Struct({
    path: Schema.String.annotate({ description: "Relative to the workspace." }),
    start_line: optional(
      Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
      "The first line to read, counted from 1. Default: 1."
    ),
    max_lines: optional(
      Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
      "At most so many lines. Default: as many as fit into the answer."
    )
  }),
  success: Schema.String,
  failure: SandboxToolFailure,
  failureMode: "return"
}).annotate(Tool.Title, "Read a file").annotate(Tool.Readonly, true).annotate(Tool.Destructive, false)
  .annotate(Tool.Idempotent, true).annotate(Tool.OpenWorld, false)

const writeFile = Tool.make("write_file", {
  description:
    "Write a text file whole: what it held before is replaced. Directories above it are made. To change a part of a " +
    "file, read it first and write it back with the change.",
  parameters: Schema.Struct({
    path: Schema.String.annotate({ description: "Relative to the workspace." }),
    content: Schema.String.annotate({ description: "The whole content." })
  }),
  success: Schema.String,
  failure: SandboxToolFailure,
  failureMode: "return"
}).annotate(Tool.Title, "Write a file").annotate(Tool.Destructive, true).annotate(Tool.Idempotent, true)
  .annotate(Tool.OpenWorld, false)

const listFiles = Tool.make("list_files", {
  description:
    "List a directory: one entry a line in order of path, directories with a slash at the end, links with an @, files " +
    "with their size in bytes. Links are not followed.",
  parameters: Schema.Struct({
    path: optional(Schema.String, "Relative to the workspace. Default: the workspace."),
    recursive: optional(Schema.Boolean, "Whether to list the directories in it too. Default: false.")
  }),
  success: Schema.String,
  failure: SandboxToolFailure,
  failureMode: "return"
}).annotate(Tool.Title, "List files").annotate(Tool.Readonly, true).annotate(Tool.Destructive, false)
  .annotate(Tool.Idempotent, true).annotate(Tool.OpenWorld, false)

/**
 * `shell`, `read_file`, `write_file` and `list_files`.
 *
 * @category toolkits
 * @since 0.1.0
 */
export const toolkit = Toolkit.make(shell, readFile, writeFile, listFiles)

/**
 * `read_file` and `list_files`: nothing runs and nothing changes.
 *
 * @category toolkits
 * @since 0.1.0
 */
export const toolkitReadOnly = Toolkit.make(readFile, listFiles)

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true })

const failed = (reason: string, message: string) => Effect.fail(new SandboxToolFailure({ reason, message }))

/** The model can mend what it asked for, not a session that its program has closed. */
const told = <A>(effect: Effect.Effect<A, SandboxError>): Effect.Effect<A, SandboxToolFailure> =>
  Effect.catch(
    effect,
    (error) => error.reason._tag === "Closed" ? Effect.die(error) : failed(error.reason._tag, error.reason.message)
  )

const amount = (count: number, what: string): string =>
  `${count.toLocaleString("en-US")} ${count === 1 ? what : what.endsWith("y") ? `${what.slice(0, -1)}ies` : `${what}s`}`

const describeResult = ({ durationMillis, exitCode, isTimedOut, stderr, stdout }: ExecResult): string => {
  const seconds = `${(durationMillis / 1000).toFixed(1)} s`
  const first = isTimedOut ? `killed: its time was up after ${seconds}` : `exit code ${exitCode} after ${seconds}`
  const part = (name: string, text: string) => text === "" ? "" : `\n[${name}]\n${text.replace(/\n$/, "")}`
  return first + part("stdout", stdout) + part("stderr", stderr)
}

/** As many whole lines as fit, at least a part of the first. */
const fit = (
  lines: ReadonlyArray<string>,
  maxBytes: number
): { readonly lines: ReadonlyArray<string>; readonly isCut: boolean } => {
  let bytes = 0
  for (let index = 0; index < lines.length; index++) {
    bytes += encoder.encode(lines[index]).length + 1
    if (bytes <= maxBytes + 1) continue
    if (index > 0) return { lines: lines.slice(0, index), isCut: false }
    const kept = Array.from(lines[0]!.slice(0, maxBytes))
    while (encoder.encode(kept.join("")).length > maxBytes) kept.length = Math.floor(kept.length * 0.9)
    return { lines: [kept.join("")], isCut: true }
  }
  return { lines, isCut: false }
}

const decode = (path: string, bytes: Uint8Array): Effect.Effect<string, SandboxToolFailure> => {
  const notText = () =>
    failed("NotText", `"${path}" is not a text file: ${amount(bytes.length, "byte")} of something else`)
  return bytes.includes(0)
    ? notText()
    : Effect.catch(Effect.try({ try: () => decoder.decode(bytes), catch: () => undefined }), notText)
}

const describeFile = (
  path: string,
  text: string,
  parameters: (typeof readFile.parametersSchema)["Type"],
  maxBytes: number
): Effect.Effect<string, SandboxToolFailure> => {
  const start = parameters.start_line ?? 1
  const end = parameters.max_lines == null ? undefined : start - 1 + parameters.max_lines
  if (text === "") return Effect.succeed("[the file is empty]")
  const lines = text.split("\n")
  if (lines.at(-1) === "") lines.pop()
  if (start > lines.length) return failed("NoSuchLine", `"${path}" has ${amount(lines.length, "line")}`)
  const wanted = lines.slice(start - 1, end)
  const { isCut, lines: shown } = fit(wanted, maxBytes)
  const last = start - 1 + shown.length
  const content = shown.join("\n")
  if (start === 1 && last === lines.length && !isCut) return Effect.succeed(content)
  const notes = [
    `lines ${start} to ${last} of ${lines.length}`,
    ...(isCut ? [`line ${start} is cut, it is longer than an answer may be`] : []),
    ...(last < lines.length ? [`read on with start_line ${last + 1}`] : [])
  ]
  return Effect.succeed(`${content}\n[${notes.join("; ")}]`)
}

const describeEntry = ({ kind, path, size }: FileEntry): string => {
  switch (kind) {
    case "file":
      return `${path} ${size}`
    case "directory":
      return `${path}/`
    case "link":
      return `${path}@`
    case "other":
      return `${path} (neither file, directory nor link)`
  }
}

const describeEntries = (entries: ReadonlyArray<FileEntry>, maxBytes: number): string => {
  if (entries.length === 0) return "[the directory is empty]"
  const { lines } = fit(entries.map(describeEntry), maxBytes)
  const missing = entries.length - lines.length
  return missing === 0
    ? lines.join("\n")
    : `${lines.join("\n")}\n[… ${amount(missing, "more entry")} left out: list a directory of it, or not recursively …]`
}

const readHandlers = (session: SandboxSession["Service"]) => ({
  read_file: Effect.fnUntraced(function*(parameters: (typeof readFile.parametersSchema)["Type"]) {
    const { path } = parameters
    const text = yield* Effect.flatMap(told(session.readFile(path)), (bytes) => decode(path, bytes))
    return yield* describeFile(path, text, parameters, yield* MaxOutputBytes)
  }),
  list_files: Effect.fnUntraced(
    function*({ path, recursive }: (typeof listFiles.parametersSchema)["Type"]) {
      const entries = yield* told(session.list(path ?? undefined, { isRecursive: recursive ?? false }))
      return describeEntries(entries, yield* MaxOutputBytes)
    }
  )
})

/**
 * The handlers of `toolkit`, over the session that is current when the Layer is built.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Tool.HandlersFor<typeof toolkit.tools>, never, SandboxSession> = toolkit.toLayer(
  Effect.map(SandboxSession, (session) =>
    toolkit.of({
      ...readHandlers(session),
      shell: Effect.fnUntraced(function*({ command, directory, timeout_seconds: timeout }) {
        const result = yield* told(session.exec(command, {
          cwd: directory ?? undefined,
          timeout: `${timeout ?? 60} seconds`,
          maxOutputBytes: yield* MaxOutputBytes
        }))
        return describeResult(result)
      }),
      write_file: Effect.fnUntraced(function*({ content, path }) {
        const bytes = encoder.encode(content)
        yield* told(session.writeFile(path, bytes))
        return `Wrote ${amount(bytes.length, "byte")} to ${path}`
      })
    }))
)

/**
 * The handlers of `toolkitReadOnly`. With `layer` it works too; this one cannot run or change anything even by mistake.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerReadOnly: Layer.Layer<Tool.HandlersFor<typeof toolkitReadOnly.tools>, never, SandboxSession> =
  toolkitReadOnly.toLayer(
    Effect.map(SandboxSession, (session) => toolkitReadOnly.of(readHandlers(session)))
  )
