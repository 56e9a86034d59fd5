/** What package.json's `exports` means for the files of src: read by tests and by `npm run check`. */
import * as fs from "node:fs"
import * as path from "node:path"

/** A file of src and the name under which a user can, or must not be able to, import it. */
export interface Module {
  readonly specifier: string
  /** Relative to the root, with forward slashes. */
  readonly source: string
}

interface Target {
  readonly "agent-layers:source": string
  readonly types: string
  readonly default: string
}

/** The parts of package.json that tests read. */
export interface Manifest {
  readonly name: string
  readonly version: string
  readonly "//": string | ReadonlyArray<string>
  readonly sideEffects: boolean
  readonly files: ReadonlyArray<string>
  readonly exports: Record<string, string | Target | null>
  readonly scripts: Record<string, string>
  readonly dependencies?: Record<string, string>
  readonly peerDependencies: Record<string, string>
  readonly peerDependenciesMeta: Record<string, { readonly optional: boolean }>
  readonly devDependencies: Record<string, string>
  readonly allowScripts: Record<string, boolean>
}

export const readManifest = (root: string): Manifest =>
  JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as Manifest

export const sourceFiles = (root: string): ReadonlyArray<string> =>
  fs.readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
    .map((file) => `src/${file.split(path.sep).join("/")}`)
    .filter((file) => file.endsWith(".ts"))
    .sort()

/** Each file of src, as public modules and as closed ones. An entry point has more than one name. */
export const modules = (root: string): { readonly open: Array<Module>; readonly closed: Array<Module> } => {
  const manifest = readManifest(root)
  const open: Array<Module> = []
  const closed: Array<Module> = []
  const patterns = Object.entries(manifest.exports)
    .filter(([key]) => key.endsWith("/*"))
    .map(([key, target]) => ({ prefix: key.slice(2, -1), target }))
    .sort((a, b) => b.prefix.length - a.prefix.length)
  for (const source of sourceFiles(root)) {
    for (const [key, target] of Object.entries(manifest.exports)) {
      if (target !== null && typeof target === "object" && target["agent-layers:source"] === `./${source}`) {
        open.push({ specifier: manifest.name + key.slice(1), source })
      }
    }
    // The root entry is reached by the package's name alone.
    if (source === "src/index.ts") continue
    const inside = source.slice("src/".length, -".ts".length)
    const specifier = `${manifest.name}/${inside}`
    const match = patterns.find(({ prefix }) => inside.startsWith(prefix))
    if (match === undefined || match.target === null) closed.push({ specifier, source })
    else open.push({ specifier, source })
  }
  return { open, closed }
}
