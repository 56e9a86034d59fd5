/** A real server on 127.0.0.1 and what a client does with it. */
import { NodeHttpServer } from "@effect/platform-node"
import { assert } from "@effect/vitest"
import { RunHttp } from "agent-layers/run/http/RunHttp"
import { Effect, Layer, Logger } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { createServer, type Server } from "node:http"

export interface Client {
  readonly url: string
  readonly server: Server
  readonly get: (path: string, headers?: Record<string, string>, signal?: AbortSignal) => Effect.Effect<Response>
  readonly delete: (path: string, headers?: Record<string, string>) => Effect.Effect<Response>
  readonly post: (body: unknown, headers?: Record<string, string>) => Effect.Effect<Response>
  /** The body as it is given, not made JSON. */
  readonly raw: (body: BodyInit, headers?: Record<string, string>, path?: string) => Effect.Effect<Response>
  readonly decide: (
    run: { readonly links: { readonly decisions: string } },
    decisions: unknown,
    headers?: Record<string, string>
  ) => Effect.Effect<Response>
  readonly counts: RunHttp["Service"]["counts"]
  readonly drain: RunHttp["Service"]["drain"]
}

export const json = (response: Response): Effect.Effect<any> => Effect.promise(() => response.json())

/** Serves the routes until the scope closes. */
export const serve = <E, R>(
  routes: Layer.Layer<RunHttp, E, R | HttpRouter.HttpRouter>,
  path = ""
) =>
  Effect.gen(function*() {
    let server!: Server
    const built = yield* Layer.build(
      HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provideMerge(NodeHttpServer.layer(() => server = createServer({ keepAliveTimeout: 200 }), {
          host: "127.0.0.1",
          port: 0,
          gracefulShutdownTimeout: "2 seconds"
        })),
        // Failures are logged for the operator, which is not what is looked at here.
        Layer.provide(Logger.layer([]))
      )
    )
    const { counts, drain, url } = yield* Effect.all({
      url: HttpServer.HttpServer.useSync(({ address }) => HttpServer.formatAddress(address)),
      counts: RunHttp.useSync(({ counts }) => counts),
      drain: RunHttp.useSync(({ drain }) => drain)
    }).pipe(Effect.provideContext(built))
    const request = (path_: string, init: RequestInit) =>
      Effect.promise(() => fetch(path_.startsWith("http") ? path_ : `${url}${path}${path_}`, init))
    const raw: Client["raw"] = (body, headers, path = "/runs") =>
      request(path, { method: "POST", body, headers: { "content-type": "application/json", ...headers } })
    const client: Client = {
      url: `${url}${path}`,
      server,
      counts,
      drain,
      get: (path, headers, signal) =>
        request(path, { headers: headers ?? {}, ...(signal === undefined ? {} : { signal }) }),
      delete: (path, headers) => request(path, { method: "DELETE", headers: headers ?? {} }),
      post: (body, headers) => raw(JSON.stringify(body), headers),
      decide: (run, decisions, headers) => raw(JSON.stringify({ decisions }), headers, run.links.decisions),
      raw
    }
    return client
  })

export interface Told {
  readonly id: number | undefined
  readonly event: string
  readonly data: any
}

export const parse = (text: string): ReadonlyArray<Told> =>
  text.split("\n\n").filter((block) => block.includes("data: ")).map((block) => {
    const field = (name: string) =>
      block.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
    const id = field("id")
    return {
      id: id === undefined ? undefined : Number(id),
      event: field("event") ?? "message",
      data: JSON.parse(field("data")!)
    }
  })

export const eventsOf = (response: Response) => Effect.map(Effect.promise(() => response.text()), parse)

/** That it is a problem of this kind, in its whole form. */
export const assertProblem = (response: Response, status: number, code: string) =>
  Effect.map(json(response), (body) => {
    assert.strictEqual(response.status, status, JSON.stringify(body))
    assert.strictEqual(response.headers.get("content-type"), "application/problem+json")
    assert.strictEqual(body.type, "about:blank")
    assert.strictEqual(body.status, status)
    assert.strictEqual(body.code, code)
    assert.isString(body.title)
    assert.isString(body.detail)
    return body
  })

/** Reads events until one satisfies, then leaves. */
export const readUntil = (client: Client, path: string, found: (told: ReadonlyArray<Told>) => boolean) =>
  Effect.promise(async () => {
    const controller = new AbortController()
    const response = await fetch(`${client.url}${path}`, { signal: controller.signal })
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ""
    while (true) {
      const { done, value } = await reader.read()
      if (value !== undefined) text += value
      const events = parse(text.slice(0, text.lastIndexOf("\n\n") + 2))
      if (done || found(events)) {
        controller.abort()
        await reader.cancel().catch(() => undefined)
        return events
      }
    }
  })
