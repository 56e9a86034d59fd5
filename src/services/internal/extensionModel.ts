import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { ExtensionError } from "../ExtensionError.ts"
import type { McpServer } from "../McpServer.ts"
import type { ModelProvider } from "../ModelProvider.ts"
import type { Sandbox } from "../Sandbox.ts"
import type { Session } from "../Session.ts"
import type { Fields, Values } from "../Setting.ts"
import { version } from "./version.ts"

// Not stripped from the declarations: the types of extensions refer to it.
export const TypeId = "~agent-layers/services/Extension" as const

/**
 * What tells the extensions of this copy of agent-layers from those of another one in the process.
 *
 * @internal
 */
export const thisCopy: { readonly version: string } = { version }

/**
 * What an extension is for.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ExtensionKind = Schema.Literals(["session", "model", "sandbox", "tracer", "mcp", "tool"])

/**
 * @category models
 * @since 0.1.0
 */
export type ExtensionKind = typeof ExtensionKind.Type

/**
 * Other words for kinds.
 *
 * @category models
 * @since 0.1.0
 */
export interface KindAliases {
  readonly memory: "session"
  readonly model_provider: "model"
}

/** @internal */
export const aliases: Readonly<Record<string, ExtensionKind>> = { memory: "session", model_provider: "model" }

/**
 * A kind, or another word for it.
 *
 * @category models
 * @since 0.1.0
 */
export type KindName = ExtensionKind | keyof KindAliases

/**
 * @category models
 * @since 0.1.0
 */
export type KindOf<K extends KindName> = K extends keyof KindAliases ? KindAliases[K] : Extract<K, ExtensionKind>

/**
 * The connection of one configured MCP server; its tag is `Place.server`.
 *
 * @category models
 * @since 0.1.0
 */
export interface McpInstance {
  readonly _: unique symbol
}

/**
 * The handlers of one configured tool extension: those of `toolkit(instance)`, known at run time only.
 *
 * @category models
 * @since 0.1.0
 */
export type ToolInstance = Tool.Handler<string>

/**
 * What a Layer of each kind provides. A tracer registers itself, and provides nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface Provides {
  readonly session: Session
  readonly model: ModelProvider
  readonly sandbox: Sandbox
  readonly tracer: never
  readonly mcp: McpInstance
  readonly tool: ToolInstance
}

/**
 * A kind whose service other extensions can need.
 *
 * @category models
 * @since 0.1.0
 */
export type Needed = "session" | "model" | "sandbox"

/**
 * Where an extension stands in a program.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place<Provided> {
  /** The name that its configuration gave it; `default` where it gave none. */
  readonly instance: string
  /** The tag to provide, of an MCP server. */
  readonly server: McpServer<McpInstance, string>
  /** Another configured instance of the same kind: the backup of a fallback, a provider of a router. */
  readonly of: (instance: string) => Layer.Layer<Provided, ExtensionError>
}

/**
 * What all extensions have in common.
 *
 * @category models
 * @since 0.1.0
 */
export interface Common {
  /** Unique within its kind: letters, digits and `-`. */
  readonly name: string
  /** Of the extension. */
  readonly version: string
  /** The range of agent-layers that it works with, as in a package.json. */
  readonly compatibleWith: string
  /** What it is, in a sentence. */
  readonly description: string
  /** Packages without which it cannot be loaded, and their ranges. */
  readonly packages?: Readonly<Record<string, string>> | undefined
  /** Whether it may stand in for another that is not available. Default: true. */
  readonly canBeFallback?: boolean | undefined
}

/**
 * An extension of any kind, once it is made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any extends Common {
  readonly [TypeId]: object
  readonly kind: ExtensionKind
  readonly decorates: boolean
  /** Of a decorator: whether it looks into what it passes on, or hides it from those inside. */
  readonly role: "reads" | "hides" | undefined
  readonly needs: ReadonlyArray<Needed>
  readonly config: Fields
  readonly layer: (settings: never, place: Place<unknown>) => Layer.Layer<never, unknown, unknown>
  readonly probe: ((service: never) => Effect.Effect<unknown, unknown>) | undefined
  /** Of a tool extension. */
  readonly toolkit: Toolkit.Any | undefined
}

/**
 * The service of a kind, as a probe is given it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Probed {
  readonly session: Session["Service"]
  readonly model: ModelProvider["Service"]
  readonly sandbox: Sandbox["Service"]
  readonly tracer: undefined
  readonly mcp: Context.Service.Shape<McpServer<McpInstance, string>>
  readonly tool: undefined
}

/**
 * An extension of one kind.
 *
 * @category models
 * @since 0.1.0
 */
export interface Extension<
  Kind extends ExtensionKind,
  F extends Fields,
  E = never,
  R = never,
  Provided = Provides[Kind]
> extends Common {
  readonly [TypeId]: object
  readonly kind: Kind
  readonly decorates: boolean
  readonly role: "reads" | "hides" | undefined
  readonly needs: ReadonlyArray<Needed>
  readonly config: F
  readonly layer: (settings: Values<F>, place: Place<Provides[Kind]>) => Layer.Layer<Provided, E, R>
  readonly probe: ((service: Probed[Kind]) => Effect.Effect<unknown, unknown>) | undefined
  readonly toolkit: Toolkit.Any | undefined
}

/**
 * An extension of which only the manifest is known: its module is loaded when it is chosen by name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Candidate {
  readonly kind: ExtensionKind
  readonly name: string
  readonly version: string
  readonly compatibleWith: string
  readonly description: string
  readonly decorates: boolean
  /** The package that it is in. */
  readonly origin: string
  /** The folder of that package. */
  readonly location: string
  /** Imports the module. */
  readonly load: Effect.Effect<unknown, ExtensionError>
}

/**
 * An extension as a list shows it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listed {
  readonly kind: ExtensionKind
  readonly name: string
  readonly version: string
  readonly compatibleWith: string
  readonly compatibility: Compatibility
  readonly description: string
  readonly decorates: boolean
  /** `agent-layers`, the package that it is in, or `this program`. */
  readonly origin: string
  /** Present once it is loaded. */
  readonly extension: Any | undefined
}

/**
 * Whether an extension works with a version of agent-layers.
 *
 * @category models
 * @since 0.1.0
 */
export type Compatibility =
  | { readonly _tag: "Compatible" }
  | {
    readonly _tag: "Incompatible"
    readonly required: string
    readonly found: string
    readonly doNext: string
  }

/**
 * One layer of a stack: the name of an extension, and its settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface Choice {
  readonly use: string
  readonly settings?: Readonly<Record<string, unknown>> | undefined
}

/**
 * What one service is made of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry extends Choice {
  /** Decorators, the outermost first. */
  readonly wrap?: ReadonlyArray<string | Choice> | undefined
  /** The backend to use where the chosen one cannot be used. It gets the same decorators. */
  readonly fallback?: string | Choice | undefined
  /** Whether a fallback is forbidden. Default: false. */
  readonly required?: boolean | undefined
  /** Whether the backend is tried out when it is built. Default: true. */
  readonly probe?: boolean | undefined
}

/**
 * A setting as it will be used.
 *
 * @category models
 * @since 0.1.0
 */
export interface ShownSetting {
  /** `use`, or the place in the stack: `wrap[0]`, `fallback`. */
  readonly extension: string
  readonly place: string
  readonly name: string
  readonly description: string
  /** `<redacted>` where it is secret; `undefined` where nobody set it. */
  readonly value: unknown
  readonly source: "file" | "environment" | "default" | "absent"
  readonly isSecret: boolean
  /** The variables that set it, the strongest first. */
  readonly variables: ReadonlyArray<string>
}

/**
 * One service that was built and is in use.
 *
 * @category models
 * @since 0.1.0
 */
export interface Running {
  readonly kind: ExtensionKind
  readonly instance: string
  /** The backend that serves. */
  readonly use: string
  /** Outermost first. */
  readonly wrap: ReadonlyArray<string>
  /** In milliseconds since 1970. */
  readonly since: number
  /** Where the backend is the fallback. */
  readonly degraded: {
    readonly since: number
    readonly insteadOf: string
    readonly reason: ExtensionError
  } | undefined
  /** Asks it whether it is there; absent where there is no harmless question. */
  readonly ping: Effect.Effect<void, ExtensionError> | undefined
}

/**
 * What happened in a registry.
 *
 * @category models
 * @since 0.1.0
 */
export type RegistryEvent =
  | {
    readonly _tag: "Registered" | "Removed" | "Loaded"
    readonly kind: ExtensionKind
    readonly name: string
    readonly origin: string
  }
  | { readonly _tag: "Configured"; readonly kind: ExtensionKind; readonly instance: string; readonly use: string }
  | {
    readonly _tag: "Built" | "Released"
    readonly kind: ExtensionKind
    readonly instance: string
    readonly use: string
  }
  | {
    readonly _tag: "Degraded"
    readonly kind: ExtensionKind
    readonly instance: string
    readonly use: string
    readonly insteadOf: string
    readonly reason: ExtensionError
  }

/**
 * What a registry can do.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registry {
  /** Adds an extension until the scope closes. Fails with `Duplicate` or `InvalidExtension`. */
  readonly register: (
    extension: Any,
    options?: {
      /** Who it comes from. Default: `this program`. */
      readonly origin?: string | undefined
    }
  ) => Effect.Effect<void, ExtensionError, Scope.Scope>
  /** Adds one that is loaded when it is chosen, until the scope closes. Fails with `Duplicate`. */
  readonly registerCandidate: (candidate: Candidate) => Effect.Effect<void, ExtensionError, Scope.Scope>
  /** By kind and name. Loads nothing. */
  readonly list: Effect.Effect<ReadonlyArray<Listed>>
  /** The extension of that name, loaded. Fails with `NotFound`, and with what loading it fails with. */
  readonly get: (kind: KindName, name: string) => Effect.Effect<Any, ExtensionError>
  /**
   * Says what a service is made of, and reads its settings: from the entry, and from the environment. What is wrong is
   * told at once. What was built before stays as it is.
   */
  readonly configure: (
    kind: KindName,
    entry: string | Entry,
    options?: { readonly instance?: string | undefined; readonly path?: string | undefined }
  ) => Effect.Effect<void, ExtensionError>
  /** The configured instances of a kind, in the order in which they were configured. */
  readonly instances: (kind: KindName) => Effect.Effect<ReadonlyArray<string>>
  /** The settings of a configured service, secrets redacted. */
  readonly settings: (
    kind: KindName,
    instance?: string
  ) => Effect.Effect<ReadonlyArray<ShownSetting>, ExtensionError>
  /**
   * The configured service. The same Layer each time, so that one program builds it once; what is configured when it is
   * built holds.
   */
  readonly layer: <K extends KindName>(
    kind: K,
    instance?: string
  ) => Layer.Layer<Provides[KindOf<K>], ExtensionError>
  /** The tools of a configured tool extension, whose handlers are `layer("tool", instance)`. */
  readonly toolkit: (instance?: string) => Effect.Effect<Toolkit.Any, ExtensionError>
  /** What was built from it and is in use. */
  readonly running: Effect.Effect<ReadonlyArray<Running>>
  /** What happens from the moment that somebody listens; who listens slowly misses what is older than 256 events. */
  readonly events: Stream.Stream<RegistryEvent>
}
