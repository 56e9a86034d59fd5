// Runs before every npm script: installs what package-lock.json names, when it is not there already.
// Plain JavaScript without dependencies, for Node 20 and up: in a fresh clone nothing is installed yet.
import { spawnSync } from "node:child_process"
import fs from "node:fs"
import path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const modules = path.join(root, "node_modules")

const say = (line) => process.stderr.write(`agent-layers: ${line}\n`)

const readPackages = (file) => {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")).packages
  } catch {
    return undefined
  }
}

/** Why node_modules does not serve, or undefined when it holds what package-lock.json names. */
const missing = () => {
  const wanted = readPackages(path.join(root, "package-lock.json"))
  if (wanted === undefined) throw new Error("package-lock.json is missing or not readable")
  const found = readPackages(path.join(modules, ".package-lock.json"))
  if (found === undefined) return "no node_modules yet"
  for (const [name, entry] of Object.entries(wanted)) {
    if (name === "" || entry.link === true) continue
    const there = found[name]
    if (there === undefined) {
      // Packages for other platforms are in the lock and never on the disk.
      if (entry.optional === true || entry.devOptional === true) continue
      return `${name} is not installed`
    }
    if (there.version !== entry.version || there.integrity !== entry.integrity) {
      return `${name} is not ${entry.version}`
    }
  }
  return undefined
}

const onPath = (name) =>
  (process.env.PATH ?? "").split(path.delimiter).some((folder) => {
    if (folder === "") return false
    try {
      fs.accessSync(path.join(folder, name), fs.constants.X_OK)
      return true
    } catch {
      return false
    }
  })

const isAlive = (pid) => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === "EPERM"
  }
}

/** One installation at a time in a checkout; a lock whose process is gone is taken over. */
const withLock = (body) => {
  const folder = path.join(root, ".agent-layers")
  const file = path.join(folder, "installing")
  fs.mkdirSync(folder, { recursive: true })
  let told = false
  for (;;) {
    try {
      fs.writeFileSync(file, String(process.pid), { flag: "wx" })
      break
    } catch (error) {
      if (error.code !== "EEXIST") throw error
    }
    let holder = Number.NaN
    let age = 0
    try {
      age = Date.now() - fs.statSync(file).mtimeMs
      holder = Number(fs.readFileSync(file, "utf8"))
    } catch {
      continue
    }
    // An empty file is a lock whose writer has not come to its process id yet.
    if (holder > 0 ? !isAlive(holder) : age > 5000) {
      fs.rmSync(file, { force: true })
      continue
    }
    if (!told) say(`process ${holder} is installing here already, waiting for it`)
    told = true
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
  }
  const release = () => fs.rmSync(file, { force: true })
  process.once("exit", release)
  body()
  release()
}

/** Stops as the child did, so that Ctrl-C during an installation is Ctrl-C for npm too. */
const stopLike = (result) => {
  if (result.signal !== null) {
    fs.rmSync(path.join(root, ".agent-layers", "installing"), { force: true })
    process.kill(process.pid, result.signal)
  }
  process.exit(result.status ?? 1)
}

const install = (reason) => {
  say(`${reason}: running npm ci (once, about half a minute)`)
  const args = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"]
  const npm = process.env.npm_execpath
  // Not process.execPath: that may be the Node inside the node_modules that npm ci removes first.
  const result = npm === undefined
    ? spawnSync("npm", args, { cwd: root, stdio: ["ignore", 2, 2] })
    : spawnSync(process.env.npm_node_execpath ?? process.execPath, [npm, ...args], {
      cwd: root,
      stdio: ["ignore", 2, 2]
    })
  if (result.error !== undefined) throw result.error
  if (result.status !== 0) {
    say(
      "npm ci did not succeed; its message is above. It needs the npm registry once (or npm's cache of an earlier installation)."
    )
    stopLike(result)
  }
}

const needsNode = () => {
  const own = path.join(modules, "node", "bin", "node")
  if (fs.existsSync(own) || fs.existsSync(`${own}.exe`)) return
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
  if (major > 22 || (major === 22 && minor >= 19)) return
  say(
    `Node ${process.versions.node} is too old, and the Node 24 of the devDependency "node" was not set up ` +
      "(its install script did not run). Run: npm rebuild node dprint --ignore-scripts=false"
  )
  process.exit(1)
}

const programs = [
  { program: "redis-server", debian: "redis-server", brew: "redis" },
  { program: "bwrap", debian: "bubblewrap", brew: undefined }
]

const installPrograms = () => {
  const absent = programs.filter(({ brew, program }) =>
    !onPath(program) && (process.platform === "linux" || brew !== undefined)
  )
  if (absent.length === 0) return
  const what = absent.map(({ debian }) => debian).join(" and ")
  const packages = absent.map(({ debian }) => debian).join(" ")
  const isDebian = process.platform === "linux" && onPath("apt-get") && fs.existsSync("/etc/debian_version")
  if (process.env.AGENT_LAYERS_NO_APT === "1" || !isDebian || process.getuid?.() !== 0) {
    const how = isDebian
      ? `apt-get install ${packages}`
      : process.platform === "darwin"
      ? `brew install ${absent.map(({ brew }) => brew).join(" ")}`
      : `install ${what} with your package manager`
    say(`${what} not found, so the tests that need them are skipped; to run them: ${how}`)
    return
  }
  // RUNLEVEL=1 keeps Debian's install script from starting a server on the well-known port.
  const command = `apt-get update -qq && apt-get install -qq -y --no-install-recommends ${packages}`
  say(`${what} not found, running: ${command} (AGENT_LAYERS_NO_APT=1 skips this)`)
  const result = spawnSync("sh", ["-c", `( ${command} ) >/dev/null`], {
    stdio: ["ignore", 2, 2],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" }
  })
  if (result.signal === "SIGINT" || result.signal === "SIGTERM") stopLike(result)
  if (result.status !== 0) say(`apt-get did not succeed, so the tests that need ${what} are skipped`)
}

try {
  if (missing() !== undefined) {
    withLock(() => {
      const reason = missing()
      if (reason !== undefined) install(reason)
    })
  }
  needsNode()
  if (process.argv.includes("--tests")) installPrograms()
} catch (error) {
  say(`could not install the dependencies: ${error.message}`)
  process.exit(1)
}
