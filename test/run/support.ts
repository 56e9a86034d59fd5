import type { Agent } from "agent-layers/run/Agent"
import type { RunInput, RunOptions } from "agent-layers/run/RunConfig"
import type { RunEvent } from "agent-layers/run/RunEvent"
import * as Runner from "agent-layers/run/Runner"
import type { RunResult } from "agent-layers/run/RunResult"
import { Effect, Stream } from "effect"

export type Way = "run" | "stream"

export const ways: ReadonlyArray<Way> = ["run", "stream"]

/** The same run either way; a stream is drained and answers with the result of its terminal event. */
export const runAs = <Output, E, R>(
  way: Way,
  agent: Agent<Output, E, R>,
  input: RunInput,
  options: RunOptions = {}
): Effect.Effect<RunResult<Output>, any, any> => {
  if (way === "run") return Runner.run(agent, input, options as {})
  return Effect.map(Stream.runCollect(Runner.stream(agent, input, options as {})), (events) => {
    const terminal = events.filter((event) => event._tag === "Completed")
    if (terminal.length !== 1 || events.at(-1)!._tag !== "Completed") {
      throw new Error(`expected one terminal event at the end, got ${events.map((event) => event._tag).join(", ")}`)
    }
    return (events.at(-1) as Extract<RunEvent<Output>, { _tag: "Completed" }>).result
  })
}
