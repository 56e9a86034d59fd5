import { Agent, Handoff, InputFilter } from "agent-layers"
import { Effect, Schema } from "effect"
import { Toolkit } from "effect/ai"
import type { Row } from "./play.ts"
import { answers, say, stops } from "./play.ts"
import { Add, add, call, calls, Look, look, note, says, Wait, wait } from "./tools.ts"

const lookup = Toolkit.make(Look)

const billing = Agent.make({
  name: "Billing",
  description: "Knows invoices.",
  instructions: "You bill.",
  toolkit: lookup,
  model: "large"
})
const refunds = Agent.make({ name: "Refunds", output: Schema.Struct({ amount: Schema.Number }) })
const triage = Agent.make({
  name: "Triage",
  instructions: "You sort.",
  model: "small",
  toolkit: Toolkit.make(Look, Wait),
  handoffs: [billing, refunds]
})
const ping: Agent.Agent<string> = Agent.make({ name: "Ping", handoffs: () => [pong] })
const pong: Agent.Agent<string> = Agent.make({ name: "Pong", handoffs: () => [ping] })

const twice = Agent.make({ name: "Twice", handoffs: [refunds, Handoff.to(refunds)] })

const to = (name: string, callId: string, args: unknown = {}) => call(`transfer_to_${name}`, args, callId)

const toBilling = [`h: transfer_to_billing{}`, `h = {"assistant":"Billing"}`]

const none = "No handoff was made: another one of the same response comes first."

const models = (small: ReadonlyArray<ReturnType<typeof says>>, large: ReadonlyArray<ReturnType<typeof says>>) => ({
  small,
  large
})

/** Each agent hands the conversation on to the next, which sees it as a transcript. */
const third = Agent.make({ name: "Third" })
const second = Agent.make({ name: "Second", handoffs: [Handoff.to(third, { filter: InputFilter.nestHistory() })] })
const first = Agent.make({
  name: "First",
  toolkit: lookup,
  handoffs: [Handoff.to(second, { filter: InputFilter.nestHistory() })]
})

const transcript = (...lines: ReadonlyArray<string>) =>
  [
    "assistant: What was said and done before, oldest first:",
    "<CONVERSATION HISTORY>",
    ...lines,
    "</CONVERSATION HISTORY>"
  ].join("\n")

export const handoffs: ReadonlyArray<Row> = [
  {
    name: "the other agent goes on with its own instructions, tools and model, and its usage is its own",
    agent: triage,
    script: models([calls(to("billing", "h"))], [calls(look("x", "c1")), says("Paid.")]),
    expect: {
      outcome: answers("Paid.", { by: "Billing", turns: 3 }),
      history: [
        ["user: go", ...toBilling],
        [`c1: look{"at":"x"}`, "c1 = saw x"],
        ["assistant: Paid."]
      ],
      seen: [1, 3, 5],
      asked: [
        {
          model: "small",
          instructions: "You sort.",
          tools: ["look", "wait"],
          handoffs: ["transfer_to_billing", "transfer_to_refunds"],
          handoffsSay: [
            `Hands the conversation to the agent "Billing". Knows invoices.`,
            `Hands the conversation to the agent "Refunds".`
          ]
        },
        { model: "large", instructions: "You bill.", tools: ["look"], handoffs: [] },
        { model: "large", instructions: "You bill.", tools: ["look"], handoffs: [] }
      ],
      spent: { Triage: 1, Billing: 2 },
      ran: ["look x"],
      events: [
        "RunStarted",
        ...["TurnStarted 1 Triage", "ToolCallDelta", "ItemDone", "Committed 1", "HandedOff h Triage Billing"],
        ...["TurnStarted 2 Billing", "ToolCallDelta", "ItemDone", "ToolStarted c1", "ToolFinished c1", "Committed 2"],
        ...["TurnStarted 3 Billing", "TextDelta", "ItemDone", "Committed 3", "Completed"]
      ]
    }
  },
  {
    name: "of two handoffs the first is made, and the other call has an output that says so",
    agent: triage,
    script: [calls(to("refunds", "a"), to("billing", "b")), says(`{"amount":3}`)],
    expect: {
      outcome: answers({ amount: 3 }, { by: "Refunds", turns: 2 }),
      history: [
        [
          "user: go",
          "a: transfer_to_refunds{}",
          "b: transfer_to_billing{}",
          `a = {"assistant":"Refunds"}`,
          `b = ${none}`
        ],
        [`assistant: {"amount":3}`]
      ],
      seen: [1, 5]
    }
  },
  {
    name: "of two handoffs the first is made, in the other order too",
    agent: triage,
    script: [calls(to("billing", "b"), to("refunds", "a")), says("Paid.")],
    expect: {
      outcome: answers("Paid.", { by: "Billing", turns: 2 }),
      history: [
        [
          "user: go",
          "b: transfer_to_billing{}",
          "a: transfer_to_refunds{}",
          `b = {"assistant":"Billing"}`,
          `a = ${none}`
        ],
        ["assistant: Paid."]
      ],
      seen: [1, 5]
    }
  },
  ...([[0, 1, 2], [1, 0, 2], [1, 2, 0]] as const).map((order, position): Row => {
    const three = [to("billing", "h"), wait(20, "w"), look("x", "l")]
    const written = ["h: transfer_to_billing{}", `w: wait{"ms":20}`, `l: look{"at":"x"}`]
    const outputs = [`h = {"assistant":"Billing"}`, "w = waited 20", "l = saw x"]
    return {
      name: `a slow tool beside a handoff is waited for and drops nothing, the handoff ${
        ["first", "between", "last"][position]
      }`,
      agent: triage,
      script: [calls(...order.map((index) => three[index]!)), says("Paid.")],
      clock: "10 millis",
      expect: {
        outcome: answers("Paid.", { by: "Billing", turns: 2 }),
        history: [
          ["user: go", ...order.map((index) => written[index]!), ...order.map((index) => outputs[index]!)],
          ["assistant: Paid."]
        ],
        seen: [1, 7],
        ran: ["begin 20", "look x", "end 20"]
      }
    }
  }),
  {
    name: "a handoff wins over a text in the same response",
    agent: triage,
    script: [
      { ...calls(to("billing", "h")), parts: [...says("I think so.").parts, ...calls(to("billing", "h")).parts] },
      says("Paid.")
    ],
    expect: {
      outcome: answers("Paid.", { by: "Billing", turns: 2 }),
      history: [["user: go", "assistant: I think so.", ...toBilling], ["assistant: Paid."]],
      seen: [1, 4]
    }
  },
  {
    name: "an input that does not decode goes back to the model, and no handoff is made until it does",
    agent: Agent.make({
      name: "Front",
      handoffs: [
        Handoff.to(refunds, {
          toolName: "escalate",
          input: Schema.Struct({ why: Schema.Literals(["angry", "lost"]) }),
          onHandoff: ({ why }) => note(`escalated: ${why}`)
        })
      ]
    }),
    script: [
      calls(call("escalate", `{"why":"angry"`, "a")),
      calls(call("escalate", { why: "angry" }, "b")),
      says(`{"amount":1}`)
    ],
    expect: {
      outcome: answers({ amount: 1 }, { by: "Refunds", turns: 3 }),
      history: [
        [
          "user: go",
          `a: escalate{"why":"angry"`,
          `a = Error: The arguments of "escalate" are not valid: Expected a valid JSON string. Call it again.`
        ],
        [`b: escalate{"why":"angry"}`, `b = {"assistant":"Refunds"}`],
        [`assistant: {"amount":1}`]
      ],
      seen: [1, 3, 5],
      ran: ["escalated: angry"]
    }
  },
  {
    name: "a filter takes the tools from what the next agent sees, and nothing from what is stored",
    agent: Agent.make({
      name: "Front",
      toolkit: lookup,
      handoffs: [Handoff.to(billing, { filter: InputFilter.removeTools })]
    }),
    script: [calls(look("x", "c1")), calls(to("billing", "h")), says("Done.")],
    expect: {
      outcome: answers("Done.", { by: "Billing" }),
      history: [["user: go", `c1: look{"at":"x"}`, "c1 = saw x"], toBilling, ["assistant: Done."]],
      seen: [1, 3, ["user: go"]],
      ran: ["look x"]
    }
  },
  {
    name: "a filter that leaves half a pair is mended before the next agent sees it",
    agent: Agent.make({
      name: "Front",
      handoffs: [Handoff.to(billing, { filter: (items) => items.slice(0, -1) })]
    }),
    script: [calls(to("billing", "h")), says("Done.")],
    expect: {
      outcome: answers("Done.", { by: "Billing" }),
      history: [["user: go", ...toBilling], ["assistant: Done."]],
      seen: [1, ["user: go"]]
    }
  },
  {
    name: "over two handoffs a transcript has each message once, and the session has all as it was",
    agent: first,
    script: [calls(look("x", "c1")), calls(to("second", "h1")), calls(to("third", "h2")), says("Done.")],
    expect: {
      outcome: answers("Done.", { by: "Third", turns: 4 }),
      history: [
        ["user: go", `c1: look{"at":"x"}`, "c1 = saw x"],
        ["h1: transfer_to_second{}", `h1 = {"assistant":"Second"}`],
        ["h2: transfer_to_third{}", `h2 = {"assistant":"Third"}`],
        ["assistant: Done."]
      ],
      seen: [
        1,
        3,
        [
          transcript(
            "(here came the message that follows this history)",
            `call c1: look {"at":"x"}`,
            "output c1: saw x",
            "call h1: transfer_to_second {}",
            `output h1: {"assistant":"Second"}`
          ),
          "user: go"
        ],
        [
          transcript(
            "(here came the message that follows this history)",
            `call c1: look {"at":"x"}`,
            "output c1: saw x",
            "call h1: transfer_to_second {}",
            `output h1: {"assistant":"Second"}`,
            "call h2: transfer_to_third {}",
            `output h2: {"assistant":"Third"}`
          ),
          "user: go"
        ]
      ],
      ran: ["look x"]
    }
  },
  {
    name: "a handoff that is not enabled is neither shown nor made",
    agent: Agent.make({
      name: "Night",
      handoffs: [Handoff.to(billing, { isEnabled: Effect.succeed(false) })]
    }),
    script: [calls(to("billing", "h")), says("Closed.")],
    expect: {
      outcome: answers("Closed.", { by: "Night" }),
      history: [
        [
          "user: go",
          "h: transfer_to_billing{}",
          `h = Error: The handoff "transfer_to_billing" is not available.`
        ],
        ["assistant: Closed."]
      ],
      seen: [1, 3],
      asked: [{ handoffs: [] }]
    }
  },
  {
    name: "agents may hand off in circles, and each run of the conversation begins with its own agent",
    agent: ping,
    script: [calls(to("pong", "a")), calls(to("ping", "b")), says("Done."), says("Still here.")],
    steps: [say("go"), say("and now?")],
    expect: {
      outcome: [answers("Done.", { by: "Ping", turns: 3 }), answers("Still here.", { by: "Ping", turns: 1 })],
      history: [
        ["user: go", "a: transfer_to_pong{}", `a = {"assistant":"Pong"}`],
        ["b: transfer_to_ping{}", `b = {"assistant":"Ping"}`],
        ["assistant: Done."],
        ["user: and now?", "assistant: Still here."]
      ],
      seen: [1, 3, 5, 7],
      usage: 1
    }
  },
  {
    name: "two handoffs of one name are refused before the model is asked",
    agent: twice,
    script: [],
    expect: {
      outcome: stops("InvalidOptions", /are called "transfer_to_refunds": give one of them another name/),
      history: [],
      seen: []
    }
  },
  {
    name: "an agent that cannot be run is refused before the model of the one is asked that may hand off to it",
    agent: Agent.make({ name: "Before", handoffs: [twice] }),
    script: [],
    expect: { outcome: stops("InvalidOptions", /are called "transfer_to_refunds"/), history: [], seen: [] }
  },
  {
    name: "a response that was cut off makes no handoff",
    agent: triage,
    script: [{ ...calls(to("billing", "h")), incomplete: "max_output_tokens" }, says("Which?")],
    expect: {
      outcome: answers("Which?", { by: "Triage" }),
      history: [
        [
          "user: go",
          "h: transfer_to_billing{}",
          "h = Error: No handoff was made: the response was cut off before it was complete. Call it again."
        ],
        ["assistant: Which?"]
      ],
      seen: [1, 3]
    }
  },
  {
    name: "what onHandoff fails with is what the run fails with, and the tool that ran is kept",
    agent: Agent.make({
      name: "Front",
      toolkit: Toolkit.make(Add),
      handoffs: [Handoff.to(billing, { onHandoff: () => Effect.fail("closed" as const) })]
    }),
    script: [calls(add(1, 2, "c1"), to("billing", "h"))],
    expect: {
      outcome: { error: "closed" },
      history: [
        [
          "user: go",
          `c1: add{"a":1,"b":2}`,
          "h: transfer_to_billing{}",
          "c1 = 3",
          `h = Error: "transfer_to_billing" was not run: the run stopped first.`
        ]
      ],
      seen: [1],
      ran: ["add 1 2"]
    }
  }
]
