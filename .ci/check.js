// `npm run check`: every check that is not a test. Prints a line for each step, and the output of those that fail.
import { spawn } from "node:child_process"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import { fileURLToPath } from "node:url"
import util from "node:util"
import { modules } from "../test/support/packageExports.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-check-"))
const tarball = path.join(scratch, "package.tgz")

const children = new Set()

const command = (program, args, options = {}) =>
  new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      ...options,
      env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0", ...options.env }
    })
    children.add(child)
    let output = ""
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8")
      stream.on("data", (text) => output += text)
    }
    child.on("error", (error) => resolve({ ok: false, output: String(error) }))
    child.on("close", (code) => {
      children.delete(child)
      resolve({ ok: code === 0, output })
    })
  })

const bin = (name, ...args) => command(path.join(root, "node_modules", ".bin", name), args)

const pack = async () => {
  const packed = await command("npm", ["pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", scratch])
  if (!packed.ok) return packed
  const name = fs.readdirSync(scratch).find((file) => file.endsWith(".tgz"))
  fs.renameSync(path.join(scratch, name), tarball)
  return packed
}

const build = async () => {
  fs.rmSync(path.join(root, "dist"), { recursive: true, force: true })
  return bin("tsc", "-p", ".ci/tsconfig.build.json")
}

const entryPoints = () =>
  modules(root).open.map(({ specifier }) =>
    specifier === "agent-layers" ? "." : specifier.slice("agent-layers/".length)
  )

// Two lanes for two cores. The steps of a lane run in order; without the package the steps that read it do not run.
const lanes = [
  {
    first: [],
    steps: [
      ["types (tsc)", () => bin("tsc", "-p", "tsconfig.json")],
      [
        "Effect diagnostics",
        () =>
          bin(
            "effect-tsgo",
            "diagnostics",
            "--project=tsconfig.json",
            "--strict",
            "--severity=error,warning",
            "--format=text"
          )
      ],
      [
        "lint (oxlint)",
        () =>
          bin("oxlint", "-c", ".ci/oxlint.json", "--ignore-pattern=test/fixtures/**", ".ci", "src", "examples", "test")
      ],
      ["format (dprint)", () => bin("dprint", "check", "--config", ".ci/dprint.json")],
      ["type tests", () => bin("vitest", "run", "--config", ".ci/vitest.config.js", "--typecheck.only")],
      ["unused code (knip)", () => bin("knip", "--no-progress", "--no-config-hints")]
    ]
  },
  {
    first: [["build", build], ["pack", pack]],
    steps: [
      ["publint", () => bin("publint", "run", tarball, "--strict")],
      [
        "are the types wrong",
        () => bin("attw", tarball, "--profile", "esm-only", "--no-definitely-typed", "--entrypoints", ...entryPoints())
      ],
      ["consumer", () => command(process.execPath, [path.join(".ci", "consumer.js"), root, scratch, tarball])]
    ]
  }
]

let failed = 0
const report = (name, state, since, output) => {
  const seconds = since === undefined ? "" : ` ${((performance.now() - since) / 1000).toFixed(1)} s`
  process.stdout.write(`${state.padEnd(7)} ${name}${seconds}\n`)
  if (output === undefined) return
  process.stdout.write(`${util.stripVTControlCharacters(output).trimEnd().replaceAll(/^/gm, "    ")}\n`)
}

const runStep = async ([name, step]) => {
  const since = performance.now()
  const { ok, output } = await step().catch((error) => ({ ok: false, output: String(error?.stack ?? error) }))
  report(name, ok ? "ok" : "FAILED", since, ok ? undefined : output)
  if (!ok) failed++
  return ok
}

const runLane = async ({ first, steps }) => {
  const needed = [...first]
  for (const step of first) {
    if (!await runStep(step)) break
    needed.shift()
  }
  for (const step of steps) {
    if (needed.length === 0) await runStep(step)
    else report(step[0], "not run", undefined, `because of: ${needed[0][0]}`)
  }
}

const clean = () => fs.rmSync(scratch, { recursive: true, force: true })

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    for (const child of children) child.kill(signal)
    clean()
    process.kill(process.pid, signal)
  })
}

const began = performance.now()
await Promise.all(lanes.map(runLane))
clean()
const seconds = ((performance.now() - began) / 1000).toFixed(0)
process.stdout.write(
  failed === 0 ? `all checks passed in ${seconds} s\n` : `${failed} of the checks failed (${seconds} s)\n`
)
process.exitCode = failed === 0 ? 0 : 1
