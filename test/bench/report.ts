import type { Metrics } from "./workloads.ts"
import { median, workloads } from "./workloads.ts"

/** The subject that every ratio is taken against. */
export const reference = "agent-layers"

/** One repetition of one workload: the metrics of each subject that was there. */
export type Repetition = ReadonlyMap<string, Metrics>

export interface WorkloadResults {
  readonly workload: string
  readonly subjects: ReadonlyArray<string>
  readonly absent: ReadonlySet<string>
  readonly repetitions: ReadonlyArray<Repetition>
}

const metricsOf = (results: WorkloadResults): ReadonlyArray<string> => {
  const names = new Set<string>()
  for (const repetition of results.repetitions) {
    for (const metrics of repetition.values()) {
      Object.keys(metrics).forEach((name) => names.add(name))
    }
  }
  return [...names]
}

const valuesOf = (results: WorkloadResults, subject: string, metric: string): ReadonlyArray<number> =>
  results.repetitions.flatMap((repetition) => repetition.get(subject)?.[metric] ?? [])

const costSuffixes = /_(?:us|ms|mb|kb)$/

/**
 * The cost of a subject against the reference within each repetition: above 1 the subject is slower or needs more
 * memory, whichever way its metric counts. A count (of spans) or a growth has no such ratio.
 */
const costRatiosOf = (results: WorkloadResults, subject: string, metric: string): ReadonlyArray<number> =>
  costSuffixes.test(metric) || metric.endsWith("_per_s")
    ? results.repetitions.flatMap((repetition) => {
      const own = repetition.get(subject)?.[metric]
      const base = repetition.get(reference)?.[metric]
      return own === undefined || base === undefined ? [] : costSuffixes.test(metric) ? own / base : base / own
    })
    : []

/** `{ workload: { subject: { metric: median } } }`. A subject that is absent has no metrics. */
export const toJson = (
  all: ReadonlyArray<WorkloadResults>
): Record<string, Record<string, Record<string, number>>> =>
  Object.fromEntries(all.map((results) => [
    results.workload,
    Object.fromEntries(results.subjects.map((subject) => [
      subject,
      Object.fromEntries(
        metricsOf(results).flatMap((metric) => {
          const values = valuesOf(results, subject, metric)
          return values.length === 0 ? [] : [[metric, Number(median(values).toPrecision(5))]]
        })
      )
    ]))
  ]))

const number = (value: number): string =>
  value >= 100
    ? Math.round(value).toLocaleString("en-US")
    : value >= 10
    ? value.toFixed(1)
    : String(Number(value.toPrecision(2)))

const spread = (values: ReadonlyArray<number>): string =>
  `${number(median(values))} [${number(Math.min(...values))}-${number(Math.max(...values))}]`

/** A readable table: the median and the range of the repetitions, and of the ratios within them. */
export const toTable = (results: WorkloadResults): string => {
  const header = ["metric", "subject", "median [min-max]", `cost / ${reference} [min-max]`]
  const rows: Array<ReadonlyArray<string>> = [header, header.map((cell) => "-".repeat(cell.length))]
  for (const metric of metricsOf(results)) {
    let label = metric
    for (const subject of results.subjects) {
      const values = valuesOf(results, subject, metric)
      const ratios = subject === reference ? [] : costRatiosOf(results, subject, metric)
      rows.push([
        label,
        subject,
        results.absent.has(subject) ? "absent" : values.length === 0 ? "-" : spread(values),
        ratios.length === 0 ? "" : spread(ratios)
      ])
      label = ""
    }
  }
  const widths = header.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)))
  return [
    workloads[results.workload]?.title ?? results.workload,
    ...rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd())
  ].join("\n")
}
