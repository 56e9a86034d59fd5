// Writes package-lock.json after a change of dependencies: node .ci/lock.js
//
// Beside calling npm it adds what npm leaves out when its registry is a mirror that lacks packages for other
// platforms: a lock file without them is refused by `npm ci`, everywhere.
import { spawnSync } from "node:child_process"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const file = path.join(root, "package-lock.json")

const systems = new Set([
  "aix",
  "android",
  "darwin",
  "freebsd",
  "linux",
  "netbsd",
  "openbsd",
  "openharmony",
  "sunos",
  "win32"
])
const processors = new Set([
  "arm",
  "arm64",
  "ia32",
  "loong64",
  "mips64el",
  "ppc64",
  "riscv64",
  "s390x",
  "wasm32",
  "x64"
])

/** What the name of a platform package says: `@oxlint/binding-linux-x64-musl`. */
const platformOf = (name) => {
  const parts = name.split("/").at(-1).split("-")
  const system = parts.find((part) => systems.has(part))
  const processor = parts.find((part) => processors.has(part))
  if (system === undefined || processor === undefined) throw new Error(`${name}: its name does not say its platform`)
  const libc = parts.some((part) => part.startsWith("musl"))
    ? { libc: ["musl"] }
    : system === "linux" && parts.some((part) => /^(gnu|glibc)/.test(part))
    ? { libc: ["glibc"] }
    : {}
  return { os: [system], cpu: [processor], ...libc }
}

/** The place where a package that stands at `from` finds `name`, or undefined. */
const find = (packages, from, name) => {
  for (let place = from;; place = place.slice(0, Math.max(place.lastIndexOf("/node_modules/"), 0))) {
    const candidate = `${place === "" ? "" : `${place}/`}node_modules/${name}`
    if (packages[candidate] !== undefined) return candidate
    if (place === "") return undefined
  }
}

const complete = (lock) => {
  let added = 0
  for (const [from, entry] of Object.entries(lock.packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      if (find(lock.packages, from, name) !== undefined) continue
      if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) {
        throw new Error(`${from} wants ${name} ${version}: not one version`)
      }
      lock.packages[`node_modules/${name}`] = {
        version,
        ...(entry.dev === true ? { dev: true } : {}),
        optional: true,
        ...platformOf(name)
      }
      added++
    }
  }
  const byName = ([a], [b]) => a.localeCompare(b, "en")
  return { added, lock: { ...lock, packages: Object.fromEntries(Object.entries(lock.packages).toSorted(byName)) } }
}

// In a folder of its own: npm takes what is in node_modules for the whole truth, and forgets other platforms.
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-lock-"))
try {
  for (const name of ["package.json", "package-lock.json"]) {
    fs.copyFileSync(path.join(root, name), path.join(folder, name))
  }
  const args = ["install", "--package-lock-only", "--omit-lockfile-registry-resolved"]
  const made = spawnSync("npm", [...args, "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: folder,
    stdio: "inherit"
  })
  if (made.status !== 0) process.exit(made.status ?? 1)
  const { added, lock } = complete(JSON.parse(fs.readFileSync(path.join(folder, "package-lock.json"), "utf8")))
  fs.writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
  console.log(
    `package-lock.json: ${Object.keys(lock.packages).length} packages, ${added} of them added for other platforms`
  )
} finally {
  fs.rmSync(folder, { recursive: true })
}
