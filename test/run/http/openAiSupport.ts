/** The routes for clients of OpenAI on a real server on 127.0.0.1, and the official client of them. */
import { NodeHttpServer } from "@effect/platform-node"
import { assert } from "@effect/vitest"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as Agent from "agent-layers/run/Agent"
import * as OpenAiHttp from "agent-layers/run/http/OpenAiHttp"
import type { Session } from "agent-layers/services/Session"
import { Effect, Layer, Logger } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { createServer, type Server } from "node:http"
import OpenAI from "openai"
import { type Gate, heldBy } from "../../support/gate.ts"

export interface Served {
  /** With the version. */
  readonly url: string
  readonly server: Server
  readonly client: OpenAI
  readonly counts: OpenAiHttp.OpenAiHttp["Service"]["counts"]
  readonly drain: OpenAiHttp.OpenAiHttp["Service"]["drain"]
}

export const clientOf = (url: string, apiKey = "none") => new OpenAI({ apiKey, baseURL: url, maxRetries: 0 })

/** Serves the routes until the scope closes. */
export const serve = <E, R>(routes: Layer.Layer<OpenAiHttp.OpenAiHttp, E, R | HttpRouter.HttpRouter>) =>
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
      url: HttpServer.HttpServer.useSync(({ address }) => `${HttpServer.formatAddress(address)}/v1`),
      counts: OpenAiHttp.OpenAiHttp.useSync(({ counts }) => counts),
      drain: OpenAiHttp.OpenAiHttp.useSync(({ drain }) => drain)
    }).pipe(Effect.provideContext(built))
    const served: Served = { url, server, client: clientOf(url), counts, drain }
    return served
  })

export const Assistant = Agent.make({ name: "assistant", instructions: "You answer." })

type Agents = Readonly<Record<string, Agent.Agent<any, any, never>>>

export interface Setup extends Omit<OpenAiHttp.Options<Agents>, "agents" | "tenants"> {
  readonly agents?: Agents
  readonly script?: ModelScripted.Script
  readonly gate?: Gate
  readonly session?: Layer.Layer<Session>
}

/** Serves agents over a scripted model, which says "one two three" unless told otherwise. */
export const served = (
  { agents = { assistant: Assistant }, gate, script = () => words("one ", "two ", "three"), session, ...options }:
    Setup = {}
) =>
  serve(
    OpenAiHttp.layer({ agents, ...options }).pipe(
      Layer.provide([heldBy(gate, ModelScripted.layer(script)), session ?? Layer.fresh(SessionMemory.layer)])
    )
  )

export const words = (...pieces: ReadonlyArray<string>) =>
  ModelScripted.text(pieces, {
    usage: { inputTokens: 10, outputTokens: 5, cachedTokens: 3, reasoningTokens: 2 }
  })

export const call = <A>(promise: () => PromiseLike<A>): Effect.Effect<A> =>
  Effect.promise(() => Promise.resolve(promise()))

/** What a promise of the official client is rejected with. */
export const rejected = (promise: () => PromiseLike<unknown>): Effect.Effect<any> =>
  Effect.promise(() =>
    Promise.resolve(promise()).then(
      (value) => assert.fail(`it was not refused: ${JSON.stringify(value)}`),
      (error) => error
    )
  )

export const post = (url: string, body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal) =>
  Effect.promise(() =>
    fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...(signal === undefined ? {} : { signal })
    })
  )
