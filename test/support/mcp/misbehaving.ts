/** A server on bare JSON-RPC that does what its first argument says. */
import { spawn } from "node:child_process"
import * as readline from "node:readline"

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: {
    readonly name?: string
    readonly cursor?: string
    readonly _meta?: { readonly progressToken?: number }
  }
}

const mode = process.argv[2] ?? ""
const write = (message: unknown) => process.stdout.write(`${JSON.stringify(message)}\n`)
const tool = (name: string) => ({ name, inputSchema: { type: "object" } })
let cancelled = 0

const answer = (message: Message): unknown => {
  const { method, params } = message
  switch (method) {
    case "initialize":
      return {
        protocolVersion: mode === "version" ? "1999-01-01" : "2025-06-18",
        capabilities: mode === "no-tools" ? {} : { tools: {} },
        serverInfo: { name: mode, version: "1" }
      }
    case "tools/list":
      if (mode === "mute-list") return undefined
      if (mode === "loop") return { tools: [tool("a")], nextCursor: "again" }
      if (mode === "endless") return { tools: [tool("a")], nextCursor: String(Number(params?.cursor ?? 0) + 1) }
      if (mode === "not-a-list") return { tools: "none" }
      if (mode === "bad-tools") {
        return {
          tools: [tool("good"), { name: "bad" }, { name: "worse", inputSchema: { type: "array" } }, 5, tool("fine")]
        }
      }
      return { tools: [tool("go"), tool("wait"), tool("count")] }
    case "tools/call":
      if (mode === "not-a-result") return { content: 5 }
      if (mode === "die") {
        process.stderr.write("the disk is full\n", () => process.exit(7))
        return undefined
      }
      if (mode === "close-input") {
        process.stdin.destroy()
        return undefined
      }
      if (params?.name === "wait") return undefined
      if (params?.name === "count") return { content: [{ type: "text", text: String(cancelled) }] }
      if (mode === "progress") {
        let count = 0
        const timer = setInterval(() => {
          count++
          const progressToken = params?._meta?.progressToken
          if (progressToken !== undefined) {
            write({ jsonrpc: "2.0", method: "notifications/progress", params: { progressToken, progress: count } })
          }
          if (count < 10) return
          clearInterval(timer)
          write({ jsonrpc: "2.0", id: message.id, result: { content: [{ type: "text", text: "at last" }] } })
        }, 250)
        return undefined
      }
      return { content: [{ type: "text", text: "gone" }] }
    default:
      return {}
  }
}

const receive = (line: string) => {
  const message = JSON.parse(line) as Message
  if (message.method === "notifications/cancelled") cancelled++
  if (message.id === undefined || mode === "mute") return
  if (mode === "refuse" && message.method === "tools/call") {
    write({ jsonrpc: "2.0", id: message.id, error: { code: -32602, message: "go takes a number" } })
    return
  }
  const result = answer(message)
  if (result !== undefined) write({ jsonrpc: "2.0", id: message.id, result })
}

switch (mode) {
  case "exit":
    process.stderr.write("cannot open the database with hunter2-secret\n", () => process.exit(3))
    break
  case "garbage":
    process.stdout.write("Server is starting...\n\n{\"not\": \"rpc\"}\n\u0000\u00ff\n[1,2\n")
    break
  case "junk-only":
    process.stdout.write("Listening on port 3000\n")
    break
  case "huge":
    process.stdout.write("x".repeat(3_000_000))
    break
  case "stderr":
    for (let line = 0; line < 200_000; line++) process.stderr.write(`line ${line} ${"e".repeat(100)}\n`)
    break
  case "stubborn": {
    process.on("SIGTERM", () => {})
    const args = ["-e", "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)", process.argv[3] ?? ""]
    spawn(process.execPath, args, { stdio: "ignore" })
    spawn(process.execPath, args, { stdio: "inherit", detached: true })
    setInterval(() => {}, 1000)
    break
  }
}

if (mode !== "exit" && mode !== "junk-only") {
  readline.createInterface({ input: process.stdin }).on("line", receive)
} else setInterval(() => {}, 1000)
