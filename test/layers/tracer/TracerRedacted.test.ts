import { assert, describe, it } from "@effect/vitest"
import * as TracerMemory from "agent-layers/layers/tracer/TracerMemory"
import * as TracerRedacted from "agent-layers/layers/tracer/TracerRedacted"
import * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import * as Tracer from "agent-layers/services/Tracer"
import { Context, Effect, Layer, Redacted, Tracer as EffectTracer } from "effect"
import { describeLaws } from "../../support/laws.ts"
import { agent, tool } from "../../support/tracer/entries.ts"
import { toSeen } from "./seen.ts"

const harmless = { secrets: [Redacted.make("nobody-says-this")] }

const readMemory = (context: Context.Context<TracerMemory.TracerMemory>) => {
  const memory = Context.get(context, TracerMemory.TracerMemory)
  return { seen: Effect.map(memory.spans, toSeen), traces: memory.traces, dropped: memory.dropped }
}

describeLaws(
  "TracerRedacted at the source",
  TracerLaws.all,
  TracerLaws.fromLayer(Layer.merge(TracerMemory.layer, TracerRedacted.layer(harmless)), readMemory, {
    capacity: 10_000
  })
)

describeLaws("TracerRedacted for one processor", TracerLaws.all, {
  capacity: 5000,
  open: (beside) =>
    Effect.gen(function*() {
      const { memory, processor } = TracerMemory.makeUnsafe({ capacity: 5000 })
      const redacting = TracerRedacted.make(processor, TracerRedacted.policy(harmless))
      const context = yield* Layer.build(Layer.merge(beside, Tracer.addProcessor(redacting)))
      return { context, seen: Effect.map(memory.spans, toSeen), traces: memory.traces, dropped: memory.dropped }
    })
})

const secret = `k9$7"\\q`

/** The secret in every place that a span has. */
const everywhere = (canary: string) => {
  const circular: Record<string, unknown> = {}
  circular["self"] = circular
  const deep = {
    [canary]: [new Map([["k", canary]]), new Set([canary]), new Error(`at ${canary}`), { toJSON: () => ({ canary }) }],
    bytes: new TextEncoder().encode(canary),
    hidden: Redacted.make(canary),
    password: 12345,
    "API-Key": { of: "somebody" },
    circular,
    json: JSON.stringify({ nested: JSON.stringify({ password: "p4ss", canary }) })
  }
  const spans: ReadonlyArray<Tracer.SpanData> = [
    { _tag: "Agent", agent: canary, runId: canary, conversationId: canary, tools: [canary] },
    { _tag: "Generation", provider: canary, model: canary, responseId: canary, input: [deep], output: canary },
    { _tag: "Tool", name: canary, callId: canary, input: JSON.stringify({ canary, password: "p4ss" }), output: deep },
    { _tag: "Handoff", from: canary, to: canary },
    { _tag: "Guardrail", name: canary },
    { _tag: "Mcp", server: canary, operation: canary },
    { _tag: "Sandbox", backend: canary, operation: canary },
    { _tag: "Session", backend: canary, operation: canary, conversationId: canary },
    { _tag: "Custom", name: canary, data: deep }
  ]
  const failure = Object.assign(new Error(`no ${canary}`, { cause: new Error(canary) }), { name: canary })
  return Tracer.withSpan(
    Effect.forEach(
      spans,
      (data) =>
        Effect.exit(
          Tracer.withSpan(
            Effect.andThen(Effect.exit(Effect.withSpan(Effect.die(failure), "own")), Effect.die(failure)),
            () => data
          )
        )
    ),
    () => ({ _tag: "Agent", agent: canary }) as const,
    undefined,
    { trace: { workflowName: canary, groupId: canary, metadata: { [canary]: canary } } }
  )
}

describe("TracerRedacted", () => {
  for (const way of ["at the source", "for one processor"] as const) {
    it.effect(`takes a secret out of every field, ${way}`, () =>
      Effect.gen(function*() {
        const seen: Array<unknown> = []
        const see = (value: unknown) => Effect.sync(() => void seen.push(value))
        const processor: Tracer.TraceProcessor = {
          onTraceStart: see,
          onSpanStart: see,
          onSpanEnd: see,
          onTraceEnd: see
        }
        const options = { secrets: [Redacted.make(secret)] }
        yield* everywhere(secret).pipe(Effect.provide(
          way === "at the source"
            ? Layer.merge(Tracer.addProcessor(processor), TracerRedacted.layer(options))
            : Tracer.addProcessor(TracerRedacted.make(processor, TracerRedacted.policy(options)))
        ))
        const text = JSON.stringify(seen)
        assert.lengthOf(seen, 22)
        for (const canary of [secret, JSON.stringify(secret).slice(1, -1), "k9", "p4ss", "12345", "somebody"]) {
          assert.notInclude(text, canary)
        }
        assert.include(text, "(redacted)")
      }))
  }

  it.effect("takes a secret out of Effect spans made here: name, attributes, error and its stack", () =>
    Effect.gen(function*() {
      const spans: Array<EffectTracer.NativeSpan> = []
      const tracer = EffectTracer.make({
        span: (options) => {
          const span = new EffectTracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      yield* everywhere(secret).pipe(
        Effect.provide(TracerRedacted.layer({ secrets: [secret] })),
        Effect.provideService(EffectTracer.Tracer, tracer)
      )
      const ours = spans.filter(({ name }) => name !== "own")
      assert.lengthOf(ours, 10)
      for (const span of ours) {
        const exit = span.status._tag === "Ended" ? span.status.exit : undefined
        const text = JSON.stringify([span.name, [...span.attributes], exit?._tag]) +
          (exit?._tag === "Failure" ?
            JSON.stringify(exit.cause.reasons.map((one) =>
              "defect" in one && [
                String((one.defect as Error).stack),
                (one.defect as Error).message
              ]
            )) :
            "")
        assert.notInclude(text, "k9")
      }
    }))

  it.effect("leaves out what it cannot judge, and the run goes on", () =>
    Effect.gen(function*() {
      const memory = yield* TracerMemory.TracerMemory
      const throwing: Tracer.Redaction = {
        text: () => {
          throw new Error("broken policy")
        },
        isSecret: () => {
          throw new Error("broken policy")
        }
      }
      const exit = yield* Effect.exit(agent("a", tool("canary", Effect.fail("canary")))).pipe(
        Effect.provideService(Tracer.CurrentRedaction, throwing)
      )
      assert.strictEqual(exit._tag, "Failure")
      assert.notInclude(JSON.stringify(yield* memory.spans), "canary")
      assert.lengthOf(yield* memory.spans, 2)
    }).pipe(Effect.provide(TracerMemory.layer)))

  it("finds what looks like credentials, and leaves the rest", () => {
    const { isSecret, text } = TracerRedacted.policy()
    for (
      const [said, left] of [
        ["Authorization: Bearer abc.def-ghi123", "Authorization: (redacted)"],
        ["key sk-proj-abcdefghijklmnop1234 end", "key (redacted) end"],
        ["ghp_abcdefghijklmnopqrst1234", "(redacted)"],
        ["postgres://ada:s3cret@host/db", "postgres://ada:(redacted)@host/db"],
        ["AKIAABCDEFGHIJKLMNOP", "(redacted)"],
        ["-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "(redacted)"],
        ["the bearer of news, task-list, https://host:8080/a@b", "the bearer of news, task-list, https://host:8080/a@b"]
      ] as const
    ) {
      assert.strictEqual(text(said), left)
      // A second look with the same policy sees the same.
      assert.strictEqual(text(said), left)
    }
    assert.isTrue(["api_key", "API-KEY", "apiKey", "Set-Cookie"].every((key) => isSecret!(key)))
    assert.isFalse(["key", "keys", "tokens", "name"].some((key) => isSecret!(key)))
  })

  it("takes patterns, keys and a replacement of one's own", () => {
    const { isSecret, text } = TracerRedacted.policy({
      patterns: [/\d{4}/],
      keys: ["Iban"],
      secrets: ["", "ab", "abc"],
      replacement: "$&"
    })
    assert.strictEqual(text("1234 5678 abc ab"), "$& $& $& $&")
    assert.isTrue(isSecret!("i-b-a-n"))
    assert.isFalse(isSecret!("password"))
  })
})
