/** Runs that wait for a person. */
import { assert, describe, it } from "@effect/vitest"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as Agent from "agent-layers/run/Agent"
import type { Approval } from "agent-layers/run/Approval"
import { approve, reject } from "agent-layers/run/Approval"
import * as Handoff from "agent-layers/run/Handoff"
import * as RunHttp from "agent-layers/run/http/RunHttp"
import * as ModelError from "agent-layers/services/ModelError"
import type { ModelProvider } from "agent-layers/services/ModelProvider"
import { Session } from "agent-layers/services/Session"
import * as SessionError from "agent-layers/services/SessionError"
import { Context, Data, Duration, Effect, Fiber, Layer, Metric, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { until } from "../../support/until.ts"
import { assertProblem, type Client, eventsOf, json, readUntil, serve, type Told } from "./support.ts"

const kit = Toolkit.make(
  Tool.make("pay", {
    parameters: Schema.Struct({ euros: Schema.Number }),
    success: Schema.String,
    needsApproval: true
  }),
  Tool.make("look", { parameters: Schema.Struct({}), success: Schema.String })
)

const Cashier = Agent.make({ name: "cashier", toolkit: kit })
const Bank = Agent.make({
  name: "bank",
  agentTools: [Agent.asTool(Cashier, { name: "ask_cashier", description: "Asks the cashier." })]
})
const Desk = Agent.make({ name: "desk", handoffs: [Cashier] })

const agents = { cashier: Cashier, bank: Bank, desk: Desk }

const pay = (euros: number, callId: string) => ({ name: "pay", arguments: { euros }, callId })
const look = (callId: string) => ({ name: "look", arguments: {}, callId })

const payFive = [ModelScripted.calls([pay(5, "p")]), ModelScripted.text("Paid.")]

interface Setup extends Omit<RunHttp.Options<typeof agents>, "agents" | "tenants"> {
  readonly script?: ModelScripted.Script
  readonly session?: Layer.Layer<Session>
}

/** Serves, and tells what the handlers did. */
const served = Effect.fnUntraced(function*(
  { script = payFive, session = SessionMemory.layer, ...options }: Setup = {}
) {
  const ran: Array<string> = []
  const handlers = kit.toLayer({
    pay: ({ euros }) => Effect.sync(() => (ran.push(`pay ${euros}`), `paid ${euros}`)),
    look: () => Effect.sync(() => (ran.push("look"), "seen"))
  })
  const client = yield* serve(
    RunHttp.layer({ agents, ...options }).pipe(
      Layer.provide([handlers, ModelScripted.layer(script), Layer.fresh(session)])
    )
  )
  return { client, ran }
})

/** A run that has come to wait. */
const waiting = Effect.fnUntraced(function*(client: Client, body: object = {}, headers: Record<string, string> = {}) {
  const response = yield* client.post({ agent: "cashier", input: "Pay.", ...body }, { prefer: "wait=30", ...headers })
  const run = yield* json(response)
  assert.strictEqual(response.status, 202, JSON.stringify(run))
  assert.strictEqual(run.status, "waiting")
  return run as { readonly approvals: ReadonlyArray<Approval> } & Record<string, any>
})

const finished = { prefer: "wait=30" }

/** Everything approved, and what the run came to then. */
const approveAll = (client: Client, run: { readonly approvals: ReadonlyArray<Approval> } & Record<string, any>) =>
  client.decide(run as any, run.approvals.map((approval) => approve(approval)), finished)

const eventsNow = (client: Client, run: any) => Effect.flatMap(client.get(run.links.events), eventsOf)
const names = (events: ReadonlyArray<Told>) => events.map(({ event }) => event)
const statusOf = (client: Client, run: any) => Effect.flatMap(client.get(run.links.self), json)

const outputsOf = (client: Client, run: any) =>
  Effect.map(
    Effect.flatMap(client.get(run.links.conversation), json),
    ({ records }) =>
      records.map(({ item }: any) => item).filter(({ type }: any) => type === "function_call_output")
        .map((item: any) => [item.call_id, item.output])
  )

describe("RunHttp, with approvals,", () => {
  it.live("waits, and goes on under the same id and numbers, for who stayed and for who comes back", () =>
    Effect.gen(function*() {
      const { client, ran } = yield* served({
        script: [ModelScripted.calls([look("l"), pay(5, "p")]), ModelScripted.text("Paid.")],
        heartbeat: "20 millis"
      })
      const run = yield* json(yield* client.post({ agent: "cashier", input: "Pay." }))
      const staying = yield* Effect.forkChild(eventsNow(client, run))
      const first = yield* readUntil(client, run.links.events, (events) => names(events).includes("Waiting"))
      assert.deepStrictEqual(names(first).slice(-2), ["ApprovalRequested", "Waiting"])
      const view = yield* statusOf(client, run)
      assert.strictEqual(view.status, "waiting")
      assert.strictEqual(view.lastEventId, first.at(-1)!.id)
      assert.deepStrictEqual(view.approvals, first.at(-1)!.data.approvals)
      assert.deepStrictEqual(view.approvals, [first.at(-2)!.data.approval])
      assert.strictEqual(view.approvals[0].arguments, `{"euros":5}`)
      assert.deepStrictEqual(ran, ["look"])
      const { running, waiting } = yield* client.counts
      assert.deepStrictEqual([running, waiting], [0, 1])

      const response = yield* client.decide(run, [approve(view.approvals[0])])
      assert.strictEqual(response.status, 202)
      assert.strictEqual(response.headers.get("location"), run.links.self)
      const taken = yield* json(response)
      assert.notProperty(taken, "approvals")
      assert.strictEqual(taken.id, run.id)

      const rest = yield* eventsOf(
        yield* client.get(run.links.events, { "last-event-id": String(first.at(-1)!.id) })
      )
      assert.deepStrictEqual(names(rest).slice(0, 2), ["Decided", "TurnStarted"])
      assert.deepStrictEqual(rest[0]!.data.decisions, [approve(view.approvals[0])])
      const all = yield* Fiber.join(staying)
      assert.deepStrictEqual([...first, ...rest], [...all])
      assert.deepStrictEqual(all.map(({ id }) => id), all.map((_, index) => index + 1))
      assert.lengthOf(names(all).filter((name) => name === "RunStarted"), 1)
      assert.strictEqual(all.at(-1)!.event, "Completed")

      const done = yield* statusOf(client, run)
      assert.strictEqual(done.status, "completed")
      assert.strictEqual(done.result.finalOutput, "Paid.")
      assert.deepStrictEqual(done.result, all.at(-1)!.data.result)
      assert.notProperty(done, "approvals")
      assert.deepStrictEqual(ran, ["look", "pay 5"])
      assert.deepStrictEqual(yield* outputsOf(client, run), [["l", "seen"], ["p", "paid 5"]])
      assert.notMatch(JSON.stringify([view, taken, all, done]), /openTurn|uncommitted|conversationVersion/)
      const after = yield* client.counts
      assert.deepStrictEqual([after.running, after.waiting, after.retained], [0, 0, 1])
    }))

  it.live("answers Prefer: wait with the result, and a run that waits at once", () =>
    Effect.gen(function*() {
      const { client } = yield* served()
      const run = yield* waiting(client, {}, { prefer: "wait=30" })
      // Not at once would be after 30 seconds.
      const [took, answer] = yield* Effect.timed(client.get(run.links.self, { prefer: "wait=30" }))
      assert.strictEqual((yield* json(answer)).status, "waiting")
      assert.isBelow(Duration.toSeconds(took), 25)
      const response = yield* approveAll(client, run)
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.headers.get("preference-applied"), "wait")
      assert.strictEqual((yield* json(response)).result.finalOutput, "Paid.")
    }))

  it.live("tells the model of a rejection and its reason", () =>
    Effect.gen(function*() {
      const { client, ran } = yield* served()
      const run = yield* waiting(client)
      const done = yield* client.decide(run as any, [reject(run.approvals[0]!, { reason: "Not today." })], finished)
      assert.strictEqual(done.status, 200)
      assert.deepStrictEqual(ran, [])
      const [[, output]] = yield* outputsOf(client, run)
      assert.include(output, "Not today.")
    }))

  it.live("asks no more where a decision is for always", () =>
    Effect.gen(function*() {
      const { client, ran } = yield* served({
        script: [ModelScripted.calls([pay(1, "a")]), ModelScripted.calls([pay(2, "b")]), ModelScripted.text("Paid.")]
      })
      const run = yield* waiting(client)
      const done = yield* client.decide(run as any, [approve(run.approvals[0]!, { always: true })], finished)
      assert.strictEqual(done.status, 200)
      assert.deepStrictEqual(ran, ["pay 1", "pay 2"])
    }))

  it.live("waits again for what was not decided, and in each turn that asks", () =>
    Effect.gen(function*() {
      const { client, ran } = yield* served({
        script: [
          ModelScripted.calls([pay(1, "a"), pay(2, "b")]),
          ModelScripted.calls([pay(3, "c")]),
          ModelScripted.text("Paid.")
        ]
      })
      const run = yield* waiting(client)
      assert.deepStrictEqual(run.approvals.map(({ id }) => id), ["a", "b"])
      let now = run
      for (const rest of [["a"], ["c"]]) {
        const response = yield* client.decide(run as any, [approve(now.approvals.at(-1)!)], finished)
        assert.strictEqual(response.status, 202)
        now = yield* json(response)
        assert.strictEqual(now["status"], "waiting")
        assert.deepStrictEqual(now.approvals.map(({ id }) => id), rest)
        // What resuming keeps beside the conversation is nothing that a client said.
        const { conversations } = yield* json(yield* client.get("/conversations"))
        assert.isTrue(conversations.every(({ id }: any) => id === run["conversationId"]), JSON.stringify(conversations))
      }
      assert.strictEqual((yield* approveAll(client, now)).status, 200)
      assert.deepStrictEqual(ran, ["pay 2", "pay 1", "pay 3"])
      const told = names(yield* eventsNow(client, run)).filter((name) => name === "Waiting" || name === "Decided")
      assert.deepStrictEqual(told, ["Waiting", "Decided", "Waiting", "Decided", "Waiting", "Decided"])
    }))

  it.live("refuses decisions that do not fit, and loses nothing", () =>
    Effect.gen(function*() {
      const { client, ran } = yield* served({ maxBodyBytes: 1000 })
      const run: any = yield* waiting(client)
      const decision = approve(run.approvals[0]!)
      const misfits = [
        [{ ...decision, id: "other" }],
        [{ ...decision, argumentsHash: "0".repeat(64) }],
        [decision, decision]
      ]
      for (const decisions of misfits) {
        yield* assertProblem(yield* client.decide(run, decisions), 409, "state-mismatch")
      }
      const path = run.links.decisions
      for (const decisions of [[], [{}], [{ ...decision, sure: true }], decision, undefined]) {
        yield* assertProblem(yield* client.decide(run, decisions), 400, "invalid-body")
      }
      yield* assertProblem(yield* client.raw("{", {}, path), 400, "invalid-body")
      yield* assertProblem(
        yield* client.raw("{}", { "content-type": "text/plain" }, path),
        415,
        "unsupported-media-type"
      )
      const long = client.decide(run, [reject(run.approvals[0]!, { reason: "x".repeat(1000) })])
      yield* assertProblem(yield* long, 413, "body-too-large")
      yield* assertProblem(
        yield* client.decide({ links: { decisions: "/runs/run_none/decisions" } }, [decision]),
        404,
        "not-found"
      )
      const view = yield* statusOf(client, run)
      assert.deepStrictEqual([view.status, view.lastEventId], ["waiting", run.lastEventId])
      assert.deepStrictEqual(ran, [])
      assert.strictEqual((yield* approveAll(client, run)).status, 200)
      yield* assertProblem(yield* client.decide(run, [decision]), 409, "not-waiting")
      assert.deepStrictEqual(ran, ["pay 5"])
    }))

  it.live("takes decisions once, and not while a run goes on", () =>
    Effect.gen(function*() {
      const { client, ran } = yield* served({
        script: [ModelScripted.calls([pay(5, "p")]), ModelScripted.delayed("300 millis", ModelScripted.text("Paid."))]
      })
      const run: any = yield* waiting(client)
      const decide = client.decide(run, [approve(run.approvals[0]!)])
      const both = yield* Effect.all([decide, decide, decide], { concurrency: 3 })
      assert.deepStrictEqual(both.map(({ status }) => status).sort(), [202, 409, 409])
      for (const lost of both.filter(({ status }) => status === 409)) yield* assertProblem(lost, 409, "not-waiting")
      yield* assertProblem(yield* decide, 409, "not-waiting")
      const done = yield* json(yield* client.get(run.links.self, finished))
      assert.strictEqual(done.status, "completed")
      assert.deepStrictEqual(ran, ["pay 5"])
    }))

  it.live("asks for what an agent called like a tool wants to do, by its path", () =>
    Effect.gen(function*() {
      const { client, ran } = yield* served({
        script: [
          ModelScripted.toolCall("ask_cashier", { input: "Pay 5." }, { callId: "ask" }),
          ModelScripted.calls([pay(5, "p")]),
          ModelScripted.text("Paid 5."),
          ModelScripted.text("The cashier paid.")
        ]
      })
      const run = yield* waiting(client, { agent: "bank" })
      assert.deepStrictEqual(run.approvals.map(({ agent, id }) => [agent, id]), [["cashier", "ask/p"]])
      const done = yield* json(yield* approveAll(client, run))
      assert.strictEqual(done.result?.finalOutput, "The cashier paid.", JSON.stringify(done))
      assert.deepStrictEqual(ran, ["pay 5"])
    }))

  it.live("goes on at the agent that a handoff led to, in a conversation that it began", () =>
    Effect.gen(function*() {
      const { client, ran } = yield* served({ script: [ModelScripted.toolCall("transfer_to_cashier", {}), ...payFive] })
      const run = yield* waiting(client, { agent: "desk", conversationId: "new" })
      assert.match(run["conversationId"], /^conv_/)
      const done = yield* json(yield* approveAll(client, run))
      assert.strictEqual(done.result?.lastAgent, "cashier", JSON.stringify(done))
      assert.strictEqual(done.result.conversationId, run["conversationId"])
      assert.deepStrictEqual(ran, ["pay 5"])
    }))

  it.live("answers in the form of the agent that answered, where two have one name", () =>
    Effect.gen(function*() {
      const On = Agent.make({ name: "clerk", output: Schema.Struct({ on: Schema.Date }) })
      const Amount = Agent.make({
        name: "clerk",
        toolkit: kit,
        output: Schema.Struct({ euros: Schema.FiniteFromString })
      })
      const Hall = Agent.make({
        name: "hall",
        handoffs: [Handoff.to(On, { toolName: "to_on" }), Handoff.to(Amount, { toolName: "to_amount" })]
      })
      const client = yield* serve(
        RunHttp.layer({ agents: { hall: Hall } }).pipe(Layer.provide([
          kit.toLayer({ pay: () => Effect.succeed("paid"), look: () => Effect.succeed("seen") }),
          Layer.fresh(SessionMemory.layer),
          ModelScripted.layer([
            ModelScripted.toolCall("to_amount", {}),
            ModelScripted.calls([pay(5, "p")]),
            ModelScripted.text(`{"euros":"5"}`)
          ])
        ]))
      )
      const run = yield* waiting(client, { agent: "hall" })
      const done = yield* json(yield* approveAll(client, run))
      assert.deepStrictEqual(done.result?.finalOutput, { euros: "5" }, JSON.stringify(done))
    }))

  describe("ends the waiting", () => {
    it.live("after waitFor, and of no run that was decided in time", () =>
      Effect.gen(function*() {
        const { client, ran } = yield* served({
          script: [
            ModelScripted.calls([pay(1, "a")]),
            ModelScripted.calls([pay(2, "b")]),
            ModelScripted.delayed("5 seconds", ModelScripted.text("Paid."))
          ],
          waitFor: "4 seconds"
        })
        const inTime = yield* waiting(client)
        const late: any = yield* waiting(client)
        const listening = yield* Effect.forkChild(eventsNow(client, late))
        yield* until(client.counts, ({ subscribers }) => subscribers === 1)
        const done = yield* json(yield* approveAll(client, inTime))
        assert.strictEqual(done.status, "completed", JSON.stringify(done))
        const last = (yield* Fiber.join(listening)).at(-1)!
        assert.strictEqual(last.event, "Failed")
        assert.strictEqual(last.data.problem.code, "approval-expired")
        const view = yield* statusOf(client, late)
        assert.deepStrictEqual([view.status, view.problem.status], ["failed", 409])
        assert.isAtLeast(view.finishedAt - view.startedAt, 4_000)
        assert.notProperty(view, "approvals")
        yield* assertProblem(yield* client.decide(late, [approve(late.approvals[0])]), 409, "not-waiting")
        assert.deepStrictEqual(ran, ["pay 1"])
      }))

    it.live("by DELETE, and its listeners end", () =>
      Effect.gen(function*() {
        const { client, ran } = yield* served({ script: [payFive[0]!] })
        const run: any = yield* waiting(client)
        const listening = yield* Effect.forkChild(eventsNow(client, run))
        yield* until(client.counts, ({ subscribers }) => subscribers === 1)
        const response = yield* client.delete(run.links.self)
        assert.strictEqual(response.status, 200)
        const cancelled = yield* json(response)
        assert.deepStrictEqual([cancelled.status, cancelled.problem.code], ["cancelled", "cancelled"])
        assert.isNumber(cancelled.finishedAt)
        assert.strictEqual((yield* Fiber.join(listening)).at(-1)!.event, "Cancelled")
        yield* assertProblem(yield* approveAll(client, run), 409, "not-waiting")
        const { retained, running, waiting: left } = yield* client.counts
        assert.deepStrictEqual([running, left, retained], [0, 0, 1])
        assert.deepStrictEqual(ran, [])
      }))

    it.live("when it drains, at once; also of runs that come to it meanwhile", () =>
      Effect.gen(function*() {
        const { client, ran } = yield* served({
          script: [payFive[0]!, ModelScripted.delayed("300 millis", ModelScripted.calls([pay(6, "q")]))],
          drainTimeout: "60 seconds"
        })
        const run: any = yield* waiting(client)
        const going = yield* json(yield* client.post({ agent: "cashier", input: "Pay." }))
        const listening = yield* Effect.forkChild(
          Effect.forEach([run, going], (run) => eventsNow(client, run), { concurrency: 2 })
        )
        yield* until(client.counts, ({ subscribers }) => subscribers === 2)
        const draining = yield* Effect.forkChild(Effect.timed(client.drain))
        yield* until(client.counts, ({ waiting }) => waiting === 0)
        assert.strictEqual((yield* client.counts).running, 1)
        yield* assertProblem(yield* approveAll(client, run), 409, "not-waiting")
        const [took] = yield* Fiber.join(draining)
        assert.isBelow(Duration.toSeconds(took), 50)
        for (const events of yield* Fiber.join(listening)) {
          assert.strictEqual(events.at(-1)!.event, "Cancelled")
          assert.strictEqual(events.at(-1)!.data.problem.code, "stopped")
        }
        for (const { links } of [run, going]) {
          assert.strictEqual((yield* json(yield* client.get(links.self))).status, "cancelled")
        }
        assert.deepStrictEqual(ran, [])
      }))
  })

  describe("keeps within its bounds:", () => {
    it.live("one waiting run too many fails with 503", () =>
      Effect.gen(function*() {
        const { client } = yield* served({
          script: [payFive[0]!, payFive[0]!, payFive[0]!, payFive[1]!],
          maxWaitingRuns: 1
        })
        const first = yield* waiting(client)
        const second = yield* client.post({ agent: "cashier", input: "Pay." }, finished)
        yield* assertProblem(second, 503, "too-many-waiting")
        yield* client.delete(first["links"].self)
        const third = yield* waiting(client)
        assert.strictEqual((yield* approveAll(client, third)).status, 200)
      }))

    it.live("a waiting run takes no place of those that go on, and needs one to go on", () =>
      Effect.gen(function*() {
        const { client, ran } = yield* served({ script: [payFive[0]!, ModelScripted.hang(), payFive[1]!], maxRuns: 1 })
        const run = yield* waiting(client)
        const other = yield* json(yield* client.post({ agent: "cashier", input: "?" }))
        assert.strictEqual(other.status, "running")
        const refused = yield* approveAll(client, run)
        assert.strictEqual(refused.headers.get("retry-after"), "1")
        yield* assertProblem(refused, 503, "too-many-runs")
        assert.strictEqual((yield* statusOf(client, run)).status, "waiting")
        yield* client.delete(other.links.self)
        assert.strictEqual((yield* approveAll(client, run)).status, 200)
        assert.deepStrictEqual(ran, ["pay 5"])
      }))

    it.live("a waiting run holds no fiber", () => {
      let fibers = 0
      return Effect.gen(function*() {
        const { client } = yield* served({ script: Array.from({ length: 20 }, () => payFive[0]!) })
        const before = fibers
        yield* Effect.forEach(Array.from({ length: 20 }), () => waiting(client), { concurrency: 20 })
        assert.strictEqual((yield* client.counts).waiting, 20)
        // One for all of them looks at the time.
        yield* until(Effect.sync(() => fibers), (now) => now <= before + 1)
      }).pipe(Effect.provideService(Metric.FiberRuntimeMetrics, {
        recordFiberStart: () => {
          fibers++
        },
        recordFiberEnd: () => {
          fibers--
        }
      }))
    })

    class Down extends Data.TaggedError("Down") {}

    it.live("a tenant decides about its own runs only, has a bound of its own, and its services are let go of", () =>
      Effect.gen(function*() {
        let held = 0
        let isDown = false
        const ran: Array<string> = []
        const session = yield* Effect.map(Layer.build(Layer.fresh(SessionMemory.layer)), Context.get(Session))
        const stackOf = (script: ModelScripted.Script): Layer.Layer<ModelProvider | Session> =>
          Layer.merge(ModelScripted.layer(script), Layer.succeed(Session, session))
        let services = stackOf([payFive[0]!])
        const client = yield* serve(
          RunHttp.layer({
            agents,
            maxWaitingRunsPerTenant: 1,
            tenants: {
              of: ({ headers }) => Effect.succeed(headers["authorization"] ?? "nobody"),
              services: () =>
                Effect.gen(function*() {
                  if (isDown) return yield* new Down()
                  yield* Effect.acquireRelease(Effect.sync(() => held++), () => Effect.sync(() => held--))
                  return yield* Layer.build(Layer.fresh(services))
                })
            }
          }).pipe(Layer.provide(kit.toLayer({
            pay: ({ euros }) => Effect.sync(() => (ran.push(`pay ${euros}`), "paid")),
            look: () => Effect.succeed("seen")
          })))
        )
        const as = (authorization: string) => ({ authorization, prefer: "wait=30" })
        const run: any = yield* waiting(client, { conversationId: "a" }, as("ada"))
        assert.strictEqual(held, 0)
        const decisions = run.approvals.map((approval: Approval) => approve(approval))
        yield* assertProblem(yield* client.decide(run, decisions, as("bob")), 404, "not-found")
        const second = yield* client.post({ agent: "cashier", input: "Pay.", conversationId: "b" }, as("ada"))
        yield* assertProblem(second, 429, "too-many-waiting")
        yield* waiting(client, { conversationId: "c" }, as("bob"))
        isDown = true
        yield* assertProblem(yield* client.decide(run, decisions, as("ada")), 503, "tenant-unavailable")
        isDown = false
        services = stackOf([payFive[1]!])
        assert.deepStrictEqual(ran, [])
        const done = yield* client.decide(run, decisions, as("ada"))
        assert.strictEqual(done.status, 200, JSON.stringify(yield* json(done)))
        assert.strictEqual(held, 0)
        assert.deepStrictEqual(ran, ["pay 5"])
      }))
  })

  describe("where the conversation", () => {
    it.live("moved meanwhile, fails with 409 and runs nothing", () =>
      Effect.gen(function*() {
        const { client, ran } = yield* served({ script: [payFive[0]!, ModelScripted.text("Hi.")] })
        const run: any = yield* waiting(client, { conversationId: "c" })
        const other = yield* client.post({ agent: "cashier", input: "Hi.", conversationId: "c" }, finished)
        assert.strictEqual(other.status, 200)
        yield* assertProblem(yield* approveAll(client, run), 409, "conversation-moved")
        const view = yield* statusOf(client, run)
        assert.deepStrictEqual([view.status, view.problem.code], ["failed", "conversation-moved"])
        const events = yield* eventsNow(client, run)
        assert.strictEqual(events.at(-1)!.event, "Failed")
        assert.notInclude(names(events), "Decided")
        yield* assertProblem(yield* approveAll(client, run), 409, "not-waiting")
        assert.deepStrictEqual(ran, [])
      }))

    it.live("is busy with another run, goes on waiting", () =>
      Effect.gen(function*() {
        const { client, ran } = yield* served({ script: [payFive[0]!, ModelScripted.hang(), payFive[1]!] })
        const run = yield* waiting(client, { conversationId: "c" })
        const other = yield* json(yield* client.post({ agent: "cashier", input: "?", conversationId: "c" }))
        yield* readUntil(client, other.links.events, (events) => names(events).includes("TurnStarted"))
        yield* assertProblem(yield* approveAll(client, run), 409, "conversation-busy")
        assert.strictEqual((yield* statusOf(client, run)).status, "waiting")
        yield* client.delete(other.links.self)
        assert.strictEqual((yield* approveAll(client, run)).status, 200)
        assert.deepStrictEqual(ran, ["pay 5"])
      }))

    it.live("cannot be read, goes on waiting", () =>
      Effect.gen(function*() {
        let isDown = false
        const session = Layer.effect(
          Session,
          Effect.map(Session, (session) => ({
            ...session,
            loadItems: (...args: Parameters<typeof session.loadItems>) =>
              isDown
                ? Effect.fail(
                  new SessionError.SessionError({
                    backend: "test",
                    operation: "loadItems",
                    reason: new SessionError.Unavailable({ description: "down", isOutcomeUnknown: false })
                  })
                )
                : session.loadItems(...args)
          }))
        ).pipe(Layer.provide(SessionMemory.layer))
        const { client, ran } = yield* served({ session })
        const run = yield* waiting(client)
        isDown = true
        yield* assertProblem(yield* approveAll(client, run), 503, "session-unavailable")
        const { running, waiting: left } = yield* client.counts
        assert.deepStrictEqual([running, left], [0, 1])
        isDown = false
        assert.strictEqual((yield* approveAll(client, run)).status, 200)
        assert.deepStrictEqual(ran, ["pay 5"])
      }))
  })

  it.live("fails as any run does after decisions were taken", () =>
    Effect.gen(function*() {
      const overloaded = new ModelError.Overloaded({ description: "down" })
      const { client, ran } = yield* served({ script: [payFive[0]!, ModelScripted.fail(overloaded)] })
      const run = yield* waiting(client)
      // What the POST is answered must not be sent again: the tool has run.
      const { reason } = yield* assertProblem(yield* approveAll(client, run), 400, "failed-after-tools")
      assert.strictEqual(reason, "model-overloaded")
      assert.strictEqual((yield* statusOf(client, run)).status, "failed")
      const told = names(yield* eventsNow(client, run))
      assert.deepStrictEqual([told.includes("Decided"), told.at(-1)], [true, "Failed"])
      assert.deepStrictEqual(ran, ["pay 5"])
    }))
})
