import type { Template } from "./scaffoldTemplate.ts"

/** Written for the name `acme`, which becomes the one that is asked for. */
export const tracer: Template = {
  module: "TracerAcme",
  description: "Appends traces to a file, a line of JSON each.",
  settings: `{}`,
  source: `/**
 * Appends what happened to a file, a line of JSON for each span and for each begin and end of a trace. Replace \`append\`
 * by what sends a batch to your service.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as TracerBatch from "agent-layers/layers/tracer/TracerBatch"
import * as Tracer from "agent-layers/services/Tracer"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

export interface Options {
  /** The file, whose folder is there. */
  readonly path: string
}

/** What the file has in each line. */
export const Line = Schema.fromJsonString(Tracer.TraceEntry)

const encode = Schema.encodeEffect(Line)

const failed = (error: { readonly message: string }) =>
  new Tracer.TracerError({
    exporter: "acme",
    operation: "export",
    description: error.message,
    isRetryable: false
  })

/** Called with one batch after another, never twice at once. */
export const make = Effect.fnUntraced(function*(
  { path }: Options
): Effect.fn.Return<Tracer.TraceExporter, never, FileSystem.FileSystem> {
  const fs = yield* FileSystem.FileSystem
  const append = (text: string) => fs.writeFileString(path, text, { flag: "a", mode: 0o600 })
  return {
    name: "acme",
    export: (entries) =>
      Effect.forEach(entries, (entry) => encode(entry)).pipe(
        Effect.flatMap((lines) => append(lines.map((line) => line + "\\n").join(""))),
        Effect.mapError(failed)
      )
  }
})

/** Registers the exporter behind a bounded queue: no run waits for it, and what is left is written when it closes. */
export const layer = (options: Options): Layer.Layer<never> =>
  TracerBatch.layer(make(options)).pipe(Layer.provide(NodeServices.layer))
`,
  extension: `import * as Extension from "agent-layers/services/Extension"
import * as Setting from "agent-layers/services/Setting"
import * as TracerAcme from "./TracerAcme.ts"

export default Extension.make({
  kind: "tracer",
  name: "acme",
  version: "0.1.0",
  compatibleWith: "@COMPATIBLE@",
  description: "@DESCRIPTION@",
  config: {
    path: Setting.text("The file that traces are appended to.", { default: "acme.traces.jsonl" })
  },
  layer: TracerAcme.layer
})
`,
  testName: "laws",
  test: `/** The laws of Tracer, over this one. */
import { assert, describe, it } from "@effect/vitest"
import * as Tracer from "agent-layers/services/Tracer"
import { Law, TracerLaws } from "agent-layers/testing"
import { Effect, Layer, Schema } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll } from "vitest"
import * as TracerAcme from "../src/TracerAcme.ts"

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "acme-"))
let files = 0

afterAll(() => fs.rmSync(folder, { recursive: true }))

const decode = Schema.decodeUnknownSync(TracerAcme.Line)

const entriesIn = (file: string): ReadonlyArray<Tracer.TraceEntry> =>
  fs.existsSync(file)
    ? fs.readFileSync(file, "utf8").split("\\n").filter((line) => line !== "").map((line) => decode(line))
    : []

/** What the laws look at, of each span that was written. */
const seenIn = (file: string): ReadonlyArray<TracerLaws.Seen> => {
  const spans = entriesIn(file).flatMap((entry) => entry._tag === "SpanEnd" ? [entry.span] : [])
  const names = new Map(spans.map(({ name, spanId }) => [spanId, name]))
  return spans.map((span) => ({
    name: span.name,
    parent: span.parentId === undefined ? undefined : names.get(span.parentId),
    outcome: span.outcome,
    text: JSON.stringify(span),
    millis: span.endedAt - span.startedAt,
    traceId: span.traceId,
    parentId: span.parentId
  }))
}

const subject: TracerLaws.Subject = {
  capacity: 2048,
  // That it counts what it dropped, and tells of traces, is the queue's and the file's: not looked at here.
  cannot: ["dropped", "traces"],
  open: (beside) =>
    Effect.gen(function*() {
      const file = path.join(folder, "traces-" + ++files + ".jsonl")
      const context = yield* Layer.build(Layer.merge(beside, TracerAcme.layer({ path: file })))
      return { context, seen: Effect.sync(() => seenIn(file)) }
    })
}

describe("the laws of Tracer", () => {
  for (const law of TracerLaws.all) {
    it.live(law.name, () =>
      Effect.gen(function*() {
        const outcome = yield* Law.verify(law, subject)
        if (outcome._tag === "Broken") assert.fail(outcome.report)
      }), 30_000)
  }
})
`
}
