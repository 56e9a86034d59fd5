/** `graph`: an agent and all that it may come to. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as AgentGraph from "../../AgentGraph.ts"
import * as agentsOf from "./agents.ts"
import * as flags from "./flags.ts"
import { Output } from "./output.ts"
import * as stack from "./stack.ts"

export const graph = Command.make(
  "graph",
  {
    agents: flags.agents,
    agent: flags.agent,
    format: Flag.Literals("format", ["mermaid", "dot"]).pipe(
      Flag.withAlias("f"),
      Flag.withDefault("mermaid"),
      Flag.withDescription("Default: mermaid")
    )
  },
  Effect.fnUntraced(function*({ agent, agents, format }) {
    const output = yield* Output
    const found = yield* agentsOf.of(Option.getOrUndefined(agents), yield* stack.open)
    const root = yield* agentsOf.pick(found, Option.getOrUndefined(agent))
    const text = format === "dot" ? AgentGraph.dot(root) : AgentGraph.mermaid(root)
    if (yield* flags.Json) return yield* output.json({ agent: root.name, format, graph: text })
    yield* output.print(text)
  })
).pipe(
  Command.withShortDescription("Draw an agent"),
  Command.withDescription("Draws an agent, its tools and servers, and the agents that it calls or hands off to.")
)
