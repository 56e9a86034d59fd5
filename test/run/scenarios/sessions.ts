import { Agent, Item, ModelError, ModelScripted, SessionError } from "agent-layers"
import { Effect, Schedule } from "effect"
import { Toolkit } from "effect/ai"
import type { Row } from "./play.ts"
import { answers, goOn, modelFails, say, stops } from "./play.ts"
import { Add, add, calls, says } from "./tools.ts"

const plain = Agent.make({ name: "plain" })
const clerk = Agent.make({ name: "clerk", toolkit: Toolkit.make(Add) })

const added = [`c1: add{"a":1,"b":2}`, "c1 = 3"]

const away = new SessionError.SessionError({
  backend: "test",
  operation: "saveItems",
  reason: new SessionError.Unavailable({ description: "away", isOutcomeUnknown: false })
})

const fails = (reason: string, message: RegExp) => ({ error: "SessionError", reason, message })

const call = Item.functionCall({ callId: "open", name: "add", arguments: "{}" })

export const sessions: ReadonlyArray<Row> = [
  {
    name: "a conversation is loaded before a run, and goes on after it",
    agent: clerk,
    script: [calls(add(1, 2, "c1")), says("3"), says("Bye.")],
    steps: [say("one"), say("two")],
    expect: {
      outcome: [answers("3", { version: 2 }), answers("Bye.", { version: 3 })],
      history: [["user: one", ...added], ["assistant: 3"], ["user: two", "assistant: Bye."]],
      seen: [1, 3, ["user: one", ...added, "assistant: 3", "user: two"]],
      usage: 1,
      ran: ["add 1 2"]
    }
  },
  {
    name: "a new conversation has an id of its own, which the result tells",
    agent: plain,
    script: [says("1"), says("2")],
    options: { conversationId: "new" },
    steps: [say("hi"), say("hi")],
    expect: {
      outcome: [answers("1", { version: 1 }), answers("2", { version: 1 })],
      history: [],
      others: ["conv_1", "conv_2"],
      seen: [1, 1],
      usage: 1
    }
  },
  {
    name: "a first model call that fails leaves nothing behind, and said again the input is stored once",
    agent: plain,
    stored: [Item.user("before"), Item.assistant("Yes.")],
    script: [ModelScripted.fail(new ModelError.Transport({ description: "gone" })), says("Hello.")],
    steps: [say("hi"), say("hi")],
    expect: {
      outcome: [modelFails("Transport", /gone/), answers("Hello.")],
      history: [["user: before", "assistant: Yes."], ["user: hi", "assistant: Hello."]],
      seen: [3, 3],
      usage: 1
    }
  },
  {
    name: "a model that fails in a later turn keeps the turns before it, and a run without input goes on",
    agent: clerk,
    script: [calls(add(1, 2, "c1")), ModelScripted.fail(new ModelError.Overloaded({ description: "busy" })), says("3")],
    steps: [say("go"), say([])],
    expect: {
      outcome: [modelFails("Overloaded", /busy/), answers("3", { turns: 1, version: 2 })],
      history: [["user: go", ...added], ["assistant: 3"]],
      seen: [1, 3, 3],
      usage: 1,
      ran: ["add 1 2"]
    }
  },
  {
    name: "half pairs that a store was left with do not stop the next run, which is shown none of them",
    agent: plain,
    stored: [
      Item.user("before"),
      { type: "reasoning", id: "rs_1", summary: [] },
      call,
      Item.functionCallOutput("gone", "late"),
      Item.user("still there?"),
      { type: "reasoning", id: "rs_2", summary: [] }
    ],
    isStoredBroken: true,
    script: [says("Yes.")],
    input: "hello?",
    expect: {
      outcome: answers("Yes.", { version: 2 }),
      history: [
        ["user: before", "thinks: ", "open: add{}", "gone = late", "user: still there?", "thinks: "],
        ["user: hello?", "assistant: Yes."]
      ],
      seen: [["user: before", "user: still there?", "user: hello?"]]
    }
  },
  {
    name: "an output in the caller's input answers a call that the store was left with",
    agent: plain,
    stored: [Item.user("before"), call],
    script: [says("Thanks.")],
    input: [Item.functionCallOutput("open", "here")],
    expect: {
      outcome: answers("Thanks."),
      history: [["user: before", "open: add{}"], ["open = here", "assistant: Thanks."]],
      seen: [["user: before", "open: add{}", "open = here"]]
    }
  },
  {
    name: "of a long conversation only the latest items are loaded, from a person's message on",
    agent: plain,
    stored: [
      Item.user("one"),
      Item.functionCall({ callId: "1", name: "add", arguments: "{}" }),
      Item.functionCallOutput("1", "out"),
      Item.assistant("answer"),
      Item.user("more"),
      Item.assistant("of it")
    ],
    script: [says("a"), says("b"), says("c")],
    steps: [say("five", { maxItems: 5 }), say("none", { maxItems: 0 }), say("all", { maxItems: 100 })],
    expect: {
      outcome: [answers("a"), answers("b"), answers("c")],
      history: [
        ["user: one", "1: add{}", "1 = out", "assistant: answer", "user: more", "assistant: of it"],
        ["user: five", "assistant: a"],
        ["user: none", "assistant: b"],
        ["user: all", "assistant: c"]
      ],
      seen: [["user: more", "assistant: of it", "user: five"], ["user: none"], 11],
      usage: 1
    }
  },
  {
    name: "text equal to what was said before is said again",
    agent: plain,
    script: [says("Yes."), says("Yes.")],
    steps: [say("again"), say("again")],
    expect: {
      outcome: [answers("Yes."), answers("Yes.")],
      history: [["user: again", "assistant: Yes."], ["user: again", "assistant: Yes."]],
      seen: [1, ["user: again", "assistant: Yes.", "user: again"]],
      usage: 1
    }
  },
  {
    name: "a store that does not take the turn is what the run fails with, and nothing was told as stored",
    agent: clerk,
    session: (inner) => ({ ...inner, saveItems: () => Effect.fail(away) }),
    script: [calls(add(1, 2, "c1"))],
    expect: {
      outcome: fails("Unavailable", /away/),
      history: [],
      seen: [1],
      ran: ["add 1 2"],
      events: ["RunStarted", "TurnStarted 1 clerk", "ToolCallDelta", "ItemDone", "ToolStarted c1", "ToolFinished c1"]
    }
  },
  {
    name: "a store that cannot be read ends the run before the model is asked",
    agent: plain,
    session: (inner) => ({ ...inner, loadItems: () => Effect.fail(away) }),
    script: [],
    expect: { outcome: fails("Unavailable", /away/), history: [], seen: [], events: ["RunStarted"] }
  },
  {
    name: "a commit that did not come through is stored once when the store retries it under its id",
    agent: clerk,
    session: (inner) => {
      let lost = 0
      return {
        ...inner,
        // The answer to the first commit is lost on its way back.
        saveItems: (id, items, options) =>
          Effect.retry(
            Effect.tap(inner.saveItems(id, items, options), () => lost++ === 0 ? Effect.fail(away) : Effect.void),
            Schedule.recurs(1)
          )
      }
    },
    script: [calls(add(1, 2, "c1")), says("3")],
    expect: {
      outcome: answers("3", { version: 2 }),
      history: [["user: go", ...added], ["assistant: 3"]],
      seen: [1, 3],
      ran: ["add 1 2"]
    }
  },
  {
    name: "a conversation that another process wrote to meanwhile refuses the commit, and is never mixed",
    agent: clerk,
    session: (inner) => {
      let isFirst = true
      return {
        ...inner,
        saveItems: (id, items, options) =>
          Effect.suspend(() => {
            const before = isFirst ? inner.saveItems(id, [Item.user("mine"), Item.assistant("yours")]) : Effect.void
            isFirst = false
            return Effect.andThen(before, inner.saveItems(id, items, options))
          })
      }
    },
    script: [calls(add(1, 2, "c1"))],
    expect: {
      outcome: fails("VersionConflict", /version/),
      history: [["user: mine", "assistant: yours"]],
      seen: [1],
      ran: ["add 1 2"]
    }
  },
  {
    name: "a store whose maintenance fails has stored the run, which ends well",
    agent: plain,
    session: (inner) => ({ ...inner, maintain: () => Effect.fail(away) }),
    script: [says("Hello.")],
    expect: { outcome: answers("Hello."), history: [["user: go", "assistant: Hello."]], seen: [1] }
  },
  {
    name: "a state of one conversation is not resumed on another",
    agent: clerk,
    script: [calls(add(1, 2, "c1")), says("3")],
    steps: [
      say("go", { stopAfterTurn: Effect.succeed(true) }),
      goOn({ conversationId: "d" }),
      goOn({ conversationId: undefined }),
      goOn()
    ],
    expect: {
      outcome: [
        stops("Stopped"),
        stops("StateMismatch", /conversation "c".*conversation "d"/),
        stops("StateMismatch", /conversation "c".*no conversation/),
        answers("3", { turns: 2 })
      ],
      history: [["user: go", ...added], ["assistant: 3"]],
      seen: [1, 3],
      ran: ["add 1 2"]
    }
  },
  {
    name: "items of every kind in the input are stored as they were given",
    agent: plain,
    script: [says("I see.")],
    input: [
      Item.developer("Be brief."),
      Item.user([
        { type: "input_text", text: "What is this?" },
        { type: "input_image", image_url: "data:image/png;base64,AQID", detail: "auto" }
      ])
    ],
    expect: {
      outcome: answers("I see."),
      history: [["developer: Be brief.", "user: What is this?", "assistant: I see."]],
      seen: [["developer: Be brief.", "user: What is this?"]]
    }
  }
]
