// oxlint-disable no-await-in-loop -- everything here happens one after another on purpose
// What every subject does, and how it is timed. The fakes of all subjects do the same work, no more than their SDK's model
// interface asks for: a fresh object for each answer, prebuilt texts, no clock, no random ids.

import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

export const toolName = "lookup"

export const question = "What is in the drawer?"

export const answer = "A key."

export const lookup = (key: string): string => `value of ${key}`

/** What the programs of `start` print. */
const helloAnswer = "A Layer is a recipe for a service."

export const deltaText = "tok "

export const deltaCount = 10_000

export const chunkSize = 100

type Chunk = readonly [string, ...Array<string>]

const chunk: Chunk = [deltaText, ...Array.from({ length: chunkSize - 1 }, () => deltaText)]

/** The source of the streamed text as chunks of 100 deltas, with one asynchronous step a chunk. */
export async function* deltaChunks(): AsyncGenerator<Chunk> {
  for (let sent = 0; sent < deltaCount; sent += chunkSize) {
    yield chunk
  }
}

/** The source of the streamed text with one asynchronous step a delta. */
export async function* singleDeltas(): AsyncGenerator<string> {
  for (let sent = 0; sent < deltaCount; sent++) {
    yield deltaText
  }
}

export const streamedText = deltaText.repeat(deltaCount)

export interface TurnOptions {
  /** How often the model asks for the tool before it answers. A run has `toolCalls + 1` turns. */
  readonly toolCalls: number
  readonly traced: boolean
}

export interface StreamOptions {
  readonly delivery: "chunks" | "single"
}

export const concurrentRuns = 1_000

export const toolSleepMillis = 5

export interface ConcurrentOptions {
  /** How often the model asks for the tool before it answers. A run has `toolCalls + 1` turns. */
  readonly toolCalls: number
  /** The tool calls it before it sleeps `toolSleepMillis`. */
  readonly onTool: () => void
}

export const storedItems = 10_000

/** The texts of the stored conversation: user and assistant in turns, about 100 characters each. */
export const storedText = (index: number): string =>
  `Message ${index}: ${"the drawer is beside the window, under the lamp. ".repeat(2)}`.slice(0, 100)

export interface HistoryOptions {
  readonly store: "memory" | "sqlite"
  /** How often the model asks for the tool before it answers. A run has `toolCalls + 1` turns. */
  readonly toolCalls: number
  /** The model calls it whenever it is asked. */
  readonly onModel: () => void
}

export interface PreparedHistory {
  /** Stores so many items as a new conversation, and returns one run of the agent on it. */
  readonly prepare: (items: number) => Promise<() => Promise<void>>
  readonly close: () => Promise<void>
}

export interface Prepared {
  /** One run of the agent. Rejects unless it did all of its work. */
  readonly run: () => Promise<void>
  /** How many spans the last run left in memory. */
  readonly spans?: () => number
}

/** `undefined`: the subject has no such variant. */
export interface Subject {
  readonly turn: (options: TurnOptions) => Promise<Prepared | undefined>
  readonly stream: (options: StreamOptions) => Promise<Prepared | undefined>
  readonly concurrent: (options: ConcurrentOptions) => Promise<Prepared | undefined>
  readonly history: (options: HistoryOptions) => Promise<PreparedHistory | undefined>
  /** A program that prints one answer of an agent, relative to this folder. */
  readonly hello: string
}

/** Fails a run that skipped work: a benchmark of work not done is worse than none. */
export function expectEqual(what: string, actual: unknown, expected: unknown): void {
  if (actual !== expected) {
    throw new Error(`${what}: expected ${String(expected)}, got ${String(actual)}`)
  }
}

export interface Timing {
  readonly warmUpMillis: number
  readonly measureMillis: number
}

export type Metrics = Record<string, number>

export interface Workload {
  readonly title: string
  /** Each variant of each subject runs in a process of its own, so that none is measured with another's compiled code. */
  readonly variants: ReadonlyArray<string>
  readonly measure: (subject: Subject, variant: string, timing: Timing) => Promise<Metrics>
}

export const workloads: Readonly<Record<string, Workload>> = {
  turn: {
    title: "turn: microseconds a turn (an agent with one typed tool that the model calls K times; run time / (K + 1))",
    variants: ["off", "traced"],
    measure: async (subject, variant, timing) => {
      const metrics: Metrics = {}
      for (const toolCalls of [1, 10, 100]) {
        const prepared = await subject.turn({ toolCalls, traced: variant === "traced" })
        if (prepared === undefined) {
          continue
        }
        metrics[`k${toolCalls}_${variant}_us`] = (await medianRunMillis(prepared.run, timing)) * 1_000 / (toolCalls + 1)
        if (prepared.spans !== undefined && toolCalls === 10) {
          metrics["k10_traced_spans"] = prepared.spans()
        }
      }
      return metrics
    }
  },
  stream: {
    title: "stream: deltas a second (10,000 text deltas; the source delivers chunks of 100, or one by one)",
    variants: ["chunks", "single"],
    measure: async (subject, variant, timing) => {
      const prepared = await subject.stream({ delivery: variant === "chunks" ? "chunks" : "single" })
      return prepared === undefined
        ? {}
        : { [`${variant}_deltas_per_s`]: deltaCount * 1_000 / (await medianRunMillis(prepared.run, timing)) }
    }
  },
  concurrent: {
    title:
      "concurrent: 1,000 runs of 3 turns at once, with a tool that sleeps 5 ms (cold: the first 1,000 of a process,"
      + " after a single run; warm: later ones)\n"
      + "            peak_rss: what the process held at most, Node itself included; rss_over_baseline: that less what it"
      + " held after the single run;\n"
      + "            heap_peak: the most that V8's heap had in use, garbage included; all three of the first 1,000 alone",
    variants: ["cold", "warm"],
    measure: async (subject, variant, timing) => {
      const toolCalls = 2
      let called = 0
      let heapPeak = 0
      const sampleHeap = (): void => {
        heapPeak = Math.max(heapPeak, process.memoryUsage().heapUsed)
      }
      const prepared = await subject.concurrent({
        toolCalls,
        onTool: () => {
          called++
          // Seldom enough not to show in the time: a sample costs some microseconds.
          if (called % 50 === 0) {
            sampleHeap()
          }
        }
      })
      if (prepared === undefined) {
        return {}
      }
      const together = async (): Promise<void> => {
        called = 0
        await Promise.all(Array.from({ length: concurrentRuns }, prepared.run))
        expectEqual("tool calls", called, concurrentRuns * toolCalls)
      }
      await prepared.run()
      expectEqual("tool calls", called, toolCalls)
      if (variant === "warm") {
        return { warm_wall_ms: await medianRunMillis(together, timing) }
      }
      collectGarbage()
      heapPeak = 0
      const baseline = process.memoryUsage.rss()
      const start = performance.now()
      await together()
      const wall = performance.now() - start
      sampleHeap()
      const peak = process.resourceUsage().maxRSS * 1_024
      return {
        cold_wall_ms: wall,
        peak_rss_mb: peak / bytesPerMegabyte,
        rss_over_baseline_mb: (peak - baseline) / bytesPerMegabyte,
        heap_peak_mb: heapPeak / bytesPerMegabyte
      }
    }
  },
  history: {
    title: "history: a run on a stored conversation of 10,000 items, against the same run on an empty one\n"
      + "         item_us: microseconds more for each stored item, once a run (load, repair, result); turn_us: microseconds"
      + " for each of 100 further turns,\n"
      + "         its commit included; turn_growth: how many times a further turn costs what it does on an empty one"
      + " (1: nothing grows)",
    variants: ["memory", "sqlite"],
    measure: async (subject, variant, timing) => {
      const toolCalls = 100
      const asked: Array<number> = []
      const prepared = await subject.history({
        store: variant === "memory" ? "memory" : "sqlite",
        toolCalls,
        onModel: () => {
          asked.push(performance.now())
        }
      })
      if (prepared === undefined) {
        return {}
      }
      // Every run gets a conversation of its own, so that none is measured on what another has added.
      const sample = async (items: number): Promise<{ readonly once: number; readonly turn: number }> => {
        const run = await prepared.prepare(items)
        collectGarbage()
        asked.length = 0
        const start = performance.now()
        await run()
        const total = performance.now() - start
        expectEqual("model calls", asked.length, toolCalls + 1)
        const turns = (asked.at(-1) ?? Number.NaN) - (asked[0] ?? Number.NaN)
        await nextTick()
        return { once: total - turns, turn: turns / toolCalls }
      }
      const warmUpStart = performance.now()
      do {
        await sample(0)
        await sample(storedItems)
      } while (performance.now() - warmUpStart < timing.warmUpMillis)
      const empty = { once: [] as Array<number>, turn: [] as Array<number> }
      const stored = { once: [] as Array<number>, turn: [] as Array<number> }
      const start = performance.now()
      while (stored.once.length < minimumSamples || performance.now() - start < 3 * timing.measureMillis) {
        for (const [items, kept] of [[0, empty], [storedItems, stored]] as const) {
          const { once, turn } = await sample(items)
          kept.once.push(once)
          kept.turn.push(turn)
        }
      }
      await prepared.close()
      return {
        [`${variant}_item_us`]: (median(stored.once) - median(empty.once)) * 1_000 / storedItems,
        [`${variant}_empty_turn_us`]: median(empty.turn) * 1_000,
        [`${variant}_stored_turn_us`]: median(stored.turn) * 1_000,
        [`${variant}_turn_growth`]: median(stored.turn) / median(empty.turn)
      }
    }
  },
  start: {
    title:
      "start: milliseconds from the start of a process to the first answer of an agent, Node's own start included\n"
      + "       unbundled: with the packages as they are installed; bundled: as one file that esbuild made, minified, for Node;\n"
      + "       kb: its size, in KB of 1,000 bytes",
    variants: ["unbundled", "bundled"],
    measure: async ({ hello }, variant, timing) => {
      const program = fileURLToPath(new URL(hello, import.meta.url))
      if (variant === "unbundled") {
        return { unbundled_ms: await medianStartMillis(program, timing) }
      }
      const folder = mkdtempSync(join(tmpdir(), "agent-layers-hello-"))
      try {
        const outfile = join(folder, "hello.mjs")
        return await bundle(program, outfile)
          ? { bundled_ms: await medianStartMillis(outfile, timing), bundled_kb: statSync(outfile).size / 1_000 }
          : {}
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    }
  }
}

// A bundle of ES modules that holds CommonJS, as those of some peers do, has no `require` of its own.
const banner = `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);`

/** Whether it could be made: esbuild is installed with the peers. */
async function bundle(program: string, outfile: string): Promise<boolean> {
  const esbuild = new URL("./peers/node_modules/esbuild/lib/main.js", import.meta.url)
  if (!existsSync(esbuild)) {
    return false
  }
  const { build } = await import(esbuild.href) as {
    readonly build: (options: Readonly<Record<string, unknown>>) => Promise<unknown>
  }
  const conditions = process.execArgv.flatMap((argument) => /^--conditions=(.+)/.exec(argument)?.[1] ?? [])
  await build({
    entryPoints: [program],
    outfile,
    bundle: true,
    minify: true,
    platform: "node",
    target: `node${process.versions.node}`,
    format: "esm",
    banner: { js: banner },
    conditions,
    logLevel: "error"
  })
  return true
}

const medianStartMillis = async (program: string, timing: Timing): Promise<number> => {
  const samples: Array<number> = []
  await startMillis(program)
  const start = performance.now()
  while (samples.length < 3 || performance.now() - start < 5 * timing.measureMillis) {
    samples.push(await startMillis(program))
  }
  return median(samples)
}

const startMillis = (program: string): Promise<number> =>
  new Promise((resolve, reject) => {
    // What was compiled before is what a program that starts for the first time does not have.
    const { NODE_COMPILE_CACHE: _, ...env } = process.env
    const start = performance.now()
    const child = spawn(process.execPath, [...process.execArgv, program], { env, stdio: ["ignore", "pipe", "inherit"] })
    let answeredAfter: number | undefined
    let printed = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      answeredAfter ??= performance.now() - start
      printed += text
    })
    child.once("error", reject)
    child.once("close", (code) => {
      if (code === 0 && printed === `${helloAnswer}\n` && answeredAfter !== undefined) {
        resolve(answeredAfter)
      } else {
        reject(new Error(`${program} ended with ${code} and printed: ${printed}`))
      }
    })
  })

const bytesPerMegabyte = 1_000_000

function collectGarbage(): void {
  setFlagsFromString("--expose-gc")
  const gc = runInNewContext("gc") as () => void
  gc()
}

const sampleMillis = 2

const minimumSamples = 5

// A sample is a batch of runs that takes about 2 ms, so that the clock's own cost and resolution do not show in runs of a
// few microseconds. Between samples the event loop gets its turn: a child must notice that its parent has gone.
async function medianRunMillis(run: () => Promise<void>, timing: Timing): Promise<number> {
  const warmUpStart = performance.now()
  let lastRun = 0
  do {
    const start = performance.now()
    await run()
    lastRun = performance.now() - start
    await nextTick()
  } while (performance.now() - warmUpStart < timing.warmUpMillis)
  const batch = Math.max(1, Math.ceil(sampleMillis / Math.max(lastRun, 0.000_5)))
  const samples: Array<number> = []
  const start = performance.now()
  while (samples.length < minimumSamples || performance.now() - start < timing.measureMillis) {
    const sampleStart = performance.now()
    for (let done = 0; done < batch; done++) {
      await run()
    }
    samples.push((performance.now() - sampleStart) / batch)
    await nextTick()
  }
  return median(samples)
}

const nextTick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export function median(values: ReadonlyArray<number>): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}
