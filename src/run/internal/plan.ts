import * as OpenAiStructuredOutput from "effect/ai/OpenAiStructuredOutput"
import * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import type { JsonSchema } from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import type { HandoffDefinition, OutputSchema, ToolDefinition } from "../../services/ModelProvider.ts"
import type * as Agent from "../Agent.ts"
import type { AgentTool, Handoff, ToolOptions } from "./agentModel.ts"
import * as ToolSearch from "./toolSearch.ts"

type Decode = (json: string) => Effect.Effect<any, Schema.SchemaError>

/** A tool with its codecs made once. */
export interface PlannedTool {
  readonly tool: Tool.Any
  readonly options: ToolOptions<any, any, any>
  readonly definition: ToolDefinition
  readonly decode: Decode
  readonly encodeSuccess: (value: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly encodeFailure: (error: unknown) => Effect.Effect<unknown, Schema.SchemaError>
}

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
  readonly isEnabled: (name: string) => boolean
}

/** What of an agent is the same in every run of it. */
export interface Plan {
  /** Why it cannot be run. */
  readonly refused: string | undefined
  /** Those that have a handler: a hosted tool is the provider's own affair. */
  readonly tools: ReadonlyMap<string, PlannedTool>
  readonly agentTools: ReadonlyMap<string, PlannedAgentTool>
  readonly handoffs: ReadonlyMap<string, PlannedHandoff>
  /** Everything, as long as nothing has a switch or is deferred. */
  readonly offer: Offer
  /** What the model is shown once it has found it. */
  readonly deferred: ReadonlyArray<ToolDefinition>
  readonly switches: ReadonlyArray<{ readonly name: string; readonly isEnabled: Effect.Effect<boolean, any, any> }>
  readonly output: {
    readonly schema: OutputSchema
    readonly decode: (json: string) => Effect.Effect<unknown, Schema.SchemaError>
    /** What a tool answered, taken for the final answer. */
    readonly check: (encoded: unknown) => Effect.Effect<unknown, Schema.SchemaError>
    /** A value given in place of the model's answer, as the model would have written it. */
    readonly encode: (value: unknown) => Effect.Effect<string, Schema.SchemaError>
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

const planTool = (tool: Tool.Any, options: ToolOptions<any, any, any>): PlannedTool => {
  const parameters = Schema.isSchema(tool.parametersSchema) ? tool.parametersSchema as AnySchema : undefined
  const strict = Tool.getStrictMode(tool) === true && parameters !== undefined ? strictly(parameters) : undefined
  return {
    tool,
    options,
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
    check: Schema.decodeUnknownEffect(output),
    encode: isObject ? encode : (value) => encode({ response: value })
  }
}

const functionOf = (name: string, description: string, parameters: AnySchema) => {
  const strict = strictly(parameters)
  return {
    definition: {
      type: "function" as const,
      name,
      description,
      parameters: strict?.jsonSchema ?? Tool.getJsonSchemaFromSchema(parameters),
      strict: strict !== undefined
    },
    decode: Schema.decodeUnknownEffect(Schema.fromJsonString((strict?.codec ?? parameters) as AnySchema))
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

const switchOf = (name: string, isEnabled: Effect.Effect<boolean, any, any> | undefined) =>
  isEnabled === undefined ? [] : [{ name, isEnabled }]

const someOf = <A>(all: ReadonlyArray<A>): ReadonlyArray<A> | undefined => all.length === 0 ? undefined : all

const makePlan = (agent: Agent.Any): Plan => {
  const tools = Object.values(agent.tools).map((tool) => planTool(tool, agent.toolOptions[tool.name] ?? {}))
  const handled = tools.filter(({ tool }) => !Tool.isProviderDefined(tool))
  const agentTools = agent.agentTools.map(planAgentTool)
  const handoffs = agent.handoffs().map(planHandoff)
  const deferred = handled.filter(({ options }) => options.isDeferred === true).map(({ definition }) => definition)
  const shown = deferred.length === 0 ? [] : [ToolSearch.definition(deferred.length)]
  const unknown = Object.keys(agent.toolOptions).find((name) => !(name in agent.tools))
  return {
    refused: tools.map(({ tool }) => refusedTool(tool)).find((reason) => reason !== undefined) ??
      repeated([
        ...[...tools, ...agentTools, ...handoffs].map(({ definition }) => definition.name),
        ...shown.map(({ name }) => name)
      ]) ??
      (unknown === undefined ? undefined : `toolOptions names "${unknown}", which is no tool of the agent's toolkit`),
    tools: new Map(handled.map((planned) => [planned.tool.name, planned])),
    agentTools: new Map(agentTools.map((planned) => [planned.tool.name, planned])),
    handoffs: new Map(handoffs.map((planned) => [planned.handoff.toolName, planned])),
    offer: {
      definitions: someOf([...[...tools, ...agentTools].map(({ definition }) => definition), ...shown]),
      handoffs: someOf(handoffs.map(({ definition }) => definition)),
      isEnabled: () => true
    },
    deferred,
    switches: [
      ...tools.flatMap(({ definition, options }) => switchOf(definition.name, options.isEnabled)),
      ...agentTools.flatMap(({ tool }) => switchOf(tool.name, tool.isEnabled)),
      ...handoffs.flatMap(({ handoff }) => switchOf(handoff.toolName, handoff.isEnabled))
    ],
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

/** Whether the model is offered the same in every turn. */
export const isFixed = (plan: Plan): boolean => plan.switches.length === 0 && plan.deferred.length === 0

/** What is enabled now, and what was found. */
export const offerOf = (plan: Plan, found: ReadonlySet<string>): Effect.Effect<Offer, any, any> =>
  Effect.map(Effect.filter(plan.switches, ({ isEnabled }) => Effect.map(isEnabled, (is) => !is)), (disabled) => {
    const off = new Set(disabled.map(({ name }) => name))
    const { definitions = [], handoffs = [] } = plan.offer
    return {
      definitions: someOf(
        definitions.filter((tool) => !off.has(tool.name) && (!plan.deferred.includes(tool) || found.has(tool.name)))
      ),
      handoffs: someOf(handoffs.filter(({ name }) => !off.has(name))),
      isEnabled: (name) => !off.has(name)
    }
  })

/**
 * Every agent that a run of `root` may come to by handoffs, under a name of its own: the first of a name has it, others
 * have it with a number. The order is that of the handoffs, so that a name means the same after a deploy.
 */
export const agentsOf = (root: Agent.Any): ReadonlyMap<string, Agent.Any> => {
  const found = new Map<string, Agent.Any>()
  const seen = new Set<Agent.Any>()
  const queue: Array<Agent.Any> = [root]
  for (let agent = queue.shift(); agent !== undefined; agent = queue.shift()) {
    if (seen.has(agent)) continue
    seen.add(agent)
    let key = agent.name
    for (let count = 2; found.has(key); count++) key = `${agent.name}#${count}`
    found.set(key, agent)
    for (const { handoff } of planOf(agent).handoffs.values()) queue.push(handoff.agent)
  }
  return found
}

const refusals = new WeakMap<Agent.Any, { readonly reason: string | undefined }>()

/** Why a run of the agent, or of one that it may come to, would go wrong. */
export const refusalOf = (root: Agent.Any): string | undefined => {
  let refusal = refusals.get(root)
  if (refusal === undefined) {
    const plans = Array.from(agentsOf(root).values(), planOf)
    refusals.set(root, refusal = { reason: plans.find(({ refused }) => refused !== undefined)?.refused })
  }
  return refusal.reason
}

export const keyOf = (root: Agent.Any, agent: Agent.Any): string =>
  agent === root ? agent.name : Array.from(agentsOf(root)).find(([, other]) => other === agent)?.[0] ?? agent.name
