// @effect-diagnostics globalFetch:off
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Secrets from "../../../services/internal/secrets.ts"
import type { McpConnection } from "../../../services/McpServer.ts"
import { McpError } from "../../../services/McpServer.ts"
import type { Wire } from "./connection.ts"
import { make as makeConnection } from "./connection.ts"
import { HttpFailure, lost, textOf } from "./failure.ts"
import type { ConnectionOptions } from "./options.ts"
import type { JSONRPCMessage, Transport } from "./sdk.ts"
import { load } from "./sdk.ts"
import { later, pause } from "./time.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface HttpOptions extends ConnectionOptions {
  /** The server's endpoint. It must not hold a user name or password. */
  readonly url: string | URL
  /**
   * Headers of every request. Errors and logs hold no redacted value, no value of a header whose name says that it is
   * secret, and no part of these: not the token after `Bearer`, not the user and password in `Basic`, not one cookie.
   */
  readonly headers?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
  /**
   * Gives the bearer token of each request, so that one that has expired can be replaced. It is asked before every request:
   * keep the token until it expires. If it fails or dies, the request fails with `Unauthorized`.
   */
  readonly token?: Effect.Effect<Redacted.Redacted, unknown> | undefined
  /** @default globalThis.fetch */
  readonly fetch?: typeof globalThis.fetch | undefined
}

type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>

const maxErrorText = 500
const utf8 = new TextDecoder()

/** The beginning of a body that may have no end. */
const beginning = (response: Response): Promise<string> => {
  const reader = response.body?.getReader()
  if (reader === undefined) return Promise.resolve("")
  let text = ""
  const next = (): Promise<string> =>
    reader.read().then(({ done, value }) => {
      if (value !== undefined) text += utf8.decode(value)
      if (!done && text.length < maxErrorText) return next()
      return reader.cancel().then(() => text.slice(0, maxErrorText).trim(), () => text)
    }, () => text)
  return next()
}

interface Observed {
  readonly response: Response
  /** Ends the body early, with a last text. */
  readonly finish: (text: string) => void
}

const encoder = new TextEncoder()

/** The same body, with word of its end, however it comes. */
const observed = (response: Response, onEnd: () => void): Observed => {
  const reader = response.body?.getReader()
  if (reader === undefined) {
    onEnd()
    return { response, finish: () => {} }
  }
  let hasEnded = false
  let finish = (_text: string) => {}
  const end = () => {
    hasEnded = true
    onEnd()
  }
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      finish = (text) => {
        if (hasEnded) return
        end()
        controller.enqueue(encoder.encode(text))
        controller.close()
        reader.cancel().catch(() => {})
      }
    },
    pull: (controller) =>
      reader.read().then(({ done, value }) => {
        if (hasEnded) return
        if (!done) return controller.enqueue(value)
        end()
        controller.close()
      }, (error) => {
        if (hasEnded) return
        end()
        controller.error(error)
      }),
    cancel: (reason) => {
      if (!hasEnded) end()
      return reader.cancel(reason)
    }
  })
  return {
    response: new Response(body, {
      status: response.status,
      statusText: response.statusText,
      headers: response.headers
    }),
    finish: (text) => finish(text)
  }
}

const headersOf = (
  options: HttpOptions,
  secrets: Secrets.Secrets
): Promise<ReadonlyArray<readonly [string, string]>> => {
  const fixed = Object.entries(options.headers ?? {}).map(([name, value]) =>
    [name, Redacted.isRedacted(value) ? Redacted.value(value) : value] as const
  )
  if (options.token === undefined) return Promise.resolve(fixed)
  return Effect.runPromise(options.token).then(
    (token) => {
      secrets.add(token)
      return [...fixed, ["authorization", `Bearer ${Redacted.value(token)}`] as const]
    },
    (cause) => {
      throw new HttpFailure({ status: 401, text: `no token could be had: ${textOf(cause)}`, hadSession: false })
    }
  )
}

/** What is done to a POST, which may be of one request. */
type Post = (
  body: unknown,
  send: (signal: AbortSignal | undefined) => Promise<Response>
) => Promise<Response>

/** Sends what the transports ask for, with our headers, and tells of a refusal as a `HttpFailure`. */
const fetchOf = (
  options: HttpOptions,
  secrets: Secrets.Secrets,
  post: Post = (_body, send) => send(undefined)
): Fetch => {
  const fetch: Fetch = options.fetch ?? globalThis.fetch
  return (url, init) =>
    headersOf(options, secrets).then((extra) => {
      const headers = new Headers(init?.headers)
      for (const [name, value] of extra) headers.set(name, value)
      const send = (signal: AbortSignal | undefined) =>
        fetch(url, {
          ...init,
          headers,
          ...(signal === undefined
            ? {}
            : { signal: init?.signal == null ? signal : AbortSignal.any([init.signal, signal]) })
        })
      if (init?.method !== "POST") return send(undefined)
      return post(init.body, send).then((response) =>
        response.status < 400
          ? response
          : beginning(response).then((text) => {
            throw new HttpFailure({
              status: response.status,
              text: secrets.scrubCut(text),
              hadSession: headers.has("mcp-session-id")
            })
          })
      )
    })
}

const Ids = Schema.Struct({ id: Schema.Union([Schema.String, Schema.Finite]) })
const idOf = Schema.decodeUnknownOption(Schema.fromJsonString(Ids))
const hasId = Schema.decodeUnknownOption(Ids)

/** Long enough for what came last to be read: that takes no waiting, only turns. */
const settleMillis = 100

/** A server that answers with JSON gives no sign of a request before its answer. */
const overtakeMillis = 200

const refusedUrl = (url: string | URL): URL | string => {
  if (!URL.canParse(String(url))) return "url is no address of a server, such as https://example.com/mcp"
  const parsed = new URL(url)
  if (!/^https?:$/.test(parsed.protocol)) return "url has to begin with http:// or https://"
  return parsed.username === "" && parsed.password === ""
    ? parsed
    : "url holds a user name or password, which fetch refuses; send them in `headers`"
}

const making = (
  server: string,
  options: HttpOptions,
  open: (url: URL, secrets: Secrets.Secrets) => Effect.Effect<Wire, McpError, Scope.Scope>
): Effect.Effect<McpConnection, McpError, Scope.Scope> =>
  Effect.suspend(() => {
    const url = refusedUrl(options.url)
    if (typeof url === "string") {
      return Effect.fail(new McpError({ server, operation: "connect", reason: "Unavailable", description: url }))
    }
    const secrets = Secrets.make([...Secrets.ofHeaders(options.headers), ...Secrets.ofUrl(url)])
    return makeConnection(server, { open: open(url, secrets), scrub: secrets.scrub }, options)
  })

interface Waiting {
  /** The stream of its answer has given an id to go on from. */
  isResumable: boolean
  /** The server has begun to answer, and so has seen it; or it was refused. */
  readonly accepted: Deferred.Deferred<void>
  /** Nobody waits for it any more. */
  isCancelled: boolean
  /** Lets go of what its answer would come by. */
  release: () => void
}

const Cancelled = Schema.decodeUnknownOption(Schema.Struct({
  method: Schema.Literal("notifications/cancelled"),
  params: Schema.Struct({ requestId: Schema.Union([Schema.String, Schema.Finite]) })
}))

/** Streamable HTTP. A stream that breaks is resumed where the server can; a session that has expired is begun anew. */
export const makeHttp = (
  server: string,
  options: HttpOptions
): Effect.Effect<McpConnection, McpError, Scope.Scope> =>
  making(
    server,
    options,
    (url, secrets) =>
      Effect.map(load(server, () => import("@modelcontextprotocol/sdk/client/streamableHttp.js")), (sdk): Wire => {
        const waiting = new Map<string | number, Waiting>()

        // The transport of the package forgets a request whose stream has ended without an answer and cannot be resumed.
        const settle = (id: string | number) =>
          later(settleMillis, () => {
            const request = waiting.get(id)
            if (request === undefined || request.isResumable || request.isCancelled) return
            waiting.delete(id)
            transport.onmessage?.({
              jsonrpc: "2.0",
              id,
              error: { code: -32000, message: "the stream ended before the answer", data: lost }
            })
          })

        const post: Post = (body, send) => {
          const id = Option.getOrUndefined(idOf(body))?.id
          const request = id === undefined ? undefined : waiting.get(id)
          if (id === undefined || request === undefined) return send(undefined)
          // The word of its cancellation may be there already: the server would not know what it was about.
          if (request.isCancelled) return Promise.reject(new Error("the request was cancelled before it was sent"))
          const controller = new AbortController()
          request.release = () => controller.abort()
          return send(controller.signal).then((response) => {
            Deferred.doneUnsafe(request.accepted, Effect.void)
            if (!response.ok || response.headers.get("content-type")?.includes("event-stream") !== true) return response
            const stream = observed(response, () => settle(id))
            // A server does not end the stream of a call that was cancelled, and the transport would resume one that broke
            // off. An answer, which nobody waits for, is an end that it takes.
            request.release = () =>
              stream.finish(`\n\ndata: {"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{}}\n\n`)
            return stream.response
          })
        }

        const inner = new sdk.StreamableHTTPClientTransport(url, {
          fetch: fetchOf(options, secrets, post),
          reconnectionOptions: {
            initialReconnectionDelay: 500,
            maxReconnectionDelay: 5000,
            reconnectionDelayGrowFactor: 2,
            maxRetries: 3
          }
        })

        const transport: Transport = {
          start: () => {
            Object.assign(inner, {
              onmessage: (message: JSONRPCMessage) => {
                if ("result" in message || "error" in message) {
                  const id = Option.getOrUndefined(hasId(message))?.id
                  if (id !== undefined && !waiting.delete(id)) return
                }
                transport.onmessage?.(message)
              },
              onclose: () => transport.onclose?.(),
              onerror: (error: Error) => transport.onerror?.(error)
            })
            return inner.start()
          },
          send: (message: JSONRPCMessage) => {
            if ("method" in message && "id" in message) {
              const request: Waiting = {
                accepted: Deferred.makeUnsafe(),
                isResumable: false,
                isCancelled: false,
                release: () => {}
              }
              waiting.set(message.id, request)
              return inner.send(message, {
                onresumptiontoken: () => {
                  request.isResumable = true
                }
              }).then(
                () => {
                  if (request.isCancelled) waiting.delete(message.id)
                },
                (error) => {
                  waiting.delete(message.id)
                  throw error
                }
              )
            }
            const id = Option.getOrUndefined(Cancelled(message))?.params.requestId
            const request = id === undefined ? undefined : waiting.get(id)
            if (request === undefined) return inner.send(message)
            request.isCancelled = true
            // On a socket of its own it may overtake the request, and the server would not know what it is about.
            return Effect.runPromise(Effect.raceFirst(Deferred.await(request.accepted), pause(overtakeMillis)))
              .then(() => inner.send(message))
              .finally(() => {
                request.release()
                waiting.delete(id!)
              })
          },
          close: () => inner.close(),
          setProtocolVersion: (version) => inner.setProtocolVersion(version)
        }

        return {
          transport,
          end: () => inner.terminateSession(),
          isFatal: (error) => error.message.startsWith("Maximum reconnection attempts")
        }
      })
  )

/** HTTP with Server-Sent Events, as it was before streamable HTTP. */
export const makeSse = (
  server: string,
  options: HttpOptions
): Effect.Effect<McpConnection, McpError, Scope.Scope> =>
  making(
    server,
    options,
    (url, secrets) =>
      Effect.map(load(server, () => import("@modelcontextprotocol/sdk/client/sse.js")), (sdk): Wire => ({
        transport: new sdk.SSEClientTransport(url, { fetch: fetchOf(options, secrets) }),
        // It would open the stream anew, which the server takes for another client.
        isFatal: (error) => error instanceof sdk.SseError
      }))
  )
