import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { ContentPart } from "../../services/Item.ts"
import * as McpServer from "../../services/McpServer.ts"
import type { McpTools } from "./agentModel.ts"
import type { PlannedTool } from "./plan.ts"
import { decoderOf } from "./plan.ts"
import type { Handle, ToolOutcome } from "./toolOutcome.ts"
import { failed } from "./toolOutcome.ts"

/** What models take for a name. */
const wireName = (name: string): string => name.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 64)

const decode = decoderOf(Schema.Record(Schema.String, Schema.Unknown))

const textOf = (content: ReadonlyArray<ContentPart>): string | undefined => {
  const texts = content.map(({ text }) => text)
  return texts.every((text) => typeof text === "string") ? texts.join("\n") : undefined
}

/** Text where it is nothing else; the structured form is for programs, and repeats what the content says. */
const outcomeOf = ({ content, isError, structuredContent }: McpServer.McpToolResult): ToolOutcome => {
  const text = content.length === 0 && structuredContent !== undefined ? undefined : textOf(content)
  if (isError) return failed(text ?? structuredContent ?? content)
  return {
    encoded: structuredContent ?? text ?? content,
    isFailure: false,
    content: text ?? (content.length === 0 ? undefined : content)
  }
}

const handleOf = (connection: McpServer.McpConnection, tool: McpServer.McpTool): Handle => (params) =>
  Effect.match(connection.callTool(tool.name, params), {
    onSuccess: outcomeOf,
    onFailure: (error) => failed(`MCP server "${error.server}" did not answer: ${error.description}`)
  })

/** What the server lists now, as tools of the agent. */
export const toolsOf = (
  { filter, options, prefix, server }: McpTools<any, any>
): Effect.Effect<ReadonlyArray<PlannedTool>, any, any> =>
  Effect.withFiber((fiber) => {
    const connection = fiber.context.mapUnsafe.get(server.key) as McpServer.McpConnection | undefined
    if (connection === undefined) {
      return Effect.die(
        new Error(
          `No MCP server "${server.serverName}" in the context: provide a Layer of it, McpStdio.layer(…) or another`
        )
      )
    }
    const listed = filter === undefined ? connection.listTools : Effect.flatMap(
      connection.listTools,
      (tools) => McpServer.filterTools(server.serverName, tools, filter)
    )
    return Effect.map(listed, (tools) =>
      tools.map((tool): PlannedTool => ({
        options,
        needsApproval: options.needsApproval,
        definition: {
          type: "function",
          name: wireName(`${prefix}${tool.name}`),
          description: tool.description,
          parameters: tool.inputSchema,
          strict: false
        },
        decode,
        handle: handleOf(connection, tool)
      })))
  })
