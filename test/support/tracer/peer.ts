/** A server on 127.0.0.1 that keeps what it is sent, and misbehaves when told to. */
import { Effect } from "effect"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as zlib from "node:zlib"

export interface Received {
  readonly headers: http.IncomingHttpHeaders
  readonly method: string
  readonly path: string
  /** Unpacked, where it was packed. */
  readonly body: Buffer
  readonly at: number
}

export interface Reply {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: string
  /** In milliseconds; `Infinity`: never. */
  readonly delay?: number
  /** Closes the connection instead. */
  readonly reset?: boolean
}

export interface Peer {
  readonly origin: string
  readonly received: Array<Received>
  /** How it answers from now on, by the number of the request. */
  reply: (request: number, received: Received) => Reply
}

/** Until the scope closes. `accept` sees each request; what it throws is the test's failure, by `Peer.faults`. */
export const start = (accept: (received: Received) => void) =>
  Effect.acquireRelease(
    Effect.callback<Peer & { readonly faults: Array<unknown>; readonly server: http.Server }>((resume) => {
      const received: Array<Received> = []
      const faults: Array<unknown> = []
      const timers = new Set<NodeJS.Timeout>()
      const server = http.createServer((request, response) => {
        const chunks: Array<Buffer> = []
        request.on("data", (chunk: Buffer) => chunks.push(chunk))
        request.on("end", () => {
          const raw = Buffer.concat(chunks)
          const one: Received = {
            headers: request.headers,
            method: request.method!,
            path: request.url!,
            body: request.headers["content-encoding"] === "gzip" ? zlib.gunzipSync(raw) : raw,
            at: performance.now()
          }
          received.push(one)
          const { body = "{}", delay = 0, headers, reset, status = 200 } = peer.reply(received.length, one)
          if (reset === true) request.socket.destroy()
          if (reset === true || delay === Infinity) return
          if (status < 300) {
            try {
              accept(one)
            } catch (fault) {
              faults.push(fault)
              response.writeHead(400).end(String(fault))
              return
            }
          }
          const answer = () => response.writeHead(status, { "content-type": "application/json", ...headers }).end(body)
          if (delay === 0) answer()
          else timers.add(setTimeout(answer, delay))
        })
      })
      const peer = { origin: "", received, faults, server, reply: (): Reply => ({}) } as Peer & {
        readonly faults: Array<unknown>
        readonly server: http.Server
        origin: string
      }
      server.on("close", () => timers.forEach(clearTimeout))
      server.listen(0, "127.0.0.1", () => {
        peer.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
        resume(Effect.succeed(peer))
      })
    }),
    ({ server }) =>
      Effect.callback<void>((resume) => {
        server.closeAllConnections()
        server.close(() => resume(Effect.void))
      })
  )
