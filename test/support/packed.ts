/**
 * The package as a user gets it, and projects that have it installed, without a network: built from the sources, packed by
 * npm, unpacked among links to this checkout's packages.
 */
import * as childProcess from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { stripVTControlCharacters } from "node:util"
import { sourceFiles } from "./packageExports.ts"

export const root = fileURLToPath(new URL("../..", import.meta.url))

const modules = path.join(root, "node_modules")

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly output: string
}

/** Runs a program to its end, without what a test runner tells its tests, and without keys. */
export const run = (
  folder: string,
  program: string,
  args: ReadonlyArray<string>,
  options: { readonly env?: Record<string, string | undefined>; readonly stdin?: string } = {}
): Promise<Ran> =>
  new Promise((resolve, reject) => {
    const env: Record<string, string | undefined> = { ...process.env }
    for (const name of Object.keys(env)) {
      if (/^(VITEST|FORCE_COLOR|NODE_OPTIONS|NODE_ENV|OPENAI_|AGENT_LAYERS_)|^npm_(?!config_cache)/i.test(name)) {
        delete env[name]
      }
    }
    const bins = [path.join(folder, "node_modules", ".bin"), path.join(modules, ".bin"), process.env["PATH"]]
    const child = childProcess.spawn(program, args, {
      cwd: folder,
      env: {
        ...env,
        NO_COLOR: "1",
        PATH: bins.join(path.delimiter),
        npm_config_audit: "false",
        npm_config_fund: "false",
        npm_config_update_notifier: "false",
        npm_config_loglevel: "error",
        ...options.env
      },
      stdio: ["pipe", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => stdout += text)
    child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text)
    child.stdin.on("error", () => {})
    child.stdin.end(options.stdin ?? "")
    child.once("error", reject)
    child.once("close", (code) => {
      const output = stripVTControlCharacters(`${stdout}${stderr}`)
      resolve({ code, stdout: stripVTControlCharacters(stdout), stderr: stripVTControlCharacters(stderr), output })
    })
  })

export const expectRun = async (...args: Parameters<typeof run>): Promise<Ran> => {
  const ran = await run(...args)
  if (ran.code !== 0) throw new Error(`${[args[1], ...args[2]].join(" ")} ended with ${ran.code}:\n${ran.output}`)
  return ran
}

/** What the package is made of, as one word: who has built that need not build it again. */
const fingerprint = (): string => {
  const hash = createHash("sha256")
  for (const file of ["package.json", "tsconfig.json", ".ci/tsconfig.build.json", "README.md", ...sourceFiles(root)]) {
    hash.update(file).update("\0").update(fs.readFileSync(path.join(root, file))).update("\0")
  }
  return hash.digest("hex").slice(0, 16)
}

const build = async (folder: string): Promise<void> => {
  const target = path.join(folder, "package")
  for (const name of ["package.json", "src", "README.md", "LICENSE", "ARCHITECTURE.md", "CHANGELOG.md"]) {
    fs.cpSync(path.join(root, name), path.join(target, name), { recursive: true })
  }
  const compiler = path.join(modules, "typescript", "bin", "tsc")
  const { output } = await run(root, process.execPath, [
    compiler,
    "-p",
    ".ci/tsconfig.build.json",
    "--outDir",
    path.join(target, "dist")
  ])
  // Whether the types are right is what `npm run check` tells.
  if (!fs.existsSync(path.join(target, "dist", "index.js"))) throw new Error(`nothing was built:\n${output}`)
  await expectRun(target, "npm", ["pack", "--ignore-scripts", "--pack-destination", folder])
}

/** The path of the tarball of this package, built once for these sources, whoever asks. */
export const packed = async (): Promise<string> => {
  const store = path.join(modules, ".agent-layers-packed")
  const folder = path.join(store, fingerprint())
  const tarball = () => {
    const name = fs.readdirSync(folder).find((file) => file.endsWith(".tgz"))
    if (name === undefined) throw new Error(`no tarball in ${folder}`)
    return path.join(folder, name)
  }
  if (fs.existsSync(folder)) return tarball()
  fs.mkdirSync(store, { recursive: true })
  const lock = `${folder}.lock`
  while (!fs.existsSync(folder)) {
    try {
      fs.mkdirSync(lock)
    } catch {
      // Somebody builds it, or was killed while doing so.
      if (fs.existsSync(lock) && Date.now() - fs.statSync(lock).mtimeMs > 180_000) fs.rmdirSync(lock)
      // oxlint-disable-next-line house/bare-sleep -- waits for the lock of another process, in a loop
      await new Promise((resolve) => setTimeout(resolve, 200))
      continue
    }
    const temporary = fs.mkdtempSync(path.join(store, "building-"))
    try {
      await build(temporary)
      fs.rmSync(path.join(temporary, "package"), { recursive: true })
      fs.renameSync(temporary, folder)
    } finally {
      fs.rmSync(temporary, { recursive: true, force: true })
      fs.rmdirSync(lock)
    }
  }
  for (const name of fs.readdirSync(store)) {
    const other = path.join(store, name)
    // Of sources that are no more; one that is being built is younger.
    if (other !== folder && Date.now() - fs.statSync(other).mtimeMs > 3_600_000) {
      fs.rmSync(other, { recursive: true, force: true })
    }
  }
  return tarball()
}

/** Unpacks a tarball as `node_modules/<name>` of a folder. */
export const unpack = async (folder: string, tarball: string, name: string): Promise<void> => {
  const target = path.join(folder, "node_modules", name)
  fs.rmSync(target, { recursive: true, force: true })
  fs.mkdirSync(target, { recursive: true })
  await expectRun(folder, "tar", ["-xzf", tarball, "-C", target, "--strip-components=1"])
}

/** Links to packages of this checkout, as an installation would have them. */
export const link = (folder: string, names: ReadonlyArray<string>): void => {
  for (const name of names) {
    const target = path.join(folder, "node_modules", name)
    fs.mkdirSync(path.dirname(target), { recursive: true })
    fs.symlinkSync(path.join(modules, name), target)
  }
}

/** Links every command of an unpacked package, as npm does. */
export const linkBin = (folder: string, name: string): void => {
  const manifest = JSON.parse(fs.readFileSync(path.join(folder, "node_modules", name, "package.json"), "utf8")) as {
    readonly bin?: Record<string, string>
  }
  const bin = path.join(folder, "node_modules", ".bin")
  fs.mkdirSync(bin, { recursive: true })
  for (const [command, file] of Object.entries(manifest.bin ?? {})) {
    const target = path.join(folder, "node_modules", name, file)
    fs.chmodSync(target, 0o755)
    fs.symlinkSync(target, path.join(bin, command))
  }
}

/** What a package is developed with, beside agent-layers itself. */
export const developing: ReadonlyArray<string> = [
  "effect",
  "@effect/platform-node",
  "@effect/vitest",
  "@types/node",
  "typescript",
  "vitest"
]

/** A folder that has agent-layers and these packages installed; it is removed by the returned function. */
export const makeProject = async (
  names: ReadonlyArray<string>
): Promise<{ readonly folder: string; readonly remove: () => void }> => {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-project-")))
  const remove = () => fs.rmSync(folder, { recursive: true, force: true })
  try {
    link(folder, names)
    await unpack(folder, await packed(), "agent-layers")
    linkBin(folder, "agent-layers")
    return { folder, remove }
  } catch (error) {
    remove()
    throw error
  }
}
