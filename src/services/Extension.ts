/**
 * What an extension is: a named, versioned way to a Layer, for programs whose stack is chosen by an operator. A program
 * that wires its Layers in code does not need it.
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import type * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

const TypeId = "~agent-layers/services/Extension" as const

/**
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
 * An extension cannot be used; the message says which and what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class ExtensionError extends Schema.Error<ExtensionError>("agent-layers/services/Extension/ExtensionError")({
  _tag: Schema.tag("ExtensionError"),
  extension: Schema.String,
  reason: Schema.Literals(["NotFound", "Incompatible", "InvalidSettings", "LoadFailed", "Duplicate"]),
  description: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  readonly [TypeId] = TypeId
  override get message(): string {
    return `Extension "${this.extension}": ${this.description}`
  }
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isExtensionError = (u: unknown): u is ExtensionError => Predicate.hasProperty(u, TypeId)

/**
 * An extension whose Layer provides `Provided` from settings of type `Settings`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Extension<Settings, Provided, E = never, R = never> {
  readonly kind: ExtensionKind
  /** Unique within its kind. */
  readonly name: string
  /** Of the extension. */
  readonly version: string
  /** The range of agent-layers that it works with, as in a package.json. */
  readonly compatibleWith: string
  /** Its settings, each with a text that says what it is for. */
  readonly settings: {
    readonly config: Config.Config<Settings>
    readonly descriptions: { readonly [K in keyof Settings]: string }
  }
  readonly layer: (settings: Settings) => Layer.Layer<Provided, E, R>
}

/**
 * An extension, checked as a literal.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Settings, Provided, E = never, R = never>(
  extension: Extension<Settings, Provided, E, R>
): Extension<Settings, Provided, E, R> => extension
