/**
 * One setting of an extension: a `Config`, and beside it what a `Config` cannot tell: a text, the default, whether it
 * is secret, and its JSON Schema. Where a value comes from (a file, the environment) is none of its business.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import type { JsonSchema } from "effect/JsonSchema"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

const TypeId = "~agent-layers/services/Setting" as const

/**
 * @category models
 * @since 0.1.0
 */
export interface Setting<out A> {
  readonly [TypeId]: typeof TypeId
  /** What it is for, in a sentence. */
  readonly description: string
  /** Without a name: it is read at the name that the setting has in the extension. */
  readonly config: Config.Config<A>
  readonly jsonSchema: JsonSchema
  /** As a file would have it. */
  readonly default: unknown
  readonly isRequired: boolean
  /** Never shown, and in no error. */
  readonly isSecret: boolean
  /** A variable that it is commonly set by, such as `DATABASE_URL`. */
  readonly variable: string | undefined
}

/**
 * The settings of an extension by name.
 *
 * @category models
 * @since 0.1.0
 */
export type Fields = Readonly<Record<string, Setting<unknown>>>

/**
 * What the settings are once they are read.
 *
 * @category models
 * @since 0.1.0
 */
export type Values<F extends Fields> = {
  readonly [Name in keyof F]: F[Name] extends Setting<infer A> ? A : never
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options<A> {
  /** What it is where nobody sets it. */
  readonly default?: A
  /** Whether nobody has to set it: it is `undefined` then. Not needed beside a default. */
  readonly optional?: boolean
  /** A variable that it is commonly set by; one that names the extension wins over it. */
  readonly variable?: string
}

type Absent<O> = O extends { readonly default: unknown } ? never
  : O extends { readonly optional: true } ? undefined
  : never

/**
 * @category guards
 * @since 0.1.0
 */
export const isSetting = (u: unknown): u is Setting<unknown> => Predicate.hasProperty(u, TypeId)

/**
 * A setting from any `Config`, which has no name of its own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, const O extends Options<A> = {}>(
  config: Config.Config<A>,
  description: string,
  options: O & {
    readonly jsonSchema: JsonSchema
    readonly isSecret?: boolean
    /** How a file would write the default, where it is not the value itself. */
    readonly shown?: unknown
  }
): Setting<A | Absent<O>> => {
  const given: Options<A> = options
  const hasDefault = given.default !== undefined
  const isOptional = !hasDefault && given.optional === true
  return {
    [TypeId]: TypeId,
    description,
    config: (hasDefault
      ? Config.withDefault(config, given.default)
      : isOptional
      ? Config.map(Config.option(config), Option.getOrUndefined)
      : config) as Config.Config<A | Absent<O>>,
    jsonSchema: options.jsonSchema,
    default: options.shown ?? given.default,
    isRequired: !hasDefault && !isOptional,
    isSecret: options.isSecret ?? false,
    variable: given.variable
  }
}

/**
 * A text.
 *
 * @category constructors
 * @since 0.1.0
 */
export const text = <const O extends Options<string> = {}>(
  description: string,
  options?: O
): Setting<string | Absent<O>> =>
  make<string, O>(Config.String(), description, { ...options as O, jsonSchema: { type: "string" } })

/**
 * A text that is shown to nobody. It has no default.
 *
 * @category constructors
 * @since 0.1.0
 */
export const secret = <const O extends Omit<Options<string>, "default"> = {}>(
  description: string,
  options?: O
): Setting<Redacted.Redacted<string> | Absent<O>> =>
  make<Redacted.Redacted<string>, O>(Config.Redacted(), description, {
    ...options as O,
    jsonSchema: { type: "string" },
    isSecret: true
  })

/**
 * A whole number.
 *
 * @category constructors
 * @since 0.1.0
 */
export const integer = <const O extends Options<number> = {}>(
  description: string,
  options?: O
): Setting<number | Absent<O>> =>
  make<number, O>(Config.Int(), description, { ...options as O, jsonSchema: { type: "integer" } })

/**
 * A number.
 *
 * @category constructors
 * @since 0.1.0
 */
export const number = <const O extends Options<number> = {}>(
  description: string,
  options?: O
): Setting<number | Absent<O>> =>
  make<number, O>(Config.Finite(), description, { ...options as O, jsonSchema: { type: "number" } })

/**
 * Yes or no.
 *
 * @category constructors
 * @since 0.1.0
 */
export const boolean = <const O extends Options<boolean> = {}>(
  description: string,
  options?: O
): Setting<boolean | Absent<O>> =>
  make<boolean, O>(Config.Boolean(), description, { ...options as O, jsonSchema: { type: "boolean" } })

/**
 * How long, as `"5 seconds"`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const duration = <const O extends Options<Duration.Input & string> = {}>(
  description: string,
  options?: O
): Setting<Duration.Duration | (Duration.Input & string) | Absent<O>> =>
  make<Duration.Duration | (Duration.Input & string), O>(Config.Duration(), description, {
    ...options as O,
    jsonSchema: { type: "string", examples: ["5 seconds"] }
  })

/**
 * One of these words.
 *
 * @category constructors
 * @since 0.1.0
 */
export const choice = <const L extends ReadonlyArray<string>, const O extends Options<L[number]> = {}>(
  words: L,
  description: string,
  options?: O
): Setting<L[number] | Absent<O>> =>
  make<L[number], O>(Config.Literals(words), description, {
    ...options as O,
    jsonSchema: { type: "string", enum: words }
  })

/**
 * Several texts; in a variable with commas between.
 *
 * @category constructors
 * @since 0.1.0
 */
export const list = <const O extends Options<ReadonlyArray<string>> = {}>(
  description: string,
  options?: O
): Setting<ReadonlyArray<string> | Absent<O>> =>
  make<ReadonlyArray<string>, O>(Config.Array(Schema.String), description, {
    ...options as O,
    jsonSchema: { type: "array", items: { type: "string" } }
  })

/**
 * Texts by name; in a variable `name=text` with commas between.
 *
 * @category constructors
 * @since 0.1.0
 */
export const record = <const O extends Options<Readonly<Record<string, string>>> = {}>(
  description: string,
  options?: O
): Setting<Readonly<Record<string, string>> | Absent<O>> =>
  make<Readonly<Record<string, string>>, O>(Config.Record(Schema.String, Schema.String), description, {
    ...options as O,
    jsonSchema: { type: "object", additionalProperties: { type: "string" } }
  })

/**
 * Secret texts by name; in a variable `name=text` with commas between.
 *
 * @category constructors
 * @since 0.1.0
 */
export const secrets = <const O extends Omit<Options<string>, "default"> = {}>(
  description: string,
  options?: O
): Setting<Readonly<Record<string, Redacted.Redacted<string>>> | Absent<O>> =>
  make<Readonly<Record<string, Redacted.Redacted<string>>>, O>(
    Config.Record(Schema.String, Schema.Redacted(Schema.String)),
    description,
    {
      ...options as O,
      jsonSchema: { type: "object", additionalProperties: { type: "string" } },
      isSecret: true
    }
  )
