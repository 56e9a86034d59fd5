/**
 * Control characters, line and paragraph separators, and the marks that reorder or hide text: a model or a tool can
 * write them, and a terminal would obey. Joiners stay, since scripts and emoji need them.
 */
const unsafe =
  // oxlint-disable-next-line no-control-regex -- these are what must not come through
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

const named: { readonly [char: string]: string } = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

const escape = (char: string): string => named[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`

/** The text on one line, with what must not reach a terminal written out. */
export const sanitize = (text: string): string => text.replace(unsafe, escape)

const segmenter = new Intl.Segmenter()

/** At most `width` characters as a reader counts them, with an ellipsis where something was cut. */
export const cut = (text: string, width: number): string => {
  if (text.length <= width) return text
  let out = ""
  let count = 0
  let end = 0
  for (const { segment } of segmenter.segment(text)) {
    count++
    if (count > width) return width <= 0 ? "" : `${text.slice(0, end)}…`
    if (count < width) end += segment.length
    out += segment
  }
  return out
}
