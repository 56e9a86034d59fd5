// @effect-diagnostics nodeBuiltinImport:off
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as childProcess from "node:child_process"
import * as crypto from "node:crypto"
import * as Secrets from "../../../services/internal/secrets.ts"
import type { McpConnection } from "../../../services/McpServer.ts"
import { McpError } from "../../../services/McpServer.ts"
import type { Wire } from "./connection.ts"
import { make as makeConnection } from "./connection.ts"
import type { ConnectionOptions } from "./options.ts"
import * as processes from "./processes.ts"
import type { JSONRPCMessage, Transport } from "./sdk.ts"
import { load } from "./sdk.ts"
import { pause } from "./time.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface StdioOptions extends ConnectionOptions {
  /** The program, as a path or a name that is looked for in `PATH`. No shell looks at it. */
  readonly command: string
  readonly args?: ReadonlyArray<string> | undefined
  /**
   * Variables for the server, beside the few that every program needs: `HOME`, `LOGNAME`, `PATH`, `SHELL`, `TERM` and `USER`
   * (on Windows those of the same purpose). No other variable of this process is passed on. Errors and logs hold no redacted
   * value and no part of one, such as the password in an address.
   */
  readonly env?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
  /** @default the directory of this process */
  readonly cwd?: string | undefined
  /**
   * How long the server has to leave when its input ends, and then when it is told to by SIGTERM, before it is killed.
   * @default "2 seconds"
   */
  readonly killAfter?: Duration.Input | undefined
  /**
   * A longer message of the server ends the connection.
   * @default 16777216 (16 MiB)
   */
  readonly maxMessageBytes?: number | undefined
}

const maxStderr = 4096
const maxLines = 20

/** How long output is waited for that somebody else may be holding the other end of. */
const drainMillis = 500

interface Child {
  readonly process: childProcess.ChildProcess
  readonly mark: string
  /** Its output has ended too. */
  readonly closed: Deferred.Deferred<void>
  readonly exited: Deferred.Deferred<void>
  /** How it ended, or how it is doing, for a person to read. */
  readonly describe: () => string | undefined
  readonly transport: Transport
}

const lastLines = (text: string): string => text.trimEnd().split("\n").slice(-maxLines).join("\n")

const brief = (line: string): string => line.length > 200 ? `${line.slice(0, 200)}…` : line

const start = (
  options: StdioOptions,
  deserialize: (line: string) => JSONRPCMessage,
  inherited: Readonly<Record<string, string>>,
  secrets: Secrets.Secrets
): Effect.Effect<Child, string> =>
  Effect.callback((resume) => {
    const mark = `AGENT_LAYERS_MCP=${crypto.randomUUID()}`
    const env: Record<string, string> = { ...inherited }
    for (const [name, value] of Object.entries(options.env ?? {})) {
      env[name] = Redacted.isRedacted(value) ? Redacted.value(value) : value
    }
    env["AGENT_LAYERS_MCP"] = mark.slice(mark.indexOf("=") + 1)

    let child: childProcess.ChildProcess
    try {
      child = childProcess.spawn(options.command, [...options.args ?? []], {
        env,
        stdio: ["pipe", "pipe", "pipe"],
        windowsHide: true,
        // A group of its own: it can be ended whole, and what is typed at this terminal is for this process alone.
        detached: process.platform !== "win32",
        ...(options.cwd === undefined ? {} : { cwd: options.cwd })
      })
    } catch (cause) {
      return resume(Effect.fail(cause instanceof Error ? cause.message : String(cause)))
    }

    const maxMessage = options.maxMessageBytes ?? 16 * 1024 * 1024
    const closed = Deferred.makeUnsafe<void>()
    const exited = Deferred.makeUnsafe<void>()
    let stderr = ""
    let junk: string | undefined
    let problem: string | undefined
    let ending: string | undefined

    const kill = () => processes.killGroup(child)
    const fatal = (text: string) => {
      problem ??= text
      kill()
    }

    const transport: Transport = {
      start: () => Promise.resolve(),
      send: (message) => {
        if (child.exitCode !== null || child.signalCode !== null || child.stdin?.writable !== true) {
          return Promise.reject(new Error("Not connected"))
        }
        child.stdin.write(`${JSON.stringify(message)}\n`)
        return Promise.resolve()
      },
      close: () => {
        child.stdin?.end()
        transport.onclose?.()
        return Promise.resolve()
      }
    }

    const receive = (line: string) => {
      if (line.trim() === "") return
      let message: JSONRPCMessage
      try {
        message = deserialize(line)
      } catch {
        // Servers that log to stdout: the rest may still be of use.
        junk = brief(secrets.scrub(line))
        return
      }
      transport.onmessage?.(message)
    }

    let parts: Array<Buffer> = []
    let length = 0
    child.stdout?.on("data", (chunk: Buffer) => {
      let from = 0
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
        parts.push(chunk.subarray(from, at))
        from = at + 1
        const line = Buffer.concat(parts).toString("utf8")
        parts = []
        length = 0
        receive(line)
      }
      if (from === chunk.length) return
      parts.push(chunk.subarray(from))
      length += chunk.length - from
      if (length > maxMessage) {
        parts = []
        length = 0
        fatal(`it sent a message of more than ${maxMessage} bytes (option maxMessageBytes)`)
      }
    })
    child.stderr?.setEncoding("utf8")
    child.stderr?.on("data", (text: string) => {
      stderr = (stderr + text).slice(-maxStderr)
    })
    child.stdout?.on("error", () => {})
    child.stderr?.on("error", () => {})
    child.stdin?.on("error", (error) => {
      if (child.exitCode === null && child.signalCode === null) fatal(`it does not read its input (${error.message})`)
    })
    child.once("exit", (code, signal) => {
      ending = signal === null ? `exited with code ${code}` : `was ended by ${signal}`
      Deferred.doneUnsafe(exited, Effect.void)
      processes.killGroup(child)
      void Effect.runPromise(Effect.raceFirst(Deferred.await(closed), pause(drainMillis))).then(() => {
        child.stdout?.destroy()
        child.stderr?.destroy()
      })
    })
    child.once("close", () => {
      Deferred.doneUnsafe(closed, Effect.void)
      transport.onclose?.()
    })
    child.once("error", (error) => {
      if (child.pid === undefined) resume(Effect.fail(error.message))
    })
    child.once("spawn", () =>
      resume(Effect.succeed({
        process: child,
        mark,
        closed,
        exited,
        transport,
        describe: () => {
          const said = [
            ending === undefined
              ? problem
              : `the server${problem === undefined ? "" : ` was killed: ${problem}; it`} ${ending}`,
            stderr.trim() === "" ? undefined : `stderr ended with:\n${lastLines(secrets.scrubCut(stderr))}`,
            junk === undefined ? undefined : `it wrote to stdout what is no message of MCP: ${junk}`
          ].filter((part) => part !== undefined)
          return said.length === 0 ? undefined : said.join("; ")
        }
      })))
  })

/** First its input ends, then it is asked to go, then all of it is killed. */
const end = (child: Child, killAfter: number): Effect.Effect<void> =>
  Effect.gen(function*() {
    const hasGone = () => Deferred.isDoneUnsafe(child.exited)
    const wait = Effect.raceFirst(Deferred.await(child.exited), pause(killAfter))
    if (!hasGone()) {
      child.process.stdin?.end()
      yield* wait
    }
    if (!hasGone()) {
      processes.terminate(child.process)
      yield* wait
    }
    yield* processes.killAll(child.process, child.mark, hasGone)
    yield* Deferred.await(child.closed)
  })

/** A server in a child process, for as long as the Scope lasts. */
export const make = (
  server: string,
  options: StdioOptions
): Effect.Effect<McpConnection, McpError, Scope.Scope> => {
  const secrets = Secrets.make(Object.values(options.env ?? {}).filter(Redacted.isRedacted))
  const { scrub } = secrets
  const failed = (description: string) =>
    new McpError({ server, operation: "connect", reason: "Unavailable", description: scrub(description) })
  const open: Effect.Effect<Wire, McpError, Scope.Scope> = Effect.gen(function*() {
    const sdk = yield* load(server, () =>
      Promise.all([
        import("@modelcontextprotocol/sdk/shared/stdio.js"),
        import("@modelcontextprotocol/sdk/client/stdio.js")
      ]).then(([shared, client]) => ({
        deserialize: shared.deserializeMessage,
        environment: client.getDefaultEnvironment
      })))
    const killAfter = Duration.toMillis(Duration.fromInputUnsafe(options.killAfter ?? "2 seconds"))
    const child = yield* Effect.acquireRelease(
      Effect.mapError(
        start(options, sdk.deserialize, sdk.environment(), secrets),
        (why) => failed(`${options.command} could not be started: ${why}`)
      ),
      (child) => end(child, killAfter)
    )
    return { transport: child.transport, describe: child.describe }
  })
  return makeConnection(server, { open, scrub }, options)
}
