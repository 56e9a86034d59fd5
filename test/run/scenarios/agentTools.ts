import { Agent, ModelError, ModelScripted } from "agent-layers"
import { Effect, Schema } from "effect"
import { Toolkit } from "effect/ai"
import { kit } from "../support.ts"
import type { Row } from "./play.ts"
import { answers, approve, approveAlways, reject, say, stops, waits } from "./play.ts"
import { Add, add, Bomb, brokenOff, call, calls, look, pay, says, Wait, wait } from "./tools.ts"

/** Each calls the next one, as `ask`; all have one name and one toolkit. */
const nested = (depth: number): Agent.Any =>
  Agent.make({
    name: "clerk",
    toolkit: kit,
    agentTools: depth === 0
      ? []
      : [Agent.asTool(nested(depth - 1) as Agent.Agent<string>, { name: "ask", description: "Asks another clerk" })]
  })

const ask = (callId: string, input = "why?") => call("ask", { input }, callId)

const asking = (
  agent: Agent.Agent<any, any, any>,
  options: Partial<Agent.AsToolOptions<any, any, never, never>> = {}
) =>
  Agent.make({
    name: "outer",
    agentTools: [Agent.asTool(agent, { name: "ask", description: "Asks", ...options } as any)]
  })

const inner = Agent.make({ name: "inner" })
const worker = Agent.make({ name: "worker", toolkit: Toolkit.make(Add, Wait, Bomb) })

/** A run at this depth pays once, deep inside, and every agent above it answers. */
const deep = (depth: number): Row => {
  const ids = Array.from({ length: depth }, (_, index) => `a${index}`)
  return {
    name: `${depth} deep, all of one name: a call is approved by its path, in agents made anew, and runs once`,
    agent: () => nested(depth),
    script: [
      ...ids.map((id) => calls(ask(id))),
      calls(look("once", "l1"), pay(7, "p1")),
      ...Array.from({ length: depth + 1 }, (_, index) => says(`answer ${index}`)),
      says("Bye.")
    ],
    steps: [say("go"), approve([...ids, "p1"].join("/")), say("thanks")],
    expect: {
      outcome: [waits([...ids, "p1"].join("/")), answers(`answer ${depth}`, { turns: 2 }), answers("Bye.")],
      history: [
        ["user: go", `a0: ask{"input":"why?"}`, `a0 = answer ${depth - 1}`],
        [`assistant: answer ${depth}`],
        ["user: thanks", "assistant: Bye."]
      ],
      seen: [
        ["user: go"],
        ...ids.map(() => ["user: why?"]),
        ["user: why?", `l1: look{"at":"once"}`, `p1: pay{"amount":7}`, "l1 = saw once", "p1 = paid 7"],
        ...Array.from({ length: depth }, () => 3),
        5
      ],
      usage: 1,
      ran: ["look once", "pay 7"]
    }
  }
}

export const agentTools: ReadonlyArray<Row> = [
  {
    name: "an agent that is called is asked what the call says, remembers nothing, and adds to one usage",
    agent: asking(inner),
    script: [calls(ask("a", "first")), says("in a"), calls(ask("b", "second")), says("in b"), says("done")],
    expect: {
      outcome: answers("done", { by: "outer", turns: 3 }),
      history: [
        ["user: go", `a: ask{"input":"first"}`, "a = in a"],
        [`b: ask{"input":"second"}`, "b = in b"],
        ["assistant: done"]
      ],
      seen: [["user: go"], ["user: first"], 3, ["user: second"], 5],
      spent: { outer: 3, inner: 2 }
    }
  },
  {
    name: "an agent that is called tells what it does under the path of its call, its handoff too",
    agent: asking(Agent.make({ name: "front", handoffs: [worker] })),
    script: [
      calls(ask("a")),
      calls({ name: "transfer_to_worker", callId: "h" }),
      calls(add(1, 2, "c1")),
      says("3"),
      says("It is 3.")
    ],
    expect: {
      outcome: answers("It is 3.", { by: "outer", turns: 2 }),
      history: [["user: go", `a: ask{"input":"why?"}`, "a = 3"], ["assistant: It is 3."]],
      seen: [1, 1, 3, 5, 3],
      spent: { outer: 2, front: 1, worker: 2 },
      ran: ["add 1 2"],
      events: [
        ...["RunStarted", "TurnStarted 1 outer", "ToolCallDelta", "ItemDone", "ToolStarted a"],
        ...[
          "a: RunStarted",
          "a: TurnStarted 1 front",
          "a: ToolCallDelta",
          "a: ItemDone",
          "a: HandedOff h front worker"
        ],
        ...["a: TurnStarted 2 worker", "a: ToolCallDelta", "a: ItemDone", "a: ToolStarted c1", "a: ToolFinished c1"],
        ...["a: TurnStarted 3 worker", "a: TextDelta", "a: ItemDone"],
        ...["ToolFinished a", "Committed 1"],
        ...["TurnStarted 2 outer", "TextDelta", "ItemDone", "Committed 2", "Completed"]
      ]
    }
  },
  {
    name: "an agent that is called may have parameters and a shape of its own, and say in words what it found",
    agent: asking(Agent.make({ name: "inner", output: Schema.Struct({ n: Schema.Number }) }), {
      parameters: Schema.Struct({ of: Schema.Finite }),
      input: (({ of }: { readonly of: number }) => `How many of ${of}?`) as any,
      toText: ({ n }: { readonly n: number }) => `It found ${n}.`
    }),
    script: [calls(call("ask", { of: "many" }, "a"), call("ask", { of: 7 }, "b")), says(`{"n":3}`), says("3")],
    expect: {
      outcome: answers("3"),
      history: [
        [
          "user: go",
          `a: ask{"of":"many"}`,
          `b: ask{"of":7}`,
          `a = Error: The arguments of tool "ask" are not valid: Expected number\n  at ["of"]. ` +
          "Call it again with corrected arguments.",
          "b = It found 3."
        ],
        ["assistant: 3"]
      ],
      seen: [1, ["user: How many of 7?"], 5]
    }
  },
  {
    name:
      "what an agent that is called fails with is the calling model's to mend: its turns, its model, its own bad answer",
    agent: asking(
      Agent.make({ name: "inner", toolkit: Toolkit.make(Add), output: Schema.Struct({ n: Schema.Number }) }),
      {
        maxTurns: 1
      }
    ),
    script: [
      calls(ask("a")),
      calls(add(1, 2, "c1")),
      calls(ask("b")),
      ModelScripted.fail(new ModelError.Transport({ description: "gone" })),
      calls(ask("c")),
      says("three"),
      (request) => says(`${request.input.length} items`)
    ],
    options: { conversationId: undefined },
    expect: {
      outcome: answers("7 items", { turns: 4 }),
      seen: [1, 1, 3, 1, 5, 1, 7],
      spent: { outer: 4, inner: 2 },
      usage: 6,
      ran: ["add 1 2"]
    }
  },
  {
    name: "a bug in a handler is one wherever it is called from, and ends the run",
    agent: asking(worker),
    script: [calls(ask("a")), calls(call("bomb", {}, "c1"))],
    expect: {
      outcome: stops("ToolDefect", /outer: Tool "bomb" died: boom/),
      history: [
        [
          "user: go",
          `a: ask{"input":"why?"}`,
          `a = Error: "ask" was stopped before it answered.\nThe calls that it made before:\n` +
          `bomb({}): ${brokenOff("bomb", "c1").replace("c1 = ", "")}`
        ]
      ],
      seen: [1, 1],
      spent: { outer: 1, worker: 1 },
      ran: ["bomb"]
    }
  },
  {
    name: "agents that are called at the same time answer in the order of the calls",
    agent: asking(worker),
    script: (request) => {
      const said = JSON.stringify(request.input)
      if (said.includes("waited 30")) return said.includes("both") ? says("both") : says("slow")
      if (said.includes("waited 10")) return says("quick")
      if (said.includes("be slow") && !said.includes("go")) return calls(wait(30, "w"))
      if (said.includes("be quick") && !said.includes("go")) return calls(wait(10, "w"))
      return said.includes("a1") ? says("both") : calls(ask("a1", "be slow"), ask("a2", "be quick"))
    },
    clock: "10 millis",
    expect: {
      outcome: answers("both"),
      history: [
        ["user: go", `a1: ask{"input":"be slow"}`, `a2: ask{"input":"be quick"}`, "a1 = slow", "a2 = quick"],
        ["assistant: both"]
      ],
      seen: [1, 1, 1, 3, 3, 5],
      spent: { outer: 2, worker: 4 },
      ran: ["begin 30", "begin 10", "end 10", "end 30"]
    }
  },
  deep(1),
  deep(2),
  deep(3),
  {
    name: "equal call ids outside and inside are different calls, decided one by one",
    agent: () => nested(1),
    script: [
      calls(pay(1, "p"), ask("a"), ask("b")),
      calls(pay(1, "p")),
      calls(pay(2, "p")),
      says("in a"),
      says("in b"),
      says("done")
    ],
    options: { toolConcurrency: 1 },
    steps: [say("go"), approve("a/p"), reject("p", "No."), approve("b/p")],
    expect: {
      outcome: [waits("p", "a/p", "b/p"), waits("p", "b/p"), waits("b/p"), answers("done", { turns: 2 })],
      history: [
        [
          "user: go",
          `p: pay{"amount":1}`,
          `a: ask{"input":"why?"}`,
          `b: ask{"input":"why?"}`,
          `p = Error: Tool "pay" was not executed: the call was rejected. No.`,
          "a = in a",
          "b = in b"
        ],
        ["assistant: done"]
      ],
      seen: [1, 1, 1, 3, 3, 7],
      ran: ["pay 1", "pay 2"]
    }
  },
  {
    name: "always, said to the outer run, does not hold inside, and said inside it holds for that call alone",
    agent: () => nested(1),
    script: [
      calls(pay(1, "p1")),
      calls(ask("a")),
      calls(pay(2, "p2")),
      calls(pay(3, "p3")),
      says("in a"),
      calls(pay(4, "p4"), ask("b")),
      calls(pay(5, "p5")),
      says("in b"),
      says("done")
    ],
    steps: [say("go"), approveAlways("p1"), approveAlways("a/p2"), reject("b/p5")],
    expect: {
      outcome: [waits("p1"), waits("a/p2"), waits("b/p5"), answers("done", { turns: 4 })],
      history: [
        ["user: go", `p1: pay{"amount":1}`, "p1 = paid 1"],
        [`a: ask{"input":"why?"}`, "a = in a"],
        [`p4: pay{"amount":4}`, `b: ask{"input":"why?"}`, "p4 = paid 4", "b = in b"],
        ["assistant: done"]
      ],
      seen: [1, 3, 1, 3, 5, 5, 1, 3, 9],
      ran: ["pay 1", "pay 2", "pay 3", "pay 4"]
    }
  },
  {
    name: "the call of an agent may need an approval, and what it calls asks for itself",
    agent: () => asking(nested(0) as Agent.Agent<string>, { needsApproval: true }),
    script: [calls(ask("a"), ask("b")), calls(pay(1, "p1")), says("inside"), says("done")],
    steps: [say("go"), approve("a"), reject("b"), approve("a/p1")],
    expect: {
      outcome: [waits("a", "b"), waits("a/p1", "b"), waits("a/p1"), answers("done")],
      history: [
        [
          "user: go",
          `a: ask{"input":"why?"}`,
          `b: ask{"input":"why?"}`,
          "a = inside",
          `b = Error: Tool "ask" was not executed: the call was rejected.`
        ],
        ["assistant: done"]
      ],
      seen: [1, 1, 3, 5],
      ran: ["pay 1"]
    }
  },
  {
    name: "an agent that is not enabled is neither shown nor called",
    agent: asking(inner, { isEnabled: Effect.succeed(false) }),
    script: [calls(ask("a")), says("alone")],
    expect: {
      outcome: answers("alone"),
      history: [
        ["user: go", `a: ask{"input":"why?"}`, `a = Error: There is no tool "ask". No tools are available.`],
        ["assistant: alone"]
      ],
      seen: [1, 3],
      asked: [{ tools: [] }]
    }
  }
]
