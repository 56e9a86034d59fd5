/** The laws' server as tools in this process. */
import * as McpInProcess from "agent-layers/layers/mcp/McpInProcess"
import * as McpServerLaws from "agent-layers/services/laws/McpServerLaws"
import type { McpServerSubject } from "agent-layers/services/laws/McpServerLaws"
import { Data, Effect, PubSub, Stream } from "effect"

class Unlucky extends Data.TaggedError("Unlucky")<{ readonly message: string }> {}

/** What the SDK's transports decode is here what the tool gives. */
const parts = [
  { type: "input_text", text: "a text" },
  { type: "input_image", image_url: "data:image/png;base64,aW1hZ2U=" },
  { type: "input_file", file_data: "data:audio/wav;base64,YXVkaW8=" },
  { type: "input_text", text: "law:///text.txt: inside" },
  { type: "input_file", filename: "data.bin", file_data: "data:application/x-law;base64,ZGF0YQ==" },
  { type: "input_image", image_url: "data:image/gif;base64,Z2lm" },
  { type: "input_text", text: "law:///linked linked elsewhere" }
]

export const toolsSubject = (): McpServerSubject => {
  let begun = 0
  let cancelled = 0
  let isChanged = false
  const changes = Effect.runSync(PubSub.unbounded<void>())
  const say = (text: string) => ({ content: [{ type: "input_text", text }], isError: false })
  const handlers: Record<string, McpInProcess.Tool<Unlucky>["handler"]> = {
    law_echo: ({ text }) => Effect.succeed(say(String(text))),
    law_same: (given) => Effect.succeed({ ...say("the same"), structuredContent: { arguments: given } }),
    law_fail: ({ text }) => Effect.fail(new Unlucky({ message: String(text) })),
    law_media: () => Effect.succeed({ content: parts, isError: false }),
    law_wait: () =>
      Effect.suspend(() => {
        begun++
        return Effect.onInterrupt(Effect.never, () =>
          Effect.sync(() => {
            cancelled++
          }))
      }),
    law_begun: () => Effect.sync(() => say(String(begun))),
    law_cancelled: () => Effect.sync(() => say(String(cancelled))),
    law_change: () =>
      Effect.suspend(() => {
        isChanged = !isChanged
        return Effect.as(PubSub.publish(changes, undefined), say("changed"))
      })
  }
  const tools = Effect.sync(() =>
    [...McpServerLaws.tools, ...(isChanged ? [McpServerLaws.added] : [])].map((tool) => ({
      ...tool,
      handler: handlers[tool.name] ?? (() => Effect.succeed(say("added")))
    }))
  )
  return { open: McpInProcess.make("law", { tools, toolsChanged: Stream.fromPubSub(changes) }) }
}
