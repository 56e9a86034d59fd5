// @effect-diagnostics nodeBuiltinImport:off
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import type { Readable, Writable } from "node:stream"
import * as timers from "node:timers/promises"
import * as SandboxError from "../../../services/SandboxError.ts"
import { adviseOnLength } from "./commandLength.ts"
import { codeOf } from "./confined.ts"
import type { Pipe, Pipes } from "./pipes.ts"

export interface Program {
  readonly file: string
  readonly arguments: ReadonlyArray<string>
  /** All of it: nothing is taken from this process. */
  readonly environment: Readonly<Record<string, string>>
  readonly cwd: string
  /** A descriptor to read from; absent: nothing to read. */
  readonly stdin: number | undefined
  /** The contents of descriptors 4, 5, …. If given, the program writes its `status` to descriptor 3. */
  readonly inputs?: ReadonlyArray<Uint8Array> | undefined
  /** The user and group that it runs as, without supplementary groups. Absent: those of this process. */
  readonly owner?: number | undefined
}

export interface Running {
  readonly pid: number
  /** Whether it is over and waited for, so that its pid may be anybody's. */
  readonly hasExited: () => boolean
  readonly status: () => string
  /** Done when it can write no more of its status. */
  readonly statusEnded: Deferred.Deferred<void>
  readonly kill: () => void
}

export interface Exited {
  /** 128 plus the signal's number where a signal ended it. */
  readonly exitCode: number
  readonly status: string
}

const maxStatus = 64 * 1024

/** How long output is waited for after every known process is gone: somebody unknown may hold the other end. */
const drains = 10
const drainMillis = 50

/** Real time, also where the program runs under a test clock: what is waited for is a process. */
export const pause = (millis: number): Effect.Effect<void> =>
  Effect.promise((signal) => timers.setTimeout(millis, undefined, { signal }).catch(() => {}))

/**
 * Descriptors that this process was started with and would pass on: Node closes its own to children, not all that it
 * inherited. Through a directory among them a command would leave its sandbox.
 */
const findInherited = (): ReadonlyArray<number> => {
  if (process.platform !== "linux") return []
  const found: Array<number> = []
  for (const name of fs.readdirSync("/proc/self/fd")) {
    if (Number(name) <= 2) continue
    try {
      const flags = /^flags:\s*([0-7]+)/m.exec(fs.readFileSync(`/proc/self/fdinfo/${name}`, "latin1"))
      if (flags !== null && (Number.parseInt(flags[1]!, 8) & 0o2000000) === 0) found.push(Number(name))
    } catch {
      continue
    }
  }
  return found
}

let inherited: ReadonlyArray<number> | undefined

const startFailed = (file: string, cause: unknown) =>
  new SandboxError.ExecFailed({
    description: codeOf(cause) === "E2BIG"
      ? `The command and its variables are too long. ${adviseOnLength}`
      : `${file} could not be started: ${cause instanceof Error ? cause.message : String(cause)}`,
    cause
  })

interface Started extends Running {
  readonly exited: Deferred.Deferred<number>
  readonly drained: Deferred.Deferred<void>
  readonly destroy: () => void
}

const signalNumber = (signal: NodeJS.Signals): number => os.constants.signals[signal] ?? 0

const start = (
  program: Program,
  pipes: { readonly stdout: Pipe; readonly stderr: Pipe },
  onOutput: (from: "stdout" | "stderr", chunk: Uint8Array) => void
): Effect.Effect<Started, SandboxError.ExecFailed> =>
  Effect.callback((resume) => {
    const { inputs = [] } = program
    const isPiped = program.inputs !== undefined
    const nothing = fs.openSync("/dev/null", "r+")
    const stdio: Array<"pipe" | "ignore" | number> = [
      program.stdin ?? "ignore",
      pipes.stdout.write,
      pipes.stderr.write,
      ...(isPiped ? ["pipe" as const] : []),
      ...inputs.map(() => "pipe" as const)
    ]
    inherited ??= findInherited()
    for (const fd of inherited) {
      while (stdio.length <= fd) stdio.push("ignore")
      if (stdio[fd] === "ignore") stdio[fd] = nothing
    }
    const exited = Deferred.makeUnsafe<number>()
    const drained = Deferred.makeUnsafe<void>()
    const statusEnded = Deferred.makeUnsafe<void>()
    const fail = (cause: unknown) => resume(Effect.fail(startFailed(program.file, cause)))
    let child: childProcess.ChildProcess
    try {
      child = childProcess.spawn(program.file, program.arguments, {
        cwd: program.cwd,
        env: program.environment,
        stdio,
        ...(program.owner === undefined ? {} : { uid: program.owner, gid: program.owner }),
        // A session of its own: what is typed at this terminal is for this process alone, which then ends its commands.
        detached: true
      })
    } catch (cause) {
      fs.closeSync(pipes.stdout.read)
      fs.closeSync(pipes.stderr.read)
      return fail(cause)
    } finally {
      fs.closeSync(nothing)
    }
    let hasExited = false
    let status = ""
    const readers = (["stdout", "stderr"] as const).map((from) => {
      const socket = new net.Socket({ fd: pipes[from].read, readable: true, writable: false })
      socket.on("data", (chunk: Uint8Array) => onOutput(from, chunk))
      return socket as Readable
    })
    if (isPiped) {
      inputs.forEach((content, index) => {
        const input = child.stdio[4 + index] as Writable
        input.on("error", () => {})
        input.end(content)
      })
      const output = child.stdio[3] as Readable
      output.setEncoding("utf8")
      output.on("data", (text: string) => {
        if (status.length < maxStatus) status += text
      })
      output.once("close", () => Deferred.doneUnsafe(statusEnded, Effect.void))
      readers.push(output)
    }
    let open = readers.length
    for (const reader of readers) {
      reader.on("error", () => {})
      reader.once("close", () => {
        if (--open === 0) Deferred.doneUnsafe(drained, Effect.void)
      })
    }
    child.once("exit", (code, signal) => {
      hasExited = true
      Deferred.doneUnsafe(exited, Effect.succeed(signal === null ? code ?? 0 : 128 + signalNumber(signal)))
    })
    child.on("error", (cause) => {
      // A program that never ran writes nothing; without this, its readers would wait for ever.
      if (child.pid === undefined) { for (const reader of readers) reader.destroy() }
      fail(cause)
    })
    child.once("spawn", () =>
      resume(Effect.succeed({
        pid: child.pid!,
        hasExited: () => hasExited,
        status: () => status,
        statusEnded,
        kill: () => child.kill("SIGKILL"),
        exited,
        drained,
        destroy: () => {
          for (const reader of readers) reader.destroy()
        }
      })))
  })

/** Reads what is left in the pipes. A turn of the event loop reads at most what a pipe holds, so time alone is no measure. */
const drain = (started: Started): Effect.Effect<void> =>
  Effect.gen(function*() {
    for (let turn = 0; turn < drains && !Deferred.isDoneUnsafe(started.drained); turn++) {
      yield* Effect.raceFirst(Deferred.await(started.drained), pause(drainMillis))
    }
    started.destroy()
    yield* Deferred.await(started.drained)
  })

/**
 * Runs a program to its end. Then, or when interrupted, `end` has to see that no process of it is left; after that all
 * output is handed on.
 */
export const execute = (
  program: Program,
  pipes: Pipes,
  onOutput: (from: "stdout" | "stderr", chunk: Uint8Array) => void,
  end: (running: Running) => Effect.Effect<void>
): Effect.Effect<Exited, SandboxError.ExecFailed> =>
  Effect.suspend(() => {
    let status = () => ""
    const acquire = Effect.gen(function*() {
      const stdout = yield* pipes.take
      const stderr = yield* Effect.onError(pipes.take, () =>
        Effect.sync(() => {
          fs.closeSync(stdout.read)
          fs.closeSync(stdout.write)
        }))
      const started = yield* Effect.ensuring(
        start(program, { stdout, stderr }, onOutput),
        Effect.sync(() => {
          fs.closeSync(stdout.write)
          fs.closeSync(stderr.write)
        })
      )
      status = started.status
      return started
    })
    return Effect.acquireUseRelease(
      acquire,
      (started) => Deferred.await(started.exited),
      (started) => end(started).pipe(Effect.andThen(Deferred.await(started.exited)), Effect.andThen(drain(started)))
    ).pipe(Effect.map((exitCode) => ({ exitCode, status: status() })))
  })
