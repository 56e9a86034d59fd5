import * as Effect from "effect/Effect"
import * as RunError from "../RunError.ts"
import { toolsOf } from "./mcpTools.ts"
import type { Offer, PlannedTool } from "./plan.ts"
import { someOf } from "./plan.ts"
import type { Run } from "./state.ts"
import { fail } from "./state.ts"
import * as ToolSearch from "./toolSearch.ts"

const isOff = ({ isEnabled }: { readonly isEnabled?: Effect.Effect<boolean, any, any> | undefined }) =>
  isEnabled === undefined ? Effect.succeed(false) : Effect.map(isEnabled, (is) => !is)

const served = Effect.fnUntraced(function*(run: Run): Effect.fn.Return<ReadonlyArray<PlannedTool>, any, any> {
  const { mcpServers } = run.agent
  if (mcpServers.length === 0) return []
  const enabled = yield* Effect.filter(mcpServers, ({ options }) => Effect.map(isOff(options), (is) => !is))
  return (yield* Effect.forEach(enabled, toolsOf, { concurrency: "unbounded" })).flat()
})

const doubled = (run: Run, name: string) =>
  fail(
    run,
    new RunError.InvalidOptions({
      description:
        `Two of the agent's tools are called "${name}", and one is an MCP server's: give that server a prefix ` +
        "with Agent.mcpTools"
    })
  )

/** What of an agent is offered in this turn: what is enabled and found, with what its MCP servers list. */
export const offerOf = Effect.fnUntraced(function*(run: Run): Effect.fn.Return<Offer, any, any> {
  const { found, plan } = run
  if (plan.isFixed) return plan.offer
  const off = new Set((yield* Effect.filter(plan.switches, isOff)).map(({ name }) => name))
  const isEnabled = (name: string) => !off.has(name)
  const remote = yield* served(run)
  const tools = new Map(plan.tools)
  const names = new Set(plan.names)
  for (const tool of remote) {
    const { name } = tool.definition
    if (names.has(name)) return yield* doubled(run, name)
    names.add(name)
    tools.set(name, tool)
  }
  const all = [...plan.offered, ...remote].filter(({ definition }) => isEnabled(definition.name))
  const deferred = all.filter(({ options }) => options.isDeferred === true).map(({ definition }) => definition)
  const shown = all.map(({ definition }) => definition)
    .filter((definition) => !deferred.includes(definition) || found.has(definition.name))
  return {
    definitions: someOf(deferred.length === 0 ? shown : [...shown, ToolSearch.definition(deferred.length)]),
    handoffs: someOf(plan.offer.handoffs?.filter(({ name }) => isEnabled(name)) ?? []),
    tools,
    deferred,
    isEnabled
  }
})
