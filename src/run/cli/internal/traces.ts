/** `traces`: what runs left in the local store. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { render } from "../../../layers/tracer/internal/render.ts"
import { build } from "../../../layers/tracer/internal/tree.ts"
import * as TracerSqlite from "../../../layers/tracer/TracerSqlite.ts"
import { failed } from "./failure.ts"
import * as flags from "./flags.ts"
import { Output, table, time } from "./output.ts"
import * as stack from "./stack.ts"

const file = Flag.String("file").pipe(
  Flag.optional,
  Flag.withMetavar("FILE"),
  Flag.withDescription("The SQLite file. Default: that of the configured tracer, or .agent-layers/traces.db")
)

const reader = Effect.fnUntraced(function*(file: Option.Option<string>) {
  const fs = yield* FileSystem.FileSystem
  const filename = Option.isSome(file) ? file.value : (yield* stack.open).traces
  if (filename === undefined) {
    return yield* failed("The configured tracers keep no traces here", "Add \"sqlite\" to `tracer`, or name a --file")
  }
  if (!(yield* Effect.orElseSucceed(fs.exists(filename), () => false))) {
    return yield* failed(`There are no traces yet: no file "${filename}"`, "They come with the first run")
  }
  return Context.get(yield* Layer.build(TracerSqlite.layerReader({ filename })), TracerSqlite.TracerSqlite)
})

const list = Command.make(
  "list",
  {
    file,
    limit: Flag.Int("limit").pipe(
      Flag.filter((n) => n > 0, () => "a number above 0"),
      Flag.withDefault(20),
      Flag.withDescription("Traces at most. Default: 20")
    )
  },
  Effect.fnUntraced(function*({ file, limit }) {
    const output = yield* Output
    const store = yield* reader(file)
    const traces: Array<TracerSqlite.StoredTrace> = []
    let before: TracerSqlite.StoredTrace | undefined
    while (traces.length < limit) {
      const page: ReadonlyArray<TracerSqlite.StoredTrace> = yield* store.list({ limit: 100, before })
      // Spans outside of any run are kept together under their trace id, and are no trace.
      traces.push(...page.filter(({ rootSpanId }) => rootSpanId !== ""))
      before = page.at(-1)
      if (before === undefined) break
    }
    traces.splice(limit)
    if (yield* flags.Json) return yield* output.json({ traces })
    if (traces.length === 0) return yield* output.print("There are no traces.")
    yield* output.print(table(
      ["trace", "began", "took", "workflow", "spans", "tokens", "outcome"],
      traces.map((trace) => [
        trace.traceId,
        trace.startedAt === undefined ? "" : time(trace.startedAt),
        trace.startedAt === undefined || trace.endedAt === undefined
          ? ""
          : `${Math.round(trace.endedAt - trace.startedAt)}ms`,
        trace.workflowName ?? "",
        String(trace.spans),
        String(trace.inputTokens + trace.outputTokens),
        trace.outcome ?? (trace.isOver ? "" : "not over")
      ])
    ))
  }, Effect.scoped)
).pipe(Command.withDescription("Lists traces, the latest first."))

const show = Command.make(
  "show",
  {
    file,
    content: Flag.Boolean("content").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Show what models and tools were given and answered, where it is stored")
    ),
    id: Argument.String("trace").pipe(Argument.withDescription("The id of a trace, or its beginning"))
  },
  Effect.fnUntraced(function*({ content, file, id }) {
    const output = yield* Output
    const store = yield* reader(file)
    let found = yield* store.show(id)
    if (found.length === 0) {
      const like = (yield* store.list({ limit: 1000 })).filter(({ traceId }) => traceId.startsWith(id))
      const ids = [...new Set(like.map(({ traceId }) => traceId))]
      if (id === "" || ids.length === 0) {
        return yield* failed(`There is no trace "${id}"`, "`agent-layers traces list` shows which there are")
      }
      if (ids.length > 1) return yield* failed(`${ids.length} traces begin with "${id}"`, "Write more of the id")
      found = yield* store.show(ids[0]!)
    }
    if (yield* flags.Json) return yield* output.json({ traces: found })
    for (const { spans, trace } of found) {
      for (const root of build([...spans].sort((a, b) => a.startedAt - b.startedAt), spans)) {
        yield* output.print(
          render(root.span.spanId === trace.rootSpanId ? root.span.trace : undefined, root, 0, {
            colors: output.style.dim("x") !== "x",
            includeContent: content,
            width: 120
          })
        )
      }
    }
  }, Effect.scoped)
).pipe(Command.withDescription("Shows a trace as a tree."))

export const traces = Command.make("traces").pipe(
  Command.withShortDescription("Look at traces"),
  Command.withDescription("Lists and shows what runs left in the local store of traces."),
  Command.withSubcommands([list, show])
)
