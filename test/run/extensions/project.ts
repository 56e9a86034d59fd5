/** Projects in temporary folders, with a node_modules as npm, pnpm and workspaces lay it out. */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll } from "vitest"

export const root = fileURLToPath(new URL("../../..", import.meta.url))

const folders: Array<string> = []

afterAll(() => {
  for (const folder of folders) fs.rmSync(folder, { recursive: true, force: true })
})

/** Files by path; an object is written as JSON, and `{ link }` is a symbolic link. */
export type Files = Readonly<Record<string, string | { readonly link: string } | Readonly<Record<string, unknown>>>>

export const write = (folder: string, files: Files): void => {
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(folder, name)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    if (typeof content !== "string" && "link" in content) {
      fs.symlinkSync(path.resolve(folder, String(content["link"])), file, "dir")
    } else fs.writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content, null, 2))
  }
}

export const makeFolder = (files: Files = {}): string => {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-project-")))
  folders.push(folder)
  write(folder, files)
  return folder
}

/** This package and its peers, as links in some node_modules. */
export const peersIn = (modules: string): Files => ({
  [`${modules}/agent-layers`]: { link: root },
  [`${modules}/effect`]: { link: path.join(root, "node_modules/effect") },
  [`${modules}/@effect/platform-node`]: { link: path.join(root, "node_modules/@effect/platform-node") }
})

export const manifestOf = (
  name: string,
  extensions: ReadonlyArray<Readonly<Record<string, unknown>>>,
  more: Readonly<Record<string, unknown>> = {}
): Readonly<Record<string, unknown>> => ({
  name,
  version: "1.2.3",
  type: "module",
  // Closed: neither package.json nor any file can be asked for by name.
  exports: { ".": "./index.js", "./extension": "./extension.js" },
  peerDependencies: { "agent-layers": "^0.1.0", effect: "^4.1.0" },
  agentLayers: { extensions },
  ...more
})

/** A session in memory; `mark` is written to standard error when the module is imported. */
export const sessionModule = (name: string, mark = `imported ${name}`): string =>
  `import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as Extension from "agent-layers/services/Extension"
import * as Setting from "agent-layers/services/Setting"
console.error(${JSON.stringify(mark)})
export default Extension.make({
  kind: "session", name: ${JSON.stringify(name)}, version: "1.2.3", compatibleWith: "^0.1.0", description: "A store.",
  config: { url: Setting.secret("Where it is."), size: Setting.integer("How large.", { default: 3 }) },
  layer: () => SessionMemory.layerWith({})
})
`

/** Runs a program in a project, on this checkout's sources, and gives what it prints as JSON. */
export const run = <A>(
  folder: string,
  body: string,
  env: Readonly<Record<string, string>> = {}
): { readonly answer: A; readonly stderr: string } => {
  const script =
    `import { Configuration, Discovery, Extension, Extensions, Health, Catalogue } from "agent-layers/extensions"
import * as Session from "agent-layers/services/Session"
import { Effect, Layer, Logger, Stream } from "effect"
const silent = Logger.layer([])
const answer = async (effect) => console.log(JSON.stringify(await Effect.runPromise(effect.pipe(Effect.scoped, Effect.provide(silent)))))
const told = (effect) => Effect.match(effect, {
  onSuccess: () => "ok",
  onFailure: (error) => ({ tag: error.reason._tag, message: error.message })
})
const root = process.cwd()
${body}`
  fs.writeFileSync(path.join(folder, "main.mjs"), script)
  const { NODE_OPTIONS: _options, OPENAI_API_KEY: _key, ...environment } = process.env
  const child = childProcess.spawnSync(
    process.execPath,
    [
      "--conditions=agent-layers:source",
      "--no-warnings",
      ...(fs.existsSync(path.join(folder, "hooks.mjs")) ? ["--import", "./hooks.mjs"] : []),
      "main.mjs"
    ],
    { cwd: folder, encoding: "utf8", env: { ...environment, ...env }, timeout: 240_000 }
  )
  if (child.status !== 0) throw new Error(`exit code ${child.status}\n${child.stderr}\n${child.stdout}`)
  return { answer: JSON.parse(child.stdout) as A, stderr: child.stderr }
}

export interface Told {
  readonly tag: string
  readonly message: string
}
