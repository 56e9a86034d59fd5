/** What the routes for clients of OpenAI answer. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import { Ids } from "../../../services/Ids.ts"
import { prefixed, refuseTenant } from "../../../services/internal/sessionPrefixed.ts"
import { Session } from "../../../services/Session.ts"
import {
  type Incoming,
  isReserved,
  makeAudience,
  makeRoutes,
  noStore,
  parameters,
  readText,
  sseHeaders,
  stackOf,
  type Tenancy,
  tenantOf
} from "./exchange.ts"
import type { Guard } from "./guard.ts"
import * as Completion from "./openAiCompletion.ts"
import { refuseParam, respond } from "./openAiError.ts"
import * as Input from "./openAiInput.ts"
import * as Response from "./openAiResponse.ts"
import type { Job, Runs } from "./openAiRuns.ts"
import type { Showing } from "./openAiShown.ts"
import * as Store from "./openAiStore.ts"
import { type Refusal, refuse } from "./problem.ts"

export interface Settings extends Input.Policy {
  readonly messages: Showing["messages"] | undefined
  readonly showToolCalls: boolean
  readonly maxBodyBytes: number
  readonly maxSubscribers: number
  readonly maxSubscribersPerKey: number | undefined
  readonly heartbeat: Duration.Duration
  /** Whom a key belongs to, and whether that is somebody whose responses are their own. */
  readonly keys: {
    readonly of: (request: Incoming) => Effect.Effect<string | undefined, Refusal, any>
    readonly areOwners: boolean
  } | undefined
  readonly guard: Guard
  readonly tenants: Tenancy | undefined
}

const json = (body: unknown) => HttpServerResponse.jsonUnsafe(body, { headers: noStore })

const unknown = refuse(
  404,
  "not-found",
  "There is no such address. See GET /models, POST /responses, POST /chat/completions."
)

const notFound = (what: string) => refuse(404, "not-found", `There is no such ${what}.`)

const notAnOwner = refuse(
  403,
  "forbidden",
  "The owner of this key cannot have conversations here. Its name is empty, too long or one that the server keeps."
)

const canOwn = (owner: string): boolean => refuseTenant(owner) === undefined && !isReserved(`${owner}/`)

interface Who {
  readonly slot: string | undefined
  readonly owner: string | undefined
  readonly tenant: string | undefined
}

export const make = Effect.fnUntraced(function*(settings: Settings, runs: Runs) {
  const ids = yield* Ids
  const { keys, tenants } = settings
  const { routeOf, routesOf, services } = yield* makeRoutes(respond, settings.guard)
  const audience = makeAudience(settings.maxSubscribers, settings.maxSubscribersPerKey)
  const created = Math.floor((yield* Clock.currentTimeMillis) / 1000)

  const who: Effect.Effect<Who, Refusal, any> = Effect.gen(function*() {
    const { headers, method, originalUrl } = yield* HttpServerRequest.HttpServerRequest
    const key = keys === undefined ? undefined : yield* keys.of({ method, url: originalUrl, headers })
    const tenant = yield* tenantOf(tenants)
    const owner = keys?.areOwners === true ? key : undefined
    if (tenant === undefined && owner !== undefined && !canOwn(owner)) return yield* notAnOwner
    return { tenant, slot: tenant ?? key, owner: tenant ?? owner }
  })

  /** Owners of keys have conversations of their own in one session; tenants bring their services. */
  const stackFor = ({ owner, tenant }: Who) =>
    Effect.map(
      Effect.provideContext(stackOf(tenants, tenant), services),
      (stack) =>
        tenant !== undefined || owner === undefined
          ? stack
          : Context.add(stack, Session, prefixed(Context.get(services, Session), owner))
    )

  const showingOf = (order: Input.Order): Showing => ({
    messages: settings.messages ?? (Input.isStructured(order.agent) ? "final" : "all"),
    toolCalls: settings.showToolCalls
  })

  const answer = Effect.fnUntraced(
    function*(id: string, job: Omit<Job, "slot" | "owner" | "stack" | "showing">, who: Who) {
      const { stream } = job.order
      if (stream) yield* audience.join(who.slot)
      const run = yield* runs.start(id, {
        ...job,
        slot: who.slot,
        owner: who.owner,
        showing: showingOf(job.order),
        stack: stackFor(who)
      })
      // Of the request's scope, which closes when all is sent or the client is gone.
      yield* Effect.addFinalizer(() => runs.leave(run))
      if (!stream) return json(yield* Deferred.await(run.done))
      yield* runs.begun(run)
      return HttpServerResponse.stream(runs.follow(run, settings.heartbeat), {
        contentType: "text/event-stream",
        headers: sseHeaders
      })
    }
  )

  const postResponse = Effect.gen(function*() {
    yield* runs.refuseIfDraining
    const from = yield* who
    const order = yield* Input.readResponse(settings, yield* readText(settings.maxBodyBytes))
    const id = yield* ids.next("resp")
    return yield* answer(id, {
      order,
      begin: (session) => Store.standing(session, ids, order, from.owner),
      write: ({ conversationId, isKept }, now) =>
        Response.make({
          id,
          now,
          model: order.name,
          instructions: order.instructions,
          previousResponseId: order.previousResponseId,
          conversationId,
          store: isKept,
          metadata: order.metadata,
          user: order.user
        }),
      keep: (session, { body }, { conversationId, runId, version }) =>
        Store.save(session, id, {
          type: "response",
          ...(from.owner === undefined ? undefined : { owner: from.owner }),
          conversation_id: conversationId!,
          run_id: runId,
          version: version ?? 0,
          response: body()
        })
    }, from)
  })

  const postCompletion = Effect.gen(function*() {
    yield* runs.refuseIfDraining
    const from = yield* who
    const order = yield* Input.readCompletion(settings, yield* readText(settings.maxBodyBytes))
    const id = yield* ids.next("chatcmpl")
    return yield* answer(id, {
      order,
      begin: () => Effect.succeed({ conversationId: undefined, input: order.input, isKept: false }),
      write: (_, now) => Completion.make({ id, now, model: order.name, includeUsage: order.includeUsage })
    }, from)
  })

  const sessionOf = Effect.fnUntraced(function*(from: Who) {
    const stack = yield* stackFor(from)
    return Option.getOrUndefined(Context.getOption(stack, Session)) ?? (yield* Session)
  })

  /** The run of a response that is being made. */
  const makingOf = (id: string, { owner }: Who) => Store.isId(id) ? runs.find(id, owner) : undefined

  const getResponse = Effect.gen(function*() {
    const from = yield* who
    const { id, query } = yield* parameters
    if (query("stream") === "true") {
      return yield* refuseParam("stream", "unsupported-parameter", "A response is streamed where it is made.")
    }
    const running = makingOf(id, from)?.writer
    if (running !== undefined) return json(running.body())
    const stored = yield* Store.find(yield* sessionOf(from), id, from.owner)
    return stored === undefined ? yield* notFound("response") : json(stored.response)
  })

  const deleteResponse = Effect.gen(function*() {
    const from = yield* who
    const { id } = yield* parameters
    if (makingOf(id, from) !== undefined) {
      return yield* refuse(409, "response-in-progress", "The response is being made. Cancel it first.")
    }
    const session = yield* sessionOf(from)
    if ((yield* Store.find(session, id, from.owner)) === undefined) return yield* notFound("response")
    yield* Store.remove(session, id)
    return json({ id, object: "response", deleted: true })
  })

  const cancelResponse = Effect.gen(function*() {
    const from = yield* who
    const { id } = yield* parameters
    const run = makingOf(id, from)
    if (run?.writer === undefined) {
      const stored = yield* Store.find(yield* sessionOf(from), id, from.owner)
      return yield* stored === undefined
        ? notFound("response")
        : refuse(400, "not-in-progress", "The response is made already and cannot be cancelled.")
    }
    yield* runs.cancel(run)
    return json(run.writer.body())
  })

  const modelOf = (id: string) => ({ id, object: "model", created, owned_by: "agent-layers" })

  const getModels = Effect.as(
    who,
    json({ object: "list", data: Object.keys(settings.agents).map(modelOf) })
  )

  const getModel = Effect.gen(function*() {
    yield* who
    const { id } = yield* parameters
    return Object.hasOwn(settings.agents, id)
      ? json(modelOf(id))
      : yield* refuseParam("model", "model-not-found", "There is no such agent.", 404)
  })

  return {
    subscribers: audience.count,
    silence: audience.silence,
    /** For all other addresses under the prefix. */
    rest: routeOf("*", "/*", unknown),
    routes: routesOf([
      ["GET", "/models", getModels],
      ["GET", "/models/:id", getModel],
      ["POST", "/responses", postResponse],
      ["GET", "/responses/:id", getResponse],
      ["DELETE", "/responses/:id", deleteResponse],
      ["POST", "/responses/:id/cancel", cancelResponse],
      ["POST", "/chat/completions", postCompletion]
    ])
  }
})
