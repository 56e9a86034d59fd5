import type * as Tool from "effect/ai/Tool"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type { Item } from "../../services/Item.ts"
import type * as McpServer from "../../services/McpServer.ts"
import type { ModelRequest, ModelSettings } from "../../services/ModelProvider.ts"
import type { InputGuardrail, OutputGuardrail, ToolInputGuardrail, ToolOutputGuardrail } from "../Guardrail.ts"

export const TypeId = "~agent-layers/run/Agent" as const

/**
 * `T`, inferred from arguments alone: the list that a value is written in asks for `any`, which would stand for what no
 * argument says. `NoInfer` would show in the types of errors.
 */
export type Own<T> = [T] extends [infer U] ? U : never

/**
 * An agent whose final answer is an `Output`. A run of it may fail with `E` and requires `R`: the handlers of its
 * tools, what its instructions and guardrails need, and what the agents need that it hands off to or calls.
 *
 * @category models
 * @since 0.1.0
 */
export interface Agent<out Output, out E = never, out R = never> {
  readonly [TypeId]: {
    readonly _Output: (_: never) => Output
    readonly _E: (_: never) => E
    readonly _R: (_: never) => R
  }
  readonly name: string
  readonly description: string | undefined
  readonly instructions: string | Effect.Effect<string, E, R> | undefined
  readonly tools: Readonly<Record<string, Tool.Any>>
  readonly toolOptions: Readonly<Record<string, ToolOptions<any, any, any>>>
  readonly agentTools: ReadonlyArray<AgentTool<any, any>>
  readonly mcpServers: ReadonlyArray<McpTools<any, any>>
  readonly handoffs: () => ReadonlyArray<Handoff<any, any, any>>
  readonly inputGuardrails: ReadonlyArray<InputGuardrail<any, any>>
  readonly outputGuardrails: ReadonlyArray<OutputGuardrail<any, any, any>>
  readonly output: Schema.Constraint | undefined
  readonly outputRepairs: number
  readonly model: string | undefined
  readonly settings: ModelSettings | undefined
  readonly toolUse: ToolUse<any>
  readonly resetToolChoice: boolean
  readonly prompt: ModelRequest["prompt"] | Effect.Effect<ModelRequest["prompt"], E, R>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface AnyAgent extends Agent<any, any, any> {}

/**
 * What the loop does with one tool, beyond what the tool itself says.
 *
 * @category options
 * @since 0.1.0
 */
export interface ToolOptions<Params, E = never, R = never> {
  /**
   * Whether a person must approve a call before it runs; wins over `needsApproval` of the tool. Arguments that do not
   * decode go back to the model without a question.
   */
  readonly needsApproval?:
    | boolean
    | ((params: Params, call: { readonly callId: string; readonly name: string }) => Effect.Effect<boolean, E, R>)
    | undefined
  /** Asked before every model call. A tool that is not enabled is not shown, and a call of it is refused. */
  readonly isEnabled?: Effect.Effect<boolean, E, R> | undefined
  /**
   * Whether the model is shown the tool only after it has found it with `tool_search`, a tool that is added for that.
   * Saves tokens where tools are many. A call of a tool that was not found yet is run like any other.
   *
   * @default false
   */
  readonly isDeferred?: boolean | undefined
  /** How long one attempt may take; then it is interrupted and counts as a failure. Default: no limit. */
  readonly timeout?: Duration.Input | undefined
  /** When to run the handler again after a failure of its own or a timeout: never where it is left out. */
  readonly retry?: Schedule.Schedule<unknown, unknown> | undefined
  /**
   * Whether a failure goes back to the model or ends the run with `ToolFailed`. Wins over the run's. A call that was not
   * run (bad arguments, a person's or a guardrail's rejection) always goes back.
   *
   * @default "return"
   */
  readonly onFailure?: "return" | "fail" | undefined
  readonly inputGuardrails?: ReadonlyArray<ToolInputGuardrail<E, R>> | undefined
  readonly outputGuardrails?: ReadonlyArray<ToolOutputGuardrail<E, R>> | undefined
}

/**
 * What a tool answered, for `toolUse` to look at.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolResult {
  readonly tool: string
  readonly callId: string
  /** What its success or failure schema encodes to. */
  readonly value: unknown
  readonly isFailure: boolean
}

/**
 * What happens after tools have run: ask the model again; take the first success of any tool, or of the tools named,
 * for the final answer; or let a function say, where `None` means ask again.
 *
 * @category options
 * @since 0.1.0
 */
export type ToolUse<Output> =
  | "runAgain"
  | "stopOnFirst"
  | { readonly stopAt: ReadonlyArray<string> }
  | ((results: ReadonlyArray<ToolResult>) => Option.Option<Output>)

/**
 * Another agent to hand the conversation to; the model sees it as a tool.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handoff<out Output, out E = never, out R = never> {
  readonly agent: Agent<Output, E, R>
  readonly toolName: string
  readonly toolDescription: string
  readonly input: Schema.Codec<any, any> | undefined
  readonly onHandoff: ((input: any) => Effect.Effect<unknown, any, any>) | undefined
  readonly filter: ((items: ReadonlyArray<Item>) => ReadonlyArray<Item>) | undefined
  readonly isEnabled: Effect.Effect<boolean, any, any> | undefined
}

/**
 * An agent that another one calls like a tool.
 *
 * @category models
 * @since 0.1.0
 */
export interface AgentTool<out E = never, out R = never> {
  readonly agent: Agent<any, E, R>
  readonly name: string
  readonly description: string
  readonly parameters: Schema.Codec<any, any>
  readonly input: (params: any) => string | ReadonlyArray<Item>
  readonly toText: ((finalOutput: any) => string) | undefined
  readonly maxTurns: number | undefined
  readonly needsApproval: boolean
  readonly isEnabled: Effect.Effect<boolean, any, any> | undefined
}

/**
 * The tools of an MCP server as an agent uses them.
 *
 * @category models
 * @since 0.1.0
 */
export interface McpTools<out E = never, out R = never> {
  readonly server: McpServer.Any
  readonly filter: McpServer.ToolFilter<E, R> | undefined
  readonly prefix: string
  readonly options: ToolOptions<any, E, R>
}
