/**
 * The Layer of a configuration: for programs whose stack is chosen by an operator.
 *
 * ```ts
 * const Services = Extensions.layer({
 *   session: { use: "postgres", wrap: ["cached", "encrypted"] },
 *   model: "openai"
 * })
 * // Layer<Session | ModelProvider | ExtensionRegistry | Health, ExtensionError>
 * ```
 *
 * @since 0.1.0
 */
import type * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Extension from "../../services/Extension.ts"
import { ExtensionError, NotFound } from "../../services/ExtensionError.ts"
import { buildHere } from "../../services/internal/sessionStack.ts"
import type { Any as AnyServer } from "../../services/McpServer.ts"
import * as McpServer from "../../services/McpServer.ts"
import type { ModelProvider } from "../../services/ModelProvider.ts"
import type { Sandbox } from "../../services/Sandbox.ts"
import type { Session } from "../../services/Session.ts"
import * as Catalogue from "./Catalogue.ts"
import * as Configuration from "./Configuration.ts"
import * as Discovery from "./Discovery.ts"
import * as Health from "./Health.ts"
import * as packages from "./internal/packages.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface RegistryOptions {
  /** Extensions of the program itself. */
  readonly extensions?: ReadonlyArray<Extension.Any> | undefined
  /** The folder of a project, whose direct dependencies' extensions can be chosen too. Absent: only those given. */
  readonly root?: string | undefined
  /**
   * How long a probe or a ping may take.
   * @default 10 seconds
   */
  readonly probeTimeoutMillis?: number | undefined
}

/**
 * A registry with everything that a program can choose from: this package's Layers, the program's own extensions and
 * those of its project's dependencies. What is wrong with a dependency is logged.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeRegistry = Effect.fnUntraced(function*(
  options: RegistryOptions = {}
): Effect.fn.Return<Extension.ExtensionRegistry["Service"], ExtensionError, Scope.Scope> {
  const registry = yield* Extension.makeRegistry({
    installed: packages.installed,
    probeTimeoutMillis: options.probeTimeoutMillis
  })
  yield* Catalogue.register(registry)
  for (const extension of options.extensions ?? []) yield* registry.register(extension)
  if (options.root !== undefined) {
    const broken = yield* Discovery.register(registry, options.root)
    yield* Effect.forEach(broken, ({ error }) => Effect.logWarning(error.message), { discard: true })
  }
  return registry
})

/**
 * The same as a Layer; a new registry each time that this is called.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerRegistry = (
  options?: RegistryOptions
): Layer.Layer<Extension.ExtensionRegistry, ExtensionError> =>
  Layer.effect(Extension.ExtensionRegistry, makeRegistry(options))

/**
 * The services that a configuration surely gives: those that its type has.
 *
 * @category models
 * @since 0.1.0
 */
export type ServicesOf<C> =
  | (C extends { readonly session: Configuration.Stack } | { readonly memory: Configuration.Stack } ? Session : never)
  | (C extends { readonly model: Configuration.Stack } | { readonly model_provider: Configuration.Stack }
    ? ModelProvider
    : never)
  | (C extends { readonly sandbox: Configuration.Stack } ? Sandbox : never)
  | (C extends { readonly tool: unknown } ? Extension.ToolInstance : never)

type AnyKey = Context.Key<any, any>

/**
 * @category options
 * @since 0.1.0
 */
export interface Options<N extends AnyKey> extends RegistryOptions, Configuration.ResolveOptions {
  /**
   * Services that the program needs and that the type of the configuration does not tell: all, where it is read from a
   * file; the tags of MCP servers; `Session.Sealed`. Building fails with `NotFound` where one is not configured.
   */
  readonly needs?: ReadonlyArray<N> | undefined
}

/** In which order services are built: each may need those before it. */
const order: ReadonlyArray<Extension.KindName> = ["tracer", "model", "sandbox", "session", "mcp", "tool"]

const doNext = (key: string): string => {
  const server = /^agent-layers\/mcp\/(.*)$/.exec(key)?.[1]
  if (server !== undefined) return `Configure it: mcp: { ${server}: { use: … } }`
  if (key === "agent-layers/services/Session/Sealed") return `Encrypt the session: session: { wrap: ["encrypted"] }`
  const kind = { ModelProvider: "model", Session: "session", Sandbox: "sandbox" }[key.slice(key.lastIndexOf("/") + 1)]
  return kind === undefined ? "No extension that is configured gives it" : `Configure it: ${kind}: { use: … }`
}

const built = Effect.fnUntraced(function*(
  config: Configuration.Config | Effect.Effect<Configuration.Config, ExtensionError>,
  options: Options<AnyKey>
): Effect.fn.Return<Context.Context<never>, ExtensionError, Scope.Scope> {
  const registry = yield* makeRegistry(options)
  const value = Effect.isEffect(config) ? yield* config : config
  const resolved = yield* Configuration.apply(registry, value, options)
  let context: Context.Context<never> = Context.make(Extension.ExtensionRegistry, registry).pipe(
    Context.add(Health.Health, Health.make(registry))
  )
  for (const kind of order) {
    for (const one of resolved) {
      if (one.kind !== kind || !one.isProvided) continue
      context = Context.merge(context, yield* buildHere(registry.layer(one.kind, one.instance)))
    }
  }
  for (const { key } of options.needs ?? []) {
    if (context.mapUnsafe.has(key)) continue
    return yield* new ExtensionError({
      extension: "configuration",
      reason: new NotFound({
        what: "service",
        name: key,
        valid: [...context.mapUnsafe.keys()].filter((key) => !key.startsWith("effect/")),
        doNext: doNext(key)
      })
    })
  }
  return context
})

/**
 * The services of a configuration, and the registry and the health of them. Everything that is wrong with the configuration
 * is told at once, before anything is built. Services are closed with the Layer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const C extends Configuration.Config, N extends AnyKey = never>(
  config: C | Effect.Effect<C, ExtensionError>,
  options: Options<N> = {}
): Layer.Layer<
  ServicesOf<C> | Context.Service.Identifier<N> | Extension.ExtensionRegistry | Health.Health,
  ExtensionError
> => Layer.effectContext(built(config, options)) as Layer.Layer<any, ExtensionError>

/**
 * The services that the project in a folder configures, by its file and by variables, from this package and from the
 * project's dependencies.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerProject = <N extends AnyKey = never>(
  options: Omit<Options<N>, "root"> & {
    /** Absent: the working directory. */
    readonly root?: string | undefined
  } = {}
): Layer.Layer<
  Context.Service.Identifier<N> | Extension.ToolInstance | Extension.ExtensionRegistry | Health.Health,
  ExtensionError
> => {
  const root = options.root ?? packages.workingDirectory()
  return Layer.effectContext(built(Configuration.load(root), { ...options, root })) as Layer.Layer<any, ExtensionError>
}

/**
 * A tool that is known at run time only. Its handler needs nothing but its Layer.
 *
 * @category models
 * @since 0.1.0
 */
export type AnyTool = Tool.Tool<
  string,
  {
    readonly parameters: typeof Schema.Unknown
    readonly success: typeof Schema.Unknown
    readonly failure: typeof Schema.Unknown
    readonly failureMode: Tool.FailureMode
  }
>

/**
 * The tools of all configured tool extensions; their handlers are in the Layer. Two tools of one name are refused by the
 * run that is given them.
 *
 * @category accessors
 * @since 0.1.0
 */
export const toolkit: Effect.Effect<
  Toolkit.Toolkit<Record<string, AnyTool>>,
  ExtensionError,
  Extension.ExtensionRegistry
> = Effect.gen(function*() {
  const registry = yield* Extension.ExtensionRegistry
  const toolkits = yield* Effect.forEach(yield* registry.instances("tool"), (instance) => registry.toolkit(instance))
  return Toolkit.merge(...toolkits) as unknown as Toolkit.Toolkit<Record<string, AnyTool>>
})

/**
 * The tags of all configured MCP servers, for an agent's `mcpServers`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const mcpServers: Effect.Effect<ReadonlyArray<AnyServer>, never, Extension.ExtensionRegistry> = Effect.gen(
  function*() {
    const registry = yield* Extension.ExtensionRegistry
    const names = yield* Effect.orElseSucceed(registry.instances("mcp"), () => [])
    return names.map((name) => McpServer.Service<Extension.McpInstance>()(name))
  }
)
