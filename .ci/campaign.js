// `npm run campaign -- NAME`: runs the tests of one campaign for many rounds and prints their figures. Without a name it
// lists the campaigns. Ends with 0 only when each test of the campaign ran and passed.
import process from "node:process"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { campaigns } from "../test/support/campaigns.ts"
import { head, runTests } from "./tables.js"

const say = (...lines) => process.stdout.write(`${lines.join("\n")}\n`)

const number = (count) => count.toLocaleString("en-US")
const rounds = (count) => `${number(count)} ${count === 1 ? "round" : "rounds"}`
const minutes = (count) => `about ${count} min`

const width = Math.max(...Object.keys(campaigns).map((name) => name.length))
const list = Object.entries(campaigns).map(([name, { campaign, minutes: long, says }]) =>
  `  ${name.padEnd(width)}  ${rounds(campaign).padStart(17)}, ${minutes(long)}  ${says}`
)

const usage = [
  "Usage: npm run campaign -- NAME [--rounds N] [--seed N]",
  "",
  ...list,
  "",
  "The times are those of two cores. --rounds runs another number of rounds, --seed begins with another seed."
]

const refuse = (message) => {
  process.stderr.write(`${[message, "", ...usage].join("\n")}\n`)
  process.exit(1)
}

const readArguments = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { help: { type: "boolean" }, rounds: { type: "string" }, seed: { type: "string" } }
    })
  } catch (error) {
    return refuse(error.message)
  }
}

const wholeNumber = (flag, text, least) => {
  const found = /^\d+$/.test(text) ? Number(text) : Number.NaN
  return found >= least && Number.isSafeInteger(found)
    ? found
    : refuse(`--${flag} ${text}: a whole number from ${least} on is wanted`)
}

const run = async (name, count, seed) => {
  const { file, says, tests: pattern } = campaigns[name]
  // The processes of vitest inherit both.
  process.env.AGENT_LAYERS_ROUNDS = String(count)
  process.env.AGENT_LAYERS_SEED = String(seed)
  say(...head(fileURLToPath(new URL("..", import.meta.url))), "")
  say(`${name}: ${says}`, `${file}, ${rounds(count)}, the first seed is ${seed}`, "")
  const testNamePattern = new RegExp(pattern)
  const { errors, tests } = await runTests([file], { mode: "all", testNamePattern })
  const asked = tests.filter(({ names }) => testNamePattern.test(names.join(" > ")))
  for (const { duration, error, meta, names, state } of asked) {
    const seconds = duration / 1000
    const rate = state === "passed" && seconds > 0 ? [`${(count / seconds).toPrecision(3)} rounds a second`] : []
    const counted = Object.entries(meta.figures ?? {}).map(([what, times]) => `${what} ${number(times)}`)
    say(
      `${state === "skipped" ? "NOT SHOWN" : state === "passed" ? "passed" : "FAILED"}: ${names.join(" > ")}`,
      `  ${[`${seconds.toFixed(1)} s`, ...rate, ...counted].join(", ")}`
    )
    if (error !== undefined) say(error.replaceAll(/^/gm, "    "))
  }
  for (const error of errors) say(`FAILED: ${error}`)
  const passed = asked.filter(({ state }) => state === "passed").length
  const skipped = asked.filter(({ state }) => state === "skipped").length
  const failed = asked.length - passed - skipped + errors.length
  if (asked.length === 0) say(`FAILED: no test of ${file} is called ${pattern}`)
  say("", `${passed} passed, ${failed} failed, ${skipped} not shown`)
  process.exitCode = passed > 0 && failed + skipped === 0 ? 0 : 1
}

const { positionals, values } = readArguments()
const [name, ...others] = positionals
if (name === undefined) {
  say(...usage)
} else if (!Object.hasOwn(campaigns, name)) {
  refuse(`There is no campaign "${name}".`)
} else if (others.length > 0) {
  refuse(`One campaign at a time: ${positionals.join(", ")}.`)
} else {
  const count = wholeNumber("rounds", values.rounds ?? String(campaigns[name].campaign), 1)
  await run(name, count, wholeNumber("seed", values.seed ?? "0", 0))
}
