import * as Effect from "effect/Effect"
import * as Extension from "../../../services/Extension.ts"
import { misused } from "./failure.ts"

const kinds = [...Extension.ExtensionKind.literals, "memory", "model_provider"] as const

/** The kind that a word names. */
export const kindOf = (text: string) => {
  const found = kinds.find((kind) => kind === text)
  return found === undefined
    ? Effect.fail(misused(`There is no kind "${text}" of extensions`, `There are: ${kinds.join(", ")}`))
    : Effect.succeed(Extension.kindOf(found))
}
