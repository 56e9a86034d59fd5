/** The services of a command: what the configuration chooses, and what stands in where it chooses nothing. */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Extension from "../../../services/Extension.ts"
import type { ExtensionError } from "../../../services/ExtensionError.ts"
import type { ModelProvider } from "../../../services/ModelProvider.ts"
import type { Session } from "../../../services/Session.ts"
import * as Catalogue from "../../extensions/Catalogue.ts"
import * as Discovery from "../../extensions/Discovery.ts"
import { failed } from "./failure.ts"
import * as offline from "./offline.ts"
import { oneLine } from "./output.ts"

/** Where conversations and traces are kept where nothing else is said. */
export const folder = ".agent-layers"

const defaultModel = "gpt-5.4-mini"

export interface Stack {
  readonly registry: Extension.ExtensionRegistry["Service"]
  /** What is wrong with packages that say that they have extensions. */
  readonly broken: Discovery.Found["broken"]
  /** What answers, and what keeps, in words. */
  readonly model: string
  readonly session: string
  /** The module of agents that the configuration names. */
  readonly agents: string | undefined
  /** The file of traces, where a local store keeps them. */
  readonly traces: string | undefined
  readonly models: Layer.Layer<ModelProvider, ExtensionError>
  readonly sessions: (instance: string) => Layer.Layer<Session, ExtensionError>
  readonly tracers: Layer.Layer<never, ExtensionError>
}

const offlineModel = Extension.make({
  kind: "model",
  name: "offline",
  version: Extension.version,
  compatibleWith: Extension.version,
  description: "Rules, no language model: the default of the command where there is no key.",
  canBeFallback: false,
  config: {},
  layer: () => offline.layer
})

/** A variable that is set, and not to nothing. */
const variable = (name: string) =>
  Config.option(Config.String(name)).pipe(
    Config.map(Option.filter((text) => text !== "")),
    Config.map(Option.getOrUndefined)
  )

const environment = Config.all({
  key: variable("OPENAI_API_KEY"),
  url: variable("OPENAI_BASE_URL"),
  model: variable("AGENT_LAYERS_MODEL")
})

/** An address without a user name and password in it. */
const isServer = (url: string) => /^https?:\/\/[^\s/@]+(?:\/[^\s?#]*)?$/.test(url)

/** A key means a real model. Servers that check none take any. */
const defaultEntry = Effect.gen(function*() {
  const { key, model, url } = yield* environment
  if (key === undefined) {
    const why = url === undefined
      ? "OPENAI_API_KEY is not set"
      : "OPENAI_BASE_URL is set, but no OPENAI_API_KEY: any will do for a server that checks none"
    return { line: `offline: rules, no language model (${why})`, entry: { use: "offline" } }
  }
  if (url !== undefined && !isServer(url)) {
    return yield* failed(
      "OPENAI_BASE_URL is not the plain address of a server",
      "Set it to one such as http://localhost:11434/v1, without user name, password and query"
    )
  }
  const name = model ?? defaultModel
  return {
    line: `${name} at ${url ?? "https://api.openai.com/v1"}`,
    entry: { use: "openai", settings: { model: name } }
  }
})

const privateFolder = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const full = path.resolve(folder)
  yield* fs.makeDirectory(full, { mode: 0o700 }).pipe(
    Effect.catchReason("PlatformError", "AlreadyExists", () => Effect.void),
    Effect.mapError((cause) =>
      failed(
        `Conversations cannot be kept in "${full}": ${cause.reason._tag}`,
        "Start it where you may write, or name another place in the configuration",
        cause
      )
    )
  )
  return full
})

const describe = Effect.fnUntraced(function*(
  registry: Extension.ExtensionRegistry["Service"],
  kind: "session" | "model"
) {
  const settings = yield* registry.settings(kind)
  const [first] = settings
  const value = (name: string) => settings.find((setting) => setting.place === "use" && setting.name === name)?.value
  const what = value("filename") ?? value("model") ?? value("baseURL")
  const use = settings.find(({ place }) => place === "use")?.extension ?? first?.extension ?? "configured"
  return what === undefined ? use : `${use}: ${oneLine(String(what), 200)}`
})

/** A registry with the extensions of this package, of the project and of the command itself. */
export const registry = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const registry = yield* Extension.makeRegistry()
  yield* Catalogue.register(registry)
  yield* registry.register(offlineModel, { origin: "agent-layers" })
  const hasProject = yield* Effect.orElseSucceed(fs.exists(path.resolve("package.json")), () => false)
  const broken = hasProject ? yield* Discovery.register(registry, path.resolve()) : []
  return { registry, broken }
})

/** Everything configured, and nothing built yet. */
export const open = Effect.gen(function*() {
  const path = yield* Path.Path
  const { broken, registry: known } = yield* registry
  const isConfigured = (kind: Extension.ExtensionKind) =>
    Effect.map(known.instances(kind), (instances) => instances.includes("default"))

  let model: string
  if (yield* isConfigured("model")) model = yield* describe(known, "model")
  else {
    const { entry, line } = yield* defaultEntry
    yield* known.configure("model", entry)
    model = line
  }

  if (!(yield* isConfigured("session"))) {
    const filename = path.join(yield* privateFolder, "conversations.db")
    yield* known.configure("session", { use: "sqlite", settings: { filename } })
  }
  const session = yield* describe(known, "session")

  if ((yield* known.instances("tracer")).length === 0) {
    const filename = path.join(yield* privateFolder, "traces.db")
    yield* known.configure("tracer", { use: "sqlite", settings: { filename } })
  }
  let traces: string | undefined
  for (const instance of yield* known.instances("tracer")) {
    const settings = yield* known.settings("tracer", instance)
    const found = settings.find(({ extension, name, place }) =>
      place === "use" && extension === "sqlite" && name === "filename"
    )
    if (traces === undefined && typeof found?.value === "string") traces = path.resolve(found.value)
  }
  const tracers = yield* known.instances("tracer")

  return {
    registry: known,
    broken,
    model,
    session,
    agents: undefined,
    traces,
    models: known.layer("model"),
    sessions: (instance) => known.layer("session", instance),
    tracers: tracers.reduce(
      (all: Layer.Layer<never, ExtensionError>, instance) => Layer.merge(all, known.layer("tracer", instance)),
      Layer.empty
    )
  } satisfies Stack as Stack
})

/** Runs an effect on services that are built for it, and released after it. */
export const using = <A, E, R, Provided, EL>(
  layer: Layer.Layer<Provided, EL>,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | EL, Exclude<R, Provided>> =>
  Effect.scoped(
    Effect.flatMap(Layer.build(layer), (context) => Effect.provideContext(effect, context as Context.Context<Provided>))
  ) as Effect.Effect<A, E | EL, Exclude<R, Provided>>
