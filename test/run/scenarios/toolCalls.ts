import { Agent, InputFilter, Item, ModelScripted } from "agent-layers"
import { Effect, Option, Schedule, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { Ran } from "../support.ts"
import type { Row } from "./play.ts"
import { answers, say, stops } from "./play.ts"
import {
  Add,
  add,
  Bomb,
  brokenOff,
  call,
  calls,
  Find,
  find,
  Look,
  look,
  note,
  Quit,
  Raw,
  says,
  unfinished,
  Wait,
  wait
} from "./tools.ts"

const clerk = Agent.make({ name: "clerk", toolkit: Toolkit.make(Add, Find, Look) })
const waiter = Agent.make({ name: "waiter", toolkit: Toolkit.make(Wait) })

const calling = (some: ReadonlyArray<ReturnType<typeof call>>) =>
  some.map(({ arguments: args, callId, name }) =>
    `${callId}: ${name}${typeof args === "string" ? args : JSON.stringify(args)}`
  )

/** What the calls came to, up to where a text that is not ours begins. */
const reported = (items: ReadonlyArray<Item.Item>) =>
  items.filter(Item.isFunctionCallOutput).map(({ output }) => String(output).split(":").slice(0, 2).join(":")).join(
    "\n"
  )

const trim = InputFilter.trimToolOutputs({ recentTurns: 1 })

const four = [wait(40, "c1"), wait(10, "c2"), wait(30, "c3"), wait(20, "c4")]

/** Answers a number, or fails for as long as `Ran` says that it was called less often. */
const Flaky = Tool.make("flaky", { success: Schema.String, failure: Schema.String })
const flaky = Toolkit.make(Flaky).toLayer(Ran.use((list) =>
  Effect.succeed({
    flaky: () =>
      Effect.suspend(() => {
        list.push("flaky")
        const times = list.length
        return times < 3 ? Effect.fail(`broken ${times}`) : Effect.succeed(`worked ${times}`)
      })
  })
))

const long = "x".repeat(600)
const Long = Tool.make("long", { success: Schema.String })
const longHandler = Toolkit.make(Long).toLayer(
  Ran.use((list) => Effect.succeed({ long: () => Effect.as(Effect.sync(() => void list.push("long")), long) }))
)

const notBegun = [
  `c1: find{"key":"absent"}`,
  `c2: add{"a":1,"b":2}`,
  `c1 = Error: {"missing":"absent"}`,
  `c2 = Error: "add" was not run: the run stopped first.`
]

const broken = [`c1: wait{"ms":10}`, "c2: bomb{}", unfinished("wait", "c1"), brokenOff("bomb", "c2")]

export const toolCalls: ReadonlyArray<Row> = [
  {
    name: "what the model can mend goes back to it: a missing key, a stringified number, an object for a string, " +
      "no JSON, an unknown tool, a failure; known siblings run",
    agent: clerk,
    script: [
      calls(
        call("add", { a: 1 }, "c1"),
        call("add", { a: "1", b: 2 }, "c2"),
        call("find", { key: { of: "x" } }, "c3"),
        call("add", `{"a": 1,`, "c4"),
        call("subtract", {}, "c5"),
        find("absent", "c6"),
        find("x", "c7")
      ),
      (request) => says(reported(request.input as ReadonlyArray<Item.Item>))
    ],
    options: { conversationId: undefined },
    expect: {
      outcome: answers([
        `Error: The arguments of tool "add" are not valid`,
        `Error: The arguments of tool "add" are not valid`,
        `Error: The arguments of tool "find" are not valid`,
        `Error: The arguments of tool "add" are not valid`,
        `Error: There is no tool "subtract". Available`,
        `Error: {"missing"`,
        "value of x"
      ].join("\n")),
      seen: [1, 15],
      ran: ["find absent", "find x"]
    }
  },
  {
    name: "a tool that is not known is answered with those that are",
    agent: clerk,
    script: [calls(call("subtract", {}, "c1"), add(1, 2, "c2")), says("3")],
    expect: {
      outcome: answers("3"),
      history: [
        [
          "user: go",
          "c1: subtract{}",
          `c2: add{"a":1,"b":2}`,
          `c1 = Error: There is no tool "subtract". Available: add, find, look.`,
          "c2 = 3"
        ],
        ["assistant: 3"]
      ],
      seen: [1, 5],
      ran: ["add 1 2"]
    }
  },
  {
    name: "a failure of a tool's own is what the model reads, as the tool's schema writes it",
    agent: clerk,
    script: [calls(find("absent", "c1")), says("It is not there.")],
    expect: {
      outcome: answers("It is not there."),
      history: [
        ["user: go", `c1: find{"key":"absent"}`, `c1 = Error: {"missing":"absent"}`],
        ["assistant: It is not there."]
      ],
      seen: [1, 3],
      ran: ["find absent"]
    }
  },
  {
    name: "calls of one response run at the same time, and their outputs come in the order of the calls",
    agent: waiter,
    script: [calls(...four), says("done")],
    clock: "10 millis",
    expect: {
      outcome: answers("done"),
      history: [
        ["user: go", ...calling(four), "c1 = waited 40", "c2 = waited 10", "c3 = waited 30", "c4 = waited 20"],
        ["assistant: done"]
      ],
      seen: [1, 9],
      ran: ["begin 40", "begin 10", "begin 30", "begin 20", "end 10", "end 20", "end 30", "end 40"]
    }
  },
  {
    name: "two of four calls run at a time where two may, and their outputs come in the order of the calls",
    agent: waiter,
    script: [calls(...four), says("done")],
    options: { toolConcurrency: 2 },
    clock: "10 millis",
    expect: {
      outcome: answers("done"),
      history: [
        ["user: go", ...calling(four), "c1 = waited 40", "c2 = waited 10", "c3 = waited 30", "c4 = waited 20"],
        ["assistant: done"]
      ],
      seen: [1, 9],
      ran: ["begin 40", "begin 10", "end 10", "begin 30", "end 40", "begin 20", "end 30", "end 20"]
    }
  },
  {
    name: "one call at a time: after one that ends the run the next is not begun, and the error names the tool",
    agent: Agent.make({
      name: "strict",
      toolkit: Toolkit.make(Find, Add),
      toolOptions: { find: { onFailure: "fail" } }
    }),
    script: [calls(find("absent", "c1"), add(1, 2, "c2"))],
    options: { toolConcurrency: 1 },
    expect: {
      outcome: stops("ToolFailed", "strict: Tool \"find\" failed. Its answer is in `description`", {
        state: ["user: go", ...notBegun]
      }),
      history: [["user: go", ...notBegun]],
      seen: [1],
      ran: ["find absent"]
    }
  },
  {
    name: "a failure that ends the run interrupts the calls beside it, and is what the run fails with",
    agent: Agent.make({ name: "strict", toolkit: Toolkit.make(Find, Wait) }),
    script: [calls(wait(10, "c1"), find("absent", "c2"))],
    options: { onToolFailure: "fail" },
    expect: {
      outcome: stops("ToolFailed", /find/),
      history: [
        [
          "user: go",
          `c1: wait{"ms":10}`,
          `c2: find{"key":"absent"}`,
          unfinished("wait", "c1"),
          `c2 = Error: {"missing":"absent"}`
        ]
      ],
      seen: [1],
      ran: ["begin 10", "find absent", "interrupted 10"]
    }
  },
  {
    name: "what a tool says of its failures wins over what the run says",
    agent: Agent.make({
      name: "lenient",
      toolkit: Toolkit.make(Find),
      toolOptions: { find: { onFailure: "return" } }
    }),
    script: [calls(find("absent", "c1")), says("no")],
    options: { onToolFailure: "fail" },
    expect: {
      outcome: answers("no"),
      history: [["user: go", `c1: find{"key":"absent"}`, `c1 = Error: {"missing":"absent"}`], ["assistant: no"]],
      seen: [1, 3],
      ran: ["find absent"]
    }
  },
  {
    name:
      "a bug in a handler ends the run and interrupts the calls beside it, and the turn is kept with an output each",
    agent: Agent.make({ name: "clumsy", toolkit: Toolkit.make(Add, Wait, Bomb) }),
    script: [calls(add(1, 2, "c0")), calls(wait(10, "c1"), call("bomb", {}, "c2"))],
    expect: {
      outcome: stops("ToolDefect", /^clumsy: Tool "bomb" died: boom/, {
        state: ["user: go", `c0: add{"a":1,"b":2}`, "c0 = 3", ...broken]
      }),
      history: [["user: go", `c0: add{"a":1,"b":2}`, "c0 = 3"], broken],
      seen: [1, 3],
      ran: ["add 1 2", "begin 10", "bomb", "interrupted 10"]
    }
  },
  {
    name: "a bug beats a failure that comes later, and the run that did not want to know of the failure ends by it",
    agent: Agent.make({ name: "clumsy", toolkit: Toolkit.make(Bomb, Find) }),
    script: [calls(call("bomb", {}, "c1"), find("absent", "c2"))],
    options: { onToolFailure: "fail", toolConcurrency: 1 },
    expect: {
      outcome: stops("ToolDefect", /bomb/),
      history: [
        [
          "user: go",
          "c1: bomb{}",
          `c2: find{"key":"absent"}`,
          brokenOff("bomb", "c1"),
          `c2 = Error: "find" was not run: the run stopped first.`
        ]
      ],
      seen: [1],
      ran: ["bomb"]
    }
  },
  {
    name: "a handler that interrupts itself is answered for, and the calls beside it go on",
    agent: Agent.make({ name: "clerk", toolkit: Toolkit.make(Quit, Add) }),
    script: [calls(call("quit", {}, "c1"), add(1, 2, "c2")), says("3")],
    expect: {
      outcome: answers("3"),
      history: [
        [
          "user: go",
          "c1: quit{}",
          `c2: add{"a":1,"b":2}`,
          `c1 = Error: Tool "quit" was interrupted before it finished.`,
          "c2 = 3"
        ],
        ["assistant: 3"]
      ],
      seen: [1, 5],
      ran: ["quit", "add 1 2"]
    }
  },
  {
    name: "a tool that takes longer than it may is interrupted, and the model is told",
    agent: Agent.make({
      name: "waiter",
      toolkit: Toolkit.make(Wait),
      toolOptions: { wait: { timeout: "5 seconds" } }
    }),
    script: [calls(wait(9000, "c1")), says("too slow")],
    clock: "1 second",
    expect: {
      outcome: answers("too slow"),
      history: [
        ["user: go", `c1: wait{"ms":9000}`, `c1 = Error: Tool "wait" did not answer within 5s.`],
        ["assistant: too slow"]
      ],
      seen: [1, 3],
      ran: ["begin 9000", "interrupted 9000"]
    }
  },
  {
    name: "a tool that takes longer than it may is tried again where its schedule says so",
    agent: Agent.make({
      name: "waiter",
      toolkit: Toolkit.make(Wait),
      toolOptions: { wait: { timeout: "5 seconds", retry: Schedule.recurs(1) } }
    }),
    script: [calls(wait(9000, "c1")), says("too slow")],
    clock: "1 second",
    expect: {
      outcome: answers("too slow"),
      history: [
        ["user: go", `c1: wait{"ms":9000}`, `c1 = Error: Tool "wait" did not answer within 5s.`],
        ["assistant: too slow"]
      ],
      seen: [1, 3],
      ran: ["begin 9000", "interrupted 9000", "begin 9000", "interrupted 9000"]
    }
  },
  {
    name: "a tool is tried again as its schedule says, and the model sees the last attempt alone",
    agent: Agent.make({
      name: "patient",
      toolkit: Toolkit.make(Flaky),
      toolOptions: { flaky: { retry: Schedule.recurs(2) } }
    }),
    handlers: flaky,
    script: [calls(call("flaky", {}, "c1")), says("ok")],
    expect: {
      outcome: answers("ok"),
      history: [["user: go", "c1: flaky{}", "c1 = worked 3"], ["assistant: ok"]],
      seen: [1, 3],
      ran: ["flaky", "flaky", "flaky"]
    }
  },
  {
    name: "a tool that fails in every attempt has failed once",
    agent: Agent.make({
      name: "patient",
      toolkit: Toolkit.make(Flaky),
      toolOptions: { flaky: { retry: Schedule.recurs(1) } }
    }),
    handlers: flaky,
    script: [calls(call("flaky", {}, "c1")), says("no")],
    expect: {
      outcome: answers("no"),
      history: [["user: go", "c1: flaky{}", "c1 = Error: broken 2"], ["assistant: no"]],
      seen: [1, 3],
      ran: ["flaky", "flaky"]
    }
  },
  {
    name: "a tool that is not enabled is neither shown nor run",
    agent: Agent.make({
      name: "clerk",
      toolkit: Toolkit.make(Add, Find),
      toolOptions: { find: { isEnabled: Effect.as(note("asked"), false) } }
    }),
    script: [calls(find("x", "c1")), says("no")],
    expect: {
      outcome: answers("no"),
      history: [
        ["user: go", `c1: find{"key":"x"}`, `c1 = Error: There is no tool "find". Available: add.`],
        ["assistant: no"]
      ],
      seen: [1, 3],
      asked: [{ tools: ["add"] }, { tools: ["add"] }],
      ran: ["asked", "asked"]
    }
  },
  {
    name: "a deferred tool is shown once the model has found it",
    agent: Agent.make({
      name: "clerk",
      toolkit: Toolkit.make(Add, Find, Look),
      toolOptions: { add: { isDeferred: true }, find: { isDeferred: true } }
    }),
    script: [calls(call("tool_search", { query: "add numbers" }, "c1")), calls(add(1, 2, "c2")), says("3")],
    expect: {
      outcome: answers("3"),
      history: [
        [
          "user: go",
          `c1: tool_search{"query":"add numbers"}`,
          `c1 = {"tools":[{"name":"add","description":"Adds two numbers"}]}`
        ],
        [`c2: add{"a":1,"b":2}`, "c2 = 3"],
        ["assistant: 3"]
      ],
      seen: [1, 3, 5],
      asked: [
        { tools: ["look", "tool_search"] },
        { tools: ["add", "look", "tool_search"] },
        { tools: ["add", "look", "tool_search"] }
      ],
      ran: ["add 1 2"]
    }
  },
  {
    name: "a deferred tool can be called before it was found, and a search for nothing names those that there are",
    agent: Agent.make({
      name: "clerk",
      toolkit: Toolkit.make(Add, Find),
      toolOptions: { add: { isDeferred: true }, find: { isDeferred: true } }
    }),
    script: [
      calls(call("tool_search", { query: "weather" }, "c1"), call("tool_search", { query: 7 }, "c2"), add(1, 2, "c3")),
      says("3")
    ],
    expect: {
      outcome: answers("3"),
      history: [
        [
          "user: go",
          `c1: tool_search{"query":"weather"}`,
          `c2: tool_search{"query":7}`,
          `c3: add{"a":1,"b":2}`,
          `c1 = {"tools":[],"hint":"No tool fits. There are: add, find"}`,
          `c2 = Error: The arguments of tool "tool_search" are not valid: Expected string\n  at ["query"]. ` +
          "Call it again with corrected arguments.",
          "c3 = 3"
        ],
        ["assistant: 3"]
      ],
      seen: [1, 7],
      asked: [{ tools: ["tool_search"] }],
      ran: ["add 1 2"]
    }
  },
  {
    name: "a tool whose parameters are a JSON Schema gets what the model wrote",
    agent: Agent.make({ name: "clerk", toolkit: Toolkit.make(Raw) }),
    script: [calls(call("raw", { q: "x", more: [1] }, "c1")), says("ok")],
    expect: {
      outcome: answers("ok"),
      history: [
        ["user: go", `c1: raw{"q":"x","more":[1]}`, `c1 = {"got":{"q":"x","more":[1]}}`],
        ["assistant: ok"]
      ],
      seen: [1, 3],
      ran: [`raw {"q":"x","more":[1]}`]
    }
  },
  {
    name: "a tool that must be called is called once: the choice is left to the model afterwards",
    agent: Agent.make({
      name: "clerk",
      toolkit: Toolkit.make(Add),
      settings: { toolChoice: "required", temperature: 0.5 }
    }),
    script: [calls(add(1, 2, "c1")), says("3")],
    expect: {
      outcome: answers("3"),
      history: [["user: go", `c1: add{"a":1,"b":2}`, "c1 = 3"], ["assistant: 3"]],
      seen: [1, 3],
      asked: [{ toolChoice: "required" }, { settings: { toolChoice: undefined, temperature: 0.5 } }],
      ran: ["add 1 2"]
    }
  },
  {
    name: "a tool that must be called in every turn stays a must where that is asked for",
    agent: Agent.make({
      name: "clerk",
      toolkit: Toolkit.make(Add),
      settings: { toolChoice: { tool: "add" } },
      resetToolChoice: false
    }),
    script: [calls(add(1, 2, "c1")), calls(add(1, 3, "c2"))],
    options: { maxTurns: 2 },
    expect: {
      outcome: stops("MaxTurnsExceeded"),
      history: [
        ["user: go", `c1: add{"a":1,"b":2}`, "c1 = 3"],
        [`c2: add{"a":1,"b":3}`, "c2 = 4"]
      ],
      seen: [1, 3],
      asked: [{ toolChoice: { tool: "add" } }, { toolChoice: { tool: "add" } }],
      ran: ["add 1 2", "add 1 3"]
    }
  },
  {
    name: "the output of a tool that ends the run is the answer, and the model is not asked again",
    agent: Agent.make({ name: "clerk", toolkit: Toolkit.make(Add, Find), toolUse: { stopAt: ["add"] } }),
    script: [calls(find("x", "c1")), calls(find("y", "c2"), add(1, 2, "c3"))],
    expect: {
      outcome: answers("3", { turns: 2 }),
      history: [
        ["user: go", `c1: find{"key":"x"}`, "c1 = value of x"],
        [`c2: find{"key":"y"}`, `c3: add{"a":1,"b":2}`, "c2 = value of y", "c3 = 3"]
      ],
      seen: [1, 3],
      ran: ["find x", "find y", "add 1 2"]
    }
  },
  {
    name: "the first tool that succeeds ends the run where any may, and one that fails does not",
    agent: Agent.make({ name: "clerk", toolkit: Toolkit.make(Find), toolUse: "stopOnFirst" }),
    script: [calls(find("absent", "c1")), calls(find("absent", "c2"), find("x", "c3"), find("y", "c4"))],
    expect: {
      outcome: answers("value of x", { turns: 2 }),
      history: [
        ["user: go", `c1: find{"key":"absent"}`, `c1 = Error: {"missing":"absent"}`],
        [
          `c2: find{"key":"absent"}`,
          `c3: find{"key":"x"}`,
          `c4: find{"key":"y"}`,
          `c2 = Error: {"missing":"absent"}`,
          "c3 = value of x",
          "c4 = value of y"
        ]
      ],
      seen: [1, 3],
      ran: ["find absent", "find absent", "find x", "find y"]
    }
  },
  {
    name: "a function says what tools come to, an answer of the agent's shape or another turn",
    agent: Agent.make({
      name: "clerk",
      toolkit: Toolkit.make(Add),
      output: Schema.Struct({ sum: Schema.Number }),
      toolUse: (results) => {
        const sum = results.reduce((sum, { value }) => sum + Number(value), 0)
        return sum > 10 ? Option.some({ sum }) : Option.none()
      }
    }),
    script: [calls(add(1, 2, "c1")), calls(add(3, 4, "c2"), add(5, 6, "c3"))],
    expect: {
      outcome: answers({ sum: 18 }, { turns: 2 }),
      history: [
        ["user: go", `c1: add{"a":1,"b":2}`, "c1 = 3"],
        [`c2: add{"a":3,"b":4}`, `c3: add{"a":5,"b":6}`, "c2 = 7", "c3 = 11"]
      ],
      seen: [1, 3],
      ran: ["add 1 2", "add 3 4", "add 5 6"]
    }
  },
  {
    name: "a long output of an earlier turn is shortened for the model, and stored whole",
    agent: Agent.make({ name: "clerk", toolkit: Toolkit.make(Long) }),
    handlers: longHandler,
    script: [calls(call("long", {}, "c1")), says("long"), says("short")],
    steps: [
      say("one", { inputFilter: ({ input, instructions }) => Effect.succeed({ instructions, input: trim(input) }) }),
      say("two", { inputFilter: ({ input, instructions }) => Effect.succeed({ instructions, input: trim(input) }) })
    ],
    expect: {
      outcome: [answers("long"), answers("short")],
      history: [
        ["user: one", "c1: long{}", `c1 = ${long}`],
        ["assistant: long"],
        ["user: two", "assistant: short"]
      ],
      seen: [
        1,
        ["user: one", "c1: long{}", `c1 = ${long}`],
        [
          "user: one",
          "c1: long{}",
          `c1 = [Shortened: output of long; 600 characters; the first 200 of its text shown]\n${long.slice(0, 200)}`,
          "assistant: long",
          "user: two"
        ]
      ],
      usage: 1,
      ran: ["long"]
    }
  },
  {
    name: "the arguments of a call may be left out where the tool has none",
    agent: Agent.make({ name: "clerk", toolkit: Toolkit.make(Quit) }),
    script: [ModelScripted.calls([{ name: "quit", arguments: "", callId: "c1" }]), says("ok")],
    expect: {
      outcome: answers("ok"),
      history: [
        ["user: go", "c1: quit", `c1 = Error: Tool "quit" was interrupted before it finished.`],
        ["assistant: ok"]
      ],
      seen: [1, 3],
      ran: ["quit"]
    }
  },
  {
    name: "calls of a handler that is told about them know their run, turn and caller's context",
    agent: clerk,
    script: [calls(look("x", "c1")), says("ok")],
    options: {
      context: { tenant: 7 },
      hooks: {
        onToolStart: ({ agent, context, runId, turn }, { call_id: id }) =>
          note(`${runId} ${agent} ${turn} ${id} ${JSON.stringify(context)}`),
        onToolEnd: ({ turn }, { name }, output) => note(`${turn} ${name} ${String(output["output"])}`)
      }
    },
    expect: {
      outcome: answers("ok"),
      history: [["user: go", `c1: look{"at":"x"}`, "c1 = saw x"], ["assistant: ok"]],
      seen: [1, 3],
      ran: [`run_1 clerk 1 c1 {"tenant":7}`, "look x", "1 look saw x"]
    }
  }
]
