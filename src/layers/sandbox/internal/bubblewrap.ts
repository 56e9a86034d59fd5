// @effect-diagnostics nodeBuiltinImport:off
import * as Config from "effect/Config"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Guarantees, Sandbox } from "../../../services/Sandbox.ts"
import type { SandboxErrorReason } from "../../../services/SandboxError.ts"
import * as SandboxError from "../../../services/SandboxError.ts"
import type { Backend } from "./local.ts"
import { baseEnvironment, shellArguments } from "./local.ts"
import type { Running } from "./process.ts"
import { pause } from "./process.ts"
import { isAlive, killGroup } from "./processTree.ts"

export const backend = "bubblewrap"

/** What has been asked for, checked, and where the program lies. */
export interface Setup {
  readonly program: string
  readonly network: boolean
  readonly binds: ReadonlyArray<{ readonly source: string; readonly target: string; readonly isWritable: boolean }>
  readonly path: ReadonlyArray<string>
  /** Shell commands that bound what comes after them. */
  readonly limits: string
  readonly tmpBytes: number
}

const home = "/workspace"

/** Not root, to tools that behave otherwise for root and then fail without its capabilities. */
const user = 1000

const unavailable = (description: string, cause?: unknown): SandboxErrorReason =>
  new SandboxError.Unavailable(cause === undefined ? { description } : { description, cause })

const isExecutable = (file: string): boolean => {
  try {
    fs.accessSync(file, fs.constants.X_OK)
    return fs.statSync(file).isFile()
  } catch {
    return false
  }
}

const findProgram = Effect.map(
  Effect.orElseSucceed(Config.String("PATH"), () => "/usr/local/bin:/usr/bin"),
  (directories) =>
    directories.split(":")
      .filter((directory) => directory.startsWith("/"))
      .map((directory) => path.join(directory, "bwrap"))
      .find(isExecutable)
)

const isIn = (directory: string, file: string): boolean => file === directory || file.startsWith(`${directory}/`)

const wrongBind = (source: string, target: string): string | undefined => {
  if (!path.isAbsolute(source) || !path.isAbsolute(target)) return "source and target have to be absolute"
  if (target === "/" || [home, "/proc", "/dev"].some((place) => isIn(place, target))) {
    return `${target} is not a place for a bind`
  }
  if (!fs.existsSync(source)) return "the source is not there"
  return fs.realpathSync(source) === "/" ? "the whole file system cannot be bound; name the directories" : undefined
}

const limit = (flag: string, value: number | undefined, unit: number): string =>
  value === undefined ? "" : `ulimit -${flag} ${Math.max(1, Math.floor(value / unit))} || exit 126; `

/** Checks the options. */
export const setup = Effect.fnUntraced(function*(options: {
  readonly network?: boolean | undefined
  readonly binds?:
    | ReadonlyArray<{
      readonly source: string
      readonly target?: string | undefined
      readonly isWritable?: boolean | undefined
    }>
    | undefined
  readonly path?: ReadonlyArray<string> | undefined
  readonly limits?: {
    readonly memoryBytes?: number | undefined
    readonly cpuSeconds?: number | undefined
    readonly fileBytes?: number | undefined
    readonly openFiles?: number | undefined
  } | undefined
  readonly tmpBytes?: number | undefined
  readonly program?: string | undefined
}): Effect.fn.Return<Setup, SandboxErrorReason> {
  if (process.platform !== "linux") {
    return yield* Effect.fail(unavailable("bubblewrap needs Linux; choose another sandbox on this system"))
  }
  const program = options.program ?? (yield* findProgram)
  if (program === undefined || !isExecutable(program)) {
    return yield* Effect.fail(unavailable(
      `bubblewrap is not installed: ${options.program ?? "there is no bwrap in PATH"}. Install it (apt-get install ` +
        "bubblewrap, dnf install bubblewrap, apk add bubblewrap), or choose another sandbox"
    ))
  }
  const binds = (options.binds ?? []).map(({ isWritable = false, source, target = source }) => ({
    source,
    target: path.normalize(target),
    isWritable
  }))
  for (const { source, target } of binds) {
    const wrong = wrongBind(source, target)
    if (wrong !== undefined) return yield* Effect.fail(unavailable(`The bind of ${source} cannot be made: ${wrong}`))
  }
  const { cpuSeconds, fileBytes, memoryBytes, openFiles } = options.limits ?? {}
  return {
    program,
    network: options.network === true,
    binds,
    path: options.path ?? [],
    limits: "ulimit -c 0; " + limit("d", memoryBytes, 1024) + limit("t", cpuSeconds, 1) + limit("f", fileBytes, 512) +
      limit("n", openFiles, 1),
    tmpBytes: Math.max(1, Math.floor(options.tmpBytes ?? 256 * 1024 * 1024))
  }
})

/** `/bin` and the like: links into `/usr` on most systems, directories of their own on others. */
const systemDirectories = (): ReadonlyArray<string> =>
  ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"].flatMap((directory) => {
    const stat = fs.lstatSync(directory, { throwIfNoEntry: false })
    if (stat === undefined) return []
    return stat.isSymbolicLink()
      ? ["--symlink", fs.readlinkSync(directory), directory]
      : ["--ro-bind", directory, directory]
  })

/** Settings of the machine without which programs do not run, or run otherwise. No accounts, no secrets. */
const systemFiles = (network: boolean): ReadonlyArray<string> =>
  [
    ...["ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime"],
    ...(network
      ? ["resolv.conf", "hosts", "nsswitch.conf", "services", "protocols", "ssl", "ca-certificates", "pki"]
      : [])
  ].flatMap((name) => ["--ro-bind-try", `/etc/${name}`, `/etc/${name}`])

const accounts = {
  passwd: `sandbox:x:${user}:${user}::${home}:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n`,
  group: `sandbox:x:${user}:\nnogroup:x:65534:\n`
}

const zero = "\0"

/** A process that the kernel cannot end, or another one under its number, must not hold up the caller for ever. */
const maxRounds = 5000

const childOf = (status: string): number | undefined => {
  const found = /"child-pid":\s*(\d+)/.exec(status)
  return found === null ? undefined : Number(found[1])
}

/**
 * Kills bubblewrap, which takes the namespace with it, and waits for the first process in there: when that one is dead,
 * the kernel has killed all others.
 */
const end = (running: Running): Effect.Effect<void> =>
  Effect.gen(function*() {
    if (!running.hasExited()) killGroup(running)
    yield* Deferred.await(running.statusEnded)
    const child = childOf(running.status())
    if (child === undefined) return
    for (let round = 0; round < maxRounds && isAlive(child); round++) yield* pause(1)
  })

export const backendOf = (root: string, setup: Setup, guarantees: Guarantees): Backend => {
  const machine = [
    ...["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"],
    ...["--cap-drop", "ALL", "--uid", String(user), "--gid", String(user), "--hostname", "sandbox"],
    ...(setup.network ? ["--share-net"] : []),
    ...["--ro-bind", "/usr", "/usr"],
    ...systemDirectories(),
    ...systemFiles(setup.network),
    ...["--proc", "/proc", "--dev", "/dev", "--size", String(setup.tmpBytes), "--tmpfs", "/dev/shm"],
    ...[
      "--size",
      String(setup.tmpBytes),
      "--tmpfs",
      "/tmp",
      "--dir",
      "/run",
      "--dir",
      "/var",
      "--symlink",
      "/tmp",
      "/var/tmp"
    ],
    ...setup.binds.flatMap(({ isWritable, source, target }) => [isWritable ? "--bind" : "--ro-bind", source, target])
  ]
  return {
    backend,
    guarantees,
    root,
    visibleAt: home,
    prepare: (place) => {
      for (const [name, content] of Object.entries(accounts)) fs.writeFileSync(path.join(place.private, name), content)
    },
    program: (place, { command, environment }, cwd) => ({
      program: {
        file: setup.program,
        // What stands here can be read by every user of the host, so variables go in by a pipe.
        arguments: [
          ...["--args", "3", "--json-status-fd", "4"],
          ...machine,
          ...Object.keys(accounts).flatMap((name) => ["--ro-bind", path.join(place.private, name), `/etc/${name}`]),
          ...["--bind", place.workspace, home, "--remount-ro", "/dev", "--remount-ro", "/"],
          ...["--chdir", path.posix.join(home, cwd.path)],
          ...["--", "/bin/sh", ...shellArguments(command, setup.limits)]
        ],
        // The first process in the sandbox is bubblewrap's own, and shows its environment to the others.
        environment: {},
        input: Object.entries({ ...baseEnvironment(home, setup.path), ...environment })
          .map((variable) => ["--setenv", ...variable].join(zero) + zero).join(""),
        cwd: "/"
      },
      end,
      exitCode: ({ exitCode, status }, stderr) => {
        const ended = /"exit-code":\s*(\d+)/.exec(status)
        if (ended !== null) return Effect.succeed(Number(ended[1]))
        const said = stderr.trim().split("\n").at(-1) ?? ""
        return Effect.fail(
          new SandboxError.ExecFailed({
            description: `bubblewrap did not run the command: ${said === "" ? `it ended with ${exitCode}` : said}`
          })
        )
      }
    })
  }
}

const help = (said: string): string => {
  if (/unknown option/i.test(said)) return `bubblewrap 0.8.0 or newer is needed. ${said}`
  if (/namespace|uid map|Operation not permitted|Permission denied|setgroups|RTM_NEWADDR/i.test(said)) {
    return "This machine does not let bubblewrap make namespaces. Allow it: sysctl kernel.unprivileged_userns_clone=1 " +
      "(Debian); an AppArmor profile for bwrap, or sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); " +
      `--security-opt seccomp=unconfined --security-opt apparmor=unconfined (in a container). ${said}`
  }
  return `bubblewrap does not work here. ${said}`
}

/** Runs a command, and looks whether it is walled in. */
export const probe = (sandbox: Sandbox["Service"]): Effect.Effect<void, SandboxErrorReason> =>
  Effect.scoped(Effect.gen(function*() {
    const session = yield* sandbox.create()
    const { location } = session.state
    const result = yield* session.exec([
      "/bin/sh",
      "-c",
      `[ -e "$1" ] && exit 3; echo works > probe`,
      "sh",
      location
    ], { timeout: "20 seconds" })
    if (result.exitCode === 3) {
      return yield* Effect.fail(unavailable(
        `Commands would see ${path.dirname(location)}, where the workspaces lie: do not bind a directory above it, ` +
          "and let root lie outside of /usr"
      ))
    }
    if (result.exitCode !== 0 || result.isTimedOut) {
      return yield* Effect.fail(unavailable(
        `bubblewrap does not work here: a command ended with ${result.exitCode}. ${result.stderr.trim()}`
      ))
    }
  })).pipe(
    Effect.catchTag(
      "SandboxError",
      ({ reason }) =>
        Effect.fail(reason._tag === "ExecFailed" ? unavailable(help(reason.description), reason.cause) : reason)
    )
  )
