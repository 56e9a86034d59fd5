/**
 * An agent: a plain value that says who answers, with which tools, in which shape, and to whom it may hand off. It
 * holds no handlers, keys or connections: its type carries what a run of it requires, and Layers provide that.
 *
 * @since 0.1.0
 */
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { Item } from "../services/Item.ts"
import type * as McpServer from "../services/McpServer.ts"
import type { ModelRequest, ModelSettings } from "../services/ModelProvider.ts"
import type { InputGuardrail, OutputGuardrail } from "./Guardrail.ts"
import * as Handoff from "./Handoff.ts"
import type { Agent, AgentTool, AnyAgent, McpTools, Own, ToolOptions, ToolUse } from "./internal/agentModel.ts"
import { TypeId } from "./internal/agentModel.ts"

export type { Agent, AgentTool, McpTools, ToolOptions, ToolResult, ToolUse } from "./internal/agentModel.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Any extends AnyAgent {}

/**
 * An agent, or a handoff to one.
 *
 * @category models
 * @since 0.1.0
 */
export type Target = Any | Handoff.Handoff<any, any, any>

type AnyToolOptions<Tools extends Record<string, Tool.Any>> = {
  readonly [Name in keyof Tools]?: ToolOptions<Tool.Parameters<Tools[Name]>, any, any>
}

type NoOthers<PerTool, Tools> = { readonly [Name in Exclude<keyof PerTool, keyof Tools>]: never }

/**
 * @category options
 * @since 0.1.0
 */
export interface Options<
  Output,
  Tools extends Record<string, Tool.Any>,
  EI,
  RI,
  EP,
  RP,
  Handoffs,
  AgentTools,
  McpServers,
  InputGuardrails,
  OutputGuardrails,
  PerTool
> {
  /** Names the agent in traces, errors and stored turns. */
  readonly name: string
  /** What the agent is for, as other agents are told that may hand off to it. */
  readonly description?: string | undefined
  /** What the model is told first. An Effect is run before every model call. */
  readonly instructions?: string | Effect.Effect<string, EI, RI> | undefined
  /** The tools that the model may ask for. Their handlers are a Layer: `toolkit.toLayer({ … })`. */
  readonly toolkit?: Toolkit.Toolkit<Tools> | undefined
  /** Approval, enablement, timeout, retry and guardrails of single tools, by name. */
  readonly toolOptions?: (PerTool & AnyToolOptions<NoInfer<Tools>> & NoOthers<PerTool, Tools>) | undefined
  /** Agents that this one may call like tools: `Agent.asTool`. */
  readonly agentTools?: AgentTools | undefined
  /**
   * MCP servers whose tools the agent may call: the class of each, or `Agent.mcpTools` of it with options. They are listed
   * before every model call; a Layer such as `McpStdio.layer` provides the server.
   */
  readonly mcpServers?: McpServers | undefined
  /** Agents that this one may hand the conversation to. A function where agents hand off to each other. */
  readonly handoffs?: Handoffs | (() => Handoffs) | undefined
  /** Checked once, before or beside the first model call of a run that starts with this agent. */
  readonly inputGuardrails?: InputGuardrails | undefined
  /** Checked on the final answer of this agent, before it is stored. */
  readonly outputGuardrails?: OutputGuardrails | undefined
  /** The shape of the final answer, which is decoded by it. Absent: the answer is text. */
  readonly output?: Schema.Codec<Output, any> | undefined
  /**
   * How often in a run the model is told what was wrong with a final answer that does not decode, and asked again. Each
   * takes a turn; neither the answer nor the complaint is stored.
   *
   * @default 0
   */
  readonly outputRepairs?: number | undefined
  /** The name that `ModelProvider` resolves. Absent: the provider's default; a run may name another. */
  readonly model?: string | undefined
  readonly settings?: ModelSettings | undefined
  /**
   * What happens after tools have run.
   *
   * @default "runAgain"
   */
  readonly toolUse?: ToolUse<NoInfer<Output>> | undefined
  /**
   * Whether a `toolChoice` that forces a tool holds only until a tool was called. A model that is forced in every turn
   * never answers, and the run ends with `MaxTurnsExceeded`.
   *
   * @default true
   */
  readonly resetToolChoice?: boolean | undefined
  /** A prompt stored at the provider, with its variables. An Effect is run before every model call. */
  readonly prompt?: ModelRequest["prompt"] | Effect.Effect<ModelRequest["prompt"], EP, RP> | undefined
}

/** Every Effect that stands somewhere in the options of a tool. */
type EffectsOf<Options> =
  | (Options extends { readonly needsApproval: (...args: any) => infer Fx } ? Fx : never)
  | (Options extends { readonly isEnabled: infer Fx } ? Fx : never)
  | (Options extends { readonly inputGuardrails: ReadonlyArray<infer G> } ? ChecksOf<G> : never)
  | (Options extends { readonly outputGuardrails: ReadonlyArray<infer G> } ? ChecksOf<G> : never)

type ChecksOf<G> = G extends { readonly check: (...args: any) => infer Fx } ? Fx : never

type ErrorOf<Fx> = Fx extends Effect.Effect<any, infer E, any> ? E : never
type ServicesOf<Fx> = Fx extends Effect.Effect<any, any, infer R> ? R : never

type OutputOfTarget<T> = T extends Agent<infer Output, any, any> ? Output
  : T extends { readonly agent: Agent<infer Output, any, any> } ? Output
  : never
type ErrorOfTarget<T> = T extends Agent<any, infer E, any> ? E
  : T extends Handoff.Handoff<any, infer E, any> ? E
  : never
type ServicesOfTarget<T> = T extends Agent<any, any, infer R> ? R
  : T extends Handoff.Handoff<any, any, infer R> ? R
  : never

type ErrorOfServer<T> = T extends McpTools<infer E, any> ? E | McpServer.McpError
  : T extends McpServer.Any ? McpServer.McpError
  : never
type ServicesOfServer<T> = T extends McpTools<any, infer R> ? R
  : T extends Context.Service<infer Self, any> ? Self
  : never

/**
 * Makes an agent. Output, errors and requirements are inferred; those of the agents that it may hand off to are in its
 * own: a run of it may end with their output.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  Output = string,
  Tools extends Record<string, Tool.Any> = {},
  EI = never,
  RI = never,
  EP = never,
  RP = never,
  const Handoffs extends ReadonlyArray<Target> = [],
  const AgentTools extends ReadonlyArray<AgentTool<any, any>> = [],
  const McpServers extends ReadonlyArray<McpServer.Any | McpTools<any, any>> = [],
  // A check that is written in place gets the type of its parameter from these defaults: `[]` has none.
  const InputGuardrails extends ReadonlyArray<InputGuardrail<any, any>> = ReadonlyArray<InputGuardrail>,
  const OutputGuardrails extends ReadonlyArray<OutputGuardrail<NoInfer<Output>, any, any>> = ReadonlyArray<
    OutputGuardrail<NoInfer<Output>>
  >,
  const PerTool extends AnyToolOptions<NoInfer<Tools>> = {}
>(
  options: Options<
    Output,
    Tools,
    EI,
    RI,
    EP,
    RP,
    Handoffs,
    AgentTools,
    McpServers,
    InputGuardrails,
    OutputGuardrails,
    PerTool
  >
): Agent<
  Output | OutputOfTarget<Handoffs[number]>,
  | EI
  | EP
  | ErrorOfServer<McpServers[number]>
  | ErrorOfTarget<Handoffs[number]>
  | ErrorOf<ChecksOf<InputGuardrails[number] | OutputGuardrails[number]> | EffectsOf<PerTool[keyof PerTool]>>,
  | RI
  | RP
  | ServicesOfServer<McpServers[number]>
  // Tool by tool and without a name, so that the compiler prints `Handler<"add">` and not the whole toolkit.
  | { [Name in keyof Tools]: Tool.HandlersFor<{ readonly tool: Tools[Name] }> }[keyof Tools]
  | Tool.HandlerServices<Tools[keyof Tools]>
  | ServicesOfTarget<Handoffs[number]>
  | (AgentTools[number] extends infer T ? T extends AgentTool<any, infer R> ? R : never : never)
  | ServicesOf<ChecksOf<InputGuardrails[number] | OutputGuardrails[number]> | EffectsOf<PerTool[keyof PerTool]>>
> => {
  const { handoffs = [] } = options
  return {
    [TypeId]: variance,
    name: options.name,
    description: options.description,
    instructions: options.instructions as string | Effect.Effect<string, any, never> | undefined,
    tools: options.toolkit?.tools ?? {},
    toolOptions: (options.toolOptions ?? {}) as Readonly<Record<string, ToolOptions<any, any, any>>>,
    agentTools: options.agentTools ?? [],
    mcpServers: (options.mcpServers ?? []).map((server: McpServer.Any | McpTools<any, any>) =>
      "server" in server ? server : mcpTools(server)
    ),
    handoffs: () =>
      (typeof handoffs === "function" ? handoffs() : handoffs)
        .map((target: Target) => isAgent(target) ? Handoff.to(target) : target),
    inputGuardrails: options.inputGuardrails ?? [],
    outputGuardrails: options.outputGuardrails ?? [],
    output: options.output,
    outputRepairs: options.outputRepairs ?? 0,
    model: options.model,
    settings: options.settings,
    toolUse: options.toolUse ?? "runAgain",
    resetToolChoice: options.resetToolChoice ?? true,
    prompt: options.prompt as Agent<any, any>["prompt"]
  }
}

const variance = {
  _Output: (_: never) => _,
  _E: (_: never) => _,
  _R: (_: never) => _
}

/**
 * @category options
 * @since 0.1.0
 */
export interface AsToolOptions<Output, Params, EE, RE> {
  readonly name: string
  /** Tells the model when to call the agent. */
  readonly description: string
  /** What the model says in a call. Default: `{ input: string }`. */
  readonly parameters?: Schema.Codec<Params, any> | undefined
  /** What the agent is asked. Default: the text of `input`, or the arguments as JSON. */
  readonly input?: ((params: Params) => string | ReadonlyArray<Item>) | undefined
  /** What the calling model is told. Default: the text of the answer, or its JSON. */
  readonly toText?: ((finalOutput: Output) => string) | undefined
  /**
   * The turns that one call may take.
   *
   * @default 10
   */
  readonly maxTurns?: number | undefined
  /** Whether a person must approve the call itself; what the agent calls asks for itself. */
  readonly needsApproval?: boolean | undefined
  /** Asked before every model call. An agent that is not enabled is not shown. */
  readonly isEnabled?: Effect.Effect<boolean, EE, RE> | undefined
}

/**
 * The agent as a tool of another one. Each call is a run of its own inside the calling run: it remembers nothing, has
 * its own turns, adds to the same usage, and is told of in the same stream. What it asks a person to approve stops the
 * outer run, and is addressed by the path of calls that leads to it. What it fails with goes to the calling model.
 *
 * @category converting
 * @since 0.1.0
 */
export const asTool = <Output, E, R, Params = { readonly input: string }, EE = never, RE = never>(
  agent: Agent<Output, E, R>,
  options: AsToolOptions<Output, Params, EE, RE>
): AgentTool<E | Own<EE>, R | Own<RE>> => ({
  agent: agent as Agent<Output, any, any>,
  name: options.name,
  description: options.description,
  parameters: options.parameters ?? Schema.Struct({ input: Schema.String }),
  input: options.input ?? ((params) => {
    const { input } = params as { readonly input?: unknown }
    return typeof input === "string" ? input : toJson(params)
  }),
  toText: options.toText,
  maxTurns: options.maxTurns,
  needsApproval: options.needsApproval === undefined ? false : options.needsApproval,
  isEnabled: options.isEnabled
})

/**
 * @category options
 * @since 0.1.0
 */
export interface McpToolsOptions<EF, RF, EO, RO> extends ToolOptions<Readonly<Record<string, unknown>>, EO, RO> {
  /** Which tools this agent sees; of those that the server's own Layer lets through. Default: all. */
  readonly filter?: McpServer.ToolFilter<EF, RF> | undefined
  /**
   * Stands before the name of each tool, so that two servers may have tools of one name. Characters that a model cannot
   * call become `_`.
   *
   * @default ""
   */
  readonly prefix?: string | undefined
}

/**
 * The tools of an MCP server with options for this agent: which of them it sees and under which names, and for each of
 * them what `toolOptions` says for a tool of a toolkit. Two agents may use one server, each in its own way.
 *
 * @category constructors
 * @since 0.1.0
 */
export const mcpTools = <Server extends McpServer.Any, EF = never, RF = never, EO = never, RO = never>(
  server: Server,
  options: McpToolsOptions<EF, RF, EO, RO> = {}
): McpTools<Own<EF | EO>, Context.Service.Identifier<Server> | Own<RF | RO>> => {
  const { filter, prefix = "", ...rest } = options
  return {
    server,
    filter: filter as McpServer.ToolFilter<any, any> | undefined,
    prefix,
    options: rest as ToolOptions<any, any, any>
  }
}

const toJson = Schema.encodeUnknownSync(Schema.fromJsonString(Schema.Unknown))

/**
 * @category guards
 * @since 0.1.0
 */
export const isAgent = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)
