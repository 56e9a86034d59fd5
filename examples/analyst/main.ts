/**
 * `npm start`: an analyst that answers a question about a folder.
 *
 * Modules are imported one by one, not through an index: a command should start at once.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Argument from "effect/cli/Argument"
import * as CliConfig from "effect/cli/CliConfig"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { analyst } from "./analyst.ts"
import { defaultModel } from "./layers.ts"

/** Flags that mean nothing: effect/cli has said so already, and what to write instead. */
class Misuse extends Data.TaggedError("Misuse") {
  override readonly [Runtime.errorExitCode] = 2
  override readonly [Runtime.errorReported] = false
}

const command = Command.make(
  "npm start --",
  {
    dir: Flag.String("dir").pipe(
      Flag.withDefault("."),
      Flag.withMetavar("DIR"),
      Flag.withDescription("The folder to answer about. Default: the current one")
    ),
    conversation: Flag.String("conversation").pipe(
      // The runner takes "new" for an id that it is to make.
      Flag.filter((name) => name !== "" && name !== "new", () => "a name other than \"new\""),
      Flag.optional,
      Flag.withMetavar("NAME"),
      Flag.withDescription("The conversation to go on with, or to begin. Default: \"default\", with --dir its path")
    ),
    database: Flag.String("database").pipe(
      Flag.optional,
      Flag.withMetavar("FILE"),
      Flag.withDescription("Where conversations are kept. Default: .agent-layers/conversations.db")
    ),
    unconfined: Flag.Boolean("unconfined").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Give the agent a shell without a sandbox: it can then do whatever you can")
    ),
    question: Argument.String("question").pipe(Argument.variadic())
  },
  Effect.fnUntraced(function*({ question, ...options }) {
    const stdio = yield* Stdio.Stdio
    const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
    const asked = question.join(" ").trim()
    yield* analyst({ ...options, question: asked === "" ? "What is this project?" : asked, colors: canColor }).pipe(
      Stream.run(stdio.stdout({ endOnDone: false }))
    )
  })
).pipe(
  Command.withDescription([
    "Answers a question about a folder. Without a question: What is this project?\n",
    "OPENAI_API_KEY       Set, a model answers; otherwise rules do, offline",
    "OPENAI_BASE_URL      A server with the Responses API. Default: https://api.openai.com/v1",
    `AGENT_LAYERS_MODEL   The model. Default: ${defaultModel}`
  ].join("\n  "))
)

command.pipe(
  Command.run({ version: "0.1.0" }),
  Effect.catchTags({
    ShowHelp: () => Effect.fail(new Misuse()),
    // Whoever reads has heard enough (`| head`): an end, not a failure.
    PlatformError: (error) =>
      Predicate.hasProperty(error.cause, "code") && error.cause.code === "EPIPE" ? Effect.void : Effect.fail(error)
  }),
  Effect.provideService(CliConfig.CliConfig, { builtIns: [GlobalFlag.Help] }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)
