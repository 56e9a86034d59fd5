/**
 * Checks a package with extensions before it is published: that its manifest says what its modules export, that it works
 * with this version of agent-layers, that its tests run the laws of its kinds and pass, and that what npm packs is what
 * users need and nothing that they must not have. One line each, with what to do where it fails.
 *
 * It runs the package's own code: its `build`, `test` and `prepack` scripts, and the modules of its extensions.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import * as Extension from "../../services/Extension.ts"
import type { ExtensionError } from "../../services/ExtensionError.ts"
import { compare, isVersion } from "../../services/internal/extensionCompatibility.ts"
import * as Discovery from "./Discovery.ts"
import * as npm from "./internal/npm.ts"
import * as packages from "./internal/packages.ts"

/**
 * @category models
 * @since 0.1.0
 */
export type Topic = "manifest" | "compatibility" | "laws" | "pack"

/**
 * What one check found.
 *
 * @category models
 * @since 0.1.0
 */
export interface Line {
  readonly topic: Topic
  readonly outcome: "passed" | "failed" | "not run"
  readonly message: string
  /** What to do; present where it did not pass. */
  readonly doNext?: string | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly package: string
  readonly lines: ReadonlyArray<Line>
  /** Whether nothing failed and everything was run. */
  readonly isPassed: boolean
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Which checks are made.
   * @default all
   */
  readonly topics?: ReadonlyArray<Topic> | undefined
  /**
   * The version of agent-layers that the package is compared with.
   * @default this one
   */
  readonly version?: string | undefined
}

const passed = (topic: Topic, message: string): Line => ({ topic, outcome: "passed", message })

const failed = (topic: Topic, message: string, doNext: string): Line => ({ topic, outcome: "failed", message, doNext })

const notRun = (topic: Topic, message: string, doNext: string): Line => ({ topic, outcome: "not run", message, doNext })

const sentence = (text: string): string => /[.!?]$/.test(text) ? text : `${text}.`

interface Subject {
  readonly folder: string
  readonly name: string
  readonly manifest: npm.Manifest
  readonly candidates: ReadonlyArray<Extension.Candidate>
  readonly broken: ReadonlyArray<ExtensionError>
}

const title = ({ kind, name }: { readonly kind: string; readonly name: string }): string => `${kind} "${name}"`

/** Members of the manifest that users depend on. */
const membersOf = ({ manifest }: Subject): ReadonlyArray<Line> => {
  const lines: Array<Line> = []
  const { dependencies = {}, peerDependencies = {}, version } = manifest
  if (version === undefined || !isVersion(version)) {
    lines.push(failed("manifest", "`version` is no version", `Write one, such as "0.1.0"`))
  }
  for (const name of ["agent-layers", "effect"]) {
    if (Object.hasOwn(dependencies, name)) {
      lines.push(failed(
        "manifest",
        `"${name}" is in \`dependencies\`: users may get a second copy, whose services nobody else sees`,
        "Move it to `peerDependencies`"
      ))
    } else if (!Object.hasOwn(peerDependencies, name)) {
      lines.push(failed(
        "manifest",
        `"${name}" is not in \`peerDependencies\``,
        `Add the range of versions that the package works with, such as "${name}": "${
          name === "effect" ? "^4.1.0" : `^${Extension.version}`
        }"`
      ))
    }
  }
  return lines
}

const shown = (value: string | boolean): string => typeof value === "string" ? `"${value}"` : String(value)

/** What a module exports, beside what the manifest says of it. */
const exported = (candidate: Extension.Candidate): Effect.Effect<Line> =>
  candidate.load.pipe(
    Effect.flatMap((module) => Effect.fromResult(Extension.validate(module, title(candidate)))),
    Effect.match({
      onFailure: (error) =>
        failed(
          "manifest",
          `${title(candidate)} cannot be loaded: ${error.reason.message}`,
          error.reason._tag === "InvalidExtension" && error.reason.member.endsWith(".entry")
            ? "Build the package (npm run build), or correct `entry` or `exports`"
            : "Correct the module that `entry` names"
        ),
      onSuccess: (extension) => {
        for (const member of ["kind", "name", "version", "compatibleWith", "decorates"] as const) {
          if (extension[member] === candidate[member]) continue
          return failed(
            "manifest",
            `${title(candidate)}: the module exports ${member} ${shown(extension[member])}, and package.json says ${
              shown(candidate[member])
            }`,
            "Write the same in both"
          )
        }
        return passed("manifest", `${title(candidate)} is what package.json says of it`)
      }
    })
  )

const checkManifest = Effect.fnUntraced(function*(
  subject: Subject
): Effect.fn.Return<ReadonlyArray<Line>, never, ChildProcessSpawner> {
  const { broken, candidates, folder, manifest } = subject
  const lines: Array<Line> = [...membersOf(subject)]
  if (candidates.length === 0 && broken.length === 0) {
    lines.push(failed(
      "manifest",
      "package.json tells of no extension",
      `Add: "agentLayers": { "extensions": [{ "kind": "session", "name": "acme", "entry": "./extension" }] }`
    ))
  }
  lines.push(...broken.map(({ reason }) => failed("manifest", reason.message, "Correct package.json")))
  // What was built before may be of other sources.
  if (candidates.length > 0 && manifest.scripts?.["build"] !== undefined) {
    const { code, output } = yield* npm.run(folder, ["run", "build"])
    if (code !== 0) {
      return [...lines, failed("manifest", `npm run build fails${npm.firstFailure(output)}`, "Mend what it tells")]
    }
  }
  return [...lines, ...yield* Effect.forEach(candidates, exported)]
})

const checkCompatibility = Effect.fnUntraced(function*(
  { candidates, folder, manifest }: Subject,
  version: string
): Effect.fn.Return<ReadonlyArray<Line>> {
  const lines = candidates.map((candidate) => {
    const compatibility = Extension.compatibility(candidate, version)
    return compatibility._tag === "Compatible"
      ? passed("compatibility", `${title(candidate)} works with agent-layers ${version} (${candidate.compatibleWith})`)
      : failed(
        "compatibility",
        `${title(candidate)} works with agent-layers ${compatibility.required}, and this is ${compatibility.found}`,
        compatibility.doNext
      )
  })
  for (const [name, range] of Object.entries(manifest.peerDependencies ?? {})) {
    if (name === "agent-layers") continue
    const found = yield* packages.installed(name, folder)
    if (found === undefined) {
      lines.push(notRun(
        "compatibility",
        `the peer "${name}" is not installed`,
        `Install it, to be checked and tested with: npm install --save-dev ${name}@"${range}"`
      ))
      continue
    }
    const compatibility = compare(name, range, found, "the package")
    if (compatibility._tag === "Incompatible") {
      lines.push(
        failed("compatibility", `it wants ${name} ${range}, and is tested with ${found}`, compatibility.doNext)
      )
    }
  }
  return lines
})

/** The laws of each kind. A toolkit has none. */
const lawsOf: Readonly<Record<Extension.ExtensionKind, string | undefined>> = {
  session: "SessionLaws",
  model: "ModelProviderLaws",
  sandbox: "SandboxLaws",
  tracer: "TracerLaws",
  mcp: "McpServerLaws",
  tool: undefined
}

const checkLaws = Effect.fnUntraced(function*(
  { candidates, folder, manifest }: Subject
): Effect.fn.Return<ReadonlyArray<Line>, never, FileSystem.FileSystem | Path.Path | ChildProcessSpawner> {
  if (manifest.scripts?.["test"] === undefined) {
    return [failed("laws", "package.json has no script `test`", `Add one that runs the tests: "test": "vitest run"`)]
  }
  const sources = yield* npm.testSources(folder)
  const lines: Array<Line> = []
  for (const kind of new Set(candidates.map(({ kind }) => kind))) {
    const laws = lawsOf[kind]
    if (laws === undefined || sources.some((text) => text.includes(laws))) continue
    lines.push(failed(
      "laws",
      `no test runs the laws of a ${kind}`,
      `Run them: import { Law, ${laws} } from "agent-layers/testing"; see "agent-layers extension new ${kind}"`
    ))
  }
  const { code, output } = yield* npm.run(folder, ["test"])
  lines.push(
    code === 0
      ? passed("laws", `npm test passes${npm.counted(output)}`)
      : failed("laws", `npm test fails${npm.firstFailure(output)}`, "Mend what it tells: npm test")
  )
  return lines
})

const secretFiles = /(?:^|\/)(?:\.env(?:\..*)?|\.npmrc|id_[a-z\d]+|[^/]*\.(?:pem|key|p12))$/

const checkPack = Effect.fnUntraced(function*(
  { folder, manifest }: Subject
): Effect.fn.Return<ReadonlyArray<Line>, never, Path.Path | ChildProcessSpawner> {
  const path = yield* Path.Path
  const packed = yield* npm.pack(folder)
  if (packed._tag === "Failed") {
    return [
      failed("pack", `npm pack fails${npm.firstFailure(packed.output)}`, "Mend what it tells: npm pack --dry-run")
    ]
  }
  const files = new Set(packed.files)
  const lines: Array<Line> = []
  for (const declared of npm.entriesOf(manifest)) {
    const entry = packages.resolve(folder, manifest.name ?? "", declared.entry)
    if (entry === undefined) continue
    const inside = path.relative(folder, entry).replaceAll("\\", "/")
    if (!files.has(inside)) {
      lines.push(failed(
        "pack",
        `${inside}, the module of ${title(declared)}, is not in the tarball`,
        "Name its folder in `files`"
      ))
    } else if (inside.endsWith(".js") && !files.has(inside.replace(/\.js$/, ".d.ts"))) {
      lines.push(failed(
        "pack",
        `${inside} has no types in the tarball`,
        "Build with `declaration: true`, and name the folder in `files`"
      ))
    }
  }
  for (const file of packed.files.filter((file) => secretFiles.test(file))) {
    lines.push(failed("pack", `${file} would be published`, "Leave it out: name what is published in `files`"))
  }
  for (const name of ["README.md", "LICENSE"]) {
    if (packed.files.some((file) => file.toUpperCase().startsWith(name.replace(".md", "").toUpperCase()))) continue
    lines.push(failed("pack", `there is no ${name} in the tarball`, `Write a ${name}`))
  }
  return lines.length > 0 ? lines : [passed("pack", `npm packs ${packed.files.length} files (${packed.size})`)]
})

/**
 * Checks the package in a folder. Fails with `LoadFailed` where there is no package.json that can be read; all that is
 * wrong beside that is in the report. Interruption ends what it runs.
 *
 * @category checking
 * @since 0.1.0
 */
export const check = Effect.fnUntraced(function*(
  folder: string,
  options: Options = {}
): Effect.fn.Return<Report, ExtensionError, FileSystem.FileSystem | Path.Path | ChildProcessSpawner> {
  const { topics = ["manifest", "compatibility", "laws", "pack"], version = Extension.version } = options
  const real = packages.realPath(folder)
  const { broken, candidates } = yield* Discovery.discover(real)
  const manifest = yield* npm.readManifest(real)
  const name = manifest.name ?? "this project"
  const subject: Subject = {
    folder: real,
    name,
    manifest,
    candidates: candidates.filter(({ origin }) => origin === name),
    broken: broken.filter((one) => one.package === name).map(({ error }) => error)
  }
  const lines: Array<Line> = []
  if (topics.includes("manifest")) lines.push(...yield* checkManifest(subject))
  if (topics.includes("compatibility")) lines.push(...yield* checkCompatibility(subject, version))
  if (topics.includes("laws")) lines.push(...yield* checkLaws(subject))
  if (topics.includes("pack")) lines.push(...yield* checkPack(subject))
  return { package: name, lines, isPassed: lines.every(({ outcome }) => outcome === "passed") }
})

const marks = { passed: "ok", failed: "FAILED", "not run": "not run" } as const

/**
 * A report as text, a line for each check.
 *
 * @category converting
 * @since 0.1.0
 */
export const render = ({ lines }: Report): string =>
  lines.map(({ doNext, message, outcome, topic }) =>
    `${marks[outcome].padEnd(7)} ${topic.padEnd(13)} ${
      doNext === undefined ? message : `${sentence(message)} ${sentence(doNext)}`
    }`
  ).join("\n")
