import { Agent, History, Item, ModelError, ModelScripted } from "agent-layers"
import { Effect } from "effect"
import { Toolkit } from "effect/ai"
import { note, Ran } from "../support.ts"
import type { Row } from "./play.ts"
import { answers, goOn, modelFails, say, stops } from "./play.ts"
import { Add, add, calls, says } from "./tools.ts"

const plain = Agent.make({ name: "plain" })
const clerk = Agent.make({ name: "clerk", toolkit: Toolkit.make(Add) })

const added = [`c1: add{"a":1,"b":2}`, "c1 = 3"]

const told = (name: string) => () => note(name)

export const options: ReadonlyArray<Row> = [
  {
    name: "instructions are an Effect, run before every model call",
    agent: Agent.make({
      name: "clerk",
      toolkit: Toolkit.make(Add),
      instructions: Ran.use((list) => Effect.sync(() => `${list.push("instructions")} so far`))
    }),
    script: [calls(add(1, 2, "c1")), says("3")],
    expect: {
      outcome: answers("3"),
      history: [["user: go", ...added], ["assistant: 3"]],
      seen: [1, 3],
      asked: [{ instructions: "1 so far" }, { instructions: "3 so far" }],
      ran: ["instructions", "add 1 2", "instructions"]
    }
  },
  {
    name: "instructions that fail end the run before the model is asked",
    agent: Agent.make({ name: "plain", instructions: Effect.fail("nobody" as const) }),
    script: [],
    expect: { outcome: { error: "nobody" }, history: [], seen: [] }
  },
  {
    name: "the run's model and settings win over the agent's, field by field",
    agent: Agent.make({
      name: "plain",
      model: "small",
      settings: { temperature: 0.1, maxOutputTokens: 10 },
      prompt: { id: "prompt_1" }
    }),
    script: { small: [says("1")], large: [says("2")] },
    steps: [say("one"), say("two", { model: "large", settings: { temperature: 0.9, maxOutputTokens: undefined } })],
    expect: {
      outcome: [answers("1"), answers("2")],
      history: [["user: one", "assistant: 1"], ["user: two", "assistant: 2"]],
      seen: [1, 3],
      asked: [
        { model: "small", settings: { temperature: 0.1, maxOutputTokens: 10 }, prompt: { id: "prompt_1" } },
        { model: "large", settings: { temperature: 0.9, maxOutputTokens: 10 }, prompt: { id: "prompt_1" } }
      ],
      usage: 1
    }
  },
  {
    name: "a model that nobody knows is an error before anything is stored",
    agent: plain,
    script: { small: [] },
    options: { model: "huge" },
    expect: { outcome: modelFails("UnknownModel", /huge/), history: [], seen: [] }
  },
  {
    name: "hooks are called in their order, and what filters say is sent and not stored",
    agent: clerk,
    script: [calls(add(1, 2, "c1")), says("3")],
    options: {
      hooks: {
        onRunStart: told("run"),
        onAgentStart: told("agent"),
        onTurnStart: told("turn"),
        onModelStart: told("model"),
        onModelEnd: told("answer"),
        onToolStart: told("tool"),
        onToolEnd: told("output"),
        onAgentEnd: told("final"),
        onRunEnd: told("end")
      },
      history: (history, input) => Effect.succeed([...history, Item.system("Be brief."), ...input]),
      inputFilter: ({ input, instructions }) =>
        Effect.succeed({ instructions: `${instructions ?? "none"}, filtered`, input: input.slice(-3) })
    },
    expect: {
      outcome: answers("3"),
      history: [["user: go", ...added], ["assistant: 3"]],
      seen: [["system: Be brief.", "user: go"], ["user: go", ...added]],
      asked: [{ instructions: "none, filtered" }],
      ran: [
        ...["run", "agent", "turn", "model", "answer", "tool", "add 1 2", "output"],
        ...["turn", "model", "answer", "final", "end"]
      ]
    }
  },
  {
    name: "a hook that fails after a tool ends the run, and the tool is kept",
    agent: clerk,
    script: [calls(add(1, 2, "c1"))],
    options: { hooks: { onToolEnd: () => Effect.fail("too much") } },
    expect: {
      outcome: { error: "too much" },
      history: [["user: go", `c1: add{"a":1,"b":2}`, "c1 = 3"]],
      seen: [1],
      ran: ["add 1 2"]
    }
  },
  {
    name: "a filter that repeats items and leaves half pairs is mended for the model, and the session has all",
    agent: clerk,
    script: [calls(add(1, 2, "c1")), says("3")],
    options: {
      inputFilter: ({ input, instructions }) =>
        Effect.succeed({
          instructions,
          input: [
            Item.functionCallOutput("gone", "late"),
            ...input,
            ...input.filter((item) => !Item.isMessage(item)),
            Item.functionCall({ callId: "open", name: "add", arguments: "{}" })
          ]
        })
    },
    expect: {
      outcome: answers("3"),
      history: [["user: go", ...added], ["assistant: 3"]],
      seen: [["user: go"], ["user: go", ...added]],
      ran: ["add 1 2"]
    }
  },
  {
    name: "a filter that fails ends the run before the model is asked",
    agent: plain,
    script: [],
    options: { inputFilter: () => Effect.fail("no") },
    expect: { outcome: { error: "no" }, history: [], seen: [] }
  },
  {
    name: "what a history callback repeats is shown and not stored, over three turns each text is there once",
    agent: plain,
    script: [says("1"), says("2"), says("3")],
    options: { history: (history, input) => Effect.succeed([...history.slice(0, 1), ...history, ...input]) },
    steps: [say("one"), say("two"), say("three")],
    expect: {
      outcome: [answers("1"), answers("2"), answers("3")],
      history: [["user: one", "assistant: 1"], ["user: two", "assistant: 2"], ["user: three", "assistant: 3"]],
      seen: [
        ["user: one"],
        ["user: one", "user: one", "assistant: 1", "user: two"],
        ["user: one", "user: one", "assistant: 1", "user: two", "assistant: 2", "user: three"]
      ],
      usage: 1
    }
  },
  {
    name: "what a history callback leaves out of the input is stored all the same, and what it adds is not",
    agent: plain,
    script: [says("Hello.")],
    options: { history: () => Effect.succeed([Item.user("something else")]) },
    input: "hi",
    expect: {
      outcome: answers("Hello."),
      history: [["user: hi", "assistant: Hello."]],
      seen: [["user: something else"]]
    }
  },
  {
    name: "a provider that keeps the conversation is sent what is new after its response, and nothing is stored here",
    agent: clerk,
    script: [calls(add(1, 2, "c1")), says("3"), says("4")],
    options: { conversationId: undefined },
    steps: [say("go", { previousResponseId: "resp_0" }), say("more", { previousResponseId: "resp_2" })],
    expect: {
      outcome: [answers("3"), answers("4")],
      seen: [["user: go"], ["c1 = 3"], ["user: more"]],
      asked: [
        { previousResponseId: "resp_0" },
        { previousResponseId: "resp_1" },
        { previousResponseId: "resp_2" }
      ],
      usage: 1,
      ran: ["add 1 2"]
    }
  },
  {
    name: "a conversation of the provider's own takes what is new over three turns",
    agent: clerk,
    script: [calls(add(1, 2, "c1")), calls(add(3, 4, "c2")), says("7")],
    options: { conversationId: undefined, providerConversationId: "conv_theirs" },
    expect: {
      outcome: answers("7"),
      seen: [["user: go"], ["c1 = 3"], ["c2 = 7"]],
      asked: Array.from({ length: 3 }, () => ({
        providerConversationId: "conv_theirs",
        previousResponseId: undefined
      })),
      ran: ["add 1 2", "add 3 4"]
    }
  },
  {
    name: "what a provider has not taken yet is sent again by a resume, once",
    agent: clerk,
    script: [
      calls(add(1, 2, "c1")),
      ModelScripted.fail(new ModelError.Transport({ description: "gone" })),
      says("3")
    ],
    options: { conversationId: undefined, providerConversationId: "conv_theirs" },
    steps: [say("go", { stopAfterTurn: Effect.succeed(true) }), goOn(), goOn()],
    expect: {
      outcome: [stops("Stopped"), modelFails("Transport", /gone/), answers("3", { turns: 2 })],
      seen: [["user: go"], ["c1 = 3"], ["c1 = 3"]],
      usage: 2,
      ran: ["add 1 2"]
    }
  },
  {
    name: "a session and a provider that keeps the conversation exclude each other, before the model is asked",
    agent: plain,
    script: [],
    steps: [
      say("go", { previousResponseId: "resp_0" }),
      say("go", { providerConversationId: "conv_theirs" }),
      say("go", { conversationId: undefined, previousResponseId: "resp_0", providerConversationId: "conv_theirs" })
    ],
    expect: {
      outcome: [
        stops("InvalidOptions", /give one of them/),
        stops("InvalidOptions", /give one of them/),
        stops("InvalidOptions", /a provider takes one of them/)
      ],
      history: [],
      seen: []
    }
  },
  {
    name: "a run that had too few turns goes on when it is given more",
    agent: clerk,
    script: [calls(add(1, 2, "c1")), says("3")],
    steps: [say("go", { maxTurns: 1 }), goOn(), goOn({ maxTurns: 2 })],
    expect: {
      outcome: [stops("MaxTurnsExceeded"), stops("MaxTurnsExceeded"), answers("3", { turns: 2 })],
      history: [["user: go", ...added], ["assistant: 3"]],
      seen: [1, 3],
      ran: ["add 1 2"]
    }
  },
  {
    name: "ten turns are given where nothing else is said",
    agent: clerk,
    script: (_request, n) => calls(add(n, 0, `c${n}`)),
    expect: {
      outcome: stops("MaxTurnsExceeded", /after 10 turns/),
      history: Array.from({ length: 10 }, (_, index) => [
        ...index === 0 ? ["user: go"] : [],
        `c${index + 1}: add{"a":${index + 1},"b":0}`,
        `c${index + 1} = ${index + 1}`
      ]),
      seen: Array.from({ length: 10 }, (_, index) => 1 + 2 * index),
      ran: Array.from({ length: 10 }, (_, index) => `add ${index + 1} 0`)
    }
  },
  {
    name: "a run without a conversation stores nothing, and sends a valid history all the same",
    agent: clerk,
    script: [
      calls(add(1, 2, "c1")),
      (request) => says(`valid: ${History.isValid(request.input as ReadonlyArray<Item.Item>)}`)
    ],
    options: { conversationId: undefined },
    expect: { outcome: answers("valid: true"), seen: [1, 3], ran: ["add 1 2"] }
  }
]
