/** What the routes answer. */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Ids } from "../../../services/Ids.ts"
import { isItem, type Item } from "../../../services/Item.ts"
import { Session } from "../../../services/Session.ts"
import type * as Agent from "../../Agent.ts"
import { Decision } from "../../Approval.ts"
import * as ClientItem from "./clientItem.ts"
import * as EventLog from "./eventLog.ts"
import {
  countOf,
  isReserved,
  makeAudience,
  makeRoutes,
  noStore,
  parameters,
  readText,
  reserved,
  sseHeaders,
  stackOf,
  type Tenancy,
  tenantOf
} from "./exchange.ts"
import type { Guard } from "./guard.ts"
import { afterTools, type Refusal, refuse, respond } from "./problem.ts"
import type { Run } from "./run.ts"
import type { Runs } from "./runs.ts"

export interface Settings {
  readonly agents: Readonly<Record<string, Agent.Any>>
  readonly prefix: string
  readonly acceptItems: "user" | "any"
  readonly maxBodyBytes: number
  readonly maxSubscribers: number
  readonly maxSubscribersPerTenant: number | undefined
  readonly maxPageSize: number
  readonly maxWait: Duration.Duration
  readonly heartbeat: Duration.Duration
  readonly guard: Guard
  readonly tenants: Tenancy | undefined
}

/** What a route takes, and how that is put to whoever sent something else. */
const bodyOf = <A>(schema: Schema.Codec<A, unknown>, form: string) => ({
  decode: Schema.decodeUnknownEffect(Schema.fromJsonString(schema), { onExcessProperty: "error" }),
  form
})

type Body<A> = ReturnType<typeof bodyOf<A>>

const RunBody = bodyOf(
  Schema.Struct({
    agent: Schema.String,
    input: Schema.Union([Schema.String, Schema.Array(Schema.Unknown)]),
    conversationId: Schema.optional(Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(512)))
  }),
  `{ "agent": string, "input": string or items, "conversationId"?: string }`
)

const DecisionsBody = bodyOf(
  Schema.Struct({ decisions: Schema.Array(Decision).check(Schema.isMinLength(1)) }),
  `{ "decisions": [decision, ...] }, each ` +
    `{ "id": string, "argumentsHash": string, "isApproved": boolean, "reason"?: string, "always"?: boolean }`
)

const json = (body: unknown, status = 200, headers: Readonly<Record<string, string>> = {}) =>
  HttpServerResponse.jsonUnsafe(body, { status, headers: { ...noStore, ...headers } })

const notFound = refuse(404, "not-found", "There is no such run.")

const noSuchId = refuse(400, "invalid-input", "No conversation can have this id. Choose another one.")

const refuseItem = (index: number, at: string, why: string): Refusal => {
  const where = `input[${index}]${at === "" ? "" : `.${at}`}`
  return refuse(400, "invalid-input", `${where}: ${why}`)
}

/** The items of a client that may become history. */
const itemsOf = (
  accepted: Settings["acceptItems"],
  given: ReadonlyArray<unknown>
): Result.Result<ReadonlyArray<Item>, Refusal> => {
  const items: Array<Item> = []
  for (const [index, item] of given.entries()) {
    if (accepted === "any") {
      if (!isItem(item)) return Result.fail(refuseItem(index, "", "This is not an item that can be input."))
      items.push(item)
    } else {
      const read = ClientItem.read(item, ["user"])
      if (Result.isFailure(read)) return Result.fail(refuseItem(index, read.failure.at, read.failure.why))
      items.push(read.success)
    }
  }
  return Result.succeed(items)
}

export const make = Effect.fnUntraced(function*(settings: Settings, runs: Runs) {
  const ids = yield* Ids
  const { tenants } = settings
  const { routesOf, services } = yield* makeRoutes(respond, settings.guard)
  const audience = makeAudience(settings.maxSubscribers, settings.maxSubscribersPerTenant)

  const href = (...path: ReadonlyArray<string>): string =>
    [settings.prefix, ...path.map((segment) => encodeURIComponent(segment))].join("/")

  const view = (run: Run) => ({
    id: run.id,
    agent: run.name,
    status: run.status,
    conversationId: run.conversationId,
    startedAt: run.startedAt,
    ...(run.finishedAt === undefined ? undefined : { finishedAt: run.finishedAt }),
    ...(run.status === "waiting" ? { approvals: run.suspended?.approvals } : undefined),
    ...(run.result === undefined ? undefined : { result: run.result }),
    ...(run.problem === undefined ? undefined : { problem: run.problem }),
    lastEventId: run.log.last,
    links: {
      self: href("runs", run.id),
      events: href("runs", run.id, "events"),
      decisions: href("runs", run.id, "decisions"),
      ...(run.conversationId === undefined
        ? undefined
        : { conversation: href("conversations", run.conversationId) })
    }
  })

  const readBody = Effect.fnUntraced(function*<A>({ decode, form }: Body<A>) {
    const text = yield* readText(settings.maxBodyBytes)
    return yield* Effect.mapError(
      decode(text),
      () => refuse(400, "invalid-body", `The body is not of the form ${form}.`)
    )
  })

  const waitOf = Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }) => {
    const seconds = countOf(/(?:^|[,;\s])wait=(\d+)/.exec(headers["prefer"] ?? "")?.[1] ?? "")
    return seconds === undefined ? undefined : Duration.min(Duration.seconds(seconds), settings.maxWait)
  })

  /** As long as the client wants to wait for the run to be over, or to wait for decisions itself. */
  const rested = (run: Run) =>
    Effect.flatMap(waitOf, (wait) =>
      wait === undefined || run.status === "waiting"
        ? Effect.succeed(false)
        : Effect.map(Effect.timeoutOption(Deferred.await(run.rested), wait), Option.isSome))

  /** Of what was asked to go on. */
  const answer = Effect.fnUntraced(function*(run: Run) {
    const location = { location: href("runs", run.id) }
    if (!(yield* rested(run)) || run.status === "waiting") return json(view(run), 202, location)
    return run.problem === undefined
      ? json(view(run), 200, { ...location, "preference-applied": "wait" })
      : respond(run.ranTools.size > 0 ? afterTools(run.problem) : run.problem, location)
  })

  const postRun = Effect.gen(function*() {
    yield* runs.refuseIfDraining
    const tenant = yield* tenantOf(tenants)
    const { agent: name, conversationId, input } = yield* readBody(RunBody)
    const agent = Object.hasOwn(settings.agents, name) ? settings.agents[name] : undefined
    if (agent === undefined) {
      return yield* refuse(
        400,
        "unknown-agent",
        `There is no such agent. There are: ${Object.keys(settings.agents).join(", ")}.`
      )
    }
    if (conversationId !== undefined && isReserved(conversationId)) return yield* noSuchId
    const run = yield* runs.start({
      tenant,
      name,
      agent,
      input: typeof input === "string" ? input : yield* Effect.fromResult(itemsOf(settings.acceptItems, input)),
      conversationId: conversationId ?? (yield* ids.next("conv")),
      stack: stackOf(tenants, tenant).pipe(Effect.provideContext(services))
    })
    return yield* answer(run)
  })

  const owned = Effect.gen(function*() {
    const tenant = yield* tenantOf(tenants)
    const { id, query } = yield* parameters
    const run = runs.find(id, tenant)
    return run === undefined ? yield* notFound : { run, query }
  })

  const getRun = Effect.gen(function*() {
    const { run } = yield* owned
    yield* rested(run)
    return json(view(run))
  })

  const postDecisions = Effect.gen(function*() {
    const { run } = yield* owned
    const { decisions } = yield* readBody(DecisionsBody)
    yield* runs.decide(run, decisions)
    return yield* answer(run)
  })

  const deleteRun = Effect.gen(function*() {
    const { run } = yield* owned
    // A commit that has begun is finished first, which may take its time.
    const cancelling = yield* Effect.forkDetach(runs.cancel(run, "client"))
    const isDone = Option.isSome(yield* Effect.timeoutOption(Fiber.join(cancelling), "5 seconds"))
    return json(view(run), isDone ? 200 : 202)
  })

  const getEvents = Effect.gen(function*() {
    const { query, run } = yield* owned
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    const given = headers["last-event-id"] ?? query("lastEventId")
    // A client that names nothing is given what is kept.
    const seen = given === undefined || given === "" ? run.log.first - 1 : countOf(given)
    if (seen === undefined || seen > run.log.last) {
      return yield* refuse(400, "invalid-event-id", "Last-Event-ID is not the id of an event of this run.")
    }
    if (!EventLog.follows(run.log, seen)) {
      return yield* refuse(410, "events-gone", `Events before ${run.log.first} are no longer kept.`)
    }
    // That is how an EventSource learns that there is nothing to come back for.
    if (run.log.isEnded && seen === run.log.last) return HttpServerResponse.empty({ status: 204, headers: noStore })
    yield* audience.join(run.tenant)
    return HttpServerResponse.stream(EventLog.follow(run.log, seen, settings.heartbeat), {
      contentType: "text/event-stream",
      headers: sseHeaders
    })
  })

  const session = Effect.gen(function*() {
    const tenant = yield* tenantOf(tenants)
    const stack = yield* stackOf(tenants, tenant)
    return Option.getOrUndefined(Context.getOption(stack, Session)) ?? (yield* Session)
  })

  const limitOf = (text: string | undefined): Effect.Effect<number, Refusal> => {
    const limit = text === undefined ? Math.min(50, settings.maxPageSize) : countOf(text)
    return limit === undefined || limit < 1 || limit > settings.maxPageSize
      ? refuse(400, "invalid-limit", `limit is a whole number from 1 to ${settings.maxPageSize}.`)
      : Effect.succeed(limit)
  }

  const getConversations = Effect.gen(function*() {
    const { query } = yield* parameters
    const limit = yield* limitOf(query("limit"))
    const { conversations } = yield* session
    const prefix = query("prefix")
    const after = query("after")
    const found = yield* conversations({ prefix }).pipe(
      Stream.filter(({ id }) => !id.startsWith(reserved)),
      Stream.dropWhile(({ id }) => after !== undefined && id <= after),
      Stream.take(limit + 1),
      Stream.runCollect
    )
    const page = found.slice(0, limit)
    return json({
      conversations: page.map((conversation) => ({
        ...conversation,
        links: { self: href("conversations", conversation.id) }
      })),
      ...(found.length > limit ? { next: page.at(-1)!.id } : undefined)
    })
  })

  const getConversation = Effect.gen(function*() {
    const { id, query } = yield* parameters
    const limit = yield* limitOf(query("limit"))
    if (isReserved(id)) return yield* noSuchId
    const { records } = yield* session
    const after = query("after")
    const found = yield* records(id, { after }).pipe(Stream.take(limit + 1), Stream.runCollect)
    if (found.length === 0 && after === undefined) {
      return yield* refuse(404, "not-found", "There is no such conversation.")
    }
    const page = found.slice(0, limit)
    return json({ id, records: page, ...(found.length > limit ? { next: page.at(-1)!.cursor } : undefined) })
  })

  return {
    subscribers: audience.count,
    silence: audience.silence,
    routes: routesOf([
      ["POST", "/runs", postRun],
      ["GET", "/runs/:id", getRun],
      ["DELETE", "/runs/:id", deleteRun],
      ["GET", "/runs/:id/events", getEvents],
      ["POST", "/runs/:id/decisions", postDecisions],
      ["GET", "/conversations", getConversations],
      ["GET", "/conversations/:id", getConversation]
    ])
  }
})
