import { assert, describe, it } from "@effect/vitest"
import * as Law from "agent-layers/services/laws/Law"
import * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import type { EndedSpan, Trace, TraceProcessor } from "agent-layers/services/Tracer"
import * as Tracer from "agent-layers/services/Tracer"
import { Context, Effect, Layer, Scope } from "effect"
import { toSeen } from "../layers/tracer/seen.ts"

interface Recorder {
  readonly spans: Array<EndedSpan>
  readonly traces: Array<Trace>
}

/** A subject of a processor that records into `spans` and `traces`, with whatever is wrong with it. */
const subject = (
  make: (recorder: Recorder) => TraceProcessor,
  options?: {
    readonly register?: (processor: TraceProcessor) => Layer.Layer<never>
    readonly read?: (seen: ReadonlyArray<TracerLaws.Seen>) => ReadonlyArray<TracerLaws.Seen>
    readonly dropped?: number
  }
): TracerLaws.Subject => ({
  capacity: 100,
  open: (beside) =>
    Effect.gen(function*() {
      const recorder: Recorder = { spans: [], traces: [] }
      const processor = make(recorder)
      const own = (options?.register ?? Tracer.addProcessor)(processor)
      const context = yield* Layer.build(Layer.merge(beside, own))
      return {
        context: context as Context.Context<never>,
        seen: Effect.sync(() => (options?.read ?? ((seen) => seen))(toSeen(recorder.spans))),
        traces: Effect.sync(() => recorder.traces),
        dropped: Effect.succeed(options?.dropped ?? 0)
      }
    })
})

const push = <A>(array: Array<A>, ...values: ReadonlyArray<A>) =>
  Effect.sync(() => {
    array.push(...values)
  })

const honest = ({ spans, traces }: Recorder): TraceProcessor => ({
  onSpanEnd: (span) => push(spans, span),
  onTraceEnd: (trace) => push(traces, trace)
})

const changing = (change: (span: EndedSpan) => ReadonlyArray<EndedSpan>) =>
  subject((recorder) => ({ ...honest(recorder), onSpanEnd: (span) => push(recorder.spans, ...change(span)) }))

const strangers = Layer.effect(
  Tracer.Tracer,
  Effect.sync((): Tracer.Tracer => {
    const processors = new Set<TraceProcessor>()
    return {
      processors,
      addProcessor: (processor) => Effect.sync(() => void processors.add(processor)),
      flush: Effect.void
    }
  })
)

const doubles: {
  readonly [name: string]: { readonly subject: TracerLaws.Subject; readonly breaks: ReadonlyArray<string> }
} = {
  "records every span twice": {
    subject: changing((span) => [span, span]),
    breaks: ["each span arrives once"]
  },
  "loses every fifth span": {
    subject: subject((recorder) => {
      let count = 0
      return {
        ...honest(recorder),
        onSpanEnd: (span) => ++count % 5 === 0 ? Effect.void : push(recorder.spans, span)
      }
    }),
    breaks: ["each span arrives once", "nothing is dropped below capacity", "what is dropped is counted"]
  },
  "records spans as they begin": {
    subject: subject(({ spans, traces }) => ({
      onSpanStart: (span) => push(spans, { ...span, endedAt: span.startedAt, outcome: "succeeded" }),
      onTraceEnd: (trace) => push(traces, trace)
    })),
    breaks: [
      "a span arrives when it has ended, children before their parent",
      "a failure is recorded with its tag and message, and an interruption is none",
      "tokens that are known at the end are recorded",
      "durations are those of the clock"
    ]
  },
  "takes an interruption for a failure": {
    subject: changing((span) => [{
      ...span,
      outcome: span.outcome === "interrupted" ? "failed" : span.outcome,
      error: span.error ?? { tag: "Interrupted", message: "" }
    }]),
    breaks: [
      "a failure is recorded with its tag and message, and an interruption is none",
      "a run that is interrupted ends every span, as interrupted"
    ]
  },
  "keeps no message": {
    subject: changing((
      { error, ...span }
    ) => [error === undefined ? span : { ...span, error: { ...error, message: "" } }]),
    breaks: ["a failure is recorded with its tag and message, and an interruption is none"]
  },
  "forgets interrupted spans": {
    subject: changing((span) => span.outcome === "interrupted" ? [] : [span]),
    breaks: ["a run that is interrupted ends every span, as interrupted"]
  },
  "brings its own tracer, which swallows failures": {
    subject: {
      ...subject(honest),
      open: (beside) =>
        Effect.map(subject(honest).open(beside), (opened) => ({
          ...opened,
          context: Context.add(opened.context, Tracer.Tracer, {
            ...Context.get(opened.context, Tracer.Tracer),
            get processors(): ReadonlySet<TraceProcessor> {
              throw new Error("no processors today")
            }
          })
        }))
    },
    breaks: ["what a run does is the same, whether it is traced or not"]
  },
  "takes the span that began last for the parent": {
    subject: subject((recorder) => {
      let last: string | undefined
      const parents = new Map<string, string | undefined>()
      return {
        ...honest(recorder),
        onSpanStart: (span) =>
          Effect.sync(() => {
            parents.set(span.spanId, last)
            last = span.spanId
          }),
        onSpanEnd: (span) =>
          Effect.suspend(() => push(recorder.spans, { ...span, parentId: parents.get(span.spanId) ?? "" }))
      }
    }),
    breaks: ["children keep their parent, also where parents and children run at once"]
  },
  "begins a tree of its own": {
    subject: changing(({ parentId, ...span }) => [
      span.data._tag === "Agent" || parentId === undefined ? span : { ...span, parentId }
    ]),
    breaks: ["a trace joins the caller's span"]
  },
  "takes every agent for a trace": {
    subject: subject((recorder) => ({
      onSpanEnd: (span) =>
        Effect.andThen(
          push(recorder.spans, span),
          span.data._tag === "Agent"
            ? push(recorder.traces, { traceId: span.traceId, rootSpanId: span.spanId, workflowName: span.data.agent })
            : Effect.void
        )
    })),
    breaks: ["a trace says its name, group and metadata, and a run inside a run belongs to it"]
  },
  "knows a trace by its id alone": {
    subject: subject((recorder) => ({
      ...honest(recorder),
      onTraceEnd: (trace) =>
        recorder.traces.some(({ traceId }) => traceId === trace.traceId)
          ? Effect.void
          : push(recorder.traces, trace)
    })),
    breaks: ["two runs in one span of the caller are two traces"]
  },
  "remembers content that it once saw": {
    subject: subject((recorder) => {
      const inputs = new Map<string, unknown>()
      return {
        ...honest(recorder),
        onSpanEnd: (span) =>
          Effect.suspend(() => {
            const { data } = span
            if (data._tag !== "Tool") return push(recorder.spans, span)
            if (data.input !== undefined) inputs.set(data.name, data.input)
            return push(recorder.spans, { ...span, data: { ...data, output: inputs.get(data.name) } })
          })
      }
    }),
    breaks: ["content is left out of input, output and error where IncludeContent is false"]
  },
  "records no data": {
    subject: changing((span) => [{ ...span, data: { _tag: "Custom", name: span.name } }]),
    breaks: [
      "content is left out of input, output and error where IncludeContent is false",
      "tokens that are known at the end are recorded"
    ]
  },
  "rounds to what a double holds of nanoseconds": {
    subject: changing((span) => [{ ...span, endedAt: Number(BigInt(Math.round(span.endedAt * 1e6)) - 130n) / 1e6 }]),
    breaks: ["durations are those of the clock"]
  },
  "measures by its own clock": {
    subject: changing((span) => [{ ...span, endedAt: span.startedAt + 1 }]),
    breaks: ["durations are those of the clock"]
  },
  "gives up when another processor is there": {
    subject: {
      capacity: 100,
      open: (beside) =>
        Effect.gen(function*() {
          const recorder: Recorder = { spans: [], traces: [] }
          let tracer: Tracer.Tracer | undefined
          const opened = yield* subject(() => ({
            onSpanEnd: (span) => tracer!.processors.size > 1 ? Effect.void : push(recorder.spans, span)
          })).open(beside)
          tracer = Context.get(opened.context, Tracer.Tracer)
          return { ...opened, seen: Effect.sync(() => toSeen(recorder.spans)) }
        })
    },
    breaks: ["a processor that dies harms neither the run nor this Layer", "two Layers both see every span"]
  },
  "replaces the tracer that is there": {
    subject: subject(honest, {
      register: (processor) =>
        Layer.effectDiscard(Effect.flatMap(Tracer.Tracer, (tracer) => tracer.addProcessor(processor))).pipe(
          Layer.provideMerge(strangers)
        )
    }),
    breaks: [
      "two Layers both see every span",
      "it is flushed when its scope closes, and sees nothing afterwards"
    ]
  },
  "holds ten spans": {
    subject: subject(honest, { read: (seen) => seen.slice(-10) }),
    breaks: ["nothing is dropped below capacity", "what is dropped is counted"]
  },
  "counts drops that were none": {
    subject: subject(honest, { dropped: 1 }),
    breaks: ["nothing is dropped below capacity", "what is dropped is counted"]
  },
  "delivers in batches of 50 and cannot be flushed": {
    subject: subject((recorder) => {
      let batch: Array<EndedSpan> = []
      return {
        ...honest(recorder),
        onSpanEnd: (span) =>
          Effect.suspend(() => {
            batch.push(span)
            if (batch.length < 50) return Effect.void
            const full = batch
            batch = []
            return push(recorder.spans, ...full)
          })
      }
    }),
    breaks: ["each span arrives once", "flush delivers what has ended, and the Layer stays usable"]
  },
  "is over after its first flush": {
    subject: subject((recorder) => {
      let isOver = false
      return {
        ...honest(recorder),
        onSpanEnd: (span) => isOver ? Effect.void : push(recorder.spans, span),
        flush: Effect.sync(() => {
          isOver = true
        })
      }
    }),
    breaks: ["flush delivers what has ended, and the Layer stays usable"]
  },
  "never leaves": {
    subject: subject(honest, {
      register: (processor) =>
        Layer.effectDiscard(
          Effect.flatMap(Tracer.Tracer, (tracer) =>
            Effect.flatMap(Scope.make(), (forever) => Scope.provide(tracer.addProcessor(processor), forever)))
        ).pipe(Layer.provideMerge(Tracer.layer))
    }),
    breaks: ["it is flushed when its scope closes, and sees nothing afterwards"]
  }
}

describe("TracerLaws hold for an honest processor", () => {
  it.live("that records without limit", () =>
    Effect.forEach(
      TracerLaws.all.filter(({ name }) => name !== "what is dropped is counted"),
      (law) =>
        Effect.map(Law.verify(law, subject(honest)), (outcome) => assert.strictEqual(outcome._tag, "Held", law.name))
    ))
})

describe("TracerLaws find out a Layer that", () => {
  for (const [name, { breaks, subject }] of Object.entries(doubles)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const laws = TracerLaws.all.filter((law) => breaks.includes(law.name))
        assert.lengthOf(laws, breaks.length)
        for (const law of laws) {
          const outcome = yield* Law.verify(law, subject)
          assert.strictEqual(outcome._tag, "Broken", law.name)
          if (outcome._tag === "Broken") assert.include(outcome.report, law.name)
        }
      }))
  }

  it("breaks every law at least once", () => {
    const broken = new Set(Object.values(doubles).flatMap(({ breaks }) => breaks))
    assert.deepStrictEqual(TracerLaws.all.map(({ name }) => name).filter((name) => !broken.has(name)), [])
  })
})
