import * as OpenAiStructuredOutput from "effect/ai/OpenAiStructuredOutput"
import * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import type { JsonSchema } from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import type { HandoffDefinition, OutputSchema, ToolDefinition } from "../../services/ModelProvider.ts"
import type * as Agent from "../Agent.ts"
import type { AgentTool, Handoff, ToolOptions } from "./agentModel.ts"
import { handlerOf } from "./toolHandler.ts"
import type { Handle } from "./toolOutcome.ts"
import * as ToolSearch from "./toolSearch.ts"

type AnySchema = Schema.Codec<any, any>

type Decode = (json: string) => Effect.Effect<any, Schema.SchemaError>

interface Offered {
  readonly definition: ToolDefinition
  readonly options: ToolOptions<any, any, any>
}

/** A tool that is run here, with its codecs made once. */
export interface PlannedTool extends Offered {
  readonly decode: Decode
  /** Left out, it is `false`. */
  readonly needsApproval: boolean | ((params: any, call: any) => unknown) | undefined
  readonly handle: Handle
}

const isPlanned = (tool: Offered | PlannedTool): tool is PlannedTool => "handle" in tool

/** An agent that is called like a tool. */
export interface PlannedAgentTool {
  readonly tool: AgentTool<any, any>
  readonly definition: ToolDefinition
  readonly decode: Decode
}

export interface PlannedHandoff {
  readonly handoff: Handoff<any, any, any>
  readonly definition: HandoffDefinition
  readonly decode: Decode | undefined
}

/** What of an agent the model is offered in a turn. */
export interface Offer {
  readonly definitions: ReadonlyArray<ToolDefinition> | undefined
  readonly handoffs: ReadonlyArray<HandoffDefinition> | undefined
  /** Those that are run here, shown or not. */
  readonly tools: ReadonlyMap<string, PlannedTool>
  /** What the model is shown once it has found it. */
  readonly deferred: ReadonlyArray<ToolDefinition>
  readonly isEnabled: (name: string) => boolean
}

interface Switch {
  readonly name: string
  readonly isEnabled: Effect.Effect<boolean, any, any>
}

/** What of an agent is the same in every run of it. */
export interface Plan {
  /** Why it cannot be run. */
  readonly refused: string | undefined
  /** Of tools, agent tools and handoffs. */
  readonly names: ReadonlyArray<string>
  /** Tools, hosted ones among them, and agent tools. */
  readonly offered: ReadonlyArray<Offered>
  readonly tools: ReadonlyMap<string, PlannedTool>
  readonly agentTools: ReadonlyMap<string, PlannedAgentTool>
  readonly handoffs: ReadonlyMap<string, PlannedHandoff>
  readonly switches: ReadonlyArray<Switch>
  /** Whether the model is offered the same in every turn: then it is `offer`. */
  readonly isFixed: boolean
  readonly offer: Offer
  readonly output: {
    readonly schema: OutputSchema
    readonly decode: (json: string) => Effect.Effect<unknown, Schema.SchemaError>
    /** What a tool answered, taken for the final answer. */
    readonly check: (encoded: unknown) => Effect.Effect<unknown, Schema.SchemaError>
    /** A value given in place of the model's answer, as the model would have written it. */
    readonly encode: (value: unknown) => Effect.Effect<string, Schema.SchemaError>
  } | undefined
}

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

/** Models write nothing where a tool has no parameters. */
export const decoderOf = (schema: AnySchema): Decode => {
  const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
  return (json) => decode(json === "" ? "{}" : json)
}

const functionOf = (
  name: string,
  description: string | undefined,
  parameters: AnySchema | JsonSchema,
  isStrict = true
) => {
  const schema = Schema.isSchema(parameters) ? parameters as AnySchema : undefined
  const strict = isStrict && schema !== undefined ? strictly(schema) : undefined
  return {
    definition: {
      type: "function" as const,
      name,
      description,
      parameters: strict?.jsonSchema ??
        (schema === undefined ? parameters as JsonSchema : Tool.getJsonSchemaFromSchema(schema)),
      strict: strict !== undefined
    },
    decode: decoderOf((strict?.codec ?? schema ?? Schema.Unknown) as AnySchema)
  }
}

const planTool = (tool: Tool.Any, options: ToolOptions<any, any, any>): PlannedTool => ({
  ...functionOf(
    tool.name,
    Tool.getDescription(tool),
    // A tool with a JSON Schema has `Schema.Unknown` beside it, which says nothing.
    Tool.isDynamic(tool) && tool.jsonSchema !== undefined ? tool.jsonSchema : tool.parametersSchema as AnySchema,
    Tool.getStrictMode(tool) === true
  ),
  options,
  needsApproval: options.needsApproval === undefined
    ? tool.needsApproval as PlannedTool["needsApproval"]
    : options.needsApproval,
  handle: handlerOf(tool, Tool.failureResultSchema(tool))
})

const planHosted = (tool: Tool.AnyProviderDefined, options: ToolOptions<any, any, any>): Offered => ({
  definition: {
    type: "hosted",
    name: tool.providerName,
    definition: { type: tool.providerName, ...(tool.args as object) }
  },
  options
})

const planOutput = (agent: Agent.Any): Plan["output"] => {
  if (agent.output === undefined) return undefined
  const output = agent.output as AnySchema
  const isObject = Tool.getJsonSchemaFromSchema(output).type === "object"
  const schema = isObject ? output : Schema.Struct({ response: output })
  const strict = strictly(schema)
  const codec = Schema.fromJsonString((strict?.codec ?? schema) as AnySchema)
  const decode = Schema.decodeUnknownEffect(codec)
  const encode = Schema.encodeUnknownEffect(codec)
  return {
    schema: {
      name: `${agent.name.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 48)}_output`,
      schema: strict?.jsonSchema ?? Tool.getJsonSchemaFromSchema(schema),
      strict: strict !== undefined
    },
    decode: isObject
      ? decode
      : (json) => Effect.map(decode(json), (value) => (value as { response: unknown }).response),
    check: Schema.decodeUnknownEffect(Schema.toCodecJson(output)),
    encode: isObject ? encode : (value) => encode({ response: value })
  }
}

const planAgentTool = (tool: AgentTool<any, any>): PlannedAgentTool => ({
  tool,
  ...functionOf(tool.name, tool.description, tool.parameters)
})

const noParameters: JsonSchema = { type: "object", properties: {}, required: [], additionalProperties: false }

const planHandoff = (handoff: Handoff<any, any, any>): PlannedHandoff => {
  const { input, toolDescription: description, toolName: name } = handoff
  if (input === undefined) {
    return { handoff, definition: { name, description, parameters: noParameters }, decode: undefined }
  }
  const { decode, definition } = functionOf(name, description, input)
  return { handoff, definition: { name, description, parameters: definition.parameters }, decode }
}

/** What a run would do wrong rather than not at all: leave a call without its answer. */
const refusedTool = (tool: Tool.Any): string | undefined =>
  Tool.isProviderDefined(tool) && tool.requiresHandler
    ? `Tool "${tool.name}" is defined by a provider and run by a handler, which a run cannot do: ` +
      "use a tool of your own in its place"
    : undefined

const repeated = (names: ReadonlyArray<string>): string | undefined => {
  const name = names.find((name, index) => names.indexOf(name) !== index)
  return name === undefined
    ? undefined
    : `Two of the agent's tools, agent tools and handoffs are called "${name}": give one of them another name`
}

const switchOf = (name: string, isEnabled: Effect.Effect<boolean, any, any> | undefined): ReadonlyArray<Switch> =>
  isEnabled === undefined ? [] : [{ name, isEnabled }]

export const someOf = <A>(all: ReadonlyArray<A>): ReadonlyArray<A> | undefined => all.length === 0 ? undefined : all

const nothing: ToolOptions<any, any, any> = {}

const makePlan = (agent: Agent.Any): Plan => {
  const own = Object.values(agent.tools).map((tool): Offered | PlannedTool => {
    const options = agent.toolOptions[tool.name] ?? nothing
    return Tool.isProviderDefined(tool) ? planHosted(tool, options) : planTool(tool, options)
  })
  const agentTools = agent.agentTools.map(planAgentTool)
  const handoffs = agent.handoffs().map(planHandoff)
  const offered = [...own, ...agentTools.map(({ definition }) => ({ definition, options: nothing }))]
  const isDeferring = own.some(({ options }) => options.isDeferred === true) ||
    agent.mcpServers.some(({ options }) => options.isDeferred === true)
  const names = [
    ...[...offered, ...handoffs].map(({ definition }) => definition.name),
    ...(isDeferring ? [ToolSearch.toolSearch] : [])
  ]
  const unknown = Object.keys(agent.toolOptions).find((name) => !(name in agent.tools))
  const tools = new Map(own.filter(isPlanned).map((tool) => [tool.definition.name, tool]))
  const switches = [
    ...own.flatMap(({ definition, options }) => switchOf(definition.name, options.isEnabled)),
    ...agentTools.flatMap(({ tool }) => switchOf(tool.name, tool.isEnabled)),
    ...handoffs.flatMap(({ handoff }) => switchOf(handoff.toolName, handoff.isEnabled))
  ]
  return {
    refused: Object.values(agent.tools).map(refusedTool).find((reason) => reason !== undefined) ??
      repeated(names) ??
      (unknown === undefined ? undefined : `toolOptions names "${unknown}", which is no tool of the agent's toolkit`),
    names,
    offered,
    tools,
    agentTools: new Map(agentTools.map((planned) => [planned.tool.name, planned])),
    handoffs: new Map(handoffs.map((planned) => [planned.handoff.toolName, planned])),
    switches,
    isFixed: switches.length === 0 && !isDeferring && agent.mcpServers.length === 0,
    offer: {
      definitions: someOf(offered.map(({ definition }) => definition)),
      handoffs: someOf(handoffs.map(({ definition }) => definition)),
      tools,
      deferred: [],
      isEnabled: () => true
    },
    output: planOutput(agent)
  }
}

const plans = new WeakMap<Agent.Any, Plan>()

/** Plans are kept for as long as their agent, so that a run does not pay for schemas again. */
export const planOf = (agent: Agent.Any): Plan => {
  let plan = plans.get(agent)
  if (plan === undefined) plans.set(agent, plan = makePlan(agent))
  return plan
}
