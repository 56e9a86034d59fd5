import * as Base64 from "effect/encoding/Base64"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"

const isPlain = (value: object): boolean => {
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

const convertFields = (value: object, parents: Set<object>): Schema.Json => {
  let isSame = isPlain(value)
  const fields: Array<readonly [string, Schema.Json]> = []
  for (const [key, field] of Object.entries(value)) {
    const converted = convert(field, parents)
    if (converted === undefined || converted !== field) isSame = false
    if (converted !== undefined) fields.push([key, converted])
  }
  return isSame ? value as Schema.Json : Object.fromEntries(fields)
}

const convertList = (values: ReadonlyArray<unknown>, parents: Set<object>): Schema.Json => {
  let isSame = true
  const list = Array.from(values, (value) => {
    const converted = convert(value, parents) ?? null
    if (converted !== value) isSame = false
    return converted
  })
  return isSame ? values as Schema.Json : list
}

const convertObject = (value: object, parents: Set<object>): Schema.Json | undefined => {
  if (Array.isArray(value)) return convertList(value, parents)
  if (Predicate.hasProperty(value, "toJSON") && typeof value.toJSON === "function") {
    return convert(value.toJSON(), parents)
  }
  if (value instanceof Uint8Array) return Base64.encode(value)
  if (value instanceof Map || value instanceof Set) return convertList(Array.from(value), parents)
  if (value instanceof Error) return { name: value.name, message: value.message }
  return convertFields(value, parents)
}

const convert = (value: unknown, parents: Set<object>): Schema.Json | undefined => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value
    case "number":
      return Number.isFinite(value) ? value : null
    case "bigint":
      return value.toString()
    case "object": {
      if (value === null) return null
      if (parents.has(value)) return "[circular]"
      parents.add(value)
      const converted = convertObject(value, parents)
      parents.delete(value)
      return converted
    }
    default:
      return undefined
  }
}

/**
 * Any value as JSON, by the rules of `JSON.stringify` and without most of its failures: a `bigint` becomes its digits, a
 * `Map` its entries, a `Set` a list, bytes base64, an `Error` its name and message, and a cycle a note. A value that is
 * JSON already is returned as it is, the same object. Throws if a getter or a `toJSON` of the value throws, and for
 * values that are nested too deep for the stack.
 *
 * @internal
 */
export const toJsonUnsafe = (value: unknown): Schema.Json => convert(value, new Set()) ?? null

/**
 * Any value as JSON. A value that cannot be converted becomes a note that says why.
 *
 * @internal
 */
export const toJson = (value: unknown): Schema.Json => {
  if (typeof value === "string") return value
  try {
    return toJsonUnsafe(value)
  } catch (error) {
    return `[not JSON: ${error instanceof Error ? error.message : typeof error}]`
  }
}
