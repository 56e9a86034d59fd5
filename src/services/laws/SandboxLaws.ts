/**
 * The contract of `Sandbox`, as laws that any layer of it can be held to. They run commands by a POSIX shell and take
 * some seconds.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { Manifest } from "../Sandbox.ts"
import { SandboxState } from "../Sandbox.ts"
import { commands } from "./internal/sandboxCommandLaws.ts"
import { files } from "./internal/sandboxFileLaws.ts"
import type { SandboxSubject, Session } from "./internal/sandboxSubject.ts"
import { claimed, create, heart, law, need, refused, run, shell, stopped, text } from "./internal/sandboxSubject.ts"
import type { Law } from "./Law.ts"
import { equal, eventually, failure, holds, inTime, LawBroken } from "./Law.ts"

export type {
  /**
   * What the laws are run over.
   *
   * @category models
   * @since 0.1.0
   */
  SandboxSubject
} from "./internal/sandboxSubject.ts"

const workspaces = need((subject) => subject.workspaces, "a way to count workspaces")
const lose = need((subject) => subject.lose, "a way to lose a workspace")
const directory = need((subject) => subject.directory, "a directory on this machine")

const life: ReadonlyArray<Law<SandboxSubject>> = [
  law(
    "a workspace starts with the manifest's files, and two workspaces share nothing",
    (subject) =>
      Effect.gen(function*() {
        const sandbox = yield* subject.open
        const first = yield* sandbox.create({ files: { "a/text": "t", bytes: Uint8Array.of(0, 255) } })
        yield* equal("readFile", yield* text(first, "a/text"), "t")
        yield* equal("readFile", yield* first.readFile("bytes"), Uint8Array.of(0, 255))
        const second = yield* sandbox.create()
        yield* equal("list", yield* second.list(), [])
        yield* holds("state", "different ids", first.state.id !== second.state.id, first.state.id)
      })
  ),

  law(
    "a directory of this machine is copied without what is excluded, links left out, modes kept",
    (subject) =>
      Effect.gen(function*() {
        const source = yield* directory.of(subject)
        const sandbox = yield* subject.open
        const session = yield* sandbox.create({
          directories: [{ source, exclude: [".git", "*.pem"] }, { source, path: "copy/here", exclude: ["sub", ".*"] }],
          files: { "one.txt": "mine" }
        })
        yield* equal("list", (yield* session.list("", { isRecursive: true })).map(({ path }) => path), [
          "copy",
          "copy/here",
          "copy/here/one.txt",
          "copy/here/run.sh",
          "one.txt",
          "run.sh",
          "sub",
          "sub/two.txt"
        ])
        yield* equal("readFile one.txt", yield* text(session, "one.txt"), "mine")
        yield* equal("readFile sub/two.txt", yield* text(session, "sub/two.txt"), "two")
        if (subject.hasShell !== false) yield* run(session, "[ -x run.sh ] && [ ! -x sub/two.txt ]")
        yield* refused("maxFiles", "LimitExceeded", sandbox.create({ directories: [{ source, maxFiles: 2 }] }))
        yield* refused("maxBytes", "LimitExceeded", sandbox.create({ directories: [{ source, maxBytes: 3 }] }))
        yield* refused("missing", "InvalidManifest", sandbox.create({ directories: [{ source: `${source}/none` }] }))
        yield* refused("outside", "InvalidManifest", sandbox.create({ directories: [{ source, path: "../x" }] }))
      }),
    directory.missing
  ),

  law("a manifest that cannot be is InvalidManifest, and leaves nothing behind", (subject) =>
    Effect.gen(function*() {
      const sandbox = yield* subject.open
      const before = yield* workspaces.of(subject)
      const invalid: ReadonlyArray<Manifest> = [
        { files: { "../x": "" } },
        { files: { "/x": "" } },
        { files: { "": "" } },
        { files: { good: "x", "good/below": "x" } },
        { environment: { "A=B": "" } }
      ]
      for (const manifest of invalid) {
        yield* refused(`create ${Object.keys(manifest.files ?? {})}`, "InvalidManifest", sandbox.create(manifest))
        yield* refused("create kept", "InvalidManifest", sandbox.create(manifest, { isKept: true }))
      }
      yield* equal("workspaces", yield* workspaces.of(subject), before)
    }), workspaces.missing),

  law("an interrupted creation leaves nothing behind", (subject) =>
    Effect.gen(function*() {
      const sandbox = yield* subject.open
      const before = yield* workspaces.of(subject)
      const content = "x".repeat(100_000)
      const manifest = {
        files: Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`f${index}`, content]))
      }
      for (const isKept of [true, false]) {
        const fiber = yield* Effect.forkChild(sandbox.create(manifest, { isKept }))
        yield* eventually("create", "it has begun", workspaces.of(subject), (count) => count > before)
        yield* Fiber.interrupt(fiber)
        yield* equal("workspaces", yield* workspaces.of(subject), before)
      }
    }), workspaces.missing),

  law(
    "when the scope closes the workspace is gone, and every member fails with Closed",
    (subject) =>
      Effect.gen(function*() {
        const sandbox = yield* subject.open
        const before = yield* workspaces.of(subject)
        const session = yield* Effect.scoped(sandbox.create({ files: { a: "x" } }))
        yield* equal("workspaces", yield* workspaces.of(subject), before)
        yield* refused("exec", "Closed", session.exec("true"))
        yield* refused("readFile", "Closed", session.readFile("a"))
        yield* refused("writeFile", "Closed", session.writeFile("a", "x"))
        yield* refused("list", "Closed", session.list())
        yield* refused("remove", "Closed", session.remove("a"))
        yield* equal("resume", yield* sandbox.resume(session.state), { _tag: "Gone" })
      }),
    workspaces.missing
  ),

  law("when the scope closes, running commands are killed and fail with Closed", (subject) =>
    Effect.gen(function*() {
      const sandbox = yield* subject.open
      const scope = yield* Scope.make()
      const session = yield* Scope.provide(sandbox.create({}, { isKept: true }), scope)
      const fiber = yield* Effect.forkChild(session.exec(`${heart} sleep 60`))
      yield* eventually("exec", "the command runs", session.list(), (list) => list.length > 0)
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      yield* refused("exec", "Closed", inTime("exec", Fiber.join(fiber)))
      const again = yield* sandbox.resume(session.state, undefined, { isKept: false })
      if (again._tag !== "Resumed") {
        return yield* new LawBroken({ operation: "resume", expected: "Resumed", got: again._tag })
      }
      yield* stopped("exec", again.session)
    }), shell),

  law(
    "a kept workspace is found again with its files, as often as it is kept, and with its variables given anew",
    (subject) =>
      Effect.gen(function*() {
        const sandbox = yield* subject.open
        const manifest = { files: { a: "manifest" }, environment: { GIVEN: "anew" } }
        const { state } = yield* Effect.scoped(
          Effect.tap(sandbox.create({}, { isKept: true }), (session) => session.writeFile("a", "changed"))
        )
        for (const isKept of [undefined, false]) {
          yield* Effect.scoped(Effect.gen(function*() {
            const found = yield* sandbox.resume(state, manifest, { isKept })
            if (found._tag !== "Resumed") {
              return yield* new LawBroken({ operation: "resume", expected: "Resumed", got: found._tag })
            }
            yield* equal("state", found.session.state, state)
            yield* equal("readFile", yield* text(found.session, "a"), "changed")
            if (subject.hasShell !== false) yield* equal("exec", yield* run(found.session, "echo $GIVEN"), "anew\n")
          }))
        }
        yield* equal("resume", yield* sandbox.resume(state), { _tag: "Gone" })
      })
  ),

  law(
    "a workspace that was lost is made anew from the manifest, with what was lost in words, or Gone",
    (subject) =>
      Effect.gen(function*() {
        const sandbox = yield* subject.open
        const { state } = yield* Effect.scoped(sandbox.create({ files: { a: "old" } }, { isKept: true }))
        yield* lose.of(subject)(state)
        yield* equal("resume", yield* sandbox.resume(state), { _tag: "Gone" })
        const found = yield* sandbox.resume(state, { files: { a: "new" } }, { isKept: false })
        if (found._tag !== "Recreated") {
          return yield* new LawBroken({ operation: "resume", expected: "Recreated", got: found._tag })
        }
        yield* holds("resume", "what was lost, in words", found.lost.length > 0, found.lost)
        yield* equal("readFile", yield* text(found.session, "a"), "new")
        if (subject.hasShell !== false) yield* equal("exec", yield* run(found.session, "cat a"), "new")
      }),
    lose.missing
  ),

  law(
    "a state that was tampered with finds nothing, and one of another backend is Unsupported",
    (subject) =>
      Effect.gen(function*() {
        const sandbox = yield* subject.open
        const session = yield* sandbox.create({}, { isKept: true })
        const { state } = session
        const strange = [{ ...state, location: "/etc" }, { ...state, id: "../../etc" }, {
          ...state,
          id: "..",
          location: `${state.location}/..`
        }]
        for (const one of strange) yield* equal(`resume ${one.location}`, yield* sandbox.resume(one), { _tag: "Gone" })
        yield* refused("resume", "Unsupported", sandbox.resume({ ...state, backend: `not-${state.backend}` }))
        yield* Effect.scoped(sandbox.resume(state, undefined, { isKept: false }))
      })
  ),

  law("a state is JSON by its Schema, and holds no variable's value", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject, { environment: { SECRET: "hunter2-secret" } })
      const json = yield* Schema.encodeEffect(Schema.fromJsonString(SandboxState))(session.state)
      yield* equal("state", yield* Schema.decodeEffect(Schema.fromJsonString(SandboxState))(json), session.state)
      yield* holds("state", "no value of a variable", !json.includes("hunter2"), json)
    })),

  law("an error says which backend and which operation", (subject) =>
    Effect.gen(function*() {
      const sandbox = yield* subject.open
      const session = yield* sandbox.create()
      const error = yield* failure("readFile", "an error", session.readFile("missing"))
      yield* equal("readFile", [error.backend, error.operation], [sandbox.backend, "readFile"])
      yield* holds("readFile", "the path in the message", error.message.includes("missing"), error.message)
    }))
]

const mustFail = (session: Session, lines: ReadonlyArray<string>) =>
  Effect.forEach(
    lines,
    (line) =>
      Effect.flatMap(
        session.exec(line, { timeout: "20 seconds" }),
        ({ exitCode, stderr }) =>
          holds(`exec ${line}`, "a failure that is not a missing program", ![0, 126, 127].includes(exitCode), {
            exitCode,
            stderr
          })
      ),
    { discard: true }
  )

/** Asks for permissions, and uses none of them: a law that wrote would change the machine if the law is broken. */
const findWritable =
  "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/panic_on_oom /proc/sys/fs/mqueue/msg_max " +
  "/proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger /proc/pressure/cpu /proc/self/oom_score_adj /proc/self/uid_map " +
  "/sys/kernel/mm; do [ -w $f ] && echo $f; done; " +
  "find /proc -path '/proc/[0-9]*' -prune -o -type f -writable -print 2> /dev/null | head -n 5"

const findReadable = "for f in /proc/kmsg /proc/slabinfo /proc/timer_list /proc/vmallocinfo /proc/kpagecount " +
  "/proc/pagetypeinfo /etc/shadow; do [ -r $f ] && echo $f; done"

const guarantees: ReadonlyArray<Law<SandboxSubject>> = [
  law(
    "the guarantees are those that were announced, of the sandbox and of its sessions",
    (subject) =>
      Effect.gen(function*() {
        const sandbox = yield* subject.open
        const session = yield* sandbox.create()
        yield* equal("guarantees", sandbox.guarantees, subject.guarantees)
        yield* equal("guarantees", session.guarantees, subject.guarantees)
      })
  ),

  claimed(
    "fileSystem: commands neither see nor change a file of the host",
    "fileSystem",
    ({ file }) => file,
    "a file of the host",
    (session, { content, path }) =>
      Effect.gen(function*() {
        yield* run(session, `ln -s '${path}' link; ln -s / root`)
        const seen = yield* session.exec(
          `cat '${path}' link 'root${path}'; cat /proc/*/root'${path}'; echo x > '${path}'; ` +
            "cat /etc/shadow; ls /root /home; touch /usr/touched && echo TOUCHED"
        )
        yield* holds("exec", "nothing of the host", !seen.stdout.includes(content), seen.stdout)
        yield* holds("exec", "/usr is read-only", !seen.stdout.includes("TOUCHED"), seen.stdout)
        yield* holds("exec", "no accounts of the host", !/root:|:\*:/.test(seen.stdout), seen.stdout)
        const left = yield* session.exec(["cat", "link"])
        yield* holds("exec", "no way through a link", left.exitCode !== 0, left.stdout)
      })
  ),

  claimed(
    "network: commands reach no service of the host",
    "network",
    ({ connect }) => connect,
    "a service of the host",
    mustFail
  ),

  claimed(
    "network: commands open no socket that reaches around their network",
    "network",
    ({ openSocket }) => openSocket,
    "commands that open such a socket",
    mustFail
  ),

  claimed(
    "environment: commands see no variable of the host process",
    "environment",
    ({ variable }) => variable,
    "a variable of this process",
    (session, { name, value }) =>
      Effect.gen(function*() {
        const { stdout } = yield* session.exec(`env; cat /proc/*/environ 2> /dev/null; printf %s "$${name}"`)
        yield* holds("exec", "not the host's variable", !stdout.includes(value), stdout)
      })
  ),

  claimed(
    "processes: commands see no process of the host",
    "processes",
    ({ pid }) => pid,
    "a process of this host",
    (session, pid) =>
      Effect.gen(function*() {
        const signalled = yield* session.exec(`kill -0 ${pid}`)
        yield* holds("exec", "no process to signal", signalled.exitCode !== 0, signalled)
        const seen = yield* session.exec(`ls /proc | grep -c '^[0-9]'`)
        yield* holds("exec", "a handful of processes", Number(seen.stdout) < 10, seen.stdout)
      })
  ),

  claimed(
    "memory: a command's processes cannot take more than is allowed",
    "memory",
    ({ takeMemory }) => takeMemory,
    "a command that takes memory",
    (session, line) => mustFail(session, [line])
  ),

  claimed(
    "cpu: a command's processes cannot take more than is allowed",
    "cpu",
    ({ takeTime }) => takeTime,
    "a command that takes processor time",
    (session, line) => mustFail(session, [line])
  ),

  claimed(
    "kernel: no permission bit allows a write below /proc, and privileged system calls are refused",
    "kernel",
    ({ systemCalls }) => systemCalls,
    "commands that make such system calls",
    (session, lines) =>
      Effect.gen(function*() {
        yield* equal("exec", (yield* session.exec(findWritable)).stdout, "")
        yield* mustFail(session, lines)
      })
  ),

  claimed(
    "identity: commands are another user than the host process",
    "identity",
    ({ identity }) => identity,
    "a way to see to whom a file belongs",
    (session, { ownerOf, user }) =>
      Effect.gen(function*() {
        yield* run(session, ": > made")
        const owner = yield* ownerOf(session.state, "made")
        yield* holds("exec", "a file of another user", owner !== user, owner)
        yield* equal("exec", (yield* session.exec(findReadable)).stdout, "")
        yield* session.writeFile("given/file", "from outside")
        yield* equal("writeFile", yield* ownerOf(session.state, "given/file"), owner)
        yield* run(session, "echo more >> given/file; : > given/beside; rm made")
      })
  )
]

/**
 * All laws of `Sandbox`.
 *
 * @category laws
 * @since 0.1.0
 */
export const all: ReadonlyArray<Law<SandboxSubject>> = [...files, ...commands, ...life, ...guarantees]
