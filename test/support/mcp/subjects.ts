/** What the laws are run over: the laws' server by each transport. */
import * as McpHttp from "agent-layers/layers/mcp/McpHttp"
import * as McpInProcess from "agent-layers/layers/mcp/McpInProcess"
import * as McpSse from "agent-layers/layers/mcp/McpSse"
import * as McpStdio from "agent-layers/layers/mcp/McpStdio"
import type { McpServerSubject } from "agent-layers/services/laws/McpServerLaws"
import { Effect, Exit, Scope } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll } from "vitest"
import { lawServer, type LawState, lawState } from "./lawServer.ts"
import { mcpPeer, type Peer, type PeerOptions } from "./McpPeer.ts"

export const lawServerFile = fileURLToPath(new URL("./lawServerStdio.ts", import.meta.url))

export const lawServerArgs = ["--conditions=agent-layers:source", "--no-warnings", lawServerFile]

/** Processes of this machine whose command line has a word. */
export const processesWith = (word: string): ReadonlyArray<number> =>
  readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
      return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2)) &&
        readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(word)
    } catch {
      return false
    }
  })

/** Children with a word of their own, so that test files that run at the same time do not count each other's. */
export const stdioSubject = (word: string): McpServerSubject => {
  const pids = () => processesWith(word)
  const seen = new Set<number>()
  const look = () => {
    for (const pid of pids()) seen.add(pid)
    return seen.size
  }
  return {
    open: McpStdio.make("law", { command: process.execPath, args: [...lawServerArgs, word] }),
    drop: Effect.sync(() => {
      look()
      for (const pid of pids()) process.kill(pid, "SIGKILL")
    }),
    connections: Effect.sync(() => pids().length),
    connected: Effect.sync(look)
  }
}

/** A peer for the tests of a file. */
const peerOf = (options: Partial<PeerOptions> = {}): () => Peer => {
  let peer: Peer | undefined
  const scope = Scope.makeUnsafe()
  const state = lawState()
  beforeAll(async () => {
    peer = await Effect.runPromise(
      Scope.provide(mcpPeer({ server: () => lawServer(state), ...options }), scope)
    )
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  return () => peer!
}

const webSubject = (peer: () => Peer, open: (peer: Peer) => McpServerSubject["open"]): McpServerSubject => ({
  open: Effect.suspend(() => open(peer())),
  drop: Effect.sync(() => peer().drop()),
  connections: Effect.sync(() => peer().connections()),
  connected: Effect.sync(() => peer().connected())
})

export const httpSubject = (options?: Partial<PeerOptions>): McpServerSubject =>
  webSubject(peerOf(options), (peer) => McpHttp.make("law", { url: peer.url }))

export const sseSubject = (): McpServerSubject =>
  webSubject(peerOf(), (peer) => McpSse.make("law", { url: peer.sseUrl }))

/** A server of the SDK in this process. */
export const sdkSubject = (state: LawState = lawState()): McpServerSubject => {
  let connected = 0
  return {
    open: McpInProcess.make("law", {
      server: () => {
        connected++
        return lawServer(state)
      }
    }),
    drop: Effect.promise(() => Promise.all([...state.servers].map((server) => server.close()))),
    connections: Effect.sync(() => state.servers.size),
    connected: Effect.sync(() => connected)
  }
}
