/** npm, run in the folder of a package. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as ChildProcess from "effect/process/ChildProcess"
import { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

const Names = Schema.optionalKey(Schema.Record(Schema.String, Schema.String))

const Manifest = Schema.fromJsonString(Schema.Struct({
  name: Schema.optionalKey(Schema.String),
  version: Schema.optionalKey(Schema.String),
  dependencies: Names,
  peerDependencies: Names,
  scripts: Names,
  agentLayers: Schema.optionalKey(Schema.Unknown)
}))

/** What a check looks at in a package.json. */
export type Manifest = typeof Manifest.Type

/** The package.json of a folder; an empty one where there is none that can be read. */
export const readManifest = Effect.fnUntraced(function*(folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  return yield* fs.readFileString(path.join(folder, "package.json")).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Manifest)),
    Effect.orElseSucceed((): Manifest => ({}))
  )
})

const Entries = Schema.Struct({
  extensions: Schema.Array(Schema.Struct({ kind: Schema.String, name: Schema.String, entry: Schema.String }))
})

/** Where the manifest says that the modules of its extensions are. */
export const entriesOf = (manifest: Manifest): ReadonlyArray<(typeof Entries.Type)["extensions"][number]> => {
  const entries = Schema.decodeUnknownOption(Entries)(manifest.agentLayers)
  return entries._tag === "Some" ? entries.value.extensions : []
}

interface Ran {
  readonly code: number
  readonly stdout: string
  readonly output: string
}

const limit = Duration.minutes(10)

const ran = (folder: string, args: ReadonlyArray<string>): Effect.Effect<Ran, never, ChildProcessSpawner> =>
  Effect.scoped(Effect.gen(function*() {
    const spawner = yield* ChildProcessSpawner
    const child = yield* spawner.spawn(
      ChildProcess.make("npm", args, {
        cwd: folder,
        extendEnv: true,
        env: { NO_COLOR: "1", FORCE_COLOR: undefined },
        stdin: "ignore"
      })
    )
    const [stdout, stderr] = yield* Effect.all([
      Stream.mkString(Stream.decodeText(child.stdout)),
      Stream.mkString(Stream.decodeText(child.stderr))
    ], { concurrency: 2 })
    return { code: yield* child.exitCode, stdout, output: `${stdout}\n${stderr}` }
  })).pipe(
    Effect.timeoutOrElse({
      duration: limit,
      orElse: () => Effect.succeed({ code: 1, stdout: "", output: `Error: no end within ${Duration.format(limit)}` })
    }),
    Effect.catch((error) => Effect.succeed({ code: 1, stdout: "", output: `Error: ${error.message}` }))
  )

/** Runs a script of the package, or another command of npm, to its end. */
export const run = (folder: string, args: ReadonlyArray<string>): Effect.Effect<Ran, never, ChildProcessSpawner> =>
  ran(folder, ["--loglevel=error", ...args])

const Packed = Schema.fromJsonString(Schema.Array(Schema.Struct({
  size: Schema.Finite,
  files: Schema.Array(Schema.Struct({ path: Schema.String }))
})))

/** What npm would pack, after the package's own scripts. */
export const pack = Effect.fnUntraced(function*(folder: string) {
  const { code, output, stdout } = yield* run(folder, ["pack", "--dry-run", "--json"])
  // Scripts print before it.
  const at = stdout.search(/^\[\s*$/m)
  const packed = Schema.decodeUnknownOption(Packed)(at < 0 ? "" : stdout.slice(at))
  const [first] = packed._tag === "Some" ? packed.value : []
  return code !== 0 || first === undefined
    ? { _tag: "Failed", output } as const
    : {
      _tag: "Packed",
      files: first.files.map(({ path }) => path),
      size: `${(first.size / 1024).toFixed(1)} kB`
    } as const
})

/** The first line that says what went wrong. */
export const firstFailure = (output: string): string => {
  const lines = output.replaceAll(/\p{Cc}\[[\d;]*m/gu, "").split("\n").map((line) => line.trim())
  const found =
    lines.find((line) => /^(?:FAIL\b|×|✖|not ok|Error|AssertionError|[\w./-]+\(\d+,\d+\): error)/.test(line)) ??
      lines.findLast((line) => line !== "")
  return found === undefined ? "" : `: ${found.slice(0, 200)}`
}

/** How many tests passed, where a test runner said so. */
export const counted = (output: string): string => {
  const found = /Tests\s+(\d+) passed|^# pass (\d+)/m.exec(output.replaceAll(/\p{Cc}\[[\d;]*m/gu, ""))
  const count = found?.[1] ?? found?.[2]
  return count === undefined ? "" : ` (${count} tests)`
}

const sourceFile = /\.(?:test|spec)\.[cm]?[jt]sx?$|(?:^|\/)tests?\/.*\.[cm]?[jt]sx?$/

/** The texts of a package's tests. */
export const testSources = Effect.fnUntraced(function*(folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const listed = (directory: string): Effect.Effect<ReadonlyArray<string>> =>
    fs.readDirectory(path.join(folder, directory)).pipe(
      Effect.flatMap((names) =>
        Effect.forEach(names, (name) => {
          const file = directory === "" ? name : `${directory}/${name}`
          if (name === "node_modules" || name === "dist" || name.startsWith(".")) return Effect.succeed([])
          return Effect.flatMap(
            fs.stat(path.join(folder, file)),
            ({ type }) => type === "Directory" ? listed(file) : Effect.succeed([file])
          )
        })
      ),
      Effect.map((files) => files.flat()),
      Effect.orElseSucceed(() => [])
    )
  const files = (yield* listed("")).filter((file) => sourceFile.test(file))
  return yield* Effect.forEach(
    files,
    (file) => Effect.orElseSucceed(fs.readFileString(path.join(folder, file)), () => "")
  )
})
