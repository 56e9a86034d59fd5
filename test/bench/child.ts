// Measures one variant of one workload for one subject: `node child.ts <subject file> <workload> <variant> <warm-up ms> <measure ms>`.
// It answers over IPC to main.ts, or on standard output when started by hand (for example under `node --cpu-prof`).
import { workloads } from "./workloads.ts"
import type { Subject } from "./workloads.ts"

const [file, workloadName, variant, warmUpMillis, measureMillis] = process.argv.slice(2)

const orphaned = (): void => process.exit(1)

process.on("disconnect", orphaned)

const workload = workloads[workloadName ?? ""]
if (file === undefined || workload === undefined || variant === undefined) {
  throw new Error("usage: child.ts <subject file> <workload> <variant> <warm-up ms> <measure ms>")
}
const { subject } = await import(new URL(`./${file}`, import.meta.url).href) as { readonly subject: Subject }
const metrics = await workload.measure(subject, variant, {
  warmUpMillis: Number(warmUpMillis),
  measureMillis: Number(measureMillis)
})
if (process.send === undefined) {
  process.stdout.write(`${JSON.stringify(metrics)}\n`)
} else {
  process.off("disconnect", orphaned)
  process.send({ metrics }, () => process.disconnect())
}
