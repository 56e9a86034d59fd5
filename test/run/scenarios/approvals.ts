import { Agent, Approval, Handoff, Item, ModelError, ModelScripted } from "agent-layers"
import { Effect } from "effect"
import { Toolkit } from "effect/ai"
import { kit, note } from "../support.ts"
import type { Row } from "./play.ts"
import { answers, approve, approveAlways, goOn, modelFails, reject, resume, say, stops, waits } from "./play.ts"
import { Add, add, call, calls, Find, look, pay, says } from "./tools.ts"

/** Made anew for each step, as after a deploy. */
const cashier = () => Agent.make({ name: "cashier", toolkit: kit })

const cashDesk = Agent.make({ name: "cashier", toolkit: kit })

const paid = (amount: number, id: string) => [`${id}: pay{"amount":${amount}}`, `${id} = paid ${amount}`]

const rejected = (id: string, reason = "") =>
  `${id} = Error: Tool "pay" was not executed: the call was rejected.${reason}`

const all = (decide: (approval: Approval.Approval) => Approval.Decision) =>
  resume((approvals) => approvals.map((approval) => decide(approval)))

const yes = (approval: Approval.Approval) => Approval.approve(approval)

/** One call that waits, two that do not, and the answers to the subset that is approved in the first round. */
const subsets = [[], ["p1"], ["p2"], ["p3"], ["p1", "p2"], ["p1", "p3"], ["p2", "p3"], ["p1", "p2", "p3"]].map(
  (subset): Row => {
    const rest = ["p1", "p2", "p3"].filter((id) => !subset.includes(id))
    const first = subset.length === 0 ? goOn() : approve(...subset)
    const ran = (ids: ReadonlyArray<string>) => ids.map((id) => `pay ${id.slice(1)}`)
    const isWhole = rest.length === 0
    return {
      name: `of three calls that wait, ${
        subset.length === 0 ? "none" : subset.join(" and ")
      } decided first: what is not answered runs when it is, once`,
      agent: cashier,
      script: [calls(pay(1, "p1"), pay(2, "p2"), look("x", "l1"), pay(3, "p3")), says("done")],
      // Side by side they would begin in any order.
      options: { toolConcurrency: 1 },
      steps: [say("go"), first, ...isWhole ? [] : [approve(...rest)]],
      expect: {
        outcome: [
          waits("p1", "p2", "p3"),
          ...isWhole ? [] : [waits(...rest)],
          answers("done", { turns: 2 })
        ],
        history: [
          [
            "user: go",
            `p1: pay{"amount":1}`,
            `p2: pay{"amount":2}`,
            `l1: look{"at":"x"}`,
            `p3: pay{"amount":3}`,
            ...["p1 = paid 1", "p2 = paid 2", "l1 = saw x", "p3 = paid 3"]
          ],
          ["assistant: done"]
        ],
        seen: [1, 9],
        ran: ["look x", ...ran(subset), ...ran(rest)]
      }
    }
  }
)

export const approvals: ReadonlyArray<Row> = [
  {
    name: "a call waits, the free one beside it has run; approved it runs once, also over one more turn",
    agent: cashier,
    script: [calls(pay(5, "p1"), look("x", "l1")), says("done"), says("Bye.")],
    steps: [say("pay"), approve("p1"), say("thanks")],
    expect: {
      outcome: [waits("p1"), answers("done", { turns: 2 }), answers("Bye.", { turns: 1 })],
      history: [
        ["user: pay", `p1: pay{"amount":5}`, `l1: look{"at":"x"}`, "p1 = paid 5", "l1 = saw x"],
        ["assistant: done"],
        ["user: thanks", "assistant: Bye."]
      ],
      seen: [1, 5, 7],
      usage: 1,
      ran: ["look x", "pay 5"]
    }
  },
  {
    name: "a run that waits tells so before it ends, and stores nothing",
    agent: cashier,
    script: [calls(pay(5, "p1"))],
    expect: {
      outcome: waits("p1"),
      history: [],
      seen: [1],
      events: [
        ...["RunStarted", "TurnStarted 1 cashier", "ToolCallDelta", "ItemDone"],
        "ApprovalRequested p1"
      ]
    }
  },
  ...subsets,
  {
    name: "a call that was rejected is told to the model as not executed, with the reason",
    agent: cashier,
    script: [calls(pay(5, "p1")), says("I did not.")],
    steps: [say("go"), reject("p1", "Too much.")],
    expect: {
      outcome: [waits("p1"), answers("I did not.")],
      history: [["user: go", `p1: pay{"amount":5}`, rejected("p1", " Too much.")], ["assistant: I did not."]],
      seen: [1, ["user: go", `p1: pay{"amount":5}`, rejected("p1", " Too much.")]],
      ran: []
    }
  },
  {
    name: "several pauses in one run: each is resumed, and ids stay as they were streamed",
    agent: cashier,
    script: [calls(pay(1, "p1")), calls(look("x", "l1"), pay(2, "p2")), calls(pay(3, "p3")), says("done")],
    steps: [say("go"), approve("p1"), approve("p2"), reject("p3")],
    expect: {
      outcome: [waits("p1"), waits("p2"), waits("p3"), answers("done", { turns: 4 })],
      history: [
        ["user: go", ...paid(1, "p1")],
        [`l1: look{"at":"x"}`, `p2: pay{"amount":2}`, "l1 = saw x", "p2 = paid 2"],
        [`p3: pay{"amount":3}`, rejected("p3")],
        ["assistant: done"]
      ],
      seen: [1, 3, 7, 9],
      ran: ["pay 1", "look x", "pay 2"]
    }
  },
  {
    name: "approved for always, later calls of the tool in the run do not ask; the next run does",
    agent: cashier,
    script: [calls(pay(1, "p1")), calls(pay(2, "p2"), pay(3, "p3")), says("done"), calls(pay(4, "p4"))],
    options: { toolConcurrency: 1 },
    steps: [say("go"), approveAlways("p1"), say("again")],
    expect: {
      outcome: [waits("p1"), answers("done"), waits("p4")],
      history: [
        ["user: go", ...paid(1, "p1")],
        [`p2: pay{"amount":2}`, `p3: pay{"amount":3}`, "p2 = paid 2", "p3 = paid 3"],
        ["assistant: done"]
      ],
      seen: [1, 3, 7, 9],
      usage: 1,
      ran: ["pay 1", "pay 2", "pay 3"]
    }
  },
  {
    name: "rejected for always, later calls of the tool in the run are not run either",
    agent: cashier,
    script: [calls(pay(1, "p1")), calls(pay(2, "p2"), look("x", "l1")), says("done")],
    steps: [
      say("go"),
      resume((approvals) => approvals.map((one) => Approval.reject(one, { always: true, reason: "Closed." })))
    ],
    expect: {
      outcome: [waits("p1"), answers("done")],
      history: [
        ["user: go", `p1: pay{"amount":1}`, rejected("p1", " Closed.")],
        [`p2: pay{"amount":2}`, `l1: look{"at":"x"}`, rejected("p2", " Closed."), "l1 = saw x"],
        ["assistant: done"]
      ],
      seen: [1, 3, 7],
      ran: ["look x"]
    }
  },
  {
    name: "arguments that do not decode go back to the model without asking anybody",
    agent: Agent.make({
      name: "cashier",
      toolkit: kit,
      toolOptions: { pay: { needsApproval: ({ amount }) => Effect.as(note(`asked ${amount}`), true) } }
    }),
    script: [calls(call("pay", `{"amount":`, "p1"), call("pay", { amount: "5" }, "p2")), calls(pay(5, "p3"))],
    options: { conversationId: undefined },
    expect: { outcome: waits("p3"), seen: [1, 5], ran: ["asked 5"] }
  },
  {
    name: "an Effect says which calls need an approval, and is not asked again about what was decided",
    agent: Agent.make({
      name: "cashier",
      toolkit: kit,
      toolOptions: {
        pay: { needsApproval: ({ amount }) => Effect.as(note(`asked ${amount}`), amount > 10) },
        look: { needsApproval: true }
      }
    }),
    script: [calls(pay(10, "p1"), pay(11, "p2"), look("x", "l1")), says("done")],
    options: { toolConcurrency: 1 },
    steps: [say("go"), all(yes)],
    expect: {
      outcome: [waits("p2", "l1"), answers("done")],
      history: [
        [
          "user: go",
          `p1: pay{"amount":10}`,
          `p2: pay{"amount":11}`,
          `l1: look{"at":"x"}`,
          "p1 = paid 10",
          "p2 = paid 11",
          "l1 = saw x"
        ],
        ["assistant: done"]
      ],
      seen: [1, 7],
      ran: ["asked 10", "pay 10", "asked 11", "pay 11", "look x"]
    }
  },
  {
    name: "a handoff is not made while a call beside it waits, and is made after it",
    agent: () => Agent.make({ name: "front", toolkit: kit, handoffs: [Handoff.to(Agent.make({ name: "back" }))] }),
    script: [calls(call("transfer_to_back", {}, "h"), pay(1, "p1")), says("done")],
    steps: [say("go"), approve("p1")],
    expect: {
      outcome: [waits("p1"), answers("done", { by: "back", turns: 2 })],
      history: [
        ["user: go", "h: transfer_to_back{}", `p1: pay{"amount":1}`, `h = {"assistant":"back"}`, "p1 = paid 1"],
        ["assistant: done"]
      ],
      seen: [1, 5],
      spent: { front: 1, back: 1 },
      ran: ["pay 1"]
    }
  },
  {
    name: "after a handoff the state is resumed at the agent that waited",
    agent: () => Agent.make({ name: "front", handoffs: [Handoff.to(cashDesk)] }),
    script: [calls(call("transfer_to_cashier", {}, "h")), calls(pay(1, "p1")), says("done")],
    steps: [say("go"), approve("p1")],
    expect: {
      outcome: [waits("p1"), answers("done", { by: "cashier", turns: 3 })],
      history: [
        ["user: go", "h: transfer_to_cashier{}", `h = {"assistant":"cashier"}`],
        paid(1, "p1"),
        ["assistant: done"]
      ],
      seen: [1, 3, 5],
      spent: { front: 1, cashier: 2 },
      ran: ["pay 1"]
    }
  },
  {
    name: "an agent that was changed meanwhile goes on with what it has now",
    agent: cashier,
    script: [calls(pay(1, "p1")), calls(add(1, 2, "c1")), says("done")],
    steps: [
      say("go"),
      resume((approvals) => approvals.map(yes), {
        agent: Agent.make({
          name: "cashier",
          instructions: "Also add.",
          toolkit: Toolkit.merge(kit, Toolkit.make(Add, Find))
        })
      })
    ],
    expect: {
      outcome: [waits("p1"), answers("done", { turns: 3 })],
      history: [["user: go", ...paid(1, "p1")], [`c1: add{"a":1,"b":2}`, "c1 = 3"], ["assistant: done"]],
      seen: [1, 3, 5],
      asked: [{ instructions: undefined }, { instructions: "Also add.", tools: ["pay", "look", "add", "find"] }],
      ran: ["pay 1", "add 1 2"]
    }
  },
  {
    name: "a context that is given with the resume takes no decision away, and is what handlers see from then on",
    agent: cashier,
    script: [calls(pay(1, "p1")), says("done")],
    options: { context: { token: "old" }, hooks: { onToolStart: ({ context }) => note(JSON.stringify(context)) } },
    steps: [say("go"), resume((approvals) => approvals.map(yes), { options: { context: { token: "new" } } })],
    expect: {
      outcome: [waits("p1"), answers("done")],
      history: [["user: go", ...paid(1, "p1")], ["assistant: done"]],
      seen: [1, 3],
      ran: [`{"token":"new"}`, "pay 1"]
    }
  },
  {
    name:
      "a decision for other arguments, for a call that does not wait, given twice, or to another agent is refused and uses nothing up",
    agent: cashier,
    script: [calls(pay(1, "p1")), says("done")],
    steps: [
      say("go"),
      resume((approvals) => approvals.map((one) => ({ ...yes(one), argumentsHash: "0".repeat(64) }))),
      resume((approvals) => approvals.map((one) => ({ ...yes(one), id: "p9" })), { from: 0 }),
      resume((approvals) => approvals.flatMap((one) => [yes(one), yes(one)]), { from: 0 }),
      resume((approvals) => approvals.map(yes), { from: 0, agent: Agent.make({ name: "other", toolkit: kit }) }),
      resume((approvals) => approvals.map(yes), { from: 0 })
    ],
    expect: {
      outcome: [
        waits("p1"),
        stops("StateMismatch", `cashier: The decision about "p1" was made for other arguments`),
        stops("StateMismatch", `cashier: There is no call "p9" that waits for a decision`),
        stops("StateMismatch", `cashier: There are two decisions about "p1"`),
        stops("StateMismatch", `other: The state is of agent "cashier", and "other" was to go on with it`),
        answers("done")
      ],
      history: [["user: go", ...paid(1, "p1")], ["assistant: done"]],
      seen: [1, 3],
      ran: ["pay 1"]
    }
  },
  {
    name: "a state whose call was changed does not fit its decision, and no handler runs",
    agent: cashier,
    script: [calls(pay(1, "p1"))],
    steps: [
      say("go"),
      resume((approvals) => approvals.map(yes), {
        alter: (text) => text.replaceAll(`{\\"amount\\":1}`, `{\\"amount\\":1000}`)
      })
    ],
    expect: {
      outcome: [waits("p1"), stops("StateMismatch", /^cashier: The decision about "p1" was /)],
      history: [],
      seen: [1],
      ran: []
    }
  },
  {
    name: "a state of a version that is still to come is refused, with the versions named",
    agent: cashier,
    script: [calls(pay(1, "p1"))],
    steps: [say("go"), resume(() => [], { alter: (text) => text.replace(`"version":1`, `"version":99`) })],
    expect: {
      outcome: [
        waits("p1"),
        {
          error: "RunStateError",
          reason: "UnsupportedVersion",
          message: /^The state has version 99, and this version of agent-layers reads 1:/
        }
      ],
      history: [],
      seen: [1],
      ran: []
    }
  },
  {
    name: "a state is used once",
    agent: cashier,
    script: [calls(pay(1, "p1")), says("done")],
    steps: [say("go"), approve("p1"), resume((approvals) => approvals.map(yes), { from: 0 })],
    expect: {
      outcome: [waits("p1"), answers("done"), stops("ConversationMoved", /moved on from version 0 to 2/)],
      history: [["user: go", ...paid(1, "p1")], ["assistant: done"]],
      seen: [1, 3],
      usage: 1,
      ran: ["pay 1"]
    }
  },
  {
    name:
      "words are no decision: a new run on the conversation leaves the call waiting, and the state says that it moved",
    agent: cashier,
    script: [calls(pay(1, "p1")), says("I cannot."), says("done")],
    steps: [
      say("pay 1"),
      say("yes, do it"),
      resume((approvals) => approvals.map(yes), { from: 0 }),
      resume((approvals) => approvals.map(yes), { from: 0, options: { onMoved: "append" } }),
      resume((approvals) => approvals.map(yes), { from: 0, options: { onMoved: "append" } })
    ],
    expect: {
      outcome: [
        waits("p1"),
        answers("I cannot."),
        stops("ConversationMoved", /moved on from version 0 to 1/),
        answers("done", { turns: 2 }),
        stops("ConversationMoved", /This state was resumed before: a decision is used once/)
      ],
      history: [
        ["user: yes, do it", "assistant: I cannot."],
        ["user: pay 1", ...paid(1, "p1")],
        ["assistant: done"]
      ],
      seen: [1, ["user: yes, do it"], 5],
      usage: 1,
      ran: ["pay 1"]
    }
  },
  {
    name:
      "a model that fails after the approved call leaves it stored, and another run goes on without running it again",
    agent: cashier,
    script: [
      calls(pay(1, "p1")),
      ModelScripted.fail(new ModelError.Transport({ description: "gone" })),
      says("done")
    ],
    steps: [say("go"), approve("p1"), say([])],
    expect: {
      outcome: [waits("p1"), modelFails("Transport", /gone/), answers("done")],
      history: [["user: go", ...paid(1, "p1")], ["assistant: done"]],
      seen: [1, 3, 3],
      usage: 1,
      ran: ["pay 1"]
    }
  },
  {
    name: "what stands before a run that waits is neither stored nor sent twice",
    agent: cashier,
    stored: [Item.user("hello"), Item.assistant("Hello.")],
    script: [calls(pay(1, "p1")), says("done")],
    steps: [say("go"), approve("p1")],
    expect: {
      outcome: [waits("p1"), answers("done", { version: 3 })],
      history: [["user: hello", "assistant: Hello."], ["user: go", ...paid(1, "p1")], ["assistant: done"]],
      seen: [3, 5],
      ran: ["pay 1"]
    }
  }
]
