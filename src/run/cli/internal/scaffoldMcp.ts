import type { Template } from "./scaffoldTemplate.ts"

/** Written for the name `acme`, which becomes the one that is asked for. */
export const mcp: Template = {
  module: "McpAcme",
  description: "An MCP server in this process: entries to look up.",
  settings: `{}`,
  source: `/**
 * An MCP server in this process: tools that any agent can be given. Replace the tools by yours; a server that runs
 * elsewhere is reached by \`McpStdio\` or \`McpHttp\` in the same place.
 */
import * as McpInProcess from "agent-layers/layers/mcp/McpInProcess"
import type * as McpServer from "agent-layers/services/McpServer"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

export interface Options {
  /** What may be looked up, by name. */
  readonly entries: Readonly<Record<string, string>>
}

export class NoSuchEntry extends Schema.TaggedError<NoSuchEntry>("@PACKAGE@/McpAcme/NoSuchEntry")("NoSuchEntry", {
  name: Schema.String
}) {
  override get message(): string {
    return "There is no entry " + this.name
  }
}

/** A failure is told to the model, which can mend it. */
export const tools = ({ entries }: Options): ReadonlyArray<McpInProcess.Tool<NoSuchEntry>> => [
  McpInProcess.tool({
    name: "list_entries",
    description: "Lists the names of all entries.",
    parameters: Schema.Struct({}),
    annotations: { readOnlyHint: true },
    handler: () => Effect.succeed({ names: Object.keys(entries) })
  }),
  McpInProcess.tool({
    name: "look_up",
    description: "Gives the entry of a name.",
    parameters: Schema.Struct({ name: Schema.String.annotate({ description: "The name of the entry" }) }),
    annotations: { readOnlyHint: true },
    handler: ({ name }) => {
      const entry = Object.hasOwn(entries, name) ? entries[name] : undefined
      return entry === undefined ? Effect.fail(new NoSuchEntry({ name })) : Effect.succeed({ name, entry })
    }
  })
]

/** Provides the tag of a server. */
export const layer = <Self, Name extends string>(
  server: McpServer.McpServer<Self, Name>,
  options: Options
): Layer.Layer<Self, McpServer.McpError> => McpInProcess.layer(server, { tools: tools(options) })
`,
  extension: `import * as Extension from "agent-layers/services/Extension"
import * as Setting from "agent-layers/services/Setting"
import * as McpAcme from "./McpAcme.ts"

export default Extension.make({
  kind: "mcp",
  name: "acme",
  version: "0.1.0",
  compatibleWith: "@COMPATIBLE@",
  description: "@DESCRIPTION@",
  config: {
    entries: Setting.record("What may be looked up, by name.", { default: {} })
  },
  layer: (settings, place) => McpAcme.layer(place.server, settings)
})
`,
  testName: "laws",
  test: `/** The laws of MCP servers, over the way that this one's tools are served; then the tools, under an agent. */
import { assert, describe, it } from "@effect/vitest"
import { Agent, McpServer, Runner } from "agent-layers"
import * as McpInProcess from "agent-layers/layers/mcp/McpInProcess"
import { Law, McpServerLaws, ModelScripted, TestAgents, Traces } from "agent-layers/testing"
import { Data, Effect, Layer } from "effect"
import * as McpAcme from "../src/McpAcme.ts"

class Unlucky extends Data.TaggedError("Unlucky")<{ readonly message: string }> {}

/** The tools that the laws call, beside those of this package. */
const open = Effect.suspend(() => {
  let begun = 0
  let cancelled = 0
  const say = (text: string) => ({ content: [{ type: "input_text", text }], isError: false })
  const media: ReadonlyArray<McpServer.McpToolResult["content"][number]> = [
    { type: "input_text", text: "a text" },
    { type: "input_image", image_url: "data:image/png;base64,aW1hZ2U=" },
    { type: "input_file", file_data: "data:audio/wav;base64,YXVkaW8=" },
    { type: "input_text", text: "law:///text.txt: inside" },
    { type: "input_file", filename: "data.bin", file_data: "data:application/x-law;base64,ZGF0YQ==" },
    { type: "input_image", image_url: "data:image/gif;base64,Z2lm" },
    { type: "input_text", text: "law:///linked linked elsewhere" }
  ]
  const handlers: Record<string, McpInProcess.Tool<Unlucky>["handler"]> = {
    law_echo: ({ text }) => Effect.succeed(say(String(text))),
    law_same: (given) => Effect.succeed({ ...say("the same"), structuredContent: { arguments: given } }),
    law_fail: ({ text }) => Effect.fail(new Unlucky({ message: String(text) })),
    law_media: () => Effect.succeed({ content: media, isError: false }),
    law_wait: () =>
      Effect.suspend(() => {
        begun++
        return Effect.onInterrupt(Effect.never, () => Effect.sync(() => void cancelled++))
      }),
    law_begun: () => Effect.sync(() => say(String(begun))),
    law_cancelled: () => Effect.sync(() => say(String(cancelled)))
  }
  return McpInProcess.make("acme", {
    tools: McpServerLaws.tools.map((tool) => ({
      ...tool,
      handler: handlers[tool.name] ?? (() => Effect.succeed(say("nothing")))
    }))
  })
})

describe("the laws of MCP servers", () => {
  for (const law of McpServerLaws.all) {
    it.live(law.name, () =>
      Effect.gen(function*() {
        const outcome = yield* Law.verify(law, { open, cannot: ["announcements"] })
        if (outcome._tag === "Broken") assert.fail(outcome.report)
      }), 60_000)
  }
})

class AcmeEntries extends McpServer.Service<AcmeEntries>()("acme") {}

const Librarian = Agent.make({ name: "librarian", mcpServers: [AcmeEntries] })

describe("McpAcme", () => {
  it.effect("is asked by an agent, and tells it what is not there", () =>
    Effect.gen(function*() {
      const { items } = yield* Runner.run(Librarian, "What is a Layer?")
      const outputs = items.flatMap(({ output }) => typeof output === "string" ? [output] : [])
      assert.lengthOf(outputs, 2)
      assert.include(outputs[0], "There is no entry layer")
      assert.include(outputs[1], "A recipe for services")
      yield* Traces.expectSpan("execute_tool look_up", { times: 2 })
    }).pipe(Effect.provide(Layer.merge(
      McpAcme.layer(AcmeEntries, { entries: { Layer: "A recipe for services" } }),
      TestAgents.layer({
        model: [
          ModelScripted.toolCall("look_up", { name: "layer" }),
          ModelScripted.toolCall("look_up", { name: "Layer" }),
          ModelScripted.text("A recipe for services.")
        ]
      })
    ))))
})
`
}
