/** The command as a process: Node 24 on the sources, in a folder of its own. */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { untilSo } from "../../support/until.ts"

export const root = fileURLToPath(new URL("../../..", import.meta.url))
export const bin = path.join(root, "src", "run", "cli", "bin.js")
const fixtures = path.join(root, "test", "fixtures", "cli")
export const transcripts = path.join(fixtures, "transcripts")

/** A project with the modules and configurations of the fixtures, and the packages of this checkout. */
export const project = (): { readonly folder: string; readonly remove: () => void } => {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-cli-")))
  fs.cpSync(path.join(fixtures, "project"), folder, { recursive: true })
  fs.writeFileSync(
    path.join(folder, "package.json"),
    JSON.stringify({ name: "project", private: true, type: "module" })
  )
  const modules = path.join(folder, "node_modules")
  fs.mkdirSync(modules)
  fs.symlinkSync(root, path.join(modules, "agent-layers"), "dir")
  fs.symlinkSync(path.join(root, "node_modules", "effect"), path.join(modules, "effect"), "dir")
  return { folder, remove: () => fs.rmSync(folder, { recursive: true, force: true }) }
}

/** Nothing of this machine's keys and settings. */
const environment = (more: Readonly<Record<string, string>> = {}): Record<string, string> => ({
  PATH: process.env["PATH"] ?? "",
  HOME: os.tmpdir(),
  TZ: "UTC",
  ...more
})

export interface Options {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly input?: string | undefined
}

export const nodeArguments = ["--conditions=agent-layers:source", bin]

export const spawn = (args: ReadonlyArray<string>, { cwd, env }: Omit<Options, "input">) =>
  childProcess.spawn(process.execPath, [...nodeArguments, ...args], {
    cwd,
    env: environment(env),
    stdio: ["pipe", "pipe", "pipe"]
  })

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** What a process writes, and how it ends. */
export const watch = (child: childProcess.ChildProcessByStdio<any, any, any>) => {
  let stdout = ""
  let stderr = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => stdout += text)
  child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text)
  const ended = new Promise<Ended>((resolve) =>
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }))
  )
  const until = async (text: string | RegExp): Promise<string> => {
    const hasSaid = () => typeof text === "string" ? stdout.includes(text) : text.test(stdout)
    await untilSo(() => hasSaid() || child.exitCode !== null || child.signalCode !== null, (isOver) => isOver)
    if (hasSaid()) return stdout
    throw new Error(`it ended without saying ${text}\n${stdout}\n${stderr}`)
  }
  return { ended, until, output: () => ({ stdout, stderr }) }
}

export const run = (args: ReadonlyArray<string>, { input = "", ...options }: Options): Promise<Ended> => {
  const child = spawn(args, options)
  child.stdin.on("error", () => {})
  child.stdin.end(input)
  return watch(child).ended
}

/** Whatever differs from run to run, in one place. */
export const normalise = (text: string, folder: string): string =>
  text
    .replaceAll(folder, "/project")
    .replaceAll(root.replace(/\/$/, ""), "/agent-layers")
    .replaceAll(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z/g, "2026-01-01 00:00:00Z")
    .replaceAll(/"(savedAt|changedAt|startedAt|endedAt|since)":\d+(\.\d+)?/g, `"$1":0`)
    .replaceAll(/\b(run|conv|call|resp|msg|chatcmpl)_[0-9a-f]{8}-[0-9a-f-]{27}/g, "$1_id")
    .replaceAll(/\b[0-9a-f]{32}\b/g, "0".repeat(32))
    .replaceAll(/\b[0-9a-f]{16}\b/g, "0".repeat(16))
    .replaceAll(/laws-[0-9a-f]{8}\//g, "laws-0/")
    .replaceAll(/ \+?\d+(\.\d+)?m?s\b/g, " 0ms")
    // The width of a column is that of a folder's name, or of a time.
    .replaceAll(/(\S) {2,}/g, "$1  ")
    .replaceAll(/127\.0\.0\.1:(?!1\b)\d+/g, "127.0.0.1:PORT")
