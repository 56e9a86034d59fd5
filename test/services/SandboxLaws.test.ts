import { assert, describe, it } from "@effect/vitest"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import * as Laws from "agent-layers/services/laws/Law"
import * as SandboxLaws from "agent-layers/services/laws/SandboxLaws"
import type { Sandbox, SandboxSession } from "agent-layers/services/Sandbox"
import * as SandboxError from "agent-layers/services/SandboxError"
import { Duration, Effect, Fiber, Option, Scope } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { localSubject } from "../layers/sandbox/subject.ts"

type Service = Sandbox["Service"]
type Session = SandboxSession["Service"]

const subject = localSubject("doubles", SandboxUnconfined.guarantees, (root) => SandboxUnconfined.make({ root }))

const refuse = (operation: string, reason: SandboxError.SandboxErrorReason) =>
  Effect.fail(new SandboxError.SandboxError({ backend: "unconfined", operation, reason }))

/** A sandbox whose sessions are broken. */
const sessions = (change: (session: Session) => Partial<Session>) => (sandbox: Service): Effect.Effect<Service> => {
  const broken = (session: Session): Session => ({ ...session, ...change(session) })
  return Effect.succeed({
    ...sandbox,
    create: (manifest, options) => Effect.map(sandbox.create(manifest, options), broken),
    resume: (state, manifest, options) =>
      Effect.map(
        sandbox.resume(state, manifest, options),
        (found) => found._tag === "Gone" ? found : { ...found, session: broken(found.session) }
      )
  })
}

const sandboxes = (change: (sandbox: Service) => Partial<Service>) => (sandbox: Service): Effect.Effect<Service> =>
  Effect.succeed({ ...sandbox, ...change(sandbox) })

/** Whose sessions outlive their scope. */
const detached = (sandbox: Service): Effect.Effect<Service, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => ({
    ...sandbox,
    create: (manifest, options) => Scope.provide(sandbox.create(manifest, options), scope)
  }))

/** Whose commands run on in the background, whatever becomes of who called. */
const runningOn = (
  change: (session: Session, fork: Session["exec"]) => Session["exec"]
) =>
(sandbox: Service): Effect.Effect<Service, never, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) =>
    sessions((session) => ({
      exec: change(session, (command, options) =>
        Effect.forkIn(session.exec(command, options), scope).pipe(Effect.flatMap(Fiber.join)))
    }))(sandbox))

const inWorkspace = (session: Session, file: string) => path.join(session.root, file)

const claims = {
  fileSystem: true,
  network: true,
  environment: true,
  processes: true,
  memory: true,
  cpu: true,
  kernel: true,
  identity: true
}

interface Double {
  readonly how: string
  readonly breaks: (sandbox: Service) => Effect.Effect<Service, never, Scope.Scope>
  readonly subject?: Partial<SandboxLaws.SandboxSubject>
}

/** A family that every sandbox lets out, in the place of one that should not: no module is loaded for a test. */
const letsOut = [`perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0) or exit 9'`]

const claiming: Double = {
  how: "claims what it does not enforce",
  breaks: sandboxes(() => ({ guarantees: claims })),
  subject: {
    guarantees: claims,
    host: { ...subject.host, takeMemory: "true", takeTime: "true", openSocket: letsOut, systemCalls: ["true"] }
  }
}

const doubles: Readonly<Record<string, Double>> = {
  "a written file is read back byte for byte, and the directories above it are made": {
    how: "loses the last byte",
    breaks: sessions((session) => ({
      readFile: (path, options) => Effect.map(session.readFile(path, options), (bytes) => bytes.slice(0, -1))
    }))
  },
  "a write replaces the whole file": {
    how: "leaves what was longer",
    breaks: sessions((session) => ({
      writeFile: (path, content) =>
        Effect.gen(function*() {
          const before = yield* Effect.orElseSucceed(session.readFile(path), () => new Uint8Array(0))
          const now = Buffer.from(content)
          yield* session.writeFile(path, Buffer.concat([now, before.slice(now.length)]))
        })
    }))
  },
  "what is not there is NotFound, and a directory is no file": {
    how: "reads nothing as an empty file",
    breaks: sessions((session) => ({
      readFile: (path, options) =>
        Effect.catchReason(
          session.readFile(path, options),
          "SandboxError",
          "NotFound",
          () => Effect.succeed(new Uint8Array(0))
        )
    }))
  },
  "a file with more than maxBytes is LimitExceeded, one with exactly that many is read": {
    how: "ignores maxBytes",
    breaks: sessions((session) => ({ readFile: (path) => session.readFile(path) }))
  },
  "a maxBytes that is no number from 0, or that no memory can hold, is NotPermitted": {
    how: "takes any maxBytes",
    breaks: sessions((session) => ({ readFile: (path) => session.readFile(path) }))
  },
  "a name that is not UTF-8 is listed, read, written and removed, and no two names become one": {
    how: "shows all such bytes as one character",
    breaks: sessions((session) => ({
      list: (path, options) =>
        Effect.map(
          session.list(path, options),
          (entries) =>
            entries.map((entry) => ({ ...entry, path: entry.path.replaceAll(/\\x[89a-f][0-9a-f]/g, "\uFFFD") }))
        )
    }))
  },
  "a command starts in a directory whose name is not UTF-8": {
    how: "ignores cwd",
    breaks: sessions((session) => ({
      exec: (command, options) => session.exec(command, { ...options, cwd: undefined })
    }))
  },
  "a path is the same however its bytes are written, and no written byte leads out": {
    how: "takes what is written for the name",
    breaks: sessions((session) => ({
      readFile: (path, options) =>
        path.includes("\\x")
          ? refuse("readFile", new SandboxError.NotFound({ path }))
          : session.readFile(path, options)
    }))
  },
  "no path text leads out of the workspace": {
    how: "bends such a path back in",
    breaks: sessions((session) => ({
      list: (path, options) =>
        Effect.catchReason(session.list(path, options), "SandboxError", "OutsideWorkspace", () => session.list())
    }))
  },
  "paths are relative to the workspace, or absolute below root": {
    how: "takes no absolute path",
    breaks: sessions((session) => ({
      readFile: (path, options) =>
        path.startsWith("/")
          ? refuse("readFile", new SandboxError.OutsideWorkspace({ path }))
          : session.readFile(path, options)
    }))
  },
  "a listing is in order of path, says kinds and sizes, and goes deeper only when asked": {
    how: "lists in the order of the disk",
    breaks: sessions((session) => ({
      list: (path, options) => Effect.map(session.list(path, options), (entries) => entries.toReversed())
    }))
  },
  "remove takes a file, a directory only when asked, and nothing is no error": {
    how: "fails where there is nothing",
    breaks: sessions((session) => ({
      remove: (path, options) => Effect.andThen(session.readFile(path), session.remove(path, options))
    }))
  },
  "a link that leads out is OutsideWorkspace for every operation but its removal": {
    how: "follows every link",
    breaks: sessions((session) => ({
      readFile: (path, options) =>
        Effect.catchReason(
          session.readFile(path, options),
          "SandboxError",
          "OutsideWorkspace",
          () => Effect.sync(() => fs.readFileSync(inWorkspace(session, path)))
        )
    }))
  },
  "a link that stays inside is followed, listed as a link, and removed without what it leads to": {
    how: "removes what a link leads to",
    breaks: sessions((session) => ({
      remove: (path) => Effect.sync(() => fs.rmSync(fs.realpathSync(inWorkspace(session, path)), { recursive: true }))
    }))
  },
  "a fifo neither blocks nor is replaced": {
    how: "waits for the other end",
    breaks: sessions((session) => ({
      readFile: (path, options) =>
        Effect.catchReason(session.readFile(path, options), "SandboxError", "NotPermitted", () => Effect.never)
    }))
  },
  "a file that is replaced keeps its mode": {
    how: "makes a new file each time",
    breaks: sessions((session) => ({
      writeFile: (path, content) => Effect.andThen(session.remove(path), session.writeFile(path, content))
    }))
  },
  "a command line goes through the shell, a program's arguments go to it as they are": {
    how: "joins arguments with spaces",
    breaks: sessions((session) => ({
      exec: (command, options) => session.exec(typeof command === "string" ? command : command.join(" "), options)
    }))
  },
  "a signal's exit code is 128 and its number, and a program that is not there ends with 127": {
    how: "knows only success and failure",
    breaks: sessions((session) => ({
      exec: (command, options) =>
        Effect.map(session.exec(command, options), (result) => ({ ...result, exitCode: Math.min(1, result.exitCode) }))
    }))
  },
  "a command that cannot be is ExecFailed": {
    how: "passes off a command that never ran as one that failed",
    breaks: sessions((session) => ({
      exec: (command, options) =>
        Effect.catchReason(session.exec(command, options), "SandboxError", "ExecFailed", () => session.exec("exit 1"))
    }))
  },
  "a command or variables that are too much for the system are ExecFailed, with advice": {
    how: "repeats what the system said",
    breaks: sessions((session) => ({
      exec: (command, options) =>
        Effect.mapError(
          session.exec(command, options),
          ({ backend, operation }) =>
            new SandboxError.SandboxError({
              backend,
              operation,
              reason: new SandboxError.ExecFailed({ description: "spawn E2BIG" })
            })
        )
    }))
  },
  "stdin is what was given, or at its end": {
    how: "drops stdin",
    breaks: sessions((session) => ({
      exec: (command, options) => session.exec(command, { ...options, stdin: undefined })
    }))
  },
  "stdin, stdout and stderr can be opened by name": {
    how: "drops stderr",
    breaks: sessions((session) => ({
      exec: (command, options) => Effect.map(session.exec(command, options), (result) => ({ ...result, stderr: "" }))
    }))
  },
  "a command sees the manifest's variables, and its own, which win": {
    how: "drops the call's variables",
    breaks: sessions((session) => ({
      exec: (command, options) => session.exec(command, { ...options, environment: undefined })
    }))
  },
  "a command starts in the workspace, or in a directory of it": {
    how: "ignores cwd",
    breaks: sessions((session) => ({
      exec: (command, options) => session.exec(command, { ...options, cwd: undefined })
    }))
  },
  "commands and file operations see the same files": {
    how: "runs commands in another workspace",
    breaks: (sandbox) =>
      Effect.map(Effect.orDie(sandbox.create()), (other) => ({
        ...sandbox,
        create: (manifest, options) =>
          Effect.map(sandbox.create(manifest, options), (session) => ({ ...session, exec: other.exec }))
      }))
  },
  "after a timeout the result has the output so far, exit code 124, and no process is left": {
    how: "answers in time and lets the command run on",
    breaks: runningOn((_session, fork) => (command, options) =>
      Effect.map(
        Effect.timeoutOption(
          fork(command, { ...options, timeout: "1 minute" }),
          Duration.fromInputUnsafe(options?.timeout ?? "1 minute")
        ),
        Option.getOrElse(() => ({
          exitCode: 124,
          stdout: "before\n",
          stderr: "too\n",
          isTimedOut: true,
          isTruncated: false,
          durationMillis: 0
        }))
      )
    )
  },
  "when a command has ended, no process of it is left, and its whole output is there": {
    how: "leaves a process behind",
    breaks: (sandbox) =>
      Effect.flatMap(Effect.scope, (scope) =>
        sessions((session) => ({
          exec: (command, options) =>
            Effect.tap(
              session.exec(command, options),
              () => Effect.forkIn(session.exec("while :; do echo x >> beats; sleep 0.05; done"), scope)
            )
        }))(sandbox))
  },
  "interrupting a command kills its process tree": {
    how: "only stops waiting",
    breaks: runningOn((_session, fork) => fork)
  },
  "of too much output the first and the last part are kept, and a line says how much is missing": {
    how: "keeps everything",
    breaks: sessions((session) => ({
      exec: (command, options) => session.exec(command, { ...options, maxOutputBytes: undefined })
    }))
  },
  "output that is no UTF-8 is replaced, not refused": {
    how: "leaves such bytes out",
    breaks: sessions((session) => ({
      exec: (command, options) =>
        Effect.map(session.exec(command, options), (result) => ({
          ...result,
          stdout: result.stdout.replaceAll("\uFFFD", "")
        }))
    }))
  },
  "commands run at the same time without mixing": {
    how: "has one buffer for all",
    breaks: sessions((session) => {
      let buffer = ""
      return {
        exec: (command, options) =>
          Effect.map(session.exec(command, options), (result) => ({ ...result, stdout: buffer += result.stdout }))
      }
    })
  },
  "a workspace starts with the manifest's files, and two workspaces share nothing": {
    how: "has one workspace for all",
    breaks: (sandbox) => {
      let shared: Session | undefined
      return Effect.succeed({
        ...sandbox,
        create: (manifest, options) =>
          shared === undefined
            ? Effect.tap(sandbox.create(manifest, options), (session) =>
              Effect.sync(() => {
                shared = session
              }))
            : Effect.succeed(shared)
      })
    }
  },
  "a directory of this machine is copied without what is excluded, links left out, modes kept": {
    how: "copies what is excluded",
    breaks: sandboxes((sandbox) => ({
      create: (manifest = {}, options) =>
        sandbox.create({
          ...manifest,
          directories: (manifest.directories ?? []).map((directory) => ({ ...directory, exclude: [] }))
        }, options)
    }))
  },
  "a manifest that cannot be is InvalidManifest, and leaves nothing behind": {
    how: "leaves a half-made workspace",
    breaks: sandboxes((sandbox) => ({
      create: (manifest, options) =>
        Effect.onError(
          sandbox.create(manifest, options),
          () => Effect.sync(() => fs.mkdtempSync(path.join(subject.root, "left-")))
        )
    }))
  },
  "an interrupted creation leaves nothing behind": {
    how: "goes on with it in the background",
    breaks: (sandbox) =>
      Effect.map(Effect.scope, (scope) => ({
        ...sandbox,
        create: (manifest, options) =>
          Scope.provide(sandbox.create(manifest, options), scope).pipe(
            Effect.forkIn(scope),
            Effect.flatMap(Fiber.join)
          )
      }))
  },
  "when the scope closes the workspace is gone, and every member fails with Closed": {
    how: "has sessions that outlive their scope",
    breaks: detached
  },
  "when the scope closes, running commands are killed and fail with Closed": {
    how: "has sessions that outlive their scope",
    breaks: detached
  },
  "a kept workspace is found again with its files, as often as it is kept, and with its variables given anew": {
    how: "finds nothing again",
    breaks: sandboxes(() => ({ resume: () => Effect.succeed({ _tag: "Gone" }) }))
  },
  "a workspace that was lost is made anew from the manifest, with what was lost in words, or Gone": {
    how: "says nothing of what was lost",
    breaks: sandboxes((sandbox) => ({
      resume: (state, manifest, options) =>
        Effect.map(
          sandbox.resume(state, manifest, options),
          (found) => found._tag === "Recreated" ? { ...found, lost: "" } : found
        )
    }))
  },
  "a state that was tampered with finds nothing, and one of another backend is Unsupported": {
    how: "looks at the id only",
    breaks: sandboxes((sandbox) => ({
      resume: (state, manifest, options) =>
        sandbox.resume(
          { ...state, location: path.join(subject.root, `agent-layers-${state.id}`) },
          manifest,
          options
        )
    }))
  },
  "a state is JSON by its Schema, and holds no variable's value": {
    how: "writes the variables into the state",
    breaks: sandboxes((sandbox) => ({
      create: (manifest, options) =>
        Effect.map(sandbox.create(manifest, options), (session) => ({
          ...session,
          state: {
            ...session.state,
            location: `${session.state.location}?${Object.values(manifest?.environment ?? {})}`
          }
        }))
    }))
  },
  "an error says which backend and which operation": {
    how: "calls every operation the same",
    breaks: sessions((session) => ({
      readFile: (path, options) =>
        Effect.mapError(
          session.readFile(path, options),
          ({ backend, reason }) => new SandboxError.SandboxError({ backend, operation: "operation", reason })
        )
    }))
  },
  "the guarantees are those that were announced, of the sandbox and of its sessions": {
    how: "has sessions that claim more",
    breaks: sessions(() => ({ guarantees: claims }))
  },
  "fileSystem: commands neither see nor change a file of the host": claiming,
  "network: commands reach no service of the host": claiming,
  "environment: commands see no variable of the host process": {
    ...claiming,
    // Clean as the environment is, a process without walls finds that of its parent.
    subject: { ...claiming.subject, host: { ...subject.host, variable: { name: "PATH", value: process.env["PATH"]! } } }
  },
  "processes: commands see no process of the host": claiming,
  "network: commands open no socket that reaches around their network": {
    ...claiming,
    how: "claims network and lets a family of sockets out"
  },
  "kernel: no permission bit allows a write below /proc, and privileged system calls are refused": {
    ...claiming,
    how: "claims a read-only /proc that has writable bits"
  },
  "identity: commands are another user than the host process": claiming,
  "memory: a command's processes cannot take more than is allowed": claiming,
  "cpu: a command's processes cannot take more than is allowed": claiming
}

describe("each law of the sandbox is broken by a sandbox that", () => {
  it("shows each claim that can be made", () => {
    for (const claim of Object.keys(claims)) {
      assert.isTrue(SandboxLaws.all.some((law) => law.name.startsWith(`${claim}:`)), claim)
    }
  })

  it("has a double here", () => {
    assert.deepStrictEqual(Object.keys(doubles).toSorted(), SandboxLaws.all.map((law) => law.name).toSorted())
  })

  for (const law of SandboxLaws.all) {
    const double = doubles[law.name]
    if (double === undefined) continue
    it.live(`${double.how}: ${law.name}`, () =>
      Effect.gen(function*() {
        const outcome = yield* Laws.verify(law, {
          ...subject,
          open: Effect.flatMap(SandboxUnconfined.make({ root: subject.root }), double.breaks),
          ...double.subject
        }, { patience: "2 seconds" })
        assert.strictEqual(outcome._tag, "Broken", law.name)
        if (outcome._tag === "Broken") {
          assert.include(outcome.report, law.name)
          assert.match(outcome.report, /expected:/)
        }
      }), { timeout: 30_000 })
  }
})
