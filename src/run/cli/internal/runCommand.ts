/** `run`: one prompt, one answer. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as agentsOf from "./agents.ts"
import { terminalAsk } from "./ask.ts"
import { converse } from "./converse.ts"
import { failed, misused } from "./failure.ts"
import * as flags from "./flags.ts"
import { Output } from "./output.ts"
import * as stack from "./stack.ts"

/** A prompt that comes by a pipe, in characters. */
const maxInput = 1_000_000

const piped = Effect.gen(function*() {
  const stdio = yield* Stdio.Stdio
  if (yield* stdio.stdinIsTerminal) return ""
  return yield* stdio.stdin.pipe(
    Stream.decodeText(),
    Stream.runFoldEffect(() => "", (text, piece) =>
      text.length + piece.length > maxInput
        ? Effect.fail(failed(`The prompt has more than ${maxInput} characters`))
        : Effect.succeed(text + piece)),
    Effect.catchTag("PlatformError", (cause) => Effect.fail(failed("Standard input cannot be read", undefined, cause)))
  )
})

export const run = Command.make(
  "run",
  {
    agents: flags.agents,
    agent: flags.agent,
    conversation: flags.conversation,
    model: flags.model,
    approve: flags.approve,
    maxTurns: flags.maxTurns,
    prompt: Argument.String("prompt").pipe(
      Argument.withDescription("What to say. Absent: what standard input has"),
      Argument.variadic()
    )
  },
  Effect.fnUntraced(function*({ prompt, ...options }) {
    const isJson = yield* flags.Json
    const output = yield* Output
    const given = prompt.join(" ").trim()
    const said = given === "" ? (yield* piped).trim() : given
    if (said === "") return yield* misused("There is no prompt", "Write it behind `run`, or pipe it in")
    const services = yield* stack.open
    const agents = yield* agentsOf.of(Option.getOrUndefined(options.agents), services)
    const agent = yield* agentsOf.pick(agents, Option.getOrUndefined(options.agent))
    if (!isJson) yield* output.note(`model: ${services.model}`)
    const layer = Layer.provideMerge(agents.layer, stack.services(services))
    const result = yield* stack.using(
      layer,
      converse(agent, said, {
        conversationId: Option.getOrUndefined(options.conversation),
        model: Option.getOrUndefined(options.model),
        maxTurns: Option.getOrUndefined(options.maxTurns),
        approve: options.approve,
        ask: isJson ? undefined : yield* terminalAsk,
        isShown: !isJson
      })
    )
    if (isJson) {
      yield* output.json({
        finalOutput: result.finalOutput,
        agent: result.lastAgent,
        runId: result.runId,
        conversationId: result.conversationId,
        traceId: result.traceId,
        turns: result.turns,
        usage: result.usage,
        model: services.model
      })
    }
  })
).pipe(
  Command.withShortDescription("Ask an agent once"),
  Command.withDescription("Asks an agent once and shows its answer. Nothing is kept without --conversation."),
  Command.withExamples([
    { command: "agent-layers run What time is it?", description: "Ask the default assistant" },
    {
      command: "agent-layers run --agents agents.ts --agent clerk -c ada Pay Bob",
      description: "Ask an agent of yours"
    }
  ])
)
