/**
 * Agents behind HTTP: routes that an Effect server mounts. A client starts a run, listens to its events, comes back
 * where its connection broke, decides about calls that need a person's approval, cancels, and reads conversations. A
 * run goes on whether anybody listens or not, until it is done, cancelled or the Layer closes.
 *
 * | route | answers |
 * |---|---|
 * | `POST /runs` `{ agent, input, conversationId? }` | 202 with the run; without an id a new conversation |
 * | `GET /runs/:id` | the run: `running`, `waiting` (approvals), `completed` (result), `failed`, `cancelled` (problem) |
 * | `GET /runs/:id/events` | server-sent events: the `RunEvent`s as JSON with ids, on from `Last-Event-ID` |
 * | `POST /runs/:id/decisions` `{ decisions }` | 202 with the run, which goes on, or 409 |
 * | `DELETE /runs/:id` | interrupts the run, or ends its waiting, and answers with what became of it |
 * | `GET /conversations?prefix&after&limit` | conversations by id, and where to go on |
 * | `GET /conversations/:id?after&limit` | records of a conversation in order, and where to go on |
 *
 * With `Prefer: wait=10`, `GET /runs/:id` and both `POST`s wait up to 10 seconds for the run to be over, or to wait
 * itself; where it is over a `POST` answers 200 with the result, or with the problem and its status. Failures are
 * `application/problem+json` with a `code`; they never hold a cause. Everybody who reaches the routes may use them: put
 * authentication in `tenants`, or in a middleware of the server.
 *
 * **Retries**
 *
 * Many clients send a request again after 408, 409, 429 and 5xx. Once a tool has run, a `POST` answers each failure of
 * the run with 400 `failed-after-tools`; `reason` has the code of the failure.
 *
 * **Browsers**
 *
 * A server on a loopback address refuses foreign hosts and pages of other origins with 403 (`hosts`, `origins`).
 *
 * **Approvals**
 *
 * A run whose agent asks for approvals becomes `waiting`: after `ApprovalRequested` comes the event
 * `Waiting { approvals }`, and its listeners stay. Each of the `decisions` is a `Decision` about one of them: its `id`
 * and `argumentsHash`, `isApproved`, and `reason` or `always` if wanted. When they are taken the event
 * `Decided { decisions }` comes, and the run goes on under its id, with the numbers of its events. For decisions that
 * are left out it waits again. Of two requests at the same time one is taken. Others are answered with 409:
 *
 * - `state-mismatch` (no such call waits, other arguments, twice the same call) and `not-waiting`: nothing has changed.
 * - `conversation-busy`: another run is at work on the conversation. The run still waits, as after 429 and 503: send
 *   the decisions again.
 * - `conversation-moved`: the conversation was added to while the run waited. The run has failed, and no tool has run.
 *
 * A waiting run's state stays in this process and is never told to clients. It holds no fiber and none of its tenant's
 * services, and is lost with the process: for approvals that outlive it, a program keeps the `RunState` of
 * `ApprovalRequired` itself and goes on with `Runner.resume`.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9457
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { ModelProvider } from "../../services/ModelProvider.ts"
import type { Session } from "../../services/Session.ts"
import type * as Agent from "../Agent.ts"
import type { RequirementsOf } from "./internal/exchange.ts"
import * as Guard from "./internal/guard.ts"
import { refusalOf } from "./internal/problem.ts"
import * as internal from "./internal/routes.ts"
import * as runs from "./internal/runs.ts"

/**
 * What is known of a request to somebody who has to say whose it is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  readonly method: string
  /** Path and search part, as the client sent them. */
  readonly url: string
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string | undefined>>
}

/**
 * A request that is not answered. `detail` is told to the client.
 *
 * @category errors
 * @since 0.1.0
 */
export class RequestRefused extends Schema.Error<RequestRefused>("agent-layers/run/http/RequestRefused")({
  _tag: Schema.tag("RequestRefused"),
  status: Schema.Literals([401, 403, 404, 429, 503]),
  detail: Schema.String,
  /** With 401: how to authenticate, for the header `WWW-Authenticate`. */
  challenge: Schema.optional(Schema.String)
}) {
  override get message(): string {
    return this.detail
  }
}

/**
 * Each request is somebody's, and runs on that tenant's own services. A tenant sees its own runs only, and the
 * conversations of the `Session` that its services hold.
 *
 * With a `LayerMap`: `{ of: authenticate, services: (tenant) => stacks.contextEffect(tenant) }`. A LayerMap shares what
 * is the same Layer value: give each tenant a session of its own by `Layer.fresh(SessionMemory.layer)`, or by what its
 * options name.
 *
 * @category options
 * @since 0.1.0
 */
export interface Tenants<Provided, E, R> {
  /** Whose the request is. Runs once a request, before the body is read. */
  readonly of: (request: Request) => Effect.Effect<string, RequestRefused, R>
  /**
   * What runs of this tenant, and its conversations, are served by. Held in scope for a whole run, and for a request
   * that reads conversations; not while a run waits for decisions. A failure is 503, and logged.
   */
  readonly services: (tenant: string) => Effect.Effect<Context.Context<Provided>, E, R | Scope.Scope>
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options<Agents extends Readonly<Record<string, Agent.Any>>, Provided = never, E = never, R = never> {
  /** By the name that clients use. */
  readonly agents: Agents
  /** @default "/" */
  readonly prefix?: `/${string}` | undefined
  readonly tenants?: Tenants<Provided, E, R> | undefined
  /**
   * Which items a client may send: messages of the role `user`, with text, images, files and audio, of which only role
   * and content are kept. Or any: then a client can speak as developer and make up tool outputs.
   *
   * @default "user"
   */
  readonly acceptItems?: "user" | "any" | undefined
  /**
   * Names of this server besides `localhost` and its addresses. A request whose `Host` is another name, or that a page
   * of another origin sends (`Origin`, `Sec-Fetch-Site`), is refused with 403, so that no web page reaches a local
   * server by DNS rebinding. If a proxy or a tunnel passes on the `Host` of its clients, list
   * that name here. `"any"`: these headers are not checked.
   *
   * @default [] for a server on a loopback address (or, in a server that this Layer does not see, for clients on this
   *   machine), "any" for other servers
   */
  readonly hosts?: "any" | ReadonlyArray<string> | undefined
  /**
   * Origins of web pages that may use the routes, such as `https://app.example.com`, with credentials. They get CORS
   * headers and answers to preflight requests. Without `"any"` as `hosts`, pages of all other origins are refused.
   *
   * @default []
   */
  readonly origins?: ReadonlyArray<string> | undefined
  /** @default 1 MiB */
  readonly maxBodyBytes?: number | undefined
  /**
   * Runs that go on at the same time; one more is refused with 503.
   *
   * @default 100
   */
  readonly maxRuns?: number | undefined
  /**
   * Runs of one tenant that go on at the same time; one more is refused with 429.
   *
   * @default as many as are left for others
   */
  readonly maxRunsPerTenant?: number | undefined
  /**
   * Runs that wait for decisions, each with its state in memory (the conversation among it); they do not count for
   * `maxRuns`. One more fails with 503.
   *
   * @default 1000
   */
  readonly maxWaitingRuns?: number | undefined
  /**
   * Runs of one tenant that wait for decisions; one more fails with 429.
   *
   * @default as many as are left for others
   */
  readonly maxWaitingRunsPerTenant?: number | undefined
  /**
   * How long a run waits for decisions; then it fails with 409 `approval-expired`. Decisions about some of the calls
   * begin it anew.
   *
   * @default "1 hour"
   */
  readonly waitFor?: Duration.Input | undefined
  /**
   * How long a finished run, its result and its events can be read.
   *
   * @default "5 minutes"
   */
  readonly retainFor?: Duration.Input | undefined
  /**
   * Finished runs that are kept at most. The oldest ones of the tenant with the most go first.
   *
   * @default 1000
   */
  readonly maxRetainedRuns?: number | undefined
  /**
   * Finished runs of one tenant that are kept at most; its oldest ones go first.
   *
   * @default maxRetainedRuns
   */
  readonly maxRetainedRunsPerTenant?: number | undefined
  /**
   * Events of a run that are kept, the latest ones. To go on from an event that is no longer kept is refused with 410;
   * a client that falls behind by more gets the event `Lost` and the end of its stream. A run never waits for clients.
   *
   * @default 4096
   */
  readonly maxEventsPerRun?: number | undefined
  /**
   * Bytes of a run's events that are kept; the latest event always is.
   *
   * @default 1 MiB
   */
  readonly maxEventBytesPerRun?: number | undefined
  /**
   * Clients that listen at the same time; one more is refused with 503.
   *
   * @default 1000
   */
  readonly maxSubscribers?: number | undefined
  /**
   * Clients of one tenant that listen at the same time; one more is refused with 429.
   *
   * @default as many as are left for others
   */
  readonly maxSubscribersPerTenant?: number | undefined
  /**
   * A comment is sent where no event was for so long, so that proxies leave the connection open.
   *
   * @default "15 seconds"
   */
  readonly heartbeat?: Duration.Input | undefined
  /**
   * The longest `Prefer: wait`.
   *
   * @default "60 seconds"
   */
  readonly maxWait?: Duration.Input | undefined
  /**
   * Conversations or records in one answer. Default of `limit`: 50.
   *
   * @default 200
   */
  readonly maxPageSize?: number | undefined
  /**
   * How long runs may go on when the Layer closes, before they are interrupted.
   *
   * @default "30 seconds"
   */
  readonly drainTimeout?: Duration.Input | undefined
}

/**
 * The mounted runs, for the program around them.
 *
 * @category services
 * @since 0.1.0
 */
export class RunHttp extends Context.Service<RunHttp, {
  /**
   * Refuses new runs with 503 from now on and cancels those that wait for decisions, waits up to `drainTimeout` for
   * those that go on, interrupts the rest, waits for their end and up to 2 seconds for clients to take the last events.
   * Runs by itself when the Layer closes.
   */
  readonly drain: Effect.Effect<void>
  readonly counts: Effect.Effect<{
    /** Runs that go on. */
    readonly running: number
    /** Runs that wait for decisions. */
    readonly waiting: number
    /** Finished runs that can still be read. */
    readonly retained: number
    /** Clients that listen. */
    readonly subscribers: number
  }>
}>()("agent-layers/run/http/RunHttp") {}

/**
 * Adds the routes to the `HttpRouter`, for `HttpRouter.serve` or `HttpRouter.toHttpEffect`.
 *
 * The runs live in the Layer's scope: when it closes, new runs are refused and those that go on get `drainTimeout`
 * before they are interrupted (a commit that has begun is finished). `HttpRouter.serve` stops listening before that and
 * waits for open connections, so that a stop takes up to `gracefulShutdownTimeout` and `drainTimeout` together; with
 * `layerDrain` around the server the runs are drained first.
 *
 * Runs, their results and events are kept in this process, at most `(maxRuns + maxWaitingRuns + maxRetainedRuns) *
 * maxEventBytesPerRun` bytes of events: where several processes serve, a client has to come back to the one that
 * answered it. What a run commits to its `Session` outlives all of that.
 *
 * Path parameters longer than the router's `maxParamLength` (100 characters unless configured) are not found, which
 * matters where programs make conversation ids of their own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <
  const Agents extends Readonly<Record<string, Agent.Any>>,
  Provided = never,
  E = never,
  R = never
>(
  options: Options<Agents, Provided, E, R>
): Layer.Layer<
  RunHttp,
  never,
  | HttpRouter.HttpRouter
  | Exclude<ModelProvider | Session | RequirementsOf<Agents>, Provided>
  | Exclude<R, Scope.Scope>
> => Layer.effect(RunHttp, make(options))

const make = Effect.fnUntraced(function*(options: Options<Readonly<Record<string, Agent.Any>>, any, any, any>) {
  const { maxRuns = 100, maxWaitingRuns = 1000, tenants } = options
  const prefix = (options.prefix ?? "/").replace(/\/+$/, "")
  const started = yield* runs.make({
    maxRuns,
    maxRunsPerTenant: options.maxRunsPerTenant,
    maxWaitingRuns,
    maxWaitingRunsPerTenant: options.maxWaitingRunsPerTenant,
    waitFor: Duration.fromInputUnsafe(options.waitFor ?? "1 hour"),
    maxRetainedRuns: options.maxRetainedRuns ?? 1000,
    maxRetainedRunsPerTenant: options.maxRetainedRunsPerTenant,
    retainFor: Duration.fromInputUnsafe(options.retainFor ?? "5 minutes"),
    drainTimeout: Duration.fromInputUnsafe(options.drainTimeout ?? "30 seconds"),
    events: {
      maxEvents: options.maxEventsPerRun ?? 4096,
      maxBytes: options.maxEventBytesPerRun ?? 1024 * 1024
    }
  })
  const { routes, silence, subscribers } = yield* internal.make({
    agents: options.agents,
    prefix,
    acceptItems: options.acceptItems ?? "user",
    maxBodyBytes: options.maxBodyBytes ?? 1024 * 1024,
    maxSubscribers: options.maxSubscribers ?? 1000,
    maxSubscribersPerTenant: options.maxSubscribersPerTenant,
    guard: yield* Guard.make(options),
    maxPageSize: options.maxPageSize ?? 200,
    maxWait: Duration.fromInputUnsafe(options.maxWait ?? "60 seconds"),
    heartbeat: Duration.fromInputUnsafe(options.heartbeat ?? "15 seconds"),
    tenants: tenants === undefined ? undefined : {
      of: (request) => Effect.mapError(tenants.of(request), refusalOf),
      services: tenants.services
    }
  }, started)
  const router = yield* HttpRouter.HttpRouter
  yield* (prefix === "" ? router : router.prefixed(prefix)).addAll(routes)
  // What was written last has to reach its client, unless that client does not read.
  const drain = Effect.andThen(started.drain, Effect.asVoid(Effect.timeoutOption(silence, "2 seconds")))
  // Finalizers run last first: before the one that would interrupt all runs at once.
  yield* Effect.addFinalizer(() => drain)
  return {
    drain,
    counts: Effect.sync(() => ({ ...started.counts(), subscribers: subscribers() }))
  }
})

/**
 * Drains before the server stops listening: built after the server, it is closed before it.
 * `RunHttp.layerDrain.pipe(Layer.provideMerge(server))`, where `server` is what `HttpRouter.serve` made of
 * `RunHttp.layer`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDrain: Layer.Layer<never, never, RunHttp> = Layer.effectDiscard(
  Effect.flatMap(RunHttp, ({ drain }) => Effect.addFinalizer(() => drain))
)
