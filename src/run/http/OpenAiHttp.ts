/**
 * Agents behind the API of OpenAI: routes that an Effect server mounts, so that existing clients talk to agents as they
 * talk to models. `model` names the agent.
 *
 * | route | answers |
 * |---|---|
 * | `GET /v1/models`, `GET /v1/models/:id` | the agents |
 * | `POST /v1/responses` | a run as a response, whole or as server-sent events |
 * | `GET /v1/responses/:id`, `DELETE /v1/responses/:id` | a response that is stored, or is being made |
 * | `POST /v1/responses/:id/cancel` | interrupts the run of a response that is being made |
 * | `POST /v1/chat/completions` | a run as a chat completion, whole or as chunks up to `[DONE]` |
 *
 * Failures are `{ error: { message, type, code, param } }` with their status; they never hold a cause, a key or what a
 * provider said. A stream begins when the agent has something to say, at the latest after 2 seconds: what fails before
 * that is answered with its status, what fails later is the event `response.failed`, or an error in place of a chunk.
 * `x-should-retry` says that only what has not begun may be asked again by itself.
 *
 * Once a tool has run, each failure is 400 `failed_after_tools`, and `reason` has the code of the failure: clients that
 * retry by themselves do not repeat a 400. A stream that has begun reports the same code in its last event.
 *
 * **What a client sees**
 *
 * The messages of the agents, in the order in which they are said; no reasoning, and no tool calls unless
 * `showToolCalls`. In a chat completion they are one text, with an empty line between them. Where an agent has an
 * output of its own, only the final answer (`messages`).
 *
 * **What a client decides**
 *
 * What to say, and where to go on. Instructions, tools and how the model is asked are the agent's: instructions (in
 * whatever role) and tools are refused with 400 unless an option says otherwise, sampling parameters are left aside
 * unless `settings` is `"apply"`, and so is what an agent has no use for (`stop`, `seed`, `service_tier`, …). An output
 * format is refused where the agent answers in text, and left aside where it has an output of its own, whose form the
 * answer then has. `n` greater than 1, `background`, `prompt`, `logprobs` and audio are refused.
 *
 * **Conversations**
 *
 * A response with `store` (the default) is a run on a conversation of the `Session`, which `conversation` names; an
 * unknown one begins. `previous_response_id` goes on in the conversation of that response where it is the last there;
 * where the conversation has gone on since, what led to the response is copied into a new conversation, so that a
 * client may branch. (A session without versions cannot tell, and goes on at the end.) Stored responses are kept in the
 * `Session` under ids that begin with `agent-layers/responses/`: they outlive the process and can be read by another
 * one, until they are deleted; deleting one leaves its conversation alone. Sessions that keep only what their provider
 * knows keep no responses. Failed responses are not stored. Without `store` nothing is written, save to a conversation
 * that is named. Chat completions are never stored.
 *
 * **Approvals**
 *
 * A run whose agent asks for an approval fails with 409 `approval_required`, and nothing of that turn is stored: nobody
 * can be asked over this API. The routes of `RunHttp` can, side by side with these.
 *
 * @see https://platform.openai.com/docs/api-reference/responses
 * @see https://platform.openai.com/docs/api-reference/chat
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { ModelProvider } from "../../services/ModelProvider.ts"
import type { Session } from "../../services/Session.ts"
import type * as Agent from "../Agent.ts"
import type { RequirementsOf } from "./internal/exchange.ts"
import * as Guard from "./internal/guard.ts"
import * as Keys from "./internal/openAiKeys.ts"
import * as internal from "./internal/openAiRoutes.ts"
import * as runs from "./internal/openAiRuns.ts"
import { refusalOf } from "./internal/problem.ts"
import type { Request, RequestRefused, Tenants } from "./RunHttp.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options<Agents extends Readonly<Record<string, Agent.Any>>, Provided = never, E = never, R = never> {
  /** By the name that clients use as `model`. */
  readonly agents: Agents
  /** @default "/v1" */
  readonly prefix?: `/${string}` | undefined
  /**
   * Who may ask. A list: requests come with one of these keys as bearer token, which is compared in constant time; the
   * limits count for each key, and all see the same conversations and responses, as the keys of one project do. A
   * function names the owner of the request, and each owner has conversations and stored responses of its own, under
   * ids that begin with its name in the `Session`. Absent: everybody who reaches the routes.
   */
  readonly keys?:
    | ReadonlyArray<Redacted.Redacted>
    | ((request: Request) => Effect.Effect<string, RequestRefused, R>)
    | undefined
  /** Each request is somebody's, and runs on that tenant's own services. See `RunHttp.Tenants`. */
  readonly tenants?: Tenants<Provided, E, R> | undefined
  /**
   * Which items a client may send: messages with the role `user`; those of the assistant too, as clients do that keep
   * the conversation themselves (they can then make up what the agent has said); or any, outputs of tools and messages
   * of the developer among them. Reasoning and tool calls that a client was shown are left out, unless any are taken.
   *
   * @default "messages"
   */
  readonly acceptItems?: "user" | "messages" | "any" | undefined
  /**
   * What becomes of `instructions` and of messages with the roles `system` and `developer`. `add`: they come after the
   * agent's own instructions for this run, also after a handoff, and are not stored. Agents that are called like tools do
   * not hear of them.
   *
   * @default "refuse"
   */
  readonly instructions?: "refuse" | "add" | "ignore" | undefined
  /**
   * What becomes of tools that a client offers.
   *
   * @default "refuse"
   */
  readonly tools?: "refuse" | "ignore" | undefined
  /**
   * What becomes of `temperature`, `top_p`, limits of tokens, reasoning effort, verbosity and `parallel_tool_calls`.
   * `apply`: they win over what the agents of the run have.
   *
   * @default "ignore"
   */
  readonly settings?: "ignore" | "apply" | undefined
  /**
   * Whether what an agent says before it calls a tool or hands off is shown too, as it is written; or only the final
   * answer, which a stream then brings at once when it is known to be that.
   *
   * @default "all", and "final" for agents that have, or hand off to one that has, an output of its own
   */
  readonly messages?: "all" | "final" | undefined
  /**
   * Whether a response shows the calls of the agent's tools, with arguments and outputs, as items of the type
   * `mcp_call`: that is how clients know calls that they are not to answer.
   *
   * @default false
   */
  readonly showToolCalls?: boolean | undefined
  /** See `RunHttp.Options`. With `keys` the default is `"any"`: a foreign page has none. */
  readonly hosts?: "any" | ReadonlyArray<string> | undefined
  /** Origins of web pages that may use the routes (CORS). See `RunHttp.Options`. */
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
   * Runs of one key or tenant that go on at the same time; one more is refused with 429.
   *
   * @default as many as are left for others
   */
  readonly maxRunsPerKey?: number | undefined
  /**
   * Clients that listen to streams at the same time; one more is refused with 503. A stream outlives its run where its
   * client reads slowly.
   *
   * @default 1000
   */
  readonly maxSubscribers?: number | undefined
  /**
   * Clients of one key or tenant that listen to streams at the same time; one more is refused with 429.
   *
   * @default as many as are left for others
   */
  readonly maxSubscribersPerKey?: number | undefined
  /**
   * How long a run may take, what it waits for a client that does not read included; then it is interrupted and fails
   * with 504.
   *
   * @default "10 minutes"
   */
  readonly timeout?: Duration.Input | undefined
  /**
   * Whether a client that leaves interrupts its run, or the run goes on and is stored.
   *
   * @default "interrupt"
   */
  readonly onDisconnect?: "interrupt" | "finish" | undefined
  /**
   * A comment is sent where no event was for so long, so that proxies leave the connection open.
   *
   * @default "15 seconds"
   */
  readonly heartbeat?: Duration.Input | undefined
  /**
   * How long runs may go on when the Layer closes, before they are interrupted.
   *
   * @default "30 seconds"
   */
  readonly drainTimeout?: Duration.Input | undefined
}

/**
 * The mounted routes, for the program around them.
 *
 * @category services
 * @since 0.1.0
 */
export class OpenAiHttp extends Context.Service<OpenAiHttp, {
  /**
   * Refuses new runs with 503 from now on, waits up to `drainTimeout` for those that go on, interrupts the rest, waits
   * for their end and up to 2 seconds for clients to take the last events. Runs by itself when the Layer closes.
   */
  readonly drain: Effect.Effect<void>
  readonly counts: Effect.Effect<{
    /** Runs that go on. */
    readonly running: number
    /** Clients that listen to a stream. */
    readonly subscribers: number
  }>
}>()("agent-layers/run/http/OpenAiHttp") {}

/**
 * Adds the routes to the `HttpRouter`, for `HttpRouter.serve` or `HttpRouter.toHttpEffect`.
 *
 * The runs live in the Layer's scope: when it closes, new runs are refused and those that go on get `drainTimeout`
 * before they are interrupted (a commit that has begun is finished). With `layerDrain` around the server the runs are
 * drained before it stops listening.
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
  OpenAiHttp,
  never,
  | HttpRouter.HttpRouter
  | Exclude<ModelProvider | Session | RequirementsOf<Agents>, Provided>
  | Exclude<R, Scope.Scope>
> => Layer.effect(OpenAiHttp, make(options))

const keysOf = Effect.fnUntraced(function*(keys: Options<{}, any, any, any>["keys"]) {
  if (keys === undefined) return undefined
  if (typeof keys === "function") {
    return { of: (request: Request) => Effect.mapError(keys(request), refusalOf), areOwners: true }
  }
  // A single key shares the places with no other one.
  const numbered = keys.map((secret, index) => ({ owner: keys.length === 1 ? undefined : `key ${index}`, secret }))
  return { of: yield* Keys.make(numbered), areOwners: false }
})

const make = Effect.fnUntraced(function*(options: Options<Readonly<Record<string, Agent.Any>>, any, any, any>) {
  const { maxRuns = 100, tenants } = options
  const prefix = (options.prefix ?? "/v1").replace(/\/+$/, "")
  const started = yield* runs.make({
    maxRuns,
    maxRunsPerTenant: options.maxRunsPerKey,
    timeout: Duration.fromInputUnsafe(options.timeout ?? "10 minutes"),
    drainTimeout: Duration.fromInputUnsafe(options.drainTimeout ?? "30 seconds"),
    onDisconnect: options.onDisconnect ?? "interrupt",
    holdFor: "2 seconds"
  })
  const { rest, routes, silence, subscribers } = yield* internal.make({
    agents: options.agents,
    acceptItems: options.acceptItems ?? "messages",
    instructions: options.instructions ?? "refuse",
    tools: options.tools ?? "refuse",
    settings: options.settings ?? "ignore",
    messages: options.messages,
    showToolCalls: options.showToolCalls ?? false,
    maxBodyBytes: options.maxBodyBytes ?? 1024 * 1024,
    maxSubscribers: options.maxSubscribers ?? 1000,
    maxSubscribersPerKey: options.maxSubscribersPerKey,
    guard: yield* Guard.make(options, options.keys !== undefined),
    heartbeat: Duration.fromInputUnsafe(options.heartbeat ?? "15 seconds"),
    keys: yield* keysOf(options.keys),
    tenants: tenants === undefined ? undefined : {
      of: (request) => Effect.mapError(tenants.of(request), refusalOf),
      services: tenants.services
    }
  }, started)
  const router = yield* HttpRouter.HttpRouter
  // Without a prefix every address would be one of these.
  yield* prefix === "" ? router.addAll(routes) : router.prefixed(prefix).addAll([...routes, rest])
  // What was written last has to reach its client, unless that client does not read.
  const drain = Effect.andThen(started.drain, Effect.asVoid(Effect.timeoutOption(silence, "2 seconds")))
  // Finalizers run last first: before the one that would interrupt all runs at once.
  yield* Effect.addFinalizer(() => drain)
  return {
    drain,
    counts: Effect.sync(() => ({ running: started.running(), subscribers: subscribers() }))
  }
})

/**
 * Drains before the server stops listening: built after the server, it is closed before it.
 * `OpenAiHttp.layerDrain.pipe(Layer.provideMerge(server))`, where `server` is what `HttpRouter.serve` made of
 * `OpenAiHttp.layer`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDrain: Layer.Layer<never, never, OpenAiHttp> = Layer.effectDiscard(
  Effect.flatMap(OpenAiHttp, ({ drain }) => Effect.addFinalizer(() => drain))
)
