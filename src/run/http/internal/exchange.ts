/** What every route does, whatever it answers: reads bodies, finds a tenant's services, turns failures into answers. */
import * as ByteSize from "effect/ByteSize"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { Item } from "../../../services/Item.ts"
import type { SessionError } from "../../../services/SessionError.ts"
import type * as Agent from "../../Agent.ts"
import { type Problem, problem, problemOf, type Refusal, refuse } from "./problem.ts"

export interface Incoming {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string | undefined>>
}

/** What the agents of a Layer need besides a model and a session. */
export type RequirementsOf<Agents extends Readonly<Record<string, Agent.Any>>> = {
  [Name in keyof Agents]: Agents[Name] extends Agent.Agent<infer _Output, infer _E, infer R> ? R : never
}[keyof Agents]

export interface Tenancy {
  readonly of: (request: Incoming) => Effect.Effect<string, Refusal, any>
  readonly services: (tenant: string) => Effect.Effect<Context.Context<any>, unknown, any>
}

/** Conversations that programs and clients do not name: what the routes and resumed runs keep for themselves. */
export const reserved = "agent-layers/"

export const isUserMessage = (item: Item): boolean => "role" in item && item["role"] === "user"

export const noStore = { "cache-control": "no-store" }

export const sseHeaders = { ...noStore, "x-accel-buffering": "no" }

/** A count in decimal, or nothing where it is no such. */
export const countOf = (text: string): number | undefined => /^\d{1,15}$/.test(text) ? Number(text) : undefined

/** Path parameters and the search part of the request's address. */
export const parameters = Effect.gen(function*() {
  const { params } = yield* HttpRouter.RouteContext
  const search = yield* HttpServerRequest.ParsedSearchParams
  return {
    id: params["id"] ?? "",
    query: (name: string): string | undefined => {
      const value = search[name]
      return typeof value === "string" ? value : value?.[0]
    }
  }
})

const decoder = new TextDecoder("utf-8", { fatal: true })

/** The body's text, where it is JSON by its type and not too large. */
export const readText = Effect.fnUntraced(function*(maxBodyBytes: number) {
  const request = yield* HttpServerRequest.HttpServerRequest
  const tooLarge = refuse(413, "body-too-large", `The body may have at most ${maxBodyBytes} bytes.`)
  const type = request.headers["content-type"]?.split(";")[0]?.trim().toLowerCase()
  if (type !== "application/json") {
    return yield* refuse(415, "unsupported-media-type", "Send JSON, as content-type application/json.")
  }
  if ((countOf(request.headers["content-length"] ?? "0") ?? 0) > maxBodyBytes) return yield* tooLarge
  const bytes = yield* request.arrayBuffer.pipe(
    Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.fromInputUnsafe(maxBodyBytes)),
    Effect.mapError(({ reason }) =>
      reason._tag === "RequestParseError" && reason.reason === "BodyTooLarge"
        ? tooLarge
        : refuse(400, "unreadable-body", "The body could not be read to its end.")
    )
  )
  return yield* Effect.try({
    try: () => decoder.decode(bytes),
    catch: () => refuse(400, "invalid-json", "The body is not UTF-8.")
  })
})

export const tenantOf = (tenants: Tenancy | undefined) =>
  Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    ({ headers, method, originalUrl }): Effect.Effect<string | undefined, Refusal, any> =>
      tenants === undefined ? Effect.succeed(undefined) : tenants.of({ method, url: originalUrl, headers })
  )

export const stackOf = (
  tenants: Tenancy | undefined,
  tenant: string | undefined
): Effect.Effect<Context.Context<any>, Refusal, Scope.Scope> =>
  tenants === undefined || tenant === undefined
    ? Effect.succeed(Context.empty() as Context.Context<any>)
    : tenants.services(tenant).pipe(
      Effect.tapError((error) => Effect.logError("The services of a tenant cannot be built", error)),
      Effect.mapError(() =>
        refuse(503, "tenant-unavailable", "What this needs is not available for now. Try again.", 5)
      )
    )

type Respond = (
  problem: Problem,
  headers?: Readonly<Record<string, string>>
) => HttpServerResponse.HttpServerResponse

/**
 * Makes routes on the services that are here now; a request keeps its own Scope and span. What they fail or die with is
 * told as `respond` has it, and logged where it is the server's affair.
 */
export const makeRoute = (respond: Respond) =>
  Effect.map(Effect.context<any>(), (context) => {
    const services = Context.omit(Scope.Scope, Tracer.ParentSpan)(context as Context.Context<any>)
    const route = <R>(
      method: "GET" | "POST" | "DELETE",
      path: HttpRouter.PathInput,
      handler: Effect.Effect<HttpServerResponse.HttpServerResponse, Refusal | SessionError, R>
    ) => {
      const answered = handler.pipe(
        Effect.tapError((error) =>
          error._tag === "SessionError" && problemOf(error).status >= 500
            ? Effect.logError("A conversation cannot be read", error)
            : Effect.void
        ),
        Effect.catch((error) =>
          Effect.succeed(respond(problemOf(error), error._tag === "Refusal" ? error.headers : undefined))
        ),
        Effect.catchCauseIf((cause) => !Cause.hasInterruptsOnly(cause), (cause) =>
          Effect.as(
            Effect.logError("A request could not be answered", cause),
            respond(problem(500, "internal", "The server could not answer."))
          )),
        Effect.provideContext(services)
      )
      return HttpRouter.route(method, path, answered as Effect.Effect<HttpServerResponse.HttpServerResponse>)
    }
    return { route, services }
  })

/** Clients that listen, each for as long as its request's scope. */
export const makeAudience = (maxSubscribers: number) => {
  let subscribers = 0
  let unheard: Deferred.Deferred<void> | undefined
  return {
    count: () => subscribers,
    join: Effect.acquireRelease(
      Effect.suspend(() => {
        if (subscribers >= maxSubscribers) {
          return refuse(
            503,
            "too-many-subscribers",
            "As many clients are listening as this server takes. Try later.",
            1
          )
        }
        subscribers++
        return Effect.void
      }),
      () =>
        Effect.sync(() => {
          subscribers--
          if (subscribers === 0 && unheard !== undefined) Deferred.doneUnsafe(unheard, Effect.void)
        })
    ),
    /** Waits until nobody listens. */
    silence: Effect.suspend(() => {
      if (subscribers === 0) return Effect.void
      unheard = Deferred.makeUnsafe()
      return Deferred.await(unheard)
    })
  }
}
