/**
 * The AI SDK and LangChain send a request again by themselves, and run no tool again. They are not among the package's
 * dependencies: the first run installs them into `clients/node_modules`.
 */
import { describe } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { type Client, rows } from "./retriesSupport.ts"

const folder = fileURLToPath(new URL("clients", import.meta.url))

// npm writes this file last, so that an installation that was cut off is seen as missing.
const mark = `${folder}/node_modules/.package-lock.json`

const isInstalled = (): boolean =>
  fs.existsSync(mark) && fs.statSync(mark).mtimeMs >= fs.statSync(`${folder}/package-lock.json`).mtimeMs

if (!isInstalled()) {
  const { status, stderr } = spawnSync(
    "npm",
    ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
    {
      cwd: folder,
      encoding: "utf8",
      shell: process.platform === "win32"
    }
  )
  if (status !== 0) throw new Error(`npm ci in ${folder} failed: ${stderr}`)
}

const { clients }: { readonly clients: ReadonlyArray<Client> } = await import(`${folder}/ask.js`)

describe("a run that fails after a tool has run", { timeout: 240_000 }, () => {
  rows(clients)
})
