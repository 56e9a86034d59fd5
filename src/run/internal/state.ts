import * as Effect from "effect/Effect"
import type { FunctionCall, Item } from "../../services/Item.ts"
import type { InvalidOutput, Refused } from "../../services/ModelError.ts"
import { ModelError } from "../../services/ModelError.ts"
import type { Model, ModelResponse, ModelSettings, ModelTracing } from "../../services/ModelProvider.ts"
import type { RunJournal } from "../../services/RunJournal.ts"
import type { Session } from "../../services/Session.ts"
import * as Usage from "../../services/Usage.ts"
import type * as Agent from "../Agent.ts"
import type { Decision } from "../Approval.ts"
import type { GuardrailResult } from "../Guardrail.ts"
import type { HookContext, ResumeOptions, RunInput, RunOptions, StreamOptions } from "../RunConfig.ts"
import type { RunErrorReason } from "../RunError.ts"
import { RunError } from "../RunError.ts"
import type { RunEvent } from "../RunEvent.ts"
import type { RunResult } from "../RunResult.ts"
import type { OpenTurn, RequestUsage, RunState } from "../RunState.ts"
import type { AgentTool } from "./agentModel.ts"
import type { Offer, Plan } from "./plan.ts"

/** Tells the consumer of a stream; absent where nobody listens. Waits while the consumer's buffer is full. */
export type Emit = (events: ReadonlyArray<RunEvent<any>>) => Effect.Effect<void>

/** What a run begins with: an input, or where an earlier one stopped. */
export type Origin =
  | { readonly _tag: "Fresh"; readonly input: RunInput }
  | {
    readonly _tag: "Resumed"
    readonly state: RunState
    readonly decisions: ReadonlyArray<Decision>
    readonly onMoved: NonNullable<ResumeOptions["onMoved"]>
  }

/** The run that a run is inside of: an agent called like a tool. */
export interface Outer {
  readonly id: string
  /** The ids of the calls that lead to the inner run. */
  readonly path: ReadonlyArray<string>
  readonly spend: (request: RequestUsage) => void
  /** Takes the items of the inner run, so that the outer one knows them however the inner one ends. */
  readonly made: Array<Item>
}

export type AnyOptions = RunOptions<any, any> & StreamOptions<any, any>

/**
 * A run on its way. Its arrays only grow and are passed on as they are, so that a turn costs nothing for what came
 * before it; stored history is looked at once, when it is loaded.
 */
export interface Run {
  readonly id: string
  readonly path: ReadonlyArray<string>
  readonly root: Agent.Any
  readonly options: AnyOptions
  readonly maxTurns: number
  readonly conversationId: string | undefined
  readonly session: Session["Service"] | undefined
  readonly journal: RunJournal
  readonly tracing: ModelTracing
  readonly traceId: string | undefined
  readonly emit: Emit | undefined
  readonly findModel: (name: string | undefined) => Effect.Effect<Model, ModelError>
  /** Runs an agent inside of this run. */
  readonly callAgent: (
    tool: AgentTool<any, any>,
    call: FunctionCall,
    origin: Origin,
    made: Array<Item>
  ) => Effect.Effect<RunResult<any>, unknown>
  /** Who answers; another one after a handoff. */
  agent: Agent.Any
  /** The name that is the agent's own among all that the run may come to. */
  agentKey: string
  plan: Plan
  model: Model
  settings: ModelSettings | undefined
  /** What the model was offered in this turn. */
  offer: Offer
  /** History, input, and what this run has added. */
  items: Array<Item>
  /** What the model sees: `items` itself, until something makes the two differ. */
  view: Array<Item>
  /** What of `view` a provider has not seen that keeps the conversation; absent where none does. */
  unsent: Array<Item> | undefined
  readonly newItems: Array<Item>
  /** Where in `items` begins what is not stored yet. */
  uncommitted: number
  version: number | undefined
  /** The turn under way, counted from 1; 0 before the first. */
  turn: number
  usage: Usage.Usage
  readonly spend: (request: RequestUsage) => void
  readonly requests: Array<RequestUsage>
  readonly guardrails: Array<GuardrailResult>
  /** The agents that have used a tool. */
  readonly usedTools: Set<string>
  /** Deferred tools that the model has found. */
  readonly found: Set<string>
  repairs: number
  /** The calls that ran in the turn that stopped the run, until a whole turn follows it. */
  ran: NonNullable<RunState["ran"]>
  readonly responses: Array<ModelResponse>
  previousResponseId: string | undefined
  /** Every tool call of the conversation by its id, so that none is run twice. */
  readonly calls: Map<string, FunctionCall>
  readonly standing: Array<RunState["standing"][number]>
  /** What was decided in this turn for all later calls: those of the turn itself are decided one by one. */
  readonly ruled: Array<RunState["standing"][number]>
  readonly decisions: ReadonlyMap<string, Decision>
  /** Whether the conversation was compacted in this run, because a model refused it as too long. */
  isCompacted: boolean
  readonly resumes: number
  /** The turn that waited for decisions, until it is taken up again. */
  openTurn: OpenTurn | undefined
  /** Checks that are due before or beside the first model call. */
  isUnchecked: boolean
  readonly input: ReadonlyArray<Item>
}

export const fail = (run: Run, reason: RunErrorReason): RunError =>
  new RunError({ agent: run.agent.name, runId: run.id, reason })

/** The model answered, and the answer cannot be used. Whoever listens to a stream has seen some of it. */
export const unusable = (run: Run, Reason: typeof InvalidOutput | typeof Refused, description: string): ModelError =>
  new ModelError({
    provider: run.model.provider,
    model: run.model.name,
    reason: new Reason({ description, isPartial: run.emit !== undefined })
  })

export const hookContext = (run: Run): HookContext => ({
  runId: run.id,
  agent: run.agent.name,
  path: run.path,
  turn: run.turn,
  context: run.options.context
})

/** A total `encodeURIComponent`: half of a surrogate pair has an escape of its own. */
export const encodeId = (id: string): string =>
  Array.from(id, (char) => char.isWellFormed() ? encodeURIComponent(char) : `%u${char.charCodeAt(0).toString(16)}`)
    .join("")

/** Unique in the run and the runs inside it, and the same each time they are carried out. */
export const stepName = (run: Run, kind: string, callId?: string): string => {
  const name = callId === undefined ? `${kind}/${run.turn}` : `${kind}/${run.turn}/${encodeId(callId)}`
  return run.path.length === 0 ? name : `${run.path.map(encodeId).join("/")}/${name}`
}

/** What the run says wins, field by field. */
export const mergeSettings = (
  agent: ModelSettings | undefined,
  run: ModelSettings | undefined
): ModelSettings | undefined => {
  if (agent === undefined || run === undefined) return run ?? agent
  const defined = Object.entries(run).filter(([, value]) => value !== undefined)
  return { ...agent, ...Object.fromEntries(defined) }
}

/** Takes in what a turn made. */
export const append = (run: Run, made: ReadonlyArray<Item>): void => {
  for (const item of made) {
    run.items.push(item)
    run.newItems.push(item)
    if (run.view !== run.items) run.view.push(item)
  }
}

/** Where the run stands after `turns` finished turns, with `made` beyond the items that it has taken in. */
export const stateOf = (run: Run, turns: number, made: ReadonlyArray<Item> = []): RunState => ({
  version: 1,
  runId: run.id,
  rootAgent: run.root.name,
  agent: run.agentKey,
  ...(run.conversationId === undefined ? undefined : { conversationId: run.conversationId }),
  ...(run.version === undefined ? undefined : { conversationVersion: run.version }),
  items: run.items.concat(made),
  newItems: run.newItems.concat(made),
  uncommitted: run.items.length - run.uncommitted + made.length,
  ...(run.view === run.items ? undefined : { view: run.view.concat(made) }),
  ...(run.unsent === undefined ? undefined : { unsent: run.unsent.slice() }),
  turns,
  resumes: run.resumes,
  maxTurns: run.maxTurns,
  usage: run.usage,
  requests: run.requests.slice(),
  responses: run.responses.slice(),
  guardrails: run.guardrails.slice(),
  usedTools: Array.from(run.usedTools),
  ...(run.found.size === 0 ? undefined : { foundTools: Array.from(run.found) }),
  repairs: run.repairs,
  ...(run.ran.length === 0 ? undefined : { ran: run.ran }),
  standing: run.standing.concat(run.ruled),
  ...(run.previousResponseId === undefined ? undefined : { previousResponseId: run.previousResponseId })
})

export const addUsage = (run: Pick<Run, "usage" | "requests">, request: RequestUsage): void => {
  run.usage = Usage.add(run.usage, request.usage)
  run.requests.push(request)
}

const incompleteReason = (last: ModelResponse | undefined): string | undefined =>
  last?.status === "incomplete" ? last.incompleteReason ?? "unknown" : undefined

export const resultOf = (run: Run, finalOutput: unknown): RunResult<any> => ({
  finalOutput,
  incompleteReason: incompleteReason(run.responses.at(-1)),
  runId: run.id,
  lastAgent: run.agent.name,
  newItems: run.newItems,
  items: run.items,
  responses: run.responses,
  usage: run.usage,
  requests: run.requests,
  guardrails: run.guardrails,
  turns: run.turn,
  conversationId: run.conversationId,
  version: run.version,
  traceId: run.traceId,
  lastResponseId: run.responses.at(-1)?.id
})

/** A hook that is there. */
export const hook = (
  run: Run,
  pick: (hooks: NonNullable<AnyOptions["hooks"]>) => Effect.Effect<void, any, any> | undefined
): Effect.Effect<void, unknown> => {
  const { hooks } = run.options
  return hooks === undefined ? Effect.void : pick(hooks) as Effect.Effect<void, unknown> | undefined ?? Effect.void
}
