import * as OpenAiStructuredOutput from "effect/ai/OpenAiStructuredOutput"
import * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import type { JsonSchema } from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import type { OutputSchema, ToolDefinition } from "../../services/ModelProvider.ts"
import type * as Agent from "../Agent.ts"

/** A tool with its codecs made once. */
export interface PlannedTool {
  readonly tool: Tool.Any
  readonly definition: ToolDefinition
  readonly decode: (json: string) => Effect.Effect<unknown, Schema.SchemaError>
  readonly encodeSuccess: (value: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly encodeFailure: (error: unknown) => Effect.Effect<unknown, Schema.SchemaError>
}

/** What of an agent is the same in every run of it. */
export interface Plan {
  /** Why it cannot be run. */
  readonly refused: string | undefined
  /** Those that have a handler: a hosted tool is the provider's own affair. */
  readonly tools: ReadonlyMap<string, PlannedTool>
  readonly definitions: ReadonlyArray<ToolDefinition> | undefined
  readonly output: {
    readonly schema: OutputSchema
    readonly decode: (json: string) => Effect.Effect<unknown, Schema.SchemaError>
  } | undefined
}

type AnySchema = Schema.Codec<any, any>

const isTyped = (schema: JsonSchema): boolean => {
  const { $defs = {}, anyOf = [], items = [], properties = {} } = schema as { readonly [key: string]: object }
  return ["type", "anyOf", "enum", "const", "$ref"].some((key) => key in schema) &&
    [$defs, anyOf, properties, [items].flat()].every((children) => Object.values(children).every(isTyped))
}

/**
 * The schema held to what OpenAI's strict mode takes, where it can be; other providers understand it too. It cannot be
 * where anything at all may stand: the service wants a type everywhere.
 */
const strictly = (schema: AnySchema) => {
  try {
    const strict = OpenAiStructuredOutput.toCodecOpenAI(schema)
    return isTyped(strict.jsonSchema) ? strict : undefined
  } catch {
    return undefined
  }
}

const planTool = (tool: Tool.Any): PlannedTool => {
  const parameters = Schema.isSchema(tool.parametersSchema) ? tool.parametersSchema as AnySchema : undefined
  const strict = Tool.getStrictMode(tool) === true && parameters !== undefined ? strictly(parameters) : undefined
  return {
    tool,
    definition: Tool.isProviderDefined(tool)
      ? { type: "hosted", name: tool.providerName, definition: { type: tool.providerName, ...(tool.args as object) } }
      : {
        type: "function",
        name: tool.name,
        description: Tool.getDescription(tool),
        parameters: strict?.jsonSchema ?? Tool.getJsonSchema(tool),
        strict: strict !== undefined
      },
    decode: Schema.decodeUnknownEffect(
      Schema.fromJsonString((strict?.codec ?? parameters ?? Schema.Unknown) as AnySchema)
    ),
    encodeSuccess: Schema.encodeUnknownEffect(tool.successSchema as AnySchema),
    encodeFailure: Schema.encodeUnknownEffect(Tool.failureResultSchema(tool) as Schema.Constraint as AnySchema)
  }
}

const planOutput = (agent: Agent.Any): Plan["output"] => {
  if (agent.output === undefined) return undefined
  const output = agent.output as AnySchema
  const isObject = Tool.getJsonSchemaFromSchema(output).type === "object"
  const schema = isObject ? output : Schema.Struct({ response: output })
  const strict = strictly(schema)
  const decode = Schema.decodeUnknownEffect(Schema.fromJsonString((strict?.codec ?? schema) as AnySchema))
  return {
    schema: {
      name: `${agent.name.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 48)}_output`,
      schema: strict?.jsonSchema ?? Tool.getJsonSchemaFromSchema(schema),
      strict: strict !== undefined
    },
    decode: isObject ? decode : (json) => Effect.map(decode(json), (value) => (value as { response: unknown }).response)
  }
}

/** What a run would do wrong rather than not at all: run what nobody approved, or leave a call without its answer. */
const refusedTool = (tool: Tool.Any): string | undefined =>
  (tool.needsApproval ?? false) !== false
    ? `Tool "${tool.name}" has needsApproval, and a run cannot ask for an approval: leave the tool out, ` +
      "or ask in its handler and leave needsApproval out"
    : Tool.isProviderDefined(tool) && tool.requiresHandler
    ? `Tool "${tool.name}" is defined by a provider and run by a handler, which a run cannot do: ` +
      "use a tool of your own in its place"
    : undefined

const plans = new WeakMap<Agent.Any, Plan>()

/** Plans are kept for as long as their agent, so that a run does not pay for schemas again. */
export const planOf = (agent: Agent.Any): Plan => {
  let plan = plans.get(agent)
  if (plan === undefined) {
    const tools = Object.values(agent.tools).map(planTool)
    const handled = tools.filter(({ tool }) => !Tool.isProviderDefined(tool))
    plan = {
      refused: tools.map(({ tool }) => refusedTool(tool)).find((reason) => reason !== undefined),
      tools: new Map(handled.map((planned) => [planned.tool.name, planned])),
      definitions: tools.length === 0 ? undefined : tools.map((planned) => planned.definition),
      output: planOutput(agent)
    }
    plans.set(agent, plan)
  }
  return plan
}
