/**
 * One start of the analyst, as a stream of what it shows: what it works with, then the run as it happens.
 */
import * as ToolsSandbox from "agent-layers/layers/tools/ToolsSandbox"
import type { RunError } from "agent-layers/run/RunError"
import * as Runner from "agent-layers/run/Runner"
import * as Item from "agent-layers/services/Item"
import type { ModelError } from "agent-layers/services/ModelError"
import * as Sandbox from "agent-layers/services/Sandbox"
import { Session } from "agent-layers/services/Session"
import type { SessionError } from "agent-layers/services/SessionError"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Operator, Reader } from "./agent.ts"
import { explain } from "./errors.ts"
import { chooseConversation, chooseModel, chooseSandbox, chooseSession } from "./layers.ts"
import type { Style } from "./render.ts"
import { oneLine, render, styleOf } from "./render.ts"
import * as Tools from "./tools.ts"
import { withTrace } from "./trace.ts"
import { prepare } from "./workspace.ts"

export interface Options {
  readonly question: string
  readonly dir: string
  readonly conversation: Option.Option<string>
  readonly database: Option.Option<string>
  readonly unconfined: boolean
  readonly colors: boolean
}

/** Where this start stands in the conversation. */
const opening = Effect.fnUntraced(function*(conversation: string, question: string, style: Style) {
  const { items } = yield* Session.use((session) => session.loadItems(conversation))
  const last = items.findLast((item) => Item.isMessage(item) && item.role === "user")
  const name = oneLine(conversation, 200)
  const where = last === undefined
    ? `new conversation "${name}"`
    : `continuing conversation "${name}": ${items.length} items, last asked "${oneLine(Item.text(last), 60)}"`
  return `${where}\n\n${style.bold(`> ${oneLine(question)}`)}\n`
})

type Shown<R> = Stream.Stream<string, ModelError | RunError | SessionError, R>

/** Asks again where another start has added to the conversation meanwhile, so that the answer knows of that too. */
const persistently = <R>(run: Shown<R>, attempt = 1): Shown<R> =>
  run.pipe(
    Stream.catchReason("SessionError", "VersionConflict", (_, error) =>
      attempt === 5
        ? Stream.fail(error)
        : Stream.make("\nAnother start went on with this conversation meanwhile: asking again.\n").pipe(
          Stream.concat(Stream.fromEffectDrain(Effect.sleep(Duration.millis(200 * attempt)))),
          Stream.concat(persistently(run, attempt + 1))
        ))
  )

const countItems = (conversation: string) =>
  Session.use((session) => Effect.map(session.loadItems(conversation), ({ items }) => items.length))

/** Says on an interruption what it left behind: the store knows, what was shown until then may lag behind it. */
const whenInterrupted = (conversation: string) => <R>(run: Shown<R>): Shown<R | Session> =>
  Stream.unwrap(Effect.map(countItems(conversation), (before) =>
    Stream.onExit(run, (exit) =>
      Exit.hasInterrupts(exit)
        ? countItems(conversation).pipe(
          Effect.map((after) => after === before ? "is as it was" : "keeps what had run"),
          Effect.flatMap((state) => Console.error(`\ninterrupted; the conversation ${state}`)),
          Effect.ignore
        )
        : Effect.void)))

/** `onTurn` is told how many turns of the run are stored: none, when it begins. */
const answer = (options: Options, conversation: string, hasShell: boolean, onTurn: (stored: number) => void) => {
  const { colors, question } = options
  const style = styleOf(colors)
  const how = { conversationId: conversation, maxItems: 500 }
  const events = hasShell
    ? Runner.stream(Operator, question, how).pipe(Stream.provide(ToolsSandbox.layer))
    : Runner.stream(Reader, question, how).pipe(Stream.provide(ToolsSandbox.layerReadOnly))
  const run = events.pipe(
    Stream.tap((event) =>
      Effect.sync(() => {
        if (event._tag === "RunStarted") onTurn(0)
        if (event._tag === "Committed") onTurn(event.turn)
      })
    ),
    render(style),
    withTrace(colors)
  )
  return Stream.fromEffect(opening(conversation, question, style)).pipe(
    Stream.concat(persistently(run)),
    whenInterrupted(conversation)
  )
}

export const analyst = (options: Options) => {
  let stored: number | undefined
  const shown = Effect.gen(function*() {
    const model = yield* chooseModel
    const workspace = yield* prepare(options.dir)
    const sandbox = yield* chooseSandbox(options.unconfined)
    const session = yield* chooseSession(options.database)
    const conversation = yield* chooseConversation(options.conversation, options.dir)
    const head = Object.entries({
      model: model.line,
      workspace: workspace.description,
      sandbox: sandbox.line,
      database: session.line
    }).map(([name, line]) => `${styleOf(options.colors).dim(`${name}:`.padEnd(11))}${oneLine(line, 400)}\n`)

    const tools = Tools.layer.pipe(
      Layer.provideMerge(Sandbox.layerSession(workspace.manifest)),
      Layer.provide(sandbox.layer)
    )
    return Stream.concat(
      Stream.fromIterable(head),
      answer(options, conversation, sandbox.hasShell, (turns) => stored = turns).pipe(
        Stream.provide(Layer.mergeAll(model.layer, session.layer, tools))
      )
    )
  })
  return Stream.mapError(Stream.unwrap(shown), (error) => explain(error, stored))
}
