import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { ExtensionError, InvalidExtension, SecondCopy } from "../ExtensionError.ts"
import { ModelProvider } from "../ModelProvider.ts"
import { Sandbox } from "../Sandbox.ts"
import { Session } from "../Session.ts"
import { isSetting } from "../Setting.ts"
import { isRange, isVersion } from "./extensionCompatibility.ts"
import type { Any, ExtensionKind } from "./extensionModel.ts"
import { ExtensionKind as Kinds, thisCopy, TypeId } from "./extensionModel.ts"
import { nearest } from "./nearest.ts"
import { version } from "./version.ts"

/** What a value is, in words that quote nothing of it. */
const describe = (u: unknown): string => {
  if (u === undefined) return "missing"
  if (u === null) return "null"
  if (Array.isArray(u)) return "a list"
  if (typeof u === "function") return "a function"
  if (Effect.isEffect(u)) return "an Effect"
  if (Layer.isLayer(u)) return "a Layer"
  if (typeof u === "object") return "an object"
  if (typeof u === "string") return u.length <= 40 ? `"${u}"` : "a text"
  return `${typeof u} ${String(u)}`
}

const isName = (u: unknown): boolean => typeof u === "string" && /^[a-z][a-z\d]*(-[a-z\d]+)*$/.test(u)

const isText = (u: unknown): boolean => typeof u === "string" && u.trim() !== ""

const members: ReadonlyArray<readonly [name: keyof Any & string, is: (u: unknown) => boolean, expected: string]> = [
  [
    "kind",
    (u) => (Kinds.literals as ReadonlyArray<unknown>).includes(u),
    `one of ${Kinds.literals.map((kind) => `"${kind}"`).join(", ")}`
  ],
  ["name", isName, `a name of small letters, digits and "-", such as "acme"`],
  ["version", (u) => typeof u === "string" && isVersion(u), `a version, such as "1.0.0"`],
  ["compatibleWith", (u) => typeof u === "string" && isRange(u), `a range of versions, such as "^0.1.0"`],
  ["description", isText, "a sentence"],
  ["config", (u) => typeof u === "object" && u !== null, "an object of settings"],
  ["layer", (u) => typeof u === "function", "a function from settings to a Layer"]
]

const ofOther = (other: unknown): string => {
  const found = typeof other === "object" && other !== null && "version" in other ? String(other.version) : "another"
  return `${found}, which made the extension`
}

/** @internal */
export const check = (u: unknown, name: string): Result.Result<Any, ExtensionError> => {
  const refuse = (member: string, expected: string, found: string) =>
    Result.fail(
      new ExtensionError({ extension: name, reason: new InvalidExtension({ member, expected, found }) })
    )
  if (typeof u !== "object" || u === null) {
    return refuse("default export", "an extension made by Extension.make", describe(u))
  }
  const given = u as Record<string, unknown>
  for (const [member, is, expected] of members) {
    if (is(given[member])) continue
    const like = given[member] === undefined
      ? nearest(member, Object.keys(given).filter((key) => given[key] !== undefined))
      : undefined
    return refuse(member, expected, like === undefined ? describe(given[member]) : `missing; it has \`${like}\``)
  }
  for (const [setting, value] of Object.entries(given["config"] as object)) {
    if (!isSetting(value)) return refuse(`config.${setting}`, "a Setting, such as Setting.text(\"…\")", describe(value))
    if (!isText(value.description)) return refuse(`config.${setting}.description`, "a sentence", describe(""))
  }
  const mark = (u as { readonly [TypeId]?: unknown })[TypeId]
  if (mark === undefined) {
    return refuse("default export", "an extension made by Extension.make or Extension.decorator", "an object")
  }
  if (mark !== thisCopy) {
    return Result.fail(
      new ExtensionError({
        extension: name,
        reason: new SecondCopy({ package: "agent-layers", copies: [`${version}, this program's`, ofOther(mark)] })
      })
    )
  }
  const { kind, toolkit } = u as Any
  if (kind === "tool" && (toolkit === undefined || !Predicate.hasProperty(toolkit, "tools"))) {
    return refuse("toolkit", "the Toolkit whose handlers the Layer provides", describe(toolkit))
  }
  return Result.succeed(u as Any)
}

const isFunction = (u: unknown): boolean => typeof u === "function"
const aFunction = [isFunction, "a function"] as const
const aText = [(u: unknown) => typeof u === "string", "a text"] as const
const anObject = [(u: unknown) => typeof u === "object" && u !== null, "an object"] as const

type Shape = Readonly<Record<string, readonly [is: (u: unknown) => boolean, expected: string]>>

const shapes: Partial<Record<ExtensionKind, Shape>> = {
  session: {
    loadItems: aFunction,
    saveItems: aFunction,
    rewrite: aFunction,
    popItem: aFunction,
    clear: aFunction,
    records: aFunction,
    conversations: aFunction,
    maintain: aFunction,
    capabilities: anObject
  },
  model: { getModel: aFunction },
  sandbox: { backend: aText, guarantees: anObject, create: aFunction, resume: aFunction },
  mcp: {
    name: aText,
    listTools: [Effect.isEffect, "an Effect"],
    callTool: aFunction,
    toolsChanged: [Stream.isStream, "a Stream"]
  }
}

/**
 * The tag of the service of a kind.
 *
 * @internal
 */
export const tagOf = (
  kind: ExtensionKind,
  server: Context.Key<unknown, unknown>
): Context.Key<any, any> | undefined => {
  switch (kind) {
    case "session":
      return Session
    case "model":
      return ModelProvider
    case "sandbox":
      return Sandbox
    case "mcp":
      return server
    case "tracer":
    case "tool":
      return undefined
  }
}

/**
 * Why what a Layer provides is not the service of its kind; `undefined` where it is.
 *
 * @internal
 */
export const refuseService = (
  kind: ExtensionKind,
  tag: Context.Key<any, any> | undefined,
  context: Context.Context<never>
): InvalidExtension | undefined => {
  if (tag === undefined) return undefined
  if (!context.mapUnsafe.has(tag.key)) {
    const keys = [...context.mapUnsafe.keys()]
    return new InvalidExtension({
      member: "layer",
      expected: `a Layer that provides "${tag.key}"`,
      found: keys.length === 0 ? "one that provides nothing" : `one that provides ${keys.join(", ")}`
    })
  }
  const service: unknown = context.mapUnsafe.get(tag.key)
  const given = (typeof service === "object" && service !== null ? service : {}) as Record<string, unknown>
  for (const [member, [is, expected]] of Object.entries(shapes[kind] ?? {})) {
    if (is(given[member])) continue
    const others = Object.keys(given).filter((name) => !Object.hasOwn(shapes[kind] ?? {}, name))
    const like = given[member] === undefined ? nearest(member, others) : undefined
    return new InvalidExtension({
      member: `${tag.key.slice(tag.key.lastIndexOf("/") + 1)}.${member}`,
      expected,
      found: like === undefined ? describe(given[member]) : `missing; the service has \`${like}\``
    })
  }
  return undefined
}
