import { Agent, Guardrail, Item, ModelError, ModelScripted, RunError } from "agent-layers"
import { Effect, Option, Schema } from "effect"
import { Toolkit } from "effect/ai"
import type { Row } from "./play.ts"
import { answers, modelFails, stops } from "./play.ts"
import { Add, add, call, calls, Draw, note, says, Search, searched } from "./tools.ts"

const plain = Agent.make({ name: "plain" })
const calculator = Agent.make({ name: "calculator", instructions: "You add.", toolkit: Toolkit.make(Add) })
const Numbers = Schema.Struct({ n: Schema.Finite })
const numbers = Agent.make({ name: "numbers", output: Numbers })

/** A final answer in place of an error of this reason. */
const recover = (reason: string, value: unknown) => (error: RunError.RunError | ModelError.ModelError) =>
  Effect.succeed(error.reason._tag === reason ? Option.some(value) : Option.none())

const polite = Guardrail.output<any, never, any>({
  name: "polite",
  check: ({ finalOutput }) => Effect.as(note(`polite ${JSON.stringify(finalOutput)}`), Guardrail.pass())
})

export const turns: ReadonlyArray<Row> = [
  {
    name: "a text is the answer",
    agent: plain,
    script: [says("Hello.")],
    input: "hi",
    expect: {
      outcome: answers("Hello.", { by: "plain", turns: 1, version: 1 }),
      history: [["user: hi", "assistant: Hello."]],
      seen: [["user: hi"]],
      asked: [{ tools: [], handoffs: [], instructions: undefined }],
      spent: { plain: 1 }
    }
  },
  {
    name: "tools are run until there is an answer, each turn is one commit, and the whole is sent each time",
    agent: calculator,
    script: [calls(add(1, 2, "c1")), calls(add(3, 3, "c2")), says("6")],
    expect: {
      outcome: answers("6", { turns: 3, version: 3 }),
      history: [
        ["user: go", `c1: add{"a":1,"b":2}`, "c1 = 3"],
        [`c2: add{"a":3,"b":3}`, "c2 = 6"],
        ["assistant: 6"]
      ],
      seen: [1, 3, ["user: go", `c1: add{"a":1,"b":2}`, "c1 = 3", `c2: add{"a":3,"b":3}`, "c2 = 6"]],
      asked: [{ tools: ["add"], instructions: "You add." }],
      ran: ["add 1 2", "add 3 3"]
    }
  },
  {
    name: "what a request cost is counted as the provider says",
    agent: calculator,
    script: [
      ModelScripted.calls([add(1, 2, "c1")], { usage: { inputTokens: 100, cachedTokens: 60, outputTokens: 1 } }),
      ModelScripted.text("3", { usage: { inputTokens: 200, outputTokens: 9, reasoningTokens: 8, requests: 3 } })
    ],
    expect: {
      outcome: answers("3"),
      history: [["user: go", `c1: add{"a":1,"b":2}`, "c1 = 3"], ["assistant: 3"]],
      seen: [1, 3],
      usage: { requests: 4, inputTokens: 300, outputTokens: 10, cachedTokens: 60, reasoningTokens: 8 },
      ran: ["add 1 2"]
    }
  },
  {
    name: "a model that never answers ends the run after its turns, with all of them stored",
    agent: calculator,
    script: [calls(add(1, 0, "c1")), calls(add(2, 0, "c2"))],
    options: { maxTurns: 2 },
    expect: {
      outcome: stops("MaxTurnsExceeded", /^calculator: No final answer after 2 turns/),
      history: [
        ["user: go", `c1: add{"a":1,"b":0}`, "c1 = 1"],
        [`c2: add{"a":2,"b":0}`, "c2 = 2"]
      ],
      seen: [1, 3],
      ran: ["add 1 0", "add 2 0"],
      events: [
        "RunStarted",
        ...[
          "TurnStarted 1 calculator",
          "ToolCallDelta",
          "ItemDone",
          "ToolStarted c1",
          "ToolFinished c1",
          "Committed 1"
        ],
        ...["TurnStarted 2 calculator", "ToolCallDelta", "ItemDone", "ToolStarted c2", "ToolFinished c2", "Committed 2"]
      ]
    }
  },
  {
    name: "an answer in place of too many turns is stored as the agent's own",
    agent: calculator,
    script: [calls(add(1, 0, "c1"))],
    options: { maxTurns: 1, recover: recover("MaxTurnsExceeded", "I give up.") },
    expect: {
      outcome: answers("I give up.", { turns: 1, version: 2 }),
      history: [["user: go", `c1: add{"a":1,"b":0}`, "c1 = 1"], ["assistant: I give up."]],
      seen: [1],
      ran: ["add 1 0"]
    }
  },
  {
    name: "an answer in place of too many turns that has not the agent's shape is an error, not a result",
    agent: Agent.make({ name: "numbers", output: Numbers, toolkit: Toolkit.make(Add) }),
    script: [calls(add(1, 0, "c1"))],
    options: { maxTurns: 1, recover: recover("MaxTurnsExceeded", { n: "many" }) },
    expect: {
      outcome: stops("InvalidFinalOutput", /what `recover` answered is not an output of the agent/),
      history: [["user: go", `c1: add{"a":1,"b":0}`, "c1 = 1"]],
      seen: [1],
      ran: ["add 1 0"]
    }
  },
  {
    name: "an answer without the shape is an error that holds it, and nothing of the turn is stored",
    agent: numbers,
    script: [says(`{"n":"one"}`)],
    expect: {
      outcome: stops("InvalidFinalOutput", /does not decode by the agent's output schema: .*\["n"\]/s, {
        state: ["user: go", `assistant: {"n":"one"}`]
      }),
      history: [],
      seen: [1]
    }
  },
  {
    name: "an answer in place of one without the shape passes hooks and guardrails, and no tool runs again",
    agent: Agent.make({ name: "numbers", output: Numbers, toolkit: Toolkit.make(Add), outputGuardrails: [polite] }),
    script: [calls(add(1, 2, "c1")), says("three")],
    options: {
      recover: recover("InvalidFinalOutput", { n: 0 }),
      hooks: { onAgentEnd: (_, finalOutput) => note(`end ${JSON.stringify(finalOutput)}`) }
    },
    expect: {
      outcome: answers({ n: 0 }, { turns: 2, version: 2 }),
      history: [["user: go", `c1: add{"a":1,"b":2}`, "c1 = 3"], [`assistant: {"n":0}`]],
      seen: [1, 3],
      ran: ["add 1 2", `polite {"n":0}`, `end {"n":0}`],
      guardrails: ["output polite passed"]
    }
  },
  {
    name:
      "an answer without the shape is asked for again within the budget, and neither it nor the complaint is stored",
    agent: Agent.make({ name: "numbers", output: Numbers, outputRepairs: 1 }),
    script: [says(`{"n":"one"}`), says(`{"n":1}`)],
    expect: {
      outcome: answers({ n: 1 }, { turns: 2, version: 1 }),
      history: [["user: go", `assistant: {"n":1}`]],
      seen: [
        1,
        [
          "user: go",
          `assistant: {"n":"one"}`,
          `user: Your answer does not have the shape that was asked for: Expected number\n  at ["n"]. ` +
          "Answer again with nothing but that."
        ]
      ]
    }
  },
  {
    name: "an answer without the shape is an error once the budget is spent",
    agent: Agent.make({ name: "numbers", output: Numbers, outputRepairs: 1 }),
    script: [says(`{"n":"one"}`), says(`{"n":"two"}`)],
    expect: {
      outcome: stops("InvalidFinalOutput", /"n"/, { state: ["user: go", `assistant: {"n":"two"}`] }),
      history: [],
      seen: [1, 3]
    }
  },
  {
    name: "a shape is asked for again where the text is empty, and an empty text is an answer where none was",
    agent: numbers,
    script: [says(""), says(`{"n":1}`)],
    expect: {
      outcome: answers({ n: 1 }, { turns: 2 }),
      history: [["user: go", "assistant: "], [`assistant: {"n":1}`]],
      seen: [1, 2]
    }
  },
  {
    name: "an empty text is an answer",
    agent: plain,
    script: [says("")],
    expect: { outcome: answers("", { turns: 1 }), history: [["user: go", "assistant: "]], seen: [1] }
  },
  {
    name: "a list is asked for inside an object, and comes out as a list",
    agent: Agent.make({ name: "lister", output: Schema.Array(Schema.Number) }),
    script: [says(`{"response":[1,2]}`)],
    expect: { outcome: answers([1, 2]), history: [["user: go", `assistant: {"response":[1,2]}`]], seen: [1] }
  },
  {
    name: "a refusal is an answer in text",
    agent: plain,
    script: [ModelScripted.refusal("I will not.")],
    expect: { outcome: answers("I will not."), history: [["user: go", "assistant: I will not."]], seen: [1] }
  },
  {
    name: "a refusal is an error where a shape was asked for",
    agent: numbers,
    script: [ModelScripted.refusal("I will not.")],
    expect: { outcome: modelFails("Refused", /refused to answer/), history: [], seen: [1] }
  },
  {
    name: "a refusal may be given an answer in its place",
    agent: numbers,
    script: [ModelScripted.refusal("I will not.")],
    options: { recover: recover("Refused", { n: -1 }) },
    expect: { outcome: answers({ n: -1 }), history: [["user: go", `assistant: {"n":-1}`]], seen: [1] }
  },
  {
    name: "a text that was cut off says so",
    agent: plain,
    script: [ModelScripted.incomplete("max_output_tokens", says("half an"))],
    expect: {
      outcome: answers("half an", { cutOff: "max_output_tokens" }),
      history: [["user: go", "assistant: half an"]],
      seen: [1]
    }
  },
  {
    name: "a shape that was cut off is not decoded",
    agent: numbers,
    script: [ModelScripted.incomplete("max_output_tokens", says(`{"n":1}`))],
    expect: { outcome: modelFails("InvalidOutput", /max_output_tokens/), history: [], seen: [1] }
  },
  {
    name: "a response that was cut off starts no tool, and its calls are answered",
    agent: calculator,
    script: [ModelScripted.incomplete("max_output_tokens", calls(add(1, 2, "c1"), add(3, 4, "c2"))), says("ok")],
    expect: {
      outcome: answers("ok"),
      history: [
        [
          "user: go",
          `c1: add{"a":1,"b":2}`,
          `c2: add{"a":3,"b":4}`,
          `c1 = Error: Tool "add" was not run: the response was cut off before it was complete. Call it again.`,
          `c2 = Error: Tool "add" was not run: the response was cut off before it was complete. Call it again.`
        ],
        ["assistant: ok"]
      ],
      seen: [1, 5],
      ran: []
    }
  },
  {
    name: "a response with nothing in it is an error, and not asked for for ever",
    agent: plain,
    script: [ModelScripted.items([])],
    expect: { outcome: modelFails("InvalidOutput", /answered with nothing/), history: [], seen: [1] }
  },
  {
    name: "reasoning stays before the call that it led to, stored and sent",
    agent: calculator,
    script: [ModelScripted.reasoned("hm", calls(add(1, 2, "c1"))), ModelScripted.reasoned("so", says("3"))],
    expect: {
      outcome: answers("3"),
      history: [
        ["user: go", "thinks: hm", `c1: add{"a":1,"b":2}`, "c1 = 3"],
        ["thinks: so", "assistant: 3"]
      ],
      seen: [1, ["user: go", "thinks: hm", `c1: add{"a":1,"b":2}`, "c1 = 3"]],
      ran: ["add 1 2"]
    }
  },
  {
    name: "reasoning that led to nothing is not stored",
    agent: calculator,
    script: [
      ModelScripted.items([
        Item.functionCall({ callId: "c1", name: "add", arguments: `{"a":1,"b":2}` }),
        { type: "reasoning", id: "rs_late", summary: [{ type: "summary_text", text: "late" }] }
      ]),
      says("3")
    ],
    expect: {
      outcome: answers("3"),
      history: [["user: go", `c1: add{"a":1,"b":2}`, "c1 = 3"], ["assistant: 3"]],
      seen: [1, 3],
      ran: ["add 1 2"]
    }
  },
  {
    name: "what a provider ran itself is kept, and the model goes on after it",
    agent: Agent.make({ name: "searcher", toolkit: Toolkit.make(Search({})) }),
    script: [ModelScripted.items([searched]), says("found")],
    expect: {
      outcome: answers("found", { turns: 2 }),
      history: [["user: go", "web_search_call"], ["assistant: found"]],
      seen: [1, ["user: go", "web_search_call"]],
      asked: [{ tools: ["web_search"] }]
    }
  },
  {
    name: "a call that comes again word for word is not run again",
    agent: calculator,
    script: [calls(add(1, 2, "same")), calls(add(1, 2, "same")), says("3")],
    expect: {
      outcome: answers("3"),
      history: [["user: go", `same: add{"a":1,"b":2}`, "same = 3"], ["assistant: 3"]],
      seen: [1, 3, 3],
      ran: ["add 1 2"]
    }
  },
  {
    name: "the id of a call that comes again for another call is an error before any handler",
    agent: calculator,
    script: [calls(add(1, 2, "same")), calls(add(9, 9, "same"))],
    expect: {
      outcome: modelFails("InvalidOutput", /Call id "same" came again for another call/),
      history: [["user: go", `same: add{"a":1,"b":2}`, "same = 3"]],
      seen: [1, 3],
      ran: ["add 1 2"]
    }
  },
  {
    name: "an image that a tool answers with is stored as it is sent",
    agent: Agent.make({ name: "painter", toolkit: Toolkit.make(Draw) }),
    script: [calls(call("draw", {}, "c1")), says("There.")],
    expect: {
      outcome: answers("There."),
      history: [["user: go", "c1: draw{}", "c1 = a dot [input_image]"], ["assistant: There."]],
      seen: [1, ["user: go", "c1: draw{}", "c1 = a dot [input_image]"]],
      ran: ["draw"]
    }
  }
]
