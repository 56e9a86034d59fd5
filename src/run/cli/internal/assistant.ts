/** The agent of a command that names none. */
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import type * as McpServer from "../../../services/McpServer.ts"
import * as Agent from "../../Agent.ts"

const ReadFailed = Schema.Struct({ message: Schema.String })

const toolkit = Toolkit.make(
  Tool.make("current_time", {
    description: "The date and time now, in UTC.",
    success: Schema.String
  }),
  Tool.make("read_file", {
    description: "Read a text file below the current directory. A person is asked first.",
    parameters: Schema.Struct({ path: Schema.String.annotate({ description: "Relative to the current directory" }) }),
    success: Schema.String,
    failure: ReadFailed,
    failureMode: "return",
    needsApproval: true
  })
)

/** As much of a file as a model is given, in characters. */
const maxLength = 32_768

const handlers = toolkit.toLayer(Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  return {
    current_time: () => Effect.map(DateTime.now, DateTime.formatIso),
    read_file: Effect.fnUntraced(function*({ path: name }) {
      const refuse = (why: string) => Effect.fail({ message: `"${name}" ${why}` })
      const unreadable = () => refuse("cannot be read")
      const root = yield* Effect.catch(fs.realPath("."), unreadable)
      const file = yield* Effect.catch(fs.realPath(path.resolve(root, name)), unreadable)
      if (!file.startsWith(`${root}${path.sep}`)) return yield* refuse("is not below the current directory")
      const text = yield* Effect.catch(fs.readFileString(file), unreadable)
      return text.length <= maxLength
        ? text
        : `${text.slice(0, maxLength)}\n[${text.length - maxLength} more characters]`
    })
  }
}))

/** The assistant, with the tools and the MCP servers that the configuration has. */
export const make = (
  configured: Toolkit.Any,
  mcpServers: ReadonlyArray<McpServer.Any>
): Agent.Any =>
  Agent.make({
    name: "assistant",
    instructions: "You are a helpful assistant in a terminal. Answer briefly, in plain text without Markdown.",
    // A tool of the configuration wins over one of the same name here.
    toolkit: Toolkit.merge(toolkit, configured) as unknown as Toolkit.Toolkit<Record<string, Tool.Any>>,
    mcpServers
  })

export const layer: Layer.Layer<
  Layer.Success<typeof handlers>,
  never,
  FileSystem.FileSystem | Path.Path
> = handlers
