/** What `npm start` does when something is wrong: one paragraph, an exit code, and a conversation as it was. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { requires } from "../../support/requires.ts"
import { untilSo } from "../../support/until.ts"
import { answerOf, errorOf, folders, project, run, start } from "./analyst.ts"

const { make, remove } = folders()
let dir = ""

beforeAll(() => {
  dir = make("project", project)
})
afterAll(remove)

describe("the command line", () => {
  it("--help says what there is, and exits with 0", async () => {
    const { code, stderr, stdout } = await run({ cwd: make("help") }, "--help")
    assert.strictEqual(code, 0)
    assert.strictEqual(stderr, "")
    const flags = ["--dir DIR", "--conversation NAME", "--database FILE", "--unconfined", "--help", "question"]
    for (const name of [...flags, "OPENAI_API_KEY", "OPENAI_BASE_URL", "AGENT_LAYERS_MODEL"]) {
      assert.include(stdout, name)
    }
    assert.deepStrictEqual(fs.readdirSync(path.join(dir, "..", "help")), [])
  })

  it("an unknown flag, a flag without its value and a name that cannot be one exit with 2", async () => {
    const cwd = make("misuse")
    for (const args of [["--bogus"], ["--dir"], ["--conversation", "new"]]) {
      const { code, stderr } = await run({ cwd }, ...args)
      assert.strictEqual(code, 2, args.join(" "))
      assert.include(stderr, args[0]!)
    }
    assert.deepStrictEqual(fs.readdirSync(cwd), [])
  })

  it("a folder that is not there exits with 1", async () => {
    const nowhere = path.join(dir, "nowhere")
    const file = path.join(dir, "README.md")
    for (
      const [folder, says] of [
        [nowhere, `The folder "${nowhere}" cannot be read: NotFound.`],
        [file, `"${file}" is a file, not a folder.`]
      ] as const
    ) {
      const { code, stderr } = await run({ cwd: make("no-folder") }, "--dir", folder)
      assert.strictEqual(code, 1)
      assert.include(errorOf(stderr), says)
      assert.include(errorOf(stderr), "--dir DIR")
    }
  })
})

/** Everything in a folder, byte for byte. */
const contentsOf = (folder: string): Record<string, string> =>
  Object.fromEntries(
    fs.readdirSync(folder).map((name) => [name, fs.readFileSync(path.join(folder, name)).toString("hex")])
  )

describe("the database", () => {
  const refused = async (cwd: string, says: RegExp) => {
    const folder = path.join(cwd, ".agent-layers")
    const before = contentsOf(folder)
    const { code, stderr, stdout } = await run({ cwd }, "--dir", dir)
    assert.strictEqual(code, 1, stdout)
    assert.match(errorOf(stderr), says)
    assert.include(errorOf(stderr), "--database FILE")
    assert.deepStrictEqual(contentsOf(folder), before)
    const elsewhere = await run({ cwd }, "--dir", dir, "--database", "other.db")
    assert.strictEqual(elsewhere.code, 0, elsewhere.stderr)
  }

  it("damaged, is left as it is, and the way out works", async () => {
    const cwd = make("damaged", { ".agent-layers/conversations.db": "This is not a database. ".repeat(500) })
    await refused(cwd, /is damaged or not a SQLite database/)
  })

  it("of a newer version, is left as it is, and the way out works", async () => {
    const cwd = make("newer")
    assert.strictEqual((await run({ cwd }, "--dir", dir)).code, 0)
    const database = new DatabaseSync(path.join(cwd, ".agent-layers", "conversations.db"))
    database.exec("UPDATE agent_layers_migrations SET version = 99; PRAGMA journal_mode = DELETE")
    database.close()
    await refused(cwd, /written by a newer agent-layers/)
  })

  it("where its folder is a file, says so", async () => {
    const cwd = make("file", { ".agent-layers": "in the way" })
    const { code, stderr } = await run({ cwd }, "--dir", dir)
    assert.strictEqual(code, 1)
    assert.include(errorOf(stderr), "--database FILE")
    assert.strictEqual(fs.readFileSync(path.join(cwd, ".agent-layers"), "utf8"), "in the way")
  })
})

const isRoot = process.getuid?.() === 0
const bubblewrap = requires("bubblewrap")
// Modes do not bind root: a read-only mount does.
const canForbid = !isRoot || bubblewrap.available

describe.skipIf(!canForbid)(
  canForbid ? "a read-only directory" : bubblewrap.title("a read-only directory, as root"),
  () => {
    const forbidden = async (cwd: string, ...args: ReadonlyArray<string>) => {
      const inside = path.join(cwd, ".agent-layers")
      const modes: ReadonlyArray<readonly [string, number, number]> = [
        ...(fs.existsSync(inside) ? [[inside, 0o555, 0o755] as const] : []),
        [cwd, 0o555, 0o755]
      ]
      if (isRoot) {
        return run(
          { cwd, wrapper: [bubblewrap.path, "--dev-bind", "/", "/", "--ro-bind", cwd, cwd, "--chdir", cwd] },
          ...args
        )
      }
      for (const [folder, mode] of modes) fs.chmodSync(folder, mode)
      try {
        return await run({ cwd }, ...args)
      } finally {
        for (const [folder, , mode] of modes.toReversed()) fs.chmodSync(folder, mode)
      }
    }

    it("is no place for conversations, which is said; another file is", async () => {
      const cwd = make("read-only")
      const { code, stderr } = await forbidden(cwd, "--dir", dir)
      assert.strictEqual(code, 1)
      assert.match(errorOf(stderr), /^Conversations cannot be kept in ".*read-only\/.agent-layers".*--database FILE/)
      assert.deepStrictEqual(fs.readdirSync(cwd), [])
      const elsewhere = await forbidden(cwd, "--dir", dir, "--database", path.join(make("writable"), "c.db"))
      assert.strictEqual(elsewhere.code, 0, elsewhere.stderr)
    })

    it("with a database in it, leaves that as it is", async () => {
      const cwd = make("read-only-database")
      assert.strictEqual((await run({ cwd }, "--dir", dir)).code, 0)
      const before = contentsOf(path.join(cwd, ".agent-layers"))
      const { code, stderr } = await forbidden(cwd, "--dir", dir)
      assert.strictEqual(code, 1)
      assert.include(errorOf(stderr), "--database FILE")
      assert.deepStrictEqual(contentsOf(path.join(cwd, ".agent-layers")), before)
    })

    it("can be asked about", async () => {
      const { code, stdout } = await forbidden(dir, "--dir", dir, "--database", path.join(make("writable-too"), "c.db"))
      assert.strictEqual(code, 0)
      assert.include(answerOf(stdout), "greeter 2.1.0")
    })
  }
)

const processesWith = (text: string): ReadonlyArray<string> =>
  childProcess.spawnSync("ps", ["-eo", "pid=,args="], { encoding: "utf8" }).stdout.split("\n")
    .filter((line) => line.includes(text) && !line.includes("ps -eo"))

describe("Ctrl-C", () => {
  it("during a command: 130 within seconds, no process left, the next start goes on", async () => {
    const cwd = make("interrupted")
    const sleep = `sleep 61.${process.pid}`
    const running = start({ cwd }, "--dir", dir, "--unconfined", `run (${sleep} & ${sleep})`)
    await running.shows("→ shell")
    await untilSo(() => processesWith(sleep).length, (count) => count >= 2)
    const began = performance.now()
    running.child.kill("SIGINT")
    const { code, stderr } = await running.ended
    // The command that was running takes a minute.
    assert.isBelow(performance.now() - began, 30_000)
    assert.strictEqual(code, 130)
    assert.match(stderr, /^\ninterrupted; the conversation keeps what had run\n$/)
    assert.deepStrictEqual(processesWith(sleep), [])
    const next = await run({ cwd }, "--dir", dir, "what did I ask before")
    assert.strictEqual(answerOf(next.stdout), `Before this you asked:\n- run (${sleep} & ${sleep})`)
  })
})
