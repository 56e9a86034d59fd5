// `npm run laws`: every layer against every law of its service, and decorators over each other, as the tests show it.
// Ends with 0 only when every layer is there and every law holds, or is not supported and says for want of what.
import fs from "node:fs"
import path from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { head, runTests } from "./tables.js"

const root = fileURLToPath(new URL("..", import.meta.url))

const services = { session: "Session", model: "ModelProvider", sandbox: "Sandbox", tracer: "Tracer", mcp: "McpServer" }

/** A function that a layer of somebody else calls, which implements no service. */
const functions = new Set(["OpenAICompaction"])

const filesBelow = (folder) =>
  fs.readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" }).map((file) => `${folder}/${file}`)

const files = filesBelow("test/layers").concat("test/services/SessionStack.test.ts")
  .filter((file) => file.endsWith(".test.ts") && /describeLaws\(|keepsTheLaws\(/.test(fs.readFileSync(file, "utf8")))

const pattern = /laws: |every pair of decorators over memory .* (keeps the laws|is refused)$|deep stacks /

const { errors, tests } = await runTests(files, { mode: "all", testNamePattern: pattern })

const kindOf = (file) => file.startsWith("test/layers/") ? file.split("/")[2] : "session"

/** By service: the laws in the order in which they were met, and what each subject showed of them. */
const tables = Object.fromEntries(Object.keys(services).map((kind) => [kind, { laws: [], subjects: new Map() }]))
const problems = [...errors]
const refused = []
let held = 0
let notShown = 0

for (const { error, file, meta, names, state } of tests) {
  if (!pattern.test(names.join(" "))) continue
  const suite = names.find((name) => name.startsWith("laws: "))
  const title = names.at(-1)
  if (state !== "passed") {
    problems.push(`${state}: ${names.join(" > ")}${error === undefined ? "" : `\n${error.replaceAll(/^/gm, "    ")}`}`)
  }
  if (suite === undefined && title.endsWith(" is refused")) refused.push(title.slice(0, -" is refused".length))
  const { laws, subjects } = tables[kindOf(file)]
  const subject = suite?.slice("laws: ".length) ?? title.replace(/ keeps the laws$/, "")
  for (const { law, missing, outcome } of meta.laws ?? []) {
    if (!laws.includes(law)) laws.push(law)
    if (!subjects.has(subject)) subjects.set(subject, new Map())
    subjects.get(subject).set(law, { missing, outcome })
    if (outcome === "Held") held++
    else if (outcome === "NotShown" && missing) notShown++
    else if (outcome === "NotShown") problems.push(`${subject}: does not say why it cannot show: ${law}`)
  }
}

const marks = { Held: "+", NotShown: "-", Broken: "X" }
const inTens = (text) => text.replaceAll(/.{10}(?=.)/g, "$& ")

const lines = [
  ...head(root),
  "",
  "+ holds   - not supported, the reason below   X broken   (blank) not asked of it"
]
for (const [kind, { laws, subjects }] of Object.entries(tables)) {
  lines.push("", `${services[kind]}: ${subjects.size} subjects, ${laws.length} laws`)
  const width = Math.max(0, ...[...subjects.keys()].map((name) => name.length))
  for (const [name, outcomes] of subjects) {
    const row = laws.map((law) => marks[outcomes.get(law)?.outcome] ?? " ").join("")
    lines.push(`  ${name.padEnd(width)}  ${inTens(row)}`.trimEnd())
  }
  lines.push("", ...laws.map((law, index) => `  ${String(index + 1).padStart(3)}  ${law}`), "")
  for (const [name, outcomes] of subjects) {
    const reasons = new Map()
    laws.forEach((law, index) => {
      const { missing, outcome } = outcomes.get(law) ?? {}
      if (outcome === "NotShown") reasons.set(missing, [...reasons.get(missing) ?? [], index + 1])
    })
    for (const [reason, numbers] of reasons) lines.push(`  ${name}: not supported (${reason}): ${numbers.join(", ")}`)
  }
  for (const file of fs.readdirSync(path.join(root, "src", "layers", kind))) {
    const layer = file.replace(/\.ts$/, "")
    if (layer === file || functions.has(layer)) continue
    if (![...subjects.keys()].some((name) => name.startsWith(layer))) problems.push(`${layer} is against no law`)
  }
}
const stacks = [...tables.session.subjects.keys()].filter((name) => /\(\w+\(/.test(name))
if (stacks.length < 45) problems.push(`only ${stacks.length} pairs and deep stacks of session decorators`)
lines.push("", ...refused.map((name) => `refused when it is built: ${name}`))
lines.push("", ...problems, `${held} hold, ${notShown} not supported, ${problems.length} problems`, "")
process.stdout.write(lines.join("\n"))
process.exitCode = held > 0 && problems.length === 0 ? 0 : 1
