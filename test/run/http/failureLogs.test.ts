/** A log says why a run failed: reason, run and agent; no secret, and nothing of the conversation. */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as Agent from "agent-layers/run/Agent"
import * as Guardrail from "agent-layers/run/Guardrail"
import * as OpenAiHttp from "agent-layers/run/http/OpenAiHttp"
import * as RunHttp from "agent-layers/run/http/RunHttp"
import * as ModelError from "agent-layers/services/ModelError"
import { Session } from "agent-layers/services/Session"
import * as SessionError from "agent-layers/services/SessionError"
import { Context, Data, Effect, Layer, Logger, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { HttpRouter, HttpServer } from "effect/http"
import { createServer } from "node:http"
import { until } from "../../support/until.ts"
import { post } from "./openAiSupport.ts"

/** Stands in all that is said, and in all that fails. */
const canary = "canary-4c1d"

class Broken extends Data.TaggedError("Broken")<{ readonly message: string }> {}

const kit = Toolkit.make(
  Tool.make("note", {
    parameters: Schema.Struct({ text: Schema.String }),
    success: Schema.String,
    failure: Schema.String
  })
)

const details = { description: `key ${canary}`, cause: new Error(canary) }

const note = ModelScripted.toolCall("note", { text: canary })

const says = ModelScripted.text(`answer ${canary}`)

const trip = { name: "no canaries", check: () => Effect.succeed(Guardrail.trip({ found: canary })) }

interface Case {
  readonly failure: string
  /** What the log says. */
  readonly reason: RegExp
  readonly agent?: Agent.Agent<any, any, any>
  readonly script?: ReadonlyArray<ModelScripted.Step>
  readonly note?: Effect.Effect<string, string>
  readonly saveItems?: Session["Service"]["saveItems"]
  /** How long runs may take on /v1, and wait for approvals on /runs. */
  readonly patience?: number
  readonly on?: "/runs" | "/v1"
}

const plain = Agent.make({ name: "inner", toolkit: kit })

const instructed = (instructions: Effect.Effect<string, unknown>) =>
  Agent.make({ name: "inner", instructions: instructions as Effect.Effect<string> })

/** Its message has a line that looks like a frame of a stack. */
const misleading = () => new Error(`${canary}\n    at ${canary} (${canary}:1:1)`)

const remote = () => Object.assign(new Error("remote"), { stack: `Error: remote\n    at ${canary} says ${canary}` })

const cases: ReadonlyArray<Case> = [
  ...[
    new ModelError.RateLimited(details),
    new ModelError.Authentication(details),
    new ModelError.InvalidRequest(details),
    new ModelError.ContextLengthExceeded(details)
  ].map((reason): Case => ({
    failure: `the model's ${reason._tag}`,
    reason: new RegExp(`ModelError ${reason._tag}`),
    script: [ModelScripted.fail(reason)]
  })),
  {
    failure: "a tool dies of an error",
    reason: /RunError ToolDefect, tool note: Error at .*failureLogs/,
    script: [note],
    note: Effect.suspend(() => Effect.die(new Error(canary)))
  },
  {
    failure: "a tool dies of an error with a frame in its message",
    reason: /RunError ToolDefect, tool note: Error/,
    script: [note],
    note: Effect.suspend(() => Effect.die(misleading()))
  },
  {
    failure: "a tool dies of an error with words of another process for a stack",
    reason: /RunError ToolDefect, tool note: Error/,
    script: [note],
    note: Effect.suspend(() => Effect.die(remote()))
  },
  {
    failure: "a tool dies of a text",
    reason: /RunError ToolDefect, tool note/,
    script: [note],
    note: Effect.die(canary)
  },
  {
    failure: "a tool's failure ends the run",
    reason: /RunError ToolFailed, tool note/,
    agent: Agent.make({ name: "inner", toolkit: kit, toolOptions: { note: { onFailure: "fail" } } }),
    script: [note],
    note: Effect.fail(canary)
  },
  {
    failure: "a guardrail trips",
    reason: /RunError GuardrailTripped/,
    agent: Agent.make({ name: "inner", outputGuardrails: [trip] }),
    script: [says]
  },
  {
    failure: "the answer has the wrong form",
    reason: /RunError InvalidFinalOutput/,
    agent: Agent.make({ name: "inner", output: Schema.Struct({ n: Schema.Number }) }),
    script: [says]
  },
  {
    failure: "instructions fail with an error of the agent's own",
    reason: /Broken at .*failureLogs/,
    agent: instructed(Effect.suspend(() => Effect.fail(new Broken({ message: canary }))))
  },
  {
    failure: "instructions fail with an object",
    reason: /not an Error/,
    agent: instructed(Effect.fail({ canary, _tag: `a ${canary}` }))
  },
  { failure: "instructions die", reason: /TypeError/, agent: instructed(Effect.die(new TypeError(canary))) },
  {
    failure: "the session cannot store the turn",
    reason: /SessionError Unavailable, backend memory, operation saveItems/,
    script: [says],
    saveItems: (conversationId) =>
      Effect.fail(
        new SessionError.SessionError({
          backend: "memory",
          operation: "saveItems",
          conversationId: `${conversationId} ${canary}`,
          reason: new SessionError.Unavailable({ ...details, isOutcomeUnknown: false })
        })
      )
  },
  { failure: "the run takes too long", reason: /timeout/, script: [ModelScripted.hang()], patience: 50, on: "/v1" },
  {
    failure: "no person decides in time",
    reason: /approval-expired/,
    agent: Agent.make({ name: "inner", toolkit: kit, toolOptions: { note: { needsApproval: true } } }),
    script: [note],
    patience: 50,
    on: "/runs"
  }
]

const serve = Effect.fnUntraced(function*(
  { agent = plain, note = Effect.succeed(canary), patience, saveItems, script = [] }: Case
) {
  const logged: Array<string> = []
  const record = Logger.layer([
    Logger.make((options) => {
      logged.push(
        [Logger.formatJson, Logger.formatLogFmt, Logger.formatSimple].map((logger) => logger.log(options)).join("\n")
      )
    })
  ])
  const session = Layer.effect(
    Session,
    Effect.map(Session, (inner) => ({ ...inner, ...(saveItems === undefined ? undefined : { saveItems }) }))
  ).pipe(Layer.provide(Layer.fresh(SessionMemory.layer)))
  const agents = { outer: agent }
  const routes = Layer.merge(
    RunHttp.layer({ agents, ...(patience === undefined ? undefined : { waitFor: patience }) }),
    OpenAiHttp.layer({ agents, ...(patience === undefined ? undefined : { timeout: patience }) })
  )
  const built = yield* Layer.build(
    HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
      Layer.provideMerge(NodeHttpServer.layer(() => createServer({ keepAliveTimeout: 200 }), {
        host: "127.0.0.1",
        port: 0,
        gracefulShutdownTimeout: "1 second"
      })),
      Layer.provide([
        kit.toLayer({ note: () => note }),
        ModelScripted.layer(script),
        session,
        record
      ])
    )
  )
  return { logged, url: HttpServer.formatAddress(Context.get(built, HttpServer.HttpServer).address) }
})

describe("the log of a run that fails", () => {
  for (const one of cases) {
    for (const path of ["/runs", "/v1"] as const) {
      if (one.on !== undefined && one.on !== path) continue
      it.live(`on ${path}, as ${one.failure}: its reason, the run and the agent, and no canary`, () =>
        Effect.gen(function*() {
          const { logged, url } = yield* serve(one)
          yield* path === "/runs"
            ? post(`${url}/runs`, { agent: "outer", input: canary }, { prefer: "wait=30" })
            : post(`${url}/v1/responses`, { model: "outer", input: canary })
          yield* until(() => logged.length, (count) => count > 0)
          const log = logged.join("\n")
          assert.notInclude(log, canary)
          assert.match(log, one.reason)
          assert.match(log, /of agent outer failed/)
          // The time of a run counts from before it has an id.
          assert.match(log, one.reason.source === "timeout" ? /[Rr]un .*of agent/ : /Run run_\S+ of agent/)
          assert.lengthOf(logged, 1)
        }))
    }
  }
})
