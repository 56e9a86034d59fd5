/** Runs an example as `npm run example` does: a process of its own, on the sources, without a key. */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("../..", import.meta.url))

export const names: ReadonlyArray<string> = fs.readdirSync(path.join(root, "examples"))
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
  .map((file) => file.slice(0, -".ts".length))
  .sort()

export const spawnExample = (name: string, ...args: ReadonlyArray<string>): childProcess.ChildProcess => {
  const { OPENAI_API_KEY: _key, OPENAI_BASE_URL: _url, ...env } = process.env
  return childProcess.spawn(
    process.execPath,
    [
      "--conditions=agent-layers:source",
      "--no-warnings",
      path.join(root, "examples", `${name}.ts`),
      ...args
    ],
    { cwd: root, env: { ...env, NO_COLOR: "1" }, stdio: ["ignore", "pipe", "pipe"] }
  )
}

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly seconds: number
}

export const ended = (child: childProcess.ChildProcess): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const began = performance.now()
    let stdout = ""
    let stderr = ""
    child.stdout?.setEncoding("utf8").on("data", (text: string) => stdout += text)
    child.stderr?.setEncoding("utf8").on("data", (text: string) => stderr += text)
    child.once("error", reject)
    child.once("close", (code) => resolve({ code, stdout, stderr, seconds: (performance.now() - began) / 1000 }))
  })
