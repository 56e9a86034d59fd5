/**
 * Where a conversation is kept. Keys of heads are in the order of the ids, so that a listing of the store is a listing
 * of conversations; no id can leave the prefix, and no two share a key.
 */

/** Bytes of a key, in every S3. */
const maxKey = 1_024

/** Some servers keep a part of a key as a file name. */
const maxPart = 180

const utf8 = new TextEncoder()

const hex = (byte: number): string => byte.toString(16).toUpperCase().padStart(2, "0")

/**
 * Letters and digits stand for themselves; any other byte is two hex digits after a sign that sorts as the byte does:
 * before the digits, between digits and letters, between the cases, after the letters.
 */
const encodeByte = (byte: number): string =>
  byte < 0x30
    ? `-${hex(byte)}`
    : byte < 0x3a
    ? String.fromCharCode(byte)
    : byte < 0x41
    ? `=${hex(byte)}`
    : byte < 0x5b
    ? String.fromCharCode(byte)
    : byte < 0x61
    ? `_${hex(byte)}`
    : byte < 0x7b
    ? String.fromCharCode(byte)
    : `~${hex(byte)}`

/**
 * Compares as the id does, code point by code point; what begins an id begins its code.
 *
 * @internal
 */
export const code = (id: string): string => {
  let text = ""
  for (const byte of utf8.encode(id)) text += encodeByte(byte)
  return text
}

/** Parts that go on end in a sign, so that none is both a file and a folder. */
const inParts = (text: string): string => {
  let path = text.slice(0, maxPart)
  for (let start = maxPart; start < text.length; start += maxPart) path += `+/${text.slice(start, start + maxPart)}`
  return path
}

/** @internal */
export interface Keys {
  readonly head: (id: string) => string
  readonly segment: (id: string, name: string) => string
  readonly segments: (id: string) => string
  /** Whether a key may be one of a head: other prefixes may stand below this one. */
  readonly isHead: (key: string) => boolean
  /** What keys of ids with this prefix begin with, others maybe too. */
  readonly heads: (prefix: string) => string
  /** A key that ids up to this one do not follow, or only such as share a group with it. */
  readonly after: (id: string) => string
  /** Long ids with one beginning form a group, in which keys are in no order; `undefined` for other keys. */
  readonly groupOf: (key: string) => string | undefined
  readonly conditions: string
}

const heads = "head/"
const digestLength = 64

const headKey = /^[\w=~-]+(\+\/[\w=~-]+)*(\.[0-9a-f]{64})?$/

/** @internal */
export const make = (prefix: string, sha256: (text: string) => string): Keys => {
  const room = maxKey - utf8.encode(prefix).length - heads.length - digestLength - 1
  const longest = room - 2 * Math.floor(room / maxPart)
  const beginning = (text: string): string => `${prefix}${heads}${inParts(text.slice(0, longest))}`
  return {
    head: (id) => {
      const text = code(id)
      return text.length <= longest ? beginning(text) : `${beginning(text)}.${sha256(id)}`
    },
    segment: (id, name) => `${prefix}items/${sha256(id)}/${name}`,
    segments: (id) => `${prefix}items/${sha256(id)}/`,
    isHead: (key) => headKey.test(key.slice(prefix.length + heads.length)),
    heads: (start) => beginning(code(start)),
    after: (id) => beginning(code(id)),
    groupOf: (key) => {
      const end = key.length - digestLength - 1
      return key[end] === "." && key.startsWith(prefix) ? key.slice(0, end) : undefined
    },
    // No id has a key like this, of whatever prefix.
    conditions: `${prefix}.conditions`
  }
}
