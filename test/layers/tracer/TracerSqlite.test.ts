import { assert, describe, it } from "@effect/vitest"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import * as TracerSqlite from "agent-layers/layers/tracer/TracerSqlite"
import * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import * as Tracer from "agent-layers/services/Tracer"
import * as Usage from "agent-layers/services/Usage"
import { Context, Effect, Fiber, Layer, type Scope } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { describeLaws } from "../../support/laws.ts"
import { agent, tool } from "../../support/tracer/entries.ts"
import { stays } from "../../support/until.ts"
import { toSeen } from "./seen.ts"

const temporary = () => fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-"))

const folder = Effect.acquireRelease(
  Effect.sync(temporary),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
)

/** Reads by a Layer of its own, as another program would. */
const readBack = (filename: string) =>
  Effect.gen(function*() {
    const store = yield* TracerSqlite.TracerSqlite
    const shown = []
    for (const trace of (yield* store.list({ limit: 10_000 })).toReversed()) {
      const found = yield* store.show(trace.traceId)
      shown.push(found.find((one) => one.trace.cursor === trace.cursor)!)
    }
    return shown
  }).pipe(Effect.provide(TracerSqlite.layerReader({ filename })), Effect.orDie)

const subject = (options: Omit<TracerSqlite.Options, "filename">, capacity: number): TracerLaws.Subject => ({
  capacity,
  open: (beside) =>
    Effect.gen(function*() {
      const filename = path.join(temporary(), "traces.db")
      const context = yield* Layer.build(
        Layer.merge(
          beside,
          TracerSqlite.layer({
            filename,
            maxTraces: 10_000,
            maxAge: "36500 days",
            flushTimeout: "30 seconds",
            ...options
          })
        )
      )
      return {
        context: context as Context.Context<never>,
        seen: Effect.map(readBack(filename), (shown) => toSeen(shown.flatMap(({ spans }) => spans))),
        traces: Effect.map(readBack(filename), (shown) =>
          shown.filter(({ trace }) => trace.isOver).map(({ trace }) => ({
            ...trace,
            workflowName: trace.workflowName ?? "?"
          }))),
        dropped: Effect.provideContext(Tracer.dropped, context as Context.Context<never>)
      }
    })
})

describeLaws("TracerSqlite", TracerLaws.all, subject({}, 2048))

describeLaws("TracerSqlite with little room", TracerLaws.all, subject({ maxQueueSize: 20, maxBatchSize: 7 }, 20))

const flush = Effect.flatMap(Tracer.Tracer, (tracer) => tracer.flush)

describe("TracerSqlite", () => {
  it.live("lists traces, the latest first, with what they add up to", () =>
    Effect.gen(function*() {
      const filename = path.join(yield* folder, "t.db")
      yield* Effect.gen(function*() {
        const store = yield* TracerSqlite.TracerSqlite
        const generation = Tracer.withSpan(
          Effect.void,
          () => ({ _tag: "Generation", provider: "p", model: "m" }) as const,
          () => ({ usage: Usage.make({ inputTokens: 20, outputTokens: 3 }) })
        )
        yield* agent("one", Effect.andThen(generation, generation), { groupId: "ada", metadata: { tenant: "t" } })
        yield* Effect.exit(agent("two", Effect.exit(tool("t", Effect.fail("no")))))
        yield* Effect.exit(agent("three", Effect.fail("no"), { groupId: "ada" }))
        yield* flush
        const all = yield* store.list()
        assert.deepStrictEqual(
          all.map((one) => [one.workflowName, one.groupId, one.outcome, one.spans, one.failed, one.isOver]),
          [
            ["three", "ada", "failed", 1, 1, true],
            ["two", undefined, "succeeded", 2, 1, true],
            ["one", "ada", "succeeded", 3, 0, true]
          ]
        )
        assert.deepStrictEqual([all[2]!.inputTokens, all[2]!.outputTokens, all[2]!.metadata], [40, 6, { tenant: "t" }])
        assert.isTrue(all[2]!.endedAt! >= all[2]!.startedAt! && all[2]!.startedAt! > 1_600_000_000_000)
        const groups = yield* store.list({ groupId: "ada" })
        assert.deepStrictEqual(groups.map((one) => one.workflowName), ["three", "one"])
        const page = yield* store.list({ limit: 1 })
        const next = yield* store.list({ limit: 1, before: page[0] })
        assert.deepStrictEqual([page[0]!.workflowName, next[0]!.workflowName], ["three", "two"])
        const shown = yield* store.show(all[1]!.rootSpanId)
        assert.deepStrictEqual(shown.map(({ spans }) => spans.map(({ name }) => name)), [
          ["execute_tool t", "invoke_agent two"]
        ])
        assert.deepStrictEqual(yield* store.show("unknown"), [])
      }).pipe(Effect.provide(TracerSqlite.layer({ filename })))
    }))

  it.live("shows a trace that runs still, and two runs under one caller apart", () =>
    Effect.gen(function*() {
      const filename = path.join(yield* folder, "t.db")
      yield* Effect.gen(function*() {
        const store = yield* TracerSqlite.TracerSqlite
        yield* agent(
          "open",
          Effect.andThen(
            tool("t", Effect.void),
            Effect.gen(function*() {
              yield* flush
              const [trace] = yield* store.list()
              assert.deepInclude(trace, { workflowName: "open", isOver: false, spans: 1, outcome: undefined })
            })
          )
        )
        const caller = yield* Effect.makeSpan("caller")
        yield* Effect.forEach(["a", "b"], (name) => agent(name, tool(`of-${name}`, Effect.void))).pipe(
          Effect.withParentSpan(caller)
        )
        yield* flush
        const shown = yield* store.show(caller.traceId)
        assert.deepStrictEqual(shown.map(({ spans, trace }) => [trace.workflowName, spans.length]), [["a", 2], [
          "b",
          2
        ]])
      }).pipe(Effect.provide(TracerSqlite.layer({ filename })))
    }))

  it.live("keeps so many traces, so many spans of one, for so long", () =>
    Effect.gen(function*() {
      const filename = path.join(yield* folder, "t.db")
      yield* Effect.gen(function*() {
        for (let index = 0; index < 20; index++) {
          yield* agent(`a${index}`, Effect.forEach([1, 2, 3, 4, 5], (n) => tool(String(n), Effect.void)))
        }
        yield* flush
        const store = yield* TracerSqlite.TracerSqlite
        const kept = yield* store.list()
        assert.deepStrictEqual(kept.map((one) => one.workflowName), ["a19", "a18", "a17"])
        assert.strictEqual(kept[0]!.spans, 6)
        assert.strictEqual((yield* store.show(kept[0]!.traceId))[0]!.spans.length, 4)
        assert.strictEqual(kept[0]!.outcome, "succeeded")
      }).pipe(Effect.provide(TracerSqlite.layer({ filename, maxTraces: 3, maxSpans: 4 })))
      const db = new DatabaseSync(filename)
      assert.strictEqual(db.prepare("SELECT count(*) AS n FROM agent_layers_spans").get()!["n"], 12)
      db.exec("UPDATE agent_layers_traces SET ended_at = 1000")
      db.close()
      yield* Effect.gen(function*() {
        yield* agent("new", Effect.void)
        yield* flush
        const kept = yield* (yield* TracerSqlite.TracerSqlite).list()
        assert.deepStrictEqual(kept.map((one) => one.workflowName), ["new"])
      }).pipe(Effect.provide(TracerSqlite.layer({ filename, maxAge: "1 day" })))
    }))

  it.live("shares a file with sessions, whoever comes first", () =>
    Effect.gen(function*() {
      const dir = yield* folder
      for (const name of ["sessions first", "traces first"]) {
        const filename = path.join(dir, `${name}.db`)
        const sessions = SessionSqlite.layer({ filename })
        const traces = TracerSqlite.layer({ filename })
        const first = name === "sessions first" ? Layer.build(sessions) : Layer.build(traces)
        yield* Effect.scoped(Effect.asVoid<unknown, unknown, Scope.Scope>(first))
        yield* agent("a", Effect.void).pipe(Effect.provide(Layer.merge(sessions, traces)))
        assert.strictEqual((yield* readBack(filename)).length, 1)
      }
    }))

  it.live("waits for another process's lock without blocking, and stores then", () =>
    Effect.gen(function*() {
      const filename = path.join(yield* folder, "t.db")
      yield* Effect.gen(function*() {
        const other = new DatabaseSync(filename)
        other.exec("BEGIN IMMEDIATE")
        yield* agent("a", Effect.void)
        const flushing = yield* Effect.forkChild(flush, { startImmediately: true })
        yield* stays(() => flushing.pollUnsafe(), (exit) => exit === undefined, 100)
        other.exec("COMMIT")
        yield* Fiber.join(flushing)
        other.close()
        assert.strictEqual((yield* (yield* TracerSqlite.TracerSqlite).list()).length, 1)
      }).pipe(Effect.provide(TracerSqlite.layer({ filename })))
    }))

  it.live("refuses what it cannot use with a typed error that says what to do", () =>
    Effect.gen(function*() {
      const dir = yield* folder
      const damaged = path.join(dir, "damaged.db")
      fs.writeFileSync(damaged, "this is no database, whatever its name says".repeat(50))
      const newer = path.join(dir, "newer.db")
      yield* Effect.scoped(Layer.build(TracerSqlite.layer({ filename: newer })))
      const db = new DatabaseSync(newer)
      db.exec("INSERT INTO agent_layers_migrations VALUES ('tracer', 99, 0)")
      db.close()
      for (
        const [filename, says] of [
          ["", "filename is empty"],
          [damaged, "not a SQLite database"],
          [path.join(dir, "nowhere", "t.db"), "its folder must exist"],
          [newer, "newer agent-layers"]
        ] as const
      ) {
        const error = yield* Effect.flip(Layer.build(TracerSqlite.layer({ filename })))
        assert.strictEqual(error._tag, "TracerError")
        assert.strictEqual(error.operation, "open")
        assert.include(error.message, says)
      }
      const store = yield* Effect.scoped(
        Effect.map(Layer.build(TracerSqlite.layer({ filename: ":memory:" })), Context.get(TracerSqlite.TracerSqlite))
      )
      assert.include((yield* Effect.flip(store.list())).message, "is closed")
    }))
})
