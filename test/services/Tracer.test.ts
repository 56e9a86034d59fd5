import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { assert, describe, it } from "@effect/vitest"
import { SpanStatusCode } from "@opentelemetry/api"
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import * as TracerMemory from "agent-layers/layers/tracer/TracerMemory"
import * as ModelError from "agent-layers/services/ModelError"
import * as Tracer from "agent-layers/services/Tracer"
import * as Usage from "agent-layers/services/Usage"
import {
  Cause,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  References,
  Result,
  Schema,
  Scope,
  Tracer as EffectTracer
} from "effect"
import { TestClock } from "effect/testing"

const usage = Usage.make({ inputTokens: 100, outputTokens: 20 })

const failure = new ModelError.ModelError({
  provider: "openai",
  model: "gpt-5",
  reason: new ModelError.Timeout({ description: "nothing for 30 s" })
})

const generation = <A, E>(effect: Effect.Effect<A, E>) =>
  Tracer.withSpan(
    effect,
    () => ({ _tag: "Generation", provider: "openai", model: "gpt-5", input: "what was asked" }) as const,
    () => ({ usage, responseId: "resp_1", output: "what was said" })
  )

const tool = <A, E>(name: string, effect: Effect.Effect<A, E>) =>
  Tracer.withSpan(effect, () => ({ _tag: "Tool", name, callId: "call_1" }) as const)

const agent = <A, E>(effect: Effect.Effect<A, E>) =>
  Tracer.withSpan(
    effect,
    () => ({ _tag: "Agent", agent: "analyst" }) as const,
    () => ({ conversationId: "conv_1", usage }),
    { trace: { workflowName: "analysis", groupId: "thread" } }
  )

describe("Tracer.withSpan", () => {
  it.effect("is the effect itself where nobody looks, and asks for no data", () =>
    Effect.gen(function*() {
      const effect = Effect.succeed("value")
      const traced = Tracer.withSpan(
        effect,
        () => assert.fail("data was asked for"),
        () => assert.fail("the end was asked for")
      )
      assert.strictEqual(yield* traced, "value")
      const spans = yield* Tracer.withSpan(Effect.result(Effect.currentSpan), () =>
        ({ _tag: "Custom", name: "x" }) as const)
      assert.isTrue(Result.isFailure(spans), "no span is made")
    }))

  it.effect("is inactive again once the last processor has left", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Scope.provide(Layer.build(TracerMemory.layer), scope)
      assert.isTrue(Tracer.isActive(context as Context.Context<never>))
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(Tracer.isActive(context as Context.Context<never>))
    }))

  it.effect("is active for an Effect tracer alone, and not where tracing is switched off", () =>
    Effect.gen(function*() {
      const context = Context.empty()
      assert.isFalse(Tracer.isActive(context))
      const withTracer = Context.add(
        context,
        EffectTracer.Tracer,
        EffectTracer.make({
          span: (options) => new EffectTracer.NativeSpan(options)
        })
      )
      assert.isTrue(Tracer.isActive(withTracer))
      assert.isFalse(Tracer.isActive(Context.add(withTracer, References.TracerEnabled, false)))
      const memory = yield* TracerMemory.TracerMemory
      yield* Effect.withTracerEnabled(agent(Effect.void), false)
      assert.deepStrictEqual(yield* memory.started, [])
    }).pipe(Effect.provide(TracerMemory.layer)))

  it.effect("hands processors what is known at the start, then what is known at the end", () =>
    Effect.gen(function*() {
      const memory = yield* TracerMemory.TracerMemory
      yield* TestClock.setTime(1_700_000_000_000)
      const fiber = yield* Effect.forkChild(agent(generation(Effect.sleep("250 millis"))))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      const [, begun] = yield* memory.started
      const [ended, root] = yield* memory.spans
      assert.deepStrictEqual(begun, {
        traceId: root!.traceId,
        spanId: ended!.spanId,
        parentId: root!.spanId,
        name: "chat gpt-5",
        data: { _tag: "Generation", provider: "openai", model: "gpt-5", input: "what was asked" },
        startedAt: 1_700_000_000_000,
        trace: { traceId: root!.traceId, rootSpanId: root!.spanId, workflowName: "analysis", groupId: "thread" }
      })
      assert.deepStrictEqual(ended, {
        ...begun!,
        data: { ...begun!.data, usage, responseId: "resp_1", output: "what was said" } as Tracer.SpanData,
        endedAt: 1_700_000_000_250,
        outcome: "succeeded"
      })
      assert.isFalse("parentId" in root!)
      const decode = Schema.decodeUnknownEffect(Tracer.EndedSpan)
      assert.deepStrictEqual(yield* decode(JSON.parse(JSON.stringify(ended))), ended!)
    }).pipe(Effect.provide(TracerMemory.layer)))

  it.effect("names every kind of span", () =>
    Effect.gen(function*() {
      const memory = yield* TracerMemory.TracerMemory
      const kinds: ReadonlyArray<Tracer.SpanData> = [
        { _tag: "Agent", agent: "a" },
        { _tag: "Turn", agent: "a", turn: 2 },
        { _tag: "Generation", provider: "p", model: "m" },
        { _tag: "Tool", name: "t", callId: "c" },
        { _tag: "Handoff", from: "a", to: "b" },
        { _tag: "Guardrail", name: "g" },
        { _tag: "Mcp", server: "s", operation: "tools/call" },
        { _tag: "Sandbox", backend: "bubblewrap", operation: "exec" },
        { _tag: "Session", backend: "sqlite", operation: "saveItems" },
        { _tag: "Custom", name: "mine" }
      ]
      yield* Effect.forEach(kinds, (data) => Tracer.withSpan(Effect.void, () => data))
      assert.deepStrictEqual((yield* memory.spans).map(({ name }) => name), [
        "invoke_agent a",
        "turn 2",
        "chat m",
        "execute_tool t",
        "handoff b",
        "guardrail g",
        "mcp tools/call",
        "sandbox exec",
        "session saveItems",
        "mine"
      ])
    }).pipe(Effect.provide(TracerMemory.layer)))

  it.effect("says how a span ended, whatever it failed with", () =>
    Effect.gen(function*() {
      const memory = yield* TracerMemory.TracerMemory
      const ends: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        Effect.fail(failure),
        Effect.fail("text"),
        Effect.fail({ _tag: "Plain", message: 7 }),
        Effect.fail(null),
        Effect.die(new RangeError("too far")),
        Effect.failCause(Cause.combine(Cause.interrupt(), Cause.die(new Error("both")))),
        Effect.interrupt
      ]
      for (const effect of ends) yield* Effect.exit(tool("t", effect))
      assert.deepStrictEqual((yield* memory.spans).map(({ error, outcome }) => [outcome, error?.tag, error?.message]), [
        ["failed", "ModelError", failure.message],
        ["failed", "Error", "text"],
        ["failed", "Plain", "7"],
        ["failed", "Error", "null"],
        ["failed", "RangeError", "too far"],
        ["failed", "Error", "both"],
        ["interrupted", undefined, undefined]
      ])
    }).pipe(Effect.provide(TracerMemory.layer)))

  it.effect("leaves content out of data and error where IncludeContent is false, and keeps the rest", () =>
    Effect.gen(function*() {
      const memory = yield* TracerMemory.TracerMemory
      yield* Effect.exit(generation(Effect.fail(failure))).pipe(Effect.provideService(Tracer.IncludeContent, false))
      const [begun] = yield* memory.started
      const [ended] = yield* memory.spans
      assert.deepStrictEqual(begun!.data, { _tag: "Generation", provider: "openai", model: "gpt-5" })
      assert.deepStrictEqual(ended!.data, {
        _tag: "Generation",
        provider: "openai",
        model: "gpt-5",
        usage,
        responseId: "resp_1"
      })
      assert.deepStrictEqual(ended!.error, { tag: "ModelError", message: "(left out: IncludeContent is false)" })
    }).pipe(Effect.provide(TracerMemory.layer)))

  it.effect("measures also where Effect's spans are not timed", () =>
    Effect.gen(function*() {
      const memory = yield* TracerMemory.TracerMemory
      yield* TestClock.setTime(5000)
      yield* tool("t", Effect.void).pipe(Effect.withTracerTiming(false))
      assert.deepStrictEqual((yield* memory.spans).map(({ endedAt, startedAt }) => [startedAt, endedAt]), [[
        5000,
        5000
      ]])
    }).pipe(Effect.provide(TracerMemory.layer)))

  it.effect("calls a processor in order, and waits for it", () =>
    Effect.gen(function*() {
      const calls: Array<string> = []
      const slow = (call: string) => (value: Tracer.Trace | Tracer.Span) =>
        Effect.andThen(
          Effect.sleep("1 second"),
          Effect.sync(() => {
            calls.push("name" in value ? `${call} ${value.name}` : call)
          })
        )
      const processor: Tracer.TraceProcessor = {
        onTraceStart: slow("trace start"),
        onSpanStart: slow("start"),
        onSpanEnd: slow("end"),
        onTraceEnd: slow("trace end")
      }
      const fiber = yield* Effect.forkChild(
        agent(tool(
          "t",
          Effect.sync(() => {
            calls.push("work")
          })
        )).pipe(Effect.provide(Tracer.addProcessor(processor)))
      )
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(calls, [
        "trace start",
        "start invoke_agent analyst",
        "start execute_tool t",
        "work",
        "end execute_tool t",
        "end invoke_agent analyst",
        "trace end"
      ])
    }))

  it.effect("ends what it began when it is interrupted while a processor is at it", () =>
    Effect.gen(function*() {
      for (const at of ["onTraceStart", "onSpanStart", "onSpanEnd", "onTraceEnd"] as const) {
        const calls: Array<string> = []
        const reached = yield* Deferred.make<void>()
        const note = (name: keyof Tracer.TraceProcessor) => () =>
          Effect.gen(function*() {
            calls.push(name)
            if (name !== at) return
            yield* Deferred.succeed(reached, undefined)
            yield* Effect.sleep("1 second")
            calls.push(`${name} done`)
          })
        const processor: Tracer.TraceProcessor = {
          onTraceStart: note("onTraceStart"),
          onSpanStart: note("onSpanStart"),
          onSpanEnd: note("onSpanEnd"),
          onTraceEnd: note("onTraceEnd")
        }
        const scope = yield* Scope.make()
        const context = yield* Scope.provide(Layer.build(Tracer.addProcessor(processor)), scope)
        const fiber = yield* Effect.forkChild(Effect.provideContext(agent(Effect.void), context))
        yield* Deferred.await(reached)
        const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(interruption)
        assert.deepStrictEqual(calls.filter((call) => !call.endsWith("done")), [
          "onTraceStart",
          "onSpanStart",
          "onSpanEnd",
          "onTraceEnd"
        ], at)
        assert.include(calls, `${at} done`)
        yield* Scope.close(scope, Exit.void)
      }
    }))

  it.effect("warns once of a processor that fails at every span", () =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        logged.push(`${logLevel}: ${String(message)}`)
      })
      const processor: Tracer.TraceProcessor = { onSpanEnd: () => Effect.die(new Error("boom")) }
      yield* Effect.forEach([1, 2, 3], (turn) => tool(String(turn), Effect.void)).pipe(
        Effect.provide(Layer.mergeAll(
          Tracer.addProcessor(processor),
          Logger.layer([logger]),
          Layer.succeed(References.MinimumLogLevel, "Debug")
        ))
      )
      assert.deepStrictEqual(logged.map((line) => line.slice(0, 32)), [
        "Warn: A trace processor failed; ",
        "Debug: A trace processor failed ",
        "Debug: A trace processor failed "
      ])
    }))

  it.effect("keeps a processor's own this", () =>
    Effect.gen(function*() {
      class Counting implements Tracer.TraceProcessor {
        count = 0
        onSpanEnd() {
          this.count++
          return Effect.void
        }
      }
      const processor = new Counting()
      yield* tool("t", Effect.void).pipe(Effect.provide(Tracer.addProcessor(processor)))
      assert.strictEqual(processor.count, 1)
    }))

  it.effect("makes every inner span a child, also the caller's own", () =>
    Effect.gen(function*() {
      const memory = yield* TracerMemory.TracerMemory
      const inner = yield* Effect.withSpan(
        agent(Effect.withSpan(tool("t", Effect.void), "between")),
        "caller"
      ).pipe(Effect.andThen(memory.spans))
      const [toolSpan, agentSpan] = inner
      assert.notStrictEqual(toolSpan!.parentId, agentSpan!.spanId)
      assert.isDefined(agentSpan!.parentId)
      assert.strictEqual(toolSpan!.traceId, agentSpan!.traceId)
    }).pipe(Effect.provide(TracerMemory.layer)))
})

describe("Tracer", () => {
  it.effect("takes processors by effects, and says what is missing where there is no tracer", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.flatMap(Tracer.Tracer, (tracer) => tracer.addProcessor({})))
      assert.isTrue(Exit.isFailure(exit) && Cause.pretty(exit.cause).includes("provide Tracer.layer"))
      yield* Effect.flatMap(Tracer.Tracer, ({ flush }) => flush)
      const failing = Tracer.addProcessor(Effect.fail("no connection" as const))
      assert.strictEqual(yield* Effect.flip(Effect.scoped(Layer.build(failing))), "no connection")
    }))

  it.effect("flushes every processor, and each once more when it leaves", () =>
    Effect.gen(function*() {
      const flushed: Array<string> = []
      const flushing = (name: string) =>
        Tracer.addProcessor({
          flush: Effect.sync(() => {
            flushed.push(name)
          })
        })
      yield* Effect.flatMap(Tracer.Tracer, ({ flush }) => flush).pipe(
        Effect.provide(Layer.mergeAll(flushing("a"), flushing("b"), Tracer.addProcessor({})))
      )
      assert.deepStrictEqual(flushed.slice(0, 2), ["a", "b"])
      assert.deepStrictEqual(flushed.slice(2).sort(), ["a", "b"])
    }))

  it.effect("takes a processor out with its scope, and keeps those that were there", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const telling = (name: string): Tracer.TraceProcessor => ({
        onSpanEnd: (span) =>
          Effect.sync(() => {
            seen.push(`${name} ${span.name}`)
          }),
        onTraceEnd: (trace) =>
          Effect.sync(() => {
            seen.push(`${name} ${trace.workflowName}`)
          }),
        dropped: Effect.succeed(2)
      })
      yield* Effect.gen(function*() {
        const { addProcessor } = yield* Tracer.Tracer
        yield* Effect.scoped(Effect.gen(function*() {
          yield* addProcessor(telling("second"))
          yield* agent(Effect.void)
          assert.strictEqual(yield* Tracer.dropped, 4)
        }))
        assert.strictEqual(seen.filter((one) => one.startsWith("second")).length, 2)
        assert.strictEqual(seen.filter((one) => one.startsWith("first")).length, 2)
        yield* agent(Effect.void)
        assert.strictEqual(seen.filter((one) => one.startsWith("second")).length, 2)
        assert.strictEqual(seen.filter((one) => one.startsWith("first")).length, 4)
        assert.strictEqual(yield* Tracer.dropped, 2)
      }).pipe(Effect.provide(Tracer.addProcessor(telling("first"))))
    }))

  it.effect("is one for all registrations of a program, in whatever order", () =>
    Effect.gen(function*() {
      const names: Array<string> = []
      const counting = (name: string) =>
        Tracer.addProcessor(Effect.succeed({
          onSpanEnd: () =>
            Effect.sync(() => {
              names.push(name)
            })
        }))
      yield* tool("t", Effect.void).pipe(
        Effect.provide(Layer.mergeAll(counting("a"), Tracer.layer, counting("b"), TracerMemory.layer))
      )
      assert.deepStrictEqual(names.sort(), ["a", "b"])
    }))
})

describe("Tracer with @effect/opentelemetry", () => {
  const withSdk = <A, E>(program: Effect.Effect<A, E>, also: Layer.Layer<never> = Layer.empty) =>
    Effect.gen(function*() {
      const exporter = new InMemorySpanExporter()
      const layer = NodeSdk.layer(() => ({
        resource: { serviceName: "test" },
        spanProcessor: new SimpleSpanProcessor(exporter)
      }))
      let spans: ReturnType<typeof exporter.getFinishedSpans> = []
      // Shutting down empties the exporter.
      const exit = yield* Effect.exit(program).pipe(
        Effect.tap(() => Effect.sync(() => (spans = exporter.getFinishedSpans().slice()))),
        Effect.provide(Layer.merge(layer, also))
      )
      return { exit, spans }
    })

  const run = Effect.withSpan(
    agent(Effect.andThen(generation(Effect.void), Effect.exit(tool("read", Effect.fail(failure))))),
    "POST /ask"
  )

  it.live("sends spans with gen_ai attributes, in the caller's span", () =>
    Effect.gen(function*() {
      const { spans } = yield* withSdk(run)
      const by = (name: string) => spans.find((span) => span.name === name)!
      assert.deepStrictEqual(spans.map(({ name }) => name), [
        "chat gpt-5",
        "execute_tool read",
        "invoke_agent analyst",
        "POST /ask"
      ])
      const [chat, read, invoke, caller] = spans.map(({ name }) => by(name)) as [
        ReturnType<typeof by>,
        ReturnType<typeof by>,
        ReturnType<typeof by>,
        ReturnType<typeof by>
      ]
      assert.strictEqual(invoke.parentSpanContext?.spanId, caller.spanContext().spanId)
      assert.strictEqual(chat.parentSpanContext?.spanId, invoke.spanContext().spanId)
      assert.strictEqual(read.parentSpanContext?.spanId, invoke.spanContext().spanId)
      assert.strictEqual(new Set(spans.map((span) => span.spanContext().traceId)).size, 1)
      assert.deepStrictEqual(chat.attributes, {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.response.id": "resp_1",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20
      })
      assert.deepStrictEqual(invoke.attributes, {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "analyst",
        "gen_ai.conversation.id": "conv_1",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "agent_layers.workflow.name": "analysis",
        "agent_layers.workflow.group": "thread"
      })
      assert.deepInclude(read.attributes, {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "read",
        "gen_ai.tool.call.id": "call_1",
        "error.type": "ModelError"
      })
      assert.strictEqual(read.status.code, SpanStatusCode.ERROR)
      assert.strictEqual(chat.status.code, SpanStatusCode.OK)
      assert.include(JSON.stringify(read.events.map((event) => event.attributes)), "nothing for 30 s")
    }))

  it.live("needs no processor of ours, and goes together with one", () =>
    Effect.gen(function*() {
      const seen: Array<Tracer.EndedSpan> = []
      const { spans } = yield* withSdk(
        run,
        Tracer.addProcessor({
          onSpanEnd: (span) =>
            Effect.sync(() => {
              seen.push(span)
            })
        })
      )
      assert.deepStrictEqual(
        seen.map(({ parentId, spanId, traceId }) => [traceId, spanId, parentId]),
        spans.slice(0, 3).map((span) => [
          span.spanContext().traceId,
          span.spanContext().spanId,
          span.parentSpanContext?.spanId
        ])
      )
    }))

  it.live("sends no content, and no message of an error where IncludeContent is false", () =>
    Effect.gen(function*() {
      const text = (
        spans: ReadonlyArray<
          { readonly name: string; readonly attributes: unknown; readonly events: unknown; readonly status: unknown }
        >
      ) => JSON.stringify(spans.map(({ attributes, events, name, status }) => ({ attributes, events, name, status })))
      const { spans } = yield* withSdk(run)
      assert.notInclude(text(spans), "what was asked")
      assert.notInclude(text(spans), "what was said")
      const { spans: quiet } = yield* withSdk(Effect.provideService(run, Tracer.IncludeContent, false))
      assert.lengthOf(quiet, 4)
      assert.notInclude(text(quiet), "nothing for 30 s")
      assert.include(text(quiet), "ModelError")
      assert.strictEqual(quiet.find(({ name }) => name === "execute_tool read")!.status.code, SpanStatusCode.ERROR)
    }))

  it.live("ends spans of an interrupted run", () =>
    Effect.gen(function*() {
      const { spans } = yield* withSdk(Effect.gen(function*() {
        const begun = yield* Deferred.make<void>()
        const work = Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)
        const fiber = yield* Effect.forkChild(agent(tool("t", work)))
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(fiber)
      }))
      assert.deepStrictEqual(spans.map(({ name }) => name), ["execute_tool t", "invoke_agent analyst"])
      assert.isTrue(spans.every(({ ended }) => ended))
    }))
})
