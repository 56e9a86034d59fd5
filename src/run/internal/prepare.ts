import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as History from "../../services/History.ts"
import { Ids } from "../../services/Ids.ts"
import type { Item } from "../../services/Item.ts"
import { isFunctionCall, isItem, user } from "../../services/Item.ts"
import type { ModelError } from "../../services/ModelError.ts"
import type { ModelSettings } from "../../services/ModelProvider.ts"
import { ModelProvider } from "../../services/ModelProvider.ts"
import { RunJournal } from "../../services/RunJournal.ts"
import { Session } from "../../services/Session.ts"
import type { SessionError } from "../../services/SessionError.ts"
import * as Tracer from "../../services/Tracer.ts"
import * as Usage from "../../services/Usage.ts"
import type * as Agent from "../Agent.ts"
import type { RunInput, RunOptions, StreamOptions } from "../RunConfig.ts"
import { InvalidOptions, RunError } from "../RunError.ts"
import { planOf } from "./plan.ts"
import type { Emit, Run } from "./state.ts"

const isCount = (n: number) => Number.isInteger(n) && n > 0

const invalid = (input: RunInput, options: StreamOptions): string | undefined => {
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
  if (typeof input === "string") return undefined
  const wrong = input.findIndex((item) => !isItem(item))
  return wrong === -1
    ? undefined
    : `input[${wrong}] is not an item: use the constructors of agent-layers/services/Item, such as Item.user("…")`
}

const mergeSettings = (
  agent: ModelSettings | undefined,
  run: ModelSettings | undefined
): ModelSettings | undefined => {
  if (agent === undefined || run === undefined) return run ?? agent
  const defined = Object.entries(run).filter(([, value]) => value !== undefined)
  return { ...agent, ...Object.fromEntries(defined) }
}

/** Checks the options, finds the model, loads the conversation and mends what is broken in it. */
export const prepare = Effect.fnUntraced(function*(
  agent: Agent.Any,
  input: RunInput,
  options: RunOptions,
  id: string,
  conversationId: string | undefined,
  session: Session["Service"] | undefined,
  emit: Emit | undefined
): Effect.fn.Return<Run, RunError | ModelError | SessionError, ModelProvider> {
  const plan = planOf(agent)
  const refuse = (description: string) =>
    new RunError({ agent: agent.name, runId: id, reason: new InvalidOptions({ description }) })
  const wrong = invalid(input, options) ?? plan.refused
  if (wrong !== undefined) return yield* refuse(wrong)
  const context = yield* Effect.context<ModelProvider>()
  const model = yield* Context.get(context, ModelProvider).getModel(options.model ?? agent.model)
  const incoming: ReadonlyArray<Item> = typeof input === "string" ? [user(input)] : input
  const loaded = session === undefined || options.conversationId === "new"
    ? undefined
    : yield* session.loadItems(conversationId!, { maxItems: options.maxItems })
  const isCut = options.maxItems !== undefined && loaded !== undefined && loaded.items.length >= options.maxItems
  const stored = loaded === undefined ? [] : isCut ? History.afterCut(loaded.items) : loaded.items
  const history = History.repair(stored, incoming)
  const items = history.concat(incoming)
  if (items.length === 0 && agent.prompt === undefined) {
    return yield* refuse("there is nothing to answer: the input is empty, and no conversation stands before it")
  }
  return {
    id,
    agent,
    plan,
    model,
    settings: mergeSettings(agent.settings, options.settings),
    options,
    maxTurns: options.maxTurns ?? 10,
    conversationId,
    session,
    journal: Context.get(context, RunJournal),
    tracing: !Tracer.isActive(context)
      ? "disabled"
      : Context.get(context, Tracer.IncludeContent)
      ? "enabled"
      : "enabledWithoutData",
    emit,
    items,
    firstNew: items.length,
    uncommitted: history.length,
    version: session === undefined ? undefined : loaded?.version ?? 0,
    turn: 0,
    usage: Usage.zero,
    hasUsedTools: false,
    responses: [],
    calls: new Map(items.filter(isFunctionCall).map((call) => [call.call_id, call]))
  }
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
export const conversationOf = (options: RunOptions): Effect.Effect<string | undefined> =>
  options.conversationId === "new"
    ? Ids.pipe(Effect.flatMap((ids) => ids.next("conv")))
    : Effect.succeed(options.conversationId)
