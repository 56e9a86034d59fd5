/** What every route does, whatever it answers: reads bodies, finds a tenant's services, turns failures into answers. */
import * as ByteSize from "effect/ByteSize"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { SessionError } from "../../../services/SessionError.ts"
import type * as Agent from "../../Agent.ts"
import type * as Guard from "./guard.ts"
import { type Problem, problem, problemOf, Refusal, refuse } from "./problem.ts"
import { reasonOf } from "./reason.ts"
import * as Shares from "./shares.ts"

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

/** Whether no client may name a conversation so. In an address `.` and `..`, also percent-encoded, mean another one. */
export const isReserved = (id: string): boolean => id.startsWith(reserved) || /^(\.|%2e){1,2}$/i.test(id)

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
      Effect.tapError((error) => Effect.logError(`The services of a tenant cannot be built: ${reasonOf(error)}`)),
      Effect.mapError(() =>
        refuse(503, "tenant-unavailable", "What this needs is not available for now. Try again.", 5)
      )
    )

type Respond = (
  problem: Problem,
  headers?: Readonly<Record<string, string>>
) => HttpServerResponse.HttpServerResponse

export type Method = "GET" | "POST" | "DELETE"

export type Row = readonly [
  method: Method,
  path: HttpRouter.PathInput,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, Refusal | SessionError, any>
]

const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"] as const

/**
 * Makes routes with the services of this Effect; a request keeps its own Scope and span. `respond` answers failures
 * and defects of a handler, and the log gets those that are the server's fault. Each path answers preflight requests, and
 * refuses other methods with 405.
 */
export const makeRoutes = (respond: Respond, guard: Guard.Guard) =>
  Effect.map(Effect.context<never>(), (context) => {
    const services = Context.omit(Scope.Scope, Tracer.ParentSpan)(context as Context.Context<any>)

    const answering = (handler: Row[2]): Effect.Effect<HttpServerResponse.HttpServerResponse> => {
      const answered = handler.pipe(
        Effect.tapError((error) =>
          error._tag === "SessionError" && problemOf(error).status >= 500
            ? Effect.logError(`A conversation cannot be read: ${reasonOf(error)}`)
            : Effect.void
        ),
        Effect.catch((error) =>
          Effect.succeed(respond(problemOf(error), error._tag === "Refusal" ? error.headers : undefined))
        ),
        Effect.catchCauseIf((cause) => !Cause.hasInterruptsOnly(cause), (cause) =>
          Effect.as(
            Effect.logError(`A request could not be answered: ${reasonOf(Cause.squash(cause))}`),
            respond(problem(500, "internal", "The server could not answer."))
          ))
      )
      return Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
        const refusal = guard.refusal(request)
        // A refused page learns nothing, not even by CORS.
        return refusal === undefined
          ? Effect.map(answered, HttpServerResponse.setHeaders(guard.headers(request)))
          : Effect.succeed(respond(refusal.problem, { vary: "Origin" }))
      }).pipe(Effect.provideContext(services)) as Effect.Effect<HttpServerResponse.HttpServerResponse>
    }

    const routeOf = (method: Method | "*" | (typeof methods)[number], path: HttpRouter.PathInput, handler: Row[2]) =>
      // The router takes every method that a server can receive.
      HttpRouter.route(method as "*", path, answering(handler))

    const others = (path: HttpRouter.PathInput, own: ReadonlyArray<Method>) => {
      const allow = [...own, ...(own.includes("GET") ? ["HEAD"] : []), "OPTIONS"].join(", ")
      const notAllowed = new Refusal({
        problem: problem(405, "method-not-allowed", `This address takes ${own.join(" or ")}.`),
        headers: { allow }
      })
      const preflight = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
        const headers = guard.preflight(request, own)
        return headers === undefined ? notAllowed : Effect.succeed(HttpServerResponse.empty({ status: 204, headers }))
      })
      return methods
        .filter((method) => !own.includes(method as Method) && (method !== "HEAD" || !own.includes("GET")))
        .map((method) => routeOf(method, path, method === "OPTIONS" ? preflight : notAllowed))
    }

    const routesOf = (rows: ReadonlyArray<Row>) => {
      const paths = new Map<HttpRouter.PathInput, Array<Method>>()
      for (const [method, path] of rows) paths.set(path, [...paths.get(path) ?? [], method])
      return [
        ...rows.map((row) => routeOf(...row)),
        ...Array.from(paths, ([path, own]) => others(path, own)).flat()
      ]
    }

    return { routesOf, routeOf, services }
  })

const crowded = {
  all: refuse(503, "too-many-subscribers", "As many clients are listening as this server takes. Try later.", 1),
  share: refuse(429, "too-many-subscribers", "As many of your clients are listening as may do so. Try later.", 1)
}

/** Clients that listen, each for as long as its request's scope. */
export const makeAudience = (total: number, perTenant: number | undefined) => {
  const shares = Shares.make(total, perTenant)
  let unheard: Deferred.Deferred<void> | undefined
  return {
    count: shares.size,
    join: (tenant: string | undefined) =>
      Effect.acquireRelease(
        Effect.suspend(() => {
          const lack = shares.lack(tenant)
          if (lack !== undefined) return crowded[lack]
          shares.count(tenant, 1)
          return Effect.void
        }),
        () =>
          Effect.sync(() => {
            shares.count(tenant, -1)
            if (shares.size() === 0 && unheard !== undefined) Deferred.doneUnsafe(unheard, Effect.void)
          })
      ),
    /** Waits until nobody listens. */
    silence: Effect.suspend(() => {
      if (shares.size() === 0) return Effect.void
      unheard = Deferred.makeUnsafe()
      return Deferred.await(unheard)
    })
  }
}
