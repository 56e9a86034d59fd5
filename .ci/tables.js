// What `npm run mission` and `npm run laws` share: tests are run by vitest, and a table is made of what came of them.
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { startVitest } from "vitest/node"

/** The machine, and the versions that count. */
export const head = (root) => {
  const versionOf = (name) =>
    JSON.parse(fs.readFileSync(path.join(root, "node_modules", name, "package.json"), "utf8")).version
  const { version } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))
  const packages = ["effect", "@effect/platform-node", "openai", "@modelcontextprotocol/sdk"]
  return [
    `agent-layers ${version}, ${new Date().toISOString().slice(0, 10)}`,
    `${os.type()} ${os.release()} ${os.arch()}, ${os.cpus().length} x ${os.cpus()[0]?.model.trim() ?? "processor"}, ` +
    `${Math.round(os.totalmem() / 2 ** 30)} GB, Node ${process.version}`,
    packages.map((name) => `${name} ${versionOf(name)}`).join(", ")
  ]
}

/** Runs the test files whose paths contain one of these; gives each test with its names from the outside in. */
export const runTests = async (filters, options = {}) => {
  const tests = []
  const errors = []
  const reporter = {
    onTestModuleEnd(module) {
      for (const test of module.children.allTests()) {
        const { errors: failures, state } = test.result()
        const names = [test.name]
        for (let suite = test.parent; suite.type === "suite"; suite = suite.parent) names.unshift(suite.name)
        const message = failures?.map((error) => error.message).join("\n")
        tests.push({
          file: module.relativeModuleId,
          names,
          state,
          duration: test.diagnostic()?.duration ?? 0,
          meta: test.meta(),
          error: state === "failed" ? message : undefined
        })
      }
      for (const error of module.errors()) errors.push(`${module.relativeModuleId}: ${error.message}`)
    },
    onTestRunEnd(_modules, unhandled) {
      for (const error of unhandled) errors.push(`outside of tests: ${error.message}`)
    }
  }
  const vitest = await startVitest("test", filters, {
    config: fileURLToPath(new URL("vitest.config.js", import.meta.url)),
    watch: false,
    reporters: [reporter],
    // A skipped test shows in the table.
    passWithNoTests: true,
    ...options
  })
  await vitest.close()
  // Files end in any order; a table has the same one each time.
  tests.sort((a, b) => a.file < b.file ? -1 : a.file > b.file ? 1 : 0)
  return { tests, errors }
}
