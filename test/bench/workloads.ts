// oxlint-disable no-await-in-loop -- everything here happens one after another on purpose
// What every subject does, and how it is timed. The fakes of all subjects do the same work, no more than their SDK's model
// interface asks for: a fresh object for each answer, prebuilt texts, no clock, no random ids.

export const toolName = "lookup"

export const question = "What is in the drawer?"

export const answer = "A key."

export const lookup = (key: string): string => `value of ${key}`

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
  }
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
