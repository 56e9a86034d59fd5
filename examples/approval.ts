/**
 * Payments that a person decides on: the run stops, its signed state goes out and comes back, and it goes on from there.
 *
 * Only payments over 50 euros ask. The state could be resumed in another process, tomorrow.
 * To see a compile error, replace `params.euros` by `params.dollars`: `dollars` is no parameter of the tool.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, Approval, Item, ModelScripted, Runner, RunState } from "agent-layers"
import { Console, Effect, Redacted, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"

const Tools = Toolkit.make(
  Tool.make("pay", {
    parameters: Schema.Struct({ to: Schema.String, euros: Schema.Number }),
    success: Schema.String
  })
)

const Handlers = Tools.toLayer({
  pay: ({ euros, to }) => Console.log(`paid ${euros} to ${to}`).pipe(Effect.as("paid"))
})

const Clerk = Agent.make({
  name: "clerk",
  toolkit: Tools,
  toolOptions: { pay: { needsApproval: (params) => Effect.succeed(params.euros > 50) } }
})

const signing = { key: Redacted.make("an example's key of 32 bytes or more"), audience: "ada" }

const decide = Effect.fnUntraced(function*(approval: Approval.Approval) {
  const isAda = approval.arguments.includes(`"Ada"`)
  yield* Console.log(`${approval.tool}(${approval.arguments})? ${isAda ? "yes" : "no"}`)
  return isAda ? Approval.approve(approval) : Approval.reject(approval, { reason: "Bob is paid already" })
})

const program = Effect.gen(function*() {
  const { approvals, sent } = yield* Runner.run(Clerk, "Pay everyone.").pipe(
    Effect.flatMap((result) => Effect.die(`nobody was asked: ${result.finalOutput}`)),
    Effect.catchReason(
      "RunError",
      "ApprovalRequired",
      ({ approvals, state }) => Effect.map(RunState.serialise(state, signing), (sent) => ({ approvals, sent }))
    )
  )
  yield* Console.log(`${approvals.length} wait`)
  yield* RunState.deserialise(sent.replace(/.$/, "!"), signing).pipe(
    Effect.catchTag("RunStateError", (error) => Console.log(`altered: ${error.reason._tag}`))
  )
  const state = yield* RunState.deserialise(sent, signing)
  const decisions = yield* Effect.forEach(approvals, decide)
  const result = yield* Runner.resume(Clerk, state, decisions)
  for (const item of result.newItems.filter(Item.isFunctionCallOutput)) yield* Console.log(`  -> ${item.output}`)
  yield* Console.log(result.finalOutput)
})

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([
  ModelScripted.calls([
    { name: "pay", arguments: { to: "Eve", euros: 5 } },
    { name: "pay", arguments: { to: "Ada", euros: 80 } },
    { name: "pay", arguments: { to: "Bob", euros: 90 } }
  ]),
  ModelScripted.text("Eve and Ada are paid; Bob was already.")
])

program.pipe(Effect.provide([Handlers, Model]), NodeRuntime.runMain)
