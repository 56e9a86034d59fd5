/**
 * Serves recorded exchanges on loopback, byte for byte or made harder to read: cut into pieces, with CRLF, with comments.
 */
import { Effect, type Scope } from "effect"
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

/** One recorded answer. Without a method it answers any request. */
export interface Exchange {
  readonly method: string | undefined
  /** The recorded path from `/responses` on. */
  readonly path: string | undefined
  readonly requestBody: unknown
  readonly status: number
  readonly contentType: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface ReplayOptions {
  readonly splitBytes?: number
  readonly crlf?: boolean
  readonly comments?: boolean
}

export interface Replay {
  readonly url: string
  /** The exchanges that were asked for, by their place in the file. */
  readonly served: ReadonlyArray<number>
}

const fromPath = (url: string): string => url.slice(Math.max(0, url.indexOf("/responses"))).replace(/\?.*$/, "")

/** Data payloads, one a line, as the service would frame them. */
const framed = (lines: ReadonlyArray<string>): string =>
  lines.map((line) => {
    const type: unknown = JSON.parse(line).type
    return `${typeof type === "string" ? `event: ${type}\n` : ""}data: ${line}\n\n`
  }).join("")

/** Reads a recording: `.http.json` holds exchanges, `.chunks.txt` a stream, `.json` one answer. */
export const read = (file: string): ReadonlyArray<Exchange> => {
  const text = readFileSync(file, "utf8")
  const any = { method: undefined, path: undefined, requestBody: undefined, status: 200, headers: {} }
  if (file.endsWith(".chunks.txt")) {
    const body = framed(text.split("\n").filter((line) => line.trim() !== ""))
    return [{ ...any, contentType: "text/event-stream; charset=utf-8", body }]
  }
  if (!file.endsWith(".http.json")) return [{ ...any, contentType: "application/json", body: text }]
  const exchanges = JSON.parse(text).exchanges as ReadonlyArray<any>
  return exchanges.map(({ request, response }): Exchange => {
    const isStream = /^(event|data|:)/.test(response.body)
    return {
      method: request.method,
      path: fromPath(request.url),
      requestBody: request.body,
      status: response.status,
      contentType: response.headers["content-type"] ?? (isStream ? "text/event-stream" : "application/json"),
      headers: Object.fromEntries(
        Object.entries(response.headers as Record<string, string>).filter(([name]) =>
          name === "retry-after" || name === "retry-after-ms" || name === "x-request-id"
        )
      ),
      body: response.body
    }
  })
}

export const isStream = (exchange: Exchange): boolean => exchange.contentType.includes("event-stream")

const hardened = (exchange: Exchange, options: ReplayOptions): Buffer => {
  if (!isStream(exchange)) return Buffer.from(exchange.body, "utf8")
  const blocks = exchange.body.split(/\r?\n\r?\n/).filter((block) => block.trim() !== "")
  const text = blocks.map((block) => `${options.comments === true ? ": still here\n\n" : ""}${block}\n\n`).join("")
  return Buffer.from(options.crlf === true ? text.replace(/\r?\n/g, "\r\n") : text, "utf8")
}

/** Each exchange answers once, the first that fits a request; a request that none fits gets 404. */
export const serve = (
  exchanges: ReadonlyArray<Exchange>,
  options: ReplayOptions = {}
): Effect.Effect<Replay, never, Scope.Scope> =>
  Effect.gen(function*() {
    const served: Array<number> = []
    const answer = (method: string, path: string) => {
      const index = exchanges.findIndex((exchange, n) =>
        !served.includes(n) && (exchange.method === undefined || (exchange.method === method && exchange.path === path))
      )
      if (index >= 0) served.push(index)
      return exchanges[index]
    }
    const server = createServer((req, res) => {
      req.resume()
      req.on("end", () => {
        const exchange = answer(req.method ?? "", fromPath(req.url ?? ""))
        if (exchange === undefined) {
          res.writeHead(404, { "content-type": "application/json" })
          res.end("{\"error\":{\"message\":\"nothing was recorded for this request\",\"code\":\"not_recorded\"}}")
          return
        }
        res.writeHead(exchange.status, { "content-type": exchange.contentType, ...exchange.headers })
        const bytes = hardened(exchange, options)
        const step = options.splitBytes ?? bytes.length
        // Many small writes are many chunks on the wire, and a pause now and then makes them many reads.
        const write = (from: number) => {
          let at = from
          while (at < bytes.length && at < from + step * 512) {
            res.write(bytes.subarray(at, at + step))
            at += step
          }
          if (at < bytes.length) setImmediate(() => write(at))
          else res.end()
        }
        write(0)
      })
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    )
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, served }
  })
