import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { ContentPart } from "../../../services/Item.ts"
import type { McpTool, McpToolResult } from "../../../services/McpServer.ts"
import { json } from "./failure.ts"

const Fields = Schema.Record(Schema.String, Schema.Unknown)

const Page = Schema.Struct({
  tools: Schema.Array(Schema.Unknown),
  nextCursor: Schema.optional(Schema.NullOr(Schema.String))
})

const Tool = Schema.Struct({
  name: Schema.NonEmptyString,
  title: Schema.optional(Schema.String),
  description: Schema.optional(Schema.NullOr(Schema.String)),
  inputSchema: Fields,
  annotations: Schema.optional(Schema.NullOr(Fields))
})

const Result = Schema.Struct({
  content: Schema.optional(Schema.Array(Schema.Unknown)),
  structuredContent: Schema.optional(Schema.Unknown),
  isError: Schema.optional(Schema.NullOr(Schema.Boolean))
})

const Text = Schema.Struct({ type: Schema.Literal("text"), text: Schema.String })
const Media = Schema.Struct({
  type: Schema.Literals(["image", "audio"]),
  data: Schema.String,
  mimeType: Schema.String
})
const Resource = Schema.Struct({
  type: Schema.Literal("resource"),
  resource: Schema.Struct({
    uri: Schema.String,
    mimeType: Schema.optional(Schema.String),
    text: Schema.optional(Schema.String),
    blob: Schema.optional(Schema.String)
  })
})
const Link = Schema.Struct({
  type: Schema.Literal("resource_link"),
  uri: Schema.String,
  name: Schema.optional(Schema.String),
  title: Schema.optional(Schema.String),
  description: Schema.optional(Schema.String),
  mimeType: Schema.optional(Schema.String)
})
const Content = Schema.Union([Text, Media, Resource, Link])

export const page = Schema.decodeUnknownOption(Page)
const toolOf = Schema.decodeUnknownOption(Tool)
const resultOf = Schema.decodeUnknownOption(Result)
const contentOf = Schema.decodeUnknownOption(Content)
export const fields = Schema.decodeUnknownOption(Fields)

/** What many callers share and none may change. */
const frozen = <A>(value: A): A => {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const inside of Object.values(value)) frozen(inside)
  }
  return value
}

/** A tool, or what is wrong with it. */
export const tool = (raw: unknown): McpTool | string => {
  const name = typeof raw === "object" && raw !== null && "name" in raw ? String(raw.name) : "?"
  const decoded = toolOf(raw)
  if (Option.isNone(decoded)) return `tool "${name}" has no name or no object as its inputSchema`
  const { annotations, description, inputSchema, title } = decoded.value
  const { type } = inputSchema
  if (type !== undefined && type !== "object") return `the inputSchema of tool "${name}" is not of type object`
  const said = description ?? title
  return frozen({
    name: decoded.value.name,
    ...(said === undefined ? {} : { description: said }),
    inputSchema: { ...inputSchema, type: "object" },
    ...(annotations === undefined || annotations === null ? {} : { annotations })
  })
}

const text = (text: string): ContentPart => ({ type: "input_text", text })

const lastOf = (uri: string): string =>
  uri.split(/[?#]/, 1)[0]!.split("/").findLast((part) => part !== "") ?? "resource"

const file = (name: string, mimeType: string, data: string): ContentPart => ({
  type: "input_file",
  filename: name,
  file_data: `data:${mimeType};base64,${data}`
})

const image = (mimeType: string, data: string): ContentPart => ({
  type: "input_image",
  image_url: `data:${mimeType};base64,${data}`,
  detail: "auto"
})

const part = (raw: unknown): ContentPart => {
  const decoded = contentOf(raw)
  // A type that came with a later version of the protocol: the model may still make sense of it.
  if (Option.isNone(decoded)) return text(json(raw))
  const content = decoded.value
  switch (content.type) {
    case "text":
      return text(content.text)
    case "image":
      return image(content.mimeType, content.data)
    case "audio":
      return file(`audio.${content.mimeType.split(/[/;]/)[1] ?? "bin"}`, content.mimeType, content.data)
    case "resource": {
      const { blob, mimeType = "application/octet-stream", text: inside, uri } = content.resource
      if (inside !== undefined) return text(`${uri}:\n${inside}`)
      if (blob === undefined) return text(uri)
      return mimeType.startsWith("image/") ? image(mimeType, blob) : file(lastOf(uri), mimeType, blob)
    }
    case "resource_link": {
      const { description, mimeType, name, title, uri } = content
      const about = [title ?? name, description, mimeType].filter((part) => part !== undefined && part !== "")
      return text(about.length === 0 ? uri : `${uri} (${about.join("; ")})`)
    }
  }
}

/** The result of a call, or undefined where it is none. */
export const result = (raw: unknown): McpToolResult | undefined => {
  const decoded = resultOf(raw)
  if (Option.isNone(decoded)) return undefined
  const { content = [], isError, structuredContent } = decoded.value
  return {
    content: content.map(part),
    ...(structuredContent === undefined ? {} : { structuredContent }),
    isError: isError === true
  }
}

/** The same with each text of it mapped, however deep. */
export const mapTexts = <A>(value: A, map: (text: string) => string): A => {
  const visit = (one: unknown): unknown =>
    typeof one === "string"
      ? map(one)
      : Array.isArray(one)
      ? one.map(visit)
      : typeof one === "object" && one !== null
      ? Object.fromEntries(Object.entries(one).map(([key, inside]) => [map(key), visit(inside)]))
      : one
  return visit(value) as A
}

export const failedResult = (text: string): McpToolResult => ({
  content: [{ type: "input_text", text }],
  isError: true
})
