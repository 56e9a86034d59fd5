/** `@modelcontextprotocol/server-everything` behind HTTP, as a process of its own. */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import * as net from "node:net"
import { fileURLToPath } from "node:url"
import { freePort } from "../freePort.ts"
import { until } from "../until.ts"

const file = fileURLToPath(import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js"))

const answers = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = net.connect(port, "127.0.0.1")
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", () => resolve(false))
  })

export const everything = (transport: "streamableHttp" | "sse") =>
  Effect.acquireRelease(
    Effect.gen(function*() {
      const port = yield* freePort
      const child = spawn(process.execPath, [file, transport], {
        env: { PATH: process.env["PATH"], PORT: String(port) },
        stdio: "ignore"
      })
      return { child, port }
    }),
    ({ child }) =>
      Effect.promise(() =>
        new Promise<void>((resolve) => {
          child.once("exit", () => resolve())
          child.kill("SIGKILL")
        })
      )
  ).pipe(Effect.tap(({ port }) => until(() => answers(port), (isUp) => isUp)))
