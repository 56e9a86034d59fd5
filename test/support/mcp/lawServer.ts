/** The server that the laws talk to, on the SDK's low level, and in pages. */
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { CallToolRequestSchema, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js"
import * as McpServerLaws from "agent-layers/services/laws/McpServerLaws"

export interface LawState {
  begun: number
  cancelled: number
  isChanged: boolean
  slow: number
  readonly servers: Set<Server>
}

export const lawState = (): LawState => ({ begun: 0, cancelled: 0, isChanged: false, slow: 0, servers: new Set() })

const pageSize = 3

export const lawServer = (state: LawState = lawState()): Server => {
  const server = new Server({ name: "law", version: "1.0.0" }, { capabilities: { tools: { listChanged: true } } })
  state.servers.add(server)
  Object.assign(server, { onclose: () => state.servers.delete(server) })
  server.setRequestHandler(ListToolsRequestSchema, (request) => {
    const tools = [...McpServerLaws.tools, ...(state.isChanged ? [McpServerLaws.added] : [])]
    const from = Number(request.params?.cursor ?? 0)
    return {
      tools: tools.slice(from, from + pageSize),
      ...(from + pageSize < tools.length ? { nextCursor: String(from + pageSize) } : {})
    } as never
  })
  const say = (text: string, isError = false) => ({ content: [{ type: "text" as const, text }], isError })
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, { signal }) => {
    const given = params.arguments ?? {}
    switch (params.name) {
      case "law_echo":
        return say(String(given["text"]))
      case "law_same":
        return { ...say("the same"), structuredContent: { arguments: given } }
      case "law_fail":
        return say(String(given["text"]), true)
      case "law_media":
        return { content: McpServerLaws.media } as never
      case "law_wait":
        state.begun++
        return new Promise((resolve) => {
          signal.addEventListener("abort", () => {
            state.cancelled++
            resolve(say("cancelled"))
          })
        })
      case "law_slow":
        state.slow++
        // oxlint-disable-next-line house/bare-sleep -- the tool is a slow one
        await new Promise((resolve) => setTimeout(resolve, Number(given["millis"])))
        return say("slow")
      case "law_begun":
        return say(String(state.begun))
      case "law_cancelled":
        return say(String(state.cancelled))
      case "law_change":
        state.isChanged = !state.isChanged
        await Promise.all([...state.servers].map((server) => server.sendToolListChanged().catch(() => {})))
        return say("changed")
      default:
        return say(`MCP error -32602: Tool ${params.name} not found`, true)
    }
  })
  return server
}
