import { assert, describe, it } from "@effect/vitest"
import * as Agent from "agent-layers/run/Agent"
import * as AgentGraph from "agent-layers/run/AgentGraph"
import * as Guardrail from "agent-layers/run/Guardrail"
import * as Handoff from "agent-layers/run/Handoff"
import { Effect } from "effect"
import { Tool, Toolkit } from "effect/ai"

const Search = Tool.make("search")
const Refund = Tool.make("refund")

const translator = Agent.make({ name: "translator" })
const billing: Agent.Agent<string, never, Tool.Handler<"search" | "refund">> = Agent.make({
  name: "billing",
  toolkit: Toolkit.make(Search, Refund),
  handoffs: () => [Handoff.to(triage, { toolName: "back" })]
})
const sales = Agent.make({
  name: "sales",
  toolkit: Toolkit.make(Search),
  agentTools: [Agent.asTool(translator, { name: "translate", description: "Translates" })],
  outputGuardrails: [Guardrail.output({ name: "polite", check: () => Effect.succeed(Guardrail.pass()) })]
})
const triage: Agent.Agent<string, never, Tool.Handler<"search" | "refund">> = Agent.make({
  name: "triage",
  handoffs: () => [billing, sales]
})

/** Every line is the header, a node or an edge, and no label holds what Mermaid reads as syntax. */
const parseMermaid = (text: string) => {
  const [header, ...lines] = text.split("\n")
  assert.strictEqual(header, "flowchart TD")
  const label = `"((?:[^\\x00-\\x1f"#;\`{}%<>&|[\\]():\\\\]|#\\d+;|<br/>)+)"`
  const node = new RegExp(`^ {2}(\\w+)(?:\\[${label}\\]|\\(${label}\\))$`, "u")
  const edge = new RegExp(`^ {2}(\\w+) (?:---|(?:-->|-\\.->)\\|${label}\\|) (\\w+)$`, "u")
  const nodes = new Map<string, string>()
  let edges = 0
  for (const line of lines) {
    const found = node.exec(line)
    if (found !== null) {
      assert.isFalse(nodes.has(found[1]!), line)
      nodes.set(found[1]!, found[2] ?? found[3]!)
      continue
    }
    const [, from, , to] = edge.exec(line) ?? assert.fail(`neither a node nor an edge: ${line}`)
    assert.isTrue(nodes.has(from!) && nodes.has(to!), line)
    edges++
  }
  return { nodes, edges }
}

const unquoted = (dot: string) => dot.replace(/"(?:[^"\\\n]|\\.)*"/g, "''")

/** Quotes are balanced in every line, and outside of them there is only what this module writes. */
const checkDot = (dot: string) => {
  const [first, ...lines] = unquoted(dot).split("\n")
  assert.strictEqual(first, "digraph {")
  assert.strictEqual(lines.pop(), "}")
  assert.strictEqual(lines.shift(), "  node [shape=box]")
  for (const line of lines) {
    assert.match(line, /^ {2}\w+ (?:-> \w+ )?\[(?:(?:label=''|style=rounded|style=dashed|dir=none)(?:, (?=\w))?)*\]$/)
  }
}

describe("AgentGraph", () => {
  it("draws agents, tools, agent tools and handoffs with Mermaid", () => {
    assert.strictEqual(
      AgentGraph.mermaid(triage),
      `flowchart TD
  agent1["triage"]
  agent2["billing"]
  agent3["sales"]
  agent4["translator"]
  tool1("search")
  tool2("refund")
  agent1 -->|"transfer_to_billing"| agent2
  agent1 -->|"transfer_to_sales"| agent3
  agent2 --- tool1
  agent2 --- tool2
  agent2 -->|"back"| agent1
  agent3 --- tool1
  agent3 -.->|"translate"| agent4`
    )
    assert.deepStrictEqual(parseMermaid(AgentGraph.mermaid(triage)).nodes.size, 6)
  })

  it("draws the same with DOT", () => {
    assert.strictEqual(
      AgentGraph.dot(triage),
      `digraph {
  node [shape=box]
  agent1 [label="triage"]
  agent2 [label="billing"]
  agent3 [label="sales"]
  agent4 [label="translator"]
  tool1 [label="search", style=rounded]
  tool2 [label="refund", style=rounded]
  agent1 -> agent2 [label="transfer_to_billing"]
  agent1 -> agent3 [label="transfer_to_sales"]
  agent2 -> tool1 [dir=none]
  agent2 -> tool2 [dir=none]
  agent2 -> agent1 [label="back"]
  agent3 -> tool1 [dir=none]
  agent3 -> agent4 [label="translate", style=dashed]
}`
    )
    checkDot(AgentGraph.dot(triage))
  })

  it("draws an agent alone, and one that hands off to itself", () => {
    assert.strictEqual(AgentGraph.mermaid(translator), `flowchart TD\n  agent1["translator"]`)
    const narcissus: Agent.Agent<string> = Agent.make({ name: "narcissus", handoffs: () => [narcissus] })
    assert.strictEqual(
      AgentGraph.mermaid(narcissus),
      `flowchart TD\n  agent1["narcissus"]\n  agent1 -->|"transfer_to_narcissus"| agent1`
    )
  })

  it("keeps agents of one name apart", () => {
    const first = Agent.make({ name: "twin" })
    const second = Agent.make({ name: "twin" })
    const root = Agent.make({
      name: "twin",
      handoffs: [Handoff.to(first, { toolName: "left" }), Handoff.to(second, { toolName: "right" })]
    })
    const { edges, nodes } = parseMermaid(AgentGraph.mermaid(root))
    assert.deepStrictEqual(Array.from(nodes), [["agent1", "twin"], ["agent2", "twin"], ["agent3", "twin"]])
    assert.strictEqual(edges, 2)
  })

  it("says the same each time", () => {
    assert.strictEqual(AgentGraph.mermaid(triage), AgentGraph.mermaid(triage))
    assert.strictEqual(AgentGraph.dot(triage), AgentGraph.dot(triage))
  })

  const hostile: ReadonlyArray<readonly [name: string, mermaid: string, dot: string]> = [
    [`say "hi"`, "say #34;hi#34;", `say \\"hi\\"`],
    ["a\\", "a#92;", "a\\\\"],
    ["\\N\\\"", "#92;N#92;#34;", "\\\\N\\\\\\\""],
    ["two\nlines\r\nthree\u2028four", "two<br/>lines<br/>three<br/>four", "two\\nlines\\nthree\\nfour"],
    [
      `"] --> evil["`,
      "#34;#93; --#62; evil#91;#34;",
      `\\"] --> evil[\\"`
    ],
    ["x)|y|{z}", "x#41;#124;y#124;#123;z#125;", "x)|y|{z}"],
    ["%%{init: {}}%%", "#37;#37;#123;init#58; #123;#125;#125;#37;#37;", "%%{init: {}}%%"],
    ["`**bold**`", "#96;#42;#42;bold#42;#42;#96;", "`**bold**`"],
    ["<b>&amp;#35;", "#60;b#62;#38;amp#59;#35;35#59;", "<b>&amp;amp;#35;"],
    ["Grüße 世界 👩‍🚀", "Grüße 世界 👩‍🚀", "Grüße 世界 👩‍🚀"],
    ["bell\u0007\u0000\t", "bell   ", "bell   "],
    ["half \ud83d", "half \uFFFD", "half \uFFFD"],
    ["", " ", " "],
    ["end", "end", "end"]
  ]

  for (const [name, mermaid, dot] of hostile) {
    it(`escapes ${JSON.stringify(name)}, as an agent, a tool and an edge`, () => {
      const root = Agent.make({
        name,
        toolkit: Toolkit.make(Tool.make(name)) as Toolkit.Toolkit<{}>,
        agentTools: [Agent.asTool(translator, { name, description: "Translates" })],
        handoffs: [Handoff.to(sales, { toolName: name })]
      })
      const drawn = AgentGraph.mermaid(root)
      assert.strictEqual(drawn.split(`"${mermaid}"`).length - 1, 4, drawn)
      const { edges, nodes } = parseMermaid(drawn)
      assert.strictEqual(nodes.size, 5)
      assert.strictEqual(edges, 5)
      const graph = AgentGraph.dot(root)
      assert.strictEqual(graph.split(`"${dot}"`).length - 1, 4, graph)
      checkDot(graph)
    })
  }
})
