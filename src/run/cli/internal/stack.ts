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
import * as Configuration from "../../extensions/Configuration.ts"
import * as Discovery from "../../extensions/Discovery.ts"
import * as packages from "../../extensions/internal/packages.ts"
import { failed } from "./failure.ts"
import * as flags from "./flags.ts"
import * as offline from "./offline.ts"
import { oneLine } from "./output.ts"

/** Where conversations and traces are kept where nothing else is said. */
export const folder = ".agent-layers"

const defaultModel = "gpt-5.4-mini"

export interface Stack {
  readonly registry: Extension.ExtensionRegistry["Service"]
  /** What is wrong with packages that say that they have extensions. */
  readonly broken: Discovery.Found["broken"]
  /** The services of the configuration, after overlays and variables. */
  readonly resolved: ReadonlyArray<Configuration.Resolved>
  /** The file of the configuration, if there is one. */
  readonly file: string | undefined
  /** The kinds that the configuration says nothing of, so that the command has chosen. */
  readonly chosen: ReadonlySet<Extension.ExtensionKind>
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
  model: variable("AGENT_LAYERS_MODEL"),
  // What other programs call it.
  common: variable("OPENAI_MODEL")
})

/** An address without a user name and password in it. */
const isServer = (url: string) => /^https?:\/\/[^\s/@]+(?:\/[^\s?#]*)?$/.test(url)

/** A key means a real model. Servers that check none take any. */
const defaultEntry = Effect.gen(function*() {
  const { common, key, model, url } = yield* environment
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
  const name = model ?? common ?? defaultModel
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

/** A registry with the extensions of this package, of the project and of the command itself. */
export const registry = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const registry = yield* Extension.makeRegistry({ installed: packages.installed })
  yield* Catalogue.register(registry)
  yield* registry.register(offlineModel, { origin: "agent-layers" })
  const hasProject = yield* Effect.orElseSucceed(fs.exists(path.resolve("package.json")), () => false)
  const broken = hasProject ? yield* Discovery.register(registry, path.resolve()) : []
  return { registry, broken }
})

/** The configuration of the command: the file that is named, or the one that is here, or none. */
const load = Effect.gen(function*() {
  const path = yield* Path.Path
  const named = Option.getOrUndefined(yield* flags.ConfigFile)
  const file = named === undefined ? yield* Configuration.find(path.resolve()) : path.resolve(named)
  const config: Configuration.Config & { readonly agents?: unknown } = file === undefined
    ? {}
    : yield* Configuration.read(file)
  if (typeof config !== "object" || config === null) return { file, config, agents: undefined }
  const { agents, ...services } = config
  if (agents === undefined) return { file, config: services, agents: undefined }
  if (typeof agents !== "string" || agents === "") {
    return yield* failed(
      `"agents" in ${file} is not the path of a module`,
      "Write the path of a module that exports agents, from where the configuration is"
    )
  }
  return { file, config: services, agents: path.resolve(path.dirname(file ?? ""), agents) }
})

const isNamed = (config: Configuration.Config, ...keys: ReadonlyArray<keyof Configuration.Config>): boolean =>
  keys.some((key) => config[key] !== undefined && config[key] !== null)

const useOf = (entry: Configuration.Stack): string => typeof entry === "string" ? entry : entry.use

const settingOf = (settings: ReadonlyArray<Extension.ShownSetting>, ...names: ReadonlyArray<string>): unknown =>
  names.map((name) => settings.find((setting) => setting.place === "use" && setting.name === name)?.value)
    .find((value) => value !== undefined)

/** Everything configured, and nothing built yet. What is wrong with the configuration is told at once. */
export const open = Effect.gen(function*() {
  const path = yield* Path.Path
  const { broken, registry: known } = yield* registry
  const { agents, config: given, file } = yield* load
  const environment = Option.getOrUndefined(yield* flags.Overlay)

  const config: Record<string, unknown> = { ...given }
  const chosen = new Set<Extension.ExtensionKind>()
  const model = isNamed(given, "model", "model_provider") ? undefined : yield* defaultEntry
  if (model !== undefined) {
    config["model"] = model.entry
    chosen.add("model")
  }
  if (!isNamed(given, "session", "memory")) {
    chosen.add("session")
    config["session"] = { use: "sqlite", settings: { filename: path.join(yield* privateFolder, "conversations.db") } }
  }
  if (!isNamed(given, "tracer")) {
    chosen.add("tracer")
    config["tracer"] = { use: "sqlite", settings: { filename: path.join(yield* privateFolder, "traces.db") } }
  }
  const resolved = yield* Configuration.apply(known, config as Configuration.Config, { environment })

  const describe = Effect.fnUntraced(function*(kind: "session" | "model") {
    const entry = resolved.find((one) => one.kind === kind && one.instance === "default")?.entry
    if (entry === undefined) return "none"
    if (kind === "model" && model !== undefined && useOf(entry) === model.entry.use) return model.line
    const settings = yield* known.settings(kind)
    const what = settingOf(settings, "filename", "model", "baseURL", "bucket")
    const wrap = typeof entry === "string" ? [] : (entry.wrap ?? []).map(useOf)
    return `${[...wrap, useOf(entry)].join(" over ")}${what === undefined ? "" : `: ${oneLine(String(what), 200)}`}`
  })

  let traces: string | undefined
  let tracers: Layer.Layer<never, ExtensionError> = Layer.empty
  for (const { entry, instance, kind } of resolved) {
    if (kind !== "tracer") continue
    tracers = Layer.merge(tracers, known.layer("tracer", instance))
    if (traces !== undefined || useOf(entry) !== "sqlite") continue
    const filename = settingOf(yield* known.settings("tracer", instance), "filename")
    if (typeof filename === "string") traces = path.resolve(filename)
  }

  const stack: Stack = {
    registry: known,
    broken,
    resolved,
    file,
    chosen,
    model: yield* describe("model"),
    session: yield* describe("session"),
    agents,
    traces,
    models: known.layer("model"),
    sessions: (instance) => known.layer("session", instance),
    tracers
  }
  return stack
})

/** What runs need, and the tools and servers of the configuration. */
export const services = (
  stack: Stack
): Layer.Layer<ModelProvider | Session, ExtensionError> =>
  Layer.mergeAll(stack.models, stack.sessions("default"), stack.tracers)

/** Runs an effect on services that are built for it, and released after it. */
export const using = <A, E, R, Provided, EL>(
  layer: Layer.Layer<Provided, EL>,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | EL, Exclude<R, Provided>> =>
  Effect.scoped(
    Effect.flatMap(Layer.build(layer), (context) => Effect.provideContext(effect, context as Context.Context<Provided>))
  ) as Effect.Effect<A, E | EL, Exclude<R, Provided>>
