/** `@modelcontextprotocol/server-everything` behind HTTP, as a process of its own. */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import * as net from "node:net"
import { fileURLToPath } from "node:url"

const file = fileURLToPath(import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js"))

export const freePort = () =>
  new Promise<number>((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resolve(port))
    })
  })

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
    Effect.promise(async () => {
      const port = await freePort()
      const child = spawn(process.execPath, [file, transport], {
        env: { PATH: process.env["PATH"], PORT: String(port) },
        stdio: "ignore"
      })
      for (let turn = 0; turn < 200 && !(await answers(port)); turn++) {
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      return { child, port }
    }),
    ({ child }) =>
      Effect.promise(() =>
        new Promise<void>((resolve) => {
          child.once("exit", () => resolve())
          child.kill("SIGKILL")
        })
      )
  )
