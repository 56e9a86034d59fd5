/**
 * Programs that are not npm packages and that some tests need. A test that cannot run here says so by its name:
 *
 * ```ts
 * const bubblewrap = requires("bubblewrap")
 * describe.skipIf(!bubblewrap.available)(bubblewrap.title("SandboxBubblewrap"), () => { ... })
 * ```
 *
 * The summary at the end of `npm test` reads reason and remedy from that name.
 */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

/** What a test can ask for. */
export type Requirement = "bubblewrap" | "redis-server"

/** Whether it is there, and what to say where it is not. */
export interface Requires {
  readonly available: boolean
  /** Absolute path of the program; empty where it is absent. */
  readonly path: string
  /** Why it cannot be used; empty where it can. */
  readonly reason: string
  /** What to do about it; empty where nothing is to be done. */
  readonly install: string
  /** The name as it is, or with reason and remedy appended. */
  readonly title: (name: string) => string
}

const findOnPath = (program: string): string => {
  for (const folder of (process.env["PATH"] ?? "").split(path.delimiter)) {
    if (folder === "") continue
    const file = path.join(folder, program)
    try {
      fs.accessSync(file, fs.constants.X_OK)
      if (fs.statSync(file).isFile()) return file
    } catch {
      continue
    }
  }
  return ""
}

const howToInstall = (debian: string, brew: string | undefined): string =>
  process.platform === "darwin" ? brew ?? "a Linux machine" : `apt-get install ${debian} (or your package manager)`

const probes: Record<Requirement, () => Omit<Requires, "title" | "available">> = {
  bubblewrap: () => {
    const program = findOnPath("bwrap")
    if (program === "") {
      return { path: "", reason: "bwrap is not on PATH", install: howToInstall("bubblewrap", undefined) }
    }
    // It can be installed and yet not work: no user namespaces in a container, or forbidden by AppArmor. For root it has
    // to work as another user.
    const tried = childProcess.spawnSync(
      program,
      ["--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"],
      { encoding: "utf8", timeout: 10_000, cwd: "/", ...(process.geteuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}) }
    )
    if (tried.status === 0) return { path: program, reason: "", install: "" }
    const said = tried.error?.message ?? tried.stderr.trim().split("\n")[0] ?? ""
    return {
      path: program,
      reason: `bwrap does not work here (${said.replaceAll(/[[\]]/g, "")})`,
      install:
        "user namespaces allowed for bwrap (sysctl kernel.unprivileged_userns_clone=1, or a container that permits them)"
    }
  },
  "redis-server": () => {
    const program = findOnPath("redis-server")
    return program === ""
      ? { path: "", reason: "redis-server is not on PATH", install: howToInstall("redis-server", "brew install redis") }
      : { path: program, reason: "", install: "" }
  }
}

const known = new Map<Requirement, Requires>()

/** Looks once per test file whether a program is there and works. */
export const requires = (requirement: Requirement): Requires => {
  const before = known.get(requirement)
  if (before !== undefined) return before
  const found = probes[requirement]()
  const available = found.reason === ""
  const answer: Requires = {
    ...found,
    available,
    title: (name) => available ? name : `${name} [needs ${requirement}: ${found.reason}; install: ${found.install}]`
  }
  known.set(requirement, answer)
  return answer
}
