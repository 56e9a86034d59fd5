/** A program that is killed in its second turn: by its own tool, so that the moment is certain. */
import { Agent, ModelScripted, Runner } from "agent-layers"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import { Effect } from "effect"
import { Tool, Toolkit } from "effect/ai"

const Tools = Toolkit.make(Tool.make("wait"), Tool.make("die"))
const Handlers = Tools.toLayer({
  wait: () => Effect.void,
  die: () => Effect.sync(() => process.kill(process.pid, "SIGKILL")).pipe(Effect.andThen(Effect.never))
})

Runner.run(Agent.make({ name: "a", toolkit: Tools }), "Go.", { conversationId: "c" }).pipe(
  Effect.provide([
    Handlers,
    ModelScripted.layer([ModelScripted.toolCall("wait"), ModelScripted.toolCall("die")]),
    SessionSqlite.layer({ filename: process.argv[2] ?? "" })
  ]),
  Effect.runPromise
)
