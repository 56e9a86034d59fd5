// @effect-diagnostics nodeBuiltinImport:off
/** What `serve` does. A module of its own: a server is not loaded by the other commands. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { createServer } from "node:http"
import { prefixed as prefixedSession, refuseTenant } from "../../../services/internal/sessionPrefixed.ts"
import type { ModelProvider } from "../../../services/ModelProvider.ts"
import * as Session from "../../../services/Session.ts"
import type * as Agent from "../../Agent.ts"
import * as Health from "../../extensions/Health.ts"
import { makeRoutes, reserved } from "../../http/internal/exchange.ts"
import * as Guard from "../../http/internal/guard.ts"
import * as Keys from "../../http/internal/openAiKeys.ts"
import { respond } from "../../http/internal/problem.ts"
import * as OpenAiHttp from "../../http/OpenAiHttp.ts"
import * as RunHttp from "../../http/RunHttp.ts"
import * as agentsOf from "./agents.ts"
import { ending } from "./ending.ts"
import { failed, misused } from "./failure.ts"
import * as flags from "./flags.ts"
import { count, oneLine, Output } from "./output.ts"
import * as stack from "./stack.ts"

/** The name of the owner; keys without a name have one owner together. */
type Key = Keys.Key<string | undefined>

/** The prefix of conversations of keys without a name. Names begin with a letter. */
const unnamed = "_"

/**
 * `key` or `name=key`, one a line or between commas. A key may end with `=`, as base64 does. No message holds any part of a
 * key.
 */
const parseKeys = (text: string, from: string) =>
  Effect.forEach(
    text.split(/[\n,]/).map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#")),
    (line, index) => {
      const at = /^([A-Za-z][\w.-]*)=([^=].*)$/.exec(line)
      const [owner, secret] = at === null ? [undefined, line] : [at[1]!, at[2]!]
      const which = `Key ${index + 1} of ${from}`
      if (secret.length < 16 || /\s/.test(secret)) {
        return Effect.fail(failed(
          `${which} has fewer than 16 characters, or a space in it`,
          "Make one with: openssl rand -hex 32"
        ))
      }
      if (owner?.toLowerCase() === reservedOwner) {
        return Effect.fail(failed(`${which}: the server keeps the name "${owner}" for itself`, "Choose another name"))
      }
      const refused = owner === undefined ? undefined : refuseTenant(owner)
      if (refused !== undefined) return Effect.fail(failed(`${which}: ${refused.message}`))
      return Effect.succeed<Key>({ owner, secret: Redacted.make(secret) })
    }
  )

/** The first part of the ids that no client may name. */
const reservedOwner = reserved.slice(0, -1)

const keysOf = Effect.fnUntraced(function*(file: Option.Option<string>) {
  const fs = yield* FileSystem.FileSystem
  const given = Option.getOrUndefined(yield* Config.option(Config.Redacted(flags.keysVariable)))
  const fromVariable = given === undefined ? [] : yield* parseKeys(Redacted.value(given), flags.keysVariable)
  if (Option.isNone(file)) return fromVariable
  const text = yield* Effect.mapError(
    fs.readFileString(file.value),
    (error) =>
      failed(`"${file.value}" cannot be read: ${error.reason._tag}`, "Name a file with a key a line: --keys-file FILE")
  )
  return [...fromVariable, ...(yield* parseKeys(text, `"${file.value}"`))]
})

/** One key cannot have two owners. */
const refuseTwins = (keys: ReadonlyArray<Key>) => {
  const owners = new Map<string, string | undefined>()
  for (const { owner, secret } of keys) {
    const text = Redacted.value(secret)
    if (owners.has(text) && owners.get(text) !== owner) {
      return failed(
        `The same key has two owners: ${owner ?? "no name"} and ${owners.get(text) ?? "no name"}`,
        "Make another key with: openssl rand -hex 32"
      )
    }
    owners.set(text, owner)
  }
  return undefined
}

/** What a served run is given; known when its module is loaded, and not to the compiler. */
type Provided = ModelProvider | Session.Session

/** Each owner has conversations of their own. If no key has a name, they are those of the command. */
const tenantsOf = Effect.fnUntraced(function*(keys: ReadonlyArray<Key>, services: Context.Context<Provided>) {
  const check = yield* Keys.make(keys)
  const session = Context.get(services, Session.Session)
  const owners = new Set(keys.map(({ owner }) => owner ?? unnamed))
  const isShared = owners.size === 1 && owners.has(unnamed)
  const tenants: RunHttp.Tenants<Provided, never, never> = {
    of: (request) =>
      check(request).pipe(
        Effect.map((owner) => owner ?? unnamed),
        Effect.mapError(({ problem }) =>
          new RunHttp.RequestRefused({ status: 401, detail: problem.detail, challenge: "Bearer" })
        )
      ),
    services: (owner) =>
      Effect.succeed(isShared ? services : Context.add(services, Session.Session, prefixedSession(session, owner)))
  }
  return { tenants, isAlone: owners.size === 1 }
})

const maxSubscribers = 1000
const maxWaitingRuns = 1000

export interface Options {
  readonly agents: Option.Option<string>
  readonly host: string
  readonly port: number
  readonly keysFile: Option.Option<string>
  readonly open: boolean
  readonly cors: ReadonlyArray<string>
  readonly allowHost: ReadonlyArray<string>
  readonly maxRuns: number
  readonly maxRunsPerKey: Option.Option<number>
  readonly maxBody: number
  readonly timeout: number
  readonly drain: number
}

/** Serves until it is interrupted. */
export const serving = Effect.fnUntraced(function*(options: Options) {
  const isJson = yield* flags.Json
  const output = yield* Output
  const keys = yield* keysOf(options.keysFile)
  const twins = refuseTwins(keys)
  if (twins !== undefined) return yield* twins
  const notAnOrigin = options.cors.find((origin) => Guard.originOf(origin) === undefined)
  if (notAnOrigin !== undefined) {
    return yield* misused(
      `"${oneLine(notAnOrigin)}" is not an origin`,
      "Name scheme, host and port only: --cors https://app.example.com"
    )
  }
  const notAHost = options.allowHost.find((name) => Guard.hostnameOf(name) === undefined)
  if (notAHost !== undefined) {
    return yield* misused(`"${oneLine(notAHost)}" is not a host name`, "Name it alone: --allow-host agents.example.com")
  }
  if (keys.length === 0 && !Guard.isLoopback(options.host) && !options.open) {
    return yield* misused(
      `Without keys everybody who reaches ${options.host} could use the agents`,
      `Set ${flags.keysVariable} or --keys-file FILE; or say that this is wanted: --open`
    )
  }
  const services = yield* stack.open
  const agents = yield* agentsOf.of(Option.getOrUndefined(options.agents), services)
  const built = yield* Layer.build(Layer.provideMerge(agents.layer, stack.services(services)))
  const context = built as Context.Context<Provided>
  const { isAlone, tenants } = keys.length === 0
    ? { isAlone: true, tenants: undefined }
    : yield* tenantsOf(keys, context)
  // Whoever reaches it may ask; the services are asked once a second at most.
  const check = yield* Effect.cachedWithTTL(Health.make(services.registry).check, "1 second")
  const drainTimeout = Duration.seconds(options.drain)
  const erased = agents.agents as Readonly<Record<string, Agent.Agent<unknown>>>
  // A page of another origin has no key, and without keys the server would answer it.
  const named = Guard.hostnameOf(options.host)
  const guarded = {
    origins: options.cors,
    hosts: keys.length > 0 ? "any" as const : [...(named === undefined ? [] : [named]), ...options.allowHost]
  }
  const limits = { maxRuns: options.maxRuns, maxBodyBytes: options.maxBody, drainTimeout, ...guarded }
  // A single owner shares its places with no other one.
  const perKey = Option.getOrElse(options.maxRunsPerKey, () => isAlone ? options.maxRuns : undefined)
  const listening = isAlone ? maxSubscribers : undefined

  const routes = Layer.mergeAll(
    RunHttp.layer<typeof erased, Provided>({
      agents: erased,
      tenants,
      ...limits,
      maxRunsPerTenant: perKey,
      maxWaitingRuns,
      maxWaitingRunsPerTenant: isAlone ? maxWaitingRuns : undefined,
      maxSubscribers,
      maxSubscribersPerTenant: listening
    }),
    OpenAiHttp.layer<typeof erased, Provided>({
      agents: erased,
      tenants,
      ...limits,
      maxRunsPerKey: perKey,
      maxSubscribers,
      maxSubscribersPerKey: listening,
      timeout: Duration.seconds(options.timeout)
    }),
    // Says how the services are, and nothing of what they are.
    HttpRouter.use((router) =>
      Effect.gen(function*() {
        const { routesOf } = yield* makeRoutes(respond, yield* Guard.make(guarded))
        const health = Effect.map(check, ({ status }) =>
          HttpServerResponse.jsonUnsafe({ status }, { status: status === "down" ? 503 : 200 }))
        yield* router.addAll(routesOf([["GET", "/health", health]]))
      })
    )
  )
  const server = NodeHttpServer.layer(() => createServer({ keepAliveTimeout: 5000 }), {
    host: options.host,
    port: options.port,
    gracefulShutdownTimeout: "2 seconds"
  })
  const served = Layer.mergeAll(RunHttp.layerDrain, OpenAiHttp.layerDrain).pipe(
    Layer.provideMerge(HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true })),
    Layer.provideMerge(server),
    Layer.provide(Layer.succeedContext(context))
  )
  const running = yield* Layer.build(served).pipe(
    Effect.catchTag("ServeError", (error) =>
      Effect.fail(failed(
        `Port ${options.port} of ${options.host} cannot be listened on`,
        "Name another one: --port N, or --port 0 for any that is free",
        error
      )))
  )
  const { address } = Context.get(running, HttpServer.HttpServer)
  const url = HttpServer.formatAddress(address)
  if (isJson) yield* output.json({ url, agents: Object.keys(agents.agents), keys: keys.length })
  else {
    yield* output.print([
      `listening on ${url}`,
      `agents:  ${Object.keys(agents.agents).map((name) => oneLine(name)).join(", ")} of ${oneLine(agents.from, 200)}`,
      `model:   ${oneLine(services.model, 200)}`,
      `session: ${oneLine(services.session, 200)}`,
      `keys:    ${keys.length === 0 ? "none, everybody who reaches it may use it" : count(keys.length, "key")}`,
      ...(options.cors.length === 0 ? [] : [`origins: ${options.cors.map((origin) => oneLine(origin)).join(", ")}`]),
      "routes:  /runs, /conversations, /v1/responses, /v1/chat/completions, /v1/models, /health"
    ].join("\n"))
  }
  ending.isServer = true
  yield* Effect.addFinalizer(() =>
    isJson ? Effect.void : output.note(`stopping: up to ${options.drain} s for runs that go on`)
  )
  return yield* Effect.never
}, Effect.scoped)
