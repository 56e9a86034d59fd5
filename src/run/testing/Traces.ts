/**
 * Assertions about the trace of a run: that a span is there, that none is, and the tree as text. They read what
 * `TracerMemory` recorded. An assertion that does not hold is a defect whose message shows the whole tree.
 *
 * ```ts
 * yield* Traces.expectSpan("execute_tool refund", { outcome: "succeeded", under: "invoke_agent clerk" })
 * yield* Traces.expectTree(`
 *   invoke_agent clerk
 *     turn 1
 *       chat scripted
 * `)
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { TracerMemory } from "../../layers/tracer/TracerMemory.ts"
import type { EndedSpan, SpanData } from "../../services/Tracer.ts"

/**
 * What a span has to be. What is left out is not looked at.
 *
 * @category options
 * @since 0.1.0
 */
export interface Expected {
  readonly outcome?: EndedSpan["outcome"] | undefined
  /** The `_tag` of the error, where the outcome is `failed`. */
  readonly error?: string | undefined
  /** The kind of its data: `Tool`, `Generation`, … */
  readonly kind?: SpanData["_tag"] | undefined
  /** The name of a span around it, at whatever distance. */
  readonly under?: string | RegExp | undefined
  /** Asked about its data; false refuses the span. */
  readonly where?: ((data: SpanData) => boolean) | undefined
  /**
   * How many such spans there are.
   * @default one or more
   */
  readonly times?: number | undefined
}

/**
 * The tree of all spans so far, indented by two spaces, in the order in which they began. A span that did not succeed
 * says how it ended.
 *
 * @category accessors
 * @since 0.1.0
 */
export const tree: Effect.Effect<string, never, TracerMemory> = TracerMemory.use((memory) => memory.outline)

const isNamed = (name: string, wanted: string | RegExp): boolean =>
  typeof wanted === "string" ? name === wanted : wanted.test(name)

const indented = (text: string): string => text === "" ? "  (no span)" : text.replaceAll(/^/gm, "  ")

const wrong = (description: string) =>
  Effect.flatMap(tree, (tree) => Effect.die(new Error(`Traces: ${description}. The trace is:\n${indented(tree)}`)))

const described = (name: string | RegExp, { error, kind, outcome, under, where }: Expected): string =>
  [
    `${String(name)}`,
    ...(kind === undefined ? [] : [`of kind ${kind}`]),
    ...(outcome === undefined ? [] : [`that ${outcome === "succeeded" ? "succeeded" : `was ${outcome}`}`]),
    ...(error === undefined ? [] : [`with ${error}`]),
    ...(under === undefined ? [] : [`under ${String(under)}`]),
    ...(where === undefined ? [] : ["whose data fits"])
  ].join(" ")

const found = (name: string | RegExp, expected: Expected) =>
  TracerMemory.use((memory) =>
    Effect.zipWith(memory.spans, memory.started, (spans, started) => {
      const byId = new Map(started.map((span) => [span.spanId, span]))
      const isUnder = (span: EndedSpan, wanted: string | RegExp): boolean => {
        let around = byId.get(span.parentId ?? "")
        while (around !== undefined && !isNamed(around.name, wanted)) around = byId.get(around.parentId ?? "")
        return around !== undefined
      }
      return spans.filter((span) =>
        isNamed(span.name, name) &&
        (expected.kind === undefined || span.data._tag === expected.kind) &&
        (expected.outcome === undefined || span.outcome === expected.outcome) &&
        (expected.error === undefined || span.error?.tag === expected.error) &&
        (expected.under === undefined || isUnder(span, expected.under)) &&
        (expected.where === undefined || expected.where(span.data))
      )
    })
  )

/**
 * A span that is over, by its name or a pattern, and by what is expected of it; the first that ended where there are
 * several. Dies where there is none, or not as many as `times` says.
 *
 * @category assertions
 * @since 0.1.0
 */
export const expectSpan = Effect.fnUntraced(function*(
  name: string | RegExp,
  expected: Expected = {}
): Effect.fn.Return<EndedSpan, never, TracerMemory> {
  const spans = yield* found(name, expected)
  const { times } = expected
  if (times === undefined ? spans.length > 0 : spans.length === times && times > 0) return spans[0]!
  return yield* wrong(
    times === undefined
      ? `there is no span ${described(name, expected)}`
      : `there are ${spans.length} spans ${described(name, expected)}, not ${times}`
  )
})

/**
 * Dies where there is such a span.
 *
 * @category assertions
 * @since 0.1.0
 */
export const expectNoSpan = Effect.fnUntraced(function*(
  name: string | RegExp,
  expected: Omit<Expected, "times"> = {}
): Effect.fn.Return<void, never, TracerMemory> {
  const spans = yield* found(name, expected)
  if (spans.length > 0) return yield* wrong(`there is a span ${described(name, expected)}`)
})

/** The lines without what they are all indented by, and without empty ones around. */
const trimmed = (text: string): string => {
  const lines = text.split("\n").map((line) => line.trimEnd()).filter((line) => line !== "")
  const least = Math.min(...lines.map((line) => line.length - line.trimStart().length))
  return lines.map((line) => line.slice(least)).join("\n")
}

/**
 * Dies where the tree is another. What all lines of the text are indented by, and empty lines, do not count.
 *
 * @category assertions
 * @since 0.1.0
 */
export const expectTree = Effect.fnUntraced(function*(
  text: string
): Effect.fn.Return<void, never, TracerMemory> {
  if ((yield* tree) !== trimmed(text)) {
    return yield* wrong(`the tree is another than expected. Expected was:\n${indented(trimmed(text))}\n`)
  }
})
