/**
 * What can be said of a file without understanding it: what it says of itself, and the names that it defines.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { oneLine } from "../render.ts"

const PackageJson = Schema.fromJsonString(Schema.Struct({
  name: Schema.optionalKey(Schema.String),
  version: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.String),
  scripts: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
}))

/** The first paragraph that is prose, as against a heading, a badge or a table. */
const firstParagraph = (markdown: string) =>
  markdown.split(/\n\s*\n/).map((paragraph) => paragraph.trim()).find((paragraph) => /^[\w*"`]/.test(paragraph))

/** The comment at the top. */
const header = (content: string) => {
  const match = /^(?:#!.*\n)?\s*(?:\/\*\*?|"""|'''|<!--)([\s\S]*?)(?:\*\/|"""|'''|-->)/.exec(content) ??
    /^(?:#!.*\n)?((?:(?:\/\/|#).*\n)+)/.exec(content)
  return match?.[1]?.replaceAll(/^\s*(?:\*|\/\/|#)+ ?/gm, "").trim()
}

const definition =
  /^(?:export |pub |default |declare |abstract |async )*(?:const|let|class|interface|type|function|enum|def|func|fn|struct|trait)\*?\s+([\w$]+)/gm

const saysOfItself = (path: string, content: string): ReadonlyArray<string> => {
  if (/(?:^|\/)package\.json$/.test(path)) {
    return Option.match(Schema.decodeOption(PackageJson)(content), {
      onNone: () => [],
      onSome: ({ description, name, scripts, version }) => [
        `${path} says: ${[name ?? "no name", version].join(" ").trim()}${
          description === undefined ? "" : `. ${oneLine(description, 300)}`
        }`,
        ...(scripts === undefined
          ? []
          : [`npm scripts: ${oneLine(Object.keys(scripts).filter((name) => !name.startsWith("pre")).join(", "), 200)}`])
      ]
    })
  }
  const words = /\.(?:md|txt|rst|adoc)$|README$/i.test(path)
    ? firstParagraph(content)
    : /\.(?:toml|ya?ml|mod|json)$/.test(path)
    ? content
    : header(content)
  return words === undefined || words === "" ? [] : [`${path} says: ${oneLine(words, 300)}`]
}

export const portrait = (path: string, content: string): ReadonlyArray<string> => {
  const defined = /\.(?:md|json|toml|ya?ml)$/.test(path)
    ? []
    : Array.from(content.matchAll(definition), (one) => one[1]!)
  return [
    ...saysOfItself(path, content),
    ...(defined.length === 0 ? [] : [`It defines ${oneLine([...new Set(defined)].join(", "), 300)}.`])
  ]
}
