/** `npm start` without a key: rules, real tools, a real conversation. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { requires } from "../../support/requires.ts"
import { answerOf, canary, folders, headOf, project, questionsIn, run } from "./analyst.ts"

const bubblewrap = requires("bubblewrap")
const { make, remove } = folders()
let dir = ""

beforeAll(() => {
  dir = make("project", project)
  fs.symlinkSync("/etc/hostname", path.join(dir, "link"))
})
afterAll(remove)

const ask = async (cwd: string, ...args: ReadonlyArray<string>) => {
  const ended = await run({ cwd }, "--dir", dir, ...args)
  assert.strictEqual(ended.stderr, "")
  assert.strictEqual(ended.code, 0, ended.stdout)
  assert.notInclude(ended.stdout, "\u001b")
  return ended.stdout
}

describe("the first starts", () => {
  it("says what it works with, answers, shows the trace; the second goes on with the conversation", async () => {
    const cwd = make("first")
    const first = await ask(cwd)

    assert.match(headOf(first, "model"), /^offline: rules, no language model/)
    assert.match(
      headOf(first, "workspace"),
      new RegExp(`^a copy of ${dir} \\(4 files, .*left out: .git, node_modules, .env`)
    )
    for (
      const name of [
        ".git",
        "node_modules",
        ".agent-layers",
        ".env",
        ".ENV.production",
        "server.PEM",
        "id_rsa",
        "1 link"
      ]
    ) {
      assert.include(headOf(first, "workspace").split("found here: ")[1], name)
    }
    assert.match(
      headOf(first, "sandbox"),
      bubblewrap.available ? /^bubblewrap: / : /^read-only file tools and no shell/
    )
    assert.strictEqual(headOf(first, "database"), path.join(cwd, ".agent-layers", "conversations.db"))
    assert.strictEqual(fs.statSync(path.join(cwd, ".agent-layers")).mode & 0o777, 0o700)
    assert.include(first, `new conversation "${dir}"`)
    assert.include(first, "> What is this project?")

    assert.strictEqual(
      answerOf(first),
      [
        "README.md says: Greets people by name, politely.",
        "package.json says: greeter 2.1.0. Politeness as a service",
        "npm scripts: build",
        "It has 4 files, 368 bytes: 2 .ts, 1 .md, 1 .json.",
        "Its folders: deep/ src/"
      ].join("\n")
    )
    assert.match(first, /^→ read_file \{"path":"package.json"\}$/m)
    assert.match(first, /^agent analyst +\+0.0ms +[\d.]+m?s +0 in, 0 out$/m)
    assert.match(first, /^│ {2}├─ tool find_files +\+/m)

    const second = await ask(cwd, "What", "did", "I", "ask", "before?")
    assert.include(second, `continuing conversation "${dir}": 10 items, last asked "What is this project?"`)
    assert.strictEqual(answerOf(second), "Before this you asked:\n- What is this project?")

    const other = await ask(cwd, "--conversation", "other", "what did I ask before")
    assert.include(other, `new conversation "other"`)
    assert.strictEqual(answerOf(other), "You have asked nothing before in this conversation.")

    const here = await run({ cwd }, "--dir", ".", "what did I ask before")
    assert.include(here.stdout, `new conversation "default"`)
    assert.strictEqual(answerOf(here.stdout), "You have asked nothing before in this conversation.")
  })
})

describe("the terminal", () => {
  it("gets escapes only where it wants them", async () => {
    const cwd = make("terminal")
    const escapes = async (env: Record<string, string>) =>
      (await run({ cwd, env }, "--dir", dir, "hello")).stdout.includes("\u001b[")
    assert.isTrue(await escapes({ FORCE_COLOR: "1" }))
    assert.isFalse(await escapes({ FORCE_COLOR: "1", NO_COLOR: "1" }))
    assert.isFalse(await escapes({}))
  })

  it("gets no escapes from file names and what files say", async () => {
    const evil = make("evil", { "README.md": "Hi \u001b]0;owned\u0007\u001b[2J there", "a\u001b[31m.pem": "" })
    const { code, stdout } = await run({ cwd: make("evil-cwd") }, "--dir", evil)
    assert.strictEqual(code, 0)
    for (const control of ["\u001b", "\u0007"]) assert.notInclude(stdout, control)
    assert.include(stdout, "␛]0;owned␇")
    assert.include(headOf(stdout, "workspace"), "a␛[31m.pem")
  })
})

describe("what nobody may see", () => {
  it("is neither in the workspace, nor in the output, nor in the database", async () => {
    const cwd = make("secrets")
    const how = { cwd, env: { SECRET_OF_THE_HOST: canary } }
    const questions = ["run ls -aR", "run cat .env; env; grep -r canary-7 .; true", "find canary-7"]
    for (const question of questions) {
      const { code, stdout } = await run(how, "--dir", dir, "--unconfined", question)
      assert.strictEqual(code, 0)
      assert.notInclude(stdout, canary)
      if (question.startsWith("run ls")) {
        assert.notMatch(answerOf(stdout), /\.env|\.git\b|\.pem|id_rsa|node_modules|link/i)
        assert.include(answerOf(stdout), "Greeter.ts")
      }
    }
    for (const file of fs.readdirSync(path.join(cwd, ".agent-layers"))) {
      assert.isFalse(fs.readFileSync(path.join(cwd, ".agent-layers", file)).includes(canary))
    }
  })
})

describe("a .gitignore", () => {
  const files = {
    ".gitignore": "# built\ndist/\n*.log\r\n/docs\nsrc/generated\n*.tmp\n!keep.tmp\n*\n\n",
    "dist/greet.js": "greet",
    "src/greet.ts": "greet",
    "src/dist/deep.js": "greet",
    "src/generated/a.ts": "greet",
    "docs/greet.md": "greet",
    "npm.log": "greet",
    "keep.tmp": "greet"
  }

  it("leaves out what it names plainly, which is said; paths and what it takes back are seen", async () => {
    const { code, stdout } = await run({ cwd: make("for-ignoring") }, "--dir", make("ignoring", files), "find greet")
    assert.strictEqual(code, 0)
    assert.match(
      headOf(stdout, "workspace"),
      /left out: .git, node_modules, .env\*, keys and the plain names in .gitignore; found here: dist, npm.log$/
    )
    const places = answerOf(stdout).match(/^- [^:]+/gm)
    assert.deepStrictEqual(places, ["- docs/greet.md", "- keep.tmp", "- src/generated/a.ts", "- src/greet.ts"])
  })

  it("that is no file, or too strange, changes nothing", async () => {
    const strange = make("strange", { ".gitignore/a": "a", "b.txt": "b" })
    const { code, stdout } = await run({ cwd: make("for-strange") }, "--dir", strange, "list files")
    assert.strictEqual(code, 0)
    assert.match(headOf(stdout, "workspace"), /left out: .git, node_modules, .env\* and keys; found here: nothing$/)
    assert.include(answerOf(stdout), "- .gitignore/a\n- b.txt")
  })
})

describe("the sandbox", () => {
  describe.skipIf(!bubblewrap.available)(bubblewrap.title("bubblewrap"), () => {
    it("runs a command, which sees the workspace and not the machine", async () => {
      const stdout = await ask(make("walls"), `run pwd; ls; ls ${dir} || true`)
      assert.include(answerOf(stdout), "[stdout]\n/workspace\nREADME.md\ndeep\npackage.json\nsrc\n")
      assert.include(answerOf(stdout), `cannot access '${dir}'`)
    })
  })

  it("is read-only tools where bubblewrap is not there, and says how to install it", async () => {
    const how = { cwd: make("no-bwrap"), env: { PATH: make("no-programs") } }
    const command = await run(how, "--dir", dir, "run ls")
    assert.strictEqual(command.code, 0)
    assert.match(headOf(command.stdout, "sandbox"), /^read-only file tools and no shell.*[Ii]nstall.*--unconfined/)
    assert.include(answerOf(command.stdout), "There is no shell in this start")
    assert.notInclude(command.stdout, "→ shell")
    const search = await run(how, "--dir", dir, "find polite")
    assert.include(answerOf(search.stdout), "- README.md:5")
  })

  it("is nothing at all with --unconfined", async () => {
    const stdout = await ask(make("unconfined"), "--unconfined", `run test -e ${dir} && echo 'I see you'`)
    assert.match(headOf(stdout, "sandbox"), /^unconfined, as --unconfined asks/)
    assert.include(answerOf(stdout), "[stdout]\nI see you")
  })
})

describe("sizes", () => {
  it("an empty folder", async () => {
    const { code, stdout } = await run({ cwd: make("for-empty") }, "--dir", make("empty"))
    assert.strictEqual(code, 0)
    assert.match(headOf(stdout, "workspace"), /\(0 files, 0 bytes\).*found here: nothing$/)
    assert.strictEqual(answerOf(stdout), "This folder is empty: it has no file that may be seen.")
  })

  it("a folder of 50,000 files is cut, which is said", async () => {
    const many = make("many", { "README.md": "Too many files to count.", "f.txt": "x" })
    for (let index = 0; index < 50_000; index++) {
      try {
        fs.linkSync(path.join(many, "f.txt"), path.join(many, `f${index}.txt`))
      } catch {
        fs.writeFileSync(path.join(many, `f${index}.txt`), "x")
      }
    }
    // On a busy machine both take longer.
    const none = await run({ cwd: make("for-none") }, "--dir", make("none"))
    const { code, millis, stdout } = await run({ cwd: make("for-many") }, "--dir", many)
    assert.strictEqual(code, 0)
    assert.isBelow(millis, 20 * none.millis)
    assert.match(headOf(stdout, "workspace"), /\(3,000 files, .*found here: all beyond 3,000 files \(/)
    assert.include(answerOf(stdout), "README.md says: Too many files to count.")
    assert.include(answerOf(stdout), "It has 3,000 files")
  })

  it("files that are too large or cannot be read are left out, the rest is seen", async () => {
    const mixed = make("mixed", { "a.txt": "a", "large.bin": "x".repeat(4_100_000) })
    const { stdout } = await run({ cwd: make("for-mixed") }, "--dir", mixed, "how many files are there")
    assert.include(headOf(stdout, "workspace"), "found here: 1 file over 4.0 MB")
    assert.include(answerOf(stdout), "1 file, 1 byte: 1 .txt.")
  })

  it("a question of 100 KB is kept", async () => {
    const cwd = make("long")
    const question = `run ${"long ".repeat(20_000)}`
    const stdout = await ask(cwd, question)
    assert.include(answerOf(stdout), "Without a language model I cannot answer")
    assert.isBelow(stdout.length, 5_000)
    assert.include(await ask(cwd, "what did I ask before"), "- run long long")
    assert.deepStrictEqual(questionsIn(cwd), [question.trim(), "what did I ask before"])
  })
})

describe("two starts at once", () => {
  it("both answer, and the conversation has both questions in whole turns", async () => {
    const cwd = make("twice")
    const both = await Promise.all(["explain main.ts", "explain Greeter.ts"].map((question) => ask(cwd, question)))
    assert.include(both[0], "src/main.ts has 3 lines.")
    assert.include(both[1], "src/Greeter.ts has 4 lines.")
    assert.sameMembers([...questionsIn(cwd)], ["explain main.ts", "explain Greeter.ts"])
  })
})
