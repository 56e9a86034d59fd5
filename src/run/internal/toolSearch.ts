import * as Effect from "effect/Effect"
import type { JsonSchema } from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import type { ToolDefinition } from "../../services/ModelProvider.ts"

/** What the model calls to be shown tools that it was not shown at first. */
export const toolSearch = "tool_search"

const atMost = 5

const Query = Schema.Struct({ query: Schema.String })

const parameters: JsonSchema = {
  type: "object",
  properties: { query: { type: "string", description: "A few words for what the tool should do" } },
  required: ["query"],
  additionalProperties: false
}

export const definition = (count: number): ToolDefinition => ({
  type: "function",
  name: toolSearch,
  description: `Finds tools among ${count} that are not shown. Those that it answers with can be called afterwards.`,
  parameters,
  strict: true
})

export const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Query))

const wordsOf = (text: string): ReadonlyArray<string> =>
  text.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase().split(/[^\p{L}\p{N}]+/u).filter((word) => word.length > 1)

const descriptionOf = (tool: ToolDefinition): string => tool.type === "function" ? tool.description ?? "" : ""

/** A word of the name counts twice; a word may be the beginning of the other. */
const score = (query: ReadonlyArray<string>, tool: ToolDefinition): number => {
  const count = (words: ReadonlyArray<string>) =>
    query.filter((word) => words.some((other) => other.startsWith(word) || word.startsWith(other))).length
  return 2 * count(wordsOf(tool.name)) + count(wordsOf(descriptionOf(tool)))
}

/** The tools that fit best, best first; equal ones in the order of the toolkit. */
export const find = (query: string, tools: ReadonlyArray<ToolDefinition>): ReadonlyArray<ToolDefinition> => {
  const words = wordsOf(query)
  return tools.map((tool) => ({ tool, score: score(words, tool) }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
    .slice(0, atMost)
    .map(({ tool }) => tool)
}

export const search = (rawArguments: string, tools: ReadonlyArray<ToolDefinition>) =>
  Effect.map(decode(rawArguments), ({ query }) => {
    const found = find(query, tools)
    return {
      found: found.map(({ name }) => name),
      answer: found.length === 0
        ? { tools: [], hint: `No tool fits. There are: ${tools.map(({ name }) => name).join(", ")}` }
        : { tools: found.map((tool) => ({ name: tool.name, description: descriptionOf(tool) })) }
    }
  })
