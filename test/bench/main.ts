// oxlint-disable no-await-in-loop -- everything here happens one after another on purpose
// The benchmark: agent-layers and its peers side by side, on the same work in the same run.
import { fork, spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import type { WorkloadResults } from "./report.ts"
import { reference, toJson, toTable } from "./report.ts"
import type { Metrics, Timing } from "./workloads.ts"
import { workloads } from "./workloads.ts"

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

interface SubjectEntry {
  readonly name: string
  readonly file: string
  /** What has to be installed in peers/ for it. */
  readonly packages: ReadonlyArray<string>
}

const subjects: ReadonlyArray<SubjectEntry> = [
  { name: reference, file: "subjects/agent-layers.ts", packages: [] },
  { name: "floor", file: "subjects/floor.ts", packages: [] },
  {
    name: "ai",
    file: "peers/ai.js",
    packages: ["ai", "@ai-sdk/otel", "@opentelemetry/api", "@opentelemetry/sdk-trace-base", "zod"]
  },
  { name: "@openai/agents", file: "peers/openai-agents.js", packages: ["@openai/agents", "zod"] }
]

const usage = `Usage: npm run bench -- [options]

Measures agent-layers, a bare loop ("floor") and the peers of test/bench/peers/package.json on the same work. Every subject runs
in a process of its own for each repetition, subjects take turns, and every other repetition goes in reverse order. What is measured of
agent-layers is what is published: the JavaScript of dist, which the script builds first.

  turn        microseconds a turn, without tracing and with it
  stream      text deltas a second
  concurrent  1,000 runs of 3 turns at once with a tool that sleeps 5 ms: wall time, peak memory of the process (in all, and
              over what it held before) and peak of the heap, in MB of 1,000,000 bytes
  history     a run on a stored conversation of 10,000 items, in memory and in SQLite: what an item costs once, and what a
              further turn costs against one on an empty conversation
  start       milliseconds from the start of a process to an agent's first answer, as installed and bundled by esbuild, and
              the size of the bundle

  --only LIST         workloads, comma separated: ${Object.keys(workloads).join(", ")} (default: all)
  --subjects LIST     subjects, comma separated: ${subjects.map((subject) => subject.name).join(", ")} (default: all)
  --repetitions N     how often each is measured (default: 7)
  --quick             milliseconds for warm-up and measuring: shows that it works, the numbers mean nothing
  --json              one JSON object { workload: { subject: { metric: median } } } on standard output, all else on
                      standard error; a subject that is absent has no metrics. npm itself writes its two lines about
                      the script there unless told not to: npm run --silent bench -- --json
  --no-install        do not install missing peers; they are shown as absent
  --help              this text
`

class UsageError extends Error {}

interface Options {
  readonly workloads: ReadonlyArray<string>
  readonly subjects: ReadonlyArray<SubjectEntry>
  readonly repetitions: number
  readonly timing: Timing
  readonly json: boolean
  readonly install: boolean
}

const chosen = (flag: string, list: string | undefined, known: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (list === undefined) {
    return known
  }
  const names = list.split(",").map((name) => name.trim())
  const unknown = names.find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw new UsageError(`${flag}: there is no "${unknown}"; choose from ${known.join(", ")}.`)
  }
  return known.filter((name) => names.includes(name))
}

const parse = (): Options | "help" => {
  let values
  try {
    values = parseArgs({
      strict: true,
      allowPositionals: false,
      options: {
        only: { type: "string" },
        subjects: { type: "string" },
        repetitions: { type: "string" },
        quick: { type: "boolean" },
        json: { type: "boolean" },
        "no-install": { type: "boolean" },
        help: { type: "boolean", short: "h" }
      }
    }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
  if (values.help === true) {
    return "help"
  }
  const repetitions = Number(values.repetitions ?? "7")
  if (!Number.isInteger(repetitions) || repetitions < 1) {
    throw new UsageError(`--repetitions: "${values.repetitions}" is not a whole number above 0.`)
  }
  const names = chosen("--subjects", values.subjects, subjects.map((subject) => subject.name))
  return {
    workloads: chosen("--only", values.only, Object.keys(workloads)),
    subjects: subjects.filter((subject) => names.includes(subject.name)),
    repetitions,
    timing: values.quick === true
      ? { warmUpMillis: 5, measureMillis: 5 }
      : { warmUpMillis: 500, measureMillis: 300 },
    json: values.json === true,
    install: values["no-install"] !== true
  }
}

const say = (text: string): void => {
  process.stderr.write(`${text}\n`)
}

const readJson = (path: string): unknown => JSON.parse(readFileSync(here(path), "utf8"))

const manifest = readJson("peers/package.json") as {
  readonly dependencies: Readonly<Record<string, string>>
  readonly installedMegabytes: number
}

const versionOf = (name: string): string | undefined => {
  const path = `peers/node_modules/${name}/package.json`
  return existsSync(here(path)) ? (readJson(path) as { readonly version: string }).version : undefined
}

const isPresent = (subject: SubjectEntry): boolean => subject.packages.every((name) => versionOf(name) !== undefined)

// npm writes this file last, so that an installation that was cut off is seen as missing.
const isInstalled = (packages: ReadonlyArray<string>): boolean =>
  packages.length === 0
  || (existsSync(here("peers/node_modules/.package-lock.json"))
    && packages.every((name) => versionOf(name) === manifest.dependencies[name]))

/** What a workload needs beside its subjects. */
const toolsOf: Readonly<Record<string, ReadonlyArray<string>>> = { start: ["esbuild"] }

// The children's databases are made here, so that they are removed also when a child is killed.
const scratch = mkdtempSync(join(tmpdir(), "agent-layers-bench-"))

process.on("exit", () => rmSync(scratch, { recursive: true, force: true }))

let running: ChildProcess | undefined
let interrupted = false

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
  process.on(signal, () => {
    interrupted = true
    running?.kill("SIGKILL")
    process.exit(code)
  })
}

const ended = (child: ChildProcess, limitMillis: number): Promise<string | undefined> =>
  new Promise((resolve) => {
    running = child
    const limit = setTimeout(() => child.kill("SIGKILL"), limitMillis)
    const settle = (problem: string | undefined): void => {
      clearTimeout(limit)
      running = undefined
      resolve(problem)
    }
    child.once("error", (error) => settle(error.message))
    child.once("exit", (code, signal) => {
      settle(
        code === 0
          ? undefined
          : signal === null
          ? `exited with code ${code}`
          : `was ended by ${signal} (the limit is ${limitMillis / 1_000} s)`
      )
    })
  })

const install = async (): Promise<void> => {
  const lock = readJson("peers/package-lock.json") as { readonly packages: Readonly<Record<string, unknown>> }
  const wanted = Object.entries(manifest.dependencies).map(([name, version]) => `${name} ${version}`).join(", ")
  say(`Installing the peers into test/bench/peers/node_modules: ${wanted}.`)
  say(
    `With what they need: ${
      Object.keys(lock.packages).length - 1
    } packages, about ${manifest.installedMegabytes} MB on disk.`
      + " Their install scripts are not run. To go without: --no-install."
  )
  const npm = process.env["npm_execpath"]
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
  const child = npm !== undefined && /npm-cli\.[cm]?js$/.test(npm)
    ? spawn(process.execPath, [npm, ...args], { cwd: here("peers"), stdio: ["ignore", 2, 2] })
    : spawn("npm", args, { cwd: here("peers"), stdio: ["ignore", 2, 2], shell: process.platform === "win32" })
  const problem = await ended(child, 300_000)
  if (problem !== undefined) {
    say(`npm ci ${problem}: the peers that are missing are shown as absent.`)
  }
}

const measure = async (
  subject: SubjectEntry,
  workload: string,
  variant: string,
  timing: Timing
): Promise<Metrics> => {
  const child = fork(
    here("child.ts"),
    [subject.file, workload, variant, String(timing.warmUpMillis), String(timing.measureMillis)],
    {
      cwd: here("."),
      stdio: ["ignore", 2, 2, "ipc"],
      // Without the cache the compiler that strips the types of this folder's files takes 30 MB of every child.
      env: {
        ...process.env,
        TMPDIR: scratch,
        TEMP: scratch,
        TMP: scratch,
        NODE_COMPILE_CACHE: join(scratch, "compiled")
      }
    }
  )
  let metrics: Metrics | undefined
  child.on("message", (message) => {
    metrics = (message as { readonly metrics: Metrics }).metrics
  })
  const problem = await ended(child, 120_000)
  if (problem !== undefined || metrics === undefined) {
    throw new Error(`${subject.name}, ${workload} ${variant}: ${problem ?? "ended without a result"}`)
  }
  return metrics
}

const main = async (options: Options): Promise<void> => {
  const wanted = [
    ...options.subjects.map((subject) => subject.packages),
    ...options.workloads.map((workload) => toolsOf[workload] ?? [])
  ]
  if (options.install && !wanted.every(isInstalled)) {
    await install()
  }
  const present = options.subjects.filter(isPresent)
  const absent = options.subjects.filter((subject) => !isPresent(subject))
  say(
    `Node ${process.version}, ${cpus().length} cores; ${
      present.map((subject) => {
        const version = subject.packages[0] === undefined ? undefined : versionOf(subject.packages[0])
        return version === undefined ? subject.name : `${subject.name} ${version}`
      }).join(", ")
    }${absent.map((subject) => `; ${subject.name}: absent (not installed)`).join("")}`
  )
  const all: Array<WorkloadResults> = []
  const failed = new Set<string>()
  const quick: Timing = { warmUpMillis: 1, measureMillis: 1 }
  for (const subject of present) await measure(subject, "stream", "chunks", quick).catch(() => undefined)
  for (const name of options.workloads) {
    const repetitions: Array<Map<string, Metrics>> = []
    for (let repetition = 0; repetition < options.repetitions; repetition++) {
      say(`${name}: repetition ${repetition + 1} of ${options.repetitions}`)
      const bySubject = new Map<string, Metrics>()
      repetitions.push(bySubject)
      for (const variant of workloads[name]?.variants ?? []) {
        for (const subject of repetition % 2 === 0 ? present : present.toReversed()) {
          if (interrupted) {
            return
          }
          try {
            const metrics = await measure(subject, name, variant, options.timing)
            bySubject.set(subject.name, { ...bySubject.get(subject.name), ...metrics })
          } catch (error) {
            failed.add(error instanceof Error ? error.message : String(error))
          }
        }
      }
    }
    all.push({
      workload: name,
      subjects: options.subjects.map((subject) => subject.name),
      absent: new Set(absent.map((subject) => subject.name)),
      repetitions
    })
  }
  const tables = all.map(toTable).join("\n\n")
  if (options.json) {
    say(`\n${tables}`)
    process.stdout.write(`${JSON.stringify(toJson(all))}\n`)
  } else {
    process.stdout.write(`\n${tables}\n`)
  }
  if (failed.size > 0) {
    say(`\nNot measured:\n${[...failed].map((text) => `  ${text}`).join("\n")}`)
    process.exitCode = 1
  }
}

try {
  const options = parse()
  if (options === "help") {
    process.stdout.write(usage)
  } else {
    await main(options)
  }
} catch (error) {
  if (!(error instanceof UsageError)) {
    throw error
  }
  say(`${error.message}\n\n${usage}`)
  process.exitCode = 2
}
