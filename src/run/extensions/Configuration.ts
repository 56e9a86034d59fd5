/**
 * What a program's services are made of, as an operator writes it: in `agent-layers.config.ts`, `.json` or `.yaml`, and in
 * variables of the environment.
 *
 * ```yaml
 * session:
 *   use: postgres
 *   wrap: [cached, compressed, { use: encrypted, settings: { keys: { env: SESSION_KEYS } } }] # outermost first
 *   fallback: sqlite
 * model: openai
 * tracer: [console]
 * mcp:
 *   files: { use: stdio, settings: { command: mcp-server-filesystem, args: [/data] } }
 * instances:
 *   session:
 *     archive: { use: s3, settings: { bucket: conversations } }
 * environments:
 *   production: { session: { required: true } }
 *   test: { session: memory }
 * ```
 *
 * A setting is read from `AGENT_LAYERS_<KIND>_<NAME>_<SETTING>` (with the instance after the kind, where there is one), then
 * from the file, then from the variable that it is commonly set by. `AGENT_LAYERS_SESSION`, `_MODEL` and `_SANDBOX` choose a
 * backend, with `_WRAP`, `_FALLBACK` and `_REQUIRED`; `AGENT_LAYERS_TRACER` and `_TOOL` are lists. In a file, `{ env: NAME }`
 * stands for the value of a variable. Variables come from the `ConfigProvider`.
 *
 * @since 0.1.0
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Yaml from "effect/encoding/Yaml"
import type { JsonSchema } from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import type { Any, Entry, ExtensionKind, ExtensionRegistry, KindName, Listed } from "../../services/Extension.ts"
import * as Extension from "../../services/Extension.ts"
import { ExtensionError, InvalidSettings, LoadFailed, NotFound } from "../../services/ExtensionError.ts"
import { combine, type Wrong } from "../../services/internal/extensionPlan.ts"
import { nearest } from "../../services/internal/nearest.ts"
import * as packages from "./internal/packages.ts"

/**
 * The name of an extension, or that and more.
 *
 * @category models
 * @since 0.1.0
 */
export type Stack = string | Entry

/**
 * What may differ from environment to environment. `null` takes away what stood there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Services<S = Stack> {
  readonly session?: S | null | undefined
  /** Another word for `session`. */
  readonly memory?: S | null | undefined
  readonly model?: S | null | undefined
  /** Another word for `model`. */
  readonly model_provider?: S | null | undefined
  readonly sandbox?: S | null | undefined
  /** All of them see every span. */
  readonly tracer?: Stack | ReadonlyArray<Stack> | null | undefined
  /** MCP servers by name. */
  readonly mcp?: Readonly<Record<string, S | null>> | null | undefined
  readonly tool?: Stack | ReadonlyArray<Stack> | null | undefined
  /** Services by name, for those that refer to others: backups, providers of a router. */
  readonly instances?: {
    readonly session?: Readonly<Record<string, S | null>> | undefined
    readonly model?: Readonly<Record<string, S | null>> | undefined
    readonly sandbox?: Readonly<Record<string, S | null>> | undefined
  } | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Config extends Services {
  readonly $schema?: string | undefined
  /**
   * What is laid over the rest, by the value of `AGENT_LAYERS_ENV`, or else of `NODE_ENV`. Objects are merged, lists and
   * words replaced; where `use` is another, the settings of the one before are dropped.
   */
  readonly environments?: Readonly<Record<string, Services<Stack | Partial<Entry>>>> | undefined
}

/**
 * A configuration, checked as a literal: `export default Configuration.define({ … })`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const define = <const C extends Config>(config: C): C => config

/**
 * One service of a configuration, after overlays and variables.
 *
 * @category models
 * @since 0.1.0
 */
export interface Resolved {
  readonly kind: ExtensionKind
  readonly instance: string
  /** Whether a program gets it; else it is built where another refers to it. */
  readonly isProvided: boolean
  readonly entry: Stack
  /** Where it stands in the configuration. */
  readonly path: string
}

type Plain = Record<string, unknown>

const isPlain = (u: unknown): u is Plain => typeof u === "object" && u !== null && !Array.isArray(u)

const describe = (u: unknown): string =>
  Array.isArray(u) ? "a list" : u === null ? "null" : typeof u === "object" ? "an object" : `the ${typeof u} ${u}`

const issue = (path: string, message: string): Wrong => ({
  path,
  error: new ExtensionError({ extension: path, reason: new InvalidSettings({ issues: [{ path, message }] }) })
})

const kindsWithInstances = ["session", "model", "sandbox"] as const
const serviceKeys = [...Extension.ExtensionKind.literals, "memory", "model_provider", "instances"]
const configKeys = [...serviceKeys, "$schema", "environments"]

const refuseKeys = (given: Plain, known: ReadonlyArray<string>, path: string, wrong: Array<Wrong>): void => {
  for (const key of Object.keys(given)) {
    if (known.includes(key)) continue
    const like = nearest(key, known)
    wrong.push(issue(
      path === "" ? key : `${path}.${key}`,
      `there is nothing called "${key}" here${like === undefined ? "." : `; did you mean "${like}"?`} There are: ${
        known.join(", ")
      }`
    ))
  }
}

const asEntry = (given: unknown): Plain | undefined =>
  typeof given === "string" ? { use: given } : isPlain(given) ? given : undefined

/** One stack over another. What is neither a word nor an object is kept, to be refused where it stands. */
const overEntry = (under: unknown, over: unknown): unknown => {
  if (over === undefined || over === null) return over === null ? undefined : under
  const [a, b] = [asEntry(under), asEntry(over)]
  if (a === undefined || b === undefined) return over
  const isOther = b["use"] !== undefined && b["use"] !== a["use"]
  const merged: Plain = { ...a, ...b }
  if (isOther) {
    if (b["settings"] === undefined) delete merged["settings"]
  } else if (isPlain(a["settings"]) && isPlain(b["settings"])) {
    merged["settings"] = { ...a["settings"], ...b["settings"] }
  }
  for (const [key, value] of Object.entries(merged)) if (value === null) delete merged[key]
  return merged
}

const overRecord = (under: unknown, over: unknown): unknown => {
  if (over === undefined || over === null) return over === null ? undefined : under
  if (!isPlain(under) || !isPlain(over)) return over
  const merged: Plain = { ...under }
  for (const [name, value] of Object.entries(over)) {
    const entry = overEntry(merged[name], value)
    if (entry === undefined) delete merged[name]
    else merged[name] = entry
  }
  return merged
}

/** Other words for kinds become the kinds; both at once are refused. */
const normalized = (given: Plain, path: string, wrong: Array<Wrong>): Plain => {
  const named: Plain = { ...given }
  for (const alias of ["memory", "model_provider"] as const) {
    if (named[alias] === undefined) continue
    const kind = Extension.kindOf(alias)
    if (named[kind] !== undefined) {
      wrong.push(issue(path === "" ? alias : `${path}.${alias}`, `"${alias}" is another word for "${kind}": keep one`))
    } else named[kind] = named[alias]
    delete named[alias]
  }
  return named
}

const overlaid = (under: Plain, over: Plain): Plain => {
  const merged: Plain = { ...under }
  for (const kind of kindsWithInstances) merged[kind] = overEntry(under[kind], over[kind])
  merged["mcp"] = overRecord(under["mcp"], over["mcp"])
  for (const kind of ["tracer", "tool"]) if (over[kind] !== undefined) merged[kind] = over[kind] ?? undefined
  if (isPlain(over["instances"])) {
    const [a, b] = [isPlain(under["instances"]) ? under["instances"] : {}, over["instances"]]
    merged["instances"] = {
      ...a,
      ...b,
      ...Object.fromEntries(kindsWithInstances.map((kind) => [kind, overRecord(a[kind], b[kind])]))
    }
  }
  return merged
}

const variable = Effect.fnUntraced(function*(name: string) {
  const provider = yield* ConfigProvider.ConfigProvider
  const node = yield* Effect.orElseSucceed(provider.load([name]), () => undefined)
  return node?.value
})

const words = (text: string): ReadonlyArray<string> =>
  text.split(",").map((word) => word.trim()).filter((word) => word !== "")

/** What variables choose. */
const fromVariables = Effect.fnUntraced(function*(wrong: Array<Wrong>) {
  const over: Plain = {}
  for (const kind of kindsWithInstances) {
    const name = `AGENT_LAYERS_${kind.toUpperCase()}`
    const use = yield* variable(name)
    const wrap = yield* variable(`${name}_WRAP`)
    const fallback = yield* variable(`${name}_FALLBACK`)
    const required = yield* variable(`${name}_REQUIRED`)
    if (required !== undefined && required !== "true" && required !== "false") {
      wrong.push(issue(`${kind}.required`, `the variable ${name}_REQUIRED: true or false is wanted, not "${required}"`))
    }
    const entry: Plain = {
      ...(use === undefined ? undefined : { use }),
      ...(wrap === undefined ? undefined : { wrap: words(wrap) }),
      ...(fallback === undefined ? undefined : { fallback }),
      ...(required === undefined ? undefined : { required: required === "true" })
    }
    if (Object.keys(entry).length > 0) over[kind] = entry
  }
  for (const kind of ["tracer", "tool"]) {
    const list = yield* variable(`AGENT_LAYERS_${kind.toUpperCase()}`)
    if (list !== undefined) over[kind] = words(list)
  }
  return over
})

const overlayOf = Effect.fnUntraced(function*(
  environments: unknown,
  given: string | undefined,
  wrong: Array<Wrong>
) {
  const asked = given ?? (yield* variable("AGENT_LAYERS_ENV"))
  const name = asked ?? (yield* variable("NODE_ENV"))
  if (environments === undefined || environments === null) return undefined
  if (!isPlain(environments)) {
    wrong.push(
      issue("environments", `an object of environments by name is wanted, and this is ${describe(environments)}`)
    )
    return undefined
  }
  for (const [name, overlay] of Object.entries(environments)) {
    if (isPlain(overlay)) refuseKeys(overlay, serviceKeys, `environments.${name}`, wrong)
    else wrong.push(issue(`environments.${name}`, `an object is wanted, and this is ${describe(overlay)}`))
  }
  if (name === undefined) return undefined
  if (!Object.hasOwn(environments, name)) {
    if (asked !== undefined) {
      const valid = Object.keys(environments)
      wrong.push({
        path: "environments",
        error: new ExtensionError({
          extension: "environments",
          reason: new NotFound({ what: "environment", name, valid, nearest: nearest(name, valid) })
        })
      })
    }
    return undefined
  }
  const overlay = environments[name]
  return isPlain(overlay) ? normalized(overlay, `environments.${name}`, wrong) : undefined
})

const listed = (kind: ExtensionKind, given: unknown): ReadonlyArray<Resolved> => {
  const all: ReadonlyArray<unknown> = Array.isArray(given) ? given : [given]
  const taken = new Map<string, number>()
  return all.map((entry, index) => {
    const use = asEntry(entry)?.["use"]
    const name = typeof use === "string" ? use : kind
    const count = (taken.get(name) ?? 0) + 1
    taken.set(name, count)
    return {
      kind,
      instance: count === 1 ? name : `${name}-${count}`,
      isProvided: true,
      entry: entry as Stack,
      path: Array.isArray(given) ? `${kind}[${index}]` : kind
    }
  })
}

const named = (
  kind: ExtensionKind,
  given: unknown,
  path: string,
  isProvided: boolean,
  wrong: Array<Wrong>
): ReadonlyArray<Resolved> => {
  if (given === undefined || given === null) return []
  if (!isPlain(given)) {
    wrong.push(issue(path, `an object of services by name is wanted, and this is ${describe(given)}`))
    return []
  }
  return Object.entries(given).filter(([, entry]) => entry !== null && entry !== undefined).map((
    [instance, entry]
  ) => ({
    kind,
    instance,
    isProvided,
    entry: entry as Stack,
    path: `${path}.${instance}`
  }))
}

const plan = Effect.fnUntraced(function*(
  config: unknown,
  environment: string | undefined,
  wrong: Array<Wrong>
): Effect.fn.Return<ReadonlyArray<Resolved>> {
  if (!isPlain(config)) {
    wrong.push(issue("configuration", `an object is wanted, and this is ${describe(config)}`))
    return []
  }
  refuseKeys(config, configKeys, "", wrong)
  const { $schema: _schema, environments, ...given } = config
  const overlay = yield* overlayOf(environments, environment, wrong)
  const base = normalized(given, "", wrong)
  const services = overlaid(
    overlay === undefined ? base : overlaid(base, overlay),
    yield* fromVariables(wrong)
  )

  const resolved: Array<Resolved> = []
  for (const kind of ["tracer", "tool"] as const) {
    if (services[kind] !== undefined && services[kind] !== null) resolved.push(...listed(kind, services[kind]))
  }
  const instances = services["instances"] ?? {}
  if (isPlain(instances)) {
    refuseKeys(instances, kindsWithInstances, "instances", wrong)
    for (const kind of kindsWithInstances) {
      resolved.push(...named(kind, instances[kind], `instances.${kind}`, false, wrong))
    }
  } else wrong.push(issue("instances", `an object of kinds is wanted, and this is ${describe(instances)}`))
  for (const kind of kindsWithInstances) {
    const entry = services[kind]
    if (entry === undefined || entry === null) continue
    resolved.push({ kind, instance: "default", isProvided: true, entry: entry as Stack, path: kind })
  }
  resolved.push(...named("mcp", services["mcp"], "mcp", true, wrong))
  return resolved
})

/**
 * @category options
 * @since 0.1.0
 */
export interface ResolveOptions {
  /** Which of `environments` holds. Absent: as `AGENT_LAYERS_ENV` says, or else `NODE_ENV`. */
  readonly environment?: string | undefined
}

const subject = "configuration"

/**
 * The services of a configuration, after overlays and variables. Extensions are not looked for yet.
 *
 * @category resolving
 * @since 0.1.0
 */
export const resolve = Effect.fnUntraced(function*(
  config: Config,
  options: ResolveOptions = {}
): Effect.fn.Return<ReadonlyArray<Resolved>, ExtensionError> {
  const wrong: Array<Wrong> = []
  const resolved = yield* plan(config, options.environment, wrong)
  if (wrong.length > 0) return yield* combine(subject, wrong)
  return resolved
})

const namesIn = (entry: Stack): ReadonlyArray<string> => {
  const given = asEntry(entry)
  const inner: ReadonlyArray<unknown> = Array.isArray(given?.["wrap"]) ? given["wrap"] : []
  return [given?.["use"], given?.["fallback"], ...inner]
    .map((one) => typeof one === "string" ? one : asEntry(one)?.["use"])
    .filter((name) => typeof name === "string")
}

/**
 * Configures a registry, and answers with the services. Everything that is wrong is told at once, with its path.
 *
 * @category resolving
 * @since 0.1.0
 */
export const apply = Effect.fnUntraced(function*(
  registry: ExtensionRegistry["Service"],
  config: Config,
  options: ResolveOptions = {}
): Effect.fn.Return<ReadonlyArray<Resolved>, ExtensionError> {
  const wrong: Array<Wrong> = []
  const resolved = yield* plan(config, options.environment, wrong)
  for (const { entry, instance, kind, path } of resolved) {
    yield* Effect.match(registry.configure(kind, entry, { instance, path }), {
      onSuccess: () => {},
      onFailure: (error) => void wrong.push({ path, error })
    })
  }
  const has = new Set(resolved.filter(({ instance }) => instance === "default").map(({ kind }) => kind))
  for (const { entry, kind, path } of resolved) {
    for (const name of namesIn(entry)) {
      const extension = yield* Effect.orElseSucceed(registry.get(kind, name), () => undefined)
      for (const need of extension?.needs ?? []) {
        if (!has.has(need)) {
          wrong.push(issue(path, `"${name}" needs a ${need}, and none is configured: add ${need}: { use: … }`))
        }
      }
    }
  }
  if (wrong.length > 0) return yield* combine(subject, wrong)
  return resolved
})

/**
 * The names that a configuration file can have, the first one found holds.
 *
 * @category constants
 * @since 0.1.0
 */
export const fileNames: ReadonlyArray<string> = ["ts", "mts", "js", "mjs", "json", "yaml", "yml"].map((ending) =>
  `agent-layers.config.${ending}`
)

const failed = (file: string, stage: "read" | "import", description: string, cause?: unknown) =>
  new ExtensionError({
    extension: file,
    reason: new LoadFailed({ stage, description, ...(cause === undefined ? undefined : { cause }) })
  })

/** Where a parser stopped, without what it read there, which may be a secret. */
const whereIn = (message: string): string => {
  const line = /at line (\d+)/.exec(message)?.[1]
  const offset = /at flow offset (\d+)/.exec(message)?.[1]
  return line !== undefined ? ` at line ${line}` : offset !== undefined ? ` at character ${offset}` : ""
}

const parseJson = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))

const parseYaml = (text: string): Effect.Effect<unknown, { readonly message: string }> =>
  Effect.try({
    try: () => Yaml.parse(text),
    catch: (error) => ({ message: error instanceof Error ? error.message : "" })
  })

const parse = (file: string, text: string): Effect.Effect<unknown, ExtensionError> =>
  file.endsWith(".json")
    // JSON is YAML, whose parser says where it stopped.
    ? Effect.catch(parseJson(text), () =>
      Effect.flatMap(
        Effect.match(parseYaml(text), {
          onFailure: ({ message }) => whereIn(message),
          onSuccess: () => ": names and texts stand in quotes, and after the last one there is no comma"
        }),
        (where) => Effect.fail(failed(file, "read", `it is no JSON${where}`))
      ))
    : Effect.mapError(parseYaml(text), ({ message }) =>
      failed(
        file,
        "read",
        /flow offset/.test(message)
          ? "it is no YAML that can be read: a list or an object in brackets is not closed, or lacks a comma"
          : `it is no YAML that can be read${whereIn(message)}`
      ))

/**
 * The configuration file of a folder, if it has one.
 *
 * @category loading
 * @since 0.1.0
 */
export const find = (
  /** Absent: the working directory. */
  folder?: string
): Effect.Effect<string | undefined> =>
  Effect.sync(() => {
    const root = packages.realPath(folder ?? packages.workingDirectory())
    return fileNames.map((name) => packages.join(root, name)).find(packages.exists)
  })

/**
 * The configuration in a file. A `.ts` or `.js` file is imported, and its default export is the configuration.
 *
 * @category loading
 * @since 0.1.0
 */
export const read = Effect.fnUntraced(function*(file: string): Effect.fn.Return<Config, ExtensionError> {
  if (!/\.(json|ya?ml|m?[jt]s)$/.test(file)) {
    return yield* failed(file, "read", "a configuration ends in .ts, .js, .json or .yaml")
  }
  if (!packages.exists(file)) {
    return yield* failed(file, "read", "it is not there")
  }
  if (!/\.(json|ya?ml)$/.test(file)) {
    const module = yield* Effect.tryPromise({
      try: () => packages.load(file),
      catch: (cause) =>
        failed(file, "import", `importing it threw: ${cause instanceof Error ? cause.message : String(cause)}`, cause)
    })
    if (module["default"] === undefined) {
      return yield* failed(
        file,
        "import",
        "it has no default export: write `export default Configuration.define({ … })`"
      )
    }
    return module["default"] as Config
  }
  const text = yield* Effect.try({
    try: () => packages.readText(file),
    catch: (cause) =>
      failed(file, "read", `it cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`)
  })
  return (yield* parse(file, text)) as Config
})

/**
 * The configuration of a folder; an empty one, to be filled by variables, where it has no file.
 *
 * @category loading
 * @since 0.1.0
 */
export const load = (
  /** Absent: the working directory. */
  folder?: string
): Effect.Effect<Config, ExtensionError> =>
  Effect.flatMap(find(folder), (file) => file === undefined ? Effect.succeed({}) : read(file))

const settingsSchema = (extension: Any | undefined): JsonSchema => {
  if (extension === undefined) return { type: "object" }
  const properties: Record<string, JsonSchema> = {}
  for (const [name, setting] of Object.entries(extension.config)) {
    properties[name] = {
      description: setting.description,
      ...(setting.default === undefined ? undefined : { default: setting.default }),
      anyOf: [setting.jsonSchema, { $ref: "#/$defs/variable" }]
    }
  }
  // What is required may also come from a variable, so that nothing is required here.
  return { type: "object", properties, additionalProperties: false }
}

const choices = (
  listed: ReadonlyArray<Listed>,
  more: Readonly<Record<string, JsonSchema>>
): ReadonlyArray<JsonSchema> =>
  listed.map(({ description, extension, name }) => ({
    type: "object",
    description,
    properties: { use: { const: name }, settings: settingsSchema(extension), ...more },
    required: ["use"],
    additionalProperties: false
  }))

const namesOf = (listed: ReadonlyArray<Listed>): JsonSchema => ({ enum: listed.map(({ name }) => name) })

/**
 * A JSON Schema of configurations with what a registry has, for editors. Settings of extensions that were not loaded yet
 * are left open.
 *
 * @category schemas
 * @since 0.1.0
 */
export const jsonSchema = (registry: ExtensionRegistry["Service"]): Effect.Effect<JsonSchema> =>
  Effect.map(registry.list, (all) => {
    const defs: Record<string, JsonSchema> = {
      variable: {
        type: "object",
        description: "The value of a variable of the environment.",
        properties: { env: { type: "string" } },
        required: ["env"],
        additionalProperties: false
      }
    }
    for (const kind of Extension.ExtensionKind.literals) {
      const backends = all.filter((one) => one.kind === kind && !one.decorates)
      const decorators = all.filter((one) => one.kind === kind && one.decorates)
      const around: Record<string, JsonSchema> = {
        ...(decorators.length === 0 ? undefined : {
          wrap: {
            type: "array",
            description: "Decorators, the outermost first.",
            items: { anyOf: [namesOf(decorators), ...choices(decorators, {})] }
          }
        }),
        fallback: {
          description: "The backend to use where the chosen one cannot be used.",
          anyOf: [namesOf(backends), { $ref: `#/$defs/${kind}-choice` }]
        },
        required: { type: "boolean", description: "Whether a fallback is forbidden." },
        probe: { type: "boolean", description: "Whether it is tried out when it is built." }
      }
      defs[kind] = { anyOf: [namesOf(backends), ...choices(backends, around)] }
      defs[`${kind}-choice`] = { anyOf: choices(backends, {}) }
      // An overlay may leave the backend as it is, and then nothing is known of its settings.
      defs[`${kind}-overlay`] = {
        anyOf: [
          { $ref: `#/$defs/${kind}` },
          { type: "object", properties: { settings: { type: "object" }, ...around }, additionalProperties: false }
        ]
      }
    }
    const servicesOf = (suffix: "" | "-overlay"): Record<string, JsonSchema> => {
      const ref = (kind: KindName): JsonSchema => ({ anyOf: [{ $ref: `#/$defs/${kind}${suffix}` }, { type: "null" }] })
      const many = (kind: KindName): JsonSchema => ({
        anyOf: [{ $ref: `#/$defs/${kind}` }, { type: "array", items: { $ref: `#/$defs/${kind}` } }, { type: "null" }]
      })
      const byName = (kind: KindName): JsonSchema => ({ type: "object", additionalProperties: ref(kind) })
      return {
        session: ref("session"),
        memory: ref("session"),
        model: ref("model"),
        model_provider: ref("model"),
        sandbox: ref("sandbox"),
        tracer: many("tracer"),
        mcp: byName("mcp"),
        tool: many("tool"),
        instances: {
          type: "object",
          properties: Object.fromEntries(kindsWithInstances.map((kind) => [kind, byName(kind)])),
          additionalProperties: false
        }
      }
    }
    return {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      title: "agent-layers.config",
      type: "object",
      properties: {
        ...servicesOf(""),
        $schema: { type: "string" },
        environments: {
          type: "object",
          additionalProperties: { type: "object", properties: servicesOf("-overlay"), additionalProperties: false }
        }
      },
      additionalProperties: false,
      $defs: defs
    }
  })
