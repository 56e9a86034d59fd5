/**
 * The command `agent-layers`: talk to agents, look after conversations, traces and extensions, and serve agents over
 * HTTP. What it runs on is chosen by a configuration file and the environment; without either it keeps conversations in
 * `.agent-layers/` and answers offline.
 *
 * Exit codes: 0 done, 1 failed, 2 asked for something that means nothing, 130 interrupted. `serve` ends with 0 where
 * SIGTERM stopped it.
 *
 * @since 0.1.0
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Runtime from "effect/Runtime"
import * as Stdio from "effect/Stdio"
import { version } from "../../services/Extension.ts"
import { explainMissing } from "./internal/agents.ts"
import { chat } from "./internal/chat.ts"
import { check } from "./internal/check.ts"
import { config, health } from "./internal/config.ts"
import { ending } from "./internal/ending.ts"
import { extension, extensions } from "./internal/extensions.ts"
import { failed, Failure, line, OutputClosed, tell } from "./internal/failure.ts"
import * as flags from "./internal/flags.ts"
import { graph } from "./internal/graph.ts"
import * as output from "./internal/output.ts"
import { run as runOnce } from "./internal/runCommand.ts"
import { serve } from "./internal/serve.ts"
import { sessions } from "./internal/sessions.ts"
import { traces } from "./internal/traces.ts"

const command = Command.make("agent-layers").pipe(
  Command.withDescription("Agents on Effect: talk to them, serve them, and look after what they keep."),
  Command.withSubcommands([
    { group: "Agents", commands: [chat, runOnce, serve, graph] },
    { group: "What is kept", commands: [sessions, traces] },
    { group: "What it runs on", commands: [config, check, extensions, extension, health] }
  ]),
  Command.withGlobalFlags([flags.ConfigFile, flags.Overlay, flags.Json])
)

/** Help is an answer; a misuse is one line on standard error, and says where help is. */
const presenter: CliOutput.Presenter = {
  present: (event) => {
    if (event._tag !== "InvalidInvocation") return CliOutput.defaultPresenter.present(event)
    const errors = event.errors.map(({ message }) => message.trim()).join("\n  ")
    return Console.error(`agent-layers: ${errors}\nSee: ${event.commandPath.join(" ")} --help`)
  }
}

/** An exit code with its story told. */
class Ended {
  readonly [Runtime.errorExitCode]: number
  readonly [Runtime.errorReported] = false
  constructor(code: number) {
    this[Runtime.errorExitCode] = code
  }
}

const report = Effect.fnUntraced(function*(cause: Cause.Cause<unknown>, isJson: boolean) {
  const fail = cause.reasons.find(Cause.isFailReason)
  const die = cause.reasons.find(Cause.isDieReason)
  if (fail === undefined && die === undefined) return yield* Effect.interrupt
  const { json, note } = yield* output.Output
  const error = fail?.error ?? explainMissing(die?.defect) ??
    failed(`a defect: ${tell(die?.defect).message}`, "Please report it, with what you did")
  if (error instanceof OutputClosed) return
  const told = tell(error)
  const isShown = (told.error === "Usage" && told.reason !== undefined) ||
    (error instanceof Failure && error.isTold === true)
  if (isJson && !(error instanceof Failure && error.isTold === true)) {
    yield* Effect.ignore(json({
      error: { type: told.error, reason: told.reason, message: told.message, doNext: told.doNext }
    }))
  } else if (!isShown) yield* note(`agent-layers: ${line(told)}`)
  return yield* Effect.fail(new Ended(told.code))
})

const services = Layer.mergeAll(
  CliConfig.layer({
    builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel]
  }),
  CliOutput.layerPresenter(presenter),
  output.layer,
  Logger.layer([output.logger]),
  Layer.succeed(References.MinimumLogLevel, "Warn")
).pipe(
  Layer.provideMerge(TerminalCapabilities.layer),
  Layer.provideMerge(NodeServices.layer)
)

/**
 * The command with the arguments of the process, as an Effect: it fails with an exit code after it has told why.
 *
 * @category running
 * @since 0.1.0
 */
export const run: Effect.Effect<void, unknown> = Effect.scoped(
  Effect.flatMap(Layer.build(services), (context) =>
    Effect.provideContext(
      Effect.gen(function*() {
        const { args } = yield* Stdio.Stdio
        const given = yield* args
        yield* Command.runWith(command, { version })(given).pipe(
          Effect.scoped,
          Effect.catchCause((cause) => report(cause, given.some((word) => word === "--json" || word === "--json=true")))
        )
      }),
      context
    ))
)

/**
 * Runs the command as the main program of this process, and ends it with its exit code.
 *
 * @category running
 * @since 0.1.0
 */
export const main = (): void => {
  let isTerminated = false
  process.once("SIGTERM", () => {
    isTerminated = true
  })
  NodeRuntime.runMain(run, {
    disableErrorReporting: true,
    teardown: (exit, done) =>
      Runtime.defaultTeardown(exit, (code) => done(code === 130 && isTerminated && ending.isServer ? 0 : code))
  })
}
