/** Where a comment, a text or a quoted name ends that begins at `start`; undefined where none begins there. */
const skip = (sql: string, start: number): number | undefined => {
  const end = (mark: string, from: number): number => {
    const at = sql.indexOf(mark, from)
    return at < 0 ? sql.length : at + mark.length
  }
  switch (sql[start]) {
    case "-":
      return sql[start + 1] === "-" ? end("\n", start) : undefined
    case "/":
      return sql[start + 1] === "*" ? end("*/", start + 2) : undefined
    case "'":
    case "\"":
    case "`":
      // A doubled quote is two texts side by side, which ends in the same place.
      return end(sql[start]!, start + 1)
    case "[":
      return end("]", start + 1)
    default:
      return undefined
  }
}

const isSpace = (character: string | undefined): boolean => character !== undefined && /\s/.test(character)

/**
 * Whether there is nothing in it but spaces, comments and semicolons.
 *
 * @internal
 */
export const isBlank = (sql: string): boolean => {
  for (let at = 0; at < sql.length;) {
    if (isSpace(sql[at]) || sql[at] === ";") at++
    else {
      const next = sql[at] === "-" || sql[at] === "/" ? skip(sql, at) : undefined
      if (next === undefined) return false
      at = next
    }
  }
  return true
}

/**
 * The one statement of a text of SQLite, without what ends it; undefined where there are several.
 *
 * @see https://www.sqlite.org/lang_keywords.html
 * @internal
 */
export const onlyStatement = (sql: string): string | undefined => {
  for (let at = 0; at < sql.length;) {
    if (sql[at] === ";") return isBlank(sql.slice(at)) ? sql.slice(0, at) : undefined
    at = skip(sql, at) ?? at + 1
  }
  return sql
}
