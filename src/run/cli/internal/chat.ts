/** `chat`: a conversation in the terminal. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Prompt from "effect/cli/Prompt"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Item from "../../../services/Item.ts"
import { Session } from "../../../services/Session.ts"
import * as agentsOf from "./agents.ts"
import { lines, terminalAsk } from "./ask.ts"
import { converse } from "./converse.ts"
import { Failure, line, misused, OutputClosed, tell } from "./failure.ts"
import * as flags from "./flags.ts"
import { count, oneLine, Output, time } from "./output.ts"
import * as stack from "./stack.ts"

/** How many conversations are offered, the latest ones. */
const offered = 20

const latest = Effect.gen(function*() {
  const session = yield* Session
  if (!session.capabilities.list) return []
  const all = yield* Stream.runCollect(session.conversations())
  return all.sort((a, b) => b.changedAt - a.changedAt).slice(0, offered)
})

/** Asks which conversation to go on with, where a person is there and there is a choice. */
const pick = Effect.gen(function*() {
  const { canPrompt } = yield* Output
  if (!canPrompt) return "default"
  const known = yield* latest
  if (known.length === 0) return "default"
  const name = yield* Prompt.run(Prompt.Select<string | undefined>({
    message: "Which conversation?",
    choices: [
      ...known.map(({ changedAt, id }) => ({ title: oneLine(id, 60), description: time(changedAt), value: id })),
      { title: "a new one", value: undefined }
    ]
  }))
  if (name !== undefined) return name
  return yield* Prompt.run(Prompt.String({
    message: "Its name?",
    validate: (text) =>
      text.trim() === "" || text.trim() === "new"
        ? Effect.fail("Another name, please")
        : Effect.succeed(text.trim())
  }))
})

const opening = Effect.fnUntraced(function*(conversation: string) {
  const session = yield* Session
  const { items } = yield* session.loadItems(conversation)
  const last = items.findLast((item) => Item.isMessage(item) && item.role === "user")
  const name = oneLine(conversation, 200)
  return last === undefined
    ? `new conversation "${name}"`
    : `conversation "${name}": ${count(items.length, "item")}, last asked "${oneLine(Item.text(last), 60)}"`
})

const help = [
  "/conversation NAME  go on with another conversation, or begin it",
  "/conversations      list the latest ones",
  "/agent NAME         talk to another agent",
  "/tools              what the agent may call",
  "/help               this",
  "/exit               leave; so does Ctrl-D"
].join("\n")

export const chat = Command.make(
  "chat",
  {
    agents: flags.agents,
    agent: flags.agent,
    conversation: flags.conversation.pipe(
      Flag.withDescription("The conversation to go on with, or to begin. Default: asks; without a terminal \"default\"")
    ),
    model: flags.model,
    approve: flags.approve,
    maxTurns: flags.maxTurns
  },
  Effect.fnUntraced(function*(options) {
    if (yield* flags.Json) return yield* misused("`chat` has no --json", "Use `run --json` for single answers")
    const output = yield* Output
    const { style } = output
    const services = yield* stack.open
    const agents = yield* agentsOf.of(Option.getOrUndefined(options.agents), services)
    const names = Object.keys(agents.agents)
    let agent = yield* agentsOf.pick(agents, Option.getOrUndefined(options.agent) ?? names[0])

    const talk = Effect.gen(function*() {
      let conversation = Option.isSome(options.conversation) ? options.conversation.value : yield* pick
      const ask = yield* terminalAsk
      const next = yield* lines
      yield* output.print([
        `${style.dim("model:".padEnd(9))}${oneLine(services.model, 200)}`,
        `${style.dim("session:".padEnd(9))}${oneLine(services.session, 200)}`,
        `${style.dim("agent:".padEnd(9))}${oneLine(agent.name)} of ${oneLine(agents.from, 200)}`,
        yield* opening(conversation),
        style.dim("/help lists commands; Ctrl-D leaves")
      ].join("\n"))

      const command = Effect.fnUntraced(function*(text: string) {
        const [word = "", ...rest] = text.slice(1).split(/\s+/)
        const name = rest.join(" ")
        switch (word) {
          case "help":
            return yield* output.print(help)
          case "tools": {
            const tools = Object.values(agent.tools).map((tool) => `${tool.name}: ${tool.description ?? ""}`)
            return yield* output.print(tools.length === 0 ? "none" : tools.map((tool) => oneLine(tool)).join("\n"))
          }
          case "agent": {
            const found = yield* Effect.result(agentsOf.pick(agents, name === "" ? undefined : name))
            if (found._tag === "Failure") return yield* output.print(style.red(line(tell(found.failure))))
            agent = found.success
            return yield* output.print(`${oneLine(agent.name)} answers now`)
          }
          case "conversation": {
            if (name === "" || name === "new") return yield* output.print(style.red("Name it: /conversation NAME"))
            conversation = name
            return yield* output.print(yield* opening(conversation))
          }
          case "conversations": {
            const known = yield* latest
            return yield* output.print(
              known.length === 0
                ? "none"
                : known.map(({ changedAt, id }) => `${time(changedAt)}  ${oneLine(id)}`).join("\n")
            )
          }
          default:
            return yield* output.print(style.red(`There is no /${oneLine(word)}; /help lists what there is`))
        }
      })

      /** What goes wrong with one answer is told, and the conversation goes on. */
      const answer = (text: string) =>
        converse(agent, text, {
          conversationId: conversation,
          model: Option.getOrUndefined(options.model),
          maxTurns: Option.getOrUndefined(options.maxTurns),
          approve: options.approve,
          ask,
          isShown: true
        }).pipe(
          // An agent's own effects may fail with anything.
          Effect.catchIf(
            (error) => !(error instanceof Failure) && !(error instanceof OutputClosed),
            (error) => output.print(style.red(line(tell(error))))
          )
        )

      for (;;) {
        yield* output.write(style.bold("\n> "))
        const text = yield* next
        if (text === undefined) return yield* output.print("")
        const said = text.trim()
        if (said === "") continue
        if (!output.canPrompt) yield* output.print(oneLine(said))
        if (said === "/exit" || said === "/quit") return
        if (said.startsWith("/")) yield* command(said)
        else yield* answer(said)
      }
    })

    const layer = Layer.provideMerge(agents.layer, stack.services(services))
    yield* stack.using(layer, Effect.scoped(talk))
  })
).pipe(
  Command.withShortDescription("Talk to an agent"),
  Command.withDescription(
    "Talks to an agent, line by line. Conversations are kept: in .agent-layers/ unless a configuration says otherwise."
  )
)
