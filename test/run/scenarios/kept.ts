/**
 * A turn stops after a tool ran: whatever stops it, the turn is kept as its calls with an output each, and neither the
 * resumed run nor the next one runs the tool again, though the model asks for it once more.
 */
import type { RunConfig } from "agent-layers"
import { Agent, Guardrail, Handoff, Item, ModelScripted } from "agent-layers"
import { Effect, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { Ran } from "../support.ts"
import type { Outcome, Row } from "./play.ts"
import { answers, goOn, say, stops } from "./play.ts"
import type { Call } from "./tools.ts"
import { Add, add, Bomb, brokenOff, call, calls, Find, find, Look, look, says, Search, searched } from "./tools.ts"

/** Whether this is the first time: what stops the turn does not stop the one after it. */
const isFirst = (what: string) =>
  Ran.use((list) => Effect.sync(() => list.includes(what) ? false : list.push(what) > 0))

const tripsOnce = Effect.map(isFirst("tripped"), (first) => first ? Guardrail.trip() : Guardrail.pass())

const failsOnce = Effect.flatMap(isFirst("failed"), (first) => first ? Effect.fail("closed" as const) : Effect.void)

const outputGuard = Guardrail.output({ name: "guard", check: () => tripsOnce })

interface Cause {
  readonly name: string
  readonly agent: Agent.Any
  readonly options?: RunConfig.RunOptions<any, any>
  /** Calls of the turn beside `add 1 2`. */
  readonly beside?: ReadonlyArray<Call>
  readonly outcome: Outcome
  /** The outputs that are kept. */
  readonly kept: ReadonlyArray<string>
  /** What the resumed run answers; by default what the model says. */
  readonly resumed?: Outcome
  /** What handlers, hooks and guardrails did in all runs. */
  readonly ran: ReadonlyArray<string>
  /** Of the last run. */
  readonly guardrails?: ReadonlyArray<string>
  /** What the model says to the next question. */
  readonly last?: { readonly text: string; readonly finalOutput: unknown }
}

const notRun = (name: string, callId: string) => `${callId} = Error: "${name}" was not run: the run stopped first.`

const colleague = Agent.make({ name: "colleague" })

const Ask = Tool.make("ask", { success: Schema.String, needsApproval: () => Effect.die(new Error("no answer")) })

const causes: ReadonlyArray<Cause> = [
  {
    name: "an output guardrail that trips on what a tool answered",
    agent: Agent.make({
      name: "a",
      toolkit: Toolkit.make(Add),
      toolUse: "stopOnFirst",
      outputGuardrails: [outputGuard]
    }),
    outcome: stops("GuardrailTripped"),
    kept: ["c1 = 3"],
    resumed: answers("3"),
    ran: ["add 1 2", "tripped"],
    guardrails: ["output guard passed"]
  },
  {
    name: "a guardrail that trips on a tool's output, which is withheld",
    agent: Agent.make({
      name: "a",
      toolkit: Toolkit.make(Add),
      toolOptions: { add: { outputGuardrails: [Guardrail.toolOutput({ name: "guard", check: () => tripsOnce })] } }
    }),
    outcome: stops("GuardrailTripped"),
    kept: [`c1 = Tool "add" ran. Its output is withheld: it did not pass a guardrail.`],
    ran: ["add 1 2", "tripped"]
  },
  {
    name: "a guardrail that trips on the call beside it",
    agent: Agent.make({
      name: "a",
      toolkit: Toolkit.make(Add, Look),
      toolOptions: { look: { inputGuardrails: [Guardrail.toolInput({ name: "guard", check: () => tripsOnce })] } }
    }),
    beside: [look("it", "c2")],
    outcome: stops("GuardrailTripped"),
    kept: ["c1 = 3", notRun("look", "c2")],
    ran: ["add 1 2", "tripped"]
  },
  {
    name: "a handler that dies beside it",
    agent: Agent.make({ name: "a", toolkit: Toolkit.make(Add, Bomb) }),
    beside: [call("bomb", {}, "c2")],
    outcome: stops("ToolDefect"),
    kept: ["c1 = 3", brokenOff("bomb", "c2")],
    ran: ["add 1 2", "bomb"]
  },
  {
    name: "a failure beside it that is to end the run",
    agent: Agent.make({
      name: "a",
      toolkit: Toolkit.make(Add, Find),
      toolOptions: { find: { onFailure: "fail" } }
    }),
    beside: [find("absent", "c2")],
    outcome: stops("ToolFailed"),
    kept: ["c1 = 3", `c2 = Error: {"missing":"absent"}`],
    ran: ["add 1 2", "find absent"]
  },
  {
    name: "a question beside it, whether a person is needed, that dies",
    agent: Agent.make({ name: "a", toolkit: Toolkit.make(Add, Ask) }),
    beside: [call("ask", {}, "c2")],
    outcome: stops("ToolDefect"),
    kept: ["c1 = 3", notRun("ask", "c2")],
    ran: ["add 1 2"]
  },
  {
    name: "a hook that fails when the tool has ended",
    agent: Agent.make({ name: "a", toolkit: Toolkit.make(Add) }),
    options: { hooks: { onToolEnd: () => failsOnce } },
    outcome: { error: "closed" },
    kept: ["c1 = 3"],
    ran: ["add 1 2", "failed"]
  },
  {
    name: "a handoff that fails",
    agent: Agent.make({
      name: "a",
      toolkit: Toolkit.make(Add),
      handoffs: [Handoff.to(colleague, { onHandoff: () => failsOnce })]
    }),
    beside: [call("transfer_to_colleague", {}, "c2")],
    outcome: { error: "closed" },
    kept: ["c1 = 3", notRun("transfer_to_colleague", "c2")],
    ran: ["add 1 2", "failed"]
  },
  {
    name: "a tool's answer that is to be the final output and is none",
    agent: Agent.make({
      name: "a",
      toolkit: Toolkit.make(Add),
      output: Schema.Struct({ sum: Schema.Number }),
      toolUse: "stopOnFirst"
    }),
    outcome: stops("InvalidFinalOutput"),
    kept: ["c1 = 3"],
    resumed: stops("InvalidFinalOutput"),
    last: { text: `{"sum":3}`, finalOutput: { sum: 3 } },
    ran: ["add 1 2"]
  }
]

const first = add(1, 2, "c1")

const rowOf = (cause: Cause): Row => {
  const { agent, beside = [], last = { text: "Fine.", finalOutput: "Fine." }, options = {}, outcome } = cause
  const { resumed = "reason" in outcome ? answers("Done.") : undefined } = cause
  const all = [first, ...beside]
  const turn = [
    "user: go",
    ...all.map(({ arguments: args, callId, name }) => `${callId}: ${name}${JSON.stringify(args)}`),
    ...cause.kept
  ]
  const again = [`c3: add{"a":1,"b":2}`, cause.kept[0]!.replace("c1", "c3")]
  const isAnswer = resumed !== undefined && "answer" in resumed
  const isDone = isAnswer && resumed.answer === "Done."
  // What the resumed run is given was stored with the turn in which it ran.
  const resuming = resumed === undefined
    ? { script: [], history: [], seen: [] }
    : {
      script: [calls(add(1, 2, "c3")), ...(isDone ? [says("Done.")] : [])],
      history: [...(isAnswer ? [again] : []), ...(isDone ? [["assistant: Done."]] : [])],
      seen: [turn, ...(isDone ? [[...turn, ...again]] : [])]
    }
  const before = [turn, ...resuming.history].flat()
  const { finalOutput, text } = last
  return {
    name: `after ${cause.name} the tool that ran is kept, and is not run again`,
    agent,
    script: [calls(...all), ...resuming.script, says(text)],
    options: { toolConcurrency: 1, ...options },
    steps: [say("go"), ...(resumed === undefined ? [] : [goOn()]), say("more")],
    expect: {
      outcome: [outcome, ...(resumed === undefined ? [] : [resumed]), answers(finalOutput)],
      history: [turn, ...resuming.history, ["user: more", `assistant: ${text}`]],
      seen: [["user: go"], ...resuming.seen, [...before, "user: more"]],
      usage: 1,
      ran: cause.ran,
      ...(cause.guardrails === undefined ? {} : { guardrails: cause.guardrails })
    }
  }
}

export const kept: ReadonlyArray<Row> = [
  ...causes.map(rowOf),
  {
    name: "a search that the provider ran is kept without the message beside it, which was rejected",
    agent: Agent.make({ name: "a", toolkit: Toolkit.make(Search({})), outputGuardrails: [outputGuard] }),
    script: [ModelScripted.items([searched, Item.assistant("Rejected.")]), says("Done.")],
    steps: [say("go"), goOn()],
    expect: {
      outcome: [stops("GuardrailTripped"), answers("Done.")],
      history: [["user: go", "web_search_call"], ["assistant: Done."]],
      seen: [1, ["user: go", "web_search_call"]],
      usage: 2,
      ran: ["tripped"],
      guardrails: ["output guard tripped", "output guard passed"]
    }
  },
  {
    name: "a message beside the calls of a turn that stopped is kept with them",
    agent: Agent.make({ name: "a", toolkit: Toolkit.make(Add, Bomb) }),
    script: [
      ModelScripted.items([
        Item.assistant("I look."),
        Item.functionCall({ callId: "c1", name: "add", arguments: `{"a":1,"b":2}` }),
        Item.functionCall({ callId: "c2", name: "bomb", arguments: "{}" })
      ])
    ],
    options: { toolConcurrency: 1 },
    expect: {
      outcome: stops("ToolDefect"),
      history: [
        ["user: go", "assistant: I look.", `c1: add{"a":1,"b":2}`, "c2: bomb{}", "c1 = 3", brokenOff("bomb", "c2")]
      ],
      seen: [1],
      ran: ["add 1 2", "bomb"]
    }
  }
]
