/** A stack for each tenant, chosen by request. */
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as Agent from "agent-layers/run/Agent"
import * as RunHttp from "agent-layers/run/http/RunHttp"
import type { ModelProvider } from "agent-layers/services/ModelProvider"
import type { Session } from "agent-layers/services/Session"
import { Context, Data, Effect, Layer, LayerMap } from "effect"
import type { HttpRouter } from "effect/http"
import { type Gate, heldBy, makeGate } from "../../support/gate.ts"
import { until } from "../../support/until.ts"
import { type Client, eventsOf, json, serve } from "./support.ts"

class Down extends Data.TaggedError("Down") {}

/** How many stacks are held. */
let held = 0

/** Holds back the models of the stacks that are made. */
let gate: Gate | undefined

const stackOf = (tenant: string): Layer.Layer<ModelProvider | Session, Down> => {
  if (tenant === "broken") return Layer.effectContext(Effect.fail(new Down()))
  return Layer.mergeAll(
    heldBy(gate, ModelScripted.layer(() => ModelScripted.text(["I am ", tenant, "'s."]))),
    Layer.fresh(SessionMemory.layer),
    Layer.effectDiscard(Effect.acquireRelease(
      Effect.sync(() => held++),
      () => Effect.sync(() => held--)
    ))
  )
}

class Stacks extends LayerMap.Service<Stacks>()("test/Stacks", { lookup: stackOf, idleTimeToLive: "1 second" }) {}

const tenants: Readonly<Record<string, string>> = {
  "Bearer a": "ada",
  "Bearer b": "bob",
  "Bearer x": "broken"
}

const served = Effect.gen(function*() {
  gate = undefined
  const stacks = yield* Effect.map(Layer.build(Stacks.layer), Context.get(Stacks))
  return yield* serve(RunHttp.layer({
    agents: { assistant: Agent.make({ name: "assistant" }) },
    maxRunsPerTenant: 1,
    tenants: {
      of: ({ headers }) => {
        const tenant = tenants[headers["authorization"] ?? ""]
        return tenant === undefined
          ? Effect.fail(
            new RunHttp.RequestRefused({ status: 401, detail: "Say who you are.", challenge: "Bearer" })
          )
          : Effect.succeed(tenant)
      },
      services: (tenant) => stacks.contextEffect(tenant)
    }
  }))
})

const as = (name: string) => ({ authorization: `Bearer ${name}` })

const run = (client: Client, name: string) =>
  Effect.flatMap(
    client.post({ agent: "assistant", input: name, conversationId: "shared" }, { ...as(name), prefer: "wait=30" }),
    json
  )

describe("RunHttp with tenants", () => {
  it.live("runs each on its own stack, and shows nobody what is another's", () =>
    Effect.gen(function*() {
      const client = yield* served
      const [a, b] = yield* Effect.all([run(client, "a"), run(client, "b")], { concurrency: 2 })
      assert.strictEqual(a.result.finalOutput, "I am ada's.")
      assert.strictEqual(b.result.finalOutput, "I am bob's.")
      for (const [name, said] of [["a", "I am ada's."], ["b", "I am bob's."]] as const) {
        const { conversations } = yield* json(yield* client.get("/conversations", as(name)))
        assert.deepStrictEqual(conversations.map(({ id, version }: any) => [id, version]), [["shared", 1]])
        const { records } = yield* json(yield* client.get("/conversations/shared", as(name)))
        assert.deepStrictEqual(
          records.map(({ item }: any) => typeof item.content === "string" ? item.content : item.content[0].text),
          [name, said]
        )
      }
      for (const path of [a.links.self, a.links.events]) {
        assert.strictEqual((yield* client.get(path, as("b"))).status, 404)
        assert.strictEqual((yield* client.get(path, as("a"))).status, 200)
      }
      assert.strictEqual((yield* client.delete(a.links.self, as("b"))).status, 404)
    }))

  it.live("holds a stack for as long as a run of it goes on, and lets go of it then", () =>
    Effect.gen(function*() {
      const client = yield* served
      gate = yield* makeGate
      const { links } = yield* Effect.flatMap(client.post({ agent: "assistant", input: "?" }, as("a")), json)
      assert.strictEqual(held, 1)
      yield* gate.open
      yield* Effect.flatMap(client.get(links.events, as("a")), eventsOf)
      yield* until(Effect.sync(() => held), (held) => held === 0)
    }).pipe(Effect.scoped))

  it.live("refuses who does not say who it is, on every route", () =>
    Effect.gen(function*() {
      const client = yield* served
      const answers = yield* Effect.all([
        client.post({ agent: "assistant", input: "?" }),
        client.get("/runs/run_1"),
        client.delete("/runs/run_1"),
        client.get("/runs/run_1/events"),
        client.get("/conversations"),
        client.get("/conversations/shared")
      ])
      for (const answer of answers) {
        assert.strictEqual(answer.status, 401)
        assert.strictEqual(answer.headers.get("www-authenticate"), "Bearer")
        assert.strictEqual((yield* json(answer)).code, "unauthorized")
      }
    }))

  it.live("answers 429 for one run of a tenant too many, and leaves the other tenant alone", () =>
    Effect.gen(function*() {
      const client = yield* served
      gate = yield* makeGate
      const post = (name: string) => client.post({ agent: "assistant", input: "?" }, as(name))
      const [first, second, other] = yield* Effect.all([post("a"), post("a"), post("b")])
      assert.deepStrictEqual([first.status, second.status, other.status], [202, 429, 202])
      assert.strictEqual((yield* json(second)).code, "too-many-runs")
      yield* gate.open
    }))

  it.live("answers 503 where a tenant's stack cannot be built", () =>
    Effect.gen(function*() {
      const client = yield* served
      for (
        const answer of [
          yield* client.post({ agent: "assistant", input: "?" }, as("x")),
          yield* client.get("/conversations", as("x"))
        ]
      ) {
        assert.strictEqual(answer.status, 503)
        assert.strictEqual((yield* json(answer)).code, "tenant-unavailable")
      }
      assert.strictEqual((yield* client.counts).running, 0)
    }))

  it("leaves to the Layer's requirements what the tenants' services do not provide", () => {
    class Greeting extends Context.Service<Greeting, string>()("test/Greeting") {}
    class Accounts extends Context.Service<Accounts, string>()("test/Accounts") {}
    const agents = {
      plain: Agent.make({ name: "plain" }),
      greeter: Agent.make({ name: "greeter", instructions: Greeting })
    }
    const alone = RunHttp.layer({ agents })
    expectTypeOf<Layer.Services<typeof alone>>().toEqualTypeOf<
      HttpRouter.HttpRouter | ModelProvider | Session | Greeting
    >()
    const byTenant = RunHttp.layer({
      agents,
      tenants: {
        of: () => Accounts,
        services: () => Layer.build(Layer.mergeAll(ModelScripted.layer([]), SessionMemory.layer))
      }
    })
    expectTypeOf<Layer.Services<typeof byTenant>>().toEqualTypeOf<HttpRouter.HttpRouter | Greeting | Accounts>()
    expectTypeOf<Layer.Error<typeof byTenant>>().toEqualTypeOf<never>()
    expectTypeOf<Effect.Error<ReturnType<RunHttp.Tenants<never, never, never>["of"]>>>().toEqualTypeOf<
      RunHttp.RequestRefused
    >()
  })
})
