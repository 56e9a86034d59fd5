import type { SandboxSubject } from "agent-layers/services/laws/SandboxLaws"
import type { Guarantees, Sandbox } from "agent-layers/services/Sandbox"
import type { SandboxError } from "agent-layers/services/SandboxError"
import { Effect } from "effect"
import { execFileSync, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll } from "vitest"

/** A directory that is there while the tests around it run. Where all of them are skipped, it never is. */
export const temporary = (name: string): string => {
  const directory = path.join(fs.realpathSync(os.tmpdir()), `sandbox-test-${name}-${randomUUID().slice(0, 8)}`)
  beforeAll(() => {
    // Commands of root's programs are another user, who passes through.
    fs.mkdirSync(directory, { mode: 0o711 })
  })
  afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))
  return directory
}

const isThere = (program: string): boolean => {
  try {
    execFileSync("/bin/sh", ["-c", `command -v ${program}`], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

/** Services of this machine, and command lines that reach them. */
const services = (name: string) => {
  const connect: Array<string> = []
  const servers: Array<net.Server> = []
  const listen = (server: net.Server, where: number | string) =>
    new Promise<void>((resolve) => {
      servers.push(server)
      if (typeof where === "number") server.listen(where, "127.0.0.1", () => resolve())
      else server.listen(where, () => resolve())
    })
  beforeAll(async () => {
    const greet = () => net.createServer((socket) => socket.on("error", () => {}).end("hello"))
    const tcp = greet()
    await listen(tcp, 0)
    const { port } = tcp.address() as net.AddressInfo
    if (isThere("bash")) connect.push(`bash -c 'exec 3<> /dev/tcp/127.0.0.1/${port}'`)
    if (process.platform === "linux" && isThere("perl")) {
      const address = `agent-layers-test-${process.pid}-${name}`
      await listen(greet(), `\0${address}`)
      connect.push(
        `perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0) or exit 9; ` +
          `connect(S, pack_sockaddr_un("\\0${address}")) or exit 8'`
      )
    }
  })
  afterAll(() => {
    for (const server of servers) server.close()
  })
  return connect
}

const hasPerl = process.platform === "linux" && isThere("perl")

const perl = (script: string) => `perl -MErrno -MSocket -e '${script}'`

/** Opens sockets of families that belong to no network namespace, or need none: AF_VSOCK, AF_ALG, AF_BLUETOOTH, AF_CAN. */
export const openSocket: ReadonlyArray<string> | undefined = hasPerl
  ? [40, 38, 31, 29].map((family) =>
    perl(`socket(S, ${family}, SOCK_RAW, 0) or socket(S, ${family}, SOCK_STREAM, 0) or exit 9`)
  )
  : undefined

/** Numbers of system calls, of which the kernel says something else than EPERM to such arguments where it takes them. */
const numbers = {
  keyctl: { x64: 250, arm64: 219 },
  bpf: { x64: 321, arm64: 280 },
  userfaultfd: { x64: 323, arm64: 282 },
  io_uring_setup: { x64: 425, arm64: 425 },
  setns: { x64: 308, arm64: 268 },
  unshare: { x64: 272, arm64: 97 }
}

export const systemCalls: ReadonlyArray<string> | undefined =
  hasPerl && (process.arch === "x64" || process.arch === "arm64")
    ? Object.values(numbers).map((one) =>
      perl(`syscall(${one[process.arch as "x64" | "arm64"]}, 0x3fffffff, 0, 0, 0, 0); exit($!{EPERM} ? 9 : 0)`)
    )
    : undefined

const sourceDirectory = (root: string) =>
  Effect.sync(() => {
    const directory = fs.mkdtempSync(path.join(root, "source-"))
    fs.mkdirSync(path.join(directory, "sub"))
    fs.mkdirSync(path.join(directory, ".git"))
    fs.writeFileSync(path.join(directory, "one.txt"), "one")
    fs.writeFileSync(path.join(directory, "run.sh"), "#!/bin/sh\n", { mode: 0o755 })
    fs.writeFileSync(path.join(directory, "sub/two.txt"), "two")
    fs.writeFileSync(path.join(directory, "sub/key.pem"), "secret")
    fs.writeFileSync(path.join(directory, ".git/config"), "x")
    fs.symlinkSync("one.txt", path.join(directory, "link"))
    return directory
  })

/** What laws are run over, for a layer that keeps workspaces in a directory of this machine. */
export const localSubject = (
  name: string,
  guarantees: Guarantees,
  make: (root: string) => Effect.Effect<Sandbox["Service"], SandboxError>
): SandboxSubject & { readonly root: string } => {
  const scratch = temporary(name)
  const root = path.join(scratch, "root")
  const file = path.join(scratch, "secret.txt")
  const variable = { name: "AGENT_LAYERS_TEST_VARIABLE", value: "host-variable-value" }
  beforeAll(() => {
    fs.writeFileSync(file, "host-file-content")
    process.env[variable.name] = variable.value
  })
  return {
    root,
    open: make(root),
    guarantees,
    workspaces: Effect.sync(() => fs.existsSync(root) ? fs.readdirSync(root).length : 0),
    lose: (state) => Effect.sync(() => fs.rmSync(state.location, { recursive: true })),
    directory: sourceDirectory(scratch),
    host: {
      file: { path: file, content: "host-file-content" },
      variable,
      pid: process.pid,
      connect: services(name),
      openSocket,
      systemCalls,
      identity: {
        user: process.geteuid!(),
        ownerOf: (state, file) => Effect.sync(() => fs.statSync(path.join(state.location, "workspace", file)).uid)
      }
    }
  }
}

const hostProgram = fileURLToPath(new URL("host.ts", import.meta.url))

/**
 * Runs a command in a sandbox of another process, which has the scratch directory open as descriptor 20. Gives what it
 * printed; where it does not wait for the command, it is killed as soon as that runs, and what it printed is where the
 * workspace lies.
 */
export const childOfHost = (backend: string, root: string, command: string, waits: boolean): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const scratch = path.dirname(root)
    fs.writeFileSync(path.join(scratch, "secret.txt"), "host-file-content")
    const directory = fs.openSync(scratch, fs.constants.O_RDONLY)
    const child = spawn(
      process.execPath,
      [
        ...["--conditions=agent-layers:source", "--no-warnings", hostProgram],
        ...[backend, root, command, waits ? "waits" : "runs on"]
      ],
      { stdio: ["ignore", "pipe", "inherit", ...Array.from({ length: 17 }, () => "ignore" as const), directory] }
    )
    fs.closeSync(directory)
    let out = ""
    child.stdout!.on("data", (chunk: Buffer) => {
      out += chunk.toString()
      if (!waits) child.kill("SIGKILL")
    })
    child.once("close", () => resume(Effect.succeed(out)))
    return Effect.sync(() => child.kill("SIGKILL"))
  })
