/**
 * Which items of a client become history. An item is judged by its `type` first and then by a strict Schema, because a
 * provider reads the type: `{ role: "user", type: "function_call_output" }` is a tool output for the model.
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type { ContentPart, Message } from "../../../services/Item.ts"

const maybe = <S extends Schema.Constraint>(schema: S) => Schema.optional(Schema.NullOr(schema))

const Text = Schema.String

const cached = {
  prompt_cache_breakpoint: Schema.optional(Schema.Struct({ mode: Text, ttl: Schema.optional(Text) }))
}

const InputText = Schema.Struct({ type: Schema.Literal("input_text"), text: Text, ...cached })

const InputImage = Schema.Struct({
  type: Schema.Literal("input_image"),
  image_url: maybe(Text),
  file_id: maybe(Text),
  detail: maybe(Schema.Literals(["auto", "low", "high", "original"])),
  ...cached
})

const InputFile = Schema.Struct({
  type: Schema.Literal("input_file"),
  file_data: maybe(Text),
  file_id: maybe(Text),
  file_url: maybe(Text),
  filename: maybe(Text),
  detail: maybe(Schema.Literals(["auto", "low", "high"])),
  ...cached
})

const InputAudio = Schema.Struct({
  type: Schema.Literal("input_audio"),
  input_audio: Schema.Struct({ data: Text, format: Text })
})

const OutputText = Schema.Struct({
  type: Schema.Literal("output_text"),
  text: Text,
  annotations: maybe(Schema.Array(Schema.Unknown)),
  logprobs: maybe(Schema.Array(Schema.Unknown)),
  /** The official client adds it to what it was answered. */
  parsed: Schema.optional(Schema.Unknown)
})

const Refusal = Schema.Struct({ type: Schema.Literal("refusal"), refusal: Text })

const messageOf = <Role extends Message["role"], Part extends ContentPart>(
  roles: ReadonlyArray<Role>,
  parts: Schema.Codec<Part, unknown>,
  types: ReadonlyArray<string>
) => ({
  decode: Schema.decodeUnknownResult(
    Schema.Struct({
      type: Schema.optional(Schema.Literal("message")),
      role: Schema.Literals(roles),
      content: Schema.Union([Text, Schema.Array(parts).check(Schema.isMinLength(1))]),
      id: maybe(Text),
      status: maybe(Text),
      phase: maybe(Text)
    }),
    { onExcessProperty: "error" }
  ),
  types
})

const fromUser = messageOf(
  ["user"],
  Schema.Union([InputText, InputImage, InputFile, InputAudio]),
  ["input_text", "input_image", "input_file", "input_audio"]
)

const fromAssistant = messageOf(["assistant"], Schema.Union([OutputText, Refusal]), ["output_text", "refusal"])

const instructing = messageOf(["system", "developer"], InputText, ["input_text"])

const readers: Readonly<Record<Message["role"], typeof fromUser | typeof fromAssistant | typeof instructing>> = {
  user: fromUser,
  assistant: fromAssistant,
  system: instructing,
  developer: instructing
}

/** Why an item is refused, and the field of it that is to blame. */
export interface Misfit {
  readonly at: string
  readonly why: string
}

const standard = SchemaIssue.makeFormatterStandardSchemaV1()

/** A path into JSON, as clients write it. */
export const pathOf = (path: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }>): string =>
  path.reduce<string>((text, segment) => {
    const key = typeof segment === "object" ? segment.key : segment
    return typeof key === "number" ? `${text}[${key}]` : text === "" ? String(key) : `${text}.${String(key)}`
  }, "")

/** The field that a decoder stopped at; empty for the whole value. */
export const fieldOf = ({ issue }: Schema.SchemaError): string => pathOf(standard(issue).issues[0]?.path ?? [])

const quote = (u: unknown): string =>
  typeof u === "string" ? JSON.stringify(u.slice(0, 64)) : `of JSON type ${typeof u}`

const oneOf = (words: ReadonlyArray<string>): string => words.map((word) => JSON.stringify(word)).join(" or ")

const refuse = (at: string, why: string) => Result.fail<Misfit>({ at, why })

/** Citations and the like are dropped: only the words of a message are history. */
const partOf = (part: ContentPart): ContentPart =>
  part.type === "output_text" ? { type: part.type, text: part.text ?? "" } : part

/**
 * Reads an item as a message with one of these roles. The result holds role and content only: ids and statuses are
 * given by this server and its provider.
 */
export const read = (u: unknown, roles: ReadonlyArray<Message["role"]>): Result.Result<Message, Misfit> => {
  if (!Predicate.isReadonlyObject(u)) return refuse("", "An item is a JSON object.")
  const { content, role, type } = u
  if (type !== undefined && type !== "message") {
    return refuse("", `Items of the type ${quote(type)} are not accepted, only messages of the role ${oneOf(roles)}.`)
  }
  const known = roles.find((one) => one === role)
  if (known === undefined) {
    const found = role === undefined ? "without a role" : `of the role ${quote(role)}`
    return refuse("", `Messages ${found} are not accepted, only of the role ${oneOf(roles)}.`)
  }
  const { decode, types } = readers[known]
  if (Array.isArray(content)) {
    const wrong = content.findIndex((part) =>
      !Predicate.isReadonlyObject(part) || !types.includes(part["type"] as string)
    )
    if (wrong >= 0) {
      return refuse(`content[${wrong}]`, `A part of a message of the role "${known}" has the type ${oneOf(types)}.`)
    }
  }
  const decoded: Result.Result<{ readonly content: Message["content"] }, Schema.SchemaError> = decode(u)
  if (Result.isFailure(decoded)) {
    const at = fieldOf(decoded.failure)
    return refuse(at, `The field ${at} is missing, has the wrong form or is not a field of such a message.`)
  }
  const { content: said } = decoded.success
  return Result.succeed({
    type: "message",
    role: known,
    content: typeof said === "string" ? said : said.map(partOf)
  })
}
