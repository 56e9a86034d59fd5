import { assert, describe, it } from "@effect/vitest"
import {
  Agent,
  Ids,
  Item,
  ModelProvider,
  ModelScripted,
  RunJournal,
  Runner,
  Session,
  SessionError,
  SessionMemory
} from "agent-layers"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { TestClock } from "effect/testing"
import { runAs, ways } from "./support.ts"

const Echo = Tool.make("echo", { parameters: Schema.Struct({ text: Schema.String }), success: Schema.String })
const kit = Toolkit.make(Echo)
const handlers = kit.toLayer({ echo: ({ text }) => Effect.succeed(text) })
const agent = Agent.make({ name: "echoer", toolkit: kit })

const load = (id: string) => Session.Session.use((session) => session.loadItems(id))

const types = (items: ReadonlyArray<Item.Item>) => items.map((item) => Item.isMessage(item) ? item.role : item.type)

const failureOf = (exit: Exit.Exit<unknown, any>): any => {
  assert.isTrue(Exit.isFailure(exit), "expected a failure")
  return Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined
}

/** A session that tells what is saved. */
const watched = (saves: Array<{ items: ReadonlyArray<string>; options: Session.SaveOptions | undefined }>) =>
  Layer.effect(
    Session.Session,
    Session.Session.use((inner) =>
      Effect.succeed({
        ...inner,
        saveItems: (id: string, items: ReadonlyArray<Item.Item>, options?: Session.SaveOptions) => {
          saves.push({ items: types(items) as ReadonlyArray<string>, options })
          return inner.saveItems(id, items, options)
        }
      })
    )
  ).pipe(Layer.provide(SessionMemory.layer))

for (const way of ways) {
  describe(`a conversation by ${way}`, () => {
    it.effect("is committed turn by turn, the input with the first, under one id and version each", () => {
      const saves: Array<any> = []
      return Effect.gen(function*() {
        const result = yield* runAs(way, agent, "go", { conversationId: "c" })
        assert.deepStrictEqual(saves.map((save) => save.items), [
          ["user", "function_call", "function_call_output"],
          ["function_call", "function_call_output"],
          ["assistant"]
        ])
        const meta = { runId: "run_1", agent: "echoer", provider: "scripted" }
        assert.deepStrictEqual(saves.map((save) => save.options), [
          { operationId: "run_1/1", expectedVersion: 0, meta },
          { operationId: "run_1/2", expectedVersion: 1, meta },
          { operationId: "run_1/3", expectedVersion: 2, meta }
        ])
        assert.strictEqual(result.version, 3)
        assert.strictEqual(result.runId, "run_1")
      }).pipe(Effect.provide([
        handlers,
        Ids.layerSequential,
        watched(saves),
        ModelScripted.layer([
          ModelScripted.toolCall("echo", { text: "a" }),
          ModelScripted.toolCall("echo", { text: "b" }),
          ModelScripted.text("done")
        ])
      ]))
    })

    it.effect("refuses the commit of a run in another process, and is never mixed", () =>
      Effect.gen(function*() {
        // Another value over the same store: what a second process would have.
        const elsewhere = Effect.provideServiceEffect(
          Session.Session,
          Effect.map(Session.Session, (one) => ({ ...one }))
        )
        const both = yield* Effect.forkChild(
          Effect.all(
            [
              Effect.exit(runAs(way, agent, "first", { conversationId: "c" })),
              Effect.exit(elsewhere(runAs(way, agent, "second", { conversationId: "c" })))
            ],
            { concurrency: 2 }
          )
        )
        yield* TestClock.adjust("1 second")
        const [first, second] = yield* Fiber.join(both)
        assert.isTrue(Exit.isSuccess(first))
        const error = failureOf(second)
        assert.isTrue(SessionError.isSessionError(error))
        assert.deepStrictEqual(
          [error.reason._tag, error.reason.expected, error.reason.actual],
          ["VersionConflict", 0, 1]
        )
        assert.deepStrictEqual((yield* load("c")).items.map(Item.text), ["first", "answer to first"])
      }).pipe(
        Effect.provide([
          handlers,
          SessionMemory.layer,
          ModelScripted.layer(({ input }) => {
            const asked = Item.text((input as ReadonlyArray<Item.Item>)[0]!)
            return ModelScripted.delayed(
              asked === "first" ? "10 millis" : "20 millis",
              ModelScripted.text(`answer to ${asked}`)
            )
          })
        ])
      ))

    it.effect("without versions runs wait for each other in this process", () => {
      const kept: Array<string> = []
      const least = Layer.succeed(
        Session.Session,
        Session.make({
          backend: "least",
          load: () => Effect.sync(() => ({ entries: kept.slice() })),
          save: (_id, commit) => Effect.sync(() => void kept.push(...commit.entries))
        })
      )
      return Effect.gen(function*() {
        const runs = yield* Effect.forkChild(
          Effect.all(["a", "b", "c"].map((text) => runAs(way, agent, text, { conversationId: "c" })), {
            concurrency: "unbounded"
          })
        )
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(runs)
        const texts = kept.map((entry) => Item.text(JSON.parse(entry)))
        assert.deepStrictEqual(texts, ["a", "saw 1", "b", "saw 3", "c", "saw 5"])
      }).pipe(Effect.provide([
        handlers,
        least,
        ModelScripted.layer(({ input }) =>
          ModelScripted.delayed("10 millis", ModelScripted.text(`saw ${input.length}`))
        )
      ]))
    })

    it.effect("without versions is refused to a run inside of one that holds it, which would wait forever", () => {
      const Ask = Tool.make("ask", {
        parameters: Schema.Struct({ conversationId: Schema.String }),
        success: Schema.String,
        dependencies: [ModelProvider.ModelProvider, Session.Session]
      })
      const asking = Toolkit.make(Ask)
      const inner = Agent.make({ name: "inner" })
      const ask = asking.toLayer({
        ask: ({ conversationId }) =>
          runAs(way, inner, "hi", { conversationId }).pipe(
            Effect.map((result) => result.finalOutput),
            Effect.catch((error) => Effect.succeed(String(error.message)))
          )
      })
      const least = Layer.sync(Session.Session, () =>
        Session.make({
          backend: "least",
          load: () => Effect.succeed({ entries: [] }),
          save: () => Effect.void
        }))
      return Effect.gen(function*() {
        const outer = Agent.make({ name: "outer", toolkit: asking })
        const result = yield* runAs(way, outer, "go", { conversationId: "c" })
        const [same, other] = result.items.filter(Item.isFunctionCallOutput).map((item) => String(item.output))
        assert.include(same!, `conversationId is "c", which a run is busy with`)
        assert.strictEqual(other, "from inside")
      }).pipe(Effect.provide([
        ask,
        least,
        ModelScripted.layer([
          ModelScripted.toolCall("ask", { conversationId: "c" }),
          ModelScripted.toolCall("ask", { conversationId: "d" }),
          ModelScripted.text("from inside"),
          ModelScripted.text("done")
        ])
      ]))
    })

    it.effect.each(["fails", "dies"])(
      "is maintained after the last commit, and what %s there is only logged",
      (how) => {
        const order: Array<string> = []
        const layer = Layer.effect(
          Session.Session,
          Session.Session.use((inner) =>
            Effect.succeed({
              ...inner,
              saveItems: (id: string, items: ReadonlyArray<Item.Item>, options?: Session.SaveOptions) =>
                Effect.tap(inner.saveItems(id, items, options), () => Effect.sync(() => order.push("save"))),
              maintain: (id: string) =>
                Effect.andThen(
                  Effect.sync(() => order.push(`maintain ${id}`)),
                  how === "dies" ? Effect.die(new Error("bug")) : Effect.fail(
                    new SessionError.SessionError({
                      backend: "test",
                      operation: "maintain",
                      reason: new SessionError.Unavailable({ description: "away", isOutcomeUnknown: false })
                    })
                  )
                )
            })
          )
        ).pipe(Layer.provide(SessionMemory.layer))
        return Effect.gen(function*() {
          const result = yield* runAs(way, agent, "go", { conversationId: "c" })
          assert.strictEqual(result.finalOutput, "done")
          assert.deepStrictEqual(order, ["save", "save", "maintain c"])
        }).pipe(Effect.provide([
          handlers,
          layer,
          ModelScripted.layer([ModelScripted.toolCall("echo", { text: "a" }), ModelScripted.text("done")])
        ]))
      }
    )
  })
}

describe("an interruption while a commit is under way", () => {
  it.effect("waits for the commit and stores the turn once", () =>
    Effect.gen(function*() {
      const reached = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const kept: Array<string> = []
      const slow = Layer.succeed(
        Session.Session,
        Session.make({
          backend: "slow",
          versions: true,
          operations: true,
          load: () => Effect.succeed({ entries: kept.slice(), version: 0 }),
          save: (_id, commit) =>
            Effect.gen(function*() {
              yield* Deferred.succeed(reached, undefined)
              yield* Deferred.await(release)
              kept.push(...commit.entries)
              return { version: 1 }
            })
        })
      )
      const fiber = yield* Effect.forkChild(
        Runner.run(agent, "go", { conversationId: "c" }).pipe(
          Effect.provide([handlers, slow, ModelScripted.layer([ModelScripted.text("done")])])
        )
      )
      yield* Deferred.await(reached)
      const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(interruption)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      assert.strictEqual(kept.length, 2)
    }))
})

describe("a journal", () => {
  it.effect("is asked for the load, each model call, tool call and commit, and may answer from its records", () => {
    const recorded = new Map<string, unknown>()
    const names: Array<string> = []
    let handled = 0
    const journal: RunJournal.RunJournal = {
      signal: () => Effect.succeedNone,
      step: (run, schemas, effect) =>
        Effect.gen(function*() {
          names.push(run.name)
          const { success } = schemas()
          const codec = Schema.toCodecJson(success)
          if (recorded.has(run.name)) {
            return yield* Effect.orDie(Schema.decodeUnknownEffect(codec)(recorded.get(run.name))) as any
          }
          const value = yield* effect
          const json = yield* Effect.orDie(Schema.encodeUnknownEffect(codec)(value)) as any
          recorded.set(run.name, JSON.parse(JSON.stringify(json)))
          return value
        }) as any
    }
    const counting = kit.toLayer({ echo: ({ text }) => Effect.sync(() => `${text} ${++handled}`) })
    return Effect.gen(function*() {
      const once = Runner.run(agent, "go", { conversationId: "c" }).pipe(
        Effect.provideService(RunJournal.RunJournal, journal)
      )
      const first = yield* Effect.provide(once, SessionMemory.layer)
      assert.deepStrictEqual(names, ["load", "model/1", "tool/1/call-1", "commit/1", "model/2", "commit/2"])
      const again = yield* Effect.provide(once, Layer.fresh(SessionMemory.layer))
      assert.strictEqual(handled, 1)
      assert.deepStrictEqual(again.items, first.items)
      assert.deepStrictEqual(again.responses, first.responses)
    }).pipe(Effect.provide([
      counting,
      ModelScripted.layer([
        ModelScripted.toolCall("echo", { text: "a" }, { callId: "call-1" }),
        ModelScripted.text("done")
      ])
    ]))
  })
})
