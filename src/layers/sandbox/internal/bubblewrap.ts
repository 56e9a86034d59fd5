// @effect-diagnostics nodeBuiltinImport:off
import * as Config from "effect/Config"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Guarantees, Sandbox } from "../../../services/Sandbox.ts"
import type { SandboxErrorReason } from "../../../services/SandboxError.ts"
import * as SandboxError from "../../../services/SandboxError.ts"
import { toBytes } from "./fileNames.ts"
import type { Backend } from "./local.ts"
import { baseEnvironment, shellArguments } from "./local.ts"
import type { Running } from "./process.ts"
import { pause } from "./process.ts"
import { isAlive, killGroup } from "./processTree.ts"
import { makeFilter } from "./seccomp.ts"
import type { UserRange } from "./users.ts"
import { findBarrier } from "./users.ts"

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
  /** The users that commands run as, one for each workspace. Absent: that of this process. */
  readonly users: UserRange | undefined
  /** The system-call filter. Absent: there is none for this machine. */
  readonly filter: Uint8Array | undefined
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

/** Where workspaces lie, programs and binds have to be within reach of the users that commands run as. */
const checkReach = (
  users: UserRange | undefined,
  places: ReadonlyArray<string>
): Effect.Effect<void, SandboxErrorReason> =>
  Effect.forEach(users === undefined ? [] : places, (place) => {
    const barrier = findBarrier(place)
    return barrier === undefined
      ? Effect.void
      : Effect.fail(unavailable(
        `Commands run as a user of their own, which cannot pass ${barrier} to reach ${place}. Allow it ` +
          `(chmod o+x ${barrier}), choose another place, or pass user: "host", by which commands run as root without ` +
          "capabilities and less is guaranteed"
      ))
  }, { discard: true })

/** Checks the options. */
export const setup = Effect.fnUntraced(function*(root: string, users: UserRange | undefined, options: {
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
  readonly debugging?: boolean | undefined
}): Effect.fn.Return<Setup, SandboxErrorReason> {
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
  yield* checkReach(users, [
    path.join(root, "workspaces"),
    // The way by the links in it too.
    ...[program, ...binds.map(({ source }) => source)].flatMap((place) => [place, fs.realpathSync(place)])
  ])
  const { cpuSeconds, fileBytes, memoryBytes, openFiles } = options.limits ?? {}
  return {
    program,
    network: options.network === true,
    binds,
    path: options.path ?? [],
    limits: "ulimit -c 0; " + limit("d", memoryBytes, 1024) + limit("t", cpuSeconds, 1) + limit("f", fileBytes, 512) +
      limit("n", openFiles, 1),
    tmpBytes: Math.max(1, Math.floor(options.tmpBytes ?? 256 * 1024 * 1024)),
    users,
    filter: makeFilter(process.arch, options.debugging === true)
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

/** How many words bubblewrap takes in all (MAX_ARGS of bubblewrap.c), and those of a variable: `--setenv NAME VALUE`. */
const maxWords = 9000
const wordsPerVariable = 3

const terminated = (words: ReadonlyArray<string>): Buffer => Buffer.from(words.map((word) => `${word}\0`).join(""))

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
    // Also where the command's user is the real root, and without capabilities could still write kernel settings.
    ...[
      "--proc",
      "/proc",
      "--remount-ro",
      "/proc",
      "--dev",
      "/dev",
      "--size",
      String(setup.tmpBytes),
      "--tmpfs",
      "/dev/shm"
    ],
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
  // Descriptors of the program, in this order. Every user of the host can read its arguments.
  const [statusFd, argumentsFd, passwdFd, groupFd, filterFd] = ["3", "4", "5", "6", "7"] as const
  const { filter, users } = setup
  const options = [
    ...["--args", argumentsFd, "--json-status-fd", statusFd],
    ...(filter === undefined ? [] : ["--seccomp", filterFd]),
    ...machine,
    ...["--perms", "0444", "--ro-bind-data", passwdFd, "/etc/passwd"],
    ...["--perms", "0444", "--ro-bind-data", groupFd, "/etc/group"]
  ]
  const base = baseEnvironment(home, setup.path)
  // For what stands around the command, and in the arguments that are read from a descriptor.
  const reserved = options.length + wordsPerVariable * Object.keys(base).length + 50
  return {
    backend,
    guarantees,
    root,
    visibleAt: home,
    users,
    maxWords: { maximum: maxWords - reserved, perVariable: wordsPerVariable },
    program: (place, { command, environment }, cwd) => ({
      program: {
        file: setup.program,
        arguments: [
          ...options,
          ...["--bind", place.workspace, home, "--remount-ro", "/dev", "--remount-ro", "/"],
          ...["--", "/bin/sh", ...shellArguments(command, setup.limits)]
        ],
        // The first process in the sandbox is bubblewrap's own, and shows its environment to the others.
        environment: {},
        inputs: [
          Buffer.concat([
            terminated(Object.entries({ ...base, ...environment }).flatMap((variable) => ["--setenv", ...variable])),
            terminated(["--chdir"]),
            // A name that need not be UTF-8, as an argument of this process's own could only be.
            toBytes(`${path.posix.join(home, cwd.path)}\0`)
          ]),
          Buffer.from(accounts.passwd),
          Buffer.from(accounts.group),
          ...(filter === undefined ? [] : [filter])
        ],
        cwd: "/",
        owner: place.owner
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

/** Named by bubblewrap if the kernel refuses the filter. */
const filterCall = "PR_SET_SECCOMP"

const help = (said: string): string => {
  if (/unknown option/i.test(said)) return `bubblewrap 0.8.0 or newer is needed. ${said}`
  if (said.includes(filterCall)) return `The kernel takes no system-call filter. ${said}`
  if (/Can't find source path/i.test(said)) {
    return `Commands run as a user that cannot reach what they need. Allow it (chmod o+x on the directories above). ${said}`
  }
  if (/namespace|uid map|Operation not permitted|Permission denied|setgroups|RTM_NEWADDR/i.test(said)) {
    return "This machine does not let bubblewrap make namespaces. Allow it: sysctl kernel.unprivileged_userns_clone=1 " +
      "(Debian); an AppArmor profile for bwrap, or sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); " +
      "--security-opt seccomp=unconfined --security-opt apparmor=unconfined (in a container). If only root may make " +
      `namespaces, user: "host" runs commands as root without capabilities and guarantees less. ${said}`
  }
  return `bubblewrap does not work here. ${said}`
}

/** Whether the kernel refused the filter. */
export const hasRefusedFilter = (reason: SandboxErrorReason): boolean => reason.message.includes(filterCall)

/**
 * Prints a line for each thing that a command must not have, with the claim that it breaks. The script looks at
 * permission bits and reads. It writes only a file of the workspace.
 */
const probeScript = `[ -e "$1" ] && exit 3
for d in / /dev; do [ -w "$d" ] && echo "fileSystem $d can be written"; done
for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/panic_on_oom /proc/sys/fs/mqueue/msg_max \
  /proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger /proc/pressure/cpu /proc/self/uid_map /proc/self/oom_score_adj \
  /proc/acpi /proc/scsi /proc/irq /sys /sys/kernel /sys/fs/cgroup; do [ -w "$f" ] && echo "kernel $f can be written"; done
for d in /dev/mem /dev/kmsg /dev/kvm /dev/fuse; do [ -e "$d" ] && echo "kernel $d is there"; done
[ -e /dev/vsock ] && echo "network /dev/vsock is there"
while read -r k v; do case $k in
  CapEff:|CapPrm:|CapBnd:|CapInh:|CapAmb:) [ "$v" = 0000000000000000 ] || echo "kernel $k $v";;
  NoNewPrivs:) [ "$v" = 1 ] || echo "kernel $k $v";;
  Seccomp:) [ "$v" = 2 ] || { echo "network no system-call filter"; echo "kernel no system-call filter"; };;
esac; done < /proc/self/status
n=0; while read -r l; do n=$((n + 1)); done < /proc/net/dev
[ "$n" = 3 ] || echo "network more interfaces than one"
n=0; for p in /proc/[0-9]*; do n=$((n + 1)); done
[ "$n" -lt 6 ] || echo "processes $n of them"
tr '\\0' '\\n' < /proc/1/environ | while IFS= read -r l; do case $l in
  ""|PWD=*|OLDPWD=*|SHLVL=*|_=*) ;;
  *=*) echo "environment \${l%%=*} of the first process";;
esac; done
for f in /proc/kmsg /proc/slabinfo /proc/timer_list /proc/vmallocinfo /proc/kpagecount /proc/kcore /etc/shadow; do
  [ -e "$f" ] && [ -r "$f" ] && echo "identity $f can be read"
done
: > probe`

/** Claims that do not hold, with what was seen, by the lines of a probe. */
const findBroken = (guarantees: Guarantees, lines: string): ReadonlyArray<string> =>
  lines.split("\n").filter((line) =>
    Object.entries(guarantees).some(([claim, isMade]) => isMade && line.startsWith(`${claim} `))
  )

/** Runs a command, and looks whether what is claimed holds for it. */
export const probe = (sandbox: Sandbox["Service"]): Effect.Effect<void, SandboxErrorReason> =>
  Effect.scoped(Effect.gen(function*() {
    const session = yield* sandbox.create()
    const { location } = session.state
    const result = yield* session.exec(["/bin/sh", "-c", probeScript, "sh", location], { timeout: "20 seconds" })
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
    const made = fs.statSync(path.join(location, "workspace/probe"), { throwIfNoEntry: false })
    const broken = [
      ...findBroken(sandbox.guarantees, result.stdout),
      ...(made === undefined ? ["fileSystem the workspace of a command is another one"] : []),
      ...(sandbox.guarantees.identity && made?.uid === process.geteuid?.() ? ["identity that of this process"] : [])
    ]
    if (broken.length > 0) {
      return yield* Effect.fail(unavailable(
        `Commands would not be confined as this sandbox claims, because of its binds or this machine: ${
          broken.join("; ")
        }`
      ))
    }
  })).pipe(
    Effect.catchTag(
      "SandboxError",
      ({ reason }) =>
        Effect.fail(reason._tag === "ExecFailed" ? unavailable(help(reason.description), reason.cause) : reason)
    )
  )
