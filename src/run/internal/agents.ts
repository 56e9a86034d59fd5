import * as Tool from "effect/ai/Tool"
import type * as Agent from "../Agent.ts"
import { planOf } from "./plan.ts"

/** More than anybody writes down: `handoffs` then makes new agents each time that it is asked. */
const atMost = 1000

/** The agent and those that it leads to, each once, in the order in which a run could come to them. */
export const reachable = (
  root: Agent.Any,
  next: (agent: Agent.Any) => ReadonlyArray<Agent.Any>
): ReadonlyArray<Agent.Any> => {
  const found = new Set([root])
  for (const agent of found) {
    for (const other of next(agent)) if (found.size < atMost) found.add(other)
  }
  return Array.from(found)
}

/**
 * Every agent that a run of `root` may come to by handoffs, under a name of its own: the first of a name has it, others
 * have it with a number. The order is that of the handoffs, so that a name means the same after a deploy.
 */
const named = (root: Agent.Any): ReadonlyMap<string, Agent.Any> => {
  const agents = new Map<string, Agent.Any>()
  for (const agent of reachable(root, handedOff)) {
    let key = agent.name
    for (let count = 2; agents.has(key); count++) key = `${agent.name}#${count}`
    agents.set(key, agent)
  }
  return agents
}

const handedOff = (agent: Agent.Any): ReadonlyArray<Agent.Any> =>
  Array.from(planOf(agent).handoffs.values(), ({ handoff }) => handoff.agent)

/** The context holds one handler for each name of a tool: of two tools of one name, one handler would run for both. */
const clashOf = (agents: ReadonlyArray<Agent.Any>): string | undefined => {
  const owners = new Map<string, { readonly tool: Tool.Any; readonly agent: Agent.Any }>()
  for (const agent of agents) {
    for (const tool of Object.values(agent.tools)) {
      if (Tool.isProviderDefined(tool)) continue
      const owner = owners.get(tool.id)
      if (owner === undefined) owners.set(tool.id, { tool, agent })
      else if (owner.tool !== tool) {
        return `Agents "${owner.agent.name}" and "${agent.name}" have different tools of one name, "${tool.name}", and ` +
          "one handler would run for both: give one tool another name, or make the tool once and use it in both toolkits"
      }
    }
  }
  return undefined
}

interface Family {
  readonly agents: ReadonlyMap<string, Agent.Any>
  readonly refused: string | undefined
}

const families = new WeakMap<Agent.Any, Family>()

const familyOf = (root: Agent.Any): Family => {
  let family = families.get(root)
  if (family === undefined) {
    const agents = named(root)
    const all = reachable(root, (agent) => [...agent.agentTools.map((tool) => tool.agent), ...handedOff(agent)])
    const refused = all.length < atMost
      ? all.map(planOf).find(({ refused }) => refused !== undefined)?.refused ?? clashOf(all)
      : `"${root.name}" leads to ${atMost} agents and more: \`handoffs\` must give the same agents each time`
    families.set(root, family = { agents, refused })
  }
  return family
}

export const agentsOf = (root: Agent.Any): ReadonlyMap<string, Agent.Any> => familyOf(root).agents

/** Why a run of the agent, or of one that it hands off to or calls, would go wrong. */
export const refusalOf = (root: Agent.Any): string | undefined => familyOf(root).refused

export const keyOf = (root: Agent.Any, agent: Agent.Any): string =>
  Array.from(agentsOf(root)).find(([, other]) => other === agent)?.[0] ?? agent.name
