/**
 * Draws an agent and all that it may come to: its tools and MCP servers, the agents that it calls like tools, and those
 * that it hands off to. The result is text for Mermaid or Graphviz; nothing is run or asked, and guardrails are not drawn.
 *
 * @since 0.1.0
 */
import type * as Agent from "./Agent.ts"
import { reachable } from "./internal/agents.ts"

type Kind = "tool" | "mcp" | "agentTool" | "handoff"

interface Edge {
  readonly kind: Kind
  readonly from: string
  readonly to: string
  readonly label: string | undefined
}

interface Graph {
  readonly agents: ReadonlyArray<{ readonly id: string; readonly name: string }>
  readonly tools: ReadonlyArray<{ readonly id: string; readonly name: string }>
  readonly servers: ReadonlyArray<{ readonly id: string; readonly name: string }>
  readonly edges: ReadonlyArray<Edge>
}

/** Numbers values in the order in which they are met. A name says nothing: agents may share one. */
const numbered = <A extends object>(prefix: string) => {
  const ids = new Map<A, string>()
  return {
    idOf: (value: A): string => {
      let id = ids.get(value)
      if (id === undefined) ids.set(value, id = `${prefix}${ids.size + 1}`)
      return id
    },
    entries: () => Array.from(ids)
  }
}

const graphOf = (root: Agent.Any): Graph => {
  const agents = numbered<Agent.Any>("agent")
  const tools = numbered<Agent.Any["tools"][string]>("tool")
  const servers = numbered<Agent.Any["mcpServers"][number]["server"]>("mcp")
  const all = reachable(root, ({ agentTools, handoffs }) => [...agentTools, ...handoffs()].map(({ agent }) => agent))
  const edges = all.flatMap((agent): ReadonlyArray<Edge> => {
    const from = agents.idOf(agent)
    return [
      ...Object.values(agent.tools).map((tool) => ({
        kind: "tool" as const,
        from,
        to: tools.idOf(tool),
        label: undefined
      })),
      ...agent.mcpServers.map(({ prefix, server }) => ({
        kind: "mcp" as const,
        from,
        to: servers.idOf(server),
        label: prefix === "" ? undefined : `${prefix}*`
      })),
      ...agent.agentTools.map(({ agent, name }) => ({
        kind: "agentTool" as const,
        from,
        to: agents.idOf(agent),
        label: name
      })),
      ...agent.handoffs().map(({ agent, toolName }) => ({
        kind: "handoff" as const,
        from,
        to: agents.idOf(agent),
        label: toolName
      }))
    ]
  })
  return {
    agents: agents.entries().map(([{ name }, id]) => ({ id, name })),
    tools: tools.entries().map(([{ name }, id]) => ({ id, name })),
    servers: servers.entries().map(([{ serverName }, id]) => ({ id, name: serverName })),
    edges
  }
}

const lineBreak = /\r\n|[\n\r\u2028\u2029]/
const control = /\p{Cc}/gu
const loneSurrogate = /\p{Cs}/gu

/** A label's lines, each in the format's own escapes. */
const label = (text: string, escape: (line: string) => string, join: string): string => {
  const lines = text.split(lineBreak).map((line) => escape(line.replace(control, " ").replace(loneSurrogate, "\uFFFD")))
  // An empty label is no label to Mermaid's parser.
  return `"${lines.join(join) || " "}"`
}

/**
 * Punctuation as an entity, because Mermaid looks for comments, directives, styles and Markdown inside quotes too. What
 * tool names and plain sentences are made of stays readable.
 */
const mermaidLabel = (text: string) =>
  label(
    text,
    (line) => line.replace(/[!-/:-@[-`{-~]/g, (char) => "_-.,".includes(char) ? char : `#${char.charCodeAt(0)};`),
    "<br/>"
  )

const dotLabel = (text: string) => label(text, (line) => line.replace(/[\\"]/g, "\\$&").replaceAll("&", "&amp;"), "\\n")

const arrows: Record<Kind, string> = { tool: "---", mcp: "---", agentTool: "-.->", handoff: "-->" }

/**
 * The graph as a Mermaid flowchart: agents are boxes, tools are rounded, MCP servers are hexagons; an arrow is a handoff, a dotted arrow an
 * agent called like a tool, both under the name that the model calls them by.
 *
 * The text is the same for the same agents, whenever it is made. Each agent and each tool is drawn once, in the order
 * in which a run could come to it; two agents of one name are two boxes. Names may hold any characters.
 *
 * @category rendering
 * @since 0.1.0
 */
export const mermaid = (agent: Agent.Any): string => {
  const { agents, edges, servers, tools } = graphOf(agent)
  return [
    "flowchart TD",
    ...agents.map(({ id, name }) => `  ${id}[${mermaidLabel(name)}]`),
    ...tools.map(({ id, name }) => `  ${id}(${mermaidLabel(name)})`),
    ...servers.map(({ id, name }) => `  ${id}{{${mermaidLabel(name)}}}`),
    ...edges.map(({ from, kind, label, to }) =>
      `  ${from} ${arrows[kind]}${label === undefined ? "" : `|${mermaidLabel(label)}|`} ${to}`
    )
  ].join("\n")
}

const attributes: Record<Kind, ReadonlyArray<string>> = {
  tool: ["dir=none"],
  mcp: ["dir=none"],
  agentTool: ["style=dashed"],
  handoff: []
}

/**
 * The graph in Graphviz's DOT, drawn like `mermaid`: boxes, rounded tools, hexagons, arrows for handoffs and dashed ones for
 * agents called like tools. The same order, ids and guarantees.
 *
 * @category rendering
 * @since 0.1.0
 */
export const dot = (agent: Agent.Any): string => {
  const { agents, edges, servers, tools } = graphOf(agent)
  return [
    "digraph {",
    "  node [shape=box]",
    ...agents.map(({ id, name }) => `  ${id} [label=${dotLabel(name)}]`),
    ...tools.map(({ id, name }) => `  ${id} [label=${dotLabel(name)}, style=rounded]`),
    ...servers.map(({ id, name }) => `  ${id} [label=${dotLabel(name)}, shape=hexagon]`),
    ...edges.map(({ from, kind, label, to }) => {
      const all = [...(label === undefined ? [] : [`label=${dotLabel(label)}`]), ...attributes[kind]]
      return `  ${from} -> ${to} [${all.join(", ")}]`
    }),
    "}"
  ].join("\n")
}
