import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import {
  ExtensionError,
  type ExtensionErrorReason,
  ImpossibleStack,
  Incompatible,
  InvalidSettings,
  type Issue,
  MissingPackage
} from "../ExtensionError.ts"
import { compare } from "./extensionCompatibility.ts"
import type { Any, Choice, Entry, ExtensionKind, ShownSetting } from "./extensionModel.ts"
import { constant, read } from "./extensionSettings.ts"
import { nearest } from "./nearest.ts"

/** An extension with its settings read. */
export interface Ready {
  readonly extension: Any
  readonly values: Readonly<Record<string, unknown>>
}

/** What is known of a backend that cannot be used. */
export interface Failed {
  readonly use: string
  readonly error: ExtensionError
}

/** What one service is made of, with everything that can be known before it is built. */
export interface Plan {
  readonly kind: ExtensionKind
  readonly instance: string
  readonly backend: Ready | Failed
  readonly fallback: Ready | undefined
  readonly wrap: ReadonlyArray<Ready>
  readonly probe: boolean
  readonly shown: ReadonlyArray<ShownSetting>
}

/** Something that is wrong, and where. */
export interface Wrong {
  readonly path: string
  readonly error: ExtensionError
}

export interface Needs {
  readonly find: (kind: ExtensionKind, name: string, decorates: boolean) => Effect.Effect<Any, ExtensionError>
  readonly location: (kind: ExtensionKind, name: string) => string | undefined
  readonly installed:
    | ((packageName: string, location: string | undefined) => Effect.Effect<string | undefined>)
    | undefined
}

export const titleOf = (kind: ExtensionKind, name: string): string => `${kind} "${name}"`

const failed = (kind: ExtensionKind, name: string, reason: ExtensionErrorReason): ExtensionError =>
  new ExtensionError({ extension: titleOf(kind, name), reason })

const issue = (path: string, message: string): Wrong => ({
  path,
  error: new ExtensionError({ extension: path, reason: new InvalidSettings({ issues: [{ path, message }] }) })
})

/** One error of everything that is wrong. What is wrong alone keeps its own reason. */
export const combine = (subject: string, wrong: ReadonlyArray<Wrong>): ExtensionError => {
  const [only] = wrong
  if (only !== undefined && wrong.length === 1 && only.error.reason._tag !== "InvalidSettings") return only.error
  return new ExtensionError({
    extension: subject,
    reason: new InvalidSettings({
      issues: wrong.flatMap(({ error, path }): ReadonlyArray<Issue> =>
        error.reason._tag === "InvalidSettings"
          ? error.reason.issues
          : [{ path, message: error.message, reason: error.reason._tag }]
      )
    })
  })
}

const describe = (u: unknown): string =>
  Array.isArray(u) ? "a list" : u === null ? "null" : typeof u === "object" ? "an object" : `the ${typeof u} ${u}`

const keysOfEntry = ["use", "settings", "wrap", "fallback", "required", "probe"]
const keysOfChoice = ["use", "settings"]

const unknownKeys = (given: object, known: ReadonlyArray<string>, path: string): ReadonlyArray<Wrong> =>
  Object.keys(given).filter((key) => !known.includes(key)).map((key) => {
    const like = nearest(key, known)
    return issue(
      `${path}.${key}`,
      `there is nothing called "${key}" here${like === undefined ? "." : `; did you mean "${like}"?`} ` +
        `There are: ${known.join(", ")}. What an extension is told stands in its \`settings\``
    )
  })

/** A choice as an object; or why it is none. */
const choiceOf = (
  given: unknown,
  path: string,
  known: ReadonlyArray<string>
): { readonly choice: Choice | undefined; readonly wrong: ReadonlyArray<Wrong> } => {
  if (typeof given === "string") return { choice: { use: given }, wrong: [] }
  const like = `the name of an extension, or { "use": name, "settings": { … } }, is wanted`
  if (!Predicate.isReadonlyObject(given)) {
    return { choice: undefined, wrong: [issue(path, `${like}, and this is ${describe(given)}`)] }
  }
  const wrong = [...unknownKeys(given, known, path)]
  const { settings, use } = given
  if (typeof use !== "string") {
    wrong.push(
      issue(
        `${path}.use`,
        use === undefined
          ? `it is missing: ${like}`
          : `the name of an extension is wanted, and this is ${describe(use)}`
      )
    )
  }
  if (settings !== undefined && settings !== null && !Predicate.isReadonlyObject(settings)) {
    wrong.push(issue(`${path}.settings`, `an object is wanted, and this is ${describe(settings)}`))
  }
  return {
    choice: typeof use === "string"
      ? { use, settings: Predicate.isReadonlyObject(settings) ? settings : {} }
      : undefined,
    wrong
  }
}

/** Why the packages that an extension needs are not there, if so. */
const refusePackages = Effect.fnUntraced(function*(
  { location, installed }: { readonly location: string | undefined; readonly installed: Needs["installed"] },
  { kind, name, packages = {} }: Any
): Effect.fn.Return<ExtensionError | undefined> {
  if (installed === undefined) return undefined
  for (const [packageName, range] of Object.entries(packages)) {
    const found = yield* installed(packageName, location)
    if (found === undefined) return failed(kind, name, new MissingPackage({ package: packageName, range }))
    const compatibility = compare(packageName, range, found, `"${name}"`)
    if (compatibility._tag === "Incompatible") {
      return failed(kind, name, new Incompatible({ package: packageName, ...compatibility }))
    }
  }
  return undefined
})

/** What cannot be used where it stands is told with the rest, unless another may stand in for it. */
const isUnusable = ({ reason }: ExtensionError): boolean =>
  reason._tag !== "NotFound" && reason._tag !== "InvalidSettings" && reason._tag !== "ImpossibleStack"

const refuseOrder = (kind: ExtensionKind, stack: ReadonlyArray<Any>, backend: string): ExtensionError | undefined => {
  const outer = stack.findIndex(({ role }) => role === "hides")
  const inner = outer < 0 ? undefined : stack.slice(outer).find(({ role }) => role === "reads")
  if (inner === undefined) return undefined
  const hiding = stack[outer]!.name
  return failed(
    kind,
    inner.name,
    new ImpossibleStack({
      stack: [...stack.map(({ name }) => name), backend],
      description: `"${inner.name}" looks into items, and stands inside "${hiding}", which hides what they hold`,
      doNext: `Put "${inner.name}" before "${hiding}" in \`wrap\`, which is outermost first`
    })
  )
}

/** Finds, loads and checks what an entry names, and reads all settings. */
export const make = Effect.fnUntraced(function*(
  needs: Needs,
  kind: ExtensionKind,
  instance: string,
  given: unknown,
  path: string
): Effect.fn.Return<Plan, ExtensionError> {
  const ambient = yield* ConfigProvider.ConfigProvider
  const wrong: Array<Wrong> = []
  const shown: Array<ShownSetting> = []

  const { choice, wrong: wrongEntry } = choiceOf(given, path, keysOfEntry)
  wrong.push(...wrongEntry)
  const entry: Partial<Record<keyof Entry, unknown>> = Predicate.isReadonlyObject(given) ? given : {}
  for (const name of ["required", "probe"] as const) {
    const value = entry[name]
    if (value === undefined || value === null || typeof value === "boolean") continue
    wrong.push(issue(`${path}.${name}`, `true or false is wanted, and this is ${describe(value)}`))
  }
  const wraps: ReadonlyArray<unknown> = Array.isArray(entry.wrap) ? entry.wrap : []
  if (entry.wrap !== undefined && entry.wrap !== null && !Array.isArray(entry.wrap)) {
    wrong.push(
      issue(`${path}.wrap`, `a list of decorators, outermost first, is wanted, and this is ${describe(entry.wrap)}`)
    )
  }

  const prefix = ["AGENT_LAYERS", constant(kind), ...(instance === "default" ? [] : [constant(instance)])].join("_")

  const ready = Effect.fnUntraced(function*(
    { settings = {}, use }: Choice,
    place: string,
    at: string,
    decorates: boolean
  ): Effect.fn.Return<Ready, ExtensionError> {
    const extension = yield* needs.find(kind, use, decorates)
    if (extension.decorates !== decorates) {
      return yield* issue(
        at,
        decorates
          ? `"${use}" is no decorator: name it by \`use\`, and decorators here`
          : `"${use}" decorates a ${kind}: name it in \`wrap\`, and a backend here`
      ).error
    }
    const packages = yield* refusePackages(
      { location: needs.location(kind, use), installed: needs.installed },
      extension
    )
    const read_ = yield* read({
      fields: extension.config,
      given: settings ?? {},
      ambient,
      variables: `${prefix}_${constant(use)}`,
      path: `${at}.settings`
    })
    for (const setting of read_.shown) shown.push({ ...setting, extension: use, place })
    if (read_.issues.length > 0) {
      return yield* failed(kind, use, new InvalidSettings({ issues: read_.issues }))
    }
    if (packages !== undefined) return yield* packages
    return { extension, values: read_.values }
  })

  const attempt = (choice: Choice, place: string, at: string, decorates: boolean) =>
    Effect.catch(ready(choice, place, at, decorates), (error) => Effect.succeed(error))

  let fallback: Ready | undefined
  if (entry.fallback !== undefined && entry.fallback !== null) {
    const at = `${path}.fallback`
    const { choice: other, wrong: wrongFallback } = choiceOf(entry.fallback, at, keysOfChoice)
    wrong.push(...wrongFallback)
    if (other !== undefined) {
      const found = yield* attempt(other, "fallback", at, false)
      if ("reason" in found) wrong.push({ path: at, error: found })
      else if (found.extension.canBeFallback === false) {
        wrong.push({
          path: at,
          error: failed(
            kind,
            other.use,
            new ImpossibleStack({
              stack: [choice?.use ?? "?", other.use],
              description: `"${other.use}" gives less protection than what it would stand in for`,
              doNext: `Name it by \`use\` if that is what you want, or leave \`fallback\` out`
            })
          )
        })
      } else fallback = found
    }
  }

  const stack: Array<Ready> = []
  for (const [index, one] of wraps.entries()) {
    const at = `${path}.wrap[${index}]`
    const { choice: decorator, wrong: wrongDecorator } = choiceOf(one, at, keysOfChoice)
    wrong.push(...wrongDecorator)
    if (decorator === undefined) continue
    const found = yield* attempt(decorator, `wrap[${index}]`, at, true)
    if ("reason" in found) wrong.push({ path: at, error: found })
    else stack.push(found)
  }
  const order = refuseOrder(kind, stack.map(({ extension }) => extension), choice?.use ?? "?")
  if (order !== undefined) wrong.push({ path: `${path}.wrap`, error: order })

  let backend: Ready | Failed | undefined
  if (choice !== undefined) {
    const found = yield* attempt(choice, "use", path, false)
    if (!("reason" in found)) backend = found
    else if (fallback !== undefined && entry.required !== true && isUnusable(found)) {
      backend = { use: choice.use, error: found }
    } else wrong.push({ path, error: found })
  }

  if (wrong.length > 0 || backend === undefined) return yield* combine(path, wrong)
  return {
    kind,
    instance,
    backend,
    fallback: entry.required === true ? undefined : fallback,
    wrap: stack,
    probe: entry.probe !== false,
    shown
  }
})
