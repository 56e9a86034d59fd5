import { describe, expectTypeOf, it } from "@effect/vitest"
import * as Agent from "agent-layers/run/Agent"
import type { Decision } from "agent-layers/run/Approval"
import * as Guardrail from "agent-layers/run/Guardrail"
import * as Handoff from "agent-layers/run/Handoff"
import type { ResumeOptions } from "agent-layers/run/RunConfig"
import type { RunError } from "agent-layers/run/RunError"
import type { RunEvent } from "agent-layers/run/RunEvent"
import * as Runner from "agent-layers/run/Runner"
import type { RunResult } from "agent-layers/run/RunResult"
import type { RunState } from "agent-layers/run/RunState"
import * as McpServer from "agent-layers/services/McpServer"
import type { ModelError } from "agent-layers/services/ModelError"
import type { ModelProvider } from "agent-layers/services/ModelProvider"
import type { Session } from "agent-layers/services/Session"
import type { SessionError } from "agent-layers/services/SessionError"
import { Context, Effect, Option, Schema, type Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"

class Profile extends Context.Service<Profile, { readonly name: string }>()("test/Profile") {}
class Policy extends Context.Service<Policy, { readonly limit: number }>()("test/Policy") {}
class Audit extends Context.Service<Audit, { readonly write: (line: string) => Effect.Effect<void> }>()("test/Audit") {}
class NoProfile extends Schema.TaggedError<NoProfile>()("NoProfile", {}) {}
class NoPolicy extends Schema.TaggedError<NoPolicy>()("NoPolicy", {}) {}

const Refund = Tool.make("refund", { parameters: Schema.Struct({ order: Schema.String, cents: Schema.Number }) })
const Ping = Tool.make("ping")
const Kit = Toolkit.make(Refund, Ping)

const Total = Schema.Struct({ total: Schema.Number })
const Due = Schema.Struct({ due: Schema.DateFromString })
type Total = { readonly total: number }
type Due = { readonly due: Date }

const plain = Agent.make({ name: "plain" })
const billing = Agent.make({ name: "billing", output: Total })
const calendar = Agent.make({
  name: "calendar",
  output: Due,
  instructions: Effect.gen(function*() {
    const profile = yield* Profile
    if (profile.name === "") return yield* new NoProfile()
    return profile.name
  })
})

class Files extends McpServer.Service<Files>()("files") {}
class Web extends McpServer.Service<Web>()("web") {}

describe("MCP servers", () => {
  it("add their tags and McpError", () => {
    expectTypeOf(Agent.make({ name: "a", mcpServers: [Files] })).toEqualTypeOf<
      Agent.Agent<string, McpServer.McpError, Files>
    >()
    expectTypeOf(Agent.make({ name: "a", mcpServers: [Files, Agent.mcpTools(Web, { prefix: "web_" })] })).toEqualTypeOf<
      Agent.Agent<string, McpServer.McpError, Files | Web>
    >()
    expectTypeOf(Agent.make({ name: "a", mcpServers: [] })).toEqualTypeOf<Agent.Agent<string>>()
  })

  it("add what their filters and approvals need and fail with", () => {
    const server = Agent.mcpTools(Files, {
      filter: {
        where: ({ name }) =>
          Effect.flatMap(
            Profile,
            (profile) => profile.name === name ? Effect.fail(new NoProfile()) : Effect.succeed(true)
          )
      },
      needsApproval: (params, { name }) => {
        expectTypeOf(params).toEqualTypeOf<Readonly<Record<string, unknown>>>()
        return Effect.map(Policy, ({ limit }) => name.length > limit)
      }
    })
    expectTypeOf(Agent.make({ name: "a", mcpServers: [server] })).toEqualTypeOf<
      Agent.Agent<string, McpServer.McpError | NoProfile, Files | Profile | Policy>
    >()
  })

  it("take servers, and nothing else", () => {
    // @ts-expect-error a name is no server
    Agent.make({ name: "a", mcpServers: ["files"] })
    // @ts-expect-error nor is another service
    Agent.make({ name: "a", mcpServers: [Profile] })
  })
})

describe("prompts", () => {
  it("may be Effects", () => {
    const prompt = Effect.map(Profile, ({ name }) => ({ id: "pmpt_1", variables: { name } }))
    expectTypeOf(Agent.make({ name: "a", prompt })).toEqualTypeOf<Agent.Agent<string, never, Profile>>()
    expectTypeOf(Agent.make({ name: "a", prompt: { id: "pmpt_1" } })).toEqualTypeOf<Agent.Agent<string>>()
    // @ts-expect-error an Effect of something else
    Agent.make({ name: "a", prompt: Effect.succeed("pmpt_1") })
  })
})

describe("handoffs", () => {
  it("make the output the union of all, and add errors and requirements", () => {
    expectTypeOf(Agent.make({ name: "a", handoffs: [billing, calendar] })).toEqualTypeOf<
      Agent.Agent<string | Total | Due, NoProfile, Profile>
    >()
    expectTypeOf(Agent.make({ name: "a", output: Total, handoffs: [Handoff.to(calendar)] })).toEqualTypeOf<
      Agent.Agent<Total | Due, NoProfile, Profile>
    >()
    expectTypeOf(Agent.make({ name: "a", handoffs: () => [billing, calendar] })).toEqualTypeOf<
      Agent.Agent<string | Total | Due, NoProfile, Profile>
    >()
  })

  it("add what onHandoff and isEnabled need and fail with", () => {
    const handoff = Handoff.to(billing, {
      input: Schema.Struct({ why: Schema.String }),
      onHandoff: (input) => {
        expectTypeOf(input).toEqualTypeOf<{ readonly why: string }>()
        return Effect.flatMap(Audit, (audit) => audit.write(input.why))
      },
      isEnabled: Effect.flatMap(Policy, ({ limit }) => limit > 0 ? Effect.succeed(true) : Effect.fail(new NoPolicy()))
    })
    expectTypeOf(handoff).toEqualTypeOf<Handoff.Handoff<Total, NoPolicy, Audit | Policy>>()
    expectTypeOf(Agent.make({ name: "a", handoffs: [handoff] })).toEqualTypeOf<
      Agent.Agent<string | Total, NoPolicy, Audit | Policy>
    >()
  })

  it("written in their list are the same", () => {
    expectTypeOf(Agent.make({ name: "a", handoffs: [Handoff.to(billing, { toolName: "b" })] })).toEqualTypeOf<
      Agent.Agent<string | Total>
    >()
    expectTypeOf(Agent.make({
      name: "a",
      handoffs: [
        Handoff.to(billing, { onHandoff: () => Effect.flatMap(Audit, (audit) => audit.write("")) }),
        Handoff.to(calendar, { isEnabled: Effect.fail(new NoPolicy()) })
      ]
    })).toEqualTypeOf<Agent.Agent<string | Total | Due, NoProfile | NoPolicy, Audit | Profile>>()
    expectTypeOf(Agent.make({ name: "a", handoffs: () => [Handoff.to(billing, { toolName: "b" }), calendar] }))
      .toEqualTypeOf<Agent.Agent<string | Total | Due, NoProfile, Profile>>()
  })

  it("may lead back, where one of the agents says its type", () => {
    const front: Agent.Agent<string | Total | Due, NoProfile, Profile> = Agent.make({
      name: "front",
      handoffs: () => [back, calendar]
    })
    const back = Agent.make({
      name: "back",
      output: Total,
      handoffs: () => [Handoff.to(front, { toolName: "return" })]
    })
    expectTypeOf(back).toEqualTypeOf<Agent.Agent<string | Total | Due, NoProfile, Profile>>()
    // @ts-expect-error what calendar requires must be said
    const forgetful: Agent.Agent<string | Total | Due, NoProfile> = Agent.make({
      name: "forgetful",
      handoffs: () => [forgetful, billing, calendar]
    })
  })

  it("are agents or handoffs", () => {
    // @ts-expect-error an agent's name is no agent
    void Agent.make({ name: "a", handoffs: ["billing"] })
  })
})

describe("guardrails", () => {
  it("add what they need and fail with", () => {
    expectTypeOf(Agent.make({
      name: "a",
      output: Total,
      inputGuardrails: [
        Guardrail.input({ name: "free", check: () => Effect.succeed(Guardrail.pass()) }),
        Guardrail.input({
          name: "limit",
          check: ({ input }) => Effect.map(Policy, ({ limit }) => Guardrail.pass(limit - input.length))
        })
      ],
      outputGuardrails: [
        Guardrail.output<Total, NoPolicy>({
          name: "positive",
          check: ({ finalOutput }) =>
            finalOutput.total > 0 ? Effect.succeed(Guardrail.pass()) : Effect.fail(new NoPolicy())
        })
      ]
    })).toEqualTypeOf<Agent.Agent<Total, NoPolicy, Policy>>()
  })

  it("on an output are for that output", () => {
    const totals = Guardrail.output<Total>({ name: "totals", check: () => Effect.succeed(Guardrail.pass()) })
    const anything = Guardrail.output<unknown>({ name: "anything", check: () => Effect.succeed(Guardrail.pass()) })
    void Agent.make({ name: "a", output: Total, outputGuardrails: [totals, anything] })
    // @ts-expect-error the output is text
    void Agent.make({ name: "a", outputGuardrails: [totals] })
    // @ts-expect-error the output has a date and no total
    void Agent.make({ name: "a", output: Due, outputGuardrails: [totals] })
  })

  it("of an output see its type where they are written", () => {
    void Agent.make({
      name: "a",
      output: Total,
      outputGuardrails: [{
        name: "positive",
        check: ({ finalOutput }) => {
          expectTypeOf(finalOutput).toEqualTypeOf<Total>()
          return Effect.succeed(Guardrail.pass())
        }
      }]
    })
  })

  it("on an input have no rejection", () => {
    // @ts-expect-error only a tool's guardrail may reject
    void Guardrail.input({ name: "a", check: () => Effect.succeed(Guardrail.reject("no")) })
    void Guardrail.toolInput({ name: "a", check: () => Effect.succeed(Guardrail.reject("no")) })
  })
})

describe("toolOptions", () => {
  it("see the parameters of their tool, and add what they need and fail with", () => {
    const agent = Agent.make({
      name: "a",
      toolkit: Kit,
      toolOptions: {
        refund: {
          needsApproval: (params, { callId }) => {
            expectTypeOf(params).toEqualTypeOf<{ readonly order: string; readonly cents: number }>()
            expectTypeOf(callId).toEqualTypeOf<string>()
            return Effect.flatMap(
              Policy,
              ({ limit }) => limit > 0 ? Effect.succeed(params.cents > limit) : Effect.fail(new NoPolicy())
            )
          }
        },
        ping: {
          isEnabled: Effect.map(Profile, ({ name }) => name !== ""),
          inputGuardrails: [
            Guardrail.toolInput({ name: "x", check: () => Effect.as(Audit, Guardrail.pass()) })
          ],
          outputGuardrails: [
            Guardrail.toolOutput({ name: "y", check: () => Effect.fail(new NoProfile()) })
          ]
        }
      }
    })
    expectTypeOf(agent).toEqualTypeOf<
      Agent.Agent<
        string,
        NoPolicy | NoProfile,
        Tool.Handler<"refund"> | Tool.Handler<"ping"> | Policy | Profile | Audit
      >
    >()
    expectTypeOf(Agent.make({ name: "a", toolkit: Kit, toolOptions: { ping: { needsApproval: true } } })).toEqualTypeOf<
      Agent.Agent<string, never, Tool.Handler<"refund"> | Tool.Handler<"ping">>
    >()
  })

  it("do not take what the tool does not have", () => {
    void Agent.make({
      name: "a",
      toolkit: Kit,
      toolOptions: {
        refund: {
          // @ts-expect-error refund has no such parameter
          needsApproval: (params) => Effect.succeed(params.no === 1)
        }
      }
    })
    // @ts-expect-error there is no tool "pong"
    void Agent.make({ name: "a", toolkit: Kit, toolOptions: { ping: {}, pong: { needsApproval: true } } })
    // @ts-expect-error an agent without tools has none
    void Agent.make({ name: "a", toolOptions: { ping: { needsApproval: true } } })
    // @ts-expect-error a predicate is an Effect
    void Agent.make({ name: "a", toolkit: Kit, toolOptions: { refund: { needsApproval: () => true } } })
  })
})

describe("agents as tools", () => {
  it("add their requirements; what they fail with goes to the calling model", () => {
    const tool = Agent.asTool(calendar, { name: "when", description: "Knows dates" })
    expectTypeOf(tool).toEqualTypeOf<Agent.AgentTool<NoProfile, Profile>>()
    expectTypeOf(Agent.make({ name: "a", agentTools: [tool] })).toEqualTypeOf<Agent.Agent<string, never, Profile>>()
  })

  it("written in their list are the same", () => {
    expectTypeOf(Agent.make({
      name: "a",
      agentTools: [
        Agent.asTool(plain, { name: "p", description: "" }),
        Agent.asTool(calendar, { name: "c", description: "", isEnabled: Effect.as(Policy, true) })
      ]
    })).toEqualTypeOf<Agent.Agent<string, never, Profile | Policy>>()
    expectTypeOf(Agent.make({ name: "a", agentTools: [Agent.asTool(plain, { name: "p", description: "" })] }))
      .toEqualTypeOf<Agent.Agent<string>>()
  })

  it("know what they are asked and what they answer", () => {
    void Agent.asTool(calendar, {
      name: "when",
      description: "Knows dates",
      parameters: Schema.Struct({ day: Schema.String }),
      input: (params) => {
        expectTypeOf(params).toEqualTypeOf<{ readonly day: string }>()
        return params.day
      },
      toText: (finalOutput) => {
        expectTypeOf(finalOutput).toEqualTypeOf<Due>()
        return finalOutput.due.toISOString()
      }
    })
  })
})

describe("toolUse", () => {
  it("answers with the agent's output", () => {
    void Agent.make({ name: "a", output: Total, toolUse: () => Option.some({ total: 1 }) })
    // @ts-expect-error the output is a total
    void Agent.make({ name: "a", output: Total, toolUse: () => Option.some("one") })
  })
})

declare const state: RunState
declare const decisions: ReadonlyArray<Decision>

describe("resume", () => {
  it("needs a Session only with a conversationId", () => {
    const without = Runner.resume(calendar, state)
    expectTypeOf(without).toEqualTypeOf<
      Effect.Effect<RunResult<Due>, RunError | ModelError | NoProfile, ModelProvider | Profile>
    >()
    expectTypeOf(Runner.resume(calendar, state, decisions, { maxTurns: 3 })).toEqualTypeOf<typeof without>()
    expectTypeOf(Runner.resume(calendar, state, decisions, { conversationId: "c" })).toEqualTypeOf<
      Effect.Effect<RunResult<Due>, RunError | ModelError | SessionError | NoProfile, ModelProvider | Session | Profile>
    >()
    const passOn = (options: ResumeOptions) => Runner.resume(plain, state, decisions, options)
    expectTypeOf<Effect.Services<ReturnType<typeof passOn>>>().toEqualTypeOf<ModelProvider | Session>()
  })

  it("is the same for a stream", () => {
    expectTypeOf(Runner.resumeStream(calendar, state, decisions)).toEqualTypeOf<
      Stream.Stream<RunEvent<Due>, RunError | ModelError | NoProfile, ModelProvider | Profile>
    >()
    expectTypeOf(Runner.resumeStream(plain, state, decisions, { conversationId: "c" })).toEqualTypeOf<
      Stream.Stream<RunEvent<string>, RunError | ModelError | SessionError, ModelProvider | Session>
    >()
  })

  it("takes no history", () => {
    // @ts-expect-error the state has the conversation
    void Runner.resume(plain, state, decisions, { history: () => Effect.succeed([]) })
  })
})

describe("a run's options", () => {
  it("add what they need and fail with", () => {
    expectTypeOf(Runner.run(plain, "hi", {
      hooks: {
        onRunStart: () => Effect.flatMap(Audit, (audit) => audit.write("start")),
        onToolStart: (_context, call) => Effect.flatMap(Audit, (audit) => audit.write(call.name))
      }
    })).toEqualTypeOf<Effect.Effect<RunResult<string>, RunError | ModelError, ModelProvider | Audit>>()
    expectTypeOf(Runner.run(plain, "hi", {
      inputFilter: (request) =>
        Effect.flatMap(Policy, ({ limit }) => limit > 0 ? Effect.succeed(request) : Effect.fail(new NoPolicy()))
    })).toEqualTypeOf<Effect.Effect<RunResult<string>, RunError | ModelError | NoPolicy, ModelProvider | Policy>>()
    expectTypeOf(Runner.run(plain, "hi", { stopAfterTurn: Effect.map(Policy, ({ limit }) => limit === 0) }))
      .toEqualTypeOf<Effect.Effect<RunResult<string>, RunError | ModelError, ModelProvider | Policy>>()
    expectTypeOf(Runner.run(plain, "hi", { maxTurns: 1 })).toEqualTypeOf<
      Effect.Effect<RunResult<string>, RunError | ModelError, ModelProvider>
    >()
  })

  it("of a stream and of resuming do too", () => {
    const inputFilter = <A>(request: A) => Effect.as(Policy, request)
    expectTypeOf(Runner.stream(plain, "hi", { conversationId: "c", inputFilter })).toEqualTypeOf<
      Stream.Stream<RunEvent<string>, RunError | ModelError | SessionError, ModelProvider | Session | Policy>
    >()
    expectTypeOf(Runner.resume(plain, state, [], { hooks: { onTurnStart: () => Effect.fail(new NoPolicy()) } }))
      .toEqualTypeOf<Effect.Effect<RunResult<string>, RunError | ModelError | NoPolicy, ModelProvider>>()
  })
})
