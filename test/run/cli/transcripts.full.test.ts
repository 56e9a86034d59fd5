/**
 * What each command prints, as it is printed. A transcript holds commands, each behind `$ `, with what is put into it
 * between `<<END` and `END`, and variables before it; behind it its standard output, its standard error after `! `, and
 * its exit code where that is not 0. The commands of one file run one after another in one folder.
 * AGENT_LAYERS_TRANSCRIPTS=write writes what is printed now; read what it changed before it is committed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { normalise, project, run, transcripts } from "./support.ts"

interface Step {
  readonly line: string
  readonly args: ReadonlyArray<string>
  readonly env: Record<string, string>
  readonly input: string | undefined
}

/** Words as a shell has them, quotes included. */
const wordsOf = (line: string): ReadonlyArray<string> =>
  Array.from(
    line.matchAll(/(?:[^\s'"]+|'[^']*'|"[^"]*")+/g),
    ([word]) => word.replaceAll(/'([^']*)'|"([^"]*)"/g, "$1$2")
  )

const parse = (text: string): ReadonlyArray<Step> => {
  const lines = text.split("\n")
  const steps: Array<Step> = []
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at]!
    if (!line.startsWith("$ ")) continue
    const words = [...wordsOf(line.slice(2))]
    const env: Record<string, string> = {}
    while (/^[A-Z_]+=/.test(words[0] ?? "")) {
      const [name = "", ...value] = words.shift()!.split("=")
      env[name] = value.join("=")
    }
    assert.strictEqual(words.shift(), "agent-layers", line)
    let input: string | undefined
    if (words.at(-1) === "<<END") {
      words.pop()
      const end = lines.indexOf("END", at)
      input = `${lines.slice(at + 1, end).join("\n")}\n`
      at = end
    }
    steps.push({ line, args: words, env, input })
  }
  return steps
}

const perform = async (step: Step, folder: string): Promise<string> => {
  const { code, stderr, stdout } = await run(step.args, { cwd: folder, env: step.env, input: step.input })
  const errors = stderr.trimEnd() === "" ? "" : `${stderr.trimEnd().replaceAll(/^/gm, "! ")}\n`
  const shown = stdout === "" || stdout.endsWith("\n") ? stdout : `${stdout}\n`
  return [
    `${step.line}\n`,
    step.input === undefined ? "" : `${step.input}END\n`,
    normalise(shown.replaceAll(/[ \t]+$/gm, ""), folder),
    normalise(errors, folder),
    code === 0 ? "" : `[${code}]\n`
  ].join("")
}

const files = fs.readdirSync(transcripts).filter((file) => file.endsWith(".txt"))

describe("a transcript", () => {
  it.each(files)("%s", { timeout: 300_000 }, async (file) => {
    const full = path.join(transcripts, file)
    const text = fs.readFileSync(full, "utf8")
    const steps = parse(text)
    assert.isNotEmpty(steps)
    const { folder, remove } = project()
    try {
      const parts: Array<string> = []
      for (const step of steps) parts.push(await perform(step, folder))
      const told = parts.join("\n")
      if (process.env["AGENT_LAYERS_TRANSCRIPTS"] === "write") fs.writeFileSync(full, told)
      else assert.strictEqual(told, text)
    } finally {
      remove()
    }
  })
})
