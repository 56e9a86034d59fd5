import { Agent, ModelError, ModelScripted } from "agent-layers"
import { Effect } from "effect"
import { Toolkit } from "effect/ai"
import { note } from "../support.ts"
import type { Row } from "./play.ts"
import { answers, cut, goOn, leave, modelFails, say, stops } from "./play.ts"
import { Add, add, call, calls, Count, Hang, says, unfinished, Wait, wait } from "./tools.ts"

const clerk = Agent.make({ name: "clerk", toolkit: Toolkit.make(Add, Count, Hang, Wait) })
const plain = Agent.make({ name: "plain" })

const asking = Agent.make({
  name: "outer",
  agentTools: [Agent.asTool(clerk, { name: "ask", description: "Asks" })]
})

const added = [`c1: add{"a":1,"b":2}`, "c1 = 3"]

const turn = (number: number, agent: string, ...events: ReadonlyArray<string>) => [
  `TurnStarted ${number} ${agent}`,
  ...events,
  `Committed ${number}`
]

export const streaming: ReadonlyArray<Row> = [
  {
    name: "reasoning, text and tools are told in order, each commit after its turn, and the result last",
    agent: clerk,
    script: [
      ModelScripted.calls([call("count", {}, "c1")], { text: ["Let ", "me see."], reasoning: "hm" }),
      ModelScripted.reasoned(["so ", "that"], ModelScripted.text(["It ", "is 3."]))
    ],
    expect: {
      outcome: answers("It is 3."),
      history: [
        ["user: go", "thinks: hm", "assistant: Let me see.", "c1: count{}", "c1 = 3"],
        ["thinks: so that", "assistant: It is 3."]
      ],
      seen: [1, 5],
      ran: ["count"],
      events: [
        "RunStarted",
        ...turn(
          1,
          "clerk",
          ...["ReasoningDelta", "ItemDone", "TextDelta", "ItemDone", "ToolCallDelta", "ItemDone"],
          ...["ToolStarted c1", "ToolProgress c1 1", "ToolProgress c1 2", "ToolFinished c1"]
        ),
        ...turn(2, "clerk", "ReasoningDelta", "ItemDone", "TextDelta", "ItemDone"),
        "Completed"
      ]
    }
  },
  {
    name: "an answer in a thousand pieces through a buffer of two is the same, and makes no span more",
    agent: plain,
    options: { bufferSize: 2 },
    script: [ModelScripted.text(Array.from({ length: 1000 }, (_, index) => `${index} `))],
    expect: {
      outcome: answers(Array.from({ length: 1000 }, (_, index) => `${index} `).join("")),
      history: [["user: go", `assistant: ${Array.from({ length: 1000 }, (_, index) => `${index} `).join("")}`]],
      seen: [1],
      events: ["RunStarted", ...turn(1, "plain", "TextDelta", "ItemDone"), "Completed"]
    }
  },
  {
    name: "a refusal is told in pieces too",
    agent: plain,
    script: [ModelScripted.refusal(["I ", "will not."])],
    expect: {
      outcome: answers("I will not."),
      history: [["user: go", "assistant: I will not."]],
      seen: [1],
      events: ["RunStarted", ...turn(1, "plain", "RefusalDelta", "ItemDone"), "Completed"]
    }
  },
  {
    name: "tools of one response are told as they finish, and answer in the order of the calls",
    agent: clerk,
    script: [calls(wait(20, "c1"), wait(10, "c2")), says("done")],
    clock: "10 millis",
    expect: {
      outcome: answers("done"),
      history: [
        ["user: go", `c1: wait{"ms":20}`, `c2: wait{"ms":10}`, "c1 = waited 20", "c2 = waited 10"],
        ["assistant: done"]
      ],
      seen: [1, 5],
      ran: ["begin 20", "begin 10", "end 10", "end 20"],
      events: [
        "RunStarted",
        ...turn(
          1,
          "clerk",
          ...["ToolCallDelta", "ItemDone", "ToolCallDelta", "ItemDone"],
          ...["ToolStarted c1", "ToolStarted c2", "ToolFinished c2", "ToolFinished c1"]
        ),
        ...turn(2, "clerk", "TextDelta", "ItemDone"),
        "Completed"
      ]
    }
  },
  {
    name: "a model that fails in the middle of an answer leaves nothing of it, and the turns before it stay",
    agent: clerk,
    script: [
      calls(add(1, 2, "c1")),
      ModelScripted.fail(new ModelError.Transport({ description: "cut" }), {
        of: ModelScripted.text(["half ", "an answer"]),
        after: 1
      })
    ],
    expect: {
      outcome: modelFails("Transport", /cut/),
      history: [["user: go", ...added]],
      seen: [1, 3],
      ran: ["add 1 2"],
      events: [
        "RunStarted",
        ...turn(1, "clerk", "ToolCallDelta", "ItemDone", "ToolStarted c1", "ToolFinished c1"),
        ...["TurnStarted 2 clerk", "TextDelta"]
      ]
    }
  },
  {
    name:
      "interrupted while the model is asked: the request is aborted, whole turns are kept, and the next run goes on",
    agent: clerk,
    script: [calls(add(1, 2, "c1")), ModelScripted.hang(), says("3")],
    steps: [cut("go", { requests: 2 }), say([])],
    expect: {
      outcome: [{ interrupted: true }, answers("3", { turns: 1 })],
      history: [["user: go", ...added], ["assistant: 3"]],
      seen: [1, 3, 3],
      usage: 1,
      ran: ["add 1 2"],
      aborted: 1
    }
  },
  {
    name:
      "interrupted while a tool runs: the turn is kept, the tool beside it with its output, and the next run is valid",
    agent: clerk,
    script: [calls(add(1, 2, "c1"), call("hang", {}, "c2")), says("Hello.")],
    steps: [cut("go", { ran: "hang" }), say("again")],
    expect: {
      outcome: [{ interrupted: true }, answers("Hello.")],
      history: [
        ["user: go", ...added.slice(0, 1), "c2: hang{}", ...added.slice(1), unfinished("hang", "c2")],
        ["user: again", "assistant: Hello."]
      ],
      seen: [1, 6],
      usage: 1,
      ran: ["add 1 2", "hang", "hang interrupted"]
    }
  },
  {
    name: "interrupted while an agent called like a tool runs one: all of it stops",
    agent: asking,
    script: [calls(call("ask", { input: "why?" }, "a")), calls(call("hang", {}, "c1")), says("Hello.")],
    steps: [cut("go", { ran: "hang" }), say("again")],
    expect: {
      outcome: [{ interrupted: true }, answers("Hello.")],
      history: [
        [
          "user: go",
          `a: ask{"input":"why?"}`,
          `a = Error: "ask" was stopped before it answered.\nThe calls that it made before:\n` +
          `hang({}): ${unfinished("hang", "c1").replace("c1 = ", "")}`
        ],
        ["user: again", "assistant: Hello."]
      ],
      seen: [1, 1, 4],
      usage: 1,
      ran: ["hang", "hang interrupted"]
    }
  },
  {
    name: "nobody listens: the run comes to its end and stores it",
    agent: clerk,
    script: [calls(add(1, 2, "c1")), says("3")],
    steps: [leave("go")],
    expect: {
      outcome: answers("3"),
      history: [["user: go", ...added], ["assistant: 3"]],
      seen: [1, 3],
      ran: ["add 1 2"]
    }
  },
  {
    name:
      "told to stop after the turn: its tools finish and are stored, the model is not asked again, and a resume goes on",
    agent: clerk,
    script: [calls(add(1, 2, "c1"), call("count", {}, "c2")), says("done")],
    steps: [say("go", { stopAfterTurn: Effect.as(note("asked"), true) }), goOn()],
    expect: {
      outcome: [stops("Stopped", /after turn 1/), answers("done", { turns: 2 })],
      history: [
        ["user: go", `c1: add{"a":1,"b":2}`, "c2: count{}", "c1 = 3", "c2 = 3"],
        ["assistant: done"]
      ],
      seen: [1, 5],
      ran: ["add 1 2", "count", "asked"]
    }
  },
  {
    name: "told to stop after the turn that answers: the answer is not held back",
    agent: clerk,
    script: [says("done")],
    options: { stopAfterTurn: Effect.succeed(true) },
    expect: { outcome: answers("done"), history: [["user: go", "assistant: done"]], seen: [1] }
  }
]
