/**
 * Attempts of commands against a sandbox of bubblewrap, with the claim that stands against each and the outcome that it
 * has to have: `attacks.ts <root> <user>` tries them all and prints the outcomes. They ask for permissions and make
 * harmless calls; none writes a setting of the machine.
 */
import * as SandboxBubblewrap from "agent-layers/layers/sandbox/SandboxBubblewrap"
import type * as Sandbox from "agent-layers/services/Sandbox"
import type { SandboxError } from "agent-layers/services/SandboxError"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { start } from "./left.ts"

type Session = Sandbox.SandboxSession["Service"]

/** How the program is started: by root, by root that wants commands to be its own, or by another user. */
export type Start = "root" | "root, user: host" | "another user"

export interface Row {
  readonly attempt: string
  /** The claim that stands against it; absent: part of the contract of every sandbox. */
  readonly claim?: keyof Sandbox.Guarantees
  readonly outcome: string | Readonly<Record<Start, string>>
  readonly run: (session: Session, other: Session, root: string) => Effect.Effect<string, SandboxError>
}

const notShown = (why: string) => `not shown: ${why}`

const say = (command: string) => (session: Session) =>
  Effect.map(session.exec(command), ({ stderr, stdout }) => (stdout + stderr).trim())

/** What the kernel says to a call, by perl, which every Debian has. */
const perl = (script: string) => (session: Session) =>
  Effect.map(
    session.exec(["perl", "-MErrno", "-MSocket", "-e", script]),
    ({ exitCode, stderr, stdout }) => exitCode === 127 ? notShown("perl is not in /usr/bin") : (stdout + stderr).trim()
  )

const openSockets = (families: ReadonlyArray<number>) =>
  perl(
    `print join(" ", map { (socket(S, $_, SOCK_STREAM, 0) or socket(S, $_, SOCK_RAW, 0)) ? "open" : ` +
      `$!{EPERM} ? "refused" : $! } (${families.join(", ")}))`
  )

const numbers = {
  ptrace: { x64: 101, arm64: 117 },
  keyctl: { x64: 250, arm64: 219 },
  bpf: { x64: 321, arm64: 280 },
  userfaultfd: { x64: 323, arm64: 282 },
  io_uring_setup: { x64: 425, arm64: 425 },
  setns: { x64: 308, arm64: 268 },
  unshare: { x64: 272, arm64: 97 },
  perf_event_open: { x64: 298, arm64: 241 }
}

const call = (names: ReadonlyArray<keyof typeof numbers>) => (session: Session) =>
  process.arch === "x64" || process.arch === "arm64"
    ? perl(
      `print join(" ", map { $! = 0; syscall($_, 0x3fffffff, 0, 0, 0, 0); $!{EPERM} ? "refused" : "taken" } (${
        names.map((name) => numbers[name][process.arch as "x64" | "arm64"]).join(", ")
      }))`
    )(session)
    : Effect.succeed(notShown(`system calls of ${process.arch} have other numbers`))

const fileOf = ({ state }: Session, name: string) => path.join(state.location, "workspace", name)

const reason = (effect: Effect.Effect<unknown, SandboxError>) =>
  Effect.match(effect, {
    onFailure: ({ message, reason: { _tag } }) => /stdin|pass a number/.test(message) ? `${_tag} with advice` : _tag,
    onSuccess: () => "done"
  })

const same = (start: string): Readonly<Record<Start, string>> => ({
  root: "another user",
  "root, user: host": start,
  "another user": start
})

export const rows: ReadonlyArray<Row> = [
  {
    attempt: "write a kernel setting: all of /proc, by permission bits",
    claim: "kernel",
    outcome: "0",
    run: say("find /proc -path '/proc/[0-9]*' -prune -o -type f -writable -print 2> /dev/null | wc -l")
  },
  {
    attempt: "write to its own /proc/self/uid_map and oom_score_adj, by permission bits",
    claim: "kernel",
    outcome: "read-only",
    run: say("for f in uid_map oom_score_adj; do [ -w /proc/self/$f ] && echo $f; done; echo read-only")
  },
  {
    attempt: "use capabilities, or gain some",
    claim: "kernel",
    outcome: "0000000000000000 0000000000000000 1 2",
    run: say("sed -n 's/^\\(CapEff\\|CapBnd\\|NoNewPrivs\\|Seccomp\\):\\s*//p' /proc/self/status | paste -sd ' '")
  },
  {
    attempt: "call what reaches into the kernel, other processes or namespaces",
    claim: "kernel",
    outcome: "refused refused refused refused refused refused refused refused",
    run: call([
      ...["ptrace", "keyctl", "bpf", "userfaultfd", "io_uring_setup", "setns", "unshare", "perf_event_open"] as const
    ])
  },
  {
    attempt: "open a socket of AF_VSOCK, AF_ALG, AF_PACKET, AF_BLUETOOTH, AF_CAN",
    claim: "network",
    outcome: "refused refused refused refused refused",
    run: openSockets([40, 38, 17, 31, 29])
  },
  {
    attempt: "(allowed) open a socket of AF_UNIX, AF_INET, AF_INET6",
    outcome: "open open open",
    run: openSockets([1, 2, 10])
  },
  {
    attempt: "act as the host's user: to whom a file belongs that a command made",
    claim: "identity",
    outcome: same("the host's user"),
    run: (session) =>
      Effect.map(
        session.exec(": > owned"),
        () => fs.statSync(fileOf(session, "owned")).uid === process.geteuid!() ? "the host's user" : "another user"
      )
  },
  {
    attempt: "read in /proc what only root may, by permission bits",
    claim: "identity",
    outcome: { root: "none", "root, user: host": "some", "another user": "none" },
    run: say(
      "for f in /proc/kmsg /proc/slabinfo /proc/timer_list /proc/vmallocinfo /proc/pagetypeinfo; do " +
        "[ -r $f ] && echo x; done | grep -q x && echo some || echo none"
    )
  },
  {
    attempt: "be the user of another workspace's commands",
    claim: "identity",
    outcome: same("the same user"),
    run: (session, other) =>
      Effect.map(
        Effect.all([session.exec(": > one"), other.exec(": > one")]),
        () =>
          fs.statSync(fileOf(session, "one")).uid === fs.statSync(fileOf(other, "one")).uid
            ? "the same user"
            : "another user"
      )
  },
  {
    attempt: "keep the host's file operations out: a directory without permissions, files of mode 0600",
    outcome: "done",
    run: (session) =>
      Effect.gen(function*() {
        yield* session.exec("umask 077; mkdir -p shut/in; echo secret > shut/in/file")
        const read = Buffer.from(yield* session.readFile("shut/in/file")).toString()
        yield* session.writeFile("shut/in/file", "changed")
        yield* session.writeFile("shut/new/file", "made")
        const paths = (yield* session.list("shut", { isRecursive: true })).map((entry) => entry.path)
        const seen = (yield* session.exec("cat shut/in/file shut/new/file; echo more >> shut/new/file")).stdout
        yield* session.exec("chmod 000 shut/in")
        yield* session.remove("shut", { isRecursive: true })
        const left = (yield* session.list()).some((entry) => entry.path === "shut")
        return read === "secret\n" && paths.length === 4 && seen === "changedmade" && !left ? "done" : "not done"
      })
  },
  {
    attempt: "leave a workspace behind by the death of its program: what is there after the next start",
    outcome: "the kept one",
    run: (_session, _other, root) =>
      Effect.gen(function*() {
        const below = path.join(root, "killed")
        const { kept, kill, left } = yield* start("bubblewrap", below)
        yield* kill
        const before = [left, kept].filter(({ location }) => fs.existsSync(location)).length
        const sandbox = yield* SandboxBubblewrap.make({ root: below })
        const after = [left, kept].filter(({ location }) => fs.existsSync(location))
        yield* Effect.scoped(sandbox.resume(kept, undefined, { isKept: false }))
        fs.rmdirSync(below)
        return before === 2 && after.length === 1 && after[0] === kept
          ? "the kept one"
          : `${before}, then ${after.length}`
      })
  },
  {
    attempt: "hide a file by a name that is not UTF-8",
    outcome: "\\xff\\xfe hidden 0",
    run: (session) =>
      Effect.gen(function*() {
        yield* session.exec(`mkdir names; printf hidden > "$(printf 'names/\\377\\376')"`)
        const [found] = yield* session.list("names")
        const content = Buffer.from(yield* session.readFile(found!.path)).toString()
        yield* session.remove(found!.path)
        return `${found!.path.slice("names/".length)} ${content} ${(yield* session.list("names")).length}`
      })
  },
  {
    attempt: "a command line of 200,000 bytes",
    outcome: "ExecFailed with advice",
    run: (session) => reason(session.exec(`: ${"x".repeat(200_000)}`))
  },
  {
    attempt: "a variable of 200,000 bytes",
    outcome: "ExecFailed with advice",
    run: (session) => reason(session.exec("true", { environment: { LONG: "x".repeat(200_000) } }))
  },
  {
    attempt: "3,000 variables",
    outcome: "ExecFailed with advice",
    run: (session) =>
      reason(session.exec("true", {
        environment: Object.fromEntries(Array.from({ length: 3000 }, (_, index) => [`V${index}`, "x"]))
      }))
  },
  {
    attempt: "(allowed) 2,500 variables, an argument of 131,071 bytes",
    outcome: "2500 131071",
    run: (session) =>
      Effect.gen(function*() {
        const environment = Object.fromEntries(Array.from({ length: 2500 }, (_, index) => [`VAR${index}`, "x"]))
        const { stdout } = yield* session.exec("env | grep -c '^VAR'", { environment })
        const long = yield* session.exec(["/usr/bin/printf", "%s", "x".repeat(131_071)])
        return `${stdout.trim()} ${long.stdout.length}`
      })
  },
  ...[Infinity, Number.NaN, -1, 2 ** 31].map((maxBytes): Row => ({
    attempt: `readFile with maxBytes ${maxBytes}`,
    outcome: "NotPermitted with advice",
    run: (session) => reason(Effect.andThen(session.writeFile("file", "x"), session.readFile("file", { maxBytes })))
  }))
]

const main = (root: string, user: "workspace" | "host") =>
  Effect.scoped(Effect.gen(function*() {
    const sandbox = yield* SandboxBubblewrap.make({ root, user })
    const session = yield* sandbox.create()
    const other = yield* sandbox.create()
    const outcomes: Record<string, string> = {}
    for (const { attempt, run } of rows) {
      outcomes[attempt] = yield* Effect.catch(run(session, other, root), ({ message }) => Effect.succeed(message))
    }
    return { guarantees: sandbox.guarantees, outcomes }
  }))

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [, , root, user] = process.argv
  process.stdout.write(JSON.stringify(await Effect.runPromise(main(root!, user as "workspace" | "host"))))
}
