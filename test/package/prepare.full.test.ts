/**
 * `npm start` and its like in a fresh clone: the script before them installs, and they run on the `node` that it
 * installed. The project here has one dependency, a stand-in for the npm package `node` that needs no registry.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

let scratch = ""
let project = ""
let programs = ""

/** What a machine has on PATH: the Node and npm that run this test, without this checkout's node_modules/.bin. */
const env = (extra: Record<string, string> = {}): NodeJS.ProcessEnv => {
  const inherited = Object.entries(process.env).filter(([name]) =>
    !/^(npm_|NODE|INIT_CWD|PATH$|AGENT_LAYERS)/i.test(name)
  )
  return { ...Object.fromEntries(inherited), PATH: programs, npm_config_cache: path.join(scratch, "cache"), ...extra }
}

const command = (
  name: string,
  args: ReadonlyArray<string>,
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}
) => {
  const { cwd = project, env: environment = env() } = options
  const { error, status, stderr, stdout } = childProcess.spawnSync(path.join(programs, name), args, {
    cwd,
    encoding: "utf8",
    env: environment,
    timeout: 240_000
  })
  if (error !== undefined) throw error
  return { status, stderr, stdout }
}

const npm = (...args: ReadonlyArray<string>) => command("npm", args)

const write = (file: string, text: string) => {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text)
}

const which = (program: string): string => {
  const own = path.join(root, "node_modules", ".bin")
  const found = (process.env["PATH"] ?? "").split(path.delimiter)
    .filter((folder) => path.resolve(folder) !== own)
    .map((folder) => path.join(folder, program))
    .find((file) => fs.existsSync(file))
  if (found === undefined) throw new Error(`${program} is not on PATH`)
  return fs.realpathSync(found)
}

const packNode = (version: string) => {
  const folder = path.join(scratch, `node-${version}`)
  write(path.join(folder, "package.json"), JSON.stringify({ name: "node", version, bin: { node: "bin/node" } }))
  write(
    path.join(folder, "bin", "node"),
    `#!/bin/sh
case "$1" in .ci/*) exec "${which("node")}" "$@" ;; esac
echo "node ${version} of the clone: $*"
`
  )
  fs.chmodSync(path.join(folder, "bin", "node"), 0o755)
  const packed = command("npm", ["pack", "--pack-destination", project], { cwd: folder })
  assert.strictEqual(packed.status, 0, packed.stderr)
}

const manifestOf = (version: string) =>
  JSON.stringify({
    name: "clone",
    private: true,
    type: "module",
    scripts: { prestart: "node .ci/prepare.js", start: "node main.ts" },
    devDependencies: { node: `file:node-${version}.tgz` }
  })

const locks = new Map<string, string>()

/** The lock file as somebody else has committed it: made where nothing is installed. */
const lockOf = (version: string): string => {
  const known = locks.get(version)
  if (known !== undefined) return known
  const folder = path.join(scratch, `lock-${version}`)
  write(path.join(folder, "package.json"), manifestOf(version))
  fs.copyFileSync(path.join(project, `node-${version}.tgz`), path.join(folder, `node-${version}.tgz`))
  const locked = command("npm", ["install", "--package-lock-only", "--no-audit", "--no-fund"], { cwd: folder })
  assert.strictEqual(locked.status, 0, locked.stderr)
  const text = fs.readFileSync(path.join(folder, "package-lock.json"), "utf8")
  locks.set(version, text)
  return text
}

const checkOut = (version: string) => {
  write(path.join(project, "package.json"), manifestOf(version))
  write(path.join(project, "package-lock.json"), lockOf(version))
}

beforeAll(() => {
  scratch = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-clone-")))
  project = path.join(scratch, "clone")
  programs = path.join(scratch, "bin")
  write(path.join(project, ".ci", "prepare.js"), fs.readFileSync(path.join(root, ".ci", "prepare.js"), "utf8"))
  fs.mkdirSync(programs)
  for (const program of ["node", "sh", "true", "env"]) fs.symlinkSync(which(program), path.join(programs, program))
  // npm's own file looks for its modules beside its real path.
  write(path.join(programs, "npm"), `#!/bin/sh\nexec "${path.join(programs, "node")}" "${which("npm")}" "$@"\n`)
  fs.chmodSync(path.join(programs, "npm"), 0o755)
  packNode("24.0.0")
  packNode("24.0.1")
})

afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }))

describe("npm start in a clone", () => {
  it("installs first, says so in one line, and then runs on the Node that it installed", () => {
    checkOut("24.0.0")
    const { status, stderr, stdout } = npm("start", "--silent", "--", "--dir", "x y")
    assert.strictEqual(status, 0, stderr)
    assert.match(stderr, /^agent-layers: no node_modules yet: running npm ci.*\n$/m)
    assert.notMatch(stderr, /npm (warn|WARN)/)
    assert.include(stdout, "node 24.0.0 of the clone: main.ts --dir x y")
    assert.isFalse(fs.existsSync(path.join(project, ".agent-layers", "installing")))
  })

  it("installs nothing and says nothing when everything is there", () => {
    const { status, stderr, stdout } = npm("start", "--silent")
    assert.strictEqual(status, 0)
    assert.strictEqual(stderr, "")
    assert.strictEqual(stdout, "node 24.0.0 of the clone: main.ts\n")
  })

  const prepare = (extra: Record<string, string> = {}, ...args: ReadonlyArray<string>) =>
    command("node", [".ci/prepare.js", ...args], { env: env(extra) })

  it("installs again when package-lock.json has changed", () => {
    checkOut("24.0.1")
    const { status, stderr } = prepare()
    assert.strictEqual(status, 0, stderr)
    assert.match(stderr, /^agent-layers: node_modules\/node is not 24\.0\.1: running npm ci/)
    assert.include(npm("start", "--silent").stdout, "node 24.0.1 of the clone")
  })

  it("waits while another process installs, and takes over from one that is gone", async () => {
    const lock = path.join(project, ".agent-layers", "installing")
    const gone = childProcess.spawnSync(path.join(programs, "true")).pid
    fs.rmSync(path.join(project, "node_modules"), { recursive: true })
    write(lock, String(gone))
    assert.include(prepare().stderr, "running npm ci")

    fs.rmSync(path.join(project, "node_modules"), { recursive: true })
    const holder = childProcess.spawn("/bin/sh", ["-c", "read line"], { stdio: ["pipe", "ignore", "ignore"] })
    write(lock, String(holder.pid))
    const waiting = childProcess.spawn(path.join(programs, "node"), [".ci/prepare.js"], {
      cwd: project,
      env: env(),
      stdio: ["ignore", "ignore", "pipe"]
    })
    let stderr = ""
    let isReleased = false
    waiting.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
      // It has seen the other one, which may end now.
      if (!isReleased && stderr.includes("is installing here already")) {
        isReleased = true
        fs.rmSync(lock)
        holder.stdin.end()
      }
    })
    const [code] = await once(waiting, "close")
    assert.strictEqual(code, 0, stderr)
    assert.include(stderr, `process ${holder.pid} is installing here already`)
    assert.include(stderr, "running npm ci")
  })

  it("fails with npm's message and one of its own when the installation fails", () => {
    fs.renameSync(path.join(project, "node-24.0.1.tgz"), path.join(scratch, "away.tgz"))
    fs.rmSync(path.join(project, "node_modules"), { recursive: true })
    fs.rmSync(path.join(scratch, "cache"), { recursive: true })
    const { status, stderr } = prepare()
    fs.renameSync(path.join(scratch, "away.tgz"), path.join(project, "node-24.0.1.tgz"))
    assert.notStrictEqual(status, 0)
    assert.match(stderr, /ENOENT[\s\S]*agent-layers: npm ci did not succeed/)
    assert.isFalse(fs.existsSync(path.join(project, ".agent-layers", "installing")))
  })

  it("before tests, names the programs that are missing and how to get them; AGENT_LAYERS_NO_APT=1 leaves it at that", () => {
    assert.strictEqual(prepare().status, 0)
    const { status, stderr } = prepare({ AGENT_LAYERS_NO_APT: "1" }, "--tests")
    assert.strictEqual(status, 0)
    assert.match(stderr, /^agent-layers: redis.*not found, so the tests that need them are skipped; to run them: /)
    assert.strictEqual(prepare().stderr, "")
  })

  // Elsewhere the script has no apt to run.
  if (process.platform === "linux" && fs.existsSync("/etc/debian_version") && process.getuid?.() === 0) {
    it("as root on Debian, prints and runs the apt command; a failure of it is no failure of npm test", () => {
      write(
        path.join(programs, "apt-get"),
        `#!/bin/sh\necho "$DEBIAN_FRONTEND $*" >> "${scratch}/apt.log"\nexit $APT_EXIT\n`
      )
      fs.chmodSync(path.join(programs, "apt-get"), 0o755)
      const good = prepare({ APT_EXIT: "0" }, "--tests")
      assert.strictEqual(good.status, 0)
      assert.include(good.stderr, "running: apt-get update -qq && apt-get install")
      assert.strictEqual(
        fs.readFileSync(path.join(scratch, "apt.log"), "utf8"),
        "noninteractive update -qq\nnoninteractive install -qq -y --no-install-recommends redis-server bubblewrap\n"
      )
      const bad = prepare({ APT_EXIT: "100" }, "--tests")
      assert.strictEqual(bad.status, 0)
      assert.include(bad.stderr, "apt-get did not succeed")
    })
  }
})
