/** README's "What happens when": each row is made to happen, and names the error that was then seen. */
import { assert, describe, it } from "@effect/vitest"
import {
  Agent,
  Guardrail,
  History,
  Item,
  ModelError,
  ModelScripted,
  type RunError,
  Runner,
  Session,
  type SessionError,
  SessionMemory
} from "agent-layers"
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import { Deferred, Effect, Exit, Fiber, Layer, Redacted, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as OpenAiPeer from "../support/openai/OpenAiPeer.ts"
import { code, root, table } from "./readme.ts"

type AnyError = RunError.RunError | ModelError.ModelError | SessionError.SessionError

const rows = new Map(table("## What happens when").map(([when = "", what = ""]) => [when.replaceAll("`", ""), what]))
const shown = new Set<string>()

/** The row must name the error and its reason, and nothing else that looks like one. */
const says = (when: string, ...errors: ReadonlyArray<AnyError>) => {
  shown.add(when)
  const what = rows.get(when)
  assert.isDefined(what, `README has the row "${when}"`)
  const named = code(what as string).filter((text) => /^[A-Z]/.test(text))
  assert.sameMembers(named, [...new Set(errors.flatMap((error) => [error._tag, error.reason._tag]))], what)
}

const agent = Agent.make({ name: "a" })
const run = Runner.run(agent, "Hello?", { conversationId: "c" })

const stored = Effect.gen(function*() {
  const { items, version } = yield* Session.Session.use((session) => session.loadItems("c"))
  assert.deepStrictEqual(History.check(items), [], "what is stored is valid")
  return { texts: items.map(Item.text), types: items.map((item) => item.type), version }
})

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-readme-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
)

const openai = (peer: OpenAiPeer.OpenAiPeer, apiKey = peer.apiKey) =>
  ModelOpenAIResponses.layer({ apiKey: Redacted.make(apiKey), baseURL: peer.url })

describe("what happens when", () => {
  it.live("two runs at once on a conversation", () =>
    Effect.gen(function*() {
      // Another value over the same store: what a second process would have.
      const elsewhere = Effect.provideServiceEffect(
        run,
        Session.Session,
        Effect.map(Session.Session, (one) => ({ ...one }))
      )
      const [, second, third] = yield* Effect.all(
        [run, Effect.flip(run), Effect.flip(Effect.delay(elsewhere, "5 millis"))],
        { concurrency: 3 }
      )
      says("two runs at once on a conversation", second, third)
      assert.deepStrictEqual((yield* stored).texts, ["Hello?", "Yes."])
    }).pipe(Effect.provide([
      ModelScripted.layer(() => ModelScripted.delayed("20 millis", ModelScripted.text("Yes."))),
      SessionMemory.layer
    ])))

  it.live("Ctrl-C, or a client that leaves", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(OpenAiPeer.text("Yes.", { hangAfterEvents: 4 }))
      const fiber = yield* Effect.forkChild(
        Stream.runDrain(Runner.stream(agent, "Hello?", { conversationId: "c" })).pipe(Effect.provide(openai(peer)))
      )
      yield* peer.awaitRequests(1)
      yield* Fiber.interrupt(fiber)
      yield* peer.awaitAborted(1)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      assert.strictEqual((yield* stored).version, 0)

      // A commit that has begun.
      const begun = yield* Deferred.make<void>()
      const slow = Layer.effect(
        Session.Session,
        Effect.map(Session.Session, (inner) => {
          const session = Session.make({
            backend: "slow",
            versions: true,
            load: () => Effect.succeed({ entries: [], version: 0 }),
            save: (id, { entries }) =>
              Deferred.succeed(begun, undefined).pipe(
                Effect.andThen(Effect.sleep("30 millis")),
                Effect.andThen(inner.saveItems(id, entries.map((entry) => JSON.parse(entry) as Item.Item)))
              )
          })
          return session
        })
      )
      const committing = yield* Effect.forkChild(run.pipe(
        Effect.provide([ModelScripted.layer([ModelScripted.text("Yes.")]), slow])
      ))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(committing)
      assert.deepStrictEqual((yield* stored).texts, ["Hello?", "Yes."])
      says("Ctrl-C, or a client that leaves")
    }).pipe(Effect.provide(SessionMemory.layer)))

  it.live("crash, kill -9", () =>
    Effect.gen(function*() {
      const filename = path.join(yield* folder, "c.db")
      const killed = yield* Effect.promise(() =>
        new Promise<NodeJS.Signals | null>((resolve) =>
          childProcess.spawn(
            process.execPath,
            [
              "--conditions=agent-layers:source",
              "--no-warnings",
              fileURLToPath(new URL("./killed.ts", import.meta.url)),
              filename
            ],
            { cwd: root, stdio: "inherit" }
          ).once("close", (_code, signal) => resolve(signal))
        )
      )
      assert.strictEqual(killed, "SIGKILL")
      yield* Effect.gen(function*() {
        assert.deepStrictEqual((yield* stored).types, ["message", "function_call", "function_call_output"])
        const result = yield* Runner.run(agent, [], { conversationId: "c" })
        assert.strictEqual(result.items.length, 4)
      }).pipe(Effect.provide([
        SessionSqlite.layer({ filename }),
        ModelScripted.layer([ModelScripted.text("On we go.")])
      ]))
      says("crash, kill -9")
    }), 240_000)

  it.live("wrong key", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      says("wrong key", yield* Effect.flip(Effect.provide(run, openai(peer, "sk-wrong"))))
      assert.strictEqual((yield* stored).version, 0)
    }).pipe(Effect.provide(SessionMemory.layer)))

  it.live("database away", () =>
    Effect.gen(function*() {
      const away = SessionSqlite.layer({ filename: path.join(yield* folder, "nowhere", "c.db") })
      const model = ModelScripted.layer([])
      says("database away", yield* Effect.flip(Effect.provide(run, [away, model])))
    }))

  it.live("stream dropped", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      yield* peer.enqueue(OpenAiPeer.text("One two three four five six", { cutAfterBytes: 4_000, delayEvents: 1 }))
      let heard = ""
      const error = yield* Runner.stream(agent, "Hello?", { conversationId: "c" }).pipe(
        Stream.runForEach((event) =>
          Effect.sync(() => {
            if (event._tag === "TextDelta") heard += event.delta
          })
        ),
        Effect.provide(openai(peer)),
        Effect.flip
      )
      says("stream dropped", error)
      assert.notStrictEqual(heard, "")
      assert.strictEqual((error.reason as ModelError.Transport).isPartial, true)
      assert.include(rows.get("stream dropped"), "`isPartial`")
      assert.strictEqual((yield* stored).version, 0)
    }).pipe(Effect.provide(SessionMemory.layer)))

  it.live("tools without end, and tools that fail", () => {
    class NoSuchCity extends Schema.TaggedError<NoSuchCity>()("NoSuchCity", { message: Schema.String }) {}
    const Tools = Toolkit.make(Tool.make("fail", { failure: NoSuchCity }), Tool.make("die"))
    const handlers = Tools.toLayer({
      fail: () => Effect.fail(new NoSuchCity({ message: "no such city" })),
      die: () => Effect.die(new Error("a bug"))
    })
    const equipped = Agent.make({ name: "a", toolkit: Tools })
    return Effect.gen(function*() {
      const endless = yield* Runner.run(equipped, "Go.").pipe(
        Effect.provide([handlers, ModelScripted.layer(() => ModelScripted.toolCall("fail"))]),
        Effect.flip
      )
      says("tools without end", endless)
      assert.include(rows.get("tools without end"), "after 10 turns")
      assert(endless._tag === "RunError" && endless.reason._tag === "MaxTurnsExceeded")
      assert.strictEqual(endless.reason.state.turns, 10)

      const died = yield* Effect.gen(function*() {
        const error = yield* Effect.flip(Runner.run(equipped, "Go.", { conversationId: "c" }))
        const [, second] = yield* ModelScripted.requests
        assert.include(JSON.stringify(second?.items.at(-1)), "no such city")
        const { items } = yield* Session.Session.use((session) => session.loadItems("c"))
        assert.match(JSON.stringify(items.at(-1)), /broke off before it finished/)
        return error
      }).pipe(
        Effect.provide([
          handlers,
          SessionMemory.layer,
          ModelScripted.layer([ModelScripted.toolCall("fail"), ModelScripted.toolCall("die")])
        ])
      )
      says("a tool fails", died)
    })
  })

  it.live("a tool needs an approval", () => {
    const Tools = Toolkit.make(Tool.make("erase", { success: Schema.String, needsApproval: true }))
    const careful = Agent.make({ name: "a", toolkit: Tools })
    return Effect.gen(function*() {
      says("a tool needs an approval", yield* Effect.flip(Runner.run(careful, "Go.", { conversationId: "c" })))
      assert.strictEqual((yield* stored).version, 0)
    }).pipe(Effect.provide([
      Tools.toLayer({ erase: () => Effect.die("not asked for") }),
      ModelScripted.layer([ModelScripted.toolCall("erase")]),
      SessionMemory.layer
    ]))
  })

  it.live("a guardrail trips", () => {
    const Tools = Toolkit.make(Tool.make("erase", { success: Schema.String }))
    const guarded = Agent.make({
      name: "a",
      toolkit: Tools,
      inputGuardrails: [Guardrail.input({ name: "never", check: () => Effect.succeed(Guardrail.trip()) })]
    })
    const checked = Agent.make({
      name: "a",
      toolkit: Tools,
      toolUse: "stopOnFirst",
      outputGuardrails: [Guardrail.output({ name: "never", check: () => Effect.succeed(Guardrail.trip()) })]
    })
    return Effect.gen(function*() {
      const before = yield* Effect.flip(Runner.run(guarded, "Go.", { conversationId: "c" }))
      assert.strictEqual((yield* stored).version, 0)
      const after = yield* Effect.flip(Runner.run(checked, "Go.", { conversationId: "c" }))
      assert.deepStrictEqual((yield* stored).types, ["message", "function_call", "function_call_output"])
      says("a guardrail trips", before, after)
    }).pipe(Effect.provide([
      Tools.toLayer({ erase: () => Effect.succeed("secret") }),
      ModelScripted.layer(() => ModelScripted.toolCall("erase")),
      SessionMemory.layer
    ]))
  })

  it("has a row for nothing else", () => assert.sameMembers([...rows.keys()], [...shown]))
})
