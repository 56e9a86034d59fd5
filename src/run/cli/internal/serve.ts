// @effect-diagnostics nodeBuiltinImport:off
/** `serve`: agents over HTTP. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
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
import * as Keys from "../../http/internal/openAiKeys.ts"
import * as OpenAiHttp from "../../http/OpenAiHttp.ts"
import * as RunHttp from "../../http/RunHttp.ts"
import * as agentsOf from "./agents.ts"
import { ending } from "./ending.ts"
import { failed, misused } from "./failure.ts"
import * as flags from "./flags.ts"
import { count, oneLine, Output } from "./output.ts"
import * as stack from "./stack.ts"

const variable = "AGENT_LAYERS_SERVE_KEYS"

interface Key {
  /** Whose it is; keys without a name are the server's own. */
  readonly owner: string | undefined
  readonly secret: Redacted.Redacted
}

/** `key` or `name=key`, one a line or between commas. What a key is made of is told to nobody. */
const parseKeys = (text: string, from: string) =>
  Effect.forEach(
    text.split(/[\n,]/).map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#")),
    (line, index) => {
      const at = /^([A-Za-z][\w.-]*)=(.*)$/.exec(line)
      const [owner, secret] = at === null ? [undefined, line] : [at[1]!, at[2]!]
      const which = `Key ${index + 1} of ${from}`
      if (secret.length < 16 || /\s/.test(secret)) {
        return Effect.fail(failed(
          `${which} has fewer than 16 characters, or a space in it`,
          "Make one with: openssl rand -hex 32"
        ))
      }
      const refused = owner === undefined ? undefined : refuseTenant(owner)
      if (refused !== undefined) return Effect.fail(failed(`${which}: ${refused.message}`))
      return Effect.succeed<Key>({ owner, secret: Redacted.make(secret) })
    }
  )

const keysOf = Effect.fnUntraced(function*(file: Option.Option<string>) {
  const fs = yield* FileSystem.FileSystem
  const given = Option.getOrUndefined(yield* Config.option(Config.Redacted(variable)))
  const fromVariable = given === undefined ? [] : yield* parseKeys(Redacted.value(given), variable)
  if (Option.isNone(file)) return fromVariable
  const text = yield* Effect.mapError(
    fs.readFileString(file.value),
    (error) =>
      failed(`"${file.value}" cannot be read: ${error.reason._tag}`, "Name a file with a key a line: --keys-file FILE")
  )
  return [...fromVariable, ...(yield* parseKeys(text, `"${file.value}"`))]
})

const isLoopback = (host: string) => host === "localhost" || host === "::1" || host.startsWith("127.")

/** What a served run is given; known when its module is loaded, and not to the compiler. */
type Provided = ModelProvider | Session.Session

/** Each key is somebody's, and who has a name has conversations of their own. */
const tenantsOf = Effect.fnUntraced(function*(keys: ReadonlyArray<Key>, services: Context.Context<Provided>) {
  const check = yield* Keys.make(keys.map(({ secret }) => secret))
  const session = Context.get(services, Session.Session)
  const contexts = new Map(
    keys.map(({ owner }) => [
      owner ?? "",
      owner === undefined
        ? services
        : Context.add(services, Session.Session, prefixedSession(session, owner))
    ])
  )
  const tenants: RunHttp.Tenants<Provided, never, never> = {
    of: (request) =>
      Effect.matchEffect(check(request as Parameters<typeof check>[0]), {
        onFailure: () =>
          Effect.fail(
            new RunHttp.RequestRefused({
              status: 401,
              detail: "The key is missing or wrong. Send it as Authorization: Bearer <key>.",
              challenge: "Bearer"
            })
          ),
        onSuccess: (name) => Effect.succeed(keys[Number(name.slice("key ".length))]?.owner ?? "")
      }),
    services: (tenant) => Effect.succeed(contexts.get(tenant) ?? services)
  }
  return tenants
})

const positive = (name: string, value: number, what: string) =>
  Flag.Int(name).pipe(
    Flag.filter((n) => n > 0, () => "a number above 0"),
    Flag.withDefault(value),
    Flag.withDescription(`${what}. Default: ${value}`)
  )

export const serve = Command.make(
  "serve",
  {
    agents: flags.agents,
    host: Flag.String("host").pipe(
      Flag.withDefault("127.0.0.1"),
      Flag.withDescription("The address to listen on. Default: 127.0.0.1")
    ),
    port: Flag.Int("port").pipe(
      Flag.filter((n) => n >= 0 && n < 65_536, () => "a port, or 0 for any"),
      Flag.withAlias("p"),
      Flag.withDefault(4117),
      Flag.withDescription("The port to listen on; 0 for any that is free. Default: 4117")
    ),
    keysFile: Flag.String("keys-file").pipe(
      Flag.optional,
      Flag.withMetavar("FILE"),
      Flag.withDescription(`Keys, one a line: KEY or NAME=KEY. Also from ${variable}`)
    ),
    open: Flag.Boolean("open").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Serve without keys to whoever reaches an address that is not this machine's own")
    ),
    maxRuns: positive("max-runs", 100, "Runs at the same time, of each API; one more gets 503"),
    maxRunsPerKey: Flag.Int("max-runs-per-key").pipe(
      Flag.filter((n) => n > 0, () => "a number above 0"),
      Flag.optional,
      Flag.withDescription("Runs of one name at the same time; one more gets 429. Default: as --max-runs")
    ),
    maxBody: positive("max-body", 1_048_576, "Bytes of a request's body"),
    timeout: positive("timeout", 600, "Seconds that a run of /v1 may take"),
    drain: Flag.Int("drain").pipe(
      Flag.filter((n) => n >= 0, () => "a number, 0 or more"),
      Flag.withDefault(30),
      Flag.withDescription("Seconds that runs have when the server is to stop. Default: 30")
    )
  },
  Effect.fnUntraced(function*(options) {
    const isJson = yield* flags.Json
    const output = yield* Output
    const keys = yield* keysOf(options.keysFile)
    if (keys.length === 0 && !isLoopback(options.host) && !options.open) {
      return yield* misused(
        `Without keys everybody who reaches ${options.host} could use the agents`,
        `Set ${variable} or --keys-file FILE; or say that this is wanted: --open`
      )
    }
    const services = yield* stack.open
    const agents = yield* agentsOf.of(Option.getOrUndefined(options.agents), services)
    const built = yield* Layer.build(Layer.provideMerge(agents.layer, stack.services(services)))
    const context = built as Context.Context<Provided>
    const tenants = keys.length === 0 ? undefined : yield* tenantsOf(keys, context)
    const health = Health.make(services.registry)
    const drainTimeout = Duration.seconds(options.drain)
    const erased = agents.agents as Readonly<Record<string, Agent.Agent<unknown>>>
    const limits = { maxRuns: options.maxRuns, maxBodyBytes: options.maxBody, drainTimeout }
    const perKey = Option.getOrUndefined(options.maxRunsPerKey)

    const routes = Layer.mergeAll(
      RunHttp.layer<typeof erased, Provided>({ agents: erased, tenants, ...limits, maxRunsPerTenant: perKey }),
      OpenAiHttp.layer<typeof erased, Provided>({
        agents: erased,
        tenants,
        ...limits,
        maxRunsPerKey: perKey,
        timeout: Duration.seconds(options.timeout)
      }),
      // Says how the services are, and nothing of what they are.
      HttpRouter.add(
        "GET",
        "/health",
        Effect.flatMap(
          health.check,
          ({ status }) => HttpServerResponse.json({ status }, { status: status === "down" ? 503 : 200 })
        )
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
        `agents:  ${Object.keys(agents.agents).map((name) => oneLine(name)).join(", ")} of ${
          oneLine(agents.from, 200)
        }`,
        `model:   ${oneLine(services.model, 200)}`,
        `session: ${oneLine(services.session, 200)}`,
        `keys:    ${keys.length === 0 ? "none, everybody who reaches it may use it" : count(keys.length, "key")}`,
        "routes:  /runs, /conversations, /v1/responses, /v1/chat/completions, /v1/models, /health"
      ].join("\n"))
    }
    ending.isServer = true
    yield* Effect.addFinalizer(() =>
      isJson ? Effect.void : output.note(`stopping: up to ${options.drain} s for runs that go on`)
    )
    return yield* Effect.never
  }, Effect.scoped)
).pipe(
  Command.withShortDescription("Serve agents over HTTP"),
  Command.withDescription(
    "Serves agents over HTTP: runs with events and approvals (/runs), and the API of OpenAI (/v1). SIGTERM refuses new " +
      `runs, lets those that go on finish within --drain, and ends with 0. ${variable}: keys, KEY or NAME=KEY, between ` +
      "commas; keys with a name have conversations of their own."
  )
)
