/**
 * Runs that fail after a tool has run, for clients that send a request again by themselves. The tool counts its runs: one
 * request is one.
 */
import { assert, it } from "@effect/vitest"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as Agent from "agent-layers/run/Agent"
import * as Guardrail from "agent-layers/run/Guardrail"
import * as OpenAiHttp from "agent-layers/run/http/OpenAiHttp"
import * as ModelError from "agent-layers/services/ModelError"
import { Duration, Effect, Layer, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { serve } from "./openAiSupport.ts"

const kit = Toolkit.make(
  Tool.make("charge", { parameters: Schema.Struct({}), success: Schema.String, failure: Schema.String }),
  Tool.make("refund", { parameters: Schema.Struct({}), success: Schema.String, needsApproval: true })
)

const tripped = { name: "none", check: () => Effect.succeed(Guardrail.trip({ found: "something" })) }

const cashier = Agent.make({ name: "cashier", toolkit: kit })

const agents = {
  cashier,
  guarded: Agent.make({ name: "guarded", toolkit: kit, outputGuardrails: [tripped] }),
  checked: Agent.make({ name: "checked", toolkit: kit, toolOptions: { charge: { outputGuardrails: [tripped] } } }),
  strict: Agent.make({ name: "strict", toolkit: kit, toolOptions: { charge: { onFailure: "fail" } } }),
  structured: Agent.make({ name: "structured", toolkit: kit, output: Schema.Struct({ n: Schema.Number }) }),
  outer: Agent.make({
    name: "outer",
    agentTools: [Agent.asTool(cashier, { name: "ask_cashier", description: "Asks the cashier." })]
  })
}

type Does = "answers" | "fails" | "dies"

interface Case {
  readonly failure: string
  /** The code of what failed. */
  readonly reason: string
  readonly model: keyof typeof agents
  readonly script: ReadonlyArray<ModelScripted.Step>
  readonly charge?: Does
  /** The agent has said something before it fails: a stream has begun, with 200. */
  readonly hasBegun?: boolean
  readonly options?: Partial<Omit<OpenAiHttp.Options<{}>, "agents">>
}

const charge = ModelScripted.toolCall("charge", {})

const down = (reason: ModelError.ModelErrorReason) => [charge, ModelScripted.fail(reason)]

/** What clients retry where no tool has run: 408, 409, 429 and 5xx, and LangChain 422 too. */
const cases: ReadonlyArray<Case> = [
  {
    failure: "the model is overloaded",
    reason: "model_overloaded",
    model: "cashier",
    script: down(new ModelError.Overloaded({ description: "down" }))
  },
  {
    failure: "the model limits the rate",
    reason: "model_rate_limited",
    model: "cashier",
    script: down(new ModelError.RateLimited({ description: "slow", retryAfter: Duration.zero }))
  },
  {
    failure: "the model does not answer in time",
    reason: "model_timeout",
    model: "cashier",
    script: down(new ModelError.Timeout({ description: "late" }))
  },
  {
    failure: "the conversation is too long",
    reason: "context_length_exceeded",
    model: "cashier",
    script: down(new ModelError.ContextLengthExceeded({ description: "long" }))
  },
  {
    failure: "the model hangs until the run's time is up",
    reason: "timeout",
    model: "cashier",
    script: [charge, ModelScripted.hang()],
    options: { timeout: "1 second" }
  },
  { failure: "the tool dies", reason: "tool_failed", model: "cashier", script: [charge], charge: "dies" },
  {
    failure: "the tool fails, which ends the run",
    reason: "tool_failed",
    model: "strict",
    script: [charge],
    charge: "fails"
  },
  {
    failure: "another call of the same turn needs an approval",
    reason: "approval_required",
    model: "cashier",
    script: [ModelScripted.calls([{ name: "charge", arguments: {} }, { name: "refund", arguments: {} }])]
  },
  {
    failure: "a later turn needs an approval",
    reason: "approval_required",
    model: "cashier",
    script: [charge, ModelScripted.toolCall("refund", {})]
  },
  {
    failure: "a guardrail stops the answer",
    reason: "guardrail_tripped",
    model: "guarded",
    script: [charge, ModelScripted.text("charged")],
    hasBegun: true
  },
  { failure: "a guardrail stops the tool's output", reason: "guardrail_tripped", model: "checked", script: [charge] },
  {
    failure: "the answer has the wrong form",
    reason: "invalid_final_output",
    model: "structured",
    script: [
      charge,
      ModelScripted.text("{}"),
      ModelScripted.text("{}"),
      ModelScripted.text("{}"),
      ModelScripted.text("{}")
    ]
  },
  {
    failure: "a called agent's tool has run",
    reason: "model_overloaded",
    model: "outer",
    script: [
      ModelScripted.toolCall("ask_cashier", { input: "charge" }),
      charge,
      ModelScripted.text("charged"),
      ModelScripted.fail(new ModelError.Overloaded({ description: "down" }))
    ]
  }
]

/** How a client asks: rejects with what went wrong. */
export type Ask = (url: string, model: string) => Promise<unknown>

export interface Client {
  readonly name: string
  readonly isStreamed: boolean
  readonly ask: Ask
}

/** Steps are taken again from the first one for each request of a client: a retry would run the tool again. */
const fresh = (script: ReadonlyArray<ModelScripted.Step>) => {
  let index = 0
  return (): ModelScripted.Step => script[index++ % script.length]!
}

const served = Effect.fnUntraced(
  function*({ charge = "answers", options, script }: Pick<Case, "charge" | "options" | "script">) {
    const ran: Array<string> = []
    const requests: Array<string> = []
    const handlers = kit.toLayer({
      charge: () =>
        Effect.suspend(() => {
          ran.push("charge")
          return charge === "answers"
            ? Effect.succeed("charged")
            : charge === "fails"
            ? Effect.fail("no money")
            : Effect.die(new Error("a bug"))
        }),
      refund: () => Effect.succeed("refunded")
    })
    const { server, url } = yield* serve(
      OpenAiHttp.layer({ agents, ...options }).pipe(
        Layer.provide([handlers, ModelScripted.layer(fresh(script)), Layer.fresh(SessionMemory.layer)])
      )
    )
    server.on("request", ({ method, url }) => requests.push(`${method} ${url}`))
    return { ran, requests, url }
  }
)

const causesOf = (error: any): ReadonlyArray<any> =>
  error === undefined || error === null ? [] : [error, ...causesOf(error.cause), ...causesOf(error.lastError)]

const rejection = (promise: Promise<unknown>) => promise.then(() => undefined, (error: unknown) => error)

/** Each client in each case, and that the client does retry where no tool has run. */
export const rows = (clients: ReadonlyArray<Client>, retries = 1) => {
  for (const { ask, isStreamed, name } of clients) {
    for (const { failure, hasBegun, model, reason, ...setup } of cases) {
      it.live(`${name}${isStreamed ? ", streamed" : ""}: ${failure}: one request, the tool ran once, 400 failed_after_tools`, () =>
        Effect.gen(function*() {
          const { ran, requests, url } = yield* served(setup)
          const error = yield* Effect.promise(() => rejection(ask(url, model)))
          assert.deepStrictEqual(ran, ["charge"])
          assert.lengthOf(requests, 1)
          // LangChain takes a response that fails in the middle of its stream for its end.
          if (isStreamed && hasBegun === true && error === undefined) return
          const told = causesOf(error)
            .map((one) =>
              `${one.status ?? one.statusCode ?? ""} ${one.responseBody ?? ""} ${
                JSON.stringify(one.error ?? {})
              } ${one.message}`
            )
            .join("\n")
          assert.include(told, "The run failed after tools had run")
          if (isStreamed && hasBegun === true) return
          assert.match(told, /\b400\b/)
          assert.include(told, "failed_after_tools")
          assert.include(told, `"reason":"${reason}"`)
        }))
    }

    it.live(`${name}${isStreamed ? ", streamed" : ""}: asks again by itself where no tool has run`, () =>
      Effect.gen(function*() {
        const overloaded = ModelScripted.fail(new ModelError.Overloaded({ description: "down" }))
        const { ran, requests, url } = yield* served({ script: [overloaded] })
        assert.isDefined(yield* Effect.promise(() => rejection(ask(url, "cashier"))))
        assert.deepStrictEqual(ran, [])
        assert.lengthOf(requests, 1 + retries)
      }))
  }
}
