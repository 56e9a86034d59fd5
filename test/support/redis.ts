/** A Redis of a test file: real, on the loopback, with a folder of its own. */
import { Effect, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { freePort } from "./freePort.ts"
import { requires } from "./requires.ts"
import { until } from "./until.ts"

export interface RedisServer {
  readonly port: number
  readonly url: string
  readonly process: () => ChildProcess
  /** Writes its data and ends. */
  readonly stop: Effect.Effect<void>
  /** Ends at once. What was answered is in its log of commands. */
  readonly kill: Effect.Effect<void>
  readonly start: Effect.Effect<void>
}

/** Whether the server takes commands. NOAUTH is an answer too, LOADING is none yet. */
const answers = (port: number): Effect.Effect<boolean> =>
  Effect.promise(() =>
    new Promise<boolean>((resolve) => {
      const socket = net.connect(port, "127.0.0.1", () => socket.write("PING\r\n"))
      const end = (isUp: boolean) => {
        socket.destroy()
        resolve(isUp)
      }
      socket.setTimeout(1_000, () => end(false))
      socket.once("data", (data) => end(/PONG|NOAUTH/.test(String(data))))
      socket.once("error", () => end(false))
    })
  )

/** Starts a server; it is killed, and its folder removed, when the scope closes. */
export const startRedis = (flags: ReadonlyArray<string> = []): Effect.Effect<RedisServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const port = yield* freePort
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-redis-"))),
      (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
    )
    let current: ChildProcess | undefined
    const end = (signal: NodeJS.Signals) =>
      Effect.promise(async () => {
        const child = current
        current = undefined
        if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
        const exit = once(child, "exit")
        child.kill("SIGCONT")
        child.kill(signal)
        await exit
      })
    const start = Effect.sync(() => {
      current = spawn(
        requires("redis-server").path,
        ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "yes", ...flags],
        { stdio: "ignore" }
      )
    }).pipe(
      Effect.andThen(until(answers(port), (isUp) => isUp)),
      Effect.asVoid
    )
    yield* Effect.acquireRelease(start, () => end("SIGKILL"))
    return {
      port,
      url: `redis://127.0.0.1:${port}`,
      process: () => current!,
      stop: end("SIGTERM"),
      kill: end("SIGKILL"),
      start
    }
  })
