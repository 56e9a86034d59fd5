const isHighSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdbff

/** At most `max` characters, with a note of how many there were. */
export const cutText = (text: string, max: number): string => {
  if (text.length <= max) return text
  const end = isHighSurrogate(text.charCodeAt(max - 1)) ? max - 1 : max
  return `${text.slice(0, end)}… (cut: ${text.length} characters)`
}

const replacer = (maxText: number) => (_key: string, value: unknown): unknown =>
  typeof value === "string"
    ? cutText(value, maxText)
    : typeof value === "bigint"
    ? String(value)
    : value

/** What a value is as JSON, whatever it holds: a part that has no JSON does not take the rest with it. */
const plain = (value: unknown, maxText: number, path: Array<object>): unknown => {
  if (typeof value === "function" || typeof value === "symbol") return undefined
  if (typeof value !== "object" || value === null) return replacer(maxText)("", value)
  if (path.includes(value)) return "(circular)"
  if (path.length > 100) return "(too deep)"
  path.push(value)
  try {
    if ("toJSON" in value && typeof value.toJSON === "function") {
      try {
        return plain(value.toJSON(), maxText, path)
      } catch {
        // As if it had none.
      }
    }
    if (Array.isArray(value)) return value.map((one) => plain(one, maxText, path))
    const out: Array<readonly [string, unknown]> = []
    for (const key of Object.keys(value)) {
      try {
        out.push([key, plain((value as Record<string, unknown>)[key], maxText, path)])
      } catch {
        out.push([key, "(cannot be read)"])
      }
    }
    return Object.fromEntries(out)
  } finally {
    path.pop()
  }
}

/** JSON of anything. */
export const toJson = (value: unknown, maxText: number): string => {
  try {
    return JSON.stringify(value, replacer(maxText)) ?? "null"
  } catch {
    return JSON.stringify(plain(value, maxText, [])) ?? "null"
  }
}

/** The same as a value. */
export const toPlain = (value: unknown, maxText: number): unknown => plain(value, maxText, [])
