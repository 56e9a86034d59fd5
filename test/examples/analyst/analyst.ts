/** Starts the analyst as `npm start` does, in a folder of its own, without the settings of whoever runs the tests. */
import * as History from "agent-layers/services/History"
import * as Item from "agent-layers/services/Item"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { vi } from "vitest"

// A test starts whole programs, one after the other, maybe on a machine that is busy with others.
vi.setConfig({ testTimeout: 120_000 })

export const root = fileURLToPath(new URL("../../..", import.meta.url))

const main = path.join(root, "examples", "analyst", "main.ts")

export interface Start {
  /** The working directory, below which conversations are kept. */
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
  /** Put before the program and its arguments. */
  readonly wrapper?: ReadonlyArray<string>
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  readonly millis: number
}

export interface Running {
  readonly child: childProcess.ChildProcessByStdio<null, import("node:stream").Readable, import("node:stream").Readable>
  readonly stdout: () => string
  /** Waits until standard output holds a text. */
  readonly shows: (text: string) => Promise<void>
  readonly ended: Promise<Ended>
}

const environment = (own: Start["env"]): Record<string, string | undefined> => {
  const {
    AGENT_LAYERS_MODEL: _model,
    FORCE_COLOR: _force,
    NODE_OPTIONS: _options,
    NO_COLOR: _color,
    OPENAI_API_KEY: _key,
    OPENAI_BASE_URL: _url,
    ...env
  } = process.env
  return { ...env, ...own }
}

export const commandLine = (...args: ReadonlyArray<string>): ReadonlyArray<string> => [
  process.execPath,
  "--conditions=agent-layers:source",
  "--no-warnings",
  main,
  ...args
]

export const start = ({ cwd, env, wrapper = [] }: Start, ...args: ReadonlyArray<string>): Running => {
  const [program, ...rest] = [...wrapper, ...commandLine(...args)]
  const began = performance.now()
  const child = childProcess.spawn(program!, rest, {
    cwd,
    env: environment(env),
    stdio: ["ignore", "pipe", "pipe"]
  })
  let stdout = ""
  let stderr = ""
  const ended = new Promise<Ended>((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => stdout += text)
    child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text)
    child.once("error", reject)
    child.once(
      "close",
      (code, signal) => resolve({ code, signal, stdout, stderr, millis: performance.now() - began })
    )
  })
  const shows = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!stdout.includes(text)) return
        child.stdout.off("data", look)
        resolve()
      }
      child.stdout.on("data", look)
      child.once("close", () => {
        if (!stdout.includes(text)) reject(new Error(`It ended without showing "${text}":\n${stdout}\n${stderr}`))
      })
      look()
    })
  return { child, stdout: () => stdout, shows, ended }
}

export const run = (how: Start, ...args: ReadonlyArray<string>): Promise<Ended> => start(how, ...args).ended

/** What a line of the head says. */
export const headOf = (stdout: string, name: string): string =>
  new RegExp(`^${name}: +(.*)$`, "m").exec(stdout)?.[1] ?? ""

/** The answer: what stands between the question, with its tool calls, and the trace. */
export const answerOf = (stdout: string): string =>
  (stdout.split(/^> .*$/m)[1] ?? "").split(/^trace /m)[0]!
    .split("\n").filter((line) => !/^[→←✗]/.test(line)).join("\n").trim()

/** The one paragraph on standard error. */
export const errorOf = (stderr: string): string =>
  /^\s*ERROR\n {2}(.*)\s*$/.exec(stderr)?.[1] ?? `no single paragraph: ${stderr}`

/** What the database of a start holds. */
export const itemsIn = (cwd: string): ReadonlyArray<Item.Item> => {
  const database = new DatabaseSync(path.join(cwd, ".agent-layers", "conversations.db"), { readOnly: true })
  try {
    const rows = database.prepare("SELECT entry FROM agent_layers_items ORDER BY conversation, sequence").all()
    return rows.map(({ entry }) => JSON.parse(entry as string) as Item.Item)
  } finally {
    database.close()
  }
}

/** What was asked, by the database; its history must be valid. */
export const questionsIn = (cwd: string): ReadonlyArray<string> => {
  const items = itemsIn(cwd)
  const violations = History.check(items)
  if (violations.length > 0) throw new Error(`The stored history is not valid: ${JSON.stringify(violations)}`)
  return items.filter((item) => Item.isMessage(item) && item.role === "user").map(Item.text)
}

export interface Folders {
  readonly make: (name: string, files?: Readonly<Record<string, string>>) => string
  readonly remove: () => void
}

/** Folders that are removed together. */
export const folders = (): Folders => {
  const top = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-analyst-test-")))
  return {
    make: (name, files = {}) => {
      const folder = path.join(top, name)
      fs.mkdirSync(folder, { recursive: true })
      for (const [file, content] of Object.entries(files)) {
        fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true })
        fs.writeFileSync(path.join(folder, file), content)
      }
      return folder
    },
    remove: () => fs.rmSync(top, { recursive: true, force: true })
  }
}

/** A project with things in it that nobody may see. */
export const canary = "canary-7d1f0c"
export const project: Readonly<Record<string, string>> = {
  "README.md": "# Greeter\n\n[![badge](x)](y)\n\nGreets people by name, politely.\n",
  "package.json": JSON.stringify({
    name: "greeter",
    version: "2.1.0",
    description: "Politeness as a service",
    scripts: { prebuild: "true", build: "tsc" }
  }),
  "src/Greeter.ts":
    "/** Says hello to whoever comes. */\nexport class Greeter {\n  greet = (name: string) => `Hello, ${name}`\n}\n",
  "src/main.ts": "import { Greeter } from \"./Greeter.ts\"\n\nconsole.log(new Greeter().greet(\"Ada\"))\n",
  ".env": `TOKEN=${canary}\n`,
  ".ENV.production": `TOKEN=${canary}\n`,
  "deep/server.PEM": canary,
  "deep/id_rsa": canary,
  "node_modules/left-pad/index.js": `// ${canary}`,
  ".git/config": canary,
  ".agent-layers/other.db": canary
}
