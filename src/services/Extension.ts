/**
 * What an extension is: a named, versioned way to a Layer, for programs whose stack is chosen by an operator, and the
 * registry that such programs choose from. A program that wires its Layers in code needs neither.
 *
 * An extension of a package is the default export of a module that the package's manifest names:
 *
 * ```ts
 * export default Extension.make({
 *   kind: "session",
 *   name: "acme",
 *   version: "1.0.0",
 *   compatibleWith: "^0.1.0",
 *   description: "Conversations in Acme's store.",
 *   config: {
 *     url: Setting.secret("The address of the store."),
 *     timeout: Setting.duration("How long a request may take.", { default: "5 seconds" })
 *   },
 *   layer: ({ timeout, url }) => SessionAcme.layer({ timeout, url })
 * })
 * ```
 *
 * @since 0.1.0
 */
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { ExtensionError } from "./ExtensionError.ts"
import { compare } from "./internal/extensionCompatibility.ts"
import {
  aliases,
  type Any,
  type Candidate,
  type Common,
  type Compatibility,
  type Extension,
  type KindName,
  type KindOf,
  type Needed,
  type Place,
  type Probed,
  type Provides,
  type Registry,
  thisCopy,
  TypeId
} from "./internal/extensionModel.ts"
import * as internal from "./internal/extensionRegistry.ts"
import { check } from "./internal/extensionShape.ts"
import { version as currentVersion } from "./internal/version.ts"
import type { Fields, Values } from "./Setting.ts"

export {
  type Any,
  type Candidate,
  type Choice,
  type Common,
  type Compatibility,
  type Entry,
  type Extension,
  ExtensionKind,
  type KindAliases,
  type KindName,
  type KindOf,
  type Listed,
  type McpInstance,
  type Needed,
  type Place,
  type Probed,
  type Provides,
  type RegistryEvent,
  type Running,
  type ShownSetting,
  type ToolInstance
} from "./internal/extensionModel.ts"

/**
 * The version of agent-layers that extensions are compared with.
 *
 * @category constants
 * @since 0.1.0
 */
export const version: string = currentVersion

/**
 * @category guards
 * @since 0.1.0
 */
export const isExtension = (u: unknown): u is Any =>
  typeof u === "object" && u !== null && (u as { readonly [TypeId]?: unknown })[TypeId] === thisCopy

/**
 * The kind that a word names: itself, or what it is another word for.
 *
 * @category converting
 * @since 0.1.0
 */
export const kindOf = <K extends KindName>(kind: K): KindOf<K> =>
  (Object.hasOwn(aliases, kind) ? aliases[kind] : kind) as KindOf<K>

/**
 * @category options
 * @since 0.1.0
 */
export interface Options<K extends KindName, F extends Fields, N extends Needed, E> extends Common {
  readonly kind: K
  readonly config: F
  /** Which other configured services its Layer requires; they are provided. */
  readonly needs?: ReadonlyArray<N> | undefined
  readonly layer: (
    settings: Values<F>,
    place: Place<Provides[KindOf<K>]>
  ) => Layer.Layer<Provides[KindOf<K>], E, Provides[N]>
  /**
   * A harmless question, by which it is tried out when it is built and pinged after. Sessions and MCP servers have one
   * without it: a conversation that is not there, and the list of tools.
   */
  readonly probe?: ((service: Probed[KindOf<K>]) => Effect.Effect<unknown, unknown>) | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface DecoratorOptions<
  K extends Exclude<KindName, "tracer" | "tool">,
  F extends Fields,
  N extends Needed,
  E
> extends Common {
  readonly kind: K
  readonly config: F
  readonly needs?: ReadonlyArray<N> | undefined
  /** A Layer that requires the service that it provides. */
  readonly layer: (
    settings: Values<F>,
    place: Place<Provides[KindOf<K>]>
  ) => Layer.Layer<Provides[KindOf<K>], E, Provides[KindOf<K>] | Provides[N]>
  /** `reads`: it looks into what it passes on. `hides`: nobody inside of it can look. */
  readonly role?: "reads" | "hides" | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface ToolOptions<
  Tools extends Record<string, Tool.Any>,
  F extends Fields,
  N extends Needed,
  E
> extends Common {
  readonly kind: "tool"
  readonly config: F
  readonly needs?: ReadonlyArray<N> | undefined
  readonly toolkit: Toolkit.Toolkit<Tools>
  /** The handlers of the toolkit. */
  readonly layer: (
    settings: Values<F>,
    place: Place<Provides["tool"]>
  ) => Layer.Layer<Tool.HandlersFor<Tools>, E, Provides[N]>
}

interface Given extends Common {
  readonly kind: KindName
  readonly config: Fields
  readonly needs?: ReadonlyArray<Needed> | undefined
  readonly layer: unknown
  readonly role?: "reads" | "hides" | undefined
  readonly probe?: unknown
  readonly toolkit?: Toolkit.Any | undefined
}

const made = (options: Given, decorates: boolean) => ({
  ...options,
  [TypeId]: thisCopy,
  kind: Object.hasOwn(aliases, options.kind) ? aliases[options.kind] : options.kind,
  decorates,
  role: options.role,
  needs: options.needs ?? [],
  probe: options.probe,
  toolkit: options.toolkit
})

/**
 * An extension: a backend of a service, a registration (`tracer`), or a toolkit with its handlers (`tool`). Nothing is
 * checked here; a registry does when it is registered.
 *
 * A Layer that requires what is not in `needs` is a compile error.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: {
  <
    Tools extends Record<string, Tool.Any>,
    const F extends Fields,
    const N extends Needed = never,
    E = never
  >(options: ToolOptions<Tools, F, N, E>): Extension<"tool", F, E, Provides[N], Tool.HandlersFor<Tools>>
  <
    const K extends Exclude<KindName, "tool">,
    const F extends Fields,
    const N extends Needed = never,
    E = never
  >(options: Options<K, F, N, E>): Extension<KindOf<K>, F, E, Provides[N]>
} = (options: Given) => made(options, false) as never

/**
 * An extension that decorates: its Layer requires the service that it provides.
 *
 * @category constructors
 * @since 0.1.0
 */
export const decorator = <
  const K extends Exclude<KindName, "tracer" | "tool">,
  const F extends Fields,
  const N extends Needed = never,
  E = never
>(
  options: DecoratorOptions<K, F, N, E>
): Extension<KindOf<K>, F, E, Provides[KindOf<K>] | Provides[N]> => made(options, true) as never

/**
 * Whether an extension works with a version of agent-layers: whether that lies in `compatibleWith`, as npm reads it. A
 * prerelease does where npm says so, and also where both it and the release that it leads to do.
 *
 * @category comparing
 * @since 0.1.0
 */
export const compatibility = (
  extension: { readonly name: string; readonly compatibleWith: string },
  version: string = currentVersion
): Compatibility => compare("agent-layers", extension.compatibleWith, version, `"${extension.name}"`)

/**
 * What a module exports, as an extension; or `InvalidExtension` with the member that is not as it should be, or
 * `SecondCopy`.
 *
 * @category converting
 * @since 0.1.0
 */
export const validate = (
  u: unknown,
  /** Where it comes from, for the error. */
  name: string
): Result.Result<Any, ExtensionError> => check(u, name)

/**
 * The extensions that a program may choose from, and what it chose. There is no global one: two registries in one
 * program know nothing of each other.
 *
 * @category services
 * @since 0.1.0
 */
export class ExtensionRegistry extends Context.Service<ExtensionRegistry, Registry>()(
  "agent-layers/services/Extension/ExtensionRegistry"
) {}

/**
 * @category options
 * @since 0.1.0
 */
export interface RegistryOptions {
  /**
   * The version of agent-layers that extensions are compared with.
   * @default version
   */
  readonly version?: string | undefined
  /** Tells the version of a package that is installed. Without it, missing packages show when a Layer is built. */
  readonly installed?:
    | ((packageName: string, location: string | undefined) => Effect.Effect<string | undefined>)
    | undefined
  /**
   * How long a probe may take.
   * @default 10 seconds
   */
  readonly probeTimeoutMillis?: number | undefined
}

/**
 * An empty registry. Settings are read from the `ConfigProvider` of who configures.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeRegistry = (
  options: RegistryOptions = {}
): Effect.Effect<ExtensionRegistry["Service"], never, Scope.Scope> =>
  internal.make({
    version: options.version ?? currentVersion,
    installed: options.installed,
    probeTimeoutMillis: options.probeTimeoutMillis ?? 10_000
  })

/**
 * An empty registry; a new one each time that this is called.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerRegistry = (options?: RegistryOptions): Layer.Layer<ExtensionRegistry> =>
  Layer.effect(ExtensionRegistry, makeRegistry(options))

/**
 * Registers extensions for as long as the Layer lives. Fails with `Duplicate` where a name is taken, and with
 * `InvalidExtension`; nothing of this call is registered then.
 *
 * @category layers
 * @since 0.1.0
 */
export const register = (
  ...extensions: ReadonlyArray<Any>
): Layer.Layer<never, ExtensionError, ExtensionRegistry> =>
  Layer.effectDiscard(
    Effect.flatMap(
      ExtensionRegistry,
      (registry) => Effect.forEach(extensions, (extension) => registry.register(extension), { discard: true })
    )
  )

/**
 * Registers an extension that is loaded when it is chosen, for as long as the Layer lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const registerCandidate = (candidate: Candidate): Layer.Layer<never, ExtensionError, ExtensionRegistry> =>
  Layer.effectDiscard(Effect.flatMap(ExtensionRegistry, (registry) => registry.registerCandidate(candidate)))
