/**
 * Finds the extensions of other packages: those of a project's direct dependencies, and of the project itself, whose
 * package.json has the field `agentLayers`.
 *
 * ```json
 * {
 *   "name": "acme-agent-layers",
 *   "peerDependencies": { "agent-layers": "^0.1.0", "effect": "^4.1.0" },
 *   "agentLayers": {
 *     "extensions": [{ "kind": "session", "name": "acme", "entry": "./extension", "description": "…" }]
 *   }
 * }
 * ```
 *
 * `entry` is a subpath of the package's `exports`, or the path of a file in it; `export` the name of the export, which is
 * `default` where it is left out. Nothing is imported until an extension is chosen by name: importing runs code.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import * as Extension from "../../services/Extension.ts"
import {
  ExtensionError,
  InvalidExtension,
  LoadFailed,
  MissingPackage,
  SecondCopy
} from "../../services/ExtensionError.ts"
import * as packages from "./internal/packages.ts"

/**
 * What was found in a project.
 *
 * @category models
 * @since 0.1.0
 */
export interface Found {
  readonly candidates: ReadonlyArray<Extension.Candidate>
  /** Packages that say that they have extensions, or that a dependency names, and what is wrong with them. */
  readonly broken: ReadonlyArray<{ readonly package: string; readonly error: ExtensionError }>
}

const describe = (u: unknown): string =>
  u === undefined
    ? "missing"
    : Array.isArray(u)
    ? "a list"
    : typeof u === "object" && u !== null
    ? "an object"
    : typeof u === "string"
    ? `"${u.slice(0, 60)}"`
    : String(u)

/** The packages of which a process can hold only one copy. */
const shared = ["effect", "agent-layers"] as const

const copyOf = Effect.fnUntraced(function*(file: string) {
  const { version } = yield* Effect.orElseSucceed(packages.read(file), (): packages.PackageJson => ({}))
  return `${version ?? "?"} in ${packages.folderOf(file)}`
})

const refuseSecondCopies = Effect.fnUntraced(function*(
  extension: string,
  folder: string
): Effect.fn.Return<void, ExtensionError> {
  for (const name of shared) {
    const ours = yield* packages.find(name, packages.here)
    const theirs = yield* packages.find(name, packages.from(folder))
    if (ours === undefined || theirs === undefined || ours === theirs) continue
    return yield* new ExtensionError({
      extension,
      reason: new SecondCopy({ package: name, copies: [yield* copyOf(ours), yield* copyOf(theirs)] })
    })
  }
})

const missingPackage = /Cannot find package '((?:@[^/']+\/)?[^/']+)/

const importing = (
  extension: string,
  file: string,
  manifest: packages.PackageJson
): Effect.Effect<Record<string, unknown>, ExtensionError> =>
  Effect.tryPromise({
    try: () => packages.load(file),
    catch: (cause) => {
      const message = cause instanceof Error ? cause.message : String(cause)
      const missing = missingPackage.exec(message)?.[1]
      return new ExtensionError({
        extension,
        reason: missing === undefined
          ? new LoadFailed({
            stage: "import",
            description: `importing ${file} threw: ${message}. That is for its author to mend`,
            cause
          })
          : new MissingPackage({
            package: missing,
            range: manifest.dependencies?.[missing] ?? manifest.peerDependencies?.[missing] ?? "*"
          })
      })
    }
  })

/** The extensions that a manifest tells of, or what is wrong with it. */
const read = (
  manifest: packages.PackageJson,
  folder: string,
  packageName: string
): { readonly candidates: ReadonlyArray<Extension.Candidate>; readonly errors: ReadonlyArray<ExtensionError> } => {
  const candidates: Array<Extension.Candidate> = []
  const errors: Array<ExtensionError> = []
  const refuse = (member: string, expected: string, found: unknown) => {
    errors.push(
      new ExtensionError({
        extension: `package "${packageName}"`,
        reason: new InvalidExtension({ member, expected, found: describe(found) })
      })
    )
  }
  const field = manifest.agentLayers
  if (!Predicate.isReadonlyObject(field)) {
    refuse("agentLayers", `{ "extensions": [ … ] }`, field)
    return { candidates, errors }
  }
  const { extensions } = field
  if (!Array.isArray(extensions)) {
    refuse("agentLayers.extensions", "a list", extensions)
    return { candidates, errors }
  }
  const compatibleWith = field["compatibleWith"] ?? manifest.peerDependencies?.["agent-layers"]
  if (typeof compatibleWith !== "string") {
    refuse(`peerDependencies["agent-layers"]`, `a range of versions, such as "^${Extension.version}"`, compatibleWith)
    return { candidates, errors }
  }
  for (const [index, given] of extensions.entries()) {
    const at = `agentLayers.extensions[${index}]`
    const before = errors.length
    if (!Predicate.isReadonlyObject(given)) {
      refuse(at, `an object with "kind", "name" and "entry"`, given)
      continue
    }
    const { decorates = false, description = "", entry, export: exported = "default", kind, name } = given
    const known = Extension.ExtensionKind.literals.find((literal) =>
      literal === (typeof kind === "string" ? Extension.kindOf(kind as Extension.KindName) : kind)
    )
    if (known === undefined) {
      refuse(`${at}.kind`, `one of ${Extension.ExtensionKind.literals.map((one) => `"${one}"`).join(", ")}`, kind)
    }
    if (typeof name !== "string" || !/^[a-z][a-z\d]*(-[a-z\d]+)*$/.test(name)) {
      refuse(`${at}.name`, `a name of small letters, digits and "-"`, name)
    }
    if (typeof entry !== "string" || !entry.startsWith(".")) {
      refuse(`${at}.entry`, `a path that begins with ".", such as "./extension"`, entry)
    }
    if (typeof exported !== "string") refuse(`${at}.export`, "the name of an export", exported)
    if (typeof decorates !== "boolean") refuse(`${at}.decorates`, "true or false", decorates)
    if (typeof description !== "string") refuse(`${at}.description`, "a sentence", description)
    if (errors.length > before || known === undefined) continue
    const title = `${known} "${String(name)}" of ${packageName}`
    candidates.push({
      kind: known,
      name: String(name),
      version: manifest.version ?? "0.0.0",
      compatibleWith,
      description: String(description),
      decorates: decorates === true,
      origin: packageName,
      location: folder,
      load: Effect.gen(function*() {
        yield* refuseSecondCopies(title, folder)
        const file = packages.resolve(folder, packageName, String(entry))
        if (file === undefined) {
          return yield* new ExtensionError({
            extension: title,
            reason: new InvalidExtension({
              member: `${at}.entry`,
              expected: "a subpath of its `exports` or a file in it",
              found: `"${String(entry)}", which is neither`
            })
          })
        }
        const module = yield* importing(title, file, manifest)
        return module[String(exported)]
      })
    })
  }
  return { candidates, errors }
}

/**
 * Looks at the project in a folder and at its direct dependencies. What is wrong with one package is told, and harms no
 * other. Fails with `LoadFailed` where the folder has no package.json that can be read.
 *
 * @category discovering
 * @since 0.1.0
 */
export const discover = Effect.fnUntraced(function*(
  /** The folder with the project's package.json. */
  root: string
): Effect.fn.Return<Found, ExtensionError> {
  const folder = packages.realPath(root)
  const file = packages.join(folder, "package.json")
  const project = yield* Effect.mapError(packages.read(file), ({ message }) =>
    new ExtensionError({
      extension: file,
      reason: new LoadFailed({
        stage: "read",
        description: `the project's package.json cannot be read (${
          message.split("\n")[0]
        }). Name the folder that has it`
      })
    }))

  const candidates: Array<Extension.Candidate> = []
  const broken: Array<{ readonly package: string; readonly error: ExtensionError }> = []
  const add = (name: string, error: ExtensionError) => broken.push({ package: name, error })
  const take = (manifest: packages.PackageJson, folder: string, name: string) => {
    const found = read(manifest, folder, name)
    candidates.push(...found.candidates)
    for (const error of found.errors) add(name, error)
  }

  if (project.agentLayers !== undefined) take(project, folder, project.name ?? "this project")
  const required = { ...project.dependencies }
  const optional = { ...project.devDependencies, ...project.optionalDependencies }
  for (const [name, range] of Object.entries({ ...optional, ...required })) {
    const found = yield* packages.find(name, packages.from(folder))
    if (found === undefined) {
      if (Object.hasOwn(required, name) && !Object.hasOwn(project.optionalDependencies ?? {}, name)) {
        add(
          name,
          new ExtensionError({ extension: `package "${name}"`, reason: new MissingPackage({ package: name, range }) })
        )
      }
      continue
    }
    const manifest = yield* Effect.result(packages.read(found))
    if (manifest._tag === "Failure") {
      add(
        name,
        new ExtensionError({
          extension: `package "${name}"`,
          reason: new LoadFailed({
            stage: "read",
            description: `${found} cannot be read (${
              manifest.failure.message.split("\n")[0]
            }). Install the package anew`
          })
        })
      )
    } else if (manifest.success.agentLayers !== undefined) {
      take(manifest.success, packages.folderOf(found), name)
    }
  }
  return { candidates, broken }
})

/**
 * Registers what a project has until the scope closes, and answers with all that is wrong: a name that is taken is told
 * there too.
 *
 * @category registering
 * @since 0.1.0
 */
export const register = Effect.fnUntraced(function*(
  registry: Extension.ExtensionRegistry["Service"],
  root: string
): Effect.fn.Return<Found["broken"], ExtensionError, Scope.Scope> {
  const { broken, candidates } = yield* discover(root)
  const refused = yield* Effect.forEach(candidates, (candidate) =>
    Effect.match(registry.registerCandidate(candidate), {
      onSuccess: () => [],
      onFailure: (error) => [{ package: candidate.origin, error }]
    }))
  return [...broken, ...refused.flat()]
})

/**
 * Registers what a project has for as long as the Layer lives. What is wrong with a package is logged.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (root: string): Layer.Layer<never, ExtensionError, Extension.ExtensionRegistry> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const broken = yield* register(yield* Extension.ExtensionRegistry, root)
    yield* Effect.forEach(broken, ({ error }) => Effect.logWarning(error.message), { discard: true })
  }))
