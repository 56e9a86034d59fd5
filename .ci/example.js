// `npm run example`: lists the examples; `npm run example hello`: runs one on the sources.
import { spawn } from "node:child_process"
import fs from "node:fs"
import path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const folder = path.join(root, "examples")

const names = fs.readdirSync(folder)
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
  .map((file) => file.slice(0, -".ts".length))
  .sort()

const firstLine = (name) => {
  const text = fs.readFileSync(path.join(folder, `${name}.ts`), "utf8")
  const header = /^\s*(?:\/\*\*?([\s\S]*?)\*\/|((?:\/\/.*\n?)+))/.exec(text)
  const lines = (header?.[1] ?? header?.[2] ?? "").split("\n").map((line) =>
    line.replace(/^\s*(?:\*|\/\/)?\s?/, "").trim()
  )
  return lines.find((line) => line !== "") ?? ""
}

const list = () => {
  const width = Math.max(...names.map((name) => name.length))
  return names.map((name) => `  ${name.padEnd(width)}  ${firstLine(name)}`.trimEnd()).join("\n")
}

const [asked, ...args] = process.argv.slice(2)
const name = asked?.replace(/^examples\//, "").replace(/\.ts$/, "")

if (name === undefined) {
  process.stdout.write(`${list()}\n\nRun one: npm run example ${names.includes("hello") ? "hello" : names[0] ?? ""}\n`)
} else if (!names.includes(name)) {
  process.stderr.write(`There is no example "${asked}". These are there:\n${list()}\n`)
  process.exitCode = 1
} else {
  const file = path.join(folder, `${name}.ts`)
  const child = spawn(process.execPath, ["--conditions=agent-layers:source", "--no-warnings", file, ...args], {
    cwd: root,
    stdio: "inherit"
  })
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal))
  child.on("close", (code, signal) => {
    if (signal !== null) {
      process.removeAllListeners(signal)
      process.kill(process.pid, signal)
    } else process.exitCode = code
  })
}
