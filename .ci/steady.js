// `npm run test:steady`: runs `npm test` three times beside four busy loops. Each run must pass, with the same tests and
// the same outcomes. What stands after `--` goes to `npm test`.
import { spawn } from "node:child_process"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import process from "node:process"

// npm starts this in the folder of the package.
const root = process.cwd()
const runs = 3
const loops = 4

// A loop ends by itself when this process is gone, however that ended.
const busy = `while (process.ppid === ${process.pid}) for (const end = Date.now() + 200; Date.now() < end;);`

const say = (line = "") => process.stdout.write(`${line}\n`)

/** Each test by file and name, with its outcome. A name that occurs twice in a file gets a number. */
const outcomesOf = (report) => {
  const outcomes = new Map()
  const add = (name, outcome) => {
    let key = name
    for (let number = 2; outcomes.has(key); number++) key = `${name} (${number})`
    outcomes.set(key, outcome)
  }
  for (const { assertionResults, message, name, status } of report.testResults) {
    const file = path.relative(root, name)
    for (const test of assertionResults) {
      const error = test.failureMessages?.[0]
      add([file, ...test.ancestorTitles, test.title].join(" > "), { status: test.status, error })
    }
    const isBroken = status === "failed" && assertionResults.every((test) => test.status !== "failed")
    if (isBroken) add(file, { status: "failed", error: message })
  }
  return outcomes
}

/** A line for each test whose outcome is not the same in all runs. */
const differences = (all) => {
  const names = new Set(all.flatMap((outcomes) => [...outcomes.keys()]))
  const lines = []
  for (const name of names) {
    const found = all.map((outcomes) => outcomes.get(name)?.status ?? "absent")
    if (new Set(found).size > 1) lines.push(`${found.join(", ")}: ${name}`)
  }
  return lines
}

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-steady-"))
const children = new Set()

const start = (command, args, options) => {
  const child = spawn(command, args, options)
  children.add(child)
  const ended = new Promise((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code) => {
      children.delete(child)
      resolve(code)
    })
  })
  return { child, ended }
}

/** A process group of its own for each child: a signal reaches all that it started. */
const endAll = (signal) => {
  for (const { pid } of children) {
    try {
      process.kill(-pid, signal)
    } catch {
      // It has ended.
    }
  }
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.once(signal, () => {
    endAll("SIGKILL")
    fs.rmSync(scratch, { recursive: true, force: true })
    process.kill(process.pid, signal)
  })
}

const runOnce = async (number) => {
  const file = path.join(scratch, `${number}.json`)
  const log = path.join(scratch, `${number}.log`)
  const output = fs.openSync(log, "w")
  const started = Date.now()
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`]
  const { ended } = start("npm", ["test", "--silent", "--", ...reporters, ...process.argv.slice(2)], {
    cwd: root,
    detached: true,
    stdio: ["ignore", output, output]
  })
  const code = await ended
  fs.closeSync(output)
  const seconds = Math.round((Date.now() - started) / 1000)
  if (!fs.existsSync(file)) {
    throw new Error(`npm test ended with ${code} and no report:\n${fs.readFileSync(log, "utf8")}`)
  }
  const outcomes = outcomesOf(JSON.parse(fs.readFileSync(file, "utf8")))
  const count = (status) => [...outcomes.values()].filter((outcome) => outcome.status === status).length
  const passed = count("passed")
  const failed = count("failed")
  const summary = `${passed} passed, ${failed} failed, ${outcomes.size - passed - failed} skipped`
  say(`run ${number}: ${summary}, exit code ${code}, ${seconds} s`)
  for (const [name, { error, status }] of outcomes) {
    if (status === "failed") say(`  FAILED ${name}\n${String(error).replaceAll(/^/gm, "    ")}`)
  }
  if (code !== 0 && failed === 0) say(fs.readFileSync(log, "utf8").trimEnd().split("\n").slice(-40).join("\n"))
  return { outcomes, isPassed: code === 0 && passed > 0, seconds, summary }
}

try {
  const pids = Array.from(
    { length: loops },
    () => start(process.execPath, ["-e", busy], { detached: true, stdio: "ignore" }).child.pid
  )
  say(`${runs} runs of npm test beside ${loops} busy loops (processes ${pids.join(", ")}) on ${os.cpus().length} cores`)
  const results = []
  for (let number = 1; number <= runs; number++) results.push(await runOnce(number))
  const different = differences(results.map(({ outcomes }) => outcomes))
  if (different.length > 0) say(`\nnot the same in all runs (${different.length}):`)
  for (const line of different) say(`  ${line}`)
  const isSteady = different.length === 0 && results.every(({ isPassed }) => isPassed)
  const times = results.map(({ seconds }) => `${seconds} s`).join(", ")
  say(`\n${isSteady ? `steady: ${results[0].summary} in each run` : "NOT STEADY"}; ${times}`)
  process.exitCode = isSteady ? 0 : 1
} finally {
  endAll("SIGKILL")
  fs.rmSync(scratch, { recursive: true, force: true })
}
