/**
 * Checks around an agent: on what it is asked, on its tools, and on its answer.
 *
 * A guardrail that trips ends the run with a typed error; one on a tool may also give the model another text, and the run
 * goes on.
 * To see a compile error, replace `Effect.provide([Handlers, Limits, Model])` by `Effect.provide([Handlers, Model])`:
 * `Policy` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, Guardrail, ModelScripted, Runner } from "agent-layers"
import { Console, Context, Effect, Layer, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"

class Policy extends Context.Service<Policy, { readonly forbidden: string }>()("example/Policy") {}

const Tools = Toolkit.make(
  Tool.make("find", { parameters: Schema.Struct({ customer: Schema.String }), success: Schema.String })
)

const Handlers = Tools.toLayer({ find: ({ customer }) => Effect.succeed(`${customer}, card 4929 1234`) })

const noSecrets = Guardrail.input({
  name: "no secrets",
  mode: "blocking",
  check: ({ input }) =>
    Effect.map(
      Policy,
      ({ forbidden }) =>
        JSON.stringify(input).includes(forbidden) ? Guardrail.trip({ found: forbidden }) : Guardrail.pass()
    )
})

const noCards = Guardrail.toolOutput({
  name: "no cards",
  check: ({ output }) =>
    Effect.succeed(/card/.test(output) ? Guardrail.reject("Ada (the rest is withheld)") : Guardrail.pass())
})

const Clerk = Agent.make({
  name: "clerk",
  toolkit: Tools,
  toolOptions: { find: { outputGuardrails: [noCards] } },
  inputGuardrails: [noSecrets],
  outputGuardrails: [{
    name: "polite",
    check: ({ finalOutput }) => Effect.succeed(finalOutput.includes("fool") ? Guardrail.trip() : Guardrail.pass())
  }]
})

const ask = (question: string) =>
  Runner.run(Clerk, question).pipe(
    Effect.tap(({ guardrails }) =>
      Effect.forEach(guardrails, (it) => Console.log(`  ${it.kind} ${it.name}: ${it.outcome}`))
    ),
    Effect.map((result) => result.finalOutput),
    Effect.catchReason("RunError", "GuardrailTripped", (reason) => Effect.succeed(reason.message)),
    Effect.flatMap((line) => Console.log(`${question} ${line}`))
  )

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([
  ModelScripted.toolCall("find", { customer: "Ada" }),
  ModelScripted.text("We have one: Ada."),
  ModelScripted.text("Only a fool asks.")
])

const Limits = Layer.succeed(Policy, { forbidden: "password" })

Effect.forEach(["Who is a customer?", "What is her password?", "Who am I?"], ask, { discard: true }).pipe(
  Effect.provide([Handlers, Limits, Model]),
  NodeRuntime.runMain
)
