import type * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import type { Issue } from "../ExtensionError.ts"
import type { Fields, Setting } from "../Setting.ts"
import type { ShownSetting } from "./extensionModel.ts"
import { nearest } from "./nearest.ts"

/** @internal */
export interface Read {
  readonly values: Readonly<Record<string, unknown>>
  readonly issues: ReadonlyArray<Issue>
  readonly shown: ReadonlyArray<Omit<ShownSetting, "extension" | "place">>
}

type Source = ShownSetting["source"]

/** `maxItems` as part of the name of a variable: `MAX_ITEMS`. */
export const constant = (name: string): string =>
  name.replaceAll(/([a-z\d])([A-Z])/g, "$1_$2").replaceAll(/[^A-Za-z\d]+/g, "_").toUpperCase()

/** Has nothing, not even an empty record. */
const empty = ConfigProvider.make(() => Effect.succeed(undefined))

const typeOf = (u: unknown): string =>
  Array.isArray(u) ? "a list" : u === null ? "null" : typeof u === "object" ? "an object" : `the ${typeof u} ${u}`

const expectedOf = ({ jsonSchema }: Setting<unknown>): string => {
  if (Array.isArray(jsonSchema["enum"])) return `one of ${jsonSchema["enum"].map((word) => `"${word}"`).join(", ")}`
  if (Array.isArray(jsonSchema["examples"])) return `a text such as "${jsonSchema["examples"][0]}"`
  switch (jsonSchema["type"]) {
    case "string":
      return "a text"
    case "integer":
      return "a whole number"
    case "number":
      return "a number"
    case "boolean":
      return "true or false"
    case "array":
      return "a list"
    default:
      return "an object"
  }
}

/** Values of a file are of the type that the setting has; a `Config` would take a number for a text. */
const isOfType = ({ jsonSchema }: Setting<unknown>, value: unknown): boolean => {
  const type = jsonSchema["type"]
  if (Array.isArray(jsonSchema["anyOf"])) return true
  switch (type) {
    case "string":
      return typeof value === "string"
    case "integer":
    case "number":
      return typeof value === "number"
    case "boolean":
      return typeof value === "boolean"
    case "array":
      return Array.isArray(value)
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value)
    default:
      return true
  }
}

const isScalar = ({ jsonSchema }: Setting<unknown>): boolean =>
  jsonSchema["type"] !== "array" && jsonSchema["type"] !== "object" && jsonSchema["anyOf"] === undefined

/** `{ "env": "NAME" }` in a file stands for the value of a variable. */
const variableOf = (value: unknown): string | undefined =>
  typeof value === "object" && value !== null && Object.keys(value).join() === "env" &&
    typeof (value as { readonly env: unknown }).env === "string"
    ? (value as { readonly env: string }).env
    : undefined

/** What a provider has at a variable, under its whole name or, where that has parts, below it. */
const atVariable = Effect.fnUntraced(function*(
  provider: ConfigProvider.ConfigProvider,
  variable: string,
  setting: Setting<unknown>
) {
  const load = (path: ReadonlyArray<string | number>) =>
    Effect.catch(provider.load(path), () => Effect.succeed(undefined))
  const whole = yield* load([variable])
  if (whole?.value !== undefined) return ConfigProvider.make((path) => load([variable, ...path]))
  if (isScalar(setting)) return undefined
  const parts = variable.split("_")
  const node = yield* load(parts)
  const isThere = node !== undefined && node._tag !== "Value"
  return isThere
    ? ConfigProvider.make((path) =>
      load([
        ...parts,
        ...path.flatMap((part): ReadonlyArray<string | number> =>
          typeof part === "number" ? [part] : constant(part).split("_")
        )
      ])
    )
    : undefined
})

/** The values that a record holds, deep down, that are `{ env }`, replaced by what the variables say. */
const resolved = Effect.fnUntraced(function*(
  value: unknown,
  ambient: ConfigProvider.ConfigProvider,
  missing: Array<string>
): Effect.fn.Return<unknown> {
  const variable = variableOf(value)
  if (variable !== undefined) {
    const node = yield* Effect.catch(ambient.load([variable]), () => Effect.succeed(undefined))
    if (node?.value === undefined) missing.push(variable)
    return node?.value
  }
  if (Array.isArray(value)) return yield* Effect.forEach(value, (one) => resolved(one, ambient, missing))
  if (typeof value === "object" && value !== null) {
    const entries = yield* Effect.forEach(
      Object.entries(value),
      ([name, one]) => Effect.map(resolved(one, ambient, missing), (one) => [name, one] as const)
    )
    return Object.fromEntries(entries)
  }
  return value
})

const show = (setting: Setting<unknown>, value: unknown, source: Source): unknown =>
  value === undefined || source === "absent" ? undefined : setting.isSecret ? "<redacted>" : value

/** What a `Config` says was wrong, without the path, which stands before it. */
const problemOf = (setting: Setting<unknown>, error: Config.ConfigError): string => {
  if (setting.isSecret) return `the value is refused; ${expectedOf(setting)} is wanted (${setting.description})`
  const [first = ""] = error.message.split("\n")
  return `${first.replace(/^\w*Error\(?:? ?/, "").replace(/ at .*$/, "")}; ${expectedOf(setting)} is wanted`
}

/**
 * Reads the settings of one layer: from its own variables, from what a file gives, from variables that are commonly
 * used, in that order. All that is wrong is told.
 *
 * @internal
 */
export const read = Effect.fnUntraced(function*(options: {
  readonly fields: Fields
  readonly given: Readonly<Record<string, unknown>>
  readonly ambient: ConfigProvider.ConfigProvider
  /** What the names of its variables begin with. */
  readonly variables: string
  readonly path: string
}): Effect.fn.Return<Read> {
  const { ambient, fields, given, path } = options
  const issues: Array<Issue> = []
  const values: Record<string, unknown> = Object.create(null)
  const shown: Array<Omit<ShownSetting, "extension" | "place">> = []
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(fields, name)) continue
    const like = nearest(name, Object.keys(fields))
    const known = Object.keys(fields)
    issues.push({
      path: `${path}.${name}`,
      message: `there is no setting "${name}"${like === undefined ? "." : `; did you mean "${like}"?`} ${
        known.length === 0 ? "It takes none" : `There are: ${known.join(", ")}`
      }`
    })
  }
  for (const [name, setting] of Object.entries(fields)) {
    const own = `${options.variables}_${constant(name)}`
    const variables = [own, ...(setting.variable === undefined ? [] : [setting.variable])]
    const at = `${path}.${name}`
    const hasOwn = Object.hasOwn(given, name) && given[name] !== undefined && given[name] !== null
    const missing: Array<string> = []
    const override = yield* atVariable(ambient, own, setting)
    const common = setting.variable === undefined ? undefined : yield* atVariable(ambient, setting.variable, setting)
    const fromFile = override === undefined && hasOwn ? yield* resolved(given[name], ambient, missing) : undefined
    if (missing.length > 0) {
      for (const variable of missing) {
        issues.push({ path: at, message: `the variable ${variable} is not set: set it, or give the value itself` })
      }
      continue
    }
    const isFromVariable = hasOwn && variableOf(given[name]) !== undefined
    if (fromFile !== undefined && !isFromVariable && !isOfType(setting, fromFile)) {
      const found = setting.isSecret && typeof fromFile !== "object" ? `a ${typeof fromFile}` : typeOf(fromFile)
      issues.push({ path: at, message: `${expectedOf(setting)} is wanted, and this is ${found}` })
      continue
    }
    const [provider, source]: readonly [ConfigProvider.ConfigProvider, Source] = override !== undefined
      ? [override, "environment"]
      : fromFile !== undefined
      ? [
        ConfigProvider.fromUnknown(fromFile, { preserveEmptyStrings: true }),
        isFromVariable ? "environment" : "file"
      ]
      : common !== undefined
      ? [common, "environment"]
      : [empty, setting.default === undefined ? "absent" : "default"]
    const where = source === "environment" && !isFromVariable
      ? `the variable ${override === undefined ? variables[1] : own}: `
      : ""
    yield* Effect.matchEffect(setting.config.parse(provider), {
      onSuccess: (value) =>
        Effect.gen(function*() {
          values[name] = value
          const seen = source === "default"
            ? setting.default
            : source === "file"
            ? fromFile
            : (yield* Effect.catch(provider.load([]), () => Effect.succeed(undefined)))?.value ?? "(in parts)"
          shown.push({
            name,
            description: setting.description,
            value: show(setting, seen, source),
            source,
            isSecret: setting.isSecret,
            variables
          })
        }),
      onFailure: (error) =>
        Effect.sync(() => {
          issues.push({
            path: at,
            message: source === "absent"
              ? `it is missing: ${expectedOf(setting)} is wanted (${setting.description}) Set it here, or by the ` +
                `variable ${variables.join(" or ")}`
              : where + problemOf(setting, error)
          })
        })
    })
  }
  return { values, issues, shown }
})
