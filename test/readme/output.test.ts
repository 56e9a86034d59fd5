/**
 * README shows what `npm start` and `npm test` print. Both are run here; times, ids, counts and paths may differ from
 * what README has, the rest may not. `UPDATE_README=1 npm test -- test/readme/output` runs both and writes README.
 */
import { assert, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { stripVTControlCharacters } from "node:util"
import { requires } from "../support/requires.ts"
import { file, read, root } from "./readme.ts"

const isUpdate = process.env.UPDATE_README === "1"

/** What README says in place of the folder that a command ran in. */
const home = "/home/ada/agent-layers"

interface Ran {
  readonly status: number | null
  readonly output: string
}

/** Standard output without npm's own lines. */
const npm = (folder: string, ...args: ReadonlyArray<string>): Promise<Ran> =>
  new Promise((resolve) => {
    const { AGENT_LAYERS_MODEL: _model, OPENAI_API_KEY: _key, OPENAI_BASE_URL: _url, UPDATE_README: _, ...env } =
      process.env
    // What a test runner tells its tests is not for the one inside.
    for (const name of Object.keys(env)) if (/^(VITEST|FORCE_COLOR|npm_)/i.test(name)) delete env[name]
    const child = childProcess.spawn("npm", ["--silent", ...args], {
      cwd: folder,
      env: { ...env, NO_COLOR: "1", AGENT_LAYERS_NO_APT: "1" },
      stdio: ["ignore", "pipe", "inherit"]
    })
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => output += text)
    child.once("close", (status) => {
      const lines = stripVTControlCharacters(output).split("\n")
      resolve({ status, output: lines.map((line) => line.trimEnd()).join("\n").trim().replaceAll(folder, home) })
    })
  })

const blockOf = (command: string) =>
  new RegExp(`(<!-- output of ${command} -->\\n\`\`\`\\n)([^]*?)(\`\`\`\\n<!-- end of output -->)`)

const shown = (command: string): string => {
  const found = blockOf(command).exec(read())
  assert.isNotNull(found, `README has a block for ${command}`)
  return (found as RegExpExecArray)[2]!.trimEnd()
}

const write = (command: string, output: string) =>
  fs.writeFileSync(
    file,
    read().replace(blockOf(command), (_, before: string, __, after: string) => `${before}${output}\n${after}`)
  )

/** Lines as they are on every day and machine. Two tools at once may answer in any order. */
const normalised = (output: string): ReadonlyArray<string> =>
  output
    .replaceAll(/\b(run|conv|trace|call|resp|msg)_[\w-]+/g, "$1_ID")
    .replaceAll(/\b[0-9a-f]{16,}\b/g, "HEX")
    .replaceAll(/\d[\d,.:]*\s*(ms|s|µs|min)\b/g, "TIME")
    .replaceAll(/\d[\d,.:]*/g, "N")
    .replaceAll(/[ \t]+/g, " ")
    .replaceAll(/^(.{1,40}).*…$/gm, "$1…")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("skipped N: "))
    .sort()

const same = (command: string, output: string) =>
  assert.deepStrictEqual(
    normalised(shown(command)),
    normalised(output),
    "README shows something else; UPDATE_README=1 npm test -- test/readme/output writes it anew"
  )

/** The files of this checkout that git knows or would add, and its packages. */
const withClone = async <A>(body: (folder: string) => Promise<A>): Promise<A> => {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-clone-")))
  try {
    const listed = childProcess.spawnSync("git", ["ls-files", "-z", "-co", "--exclude-standard"], {
      cwd: root,
      encoding: "utf8"
    })
    const files = listed.status === 0
      ? listed.stdout.split("\0").filter((name) => name !== "" && fs.existsSync(path.join(root, name)))
      // A copy of the sources without git.
      : fs.readdirSync(root).filter((name) =>
        !/^(node_modules|dist|coverage|\.git|\.agent-layers|\.vitest)$/.test(name)
      )
    for (const name of files) fs.cpSync(path.join(root, name), path.join(folder, name), { recursive: true })
    fs.symlinkSync(path.join(root, "node_modules"), path.join(folder, "node_modules"))
    return await body(folder)
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

const bubblewrap = requires("bubblewrap")

/** The end of what a test run says: the counts. */
const summary = (output: string): string =>
  output.slice(output.search(/^ Test Files /m)).replace(/^( *Duration +[\d.]+m?s).*$/m, "$1")

describe("README shows the output of", () => {
  it.skipIf(!bubblewrap.available)(bubblewrap.title("npm start"), async () => {
    const { output, status } = await withClone((folder) => npm(folder, "start"))
    assert.strictEqual(status, 0, output)
    if (isUpdate) write("npm start", output)
    same("npm start", output)
  }, 120_000)

  it("npm test", async () => {
    // Not all tests again, in a test: how a run ends does not depend on how many there are.
    const { output, status } = await npm(root, "test", ...(isUpdate ? [] : ["--", "test/package/tenPackages.test.ts"]))
    assert.strictEqual(status, 0, output.slice(-4_000))
    if (isUpdate) write("npm test", summary(output))
    same("npm test", summary(output))
    assert.match(shown("npm test"), /^\d+ passed, 0 failed, \d+ skipped$/m)
  }, isUpdate ? 900_000 : 120_000)
})
