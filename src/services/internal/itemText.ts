import type { ContentPart, Item } from "../Item.ts"

/** @internal */
export const isTextPart = (part: ContentPart): part is ContentPart & { readonly text: string } =>
  typeof part.text === "string" && part.type.endsWith("text")

/** @internal */
export const nameOf = (part: ContentPart): string =>
  typeof part["filename"] === "string" ? `${part.type} ${part["filename"]}` : part.type

/**
 * The text of a message or of an output; images, files and the like by name.
 *
 * @internal
 */
export const contentText = (content: string | ReadonlyArray<ContentPart>): string =>
  typeof content === "string"
    ? content
    : content.map((part) => isTextPart(part) ? part.text : part.refusal ?? `[${nameOf(part)}]`).join("\n")

/** No two parts match the same characters: a hostile text takes linear time. */
const dataUrl = /data:([\w.+-]+\/[\w.+-]+)?(?:;[\w.+-]+(?:=[^;,"\s]*)?)*;base64,[A-Za-z0-9+/=_-]*/gi

/**
 * A text with the type of each image or file in place of its bytes.
 *
 * @internal
 */
export const withoutData = (text: string): string => text.replaceAll(dataUrl, (_, type = "data") => `[${type}]`)

/** Fields with bytes, beside data URLs: they are long, but not in tokens. */
const bytes: ReadonlySet<string> = new Set(["encrypted_content", "file_data", "data"])

/**
 * How many characters an item has as JSON, without the bytes of images, files and what a provider encrypted.
 *
 * @internal
 */
export const charactersOf = (item: Item): number =>
  JSON.stringify(item, (key, value: unknown) =>
    typeof value !== "string"
      ? value
      : bytes.has(key) || (key === "result" && item.type === "image_generation_call")
      ? undefined
      : withoutData(value)).length
