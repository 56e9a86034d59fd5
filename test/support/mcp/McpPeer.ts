/** SDK servers behind real HTTP on this machine: `/mcp` is streamable HTTP, `/sse` the transport before it. */
import type { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { SSEServerTransport } from "@modelcontextprotocol/sdk/server/sse.js"
import { type EventStore, StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import * as http from "node:http"
import type { AddressInfo, Socket } from "node:net"

export interface PeerOptions {
  readonly server: () => Server
  /** With it, streams can be resumed. */
  readonly eventStore?: (() => EventStore) | undefined
  /** Answers a request itself where it gives true. */
  readonly intercept?: ((request: http.IncomingMessage, response: http.ServerResponse) => boolean) | undefined
  /** Streams of events, or JSON as it is. */
  readonly isJson?: boolean | undefined
  readonly port?: number | undefined
}

export interface Peer {
  readonly url: string
  readonly sseUrl: string
  readonly requests: Array<
    { readonly method: string; readonly path: string; readonly headers: http.IncomingHttpHeaders }
  >
  /** Sessions and streams that are there now. */
  readonly connections: () => number
  /** Sessions and streams that were begun so far. */
  readonly connected: () => number
  readonly sockets: () => number
  /** Requests whose response has not ended. */
  readonly active: () => number
  /** Forgets every session and cuts every connection. */
  readonly drop: () => void
  /** Cuts every connection and keeps the sessions. */
  readonly cut: () => void
}

const listen = (server: http.Server, port: number): Promise<number> =>
  new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => resolve((server.address() as AddressInfo).port))
  })

export const mcpPeer = (options: PeerOptions) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<Socket>()
      const sessions = new Map<string, StreamableHTTPServerTransport>()
      const streams = new Map<string, SSEServerTransport>()
      const requests: Peer["requests"] = []
      let connected = 0

      const begin = async () => {
        const transport = new StreamableHTTPServerTransport({
          sessionIdGenerator: () => randomUUID(),
          ...(options.eventStore === undefined ? {} : { eventStore: options.eventStore() }),
          enableJsonResponse: options.isJson === true,
          onsessioninitialized: (id) => {
            connected++
            sessions.set(id, transport)
          },
          onsessionclosed: (id) => {
            sessions.delete(id)
          }
        })
        await options.server().connect(transport as never)
        return transport
      }

      let active = 0
      const handle = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
        const url = new URL(request.url ?? "/", "http://127.0.0.1")
        requests.push({ method: request.method ?? "", path: url.pathname, headers: request.headers })
        active++
        response.once("close", () => active--)
        if (options.intercept?.(request, response) === true) return
        if (url.pathname === "/sse") {
          const transport = new SSEServerTransport("/messages", response)
          connected++
          streams.set(transport.sessionId, transport)
          response.on("close", () => streams.delete(transport.sessionId))
          return options.server().connect(transport)
        }
        if (url.pathname === "/messages") {
          const transport = streams.get(url.searchParams.get("sessionId") ?? "")
          if (transport === undefined) return void response.writeHead(404).end("no such session")
          return transport.handlePostMessage(request, response)
        }
        if (url.pathname !== "/mcp") return void response.writeHead(404).end()
        const id = request.headers["mcp-session-id"]
        if (id === undefined) return (await begin()).handleRequest(request, response)
        const transport = sessions.get(String(id))
        if (transport === undefined) return void response.writeHead(404).end("Session not found")
        return transport.handleRequest(request, response)
      }

      const server = http.createServer((request, response) => {
        void handle(request, response).catch(() => response.destroy())
      })
      server.on("connection", (socket) => {
        sockets.add(socket)
        socket.on("close", () => sockets.delete(socket))
      })
      const port = await listen(server, options.port ?? 0)
      const cut = () => {
        for (const socket of sockets) socket.destroy()
      }
      const peer: Peer & { readonly close: () => Promise<void> } = {
        url: `http://127.0.0.1:${port}/mcp`,
        sseUrl: `http://127.0.0.1:${port}/sse`,
        requests,
        connections: () => sessions.size + streams.size,
        connected: () => connected,
        sockets: () => sockets.size,
        active: () => active,
        cut,
        drop: () => {
          sessions.clear()
          streams.clear()
          cut()
        },
        close: () =>
          new Promise((resolve) => {
            server.close(() => resolve())
            cut()
          })
      }
      return peer
    }),
    (peer) => Effect.promise(() => peer.close())
  )
