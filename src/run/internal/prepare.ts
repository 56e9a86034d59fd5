import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as History from "../../services/History.ts"
import { Ids } from "../../services/Ids.ts"
import { toJson } from "../../services/internal/json.ts"
import type { Item } from "../../services/Item.ts"
import { isFromModel, isFunctionCall, isItem, isMessage, user } from "../../services/Item.ts"
import type { ModelError } from "../../services/ModelError.ts"
import type { Model } from "../../services/ModelProvider.ts"
import { ModelProvider } from "../../services/ModelProvider.ts"
import { RunJournal } from "../../services/RunJournal.ts"
import { Session } from "../../services/Session.ts"
import { SessionError } from "../../services/SessionError.ts"
import * as Tracer from "../../services/Tracer.ts"
import * as Usage from "../../services/Usage.ts"
import type * as Agent from "../Agent.ts"
import type { RunInput } from "../RunConfig.ts"
import type { RunErrorReason } from "../RunError.ts"
import { ConversationMoved, InvalidOptions, RunError, StateMismatch } from "../RunError.ts"
import type { RequestUsage, RunState } from "../RunState.ts"
import { agentsOf, refusalOf } from "./agents.ts"
import { misfit, standingOf } from "./approve.ts"
import { AtVersion, loadHistory } from "./loadHistory.ts"
import { planOf } from "./plan.ts"
import type { AnyOptions, Emit, Origin, Outer, Run } from "./state.ts"
import { addUsage, mergeSettings } from "./state.ts"

const isCount = (n: number) => Number.isInteger(n) && n > 0

const invalid = (options: AnyOptions): string | undefined => {
  const { bufferSize, conversationId, maxItems, maxTurns, toolConcurrency } = options
  if (conversationId === "") return `conversationId is empty: name a conversation, or "new" for a new one`
  if (maxTurns !== undefined && !isCount(maxTurns)) {
    return `maxTurns is ${maxTurns}: it must be a whole number greater than 0`
  }
  if (typeof toolConcurrency === "number" && !isCount(toolConcurrency)) {
    return `toolConcurrency is ${toolConcurrency}: it must be a whole number greater than 0, or "unbounded"`
  }
  if (maxItems !== undefined && !(Number.isInteger(maxItems) && maxItems >= 0)) {
    return `maxItems is ${maxItems}: it must be a whole number from 0`
  }
  if (bufferSize !== undefined && !isCount(bufferSize)) {
    return `bufferSize is ${bufferSize}: it must be a whole number greater than 0`
  }
  const { previousResponseId, providerConversationId } = options
  if (previousResponseId !== undefined && providerConversationId !== undefined) {
    return "previousResponseId and providerConversationId are both given: a provider takes one of them"
  }
  if (conversationId !== undefined && (previousResponseId ?? providerConversationId) !== undefined) {
    return "conversationId is a session's, and the conversation of previousResponseId or providerConversationId is the " +
      "provider's: give one of them"
  }
  return undefined
}

/** Whether a provider keeps the conversation, and is sent only what is new. */
const isKeptElsewhere = ({ previousResponseId, providerConversationId }: AnyOptions): boolean =>
  (previousResponseId ?? providerConversationId) !== undefined

const invalidHandoff = (root: Agent.Any): string | undefined => {
  const handoffs = Array.from(agentsOf(root).values()).flatMap((agent) => agent.handoffs())
  const filtered = handoffs.find(({ filter }) => filter !== undefined)
  return filtered === undefined
    ? undefined
    : `handoff "${filtered.toolName}" has a filter, which takes nothing away where the provider keeps the conversation: ` +
      "leave the filter out, or keep the conversation in a session"
}

const invalidInput = (input: RunInput): string | undefined => {
  if (typeof input === "string") return undefined
  const wrong = input.findIndex((item) => !isItem(item))
  return wrong === -1
    ? undefined
    : `input[${wrong}] is not an item: use the constructors of agent-layers/services/Item, such as Item.user("…")`
}

/** What is the same however a run begins. */
export interface Beginning {
  readonly agent: Agent.Any
  readonly options: AnyOptions
  readonly id: string
  readonly conversationId: string | undefined
  readonly session: Session["Service"] | undefined
  readonly emit: Emit | undefined
  readonly outer: Outer | undefined
  readonly callAgent: (run: Run) => Run["callAgent"]
}

type FindModel = (name: string | undefined) => Effect.Effect<Model, ModelError>

/** Where a run begins: what it has behind it. */
interface Standing {
  readonly agent: Agent.Any
  readonly agentKey: string
  readonly model: Model
  readonly items: Array<Item>
  readonly view: Array<Item>
  readonly input: ReadonlyArray<Item>
  readonly uncommitted: number
  readonly version: number | undefined
  readonly state: RunState | undefined
}

const refuse = ({ agent, id }: Beginning, reason: RunErrorReason): Effect.Effect<never, RunError> =>
  Effect.fail(new RunError({ agent: agent.name, runId: id, reason }))

const isAsked = (item: Item): boolean => isMessage(item) && !isFromModel(item)

/** An input without a question continues the last question, and needs everything after it. */
const fromLastAsked = (items: ReadonlyArray<Item>): ReadonlyArray<Item> =>
  items.slice(Math.max(0, items.findLastIndex(isAsked)))

const afresh = Effect.fnUntraced(function*(
  beginning: Beginning,
  given: RunInput,
  findModel: FindModel
): Effect.fn.Return<Standing, unknown> {
  const { agent, options, session } = beginning
  const wrong = invalidInput(given)
  if (wrong !== undefined) return yield* refuse(beginning, new InvalidOptions({ description: wrong }))
  const input: ReadonlyArray<Item> = typeof given === "string"
    ? [user(given)]
    : given.map((item) => toJson(item) as Item)
  let loaded = session === undefined || options.conversationId === "new"
    ? undefined
    : yield* loadHistory(beginning, "load", { maxItems: options.maxItems })
  const isCut = options.maxItems !== undefined && loaded !== undefined && loaded.items.length >= options.maxItems
  let stored = loaded === undefined ? [] : isCut ? History.afterCut(loaded.items) : loaded.items
  if (isCut && stored.length === 0 && !input.some(isAsked) && options.maxItems !== 0) {
    loaded = yield* loadHistory(beginning, "load/asked", {})
    stored = fromLastAsked(loaded.items)
  }
  const history = History.repair(stored, input)
  const items = history.concat(input)
  if (items.length === 0 && agent.prompt === undefined && !isKeptElsewhere(options)) {
    return yield* refuse(
      beginning,
      new InvalidOptions({
        description: "there is nothing to answer: the input is empty, and the run loads no earlier items"
      })
    )
  }
  const view = options.history === undefined
    ? items
    : History.repair(
      yield* options.history(history, input) as Effect.Effect<ReadonlyArray<Item>, unknown>,
      [],
      items
    ).slice()
  return {
    agent,
    agentKey: agent.name,
    model: yield* findModel(options.model ?? agent.model),
    items,
    view,
    input,
    uncommitted: history.length,
    version: session === undefined ? undefined : loaded?.version ?? 0,
    state: undefined
  }
})

const moved = (beginning: Beginning, state: RunState, description: string) =>
  refuse(
    beginning,
    new ConversationMoved({ conversationId: beginning.conversationId!, description, state })
  )

/**
 * A state is taken up once: whoever comes second finds that the claim is there, before any tool runs. The claim is a
 * conversation of its own, so that the one that the run is about holds nothing but what was said.
 */
export const claims = "agent-layers/resumed/"

const claimOf = (id: string) => `${claims}${id}`

const claimSchemas = () => ({ success: AtVersion, error: Schema.Union([RunError, SessionError]) })

const claim = Effect.fnUntraced(function*(
  beginning: Beginning,
  session: Session["Service"],
  state: RunState
): Effect.fn.Return<void, unknown> {
  const { anyItem, versions } = session.capabilities
  if (!versions || !anyItem || state.openTurn === undefined) return
  const item: Item = { type: "run_resumed", run_id: state.runId, turn: state.turns + 1 }
  const taken = Effect.catch(
    session.saveItems(claimOf(state.runId), [item], { expectedVersion: state.resumes }),
    (error): Effect.Effect<never, RunError | SessionError> =>
      error.reason._tag === "VersionConflict"
        ? moved(beginning, state, "This state was resumed before: a decision is used once")
        : Effect.fail(error)
  )
  yield* (yield* RunJournal).step({ runId: state.runId, name: `resume/${state.resumes}/claim` }, claimSchemas, taken)
})

/** Leaves no trace of the claims; that they were made stays known. */
export const releaseClaims = (run: Run): Effect.Effect<void> => {
  const { session } = run
  if (session === undefined || !session.capabilities.versions || !session.capabilities.anyItem) return Effect.void
  return Effect.catch(
    session.clear(claimOf(run.id)),
    (error) => Effect.logWarning("The claim of a resumed run stays in the session", error)
  )
}

const again = Effect.fnUntraced(function*(
  beginning: Beginning,
  { decisions, onMoved, state }: Extract<Origin, { readonly _tag: "Resumed" }>,
  findModel: FindModel
): Effect.fn.Return<Standing, unknown> {
  const { agent: root, conversationId, options, outer, session } = beginning
  const mismatch = (description: string) => refuse(beginning, new StateMismatch({ description }))
  if (root.name !== state.rootAgent) {
    return yield* mismatch(`The state is of agent "${state.rootAgent}", and "${root.name}" was to go on with it`)
  }
  const agent = agentsOf(root).get(state.agent)
  if (agent === undefined) {
    return yield* mismatch(`The state is at agent "${state.agent}", which "${root.name}" does not hand off to`)
  }
  const wrong = outer === undefined ? misfit(state, decisions) : undefined
  if (wrong !== undefined) return yield* mismatch(wrong)
  // Before the claim: a state that cannot be gone on from is not taken up.
  const model = yield* findModel(options.model ?? agent.model)
  let items = state.items.slice()
  let { conversationVersion: version } = state
  if (session !== undefined && conversationId !== undefined) {
    const stands = yield* loadHistory(beginning, `resume/${state.resumes}/load`, {
      maxItems: onMoved === "fail" ? 0 : undefined
    })
    const isMoved = session.capabilities.versions && stands.version !== version
    if (isMoved && onMoved === "fail") {
      return yield* moved(
        beginning,
        state,
        `Conversation "${conversationId}" moved on from version ${version} to ${stands.version} since the run was ` +
          `suspended: resume it with onMoved: "append", or start again`
      )
    }
    if (isMoved) {
      const late = state.items.slice(state.items.length - state.uncommitted)
      items = History.repair(stands.items, late).concat(late)
      version = stands.version
    }
    yield* claim(beginning, session, state)
  }
  return {
    agent,
    agentKey: state.agent,
    model,
    items,
    view: state.view === undefined ? items : state.view.slice(),
    input: state.turns === 0 ? state.items.slice(state.items.length - state.uncommitted) : [],
    uncommitted: items.length - state.uncommitted,
    version,
    state
  }
})

/** Checks the options, finds the model, and loads what stands behind the run. */
export const prepare = Effect.fnUntraced(function*(
  beginning: Beginning,
  origin: Origin
): Effect.fn.Return<Run, unknown, ModelProvider> {
  const { agent: root, conversationId, emit, id, options, outer, session } = beginning
  const wrong = invalid(options) ?? refusalOf(root) ?? (isKeptElsewhere(options) ? invalidHandoff(root) : undefined)
  if (wrong !== undefined) return yield* refuse(beginning, new InvalidOptions({ description: wrong }))
  const context = yield* Effect.context<ModelProvider>()
  const findModel: FindModel = (name) => Context.get(context, ModelProvider).getModel(name)
  const { agent, agentKey, input, items, model, state, uncommitted, version, view } = origin._tag === "Fresh"
    ? yield* afresh(beginning, origin.input, findModel)
    : yield* again(beginning, origin, findModel)
  const plan = planOf(agent)
  const openTurn = state?.openTurn
  const run: Run = {
    id,
    path: outer?.path ?? [],
    root,
    options,
    maxTurns: options.maxTurns ?? state?.maxTurns ?? 10,
    conversationId,
    session,
    journal: Context.get(context, RunJournal),
    tracing: !Tracer.isActive(context)
      ? "disabled"
      : Context.get(context, Tracer.IncludeContent)
      ? "enabled"
      : "enabledWithoutData",
    traceId: Context.get(context, Tracer.CurrentTrace)?.traceId,
    emit,
    findModel,
    callAgent: (tool, call, origin, made) => beginning.callAgent(run)(tool, call, origin, made),
    agent,
    agentKey,
    plan,
    model,
    settings: mergeSettings(agent.settings, options.settings),
    offer: plan.offer,
    items,
    view,
    unsent: state === undefined ? isKeptElsewhere(options) ? view.slice() : undefined : state.unsent?.slice(),
    newItems: outer?.made ?? state?.newItems.slice() ?? [],
    uncommitted,
    version,
    turn: state?.turns ?? 0,
    usage: state?.usage ?? Usage.zero,
    spend: (request: RequestUsage) => {
      addUsage(run, request)
      outer?.spend(request)
    },
    requests: state?.requests.slice() ?? [],
    guardrails: state?.guardrails.slice() ?? [],
    usedTools: new Set(state?.usedTools),
    found: new Set(state?.foundTools),
    repairs: state?.repairs ?? 0,
    ran: state?.ran ?? [],
    responses: state?.responses.slice() ?? [],
    previousResponseId: options.previousResponseId ?? state?.previousResponseId,
    calls: new Map(items.filter(isFunctionCall).map((call) => [call.call_id, call])),
    standing: state === undefined || origin._tag === "Fresh"
      ? []
      : state.standing.concat(standingOf(state, origin.decisions, outer?.path ?? [])),
    ruled: [],
    isCompacted: false,
    decisions: new Map(origin._tag === "Fresh" ? [] : origin.decisions.map((decision) => [decision.id, decision])),
    resumes: state === undefined ? 0 : state.resumes + (openTurn === undefined ? 0 : 1),
    openTurn,
    // What stopped before its first answer was in may have stopped at a check.
    isUnchecked: state === undefined || (state.turns === 0 && openTurn === undefined),
    input
  }
  return run
})

/** The type of a run with a conversation requires a `Session`; a run without one never asks. */
export const sessionOf = (conversationId: string | undefined): Effect.Effect<Session["Service"] | undefined> =>
  conversationId === undefined
    ? Effect.undefined
    : Effect.flatMap(
      Effect.serviceOption(Session),
      Option.match({
        onNone: () =>
          Effect.die(
            new Error("The run has a conversationId but no Session is in the context: provide a Session Layer")
          ),
        onSome: (session) => Effect.succeed(session)
      })
    )

/** The id that stands for `"new"`, or the one that was given. */
export const conversationOf = (options: AnyOptions): Effect.Effect<string | undefined> =>
  options.conversationId === "new"
    ? Ids.pipe(Effect.flatMap((ids) => ids.next("conv")))
    : Effect.succeed(options.conversationId)
