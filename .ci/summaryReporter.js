// A vitest reporter that ends a run with what passed, failed and was skipped, and why each skipped test was skipped.
import process from "node:process"

// What `requires(...).title(name)` in test/support/requires.ts appends to the name of a test that cannot run here.
const marker = / \[needs ([^\]]+)\]/

const reasonOf = (test, note) => {
  if (note !== undefined && note !== "") return note
  const found = marker.exec(test.fullName)
  return found === null ? undefined : found[1]
}

export default class SummaryReporter {
  constructor(options = {}) {
    this.write = options.write ?? ((text) => process.stdout.write(text))
    this.noSkip = options.noSkip ?? process.env.AGENT_LAYERS_NO_SKIP === "1"
  }

  onInit(vitest) {
    this.vitest = vitest
  }

  onTestRunEnd(modules, unhandledErrors, reason) {
    const pattern = this.vitest?.getGlobalTestNamePattern?.()
    const reasons = new Map()
    let passed = 0
    let failed = 0
    let skipped = 0
    for (const module of modules) {
      let failedHere = 0
      for (const test of module.children.allTests()) {
        const result = test.result()
        if (result.state === "passed") passed++
        else if (result.state === "failed") failedHere++
        else if (result.state === "skipped") {
          // Left out by `-t`: not asked for, so not skipped.
          if (pattern !== undefined && !pattern.test(test.fullName)) continue
          skipped++
          const why = reasonOf(test, result.note) ?? `no reason given (${module.relativeModuleId}: ${test.fullName})`
          reasons.set(why, (reasons.get(why) ?? 0) + 1)
        }
      }
      // A file that could not be loaded, or a hook that failed, has no failed test of its own.
      failed += failedHere > 0 || module.ok() ? failedHere : 1
    }
    failed += unhandledErrors.length
    const lines = [""]
    for (const [why, count] of reasons) lines.push(`skipped ${count}: ${why}`)
    if (unhandledErrors.length > 0) lines.push(`errors outside of tests, counted as failed: ${unhandledErrors.length}`)
    if (reason === "interrupted") lines.push("interrupted: not every test ran")
    if (this.noSkip && skipped > 0) {
      lines.push("AGENT_LAYERS_NO_SKIP=1: a skipped test fails the run")
      process.exitCode = 1
    }
    if (passed + failed + skipped === 0) {
      lines.push("no test ran")
      process.exitCode = 1
    }
    lines.push(`${passed} passed, ${failed} failed, ${skipped} skipped`, "")
    this.write(lines.join("\n"))
  }
}
