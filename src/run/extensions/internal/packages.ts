// @effect-diagnostics nodeBuiltinImport:off
/** What is installed, as Node finds it: npm, pnpm and workspaces alike, and whatever a package's `exports` closes. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as fs from "node:fs"
import { createRequire, findPackageJSON } from "node:module"
import * as path from "node:path"
import { pathToFileURL } from "node:url"

/** What this program's own copies are found from. */
export const here: string = import.meta.url

const Text = Schema.optionalKey(Schema.Record(Schema.String, Schema.String))

/** The parts of a package.json that are read here. */
export const PackageJson = Schema.fromJsonString(Schema.Struct({
  name: Schema.optionalKey(Schema.String),
  version: Schema.optionalKey(Schema.String),
  dependencies: Text,
  devDependencies: Text,
  optionalDependencies: Text,
  peerDependencies: Text,
  agentLayers: Schema.optionalKey(Schema.Unknown)
}))

export type PackageJson = (typeof PackageJson)["Type"]

const decode = Schema.decodeUnknownEffect(PackageJson)

export const read = (file: string): Effect.Effect<PackageJson, { readonly message: string }> =>
  Effect.flatMap(
    Effect.try({
      try: () => fs.readFileSync(file, "utf8"),
      catch: (cause) => ({ message: cause instanceof Error ? cause.message : String(cause) })
    }),
    decode
  )

/** The real path of the package.json that a module at `from` gets for a name. */
export const find = (name: string, from: string): Effect.Effect<string | undefined> =>
  Effect.orElseSucceed(
    Effect.try({
      try: () => {
        const file = findPackageJSON(name, from)
        return file === undefined || !fs.existsSync(file) ? undefined : fs.realpathSync(file)
      },
      catch: () => undefined
    }),
    () => undefined
  )

/** A folder as what modules in it are found from. */
export const from = (folder: string): string => pathToFileURL(path.join(folder, "package.json")).href

/** The version of a package that a package at `location`, or this one, gets. */
export const installed = (
  name: string,
  location: string | undefined
): Effect.Effect<string | undefined> =>
  Effect.flatMap(find(name, location === undefined ? here : from(location)), (file) =>
    file === undefined
      ? Effect.undefined
      : Effect.orElseSucceed(Effect.map(read(file), ({ version }) => version ?? "0.0.0"), () => undefined))

/** The file of an entry: what `exports` has for it, else the file of that path; undefined where there is none inside. */
export const resolve = (folder: string, name: string, entry: string): string | undefined => {
  const subpath = entry.replace(/^\.\/?/, "")
  const inside = (file: string): string | undefined => {
    if (!fs.existsSync(file) || !fs.statSync(file).isFile()) return undefined
    const real = fs.realpathSync(file)
    return path.relative(folder, real).startsWith("..") ? undefined : real
  }
  try {
    return inside(
      createRequire(path.join(folder, "package.json")).resolve(subpath === "" ? name : `${name}/${subpath}`)
    )
  } catch {
    return inside(path.resolve(folder, entry))
  }
}

export const load = (file: string): Promise<Record<string, unknown>> => import(pathToFileURL(file).href)

export const realPath = (file: string): string => {
  try {
    return fs.realpathSync(file)
  } catch {
    return path.resolve(file)
  }
}

export const folderOf = (file: string): string => path.dirname(file)

export const exists = (file: string): boolean => fs.existsSync(file)

export const join = (...parts: ReadonlyArray<string>): string => path.join(...parts)

export const workingDirectory = (): string => process.cwd()

export const readText = (file: string): string => fs.readFileSync(file, "utf8")
