/**
 * Keeps the latest traces in an SQLite file, over `node:sqlite`, to be listed and shown, also by another process while
 * this one writes. Runs never wait for the disk: spans go through a bounded queue, and are all stored when the Layer
 * closes. A batch is one transaction.
 *
 * The file may be the one of `SessionSqlite`; the tables' names begin with `agent_layers_`. Needs Node.js 22.19 or
 * newer. What content spans have is stored as it is: see `Tracer.IncludeContent` and `TracerRedacted`.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { EndedSpan, Trace, TraceEntry, TraceExporter, TraceProcessor } from "../../services/Tracer.ts"
import * as Tracer from "../../services/Tracer.ts"
import * as batch from "./internal/batch.ts"
import { toJson } from "./internal/encode.ts"
import * as sqlite from "./internal/sqlite.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends batch.BatchOptions {
  /**
   * Path of the database, relative to the working directory; it is created where it does not exist, its folder is not.
   * `:memory:` is a database of this Layer alone.
   */
  readonly filename: string
  /**
   * How many traces are kept; beyond that the oldest go.
   *
   * @default 1000
   */
  readonly maxTraces?: number | undefined
  /**
   * How long a trace is kept after its last span. Looked at when something is stored.
   *
   * @default "30 days"
   */
  readonly maxAge?: Duration.Input | undefined
  /**
   * How many spans of one trace are kept; further ones are counted only.
   *
   * @default 10000
   */
  readonly maxSpans?: number | undefined
  /**
   * A longer text is cut, in characters.
   *
   * @default 100000
   */
  readonly maxTextLength?: number | undefined
}

/**
 * A stored trace without its spans. Spans that belong to no trace are kept together, by their trace id.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredTrace extends Omit<Trace, "workflowName"> {
  readonly workflowName: string | undefined
  /** Says where the next page of a list begins. */
  readonly cursor: number
  /** Milliseconds since 1970; absent until a span has ended. */
  readonly startedAt: number | undefined
  readonly endedAt: number | undefined
  /** False while it runs, and for ever where its process was killed. */
  readonly isOver: boolean
  /** That of its first span, once it has ended. */
  readonly outcome: EndedSpan["outcome"] | undefined
  /** How many spans have ended. */
  readonly spans: number
  readonly failed: number
  /** Tokens of its model calls. */
  readonly inputTokens: number
  readonly outputTokens: number
}

/**
 * @category options
 * @since 0.1.0
 */
export interface ListOptions {
  /**
   * @default 50
   */
  readonly limit?: number | undefined
  /** Only those older than this one. */
  readonly before?: Pick<StoredTrace, "cursor"> | undefined
  readonly groupId?: string | undefined
}

/**
 * What is stored. What was not exported yet is not among it: `Tracer.flush` first, where that matters.
 *
 * @category services
 * @since 0.1.0
 */
export class TracerSqlite extends Context.Service<TracerSqlite, {
  /** Traces, the latest first. */
  readonly list: (options?: ListOptions) => Effect.Effect<ReadonlyArray<StoredTrace>, Tracer.TracerError>
  /**
   * The traces of a trace id or of the id of a first span, each with its spans in the order in which they ended. None
   * where nothing of it is stored.
   */
  readonly show: (id: string) => Effect.Effect<
    ReadonlyArray<{ readonly trace: StoredTrace; readonly spans: ReadonlyArray<EndedSpan> }>,
    Tracer.TracerError
  >
}>()("agent-layers/layers/tracer/TracerSqlite") {}

interface Row {
  readonly key: number
  readonly trace_id: string
  readonly root_span_id: string
  readonly workflow_name: string | null
  readonly group_id: string | null
  readonly metadata: string | null
  readonly started_at: number | null
  readonly ended_at: number | null
  readonly is_over: number
  readonly outcome: string | null
  readonly spans: number
  readonly failed: number
  readonly input_tokens: number
  readonly output_tokens: number
}

const decodeMetadata = Schema.decodeUnknownSync(
  Schema.fromJsonString(Schema.Record(Schema.String, Schema.String))
)

const decodeSpan = Schema.decodeUnknownSync(Schema.fromJsonString(Tracer.EndedSpan))

const toTrace = (row: Row): StoredTrace => ({
  cursor: row.key,
  traceId: row.trace_id,
  rootSpanId: row.root_span_id,
  workflowName: row.workflow_name ?? undefined,
  ...(row.group_id === null ? undefined : { groupId: row.group_id }),
  ...(row.metadata === null ? undefined : { metadata: decodeMetadata(row.metadata) }),
  startedAt: row.started_at ?? undefined,
  endedAt: row.ended_at ?? undefined,
  isOver: row.is_over === 1,
  outcome: row.outcome === null ? undefined : row.outcome as EndedSpan["outcome"],
  spans: row.spans,
  failed: row.failed,
  inputTokens: row.input_tokens,
  outputTokens: row.output_tokens
})

const open = Effect.fnUntraced(function*(filename: string) {
  return yield* sqlite.open(filename, yield* Clock.currentTimeMillis)
})

const makeStore = (database: sqlite.Database): TracerSqlite["Service"] => ({
  list: (options) =>
    database.transaction("list", "read", (statements) =>
      (statements.list.all({
        before: options?.before?.cursor ?? Number.MAX_SAFE_INTEGER,
        group: options?.groupId ?? null,
        limit: Math.max(0, Math.floor(options?.limit ?? 50))
      }) as unknown as ReadonlyArray<Row>).map(toTrace)),
  show: (id) =>
    database.transaction(
      "show",
      "read",
      (statements) =>
        (statements.byId.all({ id }) as unknown as ReadonlyArray<Row>).map((row) => ({
          trace: toTrace(row),
          spans: statements.spans.all(row.key).map(({ span }) => decodeSpan(span))
        }))
    )
})

/** Stores a batch. What a trace adds up to is written once for all of its spans. */
const store = (
  statements: sqlite.Statements,
  entries: ReadonlyArray<TraceEntry>,
  limits: { readonly maxSpans: number; readonly maxText: number }
): void => {
  const open = new Map<string, { readonly key: number; before: number; spans: Array<EndedSpan> }>()
  const begin = (trace: Trace | undefined, traceId: string) => {
    const id = `${traceId} ${trace?.rootSpanId ?? ""}`
    const known = open.get(id)
    if (known !== undefined) return known
    statements.begin.run(
      traceId,
      trace?.rootSpanId ?? "",
      trace?.workflowName ?? null,
      trace?.groupId ?? null,
      trace?.metadata === undefined ? null : toJson(trace.metadata, limits.maxText)
    )
    const row = statements.find.get(traceId, trace?.rootSpanId ?? "") as {
      readonly key: number
      readonly spans: number
    }
    const made = { key: row.key, before: row.spans, spans: [] }
    open.set(id, made)
    return made
  }
  for (const entry of entries) {
    if (entry._tag === "SpanEnd") begin(entry.span.trace, entry.span.traceId).spans.push(entry.span)
    else begin(entry.trace, entry.trace.traceId)
  }
  for (const { before, key, spans } of open.values()) {
    if (spans.length === 0) continue
    let failed = 0
    let input = 0
    let output = 0
    let outcome: string | null = null
    let started = Number.POSITIVE_INFINITY
    let ended = 0
    for (const [index, span] of spans.entries()) {
      if (span.outcome === "failed") failed++
      if (span.data._tag === "Generation" && span.data.usage !== undefined) {
        input += span.data.usage.inputTokens
        output += span.data.usage.outputTokens
      }
      if (span.spanId === span.trace?.rootSpanId) outcome = span.outcome
      started = Math.min(started, span.startedAt)
      ended = Math.max(ended, span.endedAt)
      if (before + index < limits.maxSpans) statements.span.run(key, before + index, toJson(span, limits.maxText))
    }
    statements.addSpans.run({ key, spans: spans.length, failed, input, output, outcome, started, ended })
  }
  for (const entry of entries) {
    if (entry._tag === "TraceEnd") statements.end.run(entry.trace.traceId, entry.trace.rootSpanId)
  }
}

const drop = (statements: sqlite.Statements, rows: ReadonlyArray<unknown>): void => {
  for (const { key } of rows as ReadonlyArray<{ readonly key: number }>) {
    statements.dropSpans.run(key)
    statements.dropTrace.run(key)
  }
}

/**
 * The store and the processor that fills it, until the scope closes. Fails on a Node.js that is too old, on a file that
 * cannot be opened or written, is damaged, or was written by a newer version.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<
  { readonly store: TracerSqlite["Service"]; readonly processor: TraceProcessor },
  Tracer.TracerError,
  Scope.Scope
> {
  const database = yield* open(options.filename)
  const maxTraces = Math.max(1, options.maxTraces ?? 1000)
  const maxAge = Duration.toMillis(Duration.fromInputUnsafe(options.maxAge ?? "30 days"))
  const limits = {
    maxSpans: Math.max(1, options.maxSpans ?? 10_000),
    maxText: Math.max(100, options.maxTextLength ?? 100_000)
  }
  const exporter: TraceExporter = {
    name: "sqlite",
    export: (entries) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        database.transaction("export", "write", (statements) => {
          store(statements, entries, limits)
          drop(statements, statements.excess.all(maxTraces))
          drop(statements, statements.expired.all(now - maxAge))
        }))
  }
  return { store: makeStore(database), processor: yield* batch.make(exporter, options) }
})

/**
 * Stores every span for as long as the Layer lives, and gives what is stored.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<TracerSqlite, Tracer.TracerError> =>
  Layer.unwrap(
    Effect.map(make(options), ({ processor, store }) =>
      Layer.merge(Layer.succeed(TracerSqlite, store), Tracer.addProcessor(processor)))
  )

/**
 * As `layer`, with options from configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<Options>
): Layer.Layer<TracerSqlite, Tracer.TracerError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(config), layer))

/**
 * Gives what is stored and stores nothing: for a command that looks at the traces of another process.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerReader = (
  options: Pick<Options, "filename">
): Layer.Layer<TracerSqlite, Tracer.TracerError> =>
  Layer.effect(TracerSqlite, Effect.map(open(options.filename), makeStore))
