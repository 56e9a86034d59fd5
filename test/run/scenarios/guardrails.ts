import { Agent, Guardrail, Item, ModelError, ModelScripted } from "agent-layers"
import { Effect } from "effect"
import { Toolkit } from "effect/ai"
import type { Row } from "./play.ts"
import { answers, goOn, modelFails, stops } from "./play.ts"
import { Add, add, calls, Find, find, note, says } from "./tools.ts"

const adder = Toolkit.make(Add)

const passes = (name: string, mode: "blocking" | "parallel" = "blocking") =>
  Guardrail.input({ name, mode, check: () => Effect.as(note(name), Guardrail.pass()) })

const trips = (name: string, mode: "blocking" | "parallel" = "blocking") =>
  Guardrail.input({
    name,
    mode,
    check: ({ input }) => Effect.as(note(name), Guardrail.trip(Item.text(input[0]!)))
  })

/** Comes to its verdict late, or never. */
const late = (name: string, ms: number | undefined, verdict: Guardrail.Verdict) =>
  Guardrail.input({
    name,
    check: () =>
      Effect.as(ms === undefined ? Effect.never : Effect.sleep(ms), verdict).pipe(
        Effect.onInterrupt(() => note(`${name} interrupted`))
      )
  })

const polite = Guardrail.output<string, never, never>({
  name: "polite",
  check: ({ finalOutput }) => Effect.succeed(finalOutput === "No." ? Guardrail.trip() : Guardrail.pass())
})

const second = Agent.make({ name: "second", inputGuardrails: [trips("never")] })

export const guardrails: ReadonlyArray<Row> = [
  {
    name: "a blocking guardrail that trips keeps the model from being asked, and stores nothing",
    agent: Agent.make({ name: "guarded", inputGuardrails: [passes("fine"), trips("secrets")] }),
    script: [],
    input: "my key",
    expect: {
      outcome: stops("GuardrailTripped", `guarded: Guardrail "secrets" tripped on the input of agent "guarded"`),
      history: [],
      seen: [],
      ran: ["fine", "secrets"],
      guardrails: ["input fine passed", "input secrets tripped my key"],
      events: ["RunStarted", "TurnStarted 1 guarded"]
    }
  },
  {
    name: "a guardrail beside the model interrupts it when it trips",
    agent: Agent.make({ name: "guarded", inputGuardrails: [late("slow", 20, Guardrail.trip())] }),
    script: [ModelScripted.hang()],
    clock: "10 millis",
    expect: {
      outcome: stops("GuardrailTripped"),
      history: [],
      seen: [1],
      usage: 0,
      aborted: 1,
      guardrails: ["input slow tripped"]
    }
  },
  {
    name: "no tool runs before a guardrail beside the model has passed",
    agent: Agent.make({ name: "guarded", toolkit: adder, inputGuardrails: [late("slow", 20, Guardrail.trip())] }),
    script: [calls(add(1, 2, "c1"))],
    clock: "10 millis",
    expect: {
      outcome: stops("GuardrailTripped"),
      history: [],
      seen: [1],
      ran: [],
      guardrails: ["input slow tripped"]
    }
  },
  {
    name: "guardrails before and beside the model pass, and the run goes on",
    agent: Agent.make({
      name: "guarded",
      toolkit: adder,
      inputGuardrails: [passes("beside", "parallel"), passes("before")]
    }),
    script: [calls(add(1, 2, "c1")), says("3")],
    expect: {
      outcome: answers("3"),
      history: [["user: go", `c1: add{"a":1,"b":2}`, "c1 = 3"], ["assistant: 3"]],
      seen: [1, 3],
      ran: ["before", "beside", "add 1 2"],
      guardrails: ["input before passed", "input beside passed"]
    }
  },
  {
    name: "a model that fails interrupts the guardrail beside it, and its failure is the run's",
    agent: Agent.make({ name: "guarded", inputGuardrails: [late("pending", undefined, Guardrail.pass())] }),
    script: [
      ModelScripted.delayed("20 millis", ModelScripted.fail(new ModelError.Overloaded({ description: "busy" })))
    ],
    clock: "10 millis",
    expect: {
      outcome: modelFails("Overloaded", /busy/),
      history: [],
      seen: [1],
      ran: ["pending interrupted"]
    }
  },
  {
    name: "the first of several guardrails that trips interrupts the others",
    agent: Agent.make({
      name: "guarded",
      inputGuardrails: [
        late("pending", undefined, Guardrail.pass()),
        passes("quick", "parallel"),
        late("slow", 20, Guardrail.trip())
      ]
    }),
    script: [says("Hello.")],
    clock: "10 millis",
    expect: {
      outcome: stops("GuardrailTripped", /"slow"/),
      history: [],
      seen: [1],
      ran: ["quick", "pending interrupted"],
      guardrails: ["input quick passed", "input slow tripped"]
    }
  },
  {
    name: "what a check of the input fails with is what the run fails with",
    agent: Agent.make({
      name: "guarded",
      inputGuardrails: [Guardrail.input({ name: "broken", mode: "blocking", check: () => Effect.fail("no service") })]
    }),
    script: [],
    expect: { outcome: { error: "no service" }, history: [], seen: [] }
  },
  {
    name: "an output guardrail that trips keeps the last turn from being stored, and the turns before it stay",
    agent: Agent.make({ name: "guarded", toolkit: adder, outputGuardrails: [polite] }),
    script: [calls(add(1, 2, "c1")), says("No.")],
    expect: {
      outcome: stops("GuardrailTripped", /"polite" tripped on the output/, {
        state: ["user: go", `c1: add{"a":1,"b":2}`, "c1 = 3"]
      }),
      history: [["user: go", `c1: add{"a":1,"b":2}`, "c1 = 3"]],
      seen: [1, 3],
      ran: ["add 1 2"],
      guardrails: ["output polite tripped"]
    }
  },
  {
    name: "what a check of the output fails with ends the run before the last turn is stored",
    agent: Agent.make({
      name: "guarded",
      outputGuardrails: [Guardrail.output({ name: "broken", check: () => Effect.fail("no service") })]
    }),
    script: [says("Hello.")],
    expect: { outcome: { error: "no service" }, history: [], seen: [1] }
  },
  {
    name: "a run that an output guardrail stopped is resumed with another answer",
    agent: Agent.make({ name: "guarded", toolkit: adder, outputGuardrails: [polite] }),
    script: [calls(add(1, 2, "c1")), says("No."), says("Yes.")],
    steps: [
      { _tag: "Say", input: "go", options: {} },
      goOn()
    ],
    expect: {
      outcome: [stops("GuardrailTripped"), answers("Yes.", { turns: 2 })],
      history: [["user: go", `c1: add{"a":1,"b":2}`, "c1 = 3"], ["assistant: Yes."]],
      seen: [1, 3, 3],
      ran: ["add 1 2"],
      guardrails: ["output polite tripped", "output polite passed"]
    }
  },
  {
    name: "guardrails of a tool let it run, answer in its place, or hide what it answered",
    agent: Agent.make({
      name: "guarded",
      toolkit: Toolkit.make(Find),
      toolOptions: {
        find: {
          inputGuardrails: [
            Guardrail.toolInput({
              name: "before",
              check: ({ arguments: args }) =>
                Effect.succeed(args.includes("no") ? Guardrail.reject("Not that.") : Guardrail.pass())
            })
          ],
          outputGuardrails: [
            Guardrail.toolOutput({
              name: "after",
              check: ({ output }) =>
                Effect.succeed(output.includes("secret") ? Guardrail.reject("(hidden)") : Guardrail.pass())
            })
          ]
        }
      }
    }),
    script: [calls(find("x", "c1"), find("no", "c2"), find("secret", "c3")), says("done")],
    options: { toolConcurrency: 1 },
    expect: {
      outcome: answers("done"),
      history: [
        [
          "user: go",
          `c1: find{"key":"x"}`,
          `c2: find{"key":"no"}`,
          `c3: find{"key":"secret"}`,
          "c1 = value of x",
          "c2 = Not that.",
          "c3 = (hidden)"
        ],
        ["assistant: done"]
      ],
      seen: [1, 7],
      ran: ["find x", "find secret"],
      guardrails: [
        "toolInput before passed c1",
        "toolOutput after passed c1",
        "toolInput before rejected c2",
        "toolInput before passed c3",
        "toolOutput after rejected c3"
      ]
    }
  },
  {
    name: "a guardrail of a tool that trips ends the run before the handler",
    agent: Agent.make({
      name: "guarded",
      toolkit: adder,
      toolOptions: {
        add: {
          inputGuardrails: [Guardrail.toolInput({ name: "stop", check: () => Effect.succeed(Guardrail.trip()) })]
        }
      }
    }),
    script: [calls(add(1, 2, "c1"))],
    expect: {
      outcome: stops("GuardrailTripped", /toolInput/),
      history: [],
      seen: [1],
      ran: [],
      guardrails: ["toolInput stop tripped c1"]
    }
  },
  {
    name: "a call that a guardrail answered is no final answer",
    agent: Agent.make({
      name: "guarded",
      toolkit: adder,
      toolUse: "stopOnFirst",
      toolOptions: {
        add: {
          inputGuardrails: [
            Guardrail.toolInput({
              name: "small",
              check: ({ arguments: args }) =>
                Effect.succeed(args.includes("9") ? Guardrail.reject("Too big.") : Guardrail.pass())
            })
          ]
        }
      }
    }),
    script: [calls(add(9, 9, "c1")), calls(add(1, 2, "c2"))],
    expect: {
      outcome: answers("3", { turns: 2 }),
      history: [
        ["user: go", `c1: add{"a":9,"b":9}`, "c1 = Too big."],
        [`c2: add{"a":1,"b":2}`, "c2 = 3"]
      ],
      seen: [1, 3],
      ran: ["add 1 2"],
      guardrails: ["toolInput small rejected c1", "toolInput small passed c2"]
    }
  },
  {
    name: "the input is not checked again by the agent that it is handed to",
    agent: Agent.make({ name: "first", inputGuardrails: [passes("once")], handoffs: [second] }),
    script: [calls({ name: "transfer_to_second", callId: "h" }), says("Done.")],
    expect: {
      outcome: answers("Done.", { by: "second" }),
      history: [["user: go", "h: transfer_to_second{}", `h = {"assistant":"second"}`], ["assistant: Done."]],
      seen: [1, 3],
      ran: ["once"],
      guardrails: ["input once passed"]
    }
  }
]
