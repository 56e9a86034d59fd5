/**
 * Names of files as text, without loss: a name on Linux is any bytes but NUL and `/`. A byte that is not part of a UTF-8
 * character becomes `\xHH`, with two lower-case hexadecimal digits. So that this cannot be confused with a name that has
 * such characters in it, the `\` of those becomes `\x5c`. All other names are the text that they are.
 *
 * The other way round, `\xHH` becomes a byte only if that is `\` or one from 0x80: never NUL, `/` or `.`, so that no
 * path can lead elsewhere by it.
 *
 * `raw` names have one character per byte.
 */

/** The name of a file of the host, which is never escaped. */
export const toRaw = (text: string): string => Buffer.from(text, "utf8").toString("latin1")

export const toBytes = (raw: string): Buffer => Buffer.from(raw, "latin1")

const escaped = /\\x([0-9a-f]{2})/g

const isTakenBack = (byte: number): boolean => byte === 0x5c || byte >= 0x80

/** A name or path of a workspace, as bytes. */
export const decodeName = (text: string): string =>
  text.includes("\\x")
    ? text.split(escaped).map((part, index) => {
      if (index % 2 === 0) return toRaw(part)
      const byte = Number.parseInt(part, 16)
      return isTakenBack(byte) ? String.fromCharCode(byte) : `\\x${part}`
    }).join("")
    : toRaw(text)

const escape = (byte: number): string => `\\x${byte.toString(16).padStart(2, "0")}`

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Bytes that a UTF-8 character takes by its first one; 0 if none can begin with it. */
const widthOf = (byte: number): number =>
  byte < 0x80 ? 1 : byte < 0xc2 ? 0 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : byte < 0xf5 ? 4 : 0

const decodeUtf8 = (bytes: Uint8Array): string | undefined => {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

const escapeInvalid = (bytes: Uint8Array): string => {
  let text = ""
  for (let at = 0; at < bytes.length;) {
    const width = widthOf(bytes[at]!)
    const character = width === 0 ? undefined : decodeUtf8(bytes.subarray(at, at + width))
    text += character ?? escape(bytes[at]!)
    at += character === undefined ? 1 : width
  }
  return text
}

/** The text of a raw name or path. */
export const encodeName = (raw: string): string => {
  const bytes = toBytes(raw.replaceAll(escaped, "\\x5cx$1"))
  return decodeUtf8(bytes) ?? escapeInvalid(bytes)
}
