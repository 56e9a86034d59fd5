import { assert, describe, it } from "@effect/vitest"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as Item from "agent-layers/services/Item"
import * as ModelProviderLaws from "agent-layers/services/laws/ModelProviderLaws"
import * as ModelError from "agent-layers/services/ModelError"
import type { ModelEvent } from "agent-layers/services/ModelProvider"
import { ModelProvider } from "agent-layers/services/ModelProvider"
import { Cause, Clock, Context, Duration, Effect, Exit, Fiber, Layer, ManagedRuntime, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { describeLaws } from "../../support/laws.ts"
import { subject } from "./scriptedSubject.ts"

type Input = string | ReadonlyArray<Item.Item>

const respond = (input: Input, model?: string) =>
  Effect.flatMap(ModelProvider, (provider) => provider.getModel(model)).pipe(
    Effect.flatMap((model) => model.respond({ input }))
  )

const stream = (input: Input, model?: string) =>
  Stream.unwrap(
    Effect.flatMap(ModelProvider, (provider) => provider.getModel(model)).pipe(
      Effect.map((model) => model.stream({ input }))
    )
  )

/** The arrays in which a stream delivers its events, by tag and text. */
const chunks = (events: Stream.Stream<ModelEvent, ModelError.ModelError, ModelProvider>) =>
  Stream.runCollect(Stream.chunks(events)).pipe(
    Effect.map((chunks) => chunks.map((chunk) => chunk.map((event) => "delta" in event ? event.delta : event._tag)))
  )

const description = (exit: Exit.Exit<unknown, unknown>): string => {
  assert.isTrue(Exit.isFailure(exit))
  return Exit.isFailure(exit) ? (Cause.squash(exit.cause) as Error).message : ""
}

const overloaded = new ModelError.Overloaded({ description: "too busy", status: 503, requestId: "req_1" })

/** Runs a program over a script whose left-over steps are the test's own business. */
const over = (script: Parameters<typeof ModelScripted.layer>[0], options?: ModelScripted.Options) =>
  Effect.provide(
    Layer.sync(ModelScripted.ModelScripted, () => ModelScripted.makeUnsafe(script, options)).pipe(
      Layer.flatMap((context) => {
        const model = Context.get(context, ModelScripted.ModelScripted)
        return Layer.succeedContext(
          Context.make(ModelScripted.ModelScripted, model).pipe(Context.add(ModelProvider, model.provider))
        )
      })
    )
  )

describeLaws("ModelScripted", ModelProviderLaws.all, subject())

describe("ModelScripted", () => {
  it.effect("reads like a dialogue", () =>
    Effect.gen(function*() {
      const first = yield* respond("What is 1 + 2?")
      assert.deepStrictEqual(first, {
        id: "resp_1",
        model: "scripted",
        output: [{
          type: "function_call",
          id: "fc_1",
          call_id: "call_1",
          name: "add",
          arguments: `{"a":1,"b":2}`,
          status: "completed"
        }],
        usage: {
          requests: 1,
          inputTokens: 10,
          outputTokens: 5,
          totalTokens: 15,
          cachedTokens: 0,
          reasoningTokens: 0
        },
        status: "completed"
      })
      const events = yield* Stream.runCollect(
        stream([Item.user("What is 1 + 2?"), ...first.output, Item.functionCallOutput("call_1", "3")])
      )
      const message = Item.assistant("It is 3.", { id: "msg_1" })
      assert.deepStrictEqual(events, [
        { _tag: "TextDelta", itemId: "msg_1", delta: "It " },
        { _tag: "TextDelta", itemId: "msg_1", delta: "is " },
        { _tag: "TextDelta", itemId: "msg_1", delta: "3." },
        { _tag: "ItemDone", item: message },
        { _tag: "Completed", response: { ...first, id: "resp_2", output: [message] } }
      ])
      const requests = yield* ModelScripted.requests
      assert.deepStrictEqual(requests.map(({ mode }) => mode), ["respond", "stream"])
      assert.strictEqual(requests[0]!.input, "What is 1 + 2?")
    }).pipe(
      Effect.provide(ModelScripted.layer([
        ModelScripted.toolCall("add", { a: 1, b: 2 }),
        ModelScripted.text("It is 3.")
      ]))
    ))

  describe("steps", () => {
    it.effect("reasons, speaks and calls several tools in one answer", () =>
      Effect.gen(function*() {
        const { output, usage } = yield* respond("hi")
        assert.deepStrictEqual(
          output.map((item) => [item.type, item["id"], item["call_id"], item["arguments"]]),
          [
            ["reasoning", "rs_1", undefined, undefined],
            ["message", "msg_1", undefined, undefined],
            ["function_call", "fc_1", "mine", "{}"],
            ["function_call", "fc_2", "call_1", "{not json"]
          ]
        )
        assert.strictEqual(usage.totalTokens, 107)
        assert.strictEqual(usage.reasoningTokens, 3)
      }).pipe(
        Effect.provide(ModelScripted.layer([
          ModelScripted.calls([{ name: "a", callId: "mine" }, { name: "b", arguments: "{not json" }], {
            reasoning: "Two tools.",
            text: "I ask two.",
            usage: { inputTokens: 100, outputTokens: 7, reasoningTokens: 3 }
          })
        ]))
      ))

    it.effect("keeps encrypted reasoning, refusals and why an answer is incomplete", () =>
      Effect.gen(function*() {
        const thought = yield* respond("1")
        assert.deepInclude(thought.output[0], { type: "reasoning", encrypted_content: "gAAAA" })
        const refused = yield* respond("2")
        assert.strictEqual(refused.status, "completed")
        assert.strictEqual(Item.refusal(refused.output[0]!), "I will not.")
        const cut = yield* respond("3")
        assert.deepInclude(cut, { status: "incomplete", incompleteReason: "max_output_tokens" })
        assert.strictEqual(Item.text(cut.output[0]!), "Half an")
      }).pipe(
        Effect.provide(ModelScripted.layer([
          ModelScripted.reasoned("Hm.", ModelScripted.text("Yes."), { encrypted: "gAAAA" }),
          ModelScripted.refusal("I will not."),
          ModelScripted.incomplete("max_output_tokens", ModelScripted.text("Half an"))
        ]))
      ))

    it.effect("passes items on as they are, and streams what is in them", () => {
      const items: ReadonlyArray<Item.Item> = [
        { type: "web_search_call", id: "ws_1", status: "completed" },
        { type: "reasoning", id: "rs_x", summary: [{ type: "summary_text", text: "So." }] },
        Item.functionCall({ callId: "c", name: "f", arguments: "[1, 2]", id: "fc_x" }),
        { role: "assistant", content: "No id." }
      ]
      return Effect.gen(function*() {
        const events = yield* Stream.runCollect(stream("hi"))
        assert.deepStrictEqual(events.slice(0, -1), [
          { _tag: "ItemDone", item: items[0]! },
          { _tag: "ReasoningDelta", itemId: "rs_x", delta: "So." },
          { _tag: "ItemDone", item: items[1]! },
          { _tag: "ToolCallDelta", itemId: "fc_x", callId: "c", name: "f", delta: "[1, " },
          { _tag: "ToolCallDelta", itemId: "fc_x", callId: "c", name: "f", delta: "2]" },
          { _tag: "ItemDone", item: items[2]! },
          { _tag: "TextDelta", itemId: "item_3", delta: "No " },
          { _tag: "TextDelta", itemId: "item_3", delta: "id." },
          { _tag: "ItemDone", item: items[3]! }
        ])
        const last = events.at(-1)!
        assert.isTrue(last._tag === "Completed" && last.response.output.every((item, index) => item === items[index]))
      }).pipe(Effect.provide(ModelScripted.layer([ModelScripted.items(items)])))
    })

    it.effect("delivers pieces as they are given", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* chunks(stream("1")), [["all ", "at ", "once", "ItemDone", "Completed"]])
        assert.deepStrictEqual(yield* chunks(stream("2")), [["one "], ["by "], ["one", "ItemDone", "Completed"]])
        assert.deepStrictEqual(yield* chunks(stream("3")), [["a", "b"], ["c", "d", "ItemDone", "Completed"]])
        assert.deepStrictEqual(yield* chunks(stream("4")), [["ItemDone", "Completed"]])
        assert.deepStrictEqual(yield* chunks(stream("5")), [["Completed"]])
      }).pipe(
        Effect.provide(ModelScripted.layer([
          ModelScripted.text("all at once"),
          ModelScripted.text(["one ", "by ", "one"]),
          ModelScripted.text([["a", "b"], ["c", "d"]]),
          ModelScripted.text(""),
          ModelScripted.items([])
        ]))
      ))

    it.effect("waits: before the answer, and between its pieces", () =>
      Effect.gen(function*() {
        const streamed = yield* Effect.forkChild(Stream.runCollect(
          Stream.mapEffect(stream("1"), (event) => Effect.map(Clock.currentTimeMillis, (at) => `${at} ${event._tag}`))
        ))
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* Fiber.join(streamed), [
          "1000 TextDelta",
          "1050 TextDelta",
          "1100 TextDelta",
          "1100 ItemDone",
          "1100 Completed"
        ])
        const whole = yield* Effect.forkChild(Effect.andThen(respond("2"), Clock.currentTimeMillis))
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* Fiber.join(whole), 11_100)
      }).pipe(
        Effect.provide(ModelScripted.layer(
          Array.from({ length: 2 }, () =>
            ModelScripted.delayed(
              "600 millis",
              ModelScripted.delayed(
                "400 millis",
                ModelScripted.text(["a", "b", "c"], { pause: "50 millis" })
              )
            ))
        ))
      ))

    it.effect("asks a function, with the request and its number", () =>
      Effect.gen(function*() {
        assert.strictEqual(Item.text((yield* respond("x")).output[0]!), "x is request 1")
        assert.strictEqual(Item.text((yield* respond("y")).output[0]!), "y is request 2")
        assert.strictEqual(Item.text((yield* respond("z")).output[0]!), "z is request 3")
      }).pipe(
        Effect.provide(
          ModelScripted.layer((request, n) => ModelScripted.text(`${String(request.input)} is request ${n}`))
        )
      ))

    it.effect("takes a function among other steps", () =>
      Effect.gen(function*() {
        yield* respond("x")
        assert.strictEqual(Item.text((yield* respond("y")).output[0]!), "2")
        assert.strictEqual(Item.text((yield* respond("z")).output[0]!), "last")
      }).pipe(
        Effect.provide(ModelScripted.layer([
          ModelScripted.text("first"),
          (_, n) => ModelScripted.delayed(0, ModelScripted.text(String(n))),
          ModelScripted.text("last")
        ]))
      ))
  })

  describe("failures", () => {
    it.effect("fail at once, over respond and stream, and are not partial", () =>
      Effect.gen(function*() {
        for (const run of [respond("1"), Stream.runDrain(stream("2"))]) {
          const error = yield* Effect.flip(run)
          assert.strictEqual(error.message, "scripted (scripted): The provider failed (503): too busy")
          assert.isFalse(error.reason.isPartial)
          assert.isTrue(error.isRetryable)
        }
      }).pipe(Effect.provide(ModelScripted.layer([ModelScripted.fail(overloaded), ModelScripted.fail(overloaded)]))))

    it.effect("pass a whole ModelError on", () => {
      const error = new ModelError.ModelError({ provider: "other", model: "m", reason: overloaded })
      return Effect.gen(function*() {
        assert.strictEqual(yield* Effect.flip(respond("1")), error)
      }).pipe(Effect.provide(ModelScripted.layer([ModelScripted.fail(error)])))
    })

    it.effect("come after so many events, and are partial then", () =>
      Effect.gen(function*() {
        for (
          const [after, expected] of [[0, []], [1, ["a "]], [3, ["a ", "b ", "c"]], [99, [
            "a ",
            "b ",
            "c",
            "ItemDone"
          ]]] as const
        ) {
          const seen: Array<string> = []
          const error = yield* Effect.flip(
            Stream.runForEach(stream(`after ${after}`), (event) =>
              Effect.sync(() => {
                seen.push("delta" in event ? event.delta : event._tag)
              }))
          )
          assert.deepStrictEqual<ReadonlyArray<string>>(seen, expected)
          assert.strictEqual(error.reason.isPartial, after > 0)
          assert.deepInclude(error.reason, {
            _tag: "Overloaded",
            status: 503,
            requestId: "req_1",
            description: "too busy"
          })
        }
        const error = yield* Effect.flip(respond("nothing is visible here"))
        assert.isFalse(error.reason.isPartial)
      }).pipe(
        Effect.provide(ModelScripted.layer(
          [0, 1, 3, 99, 2].map((after) => ModelScripted.fail(overloaded, { of: ModelScripted.text("a b c"), after }))
        ))
      ))

    it.effect("keep every field of the reason", () =>
      Effect.gen(function*() {
        const cause = new Error("socket")
        const errors = yield* Effect.forEach(
          [
            new ModelError.RateLimited({ description: "d", retryAfter: Duration.seconds(3), cause }),
            new ModelError.InvalidRequest({ description: "d", param: "input", cause }),
            new ModelError.Unsupported({ description: "d", feature: "prompt", cause })
          ],
          (reason) =>
            Effect.gen(function*() {
              const model = ModelScripted.makeUnsafe([
                ModelScripted.fail(reason, { of: ModelScripted.text("a"), after: 1 })
              ])
              return yield* Effect.flip(
                Stream.runDrain(
                  Stream.unwrap(Effect.map(model.provider.getModel(), (one) => one.stream({ input: "hi" })))
                )
              )
            })
        )
        assert.deepStrictEqual(
          errors.map(({ reason }) => [reason._tag, reason.isPartial, reason.cause === cause]),
          [["RateLimited", true, true], ["InvalidRequest", true, true], ["Unsupported", true, true]]
        )
        const [limited, invalid, unsupported] = errors.map(({ reason }) => reason)
        assert.isTrue(limited?._tag === "RateLimited" && Duration.toMillis(limited.retryAfter!) === 3000)
        assert.isTrue(invalid?._tag === "InvalidRequest" && invalid.param === "input")
        assert.isTrue(unsupported?._tag === "Unsupported" && unsupported.feature === "prompt")
      }))
  })

  describe("hangs", () => {
    it.effect("until interrupted, and counts what was aborted", () =>
      Effect.gen(function*() {
        const model = yield* ModelScripted.ModelScripted
        const whole = yield* Effect.forkChild(respond("1"), { startImmediately: true })
        const seen: Array<string> = []
        const streamed = yield* Effect.forkChild(
          Stream.runForEach(stream("2"), (event) =>
            Effect.sync(() => {
              seen.push(event._tag)
            })),
          { startImmediately: true }
        )
        yield* TestClock.adjust("1 day")
        assert.isUndefined(whole.pollUnsafe())
        assert.isUndefined(streamed.pollUnsafe())
        assert.deepStrictEqual(seen, ["TextDelta"])
        assert.strictEqual(yield* model.aborted, 0)
        yield* Fiber.interrupt(whole)
        assert.strictEqual(yield* model.aborted, 1)
        yield* Fiber.interrupt(streamed)
        assert.strictEqual(yield* model.aborted, 2)
      }).pipe(
        Effect.provide(ModelScripted.layer([
          ModelScripted.hang(),
          ModelScripted.hang({ of: ModelScripted.text("a b"), after: 1 })
        ]))
      ))

    it.effect("counts a delayed answer that nobody waited for, and none that came to its end", () =>
      Effect.gen(function*() {
        const model = yield* ModelScripted.ModelScripted
        const fiber = yield* Effect.forkChild(Effect.timeoutOption(respond("1"), "1 second"))
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "None")
        assert.strictEqual(yield* model.aborted, 1)
        yield* Stream.runDrain(stream("2"))
        yield* Effect.exit(Stream.runDrain(stream("3")))
        yield* Stream.runDrain(Stream.take(stream("4"), 1))
        assert.strictEqual(yield* model.aborted, 2)
      }).pipe(
        Effect.provide(ModelScripted.layer([
          ModelScripted.delayed("2 seconds", ModelScripted.text("late")),
          ModelScripted.text("whole"),
          ModelScripted.fail(overloaded),
          ModelScripted.text(["left ", "early"])
        ]))
      ))
  })

  describe("a script that does not fit", () => {
    const two = [ModelScripted.text("said"), ModelScripted.toolCall("add", { a: 1 }), ModelScripted.hang()]

    it.effect("lists the steps that nobody asked for when the scope closes after a success", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Effect.provide(Effect.asVoid(respond("hi")), ModelScripted.layer(two)))
        assert.strictEqual(
          description(exit),
          "ModelScripted: 2 steps were not asked for:\n  2. call add({\"a\":1})\n  3. hang"
        )
      }))

    it.effect("names every kind of step", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Effect.provide(
          Effect.void,
          ModelScripted.layer({
            a: [
              ModelScripted.text("x".repeat(100)),
              ModelScripted.reasoned("why", ModelScripted.refusal("no")),
              ModelScripted.incomplete("content_filter", ModelScripted.items([Item.user("u")])),
              ModelScripted.items([])
            ],
            b: [
              ModelScripted.fail(overloaded),
              ModelScripted.fail(new ModelError.ModelError({ provider: "p", reason: overloaded }), {
                of: ModelScripted.text("t"),
                after: 1
              }),
              ModelScripted.delayed("1 second", ModelScripted.hang({ of: ModelScripted.text("t"), after: 1 })),
              () => ModelScripted.text("t"),
              function planned() {
                return ModelScripted.text("t")
              }
            ],
            c: () => ModelScripted.text("t")
          })
        ))
        assert.deepStrictEqual(description(exit).split("\n"), [
          "ModelScripted: 9 steps were not asked for:",
          `  a 1. text "${"x".repeat(57)}..."`,
          `  a 2. reasoning "why", refusal "no"`,
          "  a 3. item message (incomplete: content_filter)",
          "  a 4. no item",
          "  b 1. fail Overloaded",
          `  b 2. fail Overloaded after 1 events of text "t"`,
          `  b 3. after 1s: hang after 1 events of text "t"`,
          "  b 4. a function",
          "  b 5. function planned"
        ])
      }))

    it.effect("leaves the program's own failure alone", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Effect.provide(Effect.fail("mine"), ModelScripted.layer(two)))
        assert.deepStrictEqual(exit, Exit.fail("mine"))
        const caught = yield* Effect.fail("mine" as const).pipe(
          Effect.provide(ModelScripted.layer(two)),
          Effect.catch((error) => Effect.succeed(`caught ${error}`))
        )
        assert.strictEqual(caught, "caught mine")
      }))

    it.effect("leaves an interrupted program alone", () =>
      Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(Effect.provide(Effect.never, ModelScripted.layer(two)), {
          startImmediately: true
        })
        yield* Fiber.interrupt(fiber)
        const exit = yield* Fiber.await(fiber)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      }))

    it("says so when a runtime is disposed of", async () => {
      const runtime = ManagedRuntime.make(ModelScripted.layer(two))
      await runtime.runPromise(respond("hi"))
      const error = await runtime.dispose().then(() => undefined, (error: unknown) => error)
      assert.include(String(error), "2 steps were not asked for")
    })

    it.effect("can be asked in between, for Layers that outlive a test", () =>
      Effect.gen(function*() {
        const model = yield* ModelScripted.ModelScripted
        assert.strictEqual(yield* model.remaining, 3)
        yield* respond("hi")
        assert.strictEqual(yield* model.remaining, 2)
        const exit = yield* Effect.exit(ModelScripted.assertDone)
        assert.include(description(exit), "2 steps were not asked for")
        yield* respond("hi")
        const fiber = yield* Effect.forkChild(respond("hi"), { startImmediately: true })
        yield* Fiber.interrupt(fiber)
        yield* ModelScripted.assertDone
      }).pipe(Effect.provide(ModelScripted.layer(two))))

    it.effect("refuses a request beyond the last step, and says which", () =>
      Effect.gen(function*() {
        yield* respond("hi")
        for (const run of [respond("again"), Stream.runDrain(stream("again"))]) {
          const { reason } = yield* Effect.flip(run)
          assert.strictEqual(reason._tag, "InvalidRequest")
          assert.match(reason.description, /^request [23] is one too many: the script has 1 step\. /)
        }
        assert.strictEqual((yield* ModelScripted.requests).length, 3)
      }).pipe(Effect.provide(ModelScripted.layer([ModelScripted.text("only")]))))

    it.effect("takes steps that are added later", () =>
      Effect.gen(function*() {
        const model = yield* ModelScripted.ModelScripted
        yield* model.add(ModelScripted.text("a"), ModelScripted.text("b"))
        assert.strictEqual(Item.text((yield* respond("1")).output[0]!), "a")
        assert.strictEqual(Item.text((yield* respond("2")).output[0]!), "b")
      }).pipe(Effect.provide(ModelScripted.layer([]))))

    it.effect("does not add steps that would never be taken", () =>
      Effect.gen(function*() {
        const model = yield* ModelScripted.ModelScripted
        const exit = yield* Effect.exit(model.add(ModelScripted.text("a")))
        assert.include(description(exit), "a function answers every request")
      }).pipe(Effect.provide(ModelScripted.layer(() => ModelScripted.text("always")))))
  })

  describe("models by name", () => {
    const byName = {
      small: [ModelScripted.text("small 1"), ModelScripted.text("small 2")],
      large: [ModelScripted.text("large 1")]
    }

    it.effect("each have their own script", () =>
      Effect.gen(function*() {
        const answers = yield* Effect.forEach([undefined, "large", "small"], (name) => respond("hi", name))
        assert.deepStrictEqual(answers.map(({ model, output }) => [model, Item.text(output[0]!)]), [
          ["small", "small 1"],
          ["large", "large 1"],
          ["small", "small 2"]
        ])
        assert.deepStrictEqual((yield* ModelScripted.requests).map(({ model }) => model), ["small", "large", "small"])
        assert.strictEqual(new Set(answers.map(({ id }) => id)).size, 3)
      }).pipe(Effect.provide(ModelScripted.layer(byName))))

    it.effect("say what there is when a name is unknown", () =>
      Effect.gen(function*() {
        const provider = yield* ModelProvider
        const error = yield* Effect.flip(provider.getModel("huge"))
        assert.strictEqual(error.reason._tag, "UnknownModel")
        assert.strictEqual(
          error.message,
          "scripted (huge): Unknown model: the script has no model huge, only small, large"
        )
      }).pipe(over(byName)))

    it.effect("can have another default", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* respond("hi")).model, "large")
      }).pipe(over(byName, { defaultModel: "large" })))

    it.effect("are all answered by one script without names", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* respond("hi", "anything")).model, "anything")
        assert.strictEqual((yield* respond("hi")).model, "other")
        const provider = yield* ModelProvider
        assert.strictEqual(yield* provider.getModel("x"), yield* provider.getModel("x"))
      }).pipe(
        Effect.provide(
          ModelScripted.layer([ModelScripted.text("a"), ModelScripted.text("b")], { defaultModel: "other" })
        )
      ))
  })

  describe("strict", () => {
    const call = Item.functionCall({ callId: "c", name: "f", arguments: "{}" })
    const broken: ReadonlyArray<readonly [name: string, input: ReadonlyArray<Item.Item>, says: string]> = [
      ["CallWithoutOutput", [Item.user("hi"), call], "input[1] (function_call c)"],
      ["OutputWithoutCall", [Item.functionCallOutput("c", "x")], "input[0] (function_call_output c)"],
      ["DuplicateId", [Item.assistant("a", { id: "msg_7" }), Item.assistant("b", { id: "msg_7" })], "(message msg_7)"],
      [
        "ReasoningWithoutFollower",
        [{ type: "reasoning", id: "rs_1", summary: [] }, Item.user("hi")],
        "(reasoning rs_1)"
      ]
    ]

    for (const [kind, input, says] of broken) {
      it.effect(`refuses ${kind}, as the real service would`, () =>
        Effect.gen(function*() {
          const { reason } = yield* Effect.flip(respond(input))
          assert.strictEqual(reason._tag, "InvalidRequest")
          assert.include(reason.description, kind)
          assert.include(reason.description, says)
          assert.strictEqual(reason.status, 400)
          yield* respond("the step is still there")
        }).pipe(Effect.provide(ModelScripted.layer([ModelScripted.text("ok")]))))
    }

    it.effect("lets everything pass when it is off", () =>
      Effect.forEach(broken, ([, input]) => respond(input)).pipe(
        Effect.provide(ModelScripted.layer(() => ModelScripted.text("ok"), { strict: false }))
      ))

    it.effect("knows that a call may be kept by the provider", () =>
      Effect.gen(function*() {
        const model = yield* (yield* ModelProvider).getModel()
        const input = [Item.functionCallOutput("c", "x")]
        yield* model.respond({ input, previousResponseId: "resp_1" })
        yield* model.respond({ input, conversationId: "conv_1" })
        yield* Effect.flip(model.respond({ input: [call], conversationId: "conv_1" }))
      }).pipe(Effect.provide(ModelScripted.layer(() => ModelScripted.text("ok")))))
  })

  it.effect("keeps requests as they were", () =>
    Effect.gen(function*() {
      const model = yield* (yield* ModelProvider).getModel()
      const input = [Item.user("one")]
      const request = { input, instructions: "before" }
      yield* model.respond(request)
      input.push(Item.user("two"))
      request.instructions = "after"
      const [seen] = yield* ModelScripted.requests
      assert.deepStrictEqual(seen, {
        input: [Item.user("one")],
        items: [Item.user("one")],
        instructions: "before",
        model: "scripted",
        mode: "respond"
      })
      const before = yield* ModelScripted.requests
      yield* model.respond({ input: "two" })
      assert.lengthOf(before, 1)
    }).pipe(Effect.provide(ModelScripted.layer(() => ModelScripted.text("ok")))))

  it.effect("keeps no requests when told so", () =>
    Effect.gen(function*() {
      yield* respond("hi")
      assert.deepStrictEqual(yield* ModelScripted.requests, [])
    }).pipe(Effect.provide(ModelScripted.layer([ModelScripted.text("ok")], { record: false }))))

  it.effect("gives no id twice, whatever the conversation and the script hold already", () =>
    Effect.gen(function*() {
      const earlier = [
        Item.user("hi"),
        Item.functionCall({ callId: "call_1", name: "f", arguments: "{}", id: "fc_1" }),
        Item.functionCallOutput("call_1", "x"),
        Item.assistant("said", { id: "msg_2" })
      ]
      const first = yield* respond(earlier)
      assert.deepStrictEqual(first.output.map((item) => [item["id"], item["call_id"]]), [["fc_2", "call_2"]])
      const second = yield* respond([...earlier, ...first.output, Item.functionCallOutput("call_2", "y")])
      assert.deepStrictEqual(second.output.map((item) => item["id"]), ["msg_1"])
      const third = yield* respond([...earlier.slice(0, 3), Item.user("and?")])
      assert.deepStrictEqual(third.output.map((item) => item["id"]), ["msg_3"])
      const fourth = yield* respond("hi")
      assert.deepStrictEqual(fourth.output.map((item) => item["call_id"]), ["call_3", "call_5"])
      const fifth = yield* respond("hi")
      assert.deepStrictEqual(fifth.output.map((item) => item["call_id"]), ["call_4", "call_6"])
    }).pipe(
      Effect.provide(ModelScripted.layer([
        ModelScripted.toolCall("f"),
        ModelScripted.text("a"),
        ModelScripted.text("b"),
        ModelScripted.calls([{ name: "f" }, { name: "f" }]),
        ModelScripted.calls([{ name: "f", callId: "call_4" }, { name: "f" }])
      ]))
    ))

  it.effect("is one model a Layer, so that two in a program do not share a script", () =>
    Effect.gen(function*() {
      const [a, b] = yield* Effect.all([
        Effect.provide(respond("hi"), ModelScripted.layer([ModelScripted.text("a")])),
        Effect.provide(respond("hi"), ModelScripted.layer([ModelScripted.text("b")]))
      ])
      assert.deepStrictEqual([a, b].map(({ id, output }) => [id, Item.text(output[0]!)]), [
        ["resp_1", "a"],
        ["resp_1", "b"]
      ])
    }))

  it.effect("make keeps a scope's program to its script", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const model = yield* Scope.provide(ModelScripted.make([ModelScripted.text("a")]), scope)
      assert.strictEqual(yield* model.remaining, 1)
      const exit = yield* Effect.exit(Scope.close(scope, Exit.void))
      assert.include(description(exit), "1 step was not asked for")
    }))
})
