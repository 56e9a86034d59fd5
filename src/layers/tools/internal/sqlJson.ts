import * as Base64 from "effect/encoding/Base64"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"

const encoder = new TextEncoder()

const bytesOf = (text: string): number => encoder.encode(text).length

/** A value as a driver gives it, as JSON that loses nothing of it. Numbers that JSON would round become texts. */
export const toJson = (value: unknown): Schema.Json => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value
    case "number":
      return Number.isFinite(value) ? value : String(value)
    case "bigint":
      return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value)
    case "object":
      break
    default:
      return null
  }
  if (value === null) return null
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString()
  if (ArrayBuffer.isView(value)) {
    return `base64:${Base64.encode(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))}`
  }
  if (Array.isArray(value)) return value.map(toJson)
  return Predicate.hasProperty(value, "toJSON") && typeof value.toJSON === "function"
    ? toJson(value.toJSON())
    : Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toJson(inner)]))
}

/** Writes JSON: what it is given is JSON. */
const write = (value: Schema.Json): string => {
  switch (typeof value) {
    case "string":
      return globalThis.JSON.stringify(value)
    case "object":
      return value === null
        ? "null"
        : Array.isArray(value)
        ? `[${value.map(write).join(",")}]`
        : `{${Object.entries(value).map(([key, inner]) => `${write(key)}:${write(inner!)}`).join(",")}}`
    default:
      return String(value)
  }
}

/** As much of a text as fits, by whole characters. */
const cut = (text: string, maxBytes: number): string => {
  let bytes = 0
  let end = 0
  for (const character of text) {
    bytes += bytesOf(write(character)) - 2
    if (bytes > maxBytes) break
    end += character.length
  }
  return `${text.slice(0, end)}[… ${text.length - end} characters left out …]`
}

export type Row = ReadonlyArray<Schema.Json>

/** What fits into an answer: whole rows, or the first with its long values cut. */
export interface Fitted {
  readonly rows: ReadonlyArray<Row>
  readonly isCut: boolean
}

export const sizeOf = (row: Row): number => bytesOf(write(row)) + 1

/** `rows` are asked for only as far as they fit. */
export const fit = (rows: ReadonlyArray<Row>, maxBytes: number): Fitted => {
  let bytes = 0
  for (let index = 0; index < rows.length; index++) {
    const row = rows[index]!
    bytes += sizeOf(row)
    if (bytes <= maxBytes) continue
    if (index > 0) return { rows: rows.slice(0, index), isCut: false }
    const share = Math.max(16, Math.floor(maxBytes / row.length))
    return {
      rows: [row.map((cell) => {
        const text = write(cell)
        return bytesOf(text) <= share ? cell : cut(typeof cell === "string" ? cell : text, share)
      })],
      isCut: true
    }
  }
  return { rows, isCut: false }
}
