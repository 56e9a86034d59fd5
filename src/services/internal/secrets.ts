/**
 * Takes secrets out of texts that others write: a server may quote whatever it was sent, whole or in parts.
 */
import * as Base64Url from "effect/encoding/Base64Url"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"

/** @internal */
export interface Secrets {
  /** The text without the secrets, their parts and the usual ways to write them. */
  readonly scrub: (text: string) => string
  /** As `scrub`, for a text whose beginning or end may be missing: a rest of a secret there goes too. */
  readonly scrubCut: (text: string) => string
  /** One more, such as a token that replaces another. The latest 16 of these count. */
  readonly add: (value: Redacted.Redacted) => void
}

/** @internal */
export interface Options {
  /** @default "<redacted>" */
  readonly replacement?: string | undefined
  /** Takes out each value itself, however short. Its parts follow the usual rule. */
  readonly isAnyLength?: boolean | undefined
}

const minLength = 6

const certainLength = 8

const maxAdded = 16

/**
 * Fewer than 6 characters are never taken out, and fewer than 8 only if they are not a plain word: an API key "ollama"
 * or a port would tear holes into every message.
 */
const isSecret = (part: string): boolean =>
  part.length >= certainLength || (part.length >= minLength && !/^([A-Za-z]?[a-z]+|[A-Z]+|\d+)$/.test(part))

const matchOf = (pattern: RegExp, text: string): ReadonlyArray<string> => pattern.exec(text)?.slice(1) ?? []

/** User and password, together and alone, from base64 of either alphabet, with or without padding. */
const decoded = (text: string): ReadonlyArray<string> => {
  if (!/^[\w+/-]{8,}={0,2}$/.test(text)) return []
  const bytes = Base64Url.decode(text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, ""))
  if (Result.isFailure(bytes)) return []
  return ["utf-8", "latin1"].flatMap((charset) => {
    const pair = new TextDecoder(charset).decode(bytes.success)
    // Of random bytes, hardly any are text.
    return /[\p{Cc}\uFFFD]/u.test(pair) ? [] : matchOf(/^(([^:]*):(.*))$/s, pair)
  })
}

const unescaped = (text: string): ReadonlyArray<string> => {
  try {
    return text.includes("%") ? [decodeURIComponent(text)] : []
  } catch {
    return []
  }
}

/** One step into a value: after a scheme, in a list of parameters or cookies, in an address, in base64. */
const inside = (text: string): ReadonlyArray<string> => [
  text.trim(),
  ...text.split(/[,;\n]/),
  ...matchOf(/^[A-Za-z][\w-]*\s+(\S+|[^\s=]+="[^"]*")$/, text),
  ...matchOf(/^[\w.$%-]+\s*=\s*([^=].*)$/s, text),
  ...matchOf(/^"(.*)"$/s, text),
  ...ofUrl(text),
  ...unescaped(text),
  ...decoded(text)
]

const partsOf = (value: string): ReadonlySet<string> => {
  const parts = new Set([value])
  // A Set also visits the parts that are added on the way.
  for (const part of parts) for (const one of inside(part)) if (one.length >= minLength) parts.add(one)
  return parts
}

const credential = /auth|cookie|credential|key|pass|secret|session|sig|token/i

/** Headers whose values are ordinary words. */
const ordinary = /^(accept|cache|content|user-agent$|host$|origin$|referer$|mcp-protocol)/i

/**
 * The values of headers that are secret: the redacted ones, and those with a name of a secret.
 *
 * @internal
 */
export const ofHeaders = (
  headers: Readonly<Record<string, string | Redacted.Redacted>> | undefined
): ReadonlyArray<string> =>
  Object.entries(headers ?? {}).flatMap(([name, value]) =>
    Redacted.isRedacted(value)
      ? ordinary.test(name) ? [] : [Redacted.value(value)]
      : credential.test(name)
      ? [value]
      : []
  )

/**
 * The secrets in an address: the password, a user without one, and parameters with a name of a secret.
 *
 * @internal
 */
export const ofUrl = (text: string | URL): ReadonlyArray<string> => {
  const url = /^[a-z][a-z\d+.-]*:\/\//i.test(String(text)) ? URL.parse(text) : null
  if (url === null) return []
  const { password, searchParams, username } = url
  return [
    ...[password === "" ? username : password].flatMap((one) => [one, ...unescaped(one)]),
    ...[...searchParams].flatMap(([name, value]) => credential.test(name) ? [value] : [])
  ]
}

const escapeHtml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

/** Quotes are escaped inside of attributes only, and not by each server. */
const htmlOf = (text: string): ReadonlyArray<string> => {
  const bare = escapeHtml(text)
  const quoted = bare.replaceAll("\"", "&quot;")
  return [bare, quoted, quoted.replaceAll("'", "&#39;"), quoted.replaceAll("'", "&#x27;")]
}

const escapeUrl = (text: string): string => encodeURIComponent(text.replaceAll(/\p{Surrogate}/gu, "\uFFFD"))

const escapeJson = (text: string): string => JSON.stringify(text).slice(1, -1)

/** The ways in which a server writes a text: as it is, in HTML, in JSON (also inside of another), in an address. */
const writingsOf = (text: string): ReadonlyArray<string> => {
  const url = escapeUrl(text)
  return [
    ...[text, ...htmlOf(text)].flatMap((one) => {
      const json = escapeJson(one)
      const slashes = json.replaceAll("/", "\\/")
      return [one, json, slashes, escapeJson(json), escapeJson(slashes)]
    }),
    escapeJson(text).replaceAll(/[^ -~]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`),
    url,
    url.replaceAll(/%../g, (one) => one.toLowerCase()),
    url.replaceAll("%20", "+")
  ]
}

/** Base64 may come back in the other alphabet, and without padding. */
const formsOf = (part: string): ReadonlyArray<string> => {
  const bare = part.replace(/=+$/, "")
  const forms = /^[\w+/-]+$/.test(bare)
    ? [part, bare.replaceAll("+", "-").replaceAll("/", "_"), bare.replaceAll("-", "+").replaceAll("_", "/")]
    : [part]
  return forms.flatMap(writingsOf)
}

/** How many characters of the form one end of a text may hold. */
const overlap = (form: string, restOf: (length: number) => string, isThere: (rest: string) => boolean): number => {
  for (let length = form.length - 1; length >= minLength; length--) {
    const rest = restOf(length)
    if (isThere(rest) && isSecret(rest)) return length
  }
  return 0
}

/**
 * Of each value all parts are taken out that are a secret by themselves: the rest after a scheme such as `Bearer`, user
 * and password of `Basic`, each cookie and parameter, the password in an address.
 *
 * @internal
 */
export const make = (values: Iterable<string | Redacted.Redacted>, options: Options = {}): Secrets => {
  const { isAnyLength = false, replacement = "<redacted>" } = options
  const given = new Set<string>()
  const added = new Set<string>()
  let forms: ReadonlyArray<string> = []

  const refresh = () => {
    const parts = [...given, ...added].flatMap((value) =>
      [...partsOf(value)].filter((part) => isSecret(part) || (isAnyLength && part === value))
    )
    // The longest first, so that a secret inside another leaves no rest.
    forms = [...new Set(parts.flatMap(formsOf))].sort((a, b) => b.length - a.length)
  }

  // Not by one pattern: the error of a pattern that is too large quotes it.
  const scrub = (text: string): string =>
    forms.reduce<ReadonlyArray<string>>((pieces, form) => pieces.flatMap((piece) => piece.split(form)), [text])
      .join(replacement)

  const scrubCut = (text: string): string => {
    const whole = scrub(text)
    const starts = (rest: string) => whole.startsWith(rest)
    const before = Math.max(0, ...forms.map((form) => overlap(form, (length) => form.slice(-length), starts)))
    const kept = whole.slice(before)
    const ends = (rest: string) => kept.endsWith(rest)
    const after = Math.max(0, ...forms.map((form) => overlap(form, (length) => form.slice(0, length), ends)))
    return (before > 0 ? replacement : "") + kept.slice(0, kept.length - after) + (after > 0 ? replacement : "")
  }

  for (const value of values) {
    const text = Redacted.isRedacted(value) ? Redacted.value(value) : value
    if (typeof text === "string" && text !== "") given.add(text)
  }
  refresh()
  return {
    scrub,
    scrubCut,
    add: (value) => {
      const text = Redacted.value(value)
      if (typeof text !== "string" || text === "" || added.has(text)) return
      added.add(text)
      if (added.size > maxAdded) added.delete([...added][0]!)
      refresh()
    }
  }
}
